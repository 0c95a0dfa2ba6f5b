/* What nobody measured and somebody states takes part in impact: declared calls, owners, zones, journeys,
 * incidents; and what is normal, read from metrics alone. */
#include "world.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "impact_normal.h"

#define CART "service:prod/shop/cart"
#define PAGE "service:prod/shop/page"
#define BUY "journey:prod/shop/buy"

static const snapshot_dependency calls[] = {
    {.from = PAGE, .to = CART, .class = PROPAGATION_CALL, .share = 0.5, .calls = 2, .waits = 1},
    {.from = BUY, .to = PAGE, .class = PROPAGATION_CALL, .waits = 1}};
static const snapshot_tie ties[] = {{.node = PAGE, .to = "owner:prod/shop/web", .owner = true},
                                    {.node = PAGE, .to = "zone:prod/shop/public"},
                                    {.node = CART, .to = "zone:prod/shop/inside"},
                                    {.node = "service:prod/shop/nobody", .to = "zone:prod/shop/outside"}};

static snapshot *stated(world *self, const snapshot_affected *affected, size_t count) {
    snapshot_sources sources = {.dependencies = calls,
                                .dependency_count = 2,
                                .ties = ties,
                                .tie_count = 4,
                                .affected = affected,
                                .affected_count = count};
    snapshot *out = NULL;
    assert_int_equal(snapshot_create_with(&out, self->graph, &sources, 1, WORLD_WALL_MS, NULL), STATUS_OK);
    return out;
}

static impact_response ask(const snapshot *graph, const char *target, arena *memory) {
    impact_scratch scratch = {0};
    impact_response out = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_RESPONSE__INIT;
    char *targets[] = {(char *)target};
    impact_request request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
    request.targets = targets;
    request.n_targets = 1;
    request.verb = (char *)"deploy";
    assert_int_equal(impact_predict(graph, &request, &graph->learnt, NULL, &scratch, memory, &out, NULL),
                     STATUS_OK);
    impact_scratch_free(&scratch);
    return out;
}

static void test_stated_calls(void **state) {
    (void)state;
    world self;
    arena memory;
    arena_init(&memory, 4096, 1 << 20);
    world_open(&self, 1);
    snapshot *graph = stated(&self, NULL, 0);
    const Interlock__Graph__V1__Impact *impact = ask(graph, CART, &memory).impact;
    assert_int_equal(impact->n_affected, 3);
    assert_string_equal(impact->affected[0]->name, CART);
    assert_true(fabs(impact->affected[1]->probability - 0.5) < 1e-6);
    assert_int_equal(impact->affected[2]->n_path + impact->affected[1]->n_path, 5);
    /* Nobody has measured it: anything is possible, and bounds look at the upper end. */
    assert_true(impact->affected[1]->low <= 0 && impact->affected[1]->high >= 1);
    assert_true(impact->entry_traffic->high >= 1 && impact->traffic_p95 >= 1);
    assert_int_equal(impact->n_journeys, 1);
    assert_string_equal(impact->journeys[0], BUY);
    assert_int_equal(impact->n_owners, 1);
    assert_string_equal(impact->owners[0], "owner:prod/shop/web");
    assert_int_equal(impact->n_zones, 2);
    assert_string_equal(impact->zones[0], "zone:prod/shop/inside");
    snapshot_release(graph);
    model_free(self.graph);
    arena_free(&memory);
}

/* Of those who call what incidents affected, one was spared each time: the next failure crosses less often.
 */
static void test_incidents_teach(void **state) {
    (void)state;
    world self;
    arena memory;
    static const snapshot_affected spared[] = {
        {"incident:prod/shop/1", CART}, {"incident:prod/shop/2", CART}, {"incident:prod/shop/3", CART}};
    arena_init(&memory, 4096, 1 << 20);
    world_open(&self, 1);
    snapshot *graph = stated(&self, spared, 3);
    const Interlock__Graph__V1__Impact *impact = ask(graph, CART, &memory).impact;
    assert_true(impact->affected[1]->probability < 0.5 - 1e-3);
    assert_true(graph->learnt.counts[PROPAGATION_CALL][PROPAGATION_VERBS - 1].stayed > 1.4);
    snapshot_release(graph);
    model_free(self.graph);
    arena_free(&memory);
}

/* Two pods after one another at different levels are one node that drifts. */
static void test_normal_of_metrics(void **state) {
    (void)state;
    signals *from = NULL;
    assert_int_equal(signals_create(&from, 1, NULL), STATUS_OK);
    signals_write_begin(from);
    uint32_t first = signals_series_named(from, CART, bytes_of_text("cart-1"), bytes_of_text("latency.p90"),
                                          bytes_of_text("s"), SIGNAL_GAUGE);
    uint32_t second = signals_series_named(from, CART, bytes_of_text("cart-2"), bytes_of_text("latency.p90"),
                                           bytes_of_text("s"), SIGNAL_GAUGE);
    uint32_t requests = signals_series_named(from, CART, bytes_of_text(""), bytes_of_text("requests.Sum"),
                                             bytes_of_text(""), SIGNAL_GAUGE);
    for (int64_t i = 0; i < 96; i++) {
        int64_t at_ms = WORLD_WALL_MS + i * 900000;
        signals_add(from, i < 48 ? first : second, at_ms, i < 48 ? 0.005 : 0.02);
        signals_add(from, requests, at_ms, 120);
    }
    signals_write_end(from);
    signals_read_begin(from);
    series_normal normal = series_normal_of(from, CART);
    series_normal nobody = series_normal_of(from, PAGE);
    signals_read_end(from);
    assert_true(fabs(normal.drift - 0.25) < 0.02);
    assert_true(normal.p90_ms > 4.9 && normal.p90_ms < 20.1 && normal.mean_ms <= 0);
    assert_true(fabs(normal.requests - 120) < 1e-6);
    assert_true(nobody.drift < 0 && nobody.p90_ms <= 0);
    signals_free(from);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stated_calls),
        cmocka_unit_test(test_incidents_teach),
        cmocka_unit_test(test_normal_of_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
