/* Time: what a service takes itself, and the gap between what its callers wait and what it takes.
 *
 * All on the logarithm of milliseconds, against the mean of the same operation in the normal period, less two
 * standard errors, less a hinge. The late part of the window counts, where there is anything in it. */
#include <math.h>
#include <stdlib.h>

#include "root_cause_internal.h"

typedef struct moments {
    double count, sum, squares;
    double late_count, late_sum; /* of the window */
    double all_count, all_sum;
    uint32_t first, second, third; /* what they are of */
    uint32_t unanswered;
    int64_t first_us;
} moments;

typedef struct moments_table {
    key_map map;
    list items;
} moments_table;

static void table_init(moments_table *self) {
    *self = (moments_table){0};
    list_init(&self->items, sizeof(moments));
}

static void table_free(moments_table *self) {
    key_map_free(&self->map);
    list_free(&self->items);
}

static moments *table_at(moments_table *self, uint64_t key) {
    uint32_t at = key_map_add(&self->map, key, self->items.count);
    return at < self->items.count ? list_at(&self->items, at) : list_add(&self->items);
}

static const moments *table_find(const moments_table *self, uint64_t key) {
    uint32_t at = key_map_find(&self->map, key);
    return at >= self->items.count ? NULL : list_at(&self->items, at);
}

static void moments_add(moments *self, double value) {
    self->count++;
    self->sum += value;
    self->squares += value * value;
}

static void moments_add_window(moments *self, double value, bool late) {
    self->all_count++;
    self->all_sum += value;
    self->late_count += late;
    self->late_sum += late ? value : 0;
}

/* Of the late part, or of all where that is empty. */
static double window_mean(const moments *self, double *count) {
    *count = self->late_count > 0 ? self->late_count : self->all_count;
    return (self->late_count > 0 ? self->late_sum : self->all_sum) / *count;
}

/* Standard deviation within, over all items. */
static double pooled_deviation(const moments_table *self) {
    double squares = 0;
    double freedom = 0;
    for (uint32_t i = 0; i < self->items.count; i++) {
        const moments *it = list_at(&self->items, i);
        if (it->count < 2)
            continue;
        squares += fmax(0, it->squares - it->sum * it->sum / it->count);
        freedom += it->count - 1;
    }
    return sqrt(squares / fmax(1, freedom));
}

/* ---- Operations that call
 * ---------------------------------------------------------------------------------------------- */

typedef struct calling {
    uint32_t *spans;    /* operation -> spans in the normal period */
    uint32_t *calls;    /* … of those, with a call of another service */
    uint32_t *callee;   /* the operation that it calls, where that is always the same; EVIDENCE_NONE */
    double *duration;   /* mean logarithm of its duration */
    uint32_t *has_call; /* span -> calls seen below it */
} calling;

static void calling_free(calling *self) {
    free(self->spans);
    free(self->calls);
    free(self->callee);
    free(self->duration);
    free(self->has_call);
}

static bool span_is_remote(const work *self, const evidence_trace *trace, uint32_t at, uint32_t *parent) {
    const evidence_span *span = span_at(self, trace->first_span + at);
    if (span->parent < 0)
        return false;
    *parent = trace->first_span + (uint32_t)span->parent;
    return span_service(self, *parent) != span_service(self, trace->first_span + at);
}

static double log_ms(const work *self, double us) {
    return log(fmax(us, 0) / 1000 + self->parameters->time_floor_ms);
}

static void calling_learn_trace(const work *self, calling *into, const evidence_trace *trace, bool normal) {
    for (uint32_t i = 0; i < trace->span_count; i++) {
        uint32_t parent;
        const evidence_span *span = span_at(self, trace->first_span + i);
        if (normal) {
            into->spans[span->operation]++;
            into->duration[span->operation] += log_ms(self, span->duration_us);
        }
        if (!span_is_remote(self, trace, i, &parent))
            continue;
        into->has_call[parent]++;
        if (!normal)
            continue;
        uint32_t operation = span_at(self, parent)->operation;
        if (into->calls[operation]++ == 0)
            into->callee[operation] = span->operation;
        else if (into->callee[operation] != span->operation)
            into->callee[operation] = EVIDENCE_NONE;
    }
}

static bool calling_learn(const work *self, calling *into) {
    uint32_t operations = self->from->operation_count;
    size_t spans = 1;
    for (uint32_t t = 0; t < self->from->trace_count; t++) {
        size_t end = (size_t)self->from->traces[t].first_span + self->from->traces[t].span_count;
        spans = end > spans ? end : spans;
    }
    *into = (calling){.spans = calloc(operations + 1U, sizeof *into->spans),
                      .calls = calloc(operations + 1U, sizeof *into->calls),
                      .callee = calloc(operations + 1U, sizeof *into->callee),
                      .duration = calloc(operations + 1U, sizeof *into->duration),
                      .has_call = calloc(spans, sizeof *into->has_call)};
    if (into->spans == NULL || into->calls == NULL || into->callee == NULL || into->duration == NULL ||
        into->has_call == NULL)
        return false;
    for (uint32_t t = 0; t < self->from->trace_count; t++) {
        if (self->period[t] != 0)
            calling_learn_trace(self, into, &self->from->traces[t], self->period[t] == 1);
    }
    return true;
}

static bool operation_calls(const calling *self, uint32_t operation) {
    return self->calls[operation] > 0 && self->calls[operation] * 2U >= self->spans[operation];
}

/* ---- Self time
 * -------------------------------------------------------------------------------------------------------- */

static void self_times_collect(const work *self, const calling *calls, moments_table *into) {
    for (uint32_t t = 0; t < self->from->trace_count; t++) {
        const evidence_trace *trace = &self->from->traces[t];
        for (uint32_t i = 0; self->period[t] != 0 && i < trace->span_count; i++) {
            const evidence_span *span = span_at(self, trace->first_span + i);
            moments *it = table_at(into, (uint64_t)span->operation + 1);
            it->first = span->operation;
            double value = log_ms(self, span->self_us);
            if (self->period[t] == 1)
                moments_add(it, value);
            else if (!operation_calls(calls, span->operation))
                moments_add_window(it, value, trace->start_us + span->start_us >= self->late_trace_us);
        }
    }
}

static void self_times_score(work *self, const moments_table *table) {
    uint32_t services = self->from->service_count;
    double *weighted = calloc(services * 3U, sizeof *weighted);
    if (weighted == NULL) {
        self->out_of_memory = true;
        return;
    }
    double *weight = weighted + services;
    double *most = weight + services;
    double deviation = pooled_deviation(table);
    for (uint32_t i = 0; i < table->items.count; i++) {
        const moments *it = list_at(&table->items, i);
        if (it->count == 0 || it->all_count < self->parameters->least)
            continue;
        double count;
        double shift = window_mean(it, &count) - it->sum / it->count;
        double sure = fmax(0, shift - 2 * deviation / sqrt(count) - self->parameters->time_hinge);
        uint32_t service = self->from->operations[it->first].service;
        weighted[service] += sure * sqrt(count);
        weight[service] += sqrt(count);
        most[service] = fmax(most[service], sure);
        if (sure <= 0)
            continue;
        timing_finding *made = list_add(&self->timing_findings);
        *made = (timing_finding){.service = service,
                                 .operation = it->first,
                                 .shift = shift,
                                 .normal_ms = exp(it->sum / it->count) - self->parameters->time_floor_ms,
                                 .window_ms = exp(window_mean(it, &count)) - self->parameters->time_floor_ms,
                                 .spans = (uint32_t)it->all_count};
    }
    for (uint32_t s = 0; s < services; s++)
        *channel_of(self, s, CLUE_SELF_TIME) = weight[s] > 0 ? (weighted[s] / weight[s] + most[s]) / 2 : 0;
    free(weighted);
}

/* The first span in the window that took as long as only the shifted ones do. */
static void self_times_onset(work *self, const moments_table *table) {
    double *least_us = calloc(self->from->operation_count + 1U, sizeof *least_us);
    for (uint32_t i = 0; least_us != NULL && i < self->timing_findings.count; i++) {
        const timing_finding *it = list_at(&self->timing_findings, i);
        const moments *of = table_find(table, (uint64_t)it->operation + 1);
        if (of != NULL && it->shift > 0)
            least_us[it->operation] =
                1000 * (exp(of->sum / of->count + it->shift * 0.75) - self->parameters->time_floor_ms);
    }
    for (uint32_t t = 0; least_us != NULL && t < self->from->trace_count; t++) {
        const evidence_trace *trace = &self->from->traces[t];
        for (uint32_t i = 0; self->period[t] == 2 && i < trace->span_count; i++) {
            const evidence_span *span = span_at(self, trace->first_span + i);
            if (least_us[span->operation] > 0 && span->self_us >= least_us[span->operation])
                onset_note(self, span_service(self, trace->first_span + i),
                           (trace->start_us + span->start_us) / 1000);
        }
    }
    self->out_of_memory |= least_us == NULL;
    free(least_us);
}

/* ---- Gaps between client and server
 * ------------------------------------------------------------------------------------------------ */

typedef struct gaps {
    moments_table by_operation; /* (caller, callee's operation): the normal period */
    moments_table by_callee;    /* callee: a fallback */
    moments_table window;       /* (caller, callee) */
    double all_sum, all_count;
} gaps;

static void gap_note(const work *self, gaps *into, uint32_t trace, uint32_t from, uint32_t operation,
                     double gap_us, int64_t at_us, bool unanswered) {
    uint32_t to = self->from->operations[operation].service;
    uint64_t fine = mix64(mix64(from, 11), operation);
    double value = log_ms(self, gap_us);
    if (self->period[trace] == 1) {
        moments_add(table_at(&into->by_operation, fine), value);
        moments_add(table_at(&into->by_callee, (uint64_t)to + 1), value);
        into->all_sum += value;
        into->all_count++;
        return;
    }
    const moments *usual = table_find(&into->by_operation, fine);
    if (usual == NULL)
        usual = table_find(&into->by_callee, (uint64_t)to + 1);
    double normal = usual != NULL ? usual->sum / usual->count
                                  : (into->all_count > 0 ? into->all_sum / into->all_count : value);
    moments *edge = table_at(&into->window, ((uint64_t)from << 32 | to) + 1);
    edge->first = from;
    edge->second = to;
    edge->unanswered += unanswered;
    if (value - normal > self->parameters->time_hinge && (edge->first_us == 0 || at_us < edge->first_us))
        edge->first_us = at_us;
    moments_add_window(edge, value - normal, at_us >= self->late_trace_us);
}

static void gaps_of_trace(const work *self, const calling *calls, gaps *into, uint32_t t) {
    const evidence_trace *trace = &self->from->traces[t];
    for (uint32_t i = 0; i < trace->span_count; i++) {
        uint32_t index = trace->first_span + i;
        uint32_t parent;
        const evidence_span *span = span_at(self, index);
        int64_t at_us = trace->start_us + span->start_us;
        if (span_is_remote(self, trace, i, &parent))
            gap_note(self, into, t, span_service(self, parent), span->operation,
                     (double)span_at(self, parent)->duration_us - span->duration_us, at_us, false);
        /* A call that nobody answered: its wait beyond what the usual callee takes. */
        uint32_t callee = calls->callee[span->operation];
        if (calls->has_call[index] == 0 && callee != EVIDENCE_NONE && operation_calls(calls, span->operation))
            gap_note(self, into, t, span_service(self, index), callee,
                     span->duration_us - 1000 * (exp(calls->duration[callee] / calls->spans[callee]) -
                                                 self->parameters->time_floor_ms),
                     at_us, true);
    }
}

static void gaps_collect(const work *self, const calling *calls, gaps *into) {
    for (int period = 1; period <= 2; period++) {
        for (uint32_t t = 0; t < self->from->trace_count; t++) {
            if (self->period[t] == period)
                gaps_of_trace(self, calls, into, t);
        }
    }
}

static void gap_edges_make(work *self, const gaps *from) {
    double deviation = pooled_deviation(&from->by_operation);
    for (uint32_t i = 0; i < from->window.items.count; i++) {
        const moments *it = list_at(&from->window.items, i);
        double count;
        double shift = window_mean(it, &count);
        if (it->all_count < self->parameters->least)
            continue;
        gap_edge *made = list_add(&self->gap_edges);
        *made =
            (gap_edge){.from = it->first,
                       .to = it->second,
                       .shift = shift,
                       .anomaly = fmax(0, shift - 2 * deviation / sqrt(count) - self->parameters->time_hinge),
                       .calls = (uint32_t)it->all_count,
                       .unanswered = it->unanswered};
        if (made->anomaly > 0) {
            onset_note(self, it->first, it->first_us / 1000);
            onset_note(self, it->second, it->first_us / 1000);
        }
    }
}

/* Coverage times share: of a broken network all edges of the node are slow (coverage), and few others are
 * (share). That decides between a callee and its callers. */
static void gaps_score(work *self) {
    uint32_t services = self->from->service_count;
    double *sums = calloc(services * 4U, sizeof *sums);
    if (sums == NULL) {
        self->out_of_memory = true;
        return;
    }
    double *count = sums + services;
    double *in_sum = count + services;
    double *in_count = in_sum + services;
    double all = 1e-9;
    for (uint32_t i = 0; i < self->gap_edges.count; i++) {
        const gap_edge *edge = list_at(&self->gap_edges, i);
        all += edge->anomaly;
        sums[edge->from] += edge->anomaly;
        count[edge->from]++;
        sums[edge->to] += edge->anomaly;
        count[edge->to]++;
        in_sum[edge->to] += edge->anomaly;
        in_count[edge->to]++;
    }
    for (uint32_t s = 0; s < services; s++) {
        double coverage = fmax(sums[s] / fmax(1, count[s]), in_sum[s] / fmax(1, in_count[s]));
        *channel_of(self, s, CLUE_NETWORK) = coverage * sums[s] / all;
    }
    free(sums);
}

void timing_compare(work *self) {
    calling calls = {0};
    moments_table selves;
    gaps found = {0};
    table_init(&selves);
    table_init(&found.by_operation);
    table_init(&found.by_callee);
    table_init(&found.window);
    if (calling_learn(self, &calls)) {
        self_times_collect(self, &calls, &selves);
        self_times_score(self, &selves);
        self_times_onset(self, &selves);
        gaps_collect(self, &calls, &found);
        gap_edges_make(self, &found);
        gaps_score(self);
    } else {
        self->out_of_memory = true;
    }
    self->out_of_memory |= selves.items.failed || found.by_operation.items.failed ||
                           found.by_callee.items.failed || found.window.items.failed;
    table_free(&selves);
    table_free(&found.by_operation);
    table_free(&found.by_callee);
    table_free(&found.window);
    calling_free(&calls);
}
