/* Hashes, authenticated encryption and the start of libsodium. SHA-256 is OpenSSL's, which uses the
 * processor's own instructions; its plain functions are used because they need no heap and no fetch: 100 ns
 * for the two hashes of a tree node against 150 to 450 through EVP (docs/decisions/0004). */
#define OPENSSL_API_COMPAT 0x10100000L /* the plain SHA256_* are deprecated by name in OpenSSL 3 */
#include "crypto/crypto.h"

#include <jansson.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdlib.h>

_Static_assert(CRYPTO_PUBLIC_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(CRYPTO_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519 signature");
_Static_assert(CRYPTO_HASH_BYTES == SHA256_DIGEST_LENGTH, "SHA-256");
_Static_assert(CRYPTO_SECRET_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "XChaCha20-Poly1305 key");

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
_Static_assert(CRYPTO_SEAL_OVERHEAD == NONCE_BYTES + TAG_BYTES, "nonce and tag");

/* jansson (2.14) ignores in the middle of a text that it got no memory: it drops a byte of the text, or reads
 * on past its end. Whose claims were read like that must not be believed, and nobody would know. */
static void *allocate_or_end(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL)
        abort();
    return memory;
}

void crypto_init(void) {
    if (sodium_init() < 0)
        abort();
    json_set_alloc_funcs(allocate_or_end, free);
}

void sha256(bytes message, uint8_t out[CRYPTO_HASH_BYTES]) {
    sha256_two(message, (bytes){0}, out);
}

void sha256_two(bytes first, bytes second, uint8_t out[CRYPTO_HASH_BYTES]) {
    SHA256_CTX state;
    SHA256_Init(&state);
    if (first.size != 0)
        SHA256_Update(&state, first.data, first.size);
    if (second.size != 0)
        SHA256_Update(&state, second.data, second.size);
    SHA256_Final(out, &state);
}

bool constant_time_equal(const uint8_t *a, const uint8_t *b, size_t size) {
    return sodium_memcmp(a, b, size) == 0;
}

void crypto_wipe(void *memory, size_t size) {
    if (memory != NULL)
        sodium_memzero(memory, size);
}

void crypto_seal(const uint8_t key[CRYPTO_SECRET_BYTES], bytes plain, bytes context, const chance *source,
                 uint8_t *out) {
    chance_random(source, out, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_BYTES, NULL, plain.data, plain.size, context.data,
                                               context.size, NULL, out, key);
}

bool crypto_open(const uint8_t key[CRYPTO_SECRET_BYTES], bytes sealed, bytes context, uint8_t *out) {
    if (sealed.size < CRYPTO_SEAL_OVERHEAD)
        return false;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed.data + NONCE_BYTES,
                                                      sealed.size - NONCE_BYTES, context.data, context.size,
                                                      sealed.data, key) == 0;
}
