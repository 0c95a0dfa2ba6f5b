/* Hashes, encryption and keys, against published vectors and by what must fail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "test.h"

static simulated_chance world;
static char folder[64];

static int set_up(void **state) {
    (void)state;
    crypto_init();
    simulated_chance_init(&world, 11);
    strcpy(folder, "/tmp/interlock-crypto-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(folder);
}

static void from_hex(const char *text, uint8_t *out) {
    assert_true(hex_decode(text, out, strlen(text) / 2));
}

/* FIPS 180-2, appendix B, and the empty string. */
static void test_sha256_vectors(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t digest[CRYPTO_HASH_BYTES];
        uint8_t expected[CRYPTO_HASH_BYTES];
        from_hex(cases[i][1], expected);
        sha256(bytes_of_text(cases[i][0]), digest);
        assert_memory_equal(digest, expected, sizeof digest);
        for (size_t cut = 0; cut <= strlen(cases[i][0]); cut++) {
            sha256_two(bytes_of(cases[i][0], cut), bytes_of_text(cases[i][0] + cut), digest);
            assert_memory_equal(digest, expected, sizeof digest);
        }
    }
}

typedef struct ed25519_case {
    const char *seed;
    const char *public_key;
    const char *message;
    const char *signature;
} ed25519_case;

/* RFC 8032 §7.1, tests 1 to 3 and SHA(abc). */
static const ed25519_case ed25519_cases[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f"
     "0595bbe2465"
     "5141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2ea"
     "eb4302aeeb0"
     "0d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e"
     "9716ed28dc0"
     "27beceea1ec40a"},
    {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d442"
     "3643ce80e2a"
     "9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179"
     "c138ac17ad9"
     "bef1177331a704"},
};

/* A simulated chance whose next bytes are a given seed. */
static void given_seed(void *self, uint8_t *out, size_t size) {
    assert_int_equal(size, 32);
    from_hex(self, out);
}

static void test_ed25519_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ed25519_cases / sizeof *ed25519_cases; i++) {
        const ed25519_case *expected = &ed25519_cases[i];
        chance seeded = world.chance;
        seeded.random = given_seed;
        seeded.self = (void *)(uintptr_t)expected->seed;
        secret_key *key = NULL;
        failure why;
        assert_int_equal(secret_key_generate(&seeded, KEY_AGENT, &key, &why), STATUS_OK);
        uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
        from_hex(expected->public_key, raw);
        assert_memory_equal(secret_key_public(key)->bytes, raw, sizeof raw);

        uint8_t message[64];
        size_t size = strlen(expected->message) / 2;
        from_hex(expected->message, message);
        uint8_t signature[CRYPTO_SIGNATURE_BYTES];
        uint8_t wanted[CRYPTO_SIGNATURE_BYTES];
        from_hex(expected->signature, wanted);
        key_sign(key, bytes_of(message, size), signature);
        assert_memory_equal(signature, wanted, sizeof signature);
        assert_true(key_verify(secret_key_public(key), bytes_of(message, size), wanted));
        secret_key_free(key);
    }
}

typedef struct forgery {
    const char *what;
    const char *public_key;
    const char *signature; /* over "hello" */
} forgery;

/* A signature of zero or small-order parts that a careless verifier takes for any message. */
static const forgery forgeries[] = {
    {"the neutral element as key and R, S = 0",
     "0100000000000000000000000000000000000000000000000000000000000000",
     "0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000"
     "000000000000"},
    {"key of all zeros (order 4)", "0000000000000000000000000000000000000000000000000000000000000000",
     "0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000"
     "000000000000"},
    {"key of order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
     "0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000"
     "000000000000"},
    {"key not canonical (p + 1)", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
     "0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000"
     "000000000000"},
    {"signature of all zeros", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
     "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000"
     "000000000000"},
    {"signature of all ones", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
     "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
     "fffffffffffff"
     "ffffffffffff"},
};

static void test_refuses_forgeries(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
        uint8_t signature[CRYPTO_SIGNATURE_BYTES];
        from_hex(forgeries[i].public_key, raw);
        from_hex(forgeries[i].signature, signature);
        public_key key;
        public_key_from_bytes(&key, raw);
        bool taken = key_verify(&key, bytes_of_text("hello"), signature);
        if (taken)
            print_error("took a forgery: %s\n", forgeries[i].what);
        assert_false(taken);
    }
}

/* S + L verifies too where S is not checked to be reduced (RFC 8032 §5.1.7): one message, two signatures. */
static void test_refuses_an_unreduced_s(void **state) {
    (void)state;
    uint8_t order[32];
    from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", order);
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    uint8_t signature[CRYPTO_SIGNATURE_BYTES];
    from_hex(ed25519_cases[0].public_key, raw);
    from_hex(ed25519_cases[0].signature, signature);
    public_key key;
    public_key_from_bytes(&key, raw);
    assert_true(key_verify(&key, (bytes){0}, signature));
    unsigned carry = 0;
    for (size_t i = 0; i < sizeof order; i++) {
        carry += (unsigned)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(key_verify(&key, (bytes){0}, signature));
}

static void test_keyid_is_half_a_digest(void **state) {
    (void)state;
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    uint8_t digest[CRYPTO_HASH_BYTES];
    char text[2 * CRYPTO_HASH_BYTES + 1];
    from_hex(ed25519_cases[0].public_key, raw);
    sha256(bytes_of(raw, sizeof raw), digest);
    hex_encode(bytes_of(digest, sizeof digest), text);
    public_key key;
    public_key_from_bytes(&key, raw);
    assert_int_equal(strlen(key.keyid), CRYPTO_KEYID_CHARS);
    assert_memory_equal(key.keyid, text, CRYPTO_KEYID_CHARS);
}

/* ---- encryption -------------------------------------------------------------------------------------- */

static void test_seal_opens_with_key_and_context_alone(void **state) {
    (void)state;
    uint8_t key[CRYPTO_SECRET_BYTES] = {1};
    uint8_t wrong[CRYPTO_SECRET_BYTES] = {2};
    bytes plain = bytes_of_text("the body of a record");
    bytes context = bytes_of_text("record 7");
    uint8_t sealed[64 + CRYPTO_SEAL_OVERHEAD];
    uint8_t opened[64];
    crypto_seal(key, plain, context, &world.chance, sealed);
    bytes whole = bytes_of(sealed, plain.size + CRYPTO_SEAL_OVERHEAD);
    assert_true(crypto_open(key, whole, context, opened));
    assert_memory_equal(opened, plain.data, plain.size);
    assert_false(crypto_open(wrong, whole, context, opened));
    assert_false(crypto_open(key, whole, bytes_of_text("record 8"), opened));
    for (size_t size = 0; size < whole.size; size++)
        assert_false(crypto_open(key, bytes_of(sealed, size), context, opened));
    for (size_t bit = 0; bit < 8 * whole.size; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(crypto_open(key, whole, context, opened));
        sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    uint8_t again[64 + CRYPTO_SEAL_OVERHEAD];
    crypto_seal(key, plain, context, &world.chance, again);
    assert_memory_not_equal(sealed, again, whole.size);
}

static void test_seal_of_nothing(void **state) {
    (void)state;
    uint8_t key[CRYPTO_SECRET_BYTES] = {1};
    uint8_t sealed[CRYPTO_SEAL_OVERHEAD];
    uint8_t opened[1];
    crypto_seal(key, (bytes){0}, (bytes){0}, &world.chance, sealed);
    assert_true(crypto_open(key, bytes_of(sealed, sizeof sealed), (bytes){0}, opened));
}

/* draft-irtf-cfrg-xchacha-03, A.3.1: laid out as we store it, nonce || ciphertext || tag. */
static void test_seal_vector(void **state) {
    (void)state;
    static const char text[] =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        "future, sunscreen would be it.";
    uint8_t key[CRYPTO_SECRET_BYTES];
    uint8_t context[12];
    uint8_t sealed[24 + 114 + 16];
    uint8_t opened[114];
    from_hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", key);
    from_hex("50515253c0c1c2c3c4c5c6c7", context);
    from_hex("404142434445464748494a4b4c4d4e4f5051525354555657"
             "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e3"
             "9ae64c6708c54c2"
             "16cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637"
             "da9768812f615c6"
             "8b13b52e"
             "c0875924c1c7987947deafd8780acf49",
             sealed);
    assert_true(crypto_open(key, bytes_of(sealed, sizeof sealed), bytes_of(context, sizeof context), opened));
    assert_memory_equal(opened, text, sizeof opened);
}

static void test_constant_time_equal(void **state) {
    (void)state;
    assert_true(constant_time_equal((const uint8_t *)"abc", (const uint8_t *)"abc", 3));
    assert_false(constant_time_equal((const uint8_t *)"abc", (const uint8_t *)"abd", 3));
    uint8_t secret[4] = {1, 2, 3, 4};
    crypto_wipe(secret, sizeof secret);
    assert_memory_equal(secret, "\0\0\0\0", 4);
    crypto_wipe(NULL, 0);
}

/* ---- key files --------------------------------------------------------------------------------------- */

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_key_file_round_trip(void **state) {
    (void)state;
    const char *path = in_folder("a.key");
    secret_key *made = NULL;
    secret_key *loaded = NULL;
    failure why;
    assert_int_equal(secret_key_generate(&world.chance, KEY_RECORD, &made, &why), STATUS_OK);
    assert_int_equal(secret_key_save(made, path, &why), STATUS_OK);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_int_equal(secret_key_save(made, path, &why), STATUS_ALREADY_EXISTS);
    assert_int_equal(secret_key_load(path, KEY_RECORD, &loaded, &why), STATUS_OK);
    assert_string_equal(secret_key_public(loaded)->keyid, secret_key_public(made)->keyid);
    secret_key_free(loaded);

    loaded = NULL;
    assert_int_equal(secret_key_load(path, KEY_PERMIT, &loaded, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "KEY_PURPOSE");
    chmod(path, 0640);
    assert_int_equal(secret_key_load(path, KEY_RECORD, &loaded, &why), STATUS_PERMISSION_DENIED);
    assert_string_equal(why.reason, "KEY_FILE_EXPOSED");
    assert_null(loaded);
    unlink(path);
    assert_int_equal(secret_key_load(path, KEY_RECORD, &loaded, &why), STATUS_NOT_FOUND);
    secret_key_free(made);
    secret_key_free(NULL);
}

static void write_file(const char *path, const char *content, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

#define SEED "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="

static void test_key_file_is_strict(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "\n",
        "interlock-secret-key-v1",
        "interlock-secret-key-v1 agent\n",
        "interlock-secret-key-v1 agent \n",
        "interlock-secret-key-v1 agent " SEED,                                          /* no end of line */
        "interlock-secret-key-v1 agent " SEED "\n\n",                                   /* two */
        "interlock-secret-key-v1 agent " SEED " \n",                                    /* something after */
        "interlock-secret-key-v1 agent  " SEED "\n",                                    /* two spaces */
        "interlock-secret-key-v1 Agent " SEED "\n",                                     /* another purpose */
        "interlock-secret-key-v2 agent " SEED "\n",                                     /* another version */
        "interlock-secret-key-v1 agent AAAA\n",                                         /* too short */
        "interlock-secret-key-v1 agent " SEED SEED "\n",                                /* too long */
        "interlock-secret-key-v1 agent nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2B=\n", /* padding bits */
    };
    failure why;
    secret_key *loaded = NULL;
    const char *path = in_folder("b.key");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(path, bad[i], strlen(bad[i]));
        status_code code = secret_key_load(path, KEY_AGENT, &loaded, &why);
        if (code != STATUS_INVALID_ARGUMENT)
            print_error("took case %zu\n", i);
        assert_int_equal(code, STATUS_INVALID_ARGUMENT);
    }
    static const char good[] = "interlock-secret-key-v1 agent " SEED "\n";
    write_file(path, good, sizeof good); /* with its NUL */
    assert_int_equal(secret_key_load(path, KEY_AGENT, &loaded, &why), STATUS_INVALID_ARGUMENT);
    write_file(path, good, sizeof good - 1);
    assert_int_equal(secret_key_load(path, KEY_AGENT, &loaded, &why), STATUS_OK);
    unlink(path);
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    from_hex(ed25519_cases[0].public_key, raw);
    assert_memory_equal(secret_key_public(loaded)->bytes, raw, sizeof raw);
    secret_key_free(loaded);
}

static void test_purpose_names(void **state) {
    (void)state;
    for (int i = KEY_AGENT; i <= KEY_CHECKPOINT; i++) {
        key_purpose parsed;
        assert_true(key_purpose_parse(key_purpose_name((key_purpose)i), &parsed));
        assert_int_equal(parsed, i);
    }
    key_purpose parsed;
    assert_false(key_purpose_parse("", &parsed));
    assert_string_equal(key_purpose_name((key_purpose)99), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_ed25519_vectors),
        cmocka_unit_test(test_refuses_forgeries),
        cmocka_unit_test(test_refuses_an_unreduced_s),
        cmocka_unit_test(test_keyid_is_half_a_digest),
        cmocka_unit_test(test_seal_opens_with_key_and_context_alone),
        cmocka_unit_test(test_seal_of_nothing),
        cmocka_unit_test(test_seal_vector),
        cmocka_unit_test(test_constant_time_equal),
        cmocka_unit_test(test_key_file_round_trip),
        cmocka_unit_test(test_key_file_is_strict),
        cmocka_unit_test(test_purpose_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
