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

status_code memory_confirm_chain_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *chain,
                                      uint32_t timeout_ms, arena *memory,
                                      Interlock__Memory__V1__ConfirmChainResponse **out, failure *why) {
    Interlock__Memory__V1__ConfirmChainRequest request = INTERLOCK__MEMORY__V1__CONFIRM_CHAIN_REQUEST__INIT;
    request.chain = (Interlock__Common__V1__Envelope *)chain;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(
        channel, "/interlock.memory.v1.MemoryService/ConfirmChain", &request.base,
        &interlock__memory__v1__confirm_chain_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Memory__V1__ConfirmChainResponse *)answer;
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
