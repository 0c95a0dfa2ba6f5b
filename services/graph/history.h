/* Every node and edge of the graph, of all kinds, with two times: when something was true in production
 * (valid), and when the graph knew it (recorded). The one home of versions; docs/graph.md has the model.
 *
 * A node or an edge is known once. Every origin that speaks of it ("otlp", "kubernetes", "declaration:FILE")
 * has a timeline of its own, on which a statement lasts until that origin's next one. What is shown merges
 * the origins: confirmed before declared before observed before inferred. Nothing is overwritten: a statement
 * that arrives late lands where it belongs and closes, in recorded time, what was believed before.
 *
 * One writer, the ingest thread: history_assert and its like, then history_put inside the transaction and
 * history_stored after it. Readers see what is stored; each thread opens a history_reader of its own.
 * Memory holds the nodes, the edges, and what was stated since the last seal; everything older is on disk. */
#ifndef GRAPH_HISTORY_H
#define GRAPH_HISTORY_H

#include "base/arena.h"
#include "base/chance.h"
#include "names.h"
#include "store/store.h"

#define HISTORY_OPEN INT64_MAX /* valid_to: it lasts. Of an instant: now */
#define HISTORY_NONE UINT32_MAX
#define HISTORY_FUTURE_MS LIMIT_CLOCK_SKEW_MS /* how far ahead of its recorded time a fact may begin */
#define HISTORY_NODES_MAX 2000000U
#define HISTORY_EDGES_MAX 8000000U
#define HISTORY_TIMELINES_MAX 12000000U
#define HISTORY_ORIGINS_MAX 4096U /* declarations are one each */
#define HISTORY_ALIASES_MAX 200000U
#define HISTORY_ATTRIBUTES_MAX 64U
#define HISTORY_KEY_BYTES 128U /* of an attribute, with the NUL */
#define HISTORY_ATTRIBUTE_BYTES                                                                              \
    4096U                         /* of an attribute's value, with the NUL; cut what may be cut before       \
                                   */
#define HISTORY_BODY_BYTES 16384U /* of all attributes together */
#define HISTORY_ORIGIN_BYTES 256U

typedef struct history history;

typedef struct attribute {
    const char *key, *value; /* UTF-8 */
} attribute;

/* One origin's statement about one node or edge. */
typedef struct fact {
    bool is_edge;
    int kind;           /* node_kind or edge_kind */
    const char *name;   /* node: its name; edge: where it begins. An alias will do */
    const char *to;     /* edge: where it ends */
    provenance source;  /* observed, declared, inferred or confirmed */
    double confidence;  /* 0 to 1 */
    const char *origin; /* "otlp", "kubernetes", "cloudevents", "declaration:FILE", "chain" … */
    int64_t valid_from_ms;
    int64_t valid_to_ms; /* HISTORY_OPEN: until this origin says otherwise (a statement that it made before
                            about a later time still counts) */
    const attribute *attributes; /* sorted by key, no key twice; NULL and 0 for none */
    size_t attribute_count;
} fact;

/* ---- Writing: the ingest thread alone ---- */

/* The node or edge is as stated, in valid time [valid_from_ms, valid_to_ms). The same statement again makes
 * no new version. Ends of an edge that are not known yet become known by name (and are shown once somebody
 * states them). INVALID_ARGUMENT: BAD_NAME, BAD_FACT (also when kind and name contradict one another), and
 * FROM_THE_FUTURE for what begins or ends later than HISTORY_FUTURE_MS from now. RESOURCE_EXHAUSTED
 * (HISTORY_FULL): a bound above is reached, and counted. On failure nothing has changed. */
status_code history_assert(history *self, const fact *what, int64_t recorded_ms, failure *why) MUST_USE;

/* From valid_to_ms on the origin no longer says it: only is_edge, kind, name, to and origin of the fact are
 * read. A node or edge that was never heard of is taken note of, so that what comes late finds its end. */
status_code history_retract(history *self, const fact *what, int64_t valid_to_ms, int64_t recorded_ms,
                            failure *why) MUST_USE;

/* The node is called `name` from now on, and its names so far are aliases: the node, its edges and its past
 * stay what they are. ALREADY_EXISTS (NAME_TAKEN) while another node of that name is shown; one that is no
 * longer gives its name away. */
status_code history_rename(history *self, const char *node, const char *name, int64_t recorded_ms,
                           failure *why) MUST_USE;
/* `alias` is another name of the node. */
status_code history_alias(history *self, const char *node, const char *alias, int64_t recorded_ms,
                          failure *why) MUST_USE;

/* The name that a node goes by: `name` itself when it is not known as an alias. Valid until the node is
 * renamed. */
const char *history_resolve(history *self, const char *name);

/* The same from any thread: into `out`; false, with `out` untouched, when the name is not another name of a
 * node. */
bool history_resolve_into(history *self, const char *name, char out[LIMIT_NAME_BYTES + 16]);

/* Statements as they stand now (whatever their valid time), those not stored yet included; absent ones left
 * out. `origin` NULL: of all origins. The fact and what it points to live during the call; false ends the
 * walk. The writer's own thread; the history may not be changed meanwhile. */
typedef bool (*history_visitor)(void *context, const fact *what, int64_t recorded_from_ms);
status_code history_each(history *self, const char *origin, history_visitor visit, void *context,
                         failure *why) MUST_USE;
/* The same of one node or edge: `what` names it, and the origin unless that is NULL. */
status_code history_current(history *self, const fact *what, history_visitor visit, void *context,
                            failure *why) MUST_USE;

/* ---- Reading: any thread, each with a reader of its own ---- */

/* A point in both times. HISTORY_OPEN: now, and all that is known by now. */
typedef struct instant {
    int64_t valid_ms, recorded_ms;
} instant;
#define INSTANT_NOW ((instant){HISTORY_OPEN, HISTORY_OPEN})

typedef struct history_reader history_reader;

status_code history_reader_open(history_reader **out, history *of, failure *why) MUST_USE;
void history_reader_close(history_reader *self); /* takes NULL; before the history is closed */

/* One origin's statement over an interval of both times. */
typedef struct version {
    bool present; /* false: known to be absent */
    provenance source;
    double confidence;
    const char *origin;
    int64_t valid_from_ms, valid_to_ms;       /* to: HISTORY_OPEN while it lasts */
    int64_t recorded_from_ms, recorded_to_ms; /* to: HISTORY_OPEN while it is believed */
    const attribute *attributes;
    size_t attribute_count;
} version;

/* A node or an edge and what is said about it; everything is in the arena of the call. */
typedef struct history_item {
    bool is_edge;
    int kind;
    const char *name, *to;
    const char **aliases; /* of a node */
    size_t alias_count;
    version *versions; /* strongest first (read_at), or origin by origin by recorded time (read_past) */
    size_t version_count;
    bool more; /* there are more versions than were asked for */
} history_item;

/* `what` names the node or edge (is_edge, kind, name, to; of a node the name is enough). NOT_FOUND
 * (NOT_KNOWN): never heard of. OUT_OF_RANGE (COMPACTED): the instant lies before what is kept. */

/* What each origin says at that instant; no versions: nothing. */
status_code history_read_at(history_reader *self, const fact *what, instant at, arena *memory,
                            history_item *out, failure *why) MUST_USE;
/* All versions that are kept, from the `skip`th, at most `most`. */
status_code history_read_past(history_reader *self, const fact *what, size_t skip, size_t most, arena *memory,
                              history_item *out, failure *why) MUST_USE;

/* What a value says (of a picture, or of a change): source, confidence and attributes are filled. */
status_code history_read_value(history_reader *self, uint32_t value, arena *memory, version *out,
                               failure *why) MUST_USE;
/* Confirmed before declared before observed before inferred: the larger one is shown. */
unsigned provenance_rank(provenance source);

/* When the newest revision up to that one was recorded. OUT_OF_RANGE (COMPACTED, or FUTURE_REVISION). */
status_code history_read_revision(history_reader *self, uint64_t revision, int64_t *recorded_ms,
                                  failure *why) MUST_USE;
/* Newest stored revision with a statement in it, and when that was recorded. */
uint64_t history_newest(history *self, int64_t *recorded_ms);

/* What was stated after a revision, commit by commit; `what` and what it points to live during the call. */
typedef struct history_change {
    uint64_t revision;
    fact what; /* valid_to_ms is HISTORY_OPEN where the statement lasts; source and attributes are not filled:
                  see `value` */
    uint32_t value; /* for history_read_value; 0: it is not there */
    int64_t recorded_ms;
} history_change;
typedef void (*history_change_visitor)(void *context, const history_change *change);
/* At most `commits` of them. *last is the revision of the last one, or `after` when there was none.
 * OUT_OF_RANGE (COMPACTED) when changes after that revision are no longer kept. */
status_code history_read_changes(history_reader *self, uint64_t after, uint32_t commits,
                                 history_change_visitor visit, void *context, uint64_t *last,
                                 failure *why) MUST_USE;

/* ---- The whole graph at an instant: picture.h ---- */

/* ---- Life and storage: parts.c ---- */

typedef struct history_limits {
    int64_t keep_ms;          /* what ended longer ago than this may go; 0: all is kept */
    int64_t keep_node_ms[32]; /* by kind: from then on only the state at each seal is kept; 0: keep_ms */
    int64_t keep_edge_ms[32];
    int64_t keep_changes_ms; /* how long a watcher may be away */
    uint64_t seal_changes;   /* 0: as many as there are timelines, at least 65,536 */
} history_limits;

/* `path` of the file that `connection` writes to (":memory:": readers share the connection, for tests). */
status_code history_open(history **out, store *connection, const char *path, const history_limits *limits,
                         const chance *source, failure *why) MUST_USE;
void history_close(history *self); /* takes NULL */
/* From the next seal on. Before the writer runs, or by it. */
void history_limit(history *self, const history_limits *limits);
/* Takes over what a file of version 1 knew, with its two times, in a transaction of its own; nothing to do
 * otherwise. */
status_code history_import(history *self, failure *why) MUST_USE;

bool history_changed(const history *self);
/* Writes what is not stored, inside the caller's transaction, as of that revision; history_stored after the
 * commit. After a rollback nothing is lost: the same is written again by the next call. */
status_code history_put(history *self, uint64_t revision, failure *why) MUST_USE;
void history_stored(history *self);

typedef struct history_counts {
    uint64_t nodes, edges, timelines, aliases;
    uint64_t versions; /* statements kept, on disk and in memory */
    uint64_t tail;     /* of those in memory */
    uint64_t segments;
    uint64_t refused;  /* beyond the bounds, since the start */
    uint64_t bytes;    /* of memory */
    uint64_t late;     /* statements about a time before the newest one of their timeline, since the start */
    int64_t oldest_ms; /* nothing before this instant can be asked for; INT64_MIN: all of it can */
} history_counts;
history_counts history_count(history *self); /* any thread */

#endif
