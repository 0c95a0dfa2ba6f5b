/* What coord.c and the two backends share. A backend runs on coord's own thread alone; it sees stored keys
 * (with the prefix), which request.c makes and coord.c strips. */
#ifndef COORD_INTERNAL_H
#define COORD_INTERNAL_H

#include <pthread.h>

#include "base/arena.h"
#include "coord/coord.h"

#define COORD_PREFIX_BYTES 128U
#define COORD_RESERVED "~" /* begins, after the prefix, what a backend keeps for itself: nobody sees it */
#define COORD_ANSWER_BYTES (64U << 20) /* of a range: keys, values and their rows */
#define COORD_TXN_BYTES (5U << 18)     /* of all keys and values of a transaction; etcd refuses 1.5 MiB */
#define COORD_LEASE_TTL_MIN_MS 2000U

typedef enum coord_request_kind {
    COORD_REQUEST_REFUSED, /* answered with `why` */
    COORD_REQUEST_GET,
    COORD_REQUEST_TXN,
    COORD_REQUEST_GRANT,
    COORD_REQUEST_KEEPALIVE,
    COORD_REQUEST_REVOKE,
    COORD_REQUEST_WATCH
} coord_request_kind;

typedef struct coord_request {
    struct coord_request *next;
    coord_request_kind kind;
    uint64_t deadline_ms; /* on the source's boot clock */
    coord_done done;
    void *context;
    failure why;
    bytes start, end; /* of a get: end is empty for a single key */
    coord_compare *compares;
    size_t compare_count;
    coord_op *ops;
    size_t op_count;
    int64_t lease;
    uint32_t ttl_ms;
    coord_watch *watch;
    arena memory; /* of everything above */
} coord_request;

/* request.c: what is wrong with the arguments turns the request into a refusal. */
extern const failure coord_no_memory;
bool coord_key_valid(const char *key, bool may_be_empty);
/* The stored form, NUL-terminated one past its size; no data without memory. */
bytes coord_key_stored(arena *memory, const char *prefix, const char *key);
/* The first key after all that start with `start`. */
bytes coord_prefix_end(arena *memory, bytes start);
void coord_request_get(coord_request *self, const char *prefix, const char *key, bool many);
void coord_request_txn(coord_request *self, const char *prefix, const coord_compare *compares,
                       size_t compare_count, const coord_op *ops, size_t op_count);
void coord_request_refuse(coord_request *self, const char *reason, const char *message);
void coord_request_free(coord_request *self);

/* Something to be done on coord's thread; `run` frees it. */
typedef struct coord_task {
    struct coord_task *next;
    void (*run)(struct coord_task *self);
} coord_task;

struct coord_watch {
    coord_watch *next;
    coord_watched watched;
    void *context;
    pthread_mutex_t calling; /* held while `watched` runs */
    bool stopped;            /* under it */
    bool finished;           /* compacted: nothing follows. Like all below: coord's thread */
    bytes start, end;        /* stored keys */
    int64_t next_revision;   /* 0: from now on */
    void *stream;            /* the backend's */
};

typedef struct coord_backend_ops {
    bool (*ready)(void *self);                          /* takes one more request */
    void (*submit)(void *self, coord_request *request); /* ends in coord_request_answer, now or later */
    void (*watch)(void *self, coord_watch *watch);      /* a new one */
    void (*unwatch)(void *self, coord_watch *watch);    /* it is freed next */
    uint32_t (*tick)(void *self); /* does what is due; ms until it wants to be called again */
    void (*close)(void *self);    /* answers all that is open with CANCELLED; frees itself */
} coord_backend_ops;

typedef struct coord_backend {
    const coord_backend_ops *ops;
    void *self;
} coord_backend;

status_code embedded_open(coord_backend *out, coord *owner, const char *path, const chance *source,
                          failure *why) MUST_USE;
/* Forgets the twin's history before `revision`, from outside of any handle. */
status_code embedded_compact(const char *path, int64_t revision, failure *why) MUST_USE;
status_code etcd_open(coord_backend *out, coord *owner, const char *endpoints, const char *prefix,
                      const chance *source, failure *why) MUST_USE;

/* On coord's thread: calls `done` (keys stripped in place) and frees the request. `result->kvs` is writable.
 */
void coord_request_answer(coord *owner, coord_request *request, coord_result *result);
void coord_request_fail(coord *owner, coord_request *request, status_code code, const failure *why);
/* On coord's thread: all events up to `revision`, which is where the next ones start. */
void coord_watch_deliver(coord *owner, coord_watch *watch, coord_event *events, size_t count,
                         int64_t revision, bool compacted);
/* The open watches, for a backend's tick. */
coord_watch *coord_watches(coord *owner);
/* From any thread. */
void coord_post(coord *owner, coord_task *task);
/* On coord's thread, by a backend that closes: runs what was posted meanwhile. */
void coord_run_tasks(coord *owner);

#endif
