/* The methods of graph: whoever proposes actions may ask what they would hit, and may not send the telemetry
 * that the answer rests on. */
#include "graph_rpc.h"

#include "graph.h"

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse export_response;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTracePartialSuccess partial_success;

/* ---- Export
 * ------------------------------------------------------------------------------------------------------- */

/* Spans that were refused are reported once and must not be sent again: the call itself succeeds. */
static status_code partial_fill(rpc_call *call, uint64_t refused, const char *text, failure *why) {
    export_response *response = (export_response *)rpc_call_response(call);
    partial_success *partial = arena_alloc(rpc_call_arena(call), sizeof *partial);
    char *message = arena_text(rpc_call_arena(call), text);
    if (partial == NULL || message == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    opentelemetry__proto__collector__trace__v1__export_trace_partial_success__init(partial);
    partial->rejected_spans = (int64_t)refused;
    partial->error_message = message;
    response->partial_success = partial;
    return STATUS_OK;
}

static void exported(void *context, status_code code, uint64_t refused, const char *text,
                     const failure *why) {
    rpc_call *call = context;
    failure inner = {0};
    if (code == STATUS_OK && refused > 0 && (code = partial_fill(call, refused, text, &inner)) != STATUS_OK)
        why = &inner;
    rpc_call_complete(call, code, why);
}

static status_code export_spans(void *service, rpc_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, failure *why) {
    (void)response;
    status_code status =
        ingest_submit(graph_ingest(service), (const trace_export *)request, exported, call, why);
    return status == STATUS_OK ? STATUS_PENDING : status;
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

#define ASKING (ROLE_SERVICE | ROLE_OPERATOR | ROLE_AGENT | ROLE_AUDITOR)

const rpc_method graph_methods[] = {
    RPC_UNARY("/opentelemetry.proto.collector.trace.v1.TraceService/Export",
              opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
              opentelemetry__proto__collector__trace__v1__export_trace_service_response__descriptor,
              ROLE_TELEMETRY, export_spans),
    RPC_UNARY("/interlock.graph.v1.GraphService/PredictImpact",
              interlock__graph__v1__predict_impact_request__descriptor,
              interlock__graph__v1__predict_impact_response__descriptor, ASKING, predict_impact),
    RPC_UNARY("/interlock.graph.v1.GraphService/GetGraph",
              interlock__graph__v1__get_graph_request__descriptor,
              interlock__graph__v1__get_graph_response__descriptor, ASKING, get_graph),
    RPC_SERVER_STREAM("/interlock.graph.v1.GraphService/WatchImpact",
                      interlock__graph__v1__watch_impact_request__descriptor,
                      interlock__graph__v1__watch_impact_response__descriptor, ROLE_SERVICE, &watch_handlers),
};
const size_t graph_method_count = sizeof graph_methods / sizeof *graph_methods;
