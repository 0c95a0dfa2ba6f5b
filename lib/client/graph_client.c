/* The graph service's methods as typed calls. */
#include "client/graph_client.h"

#define PREDICT_IMPACT "/interlock.graph.v1.GraphService/PredictImpact"

status_code graph_predict_impact_start(rpc_loop *loop, rpc_channel *channel,
                                       const Interlock__Graph__V1__PredictImpactRequest *request,
                                       uint32_t timeout_ms, const char *traceparent, rpc_done done,
                                       void *context, failure *why) {
    return rpc_unary_start(loop, channel, PREDICT_IMPACT, &request->base,
                           &interlock__graph__v1__predict_impact_response__descriptor, timeout_ms,
                           traceparent, done, context, why);
}

status_code graph_predict_impact_wait(rpc_channel *channel,
                                      const Interlock__Graph__V1__PredictImpactRequest *request,
                                      uint32_t timeout_ms, arena *memory,
                                      Interlock__Graph__V1__PredictImpactResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, PREDICT_IMPACT, &request->base,
                                     &interlock__graph__v1__predict_impact_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__PredictImpactResponse *)answer;
    return code;
}

status_code graph_get_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                           Interlock__Graph__V1__GetGraphResponse **out, failure *why) {
    Interlock__Graph__V1__GetGraphRequest request = INTERLOCK__GRAPH__V1__GET_GRAPH_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, "/interlock.graph.v1.GraphService/GetGraph", &request.base,
                                     &interlock__graph__v1__get_graph_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__GetGraphResponse *)answer;
    return code;
}

status_code
graph_export_wait(rpc_channel *channel,
                  const Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest *request,
                  uint32_t timeout_ms, arena *memory,
                  Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse **out,
                  failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &request->base,
                      &opentelemetry__proto__collector__trace__v1__export_trace_service_response__descriptor,
                      timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *)answer;
    return code;
}
