/* Reading a policy and deciding when memory runs out at any point: a decision that is not whole is none. */
#include "decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail_allocation.h"
#include "test.h"
#include "wire/scan.h"

static const char POLICY[] =
    "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: shop, version: 7}}\n"
    "---\n{apiVersion: interlock/v1, kind: Stage, metadata: {name: shop}, spec: {targets: "
    "['service:prod/shop/*'], stage: constrained}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: small}, spec: {match: {verbs: [deploy], "
    "targets: ['service:*/shop/*'], agents: ['agent/dep*']}, effect: permit, bounds: {entry_traffic: 0.05}, "
    "when: 'size(targets) < 9'}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: payments}, spec: {match: {verbs: ['*'], "
    "targets: ['*/payment']}, effect: forbid, message: ask the bank}}\n";

typedef struct fixture {
    arena memory, kept;
    policy_document *document, *parsed;
    Interlock__Policy__V1__Action action;
    Interlock__Control__V1__Enrolment agent, executor;
    control_enrolment agent_key, executor_key;
    Interlock__Graph__V1__Share share;
    Interlock__Graph__V1__Impact impact;
    decision_facts facts;
    Interlock__Policy__V1__Decision *decision;
    bytes whole; /* the decision that comes of enough memory, packed */
} fixture;

static fixture self;
static char target[] = "service:prod/shop/cart", *targets[] = {target};
static const uint8_t DIGEST[32] = {1, 2, 3}, PERMIT_ID[16] = {0xab};

static void put_facts(void) {
    interlock__policy__v1__action__init(&self.action);
    interlock__control__v1__enrolment__init(&self.agent);
    interlock__control__v1__enrolment__init(&self.executor);
    interlock__graph__v1__share__init(&self.share);
    interlock__graph__v1__impact__init(&self.impact);
    self.agent.principal = arena_text(&self.kept, "agent/deployer");
    self.executor.principal = arena_text(&self.kept, "executor/local");
    self.agent_key = (control_enrolment){.keyid = "00", .statement = &self.agent};
    self.executor_key = (control_enrolment){.keyid = "01", .statement = &self.executor};
    self.action.action_id = arena_text(&self.kept, "a-1");
    self.action.verb = arena_text(&self.kept, "deploy");
    self.action.targets = targets;
    self.action.n_targets = 1;
    self.share.expected = 0.01;
    self.share.high = 0.02;
    self.impact.entry_traffic = &self.share;
    self.facts = (decision_facts){.installation = "demo",
                                  .action = &self.action,
                                  .digest = DIGEST,
                                  .enrolment = &self.agent_key,
                                  .now_ms = 1700000000999,
                                  .permit_id = PERMIT_ID,
                                  .control_fresh = true,
                                  .control_reason = "",
                                  .control_seq = 41,
                                  .epoch = 3,
                                  .document = self.document,
                                  .impact = &self.impact,
                                  .impact_reason = "",
                                  .executor_principal = "executor/local",
                                  .executor = &self.executor_key};
}

static int set_up(void **state) {
    (void)state;
    failure why = {0};
    Interlock__Policy__V1__Decision *decision = NULL;
    arena_init(&self.kept, 65536, 1U << 20);
    assert_int_equal(document_parse(bytes_of_text(POLICY), &self.document, &why), STATUS_OK);
    put_facts();
    assert_int_equal(decide(&self.facts, &self.kept, &decision, &why), STATUS_OK);
    assert_non_null(decision->permit);
    return wire_pack(&decision->base, &self.kept, &self.whole, &why) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    document_unref(self.document);
    arena_free(&self.kept);
    return 0;
}

static status_code parse(void *context, failure *why) {
    (void)context;
    return document_parse(bytes_of_text(POLICY), &self.parsed, why);
}

static void check_parsed(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self.parsed);
        return;
    }
    assert_int_equal(self.parsed->set->rule_count, 2);
    assert_string_equal(self.parsed->set->rules[0].message, "ask the bank");
    assert_string_equal(self.parsed->digest, self.document->digest);
}

static void end_parsed(void *context) {
    (void)context;
    document_unref(self.parsed);
    self.parsed = NULL;
}

static void a_policy_is_read_whole_or_not_at_all(void **state) {
    (void)state;
    fail_each_allocation(
        &(fault_case){.name = "document_parse", .run = parse, .check = check_parsed, .end = end_parsed});
}

static void begin(void *context) {
    (void)context;
    arena_init(&self.memory, 64, 1U << 20);
    self.decision = NULL;
}

static void end(void *context) {
    (void)context;
    arena_free(&self.memory);
}

static status_code decide_one(void *context, failure *why) {
    (void)context;
    return decide(&self.facts, &self.memory, &self.decision, why);
}

static void check_decided(void *context, bool done) {
    (void)context;
    uint8_t packed[4096];
    if (!done) {
        assert_null(self.decision);
        return;
    }
    assert_true(self.whole.size <= sizeof packed);
    assert_int_equal(interlock__policy__v1__decision__get_packed_size(self.decision), self.whole.size);
    interlock__policy__v1__decision__pack(self.decision, packed);
    assert_memory_equal(packed, self.whole.data, self.whole.size);
}

static void a_decision_is_whole_or_none(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "decide",
                                       .begin = begin,
                                       .end = end,
                                       .run = decide_one,
                                       .check = check_decided,
                                       .memory = &self.memory});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_policy_is_read_whole_or_not_at_all),
                                       cmocka_unit_test(a_decision_is_whole_or_none)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
