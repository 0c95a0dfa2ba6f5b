/* Server streams and bidirectional streams. At most one receive and one send are under way; what else is to
 * be sent waits in the outbox. */
#include <stdlib.h>
#include <string.h>

#include "detail.h"
#include "message.h"
#include "outbox.h"
#include "server_parts.h"

struct rpc_stream {
    rpc_event arrived, sent, received, ended;
    rpc_mail called;
    atomic_uint references;
    method_slots *slots;
    grpc_call *call;
    grpc_metadata_array metadata;
    gpr_timespec deadline;
    grpc_byte_buffer *payload;
    uint64_t started_ns;
    outbox outbox;

    /* Written once before the outbox closes, read after. */
    status_code finish_code;
    failure finish_why;
    atomic_bool resume_wanted;

    /* Loop thread only. */
    arena *memory; /* of the caller and of a server stream's request */
    const rpc_peer *peer;
    void *user;
    int closed_early;
    bool in_open, opened, headers_sent, sending, receiving, paused, client_done, status_sent, end_done;
    rpc_stream *previous, *next;
};

static void stream_pump(rpc_stream *self);

static const rpc_stream_handlers *handlers_of(const rpc_stream *self) {
    return self->slots->method->row.stream;
}

/* ---- references ---- */

void rpc_stream_ref(rpc_stream *self) {
    atomic_fetch_add_explicit(&self->references, 1, memory_order_relaxed);
}

void rpc_stream_unref(rpc_stream *self) {
    if (atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) != 1)
        return;
    grpc_metadata_array_destroy(&self->metadata);
    outbox_free(&self->outbox);
    free(self);
}

/* Tells the loop that the outbox has something to do; the mail holds a reference. */
static void stream_call(rpc_stream *self) {
    rpc_loop *loop = &self->slots->home->loop;
    if (rpc_loop_current() == loop) {
        outbox_answer(&self->outbox);
        stream_pump(self); /* does nothing within `open`, after which it runs anyway */
        return;
    }
    rpc_stream_ref(self);
    if (!loop_send(loop, &self->called))
        rpc_stream_unref(self);
}

static void stream_receive(rpc_stream *self);

static void stream_called(rpc_mail *mail) {
    rpc_stream *self = OWNER_OF(mail, rpc_stream, called);
    outbox_answer(&self->outbox);
    if (atomic_exchange(&self->resume_wanted, false) && self->paused) {
        self->paused = false;
        stream_receive(self);
    }
    stream_pump(self);
    rpc_stream_unref(self);
}

/* ---- the end ---- */

static void unlink_stream(rpc_stream *self) {
    server_loop *home = self->slots->home;
    if (self->previous != NULL)
        self->previous->next = self->next;
    else
        home->streams = self->next;
    if (self->next != NULL)
        self->next->previous = self->previous;
}

static void stream_end_if_done(rpc_stream *self) {
    if (!self->end_done || self->sending || self->receiving)
        return;
    method_slots *slots = self->slots;
    server_loop *home = slots->home;
    if (self->opened && handlers_of(self)->closed != NULL)
        handlers_of(self)->closed(slots->method->service, self);
    status_code code = self->status_sent && !self->closed_early ? self->finish_code : STATUS_CANCELLED;
    meter_handled(&slots->meter, code, monotonic_ns() - self->started_ns);
    grpc_call_unref(self->call);
    self->call = NULL;
    loop_arena_give(&home->loop, self->memory);
    self->memory = NULL;
    self->peer = NULL;
    unlink_stream(self);
    loop_count(&home->streams_open, -1);
    slots_fill(slots);
    rpc_stream_unref(self);
}

static void stream_ended(rpc_event *event, bool ok) {
    (void)ok;
    rpc_stream *self = OWNER_OF(event, rpc_stream, ended);
    self->end_done = true;
    outbox_drop(&self->outbox);
    stream_end_if_done(self);
}

/* ---- sending ---- */

static void stream_sent(rpc_event *event, bool ok) {
    (void)ok; /* a failed send means that the call is over, which `ended` says */
    rpc_stream *self = OWNER_OF(event, rpc_stream, sent);
    self->sending = false;
    if (self->end_done)
        stream_end_if_done(self);
    else
        stream_pump(self);
}

static bool finish_wanted(rpc_stream *self) {
    pthread_mutex_lock(&self->outbox.mutex);
    bool wanted = self->outbox.closed && self->outbox.first == NULL;
    pthread_mutex_unlock(&self->outbox.mutex);
    return wanted;
}

static void stream_pump(rpc_stream *self) {
    if (self->sending || self->end_done || self->status_sent || self->in_open)
        return;
    grpc_op operations[2];
    memset(operations, 0, sizeof operations);
    size_t count = 0;
    if (!self->headers_sent)
        operations[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    bool more;
    call_ending ending = {.failed = false};
    grpc_byte_buffer *wire = outbox_take(&self->outbox, &more);
    if (wire != NULL) {
        operations[count].op = GRPC_OP_SEND_MESSAGE;
        /* Never together with the headers: gRPC would then write neither, and the batch would not end. */
        operations[count].flags = more && count == 0 ? GRPC_WRITE_BUFFER_HINT : 0;
        operations[count++].data.send_message.send_message = wire;
    } else if (finish_wanted(self)) {
        ending_fill(&ending, &operations[count++], self->finish_code, &self->finish_why);
        self->status_sent = true;
    }
    if (count == 0)
        return;
    self->headers_sent = true;
    self->sending = true;
    batch_start(self->call, operations, count, &self->sent);
    ending_release(&ending);
    if (wire != NULL)
        grpc_byte_buffer_destroy(wire);
}

status_code rpc_stream_send(rpc_stream *self, const ProtobufCMessage *message) {
    bool call;
    status_code code = outbox_put(&self->outbox, message, &call);
    if (call)
        stream_call(self);
    return code;
}

size_t rpc_stream_queued(const rpc_stream *self) {
    return outbox_count(&self->outbox);
}

/* The first wish to end wins. The code is written under the outbox's mutex, before anybody can see it closed.
 */
void rpc_stream_finish(rpc_stream *self, status_code code, const failure *why) {
    pthread_mutex_lock(&self->outbox.mutex);
    bool first = !self->outbox.closed;
    if (first) {
        self->finish_code = code == STATUS_PENDING ? STATUS_INTERNAL : code;
        if (why != NULL && code != STATUS_OK)
            self->finish_why = *why;
        self->outbox.closed = true;
    }
    bool call = first && !self->outbox.called;
    if (call)
        self->outbox.called = true;
    pthread_mutex_unlock(&self->outbox.mutex);
    if (call)
        stream_call(self);
}

/* ---- receiving ---- */

static void stream_receive(rpc_stream *self) {
    if (self->receiving || self->client_done || self->end_done || self->paused)
        return;
    grpc_op operation;
    memset(&operation, 0, sizeof operation);
    operation.op = GRPC_OP_RECV_MESSAGE;
    operation.data.recv_message.recv_message = &self->payload;
    self->receiving = true;
    batch_start(self->call, &operation, 1, &self->received);
}

static status_code stream_handle(rpc_stream *self, failure *why) {
    const server_method *method = self->slots->method;
    rpc_loop *loop = &self->slots->home->loop;
    arena *memory = loop_arena_take(loop);
    if (memory == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for a message; try again later");
    ProtobufCMessage *message;
    status_code code =
        message_read(method->row.request, self->payload, method->request_limit, memory, &message, why);
    if (code == STATUS_OK)
        code = method->row.stream->message(method->service, self, message, memory, why);
    loop_arena_give(loop, memory);
    return code;
}

static void client_half_closed(rpc_stream *self) {
    self->client_done = true;
    if (handlers_of(self)->half_closed != NULL)
        handlers_of(self)->half_closed(self->slots->method->service, self);
    else
        rpc_stream_finish(self, STATUS_OK, NULL);
}

static void stream_received(rpc_event *event, bool ok) {
    rpc_stream *self = OWNER_OF(event, rpc_stream, received);
    if (!ok || self->payload == NULL) {
        /* The end of the call looks the same here; then half_closed may still come, once, before `closed`. */
        self->receiving = false;
        if (!self->end_done)
            client_half_closed(self);
        stream_end_if_done(self);
        return;
    }
    failure why = {0};
    /* Marked only after the handler, so that it cannot start a second receive by resuming within itself. */
    self->paused = true;
    status_code code = self->status_sent || self->end_done ? STATUS_OK : stream_handle(self, &why);
    grpc_byte_buffer_destroy(self->payload);
    self->payload = NULL;
    self->receiving = false;
    if (code != STATUS_PENDING || atomic_exchange(&self->resume_wanted, false))
        self->paused = false;
    if (code != STATUS_OK && code != STATUS_PENDING) {
        self->client_done = true; /* reads no more */
        rpc_stream_finish(self, code, &why);
    }
    stream_receive(self);
    stream_end_if_done(self);
}

void rpc_stream_resume(rpc_stream *self) {
    atomic_store(&self->resume_wanted, true);
    if (rpc_loop_current() == &self->slots->home->loop && !self->receiving && self->paused) {
        atomic_store(&self->resume_wanted, false);
        self->paused = false;
        stream_receive(self);
    } else if (rpc_loop_current() != &self->slots->home->loop && outbox_call(&self->outbox)) {
        stream_call(self);
    }
}

/* ---- the beginning ---- */

static status_code stream_open(rpc_stream *self, failure *why) {
    method_slots *slots = self->slots;
    const server_method *method = slots->method;
    self->memory = loop_arena_take(&slots->home->loop);
    if (self->memory == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for this stream; try again later");
    char traceparent[56];
    ProtobufCMessage *request = NULL;
    status_code code = call_admit(slots, self->call, &self->metadata, self->deadline, self->memory,
                                  &self->peer, traceparent, why);
    if (code == STATUS_OK && method->row.shape == RPC_SHAPE_SERVER_STREAM)
        code = message_read(method->row.request, self->payload, method->request_limit, self->memory, &request,
                            why);
    if (code != STATUS_OK)
        return code;
    self->in_open = true;
    code = method->row.stream->open(method->service, self, request, why);
    self->in_open = false;
    self->opened = code == STATUS_OK || code == STATUS_PENDING;
    return self->opened ? STATUS_OK : code;
}

static void stream_begin(rpc_stream *self) {
    server_loop *home = self->slots->home;
    self->next = home->streams;
    if (self->next != NULL)
        self->next->previous = self;
    home->streams = self;
    grpc_op operation;
    memset(&operation, 0, sizeof operation);
    operation.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    operation.data.recv_close_on_server.cancelled = &self->closed_early;
    batch_start(self->call, &operation, 1, &self->ended);
}

static void stream_arrived(rpc_event *event, bool ok) {
    rpc_stream *self = OWNER_OF(event, rpc_stream, arrived);
    method_slots *slots = self->slots;
    slots->posted--;
    if (!ok) {
        rpc_stream_unref(self);
        return;
    }
    slots_fill(slots);
    meter_add(&slots->meter.started);
    loop_count(&slots->home->streams_open, 1);
    self->started_ns = monotonic_ns();
    stream_begin(self);
    failure why = {0};
    status_code code = stream_open(self, &why);
    if (self->payload != NULL) {
        grpc_byte_buffer_destroy(self->payload);
        self->payload = NULL;
    }
    if (code != STATUS_OK)
        rpc_stream_finish(self, code, &why);
    else if (slots->method->row.shape == RPC_SHAPE_BIDI)
        stream_receive(self);
    stream_pump(self); /* at least the headers: the client may wait for them */
}

bool stream_post(method_slots *slots) {
    rpc_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        return false;
    self->arrived.run = stream_arrived;
    self->sent.run = stream_sent;
    self->received.run = stream_received;
    self->ended.run = stream_ended;
    self->called.run = stream_called;
    atomic_init(&self->references, 1);
    self->slots = slots;
    outbox_init(&self->outbox);
    grpc_metadata_array_init(&self->metadata);
    server_loop *home = slots->home;
    bool with_payload = slots->method->row.shape == RPC_SHAPE_SERVER_STREAM;
    grpc_call_error error = grpc_server_request_registered_call(
        home->server->server, slots->method->registered, &self->call, &self->deadline, &self->metadata,
        with_payload ? &self->payload : NULL, home->loop.queue, home->loop.queue, &self->arrived);
    if (error != GRPC_CALL_OK)
        rpc_stream_unref(self);
    return error == GRPC_CALL_OK;
}

void stream_end_all(server_loop *self) {
    failure why;
    fail(&why, STATUS_UNAVAILABLE, "SHUTTING_DOWN", "the server is shutting down; connect again");
    for (rpc_stream *stream = self->streams, *next; stream != NULL; stream = next) {
        next = stream->next;
        rpc_stream_finish(stream, STATUS_UNAVAILABLE, &why);
    }
}

/* ---- what handlers ask ---- */

const rpc_peer *rpc_stream_peer(const rpc_stream *self) {
    return self->peer;
}
rpc_loop *rpc_stream_loop(const rpc_stream *self) {
    return &self->slots->home->loop;
}
void rpc_stream_set_user(rpc_stream *self, void *user) {
    self->user = user;
}
void *rpc_stream_user(const rpc_stream *self) {
    return self->user;
}
