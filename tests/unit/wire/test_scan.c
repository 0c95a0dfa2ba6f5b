/* The scanner: what it refuses and why, that its estimate is never below what protobuf-c really takes, and
 * the canonical check of signed payloads. Python's protobuf is the reference in test_differential.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "base/limits.h"
#include "everything.pb-c.h"
#include "test.h"
#include "wire/scan.h"

typedef Interlock__Test__V1__Everything everything;
#define EVERYTHING (&interlock__test__v1__everything__descriptor)
#define CROWD (&interlock__test__v1__crowd__descriptor)

static arena memory;

static int set_up(void **state) {
    (void)state;
    arena_init(&memory, 65536, 64U << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&memory);
    return 0;
}

static status_code scan(const char *wire, size_t size, failure *why) {
    wire_limits limits = wire_limits_for(size);
    return wire_scan(EVERYTHING, bytes_of(wire, size), &limits, why);
}

typedef struct wire_case {
    const char *what;
    const char *wire;
    size_t size;
    const char *reason; /* of wire_scan; "OK" */
    const char *strict; /* of wire_unpack_signed */
} wire_case;

#define WIRE(text) text, sizeof(text) - 1

static const wire_case wire_cases[] = {
    {"nothing", WIRE(""), "OK", "OK"},
    {"an int32", WIRE("\x08\x05"), "OK", "OK"},
    {"a negative int32 in ten bytes", WIRE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "OK", "OK"},
    {"a negative int32 in five bytes", WIRE("\x08\xff\xff\xff\xff\x0f"), "OK", "NOT_CANONICAL"},
    {"an overlong varint", WIRE("\x08\x85\x00"), "OK", "NOT_CANONICAL"},
    {"a default that need not be there", WIRE("\x08\x00"), "OK", "NOT_CANONICAL"},
    {"fields out of order", WIRE("\x10\x05\x08\x05"), "OK", "NOT_CANONICAL"},
    {"a singular field twice", WIRE("\x08\x05\x08\x05"), "OK", "NOT_CANONICAL"},
    {"a singular message twice", WIRE("\x8a\x01\x00\x8a\x01\x00"), "OK", "NOT_CANONICAL"},
    {"an empty string", WIRE("\x7a\x00"), "OK", "NOT_CANONICAL"},
    {"an empty string in a oneof", WIRE("\xca\x02\x00"), "OK", "OK"},
    {"empty bytes in a oneof", WIRE("\xd2\x02\x00"), "OK", "OK"},
    {"a zero in a oneof", WIRE("\xe0\x02\x00"), "OK", "OK"},
    {"two of a oneof", WIRE("\xca\x02\x00\xe0\x02\x00"), "OK", "NOT_CANONICAL"},
    {"one of a oneof twice", WIRE("\xe0\x02\x05\xe0\x02\x05"), "OK", "NOT_CANONICAL"},
    {"an unknown varint", WIRE("\xc0\x3e\x05"), "OK", "NOT_CANONICAL"},
    {"an unknown string", WIRE("\xc2\x3e\x01\xff"), "OK", "NOT_CANONICAL"},
    {"an unknown 32 bits", WIRE("\xc5\x3e\x01\x02\x03\x04"), "OK", "NOT_CANONICAL"},
    {"a list, packed", WIRE("\xaa\x01\x02\x05\x06"), "OK", "OK"},
    {"a list, not packed", WIRE("\xa8\x01\x05\xa8\x01\x06"), "OK", "NOT_CANONICAL"},
    {"a list packed in two pieces", WIRE("\xaa\x01\x01\x05\xaa\x01\x01\x06"), "OK", "NOT_CANONICAL"},
    {"a loose list", WIRE("\xf0\x01\x05\xf0\x01\x06"), "OK", "OK"},
    {"a loose list, packed", WIRE("\xf2\x01\x02\x05\x06"), "OK", "NOT_CANONICAL"},
    {"an enum value of the future", WIRE("\x70\x63"), "OK", "OK"},
    {"UTF-8", WIRE("\x7a\x04\xf0\x9f\x94\x92"), "OK", "OK"},
    {"long ASCII and UTF-8",
     WIRE("\x7a\x12"
          "0123456789abcdef\xc3\xa9"),
     "OK", "OK"},
    {"a child with a child", WIRE("\x8a\x01\x03\x8a\x01\x00"), "OK", "OK"},
    {"the last field number", WIRE("\xfa\xff\xff\xff\x0f\x01x"), "OK", "OK"},

    {"half a tag", WIRE("\x80"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"field number 0", WIRE("\x00\x05"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"field number 0, overlong", WIRE("\x82\x00\x00"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a tag of six bytes", WIRE("\x88\x80\x80\x80\x80\x00\x05"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a tag beyond 32 bits", WIRE("\x88\x80\x80\x80\x10\x05"), "TAG_OUT_OF_RANGE", "TAG_OUT_OF_RANGE"},
    {"a tag and nothing", WIRE("\x08"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a varint without end", WIRE("\x08\xff\xff"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a varint of eleven bytes", WIRE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
     "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"three of four bytes", WIRE("\x1d\x01\x02\x03"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"seven of eight bytes", WIRE("\x31\x01\x02\x03\x04\x05\x06\x07"), "MALFORMED_MESSAGE",
     "MALFORMED_MESSAGE"},
    {"a string beyond the end",
     WIRE("\x7a\x05"
          "abcd"),
     "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a string of 4 GB", WIRE("\x7a\xff\xff\xff\xff\x0f"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a length of six bytes", WIRE("\x7a\x80\x80\x80\x80\x80\x00"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a child beyond its parent",
     WIRE("\x8a\x01\x02\x7a\x05"
          "abcde"),
     "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a packed varint without end", WIRE("\xaa\x01\x02\x05\x86"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"packed, not of whole elements", WIRE("\xba\x01\x03\x05\x06\x07"), "MALFORMED_MESSAGE",
     "MALFORMED_MESSAGE"},
    {"wire type 6", WIRE("\x0e\x05"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"wire type 7", WIRE("\x0f\x05"), "MALFORMED_MESSAGE", "MALFORMED_MESSAGE"},
    {"a group", WIRE("\x0b\x0c"), "GROUP_REFUSED", "GROUP_REFUSED"},
    {"a group's end", WIRE("\x0c"), "GROUP_REFUSED", "GROUP_REFUSED"},
    {"a string where a number should be", WIRE("\x0a\x01x"), "WIRE_TYPE_MISMATCH", "WIRE_TYPE_MISMATCH"},
    {"a bool in 64 bits", WIRE("\x69\x01\x02\x03\x04\x05\x06\x07\x08"), "WIRE_TYPE_MISMATCH",
     "WIRE_TYPE_MISMATCH"},
    {"a list of strings, packed as numbers", WIRE("\xd8\x01\x05"), "WIRE_TYPE_MISMATCH",
     "WIRE_TYPE_MISMATCH"},
    {"a NUL in a string",
     WIRE("\x7a\x03"
          "a\0b"),
     "TEXT_CONTAINS_NUL", "TEXT_CONTAINS_NUL"},
    {"a NUL at the end",
     WIRE("\x7a\x09"
          "abcdefgh\0"),
     "TEXT_CONTAINS_NUL", "TEXT_CONTAINS_NUL"},
    {"a NUL in eight bytes",
     WIRE("\x7a\x08"
          "abc\0efgh"),
     "TEXT_CONTAINS_NUL", "TEXT_CONTAINS_NUL"},
    {"not UTF-8", WIRE("\x7a\x02\xc3\x28"), "TEXT_NOT_UTF8", "TEXT_NOT_UTF8"},
    {"a cut character", WIRE("\x7a\x01\xc3"), "TEXT_NOT_UTF8", "TEXT_NOT_UTF8"},
    {"a surrogate", WIRE("\x7a\x03\xed\xa0\x80"), "TEXT_NOT_UTF8", "TEXT_NOT_UTF8"},
    {"an overlong slash", WIRE("\x7a\x02\xc0\xaf"), "TEXT_NOT_UTF8", "TEXT_NOT_UTF8"},
    {"not UTF-8 in a map's key", WIRE("\x9a\x03\x03\x0a\x01\xff"), "TEXT_NOT_UTF8", "TEXT_NOT_UTF8"},
    {"not UTF-8 in a child", WIRE("\x8a\x01\x03\x7a\x01\xff"), "TEXT_NOT_UTF8", "TEXT_NOT_UTF8"},
};

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wire_cases / sizeof *wire_cases; i++) {
        const wire_case *expected = &wire_cases[i];
        failure why = {.reason = "OK"};
        status_code code = scan(expected->wire, expected->size, &why);
        if (strcmp(code == STATUS_OK ? "OK" : why.reason, expected->reason) != 0)
            print_error("%s: %s\n", expected->what, code == STATUS_OK ? "OK" : why.message);
        assert_string_equal(code == STATUS_OK ? "OK" : why.reason, expected->reason);

        ProtobufCMessage *message = NULL;
        code =
            wire_unpack_signed(EVERYTHING, bytes_of(expected->wire, expected->size), &memory, &message, &why);
        if (strcmp(code == STATUS_OK ? "OK" : why.reason, expected->strict) != 0)
            print_error("%s, signed: %s\n", expected->what, code == STATUS_OK ? "OK" : why.message);
        assert_string_equal(code == STATUS_OK ? "OK" : why.reason, expected->strict);
        assert_true((message != NULL) == (code == STATUS_OK));
    }
}

/* What has been accepted can be cut nowhere within a field. */
static void test_truncation(void **state) {
    (void)state;
    static const char wire[] = "\x8a\x01\x0d\x7a\x0b"
                               "hello there";
    failure why;
    assert_int_equal(scan(wire, sizeof wire - 1, &why), STATUS_OK);
    for (size_t size = 1; size < sizeof wire - 1; size++)
        assert_int_equal(scan(wire, size, &why), STATUS_INVALID_ARGUMENT);
}

/* ---- bounds ------------------------------------------------------------------------------------------ */

/* `depth` children, one inside the other, written from the inside out. */
static bytes nested(size_t depth) {
    static uint8_t wire[1 << 20];
    size_t at = sizeof wire;
    for (size_t i = 1; i < depth; i++) {
        size_t size = sizeof wire - at;
        uint8_t length[5];
        size_t digits = 0;
        do {
            length[digits++] = (uint8_t)((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
            size >>= 7;
        } while (size > 0);
        at -= digits;
        memcpy(wire + at, length, digits);
        at -= 2;
        wire[at] = 0x8a;
        wire[at + 1] = 0x01;
    }
    return bytes_of(wire + at, sizeof wire - at);
}

static void test_depth(void **state) {
    (void)state;
    failure why;
    bytes wire = nested(LIMIT_MESSAGE_DEPTH);
    assert_int_equal(scan((const char *)wire.data, wire.size, &why), STATUS_OK);
    wire = nested(LIMIT_MESSAGE_DEPTH + 1);
    assert_int_equal(scan((const char *)wire.data, wire.size, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "MESSAGE_TOO_DEEP");
    wire = nested(10000);
    assert_int_equal(scan((const char *)wire.data, wire.size, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "MESSAGE_TOO_DEEP");
}

static void test_four_megabytes_of_empty_submessages(void **state) {
    (void)state;
    size_t size = 4U << 20;
    uint8_t *wire = malloc(size);
    assert_non_null(wire);
    for (size_t i = 0; i < size; i += 2) {
        wire[i] = 0x0a;
        wire[i + 1] = 0;
    }
    failure why;
    wire_limits limits = wire_limits_for(size);
    assert_int_equal(wire_scan(CROWD, bytes_of(wire, size), &limits, &why), STATUS_RESOURCE_EXHAUSTED);
    limits.elements = size; /* memory alone refuses it too */
    assert_int_equal(wire_scan(CROWD, bytes_of(wire, size), &limits, &why), STATUS_RESOURCE_EXHAUSTED);
    ProtobufCMessage *message = NULL;
    size_t before = memory.used;
    assert_int_equal(wire_unpack(CROWD, bytes_of(wire, size), &memory, &message, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_null(message);
    assert_int_equal(memory.used, before);
    free(wire);
}

static void test_elements(void **state) {
    (void)state;
    static char wire[64 + LIMIT_MESSAGE_ELEMENTS];
    failure why;
    wire_limits limits = wire_limits_for(sizeof wire);
    /* The field itself and its elements: one too many, then just enough. */
    size_t count = LIMIT_MESSAGE_ELEMENTS;
    for (unsigned i = 0; i < 2; i++, count--) {
        char head[] = {'\xaa', '\x01', (char)((count & 0x7f) | 0x80), (char)((count >> 7 & 0x7f) | 0x80),
                       (char)(count >> 14)};
        memcpy(wire, head, sizeof head);
        memset(wire + sizeof head, 1, count);
        assert_int_equal(wire_scan(EVERYTHING, bytes_of(wire, sizeof head + count), &limits, &why),
                         i == 0 ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK);
    }
}

static void test_without_arena(void **state) {
    (void)state;
    static const char wire[] = "\x7a\x04"
                               "text\x8a\x01\x04\x7a\x02"
                               "ab";
    bool done = false;
    for (size_t limit = 0; !done && limit < 8192; limit += 16) {
        arena tight;
        arena_init(&tight, 64, limit);
        ProtobufCMessage *message = NULL;
        failure why;
        status_code code = wire_unpack(EVERYTHING, bytes_of(wire, sizeof wire - 1), &tight, &message, &why);
        done = code == STATUS_OK;
        if (!done)
            assert_int_equal(code, STATUS_RESOURCE_EXHAUSTED);
        assert_true((message != NULL) == done);
        arena_free(&tight);
    }
    assert_true(done);
}

/* ---- the estimate ------------------------------------------------------------------------------------ */

static simulated_chance world;

static uint32_t draw(uint32_t below) {
    uint32_t value;
    chance_random(&world.chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

static void put_varint(buffer *out, uint64_t value) {
    do {
        char digit = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        buffer_append(out, &digit, 1);
        value >>= 7;
    } while (value > 0);
}

static void put_tag(buffer *out, uint32_t number, uint32_t wire_type) {
    put_varint(out, (uint64_t)number << 3 | wire_type);
}

static void put_random_message(buffer *out, unsigned depth);

static void put_length_prefixed(buffer *out, const ProtobufCFieldDescriptor *field, unsigned depth) {
    buffer inner;
    buffer_init(&inner, 1U << 20);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->descriptor == EVERYTHING && depth < 5)
        put_random_message(&inner, depth + 1);
    else if (field->type != PROTOBUF_C_TYPE_MESSAGE && draw(10) == 0) /* with its NUL as large as a slab */
        for (uint32_t i = field->type == PROTOBUF_C_TYPE_STRING ? 1023 : 1024; i > 0; i--)
            buffer_append(&inner, "a", 1);
    else if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        for (uint32_t i = draw(40); i > 0; i--)
            buffer_append(&inner, "aaaaaaaaaaaaaaaa", 8 + 8 * draw(2));
    put_varint(out, inner.size);
    buffer_append(out, inner.data, inner.size);
    buffer_free(&inner);
}

/* Any field, in an order and number as it comes, also twice, also unknown, so that merging happens as well.
 */
static void put_random_field(buffer *out, unsigned depth) {
    if (draw(12) == 0) {
        put_tag(out, 100 + draw(200), 0);
        put_varint(out, draw(1000));
        return;
    }
    const ProtobufCFieldDescriptor *field = &EVERYTHING->fields[draw(EVERYTHING->n_fields)];
    bool scalar = field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING &&
                  field->type != PROTOBUF_C_TYPE_BYTES;
    if (scalar && field->label == PROTOBUF_C_LABEL_REPEATED && draw(2) == 0) { /* packed */
        put_tag(out, field->id, 2);
        put_length_prefixed(out, field, depth);
        return;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        put_tag(out, field->id, 2);
        put_length_prefixed(out, field, depth);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
        put_tag(out, field->id, 5);
        buffer_append(out, "1234", 4);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        put_tag(out, field->id, 1);
        buffer_append(out, "12345678", 8);
        break;
    default:
        put_tag(out, field->id, 0);
        put_varint(out, draw(1000));
        break;
    }
}

static void put_random_message(buffer *out, unsigned depth) {
    uint32_t most = draw(4) == 0 ? 60 : 8;
    for (uint32_t count = draw(most / (depth + 1) + 2); count > 0; count--)
        put_random_field(out, depth);
}

/* The smallest arena bound with which the scan passes: its estimate. */
static size_t estimate_of(bytes wire) {
    wire_limits limits = wire_limits_for(wire.size);
    size_t low = 0;
    size_t high = 64U << 20;
    failure why;
    while (low < high) {
        limits.arena_bytes = low + (high - low) / 2;
        if (wire_scan(EVERYTHING, wire, &limits, &why) == STATUS_OK)
            high = limits.arena_bytes;
        else
            low = limits.arena_bytes + 1;
    }
    return low;
}

static void test_estimate_is_an_upper_bound(void **state) {
    (void)state;
    simulated_chance_init(&world, 20261122);
    size_t unmerged = 0;
    size_t too_large = 0;
    size_t estimated = 0;
    size_t used = 0;
    for (unsigned i = 0; i < 4000; i++) {
        buffer wire;
        buffer_init(&wire, 4U << 20);
        put_random_message(&wire, 0);
        arena own;
        arena_init(&own, 65536, 64U << 20);
        size_t estimate = estimate_of(buffer_bytes(&wire));
        ProtobufCMessage *message = NULL;
        failure why;
        status_code code = wire_unpack(EVERYTHING, buffer_bytes(&wire), &own, &message, &why);
        too_large += code == STATUS_RESOURCE_EXHAUSTED; /* by the scan: nothing taken */
        unmerged += code == STATUS_INVALID_ARGUMENT; /* protobuf-c cannot merge messages with unset oneofs */
        if (own.used > estimate)
            print_error("message %u of %zu bytes: estimate %zu, taken %zu\n", i, wire.size, estimate,
                        own.used);
        assert_true(own.used <= estimate);
        estimated += code == STATUS_OK ? estimate : 0;
        used += code == STATUS_OK ? own.used : 0;
        arena_free(&own);
        buffer_free(&wire);
    }
    assert_true(unmerged < 1000 && too_large < 1000);
    assert_true(estimated < 2 * used); /* and not absurdly above it */
}

/* Messages of more than sixteen fields, one after the other: protobuf-c's working memory is used again, and
 * nothing in it is mixed up. */
static void test_working_memory_is_used_again(void **state) {
    (void)state;
    buffer inner;
    buffer wire;
    buffer_init(&inner, 1U << 20);
    buffer_init(&wire, 1U << 20);
    for (unsigned i = 0; i < 300; i++) {
        buffer_clear(&inner);
        for (unsigned j = 0; j < 20 + i % 60; j++) {
            put_tag(&inner, 30, 0);
            put_varint(&inner, 1 + i * 100 + j);
        }
        put_tag(&wire, 29, 2);
        put_varint(&wire, inner.size);
        buffer_append(&wire, inner.data, inner.size);
    }
    arena own;
    arena plain;
    arena_init(&own, 65536, 64U << 20);
    arena_init(&plain, 65536, 64U << 20);
    ProtobufCMessage *message = NULL;
    failure why;
    assert_int_equal(wire_unpack_signed(EVERYTHING, buffer_bytes(&wire), &own, &message, &why), STATUS_OK);
    ProtobufCAllocator allocator = wire_allocator(&plain);
    assert_non_null(protobuf_c_message_unpack(EVERYTHING, &allocator, wire.size, (const uint8_t *)wire.data));
    assert_true(own.used + 200 * 1024 < plain.used);
    arena_free(&own);
    arena_free(&plain);
    buffer_free(&inner);
    buffer_free(&wire);
}

/* A singular message that comes a thousand times, each with a list: every merge copies what the others
 * brought. */
static void test_quadratic_merging_is_counted(void **state) {
    (void)state;
    buffer wire;
    buffer_init(&wire, 1U << 20);
    for (unsigned i = 0; i < 1000; i++) {
        put_tag(&wire, 17, 2);
        put_varint(&wire, 4 + 20 + 3);
        put_tag(&wire, 45, 0); /* a oneof that is set lets protobuf-c merge */
        put_varint(&wire, 1);
        put_tag(&wire, 27, 2);
        put_varint(&wire, 0);
        put_tag(&wire, 21, 2);
        put_varint(&wire, 18);
        buffer_append(&wire, "aaaaaaaaaaaaaaaaaaaa", 18);
    }
    failure why;
    wire_limits limits = wire_limits_for(wire.size);
    assert_int_equal(wire_scan(EVERYTHING, buffer_bytes(&wire), &limits, &why), STATUS_RESOURCE_EXHAUSTED);
    arena own;
    arena_init(&own, 65536, 256U << 20);
    ProtobufCAllocator allocator = wire_allocator(&own);
    ProtobufCMessage *message =
        protobuf_c_message_unpack(EVERYTHING, &allocator, wire.size, (const uint8_t *)wire.data);
    assert_non_null(message);
    assert_true(own.used > 8 * wire.size);
    assert_true(own.used <= estimate_of(buffer_bytes(&wire)));
    arena_free(&own);
    buffer_free(&wire);
}

/* ---- round trips ------------------------------------------------------------------------------------- */

static void test_pack_and_unpack(void **state) {
    (void)state;
    everything message = INTERLOCK__TEST__V1__EVERYTHING__INIT;
    everything child = INTERLOCK__TEST__V1__EVERYTHING__INIT;
    int32_t numbers[] = {1, -1, 300};
    message.int32_value = -5;
    message.text = (char *)(uintptr_t) "caf\u00e9";
    message.child = &child;
    child.choice_case = INTERLOCK__TEST__V1__EVERYTHING__CHOICE_CHOICE_TEXT;
    child.choice_text = (char *)(uintptr_t) "";
    message.int32_list = numbers;
    message.n_int32_list = 3;
    bytes wire;
    failure why;
    assert_int_equal(wire_pack(&message.base, &memory, &wire, &why), STATUS_OK);
    ProtobufCMessage *back = NULL;
    assert_int_equal(wire_unpack(EVERYTHING, wire, &memory, &back, &why), STATUS_OK);
    const everything *got = (const everything *)back;
    assert_int_equal(got->int32_value, -5);
    assert_string_equal(got->text, message.text);
    assert_int_equal(got->int32_list[2], 300);

    arena tight;
    arena_init(&tight, 64, 8);
    assert_int_equal(wire_pack(&message.base, &tight, &wire, &why), STATUS_RESOURCE_EXHAUSTED);
    arena_free(&tight);
}

static void test_failure_says_where(void **state) {
    (void)state;
    failure why;
    assert_int_equal(scan("\x08\x05\x7a\x01\xff", 5, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.field, "text");
    assert_non_null(strstr(why.message, "byte 4"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_four_megabytes_of_empty_submessages),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_without_arena),
        cmocka_unit_test(test_estimate_is_an_upper_bound),
        cmocka_unit_test(test_working_memory_is_used_again),
        cmocka_unit_test(test_quadratic_merging_is_counted),
        cmocka_unit_test(test_pack_and_unpack),
        cmocka_unit_test(test_failure_says_where),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
