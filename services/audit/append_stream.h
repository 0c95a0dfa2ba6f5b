/* One AppendStream call: batches in, results out in any order. What is under way is bounded; beyond that the
 * stream is not read from until half of it is answered. */
#ifndef AUDIT_APPEND_STREAM_H
#define AUDIT_APPEND_STREAM_H

#include "rpc/server.h"
#include "writer.h"

#define APPEND_STREAM_BATCH_MAX 64U
#define APPEND_STREAM_UNDER_WAY_MAX 1024U

/* The streams that the group now being answered has results for; the writer's thread alone. */
typedef struct append_stream append_stream;
typedef struct append_streams {
    append_stream *touched;
} append_streams;

status_code append_stream_open(rpc_stream *stream, append_streams *all, writer *to, failure *why) MUST_USE;
/* As rpc_stream_handlers.message. */
status_code append_stream_message(rpc_stream *stream, const Interlock__Audit__V1__AppendStreamRequest *batch,
                                  failure *why) MUST_USE;
void append_stream_half_closed(rpc_stream *stream);
void append_stream_closed(rpc_stream *stream);

/* The writer's group_end; `context` is the append_streams. Sends what the group has for each stream. */
void append_streams_flush(void *context);

#endif
