/* Putting together what the engine looks at. */
#include "root_cause_view.h"

#include <stdlib.h>
#include <string.h>

#define NODE_KIND_CHANGE(word) INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_##word

static uint64_t name_key(const char *name) {
    uint64_t key = 17;
    for (; *name != '\0'; name++)
        key = mix64(key, (uint8_t)*name);
    return key;
}

static const char *text_keep(root_cause_view *self, const char *text) {
    char *copy = strdup(text);
    if (copy == NULL) {
        self->texts.failed = true;
        return "";
    }
    *(char **)list_add(&self->texts) = copy;
    return copy;
}

/* ---- Nodes
 * ----------------------------------------------------------------------------------------------------------
 */

uint32_t root_cause_view_find(const root_cause_view *self, const char *name) {
    uint32_t at = key_map_find(&self->by_name, name_key(name));
    return at == KEY_MAP_NONE ? EVIDENCE_NONE : at;
}

uint32_t root_cause_view_named(root_cause_view *self, const char *name) {
    uint32_t fresh = self->services.count;
    uint32_t at = key_map_add(&self->by_name, name_key(name), fresh);
    if (at == fresh)
        *(const char **)list_add(&self->services) = text_keep(self, name);
    return at;
}

/* By the model's numbers, which spans carry. */
static void nodes_take(root_cause_view *self) {
    for (uint32_t i = 0; i < self->kept.service_count; i++) {
        const char *name = self->kept.services[i];
        *(const char **)list_add(&self->services) = name;
        if (*name != '\0')
            key_map_add(&self->by_name, name_key(name), i);
    }
    for (uint32_t i = 0; i < self->kept.operation_count; i++) {
        if (self->kept.operations[i].service >= self->kept.service_count)
            self->kept.operations[i].service = 0; /* never seen, so that no span has it */
    }
}

/* ---- Calls
 * ----------------------------------------------------------------------------------------------------------
 */

static void edge_add(root_cause_view *self, uint32_t from, uint32_t to) {
    if (from == to)
        return;
    evidence_edge *made = list_add(&self->edges);
    *made = (evidence_edge){.from = from, .to = to};
}

void root_cause_view_add_edge(root_cause_view *self, const char *from, const char *to) {
    uint32_t caller = root_cause_view_named(self, from);
    edge_add(self, caller, root_cause_view_named(self, to));
}

static void edges_take(root_cause_view *self, const snapshot *graph) {
    for (uint32_t i = 0; i < graph->edge_count; i++) {
        const snapshot_edge *edge = &graph->edges[i];
        if (edge->from < self->kept.service_count && edge->to < self->kept.service_count)
            edge_add(self, edge->from, edge->to);
    }
}

static int edge_order(const void *a, const void *b) {
    const evidence_edge *left = a;
    const evidence_edge *right = b;
    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    return left->to < right->to ? -1 : left->to > right->to;
}

static void edges_unite(root_cause_view *self) {
    uint32_t kept = 0;
    if (self->edges.count > 1)
        qsort(self->edges.items, self->edges.count, sizeof(evidence_edge), edge_order);
    for (uint32_t i = 0; i < self->edges.count; i++) {
        evidence_edge *edge = list_at(&self->edges, i);
        if (kept > 0 && edge_order(edge, list_at(&self->edges, kept - 1)) == 0)
            continue;
        *(evidence_edge *)list_at(&self->edges, kept++) = *edge;
    }
    self->edges.count = kept;
}

/* ---- Metrics
 * ---------------------------------------------------------------------------------------------------------
 */

static metric_kind kind_of_signal(const signal_series *series, double *quantile) {
    metric_kind kind = metric_kind_of(series->name, quantile);
    if (kind == METRIC_LATENCY && series->type == SIGNAL_MEAN)
        return METRIC_LATENCY_MEAN;
    if (kind == METRIC_LATENCY && series->type == SIGNAL_HIGH)
        *quantile = 0.95;
    return kind;
}

typedef struct pod_series {
    uint32_t series;
    const char *name;
    signal_type type;
} pod_series;

static int pod_order(const void *a, const void *b) {
    const pod_series *left = a;
    const pod_series *right = b;
    int order = strcmp(left->name, right->name);
    if (order == 0)
        order = (int)left->type - (int)right->type;
    return order != 0 ? order : (left->series < right->series ? -1 : left->series > right->series);
}

static int point_order(const void *a, const void *b) {
    const evidence_point *left = a;
    const evidence_point *right = b;
    return left->time_ms < right->time_ms ? -1 : left->time_ms > right->time_ms;
}

/* Points of one moment (of several pods) become their mean. */
static void points_unite(root_cause_view *self, uint32_t first) {
    uint32_t kept = first;
    if (self->points.count - first > 1)
        qsort(list_at(&self->points, first), self->points.count - first, sizeof(evidence_point), point_order);
    for (uint32_t i = first; i < self->points.count;) {
        evidence_point mean = *(evidence_point *)list_at(&self->points, i);
        uint32_t same = 0;
        double sum = 0;
        for (; i < self->points.count; i++, same++) {
            const evidence_point *point = list_at(&self->points, i);
            if (point->time_ms != mean.time_ms)
                break;
            sum += point->value;
        }
        mean.value = sum / same;
        *(evidence_point *)list_at(&self->points, kept++) = mean;
    }
    self->points.count = kept;
}

static void points_take(root_cause_view *self, const signals *from, uint32_t series, signal_point *room) {
    size_t count = signals_points(from, series, 0, INT64_MAX, room, SIGNALS_POINTS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (room[i].count <= 0)
            continue;
        evidence_point *made = list_add(&self->points);
        *made = (evidence_point){.time_ms = room[i].from_ms, .value = room[i].sum / room[i].count};
    }
}

/* One series of all pods that have it. */
static size_t series_take(root_cause_view *self, const signals *from, uint32_t service,
                          const pod_series *pods, size_t count, signal_point *room) {
    signal_series about = signals_series_at(from, pods[0].series);
    double quantile = 0;
    metric_kind kind = kind_of_signal(&about, &quantile);
    size_t same = 0;
    while (same < count && strcmp(pods[same].name, pods[0].name) == 0 && pods[same].type == pods[0].type)
        same++;
    if (kind == METRIC_OTHER)
        return same;
    uint32_t first = self->points.count;
    for (size_t i = 0; i < same; i++)
        points_take(self, from, pods[i].series, room);
    points_unite(self, first);
    evidence_series *made = list_add(&self->series);
    /* The list of points moves while it grows: `points` is a number until root_cause_view_finish. */
    *made = (evidence_series){.service = service,
                              .metric = text_keep(self, pods[0].name),
                              .kind = kind,
                              .quantile = quantile,
                              .count = self->points.count - first};
    return same;
}

static void signals_take(root_cause_view *self, signals *from) {
    uint32_t *numbers = malloc(SIGNALS_NODE_SERIES_MAX * sizeof *numbers);
    pod_series *pods = malloc(SIGNALS_NODE_SERIES_MAX * sizeof *pods);
    signal_point *room = malloc(SIGNALS_POINTS_MAX * sizeof *room);
    if (numbers == NULL || pods == NULL || room == NULL) {
        self->series.failed = true;
    } else {
        for (uint32_t node = 0; node < signals_node_count(from); node++) {
            uint32_t service = root_cause_view_named(self, signals_node_name(from, node));
            size_t count = signals_of_node(from, node, numbers, SIGNALS_NODE_SERIES_MAX);
            for (size_t i = 0; i < count; i++) {
                signal_series about = signals_series_at(from, numbers[i]);
                pods[i] = (pod_series){.series = numbers[i], .name = about.name, .type = about.type};
            }
            qsort(pods, count, sizeof *pods, pod_order);
            for (size_t i = 0; i < count;)
                i += series_take(self, from, service, &pods[i], count - i, room);
        }
    }
    free(numbers);
    free(pods);
    free(room);
}

/* ---- Patterns
 * ---------------------------------------------------------------------------------------------------------
 */

/* Spans that failed by their status share one pattern behind those of the logs. */
static void patterns_take(root_cause_view *self, const templates *from) {
    uint32_t count = from == NULL ? 0 : templates_count(from);
    for (uint32_t i = 0; i < count; i++)
        *(const char **)list_add(&self->patterns) = text_keep(self, templates_at(from, i).text);
    *(const char **)list_add(&self->patterns) = "(the span's status is an error)";
    uint32_t kept = 0;
    for (uint32_t t = 0; t < self->kept.trace_count; t++) {
        evidence_trace *trace = &self->kept.traces[t];
        uint32_t first = kept;
        for (uint32_t i = 0; i < trace->record_count; i++) {
            evidence_record record = self->kept.records[trace->first_record + i];
            if (record.pattern == EVIDENCE_PATTERN_FAILED)
                record.pattern = count;
            if (record.pattern <= count)
                self->kept.records[kept++] = record;
        }
        trace->first_record = first;
        trace->record_count = kept - first;
    }
}

/* ---- Changes
 * ---------------------------------------------------------------------------------------------------------
 */

void root_cause_view_add_change(root_cause_view *self, const char *name, change_kind kind,
                                const char *service, int64_t time_ms) {
    evidence_change *made = list_add(&self->changes);
    *made = (evidence_change){.name = text_keep(self, name),
                              .kind = kind,
                              .service = root_cause_view_named(self, service),
                              .time_ms = time_ms};
}

static change_kind change_of_node(node_kind kind) {
    if (kind == NODE_KIND_CHANGE(DEPLOY))
        return CHANGE_DEPLOY;
    return kind == NODE_KIND_CHANGE(FLAG) ? CHANGE_FLAG : CHANGE_CONFIG;
}

void root_cause_view_take_calls(root_cause_view *self, const picture *from) {
    for (uint32_t i = 0; i < from->edge_count; i++) {
        const picture_edge *edge = &from->edges[i];
        if (edge->kind == EDGE_CALLS)
            root_cause_view_add_edge(self, from->nodes[edge->from].name, from->nodes[edge->to].name);
    }
}

void root_cause_view_take_changes(root_cause_view *self, const picture *from) {
    for (uint32_t i = 0; i < from->edge_count; i++) {
        const picture_edge *edge = &from->edges[i];
        const picture_node *change = &from->nodes[edge->to];
        if (edge->kind == INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_CHANGED_BY)
            root_cause_view_add_change(self, change->name, change_of_node(change->kind),
                                       from->nodes[edge->from].name, edge->valid_from_ms);
    }
}

/* ---- All together
 * ------------------------------------------------------------------------------------------------------- */

void root_cause_view_finish(root_cause_view *self) {
    edges_unite(self);
    const evidence_point *points = self->points.items;
    for (uint32_t i = 0; i < self->series.count; i++) {
        evidence_series *series = list_at(&self->series, i);
        series->points = points;
        points += series->count;
    }
    self->it = (evidence){.services = self->services.items,
                          .service_count = self->services.count,
                          .operations = self->kept.operations,
                          .operation_count = self->kept.operation_count,
                          .patterns = self->patterns.items,
                          .pattern_count = self->patterns.count,
                          .errors = self->kept.errors,
                          .error_count = self->kept.error_count,
                          .traces = self->kept.traces,
                          .trace_count = self->kept.trace_count,
                          .spans = self->kept.spans,
                          .records = self->kept.records,
                          .series = self->series.items,
                          .series_count = self->series.count,
                          .edges = self->edges.items,
                          .edge_count = self->edges.count,
                          .changes = self->changes.items,
                          .change_count = self->changes.count};
}

static bool view_failed(const root_cause_view *self) {
    return self->by_name.failed || self->services.failed || self->series.failed || self->points.failed ||
           self->edges.failed || self->changes.failed || self->patterns.failed || self->texts.failed;
}

status_code root_cause_view_make(root_cause_view *self, const root_cause_sources *from, failure *why) {
    *self = (root_cause_view){0};
    list_init(&self->services, sizeof(const char *));
    list_init(&self->series, sizeof(evidence_series));
    list_init(&self->points, sizeof(evidence_point));
    list_init(&self->edges, sizeof(evidence_edge));
    list_init(&self->changes, sizeof(evidence_change));
    list_init(&self->patterns, sizeof(const char *));
    list_init(&self->texts, sizeof(char *));
    status_code status = evidence_keep_copy(from->kept, &self->kept, why);
    if (status != STATUS_OK)
        return status;
    nodes_take(self);
    edges_take(self, from->graph);
    if (from->telemetry != NULL) {
        telemetry_read_begin(from->telemetry);
        signals_take(self, telemetry_signals(from->telemetry));
        patterns_take(self, telemetry_templates(from->telemetry));
        telemetry_read_end(from->telemetry);
    } else {
        patterns_take(self, NULL);
    }
    root_cause_view_finish(self);
    return view_failed(self) ? fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the view")
                             : STATUS_OK;
}

void root_cause_view_free(root_cause_view *self) {
    for (uint32_t i = 0; i < self->texts.count; i++)
        free(*(char **)list_at(&self->texts, i));
    evidence_copy_free(&self->kept);
    key_map_free(&self->by_name);
    list_free(&self->services);
    list_free(&self->series);
    list_free(&self->points);
    list_free(&self->edges);
    list_free(&self->changes);
    list_free(&self->patterns);
    list_free(&self->texts);
    *self = (root_cause_view){0};
}
