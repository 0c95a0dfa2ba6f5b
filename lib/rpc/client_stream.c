/* Asynchronous streams of the client, bidirectional or from the server. */
#include <stdlib.h>
#include <string.h>

#include <grpc/slice.h>

#include "channel.h"
#include "message.h"
#include "outbox.h"

#define PATH_BYTES_MAX 200U

struct rpc_client_stream {
    rpc_event sent, received, ended;
    rpc_mail called;
    loop_member member;
    channel_call in_channel;
    rpc_loop *loop;
    rpc_channel *channel;
    const ProtobufCMessageDescriptor *response;
    rpc_client_stream_handlers handlers;
    void *context;
    outbox outbox;
    call_result result;
    atomic_bool half_close_wanted, cancel_wanted;
    char path[PATH_BYTES_MAX + 1];

    /* Loop thread only. */
    grpc_byte_buffer *payload;
    bool started, headers_sent, sending, receiving, half_closed, server_done, end_done, refused;
    failure broken; /* a message that could not be read; code OK: none */
};

static void stream_free(rpc_client_stream *self) {
    call_result_free(&self->result);
    outbox_free(&self->outbox);
    free(self);
}

/* ---- the end ---- */

static void stream_close(rpc_client_stream *self) {
    failure why = {0};
    status_code code;
    if (self->refused)
        code =
            fail(&why, STATUS_CANCELLED, "CHANNEL_CLOSED", "the channel or its event loop has been closed");
    else
        code = call_result_read(&self->result, &why);
    if (self->broken.code != STATUS_OK) {
        code = self->broken.code;
        why = self->broken;
    }
    if (self->refused) {
        channel_release(self->channel);
    } else {
        loop_member_remove(self->loop, &self->member);
        channel_call_end(self->channel, &self->in_channel);
    }
    self->handlers.closed(self->context, code, &why);
    stream_free(self);
}

/* A mail under way still points here: then it closes. */
static void close_if_done(rpc_client_stream *self) {
    bool over = self->refused || (self->end_done && !self->sending && !self->receiving);
    if (over && !outbox_called(&self->outbox))
        stream_close(self);
}

static void stream_ended(rpc_event *event, bool ok) {
    (void)ok;
    rpc_client_stream *self = OWNER_OF(event, rpc_client_stream, ended);
    self->end_done = true;
    outbox_drop(&self->outbox);
    close_if_done(self);
}

/* ---- sending ---- */

static bool outbox_finished(rpc_client_stream *self) {
    return atomic_load(&self->half_close_wanted) && outbox_count(&self->outbox) == 0;
}

static void stream_pump(rpc_client_stream *self) {
    /* On a loop that is closing nothing may start any more: its queue is, or is about to be, shut down. */
    if (!self->started || self->sending || self->end_done || self->half_closed || self->loop->closing)
        return;
    grpc_op operations[3];
    memset(operations, 0, sizeof operations);
    grpc_metadata metadata[CHANNEL_METADATA_MAX];
    size_t count = 0;
    if (!self->headers_sent) {
        operations[count].op = GRPC_OP_SEND_INITIAL_METADATA;
        operations[count].data.send_initial_metadata.count =
            channel_metadata(self->channel, grpc_empty_slice(), metadata);
        operations[count++].data.send_initial_metadata.metadata = metadata;
    }
    bool more;
    grpc_byte_buffer *wire = outbox_take(&self->outbox, &more);
    if (wire != NULL) {
        operations[count].op = GRPC_OP_SEND_MESSAGE;
        /* Never together with the headers: gRPC would then write neither, and the batch would not end. */
        operations[count].flags = more && count == 0 ? GRPC_WRITE_BUFFER_HINT : 0;
        operations[count++].data.send_message.send_message = wire;
    }
    if (outbox_finished(self)) {
        operations[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        self->half_closed = true;
    }
    if (count == 0)
        return;
    self->headers_sent = true;
    self->sending = true;
    batch_start(self->in_channel.call, operations, count, &self->sent);
    if (wire != NULL)
        grpc_byte_buffer_destroy(wire);
}

static void stream_sent(rpc_event *event, bool ok) {
    (void)ok; /* a failed send means that the call is over, which `ended` says */
    rpc_client_stream *self = OWNER_OF(event, rpc_client_stream, sent);
    self->sending = false;
    stream_pump(self);
    close_if_done(self);
}

/* Tells the loop; from within a callback of this very stream the pump that follows it does. */
static void stream_call(rpc_client_stream *self) {
    if (rpc_loop_current() == self->loop && self->started) {
        outbox_answer(&self->outbox);
        stream_pump(self);
        return;
    }
    /* A loop that no longer takes mail has cancelled this stream already. */
    if (!loop_send(self->loop, &self->called))
        outbox_answer(&self->outbox);
}

status_code rpc_client_stream_send(rpc_client_stream *self, const ProtobufCMessage *message) {
    if (atomic_load(&self->half_close_wanted))
        return STATUS_CANCELLED;
    bool call;
    status_code code = outbox_put(&self->outbox, message, &call);
    if (call)
        stream_call(self);
    return code;
}

size_t rpc_client_stream_queued(const rpc_client_stream *self) {
    return outbox_count(&self->outbox);
}

void rpc_client_stream_half_close(rpc_client_stream *self) {
    atomic_store(&self->half_close_wanted, true);
    if (outbox_call(&self->outbox))
        stream_call(self);
}

void rpc_client_stream_cancel(rpc_client_stream *self) {
    atomic_store(&self->cancel_wanted, true);
    if (rpc_loop_current() == self->loop && self->started)
        grpc_call_cancel(self->in_channel.call, NULL);
    else if (outbox_call(&self->outbox))
        stream_call(self);
}

/* ---- receiving ---- */

static void stream_receive(rpc_client_stream *self, bool first) {
    grpc_op operations[2];
    memset(operations, 0, sizeof operations);
    size_t count = 0;
    if (first) {
        operations[count].op = GRPC_OP_RECV_INITIAL_METADATA;
        operations[count++].data.recv_initial_metadata.recv_initial_metadata = &self->result.headers;
    }
    operations[count].op = GRPC_OP_RECV_MESSAGE;
    operations[count++].data.recv_message.recv_message = &self->payload;
    self->receiving = true;
    batch_start(self->in_channel.call, operations, count, &self->received);
}

static status_code stream_handle(rpc_client_stream *self, failure *why) {
    arena *memory = loop_arena_take(self->loop);
    if (memory == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a message");
    ProtobufCMessage *message;
    status_code code = message_read(self->response, self->payload, SIZE_MAX, memory, &message, why);
    if (code == STATUS_OK)
        self->handlers.message(self->context, message);
    else
        code = fail_within(why, STATUS_INTERNAL, "a message of %s", self->path);
    loop_arena_give(self->loop, memory);
    return code;
}

static void stream_received(rpc_event *event, bool ok) {
    rpc_client_stream *self = OWNER_OF(event, rpc_client_stream, received);
    if (!ok || self->payload == NULL) {
        self->receiving = false;
        self->server_done = true;
        close_if_done(self);
        return;
    }
    status_code code = self->broken.code == STATUS_OK ? stream_handle(self, &self->broken) : STATUS_OK;
    grpc_byte_buffer_destroy(self->payload);
    self->payload = NULL;
    if (code != STATUS_OK)
        grpc_call_cancel(self->in_channel.call, NULL);
    if (!self->loop->closing) {
        stream_receive(self, false);
        return;
    }
    self->receiving = false;
    close_if_done(self);
}

/* ---- the beginning ---- */

static void stream_start(rpc_client_stream *self) {
    if (self->loop->closing || !channel_call_begin(self->channel, &self->in_channel, self->loop->queue,
                                                   self->path, gpr_inf_future(GPR_CLOCK_MONOTONIC))) {
        self->refused = true;
        outbox_drop(&self->outbox);
        return;
    }
    self->started = true;
    loop_member_add(self->loop, &self->member);
    grpc_op operation;
    memset(&operation, 0, sizeof operation);
    call_result_receive(&self->result, &operation);
    batch_start(self->in_channel.call, &operation, 1, &self->ended);
    stream_receive(self, true);
}

static void stream_called(rpc_mail *mail) {
    rpc_client_stream *self = OWNER_OF(mail, rpc_client_stream, called);
    outbox_answer(&self->outbox);
    if (!self->started && !self->refused)
        stream_start(self);
    if (self->started && atomic_load(&self->cancel_wanted))
        grpc_call_cancel(self->in_channel.call, NULL);
    stream_pump(self);
    close_if_done(self);
}

static void stream_cancel(loop_member *member) {
    grpc_call_cancel(OWNER_OF(member, rpc_client_stream, member)->in_channel.call, NULL);
}

status_code rpc_client_stream_open(rpc_loop *loop, rpc_channel *channel, const char *path,
                                   const ProtobufCMessageDescriptor *response,
                                   const rpc_client_stream_handlers *handlers, void *context,
                                   rpc_client_stream **out, failure *why) {
    if (strlen(path) > PATH_BYTES_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG",
                    "the path of a method is longer than 200 bytes");
    rpc_client_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a stream");
    self->sent.run = stream_sent;
    self->received.run = stream_received;
    self->ended.run = stream_ended;
    self->called.run = stream_called;
    self->member.cancel = stream_cancel;
    self->loop = loop;
    self->channel = channel;
    self->response = response;
    self->handlers = *handlers;
    self->context = context;
    memcpy(self->path, path, strlen(path) + 1);
    outbox_init(&self->outbox);
    call_result_init(&self->result);
    if (!channel_acquire(channel)) {
        stream_free(self);
        return fail(why, STATUS_CANCELLED, "CHANNEL_CLOSED", "the channel for %s has been closed", path);
    }
    *out = self; /* before the loop can call back */
    /* Always by mail, even on the loop itself: no callback comes before this function has returned. */
    if (outbox_call(&self->outbox) && loop_send(loop, &self->called))
        return STATUS_OK;
    *out = NULL;
    channel_release(channel);
    stream_free(self);
    return fail(why, STATUS_UNAVAILABLE, "LOOP_CLOSED", "the event loop for %s has been closed", path);
}
