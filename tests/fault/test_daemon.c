/* Settings when memory runs out at any point. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/settings.h"
#include "fail_allocation.h"
#include "test.h"

static const option table[] = {
    {.name = "data-dir", .kind = OPTION_TEXT, .fallback = "/default", .value_name = "DIR", .help = "where"},
    {.name = "loops", .kind = OPTION_NUMBER, .fallback = "4", .help = "how many", .least = 1, .most = 64},
    {.name = "verbose", .kind = OPTION_FLAG, .help = "say more"},
};

static char path[] = "/tmp/settings-fault-XXXXXX";
static settings *made;

static int set_up(void **state) {
    (void)state;
    static const char text[] = "data_dir: /file\nloops: 5\n";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    return close(descriptor);
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

static void end(void *context) {
    (void)context;
    settings_free(made);
    made = NULL;
}

static status_code run(void *context, failure *why) {
    (void)context;
    char variable[] = "INTERLOCK_LOOPS=6", flag[] = "--verbose";
    char *environment[] = {variable, NULL}, *argv[] = {flag};
    return settings_parse(&made, table, sizeof table / sizeof *table, path, 1, argv, environment, why);
}

static void check(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(made);
        return;
    }
    assert_string_equal(settings_text(made, "data-dir"), "/file");
    assert_int_equal(settings_number(made, "loops"), 6);
    assert_true(settings_flag(made, "verbose"));
}

static void parsing(void **state) {
    (void)state;
    /* The C library reads a file without a buffer when there is no memory for one. */
    fail_each_allocation(&(fault_case){
        .name = "settings_parse", .end = end, .run = run, .check = check, .may_do_without = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsing)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
