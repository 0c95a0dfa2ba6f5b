/* The graph's ChangeService as typed calls. */
#include "client/changes_client.h"

#define SERVICE "/interlock.graph.v1.ChangeService/"

status_code changes_send_events_wait(rpc_channel *channel,
                                     const Interlock__Graph__V1__SendEventsRequest *request,
                                     uint32_t timeout_ms, arena *memory,
                                     Interlock__Graph__V1__SendEventsResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, SERVICE "SendEvents", &request->base,
                                     &interlock__graph__v1__send_events_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__SendEventsResponse *)answer;
    return code;
}

status_code changes_send_objects_wait(rpc_channel *channel,
                                      const Interlock__Graph__V1__SendObjectsRequest *request,
                                      uint32_t timeout_ms, arena *memory,
                                      Interlock__Graph__V1__SendObjectsResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, SERVICE "SendObjects", &request->base,
                                     &interlock__graph__v1__send_objects_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__SendObjectsResponse *)answer;
    return code;
}

status_code changes_declare_wait(rpc_channel *channel,
                                 const Interlock__Graph__V1__ApplyDeclarationsRequest *request,
                                 uint32_t timeout_ms, arena *memory,
                                 Interlock__Graph__V1__ApplyDeclarationsResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, SERVICE "ApplyDeclarations", &request->base,
                                     &interlock__graph__v1__apply_declarations_response__descriptor,
                                     timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__ApplyDeclarationsResponse *)answer;
    return code;
}

status_code changes_drift_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                               Interlock__Graph__V1__GetDriftResponse **out, failure *why) {
    Interlock__Graph__V1__GetDriftRequest request = INTERLOCK__GRAPH__V1__GET_DRIFT_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, SERVICE "GetDrift", &request.base,
                                     &interlock__graph__v1__get_drift_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__GetDriftResponse *)answer;
    return code;
}
