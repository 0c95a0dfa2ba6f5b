/* The parts of the graph, one after the other. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse trace_response;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTracePartialSuccess trace_partial;

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code parts_open(parts *self, const char *path, const chance *source, failure *why) {
    self->source = source;
    self->observations = calloc(INGEST_GROUP_COST + PARTS_SETTLE_ROOM, sizeof *self->observations);
    if (self->observations == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph");
    status_code status = model_create(&self->traffic, source, why);
    if (status == STATUS_OK) {
        model_set_boot_ms(self->traffic, chance_boot_ms(source));
        status = graph_store_open(&self->store, path, why);
    }
    if (status == STATUS_OK)
        status = graph_store_load(self->store, self->traffic, &self->revision, why);
    return status;
}

void parts_close(parts *self) {
    graph_store_close(self->store);
    model_free(self->traffic);
    free(self->observations);
    *self = (parts){0};
}

/* ---- Requests
 * ----------------------------------------------------------------------------------------------------- */

size_t parts_cost(const ingest_request *request) {
    switch (request->kind) {
    case INGEST_TRACES:
        return spans_count((const trace_export *)request->message);
    default:
        return 1;
    }
}

static void observations_apply(parts *self, size_t first, int64_t now_ms) {
    for (size_t i = first; i < self->observation_count; i++)
        model_apply(self->traffic, &self->observations[i], now_ms);
}

/* Spans that were refused are reported once and must not be sent again: the call itself succeeds. */
static status_code traces_answer(const spans_result *result, const ingest_request *request, failure *why) {
    char text[512] = "";
    uint64_t refused = spans_refused(result, text, sizeof text);
    if (refused == 0 || request->response == NULL)
        return STATUS_OK;
    trace_partial *partial = arena_alloc(request->memory, sizeof *partial);
    char *message = arena_text(request->memory, text);
    if (partial == NULL || message == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    opentelemetry__proto__collector__trace__v1__export_trace_partial_success__init(partial);
    partial->rejected_spans = (int64_t)refused;
    partial->error_message = message;
    ((trace_response *)request->response)->partial_success = partial;
    return STATUS_OK;
}

static status_code traces_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) {
    size_t first = self->observation_count;
    spans_result result =
        spans_read((const trace_export *)request->message, self->traffic, now_ms, self->observations + first);
    self->observation_count += result.accepted;
    observations_apply(self, first, now_ms);
    for (size_t i = 0; i < SPANS_REFUSALS; i++)
        self->refused[i] += result.refused[i];
    return traces_answer(&result, request, why);
}

status_code parts_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) {
    switch (request->kind) {
    case INGEST_TRACES:
        return traces_take(self, request, now_ms, why);
    default:
        return fail(why, STATUS_UNIMPLEMENTED, "NOT_TAKEN", "the graph does not take this kind of request");
    }
}

/* ---- Time
 * ---------------------------------------------------------------------------------------------------------
 */

void parts_settle(parts *self, int64_t now_ms) {
    size_t first = self->observation_count;
    self->observation_count += model_settle(self->traffic, chance_boot_ms(self->source),
                                            self->observations + first, PARTS_SETTLE_ROOM);
    observations_apply(self, first, now_ms);
}

uint64_t parts_due(const parts *self) {
    return model_settle_due(self->traffic);
}

/* ---- Saving
 * ------------------------------------------------------------------------------------------------------- */

bool parts_changed(const parts *self) {
    return self->observation_count > 0 || model_changed(self->traffic).node_count > 0;
}

static status_code parts_put(parts *self, int64_t now_ms, failure *why) {
    return graph_store_put(self->store, self->traffic, self->observations, self->observation_count,
                           self->revision + 1, now_ms, why);
}

status_code parts_save(parts *self, int64_t now_ms, failure *why) {
    status_code status = graph_store_begin(self->store, why);
    if (status != STATUS_OK)
        return status;
    status = parts_put(self, now_ms, why);
    if (status == STATUS_OK)
        status = graph_store_commit(self->store, self->traffic, why);
    if (status != STATUS_OK) {
        graph_store_rollback(self->store);
        return status;
    }
    self->observation_count = 0;
    self->revision++;
    return STATUS_OK;
}
