/* What is counted per method and loop. Only the loop's thread writes, so an increment needs no locked
 * instruction; anybody reads. */
#ifndef RPC_METER_H
#define RPC_METER_H

#include <stdatomic.h>

#include "base/metrics.h"

#define METER_CODES 17U

typedef struct meter {
    atomic_uint_fast64_t started;
    atomic_uint_fast64_t shed;
    atomic_uint_fast64_t handled[METER_CODES];
    histogram seconds;
} meter;

static inline void meter_add(atomic_uint_fast64_t *count) {
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

void meter_handled(meter *self, status_code code, uint64_t elapsed_ns);

/* Adds `from` to `sum`; `sum` belongs to the caller. */
void meter_sum(meter *sum, const meter *from);

/* Samples of one family for one method. */
typedef enum meter_family {
    METER_STARTED,
    METER_HANDLED,
    METER_IN_FLIGHT,
    METER_SECONDS,
    METER_SHED
} meter_family;
#define METER_FAMILIES 5U
void meter_write_head(buffer *out, meter_family family);
void meter_write(buffer *out, meter_family family, const char *path, const meter *sum);

#endif
