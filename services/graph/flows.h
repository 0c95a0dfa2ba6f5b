/* Flows: what passes over an edge and through an operation, in time buckets: how many, how many failed, how
 * long they took (a sketch), and how much of the caller's time. A flow belongs to an edge of the traffic
 * model or to an operation of a service. Fine buckets of a minute fold into quarters of an hour and those
 * into hours. All counts can be taken back, because spans come in any order: what is counted is always that
 * of all spans seen so far.
 *
 * Same locking as signals.h. Edge and operation numbers are the model's (model.h, operations.h). */
#ifndef GRAPH_FLOWS_H
#define GRAPH_FLOWS_H

#include "base/status.h"
#include "sketch.h"

#define FLOWS_MAX 65536U /* of edges and of operations, each */
#define FLOWS_LEVELS 3U
#define FLOWS_FINE_MS 60000
#define FLOWS_MIDDLE_MS 900000
#define FLOWS_COARSE_MS 3600000
#define FLOWS_NONE UINT32_MAX
#define FLOWS_NO_LATENCY UINT64_MAX /* it was not measured */

/* Sums since the beginning or in one bucket; weighted by sampling (spans of unknown sampling count 1). */
typedef struct flow_counts {
    double calls;       /* of an edge: calls; of an operation: requests */
    double failures;    /* of those: status ERROR on either side */
    double seconds;     /* time they took: the client's span where there is one, else the server's */
    double gap_seconds; /* of calls with a client's and a server's span: client - server, never below 0 */
    double gaps;        /* how many of those */
    double
        asynchronous; /* calls through a producer or consumer, or whose callee ends after the caller's span */
    /* Per request of the caller that made at least one call over the edge (0 for operations): */
    double requests;   /* such requests */
    double failed;     /* of those: every call over the edge failed */
    double propagated; /* of the failed: the request failed too */
    double fell_back;  /* of the failed: the request did not fail */
    double retried;    /* requests with a failed call and at least two calls */
    double unknown;    /* of the calls: those whose sampling is unknown, each counted as one */
} flow_counts;

typedef struct flow_point {
    int64_t from_ms, width_ms;
    flow_counts counts;
    const sketch *latency; /* nanoseconds; NULL when nothing was measured */
} flow_point;

typedef struct flows flows;

#define FLOWS_POINTS_MAX 256U

/* Buckets that begin in [from_ms, to_ms), ascending; the newest when there are more than room. `latency` is
 * valid until the read lock is given back. */
size_t flows_of_edge(const flows *self, uint32_t edge, int64_t from_ms, int64_t to_ms, flow_point *out,
                     size_t room);
size_t flows_of_operation(const flows *self, uint32_t operation, int64_t from_ms, int64_t to_ms,
                          flow_point *out, size_t room);
/* Since the beginning; all zeros when there is none. An edge's share of its caller's time is its seconds over
 * those of the caller's operations (flows_node_totals). */
flow_counts flows_edge_totals(const flows *self, uint32_t edge);
flow_counts flows_operation_totals(const flows *self, uint32_t operation);
/* Of all operations of a node: the requests that it served. */
flow_counts flows_node_totals(const flows *self, uint32_t node);

/* Which operations of the caller pass an edge: requests of the operation that made at least one call over it.
 * An operation whose requests (flows_operation_totals) all do depends on the edge; one that is not listed
 * does not. */
typedef struct flow_route {
    uint32_t operation, edge;
    double requests; /* weighted, unknown ones count 1 */
    double seconds;  /* of the operation's time, in calls over the edge */
} flow_route;
#define FLOWS_ROUTES_MAX 262144U
/* The newest first; at most room. */
size_t flows_routes_of_edge(const flows *self, uint32_t edge, flow_route *out, size_t room);

/* ---- Writing: model_spans.c alone ---- */

typedef enum flow_subject { FLOW_EDGE, FLOW_OPERATION } flow_subject;

status_code flows_create(flows **out, failure *why) MUST_USE;
void flows_free(flows *self); /* takes NULL */

/* Adds to the bucket of time_ms and to the totals, or takes back (sign -1) exactly what was added. The
 * latency counts by counts->calls, unless it is 0. */
void flows_count(flows *self, flow_subject subject, uint32_t number, int64_t time_ms,
                 const flow_counts *counts, double sign, uint64_t latency_ns);
/* The same for a node's totals, which have no buckets of their own. */
void flows_count_node(flows *self, uint32_t node, const flow_counts *counts, double sign);
void flows_count_route(flows *self, uint32_t operation, uint32_t edge, double requests, double seconds,
                       double sign);

typedef struct flows_totals {
    uint64_t refused; /* calls and requests of flows beyond FLOWS_MAX, and routes beyond FLOWS_ROUTES_MAX */
    uint64_t late, buckets;
    uint32_t edges, operations, routes;
} flows_totals;
flows_totals flows_totals_of(const flows *self);

/* ---- For the store: flows_store.c ---- */

#define FLOW_COUNT_FIELDS 12U
/* The counts as an array, in the order of the struct. */
static inline double *flow_counts_fields(flow_counts *self) {
    return &self->calls;
}

/* Adds every count, or takes it back (sign -1); none falls below 0. */
void flow_counts_add(flow_counts *into, const flow_counts *from, double sign);

/* What differs from the store. A bucket that is NULL has to be deleted. */
typedef struct flow_change {
    flow_subject subject;
    uint32_t number;
    unsigned level;
    int64_t from_ms;
    const flow_counts *counts; /* NULL: delete */
    const sketch *latency;
} flow_change;
size_t flows_change_count(const flows *self);
flow_change flows_change_at(const flows *self, size_t index);
/* Totals that differ: of edges, operations and nodes, and routes. */
typedef enum flow_totals_subject {
    FLOW_TOTALS_EDGE,
    FLOW_TOTALS_OPERATION,
    FLOW_TOTALS_NODE
} flow_totals_subject;
#define FLOW_TOTALS_SUBJECTS 3U
typedef struct flow_numbers {
    const uint32_t *numbers;
    size_t count;
} flow_numbers;
flow_numbers flows_changed_totals(const flows *self, flow_totals_subject subject);
flow_numbers flows_changed_routes(const flows *self);
flow_route flows_route_at(const flows *self, uint32_t route);
void flows_mark_stored(flows *self);

bool flows_restore_bucket(flows *self, flow_subject subject, uint32_t number, unsigned level, int64_t from_ms,
                          const flow_counts *counts, const sketch_bin *bins, size_t bin_count) MUST_USE;
bool flows_restore_totals(flows *self, flow_totals_subject subject, uint32_t number,
                          const flow_counts *counts) MUST_USE;
bool flows_restore_route(flows *self, const flow_route *row) MUST_USE;

#endif
