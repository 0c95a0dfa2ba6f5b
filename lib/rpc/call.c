/* A unary call: arrives with its message, is admitted, handled, answered in one batch, and its slot posted
 * again. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/slice.h>

#include "base/chance.h"
#include "base/limits.h"
#include "detail.h"
#include "identity.h"
#include "message.h"
#include "server_parts.h"

struct rpc_call {
    rpc_event arrived, replied, ended;
    rpc_mail completed_mail;
    method_slots *slots;
    grpc_call *call;
    grpc_metadata_array metadata;
    gpr_timespec deadline;
    grpc_byte_buffer *payload;
    uint64_t started_ns;
    arena *memory;
    const rpc_peer *peer;
    ProtobufCMessage *request, *response;
    rpc_call *next_idle;

    status_code code;
    failure *problem; /* of a deferred call, in its arena */
    int closed_early; /* written by gRPC: the client went away */
    atomic_bool cancelled;
    bool in_handler, completed; /* completed within the handler itself */
    bool deferred, answered, reply_done, end_done;
    char traceparent[56];
};

/* ---- admission, shared with streams ---- */

static bool deadline_passed(gpr_timespec deadline) {
    return gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) != 0 &&
           gpr_time_cmp(deadline, gpr_now(deadline.clock_type)) <= 0;
}

static void header_read(const grpc_metadata_array *metadata, peer_statement *stated, char traceparent[56]) {
    *stated = (peer_statement){0};
    traceparent[0] = '\0';
    for (size_t i = 0; i < metadata->count; i++) {
        const grpc_metadata *item = &metadata->metadata[i];
        size_t key_size = GRPC_SLICE_LENGTH(item->key);
        const char *value = (const char *)GRPC_SLICE_START_PTR(item->value);
        if (key_size == 14 && slice_equals(item->key, "interlock-role", 14)) {
            stated->role = value;
            stated->role_size = GRPC_SLICE_LENGTH(item->value);
            stated->role_count++;
        } else if (key_size == 11 && slice_equals(item->key, "traceparent", 11) &&
                   traceparent_valid(value, GRPC_SLICE_LENGTH(item->value))) {
            memcpy(traceparent, value, TRACEPARENT_SIZE);
            traceparent[TRACEPARENT_SIZE] = '\0';
        }
    }
}

static status_code shed(method_slots *slots, failure *why) {
    meter_add(&slots->meter.shed);
    status_code code = fail(why, STATUS_RESOURCE_EXHAUSTED, "OVERLOADED",
                            "more than %u calls are in flight on this event loop; try again later",
                            slots->home->server->options.calls_limit);
    why->retry_after_ms = SHED_RETRY_MS;
    return code;
}

status_code call_admit(method_slots *slots, grpc_call *call, const grpc_metadata_array *metadata,
                       gpr_timespec deadline, arena *memory, const rpc_peer **peer, char traceparent[56],
                       failure *why) {
    server_loop *home = slots->home;
    const server_method *method = slots->method;
    unsigned limit = home->server->options.calls_limit;
    /* Health stays reachable under load, within a bound of its own. */
    if (loop_in_flight(home) > (method->internal ? 2 * limit : limit))
        return shed(slots, why);
    if (deadline_passed(deadline))
        return fail(why, STATUS_DEADLINE_EXCEEDED, "DEADLINE_PASSED",
                    "the deadline passed before the call was looked at; allow more time");
    peer_statement stated;
    header_read(metadata, &stated, traceparent);
    bool anyone = (method->row.roles & ROLE_ANYONE) != 0;
    status_code code =
        peer_find(&home->server->book, &home->peers, call, &stated, memory, peer, anyone ? NULL : why);
    if (anyone)
        return STATUS_OK;
    return code != STATUS_OK ? code : peer_may(*peer, method->row.roles, method->row.path, why);
}

void ending_fill(call_ending *self, grpc_op *operation, status_code code, const failure *why) {
    *self = (call_ending){.failed = code != STATUS_OK};
    operation->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    operation->data.send_status_from_server.status = (grpc_status_code)code;
    if (!self->failed)
        return;
    self->detail = detail_encode(code, why);
    self->message = grpc_slice_from_copied_string(why != NULL ? why->message : "");
    self->trailer.key = grpc_slice_from_static_string(DETAIL_KEY);
    self->trailer.value = self->detail;
    operation->data.send_status_from_server.status_details = &self->message;
    operation->data.send_status_from_server.trailing_metadata = &self->trailer;
    operation->data.send_status_from_server.trailing_metadata_count = 1;
}

void ending_release(call_ending *self) {
    if (!self->failed)
        return;
    grpc_slice_unref(self->detail);
    grpc_slice_unref(self->message);
}

/* ---- the life of a unary call ---- */

static void call_end(rpc_call *self) {
    method_slots *slots = self->slots;
    server_loop *home = slots->home;
    meter_handled(&slots->meter, self->code, monotonic_ns() - self->started_ns);
    if (self->call != NULL)
        grpc_call_unref(self->call);
    self->call = NULL;
    self->metadata.count = 0;
    loop_arena_give(&home->loop, self->memory);
    self->memory = NULL;
    self->next_idle = home->idle_calls;
    home->idle_calls = self;
    loop_count(&home->calls, -1);
    slots_fill(slots);
}

static void call_replied(rpc_event *event, bool ok) {
    (void)ok;
    rpc_call *self = OWNER_OF(event, rpc_call, replied);
    self->reply_done = true;
    if (self->end_done || !self->deferred)
        call_end(self);
}

/* Only deferred calls have this event of their own. */
static void call_ended(rpc_event *event, bool ok) {
    (void)ok;
    rpc_call *self = OWNER_OF(event, rpc_call, ended);
    self->end_done = true;
    if (self->closed_early)
        atomic_store(&self->cancelled, true);
    if (self->reply_done) {
        call_end(self);
    } else if (!self->answered) {
        /* Nobody waits for an answer. gRPC's part is let go now, so that a slow handler cannot hold up a
         * connection or a shutdown; ours stays until rpc_call_complete. */
        grpc_call_unref(self->call);
        self->call = NULL;
    }
}

static void call_answer(rpc_call *self, status_code code, const failure *why) {
    failure replaced;
    grpc_op operations[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    size_t count = 1;
    grpc_byte_buffer *reply = NULL;
    if (code == STATUS_OK) {
        size_t size;
        reply = message_write(self->response, REPLY_BYTES_MAX, &size);
        if (reply == NULL) {
            code = fail(&replaced, STATUS_RESOURCE_EXHAUSTED, "REPLY_TOO_LARGE",
                        "the reply has %zu bytes, more than can be sent at once; ask for less", size);
            why = &replaced;
        }
    }
    if (reply != NULL) {
        operations[count].op = GRPC_OP_SEND_MESSAGE;
        operations[count++].data.send_message.send_message = reply;
    }
    call_ending ending;
    ending_fill(&ending, &operations[count++], code, why);
    if (!self->deferred) {
        operations[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        operations[count++].data.recv_close_on_server.cancelled = &self->closed_early;
    }
    self->code = code;
    self->answered = true;
    batch_start(self->call, operations, count, &self->replied);
    ending_release(&ending);
    if (reply != NULL)
        grpc_byte_buffer_destroy(reply);
}

/* On the loop: a deferred call has its result. */
static void call_complete_here(rpc_mail *mail) {
    rpc_call *self = OWNER_OF(mail, rpc_call, completed_mail);
    server_loop *home = self->slots->home;
    if (self->end_done) {
        /* The client is gone: there is nobody to answer. */
        self->code = STATUS_CANCELLED;
        call_end(self);
    } else {
        call_answer(self, self->code, self->problem);
    }
    atomic_fetch_sub_explicit(&home->server->deferred, 1, memory_order_release);
}

void rpc_call_complete(rpc_call *self, status_code code, const failure *why) {
    self->code = code == STATUS_PENDING ? STATUS_INTERNAL : code;
    self->problem = code == STATUS_OK || why == NULL ? NULL : arena_copy(self->memory, why, sizeof *why);
    rpc_loop *loop = &self->slots->home->loop;
    if (rpc_loop_current() != loop) {
        /* A loop that has closed waits no more; its memory stays until everything deferred is complete. */
        atomic_uint *deferred = &self->slots->home->server->deferred;
        if (!loop_send(loop, &self->completed_mail))
            atomic_fetch_sub_explicit(deferred, 1, memory_order_release);
    } else if (self->in_handler) {
        self->completed = true; /* answered as soon as the handler has returned */
    } else {
        call_complete_here(&self->completed_mail);
    }
}

static void call_defer(rpc_call *self) {
    self->deferred = true;
    /* Not too late: whoever completes it from elsewhere is heard on this thread. */
    atomic_fetch_add_explicit(&self->slots->home->server->deferred, 1, memory_order_relaxed);
    grpc_op operation = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    operation.data.recv_close_on_server.cancelled = &self->closed_early;
    batch_start(self->call, &operation, 1, &self->ended);
}

static status_code call_handle(rpc_call *self, failure *why) {
    method_slots *slots = self->slots;
    const server_method *method = slots->method;
    self->memory = loop_arena_take(&slots->home->loop);
    if (self->memory == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for this call; try again later");
    status_code code = call_admit(slots, self->call, &self->metadata, self->deadline, self->memory,
                                  &self->peer, self->traceparent, why);
    if (code == STATUS_OK)
        code = message_read(method->row.request, self->payload, method->request_limit, self->memory,
                            &self->request, why);
    if (code != STATUS_OK)
        return code;
    self->response = arena_alloc(self->memory, method->row.response->sizeof_message);
    if (self->response == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for the reply; send a smaller request");
    protobuf_c_message_init(method->row.response, self->response);
    return method->row.unary(method->service, self, self->request, self->response, why);
}

static void call_arrived(rpc_event *event, bool ok) {
    rpc_call *self = OWNER_OF(event, rpc_call, arrived);
    method_slots *slots = self->slots;
    slots->posted--;
    if (!ok) {
        call_free(self);
        return;
    }
    /* The place of this call is taken at once, so that a slow handler does not hide those that come after it.
     */
    slots_fill(slots);
    meter_add(&slots->meter.started);
    loop_count(&slots->home->calls, 1);
    self->started_ns = monotonic_ns();
    failure why;
    why.reason = NULL;
    why.message[0] = why.field[0] = '\0';
    why.retry_after_ms = 0;
    self->in_handler = true;
    status_code code = call_handle(self, &why);
    self->in_handler = false;
    if (self->payload != NULL) {
        grpc_byte_buffer_destroy(self->payload);
        self->payload = NULL;
    }
    if (code == STATUS_PENDING && !self->completed) {
        call_defer(self);
        return;
    }
    if (self->completed)
        call_answer(self, self->code, self->problem);
    else
        call_answer(self, code, &why);
}

static rpc_call *call_new(server_loop *home) {
    rpc_call *self = home->idle_calls;
    if (self != NULL) {
        home->idle_calls = self->next_idle;
        return self;
    }
    self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->arrived.run = call_arrived;
    self->replied.run = call_replied;
    self->ended.run = call_ended;
    self->completed_mail.run = call_complete_here;
    grpc_metadata_array_init(&self->metadata);
    return self;
}

bool call_post(method_slots *slots) {
    server_loop *home = slots->home;
    rpc_call *self = call_new(home);
    if (self == NULL)
        return false;
    self->slots = slots;
    self->request = self->response = NULL;
    self->problem = NULL;
    self->closed_early = 0;
    atomic_store_explicit(&self->cancelled, false, memory_order_relaxed);
    self->in_handler = self->completed = self->deferred = self->answered = self->reply_done = self->end_done =
        false;
    self->traceparent[0] = '\0';
    grpc_call_error error = grpc_server_request_registered_call(
        home->server->server, slots->method->registered, &self->call, &self->deadline, &self->metadata,
        &self->payload, home->loop.queue, home->loop.queue, &self->arrived);
    if (error != GRPC_CALL_OK)
        call_free(self);
    return error == GRPC_CALL_OK;
}

void call_free(rpc_call *self) {
    grpc_metadata_array_destroy(&self->metadata);
    free(self);
}

rpc_call *call_pop(rpc_call *first) {
    rpc_call *next = first->next_idle;
    call_free(first);
    return next;
}

/* ---- what handlers ask ---- */

arena *rpc_call_arena(rpc_call *self) {
    return self->memory;
}
const rpc_peer *rpc_call_peer(const rpc_call *self) {
    return self->peer;
}
bool rpc_call_cancelled(const rpc_call *self) {
    return atomic_load(&self->cancelled);
}
const char *rpc_call_traceparent(const rpc_call *self) {
    return self->traceparent;
}
rpc_loop *rpc_call_loop(const rpc_call *self) {
    return &self->slots->home->loop;
}
const ProtobufCMessage *rpc_call_request(const rpc_call *self) {
    return self->request;
}
ProtobufCMessage *rpc_call_response(rpc_call *self) {
    return self->response;
}

/* gRPC counts on CLOCK_MONOTONIC, everything of ours on CLOCK_BOOTTIME: only the rest can be carried over. */
uint64_t rpc_call_deadline_boot_ns(const rpc_call *self) {
    if (gpr_time_cmp(self->deadline, gpr_inf_future(self->deadline.clock_type)) == 0)
        return UINT64_MAX;
    gpr_timespec rest = gpr_time_sub(self->deadline, gpr_now(self->deadline.clock_type));
    int64_t rest_ns =
        rest.tv_sec > INT32_MAX ? (int64_t)INT32_MAX * 1000000000 : rest.tv_sec * 1000000000 + rest.tv_nsec;
    uint64_t now_ns = chance_boot_ns(chance_system());
    return rest_ns > 0 ? now_ns + (uint64_t)rest_ns : now_ns;
}

/* ---- unknown methods ---- */

/* Without a slot for them such calls would hang until their deadline. */
typedef struct generic_call {
    rpc_event arrived, replied;
    method_slots *slots;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    uint64_t started_ns;
    int closed_early;
} generic_call;

static void generic_free(generic_call *self) {
    grpc_call_details_destroy(&self->details);
    grpc_metadata_array_destroy(&self->metadata);
    free(self);
}

static void generic_replied(rpc_event *event, bool ok) {
    (void)ok;
    generic_call *self = OWNER_OF(event, generic_call, replied);
    method_slots *slots = self->slots;
    meter_handled(&slots->meter, STATUS_UNIMPLEMENTED, monotonic_ns() - self->started_ns);
    grpc_call_unref(self->call);
    generic_free(self);
    slots->posted--;
    slots_fill(slots);
}

static void generic_arrived(rpc_event *event, bool ok) {
    generic_call *self = OWNER_OF(event, generic_call, arrived);
    if (!ok) {
        self->slots->posted--;
        generic_free(self);
        return;
    }
    meter_add(&self->slots->meter.started);
    self->started_ns = monotonic_ns();
    failure why;
    size_t size = GRPC_SLICE_LENGTH(self->details.method);
    fail(&why, STATUS_UNIMPLEMENTED, "METHOD_UNKNOWN",
         "this server has no method %.*s; list its services by reflection", size > 200 ? 200 : (int)size,
         (const char *)GRPC_SLICE_START_PTR(self->details.method));
    grpc_op operations[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    call_ending ending;
    ending_fill(&ending, &operations[1], STATUS_UNIMPLEMENTED, &why);
    operations[2].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    operations[2].data.recv_close_on_server.cancelled = &self->closed_early;
    batch_start(self->call, operations, 3, &self->replied);
    ending_release(&ending);
}

bool generic_post(method_slots *slots) {
    generic_call *self = calloc(1, sizeof *self);
    if (self == NULL)
        return false;
    self->arrived.run = generic_arrived;
    self->replied.run = generic_replied;
    self->slots = slots;
    grpc_call_details_init(&self->details);
    grpc_metadata_array_init(&self->metadata);
    grpc_completion_queue *queue = slots->home->loop.queue;
    grpc_call_error error = grpc_server_request_call(slots->home->server->server, &self->call, &self->details,
                                                     &self->metadata, queue, queue, &self->arrived);
    if (error != GRPC_CALL_OK)
        generic_free(self);
    return error == GRPC_CALL_OK;
}
