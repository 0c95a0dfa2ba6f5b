/* Who may state an outcome, and whether a statement is one. */
#include "outcome.h"

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/dsse.h"

static const char *const enrolled[] = {"executor/", NULL};

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

status_code outcome_verify(const signer_context *context, const rpc_peer *peer,
                           const Interlock__Common__V1__Envelope *envelope, arena *memory,
                           const Interlock__Memory__V1__ActionOutcome **out, failure *why) {
    static const statement_rule rule = {.payload_type = PAYLOAD_OUTCOME,
                                        .field = "outcome",
                                        .missing = "OUTCOME_MISSING",
                                        .type = &interlock__memory__v1__action_outcome__descriptor,
                                        .enrolled = enrolled,
                                        .enrolled_text = "an enrolled executor"};
    ProtobufCMessage *message = NULL;
    status_code code = signed_read(&rule, context, peer, envelope, memory, &message, why);
    if (code == STATUS_OK)
        code = check_fields((const Interlock__Memory__V1__ActionOutcome *)message, why);
    if (code == STATUS_OK)
        *out = (const Interlock__Memory__V1__ActionOutcome *)message;
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
