/* A thread for what must not run on an event loop, with a bounded queue and, when it is idle, a tick once a
 * second. The functions may be called from any thread. */
#ifndef POLICY_WORKER_H
#define POLICY_WORKER_H

#include "base/status.h"

typedef struct worker worker;

/* Runs on the worker's thread. `stopping`: the worker ends; answer, but do nothing that takes time. */
typedef void (*worker_task)(void *context, bool stopping);

/* `tick` may be NULL. */
status_code worker_start(worker **out, void (*tick)(void *context), void *context, failure *why) MUST_USE;
/* RESOURCE_EXHAUSTED, reason QUEUE_FULL: not taken. */
status_code worker_submit(worker *self, worker_task task, void *context, failure *why) MUST_USE;
/* Runs the tick soon. */
void worker_wake(worker *self);
/* Takes NULL. Joins; every task that was taken has then been run. */
void worker_stop(worker *self);

#endif
