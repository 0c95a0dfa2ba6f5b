/* From what stands in coordination to a view that counts, or to the reason why nothing there does. Pure: all
 * it knows is in its arguments, one of which is what earlier reads have shown. */
#ifndef CONTROL_VIEW_H
#define CONTROL_VIEW_H

#include <stdatomic.h>

#include "control/control.h"
#include "statement.h"

/* A view with what it rests on; freed with the last reference. */
typedef struct view_box {
    control_view view; /* the first member: a control_view * is a view_box * */
    arena memory;
    atomic_uint references;
} view_box;

/* The highest version of one key's statement that was ever seen verified. */
typedef struct seen_statement {
    char key[COORD_KEY_BYTES];
    uint64_t version;
    uint8_t digest[CRYPTO_HASH_BYTES];   /* of the statement's payload */
    uint8_t envelope[CRYPTO_HASH_BYTES]; /* of the stored bytes whose signature was verified */
} seen_statement;

/* What this process remembers, so that coordination cannot go back: versions, sequence and epoch only rise,
 * and a statement never disappears. Not thread-safe. */
typedef struct seen {
    seen_statement *statements; /* sorted by key */
    size_t count, capacity;
    uint64_t seq, epoch;
} seen;

void seen_free(seen *self); /* takes NULL and zeroed */
/* Remembers a verified statement if its version is higher than what is known. FAILED_PRECONDITION, reason
 * CONTROL_ROLLED_BACK: a higher one is known, or another one of the same version. */
status_code seen_take(seen *self, const statement *in, const uint8_t envelope[CRYPTO_HASH_BYTES],
                      failure *why) MUST_USE;
const seen_statement *seen_find(const seen *self, const char *key);

/* All keys under "control/", sorted, as of one revision. On success *out is a view with one reference.
 * Otherwise `why` tells the first thing that was refused and how many more there are: a signature, a
 * statement at another's key, one that went back or went missing, a number that is none. Whatever verifies is
 * remembered in `known` even when the whole is refused. */
status_code view_build(const trust *roots, const chance *source, seen *known, const coord_kv *kvs,
                       size_t count, view_box **out, failure *why) MUST_USE;
/* A view of nothing, for a store that never held a valid one: it enrols nobody. */
status_code view_empty(view_box **out, failure *why) MUST_USE;
void view_unref(view_box *self); /* takes NULL */

/* A decimal as coordination holds them: no sign, no leading zero, below 2^63. */
bool control_number_parse(bytes text, uint64_t *out) MUST_USE;

/* The freshness rule (PROTOCOL §3): a read that was sent at proof_ns (0: none) proves until 3 s later, on the
 * same clock. */
bool freshness_holds(uint64_t proof_ns, uint64_t now_ns);

/* A replica's announcement, in replicas/policy/<id>. */
typedef struct announcement {
    uint64_t applied_seq;
    char boot_id[37];
    uint64_t proof_boot_ns;
    int64_t proof_wall_ms;
} announcement;

void announcement_write(const announcement *self, buffer *out);
bool announcement_parse(bytes text, announcement *out) MUST_USE;

/* The instant at which an announcement is judged, by whom. */
typedef struct announcement_view {
    uint64_t current_seq;
    uint64_t current_since_ns; /* boot time since when the reader knows that current_seq stands */
    const char *boot_id;
    uint64_t boot_ns;
    int64_t wall_ms;
} announcement_view;

/* CONFIRMED: it has applied the current sequence. SELF_CLOSED: it has not, and neither can it still be fresh
 * without: its last proof and the current sequence are both older than the bound (announced proofs alone can
 * lag behind real ones). UNKNOWN otherwise. *proof_age_ms is by the same clock when it is of the same boot,
 * else by the wall's. */
Interlock__Control__V1__ReplicaState announcement_judge(const announcement *self,
                                                        const announcement_view *now, uint64_t *proof_age_ms);

#endif
