/* The memory service's methods as blocking calls. */
#include "client/memory_client.h"

status_code memory_record_outcome_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *outcome,
                                       uint32_t timeout_ms, arena *memory,
                                       Interlock__Memory__V1__RecordOutcomeResponse **out, failure *why) {
    Interlock__Memory__V1__RecordOutcomeRequest request = INTERLOCK__MEMORY__V1__RECORD_OUTCOME_REQUEST__INIT;
    request.outcome = (Interlock__Common__V1__Envelope *)outcome;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(
        channel, "/interlock.memory.v1.MemoryService/RecordOutcome", &request.base,
        &interlock__memory__v1__record_outcome_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Memory__V1__RecordOutcomeResponse *)answer;
    return code;
}

status_code memory_recall_wait(rpc_channel *channel, const Interlock__Memory__V1__RecallRequest *request,
                               uint32_t timeout_ms, arena *memory,
                               Interlock__Memory__V1__RecallResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, "/interlock.memory.v1.MemoryService/Recall", &request->base,
                      &interlock__memory__v1__recall_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Memory__V1__RecallResponse *)answer;
    return code;
}
