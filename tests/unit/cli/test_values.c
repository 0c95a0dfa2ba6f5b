/* CEL values from JSON and back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "values.h"

static void check_round(const char *text) {
    arena memory;
    failure why = {0};
    cel_value value;
    arena_init(&memory, 4096, 1U << 20);
    json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    assert_int_equal(values_from_json(json, &memory, &value, &why), STATUS_OK);
    json_t *again = values_to_json(value, 1000);
    assert_true(json_equal(json, again));
    json_decref(json);
    json_decref(again);
    arena_free(&memory);
}

static void json_comes_back_as_it_was(void **state) {
    (void)state;
    static const char *const cases[] = {"null",
                                        "true",
                                        "-9223372036854775808",
                                        "0.25",
                                        "\"é\\u0000\"",
                                        "[]",
                                        "{}",
                                        "[1, [2, {\"a\": null}], \"x\"]",
                                        "{\"a\": {\"b\": [true, false]}}"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_round(cases[i]);
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    arena memory;
    failure why = {0};
    cel_value value = cel_null();
    char text[400];
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    text[200] = '\0';
    arena_init(&memory, 4096, 1U << 20);
    json_t *json = json_loads(text, 0, NULL);
    assert_int_equal(values_from_json(json, &memory, &value, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "TOO_DEEP");
    json_decref(json);
    arena_free(&memory);
}

static void check_print(cel_value value, const char *expected) {
    buffer out;
    buffer_init(&out, 4096);
    values_print(value, 24, &out);
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

static void what_json_lacks_is_text(void **state) {
    (void)state;
    static const uint8_t address[4] = {10, 0, 0, 1};
    cel_value inner = cel_int(3);
    check_print(cel_double(NAN), "\"NaN\"");
    check_print(cel_double(-INFINITY), "\"-Infinity\"");
    check_print(cel_timestamp(0, 0), "\"1970-01-01T00:00:00Z\"");
    check_print(cel_duration(1500000000), "\"1.5s\"");
    check_print(cel_octets("ab", 2), "\"YWI=\"");
    check_print(cel_uint(UINT64_MAX), "\"18446744073709551615\"");
    check_print((cel_value){.kind = CEL_OPTIONAL, .inner = &inner}, "3");
    check_print((cel_value){.kind = CEL_OPTIONAL}, "null");
    check_print((cel_value){.kind = CEL_CIDR, .family = 4, .prefix = 8, .address = address},
                "\"10.0.0.1/8\"");
    check_print(cel_unknown("impact"), "\"unknown: impact\"");
}

static void long_texts_are_cut_between_characters(void **state) {
    (void)state;
    check_print(cel_text("aaaaaaaaaaaaaaaaaaaaaaéééé", 30), "\"aaaaaaaaaaaaaaaaaaaaaa…");
}

static void keys_that_are_no_text_become_text(void **state) {
    (void)state;
    const cel_entry entries[] = {{cel_bool(true), cel_int(1)}, {cel_int(-2), cel_int(2)}};
    const cel_map map = {.count = 2, .entries = entries};
    json_t *json = values_to_json(cel_map_of(&map), 10);
    assert_int_equal(json_integer_value(json_object_get(json, "true")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "-2")), 2);
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_comes_back_as_it_was),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(what_json_lacks_is_text),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(keys_that_are_no_text_become_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
