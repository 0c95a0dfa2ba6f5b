/* SQLite as every service uses it: one connection that writes and checkpoints, all others read-only (PROTOCOL
 * §7), WAL, synchronous=FULL. A store belongs to one thread; open one per thread. No abstraction over SQL:
 * queries live in *_store.c as text, this only removes the ceremony. Every wait for a lock is bounded (5 s).
 * No connection crosses a fork. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <sqlite3.h>

#include "base/bytes.h"

typedef enum store_durability {
    STORE_DURABLE,     /* synchronous=FULL: a COMMIT survives power loss */
    STORE_REBUILDABLE, /* synchronous=NORMAL: a projection that its source can rebuild; never corrupt, may
                          lose the tail */
    STORE_SHARED,      /* several processes write: journal_mode=TRUNCATE instead of WAL, synchronous=FULL */
} store_durability;

typedef struct store {
    sqlite3 *database;
    sqlite3_stmt *rollback; /* prepared, so that it works without memory */
    bool read_only;
} store;

/* Opens (creating, mode 0600) and migrates: `schema` is a script that is run once on a new file inside a
 * transaction together with `PRAGMA user_version = version`. An older file is migrated by the scripts in
 * `migrations` (version n -> n+1 at index n-1; NULL when version is 1). A newer file is refused:
 * FAILED_PRECONDITION, reason STORE_TOO_NEW. Network file systems are refused (NETWORK_FILE_SYSTEM). path
 * ":memory:" is for tests. */
status_code store_open(store *self, const char *path, int version, const char *schema,
                       const char *const *migrations, store_durability durability, failure *why) MUST_USE;
/* For other threads of the same process or other processes. */
status_code store_open_reader(store *self, const char *path, failure *why) MUST_USE;
void store_close(store *self); /* takes NULL and zeroed */

status_code store_begin(store *self, failure *why) MUST_USE; /* BEGIN IMMEDIATE (BEGIN for a reader) */
/* RESOURCE_EXHAUSTED (DISK_FULL) or UNAVAILABLE (STORE_BUSY, with STORE_SHARED alone): nothing was committed;
 * call store_rollback and go on. DATA_LOSS on any other failure: the caller must end the process. */
status_code store_commit(store *self, failure *why) MUST_USE;
void store_rollback(store *self);
status_code store_execute(store *self, const char *sql, failure *why) MUST_USE;

/* A prepared statement that is kept. Bind indices start at 1; text and blobs must stay valid until the next
 * reset, which forgets all that was bound. A bind that fails shows in the next step. */
typedef struct store_statement {
    sqlite3_stmt *handle;
    bool bind_failed;
} store_statement;

status_code store_prepare(store *self, store_statement *out, const char *sql, failure *why) MUST_USE;
void store_finalize(store_statement *self); /* takes NULL and zeroed */
void store_bind_int(store_statement *self, int index, int64_t value);
void store_bind_double(store_statement *self, int index, double value);
void store_bind_text(store_statement *self, int index, const char *value); /* NULL binds NULL */
void store_bind_blob(store_statement *self, int index, bytes value);
/* Runs to completion (a statement without rows) and resets. UNAVAILABLE when busy, RESOURCE_EXHAUSTED (reason
 * DISK_FULL) on a full disk, ALREADY_EXISTS on a constraint, INTERNAL otherwise. */
status_code store_run(store_statement *self, failure *why) MUST_USE;
/* The next row: *row is false at the end (and the statement is reset). Columns are valid until the next step
 * or reset. */
status_code store_step(store_statement *self, bool *row, failure *why) MUST_USE;
void store_reset(store_statement *self);
int64_t store_column_int(store_statement *self, int column);
double store_column_double(store_statement *self, int column);
const char *store_column_text(store_statement *self, int column); /* "" for NULL */
bytes store_column_blob(store_statement *self, int column);

#endif
