/* JSON: what is written for each kind of field, what is read back, and what is refused with its path. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "everything.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "test.h"
#include "wire/json.h"
#include "wire/scan.h"

typedef Interlock__Test__V1__Everything everything;
#define EVERYTHING (&interlock__test__v1__everything__descriptor)

static arena memory;
static buffer text;

static int set_up(void **state) {
    (void)state;
    arena_init(&memory, 65536, 64U << 20);
    buffer_init(&text, 8U << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&memory);
    buffer_free(&text);
    return 0;
}

static const char *written(const ProtobufCMessage *message, wire_json_style style, bool pretty) {
    failure why;
    buffer_clear(&text);
    assert_int_equal(wire_to_json(message, style, pretty, &text, &why), STATUS_OK);
    return text.data;
}

static ProtobufCMessage *read_as(const ProtobufCMessageDescriptor *type, const char *json,
                                 wire_json_style style) {
    ProtobufCMessage *message = NULL;
    failure why = {0};
    status_code code = wire_from_json(type, bytes_of_text(json), style, &memory, &message, &why);
    if (code != STATUS_OK)
        print_error("%s: %s\n", json, why.message);
    assert_int_equal(code, STATUS_OK);
    return message;
}

/* JSON that is read and written again as it was. */
static const char *const stable[] = {
    "{}",
    "{\"int32Value\":-2147483648,\"sint32Value\":2147483647,\"int64Value\":\"-9223372036854775808\"}",
    "{\"uint32Value\":4294967295,\"uint64Value\":\"18446744073709551615\",\"fixed64Value\":\"1\"}",
    "{\"floatValue\":0.1,\"doubleValue\":0.1,\"boolValue\":true,\"colour\":\"COLOUR_BLUE\"}",
    "{\"floatValue\":\"NaN\",\"doubleValue\":\"-Infinity\"}",
    "{\"doubleValue\":1.7976931348623157e+308}",
    "{\"colour\":77}",
    "{\"text\":\"caf\u00e9 \\\"quoted\\\" \\\\ \\n\\t\\u0001\",\"data\":\"AP8=\"}",
    "{\"child\":{\"child\":{}}}",
    "{\"int32List\":[1,-1],\"doubleList\":[0,1.5],\"boolList\":[false,true],\"textList\":[\"\",\"a\"],"
    "\"dataList\":[\"\",\"AA==\"],\"children\":[{},{\"text\":\"x\"}]}",
    "{\"choiceText\":\"\"}",
    "{\"choiceNumber\":\"0\"}",
    "{\"choiceMessage\":{}}",
    "{\"counts\":{\"a\":1,\"b\":0},\"byNumber\":{\"-7\":{\"text\":\"x\"}},\"byBool\":{\"true\":\"yes\"}}",
};

static void test_stable_round_trips(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof stable / sizeof *stable; i++) {
        ProtobufCMessage *message = read_as(EVERYTHING, stable[i], WIRE_JSON_CANONICAL);
        assert_string_equal(written(message, WIRE_JSON_CANONICAL, false), stable[i]);
        /* and through the wire */
        bytes wire;
        failure why;
        assert_int_equal(wire_pack(message, &memory, &wire, &why), STATUS_OK);
        assert_int_equal(wire_unpack(EVERYTHING, wire, &memory, &message, &why), STATUS_OK);
        assert_string_equal(written(message, WIRE_JSON_CANONICAL, false), stable[i]);
    }
}

/* Other spellings of the canonical mapping, and what they are written as. */
static const char *const spellings[][2] = {
    {" { \"int32_value\" : 5 } ", "{\"int32Value\":5}"},
    {"{\"int32Value\":\"5\"}", "{\"int32Value\":5}"},
    {"{\"int32Value\":5.0}", "{\"int32Value\":5}"},
    {"{\"int32Value\":5e2}", "{\"int32Value\":500}"},
    {"{\"int32Value\":0}", "{}"},
    {"{\"int32Value\":null,\"text\":null,\"children\":null,\"counts\":null}", "{}"},
    {"{\"int64Value\":7}", "{\"int64Value\":\"7\"}"},
    {"{\"doubleValue\":\"1.5\"}", "{\"doubleValue\":1.5}"},
    {"{\"doubleValue\":3}", "{\"doubleValue\":3}"},
    {"{\"colour\":1}", "{\"colour\":\"COLOUR_RED\"}"},
    {"{\"colour\":-1}", "{\"colour\":\"COLOUR_NEGATIVE\"}"},
    {"{\"data\":\"_-8\"}", "{\"data\":\"/+8=\"}"},
    {"{\"data\":\"AA\"}", "{\"data\":\"AA==\"}"},
    {"{\"text\":\"\\ud83d\\udd12\"}", "{\"text\":\"\xf0\x9f\x94\x92\"}"},
    {"{\"int32List\":[]}", "{}"},
    {"{\"uint32Value\":-0}", "{}"},
};

static void test_other_spellings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        ProtobufCMessage *message = read_as(EVERYTHING, spellings[i][0], WIRE_JSON_CANONICAL);
        assert_string_equal(written(message, WIRE_JSON_CANONICAL, false), spellings[i][1]);
    }
}

typedef struct refusal {
    const char *reason;
    const char *field;
    const char *json;
} refusal;

static const refusal refusals[] = {
    {"JSON_MALFORMED", "", ""},
    {"JSON_MALFORMED", "", "{"},
    {"JSON_MALFORMED", "", "{}{}"},
    {"JSON_MALFORMED", "", "{\"text\":\"a\",\"text\":\"b\"}"},
    {"JSON_MALFORMED", "", "{\"text\":\"a\",\"\\u0074ext\":\"b\"}"},
    {"JSON_MALFORMED", "", "{\"text\":\"\\u0000\"}"},
    {"JSON_MALFORMED", "", "{\"text\":\"\xff\"}"},
    {"JSON_MALFORMED", "", "{\"text\":\"\\ud83d\"}"},
    {"JSON_MALFORMED", "", "{'text':'a'}"},
    {"JSON_TYPE", "", "[]"},
    {"JSON_MALFORMED", "", "\"text\""},
    {"JSON_DUPLICATE", "int32Value", "{\"int32Value\":1,\"int32_value\":2}"},
    {"JSON_UNKNOWN_FIELD", "nothing", "{\"nothing\":1}"},
    {"JSON_UNKNOWN_FIELD", "child.Text", "{\"child\":{\"Text\":1}}"},
    {"JSON_UNKNOWN_FIELD", "children[1].x", "{\"children\":[{},{\"x\":1}]}"},
    {"JSON_TYPE", "text", "{\"text\":1}"},
    {"JSON_TYPE", "boolValue", "{\"boolValue\":\"true\"}"},
    {"JSON_TYPE", "boolValue", "{\"boolValue\":1}"},
    {"JSON_TYPE", "int32Value", "{\"int32Value\":1.5}"},
    {"JSON_TYPE", "int32Value", "{\"int32Value\":true}"},
    {"JSON_TYPE", "int32Value", "{\"int32Value\":\"\"}"},
    {"JSON_TYPE", "int32Value", "{\"int32Value\":\" 1\"}"},
    {"JSON_TYPE", "int32Value", "{\"int32Value\":\"1x\"}"},
    {"JSON_TYPE", "int32Value", "{\"int32Value\":\"99999999999999999999\"}"},
    {"JSON_RANGE", "int32Value", "{\"int32Value\":2147483648}"},
    {"JSON_RANGE", "int32Value", "{\"int32Value\":-2147483649}"},
    {"JSON_RANGE", "uint32Value", "{\"uint32Value\":-1}"},
    {"JSON_RANGE", "uint64Value", "{\"uint64Value\":\"-1\"}"},
    {"JSON_RANGE", "int64Value", "{\"int64Value\":\"9223372036854775808\"}"},
    {"JSON_RANGE", "floatValue", "{\"floatValue\":1e39}"},
    {"JSON_TYPE", "doubleValue", "{\"doubleValue\":\"nan\"}"},
    {"JSON_TYPE", "doubleValue", "{\"doubleValue\":\"0x10\"}"},
    {"JSON_TYPE", "doubleValue", "{\"doubleValue\":\"\"}"},
    {"JSON_ENUM", "colour", "{\"colour\":\"COLOUR_GREEN\"}"},
    {"JSON_ENCODING", "data", "{\"data\":\"A\"}"},
    {"JSON_ENCODING", "data", "{\"data\":\"AB==\"}"},
    {"JSON_ENCODING", "data", "{\"data\":\"AA= \"}"},
    {"JSON_TYPE", "int32List", "{\"int32List\":1}"},
    {"JSON_TYPE", "int32List[1]", "{\"int32List\":[1,null]}"},
    {"JSON_TYPE", "counts", "{\"counts\":[]}"},
    {"JSON_TYPE", "counts.a", "{\"counts\":{\"a\":\"x\"}}"},
    {"JSON_TYPE", "byNumber.x", "{\"byNumber\":{\"x\":{}}}"},
    {"JSON_TYPE", "byBool.yes", "{\"byBool\":{\"yes\":\"\"}}"},
    {"JSON_ONEOF", "choiceNumber", "{\"choiceText\":\"a\",\"choiceNumber\":\"1\"}"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        ProtobufCMessage *message = NULL;
        failure why = {.reason = "OK"};
        status_code code = wire_from_json(EVERYTHING, bytes_of_text(refusals[i].json), WIRE_JSON_CANONICAL,
                                          &memory, &message, &why);
        if (code != STATUS_INVALID_ARGUMENT || strcmp(why.reason, refusals[i].reason) != 0)
            print_error("%s: %s\n", refusals[i].json, why.message);
        assert_int_equal(code, STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, refusals[i].reason);
        assert_string_equal(why.field, refusals[i].field);
        assert_true(utf8_valid(bytes_of_text(why.message)));
        assert_null(message);
    }
}

static void test_pretty(void **state) {
    (void)state;
    ProtobufCMessage *message =
        read_as(EVERYTHING, "{\"text\":\"a\",\"int32List\":[1,2],\"child\":{},\"counts\":{\"k\":1}}",
                WIRE_JSON_CANONICAL);
    assert_string_equal(written(message, WIRE_JSON_CANONICAL, true),
                        "{\n  \"text\": \"a\",\n  \"child\": {},\n  \"int32List\": [\n    1,\n    2\n  ],\n"
                        "  \"counts\": {\n    \"k\": 1\n  }\n}");
}

static void test_any(void **state) {
    (void)state;
    static const char json[] = "{\"code\":3,\"message\":\"no\",\"details\":[{\"@type\":\"type.googleapis.com/"
                               "x\",\"value\":\"AQI=\"}]}";
    ProtobufCMessage *message = read_as(&google__rpc__status__descriptor, json, WIRE_JSON_CANONICAL);
    assert_string_equal(written(message, WIRE_JSON_CANONICAL, false), json);
}

/* The example of the OpenTelemetry specification, shortened: ids in hexadecimal, enums as numbers, unknown
 * names ignored. */
static void test_otlp(void **state) {
    (void)state;
    static const char json[] =
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
        "\"stringValue\":"
        "\"cart\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":\"5b8efff798038103d269b633813fc60c\","
        "\"spanId\":"
        "\"eee19b7ec3c1b174\",\"parentSpanId\":\"eee19b7ec3c1b173\",\"name\":\"GET\",\"kind\":2,"
        "\"startTimeUnixNano\":\"1544712660000000000\",\"endTimeUnixNano\":\"1544712661000000000\","
        "\"attributes\":"
        "[{\"key\":\"n\",\"value\":{\"intValue\":\"123\"}}],\"status\":{\"code\":2}}]}]}]}";
    const ProtobufCMessageDescriptor *type =
        &opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor;
    ProtobufCMessage *message = read_as(type, json, WIRE_JSON_OTLP);
    assert_string_equal(written(message, WIRE_JSON_OTLP, false), json);

    message =
        read_as(type,
                "{\"resourceSpans\":[{\"future\":{\"deep\":[1,{\"a\":null}]},\"scopeSpans\":[{\"spans\":[{"
                "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"kind\":\"SPAN_KIND_SERVER\","
                "\"start_time_unix_nano\":\"5\",\"endTimeUnixNano\":1544712661000000000}]}]}]}",
                WIRE_JSON_OTLP);
    assert_string_equal(written(message, WIRE_JSON_OTLP, false),
                        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":"
                        "\"5b8efff798038103d269b633813fc60c\",\"kind\":2,\"endTimeUnixNano\":"
                        "\"1544712661000000000\"}]}]}]}");
    failure why;
    ProtobufCMessage *none = NULL;
    static const char odd[] = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"spanId\":\"abc\"}]}]}]}";
    assert_int_equal(wire_from_json(type, bytes_of_text(odd), WIRE_JSON_OTLP, &memory, &none, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.field, "resourceSpans[0].scopeSpans[0].spans[0].spanId");
}

/* ---- bounds ------------------------------------------------------------------------------------------ */

static status_code read_text(const buffer *json, failure *why) {
    ProtobufCMessage *message = NULL;
    return wire_from_json(EVERYTHING, buffer_bytes(json), WIRE_JSON_CANONICAL, &memory, &message, why);
}

static void repeat(buffer *out, const char *piece, size_t count) {
    for (size_t i = 0; i < count; i++)
        buffer_text(out, piece);
}

static void test_depth(void **state) {
    (void)state;
    failure why;
    for (unsigned extra = 0; extra < 2; extra++) {
        size_t children = LIMIT_MESSAGE_DEPTH - 1 + extra;
        buffer json;
        buffer_init(&json, 1U << 20);
        repeat(&json, "{\"child\":", children);
        buffer_text(&json, "{}");
        repeat(&json, "}", children);
        assert_int_equal(read_text(&json, &why), extra == 0 ? STATUS_OK : STATUS_INVALID_ARGUMENT);
        buffer_free(&json);
    }
    assert_string_equal(why.reason, "MESSAGE_TOO_DEEP");
    buffer json;
    buffer_init(&json, 8U << 20);
    repeat(&json, "[", 1000000);
    assert_int_equal(read_text(&json, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "MESSAGE_TOO_DEEP");
    buffer_free(&json);
}

static void test_sizes(void **state) {
    (void)state;
    failure why;
    buffer json;
    buffer_init(&json, 16U << 20);
    buffer_text(&json, "{\"children\":[");
    repeat(&json, "{},", LIMIT_MESSAGE_ELEMENTS);
    assert_int_equal(read_text(&json, &why), STATUS_RESOURCE_EXHAUSTED);
    buffer_clear(&json);
    buffer_text(&json, "{\"int32List\":[1");
    repeat(&json, ",1", 1100000);
    assert_int_equal(read_text(&json, &why), STATUS_RESOURCE_EXHAUSTED);
    buffer_clear(&json);
    repeat(&json, " ", LIMIT_MESSAGE_BYTES + 1);
    assert_int_equal(read_text(&json, &why), STATUS_RESOURCE_EXHAUSTED);
    buffer_free(&json);
}

static void test_without_memory(void **state) {
    (void)state;
    const char *json = stable[9];
    bool done = false;
    for (size_t limit = 0; !done && limit < 16384; limit += 16) {
        arena tight;
        arena_init(&tight, 64, limit);
        ProtobufCMessage *message = NULL;
        failure why;
        status_code code =
            wire_from_json(EVERYTHING, bytes_of_text(json), WIRE_JSON_CANONICAL, &tight, &message, &why);
        done = code == STATUS_OK;
        if (!done)
            assert_int_equal(code, STATUS_RESOURCE_EXHAUSTED);
        arena_free(&tight);
    }
    assert_true(done);
}

static void test_failed_writing_leaves_the_text(void **state) {
    (void)state;
    everything message = INTERLOCK__TEST__V1__EVERYTHING__INIT;
    failure why;
    buffer out;
    buffer_init(&out, 24);
    buffer_text(&out, "before");
    message.text = (char *)(uintptr_t) "\xff";
    assert_int_equal(wire_to_json(&message.base, WIRE_JSON_CANONICAL, false, &out, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(out.data, "before");
    message.text = (char *)(uintptr_t) "longer than what is left in there";
    assert_int_equal(wire_to_json(&message.base, WIRE_JSON_CANONICAL, false, &out, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(out.data, "before");
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stable_round_trips),
        cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_otlp),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_failed_writing_leaves_the_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
