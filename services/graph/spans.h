/* OTLP spans -> observations. Reads of each span only what the graph is made of; a span that cannot be used
 * is counted with the reason, and never spoils the others. */
#ifndef GRAPH_SPANS_H
#define GRAPH_SPANS_H

#include "model.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest trace_export;

typedef enum spans_refusal {
    SPANS_BAD_ID,   /* no trace id of 16 bytes, no span id of 8, a parent id of another size */
    SPANS_NO_TIME,  /* neither start nor end */
    SPANS_FUTURE,   /* ends beyond the skew that another machine's clock may have */
    SPANS_BAD_NAME, /* the name of its service is too long */
    SPANS_TOO_MANY, /* the graph holds as many services as it may */
    SPANS_REFUSALS,
} spans_refusal;

typedef struct spans_result {
    size_t accepted;
    uint64_t refused[SPANS_REFUSALS];
} spans_result;

/* Spans in a request, all together. */
size_t spans_count(const trace_export *request);

/* When the last span of a resource ended, by the order in which it stands there; 0 without spans. */
int64_t resource_spans_end_ms(const Opentelemetry__Proto__Trace__V1__ResourceSpans *from);

/* Fills `out` (room for spans_count) with what is accepted. Makes the nodes that the spans speak of. `now_ms`
 * is wall time. */
spans_result spans_read(const trace_export *request, model *graph, int64_t now_ms, observation *out);

/* Sum of the refusals; `text` gets them in words ("" when there are none). */
uint64_t spans_refused(const spans_result *self, char *text, size_t size);

/* How many requests a sampled one stands for, from `tracestate` (OpenTelemetry's probability sampling:
 * `ot=th:` is the rejection threshold T in up to 14 hexadecimal digits, of 56 bits; weight = 2^56 / (2^56 -
 * T)). 0 when it is not stated, malformed, or beyond one in 2^20: whoever claims that much could drown
 * everybody else. */
double spans_weight(const char *tracestate);

#endif
