/* Permits as JWS in compact form (RFC 7515), algorithm EdDSA (RFC 8037), typ "interlock-permit+jwt", and
 * nothing else. The algorithm comes from the key, never from the token. Refused: any other header member
 * (jwk, jku, x5u, crit, b64, …), duplicate members, non-canonical base64url, white space, more than 8 KiB. */
#ifndef CRYPTO_JWS_H
#define CRYPTO_JWS_H

#include "crypto/crypto.h"

#define JWS_PERMIT_TYPE "interlock-permit+jwt"

/* `claims_json` is the payload, written as it is. The header is {"alg":"EdDSA","kid":…,"typ":…} in this
 * order. */
status_code jws_sign(const secret_key *key, const char *type, bytes claims_json, buffer *out,
                     failure *why) MUST_USE;

/* On success appends the payload's JSON to `claims_json`. The payload must be a JSON object without duplicate
 * members. UNAUTHENTICATED with reasons JWS_MALFORMED, JWS_HEADER, JWS_TYPE, JWS_SIGNATURE. */
status_code jws_verify(const public_key *key, const char *type, bytes token, buffer *claims_json,
                       failure *why) MUST_USE;

/* {"kty":"OKP","crv":"Ed25519","x":…,"kid":…,"use":"sig","alg":"EdDSA"} */
void jwk_write(const public_key *key, buffer *out);
/* RFC 7638: SHA-256 of the required members {"crv","kty","x"} in lexical order. */
void jwk_thumbprint(const public_key *key, uint8_t out[CRYPTO_HASH_BYTES]);

#endif
