/* GetSignals: everything that telemetry says about one node in a window, copied out under the read lock. */
#include <stdlib.h>
#include <string.h>

#include "telemetry_rpc.h"

#define ANSWER_MOST 1000U /* of each kind */
#define WINDOW_MS 3600000
#define CHANGES_MOST 8U
#define TEMPLATE_COUNT_MOST 512U

typedef Interlock__Graph__V1__Signal signal_message;
typedef Interlock__Graph__V1__SignalPoint point_message;
typedef Interlock__Graph__V1__SignalBaseline baseline_message;
typedef Interlock__Graph__V1__SignalChange change_message;
typedef Interlock__Graph__V1__OperationTraffic operation_message;
typedef Interlock__Graph__V1__CallTraffic call_message;
typedef Interlock__Graph__V1__Traffic traffic_message;
typedef Interlock__Graph__V1__TrafficPoint traffic_point;
typedef Interlock__Graph__V1__LogTemplate template_message;

/* What is being answered. */
typedef struct answering {
    telemetry *from;
    const model *traffic;
    const char *node;
    uint32_t number; /* of the traffic model; MODEL_NONE */
    int64_t from_ms, to_ms;
    bool points;
    arena *memory;
    signals_response *out;
    bool failed; /* no memory */
} answering;

static void *made(answering *self, size_t count, size_t size) {
    void *out = arena_zero(self->memory, count, size);
    self->failed = self->failed || out == NULL;
    return out;
}

/* Pointers to messages. */
static void *list_made(answering *self, size_t count) {
    return made(self, count, sizeof(void *));
}

static char *text_of(answering *self, const char *text) {
    char *out = arena_text(self->memory, text);
    self->failed = self->failed || out == NULL;
    return out;
}

/* ---- Signals
 * ------------------------------------------------------------------------------------------------------ */

static void points_fill(answering *self, uint32_t series, signal_message *out) {
    signal_point points[SIGNALS_POINTS_MAX];
    size_t count = signals_points(telemetry_signals(self->from), series, self->from_ms, self->to_ms, points,
                                  SIGNALS_POINTS_MAX);
    out->points = list_made(self, count);
    point_message *items = made(self, count, sizeof *items);
    for (size_t i = 0; i < count && !self->failed; i++) {
        interlock__graph__v1__signal_point__init(&items[i]);
        items[i].from_ms = points[i].from_ms;
        items[i].width_ms = points[i].width_ms;
        items[i].count = points[i].count;
        items[i].sum = points[i].sum;
        items[i].minimum = points[i].minimum;
        items[i].maximum = points[i].maximum;
        out->points[out->n_points++] = &items[i];
    }
}

static void baseline_fill(answering *self, uint32_t series, signal_message *out) {
    signal_baseline normal = {0};
    out->baseline = made(self, 1, sizeof *out->baseline);
    if (self->failed ||
        !signals_baseline_before(telemetry_signals(self->from), series, self->from_ms, 0, &normal))
        normal.buckets = 0;
    if (self->failed)
        return;
    interlock__graph__v1__signal_baseline__init(out->baseline);
    out->baseline->buckets = normal.buckets;
    out->baseline->p10 = normal.p10;
    out->baseline->median = normal.median;
    out->baseline->p90 = normal.p90;
    out->baseline->spread = normal.spread;
}

static void changes_fill(answering *self, uint32_t series, signal_message *out) {
    signal_change changes[CHANGES_MOST];
    size_t count = signals_changes(telemetry_signals(self->from), series, self->from_ms, self->to_ms, changes,
                                   CHANGES_MOST);
    out->changes = list_made(self, count);
    change_message *items = made(self, count, sizeof *items);
    for (size_t i = 0; i < count && !self->failed; i++) {
        interlock__graph__v1__signal_change__init(&items[i]);
        items[i].at_ms = changes[i].at_ms;
        items[i].before = changes[i].before;
        items[i].after = changes[i].after;
        items[i].strength = changes[i].strength;
        out->changes[out->n_changes++] = &items[i];
    }
}

static void signals_fill(answering *self) {
    uint32_t series[SIGNALS_NODE_SERIES_MAX];
    const signals *all = telemetry_signals(self->from);
    uint32_t node = signals_node_find(all, self->node);
    size_t count = node == SIGNALS_NONE ? 0 : signals_of_node(all, node, series, SIGNALS_NODE_SERIES_MAX);
    self->out->truncated |= count > ANSWER_MOST;
    count = count < ANSWER_MOST ? count : ANSWER_MOST;
    self->out->signals = list_made(self, count);
    for (size_t i = 0; i < count && !self->failed; i++) {
        signal_series about = signals_series_at(all, series[i]);
        signal_message *item = made(self, 1, sizeof *item);
        if (item == NULL)
            return;
        interlock__graph__v1__signal__init(item);
        item->name = text_of(self, about.name);
        item->pod = text_of(self, about.pod);
        item->unit = text_of(self, about.unit);
        baseline_fill(self, series[i], item);
        changes_fill(self, series[i], item);
        if (self->points)
            points_fill(self, series[i], item);
        self->out->signals[self->out->n_signals++] = item;
    }
}

/* ---- Traffic
 * ------------------------------------------------------------------------------------------------------ */

static double milliseconds(const sketch *latency, double rank) {
    return latency == NULL ? 0 : sketch_quantile(latency, rank) / 1e6;
}

static void traffic_points_fill(answering *self, const flow_point *points, size_t count,
                                traffic_message *out) {
    out->points = list_made(self, count);
    traffic_point *items = made(self, count, sizeof *items);
    for (size_t i = 0; i < count && !self->failed; i++) {
        interlock__graph__v1__traffic_point__init(&items[i]);
        items[i].from_ms = points[i].from_ms;
        items[i].width_ms = points[i].width_ms;
        items[i].count = points[i].counts.calls;
        items[i].errors = points[i].counts.failures;
        items[i].p50_ms = milliseconds(points[i].latency, 0.5);
        items[i].p99_ms = milliseconds(points[i].latency, 0.99);
        out->points[out->n_points++] = &items[i];
    }
}

/* Sums over the window; *sums gets the counts besides. */
static traffic_message *traffic_make(answering *self, const flow_point *points, size_t count,
                                     flow_counts *sums) {
    traffic_message *out = made(self, 1, sizeof *out);
    sketch latency = {0};
    int64_t covered_ms = 0;
    *sums = (flow_counts){0};
    if (out == NULL)
        return NULL;
    interlock__graph__v1__traffic__init(out);
    for (size_t i = 0; i < count; i++) {
        flow_counts_add(sums, &points[i].counts, 1);
        covered_ms += points[i].width_ms;
        if (points[i].latency != NULL)
            self->failed = !sketch_merge(&latency, points[i].latency) || self->failed;
    }
    out->count = sums->calls;
    out->rate_per_second = covered_ms > 0 ? sums->calls / ((double)covered_ms / 1000) : 0;
    out->error_ratio = sums->calls > 0 ? sums->failures / sums->calls : 0;
    out->p50_ms = milliseconds(&latency, 0.5);
    out->p95_ms = milliseconds(&latency, 0.95);
    out->p99_ms = milliseconds(&latency, 0.99);
    sketch_free(&latency);
    if (self->points)
        traffic_points_fill(self, points, count, out);
    return out;
}

static void operations_fill(answering *self) {
    const operations *all = model_operations(self->traffic);
    const flows *flow = model_flows(self->traffic);
    flow_point points[FLOWS_POINTS_MAX];
    self->out->operations = list_made(self, ANSWER_MOST);
    for (uint32_t i = 1; i < operations_count(all) && !self->failed; i++) {
        operation_info info = operations_at(all, i);
        if (info.node != self->number)
            continue;
        size_t count = flows_of_operation(flow, i, self->from_ms, self->to_ms, points, FLOWS_POINTS_MAX);
        flow_counts sums;
        if (count == 0)
            continue;
        if (self->out->n_operations == ANSWER_MOST) {
            self->out->truncated = true;
            return;
        }
        operation_message *item = made(self, 1, sizeof *item);
        if (item == NULL)
            return;
        interlock__graph__v1__operation_traffic__init(item);
        item->name = text_of(self, info.text);
        item->traffic = traffic_make(self, points, count, &sums);
        self->out->operations[self->out->n_operations++] = item;
    }
}

static void call_fill(answering *self, uint32_t number, const model_edge *edge) {
    flow_point points[FLOWS_POINTS_MAX];
    flow_counts sums;
    size_t count = flows_of_edge(model_flows(self->traffic), number, self->from_ms, self->to_ms, points,
                                 FLOWS_POINTS_MAX);
    call_message *item = made(self, 1, sizeof *item);
    if (item == NULL)
        return;
    interlock__graph__v1__call_traffic__init(item);
    item->from = text_of(self, model_node_at(self->traffic, edge->from)->name);
    item->to = text_of(self, model_node_at(self->traffic, edge->to)->name);
    item->traffic = traffic_make(self, points, count, &sums);
    flow_counts caller = flows_node_totals(model_flows(self->traffic), edge->from);
    flow_counts total = flows_edge_totals(model_flows(self->traffic), number);
    double share = caller.seconds > 0 ? total.seconds / caller.seconds : 0;
    item->time_share = share < 1 ? share : 1;
    item->asynchronous_share = sums.calls > 0 ? sums.asynchronous / sums.calls : 0;
    item->propagated = sums.propagated;
    item->fell_back = sums.fell_back;
    item->retried = sums.retried;
    self->out->calls[self->out->n_calls++] = item;
}

static void calls_fill(answering *self) {
    self->out->calls = list_made(self, ANSWER_MOST);
    for (uint32_t i = 0; i < model_edge_count(self->traffic) && !self->failed; i++) {
        const model_edge *edge = model_edge_at(self->traffic, i);
        if (edge->from != self->number && edge->to != self->number)
            continue;
        if (self->out->n_calls == ANSWER_MOST) {
            self->out->truncated = true;
            return;
        }
        call_fill(self, i, edge);
    }
}

/* ---- Log templates
 * ------------------------------------------------------------------------------------------------ */

static void templates_fill(answering *self) {
    uint32_t numbers[TEMPLATE_COUNT_MOST + 1];
    const templates *all = telemetry_templates(self->from);
    int64_t width_ms = self->to_ms - self->from_ms;
    size_t count = templates_of_node(all, self->node, numbers, TEMPLATE_COUNT_MOST + 1);
    self->out->templates = list_made(self, count);
    for (size_t i = 0; i < count && !self->failed; i++) {
        template_message *item = made(self, 1, sizeof *item);
        if (item == NULL)
            return;
        interlock__graph__v1__log_template__init(item);
        item->text = text_of(self, templates_at(all, numbers[i]).text);
        item->count = templates_count_between(all, self->node, numbers[i], self->from_ms, self->to_ms);
        item->count_before =
            templates_count_between(all, self->node, numbers[i], self->from_ms - width_ms, self->from_ms);
        item->first_ms = templates_at(all, numbers[i]).first_ms;
        if (item->count > 0 || item->count_before > 0)
            self->out->templates[self->out->n_templates++] = item;
    }
}

status_code signals_answer(ingest *from, const signals_request *request, int64_t now_ms, arena *memory,
                           signals_response *out, failure *why) {
    name_parts parts;
    status_code status = name_parse(request->node, &parts, why);
    if (status != STATUS_OK)
        return status;
    answering self = {.from = ingest_telemetry(from),
                      .traffic = ingest_traffic(from),
                      .node = request->node,
                      .from_ms = request->from_ms,
                      .to_ms = request->to_ms,
                      .points = request->points,
                      .memory = memory,
                      .out = out};
    if (self.to_ms == 0)
        self.to_ms = now_ms + LIMIT_CLOCK_SKEW_MS;
    if (self.from_ms == 0)
        self.from_ms = self.to_ms - WINDOW_MS;
    if (self.from_ms >= self.to_ms || self.from_ms < 0)
        return fail_field(why, "from_ms", "BAD_WINDOW",
                          "the window must begin at 0 or later, and before it ends");
    telemetry_read_begin(self.from);
    self.number = model_node_find(self.traffic, request->node);
    bool known = self.number != MODEL_NONE ||
                 signals_node_find(telemetry_signals(self.from), request->node) != SIGNALS_NONE;
    if (known) {
        signals_fill(&self);
        operations_fill(&self);
        calls_fill(&self);
        templates_fill(&self);
    }
    telemetry_read_end(self.from);
    if (!known)
        return fail(why, STATUS_NOT_FOUND, "NO_SIGNALS", "no telemetry speaks of %s", request->node);
    return self.failed ? fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                              "the answer does not fit; ask for a shorter window or without points")
                       : STATUS_OK;
}
