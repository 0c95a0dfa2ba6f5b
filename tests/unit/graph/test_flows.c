/* What passes over edges and through operations, from spans: the same in every order, and what queues,
 * retries and fallbacks make of it. */
#include "world.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRACES 6U
#define SPANS_MOST 64U

typedef struct given {
    const char *id, *parent, *service;
    span_kind kind;
    unsigned milliseconds;
    bool failed;
    const char *queue; /* NULL: none */
    edge_kind queue_edge;
} given;

static observation observed(world *self, uint64_t trace, const given *one) {
    observation what =
        world_span(self, trace, world_id(one->id), world_id(one->parent), one->service, one->kind, 1);
    what.time_ms = WORLD_WALL_MS - 3600000 + (int64_t)trace * 1000;
    what.start_ns = (what.time_ms - one->milliseconds) * 1000000;
    what.duration_ns = one->milliseconds * 1000000U;
    what.failed = one->failed;
    what.operation = operations_named(model_operations(self->graph), what.node,
                                      bytes_of_text(one->kind == SPAN_SERVER ? "serve" : "do"));
    if (one->queue != NULL) {
        what.peer = model_node_named(self->graph, world_name("queue", one->queue), NODE_QUEUE, true);
        what.peer_edge = (uint8_t)one->queue_edge;
    }
    return what;
}

static uint32_t node_of(const world *self, const char *name) {
    uint32_t found = model_node_find(self->graph, world_full(name));
    assert_int_not_equal(found, MODEL_NONE);
    return found;
}

static uint32_t edge_of(const world *self, const char *from, const char *to, edge_kind *kind) {
    for (uint32_t i = 0; i < model_edge_count(self->graph); i++) {
        const model_edge *edge = model_edge_at(self->graph, i);
        if (edge->from == node_of(self, from) && edge->to == node_of(self, to)) {
            *kind = edge->kind;
            return i;
        }
    }
    return MODEL_NONE;
}

/* The gateway's request: one call that takes most of its time and one retried, which then succeeds. */
static const given shop[] = {
    {"a", "", "gateway", SPAN_SERVER, 100, false, NULL, 0},
    {"b", "a", "gateway", SPAN_INTERNAL, 90, false, NULL, 0},
    {"c", "b", "gateway", SPAN_CLIENT, 60, false, NULL, 0},
    {"d", "c", "cart", SPAN_SERVER, 50, false, NULL, 0},
    {"e", "b", "gateway", SPAN_CLIENT, 10, true, NULL, 0},
    {"f", "e", "rates", SPAN_SERVER, 8, true, NULL, 0},
    {"g", "b", "gateway", SPAN_CLIENT, 10, false, NULL, 0},
    {"h", "g", "rates", SPAN_SERVER, 8, false, NULL, 0},
    {"i", "d", "cart", SPAN_CLIENT, 5, true, NULL, 0},
    {"j", "i", "stock", SPAN_SERVER, 5, true, NULL, 0},
};
#define SHOP_SPANS (sizeof shop / sizeof *shop)

static void shop_demand(const world *self) {
    const flows *all = model_flows(self->graph);
    edge_kind kind;
    flow_counts cart = flows_edge_totals(all, edge_of(self, "gateway", "cart", &kind));
    assert_true(cart.calls == TRACES && cart.failures == 0 && fabs(cart.seconds - 0.06 * TRACES) < 1e-9);
    assert_true(cart.gaps == TRACES && fabs(cart.gap_seconds - 0.01 * TRACES) < 1e-9 &&
                cart.asynchronous == 0);
    assert_true(cart.requests == TRACES && cart.failed == 0 && cart.retried == 0);
    flow_counts rates = flows_edge_totals(all, edge_of(self, "gateway", "rates", &kind));
    assert_true(rates.calls == 2 * TRACES && rates.failures == TRACES && rates.requests == TRACES);
    assert_true(rates.retried == TRACES && rates.failed == 0);
    /* The cart did without the stock. */
    flow_counts stock = flows_edge_totals(all, edge_of(self, "cart", "stock", &kind));
    assert_true(stock.failed == TRACES && stock.fell_back == TRACES && stock.propagated == 0);
    flow_counts gateway = flows_node_totals(all, node_of(self, "gateway"));
    assert_true(gateway.calls == TRACES && fabs(gateway.seconds - 0.1 * TRACES) < 1e-9);
    flow_route route;
    assert_int_equal(flows_routes_of_edge(all, edge_of(self, "gateway", "cart", &kind), &route, 1), 1);
    assert_true(route.requests == TRACES && fabs(route.seconds - 0.06 * TRACES) < 1e-9);
    assert_string_equal(operations_at(model_operations(self->graph), route.operation).text, "serve");
    flow_point points[4];
    size_t count = flows_of_edge(all, edge_of(self, "gateway", "cart", &kind), 0, INT64_MAX, points, 4);
    double calls = 0;
    for (size_t i = 0; i < count; i++)
        calls += points[i].counts.calls;
    assert_true(calls == TRACES);
    assert_true(fabs(sketch_quantile(points[0].latency, 0.5) - 60e6) <= SKETCH_ERROR * 60e6);
}

static void test_every_order_counts_the_same(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        world self;
        uint64_t order[TRACES * SHOP_SPANS];
        world_open(&self, seed);
        for (size_t i = 0; i < TRACES * SHOP_SPANS; i++)
            order[i] = i;
        for (size_t i = TRACES * SHOP_SPANS; i-- > 1;) {
            uint64_t value;
            chance_random(&self.time.chance, (uint8_t *)&value, sizeof value);
            uint64_t kept = order[i];
            order[i] = order[value % (i + 1)];
            order[value % (i + 1)] = kept;
        }
        for (size_t i = 0; i < TRACES * SHOP_SPANS; i++) {
            observation one = observed(&self, 1 + order[i] / SHOP_SPANS, &shop[order[i] % SHOP_SPANS]);
            world_apply(&self, one);
            if (i % 7 == 0)
                world_apply(&self, one); /* delivered twice */
        }
        shop_demand(&self);
        model_free(self.graph);
    }
}

static void test_queue_stands_between(void **state) {
    (void)state;
    static const given spans[] = {
        {"a", "", "orders", SPAN_SERVER, 20, false, NULL, 0},
        {"b", "a", "orders", SPAN_PRODUCER, 2, false, "placed", EDGE_PUBLISHES},
        {"c", "b", "mailer", SPAN_CONSUMER, 300, true, "placed", EDGE_CONSUMES},
    };
    world self;
    world_open(&self, 1);
    for (size_t i = sizeof spans / sizeof *spans; i-- > 0;)
        world_apply(&self, observed(&self, 1, &spans[i]));
    edge_kind kind;
    uint32_t published = edge_of(&self, "orders", "queue:placed", &kind);
    assert_int_equal(kind, EDGE_PUBLISHES);
    assert_true(flows_edge_totals(model_flows(self.graph), published).asynchronous == 1);
    assert_int_not_equal(edge_of(&self, "mailer", "queue:placed", &kind), MODEL_NONE);
    assert_int_equal(kind, EDGE_CONSUMES);
    assert_int_equal(edge_of(&self, "orders", "mailer", &kind), MODEL_NONE);
    model_free(self.graph);
}

/* A callee that goes on after its caller has left; the clocks of both may be hours apart. */
static void test_outlived_call_is_asynchronous(void **state) {
    (void)state;
    static const given spans[] = {
        {"a", "", "front", SPAN_SERVER, 20, false, NULL, 0},
        {"b", "a", "front", SPAN_CLIENT, 2, false, NULL, 0},
        {"c", "b", "batch", SPAN_SERVER, 900, false, NULL, 0},
    };
    world self;
    world_open(&self, 1);
    for (size_t i = 0; i < 3; i++) {
        observation one = observed(&self, 1, &spans[i]);
        if (i == 2) {
            one.time_ms -= 7200000;
            one.start_ns -= 7200000LL * 1000000;
        }
        world_apply(&self, one);
    }
    edge_kind kind;
    flow_counts call = flows_edge_totals(model_flows(self.graph), edge_of(&self, "front", "batch", &kind));
    assert_true(call.calls == 1 && call.asynchronous == 1 && call.gap_seconds == 0);
    model_free(self.graph);
}

/* Ten thousand distinct operations: a bounded number, all others in one. */
static void test_operations_are_bounded(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    operations *all = model_operations(self.graph);
    uint32_t node = world_node(&self, "shop", false);
    uint32_t last = OPERATION_NONE;
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        snprintf(name, sizeof name, "op-%u", i);
        last = operations_named(all, node, bytes_of_text(name));
    }
    assert_string_equal(operations_at(all, last).text, OPERATIONS_OTHER);
    assert_int_equal(operations_count(all), 1 + OPERATIONS_NODE_MAX + 1);
    assert_int_equal(operations_totals_of(all)->folded, 10000 - OPERATIONS_NODE_MAX);
    model_free(self.graph);
}

/* One trace of 100,000 spans, each below the one before, round and round between three services, children
 * first: a cycle, a self-call, and a depth that no recursion would survive. */
static void test_huge_trace_goes_round(void **state) {
    (void)state;
    enum { SPANS = 100000 };
    static const char *const services[] = {"one", "one", "two", "two", "three", "three"};
    world self;
    world_open(&self, 1);
    for (uint64_t i = SPANS; i > 0; i--) {
        bool server = i % 2 == 1;
        observation one = world_span(&self, 1, i, i - 1, services[(i - 1) / 2 % 3 * 2],
                                     server ? SPAN_SERVER : SPAN_CLIENT, 1);
        one.start_ns = one.time_ms * 1000000;
        one.duration_ns = 1000000;
        world_apply(&self, one);
    }
    observation again = world_span(&self, 1, SPANS + 1, SPANS, "three", SPAN_SERVER, 1);
    world_apply(&self, again);
    edge_kind kind;
    flow_counts calls = flows_edge_totals(model_flows(self.graph), edge_of(&self, "one", "two", &kind));
    assert_true(calls.calls > SPANS / 6 - 2 && calls.calls < SPANS / 6 + 2);
    double requests = 0;
    for (uint32_t i = 0; i < model_node_count(self.graph); i++)
        requests += model_node_at(self.graph, i)->requests;
    assert_true(requests == SPANS / 2 || requests == SPANS / 2 + 1);
    model_free(self.graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_order_counts_the_same),   cmocka_unit_test(test_queue_stands_between),
        cmocka_unit_test(test_outlived_call_is_asynchronous), cmocka_unit_test(test_operations_are_bounded),
        cmocka_unit_test(test_huge_trace_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
