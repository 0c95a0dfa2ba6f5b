/* A decision while it is being written: what the judges of decide.c and decide_policies.c share. Each adds
 * its findings and, where it objects, concludes; the first conclusion stands. */
#ifndef POLICY_DRAFT_H
#define POLICY_DRAFT_H

#include "decide.h"

#define FINDINGS_MAX 40U
#define RETRY_SOON_MS 1000U
#define RETRY_LATER_MS 5000U

#define OUTCOME(word) INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_##word
#define PRIMITIVE(word) INTERLOCK__POLICY__V1__PRIMITIVE__PRIMITIVE_##word
#define MODE(word) INTERLOCK__POLICY__V1__MODE__MODE_##word
#define PASS INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_PASS
#define FAIL INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_FAIL
#define UNKNOWN INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_UNKNOWN

typedef Interlock__Policy__V1__Finding finding;

typedef struct draft {
    const decision_facts *facts;
    Interlock__Policy__V1__Decision *decision;
    arena *memory;
    const char *subject;                /* "deploy on service:prod/shop/cart" */
    Interlock__Graph__V1__Share *share; /* that is judged; NULL without an impact */
    policy_facts seen;                  /* what the policies judge by */
    policy_result result;               /* what they say; zero without a document */
    bool out_of_memory;
} draft;

/* Copies into the arena; "" without memory, which the draft remembers. */
char *draft_copy(draft *self, const char *text);
char *draft_write(draft *self, const char *format, ...) PRINTF_LIKE(2, 3);
char *draft_share(draft *self, double share);

/* Appends a finding; NULL without memory. `message` stays as it is. */
finding *draft_finding(draft *self, Interlock__Policy__V1__Primitive primitive,
                       Interlock__Policy__V1__Finding__Result result, const char *reason, char *message);
/* The first conclusion stands. */
void draft_conclude(draft *self, Interlock__Policy__V1__Outcome outcome, uint32_t retry_after_ms,
                    const char *sentence);
bool draft_undecided(const draft *self);

/* ---- decide_policies.c ---- */

/* Lets the policies judge, and concludes where they refuse or defer. */
void judge_policies(draft *self);
/* The predicted impact against the bounds, then the other bounds. */
void judge_impact(draft *self);
/* Whether a quorum has to approve. */
void judge_approval(draft *self);
/* Whether the bounds leave less than was asked for. */
bool draft_is_narrowed(const draft *self);
/* "at most 10 percent, 2 replicas". */
char *draft_bounds_text(draft *self);
/* Puts the intersected bounds into the decision. */
void draft_add_bounds(draft *self);

#endif
