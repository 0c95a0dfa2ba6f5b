/* The log's one writer: a thread that takes what has queued up while it was committing, at most
 * AUDIT_GROUP_MAX at a time, and answers when it is durable. A COMMIT that failed ends the process. */
#ifndef AUDIT_WRITER_H
#define AUDIT_WRITER_H

#include "audit_log.h"
#include "base/metrics.h"
#include "head.h"
#include "recent.h"

#define WRITER_QUEUE_MAX 4096U

/* One append on its way. `done` is called once, on the writer's thread, and owns the job from then on. OK:
 * the response, valid like the memory it is made in. UNAVAILABLE: nothing was written (`why` is valid until
 * the group's end). Anything else: it may be in the log, and the same append again will tell. */
typedef struct append_job append_job;
struct append_job {
    append *item;
    arena *memory; /* where the answer is made; NULL: in the group's own, valid until the group's end */
    void (*done)(append_job *self, status_code code, Interlock__Audit__V1__AppendResponse *response,
                 const failure *why);
};

typedef struct writer writer;

typedef struct writer_options {
    audit_log *log;
    log_head *head;
    recent *newest; /* NULL: nobody follows */
    const chance *source;
    void (*group_end)(void *context); /* after the answers of a group, on the writer's thread */
    void *context;
} writer_options;

status_code writer_start(writer **out, const writer_options *options, failure *why) MUST_USE;
/* Takes all or none; any thread. RESOURCE_EXHAUSTED, reason QUEUE_FULL, with retry_after_ms. */
status_code writer_push(writer *self, append_job *const *jobs, size_t count, failure *why) MUST_USE;
/* Answers what is queued, then joins; what is pushed afterwards is refused. Takes NULL, and may be called
 * again. */
void writer_stop(writer *self);
void writer_free(writer *self);                       /* takes NULL; stops first if need be */
void writer_write_metrics(writer *self, buffer *out); /* any thread */

#endif
