/* What can be told of a set without an action: rules that can never speak, rules that others make useless,
 * quorums that nobody could meet, a set that locks everybody out. */
#ifndef POLICIES_CHECK_H
#define POLICIES_CHECK_H

#include "policies/policies.h"

typedef struct policy_check_options {
    const char *const *principals; /* who is enrolled; NULL: not known, quorums are not checked */
    size_t principal_count;
} policy_check_options;

/* Findings sorted by place, in `memory`. ERROR: LOCK_OUT (nothing can ever be permitted), QUORUM_IMPOSSIBLE,
 * NEVER_HOLDS (a condition that is false whatever the facts, a match that contradicts itself), ALWAYS_FAILS,
 * COSTLY. WARNING: SHADOWED, DUPLICATE, ALWAYS_HOLDS, FACT_NOT_PROVIDED, QUORUM_UNUSED.
 * RESOURCE_EXHAUSTED without memory. */
status_code policies_check(const policy_set *set, const policy_check_options *options, arena *memory,
                           policy_problems *out, failure *why) MUST_USE;

/* Whether no action of anybody could get another outcome than DENY or DEFER. */
bool policies_lock_out(const policy_set *set);

#endif
