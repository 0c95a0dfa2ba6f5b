/* What only the embedded twin can get wrong: its file. Crashes, a full disk, a reboot, a history that grows.
 */
#include "base/arena.h"
#include "coord/coord.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "http/client.h"
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backends.inc.c"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TIMEOUT_MS 10000U
#define PATIENCE_MS 15000U

static status_code put_pair(coord *handle, const char *value, failure *why) {
    bool succeeded = false;
    coord_op ops[2] = {{.kind = COORD_PUT, .key = "left", .value = bytes_of_text(value)},
                       {.kind = COORD_PUT, .key = "right", .value = bytes_of_text(value)}};
    return coord_txn_wait(handle, NULL, 0, ops, 2, TIMEOUT_MS, &succeeded, NULL, why);
}

static status_code put_value(coord *handle, const char *key, bytes value, int64_t lease, failure *why) {
    bool succeeded = false;
    coord_op op = {.kind = COORD_PUT, .key = key, .value = value, .lease = lease};
    return coord_txn_wait(handle, NULL, 0, &op, 1, TIMEOUT_MS, &succeeded, NULL, why);
}

/* Whether the key is there; its version when it is. */
static int64_t version_of(coord *handle, const char *key) {
    arena memory;
    coord_result result;
    failure why = {0};
    arena_init(&memory, 1024, 4U << 20);
    if (coord_get_wait(handle, key, false, TIMEOUT_MS, &memory, &result, &why) != STATUS_OK)
        fail_msg("%s: %s", why.reason, why.message);
    int64_t version = result.count == 0 ? 0 : result.kvs[0].version;
    arena_free(&memory);
    return version;
}

static int start(void **state) {
    backend *self = calloc(1, sizeof *self);
    assert_non_null(self);
    backend_start_embedded(self);
    *state = self;
    return 0;
}

static int stop(void **state) {
    backend_stop(*state);
    free(*state);
    return 0;
}

/* ---- Crashes ----------------------------------------------------------------------------------- */

static void write_for_ever(backend *where) {
    coord *handle = backend_open(where, false);
    failure why = {0};
    char value[32];
    for (unsigned i = 0;; i++) {
        snprintf(value, sizeof value, "%u", i);
        if (put_pair(handle, value, &why) != STATUS_OK)
            _exit(1);
    }
}

static void check_pair(backend *where) {
    coord *handle = backend_open(where, false);
    arena memory;
    coord_result result;
    failure why = {0};
    arena_init(&memory, 1024, 1U << 20);
    assert_int_equal(coord_get_wait(handle, "", true, TIMEOUT_MS, &memory, &result, &why), STATUS_OK);
    assert_int_equal(result.count, 2);
    assert_true(bytes_equal(result.kvs[0].value, result.kvs[1].value));
    assert_int_equal(result.kvs[0].mod_revision, result.kvs[1].mod_revision);
    assert_int_equal(result.kvs[0].version, result.kvs[1].version);
    assert_int_equal(result.revision, result.kvs[0].mod_revision);
    assert_int_equal(put_pair(handle, "after", &why), STATUS_OK);
    arena_free(&memory);
    coord_close(handle);
}

static void test_a_killed_writer_leaves_whole_transactions(void **state) {
    backend *where = *state;
    failure why = {0};
    coord *handle = backend_open(where, true);
    assert_int_equal(put_pair(handle, "start", &why), STATUS_OK);
    coord_close(handle);
    for (useconds_t i = 0; i < 12; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            write_for_ever(where);
        usleep(20000 + i * 7000);
        kill(child, SIGKILL);
        int outcome = 0;
        assert_int_equal(waitpid(child, &outcome, 0), child);
        assert_true(WIFSIGNALED(outcome));
        check_pair(where);
    }
}

/* ---- A full disk ------------------------------------------------------------------------------- */

static int fill_the_disk(backend *where) {
    static uint8_t value[COORD_VALUE_BYTES];
    failure why = {0};
    coord *handle = backend_open(where, true);
    signal(SIGXFSZ, SIG_IGN);
    if (put_pair(handle, "before", &why) != STATUS_OK)
        return 1;
    struct rlimit limit = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 2;
    if (put_value(handle, "left", bytes_of(value, sizeof value), 0, &why) != STATUS_RESOURCE_EXHAUSTED)
        return 3;
    if (strcmp(why.reason, "DISK_FULL") != 0 || version_of(handle, "left") != 1)
        return 4;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 5;
    if (put_value(handle, "left", bytes_of(value, sizeof value), 0, &why) != STATUS_OK)
        return 6;
    int64_t version = version_of(handle, "left");
    coord_close(handle);
    return version == 2 ? 0 : 7;
}

static void test_a_full_disk_is_told_and_survived(void **state) {
    backend *where = *state;
    pid_t child = fork(); /* the limit holds for a whole process */
    assert_true(child >= 0);
    if (child == 0)
        _exit(fill_the_disk(where));
    int outcome = 0;
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_true(WIFEXITED(outcome));
    assert_int_equal(WEXITSTATUS(outcome), 0);
}

/* ---- The file ---------------------------------------------------------------------------------- */

static void run_sql(const backend *where, const char *sql) {
    sqlite3 *database = NULL;
    assert_int_equal(sqlite3_open(where->file, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

static void test_leases_of_another_boot_are_over(void **state) {
    backend *where = *state;
    failure why = {0};
    int64_t lease = 0;
    coord *handle = backend_open(where, true);
    assert_int_equal(coord_lease_grant_wait(handle, 600000, TIMEOUT_MS, &lease, &why), STATUS_OK);
    assert_int_equal(put_value(handle, "member", bytes_of_text("x"), lease, &why), STATUS_OK);
    coord_close(handle);
    run_sql(where, "UPDATE lease SET boot = '00000000-0000-0000-0000-000000000000'");
    handle = backend_open(where, false);
    assert_int_equal(version_of(handle, "member"), 0);
    assert_int_equal(put_value(handle, "again", bytes_of_text("x"), lease, &why), STATUS_NOT_FOUND);
    coord_close(handle);
}

static void test_the_file_is_private_and_of_this_version(void **state) {
    backend *where = *state;
    struct stat info;
    failure why = {0};
    coord *handle = backend_open(where, true);
    coord_close(handle);
    assert_int_equal(stat(where->file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    run_sql(where, "PRAGMA user_version = 99");
    coord_options options = {.embedded_path = where->file};
    assert_int_equal(coord_open(&handle, &options, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "STORE_TOO_NEW");
}

static void test_options_are_checked(void **state) {
    const backend *where = *state;
    static char prefix[200];
    failure why = {0};
    coord *handle = NULL;
    coord_options options = {0};
    assert_int_equal(coord_open(&handle, &options, &why), STATUS_INVALID_ARGUMENT);
    options = (coord_options){.embedded_path = where->file, .endpoints = "http://127.0.0.1:1"};
    assert_int_equal(coord_open(&handle, &options, &why), STATUS_INVALID_ARGUMENT);
    memset(prefix, 'p', sizeof prefix - 1);
    options = (coord_options){.embedded_path = where->file, .prefix = prefix};
    assert_int_equal(coord_open(&handle, &options, &why), STATUS_INVALID_ARGUMENT);
    options = (coord_options){.embedded_path = "/nonexistent/coord.db"};
    assert_int_equal(coord_open(&handle, &options, &why), STATUS_NOT_FOUND);
    assert_null(handle);
    coord_close(NULL);
}

/* ---- History ----------------------------------------------------------------------------------- */

static void note_compacted(void *context, const coord_event *events, size_t count, int64_t revision,
                           bool compacted) {
    (void)events;
    (void)count;
    (void)revision;
    if (compacted)
        atomic_store((atomic_bool *)context, true);
}

/* 70 MiB of values go through the history, which keeps 64. */
static void test_the_history_is_bounded(void **state) {
    enum { PUTS = 70 };
    static uint8_t value[COORD_VALUE_BYTES];
    backend *where = *state;
    failure why = {0};
    atomic_bool compacted = false;
    coord_watch *watch = NULL;
    struct stat info;
    coord *handle = backend_open(where, true);
    for (int i = 0; i < PUTS; i++)
        assert_int_equal(put_value(handle, "k", bytes_of(value, sizeof value), 0, &why), STATUS_OK);
    assert_int_equal(coord_watch_start(handle, "", 1, note_compacted, &compacted, &watch, &why), STATUS_OK);
    uint64_t end = chance_boot_ms(chance_system()) + PATIENCE_MS;
    while (!atomic_load(&compacted) && chance_boot_ms(chance_system()) < end)
        usleep(5000);
    coord_watch_stop(handle, watch);
    coord_close(handle);
    assert_true(atomic_load(&compacted));
    assert_int_equal(stat(where->file, &info), 0);
    assert_true(info.st_size < 80 * 1024 * 1024);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_a_killed_writer_leaves_whole_transactions),
        IN_DIRECTORY(test_a_full_disk_is_told_and_survived),
        IN_DIRECTORY(test_leases_of_another_boot_are_over),
        IN_DIRECTORY(test_the_file_is_private_and_of_this_version),
        IN_DIRECTORY(test_options_are_checked),
        IN_DIRECTORY(test_the_history_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
