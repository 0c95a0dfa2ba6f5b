/* What the question for a root cause rests on, as plain data: the shape and timing of single requests, series
 * of metrics, calls and changes, each with the time it is from. evidence_store.c and evidence_keep.c keep it;
 * the engine (root_cause.h) only reads it, so that a test can write one down. Everything is bounded there. */
#ifndef GRAPH_EVIDENCE_H
#define GRAPH_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVIDENCE_ROOT (-2)   /* parent of a span that has none */
#define EVIDENCE_ORPHAN (-1) /* parent of a span whose parent was never seen */
#define EVIDENCE_NONE UINT32_MAX

/* An operation of a service: the name of its spans. */
typedef struct evidence_operation {
    uint32_t service; /* number in `services` */
    const char *name;
} evidence_operation;

/* A span of a kept request, without ids and attributes. */
typedef struct evidence_span {
    uint32_t operation;
    int32_t parent;    /* position within its trace, or EVIDENCE_ROOT, EVIDENCE_ORPHAN */
    uint32_t start_us; /* after the trace's start */
    uint32_t duration_us;
    uint32_t self_us; /* without the time that its children cover */
} evidence_span;

/* A log record that belongs to a span. */
typedef struct evidence_record {
    uint32_t span;    /* position within its trace */
    uint32_t pattern; /* number in `patterns`: the text without its variable parts */
    uint32_t error;   /* number in `errors`, or EVIDENCE_NONE: not an error */
} evidence_record;

typedef struct evidence_trace {
    int64_t start_us; /* since 1970 */
    uint32_t first_span, span_count;
    uint32_t first_record, record_count;
} evidence_trace;

/* What an error is compared by. */
typedef struct evidence_error {
    const char *text; /* "Class: message" of an exception, masked; otherwise the pattern of the record */
    bool exception;
    uint32_t service; /* of an error that is no exception: patterns are a service's own */
} evidence_error;

typedef struct evidence_point {
    int64_t time_ms;
    double value;
} evidence_point;

/* What a metric is about, told from words in its name. */
typedef enum metric_kind {
    METRIC_OTHER,
    METRIC_CPU,
    METRIC_MEMORY,
    METRIC_IO,
    METRIC_NETWORK,
    METRIC_LATENCY,        /* of what the service serves: a percentile */
    METRIC_LATENCY_MEAN,   /* … a mean, which may be multiplied by the requests */
    METRIC_LATENCY_CLIENT, /* of what it calls */
    METRIC_ERRORS,         /* a rate or share of errors */
    METRIC_AVAILABILITY,   /* a share of successes, 0 to 1 or 0 to 100 */
    METRIC_REQUESTS,
    METRIC_SATURATION, /* how full a pool, queue or limit is */
    METRIC_KINDS,
} metric_kind;

typedef struct evidence_series {
    uint32_t service;
    const char *metric;
    metric_kind kind;
    double quantile;              /* of a latency, 0 to 1; 0 when the name tells none */
    const evidence_point *points; /* in order of time */
    uint32_t count;
} evidence_series;

typedef struct evidence_edge {
    uint32_t from, to;
} evidence_edge;

typedef enum change_kind { CHANGE_DEPLOY, CHANGE_CONFIG, CHANGE_FLAG, CHANGE_KINDS } change_kind;

typedef struct evidence_change {
    const char *name; /* of its node */
    change_kind kind;
    uint32_t service; /* that it changed */
    int64_t time_ms;
} evidence_change;

typedef struct evidence {
    const char *const *services; /* names of nodes */
    const evidence_operation *operations;
    const char *const *patterns;
    const evidence_error *errors;
    const evidence_trace *traces; /* in any order */
    const evidence_span *spans;
    const evidence_record *records;
    const evidence_series *series;
    const evidence_edge *edges; /* known calls, declared or observed */
    const evidence_change *changes;
    uint32_t service_count, operation_count, pattern_count, error_count, trace_count, series_count;
    uint32_t edge_count, change_count;
} evidence;

/* Reads the kind of a metric from its name, in words that are common to exporters; *quantile as above. */
metric_kind metric_kind_of(const char *name, double *quantile);

#endif
