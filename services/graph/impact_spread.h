/* From targets up to everything that a failure of theirs may hit. Pure; one thread for each scratch.
 *
 * For every node, in one walk over the order of impact_graph.h (and again over what cycles change):
 *   hit     the part of its requests that is hit: 1 - product over its calls of (1 - share * crosses * hit of
 * the called), everything taken as independent; within  the same without the chance of crossing: the part of
 * its requests that is hit where failure crosses; worlds  in which of IMPACT_WORLDS worlds it is hit at all.
 * A world is one way in which failure may cross the edges: each edge has a fixed pattern with as many ones as
 * its probability says. What hangs on one edge falls together so, no dice are thrown, and the same graph
 * gives the same answer; best    `hit` of the most likely single path; calls   calls to targets that one of
 * its requests waits for, in the mean: a sum over its calls, exact whether or not they are independent
 * (cycles are counted once). `hit` is too high where many paths hang on one uncertain edge, within * worlds
 * where uncertain edges stand side by side: the smaller one is the answer. */
#ifndef GRAPH_IMPACT_SPREAD_H
#define GRAPH_IMPACT_SPREAD_H

#include "impact_graph.h"

#define IMPACT_WORLDS 128U
#define IMPACT_WORLD_WORDS (IMPACT_WORLDS / 64)
#define IMPACT_ROUNDS_MAX 64U

/* What callees write to: small, because the walk is over it. */
typedef struct spread_item {
    float spared, outside; /* products so far: 1 - hit and 1 - within, of what is no target */
    uint64_t best;         /* a float's bits, which are ordered as the float, above the number of the edge:
                              so the better path is the larger number, and no branch has to be guessed */
    uint64_t worlds[IMPACT_WORLD_WORDS];
} spread_item;

/* What callers were told. */
typedef struct spread_sent {
    float hit, within, best;
    uint32_t via; /* number of the edge by which the best path goes on; IMPACT_NONE of a target */
    uint64_t worlds[IMPACT_WORLD_WORDS];
    bool target;
    bool visited;
} spread_sent;

typedef struct impact_spread {
    spread_item *items; /* by place; as new wherever nothing was visited */
    spread_sent *sent;
    float *calls; /* by place; NULL while nobody asked for them */
    uint8_t *due;
    uint32_t *visited; /* places, in no order */
    uint32_t visited_count;
    uint32_t room;         /* places */
    uint32_t edges_walked; /* of the last question */
} impact_spread;

void impact_spread_free(impact_spread *self); /* takes zeroed */

/* Makes room, and forgets what was asked before. False without memory. */
bool impact_spread_begin(impact_spread *self, const impact_graph *graph) MUST_USE;
/* At least one target, no two the same; places. */
void impact_spread_run(impact_spread *self, const impact_graph *graph, const uint32_t *targets, size_t count,
                       const propagation_learnt *learnt, uint32_t verb);
/* Adds up `calls` besides, after impact_spread_run. False without memory. */
bool impact_spread_calls(impact_spread *self, const impact_graph *graph) MUST_USE;

/* The part of the node's requests that is hit; 0 for what was not reached. */
double impact_spread_hit(const impact_spread *self, uint32_t place);
/* The part of the worlds in which it is. */
double impact_spread_worlds(const impact_spread *self, uint32_t place);

/* The entry traffic that is hit, in each world, ascending: `hits` are the parts of the requests of the
 * visited nodes that are hit (by position in `visited`). */
void impact_spread_traffic(const impact_spread *self, const impact_graph *graph, const float *hits,
                           float out[IMPACT_WORLDS]);

#endif
