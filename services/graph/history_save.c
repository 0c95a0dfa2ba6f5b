/* The history on disk: what a commit adds, seals, and loading it again. */
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "history_retain.h"
#include "history_store.h"

#define SEAL_LEAST 65536U
#define LOT_BODY_MAX (64U << 20)
#define TRIM_EVERY 256U /* commits */

bool history_changed(const history *self) {
    return self->tail_count > self->tail_stored || self->node_count > self->nodes_stored ||
           self->edge_count > self->edges_stored || self->alias_count > self->aliases_stored ||
           self->timeline_count > self->timelines_stored || self->renamed_count > 0 || self->value_count > 0;
}

/* ---- A commit
 * ------------------------------------------------------------------------------------------------------- */

static status_code names_put(history *self, failure *why) {
    status_code status = STATUS_OK;
    for (uint32_t i = self->nodes_stored; i < self->node_count && status == STATUS_OK; i++)
        status = history_store_node_put(self->store, i, self->nodes[i].name, self->nodes[i].kind, why);
    for (uint32_t i = 0; i < self->renamed_count && status == STATUS_OK; i++) {
        const node_item *node = &self->nodes[self->renamed[i]];
        status = history_store_node_put(self->store, self->renamed[i], node->name, node->kind, why);
    }
    for (uint32_t i = self->aliases_stored; i < self->alias_count && status == STATUS_OK; i++)
        status = history_store_alias_put(self->store, i, self->aliases[i].name, self->aliases[i].node, why);
    return status;
}

static status_code things_put(history *self, failure *why) {
    status_code status = names_put(self, why);
    for (uint32_t i = self->edges_stored; i < self->edge_count && status == STATUS_OK; i++)
        status = history_store_edge_put(self->store, i, &self->edges[i], why);
    for (uint32_t i = self->origins_stored; i < self->origin_count && status == STATUS_OK; i++)
        status = history_store_origin_put(self->store, i, self->origins[i], why);
    for (uint32_t i = self->timelines_stored; i < self->timeline_count && status == STATUS_OK; i++)
        status = history_store_timeline_put(self->store, i, &self->timelines[i], why);
    for (uint32_t i = 0; i < self->value_count && status == STATUS_OK; i++)
        status = history_store_value_put(self->store, &self->values[i], why);
    return status;
}

static status_code log_put(history *self, uint64_t revision, failure *why) {
    buffer body;
    buffer_init(&body, LOT_BODY_MAX);
    uint32_t last = 0;
    for (uint32_t i = self->tail_stored; i < self->tail_count; i++) {
        statement what = tail_statement_of(self, &self->tail[i]);
        codec_statement(&body, &what, self->group_recorded_ms, &last);
    }
    status_code status = STATUS_OK;
    if (!buffer_ok(&body))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to store the history");
    if (status == STATUS_OK && self->tail_count > self->tail_stored)
        status =
            history_store_log_put(self->store, revision, self->group_recorded_ms, buffer_bytes(&body), why);
    buffer_free(&body);
    return status;
}

/* ---- Seals
 * ----------------------------------------------------------------------------------------------------------
 */

typedef struct lot_bodies {
    buffer keyframe, records, late, chunk;
} lot_bodies;

static void lot_bodies_init(lot_bodies *self) {
    buffer_init(&self->keyframe, LOT_BODY_MAX);
    buffer_init(&self->records, LOT_BODY_MAX);
    buffer_init(&self->late, LOT_BODY_MAX);
    buffer_init(&self->chunk, LOT_BODY_MAX);
}

static void lot_bodies_free(lot_bodies *self) {
    buffer_free(&self->keyframe);
    buffer_free(&self->records);
    buffer_free(&self->late);
    buffer_free(&self->chunk);
}

/* A statement that spans the segment's start is late up to it, and a usual one from there on. */
static void statement_sort(lot_bodies *out, statement what, int64_t start_ms, uint32_t *last_usual,
                           uint32_t *last_late) {
    if (what.to_ms > start_ms)
        codec_statement(&out->records, &what, start_ms, last_usual);
    if (what.from_ms < start_ms) {
        what.to_ms = what.to_ms < start_ms ? what.to_ms : start_ms;
        codec_statement(&out->chunk, &what, start_ms, last_late);
    }
}

/* Bodies of one lot: the sealed segment's statements, and the keyframe of the one that begins at `next_ms`.
 */
static bool lot_encode(const history *self, uint32_t lot, int64_t start_ms, int64_t next_ms,
                       lot_bodies *out) {
    uint32_t begin = lot * LOT_TIMELINES;
    uint32_t end =
        begin + LOT_TIMELINES < self->timeline_count ? begin + LOT_TIMELINES : self->timeline_count;
    uint32_t last_usual = begin;
    uint32_t last_late = begin;
    buffer_clear(&out->keyframe);
    buffer_clear(&out->records);
    buffer_clear(&out->chunk);
    for (uint32_t i = begin; i < end; i++) {
        const timeline_item *item = &self->timelines[i];
        timeline_state state = {.from_ms = item->mark_ms,
                                .recorded_ms = item->recorded_ms,
                                .value = item->value,
                                .known = item->known};
        codec_state(&out->keyframe, &state, next_ms);
        statement *said = NULL;
        uint32_t count = 0;
        if (!tail_statements(self, i, self->tail_count, &said, &count))
            return false;
        for (uint32_t at = 0; at < count; at++)
            statement_sort(out, said[at], start_ms, &last_usual, &last_late);
        free(said);
    }
    return buffer_ok(&out->keyframe) && buffer_ok(&out->records) && buffer_ok(&out->chunk);
}

static status_code late_append(history *self, uint32_t lot, int64_t start_ms, lot_bodies *bodies,
                               failure *why) {
    bytes before = {0};
    if (bodies->chunk.size == 0)
        return STATUS_OK;
    status_code status = history_store_lot(self->store, LOTS_LATE, 0, lot, &before, why);
    if (status != STATUS_OK)
        return status;
    buffer_clear(&bodies->late);
    buffer_append(&bodies->late, before.data, before.size);
    codec_number(&bodies->late, (uint64_t)start_ms);
    codec_number(&bodies->late, bodies->chunk.size);
    buffer_append(&bodies->late, bodies->chunk.data, bodies->chunk.size);
    if (!buffer_ok(&bodies->late))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to store the history");
    return history_store_lot_put(self->store, LOTS_LATE, 0, lot, buffer_bytes(&bodies->late), why);
}

static status_code lot_seal(history *self, uint32_t lot, int64_t next_ms, lot_bodies *bodies, failure *why) {
    const segment *tail = &self->segments[self->segment_count - 1];
    if (!lot_encode(self, lot, tail->start_ms, next_ms, bodies))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to store the history");
    status_code status = late_append(self, lot, tail->start_ms, bodies, why);
    if (status == STATUS_OK && bodies->records.size > 0)
        status = history_store_lot_put(self->store, LOTS_RECORDS, tail->id, lot,
                                       buffer_bytes(&bodies->records), why);
    return status == STATUS_OK ? history_store_lot_put(self->store, LOTS_KEYFRAME, tail->id + 1, lot,
                                                       buffer_bytes(&bodies->keyframe), why)
                               : status;
}

/* Distances from one commit to the next, so that a revision can be found by its time and the reverse. */
static status_code segment_close(history *self, uint64_t revision, failure *why) {
    const segment *tail = &self->segments[self->segment_count - 1];
    segment closed = *tail;
    closed.statements = self->tail_count;
    buffer body;
    buffer_init(&body, LOT_BODY_MAX);
    uint64_t last_revision = tail->start_revision;
    int64_t last_ms = tail->start_ms;
    for (uint32_t i = 0; i < self->group_count; i++) {
        codec_number(&body, self->groups[i].revision - last_revision);
        codec_number(&body, (uint64_t)(self->groups[i].recorded_ms - last_ms));
        last_revision = self->groups[i].revision;
        last_ms = self->groups[i].recorded_ms;
    }
    codec_number(&body, revision - last_revision);
    codec_number(&body, (uint64_t)(self->group_recorded_ms - last_ms));
    status_code status =
        buffer_ok(&body)
            ? history_store_segment_put(self->store, &closed, buffer_bytes(&body), why)
            : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to store the history");
    buffer_free(&body);
    return status;
}

static segment segment_after(const history *self, uint64_t revision) {
    return (segment){.id = self->segments[self->segment_count - 1].id + 1,
                     .start_ms = self->group_recorded_ms + 1,
                     .start_revision = revision};
}

static status_code seal(history *self, uint64_t revision, failure *why) {
    lot_bodies bodies;
    lot_bodies_init(&bodies);
    segment next = segment_after(self, revision);
    status_code status = segment_close(self, revision, why);
    for (uint32_t lot = 0; lot * LOT_TIMELINES < self->timeline_count && status == STATUS_OK; lot++)
        status = lot_seal(self, lot, next.start_ms, &bodies, why);
    lot_bodies_free(&bodies);
    if (status == STATUS_OK)
        status = history_store_segment_put(self->store, &next, (bytes){0}, why);
    pthread_rwlock_wrlock(&self->lock);
    bool room =
        room_for((void **)&self->segments, self->segment_count, &self->segment_room, sizeof *self->segments);
    pthread_rwlock_unlock(&self->lock);
    if (status == STATUS_OK && !room)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to store the history");
    return status;
}

static bool seal_due(const history *self) {
    uint64_t wanted = self->limits.seal_changes;
    if (wanted == 0)
        wanted = self->timeline_count > SEAL_LEAST ? self->timeline_count : SEAL_LEAST;
    return self->tail_count >= wanted;
}

static status_code log_trim(history *self, failure *why) {
    uint64_t up_to = self->segments[self->segment_count - 1].start_revision;
    uint64_t last = 0;
    status_code status = history_store_log_trim(
        self->store, up_to, self->group_recorded_ms - self->limits.keep_changes_ms, &last, why);
    return status == STATUS_OK && last > 0 ? history_store_floor_put(self->store, last, why) : status;
}

status_code history_put(history *self, uint64_t revision, failure *why) {
    self->sealing = false;
    if (!history_changed(self))
        return STATUS_OK;
    /* Names alone make no group. */
    bool states = self->tail_count > self->tail_stored;
    status_code status = things_put(self, why);
    if (status == STATUS_OK && states)
        status = log_put(self, revision, why);
    self->group_revision = revision;
    if (status != STATUS_OK || !states)
        return status;
    if (seal_due(self)) {
        status = seal(self, revision, why);
        self->sealing = status == STATUS_OK;
        if (status == STATUS_OK)
            status = retain_put(self, self->group_recorded_ms, why);
    }
    if (status == STATUS_OK && self->limits.keep_changes_ms > 0 && revision % TRIM_EVERY == 0)
        status = log_trim(self, why);
    return status;
}

static void tail_begin(history *self) {
    segment next = segment_after(self, self->group_revision);
    self->segments[self->segment_count - 1].statements = self->tail_count;
    for (uint32_t i = 0; i < self->timeline_count; i++)
        self->timelines[i].last = 0;
    self->segments[self->segment_count++] = next; /* seal has made room */
    self->tail_count = self->group_count = 0;
}

void history_stored(history *self) {
    pthread_rwlock_wrlock(&self->lock);
    self->nodes_stored = self->node_count;
    self->edges_stored = self->edge_count;
    self->aliases_stored = self->alias_count;
    self->timelines_stored = self->timeline_count;
    self->origins_stored = self->origin_count;
    self->renamed_count = 0;
    values_stored(self);
    if (self->tail_count > self->tail_stored) {
        self->groups[self->group_count++] = (tail_group){.revision = self->group_revision,
                                                         .recorded_ms = self->group_recorded_ms,
                                                         .end = self->tail_count};
        self->last_recorded_ms = self->group_recorded_ms;
        self->last_revision = self->group_revision;
        if (self->sealing)
            tail_begin(self);
        self->group_recorded_ms = 0;
    }
    self->tail_stored = self->tail_count;
    self->sealing = false;
    retain_stored(self);
    pthread_rwlock_unlock(&self->lock);
}

/* ---- Loading
 * -------------------------------------------------------------------------------------------------------- */

/* A row is one of 0, 1, 2 …, and refers to what is there. */
static bool node_load(void *context, const history_row *row) {
    history *self = context;
    return row->id == self->node_count && row->numbers[0] > 0 && row->numbers[0] < 32 &&
           index_node(self, row->name, (int)row->numbers[0]) == (uint32_t)row->id;
}

static bool alias_load(void *context, const history_row *row) {
    history *self = context;
    return row->id == self->alias_count && row->numbers[0] >= 0 && row->numbers[0] < self->node_count &&
           index_alias(self, row->name, (uint32_t)row->numbers[0]);
}

static bool edge_load(void *context, const history_row *row) {
    history *self = context;
    const int64_t *numbers = row->numbers;
    return row->id == self->edge_count && numbers[0] >= 0 && numbers[0] < self->node_count &&
           numbers[1] >= 0 && numbers[1] < self->node_count && numbers[2] > 0 && numbers[2] < 32 &&
           index_edge(self, (uint32_t)numbers[0], (uint32_t)numbers[1], (int)numbers[2]) == (uint32_t)row->id;
}

static bool origin_load(void *context, const history_row *row) {
    history *self = context;
    return row->id == self->origin_count && index_origin(self, row->name) == (uint32_t)row->id;
}

static bool timeline_load(void *context, const history_row *row) {
    history *self = context;
    int64_t thing = row->numbers[0];
    bool fits =
        (thing & EDGE_BIT) != 0 ? (thing & ~(int64_t)EDGE_BIT) < self->edge_count : thing < self->node_count;
    return row->id == self->timeline_count && thing >= 0 && thing <= UINT32_MAX && fits &&
           row->numbers[1] >= 0 && row->numbers[1] < self->origin_count &&
           index_timeline(self, (uint32_t)thing, (uint32_t)row->numbers[1]) == (uint32_t)row->id;
}

static bool segment_load(void *context, const history_row *row) {
    history *self = context;
    if (row->id < 0 || row->id >= UINT32_MAX || row->numbers[0] < 0 || row->numbers[0] > INT64_MAX / 4 ||
        !room_for((void **)&self->segments, self->segment_count, &self->segment_room, sizeof *self->segments))
        return false;
    self->segments[self->segment_count++] = (segment){.id = (uint32_t)row->id,
                                                      .start_ms = row->numbers[0],
                                                      .start_revision = (uint64_t)row->numbers[1],
                                                      .statements = (uint64_t)row->numbers[2],
                                                      .folded_nodes = (uint32_t)row->numbers[3],
                                                      .folded_edges = (uint32_t)row->numbers[4]};
    return true;
}

static bool keyframe_load(void *context, const history_row *row) {
    history *self = context;
    codec_cursor cursor = codec_open(row->body);
    uint64_t timeline = (uint64_t)row->id * LOT_TIMELINES;
    timeline_state state;
    int64_t base_ms = self->segments[self->segment_count - 1].start_ms;
    for (; codec_state_next(&cursor, base_ms, &state); timeline++) {
        if (timeline >= self->timeline_count)
            return false;
        timeline_item *item = &self->timelines[timeline];
        item->known = state.known;
        item->value = state.value;
        item->mark_ms = state.from_ms;
        item->recorded_ms = state.recorded_ms;
    }
    return !cursor.failed;
}

static bool tail_add(history *self, const statement *what) {
    if (what->timeline >= self->timeline_count ||
        !room_for((void **)&self->tail, self->tail_count, &self->tail_room, sizeof *self->tail))
        return false;
    timeline_item *item = &self->timelines[what->timeline];
    self->tail[self->tail_count] = (tail_statement){.from_ms = what->from_ms,
                                                    .to_ms = what->to_ms,
                                                    .timeline = what->timeline,
                                                    .value = what->value,
                                                    .previous = item->last,
                                                    .group = self->group_count};
    item->last = ++self->tail_count;
    if (what->to_ms == HISTORY_OPEN) {
        item->mark_ms = what->from_ms;
        item->value = what->value;
        item->recorded_ms = what->recorded_ms;
        item->known = true;
    }
    return true;
}

static bool log_load(void *context, const history_row *row) {
    history *self = context;
    codec_cursor cursor = codec_open(row->body);
    statement what;
    uint32_t last = 0;
    if (row->numbers[0] <= self->last_recorded_ms ||
        !room_for((void **)&self->groups, self->group_count, &self->group_room, sizeof *self->groups))
        return false;
    while (codec_statement_next(&cursor, row->numbers[0], &last, &what))
        if (!tail_add(self, &what))
            return false;
    self->groups[self->group_count++] =
        (tail_group){.revision = (uint64_t)row->id, .recorded_ms = row->numbers[0], .end = self->tail_count};
    self->last_recorded_ms = row->numbers[0];
    self->last_revision = (uint64_t)row->id;
    return !cursor.failed;
}

static status_code segments_load(history *self, failure *why) {
    static const struct {
        history_table table;
        history_row_reader read;
    } tables[] = {{HISTORY_NODES, node_load},         {HISTORY_ALIASES, alias_load},
                  {HISTORY_EDGES, edge_load},         {HISTORY_ORIGINS, origin_load},
                  {HISTORY_TIMELINES, timeline_load}, {HISTORY_SEGMENTS, segment_load}};
    status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && status == STATUS_OK; i++)
        status = history_store_load(self->store, tables[i].table, tables[i].read, self, why);
    if (status == STATUS_OK && self->segment_count == 0) {
        history_row first = {0};
        if (!segment_load(self, &first))
            status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the history");
    }
    return status;
}

static status_code load(history *self, failure *why) {
    status_code status = segments_load(self, why);
    if (status != STATUS_OK)
        return status;
    const segment *tail = &self->segments[self->segment_count - 1];
    self->last_recorded_ms = tail->start_ms > 0 ? tail->start_ms - 1 : 0;
    self->last_revision = tail->start_revision;
    status = history_store_lots(self->store, LOTS_KEYFRAME, tail->id, keyframe_load, self, why);
    if (status == STATUS_OK)
        status = history_store_log(self->store, tail->start_revision, UINT32_MAX, log_load, self, why);
    uint32_t last_value = 0;
    if (status == STATUS_OK)
        status = history_store_value_last(self->store, &last_value, why);
    self->next_value = last_value + 1;
    self->tail_stored = self->tail_count;
    if (status == STATUS_OK)
        history_stored(self);
    return status;
}

status_code history_open(history **out, store *connection, const char *path, const history_limits *limits,
                         const chance *source, failure *why) {
    history *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the history");
    pthread_rwlock_init(&self->lock, NULL);
    self->connection = connection;
    chance_random(source, (uint8_t *)&self->seed, sizeof self->seed);
    if (limits != NULL)
        self->limits = *limits;
    status_code status = STATUS_OK;
    if (strcmp(path, ":memory:") != 0 && (self->path = strdup(path)) == NULL)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the history");
    if (status == STATUS_OK)
        status = history_store_open(&self->store, connection, true, why);
    if (status == STATUS_OK)
        status = load(self, why);
    if (status != STATUS_OK) {
        history_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void history_close(history *self) {
    if (self == NULL)
        return;
    history_store_close(self->store);
    index_free(self);
    values_free(self);
    free(self->segments);
    free(self->tail);
    free(self->groups);
    free(self->path);
    pthread_rwlock_destroy(&self->lock);
    free(self);
}

void history_limit(history *self, const history_limits *limits) {
    self->limits = *limits;
}

static uint64_t bytes_used(const history *self) {
    uint64_t size = sizeof *self + (uint64_t)self->node_room * sizeof *self->nodes +
                    (uint64_t)self->edge_room * sizeof *self->edges +
                    (uint64_t)self->timeline_room * sizeof *self->timelines +
                    (uint64_t)self->tail_room * sizeof *self->tail +
                    ((uint64_t)self->node_names.mask + self->edge_ends.mask + 2) * sizeof(uint32_t);
    return size + (uint64_t)self->node_count * 48; /* names, about */
}

history_counts history_count(history *self) {
    pthread_rwlock_rdlock(&self->lock);
    history_counts counts = {.nodes = self->nodes_stored,
                             .edges = self->edges_stored,
                             .timelines = self->timelines_stored,
                             .aliases = self->aliases_stored,
                             .tail = self->tail_stored,
                             .versions = self->tail_stored,
                             .segments = self->segment_count,
                             .refused = self->refused,
                             .late = self->late,
                             .bytes = bytes_used(self),
                             .oldest_ms = self->segments[0].start_ms == 0
                                              ? INT64_MIN
                                              : self->segments[0].start_ms + HISTORY_FUTURE_MS};
    for (uint32_t i = 0; i + 1 < self->segment_count; i++)
        counts.versions += self->segments[i].statements;
    pthread_rwlock_unlock(&self->lock);
    return counts;
}
