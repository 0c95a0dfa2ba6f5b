/* The canonical encoding, judged while scanning, against what protobuf-c writes: whatever is taken as a
 * signed payload packs into the same bytes, and whatever packs into the same bytes is taken, but for unknown
 * fields. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "everything.pb-c.h"
#include "test.h"
#include "wire/scan.h"

#define EVERYTHING (&interlock__test__v1__everything__descriptor)
#define SEEDS TEST_DATA_DIR "/../../fuzz/corpus/fuzz_wire_scan"
#define WIRE_BYTES 4096U
#define MUTANTS 40000U

static simulated_chance world;

static uint32_t random_below(uint32_t bound) {
    uint32_t word = 0;
    chance_random(&world.chance, (uint8_t *)&word, sizeof word);
    return word % bound;
}

/* A byte changed, put in or taken out, or a piece doubled: what turns one encoding into another. */
static size_t mutate(uint8_t *wire, size_t size) {
    uint32_t at = size == 0 ? 0 : random_below((uint32_t)size);
    switch (random_below(4)) {
    case 0:
        if (size > 0)
            wire[at] ^= (uint8_t)(1U << random_below(8));
        return size;
    case 1:
        memmove(wire + at + 1, wire + at, size - at);
        wire[at] = (uint8_t)random_below(256);
        return size + 1;
    case 2:
        if (size > 0)
            memmove(wire + at, wire + at + 1, size - at - 1);
        return size > 0 ? size - 1 : 0;
    default: {
        uint32_t count = size == 0 ? 0 : random_below((uint32_t)(size - at)) % 16;
        memcpy(wire + size, wire + at, count);
        return size + count;
    }
    }
}

static bool packs_into_the_same(const ProtobufCMessage *message, bytes wire) {
    static uint8_t packed[2 * WIRE_BYTES];
    return protobuf_c_message_get_packed_size(message) == wire.size &&
           protobuf_c_message_pack(message, packed) == wire.size &&
           (wire.size == 0 || memcmp(packed, wire.data, wire.size) == 0);
}

static void compare(bytes wire, arena *memory, unsigned *taken) {
    ProtobufCMessage *message = NULL, *again = NULL;
    failure why = {0};
    arena_reset(memory);
    bool same = wire_unpack(EVERYTHING, wire, memory, &message, &why) == STATUS_OK &&
                packs_into_the_same(message, wire);
    bool canonical = wire_unpack_signed(EVERYTHING, wire, memory, &again, &why) == STATUS_OK;
    if (canonical != same && !(same && strstr(why.message, "unknown field") != NULL)) {
        char text[2 * WIRE_BYTES + 1];
        hex_encode(wire, text);
        print_error("%s, but packing it gives %s bytes: %s (%s)\n", canonical ? "taken" : "refused",
                    same ? "the same" : "other", text, why.message);
        assert_int_equal(canonical, same);
    }
    *taken += canonical;
}

static void check_seed(const char *path, unsigned *taken) {
    static uint8_t original[WIRE_BYTES], wire[2 * WIRE_BYTES];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(original, 1, WIRE_BYTES / 4, file);
    fclose(file);
    arena memory;
    arena_init(&memory, 4096, 4U << 20);
    for (unsigned i = 0; i < MUTANTS; i++) {
        size_t mutated = size;
        memcpy(wire, original, size);
        for (uint32_t changes = random_below(4); changes > 0; changes--)
            mutated = mutate(wire, mutated);
        compare(bytes_of(wire, mutated), &memory, taken);
    }
    arena_free(&memory);
}

static void test_agrees_with_packing(void **state) {
    (void)state;
    unsigned taken = 0;
    simulated_chance_init(&world, 20261122);
    DIR *folder = opendir(SEEDS);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/%s", SEEDS, entry->d_name);
        if (entry->d_name[0] != '.')
            check_seed(path, &taken);
    }
    closedir(folder);
    assert_true(taken > 1000); /* else nothing was compared */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees_with_packing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
