/* Cases for policies: reading and judging them. */
#include "policy_cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct cases_work {
    const yaml_source *source;
    policy_facts defaults;
    failure *why;
} cases_work;

static status_code no_memory(const cases_work *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the cases of %.200s",
                self->source->file);
}

static status_code text(const cases_work *self, const yaml_item *map, const char *key, const char **out) {
    return yaml_text_of(self->source, yaml_member(map, key), key, out, self->why);
}

static status_code read_outcome(const cases_work *self, const yaml_item *expect, policy_expectation *out) {
    const yaml_item *item = yaml_member(expect, "outcome");
    if (item == NULL)
        return yaml_fail(self->source, expect, self->why, "expect states an outcome");
    for (int number = POLICY_ALLOW; number <= POLICY_DENY; number++)
        if (item->kind == YAML_SCALAR &&
            strcmp(item->text, policy_outcome_name((policy_outcome)number)) == 0) {
            out->outcome = item->text;
            return STATUS_OK;
        }
    return yaml_fail(self->source, item, self->why, "outcome is ALLOW, MODIFY, REVIEW, DEFER or DENY");
}

static status_code read_reason(const cases_work *self, const yaml_item *expect, policy_expectation *out) {
    const yaml_item *item = yaml_member(expect, "reason");
    if (item == NULL)
        return STATUS_OK;
    for (int number = POLICY_PERMITTED; number <= POLICY_OVER_BOUND; number++)
        if (item->kind == YAML_SCALAR && strcmp(item->text, policy_reason_name((policy_reason)number)) == 0) {
            out->reason = item->text;
            return STATUS_OK;
        }
    return yaml_fail(
        self->source, item, self->why,
        "no such reason; docs/policy.md lists them (PERMITTED, FORBIDDEN, NOTHING_PERMITTED, …)");
}

static status_code read_bounds(const cases_work *self, const yaml_item *map, policy_bounds *out) {
    const char *keys[POLICY_BOUND_COUNT + 1] = {NULL};
    if (map == NULL)
        return STATUS_OK;
    for (int kind = 0; kind < POLICY_BOUND_COUNT; kind++)
        keys[kind] = policy_bound_name((policy_bound_kind)kind);
    status_code code = yaml_keys(self->source, map, "bounds", keys, self->why);
    for (int kind = 0; code == STATUS_OK && kind < POLICY_BOUND_COUNT; kind++) {
        const yaml_item *item = yaml_member(map, keys[kind]);
        out->of[kind].stated = item != NULL;
        code = yaml_number_of(self->source, item, keys[kind], 0, 1e9, &out->of[kind].most, self->why);
    }
    return code;
}

static status_code read_expectation(const cases_work *self, const yaml_item *expect,
                                    policy_expectation *out) {
    static const char *const keys[] = {"outcome", "reason",  "rule", "findings", "silent",
                                       "bounds",  "message", "fact", NULL};
    status_code code = yaml_keys(self->source, expect, "expect", keys, self->why);
    if (code == STATUS_OK)
        code = read_outcome(self, expect, out);
    if (code == STATUS_OK)
        code = read_reason(self, expect, out);
    if (code == STATUS_OK)
        code = text(self, expect, "rule", &out->rule);
    if (code == STATUS_OK)
        code = text(self, expect, "message", &out->message);
    if (code == STATUS_OK)
        code = text(self, expect, "fact", &out->fact);
    if (code == STATUS_OK)
        code = yaml_texts_of(self->source, yaml_member(expect, "findings"), "findings", &out->findings,
                             &out->finding_count, self->why);
    if (code == STATUS_OK)
        code = yaml_texts_of(self->source, yaml_member(expect, "silent"), "silent", &out->silent,
                             &out->silent_count, self->why);
    return code == STATUS_OK ? read_bounds(self, yaml_member(expect, "bounds"), &out->bounds) : code;
}

/* "a case" has the keys of facts beside its own two. */
static status_code check_case_keys(const cases_work *self, const yaml_item *item) {
    const char *keys[16] = {"name", "expect"};
    for (size_t i = 0; i < 13 && facts_keys[i] != NULL; i++)
        keys[2 + i] = facts_keys[i];
    return yaml_keys(self->source, item, "a case", keys, self->why);
}

static status_code read_case(const cases_work *self, const yaml_item *item, policy_case *out) {
    status_code code = check_case_keys(self, item);
    out->line = item->line;
    out->facts = self->defaults;
    if (code == STATUS_OK)
        code = text(self, item, "name", &out->name);
    if (code == STATUS_OK && (out->name == NULL || out->name[0] == '\0'))
        code = yaml_fail(self->source, item, self->why, "a case has a name");
    if (code == STATUS_OK)
        code = facts_read(self->source, item, &out->facts, self->why);
    if (code == STATUS_OK && out->facts.target_count == 0)
        code = yaml_fail(self->source, item, self->why, "a case has targets, its own or by default");
    if (code == STATUS_OK && yaml_member(item, "expect") == NULL)
        code = yaml_fail(self->source, item, self->why, "a case says what to expect");
    return code == STATUS_OK ? read_expectation(self, yaml_member(item, "expect"), &out->expect) : code;
}

static status_code check_head(const cases_work *self, const yaml_item *root) {
    static const char *const keys[] = {"apiVersion", "kind", "policies", "defaults", "cases", NULL};
    const yaml_item *version = yaml_member(root, "apiVersion"), *kind = yaml_member(root, "kind");
    status_code code = yaml_keys(self->source, root, "a file of cases", keys, self->why);
    if (code != STATUS_OK)
        return code;
    if (version == NULL || version->kind != YAML_SCALAR || strcmp(version->text, "interlock/v1") != 0)
        return yaml_fail(self->source, version != NULL ? version : root, self->why,
                         "apiVersion is interlock/v1");
    if (kind == NULL || kind->kind != YAML_SCALAR || strcmp(kind->text, "PolicyTest") != 0)
        return yaml_fail(self->source, kind != NULL ? kind : root, self->why, "kind is PolicyTest");
    return STATUS_OK;
}

static status_code read_defaults(cases_work *self, const yaml_item *map) {
    if (map == NULL)
        return STATUS_OK;
    status_code code = yaml_keys(self->source, map, "defaults", facts_keys, self->why);
    return code == STATUS_OK ? facts_read(self->source, map, &self->defaults, self->why) : code;
}

static status_code check_names(const cases_work *self, const yaml_item *item, const policy_case *cases,
                               size_t last) {
    for (size_t i = 0; i < last; i++)
        if (strcmp(cases[i].name, cases[last].name) == 0)
            return yaml_fail(self->source, item, self->why, "the case of line %u has the same name",
                             cases[i].line);
    return STATUS_OK;
}

static status_code read_cases(const cases_work *self, const yaml_item *root, policy_case_file *out) {
    const yaml_item *list = yaml_member(root, "cases");
    if (list == NULL || list->kind != YAML_LIST || list->count == 0 || list->count > POLICY_CASES_MAX)
        return yaml_fail(self->source, list != NULL ? list : root, self->why,
                         "cases is a list of 1 to %u cases", POLICY_CASES_MAX);
    out->cases = arena_zero(self->source->memory, list->count, sizeof *out->cases);
    if (out->cases == NULL)
        return no_memory(self);
    for (const yaml_item *item = list->first; item != NULL; item = item->next, out->case_count++) {
        status_code code = read_case(self, item, &out->cases[out->case_count]);
        if (code == STATUS_OK)
            code = check_names(self, item, out->cases, out->case_count);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

status_code policy_cases_read(const yaml_source *source, policy_case_file *out, failure *why) {
    cases_work self = {.source = source, .why = why};
    policy_case_file made = {.file = source->file};
    const yaml_item *root = NULL;
    status_code code = yaml_open(source, &root, why);
    if (code == STATUS_OK)
        code = check_head(&self, root);
    if (code == STATUS_OK)
        code = yaml_texts_of(source, yaml_member(root, "policies"), "policies", &made.policies,
                             &made.policy_count, why);
    if (code == STATUS_OK)
        code = read_defaults(&self, yaml_member(root, "defaults"));
    if (code == STATUS_OK)
        code = read_cases(&self, root, &made);
    if (code == STATUS_OK)
        *out = made;
    return code;
}

/* ---- judging ---- */

static const policy_step *step_of(const policy_explanation *found, const char *rule) {
    for (size_t i = 0; i < found->step_count; i++)
        if (strcmp(found->steps[i].finding.rule->name, rule) == 0)
            return &found->steps[i];
    return NULL;
}

static void judge_text(const char *what, const char *expected, const char *found, buffer *problems) {
    if (expected != NULL && strcmp(expected, found) != 0)
        buffer_format(problems, "%s is %s, expected %s\n", what, found[0] != '\0' ? found : "none", expected);
}

static void judge_rules(const policy_expectation *expect, const policy_explanation *found, buffer *problems) {
    for (size_t i = 0; i < expect->finding_count; i++) {
        const policy_step *step = step_of(found, expect->findings[i]);
        if (step == NULL)
            buffer_format(problems, "there is no rule %s\n", expect->findings[i]);
        else if (step->finding.state != POLICY_HOLDS)
            buffer_format(problems, "%s does not hold: %s%s%s\n", expect->findings[i],
                          policy_state_name(step->finding.state),
                          step->finding.detail != NULL && step->finding.detail[0] != '\0' ? ", " : "",
                          step->finding.detail != NULL ? step->finding.detail : "");
    }
    for (size_t i = 0; i < expect->silent_count; i++) {
        const policy_step *step = step_of(found, expect->silent[i]);
        if (step == NULL)
            buffer_format(problems, "there is no rule %s\n", expect->silent[i]);
        else if (step->finding.state == POLICY_HOLDS)
            buffer_format(problems, "%s holds, and should not\n", expect->silent[i]);
    }
}

static void judge_bounds(const policy_bounds *expected, const policy_bounds *found, buffer *problems) {
    for (int kind = 0; kind < POLICY_BOUND_COUNT; kind++) {
        const policy_bound *wanted = &expected->of[kind], *is = &found->of[kind];
        const char *name = policy_bound_name((policy_bound_kind)kind);
        if (wanted->stated && !is->stated)
            buffer_format(problems, "%s is not bounded, expected %g\n", name, wanted->most);
        else if (wanted->stated && fabs(wanted->most - is->most) > 1e-9)
            buffer_format(problems, "%s is bounded by %g, expected %g\n", name, is->most, wanted->most);
    }
}

static void judge_message(const policy_expectation *expect, const policy_explanation *found,
                          buffer *problems) {
    const policy_finding *decisive = found->result.decisive;
    const policy_step *step = decisive != NULL ? step_of(found, decisive->rule->name) : NULL;
    const char *message = step != NULL ? step->message : "";
    if (expect->message != NULL && strstr(message, expect->message) == NULL)
        buffer_format(problems, "the message is \"%s\", expected it to hold \"%s\"\n", message,
                      expect->message);
}

/* The rule by which: of a bound that does not hold, whose bound it is. */
static const char *decisive_rule(const policy_result *result) {
    if (result->decisive != NULL)
        return result->decisive->rule->name;
    if (result->reason == POLICY_OVER_BOUND && result->bounds.of[result->over].rule != NULL)
        return result->bounds.of[result->over].rule->name;
    return "";
}

void policy_case_judge(const policy_case *self, const policy_explanation *found, buffer *problems) {
    const policy_result *result = &found->result;
    const char *outcome = policy_outcome_name(result->outcome);
    if (strcmp(self->expect.outcome, outcome) != 0)
        buffer_format(problems, "the outcome is %s (%s%s%s%s%s), expected %s\n", outcome,
                      policy_reason_name(result->reason), decisive_rule(result)[0] != '\0' ? " by " : "",
                      decisive_rule(result),
                      result->fact != NULL && result->fact[0] != '\0' ? ", lacks " : "",
                      result->fact != NULL ? result->fact : "", self->expect.outcome);
    else
        judge_text("the reason", self->expect.reason, policy_reason_name(result->reason), problems);
    judge_text("the decisive rule", self->expect.rule, decisive_rule(result), problems);
    judge_text("the absent fact", self->expect.fact, result->fact != NULL ? result->fact : "", problems);
    judge_rules(&self->expect, found, problems);
    judge_bounds(&self->expect.bounds, &result->bounds, problems);
    judge_message(&self->expect, found, problems);
}

/* ---- coverage ---- */

status_code policy_coverage_init(policy_coverage *self, const policy_set *set, arena *memory, failure *why) {
    policy_coverage made = {.rule_count = set->rule_count};
    made.held = arena_zero(memory, set->rule_count + 1, sizeof *made.held);
    made.false_of = arena_zero(memory, set->rule_count + 1, sizeof *made.false_of);
    made.matched = arena_zero(memory, set->rule_count + 1, sizeof *made.matched);
    if (made.held == NULL || made.false_of == NULL || made.matched == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the coverage");
    *self = made;
    return STATUS_OK;
}

void policy_coverage_add(policy_coverage *self, const policy_explanation *found) {
    for (size_t i = 0; i < found->step_count; i++) {
        const policy_finding *finding = &found->steps[i].finding;
        uint32_t rule = finding->rule->index;
        if (rule >= self->rule_count || finding->state == POLICY_NO_MATCH)
            continue;
        self->matched[rule]++;
        self->held[rule] += finding->state == POLICY_HOLDS;
        self->false_of[rule] += finding->state == POLICY_CONDITION_FALSE;
    }
}

double policy_coverage_percent(const policy_coverage *self) {
    size_t covered = 0;
    for (size_t i = 0; i < self->rule_count; i++)
        covered += self->held[i] > 0;
    return self->rule_count > 0 ? 100.0 * (double)covered / (double)self->rule_count : 100;
}
