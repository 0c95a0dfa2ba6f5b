/* RFC 3339 instants. */
#include "base/instant.h"
#include "test.h"

static void text_becomes_milliseconds(void **state) {
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00.5z", 500},
        {"2000-02-29T12:00:00Z", 951825600000},
        {"2026-11-22T19:24:50.123456Z", 1795375490123},
        {"2026-11-22T19:24:50+01:00", 1795371890000},
        {"2026-11-22 19:24:50-05:30", 1795395290000},
        {"2016-12-31T23:59:60Z", 1483228799000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        assert_true(instant_parse(cases[i].text, &ms));
        assert_int_equal(ms, cases[i].ms);
    }
}

static void anything_else_is_refused(void **state) {
    static const char *const cases[] = {
        "",
        "now",
        "1969-12-31T23:59:59Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00Z ",
        "2026-1-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = 42;
        assert_false(instant_parse(cases[i], &ms));
        assert_int_equal(ms, 42);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_becomes_milliseconds),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
