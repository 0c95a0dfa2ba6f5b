/* What spans, metrics and logs say beside the traffic, stated to the history as facts: which pods a service
 * runs on, which machines those run on, and which endpoints it serves.
 *
 *     service --runs_on--> pod (a host of its namespace) --runs_on--> machine (a host of the environment)
 *     service --declares--> endpoint (an operation that it serves)
 *
 * A pod that is not heard of for PLACEMENTS_SILENT_MS while others of its service are is taken as gone: what
 * it ran on ends with what was last heard of it. Bounded; the ingest thread's own. */
#ifndef GRAPH_PLACEMENTS_H
#define GRAPH_PLACEMENTS_H

#include "history.h"
#include "model.h"
#include "resource.h"

#define PLACEMENTS_MAX 65536U /* pods; and of a service's, PODS_NODE_MAX */
#define PLACEMENTS_ENDPOINTS_NODE_MAX 64U
#define PLACEMENTS_SILENT_MS 900000

typedef struct placements placements;

status_code placements_create(placements **out, failure *why) MUST_USE;
void placements_free(placements *self); /* takes NULL */

/* A resource has sent something that ended at time_ms. */
void placements_see(placements *self, const resource_identity *from, int64_t time_ms);
/* States what is new and closes what has gone. What the history has no room for, it counts. */
status_code placements_state(placements *self, const model *traffic, history *into, int64_t now_ms,
                             failure *why) MUST_USE;
bool placements_changed(const placements *self);

#endif
