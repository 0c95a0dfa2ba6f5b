/* What replicas say about themselves, and what can be concluded from it. Nothing here is signed: a lie about
 * CONFIRMED is possible for whoever writes coordination, which is why a kill switch is done by the fence in
 * the log. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "view.h"

#define ANNOUNCEMENT_BYTES 160U

void announcement_write(const announcement *self, buffer *out) {
    buffer_format(out, "1 %" PRIu64 " %s %" PRIu64 " %" PRId64, self->applied_seq, self->boot_id,
                  self->proof_boot_ns, self->proof_wall_ms);
}

/* The next word of the text, up to a space or the end. */
static bytes next_word(bytes *text) {
    const uint8_t *space = text->size == 0 ? NULL : memchr(text->data, ' ', text->size);
    size_t size = space == NULL ? text->size : (size_t)(space - text->data);
    bytes word = bytes_of(text->data, size);
    size_t step = space == NULL ? size : size + 1;
    *text = bytes_of(text->size == 0 ? NULL : text->data + step, text->size - step);
    return word;
}

bool announcement_parse(bytes text, announcement *out) {
    announcement made = {0};
    uint64_t format, wall;
    if (text.size > ANNOUNCEMENT_BYTES || !control_number_parse(next_word(&text), &format) || format != 1 ||
        !control_number_parse(next_word(&text), &made.applied_seq))
        return false;
    bytes boot = next_word(&text);
    if (boot.size != sizeof made.boot_id - 1 ||
        !control_number_parse(next_word(&text), &made.proof_boot_ns) ||
        !control_number_parse(next_word(&text), &wall) || text.size != 0)
        return false;
    memcpy(made.boot_id, boot.data, boot.size);
    if (strspn(made.boot_id, "0123456789abcdef-") != boot.size)
        return false;
    made.proof_wall_ms = (int64_t)wall;
    *out = made;
    return true;
}

/* By the boot clock when it is the same machine since the same start; else by the wall's, and then the bound
 * is longer by how much two wall clocks may differ. */
static bool proof_is_old(const announcement *self, const announcement_view *now, uint64_t *age_ms) {
    uint64_t bound_ms = CONTROL_FRESH_MS;
    if (strcmp(self->boot_id, now->boot_id) == 0) {
        *age_ms = now->boot_ns > self->proof_boot_ns ? (now->boot_ns - self->proof_boot_ns) / 1000000U : 0;
    } else {
        *age_ms = now->wall_ms > self->proof_wall_ms ? (uint64_t)(now->wall_ms - self->proof_wall_ms) : 0;
        bound_ms += LIMIT_CLOCK_SKEW_MS;
    }
    return *age_ms >= bound_ms;
}

Interlock__Control__V1__ReplicaState
announcement_judge(const announcement *self, const announcement_view *now, uint64_t *proof_age_ms) {
    bool old = proof_is_old(self, now, proof_age_ms);
    if (self->applied_seq >= now->current_seq)
        return INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_CONFIRMED;
    if (old && !freshness_holds(now->current_since_ns, now->boot_ns))
        return INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_SELF_CLOSED;
    return INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN;
}
