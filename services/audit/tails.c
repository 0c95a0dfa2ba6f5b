/* The followers' thread. */
#include "tails.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "queries.h"

#define BLOCKED_WAIT_MS 10
#define IDLE_WAIT_MS 250
#define BATCH_ARENA_FIRST_BYTES (256U << 10)
#define BATCH_ARENA_BYTES (16U << 20)

struct follower {
    rpc_stream *stream; /* with a reference */
    uint64_t next;
    uint64_t said_ns; /* when it last heard of us */
    bool announced;   /* that it is up to date */
    bool light;       /* wants no records of actions */
    bool ended;       /* nothing is sent any more */
    atomic_bool gone; /* the stream is closed: the thread frees it */
};

struct tails {
    log_head *head;
    recent *newest;
    const chance *source;
    int listener;     /* rung by the writer, and like `arrivals` */
    int arrivals;     /* rung when somebody begins to follow, and at the end */
    log_head arrived; /* only for that listener */
    audit_store from;
    arena memory;
    pthread_t thread;
    atomic_bool stopping;

    pthread_mutex_t mutex; /* of what follows; never held while something is read or sent */
    follower *incoming[TAILS_MAX];
    size_t incoming_count, total;

    follower *followers[TAILS_MAX]; /* the thread's own */
    size_t count;
};

static void follower_free(follower *self) {
    rpc_stream_unref(self->stream);
    free(self);
}

static void take_incoming(tails *self) {
    pthread_mutex_lock(&self->mutex);
    for (size_t i = 0; i < self->incoming_count; i++)
        self->followers[self->count++] = self->incoming[i];
    self->incoming_count = 0;
    pthread_mutex_unlock(&self->mutex);
}

static void drop_gone(tails *self) {
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++)
        if (atomic_load(&self->followers[i]->gone))
            follower_free(self->followers[i]);
        else
            self->followers[kept++] = self->followers[i];
    pthread_mutex_lock(&self->mutex);
    self->total -= self->count - kept;
    pthread_mutex_unlock(&self->mutex);
    self->count = kept;
}

/* False when it was not taken: again later, or never. */
static bool send(tails *self, follower *one, const Interlock__Audit__V1__TailResponse *message,
                 size_t entries) {
    status_code status = rpc_stream_send(one->stream, &message->base);
    one->ended |= status == STATUS_CANCELLED;
    if (status != STATUS_OK)
        return false;
    one->next += entries;
    one->said_ns = chance_boot_ns(self->source);
    return true;
}

static ProtobufCMessageUnknownField entry_field(recent_entry *entry, bool light) {
    return (ProtobufCMessageUnknownField){.tag = 1,
                                          .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                          .len = light ? entry->light_size : entry->size,
                                          .data = light ? entry->light : entry->field};
}

/* From memory: each record goes as it lies there, as a field that protobuf-c copies. *taken is 0 when the
 * follower is too far behind. */
static bool send_recent(tails *self, follower *one, uint64_t size, size_t *taken) {
    recent_entry *entries[TAIL_BATCH_ENTRIES];
    ProtobufCMessageUnknownField fields[TAIL_BATCH_ENTRIES];
    Interlock__Audit__V1__TailResponse message = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    size_t room = size - one->next < TAIL_BATCH_ENTRIES ? (size_t)(size - one->next) : TAIL_BATCH_ENTRIES;
    size_t count = recent_take(self->newest, one->next, entries, room, TAIL_BATCH_BYTES);
    *taken = count;
    for (size_t i = 0; i < count; i++)
        fields[i] = entry_field(entries[i], one->light && entries[i]->of_action);
    message.tree_size = size;
    message.base.n_unknown_fields = (unsigned)count;
    message.base.unknown_fields = fields;
    bool sent = count > 0 && send(self, one, &message, count);
    for (size_t i = 0; i < count; i++)
        recent_entry_release(entries[i]);
    return sent;
}

static bool send_stored(tails *self, follower *one, uint64_t size) {
    failure why = {0};
    Interlock__Audit__V1__TailResponse message = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    arena_reset(&self->memory);
    status_code status =
        log_tail_batch(&self->from, one->next, size, one->light, &self->memory, &message, &why);
    if (status == STATUS_OK)
        return send(self, one, &message, message.n_entries);
    rpc_stream_finish(one->stream, status, &why);
    one->ended = true;
    return false;
}

static bool send_batch(tails *self, follower *one, uint64_t size) {
    size_t taken = 0;
    bool sent = send_recent(self, one, size, &taken);
    return taken > 0 ? sent : send_stored(self, one, size);
}

static void send_heartbeat(tails *self, follower *one, uint64_t size) {
    uint64_t period_ns = (uint64_t)(TAIL_HEARTBEAT_MS - 2 * IDLE_WAIT_MS) * 1000000U;
    if (one->announced && chance_boot_ns(self->source) - one->said_ns < period_ns)
        return;
    Interlock__Audit__V1__TailResponse message = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    message.tree_size = size;
    one->announced = send(self, one, &message, 0);
}

static bool has_room(const follower *one) {
    return !one->ended && rpc_stream_queued(one->stream) < TAIL_QUEUED_MAX;
}

/* True when there is more for this follower than it takes now. */
static bool serve(tails *self, follower *one, uint64_t size) {
    if (size - one->next > TAIL_BATCH_ENTRIES)
        one->announced = false;
    while (one->next < size && has_room(one) && send_batch(self, one, size))
        continue;
    if (one->next == size && has_room(one))
        send_heartbeat(self, one, size);
    return !one->ended && one->next < size;
}

static bool serve_all(tails *self, bool *sent) {
    bool blocked = false;
    take_incoming(self);
    uint64_t size = head_get(self->head, NULL);
    for (size_t i = 0; i < self->count; i++) {
        uint64_t next = self->followers[i]->next;
        if (!self->followers[i]->ended)
            blocked |= serve(self, self->followers[i], size);
        *sent |= self->followers[i]->next != next;
    }
    drop_gone(self);
    return blocked;
}

/* A batch costs each follower a transaction, however small it is: after one, the next gathers for a while. */
static void *run(void *context) {
    tails *self = context;
    while (!atomic_load(&self->stopping)) {
        bool sent = false;
        bool blocked = serve_all(self, &sent);
        if (blocked)
            listener_wait(self->listener, BLOCKED_WAIT_MS);
        else if (sent)
            listener_wait(self->arrivals, TAIL_PACE_MS);
        else
            listener_wait(self->listener, IDLE_WAIT_MS);
    }
    return NULL;
}

static void wake(tails *self) {
    listener_wake(self->arrivals);
    listener_wake(self->listener);
}

status_code tails_start(tails **out, const char *database, log_head *head, recent *newest,
                        const chance *source, failure *why) {
    tails *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the followers");
    self->head = head;
    head_init(&self->arrived, 0, "");
    self->newest = newest;
    self->source = source;
    arena_init(&self->memory, BATCH_ARENA_FIRST_BYTES, BATCH_ARENA_BYTES);
    pthread_mutex_init(&self->mutex, NULL);
    status_code status = audit_store_open_reader(&self->from, database, why);
    if (status == STATUS_OK)
        status = head_listen(head, &self->listener, why);
    if (status == STATUS_OK)
        status = head_listen(&self->arrived, &self->arrivals, why);
    if (status == STATUS_OK && pthread_create(&self->thread, NULL, run, self) != 0)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start the followers' thread");
    if (status != STATUS_OK) {
        audit_store_close(&self->from);
        head_free(&self->arrived);
        free(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

static bool tails_take(tails *self, follower *one) {
    pthread_mutex_lock(&self->mutex);
    bool room = self->total < TAILS_MAX;
    if (room) {
        self->incoming[self->incoming_count++] = one;
        self->total++;
    }
    pthread_mutex_unlock(&self->mutex);
    return room;
}

status_code tails_add(tails *self, rpc_stream *stream, const Interlock__Audit__V1__TailRequest *request,
                      follower **out, failure *why) {
    uint64_t size = head_get(self->head, NULL), from_index = request->from_index;
    if (from_index > size)
        return fail(
            why, STATUS_OUT_OF_RANGE, "BEYOND_THE_END",
            "the log has %llu records, so %llu cannot be next: the cursor is of another log, or the log "
            "was rolled back",
            (unsigned long long)size, (unsigned long long)from_index);
    follower *one = calloc(1, sizeof *one);
    if (one == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a follower; try again later");
    one->stream = stream;
    one->next = from_index;
    one->light = request->without_action_records;
    rpc_stream_ref(stream);
    if (!tails_take(self, one)) {
        follower_free(one);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_FOLLOWERS",
                    "%u follow the log already; end one of them first", TAILS_MAX);
    }
    *out = one;
    wake(self);
    return STATUS_OK;
}

void follower_end(follower *self) {
    atomic_store(&self->gone, true);
}

size_t tails_count(tails *self) {
    pthread_mutex_lock(&self->mutex);
    size_t count = self->total;
    pthread_mutex_unlock(&self->mutex);
    return count;
}

void tails_stop(tails *self) {
    if (self == NULL || atomic_exchange(&self->stopping, true))
        return;
    wake(self);
    pthread_join(self->thread, NULL);
    take_incoming(self);
    while (self->count > 0)
        follower_free(self->followers[--self->count]);
}

void tails_free(tails *self) {
    if (self == NULL)
        return;
    tails_stop(self);
    head_free(&self->arrived);
    audit_store_close(&self->from);
    arena_free(&self->memory);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}
