/* An asynchronous HTTP client (libcurl multi) on one thread of its own. Every request has a deadline and a
 * bound; streams (watch) deliver as they come. Used by lib/coord for etcd's JSON gateway and by the cli. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/bytes.h"

typedef struct http_client http_client;
typedef struct http_request http_request;

typedef struct http_exchange {
    const char *url;
    bytes body;          /* copied; empty: GET, else POST application/json */
    uint32_t timeout_ms; /* of the whole exchange; 0: none (a stream) */
    uint32_t silence_ms; /* a stream that says nothing for so long is over; 0: none */
    size_t limit; /* bytes of the answer that are kept (a whole) or passed on (a stream) at once; 0: 1 MiB */
    /* NULL: the answer is collected. Else called with each piece of a 2xx answer (another's is collected);
     * return false to end the stream. */
    bool (*piece)(void *context, bytes data);
    /* Exactly once, last. `http_status` is 0 when there was no whole answer; `why` (else NULL) says so:
     * UNAVAILABLE (NOT_CONNECTED: nothing was sent; CONNECTION_LOST), DEADLINE_EXCEEDED (TIMED_OUT, SILENT),
     * RESOURCE_EXHAUSTED (ANSWER_TOO_LARGE), CANCELLED. On the client's thread: must not block, must not stop
     * it. */
    void (*done)(void *context, int http_status, bytes answer, const failure *why);
    void *context;
} http_exchange;

status_code http_client_start(http_client **out, failure *why) MUST_USE;
void http_client_stop(http_client *self); /* takes NULL; open requests end with CANCELLED */
/* From any thread. At most 256 at once: RESOURCE_EXHAUSTED. *request may be NULL when no cancelling is
 * wanted. */
status_code http_client_send(http_client *self, const http_exchange *exchange, http_request **request,
                             failure *why) MUST_USE;
/* `done` follows with CANCELLED. A request that is over already is left alone. */
void http_client_cancel(http_client *self, http_request *request);

#endif
