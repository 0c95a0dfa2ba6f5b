/* Watches through etcd's gateway: one long answer each, a JSON message a line. A watch that breaks is opened
 * again from the revision after the last one delivered. Because a silent etcd and a quiet one look the same,
 * a probe asks the endpoint every two seconds while there are watches, and moves them to the next one when it
 * fails. */
#include <stdlib.h>
#include <string.h>

#include "etcd_internal.h"

#define RETRY_FIRST_MS 50U
#define RETRY_LAST_MS 2000U
#define PIECE_BYTES 65536U
#define BACKLOG_BYTES (16U << 20)
#define PROBE_EVERY_MS 2000U
#define PROBE_TIMEOUT_MS 2000U
#define EVENTS_BYTES (64U << 20)

struct etcd_stream {
    coord_task ended; /* first: the task is the stream */
    etcd_stream *next;
    etcd *owner;
    coord_watch *watch; /* NULL: nobody waits for it any more */
    bool open;          /* an answer is coming in; `ended` will be posted */
    http_request *ticket;
    uint64_t due_ms;
    uint32_t retry_ms;
    buffer line;
    arena parsed, held_memory, spare;
    coord_event *held; /* of a revision that may go on in the next message */
    size_t held_count;
    atomic_size_t backlog; /* bytes posted and not yet taken */
};

typedef struct stream_piece {
    coord_task task; /* first */
    etcd_stream *stream;
    size_t size;
    uint8_t data[];
} stream_piece;

static void stream_free(etcd_stream *self) {
    for (etcd_stream **link = &self->owner->streams; *link != NULL; link = &(*link)->next)
        if (*link == self) {
            *link = self->next;
            break;
        }
    buffer_free(&self->line);
    arena_free(&self->parsed);
    arena_free(&self->held_memory);
    arena_free(&self->spare);
    free(self);
}

static void stream_cancel(etcd_stream *self) {
    if (self->open)
        http_client_cancel(self->owner->client, self->ticket);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static bool copy_event(arena *memory, const coord_event *from, coord_event *to) {
    *to = *from;
    to->kv.key = arena_text(memory, from->kv.key);
    if (from->kv.value.size != 0)
        to->kv.value.data = arena_copy(memory, from->kv.value.data, from->kv.value.size);
    return to->kv.key != NULL && (from->kv.value.size == 0 || to->kv.value.data != NULL);
}

/* Keeps events for the next message, in memory of their own. */
static bool hold(etcd_stream *self, const coord_event *events, size_t count) {
    arena_reset(&self->spare);
    coord_event *copies = arena_zero(&self->spare, count + 1, sizeof *copies);
    for (size_t i = 0; copies != NULL && i < count; i++)
        if (!copy_event(&self->spare, &events[i], &copies[i]))
            return false;
    arena emptied = self->held_memory;
    self->held_memory = self->spare;
    self->spare = emptied;
    self->held = copies;
    self->held_count = copies == NULL ? 0 : count;
    return copies != NULL;
}

static coord_event *with_held(etcd_stream *self, const etcd_watch_answer *answer, size_t *count) {
    *count = self->held_count + answer->count;
    coord_event *all = arena_zero(&self->parsed, *count + 1, sizeof *all);
    if (all == NULL)
        return NULL;
    if (self->held_count != 0)
        memcpy(all, self->held, self->held_count * sizeof *all);
    if (answer->count != 0)
        memcpy(all + self->held_count, answer->events, answer->count * sizeof *all);
    return all;
}

/* How many from the start are of whole revisions. */
static size_t whole_revisions(const coord_event *events, size_t count, bool fragment) {
    if (!fragment || count == 0)
        return count;
    int64_t last = events[count - 1].kv.mod_revision;
    while (count > 0 && events[count - 1].kv.mod_revision == last)
        count--;
    return count;
}

/* A watch that was opened again gets nothing twice. */
static size_t skip_known(const coord_watch *watch, const coord_event *events, size_t count) {
    size_t known = 0;
    while (known < count && events[known].kv.mod_revision < watch->next_revision)
        known++;
    return known;
}

static bool take_events(etcd_stream *self, const etcd_watch_answer *answer) {
    size_t count = 0;
    coord_event *all = with_held(self, answer, &count);
    if (all == NULL)
        return false;
    size_t whole = whole_revisions(all, count, answer->fragment);
    size_t known = skip_known(self->watch, all, whole);
    if (!hold(self, all + whole, count - whole))
        return false;
    if (whole > known)
        coord_watch_deliver(self->owner->owner, self->watch, all + known, whole - known,
                            all[whole - 1].kv.mod_revision, false);
    return true;
}

static bool take_message(etcd_stream *self, const etcd_watch_answer *answer) {
    coord_watch *watch = self->watch;
    if (answer->cancelled) {
        if (answer->compact_revision > 0)
            coord_watch_deliver(self->owner->owner, watch, NULL, 0, answer->compact_revision, true);
        return false;
    }
    if (answer->created) {
        self->retry_ms = RETRY_FIRST_MS;
        if (watch->next_revision == 0)
            watch->next_revision = answer->revision + 1;
        return true;
    }
    if (answer->count != 0 || self->held_count != 0)
        return take_events(self, answer);
    /* Progress: there is nothing up to this revision that was not delivered. */
    if (answer->revision >= watch->next_revision)
        watch->next_revision = answer->revision + 1;
    return true;
}

static bool take_line(etcd_stream *self, bytes line) {
    etcd_watch_answer answer;
    failure why = {0};
    if (line.size == 0)
        return true;
    arena_reset(&self->parsed);
    if (etcd_wire_watch_answer(line, &self->parsed, &answer, &why) != STATUS_OK)
        return false;
    return take_message(self, &answer);
}

/* Adds to the line begun, and takes every line that is whole. */
static bool take_data(etcd_stream *self, const uint8_t *data, size_t size) {
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t part = end == NULL ? size : (size_t)(end - data);
        buffer_append(&self->line, data, part);
        if (!buffer_ok(&self->line))
            return false;
        if (end == NULL)
            return true;
        bool taken = take_line(self, buffer_bytes(&self->line));
        buffer_clear(&self->line);
        if (!taken)
            return false;
        data += part + 1;
        size -= part + 1;
    }
    return true;
}

static void piece_taken(coord_task *task) {
    stream_piece *piece = (stream_piece *)task;
    etcd_stream *self = piece->stream;
    atomic_fetch_sub(&self->backlog, piece->size);
    bool wanted = self->watch != NULL && !self->watch->finished && !self->owner->closing;
    if (wanted && !take_data(self, piece->data, piece->size))
        stream_cancel(self);
    free(piece);
}

/* ---- The HTTP client's thread ---------------------------------------------------------------- */

static bool on_piece(void *context, bytes data) {
    etcd_stream *self = context;
    if (atomic_load(&self->backlog) + data.size > BACKLOG_BYTES)
        return false; /* it is opened again where it was */
    stream_piece *piece = malloc(sizeof *piece + data.size);
    if (piece == NULL)
        return false;
    *piece = (stream_piece){.task.run = piece_taken, .stream = self, .size = data.size};
    memcpy(piece->data, data.data, data.size);
    atomic_fetch_add(&self->backlog, data.size);
    coord_post(self->owner->owner, &piece->task);
    return true;
}

static void on_end(void *context, int http_status, bytes answer, const failure *why) {
    etcd_stream *self = context;
    (void)http_status;
    (void)answer;
    (void)why;
    coord_post(self->owner->owner, &self->ended);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void stream_later(etcd_stream *self) {
    self->due_ms = etcd_now_ms(self->owner) + self->retry_ms;
    self->retry_ms = self->retry_ms * 2 < RETRY_LAST_MS ? self->retry_ms * 2 : RETRY_LAST_MS;
}

static void stream_ended(coord_task *task) {
    etcd_stream *self = (etcd_stream *)task;
    self->open = false;
    if (self->watch == NULL || self->owner->closing) {
        stream_free(self);
        return;
    }
    stream_later(self);
}

static void stream_open(etcd_stream *self) {
    etcd *owner = self->owner;
    char url[ETCD_URL_BYTES + 32];
    buffer body;
    failure why = {0};
    buffer_clear(&self->line);
    self->held_count = 0;
    buffer_init(&body, ETCD_REQUEST_BYTES);
    etcd_wire_watch(&body, self->watch->start, self->watch->end, self->watch->next_revision);
    etcd_url(owner, owner->watch_endpoint, "/v3/watch", url);
    http_exchange exchange = {.url = url,
                              .body = buffer_bytes(&body),
                              .limit = PIECE_BYTES,
                              .piece = on_piece,
                              .done = on_end,
                              .context = self};
    self->open =
        buffer_ok(&body) && http_client_send(owner->client, &exchange, &self->ticket, &why) == STATUS_OK;
    buffer_free(&body);
    if (!self->open)
        stream_later(self);
}

void etcd_watch_open(void *context, coord_watch *watch) {
    etcd *self = context;
    etcd_stream *stream = calloc(1, sizeof *stream);
    watch->stream = stream;
    if (stream == NULL)
        return; /* the tick tries again */
    stream->ended.run = stream_ended;
    stream->owner = self;
    stream->watch = watch;
    stream->retry_ms = RETRY_FIRST_MS;
    buffer_init(&stream->line, ETCD_LINE_BYTES);
    arena_init(&stream->parsed, 4096, EVENTS_BYTES);
    arena_init(&stream->held_memory, 4096, EVENTS_BYTES);
    arena_init(&stream->spare, 4096, EVENTS_BYTES);
    atomic_init(&stream->backlog, 0);
    stream->next = self->streams;
    self->streams = stream;
    stream_open(stream);
}

void etcd_watch_close(void *context, coord_watch *watch) {
    etcd_stream *stream = watch->stream;
    (void)context;
    if (stream == NULL)
        return;
    stream->watch = NULL;
    if (stream->open)
        stream_cancel(stream); /* `ended` frees it */
    else
        stream_free(stream);
}

/* ---- The probe ------------------------------------------------------------------------------- */

static void on_probed(void *context, int http_status, bytes answer, const failure *why) {
    etcd_probe *self = context;
    (void)answer;
    (void)why;
    self->http_status = http_status;
    coord_post(self->owner->owner, &self->answered);
}

static void probe_answered(coord_task *task) {
    etcd_probe *self = (etcd_probe *)task;
    etcd *owner = self->owner;
    self->open = false;
    self->due_ms = etcd_now_ms(owner) + PROBE_EVERY_MS;
    if (self->http_status == 200 || owner->closing)
        return;
    owner->watch_endpoint = (owner->watch_endpoint + 1) % owner->endpoint_count;
    self->due_ms = etcd_now_ms(owner) + RETRY_FIRST_MS;
    for (etcd_stream *each = owner->streams; each != NULL; each = each->next)
        stream_cancel(each);
}

static void probe_send(etcd *self) {
    char url[ETCD_URL_BYTES + 32];
    buffer body;
    failure why = {0};
    buffer_init(&body, ETCD_REQUEST_BYTES);
    etcd_wire_probe(&body, bytes_of_text(self->prefix));
    etcd_url(self, self->watch_endpoint, "/v3/kv/range", url);
    self->probe.owner = self;
    self->probe.answered.run = probe_answered;
    http_exchange exchange = {.url = url,
                              .body = buffer_bytes(&body),
                              .timeout_ms = PROBE_TIMEOUT_MS,
                              .done = on_probed,
                              .context = &self->probe};
    self->probe.open = buffer_ok(&body) && http_client_send(self->client, &exchange, NULL, &why) == STATUS_OK;
    self->probe.due_ms = etcd_now_ms(self) + PROBE_EVERY_MS;
    buffer_free(&body);
}

uint64_t etcd_watch_tick(etcd *self) {
    uint64_t now = etcd_now_ms(self), wake = UINT64_MAX;
    for (coord_watch *each = coord_watches(self->owner); each != NULL; each = each->next)
        if (each->stream == NULL)
            etcd_watch_open(self, each);
    for (etcd_stream *each = self->streams; each != NULL; each = each->next) {
        if (each->open || each->watch == NULL || each->watch->finished)
            continue;
        if (each->due_ms <= now)
            stream_open(each);
        if (!each->open && each->due_ms < wake)
            wake = each->due_ms;
    }
    if (self->streams != NULL && !self->probe.open && self->probe.due_ms <= now)
        probe_send(self);
    if (self->streams != NULL && !self->probe.open && self->probe.due_ms < wake)
        wake = self->probe.due_ms;
    return wake;
}
