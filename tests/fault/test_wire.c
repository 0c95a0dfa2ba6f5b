/* Reading and writing messages when memory runs out at any point. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "everything.pb-c.h"
#include "fail_allocation.h"
#include "test.h"
#include "wire/json.h"
#include "wire/scan.h"

#define EVERYTHING (&interlock__test__v1__everything__descriptor)

static const char JSON[] =
    "{\"int32Value\":-5,\"doubleValue\":0.25,\"boolValue\":true,\"colour\":\"COLOUR_BLUE\",\"text\":\"é\","
    "\"data\":\"AAEC\",\"child\":{\"text\":\"child\",\"child\":{\"uint64Value\":\"7\"}},"
    "\"int32List\":[1,2,3],\"textList\":[\"a\",\"b\"],\"dataList\":[\"AA==\",\"\"],"
    "\"children\":[{\"int32Value\":1},{\"text\":\"x\"}],\"looseList\":[\"1\",\"2\"],\"choiceText\":"
    "\"chosen\","
    "\"counts\":{\"one\":1},\"byNumber\":{\"5\":{\"text\":\"five\"}}}";

typedef struct fixture {
    arena memory, kept; /* what a run takes from; what the runs read */
    ProtobufCMessage *message;
    bytes wire;
    ProtobufCMessage *made;
    bytes packed;
    buffer text;
    wire_json_style style;
} fixture;

static fixture self;

/* crypto_init makes jansson end the process when it gets no memory; here it always gets some. */
static void spare_jansson(void) {
    json_set_alloc_funcs(spare_malloc, free);
}

static int set_up(void **state) {
    (void)state;
    spare_jansson();
    failure why = {0};
    arena_init(&self.kept, 65536, 1U << 20);
    assert_int_equal(
        wire_from_json(EVERYTHING, bytes_of_text(JSON), WIRE_JSON_CANONICAL, &self.kept, &self.message, &why),
        STATUS_OK);
    assert_int_equal(wire_pack(self.message, &self.kept, &self.wire, &why), STATUS_OK);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&self.kept);
    return 0;
}

static void begin(void *context) {
    (void)context;
    arena_init(&self.memory, 64, 1U << 20); /* small, so that it grows within a run */
    buffer_init(&self.text, 1U << 20);
    buffer_text(&self.text, "before");
    self.made = NULL;
    self.packed = (bytes){0};
}

static void end(void *context) {
    (void)context;
    arena_free(&self.memory);
    buffer_free(&self.text);
}

static void check_message(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self.made);
        return;
    }
    uint8_t again[1024];
    assert_non_null(self.made);
    assert_int_equal(protobuf_c_message_get_packed_size(self.made), self.wire.size);
    assert_true(self.wire.size <= sizeof again);
    protobuf_c_message_pack(self.made, again);
    assert_memory_equal(again, self.wire.data, self.wire.size);
}

static void check_packed(void *context, bool done) {
    (void)context;
    assert_int_equal(self.packed.size, done ? self.wire.size : 0);
    if (done)
        assert_memory_equal(self.packed.data, self.wire.data, self.wire.size);
}

static void check_text(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_int_equal(self.text.size, strlen("before"));
        buffer_clear(&self.text);
        buffer_text(&self.text, "before");
        return;
    }
    assert_true(buffer_ok(&self.text));
    assert_true(self.text.size > 100);
    assert_int_equal(self.text.data[self.text.size - 1], '}');
}

static status_code unpack(void *context, failure *why) {
    (void)context;
    return wire_unpack(EVERYTHING, self.wire, &self.memory, &self.made, why);
}

static status_code unpack_signed(void *context, failure *why) {
    (void)context;
    return wire_unpack_signed(EVERYTHING, self.wire, &self.memory, &self.made, why);
}

static status_code pack(void *context, failure *why) {
    (void)context;
    return wire_pack(self.message, &self.memory, &self.packed, why);
}

static status_code from_json(void *context, failure *why) {
    (void)context;
    return wire_from_json(EVERYTHING, bytes_of_text(JSON), WIRE_JSON_CANONICAL, &self.memory, &self.made,
                          why);
}

static status_code to_json(void *context, failure *why) {
    (void)context;
    return wire_to_json(self.message, self.style, true, &self.text, why);
}

static void run(const char *name, status_code (*operation)(void *context, failure *why),
                void (*check)(void *context, bool done), arena *memory) {
    fail_each_allocation(&(fault_case){
        .name = name, .begin = begin, .end = end, .run = operation, .check = check, .memory = memory});
}

static void unpacking(void **state) {
    (void)state;
    run("wire_unpack", unpack, check_message, &self.memory);
    run("wire_unpack_signed", unpack_signed, check_message, &self.memory);
}

static void packing(void **state) {
    (void)state;
    run("wire_pack", pack, check_packed, &self.memory);
}

static void reading_json(void **state) {
    (void)state;
    run("wire_from_json", from_json, check_message, &self.memory);
}

static void writing_json(void **state) {
    (void)state;
    self.style = WIRE_JSON_CANONICAL;
    run("wire_to_json, canonical", to_json, check_text, NULL);
    self.style = WIRE_JSON_OTLP;
    run("wire_to_json, OTLP", to_json, check_text, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unpacking),
        cmocka_unit_test(packing),
        cmocka_unit_test(reading_json),
        cmocka_unit_test(writing_json),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
