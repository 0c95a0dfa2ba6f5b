/* Drawings of graphs: SVG by a layered layout of our own, and DOT for Graphviz. */
#ifndef CLI_DRAWING_H
#define CLI_DRAWING_H

#include "base/arena.h"
#include "base/bytes.h"

#define DRAWING_NODES_MAX 400U
#define DRAWING_EDGES_MAX 2000U

typedef struct drawing_node {
    const char *name; /* kind:environment/namespace/name */
    const char *note; /* one more line of its tooltip; may be NULL */
    bool strong;      /* drawn bold: where traffic enters */
} drawing_node;

typedef struct drawing_edge {
    size_t from, to;   /* places in the nodes */
    const char *kind;  /* "calls" */
    const char *label; /* may be NULL */
    bool weak;         /* dashed: inferred */
} drawing_edge;

typedef struct drawing {
    drawing_node *nodes;
    size_t node_count;
    drawing_edge *edges;
    size_t edge_count;
} drawing;

/* Left to right: each node in the column behind whatever leads to it, cycles broken, columns ordered so that
 * few edges cross. RESOURCE_EXHAUSTED (TOO_MANY_TO_DRAW) beyond the bounds above. Deterministic. */
status_code drawing_svg(const drawing *self, arena *memory, buffer *out, failure *why) MUST_USE;
void drawing_dot(const drawing *self, buffer *out);

#endif
