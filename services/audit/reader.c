/* A reader's queue and thread. */
#include "reader.h"

#include <pthread.h>
#include <stdlib.h>

#define QUEUE_FULL_RETRY_MS 200U

struct reader {
    audit_store from;
    pthread_t thread;
    pthread_mutex_t mutex; /* of the queue */
    pthread_cond_t filled;
    read_job *queue[READER_QUEUE_MAX];
    size_t first, count, most;
    atomic_bool stopping;
};

status_code reader_push(reader *self, read_job *job, failure *why) {
    pthread_mutex_lock(&self->mutex);
    bool room = !atomic_load(&self->stopping) && self->count < self->most;
    if (room)
        self->queue[(self->first + self->count++) % READER_QUEUE_MAX] = job;
    pthread_cond_signal(&self->filled);
    pthread_mutex_unlock(&self->mutex);
    if (room)
        return STATUS_OK;
    status_code status = fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL",
                              "%zu such requests are waiting already; try again later", self->most);
    if (why != NULL)
        why->retry_after_ms = QUEUE_FULL_RETRY_MS;
    return status;
}

static read_job *take(reader *self) {
    pthread_mutex_lock(&self->mutex);
    while (self->count == 0 && !atomic_load(&self->stopping))
        pthread_cond_wait(&self->filled, &self->mutex);
    read_job *job = NULL;
    if (self->count > 0) {
        job = self->queue[self->first];
        self->first = (self->first + 1) % READER_QUEUE_MAX;
        self->count--;
    }
    pthread_mutex_unlock(&self->mutex);
    return job;
}

static void *run(void *context) {
    reader *self = context;
    for (read_job *job; (job = take(self)) != NULL;)
        job->run(job, atomic_load(&self->stopping) ? NULL : &self->from);
    return NULL;
}

status_code reader_start(reader **out, const char *database, size_t queue_max, failure *why) {
    reader *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a reader");
    self->most = queue_max < READER_QUEUE_MAX ? queue_max : READER_QUEUE_MAX;
    status_code status = audit_store_open_reader(&self->from, database, why);
    if (status != STATUS_OK) {
        free(self);
        return status;
    }
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->filled, NULL);
    if (pthread_create(&self->thread, NULL, run, self) != 0) {
        audit_store_close(&self->from);
        free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start a reader's thread");
    }
    *out = self;
    return STATUS_OK;
}

bool reader_wanted(const reader *self) {
    return !atomic_load(&self->stopping);
}

void reader_stop(reader *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->mutex);
    atomic_store(&self->stopping, true);
    pthread_cond_signal(&self->filled);
    pthread_mutex_unlock(&self->mutex);
    pthread_join(self->thread, NULL);
    pthread_cond_destroy(&self->filled);
    pthread_mutex_destroy(&self->mutex);
    audit_store_close(&self->from);
    free(self);
}
