/* What runs where, as the history is told: pods on machines, pods that go and come back, endpoints. */
#include "world.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "graph_store.h"
#include "placements.h"

#define MINUTE_MS 60000

typedef struct fixture {
    world world;
    graph_store *store;
    history *past;
    placements *placed;
} fixture;

static void fixture_open(fixture *self) {
    static const history_limits limits = {0};
    failure why;
    world_open(&self->world, 1);
    self->world.time.wall_ns = WORLD_WALL_MS * 1000000;
    assert_int_equal(graph_store_open(&self->store, ":memory:", &why), STATUS_OK);
    assert_int_equal(history_open(&self->past, graph_store_connection(self->store), ":memory:", &limits,
                                  &self->world.time.chance, &why),
                     STATUS_OK);
    assert_int_equal(placements_create(&self->placed, &why), STATUS_OK);
}

static void fixture_close(fixture *self) {
    placements_free(self->placed);
    history_close(self->past);
    graph_store_close(self->store);
    model_free(self->world.graph);
}

static void see(fixture *self, const char *pod, const char *machine, int64_t time_ms) {
    resource_identity from = {.environment = bytes_of_text("prod"),
                              .space = bytes_of_text("shop"),
                              .service = bytes_of_text("cart"),
                              .pod = bytes_of_text(pod),
                              .host = bytes_of_text(machine),
                              .name = "service:prod/shop/cart"};
    failure why;
    placements_see(self->placed, &from, time_ms);
    assert_int_equal(placements_state(self->placed, self->world.graph, self->past, WORLD_WALL_MS, &why),
                     STATUS_OK);
}

static bool count_one(void *context, const fact *what, int64_t recorded_ms) {
    (void)recorded_ms;
    *(size_t *)context += what->valid_to_ms == HISTORY_OPEN;
    return true;
}

/* Whether the edge is stated as lasting. */
static bool runs(fixture *self, const char *from, const char *to) {
    fact what = {.is_edge = true, .kind = EDGE_RUNS_ON, .name = from, .to = to, .origin = "otlp"};
    size_t count = 0;
    failure why;
    status_code status = history_current(self->past, &what, count_one, &count, &why);
    return status == STATUS_OK && count == 1;
}

static void test_pods_come_and_go(void **state) {
    (void)state;
    fixture self;
    int64_t start_ms = WORLD_WALL_MS - 120 * MINUTE_MS;
    fixture_open(&self);
    see(&self, "cart-1", "node-1", start_ms);
    see(&self, "cart-2", "node-2", start_ms);
    assert_true(runs(&self, "service:prod/shop/cart", "host:prod/shop/cart-1"));
    assert_true(runs(&self, "host:prod/shop/cart-1", "host:prod/default/node-1"));
    /* One of them falls silent. */
    for (int64_t i = 1; i <= 20; i++)
        see(&self, "cart-2", "node-2", start_ms + i * MINUTE_MS);
    assert_false(runs(&self, "service:prod/shop/cart", "host:prod/shop/cart-1"));
    assert_false(runs(&self, "host:prod/shop/cart-1", "host:prod/default/node-1"));
    assert_true(runs(&self, "service:prod/shop/cart", "host:prod/shop/cart-2"));
    /* It comes back on another machine. */
    see(&self, "cart-1", "node-3", start_ms + 30 * MINUTE_MS);
    assert_true(runs(&self, "service:prod/shop/cart", "host:prod/shop/cart-1"));
    assert_true(runs(&self, "host:prod/shop/cart-1", "host:prod/default/node-3"));
    assert_false(runs(&self, "host:prod/shop/cart-1", "host:prod/default/node-1"));
    /* A pod that moves. */
    see(&self, "cart-2", "node-1", start_ms + 31 * MINUTE_MS);
    assert_true(runs(&self, "host:prod/shop/cart-2", "host:prod/default/node-1"));
    assert_false(runs(&self, "host:prod/shop/cart-2", "host:prod/default/node-2"));
    fixture_close(&self);
}

static void test_endpoints_are_named_after_their_service(void **state) {
    (void)state;
    char name[LIMIT_NAME_BYTES];
    name_parts parts;
    failure why;
    assert_true(resource_endpoint("service:prod/shop/cart", "GET /cart/{id}", name));
    assert_string_equal(name, "endpoint:prod/shop/cart%2FGET%20%2Fcart%2F%7Bid%7D");
    assert_int_equal(name_parse(name, &parts, &why), STATUS_OK);
    char operation[64];
    static const struct {
        const char *name, *operation;
    } cases[] = {
        {"GET /cart/17", "GET /cart/{id}"},
        {"GET /cart/ab715a1d-1522-4654-b226-db3e7b0780f8/items", "GET /cart/{id}/items"},
        {"GET /v2/cafe", "GET /v2/cafe"},
        {"SELECT", "SELECT"},
        {"/", "/"},
        {"/17", "/{id}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes made = operation_of(bytes_of_text(cases[i].name), operation, sizeof operation);
        assert_int_equal(made.size, strlen(cases[i].operation));
        assert_memory_equal(made.data, cases[i].operation, made.size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pods_come_and_go),
        cmocka_unit_test(test_endpoints_are_named_after_their_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
