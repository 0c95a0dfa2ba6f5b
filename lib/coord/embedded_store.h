/* All SQL of the embedded twin. Two connections to one file: one that reads and writes, one that only
 * watches. Several processes share the file. Belongs to one thread. */
#ifndef COORD_EMBEDDED_STORE_H
#define COORD_EMBEDDED_STORE_H

#include "internal.h"
#include "store/store.h"

#define EMBEDDED_HISTORY_REVISIONS 10000    /* kept; then compacted */
#define EMBEDDED_HISTORY_BYTES (64LL << 20) /* of values in the history; then the older half is compacted */

typedef struct embedded_store {
    store writer, watcher;
    const chance *source;
    char boot[37];
    bool broken; /* a COMMIT failed in a way that leaves its result unknown */
    int64_t data_version;
    store_statement read_meta, write_meta, range, one, put, remove, remember;
    store_statement lease_live, lease_new, lease_renew, lease_remove, lease_keys, lease_dead;
    store_statement watch_version, watch_meta, watch_history;
} embedded_store;

status_code embedded_store_open(embedded_store *self, const char *path, const chance *source,
                                failure *why) MUST_USE;
void embedded_store_close(embedded_store *self);

/* The clock of leases, and the two first parameters of every statement that asks whether a lease lives. */
int64_t embedded_now_ms(const embedded_store *self);
void embedded_bind_now(embedded_store *self, store_statement *statement, int64_t now_ms);

/* The wait for another process's transaction, until the deadline of the request that runs next. */
void embedded_store_patience(embedded_store *self, uint64_t deadline_ms);

/* `end` empty: the one key. Keys and values are in the arena. */
status_code embedded_store_range(embedded_store *self, bytes start, bytes end, arena *memory, coord_kv **kvs,
                                 size_t *count, int64_t *revision, failure *why) MUST_USE;
status_code embedded_store_txn(embedded_store *self, const coord_request *request, bool *succeeded,
                               int64_t *revision, failure *why) MUST_USE;
status_code embedded_store_grant(embedded_store *self, uint32_t ttl_ms, int64_t *lease, int64_t *revision,
                                 failure *why) MUST_USE;
/* NOT_FOUND when the lease is dead. */
status_code embedded_store_keepalive(embedded_store *self, int64_t lease, int64_t *ttl_ms, int64_t *revision,
                                     failure *why) MUST_USE;
status_code embedded_store_revoke(embedded_store *self, int64_t lease, int64_t *revision,
                                  failure *why) MUST_USE;
/* Deletes what has expired, if anything has. */
status_code embedded_store_expire(embedded_store *self, failure *why) MUST_USE;
/* Forgets the history before `revision`. */
status_code embedded_store_compact(embedded_store *self, int64_t revision, failure *why) MUST_USE;

/* Whether anybody has committed since the last call. */
status_code embedded_store_changed(embedded_store *self, bool *changed, failure *why) MUST_USE;
/* Events of [start, end) from a revision on, whole revisions, as many as fit a bound; *last is the last
 * revision they cover and *more whether there is more. With *compacted, *last is the oldest revision there
 * is. */
status_code embedded_store_history(embedded_store *self, int64_t from, bytes start, bytes end, arena *memory,
                                   coord_event **events, size_t *count, int64_t *last, bool *more,
                                   bool *compacted, failure *why) MUST_USE;

#endif
