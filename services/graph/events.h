/* CloudEvents of deploys, configuration, flags, incidents and alerts, as changes. docs/graph.md has the types
 * and what their data says. Pure and thread-safe. */
#ifndef GRAPH_EVENTS_H
#define GRAPH_EVENTS_H

#include "change.h"
#include "cloudevents/v1/cloudevents.pb-c.h"

#define EVENT_DATA_BYTES (1U << 20)

typedef Io__Cloudevents__V1__CloudEvent cloud_event;

/* The changes are in the arena. INVALID_ARGUMENT: UNKNOWN_TYPE, BAD_EVENT (an attribute of CloudEvents),
 * BAD_DATA, BAD_NAME, FROM_THE_FUTURE (LIMIT_CLOCK_SKEW_MS past now_ms). An event without a time happened
 * now. */
status_code event_read(const cloud_event *event, int64_t now_ms, arena *memory, change_list *out,
                       failure *why) MUST_USE;

#endif
