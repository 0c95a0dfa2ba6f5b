/* Where lanes and remembered events are kept: two tables beside the history, in its file and its transaction.
 */
#include "changes_internal.h"

/* ---- Loading */

static status_code lanes_read(changes *self, store_statement *query, failure *why) {
    bool row = true;
    status_code code = STATUS_OK;
    while (code == STATUS_OK && (code = store_step(query, &row, why)) == STATUS_OK && row) {
        lane_row state = {.lane = store_column_text(query, 0),
                          .from_ms = store_column_int(query, 1),
                          .tie = store_column_text(query, 2),
                          .origin = store_column_text(query, 3),
                          .role = (change_role)store_column_int(query, 4),
                          .packed = store_column_blob(query, 5)};
        code = lanes_load(self->states, &state, why);
    }
    return code;
}

static status_code events_read(changes *self, store_statement *query, failure *why) {
    bool row = true;
    status_code code = STATUS_OK;
    while (code == STATUS_OK && (code = store_step(query, &row, why)) == STATUS_OK && row) {
        bytes id = store_column_blob(query, 1);
        self->seen_next = (uint64_t)store_column_int(query, 0);
        if (id.size != SEEN_BYTES)
            code = fail(why, STATUS_DATA_LOSS, "STORE_DAMAGED", "a remembered event has %zu bytes", id.size);
        else if (!changes_see(self, id.data))
            code = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for remembered events");
    }
    self->seen_stored = self->seen_next;
    return code;
}

static status_code read_with(changes *self, store *from, const char *sql,
                             status_code (*read)(changes *, store_statement *, failure *), failure *why) {
    store_statement query = {0};
    status_code code = store_prepare(from, &query, sql, why);
    if (code == STATUS_OK)
        code = read(self, &query, why);
    store_finalize(&query);
    return code;
}

status_code changes_load(changes *self, store *from, failure *why) {
    status_code code = read_with(self, from,
                                 "SELECT lane, from_ms, tie, origin, role, statements FROM lane_state"
                                 " ORDER BY lane, from_ms, tie",
                                 lanes_read, why);
    atomic_store(&self->lanes, lanes_count(self->states));
    if (code == STATUS_OK)
        code = read_with(self, from, "SELECT number, id FROM seen_event ORDER BY number", events_read, why);
    return code;
}

/* ---- Saving */

bool changes_changed(const changes *self) {
    return lanes_dirty(self->states) || self->seen_stored != self->seen_next;
}

typedef struct writing {
    store_statement remove, insert, remember;
} writing;

static status_code lane_write(void *context, const char *lane, const lane_row *rows, size_t count,
                              failure *why) {
    writing *work = context;
    store_bind_text(&work->remove, 1, lane);
    status_code code = store_run(&work->remove, why);
    for (size_t i = 0; i < count && code == STATUS_OK; i++) {
        store_bind_text(&work->insert, 1, lane);
        store_bind_int(&work->insert, 2, rows[i].from_ms);
        store_bind_text(&work->insert, 3, rows[i].tie);
        store_bind_text(&work->insert, 4, rows[i].origin);
        store_bind_int(&work->insert, 5, (int64_t)rows[i].role);
        store_bind_blob(&work->insert, 6, rows[i].packed);
        code = store_run(&work->insert, why);
    }
    return code;
}

static status_code events_write(changes *self, writing *work, failure *why) {
    status_code code = STATUS_OK;
    uint64_t first = self->seen_stored;
    if (self->seen_next - first > CHANGES_SEEN_MAX)
        first = self->seen_next - CHANGES_SEEN_MAX;
    for (uint64_t number = first; number < self->seen_next && code == STATUS_OK; number++) {
        store_bind_int(&work->remember, 1, (int64_t)(number % CHANGES_SEEN_MAX));
        store_bind_int(&work->remember, 2, (int64_t)number);
        store_bind_blob(&work->remember, 3, bytes_of(self->events[number % CHANGES_SEEN_MAX].id, SEEN_BYTES));
        code = store_run(&work->remember, why);
    }
    return code;
}

status_code changes_put(changes *self, store *into, failure *why) {
    writing work = {0};
    status_code code = store_prepare(into, &work.remove, "DELETE FROM lane_state WHERE lane = ?", why);
    if (code == STATUS_OK)
        code = store_prepare(into, &work.insert,
                             "INSERT INTO lane_state (lane, from_ms, tie, origin, role, statements)"
                             " VALUES (?, ?, ?, ?, ?, ?)",
                             why);
    if (code == STATUS_OK)
        code = store_prepare(into, &work.remember,
                             "INSERT OR REPLACE INTO seen_event (slot, number, id) VALUES (?, ?, ?)", why);
    if (code == STATUS_OK)
        code = lanes_each_dirty(self->states, lane_write, &work, why);
    if (code == STATUS_OK)
        code = events_write(self, &work, why);
    store_finalize(&work.remove);
    store_finalize(&work.insert);
    store_finalize(&work.remember);
    return code;
}

void changes_stored(changes *self) {
    lanes_stored(self->states);
    self->seen_stored = self->seen_next;
}
