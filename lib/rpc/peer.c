/* Who calls: the SPIFFE id of a TLS connection, or the uid behind a unix socket with the role it states. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grpc/grpc_security_constants.h>
#include <grpc/support/alloc.h>

#include "identity.h"

static unsigned role_index(rpc_role role) {
    return role == ROLE_NONE ? PEER_ROLE_KINDS - 1 : (unsigned)__builtin_ctz((unsigned)role);
}

/* ---- the book ---- */

static void uid_fill(peer_uid *self, int64_t uid, unsigned roles) {
    *self = (peer_uid){.uid = uid, .roles = roles & (ROLE_ANYONE - 1U)};
    for (unsigned i = 0; i < PEER_ROLE_KINDS; i++) {
        rpc_peer *peer = &self->peers[i];
        peer->role = i == PEER_ROLE_KINDS - 1 ? ROLE_NONE : (rpc_role)(1U << i);
        peer->uid = uid;
        snprintf(peer->principal, sizeof peer->principal, "unix:uid=%lld", (long long)uid);
    }
}

static const peer_uid *uid_find(const peer_book *self, int64_t uid) {
    for (size_t i = 0; i < self->uid_count; i++)
        if (self->uids[i].uid == uid)
            return &self->uids[i];
    return NULL;
}

status_code peer_book_fill(peer_book *self, const rpc_server_options *options, failure *why) {
    if (options->peer_count >= PEER_UIDS_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_MANY_PEERS",
                    "%zu peer uids are listed, at most %u are possible; give them a common user",
                    options->peer_count, PEER_UIDS_MAX - 1);
    const char *domain = options->trust_domain != NULL ? options->trust_domain : "";
    if (strlen(domain) >= sizeof self->trust_domain)
        return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_DOMAIN_TOO_LONG",
                    "the trust domain is longer than 255 bytes");
    memcpy(self->trust_domain, domain, strlen(domain) + 1);
    uid_fill(&self->uids[self->uid_count++], (int64_t)geteuid(), options->own_uid_roles);
    for (size_t i = 0; i < options->peer_count; i++) {
        if (uid_find(self, options->peer_uids[i]) != NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "PEER_TWICE",
                        "uid %lld is listed twice (or is the server's own); state its roles once",
                        (long long)options->peer_uids[i]);
        uid_fill(&self->uids[self->uid_count++], options->peer_uids[i], options->peer_roles[i]);
    }
    return STATUS_OK;
}

/* ---- unix sockets ---- */

/* The descriptor in "fd:<n>", or -1: this name is given to a connection by the listener alone. */
static int64_t connection_uid(const peer_book *book, const char *name) {
    if (strncmp(name, "fd:", 3) != 0)
        return -1;
    char *end;
    long descriptor = strtol(name + 3, &end, 10);
    if (*end != '\0' || descriptor < 0 || descriptor >= (long)PEER_DESCRIPTORS_MAX)
        return -1;
    return (int64_t)atomic_load_explicit(&book->descriptors[descriptor], memory_order_acquire) - 1;
}

static status_code find_by_uid(const peer_book *book, int64_t uid, const peer_statement *stated,
                               arena *memory, const rpc_peer **out, failure *why) {
    const peer_uid *known = uid_find(book, uid);
    if (known == NULL) {
        peer_uid stranger;
        uid_fill(&stranger, uid, 0);
        *out = arena_copy(memory, &stranger.peers[PEER_ROLE_KINDS - 1], sizeof(rpc_peer));
        if (*out == NULL)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a caller; try again");
        return fail(why, STATUS_UNAUTHENTICATED, "UID_UNKNOWN",
                    "uid %lld is not known to this server; list it among the peers in its configuration",
                    (long long)uid);
    }
    *out = &known->peers[PEER_ROLE_KINDS - 1];
    if (stated->role_count == 0)
        return fail(
            why, STATUS_UNAUTHENTICATED, "ROLE_MISSING",
            "no role is stated; on a unix socket send the metadata interlock-role: agent, executor, …");
    rpc_role role = role_parse_sized(stated->role, stated->role_size);
    if (stated->role_count > 1 || role == ROLE_NONE)
        return fail(
            why, STATUS_UNAUTHENTICATED, "ROLE_UNKNOWN",
            "the metadata interlock-role must be one of agent, executor, approver, operator, auditor, "
            "telemetry, service, and come once");
    if ((known->roles & (unsigned)role) == 0)
        return fail(why, STATUS_PERMISSION_DENIED, "ROLE_NOT_GRANTED",
                    "uid %lld may not take the role %s; grant it in the server's configuration",
                    (long long)uid, rpc_role_name(role));
    *out = &known->peers[role_index(role)];
    return STATUS_OK;
}

/* ---- TLS ---- */

static void peer_from_context(const char *trust_domain, grpc_auth_context *context, rpc_peer *out) {
    *out = (rpc_peer){.role = ROLE_NONE, .uid = -1};
    if (!grpc_auth_context_peer_is_authenticated(context))
        return;
    /* gRPC sets this property only when the certificate has exactly one URI SAN and it is a SPIFFE id. */
    grpc_auth_property_iterator ids =
        grpc_auth_context_find_properties_by_name(context, GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
    const grpc_auth_property *id = grpc_auth_property_iterator_next(&ids);
    if (id == NULL || grpc_auth_property_iterator_next(&ids) != NULL)
        return;
    if (!identity_from_spiffe(id->value, id->value_length, trust_domain, out) &&
        id->value_length < sizeof out->spiffe_id)
        memcpy(out->spiffe_id, id->value, id->value_length);
}

static status_code find_by_certificate(const peer_book *book, peer_cache *cache, grpc_call *call,
                                       arena *memory, const rpc_peer **out, failure *why) {
    grpc_auth_context *context = grpc_call_auth_context(call);
    if (context == NULL)
        return fail(why, STATUS_UNAUTHENTICATED, "IDENTITY_MISSING", "this connection proves no identity");
    peer_cache_entry *entry = &cache->entries[((uintptr_t)context >> 6) % PEER_CACHE_SIZE];
    if (entry->context != context) {
        if (entry->context != NULL)
            grpc_auth_context_release(entry->context);
        entry->context = context; /* with the reference just taken */
        peer_from_context(book->trust_domain, context, &entry->peer);
    } else {
        grpc_auth_context_release(context);
    }
    /* Copied: a later connection may take the entry while this call is still open. */
    *out = arena_copy(memory, &entry->peer, sizeof entry->peer);
    if (*out == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a caller; try again");
    if (entry->peer.role == ROLE_NONE)
        return fail(
            why, STATUS_UNAUTHENTICATED, "SPIFFE_ID_UNKNOWN",
            "the client certificate carries no SPIFFE id spiffe://%s/<role>/<name>; issue one for this "
            "installation",
            book->trust_domain);
    return STATUS_OK;
}

void peer_cache_clear(peer_cache *cache) {
    for (unsigned i = 0; i < PEER_CACHE_SIZE; i++)
        if (cache->entries[i].context != NULL) {
            grpc_auth_context_release(cache->entries[i].context);
            cache->entries[i].context = NULL;
        }
}

/* ---- both ---- */

status_code peer_find(const peer_book *book, peer_cache *cache, grpc_call *call, const peer_statement *stated,
                      arena *memory, const rpc_peer **out, failure *why) {
    static const rpc_peer nobody = {.role = ROLE_NONE, .uid = -1};
    *out = &nobody;
    char *name = grpc_call_get_peer(call);
    int64_t uid = connection_uid(book, name);
    gpr_free(name);
    if (uid >= 0)
        return find_by_uid(book, uid, stated, memory, out, why);
    return find_by_certificate(book, cache, call, memory, out, why);
}

status_code peer_may(const rpc_peer *peer, unsigned roles, const char *path, failure *why) {
    if (((unsigned)peer->role & roles) != 0 || (roles & ROLE_ANYONE) != 0)
        return STATUS_OK;
    return fail(why, STATUS_PERMISSION_DENIED, "ROLE_NOT_ALLOWED",
                "the role %s may not call %s; call it as one of the roles that its documentation names",
                rpc_role_name(peer->role), path);
}
