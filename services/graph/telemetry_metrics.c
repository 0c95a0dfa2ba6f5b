/* OTLP metrics -> signals. Gauges are kept as they are; sums become rates, of delta and of cumulative
 * temporality alike; histograms become a mean, a rate and a 95th percentile of each interval. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry_internal.h"

#define POINT_ATTRIBUTES 16U /* of a data point, that tell series apart; more are not looked at */
#define HIGH_RANK 0.95
#define NO_RECORDED_VALUE 1U

typedef Opentelemetry__Proto__Metrics__V1__ResourceMetrics resource_metrics;
typedef Opentelemetry__Proto__Metrics__V1__Metric otlp_metric;
typedef Opentelemetry__Proto__Metrics__V1__NumberDataPoint number_point;
typedef Opentelemetry__Proto__Metrics__V1__HistogramDataPoint histogram_point;
typedef Opentelemetry__Proto__Metrics__V1__ExponentialHistogramDataPoint exponential_point;
typedef Opentelemetry__Proto__Metrics__V1__SummaryDataPoint summary_point;

#define METRIC_IS(item, what) ((item)->data_case == OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_##what)
#define DELTA 1
#define CUMULATIVE 2

/* ---- Counting and recognising
 * --------------------------------------------------------------------------------------- */

static size_t metric_points(const otlp_metric *self) {
    if (METRIC_IS(self, GAUGE))
        return self->gauge->n_data_points;
    if (METRIC_IS(self, SUM))
        return self->sum->n_data_points;
    if (METRIC_IS(self, HISTOGRAM))
        return self->histogram->n_data_points;
    if (METRIC_IS(self, EXPONENTIAL_HISTOGRAM))
        return self->exponential_histogram->n_data_points;
    return METRIC_IS(self, SUMMARY) ? self->summary->n_data_points : 0;
}

typedef void (*metric_visit)(void *context, const otlp_metric *metric, const resource_metrics *resource);

static void metrics_each(const metrics_export *request, metric_visit visit, void *context) {
    for (size_t i = 0; i < request->n_resource_metrics; i++) {
        const resource_metrics *resource = request->resource_metrics[i];
        for (size_t j = 0; j < resource->n_scope_metrics; j++)
            for (size_t k = 0; k < resource->scope_metrics[j]->n_metrics; k++)
                visit(context, resource->scope_metrics[j]->metrics[k], resource);
    }
}

static void points_add(void *context, const otlp_metric *metric, const resource_metrics *resource) {
    (void)resource;
    *(size_t *)context += metric_points(metric);
}

size_t metrics_count(const metrics_export *request) {
    size_t count = 0;
    metrics_each(request, points_add, &count);
    return count;
}

static uint64_t digest_double(uint64_t digest, double value) {
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return mix64(digest, word);
}

static uint64_t number_digest(uint64_t digest, const number_point *point) {
    digest = mix64(digest, point->time_unix_nano);
    digest = mix64(digest, (uint64_t)point->as_int);
    return mix64(digest, point->n_attributes);
}

static uint64_t metric_digest(uint64_t digest, const otlp_metric *metric) {
    digest = digest_bytes(digest, bytes_of_text(metric->name));
    for (size_t i = 0; i < metric_points(metric); i++) {
        if (METRIC_IS(metric, GAUGE)) {
            digest = number_digest(digest, metric->gauge->data_points[i]);
        } else if (METRIC_IS(metric, SUM)) {
            digest = number_digest(digest, metric->sum->data_points[i]);
        } else if (METRIC_IS(metric, HISTOGRAM)) {
            digest = mix64(digest, metric->histogram->data_points[i]->time_unix_nano);
            digest = mix64(digest, metric->histogram->data_points[i]->count);
        } else if (METRIC_IS(metric, EXPONENTIAL_HISTOGRAM)) {
            digest = mix64(digest, metric->exponential_histogram->data_points[i]->time_unix_nano);
            digest = mix64(digest, metric->exponential_histogram->data_points[i]->count);
        } else {
            digest = mix64(digest, metric->summary->data_points[i]->time_unix_nano);
            digest = digest_double(digest, metric->summary->data_points[i]->sum);
        }
    }
    return digest;
}

static uint64_t metrics_digest(const metrics_export *request) {
    uint64_t digest = DIGEST_METRICS;
    for (size_t i = 0; i < request->n_resource_metrics; i++) {
        const resource_metrics *resource = request->resource_metrics[i];
        resource_identity identity;
        resource_read(resource->resource, &identity);
        digest = digest_bytes(digest, bytes_of_text(identity.name));
        digest = digest_bytes(digest, identity.pod);
        for (size_t j = 0; j < resource->n_scope_metrics; j++)
            for (size_t k = 0; k < resource->scope_metrics[j]->n_metrics; k++)
                digest = metric_digest(digest, resource->scope_metrics[j]->metrics[k]);
    }
    return digest;
}

/* ---- Series
 * ------------------------------------------------------------------------------------------------------- */

/* What is being read. */
typedef struct reading {
    telemetry *self;
    int64_t now_ms;
    resource_identity identity;
    char node[LIMIT_NAME_BYTES]; /* "" when the name cannot be kept */
    const otlp_metric *metric;
    telemetry_result result;
} reading;

/* One data point, whatever its kind. */
typedef struct point_head {
    key_value *const *attributes;
    size_t attribute_count;
    uint64_t start_ns, time_ns;
    uint32_t flags;
} point_head;

static int attribute_order(const void *a, const void *b) {
    return strcmp((*(key_value *const *)a)->key, (*(key_value *const *)b)->key);
}

static int value_text(const any_value *value, char *out, size_t size) {
    switch (value == NULL ? 0 : value->value_case) {
    case OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE:
        return snprintf(out, size, "%s", value->string_value);
    case OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE:
        return snprintf(out, size, "%lld", (long long)value->int_value);
    case OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE:
        return snprintf(out, size, "%s", value->bool_value ? "true" : "false");
    case OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_DOUBLE_VALUE:
        return snprintf(out, size, "%g", value->double_value);
    default:
        return snprintf(out, size, "?");
    }
}

/* name, name{key=value,…} in the order of the keys, then the suffix; a name that would be too long ends in a
 * hash of the attributes instead. */
static bytes series_name(const reading *self, const point_head *head, const char *suffix, char *out,
                         size_t size) {
    key_value *sorted[POINT_ATTRIBUTES];
    size_t count = head->attribute_count < POINT_ATTRIBUTES ? head->attribute_count : POINT_ATTRIBUTES;
    int used = snprintf(out, size, "%s", self->metric->name);
    if (count > 0) {
        memcpy(sorted, head->attributes, count * sizeof(void *));
        qsort(sorted, count, sizeof(void *), attribute_order);
        uint64_t digest = 0;
        size_t at = used < (int)size ? (size_t)used : size - 1;
        size_t name_end = at;
        bool fits = used < (int)size;
        for (size_t i = 0; i < count; i++) {
            char value[64];
            value_text(sorted[i]->value, value, sizeof value);
            digest = digest_bytes(digest_bytes(digest, bytes_of_text(sorted[i]->key)), bytes_of_text(value));
            int added = snprintf(out + at, size - at, "%s%s=%s", i == 0 ? "{" : ",", sorted[i]->key, value);
            fits = fits && added >= 0 && at + (size_t)added + 16 < size;
            at += fits ? (size_t)added : 0;
        }
        at = fits ? at : name_end < size - 28 ? name_end : size - 28;
        used = (int)at + (fits ? snprintf(out + at, size - at, "}")
                               : snprintf(out + at, size - at, "{#%016llx}", (unsigned long long)digest));
    }
    size_t end = used < (int)size ? (size_t)used : size - 1;
    int added = snprintf(out + end, size - end, "%s", suffix);
    size_t whole = end + (size_t)(added > 0 ? added : 0);
    return bytes_of(out, whole < size ? whole : size - 1);
}

static uint32_t series_of(reading *self, const point_head *head, const char *suffix, signal_type type) {
    char name[SIGNALS_NAME_BYTES];
    return signals_series_named(self->self->signals, self->node, self->identity.pod,
                                series_name(self, head, suffix, name, sizeof name),
                                bytes_of_text(self->metric->unit), type);
}

/* The point's time, or false when it is refused. */
static bool point_time(reading *self, const point_head *head, int64_t *start_ms, int64_t *time_ms) {
    telemetry_refusal refusal = TELEMETRY_BAD_NAME;
    bool taken = self->node[0] != '\0';
    if (taken && (head->flags & NO_RECORDED_VALUE) != 0) {
        refusal = TELEMETRY_NO_VALUE;
        taken = false;
    }
    taken = taken && telemetry_time(head->time_ns, self->now_ms, time_ms, &refusal);
    if (!taken) {
        self->result.refused[refusal]++;
        return false;
    }
    *start_ms = (int64_t)(head->start_ns / TELEMETRY_NANOSECONDS_PER_MS);
    self->result.accepted++;
    return true;
}

static void signal_put(reading *self, uint32_t series, int64_t time_ms, double value) {
    if (series != SIGNALS_NONE)
        signals_add(self->self->signals, series, time_ms, value);
}

/* ---- Numbers
 * ------------------------------------------------------------------------------------------------------ */

static bool number_value(const number_point *point, double *out) {
    if (point->value_case == OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE) {
        *out = point->as_double;
        return true;
    }
    if (point->value_case == OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT) {
        *out = (double)point->as_int;
        return true;
    }
    return false;
}

static void number_read(reading *self, const number_point *point, int temporality, bool monotonic) {
    point_head head = {.attributes = point->attributes,
                       .attribute_count = point->n_attributes,
                       .start_ns = point->start_time_unix_nano,
                       .time_ns = point->time_unix_nano,
                       .flags = point->flags};
    int64_t start_ms;
    int64_t time_ms;
    double value = 0;
    if (!number_value(point, &value))
        head.flags |= NO_RECORDED_VALUE;
    if (!point_time(self, &head, &start_ms, &time_ms))
        return;
    bool rate = temporality == DELTA || (temporality == CUMULATIVE && monotonic);
    uint32_t series = series_of(self, &head, "", rate ? SIGNAL_RATE : SIGNAL_GAUGE);
    if (series == SIGNALS_NONE)
        return;
    if (temporality == CUMULATIVE && monotonic) {
        signals_add_cumulative(self->self->signals, series, start_ms, time_ms, value);
        return;
    }
    /* A delta without a start is about an interval that nobody states; a second is what rates are in. */
    double seconds =
        temporality == DELTA && start_ms > 0 && start_ms < time_ms ? (double)(time_ms - start_ms) / 1000 : 1;
    signal_put(self, series, time_ms, value / seconds);
}

/* ---- Histograms
 * ---------------------------------------------------------------------------------------------------- */

/* The value below which HIGH_RANK of the counts lie, by linear interpolation in its bucket; the last bound
 * where it lies beyond. False when there is nothing. */
static bool bounds_high(const double *counts, size_t count, const double *bounds, double *out) {
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += counts[i];
    if (total <= 0 || count < 2)
        return false;
    double wanted = HIGH_RANK * total;
    double seen = 0;
    for (size_t i = 0; i < count; i++) {
        if (seen + counts[i] >= wanted && counts[i] > 0) {
            if (i + 1 == count) {
                *out = bounds[count - 2];
                return true;
            }
            double low = i > 0 ? bounds[i - 1] : bounds[0] > 0 ? 0 : bounds[0];
            *out = low + (bounds[i] - low) * (wanted - seen) / counts[i];
            return true;
        }
        seen += counts[i];
    }
    return false;
}

static bool histograms_grow(telemetry *self, uint32_t series) {
    if (series < self->histogram_room)
        return true;
    uint32_t wanted = series + 1 < 2 * self->histogram_room ? 2 * self->histogram_room : series + 256;
    histogram_memory **grown = realloc(self->histograms, wanted * sizeof(void *));
    if (grown == NULL)
        return false;
    memset(grown + self->histogram_room, 0, (wanted - self->histogram_room) * sizeof(void *));
    self->histograms = grown;
    self->histogram_room = wanted;
    return true;
}

/* The memory of a cumulative histogram; *fresh when nothing is remembered yet. NULL beyond the bound. */
static histogram_memory *histogram_remembered(telemetry *self, uint32_t series, uint16_t count, bool *fresh) {
    if (!histograms_grow(self, series))
        return NULL;
    histogram_memory *known = self->histograms[series];
    if (known != NULL && known->count == count)
        return known;
    if (known == NULL && self->histogram_count == TELEMETRY_HISTOGRAMS_MAX)
        return NULL;
    histogram_memory *made = calloc(1, sizeof *made + count * sizeof(double));
    if (made == NULL)
        return NULL;
    self->histogram_count += known == NULL;
    free(known);
    made->count = count;
    self->histograms[series] = made;
    *fresh = true;
    return made;
}

/* What was counted since the last time, per bucket; false when that is not known. */
static bool buckets_increase(telemetry *self, uint32_t series, const histogram_point *point, int64_t start_ms,
                             double *out) {
    bool fresh = false;
    histogram_memory *memory = histogram_remembered(self, series, (uint16_t)point->n_bucket_counts, &fresh);
    if (memory == NULL)
        return false;
    bool reset = start_ms != memory->start_ms;
    for (size_t i = 0; i < point->n_bucket_counts; i++)
        reset = reset || (double)point->bucket_counts[i] < memory->counts[i];
    for (size_t i = 0; i < point->n_bucket_counts; i++) {
        out[i] = (double)point->bucket_counts[i] - (reset ? 0 : memory->counts[i]);
        memory->counts[i] = (double)point->bucket_counts[i];
    }
    memory->start_ms = start_ms;
    return !fresh;
}

static bool bounds_usable(const histogram_point *point) {
    if (point->n_bucket_counts < 2 || point->n_bucket_counts > TELEMETRY_HISTOGRAM_BOUNDS + 1 ||
        point->n_explicit_bounds + 1 != point->n_bucket_counts)
        return false;
    for (size_t i = 0; i < point->n_explicit_bounds; i++)
        if (!isfinite(point->explicit_bounds[i]) ||
            (i > 0 && point->explicit_bounds[i] <= point->explicit_bounds[i - 1]))
            return false;
    return true;
}

/* Count and sum of an interval, as a mean and a rate. */
static void interval_put(reading *self, const point_head *head, int temporality, int64_t start_ms,
                         int64_t time_ms, double count, double sum, bool has_sum) {
    uint32_t rate = series_of(self, head, ":rate", SIGNAL_RATE);
    signal_increase increase = {.count = count, .sum = sum, .milliseconds = time_ms - start_ms};
    if (rate == SIGNALS_NONE)
        return;
    if (temporality != DELTA) {
        if (!signals_increase(self->self->signals, rate, start_ms, time_ms, count, sum, &increase))
            return;
    } else if (start_ms <= 0 || increase.milliseconds <= 0) {
        increase.milliseconds = 1000;
    }
    signal_put(self, rate, time_ms, increase.count / ((double)increase.milliseconds / 1000));
    if (has_sum && increase.count > 0)
        signal_put(self, series_of(self, head, "", SIGNAL_MEAN), time_ms, increase.sum / increase.count);
}

static void histogram_read(reading *self, const histogram_point *point, int temporality) {
    point_head head = {.attributes = point->attributes,
                       .attribute_count = point->n_attributes,
                       .start_ns = point->start_time_unix_nano,
                       .time_ns = point->time_unix_nano,
                       .flags = point->flags};
    int64_t start_ms;
    int64_t time_ms;
    if (!point_time(self, &head, &start_ms, &time_ms))
        return;
    bool has_sum =
        point->sum_present_case == OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__SUM_PRESENT_SUM;
    interval_put(self, &head, temporality, start_ms, time_ms, (double)point->count, has_sum ? point->sum : 0,
                 has_sum);
    if (!bounds_usable(point))
        return;
    uint32_t high = series_of(self, &head, ":p95", SIGNAL_HIGH);
    double counts[TELEMETRY_HISTOGRAM_BOUNDS + 1];
    double value = 0;
    if (high == SIGNALS_NONE)
        return;
    for (size_t i = 0; i < point->n_bucket_counts; i++)
        counts[i] = (double)point->bucket_counts[i];
    if (temporality != DELTA && !buckets_increase(self->self, high, point, start_ms, counts))
        return;
    if (bounds_high(counts, point->n_bucket_counts, point->explicit_bounds, &value))
        signal_put(self, high, time_ms, value);
}

/* The 95th percentile of an exponential histogram: bucket i of scale s ends at 2^(i+1 / 2^s). Negative values
 * count as nothing, which durations and sizes do not have. */
static bool exponential_high(const exponential_point *point, double *out) {
    double wanted = HIGH_RANK * (double)point->count;
    double seen = (double)point->zero_count;
    if (point->count == 0 || point->positive == NULL)
        return false;
    *out = 0;
    for (size_t i = 0; i < point->positive->n_bucket_counts && seen < wanted; i++) {
        seen += (double)point->positive->bucket_counts[i];
        double index = (double)point->positive->offset + (double)i + 0.5;
        *out = exp2(index * exp2(-(double)point->scale));
    }
    return isfinite(*out);
}

static void exponential_read(reading *self, const exponential_point *point, int temporality) {
    point_head head = {.attributes = point->attributes,
                       .attribute_count = point->n_attributes,
                       .start_ns = point->start_time_unix_nano,
                       .time_ns = point->time_unix_nano,
                       .flags = point->flags};
    int64_t start_ms;
    int64_t time_ms;
    double value = 0;
    if (!point_time(self, &head, &start_ms, &time_ms))
        return;
    bool has_sum = point->sum_present_case ==
                   OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM_DATA_POINT__SUM_PRESENT_SUM;
    interval_put(self, &head, temporality, start_ms, time_ms, (double)point->count, has_sum ? point->sum : 0,
                 has_sum);
    if (temporality == DELTA && exponential_high(point, &value))
        signal_put(self, series_of(self, &head, ":p95", SIGNAL_HIGH), time_ms, value);
}

static void summary_read(reading *self, const summary_point *point) {
    point_head head = {.attributes = point->attributes,
                       .attribute_count = point->n_attributes,
                       .start_ns = point->start_time_unix_nano,
                       .time_ns = point->time_unix_nano,
                       .flags = point->flags};
    int64_t start_ms;
    int64_t time_ms;
    if (!point_time(self, &head, &start_ms, &time_ms))
        return;
    interval_put(self, &head, CUMULATIVE, start_ms, time_ms, (double)point->count, point->sum, true);
    for (size_t i = 0; i < point->n_quantile_values && i < POINT_ATTRIBUTES; i++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, ":p%g", point->quantile_values[i]->quantile * 100);
        signal_put(self, series_of(self, &head, suffix, SIGNAL_HIGH), time_ms,
                   point->quantile_values[i]->value);
    }
}

/* ---- Metrics
 * ------------------------------------------------------------------------------------------------------ */

static void metric_read(reading *self, const otlp_metric *metric) {
    self->metric = metric;
    for (size_t i = 0; i < metric_points(metric); i++) {
        if (METRIC_IS(metric, GAUGE))
            number_read(self, metric->gauge->data_points[i], 0, false);
        else if (METRIC_IS(metric, SUM))
            number_read(self, metric->sum->data_points[i], (int)metric->sum->aggregation_temporality,
                        metric->sum->is_monotonic);
        else if (METRIC_IS(metric, HISTOGRAM))
            histogram_read(self, metric->histogram->data_points[i],
                           (int)metric->histogram->aggregation_temporality);
        else if (METRIC_IS(metric, EXPONENTIAL_HISTOGRAM))
            exponential_read(self, metric->exponential_histogram->data_points[i],
                             (int)metric->exponential_histogram->aggregation_temporality);
        else
            summary_read(self, metric->summary->data_points[i]);
    }
}

telemetry_result metrics_read(telemetry *self, const metrics_export *request, int64_t now_ms) {
    reading state = {.self = self, .now_ms = now_ms};
    if (metrics_count(request) > 0 && telemetry_seen(self, metrics_digest(request))) {
        state.result.duplicate = true;
        return state.result;
    }
    for (size_t i = 0; i < request->n_resource_metrics; i++) {
        const resource_metrics *resource = request->resource_metrics[i];
        node_kind kind;
        resource_read(resource->resource, &state.identity);
        if (!telemetry_node(&state.identity, state.node, &kind))
            state.node[0] = '\0';
        for (size_t j = 0; j < resource->n_scope_metrics; j++)
            for (size_t k = 0; k < resource->scope_metrics[j]->n_metrics; k++)
                metric_read(&state, resource->scope_metrics[j]->metrics[k]);
    }
    self->totals.points += state.result.accepted;
    for (size_t i = 0; i < TELEMETRY_REFUSALS; i++)
        self->totals.refused[i] += state.result.refused[i];
    return state.result;
}
