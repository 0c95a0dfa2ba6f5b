/* The projection of the log against a real database: what is applied, what survives a restart, and how
 * another log is recognised. */
#include "projection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/dsse.h"
#include "interlock/control/v1/control.pb-c.h"
#include "wire/scan.h"
#include "wrong.h"

#define KIND(word) INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_##word
#define ENTRIES_MAX 16

typedef struct fixture {
    char folder[64];
    char file[96];
    arena memory;
    simulated_chance world;
    secret_key *key;
    projection log;
    Interlock__Audit__V1__Entry entries[ENTRIES_MAX];
    Interlock__Audit__V1__Entry *list[ENTRIES_MAX];
    Interlock__Audit__V1__TailResponse batch;
    unsigned told; /* control statements */
} fixture;

static void on_statement(void *context, const Interlock__Common__V1__Envelope *statement) {
    assert_int_equal(statement->n_signatures, 1);
    ((fixture *)context)->told++;
}

static void log_open(fixture *self, const char *origin) {
    failure why = {0};
    memset(&self->log, 0, sizeof self->log);
    self->log.statement = on_statement;
    self->log.context = self;
    assert_int_equal(projection_open(&self->log, self->file, origin, &self->world.chance, &why), STATUS_OK);
}

static int fixture_make(void **state) {
    fixture *self = calloc(1, sizeof *self);
    failure why = {0};
    assert_non_null(self);
    (void)snprintf(self->folder, sizeof self->folder, "/tmp/policy-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    (void)snprintf(self->file, sizeof self->file, "%s/policy.db", self->folder);
    arena_init(&self->memory, 65536, 4U << 20);
    simulated_chance_init(&self->world, 3);
    simulated_chance_advance(&self->world, 1000000000);
    assert_int_equal(secret_key_generate(&self->world.chance, KEY_RECORD, &self->key, &why), STATUS_OK);
    interlock__audit__v1__tail_response__init(&self->batch);
    self->batch.entries = self->list;
    log_open(self, "demo/log");
    *state = self;
    return 0;
}

static int fixture_remove(void **state) {
    fixture *self = *state;
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    projection_close(&self->log);
    secret_key_free(self->key);
    arena_free(&self->memory);
    for (size_t i = 0; i < 4; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s%s", self->file, endings[i]);
        (void)unlink(name);
    }
    assert_int_equal(rmdir(self->folder), 0);
    free(self);
    return 0;
}

static void batch_begin(fixture *self) {
    self->batch.n_entries = 0;
}

/* Adds an entry and makes it the end of the log. */
static void batch_add(fixture *self, uint64_t index, Interlock__Audit__V1__Leaf leaf,
                      Interlock__Common__V1__Envelope *record) {
    bytes packed;
    size_t at = self->batch.n_entries++;
    assert_true(at < ENTRIES_MAX);
    leaf.version = 1;
    leaf.recorded_at_ms = (int64_t)index + 1;
    assert_int_equal(wire_pack(&leaf.base, &self->memory, &packed, NULL), STATUS_OK);
    interlock__audit__v1__entry__init(&self->entries[at]);
    self->entries[at].index = index;
    self->entries[at].leaf =
        (ProtobufCBinaryData){.len = packed.size, .data = (uint8_t *)(uintptr_t)packed.data};
    self->entries[at].record = record;
    self->list[at] = &self->entries[at];
    self->batch.tree_size = index + 1;
}

/* What a decision says is not looked at, so that an erased record counts like any other. */
static void add_decision(fixture *self, uint64_t index, const char *action_id) {
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.kind = KIND(DECISION);
    leaf.action_id = arena_text(&self->memory, action_id);
    leaf.control_seq = index;
    leaf.epoch = 2;
    batch_add(self, index, leaf, NULL);
}

static void add_kill(fixture *self, uint64_t index, bool set, uint8_t *digest) {
    Interlock__Control__V1__Kill kill = INTERLOCK__CONTROL__V1__KILL__INIT;
    kill.set = set;
    kill.version = index;
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.kind = KIND(KILL);
    leaf.verdict = arena_text(&self->memory, set ? "SET" : "CLEARED");
    leaf.control_seq = index;
    leaf.epoch = 2;
    Interlock__Common__V1__Envelope *record =
        dsse_sign_message(self->key, PAYLOAD_KILL, &kill.base, &self->memory);
    dsse_payload_digest(record, digest);
    batch_add(self, index, leaf, record);
}

static void add_genesis(fixture *self) {
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.kind = KIND(GENESIS);
    leaf.epoch = 2;
    batch_add(self, 0, leaf, NULL);
}

static void apply(fixture *self) {
    failure why = {0};
    if (projection_apply(&self->log, &self->batch, &why) != STATUS_OK)
        WRONG("%s", why.message);
}

static policy_store_action action_of(fixture *self, const char *action_id, bool expected) {
    policy_store_action out = {0};
    bool found = false;
    failure why = {0};
    assert_int_equal(policy_store_find_action(self->log.writer, action_id, &found, &out, &why), STATUS_OK);
    assert_int_equal(found, expected);
    return out;
}

static bool statement_known(fixture *self, const uint8_t *digest) {
    bool found = false;
    failure why = {0};
    assert_int_equal(policy_store_find_statement(self->log.writer, digest, &found, &why), STATUS_OK);
    return found;
}

static void test_applies_and_survives(void **state) {
    fixture *self = *state;
    uint8_t set[32], cleared[32];
    batch_begin(self);
    add_genesis(self);
    add_decision(self, 1, "a");
    add_kill(self, 2, true, set);
    add_decision(self, 3, "a");
    add_kill(self, 4, false, cleared);
    add_decision(self, 5, "b");
    apply(self);
    for (int round = 0; round < 2; round++) {
        policy_store_action a = action_of(self, "a", true);
        assert_int_equal(a.decision_index, 3);
        assert_int_equal(a.latest_index, 3);
        assert_int_equal(action_of(self, "b", true).decision_index, 5);
        (void)action_of(self, "c", false);
        assert_true(statement_known(self, set));
        assert_true(statement_known(self, cleared));
        assert_int_equal(atomic_load(&self->log.fence_index), 2);
        assert_int_equal(atomic_load(&self->log.control_seq), 5);
        assert_int_equal(atomic_load(&self->log.epoch), 2);
        assert_int_equal(projection_from(&self->log), 5);
        assert_int_equal(self->told, 2);
        self->told = 0;
        projection_close(&self->log);
        log_open(self, "demo/log");
    }
}

static void test_outcomes_follow_decisions(void **state) {
    fixture *self = *state;
    batch_begin(self);
    add_genesis(self);
    add_decision(self, 1, "a");
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.kind = KIND(OUTCOME);
    leaf.action_id = arena_text(&self->memory, "a");
    leaf.previous_index = 1;
    batch_add(self, 2, leaf, NULL);
    apply(self);
    policy_store_action a = action_of(self, "a", true);
    assert_int_equal(a.latest_index, 2);
    assert_int_equal(a.decision_index, 1);
}

static void test_the_last_one_again_and_gaps(void **state) {
    fixture *self = *state;
    failure why = {0};
    batch_begin(self);
    add_genesis(self);
    add_decision(self, 1, "a");
    apply(self);
    apply(self);
    assert_int_equal(atomic_load(&self->log.applied), 2);
    batch_begin(self);
    add_decision(self, 3, "c");
    assert_int_equal(projection_apply(&self->log, &self->batch, &why), STATUS_INTERNAL);
    assert_string_equal(why.reason, "LOG_GAP");
    (void)action_of(self, "c", false);
    assert_int_equal(atomic_load(&self->log.applied), 2);
}

static void expect_forgotten(fixture *self) {
    failure why = {0};
    assert_int_equal(projection_apply(&self->log, &self->batch, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "ANOTHER_LOG");
    assert_int_equal(projection_from(&self->log), 0);
    (void)action_of(self, "a", false);
}

static void test_another_log_is_recognised(void **state) {
    fixture *self = *state;
    for (int round = 0; round < 2; round++) {
        batch_begin(self);
        add_genesis(self);
        add_decision(self, 1, "a");
        add_decision(self, 2, "b");
        apply(self);
        batch_begin(self);
        if (round == 0)
            add_decision(self, 2, "x");
        else
            self->batch.tree_size = 2; /* the log is shorter than what was applied */
        expect_forgotten(self);
    }
}

static void test_another_origin_empties_it(void **state) {
    fixture *self = *state;
    batch_begin(self);
    add_genesis(self);
    add_decision(self, 1, "a");
    apply(self);
    projection_close(&self->log);
    log_open(self, "another/log");
    assert_int_equal(projection_from(&self->log), 0);
    (void)action_of(self, "a", false);
}

static void test_current_only_at_the_end_and_for_a_while(void **state) {
    fixture *self = *state;
    assert_false(projection_is_current(&self->log));
    batch_begin(self);
    add_genesis(self);
    self->batch.tree_size = 2;
    apply(self);
    assert_false(projection_is_current(&self->log));
    batch_begin(self);
    add_decision(self, 1, "a");
    apply(self);
    assert_true(projection_is_current(&self->log));
    simulated_chance_advance(&self->world, (PROJECTION_CURRENT_MS + 1) * 1000000ULL);
    assert_false(projection_is_current(&self->log));
    batch_begin(self); /* "up to date" */
    apply(self);
    assert_true(projection_is_current(&self->log));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, fixture_make, fixture_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        EACH(test_applies_and_survives),        EACH(test_outcomes_follow_decisions),
        EACH(test_the_last_one_again_and_gaps), EACH(test_another_log_is_recognised),
        EACH(test_another_origin_empties_it),   EACH(test_current_only_at_the_end_and_for_a_while),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
