/* A recorded decision as policies see it: the facts it rested on, put together again from its record. */
#ifndef CLI_POLICY_RECORD_H
#define CLI_POLICY_RECORD_H

#include "cli.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "policies/policies.h"

typedef struct recorded_decision {
    uint64_t log_index;
    const Interlock__Policy__V1__Decision *decision;
    const Interlock__Policy__V1__Action *action;
    policy_facts facts;
    /* What decided before any policy was asked (a kill switch, stale control data, a model that does not
     * match): the reason word of its finding. NULL when the policy decided. */
    const char *elsewhere;
    /* What would have made an allowed action wait (EXECUTOR_NOT_ENROLLED); NULL when nothing. */
    const char *afterwards;
    /* The policy set that decided; "" when there was none. */
    const char *policy_digest;
    uint64_t policy_version;
} recorded_decision;

/* Everything is in `memory` or belongs to `entry`. NOT_FOUND when the entry is no decision, or its body was
 * erased; INVALID_ARGUMENT when it cannot be read. */
status_code recorded_decision_read(const Interlock__Audit__V1__Entry *entry, arena *memory,
                                   recorded_decision *out, failure *why) MUST_USE;

#endif
