/* One stream of Snapshot or WatchChanges, fed step by step by the thread of history_ask.c. */
#ifndef GRAPH_HISTORY_STREAM_H
#define GRAPH_HISTORY_STREAM_H

#include <stdatomic.h>

#include "history_answer.h"
#include "rpc/server.h"

typedef struct history_stream {
    struct history_stream *next;
    rpc_stream *stream;
    atomic_bool over; /* set by the stream's loop */
    bool is_snapshot, failed;
    /* Of a snapshot. */
    Interlock__Graph__V1__Instant at;
    bool has_at, with_attributes, begun, finished;
    uint32_t node_kinds, edge_kinds;
    picture picture;
    uint32_t *places; /* of the picture's nodes: place among those sent + 1 */
    uint32_t node, edge, sent;
    /* Of a watch. */
    uint64_t after;
    uint64_t beat_ms;
} history_stream;

history_stream *history_stream_snapshot(const Interlock__Graph__V1__SnapshotRequest *request);
history_stream *history_stream_watch(const Interlock__Graph__V1__WatchChangesRequest *request);
void history_stream_free(history_stream *self);

/* Sends what there is to send and room for; true when it would go on at once. A failure ends the stream. */
bool history_stream_step(history_stream *self, answerer *by, arena *memory, uint64_t now_ms);

#endif
