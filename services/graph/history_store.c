/* All SQL of the history. */
#include "history_store.h"

#include <stdlib.h>
#include <string.h>

typedef enum query {
    LOAD_NODES,
    LOAD_ALIASES,
    LOAD_EDGES,
    LOAD_ORIGINS,
    LOAD_TIMELINES,
    LOAD_SEGMENTS,
    LOG_AFTER,
    LOG_OLD,
    FLOOR_GET,
    VALUE_LAST,
    KEYFRAME_GET,
    RECORDS_GET,
    LATE_GET,
    KEYFRAME_RANGE,
    RECORDS_RANGE,
    LATE_RANGE,
    VALUE_FIND,
    VALUE_GET,
    REVISIONS_GET,
    READS, /* queries below write */
    NODE_PUT = READS,
    ALIAS_PUT,
    EDGE_PUT,
    ORIGIN_PUT,
    TIMELINE_PUT,
    VALUE_PUT,
    LOG_PUT,
    SEGMENT_PUT,
    KEYFRAME_PUT,
    RECORDS_PUT,
    LATE_PUT,
    LATE_DROP,
    RECORDS_DROP,
    SEGMENT_DROP,
    SEGMENT_KEYFRAME_DROP,
    SEGMENT_RECORDS_DROP,
    LOG_TRIM,
    FLOOR_PUT,
    VALUE_DROP,
    QUERIES,
} query;

static const char load_segments_text[] =
    "SELECT id, NULL, start_ms, start_revision, statements, folded_nodes, folded_edges FROM "
    "history_segment ORDER BY id";
static const char log_after_text[] =
    "SELECT revision, body, recorded_ms FROM history_log WHERE revision > ? ORDER BY revision "
    "LIMIT ?";
static const char log_old_text[] =
    "SELECT max(revision) FROM (SELECT revision, recorded_ms FROM history_log ORDER BY revision "
    "LIMIT 4096) WHERE revision <= ? AND recorded_ms < ?";
static const char segment_put_text[] =
    "REPLACE INTO history_segment (id, start_ms, start_revision, statements, folded_nodes, "
    "folded_edges, revisions) VALUES (?, ?, ?, ?, ?, ?, ?)";

static const char *const query_texts[QUERIES] = {
    [LOAD_NODES] = "SELECT id, name, kind FROM history_node ORDER BY id",
    [LOAD_ALIASES] = "SELECT id, name, node FROM history_alias ORDER BY id",
    [LOAD_EDGES] = "SELECT id, NULL, from_node, to_node, kind FROM history_edge ORDER BY id",
    [LOAD_ORIGINS] = "SELECT id, name FROM history_origin ORDER BY id",
    [LOAD_TIMELINES] = "SELECT id, NULL, thing, origin FROM history_timeline ORDER BY id",
    [LOAD_SEGMENTS] = load_segments_text,
    [LOG_AFTER] = log_after_text,
    [LOG_OLD] = log_old_text,
    [FLOOR_GET] = "SELECT value FROM meta WHERE key = 'history_log_floor'",
    [VALUE_LAST] = "SELECT id FROM history_value ORDER BY id DESC LIMIT 1",
    [KEYFRAME_GET] = "SELECT body FROM history_keyframe WHERE id = ?",
    [RECORDS_GET] = "SELECT body FROM history_records WHERE id = ?",
    [LATE_GET] = "SELECT body FROM history_late WHERE id = ?",
    [KEYFRAME_RANGE] = "SELECT id, body FROM history_keyframe WHERE id BETWEEN ? AND ? ORDER BY id",
    [RECORDS_RANGE] = "SELECT id, body FROM history_records WHERE id BETWEEN ? AND ? ORDER BY id",
    [LATE_RANGE] = "SELECT id, body FROM history_late WHERE id BETWEEN ? AND ? ORDER BY id",
    [VALUE_FIND] = "SELECT id, body FROM history_value WHERE hash = ? LIMIT 16",
    [VALUE_GET] = "SELECT body FROM history_value WHERE id = ?",
    [REVISIONS_GET] = "SELECT revisions FROM history_segment WHERE id = ?",
    [NODE_PUT] = "REPLACE INTO history_node (id, name, kind) VALUES (?, ?, ?)",
    [ALIAS_PUT] = "REPLACE INTO history_alias (id, name, node) VALUES (?, ?, ?)",
    [EDGE_PUT] = "REPLACE INTO history_edge (id, from_node, to_node, kind) VALUES (?, ?, ?, ?)",
    [ORIGIN_PUT] = "REPLACE INTO history_origin (id, name) VALUES (?, ?)",
    [TIMELINE_PUT] = "REPLACE INTO history_timeline (id, thing, origin) VALUES (?, ?, ?)",
    [VALUE_PUT] = "REPLACE INTO history_value (id, hash, body) VALUES (?, ?, ?)",
    [LOG_PUT] = "REPLACE INTO history_log (revision, recorded_ms, body) VALUES (?, ?, ?)",
    [SEGMENT_PUT] = segment_put_text,
    [KEYFRAME_PUT] = "REPLACE INTO history_keyframe (id, body) VALUES (?, ?)",
    [RECORDS_PUT] = "REPLACE INTO history_records (id, body) VALUES (?, ?)",
    [LATE_PUT] = "REPLACE INTO history_late (id, body) VALUES (?, ?)",
    [LATE_DROP] = "DELETE FROM history_late WHERE id = ?",
    [RECORDS_DROP] = "DELETE FROM history_records WHERE id = ?",
    [SEGMENT_DROP] = "DELETE FROM history_segment WHERE id = ?",
    [SEGMENT_KEYFRAME_DROP] = "DELETE FROM history_keyframe WHERE id BETWEEN ? AND ?",
    [SEGMENT_RECORDS_DROP] = "DELETE FROM history_records WHERE id BETWEEN ? AND ?",
    [LOG_TRIM] = "DELETE FROM history_log WHERE revision <= ?",
    [FLOOR_PUT] = "REPLACE INTO meta (key, value) VALUES ('history_log_floor', ?)",
    [VALUE_DROP] = "DELETE FROM history_value WHERE id = ?",
};

struct history_store {
    store *connection;
    store_statement queries[QUERIES];
    buffer body; /* what the last read returned */
};

#define BODY_MAX (1U << 30)

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code history_store_open(history_store **out, store *connection, bool writes, failure *why) {
    history_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the history's store");
    self->connection = connection;
    buffer_init(&self->body, BODY_MAX);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < (size_t)(writes ? QUERIES : READS) && status == STATUS_OK; i++)
        status = store_prepare(connection, &self->queries[i], query_texts[i], why);
    if (status != STATUS_OK) {
        history_store_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void history_store_close(history_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < QUERIES; i++)
        store_finalize(&self->queries[i]);
    buffer_free(&self->body);
    free(self);
}

status_code history_store_begin(history_store *self, failure *why) {
    return self->connection->read_only ? store_begin(self->connection, why) : STATUS_OK;
}

void history_store_end(history_store *self) {
    if (self->connection->read_only)
        store_rollback(self->connection);
}

/* ---- Reading rows
 * ---------------------------------------------------------------------------------------------------- */

static status_code inconsistent(failure *why, const char *what) {
    return fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                "the history's store contradicts itself (%s); restore it from a backup", what);
}

typedef void (*row_filler)(store_statement *from, history_row *row);

static status_code rows_read(store_statement *prepared, row_filler fill, history_row_reader read,
                             void *context, const char *what, failure *why) {
    bool more = true;
    status_code status = STATUS_OK;
    while (status == STATUS_OK && more) {
        status = store_step(prepared, &more, why);
        history_row row = {0};
        if (status != STATUS_OK || !more)
            break;
        fill(prepared, &row);
        if (!read(context, &row))
            status = inconsistent(why, what);
    }
    store_reset(prepared);
    return status;
}

static void node_fill(store_statement *from, history_row *row) {
    row->id = store_column_int(from, 0);
    row->name = store_column_text(from, 1);
    for (int i = 0; i < 5; i++)
        row->numbers[i] = store_column_int(from, 2 + i);
}

static void log_fill(store_statement *from, history_row *row) {
    row->id = store_column_int(from, 0);
    row->body = store_column_blob(from, 1);
    row->numbers[0] = store_column_int(from, 2);
}

static void lot_fill(store_statement *from, history_row *row) {
    row->id = store_column_int(from, 0) & UINT32_MAX;
    row->body = store_column_blob(from, 1);
}

status_code history_store_load(history_store *self, history_table table, history_row_reader read,
                               void *context, failure *why) {
    static const char *const names[HISTORY_TABLES] = {"history_node",     "history_alias",
                                                      "history_edge",     "history_origin",
                                                      "history_timeline", "history_segment"};
    return rows_read(&self->queries[LOAD_NODES + (int)table], node_fill, read, context, names[table], why);
}

status_code history_store_log(history_store *self, uint64_t after, uint32_t most, history_row_reader read,
                              void *context, failure *why) {
    store_statement *prepared = &self->queries[LOG_AFTER];
    store_bind_int(prepared, 1, (int64_t)after);
    store_bind_int(prepared, 2, most);
    return rows_read(prepared, log_fill, read, context, "history_log", why);
}

status_code history_store_lots(history_store *self, history_lots table, uint32_t segment_id,
                               history_row_reader read, void *context, failure *why) {
    store_statement *prepared = &self->queries[KEYFRAME_RANGE + (int)table];
    int64_t first = (int64_t)((uint64_t)segment_id << 32);
    store_bind_int(prepared, 1, first);
    store_bind_int(prepared, 2, first | UINT32_MAX);
    return rows_read(prepared, lot_fill, read, context, "lots of statements", why);
}

/* ---- Reading one
 * ----------------------------------------------------------------------------------------------------- */

/* The statement's one row, whose column 0 is a blob or a number. */
static status_code one_read(history_store *self, store_statement *prepared, int64_t *number, bool *found,
                            failure *why) {
    buffer_clear(&self->body);
    status_code status = store_step(prepared, found, why);
    if (status == STATUS_OK && *found && number != NULL)
        *number = store_column_int(prepared, 0);
    if (status == STATUS_OK && *found && number == NULL) {
        bytes body = store_column_blob(prepared, 0);
        buffer_append(&self->body, body.data, body.size);
    }
    store_reset(prepared);
    if (status == STATUS_OK && !buffer_ok(&self->body))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read the history");
    return status;
}

status_code history_store_lot(history_store *self, history_lots table, uint32_t segment_id, uint32_t lot,
                              bytes *body, failure *why) {
    store_statement *prepared = &self->queries[KEYFRAME_GET + (int)table];
    store_bind_int(prepared, 1, (int64_t)((uint64_t)segment_id << 32 | lot));
    bool found = false;
    status_code status = one_read(self, prepared, NULL, &found, why);
    *body = buffer_bytes(&self->body);
    return status;
}

status_code history_store_value(history_store *self, uint32_t number, bytes *body, failure *why) {
    store_statement *prepared = &self->queries[VALUE_GET];
    store_bind_int(prepared, 1, number);
    bool found = false;
    status_code status = one_read(self, prepared, NULL, &found, why);
    *body = buffer_bytes(&self->body);
    return status == STATUS_OK && !found ? inconsistent(why, "history_value") : status;
}

status_code history_store_revisions(history_store *self, uint32_t segment_id, bytes *body, failure *why) {
    store_statement *prepared = &self->queries[REVISIONS_GET];
    store_bind_int(prepared, 1, segment_id);
    bool found = false;
    status_code status = one_read(self, prepared, NULL, &found, why);
    *body = buffer_bytes(&self->body);
    return status;
}

status_code history_store_floor(history_store *self, uint64_t *revision, failure *why) {
    int64_t number = 0;
    bool found = false;
    status_code status = one_read(self, &self->queries[FLOOR_GET], &number, &found, why);
    if (status == STATUS_OK)
        *revision = found ? (uint64_t)number : 0;
    return status;
}

status_code history_store_value_last(history_store *self, uint32_t *number, failure *why) {
    int64_t last = 0;
    bool found = false;
    status_code status = one_read(self, &self->queries[VALUE_LAST], &last, &found, why);
    if (status == STATUS_OK && found && (last < 0 || last > VALUE_NUMBER_MAX))
        return inconsistent(why, "history_value");
    if (status == STATUS_OK)
        *number = found ? (uint32_t)last : 0;
    return status;
}

status_code history_store_value_find(history_store *self, uint64_t hash, bytes body, uint32_t *number,
                                     failure *why) {
    store_statement *prepared = &self->queries[VALUE_FIND];
    store_bind_int(prepared, 1, (int64_t)hash);
    uint32_t found = 0;
    bool row = true;
    status_code status = STATUS_OK;
    while (status == STATUS_OK && row && found == 0) {
        status = store_step(prepared, &row, why);
        if (status == STATUS_OK && row && bytes_equal(store_column_blob(prepared, 1), body))
            found = (uint32_t)store_column_int(prepared, 0);
    }
    store_reset(prepared);
    if (status == STATUS_OK)
        *number = found;
    return status;
}

/* ---- Writing
 * ------------------------------------------------------------------------------------------------------ */

status_code history_store_node_put(history_store *self, uint32_t id, const char *name, int kind,
                                   failure *why) {
    store_statement *put = &self->queries[NODE_PUT];
    store_bind_int(put, 1, id);
    store_bind_text(put, 2, name);
    store_bind_int(put, 3, kind);
    return store_run(put, why);
}

status_code history_store_alias_put(history_store *self, uint32_t id, const char *name, uint32_t node,
                                    failure *why) {
    store_statement *put = &self->queries[ALIAS_PUT];
    store_bind_int(put, 1, id);
    store_bind_text(put, 2, name);
    store_bind_int(put, 3, node);
    return store_run(put, why);
}

status_code history_store_edge_put(history_store *self, uint32_t id, const edge_item *edge, failure *why) {
    store_statement *put = &self->queries[EDGE_PUT];
    store_bind_int(put, 1, id);
    store_bind_int(put, 2, edge->from);
    store_bind_int(put, 3, edge->to);
    store_bind_int(put, 4, edge->kind);
    return store_run(put, why);
}

status_code history_store_origin_put(history_store *self, uint32_t id, const char *name, failure *why) {
    store_statement *put = &self->queries[ORIGIN_PUT];
    store_bind_int(put, 1, id);
    store_bind_text(put, 2, name);
    return store_run(put, why);
}

status_code history_store_timeline_put(history_store *self, uint32_t id, const timeline_item *timeline,
                                       failure *why) {
    store_statement *put = &self->queries[TIMELINE_PUT];
    store_bind_int(put, 1, id);
    store_bind_int(put, 2, timeline->thing);
    store_bind_int(put, 3, timeline->origin);
    return store_run(put, why);
}

status_code history_store_value_put(history_store *self, const pending_value *value, failure *why) {
    store_statement *put = &self->queries[VALUE_PUT];
    store_bind_int(put, 1, value->number);
    store_bind_int(put, 2, (int64_t)value->hash);
    store_bind_blob(put, 3, bytes_of(value->body, value->size));
    return store_run(put, why);
}

status_code history_store_log_put(history_store *self, uint64_t revision, int64_t recorded_ms, bytes body,
                                  failure *why) {
    store_statement *put = &self->queries[LOG_PUT];
    store_bind_int(put, 1, (int64_t)revision);
    store_bind_int(put, 2, recorded_ms);
    store_bind_blob(put, 3, body);
    return store_run(put, why);
}

status_code history_store_segment_put(history_store *self, const segment *item, bytes revisions,
                                      failure *why) {
    store_statement *put = &self->queries[SEGMENT_PUT];
    store_bind_int(put, 1, item->id);
    store_bind_int(put, 2, item->start_ms);
    store_bind_int(put, 3, (int64_t)item->start_revision);
    store_bind_int(put, 4, (int64_t)item->statements);
    store_bind_int(put, 5, item->folded_nodes);
    store_bind_int(put, 6, item->folded_edges);
    if (revisions.size > 0)
        store_bind_blob(put, 7, revisions);
    return store_run(put, why);
}

status_code history_store_lot_put(history_store *self, history_lots table, uint32_t segment_id, uint32_t lot,
                                  bytes body, failure *why) {
    bool gone = body.size == 0 && table != LOTS_KEYFRAME;
    query which = gone ? (table == LOTS_LATE ? LATE_DROP : RECORDS_DROP) : KEYFRAME_PUT + (int)table;
    store_statement *put = &self->queries[which];
    store_bind_int(put, 1, (int64_t)((uint64_t)segment_id << 32 | lot));
    if (!gone)
        store_bind_blob(put, 2, body);
    return store_run(put, why);
}

/* ---- A file of version 1
 * -------------------------------------------------------------------------------------------- */

static void old_fill(store_statement *from, history_row *row) {
    row->id = store_column_int(from, 0);
    row->name = store_column_text(from, 1);
    row->other = store_column_text(from, 2);
    for (int i = 0; i < 5; i++)
        row->numbers[i] = store_column_int(from, 3 + i);
}

status_code history_store_old(history_store *self, history_row_reader read, void *context, bool *there,
                              failure *why) {
    store_statement prepared = {0};
    status_code status = store_prepare(self->connection, &prepared,
                                       "SELECT 1 FROM sqlite_master WHERE name = 'version_1'", why);
    if (status == STATUS_OK)
        status = store_step(&prepared, there, why);
    store_finalize(&prepared);
    if (status != STATUS_OK || !*there)
        return status;
    prepared = (store_statement){0};
    status = store_prepare(self->connection, &prepared,
                           "SELECT recorded_from, name, other, is_edge, kind, provenance, valid_from, "
                           "CAST(confidence * 1000000 AS INTEGER) FROM version_1 ORDER BY recorded_from",
                           why);
    if (status == STATUS_OK)
        status = rows_read(&prepared, old_fill, read, context, "version_1", why);
    store_finalize(&prepared);
    return status;
}

status_code history_store_old_drop(history_store *self, failure *why) {
    return store_execute(self->connection, "DROP TABLE version_1", why);
}

/* ---- Letting go
 * --------------------------------------------------------------------------------------------------- */

status_code history_store_segment_drop(history_store *self, uint32_t segment_id, failure *why) {
    static const query ranges[] = {SEGMENT_KEYFRAME_DROP, SEGMENT_RECORDS_DROP};
    int64_t first = (int64_t)((uint64_t)segment_id << 32);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < 2 && status == STATUS_OK; i++) {
        store_bind_int(&self->queries[ranges[i]], 1, first);
        store_bind_int(&self->queries[ranges[i]], 2, first | UINT32_MAX);
        status = store_run(&self->queries[ranges[i]], why);
    }
    if (status != STATUS_OK)
        return status;
    store_bind_int(&self->queries[SEGMENT_DROP], 1, segment_id);
    return store_run(&self->queries[SEGMENT_DROP], why);
}

status_code history_store_log_trim(history_store *self, uint64_t up_to_revision, int64_t before_recorded_ms,
                                   uint64_t *last, failure *why) {
    int64_t revision = 0;
    bool found = false;
    store_bind_int(&self->queries[LOG_OLD], 1, (int64_t)up_to_revision);
    store_bind_int(&self->queries[LOG_OLD], 2, before_recorded_ms);
    status_code status = one_read(self, &self->queries[LOG_OLD], &revision, &found, why);
    if (status != STATUS_OK || revision == 0)
        return status;
    store_bind_int(&self->queries[LOG_TRIM], 1, revision);
    status = store_run(&self->queries[LOG_TRIM], why);
    if (status == STATUS_OK)
        *last = (uint64_t)revision;
    return status;
}

status_code history_store_floor_put(history_store *self, uint64_t revision, failure *why) {
    store_bind_int(&self->queries[FLOOR_PUT], 1, (int64_t)revision);
    return store_run(&self->queries[FLOOR_PUT], why);
}

status_code history_store_values_drop(history_store *self, const uint8_t *used, uint32_t count,
                                      failure *why) {
    status_code status = STATUS_OK;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        if ((used[i / 8] & 1U << i % 8) != 0)
            continue;
        store_bind_int(&self->queries[VALUE_DROP], 1, i);
        status = store_run(&self->queries[VALUE_DROP], why);
    }
    return status;
}
