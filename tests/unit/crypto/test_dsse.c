/* DSSE envelopes: the encoding that is signed, what verification refuses, and the checks of a statement's
 * header. */
#include <string.h>

#include "base/limits.h"
#include "crypto/dsse.h"
#include "test.h"
#include "wire/scan.h"

typedef Interlock__Common__V1__Envelope envelope;
typedef Interlock__Common__V1__StatementHeader statement_header;

static simulated_chance world;
static arena memory;
static secret_key *agent;
static secret_key *other;

static int set_up(void **state) {
    (void)state;
    crypto_init();
    simulated_chance_init(&world, 7);
    arena_init(&memory, 65536, 8U << 20);
    failure why;
    return secret_key_generate(&world.chance, KEY_AGENT, &agent, &why) != STATUS_OK ||
           secret_key_generate(&world.chance, KEY_AGENT, &other, &why) != STATUS_OK;
}

static int tear_down(void **state) {
    (void)state;
    secret_key_free(agent);
    secret_key_free(other);
    arena_free(&memory);
    return 0;
}

/* The example of protocol.md: its type and payload, and the text to be signed, written out there. */
static void test_signs_the_pre_authentication_encoding(void **state) {
    (void)state;
    static const char type[] = "http://example.com/HelloWorld";
    static const char expected[] = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    envelope *made = dsse_sign(agent, type, bytes_of_text("hello world"), &memory);
    assert_non_null(made);
    assert_true(key_verify(secret_key_public(agent), bytes_of_text(expected), made->signatures[0]->sig.data));
    assert_true(dsse_verify(made, type, secret_key_public(agent)));
    assert_string_equal(made->signatures[0]->keyid, secret_key_public(agent)->keyid);
}

static envelope *signed_statement(const char *text) {
    envelope *made = dsse_sign(agent, PAYLOAD_ACTION, bytes_of_text(text), &memory);
    assert_non_null(made);
    return made;
}

static void test_survives_the_wire(void **state) {
    (void)state;
    envelope *made = signed_statement("anything");
    bytes wire;
    failure why;
    assert_int_equal(wire_pack(&made->base, &memory, &wire, &why), STATUS_OK);
    ProtobufCMessage *back;
    assert_int_equal(wire_unpack(&interlock__common__v1__envelope__descriptor, wire, &memory, &back, &why),
                     STATUS_OK);
    assert_true(dsse_verify((envelope *)back, PAYLOAD_ACTION, secret_key_public(agent)));
}

static void test_refuses_what_is_not_signed_so(void **state) {
    (void)state;
    envelope *made = signed_statement("anything");
    assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(other)));
    assert_false(dsse_verify(made, PAYLOAD_KILL, secret_key_public(agent)));

    made->payload_type = (char *)(uintptr_t)PAYLOAD_KILL; /* signed as an action, offered as a kill */
    assert_false(dsse_verify(made, PAYLOAD_KILL, secret_key_public(agent)));

    made = signed_statement("anything");
    made->payload.data = (uint8_t *)(uintptr_t) "Anything";
    assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));

    made = signed_statement("anything");
    made->payload.len--;
    assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));

    for (size_t bit = 0; bit < 8U * CRYPTO_SIGNATURE_BYTES; bit++) {
        made->payload.len = strlen("anything");
        made->signatures[0]->sig.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
        made->signatures[0]->sig.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
}

static void test_takes_exactly_one_signature(void **state) {
    (void)state;
    envelope *made = signed_statement("anything");
    Interlock__Common__V1__Signature *two[2] = {made->signatures[0], made->signatures[0]};
    made->signatures = two;
    made->n_signatures = 2;
    assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
    made->n_signatures = 0;
    assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
    made->n_signatures = 1;
    made->signatures[0]->sig.len = CRYPTO_SIGNATURE_BYTES - 1U;
    assert_false(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
    made->signatures[0]->sig.len = CRYPTO_SIGNATURE_BYTES;
    assert_true(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
}

static void test_does_not_look_at_the_keyid(void **state) {
    (void)state;
    envelope *made = signed_statement("anything");
    made->signatures[0]->keyid = (char *)(uintptr_t) "somebody else";
    assert_true(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
}

static void test_takes_any_size_up_to_the_limit(void **state) {
    (void)state;
    static uint8_t payload[LIMIT_ENVELOPE_BYTES + 1U];
    static const size_t sizes[] = {0, 1, 3999, 4000, 4096, 5000, LIMIT_ENVELOPE_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        envelope *made = dsse_sign(agent, PAYLOAD_ACTION, bytes_of(payload, sizes[i]), &memory);
        assert_non_null(made);
        assert_true(dsse_verify(made, PAYLOAD_ACTION, secret_key_public(agent)));
    }
    assert_null(dsse_sign(agent, PAYLOAD_ACTION, bytes_of(payload, sizeof payload), &memory));
}

static void test_digest_is_of_the_payload(void **state) {
    (void)state;
    uint8_t digest[CRYPTO_HASH_BYTES];
    uint8_t expected[CRYPTO_HASH_BYTES];
    dsse_payload_digest(signed_statement("abc"), digest);
    assert_true(hex_decode("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", expected,
                           sizeof expected));
    assert_memory_equal(digest, expected, sizeof digest);
}

/* Every allocation fails in turn: NULL each time, until there is enough. */
static void test_without_memory(void **state) {
    (void)state;
    statement_header *header =
        statement_header_new(PAYLOAD_ACTION, "house", "agent/deployer", 1000, &world.chance, &memory);
    bool done = false;
    for (size_t limit = 0; !done && limit < 4096; limit += 16) {
        arena tight;
        arena_init(&tight, 64, limit);
        envelope *made = dsse_sign_message(agent, PAYLOAD_ACTION, &header->base, &tight);
        statement_header *again =
            statement_header_new(PAYLOAD_ACTION, "house", "agent/deployer", 1000, &world.chance, &tight);
        done = made != NULL && again != NULL;
        arena_free(&tight);
    }
    assert_true(done);
}

/* ---- headers ----------------------------------------------------------------------------------------- */

static statement_header *fresh_header(int64_t lifetime_ms) {
    statement_header *header =
        statement_header_new(PAYLOAD_ACTION, "house", "agent/deployer", lifetime_ms, &world.chance, &memory);
    assert_non_null(header);
    return header;
}

static const char *reason_for(const statement_header *header, int64_t max_lifetime_ms) {
    failure why = {0};
    status_code code =
        statement_header_check(header, PAYLOAD_ACTION, "house", max_lifetime_ms, &world.chance, &why);
    return code == STATUS_OK ? "OK" : why.reason;
}

static void test_fresh_header_passes(void **state) {
    (void)state;
    assert_string_equal(reason_for(fresh_header(600000), 600000), "OK");
    assert_string_equal(reason_for(fresh_header(0), 0), "OK");
    statement_header *one = fresh_header(1000);
    statement_header *two = fresh_header(1000);
    assert_memory_not_equal(one->nonce.data, two->nonce.data, one->nonce.len);
}

typedef struct header_case {
    const char *reason;
    int64_t issued_ms;  /* added to now */
    int64_t expires_ms; /* added to now */
} header_case;

static void test_header_times(void **state) {
    (void)state;
    static const header_case cases[] = {
        {"OK", LIMIT_CLOCK_SKEW_MS, 600000},
        {"OK", -599999, 1},
        {"STATEMENT_FROM_THE_FUTURE", LIMIT_CLOCK_SKEW_MS + 1, 600000},
        {"STATEMENT_FROM_THE_FUTURE", 1000000000000000000, 1000000000000000001},
        {"STATEMENT_LIFETIME", 0, 600001},
        {"STATEMENT_LIFETIME", 0, 0},
        {"STATEMENT_LIFETIME", -1000, -1001},
        {"STATEMENT_LIFETIME", -9000000000000000000, 1},
        {"STATEMENT_LIFETIME", 0, -9000000000000000000},
        {"STATEMENT_EXPIRED", -1000, 0},
        {"STATEMENT_EXPIRED", -1000, -1},
    };
    int64_t now = chance_wall_ms(&world.chance);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        statement_header *header = fresh_header(1000);
        header->issued_at_ms = now + cases[i].issued_ms;
        header->expires_at_ms = now + cases[i].expires_ms;
        assert_string_equal(reason_for(header, 600000), cases[i].reason);
    }
    statement_header *header = fresh_header(0);
    assert_string_equal(reason_for(header, 600000), "STATEMENT_LIFETIME");
}

static void test_header_fields(void **state) {
    (void)state;
    char long_name[LIMIT_NAME_BYTES + 2];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';

    statement_header *header = fresh_header(1000);
    header->type = (char *)(uintptr_t)PAYLOAD_KILL;
    assert_string_equal(reason_for(header, 600000), "STATEMENT_TYPE");
    header = fresh_header(1000);
    header->installation = (char *)(uintptr_t) "neighbour";
    assert_string_equal(reason_for(header, 600000), "STATEMENT_INSTALLATION");
    header = fresh_header(1000);
    header->principal = (char *)(uintptr_t) "";
    assert_string_equal(reason_for(header, 600000), "STATEMENT_PRINCIPAL");
    header->principal = long_name;
    assert_string_equal(reason_for(header, 600000), "STATEMENT_PRINCIPAL");
    header = fresh_header(1000);
    header->nonce.len = 31;
    assert_string_equal(reason_for(header, 600000), "STATEMENT_NONCE");
    assert_string_equal(reason_for(NULL, 600000), "STATEMENT_TYPE");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs_the_pre_authentication_encoding),
        cmocka_unit_test(test_survives_the_wire),
        cmocka_unit_test(test_refuses_what_is_not_signed_so),
        cmocka_unit_test(test_takes_exactly_one_signature),
        cmocka_unit_test(test_does_not_look_at_the_keyid),
        cmocka_unit_test(test_takes_any_size_up_to_the_limit),
        cmocka_unit_test(test_digest_is_of_the_payload),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_fresh_header_passes),
        cmocka_unit_test(test_header_times),
        cmocka_unit_test(test_header_fields),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
