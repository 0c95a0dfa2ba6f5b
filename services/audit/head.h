/* The head of the log as other threads see it: how many records are durable, and their checkpoint. The writer
 * sets it after each COMMIT; whoever waits for news has a listener, a descriptor that becomes readable.
 * Thread-safe; the mutex is held for a copy of a few hundred bytes. */
#ifndef AUDIT_HEAD_H
#define AUDIT_HEAD_H

#include <pthread.h>

#include "merkle/note.h"

#define HEAD_LISTENERS_MAX 4U

typedef struct log_head {
    pthread_mutex_t mutex;
    uint64_t size;
    char note[NOTE_MAX_BYTES];
    int listeners[HEAD_LISTENERS_MAX];
    size_t listener_count;
} log_head;

void head_init(log_head *self, uint64_t size, const char *note);
void head_free(log_head *self); /* closes the listeners */
void head_set(log_head *self, uint64_t size, const char *note);
/* `note` may be NULL. */
uint64_t head_get(log_head *self, char note[NOTE_MAX_BYTES]);

/* Before the writer starts. */
status_code head_listen(log_head *self, int *listener, failure *why) MUST_USE;
/* Returns at once when there was news since the last wait, else with the next news or after timeout_ms. */
void listener_wait(int listener, int timeout_ms);
/* Makes the next or present wait return. Any thread. */
void listener_wake(int listener);

#endif
