/* What another policy set would have decided: comparing with what was recorded. */
#include <string.h>

#include "policy_sets.h"
#include "replay.h"

typedef Interlock__Policy__V1__Decision decision_message;
typedef Interlock__Policy__V1__Finding finding_message;

static const char rules[] = SET_HEAD RULE("small", "permit", "deploy", "  bounds: {entry_traffic: 0.1}\n")
    RULE("no-guests", "forbid", "deploy", "  when: agent.principal == 'agent/guest'\n");

static const policy_target target = {.name = "service:prod/shop/cart"};

static recorded_decision recorded(decision_message *decision, policy_outcome outcome, const char *agent,
                                  double high) {
    interlock__policy__v1__decision__init(decision);
    decision->outcome = (Interlock__Policy__V1__Outcome)outcome;
    return (recorded_decision){.decision = decision,
                               .policy_digest = "",
                               .facts = {.action = {.verb = "deploy"},
                                         .agent = {.principal = agent},
                                         .targets = &target,
                                         .target_count = 1,
                                         .impact = {.known = high >= 0, .high = high}}};
}

typedef struct replay_case {
    policy_outcome was;
    const char *agent;
    double high; /* below 0: not known */
    const char *elsewhere, *afterwards;
    policy_outcome would;
    const char *rule;
} replay_case;

static void what_others_decided_stays(void **state) {
    (void)state;
    static const replay_case cases[] = {
        {POLICY_DENY, "agent/a", 0.05, NULL, NULL, POLICY_ALLOW, "small"},
        {POLICY_ALLOW, "agent/guest", 0.05, NULL, NULL, POLICY_DENY, "no-guests"},
        {POLICY_ALLOW, "agent/a", 0.5, NULL, NULL, POLICY_DENY, "small"},
        {POLICY_ALLOW, "agent/a", -1, NULL, NULL, POLICY_DEFER, NULL},
        {POLICY_DEFER, "agent/a", 0.05, "KILL_SWITCH_SET", NULL, POLICY_DEFER, ""},
        {POLICY_DENY, "agent/a", 0.05, "MODEL_MISMATCH", NULL, POLICY_DENY, ""},
        {POLICY_DEFER, "agent/a", 0.05, NULL, "EXECUTOR_NOT_ENROLLED", POLICY_DEFER, ""},
        {POLICY_DEFER, "agent/guest", 0.05, NULL, "EXECUTOR_NOT_ENROLLED", POLICY_DENY, "no-guests"},
    };
    policy_set *set = set_of(rules);
    arena memory;
    arena_init(&memory, 65536, 16U << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        decision_message decision;
        policy_result result;
        replay_outcome would;
        failure why = {0};
        recorded_decision was = recorded(&decision, cases[i].was, cases[i].agent, cases[i].high);
        was.elsewhere = cases[i].elsewhere;
        was.afterwards = cases[i].afterwards;
        assert_int_equal(replay_evaluate(set, &was, &memory, &result, &would, &why), STATUS_OK);
        assert_int_equal(would.outcome, cases[i].would);
        if (cases[i].rule != NULL)
            assert_string_equal(would.rule, cases[i].rule);
        replay_outcome before = replay_recorded(&was);
        assert_true(replay_differs(&before, &would) == (cases[i].was != cases[i].would));
    }
    arena_free(&memory);
    policies_unref(set);
}

static void the_finding_that_failed_is_why(void **state) {
    (void)state;
    decision_message decision;
    finding_message passed = INTERLOCK__POLICY__V1__FINDING__INIT,
                    failed = INTERLOCK__POLICY__V1__FINDING__INIT;
    finding_message *findings[] = {&passed, &failed};
    recorded_decision was = recorded(&decision, POLICY_DENY, "agent/a", 0);
    passed.result = INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_PASS;
    passed.reason = (char *)"ENROLLED";
    failed.result = INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_FAIL;
    failed.reason = (char *)"FORBIDDEN";
    failed.rule = (char *)"no-guests";
    decision.findings = findings;
    decision.n_findings = 2;
    replay_outcome found = replay_recorded(&was);
    assert_string_equal(found.reason, "FORBIDDEN");
    assert_string_equal(found.rule, "no-guests");
}

static void transitions_are_counted(void **state) {
    (void)state;
    replay_tally tally = {0};
    const replay_outcome allow = {POLICY_ALLOW, "", ""}, deny = {POLICY_DENY, "", ""},
                         strange = {(policy_outcome)77, "", ""};
    replay_count(&tally, &allow, &deny);
    replay_count(&tally, &allow, &allow);
    replay_count(&tally, &strange, &deny);
    assert_int_equal(tally.decisions, 3);
    assert_int_equal(tally.changed, 2);
    assert_int_equal(tally.from_to[POLICY_ALLOW][POLICY_DENY], 1);
    assert_int_equal(tally.from_to[0][POLICY_DENY], 1);
}

static void rules_get_what_they_did(void **state) {
    (void)state;
    policy_set *set = set_of(rules);
    arena memory;
    rule_tally tallies[2] = {{0}};
    arena_init(&memory, 65536, 16U << 20);
    static const double highs[] = {0.05, 0.5, -1};
    for (size_t i = 0; i < 3; i++) {
        decision_message decision;
        policy_result result;
        replay_outcome would;
        failure why = {0};
        recorded_decision was = recorded(&decision, POLICY_ALLOW, "agent/guest", highs[i]);
        was.facts.agent.principal = i == 0 ? "agent/guest" : "agent/a";
        assert_int_equal(replay_evaluate(set, &was, &memory, &result, &would, &why), STATUS_OK);
        rules_count(tallies, &result);
    }
    const rule_tally *small = &tallies[policies_find(set, "small")->index];
    const rule_tally *guests = &tallies[policies_find(set, "no-guests")->index];
    assert_int_equal(small->held, 3);
    assert_int_equal(guests->held, 1);
    assert_int_equal(guests->decisive, 1);
    assert_true(small->decisive >= 1);
    arena_free(&memory);
    policies_unref(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_decided_stays), cmocka_unit_test(the_finding_that_failed_is_why),
        cmocka_unit_test(transitions_are_counted), cmocka_unit_test(rules_get_what_they_did)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
