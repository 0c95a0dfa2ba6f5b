/* See draft.h. */
#include "draft.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *draft_copy(draft *self, const char *text) {
    char *copy = arena_text(self->memory, text == NULL ? "" : text);
    self->out_of_memory = self->out_of_memory || copy == NULL;
    return copy;
}

static size_t utf8_length(unsigned char first) {
    return first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

/* Names that were cut short may end within a character, which no reader of a record would take. */
static void mend_utf8(char *text) {
    size_t size = strlen(text);
    if (utf8_valid(bytes_of(text, size)))
        return;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_length((unsigned char)text[at]);
        bool whole = length <= size - at && utf8_valid(bytes_of(text + at, length));
        if (!whole)
            text[at] = '?';
        at += whole ? length : 1;
    }
}

char *draft_write(draft *self, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mend_utf8(text);
    return draft_copy(self, text);
}

char *draft_share(draft *self, double share) {
    return draft_write(self, "%.4g %%", 100 * share);
}

finding *draft_finding(draft *self, Interlock__Policy__V1__Primitive primitive,
                       Interlock__Policy__V1__Finding__Result result, const char *reason, char *message) {
    finding *made = arena_alloc(self->memory, sizeof *made);
    if (made == NULL || message == NULL || self->decision->n_findings == FINDINGS_MAX) {
        self->out_of_memory = true;
        return NULL;
    }
    interlock__policy__v1__finding__init(made);
    made->primitive = primitive;
    made->result = result;
    made->reason = draft_copy(self, reason);
    made->message = message;
    self->decision->findings[self->decision->n_findings++] = made;
    return made;
}

void draft_conclude(draft *self, Interlock__Policy__V1__Outcome outcome, uint32_t retry_after_ms,
                    const char *sentence) {
    if (self->decision->outcome != OUTCOME(UNSPECIFIED))
        return;
    const char *verdict = outcome == OUTCOME(ALLOW)    ? "may run"
                          : outcome == OUTCOME(MODIFY) ? "may run, narrowed"
                          : outcome == OUTCOME(REVIEW) ? "needs approval"
                          : outcome == OUTCOME(DEFER)  ? "is deferred"
                                                       : "is refused";
    self->decision->outcome = outcome;
    self->decision->retry_after_ms = retry_after_ms;
    self->decision->summary = draft_write(self, "%s %s: %s", self->subject, verdict, sentence);
}

bool draft_undecided(const draft *self) {
    return self->decision->outcome == OUTCOME(UNSPECIFIED);
}
