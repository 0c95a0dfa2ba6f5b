/* The ingest thread without a network: several senders at once, a full disk, and the end. */
#include "ingest.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "otlp.h"
#include "world.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SENDERS 4U
#define REQUESTS 200U
#define SPANS 5U
#define WAIT_MS 20000U

static char directory[64];
static char path[96];

static int directory_make(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/graph-ingest-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/graph.db", directory);
    return 0;
}

static int directory_remove(void **state) {
    (void)state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return rmdir(directory);
}

static ingest *started(void) {
    failure why = {0};
    ingest *self = NULL;
    if (ingest_open(&self, path, chance_system(), &why) != STATUS_OK || ingest_start(self, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return self;
}

typedef struct answer {
    atomic_uint count;
    status_code code;
} answer;

static void answered(void *context, status_code code, const failure *why) {
    answer *self = context;
    (void)why;
    self->code = code;
    atomic_fetch_add(&self->count, 1);
}

static status_code submit(ingest *to, const trace_export *message, answer *reply, failure *why) {
    const ingest_request request = {
        .kind = INGEST_TRACES, .message = &message->base, .done = answered, .context = reply};
    return ingest_submit(to, &request, why);
}

static void wait_for(answer *self, unsigned count) {
    const struct timespec pause = {.tv_nsec = 1000000};
    for (unsigned waited_ms = 0; waited_ms < WAIT_MS && atomic_load(&self->count) < count; waited_ms++)
        nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&self->count), count);
}

/* A trace of one entry request that calls `SPANS - 1` others. */
static trace_export *trace_of(arena *memory, uint64_t trace, const char *service) {
    otlp_attribute resource[] = {{"service.name", service}, {NULL, NULL}};
    otlp_case spans[SPANS];
    for (uint64_t i = 0; i < SPANS; i++)
        spans[i] = (otlp_case){
            trace, i + 1, i == 0 ? 0 : 1, 2, "ot=th:0", chance_wall_ms(chance_system()) - 3600000, NULL};
    return otlp_make_export(memory, resource, spans, SPANS);
}

typedef struct sender {
    ingest *to;
    unsigned number;
    arena memory;
    answer answer;
} sender;

/* Sends as fast as the queue takes it, then waits; the main thread reads snapshots meanwhile. */
static void *send_all(void *context) {
    sender *self = context;
    char service[16];
    snprintf(service, sizeof service, "s%u", self->number);
    for (unsigned i = 0; i < REQUESTS; i++) {
        const trace_export *request = trace_of(&self->memory, 1 + self->number * REQUESTS + i, service);
        failure why = {0};
        while (submit(self->to, request, &self->answer, &why) != STATUS_OK)
            sched_yield();
    }
    return NULL;
}

static void test_several_senders(void **state) {
    (void)state;
    ingest *self = started();
    sender *senders = calloc(SENDERS, sizeof *senders);
    pthread_t threads[SENDERS];
    assert_non_null(senders);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (sender){.to = self, .number = i};
        arena_init(&senders[i].memory, 65536, 256 << 20);
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    uint64_t revision = 0;
    for (unsigned i = 0; i < 500; i++) {
        snapshot *graph = ingest_snapshot(self);
        assert_true(graph->revision >= revision);
        revision = graph->revision;
        /* A snapshot is whole: its entries are those of the traces in it. */
        assert_true(graph->entry_requests * SPANS == (double)graph->totals.spans);
        snapshot_release(graph);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        wait_for(&senders[i].answer, REQUESTS);
        assert_int_equal(senders[i].answer.code, STATUS_OK);
        arena_free(&senders[i].memory);
    }
    snapshot *graph = ingest_snapshot(self);
    assert_int_equal(graph->totals.spans, SENDERS * REQUESTS * SPANS);
    assert_int_equal(graph->node_count, SENDERS);
    snapshot_release(graph);
    free(senders);
    ingest_close(self);
}

static void files_limit(rlim_t size) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Without room nothing is acknowledged; with room again what was sent twice counts once, and it is durable.
 */
static void test_full_disk(void **state) {
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    arena memory;
    answer reply = {0};
    arena_init(&memory, 65536, 64 << 20);
    ingest *self = started();
    trace_export *request = trace_of(&memory, 1, "cart");
    files_limit(4096);
    assert_int_equal(submit(self, request, &reply, NULL), STATUS_OK);
    wait_for(&reply, 1);
    assert_int_equal(reply.code, STATUS_RESOURCE_EXHAUSTED);
    assert_false(ingest_healthy(self));
    assert_int_equal(submit(self, trace_of(&memory, 2, "cart"), &reply, NULL), STATUS_OK);
    wait_for(&reply, 2);
    assert_int_equal(reply.code, STATUS_RESOURCE_EXHAUSTED);
    snapshot *graph = ingest_snapshot(self);
    assert_int_equal(graph->revision, 0);
    snapshot_release(graph);
    files_limit(RLIM_INFINITY);
    assert_int_equal(submit(self, request, &reply, NULL), STATUS_OK);
    wait_for(&reply, 3);
    assert_int_equal(reply.code, STATUS_OK);
    assert_true(ingest_healthy(self));
    ingest_close(self);
    self = started();
    graph = ingest_snapshot(self);
    assert_true(graph->entry_requests == 1 && graph->totals.spans == SPANS);
    snapshot_release(graph);
    ingest_close(self);
    arena_free(&memory);
}

static void test_end(void **state) {
    (void)state;
    arena memory;
    answer reply = {0};
    arena_init(&memory, 65536, 64 << 20);
    ingest *self = started();
    for (uint64_t trace = 1; trace <= 50; trace++)
        assert_int_equal(submit(self, trace_of(&memory, trace, "cart"), &reply, NULL), STATUS_OK);
    ingest_stop(self);
    /* What was taken is answered before the end; what comes after it is not taken. */
    assert_int_equal(atomic_load(&reply.count), 50);
    failure why = {0};
    assert_int_equal(submit(self, trace_of(&memory, 99, "cart"), &reply, &why), STATUS_RESOURCE_EXHAUSTED);
    assert_true(why.retry_after_ms > 0);
    ingest_close(self);
    arena_free(&memory);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, directory_make, directory_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(test_several_senders),
        WITH_DIRECTORY(test_full_disk),
        WITH_DIRECTORY(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
