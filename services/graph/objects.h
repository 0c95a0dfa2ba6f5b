/* Kubernetes objects as changes: workloads become services and their deploys, configmaps configuration,
 * labels owners and zones, network policies zones with what they allow. Pure and thread-safe. */
#ifndef GRAPH_OBJECTS_H
#define GRAPH_OBJECTS_H

#include "change.h"

#define OBJECT_BYTES 1500000U /* what Kubernetes itself lets an object have */

typedef struct object_place {
    const char *environment; /* where the object does not say one; "" is "default" */
    const char *cluster;     /* "" for the only one */
} object_place;

typedef struct object_result {
    change change;       /* when it is not ignored */
    bool ignored;        /* of a kind that the graph makes nothing of */
    bool deleted;        /* it is gone: said by the caller or by the watch event around it */
    bool since_creation; /* all that is known of the time is when it was made, if that */
    char item[200];      /* "Deployment/shop/cart", as far as it could be read; set on failure too */
} object_result;

/* The change is in the arena. `deleted`: the object is gone since now_ms. INVALID_ARGUMENT: BAD_JSON,
 * BAD_OBJECT, BAD_NAME, TOO_LARGE. Never keeps a value of a Secret. */
status_code object_read(bytes json, bool deleted, const object_place *place, int64_t now_ms, arena *memory,
                        object_result *out, failure *why) MUST_USE;

#endif
