/* Control data as a replica sees it: enrolled keys, the policy set, kill switches; signed statements in
 * coordination, of which every one is verified here before it counts (PROTOCOL §3). Keys in coordination:
 *
 *     control/seq                      decimal; bumped in every control write's transaction
 *     control/epoch                    decimal; bumped when a backup is restored
 *     control/enrolment/<keyid>        Envelope of Enrolment
 *     control/policy                   Envelope of PolicySet
 *     control/shadow                   the same, of a set that is judged beside it without effect
 *     control/kill/<scope>/<subject>   Envelope of Kill (subject base64url, or "~" and the hex of its SHA-256
 *                                      when longer than 96 bytes; a cleared one stays, with set = false)
 *     replicas/policy/<id>             what a replica last proved; under a lease
 *
 * Anything else under control/, a statement that does not verify, stands at another's key, has gone back to a
 * lower version or has disappeared: the view that was handed out stays, and is not fresh until that is put
 * right.
 *
 * A background thread reads control/seq linearizably every 500 ms; equal to what is applied: fresh until
 * t_send + 3 s on CLOCK_BOOTTIME; else it reads the whole range again. A watch makes it faster and is never
 * trusted alone. Thread-safe. Views are immutable and counted. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "base/arena.h"
#include "base/chance.h"
#include "control/trust.h"
#include "coord/coord.h"
#include "interlock/control/v1/control.pb-c.h"

#define CONTROL_POLL_MS 500U
#define CONTROL_FRESH_MS 3000U

typedef struct control control;

/* What one statement of the control data says, verified. */
typedef struct control_enrolment {
    char keyid[CRYPTO_KEYID_CHARS + 1];
    public_key key;
    const Interlock__Control__V1__Enrolment *statement;
} control_enrolment;

typedef struct control_view {
    uint64_t seq;
    uint64_t epoch;
    const control_enrolment
        *enrolments; /* sorted by keyid; revoked ones stay, so that the reason can be told */
    size_t enrolment_count;
    const Interlock__Control__V1__Kill *const *kills; /* those set */
    size_t kill_count;
    const Interlock__Control__V1__PolicySet *policy; /* NULL when none is set */
    char policy_digest[2 * CRYPTO_HASH_BYTES + 1];   /* hex SHA-256 of the document */
    const Interlock__Control__V1__PolicySet *shadow; /* NULL when there never was one; ended: no document */
    char shadow_digest[2 * CRYPTO_HASH_BYTES + 1];
} control_view;

/* `replica` names this process in replicas/policy/ (NULL: do not announce, e.g. the cli). Starts the
 * background thread and returns after the first complete read, or UNAVAILABLE after 5 s. */
status_code control_open(control **out, coord *coordination, const trust *roots, const char *replica,
                         const chance *source, failure *why) MUST_USE;
void control_close(control *self); /* takes NULL */

/* The newest verified view; release it soon. Lock-free enough for every request. */
const control_view *control_acquire(control *self);
void control_release(control *self, const control_view *view);

/* True while the view that is handed out is proved fresh at this instant. */
bool control_is_fresh(const control *self);
uint64_t control_proof_age_ms(const control *self);
/* The highest control_seq that the log has seen: a coordination store with a lower one was rolled back and is
 * never fresh. */
void control_set_floor(control *self, uint64_t seq);
/* A control statement that the log holds, so that a process that has just started knows the versions below
 * which coordination must not fall, and which statements must not be missing. Older ones are ignored. After
 * news it is not fresh until coordination has been read again. Idempotent. */
status_code control_remember(control *self, const Interlock__Common__V1__Envelope *statement,
                             failure *why) MUST_USE;
/* Why it is not fresh, for people; "" when it is. */
void control_reason(const control *self, char out[256]);

/* Called (on the background thread) after a new view was published. One listener. */
void control_on_change(control *self, void (*changed)(void *context, const control_view *view),
                       void *context);

const control_enrolment *control_find_key(const control_view *view, const char *keyid);
/* The enrolment (not revoked) of a principal, e.g. an executor's; NULL when there is none. */
const control_enrolment *control_find_principal(const control_view *view, const char *principal);
/* The first kill switch that covers an action; NULL when none does. `targets` are node names. */
const Interlock__Control__V1__Kill *control_find_kill(const control_view *view, const char *principal,
                                                      const char *model, const char *verb,
                                                      char *const *targets, size_t target_count);

/* Verifies a control statement (signature by an operator's key of the trust file, header, canonical bytes,
 * version higher than the present one) and writes it with control/seq + 1 in one transaction, retrying on
 * conflicting writers. Idempotent: the same bytes again answer with the present seq. *seq is the sequence
 * that carries it. Blocking; not on an event loop. */
status_code control_put(control *self, const Interlock__Common__V1__Envelope *statement, uint64_t *seq,
                        failure *why) MUST_USE;

#define CONTROL_OTHER_REPLICAS "*"
/* Every replica that announced itself, with its state. When coordination cannot be read: this process, which
 * knows that it is SELF_CLOSED once it is not fresh, and CONTROL_OTHER_REPLICAS, UNKNOWN, for whoever else
 * there is. In the arena, and in `self`. Blocking. */
status_code control_replicas(control *self, arena *memory, Interlock__Control__V1__Replica ***out,
                             size_t *count, failure *why) MUST_USE;

#endif
