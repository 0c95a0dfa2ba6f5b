/* Opening a database when memory runs out at any point, in this library or in SQLite. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail_allocation.h"
#include "store/store.h"
#include "test.h"

static const char SCHEMA[] = "CREATE TABLE item (name TEXT PRIMARY KEY, number INTEGER) STRICT;"
                             "INSERT INTO item VALUES ('one', 1);";
static const char MIGRATION[] = "INSERT INTO item VALUES ('two', 2);";

static char folder[64], path[96];
static int version;
static store opened;

static void remove_files(void) {
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s/store-fault-XXXXXX", fast_folder());
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.db", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    remove_files();
    return rmdir(folder);
}

static status_code run(void *context, failure *why) {
    const char *const migrations[] = {MIGRATION};
    (void)context;
    return store_open(&opened, path, version, SCHEMA, migrations, STORE_DURABLE, why);
}

static int64_t rows(void) {
    store_statement count = {0};
    failure why = {0};
    bool row = false;
    assert_int_equal(store_prepare(&opened, &count, "SELECT count(*) FROM item", &why), STATUS_OK);
    assert_int_equal(store_step(&count, &row, &why), STATUS_OK);
    int64_t found = store_column_int(&count, 0);
    store_finalize(&count);
    return found;
}

static void check(void *context, bool done) {
    (void)context;
    if (done)
        assert_int_equal(rows(), version);
    else
        assert_null(opened.database);
}

static void close_opened(void) {
    store_close(&opened);
    opened = (store){0};
}

static void end_new(void *context) {
    (void)context;
    close_opened();
    remove_files();
}

static void begin_old(void *context) {
    failure why = {0};
    version = 1;
    assert_int_equal(run(context, &why), STATUS_OK);
    close_opened();
    version = 2;
}

static void a_new_database(void **state) {
    (void)state;
    version = 1;
    fail_each_allocation(&(fault_case){
        .name = "store_open, new", .run = run, .check = check, .end = end_new, .may_do_without = true});
}

static void a_database_to_migrate(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "store_open, older",
                                       .begin = begin_old,
                                       .run = run,
                                       .check = check,
                                       .end = end_new,
                                       .may_do_without = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_new_database),
                                       cmocka_unit_test(a_database_to_migrate)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
