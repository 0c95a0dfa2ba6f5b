/* The graph service's root causes as typed calls. */
#include "client/root_cause_client.h"

status_code root_cause_wait(rpc_channel *channel, const Interlock__Graph__V1__RootCauseRequest *request,
                            uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__RootCauseResponse **out,
                            failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, "/interlock.graph.v1.RootCauseService/RootCause",
                                     &request->base, &interlock__graph__v1__root_cause_response__descriptor,
                                     timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Graph__V1__RootCauseResponse *)answer;
    return code;
}
