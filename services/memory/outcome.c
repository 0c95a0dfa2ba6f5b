/* Who may state an outcome, and whether a statement is one. */
#include "outcome.h"

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/dsse.h"
#include "wire/scan.h"

#define EXECUTOR_PREFIX "executor/"

bool outcome_carrier_admitted(char *const *carriers, size_t count, const rpc_peer *peer) {
    const char *caller = peer->spiffe_id[0] != '\0' ? peer->spiffe_id : peer->principal;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(carriers[i]);
        bool open_ended = size > 0 && carriers[i][size - 1] == '*';
        if (open_ended ? strncmp(carriers[i], caller, size - 1) == 0 : strcmp(carriers[i], caller) == 0)
            return true;
    }
    return count == 0;
}

static status_code unknown_signer(failure *why) {
    return fail(
        why, STATUS_UNAUTHENTICATED, "SIGNER_UNKNOWN",
        "the outcome is signed neither by an operator of this installation nor by an enrolled executor; "
        "sign it with an enrolled executor's key");
}

/* The key that the envelope's hint names, and the principal it belongs to. */
static status_code find_signer(const outcome_context *context, const rpc_peer *peer, const char *keyid,
                               const public_key **key, const char **principal, failure *why) {
    const trust_key *operator_key = trust_find_keyid(context->roots, KEY_OPERATOR, keyid);
    if (operator_key != NULL) {
        *key = &operator_key->key;
        *principal = operator_key->principal;
        return STATUS_OK;
    }
    const control_enrolment *enrolment =
        context->view != NULL ? control_find_key(context->view, keyid) : NULL;
    if (!context->fresh) {
        failure stale;
        fail(&stale, STATUS_UNAVAILABLE, "CONTROL_STALE",
             "who is enrolled is not known for certain just now: coordination does not answer; try again");
        stale.retry_after_ms = 1000;
        if (why != NULL)
            *why = stale;
        return STATUS_UNAVAILABLE;
    }
    if (enrolment == NULL ||
        strncmp(enrolment->statement->principal, EXECUTOR_PREFIX, strlen(EXECUTOR_PREFIX)) != 0)
        return unknown_signer(why);
    if (enrolment->statement->revoked)
        return fail(why, STATUS_UNAUTHENTICATED, "SIGNER_REVOKED", "the key of %s was revoked",
                    enrolment->statement->principal);
    if (!outcome_carrier_admitted(enrolment->statement->carriers, enrolment->statement->n_carriers, peer))
        return fail(why, STATUS_PERMISSION_DENIED, "CARRIER_NOT_ADMITTED",
                    "this caller may not carry statements of %s; its enrolment lists who may",
                    enrolment->statement->principal);
    *key = &enrolment->key;
    *principal = enrolment->statement->principal;
    return STATUS_OK;
}

static bool action_id_valid(const char *text) {
    size_t size = strlen(text);
    return size >= 1 && size <= LIMIT_ACTION_ID_BYTES &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:") == size;
}

static status_code check_fields(const Interlock__Memory__V1__ActionOutcome *outcome, failure *why) {
    if (!action_id_valid(outcome->action_id))
        return fail_field(why, "outcome.action_id", "BAD_ACTION_ID",
                          "an action id is 1 to %u of A-Z a-z 0-9 . _ - :", LIMIT_ACTION_ID_BYTES);
    if (outcome->action_digest.len != CRYPTO_HASH_BYTES)
        return fail_field(why, "outcome.action_digest", "BAD_DIGEST",
                          "the digest of the action's payload has %u bytes", CRYPTO_HASH_BYTES);
    if ((int)outcome->state < 1 || memory_state_name((int)outcome->state)[0] == '\0')
        return fail_field(why, "outcome.state", "BAD_STATE",
                          "the state must be HEALTHY, FAILED, REVERTED or UNKNOWN");
    if (isnan(outcome->actual_share) || outcome->actual_share > 1.0)
        return fail_field(why, "outcome.actual_share", "BAD_SHARE",
                          "the share is between 0 and 1, or negative when it was not measured");
    if (strlen(outcome->note) > OUTCOME_NOTE_BYTES)
        return fail_field(why, "outcome.note", "NOTE_TOO_LONG", "a note has at most %u bytes",
                          OUTCOME_NOTE_BYTES);
    return STATUS_OK;
}

static status_code check_envelope(const Interlock__Common__V1__Envelope *envelope, failure *why) {
    if (envelope == NULL)
        return fail_field(why, "outcome", "OUTCOME_MISSING", "the request carries no outcome");
    if (strcmp(envelope->payload_type, PAYLOAD_OUTCOME) != 0)
        return fail_field(why, "outcome.payload_type", "PAYLOAD_TYPE", "the payload type must be %s",
                          PAYLOAD_OUTCOME);
    if (envelope->n_signatures != 1)
        return fail_field(why, "outcome.signatures", "ONE_SIGNATURE",
                          "an outcome carries exactly one signature, not %zu", envelope->n_signatures);
    return STATUS_OK;
}

status_code outcome_verify(const outcome_context *context, const rpc_peer *peer,
                           const Interlock__Common__V1__Envelope *envelope, arena *memory,
                           const Interlock__Memory__V1__ActionOutcome **out, failure *why) {
    const public_key *key = NULL;
    const char *principal = NULL;
    ProtobufCMessage *message = NULL;
    status_code code = check_envelope(envelope, why);
    if (code == STATUS_OK)
        code = find_signer(context, peer, envelope->signatures[0]->keyid, &key, &principal, why);
    if (code != STATUS_OK)
        return code;
    if (!dsse_verify(envelope, PAYLOAD_OUTCOME, key))
        return fail(why, STATUS_UNAUTHENTICATED, "SIGNATURE",
                    "the signature is not one of %s over this payload", principal);
    code = wire_unpack_signed(&interlock__memory__v1__action_outcome__descriptor,
                              bytes_of(envelope->payload.data, envelope->payload.len), memory, &message, why);
    if (code != STATUS_OK)
        return code;
    const Interlock__Memory__V1__ActionOutcome *outcome = (Interlock__Memory__V1__ActionOutcome *)message;
    if (outcome->header == NULL)
        return fail_field(why, "outcome.header", "STATEMENT_HEADER", "the statement has no header");
    code = statement_header_check(outcome->header, PAYLOAD_OUTCOME, context->roots->installation, 0,
                                  context->source, why);
    if (code == STATUS_OK && strcmp(outcome->header->principal, principal) != 0)
        code = fail(why, STATUS_UNAUTHENTICATED, "STATEMENT_PRINCIPAL",
                    "the statement names %s, its key belongs to %s", outcome->header->principal, principal);
    if (code == STATUS_OK)
        code = check_fields(outcome, why);
    if (code == STATUS_OK)
        *out = outcome;
    return code;
}

status_code outcome_fits(const Interlock__Memory__V1__ActionOutcome *outcome, const memory_action *action,
                         failure *why) {
    if (strcmp(outcome->header->principal, action->principal) == 0)
        return fail(why, STATUS_PERMISSION_DENIED, "PROPOSER_REPORTS",
                    "%s proposed this action and so may not say what became of it", action->principal);
    if (action->has_digest && memcmp(outcome->action_digest.data, action->digest, sizeof action->digest) != 0)
        return fail_field(why, "outcome.action_digest", "DIGEST_MISMATCH",
                          "the digest is not that of the action recorded as \"%s\"", outcome->action_id);
    return STATUS_OK;
}

static outcome_verdict judge_conflict(const Interlock__Audit__V1__Conflict *conflict,
                                      const uint8_t digest[32], uint64_t expected,
                                      Interlock__Audit__V1__Receipt **receipt, uint64_t *expect,
                                      failure *why) {
    const Interlock__Audit__V1__Entry *latest = conflict->latest;
    uint8_t found[32];
    if (latest != NULL && latest->record != NULL && conflict->receipt != NULL &&
        strcmp(latest->record->payload_type, PAYLOAD_OUTCOME) == 0) {
        dsse_payload_digest(latest->record, found);
        if (memcmp(found, digest, sizeof found) == 0) {
            *receipt = conflict->receipt;
            return OUTCOME_RECORDED;
        }
    }
    if (latest == NULL || latest->index == expected) {
        fail(why, STATUS_INTERNAL, "CONFLICT_WITHOUT_WINNER",
             "audit reported a conflict without another record");
        return OUTCOME_FAILED;
    }
    *expect = latest->index;
    return OUTCOME_RETRY;
}

static outcome_verdict judge_refusal(const Interlock__Audit__V1__Refusal *refusal, failure *why) {
    switch (refusal->reason) {
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_INVALID:
        fail(why, STATUS_INVALID_ARGUMENT, "APPEND_INVALID", "audit refused the record: %s",
             refusal->message);
        break;
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_COUNTER_EXHAUSTED:
        fail(why, STATUS_RESOURCE_EXHAUSTED, "COUNTER_EXHAUSTED", "audit refused the record: %s",
             refusal->message);
        break;
    default:
        fail(why, STATUS_FAILED_PRECONDITION, "APPEND_REFUSED", "audit refused the record: %s",
             refusal->message);
    }
    if (why != NULL)
        why->retry_after_ms = refusal->retry_after_ms;
    return OUTCOME_FAILED;
}

outcome_verdict outcome_judge(const Interlock__Audit__V1__AppendResponse *response, const uint8_t digest[32],
                              uint64_t expected, Interlock__Audit__V1__Receipt **receipt, uint64_t *expect,
                              failure *why) {
    if (response->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT) {
        *receipt = response->receipt;
        return OUTCOME_RECORDED;
    }
    if (response->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT)
        return judge_conflict(response->conflict, digest, expected, receipt, expect, why);
    if (response->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL)
        return judge_refusal(response->refusal, why);
    fail(why, STATUS_INTERNAL, "EMPTY_ANSWER", "audit's answer has neither receipt, conflict nor refusal");
    return OUTCOME_FAILED;
}
