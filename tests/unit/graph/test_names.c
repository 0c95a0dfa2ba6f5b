/* Names: one spelling of a thing is accepted, every other is refused. */
#include "names.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_parse(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"service:prod/shop/cart", true},
        {"datastore:prod/shop/redis-cart", true},
        {"service:prod/shop/My%20Cart", true},
        {"service:a/b/%C3%A9", true},
        {"journey:default/default/checkout.v2_x", true},
        {"", false},
        {"cart", false},
        {"service:", false},
        {"service:prod/shop", false},
        {"service:prod/shop/", false},
        {"service:prod//cart", false},
        {"service:/shop/cart", false},
        {"service:prod/shop/cart/", false},
        {"service:prod/shop/cart/x", false},
        {"service :prod/shop/cart", false},
        {"Service:prod/shop/cart", false},
        {"svc:prod/shop/cart", false},
        {":prod/shop/cart", false},
        {"service:prod/shop/c art", false},
        {"service:prod/shop/c*", false},
        {"service:prod/shop/\xc3\xa9", false},
        {"service:prod/shop/c%61rt", false},
        {"service:prod/shop/c%2ert", false},
        {"service:prod/shop/c%2frt", false},
        {"service:prod/shop/c%2", false},
        {"service:prod/shop/c%", false},
        {"service:prod/shop/%00", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        name_parts parts;
        failure why = {0};
        status_code status = name_parse(cases[i].text, &parts, &why);
        if ((status == STATUS_OK) != cases[i].good)
            fail_msg("'%s' is %s", cases[i].text, cases[i].good ? "refused" : "accepted");
        if (!cases[i].good)
            assert_string_equal(why.reason, "BAD_NAME");
    }
}

static void test_parts(void **state) {
    (void)state;
    name_parts parts;
    assert_int_equal(name_parse("datastore:prod/shop/redis%3Acart", &parts, NULL), STATUS_OK);
    assert_int_equal(parts.kind, NODE_DATASTORE);
    assert_true(bytes_equal(parts.environment, bytes_of_text("prod")));
    assert_true(bytes_equal(parts.space, bytes_of_text("shop")));
    assert_true(bytes_equal(parts.name, bytes_of_text("redis%3Acart")));
}

/* What is built from any bytes parses, and different bytes give different names. */
static void test_build_every_byte(void **state) {
    (void)state;
    char last[LIMIT_NAME_BYTES] = "";
    for (unsigned value = 1; value < 256; value++) {
        uint8_t name[3] = {'x', (uint8_t)value, 'y'};
        char text[LIMIT_NAME_BYTES];
        name_parts parts;
        assert_true(
            name_build(NODE_SERVICE, bytes_of_text("prod"), bytes_of_text("a/b"), bytes_of(name, 3), text));
        assert_int_equal(name_parse(text, &parts, NULL), STATUS_OK);
        assert_string_not_equal(text, last);
        memcpy(last, text, sizeof last);
    }
}

static void test_lengths(void **state) {
    (void)state;
    char text[LIMIT_NAME_BYTES] = "untouched";
    char longest[LIMIT_NAME_BYTES];
    memset(longest, 'n', sizeof longest);
    size_t room = LIMIT_NAME_BYTES - 1 - strlen("service:e/s/");
    name_parts parts;
    assert_false(
        name_build(NODE_SERVICE, bytes_of_text("e"), bytes_of_text("s"), bytes_of(longest, room + 1), text));
    assert_false(name_build(NODE_SERVICE, bytes_of_text(""), bytes_of_text("s"), bytes_of_text("n"), text));
    assert_false(name_build((node_kind)99, bytes_of_text("e"), bytes_of_text("s"), bytes_of_text("n"), text));
    assert_string_equal(text, "untouched");
    assert_true(
        name_build(NODE_SERVICE, bytes_of_text("e"), bytes_of_text("s"), bytes_of(longest, room), text));
    assert_int_equal(strlen(text), LIMIT_NAME_BYTES - 1);
    assert_int_equal(name_parse(text, &parts, NULL), STATUS_OK);
    char over[LIMIT_NAME_BYTES + 2];
    memcpy(over, text, LIMIT_NAME_BYTES);
    over[LIMIT_NAME_BYTES - 1] = 'n';
    over[LIMIT_NAME_BYTES] = '\0';
    assert_int_equal(name_parse(over, &parts, NULL), STATUS_INVALID_ARGUMENT);
    /* An escape that would be cut in the middle does not fit at all. */
    memset(longest, ' ', sizeof longest);
    assert_false(
        name_build(NODE_SERVICE, bytes_of_text("e"), bytes_of_text("s"), bytes_of(longest, 100), text));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_build_every_byte),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
