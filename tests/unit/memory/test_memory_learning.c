/* Memory's projection over a real database: what batches of the log do to it, once, whatever is repeated. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/dsse.h"
#include "memory.h"
#include "wire/scan.h"

#define CART "service:prod/shop/cart"
#define WEB "service:prod/shop/web"
#define MOST 32

typedef struct world {
    char folder[64], file[96];
    memory_store *store;
    arena memory, scratch;
    Interlock__Audit__V1__Entry *log[MOST];
    size_t size;
} world;

static void reopen(world *self) {
    failure why = {0};
    memory_store_close(self->store);
    self->store = NULL;
    assert_int_equal(memory_store_open(&self->store, self->file, &why), STATUS_OK);
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    snprintf(self->folder, sizeof self->folder, "/tmp/memory-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->file, sizeof self->file, "%s/memory.db", self->folder);
    arena_init(&self->memory, 65536, 8U << 20);
    arena_init(&self->scratch, 65536, 8U << 20);
    reopen(self);
    *state = self;
    return 0;
}

static int world_remove(void **state) {
    world *self = *state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    memory_store_close(self->store);
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", self->file, endings[i]);
        unlink(name);
    }
    assert_int_equal(rmdir(self->folder), 0);
    arena_free(&self->memory);
    arena_free(&self->scratch);
    free(self);
    return 0;
}

static void *take(world *self, size_t size) {
    void *out = arena_zero(&self->memory, 1, size);
    assert_non_null(out);
    return out;
}

static ProtobufCBinaryData packed(world *self, const ProtobufCMessage *message) {
    bytes out = {0};
    failure why = {0};
    assert_int_equal(wire_pack(message, &self->memory, &out, &why), STATUS_OK);
    return (ProtobufCBinaryData){.len = out.size, .data = (uint8_t *)out.data};
}

/* Appends an entry to the pretended log; `body` may be NULL: erased. */
static void append(world *self, Interlock__Audit__V1__RecordKind kind, const char *action_id,
                   uint64_t previous, const char *verdict, const char *type, const ProtobufCMessage *body) {
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.version = 1;
    leaf.kind = kind;
    leaf.recorded_at_ms = 1000 + (int64_t)self->size;
    leaf.action_id = (char *)action_id;
    leaf.previous_index = previous;
    leaf.verdict = (char *)verdict;
    Interlock__Audit__V1__Entry *entry = take(self, sizeof *entry);
    interlock__audit__v1__entry__init(entry);
    entry->index = self->size;
    entry->leaf = packed(self, &leaf.base);
    if (body != NULL) {
        entry->record = take(self, sizeof *entry->record);
        interlock__common__v1__envelope__init(entry->record);
        entry->record->payload_type = (char *)type;
        entry->record->payload = packed(self, body);
    }
    assert_true(self->size < MOST);
    self->log[self->size++] = entry;
}

static void append_decision(world *self, const char *action_id, const char *verb, const char *node,
                            Interlock__Policy__V1__Outcome outcome, uint64_t previous) {
    static uint8_t digest[32] = {7};
    char *targets[] = {(char *)node, WEB};
    Interlock__Graph__V1__Share share = INTERLOCK__GRAPH__V1__SHARE__INIT;
    share.expected = 0.25;
    share.high = 0.5;
    Interlock__Graph__V1__Impact impact = INTERLOCK__GRAPH__V1__IMPACT__INIT;
    impact.entry_traffic = &share;
    Interlock__Policy__V1__Decision decision = INTERLOCK__POLICY__V1__DECISION__INIT;
    decision.action_id = (char *)action_id;
    decision.action_digest = (ProtobufCBinaryData){.len = 32, .data = digest};
    decision.outcome = outcome;
    decision.mode = INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED;
    decision.principal = "agent/deployer";
    decision.verb = (char *)verb;
    decision.targets = targets;
    decision.n_targets = 2;
    decision.summary = "said so";
    decision.decided_at_ms = 42;
    decision.impact = &impact;
    Interlock__Policy__V1__DecisionRecord record = INTERLOCK__POLICY__V1__DECISION_RECORD__INIT;
    record.decision = &decision;
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION, action_id, previous, "ALLOW",
           PAYLOAD_DECISION, &record.base);
}

static void append_outcome(world *self, const char *action_id,
                           Interlock__Memory__V1__OutcomeState outcome_state, uint64_t previous) {
    Interlock__Memory__V1__ActionOutcome outcome = INTERLOCK__MEMORY__V1__ACTION_OUTCOME__INIT;
    outcome.action_id = (char *)action_id;
    outcome.state = outcome_state;
    outcome.actual_share = 0.125;
    outcome.note = "looked fine";
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME, action_id, previous, "HEALTHY",
           PAYLOAD_OUTCOME, &outcome.base);
}

/* A log of 8: genesis, a decision and its outcome, a denial, a kill, a deferral decided anew, another
 * outcome. */
static void write_log(world *self) {
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS, "", 0, "", NULL, NULL);
    append_decision(self, "a-1", "deploy", CART, INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW, 0);
    append_outcome(self, "a-1", INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_HEALTHY, 1);
    append_decision(self, "a-2", "deploy", CART, INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY, 0);
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_KILL, "", 0, "KILL_SET", NULL, NULL);
    append_decision(self, "a-3", "restart", CART, INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DEFER, 0);
    append_decision(self, "a-3", "restart", "service:prod/shop/redis",
                    INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW, 5);
    append_outcome(self, "a-3", INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_REVERTED, 6);
}

static status_code learn(world *self, size_t from, size_t to, failure *why) {
    Interlock__Audit__V1__TailResponse batch = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    batch.entries = self->log + from;
    batch.n_entries = to - from;
    batch.tree_size = self->size;
    return memory_learn(self->store, &batch, &self->scratch, why);
}

static Interlock__Memory__V1__RecallResponse recall(world *self, const char *node, const char *verb,
                                                    uint32_t limit) {
    Interlock__Memory__V1__RecallRequest request = INTERLOCK__MEMORY__V1__RECALL_REQUEST__INIT;
    Interlock__Memory__V1__RecallResponse response = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    failure why = {0};
    request.node = (char *)node;
    request.verb = (char *)verb;
    request.limit = limit;
    assert_int_equal(memory_recall(self->store, &request, &self->memory, &response, &why), STATUS_OK);
    return response;
}

static void check_learnt(world *self) {
    Interlock__Memory__V1__RecallResponse all = recall(self, "", "", 0);
    assert_int_equal(all.n_memories, 3);
    assert_int_equal(all.matching, 3);
    assert_int_equal(all.denied, 1);
    assert_int_equal(all.failed, 1);
    assert_int_equal(all.applied_index, 7);
    assert_string_equal(all.memories[0]->action_id, "a-3");
    assert_string_equal(all.memories[0]->outcome, "ALLOW");
    assert_int_equal(all.memories[0]->decision_index, 6);
    assert_int_equal(all.memories[0]->outcome_index, 7);
    assert_int_equal(all.memories[0]->state, INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_REVERTED);
    assert_string_equal(all.memories[1]->action_id, "a-2");
    assert_string_equal(all.memories[1]->outcome, "DENY");
    assert_int_equal(all.memories[1]->outcome_index, 0);
    assert_true(all.memories[1]->actual_share < 0);
    assert_string_equal(all.memories[2]->action_id, "a-1");
    assert_string_equal(all.memories[2]->mode, "ENFORCED");
    assert_string_equal(all.memories[2]->note, "looked fine");
    assert_true(all.memories[2]->predicted_share == 0.25 && all.memories[2]->predicted_share_high == 0.5);
    assert_true(all.memories[2]->actual_share == 0.125);
    assert_int_equal(all.memories[2]->n_targets, 2);
    assert_string_equal(all.memories[2]->targets[0], CART);
    assert_string_equal(all.memories[2]->targets[1], WEB);
}

static void a_log_is_learnt_in_one_batch(void **state) {
    world *self = *state;
    failure why = {0};
    write_log(self);
    assert_int_equal(learn(self, 0, self->size, &why), STATUS_OK);
    check_learnt(self);
}

/* Any cut into batches, any of them twice or overlapping, with a restart between: the same memory. */
static void batches_count_once_however_they_come(void **state) {
    world *self = *state;
    failure why = {0};
    write_log(self);
    for (size_t cut = 1; cut < self->size; cut++) {
        memory_store_close(self->store);
        self->store = NULL;
        unlink(self->file);
        reopen(self);
        assert_int_equal(learn(self, 0, cut, &why), STATUS_OK);
        assert_int_equal(learn(self, 0, cut, &why), STATUS_OK);
        reopen(self);
        assert_int_equal(learn(self, cut / 2, self->size, &why), STATUS_OK);
        assert_int_equal(learn(self, 0, self->size, &why), STATUS_OK);
        reopen(self);
        check_learnt(self);
    }
}

static void a_gap_is_refused_and_nothing_is_kept(void **state) {
    world *self = *state;
    failure why = {0};
    uint64_t next = 99;
    write_log(self);
    assert_int_equal(learn(self, 0, 2, &why), STATUS_OK);
    assert_int_equal(learn(self, 3, self->size, &why), STATUS_DATA_LOSS);
    assert_string_equal(why.reason, "LOG_GAP");
    assert_int_equal(memory_store_next_index(self->store, &next, &why), STATUS_OK);
    assert_int_equal(next, 2);
    /* A batch that starts well and breaks off leaves no trace either. */
    Interlock__Audit__V1__Entry *kept = self->log[3];
    self->log[3] = self->log[5];
    assert_int_equal(learn(self, 2, 5, &why), STATUS_DATA_LOSS);
    self->log[3] = kept;
    assert_int_equal(recall(self, "", "", 0).memories[0]->outcome_index, 0);
    assert_int_equal(learn(self, 2, self->size, &why), STATUS_OK);
    check_learnt(self);
}

static void recall_filters_orders_and_limits(void **state) {
    world *self = *state;
    failure why = {0};
    write_log(self);
    assert_int_equal(learn(self, 0, self->size, &why), STATUS_OK);
    typedef struct recall_case {
        const char *node, *verb;
        uint32_t limit;
        size_t shown;
        uint64_t matching, denied, failed;
        const char *first;
    } recall_case;
    static const recall_case cases[] = {
        {CART, "", 0, 2, 2, 1, 0, "a-2"}, /* a-3 was decided anew on another node */
        {CART, "deploy", 0, 2, 2, 1, 0, "a-2"}, {CART, "restart", 0, 0, 0, 0, 0, NULL},
        {WEB, "", 2, 2, 3, 1, 1, "a-3"},        {WEB, "", 1, 1, 3, 1, 1, "a-3"},
        {"", "deploy", 100, 2, 2, 1, 0, "a-2"}, {"", "deploy", 1, 1, 2, 1, 0, "a-2"},
        {"", "", 1, 1, 3, 1, 1, "a-3"},         {"service:prod/shop/nothing", "", 0, 0, 0, 0, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Interlock__Memory__V1__RecallResponse got =
            recall(self, cases[i].node, cases[i].verb, cases[i].limit);
        assert_int_equal(got.n_memories, cases[i].shown);
        assert_int_equal(got.matching, cases[i].matching);
        assert_int_equal(got.denied, cases[i].denied);
        assert_int_equal(got.failed, cases[i].failed);
        if (cases[i].first != NULL)
            assert_string_equal(got.memories[0]->action_id, cases[i].first);
    }
}

static void too_much_is_not_asked_for(void **state) {
    world *self = *state;
    char name[300];
    failure why = {0};
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    Interlock__Memory__V1__RecallRequest request = INTERLOCK__MEMORY__V1__RECALL_REQUEST__INIT;
    Interlock__Memory__V1__RecallResponse response = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    request.limit = 101;
    assert_int_equal(memory_recall(self->store, &request, &self->memory, &response, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.field, "limit");
    request.limit = 0;
    request.node = name;
    assert_int_equal(memory_recall(self->store, &request, &self->memory, &response, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.field, "node");
}

/* An erased body leaves the history intact: the next Append still knows what to expect. */
static void erased_bodies_keep_the_history(void **state) {
    world *self = *state;
    failure why = {0};
    memory_action action;
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS, "", 0, "", NULL, NULL);
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION, "a-1", 0, "ALLOW", NULL, NULL);
    append(self, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME, "a-1", 1, "HEALTHY", NULL, NULL);
    assert_int_equal(learn(self, 0, self->size, &why), STATUS_OK);
    assert_int_equal(memory_store_find_action(self->store, "a-1", &action, &why), STATUS_OK);
    assert_int_equal(action.latest_index, 2);
    assert_false(action.has_digest);
    assert_int_equal(memory_store_find_action(self->store, "a-2", &action, &why), STATUS_NOT_FOUND);
}

static void an_outcome_finds_its_own_record_again(void **state) {
    world *self = *state;
    failure why = {0};
    uint8_t digest[32], other[32] = {0};
    bool found = false;
    uint64_t previous = 0;
    write_log(self);
    assert_int_equal(learn(self, 0, self->size, &why), STATUS_OK);
    dsse_payload_digest(self->log[7]->record, digest);
    assert_int_equal(memory_store_find_outcome(self->store, "a-3", digest, &found, &previous, &why),
                     STATUS_OK);
    assert_true(found);
    assert_int_equal(previous, 6);
    assert_int_equal(memory_store_find_outcome(self->store, "a-1", digest, &found, &previous, &why),
                     STATUS_OK);
    assert_false(found);
    assert_int_equal(memory_store_find_outcome(self->store, "a-3", other, &found, &previous, &why),
                     STATUS_OK);
    assert_false(found);
}

static void a_hostile_body_is_no_decision(void **state) {
    world *self = *state;
    failure why = {0};
    static uint8_t nonsense[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x01};
    write_log(self);
    self->log[3]->record->payload = (ProtobufCBinaryData){.len = sizeof nonsense, .data = nonsense};
    self->log[6]->record->payload_type = "text/plain";
    assert_int_equal(learn(self, 0, self->size, &why), STATUS_OK);
    assert_int_equal(recall(self, "", "", 0).matching, 3);
    assert_int_equal(recall(self, CART, "deploy", 0).matching, 1);
    self->log[3]->leaf = (ProtobufCBinaryData){.len = sizeof nonsense, .data = nonsense};
    assert_int_equal(memory_store_set_next_index(self->store, 3, &why), STATUS_OK);
    assert_int_equal(learn(self, 3, self->size, &why), STATUS_DATA_LOSS);
}

int main(void) {
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_is_learnt_in_one_batch, world_make, world_remove),
        cmocka_unit_test_setup_teardown(batches_count_once_however_they_come, world_make, world_remove),
        cmocka_unit_test_setup_teardown(a_gap_is_refused_and_nothing_is_kept, world_make, world_remove),
        cmocka_unit_test_setup_teardown(recall_filters_orders_and_limits, world_make, world_remove),
        cmocka_unit_test_setup_teardown(too_much_is_not_asked_for, world_make, world_remove),
        cmocka_unit_test_setup_teardown(erased_bodies_keep_the_history, world_make, world_remove),
        cmocka_unit_test_setup_teardown(an_outcome_finds_its_own_record_again, world_make, world_remove),
        cmocka_unit_test_setup_teardown(a_hostile_body_is_no_decision, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
