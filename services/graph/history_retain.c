/* Retention and compaction of the history. */
#include "history_retain.h"

#include <stdlib.h>
#include <string.h>

#include "history_store.h"

#define LOT_BODY_MAX (64U << 20)

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to compact the history");
}

static uint32_t lot_count(const history *self) {
    return (self->timeline_count + LOT_TIMELINES - 1) / LOT_TIMELINES;
}

/* Where a segment ends: the one that is being sealed ends now. */
static int64_t segment_end(const history *self, uint32_t index, int64_t now_ms) {
    return index + 1 < self->segment_count ? self->segments[index + 1].start_ms : now_ms + 1;
}

/* ---- Folding
 * ---------------------------------------------------------------------------------------------------------
 */

bool retain_folded(const history *self, uint32_t timeline, const segment *item) {
    uint32_t thing = self->timelines[timeline].thing;
    if ((thing & EDGE_BIT) != 0)
        return (item->folded_edges & 1U << self->edges[thing & ~EDGE_BIT].kind) != 0;
    return (item->folded_nodes & 1U << self->nodes[thing].kind) != 0;
}

typedef struct statement_list {
    statement *items;
    uint32_t count, room;
} statement_list;

static bool lot_decode(history *self, bytes body, uint32_t lot, int64_t base_ms, statement_list *out) {
    codec_cursor cursor = codec_open(body);
    uint32_t last = lot * LOT_TIMELINES;
    out->count = 0;
    for (;;) {
        if (!room_for((void **)&out->items, out->count, &out->room, sizeof *out->items))
            return false;
        if (!codec_statement_next(&cursor, base_ms, &last, &out->items[out->count]))
            return !cursor.failed;
        if (out->items[out->count++].timeline >= self->timeline_count)
            return false;
    }
}

/* The last open statement of a timeline is what the next keyframe says. */
static bool is_last_open(const statement_list *all, uint32_t at) {
    if (all->items[at].to_ms != HISTORY_OPEN)
        return false;
    for (uint32_t i = at + 1; i < all->count && all->items[i].timeline == all->items[at].timeline; i++)
        if (all->items[i].to_ms == HISTORY_OPEN)
            return false;
    return true;
}

static status_code lot_fold(history *self, segment *item, uint32_t lot, statement_list *all, buffer *body,
                            failure *why) {
    bytes before = {0};
    status_code status = history_store_lot(self->store, LOTS_RECORDS, item->id, lot, &before, why);
    if (status != STATUS_OK || before.size == 0)
        return status;
    if (!lot_decode(self, before, lot, item->start_ms, all))
        return fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT", "statements of the history cannot be read");
    uint32_t last = lot * LOT_TIMELINES;
    uint32_t kept = 0;
    buffer_clear(body);
    for (uint32_t i = 0; i < all->count; i++)
        if (!retain_folded(self, all->items[i].timeline, item) || is_last_open(all, i)) {
            codec_statement(body, &all->items[i], item->start_ms, &last);
            kept++;
        }
    if (kept == all->count)
        return STATUS_OK;
    item->statements -= all->count - kept < item->statements ? all->count - kept : item->statements;
    return buffer_ok(body)
               ? history_store_lot_put(self->store, LOTS_RECORDS, item->id, lot, buffer_bytes(body), why)
               : no_memory(why);
}

static uint32_t kinds_older(const int64_t keep_ms[32], int64_t age_ms) {
    uint32_t kinds = 0;
    for (unsigned kind = 1; kind < 32; kind++)
        if (keep_ms[kind] > 0 && age_ms > keep_ms[kind])
            kinds |= 1U << kind;
    return kinds;
}

static status_code segment_fold(history *self, uint32_t index, segment folded, failure *why) {
    statement_list all = {0};
    buffer body;
    bytes revisions = {0};
    buffer_init(&body, LOT_BODY_MAX);
    status_code status = STATUS_OK;
    for (uint32_t lot = 0; lot < lot_count(self) && status == STATUS_OK; lot++)
        status = lot_fold(self, &folded, lot, &all, &body, why);
    buffer_clear(&body);
    if (status == STATUS_OK)
        status = history_store_revisions(self->store, folded.id, &revisions, why);
    buffer_append(&body, revisions.data, revisions.size);
    if (status == STATUS_OK)
        status = buffer_ok(&body) ? history_store_segment_put(self->store, &folded, buffer_bytes(&body), why)
                                  : no_memory(why);
    if (status == STATUS_OK)
        self->retain.folded[self->retain.folded_count++] =
            (folded_segment){.index = index, .becomes = folded};
    free(all.items);
    buffer_free(&body);
    return status;
}

static status_code segments_fold(history *self, int64_t now_ms, failure *why) {
    status_code status = STATUS_OK;
    for (uint32_t i = self->retain.dropped; i + 1 < self->segment_count && status == STATUS_OK; i++) {
        if (self->retain.folded_count == RETAIN_FOLDS_MAX)
            break;
        int64_t age_ms = now_ms - segment_end(self, i, now_ms);
        segment folded = self->segments[i];
        folded.folded_nodes |= kinds_older(self->limits.keep_node_ms, age_ms);
        folded.folded_edges |= kinds_older(self->limits.keep_edge_ms, age_ms);
        if (folded.folded_nodes != self->segments[i].folded_nodes ||
            folded.folded_edges != self->segments[i].folded_edges)
            status = segment_fold(self, i, folded, why);
    }
    return status;
}

/* ---- Dropping
 * -------------------------------------------------------------------------------------------------------- */

/* A late statement ends before the start of its segment, so that one before the oldest start is never read.
 */
static bool late_chunk_copy(history *self, codec_cursor *cursor, uint32_t lot, int64_t oldest_ms,
                            statement_list *all, buffer *chunk, buffer *out) {
    uint64_t base = codec_take(cursor);
    uint64_t size = codec_take(cursor);
    if (cursor->failed || base > INT64_MAX / 4 || size > (uint64_t)(cursor->end - cursor->at) ||
        !lot_decode(self, bytes_of(cursor->at, (size_t)size), lot, (int64_t)base, all))
        return false;
    cursor->at += size;
    uint32_t last = lot * LOT_TIMELINES;
    buffer_clear(chunk);
    for (uint32_t i = 0; i < all->count; i++)
        if (all->items[i].to_ms > oldest_ms)
            codec_statement(chunk, &all->items[i], (int64_t)base, &last);
    if (chunk->size == 0)
        return true;
    codec_number(out, base);
    codec_number(out, chunk->size);
    buffer_append(out, chunk->data, chunk->size);
    return buffer_ok(chunk) && buffer_ok(out);
}

static status_code late_trim(history *self, uint32_t lot, int64_t oldest_ms, statement_list *all,
                             buffer *chunk, buffer *out, failure *why) {
    bytes before = {0};
    status_code status = history_store_lot(self->store, LOTS_LATE, 0, lot, &before, why);
    if (status != STATUS_OK || before.size == 0)
        return status;
    codec_cursor cursor = codec_open(before);
    buffer_clear(out);
    while (cursor.at < cursor.end)
        if (!late_chunk_copy(self, &cursor, lot, oldest_ms, all, chunk, out))
            return fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                        "late statements of the history cannot be read");
    if (out->size == before.size)
        return STATUS_OK;
    return history_store_lot_put(self->store, LOTS_LATE, 0, lot, buffer_bytes(out), why);
}

static status_code segments_drop(history *self, int64_t now_ms, failure *why) {
    int64_t keep_ms = self->limits.keep_ms;
    status_code status = STATUS_OK;
    while (keep_ms > 0 && self->retain.dropped + 1 < self->segment_count && status == STATUS_OK &&
           now_ms - segment_end(self, self->retain.dropped, now_ms) > keep_ms)
        status = history_store_segment_drop(self->store, self->segments[self->retain.dropped++].id, why);
    if (status != STATUS_OK || self->retain.dropped == 0)
        return status;
    statement_list all = {0};
    buffer chunk;
    buffer out;
    buffer_init(&chunk, LOT_BODY_MAX);
    buffer_init(&out, LOT_BODY_MAX);
    int64_t oldest_ms = self->segments[self->retain.dropped].start_ms;
    for (uint32_t lot = 0; lot < lot_count(self) && status == STATUS_OK; lot++)
        status = late_trim(self, lot, oldest_ms, &all, &chunk, &out, why);
    free(all.items);
    buffer_free(&chunk);
    buffer_free(&out);
    return status;
}

/* ---- Values
 * ----------------------------------------------------------------------------------------------------------
 */

typedef struct sweep {
    uint8_t *used; /* a bit a value */
    uint32_t count;
    int64_t base_ms;
} sweep;

static void value_mark(sweep *self, uint32_t ref) {
    uint32_t number = value_number(ref);
    if (number < self->count)
        self->used[number / 8] |= (uint8_t)(1U << number % 8);
}

static bool keyframe_mark(void *context, const history_row *row) {
    sweep *self = context;
    codec_cursor cursor = codec_open(row->body);
    timeline_state state;
    while (codec_state_next(&cursor, self->base_ms, &state))
        value_mark(self, state.value);
    return !cursor.failed;
}

static bool statements_mark(sweep *self, bytes body) {
    codec_cursor cursor = codec_open(body);
    uint32_t last = 0;
    statement what = {0};
    cursor.failed = false;
    last = 1U << 30; /* distances alone matter */
    while (codec_statement_next(&cursor, self->base_ms, &last, &what))
        value_mark(self, what.value);
    return !cursor.failed;
}

static bool records_mark(void *context, const history_row *row) {
    return statements_mark(context, row->body);
}

static bool late_mark(void *context, const history_row *row) {
    sweep *self = context;
    codec_cursor cursor = codec_open(row->body);
    while (cursor.at < cursor.end && !cursor.failed) {
        uint64_t base = codec_take(&cursor);
        uint64_t size = codec_take(&cursor);
        if (cursor.failed || base > INT64_MAX / 4 || size > (uint64_t)(cursor.end - cursor.at))
            return false;
        self->base_ms = (int64_t)base;
        if (!statements_mark(self, bytes_of(cursor.at, (size_t)size)))
            return false;
        cursor.at += size;
    }
    return !cursor.failed;
}

static status_code all_mark(history *self, sweep *marks, failure *why) {
    status_code status = STATUS_OK;
    for (uint32_t i = self->retain.dropped; i < self->segment_count && status == STATUS_OK; i++) {
        marks->base_ms = self->segments[i].start_ms;
        status =
            history_store_lots(self->store, LOTS_KEYFRAME, self->segments[i].id, keyframe_mark, marks, why);
        if (status == STATUS_OK)
            status =
                history_store_lots(self->store, LOTS_RECORDS, self->segments[i].id, records_mark, marks, why);
    }
    if (status == STATUS_OK)
        status = history_store_lots(self->store, LOTS_LATE, 0, late_mark, marks, why);
    for (uint32_t i = 0; i < self->tail_count; i++)
        value_mark(marks, self->tail[i].value);
    for (uint32_t i = 0; i < self->timeline_count; i++)
        value_mark(marks, self->timelines[i].value);
    for (uint32_t i = 0; i < self->value_count; i++)
        value_mark(marks, value_ref(self->values[i].number, 0));
    return status;
}

static status_code values_sweep(history *self, failure *why) {
    sweep marks = {.count = self->next_value};
    marks.used = calloc(marks.count / 8 + 1, 1);
    if (marks.used == NULL)
        return no_memory(why);
    marks.used[0] = 1; /* there is no value 0 */
    status_code status = all_mark(self, &marks, why);
    if (status == STATUS_OK)
        status = history_store_values_drop(self->store, marks.used, marks.count, why);
    free(marks.used);
    /* What the cache knows may be gone. */
    for (uint32_t i = 0; i < VALUE_CACHE; i++)
        self->cache[i].number = 0;
    return status;
}

/* ---- At a seal
 * ------------------------------------------------------------------------------------------------------- */

status_code retain_put(history *self, int64_t now_ms, failure *why) {
    self->retain.dropped = self->retain.folded_count = 0;
    status_code status = segments_drop(self, now_ms, why);
    if (status == STATUS_OK)
        status = segments_fold(self, now_ms, why);
    uint32_t done = self->retain.since_sweep + self->retain.dropped + self->retain.folded_count;
    self->retain.sweeps = done >= RETAIN_SWEEP_EVERY;
    return status == STATUS_OK && self->retain.sweeps ? values_sweep(self, why) : status;
}

void retain_stored(history *self) {
    retention *done = &self->retain;
    for (uint32_t i = 0; i < done->folded_count; i++)
        self->segments[done->folded[i].index] = done->folded[i].becomes;
    self->segment_count -= done->dropped;
    memmove(self->segments, self->segments + done->dropped, self->segment_count * sizeof *self->segments);
    done->since_sweep = done->sweeps ? 0 : done->since_sweep + done->dropped + done->folded_count;
    done->dropped = done->folded_count = 0;
    done->sweeps = false;
}
