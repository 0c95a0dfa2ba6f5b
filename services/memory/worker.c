/* A bounded queue of calls and the threads that answer them. */
#include "worker.h"

#include <pthread.h>
#include <stdlib.h>

#define QUEUE_MOST 256U
#define THREADS_MOST 8U
#define SHED_RETRY_MS 100U

typedef struct worker {
    worker_pool *pool;
    memory_store *reader;
    pthread_t thread;
} worker;

struct worker_pool {
    pthread_mutex_t lock; /* over queue, first, waiting, stopping */
    pthread_cond_t arrived;
    rpc_call *queue[QUEUE_MOST];
    size_t first, waiting;
    bool stopping;
    worker_task task;
    void *context;
    worker workers[THREADS_MOST];
    unsigned running;
};

/* NULL when the pool stops. */
static rpc_call *take(worker_pool *self) {
    rpc_call *call = NULL;
    pthread_mutex_lock(&self->lock);
    while (self->waiting == 0 && !self->stopping)
        pthread_cond_wait(&self->arrived, &self->lock);
    if (!self->stopping) {
        call = self->queue[self->first];
        self->first = (self->first + 1) % QUEUE_MOST;
        self->waiting--;
    }
    pthread_mutex_unlock(&self->lock);
    return call;
}

static void *work(void *argument) {
    worker *self = argument;
    for (rpc_call *call = take(self->pool); call != NULL; call = take(self->pool)) {
        failure why = {0};
        status_code code = self->pool->task(self->pool->context, self->reader, call, &why);
        rpc_call_complete(call, code, &why);
    }
    return NULL;
}

static status_code start_worker(worker_pool *self, const char *database, failure *why) {
    worker *added = &self->workers[self->running];
    added->pool = self;
    status_code code = memory_store_open_reader(&added->reader, database, why);
    if (code != STATUS_OK)
        return code;
    if (pthread_create(&added->thread, NULL, work, added) != 0) {
        memory_store_close(added->reader);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start a thread");
    }
    self->running++;
    return STATUS_OK;
}

status_code worker_pool_start(worker_pool **out, const char *database, unsigned threads, worker_task task,
                              void *context, failure *why) {
    worker_pool *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for threads");
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->arrived, NULL);
    self->task = task;
    self->context = context;
    status_code code = STATUS_OK;
    for (unsigned i = 0; i < threads && i < THREADS_MOST && code == STATUS_OK; i++)
        code = start_worker(self, database, why);
    if (code != STATUS_OK) {
        worker_pool_stop(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

status_code worker_pool_submit(worker_pool *self, rpc_call *call, failure *why) {
    status_code code = STATUS_PENDING;
    pthread_mutex_lock(&self->lock);
    if (self->stopping || self->waiting == QUEUE_MOST) {
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "memory is busy; try again");
        if (why != NULL)
            why->retry_after_ms = SHED_RETRY_MS;
    } else {
        self->queue[(self->first + self->waiting++) % QUEUE_MOST] = call;
        pthread_cond_signal(&self->arrived);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

static void answer_waiting(worker_pool *self) {
    failure why = {0};
    fail(&why, STATUS_UNAVAILABLE, "STOPPING", "memory is stopping; try again");
    for (; self->waiting > 0; self->waiting--) {
        rpc_call_complete(self->queue[self->first], why.code, &why);
        self->first = (self->first + 1) % QUEUE_MOST;
    }
}

void worker_pool_stop(worker_pool *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->arrived);
    pthread_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < self->running; i++) {
        pthread_join(self->workers[i].thread, NULL);
        memory_store_close(self->workers[i].reader);
    }
    answer_waiting(self);
    pthread_cond_destroy(&self->arrived);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
