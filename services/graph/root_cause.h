/* From a symptom and a window of time to ranked hypotheses: which node is the cause, of what kind, by which
 * chain the symptom came about, how sure that is, and what speaks against it. Pure: the same evidence gives
 * the same answer. docs/root-cause.md explains each kind of evidence.
 *
 * Scores are sums over kinds of evidence, each a shift on a logarithmic scale (a doubling is about 0.7), so
 * that one kind needs no weight against another. */
#ifndef GRAPH_ROOT_CAUSE_H
#define GRAPH_ROOT_CAUSE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "evidence.h"

#define ROOT_CAUSE_HYPOTHESES_MAX 64U
#define ROOT_CAUSE_HOPS_MAX 32U
#define ROOT_CAUSE_WINDOW_MAX_MS 86400000
#define ROOT_CAUSE_CLUES_MAX 12U /* of one hop */

/* One table, each with its reason. docs/root-cause.md has the sweep over them. */
typedef struct root_cause_parameters {
    double guard_s;        /* before the window: neither normal nor the incident's, windows are not exact */
    double time_floor_ms;  /* added before a logarithm of a duration: below it a difference says nothing */
    double time_hinge;     /* log shift of durations that is still ordinary */
    double late;           /* part of the window that counts as the fault at work: faults last to its end */
    double prior;          /* pseudo-count of the beta-binomial: features are mostly always or never there */
    double evidence_least; /* log Bayes factor below which a difference is chance */
    double evidence_full;  /* … at which it counts for 1 - 1/e */
    double correlation;    /* between invocations: they come in bursts, a hundred are not a hundred proofs */
    double sometimes;      /* part that a shift counts for of a feature that was there now and then before */
    uint32_t least;        /* invocations below which a rate is not compared */
    double structure;      /* what a full change of structure counts; log scale: e^3, a twentyfold */
    double callee_share; /* altered invocations that end on one callee, from which the callee is looked at */
    double callee_part;  /* … and what one such caller gives it (two callers or more give all) */
    double metric_floor; /* part of the fleet's largest level, below which a level is as good as nothing */
    double metric_noise; /* deviations at which a metric's shift counts half */
    double metric_fall;  /* what a fall counts of a rise: work that stays away is a symptom more often */
    double recent_s;     /* how far back "just before the window" reaches */
    double metric_level; /* noise that every metric has, as part of its level */
    double flow_other;   /* weight of the kind of symptom that was not the alert's */
    double flow_queue;   /* per asynchronous edge: failure crosses it rarely in time */
    double flow_noise;   /* deviations at which blame counts half */
    double flow;         /* what the whole of the symptom's rise counts */
    double change_before_s; /* a change longer before the onset loses by this time constant */
    double change;          /* what a change just before the onset adds, as part of the node's own evidence */
    double enough;          /* score from which a hypothesis is offered at all */
    double certain;         /* exponent of the scores in the probability */
    double doubt;           /* score that "something that was not seen" has in it */
} root_cause_parameters;
extern const root_cause_parameters root_cause_defaults;

typedef enum cause_kind {
    CAUSE_UNKNOWN,
    CAUSE_DEPLOY,
    CAUSE_CONFIG,
    CAUSE_RESOURCE,
    CAUSE_NETWORK,
    CAUSE_CODE,
    CAUSE_DEPENDENCY,
    CAUSE_SATURATION,
    CAUSE_KINDS,
} cause_kind;

/* The kinds of evidence; each adds to the score of a node. */
typedef enum clue_kind {
    CLUE_RESOURCE,  /* a metric of the node itself moved */
    CLUE_SELF_TIME, /* it takes longer without its callees */
    CLUE_NETWORK,   /* the gap between client and server opened */
    CLUE_STRUCTURE, /* it does something that it did not, or leaves out what it did */
    CLUE_ERROR,     /* errors that were never there */
    CLUE_FLOW,      /* its own part in the symptom's curve */
    CLUE_LEVEL,     /* latency or missing calls that its callees do not explain */
    CLUE_CHANGE,    /* a change came before */
    CLUE_SYMPTOM,   /* it is hit, without being to blame */
    CLUE_KINDS,
} clue_kind;

typedef struct root_cause_clue {
    clue_kind kind;
    double strength;  /* what it adds to the score */
    const char *text; /* in words, in the arena */
    int64_t at_ms;    /* when it began; 0: not known */
} root_cause_clue;

typedef struct root_cause_hop {
    uint32_t service;
    int64_t at_ms; /* when it was first hit; 0: not known */
    root_cause_clue *clues;
    size_t clue_count;
} root_cause_hop;

typedef struct root_cause_hypothesis {
    uint32_t service;
    cause_kind kind;
    double score, probability;
    double channels[CLUE_KINDS];
    uint32_t change;      /* number in the evidence; EVIDENCE_NONE */
    root_cause_hop *hops; /* from the cause to the symptom */
    size_t hop_count;
    const char **against; /* in words */
    size_t against_count;
} root_cause_hypothesis;

typedef enum symptom_kind { SYMPTOM_UNKNOWN, SYMPTOM_LATENCY, SYMPTOM_AVAILABILITY } symptom_kind;

typedef struct root_cause_question {
    uint32_t symptom; /* the node where it shows; EVIDENCE_NONE: what users feel at the front */
    symptom_kind kind;
    int64_t from_ms, to_ms; /* the window */
    int64_t
        normal_from_ms; /* the normal period begins here and ends with the window's begin; 0: all before */
    size_t limit;       /* hypotheses; 0: 10 */
} root_cause_question;

typedef struct root_cause_answer {
    root_cause_hypothesis *hypotheses; /* best first */
    size_t count;
    bool abstained;       /* nothing is anomalous, or too little is known: no hypothesis is offered */
    const char **missing; /* what would help, in words */
    size_t missing_count;
    int64_t onset_ms; /* when the symptom began; 0: not told */
    uint32_t normal_traces, window_traces;
} root_cause_answer;

/* All memory of the answer is in the arena. INVALID_ARGUMENT: BAD_WINDOW, UNKNOWN_SYMPTOM;
 * RESOURCE_EXHAUSTED. */
status_code root_cause_find(const evidence *from, const root_cause_question *question,
                            const root_cause_parameters *parameters, arena *memory, root_cause_answer *out,
                            failure *why) MUST_USE;

const char *cause_kind_word(cause_kind kind);
const char *clue_kind_word(clue_kind kind);

#endif
