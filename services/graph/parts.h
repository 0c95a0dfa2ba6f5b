/* What the graph is made of. Each part has files of its own and knows nothing of the others; this is the one
 * place that lists them: how they are loaded, what they take from a request, and that they are saved
 * together, in one transaction. Belongs to the ingest thread. */
#ifndef GRAPH_PARTS_H
#define GRAPH_PARTS_H

#include "changes.h"
#include "dependencies.h"
#include "evidence_store.h"
#include "graph_store.h"
#include "ingest.h"
#include "placements.h"
#include "signals_store.h"
#include "spans.h"

#define PARTS_SETTLE_ROOM 4096U /* observations that fall due at once */

typedef struct parts {
    const chance *source;
    graph_store *store;
    uint64_t revision; /* of what is stored */
    model *traffic;
    observation *observations; /* applied to the traffic model and not stored yet */
    size_t observation_count;
    uint64_t refused[SPANS_REFUSALS]; /* since the start */
    evidence_keep *evidence;          /* what root causes are found from */
    evidence_store *evidence_rows;
    bool evidence_changed;
    bool log_moved;       /* the cursor of the log is to be stored */
    telemetry *telemetry; /* metrics and logs; its write lock is held while anything is applied */
    signals_store *telemetry_rows;
    placements *placements; /* what runs where */
    history *past;          /* every node and edge of every kind */
    changes *changes;       /* what events, objects and documents say */
    dependencies *stated;   /* of that, what impact spreads over */
} parts;

/* Loads the graph of `path`. On failure parts_close lets go of what was made. */
status_code parts_open(parts *self, const char *path, const chance *source, failure *why) MUST_USE;
void parts_close(parts *self); /* takes zeroed */

/* How much of a group a request takes: spans, data points, records, or the like. */
size_t parts_cost(const ingest_request *request);

/* Applies a request in memory and fills its response. On failure nothing of it was applied. */
status_code parts_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) MUST_USE;
/* Applies what is due because time has passed. */
void parts_settle(parts *self, int64_t now_ms);
/* Boot time, in milliseconds, at which something falls due; UINT64_MAX: nothing. */
uint64_t parts_due(const parts *self);

/* A snapshot of everything that readers may see. */
status_code parts_snapshot(parts *self, snapshot **out, int64_t now_ms, failure *why) MUST_USE;

/* Whether anything differs from the store. */
bool parts_changed(const parts *self);
/* Stores what differs, as revision + 1. Failing with RESOURCE_EXHAUSTED or UNAVAILABLE, nothing was stored
 * and the call may be made again; after DATA_LOSS the process must end. */
status_code parts_save(parts *self, int64_t now_ms, failure *why) MUST_USE;

#endif
