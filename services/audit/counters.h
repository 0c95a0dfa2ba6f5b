/* The caps that audit enforces inside an append (PROTOCOL §1). A counter keeps eleven buckets of a tenth of
 * its window on the boot clock. Any interval as long as the window touches at most eleven neighbouring
 * buckets, and their sum never exceeds the cap; so no interval holds more than the cap. A counter is known by
 * its key alone: a changed window takes over what was charged, as if charged just now, which errs on the safe
 * side.
 *
 * The table holds every live counter in memory; the store has a copy of each, written in the same transaction
 * as the record that charged it. Charges belong to a group: counters_keep or counters_undo ends it. One
 * thread. */
#ifndef AUDIT_COUNTERS_H
#define AUDIT_COUNTERS_H

#include "append.h"

#define COUNTER_BUCKETS 11U
#define COUNTERS_MAX 131072U /* live counters: about 64 MiB */

typedef struct counter_state {
    uint64_t window_ms;
    uint64_t newest;                /* number of the last bucket: boot clock / (window / 10) */
    uint64_t sums[COUNTER_BUCKETS]; /* oldest first */
} counter_state;

/* ---- one counter, pure ---- */

/* Moves on to the bucket of `now_ns`. A clock that stands still or runs back leaves the buckets as they are.
 */
void counter_advance(counter_state *self, uint64_t now_ns);
uint64_t counter_total(const counter_state *self);
/* Everything ever charged counts as charged now: for another boot's clock, or another window. */
void counter_restart(counter_state *self, uint64_t window_ms, uint64_t now_ns);
/* Milliseconds until `cost` may fit below `cap` if nothing else is charged; 0 when it never will. */
uint32_t counter_retry_after_ms(const counter_state *self, uint64_t cap, uint64_t cost, uint64_t now_ns);

/* ---- the table ---- */
typedef struct counters counters;

status_code counters_new(counters **out, failure *why) MUST_USE;
void counters_free(counters *self); /* takes NULL */
size_t counters_count(const counters *self);

/* As read from the store. */
status_code counters_load(counters *self, const char *key, const counter_state *state, failure *why) MUST_USE;

typedef enum counters_verdict { COUNTERS_CHARGED, COUNTERS_EXHAUSTED, COUNTERS_FULL } counters_verdict;

/* Charges all or nothing. On COUNTERS_EXHAUSTED *which is the first charge that does not fit and
 * *retry_after_ms when it may. */
counters_verdict counters_charge(counters *self, const append_charge *charges, size_t count, uint64_t now_ns,
                                 size_t *which, uint32_t *retry_after_ms);

/* Calls `each` for every counter charged since the last keep or undo; stops at its first error. */
status_code counters_changed(counters *self,
                             status_code (*each)(void *context, const char *key, const counter_state *state,
                                                 failure *why),
                             void *context, failure *why) MUST_USE;
/* The same for all there are. */
status_code counters_each(counters *self,
                          status_code (*each)(void *context, const char *key, const counter_state *state,
                                              failure *why),
                          void *context, failure *why) MUST_USE;
void counters_keep(counters *self);
void counters_undo(counters *self);

/* Looks at the next few counters in turn and calls `gone` for the one that no longer counts anything; it is
 * dropped when `gone` returns OK. Between groups. */
status_code counters_sweep(counters *self, uint64_t now_ns,
                           status_code (*gone)(void *context, const char *key, failure *why), void *context,
                           failure *why) MUST_USE;

#endif
