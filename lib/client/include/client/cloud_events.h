/* CloudEvents in their JSON format, as the message that the graph service takes. Thread-safe. */
#ifndef CLIENT_CLOUD_EVENTS_H
#define CLIENT_CLOUD_EVENTS_H

#include "base/arena.h"
#include "base/bytes.h"
#include "cloudevents/v1/cloudevents.pb-c.h"

#define CLOUD_EVENT_BYTES (2U << 20)
#define CLOUD_EVENT_ATTRIBUTES_MAX 64U

/* One event of the JSON event format (cloudevents.io, 1.0); everything is in the arena. `data` becomes text
 * in JSON, `data_base64` bytes. INVALID_ARGUMENT, reason BAD_EVENT, with the attribute or the line and
 * column. What the attributes mean is for the service to judge. */
status_code cloud_event_from_json(bytes json, arena *memory, Io__Cloudevents__V1__CloudEvent **out,
                                  failure *why) MUST_USE;

#endif
