/* Any bytes as a metrics request: every series' numbers must make sense, and twice the same adds nothing. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "telemetry.h"
#include "wire/scan.h"

#define NOW_MS 1767225600000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

static void series_check(const signals *all, uint32_t series) {
    signal_point points[SIGNALS_POINTS_MAX];
    signal_change changes[4];
    signal_baseline normal;
    size_t count = signals_points(all, series, INT64_MIN, INT64_MAX, points, SIGNALS_POINTS_MAX);
    for (size_t i = 0; i < count; i++)
        demand(points[i].count >= 1 && points[i].minimum <= points[i].maximum);
    if (signals_baseline_before(all, series, NOW_MS + 60000, 0, &normal))
        demand(normal.p10 <= normal.median && normal.median <= normal.p90);
    count = signals_changes(all, series, 0, NOW_MS + 60000, changes, 4);
    for (size_t i = 1; i < count; i++)
        demand(changes[i].strength <= changes[i - 1].strength);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    ProtobufCMessage *message = NULL;
    simulated_chance time;
    model *graph = NULL;
    telemetry *self = NULL;
    simulated_chance_init(&time, 1);
    arena_init(&memory, 4096, 64 << 20);
    if (wire_unpack(&opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor,
                    bytes_of(data, size), &memory, &message, NULL) == STATUS_OK &&
        model_create(&graph, &time.chance, NULL) == STATUS_OK &&
        telemetry_create(&self, graph, 1, NULL) == STATUS_OK) {
        const metrics_export *request = (const metrics_export *)message;
        telemetry_result result = metrics_read(self, request, NOW_MS);
        size_t refused = 0;
        for (size_t i = 0; i < TELEMETRY_REFUSALS; i++)
            refused += result.refused[i];
        demand(result.accepted + refused == metrics_count(request));
        demand(metrics_count(request) == 0 || metrics_read(self, request, NOW_MS).duplicate);
        for (uint32_t i = 0; i < signals_series_count(telemetry_signals(self)); i++)
            series_check(telemetry_signals(self), i);
    }
    telemetry_free(self);
    model_free(graph);
    arena_free(&memory);
    return 0;
}
