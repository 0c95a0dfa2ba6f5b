/* The graph's tables. Counts are written as they are in memory, so that a commit is one upsert for every
 * node, edge and shape that the group of spans has touched, however many spans those were. */
#include "graph_store.h"

#include <stdlib.h>
#include <string.h>

#include "flows_store.h"

#define VERSION GRAPH_STORE_VERSION
#define JOURNAL_LOT_ROWS 1024U
#define JOURNAL_LOT_PART 8U /* of what is remembered */

extern const char graph_schema_sql[];    /* schema.sql: a new file */
extern const char graph_migrate_1_sql[]; /* migrate_1.sql: version 1 to 2 */

typedef enum query {
    NODE_INSERT,
    NODE_TRAFFIC_PUT,
    EDGE_INSERT,
    EDGE_TRAFFIC_PUT,
    SHAPE_PUT,
    SHAPE_DELETE,
    JOURNAL_INSERT,
    JOURNAL_DELETE,
    META_PUT,
    QUERIES,
} query;

static const char *const query_texts[QUERIES] = {
    [NODE_INSERT] = "INSERT INTO node (id, name, kind) VALUES (?, ?, ?)",
    [NODE_TRAFFIC_PUT] =
        "REPLACE INTO node_traffic (node, requests, entry_requests, overflow, spans, unknown_spans, "
        "unattributed, visible, provenance, confidence, valid_from, recorded_from) VALUES (?, ?, ?, ?, ?, ?, "
        "?, ?, ?, ?, ?, ?)",
    [EDGE_INSERT] = "INSERT INTO edge (id, from_node, to_node, kind) VALUES (?, ?, ?, ?)",
    [EDGE_TRAFFIC_PUT] = "REPLACE INTO edge_traffic (edge, calls, requests_with_call, spans, last_ms, "
                         "provenance, confidence, valid_from, recorded_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "
                         "?)",
    [SHAPE_PUT] = "REPLACE INTO shape (members, requests, reach, traces) VALUES (?, ?, ?, ?)",
    [SHAPE_DELETE] = "DELETE FROM shape WHERE members = ?",
    [JOURNAL_INSERT] = "INSERT INTO journal (sequence, recorded_ms, observations) VALUES (?, ?, ?)",
    [JOURNAL_DELETE] = "DELETE FROM journal WHERE sequence <= ?",
    [META_PUT] = "REPLACE INTO meta (key, value) VALUES (?, ?)",
};

/* Sizes of the journal's rows, oldest first, so that trimming needs no query. */
typedef struct journal_row {
    int64_t sequence;
    size_t count;
} journal_row;

struct graph_store {
    store store;
    store_statement queries[QUERIES];
    flows_store *flows;
    journal_row *journal;
    size_t journal_count, journal_room;
    size_t journal_observations;
    int64_t next_sequence;
    uint64_t log_next;             /* the first record of the log that was not learnt from */
    size_t put_count, put_surplus; /* of the transaction under way */
};

/* ---- Opening
 * ------------------------------------------------------------------------------------------------------ */

status_code graph_store_open(graph_store **out, const char *path, failure *why) {
    graph_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the store");
    self->next_sequence = 1;
    static const char *const migrations[VERSION - 1] = {graph_migrate_1_sql};
    status_code status =
        store_open(&self->store, path, VERSION, graph_schema_sql, migrations, STORE_DURABLE, why);
    for (size_t i = 0; i < QUERIES && status == STATUS_OK; i++)
        status = store_prepare(&self->store, &self->queries[i], query_texts[i], why);
    if (status == STATUS_OK)
        status = flows_store_open(&self->flows, &self->store, why);
    if (status != STATUS_OK) {
        graph_store_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void graph_store_close(graph_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < QUERIES; i++)
        store_finalize(&self->queries[i]);
    flows_store_close(self->flows);
    store_close(&self->store);
    free(self->journal);
    free(self);
}

/* ---- Loading
 * ------------------------------------------------------------------------------------------------------ */

typedef struct loading {
    graph_store *store;
    model *model;
    model_totals totals;
    uint64_t revision;
} loading;

/* Called for every row; false when the row cannot be. */
typedef bool (*row_reader)(loading *self, store_statement *row);

static status_code rows_read(loading *self, const char *sql, row_reader read, failure *why) {
    store_statement statement;
    status_code status = store_prepare(&self->store->store, &statement, sql, why);
    bool row = status == STATUS_OK;
    while (status == STATUS_OK && row) {
        status = store_step(&statement, &row, why);
        if (status == STATUS_OK && row && !read(self, &statement))
            status = fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                          "the graph's store contradicts itself (%s); restore it from a backup", sql);
    }
    store_finalize(&statement);
    return status;
}

static bool node_read(loading *self, store_statement *row) {
    if (store_column_int(row, 0) != (int64_t)model_node_count(self->model))
        return false;
    char name[LIMIT_NAME_BYTES];
    const char *text = store_column_text(row, 1);
    if (strlen(text) >= sizeof name)
        return false;
    memcpy(name, text, strlen(text) + 1);
    model_node node = {.name = name,
                       .kind = (node_kind)store_column_int(row, 2),
                       .visible = store_column_int(row, 3) != 0,
                       .source = (provenance)store_column_int(row, 4),
                       .confidence = store_column_double(row, 5),
                       .valid_from_ms = store_column_int(row, 6),
                       .recorded_from_ms = store_column_int(row, 7),
                       .requests = store_column_double(row, 8),
                       .entry_requests = store_column_double(row, 9),
                       .overflow = store_column_double(row, 10),
                       .spans = (uint64_t)store_column_int(row, 11),
                       .unknown_spans = (uint64_t)store_column_int(row, 12),
                       .unattributed = (uint64_t)store_column_int(row, 13)};
    return model_restore_node(self->model, &node);
}

static bool edge_read(loading *self, store_statement *row) {
    if (store_column_int(row, 0) != (int64_t)model_edge_count(self->model))
        return false;
    model_edge edge = {.from = (uint32_t)store_column_int(row, 1),
                       .to = (uint32_t)store_column_int(row, 2),
                       .kind = (edge_kind)store_column_int(row, 3),
                       .source = (provenance)store_column_int(row, 4),
                       .confidence = store_column_double(row, 5),
                       .valid_from_ms = store_column_int(row, 6),
                       .recorded_from_ms = store_column_int(row, 7),
                       .calls = store_column_double(row, 8),
                       .requests_with_call = store_column_double(row, 9),
                       .spans = (uint64_t)store_column_int(row, 10),
                       .last_ms = store_column_int(row, 11)};
    return model_restore_edge(self->model, &edge);
}

static bool shape_read(loading *self, store_statement *row) {
    uint32_t members[SHAPE_MEMBERS_MAX];
    bytes blob = store_column_blob(row, 0);
    if (blob.size > sizeof members || blob.size % sizeof members[0] != 0)
        return false;
    memcpy(members, blob.data, blob.size);
    return model_restore_shape(self->model, members, (uint32_t)(blob.size / sizeof members[0]),
                               store_column_double(row, 1), store_column_double(row, 2),
                               store_column_double(row, 3));
}

/* The numbers in meta, by key. */
typedef struct meta_field {
    const char *key;
    double *real;
    uint64_t *whole;
} meta_field;

#define META_FIELDS 10U

static void meta_fields(model_totals *totals, uint64_t *revision, uint64_t *as_of_ms, uint64_t *log_next,
                        meta_field out[META_FIELDS]) {
    const meta_field fields[META_FIELDS] = {
        {"revision", NULL, revision},
        {"as_of_ms", NULL, as_of_ms},
        {"log_next", NULL, log_next},
        {"entry_requests", &totals->entry_requests, NULL},
        {"entry_squares", &totals->entry_squares, NULL},
        {"overflow", &totals->overflow, NULL},
        {"entries_unknown", NULL, &totals->entries_unknown},
        {"spans", NULL, &totals->spans},
        {"nodes_refused", NULL, &totals->nodes_refused},
        {"edges_refused", NULL, &totals->edges_refused},
    };
    memcpy(out, fields, sizeof fields);
}

static bool meta_read(loading *self, store_statement *row) {
    meta_field fields[META_FIELDS];
    uint64_t as_of_ms = (uint64_t)self->totals.as_of_ms;
    meta_fields(&self->totals, &self->revision, &as_of_ms, &self->store->log_next, fields);
    for (size_t i = 0; i < META_FIELDS; i++) {
        if (strcmp(store_column_text(row, 0), fields[i].key) != 0)
            continue;
        if (fields[i].real != NULL)
            *fields[i].real = store_column_double(row, 1);
        else
            *fields[i].whole = (uint64_t)store_column_int(row, 1);
    }
    self->totals.as_of_ms = (int64_t)as_of_ms;
    return true;
}

static bool journal_note(graph_store *self, int64_t sequence, size_t count) {
    if (self->journal_count == self->journal_room) {
        size_t room = self->journal_room == 0 ? 256 : self->journal_room * 2;
        journal_row *grown = realloc(self->journal, room * sizeof *grown);
        if (grown == NULL)
            return false;
        self->journal = grown;
        self->journal_room = room;
    }
    self->journal[self->journal_count++] = (journal_row){.sequence = sequence, .count = count};
    self->journal_observations += count;
    self->next_sequence = sequence + 1;
    return true;
}

static bool observation_fits(const model *self, const observation *what) {
    uint32_t nodes = model_node_count(self);
    return what->kind != OBSERVATION_SPAN ||
           (what->node < nodes && (what->peer < nodes || what->peer == MODEL_NONE) &&
            what->operation < operations_count(model_operations(self)) &&
            what->pod < operations_pod_count(model_operations(self)));
}

static bool journal_read(loading *self, store_statement *row) {
    bytes blob = store_column_blob(row, 2);
    if (blob.size % sizeof(observation) != 0)
        return false;
    for (size_t at = 0; at < blob.size; at += sizeof(observation)) {
        observation what;
        memcpy(&what, blob.data + at, sizeof what);
        if (!observation_fits(self->model, &what))
            return false;
        model_apply(self->model, &what, store_column_int(row, 1));
    }
    return journal_note(self->store, store_column_int(row, 0), blob.size / sizeof(observation));
}

status_code graph_store_load(graph_store *self, model *into, uint64_t *revision, failure *why) {
    loading state = {.store = self, .model = into};
    status_code status = rows_read(&state,
                                   "SELECT id, name, kind, visible, provenance, confidence, valid_from, "
                                   "recorded_from, requests, entry_requests, "
                                   "overflow, spans, unknown_spans, unattributed FROM node JOIN node_traffic "
                                   "ON node = id ORDER BY id",
                                   node_read, why);
    if (status == STATUS_OK)
        status = rows_read(
            &state,
            "SELECT id, from_node, to_node, kind, provenance, confidence, valid_from, recorded_from, "
            "calls, requests_with_call, spans, last_ms FROM edge JOIN edge_traffic ON edge = id ORDER BY id",
            edge_read, why);
    if (status == STATUS_OK)
        status = rows_read(&state, "SELECT members, requests, reach, traces FROM shape", shape_read, why);
    if (status == STATUS_OK)
        status = rows_read(&state, "SELECT key, value FROM meta", meta_read, why);
    if (status == STATUS_OK)
        status = flows_store_load(self->flows, into, why);
    if (status != STATUS_OK)
        return status;
    model_restore_totals(into, &state.totals);
    model_set_restoring(into, true);
    status = rows_read(&state, "SELECT sequence, recorded_ms, observations FROM journal ORDER BY sequence",
                       journal_read, why);
    model_set_restoring(into, false);
    if (status == STATUS_OK)
        *revision = state.revision;
    return status;
}

/* ---- Saving
 * ------------------------------------------------------------------------------------------------------- */

static status_code node_save(graph_store *self, uint32_t number, const model_node *node, failure *why) {
    status_code status = STATUS_OK;
    if (!node->stored) {
        store_statement *insert = &self->queries[NODE_INSERT];
        store_bind_int(insert, 1, number);
        store_bind_text(insert, 2, node->name);
        store_bind_int(insert, 3, node->kind);
        status = store_run(insert, why);
    }
    if (status != STATUS_OK)
        return status;
    store_statement *put = &self->queries[NODE_TRAFFIC_PUT];
    store_bind_int(put, 1, number);
    store_bind_double(put, 2, node->requests);
    store_bind_double(put, 3, node->entry_requests);
    store_bind_double(put, 4, node->overflow);
    store_bind_int(put, 5, (int64_t)node->spans);
    store_bind_int(put, 6, (int64_t)node->unknown_spans);
    store_bind_int(put, 7, (int64_t)node->unattributed);
    store_bind_int(put, 8, node->visible);
    store_bind_int(put, 9, node->source);
    store_bind_double(put, 10, node->confidence);
    store_bind_int(put, 11, node->valid_from_ms);
    store_bind_int(put, 12, node->recorded_from_ms);
    return store_run(put, why);
}

static status_code edge_save(graph_store *self, uint32_t number, const model_edge *edge, failure *why) {
    status_code status = STATUS_OK;
    if (!edge->stored) {
        store_statement *insert = &self->queries[EDGE_INSERT];
        store_bind_int(insert, 1, number);
        store_bind_int(insert, 2, edge->from);
        store_bind_int(insert, 3, edge->to);
        store_bind_int(insert, 4, edge->kind);
        status = store_run(insert, why);
    }
    if (status != STATUS_OK)
        return status;
    store_statement *put = &self->queries[EDGE_TRAFFIC_PUT];
    store_bind_int(put, 1, number);
    store_bind_double(put, 2, edge->calls);
    store_bind_double(put, 3, edge->requests_with_call);
    store_bind_int(put, 4, (int64_t)edge->spans);
    store_bind_int(put, 5, edge->last_ms);
    store_bind_int(put, 6, edge->source);
    store_bind_double(put, 7, edge->confidence);
    store_bind_int(put, 8, edge->valid_from_ms);
    store_bind_int(put, 9, edge->recorded_from_ms);
    return store_run(put, why);
}

static status_code shape_save(graph_store *self, const shape *item, failure *why) {
    bytes members = bytes_of(item->members, item->member_count * sizeof *item->members);
    if (item->traces <= 0 || item->member_count == 0) {
        store_bind_blob(&self->queries[SHAPE_DELETE], 1, members);
        return item->stored ? store_run(&self->queries[SHAPE_DELETE], why) : STATUS_OK;
    }
    store_statement *put = &self->queries[SHAPE_PUT];
    store_bind_blob(put, 1, members);
    store_bind_double(put, 2, item->requests);
    store_bind_double(put, 3, item->reach);
    store_bind_double(put, 4, item->traces);
    return store_run(put, why);
}

static status_code changes_save(graph_store *self, const model *from, failure *why) {
    model_changes changes = model_changed(from);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < changes.node_count && status == STATUS_OK; i++)
        status = node_save(self, changes.nodes[i], model_node_at(from, changes.nodes[i]), why);
    for (size_t i = 0; i < changes.edge_count && status == STATUS_OK; i++)
        status = edge_save(self, changes.edges[i], model_edge_at(from, changes.edges[i]), why);
    for (size_t i = 0; i < changes.shape_count && status == STATUS_OK; i++)
        status = shape_save(self, &model_shapes(from)->items[changes.shapes[i]], why);
    return status;
}

static status_code meta_save(graph_store *self, const model *from, uint64_t revision, failure *why) {
    model_totals totals = *model_totals_of(from);
    uint64_t as_of_ms = (uint64_t)totals.as_of_ms;
    meta_field fields[META_FIELDS];
    meta_fields(&totals, &revision, &as_of_ms, &self->log_next, fields);
    store_statement *put = &self->queries[META_PUT];
    status_code status = STATUS_OK;
    for (size_t i = 0; i < META_FIELDS && status == STATUS_OK; i++) {
        store_bind_text(put, 1, fields[i].key);
        if (fields[i].real != NULL)
            store_bind_double(put, 2, *fields[i].real);
        else
            store_bind_int(put, 2, (int64_t)*fields[i].whole);
        status = store_run(put, why);
    }
    return status;
}

/* How many of the oldest rows can go while the rest still holds all that the model may remember. */
static size_t journal_surplus(const graph_store *self, size_t added) {
    size_t left = self->journal_observations + added;
    size_t rows = 0;
    while (rows < self->journal_count && left - self->journal[rows].count >= MODEL_SPANS)
        left -= self->journal[rows++].count;
    /* In lots, so that small commits do not pay for the trimming each. */
    bool enough = rows >= JOURNAL_LOT_ROWS ||
                  self->journal_observations + added - left >= MODEL_SPANS / JOURNAL_LOT_PART;
    return enough ? rows : 0;
}

static status_code journal_save(graph_store *self, const observation *observations, size_t count,
                                size_t surplus, int64_t now_ms, failure *why) {
    status_code status = STATUS_OK;
    if (count > 0) {
        store_statement *insert = &self->queries[JOURNAL_INSERT];
        store_bind_int(insert, 1, self->next_sequence);
        store_bind_int(insert, 2, now_ms);
        store_bind_blob(insert, 3, bytes_of(observations, count * sizeof *observations));
        status = store_run(insert, why);
    }
    if (status == STATUS_OK && surplus > 0) {
        store_bind_int(&self->queries[JOURNAL_DELETE], 1, self->journal[surplus - 1].sequence);
        status = store_run(&self->queries[JOURNAL_DELETE], why);
    }
    return status;
}

static void journal_forget(graph_store *self, size_t surplus) {
    for (size_t i = 0; i < surplus; i++)
        self->journal_observations -= self->journal[i].count;
    self->journal_count -= surplus;
    memmove(self->journal, self->journal + surplus, self->journal_count * sizeof *self->journal);
}

uint64_t graph_store_log_next(const graph_store *self) {
    return self->log_next;
}

void graph_store_set_log_next(graph_store *self, uint64_t next) {
    self->log_next = next;
}

store *graph_store_connection(graph_store *self) {
    return &self->store;
}

status_code graph_store_begin(graph_store *self, failure *why) {
    return store_begin(&self->store, why);
}

status_code graph_store_put(graph_store *self, model *from, const observation *observations, size_t count,
                            uint64_t revision, int64_t now_ms, failure *why) {
    self->put_count = count;
    self->put_surplus = journal_surplus(self, count);
    status_code status = changes_save(self, from, why);
    if (status == STATUS_OK)
        status = flows_store_put(self->flows, from, why);
    if (status == STATUS_OK)
        status = journal_save(self, observations, count, self->put_surplus, now_ms, why);
    if (status == STATUS_OK)
        status = meta_save(self, from, revision, why);
    return status;
}

status_code graph_store_commit(graph_store *self, model *from, failure *why) {
    status_code status = store_commit(&self->store, why);
    if (status != STATUS_OK)
        return status;
    if (self->put_surplus > 0)
        journal_forget(self, self->put_surplus);
    if (self->put_count > 0 && !journal_note(self, self->next_sequence, self->put_count))
        return fail(why, STATUS_DATA_LOSS, "OUT_OF_MEMORY", "no memory to keep track of the journal");
    model_mark_stored(from);
    return STATUS_OK;
}

void graph_store_rollback(graph_store *self) {
    store_rollback(&self->store);
}
