/* Counts are stored as they are in memory (an array of doubles), sketches as their bins. The newest buckets
 * of all flows lie side by side, because that is what every commit writes. */
#include "flows_store.h"

#include <stdlib.h>
#include <string.h>

typedef enum query {
    OPERATION_INSERT,
    POD_INSERT,
    TOTALS_PUT,
    BUCKET_PUT,
    BUCKET_DELETE,
    ROUTE_PUT,
    QUERIES,
} query;

static const char *const query_texts[QUERIES] = {
    [OPERATION_INSERT] = "INSERT INTO operation (id, node, name) VALUES (?, ?, ?)",
    [POD_INSERT] = "INSERT INTO pod (id, node, name) VALUES (?, ?, ?)",
    [TOTALS_PUT] = "REPLACE INTO flow_totals (subject, number, counts) VALUES (?, ?, ?)",
    [BUCKET_PUT] = ("REPLACE INTO flow_bucket (level, from_ms, subject, number, counts, latency) "
                    "VALUES (?, ?, ?, ?, ?, ?)"),
    [BUCKET_DELETE] =
        "DELETE FROM flow_bucket WHERE level = ? AND from_ms = ? AND subject = ? AND number = ?",
    [ROUTE_PUT] = "REPLACE INTO flow_route (operation, edge, requests, seconds) VALUES (?, ?, ?, ?)",
};

struct flows_store {
    store *connection;
    store_statement queries[QUERIES];
};

status_code flows_store_open(flows_store **out, store *connection, failure *why) {
    flows_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the store");
    self->connection = connection;
    status_code status = STATUS_OK;
    for (size_t i = 0; i < QUERIES && status == STATUS_OK; i++)
        status = store_prepare(connection, &self->queries[i], query_texts[i], why);
    if (status != STATUS_OK) {
        flows_store_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void flows_store_close(flows_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < QUERIES; i++)
        store_finalize(&self->queries[i]);
    free(self);
}

/* ---- Loading
 * ------------------------------------------------------------------------------------------------------ */

/* Called for every row; false when the row cannot be. */
typedef bool (*row_reader)(model *into, store_statement *row);

static status_code rows_read(flows_store *self, model *into, const char *sql, row_reader read, failure *why) {
    store_statement statement;
    status_code status = store_prepare(self->connection, &statement, sql, why);
    bool row = status == STATUS_OK;
    while (status == STATUS_OK && row) {
        status = store_step(&statement, &row, why);
        if (status == STATUS_OK && row && !read(into, &statement))
            status = fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                          "the graph's store contradicts itself (%s); restore it from a backup", sql);
    }
    store_finalize(&statement);
    return status;
}

static bool operation_read(model *into, store_statement *row) {
    operations *all = model_operations(into);
    return store_column_int(row, 0) == (int64_t)operations_count(all) &&
           store_column_int(row, 1) < (int64_t)model_node_count(into) && store_column_int(row, 1) >= 0 &&
           operations_restore(all, (uint32_t)store_column_int(row, 1), store_column_text(row, 2));
}

static bool pod_read(model *into, store_statement *row) {
    operations *all = model_operations(into);
    return store_column_int(row, 0) == (int64_t)operations_pod_count(all) &&
           store_column_int(row, 1) < (int64_t)model_node_count(into) && store_column_int(row, 1) >= 0 &&
           operations_pod_restore(all, (uint32_t)store_column_int(row, 1), store_column_text(row, 2));
}

static bool counts_read(bytes blob, flow_counts *out) {
    if (blob.size != sizeof *out)
        return false;
    memcpy(out, blob.data, sizeof *out);
    return true;
}

static int64_t subject_bound(const model *self, int64_t subject) {
    switch (subject) {
    case FLOW_TOTALS_EDGE:
        return model_edge_count(self);
    case FLOW_TOTALS_OPERATION:
        return operations_count(model_operations(self));
    case FLOW_TOTALS_NODE:
        return model_node_count(self);
    default:
        return 0;
    }
}

static bool number_read(const model *self, int64_t subject, int64_t number) {
    return number >= 0 && number < subject_bound(self, subject);
}

static bool totals_read(model *into, store_statement *row) {
    flow_counts counts;
    int64_t subject = store_column_int(row, 0);
    int64_t number = store_column_int(row, 1);
    return number_read(into, subject, number) && counts_read(store_column_blob(row, 2), &counts) &&
           flows_restore_totals(model_flows(into), (flow_totals_subject)subject, (uint32_t)number, &counts);
}

static bool bucket_read(model *into, store_statement *row) {
    flow_counts counts;
    sketch_bin bins[SKETCH_BINS];
    int64_t level = store_column_int(row, 0);
    int64_t subject = store_column_int(row, 2);
    int64_t number = store_column_int(row, 3);
    bytes latency = store_column_blob(row, 5);
    if (level < 0 || level >= (int64_t)FLOWS_LEVELS || (subject != FLOW_EDGE && subject != FLOW_OPERATION) ||
        !number_read(into, subject, number) || !counts_read(store_column_blob(row, 4), &counts) ||
        latency.size > sizeof bins || latency.size % sizeof *bins != 0)
        return false;
    if (latency.size > 0)
        memcpy(bins, latency.data, latency.size);
    return flows_restore_bucket(model_flows(into), (flow_subject)subject, (uint32_t)number, (unsigned)level,
                                store_column_int(row, 1), &counts, bins, latency.size / sizeof *bins);
}

static bool route_read(model *into, store_statement *row) {
    int64_t operation = store_column_int(row, 0);
    int64_t edge = store_column_int(row, 1);
    flow_route made = {.operation = (uint32_t)operation,
                       .edge = (uint32_t)edge,
                       .requests = store_column_double(row, 2),
                       .seconds = store_column_double(row, 3)};
    return number_read(into, FLOW_TOTALS_OPERATION, operation) && number_read(into, FLOW_TOTALS_EDGE, edge) &&
           flows_restore_route(model_flows(into), &made);
}

status_code flows_store_load(flows_store *self, model *into, failure *why) {
    static const struct {
        const char *sql;
        row_reader read;
    } tables[] = {
        {"SELECT id, node, name FROM operation ORDER BY id", operation_read},
        {"SELECT id, node, name FROM pod ORDER BY id", pod_read},
        {"SELECT subject, number, counts FROM flow_totals", totals_read},
        {"SELECT level, from_ms, subject, number, counts, latency FROM flow_bucket", bucket_read},
        {"SELECT operation, edge, requests, seconds FROM flow_route", route_read},
    };
    status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && status == STATUS_OK; i++)
        status = rows_read(self, into, tables[i].sql, tables[i].read, why);
    return status;
}

/* ---- Saving
 * ------------------------------------------------------------------------------------------------------- */

static status_code name_put(store_statement *insert, uint32_t number, operation_info info, failure *why) {
    store_bind_int(insert, 1, number);
    store_bind_int(insert, 2, info.node);
    store_bind_text(insert, 3, info.text);
    return store_run(insert, why);
}

static status_code names_put(flows_store *self, const operations *all, failure *why) {
    status_code status = STATUS_OK;
    for (uint32_t i = operations_stored(all); i < operations_count(all) && status == STATUS_OK; i++)
        status = name_put(&self->queries[OPERATION_INSERT], i, operations_at(all, i), why);
    for (uint32_t i = operations_pods_stored(all); i < operations_pod_count(all) && status == STATUS_OK; i++)
        status = name_put(&self->queries[POD_INSERT], i, operations_pod_at(all, i), why);
    return status;
}

static flow_counts totals_of(const flows *from, flow_totals_subject subject, uint32_t number) {
    switch (subject) {
    case FLOW_TOTALS_EDGE:
        return flows_edge_totals(from, number);
    case FLOW_TOTALS_OPERATION:
        return flows_operation_totals(from, number);
    default:
        return flows_node_totals(from, number);
    }
}

static status_code totals_put(flows_store *self, const flows *from, flow_totals_subject subject,
                              failure *why) {
    flow_numbers changed = flows_changed_totals(from, subject);
    store_statement *put = &self->queries[TOTALS_PUT];
    status_code status = STATUS_OK;
    for (size_t i = 0; i < changed.count && status == STATUS_OK; i++) {
        flow_counts counts = totals_of(from, subject, changed.numbers[i]);
        store_bind_int(put, 1, subject);
        store_bind_int(put, 2, changed.numbers[i]);
        store_bind_blob(put, 3, bytes_of(&counts, sizeof counts));
        status = store_run(put, why);
    }
    return status;
}

static status_code bucket_put(flows_store *self, const flow_change *change, failure *why) {
    store_statement *run = &self->queries[change->counts == NULL ? BUCKET_DELETE : BUCKET_PUT];
    store_bind_int(run, 1, change->level);
    store_bind_int(run, 2, change->from_ms);
    store_bind_int(run, 3, change->subject);
    store_bind_int(run, 4, change->number);
    if (change->counts != NULL) {
        store_bind_blob(run, 5, bytes_of(change->counts, sizeof *change->counts));
        store_bind_blob(run, 6, bytes_of(change->latency->bins, change->latency->count * sizeof(sketch_bin)));
    }
    return store_run(run, why);
}

static status_code routes_put(flows_store *self, const flows *from, failure *why) {
    flow_numbers changed = flows_changed_routes(from);
    store_statement *put = &self->queries[ROUTE_PUT];
    status_code status = STATUS_OK;
    for (size_t i = 0; i < changed.count && status == STATUS_OK; i++) {
        flow_route row = flows_route_at(from, changed.numbers[i]);
        store_bind_int(put, 1, row.operation);
        store_bind_int(put, 2, row.edge);
        store_bind_double(put, 3, row.requests);
        store_bind_double(put, 4, row.seconds);
        status = store_run(put, why);
    }
    return status;
}

status_code flows_store_put(flows_store *self, const model *from, failure *why) {
    const flows *all = model_flows(from);
    status_code status = names_put(self, model_operations(from), why);
    for (unsigned subject = 0; subject < FLOW_TOTALS_SUBJECTS && status == STATUS_OK; subject++)
        status = totals_put(self, all, (flow_totals_subject)subject, why);
    size_t count = flows_change_count(all);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        flow_change change = flows_change_at(all, i);
        status = bucket_put(self, &change, why);
    }
    return status == STATUS_OK ? routes_put(self, all, why) : status;
}
