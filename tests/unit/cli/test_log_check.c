/* The outside check of the log: a sound log passes; every way to tamper with it is found. The logs are made
 * here with real keys, records and trees. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "interlock/control/v1/control.pb-c.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "log_check.h"
#include "wire/scan.h"

#define MOST 16

typedef Interlock__Audit__V1__Leaf leaf_message;
typedef Interlock__Audit__V1__Entry entry_message;
typedef Interlock__Common__V1__Envelope envelope_message;

typedef struct world {
    simulated_chance time;
    arena memory, scratch;
    trust roots;
    secret_key *operator_key, *record_key, *checkpoint_key, *agent_key, *executor_key, *stranger_key;
    entry_message *log[MOST];
    leaf_message leaves[MOST];
    size_t size;
    checkpoint tree;
    log_check check;
} world;

static secret_key *root_key(world *self, key_purpose purpose, bool root) {
    secret_key *key = NULL;
    failure why = {0};
    assert_int_equal(secret_key_generate(&self->time.chance, purpose, &key, &why), STATUS_OK);
    if (root) {
        self->roots.keys[self->roots.count].purpose = purpose;
        self->roots.keys[self->roots.count].key = *secret_key_public(key);
        snprintf(self->roots.keys[self->roots.count++].principal, 32, "root/%u", (unsigned)purpose);
    }
    return key;
}

static Interlock__Common__V1__StatementHeader *header(world *self, const char *type, const char *principal) {
    Interlock__Common__V1__StatementHeader *made =
        statement_header_new(type, "demo", principal, 60000, &self->time.chance, &self->memory);
    assert_non_null(made);
    return made;
}

static void commit_to(world *self, size_t at) {
    entry_message *entry = self->log[at];
    uint8_t inner[32];
    uint8_t *commitment = arena_alloc(&self->memory, 32);
    buffer typed;
    bytes wire = {0};
    failure why = {0};
    buffer_init(&typed, 1U << 20);
    buffer_append(&typed, entry->record->payload_type, strlen(entry->record->payload_type) + 1);
    buffer_append(&typed, entry->record->payload.data, entry->record->payload.len);
    sha256(buffer_bytes(&typed), inner);
    sha256_two(bytes_of(entry->salt.data, entry->salt.len), bytes_of(inner, 32), commitment);
    buffer_free(&typed);
    self->leaves[at].commitment = (ProtobufCBinaryData){.len = 32, .data = commitment};
    assert_int_equal(wire_pack(&self->leaves[at].base, &self->memory, &wire, &why), STATUS_OK);
    entry->leaf = (ProtobufCBinaryData){.len = wire.size, .data = (uint8_t *)wire.data};
}

static leaf_message *append(world *self, Interlock__Audit__V1__RecordKind kind, const char *action_id,
                            uint64_t previous, const char *verdict, envelope_message *record) {
    size_t at = self->size++;
    entry_message *entry = arena_zero(&self->memory, 1, sizeof *entry);
    uint8_t *salt = arena_alloc(&self->memory, 32);
    assert_true(at < MOST && entry != NULL && salt != NULL && record != NULL);
    chance_random(&self->time.chance, salt, 32);
    interlock__audit__v1__entry__init(entry);
    entry->index = at;
    entry->salt = (ProtobufCBinaryData){.len = 32, .data = salt};
    entry->record = record;
    self->log[at] = entry;
    leaf_message *leaf = &self->leaves[at];
    interlock__audit__v1__leaf__init(leaf);
    leaf->version = 1;
    leaf->kind = kind;
    leaf->recorded_at_ms = 1000 + (int64_t)at;
    leaf->action_id = (char *)action_id;
    leaf->previous_index = previous;
    leaf->verdict = (char *)verdict;
    leaf->keyid = record->signatures[0]->keyid;
    commit_to(self, at);
    return leaf;
}

static void enrol(world *self, const secret_key *key, const char *principal, const secret_key *signer) {
    Interlock__Control__V1__Enrolment enrolment = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
    public_key holder = *secret_key_public(key);
    enrolment.header = header(self, PAYLOAD_ENROLMENT, "operator/local");
    enrolment.principal = (char *)principal;
    enrolment.public_key = (ProtobufCBinaryData){.len = 32, .data = holder.bytes};
    enrolment.version = 1;
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CONTROL, "", 0, "ENROLLED",
           dsse_sign_message(signer, PAYLOAD_ENROLMENT, &enrolment.base, &self->memory));
}

typedef struct decision_options {
    const secret_key *action_key, *record_key;
    const char *decided_id; /* another id in the decision than in the leaf */
    bool wrong_digest, permit;
} decision_options;

static leaf_message *decide(world *self, const char *action_id, const decision_options *options) {
    uint8_t digest[32];
    char *targets[] = {"service:prod/shop/cart"};
    Interlock__Policy__V1__Action action = INTERLOCK__POLICY__V1__ACTION__INIT;
    action.header = header(self, PAYLOAD_ACTION, "agent/deployer");
    action.action_id = (char *)action_id;
    action.verb = "deploy";
    action.targets = targets;
    action.n_targets = 1;
    envelope_message *signed_action =
        dsse_sign_message(options->action_key, PAYLOAD_ACTION, &action.base, &self->memory);
    dsse_payload_digest(signed_action, digest);
    digest[0] = (uint8_t)(digest[0] ^ (options->wrong_digest ? 1 : 0));
    Interlock__Policy__V1__PermitClaims permit = INTERLOCK__POLICY__V1__PERMIT_CLAIMS__INIT;
    permit.audience = "executor/local";
    Interlock__Policy__V1__Decision decision = INTERLOCK__POLICY__V1__DECISION__INIT;
    decision.action_id = (char *)(options->decided_id != NULL ? options->decided_id : action_id);
    decision.action_digest = (ProtobufCBinaryData){.len = 32, .data = digest};
    decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW;
    decision.principal = "agent/deployer";
    decision.control_seq = 2;
    decision.permit = options->permit ? &permit : NULL;
    Interlock__Policy__V1__DecisionRecord record = INTERLOCK__POLICY__V1__DECISION_RECORD__INIT;
    record.header = header(self, PAYLOAD_DECISION, "service/policy");
    record.decision = &decision;
    record.action = signed_action;
    leaf_message *leaf =
        append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION, action_id, 0, "ALLOW",
               dsse_sign_message(options->record_key, PAYLOAD_DECISION, &record.base, &self->memory));
    leaf->control_seq = 2;
    leaf->permits = options->permit;
    commit_to(self, self->size - 1);
    return leaf;
}

static void report(world *self, const char *action_id, uint64_t previous, const secret_key *key) {
    uint8_t digest[32] = {1};
    Interlock__Memory__V1__ActionOutcome outcome = INTERLOCK__MEMORY__V1__ACTION_OUTCOME__INIT;
    outcome.header = header(self, PAYLOAD_OUTCOME, "executor/local");
    outcome.action_id = (char *)action_id;
    outcome.action_digest = (ProtobufCBinaryData){.len = 32, .data = digest};
    outcome.state = INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_HEALTHY;
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME, action_id, previous, "HEALTHY",
           dsse_sign_message(key, PAYLOAD_OUTCOME, &outcome.base, &self->memory));
}

static void write_beginning(world *self) {
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS, "", 0, "GENESIS",
           dsse_sign_message(self->checkpoint_key, PAYLOAD_GENESIS,
                             &header(self, PAYLOAD_GENESIS, "service/audit")->base, &self->memory));
    enrol(self, self->agent_key, "agent/deployer", self->operator_key);
    enrol(self, self->executor_key, "executor/local", self->operator_key);
}

static const decision_options *sound(world *self) {
    static decision_options options;
    options =
        (decision_options){.action_key = self->agent_key, .record_key = self->record_key, .permit = true};
    return &options;
}

/* 0 genesis, 1 and 2 enrolments, 3 decision, 4 outcome, 5 another decision. */
static void write_log(world *self) {
    write_beginning(self);
    decide(self, "a-1", sound(self));
    report(self, "a-1", 3, self->executor_key);
    decide(self, "a-2", sound(self));
}

static void seal(world *self) {
    merkle_frontier frontier;
    merkle_created created[65];
    merkle_hash hash;
    merkle_frontier_init(&frontier);
    for (size_t i = 0; i < self->size; i++) {
        merkle_leaf_hash(bytes_of(self->log[i]->leaf.data, self->log[i]->leaf.len), &hash);
        merkle_frontier_add(&frontier, &hash, created);
    }
    self->tree.size = self->size;
    merkle_frontier_root(&frontier, &self->tree.root);
}

static uint64_t judge(world *self) {
    log_check_init(&self->check, &self->roots);
    for (size_t i = 0; i < self->size; i++) {
        arena_reset(&self->scratch);
        log_check_collect(&self->check, self->log[i], &self->scratch);
    }
    for (size_t i = 0; i < self->size; i++) {
        arena_reset(&self->scratch);
        log_check_entry(&self->check, self->log[i], &self->scratch);
    }
    log_check_finish(&self->check, &self->tree);
    log_check_free(&self->check);
    return self->check.problem_count;
}

static void expect_problem(world *self, const char *words) {
    uint64_t found = judge(self);
    for (uint64_t i = 0; i < found && i < LOG_CHECK_PROBLEMS; i++)
        if (strstr(self->check.problems[i], words) != NULL)
            return;
    print_error("%llu problems, none with \"%s\"; first: %s\n", (unsigned long long)found, words,
                self->check.problems[0]);
    assert_true(false);
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    simulated_chance_init(&self->time, 3);
    arena_init(&self->memory, 65536, 8U << 20);
    arena_init(&self->scratch, 65536, 8U << 20);
    strcpy(self->roots.installation, "demo");
    self->operator_key = root_key(self, KEY_OPERATOR, true);
    self->record_key = root_key(self, KEY_RECORD, true);
    self->checkpoint_key = root_key(self, KEY_CHECKPOINT, true);
    self->agent_key = root_key(self, KEY_AGENT, false);
    self->executor_key = root_key(self, KEY_EXECUTOR, false);
    self->stranger_key = root_key(self, KEY_AGENT, false);
    *state = self;
    return 0;
}

static int world_remove(void **state) {
    world *self = *state;
    secret_key *const keys[] = {self->operator_key, self->record_key,   self->checkpoint_key,
                                self->agent_key,    self->executor_key, self->stranger_key};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        secret_key_free(keys[i]);
    arena_free(&self->memory);
    arena_free(&self->scratch);
    free(self);
    return 0;
}

static void a_sound_log_passes(void **state) {
    world *self = *state;
    write_log(self);
    seal(self);
    assert_int_equal(judge(self), 0);
    assert_int_equal(self->check.decisions, 2);
    assert_int_equal(self->check.outcomes, 1);
    assert_int_equal(self->check.controls, 2);
}

/* Whoever changes one bit of anything that is stored is found. */
static void any_flipped_bit_is_found(void **state) {
    world *self = *state;
    write_log(self);
    seal(self);
    for (size_t i = 0; i < self->size; i++) {
        ProtobufCBinaryData *const parts[] = {&self->log[i]->leaf, &self->log[i]->salt,
                                              &self->log[i]->record->payload,
                                              &self->log[i]->record->signatures[0]->sig};
        for (size_t j = 0; j < 4; j++)
            for (size_t k = 0; k < parts[j]->len; k += 7) {
                parts[j]->data[k] ^= 4;
                assert_true(judge(self) > 0);
                parts[j]->data[k] ^= 4;
            }
    }
    assert_int_equal(judge(self), 0);
}

static void missing_and_moved_records_are_found(void **state) {
    world *self = *state;
    write_log(self);
    seal(self);
    self->size--;
    expect_problem(self, "the signed checkpoint 6");
    self->size++;
    entry_message *kept = self->log[3];
    self->log[3] = self->log[5];
    expect_problem(self, "comes where 3 was next");
    self->log[3] = kept;
    self->tree.root.bytes[0] ^= 1;
    expect_problem(self, "do not hash to the root");
}

/* The rest is tampering by whoever also holds the log's key: leaves and tree are made again to fit. */
static void an_erased_body_is_counted_and_sound(void **state) {
    world *self = *state;
    write_log(self);
    seal(self);
    self->log[3]->record = NULL;
    self->log[3]->salt.len = 0;
    assert_int_equal(judge(self), 0);
    assert_int_equal(self->check.erased, 1);
}

static void forged_actions_and_decisions_are_found(void **state) {
    world *self = *state;
    decision_options options = *sound(self);
    write_beginning(self);
    options.action_key = self->stranger_key;
    decide(self, "forged-action", &options);
    seal(self);
    expect_problem(self, "not signed by a key that an operator enrolled");
    options = *sound(self);
    options.record_key = self->stranger_key;
    decide(self, "forged-decision", &options);
    seal(self);
    expect_problem(self, "not signed by a record key");
    options = *sound(self);
    options.wrong_digest = true;
    decide(self, "digest", &options);
    seal(self);
    expect_problem(self, "digest is not that of the action");
    options = *sound(self);
    options.decided_id = "another";
    decide(self, "one", &options);
    seal(self);
    expect_problem(self, "leaf and decision name different actions");
}

static void enrolments_that_no_operator_signed_count_for_nothing(void **state) {
    world *self = *state;
    decision_options options = *sound(self);
    write_beginning(self);
    enrol(self, self->stranger_key, "agent/deployer", self->stranger_key);
    options.action_key = self->stranger_key;
    decide(self, "a-1", &options);
    seal(self);
    expect_problem(self, "not signed by an operator");
    expect_problem(self, "not signed by a key that an operator enrolled");
}

static void leaves_that_say_otherwise_are_found(void **state) {
    world *self = *state;
    write_beginning(self);
    leaf_message *leaf = decide(self, "a-1", sound(self));
    leaf->verdict = "DENY";
    commit_to(self, 3);
    seal(self);
    expect_problem(self, "different verdicts");
    leaf->verdict = "ALLOW";
    leaf->permits = false;
    commit_to(self, 3);
    seal(self);
    expect_problem(self, "whether there is a permit");
    leaf->permits = true;
    leaf->control_seq = 9;
    commit_to(self, 3);
    seal(self);
    expect_problem(self, "different control data");
    leaf->control_seq = 2;
    leaf->previous_index = 2;
    commit_to(self, 3);
    seal(self);
    expect_problem(self, "previous record is 0, the leaf says 2");
    leaf->previous_index = 0;
    leaf->keyid = "00";
    commit_to(self, 3);
    seal(self);
    expect_problem(self, "names another key");
}

static void an_outcome_needs_an_executor_or_operator(void **state) {
    world *self = *state;
    write_log(self);
    report(self, "a-2", 5, self->stranger_key);
    seal(self);
    expect_problem(self, "neither by an operator nor by an enrolled executor");
}

int main(void) {
    crypto_init();
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_sound_log_passes),
        TEST(any_flipped_bit_is_found),
        TEST(missing_and_moved_records_are_found),
        TEST(an_erased_body_is_counted_and_sound),
        TEST(forged_actions_and_decisions_are_found),
        TEST(enrolments_that_no_operator_signed_count_for_nothing),
        TEST(leaves_that_say_otherwise_are_found),
        TEST(an_outcome_needs_an_executor_or_operator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
