/* What impact spreads over: every dependency of the graph, called side first, in one compact immutable piece.
 *
 * Nodes are kept in an order in which what is called comes before who calls it, so that one walk over it
 * settles everything but cycles. Sixteen bytes an edge: a whole production fits into a processor's cache. */
#ifndef GRAPH_IMPACT_GRAPH_H
#define GRAPH_IMPACT_GRAPH_H

#include "base/status.h"
#include "propagation.h"

#define IMPACT_NONE UINT32_MAX

/* What is known of a node; numbers are the caller's. */
typedef struct impact_node {
    double entry;     /* its part of all entry requests, 0 to 1 */
    double self_part; /* of the time of its requests, what it does not spend in calls */
    bool opaque;      /* known from others alone, and never seen to call anything */
} impact_node;

/* `from` depends on `to`: a failure of `to` may hit `from`. */
typedef struct impact_edge {
    uint32_t from, to;
    propagation_class class;
    double share;    /* of the requests of `from`, those that pass the edge; 1 where that is not known */
    double calls;    /* in each of those, in the mean; 0: not known, taken as 1 */
    double waits;    /* part of the calls that `from` waits for, 0 to 1 */
    double fallback; /* part of the failed calls after which the request of `from` did not fail */
    double delay_ms; /* that a call takes; 0: not known */
} impact_edge;

typedef struct impact_caller {
    uint32_t from; /* place in the order */
    float share;
    float calls; /* per request of the caller, waited for */
    uint8_t class;
    uint8_t kept; /* of IMPACT_LEVELS: what fallbacks leave of a failure */
    uint16_t salt;
} impact_caller;
_Static_assert(sizeof(impact_caller) == 16, "the walk is as fast as edges are small");

#define IMPACT_LEVELS 32U

typedef struct impact_graph {
    uint32_t node_count, edge_count;
    uint32_t *place;  /* by number */
    uint32_t *number; /* by place */
    uint32_t *first;  /* by place, and one more: its callers */
    impact_caller *callers;
    uint32_t *called;        /* of callers: the place that the edge leads to */
    float *delays_ms;        /* of callers; 0: not known */
    impact_node *nodes;      /* by place */
    uint32_t *first_opaque;  /* by place, and one more: opaque nodes that it calls */
    uint32_t *opaque_places; /* … their places */
} impact_graph;

/* Edges of a node to itself are left out. Edges in an order of their own give the same graph. */
status_code impact_graph_create(impact_graph **out, const impact_node *nodes, uint32_t node_count,
                                const impact_edge *edges, uint32_t edge_count, failure *why) MUST_USE;
void impact_graph_free(impact_graph *self); /* takes NULL */
/* The place that an edge leads to from its caller. */
uint32_t impact_graph_called(const impact_graph *self, uint32_t edge);
size_t impact_graph_bytes(const impact_graph *self);

#endif
