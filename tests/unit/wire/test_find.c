/* Fields found in packed messages, and put into others as they lie there. */
#include "wire/find.h"

#include <string.h>

#include "everything.pb-c.h"
#include "test.h"
#include "wire/scan.h"

#define WIRE(text) bytes_of(text, sizeof(text) - 1)

static void finds_the_first(void **state) {
    (void)state;
    /* 1: 300; 3: "ab"; fixed32 and fixed64 to step over; 3 again; 500: 7 */
    bytes message = WIRE("\x08\xac\x02\x1a\x02"
                         "ab\x25\x01\x02\x03\x04\x29\x01\x02\x03\x04\x05\x06\x07\x08\x1a\x01"
                         "c\xa0\x1f\x07");
    wire_part part;
    assert_true(wire_find(message, 3, &part));
    assert_true(bytes_equal(part.content, WIRE("ab")));
    assert_true(bytes_equal(part.framed, WIRE("\x02"
                                              "ab")));
    assert_int_equal(wire_find_number(message, 1), 300);
    assert_int_equal(wire_find_number(message, 500), 7);
    assert_int_equal(wire_find_number(message, 2), 0);
    assert_false(wire_find(message, 1, &part)); /* a number, no part */
    assert_false(wire_find(message, 2, &part));
}

static void what_is_malformed_is_not_found(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t size;
    } rows[] = {
        {"", 0},
        {"\x1a", 1}, /* no length */
        {"\x1a\x05"
         "ab",
         4},                                                           /* too short */
        {"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},          /* longer than anything */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1a\x01x", 14}, /* a number without end before it */
        {"\x0b\x1a\x01x", 4},                                          /* a group */
        {"\x25\x01\x02", 3},                                           /* half of 32 bits */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wire_part part;
        assert_false(wire_find(bytes_of(rows[i].text, rows[i].size), 3, &part));
        assert_int_equal(wire_find_number(bytes_of(rows[i].text, rows[i].size), 3), 0);
    }
}

/* Framed and put into another message, contents of every length of a length come back. */
static void framed_parts_come_back(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, 70000};
    static uint8_t content[70000], packed[80000];
    memset(content, 'x', sizeof content);
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Interlock__Test__V1__Everything message = INTERLOCK__TEST__V1__EVERYTHING__INIT;
        wire_part part = wire_frame(bytes_of(content, sizes[i]), &memory), found;
        ProtobufCMessageUnknownField field = wire_as_field(1000, &part);
        assert_non_null(part.framed.data);
        message.base.unknown_fields = &field;
        message.base.n_unknown_fields = 1;
        size_t size = protobuf_c_message_pack(&message.base, packed);
        assert_true(wire_find(bytes_of(packed, size), 1000, &found));
        assert_true(bytes_equal(found.content, bytes_of(content, sizes[i])));
        arena_reset(&memory);
    }
    arena_free(&memory);
}

static void without_memory_nothing_is_framed(void **state) {
    (void)state;
    arena memory;
    arena_init(&memory, 16, 16);
    assert_null(wire_frame(WIRE("more than sixteen bytes"), &memory).framed.data);
    arena_free(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_first),
        cmocka_unit_test(what_is_malformed_is_not_found),
        cmocka_unit_test(framed_parts_come_back),
        cmocka_unit_test(without_memory_nothing_is_framed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
