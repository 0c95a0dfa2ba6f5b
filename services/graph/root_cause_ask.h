/* Questions for root causes: a thread that thinks, so that neither the event loops nor the ingest thread
 * wait. It answers one question after the other from a bounded queue, and asks anew for those who watch. */
#ifndef GRAPH_ROOT_CAUSE_ASK_H
#define GRAPH_ROOT_CAUSE_ASK_H

#include "ingest.h"
#include "root_cause_reply.h"
#include "rpc/server.h"

#define ROOT_CAUSE_QUEUE_MAX 64U
#define ROOT_CAUSE_WATCHERS_MAX 32U
#define ROOT_CAUSE_ARENA_BYTES (64U << 20) /* an answer with all its texts */

typedef struct root_cause_ask root_cause_ask;
typedef Interlock__Graph__V1__WatchRootCauseRequest watch_root_cause_request;

status_code root_cause_ask_open(root_cause_ask **out, ingest *of, const chance *source,
                                failure *why) MUST_USE;
status_code root_cause_ask_start(root_cause_ask *self, failure *why) MUST_USE;
void root_cause_ask_stop(root_cause_ask *self);  /* what waits is answered with UNAVAILABLE */
void root_cause_ask_close(root_cause_ask *self); /* takes NULL; stops first */

/* Answers later, on the thread (rpc_call_complete). RESOURCE_EXHAUSTED (QUEUE_FULL): not taken. */
status_code root_cause_ask_submit(root_cause_ask *self, rpc_call *call, failure *why) MUST_USE;
/* An answer at once, then whenever it differs. INVALID_ARGUMENT (BAD_PERIOD), RESOURCE_EXHAUSTED
 * (TOO_MANY_WATCHERS). */
status_code root_cause_ask_watch(root_cause_ask *self, rpc_stream *stream,
                                 const watch_root_cause_request *request, failure *why) MUST_USE;
void root_cause_ask_unwatch(root_cause_ask *self, rpc_stream *stream);

/* The answer itself, which the thread gives. Any thread. */
status_code root_cause_ask_now(root_cause_ask *self, const root_cause_request *request, arena *memory,
                               root_cause_response *out, failure *why) MUST_USE;

void root_cause_ask_write_metrics(root_cause_ask *self, buffer *out);

#endif
