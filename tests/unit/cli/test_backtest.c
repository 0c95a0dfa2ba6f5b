/* Past changes and incidents: reading events, finding causes, judging, and the page. */
#include <stdlib.h>
#include <string.h>

#include "backtest_report.h"
#include "html.h"
#include "policy_sets.h"

#define EVENT(id, type, time, subject, data)                                                                 \
    "{\"specversion\": \"1.0\", \"id\": \"" id "\", \"source\": \"//t\", \"type\": \"interlock." type        \
    "\", \"time\": \"2026-11-" time ":00Z\", \"subject\": \"" subject "\", \"data\": {" data "}}\n"
#define CART "service:prod/shop/cart"
#define MAIL "service:prod/shop/email"
#define INCIDENT "incident:prod/shop/one"

static arena memory;

static status_code read_text(backtest *self, const char *text, failure *why) {
    backtest_init(self, &memory);
    return backtest_read(self, "e.jsonl", bytes_of_text(text), why);
}

typedef struct bad_event {
    const char *text, *message;
} bad_event;

static void bad_events_are_named_by_line(void **state) {
    (void)state;
    static const bad_event cases[] = {
        {"\n\n{", "e.jsonl:3:"},
        {"[1]", "element 0 of the array: e.jsonl:1: this is no CloudEvent"},
        {EVENT("1", "other", "01T10:00", "", "") "\"text\"", "e.jsonl:2:"},
        {"{\"specversion\": \"0.3\"}", "e.jsonl:1: specversion"},
        {"{\"specversion\": \"1.0\"}", "e.jsonl:1: it has no type"},
        {"{\"specversion\": \"1.0\", \"type\": \"x\", \"id\": \"1\", \"time\": \"now\"}", "e.jsonl:1: time"},
        {EVENT("1", "deploy", "01T10:00", "", "\"version\": \"1\""), "e.jsonl:1: whose change it is"},
        {EVENT("1", "deploy", "01T10:00", CART, "\"services\": 1"), "e.jsonl:1: names are"},
        {EVENT("1", "deploy", "01T10:00", CART, "\"services\": [1]"), "e.jsonl:1: a name is no text"},
        {EVENT("1", "incident.opened", "01T10:00", "x", ""), "e.jsonl:1: neither data.name"},
        {"{\"specversion\": \"1.0\", \"specversion\": \"1.0\"}", "e.jsonl:1:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        backtest past;
        failure why = {0};
        assert_int_equal(read_text(&past, cases[i].text, &why), STATUS_INVALID_ARGUMENT);
        if (strncmp(why.message, cases[i].message, strlen(cases[i].message)) != 0)
            fprintf(stderr, "case %zu: %s\n", i, why.message);
        assert_int_equal(strncmp(why.message, cases[i].message, strlen(cases[i].message)), 0);
    }
}

static void events_become_changes_and_incidents(void **state) {
    (void)state;
    backtest past;
    failure why = {0};
    assert_int_equal(
        read_text(&past,
                  EVENT("d1", "deploy", "02T10:00", CART, "\"version\": \"2\", \"previous_version\": \"1\"")
                      EVENT("i1", "incident.opened", "02T11:00", INCIDENT,
                            "\"title\": \"cart is down\", \"affected\": [\"" CART "\"]")
                          EVENT("c1", "config", "01T10:00", "config:prod/shop/defaults",
                                "\"key\": \"timeout\"") EVENT("x", "alert", "01T10:00", "", "")
                              EVENT("i2", "incident.resolved", "02T12:00", INCIDENT, ""),
                  &why),
        STATUS_OK);
    backtest_sort(&past);
    assert_int_equal(past.change_count, 2);
    assert_int_equal(past.incident_count, 1);
    assert_int_equal(past.ignored, 1);
    assert_string_equal(past.changes[0].id, "c1");
    assert_string_equal(past.changes[0].services[0], "config:prod/shop/defaults");
    assert_string_equal(past.changes[0].verb, "config.set");
    assert_string_equal(past.changes[1].facts.action.reversal_verb, "rollback");
    assert_string_equal(past.changes[1].facts.action.arguments[0].value, "2");
    assert_int_equal(past.incidents[0].resolved_ms - past.incidents[0].opened_ms, 3600000);
    assert_string_equal(past.incidents[0].title, "cart is down");
}

static void an_array_is_read_like_lines(void **state) {
    (void)state;
    backtest past;
    failure why = {0};
    assert_int_equal(read_text(&past, "[" EVENT("d1", "deploy", "02T10:00", CART, "") "]", &why), STATUS_OK);
    assert_int_equal(past.change_count, 1);
}

/* A deploy of the mailer, a deploy of cart, an incident of cart; what else is known differs. */
static size_t cause_with(const char *incident_data, int64_t window_ms, bool *presumed) {
    backtest past;
    failure why = {0};
    char text[4096];
    snprintf(text, sizeof text, "%s%s%s%s", EVENT("mail", "deploy", "02T10:00", MAIL, ""),
             EVENT("cart", "deploy", "02T10:10", CART, ""), EVENT("late", "deploy", "02T10:40", CART, ""),
             "{\"specversion\": \"1.0\", \"id\": \"i\", \"type\": \"interlock.incident.opened\", \"time\": "
             "\"2026-11-02T10:30:00Z\", \"subject\": \"" INCIDENT "\", \"data\": {");
    strcat(text, incident_data);
    strcat(text, "}}");
    assert_int_equal(read_text(&past, text, &why), STATUS_OK);
    backtest_sort(&past);
    backtest_attribute(&past, window_ms);
    *presumed = past.incidents[0].presumed;
    return past.incidents[0].cause;
}

static void causes_are_stated_or_presumed(void **state) {
    (void)state;
    bool presumed = false;
    assert_int_equal(cause_with("\"affected\": [\"" CART "\"]", 3600000, &presumed), 1);
    assert_true(presumed);
    assert_int_equal(cause_with("\"affected\": [\"" CART "\"], \"caused_by\": \"mail\"", 3600000, &presumed),
                     0);
    assert_false(presumed);
    assert_true(cause_with("\"affected\": [\"" CART "\"]", 60000, &presumed) == BACKTEST_NONE);
    assert_true(cause_with("\"affected\": [\"service:prod/shop/x\"]", 3600000, &presumed) == BACKTEST_NONE);
    assert_true(cause_with("\"caused_by\": \"unknown\"", 3600000, &presumed) == BACKTEST_NONE);
}

static const char story[] =
    EVENT("a", "deploy", "02T10:00", CART, "") EVENT("b", "deploy", "03T10:00", MAIL, "")
        EVENT("c", "deploy", "03T12:00", CART, "\"title\": \"<b>bold</b>\"")
            EVENT("i", "incident.opened", "02T11:00", INCIDENT,
                  "\"title\": \"<script>\", \"affected\": [\"" CART "\"], \"caused_by\": [\"a\"]");
static const char rules[] = SET_HEAD RULE("open", "permit", "deploy", "")
    RULE("no-cart-first", "forbid", "deploy",
         "  when: targets.exists(t, t.id == 'cart') && history.failed == 0\n"
         "  message: cart < mail & co\n")
        RULE("careful", "forbid", "deploy", "  when: targets.exists(t, t.id == 'email')\n");

static policy_set *judge(backtest *past) {
    failure why = {0};
    policy_set *set = set_of(rules);
    assert_int_equal(read_text(past, story, &why), STATUS_OK);
    backtest_sort(past);
    backtest_attribute(past, 3600000);
    assert_int_equal(backtest_judge(past, set, NULL, NULL, &why), STATUS_OK);
    return set;
}

static void history_is_what_was_known_by_then(void **state) {
    (void)state;
    backtest past;
    policy_set *set = judge(&past);
    assert_int_equal(past.changes[0].outcome, POLICY_DENY);
    assert_int_equal(past.changes[0].facts.history.actions, 0);
    assert_int_equal(past.changes[2].facts.history.actions, 1);
    assert_int_equal(past.changes[2].facts.history.failed, 1);
    assert_int_equal(past.changes[2].outcome, POLICY_ALLOW);
    assert_true(past.changes[2].facts.history.last_incident_ms == past.incidents[0].opened_ms);
    assert_int_equal(past.totals.prevented, 1);
    assert_int_equal(past.totals.false_alarms, 1);
    assert_int_equal(past.totals.by_outcome[POLICY_DENY], 2);
    assert_int_equal(past.rules[policies_find(set, "no-cart-first")->index].prevented, 1);
    assert_int_equal(past.rules[policies_find(set, "careful")->index].false_alarms, 1);
    policies_unref(set);
}

static void the_page_holds_no_foreign_markup(void **state) {
    (void)state;
    backtest past;
    buffer page;
    policy_set *set = judge(&past);
    const backtest_scope scope = {.set = set, .events = "a&b.jsonl", .knows_impact = true, .limit = 10};
    buffer_init(&page, 1U << 20);
    backtest_html(&memory, &past, &scope, &page);
    assert_true(buffer_ok(&page));
    assert_null(strstr(page.data, "<script>"));
    assert_null(strstr(page.data, "<b>bold"));
    assert_null(strstr(page.data, "http"));
    assert_non_null(strstr(page.data, "&lt;script&gt;"));
    assert_non_null(strstr(page.data, "cart &lt; mail &amp; co"));
    assert_non_null(strstr(page.data, "a&amp;b.jsonl"));
    buffer_free(&page);
    policies_unref(set);
}

typedef struct escape_case {
    const char *text, *html;
} escape_case;

static void text_is_escaped(void **state) {
    (void)state;
    static const escape_case cases[] = {
        {"a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;"},
        {"é → ✓", "é → ✓"},
        {"\x1b[31m\n\tx", "\xEF\xBF\xBD[31m  x"},
        {"\xff\xc3", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"", ""},
        {NULL, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buffer out;
        buffer_init(&out, 4096);
        html_text(&out, cases[i].text);
        assert_string_equal(out.data != NULL ? out.data : "", cases[i].html);
        buffer_free(&out);
    }
}

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_events_are_named_by_line),
        cmocka_unit_test(events_become_changes_and_incidents),
        cmocka_unit_test(an_array_is_read_like_lines),
        cmocka_unit_test(causes_are_stated_or_presumed),
        cmocka_unit_test(history_is_what_was_known_by_then),
        cmocka_unit_test(the_page_holds_no_foreign_markup),
        cmocka_unit_test(text_is_escaped),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
