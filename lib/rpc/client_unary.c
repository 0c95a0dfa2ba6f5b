/* Asynchronous unary calls: one batch, one event, one callback. */
#include <stdlib.h>
#include <string.h>

#include <grpc/slice.h>

#include "channel.h"
#include "identity.h"
#include "message.h"

#define PATH_BYTES_MAX 200U

typedef struct client_call {
    rpc_event finished;
    rpc_mail start;
    loop_member member;
    channel_call in_channel;
    rpc_loop *loop;
    rpc_channel *channel;
    const ProtobufCMessageDescriptor *response;
    rpc_done done;
    void *context;
    gpr_timespec deadline;
    grpc_byte_buffer *sent, *received;
    grpc_slice traceparent;
    call_result result;
    char path[PATH_BYTES_MAX + 1];
} client_call;

static void call_free_here(client_call *self) {
    call_result_free(&self->result);
    grpc_slice_unref(self->traceparent);
    if (self->sent != NULL)
        grpc_byte_buffer_destroy(self->sent);
    if (self->received != NULL)
        grpc_byte_buffer_destroy(self->received);
    free(self);
}

static void refuse(client_call *self) {
    failure why;
    status_code code =
        fail(&why, STATUS_CANCELLED, "CHANNEL_CLOSED", "the channel or its event loop has been closed");
    channel_release(self->channel);
    self->done(self->context, code, NULL, &why);
    call_free_here(self);
}

/* The callback comes last but for the memory it may look at: by then the channel may be closed in it. */
static void call_finished(rpc_event *event, bool ok) {
    (void)ok;
    client_call *self = OWNER_OF(event, client_call, finished);
    rpc_loop *loop = self->loop;
    failure why = {0};
    ProtobufCMessage *response = NULL;
    arena *memory = NULL;
    status_code code = call_result_read(&self->result, &why);
    loop_member_remove(loop, &self->member);
    channel_call_end(self->channel, &self->in_channel);
    if (code == STATUS_OK) {
        memory = loop_arena_take(loop);
        if (memory == NULL)
            code = fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a reply");
        else
            code = message_read(self->response, self->received, SIZE_MAX, memory, &response, &why);
        /* A reply that cannot be read is the server's fault, not an invalid argument of ours. */
        if (code == STATUS_INVALID_ARGUMENT)
            code = fail_within(&why, STATUS_INTERNAL, "the reply of %s", self->path);
    }
    self->done(self->context, code, code == STATUS_OK ? response : NULL, &why);
    loop_arena_give(loop, memory);
    call_free_here(self);
}

static void call_cancel(loop_member *member) {
    client_call *self = OWNER_OF(member, client_call, member);
    grpc_call_cancel(self->in_channel.call, NULL);
}

static void call_start(rpc_mail *mail) {
    client_call *self = OWNER_OF(mail, client_call, start);
    if (self->loop->closing || !channel_call_begin(self->channel, &self->in_channel, self->loop->queue,
                                                   self->path, self->deadline)) {
        refuse(self);
        return;
    }
    loop_member_add(self->loop, &self->member);
    grpc_metadata metadata[CHANNEL_METADATA_MAX];
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[0].data.send_initial_metadata.count =
        channel_metadata(self->channel, self->traceparent, metadata);
    operations[0].data.send_initial_metadata.metadata = metadata;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = self->sent;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &self->result.headers;
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &self->received;
    call_result_receive(&self->result, &operations[5]);
    batch_start(self->in_channel.call, operations, 6, &self->finished);
}

static status_code call_make(client_call **out, const char *path, const ProtobufCMessage *request,
                             failure *why) {
    if (strlen(path) > PATH_BYTES_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG",
                    "the path of a method is longer than 200 bytes");
    client_call *self = calloc(1, sizeof *self);
    size_t size = 0;
    if (self != NULL)
        self->sent = message_write(request, CHANNEL_REQUEST_MAX, &size);
    if (self == NULL || self->sent == NULL) {
        free(self);
        return fail(
            why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
            "a request of %zu bytes for %s is larger than the %u that can be sent, or memory is short", size,
            path, CHANNEL_REQUEST_MAX);
    }
    self->finished.run = call_finished;
    self->start.run = call_start;
    self->member.cancel = call_cancel;
    call_result_init(&self->result);
    memcpy(self->path, path, strlen(path) + 1);
    *out = self;
    return STATUS_OK;
}

status_code rpc_unary_start(rpc_loop *loop, rpc_channel *channel, const char *path,
                            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                            uint32_t timeout_ms, const char *traceparent, rpc_done done, void *context,
                            failure *why) {
    if (timeout_ms == 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "DEADLINE_MISSING", "a call of %s needs a deadline", path);
    client_call *self = NULL;
    status_code code = call_make(&self, path, request, why);
    if (code != STATUS_OK || self == NULL)
        return code;
    self->loop = loop;
    self->channel = channel;
    self->response = response;
    self->done = done;
    self->context = context;
    self->deadline = deadline_in(timeout_ms);
    bool traced = traceparent != NULL && traceparent_valid(traceparent, strlen(traceparent));
    self->traceparent = traced ? grpc_slice_from_copied_string(traceparent) : grpc_empty_slice();
    if (!channel_acquire(channel)) {
        call_free_here(self);
        return fail(why, STATUS_CANCELLED, "CHANNEL_CLOSED", "the channel for %s has been closed", path);
    }
    if (rpc_loop_current() == loop && !loop->closing) {
        call_start(&self->start);
        return STATUS_OK;
    }
    if (rpc_loop_current() != loop && loop_send(loop, &self->start))
        return STATUS_OK;
    channel_release(channel);
    call_free_here(self);
    return fail(why, STATUS_UNAVAILABLE, "LOOP_CLOSED", "the event loop for %s has been closed", path);
}
