/* The one writer of the graph: a thread that takes requests from a bounded queue in groups, applies them to
 * the parts of the graph, commits each group to the store, publishes a snapshot (one that is dear to make
 * waits for the next group), and then answers. Owns the parts. */
#ifndef GRAPH_INGEST_H
#define GRAPH_INGEST_H

#include "base/arena.h"
#include "history.h"
#include "root_cause_view.h"
#include "snapshot.h"
#include "telemetry.h"

#define INGEST_QUEUE_MAX 1024U   /* requests that wait */
#define INGEST_GROUP_COST 65536U /* spans, data points, records in one commit, and in one request */

typedef struct ingest ingest;

typedef enum ingest_kind {
    INGEST_TRACES,       /* OTLP ExportTraceServiceRequest */
    INGEST_METRICS,      /* OTLP ExportMetricsServiceRequest */
    INGEST_LOGS,         /* OTLP ExportLogsServiceRequest */
    INGEST_EVENTS,       /* CloudEvents */
    INGEST_OBJECTS,      /* Kubernetes objects */
    INGEST_DECLARATIONS, /* what people declare */
    INGEST_CHAIN,        /* the log's next records, with the confirmed chains among them */
    INGEST_DRIFT,        /* a question: what differs between what is declared and what is seen */
    INGEST_KINDS,
} ingest_kind;

/* Once for every request taken, on the ingest thread. OK: everything accepted is durable, and the response
 * says what was not. Another code: nothing of it was stored. */
typedef void (*ingest_done)(void *context, status_code code, const failure *why);

typedef struct ingest_request {
    ingest_kind kind;
    const ProtobufCMessage *message; /* valid until `done`, as is the rest */
    ProtobufCMessage *response;      /* initialised; filled on the ingest thread. NULL: nobody looks */
    arena *memory;                   /* for the response */
    ingest_done done;
    void *context;
} ingest_request;

/* Loads the graph of `path` (":memory:" for tests). */
status_code ingest_open(ingest **out, const char *path, const chance *source, failure *why) MUST_USE;
status_code ingest_start(ingest *self, failure *why) MUST_USE;
/* What is queued is answered with UNAVAILABLE. Takes NULL. */
void ingest_stop(ingest *self);
/* Takes NULL; stops first. No snapshot may be in use any more. */
void ingest_close(ingest *self);

/* Any thread. RESOURCE_EXHAUSTED (QUEUE_FULL) or INVALID_ARGUMENT (TOO_LARGE): not taken, `done` is not
 * called. */
status_code ingest_submit(ingest *self, const ingest_request *request, failure *why) MUST_USE;

/* The newest published snapshot, with a reference; never NULL. Any thread. */
snapshot *ingest_snapshot(ingest *self);

/* What questions for root causes are answered from, with a reference to the newest snapshot. Any thread. */
root_cause_sources ingest_root_cause_sources(ingest *self);

/* Signals, log templates, and the flows of the traffic model: any thread, between telemetry_read_begin and
 * telemetry_read_end. */
telemetry *ingest_telemetry(const ingest *self);
const model *ingest_traffic(const ingest *self);
int64_t ingest_wall_ms(const ingest *self);

/* The first record of the log that was not learnt from; before the start, or on the ingest thread. */
uint64_t ingest_log_next(const ingest *self);

/* Every node and edge with two times; readers open a history_reader of their own. */
history *ingest_history(const ingest *self);

/* Prometheus text. Any thread. */
void ingest_write_metrics(ingest *self, buffer *out);
/* False while commits fail. Any thread. */
bool ingest_healthy(const ingest *self);

#endif
