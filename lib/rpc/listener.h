/* The unix socket: we accept ourselves, because gRPC does not tell who connected. */
#ifndef RPC_LISTENER_H
#define RPC_LISTENER_H

#include "peer.h"

typedef struct listener listener;

/* Binds `path` with mode 0660. A socket file that nobody listens on is replaced. */
status_code listener_open(listener **out, const char *path, failure *why) MUST_USE;
/* Starts the thread that hands connections to `server`, writing their uid into `book` first. */
status_code listener_run(listener *self, grpc_server *server, peer_book *book, failure *why) MUST_USE;
/* Joins the thread and removes the socket file. Takes NULL. */
void listener_close(listener *self);

#endif
