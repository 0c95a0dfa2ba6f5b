/* See worker.h. */
#include "worker.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUEUE_MOST 256U
#define TICK_MS 1000

typedef struct worker_item {
    worker_task task;
    void *context;
} worker_item;

struct worker {
    pthread_mutex_t lock; /* over queue, first, waiting, woken, stopping */
    int bell;             /* an eventfd: its poll takes a relative time, which no step of a clock disturbs */
    worker_item queue[QUEUE_MOST];
    size_t first, waiting;
    bool woken, stopping;
    void (*tick)(void *context);
    void *context;
    pthread_t thread;
};

static void ring(const worker *self) {
    uint64_t one = 1;
    ssize_t written = write(self->bell, &one, sizeof one);
    (void)written; /* full means rung */
}

/* Waits for an item, a wake, the tick's time or the end; holds the lock before and after. */
static void wait_for_something(worker *self) {
    if (self->waiting != 0 || self->woken || self->stopping)
        return;
    pthread_mutex_unlock(&self->lock);
    struct pollfd bell = {.fd = self->bell, .events = POLLIN};
    uint64_t count = 0;
    if (poll(&bell, 1, TICK_MS) == 1) {
        ssize_t taken = read(self->bell, &count, sizeof count);
        (void)taken;
    }
    pthread_mutex_lock(&self->lock);
}

static bool take(worker *self, worker_item *out) {
    if (self->waiting == 0)
        return false;
    *out = self->queue[self->first];
    self->first = (self->first + 1) % QUEUE_MOST;
    self->waiting--;
    return true;
}

static void *work(void *argument) {
    worker *self = argument;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        wait_for_something(self);
        worker_item item;
        bool taken = take(self, &item);
        bool stopping = self->stopping;
        if (stopping && !taken)
            break;
        self->woken = taken && self->woken;
        pthread_mutex_unlock(&self->lock);
        if (taken)
            item.task(item.context, stopping);
        else if (self->tick != NULL)
            self->tick(self->context);
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

status_code worker_start(worker **out, void (*tick)(void *context), void *context, failure *why) {
    worker *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a thread");
    pthread_mutex_init(&self->lock, NULL);
    self->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->tick = tick;
    self->context = context;
    if (self->bell < 0 || pthread_create(&self->thread, NULL, work, self) != 0) {
        if (self->bell >= 0)
            close(self->bell);
        free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start a thread");
    }
    *out = self;
    return STATUS_OK;
}

status_code worker_submit(worker *self, worker_task task, void *context, failure *why) {
    status_code code = STATUS_OK;
    pthread_mutex_lock(&self->lock);
    if (self->stopping || self->waiting == QUEUE_MOST) {
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "policy is busy; try again");
        if (why != NULL)
            why->retry_after_ms = 200;
    } else {
        self->queue[(self->first + self->waiting++) % QUEUE_MOST] = (worker_item){task, context};
        ring(self);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

void worker_wake(worker *self) {
    pthread_mutex_lock(&self->lock);
    self->woken = true;
    ring(self);
    pthread_mutex_unlock(&self->lock);
}

void worker_stop(worker *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    ring(self);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    close(self->bell);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
