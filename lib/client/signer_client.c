/* Permits over a stream: what comes together goes out together, what has no answer when the stream breaks is
 * sent again (signing is idempotent). Everything happens on the loop's thread.
 *
 * A request is packed once, when it is made; a message then only puts such requests behind one another, as
 * the fields they are on the wire. */
#include "client/signer_client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define RECEIPT_FIELD 2U       /* of SignPermit */
#define SLOTS 4096U            /* requests without an answer */
#define SLOT_BITS 12U          /* of a request's number: the rest tells apart who had the slot before */
#define BATCH_PERMITS 64U      /* a message */
#define BATCH_BYTES (1U << 20) /* … unless a single request is larger */
#define REQUEST_BYTES (2U << 20)
#define MESSAGES_AHEAD 2U /* on their way; what comes then waits and goes out together */
#define TICK_MS 20U
#define BACKOFF_LEAST_MS 50U
#define BACKOFF_MOST_MS 2000U
#define DEADLINE_MOST_MS 60000U
#define METHOD_SIGN "/interlock.signer.v1.SignerService/SignStream"
#define METHOD_KEYS "/interlock.signer.v1.SignerService/GetKeys"
#define FIELD_PERMITS 1U /* of SignStreamRequest */
#define NO_SLOT UINT32_MAX
#define CLIENTS 256U /* in this process */

typedef enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_SENT } slot_state;

typedef struct slot {
    slot_state state;
    uint64_t number;
    uint64_t deadline_ns;
    uint8_t *packed; /* the length, then the SignPermit */
    size_t size;
    signer_signed done;
    void *context;
    uint32_t next; /* of the free ones or of those that wait */
} slot;

struct signer_client {
    rpc_loop *loop;
    rpc_channel *channel;
    const chance *source;
    rpc_client_stream *stream;
    slot *slots;
    uint32_t free_first, waiting_first, waiting_last;
    size_t pending;
    unsigned messages_ahead;
    unsigned holds; /* who may still come back: the owner, the stream, a post, a running callback */
    uintptr_t handle;
    bool closed, tick_armed, flush_posted;
    uint64_t reopen_ns; /* not before */
    uint32_t backoff_ms;
    failure last; /* why the stream broke */
};

/* ---- Handles ---- */

/* A loop that stops forgets its timers, so that none of them may own anything: a tick names its client by a
 * handle, under which there is perhaps nobody any more. */
static struct {
    pthread_mutex_t lock;
    signer_client *clients[CLIENTS];
    uintptr_t generation;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool handle_take(signer_client *self) {
    pthread_mutex_lock(&registry.lock);
    for (uintptr_t i = 0; i < CLIENTS && self->handle == 0; i++) {
        if (registry.clients[i] != NULL)
            continue;
        registry.clients[i] = self;
        self->handle = ++registry.generation * CLIENTS + i;
    }
    pthread_mutex_unlock(&registry.lock);
    return self->handle != 0;
}

static void handle_give(const signer_client *self) {
    pthread_mutex_lock(&registry.lock);
    registry.clients[self->handle % CLIENTS] = NULL;
    pthread_mutex_unlock(&registry.lock);
}

/* A client is found on its own loop's thread, the only one that could free it meanwhile. */
static signer_client *handle_find(uintptr_t handle) {
    pthread_mutex_lock(&registry.lock);
    signer_client *found = registry.clients[handle % CLIENTS];
    found = found != NULL && found->handle == handle ? found : NULL;
    pthread_mutex_unlock(&registry.lock);
    return found;
}

/* ---- Life ---- */

static void destroy(signer_client *self) {
    handle_give(self);
    for (uint32_t i = 0; i < SLOTS; i++)
        free(self->slots[i].packed);
    free(self->slots);
    free(self);
}

static void release(signer_client *self) {
    if (--self->holds == 0)
        destroy(self);
}

status_code signer_client_open(signer_client **out, rpc_loop *loop, rpc_channel *channel,
                               const chance *source, failure *why) {
    signer_client *self = calloc(1, sizeof *self);
    slot *slots = calloc(SLOTS, sizeof *slots);
    if (self == NULL || slots == NULL) {
        free(self);
        free(slots);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a client of the signer");
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        slots[i].number = i;
        slots[i].next = i + 1 < SLOTS ? i + 1 : NO_SLOT;
    }
    *self = (signer_client){.loop = loop,
                            .channel = channel,
                            .source = source,
                            .slots = slots,
                            .waiting_first = NO_SLOT,
                            .waiting_last = NO_SLOT,
                            .holds = 1,
                            .backoff_ms = BACKOFF_LEAST_MS};
    if (!handle_take(self)) {
        free(slots);
        free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_CLIENTS",
                    "a process has %u clients of the signer at most", CLIENTS);
    }
    *out = self;
    return STATUS_OK;
}

/* ---- Slots ---- */

static slot *slot_take(signer_client *self) {
    if (self->free_first == NO_SLOT)
        return NULL;
    slot *taken = &self->slots[self->free_first];
    self->free_first = taken->next;
    self->pending++;
    return taken;
}

/* The number of the next user of the slot differs. */
static void slot_give(signer_client *self, slot *given) {
    free(given->packed);
    uint32_t index = (uint32_t)(given - self->slots);
    *given = (slot){.number = given->number + SLOTS, .next = self->free_first};
    self->free_first = index;
    self->pending--;
}

static slot *slot_find(signer_client *self, uint64_t number) {
    slot *found = &self->slots[number & ((1U << SLOT_BITS) - 1)];
    return found->number == number && found->state == SLOT_SENT ? found : NULL;
}

static void slot_queue(signer_client *self, slot *queued) {
    uint32_t index = (uint32_t)(queued - self->slots);
    queued->state = SLOT_WAITING;
    queued->next = NO_SLOT;
    if (self->waiting_last == NO_SLOT)
        self->waiting_first = index;
    else
        self->slots[self->waiting_last].next = index;
    self->waiting_last = index;
}

static slot *slot_dequeue(signer_client *self) {
    slot *first = &self->slots[self->waiting_first];
    self->waiting_first = first->next;
    if (self->waiting_first == NO_SLOT)
        self->waiting_last = NO_SLOT;
    return first;
}

/* The slot is free before its owner hears of it, who may ask again at once or close the client. */
static void slot_finish(signer_client *self, slot *finished, status_code code, const char *permit,
                        const failure *why) {
    signer_signed done = finished->done;
    void *context = finished->context;
    slot_give(self, finished);
    done(context, code, permit, why);
}

/* ---- Sending ---- */

/* Appends what waits to a message as the raw fields it will be, up to the bounds; they are then SENT. */
static size_t batch_fill(signer_client *self, ProtobufCMessageUnknownField fields[BATCH_PERMITS],
                         uint32_t indices[BATCH_PERMITS]) {
    size_t count = 0, size = 0;
    while (self->waiting_first != NO_SLOT && count < BATCH_PERMITS) {
        slot *next = &self->slots[self->waiting_first];
        if (count > 0 && size + next->size > BATCH_BYTES)
            break;
        indices[count] = (uint32_t)(slot_dequeue(self) - self->slots);
        next->state = SLOT_SENT;
        fields[count++] = (ProtobufCMessageUnknownField){.tag = FIELD_PERMITS,
                                                         .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                                         .len = next->size,
                                                         .data = next->packed};
        size += next->size;
    }
    return count;
}

static bool batch_send(signer_client *self) {
    ProtobufCMessageUnknownField fields[BATCH_PERMITS];
    uint32_t indices[BATCH_PERMITS];
    Interlock__Signer__V1__SignStreamRequest message = INTERLOCK__SIGNER__V1__SIGN_STREAM_REQUEST__INIT;
    size_t count = batch_fill(self, fields, indices);
    message.base.unknown_fields = fields;
    message.base.n_unknown_fields = (unsigned)count;
    if (rpc_client_stream_send(self->stream, &message.base) == STATUS_OK) {
        self->messages_ahead++;
        return true;
    }
    for (size_t i = 0; i < count; i++)
        slot_queue(self, &self->slots[indices[i]]);
    return false;
}

static void flush(signer_client *self) {
    while (self->stream != NULL && self->waiting_first != NO_SLOT && self->messages_ahead < MESSAGES_AHEAD)
        if (!batch_send(self))
            return;
}

static void flush_task(void *context) {
    signer_client *self = context;
    self->flush_posted = false;
    if (!self->closed)
        flush(self);
    release(self);
}

/* After the callback that runs now: what it asks for besides goes out in the same message. */
static void flush_soon(signer_client *self) {
    if (self->flush_posted || self->stream == NULL || self->messages_ahead >= MESSAGES_AHEAD)
        return;
    self->holds++;
    self->flush_posted = true;
    if (rpc_loop_later(self->loop, flush_task, self) == STATUS_OK)
        return;
    self->flush_posted = false;
    self->holds--;
    flush(self);
}

/* ---- The stream ---- */

static void answer(signer_client *self, const Interlock__Signer__V1__SignedPermit *signed_permit) {
    slot *found = slot_find(self, signed_permit->number);
    failure why = {0};
    if (found == NULL) /* it was given up by its deadline */
        return;
    if (signed_permit->permit[0] != '\0') {
        slot_finish(self, found, STATUS_OK, signed_permit->permit, NULL);
        return;
    }
    fail(&why, STATUS_PERMISSION_DENIED, "PERMIT_REFUSED", "the signer refused: %.400s",
         signed_permit->refusal);
    slot_finish(self, found, STATUS_PERMISSION_DENIED, NULL, &why);
}

static void on_message(void *context, const ProtobufCMessage *message) {
    signer_client *self = context;
    const Interlock__Signer__V1__SignStreamResponse *response =
        (const Interlock__Signer__V1__SignStreamResponse *)message;
    self->backoff_ms = BACKOFF_LEAST_MS;
    self->messages_ahead -= self->messages_ahead > 0 ? 1 : 0;
    self->holds++;
    for (size_t i = 0; i < response->n_permits && !self->closed; i++)
        answer(self, response->permits[i]);
    if (!self->closed)
        flush(self);
    release(self);
}

/* Longer after each failure, by a random part, so that clients do not come back together. */
static void back_off(signer_client *self) {
    uint8_t draw;
    chance_random(self->source, &draw, 1);
    uint32_t delay_ms = self->backoff_ms / 2 + self->backoff_ms * draw / 512;
    self->reopen_ns = chance_boot_ns(self->source) + (uint64_t)delay_ms * 1000000U;
    self->backoff_ms = 2 * self->backoff_ms > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : 2 * self->backoff_ms;
}

static void on_closed(void *context, status_code code, const failure *why) {
    signer_client *self = context;
    self->stream = NULL;
    self->messages_ahead = 0;
    if (!self->closed) {
        if (why != NULL && code != STATUS_OK)
            self->last = *why;
        for (uint32_t i = 0; i < SLOTS; i++)
            if (self->slots[i].state == SLOT_SENT)
                slot_queue(self, &self->slots[i]);
        back_off(self);
    }
    release(self);
}

static const rpc_client_stream_handlers handlers = {.message = on_message, .closed = on_closed};

static void connect_if_due(signer_client *self) {
    if (self->stream != NULL || self->pending == 0 || chance_boot_ns(self->source) < self->reopen_ns)
        return;
    self->holds++;
    if (rpc_client_stream_open(self->loop, self->channel, METHOD_SIGN,
                               &interlock__signer__v1__sign_stream_response__descriptor, &handlers, self,
                               &self->stream, &self->last) == STATUS_OK)
        return;
    self->stream = NULL;
    self->holds--;
    back_off(self);
}

/* ---- Deadlines ---- */

/* Takes the slot out of the queue, wherever it stands. */
static void slot_unqueue(signer_client *self, const slot *given_up) {
    uint32_t index = (uint32_t)(given_up - self->slots), before = NO_SLOT;
    for (uint32_t at = self->waiting_first; at != NO_SLOT; before = at, at = self->slots[at].next) {
        if (at != index)
            continue;
        if (before == NO_SLOT)
            self->waiting_first = given_up->next;
        else
            self->slots[before].next = given_up->next;
        if (self->waiting_last == index)
            self->waiting_last = before;
        return;
    }
}

static void give_up(signer_client *self, slot *late) {
    failure why = {0};
    if (late->state == SLOT_WAITING)
        slot_unqueue(self, late);
    fail(&why, STATUS_UNAVAILABLE, "SIGNER_UNAVAILABLE",
         "the signer gave no answer in time%s%.300s; ask again", self->last.message[0] == '\0' ? "" : ": ",
         self->last.message);
    slot_finish(self, late, STATUS_UNAVAILABLE, NULL, &why);
}

static void tick(void *context);

static void tick_arm(signer_client *self) {
    if (self->tick_armed || self->pending == 0)
        return;
    self->tick_armed = rpc_loop_after(self->loop, TICK_MS, tick, (void *)self->handle) == STATUS_OK;
}

static void tick(void *context) {
    signer_client *self = handle_find((uintptr_t)context);
    if (self == NULL)
        return;
    uint64_t now_ns = chance_boot_ns(self->source);
    self->holds++;
    self->tick_armed = false;
    for (uint32_t i = 0; i < SLOTS && !self->closed; i++)
        if (self->slots[i].state != SLOT_FREE && now_ns >= self->slots[i].deadline_ns)
            give_up(self, &self->slots[i]);
    if (!self->closed) {
        connect_if_due(self);
        flush(self);
        tick_arm(self);
    }
    release(self);
}

/* ---- Asking ---- */

static size_t length_write(size_t value, uint8_t out[10]) {
    size_t used = 0;
    for (; value >= 0x80; value >>= 7)
        out[used++] = (uint8_t)(value | 0x80);
    out[used++] = (uint8_t)value;
    return used;
}

static bool slot_pack(slot *into, const Interlock__Signer__V1__SignPermit *request, size_t size) {
    uint8_t length[10];
    size_t prefix = length_write(size, length);
    into->packed = malloc(prefix + size);
    if (into->packed == NULL)
        return false;
    memcpy(into->packed, length, prefix);
    interlock__signer__v1__sign_permit__pack(request, into->packed + prefix);
    into->size = prefix + size;
    return true;
}

static uint64_t deadline_bounded(const signer_client *self, uint64_t deadline_ns) {
    uint64_t most = chance_boot_ns(self->source) + (uint64_t)DEADLINE_MOST_MS * 1000000U;
    return deadline_ns < most ? deadline_ns : most;
}

status_code signer_client_sign(signer_client *self, const wire_part *receipt,
                               const Interlock__Common__V1__Envelope *record, uint64_t deadline_boot_ns,
                               signer_signed done, void *context, failure *why) {
    Interlock__Signer__V1__SignPermit request = INTERLOCK__SIGNER__V1__SIGN_PERMIT__INIT;
    ProtobufCMessageUnknownField packed = wire_as_field(RECEIPT_FIELD, receipt);
    request.base.n_unknown_fields = 1;
    request.base.unknown_fields = &packed;
    request.record = (Interlock__Common__V1__Envelope *)(uintptr_t)record;
    request.number = UINT64_MAX; /* no number is longer */
    if (self->closed)
        return fail(why, STATUS_CANCELLED, "CLIENT_CLOSED", "the client of the signer is closed");
    if (interlock__signer__v1__sign_permit__get_packed_size(&request) > REQUEST_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "RECORD_TOO_LARGE",
                    "receipt and record have 2 MiB at most");
    slot *taken = slot_take(self);
    if (taken == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "SIGNER_BUSY",
                    "%u permits wait for the signer; try again later", SLOTS);
    request.number = taken->number;
    if (!slot_pack(taken, &request, interlock__signer__v1__sign_permit__get_packed_size(&request))) {
        slot_give(self, taken);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for asking the signer");
    }
    taken->deadline_ns = deadline_bounded(self, deadline_boot_ns);
    taken->done = done;
    taken->context = context;
    slot_queue(self, taken);
    connect_if_due(self);
    flush_soon(self);
    tick_arm(self);
    return STATUS_OK;
}

/* ---- Closing ---- */

static void cancel_pending(signer_client *self) {
    failure why = {0};
    fail(&why, STATUS_CANCELLED, "CLIENT_CLOSED", "the client of the signer was closed");
    for (uint32_t i = 0; i < SLOTS; i++)
        if (self->slots[i].state != SLOT_FREE)
            slot_finish(self, &self->slots[i], STATUS_CANCELLED, NULL, &why);
}

void signer_client_close(signer_client *self) {
    if (self == NULL || self->closed)
        return;
    self->closed = true;
    cancel_pending(self);
    if (rpc_loop_current() != self->loop) { /* it has stopped: nobody comes back */
        destroy(self);
        return;
    }
    if (self->stream != NULL)
        rpc_client_stream_cancel(self->stream);
    release(self);
}

/* ---- Keys ---- */

status_code signer_get_keys_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory, char **jwks,
                                 failure *why) {
    Interlock__Signer__V1__GetKeysRequest request = INTERLOCK__SIGNER__V1__GET_KEYS_REQUEST__INIT;
    ProtobufCMessage *answered = NULL;
    status_code code = rpc_call_wait(channel, METHOD_KEYS, &request.base,
                                     &interlock__signer__v1__get_keys_response__descriptor, timeout_ms,
                                     memory, &answered, why);
    if (code == STATUS_OK)
        *jwks = ((Interlock__Signer__V1__GetKeysResponse *)answered)->jwks;
    return code;
}
