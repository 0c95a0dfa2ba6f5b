/* The graph in memory: nodes, edges and the shapes of requests, kept from single observations (a span each).
 * It keeps structure and counts, not telemetry: of spans and traces it remembers only the most recent, to
 * find parents and to tell which request a call belongs to.
 *
 * Everything that changes the model is an observation, applied in order; the store keeps the recent ones in a
 * journal, so that a restart restores the counts from their tables and what was remembered by applying the
 * journal once more
 * (`restoring`). One owner (the ingest thread); readers use a snapshot. */
#ifndef GRAPH_MODEL_H
#define GRAPH_MODEL_H

#include "base/chance.h"
#include "flows.h"
#include "names.h"
#include "operations.h"
#include "recent.h"
#include "shapes.h"

#define MODEL_NODES_MAX 100000U
#define MODEL_INFERRED_MAX 20000U /* of those: nodes that others name and that never spoke themselves */
#define MODEL_EDGES_MAX 400000U
#define MODEL_SPANS (1U << 18)  /* remembered spans */
#define MODEL_TRACES (1U << 16) /* remembered traces */
#define MODEL_NONE UINT32_MAX
/* How long a trace may wait for its entry, and a client's span for the server's, before that is taken as
 * absent. */
#define MODEL_SETTLE_MS 15000
/* A span that shows that something was true earlier than known corrects the valid time, in steps no finer
 * than this. */
#define MODEL_VALID_SLACK_MS 60000

typedef enum observation_kind {
    OBSERVATION_SPAN,
    OBSERVATION_TRACE_SETTLED, /* the trace has had its time to show an entry whose sampling is known */
    OBSERVATION_PEER_SETTLED,  /* no server's span came for this client's span: the peer that it names is
                                  believed */
} observation_kind;

typedef enum span_kind {
    SPAN_UNSPECIFIED = 0,
    SPAN_INTERNAL = 1,
    SPAN_SERVER = 2,
    SPAN_CLIENT = 3,
    SPAN_PRODUCER = 4,
    SPAN_CONSUMER = 5,
} span_kind;

/* What a span says about the graph. The journal keeps these as they are, so that the layout is fixed. */
typedef struct observation {
    uint8_t trace_id[16];
    uint64_t span_id;   /* never 0 */
    uint64_t parent_id; /* 0: an entry request */
    double weight;      /* requests that this sampled one stands for, >= 1; 0: its sampling is unknown */
    int64_t time_ms;    /* end of the span, milliseconds since 1970 */
    int64_t start_ns;   /* its start, nanoseconds since 1970; 0: not stated */
    uint64_t duration_ns;
    uint32_t node;
    uint32_t peer; /* whom a client's span names, or the queue of a producer's or consumer's; MODEL_NONE */
    uint32_t operation; /* operations.h; OPERATION_NONE */
    uint32_t pod;       /* operations.h; POD_NONE */
    uint8_t kind;       /* observation_kind */
    uint8_t span_kind;
    uint8_t peer_edge; /* edge_kind of what goes to the peer */
    uint8_t failed;    /* status ERROR */
    uint8_t padding[4];
} observation;
_Static_assert(sizeof(observation) == 88, "the journal's records have a fixed size");

typedef struct model_node {
    char *name;
    uint64_t name_hash;
    node_kind kind;
    provenance source; /* observed once it spoke itself, inferred before */
    double confidence;
    int64_t valid_from_ms, recorded_from_ms;
    double requests;        /* invocations, weighted */
    double entry_requests;  /* of those from outside, weighted */
    double overflow;        /* entry requests that reached it beyond what shapes could keep, weighted */
    uint64_t spans;         /* seen, not weighted */
    uint64_t unknown_spans; /* of those with unknown sampling */
    uint64_t unattributed;  /* traces that reached it and showed no entry request of known sampling */
    bool visible;           /* it spoke, or an edge goes to it; otherwise a name that somebody mentioned */
    bool dirty;             /* counts differ from the store's */
    bool changed;           /* a new version is due in the store */
    bool stored;
} model_node;

typedef struct model_edge {
    uint32_t from, to;
    edge_kind kind;
    provenance source;
    double confidence;
    int64_t valid_from_ms, recorded_from_ms;
    int64_t last_ms;           /* of the newest call */
    double calls;              /* weighted */
    double requests_with_call; /* requests of the caller that made at least one, weighted */
    uint64_t spans;            /* calls seen, not weighted */
    bool dirty, changed, stored;
} model_edge;

typedef struct model_totals {
    double entry_requests;    /* weighted */
    double entry_squares;     /* sum of the squared weights: how much the sample is worth */
    double overflow;          /* entry requests whose shape could not be kept at all */
    uint64_t entries_unknown; /* entries of unknown sampling, not weighted */
    uint64_t spans, duplicates;
    uint64_t nodes_refused, edges_refused; /* beyond the bounds */
    int64_t as_of_ms;                      /* end of the newest span */
} model_totals;

typedef struct model model;

status_code model_create(model **out, const chance *source, failure *why) MUST_USE;
void model_free(model *self); /* takes NULL */

/* The node of that name, made when it is new; `inferred` when somebody else names it. MODEL_NONE when a bound
 * is reached. The model copies the name. */
uint32_t model_node_named(model *self, const char *name, node_kind kind, bool inferred) MUST_USE;

/* The node of that name; MODEL_NONE when there is none. */
uint32_t model_node_find(const model *self, const char *name) MUST_USE;

/* From now on names go through `resolve` first, which knows other names of nodes. What it returns need not
 * live long. */
void model_set_resolver(model *self, const char *(*resolve)(void *context, const char *name), void *context);

/* Applies one observation, recorded now. */
void model_apply(model *self, const observation *what, int64_t now_ms);

/* Observations that are due because time has passed (clock: boot time), at most `room`; the caller applies
 * and keeps them like any other. Returns how many. */
size_t model_settle(model *self, uint64_t boot_ms, observation *out, size_t room);
/* Boot time at which something will be due; UINT64_MAX when nothing waits. */
uint64_t model_settle_due(const model *self);
/* Boot time that what is applied from now on is counted from. */
void model_set_boot_ms(model *self, uint64_t boot_ms);

/* Read access. Nodes and edges are numbered from 0 and never removed; names live as long as the model. */
uint32_t model_node_count(const model *self);
uint32_t model_edge_count(const model *self);
const model_node *model_node_at(const model *self, uint32_t index);
const model_edge *model_edge_at(const model *self, uint32_t index);
const shapes *model_shapes(const model *self);
const model_totals *model_totals_of(const model *self);
/* What passes over edges and through operations; see flows.h for who may look when. */
flows *model_flows(const model *self);
operations *model_operations(const model *self);
/* For every shape the entry requests in it that ended less than MODEL_SETTLE_MS before now_ms, so that more
 * spans of them may come: adds to recent_by_shape (SHAPES_MAX items) and returns their sum. */
double model_recent_requests(const model *self, int64_t now_ms, double *recent_by_shape);

/* ---- For the store ---- */

/* Rows as they were stored, in order of their index; before any observation. False when they do not fit. */
bool model_restore_node(model *self, const model_node *row) MUST_USE; /* copies the name */
bool model_restore_edge(model *self, const model_edge *row) MUST_USE;
bool model_restore_shape(model *self, const uint32_t *members, uint32_t count, double requests, double reach,
                         double traces) MUST_USE;
void model_restore_totals(model *self, const model_totals *totals);
/* While restoring, observations rebuild what is remembered and leave the counts alone. */
void model_set_restoring(model *self, bool restoring);

/* What differs from the store, by number. After a commit model_mark_stored clears it. */
typedef struct model_changes {
    const uint32_t *nodes, *edges, *shapes;
    size_t node_count, edge_count, shape_count;
} model_changes;
model_changes model_changed(const model *self);
void model_mark_stored(model *self);

#endif
