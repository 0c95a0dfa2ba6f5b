/* Event loops: the thread, the mailbox with its wake-up, timers, and warm arenas. */
#include "loop.h"

#include "library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/time.h>

/* A node of a leftist heap: the root is due first, and a merge goes down the short right sides only. */
struct loop_timer {
    rpc_mail arm;
    rpc_loop *loop;
    uint64_t due_ns;
    void (*task)(void *context);
    void *context;
    loop_timer *left, *right;
    unsigned rank;
};

typedef struct loop_task {
    rpc_mail mail;
    rpc_loop *loop;
    void (*task)(void *context);
    void *context;
} loop_task;

static _Thread_local rpc_loop *current;

rpc_loop *rpc_loop_current(void) {
    return current;
}

unsigned rpc_loop_index(const rpc_loop *self) {
    return self->index;
}

void batch_start(grpc_call *call, const grpc_op *operations, size_t count, rpc_event *tag) {
    grpc_call_error error = grpc_call_start_batch(call, operations, count, tag, NULL);
    if (error != GRPC_CALL_OK) {
        fprintf(stderr, "lib/rpc: gRPC refused a batch: %s\n", grpc_call_error_to_string(error));
        abort();
    }
}

/* ---- mailbox ---- */

static void mailbox_empty(rpc_loop *self) {
    pthread_mutex_lock(&self->mutex);
    rpc_mail *mail = self->first;
    self->first = self->last = NULL;
    pthread_mutex_unlock(&self->mutex);
    while (mail != NULL) {
        rpc_mail *next = mail->next;
        mail->run(mail);
        mail = next;
    }
}

static void wake_arrived(rpc_event *event, bool ok) {
    (void)ok;
    mailbox_empty(OWNER_OF(event, rpc_loop, wake));
}

bool loop_send(rpc_loop *self, rpc_mail *mail) {
    pthread_mutex_lock(&self->mutex);
    bool taken = !self->closed;
    if (taken) {
        mail->next = NULL;
        bool was_empty = self->last == NULL;
        if (was_empty)
            self->first = mail;
        else
            self->last->next = mail;
        self->last = mail;
        /* Under the mutex, so that no wake-up can come after the queue was shut down. */
        if (was_empty)
            batch_start(self->wake_call, NULL, 0, &self->wake);
        if (was_empty && self->aside)
            pthread_cond_signal(&self->mailed);
    }
    pthread_mutex_unlock(&self->mutex);
    return taken;
}

static void task_run(rpc_mail *mail) {
    loop_task *self = OWNER_OF(mail, loop_task, mail);
    loop_task task = *self;
    free(self);
    atomic_fetch_sub_explicit(&task.loop->posts, 1, memory_order_relaxed);
    task.task(task.context);
}

/* Counts one more if that stays within the bound. */
static bool claim(atomic_uint *count) {
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < LOOP_POSTS_MAX)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

status_code rpc_loop_post(rpc_loop *self, void (*task)(void *context), void *context) {
    if (!claim(&self->posts))
        return STATUS_RESOURCE_EXHAUSTED;
    loop_task *item = malloc(sizeof *item);
    if (item != NULL)
        *item = (loop_task){.mail = {.run = task_run}, .loop = self, .task = task, .context = context};
    if (item != NULL && loop_send(self, &item->mail))
        return STATUS_OK;
    atomic_fetch_sub_explicit(&self->posts, 1, memory_order_relaxed);
    status_code code = item == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE;
    free(item);
    return code;
}

/* ---- what waits for the end of a burst ---- */

status_code rpc_loop_later(rpc_loop *self, void (*task)(void *context), void *context) {
    if (current != self || self->closing)
        return STATUS_UNAVAILABLE;
    if (self->later_count == LOOP_LATER_MAX)
        return rpc_loop_post(self, task, context);
    self->later[self->later_count].task = task;
    self->later[self->later_count++].context = context;
    return STATUS_OK;
}

/* Those that are there now: what they put off in turn waits for the next time. */
static void later_run(rpc_loop *self) {
    unsigned count = self->later_count;
    for (unsigned i = 0; i < count; i++)
        self->later[i].task(self->later[i].context);
    self->later_count -= count;
    memmove(self->later, self->later + count, self->later_count * sizeof *self->later);
}

/* ---- timers ---- */

uint64_t monotonic_ns(void) {
    gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void timer_free(loop_timer *self) {
    atomic_fetch_sub_explicit(&self->loop->timers, 1, memory_order_relaxed);
    free(self);
}

/* Recursion is as deep as the ranks add up to: at most 2 * log2(65536). */
static loop_timer *heap_merge(loop_timer *a, loop_timer *b) {
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    if (b->due_ns < a->due_ns) {
        loop_timer *earlier = b;
        b = a;
        a = earlier;
    }
    a->right = heap_merge(a->right, b);
    if (a->left == NULL || a->left->rank < a->right->rank) {
        loop_timer *left = a->left;
        a->left = a->right;
        a->right = left;
    }
    a->rank = a->right == NULL ? 1 : a->right->rank + 1;
    return a;
}

static void timer_arm(rpc_mail *mail) {
    loop_timer *self = OWNER_OF(mail, loop_timer, arm);
    if (self->loop->closing) {
        timer_free(self);
        return;
    }
    self->rank = 1;
    self->loop->timer_heap = heap_merge(self->loop->timer_heap, self);
}

static loop_timer *heap_pop(rpc_loop *self) {
    loop_timer *first = self->timer_heap;
    self->timer_heap = heap_merge(first->left, first->right);
    return first;
}

/* What is due now; a task that arms another with no delay has it run after the next look at the queue. */
static void timers_run(rpc_loop *self) {
    uint64_t now_ns = monotonic_ns();
    while (self->timer_heap != NULL && self->timer_heap->due_ns <= now_ns) {
        loop_timer *timer = heap_pop(self);
        void (*task)(void *context) = timer->task;
        void *context = timer->context;
        timer_free(timer);
        task(context);
    }
}

static void timers_drop(rpc_loop *self) {
    while (self->timer_heap != NULL)
        timer_free(heap_pop(self));
}

static gpr_timespec next_look(const rpc_loop *self) {
    if (self->later_count > 0)
        return gpr_inf_past(GPR_CLOCK_MONOTONIC); /* whatever is there already goes before */
    if (self->timer_heap == NULL)
        return gpr_inf_future(GPR_CLOCK_REALTIME);
    gpr_timespec due = {.clock_type = GPR_CLOCK_MONOTONIC};
    due.tv_sec = (int64_t)(self->timer_heap->due_ns / 1000000000U);
    due.tv_nsec = (int32_t)(self->timer_heap->due_ns % 1000000000U);
    return due;
}

status_code rpc_loop_after(rpc_loop *self, uint32_t delay_ms, void (*task)(void *context), void *context) {
    if (!claim(&self->timers))
        return STATUS_RESOURCE_EXHAUSTED;
    loop_timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL) {
        atomic_fetch_sub_explicit(&self->timers, 1, memory_order_relaxed);
        return STATUS_RESOURCE_EXHAUSTED;
    }
    timer->arm.run = timer_arm;
    timer->loop = self;
    timer->due_ns = monotonic_ns() + (uint64_t)delay_ms * 1000000U;
    timer->task = task;
    timer->context = context;
    if (current == self && !self->closing) {
        timer_arm(&timer->arm);
        return STATUS_OK;
    }
    if (loop_send(self, &timer->arm))
        return STATUS_OK;
    timer_free(timer);
    return STATUS_UNAVAILABLE;
}

/* ---- members and arenas ---- */

void loop_member_add(rpc_loop *self, loop_member *member) {
    member->previous = NULL;
    member->next = self->members;
    if (self->members != NULL)
        self->members->previous = member;
    self->members = member;
}

void loop_member_remove(rpc_loop *self, loop_member *member) {
    if (member->previous != NULL)
        member->previous->next = member->next;
    else
        self->members = member->next;
    if (member->next != NULL)
        member->next->previous = member->previous;
}

arena *loop_arena_take(rpc_loop *self) {
    if (self->idle_count > 0) {
        arena *warm = self->idle_arenas[--self->idle_count];
        self->idle_bytes -= arena_kept(warm);
        return warm;
    }
    arena *memory = malloc(sizeof *memory);
    if (memory != NULL)
        arena_init(memory, LOOP_ARENA_FIRST_BYTES, LOOP_ARENA_LIMIT_BYTES);
    return memory;
}

void loop_arena_give(rpc_loop *self, arena *memory) {
    if (memory == NULL)
        return;
    size_t kept = arena_kept(memory);
    if (self->idle_count == LOOP_IDLE_ARENAS || kept > LOOP_ARENA_KEEP_BYTES ||
        kept > LOOP_IDLE_BYTES - self->idle_bytes) {
        arena_free(memory);
        free(memory);
        return;
    }
    arena_reset(memory);
    self->idle_bytes += kept;
    self->idle_arenas[self->idle_count++] = memory;
}

/* ---- life ---- */

/* With gRPC's epoll engine every loop that waits for its queue takes its turn at polling for all of the
 * process and hands over after each event: one that has nothing to do costs those that have two switches of
 * threads for each. So a loop aside waits here. */
static void wait_aside(rpc_loop *self) {
    self->look_ms = self->look_ms * 2 < LOOP_LOOK_MOST_MS ? self->look_ms * 2 : LOOP_LOOK_MOST_MS;
    uint64_t until_ns = monotonic_ns() + (uint64_t)self->look_ms * 1000000U;
    if (self->timer_heap != NULL && self->timer_heap->due_ns < until_ns)
        until_ns = self->timer_heap->due_ns;
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000U),
                                   .tv_nsec = (long)(until_ns % 1000000000U)};
    pthread_mutex_lock(&self->mutex);
    if (self->first == NULL && self->later_count == 0)
        (void)pthread_cond_timedwait(&self->mailed, &self->mutex, &until);
    pthread_mutex_unlock(&self->mutex);
}

/* What comes is likely to be followed by more, so that the next look is soon. */
static grpc_event next_event(rpc_loop *self) {
    bool looks = self->aside && !self->closing;
    gpr_timespec until = looks ? gpr_inf_past(GPR_CLOCK_MONOTONIC) : next_look(self);
    grpc_event event = grpc_completion_queue_next(self->queue, until, NULL);
    if (looks && event.type == GRPC_QUEUE_TIMEOUT)
        wait_aside(self);
    else
        self->look_ms = 1;
    return event;
}

static void *loop_main(void *context) {
    rpc_loop *self = context;
    current = self;
    for (unsigned burst = 0;;) {
        grpc_event event = next_event(self);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            break;
        if (event.type == GRPC_OP_COMPLETE) {
            rpc_event *tag = event.tag;
            tag->run(tag, event.success != 0);
            burst++;
        }
        if (event.type == GRPC_QUEUE_TIMEOUT || burst >= LOOP_LATER_EVENTS) {
            later_run(self);
            burst = 0;
        }
        if (self->timer_heap != NULL)
            timers_run(self);
    }
    while (self->idle_count > 0) {
        arena *memory = self->idle_arenas[--self->idle_count];
        arena_free(memory);
        free(memory);
    }
    return NULL;
}

/* The last mail. The queue is shut down on its own thread: nothing starts a batch between. */
static void close_now(rpc_mail *mail) {
    rpc_loop *self = OWNER_OF(mail, rpc_loop, close_mail);
    later_run(self);
    self->closing = true;
    for (loop_member *member = self->members, *next; member != NULL; member = next) {
        next = member->next;
        member->cancel(member);
    }
    timers_drop(self);
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    pthread_mutex_unlock(&self->mutex);
    mailbox_empty(self);
    grpc_completion_queue_shutdown(self->queue);
}

/* On the clock of monotonic_ns. */
static void mailed_init(pthread_cond_t *self) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(self, &attributes);
    pthread_condattr_destroy(&attributes);
}

status_code loop_open(rpc_loop *self, unsigned index, failure *why) {
    *self = (rpc_loop){.index = index, .wake = {.run = wake_arrived}, .close_mail = {.run = close_now}};
    pthread_mutex_init(&self->mutex, NULL);
    mailed_init(&self->mailed);
    self->queue = grpc_completion_queue_create_for_next(NULL);
    self->wake_channel = grpc_lame_client_channel_create("wake", GRPC_STATUS_UNAVAILABLE, "never used");
    if (self->queue == NULL || self->wake_channel == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "cannot create a completion queue");
    self->wake_call = grpc_channel_create_call(self->wake_channel, NULL, GRPC_PROPAGATE_DEFAULTS, self->queue,
                                               grpc_slice_from_static_string("/wake"), NULL,
                                               gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    return STATUS_OK;
}

status_code loop_run(rpc_loop *self, failure *why) {
    if (pthread_create(&self->thread, NULL, loop_main, self) != 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD",
                    "cannot start the thread of event loop %u; raise the limit of processes (ulimit -u)",
                    self->index);
    self->running = true;
    return STATUS_OK;
}

void loop_close(rpc_loop *self) {
    if (self->running) {
        loop_send(self, &self->close_mail);
        pthread_join(self->thread, NULL);
        self->running = false;
    } else if (self->queue != NULL) {
        /* Never ran: drain here. */
        current = self;
        grpc_completion_queue_shutdown(self->queue);
        loop_main(self);
        current = NULL;
    }
}

void loop_free(rpc_loop *self) {
    if (self->wake_call != NULL)
        grpc_call_unref(self->wake_call);
    if (self->wake_channel != NULL)
        grpc_channel_destroy(self->wake_channel);
    if (self->queue != NULL)
        grpc_completion_queue_destroy(self->queue);
    pthread_mutex_destroy(&self->mutex);
    pthread_cond_destroy(&self->mailed);
    *self = (rpc_loop){0};
}

static status_code loop_start(rpc_loop **out, bool aside, failure *why) {
    rpc_loop *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for an event loop");
    library_enter();
    status_code code = loop_open(self, 0, why);
    self->aside = aside;
    if (code == STATUS_OK)
        code = loop_run(self, why);
    if (code != STATUS_OK) {
        rpc_loop_stop(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

status_code rpc_loop_start(rpc_loop **out, failure *why) {
    return loop_start(out, false, why);
}

status_code rpc_loop_start_aside(rpc_loop **out, failure *why) {
    return loop_start(out, true, why);
}

void rpc_loop_stop(rpc_loop *self) {
    if (self == NULL)
        return;
    loop_close(self);
    loop_free(self);
    free(self);
    library_leave();
}
