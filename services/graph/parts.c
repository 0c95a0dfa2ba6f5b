/* The parts of the graph, one after the other. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "chains.h"
#include "evidence_logs.h"
#include "telemetry_take.h"
#include "traffic_facts.h"

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse trace_response;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTracePartialSuccess trace_partial;

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

/* The evidence speaks of nodes and operations by the model's numbers. */
static void evidence_names_tell(parts *self) {
    const operations *all = model_operations(self->traffic);
    uint32_t count = operations_count(all);
    for (uint32_t i = evidence_keep_operations_named(self->evidence); i < count; i++) {
        operation_info info = operations_at(all, i);
        evidence_keep_name_operation(self->evidence, i, info.node, info.text);
    }
    for (uint32_t i = evidence_keep_services_named(self->evidence); i < model_node_count(self->traffic); i++)
        evidence_keep_name_service(self->evidence, i, model_node_at(self->traffic, i)->name);
}

static status_code evidence_open(parts *self, failure *why) {
    status_code status = evidence_keep_create(&self->evidence, why);
    if (status == STATUS_OK)
        status = evidence_store_open(&self->evidence_rows, graph_store_connection(self->store), why);
    if (status == STATUS_OK)
        status = evidence_store_load(self->evidence_rows, self->evidence,
                                     operations_count(model_operations(self->traffic)), why);
    if (status == STATUS_OK)
        evidence_names_tell(self);
    return status;
}

/* What the graph keeps of the past; for how long is docs/graph.md's table. */
static const history_limits past_limits = {.keep_changes_ms = 24LL * 3600 * 1000};

static const char *name_resolve(void *context, const char *name) {
    return history_resolve(context, name);
}

static status_code past_open(parts *self, const char *path, failure *why) {
    store *connection = graph_store_connection(self->store);
    status_code status = history_open(&self->past, connection, path, &past_limits, self->source, why);
    if (status == STATUS_OK)
        model_set_resolver(self->traffic, name_resolve, self->past);
    if (status == STATUS_OK)
        status = history_import(self->past, why);
    if (status == STATUS_OK)
        status = changes_open(&self->changes, self->past, why);
    return status == STATUS_OK ? changes_load(self->changes, connection, why) : status;
}

static status_code telemetry_open(parts *self, failure *why) {
    uint64_t seed;
    chance_random(self->source, (uint8_t *)&seed, sizeof seed);
    status_code status = telemetry_create(&self->telemetry, self->traffic, seed, why);
    if (status == STATUS_OK)
        status = placements_create(&self->placements, why);
    if (status == STATUS_OK)
        status = signals_store_open(&self->telemetry_rows, graph_store_connection(self->store), why);
    return status == STATUS_OK ? signals_store_load(self->telemetry_rows, self->telemetry, why) : status;
}

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
    if (status == STATUS_OK)
        status = evidence_open(self, why);
    if (status == STATUS_OK)
        status = telemetry_open(self, why);
    if (status == STATUS_OK)
        status = past_open(self, path, why);
    if (status == STATUS_OK)
        status = dependencies_create(&self->stated, why);
    return status;
}

void parts_close(parts *self) {
    dependencies_free(self->stated);
    signals_store_close(self->telemetry_rows);
    telemetry_free(self->telemetry);
    placements_free(self->placements);
    changes_close(self->changes);
    history_close(self->past);
    evidence_store_close(self->evidence_rows);
    evidence_keep_free(self->evidence);
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
    case INGEST_EVENTS:
        return ((const events_request *)request->message)->n_events;
    case INGEST_OBJECTS:
        return ((const objects_request *)request->message)->n_objects;
    case INGEST_METRICS:
        return metrics_count((const metrics_export *)request->message);
    case INGEST_LOGS:
        return logs_count((const logs_export *)request->message);
    default:
        return 1;
    }
}

/* A datastore or a queue that a span calls sends none of its own: an operation of it stands in. */
static uint32_t store_operation(parts *self, const observation *span) {
    if (span->peer == MODEL_NONE || span->operation == OPERATION_NONE ||
        (span->span_kind != SPAN_CLIENT && span->span_kind != SPAN_PRODUCER) ||
        model_node_at(self->traffic, span->peer)->kind == NODE_SERVICE)
        return OPERATION_NONE;
    operations *all = model_operations(self->traffic);
    return operations_named(all, span->peer, bytes_of_text(operations_at(all, span->operation).text));
}

static void observations_apply(parts *self, size_t first, int64_t now_ms) {
    uint64_t boot_ms = chance_boot_ms(self->source);
    for (size_t i = first; i < self->observation_count; i++) {
        const observation *one = &self->observations[i];
        model_apply(self->traffic, one, now_ms);
        if (one->kind == OBSERVATION_SPAN)
            evidence_keep_span(self->evidence, one, store_operation(self, one), boot_ms);
    }
    evidence_names_tell(self);
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

static void placements_take(parts *self, const trace_export *message, int64_t now_ms) {
    for (size_t i = 0; i < message->n_resource_spans; i++) {
        resource_identity from;
        int64_t time_ms = resource_spans_end_ms(message->resource_spans[i]);
        resource_read(message->resource_spans[i]->resource, &from);
        if (time_ms > 0 && time_ms <= now_ms + LIMIT_CLOCK_SKEW_MS)
            placements_see(self->placements, &from, time_ms);
    }
}

static status_code traces_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) {
    size_t first = self->observation_count;
    spans_result result =
        spans_read((const trace_export *)request->message, self->traffic, now_ms, self->observations + first);
    self->observation_count += result.accepted;
    observations_apply(self, first, now_ms);
    placements_take(self, (const trace_export *)request->message, now_ms);
    for (size_t i = 0; i < SPANS_REFUSALS; i++)
        self->refused[i] += result.refused[i];
    return traces_answer(&result, request, why);
}

/* What a service logs while it serves a request is part of that request's evidence. */
static void record_keep(void *context, const log_observation *record) {
    parts *self = context;
    evidence_logs_take(self->evidence, telemetry_templates(self->telemetry), record,
                       chance_boot_ms(self->source));
}

static status_code logs_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) {
    status_code status =
        telemetry_take_logs(self->telemetry, self->traffic, request, now_ms, record_keep, self, why);
    evidence_names_tell(self);
    return status;
}

/* The cursor moves with what was learnt: both are stored by the same commit. */
static status_code chains_request_take(parts *self, const Interlock__Audit__V1__TailResponse *batch,
                                       int64_t now_ms, failure *why) {
    uint64_t next = graph_store_log_next(self->store);
    status_code status = chains_take(self->past, batch, now_ms, &next, why);
    if (status == STATUS_OK && next != graph_store_log_next(self->store)) {
        graph_store_set_log_next(self->store, next);
        self->log_moved = true;
    }
    return status;
}

static status_code request_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) {
    switch (request->kind) {
    case INGEST_TRACES:
        return traces_take(self, request, now_ms, why);
    case INGEST_METRICS:
        return telemetry_take_metrics(self->telemetry, request, now_ms, why);
    case INGEST_LOGS:
        return logs_take(self, request, now_ms, why);
    case INGEST_EVENTS:
        return changes_take_events(self->changes, (const events_request *)request->message, now_ms,
                                   request->memory, (events_response *)request->response, why);
    case INGEST_OBJECTS:
        return changes_take_objects(self->changes, (const objects_request *)request->message, now_ms,
                                    request->memory, (objects_response *)request->response, why);
    case INGEST_DECLARATIONS:
        return changes_declare(self->changes, (const declarations_request *)request->message, now_ms,
                               request->memory, (declarations_response *)request->response, why);
    case INGEST_CHAIN:
        return chains_request_take(self, (const Interlock__Audit__V1__TailResponse *)request->message, now_ms,
                                   why);
    case INGEST_DRIFT:
        return changes_drift(self->changes, request->memory, (drift_response *)request->response, why);
    default:
        return fail(why, STATUS_UNIMPLEMENTED, "NOT_TAKEN", "the graph does not take this kind of request");
    }
}

status_code parts_take(parts *self, const ingest_request *request, int64_t now_ms, failure *why) {
    signals_write_begin(telemetry_signals(self->telemetry));
    status_code status = request_take(self, request, now_ms, why);
    signals_write_end(telemetry_signals(self->telemetry));
    if (request->kind != INGEST_TRACES && request->kind != INGEST_METRICS && request->kind != INGEST_LOGS)
        dependencies_outdate(self->stated);
    return status;
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------------------ */

/* Without memory for what is new in them, the dependencies stay what they were. */
status_code parts_snapshot(parts *self, snapshot **out, int64_t now_ms, failure *why) {
    failure inner = {0};
    if (dependencies_refresh(self->stated, self->past, telemetry_signals(self->telemetry), &inner) !=
        STATUS_OK)
        dependencies_outdate(self->stated);
    snapshot_sources sources = dependencies_sources(self->stated, model_flows(self->traffic));
    return snapshot_create_with(out, self->traffic, &sources, self->revision, now_ms, why);
}

/* ---- Time
 * ---------------------------------------------------------------------------------------------------------
 */

void parts_settle(parts *self, int64_t now_ms) {
    size_t first = self->observation_count;
    signals_write_begin(telemetry_signals(self->telemetry));
    self->observation_count += model_settle(self->traffic, chance_boot_ms(self->source),
                                            self->observations + first, PARTS_SETTLE_ROOM);
    observations_apply(self, first, now_ms);
    signals_write_end(telemetry_signals(self->telemetry));
    self->evidence_changed |= evidence_keep_settle(self->evidence, chance_boot_ms(self->source)) > 0;
}

uint64_t parts_due(const parts *self) {
    uint64_t traffic = model_settle_due(self->traffic);
    uint64_t gathered = evidence_keep_due(self->evidence);
    return traffic < gathered ? traffic : gathered;
}

/* ---- Saving
 * ------------------------------------------------------------------------------------------------------- */

bool parts_changed(const parts *self) {
    return self->observation_count > 0 || model_changed(self->traffic).node_count > 0 ||
           self->evidence_changed || self->log_moved || history_changed(self->past) ||
           changes_changed(self->changes) || telemetry_changed(self->telemetry);
}

static status_code parts_put(parts *self, int64_t now_ms, failure *why) {
    status_code status = traffic_facts_state(self->traffic, self->past, now_ms, why);
    if (status == STATUS_OK)
        status = placements_state(self->placements, self->traffic, self->past, now_ms, why);
    if (status == STATUS_OK)
        status = graph_store_put(self->store, self->traffic, self->observations, self->observation_count,
                                 self->revision + 1, now_ms, why);
    if (status == STATUS_OK)
        status = evidence_store_put(self->evidence_rows, self->evidence, why);
    if (status == STATUS_OK)
        status = signals_store_put(self->telemetry_rows, self->telemetry, why);
    if (status == STATUS_OK)
        status = history_put(self->past, self->revision + 1, why);
    return status == STATUS_OK ? changes_put(self->changes, graph_store_connection(self->store), why)
                               : status;
}

status_code parts_save(parts *self, int64_t now_ms, failure *why) {
    evidence_keep_seal(self->evidence);
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
    evidence_keep_mark_stored(self->evidence);
    telemetry_mark_stored(self->telemetry);
    history_stored(self->past);
    changes_stored(self->changes);
    self->evidence_changed = false;
    self->log_moved = false;
    self->observation_count = 0;
    self->revision++;
    return STATUS_OK;
}
