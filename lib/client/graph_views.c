/* The watcher of WatchImpact. On the loop's thread it gathers views into a draft; a complete message turns
 * the draft into an immutable table that readers share by counting. A table is a small header over an index,
 * so that a message without changes costs no copy of the index. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "client/graph_client.h"
#include "wire/scan.h"

#define TICK_MS 200U
#define RETRY_MS 500U    /* between two attempts */
#define SILENCE_MS 5000U /* without a message the stream is opened anew: a stopped peer closes nothing */
#define CLOSE_MS 2000U
#define VIEWS_MAX 200000U
#define VIEW_BYTES_MAX (32U << 20)

typedef Interlock__Graph__V1__Impact impact_message;
typedef Interlock__Graph__V1__WatchImpactResponse watch_message;

/* The impact of one node; shared by the indexes that hold it. */
typedef struct view_item {
    atomic_uint references;
    uint64_t hash;
    char *name;
    impact_message *impact;
    arena memory;
} view_item;

/* Open addressing, at most half full. */
typedef struct view_index {
    atomic_uint references;
    size_t count, mask;
    view_item **items;
} view_index;

struct graph_view_table {
    atomic_uint references;
    view_index *index;
    uint64_t revision, received_boot_ms;
    int64_t as_of_ms;
};

struct graph_views {
    rpc_loop *loop;
    rpc_channel *channel;
    const chance *source;
    pthread_mutex_t lock; /* for `published`, `closing` and `idle` */
    graph_view_table *published;
    bool closing;
    bool idle;                         /* the loop has let go */
    atomic_uint_fast64_t completed_ms; /* 0: never */

    /* Loop thread only. */
    rpc_client_stream *stream;
    view_index *draft; /* NULL until something changes it */
    bool fresh;        /* the draft began empty: a new stream sends everything */
    bool broken;       /* a view could not be kept: only a new stream repairs that */
    uint64_t heard_ms, retry_ms;
};

/* ---- Items and indexes
 * -------------------------------------------------------------------------------------------- */

static uint64_t name_hash(const char *name) {
    uint64_t hash = 0xcbf29ce484222325U;
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3U;
    return hash ^ (hash >> 29);
}

static void item_release(view_item *self) {
    if (self == NULL || atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) != 1)
        return;
    arena_free(&self->memory);
    free(self);
}

/* A copy of its own: the message lives only as long as the callback. */
static view_item *item_make(const Interlock__Graph__V1__ImpactView *view) {
    size_t size = protobuf_c_message_get_packed_size(&view->base);
    view_item *self = size > VIEW_BYTES_MAX / LIMIT_ARENA_FACTOR ? NULL : calloc(1, sizeof *self);
    uint8_t *packed = self == NULL ? NULL : malloc(size + 1);
    if (packed == NULL) {
        free(self);
        return NULL;
    }
    protobuf_c_message_pack(&view->base, packed);
    atomic_init(&self->references, 1);
    arena_init(&self->memory, size * 2 + 256, VIEW_BYTES_MAX);
    ProtobufCMessage *copy = NULL;
    status_code code = wire_unpack(view->base.descriptor, bytes_of(packed, size), &self->memory, &copy, NULL);
    free(packed);
    if (code != STATUS_OK) {
        item_release(self);
        return NULL;
    }
    self->name = ((Interlock__Graph__V1__ImpactView *)copy)->name;
    self->impact = ((Interlock__Graph__V1__ImpactView *)copy)->impact;
    self->hash = name_hash(self->name);
    return self;
}

static void index_release(view_index *self) {
    if (self == NULL || atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i <= self->mask; i++)
        item_release(self->items[i]);
    free(self->items);
    free(self);
}

static view_index *index_make(size_t mask) {
    view_index *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->items = calloc(mask + 1, sizeof(view_item *));
    if (self->items == NULL) {
        free(self);
        return NULL;
    }
    atomic_init(&self->references, 1);
    self->mask = mask;
    return self;
}

static size_t index_place(const view_index *self, const char *name, uint64_t hash) {
    size_t place = (size_t)hash & self->mask;
    while (self->items[place] != NULL &&
           (self->items[place]->hash != hash || strcmp(self->items[place]->name, name) != 0))
        place = (place + 1) & self->mask;
    return place;
}

/* With room for one more. */
static view_index *index_copy(const view_index *from) {
    size_t mask = from == NULL ? 255 : from->mask;
    size_t count = from == NULL ? 0 : from->count;
    view_index *self = index_make((count + 1) * 2 > mask ? mask * 2 + 1 : mask);
    if (self == NULL || from == NULL)
        return self;
    for (size_t i = 0; i <= from->mask; i++) {
        view_item *item = from->items[i];
        if (item == NULL)
            continue;
        atomic_fetch_add_explicit(&item->references, 1, memory_order_relaxed);
        self->items[index_place(self, item->name, item->hash)] = item;
    }
    self->count = from->count;
    return self;
}

/* Takes the item. */
static bool index_put(view_index **index, view_item *item) {
    view_index *self = *index;
    if (item == NULL || self->count >= VIEWS_MAX) {
        item_release(item);
        return false;
    }
    if ((self->count + 1) * 2 > self->mask) {
        view_index *grown = index_copy(self);
        if (grown == NULL) {
            item_release(item);
            return false;
        }
        index_release(self);
        *index = self = grown;
    }
    size_t place = index_place(self, item->name, item->hash);
    if (self->items[place] == NULL)
        self->count++;
    item_release(self->items[place]);
    self->items[place] = item;
    return true;
}

/* ---- Tables
 * ------------------------------------------------------------------------------------------------------- */

static void table_release(graph_view_table *self) {
    if (self == NULL || atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) != 1)
        return;
    index_release(self->index);
    free(self);
}

void graph_views_release(const graph_view_table *table) {
    table_release((graph_view_table *)table);
}

const graph_view_table *graph_views_acquire(graph_views *self) {
    pthread_mutex_lock(&self->lock);
    graph_view_table *table = self->published;
    if (table != NULL)
        atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&self->lock);
    return table;
}

const impact_message *graph_views_find(const graph_view_table *table, const char *name) {
    const view_index *index = table->index;
    const view_item *item = index->items[index_place(index, name, name_hash(name))];
    return item == NULL ? NULL : item->impact;
}

uint64_t graph_views_revision(const graph_view_table *table) {
    return table->revision;
}

int64_t graph_views_as_of_ms(const graph_view_table *table) {
    return table->as_of_ms;
}

size_t graph_views_count(const graph_view_table *table) {
    return table->index->count;
}

uint64_t graph_views_received_boot_ms(const graph_view_table *table) {
    return table->received_boot_ms;
}

uint64_t graph_views_age_ms(const graph_views *self) {
    uint64_t completed_ms = atomic_load(&self->completed_ms);
    uint64_t now_ms = chance_boot_ms(self->source);
    if (completed_ms == 0)
        return UINT64_MAX;
    return now_ms < completed_ms ? 0 : now_ms - completed_ms;
}

/* ---- Messages
 * ----------------------------------------------------------------------------------------------------- */

/* The index that the message changes: a copy of the published one, or an empty one after a new beginning. */
static bool draft_begin(graph_views *self) {
    if (self->draft != NULL)
        return true;
    self->draft = index_copy(self->fresh || self->published == NULL ? NULL : self->published->index);
    return self->draft != NULL;
}

static bool views_take(graph_views *self, const watch_message *message) {
    for (size_t i = 0; i < message->n_views; i++) {
        if (message->views[i]->impact == NULL || message->views[i]->name[0] == '\0')
            continue;
        if (!draft_begin(self) || !index_put(&self->draft, item_make(message->views[i])))
            return false;
    }
    return true;
}

static graph_view_table *table_make(graph_views *self, const watch_message *message, uint64_t now_ms) {
    graph_view_table *table = calloc(1, sizeof *table);
    if (table == NULL || (self->fresh && !draft_begin(self))) {
        free(table);
        return NULL;
    }
    atomic_init(&table->references, 1);
    table->revision = message->revision;
    table->as_of_ms = message->as_of_ms;
    table->received_boot_ms = now_ms;
    if (self->draft != NULL) {
        table->index = self->draft;
        self->draft = NULL;
    } else {
        table->index = self->published->index;
        atomic_fetch_add_explicit(&table->index->references, 1, memory_order_relaxed);
    }
    self->fresh = false;
    return table;
}

/* The table first, its age second: a reader that sees the new age also gets the new table. */
static bool table_publish(graph_views *self, const watch_message *message, uint64_t now_ms) {
    graph_view_table *table = table_make(self, message, now_ms);
    if (table == NULL)
        return false;
    pthread_mutex_lock(&self->lock);
    graph_view_table *old = self->published;
    self->published = table;
    pthread_mutex_unlock(&self->lock);
    table_release(old);
    atomic_store(&self->completed_ms, now_ms == 0 ? 1 : now_ms);
    return true;
}

static void message_arrived(void *context, const ProtobufCMessage *arrived) {
    graph_views *self = context;
    const watch_message *message = (const watch_message *)arrived;
    uint64_t now_ms = chance_boot_ms(self->source);
    self->heard_ms = now_ms;
    if (self->broken)
        return;
    if (!views_take(self, message) || (message->complete && !table_publish(self, message, now_ms))) {
        self->broken = true;
        rpc_client_stream_cancel(self->stream);
    }
}

/* ---- The stream
 * --------------------------------------------------------------------------------------------------- */

static void stream_closed(void *context, status_code code, const failure *why) {
    graph_views *self = context;
    (void)code;
    (void)why;
    self->stream = NULL;
    self->retry_ms = chance_boot_ms(self->source) + RETRY_MS;
}

static void stream_open(graph_views *self) {
    static const rpc_client_stream_handlers handlers = {.message = message_arrived, .closed = stream_closed};
    failure why = {0};
    uint64_t now_ms = chance_boot_ms(self->source);
    Interlock__Graph__V1__WatchImpactRequest request = INTERLOCK__GRAPH__V1__WATCH_IMPACT_REQUEST__INIT;
    index_release(self->draft);
    self->draft = NULL;
    self->fresh = true;
    self->broken = false;
    self->heard_ms = now_ms;
    self->retry_ms = now_ms + RETRY_MS;
    if (rpc_client_stream_open(self->loop, self->channel, "/interlock.graph.v1.GraphService/WatchImpact",
                               &interlock__graph__v1__watch_impact_response__descriptor, &handlers, self,
                               &self->stream, &why) != STATUS_OK) {
        self->stream = NULL;
        return;
    }
    if (rpc_client_stream_send(self->stream, &request.base) != STATUS_OK)
        rpc_client_stream_cancel(self->stream);
    else
        rpc_client_stream_half_close(self->stream);
}

static bool is_closing(graph_views *self) {
    pthread_mutex_lock(&self->lock);
    bool closing = self->closing;
    pthread_mutex_unlock(&self->lock);
    return closing;
}

static void let_go(graph_views *self) {
    pthread_mutex_lock(&self->lock);
    self->idle = true;
    pthread_mutex_unlock(&self->lock);
}

/* Keeps the stream open and alive; the only thing that goes on by itself, and the one that ends everything.
 */
static void tick(void *context) {
    graph_views *self = context;
    uint64_t now_ms = chance_boot_ms(self->source);
    bool closing = is_closing(self);
    if (self->stream == NULL && closing) {
        let_go(self);
        return;
    }
    if (self->stream == NULL && now_ms >= self->retry_ms)
        stream_open(self);
    else if (self->stream != NULL && (closing || now_ms > self->heard_ms + SILENCE_MS))
        rpc_client_stream_cancel(self->stream);
    if (rpc_loop_after(self->loop, closing ? 1 : TICK_MS, tick, self) != STATUS_OK)
        let_go(self);
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code graph_views_open(graph_views **out, rpc_loop *loop, rpc_channel *channel, const chance *source,
                             failure *why) {
    graph_views *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the views of the graph");
    pthread_mutex_init(&self->lock, NULL);
    self->loop = loop;
    self->channel = channel;
    self->source = source;
    if (rpc_loop_post(loop, tick, self) != STATUS_OK) {
        pthread_mutex_destroy(&self->lock);
        free(self);
        return fail(why, STATUS_UNAVAILABLE, "LOOP_CLOSED",
                    "the event loop for the views takes no more work");
    }
    *out = self;
    return STATUS_OK;
}

/* A loop that has stopped has dropped the timer and closed the stream; then there is nobody to wait for. */
static bool loop_let_go(graph_views *self) {
    const struct timespec pause = {.tv_nsec = 1000000};
    for (unsigned waited_ms = 0; waited_ms < CLOSE_MS; waited_ms++) {
        pthread_mutex_lock(&self->lock);
        bool idle = self->idle;
        pthread_mutex_unlock(&self->lock);
        if (idle)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static void nothing(void *context) {
    (void)context;
}

void graph_views_close(graph_views *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->closing = true;
    pthread_mutex_unlock(&self->lock);
    bool stopped = rpc_loop_post(self->loop, nothing, NULL) == STATUS_UNAVAILABLE;
    /* Memory that the loop may still use is better lost than used after its end. */
    if (!stopped && !loop_let_go(self))
        return;
    table_release(self->published);
    index_release(self->draft);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
