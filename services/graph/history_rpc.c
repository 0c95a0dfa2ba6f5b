/* The methods of the graph with time: every one goes to the thread that reads the history. */
#include "history_rpc.h"

#include "graph.h"

#define QUESTION(name, kind)                                                                                 \
    status_code name(void *service, rpc_call *call, const ProtobufCMessage *request,                         \
                     ProtobufCMessage *response, failure *why) {                                             \
        (void)request;                                                                                       \
        (void)response;                                                                                      \
        return history_ask_submit(graph_history(service), kind, call, why);                                  \
    }

QUESTION(history_rpc_get_node, ASK_GET_NODE)
QUESTION(history_rpc_history, ASK_HISTORY)
QUESTION(history_rpc_neighbors, ASK_NEIGHBORS)
QUESTION(history_rpc_find_paths, ASK_PATHS)
QUESTION(history_rpc_diff, ASK_DIFF)

static status_code snapshot_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                   failure *why) {
    return history_ask_snapshot(graph_history(service), stream, request, why);
}

static status_code changes_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                  failure *why) {
    return history_ask_watch(graph_history(service), stream, request, why);
}

static void stream_closed(void *service, rpc_stream *stream) {
    (void)service;
    history_ask_forget(stream);
}

const rpc_stream_handlers history_rpc_snapshot = {.open = snapshot_opened, .closed = stream_closed};
const rpc_stream_handlers history_rpc_watch_changes = {.open = changes_opened, .closed = stream_closed};
