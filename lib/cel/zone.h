/* Time zones: fixed offsets and the system's database (/usr/share/zoneinfo), read by ourselves because
 * tzset() is one zone for the whole process. A loaded zone is immutable. */
#ifndef CEL_ZONE_H
#define CEL_ZONE_H

#include "base/arena.h"
#include "base/bytes.h"

typedef struct zone zone;

/* "UTC", "+02:00", "-09:30", "02:00", "Europe/Zurich". NULL when there is no such zone or no memory. */
const zone *zone_load(bytes name, arena *memory);
/* Seconds east of UTC at a time. */
int64_t zone_offset(const zone *self, int64_t seconds);

#endif
