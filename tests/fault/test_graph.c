/* The graph when memory runs out at any point: spans that cannot be kept are left out or counted, never a
 * crash; a snapshot and a prediction are whole or none. */
#include "otlp.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "world.h"

#include "fail_allocation.h"
#include "test.h"

#define SPANS 3U

typedef struct fixture {
    world production;
    arena kept, memory;
    trace_export *request;
    observation read[SPANS];
    snapshot *shot;
    impact_scratch scratch;
    impact_message *impact;
} fixture;

static fixture self;

static int set_up(void **state) {
    (void)state;
    static const otlp_attribute resource[] = {{"service.name", "shop"},
                                              {"service.namespace", "shop"},
                                              {"deployment.environment.name", "prod"},
                                              {NULL, NULL}};
    static const otlp_attribute calls[] = {{"peer.service", "cart"}, {NULL, NULL}};
    static const otlp_case spans[SPANS] = {{1, 1, 0, SPAN_SERVER, "ot=th:0", WORLD_WALL_MS - 1000, NULL},
                                           {1, 2, 1, SPAN_CLIENT, "ot=th:0", WORLD_WALL_MS - 1000, calls},
                                           {2, 3, 0, SPAN_SERVER, "ot=th:0", WORLD_WALL_MS - 1000, NULL}};
    arena_init(&self.kept, 65536, 1U << 20);
    self.request = otlp_make_export(&self.kept, resource, spans, SPANS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&self.kept);
    return 0;
}

static void begin(void *context) {
    (void)context;
    world_open(&self.production, 1);
    arena_init(&self.memory, 64, 1U << 20);
}

static void end(void *context) {
    (void)context;
    snapshot_release(self.shot);
    self.shot = NULL;
    self.impact = NULL;
    impact_scratch_free(&self.scratch);
    self.scratch = (impact_scratch){0};
    model_free(self.production.graph);
    self.production.graph = NULL;
    arena_free(&self.memory);
}

/* ---- The model itself ---- */

static void begin_clock(void *context) {
    (void)context;
    simulated_chance_init(&self.production.time, 1);
}

static status_code create(void *context, failure *why) {
    (void)context;
    return model_create(&self.production.graph, &self.production.time.chance, why);
}

static void check_created(void *context, bool done) {
    (void)context;
    if (done)
        assert_int_equal(model_node_count(self.production.graph), 0);
    else
        assert_null(self.production.graph);
}

static void a_model_is_made_or_not(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){
        .name = "model_create", .begin = begin_clock, .end = end, .run = create, .check = check_created});
}

/* ---- Spans ---- */

/* Without memory for a node its spans are refused, and said to be. */
static status_code ingest_spans(void *context, failure *why) {
    (void)context;
    spans_result result = spans_read(self.request, self.production.graph, WORLD_WALL_MS, self.read);
    for (size_t i = 0; i < result.accepted; i++)
        model_apply(self.production.graph, &self.read[i], WORLD_WALL_MS);
    return result.accepted == SPANS
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "SPANS_REFUSED", "%zu accepted", result.accepted);
}

/* Sent again, the spans are duplicates where they were kept: what must hold is that the graph can be read. */
static void check_ingested(void *context, bool done) {
    (void)context;
    failure why = {0};
    snapshot *shot = NULL;
    assert_int_equal(snapshot_create(&shot, self.production.graph, 1, WORLD_WALL_MS, &why), STATUS_OK);
    assert_true(shot->node_count <= 2 && shot->edge_count <= 1);
    if (done)
        assert_true(shot->node_count >= 1);
    snapshot_release(shot);
}

static void spans_are_kept_or_refused(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "spans_read and model_apply",
                                       .begin = begin,
                                       .end = end,
                                       .run = ingest_spans,
                                       .check = check_ingested,
                                       .may_do_without = true});
}

/* ---- Snapshots and predictions ---- */

static void begin_known(void *context) {
    failure why = {0};
    begin(context);
    assert_int_equal(ingest_spans(context, &why), STATUS_OK);
    world_settle(&self.production);
}

static status_code take_snapshot(void *context, failure *why) {
    (void)context;
    return snapshot_create(&self.shot, self.production.graph, 7, WORLD_WALL_MS, why);
}

static void check_snapshot(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self.shot);
        return;
    }
    assert_int_equal(self.shot->revision, 7);
    assert_int_not_equal(snapshot_find(self.shot, "service:prod/shop/shop"), MODEL_NONE);
}

static void begin_shot(void *context) {
    failure why = {0};
    begin_known(context);
    assert_int_equal(take_snapshot(context, &why), STATUS_OK);
}

static status_code predict(void *context, failure *why) {
    (void)context;
    uint32_t target = snapshot_find(self.shot, "service:prod/shop/shop");
    return impact_of(self.shot, &target, 1, &self.scratch, &self.memory, &self.impact, why);
}

static void check_impact(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self.impact);
        return;
    }
    assert_int_equal(self.impact->n_affected, 1);
    assert_non_null(self.impact->entry_traffic);
    assert_true(self.impact->entry_traffic->high > 0.9);
}

static void a_snapshot_is_whole_or_none(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "snapshot_create",
                                       .begin = begin_known,
                                       .end = end,
                                       .run = take_snapshot,
                                       .check = check_snapshot});
}

static void a_prediction_is_whole_or_none(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "impact_of",
                                       .begin = begin_shot,
                                       .end = end,
                                       .run = predict,
                                       .check = check_impact,
                                       .memory = &self.memory});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_made_or_not),
        cmocka_unit_test(spans_are_kept_or_refused),
        cmocka_unit_test(a_snapshot_is_whole_or_none),
        cmocka_unit_test(a_prediction_is_whole_or_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
