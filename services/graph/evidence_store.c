/* Chunks are stored as they are in memory: three arrays of fixed layout. */
#include "evidence_store.h"

#include <stdlib.h>
#include <string.h>

typedef enum query { CHUNK_INSERT, CHUNK_DELETE, ERROR_INSERT, QUERIES } query;

static const char *const query_texts[QUERIES] = {
    [CHUNK_INSERT] =
        "INSERT INTO evidence_chunk (id, thinned, traces, spans, records) VALUES (?, ?, ?, ?, ?)",
    [CHUNK_DELETE] = "DELETE FROM evidence_chunk WHERE id = ?",
    [ERROR_INSERT] = "INSERT INTO evidence_error (id, exception, node, text) VALUES (?, ?, ?, ?)",
};

struct evidence_store {
    store *connection;
    store_statement queries[QUERIES];
};

status_code evidence_store_open(evidence_store **out, store *connection, failure *why) {
    evidence_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the store");
    self->connection = connection;
    status_code status = STATUS_OK;
    for (size_t i = 0; i < QUERIES && status == STATUS_OK; i++)
        status = store_prepare(connection, &self->queries[i], query_texts[i], why);
    if (status != STATUS_OK) {
        evidence_store_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void evidence_store_close(evidence_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < QUERIES; i++)
        store_finalize(&self->queries[i]);
    free(self);
}

/* ---- Loading
 * ------------------------------------------------------------------------------------------------------ */

/* Copied, because a row's memory is aligned for bytes alone. */
static bool array_read(bytes blob, size_t width, void **items, uint32_t *count) {
    if (blob.size % width != 0 || blob.size / width > EVIDENCE_SPANS_MAX)
        return false;
    *items = malloc(blob.size + 1);
    *count = (uint32_t)(blob.size / width);
    if (*items != NULL && blob.size > 0)
        memcpy(*items, blob.data, blob.size);
    return *items != NULL;
}

static bool chunk_read(evidence_keep *into, uint32_t operation_count, store_statement *row) {
    evidence_chunk chunk = {.id = store_column_int(row, 0), .thinned = (uint32_t)store_column_int(row, 1)};
    bool good = array_read(store_column_blob(row, 2), sizeof *chunk.traces, (void **)&chunk.traces,
                           &chunk.trace_count) &&
                array_read(store_column_blob(row, 3), sizeof *chunk.spans, (void **)&chunk.spans,
                           &chunk.span_count) &&
                array_read(store_column_blob(row, 4), sizeof *chunk.records, (void **)&chunk.records,
                           &chunk.record_count) &&
                evidence_keep_restore_chunk(into, &chunk, operation_count);
    free(chunk.traces);
    free(chunk.spans);
    free(chunk.records);
    return good;
}

static bool error_read(evidence_keep *into, store_statement *row) {
    evidence_error error = {.exception = store_column_int(row, 1) != 0,
                            .service = (uint32_t)store_column_int(row, 2),
                            .text = store_column_text(row, 3)};
    return store_column_int(row, 0) == (int64_t)evidence_keep_error_count(into) &&
           evidence_keep_restore_error(into, &error);
}

static status_code rows_read(evidence_store *self, evidence_keep *into, uint32_t operation_count,
                             const char *sql, failure *why) {
    store_statement statement = {0};
    status_code status = store_prepare(self->connection, &statement, sql, why);
    bool row = status == STATUS_OK;
    while (status == STATUS_OK && row) {
        status = store_step(&statement, &row, why);
        if (status != STATUS_OK || !row)
            break;
        bool good = operation_count > 0 ? chunk_read(into, operation_count, &statement)
                                        : error_read(into, &statement);
        if (!good)
            status = fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                          "the graph's store contradicts itself (%s); restore it from a backup", sql);
    }
    store_finalize(&statement);
    return status;
}

status_code evidence_store_load(evidence_store *self, evidence_keep *into, uint32_t operation_count,
                                failure *why) {
    status_code status =
        rows_read(self, into, 0, "SELECT id, exception, node, text FROM evidence_error ORDER BY id", why);
    if (status == STATUS_OK && operation_count > 0)
        status = rows_read(self, into, operation_count,
                           "SELECT id, thinned, traces, spans, records FROM evidence_chunk ORDER BY id", why);
    return status;
}

/* ---- Saving
 * ------------------------------------------------------------------------------------------------------- */

static status_code chunk_put(evidence_store *self, const evidence_chunk *chunk, failure *why) {
    store_statement *insert = &self->queries[CHUNK_INSERT];
    store_bind_int(insert, 1, chunk->id);
    store_bind_int(insert, 2, chunk->thinned);
    store_bind_blob(insert, 3, bytes_of(chunk->traces, chunk->trace_count * sizeof *chunk->traces));
    store_bind_blob(insert, 4, bytes_of(chunk->spans, chunk->span_count * sizeof *chunk->spans));
    store_bind_blob(insert, 5, bytes_of(chunk->records, chunk->record_count * sizeof *chunk->records));
    return store_run(insert, why);
}

static status_code error_put(evidence_store *self, uint32_t number, const evidence_error *error,
                             failure *why) {
    store_statement *insert = &self->queries[ERROR_INSERT];
    store_bind_int(insert, 1, number);
    store_bind_int(insert, 2, error->exception);
    store_bind_int(insert, 3, error->service);
    store_bind_text(insert, 4, error->text);
    return store_run(insert, why);
}

status_code evidence_store_put(evidence_store *self, const evidence_keep *from, failure *why) {
    size_t gone_count;
    const int64_t *gone = evidence_keep_gone(from, &gone_count);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < gone_count && status == STATUS_OK; i++) {
        store_bind_int(&self->queries[CHUNK_DELETE], 1, gone[i]);
        status = store_run(&self->queries[CHUNK_DELETE], why);
    }
    for (size_t i = 0; i < evidence_keep_chunk_count(from) && status == STATUS_OK; i++) {
        const evidence_chunk *chunk = evidence_keep_chunk_at(from, i);
        if (!chunk->stored)
            status = chunk_put(self, chunk, why);
    }
    uint32_t errors = evidence_keep_error_count(from);
    for (uint32_t i = evidence_keep_errors_stored(from); i < errors && status == STATUS_OK; i++)
        status = error_put(self, i, evidence_keep_error_at(from, i), why);
    return status;
}
