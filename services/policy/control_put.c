/* Writing control statements: coordination first, then the log. A crash between the two leaves a statement in
 * force that the log does not show yet; the sweep appends it. A statement's digest makes every step
 * idempotent. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/dsse.h"
#include "message.h"
#include "policy.h"
#include "wire/scan.h"

#define APPEND_TIMEOUT_MS 5000U
#define RANGE_TIMEOUT_MS 3000U
#define SWEEP_BYTES (64U << 20)
#define KNOWN_STEPS 100
#define KNOWN_STEP_US 5000

/* How a statement stands in the log. */
typedef struct log_form {
    Interlock__Audit__V1__RecordKind kind;
    const char *verdict;
} log_form;

static status_code unpack(const Interlock__Common__V1__Envelope *statement,
                          const ProtobufCMessageDescriptor *type, arena *memory, ProtobufCMessage **out,
                          failure *why) {
    return wire_unpack_signed(type, bytes_of(statement->payload.data, statement->payload.len), memory, out,
                              why);
}

static status_code form_of_kill(const Interlock__Common__V1__Envelope *statement, arena *memory,
                                log_form *out, failure *why) {
    ProtobufCMessage *message = NULL;
    status_code code = unpack(statement, &interlock__control__v1__kill__descriptor, memory, &message, why);
    if (code == STATUS_OK)
        *out = (log_form){INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_KILL,
                          ((const Interlock__Control__V1__Kill *)message)->set ? "SET" : "CLEARED"};
    return code;
}

static status_code form_of_enrolment(const Interlock__Common__V1__Envelope *statement, arena *memory,
                                     log_form *out, failure *why) {
    ProtobufCMessage *message = NULL;
    status_code code =
        unpack(statement, &interlock__control__v1__enrolment__descriptor, memory, &message, why);
    if (code == STATUS_OK)
        *out = (log_form){INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CONTROL,
                          ((const Interlock__Control__V1__Enrolment *)message)->revoked ? "REVOKED"
                                                                                        : "ENROLLED"};
    return code;
}

static status_code form_of_policy(const Interlock__Common__V1__Envelope *statement, arena *memory,
                                  log_form *out, failure *why) {
    ProtobufCMessage *message = NULL;
    status_code code =
        unpack(statement, &interlock__control__v1__policy_set__descriptor, memory, &message, why);
    if (code == STATUS_OK)
        code = document_check((const Interlock__Control__V1__PolicySet *)message, why);
    if (code == STATUS_OK)
        *out = (log_form){INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CONTROL, "POLICY_SET"};
    return code;
}

static status_code form_of(const Interlock__Common__V1__Envelope *statement, arena *memory, log_form *out,
                           failure *why) {
    if (statement == NULL || statement->n_signatures != 1)
        return fail_field(why, "statement", "CONTROL_STATEMENT",
                          "send one control statement in an envelope with one signature");
    if (strcmp(statement->payload_type, PAYLOAD_KILL) == 0)
        return form_of_kill(statement, memory, out, why);
    if (strcmp(statement->payload_type, PAYLOAD_ENROLMENT) == 0)
        return form_of_enrolment(statement, memory, out, why);
    if (strcmp(statement->payload_type, PAYLOAD_POLICY_SET) == 0)
        return form_of_policy(statement, memory, out, why);
    return fail_field(why, "statement.payload_type", "CONTROL_STATEMENT",
                      "%.100s is no control statement; send an enrolment, a policy set or a kill",
                      statement->payload_type);
}

static status_code record(policy_service *self, const Interlock__Common__V1__Envelope *statement,
                          const log_form *form, uint64_t seq, arena *memory,
                          Interlock__Audit__V1__Receipt **out, failure *why) {
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    Interlock__Audit__V1__AppendResponse *response = NULL;
    request.control_seq = seq;
    request.kind = form->kind;
    request.verdict = (char *)(uintptr_t)form->verdict;
    request.record = (Interlock__Common__V1__Envelope *)(uintptr_t)statement;
    status_code code = audit_append_wait(self->audit, &request, APPEND_TIMEOUT_MS, memory, &response, why);
    if (code != STATUS_OK)
        return code;
    if (response->result_case != INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT)
        return fail(why, STATUS_UNAVAILABLE, "RECORD_REFUSED", "the log did not take the statement: %.300s",
                    response->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL
                        ? response->refusal->message
                        : "conflict");
    *out = response->receipt;
    return STATUS_OK;
}

static bool is_known(policy_service *self, uint64_t index, uint64_t seq) {
    const control_view *view = control_acquire(self->live);
    bool known = view->seq >= seq && atomic_load(&self->log.applied) > index;
    control_release(self->live, view);
    return known;
}

/* So that what this replica is asked next is answered by what was just put, and not by the view before. Not
 * waited for beyond half a second: the statement is in force all the same. */
static void wait_until_known(policy_service *self, uint64_t index, uint64_t seq) {
    for (int i = 0; i < KNOWN_STEPS && !is_known(self, index, seq); i++)
        (void)usleep(KNOWN_STEP_US);
}

status_code policy_put_control(policy_service *self, const Interlock__Common__V1__Envelope *received,
                               arena *memory, Interlock__Control__V1__PutControlResponse *out, failure *why) {
    log_form form = {0};
    uint64_t seq = 0;
    status_code code = form_of(received, memory, &form, why);
    if (code != STATUS_OK)
        return code;
    const Interlock__Common__V1__Envelope *statement = envelope_clean(received, memory);
    if (statement == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CALL_TOO_LARGE", "no memory left in this call");
    code = control_put(self->live, statement, &seq, why);
    if (code != STATUS_OK)
        return code;
    code = record(self, statement, &form, seq, memory, &out->receipt, why);
    if (code != STATUS_OK) {
        atomic_store(&self->sweep_wanted, true);
        code = fail_within(
            why, STATUS_UNAVAILABLE,
            "the statement is in force (control/seq %llu) but not yet in the log; send it again to "
            "get its receipt",
            (unsigned long long)seq);
        if (why != NULL)
            why->retry_after_ms = 1000;
        return code;
    }
    wait_until_known(self, out->receipt->index, seq);
    out->control_seq = seq;
    return STATUS_OK;
}

/* ---- the sweep ---- */

static bool is_statement_key(const char *key) {
    return strncmp(key, "control/enrolment/", 18) == 0 || strncmp(key, "control/kill/", 13) == 0 ||
           strcmp(key, "control/policy") == 0 || strcmp(key, "control/shadow") == 0;
}

/* Whoever can write to coordination does not thereby get into the log. */
static bool signed_by_operator(const policy_service *self, const Interlock__Common__V1__Envelope *statement) {
    if (statement->n_signatures != 1)
        return false;
    const trust_key *key = trust_find_keyid(self->roots, KEY_OPERATOR, statement->signatures[0]->keyid);
    return key != NULL && dsse_verify(statement, statement->payload_type, &key->key);
}

static status_code sweep_value(policy_service *self, bytes value, uint64_t seq, failure *why) {
    arena memory;
    arena_init(&memory, 16384, 4U * COORD_VALUE_BYTES);
    ProtobufCMessage *message = NULL;
    const Interlock__Common__V1__Envelope *statement = NULL;
    Interlock__Audit__V1__Receipt *receipt = NULL;
    uint8_t digest[CRYPTO_HASH_BYTES];
    log_form form = {0};
    bool known = true;
    status_code code = STATUS_OK;
    if (wire_unpack(&interlock__common__v1__envelope__descriptor, value, &memory, &message, NULL) ==
        STATUS_OK) {
        statement = (const Interlock__Common__V1__Envelope *)message;
        dsse_payload_digest(statement, digest);
        code = policy_store_find_statement(self->control_reader, digest, &known, why);
    }
    if (code == STATUS_OK && !known && signed_by_operator(self, statement) &&
        form_of(statement, &memory, &form, NULL) == STATUS_OK)
        code = record(self, statement, &form, seq, &memory, &receipt, why);
    arena_free(&memory);
    return code;
}

static uint64_t seq_of(const coord_result *range) {
    for (size_t i = 0; i < range->count; i++)
        if (strcmp(range->kvs[i].key, "control/seq") == 0 && range->kvs[i].value.size < 20) {
            char text[24] = "";
            memcpy(text, range->kvs[i].value.data, range->kvs[i].value.size);
            return strtoull(text, NULL, 10);
        }
    return 0;
}

status_code policy_sweep_control(policy_service *self, failure *why) {
    arena memory;
    arena_init(&memory, 65536, SWEEP_BYTES);
    coord_result range = {0};
    status_code code =
        coord_get_wait(self->coordination, "control/", true, RANGE_TIMEOUT_MS, &memory, &range, why);
    uint64_t seq = code == STATUS_OK ? seq_of(&range) : 0;
    for (size_t i = 0; i < range.count && code == STATUS_OK && !atomic_load(&self->stopping); i++)
        if (is_statement_key(range.kvs[i].key))
            code = sweep_value(self, range.kvs[i].value, seq, why);
    arena_free(&memory);
    return code;
}
