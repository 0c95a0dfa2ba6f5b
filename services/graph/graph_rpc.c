/* The methods of graph: whoever proposes actions may ask what they would hit, and may not send the telemetry
 * that the answer rests on. */
#include "graph_rpc.h"

#include "chain_match.h"
#include "graph.h"
#include "history_rpc.h"
#include "interlock/graph/v1/changes.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "telemetry_rpc.h"

/* ---- What the writer takes
 * ----------------------------------------------------------------------------------------- */

static void taken(void *context, status_code code, const failure *why) {
    rpc_call_complete(context, code, why);
}

/* Hands the call to the ingest thread, which fills the response and answers when it is durable. */
static status_code submit(void *service, ingest_kind kind, rpc_call *call, const ProtobufCMessage *message,
                          ProtobufCMessage *response, failure *why) {
    ingest_request request = {.kind = kind,
                              .message = message,
                              .response = response,
                              .memory = rpc_call_arena(call),
                              .done = taken,
                              .context = call};
    status_code status = ingest_submit(graph_ingest(service), &request, why);
    return status == STATUS_OK ? STATUS_PENDING : status;
}

static status_code export_traces(void *service, rpc_call *call, const ProtobufCMessage *request,
                                 ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_TRACES, call, request, response, why);
}

static status_code export_metrics(void *service, rpc_call *call, const ProtobufCMessage *request,
                                  ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_METRICS, call, request, response, why);
}

static status_code export_logs(void *service, rpc_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_LOGS, call, request, response, why);
}

/* ---- Telemetry streams
 * -------------------------------------------------------------------------------------------- */

static status_code telemetry_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                    failure *why) {
    (void)request;
    return telemetry_stream_open(stream, graph_ingest(service), why);
}

static status_code telemetry_came(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                  arena *memory, failure *why) {
    (void)service;
    (void)memory;
    return telemetry_stream_message(stream, message, why);
}

static void telemetry_half_closed(void *service, rpc_stream *stream) {
    (void)service;
    telemetry_stream_half_closed(stream);
}

static void telemetry_closed(void *service, rpc_stream *stream) {
    (void)service;
    telemetry_stream_closed(stream);
}

static const rpc_stream_handlers telemetry_handlers = {.open = telemetry_opened,
                                                       .message = telemetry_came,
                                                       .half_closed = telemetry_half_closed,
                                                       .closed = telemetry_closed};

static status_code get_signals(void *service, rpc_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, failure *why) {
    ingest *from = graph_ingest(service);
    return signals_answer(from, (const signals_request *)request, ingest_wall_ms(from), rpc_call_arena(call),
                          (signals_response *)response, why);
}

static status_code send_events(void *service, rpc_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_EVENTS, call, request, response, why);
}

static status_code send_objects(void *service, rpc_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_OBJECTS, call, request, response, why);
}

static status_code apply_declarations(void *service, rpc_call *call, const ProtobufCMessage *request,
                                      ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_DECLARATIONS, call, request, response, why);
}

/* A question, but one about what the writer alone knows as a whole. */
static status_code get_drift(void *service, rpc_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, failure *why) {
    return submit(service, INGEST_DRIFT, call, request, response, why);
}

/* ---- Questions
 * ---------------------------------------------------------------------------------------------------- */

static status_code predict_impact(void *service, rpc_call *call, const ProtobufCMessage *request,
                                  ProtobufCMessage *response, failure *why) {
    return graph_predict_impact(service, (const impact_request *)request, rpc_call_arena(call),
                                (impact_response *)response, why);
}

static status_code get_graph(void *service, rpc_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, failure *why) {
    (void)request;
    return graph_get(service, rpc_call_arena(call), (graph_response *)response, why);
}

/* ---- WatchImpact
 * -------------------------------------------------------------------------------------------------- */

static status_code watch_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                failure *why) {
    (void)request;
    return watch_add(graph_watch(service), stream, why);
}

static void watch_closed(void *service, rpc_stream *stream) {
    (void)service;
    watch_remove(stream);
}

static const rpc_stream_handlers watch_handlers = {.open = watch_opened, .closed = watch_closed};

/* ---- Root causes
 * ------------------------------------------------------------------------------------------------------- */

static status_code root_cause(void *service, rpc_call *call, const ProtobufCMessage *request,
                              ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    status_code status = root_cause_ask_submit(graph_root_cause(service), call, why);
    return status == STATUS_OK ? STATUS_PENDING : status;
}

static status_code match_chains(void *service, rpc_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, failure *why) {
    (void)service;
    (void)call;
    return chain_match((const chain_match_request *)request, (chain_match_response *)response, why);
}

static status_code causes_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                 failure *why) {
    return root_cause_ask_watch(graph_root_cause(service), stream, (const watch_root_cause_request *)request,
                                why);
}

static void causes_closed(void *service, rpc_stream *stream) {
    root_cause_ask_unwatch(graph_root_cause(service), stream);
}

static const rpc_stream_handlers causes_handlers = {.open = causes_opened, .closed = causes_closed};

/* Who may say what changed: never the agents whose bounds follow from it. */
#define CHANGING (ROLE_SERVICE | ROLE_OPERATOR)
#define ASKING (ROLE_SERVICE | ROLE_OPERATOR | ROLE_AGENT | ROLE_AUDITOR)

const rpc_method graph_methods[] = {
    RPC_UNARY("/opentelemetry.proto.collector.trace.v1.TraceService/Export",
              opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
              opentelemetry__proto__collector__trace__v1__export_trace_service_response__descriptor,
              ROLE_TELEMETRY, export_traces),
    RPC_UNARY("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
              opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor,
              opentelemetry__proto__collector__metrics__v1__export_metrics_service_response__descriptor,
              ROLE_TELEMETRY, export_metrics),
    RPC_UNARY("/opentelemetry.proto.collector.logs.v1.LogsService/Export",
              opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor,
              opentelemetry__proto__collector__logs__v1__export_logs_service_response__descriptor,
              ROLE_TELEMETRY, export_logs),
    RPC_BIDI("/interlock.graph.v1.TelemetryService/Stream", interlock__graph__v1__stream_request__descriptor,
             interlock__graph__v1__stream_response__descriptor, ROLE_TELEMETRY, &telemetry_handlers),
    RPC_UNARY("/interlock.graph.v1.TelemetryService/GetSignals",
              interlock__graph__v1__get_signals_request__descriptor,
              interlock__graph__v1__get_signals_response__descriptor, ASKING, get_signals),
    RPC_UNARY("/interlock.graph.v1.ChangeService/SendEvents",
              interlock__graph__v1__send_events_request__descriptor,
              interlock__graph__v1__send_events_response__descriptor, CHANGING, send_events),
    RPC_UNARY("/interlock.graph.v1.ChangeService/SendObjects",
              interlock__graph__v1__send_objects_request__descriptor,
              interlock__graph__v1__send_objects_response__descriptor, CHANGING, send_objects),
    RPC_UNARY("/interlock.graph.v1.ChangeService/ApplyDeclarations",
              interlock__graph__v1__apply_declarations_request__descriptor,
              interlock__graph__v1__apply_declarations_response__descriptor, CHANGING, apply_declarations),
    RPC_UNARY("/interlock.graph.v1.ChangeService/GetDrift",
              interlock__graph__v1__get_drift_request__descriptor,
              interlock__graph__v1__get_drift_response__descriptor, CHANGING | ROLE_AUDITOR, get_drift),
    RPC_UNARY("/interlock.graph.v1.GraphService/PredictImpact",
              interlock__graph__v1__predict_impact_request__descriptor,
              interlock__graph__v1__predict_impact_response__descriptor, ASKING, predict_impact),
    RPC_UNARY("/interlock.graph.v1.GraphService/GetGraph",
              interlock__graph__v1__get_graph_request__descriptor,
              interlock__graph__v1__get_graph_response__descriptor, ASKING, get_graph),
    RPC_SERVER_STREAM("/interlock.graph.v1.GraphService/WatchImpact",
                      interlock__graph__v1__watch_impact_request__descriptor,
                      interlock__graph__v1__watch_impact_response__descriptor, ROLE_SERVICE, &watch_handlers),
    RPC_UNARY("/interlock.graph.v1.HistoryService/Diff", interlock__graph__v1__diff_request__descriptor,
              interlock__graph__v1__diff_response__descriptor, ASKING, history_rpc_diff),
    RPC_UNARY("/interlock.graph.v1.HistoryService/History", interlock__graph__v1__history_request__descriptor,
              interlock__graph__v1__history_response__descriptor, ASKING, history_rpc_history),
    RPC_UNARY("/interlock.graph.v1.HistoryService/GetNode",
              interlock__graph__v1__get_node_request__descriptor,
              interlock__graph__v1__get_node_response__descriptor, ASKING, history_rpc_get_node),
    RPC_UNARY("/interlock.graph.v1.HistoryService/Neighbors",
              interlock__graph__v1__neighbors_request__descriptor,
              interlock__graph__v1__neighbors_response__descriptor, ASKING, history_rpc_neighbors),
    RPC_UNARY("/interlock.graph.v1.HistoryService/FindPaths",
              interlock__graph__v1__find_paths_request__descriptor,
              interlock__graph__v1__find_paths_response__descriptor, ASKING, history_rpc_find_paths),
    RPC_SERVER_STREAM("/interlock.graph.v1.HistoryService/Snapshot",
                      interlock__graph__v1__snapshot_request__descriptor,
                      interlock__graph__v1__snapshot_response__descriptor, ASKING, &history_rpc_snapshot),
    RPC_SERVER_STREAM("/interlock.graph.v1.HistoryService/WatchChanges",
                      interlock__graph__v1__watch_changes_request__descriptor,
                      interlock__graph__v1__watch_changes_response__descriptor, ASKING,
                      &history_rpc_watch_changes),
    RPC_UNARY("/interlock.graph.v1.RootCauseService/RootCause",
              interlock__graph__v1__root_cause_request__descriptor,
              interlock__graph__v1__root_cause_response__descriptor, ASKING, root_cause),
    RPC_UNARY("/interlock.graph.v1.RootCauseService/ChainMatch",
              interlock__graph__v1__chain_match_request__descriptor,
              interlock__graph__v1__chain_match_response__descriptor, ASKING, match_chains),
    RPC_SERVER_STREAM("/interlock.graph.v1.RootCauseService/WatchRootCause",
                      interlock__graph__v1__watch_root_cause_request__descriptor,
                      interlock__graph__v1__watch_root_cause_response__descriptor, ASKING, &causes_handlers),
};
const size_t graph_method_count = sizeof graph_methods / sizeof *graph_methods;
