/* Cases for policies (docs/policies.md, "Testing policies"): facts, and what must come of them.
 *
 *     apiVersion: interlock/v1
 *     kind: PolicyTest
 *     policies: [shop.yaml]          # files or folders beside this file; --policy goes over it
 *     defaults:                      # facts that every case begins with
 *       agent: {principal: agent/deployer}
 *     cases:
 *       - name: a small restart runs
 *         action: {verb: restart}
 *         targets: [service:prod/shop/email]
 *         impact: {entry_traffic: 0.01}
 *         expect: {outcome: ALLOW, findings: [small-changes], silent: [no-foundations]} */
#ifndef CLI_POLICY_CASES_H
#define CLI_POLICY_CASES_H

#include "facts_reader.h"
#include "policies/explain.h"

#define POLICY_CASES_MAX 20000U /* of one file */

typedef struct policy_expectation {
    const char *outcome;         /* "ALLOW", …; always stated */
    const char *reason, *fact;   /* NULL: not stated */
    const char *rule;            /* the decisive one; NULL: not stated */
    const char *message;         /* part of the decisive rule's message; NULL: not stated */
    const char *const *findings; /* rules that must hold */
    const char *const *silent;   /* rules that must not hold */
    size_t finding_count, silent_count;
    policy_bounds bounds; /* those stated */
} policy_expectation;

typedef struct policy_case {
    const char *name;
    uint32_t line;
    policy_facts facts;
    policy_expectation expect;
} policy_case;

typedef struct policy_case_file {
    const char *file;
    const char *const *policies; /* as written; relative to the file */
    size_t policy_count;
    policy_case *cases;
    size_t case_count;
} policy_case_file;

/* Everything is in the source's arena. INVALID_ARGUMENT with the place. */
status_code policy_cases_read(const yaml_source *source, policy_case_file *out, failure *why) MUST_USE;

/* What is not as expected, a line each; nothing when all is. */
void policy_case_judge(const policy_case *self, const policy_explanation *found, buffer *problems);

/* Over all cases: which rules held, and which conditions were seen to be true and to be false. */
typedef struct policy_coverage {
    uint32_t *held, *false_of; /* by rule: in how many cases it held, or its condition was false */
    uint32_t *matched;         /* in how many its match covered the action */
    size_t rule_count;
} policy_coverage;

status_code policy_coverage_init(policy_coverage *self, const policy_set *set, arena *memory,
                                 failure *why) MUST_USE;
void policy_coverage_add(policy_coverage *self, const policy_explanation *found);
/* How many rules held at least once; 100 when there are none. */
double policy_coverage_percent(const policy_coverage *self);

#endif
