/* See log_fetch.h. Audit's Query is for people; services read single records through Tail and GetProof. */
#include "log_fetch.h"

#include "client/audit_client.h"
#include "message.h"
#include "wire/scan.h"

#define FETCH_TIMEOUT_MS 3000U
#define HISTORY_MAX 64 /* records of one action that are walked back */

typedef struct fetch {
    arena *memory;
    Interlock__Audit__V1__Entry *entry;
} fetch;

static bool take_first(void *context, const ProtobufCMessage *message) {
    fetch *self = context;
    const Interlock__Audit__V1__TailResponse *batch = (const Interlock__Audit__V1__TailResponse *)message;
    if (batch->n_entries > 0)
        self->entry = (Interlock__Audit__V1__Entry *)message_copy(&batch->entries[0]->base, self->memory);
    return false;
}

status_code log_fetch_entry(rpc_channel *audit, uint64_t index, arena *memory,
                            Interlock__Audit__V1__Entry **out, failure *why) {
    Interlock__Audit__V1__TailRequest request = INTERLOCK__AUDIT__V1__TAIL_REQUEST__INIT;
    request.from_index = index;
    fetch self = {.memory = memory};
    status_code code = rpc_stream_wait(audit, "/interlock.audit.v1.AuditService/Tail", &request.base,
                                       &interlock__audit__v1__tail_response__descriptor, FETCH_TIMEOUT_MS,
                                       take_first, &self, why);
    if (code != STATUS_OK)
        return code;
    if (self.entry == NULL || self.entry->index != index)
        return fail(why, STATUS_NOT_FOUND, "RECORD_NOT_FOUND", "the log holds no record %llu",
                    (unsigned long long)index);
    *out = self.entry;
    return STATUS_OK;
}

status_code log_fetch_decision(rpc_channel *audit, uint64_t index, arena *memory,
                               Interlock__Audit__V1__Entry **out, failure *why) {
    for (int i = 0; i < HISTORY_MAX && index != 0; i++) {
        Interlock__Audit__V1__Entry *entry = NULL;
        ProtobufCMessage *message = NULL;
        status_code code = log_fetch_entry(audit, index, memory, &entry, why);
        if (code == STATUS_OK)
            code = wire_unpack(&interlock__audit__v1__leaf__descriptor,
                               bytes_of(entry->leaf.data, entry->leaf.len), memory, &message, why);
        if (code != STATUS_OK)
            return code;
        const Interlock__Audit__V1__Leaf *leaf = (const Interlock__Audit__V1__Leaf *)message;
        if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION) {
            *out = entry;
            return STATUS_OK;
        }
        index = leaf->previous_index;
    }
    return fail(why, STATUS_NOT_FOUND, "DECISION_NOT_FOUND", "the log holds no decision on this action");
}

status_code log_fetch_receipt(rpc_channel *audit, const Interlock__Audit__V1__Entry *entry, arena *memory,
                              Interlock__Audit__V1__Receipt **out, failure *why) {
    Interlock__Audit__V1__GetProofRequest request = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__INIT;
    request.proof_case = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF_INDEX;
    request.index = entry->index;
    Interlock__Audit__V1__GetProofResponse *proof = NULL;
    status_code code = audit_get_proof_wait(audit, &request, FETCH_TIMEOUT_MS, memory, &proof, why);
    if (code != STATUS_OK)
        return code;
    Interlock__Audit__V1__Receipt *receipt = arena_alloc(memory, sizeof *receipt);
    if (receipt == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CALL_TOO_LARGE", "no memory left in this call");
    interlock__audit__v1__receipt__init(receipt);
    receipt->index = entry->index;
    receipt->leaf = entry->leaf;
    receipt->salt = entry->salt;
    receipt->n_proof = proof->n_hashes;
    receipt->proof = proof->hashes;
    receipt->checkpoint = proof->checkpoint;
    *out = receipt;
    return STATUS_OK;
}
