/* See claims.h. */
#include "claims.h"

#include "crypto/jws.h"

static ProtobufCBinaryData binary_copy(const uint8_t *data, size_t size, arena *memory) {
    uint8_t *copy = arena_copy(memory, data, size);
    return (ProtobufCBinaryData){.len = copy == NULL ? 0 : size, .data = copy};
}

Interlock__Policy__V1__PermitClaims *claims_new(const decision_facts *facts,
                                                const uint8_t effective[CRYPTO_HASH_BYTES], arena *memory) {
    Interlock__Policy__V1__PermitClaims *self = arena_alloc(memory, sizeof *self);
    char *permit_id = arena_alloc(memory, 33);
    if (self == NULL || permit_id == NULL)
        return NULL;
    interlock__policy__v1__permit_claims__init(self);
    hex_encode(bytes_of(facts->permit_id, 16), permit_id);
    uint8_t thumbprint[CRYPTO_HASH_BYTES];
    jwk_thumbprint(&facts->executor->key, thumbprint);
    self->issuer = arena_text(memory, facts->installation);
    self->audience = arena_text(memory, facts->executor_principal);
    self->permit_id = permit_id;
    self->action_digest = binary_copy(facts->digest, CRYPTO_HASH_BYTES, memory);
    self->effective_digest = binary_copy(effective, CRYPTO_HASH_BYTES, memory);
    self->issued_at_s = facts->now_ms / 1000;
    self->expires_at_s = self->issued_at_s + LIMIT_PERMIT_LIFETIME_MS / 1000;
    self->epoch = facts->epoch;
    self->control_seq = facts->control_seq;
    self->policy_digest = arena_text(memory, facts->document->digest);
    self->executor_thumbprint = binary_copy(thumbprint, sizeof thumbprint, memory);
    bool complete = self->issuer != NULL && self->audience != NULL && self->policy_digest != NULL &&
                    self->action_digest.data != NULL && self->effective_digest.data != NULL &&
                    self->executor_thumbprint.data != NULL;
    return complete ? self : NULL;
}
