/* Changes as causes: a deploy, a configuration or a flag shortly before the first sign of trouble at the node
 * that it changed makes what speaks against the node weigh more, by its nearness in time. A change of a node
 * against which nothing speaks, or that came after the trouble began, adds nothing. */
#include <math.h>

#include "root_cause_internal.h"

#define CHANGE_SLACK_MS 60000 /* the clocks of whoever changed it and of the node differ */

static int64_t trouble_begins_ms(const work *self, uint32_t service) {
    int64_t onset_ms = self->onset_ms[service];
    return onset_ms > 0 ? onset_ms : self->question->from_ms;
}

/* 1 for a change just before the trouble, falling with the time between; 0 for one after it. */
static double change_nearness(const work *self, const evidence_change *change) {
    int64_t begins_ms = trouble_begins_ms(self, change->service);
    if (change->time_ms > begins_ms + CHANGE_SLACK_MS || change->time_ms > self->question->to_ms)
        return 0;
    double before_s = fmax(0, (double)(begins_ms - change->time_ms) / 1000);
    return exp(-before_s / self->parameters->change_before_s);
}

uint32_t change_of(const work *self, uint32_t service) {
    uint32_t found = EVIDENCE_NONE;
    double nearest = 0.05; /* three time constants before: no longer a reason */
    for (uint32_t i = 0; i < self->from->change_count; i++) {
        const evidence_change *change = &self->from->changes[i];
        double nearness = change->service == service ? change_nearness(self, change) : 0;
        if (nearness > nearest) {
            nearest = nearness;
            found = i;
        }
    }
    return found;
}

void changes_compare(work *self) {
    for (uint32_t i = 0; i < self->from->change_count; i++) {
        const evidence_change *change = &self->from->changes[i];
        double nearness = change_nearness(self, change);
        double *channel = channel_of(self, change->service, CLUE_CHANGE);
        double own = self->score[change->service];
        *channel = fmax(*channel, self->parameters->change * nearness * fmax(0, own));
    }
}
