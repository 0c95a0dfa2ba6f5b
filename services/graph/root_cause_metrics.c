/* Metrics: levels of resources that moved, and — where a window has no traces — latencies and calls that the
 * callees do not explain. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root_cause_internal.h"

/* What a moved metric of each kind says about its own node. Latency and errors of a node are symptoms as a
 * rule, so that they only break ties; work and bytes are what others cause. */
static const double kind_weights[METRIC_KINDS] = {
    [METRIC_CPU] = 1,
    [METRIC_MEMORY] = 1,
    [METRIC_SATURATION] = 1,
    [METRIC_IO] = 0.5,
    [METRIC_NETWORK] = 0.25,
    [METRIC_LATENCY] = 0.02,
    [METRIC_LATENCY_MEAN] = 0.02,
    [METRIC_ERRORS] = 0.02,
    [METRIC_AVAILABILITY] = 0.02,
};

#define LEAST_POINTS 3U
#define FLEET_LEAST 5U /* nodes from which there is a shift of the fleet */

static int number_order(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

double quantile_of(double *values, size_t count, double quantile) {
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, number_order);
    double rank = quantile * (double)(count - 1);
    size_t below = (size_t)rank;
    double part = rank - (double)below;
    return below + 1 < count ? values[below] + part * (values[below + 1] - values[below]) : values[below];
}

double median_of(double *values, size_t count) {
    return quantile_of(values, count, 0.5);
}

/* Points of a series in [from, to), as numbers into `out`; availability is read as its lack. */
static size_t points_between(const evidence_series *series, int64_t from_ms, int64_t to_ms, double *out) {
    size_t count = 0;
    for (uint32_t i = 0; i < series->count; i++) {
        const evidence_point *point = &series->points[i];
        if (point->time_ms < from_ms || point->time_ms >= to_ms || !isfinite(point->value))
            continue;
        double whole = point->value > 1.5 ? 100 : 1;
        out[count++] = series->kind == METRIC_AVAILABILITY ? fmax(0, 1 - point->value / whole) : point->value;
    }
    return count;
}

/* ---- Levels before and after
 * ---------------------------------------------------------------------------------------------- */

typedef struct level {
    uint32_t series;
    double before, usual_high, usual_low, noise;
    double recent; /* just before the window; NAN */
    double after;
    int64_t at_ms;
    double shift, deviations;
} level;

/* The median of whichever half of the window moved more: a fault that begins or ends inside of it shows. */
static double level_after(double *values, size_t count, double before) {
    if (count < 4)
        return median_of(values, count);
    double first = median_of(values, count / 2);
    double second = median_of(values + count / 2, count - count / 2);
    return fabs(first - before) > fabs(second - before) ? first : second;
}

static int64_t level_onset(const work *self, const evidence_series *series, const level *of) {
    double middle = (of->before + of->after) / 2;
    for (uint32_t i = 0; i < series->count; i++) {
        const evidence_point *point = &series->points[i];
        bool beyond = of->after > of->before ? point->value >= middle : point->value <= middle;
        if (point->time_ms >= self->question->from_ms && point->time_ms <= self->question->to_ms && beyond)
            return point->time_ms;
    }
    return 0;
}

static bool level_measure(const work *self, uint32_t index, double *room, level *out) {
    const evidence_series *series = &self->from->series[index];
    size_t before = points_between(series, self->question->normal_from_ms, self->question->from_ms, room);
    if (before < LEAST_POINTS)
        return false;
    *out = (level){.series = index};
    out->before = median_of(room, before);
    out->usual_high = quantile_of(room, before, 0.9);
    out->usual_low = quantile_of(room, before, 0.1);
    out->noise = (quantile_of(room, before, 0.75) - quantile_of(room, before, 0.25)) / 1.349;
    int64_t recent_ms = self->question->from_ms - (int64_t)(self->parameters->recent_s * 1000);
    size_t just_before = points_between(series, recent_ms, self->question->from_ms, room);
    out->recent = just_before < LEAST_POINTS ? out->before : median_of(room, just_before);
    size_t after = points_between(series, self->question->from_ms, self->question->to_ms + 1, room);
    if (after == 0)
        return false;
    out->after = level_after(room, after, out->before);
    out->at_ms = level_onset(self, series, out);
    return true;
}

/* The shift beyond what is usual: from the ninth decile of the normal period upwards, from the first
 * downwards. A level that was already there just before the window is none of the incident's. */
static void level_shift(const work *self, level *of, double top) {
    double floor = self->parameters->metric_floor * top + 1e-12;
    bool up = of->after > of->before;
    double from = up ? fmax(of->usual_high, of->recent) : fmin(of->usual_low, of->recent);
    from = up ? fmin(from, of->after) : fmax(from, of->after);
    of->shift = log((fmax(of->after, 0) + floor) / (fmax(from, 0) + floor));
    of->deviations = fabs(of->after - of->before) /
                     (of->noise + self->parameters->metric_level * fabs(of->before) + 1e-12);
}

static double level_value(const work *self, const level *of, double fleet) {
    const root_cause_parameters *p = self->parameters;
    double shift = of->shift - fleet;
    double risen = shift > 0 ? shift : -p->metric_fall * shift;
    double squared = of->deviations * of->deviations;
    return kind_weights[self->from->series[of->series].kind] * risen * squared /
           (squared + p->metric_noise * p->metric_noise);
}

/* ---- Resources
 * -------------------------------------------------------------------------------------------------------- */

/* Everything that has the same metric: what moved with the whole fleet is no one's own. */
static void metric_score(work *self, level *levels, size_t count) {
    double top = 0;
    for (size_t i = 0; i < count; i++)
        top = fmax(top, fmax(levels[i].before, levels[i].after));
    double *shifts = calloc(count + 1, sizeof *shifts);
    if (shifts == NULL) {
        self->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        level_shift(self, &levels[i], top);
        shifts[i] = levels[i].shift;
    }
    double fleet = count >= FLEET_LEAST ? median_of(shifts, count) : 0;
    free(shifts);
    for (size_t i = 0; i < count; i++) {
        uint32_t service = self->from->series[levels[i].series].service;
        double value = level_value(self, &levels[i], fleet);
        double *channel = channel_of(self, service, CLUE_RESOURCE);
        *channel = fmax(*channel, value);
        metric_finding *made = list_add(&self->metric_findings);
        *made = (metric_finding){.service = service,
                                 .series = levels[i].series,
                                 .value = value,
                                 .shift = levels[i].shift,
                                 .deviations = levels[i].deviations,
                                 .before = levels[i].before,
                                 .after = levels[i].after,
                                 .at_ms = levels[i].at_ms};
    }
}

typedef struct named_series {
    const char *metric;
    uint32_t index;
} named_series;

static int name_order(const void *a, const void *b) {
    const named_series *left = a;
    const named_series *right = b;
    int order = strcmp(left->metric, right->metric);
    return order != 0 ? order : (left->index < right->index ? -1 : left->index > right->index);
}

static uint32_t longest_series(const work *self) {
    uint32_t most = 1;
    for (uint32_t i = 0; i < self->from->series_count; i++)
        most = self->from->series[i].count > most ? self->from->series[i].count : most;
    return most;
}

static void resources_measure(work *self, const named_series *names, size_t count, double *room,
                              level *levels) {
    for (size_t first = 0; first < count;) {
        size_t levels_count = 0;
        size_t at = first;
        for (; at < count && strcmp(names[at].metric, names[first].metric) == 0; at++)
            levels_count += level_measure(self, names[at].index, room, &levels[levels_count]);
        metric_score(self, levels, levels_count);
        first = at;
    }
}

void resources_compare(work *self) {
    const evidence *from = self->from;
    named_series *names = calloc(from->series_count + 1U, sizeof *names);
    level *levels = calloc(from->series_count + 1U, sizeof *levels);
    double *room = calloc(longest_series(self), sizeof *room);
    size_t count = 0;
    if (names == NULL || levels == NULL || room == NULL) {
        self->out_of_memory = true;
    } else {
        for (uint32_t i = 0; i < from->series_count; i++) {
            if (kind_weights[from->series[i].kind] > 0)
                names[count++] = (named_series){.metric = from->series[i].metric, .index = i};
        }
        qsort(names, count, sizeof *names, name_order);
        resources_measure(self, names, count, room, levels);
    }
    free(names);
    free(levels);
    free(room);
}

/* ---- Levels without traces
 * ----------------------------------------------------------------------------------------------- */

typedef struct node_levels {
    double *server, *client; /* log shift of latency; 0 where nothing rose */
    double *calls_before, *calls_after;
    double *starved; /* log fall of calls below what the callers' work lets expect */
} node_levels;

typedef struct best_series {
    const evidence_series *series; /* NULL: the node has none */
} best_series;

/* Of the percentiles that a node publishes, the one nearest to the 90th: the tail without its extremes. */
static bool series_is_better(const evidence_series *one, const evidence_series *than) {
    return than == NULL || fabs(one->quantile - 0.9) < fabs(than->quantile - 0.9);
}

static double late_median(const work *self, const evidence_series *series, double *room) {
    size_t count = points_between(series, self->late_us / 1000, self->question->to_ms + 1, room);
    return count == 0 ? NAN : median_of(room, count);
}

static double normal_median(const work *self, const evidence_series *series, double *room) {
    size_t count = points_between(series, self->question->normal_from_ms, self->question->from_ms, room);
    return count < LEAST_POINTS ? NAN : median_of(room, count);
}

/* Late and normal level of the best series of a kind, per node; NAN where there is none. */
static void levels_of_kind(const work *self, metric_kind kind, best_series *best, double *room,
                           double *before, double *after) {
    uint32_t services = self->from->service_count;
    memset(best, 0, services * sizeof *best);
    for (uint32_t i = 0; i < self->from->series_count; i++) {
        const evidence_series *series = &self->from->series[i];
        if (series->kind == kind && series_is_better(series, best[series->service].series))
            best[series->service].series = series;
    }
    for (uint32_t s = 0; s < services; s++) {
        before[s] = best[s].series == NULL ? NAN : normal_median(self, best[s].series, room);
        after[s] = best[s].series == NULL ? NAN : late_median(self, best[s].series, room);
    }
}

static void latency_shift(const work *self, const double *before, const double *after, double *out) {
    double top = 0;
    for (uint32_t s = 0; s < self->from->service_count; s++)
        top = fmax(top, fmax(before[s], after[s]));
    double floor = self->parameters->metric_floor * top + 1e-12;
    for (uint32_t s = 0; s < self->from->service_count; s++) {
        double shift = log((after[s] + floor) / (before[s] + floor)) - self->parameters->time_hinge;
        out[s] = isfinite(shift) && shift > 0 ? shift : 0;
    }
}

/* Calls that vanish although the callers still work. */
static void starved_find(const work *self, node_levels *of) {
    uint32_t services = self->from->service_count;
    double *expected = calloc(services * 2U, sizeof *expected);
    if (expected == NULL)
        return;
    double *usual = expected + services;
    double top = 0;
    for (uint32_t i = 0; i < self->from->edge_count; i++) {
        const evidence_edge *edge = &self->from->edges[i];
        expected[edge->to] += isfinite(of->calls_after[edge->from]) ? of->calls_after[edge->from] : 0;
        usual[edge->to] += isfinite(of->calls_before[edge->from]) ? of->calls_before[edge->from] : 0;
    }
    for (uint32_t s = 0; s < services; s++)
        top = fmax(top, fmax(of->calls_before[s], of->calls_after[s]));
    double floor = self->parameters->metric_floor * top + 1e-12;
    for (uint32_t s = 0; s < services; s++) {
        if (usual[s] <= 0 || !isfinite(of->calls_before[s]) || !isfinite(of->calls_after[s]))
            continue;
        double expect = of->calls_before[s] * expected[s] / usual[s];
        of->starved[s] =
            fmax(0, -log((of->calls_after[s] + floor) / (expect + floor)) - self->parameters->time_hinge);
    }
    free(expected);
}

/* A node's own part: what rose at it and not at its callees, or what all its callers wait for and nothing
 * behind them explains. And a caller is looked at whose callees starve. One pass over the calls for each. */
static void levels_score(work *self, const node_levels *of, double *room) {
    uint32_t services = self->from->service_count;
    double *behind = room; /* the largest rise among the callees */
    double *waited = room + services;
    double *others = room + 2U * services;
    double *callers = room + 3U * services;
    double *starving = room + 4U * services;
    double *starving_most = room + 5U * services;
    double all = 0;
    for (uint32_t s = 0; s < services; s++) {
        behind[s] = -1; /* calls nobody */
        waited[s] = INFINITY;
        others[s] = of->server[s];
        all += of->starved[s];
    }
    for (uint32_t i = 0; i < self->from->edge_count; i++) {
        const evidence_edge *edge = &self->from->edges[i];
        behind[edge->from] = fmax(behind[edge->from], of->server[edge->to]);
        waited[edge->to] = fmin(waited[edge->to], of->client[edge->from]);
        callers[edge->to]++;
    }
    for (uint32_t i = 0; i < self->from->edge_count; i++) {
        const evidence_edge *edge = &self->from->edges[i];
        others[edge->to] = fmax(others[edge->to], behind[edge->from]);
        double starved = of->starved[edge->to];
        starving[edge->from] += starved;
        starving_most[edge->from] =
            fmax(starving_most[edge->from], starved * (callers[edge->to] <= 1 ? 1 : 0.5));
    }
    for (uint32_t s = 0; s < services; s++) {
        double explained = behind[s] < 0 ? 0 : fmax(behind[s], of->client[s]);
        double gap = isfinite(waited[s]) ? waited[s] - others[s] : 0;
        *channel_of(self, s, CLUE_LEVEL) = fmax(0, fmax(of->server[s] - explained, gap)) +
                                           (all > 0 ? starving_most[s] * starving[s] / all : 0);
    }
}

/* Only where nothing better is there: no trace in the window, and no curves to share out. */
void levels_compare(work *self) {
    uint32_t services = self->from->service_count;
    if (self->window_traces > 0 || self->flow_used || self->from->edge_count == 0)
        return;
    double *numbers = calloc(services * 13U + 1, sizeof *numbers);
    best_series *best = calloc(services + 1U, sizeof *best);
    double *room = calloc(longest_series(self), sizeof *room);
    if (numbers == NULL || best == NULL || room == NULL) {
        self->out_of_memory = true;
    } else {
        double *before = numbers;
        double *after = numbers + services;
        node_levels of = {.server = numbers + 2U * services,
                          .client = numbers + 3U * services,
                          .calls_before = numbers + 4U * services,
                          .calls_after = numbers + 5U * services,
                          .starved = numbers + 6U * services};
        levels_of_kind(self, METRIC_LATENCY, best, room, before, after);
        latency_shift(self, before, after, of.server);
        levels_of_kind(self, METRIC_LATENCY_CLIENT, best, room, before, after);
        latency_shift(self, before, after, of.client);
        levels_of_kind(self, METRIC_REQUESTS, best, room, of.calls_before, of.calls_after);
        starved_find(self, &of);
        levels_score(self, &of, numbers + 7U * services);
        self->level_used = true;
    }
    free(numbers);
    free(best);
    free(room);
}
