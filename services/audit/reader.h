/* A thread with a read-only connection of its own and a bounded queue: what reads the disk for a call does it
 * here, never on an event loop. */
#ifndef AUDIT_READER_H
#define AUDIT_READER_H

#include <stdatomic.h>

#include "audit_store.h"

#define READER_QUEUE_MAX 256U

typedef struct reader reader;
typedef struct read_job read_job;

struct read_job {
    /* On the reader's thread, once; owns the job. `from` is NULL when the reader stops before its turn. */
    void (*run)(read_job *self, audit_store *from);
};

status_code reader_start(reader **out, const char *database, size_t queue_max, failure *why) MUST_USE;
/* RESOURCE_EXHAUSTED, reason QUEUE_FULL. Any thread. */
status_code reader_push(reader *self, read_job *job, failure *why) MUST_USE;
/* True while it is not being stopped: a long job looks at it now and then. */
bool reader_wanted(const reader *self);
void reader_stop(reader *self); /* takes NULL; joins */

#endif
