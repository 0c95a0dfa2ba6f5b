/* The worker thread: order, bound, tick, and that nothing taken is forgotten when it stops. */
#include "worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "wrong.h"

typedef struct book {
    atomic_uint count, stopping, ticks;
    pthread_mutex_t gate;
} book;

static void note(void *context, bool stopping) {
    book *self = context;
    atomic_fetch_add(stopping ? &self->stopping : &self->count, 1);
}

static void wait_at_gate(void *context, bool stopping) {
    book *self = context;
    (void)stopping;
    pthread_mutex_lock(&self->gate);
    pthread_mutex_unlock(&self->gate);
}

static void tick(void *context) {
    atomic_fetch_add(&((book *)context)->ticks, 1);
}

static void test_bound_and_stop(void **state) {
    (void)state;
    book self = {.gate = PTHREAD_MUTEX_INITIALIZER};
    worker *thread = NULL;
    failure why = {0};
    assert_int_equal(worker_start(&thread, NULL, &self, &why), STATUS_OK);
    pthread_mutex_lock(&self.gate);
    assert_int_equal(worker_submit(thread, wait_at_gate, &self, &why), STATUS_OK);
    unsigned taken = 0;
    while (worker_submit(thread, note, &self, &why) == STATUS_OK)
        assert_true(++taken < 10000);
    assert_string_equal(why.reason, "QUEUE_FULL");
    assert_true(why.retry_after_ms > 0);
    pthread_mutex_unlock(&self.gate);
    worker_stop(thread);
    assert_int_equal(atomic_load(&self.count) + atomic_load(&self.stopping), taken);
    worker_stop(NULL);
}

static void test_wake_ticks(void **state) {
    (void)state;
    book self = {.gate = PTHREAD_MUTEX_INITIALIZER};
    worker *thread = NULL;
    failure why = {0};
    assert_int_equal(worker_start(&thread, tick, &self, &why), STATUS_OK);
    worker_wake(thread);
    for (int i = 0; i < 1000 && atomic_load(&self.ticks) == 0; i++)
        usleep(10000);
    assert_true(atomic_load(&self.ticks) > 0);
    worker_stop(thread);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bound_and_stop),
                                       cmocka_unit_test(test_wake_ticks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
