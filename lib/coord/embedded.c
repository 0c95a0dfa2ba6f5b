/* The embedded twin of etcd: requests run one after the other on coord's thread; watches look for commits,
 * their own process's or another's, every 25 ms. */
#include <stdlib.h>

#include "embedded_store.h"

#define POLL_MS 25U
#define EXPIRE_MS 250U
#define IDLE_MS 250U
#define BATCHES_A_TICK 16U
#define EXPIRE_PATIENCE_MS 100U

typedef struct embedded {
    coord *owner;
    const chance *source;
    embedded_store file;
    bool look;          /* watches have something to read, or may have */
    uint64_t expire_ms; /* when to look for dead leases next */
    arena memory;       /* of one answer or one batch of events */
} embedded;

/* ---- Requests -------------------------------------------------------------------------------- */

static status_code run_request(embedded *self, const coord_request *request, coord_result *result,
                               failure *why) {
    embedded_store *file = &self->file;
    coord_kv *kvs = NULL;
    status_code status = STATUS_INTERNAL;
    switch (request->kind) {
    case COORD_REQUEST_GET:
        status = embedded_store_range(file, request->start, request->end, &self->memory, &kvs, &result->count,
                                      &result->revision, why);
        result->kvs = kvs;
        return status;
    case COORD_REQUEST_TXN:
        return embedded_store_txn(file, request, &result->succeeded, &result->revision, why);
    case COORD_REQUEST_GRANT:
        result->ttl_ms = (int64_t)((request->ttl_ms + 999ULL) / 1000 * 1000);
        return embedded_store_grant(file, (uint32_t)result->ttl_ms, &result->lease, &result->revision, why);
    case COORD_REQUEST_KEEPALIVE:
        result->lease = request->lease;
        return embedded_store_keepalive(file, request->lease, &result->ttl_ms, &result->revision, why);
    case COORD_REQUEST_REVOKE:
        return embedded_store_revoke(file, request->lease, &result->revision, why);
    case COORD_REQUEST_REFUSED:
    case COORD_REQUEST_WATCH:
        break;
    }
    return fail(why, STATUS_INTERNAL, "BAD_REQUEST", "the twin does not know this request");
}

static bool embedded_ready(void *context) {
    (void)context;
    return true;
}

static void embedded_submit(void *context, coord_request *request) {
    embedded *self = context;
    coord_result result = {0};
    failure why = {0};
    arena_reset(&self->memory);
    embedded_store_patience(&self->file, request->deadline_ms);
    result.code = run_request(self, request, &result, &why);
    if (result.code != STATUS_OK)
        result = (coord_result){.code = result.code, .why = &why};
    self->look = true;
    coord_request_answer(self->owner, request, &result);
}

/* ---- Watches --------------------------------------------------------------------------------- */

static void embedded_watch(void *context, coord_watch *watch) {
    embedded *self = context;
    failure why = {0};
    coord_kv *kvs = NULL;
    size_t count = 0;
    int64_t revision = 0;
    self->look = true;
    if (watch->next_revision != 0)
        return;
    arena_reset(&self->memory);
    /* On an error the watch starts where the first batch ends. */
    if (embedded_store_range(&self->file, watch->start, bytes_of(NULL, 0), &self->memory, &kvs, &count,
                             &revision, &why) == STATUS_OK)
        watch->next_revision = revision + 1;
}

static void embedded_unwatch(void *context, coord_watch *watch) {
    (void)context;
    (void)watch;
}

/* One batch; returns whether there is more to read. */
static bool feed_watch(embedded *self, coord_watch *watch) {
    coord_event *events = NULL;
    size_t count = 0;
    int64_t last = 0;
    bool more = false, compacted = false;
    failure why = {0};
    if (watch->finished)
        return false;
    if (watch->next_revision == 0) {
        embedded_watch(self, watch);
        return watch->next_revision == 0;
    }
    arena_reset(&self->memory);
    if (embedded_store_history(&self->file, watch->next_revision, watch->start, watch->end, &self->memory,
                               &events, &count, &last, &more, &compacted, &why) != STATUS_OK)
        return true; /* busy, or worse: again at the next look */
    if (compacted || last >= watch->next_revision)
        coord_watch_deliver(self->owner, watch, events, count, last, compacted);
    return more;
}

static void feed_watches(embedded *self) {
    bool changed = false;
    failure why = {0};
    if (coord_watches(self->owner) == NULL)
        return;
    if (embedded_store_changed(&self->file, &changed, &why) != STATUS_OK)
        changed = true;
    if (!changed && !self->look)
        return;
    self->look = false;
    for (coord_watch *each = coord_watches(self->owner); each != NULL; each = each->next) {
        bool more = true;
        for (uint32_t i = 0; more && i < BATCHES_A_TICK; i++)
            more = feed_watch(self, each);
        self->look = self->look || more;
    }
}

/* Somebody has to make the events of a lease's end, even when nobody writes. */
static void end_leases(embedded *self) {
    uint64_t now = chance_boot_ms(self->source);
    failure why = {0};
    if (now < self->expire_ms)
        return;
    self->expire_ms = now + EXPIRE_MS;
    embedded_store_patience(&self->file, now + EXPIRE_PATIENCE_MS);
    /* Another process holds the file, or the disk is ill: the next round tries again, reads hide what is
     * dead. */
    status_code status = embedded_store_expire(&self->file, &why);
    (void)status;
}

static uint32_t embedded_tick(void *context) {
    embedded *self = context;
    end_leases(self);
    feed_watches(self);
    return coord_watches(self->owner) == NULL ? IDLE_MS : POLL_MS;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static void embedded_close(void *context) {
    embedded *self = context;
    embedded_store_close(&self->file);
    arena_free(&self->memory);
    free(self);
}

static const coord_backend_ops embedded_ops = {
    .ready = embedded_ready,
    .submit = embedded_submit,
    .watch = embedded_watch,
    .unwatch = embedded_unwatch,
    .tick = embedded_tick,
    .close = embedded_close,
};

status_code embedded_open(coord_backend *out, coord *owner, const char *path, const chance *source,
                          failure *why) {
    embedded *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for coordination");
    self->owner = owner;
    self->source = source;
    arena_init(&self->memory, 16384, COORD_ANSWER_BYTES);
    status_code status = embedded_store_open(&self->file, path, source, why);
    if (status != STATUS_OK) {
        arena_free(&self->memory);
        free(self);
        return status;
    }
    *out = (coord_backend){.ops = &embedded_ops, .self = self};
    return STATUS_OK;
}

status_code embedded_compact(const char *path, int64_t revision, failure *why) {
    embedded_store file;
    status_code status = embedded_store_open(&file, path, chance_system(), why);
    if (status != STATUS_OK)
        return status;
    status = embedded_store_compact(&file, revision, why);
    embedded_store_close(&file);
    return status;
}
