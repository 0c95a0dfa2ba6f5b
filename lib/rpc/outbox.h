/* Messages that wait to be sent on a stream, in either direction. Any thread puts, the loop's thread takes.
 */
#ifndef RPC_OUTBOX_H
#define RPC_OUTBOX_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>

#include "base/status.h"

#define OUTBOX_MESSAGES_MAX 1024U
#define OUTBOX_BYTES_MAX (16U << 20)

typedef struct outbox_item outbox_item;

typedef struct outbox {
    pthread_mutex_t mutex; /* guards everything here */
    outbox_item *first, *last;
    size_t count, size;
    bool closed; /* nothing more is taken in */
    bool called; /* the loop was told that there is something to do */
} outbox;

void outbox_init(outbox *self);
void outbox_free(outbox *self);

/* RESOURCE_EXHAUSTED beyond the bounds, CANCELLED when closed. *call: the caller must now tell the loop. */
status_code outbox_put(outbox *self, const ProtobufCMessage *message, bool *call) MUST_USE;

/* The oldest message, which the caller destroys, or NULL; *more: another one waits. */
grpc_byte_buffer *outbox_take(outbox *self, bool *more);

size_t outbox_count(const outbox *self);

/* Refuses more; false when that was so already. *call as above. */
bool outbox_close(outbox *self, bool *call);
void outbox_drop(outbox *self);   /* closes, and lets go what waits */
void outbox_answer(outbox *self); /* the loop heard the call */
bool outbox_call(outbox *self);   /* true: the caller must tell the loop */
bool outbox_called(outbox *self);

#endif
