/* The publisher's thread. */
#include "publisher.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "files.h"

#define IDLE_WAIT_MS 60000

struct publisher {
    const char *path;
    log_head *head;
    int listener, stop_listener;
    uint64_t published; /* size */
    atomic_bool stopping;
    pthread_t thread;
    log_head stopped; /* only for its listener: sleeping between two publications ends early at stop */
};

/* A full disk is no reason to end: the file stays as it was and the next time may succeed. */
static void publish(publisher *self) {
    char note[NOTE_MAX_BYTES];
    failure why = {0};
    uint64_t size = head_get(self->head, note);
    if (size <= self->published)
        return;
    status_code status = file_replace(self->path, bytes_of_text(note), &why);
    if (status == STATUS_DATA_LOSS)
        daemon_abort("the checkpoint cannot be published", &why);
    if (status == STATUS_OK)
        self->published = size;
}

static void *run(void *context) {
    publisher *self = context;
    while (!atomic_load(&self->stopping)) {
        listener_wait(self->listener, IDLE_WAIT_MS);
        publish(self);
        if (!atomic_load(&self->stopping))
            listener_wait(self->stop_listener, PUBLISHER_PERIOD_MS);
    }
    publish(self);
    return NULL;
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
    self->published = head_get(head, NULL);
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
    if (self == NULL)
        return;
    atomic_store(&self->stopping, true);
    listener_wake(self->listener);
    listener_wake(self->stop_listener);
    pthread_join(self->thread, NULL);
    discard(self);
}
