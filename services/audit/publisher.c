/* The publisher's thread. */
#include "publisher.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "files.h"

#define IDLE_WAIT_MS 60000
#define RETRY_WAIT_MS 1000

struct publisher {
    const char *path;
    log_head *head;
    int listener, stop_listener;
    atomic_uint_fast64_t published; /* size */
    atomic_bool stopping;
    pthread_t thread;
    log_head stopped; /* only for its listener: sleeping between two publications ends early at stop */
};

/* A full disk is no reason to end: the file stays as it was and the next time may succeed. True when nothing
 * is left to publish. */
static bool publish(publisher *self) {
    char note[NOTE_MAX_BYTES];
    failure why = {0};
    uint64_t size = head_get(self->head, note);
    if (size <= atomic_load(&self->published))
        return true;
    status_code status = file_replace(self->path, bytes_of_text(note), &why);
    if (status == STATUS_DATA_LOSS)
        daemon_abort("the checkpoint cannot be published", &why);
    if (status == STATUS_OK)
        atomic_store(&self->published, size);
    return status == STATUS_OK;
}

static void *run(void *context) {
    publisher *self = context;
    bool done = true;
    while (!atomic_load(&self->stopping)) {
        listener_wait(self->listener, done ? IDLE_WAIT_MS : RETRY_WAIT_MS);
        done = publish(self);
        if (!atomic_load(&self->stopping))
            listener_wait(self->stop_listener, PUBLISHER_PERIOD_MS);
    }
    publish(self);
    return NULL;
}

uint64_t publisher_size(const publisher *self) {
    return atomic_load(&self->published);
}

static void discard(publisher *self) {
    head_free(&self->stopped);
    free(self);
}

status_code publisher_start(publisher **out, const char *path, log_head *head, failure *why) {
    publisher *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the publisher");
    self->path = path;
    self->head = head;
    atomic_init(&self->published, head_get(head, NULL));
    head_init(&self->stopped, 0, "");
    status_code status = head_listen(head, &self->listener, why);
    if (status == STATUS_OK)
        status = head_listen(&self->stopped, &self->stop_listener, why);
    if (status == STATUS_OK && pthread_create(&self->thread, NULL, run, self) != 0)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start the publisher's thread");
    if (status != STATUS_OK)
        discard(self);
    else
        *out = self;
    return status;
}

void publisher_stop(publisher *self) {
    if (self == NULL || atomic_exchange(&self->stopping, true))
        return;
    listener_wake(self->listener);
    listener_wake(self->stop_listener);
    pthread_join(self->thread, NULL);
}

void publisher_free(publisher *self) {
    if (self == NULL)
        return;
    publisher_stop(self);
    discard(self);
}
