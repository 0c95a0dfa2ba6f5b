/* Prometheus text exposition (format 0.0.4) and the one histogram everything uses. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>

#include "base/bytes.h"

#define HISTOGRAM_BUCKETS 16U

/* Latencies: bucket i counts values <= 50 µs * 2^i, the last one everything. Lock-free: any thread observes.
 */
typedef struct histogram {
    atomic_uint_fast64_t buckets[HISTOGRAM_BUCKETS];
    atomic_uint_fast64_t sum_ns;
} histogram;

void histogram_observe_ns(histogram *self, uint64_t value_ns);

/* "# HELP" and "# TYPE"; `type` is counter, gauge or histogram. */
void metrics_family(buffer *out, const char *name, const char *type, const char *help);

/* One sample; `labels` is "" or `key="value",…` whose values went through metrics_label. */
void metrics_sample(buffer *out, const char *name, const char *labels, double value);

/* Appends `key="escaped value"`, with a comma before it when `out` is not empty. */
void metrics_label(buffer *out, const char *key, const char *value);

/* _bucket, _sum (in seconds) and _count of a histogram. */
void metrics_histogram(buffer *out, const char *name, const char *labels, const histogram *values);

#endif
