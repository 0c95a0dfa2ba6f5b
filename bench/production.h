/* A generated production of any size, the same for the same seed: services on levels, calls and queues
 * between them, and what changes while it runs.
 *
 * The form follows published analyses of microservices: entry services 13 %, middle 48 %, leaves 39 %, with
 * long-tailed numbers of callers and callees (G. Winchester et al., "Complexity at Scale", 2025, Alibaba's
 * 2022 traces of 67,760 microservices: table 1); call graphs like shallow, wide trees of heavy-tailed size
 * with few services shared by most (S. Luo et al., "Characterizing Microservice Dependency and Performance",
 * SoCC 2021); a topology in constant change (D. Huye et al., "Lifting the veil on Meta's microservice
 * architecture", USENIX ATC 2023). No path that follows the levels is longer than PRODUCTION_LEVELS; a few
 * edges lead back up and make cycles. */
#ifndef BENCH_PRODUCTION_H
#define BENCH_PRODUCTION_H

#include <stdbool.h>
#include <stdint.h>

#define PRODUCTION_LEVELS 5U
#define PRODUCTION_BACK_EDGES 0.005 /* lead to a level above or the same */
#define PRODUCTION_ASYNCHRONOUS 0.1 /* go through a queue */
#define PRODUCTION_LATE 0.01        /* changes that are told late */

typedef struct production_edge {
    uint32_t from, to;
    float share; /* of the caller's requests that make the call */
    bool asynchronous;
} production_edge;

typedef struct production {
    uint32_t service_count, edge_count;
    uint8_t *levels;        /* of services; 0: receives requests from outside */
    uint32_t *first;        /* of services: where their edges begin, and one more for the end */
    production_edge *edges; /* grouped by caller */
    bool *gone;             /* of edges, as changes come and go */
    uint64_t state;         /* of the dice */
    int64_t now_ms;
} production;

typedef enum production_what {
    PRODUCTION_EDGE_STATED, /* it is there, with other attributes than before */
    PRODUCTION_EDGE_GONE,
    PRODUCTION_SERVICE_STATED,
} production_what;

/* Something that has changed, and the attribute that shows it: `value` is one of about a thousand, now and
 * then (of services: always) one that never was before. */
typedef struct production_change {
    production_what what;
    uint32_t number; /* of the edge or the service */
    uint64_t value;
    int64_t valid_ms;    /* when it was so … */
    int64_t recorded_ms; /* … and when it is told: later, seldom much later */
} production_change;

/* With `edges` about as many as asked for, at most services * (services - 1) / 4. The clock begins at
 * start_ms. False without memory. production_free lets go of it. */
bool production_make(production *out, uint32_t services, uint32_t edges, uint64_t seed, int64_t start_ms);
void production_free(production *self);

/* The next change, `step_ms` after the one before in the mean. */
production_change production_next(production *self, double step_ms);

/* service:prod/NAMESPACE/NAME; room for 64 bytes. */
void production_name(uint32_t service, char out[64]);

/* Evenly drawn, below `below`; in [0, 1). */
uint32_t production_draw(production *self, uint32_t below);
double production_chance(production *self);

#endif
