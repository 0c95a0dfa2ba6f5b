/* Operations and pods of services, numbered: what spans carry instead of text. An operation is the name of a
 * span at a service (GET /cart); numbers are never given twice and are the same after a restart. Bounded: a
 * service has at most OPERATIONS_NODE_MAX operations and PODS_NODE_MAX pods, all that is beyond is its
 * operation OPERATIONS_OTHER (one a service) and pod 0: ten million distinct names make one more entry. */
#ifndef GRAPH_OPERATIONS_H
#define GRAPH_OPERATIONS_H

#include <stddef.h>

#include "base/bytes.h"

#define OPERATIONS_MAX 262144U
#define OPERATIONS_NODE_MAX 256U
#define OPERATIONS_TEXT_BYTES 160U /* longer names are cut */
#define OPERATIONS_OTHER "other"
#define PODS_MAX 131072U
#define PODS_NODE_MAX 2048U
#define POD_NONE 0U
#define OPERATION_NONE 0U

typedef struct operations operations;

typedef struct operation_info {
    uint32_t node; /* of the traffic model */
    const char *text;
} operation_info;

/* `seed` keeps names from being chosen so that they collide. */
status_code operations_create(operations **out, uint64_t seed, failure *why) MUST_USE;
void operations_free(operations *self); /* takes NULL */

/* Numbers are 1 … count - 1; never OPERATION_NONE while there is memory for one "other" a service. */
uint32_t operations_named(operations *self, uint32_t node, bytes text);
uint32_t operations_count(const operations *self);
operation_info operations_at(const operations *self, uint32_t operation);

/* POD_NONE for an empty text or beyond the bound. */
uint32_t operations_pod_named(operations *self, uint32_t node, bytes text);
uint32_t operations_pod_count(const operations *self); /* numbers are 1 … count - 1 */
operation_info operations_pod_at(const operations *self, uint32_t pod);

typedef struct operations_totals {
    uint64_t folded;      /* spans whose operation is counted as "other" */
    uint64_t pods_folded; /* spans and points whose pod is not kept */
} operations_totals;
const operations_totals *operations_totals_of(const operations *self);

/* ---- For the store: rows in order of their number, which only grow ---- */
bool operations_restore(operations *self, uint32_t node, const char *text) MUST_USE;
bool operations_pod_restore(operations *self, uint32_t node, const char *text) MUST_USE;
/* Numbers below these are stored. */
uint32_t operations_stored(const operations *self);
uint32_t operations_pods_stored(const operations *self);
void operations_mark_stored(operations *self);

#endif
