/* Following the log into policy.db: which actions have which decision, which control statements are recorded,
 * the highest control_seq, the latest fence. A decision never waits for it. One thread (the follower's)
 * applies; the numbers may be read from any thread. */
#ifndef POLICY_PROJECTION_H
#define POLICY_PROJECTION_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/chance.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "policy_store.h"

/* Audit says "up to date" every second; older than this, the projection does not know what it lacks. */
#define PROJECTION_CURRENT_MS 3000U

/* Every control statement that the log holds, those already applied first; on the thread that opens or
 * applies. */
typedef void (*projection_statement)(void *context, const Interlock__Common__V1__Envelope *statement);

typedef struct projection {
    projection_statement statement; /* may be NULL */
    void *context;
    policy_store *writer;
    arena memory;
    const chance *source;
    policy_store_position position; /* the follower's thread alone */
    _Atomic uint64_t control_seq;
    _Atomic uint64_t fence_index;
    _Atomic uint64_t epoch;           /* of the log, as far as it is known; never falls */
    _Atomic uint64_t applied;         /* next_index */
    _Atomic uint64_t current_boot_ms; /* when it last had all of the log; 0: never */
} projection;

/* `statement` and `context` are set by the caller before. */
status_code projection_open(projection *self, const char *path, const char *origin, const chance *source,
                            failure *why) MUST_USE;
void projection_close(projection *self); /* takes a zeroed one */

/* The index to follow from: the last one applied again, so that another log shows. */
uint64_t projection_from(const projection *self);

/* Applies a batch in one transaction. FAILED_PRECONDITION, reason ANOTHER_LOG: the log is not the one this
 * was made from; everything was forgotten, follow again from projection_from. DATA_LOSS: end the process.
 * Anything else: nothing was applied, try again. */
status_code projection_apply(projection *self, const Interlock__Audit__V1__TailResponse *batch,
                             failure *why) MUST_USE;

/* A receipt has shown this epoch of the log. */
void projection_saw_epoch(projection *self, uint64_t epoch);

bool projection_is_current(const projection *self);

#endif
