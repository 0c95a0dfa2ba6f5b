/* Why a decision came out as it did, rule by rule, with the values read; and single expressions, for trying.
 * Not for the hot path. */
#ifndef POLICIES_EXPLAIN_H
#define POLICIES_EXPLAIN_H

#include "policies/policies.h"

typedef struct policy_value {
    const char *path;  /* "impact.entry_traffic.high" */
    const char *value; /* as CEL would write it; "unknown" when it is absent */
    bool unknown;
} policy_value;

typedef struct policy_step {
    policy_finding finding;     /* of every rule of the set, also those that do not match */
    const policy_value *values; /* what its condition names; none when it does not match */
    size_t value_count;
    const char *message; /* rendered; "" unless it holds */
} policy_step;

typedef struct policy_explanation {
    policy_result result;
    const policy_step *steps; /* one a rule, sorted by name */
    size_t step_count;
} policy_explanation;

status_code policies_explain(const policy_set *set, const policy_facts *facts, arena *memory,
                             policy_explanation *out, failure *why) MUST_USE;

/* One expression over the facts (set may be NULL): its type and value as text, or what is wrong with it
 * (INVALID_ARGUMENT, with line, column and caret). An unknown fact is a value: "unknown:
 * impact.entry_traffic". */
status_code policies_try(const policy_set *set, bytes expression, const policy_facts *facts, arena *memory,
                         const char **type, const char **value, failure *why) MUST_USE;

/* A value as CEL would write it; lists and maps to 50 elements. */
void policy_value_print(cel_value value, buffer *out);

#endif
