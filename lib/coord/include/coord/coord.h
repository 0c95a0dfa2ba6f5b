/* Coordination: configuration, control data, membership. The only code that sees etcd. Two backends behind
 * one interface and one conformance suite: etcd (its JSON gateway) and the embedded twin (SQLite on one
 * machine, the default). Everything is asynchronous with a deadline; callbacks run on coord's own thread and
 * must not block (only when 2,048 requests are open, or memory is, is a refusal called back on the caller's
 * thread). Thread-safe. No handle crosses a fork.
 *
 * Everything is kept under the prefix; keys that begin with "~" there are coord's own, and refused. Semantics
 * are etcd's: one revision per transaction, versions per key, leases, watches that resume from a
 * revision. Reads are linearizable. A transaction that timed out is *unknown*: coord reads back a random
 * operation id that it keeps beside the values and answers with what really happened, or UNAVAILABLE (reason
 * UNKNOWN_RESULT) when it cannot tell. */
#ifndef COORD_COORD_H
#define COORD_COORD_H

#include "base/bytes.h"
#include "base/chance.h"

#define COORD_KEY_BYTES 256U
#define COORD_VALUE_BYTES (1U << 20)
#define COORD_TXN_OPS 16U
#define COORD_RANGE_MAX 10000U

typedef struct coord coord;

typedef struct coord_options {
    const char *embedded_path; /* the twin's database file; or: */
    const char *endpoints;     /* "http://127.0.0.1:2379,http://…": etcd, tried in turn */
    const char *prefix;        /* put before every key: "interlock/<installation>/"; NULL: "interlock/" */
    const chance *source;      /* thread-safe, as the system's is; NULL: the system's */
} coord_options;

status_code coord_open(coord **out, const coord_options *options, failure *why) MUST_USE;
/* Takes NULL; open requests end with CANCELLED, then no callback comes. Watches that were not stopped end
 * with it. Not from a callback. */
void coord_close(coord *self);

typedef struct coord_kv {
    const char *key; /* without the prefix */
    bytes value;
    int64_t create_revision, mod_revision;
    int64_t version; /* 1 on creation; 0: absent */
    int64_t lease;
} coord_kv;

/* Values are valid during the callback. */
typedef struct coord_result {
    status_code code;
    const failure *why; /* when code is not OK */
    int64_t revision;   /* of the store */
    const coord_kv *kvs;
    size_t count;
    bool succeeded; /* of a transaction: the compares held */
    int64_t lease;  /* of a grant */
    int64_t ttl_ms; /* of a grant or keepalive */
} coord_result;
typedef void (*coord_done)(void *context, const coord_result *result);

/* A single key (prefix false) or all that start with it (sorted by key, at most COORD_RANGE_MAX; more:
 * RESOURCE_EXHAUSTED). */
void coord_get(coord *self, const char *key, bool prefix, uint32_t timeout_ms, coord_done done,
               void *context);

typedef enum coord_compare_target {
    COORD_VERSION,
    COORD_MOD_REVISION,
    COORD_CREATE_REVISION,
    COORD_VALUE
} coord_compare_target;
typedef struct coord_compare { /* equality */
    const char *key;
    coord_compare_target target;
    int64_t number;
    bytes value;
} coord_compare;
typedef enum coord_op_kind { COORD_PUT, COORD_DELETE } coord_op_kind;
typedef struct coord_op {
    coord_op_kind kind;
    const char *key;
    bytes value;
    int64_t lease; /* 0: none */
} coord_op;

/* All compares hold -> all ops, in one revision; else nothing (succeeded = false, code OK). At least one op.
 */
void coord_txn(coord *self, const coord_compare *compares, size_t compare_count, const coord_op *ops,
               size_t op_count, uint32_t timeout_ms, coord_done done, void *context);

/* ttl_ms >= 2000 (etcd rounds up to seconds). For membership, never for safety. Keepalive of a dead lease:
 * NOT_FOUND. */
void coord_lease_grant(coord *self, uint32_t ttl_ms, uint32_t timeout_ms, coord_done done, void *context);
void coord_lease_keepalive(coord *self, int64_t lease, uint32_t timeout_ms, coord_done done, void *context);
void coord_lease_revoke(coord *self, int64_t lease, uint32_t timeout_ms, coord_done done, void *context);

typedef struct coord_event {
    bool deleted;
    coord_kv kv;
} coord_event;
typedef struct coord_watch coord_watch;
/* Every change of keys that start with `prefix` from `from_revision` on (0: from some moment after the call),
 * in order, each once; resumes over broken connections by itself. `compacted` true: the revision is gone;
 * read the range again and start a new watch. A revision's events come in one call; `revision` is the last
 * one they cover. At most 64 watches. */
typedef void (*coord_watched)(void *context, const coord_event *events, size_t count, int64_t revision,
                              bool compacted);
status_code coord_watch_start(coord *self, const char *prefix, int64_t from_revision, coord_watched watched,
                              void *context, coord_watch **out, failure *why) MUST_USE;
void coord_watch_stop(coord *self,
                      coord_watch *watch); /* no callback after it returns; not from the callback itself */

/* ---- Blocking forms for the cli, tests and start-up; never on an event loop. Results are copied into the
 * arena. */
struct arena;
status_code coord_get_wait(coord *self, const char *key, bool prefix, uint32_t timeout_ms,
                           struct arena *memory, coord_result *out, failure *why) MUST_USE;
status_code coord_txn_wait(coord *self, const coord_compare *compares, size_t compare_count,
                           const coord_op *ops, size_t op_count, uint32_t timeout_ms, bool *succeeded,
                           int64_t *revision, failure *why) MUST_USE;
status_code coord_lease_grant_wait(coord *self, uint32_t ttl_ms, uint32_t timeout_ms, int64_t *lease,
                                   failure *why) MUST_USE;

#endif
