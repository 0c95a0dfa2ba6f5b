/* The thread behind WatchImpact. Nothing of the views is kept but a hash of each, to see whether it changed;
 * a watcher that is new or too slow walks through all nodes at its own pace (its cursor), computed anew,
 * while it also gets the changes as they come. It is told `complete` once it has arrived at the end. */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "impact.h"

#define LOOK_MS 200U       /* how often changes are looked for: they come together */
#define LOOK_REST_MS 1000U /* and at most this long after a look that took long */
#define HEARTBEAT_MS 500U  /* well within the second that is promised */
#define LAG_MAX_MS 2000U   /* older than this, what the watchers have is not claimed to be the graph */
#define VIEWS_MAX 256U     /* in a message … */
#define MESSAGE_BYTES (1U << 20)
#define BEAT_NODES 1024U /* between two looks at the heartbeat while a large graph is gone through */
#define QUEUED_MAX 16U   /* messages a watcher may have waiting before its walk pauses */
#define ARENA_BYTES (64U << 20)

typedef Interlock__Graph__V1__ImpactView view_message;
typedef Interlock__Graph__V1__WatchImpactResponse watch_message;

typedef struct watcher {
    rpc_stream *stream;
    struct watcher *next;
    uint32_t cursor; /* nodes before it have been sent */
    bool walking;
    bool complete_due; /* something was sent since the last complete message */
    uint64_t beat_ms;
    atomic_bool over;
} watcher;

struct watch {
    ingest *from;
    const chance *source;
    pthread_mutex_t lock; /* for `added` and `count` */
    watcher *added;
    unsigned count;
    bool stopping;
    pthread_t thread;
    bool running;
    int wake;

    /* The thread's own. */
    watcher *watchers;
    snapshot *graph;    /* what the hashes are of; NULL before the first */
    uint64_t looked_ms; /* when it was seen to be the newest */
    uint64_t revision;  /* whose views have all been sent */
    int64_t as_of_ms;
    uint64_t *hashes;
    uint32_t hash_room;
    impact_scratch scratch;
    arena memory;
    view_message *views[VIEWS_MAX];
    size_t view_count, view_bytes;
};

/* ---- Watchers
 * ----------------------------------------------------------------------------------------------------- */

static void wake_up(const watch *self) {
    uint64_t one = 1;
    if (write(self->wake, &one, sizeof one) < 0)
        return;
}

/* Within the lock. */
static void watcher_link(watch *self, watcher *item) {
    item->next = self->added;
    self->added = item;
    self->count++;
}

static bool watch_has_room(watch *self) {
    pthread_mutex_lock(&self->lock);
    bool room = self->count < WATCHERS_MAX && !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return room;
}

/* Two streams that begin at once may both find the last place: the bound is about memory, not about one. */
status_code watch_add(watch *self, rpc_stream *stream, failure *why) {
    if (!watch_has_room(self))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS", "%u watch already", WATCHERS_MAX);
    watcher *item = calloc(1, sizeof *item);
    if (item == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for another watcher");
    item->stream = stream;
    item->walking = true;
    rpc_stream_ref(stream);
    rpc_stream_set_user(stream, item);
    pthread_mutex_lock(&self->lock);
    watcher_link(self, item);
    pthread_mutex_unlock(&self->lock);
    wake_up(self);
    return STATUS_OK;
}

void watch_remove(rpc_stream *stream) {
    watcher *item = rpc_stream_user(stream);
    if (item != NULL)
        atomic_store(&item->over, true);
}

static void watchers_take(watch *self) {
    pthread_mutex_lock(&self->lock);
    while (self->added != NULL) {
        watcher *item = self->added;
        self->added = item->next;
        item->next = self->watchers;
        self->watchers = item;
    }
    pthread_mutex_unlock(&self->lock);
}

/* `all` once the server has stopped, so that no stream can refer to its watcher any more. */
static void watchers_reap(watch *self, bool all) {
    watcher **link = &self->watchers;
    while (*link != NULL) {
        watcher *item = *link;
        if (!all && !atomic_load(&item->over)) {
            link = &item->next;
            continue;
        }
        *link = item->next;
        pthread_mutex_lock(&self->lock);
        self->count--;
        pthread_mutex_unlock(&self->lock);
        rpc_stream_unref(item->stream);
        free(item);
    }
}

/* A watcher whose queue is full starts over: it has missed something. */
static void watcher_send(watcher *item, const watch_message *message) {
    status_code status = rpc_stream_send(item->stream, &message->base);
    if (status == STATUS_OK) {
        item->complete_due = item->complete_due || message->n_views > 0;
    } else if (status == STATUS_RESOURCE_EXHAUSTED) {
        item->walking = true;
        item->cursor = 0;
    }
}

static void beat(watch *self, uint64_t now_ms) {
    if (self->looked_ms == 0 || now_ms > self->looked_ms + LAG_MAX_MS)
        return;
    for (watcher *item = self->watchers; item != NULL; item = item->next) {
        if (item->walking || (!item->complete_due && now_ms < item->beat_ms + HEARTBEAT_MS))
            continue;
        watch_message message = INTERLOCK__GRAPH__V1__WATCH_IMPACT_RESPONSE__INIT;
        message.revision = self->revision;
        message.as_of_ms = self->as_of_ms;
        message.complete = true;
        item->complete_due = false;
        item->beat_ms = now_ms;
        watcher_send(item, &message);
    }
}

/* ---- Views
 * -------------------------------------------------------------------------------------------------------- */

static view_message *view_make(watch *self, uint32_t node) {
    failure why = {0};
    view_message *view = arena_alloc(&self->memory, sizeof *view);
    Interlock__Graph__V1__Impact *impact = NULL;
    if (view == NULL ||
        impact_of(self->graph, &node, 1, &self->scratch, &self->memory, &impact, &why) != STATUS_OK)
        return NULL;
    interlock__graph__v1__impact_view__init(view);
    view->name = (char *)self->graph->nodes[node].name; /* lives as long as the model; nobody writes to it */
    view->impact = impact;
    return view;
}

/* FNV-1a in words over the packed message: whether a view is still the one that was sent. */
static uint64_t view_hash(watch *self, const view_message *view, size_t size) {
    uint64_t *packed = arena_zero(&self->memory, size / 8 + 1, 8);
    if (packed == NULL)
        return 0;
    protobuf_c_message_pack(&view->base, (uint8_t *)packed);
    uint64_t hash = size;
    for (size_t i = 0; i <= size / 8; i++)
        hash = mix64(hash, packed[i]);
    return hash == 0 ? 1 : hash;
}

static watch_message views_message(watch *self) {
    watch_message message = INTERLOCK__GRAPH__V1__WATCH_IMPACT_RESPONSE__INIT;
    message.views = self->views;
    message.n_views = self->view_count;
    message.revision = self->graph->revision;
    message.as_of_ms = self->graph->as_of_ms;
    return message;
}

static void views_clear(watch *self) {
    self->view_count = self->view_bytes = 0;
    arena_reset(&self->memory);
}

static void views_broadcast(watch *self) {
    watch_message message = views_message(self);
    for (watcher *item = self->watchers; item != NULL && self->view_count > 0; item = item->next)
        watcher_send(item, &message);
    views_clear(self);
}

static void views_add(watch *self, view_message *view, size_t size) {
    self->views[self->view_count++] = view;
    self->view_bytes += size;
}

static bool views_full(const watch *self) {
    return self->view_count == VIEWS_MAX || self->view_bytes >= MESSAGE_BYTES ||
           self->memory.used > ARENA_BYTES / 2;
}

/* Without memory for a view its hash stays as it was, so that the next look finds it changed. */
static void view_refresh(watch *self, uint32_t node) {
    view_message *view = self->graph->nodes[node].visible ? view_make(self, node) : NULL;
    if (view == NULL)
        return;
    size_t size = protobuf_c_message_get_packed_size(&view->base);
    uint64_t hash = view_hash(self, view, size);
    if (hash == 0 || hash == self->hashes[node])
        return;
    self->hashes[node] = hash;
    views_add(self, view, size);
}

static bool hashes_grow(watch *self, uint32_t count) {
    if (count <= self->hash_room)
        return true;
    uint32_t room = count + count / 2 + 64;
    uint64_t *grown = realloc(self->hashes, room * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + self->hash_room, 0, (room - self->hash_room) * sizeof *grown);
    self->hashes = grown;
    self->hash_room = room;
    return true;
}

/* Takes the newest snapshot and sends what it changes. */
static void look(watch *self) {
    snapshot *newest = ingest_snapshot(self->from);
    uint64_t now_ms = chance_boot_ms(self->source);
    if ((self->graph != NULL && newest->revision == self->graph->revision) ||
        !hashes_grow(self, newest->node_count)) {
        if (self->graph != NULL && newest->revision == self->graph->revision)
            self->looked_ms = now_ms;
        snapshot_release(newest);
        return;
    }
    snapshot_release(self->graph);
    self->graph = newest;
    for (uint32_t node = 0; node < newest->node_count; node++) {
        view_refresh(self, node);
        if (node % BEAT_NODES == BEAT_NODES - 1)
            beat(self, chance_boot_ms(self->source));
        if (views_full(self))
            views_broadcast(self);
        else if (self->view_count == 0)
            arena_reset(&self->memory);
    }
    views_broadcast(self);
    self->looked_ms = now_ms;
    self->revision = newest->revision;
    self->as_of_ms = newest->as_of_ms;
}

/* One message of the walk. */
static void walk_step(watch *self, watcher *item) {
    while (item->cursor < self->graph->node_count && !views_full(self)) {
        uint32_t node = item->cursor++;
        view_message *view = self->graph->nodes[node].visible ? view_make(self, node) : NULL;
        if (view != NULL)
            views_add(self, view, protobuf_c_message_get_packed_size(&view->base));
    }
    watch_message message = views_message(self);
    item->complete_due = true;
    if (item->cursor == self->graph->node_count)
        item->walking = false;
    if (self->view_count > 0)
        watcher_send(item, &message);
    views_clear(self);
}

/* True when somebody still walks and has room. */
static bool walk(watch *self) {
    bool more = false;
    for (watcher *item = self->watchers; item != NULL && self->graph != NULL; item = item->next) {
        if (!item->walking || rpc_stream_queued(item->stream) >= QUEUED_MAX)
            continue;
        walk_step(self, item);
        more = more || item->walking;
    }
    return more;
}

/* ---- The thread
 * --------------------------------------------------------------------------------------------------- */

static bool is_stopping(watch *self) {
    pthread_mutex_lock(&self->lock);
    bool stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    return stopping;
}

static void pause_for(const watch *self, int wait) {
    struct pollfd wake = {.fd = self->wake, .events = POLLIN};
    uint64_t times;
    if (poll(&wake, 1, wait) > 0 && read(self->wake, &times, sizeof times) < 0 && errno != EAGAIN)
        return;
}

static void *watch_run(void *context) {
    watch *self = context;
    uint64_t next_look_ms = 0;
    while (!is_stopping(self)) {
        watchers_take(self);
        watchers_reap(self, false);
        uint64_t now_ms = chance_boot_ms(self->source);
        if (self->watchers != NULL && now_ms >= next_look_ms) {
            look(self);
            uint64_t end_ms = chance_boot_ms(self->source);
            uint64_t rest_ms = 2 * (end_ms - now_ms);
            next_look_ms = end_ms + (rest_ms < LOOK_MS        ? LOOK_MS
                                     : rest_ms > LOOK_REST_MS ? LOOK_REST_MS
                                                              : rest_ms);
        }
        bool more = walk(self);
        beat(self, chance_boot_ms(self->source));
        pause_for(self, self->watchers == NULL ? -1 : more ? 0 : (int)LOOK_MS / 2);
    }
    return NULL;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code watch_open(watch **out, ingest *from, const chance *source, failure *why) {
    watch *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for watchers");
    pthread_mutex_init(&self->lock, NULL);
    self->from = from;
    self->source = source;
    arena_init(&self->memory, 65536, ARENA_BYTES);
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake < 0) {
        watch_close(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_DESCRIPTOR", "no descriptor for watchers");
    }
    *out = self;
    return STATUS_OK;
}

status_code watch_start(watch *self, failure *why) {
    if (pthread_create(&self->thread, NULL, watch_run, self) != 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start the thread for watchers");
    self->running = true;
    return STATUS_OK;
}

void watch_stop(watch *self) {
    if (self == NULL || !self->running)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    wake_up(self);
    pthread_join(self->thread, NULL);
    self->running = false;
    watchers_take(self);
    watchers_reap(self, true);
}

void watch_close(watch *self) {
    if (self == NULL)
        return;
    watch_stop(self);
    snapshot_release(self->graph);
    impact_scratch_free(&self->scratch);
    arena_free(&self->memory);
    free(self->hashes);
    if (self->wake >= 0)
        close(self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
