/* The history's reading side: one thing at an instant, or all its past. */
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "history_store.h"

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code history_reader_open(history_reader **out, history *of, failure *why) {
    history_reader *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read the history");
    self->of = of;
    status_code status = STATUS_OK;
    if (of->path != NULL)
        status = store_open_reader(&self->own, of->path, why);
    if (status == STATUS_OK)
        status = history_store_open(&self->store, of->path == NULL ? of->connection : &self->own, false, why);
    if (status != STATUS_OK) {
        history_reader_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void history_reader_close(history_reader *self) {
    if (self == NULL)
        return;
    history_store_close(self->store);
    if (self->of->path != NULL)
        store_close(&self->own);
    for (uint32_t i = 0; i < VALUE_CACHE; i++)
        free(self->cache[i].body);
    free(self->segments);
    free(self);
}

/* ---- Instants
 * ------------------------------------------------------------------------------------------------------- */

static status_code segments_copy(history_reader *self, failure *why) {
    const history *of = self->of;
    if (self->segment_room < of->segment_count) {
        segment *grown = realloc(self->segments, (of->segment_count + 16U) * sizeof *grown);
        if (grown == NULL)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read the history");
        self->segments = grown;
        self->segment_room = of->segment_count + 16U;
    }
    memcpy(self->segments, of->segments, of->segment_count * sizeof *self->segments);
    self->segment_count = of->segment_count;
    return STATUS_OK;
}

/* Nothing that was recorded by `recorded_ms` speaks of a time beyond that and the allowance for other clocks,
 * so that what holds there holds for ever, as far as was known. */
status_code reading_begin(history_reader *self, instant at, reading *out, failure *why) {
    status_code status = segments_copy(self, why);
    if (status != STATUS_OK)
        return status;
    const history *of = self->of;
    *out = (reading){.valid_ms = at.valid_ms,
                     .recorded_ms =
                         at.recorded_ms < of->last_recorded_ms ? at.recorded_ms : of->last_recorded_ms,
                     .tail = self->segment_count - 1,
                     .tail_end = of->tail_stored};
    int64_t most_ms = out->recorded_ms + 1 + HISTORY_FUTURE_MS;
    out->valid_ms = at.valid_ms < most_ms ? at.valid_ms : most_ms;
    const segment *oldest = &self->segments[0];
    if (oldest->start_ms > 0 &&
        (out->valid_ms < oldest->start_ms + HISTORY_FUTURE_MS || out->recorded_ms + 1 < oldest->start_ms))
        return fail(why, STATUS_OUT_OF_RANGE, "COMPACTED",
                    "the graph's history before %lld (milliseconds since 1970) is no longer kept",
                    (long long)(oldest->start_ms + HISTORY_FUTURE_MS));
    for (uint32_t i = 0; i < self->segment_count; i++)
        if (self->segments[i].start_ms + HISTORY_FUTURE_MS <= out->valid_ms &&
            self->segments[i].start_ms <= out->recorded_ms + 1)
            out->base = i;
    return STATUS_OK;
}

/* ---- One timeline at an instant
 * ----------------------------------------------------------------------------------------- */

typedef struct point {
    uint32_t timeline;
    uint16_t origin;
    bool found, on_disk;
    statement said;
} point;

/* Under the lock: what memory says. */
static void point_from_memory(const history *of, const reading *at, point *out) {
    const timeline_item *item = &of->timelines[out->timeline];
    for (uint32_t i = item->last; i != 0; i = of->tail[i - 1].previous) {
        statement what = tail_statement_of(of, &of->tail[i - 1]);
        if (i <= at->tail_end && reading_holds(at, &what, 0)) {
            out->said = what;
            out->found = true;
            return;
        }
    }
    if (item->last != 0 || at->base != at->tail) {
        out->on_disk = at->tail > 0 || of->segments[0].start_ms > 0;
        return;
    }
    out->said = (statement){.from_ms = item->mark_ms,
                            .to_ms = HISTORY_OPEN,
                            .recorded_ms = item->recorded_ms,
                            .timeline = out->timeline,
                            .value = item->value};
    out->found = item->known;
}

bool late_each(bytes body, uint32_t lot, late_visitor visit, void *context) {
    codec_cursor cursor = codec_open(body);
    while (cursor.at < cursor.end) {
        uint64_t base = codec_take(&cursor);
        uint64_t size = codec_take(&cursor);
        if (cursor.failed || base > INT64_MAX / 4 || size > (uint64_t)(cursor.end - cursor.at))
            return false;
        codec_cursor chunk = codec_open(bytes_of(cursor.at, (size_t)size));
        uint32_t last = lot * LOT_TIMELINES;
        statement what;
        while (codec_statement_next(&chunk, (int64_t)base, &last, &what))
            visit(context, &what);
        if (chunk.failed)
            return false;
        cursor.at += size;
    }
    return true;
}

typedef struct late_search {
    const reading *at;
    point *out;
} late_search;

static void late_look(void *context, const statement *what) {
    late_search *self = context;
    if (what->timeline != self->out->timeline || !reading_holds(self->at, what, 0))
        return;
    self->out->said = *what;
    self->out->found = true;
}

static status_code inconsistent(failure *why) {
    return fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                "statements of the history cannot be read; restore its file from a backup");
}

static status_code records_look(history_reader *self, const reading *at, const segment *item, point *out,
                                failure *why) {
    bytes body = {0};
    uint32_t lot = out->timeline / LOT_TIMELINES;
    status_code status = history_store_lot(self->store, LOTS_RECORDS, item->id, lot, &body, why);
    codec_cursor cursor = codec_open(body);
    uint32_t last = lot * LOT_TIMELINES;
    statement what;
    while (status == STATUS_OK && codec_statement_next(&cursor, item->start_ms, &last, &what) &&
           what.timeline <= out->timeline)
        if (what.timeline == out->timeline && reading_holds(at, &what, item->start_ms)) {
            out->said = what;
            out->found = true;
        }
    return status == STATUS_OK && cursor.failed ? inconsistent(why) : status;
}

static status_code keyframe_look(history_reader *self, const segment *item, point *out, failure *why) {
    bytes body = {0};
    status_code status =
        history_store_lot(self->store, LOTS_KEYFRAME, item->id, out->timeline / LOT_TIMELINES, &body, why);
    codec_cursor cursor = codec_open(body);
    timeline_state state = {0};
    bool there = status == STATUS_OK;
    for (uint32_t i = 0; i <= out->timeline % LOT_TIMELINES && there; i++)
        there = codec_state_next(&cursor, item->start_ms, &state);
    if (status == STATUS_OK && cursor.failed)
        return inconsistent(why);
    out->found = there && state.known;
    out->said = (statement){.from_ms = state.from_ms,
                            .to_ms = HISTORY_OPEN,
                            .recorded_ms = state.recorded_ms,
                            .timeline = out->timeline,
                            .value = state.value};
    return status;
}

/* Late statements come after the others wherever they hold; see docs/decisions/0013. */
static status_code point_from_disk(history_reader *self, const reading *at, point *out, failure *why) {
    bytes body = {0};
    uint32_t lot = out->timeline / LOT_TIMELINES;
    late_search search = {.at = at, .out = out};
    status_code status = history_store_lot(self->store, LOTS_LATE, 0, lot, &body, why);
    if (status == STATUS_OK && !late_each(body, lot, late_look, &search))
        return inconsistent(why);
    for (uint32_t i = at->tail; i > at->base && status == STATUS_OK && !out->found; i--)
        if (reading_reaches(at, &self->segments[i - 1]))
            status = records_look(self, at, &self->segments[i - 1], out, why);
    if (status == STATUS_OK && !out->found && self->segments[at->base].start_ms > 0)
        status = keyframe_look(self, &self->segments[at->base], out, why);
    return status;
}

/* ---- Values
 * ---------------------------------------------------------------------------------------------------------
 */

static status_code value_body(history_reader *self, uint32_t number, bytes *body, failure *why) {
    cached_value *item = &self->cache[number % VALUE_CACHE];
    if (item->number == number && number != 0) {
        *body = bytes_of(item->body, item->size);
        return STATUS_OK;
    }
    status_code status = history_store_value(self->store, number, body, why);
    uint8_t *copy = status != STATUS_OK || body->size > VALUE_CACHE_BYTES ? NULL : malloc(body->size);
    if (copy == NULL)
        return status;
    memcpy(copy, body->data, body->size);
    free(item->body);
    *item = (cached_value){.number = number, .size = (uint32_t)body->size, .body = copy};
    return STATUS_OK;
}

status_code history_read_value(history_reader *self, uint32_t value, arena *memory, version *out,
                               failure *why) {
    bytes body = {0};
    status_code status = value_body(self, value_number(value), &body, why);
    if (status == STATUS_OK && !codec_value_read(body, memory, out))
        status = fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                      "a value of the history cannot be read, or there is no memory for it");
    return status;
}

static status_code version_fill(history_reader *self, const statement *said, const char *origin,
                                arena *memory, version *out, failure *why) {
    *out = (version){.present = said->value != VALUE_ABSENT,
                     .origin = origin,
                     .valid_from_ms = said->from_ms,
                     .valid_to_ms = said->to_ms,
                     .recorded_from_ms = said->recorded_ms,
                     .recorded_to_ms = HISTORY_OPEN};
    return out->present ? history_read_value(self, said->value, memory, out, why) : STATUS_OK;
}

/* ---- Things
 * ---------------------------------------------------------------------------------------------------------
 */

static status_code out_of_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
}

static status_code not_known(const fact *what, failure *why) {
    return fail(why, STATUS_NOT_FOUND, "NOT_KNOWN", "the graph has never heard of %s%s%s", what->name,
                what->is_edge ? " → " : "", what->is_edge ? what->to : "");
}

/* Under the lock. */
static uint32_t thing_find(const history *of, const fact *what) {
    uint32_t node = index_node_find(of, what->name);
    if (node >= of->nodes_stored)
        return HISTORY_NONE;
    if (!what->is_edge)
        return node;
    uint32_t to = index_node_find(of, what->to);
    uint32_t edge = to == HISTORY_NONE ? HISTORY_NONE : index_edge_find(of, node, to, what->kind);
    return edge >= of->edges_stored ? HISTORY_NONE : edge | EDGE_BIT;
}

static bool aliases_fill(const history *of, const node_item *node, arena *memory, history_item *out) {
    for (uint32_t at = node->aliases; at != 0; at = of->aliases[at - 1].next)
        out->alias_count++;
    out->aliases = arena_zero(memory, out->alias_count + 1, sizeof *out->aliases);
    if (out->aliases == NULL)
        return false;
    size_t place = 0;
    for (uint32_t at = node->aliases; at != 0; at = of->aliases[at - 1].next)
        if ((out->aliases[place++] = arena_text(memory, of->aliases[at - 1].name)) == NULL)
            return false;
    return true;
}

static bool thing_fill(const history *of, uint32_t thing, arena *memory, history_item *out) {
    *out = (history_item){.is_edge = (thing & EDGE_BIT) != 0};
    if (!out->is_edge) {
        const node_item *node = &of->nodes[thing];
        out->kind = node->kind;
        out->name = arena_text(memory, node->name);
        return out->name != NULL && aliases_fill(of, node, memory, out);
    }
    const edge_item *edge = &of->edges[thing & ~EDGE_BIT];
    out->kind = edge->kind;
    out->name = arena_text(memory, of->nodes[edge->from].name);
    out->to = arena_text(memory, of->nodes[edge->to].name);
    return out->name != NULL && out->to != NULL;
}

static status_code points_begin(history_reader *self, uint32_t thing, arena *memory, point **out,
                                size_t *count, failure *why) {
    const history *of = self->of;
    size_t size = 0;
    for (uint32_t at = index_first_timeline(of, thing); at != 0; at = of->timelines[at - 1].next)
        size += at <= of->timelines_stored;
    point *points = arena_zero(memory, size + 1, sizeof *points);
    if (points == NULL)
        return out_of_memory(why);
    size = 0;
    for (uint32_t at = index_first_timeline(of, thing); at != 0; at = of->timelines[at - 1].next)
        if (at <= of->timelines_stored)
            points[size++] = (point){.timeline = at - 1, .origin = of->timelines[at - 1].origin};
    *out = points;
    *count = size;
    return STATUS_OK;
}

/* Under the lock; what is on disk is left for later. */
static status_code points_find(history_reader *self, const fact *what, instant when, reading *at,
                               arena *memory, history_item *out, point **points, size_t *count,
                               failure *why) {
    uint32_t thing = thing_find(self->of, what);
    if (thing == HISTORY_NONE)
        return not_known(what, why);
    status_code status = reading_begin(self, when, at, why);
    if (status == STATUS_OK && !thing_fill(self->of, thing, memory, out))
        status = out_of_memory(why);
    if (status == STATUS_OK)
        status = points_begin(self, thing, memory, points, count, why);
    for (size_t i = 0; i < *count && status == STATUS_OK; i++)
        point_from_memory(self->of, at, &(*points)[i]);
    return status;
}

unsigned provenance_rank(provenance source) {
    static const uint8_t ranks[8] = {0, 2, 3, 1,
                                     4}; /* by provenance: observed, declared, inferred, confirmed */
    return ranks[source & 7];
}

static int version_stronger(const void *left, const void *right) {
    const version *a = left;
    const version *b = right;
    unsigned rank_a = a->present ? provenance_rank(a->source) : 0;
    unsigned rank_b = b->present ? provenance_rank(b->source) : 0;
    if (rank_a != rank_b)
        return rank_a > rank_b ? -1 : 1;
    if (a->recorded_from_ms != b->recorded_from_ms)
        return a->recorded_from_ms > b->recorded_from_ms ? -1 : 1;
    return strcmp(a->origin, b->origin);
}

static status_code versions_at(history_reader *self, const reading *at, point *points, size_t count,
                               arena *memory, history_item *out, failure *why) {
    status_code status = STATUS_OK;
    out->versions = arena_zero(memory, count + 1, sizeof *out->versions);
    if (out->versions == NULL)
        return out_of_memory(why);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (points[i].on_disk)
            status = point_from_disk(self, at, &points[i], why);
        if (status == STATUS_OK && points[i].found)
            status = version_fill(self, &points[i].said, self->of->origins[points[i].origin], memory,
                                  &out->versions[out->version_count++], why);
    }
    qsort(out->versions, out->version_count, sizeof *out->versions, version_stronger);
    return status;
}

status_code history_read_at(history_reader *self, const fact *what, instant when, arena *memory,
                            history_item *out, failure *why) {
    reading at = {0};
    point *points = NULL;
    size_t count = 0;
    history_item item = {0};
    pthread_rwlock_rdlock(&self->of->lock);
    status_code status = points_find(self, what, when, &at, memory, &item, &points, &count, why);
    pthread_rwlock_unlock(&self->of->lock);
    bool on_disk = false;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        on_disk = on_disk || points[i].on_disk;
    if (status == STATUS_OK && on_disk)
        status = history_store_begin(self->store, why);
    if (status == STATUS_OK)
        status = versions_at(self, &at, points, count, memory, &item, why);
    if (on_disk)
        history_store_end(self->store);
    if (status == STATUS_OK)
        *out = item;
    return status;
}

/* ---- All the past
 * --------------------------------------------------------------------------------------------------- */

static status_code past_read(history_reader *self, const point *which, past *out, failure *why) {
    statement *tail = NULL;
    timeline_source from = {.store = self->store};
    pthread_rwlock_rdlock(&self->of->lock);
    status_code status = segments_copy(self, why);
    from.recorded_ms = self->of->last_recorded_ms;
    if (status == STATUS_OK &&
        !tail_statements(self->of, which->timeline, self->of->tail_stored, &tail, &from.tail_count))
        status = out_of_memory(why);
    pthread_rwlock_unlock(&self->of->lock);
    from.segments = self->segments;
    from.segment_count = self->segment_count - 1;
    from.tail = tail;
    out->keep_closed = true;
    if (status == STATUS_OK)
        status = history_store_begin(self->store, why);
    if (status == STATUS_OK)
        status = timeline_past(&from, which->timeline, out, why);
    history_store_end(self->store);
    past_finish(out);
    free(tail);
    return status;
}

typedef struct page {
    size_t skip, most, count;
} page;

static status_code page_add(history_reader *self, const past *from, const char *origin, page *window,
                            arena *memory, history_item *out, failure *why) {
    status_code status = STATUS_OK;
    for (uint32_t i = 0; i < from->closed_count && status == STATUS_OK; i++) {
        const piece *item = &from->closed[i];
        if (window->count++ < window->skip)
            continue;
        if (out->version_count == window->most) {
            out->more = true;
            break;
        }
        statement said = {.from_ms = item->from_ms,
                          .to_ms = item->to_ms,
                          .recorded_ms = item->recorded_ms,
                          .value = item->value};
        version *made = &out->versions[out->version_count++];
        status = version_fill(self, &said, origin, memory, made, why);
        made->recorded_to_ms = item->recorded_to_ms;
    }
    return status;
}

/* Origin by origin, each in recorded order. */
status_code history_read_past(history_reader *self, const fact *what, size_t skip, size_t most, arena *memory,
                              history_item *out, failure *why) {
    history_item item = {0};
    point *points = NULL;
    size_t count = 0;
    page window = {.skip = skip, .most = most};
    pthread_rwlock_rdlock(&self->of->lock);
    uint32_t thing = thing_find(self->of, what);
    status_code status = thing == HISTORY_NONE ? not_known(what, why) : STATUS_OK;
    if (status == STATUS_OK && !thing_fill(self->of, thing, memory, &item))
        status = out_of_memory(why);
    if (status == STATUS_OK)
        status = points_begin(self, thing, memory, &points, &count, why);
    pthread_rwlock_unlock(&self->of->lock);
    if (status == STATUS_OK && (item.versions = arena_zero(memory, most + 1, sizeof *item.versions)) == NULL)
        status = out_of_memory(why);
    for (size_t i = count; i > 0 && status == STATUS_OK && !item.more; i--) {
        past said = {0};
        status = past_read(self, &points[i - 1], &said, why);
        if (status == STATUS_OK)
            status =
                page_add(self, &said, self->of->origins[points[i - 1].origin], &window, memory, &item, why);
        past_free(&said);
    }
    if (status == STATUS_OK)
        *out = item;
    return status;
}
