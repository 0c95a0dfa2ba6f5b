/* Blocking calls, for programs without an event loop of their own. Each has a queue for itself. */
#include <string.h>

#include <grpc/slice.h>

#include "channel.h"
#include "message.h"

typedef struct waiting_call {
    rpc_channel *channel;
    channel_call in_channel;
    grpc_completion_queue *queue;
    call_result result;
    grpc_byte_buffer *received;
    const char *path;
    bool streaming;
} waiting_call;

static void wait_for(waiting_call *self, void *tag) {
    /* Every batch ends by its call's deadline, or by cancellation. */
    grpc_completion_queue_pluck(self->queue, tag, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

static status_code waiting_begin(waiting_call *self, const ProtobufCMessage *request, uint32_t timeout_ms,
                                 failure *why) {
    if (rpc_loop_current() != NULL)
        return fail(why, STATUS_INTERNAL, "BLOCKING_ON_LOOP", "%s may not be waited for on an event loop",
                    self->path);
    size_t size;
    grpc_byte_buffer *sent = message_write(request, CHANNEL_REQUEST_MAX, &size);
    if (sent == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "a request of %zu bytes for %s is larger than the %u that can be sent", size, self->path,
                    CHANNEL_REQUEST_MAX);
    self->queue = grpc_completion_queue_create_for_pluck(NULL);
    call_result_init(&self->result);
    bool acquired = channel_acquire(self->channel);
    if (!acquired || !channel_call_begin(self->channel, &self->in_channel, self->queue, self->path,
                                         deadline_in(timeout_ms))) {
        if (acquired)
            channel_release(self->channel);
        grpc_byte_buffer_destroy(sent);
        grpc_completion_queue_shutdown(self->queue);
        grpc_completion_queue_destroy(self->queue);
        call_result_free(&self->result);
        return fail(why, STATUS_CANCELLED, "CHANNEL_CLOSED", "the channel has been closed");
    }
    grpc_metadata metadata[CHANNEL_METADATA_MAX];
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[0].data.send_initial_metadata.count =
        channel_metadata(self->channel, grpc_empty_slice(), metadata);
    operations[0].data.send_initial_metadata.metadata = metadata;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = sent;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &self->result.headers;
    if (!self->streaming) {
        operations[4].op = GRPC_OP_RECV_MESSAGE;
        operations[4].data.recv_message.recv_message = &self->received;
        call_result_receive(&self->result, &operations[5]);
    }
    /* For a stream the event comes with the headers of the answer, or with the end. */
    batch_start(self->in_channel.call, operations, self->streaming ? 4 : 6, (rpc_event *)(void *)self);
    grpc_byte_buffer_destroy(sent);
    wait_for(self, self);
    return STATUS_OK;
}

static void waiting_end(waiting_call *self) {
    channel_call_end(self->channel, &self->in_channel);
    if (self->received != NULL)
        grpc_byte_buffer_destroy(self->received);
    call_result_free(&self->result);
    grpc_completion_queue_shutdown(self->queue);
    while (grpc_completion_queue_pluck(self->queue, NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(self->queue);
}

/* A reply that cannot be read is the server's fault, not an invalid argument of ours. */
static status_code read_reply(const waiting_call *self, const ProtobufCMessageDescriptor *type, arena *memory,
                              ProtobufCMessage **out, failure *why) {
    status_code code = message_read(type, self->received, SIZE_MAX, memory, out, why);
    return code == STATUS_INVALID_ARGUMENT ? fail_within(why, STATUS_INTERNAL, "the reply of %s", self->path)
                                           : code;
}

status_code rpc_call_wait(rpc_channel *channel, const char *path, const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *response, uint32_t timeout_ms, arena *memory,
                          ProtobufCMessage **out, failure *why) {
    waiting_call self = {.channel = channel, .path = path};
    if (timeout_ms == 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "DEADLINE_MISSING", "a call of %s needs a deadline", path);
    status_code code = waiting_begin(&self, request, timeout_ms, why);
    if (code != STATUS_OK)
        return code;
    code = call_result_read(&self.result, why);
    if (code == STATUS_OK)
        code = read_reply(&self, response, memory, out, why);
    waiting_end(&self);
    return code;
}

/* The next message into self->received; NULL at the end. */
static void receive_next(waiting_call *self) {
    grpc_op operation;
    memset(&operation, 0, sizeof operation);
    operation.op = GRPC_OP_RECV_MESSAGE;
    operation.data.recv_message.recv_message = &self->received;
    batch_start(self->in_channel.call, &operation, 1, (rpc_event *)(void *)self);
    wait_for(self, self);
}

static status_code receive_status(waiting_call *self, failure *why) {
    grpc_op operation;
    memset(&operation, 0, sizeof operation);
    call_result_receive(&self->result, &operation);
    batch_start(self->in_channel.call, &operation, 1, (rpc_event *)(void *)self);
    wait_for(self, self);
    return call_result_read(&self->result, why);
}

status_code rpc_stream_wait(rpc_channel *channel, const char *path, const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *response, uint32_t timeout_ms,
                            bool (*each)(void *context, const ProtobufCMessage *message), void *context,
                            failure *why) {
    waiting_call self = {.channel = channel, .path = path, .streaming = true};
    status_code code = waiting_begin(&self, request, timeout_ms, why);
    if (code != STATUS_OK)
        return code;
    arena memory;
    arena_init(&memory, LOOP_ARENA_FIRST_BYTES, LOOP_ARENA_LIMIT_BYTES);
    bool wanted = true;
    receive_next(&self);
    while (self.received != NULL && wanted && code == STATUS_OK) {
        ProtobufCMessage *message;
        code = read_reply(&self, response, &memory, &message, why);
        wanted = code == STATUS_OK && each(context, message);
        arena_reset(&memory);
        grpc_byte_buffer_destroy(self.received);
        self.received = NULL;
        if (wanted)
            receive_next(&self);
    }
    if (!wanted)
        grpc_call_cancel(self.in_channel.call, NULL);
    status_code status = receive_status(&self, wanted ? why : NULL);
    waiting_end(&self);
    arena_free(&memory);
    return wanted ? status : code;
}
