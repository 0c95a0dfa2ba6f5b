/* Our checkpoints and proofs, verified by Go's sumdb packages, which know nothing of us; and that those
 * refuse what was tampered with. Skipped, saying so, where Go or Debian's golang-golang-x-mod-dev is missing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "merkle/note.h"
#include "merkle/tree.h"
#include "test.h"

#define LEAVES 40U
#define LEVELS 7U
#define ORIGIN "audit.example/house"
#define SOURCE TEST_DATA_DIR "/../../system/third_party/verify_log.go"

static char folder[64];
static secret_key *log_key;
static merkle_hash stored[LEVELS][LEAVES];
static merkle_hash roots[LEAVES + 1];

static int run(const char *format, ...) PRINTF_LIKE(1, 2);

static int run(const char *format, ...) {
    char command[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    return system(command);
}

static bool read_stored(void *context, merkle_node node, merkle_hash *out) {
    (void)context;
    *out = stored[node.level][node.index];
    return true;
}

static void leaf_text(unsigned index, char out[32]) {
    snprintf(out, 32, "record %u", index);
}

static int set_up(void **state) {
    (void)state;
    crypto_init();
    simulated_chance world;
    simulated_chance_init(&world, 9);
    strcpy(folder, "/tmp/interlock-third-XXXXXX");
    if (mkdtemp(folder) == NULL ||
        secret_key_generate(&world.chance, KEY_CHECKPOINT, &log_key, NULL) != STATUS_OK)
        return 1;
    merkle_frontier tree;
    merkle_frontier_init(&tree);
    for (unsigned i = 0; i < LEAVES; i++) {
        char text[32];
        merkle_hash hash;
        merkle_created created[65];
        leaf_text(i, text);
        merkle_leaf_hash(bytes_of_text(text), &hash);
        size_t count = merkle_frontier_add(&tree, &hash, created);
        for (size_t j = 0; j < count; j++)
            stored[created[j].node.level][created[j].node.index] = created[j].hash;
        merkle_frontier_root(&tree, &roots[i + 1]);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    secret_key_free(log_key);
    return run("rm -rf %s", folder);
}

static void put_base64(buffer *out, bytes data) {
    buffer_text(out, "\"");
    base64_encode(data, out);
    buffer_text(out, "\"");
}

static void put_proof(buffer *out, const char *name, const merkle_proof *proof) {
    buffer_format(out, ",\"%s\":[", name);
    for (size_t i = 0; i < proof->count; i++) {
        buffer_text(out, i == 0 ? "" : ",");
        put_base64(out, bytes_of(proof->hashes[i].bytes, MERKLE_HASH_BYTES));
    }
    buffer_text(out, "]");
}

static void put_note(buffer *out, uint64_t size) {
    checkpoint made = {.origin = ORIGIN, .size = size, .root = roots[size]};
    buffer note;
    buffer_init(&note, NOTE_MAX_BYTES);
    failure why;
    assert_int_equal(checkpoint_sign(&made, log_key, &note, &why), STATUS_OK);
    buffer_text(out, ",\"note\":\"");
    for (const char *at = note.data; *at != '\0'; at++)
        buffer_append(out, *at == '\n' ? "\\n" : at, *at == '\n' ? 2 : 1);
    buffer_text(out, "\"");
    buffer_free(&note);
}

/* One line for the program; `damage` flips a bit of the leaf (1), the inclusion proof (2), the old root (3)
 * or the consistency proof (4). */
static void put_case(buffer *out, unsigned index, uint64_t from, uint64_t size, unsigned damage) {
    merkle_proof inclusion;
    merkle_proof consistency;
    merkle_hash old_root = roots[from];
    char text[32];
    failure why;
    assert_int_equal(merkle_prove_inclusion(index, size, read_stored, NULL, &inclusion, &why), STATUS_OK);
    assert_int_equal(merkle_prove_consistency(from, size, read_stored, NULL, &consistency, &why), STATUS_OK);
    leaf_text(index, text);
    text[0] = (char)(text[0] ^ (damage == 1));
    inclusion.hashes[0].bytes[5] ^= damage == 2;
    old_root.bytes[5] ^= damage == 3;
    consistency.hashes[0].bytes[5] ^= damage == 4;

    buffer_text(out, "{\"key\":\"");
    note_verifier_key(ORIGIN, secret_key_public(log_key), out);
    buffer_format(out, "\",\"index\":%u,\"old_size\":%llu,\"leaf\":", index, (unsigned long long)from);
    put_base64(out, bytes_of_text(text));
    buffer_text(out, ",\"old_root\":");
    put_base64(out, bytes_of(old_root.bytes, MERKLE_HASH_BYTES));
    put_note(out, size);
    put_proof(out, "inclusion", &inclusion);
    put_proof(out, "consistency", &consistency);
    buffer_text(out, "}\n");
}

static int verify_cases(const buffer *cases) {
    char path[128];
    snprintf(path, sizeof path, "%s/cases", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(cases->data, 1, cases->size, file), cases->size);
    assert_int_equal(fclose(file), 0);
    return run("%s/verify_log < %s/cases > %s/answer", folder, folder, folder);
}

static void test_go_verifies_our_log(void **state) {
    (void)state;
    if (run("command -v go >/dev/null && [ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ]") != 0) {
        print_message("skipped: go or golang-golang-x-mod-dev is not installed\n");
        skip();
    }
    assert_int_equal(run("cd %s && GOCACHE=%s/cache GOFLAGS= GO111MODULE=off GOPATH=/usr/share/gocode "
                         "go build -o verify_log %s",
                         folder, folder, SOURCE),
                     0);
    buffer cases;
    buffer_init(&cases, 8U << 20);
    for (uint64_t size = 1; size <= LEAVES; size += 3)
        for (unsigned index = 0; index < size; index += 2)
            put_case(&cases, index, index + 1, size, 0);
    assert_true(buffer_ok(&cases));
    assert_int_equal(verify_cases(&cases), 0);

    for (unsigned damage = 1; damage <= 4; damage++) {
        buffer_clear(&cases);
        put_case(&cases, 11, 7, 30, 0);
        put_case(&cases, 11, 7, 30, damage);
        assert_int_not_equal(verify_cases(&cases), 0);
        /* The first was good: it is the damage that was refused. */
        assert_int_equal(run("grep -q '^case 1:' %s/answer", folder), 0);
    }
    buffer_free(&cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_go_verifies_our_log)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
