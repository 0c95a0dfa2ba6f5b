/* Names of nodes: kind:environment/namespace/name, such as service:prod/shop/cart. Pure and thread-safe. */
#ifndef GRAPH_NAMES_H
#define GRAPH_NAMES_H

#include "base/bytes.h"
#include "base/limits.h"
#include "interlock/graph/v1/graph.pb-c.h"

typedef Interlock__Graph__V1__NodeKind node_kind;
typedef Interlock__Graph__V1__EdgeKind edge_kind;
typedef Interlock__Graph__V1__Provenance provenance;

#define NODE_SERVICE INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_SERVICE
#define NODE_ENDPOINT INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_ENDPOINT
#define NODE_QUEUE INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_QUEUE
#define NODE_HOST INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_HOST
#define NODE_JOURNEY INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_JOURNEY
#define NODE_DATASTORE INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_DATASTORE
#define EDGE_AFFECTED INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_AFFECTED
#define EDGE_OWNED_BY INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_OWNED_BY
#define EDGE_IN_ZONE INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_IN_ZONE
#define EDGE_CALLS INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_CALLS
#define EDGE_CONSUMES INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_CONSUMES
#define EDGE_READS INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_READS
#define EDGE_WRITES INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_WRITES
#define EDGE_RUNS_ON INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_RUNS_ON
#define EDGE_DECLARES INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_DECLARES
#define EDGE_PUBLISHES INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_PUBLISHES
#define PROVENANCE_OBSERVED INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_OBSERVED
#define PROVENANCE_INFERRED INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_INFERRED

typedef struct name_parts {
    node_kind kind;
    bytes environment, space, name; /* views into the text, as written (escaped) */
} name_parts;

/* The strict parser. A segment is one or more of A-Z a-z 0-9 . _ - and %XX with upper-case hexadecimal for
 * every other byte, so that a thing has exactly one name. At most LIMIT_NAME_BYTES - 1 bytes in all.
 * INVALID_ARGUMENT, reason BAD_NAME. */
status_code name_parse(const char *text, name_parts *out, failure *why) MUST_USE;

/* Builds a name from parts as a source reports them, escaping what has to be. False when it would be too long
 * or a part is empty; `out` is untouched then. */
bool name_build(node_kind kind, bytes environment, bytes space, bytes name,
                char out[LIMIT_NAME_BYTES]) MUST_USE;

/* "service"; NULL for an unknown kind. */
const char *name_kind_word(node_kind kind);

#endif
