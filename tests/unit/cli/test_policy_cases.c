/* Cases for policies: reading them, what is complained of, judging, coverage. */
#include <stdlib.h>
#include <string.h>

#include "policy_cases.h"
#include "policy_sets.h"

#define HEAD "apiVersion: interlock/v1\nkind: PolicyTest\n"
#define TARGETS "targets: [service:prod/shop/cart]"

static arena memory;

static status_code read_text(const char *text, policy_case_file *out, failure *why) {
    const yaml_source source = {.file = "cases.yaml", .text = bytes_of_text(text), .memory = &memory};
    return policy_cases_read(&source, out, why);
}

typedef struct bad_case {
    const char *text, *message;
} bad_case;

static void complaints_name_the_place(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {"", "cases.yaml: "},
        {"kind: PolicyTest\n", "cases.yaml:1:1: apiVersion is interlock/v1"},
        {"apiVersion: interlock/v1\nkind: Policy\n", "cases.yaml:2:7: kind is PolicyTest"},
        {HEAD "cases: []\n", "cases.yaml:3:8: cases is a list"},
        {HEAD "cases:\n  - name: a\n    " TARGETS "\n", "cases.yaml:4:5: a case says what to expect"},
        {HEAD "cases:\n  - " TARGETS "\n    expect: {outcome: ALLOW}\n", "cases.yaml:4:5: a case has a name"},
        {HEAD "cases:\n  - name: a\n    expect: {outcome: ALLOW}\n", "cases.yaml:4:5: a case has targets"},
        {HEAD "cases:\n  - name: a\n    " TARGETS "\n    expect: {outcome: YES}\n",
         "cases.yaml:6:23: outcome is ALLOW"},
        {HEAD "cases:\n  - name: a\n    " TARGETS "\n    expect: {outcome: ALLOW, reason: BECAUSE}\n",
         "cases.yaml:6:38: no such reason"},
        {HEAD "cases:\n  - name: a\n    verb: deploy\n", "cases.yaml:5:5: a case has no key verb"},
        {HEAD "cases:\n  - name: a\n    action: {vreb: x}\n", "cases.yaml:5:14: action has no key vreb"},
        {HEAD "cases:\n  - name: a\n    action: {reach: {percent: 101}}\n",
         "cases.yaml:5:31: percent is a number from 0 to 100"},
        {HEAD "cases:\n  - name: a\n    impact: {entry_traffic: \"0.1\"}\n",
         "cases.yaml:5:29: entry_traffic is a number"},
        {HEAD "cases:\n  - name: a\n    now: yesterday\n", "cases.yaml:5:10: now is a time"},
        {HEAD "cases:\n  - name: a\n    stage: gold\n", "cases.yaml:5:12: stage is advisory"},
        {HEAD "cases:\n  - name: a\n    change: x\n", "cases.yaml:5:5: a case has no key change"},
        {HEAD "cases: &a [*a]\n", "cases.yaml:3:8: "},
        {HEAD "cases:\n  - {name: a, name: b}\n", "cases.yaml:4:15: "},
        {HEAD "cases: [\n", "cases.yaml:"},
        {HEAD "---\n" HEAD, "cases.yaml:4:1: one document"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        policy_case_file file = {0};
        failure why = {0};
        assert_int_equal(read_text(cases[i].text, &file, &why), STATUS_INVALID_ARGUMENT);
        if (strncmp(why.message, cases[i].message, strlen(cases[i].message)) != 0)
            fprintf(stderr, "case %zu: %s\n", i, why.message);
        assert_int_equal(strncmp(why.message, cases[i].message, strlen(cases[i].message)), 0);
        assert_null(file.cases);
    }
}

static void a_caret_stands_under_the_mistake(void **state) {
    (void)state;
    policy_case_file file = {0};
    failure why = {0};
    assert_int_equal(read_text(HEAD "cases:\n  - name: a\n    action: {vreb: x}\n", &file, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "\n |     action: {vreb: x}\n |              ^"));
}

static void a_name_stands_once(void **state) {
    (void)state;
    policy_case_file file = {0};
    failure why = {0};
    assert_int_equal(read_text(HEAD
                               "cases:\n  - {name: a, targets: [service:p/s/x], expect: {outcome: DENY}}\n"
                               "  - {name: a, targets: [service:p/s/x], expect: {outcome: DENY}}\n",
                               &file, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "the case of line 4 has the same name"));
}

static void defaults_lie_below_each_case(void **state) {
    (void)state;
    policy_case_file file = {0};
    failure why = {0};
    assert_int_equal(
        read_text(
            HEAD
            "policies: a.yaml\ndefaults:\n  agent: {principal: agent/a, model: {provider: acme}}\n  " TARGETS
            "\n  impact: {entry_traffic: {expected: 0.1, high: 0.3}}\ncases:\n"
            "  - {name: one, expect: {outcome: ALLOW}}\n"
            "  - name: two\n    agent: {principal: agent/b}\n    impact: unknown\n"
            "    targets: [{name: service:prod/shop/x, tier: 1, labels: {team: a}}]\n"
            "    expect: {outcome: DENY, bounds: {percent: 10}, findings: [a, b], silent: c}\n",
            &file, &why),
        STATUS_OK);
    assert_int_equal(file.case_count, 2);
    assert_int_equal(file.policy_count, 1);
    const policy_facts *one = &file.cases[0].facts, *two = &file.cases[1].facts;
    assert_string_equal(one->agent.principal, "agent/a");
    assert_true(one->impact.known && one->impact.high > 0.29 && one->impact.low < 0.11);
    assert_string_equal(two->agent.principal, "agent/b");
    assert_string_equal(two->agent.model_provider, "acme");
    assert_false(two->impact.known);
    assert_int_equal(two->targets[0].tier, 1);
    assert_true(two->targets[0].labels.known);
    assert_int_equal(file.cases[1].expect.finding_count, 2);
    assert_int_equal(file.cases[1].expect.silent_count, 1);
    assert_true(file.cases[1].expect.bounds.of[POLICY_BOUND_PERCENT].stated);
}

static const char rules[] = SET_HEAD RULE("small", "permit", "deploy, restart",
                                          "  bounds: {entry_traffic: 0.1}\n")
    RULE("gentle", "narrow", "deploy", "  when: impact.entry_traffic.high > 0.05\n  bounds: {percent: 25}\n")
        RULE("never-friday", "forbid", "deploy",
             "  when: now.getDayOfWeek() == 5\n  message: not on a friday\n");

typedef struct judged_case {
    const char *facts, *expect, *problems; /* problems: part of them; NULL: none */
} judged_case;

static void judging_says_what_differs(void **state) {
    (void)state;
    static const judged_case cases[] = {
        {"action: {verb: restart}, impact: {entry_traffic: 0.01}", "outcome: ALLOW, reason: PERMITTED", NULL},
        {"action: {verb: restart}, impact: {entry_traffic: 0.01}", "outcome: DENY", "the outcome is ALLOW"},
        {"action: {verb: restart}, impact: {entry_traffic: 0.2}", "outcome: DENY, rule: small", NULL},
        {"action: {verb: restart}", "outcome: DEFER, fact: impact.entry_traffic", NULL},
        {"action: {verb: restart}", "outcome: DEFER, fact: history", "the absent fact is"},
        {"action: {verb: deploy}, impact: {entry_traffic: 0.07}, now: 2026-11-18T10:00:00Z",
         "outcome: MODIFY, findings: [gentle, small], silent: never-friday, bounds: {percent: 25}", NULL},
        {"action: {verb: deploy}, impact: {entry_traffic: 0.07}, now: 2026-11-18T10:00:00Z",
         "outcome: MODIFY, bounds: {percent: 50}", "percent is bounded by 25, expected 50"},
        {"action: {verb: deploy}, impact: {entry_traffic: 0.01}, now: 2026-11-20T10:00:00Z",
         "outcome: DENY, rule: never-friday, message: friday", NULL},
        {"action: {verb: deploy}, impact: {entry_traffic: 0.01}, now: 2026-11-20T10:00:00Z",
         "outcome: DENY, message: monday", "expected it to hold \"monday\""},
        {"action: {verb: restart}, impact: {entry_traffic: 0.01}", "outcome: ALLOW, findings: [gentle]",
         "gentle does not hold"},
        {"action: {verb: restart}, impact: {entry_traffic: 0.01}", "outcome: ALLOW, silent: [small]",
         "small holds, and should not"},
        {"action: {verb: restart}, impact: {entry_traffic: 0.01}", "outcome: ALLOW, findings: [other]",
         "there is no rule other"},
    };
    policy_set *set = set_of(rules);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        policy_case_file file = {0};
        policy_explanation found = {0};
        failure why = {0};
        buffer problems;
        char text[1024];
        snprintf(text, sizeof text, HEAD "cases:\n  - {name: a, " TARGETS ", %s, expect: {%s}}\n",
                 cases[i].facts, cases[i].expect);
        assert_int_equal(read_text(text, &file, &why), STATUS_OK);
        assert_int_equal(policies_explain(set, &file.cases[0].facts, &memory, &found, &why), STATUS_OK);
        buffer_init(&problems, 4096);
        policy_case_judge(&file.cases[0], &found, &problems);
        const char *said = problems.data != NULL ? problems.data : "";
        if ((cases[i].problems == NULL) != (said[0] == '\0'))
            fprintf(stderr, "case %zu: %s\n", i, said);
        assert_true((cases[i].problems == NULL) == (said[0] == '\0'));
        if (cases[i].problems != NULL)
            assert_non_null(strstr(said, cases[i].problems));
        buffer_free(&problems);
    }
    policies_unref(set);
}

static void cover(policy_coverage *coverage, const policy_set *set, const char *verb, int64_t now_ms) {
    policy_explanation found = {0};
    failure why = {0};
    const policy_target target = {.name = "service:prod/shop/cart"};
    const policy_facts facts = {.action = {.verb = verb},
                                .agent = {.principal = "agent/a"},
                                .targets = &target,
                                .target_count = 1,
                                .impact = {.known = true, .high = 0.01},
                                .now_ms = now_ms};
    assert_int_equal(policies_explain(set, &facts, &memory, &found, &why), STATUS_OK);
    policy_coverage_add(coverage, &found);
}

static void coverage_counts_rules_that_held(void **state) {
    (void)state;
    policy_set *set = set_of(rules);
    policy_coverage coverage;
    failure why = {0};
    assert_int_equal(policy_coverage_init(&coverage, set, &memory, &why), STATUS_OK);
    assert_true(policy_coverage_percent(&coverage) < 0.01);
    cover(&coverage, set, "restart", 1763460000000); /* a tuesday */
    cover(&coverage, set, "deploy", 1763460000000);
    uint32_t small = policies_find(set, "small")->index, gentle = policies_find(set, "gentle")->index;
    assert_int_equal(coverage.held[small], 2);
    assert_int_equal(coverage.matched[gentle], 1);
    assert_int_equal(coverage.false_of[gentle], 1);
    assert_int_equal(coverage.held[gentle], 0);
    assert_true(policy_coverage_percent(&coverage) > 33.2 && policy_coverage_percent(&coverage) < 33.4);
    policies_unref(set);
}

static int set_up(void **state) {
    (void)state;
    arena_init(&memory, 65536, 64U << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&memory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complaints_name_the_place), cmocka_unit_test(a_caret_stands_under_the_mistake),
        cmocka_unit_test(a_name_stands_once),        cmocka_unit_test(defaults_lie_below_each_case),
        cmocka_unit_test(judging_says_what_differs), cmocka_unit_test(coverage_counts_rules_that_held),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
