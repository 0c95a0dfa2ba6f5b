/* Who may state what to memory, and whether a statement is one. */
#include "signers.h"

#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

#define STALE_RETRY_MS 1000U

bool signer_carrier_admitted(char *const *carriers, size_t count, const rpc_peer *peer) {
    const char *caller = peer->spiffe_id[0] != '\0' ? peer->spiffe_id : peer->principal;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(carriers[i]);
        bool open_ended = size > 0 && carriers[i][size - 1] == '*';
        if (open_ended ? strncmp(carriers[i], caller, size - 1) == 0 : strcmp(carriers[i], caller) == 0)
            return true;
    }
    return count == 0;
}

static status_code unknown_signer(const statement_rule *rule, failure *why) {
    return fail(why, STATUS_UNAUTHENTICATED, "SIGNER_UNKNOWN",
                "the %s is signed neither by an operator of this installation nor by %s; sign it with such "
                "a key",
                rule->field, rule->enrolled_text);
}

static status_code not_fresh(failure *why) {
    failure stale;
    fail(&stale, STATUS_UNAVAILABLE, "CONTROL_STALE",
         "who is enrolled is not known for certain just now: coordination does not answer; try again");
    stale.retry_after_ms = STALE_RETRY_MS;
    if (why != NULL)
        *why = stale;
    return STATUS_UNAVAILABLE;
}

static bool is_admitted(const statement_rule *rule, const char *principal) {
    for (const char *const *prefix = rule->enrolled; *prefix != NULL; prefix++)
        if (strncmp(principal, *prefix, strlen(*prefix)) == 0)
            return true;
    return false;
}

/* The key that the envelope's hint names, and the principal it belongs to. */
static status_code find_signer(const statement_rule *rule, const signer_context *context,
                               const rpc_peer *peer, const char *keyid, const public_key **key,
                               const char **principal, failure *why) {
    const trust_key *operator_key = trust_find_keyid(context->roots, KEY_OPERATOR, keyid);
    if (operator_key != NULL) {
        *key = &operator_key->key;
        *principal = operator_key->principal;
        return STATUS_OK;
    }
    const control_enrolment *enrolment =
        context->view != NULL ? control_find_key(context->view, keyid) : NULL;
    if (!context->fresh)
        return not_fresh(why);
    if (enrolment == NULL || !is_admitted(rule, enrolment->statement->principal))
        return unknown_signer(rule, why);
    if (enrolment->statement->revoked)
        return fail(why, STATUS_UNAUTHENTICATED, "SIGNER_REVOKED", "the key of %s was revoked",
                    enrolment->statement->principal);
    if (!signer_carrier_admitted(enrolment->statement->carriers, enrolment->statement->n_carriers, peer))
        return fail(why, STATUS_PERMISSION_DENIED, "CARRIER_NOT_ADMITTED",
                    "this caller may not carry statements of %s; its enrolment lists who may",
                    enrolment->statement->principal);
    *key = &enrolment->key;
    *principal = enrolment->statement->principal;
    return STATUS_OK;
}

static status_code check_envelope(const statement_rule *rule, const Interlock__Common__V1__Envelope *envelope,
                                  failure *why) {
    if (envelope == NULL)
        return fail_field(why, rule->field, rule->missing, "the request carries no %s", rule->field);
    if (strcmp(envelope->payload_type, rule->payload_type) != 0)
        return fail_field(why, "payload_type", "PAYLOAD_TYPE", "the payload type must be %s",
                          rule->payload_type);
    if (envelope->n_signatures != 1)
        return fail_field(why, "signatures", "ONE_SIGNATURE", "the %s carries exactly one signature, not %zu",
                          rule->field, envelope->n_signatures);
    return STATUS_OK;
}

/* Field 1 of every statement. */
static const Interlock__Common__V1__StatementHeader *header_of(const ProtobufCMessage *message) {
    const Interlock__Common__V1__StatementHeader *header = NULL;
    memcpy(&header, (const char *)message + message->descriptor->fields[0].offset, sizeof(void *));
    return header;
}

static status_code check_header(const statement_rule *rule, const signer_context *context,
                                const ProtobufCMessage *message, const char *principal, failure *why) {
    const Interlock__Common__V1__StatementHeader *header = header_of(message);
    if (header == NULL)
        return fail_field(why, "header", "STATEMENT_HEADER", "the statement has no header");
    status_code code = statement_header_check(header, rule->payload_type, context->roots->installation, 0,
                                              context->source, why);
    if (code == STATUS_OK && strcmp(header->principal, principal) != 0)
        code = fail(why, STATUS_UNAUTHENTICATED, "STATEMENT_PRINCIPAL",
                    "the statement names %s, its key belongs to %s", header->principal, principal);
    return code;
}

status_code signed_read(const statement_rule *rule, const signer_context *context, const rpc_peer *peer,
                        const Interlock__Common__V1__Envelope *envelope, arena *memory,
                        ProtobufCMessage **out, failure *why) {
    const public_key *key = NULL;
    const char *principal = NULL;
    ProtobufCMessage *message = NULL;
    status_code code = check_envelope(rule, envelope, why);
    if (code == STATUS_OK)
        code = find_signer(rule, context, peer, envelope->signatures[0]->keyid, &key, &principal, why);
    if (code != STATUS_OK)
        return code;
    if (!dsse_verify(envelope, rule->payload_type, key))
        return fail(why, STATUS_UNAUTHENTICATED, "SIGNATURE",
                    "the signature is not one of %s over this payload", principal);
    code = wire_unpack_signed(rule->type, bytes_of(envelope->payload.data, envelope->payload.len), memory,
                              &message, why);
    if (code == STATUS_OK)
        code = check_header(rule, context, message, principal, why);
    if (code == STATUS_OK)
        *out = message;
    return code;
}
