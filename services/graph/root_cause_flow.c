/* Flow: the symptom's curve, shared out. Where latency or availability, request counts and calls are known,
 * every node adds n x latency (or n x errors) to its callers; what it adds itself is that less the parts of
 * the callees that it waits for. The contrast of the symptom's own curve says how much of its rise each node
 * explains. n is constant, so that a change of traffic carries no blame. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root_cause_internal.h"

#define ROWS_MAX 512U
#define NORMAL_LEAST 20U /* points from which there is a normal level */

typedef enum curve_kind {
    CURVE_LATENCY,
    CURVE_P99,
    CURVE_ERRORS,
    CURVE_REQUESTS,
    CURVES,
} curve_kind;

typedef struct flow_node {
    double *curve[CURVES];  /* a value per row, NAN where there is none; NULL: no such metric */
    double normal[CURVES];  /* median of the normal period; NAN */
    double normal_requests; /* mean a row of the normal period; NAN */
    double calls;           /* mean a row of the window */
    double reach;  /* 1 along synchronous calls from the symptom, less across queues; 0: not reached */
    double *total; /* of the kind that is looked at: a value per row and the normal one; NULL */
} flow_node;

typedef struct flow {
    work *of;
    flow_node *nodes;
    int64_t *rows;
    uint32_t row_count;
    uint32_t symptom;
    double *contrast;
    bool failed;
    list kept; /* double *: all that is to be freed */
} flow;

static double *numbers_new(flow *self, size_t count) {
    double *made = calloc(count + 1, sizeof *made);
    double **slot = list_add(&self->kept);
    if (made == NULL || self->kept.failed) {
        free(made);
        self->failed = true;
        return NULL;
    }
    *slot = made;
    return made;
}

/* ---- Curves
 * ---------------------------------------------------------------------------------------------------------
 */

static bool curve_of(const evidence_series *series, curve_kind *out) {
    switch (series->kind) {
    case METRIC_LATENCY_MEAN:
        *out = CURVE_LATENCY;
        return true;
    case METRIC_AVAILABILITY:
        *out = CURVE_ERRORS;
        return true;
    case METRIC_REQUESTS:
        *out = CURVE_REQUESTS;
        return true;
    case METRIC_LATENCY:
        *out = CURVE_P99;
        return series->quantile > 0.985 && series->quantile < 0.995;
    default:
        return false;
    }
}

static int time_order(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static bool in_window(const flow *self, int64_t time_ms) {
    return time_ms >= self->of->question->from_ms && time_ms <= self->of->question->to_ms;
}

static void rows_find(flow *self) {
    key_map seen = {0};
    list rows;
    list_init(&rows, sizeof(int64_t));
    for (uint32_t i = 0; i < self->of->from->series_count && rows.count < ROWS_MAX; i++) {
        const evidence_series *series = &self->of->from->series[i];
        curve_kind kind;
        for (uint32_t k = 0; curve_of(series, &kind) && k < series->count && rows.count < ROWS_MAX; k++) {
            int64_t time_ms = series->points[k].time_ms;
            if (in_window(self, time_ms) && key_map_add(&seen, (uint64_t)time_ms, rows.count) == rows.count)
                *(int64_t *)list_add(&rows) = time_ms;
        }
    }
    self->failed |= rows.failed || seen.failed;
    key_map_free(&seen);
    if (rows.count > 1)
        qsort(rows.items, rows.count, sizeof(int64_t), time_order);
    self->rows = rows.items;
    self->row_count = self->failed ? 0 : rows.count;
}

static void curve_fill(flow *self, const evidence_series *series, curve_kind kind, double *room) {
    flow_node *node = &self->nodes[series->service];
    double *curve = numbers_new(self, self->row_count);
    if (curve == NULL)
        return;
    for (uint32_t r = 0; r < self->row_count; r++)
        curve[r] = NAN;
    size_t normal = 0;
    double sum = 0;
    for (uint32_t k = 0; k < series->count; k++) {
        double value = series->points[k].value;
        int64_t time_ms = series->points[k].time_ms;
        if (kind == CURVE_ERRORS)
            value = value > 1.5 ? 1 - value / 100 : 1 - value;
        if (time_ms < self->of->question->from_ms && time_ms >= self->of->question->normal_from_ms) {
            sum += value;
            room[normal++] = value;
        }
        const int64_t *row = in_window(self, time_ms) ? bsearch(&time_ms, self->rows, self->row_count,
                                                                sizeof *self->rows, time_order)
                                                      : NULL;
        if (row != NULL)
            curve[row - self->rows] = value;
    }
    node->curve[kind] = curve;
    node->normal[kind] = normal >= NORMAL_LEAST ? median_of(room, normal) : NAN;
    if (kind == CURVE_REQUESTS)
        node->normal_requests = normal >= NORMAL_LEAST ? sum / (double)normal : NAN;
}

static void curves_fill(flow *self) {
    uint32_t longest = 1;
    for (uint32_t i = 0; i < self->of->from->series_count; i++)
        longest = self->of->from->series[i].count > longest ? self->of->from->series[i].count : longest;
    double *room = numbers_new(self, longest);
    for (uint32_t s = 0; s < self->of->from->service_count; s++)
        self->nodes[s].normal_requests = NAN;
    for (uint32_t i = 0; room != NULL && i < self->of->from->series_count; i++) {
        curve_kind kind;
        if (curve_of(&self->of->from->series[i], &kind))
            curve_fill(self, &self->of->from->series[i], kind, room);
    }
    for (uint32_t s = 0; s < self->of->from->service_count; s++) {
        const double *requests = self->nodes[s].curve[CURVE_REQUESTS];
        for (uint32_t r = 0; requests != NULL && r < self->row_count; r++)
            self->nodes[s].calls += isnan(requests[r]) ? 0 : requests[r] / self->row_count;
    }
}

/* Median, least, most of what is there; NAN of nothing. */
static double curve_median(flow *self, const double *curve, uint32_t count) {
    double *room = numbers_new(self, count);
    size_t there = 0;
    for (uint32_t r = 0; room != NULL && r < count; r++) {
        if (!isnan(curve[r]))
            room[there++] = curve[r];
    }
    return there == 0 ? NAN : median_of(room, there);
}

static double curve_extreme(const flow *self, const double *curve, bool most) {
    double found = NAN;
    for (uint32_t r = 0; r < self->row_count; r++)
        found = most ? fmax(found, curve[r]) : fmin(found, curve[r]);
    return found;
}

/* ---- The calls
 * -------------------------------------------------------------------------------------------------------- */

/* A callee that is slower than the caller's 99th percentile cannot be waited for. */
static bool edge_waits(const flow *self, const evidence_edge *edge) {
    const flow_node *caller = &self->nodes[edge->from];
    const flow_node *callee = &self->nodes[edge->to];
    if (callee->curve[CURVE_LATENCY] == NULL || caller->curve[CURVE_P99] == NULL)
        return true;
    double least = curve_extreme(self, callee->curve[CURVE_LATENCY], false);
    least = isnan(least) ? 0 : least;
    double usual = callee->normal[CURVE_LATENCY];
    double most = curve_extreme(self, caller->curve[CURVE_P99], true);
    return isnan(most) || !(fmin(least, isnan(usual) ? least : usual) > most);
}

static void reach_find(flow *self, const bool *waits) {
    self->nodes[self->symptom].reach = 1;
    bool changed = true;
    for (uint32_t rounds = 0; changed && rounds < self->of->from->service_count; rounds++) {
        changed = false;
        for (uint32_t i = 0; i < self->of->from->edge_count; i++) {
            const evidence_edge *edge = &self->of->from->edges[i];
            double reach = self->nodes[edge->from].reach * (waits[i] ? 1 : self->of->parameters->flow_queue);
            if (reach > self->nodes[edge->to].reach + 1e-9) {
                self->nodes[edge->to].reach = reach;
                changed = true;
            }
        }
    }
}

/* ---- Blame
 * ------------------------------------------------------------------------------------------------------------
 */

/* Calls that are charged to the callee itself: those that it also gets normally. New ones are its callers'.
 */
static double calls_charged(flow *self, uint32_t service) {
    const flow_node *node = &self->nodes[service];
    const flow_node *symptom = &self->nodes[self->symptom];
    double usual = 0;
    bool known = false;
    if (service == self->symptom)
        return node->calls;
    if (!isnan(node->normal_requests) && !isnan(symptom->normal_requests)) {
        usual = node->normal_requests / fmax(symptom->normal_requests, 1e-9) * fmax(symptom->calls, 1e-9);
        known = true;
    }
    double *quiet = numbers_new(self, self->row_count);
    size_t count = 0;
    for (uint32_t r = 0; quiet != NULL && r < self->row_count; r++) {
        double requests = node->curve[CURVE_REQUESTS] == NULL ? 0 : node->curve[CURVE_REQUESTS][r];
        if (self->contrast[r] <= 0)
            quiet[count++] = isnan(requests) ? 0 : requests;
    }
    if (count > 0)
        usual = fmax(usual, median_of(quiet, count));
    known |= count > 0;
    return !known || usual >= 0.5 * node->calls ? node->calls : usual;
}

/* A value per row, holes filled with the normal one, and the normal one behind them. */
static double *curve_whole(flow *self, uint32_t service, curve_kind kind) {
    const flow_node *node = &self->nodes[service];
    double *made = numbers_new(self, self->row_count + 1);
    double middle = node->curve[kind] == NULL ? NAN : curve_median(self, node->curve[kind], self->row_count);
    if (made == NULL || node->curve[kind] == NULL || isnan(middle))
        return NULL;
    double fill = isnan(node->normal[kind]) ? middle : node->normal[kind];
    for (uint32_t r = 0; r < self->row_count; r++)
        made[r] = isnan(node->curve[kind][r]) ? fill : node->curve[kind][r];
    made[self->row_count] = fill;
    return made;
}

/* How far each row of the symptom's curve lies above its mean; the sum of its squares, 0 when it is flat. */
static double contrast_find(flow *self, curve_kind kind) {
    double *curve = curve_whole(self, self->symptom, kind);
    self->contrast = numbers_new(self, self->row_count + 1);
    if (curve == NULL || self->contrast == NULL)
        return 0;
    double calls = self->nodes[self->symptom].calls;
    bool normal = !isnan(self->nodes[self->symptom].normal[kind]);
    uint32_t count = self->row_count + (normal ? 1 : 0);
    double mean = 0;
    for (uint32_t r = 0; r < count; r++) {
        curve[r] *= calls > 0 ? calls : 1;
        mean += curve[r] / count;
    }
    double all = 0;
    for (uint32_t r = 0; r < count; r++) {
        self->contrast[r] = curve[r] - mean;
        all += self->contrast[r] * curve[r];
    }
    return all;
}

static double projected(const flow *self, const double *curve) {
    double sum = 0;
    for (uint32_t r = 0; r <= self->row_count; r++)
        sum += self->contrast[r] * curve[r];
    return sum;
}

static void totals_find(flow *self, curve_kind kind) {
    for (uint32_t s = 0; s < self->of->from->service_count; s++) {
        flow_node *node = &self->nodes[s];
        node->total = curve_whole(self, s, kind);
        double calls = node->total == NULL ? 0 : calls_charged(self, s);
        for (uint32_t r = 0; node->total != NULL && r <= self->row_count; r++)
            node->total[r] *= calls;
    }
}

/* What the nodes that each waits for add to it: their projections and medians, by share. */
typedef struct callee_sums {
    double *projection, *median; /* per node, of its own total */
    double *callees_projection, *callees_median;
} callee_sums;

static bool callee_sums_find(flow *self, callee_sums *out, const bool *waits, const double *shares) {
    uint32_t services = self->of->from->service_count;
    *out = (callee_sums){.projection = numbers_new(self, services),
                         .median = numbers_new(self, services),
                         .callees_projection = numbers_new(self, services),
                         .callees_median = numbers_new(self, services)};
    if (out->projection == NULL || out->median == NULL || out->callees_projection == NULL ||
        out->callees_median == NULL)
        return false;
    for (uint32_t s = 0; s < services; s++) {
        const double *total = self->nodes[s].total;
        out->projection[s] = total == NULL ? 0 : projected(self, total);
        out->median[s] = total == NULL ? 0 : curve_median(self, total, self->row_count + 1);
    }
    for (uint32_t i = 0; i < self->of->from->edge_count; i++) {
        const evidence_edge *edge = &self->of->from->edges[i];
        if (edge->from == edge->to || self->nodes[edge->to].total == NULL || !waits[i])
            continue;
        out->callees_projection[edge->from] += shares[i] * out->projection[edge->to];
        out->callees_median[edge->from] += shares[i] * out->median[edge->to];
    }
    return true;
}

static void blame(flow *self, curve_kind kind, double weight, const bool *waits, const double *shares) {
    callee_sums sums = {0};
    double all = contrast_find(self, kind);
    if (all <= 1e-15)
        return;
    totals_find(self, kind);
    if (!callee_sums_find(self, &sums, waits, shares))
        return;
    self->of->flow_used = true;
    for (uint32_t s = 0; s < self->of->from->service_count; s++) {
        if (self->nodes[s].total == NULL || self->nodes[s].reach <= 0)
            continue;
        /* Callees whose calls overlap take more than the caller waits: their sum is cut to what it takes. */
        double part = sums.callees_median[s] > 0 && kind == CURVE_LATENCY
                          ? fmin(1, sums.median[s] / sums.callees_median[s])
                          : 1;
        double raw = sums.projection[s] / all;
        double own = raw - part * sums.callees_projection[s] / all;
        if (raw > 0)
            own *= fmin(1, fmax(own, 0) / raw);
        double value = fmin(fmax(own, 0), 1) * weight * self->nodes[s].reach;
        *channel_of(self->of, s, CLUE_FLOW) += self->of->parameters->flow * value;
        if (value <= 0.01)
            continue;
        flow_finding *made = list_add(&self->of->flow_findings);
        *made = (flow_finding){.service = s,
                               .share = value,
                               .raw = raw,
                               .kind = kind == CURVE_LATENCY ? SYMPTOM_LATENCY : SYMPTOM_AVAILABILITY};
    }
}

/* ---- All together
 * ------------------------------------------------------------------------------------------------------- */

/* The node where users feel it, when none is named: the busiest that nobody calls. */
static uint32_t symptom_guess(flow *self) {
    uint32_t services = self->of->from->service_count;
    double *called = numbers_new(self, services);
    double *calls = numbers_new(self, services);
    uint32_t found = EVIDENCE_NONE;
    if (self->failed)
        return found;
    for (uint32_t i = 0; i < self->of->from->edge_count; i++) {
        const evidence_edge *edge = &self->of->from->edges[i];
        called[edge->to] += edge->from != edge->to;
        calls[edge->from]++;
    }
    for (uint32_t s = 0; s < services; s++) {
        if (called[s] == 0 && calls[s] > 0 && self->nodes[s].calls > 0 &&
            (found == EVIDENCE_NONE || self->nodes[s].calls > self->nodes[found].calls))
            found = s;
    }
    return found;
}

/* Which calls are waited for; and a callee's calls come from its callers in proportion to what these do. */
static void edges_judge(flow *self, bool *waits, double *shares) {
    double *all = numbers_new(self, self->of->from->service_count);
    double *callers = numbers_new(self, self->of->from->service_count);
    for (uint32_t i = 0; !self->failed && i < self->of->from->edge_count; i++) {
        const evidence_edge *edge = &self->of->from->edges[i];
        waits[i] = edge_waits(self, edge);
        if (edge->from == edge->to)
            continue;
        all[edge->to] += self->nodes[edge->from].calls;
        callers[edge->to]++;
    }
    for (uint32_t i = 0; !self->failed && i < self->of->from->edge_count; i++) {
        const evidence_edge *edge = &self->of->from->edges[i];
        shares[i] = all[edge->to] > 0 ? self->nodes[edge->from].calls / all[edge->to]
                                      : 1 / fmax(1, callers[edge->to]);
    }
}

static void flow_run(flow *self) {
    const root_cause_question *question = self->of->question;
    bool *waits = calloc(self->of->from->edge_count + 1U, sizeof *waits);
    double *shares = calloc(self->of->from->edge_count + 1U, sizeof *shares);
    rows_find(self);
    if (waits == NULL || shares == NULL)
        self->failed = true;
    if (!self->failed && self->row_count >= 3) {
        curves_fill(self);
        self->symptom = question->symptom != EVIDENCE_NONE ? question->symptom : symptom_guess(self);
    }
    if (!self->failed && self->symptom != EVIDENCE_NONE && self->nodes[self->symptom].calls > 0) {
        edges_judge(self, waits, shares);
        reach_find(self, waits);
        double other = question->kind == SYMPTOM_UNKNOWN ? 1 : self->of->parameters->flow_other;
        bool errors = question->kind == SYMPTOM_AVAILABILITY;
        blame(self, CURVE_LATENCY, errors ? other : 1, waits, shares);
        blame(self, CURVE_ERRORS, errors ? 1 : other, waits, shares);
    }
    free(waits);
    free(shares);
}

static bool curves_are_there(const work *self) {
    bool mean = false;
    bool requests = false;
    for (uint32_t i = 0; i < self->from->series_count; i++) {
        mean |= self->from->series[i].kind == METRIC_LATENCY_MEAN;
        requests |= self->from->series[i].kind == METRIC_REQUESTS;
    }
    return mean && requests && self->from->edge_count > 0;
}

void flow_compare(work *self) {
    if (!curves_are_there(self))
        return;
    flow it = {.of = self, .symptom = EVIDENCE_NONE};
    it.nodes = calloc(self->from->service_count + 1U, sizeof *it.nodes);
    list_init(&it.kept, sizeof(double *));
    if (it.nodes == NULL)
        it.failed = true;
    else
        flow_run(&it);
    self->out_of_memory |= it.failed || self->flow_findings.failed;
    for (uint32_t i = 0; i < it.kept.count; i++)
        free(*(double **)list_at(&it.kept, i));
    list_free(&it.kept);
    free(it.nodes);
    free(it.rows);
}
