/* What telemetry.c, telemetry_metrics.c and telemetry_logs.c share. Nobody else includes it. */
#ifndef GRAPH_TELEMETRY_INTERNAL_H
#define GRAPH_TELEMETRY_INTERNAL_H

#include "recent.h"
#include "resource.h"
#include "telemetry.h"

#define TELEMETRY_NANOSECONDS_PER_MS 1000000U
/* Where digests begin: the same in every process, because they are stored. */
#define DIGEST_METRICS 1U
#define DIGEST_LOGS 2U

/* The counts of a cumulative histogram's buckets when it was last seen. */
typedef struct histogram_memory {
    uint16_t count;
    int64_t start_ms;
    double counts[]; /* one more than bounds */
} histogram_memory;

struct telemetry {
    const model *traffic;
    signals *signals;
    templates *templates;
    recent seen;
    uint64_t unstored[TELEMETRY_SEEN]; /* digests */
    size_t unstored_count;
    uint32_t services_known;       /* nodes of the model whose names are masked in logs */
    histogram_memory **histograms; /* by series */
    uint32_t histogram_room, histogram_count;
    uint64_t seed;
    telemetry_totals totals;
};

/* The node that a resource's telemetry is about: its service, or its machine when it says nothing but that.
 * False when the name cannot be kept. */
bool telemetry_node(const resource_identity *from, char out[LIMIT_NAME_BYTES], node_kind *kind);
/* The time in milliseconds, or the refusal. */
bool telemetry_time(uint64_t time_ns, int64_t now_ms, int64_t *out_ms, telemetry_refusal *refusal);

/* True when a request of that digest was taken before; notes it otherwise. */
bool telemetry_seen(telemetry *self, uint64_t digest);
uint64_t digest_bytes(uint64_t digest, bytes text);

/* Services that the traffic model has learnt of since. */
void telemetry_learn_services(telemetry *self);

#endif
