/* What model.c (nodes, edges, rows) and model_spans.c (traces, spans, requests) share. Nobody else includes
 * it. */
#ifndef GRAPH_MODEL_INTERNAL_H
#define GRAPH_MODEL_INTERNAL_H

#include "model.h"

#define CELLS_MAX (MODEL_SPANS * 2)

typedef struct number_list {
    uint32_t *items;
    size_t count, room;
} number_list;

/* A trace that is remembered. */
typedef struct trace_entry {
    uint8_t id[16];
    double weight; /* of its entry request; 0 until one of known sampling is seen */
    double reach;  /* the largest weight among its spans */
    int64_t last_ms;
    uint64_t boot_ms; /* when it was first seen … */
    uint64_t made_at; /* … as number of the observation */
    double waiting;   /* weight of a beginning that is no entry request yet */
    uint32_t shape;
    uint32_t root;   /* node of that beginning; MODEL_NONE: none */
    bool served;     /* some service received a request in it */
    bool overflowed; /* it reached nodes that its shape does not hold */
    bool settled;
} trace_entry;

/* A span that is remembered; one that a child names as its parent and that has not come yet is not `seen`. */
typedef struct span_entry {
    uint8_t trace_id[16];
    uint64_t span_id;
    uint64_t parent; /* serial of the span of the same request that this one belongs under; RECENT_NONE: it is
                        the first of its request */
    uint64_t first_waiting; /* serials of children that came before it */
    uint64_t next_waiting;
    uint64_t boot_ms;
    int64_t time_ms;
    double weight;
    uint64_t duration_ns; /* MODEL_NO_DURATION */
    uint32_t node, peer;
    uint32_t operation;
    uint32_t cells; /* of the first span of a request: the edges it has called over */
    uint8_t kind;
    uint8_t peer_edge; /* edge_kind */
    bool failed;
    bool seen;
    bool counted; /* as a request of its node */
    bool remote_child;
    bool peer_settled;
} span_entry;

#define MODEL_NO_DURATION UINT64_MAX

/* One edge that a request has called over. */
typedef struct call_cell {
    double weight;
    double seconds; /* in calls over it */
    uint32_t edge, next;
    uint32_t calls, failures;
} call_cell;

struct model {
    const char *(*resolve)(void *context, const char *name); /* NULL: names are what they are */
    void *resolve_context;
    const chance *source;
    model_node *nodes;
    uint32_t node_count, node_room, inferred_count;
    uint32_t *node_index, node_index_mask;
    model_edge *edges;
    uint32_t edge_count, edge_room;
    uint32_t *edge_index, edge_index_mask;
    shapes shapes;
    flows *flows;
    operations *operations;
    model_totals totals;
    number_list dirty_nodes, dirty_edges, dirty_shapes;

    recent traces;
    trace_entry *trace_entries;
    uint64_t trace_settle_next; /* serial */
    recent spans;
    span_entry *span_entries;
    uint64_t span_settle_next;
    call_cell *cells;
    uint32_t free_cell, cells_used;

    uint64_t seed[2];
    uint64_t applied; /* observations */
    uint64_t boot_ms;
    int64_t now_ms; /* recorded time of what is being applied */
    bool restoring;
};

/* The edge, made when it is new; MODEL_NONE when a bound is reached. */
uint32_t model_edge_between(model *self, uint32_t from, uint32_t to, edge_kind kind, provenance source,
                            double confidence, int64_t time_ms);
/* The node has spoken (observed), or an edge goes to it. */
void model_node_show(model *self, uint32_t node, provenance source, int64_t time_ms);
void model_node_touch(model *self, uint32_t node); /* its counts will be stored */
void model_edge_touch(model *self, uint32_t edge);
void model_shape_touch(model *self, uint32_t shape_id);
/* Adds to a count and never falls below 0; nothing while restoring. */
void model_adjust(const model *self, double *count, double by);

status_code model_spans_create(model *self, failure *why) MUST_USE;
void model_spans_free(model *self);

#endif
