/* All SQL of the log, one function a query. */
#include "audit_store.h"

#include <string.h>

#define AUDIT_STORE_VERSION 1

extern const char audit_schema_sql[]; /* schema.sql */

/* ---- Opening ---- */

static status_code prepare_reads(audit_store *self, failure *why) {
    const struct {
        store_statement *statement;
        const char *sql;
    } reads[] = {
        {&self->find_successor, "SELECT position FROM action WHERE action_id = ?1 AND previous = ?2"},
        {&self->find_latest,
         "SELECT position FROM action WHERE action_id = ?1 ORDER BY previous DESC LIMIT 1"},
        {&self->find_statement, "SELECT position FROM statement WHERE digest = ?1"},
        {&self->read_entry, "SELECT leaf, hashes FROM entry WHERE position = ?1"},
        {&self->read_hashes, "SELECT substr(hashes, ?2, 32) FROM entry WHERE position = ?1"},
        {&self->read_body, "SELECT sealed FROM body WHERE position = ?1"},
        {&self->read_secret, "SELECT key, salt FROM secret WHERE position = ?1"},
        {&self->read_actions, "SELECT position FROM action WHERE action_id = ?1 AND position >= ?2 "
                              "ORDER BY previous LIMIT ?3"},
        {&self->read_meta, "SELECT number, text FROM meta WHERE name = ?1"},
    };
    status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof reads / sizeof *reads && status == STATUS_OK; i++)
        status = store_prepare(&self->base, reads[i].statement, reads[i].sql, why);
    return status;
}

static status_code prepare_writes(audit_store *self, failure *why) {
    const struct {
        store_statement *statement;
        const char *sql;
    } writes[] = {
        {&self->insert_entry, "INSERT INTO entry (position, leaf, hashes) VALUES (?1, ?2, ?3)"},
        {&self->insert_body, "INSERT INTO body (position, sealed) VALUES (?1, ?2)"},
        {&self->insert_secret, "INSERT INTO secret (position, key, salt) VALUES (?1, ?2, ?3)"},
        {&self->insert_action, "INSERT INTO action (action_id, previous, position) VALUES (?1, ?2, ?3)"},
        {&self->insert_statement, "INSERT INTO statement (digest, position) VALUES (?1, ?2)"},
        {&self->write_meta,
         "INSERT INTO meta (name, number, text) VALUES (?1, ?2, ?3) "
         "ON CONFLICT (name) DO UPDATE SET number = excluded.number, text = excluded.text"},
        {&self->write_counter, "INSERT OR REPLACE INTO counter (key, window_ms, newest, sums) "
                               "VALUES (?1, ?2, ?3, ?4)"},
        {&self->delete_counter, "DELETE FROM counter WHERE key = ?1"},
    };
    status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof writes / sizeof *writes && status == STATUS_OK; i++)
        status = store_prepare(&self->base, writes[i].statement, writes[i].sql, why);
    return status;
}

/* secure_delete: erased bytes are overwritten, not only unlinked. The cache holds the pages that action ids
 * fall on. */
static const char writer_pragmas[] =
    "PRAGMA secure_delete=ON; PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=2000;";

status_code audit_store_open(audit_store *self, const char *path, failure *why) {
    audit_store opened = {0};
    status_code status =
        store_open(&opened.base, path, AUDIT_STORE_VERSION, audit_schema_sql, NULL, STORE_DURABLE, why);
    if (status != STATUS_OK)
        return status;
    status = store_execute(&opened.base, writer_pragmas, why);
    if (status == STATUS_OK)
        status = prepare_reads(&opened, why);
    if (status == STATUS_OK)
        status = prepare_writes(&opened, why);
    if (status != STATUS_OK)
        audit_store_close(&opened);
    else
        *self = opened;
    return status;
}

status_code audit_store_open_reader(audit_store *self, const char *path, failure *why) {
    audit_store opened = {0};
    status_code status = store_open_reader(&opened.base, path, why);
    if (status != STATUS_OK)
        return status;
    if ((status = prepare_reads(&opened, why)) != STATUS_OK)
        audit_store_close(&opened);
    else
        *self = opened;
    return status;
}

void audit_store_close(audit_store *self) {
    if (self->base.database == NULL)
        return;
    store_statement *const all[] = {&self->insert_entry,   &self->insert_body,      &self->insert_secret,
                                    &self->insert_action,  &self->find_latest,      &self->find_successor,
                                    &self->read_entry,     &self->insert_statement, &self->read_hashes,
                                    &self->find_statement, &self->read_body,        &self->read_secret,
                                    &self->write_meta,     &self->read_actions,     &self->read_meta,
                                    &self->write_counter,  &self->delete_counter};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        store_finalize(all[i]);
    store_close(&self->base);
}

/* ---- Helpers ---- */

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY",
                "no memory for a record; ask for less at a time");
}

static status_code copy_blob(store_statement *statement, int column, arena *memory, bytes *out,
                             failure *why) {
    bytes blob = store_column_blob(statement, column);
    const void *copy = arena_copy(memory, blob.size == 0 ? "" : (const void *)blob.data, blob.size);
    if (copy == NULL)
        return no_memory(why);
    *out = bytes_of(copy, blob.size);
    return STATUS_OK;
}

/* The one number of the one row that a statement may have. */
static status_code find_number(store_statement *statement, bool *found, uint64_t *number, failure *why) {
    bool row = false;
    status_code status = store_step(statement, &row, why);
    if (status == STATUS_OK) {
        *found = row;
        if (row)
            *number = (uint64_t)store_column_int(statement, 0);
    }
    store_reset(statement);
    return status;
}

/* The same for a statement that is not kept; `bound` is its ?1, if it has one. */
static status_code single_number(audit_store *self, const char *sql, uint64_t bound, uint64_t *out,
                                 failure *why) {
    store_statement statement;
    status_code status = store_prepare(&self->base, &statement, sql, why);
    if (status != STATUS_OK)
        return status;
    bool found = false;
    if (sqlite3_bind_parameter_count(statement.handle) > 0)
        store_bind_int(&statement, 1, (int64_t)bound);
    status = find_number(&statement, &found, out, why);
    store_finalize(&statement);
    return status;
}

/* ---- Meta ---- */

status_code audit_store_read_meta(audit_store *self, const char *name, arena *memory, audit_meta *out,
                                  failure *why) {
    audit_meta meta = {.text = ""};
    store_bind_text(&self->read_meta, 1, name);
    status_code status = store_step(&self->read_meta, &meta.found, why);
    if (status == STATUS_OK && meta.found) {
        meta.number = store_column_int(&self->read_meta, 0);
        meta.text = arena_text(memory, store_column_text(&self->read_meta, 1));
        if (meta.text == NULL)
            status = no_memory(why);
    }
    store_reset(&self->read_meta);
    if (status == STATUS_OK)
        *out = meta;
    return status;
}

status_code audit_store_write_meta(audit_store *self, const char *name, int64_t number, const char *text,
                                   failure *why) {
    store_bind_text(&self->write_meta, 1, name);
    store_bind_int(&self->write_meta, 2, number);
    store_bind_text(&self->write_meta, 3, text);
    return store_run(&self->write_meta, why);
}

/* ---- Writing a record ---- */

static status_code insert_entry(audit_store *self, const audit_row *row, failure *why) {
    uint8_t hashes[65 * MERKLE_HASH_BYTES];
    for (size_t i = 0; i < row->created_count; i++)
        memcpy(hashes + i * MERKLE_HASH_BYTES, row->created[i].hash.bytes, MERKLE_HASH_BYTES);
    store_bind_int(&self->insert_entry, 1, (int64_t)row->index);
    store_bind_blob(&self->insert_entry, 2, row->leaf);
    store_bind_blob(&self->insert_entry, 3, bytes_of(hashes, row->created_count * MERKLE_HASH_BYTES));
    return store_run(&self->insert_entry, why);
}

static status_code insert_chain(audit_store *self, const audit_row *row, failure *why) {
    if (row->action_id[0] != '\0') {
        store_bind_text(&self->insert_action, 1, row->action_id);
        store_bind_int(&self->insert_action, 2, (int64_t)row->previous);
        store_bind_int(&self->insert_action, 3, (int64_t)row->index);
        return store_run(&self->insert_action, why);
    }
    store_bind_blob(&self->insert_statement, 1, bytes_of(row->digest, CRYPTO_HASH_BYTES));
    store_bind_int(&self->insert_statement, 2, (int64_t)row->index);
    return store_run(&self->insert_statement, why);
}

status_code audit_store_insert(audit_store *self, const audit_row *row, failure *why) {
    status_code status = insert_entry(self, row, why);
    if (status != STATUS_OK)
        return status;
    store_bind_int(&self->insert_body, 1, (int64_t)row->index);
    store_bind_blob(&self->insert_body, 2, row->sealed);
    if ((status = store_run(&self->insert_body, why)) != STATUS_OK)
        return status;
    store_bind_int(&self->insert_secret, 1, (int64_t)row->index);
    store_bind_blob(&self->insert_secret, 2, bytes_of(row->key, CRYPTO_SECRET_BYTES));
    store_bind_blob(&self->insert_secret, 3, bytes_of(row->salt, LEAF_SALT_BYTES));
    if ((status = store_run(&self->insert_secret, why)) != STATUS_OK)
        return status;
    return insert_chain(self, row, why);
}

/* ---- Finding ---- */

status_code audit_store_successor(audit_store *self, const char *action_id, uint64_t previous, bool *found,
                                  uint64_t *index, failure *why) {
    store_bind_text(&self->find_successor, 1, action_id);
    store_bind_int(&self->find_successor, 2, (int64_t)previous);
    return find_number(&self->find_successor, found, index, why);
}

status_code audit_store_latest(audit_store *self, const char *action_id, bool *found, uint64_t *index,
                               failure *why) {
    store_bind_text(&self->find_latest, 1, action_id);
    return find_number(&self->find_latest, found, index, why);
}

status_code audit_store_statement(audit_store *self, const uint8_t digest[CRYPTO_HASH_BYTES], bool *found,
                                  uint64_t *index, failure *why) {
    store_bind_blob(&self->find_statement, 1, bytes_of(digest, CRYPTO_HASH_BYTES));
    return find_number(&self->find_statement, found, index, why);
}

status_code audit_store_action(audit_store *self, const char *action_id, uint64_t from, uint64_t *out,
                               size_t room, size_t *count, failure *why) {
    store_bind_text(&self->read_actions, 1, action_id);
    store_bind_int(&self->read_actions, 2, (int64_t)from);
    store_bind_int(&self->read_actions, 3, (int64_t)room);
    size_t taken = 0;
    status_code status = STATUS_OK;
    for (bool row = true; status == STATUS_OK && row && taken < room;) {
        status = store_step(&self->read_actions, &row, why);
        if (status == STATUS_OK && row)
            out[taken++] = (uint64_t)store_column_int(&self->read_actions, 0);
    }
    store_reset(&self->read_actions);
    if (status == STATUS_OK)
        *count = taken;
    return status;
}

/* ---- Reading ---- */

status_code audit_store_size(audit_store *self, uint64_t *out, failure *why) {
    return single_number(self, "SELECT coalesce(max(position) + 1, 0) FROM entry", 0, out, why);
}

status_code audit_store_action_rows(audit_store *self, uint64_t below, uint64_t *out, failure *why) {
    return single_number(self, "SELECT count(*) FROM action WHERE position < ?1", below, out, why);
}

status_code audit_store_read_leaf(audit_store *self, uint64_t index, arena *memory, bytes *leaf,
                                  bytes *hashes, failure *why) {
    bool row = false;
    bytes read_leaf = {0}, read_hashes = {0};
    store_bind_int(&self->read_entry, 1, (int64_t)index);
    status_code status = store_step(&self->read_entry, &row, why);
    if (status == STATUS_OK && !row)
        return fail(why, STATUS_NOT_FOUND, "NO_ENTRY", "there is no record at index %llu",
                    (unsigned long long)index);
    if (status == STATUS_OK)
        status = copy_blob(&self->read_entry, 0, memory, &read_leaf, why);
    if (status == STATUS_OK)
        status = copy_blob(&self->read_entry, 1, memory, &read_hashes, why);
    store_reset(&self->read_entry);
    if (status != STATUS_OK)
        return status;
    *leaf = read_leaf;
    if (hashes != NULL)
        *hashes = read_hashes;
    return STATUS_OK;
}

static status_code read_secret(audit_store *self, uint64_t index, arena *memory, bytes *key, bytes *salt,
                               failure *why) {
    bool row = false;
    store_bind_int(&self->read_secret, 1, (int64_t)index);
    status_code status = store_step(&self->read_secret, &row, why);
    if (status == STATUS_OK && row)
        status = copy_blob(&self->read_secret, 0, memory, key, why);
    if (status == STATUS_OK && row)
        status = copy_blob(&self->read_secret, 1, memory, salt, why);
    store_reset(&self->read_secret);
    return status;
}

status_code audit_store_read_body(audit_store *self, uint64_t index, arena *memory, bytes *sealed, bytes *key,
                                  bytes *salt, failure *why) {
    bool row = false;
    bytes body = {0}, body_key = {0}, body_salt = {0};
    store_bind_int(&self->read_body, 1, (int64_t)index);
    status_code status = store_step(&self->read_body, &row, why);
    if (status == STATUS_OK && row)
        status = copy_blob(&self->read_body, 0, memory, &body, why);
    store_reset(&self->read_body);
    if (status == STATUS_OK)
        status = read_secret(self, index, memory, &body_key, &body_salt, why);
    if (status != STATUS_OK)
        return status;
    *sealed = body;
    *key = body_key;
    *salt = body_salt;
    return STATUS_OK;
}

bool audit_store_read_node(void *context, merkle_node node, merkle_hash *out) {
    audit_store *self = context;
    failure ignored;
    bool row = false;
    if (node.level > 62)
        return false;
    store_bind_int(&self->read_hashes, 1, (int64_t)(((node.index + 1) << node.level) - 1));
    store_bind_int(&self->read_hashes, 2, (int64_t)node.level * MERKLE_HASH_BYTES + 1);
    bool found = store_step(&self->read_hashes, &row, &ignored) == STATUS_OK && row;
    if (found) {
        bytes hash = store_column_blob(&self->read_hashes, 0);
        found = hash.size == MERKLE_HASH_BYTES;
        if (found)
            memcpy(out->bytes, hash.data, MERKLE_HASH_BYTES);
    }
    store_reset(&self->read_hashes);
    return found;
}

static void each_node(store_statement *rows, void (*each)(void *context, const merkle_created *node),
                      void *context) {
    uint64_t index = (uint64_t)store_column_int(rows, 0);
    bytes hashes = store_column_blob(rows, 1);
    for (size_t level = 0; (level + 1) * MERKLE_HASH_BYTES <= hashes.size && level < 63; level++) {
        merkle_created node = {.node = {.level = (unsigned)level, .index = index >> level}};
        memcpy(node.hash.bytes, hashes.data + level * MERKLE_HASH_BYTES, MERKLE_HASH_BYTES);
        each(context, &node);
    }
}

status_code audit_store_recent_nodes(audit_store *self, uint64_t from,
                                     void (*each)(void *context, const merkle_created *node), void *context,
                                     failure *why) {
    store_statement rows;
    status_code status = store_prepare(
        &self->base, &rows, "SELECT position, hashes FROM entry WHERE position >= ?1 ORDER BY position", why);
    if (status != STATUS_OK)
        return status;
    store_bind_int(&rows, 1, (int64_t)from);
    bool row = true;
    while (row && (status = store_step(&rows, &row, why)) == STATUS_OK)
        if (row)
            each_node(&rows, each, context);
    store_finalize(&rows);
    return status;
}

/* ---- Erasure ---- */

static status_code erase_rows(audit_store *self, uint64_t index, failure *why) {
    static const char *const sql[] = {"DELETE FROM statement WHERE position = ?1",
                                      "DELETE FROM secret WHERE position = ?1",
                                      "DELETE FROM body WHERE position = ?1"};
    status_code status = STATUS_OK;
    for (size_t i = 0; i < sizeof sql / sizeof *sql && status == STATUS_OK; i++) {
        store_statement statement;
        status = store_prepare(&self->base, &statement, sql[i], why);
        if (status != STATUS_OK)
            break;
        store_bind_int(&statement, 1, (int64_t)index);
        status = store_run(&statement, why);
        store_finalize(&statement);
    }
    if (status == STATUS_OK && sqlite3_changes(self->base.database) == 0)
        status = fail(why, STATUS_NOT_FOUND, "NO_BODY",
                      "there is no body at index %llu; it may have been erased", (unsigned long long)index);
    return status;
}

status_code audit_store_erase(audit_store *self, uint64_t index, failure *why) {
    status_code status = store_begin(&self->base, why);
    if (status != STATUS_OK)
        return status;
    if ((status = erase_rows(self, index, why)) != STATUS_OK) {
        store_rollback(&self->base);
        return status;
    }
    if ((status = store_commit(&self->base, why)) != STATUS_OK) {
        store_rollback(&self->base);
        return status;
    }
    return store_execute(&self->base, "PRAGMA wal_checkpoint(TRUNCATE)", why);
}

/* ---- Counters ---- */

/* Big-endian, so that a database can be moved between machines. */
static void pack_sums(const counter_state *state, uint8_t out[COUNTER_BUCKETS * 8]) {
    for (size_t i = 0; i < COUNTER_BUCKETS; i++)
        for (size_t k = 0; k < 8; k++)
            out[i * 8 + k] = (uint8_t)(state->sums[i] >> (56 - 8 * k));
}

static bool unpack_sums(bytes packed, counter_state *out) {
    if (packed.size != COUNTER_BUCKETS * 8)
        return false;
    for (size_t i = 0; i < COUNTER_BUCKETS; i++) {
        uint64_t sum = 0;
        for (size_t k = 0; k < 8; k++)
            sum = sum << 8 | packed.data[i * 8 + k];
        out->sums[i] = sum;
    }
    return true;
}

status_code audit_store_write_counter(audit_store *self, const char *key, const counter_state *state,
                                      failure *why) {
    uint8_t sums[COUNTER_BUCKETS * 8];
    pack_sums(state, sums);
    store_bind_text(&self->write_counter, 1, key);
    store_bind_int(&self->write_counter, 2, (int64_t)state->window_ms);
    store_bind_int(&self->write_counter, 3, (int64_t)state->newest);
    store_bind_blob(&self->write_counter, 4, bytes_of(sums, sizeof sums));
    return store_run(&self->write_counter, why);
}

status_code audit_store_delete_counter(audit_store *self, const char *key, failure *why) {
    store_bind_text(&self->delete_counter, 1, key);
    return store_run(&self->delete_counter, why);
}

static status_code each_counter(store_statement *rows,
                                status_code (*each)(void *context, const char *key,
                                                    const counter_state *state, failure *why),
                                void *context, failure *why) {
    counter_state state = {.window_ms = (uint64_t)store_column_int(rows, 1),
                           .newest = (uint64_t)store_column_int(rows, 2)};
    const char *key = store_column_text(rows, 0);
    if (!unpack_sums(store_column_blob(rows, 3), &state) || state.window_ms < APPEND_WINDOW_LEAST_MS ||
        state.window_ms > APPEND_WINDOW_MOST_MS)
        return fail(why, STATUS_DATA_LOSS, "COUNTER_MALFORMED",
                    "the stored counter '%.100s' is not readable; restore the database from a backup", key);
    return each(context, key, &state, why);
}

status_code audit_store_read_counters(audit_store *self,
                                      status_code (*each)(void *context, const char *key,
                                                          const counter_state *state, failure *why),
                                      void *context, failure *why) {
    store_statement rows;
    status_code status =
        store_prepare(&self->base, &rows, "SELECT key, window_ms, newest, sums FROM counter", why);
    if (status != STATUS_OK)
        return status;
    bool row = true;
    while (row && (status = store_step(&rows, &row, why)) == STATUS_OK)
        if (row && (status = each_counter(&rows, each, context, why)) != STATUS_OK)
            break;
    store_finalize(&rows);
    return status;
}
