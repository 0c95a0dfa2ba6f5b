/* The graph service: what its methods do, and its life as daemon.h wants it. */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include "daemon/daemon.h"
#include "history_ask.h"
#include "impact.h"
#include "ingest.h"
#include "root_cause_ask.h"
#include "watch.h"

typedef struct graph_service graph_service;
typedef Interlock__Graph__V1__GetGraphResponse graph_response;

/* `path` of the store; ":memory:" for tests. */
status_code graph_service_create(graph_service **out, const char *path, const chance *source,
                                 failure *why) MUST_USE;

/* For daemon_spec. */
extern const option graph_options[];
extern const size_t graph_option_count;
status_code graph_service_open(const daemon_context *context, void **service, failure *why);
status_code graph_service_start(void *service, rpc_server *server, failure *why);
void graph_service_stop(void *service);
void graph_service_close(void *service); /* takes NULL */
void graph_service_write_metrics(void *service, buffer *out);
bool graph_service_healthy(void *service);

/* The use cases; any thread. */
status_code graph_predict_impact(graph_service *self, const impact_request *request, arena *memory,
                                 impact_response *out, failure *why) MUST_USE;
/* Nodes and edges by name. RESOURCE_EXHAUSTED (GRAPH_TOO_LARGE) beyond what a message holds. */
status_code graph_get(graph_service *self, arena *memory, graph_response *out, failure *why) MUST_USE;
ingest *graph_ingest(graph_service *self);
watch *graph_watch(graph_service *self);
root_cause_ask *graph_root_cause(graph_service *self);
history_ask *graph_history(graph_service *self);

#endif
