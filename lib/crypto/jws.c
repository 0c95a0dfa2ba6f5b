/* JWS in compact form, EdDSA alone (RFC 7515, RFC 8037), and the key's JWK. */
#include "crypto/jws.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define TOKEN_BYTES_MAX 8192U
#define HEADER_BYTES_MAX 512U
#define SIGNATURE_CHARS 86U /* 64 bytes in base64url */

static void append_json_text(buffer *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            buffer_format(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            buffer_format(out, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            buffer_append(out, text, 1);
    }
}

status_code jws_sign(const secret_key *key, const char *type, bytes claims_json, buffer *out, failure *why) {
    buffer header;
    buffer token;
    buffer_init(&header, HEADER_BYTES_MAX);
    buffer_init(&token, TOKEN_BYTES_MAX);
    buffer_format(&header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"", secret_key_public(key)->keyid);
    append_json_text(&header, type);
    buffer_text(&header, "\"}");
    base64url_encode(buffer_bytes(&header), &token);
    buffer_text(&token, ".");
    base64url_encode(claims_json, &token);
    bool fits = buffer_ok(&header) && buffer_ok(&token);
    if (fits) {
        uint8_t signature[CRYPTO_SIGNATURE_BYTES];
        key_sign(key, buffer_bytes(&token), signature);
        buffer_text(&token, ".");
        base64url_encode(bytes_of(signature, sizeof signature), &token);
        fits = buffer_ok(&token);
    }
    if (fits)
        buffer_append(out, token.data, token.size);
    fits = fits && buffer_ok(out);
    buffer_free(&header);
    buffer_free(&token);
    return fits ? STATUS_OK
                : fail(why, STATUS_RESOURCE_EXHAUSTED, "JWS_TOO_LARGE",
                       "the token would be larger than %u bytes", TOKEN_BYTES_MAX);
}

/* ---- verifying --------------------------------------------------------------------------------------- */

typedef struct token_parts {
    bytes signed_text; /* header.payload */
    bytes header;
    bytes payload;
    bytes signature;
} token_parts;

static status_code malformed(failure *why, const char *what) {
    return fail(why, STATUS_UNAUTHENTICATED, "JWS_MALFORMED",
                "this is not a token in compact form: %s; pass it on exactly as it was issued", what);
}

/* Two dots, three parts; the signature's length is known. */
static bool split(bytes token, token_parts *out) {
    const uint8_t *first = memchr(token.data, '.', token.size);
    if (first == NULL)
        return false;
    size_t header_size = (size_t)(first - token.data);
    bytes rest = bytes_of(first + 1, token.size - header_size - 1);
    const uint8_t *second = rest.size == 0 ? NULL : memchr(rest.data, '.', rest.size);
    if (second == NULL)
        return false;
    size_t payload_size = (size_t)(second - rest.data);
    out->signed_text = bytes_of(token.data, header_size + 1 + payload_size);
    out->header = bytes_of(token.data, header_size);
    out->payload = bytes_of(rest.data, payload_size);
    out->signature = bytes_of(second + 1, rest.size - payload_size - 1);
    return out->signature.size == SIGNATURE_CHARS;
}

static bool member_is(const json_t *object, const char *name, const char *wanted) {
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL && strcmp(value, wanted) == 0;
}

/* Exactly alg, kid and typ. The algorithm is that of the key; a kid may differ in nothing but be the key's
 * own. */
static status_code check_header(bytes encoded, const public_key *key, const char *type, failure *why) {
    uint8_t text[HEADER_BYTES_MAX];
    size_t size = sizeof text;
    if (!base64url_decode(encoded, text, &size))
        return malformed(why, "its header is not canonical base64url of at most 512 bytes");
    json_t *header = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, NULL);
    status_code code = STATUS_OK;
    if (!json_is_object(header) || json_object_size(header) != 3 || json_object_get(header, "alg") == NULL ||
        json_object_get(header, "kid") == NULL || json_object_get(header, "typ") == NULL)
        code = fail(why, STATUS_UNAUTHENTICATED, "JWS_HEADER",
                    "the token's header must hold alg, kid and typ, once each, and nothing else");
    else if (!member_is(header, "alg", "EdDSA"))
        code = fail(why, STATUS_UNAUTHENTICATED, "JWS_HEADER", "the token's algorithm must be EdDSA");
    else if (!member_is(header, "typ", type))
        code = fail(why, STATUS_UNAUTHENTICATED, "JWS_TYPE", "the token is not of the type %s", type);
    else if (!member_is(header, "kid", key->keyid))
        code = fail(why, STATUS_UNAUTHENTICATED, "JWS_SIGNATURE", "the token names another key than %s",
                    key->keyid);
    json_decref(header);
    return code;
}

/* A JSON object without duplicate members; other readers could otherwise read other claims than we do. */
static status_code check_claims(bytes claims, failure *why) {
    json_t *object = json_loadb((const char *)claims.data, claims.size, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_is_object(object);
    json_decref(object);
    return good ? STATUS_OK : malformed(why, "its payload is not a JSON object with members that differ");
}

static bool signature_good(const public_key *key, const token_parts *parts) {
    uint8_t raw[CRYPTO_SIGNATURE_BYTES];
    size_t size = sizeof raw;
    return base64url_decode(parts->signature, raw, &size) && size == sizeof raw &&
           key_verify(key, parts->signed_text, raw);
}

status_code jws_verify(const public_key *key, const char *type, bytes token, buffer *claims_json,
                       failure *why) {
    token_parts parts;
    if (token.size == 0 || token.size > TOKEN_BYTES_MAX || !split(token, &parts))
        return malformed(why, "it is not of three parts within 8 KiB");
    status_code code = check_header(parts.header, key, type, why);
    if (code != STATUS_OK)
        return code;
    uint8_t claims[TOKEN_BYTES_MAX];
    size_t size = sizeof claims;
    if (!base64url_decode(parts.payload, claims, &size))
        return malformed(why, "its payload is not canonical base64url");
    if (!signature_good(key, &parts))
        return fail(why, STATUS_UNAUTHENTICATED, "JWS_SIGNATURE",
                    "the token's signature is not that of the key %s; it was altered or another key made it",
                    key->keyid);
    code = check_claims(bytes_of(claims, size), why);
    if (code != STATUS_OK)
        return code;
    buffer_append(claims_json, claims, size);
    return buffer_ok(claims_json) ? STATUS_OK
                                  : fail(why, STATUS_RESOURCE_EXHAUSTED, "JWS_TOO_LARGE",
                                         "there is no room for the token's %zu bytes of claims", size);
}

/* ---- JWK --------------------------------------------------------------------------------------------- */

void jwk_write(const public_key *key, buffer *out) {
    buffer_text(out, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
    base64url_encode(bytes_of(key->bytes, CRYPTO_PUBLIC_KEY_BYTES), out);
    buffer_format(out, "\",\"kid\":\"%s\",\"use\":\"sig\",\"alg\":\"EdDSA\"}", key->keyid);
}

void jwk_thumbprint(const public_key *key, uint8_t out[CRYPTO_HASH_BYTES]) {
    char
        encoded[sodium_base64_ENCODED_LEN(CRYPTO_PUBLIC_KEY_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    char text[128];
    sodium_bin2base64(encoded, sizeof encoded, key->bytes, CRYPTO_PUBLIC_KEY_BYTES,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int size = snprintf(text, sizeof text, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", encoded);
    sha256(bytes_of(text, (size_t)size), out);
}
