/* What was refused is reported once and must not be sent again: the call itself succeeds. */
#include "telemetry_take.h"

#include <stdlib.h>

typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceResponse metrics_response;
typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsPartialSuccess metrics_partial;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceResponse logs_response;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsPartialSuccess logs_partial;

static status_code out_of_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
}

status_code telemetry_take_metrics(telemetry *self, const ingest_request *request, int64_t now_ms,
                                   failure *why) {
    telemetry_result result = metrics_read(self, (const metrics_export *)request->message, now_ms);
    char text[512];
    uint64_t refused = telemetry_refused(&result, "data points", text, sizeof text);
    if (refused == 0 || request->response == NULL)
        return STATUS_OK;
    metrics_partial *partial = arena_alloc(request->memory, sizeof *partial);
    char *message = arena_text(request->memory, text);
    if (partial == NULL || message == NULL)
        return out_of_memory(why);
    opentelemetry__proto__collector__metrics__v1__export_metrics_partial_success__init(partial);
    partial->rejected_data_points = (int64_t)refused;
    partial->error_message = message;
    ((metrics_response *)request->response)->partial_success = partial;
    return STATUS_OK;
}

static status_code logs_answer(const telemetry_result *result, const ingest_request *request, failure *why) {
    char text[512];
    uint64_t refused = telemetry_refused(result, "log records", text, sizeof text);
    if (refused == 0 || request->response == NULL)
        return STATUS_OK;
    logs_partial *partial = arena_alloc(request->memory, sizeof *partial);
    char *message = arena_text(request->memory, text);
    if (partial == NULL || message == NULL)
        return out_of_memory(why);
    opentelemetry__proto__collector__logs__v1__export_logs_partial_success__init(partial);
    partial->rejected_log_records = (int64_t)refused;
    partial->error_message = message;
    ((logs_response *)request->response)->partial_success = partial;
    return STATUS_OK;
}

status_code telemetry_take_logs(telemetry *self, model *graph, const ingest_request *request, int64_t now_ms,
                                log_visitor visit, void *context, failure *why) {
    const logs_export *message = (const logs_export *)request->message;
    log_observation *records = calloc(logs_count(message) + 1, sizeof *records);
    if (records == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for log records");
    telemetry_result result = logs_read(self, message, graph, now_ms, records);
    for (size_t i = 0; i < result.accepted; i++)
        visit(context, &records[i]);
    free(records);
    return logs_answer(&result, request, why);
}
