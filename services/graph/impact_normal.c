/* Latencies come from sketches where spans were measured, and from metrics where they were not. */
#include "impact_normal.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "evidence.h"

#define SLOT_MS 900000 /* levels of a quarter of an hour are compared: shorter ones are mostly noise */
#define SLOTS_LEAST 3U
#define DRIFT_RATIO 1.5
#define P90_LOW 0.85
#define P90_HIGH 0.92
#define REFRESH_LEAST_MS 1000U
#define REFRESH_PART 50U /* of the time may go into it */
#define SERIES_LOOKED_AT 128U
#define LEVELS_MAX (SIGNALS_POINTS_MAX * 8U)

struct normals {
    telemetry *from;
    const model *traffic;
    const chance *source;
    pthread_mutex_t lock;
    propagation_latency *latencies; /* by number of the model */
    uint32_t count;
    uint64_t made_ms, next_ms; /* boot time */
};

/* ---- Drift ---- */

static int level_compare(const void *left, const void *right) {
    const weighted_level *a = left;
    const weighted_level *b = right;
    return a->level < b->level ? -1 : a->level > b->level;
}

double levels_drift(weighted_level *levels, size_t count) {
    double total = 0;
    double larger = 0;
    double below = 0;
    qsort(levels, count, sizeof *levels, level_compare);
    for (size_t i = 0, j = 0; i < count; i++) {
        while (j < count && levels[j].level * DRIFT_RATIO <= levels[i].level)
            below += levels[j++].weight;
        larger += levels[i].weight * below;
        total += levels[i].weight;
    }
    return total > 0 ? larger / (total * total) : -1;
}

static double levels_median(const weighted_level *levels, size_t count) {
    double total = 0;
    double below = 0;
    for (size_t i = 0; i < count; i++)
        total += levels[i].weight;
    for (size_t i = 0; i < count; i++)
        if ((below += levels[i].weight) * 2 >= total)
            return levels[i].level;
    return 0;
}

static int number_compare(const void *left, const void *right) {
    const double *a = left;
    const double *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* Without the highest and the lowest value: of an hour in one bucket, an outlier is not the level. */
static double point_level(const signal_point *point) {
    if (point->count > 4)
        return (point->sum - point->maximum - point->minimum) / (point->count - 2);
    return point->count > 0 ? point->sum / point->count : 0;
}

/* Levels of the buckets of a series, by slots of a quarter of an hour (their medians), sorted. Nothing
 * happened in a bucket of level zero. */
static size_t series_levels(const signals *from, uint32_t series, weighted_level *out, size_t room) {
    static _Thread_local signal_point points[SIGNALS_POINTS_MAX];
    double within[SLOT_MS / SIGNALS_FINE_MS + 1];
    size_t count = signals_points(from, series, INT64_MIN, INT64_MAX, points, SIGNALS_POINTS_MAX);
    size_t made = 0;
    for (size_t i = 0; i < count && made < room;) {
        int64_t slot = points[i].from_ms / SLOT_MS;
        double width = (double)points[i].width_ms / SLOT_MS;
        size_t used = 0;
        do {
            double level = point_level(&points[i]);
            if (level > 0 && used < sizeof within / sizeof *within)
                within[used++] = level;
            i++;
        } while (i < count && points[i].from_ms / SLOT_MS == slot && points[i].width_ms < SLOT_MS);
        if (used == 0)
            continue;
        qsort(within, used, sizeof *within, number_compare);
        out[made++] = (weighted_level){.level = within[used / 2], .weight = width > 1 ? width : 1};
    }
    qsort(out, made, sizeof *out, level_compare);
    return made;
}

/* Seconds, as OpenTelemetry has it, unless the unit or the name says otherwise. */
static double unit_ms(const signal_series *series) {
    bool milli = strcmp(series->unit, "ms") == 0 || strstr(series->name, "(ms)") != NULL ||
                 strstr(series->name, "_ms") != NULL || strstr(series->name, "millis") != NULL;
    return milli ? 1 : 1000;
}

/* The levels of one signal of all pods together: pods come and go, and the node is the same. */
static size_t signal_levels(const signals *from, const uint32_t *series, size_t count, const char *name,
                            weighted_level *out) {
    size_t made = 0;
    for (size_t i = 0; i < count && made < LEVELS_MAX; i++)
        if (strcmp(signals_series_at(from, series[i]).name, name) == 0)
            made += series_levels(from, series[i], out + made, LEVELS_MAX - made);
    qsort(out, made, sizeof *out, level_compare);
    return made;
}

/* Of the signal that the first of these series is of. */
static void signal_note(const signals *from, const uint32_t *all, size_t count, series_normal *out) {
    static _Thread_local weighted_level levels[LEVELS_MAX];
    signal_series series = signals_series_at(from, all[0]);
    double quantile = 0;
    metric_kind kind = metric_kind_of(series.name, &quantile);
    bool p90 = kind == METRIC_LATENCY && quantile > P90_LOW && quantile < P90_HIGH;
    if (!p90 && kind != METRIC_LATENCY_MEAN && kind != METRIC_REQUESTS)
        return;
    size_t made = signal_levels(from, all, count, series.name, levels);
    double median = levels_median(levels, made);
    if (kind == METRIC_REQUESTS) {
        out->requests += median;
        return;
    }
    if (p90)
        out->p90_ms = fmax(out->p90_ms, median * unit_ms(&series));
    else
        out->mean_ms = fmax(out->mean_ms, median * unit_ms(&series));
    if (made >= SLOTS_LEAST)
        out->drift = fmax(out->drift, levels_drift(levels, made));
}

series_normal series_normal_of(const signals *from, const char *node) {
    series_normal out = {.drift = -1};
    uint32_t series[SERIES_LOOKED_AT];
    uint32_t number = signals_node_find(from, node);
    if (number == SIGNALS_NONE)
        return out;
    size_t count = signals_of_node(from, number, series, SERIES_LOOKED_AT);
    for (size_t i = 0; i < count; i++) {
        const char *name = signals_series_at(from, series[i]).name;
        bool noted = false;
        for (size_t j = 0; j < i && !noted; j++)
            noted = strcmp(signals_series_at(from, series[j]).name, name) == 0;
        if (!noted)
            signal_note(from, series + i, count - i, &out);
    }
    return out;
}

/* ---- Latencies of what spans were measured of ---- */

/* Of the logarithm of the durations. */
static double sketch_deviation(const sketch *of) {
    double count = 0;
    double sum = 0;
    double squares = 0;
    for (uint16_t i = 0; i < of->count; i++) {
        double level = log(sketch_bin_value(of->bins[i].bin));
        count += (double)of->bins[i].count;
        sum += (double)of->bins[i].count * level;
        squares += (double)of->bins[i].count * level * level;
    }
    return count > 0 ? sqrt(fmax(0, squares / count - sum * sum / (count * count))) : 0;
}

static bool sketches_gather(const model *traffic, sketch *sketches, uint32_t count) {
    static _Thread_local flow_point points[FLOWS_POINTS_MAX];
    const operations *all = model_operations(traffic);
    bool good = true;
    for (uint32_t i = 0; i < operations_count(all) && good; i++) {
        uint32_t node = operations_at(all, i).node;
        if (node >= count)
            continue;
        size_t found =
            flows_of_operation(model_flows(traffic), i, INT64_MIN, INT64_MAX, points, FLOWS_POINTS_MAX);
        for (size_t j = 0; j < found && good; j++)
            good = points[j].latency == NULL || sketch_merge(&sketches[node], points[j].latency);
    }
    return good;
}

static propagation_latency latency_made(const model *traffic, const signals *from, uint32_t node,
                                        const sketch *durations) {
    series_normal series = series_normal_of(from, model_node_at(traffic, node)->name);
    flow_counts totals = flows_node_totals(model_flows(traffic), node);
    propagation_latency out = {.drift = (float)series.drift};
    double count = sketch_total(durations);
    if (count <= 0 || totals.calls <= 0) {
        out.p90_ms = (float)series.p90_ms;
        out.mean_ms = out.median_ms = (float)series.mean_ms;
        return out;
    }
    out.median_ms = (float)(sketch_quantile(durations, 0.5) / 1e6);
    out.p90_ms = (float)(sketch_quantile(durations, 0.9) / 1e6);
    out.mean_ms = (float)(1000 * totals.seconds / totals.calls);
    out.deviation = (float)sketch_deviation(durations);
    out.durations = (float)count;
    return out;
}

static propagation_latency *latencies_make(const normals *self, uint32_t count) {
    sketch *sketches = calloc(count + 1U, sizeof *sketches);
    propagation_latency *out = calloc(count + 1U, sizeof *out);
    if (sketches == NULL || out == NULL || !sketches_gather(self->traffic, sketches, count)) {
        free(out);
        out = NULL;
    }
    for (uint32_t i = 0; out != NULL && i < count; i++)
        out[i] = latency_made(self->traffic, telemetry_signals(self->from), i, &sketches[i]);
    for (uint32_t i = 0; sketches != NULL && i < count; i++)
        sketch_free(&sketches[i]);
    free(sketches);
    return out;
}

/* ---- Life ---- */

status_code normals_create(normals **out, telemetry *from, const model *traffic, const chance *source,
                           failure *why) {
    normals *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for what is normal");
    self->from = from;
    self->traffic = traffic;
    self->source = source;
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    return STATUS_OK;
}

void normals_free(normals *self) {
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->lock);
    free(self->latencies);
    free(self);
}

void normals_refresh(normals *self) {
    pthread_mutex_lock(&self->lock);
    uint64_t start_ms = chance_boot_ms(self->source);
    if (start_ms >= self->next_ms) {
        telemetry_read_begin(self->from);
        uint32_t count = model_node_count(self->traffic);
        propagation_latency *made = latencies_make(self, count);
        telemetry_read_end(self->from);
        uint64_t end_ms = chance_boot_ms(self->source);
        if (made != NULL) {
            free(self->latencies);
            self->latencies = made;
            self->count = count;
        }
        self->next_ms = end_ms + REFRESH_LEAST_MS + (end_ms - start_ms) * REFRESH_PART;
    }
    pthread_mutex_unlock(&self->lock);
}

static bool latency_known(void *context, const snapshot *graph, uint32_t node, propagation_latency *out) {
    normals *self = context;
    bool known = false;
    pthread_mutex_lock(&self->lock);
    if (node < graph->model_count && node < self->count) {
        *out = self->latencies[node];
        known = true;
    }
    pthread_mutex_unlock(&self->lock);
    if (known)
        return true;
    /* Nobody but metrics speaks of it. */
    telemetry_read_begin(self->from);
    series_normal series = series_normal_of(telemetry_signals(self->from), graph->nodes[node].name);
    telemetry_read_end(self->from);
    *out = (propagation_latency){.drift = (float)series.drift,
                                 .p90_ms = (float)series.p90_ms,
                                 .mean_ms = (float)series.mean_ms,
                                 .median_ms = (float)series.mean_ms};
    return true;
}

impact_normal normals_for_questions(normals *self) {
    return (impact_normal){.latency = latency_known, .context = self};
}
