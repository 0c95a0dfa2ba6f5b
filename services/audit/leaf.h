/* Leaves and what they commit to. Pure. */
#ifndef AUDIT_LEAF_H
#define AUDIT_LEAF_H

#include "base/arena.h"
#include "base/limits.h"
#include "crypto/crypto.h"
#include "interlock/audit/v1/audit.pb-c.h"

#define LEAF_SALT_BYTES 32U
#define LEAF_VERSION 1U

/* SHA-256(payload type || 0x00 || payload): what is known of a record without its salt. */
void leaf_payload_digest(const Interlock__Common__V1__Envelope *record, uint8_t out[CRYPTO_HASH_BYTES]);

/* SHA-256(salt || digest). */
void leaf_commitment(const uint8_t salt[LEAF_SALT_BYTES], const uint8_t digest[CRYPTO_HASH_BYTES],
                     uint8_t out[CRYPTO_HASH_BYTES]);

/* Packs in field order; 0 when it would be larger than LIMIT_LEAF_BYTES. */
size_t leaf_pack(const Interlock__Audit__V1__Leaf *leaf, uint8_t out[LIMIT_LEAF_BYTES]);

/* Reads a stored leaf. DATA_LOSS, reason LEAF_MALFORMED, when it is not one of version 1. */
status_code leaf_parse(bytes packed, arena *memory, Interlock__Audit__V1__Leaf **out, failure *why) MUST_USE;

/* A receipt or an entry opens to this record: the commitment of the leaf is over it under that salt. */
bool leaf_opens(const Interlock__Audit__V1__Leaf *leaf, bytes salt,
                const Interlock__Common__V1__Envelope *record) MUST_USE;

#endif
