/* lib/store against real files in a temporary directory: creation, migration, readers, and every error that a
 * service tells apart. */
#include "store/store.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCHEMA_ONE "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE, body BLOB) STRICT;"
#define SCHEMA_TWO                                                                                           \
    "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE, body BLOB, size INTEGER NOT NULL "        \
    "DEFAULT "                                                                                               \
    "0) STRICT;"

static const char *const migrations[] = {
    "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0; UPDATE thing SET size = length(body);",
    "CREATE INDEX thing_size ON thing (size);"};

typedef struct directory {
    char path[64];
    char file[96];
} directory;

static int directory_make(void **state) {
    directory *self = calloc(1, sizeof *self);
    assert_non_null(self);
    snprintf(self->path, sizeof self->path, "/tmp/store-test-XXXXXX");
    assert_non_null(mkdtemp(self->path));
    snprintf(self->file, sizeof self->file, "%s/a.db", self->path);
    *state = self;
    return 0;
}

static int directory_remove(void **state) {
    directory *self = *state;
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", self->file, endings[i]);
        unlink(name);
    }
    assert_int_equal(rmdir(self->path), 0);
    free(self);
    return 0;
}

static int64_t number_of(store *self, const char *sql) {
    failure why = {0};
    store_statement statement;
    bool row = false;
    assert_int_equal(store_prepare(self, &statement, sql, &why), STATUS_OK);
    assert_int_equal(store_step(&statement, &row, &why), STATUS_OK);
    assert_true(row);
    int64_t number = store_column_int(&statement, 0);
    store_finalize(&statement);
    return number;
}

static status_code insert_thing(store *self, const char *name, bytes body, failure *why) {
    store_statement statement;
    assert_int_equal(store_prepare(self, &statement, "INSERT INTO thing (name, body) VALUES (?, ?)", why),
                     STATUS_OK);
    store_bind_text(&statement, 1, name);
    store_bind_blob(&statement, 2, body);
    status_code status = store_run(&statement, why);
    store_finalize(&statement);
    return status;
}

static void open_first(store *self, const char *path) {
    failure why = {0};
    if (store_open(self, path, 1, SCHEMA_ONE, NULL, STORE_DURABLE, &why) != STATUS_OK)
        fail_msg("%s", why.message);
}

static void test_values_come_back(void **state) {
    (void)state;
    store self;
    failure why = {0};
    open_first(&self, ":memory:");
    assert_int_equal(insert_thing(&self, "a", bytes_of("x\0y", 3), &why), STATUS_OK);
    assert_int_equal(insert_thing(&self, NULL, bytes_of(NULL, 0), &why), STATUS_OK);
    store_statement statement;
    assert_int_equal(
        store_prepare(&self, &statement, "SELECT name, body, body IS NULL, 0.5 FROM thing ORDER BY id", &why),
        STATUS_OK);
    bool row = false;
    assert_int_equal(store_step(&statement, &row, &why), STATUS_OK);
    assert_string_equal(store_column_text(&statement, 0), "a");
    assert_true(bytes_equal(store_column_blob(&statement, 1), bytes_of("x\0y", 3)));
    assert_true(store_column_double(&statement, 3) == 0.5);
    assert_int_equal(store_step(&statement, &row, &why), STATUS_OK);
    assert_true(row);
    assert_string_equal(store_column_text(&statement, 0), "");
    assert_int_equal(store_column_int(&statement, 2), 0);
    assert_int_equal(store_step(&statement, &row, &why), STATUS_OK);
    assert_false(row);
    store_finalize(&statement);
    store_finalize(&statement);
    store_finalize(NULL);
    store_close(&self);
    store_close(&self);
    store_close(NULL);
}

static void test_file_is_private_and_durable(void **state) {
    const directory *place = *state;
    store self;
    open_first(&self, place->file);
    struct stat info;
    assert_int_equal(stat(place->file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(number_of(&self, "PRAGMA synchronous"), 2);
    assert_int_equal(number_of(&self, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(number_of(&self, "PRAGMA foreign_keys"), 1);
    store_close(&self);
}

static void test_rebuildable_and_shared_modes(void **state) {
    const directory *place = *state;
    store self;
    failure why = {0};
    assert_int_equal(store_open(&self, place->file, 1, SCHEMA_ONE, NULL, STORE_REBUILDABLE, &why), STATUS_OK);
    assert_int_equal(number_of(&self, "PRAGMA synchronous"), 1);
    store_close(&self);
    unlink(place->file);
    assert_int_equal(store_open(&self, place->file, 1, SCHEMA_ONE, NULL, STORE_SHARED, &why), STATUS_OK);
    assert_int_equal(number_of(&self, "PRAGMA synchronous"), 2);
    assert_int_equal(number_of(&self, "SELECT journal_mode = 'truncate' FROM pragma_journal_mode"), 1);
    store_close(&self);
}

static void test_migrations_keep_data(void **state) {
    const directory *place = *state;
    store self;
    failure why = {0};
    open_first(&self, place->file);
    assert_int_equal(insert_thing(&self, "old", bytes_of_text("12345"), &why), STATUS_OK);
    store_close(&self);
    assert_int_equal(store_open(&self, place->file, 3, SCHEMA_TWO, migrations, STORE_DURABLE, &why),
                     STATUS_OK);
    assert_int_equal(number_of(&self, "SELECT size FROM thing WHERE name = 'old'"), 5);
    assert_int_equal(number_of(&self, "PRAGMA user_version"), 3);
    assert_int_equal(number_of(&self, "SELECT count(*) FROM sqlite_schema WHERE name = 'thing_size'"), 1);
    store_close(&self);
}

static void test_a_broken_migration_changes_nothing(void **state) {
    const directory *place = *state;
    static const char *const broken[] = {"CREATE TABLE other (a); SELECT no_such_column FROM thing;"};
    store self;
    failure why = {0};
    open_first(&self, place->file);
    store_close(&self);
    assert_int_equal(store_open(&self, place->file, 2, SCHEMA_TWO, broken, STORE_DURABLE, &why),
                     STATUS_INTERNAL);
    open_first(&self, place->file);
    assert_int_equal(number_of(&self, "SELECT count(*) FROM sqlite_schema WHERE name = 'other'"), 0);
    store_close(&self);
}

static void test_a_newer_file_is_refused(void **state) {
    const directory *place = *state;
    store self;
    failure why = {0};
    assert_int_equal(store_open(&self, place->file, 3, SCHEMA_TWO, migrations, STORE_DURABLE, &why),
                     STATUS_OK);
    store_close(&self);
    assert_int_equal(store_open(&self, place->file, 1, SCHEMA_ONE, NULL, STORE_DURABLE, &why),
                     STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "STORE_TOO_NEW");
}

static void test_foreign_and_broken_files_are_refused(void **state) {
    const directory *place = *state;
    sqlite3 *raw = NULL;
    assert_int_equal(sqlite3_open(place->file, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, "CREATE TABLE stranger (a)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
    store self;
    failure why = {0};
    assert_int_equal(store_open(&self, place->file, 1, SCHEMA_ONE, NULL, STORE_DURABLE, &why),
                     STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "STORE_FOREIGN");
    FILE *file = fopen(place->file, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is not a database", file);
    fclose(file);
    assert_int_equal(store_open(&self, place->file, 1, SCHEMA_ONE, NULL, STORE_DURABLE, &why),
                     STATUS_INTERNAL);
    assert_string_equal(why.reason, "STORE_CORRUPT");
    assert_int_equal(store_open_reader(&self, place->file, &why), STATUS_INTERNAL);
}

static void test_missing_places_are_told(void **state) {
    (void)state;
    store self;
    failure why = {0};
    assert_int_equal(store_open(&self, "/nonexistent/a.db", 1, SCHEMA_ONE, NULL, STORE_DURABLE, &why),
                     STATUS_NOT_FOUND);
    assert_int_equal(store_open_reader(&self, "/tmp/there-is-no-such-store.db", &why), STATUS_NOT_FOUND);
    assert_string_equal(why.reason, "NO_STORE");
    assert_int_equal(store_open(&self, "/proc/version", 1, SCHEMA_ONE, NULL, STORE_DURABLE, &why),
                     STATUS_INTERNAL);
}

static void test_a_reader_sees_and_cannot_write(void **state) {
    const directory *place = *state;
    store writer, reader;
    failure why = {0};
    open_first(&writer, place->file);
    assert_int_equal(store_open_reader(&reader, place->file, &why), STATUS_OK);
    assert_int_equal(insert_thing(&writer, "a", bytes_of(NULL, 0), &why), STATUS_OK);
    assert_int_equal(number_of(&reader, "SELECT count(*) FROM thing"), 1);
    assert_int_equal(store_begin(&reader, &why), STATUS_OK);
    assert_int_equal(number_of(&reader, "SELECT count(*) FROM thing"), 1);
    assert_int_equal(insert_thing(&writer, "b", bytes_of(NULL, 0), &why), STATUS_OK);
    assert_int_equal(number_of(&reader, "SELECT count(*) FROM thing"), 1);
    assert_int_equal(store_commit(&reader, &why), STATUS_OK);
    assert_int_equal(number_of(&reader, "SELECT count(*) FROM thing"), 2);
    assert_int_equal(store_execute(&reader, "DELETE FROM thing", &why), STATUS_INTERNAL);
    assert_string_equal(why.reason, "STORE_READ_ONLY");
    store_close(&reader);
    store_close(&writer);
}

static void test_a_constraint_is_told_and_rolled_back(void **state) {
    (void)state;
    store self;
    failure why = {0};
    open_first(&self, ":memory:");
    assert_int_equal(store_begin(&self, &why), STATUS_OK);
    assert_int_equal(insert_thing(&self, "a", bytes_of(NULL, 0), &why), STATUS_OK);
    assert_int_equal(insert_thing(&self, "a", bytes_of(NULL, 0), &why), STATUS_ALREADY_EXISTS);
    assert_string_equal(why.reason, "CONSTRAINT");
    store_rollback(&self);
    store_rollback(&self);
    assert_int_equal(number_of(&self, "SELECT count(*) FROM thing"), 0);
    store_close(&self);
}

static void test_a_wrong_bind_is_told(void **state) {
    (void)state;
    store self;
    failure why = {0};
    open_first(&self, ":memory:");
    store_statement statement;
    assert_int_equal(store_prepare(&self, &statement, "INSERT INTO thing (id) VALUES (?)", &why), STATUS_OK);
    store_bind_int(&statement, 2, 7);
    assert_int_equal(store_run(&statement, &why), STATUS_INTERNAL);
    assert_string_equal(why.reason, "BIND_FAILED");
    store_bind_int(&statement, 1, 7);
    assert_int_equal(store_run(&statement, &why), STATUS_OK);
    store_finalize(&statement);
    assert_int_equal(store_prepare(&self, &statement, "SELECT nothing FROM nowhere", &why), STATUS_INTERNAL);
    store_finalize(&statement);
    store_close(&self);
}

static void test_a_full_store_is_told_and_survives(void **state) {
    const directory *place = *state;
    store self;
    failure why = {0};
    static uint8_t body[100000];
    open_first(&self, place->file);
    assert_int_equal(store_execute(&self, "PRAGMA max_page_count = 10", &why), STATUS_OK);
    assert_int_equal(insert_thing(&self, "big", bytes_of(body, sizeof body), &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "DISK_FULL");
    assert_int_equal(insert_thing(&self, "small", bytes_of(body, 10), &why), STATUS_OK);
    assert_int_equal(number_of(&self, "SELECT count(*) FROM thing"), 1);
    store_close(&self);
}

/* In a child, because a file size limit holds for the whole process. Returns 0 when the disk was seen as
 * full, nothing of the transaction was kept, and the store worked again afterwards. */
static int fill_the_disk(const char *path, store_durability durability) {
    static uint8_t body[300000];
    store self;
    failure why = {0};
    if (store_open(&self, path, 1, SCHEMA_ONE, NULL, durability, &why) != STATUS_OK)
        return 1;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = 100000, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    if (store_begin(&self, &why) != STATUS_OK)
        return 3;
    status_code status = insert_thing(&self, "big", bytes_of(body, sizeof body), &why);
    if (status == STATUS_OK)
        status = store_commit(&self, &why);
    store_rollback(&self);
    if (status != STATUS_RESOURCE_EXHAUSTED || strcmp(why.reason, "DISK_FULL") != 0)
        return 4;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 5;
    if (insert_thing(&self, "after", bytes_of(body, 10), &why) != STATUS_OK)
        return 6;
    if (number_of(&self, "SELECT count(*) FROM thing") != 1)
        return 7;
    store_close(&self);
    return 0;
}

static void test_a_full_disk_is_told_and_survived(void **state) {
    const directory *place = *state;
    static const store_durability modes[] = {STORE_DURABLE, STORE_SHARED};
    for (size_t i = 0; i < 2; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(fill_the_disk(place->file, modes[i]));
        int outcome = 0;
        assert_int_equal(waitpid(child, &outcome, 0), child);
        assert_true(WIFEXITED(outcome));
        assert_int_equal(WEXITSTATUS(outcome), 0);
        unlink(place->file);
    }
}

static void test_a_busy_store_is_told(void **state) {
    const directory *place = *state;
    store first, second;
    failure why = {0};
    open_first(&first, place->file);
    open_first(&second, place->file);
    sqlite3_busy_timeout(second.database, 50);
    assert_int_equal(store_begin(&first, &why), STATUS_OK);
    assert_int_equal(store_begin(&second, &why), STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "STORE_BUSY");
    store_rollback(&first);
    assert_int_equal(store_begin(&second, &why), STATUS_OK);
    store_rollback(&second);
    store_close(&second);
    store_close(&first);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, directory_make, directory_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_come_back),
        IN_DIRECTORY(test_file_is_private_and_durable),
        IN_DIRECTORY(test_rebuildable_and_shared_modes),
        IN_DIRECTORY(test_migrations_keep_data),
        IN_DIRECTORY(test_a_broken_migration_changes_nothing),
        IN_DIRECTORY(test_a_newer_file_is_refused),
        IN_DIRECTORY(test_foreign_and_broken_files_are_refused),
        cmocka_unit_test(test_missing_places_are_told),
        IN_DIRECTORY(test_a_reader_sees_and_cannot_write),
        cmocka_unit_test(test_a_constraint_is_told_and_rolled_back),
        cmocka_unit_test(test_a_wrong_bind_is_told),
        IN_DIRECTORY(test_a_full_store_is_told_and_survives),
        IN_DIRECTORY(test_a_full_disk_is_told_and_survived),
        IN_DIRECTORY(test_a_busy_store_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
