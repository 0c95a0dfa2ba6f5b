/* A small HTTP/1.1 server (libmicrohttpd) for /metrics and /healthz. Its threads are its own. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "base/bytes.h"

typedef struct http_server http_server;

/* Fills `body` (at most 4 MiB) and returns the HTTP status. Called on the server's threads, concurrently. */
typedef int (*http_handler)(void *context, buffer *body, const char **content_type);

typedef struct http_route {
    const char *path; /* exact; GET and HEAD */
    http_handler handler;
    void *context;
} http_route;

/* `address` is "127.0.0.1:9464" or "[::1]:0"; port 0 lets the system choose. Routes must outlive the server.
 * At most 64 connections, 10 s of silence. UNAVAILABLE (ADDRESS_IN_USE). */
status_code http_server_start(http_server **out, const char *address, const http_route *routes, size_t count,
                              failure *why) MUST_USE;
uint16_t http_server_port(const http_server *self);
void http_server_stop(http_server *self); /* takes NULL */

#endif
