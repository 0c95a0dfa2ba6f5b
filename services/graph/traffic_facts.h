/* What the traffic model learns, stated to the history as facts of the origin "otlp". */
#ifndef GRAPH_TRAFFIC_FACTS_H
#define GRAPH_TRAFFIC_FACTS_H

#include "history.h"
#include "model.h"

/* Everything that became visible, or whose provenance changed, since the model was last stored. What the
 * history has no room for, it counts. Stating it again changes nothing. */
status_code traffic_facts_state(const model *from, history *into, int64_t now_ms, failure *why) MUST_USE;

#endif
