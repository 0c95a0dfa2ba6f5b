/* The graph's store: what is loaded is what was saved, at any moment, and goes on as if nothing had happened.
 */
#include "graph_store.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SPANS 4000U
#define SERVICES 12U

static char directory[64];
static char path[96];

static int directory_make(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/graph-store-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/graph.db", directory);
    return 0;
}

static int directory_remove(void **state) {
    (void)state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return rmdir(directory);
}

static uint32_t draw(simulated_chance *dice, uint32_t below) {
    uint32_t value = 0;
    chance_random(&dice->chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

/* A random span of one of few traces, with parents that come before, after and never. */
static observation random_span(world *self, simulated_chance *dice, unsigned number) {
    char service[16];
    snprintf(service, sizeof service, "s%u", draw(dice, SERVICES));
    uint64_t trace = number / 16;
    uint64_t span = 1 + number % 16;
    uint64_t parent = draw(dice, 4) == 0 ? 0 : 1 + draw(dice, 18);
    static const double weights[] = {1, 1, 1, 4, 0};
    observation what = world_span(self, trace, span, parent, service, (span_kind)(1 + draw(dice, 5)),
                                  weights[draw(dice, 5)]);
    if (what.span_kind == SPAN_CLIENT && draw(dice, 2) == 0)
        what.peer = world_node(self, draw(dice, 2) == 0 ? "datastore:redis" : "service:peer", true);
    return what;
}

static void nodes_equal(const model *a, const model *b) {
    assert_int_equal(model_node_count(a), model_node_count(b));
    for (uint32_t i = 0; i < model_node_count(a); i++) {
        const model_node *one = model_node_at(a, i);
        const model_node *two = model_node_at(b, i);
        assert_string_equal(one->name, two->name);
        assert_true(one->requests == two->requests && one->entry_requests == two->entry_requests &&
                    one->unattributed == two->unattributed && one->spans == two->spans &&
                    one->visible == two->visible && one->source == two->source &&
                    one->valid_from_ms == two->valid_from_ms &&
                    one->recorded_from_ms == two->recorded_from_ms);
    }
}

static void models_equal(const model *a, const model *b) {
    nodes_equal(a, b);
    assert_int_equal(model_edge_count(a), model_edge_count(b));
    for (uint32_t i = 0; i < model_edge_count(a); i++) {
        const model_edge *one = model_edge_at(a, i);
        const model_edge *two = model_edge_at(b, i);
        assert_true(one->from == two->from && one->to == two->to && one->kind == two->kind &&
                    one->calls == two->calls && one->requests_with_call == two->requests_with_call &&
                    one->spans == two->spans && one->source == two->source);
    }
    const model_totals *one = model_totals_of(a);
    const model_totals *two = model_totals_of(b);
    assert_true(one->entry_requests == two->entry_requests && one->entry_squares == two->entry_squares &&
                one->entries_unknown == two->entries_unknown && one->spans == two->spans &&
                one->as_of_ms == two->as_of_ms);
}

/* Shares of every node, to compare shapes whatever their numbers. */
static void shares_equal(world *a, world *b) {
    snapshot *one = world_snapshot(a);
    snapshot *two = world_snapshot(b);
    impact_scratch scratch = {0};
    arena memory;
    arena_init(&memory, 65536, 64 << 20);
    for (uint32_t i = 0; i < one->node_count; i++) {
        impact_message *left = NULL;
        impact_message *right = NULL;
        arena_reset(&memory);
        assert_int_equal(impact_of(one, &i, 1, &scratch, &memory, &left, NULL), STATUS_OK);
        assert_int_equal(impact_of(two, &i, 1, &scratch, &memory, &right, NULL), STATUS_OK);
        assert_true(left->entry_traffic->expected == right->entry_traffic->expected &&
                    left->entry_traffic->low == right->entry_traffic->low &&
                    left->entry_traffic->high == right->entry_traffic->high);
        assert_int_equal(left->n_affected, right->n_affected);
    }
    arena_free(&memory);
    impact_scratch_free(&scratch);
    snapshot_release(one);
    snapshot_release(two);
}

static status_code saved(graph_store *to, model *from, const observation *observations, size_t count,
                         uint64_t revision, int64_t now_ms, failure *why) {
    status_code status = graph_store_begin(to, why);
    if (status == STATUS_OK)
        status = graph_store_put(to, from, observations, count, revision, now_ms, why);
    if (status == STATUS_OK)
        status = graph_store_commit(to, from, why);
    if (status != STATUS_OK)
        graph_store_rollback(to);
    return status;
}

static graph_store *store_opened(world *into, uint64_t *revision) {
    failure why = {0};
    graph_store *out = NULL;
    if (graph_store_open(&out, path, &why) != STATUS_OK ||
        graph_store_load(out, into->graph, revision, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return out;
}

/* One production goes on without a break; another is closed and loaded again every few spans, in the middle
 * of traces. Both must be the same in the end. */
static void test_restarts(void **state) {
    (void)state;
    world steady;
    world restarted;
    world_open(&steady, 1);
    world_open(&restarted, 2);
    uint64_t revision = 0;
    graph_store *file = store_opened(&restarted, &revision);
    assert_int_equal(revision, 0);
    simulated_chance dice;
    simulated_chance twin;
    simulated_chance_init(&dice, 5);
    simulated_chance_init(&twin, 5);
    for (unsigned i = 0; i < SPANS; i++) {
        world_apply(&steady, random_span(&steady, &dice, i));
        observation what = random_span(&restarted, &twin, i);
        world_apply(&restarted, what);
        failure why = {0};
        assert_int_equal(saved(file, restarted.graph, &what, 1, i + 1, WORLD_WALL_MS, &why), STATUS_OK);
        if (i % 97 != 0)
            continue;
        graph_store_close(file);
        model_free(restarted.graph);
        world_open(&restarted, 3 + i);
        file = store_opened(&restarted, &revision);
        assert_int_equal(revision, i + 1);
        models_equal(steady.graph, restarted.graph);
    }
    world_settle(&steady);
    world_settle(&restarted);
    models_equal(steady.graph, restarted.graph);
    shares_equal(&steady, &restarted);
    graph_store_close(file);
    model_free(steady.graph);
    model_free(restarted.graph);
}

/* What is settled stays settled: a restart must not infer the same call again. */
static void test_settled_once(void **state) {
    (void)state;
    world production;
    world_open(&production, 1);
    uint64_t revision = 0;
    graph_store *file = store_opened(&production, &revision);
    observation all[8];
    all[0] = world_span(&production, 1, 1, 0, "cart", SPAN_CLIENT, 1);
    all[0].peer = world_node(&production, "service:tax", true);
    all[1] = world_span(&production, 2, 1, 9, "cart", SPAN_SERVER, 1);
    world_apply(&production, all[0]);
    world_apply(&production, all[1]);
    size_t count = 2 + model_settle(production.graph, 1000 + MODEL_SETTLE_MS, all + 2, 6);
    assert_int_equal(count, 4);
    for (size_t i = 2; i < count; i++)
        world_apply(&production, all[i]);
    assert_int_equal(saved(file, production.graph, all, count, 1, WORLD_WALL_MS, NULL), STATUS_OK);
    graph_store_close(file);
    world again;
    world_open(&again, 2);
    file = store_opened(&again, &revision);
    models_equal(production.graph, again.graph);
    world_settle(&again);
    models_equal(production.graph, again.graph);
    graph_store_close(file);
    model_free(production.graph);
    model_free(again.graph);
}

static int64_t number_of(const char *sql) {
    store reader = {0};
    store_statement statement;
    bool row = false;
    assert_int_equal(store_open_reader(&reader, path, NULL), STATUS_OK);
    assert_int_equal(store_prepare(&reader, &statement, sql, NULL), STATUS_OK);
    assert_int_equal(store_step(&statement, &row, NULL), STATUS_OK);
    int64_t number = row ? store_column_int(&statement, 0) : -1;
    store_finalize(&statement);
    store_close(&reader);
    return number;
}

/* A node that was only mentioned and then speaks: the row says what is known now; the history keeps the rest.
 */
static void test_versions(void **state) {
    (void)state;
    world production;
    world_open(&production, 1);
    uint64_t revision = 0;
    graph_store *file = store_opened(&production, &revision);
    observation what = world_span(&production, 1, 1, 0, "cart", SPAN_CLIENT, 1);
    what.peer = world_node(&production, "datastore:redis", true);
    world_apply(&production, what);
    assert_int_equal(saved(file, production.graph, &what, 1, 1, WORLD_WALL_MS, NULL), STATUS_OK);
    what = world_span(&production, 1, 2, 1, "datastore:redis", SPAN_SERVER, 1);
    model_apply(production.graph, &what, WORLD_WALL_MS + 5);
    assert_int_equal(saved(file, production.graph, &what, 1, 2, WORLD_WALL_MS + 5, NULL), STATUS_OK);
    assert_int_equal(number_of("SELECT count(*) FROM node_traffic WHERE visible = 1"), 2);
    assert_int_equal(number_of("SELECT count(*) FROM node_traffic WHERE provenance = 1"), 2);
    assert_int_equal(number_of("SELECT max(recorded_from) FROM node_traffic"), WORLD_WALL_MS + 5);
    assert_int_equal(number_of("SELECT count(*) FROM edge_traffic WHERE valid_from > 0"), 1);
    graph_store_close(file);
    model_free(production.graph);
}

/* The journal holds what may be remembered and not more. */
static void test_journal_is_bounded(void **state) {
    (void)state;
    world production;
    world_open(&production, 1);
    uint64_t revision = 0;
    graph_store *file = store_opened(&production, &revision);
    static observation batch[8192];
    for (unsigned round = 0; round < 3 * MODEL_SPANS / 8192; round++) {
        for (unsigned i = 0; i < 8192; i++) {
            batch[i] = world_span(&production, round * 8192 + i, 1, 0, "cart", SPAN_SERVER, 1);
            world_apply(&production, batch[i]);
        }
        assert_int_equal(saved(file, production.graph, batch, 8192, round + 1, WORLD_WALL_MS, NULL),
                         STATUS_OK);
    }
    int64_t kept = number_of("SELECT sum(length(observations)) / 88 FROM journal");
    assert_true(kept >= MODEL_SPANS && kept <= MODEL_SPANS + MODEL_SPANS / 4);
    graph_store_close(file);
    world again;
    world_open(&again, 2);
    file = store_opened(&again, &revision);
    models_equal(production.graph, again.graph);
    graph_store_close(file);
    model_free(production.graph);
    model_free(again.graph);
}

static void test_damaged(void **state) {
    (void)state;
    static const char *const damages[] = {
        "UPDATE journal SET observations = x'00'",
        "UPDATE edge SET to_node = 0, from_node = 0; DELETE FROM node WHERE id = 1",
        "DELETE FROM node_traffic WHERE node = 0",
        "UPDATE shape SET members = x'ffffff7f'",
    };
    static const char *const migrations[GRAPH_STORE_VERSION - 1] = {""};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        world production;
        world_open(&production, 1);
        uint64_t revision = 0;
        graph_store *file = store_opened(&production, &revision);
        observation what = world_span(&production, 1, 1, 0, "a", SPAN_SERVER, 1);
        world_apply(&production, what);
        what = world_span(&production, 1, 2, 1, "b", SPAN_SERVER, 1);
        world_apply(&production, what);
        assert_int_equal(saved(file, production.graph, &what, 1, 1, WORLD_WALL_MS, NULL), STATUS_OK);
        graph_store_close(file);
        store writer = {0};
        assert_int_equal(store_open(&writer, path, GRAPH_STORE_VERSION, "", migrations, STORE_DURABLE, NULL),
                         STATUS_OK);
        assert_int_equal(store_execute(&writer, "PRAGMA foreign_keys = OFF", NULL), STATUS_OK);
        assert_int_equal(store_execute(&writer, damages[i], NULL), STATUS_OK);
        store_close(&writer);
        world again;
        failure why = {0};
        world_open(&again, 2);
        assert_int_equal(graph_store_open(&file, path, &why), STATUS_OK);
        assert_int_equal(graph_store_load(file, again.graph, &revision, &why), STATUS_DATA_LOSS);
        assert_string_equal(why.reason, "STORE_INCONSISTENT");
        graph_store_close(file);
        model_free(production.graph);
        model_free(again.graph);
        directory_remove(state);
        directory_make(state);
    }
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, directory_make, directory_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(test_restarts), WITH_DIRECTORY(test_settled_once),
        WITH_DIRECTORY(test_versions), WITH_DIRECTORY(test_journal_is_bounded),
        WITH_DIRECTORY(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
