/* Any bytes as a logs request: what is accepted has a template, whose masked form stays within its bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry.h"
#include "wire/scan.h"

#define NOW_MS 1767225600000
#define RECORDS_MAX 4096U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

static void mask_check(bytes message) {
    masked out;
    mask_message(NULL, message, &out);
    demand(out.count <= MASK_TOKENS && out.size < MASK_TEXT_BYTES);
    for (unsigned i = 0; i < out.count; i++)
        demand(out.sizes[i] < MASK_TOKEN_BYTES && out.starts[i] + out.sizes[i] <= out.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static log_observation records[RECORDS_MAX];
    arena memory;
    ProtobufCMessage *message = NULL;
    simulated_chance time;
    model *graph = NULL;
    telemetry *self = NULL;
    simulated_chance_init(&time, 1);
    arena_init(&memory, 4096, 64 << 20);
    mask_check(bytes_of(data, size));
    if (wire_unpack(&opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor,
                    bytes_of(data, size), &memory, &message, NULL) == STATUS_OK &&
        logs_count((const logs_export *)message) <= RECORDS_MAX &&
        model_create(&graph, &time.chance, NULL) == STATUS_OK &&
        telemetry_create(&self, graph, 1, NULL) == STATUS_OK) {
        telemetry_result result = logs_read(self, (const logs_export *)message, graph, NOW_MS, records);
        for (size_t i = 0; i < result.accepted; i++)
            demand(records[i].template_id < templates_count(telemetry_templates(self)) &&
                   records[i].node < model_node_count(graph));
        uint64_t kept = 0;
        for (uint32_t i = 0; i < templates_count(telemetry_templates(self)); i++)
            kept += (uint64_t)templates_at(telemetry_templates(self), i).count;
        demand(kept + templates_totals_of(telemetry_templates(self)).flooded == result.accepted);
    }
    telemetry_free(self);
    model_free(graph);
    arena_free(&memory);
    return 0;
}
