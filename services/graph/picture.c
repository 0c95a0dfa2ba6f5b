/* Making a picture: a state for every timeline (keyframe, then statements, then late ones, then the tail),
 * then the strongest origin of every thing. */
#include "picture.h"

#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "history_store.h"

/* What a timeline says at the instant. */
typedef struct moment {
    int64_t from_ms, recorded_ms;
    uint32_t value;
    uint32_t
        stage; /* NOTHING … FROM_TAIL: what comes later in this list is not overruled by what comes before */
} moment;

enum { NOTHING, FROM_KEYFRAME, FROM_RECORDS, FROM_LATE, FROM_TAIL };

typedef struct making {
    history_reader *reader;
    reading at;
    moment *moments; /* by timeline */
    uint32_t count;
    const segment *segment;
} making;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph at an instant");
}

static void moment_set(making *self, const statement *what, uint32_t stage) {
    moment *item = &self->moments[what->timeline];
    if (item->stage > stage)
        return;
    *item = (moment){
        .from_ms = what->from_ms, .recorded_ms = what->recorded_ms, .value = what->value, .stage = stage};
}

/* ---- Moments
 * -------------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static status_code tail_read(making *self, instant when, failure *why) {
    const history *of = self->reader->of;
    status_code status = reading_begin(self->reader, when, &self->at, why);
    if (status != STATUS_OK)
        return status;
    self->count = of->timelines_stored;
    self->moments = calloc(self->count + 1U, sizeof *self->moments);
    if (self->moments == NULL)
        return no_memory(why);
    for (uint32_t i = 0; i < self->at.tail_end; i++) {
        statement what = tail_statement_of(of, &of->tail[i]);
        if (reading_holds(&self->at, &what, 0))
            moment_set(self, &what, FROM_TAIL);
    }
    return STATUS_OK;
}

static bool keyframe_read(void *context, const history_row *row) {
    making *self = context;
    codec_cursor cursor = codec_open(row->body);
    timeline_state state;
    uint64_t timeline = (uint64_t)row->id * LOT_TIMELINES;
    for (; codec_state_next(&cursor, self->segment->start_ms, &state); timeline++) {
        if (timeline >= self->count)
            return false;
        statement what = {.from_ms = state.from_ms,
                          .recorded_ms = state.recorded_ms,
                          .timeline = (uint32_t)timeline,
                          .value = state.value};
        if (state.known)
            moment_set(self, &what, FROM_KEYFRAME);
    }
    return !cursor.failed;
}

static bool records_read(void *context, const history_row *row) {
    making *self = context;
    codec_cursor cursor = codec_open(row->body);
    uint32_t last = (uint32_t)row->id * LOT_TIMELINES;
    int64_t start_ms = self->segment->start_ms;
    statement what;
    while (codec_statement_next(&cursor, start_ms, &last, &what))
        if (what.timeline < self->count && reading_holds(&self->at, &what, start_ms))
            moment_set(self, &what, FROM_RECORDS);
    return !cursor.failed;
}

static void late_set(void *context, const statement *what) {
    making *self = context;
    if (what->timeline < self->count && reading_holds(&self->at, what, 0))
        moment_set(self, what, FROM_LATE);
}

static bool late_read(void *context, const history_row *row) {
    return late_each(row->body, (uint32_t)row->id, late_set, context);
}

static status_code disk_read(making *self, failure *why) {
    history_store *from = self->reader->store;
    const segment *segments = self->reader->segments;
    self->segment = &segments[self->at.base];
    status_code status = history_store_begin(from, why);
    if (status == STATUS_OK && self->segment->start_ms > 0)
        status = history_store_lots(from, LOTS_KEYFRAME, self->segment->id, keyframe_read, self, why);
    for (uint32_t i = self->at.base; i < self->at.tail && status == STATUS_OK; i++) {
        self->segment = &segments[i];
        if (reading_reaches(&self->at, self->segment))
            status = history_store_lots(from, LOTS_RECORDS, self->segment->id, records_read, self, why);
    }
    if (status == STATUS_OK && (self->at.tail > 0 || segments[0].start_ms > 0))
        status = history_store_lots(from, LOTS_LATE, 0, late_read, self, why);
    history_store_end(from);
    return status;
}

/* ---- Merging
 * -------------------------------------------------------------------------------------------------------- */

/* By number of the node or edge: its best timeline + 1. */
static uint32_t stronger(const making *self, uint32_t best, uint32_t timeline) {
    if (best == 0)
        return timeline + 1;
    const moment *a = &self->moments[best - 1];
    const moment *b = &self->moments[timeline];
    unsigned rank_a = provenance_rank(value_provenance(a->value));
    unsigned rank_b = provenance_rank(value_provenance(b->value));
    if (rank_a != rank_b)
        return rank_a > rank_b ? best : timeline + 1;
    return a->recorded_ms >= b->recorded_ms ? best : timeline + 1;
}

typedef struct merge {
    uint32_t *nodes, *edges;
    uint32_t node_count, edge_count; /* numbers */
    uint32_t shown_edges;
} merge;

#define NAMED_ONLY UINT32_MAX /* in nodes: an edge names it */

static bool merge_begin(const making *self, merge *out) {
    const history *of = self->reader->of;
    *out = (merge){.node_count = of->nodes_stored, .edge_count = of->edges_stored};
    out->nodes = calloc(out->node_count + 1U, sizeof *out->nodes);
    out->edges = calloc(out->edge_count + 1U, sizeof *out->edges);
    if (out->nodes == NULL || out->edges == NULL)
        return false;
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->moments[i].value == VALUE_ABSENT)
            continue;
        uint32_t thing = of->timelines[i].thing;
        uint32_t *best = (thing & EDGE_BIT) != 0 ? &out->edges[thing & ~EDGE_BIT] : &out->nodes[thing];
        *best = stronger(self, *best, i);
    }
    for (uint32_t i = 0; i < out->edge_count; i++) {
        if (out->edges[i] == 0)
            continue;
        const uint32_t ends[] = {of->edges[i].from, of->edges[i].to};
        out->shown_edges++;
        for (size_t end = 0; end < 2; end++)
            if (out->nodes[ends[end]] == 0)
                out->nodes[ends[end]] = NAMED_ONLY;
    }
    return true;
}

static void node_fill(const making *self, uint32_t number, uint32_t best, picture_node *out) {
    const history *of = self->reader->of;
    *out = (picture_node){.name = of->nodes[number].name, .number = number, .kind = of->nodes[number].kind};
    if (best == NAMED_ONLY)
        return;
    const moment *said = &self->moments[best - 1];
    out->valid_from_ms = said->from_ms;
    out->recorded_from_ms = said->recorded_ms;
    out->value = said->value;
    out->origin = of->timelines[best - 1].origin;
}

static void edge_fill(const making *self, const picture *into, uint32_t number, uint32_t best,
                      picture_edge *out) {
    const edge_item *edge = &self->reader->of->edges[number];
    const moment *said = &self->moments[best - 1];
    *out = (picture_edge){.valid_from_ms = said->from_ms,
                          .recorded_from_ms = said->recorded_ms,
                          .from = into->places[edge->from] - 1,
                          .to = into->places[edge->to] - 1,
                          .value = said->value,
                          .number = number,
                          .origin = self->reader->of->timelines[best - 1].origin,
                          .kind = edge->kind};
}

static bool things_fill(const making *self, const merge *best, picture *out) {
    uint32_t shown = 0;
    for (uint32_t i = 0; i < best->node_count; i++)
        shown += best->nodes[i] != 0;
    out->places = calloc(best->node_count + 1U, sizeof *out->places);
    out->nodes = calloc(shown + 1U, sizeof *out->nodes);
    out->edges = calloc(best->shown_edges + 1U, sizeof *out->edges);
    if (out->places == NULL || out->nodes == NULL || out->edges == NULL)
        return false;
    out->place_count = best->node_count;
    for (uint32_t i = 0; i < best->node_count; i++)
        if (best->nodes[i] != 0) {
            node_fill(self, i, best->nodes[i], &out->nodes[out->node_count++]);
            out->places[i] = out->node_count;
        }
    for (uint32_t i = 0; i < best->edge_count; i++)
        if (best->edges[i] != 0)
            edge_fill(self, out, i, best->edges[i], &out->edges[out->edge_count++]);
    return true;
}

static void folds_fill(const making *self, picture *out) {
    for (uint32_t i = self->at.base; i < self->at.tail; i++)
        if (reading_reaches(&self->at, &self->reader->segments[i])) {
            out->folded_nodes |= self->reader->segments[i].folded_nodes;
            out->folded_edges |= self->reader->segments[i].folded_edges;
        }
}

/* Under the lock. */
static status_code things_merge(const making *self, picture *out, failure *why) {
    merge best = {0};
    bool good = merge_begin(self, &best) && things_fill(self, &best, out);
    free(best.nodes);
    free(best.edges);
    return good ? STATUS_OK : no_memory(why);
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code picture_make(history_reader *from, instant at, picture *out, failure *why) {
    making state = {.reader = from};
    picture made = {.of = from->of};
    pthread_rwlock_rdlock(&from->of->lock);
    status_code status = tail_read(&state, at, why);
    made.revision = from->of->last_revision;
    pthread_rwlock_unlock(&from->of->lock);
    if (status == STATUS_OK)
        status = disk_read(&state, why);
    if (status == STATUS_OK) {
        made.at = (instant){state.at.valid_ms, state.at.recorded_ms};
        folds_fill(&state, &made);
        pthread_rwlock_rdlock(&from->of->lock);
        status = things_merge(&state, &made, why);
        pthread_rwlock_unlock(&from->of->lock);
    }
    free(state.moments);
    if (status != STATUS_OK) {
        picture_free(&made);
        return status;
    }
    *out = made;
    return STATUS_OK;
}

void picture_free(picture *self) {
    free(self->nodes);
    free(self->edges);
    free(self->places);
    free(self->out_first);
    free(self->out);
    free(self->in_first);
    free(self->in);
    *self = (picture){0};
}

const char *picture_origin(const picture *self, uint16_t origin) {
    pthread_rwlock_rdlock(&self->of->lock);
    const char *name = self->of->origins[origin];
    pthread_rwlock_unlock(&self->of->lock);
    return name;
}

uint32_t picture_find(const picture *self, const char *name) {
    pthread_rwlock_rdlock(&self->of->lock);
    uint32_t number = index_node_find(self->of, name);
    pthread_rwlock_unlock(&self->of->lock);
    return number >= self->place_count || self->places[number] == 0 ? HISTORY_NONE : self->places[number] - 1;
}
