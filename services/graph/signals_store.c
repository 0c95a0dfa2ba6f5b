/* A row for every series and every bucket; the newest buckets of all series lie side by side, because that is
 * what every commit writes. */
#include "signals_store.h"

#include <stdlib.h>
#include <string.h>

typedef enum query {
    NODE_INSERT,
    SERIES_PUT,
    BUCKET_PUT,
    BUCKET_DELETE,
    SPEAKER_INSERT,
    TEMPLATE_PUT,
    PAIR_INSERT,
    COUNT_PUT,
    COUNT_DELETE,
    DIGEST_INSERT,
    DIGEST_TRIM,
    QUERIES,
} query;

static const char *const query_texts[QUERIES] = {
    [NODE_INSERT] = "INSERT INTO signal_node (id, name) VALUES (?, ?)",
    [SERIES_PUT] =
        "REPLACE INTO signal_series (id, node, pod, name, unit, type, first_ms, last_ms, points, "
        "sum_start_ms, sum_time_ms, sum_count, sum_sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [BUCKET_PUT] = "REPLACE INTO signal_bucket (level, from_ms, series, count, sum, minimum, maximum, parts) "
                   "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [BUCKET_DELETE] = "DELETE FROM signal_bucket WHERE level = ? AND from_ms = ? AND series = ?",
    [SPEAKER_INSERT] = "INSERT INTO log_node (id, name) VALUES (?, ?)",
    [TEMPLATE_PUT] = "REPLACE INTO log_template (id, text, severity, count, first_ms, last_ms) "
                     "VALUES (?, ?, ?, ?, ?, ?)",
    [PAIR_INSERT] = "INSERT INTO log_pair (id, node, template) VALUES (?, ?, ?)",
    [COUNT_PUT] = "REPLACE INTO log_bucket (level, from_ms, pair, count) VALUES (?, ?, ?, ?)",
    [COUNT_DELETE] = "DELETE FROM log_bucket WHERE level = ? AND from_ms = ? AND pair = ?",
    [DIGEST_INSERT] = "INSERT INTO telemetry_seen (digest) VALUES (?)",
    [DIGEST_TRIM] =
        "DELETE FROM telemetry_seen WHERE sequence <= (SELECT max(sequence) FROM telemetry_seen) - ?",
};

struct signals_store {
    store *connection;
    store_statement queries[QUERIES];
};

status_code signals_store_open(signals_store **out, store *connection, failure *why) {
    signals_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the store");
    self->connection = connection;
    status_code status = STATUS_OK;
    for (size_t i = 0; i < QUERIES && status == STATUS_OK; i++)
        status = store_prepare(connection, &self->queries[i], query_texts[i], why);
    if (status != STATUS_OK) {
        signals_store_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void signals_store_close(signals_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < QUERIES; i++)
        store_finalize(&self->queries[i]);
    free(self);
}

/* ---- Loading
 * ------------------------------------------------------------------------------------------------------ */

/* Called for every row; false when the row cannot be. */
typedef bool (*row_reader)(telemetry *into, store_statement *row);

static status_code rows_read(signals_store *self, telemetry *into, const char *sql, row_reader read,
                             failure *why) {
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

static bool node_read(telemetry *into, store_statement *row) {
    signals *all = telemetry_signals(into);
    return store_column_int(row, 0) == (int64_t)signals_node_count(all) &&
           signals_restore_node(all, store_column_text(row, 1));
}

static bool series_read(telemetry *into, store_statement *row) {
    signal_row made = {.number = (uint32_t)store_column_int(row, 0),
                       .node = (uint32_t)store_column_int(row, 1),
                       .pod = store_column_text(row, 2),
                       .name = store_column_text(row, 3),
                       .unit = store_column_text(row, 4),
                       .type = (signal_type)store_column_int(row, 5),
                       .first_ms = store_column_int(row, 6),
                       .last_ms = store_column_int(row, 7),
                       .points = store_column_double(row, 8),
                       .sum_start_ms = store_column_int(row, 9),
                       .sum_time_ms = store_column_int(row, 10),
                       .sum_count = store_column_double(row, 11),
                       .sum_sum = store_column_double(row, 12)};
    return signals_restore_series(telemetry_signals(into), &made);
}

static bool bucket_read(telemetry *into, store_statement *row) {
    signal_bucket_row made = {.level = (unsigned)store_column_int(row, 0),
                              .from_ms = store_column_int(row, 1),
                              .series = (uint32_t)store_column_int(row, 2),
                              .count = store_column_double(row, 3),
                              .sum = store_column_double(row, 4),
                              .minimum = store_column_double(row, 5),
                              .maximum = store_column_double(row, 6),
                              .parts = (uint32_t)store_column_int(row, 7)};
    return signals_restore_bucket(telemetry_signals(into), &made);
}

static bool speaker_read(telemetry *into, store_statement *row) {
    templates *all = telemetry_templates(into);
    return store_column_int(row, 0) == (int64_t)templates_node_count(all) &&
           templates_restore_node(all, store_column_text(row, 1));
}

static bool template_read(telemetry *into, store_statement *row) {
    template_row made = {.number = (uint32_t)store_column_int(row, 0),
                         .text = store_column_text(row, 1),
                         .severity = (log_severity)store_column_int(row, 2),
                         .count = store_column_double(row, 3),
                         .first_ms = store_column_int(row, 4),
                         .last_ms = store_column_int(row, 5)};
    return templates_restore(telemetry_templates(into), &made);
}

static bool pair_read(telemetry *into, store_statement *row) {
    template_pair_row made = {.number = (uint32_t)store_column_int(row, 0),
                              .node = (uint32_t)store_column_int(row, 1),
                              .template_id = (uint32_t)store_column_int(row, 2)};
    return templates_restore_pair(telemetry_templates(into), &made);
}

static bool count_read(telemetry *into, store_statement *row) {
    template_bucket_row made = {.level = (unsigned)store_column_int(row, 0),
                                .from_ms = store_column_int(row, 1),
                                .pair = (uint32_t)store_column_int(row, 2),
                                .count = store_column_double(row, 3)};
    return templates_restore_bucket(telemetry_templates(into), &made);
}

static bool digest_read(telemetry *into, store_statement *row) {
    telemetry_restore_digest(into, (uint64_t)store_column_int(row, 0));
    return true;
}

status_code signals_store_load(signals_store *self, telemetry *into, failure *why) {
    static const struct {
        const char *sql;
        row_reader read;
    } tables[] = {
        {"SELECT id, name FROM signal_node ORDER BY id", node_read},
        {"SELECT id, node, pod, name, unit, type, first_ms, last_ms, points, sum_start_ms, sum_time_ms, "
         "sum_count, sum_sum FROM signal_series ORDER BY id",
         series_read},
        {"SELECT level, from_ms, series, count, sum, minimum, maximum, parts FROM signal_bucket",
         bucket_read},
        {"SELECT id, name FROM log_node ORDER BY id", speaker_read},
        {"SELECT id, text, severity, count, first_ms, last_ms FROM log_template ORDER BY id", template_read},
        {"SELECT id, node, template FROM log_pair ORDER BY id", pair_read},
        {"SELECT level, from_ms, pair, count FROM log_bucket", count_read},
        {"SELECT digest FROM telemetry_seen ORDER BY sequence", digest_read},
    };
    status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && status == STATUS_OK; i++)
        status = rows_read(self, into, tables[i].sql, tables[i].read, why);
    return status;
}

/* ---- Saving
 * ------------------------------------------------------------------------------------------------------- */

static status_code series_put(signals_store *self, const signal_row *row, failure *why) {
    store_statement *put = &self->queries[SERIES_PUT];
    store_bind_int(put, 1, row->number);
    store_bind_int(put, 2, row->node);
    store_bind_text(put, 3, row->pod);
    store_bind_text(put, 4, row->name);
    store_bind_text(put, 5, row->unit);
    store_bind_int(put, 6, row->type);
    store_bind_int(put, 7, row->first_ms);
    store_bind_int(put, 8, row->last_ms);
    store_bind_double(put, 9, row->points);
    store_bind_int(put, 10, row->sum_start_ms);
    store_bind_int(put, 11, row->sum_time_ms);
    store_bind_double(put, 12, row->sum_count);
    store_bind_double(put, 13, row->sum_sum);
    return store_run(put, why);
}

static status_code name_put(store_statement *insert, uint32_t number, const char *name, failure *why) {
    store_bind_int(insert, 1, number);
    store_bind_text(insert, 2, name);
    return store_run(insert, why);
}

/* New series stand among the changed ones too, so that only those that have no point yet are written here. */
static status_code all_series_put(signals_store *self, const signals *from, failure *why) {
    const uint32_t *changed;
    size_t count = signals_changed_series(from, &changed);
    status_code status = STATUS_OK;
    for (uint32_t i = signals_nodes_stored(from); i < signals_node_count(from) && status == STATUS_OK; i++)
        status = name_put(&self->queries[NODE_INSERT], i, signals_node_name(from, i), why);
    for (uint32_t i = signals_series_stored(from); i < signals_series_count(from) && status == STATUS_OK;
         i++) {
        signal_row row = signals_row_at(from, i);
        status = series_put(self, &row, why);
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        signal_row row = signals_row_at(from, changed[i]);
        status = row.number < signals_series_stored(from) ? series_put(self, &row, why) : STATUS_OK;
    }
    return status;
}

static status_code bucket_put(signals_store *self, const signal_bucket_row *row, failure *why) {
    store_statement *run = &self->queries[row->gone ? BUCKET_DELETE : BUCKET_PUT];
    store_bind_int(run, 1, row->level);
    store_bind_int(run, 2, row->from_ms);
    store_bind_int(run, 3, row->series);
    if (!row->gone) {
        store_bind_double(run, 4, row->count);
        store_bind_double(run, 5, row->sum);
        store_bind_double(run, 6, row->minimum);
        store_bind_double(run, 7, row->maximum);
        store_bind_int(run, 8, row->parts);
    }
    return store_run(run, why);
}

static status_code signals_put(signals_store *self, const signals *from, failure *why) {
    status_code status = all_series_put(self, from, why);
    size_t count = signals_changed_buckets(from);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        signal_bucket_row row = signals_changed_bucket_at(from, i);
        status = bucket_put(self, &row, why);
    }
    return status;
}

static status_code template_put(signals_store *self, const template_row *row, failure *why) {
    store_statement *put = &self->queries[TEMPLATE_PUT];
    store_bind_int(put, 1, row->number);
    store_bind_text(put, 2, row->text);
    store_bind_int(put, 3, row->severity);
    store_bind_double(put, 4, row->count);
    store_bind_int(put, 5, row->first_ms);
    store_bind_int(put, 6, row->last_ms);
    return store_run(put, why);
}

static status_code pairs_put(signals_store *self, const templates *from, failure *why) {
    store_statement *insert = &self->queries[PAIR_INSERT];
    status_code status = STATUS_OK;
    for (uint32_t i = templates_nodes_stored(from); i < templates_node_count(from) && status == STATUS_OK;
         i++)
        status = name_put(&self->queries[SPEAKER_INSERT], i, templates_node_name(from, i), why);
    for (uint32_t i = templates_pairs_stored(from); i < templates_pair_count(from) && status == STATUS_OK;
         i++) {
        template_pair_row row = templates_pair_at(from, i);
        store_bind_int(insert, 1, row.number);
        store_bind_int(insert, 2, row.node);
        store_bind_int(insert, 3, row.template_id);
        status = store_run(insert, why);
    }
    return status;
}

static status_code count_put(signals_store *self, const template_bucket_row *row, failure *why) {
    store_statement *run = &self->queries[row->gone ? COUNT_DELETE : COUNT_PUT];
    store_bind_int(run, 1, row->level);
    store_bind_int(run, 2, row->from_ms);
    store_bind_int(run, 3, row->pair);
    if (!row->gone)
        store_bind_double(run, 4, row->count);
    return store_run(run, why);
}

static status_code templates_put(signals_store *self, const templates *from, failure *why) {
    const uint32_t *changed;
    size_t count = templates_changed(from, &changed);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        template_row row = templates_row_at(from, changed[i]);
        status = template_put(self, &row, why);
    }
    if (status == STATUS_OK)
        status = pairs_put(self, from, why);
    count = templates_changed_buckets(from);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        template_bucket_row row = templates_changed_bucket_at(from, i);
        status = count_put(self, &row, why);
    }
    return status;
}

static status_code digests_put(signals_store *self, const telemetry *from, failure *why) {
    const uint64_t *digests;
    size_t count = telemetry_digests_unstored(from, &digests);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        store_bind_int(&self->queries[DIGEST_INSERT], 1, (int64_t)digests[i]);
        status = store_run(&self->queries[DIGEST_INSERT], why);
    }
    if (status != STATUS_OK || count == 0)
        return status;
    store_bind_int(&self->queries[DIGEST_TRIM], 1, TELEMETRY_SEEN);
    return store_run(&self->queries[DIGEST_TRIM], why);
}

status_code signals_store_put(signals_store *self, const telemetry *from, failure *why) {
    status_code status = signals_put(self, telemetry_signals(from), why);
    if (status == STATUS_OK)
        status = templates_put(self, telemetry_templates(from), why);
    return status == STATUS_OK ? digests_put(self, from, why) : status;
}
