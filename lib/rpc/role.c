/* Roles by name, and the role and principal that a SPIFFE id stands for. Pure. */
#include "rpc/role.h"

#include <stdio.h>
#include <string.h>

#include "identity.h"

static const struct {
    rpc_role role;
    const char *name;
} roles[] = {
    {ROLE_AGENT, "agent"},       {ROLE_EXECUTOR, "executor"}, {ROLE_APPROVER, "approver"},
    {ROLE_OPERATOR, "operator"}, {ROLE_AUDITOR, "auditor"},   {ROLE_TELEMETRY, "telemetry"},
    {ROLE_SERVICE, "service"},
};
#define ROLE_COUNT (sizeof roles / sizeof *roles)

rpc_role rpc_role_parse(const char *name) {
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (strcmp(roles[i].name, name) == 0)
            return roles[i].role;
    return ROLE_NONE;
}

const char *rpc_role_name(rpc_role role) {
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return role == ROLE_ANYONE ? "anyone" : "none";
}

rpc_role role_parse_sized(const char *name, size_t size) {
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (strlen(roles[i].name) == size && memcmp(roles[i].name, name, size) == 0)
            return roles[i].role;
    return ROLE_NONE;
}

/* A path segment of a SPIFFE id: letters, digits, '.', '-', '_', and neither "." nor "..". */
static bool segment_valid(const char *text, size_t size) {
    if (size == 0 || (size == 1 && text[0] == '.') || (size == 2 && text[0] == '.' && text[1] == '.'))
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                  c == '-' || c == '_';
        if (!ok)
            return false;
    }
    return true;
}

bool identity_from_spiffe(const char *id, size_t size, const char *trust_domain, rpc_peer *out) {
    static const char scheme[] = "spiffe://";
    size_t scheme_size = sizeof scheme - 1;
    size_t domain_size = strlen(trust_domain);
    size_t prefix = scheme_size + domain_size + 1;
    if (domain_size == 0 || size >= sizeof out->spiffe_id || size <= prefix ||
        memchr(id, '\0', size) != NULL || memcmp(id, scheme, scheme_size) != 0 ||
        memcmp(id + scheme_size, trust_domain, domain_size) != 0 || id[prefix - 1] != '/')
        return false;
    const char *path = id + prefix;
    size_t path_size = size - prefix;
    const char *slash = memchr(path, '/', path_size);
    if (slash == NULL || !segment_valid(slash + 1, path_size - (size_t)(slash - path) - 1))
        return false;
    rpc_role role = role_parse_sized(path, (size_t)(slash - path));
    if (role == ROLE_NONE)
        return false;
    rpc_peer peer = {.role = role, .uid = -1};
    memcpy(peer.principal, path, path_size);
    memcpy(peer.spiffe_id, id, size);
    *out = peer;
    return true;
}

static bool lower_hex(const char *text, size_t size, bool *zero) {
    *zero = true;
    for (size_t i = 0; i < size; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
        if (text[i] != '0')
            *zero = false;
    }
    return true;
}

bool traceparent_valid(const char *text, size_t size) {
    bool version_zero, trace_zero, parent_zero, flags_zero;
    if (size != TRACEPARENT_SIZE || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    return lower_hex(text, 2, &version_zero) && version_zero && lower_hex(text + 3, 32, &trace_zero) &&
           !trace_zero && lower_hex(text + 36, 16, &parent_zero) && !parent_zero &&
           lower_hex(text + 53, 2, &flags_zero);
}
