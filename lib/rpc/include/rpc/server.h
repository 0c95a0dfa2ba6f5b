/* The gRPC server: event loops (a thread and a completion queue each), a method table, and the life of a
 * call. The only code that sees gRPC is lib/rpc; handlers see messages, a call and a status.
 *
 * Threads: a handler runs on the loop thread of its call and must not block. Work that blocks goes to another
 * thread and answers later: the handler keeps the rpc_call, returns STATUS_PENDING, and someone calls
 * rpc_call_complete exactly once, from any thread. Until then the call's request, response and arena stay
 * valid, even if the client went away. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/metrics.h"
#include "rpc/role.h"

typedef struct rpc_server rpc_server;
typedef struct rpc_loop rpc_loop;
typedef struct rpc_call rpc_call;     /* a unary call */
typedef struct rpc_stream rpc_stream; /* a server-streaming or bidi call */

/* `response` is initialised; fill it with memory from rpc_call_arena. STATUS_OK sends it; an error sends the
 * failure as google.rpc.Status details (ErrorInfo reason, domain "interlock"; BadRequest when field is set;
 * RetryInfo when retry_after_ms is). */
typedef status_code (*rpc_unary_handler)(void *service, rpc_call *call, const ProtobufCMessage *request,
                                         ProtobufCMessage *response, failure *why);

typedef struct rpc_stream_handlers {
    /* The call arrived (for a server stream: together with its one request). Set user data here. An error
     * ends the call; `closed` is then not called. */
    status_code (*open)(void *service, rpc_stream *stream, const ProtobufCMessage *request, failure *why);
    /* Bidi: a message; it and `memory` are valid during the call only. STATUS_PENDING: taken, but send no
     * more until rpc_stream_resume (backpressure). An error ends the stream with it. */
    status_code (*message)(void *service, rpc_stream *stream, const ProtobufCMessage *message, arena *memory,
                           failure *why);
    /* Bidi: the client has sent its last, or has gone (then `closed` follows by itself). NULL: the server
     * finishes with OK once its queue is sent. */
    void (*half_closed)(void *service, rpc_stream *stream);
    /* The call is over, whatever the reason; the last callback. Release user data. */
    void (*closed)(void *service, rpc_stream *stream);
} rpc_stream_handlers;

typedef enum rpc_shape { RPC_SHAPE_UNARY, RPC_SHAPE_SERVER_STREAM, RPC_SHAPE_BIDI } rpc_shape;

typedef struct rpc_method {
    const char *path; /* "/interlock.audit.v1.AuditService/Append" */
    const ProtobufCMessageDescriptor *request, *response;
    rpc_shape shape;
    unsigned roles; /* rpc_role bits; never 0 */
    rpc_unary_handler unary;
    const rpc_stream_handlers *stream;
    size_t request_limit; /* bytes; 0: LIMIT_MESSAGE_BYTES */
} rpc_method;

/* A row without roles does not build: the array type has size -1. */
#define RPC_ROLES_REQUIRED(roles) ((unsigned)(roles) + 0U * (unsigned)sizeof(char[(roles) != 0 ? 1 : -1]))
#define RPC_UNARY(method_path, Request, Response, method_roles, method_handler)                              \
    {                                                                                                        \
        .path = (method_path), .request = &(Request), .response = &(Response), .shape = RPC_SHAPE_UNARY,     \
        .roles = RPC_ROLES_REQUIRED(method_roles), .unary = (method_handler)                                 \
    }
#define RPC_SERVER_STREAM(method_path, Request, Response, method_roles, method_handlers)                     \
    {                                                                                                        \
        .path = (method_path), .request = &(Request), .response = &(Response),                               \
        .shape = RPC_SHAPE_SERVER_STREAM, .roles = RPC_ROLES_REQUIRED(method_roles),                         \
        .stream = (method_handlers)                                                                          \
    }
#define RPC_BIDI(method_path, Request, Response, method_roles, method_handlers)                              \
    {                                                                                                        \
        .path = (method_path), .request = &(Request), .response = &(Response), .shape = RPC_SHAPE_BIDI,      \
        .roles = RPC_ROLES_REQUIRED(method_roles), .stream = (method_handlers)                               \
    }

typedef struct rpc_server_options {
    const char *unix_path;   /* NULL: none. The socket is made with mode 0660. */
    const char *tcp_address; /* "127.0.0.1:7443", port 0 lets the system choose; NULL: none. Always mTLS. */
    const char *tls_certificate_path, *tls_key_path, *tls_authority_path; /* PEM; required with tcp_address */
    const char *trust_domain;   /* the installation's name, in SPIFFE ids */
    const int64_t *peer_uids;   /* besides the server's own uid; */
    const unsigned *peer_roles; /* … and the roles that each may take */
    size_t peer_count;
    unsigned own_uid_roles; /* roles that the server's own uid may take */
    unsigned loops;         /* 0: one per core, at most 8 */
    unsigned slots;         /* pre-posted calls per method and loop; 0: 64 */
    unsigned calls_limit;   /* calls in flight per loop beyond which RESOURCE_EXHAUSTED; 0: 1024 */
    uint32_t drain_ms;      /* grace for calls in flight at shutdown; 0: 5000 */
} rpc_server_options;

/* Listens and serves `methods` (rows must outlive the server), besides health v1 and reflection v1 and
 * v1alpha, which every server has. `service` is passed to every handler. Health says NOT_SERVING until
 * rpc_server_set_serving. */
status_code rpc_server_start(rpc_server **out, const rpc_server_options *options, const rpc_method *methods,
                             size_t count, void *service, failure *why) MUST_USE;
void rpc_server_set_serving(rpc_server *self, bool serving);
uint16_t rpc_server_port(const rpc_server *self); /* of tcp_address; 0 without */
unsigned rpc_server_loops(const rpc_server *self);
rpc_loop *rpc_server_loop(rpc_server *self, unsigned index);
/* The loop that runs the current thread, or NULL. */
rpc_loop *rpc_loop_current(void);
/* Index of a loop in its server, for per-loop state. */
unsigned rpc_loop_index(const rpc_loop *self);
/* Runs `task` on the loop's thread, soon; from any thread. At most 65536 wait: RESOURCE_EXHAUSTED, task not
 * taken. */
status_code rpc_loop_post(rpc_loop *self, void (*task)(void *context), void *context) MUST_USE;
/* The same on the loop's own thread, and cheaper: once no other event is waiting, at the latest after a few
 * dozen of them, so that what they all add to goes out together. UNAVAILABLE when the loop closes. */
status_code rpc_loop_later(rpc_loop *self, void (*task)(void *context), void *context) MUST_USE;
/* Runs `task` on the loop's thread after delay_ms. Not cancellable: let the task look whether it is still
 * wanted. At most 65536 wait; what is not due when the loop ends is dropped without running. */
status_code rpc_loop_after(rpc_loop *self, uint32_t delay_ms, void (*task)(void *context),
                           void *context) MUST_USE;

/* NOT_SERVING -> no new calls -> unary calls in flight finish within drain_ms -> streams are finished with
 * UNAVAILABLE (reason SHUTTING_DOWN) after what is queued -> the rest is cancelled -> joined.
 * Blocking; not from a loop thread. rpc_server_free follows. */
void rpc_server_stop(rpc_server *self);
void rpc_server_free(rpc_server *self); /* takes NULL; stops first if need be */

/* Appends Prometheus text: interlock_rpc_started_total, _handled_total{code}, _in_flight, _seconds,
 * _shed_total. */
void rpc_server_write_metrics(const rpc_server *self, buffer *out);

/* ---- a unary call ---- */
arena *rpc_call_arena(rpc_call *self);
const rpc_peer *rpc_call_peer(const rpc_call *self);
uint64_t rpc_call_deadline_boot_ns(const rpc_call *self); /* UINT64_MAX: none */
bool rpc_call_cancelled(const rpc_call *self);            /* the client went away; any thread */
const char *rpc_call_traceparent(const rpc_call *self);   /* "" when absent or malformed */
rpc_loop *rpc_call_loop(const rpc_call *self);
const ProtobufCMessage *rpc_call_request(const rpc_call *self);
ProtobufCMessage *rpc_call_response(rpc_call *self);
/* Ends a call whose handler returned STATUS_PENDING: with its response (code OK) or with the failure. Any
 * thread, once. */
void rpc_call_complete(rpc_call *self, status_code code, const failure *why);

/* ---- a stream ---- */
const rpc_peer *rpc_stream_peer(const rpc_stream *self);
rpc_loop *rpc_stream_loop(const rpc_stream *self);
void rpc_stream_set_user(rpc_stream *self, void *user);
void *rpc_stream_user(const rpc_stream *self);
/* Packs and queues a message; any thread that holds a reference. At most 1024 messages or 16 MiB wait:
 * RESOURCE_EXHAUSTED, nothing queued; CANCELLED when the stream is over. */
status_code rpc_stream_send(rpc_stream *self, const ProtobufCMessage *message) MUST_USE;
size_t rpc_stream_queued(const rpc_stream *self);
void rpc_stream_resume(rpc_stream *self);
void rpc_stream_finish(rpc_stream *self, status_code code, const failure *why); /* after what is queued */
/* The loop holds a reference until `closed`; any other thread takes its own. */
void rpc_stream_ref(rpc_stream *self);
void rpc_stream_unref(rpc_stream *self);

#endif
