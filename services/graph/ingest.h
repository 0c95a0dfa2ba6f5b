/* The one writer of the graph: a thread that takes telemetry from a bounded queue in groups, updates the
 * model, commits each group to the store, publishes a snapshot (one that is dear to make waits for the next
 * group), and then answers. Owns the model and the store. */
#ifndef GRAPH_INGEST_H
#define GRAPH_INGEST_H

#include "base/bytes.h"
#include "graph_store.h"
#include "snapshot.h"
#include "spans.h"

#define INGEST_QUEUE_MAX 1024U    /* requests that wait */
#define INGEST_GROUP_SPANS 65536U /* spans in one commit, and in one request */

typedef struct ingest ingest;

/* Once for every request taken, on the ingest thread. OK: everything accepted is durable; `refused` spans
 * were not taken, `text` says why. */
typedef void (*ingest_done)(void *context, status_code code, uint64_t refused, const char *text,
                            const failure *why);

/* Loads the graph of `path` (":memory:" for tests). */
status_code ingest_open(ingest **out, const char *path, const chance *source, failure *why) MUST_USE;
status_code ingest_start(ingest *self, failure *why) MUST_USE;
/* What is queued is answered with UNAVAILABLE. Takes NULL. */
void ingest_stop(ingest *self);
/* Takes NULL; stops first. No snapshot may be in use any more. */
void ingest_close(ingest *self);

/* Any thread. `request` must stay valid until `done`. RESOURCE_EXHAUSTED (QUEUE_FULL) or INVALID_ARGUMENT
 * (TOO_MANY_SPANS): not taken, `done` is not called. */
status_code ingest_submit(ingest *self, const trace_export *request, ingest_done done, void *context,
                          failure *why) MUST_USE;

/* The newest published snapshot, with a reference; never NULL. Any thread. */
snapshot *ingest_snapshot(ingest *self);

/* Prometheus text. Any thread. */
void ingest_write_metrics(ingest *self, buffer *out);
/* False while commits fail. Any thread. */
bool ingest_healthy(const ingest *self);

#endif
