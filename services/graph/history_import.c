/* Files of version 1 kept versions of what spans said, and nothing else. Their recorded times become commits
 * of the history, so that a past instant looks as it did. */
#include "history_internal.h"
#include "history_store.h"

typedef struct importing {
    history *into;
    uint64_t revision;
    int64_t recorded_ms;
    status_code status;
    failure *why;
} importing;

static bool group_end(importing *self) {
    if (!history_changed(self->into))
        return true;
    self->status = history_put(self->into, ++self->revision, self->why);
    if (self->status == STATUS_OK)
        history_stored(self->into);
    return self->status == STATUS_OK;
}

static bool old_take(void *context, const history_row *row) {
    importing *self = context;
    if (row->id != self->recorded_ms && !group_end(self))
        return false;
    self->recorded_ms = row->id;
    int64_t from_ms = row->numbers[3] < row->id ? row->numbers[3] : row->id;
    fact what = {.is_edge = row->numbers[0] != 0,
                 .kind = (int)row->numbers[1],
                 .name = row->name,
                 .to = row->other,
                 .source = (provenance)row->numbers[2],
                 .confidence = (double)row->numbers[4] / 1e6,
                 .origin = "otlp",
                 .valid_from_ms = from_ms,
                 .valid_to_ms = HISTORY_OPEN};
    self->status = history_assert(self->into, &what, row->id, self->why);
    return self->status == STATUS_OK;
}

status_code history_import(history *self, failure *why) {
    importing state = {.into = self, .why = why};
    bool there = false;
    status_code status = store_begin(self->connection, why);
    if (status != STATUS_OK)
        return status;
    status = history_store_old(self->store, old_take, &state, &there, why);
    if (state.status != STATUS_OK)
        status = state.status;
    if (status == STATUS_OK && there)
        status = group_end(&state) ? history_store_old_drop(self->store, why) : state.status;
    if (status == STATUS_OK)
        status = store_commit(self->connection, why);
    if (status != STATUS_OK)
        store_rollback(self->connection);
    return status;
}
