/* From a decision to its answer: the record, the log's word on it, the permit. */
#include <string.h>

#include "crypto/dsse.h"
#include "evaluation.h"
#include "message.h"
#include "rate_limits.h"
#include "wire/scan.h"

/* Numbers of fields. */
#define RECEIPT_INDEX 1U
#define RECEIPT_LEAF 2U
#define LEAF_EPOCH 11U
#define RECORD_DECISION 2U
#define RESPONSE_DECISION 1U
#define RESPONSE_RECEIPT 2U

#define ROUNDS_MAX 8U      /* appends of one call */
#define FENCE_WAITS_MAX 5U /* of FENCE_WAIT_MS, for a view as new as the fence */
#define FENCE_WAIT_MS 100U
#define RETRY_SOON_MS 1000U

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "CALL_TOO_LARGE",
                "no memory left in this call; propose a smaller action");
}

static void finish_retryable(evaluation *self, const char *reason, const char *message) {
    failure why = {0};
    status_code code = fail(&why, STATUS_UNAVAILABLE, reason, "%s; send the same action again", message);
    why.retry_after_ms = RETRY_SOON_MS;
    evaluation_finish(self, code, &why);
}

/* ---- the record ---- */

static Interlock__Common__V1__Envelope *sign_record(evaluation *self) {
    policy_service *service = self->service;
    Interlock__Policy__V1__DecisionRecord record = INTERLOCK__POLICY__V1__DECISION_RECORD__INIT;
    record.header = statement_header_new(PAYLOAD_DECISION, service->roots->installation, POLICY_PRINCIPAL, 0,
                                         service->source, self->memory);
    record.decision = self->decision;
    record.action = envelope_clean(self->envelope, self->memory);
    return record.header == NULL || record.action == NULL
               ? NULL
               : dsse_sign_message(service->record_key, PAYLOAD_DECISION, &record.base, self->memory);
}

static void on_appended(void *context, status_code code, const Interlock__Audit__V1__AppendGist *response,
                        const failure *why);

static policy_loop *loop_of(evaluation *self) {
    return &self->service->loops[rpc_loop_index(rpc_call_loop(self->call))];
}

static status_code open_appender(evaluation *self, failure *why) {
    policy_loop *loop = loop_of(self);
    if (loop->appender != NULL)
        return STATUS_OK;
    return audit_appender_open(&loop->appender, rpc_call_loop(self->call), loop->audit, self->service->source,
                               why);
}

/* What opens is charged once, however often the action has to be recorded anew. */
static status_code add_counters(const evaluation *self, Interlock__Audit__V1__AppendRequest *request,
                                failure *why) {
    if (self->decision->permit == NULL || self->charged)
        return STATUS_OK;
    return limits_counters(&self->facts, self->memory, &request->counters, &request->n_counters)
               ? STATUS_OK
               : no_memory(why);
}

static void append(evaluation *self) {
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    request.action_id = self->decision->action_id;
    request.expect = self->expect;
    request.control_seq = self->decision->control_seq;
    request.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION;
    request.verdict = (char *)(uintptr_t)outcome_name(self->decision->outcome);
    request.permits = self->decision->permit != NULL;
    request.record = (Interlock__Common__V1__Envelope *)(uintptr_t)self->record;
    failure why = {0};
    if (self->rounds++ >= ROUNDS_MAX) {
        finish_retryable(self, "CONTENDED", "others decide on this action at the same time");
        return;
    }
    status_code code = open_appender(self, &why);
    if (code == STATUS_OK)
        code = add_counters(self, &request, &why);
    if (code == STATUS_OK)
        code = audit_appender_append(loop_of(self)->appender, &request, self->deadline_boot_ns, on_appended,
                                     self, &why);
    if (code != STATUS_OK)
        evaluation_finish(self, code, &why);
}

void evaluation_decide(evaluation *self) {
    failure why = {0};
    status_code code = decide(&self->facts, self->memory, &self->decision, &why);
    if (code == STATUS_OK) {
        self->record = sign_record(self);
        code = self->record == NULL ? no_memory(&why) : STATUS_OK;
    }
    if (code != STATUS_OK)
        evaluation_finish(self, code, &why);
    else
        append(self);
}

/* ---- what the log says ---- */

static Interlock__Policy__V1__Decision *decision_of(const Interlock__Common__V1__Envelope *record,
                                                    arena *memory) {
    ProtobufCMessage *message = NULL;
    if (strcmp(record->payload_type, PAYLOAD_DECISION) != 0 ||
        wire_unpack(&interlock__policy__v1__decision_record__descriptor,
                    bytes_of(record->payload.data, record->payload.len), memory, &message, NULL) != STATUS_OK)
        return NULL;
    return ((Interlock__Policy__V1__DecisionRecord *)message)->decision;
}

static bool same_action(const evaluation *self, const Interlock__Policy__V1__Decision *decision) {
    return decision->action_digest.len == CRYPTO_HASH_BYTES &&
           memcmp(decision->action_digest.data, self->proposed.digest, CRYPTO_HASH_BYTES) == 0;
}

static void finish_reused(evaluation *self) {
    failure why = {0};
    status_code code =
        fail(&why, STATUS_ALREADY_EXISTS, "ACTION_ID_REUSED",
             "the log holds another action under the id %.128s; give this one an id of its own",
             self->proposed.action->action_id);
    evaluation_finish(self, code, &why);
}

/* Audit takes records from every service and the signer looks at the log alone: what is repeated as this
 * service's word must carry the signature of one of its replicas. */
static bool is_ours(const evaluation *self, const Interlock__Common__V1__Envelope *record) {
    const trust_key *key = record->n_signatures != 1 ? NULL
                                                     : trust_find_keyid(self->service->roots, KEY_RECORD,
                                                                        record->signatures[0]->keyid);
    return key != NULL && dsse_verify(record, PAYLOAD_DECISION, &key->key);
}

static void finish_forged(evaluation *self, uint64_t index) {
    failure why = {0};
    status_code code = fail(
        &why, STATUS_DATA_LOSS, "DECISION_FORGED",
        "record %llu of the log claims to be the decision on %.128s, but no record key of installation.yaml "
        "has signed it; run interlock audit verify and look for who else may append",
        (unsigned long long)index, self->proposed.action->action_id);
    evaluation_finish(self, code, &why);
}

static wire_part packed_receipt(const Interlock__Audit__V1__Receipt *receipt, arena *memory) {
    bytes packed;
    return wire_pack(&receipt->base, memory, &packed, NULL) == STATUS_OK ? wire_frame(packed, memory)
                                                                         : (wire_part){0};
}

void evaluation_adopt(evaluation *self, const Interlock__Audit__V1__Entry *entry,
                      const Interlock__Audit__V1__Receipt *receipt) {
    failure why = {0};
    Interlock__Policy__V1__Decision *decision =
        entry->record == NULL ? NULL : decision_of(entry->record, self->memory);
    if (decision == NULL) {
        status_code code =
            fail(&why, STATUS_FAILED_PRECONDITION, "DECISION_ERASED",
                 "an action with the id %.128s was decided, and its record is no longer to be read; "
                 "give this one an id of its own",
                 self->proposed.action->action_id);
        evaluation_finish(self, code, &why);
        return;
    }
    if (!is_ours(self, entry->record)) {
        finish_forged(self, entry->index);
        return;
    }
    if (!same_action(self, decision)) {
        finish_reused(self);
        return;
    }
    if (!outcome_is_final(decision->outcome) && !self->proposed.expired) {
        /* Decided anew: the decision made now follows the deferred one. */
        self->expect = entry->index;
        append(self);
        return;
    }
    self->decision = decision;
    self->record = entry->record;
    self->receipt = packed_receipt(receipt, self->memory);
    self->repeated = true;
    if (self->receipt.framed.data == NULL)
        evaluation_finish(self, no_memory(&why), &why);
    else
        evaluation_answer(self);
}

static void on_conflict(evaluation *self, const Interlock__Audit__V1__Conflict *lent) {
    const Interlock__Audit__V1__Conflict *conflict =
        (const Interlock__Audit__V1__Conflict *)message_copy(&lent->base, self->memory);
    ProtobufCMessage *message = NULL;
    failure why = {0};
    if (conflict == NULL || conflict->latest == NULL || conflict->receipt == NULL ||
        wire_unpack(&interlock__audit__v1__leaf__descriptor,
                    bytes_of(conflict->latest->leaf.data, conflict->latest->leaf.len), self->memory, &message,
                    &why) != STATUS_OK) {
        evaluation_finish(self,
                          conflict == NULL ? no_memory(&why)
                                           : fail(&why, STATUS_INTERNAL, "LOG_ANSWER",
                                                  "the log named a conflict without saying with what"),
                          &why);
        return;
    }
    const Interlock__Audit__V1__Leaf *leaf = (const Interlock__Audit__V1__Leaf *)message;
    if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION)
        evaluation_adopt(self, conflict->latest, conflict->receipt);
    else if (leaf->previous_index == 0)
        finish_reused(self); /* whatever stands under this id, it was never decided on */
    else
        evaluation_look_up(self, leaf->previous_index);
}

/* The log has seen a newer kill switch than this replica: wait for the view to catch up, then start over. */
static void after_fence(void *context) {
    evaluation *self = context;
    failure why = {0};
    status_code code = evaluation_open(self, &why);
    if (code != STATUS_OK)
        evaluation_finish(self, code, &why);
    else if (self->view->seq <= self->fenced_seq && self->rounds <= FENCE_WAITS_MAX &&
             rpc_loop_after(rpc_call_loop(self->call), FENCE_WAIT_MS, after_fence, self) == STATUS_OK)
        self->rounds++;
    else
        evaluation_gather(self);
}

static void on_fenced(evaluation *self) {
    self->fenced_seq = self->view->seq;
    if (rpc_loop_after(rpc_call_loop(self->call), FENCE_WAIT_MS, after_fence, self) != STATUS_OK)
        finish_retryable(self, "CONTROL_BEHIND_FENCE", "the log holds a newer kill switch than was applied");
}

static void on_refusal(evaluation *self, const Interlock__Audit__V1__Refusal *refusal) {
    failure why = {0};
    switch (refusal->reason) {
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_FENCED:
        on_fenced(self);
        return;
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_COUNTER_EXHAUSTED:
        self->facts.counter_key = arena_text(self->memory, refusal->counter_key);
        self->facts.counter_retry_ms = refusal->retry_after_ms > 0 ? refusal->retry_after_ms : RETRY_SOON_MS;
        evaluation_decide(self);
        return;
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_UNAVAILABLE:
        fail(&why, STATUS_UNAVAILABLE, "AUDIT_UNAVAILABLE",
             "the log cannot take the decision now (%.300s); send the same action again", refusal->message);
        why.retry_after_ms = refusal->retry_after_ms > 0 ? refusal->retry_after_ms : RETRY_SOON_MS;
        break;
    default:
        fail(&why, STATUS_INTERNAL, "RECORD_REFUSED", "the log refused the decision's record: %.300s",
             refusal->message);
    }
    evaluation_finish(self, why.code, &why);
}

static void on_append_failed(evaluation *self, const failure *cause) {
    failure why = {0};
    if (cause->reason != NULL && strcmp(cause->reason, "UNKNOWN_RESULT") == 0)
        fail(
            &why, STATUS_UNAVAILABLE, "UNKNOWN_RESULT",
            "the log has not answered, so that it is not known whether the action was decided; send the same "
            "action again: it is decided once");
    else
        fail(&why, STATUS_UNAVAILABLE, "AUDIT_UNAVAILABLE",
             "the log cannot be reached (%.300s), and nothing is decided that is not in it; send the same "
             "action "
             "again",
             cause->message);
    why.retry_after_ms = RETRY_SOON_MS;
    evaluation_finish(self, why.code, &why);
}

/* The log has begun a new epoch, in which a permit of the old one is void and will not be signed: decide
 * again. */
static bool epoch_passed(evaluation *self) {
    wire_part leaf;
    if (self->decision->permit == NULL || !wire_find(self->receipt.content, RECEIPT_LEAF, &leaf))
        return false;
    uint64_t epoch = wire_find_number(leaf.content, LEAF_EPOCH);
    projection_saw_epoch(&self->service->log, epoch);
    return epoch > self->decision->permit->epoch;
}

static void on_receipt(evaluation *self, ProtobufCBinaryData lent) {
    failure why = {0};
    self->charged = self->charged || self->decision->permit != NULL;
    self->receipt = wire_frame(bytes_of(lent.data, lent.len), self->memory);
    if (self->receipt.framed.data == NULL) {
        evaluation_finish(self, no_memory(&why), &why);
    } else if (epoch_passed(self)) {
        self->expect = wire_find_number(self->receipt.content, RECEIPT_INDEX);
        evaluation_gather(self);
    } else {
        evaluation_answer(self);
    }
}

static void on_appended(void *context, status_code code, const Interlock__Audit__V1__AppendGist *response,
                        const failure *why) {
    evaluation *self = context;
    if (code != STATUS_OK) {
        on_append_failed(self, why);
        return;
    }
    failure lost = {0};
    switch (response->result_case) {
    case INTERLOCK__AUDIT__V1__APPEND_GIST__RESULT_RECEIPT:
        on_receipt(self, response->receipt);
        return;
    case INTERLOCK__AUDIT__V1__APPEND_GIST__RESULT_CONFLICT:
        on_conflict(self, response->conflict);
        return;
    case INTERLOCK__AUDIT__V1__APPEND_GIST__RESULT_REFUSAL:
        on_refusal(self, response->refusal);
        return;
    default:
        fail(&lost, STATUS_INTERNAL, "LOG_ANSWER",
             "the log answered without a result; send the same action again");
        evaluation_finish(self, lost.code, &lost);
    }
}

/* ---- the answer ---- */

static void count(const evaluation *self) {
    policy_service *service = self->service;
    if (self->repeated) {
        atomic_fetch_add_explicit(&service->repeated, 1, memory_order_relaxed);
        return;
    }
    if (self->view != NULL)
        shadow_observe(&service->shadow, self->view, &self->facts, self->decision, self->memory);
    unsigned outcome = (unsigned)self->decision->outcome;
    unsigned mode = (unsigned)self->decision->mode;
    if (outcome < POLICY_OUTCOMES && mode < POLICY_MODES)
        atomic_fetch_add_explicit(&service->decisions[outcome][mode], 1, memory_order_relaxed);
}

/* Decision and receipt are packed already, in the record and by audit: they go out as they are. */
static bool answer_packed(evaluation *self, Interlock__Policy__V1__EvaluateResponse *response) {
    ProtobufCMessageUnknownField *fields = arena_alloc(self->memory, 2 * sizeof *fields);
    wire_part decision;
    if (fields == NULL || !wire_find(bytes_of(self->record->payload.data, self->record->payload.len),
                                     RECORD_DECISION, &decision))
        return false;
    fields[0] = wire_as_field(RESPONSE_DECISION, &decision);
    fields[1] = wire_as_field(RESPONSE_RECEIPT, &self->receipt);
    response->base.unknown_fields = fields;
    response->base.n_unknown_fields = 2;
    return true;
}

static void answer_with(evaluation *self, char *permit) {
    Interlock__Policy__V1__EvaluateResponse *response =
        (Interlock__Policy__V1__EvaluateResponse *)rpc_call_response(self->call);
    failure why = {0};
    if (!answer_packed(self, response)) {
        evaluation_finish(self, no_memory(&why), &why);
        return;
    }
    response->repeated = self->repeated;
    if (permit != NULL)
        response->permit = permit;
    count(self);
    evaluation_finish(self, STATUS_OK, NULL);
}

static void on_signed(void *context, status_code code, const char *permit, const failure *cause) {
    evaluation *self = context;
    failure why = {0};
    if (code == STATUS_OK) {
        char *copy = arena_text(self->memory, permit);
        if (copy == NULL)
            evaluation_finish(self, no_memory(&why), &why);
        else
            answer_with(self, copy);
        return;
    }
    bool refused = code == STATUS_INVALID_ARGUMENT || code == STATUS_FAILED_PRECONDITION ||
                   code == STATUS_PERMISSION_DENIED || code == STATUS_UNAUTHENTICATED;
    if (refused)
        fail(&why, STATUS_INTERNAL, "SIGNER_REFUSED",
             "the decision is in the log, but the signer refused its permit: "
             "%.300s",
             cause->message);
    else
        fail(&why, STATUS_UNAVAILABLE, "SIGNER_UNAVAILABLE",
             "the decision is in the log, but its permit could not be signed (%.300s); send the same action "
             "again",
             cause->message);
    why.retry_after_ms = refused ? 0 : RETRY_SOON_MS;
    evaluation_finish(self, why.code, &why);
}

static status_code sign_permit(evaluation *self, failure *why) {
    policy_loop *loop = loop_of(self);
    status_code code = STATUS_OK;
    if (loop->permits == NULL)
        code = signer_client_open(&loop->permits, rpc_call_loop(self->call), loop->signer,
                                  self->service->source, why);
    if (code == STATUS_OK)
        code = signer_client_sign(loop->permits, &self->receipt, self->record, self->deadline_boot_ns,
                                  on_signed, self, why);
    return code;
}

void evaluation_answer(evaluation *self) {
    if (self->decision->permit == NULL) {
        answer_with(self, NULL);
        return;
    }
    failure why = {0};
    status_code code = evaluation_recheck(self, &why);
    if (code == STATUS_OK)
        code = sign_permit(self, &why);
    if (code != STATUS_OK)
        evaluation_finish(self, code, &why);
}
