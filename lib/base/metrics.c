/* Prometheus text and the latency histogram. */
#include "base/metrics.h"

#include <stdio.h>

#define FIRST_BOUND_NS 50000U

void histogram_observe_ns(histogram *self, uint64_t value_ns) {
    unsigned bucket = 0;
    for (uint64_t bound = FIRST_BOUND_NS; bucket + 1 < HISTOGRAM_BUCKETS && value_ns > bound; bound *= 2)
        bucket++;
    atomic_fetch_add_explicit(&self->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->sum_ns, value_ns, memory_order_relaxed);
}

void metrics_family(buffer *out, const char *name, const char *type, const char *help) {
    buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_sample(buffer *out, const char *name, const char *labels, double value) {
    if (labels[0] != '\0')
        buffer_format(out, "%s{%s} %.17g\n", name, labels, value);
    else
        buffer_format(out, "%s %.17g\n", name, value);
}

void metrics_label(buffer *out, const char *key, const char *value) {
    if (out->size > 0)
        buffer_text(out, ",");
    buffer_format(out, "%s=\"", key);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            buffer_text(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buffer_format(out, "\\%c", *value);
        else
            buffer_append(out, value, 1);
    }
    buffer_text(out, "\"");
}

void metrics_histogram(buffer *out, const char *name, const char *labels, const histogram *values) {
    uint64_t count = 0;
    double bound_s = (double)FIRST_BOUND_NS / 1e9;
    const char *comma = labels[0] != '\0' ? "," : "";
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++, bound_s *= 2) {
        count += atomic_load_explicit(&values->buckets[i], memory_order_relaxed);
        if (i + 1 < HISTOGRAM_BUCKETS)
            buffer_format(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, bound_s,
                          (unsigned long long)count);
        else
            buffer_format(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
                          (unsigned long long)count);
    }
    char full[256];
    snprintf(full, sizeof full, "%s_sum", name);
    metrics_sample(out, full, labels,
                   (double)atomic_load_explicit(&values->sum_ns, memory_order_relaxed) / 1e9);
    snprintf(full, sizeof full, "%s_count", name);
    metrics_sample(out, full, labels, (double)count);
}
