/* Leaves and what they commit to. */
#include "leaf.h"

#include <string.h>

#include "wire/scan.h"

void leaf_payload_digest(const Interlock__Common__V1__Envelope *record, uint8_t out[CRYPTO_HASH_BYTES]) {
    /* The text's own NUL is the separator. */
    bytes type = bytes_of(record->payload_type, strlen(record->payload_type) + 1);
    sha256_two(type, bytes_of(record->payload.data, record->payload.len), out);
}

void leaf_commitment(const uint8_t salt[LEAF_SALT_BYTES], const uint8_t digest[CRYPTO_HASH_BYTES],
                     uint8_t out[CRYPTO_HASH_BYTES]) {
    sha256_two(bytes_of(salt, LEAF_SALT_BYTES), bytes_of(digest, CRYPTO_HASH_BYTES), out);
}

size_t leaf_pack(const Interlock__Audit__V1__Leaf *leaf, uint8_t out[LIMIT_LEAF_BYTES]) {
    if (interlock__audit__v1__leaf__get_packed_size(leaf) > LIMIT_LEAF_BYTES)
        return 0;
    return interlock__audit__v1__leaf__pack(leaf, out);
}

status_code leaf_parse(bytes packed, arena *memory, Interlock__Audit__V1__Leaf **out, failure *why) {
    ProtobufCMessage *message = NULL;
    failure inner = {0};
    if (packed.size > LIMIT_LEAF_BYTES ||
        wire_unpack(&interlock__audit__v1__leaf__descriptor, packed, memory, &message, &inner) != STATUS_OK)
        return fail(why, STATUS_DATA_LOSS, "LEAF_MALFORMED", "a stored leaf is not readable: %.300s",
                    packed.size > LIMIT_LEAF_BYTES ? "too large" : inner.message);
    Interlock__Audit__V1__Leaf *leaf = (Interlock__Audit__V1__Leaf *)message;
    if (leaf->version != LEAF_VERSION || leaf->commitment.len != CRYPTO_HASH_BYTES)
        return fail(why, STATUS_DATA_LOSS, "LEAF_MALFORMED",
                    "a stored leaf has version %u and a commitment of %zu bytes; version %u and %u are known",
                    leaf->version, leaf->commitment.len, LEAF_VERSION, CRYPTO_HASH_BYTES);
    *out = leaf;
    return STATUS_OK;
}

bool leaf_opens(const Interlock__Audit__V1__Leaf *leaf, bytes salt,
                const Interlock__Common__V1__Envelope *record) {
    uint8_t digest[CRYPTO_HASH_BYTES], commitment[CRYPTO_HASH_BYTES];
    if (salt.size != LEAF_SALT_BYTES || leaf->commitment.len != CRYPTO_HASH_BYTES)
        return false;
    leaf_payload_digest(record, digest);
    leaf_commitment(salt.data, digest, commitment);
    return constant_time_equal(commitment, leaf->commitment.data, CRYPTO_HASH_BYTES);
}
