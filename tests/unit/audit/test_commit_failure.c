/* A disk that fails while the log commits: nobody is answered, the process ends, and the next start finds a
 * log that is whole. SQLite's own file system is wrapped so that an fsync or a write can be made to fail. */
#include "audit_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "verify.h"
#include "writer.h"

static sqlite3_vfs *real, failing;
/* One for each kind of file; what they are made from, to call the real ones. */
static struct wrapped {
    const sqlite3_io_methods *from;
    sqlite3_io_methods methods;
} wrapped[4];
static int (*real_sync)(sqlite3_file *file, int flags);
static int (*real_write)(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset);
static atomic_int syncs_until_failure = -1, writes_until_failure = -1; /* -1: never */

static bool counts_down(atomic_int *counter) {
    return atomic_load(counter) >= 0 && atomic_fetch_sub(counter, 1) == 0;
}

static int sync_or_fail(sqlite3_file *file, int flags) {
    return counts_down(&syncs_until_failure) ? SQLITE_IOERR_FSYNC : real_sync(file, flags);
}

static int write_or_fail(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
    errno = EIO;
    return counts_down(&writes_until_failure) ? SQLITE_IOERR_WRITE : real_write(file, data, size, offset);
}

static int open_wrapped(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out) {
    (void)self;
    int code = real->xOpen(real, name, file, flags, out);
    if (file->pMethods == NULL)
        return code;
    struct wrapped *kind = wrapped;
    while (kind->from != NULL && kind->from != file->pMethods)
        kind++;
    assert_true(kind < wrapped + 4);
    if (kind->from == NULL) {
        *kind = (struct wrapped){.from = file->pMethods, .methods = *file->pMethods};
        real_sync = kind->methods.xSync; /* the same for all kinds */
        real_write = kind->methods.xWrite;
        kind->methods.xSync = sync_or_fail;
        kind->methods.xWrite = write_or_fail;
    }
    file->pMethods = &kind->methods;
    return code;
}

static int wrap_files(void **state) {
    (void)state;
    real = sqlite3_vfs_find(NULL);
    failing = *real;
    failing.zName = "failing";
    failing.xOpen = open_wrapped;
    return sqlite3_vfs_register(&failing, 1) == SQLITE_OK ? 0 : -1;
}

static void assert_whole(fixture *self) {
    failure why = {0};
    audit_store reader;
    Interlock__Audit__V1__VerifyResponse found = INTERLOCK__AUDIT__V1__VERIFY_RESPONSE__INIT;
    verify_options options = {.roots = &self->roots, .published = audit_log_published(self->log)};
    assert_int_equal(audit_store_open_reader(&reader, audit_log_database(self->log), &why), STATUS_OK);
    assert_int_equal(log_verify(&reader, &options, &self->memory, &found, &why), STATUS_OK);
    if (!found.ok)
        fail_msg("does not verify: %s", found.problems[0]);
    audit_store_close(&reader);
}

/* The first syncs of a new write-ahead log and that of each COMMIT, one by one. */
static void a_sync_that_fails_is_never_answered(void **state) {
    (void)state;
    unsigned lost = 0;
    for (int after = 0; after < 4; after++) {
        fixture *self = fixture_new((uint64_t)after + 1);
        fixture_open(self);
        failure why = {0};
        append_result result;
        append *item = prepare(request_new(self, KIND(DECISION), "a", 0, "DENY", "one"));
        atomic_store(&syncs_until_failure, after);
        status_code status = audit_log_append(self->log, &item, 1, &result, &why);
        lost += status == STATUS_DATA_LOSS;
        assert_true(status == STATUS_DATA_LOSS ||
                    (status == STATUS_OK && atomic_load(&syncs_until_failure) >= 0));
        atomic_store(&syncs_until_failure, -1);
        append_free(item);
        fixture_reopen(self);
        assert_whole(self);
        append_result again = append_decision(self, "a", 0, "one");
        assert_true(again.outcome == APPEND_ADDED || again.outcome == APPEND_REPEATED);
        assert_receipt(self, answer(self, &again)->receipt, NULL);
        fixture_free(self);
    }
    assert_true(lost > 0);
}

static void a_write_that_fails_leaves_the_log_whole(void **state) {
    (void)state;
    unsigned stopped = 0;
    for (int after = 0; after < 20; after++) {
        fixture *self = fixture_new((uint64_t)after + 1);
        fixture_open(self);
        append_result before = append_decision(self, "before", 0, "before");
        failure why = {0};
        append_result result;
        append *item = prepare(request_new(self, KIND(DECISION), "a", 0, "DENY", "one"));
        atomic_store(&writes_until_failure, after);
        status_code status = audit_log_append(self->log, &item, 1, &result, &why);
        atomic_store(&writes_until_failure, -1);
        append_free(item);
        stopped += status != STATUS_OK;
        assert_true(status == STATUS_OK || status == STATUS_DATA_LOSS || status == STATUS_UNAVAILABLE);
        if (status == STATUS_DATA_LOSS)
            fixture_reopen(self);
        assert_whole(self);
        append_result known = append_decision(self, "before", 0, "before");
        assert_int_equal(known.outcome, APPEND_REPEATED);
        assert_int_equal(known.index, before.index);
        append_result again = append_decision(self, "a", 0, "one");
        assert_true(again.outcome == APPEND_ADDED || again.outcome == APPEND_REPEATED);
        assert_whole(self);
        fixture_free(self);
    }
    assert_true(stopped > 0);
}

static void job_done(append_job *base, status_code code, Interlock__Audit__V1__AppendResponse *response,
                     const failure *why) {
    (void)base;
    (void)code;
    (void)response;
    (void)why;
    _exit(99); /* an answer, though nobody knows whether it is durable */
}

static void no_group_end(void *context) {
    (void)context;
}

static void run_writer(fixture *self) {
    failure why = {0};
    log_head head;
    writer *appends = NULL;
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO); /* it says why it ends */
    fixture_open(self);
    head_init(&head, audit_log_size(self->log), audit_log_note(self->log));
    writer_options options = {
        .log = self->log, .head = &head, .source = chance_system(), .group_end = no_group_end};
    if (writer_start(&appends, &options, &why) != STATUS_OK)
        _exit(98);
    append_job job = {.item = prepare(request_new(self, KIND(DECISION), "a", 0, "DENY", "one")),
                      .done = job_done};
    append_job *jobs[] = {&job};
    atomic_store(&syncs_until_failure, 0);
    if (writer_push(appends, jobs, 1, &why) != STATUS_OK)
        _exit(97);
    writer_stop(appends);
    _exit(96); /* it went on */
}

static void the_process_ends_without_an_answer(void **state) {
    (void)state;
    fixture *self = fixture_new(1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        run_writer(self);
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_false(WIFEXITED(result) && (WEXITSTATUS(result) == 0 || WEXITSTATUS(result) >= 96));
    fixture_open(self);
    assert_whole(self);
    fixture_free(self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sync_that_fails_is_never_answered),
        cmocka_unit_test(a_write_that_fails_leaves_the_log_whole),
        cmocka_unit_test(the_process_ends_without_an_answer),
    };
    return cmocka_run_group_tests(tests, wrap_files, NULL);
}
