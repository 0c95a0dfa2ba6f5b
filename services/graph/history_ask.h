/* The thread that answers questions about the graph with time: reading takes disk and milliseconds, which
 * event loops have not. It takes questions from a bounded queue, and feeds the streams of Snapshot and
 * WatchChanges as fast as they are read. */
#ifndef GRAPH_HISTORY_ASK_H
#define GRAPH_HISTORY_ASK_H

#include "history.h"
#include "rpc/server.h"

#define HISTORY_QUESTIONS_MAX 256U /* that wait */
#define HISTORY_SNAPSHOTS_MAX 8U   /* streams at once: each holds a copy of the graph */
#define HISTORY_WATCHERS_MAX 64U

typedef struct history_ask history_ask;

typedef enum history_question {
    ASK_GET_NODE,
    ASK_HISTORY,
    ASK_NEIGHBORS,
    ASK_PATHS,
    ASK_DIFF,
} history_question;

status_code history_ask_open(history_ask **out, history *of, const chance *source, failure *why) MUST_USE;
status_code history_ask_start(history_ask *self, failure *why) MUST_USE;
void history_ask_stop(history_ask *self);  /* takes NULL; what waits is answered with UNAVAILABLE */
void history_ask_close(history_ask *self); /* takes NULL; stops first, and goes before the history */

/* STATUS_PENDING; or RESOURCE_EXHAUSTED (QUEUE_FULL). */
status_code history_ask_submit(history_ask *self, history_question kind, rpc_call *call,
                               failure *why) MUST_USE;
/* A stream begins; RESOURCE_EXHAUSTED (TOO_MANY_STREAMS). Its user data is ours. */
status_code history_ask_snapshot(history_ask *self, rpc_stream *stream, const ProtobufCMessage *request,
                                 failure *why) MUST_USE;
status_code history_ask_watch(history_ask *self, rpc_stream *stream, const ProtobufCMessage *request,
                              failure *why) MUST_USE;
/* The stream is over. */
void history_ask_forget(rpc_stream *stream);

#endif
