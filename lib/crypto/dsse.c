/* DSSE envelopes and the header of signed statements. */
#include "crypto/dsse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "wire/scan.h"

#define ON_STACK_BYTES 4096U
#define NONCE_BYTES 32U

typedef Interlock__Common__V1__Envelope envelope;
typedef Interlock__Common__V1__Signature signature;
typedef Interlock__Common__V1__StatementHeader statement_header;

/* The pre-authentication encoding, protocol.md: "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload.
 * Ed25519 reads its message twice, so it must lie in one piece: on the stack while it is small, as nearly all
 * are. */
typedef struct pre_authentication {
    uint8_t small[ON_STACK_BYTES];
    uint8_t *large;
    bytes encoded;
} pre_authentication;

static bool pre_authentication_make(pre_authentication *self, const char *payload_type, bytes payload) {
    size_t type_size = strlen(payload_type);
    if (type_size > LIMIT_NAME_BYTES || payload.size > LIMIT_ENVELOPE_BYTES)
        return false;
    char head[LIMIT_NAME_BYTES + 64U];
    int head_size = snprintf(head, sizeof head, "DSSEv1 %zu %s %zu ", type_size, payload_type, payload.size);
    size_t size = (size_t)head_size + payload.size;
    self->large = size > sizeof self->small ? malloc(size) : NULL;
    if (size > sizeof self->small && self->large == NULL)
        return false;
    uint8_t *data = self->large != NULL ? self->large : self->small;
    memcpy(data, head, (size_t)head_size);
    if (payload.size != 0)
        memcpy(data + head_size, payload.data, payload.size);
    self->encoded = bytes_of(data, size);
    return true;
}

static void pre_authentication_free(pre_authentication *self) {
    free(self->large);
}

/* An envelope with one empty signature in it. */
static envelope *envelope_new(const secret_key *key, const char *payload_type, bytes payload, arena *memory) {
    envelope *self = arena_alloc(memory, sizeof *self);
    signature *only = arena_alloc(memory, sizeof *only);
    signature **list = arena_alloc(memory, sizeof(signature *));
    uint8_t *raw = arena_zero(memory, 1, CRYPTO_SIGNATURE_BYTES);
    char *type = arena_text(memory, payload_type);
    char *keyid = arena_text(memory, secret_key_public(key)->keyid);
    if (self == NULL || only == NULL || list == NULL || raw == NULL || type == NULL || keyid == NULL)
        return NULL;
    interlock__common__v1__signature__init(only);
    only->sig = (ProtobufCBinaryData){.len = CRYPTO_SIGNATURE_BYTES, .data = raw};
    only->keyid = keyid;
    list[0] = only;
    interlock__common__v1__envelope__init(self);
    /* protobuf-c knows no const; the payload is only read. */
    self->payload = (ProtobufCBinaryData){.len = payload.size, .data = (uint8_t *)(uintptr_t)payload.data};
    self->payload_type = type;
    self->signatures = list;
    self->n_signatures = 1;
    return self;
}

envelope *dsse_sign(const secret_key *key, const char *payload_type, bytes payload, arena *memory) {
    envelope *self = envelope_new(key, payload_type, payload, memory);
    pre_authentication signed_text;
    if (self == NULL || !pre_authentication_make(&signed_text, payload_type, payload))
        return NULL;
    key_sign(key, signed_text.encoded, self->signatures[0]->sig.data);
    pre_authentication_free(&signed_text);
    return self;
}

envelope *dsse_sign_message(const secret_key *key, const char *payload_type,
                            const ProtobufCMessage *statement, arena *memory) {
    bytes payload;
    if (wire_pack(statement, memory, &payload, NULL) != STATUS_OK)
        return NULL;
    return dsse_sign(key, payload_type, payload, memory);
}

bool dsse_verify(const envelope *self, const char *payload_type, const public_key *key) {
    if (self->n_signatures != 1 || self->signatures[0]->sig.len != CRYPTO_SIGNATURE_BYTES ||
        strcmp(self->payload_type, payload_type) != 0)
        return false;
    pre_authentication signed_text;
    if (!pre_authentication_make(&signed_text, payload_type, bytes_of(self->payload.data, self->payload.len)))
        return false;
    bool genuine = key_verify(key, signed_text.encoded, self->signatures[0]->sig.data);
    pre_authentication_free(&signed_text);
    return genuine;
}

void dsse_payload_digest(const envelope *self, uint8_t out[CRYPTO_HASH_BYTES]) {
    sha256(bytes_of(self->payload.data, self->payload.len), out);
}

/* ---- headers ----------------------------------------------------------------------------------------- */

statement_header *statement_header_new(const char *type, const char *installation, const char *principal,
                                       int64_t lifetime_ms, const chance *source, arena *memory) {
    statement_header *self = arena_alloc(memory, sizeof *self);
    uint8_t *nonce = arena_alloc(memory, NONCE_BYTES);
    char *own_type = arena_text(memory, type);
    char *own_installation = arena_text(memory, installation);
    char *own_principal = arena_text(memory, principal);
    if (self == NULL || nonce == NULL || own_type == NULL || own_installation == NULL ||
        own_principal == NULL)
        return NULL;
    chance_random(source, nonce, NONCE_BYTES);
    interlock__common__v1__statement_header__init(self);
    self->type = own_type;
    self->installation = own_installation;
    self->principal = own_principal;
    self->issued_at_ms = chance_wall_ms(source);
    self->expires_at_ms = lifetime_ms == 0 ? 0 : self->issued_at_ms + lifetime_ms;
    self->nonce = (ProtobufCBinaryData){.len = NONCE_BYTES, .data = nonce};
    return self;
}

static status_code check_times(const statement_header *header, int64_t max_lifetime_ms, int64_t now_ms,
                               failure *why) {
    if (header->issued_at_ms <= 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "STATEMENT_LIFETIME",
                    "the statement does not say when it was issued; set issued_at_ms");
    if (header->issued_at_ms > now_ms + LIMIT_CLOCK_SKEW_MS)
        return fail(
            why, STATUS_UNAUTHENTICATED, "STATEMENT_FROM_THE_FUTURE",
            "the statement says it was issued at %lld ms, our clock says %lld; set the clocks (at most %d ms "
            "ahead is taken)",
            (long long)header->issued_at_ms, (long long)now_ms, LIMIT_CLOCK_SKEW_MS);
    if (max_lifetime_ms <= 0)
        return STATUS_OK;
    /* issued_at is positive and not far from now, so that the sum cannot overflow. */
    if (header->expires_at_ms <= header->issued_at_ms ||
        header->expires_at_ms > header->issued_at_ms + max_lifetime_ms)
        return fail(why, STATUS_INVALID_ARGUMENT, "STATEMENT_LIFETIME",
                    "the statement must expire after it was issued, and at most %lld ms later",
                    (long long)max_lifetime_ms);
    if (header->expires_at_ms <= now_ms)
        return fail(why, STATUS_UNAUTHENTICATED, "STATEMENT_EXPIRED",
                    "the statement expired %lld ms ago; issue and sign it again",
                    (long long)(now_ms - header->expires_at_ms));
    return STATUS_OK;
}

status_code statement_header_check(const statement_header *header, const char *type, const char *installation,
                                   int64_t max_lifetime_ms, const chance *source, failure *why) {
    if (header == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "STATEMENT_TYPE",
                    "the statement has no header; set field 1");
    if (strcmp(header->type, type) != 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "STATEMENT_TYPE",
                    "the statement's header is of type \"%.100s\"; \"%.100s\" is needed here", header->type,
                    type);
    if (strcmp(header->installation, installation) != 0)
        return fail(why, STATUS_UNAUTHENTICATED, "STATEMENT_INSTALLATION",
                    "the statement is for the installation \"%.100s\"; this one is \"%.100s\"",
                    header->installation, installation);
    if (header->principal[0] == '\0' || strlen(header->principal) > LIMIT_NAME_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "STATEMENT_PRINCIPAL",
                    "the statement must name the principal that signs it, in at most %u bytes",
                    LIMIT_NAME_BYTES);
    if (header->nonce.len != NONCE_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "STATEMENT_NONCE",
                    "the statement's nonce has %zu bytes; %u random ones are needed", header->nonce.len,
                    NONCE_BYTES);
    return check_times(header, max_lifetime_ms, chance_wall_ms(source), why);
}
