/* The graph at one revision, immutable: what readers use while the ingest thread goes on. Counted references;
 * any thread. */
#ifndef GRAPH_SNAPSHOT_H
#define GRAPH_SNAPSHOT_H

#include "flows.h"
#include "impact_graph.h"
#include "model.h"

typedef struct snapshot_node {
    const char *name; /* the model's, which outlives every snapshot */
    node_kind kind;
    provenance source;
    double confidence;
    int64_t valid_from_ms, recorded_from_ms;
    double requests, entry_requests;
    double overflow;
    double traces;       /* entry requests of known sampling that reached it, not weighted */
    double reached;      /* the same, weighted */
    double unattributed; /* traces that reached it without such an entry request, not weighted */
    uint32_t shapes_first, shapes_count;
    bool visible;
    bool stated; /* a dependency names it that no span has shown */
} snapshot_node;

/* A dependency that is known from elsewhere: declared, or inferred. `from` depends on `to`. */
typedef struct snapshot_dependency {
    const char *from, *to; /* kind:environment/namespace/name */
    propagation_class class;
    double share; /* of the requests of `from`, those that pass it; 0: not known, taken as 1 */
    double calls; /* in each of those; 0: not known, taken as 1 */
    double waits; /* part of the calls that `from` waits for */
} snapshot_dependency;

/* The zone or the owner of a node. */
typedef struct snapshot_tie {
    const char *node, *to; /* names */
    bool owner;            /* otherwise a zone */
} snapshot_tie;

/* A node that an incident affected. */
typedef struct snapshot_affected {
    const char *incident, *node; /* names; the same incident stands together */
} snapshot_affected;

/* The same in a snapshot. */
typedef struct snapshot_bond {
    uint32_t node, to; /* `to` is a place in stated_names */
    bool owner;
} snapshot_bond;

/* What a snapshot is made from besides the traffic model; zeroed is nothing. */
typedef struct snapshot_sources {
    const flows *flows;
    const snapshot_dependency *dependencies;
    size_t dependency_count;
    const snapshot_tie *ties;
    size_t tie_count;
    const snapshot_affected *affected;
    size_t affected_count;
} snapshot_sources;

typedef struct snapshot_edge {
    uint32_t from, to;
    edge_kind kind;
    provenance source;
    double confidence;
    int64_t valid_from_ms, recorded_from_ms;
    double calls, requests_with_call, rate_per_second;
} snapshot_edge;

typedef struct snapshot_shape {
    double requests, reach; /* as in shape */
    double recent;          /* of the requests, those that may not have shown all they reach */
    uint32_t members_first, members_count;
} snapshot_shape;

typedef struct snapshot {
    uint64_t revision;
    int64_t as_of_ms;
    model_totals totals;
    double entry_requests, entry_squares, entry_recent, overflow;
    uint32_t node_count, edge_count, shape_count;
    uint32_t model_count; /* nodes from there on are only stated */
    snapshot_node *nodes; /* numbered as in the model */
    snapshot_edge *edges;
    snapshot_shape *shapes;
    uint32_t *members;     /* of shapes: node numbers */
    uint32_t *node_shapes; /* grouped by node: shape numbers */
    uint32_t *name_index, name_index_mask;
    impact_graph *impact;      /* numbers are those of `nodes` */
    propagation_learnt learnt; /* from incidents */
    char *stated_names;        /* of nodes beyond model_count, and of zones and owners, one after the other */
    snapshot_bond *bonds;      /* by node */
    size_t bond_count;
    unsigned references;
} snapshot;

/* With one reference. */
status_code snapshot_create(snapshot **out, const model *from, uint64_t revision, int64_t now_ms,
                            failure *why) MUST_USE;
/* With what is known from elsewhere. On the ingest thread. */
status_code snapshot_create_with(snapshot **out, const model *from, const snapshot_sources *sources,
                                 uint64_t revision, int64_t now_ms, failure *why) MUST_USE;
snapshot *snapshot_reference(snapshot *self);
void snapshot_release(snapshot *self); /* takes NULL */

/* The visible or stated node of that name; MODEL_NONE when there is none. */
uint32_t snapshot_find(const snapshot *self, const char *name);

#endif
