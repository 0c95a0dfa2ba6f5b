/* The use cases of memory: learn from the log, recall, record an outcome. */
#include "memory.h"

#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "chain.h"
#include "client/audit_client.h"
#include "crypto/dsse.h"

#define RECALL_DEFAULT 20U
#define RECALL_MOST 100U
#define APPEND_TRIES 5U
#define APPEND_TIMEOUT_MS 5000U
#define BEHIND_RETRY_MS 500U

/* ---- learn ---- */

static status_code learn_entry(memory_store *target, const Interlock__Audit__V1__Entry *entry, uint64_t *next,
                               arena *memory, failure *why) {
    memory_change change;
    if (entry->index < *next)
        return STATUS_OK;
    if (entry->index > *next)
        return fail(why, STATUS_DATA_LOSS, "LOG_GAP",
                    "audit sent record %" PRIu64 " where %" PRIu64 " was next", entry->index, *next);
    arena_reset(memory);
    status_code code = memory_change_read(entry, memory, &change, why);
    if (code == STATUS_OK)
        code = memory_store_apply(target, &change, why);
    if (code == STATUS_OK)
        (*next)++;
    return code;
}

static status_code learn_all(memory_store *target, const Interlock__Audit__V1__TailResponse *batch,
                             arena *memory, failure *why) {
    uint64_t next = 0, first = 0;
    status_code code = memory_store_next_index(target, &next, why);
    first = next;
    for (size_t i = 0; i < batch->n_entries && code == STATUS_OK; i++)
        code = learn_entry(target, batch->entries[i], &next, memory, why);
    if (code == STATUS_OK && next != first)
        code = memory_store_set_next_index(target, next, why);
    return code;
}

status_code memory_learn(memory_store *store_of_writer, const Interlock__Audit__V1__TailResponse *batch,
                         arena *memory, failure *why) {
    if (batch->n_entries == 0)
        return STATUS_OK;
    status_code code = memory_store_begin(store_of_writer, why);
    if (code != STATUS_OK)
        return code;
    code = learn_all(store_of_writer, batch, memory, why);
    if (code == STATUS_OK)
        code = memory_store_commit(store_of_writer, why);
    if (code != STATUS_OK)
        memory_store_rollback(store_of_writer);
    return code;
}

/* ---- recall ---- */

status_code memory_recall(memory_store *reader, const Interlock__Memory__V1__RecallRequest *request,
                          arena *memory, Interlock__Memory__V1__RecallResponse *out, failure *why) {
    uint32_t limit = request->limit != 0 ? request->limit : RECALL_DEFAULT;
    if (limit > RECALL_MOST)
        return fail_field(why, "limit", "LIMIT_TOO_LARGE", "the limit is 1 to %u, not %u", RECALL_MOST,
                          limit);
    if (strlen(request->node) > LIMIT_NAME_BYTES)
        return fail_field(why, "node", "NAME_TOO_LONG", "a node's name has at most %u bytes",
                          LIMIT_NAME_BYTES);
    if (strlen(request->verb) > LIMIT_NAME_BYTES)
        return fail_field(why, "verb", "NAME_TOO_LONG", "a verb has at most %u bytes", LIMIT_NAME_BYTES);
    return memory_store_recall(reader, request->node, request->verb, limit, memory, out, why);
}

/* ---- record an outcome ---- */

static status_code verify_now(const memory_recorder *self, const rpc_peer *peer,
                              const Interlock__Common__V1__Envelope *envelope, arena *memory, uint64_t *seq,
                              const Interlock__Memory__V1__ActionOutcome **out, failure *why) {
    const control_view *view = control_acquire(self->live);
    signer_context context = {
        .roots = self->roots, .view = view, .fresh = control_is_fresh(self->live), .source = self->source};
    status_code code = outcome_verify(&context, peer, envelope, memory, out, why);
    *seq = view != NULL ? view->seq : 0;
    control_release(self->live, view);
    return code;
}

/* What memory has not heard of yet may be in the log already. */
static status_code find_action(memory_store *reader, const char *action_id, memory_action *out,
                               failure *why) {
    uint64_t next = 0;
    status_code code = memory_store_find_action(reader, action_id, out, why);
    if (code != STATUS_NOT_FOUND)
        return code;
    if (memory_store_next_index(reader, &next, NULL) != STATUS_OK)
        next = 0;
    fail(why, STATUS_NOT_FOUND, "ACTION_UNKNOWN",
         "there is no decision on action \"%s\" in the first %" PRIu64
         " records of the log; check the id (interlock audit list), or try again if it was decided just now",
         action_id, next);
    if (why != NULL)
        why->retry_after_ms = BEHIND_RETRY_MS;
    return STATUS_NOT_FOUND;
}

static uint32_t remaining_ms(const memory_recorder *self, uint64_t deadline_boot_ns) {
    uint64_t now = chance_boot_ns(self->source);
    if (now >= deadline_boot_ns)
        return 0;
    uint64_t left = (deadline_boot_ns - now) / 1000000U;
    return left < APPEND_TIMEOUT_MS ? (uint32_t)left : APPEND_TIMEOUT_MS;
}

/* Appends until the statement is in the log. A conflict moves `expect` to the record that won; nobody wins
 * for ever, but a bound is a bound. */
static status_code append_outcome(const memory_recorder *self, Interlock__Audit__V1__AppendRequest *append,
                                  const uint8_t digest[32], uint64_t deadline_boot_ns, arena *memory,
                                  Interlock__Audit__V1__Receipt **receipt, failure *why) {
    for (unsigned try = 0; try < APPEND_TRIES; try++) {
        Interlock__Audit__V1__AppendResponse *response = NULL;
        uint32_t timeout_ms = remaining_ms(self, deadline_boot_ns);
        if (timeout_ms == 0)
            return fail(why, STATUS_DEADLINE_EXCEEDED, "UNKNOWN_RESULT",
                        "no answer in time; send the same outcome again");
        status_code code = audit_append_wait(self->audit, append, timeout_ms, memory, &response, why);
        if (code != STATUS_OK)
            return fail_within(why, code, "append to the log (send the same outcome again)");
        outcome_verdict verdict =
            outcome_judge(response, digest, append->expect, receipt, &append->expect, why);
        if (verdict == OUTCOME_RECORDED)
            return STATUS_OK;
        if (verdict == OUTCOME_FAILED)
            return why != NULL ? why->code : STATUS_UNKNOWN;
    }
    return fail(why, STATUS_ABORTED, "TOO_MANY_WRITERS",
                "others keep writing about this action; send the same outcome again");
}

status_code memory_record_outcome(const memory_recorder *self, memory_store *reader, const rpc_peer *peer,
                                  const Interlock__Memory__V1__RecordOutcomeRequest *request,
                                  uint64_t deadline_boot_ns, arena *memory,
                                  Interlock__Memory__V1__RecordOutcomeResponse *out, failure *why) {
    const Interlock__Memory__V1__ActionOutcome *outcome = NULL;
    memory_action action = {0};
    uint8_t digest[CRYPTO_HASH_BYTES];
    uint64_t seq = 0, previous = 0;
    bool again = false;
    status_code code = verify_now(self, peer, request->outcome, memory, &seq, &outcome, why);
    if (code == STATUS_OK)
        code = find_action(reader, outcome->action_id, &action, why);
    if (code == STATUS_OK)
        code = outcome_fits(outcome, &action, why);
    if (code != STATUS_OK)
        return code;
    dsse_payload_digest(request->outcome, digest);
    code = memory_store_find_outcome(reader, outcome->action_id, digest, &again, &previous, why);
    if (code != STATUS_OK)
        return code;
    Interlock__Audit__V1__AppendRequest append = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    append.action_id = outcome->action_id;
    /* The same request as the first time, which audit answers with the same record. */
    append.expect = again ? previous : action.latest_index;
    append.control_seq = seq;
    append.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME;
    append.verdict = (char *)memory_state_name((int)outcome->state);
    append.record = request->outcome;
    return append_outcome(self, &append, digest, deadline_boot_ns, memory, &out->receipt, why);
}

/* ---- confirm a chain ---- */

static status_code verify_chain_now(const memory_recorder *self, const rpc_peer *peer,
                                    const Interlock__Common__V1__Envelope *envelope, arena *memory,
                                    uint64_t *seq, failure *why) {
    const Interlock__Graph__V1__CauseChain *chain = NULL;
    const control_view *view = control_acquire(self->live);
    signer_context context = {
        .roots = self->roots, .view = view, .fresh = control_is_fresh(self->live), .source = self->source};
    status_code code = chain_verify(&context, peer, envelope, memory, &chain, why);
    *seq = view != NULL ? view->seq : 0;
    control_release(self->live, view);
    return code;
}

status_code memory_confirm_chain(const memory_recorder *self, const rpc_peer *peer,
                                 const Interlock__Memory__V1__ConfirmChainRequest *request,
                                 uint64_t deadline_boot_ns, arena *memory,
                                 Interlock__Memory__V1__ConfirmChainResponse *out, failure *why) {
    char id[CHAIN_ID_BYTES];
    Interlock__Audit__V1__AppendRequest append = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    Interlock__Audit__V1__AppendResponse *response = NULL;
    status_code code = verify_chain_now(self, peer, request->chain, memory, &append.control_seq, why);
    if (code != STATUS_OK)
        return code;
    chain_id(request->chain, id);
    append.action_id = id;
    append.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CHAIN;
    append.verdict = "CONFIRMED";
    append.record = request->chain;
    uint32_t timeout_ms = remaining_ms(self, deadline_boot_ns);
    if (timeout_ms == 0)
        return fail(why, STATUS_DEADLINE_EXCEEDED, "UNKNOWN_RESULT",
                    "no answer in time; send the same chain again");
    code = audit_append_wait(self->audit, &append, timeout_ms, memory, &response, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "append to the log (send the same chain again)");
    return chain_judge(response, request->chain, &out->receipt, why);
}
