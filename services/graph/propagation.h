/* How failure and slowness cross an edge: the one table of priors, what was learnt since, and the arithmetic
 * of "noticeably slower". Pure; docs/graph.md shows the table and what it rests on.
 *
 * Everything that depends on judgement rather than on counting stands here, with its reason. */
#ifndef GRAPH_PROPAGATION_H
#define GRAPH_PROPAGATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What goes wrong when a change goes wrong. */
typedef enum fault_kind {
    FAULT_FAILURE,   /* requests fail, or are not answered: the default */
    FAULT_NETWORK,   /* every call takes longer on the wire */
    FAULT_PROCESSOR, /* it computes more slowly: contention, throttling, too few replicas */
    FAULT_SLOW_CODE, /* one of its operations became slow */
    FAULT_KINDS,
} fault_kind;

/* What an edge is, as far as failure is concerned. */
typedef enum propagation_class {
    PROPAGATION_CALL,  /* the caller waits for the answer */
    PROPAGATION_QUEUE, /* something lies between them and keeps what is not taken */
    PROPAGATION_STORE, /* reads and writes */
    PROPAGATION_HOST,  /* runs on */
    PROPAGATION_CLASSES,
} propagation_class;

typedef struct propagation_prior {
    const char *name;
    double crosses; /* that a failure of the called side is one of the caller's request, where no fallback was
                       seen */
    double strength; /* how many observations that is worth against what is learnt */
    double delay_ms; /* until it is felt on the other side, where no latency is known */
    const char *reason;
} propagation_prior;
extern const propagation_prior propagation_priors[PROPAGATION_CLASSES];

/* How large a slowness is, before anybody has seen it. Log-normal around a median. */
typedef struct propagation_slowness {
    const char *name;
    double added_ms;   /* median of what a call takes longer, whatever it does … */
    double added_self; /* … and of what is added for each millisecond of its own work */
    double deviation;  /* of the logarithm */
    double touched;    /* part of the calls that it touches */
    double callers;    /* part of the callers that use what became slow */
    const char *reason;
} propagation_slowness;
extern const propagation_slowness propagation_slownesses[FAULT_KINDS]; /* FAULT_FAILURE: unused */

/* Verbs, and what usually goes wrong with them. The last one is "" and stands for all others. */
typedef struct propagation_verb {
    const char *name;
    fault_kind fault;
    const char *reason;
} propagation_verb;
#define PROPAGATION_VERBS 12U
extern const propagation_verb propagation_verbs[PROPAGATION_VERBS];
uint32_t propagation_verb_find(const char *verb); /* NULL and unknown ones: the last */

/* ---- What was learnt: for each class of edge and verb, how often failure crossed ---- */

typedef struct propagation_count {
    double crossed, stayed;
} propagation_count;

typedef struct propagation_learnt {
    propagation_count counts[PROPAGATION_CLASSES][PROPAGATION_VERBS];
} propagation_learnt;

/* An edge whose called side was hit by a change: was the caller hit as well? `share` is the part of the
 * caller's requests that make the call: a caller that seldom calls and is well says little. */
void propagation_learn(propagation_learnt *self, propagation_class class, uint32_t verb, double share,
                       bool caller_hit);
/* The mean of the posterior Beta distribution. Counts of other verbs count for a verb as far as its own are
 * few. `self` NULL: the prior. */
double propagation_crosses(const propagation_learnt *self, propagation_class class, uint32_t verb);

/* ---- Slowness ---- */

/* What is normal at a node. Zero where it is not known. */
typedef struct propagation_latency {
    float median_ms, p90_ms, mean_ms;
    float deviation; /* of the logarithm of single durations */
    float durations; /* how many that rests on; 0: known from metrics alone */
    float drift;     /* that one quarter of an hour is half slower than another; below 0: not known */
    float self_ms;   /* of a request, without what it waits for */
} propagation_latency;

/* That the node gets noticeably slower (its p90, or its mean, by half or more), when `share` of its requests
 * wait for the slow one and each request for `calls` calls to it in the mean. */
double propagation_slowed(fault_kind fault, double share, double calls, double target_self_ms,
                          const propagation_latency *node);
/* That the node seems noticeably slower in the same time for reasons of its own. */
double propagation_drifts(const propagation_latency *node);
/* That what stands beside the target and was never seen to call anything is its other face (a load balancer,
 * an address) and gets slower with it. */
double propagation_stands_for(fault_kind fault, const propagation_latency *node);

#endif
