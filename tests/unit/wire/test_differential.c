/* The scanner and the JSON mapping against Python's protobuf, on random messages and random damage.
 * differential.py makes them and compares; this program, called with --oracle, is our side: lines "verb hex"
 * in, "REASON hex" out. Skipped where Python or its protobuf is missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "everything.pb-c.h"
#include "test.h"
#include "wire/json.h"
#include "wire/scan.h"

#define EVERYTHING (&interlock__test__v1__everything__descriptor)
#define LINE_BYTES (1U << 20)
#define SKIPPED 77

static char line[LINE_BYTES];
static uint8_t input[LINE_BYTES / 2];
static char program[4096];

static status_code answer(const char *verb, bytes in, arena *memory, buffer *out, failure *why) {
    ProtobufCMessage *message = NULL;
    bytes packed = {0};
    wire_limits limits = wire_limits_for(in.size);
    status_code code;
    if (strcmp(verb, "scan") == 0)
        return wire_scan(EVERYTHING, in, &limits, why);
    if (strcmp(verb, "signed") == 0)
        return wire_unpack_signed(EVERYTHING, in, memory, &message, why);
    if (strcmp(verb, "parse") == 0)
        code = wire_from_json(EVERYTHING, in, WIRE_JSON_CANONICAL, memory, &message, why);
    else
        code = wire_unpack(EVERYTHING, in, memory, &message, why);
    if (code == STATUS_OK && strcmp(verb, "json") == 0)
        return wire_to_json(message, WIRE_JSON_CANONICAL, false, out, why);
    if (code == STATUS_OK)
        code = wire_pack(message, memory, &packed, why);
    if (code == STATUS_OK)
        buffer_append(out, packed.data, packed.size);
    return code;
}

static int oracle(void) {
    arena memory;
    arena_init(&memory, 65536, 64U << 20);
    buffer out;
    buffer_init(&out, LINE_BYTES);
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *space = strchr(line, ' ');
        size_t length = strcspn(line, "\n");
        line[length] = '\0';
        if (space == NULL || !hex_decode(space + 1, input, strlen(space + 1) / 2))
            return 1;
        *space = '\0';
        /* An exact copy, so that a sanitizer sees a read past the end. */
        size_t size = strlen(space + 1) / 2;
        uint8_t *exact = malloc(size == 0 ? 1 : size);
        if (exact == NULL)
            return 1;
        memcpy(exact, input, size);
        failure why = {0};
        buffer_clear(&out);
        status_code code = answer(line, bytes_of(exact, size), &memory, &out, &why);
        printf("%s ", code == STATUS_OK ? "OK" : why.reason);
        for (size_t i = 0; code == STATUS_OK && i < out.size; i++)
            printf("%02x", (unsigned)(unsigned char)out.data[i]);
        printf("\n");
        fflush(stdout);
        free(exact);
        arena_reset(&memory);
    }
    buffer_free(&out);
    arena_free(&memory);
    return 0;
}

static void test_against_python(void **state) {
    (void)state;
    char command[3 * 4096];
    const char *seed = getenv("INTERLOCK_SEED");
    snprintf(command, sizeof command, "/usr/bin/python3 %s/differential.py %s %s/../../support %s",
             TEST_DATA_DIR, program, TEST_DATA_DIR, seed == NULL ? "" : seed);
    if (access("/usr/bin/python3", X_OK) != 0) {
        print_message("skipped: there is no /usr/bin/python3\n");
        skip();
    }
    int status = system(command);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--oracle") == 0)
        return oracle();
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size <= 0)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_python)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
