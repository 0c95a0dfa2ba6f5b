/* The decision, as a pure function: facts in, Decision out. It reads no clock, draws no chance, knows no
 * network. A fact that is absent is unknown, never false or zero: what needs it is deferred, or counted at
 * its upper end.
 *
 * Judged in this order, of which the first that speaks gives the outcome (every finding is given anyway):
 *
 *     control data not fresh        DEFER    KILL_SWITCH unknown      CONTROL_NOT_FRESH, CONTROL_BEHIND_FENCE
 *     kill switch                   DEFER    KILL_SWITCH fails        KILL_SWITCH_SET
 *     counters of the log           DEFER    RATE_LIMITING fails      COUNTER_EXHAUSTED
 *     identity: key and model       DENY     IDENTITY_BINDING fails   MODEL_MISMATCH, ACTOR_MISMATCH
 *     policies: forbidden, failed   DENY     SANDBOX_GRANTS fails     FORBIDDEN, RULE_FAILED
 *     policies: fact, defer rule    DEFER    SANDBOX_GRANTS           FACT_UNKNOWN, DEFERRED_BY_RULE
 *     policies: nothing permits     DENY     SANDBOX_GRANTS fails     NOTHING_PERMITTED
 *     policy unreadable             DEFER    SANDBOX_GRANTS unknown   POLICY_UNREADABLE
 *     impact not to be had          DEFER    BLAST_RADIUS unknown     CONTEXT_STALE
 *     a bound is not kept           DENY     BLAST_RADIUS fails       OVER_BOUND, or unknown: TARGET_UNKNOWN
 *     a bound lacks its fact        DEFER    BLAST_RADIUS unknown     FACT_UNKNOWN
 *     no executor (enforced alone)  DEFER    IDENTITY_BINDING fails   EXECUTOR_NOT_ENROLLED
 *     a quorum is to approve        REVIEW   QUORUM_GATES unknown     NEEDS_APPROVAL
 *     too many rate limits          DENY     RATE_LIMITING fails      TOO_MANY_COUNTERS (enforced alone)
 *     the bounds narrow it          MODIFY   BLAST_RADIUS passes      NARROWED
 *     else                          ALLOW */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "action.h"
#include "base/arena.h"
#include "document.h"

#define DECIDE_IMPACT_BYTES                                                                                  \
    (48U << 10) /* of the impact in the record; the least probable nodes are left out */

typedef struct decision_facts {
    const char *installation;
    const Interlock__Policy__V1__Action *action;
    const uint8_t *digest; /* of the action, 32 bytes */
    const control_enrolment *enrolment;
    int64_t now_ms;
    const uint8_t *permit_id; /* 16 random bytes */

    bool control_fresh;
    bool behind_fence;          /* the log has refused this control_seq */
    const char *control_reason; /* why not fresh, for people */
    uint64_t control_seq;
    uint64_t epoch;                           /* of the log */
    const Interlock__Control__V1__Kill *kill; /* the one that covers the action; NULL */

    const char *counter_key; /* a counter that the log found exhausted; NULL */
    uint32_t counter_retry_ms;

    const policy_document *document; /* NULL: none is set, or: */
    bool policy_unreadable;

    const Interlock__Graph__V1__Impact *impact; /* NULL: not to be had */
    const char *impact_reason;                  /* why not, for people */
    uint64_t graph_revision;
    char *const *unknown_targets; /* those the graph has never seen */
    size_t unknown_count;

    const char *executor_principal;
    const control_enrolment *executor; /* NULL: not enrolled */
} decision_facts;

/* Everything in the decision is in the arena or belongs to the action and the impact. RESOURCE_EXHAUSTED
 * without memory, nothing else. */
status_code decide(const decision_facts *facts, arena *memory, Interlock__Policy__V1__Decision **out,
                   failure *why) MUST_USE;

/* Enforced when every target has a stage above advisory; dry run when the action asks for it. Advisory
 * without a document. */
Interlock__Policy__V1__Mode decide_mode(const policy_document *document,
                                        const Interlock__Policy__V1__Action *action);

/* "ALLOW" etc.; "" for an outcome that is not one. */
const char *outcome_name(Interlock__Policy__V1__Outcome outcome);
/* ALLOW, MODIFY and DENY are final: asked again, they are repeated. */
bool outcome_is_final(Interlock__Policy__V1__Outcome outcome);

#endif
