/* Typed calls of the graph's HistoryService. Blocking; answers are in the arena. */
#ifndef CLIENT_HISTORY_CLIENT_H
#define CLIENT_HISTORY_CLIENT_H

#include "interlock/graph/v1/history.pb-c.h"
#include "rpc/client.h"

/* A whole snapshot. Edges name their ends by place in `nodes`, and every such place is there. */
typedef struct history_snapshot {
    const Interlock__Graph__V1__SnapshotNode **nodes;
    const Interlock__Graph__V1__SnapshotEdge **edges;
    size_t node_count, edge_count;
    uint64_t revision;
    int64_t valid_at_ms, recorded_at_ms; /* what the instant came to be */
} history_snapshot;

/* Everything is in the arena. DATA_LOSS (BAD_ANSWER): the stream ended before it was complete, or an edge
 * ends nowhere. */
status_code history_snapshot_wait(rpc_channel *channel, const Interlock__Graph__V1__SnapshotRequest *request,
                                  uint32_t timeout_ms, arena *memory, history_snapshot *out,
                                  failure *why) MUST_USE;
status_code history_diff_wait(rpc_channel *channel, const Interlock__Graph__V1__DiffRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__DiffResponse **out,
                              failure *why) MUST_USE;
status_code history_past_wait(rpc_channel *channel, const Interlock__Graph__V1__HistoryRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__HistoryResponse **out,
                              failure *why) MUST_USE;
status_code history_node_wait(rpc_channel *channel, const Interlock__Graph__V1__GetNodeRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__GetNodeResponse **out,
                              failure *why) MUST_USE;
status_code history_neighbors_wait(rpc_channel *channel,
                                   const Interlock__Graph__V1__NeighborsRequest *request, uint32_t timeout_ms,
                                   arena *memory, Interlock__Graph__V1__NeighborsResponse **out,
                                   failure *why) MUST_USE;
status_code history_paths_wait(rpc_channel *channel, const Interlock__Graph__V1__FindPathsRequest *request,
                               uint32_t timeout_ms, arena *memory,
                               Interlock__Graph__V1__FindPathsResponse **out, failure *why) MUST_USE;

#endif
