/* Requests of metrics and logs as the ingest thread takes them: applied, and answered with what was refused.
 */
#ifndef GRAPH_TELEMETRY_TAKE_H
#define GRAPH_TELEMETRY_TAKE_H

#include "ingest.h"
#include "telemetry.h"

status_code telemetry_take_metrics(telemetry *self, const ingest_request *request, int64_t now_ms,
                                   failure *why) MUST_USE;

/* What looks at log records one by one. */
typedef void (*log_visitor)(void *context, const log_observation *record);
status_code telemetry_take_logs(telemetry *self, model *graph, const ingest_request *request, int64_t now_ms,
                                log_visitor visit, void *context, failure *why) MUST_USE;

#endif
