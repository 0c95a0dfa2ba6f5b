/* Changes when memory runs out at any point: what an event, an object or a document says is whole or refused,
 * and a lane keeps what it had. */
#include "changes_text.h"

#include <jansson.h>
#include <stdlib.h>

#include "declarations.h"
#include "events.h"
#include "fail_allocation.h"
#include "lanes.h"
#include "objects.h"
#include "test.h"

#define NOW_MS 1795375490000

typedef struct fixture {
    arena memory;
    const char *input;
    change_list events;
    object_result object;
    declarations document;
    const statements *what; /* NULL: nothing was made */
    char expected[4096];    /* learnt from the run that nothing was withheld from */
} fixture;

static fixture self;

static void begin(void *context) {
    (void)context;
    arena_init(&self.memory, 64, 1U << 20);
    self.what = NULL;
}

static void end(void *context) {
    (void)context;
    arena_free(&self.memory);
}

static void text_of(char out[4096]) {
    buffer text;
    buffer_init(&text, 1U << 20);
    statements_text(self.what, &text);
    assert_true(buffer_ok(&text) && text.size > 0 && text.size < 4096);
    snprintf(out, 4096, "%s", text.data);
    buffer_free(&text);
}

static void check(void *context, bool done) {
    char text[4096];
    (void)context;
    if (!done)
        return;
    text_of(text);
    assert_string_equal(text, self.expected);
}

static void fail_each(const char *name, const char *input, status_code (*run)(void *, failure *)) {
    failure why = {0};
    self.input = input;
    begin(NULL);
    assert_int_equal(run(NULL, &why), STATUS_OK);
    text_of(self.expected);
    end(NULL);
    fail_each_allocation(&(fault_case){
        .name = name, .begin = begin, .end = end, .run = run, .check = check, .memory = &self.memory});
}

static status_code run_event(void *context, failure *why) {
    (void)context;
    cloud_event event = IO__CLOUDEVENTS__V1__CLOUD_EVENT__INIT;
    event.id = "1";
    event.source = "/a";
    event.spec_version = "1.0";
    event.type = "interlock.config";
    event.data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    event.text_data = (char *)self.input;
    status_code code = event_read(&event, NOW_MS, &self.memory, &self.events, why);
    self.what = code == STATUS_OK ? &self.events.items[0].what : NULL;
    return code;
}

static status_code run_object(void *context, failure *why) {
    (void)context;
    object_place place = {.environment = "prod", .cluster = "c"};
    status_code code =
        object_read(bytes_of_text(self.input), false, &place, NOW_MS, &self.memory, &self.object, why);
    self.what = code == STATUS_OK ? &self.object.change.what : NULL;
    return code;
}

static status_code run_document(void *context, failure *why) {
    (void)context;
    status_code code =
        declarations_read(bytes_of_text(self.input), "f", NOW_MS, &self.memory, &self.document, why);
    self.what = code == STATUS_OK ? &self.document.change.what : NULL;
    return code;
}

static void an_event_is_read_or_not(void **state) {
    (void)state;
    fail_each(
        "event_read",
        "{\"name\":\"config:a/b/c\",\"key\":\"k\",\"value\":{\"x\":[1,2]},\"services\":[\"service:a/b/d\"],"
        "\"diff\":\"+a\",\"percent\":7}",
        run_event);
}

static void an_object_is_read_or_not(void **state) {
    (void)state;
    fail_each("object_read",
              "{\"apiVersion\":\"apps/"
              "v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"n\",\"labels\":{\"team\":\"t\"},"
              "\"annotations\":{\"interlock/"
              "zone\":\"z\"}},\"spec\":{\"replicas\":2,\"template\":{\"spec\":{\"containers\":"
              "[{\"name\":\"n\",\"image\":\"i:1\",\"envFrom\":[{\"configMapRef\":{\"name\":\"c\"}}]}]}}}}",
              run_object);
    fail_each("object_read of a configmap",
              "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
              "\"resourceVersion\":\"7\"},"
              "\"data\":{\"a\":\"b\",\"token\":\"x\"},\"binaryData\":{\"l\":\"AA==\"}}",
              run_object);
}

static void a_document_is_read_or_not(void **state) {
    (void)state;
    fail_each(
        "declarations_read",
        "apiVersion: interlock/v1\nkind: Declarations\nmetadata: {name: d}\n"
        "services: [{name: a, tier: 1, owner: o, aliases: [b], slos: [{name: s, objective: 9, window: 1d}],"
        " labels: {l: m}}]\nzones: [{name: z, allows: [y], members: [a]}]\nedges: [{from: a, to: b, kind: "
        "calls}]\n",
        run_document);
}

/* ---- A lane ---- */

typedef struct lane_fixture {
    arena kept, scratch;
    lanes *lanes;
    change first, second;
    size_t said;
} lane_fixture;

static lane_fixture on;

static status_code note(void *context, const char *origin, const statement *what, bool says, int64_t from_ms,
                        failure *why) {
    (void)context, (void)origin, (void)what, (void)says, (void)from_ms, (void)why;
    on.said++;
    return STATUS_OK;
}

static change change_make(int64_t from_ms, const char *node) {
    failure why = {0};
    change made = {.lane = "l", .origin = "o", .from_ms = from_ms, .tie = "t", .role = CHANGE_WHOLE};
    statements_begin(&made.what, &on.kept);
    statements_attribute(&made.what, statements_node(&made.what, NODE_SERVICE, node, PROVENANCE_OBSERVED),
                         "k", "v");
    assert_int_equal(statements_finish(&made.what, &why), STATUS_OK);
    return made;
}

static void lane_begin(void *context) {
    failure why = {0};
    bool news = false;
    (void)context;
    on = (lane_fixture){0};
    arena_init(&on.kept, 4096, 1U << 20);
    arena_init(&on.scratch, 64, 1U << 20);
    on.first = change_make(1, "service:a/b/c");
    on.second = change_make(2, "service:a/b/d");
    assert_int_equal(lanes_create(&on.lanes, &why), STATUS_OK);
    assert_int_equal(lanes_put(on.lanes, &on.first, note, NULL, &on.scratch, &news, &why), STATUS_OK);
    arena_reset(&on.scratch);
}

static void lane_end(void *context) {
    (void)context;
    lanes_free(on.lanes);
    arena_free(&on.kept);
    arena_free(&on.scratch);
}

static status_code lane_run(void *context, failure *why) {
    bool news = false;
    (void)context;
    return lanes_put(on.lanes, &on.second, note, NULL, &on.scratch, &news, why);
}

static void lane_check(void *context, bool done) {
    statements last;
    failure why = {0};
    arena memory;
    (void)context;
    arena_init(&memory, 4096, 1U << 20);
    assert_int_equal(lanes_last(on.lanes, "l", &memory, &last, &why), STATUS_OK);
    assert_int_equal(last.count, 1);
    assert_string_equal(last.items[0].name, done ? "service:a/b/d" : "service:a/b/c");
    arena_free(&memory);
}

static void a_lane_takes_a_state_or_not(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "lanes_put",
                                       .begin = lane_begin,
                                       .end = lane_end,
                                       .run = lane_run,
                                       .check = lane_check,
                                       .memory = &on.scratch,
                                       .may_do_without = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_read_or_not),
        cmocka_unit_test(an_object_is_read_or_not),
        cmocka_unit_test(a_document_is_read_or_not),
        cmocka_unit_test(a_lane_takes_a_state_or_not),
    };
    json_set_alloc_funcs(spare_malloc, free); /* jansson itself does not survive it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
