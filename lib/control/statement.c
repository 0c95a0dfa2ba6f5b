/* Verifying a control statement. Coordination is written by whoever gets at it; what counts is an operator's
 * signature over exactly these bytes, for this installation, about the key under which they were found. */
#include "statement.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/dsse.h"
#include "wire/scan.h"

#define KILL_SUBJECT_PLAIN_BYTES 96U

static status_code refuse(failure *why, const char *field, const char *message) {
    return fail_field(why, field, "CONTROL_STATEMENT", "%s: %s", field, message);
}

/* ---- Signature and header ---- */

static const trust_key *find_signer(const trust *roots, const Interlock__Common__V1__Envelope *envelope) {
    for (size_t i = 0; i < roots->count; i++)
        if (roots->keys[i].purpose == KEY_OPERATOR &&
            dsse_verify(envelope, envelope->payload_type, &roots->keys[i].key))
            return &roots->keys[i];
    return NULL;
}

static status_code check_signature(const trust *roots, const Interlock__Common__V1__Envelope *envelope,
                                   const trust_key **signer, failure *why) {
    *signer = find_signer(roots, envelope);
    if (*signer != NULL)
        return STATUS_OK;
    return fail(why, STATUS_UNAUTHENTICATED, "CONTROL_SIGNATURE",
                "no operator's key of installation.yaml has signed this control statement");
}

/* A statement stands until a higher version replaces it: one that expired would end a kill switch in silence.
 */
static status_code check_header(const trust *roots, const chance *source, const char *type,
                                const Interlock__Common__V1__StatementHeader *header, const trust_key *signer,
                                failure *why) {
    if (header == NULL)
        return refuse(why, "header", "is missing");
    status_code code = statement_header_check(header, type, roots->installation, 0, source, why);
    if (code != STATUS_OK)
        return code;
    if (header->expires_at_ms != 0)
        return refuse(why, "header.expires_at_ms", "a control statement does not expire; leave it out");
    if (signer != NULL && strcmp(header->principal, signer->principal) != 0)
        return fail(why, STATUS_UNAUTHENTICATED, "CONTROL_SIGNATURE",
                    "the statement names %.128s, but the key that signed it is %s's", header->principal,
                    signer->principal);
    return STATUS_OK;
}

/* ---- Fields ---- */

/* "<role>/<name>" of those that are enrolled; operators and services are rooted in the trust file instead. */
static bool principal_valid(const char *principal) {
    static const char *const roles[] = {"agent/", "executor/", "approver/"};
    size_t size = strlen(principal);
    if (size >= sizeof((trust_key *)NULL)->principal)
        return false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        size_t prefix = strlen(roles[i]);
        if (size <= prefix || memcmp(principal, roles[i], prefix) != 0)
            continue;
        for (const char *c = principal + prefix; *c != '\0'; c++)
            if (!isascii(*c) || (!isalnum((unsigned char)*c) && strchr("-._@", *c) == NULL))
                return false;
        return true;
    }
    return false;
}

static status_code check_text(const char *text, const char *field, failure *why) {
    return strlen(text) <= LIMIT_NAME_BYTES ? STATUS_OK : refuse(why, field, "is longer than 256 bytes");
}

static status_code check_carriers(const Interlock__Control__V1__Enrolment *in, failure *why) {
    if (in->n_carriers > STATEMENT_CARRIERS_MAX)
        return refuse(why, "carriers", "are more than 64; use a trailing *");
    for (size_t i = 0; i < in->n_carriers; i++)
        if (in->carriers[i][0] == '\0' || strlen(in->carriers[i]) > LIMIT_NAME_BYTES)
            return refuse(why, "carriers", "each has 1 to 256 bytes");
    return STATUS_OK;
}

/* One key, one purpose (PROTOCOL §5): what is rooted cannot be enrolled besides. */
static bool key_is_rooted(const trust *roots, const public_key *key) {
    for (size_t i = 0; i < roots->count; i++)
        if (memcmp(roots->keys[i].key.bytes, key->bytes, sizeof key->bytes) == 0)
            return true;
    return false;
}

static status_code take_enrolment(const trust *roots, const Interlock__Control__V1__Enrolment *in,
                                  statement *out, failure *why) {
    if (!principal_valid(in->principal))
        return refuse(why, "principal",
                      "is agent/NAME, executor/NAME or approver/NAME of A-Z a-z 0-9 - . _ @");
    if (in->public_key.len != CRYPTO_PUBLIC_KEY_BYTES)
        return refuse(why, "public_key", "an Ed25519 public key has 32 bytes");
    public_key_from_bytes(&out->enrolled, in->public_key.data);
    if (key_is_rooted(roots, &out->enrolled))
        return refuse(why, "public_key", "stands in installation.yaml; a key has one purpose");
    status_code code = check_carriers(in, why);
    if (code == STATUS_OK)
        code = check_text(in->model_provider, "model_provider", why);
    if (code == STATUS_OK)
        code = check_text(in->model_name, "model_name", why);
    if (code == STATUS_OK)
        code = check_text(in->model_version, "model_version", why);
    if (code == STATUS_OK)
        code = check_text(in->delegation_root, "delegation_root", why);
    snprintf(out->key, sizeof out->key, "control/enrolment/%s", out->enrolled.keyid);
    out->enrolment = in;
    out->version = in->version;
    return code;
}

static status_code take_policy(const Interlock__Control__V1__PolicySet *in, statement *out, failure *why) {
    if (in->name[0] == '\0' || strlen(in->name) > LIMIT_NAME_BYTES)
        return refuse(why, "name", "has 1 to 256 bytes");
    /* A shadow set ends by one without documents; the one in force is only ever replaced. */
    if ((in->document.len == 0 && !in->shadow) || in->document.len > STATEMENT_DOCUMENT_BYTES)
        return refuse(why, "document", "has 1 byte to 254 KiB");
    if (in->rollback_of >= in->version && in->rollback_of != 0)
        return refuse(why, "rollback_of", "is a version below the statement's own");
    snprintf(out->key, sizeof out->key, "%s", in->shadow ? "control/shadow" : "control/policy");
    out->policy = in;
    out->version = in->version;
    return STATUS_OK;
}

static status_code take_kill(const Interlock__Control__V1__Kill *in, statement *out, failure *why) {
    bool global = in->scope == INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL;
    if (global != (in->subject[0] == '\0'))
        return refuse(why, "subject", "is empty for the global switch and for no other");
    if (strlen(in->subject) > STATEMENT_SUBJECT_BYTES || strlen(in->reason) > STATEMENT_TEXT_BYTES)
        return refuse(why, "subject", "has 256 bytes at most, and the reason 1024");
    if (!statement_kill_key(in->scope, in->subject, out->key))
        return refuse(why, "scope", "is global, agent, model, service, zone or verb");
    out->kill = in;
    out->version = in->version;
    return STATUS_OK;
}

static const char *scope_name(Interlock__Control__V1__Kill__Scope scope) {
    static const char *const names[] = {NULL, "global", "agent", "model", "service", "zone", "verb"};
    return (unsigned)scope < sizeof names / sizeof *names ? names[(unsigned)scope] : NULL;
}

bool statement_kill_key(Interlock__Control__V1__Kill__Scope scope, const char *subject,
                        char out[COORD_KEY_BYTES]) {
    bytes text = bytes_of_text(subject);
    buffer encoded;
    if (scope_name(scope) == NULL)
        return false;
    buffer_init(&encoded, 256);
    if (text.size <= KILL_SUBJECT_PLAIN_BYTES) {
        base64url_encode(text, &encoded);
    } else {
        uint8_t digest[CRYPTO_HASH_BYTES];
        char hex[2 * CRYPTO_HASH_BYTES + 1];
        sha256(text, digest);
        hex_encode(bytes_of(digest, sizeof digest), hex);
        buffer_format(&encoded, "~%s", hex);
    }
    bool ok = buffer_ok(&encoded);
    if (ok)
        snprintf(out, COORD_KEY_BYTES, "control/kill/%s/%s", scope_name(scope),
                 encoded.size == 0 ? "" : encoded.data);
    buffer_free(&encoded);
    return ok;
}

/* ---- The whole ---- */

typedef struct statement_type {
    const char *payload_type;
    const ProtobufCMessageDescriptor *descriptor;
} statement_type;

static const statement_type types[] = {
    {PAYLOAD_ENROLMENT, &interlock__control__v1__enrolment__descriptor},
    {PAYLOAD_POLICY_SET, &interlock__control__v1__policy_set__descriptor},
    {PAYLOAD_KILL, &interlock__control__v1__kill__descriptor},
};

static const statement_type *find_type(const char *payload_type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].payload_type, payload_type) == 0)
            return &types[i];
    return NULL;
}

static status_code take_message(const trust *roots, const chance *source, const statement_type *type,
                                const ProtobufCMessage *message, const trust_key *signer, statement *out,
                                failure *why) {
    /* Every statement has its header in field 1, so in the same place. */
    const Interlock__Common__V1__StatementHeader *header =
        ((const Interlock__Control__V1__Kill *)message)->header;
    _Static_assert(offsetof(Interlock__Control__V1__Kill, header) ==
                           offsetof(Interlock__Control__V1__Enrolment, header) &&
                       offsetof(Interlock__Control__V1__Kill, header) ==
                           offsetof(Interlock__Control__V1__PolicySet, header),
                   "the header is the first field of every statement");
    status_code code = check_header(roots, source, type->payload_type, header, signer, why);
    if (code != STATUS_OK)
        return code;
    if (message->descriptor == &interlock__control__v1__enrolment__descriptor)
        code = take_enrolment(roots, (const Interlock__Control__V1__Enrolment *)message, out, why);
    else if (message->descriptor == &interlock__control__v1__policy_set__descriptor)
        code = take_policy((const Interlock__Control__V1__PolicySet *)message, out, why);
    else
        code = take_kill((const Interlock__Control__V1__Kill *)message, out, why);
    if (code == STATUS_OK && out->version == 0)
        code = refuse(why, "version", "begins at 1");
    return code;
}

status_code statement_verify(const trust *roots, const chance *source,
                             const Interlock__Common__V1__Envelope *envelope, bool signature_known,
                             arena *memory, statement *out, failure *why) {
    const statement_type *type = find_type(envelope->payload_type);
    if (type == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "CONTROL_STATEMENT",
                    "payload type \"%.100s\" is no control statement", envelope->payload_type);
    if (envelope->payload.len > LIMIT_ENVELOPE_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "CONTROL_STATEMENT", "the statement is larger than 1 MiB");
    const trust_key *signer = NULL;
    status_code code = signature_known ? STATUS_OK : check_signature(roots, envelope, &signer, why);
    if (code != STATUS_OK)
        return code;
    ProtobufCMessage *message = NULL;
    code = wire_unpack_signed(type->descriptor, bytes_of(envelope->payload.data, envelope->payload.len),
                              memory, &message, why);
    if (code != STATUS_OK)
        return code;
    statement made = {0};
    code = take_message(roots, source, type, message, signer, &made, why);
    if (code != STATUS_OK)
        return code;
    dsse_payload_digest(envelope, made.digest);
    *out = made;
    return STATUS_OK;
}
