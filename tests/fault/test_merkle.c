/* Checkpoints when memory runs out at any point. */
#include <string.h>

#include "fail_allocation.h"
#include "merkle/note.h"
#include "test.h"

typedef struct fixture {
    simulated_chance world;
    secret_key *key;
    checkpoint head, read;
    buffer note, good;
} fixture;

static fixture self;

static int set_up(void **state) {
    (void)state;
    failure why = {0};
    crypto_init();
    simulated_chance_init(&self.world, 1);
    assert_int_equal(secret_key_generate(&self.world.chance, KEY_CHECKPOINT, &self.key, &why), STATUS_OK);
    self.head = (checkpoint){.origin = "demo/log", .size = 7, .root = {{1, 2, 3}}};
    buffer_init(&self.good, NOTE_MAX_BYTES);
    assert_int_equal(checkpoint_sign(&self.head, self.key, &self.good, &why), STATUS_OK);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    secret_key_free(self.key);
    buffer_free(&self.good);
    return 0;
}

static void begin(void *context) {
    (void)context;
    buffer_init(&self.note, NOTE_MAX_BYTES);
    memset(&self.read, 0x5a, sizeof self.read);
}

static void end(void *context) {
    (void)context;
    buffer_free(&self.note);
}

static status_code sign(void *context, failure *why) {
    (void)context;
    return checkpoint_sign(&self.head, self.key, &self.note, why);
}

static void check_note(void *context, bool done) {
    (void)context;
    if (done) {
        assert_string_equal(self.note.data, self.good.data);
        return;
    }
    assert_int_equal(self.note.size, 0);
    buffer_clear(&self.note);
}

static status_code verify(void *context, failure *why) {
    (void)context;
    return checkpoint_verify(buffer_bytes(&self.good), "demo/log", secret_key_public(self.key), &self.read,
                             why);
}

static void check_read(void *context, bool done) {
    (void)context;
    checkpoint before;
    memset(&before, 0x5a, sizeof before);
    if (!done) {
        assert_memory_equal(&self.read, &before, sizeof before);
        return;
    }
    assert_int_equal(self.read.size, 7);
    assert_memory_equal(&self.read.root, &self.head.root, sizeof self.head.root);
}

static void signing(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){
        .name = "checkpoint_sign", .begin = begin, .end = end, .run = sign, .check = check_note});
}

static void verifying(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "checkpoint_verify",
                                       .begin = begin,
                                       .end = end,
                                       .run = verify,
                                       .check = check_read,
                                       .allocates_nothing = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(signing), cmocka_unit_test(verifying)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
