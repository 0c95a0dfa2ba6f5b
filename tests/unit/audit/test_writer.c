/* The writer's thread, and those that wait for it: many push at once, everything is answered once, nothing is
 * answered before it is durable, and a full queue says so. */
#include "audit_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "publisher.h"
#include "reader.h"
#include "writer.h"

#define THREADS 4U
#define EACH 300U

typedef struct bench_state {
    fixture *files;
    log_head head;
    writer *appends;
    publisher *checkpoints;
    recent *newest;
    atomic_uint added, failed, groups;
    atomic_uint answers[THREADS * EACH];
    const char *database;
} bench_state;

typedef struct test_job {
    append_job base;
    bench_state *state;
    unsigned number;
} test_job;

static void group_end(void *context) {
    bench_state *self = context;
    atomic_fetch_add(&self->groups, 1);
}

static void job_done(append_job *base, status_code code, Interlock__Audit__V1__AppendResponse *response,
                     const failure *why) {
    test_job *job = (test_job *)base;
    (void)why;
    if (code == STATUS_OK && response->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT) {
        atomic_fetch_add(&job->state->added, 1);
        atomic_fetch_add(&job->state->answers[job->number], 1);
        assert_true(head_get(&job->state->head, NULL) > response->receipt->index);
    } else {
        atomic_fetch_add(&job->state->failed, 1);
    }
    append_free(base->item);
    free(job);
}

static append_job *job_new(bench_state *self, fixture *names, unsigned number) {
    char id[32];
    test_job *job = calloc(1, sizeof *job);
    assert_non_null(job);
    snprintf(id, sizeof id, "job-%u", number);
    *job = (test_job){
        .base = {.item = prepare(request_new(names, KIND(DECISION), id, 0, "DENY", id)), .done = job_done},
        .state = self,
        .number = number};
    return &job->base;
}

static int setup(void **state) {
    failure why = {0};
    bench_state *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->files = fixture_new(9);
    self->files->options.source = chance_system();
    fixture_open(self->files);
    self->database = audit_log_database(self->files->log);
    assert_int_equal(recent_new(&self->newest, &why), STATUS_OK);
    head_init(&self->head, audit_log_size(self->files->log), audit_log_note(self->files->log));
    assert_int_equal(
        publisher_start(&self->checkpoints, audit_log_published(self->files->log), &self->head, &why),
        STATUS_OK);
    writer_options options = {.log = self->files->log,
                              .head = &self->head,
                              .newest = self->newest,
                              .source = chance_system(),
                              .group_end = group_end,
                              .context = self};
    assert_int_equal(writer_start(&self->appends, &options, &why), STATUS_OK);
    *state = self;
    return 0;
}

static int teardown(void **state) {
    bench_state *self = *state;
    writer_free(self->appends);
    publisher_free(self->checkpoints);
    recent_free(self->newest);
    head_free(&self->head);
    fixture_free(self->files);
    free(self);
    return 0;
}

typedef struct pusher {
    bench_state *state;
    unsigned first;
    pthread_t thread;
} pusher;

static void *push_some(void *context) {
    pusher *self = context;
    fixture names = {0}; /* only its arena */
    arena_init(&names.memory, 1U << 16, 64U << 20);
    for (unsigned i = 0; i < EACH; i++) {
        failure why = {0};
        append_job *job = job_new(self->state, &names, self->first + i);
        assert_int_equal(writer_push(self->state->appends, &job, 1, &why), STATUS_OK);
        arena_reset(&names.memory);
    }
    arena_free(&names.memory);
    return NULL;
}

static void everything_is_answered_once(void **state) {
    bench_state *self = *state;
    pusher pushers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        pushers[i] = (pusher){.state = self, .first = i * EACH};
        assert_int_equal(pthread_create(&pushers[i].thread, NULL, push_some, &pushers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(pushers[i].thread, NULL);
    writer_stop(self->appends); /* answers what is queued */
    assert_int_equal(atomic_load(&self->added), THREADS * EACH);
    assert_int_equal(atomic_load(&self->failed), 0);
    for (unsigned i = 0; i < THREADS * EACH; i++)
        assert_int_equal(atomic_load(&self->answers[i]), 1);
    assert_true(atomic_load(&self->groups) < THREADS * EACH); /* some went together */
    assert_int_equal(head_get(&self->head, NULL), THREADS * EACH + 1);
    recent_entry *last = NULL;
    assert_int_equal(recent_take(self->newest, THREADS * EACH, &last, 1, 0), 1);
    recent_entry_release(last);
    buffer text;
    buffer_init(&text, 1U << 16);
    writer_write_metrics(self->appends, &text);
    assert_non_null(strstr(text.data, "interlock_audit_appends_total{result=\"added\"} 1200\n"));
    assert_non_null(strstr(text.data, "interlock_audit_tree_size 1201\n"));
    buffer_free(&text);
}

static void a_full_queue_takes_nothing(void **state) {
    bench_state *self = *state;
    failure why = {0};
    static append_job *jobs[WRITER_QUEUE_MAX + 1];
    for (unsigned i = 0; i <= WRITER_QUEUE_MAX; i++)
        jobs[i] = job_new(self, self->files, i % (THREADS * EACH));
    assert_int_equal(writer_push(self->appends, jobs, WRITER_QUEUE_MAX + 1, &why), STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "QUEUE_FULL");
    assert_true(why.retry_after_ms > 0);
    assert_int_equal(writer_push(self->appends, jobs, WRITER_QUEUE_MAX, &why), STATUS_OK);
    writer_stop(self->appends);
    assert_int_equal(atomic_load(&self->added),
                     WRITER_QUEUE_MAX); /* the repeated ones get their receipt again */
    assert_int_equal(writer_push(self->appends, &jobs[WRITER_QUEUE_MAX], 1, &why), STATUS_RESOURCE_EXHAUSTED);
    append_free(jobs[WRITER_QUEUE_MAX]->item);
    free(jobs[WRITER_QUEUE_MAX]);
}

static void the_last_checkpoint_is_published(void **state) {
    bench_state *self = *state;
    failure why = {0};
    append_job *job = job_new(self, self->files, 0);
    assert_int_equal(writer_push(self->appends, &job, 1, &why), STATUS_OK);
    writer_stop(self->appends);
    publisher_stop(self->checkpoints);
    assert_int_equal(publisher_size(self->checkpoints), 2);
    char note[NOTE_MAX_BYTES] = "";
    FILE *file = fopen(audit_log_published(self->files->log), "r");
    assert_non_null(file);
    size_t size = fread(note, 1, sizeof note - 1, file);
    fclose(file);
    assert_true(size > 0);
    assert_string_equal(note, audit_log_note(self->files->log));
}

typedef struct test_read {
    read_job base;
    atomic_uint *run, *stopped;
} test_read;

static void count_read(read_job *base, audit_store *from) {
    test_read *job = (test_read *)base;
    uint64_t size = 0;
    failure why;
    if (from == NULL) {
        atomic_fetch_add(job->stopped, 1);
    } else {
        assert_int_equal(audit_store_size(from, &size, &why), STATUS_OK);
        atomic_fetch_add(job->run, size == 1);
    }
    free(job);
}

static void a_reader_runs_or_returns_every_job(void **state) {
    bench_state *self = *state;
    failure why = {0};
    reader *reads = NULL;
    atomic_uint run = 0, stopped = 0;
    unsigned taken = 0;
    assert_int_equal(reader_start(&reads, self->database, 8, &why), STATUS_OK);
    for (unsigned i = 0; i < 500; i++) {
        test_read *job = malloc(sizeof *job);
        assert_non_null(job);
        *job = (test_read){.base = {.run = count_read}, .run = &run, .stopped = &stopped};
        if (reader_push(reads, &job->base, &why) == STATUS_OK) {
            taken++;
        } else {
            assert_string_equal(why.reason, "QUEUE_FULL");
            free(job);
        }
    }
    reader_stop(reads);
    assert_true(taken >= 8);
    assert_int_equal(atomic_load(&run) + atomic_load(&stopped), taken);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(everything_is_answered_once),
        TEST(a_full_queue_takes_nothing),
        TEST(the_last_checkpoint_is_published),
        TEST(a_reader_runs_or_returns_every_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
