/* What a failing change on some nodes would hit. Pure: a snapshot in, a message out. How the numbers come
 * about is in docs/graph.md. */
#ifndef GRAPH_IMPACT_H
#define GRAPH_IMPACT_H

#include "base/arena.h"
#include "impact_spread.h"
#include "snapshot.h"

typedef Interlock__Graph__V1__Impact impact_message;
typedef Interlock__Graph__V1__PredictImpactRequest impact_request;
typedef Interlock__Graph__V1__PredictImpactResponse impact_response;

#define IMPACT_AFFECTED_MAX 256U
#define IMPACT_PATH_MAX 64U
#define IMPACT_HOPS_MAX 4096U /* in all paths together: a message of at most 1 MiB */
/* More than this part of what reached a node being uncountable makes its share unknown upwards. */
#define IMPACT_UNATTRIBUTED_MAX 0.05

typedef struct affected_entry {
    double probability, background;
    uint32_t place;
    uint32_t beside; /* of what stands beside a target: its place */
} affected_entry;

/* Working memory that is used again and again; one thread at a time. Zeroed is empty. */
typedef struct impact_scratch {
    impact_spread spread;
    double *joint; /* by node number: weight of the node's traces that a target was in */
    uint32_t *joint_stamps;
    uint32_t *shape_stamps;
    affected_entry *entries;
    float *hits;
    uint32_t node_room, shape_room;
    uint32_t stamp;
} impact_scratch;

void impact_scratch_free(impact_scratch *self);

/* Where questions about slowness learn what is normal. False: nothing is known of the node. Any thread. */
typedef struct impact_normal {
    bool (*latency)(void *context, const snapshot *graph, uint32_t node, propagation_latency *out);
    void *context;
} impact_normal;

typedef struct impact_question {
    const uint32_t
        *targets; /* numbers of the snapshot, at least one, at most LIMIT_TARGETS, no two the same */
    size_t count;
    fault_kind fault;
    uint32_t verb;                    /* propagation_verb_find */
    const propagation_learnt *learnt; /* NULL: the priors */
    const impact_normal *normal;      /* NULL: nothing is known */
} impact_question;

/* Of the nodes together. The message and all it holds are in the arena, except for names, which are the
 * model's. */
status_code impact_ask(const snapshot *graph, const impact_question *question, impact_scratch *scratch,
                       arena *memory, impact_message **out, failure *why) MUST_USE;
/* The same for what fails in any way, by the priors. */
status_code impact_of(const snapshot *graph, const uint32_t *targets, size_t count, impact_scratch *scratch,
                      arena *memory, impact_message **out, failure *why) MUST_USE;

/* Answers a request: names that are malformed or too many are refused, names that the graph has never seen
 * make the impact unknown. */
status_code impact_predict(const snapshot *graph, const impact_request *request,
                           const propagation_learnt *learnt, const impact_normal *normal,
                           impact_scratch *scratch, arena *memory, impact_response *out,
                           failure *why) MUST_USE;

/* Whether the answer needs to know what is normal. */
bool impact_asks_for_slowness(const impact_request *request);

/* Wilson's score interval at 95 % for a share p seen in n requests (E. B. Wilson, 1927): unlike the normal
 * approximation it is right near 0 and 1, where bounds are. */
double wilson_low(double p, double n);
double wilson_high(double p, double n);

#endif
