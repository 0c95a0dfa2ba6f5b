/* Masks and log templates. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "templates.h"

#define NODE "service:prod/shop/cart"
#define START_MS 1767225600000

static templates *templates_made(void) {
    templates *self = NULL;
    failure why;
    assert_int_equal(templates_create(&self, 7, &why), STATUS_OK);
    return self;
}

static uint32_t add(templates *self, const char *message) {
    return templates_add(self, NODE, bytes_of_text(message), LOG_SEVERITY_LOW, START_MS);
}

static void test_masks(void **state) {
    (void)state;
    static const struct {
        const char *message, *masked;
    } cases[] = {
        {"", ""},
        {"user 17 logged in", "user 0 logged in"},
        {"took 12.5ms", "took 0.0ms"},
        {"17:42:00.733 INFO c.t.PaymentController#34 [pay][Pay]",
         "<time> INFO c.t.PaymentController#0 pay Pay"},
        {"at 2023-01-29T15:38:06.123Z and 2023-01-29 15:38:06", "at <time> and <time>"},
        {"OrderId: ab715a1d-1522-4654-b226-db3e7b0780f8", "OrderId <id>"},
        {"TraceID: 9bc9c723ca7ced7a0c0c0229f38575b4 SpanID: e8a777b9aee8357a done", "done"},
        {"hash 0123456789abcdef0123 kept out", "hash kept out"},
        {"cannot reach ts-order-service-5b67: refused", "cannot reach <service> 0b0 refused"},
        {"ts-order-services is another word", "ts order services is another word"},
        {"a b c d e f g h i j k l m n o p", "a b c d e f g h i j k l m n"},
        {"caf\xC3\xA9 9", "caf\xC3\xA9 0"},
    };
    templates *self = templates_made();
    templates_know_service(self, "ts-order-service");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[MASK_TEXT_BYTES];
        templates_mask(self, bytes_of_text(cases[i].message), out, sizeof out);
        assert_string_equal(out, cases[i].masked);
    }
    templates_free(self);
}

static void test_alike_messages_share_a_template(void **state) {
    (void)state;
    templates *self = templates_made();
    uint32_t first = add(self, "payment of order failed for alice with code red today");
    assert_int_equal(add(self, "payment of order failed for bob with code red today"), first);
    assert_string_equal(templates_at(self, first).text,
                        "payment of order failed for <*> with code red today");
    assert_int_not_equal(add(self, "payment of cart failed for bob with code red today"), first);
    assert_int_not_equal(add(self, "payment of order done"), first);
    assert_true(templates_at(self, first).count == 2);
    assert_true(templates_count_between(self, NODE, first, START_MS - 60000, START_MS + 60000) == 2);
    assert_true(templates_count_between(self, "service:prod/shop/other", first, 0, INT64_MAX) == 0);
    templates_free(self);
}

/* A flood of new templates is counted as one, others are not touched by it, and messages are only looked at
 * so far. */
static void test_flood(void **state) {
    (void)state;
    templates *self = templates_made();
    uint32_t normal = templates_add(self, "service:prod/shop/other", bytes_of_text("all is well"),
                                    LOG_SEVERITY_LOW, START_MS);
    unsigned flooded = 0;
    for (unsigned i = 0; i < 5000; i++) {
        char message[64];
        snprintf(message, sizeof message, "%c%c%c strange words", 'a' + i % 26, 'a' + i / 26 % 26,
                 'a' + i / 676 % 26);
        flooded += add(self, message) == TEMPLATES_OTHER;
    }
    assert_int_equal(flooded, 5000 - TEMPLATES_NODE_MAX);
    assert_int_equal(templates_totals_of(self).flooded, flooded);
    assert_int_equal(templates_count(self), 1 + 1 + TEMPLATES_NODE_MAX);
    assert_true(templates_count_between(self, NODE, TEMPLATES_OTHER, 0, INT64_MAX) == flooded);
    assert_int_equal(templates_add(self, "service:prod/shop/other", bytes_of_text("all is well"),
                                   LOG_SEVERITY_LOW, START_MS),
                     normal);
    static char huge[1 << 20];
    memset(huge, 'x', sizeof huge);
    masked out;
    mask_message(NULL, bytes_of(huge, sizeof huge), &out);
    assert_int_equal(out.count, 1);
    assert_int_equal(out.size, MASK_TOKEN_BYTES - 1);
    templates_free(self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_alike_messages_share_a_template),
        cmocka_unit_test(test_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
