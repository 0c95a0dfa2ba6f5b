/* Declarations in YAML become statements, and what is wrong with them has a place. */
#include "declarations.h"

#include <stdlib.h>
#include <string.h>

#include "changes_text.h"
#include "test.h"

#define HEAD                                                                                                 \
    "apiVersion: interlock/v1\nkind: Declarations\nmetadata: {name: d, environment: prod, namespace: "       \
    "shop}\n"

typedef struct fixture {
    arena memory;
    declarations out;
    failure why;
} fixture;

static status_code read_text(fixture *self, const char *text) {
    arena_init(&self->memory, 4096, 64U << 20);
    return declarations_read(bytes_of_text(text), "d.yaml", 7, &self->memory, &self->out, &self->why);
}

static void declarations_become_statements(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {HEAD, ""},
        {HEAD "services:\n"
              "- name: cart\n"
              "  tier: 1\n"
              "  owner: team\n"
              "  zone: zone:prod/default/inner\n"
              "  contracts: [cart-api]\n"
              "  slos: [{name: availability, objective: 99.9, window: 30d}]\n"
              "  labels: {lang: go}\n",
         "service:prod/shop/cart declared label.lang=go slo.availability=99.9 % over 30d tier=1\n"
         "service:prod/shop/cart -7-> zone:prod/default/inner declared\n"
         "service:prod/shop/cart -8-> contract:prod/shop/cart-api declared\n"
         "service:prod/shop/cart -15-> owner:prod/shop/team declared\n"},
        {HEAD "zones:\n- name: inner\n  members: [cart, \"datastore:redis\"]\n  allows: [outer]\n",
         "zone:prod/shop/inner declared allows=zone:prod/shop/outer\n"
         "datastore:prod/shop/redis -7-> zone:prod/shop/inner declared\n"
         "service:prod/shop/cart -7-> zone:prod/shop/inner declared\n"},
        {HEAD "owners:\n- {name: team, onCall: pager, owns: [cart]}\n",
         "owner:prod/shop/team declared onCall=pager\n"
         "service:prod/shop/cart -15-> owner:prod/shop/team declared\n"},
        {HEAD "contracts:\n- {name: api, type: protobuf, version: '1', of: [cart]}\n",
         "contract:prod/shop/api declared type=protobuf version=1\n"
         "service:prod/shop/cart -8-> contract:prod/shop/api declared\n"},
        {HEAD "journeys:\n- {name: buy, entries: [frontend], passes: [cart, checkout]}\n",
         "journey:prod/shop/buy declared passes=service:prod/shop/cart,service:prod/shop/checkout\n"
         "journey:prod/shop/buy -1-> service:prod/shop/frontend declared\n"},
        {HEAD "edges:\n"
              "- {from: cart, to: redis, kind: reads}\n"
              "- {from: cart, to: orders, kind: publishes, share: 0.5}\n"
              "- {from: mail, to: orders, kind: consumes}\n"
              "- {from: cart, to: service:stage/x/y, kind: calls}\n",
         "service:prod/shop/cart -1-> service:stage/x/y declared\n"
         "service:prod/shop/cart -2-> queue:prod/shop/orders declared share=0.5\n"
         "service:prod/shop/mail -3-> queue:prod/shop/orders declared\n"
         "service:prod/shop/cart -4-> datastore:prod/shop/redis declared\n"},
        {HEAD "services:\n- {name: cart, aliases: [cartservice]}\n",
         "service:prod/shop/cart declared aliases=service:prod/shop/cartservice\n"},
        {"{\"apiVersion\": \"interlock/v1\", \"kind\": \"Declarations\", \"metadata\": {\"name\": \"d\"},"
         " \"queues\": [{\"name\": \"q\"}]}",
         "queue:default/default/q declared\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture it = {0};
        buffer text;
        buffer_init(&text, 1U << 16);
        assert_int_equal(read_text(&it, cases[i].text), STATUS_OK);
        statements_text(&it.out.change.what, &text);
        assert_string_equal(buffer_ok(&text) && text.size > 0 ? text.data : "", cases[i].expected);
        assert_string_equal(it.out.change.lane, "declaration/d");
        assert_string_equal(it.out.change.origin, "declaration:d");
        buffer_free(&text);
        arena_free(&it.memory);
    }
}

static void aliases_are_told_apart(void **state) {
    fixture it = {0};
    (void)state;
    assert_int_equal(read_text(&it, HEAD "services:\n- {name: cart, aliases: [a, service:prod/old/cart]}\n"),
                     STATUS_OK);
    assert_int_equal(it.out.alias_count, 2);
    assert_string_equal(it.out.aliases[1].node, "service:prod/shop/cart");
    assert_string_equal(it.out.aliases[1].alias, "service:prod/old/cart");
    arena_free(&it.memory);
}

static void errors_have_a_place(void **state) {
    static const struct {
        const char *text, *place;
    } cases[] = {
        {"", "d.yaml:1:1: "},
        {"a: [", "d.yaml:2:1: "},
        {"- a\n", "d.yaml:1:1: it is a mapping"},
        {"kind: Declarations\n", "d.yaml:1:1: the key \"apiVersion\" is missing"},
        {"apiVersion: interlock/v2\n", "d.yaml:1:13: apiVersion is interlock/v1"},
        {"apiVersion: interlock/v1\nkind: PolicySet\n", "d.yaml:2:7: kind is Declarations"},
        {"apiVersion: interlock/v1\nkind: Declarations\nmetadata: {name: a b}\n", "d.yaml:3:18: letters"},
        {"apiVersion: interlock/v1\nkind: Declarations\nmetadata: {nam: d}\n",
         "d.yaml:3:12: there is no key \"nam\""},
        {HEAD "service: []\n", "d.yaml:4:1: there is no key \"service\""},
        {HEAD "services: {}\n", "d.yaml:4:11: services is a list"},
        {HEAD "services: [cart]\n", "d.yaml:4:12: it is a mapping"},
        {HEAD "services:\n- tier: 1\n", "d.yaml:5:3: the key \"name\" is missing"},
        {HEAD "services:\n- {name: cart, teir: 1}\n", "d.yaml:5:16: there is no key \"teir\""},
        {HEAD "services:\n- {name: cart, name: cart}\n", "d.yaml:5:16: the key"},
        {HEAD "services:\n- {name: cart, tier: one}\n", "d.yaml:5:22: a number from 0"},
        {HEAD "services:\n- {name: cart, tier: -1}\n", "d.yaml:5:22: a number from 0"},
        {HEAD "services:\n- {name: cart, tier: nan}\n", "d.yaml:5:22: a number from 0"},
        {HEAD "services:\n- {name: cart, tier: 1.2.3}\n", "d.yaml:5:22: a number from 0"},
        {HEAD "services:\n- {name: 'a b'}\n", "d.yaml:5:10: "},
        {HEAD "services:\n- {name: queue:orders}\n", "d.yaml:5:10: a name of a service is wanted"},
        {HEAD "services:\n- {name: cart, aliases: [cart]}\n", "d.yaml:5:26: this is its own name"},
        {HEAD "services:\n- {name: cart, aliases: [queue:c]}\n",
         "d.yaml:5:26: a name of a service is wanted"},
        {HEAD "services:\n- {name: cart, slos: [{name: a}]}\n",
         "d.yaml:5:23: the key \"objective\" is missing"},
        {HEAD "services:\n- {name: cart, slos: [{name: a, objective: 101}]}\n",
         "d.yaml:5:44: a number from 0 to 100"},
        {HEAD "services:\n- {name: cart, labels: [a]}\n", "d.yaml:5:24: labels is a mapping"},
        {HEAD "services:\n- {name: cart, owner: [a]}\n", "d.yaml:5:23: owner is a text"},
        {HEAD "contracts:\n- {name: c, type: soap}\n", "d.yaml:5:19: one of protobuf"},
        {HEAD "edges:\n- {from: a, to: b}\n", "d.yaml:5:3: the key \"kind\" is missing"},
        {HEAD "edges:\n- {from: a, to: b, kind: caused}\n", "d.yaml:5:26: one of calls"},
        {HEAD "edges:\n- {from: a, to: b, kind: calls, share: 2}\n", "d.yaml:5:40: a number from 0 to 1"},
        {HEAD "edges:\n- {from: a/b, to: b, kind: calls}\n", "d.yaml:5:10: "},
        {HEAD "services: &x []\n", "d.yaml:4:11: anchors"},
        {HEAD "services: *x\n", "d.yaml:4:11: "},
        {HEAD "services:\n- {name: &a cart}\n- {name: *a}\n", "d.yaml:5:10: anchors"},
        {HEAD "services: !!seq []\n", "d.yaml:4:11: anchors, aliases and tags"},
        {HEAD "services: !!str x\n", "d.yaml:4:11: anchors, aliases and tags"},
        {HEAD "<<: {a: b}\n", "d.yaml:4:1: merge keys"},
        {HEAD "? [a]\n: b\n", "d.yaml:4:3: a key must be text"},
        {HEAD "---\na: b\n", "d.yaml:5:1: one document"},
        {HEAD "services: [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]\n", "d.yaml:4:26: nested too deep"},
        {HEAD "services:\n- {name: \"a\\0b\"}\n", "d.yaml:5:10: a text with a NUL"},
        {HEAD "services:\n- {name: \"\xff\"}\n", "d.yaml: not UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture it = {0};
        assert_int_equal(read_text(&it, cases[i].text), STATUS_INVALID_ARGUMENT);
        if (strncmp(it.why.message, cases[i].place, strlen(cases[i].place)) != 0)
            assert_string_equal(it.why.message, cases[i].place);
        arena_free(&it.memory);
    }
}

/* Nine times nine times nine …: refused at the first anchor, before anything grows. */
static void a_bomb_is_refused(void **state) {
    fixture it = {0};
    (void)state;
    assert_int_equal(read_text(&it, HEAD "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\n"),
                     STATUS_INVALID_ARGUMENT);
    assert_true(it.memory.used < 16384);
    arena_free(&it.memory);
}

static void a_wide_mapping_is_refused(void **state) {
    fixture it = {0};
    buffer text;
    (void)state;
    buffer_init(&text, 1U << 20);
    buffer_text(&text, HEAD);
    for (int i = 0; i < 400; i++)
        buffer_format(&text, "k%d: 1\n", i);
    assert_int_equal(read_text(&it, text.data), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(it.why.message, "more entries"));
    buffer_free(&text);
    arena_free(&it.memory);
}

static void many_edges_are_read(void **state) {
    fixture it = {0};
    buffer text;
    (void)state;
    buffer_init(&text, 8U << 20);
    buffer_text(&text, HEAD "edges:\n");
    for (int i = 0; i < 20000; i++)
        buffer_format(&text, "- {from: s%d, to: s%d, kind: calls}\n", i, i / 3);
    assert_int_equal(read_text(&it, text.data), STATUS_OK);
    assert_int_equal(it.out.change.what.count, 20000);
    buffer_free(&text);
    arena_free(&it.memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declarations_become_statements),
        cmocka_unit_test(aliases_are_told_apart),
        cmocka_unit_test(errors_have_a_place),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(a_wide_mapping_is_refused),
        cmocka_unit_test(many_edges_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
