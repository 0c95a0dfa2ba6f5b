/* Following the log: a loop, and so a thread, of its own, on which `entries` may block. What it took is where
 * the next stream begins, so nothing is skipped and nothing comes twice. */
#include "client/audit_client.h"

#include <stdlib.h>

#define TAIL_METHOD "/interlock.audit.v1.AuditService/Tail"
#define TICK_MS 500U
#define SILENCE_MS 4000U /* audit says something every second: then the connection is dead */
#define BACKOFF_FIRST_MS 100U
#define BACKOFF_MOST_MS 2000U

typedef Interlock__Audit__V1__TailResponse tail_response;

struct audit_follower {
    rpc_channel *channel;
    rpc_loop *loop;
    audit_entries entries;
    void *context;
    bool light; /* wants no records of actions */

    /* The loop's thread alone. */
    rpc_client_stream *stream; /* NULL: none */
    uint64_t next;
    uint64_t heard_ms;
    uint32_t backoff_ms;
    bool reopen_armed;
    bool over; /* `entries` wants no more */
};

static void open_stream(audit_follower *self);

static uint64_t now_ms(void) {
    return chance_boot_ms(chance_system());
}

static void reopen_task(void *context) {
    audit_follower *self = context;
    self->reopen_armed = false;
    if (self->stream == NULL && !self->over)
        open_stream(self);
}

/* Without room for a timer the tick tries again. */
static void reopen_later(audit_follower *self) {
    if (rpc_loop_after(self->loop, self->backoff_ms, reopen_task, self) != STATUS_OK)
        return;
    self->reopen_armed = true;
    self->backoff_ms = self->backoff_ms * 2 < BACKOFF_MOST_MS ? self->backoff_ms * 2 : BACKOFF_MOST_MS;
}

static bool continues(const audit_follower *self, const tail_response *batch) {
    for (size_t i = 0; i < batch->n_entries; i++)
        if (batch->entries[i]->index != self->next + i)
            return false;
    return true;
}

static void stream_message(void *context, const ProtobufCMessage *message) {
    audit_follower *self = context;
    const tail_response *batch = (const tail_response *)message;
    if (self->over)
        return;
    if (!continues(self, batch)) {
        rpc_client_stream_cancel(self->stream); /* not the log that it was: begin again where we are */
        return;
    }
    self->backoff_ms = BACKOFF_FIRST_MS;
    if (self->entries(self->context, batch)) {
        self->next += batch->n_entries;
    } else {
        self->over = true;
        rpc_client_stream_cancel(self->stream);
    }
    self->heard_ms = now_ms();
}

static void stream_closed(void *context, status_code code, const failure *why) {
    (void)code;
    (void)why;
    audit_follower *self = context;
    self->stream = NULL;
    if (!self->over)
        reopen_later(self);
}

static void open_stream(audit_follower *self) {
    static const rpc_client_stream_handlers handlers = {.message = stream_message, .closed = stream_closed};
    failure why = {0};
    Interlock__Audit__V1__TailRequest request = INTERLOCK__AUDIT__V1__TAIL_REQUEST__INIT;
    request.from_index = self->next;
    request.without_action_records = self->light;
    self->heard_ms = now_ms();
    if (rpc_client_stream_open(self->loop, self->channel, TAIL_METHOD,
                               &interlock__audit__v1__tail_response__descriptor, &handlers, self,
                               &self->stream, &why) != STATUS_OK) {
        self->stream = NULL;
        reopen_later(self);
        return;
    }
    if (rpc_client_stream_send(self->stream, &request.base) != STATUS_OK)
        rpc_client_stream_cancel(self->stream);
    else
        rpc_client_stream_half_close(self->stream);
}

static void tick_task(void *context) {
    audit_follower *self = context;
    if (self->over)
        return;
    if (self->stream == NULL && !self->reopen_armed)
        open_stream(self);
    else if (self->stream != NULL && now_ms() - self->heard_ms > SILENCE_MS)
        rpc_client_stream_cancel(self->stream);
    if (rpc_loop_after(self->loop, TICK_MS, tick_task, self) != STATUS_OK)
        return; /* the loop is closing */
}

static void start_task(void *context) {
    audit_follower *self = context;
    open_stream(self);
    if (rpc_loop_after(self->loop, TICK_MS, tick_task, self) != STATUS_OK)
        return; /* the loop is closing */
}

static status_code follower_start(audit_follower **out, rpc_channel *channel, uint64_t from_index, bool light,
                                  audit_entries entries, void *context, failure *why) {
    audit_follower *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a follower");
    self->channel = channel;
    self->entries = entries;
    self->context = context;
    self->light = light;
    self->next = from_index;
    self->backoff_ms = BACKOFF_FIRST_MS;
    status_code status = rpc_loop_start_aside(&self->loop, why);
    if (status == STATUS_OK && rpc_loop_post(self->loop, start_task, self) != STATUS_OK) {
        rpc_loop_stop(self->loop);
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "cannot start following the log");
    }
    if (status != STATUS_OK)
        free(self);
    else
        *out = self;
    return status;
}

status_code audit_follower_start(audit_follower **out, rpc_channel *channel, uint64_t from_index,
                                 audit_entries entries, void *context, failure *why) {
    return follower_start(out, channel, from_index, false, entries, context, why);
}

status_code audit_follower_start_light(audit_follower **out, rpc_channel *channel, uint64_t from_index,
                                       audit_entries entries, void *context, failure *why) {
    return follower_start(out, channel, from_index, true, entries, context, why);
}

/* The loop cancels the stream and ends its thread once `entries` has returned. */
void audit_follower_stop(audit_follower *self) {
    if (self == NULL)
        return;
    rpc_loop_stop(self->loop);
    free(self);
}
