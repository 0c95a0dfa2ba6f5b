/* Drift: what people declare and nobody has seen, and what is seen and nobody has declared. Belongs to the
 * ingest thread. */
#ifndef GRAPH_DRIFT_H
#define GRAPH_DRIFT_H

#include "changes.h"

#define DRIFT_LIST_MAX 2000U /* of each list, in an answer */

/* Looks at what can be both declared and seen: services, endpoints, datastores, queues, hosts, and the edges
 * between them. A kind of which nothing is declared is never called undeclared. `scratch` holds a note for
 * each node and edge. */
status_code drift_find(history *past, arena *scratch, arena *memory, drift_response *out,
                       failure *why) MUST_USE;

#endif
