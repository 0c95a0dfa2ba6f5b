/* Checkpoints: their exact text, foreign notes, and notes that must be refused. */
#include <stdio.h>
#include <string.h>

#include "merkle/note.h"
#include "test.h"

#define ORIGIN "audit.example/house"

static simulated_chance world;
static secret_key *log_key;
static secret_key *witness_key;
static char note[2 * NOTE_MAX_BYTES];

static int set_up(void **state) {
    (void)state;
    crypto_init();
    simulated_chance_init(&world, 3);
    failure why;
    return secret_key_generate(&world.chance, KEY_CHECKPOINT, &log_key, &why) != STATUS_OK ||
           secret_key_generate(&world.chance, KEY_CHECKPOINT, &witness_key, &why) != STATUS_OK;
}

static int tear_down(void **state) {
    (void)state;
    secret_key_free(log_key);
    secret_key_free(witness_key);
    return 0;
}

static checkpoint example(void) {
    checkpoint made = {.origin = ORIGIN, .size = 20852163};
    memset(made.root.bytes, 0xab, sizeof made.root.bytes);
    return made;
}

static void sign_example(void) {
    checkpoint made = example();
    buffer text;
    buffer_init(&text, NOTE_MAX_BYTES);
    failure why;
    assert_int_equal(checkpoint_sign(&made, log_key, &text, &why), STATUS_OK);
    strcpy(note, text.data);
    buffer_free(&text);
}

static status_code verify_text(const char *text, failure *why) {
    checkpoint got;
    return checkpoint_verify(bytes_of_text(text), ORIGIN, secret_key_public(log_key), &got, why);
}

static void test_text_and_round_trip(void **state) {
    (void)state;
    sign_example();
    static const char start[] =
        ORIGIN "\n20852163\nq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n\n\u2014 " ORIGIN " ";
    assert_memory_equal(note, start, sizeof start - 1);
    assert_int_equal(strlen(note), sizeof start - 1 + 92 + 1); /* 68 bytes in base64, and the end of line */
    checkpoint got;
    checkpoint wanted = example();
    failure why;
    assert_int_equal(checkpoint_verify(bytes_of_text(note), ORIGIN, secret_key_public(log_key), &got, &why),
                     STATUS_OK);
    assert_string_equal(got.origin, wanted.origin);
    assert_int_equal(got.size, wanted.size);
    assert_memory_equal(&got.root, &wanted.root, sizeof got.root);
}

/* The note and the key of the example in golang.org/x/mod/sumdb/note's documentation, PeterNeumann. */
static void test_foreign_verifier_key(void **state) {
    (void)state;
    static const char expected[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    uint8_t raw[1 + CRYPTO_PUBLIC_KEY_BYTES];
    size_t size = sizeof raw;
    assert_true(base64_decode(bytes_of_text("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"), raw, &size));
    public_key key;
    public_key_from_bytes(&key, raw + 1);
    buffer text;
    buffer_init(&text, 256);
    note_verifier_key("PeterNeumann", &key, &text);
    assert_string_equal(text.data, expected);
    buffer_free(&text);
}

/* Any single byte changed, removed, or the note cut anywhere: refused. */
static void test_every_change_is_refused(void **state) {
    (void)state;
    sign_example();
    failure why;
    size_t size = strlen(note);
    for (size_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            note[i] = (char)(note[i] ^ (1 << bit));
            checkpoint got;
            assert_int_not_equal(
                checkpoint_verify(bytes_of(note, size), ORIGIN, secret_key_public(log_key), &got, &why),
                STATUS_OK);
            note[i] = (char)(note[i] ^ (1 << bit));
        }
        checkpoint got;
        assert_int_not_equal(
            checkpoint_verify(bytes_of(note, i), ORIGIN, secret_key_public(log_key), &got, &why), STATUS_OK);
    }
    assert_int_equal(verify_text(note, &why), STATUS_OK);
}

/* Puts `line` before or after the log's signature. */
static void insert_signature(const char *line, bool before) {
    sign_example();
    char *at = before ? strstr(note, "\n\n") + 2 : note + strlen(note);
    memmove(at + strlen(line), at, strlen(at) + 1);
    memcpy(at, line, strlen(line));
}

static void test_other_signatures_are_ignored(void **state) {
    (void)state;
    static const char witness[] = "\u2014 witness.example AAAAAAECAwQFBgcICQo=\n";
    failure why;
    insert_signature(witness, false);
    assert_int_equal(verify_text(note, &why), STATUS_OK);
    insert_signature(witness, true);
    assert_int_equal(verify_text(note, &why), STATUS_OK);
    /* The log's name with another key's hash: a key that we do not know. */
    insert_signature("\u2014 " ORIGIN " AAAAAAECAwQFBgcICQo=\n", true);
    assert_int_equal(verify_text(note, &why), STATUS_OK);
}

static void test_malformed_signature_lines(void **state) {
    (void)state;
    static const char *const lines[] = {
        "\n",
        "- witness AAAAAAECAwQFBgcICQo=\n",
        "\u2014 witness\n",
        "\u2014  AAAAAAECAwQFBgcICQo=\n",
        "\u2014 witness AAAAAAECAwQFBgcICQo\n",
        "\u2014 witness AAAAAA==\n",
        "\u2014 wit+ness AAAAAAECAwQFBgcICQo=\n",
        "\u2014 witness AAAAAAECAwQFBgcICQo= \n",
        "\u2014 witness AAAAAAECAwQFBgcICQo=",
        "\r\n",
        "text\n",
    };
    failure why;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        insert_signature(lines[i], false);
        assert_int_not_equal(verify_text(note, &why), STATUS_OK);
    }
}

static void test_two_own_signatures_are_refused(void **state) {
    (void)state;
    sign_example();
    char line[256];
    strcpy(line, strstr(note, "\n\n") + 2);
    failure why;
    insert_signature(line, false);
    assert_int_equal(verify_text(note, &why), STATUS_UNAUTHENTICATED);
    assert_string_equal(why.reason, "NOTE_SIGNATURE");
}

/* Texts signed by the right key, in a form that is not a checkpoint's. */
static void test_signed_but_not_a_checkpoint(void **state) {
    (void)state;
#define ROOT "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
    static const struct {
        status_code code;
        const char *text;
    } cases[] = {
        {STATUS_OK, ORIGIN "\n0\n" ROOT "\n"},
        {STATUS_OK, ORIGIN "\n18446744073709551615\n" ROOT "\n"},
        {STATUS_OK, ORIGIN "\n7\n" ROOT "\nan extension\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n18446744073709551616\n" ROOT "\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n07\n" ROOT "\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n+7\n" ROOT "\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n-7\n" ROOT "\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n\n" ROOT "\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n7\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n7\nAAAA\n"},
        {STATUS_INVALID_ARGUMENT, ORIGIN "\n7\n" ROOT "\n\n\n"},
        {STATUS_INVALID_ARGUMENT, "\n7\n" ROOT "\n"},
        {STATUS_INVALID_ARGUMENT, "a b\n7\n" ROOT "\n"},
        {STATUS_UNAUTHENTICATED, "another\n7\n" ROOT "\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* The key hash comes from a proper note; the signature is made over the text of the case. */
        sign_example();
        uint8_t raw[128];
        size_t size = sizeof raw;
        char *encoded = strrchr(note, ' ') + 1;
        assert_true(base64_decode(bytes_of(encoded, strlen(encoded) - 1), raw, &size));
        key_sign(log_key, bytes_of_text(cases[i].text), raw + 4);
        buffer text;
        buffer_init(&text, NOTE_MAX_BYTES);
        buffer_format(&text, "%s\n\u2014 " ORIGIN " ", cases[i].text);
        base64_encode(bytes_of(raw, size), &text);
        buffer_text(&text, "\n");
        failure why;
        status_code code = verify_text(text.data, &why);
        if (code != cases[i].code)
            print_error("case %zu\n", i);
        assert_int_equal(code, cases[i].code);
        buffer_free(&text);
    }
}

static void test_wrong_key_and_wrong_log(void **state) {
    (void)state;
    sign_example();
    checkpoint got;
    failure why;
    assert_int_equal(
        checkpoint_verify(bytes_of_text(note), ORIGIN, secret_key_public(witness_key), &got, &why),
        STATUS_UNAUTHENTICATED);
    assert_int_equal(checkpoint_verify(bytes_of_text(note), "other", secret_key_public(log_key), &got, &why),
                     STATUS_UNAUTHENTICATED);
    assert_string_equal(why.reason, "NOTE_ORIGIN");
    assert_int_equal(checkpoint_verify((bytes){0}, ORIGIN, secret_key_public(log_key), &got, &why),
                     STATUS_INVALID_ARGUMENT);
    static char large[NOTE_MAX_BYTES + 1];
    memset(large, 'a', sizeof large);
    assert_int_equal(
        checkpoint_verify(bytes_of(large, sizeof large), ORIGIN, secret_key_public(log_key), &got, &why),
        STATUS_INVALID_ARGUMENT);
}

static void test_sign_refuses_bad_names(void **state) {
    (void)state;
    static const char *const names[] = {"", "a b", "a+b", "a\nb", "caf\u00e9"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        checkpoint made = example();
        snprintf(made.origin, sizeof made.origin, "%s", names[i]);
        buffer text;
        buffer_init(&text, NOTE_MAX_BYTES);
        failure why;
        assert_int_equal(checkpoint_sign(&made, log_key, &text, &why), STATUS_INVALID_ARGUMENT);
        assert_int_equal(text.size, 0);
        buffer_free(&text);
    }
    checkpoint made = example();
    buffer small;
    buffer_init(&small, 16);
    failure why;
    assert_int_equal(checkpoint_sign(&made, log_key, &small, &why), STATUS_RESOURCE_EXHAUSTED);
    buffer_free(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_round_trip),
        cmocka_unit_test(test_foreign_verifier_key),
        cmocka_unit_test(test_every_change_is_refused),
        cmocka_unit_test(test_other_signatures_are_ignored),
        cmocka_unit_test(test_malformed_signature_lines),
        cmocka_unit_test(test_two_own_signatures_are_refused),
        cmocka_unit_test(test_signed_but_not_a_checkpoint),
        cmocka_unit_test(test_wrong_key_and_wrong_log),
        cmocka_unit_test(test_sign_refuses_bad_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
