/* The whole graph at one instant of both times, read from the history: what each node and edge is, merged
 * over its origins, and questions about it. A picture is a copy and belongs to whoever made it; names live as
 * long as the history. */
#ifndef GRAPH_PICTURE_H
#define GRAPH_PICTURE_H

#include "history.h"

typedef struct picture_node {
    const char *name;
    int64_t valid_from_ms, recorded_from_ms;
    uint32_t value;  /* for history_read_value; 0: only an edge names it, nobody states it */
    uint32_t number; /* in the history; the same in every picture */
    uint16_t origin;
    uint8_t kind;
} picture_node;

typedef struct picture_edge {
    int64_t valid_from_ms, recorded_from_ms;
    uint32_t from, to; /* index in nodes */
    uint32_t value;
    uint32_t number;
    uint16_t origin;
    uint8_t kind;
} picture_edge;

typedef struct picture {
    history *of;
    instant at;
    uint64_t revision; /* the newest one that is in it */
    uint32_t folded_nodes,
        folded_edges; /* bits of kinds whose state is known only as of the last seal before */
    picture_node *nodes;
    picture_edge *edges;
    uint32_t node_count, edge_count;
    uint32_t *places; /* by number in the history: index in nodes + 1 */
    uint32_t place_count;
    /* By picture_link: edges that begin and end at each node. */
    uint32_t *out_first, *out, *in_first, *in;
} picture;

/* OUT_OF_RANGE (COMPACTED) as in history.h. */
status_code picture_make(history_reader *from, instant at, picture *out, failure *why) MUST_USE;
void picture_free(picture *self); /* takes zeroed */
const char *picture_origin(const picture *self, uint16_t origin);

/* Index of the node of that name or alias; HISTORY_NONE when it is not in the picture. */
uint32_t picture_find(const picture *self, const char *name);

/* Must come before the questions below. */
status_code picture_link(picture *self, failure *why) MUST_USE;

typedef enum picture_direction { PICTURE_OUT = 1, PICTURE_IN = 2, PICTURE_BOTH = 3 } picture_direction;
#define PICTURE_ALL_KINDS UINT32_MAX /* a bit an edge kind */

/* Edges at a node, in the order of the other end's name; at most `room`. Returns how many there are. */
uint32_t picture_neighbors(const picture *self, uint32_t node, picture_direction direction, uint32_t kinds,
                           uint32_t *edges, uint32_t room);

#define PATH_EDGES_MAX 16U
#define PATHS_MAX 256U
#define PATH_STEPS_MAX 1000000U /* looked at; then the answer is cut off */
typedef struct picture_path {
    uint32_t edges[PATH_EDGES_MAX];
    uint32_t edge_count;
} picture_path;

/* Paths that pass no node twice, shortest first, along edges of these kinds; *more: there may be others. */
status_code picture_paths(const picture *self, uint32_t from, uint32_t to, uint32_t kinds, uint32_t longest,
                          uint32_t most, picture_path *out, uint32_t *count, bool *more,
                          failure *why) MUST_USE;

#endif
