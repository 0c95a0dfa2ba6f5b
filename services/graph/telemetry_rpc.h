/* Telemetry over the wire: the stream, and what the graph keeps of a node. */
#ifndef GRAPH_TELEMETRY_RPC_H
#define GRAPH_TELEMETRY_RPC_H

#include "ingest.h"
#include "interlock/graph/v1/telemetry.pb-c.h"
#include "rpc/server.h"

#define TELEMETRY_STREAM_UNDER_WAY 64U /* requests of one stream that wait; then it is read no further */
#define TELEMETRY_ACK_EVERY 16U

typedef Interlock__Graph__V1__GetSignalsRequest signals_request;
typedef Interlock__Graph__V1__GetSignalsResponse signals_response;

/* For rpc_stream_handlers. Any of these on the stream's own loop. */
status_code telemetry_stream_open(rpc_stream *stream, ingest *to, failure *why) MUST_USE;
status_code telemetry_stream_message(rpc_stream *stream, const ProtobufCMessage *message,
                                     failure *why) MUST_USE;
void telemetry_stream_half_closed(rpc_stream *stream);
void telemetry_stream_closed(rpc_stream *stream);

/* signals_answer.c. NOT_FOUND (NO_SIGNALS) for a node that no telemetry speaks of. */
status_code signals_answer(ingest *from, const signals_request *request, int64_t now_ms, arena *memory,
                           signals_response *out, failure *why) MUST_USE;

#endif
