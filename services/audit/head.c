/* The head of the log, and waking those who wait for it. */
#include "head.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void head_init(log_head *self, uint64_t size, const char *note) {
    *self = (log_head){.size = size};
    pthread_mutex_init(&self->mutex, NULL);
    snprintf(self->note, sizeof self->note, "%s", note);
}

void head_free(log_head *self) {
    for (size_t i = 0; i < self->listener_count; i++)
        close(self->listeners[i]);
    self->listener_count = 0;
    pthread_mutex_destroy(&self->mutex);
}

void head_set(log_head *self, uint64_t size, const char *note) {
    pthread_mutex_lock(&self->mutex);
    self->size = size;
    snprintf(self->note, sizeof self->note, "%s", note);
    pthread_mutex_unlock(&self->mutex);
    for (size_t i = 0; i < self->listener_count; i++)
        listener_wake(self->listeners[i]);
}

uint64_t head_get(log_head *self, char note[NOTE_MAX_BYTES]) {
    pthread_mutex_lock(&self->mutex);
    uint64_t size = self->size;
    if (note != NULL)
        memcpy(note, self->note, sizeof self->note);
    pthread_mutex_unlock(&self->mutex);
    return size;
}

status_code head_listen(log_head *self, int *listener, failure *why) {
    int opened = self->listener_count < HEAD_LISTENERS_MAX ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if (opened < 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_DESCRIPTOR", "no descriptor for a listener: %s",
                    strerror(errno));
    self->listeners[self->listener_count++] = opened;
    *listener = opened;
    return STATUS_OK;
}

void listener_wait(int listener, int timeout_ms) {
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    uint64_t count;
    if (poll(&waiting, 1, timeout_ms) > 0 && read(listener, &count, sizeof count) < 0)
        return; /* another wait took the news; there is none left to lose */
}

void listener_wake(int listener) {
    const uint64_t one = 1;
    ssize_t written = write(listener, &one, sizeof one);
    (void)written; /* a counter that is full wakes as well */
}
