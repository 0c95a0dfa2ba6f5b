/* OTLP spans -> observations: identity, peers, weights, and what is refused with which words. */
#include "otlp.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static world production;
static arena memory;

static int open_world(void **state) {
    (void)state;
    world_open(&production, 3);
    arena_init(&memory, 4096, 16 << 20);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    model_free(production.graph);
    arena_free(&memory);
    return 0;
}

static void test_weight(void **state) {
    (void)state;
    static const struct {
        const char *tracestate;
        double weight;
    } cases[] = {
        {"ot=th:0", 1},
        {"ot=th:8", 2},
        {"ot=th:c", 4},
        {"ot=th:e", 8},
        {"ot=th:80000000000000", 2},
        {"ot=th:fd70a3d70a3d71", 100},
        {"ot=rv:d29d6a7215ced0;th:8", 2},
        {"vendor=x,ot=th:8", 2},
        {"vendor=x , ot=rv:1;th:c", 4},
        {"", 0},
        {"ot=", 0},
        {"ot=th:", 0},
        {"ot=th", 0},
        {"ot=th:8g", 0},
        {"ot=th:C", 0},
        {"ot=th:-8", 0},
        {"ot=th:800000000000000", 0}, /* 60 bits */
        {"ot=th:ffffffffffffff", 0},  /* one in 2^56 */
        {"ot=th:fffff", 1048576},     /* one in 2^20 */
        {"ot=th:fffff8", 0},
        {"xot=th:8", 0},
        {"ot=xth:8", 0},
        {"th:8", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double weight = spans_weight(cases[i].tracestate);
        if (weight < cases[i].weight * 0.999999 || weight > cases[i].weight * 1.000001)
            fail_msg("'%s' weighs %g instead of %g", cases[i].tracestate, weight, cases[i].weight);
    }
    assert_true(spans_weight(NULL) == 0);
}

static const char *name_read(const otlp_attribute *resource) {
    const otlp_case span = {.trace = 1, .span = 2, .kind = 2, .tracestate = "", .end_ms = WORLD_WALL_MS};
    observation out[1];
    spans_result result =
        spans_read(otlp_make_export(&memory, resource, &span, 1), production.graph, WORLD_WALL_MS, out);
    assert_int_equal(result.accepted, 1);
    return model_node_at(production.graph, out[0].node)->name;
}

static void test_identity(void **state) {
    (void)state;
    static const struct {
        otlp_attribute attributes[5];
        const char *name;
    } cases[] = {
        {{{"service.name", "cart"}, {"service.namespace", "shop"}, {"deployment.environment.name", "prod"}},
         "service:prod/shop/cart"},
        {{{"deployment.environment", "old"},
          {"deployment.environment.name", "new"},
          {"service.name", "cart"}},
         "service:new/default/cart"},
        {{{"deployment.environment", "old"}, {"service.name", "cart"}}, "service:old/default/cart"},
        {{{"service.name", "My Cart/2"}}, "service:default/default/My%20Cart%2F2"},
        {{{"service.name", ""}}, "service:default/default/unknown_service"},
        {{{"host.name", "x"}}, "service:default/default/unknown_service"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(name_read(cases[i].attributes), cases[i].name);
    assert_string_equal(name_read(NULL), "service:default/default/unknown_service");
}

static void test_peer(void **state) {
    (void)state;
    static const otlp_attribute resource[] = {{"service.name", "cart"}, {NULL, NULL}};
    static const struct {
        int kind;
        otlp_attribute attributes[5];
        const char *peer; /* NULL: none */
    } cases[] = {
        {3,
         {{"db.system", "redis"}, {"server.address", "redis-cart"}},
         "datastore:default/default/redis-cart"},
        {3, {{"db.system.name", "postgresql"}}, "datastore:default/default/postgresql"},
        {3, {{"server.address", "10.0.0.1"}, {"peer.service", "tax"}}, "service:default/default/tax"},
        {3, {{"net.peer.name", "legacy"}}, "service:default/default/legacy"},
        {3, {{"http.method", "GET"}}, NULL},
        {2, {{"server.address", "myself"}}, NULL},
        {1, {{"db.system", "redis"}}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const otlp_case span = {1, 2, 3, cases[i].kind, "ot=th:8", WORLD_WALL_MS, cases[i].attributes};
        observation out[1];
        spans_read(otlp_make_export(&memory, resource, &span, 1), production.graph, WORLD_WALL_MS, out);
        if (cases[i].peer == NULL)
            assert_int_equal(out[0].peer, MODEL_NONE);
        else
            assert_string_equal(model_node_at(production.graph, out[0].peer)->name, cases[i].peer);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const otlp_attribute resource[] = {{"service.name", "cart"}, {NULL, NULL}};
    const otlp_case spans[] = {
        {1, 2, 0, 2, "ot=th:8", WORLD_WALL_MS, NULL},
        {0, 2, 0, 2, "", WORLD_WALL_MS, NULL},
        {1, 0, 0, 2, "", WORLD_WALL_MS, NULL},
        {1, 3, 0, 2, "", 0, NULL},
        {1, 4, 0, 2, "", WORLD_WALL_MS + LIMIT_CLOCK_SKEW_MS + 1, NULL},
        {1, 5, 0, 2, "", WORLD_WALL_MS + LIMIT_CLOCK_SKEW_MS, NULL},
        {1, 6, 0, 99, "", 1000, NULL},
    };
    size_t count = sizeof spans / sizeof spans[0];
    observation out[7];
    trace_export *request = otlp_make_export(&memory, resource, spans, count);
    Opentelemetry__Proto__Trace__V1__Span **all = request->resource_spans[0]->scope_spans[0]->spans;
    all[6]->parent_span_id = otlp_id(&memory, 7, 16);
    assert_int_equal(spans_count(request), count);
    spans_result result = spans_read(request, production.graph, WORLD_WALL_MS, out);
    assert_int_equal(result.accepted, 2);
    assert_int_equal(result.refused[SPANS_BAD_ID], 3);
    assert_int_equal(result.refused[SPANS_NO_TIME], 1);
    assert_int_equal(result.refused[SPANS_FUTURE], 1);
    char text[512];
    assert_int_equal(spans_refused(&result, text, sizeof text), 5);
    assert_non_null(strstr(text, "3 spans: a trace id"));
    assert_non_null(strstr(text, "1 spans: ends in the future"));
    assert_true(out[0].weight == 2 && out[0].span_kind == SPAN_SERVER && out[0].parent_id == 0);
}

static void test_name_too_long(void **state) {
    (void)state;
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const otlp_attribute resource[] = {{"service.name", name}, {NULL, NULL}};
    const otlp_case span = {1, 2, 0, 2, "", WORLD_WALL_MS, NULL};
    observation out[1];
    spans_result result =
        spans_read(otlp_make_export(&memory, resource, &span, 1), production.graph, WORLD_WALL_MS, out);
    assert_int_equal(result.accepted, 0);
    assert_int_equal(result.refused[SPANS_BAD_NAME], 1);
    assert_int_equal(model_node_count(production.graph), 0);
}

/* Whoever invents services fills the graph to its bound and no further; the known ones go on. */
static void test_cardinality(void **state) {
    (void)state;
    observation out[1];
    char name[32];
    uint64_t refused = 0;
    const otlp_case span = {1, 2, 0, 2, "", WORLD_WALL_MS, NULL};
    for (unsigned i = 0; i < MODEL_NODES_MAX + 1000; i++) {
        snprintf(name, sizeof name, "s%u", i);
        const otlp_attribute resource[] = {{"service.name", name}, {NULL, NULL}};
        arena_reset(&memory);
        trace_export *request = otlp_make_export(&memory, resource, &span, 1);
        refused += spans_read(request, production.graph, WORLD_WALL_MS, out).refused[SPANS_TOO_MANY];
    }
    assert_int_equal(refused, 1000);
    assert_int_equal(model_node_count(production.graph), MODEL_NODES_MAX);
    assert_int_equal(model_totals_of(production.graph)->nodes_refused, 1000);
    const otlp_attribute known[] = {{"service.name", "s5"}, {NULL, NULL}};
    spans_result result =
        spans_read(otlp_make_export(&memory, known, &span, 1), production.graph, WORLD_WALL_MS, out);
    assert_int_equal(result.accepted, 1);
}

/* Peers are only mentioned: they have a smaller bound of their own, and the span counts all the same. */
static void test_cardinality_of_peers(void **state) {
    (void)state;
    static const otlp_attribute resource[] = {{"service.name", "cart"}, {NULL, NULL}};
    observation out[1];
    char name[32];
    for (unsigned i = 0; i < MODEL_INFERRED_MAX + 100; i++) {
        snprintf(name, sizeof name, "p%u", i);
        const otlp_attribute attributes[] = {{"peer.service", name}, {NULL, NULL}};
        const otlp_case span = {1, 2, 0, 3, "", WORLD_WALL_MS, attributes};
        arena_reset(&memory);
        spans_result result =
            spans_read(otlp_make_export(&memory, resource, &span, 1), production.graph, WORLD_WALL_MS, out);
        assert_int_equal(result.accepted, 1);
    }
    assert_int_equal(out[0].peer, MODEL_NONE);
    assert_true(model_node_count(production.graph) <= MODEL_INFERRED_MAX + 1);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weight),
        WITH_WORLD(test_identity),
        WITH_WORLD(test_peer),
        WITH_WORLD(test_refused),
        WITH_WORLD(test_name_too_long),
        WITH_WORLD(test_cardinality),
        WITH_WORLD(test_cardinality_of_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
