/* Event loops: tasks from other threads, in order; timers, in the order in which they are due; bounds. */
#include "base/chance.h"
#include "rpc_test.h"

typedef struct recorder {
    rpc_loop *loop;
    counter done;
    unsigned order[64];
    size_t count;
    uint64_t at_ns;
} recorder;

typedef struct step {
    recorder *recorder;
    unsigned number;
} step;

/* Of either kind. */
static status_code (*start)(rpc_loop **out, failure *why) = rpc_loop_start;

static void record(void *context) {
    step *self = context;
    recorder *to = self->recorder;
    assert_ptr_equal(rpc_loop_current(), to->loop);
    to->order[to->count++] = self->number;
    to->at_ns = chance_boot_ns(chance_system());
    counter_add(&to->done, 1);
}

static void open_recorder(recorder *self) {
    failure why = {0};
    *self = (recorder){.done = COUNTER_INIT};
    must(start(&self->loop, &why), &why);
    assert_null(rpc_loop_current());
}

static void tasks_run_in_order(void **state) {
    (void)state;
    recorder to;
    open_recorder(&to);
    step steps[50];
    for (unsigned i = 0; i < 50; i++) {
        steps[i] = (step){&to, i};
        assert_int_equal(rpc_loop_post(to.loop, record, &steps[i]), STATUS_OK);
    }
    counter_wait(&to.done, 50);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(to.order[i], i);
    rpc_loop_stop(to.loop);
}

static void timers_run_when_due(void **state) {
    (void)state;
    static const uint32_t delays_ms[] = {60, 5, 30, 0, 45, 15};
    static const unsigned expected[] = {3, 1, 5, 2, 4, 0};
    recorder to;
    open_recorder(&to);
    step steps[6];
    uint64_t start_ns = chance_boot_ns(chance_system());
    for (unsigned i = 0; i < 6; i++) {
        steps[i] = (step){&to, i};
        assert_int_equal(rpc_loop_after(to.loop, delays_ms[i], record, &steps[i]), STATUS_OK);
    }
    counter_wait(&to.done, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(to.order[i], expected[i]);
    assert_true(to.at_ns - start_ns >= 60U * 1000000U);
    rpc_loop_stop(to.loop);
}

/* More than fit where they wait go another way, and run all the same. */
static void count_one(void *context) {
    counter_add(&((recorder *)context)->done, 1);
}

static void put_off(void *context) {
    step *steps = context;
    rpc_loop *loop = steps[0].recorder->loop;
    for (unsigned i = 1; i < 200; i++)
        assert_int_equal(
            rpc_loop_later(loop, i < 61 ? record : count_one, i < 61 ? (void *)&steps[i] : steps[0].recorder),
            STATUS_OK);
    assert_int_equal(rpc_loop_post(loop, record, &steps[0]), STATUS_OK);
}

static void what_is_put_off_runs_after_what_waits(void **state) {
    (void)state;
    recorder to;
    open_recorder(&to);
    step steps[61];
    for (unsigned i = 0; i < 61; i++)
        steps[i] = (step){&to, i};
    assert_int_equal(rpc_loop_later(to.loop, record, &steps[0]), STATUS_UNAVAILABLE); /* not on the loop */
    assert_int_equal(rpc_loop_post(to.loop, put_off, steps), STATUS_OK);
    counter_wait(&to.done, 200);
    for (unsigned i = 0; i < 61; i++)
        assert_int_equal(to.order[i], i);
    rpc_loop_stop(to.loop);
}

static void undue_timers_are_dropped(void **state) {
    (void)state;
    recorder to;
    open_recorder(&to);
    step never = {&to, 1};
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(rpc_loop_after(to.loop, 3600000, record, &never), STATUS_OK);
    rpc_loop_stop(to.loop);
    assert_int_equal(counter_value(&to.done), 0);
}

/* The first task blocks the loop, so that the mailbox fills up. */
static void block(void *context) {
    pthread_mutex_lock(context);
    pthread_mutex_unlock(context);
}

static void count_up(void *context) {
    counter_add(context, 1);
}

static void the_mailbox_is_bounded(void **state) {
    (void)state;
    recorder to;
    open_recorder(&to);
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&gate);
    assert_int_equal(rpc_loop_post(to.loop, block, &gate), STATUS_OK);
    unsigned taken = 0;
    while (rpc_loop_post(to.loop, count_up, &to.done) == STATUS_OK)
        taken++;
    assert_true(taken >= 65535 && taken <= 65536);
    assert_int_equal(rpc_loop_post(to.loop, count_up, &to.done), STATUS_RESOURCE_EXHAUSTED);
    pthread_mutex_unlock(&gate);
    counter_wait(&to.done, taken);
    assert_int_equal(rpc_loop_post(to.loop, count_up, &to.done), STATUS_OK);
    rpc_loop_stop(to.loop);
    assert_int_equal(counter_value(&to.done),
                     taken + 1); /* what was taken is run, also by a loop that stops */
}

typedef struct chain {
    rpc_loop *loop;
    counter done;
    unsigned left;
} chain;

static void chain_step(void *context) {
    chain *self = context;
    if (self->left-- == 0)
        counter_add(&self->done, 1);
    else if (self->left % 2 == 0)
        assert_int_equal(rpc_loop_post(self->loop, chain_step, self), STATUS_OK);
    else
        assert_int_equal(rpc_loop_after(self->loop, 0, chain_step, self), STATUS_OK);
}

static void tasks_start_tasks(void **state) {
    (void)state;
    chain self = {.done = COUNTER_INIT, .left = 1000};
    failure why = {0};
    must(start(&self.loop, &why), &why);
    assert_int_equal(rpc_loop_post(self.loop, chain_step, &self), STATUS_OK);
    counter_wait(&self.done, 1);
    rpc_loop_stop(self.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_order),       cmocka_unit_test(timers_run_when_due),
        cmocka_unit_test(undue_timers_are_dropped), cmocka_unit_test(the_mailbox_is_bounded),
        cmocka_unit_test(tasks_start_tasks),        cmocka_unit_test(what_is_put_off_runs_after_what_waits),
    };
    int failed = cmocka_run_group_tests_name("a loop", tests, NULL, NULL);
    start = rpc_loop_start_aside;
    return failed + cmocka_run_group_tests_name("a loop aside", tests, NULL, NULL);
}
