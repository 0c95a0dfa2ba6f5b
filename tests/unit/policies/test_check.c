/* What is told of a set without an action. */
#include <string.h>

#include "policies/check.h"
#include "wrong.h"

#define SET "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: test, version: 1}}\n"
#define POLICY(name, match, rest)                                                                            \
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: " name "}, spec: {match: {" match "}, "  \
    "effect: " rest "}}\n"
#define SHOP "verbs: [deploy], targets: ['service:prod/shop/*']"
#define EVERYTHING "verbs: ['*'], targets: ['*']"
#define QUORUM(spec)                                                                                         \
    "---\n{apiVersion: interlock/v1, kind: Quorum, metadata: {name: two}, spec: {" spec "}}\n"
#define FINE POLICY("fine", "verbs: [scale], targets: ['queue:prod/*']", "permit")

typedef struct check_case {
    const char *name, *policies, *reasons; /* of every finding, in order of the documents: "RULE REASON; …" */
} check_case;

static const check_case CASES[] = {
    {"nothing wrong", SET POLICY("p", SHOP, "permit"), ""},
    {"no rule at all", SET, " LOCK_OUT; "},
    {"nothing but forbidding", SET POLICY("f", SHOP, "forbid"), " LOCK_OUT; "},
    {"everything forbidden", SET POLICY("f", EVERYTHING, "forbid") POLICY("p", SHOP, "permit"),
     " LOCK_OUT; p SHADOWED; "},
    {"forbidden under a condition is no lock-out",
     SET POLICY("f", EVERYTHING, "forbid, when: 'size(targets) > 3'") POLICY("p", SHOP, "permit"), ""},
    {"a condition that is false", SET FINE POLICY("p", SHOP, "permit, when: '1 > 2 && action.verb == \"x\"'"),
     "p NEVER_HOLDS; "},
    {"a condition that is true", SET POLICY("p", SHOP, "permit, when: '1 < 2 || action.verb == \"x\"'"),
     "p ALWAYS_HOLDS; "},
    {"a condition that fails", SET FINE POLICY("p", SHOP, "permit, when: '1 / 0 > 2'"), "p ALWAYS_FAILS; "},
    {"the only permit never holds", SET POLICY("p", SHOP, "permit, when: 'false'"),
     " LOCK_OUT; p NEVER_HOLDS; "},
    {"kinds that contradict the name",
     SET FINE POLICY("p", "verbs: [deploy], targets: [{name: 'service:prod/*', kinds: [queue]}]", "permit"),
     "p NEVER_HOLDS; "},
    {"the same twice", SET POLICY("a", SHOP, "permit") POLICY("b", SHOP, "permit"), "b DUPLICATE; "},
    {"a wider one", SET POLICY("z", EVERYTHING, "permit") POLICY("b", SHOP, "permit"), "b DUPLICATE; "},
    {"narrower bounds add something",
     SET POLICY("z", EVERYTHING, "permit") POLICY("b", SHOP, "permit, bounds: {targets: 1}"), ""},
    {"wider bounds do not",
     SET POLICY("z", EVERYTHING, "permit, bounds: {targets: 1}")
         POLICY("b", SHOP, "permit, bounds: {targets: 2}"),
     "b DUPLICATE; "},
    {"other agents",
     SET POLICY("a", SHOP ", agents: ['agent/a']", "permit")
         POLICY("b", SHOP ", agents: ['agent/b']", "permit"),
     ""},
    {"patterns of verbs",
     SET POLICY("f", "verbs: ['db.*'], targets: ['*']", "forbid")
         FINE POLICY("p", "verbs: [db.migrate, 'db.d*'], targets: ['datastore:prod/*']", "permit"),
     "p SHADOWED; "},
    {"a part is left",
     SET POLICY("f", "verbs: ['db.*'], targets: ['*']", "forbid")
         POLICY("p", "verbs: [db.migrate, deploy], targets: ['*']", "permit"),
     ""},
    {"facts that nobody gives", SET FINE POLICY("p", SHOP, "permit, when: 'history.failed == 0'"),
     "p FACT_NOT_PROVIDED; "},
    {"tiers that nobody gives", SET FINE POLICY("p", "verbs: [deploy], targets: [{tiers: [1]}]", "forbid"),
     "p FACT_NOT_PROVIDED; "},
    {"a rate limit",
     SET FINE
     "---\n{apiVersion: interlock/v1, kind: RateLimit, metadata: {name: l}, spec: {match: {verbs: ['*'], "
     "targets: ['*']}, per: [], most: 1, window: 1h}}\n",
     ""},
    {"a quorum that nobody names",
     SET FINE QUORUM("groups: [{name: g, members: ['approver/*'], at_least: 2}]"), "two QUORUM_UNUSED; "},
    {"a quorum that can be met",
     SET QUORUM("groups: [{name: g, members: ['approver/*'], at_least: 2}], humans: 2")
         POLICY("r", SHOP, "review, quorum: two"),
     ""},
    {"too few members",
     SET QUORUM("groups: [{name: g, members: ['approver/*'], at_least: 3}]")
         POLICY("r", SHOP, "review, quorum: two"),
     "two QUORUM_IMPOSSIBLE; "},
    {"the same ones in two groups",
     SET QUORUM(
         "groups: [{name: g, members: ['approver/*'], at_least: 2}, {name: h, members: ['approver/a*'], "
         "at_least: 1}]") POLICY("r", SHOP, "review, quorum: two"),
     "two QUORUM_IMPOSSIBLE; "},
    {"too few humans",
     SET QUORUM("groups: [{name: g, members: ['approver/a*', 'agent/*'], at_least: 2}], humans: 2")
         POLICY("r", SHOP, "review, quorum: two"),
     "two QUORUM_IMPOSSIBLE; "},
    {"executors do not vote",
     SET QUORUM("groups: [{name: g, members: ['*'], at_least: 4}]") POLICY("r", SHOP, "review, quorum: two"),
     "two QUORUM_IMPOSSIBLE; "},
};

static const char *const ENROLLED[] = {"approver/ann", "approver/bob", "agent/reviewer", "executor/local"};

static bool run_case(const check_case *row) {
    arena memory;
    policy_set *set = NULL;
    policy_problems problems;
    failure why = {0};
    policy_source source = {"test.yaml", bytes_of_text(row->policies)};
    policy_check_options options = {ENROLLED, 4};
    arena_init(&memory, 65536, 16U << 20);
    if (policies_load(&source, 1, &memory, &set, &problems, &why) != STATUS_OK)
        WRONG("%s: %s", row->name, why.message);
    assert_int_equal(policies_check(set, &options, &memory, &problems, &why), STATUS_OK);
    buffer said;
    buffer_init(&said, 65536);
    buffer_text(&said, "");
    bool locked = false;
    for (size_t i = 0; i < problems.count; i++) {
        buffer_format(&said, "%s %s; ", problems.items[i].rule, problems.items[i].reason);
        locked = locked || strcmp(problems.items[i].reason, "LOCK_OUT") == 0;
    }
    bool same = strcmp(said.data == NULL ? "" : said.data, row->reasons) == 0;
    if (!same)
        print_error("%s: %s, wanted %s\n", row->name, said.data == NULL ? "" : said.data, row->reasons);
    assert_int_equal(policies_lock_out(set), locked);
    buffer_free(&said);
    policies_unref(set);
    arena_free(&memory);
    return same;
}

static void test_cases(void **state) {
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        wrong += run_case(&CASES[i]) ? 0 : 1;
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
