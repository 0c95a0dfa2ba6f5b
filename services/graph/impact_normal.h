/* What is normal at each node, as far as slowness needs it: latencies from the flows of its operations, and
 * how much the series of its metrics drift. Worked out for all nodes together, at most so often that it costs
 * a small part of the time, and kept until then. Any thread. */
#ifndef GRAPH_IMPACT_NORMAL_H
#define GRAPH_IMPACT_NORMAL_H

#include "base/chance.h"
#include "impact.h"
#include "telemetry.h"

typedef struct normals normals;

/* `from` and `traffic` must outlive it. */
status_code normals_create(normals **out, telemetry *from, const model *traffic, const chance *source,
                           failure *why) MUST_USE;
void normals_free(normals *self); /* takes NULL */

/* Works them out anew when they are old. Without memory what was known stays. */
void normals_refresh(normals *self);
/* For impact_question. */
impact_normal normals_for_questions(normals *self);

/* ---- Of the series of one node; inside the read lock ---- */

typedef struct series_normal {
    double p90_ms, mean_ms; /* 0: no such series */
    double requests;        /* a level, in whatever the series counts them by */
    double drift;           /* of its latencies; below 0: no series, or too short */
} series_normal;
series_normal series_normal_of(const signals *from, const char *node);

/* That one value is at least half larger than another one, both drawn evenly from these; weights may differ.
 */
typedef struct weighted_level {
    double level, weight;
} weighted_level;
double levels_drift(weighted_level *levels, size_t count); /* sorts them */

#endif
