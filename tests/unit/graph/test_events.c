/* CloudEvents become changes. */
#include "events.h"

#include <stdlib.h>
#include <string.h>

#include "changes_text.h"
#include "test.h"

#define NOW_MS 1795375490000 /* 2026-11-22T19:24:50Z */

typedef Io__Cloudevents__V1__CloudEvent__AttributesEntry entry;
typedef Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue value;

typedef struct fixture {
    arena memory;
    buffer text;
    cloud_event event;
    entry entries[2], *list[2];
    value values[2];
    failure why;
} fixture;

static void attribute_set(fixture *self, const char *name, const char *text) {
    size_t i = self->event.n_attributes++;
    io__cloudevents__v1__cloud_event__attributes_entry__init(&self->entries[i]);
    io__cloudevents__v1__cloud_event__cloud_event_attribute_value__init(&self->values[i]);
    self->entries[i].key = (char *)name;
    self->entries[i].value = &self->values[i];
    self->values[i].attr_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_STRING;
    self->values[i].ce_string = (char *)text;
    self->list[i] = &self->entries[i];
}

static fixture *begin(const char *type, const char *subject, const char *time, const char *data) {
    fixture *self = calloc(1, sizeof *self);
    arena_init(&self->memory, 4096, 16U << 20);
    buffer_init(&self->text, 1U << 20);
    io__cloudevents__v1__cloud_event__init(&self->event);
    self->event.id = "e1";
    self->event.source = "/ci";
    self->event.spec_version = "1.0";
    self->event.type = (char *)type;
    self->event.attributes = self->list;
    if (subject != NULL)
        attribute_set(self, "subject", subject);
    if (time != NULL)
        attribute_set(self, "time", time);
    self->event.data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    self->event.text_data = (char *)data;
    return self;
}

static status_code run(fixture *self) {
    change_list list;
    status_code code = event_read(&self->event, NOW_MS, &self->memory, &list, &self->why);
    for (size_t i = 0; i < list.count && code == STATUS_OK; i++)
        change_text(&list.items[i], &self->text);
    return code;
}

static void end(fixture *self) {
    buffer_free(&self->text);
    arena_free(&self->memory);
    free(self);
}

static void events_become_changes(void **state) {
    static const struct {
        const char *type, *subject, *time, *data, *expected;
    } cases[] = {
        {"interlock.deploy", "service:prod/shop/cart", "2026-11-22T19:00:00Z",
         "{\"version\":\"1.2\",\"previous_version\":\"1.1\",\"actor\":\"ann\",\"unknown\":1}",
         "deploy/service:prod/shop/cart whole 1795374000000\n"
         "deploy:prod/shop/cart.1.2 actor=ann event=e1 event_source=/ci previous_version=1.1 version=1.2\n"
         "service:prod/shop/cart -9-> deploy:prod/shop/cart.1.2 event=e1 version=1.2\n"},
        {"interlock.deploy", NULL, NULL,
         "{\"name\":\"deploy:prod/shop/timeouts\",\"services\":[\"service:prod/shop/a\",\"service:prod/shop/"
         "b\"]}",
         "deploy/service:prod/shop/a whole 1795375490000\n"
         "deploy:prod/shop/timeouts event=e1 event_source=/ci\n"
         "service:prod/shop/a -9-> deploy:prod/shop/timeouts event=e1 version=e1\n"
         "deploy/service:prod/shop/b whole 1795375490000\n"
         "deploy:prod/shop/timeouts event=e1 event_source=/ci\n"
         "service:prod/shop/b -9-> deploy:prod/shop/timeouts event=e1 version=e1\n"},
        {"interlock.config", "config:prod/shop/cart", NULL,
         "{\"key\":\"timeout_ms\",\"value\":2000,\"services\":\"service:prod/shop/cart\"}",
         "config/config:prod/shop/cart update 1795375490000\n"
         "config:prod/shop/cart data.timeout_ms=2000 event=e1 event_source=/ci\n"
         "service:prod/shop/cart -9-> config:prod/shop/cart event=e1 key=timeout_ms\n"},
        {"interlock.config", "config:prod/shop/cart", NULL, "{\"key\":\"db_password\",\"value\":\"hunter2\"}",
         "config/config:prod/shop/cart update 1795375490000\n"
         "config:prod/shop/cart data.db_password=(hidden) event=e1 event_source=/ci\n"},
        {"interlock.config", "config:prod/shop/cart", NULL, "{\"key\":\"k\",\"value\":\"x\",\"secret\":true}",
         "config/config:prod/shop/cart update 1795375490000\n"
         "config:prod/shop/cart data.k=(hidden) event=e1 event_source=/ci\n"},
        {"interlock.config", "config:prod/shop/cart", NULL, "{\"key\":\"k\",\"removed\":true}",
         "config/config:prod/shop/cart update 1795375490000\n"
         "config:prod/shop/cart data.k=(removed) event=e1 event_source=/ci\n"},
        {"interlock.flag", "flag:prod/shop/new", NULL,
         "{\"enabled\":true,\"percent\":12.5,\"value\":{\"b\":1,\"a\":[2]}}",
         "flag/flag:prod/shop/new update 1795375490000\n"
         "flag:prod/shop/new data.value={\"a\":[2],\"b\":1} enabled=true event=e1 event_source=/ci "
         "percent=12.5\n"},
        {"interlock.incident.opened", "incident:prod/shop/7", NULL,
         "{\"title\":\"cart fails\",\"severity\":\"high\",\"affected\":[\"service:prod/shop/cart\"]}",
         "incident/incident:prod/shop/7 open 1795375490000\n"
         "incident:prod/shop/7 class=incident event=e1 event_source=/ci severity=high state=open title=cart "
         "fails\n"
         "incident:prod/shop/7 -10-> service:prod/shop/cart event=e1\n"},
        {"interlock.incident.updated", "incident:prod/shop/7", NULL,
         "{\"severity\":\"low\",\"caused_by\":[\"shop-7\",\"deploy:prod/shop/x\"]}",
         "incident/incident:prod/shop/7 update 1795375490000\n"
         "incident:prod/shop/7 class=incident event=e1 event_source=/ci severity=low\n"
         "deploy:prod/shop/x -11-> incident:prod/shop/7 declared event=e1\n"},
        {"interlock.incident.resolved", "incident:prod/shop/7", NULL,
         "{\"resolved_by\":[\"deploy:prod/shop/cart.1.3\"]}",
         "incident/incident:prod/shop/7 end 1795375490000\n"
         "incident:prod/shop/7 class=incident event=e1 event_source=/ci state=resolved\n"
         "incident:prod/shop/7 -13-> deploy:prod/shop/cart.1.3 event=e1\n"},
        {"interlock.alert", NULL, NULL,
         "{\"alert\":\"High Errors\",\"status\":\"firing\",\"affected\":[\"service:prod/shop/cart\"]}",
         "incident/incident:prod/shop/alert.High%20Errors.cart open 1795375490000\n"
         "incident:prod/shop/alert.High%20Errors.cart class=alert event=e1 event_source=/ci state=open "
         "status=firing\n"
         "incident:prod/shop/alert.High%20Errors.cart -10-> service:prod/shop/cart event=e1\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture *it = begin(cases[i].type, cases[i].subject, cases[i].time, cases[i].data);
        assert_int_equal(run(it), STATUS_OK);
        assert_string_equal(it->text.data, cases[i].expected);
        end(it);
    }
}

static void what_cannot_be_taken_says_why(void **state) {
    static const struct {
        const char *type, *subject, *time, *data, *reason;
    } cases[] = {
        {"com.example.thing", NULL, NULL, "{}", "UNKNOWN_TYPE"},
        {"interlock.deploy", NULL, "yesterday", "{}", "BAD_EVENT"},
        {"interlock.deploy", NULL, "1999-01-01T00:00:00Z", "{}", "BAD_EVENT"},
        {"interlock.deploy", NULL, "2026-11-22T19:25:21Z", "{}", "FROM_THE_FUTURE"},
        {"interlock.deploy", NULL, NULL, "{\"version\":\"1\"}", "BAD_DATA"},
        {"interlock.deploy", "service:cart", NULL, "{}", "BAD_NAME"},
        {"interlock.deploy", "service:prod/shop/cart", NULL, "{\"version\":1}", "BAD_DATA"},
        {"interlock.deploy", "service:prod/shop/cart", NULL, "{\"version\":\"\"}", "BAD_DATA"},
        {"interlock.deploy", "service:prod/shop/cart", NULL, "{\"name\":\"service:prod/shop/x\"}",
         "BAD_NAME"},
        {"interlock.deploy", "service:prod/shop/cart", NULL, "{", "BAD_DATA"},
        {"interlock.deploy", "service:prod/shop/cart", NULL, "[]", "BAD_DATA"},
        {"interlock.deploy", "service:prod/shop/cart", NULL, "{\"a\":1,\"a\":2}", "BAD_DATA"},
        {"interlock.deploy", NULL, NULL, "{\"services\":[1]}", "BAD_DATA"},
        {"interlock.deploy", NULL, NULL, "{\"services\":7}", "BAD_DATA"},
        {"interlock.config", "service:prod/shop/cart", NULL, "{}", "BAD_NAME"},
        {"interlock.flag", NULL, NULL, "{}", "BAD_NAME"},
        {"interlock.incident.opened", NULL, NULL, "{}", "BAD_NAME"},
        {"interlock.alert", NULL, NULL, "{\"alert\":\"a\"}", "BAD_DATA"},
        {"interlock.alert", NULL, NULL,
         "{\"alert\":\"a\",\"affected\":[\"service:a/b/c\"],\"status\":\"maybe\"}", "BAD_DATA"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture *it = begin(cases[i].type, cases[i].subject, cases[i].time, cases[i].data);
        assert_int_equal(run(it), STATUS_INVALID_ARGUMENT);
        assert_string_equal(it->why.reason, cases[i].reason);
        end(it);
    }
}

static void the_required_attributes_are_looked_at(void **state) {
    (void)state;
    fixture *it = begin("interlock.deploy", "service:prod/shop/cart", NULL, "{}");
    it->event.id = "";
    assert_int_equal(run(it), STATUS_INVALID_ARGUMENT);
    it->event.id = "1";
    it->event.source = "";
    assert_int_equal(run(it), STATUS_INVALID_ARGUMENT);
    it->event.source = "/ci";
    it->event.spec_version = "0.3";
    assert_int_equal(run(it), STATUS_INVALID_ARGUMENT);
    it->event.spec_version = "1.0";
    it->event.data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA__NOT_SET;
    assert_int_equal(run(it), STATUS_INVALID_ARGUMENT);
    end(it);
}

static void a_long_diff_is_cut_and_digested(void **state) {
    (void)state;
    char data[20000] = "{\"diff\":\"";
    size_t start = strlen(data);
    for (size_t i = 0; i < 6000; i++)
        memcpy(data + start + 3 * i, "\xe2\x82\xac", 3); /* a sign of three bytes */
    memcpy(data + start + 18000, "\"}", 3);
    fixture *it = begin("interlock.deploy", "service:prod/shop/cart", NULL, data);
    assert_int_equal(run(it), STATUS_OK);
    assert_true(it->text.size < 2500);
    assert_true(utf8_valid(buffer_bytes(&it->text)));
    assert_non_null(strstr(it->text.data, "diff_whole=18000 bytes, sha256 "));
    end(it);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_become_changes),
        cmocka_unit_test(what_cannot_be_taken_says_why),
        cmocka_unit_test(the_required_attributes_are_looked_at),
        cmocka_unit_test(a_long_diff_is_cut_and_digested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
