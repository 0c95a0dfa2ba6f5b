/* Who calls: found once per connection, not once per call. */
#ifndef RPC_PEER_H
#define RPC_PEER_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdatomic.h>

#include "rpc/server.h"

#define PEER_DESCRIPTORS_MAX                                                                                 \
    4096U /* connections on unix sockets are refused from this descriptor number on */
#define PEER_UIDS_MAX 64U
#define PEER_ROLE_KINDS 8U  /* seven roles and none */
#define PEER_CACHE_SIZE 64U /* TLS connections remembered per loop */

/* A TLS connection's identity. The held reference keeps the context's address from being given to another
 * connection, so that an address seen again means the same peer. */
typedef struct peer_cache_entry {
    grpc_auth_context *context;
    rpc_peer peer;
} peer_cache_entry;

typedef struct peer_cache {
    peer_cache_entry entries[PEER_CACHE_SIZE];
} peer_cache;

typedef struct peer_uid {
    int64_t uid;
    unsigned roles;
    rpc_peer peers[PEER_ROLE_KINDS];
} peer_uid;

/* Shared by all loops; only `descriptors` changes after the start. */
typedef struct peer_book {
    char trust_domain[256];
    peer_uid uids[PEER_UIDS_MAX];
    size_t uid_count;
    /* uid + 1 of the connection accepted on that descriptor. A call holds its stream, which holds its
     * transport, which closes the descriptor only when the last of them is gone. So while a call of a
     * connection is being looked at, the kernel cannot give its number to another connection. */
    atomic_int_fast64_t descriptors[PEER_DESCRIPTORS_MAX];
} peer_book;

status_code peer_book_fill(peer_book *self, const rpc_server_options *options, failure *why) MUST_USE;

/* What the metadata states; slices are borrowed from the call. */
typedef struct peer_statement {
    const char *role;
    size_t role_size;
    unsigned role_count; /* how often the key came */
} peer_statement;

/* The caller of `call`. `out` is always set (to a peer without a role on failure) and lives as long as the
 * book and `memory`. */
status_code peer_find(const peer_book *book, peer_cache *cache, grpc_call *call, const peer_statement *stated,
                      arena *memory, const rpc_peer **out, failure *why) MUST_USE;

void peer_cache_clear(peer_cache *cache);

/* UNAUTHENTICATED without a role, PERMISSION_DENIED with a wrong one. */
status_code peer_may(const rpc_peer *peer, unsigned roles, const char *path, failure *why) MUST_USE;

#endif
