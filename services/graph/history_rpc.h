/* Handlers of HistoryService, for the table in graph_rpc.c. */
#ifndef GRAPH_HISTORY_RPC_H
#define GRAPH_HISTORY_RPC_H

#include "interlock/graph/v1/history.pb-c.h"
#include "rpc/server.h"

status_code history_rpc_get_node(void *service, rpc_call *call, const ProtobufCMessage *request,
                                 ProtobufCMessage *response, failure *why);
status_code history_rpc_history(void *service, rpc_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, failure *why);
status_code history_rpc_neighbors(void *service, rpc_call *call, const ProtobufCMessage *request,
                                  ProtobufCMessage *response, failure *why);
status_code history_rpc_find_paths(void *service, rpc_call *call, const ProtobufCMessage *request,
                                   ProtobufCMessage *response, failure *why);
status_code history_rpc_diff(void *service, rpc_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, failure *why);
extern const rpc_stream_handlers history_rpc_snapshot, history_rpc_watch_changes;

#endif
