/* The graph's HistoryService as typed calls. */
#include "client/history_client.h"

#include <string.h>

#define SERVICE "/interlock.graph.v1.HistoryService/"
#define SNAPSHOT_ITEMS_MAX 4000000U

typedef Interlock__Graph__V1__SnapshotRequest snapshot_request;
typedef Interlock__Graph__V1__SnapshotResponse snapshot_part;

/* ---- Snapshot: parts come as long as they are looked at, so each is copied by packing it again */

typedef struct gathering {
    arena *memory;
    history_snapshot *out;
    size_t node_room, edge_room;
    bool complete;
    status_code code;
    failure *why;
} gathering;

static void *arena_for_unpack(void *memory, size_t size) {
    return arena_alloc(memory, size);
}

static void nothing_to_free(void *memory, void *pointer) {
    (void)memory;
    (void)pointer;
}

static snapshot_part *part_copy(const snapshot_part *part, arena *memory) {
    ProtobufCAllocator allocator = {
        .alloc = arena_for_unpack, .free = nothing_to_free, .allocator_data = memory};
    size_t size = interlock__graph__v1__snapshot_response__get_packed_size(part);
    uint8_t *packed = arena_alloc(memory, size + 1);
    if (packed == NULL)
        return NULL;
    (void)interlock__graph__v1__snapshot_response__pack(part, packed);
    return interlock__graph__v1__snapshot_response__unpack(&allocator, size, packed);
}

/* Room for `more` pointers behind `count`. */
static const void **grown(arena *memory, const void **list, size_t count, size_t more, size_t *room) {
    if (count + more <= *room)
        return list;
    size_t wanted = *room * 2 > count + more ? *room * 2 : count + more;
    const void **made = wanted <= SNAPSHOT_ITEMS_MAX ? arena_alloc(memory, wanted * sizeof *made) : NULL;
    if (made == NULL)
        return NULL;
    if (count > 0)
        memcpy(made, list, count * sizeof *made);
    *room = wanted;
    return made;
}

static bool part_gather(gathering *self, const snapshot_part *part) {
    history_snapshot *out = self->out;
    const void **nodes =
        grown(self->memory, (const void **)out->nodes, out->node_count, part->n_nodes, &self->node_room);
    const void **edges =
        grown(self->memory, (const void **)out->edges, out->edge_count, part->n_edges, &self->edge_room);
    if ((nodes == NULL && part->n_nodes > 0) || (edges == NULL && part->n_edges > 0))
        return false;
    out->nodes = (const Interlock__Graph__V1__SnapshotNode **)nodes;
    out->edges = (const Interlock__Graph__V1__SnapshotEdge **)edges;
    for (size_t i = 0; i < part->n_nodes; i++)
        out->nodes[out->node_count++] = part->nodes[i];
    for (size_t i = 0; i < part->n_edges; i++)
        out->edges[out->edge_count++] = part->edges[i];
    if (part->at != NULL) {
        out->valid_at_ms = part->at->valid_at_ms;
        out->recorded_at_ms = part->at->recorded_at_ms;
    }
    if (part->revision != 0)
        out->revision = part->revision;
    self->complete = part->complete;
    return true;
}

static bool on_part(void *context, const ProtobufCMessage *message) {
    gathering *self = context;
    const snapshot_part *part = part_copy((const snapshot_part *)message, self->memory);
    if (part == NULL || !part_gather(self, part)) {
        self->code = fail(self->why, STATUS_RESOURCE_EXHAUSTED, "GRAPH_TOO_LARGE",
                          "the snapshot does not fit in memory");
        return false;
    }
    return !self->complete;
}

static status_code snapshot_check(const gathering *self, failure *why) {
    const history_snapshot *out = self->out;
    bool whole = self->complete;
    for (size_t i = 0; i < out->edge_count && whole; i++)
        whole = out->edges[i]->from < out->node_count && out->edges[i]->to < out->node_count;
    return whole ? STATUS_OK
                 : fail(why, STATUS_DATA_LOSS, "BAD_ANSWER", "the graph sent a snapshot that is not whole");
}

status_code history_snapshot_wait(rpc_channel *channel, const snapshot_request *request, uint32_t timeout_ms,
                                  arena *memory, history_snapshot *out, failure *why) {
    history_snapshot made = {0};
    gathering work = {.memory = memory, .out = &made, .why = why};
    status_code code = rpc_stream_wait(channel, SERVICE "Snapshot", &request->base,
                                       &interlock__graph__v1__snapshot_response__descriptor, timeout_ms,
                                       on_part, &work, why);
    if (code == STATUS_OK)
        code = work.code;
    if (code == STATUS_OK)
        code = snapshot_check(&work, why);
    if (code == STATUS_OK)
        *out = made;
    return code;
}

/* ---- The others */

status_code history_diff_wait(rpc_channel *channel, const Interlock__Graph__V1__DiffRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__DiffResponse **out,
                              failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, SERVICE "Diff", &request->base,
                      &interlock__graph__v1__diff_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__DiffResponse *)answer;
    return code;
}

status_code history_past_wait(rpc_channel *channel, const Interlock__Graph__V1__HistoryRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__HistoryResponse **out,
                              failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, SERVICE "History", &request->base,
                      &interlock__graph__v1__history_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__HistoryResponse *)answer;
    return code;
}

status_code history_node_wait(rpc_channel *channel, const Interlock__Graph__V1__GetNodeRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__GetNodeResponse **out,
                              failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, SERVICE "GetNode", &request->base,
                      &interlock__graph__v1__get_node_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__GetNodeResponse *)answer;
    return code;
}

status_code history_neighbors_wait(rpc_channel *channel,
                                   const Interlock__Graph__V1__NeighborsRequest *request, uint32_t timeout_ms,
                                   arena *memory, Interlock__Graph__V1__NeighborsResponse **out,
                                   failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, SERVICE "Neighbors", &request->base,
                                     &interlock__graph__v1__neighbors_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__NeighborsResponse *)answer;
    return code;
}

status_code history_paths_wait(rpc_channel *channel, const Interlock__Graph__V1__FindPathsRequest *request,
                               uint32_t timeout_ms, arena *memory,
                               Interlock__Graph__V1__FindPathsResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, SERVICE "FindPaths", &request->base,
                                     &interlock__graph__v1__find_paths_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__FindPathsResponse *)answer;
    return code;
}
