/* etcd's JSON gateway (v3): building requests, reading answers. Pure; no connection. 64-bit numbers are
 * strings in it, keys and values base64, and a field that is zero or false is absent. */
#ifndef COORD_ETCD_WIRE_H
#define COORD_ETCD_WIRE_H

#include "internal.h"

#define ETCD_REQUEST_BYTES (8U << 20)
#define ETCD_ANSWER_BYTES (96U << 20)
#define ETCD_LINE_BYTES (16U << 20) /* one message of a watch */

void etcd_wire_range(buffer *out, bytes start, bytes end);
/* The transaction, on condition that `operation` (a key) does not exist, which it makes, with a lease; else
 * it is read. So a transaction that is sent twice happens once, and the second answer tells what became of
 * the first. */
void etcd_wire_txn(buffer *out, const coord_request *request, bytes operation, int64_t operation_lease);
/* Makes the operation's key itself, unless it exists: then the transaction can never happen any more. */
void etcd_wire_fence(buffer *out, bytes operation, int64_t operation_lease);
void etcd_wire_grant(buffer *out, uint32_t ttl_s);
void etcd_wire_lease(buffer *out, int64_t lease);                        /* of a keepalive or revoke */
void etcd_wire_watch(buffer *out, bytes start, bytes end, int64_t from); /* from 0: now */
/* One key, for its answer's sake alone: reads through the leader, so that a cut-off member does not pass. */
void etcd_wire_probe(buffer *out, bytes key);

typedef struct etcd_answer {
    int64_t revision;
    bool succeeded;
    coord_kv *kvs; /* of a range, or of the read in a transaction */
    size_t count;
    bool more; /* than were asked for */
    int64_t lease, ttl_s;
} etcd_answer;

/* Keys and values go into the arena. INTERNAL (BAD_ANSWER) when it is not what etcd says. */
status_code etcd_wire_answer(bytes json, arena *memory, etcd_answer *out, failure *why) MUST_USE;
/* The status in an error answer, as a failure; *definite when the request cannot have had, and will not have,
 * an effect. */
status_code etcd_wire_error(int http_status, bytes json, bool *definite, failure *why);

typedef struct etcd_watch_answer {
    int64_t revision;
    bool created, cancelled;
    bool fragment; /* the revision of the last event may go on in the next answer */
    int64_t compact_revision;
    coord_event *events;
    size_t count;
} etcd_watch_answer;

status_code etcd_wire_watch_answer(bytes line, arena *memory, etcd_watch_answer *out, failure *why) MUST_USE;

#endif
