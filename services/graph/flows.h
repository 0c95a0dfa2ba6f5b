/* Flows: what passes over an edge and through an operation, in time buckets: how many, how many failed, how
 * long they took (a sketch), and how much of the caller's time. A flow belongs to an edge of the traffic
 * model or to an operation of a service. Fine buckets of a minute fold into quarters of an hour and those
 * into hours. All counts can be taken back, because spans come in any order: what is counted is always that
 * of all spans seen so far.
 *
 * Same locking as signals.h. Edge and operation numbers are the model's (model.h, operations.h). */
#ifndef GRAPH_FLOWS_H
#define GRAPH_FLOWS_H

#include "sketch.h"

#define FLOWS_MAX 65536U /* of edges and of operations, each */
#define FLOWS_LEVELS 3U
#define FLOWS_FINE_MS 60000
#define FLOWS_MIDDLE_MS 900000
#define FLOWS_COARSE_MS 3600000
#define FLOWS_NONE UINT32_MAX

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
/* Since the beginning; all zeros when there is none. */
flow_counts flows_edge_totals(const flows *self, uint32_t edge);
flow_counts flows_operation_totals(const flows *self, uint32_t operation);

#endif
