/* Lanes: for each thing that is spoken of, its states in the order of time. A state that arrives late is put
 * where it belongs, and what lies after it is said again; so the same states in any order end in the same
 * graph. In memory; what differs from the store is told by lanes_each_dirty. One thread. */
#ifndef GRAPH_LANES_H
#define GRAPH_LANES_H

#include "change.h"

#define LANES_MAX 400000U
#define LANES_BYTES_MAX (512U << 20) /* of all states together */
#define LANE_STATES_MAX 16U          /* on a lane; older ones become one */

typedef struct lanes lanes;

/* From from_ms on the origin says it, or no longer says it. */
typedef status_code (*lanes_say)(void *context, const char *origin, const statement *what, bool says,
                                 int64_t from_ms, failure *why);

status_code lanes_create(lanes **out, failure *why) MUST_USE;
void lanes_free(lanes *self); /* takes NULL */

/* *news is false when the lane says the same with it as without. `memory` is scratch. RESOURCE_EXHAUSTED
 * (TOO_MANY_SOURCES) at the bounds; a failure of `say` is handed on, and the same change may be put again. */
status_code lanes_put(lanes *self, const change *what, lanes_say say, void *context, arena *memory,
                      bool *news, failure *why) MUST_USE;

/* What a lane says at its end; nothing for one that does not exist. */
status_code lanes_last(const lanes *self, const char *lane, arena *memory, statements *out,
                       failure *why) MUST_USE;
/* The newest state's time; INT64_MIN when there is none. */
int64_t lanes_last_ms(const lanes *self, const char *lane);

size_t lanes_count(const lanes *self);

/* ---- Storage */
typedef struct lane_row {
    const char *lane, *origin, *tie;
    int64_t from_ms;
    change_role role;
    bytes packed;
} lane_row;

bool lanes_dirty(const lanes *self);
/* Once for each lane that differs, with all its rows. */
typedef status_code (*lanes_visit)(void *context, const char *lane, const lane_row *rows, size_t count,
                                   failure *why);
status_code lanes_each_dirty(lanes *self, lanes_visit visit, void *context, failure *why) MUST_USE;
void lanes_stored(lanes *self); /* nothing differs any more */
/* Rows of a lane in the order of time. */
status_code lanes_load(lanes *self, const lane_row *row, failure *why) MUST_USE;

#endif
