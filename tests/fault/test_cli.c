/* Reading users' cases and events, judging and comparing policies when memory runs out at any point. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "backtest.h"
#include "fail_allocation.h"
#include "policy_cases.h"
#include "policy_difference.h"
#include "policy_sets.h"

static const char CASES[] = "apiVersion: interlock/v1\nkind: PolicyTest\npolicies: [a.yaml]\ndefaults: "
                            "{agent: {principal: agent/a}}\ncases:\n"
                            "  - name: one\n    action: {verb: deploy, arguments: {version: \"1\"}}\n    "
                            "targets: [service:prod/shop/cart]\n"
                            "    impact: {entry_traffic: 0.1, affected: [service:prod/shop/x]}\n    expect: "
                            "{outcome: DENY, findings: [a]}\n";

#define EVENT(type, subject, data)                                                                           \
    "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"interlock." type                                       \
    "\",\"time\":\"2026-01-01T00:00:00Z\",\"subject\":\"" subject "\",\"data\":{" data "}}\n"
static const char EVENTS[] = EVENT("deploy", "service:prod/shop/cart", "\"version\":\"2\",\"diff\":\"d\"")
    EVENT("incident.opened", "incident:prod/shop/one", "\"affected\":\"service:prod/shop/cart\"");

static const char BEFORE[] = SET_HEAD RULE("a", "permit", "deploy", "") RULE("b", "permit", "x", "");
static const char AFTER[] = SET_HEAD RULE("a", "permit", "deploy, restart", "") RULE("c", "forbid", "x", "");

static struct {
    arena memory;
    policy_case_file cases;
    backtest past;
    policy_set *before, *after;
    policy_differences found;
} self;

static void begin(void *context) {
    (void)context;
    arena_init(&self.memory, 64, 4U << 20); /* small, so that it grows within a run */
    self.cases = (policy_case_file){0};
    self.found = (policy_differences){0};
}

static void end(void *context) {
    (void)context;
    arena_free(&self.memory);
}

static status_code read_cases(void *context, failure *why) {
    (void)context;
    const yaml_source source = {.file = "cases", .text = bytes_of_text(CASES), .memory = &self.memory};
    return policy_cases_read(&source, &self.cases, why);
}

static void check_cases(void *context, bool done) {
    (void)context;
    assert_int_equal(self.cases.case_count, done ? 1 : 0);
}

static status_code judge_events(void *context, failure *why) {
    (void)context;
    backtest_init(&self.past, &self.memory);
    status_code code = backtest_read(&self.past, "events", bytes_of_text(EVENTS), why);
    if (code != STATUS_OK)
        return code;
    backtest_sort(&self.past);
    backtest_attribute(&self.past, 3600000);
    return backtest_judge(&self.past, self.before, NULL, NULL, why);
}

static void check_events(void *context, bool done) {
    (void)context;
    if (!done)
        return;
    assert_int_equal(self.past.change_count, 1);
    assert_int_equal(self.past.totals.missed, 1);
}

static status_code compare(void *context, failure *why) {
    (void)context;
    return policy_differences_find(self.before, self.after, &self.memory, &self.found, why);
}

static void check_differences(void *context, bool done) {
    (void)context;
    assert_int_equal(self.found.count, done ? 3 : 0);
}

static void run(const char *name, status_code (*operation)(void *context, failure *why),
                void (*check)(void *context, bool done)) {
    fail_each_allocation(&(fault_case){
        .name = name, .begin = begin, .end = end, .run = operation, .check = check, .memory = &self.memory});
}

static void cases(void **state) {
    (void)state;
    run("policy_cases_read", read_cases, check_cases);
}

static void events(void **state) {
    (void)state;
    run("backtest", judge_events, check_events);
}

static void differences(void **state) {
    (void)state;
    run("policy_differences_find", compare, check_differences);
}

static int set_up(void **state) {
    (void)state;
    json_set_alloc_funcs(spare_malloc, free); /* crypto_init has jansson end the process instead */
    self.before = set_of(BEFORE);
    self.after = set_of(AFTER);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    policies_unref(self.before);
    policies_unref(self.after);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cases), cmocka_unit_test(events),
                                       cmocka_unit_test(differences)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
