/* What the files of the history share. Nobody else includes it.
 *
 * Time is cut into segments at seals: a segment holds the statements recorded from its start on, and the
 * store holds the state of every timeline at its start (a keyframe). The newest segment, the tail, is in
 * memory (and in the log on disk); the others are on disk alone, in lots of neighbouring timelines. A
 * statement about a time before the start of its segment is late, and stands apart in the store.
 * docs/decisions/0013 says why.
 *
 * Lock: the writer holds it to change what is here, readers to read it, both briefly; the writer reads
 * without it. The file is the caller's connection for the writer, and one of its own for each reader. */
#ifndef GRAPH_HISTORY_INTERNAL_H
#define GRAPH_HISTORY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "history_codec.h"

#define LOT_TIMELINES 64U
#define EDGE_BIT 0x80000000U /* of a timeline's thing: an edge's number, not a node's */

typedef struct node_item {
    const char *name; /* never freed before the end: pictures point to it */
    uint32_t timelines;
    uint32_t aliases; /* first of its list, number + 1 */
    uint8_t kind;
} node_item;

typedef struct edge_item {
    uint32_t from, to;
    uint32_t timelines;
    uint8_t kind;
} edge_item;

typedef struct alias_item {
    const char *name;
    uint32_t node, next;
} alias_item;

/* What one origin says of one thing. */
typedef struct timeline_item {
    int64_t mark_ms; /* the newest point of valid time at which what it says changes; since then `value` */
    int64_t recorded_ms;
    uint32_t value;
    uint32_t thing;
    uint32_t next; /* timeline of the same thing, number + 1 */
    uint32_t last; /* its newest statement in the tail, index + 1 */
    uint16_t origin;
    bool known;
} timeline_item;

typedef struct tail_statement {
    int64_t from_ms, to_ms;
    uint32_t timeline, value;
    uint32_t previous; /* of the same timeline, index + 1 */
    uint32_t group;
} tail_statement;

/* What was committed together. */
typedef struct tail_group {
    uint64_t revision;
    int64_t recorded_ms;
    uint32_t end; /* index of the first statement after it */
} tail_group;

typedef struct segment {
    uint32_t id;
    int64_t start_ms;        /* of recorded time: the keyframe holds what was recorded before */
    uint64_t start_revision; /* revisions up to it are in the segments before */
    uint64_t statements;
    uint32_t folded_nodes, folded_edges; /* bits of kinds: inside of it only the keyframe is left of them */
} segment;

typedef struct folded_segment {
    uint32_t index;
    segment becomes;
} folded_segment;

/* What the seal under way lets go of, for memory to follow once it is stored. */
typedef struct retention {
    uint32_t dropped; /* of the oldest segments */
    uint32_t folded_count;
    folded_segment folded[4];
    uint32_t since_sweep;
    bool sweeps;
} retention;

typedef struct pending_value {
    uint64_t hash;
    uint32_t number;
    uint32_t size;
    uint8_t *body;
} pending_value;

typedef struct cached_value {
    uint64_t hash;
    uint32_t number; /* 0: none */
    uint32_t size;
    uint8_t *body;
} cached_value;

#define VALUE_CACHE 4096U
#define VALUE_CACHE_BYTES 512U /* larger bodies are not kept */

typedef struct hash_index {
    uint32_t *places; /* number + 1; 0 is free */
    uint32_t mask, count;
} hash_index;

struct history_store;

struct history {
    pthread_rwlock_t lock;
    store *connection;
    struct history_store *store;
    char *path; /* NULL: in memory, readers share the connection */
    history_limits limits;
    uint64_t seed; /* of the indexes of names */

    node_item *nodes;
    edge_item *edges;
    alias_item *aliases;
    timeline_item *timelines;
    char **origins;
    uint32_t node_count, edge_count, alias_count, timeline_count, origin_count;
    uint32_t node_room, edge_room, alias_room, timeline_room, origin_room;
    uint32_t nodes_stored, edges_stored, aliases_stored, timelines_stored, origins_stored;
    hash_index node_names, edge_ends; /* names: nodes, and aliases with EDGE_BIT */
    uint32_t *renamed;                /* nodes whose stored name is old */
    uint32_t renamed_count, renamed_room;
    char **retired; /* names that are no longer anybody's, freed at the end */
    uint32_t retired_count, retired_room;

    segment *segments; /* oldest first; the last one is the tail */
    uint32_t segment_count, segment_room;
    tail_statement *tail;
    uint32_t tail_count, tail_room;
    uint32_t tail_stored; /* of the statements, what readers may see */
    tail_group *groups;
    uint32_t group_count, group_room; /* stored ones */
    int64_t told_ms;                  /* when the fact came that is being placed */
    int64_t group_recorded_ms;        /* of the group under way; 0: none yet */
    uint64_t group_revision;          /* of the group that history_put wrote */
    int64_t last_recorded_ms;         /* of what is stored … */
    uint64_t last_revision;           /* … with any statement in it */
    bool sealing; /* history_put has written a seal: the tail starts anew once it is stored */

    uint32_t next_value;
    pending_value *values;
    uint32_t value_count, value_room;
    cached_value cache[VALUE_CACHE];

    retention retain;
    atomic_uint_fast64_t refused, late;
};

/* ---- history_index.c: things and their names ---- */

/* `kind` 0: any. HISTORY_NONE: not known. Through aliases. */
uint32_t index_node_find(const history *self, const char *name);
uint32_t index_edge_find(const history *self, uint32_t from, uint32_t to, int kind);
uint32_t index_origin_find(const history *self, const char *origin);
uint32_t index_timeline_find(const history *self, uint32_t thing, uint32_t origin);
/* The same, made when it is not there; HISTORY_NONE at a bound or without memory. Under the lock. */
uint32_t index_node(history *self, const char *name, int kind);
uint32_t index_edge(history *self, uint32_t from, uint32_t to, int kind);
uint32_t index_origin(history *self, const char *origin);
uint32_t index_timeline(history *self, uint32_t thing, uint32_t origin);
bool index_alias(history *self, const char *name, uint32_t node);
/* Takes over `name`, which must not be anybody's. */
bool index_rename(history *self, uint32_t node, const char *name);
/* The name is nobody's afterwards; its node goes by another that nobody can state. */
bool index_name_take(history *self, uint32_t node);
void index_free(history *self);
uint32_t index_first_timeline(const history *self, uint32_t thing);

/* Doubles an array when full; false without memory. */
bool room_for(void **items, uint32_t count, uint32_t *room, size_t size);

/* ---- history_values.c ---- */

/* The reference to a value, made when it is new. */
status_code value_intern(history *self, const fact *what, uint32_t *ref, failure *why);
void values_stored(history *self);
void values_free(history *self);

/* ---- history_past.c: what a timeline said, from its statements in recorded order. Pure. ---- */

typedef struct piece {
    int64_t from_ms, to_ms, recorded_ms, recorded_to_ms;
    uint32_t value;
} piece;

/* Pieces are what is believed, by valid time; closed ones are what was. */
typedef struct past {
    piece *pieces, *closed;
    uint32_t piece_count, piece_room, closed_count, closed_room;
    bool keep_closed;
    bool failed; /* no memory */
} past;
void past_free(past *self);
void past_add(past *self, const statement *what);
/* Joins what is the same over adjacent valid times, and sorts by recorded, then valid time. Moves all to
 * `closed`. */
void past_finish(past *self);
/* The piece that holds `at_ms`, or the first one after it; piece_count: none. */
uint32_t past_find(const past *self, int64_t at_ms);

/* ---- history_reader.c ---- */

struct history_reader {
    history *of;
    store own; /* of a file */
    struct history_store *store;
    segment *segments; /* as the last read found them, the tail's last */
    uint32_t segment_count, segment_room;
    cached_value cache[VALUE_CACHE]; /* by number; hash is not used */
};

/* What an instant means: which segment to begin with, and the times to compare with. */
typedef struct reading {
    int64_t valid_ms, recorded_ms;
    uint32_t base;     /* index of the segment whose keyframe everything rests on */
    uint32_t tail;     /* index of the tail's segment */
    uint32_t tail_end; /* statements of the tail that are stored */
} reading;

/* Under the lock. OUT_OF_RANGE (COMPACTED) when the instant is not kept. */
status_code reading_begin(history_reader *self, instant at, reading *out, failure *why);
static inline bool reading_holds(const reading *self, const statement *what, int64_t start_ms) {
    return (what->from_ms > start_ms ? what->from_ms : start_ms) <= self->valid_ms &&
           self->valid_ms < what->to_ms && what->recorded_ms <= self->recorded_ms;
}
/* Statements of a segment's records can hold. */
static inline bool reading_reaches(const reading *self, const segment *item) {
    return item->start_ms <= self->valid_ms && item->start_ms <= self->recorded_ms;
}
/* Each late statement of a lot's body; false when the body cannot be. */
typedef void (*late_visitor)(void *context, const statement *what);
bool late_each(bytes body, uint32_t lot, late_visitor visit, void *context);

/* ---- history_timeline.c ---- */

/* Of a timeline, all that is kept: what it said by recorded time. `tail` are its statements in the tail,
 * oldest first; `segments` the sealed ones (without the tail). */
typedef struct timeline_source {
    struct history_store *store;
    const segment *segments; /* oldest first; after the sealed ones stands the tail's */
    uint32_t segment_count;  /* of the sealed ones */
    const statement *tail;
    uint32_t tail_count;
    int64_t recorded_ms; /* nothing that was recorded later */
} timeline_source;
status_code timeline_past(const timeline_source *from, uint32_t timeline, past *out, failure *why);

/* The statements of a timeline in the tail, oldest first, up to index `end`; the caller frees them. */
statement tail_statement_of(const history *self, const tail_statement *item);
bool tail_statements(const history *self, uint32_t timeline, uint32_t end, statement **out, uint32_t *count);

#endif
