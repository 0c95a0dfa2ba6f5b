/* The JSON event format. */
#include "client/cloud_events.h"

#include <string.h>

#include "test.h"

#define HEAD "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\""

static status_code read_event(arena *memory, const char *json, Io__Cloudevents__V1__CloudEvent **out,
                              failure *why) {
    arena_init(memory, 4096, 16U << 20);
    return cloud_event_from_json(bytes_of_text(json), memory, out, why);
}

static void an_event_is_read(void **state) {
    arena memory;
    failure why = {0};
    Io__Cloudevents__V1__CloudEvent *event = NULL;
    (void)state;
    assert_int_equal(read_event(&memory,
                                "{" HEAD
                                ",\"time\":\"2026-11-22T19:24:50.25Z\",\"subject\":\"s\",\"n\":7,\"b\":true,"
                                "\"nothing\":null,\"data\":{\"b\":[1, 2]}}",
                                &event, &why),
                     STATUS_OK);
    assert_string_equal(event->id, "1");
    assert_string_equal(event->source, "/a");
    assert_string_equal(event->type, "t");
    assert_int_equal(event->n_attributes, 4);
    assert_string_equal(event->attributes[0]->key, "time");
    assert_int_equal(event->attributes[0]->value->ce_timestamp->seconds, 1795375490);
    assert_int_equal(event->attributes[0]->value->ce_timestamp->nanos, 250000000);
    assert_string_equal(event->attributes[1]->value->ce_string, "s");
    assert_int_equal(event->attributes[2]->value->ce_integer, 7);
    assert_true(event->attributes[3]->value->ce_boolean);
    assert_string_equal(event->text_data, "{\"b\":[1,2]}");
    arena_free(&memory);
}

static void bytes_are_read(void **state) {
    arena memory;
    failure why = {0};
    Io__Cloudevents__V1__CloudEvent *event = NULL;
    (void)state;
    assert_int_equal(read_event(&memory, "{" HEAD ",\"data_base64\":\"AAEC\"}", &event, &why), STATUS_OK);
    assert_int_equal(event->binary_data.len, 3);
    assert_memory_equal(event->binary_data.data, "\0\1\2", 3);
    arena_free(&memory);
}

static void anything_else_is_refused(void **state) {
    static const char *const cases[] = {
        "",
        "[]",
        "{}",
        "{" HEAD,
        "{" HEAD ",\"id\":\"2\"}",
        "{" HEAD ",\"Time\":\"x\"}",
        "{" HEAD ",\"a-b\":\"x\"}",
        "{" HEAD ",\"time\":\"now\"}",
        "{" HEAD ",\"x\":{}}",
        "{" HEAD ",\"x\":1.5}",
        "{" HEAD ",\"x\":3000000000}",
        "{" HEAD ",\"data\":1,\"data_base64\":\"AA==\"}",
        "{" HEAD ",\"data_base64\":\"A\"}",
        "{" HEAD ",\"data_base64\":7}",
        "{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"/a\",\"type\":\"t\"}",
        "{\"specversion\":\"1.0\",\"id\":7,\"source\":\"/a\",\"type\":\"t\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        arena memory;
        failure why = {0};
        Io__Cloudevents__V1__CloudEvent *event = NULL;
        assert_int_equal(read_event(&memory, cases[i], &event, &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, "BAD_EVENT");
        assert_null(event);
        arena_free(&memory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_read),
        cmocka_unit_test(bytes_are_read),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
