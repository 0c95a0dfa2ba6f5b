/* What the files of the engine share. Nobody else includes it. */
#ifndef GRAPH_ROOT_CAUSE_INTERNAL_H
#define GRAPH_ROOT_CAUSE_INTERNAL_H

#include "root_cause.h"
#include "root_cause_map.h"

#define NO_INVOCATION UINT32_MAX
#define CLIMB_MAX 200U /* spans or invocations upwards; nothing real is deeper */

/* A feature of an invocation, and how often it has it: kind (2 bits), number (32), count (8). */
typedef uint64_t feature;
typedef enum feature_kind {
    FEATURE_LOCAL,   /* an operation of its own */
    FEATURE_REMOTE,  /* an operation that it calls in another service */
    FEATURE_PATTERN, /* a pattern that it logs */
} feature_kind;
#define FEATURE(kind, number) (((feature)(kind) << 62) | ((feature)(number) << 8))
#define FEATURE_KIND(it) ((feature_kind)((it) >> 62))
#define FEATURE_NUMBER(it) ((uint32_t)((it) >> 8))
#define FEATURE_COUNT(it) ((uint32_t)((it)&0xff))
#define FEATURE_PLAIN(it) ((it) & ~(feature)0xff)

/* One request of one service: the span that entered it with the service's own spans below. */
typedef struct invocation {
    uint32_t trace, operation, service;
    uint32_t entry;                        /* its first span, in the evidence */
    uint32_t caller;                       /* NO_INVOCATION */
    uint32_t first_feature, feature_count; /* in work.features */
    uint32_t first_callee, next_callee;
    uint64_t signature; /* of its local and remote features, without counts */
    int64_t start_us, end_us;
    bool orphan;    /* its caller was never seen: not compared */
    bool window;    /* of the window; otherwise of the normal period */
    bool late;      /* in the late part of the window */
    bool unknown;   /* a signature that the normal period does not have */
    bool altered;   /* unlike any in the normal period, in any way */
    bool new_error; /* it has an error that the normal period does not have */
    bool explained; /* an altered one of another service is below it */
} invocation;

/* How many invocations of a group have a feature at least so often. */
typedef struct cell {
    feature what; /* with the count */
    uint32_t count, late, odd,
        odd_late; /* odd: of those, with an unknown signature (a single one, normally) */
    uint32_t next;
} cell;

typedef struct group {
    uint64_t key;
    uint32_t operation;
    uint32_t count, late;
    uint32_t first_cell;
    bool any_caller;
    uint32_t caller_operation; /* EVIDENCE_NONE: an entry request */
    uint64_t normal_key;       /* of the group in the normal period that it is compared with */
} group;

typedef struct group_table {
    key_map by_key, cell_by_key;
    list groups, cells;
} group_table;

/* A difference of structure that was found. */
typedef struct structure_finding {
    uint32_t service, operation;
    feature what;
    bool unseen; /* not the feature itself: what has it is otherwise unlike anything before */
    double value, effect, bayes;
    uint32_t window_with, window_all, normal_with, normal_all;
    uint32_t caller_operation;
} structure_finding;

typedef struct gap_edge {
    uint32_t from, to;
    double anomaly, shift;
    uint32_t calls, unanswered;
} gap_edge;

typedef struct timing_finding {
    uint32_t service, operation;
    double shift, normal_ms, window_ms;
    uint32_t spans;
} timing_finding;

typedef struct metric_finding {
    uint32_t service, series;
    double value, shift, deviations, before, after;
    int64_t at_ms;
} metric_finding;

typedef struct error_finding {
    uint32_t service, error, traces;
    int64_t at_ms;
} error_finding;

typedef struct flow_finding {
    uint32_t service;
    double share, raw;
    symptom_kind kind;
} flow_finding;

typedef struct work {
    const evidence *from;
    const root_cause_question *question;
    const root_cause_parameters *parameters;
    int64_t late_us;       /* the late part of the window begins … */
    int64_t late_trace_us; /* … and of the traces in it */

    list invocations;  /* invocation */
    list features;     /* feature */
    uint32_t *of_span; /* span -> invocation; NO_INVOCATION: of a trace that is left out */
    uint8_t *period;   /* trace -> 0 left out, 1 normal, 2 window */
    uint32_t normal_traces, window_traces, ambient_traces;
    key_map normal_errors;
    group_table normal, window;

    list structure_findings, gap_edges, timing_findings, metric_findings, error_findings, flow_findings;
    double *score;     /* service -> all together */
    double *channels;  /* service x CLUE_KINDS */
    int64_t *onset_ms; /* service -> first sign; 0 */
    bool flow_used, level_used;
    bool out_of_memory;
} work;

static inline invocation *invocation_at(const work *self, uint32_t index) {
    return list_at(&self->invocations, index);
}
static inline const evidence_span *span_at(const work *self, uint32_t index) {
    return &self->from->spans[index];
}
static inline uint32_t span_service(const work *self, uint32_t index) {
    return self->from->operations[self->from->spans[index].operation].service;
}
static inline double *channel_of(const work *self, uint32_t service, clue_kind kind) {
    return &self->channels[(size_t)service * CLUE_KINDS + kind];
}
/* The earliest sign of a node. */
static inline void onset_note(work *self, uint32_t service, int64_t at_ms) {
    if (at_ms > 0 && (self->onset_ms[service] == 0 || at_ms < self->onset_ms[service]))
        self->onset_ms[service] = at_ms;
}

/* root_cause_traces.c: which traces count, and their invocations. */
void traces_prepare(work *self);
/* root_cause_structure.c: CLUE_STRUCTURE, CLUE_ERROR. */
void structure_compare(work *self);
/* root_cause_timing.c: CLUE_SELF_TIME, CLUE_NETWORK. */
void timing_compare(work *self);
/* root_cause_metrics.c: CLUE_RESOURCE, CLUE_LEVEL. */
void resources_compare(work *self);
void levels_compare(work *self);
/* root_cause_flow.c: CLUE_FLOW. */
void flow_compare(work *self);
/* root_cause_changes.c: CLUE_CHANGE. Number of the change that goes with a node; EVIDENCE_NONE. */
void changes_compare(work *self);
uint32_t change_of(const work *self, uint32_t service);
/* root_cause_chain.c: hops, clues, what speaks against. */
bool hypothesis_explain(const work *self, root_cause_hypothesis *what, arena *memory);

/* Tables of groups (root_cause_structure.c). */
void group_table_init(group_table *self);
void group_table_free(group_table *self);

/* Numbers. Reorders the values. 0 of none. */
double median_of(double *values, size_t count);
double quantile_of(double *values, size_t count, double quantile); /* linear between ranks */

#endif
