/* The engine on evidence that is written down here: a front that calls a shop, which calls a store and a mail
 * service; faults with a known cause, and every kind of bad input. */
#include <stdlib.h>
#include <string.h>

#include "chain_match.h"
#include "root_cause.h"
#include "root_cause_map.h"
#include "test.h"

enum { FRONT, SHOP, STOCK, MAIL, BASE, SERVICES };
static const char *const names[SERVICES] = {"service:t/t/front", "service:t/t/shop", "service:t/t/stock",
                                            "service:t/t/mail", "datastore:t/t/base"};
enum { OP_FRONT, OP_SHOP, OP_LOOK, OP_STOCK, OP_MAIL, OP_BASE, OP_STRAY, OPERATIONS };
static const evidence_operation operations_of[OPERATIONS] = {
    {FRONT, "GET /buy"}, {SHOP, "buy"},    {SHOP, "look"},      {STOCK, "count"},
    {MAIL, "send"},      {BASE, "select"}, {STOCK, "fall back"}};

#define FROM_MS 1700000000000
#define TO_MS (FROM_MS + 240000)
#define NONE EVIDENCE_NONE

/* What a request looks like; times in milliseconds. */
typedef struct shape_of {
    uint32_t front, shop, stock, mail, base; /* self times */
    uint32_t gap;                            /* between shop and stock */
    bool without_stock, without_mail, without_base;
    bool shop_is_silent;                 /* its spans are not sent */
    int64_t skew_ms;                     /* of the clock of stock */
    uint32_t pattern, error, pattern_at; /* a record; NONE */
} shape_of;
static const shape_of usual = {5, 10, 8, 6, 4, 1, false, false, false, false, 0, NONE, NONE, 0};

typedef struct world {
    list traces, spans, records, series, points, edges, changes, errors, patterns;
    evidence it;
} world;

static void world_init(world *self) {
    *self = (world){0};
    list_init(&self->traces, sizeof(evidence_trace));
    list_init(&self->spans, sizeof(evidence_span));
    list_init(&self->records, sizeof(evidence_record));
    list_init(&self->series, sizeof(evidence_series));
    list_init(&self->points, sizeof(evidence_point));
    list_init(&self->edges, sizeof(evidence_edge));
    list_init(&self->changes, sizeof(evidence_change));
    list_init(&self->errors, sizeof(evidence_error));
    list_init(&self->patterns, sizeof(const char *));
}

static void world_free(world *self) {
    list *all[] = {&self->traces, &self->spans,   &self->records, &self->series,  &self->points,
                   &self->edges,  &self->changes, &self->errors,  &self->patterns};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        list_free(all[i]);
}

static uint32_t span_add(world *self, uint32_t operation, int32_t parent, int64_t start_ms, uint32_t whole_ms,
                         uint32_t self_ms) {
    const evidence_trace *trace = list_at(&self->traces, self->traces.count - 1);
    evidence_span *made = list_add(&self->spans);
    *made = (evidence_span){.operation = operation,
                            .parent = parent,
                            .start_us = (uint32_t)(start_ms < 0 ? 0 : start_ms * 1000),
                            .duration_us = whole_ms * 1000,
                            .self_us = self_ms * 1000};
    return self->spans.count - 1 - trace->first_span;
}

static void record_add(world *self, const shape_of *shape) {
    if (shape->pattern == NONE)
        return;
    evidence_record *made = list_add(&self->records);
    *made = (evidence_record){.span = shape->pattern_at, .pattern = shape->pattern, .error = shape->error};
}

static void request_add(world *self, int64_t at_ms, const shape_of *s) {
    evidence_trace *trace = list_add(&self->traces);
    *trace = (evidence_trace){
        .start_us = at_ms * 1000, .first_span = self->spans.count, .first_record = self->records.count};
    uint32_t base = s->without_base ? 0 : s->base;
    uint32_t stock = s->without_stock ? 0 : s->stock + base;
    uint32_t mail = s->without_mail ? 0 : s->mail;
    uint32_t shop = s->shop + mail + (s->without_stock ? 0 : stock + s->gap);
    int32_t front_at = (int32_t)span_add(self, OP_FRONT, EVIDENCE_ROOT, 0, s->front + shop, s->front);
    int32_t look_at = EVIDENCE_ORPHAN;
    int32_t shop_at = EVIDENCE_ORPHAN;
    if (!s->shop_is_silent) {
        shop_at = (int32_t)span_add(self, OP_SHOP, front_at, 1, shop, s->shop);
        look_at = (int32_t)span_add(self, OP_LOOK, shop_at, 2, stock + s->gap, s->gap);
    }
    if (!s->without_stock) {
        int32_t stock_at = (int32_t)span_add(self, OP_STOCK, look_at, 2 + s->skew_ms, stock, s->stock);
        if (!s->without_base)
            span_add(self, OP_BASE, stock_at, 3 + s->skew_ms, base, base);
    }
    if (!s->without_mail)
        span_add(self, OP_MAIL, shop_at, 20, mail, mail);
    record_add(self, s);
    trace = list_at(&self->traces, self->traces.count - 1);
    trace->span_count = self->spans.count - trace->first_span;
    trace->record_count = self->records.count - trace->first_record;
}

/* A little noise, so that deviations are not 0. */
static shape_of noisy(const shape_of *shape, uint32_t number) {
    shape_of made = *shape;
    made.front += number % 3;
    made.shop += number % 4;
    made.stock += number % 3;
    made.mail += (number / 2) % 3;
    return made;
}

static void requests_add(world *self, int64_t from_ms, int64_t to_ms, uint32_t count, const shape_of *shape) {
    for (uint32_t i = 0; i < count; i++) {
        shape_of one = noisy(shape, i);
        request_add(self, from_ms + (to_ms - from_ms) * i / count, &one);
    }
}

static void edges_add(world *self) {
    const evidence_edge all[] = {{FRONT, SHOP}, {SHOP, STOCK}, {SHOP, MAIL}, {STOCK, BASE}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *(evidence_edge *)list_add(&self->edges) = all[i];
}

static const evidence *world_finish(world *self) {
    static const char *const no_patterns[1] = {"a pattern"};
    const evidence_point *points = self->points.items;
    for (uint32_t i = 0; i < self->series.count; i++) {
        evidence_series *series = list_at(&self->series, i);
        series->points = points;
        points += series->count;
    }
    self->it = (evidence){.services = names,
                          .service_count = SERVICES,
                          .operations = operations_of,
                          .operation_count = OPERATIONS,
                          .patterns = self->patterns.count > 0 ? self->patterns.items : (void *)no_patterns,
                          .pattern_count = self->patterns.count > 0 ? self->patterns.count : 1,
                          .errors = self->errors.items,
                          .error_count = self->errors.count,
                          .traces = self->traces.items,
                          .trace_count = self->traces.count,
                          .spans = self->spans.items,
                          .records = self->records.items,
                          .series = self->series.items,
                          .series_count = self->series.count,
                          .edges = self->edges.items,
                          .edge_count = self->edges.count,
                          .changes = self->changes.items,
                          .change_count = self->changes.count};
    return &self->it;
}

typedef struct asked {
    arena memory;
    root_cause_answer answer;
} asked;

static void ask(const evidence *from, asked *out) {
    failure why = {0};
    root_cause_question question = {.symptom = EVIDENCE_NONE, .from_ms = FROM_MS, .to_ms = TO_MS};
    arena_init(&out->memory, 65536, 1U << 24);
    assert_int_equal(root_cause_find(from, &question, &root_cause_defaults, &out->memory, &out->answer, &why),
                     STATUS_OK);
}

static const root_cause_hypothesis *first_of(const asked *self) {
    assert_false(self->answer.abstained);
    assert_true(self->answer.count > 0);
    return &self->answer.hypotheses[0];
}

/* Normal requests, then requests of another shape in the window. */
static void world_with(world *self, const shape_of *shape) {
    world_init(self);
    edges_add(self);
    requests_add(self, FROM_MS - 3600000, FROM_MS - 120000, 200, &usual);
    requests_add(self, FROM_MS + 20000, TO_MS, 100, shape);
}

/* ---- Faults
 * ------------------------------------------------------------------------------------------------------- */

typedef struct fault_case {
    const char *what;
    shape_of shape;
    uint32_t cause;
    cause_kind kind;
    uint32_t chain[4];
    size_t chain_count;
} fault_case;

static void faults_are_found(void **state) {
    static const fault_case cases[] = {
        {"the shop returns at once",
         {5, 1, 0, 0, 0, 0, true, true, true, false, 0, NONE, NONE, 0},
         SHOP,
         CAUSE_CODE,
         {SHOP, FRONT},
         2},
        {"the mail service is slow",
         {5, 10, 8, 250, 4, 1, false, false, false, false, 0, NONE, NONE, 0},
         MAIL,
         CAUSE_RESOURCE,
         {MAIL, SHOP, FRONT},
         3},
        {"packets to stock are lost",
         {5, 10, 8, 6, 4, 400, false, false, false, false, 0, NONE, NONE, 0},
         STOCK,
         CAUSE_NETWORK,
         {STOCK, SHOP, FRONT},
         3},
        {"the database, which sends no spans, is slow",
         {5, 10, 8, 6, 300, 1, false, false, false, false, 0, NONE, NONE, 0},
         BASE,
         CAUSE_DEPENDENCY,
         {BASE, STOCK, SHOP, FRONT},
         4},
        {"stock leaves the database out",
         {5, 10, 8, 6, 4, 1, false, false, true, false, 0, NONE, NONE, 0},
         STOCK,
         CAUSE_CODE,
         {STOCK, SHOP, FRONT},
         3},
        {"clocks differ by five seconds",
         {5, 10, 8, 250, 4, 1, false, false, false, false, 5000, NONE, NONE, 0},
         MAIL,
         CAUSE_RESOURCE,
         {MAIL, SHOP, FRONT},
         3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world it;
        asked got;
        world_with(&it, &cases[i].shape);
        ask(world_finish(&it), &got);
        const root_cause_hypothesis *first = first_of(&got);
        if (first->service != cases[i].cause || first->kind != cases[i].kind) {
            print_error("%s: %s (%s)\n", cases[i].what, names[first->service], cause_kind_word(first->kind));
            _fail(__FILE__, __LINE__);
        }
        assert_int_equal(first->hop_count, cases[i].chain_count);
        for (size_t k = 0; k < first->hop_count; k++)
            assert_int_equal(first->hops[k].service, cases[i].chain[k]);
        assert_true(first->hops[0].clue_count > 0);
        assert_true(first->probability > 0.5 && first->probability <= 1);
        arena_free(&got.memory);
        world_free(&it);
    }
}

/* The front itself does something that it never did. */
static void fault_in_the_entry_service(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    edges_add(&it);
    requests_add(&it, FROM_MS - 3600000, FROM_MS - 120000, 200, &usual);
    for (uint32_t i = 0; i < 60; i++) {
        evidence_trace *trace = list_add(&it.traces);
        *trace = (evidence_trace){.start_us = (FROM_MS + 30000 + 3000 * (int64_t)i) * 1000,
                                  .first_span = it.spans.count,
                                  .span_count = 1};
        span_add(&it, OP_FRONT, EVIDENCE_ROOT, 0, 4, 4);
    }
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, FRONT);
    assert_int_equal(first_of(&got)->hop_count, 1);
    arena_free(&got.memory);
    world_free(&it);
}

static void two_faults_are_both_named(void **state) {
    (void)state;
    static const shape_of both = {5, 10, 8, 300, 300, 1, false, false, false, false, 0, NONE, NONE, 0};
    world it;
    asked got;
    world_with(&it, &both);
    ask(world_finish(&it), &got);
    assert_true(got.answer.count >= 2);
    uint32_t one = got.answer.hypotheses[0].service;
    uint32_t other = got.answer.hypotheses[1].service;
    assert_true((one == MAIL && other == BASE) || (one == BASE && other == MAIL));
    /* Each says that it does not explain the other. */
    assert_true(got.answer.hypotheses[0].against_count > 0);
    arena_free(&got.memory);
    world_free(&it);
}

/* ---- Bad input
 * ------------------------------------------------------------------------------------------------------------
 */

static bool missing_has(const asked *self, const char *what) {
    for (size_t i = 0; i < self->answer.missing_count; i++) {
        if (strstr(self->answer.missing[i], what) != NULL)
            return true;
    }
    return false;
}

static void too_little_is_said_to_be(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    requests_add(&it, FROM_MS + 20000, TO_MS, 100, &usual);
    ask(world_finish(&it), &got);
    assert_true(got.answer.abstained);
    assert_int_equal(got.answer.count, 0);
    assert_true(missing_has(&got, "normal period"));
    arena_free(&got.memory);
    world_free(&it);

    world_init(&it);
    requests_add(&it, FROM_MS - 3600000, FROM_MS - 120000, 100, &usual);
    ask(world_finish(&it), &got);
    assert_true(got.answer.abstained);
    assert_true(missing_has(&got, "traces within the window"));
    arena_free(&got.memory);
    world_free(&it);

    world_init(&it);
    ask(world_finish(&it), &got);
    assert_true(got.answer.abstained);
    assert_true(got.answer.missing_count >= 3);
    arena_free(&got.memory);
    world_free(&it);
}

static void nothing_anomalous_is_no_cause(void **state) {
    (void)state;
    world it;
    asked got;
    world_with(&it, &usual);
    ask(world_finish(&it), &got);
    assert_true(got.answer.abstained);
    assert_int_equal(got.answer.onset_ms, 0);
    arena_free(&got.memory);
    world_free(&it);
}

/* A service in the middle sends nothing: the rest is still looked at. */
static void silent_services_do_not_hide_the_cause(void **state) {
    (void)state;
    shape_of normal = usual;
    normal.shop_is_silent = true;
    shape_of slow = normal;
    slow.mail = 300;
    world it;
    asked got;
    world_init(&it);
    edges_add(&it);
    requests_add(&it, FROM_MS - 3600000, FROM_MS - 120000, 200, &normal);
    requests_add(&it, FROM_MS + 20000, TO_MS, 100, &slow);
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, MAIL);
    arena_free(&got.memory);
    world_free(&it);
}

/* Asked an hour late: what came after the window is not looked at. */
static void what_comes_after_the_window_does_not_count(void **state) {
    (void)state;
    shape_of slow = usual;
    slow.mail = 250;
    shape_of later = usual;
    later.base = 900;
    world it;
    asked got;
    world_with(&it, &slow);
    requests_add(&it, TO_MS + 60000, TO_MS + 3600000, 300, &later);
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, MAIL);
    arena_free(&got.memory);
    world_free(&it);
}

static uint32_t error_add(world *self, const char *text) {
    *(evidence_error *)list_add(&self->errors) = (evidence_error){.text = text, .exception = true};
    return self->errors.count - 1;
}

/* An exception that is always there speaks for nobody, also when there is more of it; a new one does. */
static void errors_that_are_always_there(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    edges_add(&it);
    *(const char **)list_add(&it.patterns) = "it failed";
    uint32_t old = error_add(&it, "TimeoutError: as always");
    shape_of with = usual;
    with.pattern = 0;
    with.error = old;
    with.pattern_at = 1;
    requests_add(&it, FROM_MS - 3600000, FROM_MS - 120000, 200, &usual);
    requests_add(&it, FROM_MS - 3600000, FROM_MS - 120000, 10, &with);
    requests_add(&it, FROM_MS + 20000, TO_MS, 80, &usual);
    requests_add(&it, FROM_MS + 20000, TO_MS, 60, &with);
    ask(world_finish(&it), &got);
    assert_true(got.answer.abstained);
    arena_free(&got.memory);

    with.error = error_add(&it, "KeyError: never before");
    requests_add(&it, FROM_MS + 20000, TO_MS, 60, &with);
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, SHOP);
    assert_int_equal(first_of(&got)->kind, CAUSE_CODE);
    arena_free(&got.memory);
    world_free(&it);
}

/* Every request of the front logs a pattern of its own: no rate, and the cause is found beside it. */
static void a_flood_of_new_patterns(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    edges_add(&it);
    for (uint32_t i = 0; i < 3000; i++)
        *(const char **)list_add(&it.patterns) = "one of many";
    requests_add(&it, FROM_MS - 3600000, FROM_MS - 120000, 200, &usual);
    for (uint32_t i = 0; i < 3000; i++) {
        shape_of one = noisy(&usual, i);
        one.mail = 250;
        one.pattern = i;
        request_add(&it, FROM_MS + 20000 + 70 * (int64_t)i, &one);
    }
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, MAIL);
    arena_free(&got.memory);
    world_free(&it);
}

static void bad_windows_are_refused(void **state) {
    (void)state;
    static const root_cause_question bad[] = {
        {.symptom = NONE, .from_ms = TO_MS, .to_ms = FROM_MS},
        {.symptom = NONE, .from_ms = 0, .to_ms = TO_MS},
        {.symptom = NONE, .from_ms = FROM_MS, .to_ms = FROM_MS + 2 * (int64_t)ROOT_CAUSE_WINDOW_MAX_MS},
        {.symptom = NONE, .from_ms = FROM_MS, .to_ms = TO_MS, .normal_from_ms = TO_MS},
        {.symptom = 999, .from_ms = FROM_MS, .to_ms = TO_MS},
    };
    world it;
    world_with(&it, &usual);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        failure why = {0};
        root_cause_answer answer = {.count = 77};
        arena memory;
        arena_init(&memory, 4096, 1U << 20);
        assert_int_equal(
            root_cause_find(world_finish(&it), &bad[i], &root_cause_defaults, &memory, &answer, &why),
            STATUS_INVALID_ARGUMENT);
        assert_int_equal(answer.count, 77);
        arena_free(&memory);
    }
    world_free(&it);
}

/* ---- Changes
 * ------------------------------------------------------------------------------------------------------ */

static void change_add(world *self, const char *name, change_kind kind, uint32_t service, int64_t time_ms) {
    *(evidence_change *)list_add(&self->changes) =
        (evidence_change){.name = name, .kind = kind, .service = service, .time_ms = time_ms};
}

static void a_change_before_is_the_cause(void **state) {
    (void)state;
    static const shape_of gone = {5, 1, 0, 0, 0, 0, true, true, true, false, 0, NONE, NONE, 0};
    world it;
    asked got;
    world_with(&it, &gone);
    change_add(&it, "deploy:t/t/shop-2", CHANGE_DEPLOY, SHOP, FROM_MS - 5000);
    change_add(&it, "deploy:t/t/mail-9", CHANGE_DEPLOY, MAIL, FROM_MS - 3000);
    change_add(&it, "config:t/t/shop", CHANGE_CONFIG, SHOP, FROM_MS + 200000);
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, SHOP);
    assert_int_equal(first_of(&got)->kind, CAUSE_DEPLOY);
    assert_int_equal(first_of(&got)->change, 0);
    assert_int_equal(first_of(&got)->hops[0].clues[0].kind, CLUE_CHANGE);
    for (size_t i = 0; i < got.answer.count; i++)
        assert_true(got.answer.hypotheses[i].service != MAIL); /* innocent in place */
    arena_free(&got.memory);
    world_free(&it);
}

static void a_change_after_is_innocent(void **state) {
    (void)state;
    static const shape_of gone = {5, 1, 0, 0, 0, 0, true, true, true, false, 0, NONE, NONE, 0};
    world it;
    asked got;
    world_with(&it, &gone);
    change_add(&it, "deploy:t/t/shop-2", CHANGE_DEPLOY, SHOP, FROM_MS + 200000);
    change_add(&it, "config:t/t/shop", CHANGE_CONFIG, SHOP, FROM_MS - 86400000);
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->kind, CAUSE_CODE);
    assert_int_equal(first_of(&got)->change, EVIDENCE_NONE);
    assert_non_null(strstr(first_of(&got)->against[0], "innocent"));
    arena_free(&got.memory);
    world_free(&it);
}

/* ---- Metrics
 * ---------------------------------------------------------------------------------------------------------
 */

static void series_add(world *self, uint32_t service, const char *metric, double before, double after) {
    evidence_series *made = list_add(&self->series);
    *made = (evidence_series){.service = service, .metric = metric};
    made->kind = metric_kind_of(metric, &made->quantile);
    for (int64_t at = -60; at < 16; at++) {
        double wave = 1 + 0.01 * (double)((at + 64) % 5);
        *(evidence_point *)list_add(&self->points) =
            (evidence_point){.time_ms = FROM_MS + at * 15000, .value = (at < 0 ? before : after) * wave};
        made->count++;
    }
}

static void a_resource_that_moved(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    for (uint32_t s = 0; s < SERVICES; s++) {
        series_add(&it, s, "cpu.usage", 20, s == STOCK ? 90 : 20);
        series_add(&it, s, "memory.usage", 300, 300);
    }
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, STOCK);
    assert_int_equal(first_of(&got)->kind, CAUSE_RESOURCE);
    arena_free(&got.memory);
    world_free(&it);
}

/* What moved with the whole fleet is no one's own. */
static void a_shift_of_the_fleet(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    for (uint32_t s = 0; s < SERVICES; s++)
        series_add(&it, s, "cpu.usage", 20, 60);
    ask(world_finish(&it), &got);
    assert_true(got.answer.abstained);
    arena_free(&got.memory);
    world_free(&it);
}

static void a_full_pool_is_saturation(void **state) {
    (void)state;
    world it;
    asked got;
    world_init(&it);
    series_add(&it, SHOP, "db.client.connections.usage.pool", 0.4, 1.0);
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->kind, CAUSE_SATURATION);
    arena_free(&got.memory);
    world_free(&it);
}

/* Every node gets slower up to the front; only one of them by itself. */
static void flow_finds_whose_latency_it_is(void **state) {
    (void)state;
    static const double before[SERVICES] = {60, 40, 15, 10, 5};
    static const double after[SERVICES] = {260, 240, 215, 10, 5};
    world it;
    asked got;
    world_init(&it);
    edges_add(&it);
    for (uint32_t s = 0; s < SERVICES; s++) {
        series_add(&it, s, "latency.average", before[s], after[s]);
        series_add(&it, s, "requests.count", 1000, 1000);
    }
    ask(world_finish(&it), &got);
    assert_int_equal(first_of(&got)->service, STOCK);
    assert_int_equal(first_of(&got)->hop_count, 3);
    assert_int_equal(first_of(&got)->hops[2].service, FRONT);
    arena_free(&got.memory);
    world_free(&it);
}

static void kinds_of_metrics(void **state) {
    static const struct {
        const char *name;
        metric_kind kind;
        double quantile;
    } cases[] = {
        {"process.cpu.utilization", METRIC_CPU, 0},
        {"container_memory_rss", METRIC_MEMORY, 0},
        {"latency.p99", METRIC_LATENCY, 0.99},
        {"latency.Average", METRIC_LATENCY_MEAN, 0},
        {"90", METRIC_LATENCY, 0.9},
        {"ClientLatencyP95(s)", METRIC_LATENCY_CLIENT, 0.95},
        {"SuccessRate(%)", METRIC_AVAILABILITY, 0},
        {"http.server.errors", METRIC_ERRORS, 0},
        {"requests.Sum", METRIC_REQUESTS, 0},
        {"node_cpu", METRIC_OTHER, 0},
        {"NetworkReceiveBytes", METRIC_NETWORK, 0},
        {"", METRIC_OTHER, 0},
        {"pool.in_use", METRIC_SATURATION, 0},
        {"disk.writes", METRIC_IO, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double quantile = -1;
        if (metric_kind_of(cases[i].name, &quantile) != cases[i].kind) {
            print_error("%s\n", cases[i].name);
            _fail(__FILE__, __LINE__);
        }
        assert_true(quantile > cases[i].quantile - 1e-9 && quantile < cases[i].quantile + 1e-9);
    }
}

/* ---- Properties
 * ---------------------------------------------------------------------------------------------------- */

/* The order of the traces says nothing; neither does the time zone, so to speak. */
static void the_same_evidence_gives_the_same_answer(void **state) {
    (void)state;
    shape_of slow = usual;
    slow.base = 200;
    world it;
    asked first;
    asked second;
    world_with(&it, &slow);
    ask(world_finish(&it), &first);
    uint64_t random = 42;
    for (uint32_t i = it.traces.count - 1; i > 0; i--) {
        random = mix64(random, i);
        evidence_trace *one = list_at(&it.traces, i);
        evidence_trace *other = list_at(&it.traces, (uint32_t)(random % (i + 1)));
        evidence_trace kept = *one;
        *one = *other;
        *other = kept;
    }
    ask(world_finish(&it), &second);
    assert_int_equal(first.answer.count, second.answer.count);
    for (size_t i = 0; i < first.answer.count; i++) {
        assert_int_equal(first.answer.hypotheses[i].service, second.answer.hypotheses[i].service);
        double difference = first.answer.hypotheses[i].score - second.answer.hypotheses[i].score;
        assert_true(difference < 1e-9 && difference > -1e-9);
    }
    arena_free(&first.memory);
    arena_free(&second.memory);
    world_free(&it);
}

/* More of the same fault never makes it less likely; probabilities stay within 0 and 1 and sum to 1 at most.
 */
static void probabilities_are_such(void **state) {
    (void)state;
    double before = 0;
    for (uint32_t ms = 20; ms <= 1280; ms *= 4) {
        shape_of slow = usual;
        slow.mail = ms;
        world it;
        asked got;
        double all = 0;
        world_with(&it, &slow);
        ask(world_finish(&it), &got);
        for (size_t i = 0; i < got.answer.count; i++) {
            assert_true(got.answer.hypotheses[i].probability >= 0);
            all += got.answer.hypotheses[i].probability;
        }
        assert_true(all <= 1 + 1e-9);
        double score = got.answer.count > 0 ? got.answer.hypotheses[0].score : 0;
        assert_true(score >= before);
        before = score;
        arena_free(&got.memory);
        world_free(&it);
    }
}

/* ---- ChainMatch
 * ----------------------------------------------------------------------------------------------------------
 */

typedef Interlock__Graph__V1__ChainLink chain_link;

static void links_fill(const char *text, chain_link *room, chain_link **out, size_t *count) {
    for (*count = 0; text[*count] != '\0'; (*count)++) {
        static char letters[26][2];
        char letter = text[*count];
        letters[letter - 'a'][0] = letter;
        interlock__graph__v1__chain_link__init(&room[*count]);
        room[*count].node = letters[letter - 'a'];
        out[*count] = &room[*count];
    }
}

static void chains_are_compared(void **state) {
    static const struct {
        const char *hypothesis, *postmortem;
        double nodes, order;
        bool cause;
    } cases[] = {
        {"abc", "abc", 1, 1, true},       {"abc", "acb", 1, 2.0 / 3, true}, {"abc", "cba", 1, 0, false},
        {"ab", "abcd", 0.5, 1, true},     {"a", "b", 0, 0, false},          {"aab", "ab", 1, 1, true},
        {"abc", "bc", 2.0 / 3, 1, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chain_link room[16];
        chain_link *links[16];
        chain_match_request request;
        chain_match_response response;
        failure why = {0};
        interlock__graph__v1__chain_match_request__init(&request);
        interlock__graph__v1__chain_match_response__init(&response);
        request.hypothesis = links;
        request.postmortem = links + 8;
        links_fill(cases[i].hypothesis, room, request.hypothesis, &request.n_hypothesis);
        links_fill(cases[i].postmortem, room + 8, request.postmortem, &request.n_postmortem);
        assert_int_equal(chain_match(&request, &response, &why), STATUS_OK);
        assert_true(response.nodes > cases[i].nodes - 1e-9 && response.nodes < cases[i].nodes + 1e-9);
        assert_true(response.order > cases[i].order - 1e-9 && response.order < cases[i].order + 1e-9);
        assert_int_equal(response.cause, cases[i].cause);
        request.n_postmortem = 0;
        assert_int_equal(chain_match(&request, &response, &why), STATUS_INVALID_ARGUMENT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_found),
        cmocka_unit_test(fault_in_the_entry_service),
        cmocka_unit_test(two_faults_are_both_named),
        cmocka_unit_test(too_little_is_said_to_be),
        cmocka_unit_test(nothing_anomalous_is_no_cause),
        cmocka_unit_test(silent_services_do_not_hide_the_cause),
        cmocka_unit_test(what_comes_after_the_window_does_not_count),
        cmocka_unit_test(errors_that_are_always_there),
        cmocka_unit_test(a_flood_of_new_patterns),
        cmocka_unit_test(bad_windows_are_refused),
        cmocka_unit_test(a_change_before_is_the_cause),
        cmocka_unit_test(a_change_after_is_innocent),
        cmocka_unit_test(a_resource_that_moved),
        cmocka_unit_test(a_shift_of_the_fleet),
        cmocka_unit_test(a_full_pool_is_saturation),
        cmocka_unit_test(flow_finds_whose_latency_it_is),
        cmocka_unit_test(kinds_of_metrics),
        cmocka_unit_test(the_same_evidence_gives_the_same_answer),
        cmocka_unit_test(probabilities_are_such),
        cmocka_unit_test(chains_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
