/* Metrics and logs: OTLP -> signals and templates. Owns both, and what it takes to read them in any order and
 * more than once. One writer, the ingest thread, which holds the signals' write lock meanwhile; readers hold
 * the read lock (telemetry_read_begin … telemetry_read_end) and may then also look at the traffic model's
 * flows and operations. */
#ifndef GRAPH_TELEMETRY_H
#define GRAPH_TELEMETRY_H

#include "model.h"
#include "opentelemetry/proto/collector/logs/v1/logs_service.pb-c.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "signals.h"
#include "templates.h"

typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceRequest metrics_export;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest logs_export;

#define TELEMETRY_SEEN 4096U /* requests of metrics and logs that are recognised when they come again */
#define TELEMETRY_HISTOGRAMS_MAX 16384U /* whose buckets are remembered, for percentiles of an interval */
#define TELEMETRY_HISTOGRAM_BOUNDS 32U  /* a histogram of more has no percentile */

typedef struct telemetry telemetry;

typedef enum telemetry_refusal {
    TELEMETRY_NO_TIME,
    TELEMETRY_FUTURE,   /* beyond the skew that another machine's clock may have */
    TELEMETRY_BAD_NAME, /* the name of its service is too long */
    TELEMETRY_NO_VALUE, /* no number, or nothing is recorded; a log record without a body */
    TELEMETRY_TOO_MANY, /* the graph holds as many nodes as it may */
    TELEMETRY_REFUSALS,
} telemetry_refusal;

typedef struct telemetry_result {
    size_t accepted;
    uint64_t refused[TELEMETRY_REFUSALS];
    bool duplicate; /* all of it was taken before: nothing was added */
} telemetry_result;

status_code telemetry_create(telemetry **out, const model *traffic, uint64_t seed, failure *why) MUST_USE;
void telemetry_free(telemetry *self); /* takes NULL */

signals *telemetry_signals(const telemetry *self);
templates *telemetry_templates(const telemetry *self);
void telemetry_read_begin(telemetry *self);
void telemetry_read_end(telemetry *self);

/* Data points and log records in a request, all together. */
size_t metrics_count(const metrics_export *request);
size_t logs_count(const logs_export *request);

/* Takes what is accepted. `now_ms` is wall time; the caller holds the write lock. */
telemetry_result metrics_read(telemetry *self, const metrics_export *request, int64_t now_ms);
/* The same; besides fills `out` (room for logs_count) with the accepted records, for those who look at
 * traces. `graph` gets the nodes that the records speak of. */
telemetry_result logs_read(telemetry *self, const logs_export *request, model *graph, int64_t now_ms,
                           log_observation *out);

/* Sum of the refusals; `text` gets them in words ("" when there are none). */
uint64_t telemetry_refused(const telemetry_result *self, const char *items, char *text, size_t size);

typedef struct telemetry_totals {
    uint64_t duplicates;      /* requests that came again */
    uint64_t points, records; /* taken */
    uint64_t refused[TELEMETRY_REFUSALS];
} telemetry_totals;
telemetry_totals telemetry_totals_of(const telemetry *self);
/* Prometheus text of everything telemetry keeps, the flows of the traffic model included. Any thread. */
void telemetry_write_metrics(telemetry *self, buffer *out);

/* ---- For the store: signals_store.c ---- */
/* Digests of requests not stored yet, oldest first. */
size_t telemetry_digests_unstored(const telemetry *self, const uint64_t **digests);
void telemetry_mark_stored(telemetry *self);
void telemetry_restore_digest(telemetry *self, uint64_t digest); /* oldest first */
/* Whether anything differs from the store. */
bool telemetry_changed(const telemetry *self);

#endif
