/* Tokens: RFC 8037's vectors, and every header, encoding and signature that must be refused. */
#include <stdio.h>
#include <string.h>

#include "crypto/jws.h"
#include "test.h"

#define CLAIMS "{\"aud\":\"executor\",\"exp\":1767225660,\"jti\":\"7\"}"

static secret_key *permit_key;
static secret_key *other_key;

/* RFC 8037, appendix A.1: the private key. */
static void rfc8037_seed(void *self, uint8_t *out, size_t size) {
    (void)self;
    assert_int_equal(size, 32);
    assert_true(hex_decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", out, size));
}

static int set_up(void **state) {
    (void)state;
    crypto_init();
    simulated_chance world;
    simulated_chance_init(&world, 5);
    chance seeded = world.chance;
    seeded.random = rfc8037_seed;
    failure why;
    return secret_key_generate(&seeded, KEY_PERMIT, &permit_key, &why) != STATUS_OK ||
           secret_key_generate(&world.chance, KEY_PERMIT, &other_key, &why) != STATUS_OK;
}

static int tear_down(void **state) {
    (void)state;
    secret_key_free(permit_key);
    secret_key_free(other_key);
    return 0;
}

/* Appendix A.2 and A.3. */
static void test_rfc8037_key_and_thumbprint(void **state) {
    (void)state;
    buffer text;
    buffer_init(&text, 1024);
    jwk_write(secret_key_public(permit_key), &text);
    assert_true(buffer_ok(&text));
    assert_non_null(strstr(text.data, "\"kty\":\"OKP\",\"crv\":\"Ed25519\""));
    assert_non_null(strstr(text.data, "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""));
    uint8_t thumbprint[CRYPTO_HASH_BYTES];
    jwk_thumbprint(secret_key_public(permit_key), thumbprint);
    buffer_clear(&text);
    base64url_encode(bytes_of(thumbprint, sizeof thumbprint), &text);
    assert_string_equal(text.data, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    buffer_free(&text);
}

/* Appendix A.4 and A.5: the same key signs the same text; its header, {"alg":"EdDSA"}, is not a permit's. */
static void test_rfc8037_signature(void **state) {
    (void)state;
    static const char signed_text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    static const char expected[] =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    uint8_t signature[CRYPTO_SIGNATURE_BYTES];
    key_sign(permit_key, bytes_of_text(signed_text), signature);
    buffer text;
    buffer_init(&text, 1024);
    base64url_encode(bytes_of(signature, sizeof signature), &text);
    assert_string_equal(text.data, expected);
    buffer_clear(&text);
    buffer_format(&text, "%s.%s", signed_text, expected);
    buffer claims;
    buffer_init(&claims, 1024);
    failure why;
    assert_int_equal(
        jws_verify(secret_key_public(permit_key), JWS_PERMIT_TYPE, buffer_bytes(&text), &claims, &why),
        STATUS_UNAUTHENTICATED);
    assert_string_equal(why.reason, "JWS_HEADER");
    buffer_free(&text);
    buffer_free(&claims);
}

/* Signs what is given, whatever it is, so that only the named defect is wrong. */
static void forge(const char *header, const char *payload, buffer *token) {
    base64url_encode(bytes_of_text(header), token);
    buffer_text(token, ".");
    base64url_encode(bytes_of_text(payload), token);
    uint8_t signature[CRYPTO_SIGNATURE_BYTES];
    key_sign(permit_key, buffer_bytes(token), signature);
    buffer_text(token, ".");
    base64url_encode(bytes_of(signature, sizeof signature), token);
}

static const char *reason_of(bytes token) {
    buffer claims;
    buffer_init(&claims, 16384);
    failure why = {0};
    status_code code = jws_verify(secret_key_public(permit_key), JWS_PERMIT_TYPE, token, &claims, &why);
    if (code != STATUS_OK)
        assert_int_equal(claims.size, 0);
    buffer_free(&claims);
    return code == STATUS_OK ? "OK" : why.reason;
}

static void test_round_trip(void **state) {
    (void)state;
    buffer token;
    buffer claims;
    buffer_init(&token, 16384);
    buffer_init(&claims, 16384);
    failure why;
    assert_int_equal(jws_sign(permit_key, JWS_PERMIT_TYPE, bytes_of_text(CLAIMS), &token, &why), STATUS_OK);
    assert_int_equal(
        jws_verify(secret_key_public(permit_key), JWS_PERMIT_TYPE, buffer_bytes(&token), &claims, &why),
        STATUS_OK);
    assert_string_equal(claims.data, CLAIMS);
    buffer_clear(&claims);
    assert_int_equal(
        jws_verify(secret_key_public(permit_key), "other+jwt", buffer_bytes(&token), &claims, &why),
        STATUS_UNAUTHENTICATED);
    assert_string_equal(why.reason, "JWS_TYPE");
    assert_int_equal(
        jws_verify(secret_key_public(other_key), JWS_PERMIT_TYPE, buffer_bytes(&token), &claims, &why),
        STATUS_UNAUTHENTICATED);
    assert_int_equal(claims.size, 0);
    buffer_free(&token);
    buffer_free(&claims);
}

typedef struct token_case {
    const char *reason;
    const char *header; /* %s is the key's id */
    const char *payload;
} token_case;

#define GOOD_HEADER "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}"
#define HEADER_WITH(more) "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"," more "}"

static const token_case token_cases[] = {
    {"OK", GOOD_HEADER, CLAIMS},
    {"OK", "{\"typ\":\"interlock-permit+jwt\",\"kid\":\"%s\",\"alg\":\"EdDSA\"}", CLAIMS},
    {"OK", GOOD_HEADER, "{}"},
    /* Each member that changes how or with what a token is verified. */
    {"JWS_HEADER", HEADER_WITH("\"jwk\":{\"kty\":\"OKP\"}"), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"jku\":\"https://evil.example/jwks\""), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"x5u\":\"https://evil.example/pem\""), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"x5c\":[\"AA==\"]"), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"crit\":[\"b64\"]"), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"b64\":false"), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"zip\":\"DEF\""), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"cty\":\"JWT\""), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"\":1"), CLAIMS},
    /* Other algorithms, also by spelling. */
    {"JWS_HEADER", "{\"alg\":\"none\",\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", "{\"alg\":\"eddsa\",\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", "{\"alg\":\"EdDSA \",\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", "{\"alg\":[\"EdDSA\"],\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", "{\"alg\":null,\"kid\":\"%s\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    /* Missing, double and mistyped members; what is not an object. */
    {"JWS_HEADER", "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", CLAIMS},
    {"JWS_HEADER", "{\"alg\":\"EdDSA\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"alg\":\"EdDSA\""), CLAIMS},
    {"JWS_HEADER", HEADER_WITH("\"\\u0061lg\":\"none\""), CLAIMS},
    {"JWS_HEADER", "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"Typ\":\"interlock-permit+jwt\"}", CLAIMS},
    {"JWS_HEADER", "[]", CLAIMS},
    {"JWS_HEADER", "", CLAIMS},
    {"JWS_HEADER", "null", CLAIMS},
    {"JWS_HEADER", GOOD_HEADER "x", CLAIMS},
    {"JWS_TYPE", "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"JWT\"}", CLAIMS},
    {"JWS_TYPE", "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"Interlock-Permit+JWT\"}", CLAIMS},
    {"JWS_TYPE", "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":7}", CLAIMS},
    {"JWS_SIGNATURE", "{\"alg\":\"EdDSA\",\"kid\":\"another\",\"typ\":\"interlock-permit+jwt\"}", CLAIMS},
    /* Payloads, rightly signed. */
    {"JWS_MALFORMED", GOOD_HEADER, ""},
    {"JWS_MALFORMED", GOOD_HEADER, "[]"},
    {"JWS_MALFORMED", GOOD_HEADER, "\"text\""},
    {"JWS_MALFORMED", GOOD_HEADER, "{\"exp\":1,\"exp\":2}"},
    {"JWS_MALFORMED", GOOD_HEADER, "{\"exp\":1,\"\\u0065xp\":2}"},
    {"JWS_MALFORMED", GOOD_HEADER, "{\"a\":{\"b\":1,\"b\":2}}"},
    {"JWS_MALFORMED", GOOD_HEADER, "{\"exp\":1}{}"},
    {"JWS_MALFORMED", GOOD_HEADER, "{\"exp\":1"},
    {"JWS_MALFORMED", GOOD_HEADER, "{\"a\":\"\xff\"}"},
};

static void test_signed_but_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof token_cases / sizeof *token_cases; i++) {
        char header[512];
        const char *keyid = secret_key_public(permit_key)->keyid;
        const char *at = strstr(token_cases[i].header, "%s");
        size_t before = at == NULL ? strlen(token_cases[i].header) : (size_t)(at - token_cases[i].header);
        snprintf(header, sizeof header, "%.*s%s%s", (int)before, token_cases[i].header,
                 at == NULL ? "" : keyid, at == NULL ? "" : at + 2);
        buffer token;
        buffer_init(&token, 16384);
        forge(header, token_cases[i].payload, &token);
        const char *reason = reason_of(buffer_bytes(&token));
        if (strcmp(reason, token_cases[i].reason) != 0)
            print_error("case %zu: %s . %s\n", i, header, token_cases[i].payload);
        assert_string_equal(reason, token_cases[i].reason);
        buffer_free(&token);
    }
}

/* No other spelling of a good token passes: not a flipped bit, not a byte more or less, not padding or space.
 */
static void test_one_token_one_spelling(void **state) {
    (void)state;
    buffer token;
    buffer_init(&token, 16384);
    failure why;
    assert_int_equal(jws_sign(permit_key, JWS_PERMIT_TYPE, bytes_of_text(CLAIMS), &token, &why), STATUS_OK);
    for (size_t i = 0; i < token.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            token.data[i] = (char)(token.data[i] ^ (1 << bit));
            assert_string_not_equal(reason_of(buffer_bytes(&token)), "OK");
            token.data[i] = (char)(token.data[i] ^ (1 << bit));
        }
        assert_string_not_equal(reason_of(bytes_of(token.data, i)), "OK");
    }
    static const char *const tails[] = {"=", "==", " ", "\n", ".", "A", ".AAAA"};
    size_t size = token.size;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        buffer_text(&token, tails[i]);
        assert_string_equal(reason_of(buffer_bytes(&token)), "JWS_MALFORMED");
        token.size = size;
    }
    assert_string_equal(reason_of(buffer_bytes(&token)), "OK");
    assert_string_equal(reason_of((bytes){0}), "JWS_MALFORMED");
    assert_string_equal(reason_of(bytes_of_text("..")), "JWS_MALFORMED");
    buffer_free(&token);
}

static void test_size_limits(void **state) {
    (void)state;
    static char large[9000];
    memset(large, ' ', sizeof large - 1);
    large[0] = '{';
    large[sizeof large - 2] = '}';
    buffer token;
    buffer_init(&token, 1U << 20);
    forge("{}", large, &token);
    assert_string_equal(reason_of(buffer_bytes(&token)), "JWS_MALFORMED");
    buffer_clear(&token);
    failure why;
    assert_int_equal(jws_sign(permit_key, JWS_PERMIT_TYPE, bytes_of_text(large), &token, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(token.size, 0);
    large[5000] = '\0';
    large[4999] = '}';
    assert_int_equal(jws_sign(permit_key, JWS_PERMIT_TYPE, bytes_of_text(large), &token, &why), STATUS_OK);
    assert_string_equal(reason_of(buffer_bytes(&token)), "OK");
    buffer small;
    buffer_init(&small, 100);
    assert_int_equal(
        jws_verify(secret_key_public(permit_key), JWS_PERMIT_TYPE, buffer_bytes(&token), &small, &why),
        STATUS_RESOURCE_EXHAUSTED);
    buffer_free(&small);
    buffer_free(&token);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8037_key_and_thumbprint),
        cmocka_unit_test(test_rfc8037_signature),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_signed_but_refused),
        cmocka_unit_test(test_one_token_one_spelling),
        cmocka_unit_test(test_size_limits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
