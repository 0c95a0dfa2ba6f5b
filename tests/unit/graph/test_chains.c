/* Confirmed chains: suspected becomes caused, once, and what cannot be taken holds nothing up. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "chains.h"
#include "interlock/graph/v1/root_cause.pb-c.h"

#define PAYLOAD_CHAIN "application/vnd.interlock.chain.v1+protobuf"
#define MAIL "service:prod/shop/mail"
#define SHOP "service:prod/shop/shop"
#define SLOW "incident:prod/shop/slow"
#define NOW_MS 1700000000000
#define EDGE(word) INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_##word

typedef struct world {
    simulated_chance chance_owner;
    store rows;
    history *past;
    uint8_t payload[2048], leaf[256];
    Interlock__Common__V1__Envelope record;
    Interlock__Audit__V1__Entry entry;
    uint64_t next;
} world;

static int world_make(void **state) {
    static const history_limits limits = {.keep_changes_ms = 86400000};
    world *self = calloc(1, sizeof *self);
    failure why = {0};
    assert_non_null(self);
    simulated_chance_init(&self->chance_owner, 7);
    extern const char graph_schema_sql[];
    assert_int_equal(store_open(&self->rows, ":memory:", 1, graph_schema_sql, NULL, STORE_DURABLE, &why),
                     STATUS_OK);
    assert_int_equal(
        history_open(&self->past, &self->rows, ":memory:", &limits, &self->chance_owner.chance, &why),
        STATUS_OK);
    *state = self;
    return 0;
}

static int world_remove(void **state) {
    world *self = *state;
    history_close(self->past);
    store_close(&self->rows);
    free(self);
    return 0;
}

static void take(world *self, uint64_t index, char *cause) {
    Interlock__Common__V1__StatementHeader header = INTERLOCK__COMMON__V1__STATEMENT_HEADER__INIT;
    Interlock__Graph__V1__ConfirmedHop hops[2] = {INTERLOCK__GRAPH__V1__CONFIRMED_HOP__INIT,
                                                  INTERLOCK__GRAPH__V1__CONFIRMED_HOP__INIT};
    Interlock__Graph__V1__ConfirmedHop *list[2] = {&hops[0], &hops[1]};
    Interlock__Graph__V1__CauseChain chain = INTERLOCK__GRAPH__V1__CAUSE_CHAIN__INIT;
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    Interlock__Audit__V1__TailResponse batch = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    Interlock__Audit__V1__Entry *entries[1] = {&self->entry};
    failure why = {0};
    header.principal = "agent/diagnoser";
    hops[0].node = cause;
    hops[1].node = SHOP;
    chain.header = &header;
    chain.incident = SLOW;
    chain.hops = list;
    chain.n_hops = 2;
    leaf.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CHAIN;
    leaf.recorded_at_ms = NOW_MS;
    interlock__common__v1__envelope__init(&self->record);
    interlock__audit__v1__entry__init(&self->entry);
    self->record.payload_type = PAYLOAD_CHAIN;
    self->record.payload.data = self->payload;
    self->record.payload.len = interlock__graph__v1__cause_chain__pack(&chain, self->payload);
    self->entry.leaf.data = self->leaf;
    self->entry.leaf.len = interlock__audit__v1__leaf__pack(&leaf, self->leaf);
    self->entry.record = &self->record;
    self->entry.index = index;
    batch.entries = entries;
    batch.n_entries = 1;
    assert_int_equal(chains_take(self->past, &batch, NOW_MS, &self->next, &why), STATUS_OK);
}

static bool count_one(void *context, const fact *what, int64_t recorded_from_ms) {
    (void)what;
    (void)recorded_from_ms;
    ++*(int *)context;
    return true;
}

static int said(world *self, int kind, const char *from, const char *to) {
    fact what = {.is_edge = true, .kind = kind, .name = from, .to = to};
    failure why = {0};
    int count = 0;
    (void)!history_current(self->past, &what, count_one, &count, &why);
    return count;
}

static void suspected_becomes_caused(void **state) {
    world *self = *state;
    failure why = {0};
    fact suspicion = {.is_edge = true,
                      .kind = EDGE(SUSPECTED),
                      .name = MAIL,
                      .to = SLOW,
                      .confidence = 0.5,
                      .source = INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_INFERRED,
                      .origin = "guess",
                      .valid_from_ms = NOW_MS - 1000,
                      .valid_to_ms = HISTORY_OPEN};
    assert_int_equal(history_assert(self->past, &suspicion, NOW_MS - 1000, &why), STATUS_OK);
    assert_int_equal(said(self, EDGE(SUSPECTED), MAIL, SLOW), 1);
    take(self, 5, MAIL);
    assert_int_equal(said(self, EDGE(SUSPECTED), MAIL, SLOW), 0);
    assert_int_equal(said(self, EDGE(CAUSED), MAIL, SLOW), 1);
    assert_int_equal(said(self, EDGE(CAUSED), MAIL, SHOP), 1);
    assert_int_equal(self->next, 6);
}

static void what_was_taken_or_cannot_be_is_passed_by(void **state) {
    world *self = *state;
    self->next = 9;
    take(self, 5, MAIL);
    assert_int_equal(said(self, EDGE(CAUSED), MAIL, SLOW), 0);
    assert_int_equal(self->next, 9);
    take(self, 9, "no name");
    assert_int_equal(self->next, 10);
    assert_int_equal(said(self, EDGE(CAUSED), SHOP, SLOW), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(suspected_becomes_caused, world_make, world_remove),
        cmocka_unit_test_setup_teardown(what_was_taken_or_cannot_be_is_passed_by, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
