/* Any bytes as an export request: from the wire through the model to a prediction, whose numbers must make
 * sense. */
#include <stdint.h>
#include <stdlib.h>

#include "impact.h"
#include "spans.h"
#include "wire/scan.h"

#define NOW_MS 1767225600000
#define SPANS_MAX 4096U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

static void predict_all(const model *graph) {
    snapshot *current = NULL;
    impact_scratch scratch = {0};
    arena memory;
    arena_init(&memory, 4096, 16 << 20);
    demand(snapshot_create(&current, graph, 1, NOW_MS, NULL) == STATUS_OK);
    for (uint32_t node = 0; node < current->node_count && node < 16; node++) {
        impact_message *out = NULL;
        arena_reset(&memory);
        demand(impact_of(current, &node, 1, &scratch, &memory, &out, NULL) == STATUS_OK);
        const Interlock__Graph__V1__Share *share = out->entry_traffic;
        demand(share->low >= 0 && share->low <= share->expected && share->expected <= share->high &&
               share->high <= 1);
        for (size_t i = 0; i < out->n_affected; i++)
            demand(out->affected[i]->probability > 0 && out->affected[i]->probability <= 1);
    }
    arena_free(&memory);
    impact_scratch_free(&scratch);
    snapshot_release(current);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static observation observations[SPANS_MAX];
    arena memory;
    ProtobufCMessage *message = NULL;
    simulated_chance time;
    model *graph = NULL;
    simulated_chance_init(&time, 1);
    arena_init(&memory, 4096, 64 << 20);
    if (wire_unpack(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
                    bytes_of(data, size), &memory, &message, NULL) == STATUS_OK &&
        spans_count((const trace_export *)message) <= SPANS_MAX &&
        model_create(&graph, &time.chance, NULL) == STATUS_OK) {
        spans_result result = spans_read((const trace_export *)message, graph, NOW_MS, observations);
        for (size_t i = 0; i < result.accepted; i++)
            model_apply(graph, &observations[i], NOW_MS);
        for (size_t count = 1; count > 0;) {
            count = model_settle(graph, MODEL_SETTLE_MS, observations, SPANS_MAX);
            for (size_t i = 0; i < count; i++)
                model_apply(graph, &observations[i], NOW_MS);
        }
        predict_all(graph);
    }
    model_free(graph);
    arena_free(&memory);
    return 0;
}
