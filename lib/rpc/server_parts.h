/* What the files of the server share: the server, its loops, and the slots in which calls arrive. */
#ifndef RPC_SERVER_PARTS_H
#define RPC_SERVER_PARTS_H

#include <grpc/support/time.h>

#include "health.h"
#include "library.h"
#include "listener.h"
#include "loop.h"
#include "meter.h"
#include "peer.h"
#include "reflection.h"

#define SERVER_LOOPS_MAX 8U
#define SERVER_METHODS_MAX 256U
#define STREAM_SLOTS 16U
#define GENERIC_SLOTS 16U
#define SHED_RETRY_MS 100U
#define REPLY_BYTES_MAX (64U << 20)

typedef struct server_loop server_loop;

/* A row of the table with what it needs at run time. */
typedef struct server_method {
    rpc_method row;
    void *registered; /* gRPC's handle */
    void *service;
    bool internal; /* health, reflection: still answered when calls are shed */
    size_t request_limit;
} server_method;

/* A method on one loop: the calls posted for it and its counts. `method` is NULL for unknown methods. */
typedef struct method_slots {
    const server_method *method;
    server_loop *home;
    unsigned posted, target;
    meter meter;
} method_slots;

struct server_loop {
    rpc_loop loop; /* first: an rpc_loop of a server is its server_loop */
    rpc_server *server;
    method_slots *slots; /* method_count, and one more for unknown methods */
    rpc_call *idle_calls;
    rpc_stream *streams;             /* open ones */
    atomic_uint calls, streams_open; /* in flight; written by the loop's thread alone */
    bool refilling;                  /* false once the server stops */
    peer_cache peers;
    health_watch *watches;
    rpc_mail end_streams;
};

struct rpc_server {
    grpc_server *server;
    rpc_server_options options;
    server_method methods[SERVER_METHODS_MAX];
    size_t method_count;
    server_loop *loops;
    unsigned loop_count, loops_open;
    listener *listener;
    peer_book book;
    uint16_t port;
    bool started, stopped, abandoned;
    atomic_bool serving;
    atomic_uint deferred; /* pending calls that nobody has completed yet */
    rpc_event ended;
    atomic_bool gone; /* gRPC has nothing of ours any more */
    descriptor_index *descriptors;
};

static inline void loop_count(atomic_uint *count, int more) {
    unsigned now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + (unsigned)more, memory_order_relaxed);
}
static inline unsigned loop_in_flight(const server_loop *self) {
    return atomic_load_explicit(&self->calls, memory_order_relaxed) +
           atomic_load_explicit(&self->streams_open, memory_order_relaxed);
}

/* Posts until `target` calls wait. Loop thread, or before the loop runs. */
void slots_fill(method_slots *self);

/* Each posts one call; false without memory. */
bool call_post(method_slots *slots);
bool stream_post(method_slots *slots);
bool generic_post(method_slots *slots);

void call_free(rpc_call *self);
rpc_call *call_pop(rpc_call *first); /* frees it, returns the next idle one */

/* Load, deadline, role: everything that can refuse a call before its message is looked at. */
status_code call_admit(method_slots *slots, grpc_call *call, const grpc_metadata_array *metadata,
                       gpr_timespec deadline, arena *memory, const rpc_peer **peer, char traceparent[56],
                       failure *why) MUST_USE;

/* Fills operations[0..] with the end of a call: status, details. The slices must be released after the batch
 * has started. */
typedef struct call_ending {
    grpc_metadata trailer;
    grpc_slice message, detail;
    bool failed;
} call_ending;
void ending_fill(call_ending *self, grpc_op *operation, status_code code, const failure *why);
void ending_release(call_ending *self);

void stream_end_all(server_loop *self); /* asks every open stream to end: the server stops */

#endif
