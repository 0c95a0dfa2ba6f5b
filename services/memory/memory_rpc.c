/* The methods of memory: each hands its call to a pool of threads, since both touch the disk. */
#include "memory_rpc.h"

#include "memory_service.h"

static status_code recall(void *service, rpc_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage *response, failure *why) {
    memory_service *self = service;
    (void)request;
    (void)response;
    return worker_pool_submit(self->readers, call, why);
}

/* RecordOutcome and ConfirmChain: both wait for audit. */
static status_code record(void *service, rpc_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage *response, failure *why) {
    memory_service *self = service;
    (void)request;
    (void)response;
    return worker_pool_submit(self->recorders, call, why);
}

status_code memory_rpc_recall_task(void *context, memory_store *reader, rpc_call *call, failure *why) {
    (void)context;
    return memory_recall(reader, (const Interlock__Memory__V1__RecallRequest *)rpc_call_request(call),
                         rpc_call_arena(call),
                         (Interlock__Memory__V1__RecallResponse *)rpc_call_response(call), why);
}

static status_code confirm_task(memory_service *self, rpc_call *call, failure *why) {
    return memory_confirm_chain(&self->recorder, rpc_call_peer(call),
                                (const Interlock__Memory__V1__ConfirmChainRequest *)rpc_call_request(call),
                                rpc_call_deadline_boot_ns(call), rpc_call_arena(call),
                                (Interlock__Memory__V1__ConfirmChainResponse *)rpc_call_response(call), why);
}

status_code memory_rpc_record_task(void *context, memory_store *reader, rpc_call *call, failure *why) {
    memory_service *self = context;
    if (rpc_call_request(call)->descriptor == &interlock__memory__v1__confirm_chain_request__descriptor)
        return confirm_task(self, call, why);
    return memory_record_outcome(&self->recorder, reader, rpc_call_peer(call),
                                 (const Interlock__Memory__V1__RecordOutcomeRequest *)rpc_call_request(call),
                                 rpc_call_deadline_boot_ns(call), rpc_call_arena(call),
                                 (Interlock__Memory__V1__RecordOutcomeResponse *)rpc_call_response(call),
                                 why);
}

const rpc_method memory_methods[] = {
    RPC_UNARY("/interlock.memory.v1.MemoryService/RecordOutcome",
              interlock__memory__v1__record_outcome_request__descriptor,
              interlock__memory__v1__record_outcome_response__descriptor, ROLE_EXECUTOR | ROLE_OPERATOR,
              record),
    RPC_UNARY("/interlock.memory.v1.MemoryService/ConfirmChain",
              interlock__memory__v1__confirm_chain_request__descriptor,
              interlock__memory__v1__confirm_chain_response__descriptor,
              ROLE_OPERATOR | ROLE_APPROVER | ROLE_AGENT, record),
    RPC_UNARY("/interlock.memory.v1.MemoryService/Recall", interlock__memory__v1__recall_request__descriptor,
              interlock__memory__v1__recall_response__descriptor,
              ROLE_AGENT | ROLE_OPERATOR | ROLE_AUDITOR | ROLE_SERVICE, recall),
};
const size_t memory_method_count = sizeof memory_methods / sizeof *memory_methods;
