/* The client of audit: an appender that batches and sends again, a follower that never skips, and blocking
 * calls. */
#include "client/audit_client.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>
#pragma GCC diagnostic pop

#define METHOD(name) "/interlock.audit.v1.AuditService/" name
#define PENDING_MAX 4096U
#define BATCH_APPENDS 64U
#define BATCH_BYTES (2U << 20) /* a message stays well below the server's limit */
#define TICK_MS 20U            /* how late a deadline may be noticed */
#define SILENCE_NS 5000000000U /* without an answer for so long, the connection is taken to be dead */
#define HELD_UP_MS 1U
#define BACKOFF_FIRST_MS 50U
#define BACKOFF_MOST_MS 1000U

typedef Interlock__Audit__V1__AppendGist append_result;
typedef Interlock__Audit__V1__AppendStreamGist stream_response;

/* ---- Appender: what is pending ---- */

/* A request that has no answer yet. It is kept as it goes out: as the field `append` of a NumberedAppend,
 * length first, which protobuf-c copies into a message as it is. */
typedef struct pending {
    UT_hash_handle hh; /* by number; also the order of arrival */
    uint64_t number;
    uint64_t deadline_boot_ns;
    audit_appended done;
    void *context;
    struct pending *next_unsent;
    bool unsent;
    size_t size;
    uint8_t field[];
} pending;

struct audit_appender {
    rpc_loop *loop;
    rpc_channel *channel;
    const chance *source;
    rpc_client_stream *stream; /* NULL: none */
    pending *table;
    pending *unsent_first, *unsent_last;
    uint64_t last_number;
    uint64_t quiet_since_ns; /* the last answer, or the first append after all were answered */
    uint32_t backoff_ms;
    unsigned outstanding; /* tasks and callbacks that still point here */
    bool pump_posted, tick_armed, reopen_armed, closed;
    failure last_loss; /* why the stream was lost, for those who wait in vain */
};

static void unsent_push(audit_appender *self, pending *item) {
    item->unsent = true;
    item->next_unsent = NULL;
    if (self->unsent_last != NULL)
        self->unsent_last->next_unsent = item;
    else
        self->unsent_first = item;
    self->unsent_last = item;
}

static void unsent_drop(audit_appender *self, const pending *gone) {
    pending **link = &self->unsent_first, *last = NULL;
    while (*link != NULL && *link != gone) {
        last = *link;
        link = &(*link)->next_unsent;
    }
    if (*link == NULL)
        return;
    *link = gone->next_unsent;
    if (self->unsent_last == gone)
        self->unsent_last = last;
}

static pending *pending_find(audit_appender *self, uint64_t number) {
    pending *item = NULL;
    HASH_FIND(hh, self->table, &number, sizeof number, item);
    return item;
}

/* Takes it out first, so that `done` may append again. */
static void pending_end(audit_appender *self, pending *item, status_code code, const append_result *response,
                        const failure *why) {
    HASH_DELETE(hh, self->table, item);
    if (item->unsent)
        unsent_drop(self, item);
    item->done(item->context, code, response, why);
    free(item);
}

static size_t put_varint(uint8_t *out, size_t value) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

static pending *pending_new(const Interlock__Audit__V1__AppendRequest *request) {
    uint8_t length[10];
    size_t size = interlock__audit__v1__append_request__get_packed_size(request);
    size_t length_size = put_varint(length, size);
    pending *item = malloc(sizeof *item + length_size + size);
    if (item == NULL)
        return NULL;
    *item = (pending){.size = length_size + size};
    memcpy(item->field, length, length_size);
    interlock__audit__v1__append_request__pack(request, item->field + length_size);
    return item;
}

/* ---- Appender: sending ---- */

static void appender_pump(audit_appender *self);
static void appender_open_stream(audit_appender *self);

static void appender_free_if_over(audit_appender *self) {
    if (self->closed && self->stream == NULL && self->outstanding == 0)
        free(self);
}

/* What a task on the loop begins with: false when the appender was closed meanwhile. */
static bool task_wanted(audit_appender *self) {
    self->outstanding--;
    if (!self->closed)
        return true;
    appender_free_if_over(self);
    return false;
}

static void tick_task(void *context);

static void arm_tick(audit_appender *self) {
    if (self->tick_armed || self->table == NULL ||
        rpc_loop_after(self->loop, TICK_MS, tick_task, self) != STATUS_OK)
        return;
    self->tick_armed = true;
    self->outstanding++;
}

static void expire(audit_appender *self, pending *item) {
    failure why = {0};
    const char *cause =
        self->last_loss.message[0] != '\0' ? self->last_loss.message : "audit does not answer";
    fail(&why, STATUS_UNAVAILABLE, "UNKNOWN_RESULT",
         "no answer from audit by the deadline (%.300s); it may or may not be in the log: send it again "
         "unchanged",
         cause);
    pending_end(self, item, STATUS_UNAVAILABLE, NULL, &why);
}

static void appender_look_after_stream(audit_appender *self, uint64_t now_ns) {
    if (self->stream == NULL && !self->reopen_armed) {
        appender_open_stream(self);
    } else if (self->stream != NULL && self->table != NULL && now_ns > self->quiet_since_ns + SILENCE_NS) {
        self->quiet_since_ns = now_ns;
        rpc_client_stream_cancel(self->stream); /* `closed` follows, and everything is sent again */
    }
}

static void tick_task(void *context) {
    audit_appender *self = context;
    self->tick_armed = false;
    if (!task_wanted(self))
        return;
    uint64_t now_ns = chance_boot_ns(self->source);
    self->outstanding++; /* a `done` may close */
    pending *item = self->table;
    while (item != NULL && !self->closed) {
        pending *next = item->hh.next;
        if (item->deadline_boot_ns <= now_ns)
            expire(self, item);
        item = next;
    }
    self->outstanding--;
    if (!self->closed) {
        appender_look_after_stream(self, now_ns);
        arm_tick(self);
    }
    appender_free_if_over(self);
}

static void pump_task(void *context) {
    audit_appender *self = context;
    self->pump_posted = false;
    if (task_wanted(self))
        appender_pump(self);
}

/* The loop comes back here after whatever else has arrived, so that this goes out together; and when the
 * transport is held up, a moment later: an answer, which pumps as well, is not always to come. */
static void post_pump(audit_appender *self) {
    if (self->pump_posted)
        return;
    status_code status = self->stream != NULL && rpc_client_stream_queued(self->stream) > 0
                             ? rpc_loop_after(self->loop, HELD_UP_MS, pump_task, self)
                             : rpc_loop_later(self->loop, pump_task, self);
    if (status != STATUS_OK)
        return; /* the next answer pumps as well */
    self->pump_posted = true;
    self->outstanding++;
}

static status_code send_batch(audit_appender *self) {
    Interlock__Audit__V1__NumberedAppend numbered[BATCH_APPENDS], *pointers[BATCH_APPENDS];
    ProtobufCMessageUnknownField fields[BATCH_APPENDS];
    Interlock__Audit__V1__AppendStreamRequest message = INTERLOCK__AUDIT__V1__APPEND_STREAM_REQUEST__INIT;
    size_t count = 0, size = 0;
    for (pending *item = self->unsent_first;
         item != NULL && count < BATCH_APPENDS && (count == 0 || size + item->size <= BATCH_BYTES);
         item = item->next_unsent, count++) {
        interlock__audit__v1__numbered_append__init(&numbered[count]);
        fields[count] = (ProtobufCMessageUnknownField){.tag = 2,
                                                       .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                                       .len = item->size,
                                                       .data = item->field};
        numbered[count].number = item->number;
        numbered[count].base.n_unknown_fields = 1;
        numbered[count].base.unknown_fields = &fields[count];
        pointers[count] = &numbered[count];
        size += item->size;
    }
    message.n_appends = count;
    message.appends = pointers;
    status_code status = rpc_client_stream_send(self->stream, &message.base);
    for (; status == STATUS_OK && count > 0; count--) {
        self->unsent_first->unsent = false;
        self->unsent_first = self->unsent_first->next_unsent;
    }
    if (self->unsent_first == NULL)
        self->unsent_last = NULL;
    return status;
}

static void appender_pump(audit_appender *self) {
    if (self->stream == NULL || self->unsent_first == NULL)
        return;
    if (rpc_client_stream_queued(self->stream) == 0 && send_batch(self) != STATUS_OK)
        return; /* the stream is ending: `closed` follows, and everything is sent again */
    if (self->unsent_first != NULL)
        post_pump(self);
}

/* ---- Appender: the stream ---- */

/* Nothing was written, and audit knows it: for the caller the same as a call that ended with UNAVAILABLE. */
static void end_unavailable(audit_appender *self, pending *item,
                            const Interlock__Audit__V1__Refusal *refusal) {
    failure why = {0};
    fail(&why, STATUS_UNAVAILABLE, "NOT_WRITTEN", "%.400s", refusal->message);
    why.retry_after_ms = refusal->retry_after_ms;
    pending_end(self, item, STATUS_UNAVAILABLE, NULL, &why);
}

static void take_result(audit_appender *self, const Interlock__Audit__V1__NumberedGist *result) {
    static const failure none;
    pending *item = pending_find(self, result->number);
    const append_result *response = result->result;
    if (item == NULL || response == NULL)
        return; /* it came after the deadline */
    if (response->result_case == INTERLOCK__AUDIT__V1__APPEND_GIST__RESULT_REFUSAL &&
        response->refusal->reason == INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_UNAVAILABLE)
        end_unavailable(self, item, response->refusal);
    else
        pending_end(self, item, STATUS_OK, response, &none);
}

static void stream_message(void *context, const ProtobufCMessage *message) {
    audit_appender *self = context;
    const stream_response *results = (const stream_response *)message;
    self->backoff_ms = BACKOFF_FIRST_MS;
    self->quiet_since_ns = chance_boot_ns(self->source);
    self->outstanding++; /* a `done` may close */
    for (size_t i = 0; i < results->n_results && !self->closed; i++)
        take_result(self, results->results[i]);
    self->outstanding--;
    if (!self->closed)
        appender_pump(self);
}

static void reopen_task(void *context) {
    audit_appender *self = context;
    self->reopen_armed = false;
    if (task_wanted(self) && self->stream == NULL && self->table != NULL)
        appender_open_stream(self);
}

static void arm_reopen(audit_appender *self) {
    if (self->reopen_armed || rpc_loop_after(self->loop, self->backoff_ms, reopen_task, self) != STATUS_OK)
        return; /* the next append or tick opens it */
    self->reopen_armed = true;
    self->outstanding++;
    self->backoff_ms = self->backoff_ms * 2 < BACKOFF_MOST_MS ? self->backoff_ms * 2 : BACKOFF_MOST_MS;
}

/* Everything without an answer goes out again, in the order in which it came. */
static void stream_closed(void *context, status_code code, const failure *why) {
    audit_appender *self = context;
    self->stream = NULL;
    if (self->closed) {
        appender_free_if_over(self);
        return;
    }
    if (why != NULL && code != STATUS_OK)
        self->last_loss = *why;
    self->unsent_first = self->unsent_last = NULL;
    for (pending *item = self->table; item != NULL; item = item->hh.next)
        unsent_push(self, item);
    arm_reopen(self);
}

static void appender_open_stream(audit_appender *self) {
    static const rpc_client_stream_handlers handlers = {.message = stream_message, .closed = stream_closed};
    failure why = {0};
    if (rpc_client_stream_open(self->loop, self->channel, METHOD("AppendStream"),
                               &interlock__audit__v1__append_stream_gist__descriptor, &handlers, self,
                               &self->stream, &why) != STATUS_OK) {
        self->stream = NULL;
        self->last_loss = why;
        arm_reopen(self);
        return;
    }
    appender_pump(self);
}

/* ---- Appender: what callers see ---- */

status_code audit_appender_open(audit_appender **out, rpc_loop *loop, rpc_channel *channel,
                                const chance *source, failure *why) {
    audit_appender *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an appender");
    self->loop = loop;
    self->channel = channel;
    self->source = source;
    self->backoff_ms = BACKOFF_FIRST_MS;
    *out = self;
    return STATUS_OK;
}

void audit_appender_close(audit_appender *self) {
    if (self == NULL || self->closed)
        return;
    failure why = {0};
    fail(&why, STATUS_CANCELLED, "APPENDER_CLOSED",
         "this process is stopping; send it again unchanged, later");
    self->closed = true;
    while (self->table != NULL)
        pending_end(self, self->table, STATUS_CANCELLED, NULL, &why);
    if (rpc_loop_current() != self->loop) {
        free(self); /* the loop has stopped: its tasks are gone, and the stream was closed */
        return;
    }
    if (self->stream != NULL)
        rpc_client_stream_cancel(self->stream);
    appender_free_if_over(self);
}

status_code audit_appender_append(audit_appender *self, const Interlock__Audit__V1__AppendRequest *request,
                                  uint64_t deadline_boot_ns, audit_appended done, void *context,
                                  failure *why) {
    if (self->closed)
        return fail(why, STATUS_CANCELLED, "APPENDER_CLOSED", "this process is stopping");
    if (HASH_COUNT(self->table) >= PENDING_MAX)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_APPENDS",
                    "%u appends wait for audit already; try again later", PENDING_MAX);
    pending *item = pending_new(request);
    if (item == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an append; try again later");
    item->number = ++self->last_number;
    item->deadline_boot_ns = deadline_boot_ns;
    item->done = done;
    item->context = context;
    bool alone = self->table == NULL;
    if (alone)
        self->quiet_since_ns = chance_boot_ns(self->source);
    HASH_ADD(hh, self->table, number, sizeof item->number, item);
    if (pending_find(self, item->number) != item) {
        free(item);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an append; try again later");
    }
    unsent_push(self, item);
    arm_tick(self);
    if (self->stream != NULL && alone)
        appender_pump(self); /* nobody to wait for */
    else if (self->stream != NULL)
        post_pump(self);
    else if (!self->reopen_armed)
        appender_open_stream(self);
    return STATUS_OK;
}

/* ---- Blocking calls ---- */

status_code audit_append_wait(rpc_channel *channel, const Interlock__Audit__V1__AppendRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Audit__V1__AppendResponse **out,
                              failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, METHOD("Append"), &request->base,
                      &interlock__audit__v1__append_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Audit__V1__AppendResponse *)answer;
    return code;
}

status_code audit_get_proof_wait(rpc_channel *channel, const Interlock__Audit__V1__GetProofRequest *request,
                                 uint32_t timeout_ms, arena *memory,
                                 Interlock__Audit__V1__GetProofResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, METHOD("GetProof"), &request->base,
                                     &interlock__audit__v1__get_proof_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Audit__V1__GetProofResponse *)answer;
    return code;
}

status_code audit_query_wait(rpc_channel *channel, const Interlock__Audit__V1__QueryRequest *request,
                             uint32_t timeout_ms, arena *memory, Interlock__Audit__V1__QueryResponse **out,
                             failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, METHOD("Query"), &request->base,
                      &interlock__audit__v1__query_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Audit__V1__QueryResponse *)answer;
    return code;
}

status_code audit_verify_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                              Interlock__Audit__V1__VerifyResponse **out, failure *why) {
    Interlock__Audit__V1__VerifyRequest request = INTERLOCK__AUDIT__V1__VERIFY_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    status_code code =
        rpc_call_wait(channel, METHOD("Verify"), &request.base,
                      &interlock__audit__v1__verify_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Audit__V1__VerifyResponse *)answer;
    return code;
}
