/* Threads that do what must not run on an event loop: each has its own reader of the database. Calls wait in
 * a bounded queue; a full one sheds. */
#ifndef MEMORY_WORKER_H
#define MEMORY_WORKER_H

#include "memory_store.h"
#include "rpc/server.h"

typedef struct worker_pool worker_pool;

/* Answers one call with rpc_call_complete's arguments. */
typedef status_code (*worker_task)(void *context, memory_store *reader, rpc_call *call, failure *why);

status_code worker_pool_start(worker_pool **out, const char *database, unsigned threads, worker_task task,
                              void *context, failure *why) MUST_USE;
/* STATUS_PENDING: taken, and completed by a thread. RESOURCE_EXHAUSTED (QUEUE_FULL): shed. */
status_code worker_pool_submit(worker_pool *self, rpc_call *call, failure *why) MUST_USE;
/* Takes NULL; joins. What waits is answered with UNAVAILABLE. */
void worker_pool_stop(worker_pool *self);

#endif
