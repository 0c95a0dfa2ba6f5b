/* Shapes: the sets of nodes that single entry requests reach, each kept once with how many requests had it.
 * Production has few distinct shapes, and from them the share of requests that reach *any* of several nodes
 * is a plain sum: no assumption that calls are independent, right on diamonds, cycles and unions alike. One
 * owner. */
#ifndef GRAPH_SHAPES_H
#define GRAPH_SHAPES_H

#include <stddef.h>

#include "base/status.h"

#define SHAPE_MEMBERS_MAX 256U
#define SHAPES_MAX 32768U
#define SHAPE_EMPTY 0U        /* the shape without members, always there */
#define SHAPE_FULL UINT32_MAX /* no such shape could be made */

typedef struct shape {
    uint64_t hash;
    uint32_t *members; /* ascending */
    uint32_t member_count;
    uint32_t references; /* open traces that have it */
    double requests;     /* entry requests, weighted by the sampling of the entry */
    double reach;        /* the same, weighted by the least sampled span in the trace (>= requests) */
    double traces;       /* not weighted */
    bool used;
    bool stored; /* a row of it is in the store */
    bool dirty;
} shape;

typedef struct shapes {
    shape *items;
    uint32_t *index; /* open addressing: item + 1, 0 is empty */
    uint32_t count;  /* items ever used; those freed again are reused */
    uint32_t free_count;
    uint32_t *free_items;
    uint32_t refused; /* since the last sweep: a full table is not swept for every span */
} shapes;

status_code shapes_init(shapes *self, failure *why) MUST_USE;
void shapes_free(shapes *self); /* takes zeroed */

/* The shape that has `node` besides the members of `from`: `from` itself when it has it already, SHAPE_FULL
 * when a bound is reached. References are the caller's to move. */
uint32_t shapes_with(shapes *self, uint32_t from, uint32_t node) MUST_USE;
bool shape_has(const shape *self, uint32_t node);
/* For loading: the members must ascend. */
uint32_t shapes_restore(shapes *self, const uint32_t *members, uint32_t count) MUST_USE;
/* Lets go of shapes that nobody refers to, that have no requests, and no row in the store. */
void shapes_sweep(shapes *self);

#endif
