/* All SQL of the embedded twin: current values, their history, leases, and one row with the revision. A write
 * takes the lock first, deletes what has expired (each lease in a revision of its own, as etcd does), then
 * does its work in one revision. */
#include "embedded_store.h"

#include <string.h>

#define BUSY_MAX_MS 5000U
#define WATCH_BUSY_MS 100
#define SLACK_REVISIONS 1000

static const char schema[] =
    "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL,"
    "  compacted INTEGER NOT NULL, history_bytes INTEGER NOT NULL) STRICT;"
    /* etcd's empty store is at revision 1 too. */
    "INSERT INTO meta VALUES (1, 1, 1, 0);"
    "CREATE TABLE kv (key BLOB NOT NULL UNIQUE, value BLOB NOT NULL, create_revision INTEGER NOT NULL,"
    "  mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL) STRICT;"
    "CREATE INDEX kv_lease ON kv (lease) WHERE lease <> 0;"
    "CREATE TABLE history (revision INTEGER NOT NULL, sub INTEGER NOT NULL, deleted INTEGER NOT NULL,"
    "  key BLOB NOT NULL, value BLOB NOT NULL, create_revision INTEGER NOT NULL, version INTEGER NOT NULL,"
    "  lease INTEGER NOT NULL, UNIQUE (revision, sub)) STRICT;"
    "CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL, boot TEXT NOT NULL,"
    "  expires_ms INTEGER NOT NULL) STRICT;";

#define KV_COLUMNS "kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease"
#define KV_LIVE                                                                                              \
    "(kv.lease = 0 OR EXISTS (SELECT 1 FROM lease WHERE lease.id = kv.lease AND lease.boot = ?1 AND "        \
    "lease.expires_ms > ?2))"

/* ---- Opening --------------------------------------------------------------------------------- */

static status_code prepare_writer(embedded_store *self, failure *why) {
    const struct {
        store_statement *statement;
        const char *sql;
    } statements[] = {
        {&self->read_meta, "SELECT revision, compacted, history_bytes FROM meta"},
        {&self->write_meta, "UPDATE meta SET revision = ?, compacted = ?, history_bytes = ?"},
        {&self->range,
         "SELECT " KV_COLUMNS " FROM kv WHERE key >= ?3 AND key < ?4 AND " KV_LIVE " ORDER BY key LIMIT ?5"},
        {&self->one, "SELECT " KV_COLUMNS " FROM kv WHERE key = ?3 AND " KV_LIVE},
        {&self->put, "INSERT INTO kv (key, value, create_revision, mod_revision, version, lease)"
                     " VALUES (?1, ?2, ?3, ?3, 1, ?4) ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
                     " mod_revision = excluded.mod_revision, version = version + 1, lease = excluded.lease"
                     " RETURNING create_revision, version"},
        {&self->remove, "DELETE FROM kv WHERE key = ? RETURNING version"},
        {&self->remember,
         "INSERT INTO history (revision, sub, deleted, key, value, create_revision, version, lease)"
         " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
        {&self->lease_live, "SELECT ttl_ms FROM lease WHERE id = ?3 AND boot = ?1 AND expires_ms > ?2"},
        {&self->lease_new, "INSERT INTO lease (id, ttl_ms, boot, expires_ms) VALUES (?, ?, ?, ?)"},
        {&self->lease_renew, "UPDATE lease SET expires_ms = ? WHERE id = ?"},
        {&self->lease_remove, "DELETE FROM lease WHERE id = ?"},
        {&self->lease_keys, "SELECT key FROM kv WHERE lease = ? ORDER BY key"},
        {&self->lease_dead,
         "SELECT id FROM lease WHERE boot <> ?1 OR expires_ms <= ?2 ORDER BY expires_ms, id"},
    };
    status_code status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof statements / sizeof statements[0]; i++)
        status = store_prepare(&self->writer, statements[i].statement, statements[i].sql, why);
    return status;
}

static status_code prepare_watcher(embedded_store *self, failure *why) {
    status_code status = store_prepare(&self->watcher, &self->watch_version, "PRAGMA data_version", why);
    if (status == STATUS_OK)
        status =
            store_prepare(&self->watcher, &self->watch_meta, "SELECT revision, compacted FROM meta", why);
    if (status == STATUS_OK)
        status =
            store_prepare(&self->watcher, &self->watch_history,
                          "SELECT revision, deleted, key, value, create_revision, version, lease FROM history"
                          " WHERE revision >= ? AND revision <= ? AND key >= ? AND key < ?"
                          " ORDER BY revision, sub",
                          why);
    return status;
}

status_code embedded_store_open(embedded_store *self, const char *path, const chance *source, failure *why) {
    memset(self, 0, sizeof *self);
    self->source = source;
    boot_id_read(self->boot);
    status_code status = store_open(&self->writer, path, 1, schema, NULL, STORE_SHARED, why);
    /* The watcher may write as well, because whoever comes first after a crash must roll the journal back. */
    if (status == STATUS_OK)
        status = store_open(&self->watcher, path, 1, schema, NULL, STORE_SHARED, why);
    if (status == STATUS_OK)
        status = prepare_writer(self, why);
    if (status == STATUS_OK)
        status = prepare_watcher(self, why);
    if (status != STATUS_OK)
        embedded_store_close(self);
    else
        sqlite3_busy_timeout(self->watcher.database, WATCH_BUSY_MS);
    return status;
}

void embedded_store_close(embedded_store *self) {
    store_statement *statements[] = {
        &self->read_meta,  &self->write_meta,    &self->range,        &self->one,
        &self->put,        &self->remove,        &self->remember,     &self->lease_live,
        &self->lease_new,  &self->lease_renew,   &self->lease_remove, &self->lease_keys,
        &self->lease_dead, &self->watch_version, &self->watch_meta,   &self->watch_history,
    };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        store_finalize(statements[i]);
    store_close(&self->watcher);
    store_close(&self->writer);
}

void embedded_store_patience(embedded_store *self, uint64_t deadline_ms) {
    uint64_t now = chance_boot_ms(self->source);
    uint64_t left = deadline_ms > now ? deadline_ms - now : 1;
    sqlite3_busy_timeout(self->writer.database, (int)(left < BUSY_MAX_MS ? left : BUSY_MAX_MS));
}

void embedded_bind_now(embedded_store *self, store_statement *statement, int64_t now_ms) {
    store_bind_text(statement, 1, self->boot);
    store_bind_int(statement, 2, now_ms);
}

int64_t embedded_now_ms(const embedded_store *self) {
    return (int64_t)chance_boot_ms(self->source);
}

/* ---- A transaction in hand ------------------------------------------------------------------- */

typedef struct change {
    embedded_store *self;
    int64_t revision, compacted, history_bytes; /* as of the last finished revision */
    int64_t sub;                                /* events in the revision being made */
    int64_t now_ms;
    bool dirty; /* there is something to commit */
} change;

static status_code read_meta(change *self, failure *why) {
    store_statement *statement = &self->self->read_meta;
    bool row = false;
    status_code status = store_step(statement, &row, why);
    if (status != STATUS_OK)
        return status;
    if (!row)
        return fail(why, STATUS_DATA_LOSS, "STORE_CORRUPT", "the coordination file has lost its revision");
    self->revision = store_column_int(statement, 0);
    self->compacted = store_column_int(statement, 1);
    self->history_bytes = store_column_int(statement, 2);
    store_reset(statement);
    return STATUS_OK;
}

static status_code write_meta(change *self, failure *why) {
    store_statement *statement = &self->self->write_meta;
    store_bind_int(statement, 1, self->revision);
    store_bind_int(statement, 2, self->compacted);
    store_bind_int(statement, 3, self->history_bytes);
    return store_run(statement, why);
}

static status_code remember(change *self, bool deleted, bytes key, bytes value, int64_t create_revision,
                            int64_t version, int64_t lease, failure *why) {
    store_statement *statement = &self->self->remember;
    store_bind_int(statement, 1, self->revision + 1);
    store_bind_int(statement, 2, self->sub++);
    store_bind_int(statement, 3, deleted ? 1 : 0);
    store_bind_blob(statement, 4, key);
    store_bind_blob(statement, 5, value);
    store_bind_int(statement, 6, create_revision);
    store_bind_int(statement, 7, version);
    store_bind_int(statement, 8, lease);
    self->history_bytes += (int64_t)value.size;
    self->dirty = true;
    return store_run(statement, why);
}

static status_code put_key(change *self, bytes key, bytes value, int64_t lease, failure *why) {
    store_statement *statement = &self->self->put;
    bool row = false;
    store_bind_blob(statement, 1, key);
    store_bind_blob(statement, 2, value);
    store_bind_int(statement, 3, self->revision + 1);
    store_bind_int(statement, 4, lease);
    status_code status = store_step(statement, &row, why);
    if (status != STATUS_OK)
        return status;
    int64_t create_revision = store_column_int(statement, 0), version = store_column_int(statement, 1);
    if ((status = store_run(statement, why)) != STATUS_OK)
        return status;
    return remember(self, false, key, value, create_revision, version, lease, why);
}

static status_code remove_key(change *self, bytes key, failure *why) {
    store_statement *statement = &self->self->remove;
    bool row = false;
    store_bind_blob(statement, 1, key);
    status_code status = store_step(statement, &row, why);
    if (status != STATUS_OK || !row)
        return status; /* an absent key: no event, as in etcd */
    if ((status = store_run(statement, why)) != STATUS_OK)
        return status;
    return remember(self, true, key, bytes_of(NULL, 0), 0, 0, 0, why);
}

/* What was done since the last call becomes one revision, if anything was done. */
static void finish_revision(change *self) {
    if (self->sub > 0)
        self->revision++;
    self->sub = 0;
}

static status_code read_one(embedded_store *self, bytes key, int64_t now_ms, bool *found, failure *why) {
    embedded_bind_now(self, &self->one, now_ms);
    store_bind_blob(&self->one, 3, key);
    return store_step(&self->one, found, why);
}

/* ---- Leases that end ------------------------------------------------------------------------- */

static status_code next_lease_key(change *self, int64_t lease, bool *found, bytes *key, failure *why) {
    store_statement *statement = &self->self->lease_keys;
    store_bind_int(statement, 1, lease);
    status_code status = store_step(statement, found, why);
    if (status == STATUS_OK && *found)
        *key = store_column_blob(statement, 0);
    return status;
}

/* Deletes a lease and its keys, in one revision. */
static status_code end_lease(change *self, int64_t lease, failure *why) {
    char copy[COORD_PREFIX_BYTES + COORD_KEY_BYTES];
    bool found = false;
    bytes key = bytes_of(NULL, 0);
    status_code status = next_lease_key(self, lease, &found, &key, why);
    while (status == STATUS_OK && found) {
        size_t size = key.size < sizeof copy ? key.size : sizeof copy;
        memcpy(copy, key.data, size);
        store_reset(&self->self->lease_keys);
        status = remove_key(self, bytes_of(copy, size), why);
        if (status == STATUS_OK)
            status = next_lease_key(self, lease, &found, &key, why);
    }
    store_reset(&self->self->lease_keys);
    finish_revision(self);
    if (status != STATUS_OK)
        return status;
    self->dirty = true;
    store_bind_int(&self->self->lease_remove, 1, lease);
    return store_run(&self->self->lease_remove, why);
}

static status_code next_dead_lease(change *self, bool *found, int64_t *lease, failure *why) {
    store_statement *statement = &self->self->lease_dead;
    embedded_bind_now(self->self, statement, self->now_ms);
    status_code status = store_step(statement, found, why);
    if (status == STATUS_OK && *found)
        *lease = store_column_int(statement, 0);
    store_reset(statement);
    return status;
}

static status_code end_dead_leases(change *self, failure *why) {
    bool found = false;
    int64_t lease = 0;
    status_code status = next_dead_lease(self, &found, &lease, why);
    while (status == STATUS_OK && found) {
        status = end_lease(self, lease, why);
        if (status == STATUS_OK)
            status = next_dead_lease(self, &found, &lease, why);
    }
    return status;
}

static status_code lease_live(embedded_store *self, int64_t lease, int64_t now_ms, int64_t *ttl_ms,
                              failure *why) {
    bool found = false;
    embedded_bind_now(self, &self->lease_live, now_ms);
    store_bind_int(&self->lease_live, 3, lease);
    status_code status = store_step(&self->lease_live, &found, why);
    if (status == STATUS_OK && !found)
        return fail(why, STATUS_NOT_FOUND, "LEASE_NOT_FOUND", "lease %lld has expired or never was",
                    (long long)lease);
    if (status == STATUS_OK)
        *ttl_ms = store_column_int(&self->lease_live, 0);
    store_reset(&self->lease_live);
    return status;
}

/* ---- Compaction ------------------------------------------------------------------------------ */

static status_code compact_to(change *self, int64_t revision, failure *why) {
    if (revision <= self->compacted)
        return STATUS_OK;
    store_statement forget = {0}, measure = {0};
    bool row = false;
    status_code status =
        store_prepare(&self->self->writer, &forget, "DELETE FROM history WHERE revision < ?", why);
    if (status == STATUS_OK) {
        store_bind_int(&forget, 1, revision);
        status = store_run(&forget, why);
    }
    if (status == STATUS_OK)
        status = store_prepare(&self->self->writer, &measure,
                               "SELECT coalesce(sum(length(value)), 0) FROM history", why);
    if (status == STATUS_OK)
        status = store_step(&measure, &row, why);
    if (status == STATUS_OK) {
        self->dirty = true;
        self->history_bytes = store_column_int(&measure, 0);
        self->compacted = revision;
    }
    store_finalize(&forget);
    store_finalize(&measure);
    return status;
}

static status_code compact_when_due(change *self, failure *why) {
    if (self->revision - self->compacted > EMBEDDED_HISTORY_REVISIONS + SLACK_REVISIONS)
        return compact_to(self, self->revision - EMBEDDED_HISTORY_REVISIONS, why);
    if (self->history_bytes > EMBEDDED_HISTORY_BYTES)
        return compact_to(self, self->compacted + (self->revision - self->compacted + 1) / 2, why);
    return STATUS_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static status_code write_begin(embedded_store *self, change *out, failure *why) {
    if (self->broken)
        return fail(why, STATUS_UNAVAILABLE, "STORE_BROKEN",
                    "an earlier commit to the coordination file failed; restart this process");
    status_code status = store_begin(&self->writer, why);
    if (status != STATUS_OK)
        return status;
    *out = (change){.self = self, .now_ms = embedded_now_ms(self)};
    status = read_meta(out, why);
    if (status == STATUS_OK)
        status = end_dead_leases(out, why);
    if (status != STATUS_OK)
        store_rollback(&self->writer);
    return status;
}

/* Ends the transaction; rolls it back when `status` says that the work in it failed, or when it did nothing.
 */
static status_code write_end(change *self, status_code status, failure *why) {
    embedded_store *file = self->self;
    finish_revision(self);
    if (status == STATUS_OK && !self->dirty) {
        store_rollback(&file->writer);
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = compact_when_due(self, why);
    if (status == STATUS_OK)
        status = write_meta(self, why);
    if (status == STATUS_OK && (status = store_commit(&file->writer, why)) == STATUS_DATA_LOSS) {
        file->broken = true;
        status = fail(why, STATUS_UNAVAILABLE, "UNKNOWN_RESULT",
                      "writing the coordination file failed; whether the change is there is not known");
    }
    if (status != STATUS_OK)
        store_rollback(&file->writer);
    return status;
}

static bool numbers_match(embedded_store *self, const coord_compare *compare, bool found) {
    static const int columns[] = {
        [COORD_VERSION] = 4, [COORD_MOD_REVISION] = 3, [COORD_CREATE_REVISION] = 2, [COORD_VALUE] = 1};
    int column = columns[compare->target];
    if (compare->target == COORD_VALUE)
        return found && bytes_equal(store_column_blob(&self->one, column), compare->value);
    return compare->number == (found ? store_column_int(&self->one, column) : 0);
}

static status_code compares_hold(change *self, const coord_request *request, bool *out, failure *why) {
    bool hold = true;
    for (size_t i = 0; hold && i < request->compare_count; i++) {
        const coord_compare *each = &request->compares[i];
        bool found = false;
        status_code status = read_one(self->self, bytes_of_text(each->key), self->now_ms, &found, why);
        if (status != STATUS_OK)
            return status;
        hold = numbers_match(self->self, each, found);
        store_reset(&self->self->one);
    }
    *out = hold;
    return STATUS_OK;
}

static status_code run_op(change *self, const coord_op *op, failure *why) {
    int64_t ttl_ms = 0;
    if (op->kind == COORD_DELETE)
        return remove_key(self, bytes_of_text(op->key), why);
    status_code status = STATUS_OK;
    if (op->lease != 0)
        status = lease_live(self->self, op->lease, self->now_ms, &ttl_ms, why);
    return status == STATUS_OK ? put_key(self, bytes_of_text(op->key), op->value, op->lease, why) : status;
}

status_code embedded_store_txn(embedded_store *self, const coord_request *request, bool *succeeded,
                               int64_t *revision, failure *why) {
    change work;
    bool hold = false;
    status_code status = write_begin(self, &work, why);
    if (status != STATUS_OK)
        return status;
    status = compares_hold(&work, request, &hold, why);
    for (size_t i = 0; status == STATUS_OK && hold && i < request->op_count; i++)
        status = run_op(&work, &request->ops[i], why);
    status = write_end(&work, status, why);
    if (status != STATUS_OK)
        return status;
    *succeeded = hold;
    *revision = work.revision;
    return STATUS_OK;
}

static int64_t lease_expiry(const change *self, int64_t ttl_ms) {
    return self->now_ms + ttl_ms;
}

status_code embedded_store_grant(embedded_store *self, uint32_t ttl_ms, int64_t *lease, int64_t *revision,
                                 failure *why) {
    change work;
    uint64_t random = 0;
    status_code status = write_begin(self, &work, why);
    if (status != STATUS_OK)
        return status;
    chance_random(self->source, (uint8_t *)&random, sizeof random);
    int64_t id = (int64_t)(random >> 1U) | 1;
    store_bind_int(&self->lease_new, 1, id);
    store_bind_int(&self->lease_new, 2, ttl_ms);
    store_bind_text(&self->lease_new, 3, self->boot);
    store_bind_int(&self->lease_new, 4, lease_expiry(&work, ttl_ms));
    work.dirty = true;
    status = write_end(&work, store_run(&self->lease_new, why), why);
    if (status != STATUS_OK)
        return status;
    *lease = id;
    *revision = work.revision;
    return STATUS_OK;
}

status_code embedded_store_keepalive(embedded_store *self, int64_t lease, int64_t *ttl_ms, int64_t *revision,
                                     failure *why) {
    change work;
    int64_t ttl = 0;
    status_code status = write_begin(self, &work, why);
    if (status != STATUS_OK)
        return status;
    status = lease_live(self, lease, work.now_ms, &ttl, why);
    if (status == STATUS_OK) {
        work.dirty = true;
        store_bind_int(&self->lease_renew, 1, lease_expiry(&work, ttl));
        store_bind_int(&self->lease_renew, 2, lease);
        status = store_run(&self->lease_renew, why);
    }
    status = write_end(&work, status, why);
    if (status != STATUS_OK)
        return status;
    *ttl_ms = ttl;
    *revision = work.revision;
    return STATUS_OK;
}

status_code embedded_store_revoke(embedded_store *self, int64_t lease, int64_t *revision, failure *why) {
    change work;
    int64_t ttl_ms = 0;
    status_code status = write_begin(self, &work, why);
    if (status != STATUS_OK)
        return status;
    status = lease_live(self, lease, work.now_ms, &ttl_ms, why);
    if (status == STATUS_OK)
        status = end_lease(&work, lease, why);
    status = write_end(&work, status, why);
    if (status == STATUS_OK)
        *revision = work.revision;
    return status;
}

status_code embedded_store_expire(embedded_store *self, failure *why) {
    change work = {.self = self, .now_ms = embedded_now_ms(self)};
    bool found = false;
    int64_t lease = 0;
    status_code status = next_dead_lease(&work, &found, &lease, why);
    if (status != STATUS_OK || !found)
        return status;
    status = write_begin(self, &work, why);
    return status == STATUS_OK ? write_end(&work, STATUS_OK, why) : status;
}

status_code embedded_store_compact(embedded_store *self, int64_t revision, failure *why) {
    change work;
    status_code status = write_begin(self, &work, why);
    if (status != STATUS_OK)
        return status;
    if (revision > work.revision)
        status = fail(why, STATUS_OUT_OF_RANGE, "FUTURE_REVISION", "revision %lld is not there yet",
                      (long long)revision);
    else
        status = compact_to(&work, revision, why);
    return write_end(&work, status, why);
}
