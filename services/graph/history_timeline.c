/* One timeline out of the store and the tail. */
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "history_store.h"

statement tail_statement_of(const history *self, const tail_statement *item) {
    int64_t recorded_ms =
        item->group < self->group_count ? self->groups[item->group].recorded_ms : self->group_recorded_ms;
    return (statement){.from_ms = item->from_ms,
                       .to_ms = item->to_ms,
                       .recorded_ms = recorded_ms,
                       .timeline = item->timeline,
                       .value = item->value};
}

bool tail_statements(const history *self, uint32_t timeline, uint32_t end, statement **out, uint32_t *count) {
    uint32_t size = 0;
    for (uint32_t at = self->timelines[timeline].last; at != 0; at = self->tail[at - 1].previous)
        size += at <= end;
    statement *items = calloc(size + 1U, sizeof *items);
    if (items == NULL)
        return false;
    uint32_t place = size;
    for (uint32_t at = self->timelines[timeline].last; at != 0; at = self->tail[at - 1].previous)
        if (at <= end)
            items[--place] = tail_statement_of(self, &self->tail[at - 1]);
    *out = items;
    *count = size;
    return true;
}

typedef struct statements {
    statement *items;
    uint32_t count, room;
    bool failed; /* no memory */
} statements;

static void statements_add(statements *self, const statement *what) {
    if (!room_for((void **)&self->items, self->count, &self->room, sizeof *self->items))
        self->failed = true;
    else
        self->items[self->count++] = *what;
}

/* Those of one timeline in a body; from start_ms on, when they stand for no more. False: the body cannot be.
 */
static bool body_pick(bytes body, uint32_t timeline, int64_t base_ms, int64_t start_ms, statements *out) {
    codec_cursor cursor = codec_open(body);
    uint32_t last = timeline / LOT_TIMELINES * LOT_TIMELINES;
    statement what;
    while (codec_statement_next(&cursor, base_ms, &last, &what) && what.timeline <= timeline) {
        if (what.timeline != timeline)
            continue;
        if (what.from_ms < start_ms)
            what.from_ms = start_ms;
        statements_add(out, &what);
    }
    return !cursor.failed;
}

static bool late_pick(bytes body, uint32_t timeline, statements *out) {
    codec_cursor cursor = codec_open(body);
    while (cursor.at < cursor.end) {
        uint64_t base = codec_take(&cursor);
        uint64_t size = codec_take(&cursor);
        if (cursor.failed || base > INT64_MAX / 4 || size > (uint64_t)(cursor.end - cursor.at) ||
            !body_pick(bytes_of(cursor.at, (size_t)size), timeline, (int64_t)base, 0, out))
            return false;
        cursor.at += size;
    }
    return true;
}

static status_code inconsistent(failure *why) {
    return fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                "statements of the history cannot be read; restore its file from a backup");
}

/* What it said when the oldest segment began. */
static status_code keyframe_pick(const timeline_source *from, uint32_t timeline, statements *out,
                                 failure *why) {
    if (from->segments[0].start_ms == 0)
        return STATUS_OK;
    bytes body = {0};
    status_code status = history_store_lot(from->store, LOTS_KEYFRAME, from->segments[0].id,
                                           timeline / LOT_TIMELINES, &body, why);
    codec_cursor cursor = codec_open(body);
    timeline_state state = {0};
    for (uint32_t i = 0; status == STATUS_OK && i <= timeline % LOT_TIMELINES; i++)
        if (!codec_state_next(&cursor, from->segments[0].start_ms, &state)) {
            state.known = false;
            break;
        }
    if (status == STATUS_OK && cursor.failed)
        return inconsistent(why);
    statement what = {.from_ms = state.from_ms,
                      .to_ms = HISTORY_OPEN,
                      .recorded_ms = state.recorded_ms,
                      .timeline = timeline,
                      .value = state.value};
    if (status == STATUS_OK && state.known)
        statements_add(out, &what);
    return status;
}

static status_code usual_pick(const timeline_source *from, uint32_t timeline, statements *out, failure *why) {
    status_code status = keyframe_pick(from, timeline, out, why);
    for (uint32_t i = 0; i < from->segment_count && status == STATUS_OK; i++) {
        const segment *item = &from->segments[i];
        bytes body = {0};
        status = history_store_lot(from->store, LOTS_RECORDS, item->id, timeline / LOT_TIMELINES, &body, why);
        if (status == STATUS_OK && !body_pick(body, timeline, item->start_ms, item->start_ms, out))
            return inconsistent(why);
    }
    for (uint32_t i = 0; i < from->tail_count; i++)
        statements_add(out, &from->tail[i]);
    return status;
}

/* Two lists in recorded order become one. */
static void both_add(const statements *usual, const statements *late, int64_t recorded_ms, past *out) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < usual->count; i++) {
        for (; at < late->count && late->items[at].recorded_ms <= usual->items[i].recorded_ms; at++)
            if (late->items[at].recorded_ms <= recorded_ms)
                past_add(out, &late->items[at]);
        if (usual->items[i].recorded_ms <= recorded_ms)
            past_add(out, &usual->items[i]);
    }
    for (; at < late->count; at++)
        if (late->items[at].recorded_ms <= recorded_ms)
            past_add(out, &late->items[at]);
}

status_code timeline_past(const timeline_source *from, uint32_t timeline, past *out, failure *why) {
    statements usual = {0};
    statements late = {0};
    bytes body = {0};
    status_code status = usual_pick(from, timeline, &usual, why);
    if (status == STATUS_OK && (from->segment_count > 0 || from->segments[0].start_ms > 0))
        status = history_store_lot(from->store, LOTS_LATE, 0, timeline / LOT_TIMELINES, &body, why);
    if (status == STATUS_OK && !late_pick(body, timeline, &late))
        status = inconsistent(why);
    if (status == STATUS_OK)
        both_add(&usual, &late, from->recorded_ms, out);
    if (status == STATUS_OK && (usual.failed || late.failed || out->failed))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read the history");
    free(usual.items);
    free(late.items);
    return status;
}
