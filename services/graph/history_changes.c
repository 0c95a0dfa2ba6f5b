/* Revisions: when each was recorded, and what it stated. */
#include "history_internal.h"
#include "history_store.h"

uint64_t history_newest(history *self, int64_t *recorded_ms) {
    pthread_rwlock_rdlock(&self->lock);
    uint64_t revision = self->last_revision;
    if (recorded_ms != NULL)
        *recorded_ms = self->last_recorded_ms;
    pthread_rwlock_unlock(&self->lock);
    return revision;
}

/* ---- Revision to time
 * ------------------------------------------------------------------------------------------------ */

/* Under the lock: in the tail; *recorded_ms is 0 when it lies before. */
static void tail_search(const history *of, uint64_t revision, int64_t *recorded_ms) {
    uint32_t low = 0;
    uint32_t high = of->group_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (of->groups[middle].revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    *recorded_ms = low > 0 ? of->groups[low - 1].recorded_ms : 0;
}

static bool segment_search(bytes body, const segment *item, uint64_t revision, int64_t *recorded_ms) {
    codec_cursor cursor = codec_open(body);
    uint64_t at = item->start_revision;
    int64_t time_ms = item->start_ms;
    *recorded_ms = item->start_ms > 0 ? item->start_ms - 1 : 0;
    while (cursor.at < cursor.end) {
        at += codec_take(&cursor);
        time_ms += (int64_t)codec_take(&cursor);
        if (cursor.failed)
            return false;
        if (at > revision)
            break;
        *recorded_ms = time_ms;
    }
    return true;
}

status_code history_read_revision(history_reader *self, uint64_t revision, int64_t *recorded_ms,
                                  failure *why) {
    history *of = self->of;
    int64_t found_ms = 0;
    segment in = {0};
    bool sealed = false;
    pthread_rwlock_rdlock(&of->lock);
    bool kept = of->segments[0].start_ms == 0 || revision >= of->segments[0].start_revision;
    tail_search(of, revision, &found_ms);
    for (uint32_t i = 0; found_ms == 0 && i < of->segment_count; i++)
        if (of->segments[i].start_revision <= revision) {
            in = of->segments[i];
            sealed = i + 1 < of->segment_count;
        }
    pthread_rwlock_unlock(&of->lock);
    if (!kept)
        return fail(
            why, STATUS_OUT_OF_RANGE, "COMPACTED",
            "the graph as of revision %llu is no longer kept; what a decision read of it is in its record",
            (unsigned long long)revision);
    if (found_ms == 0)
        found_ms = in.start_ms > 0 ? in.start_ms - 1 : 0;
    bytes body = {0};
    status_code status = sealed ? history_store_revisions(self->store, in.id, &body, why) : STATUS_OK;
    if (status == STATUS_OK && sealed && !segment_search(body, &in, revision, &found_ms))
        status = fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT", "revisions of the history cannot be read");
    if (status == STATUS_OK)
        *recorded_ms = found_ms;
    return status;
}

/* ---- Changes
 * ---------------------------------------------------------------------------------------------------------
 */

typedef struct change_walk {
    history *of;
    history_change_visitor visit;
    void *context;
    uint64_t last, newest;
} change_walk;

/* Under the lock. */
static bool change_fill(const history *of, const statement *said, history_change *out) {
    if (said->timeline >= of->timelines_stored)
        return false;
    const timeline_item *timeline = &of->timelines[said->timeline];
    fact *what = &out->what;
    *what = (fact){.origin = of->origins[timeline->origin],
                   .is_edge = (timeline->thing & EDGE_BIT) != 0,
                   .valid_from_ms = said->from_ms,
                   .valid_to_ms = said->to_ms};
    if (!what->is_edge) {
        what->kind = of->nodes[timeline->thing].kind;
        what->name = of->nodes[timeline->thing].name;
    } else {
        const edge_item *edge = &of->edges[timeline->thing & ~EDGE_BIT];
        what->kind = edge->kind;
        what->name = of->nodes[edge->from].name;
        what->to = of->nodes[edge->to].name;
    }
    out->value = said->value;
    out->recorded_ms = said->recorded_ms;
    return true;
}

/* A commit that memory does not show yet is left for the next time. */
static bool log_visit(void *context, const history_row *row) {
    change_walk *self = context;
    codec_cursor cursor = codec_open(row->body);
    uint32_t last = 0;
    statement said;
    if ((uint64_t)row->id > self->newest)
        return true;
    while (codec_statement_next(&cursor, row->numbers[0], &last, &said)) {
        history_change change = {.revision = (uint64_t)row->id};
        pthread_rwlock_rdlock(&self->of->lock);
        bool good = change_fill(self->of, &said, &change);
        pthread_rwlock_unlock(&self->of->lock);
        if (!good)
            return false;
        self->visit(self->context, &change);
    }
    self->last = (uint64_t)row->id;
    return !cursor.failed;
}

status_code history_read_changes(history_reader *self, uint64_t after, uint32_t commits,
                                 history_change_visitor visit, void *context, uint64_t *last, failure *why) {
    change_walk walk = {.of = self->of,
                        .visit = visit,
                        .context = context,
                        .last = after,
                        .newest = history_newest(self->of, NULL)};
    uint64_t floor = 0;
    status_code status = history_store_begin(self->store, why);
    if (status == STATUS_OK)
        status = history_store_floor(self->store, &floor, why);
    if (status == STATUS_OK && after < floor)
        status =
            fail(why, STATUS_OUT_OF_RANGE, "COMPACTED",
                 "changes after revision %llu are no longer kept, only those after %llu: take a snapshot and "
                 "watch from its revision",
                 (unsigned long long)after, (unsigned long long)floor);
    if (status == STATUS_OK)
        status = history_store_log(self->store, after, commits, log_visit, &walk, why);
    history_store_end(self->store);
    if (status == STATUS_OK)
        *last = walk.last;
    return status;
}
