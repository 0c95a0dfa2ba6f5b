/* OTLP metrics and logs as they come, what is refused of them, and that all of it is there after a restart.
 */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph_store.h"
#include "otlp.h"
#include "signals_store.h"

#define NOW_MS 1767225600000
#define NODE "service:prod/shop/cart"

typedef Opentelemetry__Proto__Metrics__V1__ResourceMetrics resource_metrics;
typedef Opentelemetry__Proto__Metrics__V1__ScopeMetrics scope_metrics;
typedef Opentelemetry__Proto__Metrics__V1__Metric otlp_metric;
typedef Opentelemetry__Proto__Metrics__V1__NumberDataPoint number_point;
typedef Opentelemetry__Proto__Metrics__V1__HistogramDataPoint histogram_point;
typedef Opentelemetry__Proto__Logs__V1__ResourceLogs resource_logs;
typedef Opentelemetry__Proto__Logs__V1__ScopeLogs scope_logs;
typedef Opentelemetry__Proto__Logs__V1__LogRecord log_record;

typedef struct fixture {
    simulated_chance time;
    arena memory;
    model *graph;
    telemetry *telemetry;
} fixture;

static void fixture_open(fixture *self) {
    failure why;
    simulated_chance_init(&self->time, 1);
    arena_init(&self->memory, 65536, 16 << 20);
    assert_int_equal(model_create(&self->graph, &self->time.chance, &why), STATUS_OK);
    assert_int_equal(telemetry_create(&self->telemetry, self->graph, 1, &why), STATUS_OK);
}

static void fixture_close(fixture *self) {
    telemetry_free(self->telemetry);
    model_free(self->graph);
    arena_free(&self->memory);
}

static Opentelemetry__Proto__Resource__V1__Resource *resource_made(fixture *self,
                                                                   const otlp_attribute *given) {
    static const otlp_attribute cart[] = {{"service.name", "cart"},
                                          {"service.namespace", "shop"},
                                          {"deployment.environment.name", "prod"},
                                          {"k8s.pod.name", "cart-1"},
                                          {NULL, NULL}};
    Opentelemetry__Proto__Resource__V1__Resource *made = arena_alloc(&self->memory, sizeof *made);
    opentelemetry__proto__resource__v1__resource__init(made);
    made->attributes = otlp_attributes(&self->memory, given == NULL ? cart : given, &made->n_attributes);
    return made;
}

/* One metric of one resource. */
static metrics_export *metric_request(fixture *self, otlp_metric *metric, const otlp_attribute *resource) {
    struct {
        metrics_export request;
        resource_metrics resource;
        resource_metrics *resources[1];
        scope_metrics scope;
        scope_metrics *scopes[1];
        otlp_metric *metrics[1];
    } *all = arena_zero(&self->memory, 1, sizeof *all);
    opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__init(&all->request);
    opentelemetry__proto__metrics__v1__resource_metrics__init(&all->resource);
    opentelemetry__proto__metrics__v1__scope_metrics__init(&all->scope);
    all->metrics[0] = metric;
    all->scopes[0] = &all->scope;
    all->resources[0] = &all->resource;
    all->scope.metrics = all->metrics;
    all->scope.n_metrics = 1;
    all->resource.resource = resource_made(self, resource);
    all->resource.scope_metrics = all->scopes;
    all->resource.n_scope_metrics = 1;
    all->request.resource_metrics = all->resources;
    all->request.n_resource_metrics = 1;
    return &all->request;
}

static otlp_metric *metric_made(fixture *self, const char *name) {
    otlp_metric *made = arena_alloc(&self->memory, sizeof *made);
    opentelemetry__proto__metrics__v1__metric__init(made);
    made->name = arena_text(&self->memory, name);
    return made;
}

static number_point *number_made(fixture *self, int64_t time_ms, double value) {
    number_point *made = arena_alloc(&self->memory, sizeof *made);
    opentelemetry__proto__metrics__v1__number_data_point__init(made);
    made->time_unix_nano = (uint64_t)time_ms * 1000000U;
    made->start_time_unix_nano = (uint64_t)(NOW_MS - 600000) * 1000000U;
    made->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
    made->as_double = value;
    return made;
}

static metrics_export *gauge_request(fixture *self, const char *name, int64_t time_ms, double value,
                                     const otlp_attribute *resource) {
    otlp_metric *metric = metric_made(self, name);
    metric->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_GAUGE;
    metric->gauge = arena_alloc(&self->memory, sizeof *metric->gauge);
    opentelemetry__proto__metrics__v1__gauge__init(metric->gauge);
    metric->gauge->data_points = arena_zero(&self->memory, 1, sizeof *metric->gauge->data_points);
    metric->gauge->data_points[0] = number_made(self, time_ms, value);
    metric->gauge->n_data_points = 1;
    return metric_request(self, metric, resource);
}

static double mean_of(const fixture *self, const char *node, const char *pod, const char *name) {
    const signals *all = telemetry_signals(self->telemetry);
    uint32_t series = signals_series_find(all, node, pod, name);
    signal_point points[SIGNALS_POINTS_MAX];
    double count = 0;
    double sum = 0;
    if (series == SIGNALS_NONE)
        return NAN;
    size_t found = signals_points(all, series, INT64_MIN, INT64_MAX, points, SIGNALS_POINTS_MAX);
    for (size_t i = 0; i < found; i++) {
        count += points[i].count;
        sum += points[i].sum;
    }
    return sum / count;
}

static void test_gauges_and_refusals(void **state) {
    (void)state;
    fixture self;
    fixture_open(&self);
    metrics_export *request = gauge_request(&self, "cpu", NOW_MS - 1000, 0.5, NULL);
    assert_int_equal(metrics_read(self.telemetry, request, NOW_MS).accepted, 1);
    assert_true(metrics_read(self.telemetry, request, NOW_MS).duplicate);
    assert_true(mean_of(&self, NODE, "cart-1", "cpu") == 0.5);
    telemetry_result result =
        metrics_read(self.telemetry, gauge_request(&self, "cpu", NOW_MS + 3600000, 1, NULL), NOW_MS);
    assert_int_equal(result.refused[TELEMETRY_FUTURE], 1);
    result = metrics_read(self.telemetry, gauge_request(&self, "cpu", 0, 1, NULL), NOW_MS);
    assert_int_equal(result.refused[TELEMETRY_NO_TIME], 1);
    static char huge[1 << 20];
    memset(huge, 'x', sizeof huge - 1);
    const otlp_attribute too_long[] = {{"service.name", huge}, {NULL, NULL}};
    result = metrics_read(self.telemetry, gauge_request(&self, "cpu", NOW_MS, 1, too_long), NOW_MS);
    assert_int_equal(result.refused[TELEMETRY_BAD_NAME], 1);
    char text[256];
    assert_int_equal(telemetry_refused(&result, "data points", text, sizeof text), 1);
    assert_non_null(strstr(text, "1 data points: environment/namespace/name"));
    /* A machine that names no service, and a workload that Kubernetes names. */
    const otlp_attribute machine[] = {{"host.name", "node-7"}, {NULL, NULL}};
    assert_int_equal(
        metrics_read(self.telemetry, gauge_request(&self, "load", NOW_MS, 3, machine), NOW_MS).accepted, 1);
    assert_true(mean_of(&self, "host:default/default/node-7", "", "load") == 3);
    const otlp_attribute workload[] = {{"service.name", "unknown_service:node"},
                                       {"k8s.deployment.name", "web"},
                                       {"k8s.namespace.name", "front"},
                                       {"k8s.pod.name", "web-1"},
                                       {NULL, NULL}};
    assert_int_equal(
        metrics_read(self.telemetry, gauge_request(&self, "cpu", NOW_MS, 2, workload), NOW_MS).accepted, 1);
    assert_true(mean_of(&self, "service:default/front/web", "web-1", "cpu") == 2);
    fixture_close(&self);
}

static metrics_export *sum_request(fixture *self, int64_t time_ms, double value, int temporality) {
    otlp_metric *metric = metric_made(self, "requests");
    metric->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM;
    metric->sum = arena_alloc(&self->memory, sizeof *metric->sum);
    opentelemetry__proto__metrics__v1__sum__init(metric->sum);
    metric->sum->is_monotonic = true;
    metric->sum->aggregation_temporality =
        (Opentelemetry__Proto__Metrics__V1__AggregationTemporality)temporality;
    metric->sum->data_points = arena_zero(&self->memory, 1, sizeof *metric->sum->data_points);
    number_point *point = number_made(self, time_ms, value);
    static const otlp_attribute route[] = {{"route", "/cart"}, {NULL, NULL}};
    point->attributes = otlp_attributes(&self->memory, route, &point->n_attributes);
    if (temporality == 1)
        point->start_time_unix_nano = (uint64_t)(time_ms - 10000) * 1000000U;
    metric->sum->data_points[0] = point;
    metric->sum->n_data_points = 1;
    return metric_request(self, metric, NULL);
}

static void test_sums_of_both_kinds(void **state) {
    (void)state;
    fixture self;
    fixture_open(&self);
    assert_int_equal(
        metrics_read(self.telemetry, sum_request(&self, NOW_MS - 20000, 100, 2), NOW_MS).accepted, 1);
    assert_int_equal(
        metrics_read(self.telemetry, sum_request(&self, NOW_MS - 10000, 150, 2), NOW_MS).accepted, 1);
    assert_true(mean_of(&self, NODE, "cart-1", "requests{route=/cart}") == 5);
    fixture_close(&self);
    fixture_open(&self);
    assert_int_equal(metrics_read(self.telemetry, sum_request(&self, NOW_MS - 10000, 70, 1), NOW_MS).accepted,
                     1);
    assert_true(mean_of(&self, NODE, "cart-1", "requests{route=/cart}") == 7);
    fixture_close(&self);
}

static metrics_export *histogram_request(fixture *self, int64_t time_ms, const uint64_t *counts, double sum) {
    static double bounds[] = {10, 20, 40};
    otlp_metric *metric = metric_made(self, "latency");
    metric->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM;
    metric->histogram = arena_alloc(&self->memory, sizeof *metric->histogram);
    opentelemetry__proto__metrics__v1__histogram__init(metric->histogram);
    metric->histogram->aggregation_temporality = (Opentelemetry__Proto__Metrics__V1__AggregationTemporality)2;
    metric->histogram->data_points = arena_zero(&self->memory, 1, sizeof *metric->histogram->data_points);
    histogram_point *point = arena_alloc(&self->memory, sizeof *point);
    opentelemetry__proto__metrics__v1__histogram_data_point__init(point);
    point->time_unix_nano = (uint64_t)time_ms * 1000000U;
    point->start_time_unix_nano = (uint64_t)(NOW_MS - 600000) * 1000000U;
    point->bucket_counts = arena_copy(&self->memory, counts, 4 * sizeof *counts);
    point->n_bucket_counts = 4;
    for (size_t i = 0; i < 4; i++)
        point->count += counts[i];
    point->sum_present_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__SUM_PRESENT_SUM;
    point->sum = sum;
    point->explicit_bounds = bounds;
    point->n_explicit_bounds = 3;
    metric->histogram->data_points[0] = point;
    metric->histogram->n_data_points = 1;
    return metric_request(self, metric, NULL);
}

static void test_histograms(void **state) {
    (void)state;
    fixture self;
    fixture_open(&self);
    static const uint64_t first[] = {100, 0, 0, 0};
    static const uint64_t second[] = {100, 0, 100, 0};
    assert_int_equal(
        metrics_read(self.telemetry, histogram_request(&self, NOW_MS - 20000, first, 500), NOW_MS).accepted,
        1);
    assert_int_equal(
        metrics_read(self.telemetry, histogram_request(&self, NOW_MS - 10000, second, 3500), NOW_MS).accepted,
        1);
    assert_true(mean_of(&self, NODE, "cart-1", "latency") == 30);
    assert_true(mean_of(&self, NODE, "cart-1", "latency:rate") == 10);
    assert_true(mean_of(&self, NODE, "cart-1", "latency:p95") == 39);
    fixture_close(&self);
}

static logs_export *logs_request(fixture *self, const char *const *messages, int64_t time_ms) {
    struct {
        logs_export request;
        resource_logs resource;
        resource_logs *resources[1];
        scope_logs scope;
        scope_logs *scopes[1];
    } *all = arena_zero(&self->memory, 1, sizeof *all);
    opentelemetry__proto__collector__logs__v1__export_logs_service_request__init(&all->request);
    opentelemetry__proto__logs__v1__resource_logs__init(&all->resource);
    opentelemetry__proto__logs__v1__scope_logs__init(&all->scope);
    all->scopes[0] = &all->scope;
    all->resources[0] = &all->resource;
    all->resource.resource = resource_made(self, NULL);
    all->resource.scope_logs = all->scopes;
    all->resource.n_scope_logs = 1;
    all->request.resource_logs = all->resources;
    all->request.n_resource_logs = 1;
    all->scope.log_records = arena_zero(&self->memory, 8, sizeof *all->scope.log_records);
    for (; *messages != NULL; messages++) {
        log_record *record = arena_alloc(&self->memory, sizeof *record);
        opentelemetry__proto__logs__v1__log_record__init(record);
        record->time_unix_nano = (uint64_t)time_ms * 1000000U;
        record->trace_id = otlp_id(&self->memory, 7, 16);
        record->span_id = otlp_id(&self->memory, 9, 8);
        if (**messages != '\0') {
            record->body = arena_alloc(&self->memory, sizeof *record->body);
            opentelemetry__proto__common__v1__any_value__init(record->body);
            record->body->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
            record->body->string_value = arena_text(&self->memory, *messages);
        }
        all->scope.log_records[all->scope.n_log_records++] = record;
    }
    return &all->request;
}

static const char *const said[] = {"order 17 placed", "order 18 placed", "ERROR cannot reach stock", "",
                                   NULL};

static void test_logs(void **state) {
    (void)state;
    fixture self;
    log_observation records[8];
    fixture_open(&self);
    logs_export *request = logs_request(&self, said, NOW_MS - 1000);
    telemetry_result result = logs_read(self.telemetry, request, self.graph, NOW_MS, records);
    assert_int_equal(result.accepted, 3);
    assert_int_equal(result.refused[TELEMETRY_NO_VALUE], 1);
    assert_int_equal(records[0].template_id, records[1].template_id);
    assert_int_not_equal(records[0].template_id, records[2].template_id);
    assert_int_equal(records[2].severity, LOG_SEVERITY_ERROR);
    assert_int_equal(records[0].span_id, 9);
    assert_string_equal(model_node_at(self.graph, records[0].node)->name, NODE);
    assert_true(logs_read(self.telemetry, request, self.graph, NOW_MS, records).duplicate);
    assert_true(templates_count_between(telemetry_templates(self.telemetry), NODE, records[0].template_id, 0,
                                        INT64_MAX) == 2);
    fixture_close(&self);
}

/* Everything of one telemetry is in another one that was loaded from the store. */
static void same_after_reload(const fixture *self, const telemetry *loaded, uint32_t template_id) {
    const signals *a = telemetry_signals(self->telemetry);
    const signals *b = telemetry_signals(loaded);
    assert_int_equal(signals_series_count(a), signals_series_count(b));
    for (uint32_t i = 0; i < signals_series_count(a); i++) {
        signal_point one[SIGNALS_POINTS_MAX];
        signal_point two[SIGNALS_POINTS_MAX];
        assert_string_equal(signals_series_at(a, i).name, signals_series_at(b, i).name);
        size_t count = signals_points(a, i, INT64_MIN, INT64_MAX, one, SIGNALS_POINTS_MAX);
        assert_int_equal(signals_points(b, i, INT64_MIN, INT64_MAX, two, SIGNALS_POINTS_MAX), count);
        assert_memory_equal(one, two, count * sizeof *one);
    }
    const templates *c = telemetry_templates(self->telemetry);
    const templates *d = telemetry_templates(loaded);
    assert_int_equal(templates_count(c), templates_count(d));
    assert_string_equal(templates_at(c, template_id).text, templates_at(d, template_id).text);
    assert_true(templates_count_between(c, NODE, template_id, 0, INT64_MAX) ==
                templates_count_between(d, NODE, template_id, 0, INT64_MAX));
}

static void test_restart(void **state) {
    (void)state;
    fixture self;
    failure why;
    graph_store *file = NULL;
    signals_store *rows = NULL;
    log_observation records[8];
    fixture_open(&self);
    assert_int_equal(graph_store_open(&file, ":memory:", &why), STATUS_OK);
    assert_int_equal(signals_store_open(&rows, graph_store_connection(file), &why), STATUS_OK);
    metrics_export *last = NULL;
    for (int64_t i = 0; i < 600; i++) {
        last = gauge_request(&self, "cpu", NOW_MS - 9000000 + i * 15000, (double)i, NULL);
        assert_int_equal(metrics_read(self.telemetry, last, NOW_MS).accepted, 1);
        if (i % 100 != 99)
            continue;
        assert_int_equal(
            metrics_read(self.telemetry, sum_request(&self, NOW_MS - 100000 + i, (double)i, 2), NOW_MS)
                .accepted,
            1);
        assert_int_equal(graph_store_begin(file, &why), STATUS_OK);
        assert_int_equal(signals_store_put(rows, self.telemetry, &why), STATUS_OK);
        assert_int_equal(graph_store_commit(file, self.graph, &why), STATUS_OK);
        telemetry_mark_stored(self.telemetry);
        assert_false(telemetry_changed(self.telemetry));
    }
    logs_export *logs = logs_request(&self, said, NOW_MS - 1000);
    assert_int_equal(logs_read(self.telemetry, logs, self.graph, NOW_MS, records).accepted, 3);
    assert_int_equal(graph_store_begin(file, &why), STATUS_OK);
    assert_int_equal(signals_store_put(rows, self.telemetry, &why), STATUS_OK);
    assert_int_equal(graph_store_commit(file, self.graph, &why), STATUS_OK);
    telemetry *loaded = NULL;
    assert_int_equal(telemetry_create(&loaded, self.graph, 99, &why), STATUS_OK);
    assert_int_equal(signals_store_load(rows, loaded, &why), STATUS_OK);
    same_after_reload(&self, loaded, records[0].template_id);
    /* What was acknowledged before is recognised after it; a sum goes on where it stood. */
    assert_true(metrics_read(loaded, last, NOW_MS).duplicate);
    assert_true(logs_read(loaded, logs, self.graph, NOW_MS, records).duplicate);
    assert_false(telemetry_changed(loaded));
    uint32_t series = signals_series_find(telemetry_signals(loaded), NODE, "cart-1", "requests{route=/cart}");
    assert_true(signals_add_cumulative(telemetry_signals(loaded), series, NOW_MS - 600000, NOW_MS, 1000));
    telemetry_free(loaded);
    signals_store_close(rows);
    graph_store_close(file);
    fixture_close(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauges_and_refusals),
        cmocka_unit_test(test_sums_of_both_kinds),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_logs),
        cmocka_unit_test(test_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
