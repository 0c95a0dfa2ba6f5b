/* Signatures exchanged with PyNaCl: it verifies ours, we verify its. Skipped where it is missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "test.h"

#define MESSAGES 200U
#define MESSAGE_BYTES_MAX 300U
#define SKIPPED 77

static char folder[64];

static int set_up(void **state) {
    (void)state;
    crypto_init();
    strcpy(folder, "/tmp/interlock-exchange-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static FILE *open_in_folder(const char *name, const char *mode) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    return file;
}

static void put_hex(FILE *file, const uint8_t *data, size_t size, char end) {
    for (size_t i = 0; i < size; i++)
        fprintf(file, "%02x", data[i]);
    fputc(end, file);
}

static void write_ours(void) {
    simulated_chance world;
    simulated_chance_init(&world, 13);
    secret_key *key = NULL;
    failure why;
    assert_int_equal(secret_key_generate(&world.chance, KEY_AGENT, &key, &why), STATUS_OK);
    FILE *file = open_in_folder("ours", "w");
    for (size_t size = 0; size < MESSAGES; size++) {
        uint8_t message[MESSAGE_BYTES_MAX];
        uint8_t signature[CRYPTO_SIGNATURE_BYTES];
        chance_random(&world.chance, message, size);
        key_sign(key, bytes_of(message, size), signature);
        put_hex(file, secret_key_public(key)->bytes, CRYPTO_PUBLIC_KEY_BYTES, ' ');
        put_hex(file, signature, sizeof signature, ' ');
        put_hex(file, message, size, '\n');
    }
    assert_int_equal(fclose(file), 0);
    secret_key_free(key);
}

/* "key signature message", as exchange.py writes it. */
static void verify_line(char *line) {
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    uint8_t signature[CRYPTO_SIGNATURE_BYTES];
    uint8_t message[MESSAGE_BYTES_MAX + 1];
    char *rest = line;
    const char *key_text = strsep(&rest, " ");
    const char *signature_text = strsep(&rest, " ");
    const char *message_text = strsep(&rest, "\n");
    size_t size = strlen(message_text) / 2;
    assert_true(size <= sizeof message);
    assert_true(hex_decode(key_text, raw, sizeof raw));
    assert_true(hex_decode(signature_text, signature, sizeof signature));
    assert_true(hex_decode(message_text, message, size));
    public_key key;
    public_key_from_bytes(&key, raw);
    assert_true(key_verify(&key, bytes_of(message, size), signature));
    message[size / 2] ^= 1U;
    assert_false(key_verify(&key, bytes_of(message, size), signature));
}

static void test_exchange_with_nacl(void **state) {
    (void)state;
    write_ours();
    char command[1024];
    snprintf(command, sizeof command, "/usr/bin/python3 %s/exchange.py < %s/ours > %s/theirs", TEST_DATA_DIR,
             folder, folder);
    int status = access("/usr/bin/python3", X_OK) == 0 ? system(command) : SKIPPED << 8;
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        print_message("skipped: python3-nacl is not installed\n");
        skip();
    }
    assert_int_equal(status, 0);
    FILE *file = open_in_folder("theirs", "r");
    char line[2 * MESSAGE_BYTES_MAX + 512];
    unsigned count = 0;
    for (; fgets(line, sizeof line, file) != NULL; count++)
        verify_line(line);
    fclose(file);
    assert_int_equal(count, MESSAGES);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exchange_with_nacl)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
