/* Who calls. Every call acts in exactly one role. */
#ifndef RPC_ROLE_H
#define RPC_ROLE_H

#include <stdint.h>

typedef enum rpc_role {
    ROLE_NONE = 0,
    ROLE_AGENT = 1 << 0,
    ROLE_EXECUTOR = 1 << 1,
    ROLE_APPROVER = 1 << 2,
    ROLE_OPERATOR = 1 << 3,
    ROLE_AUDITOR = 1 << 4,
    ROLE_TELEMETRY = 1 << 5,
    ROLE_SERVICE = 1 << 6,
    ROLE_ANYONE = 1 << 7, /* in a method's row: also callers without a role (health, reflection) */
} rpc_role;

/* The caller of a call:
 * - mTLS: the SPIFFE id in the certificate's URI SAN, spiffe://<installation>/<role>/<name>, gives role and
 * principal
 *   "<role>/<name>"; a certificate of another trust domain has no role.
 * - unix socket: the uid from SO_PEERCRED must be the server's own or listed; the role is the one that the
 * caller states in the metadata key "interlock-role" (and must be among those its uid may take); principal
 * "unix:uid=<uid>".
 * - anything else has no role. */
typedef struct rpc_peer {
    rpc_role role;
    char principal[256]; /* "agent/deployer", "unix:uid=1000", "" */
    char spiffe_id[256]; /* "" without mTLS */
    int64_t uid;         /* -1 without a unix socket */
} rpc_peer;

/* "agent", "executor", "approver", "operator", "auditor", "telemetry", "service"; ROLE_NONE for anything
 * else. */
rpc_role rpc_role_parse(const char *name);
const char *rpc_role_name(rpc_role role);

#endif
