/* The client side: channels, asynchronous calls on an event loop, and blocking calls for the cli and tests.
 * Retries: none here but gRPC's reconnect; a caller that knows a method to be idempotent retries itself. */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include "rpc/server.h"

typedef struct rpc_channel rpc_channel;
typedef struct rpc_client_stream rpc_client_stream;

typedef struct rpc_channel_options {
    const char *target; /* "unix:/path" or "127.0.0.1:7443" */
    rpc_role role;      /* stated on unix sockets */
    const char *tls_certificate_path, *tls_key_path, *tls_authority_path; /* for TCP */
    const char *tls_server_name;                                          /* NULL: from the target */
} rpc_channel_options;

/* Connects lazily and reconnects by itself (backoff 100 ms to 2 s). Thread-safe. */
status_code rpc_channel_open(rpc_channel **out, const rpc_channel_options *options, failure *why) MUST_USE;
void rpc_channel_close(rpc_channel *self); /* takes NULL; calls in flight end with CANCELLED first */

/* A loop of its own, for clients without a server. */
status_code rpc_loop_start(rpc_loop **out, failure *why) MUST_USE;
/* The same beside a server: it leaves the polling to the server's loops, so that it does not take its turn
 * at it for each of their events; what arrives for it is seen up to 20 ms later. Tasks and timers are not. */
status_code rpc_loop_start_aside(rpc_loop **out, failure *why) MUST_USE;
void rpc_loop_stop(rpc_loop *self); /* takes NULL */

/* On the loop's thread, exactly once. `response` (NULL unless OK) is valid during the call. */
typedef void (*rpc_done)(void *context, status_code code, const ProtobufCMessage *response,
                         const failure *why);

/* Any thread. The deadline is a must: timeout_ms > 0. traceparent may be NULL. */
status_code rpc_unary_start(rpc_loop *loop, rpc_channel *channel, const char *path,
                            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                            uint32_t timeout_ms, const char *traceparent, rpc_done done, void *context,
                            failure *why) MUST_USE;

typedef struct rpc_client_stream_handlers {
    /* `message` and its memory are valid during the call. */
    void (*message)(void *context, const ProtobufCMessage *message);
    /* The stream is over: the last callback; the handle is invalid afterwards. */
    void (*closed)(void *context, status_code code, const failure *why);
} rpc_client_stream_handlers;

/* Bidi, or a server stream (send one message, then half-close). Callbacks on the loop's thread; the other
 * functions from any thread, never after `closed` has begun. Waits for the connection (fails when it cannot
 * be made). */
status_code rpc_client_stream_open(rpc_loop *loop, rpc_channel *channel, const char *path,
                                   const ProtobufCMessageDescriptor *response,
                                   const rpc_client_stream_handlers *handlers, void *context,
                                   rpc_client_stream **out, failure *why) MUST_USE;
/* Bounds as rpc_stream_send. */
status_code rpc_client_stream_send(rpc_client_stream *self, const ProtobufCMessage *message) MUST_USE;
/* Messages queued and not yet handed to the transport; while it is not 0, a caller that can batch should. */
size_t rpc_client_stream_queued(const rpc_client_stream *self);
void rpc_client_stream_half_close(rpc_client_stream *self);
void rpc_client_stream_cancel(rpc_client_stream *self); /* `closed` follows */

/* Blocking, never on a loop thread. The response is in the arena. */
status_code rpc_call_wait(rpc_channel *channel, const char *path, const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *response, uint32_t timeout_ms, arena *memory,
                          ProtobufCMessage **out, failure *why) MUST_USE;

/* A blocking server stream: `each` for every message until it returns false, the stream ends or timeout_ms
 * passes (0: no limit). OK when the server ended with OK or `each` returned false. */
status_code rpc_stream_wait(rpc_channel *channel, const char *path, const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *response, uint32_t timeout_ms,
                            bool (*each)(void *context, const ProtobufCMessage *message), void *context,
                            failure *why) MUST_USE;

#endif
