/* Keys, signatures, hashes and encryption; the only code that sees libsodium (and OpenSSL's EVP for SHA-256,
 * which the Merkle tree needs fast, and X.509). Thread-safe after crypto_init. */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include "base/bytes.h"
#include "base/chance.h"

#define CRYPTO_PUBLIC_KEY_BYTES 32U
#define CRYPTO_SIGNATURE_BYTES 64U
#define CRYPTO_HASH_BYTES 32U
#define CRYPTO_KEYID_CHARS 32U
#define CRYPTO_SECRET_BYTES 32U

/* Once, before threads start; ends the process when the library does not start. From then on jansson ends it,
 * too, when it gets no memory: what it would read then cannot be trusted. */
void crypto_init(void);

/* One key, one purpose: the purpose is part of the key file and is demanded when it is loaded. */
typedef enum key_purpose {
    KEY_AGENT,
    KEY_EXECUTOR,
    KEY_APPROVER,
    KEY_OPERATOR,
    KEY_RECORD,     /* a service's records */
    KEY_PERMIT,     /* the signer's */
    KEY_CHECKPOINT, /* audit's */
} key_purpose;
const char *key_purpose_name(key_purpose purpose);
bool key_purpose_parse(const char *name, key_purpose *out) MUST_USE;

typedef struct public_key {
    uint8_t bytes[CRYPTO_PUBLIC_KEY_BYTES];
    char keyid[CRYPTO_KEYID_CHARS + 1]; /* hex of the first 16 bytes of SHA-256(public key) */
} public_key;

typedef struct secret_key secret_key; /* kept in locked, guarded memory */

void public_key_from_bytes(public_key *out, const uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES]);
status_code secret_key_generate(const chance *source, key_purpose purpose, secret_key **out,
                                failure *why) MUST_USE;
/* "interlock-secret-key-v1 <purpose> <base64 of the 32-byte seed>\n", mode 0600, written by create-exclusive,
 * fsync. Loading refuses a file that others can read (KEY_FILE_EXPOSED) and another purpose (KEY_PURPOSE). */
status_code secret_key_save(const secret_key *self, const char *path, failure *why) MUST_USE;
status_code secret_key_load(const char *path, key_purpose purpose, secret_key **out, failure *why) MUST_USE;
void secret_key_free(secret_key *self); /* takes NULL; wipes */
const public_key *secret_key_public(const secret_key *self);

void key_sign(const secret_key *key, bytes message, uint8_t signature[CRYPTO_SIGNATURE_BYTES]);
bool key_verify(const public_key *key, bytes message,
                const uint8_t signature[CRYPTO_SIGNATURE_BYTES]) MUST_USE;

void sha256(bytes message, uint8_t out[CRYPTO_HASH_BYTES]);
void sha256_two(bytes first, bytes second, uint8_t out[CRYPTO_HASH_BYTES]); /* of the concatenation */
bool constant_time_equal(const uint8_t *a, const uint8_t *b, size_t size);
void crypto_wipe(void *memory, size_t size);

/* XChaCha20-Poly1305. `out` has room for size + CRYPTO_SEAL_OVERHEAD: nonce (24) || ciphertext || tag (16).
 */
#define CRYPTO_SEAL_OVERHEAD 40U
void crypto_seal(const uint8_t key[CRYPTO_SECRET_BYTES], bytes plain, bytes context, const chance *source,
                 uint8_t *out);
/* false when it was not sealed with this key and context. `out` has room for size - CRYPTO_SEAL_OVERHEAD. */
bool crypto_open(const uint8_t key[CRYPTO_SECRET_BYTES], bytes sealed, bytes context, uint8_t *out) MUST_USE;

#endif
