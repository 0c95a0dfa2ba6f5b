/* A policy set beside the one in force: every decision is made a second time by it, without effect, and where
 * the two differ is counted and kept. Thread-safe; without a shadow set it costs one look at a pointer. */
#ifndef POLICY_SHADOW_H
#define POLICY_SHADOW_H

#include "books.h"
#include "decide.h"

#define SHADOW_DIFFERENCES 256U
#define SHADOW_OUTCOMES 6U

typedef struct shadow_difference shadow_difference;

typedef struct shadow {
    books books;
    pthread_mutex_t lock;                   /* short: over everything below */
    char digest[2 * CRYPTO_HASH_BYTES + 1]; /* of the set that is counted */
    uint64_t version;
    int64_t since_ms;
    uint64_t decisions, different;
    uint64_t counts[SHADOW_OUTCOMES][SHADOW_OUTCOMES]; /* live, shadow */
    shadow_difference *ring; /* SHADOW_DIFFERENCES, oldest overwritten; NULL: none yet */
} shadow;

void shadow_init(shadow *self);
void shadow_free(shadow *self);

/* Decides again by the view's shadow set, if there is one, and compares. `live` was decided on `facts`. */
void shadow_observe(shadow *self, const control_view *view, const decision_facts *facts,
                    const Interlock__Policy__V1__Decision *live, arena *memory);

/* What was counted since the present shadow set came; an empty report when there is none. At most `limit`
 * differences, newest first. */
status_code shadow_report(shadow *self, const control_view *view, uint32_t limit, arena *memory,
                          Interlock__Policy__V1__GetShadowReportResponse *out, failure *why) MUST_USE;

void shadow_write_metrics(shadow *self, buffer *out);

#endif
