/* Typed calls of the graph service, and the views that a policy replica answers from. */
#ifndef CLIENT_GRAPH_CLIENT_H
#define CLIENT_GRAPH_CLIENT_H

#include "base/chance.h"
#include "interlock/graph/v1/graph.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "rpc/client.h"

/* ---- Views: the impact of every node, streamed by WatchImpact and kept as an immutable table. Reconnects by
 * itself; a table stays in use until the next complete one, so look at the age. All functions from any
 * thread. */
typedef struct graph_views graph_views;
typedef struct graph_view_table graph_view_table;

/* `loop` and `channel` must outlive it. */
status_code graph_views_open(graph_views **out, rpc_loop *loop, rpc_channel *channel, const chance *source,
                             failure *why) MUST_USE;
/* Takes NULL. Not on the loop's thread; waits until the loop has let go (within 2 s). Tables still held stay
 * valid. */
void graph_views_close(graph_views *self);

/* The newest complete table, with a reference; NULL until there is one. */
const graph_view_table *graph_views_acquire(graph_views *self);
void graph_views_release(const graph_view_table *table); /* takes NULL */
/* Milliseconds (boot time) since the last complete message; UINT64_MAX when there was none. Read it after the
 * table was acquired: the table is never older than that. */
uint64_t graph_views_age_ms(const graph_views *self);

/* NULL when the graph has no such node: its impact is unknown, [0, 1]. Valid as long as the table. */
const Interlock__Graph__V1__Impact *graph_views_find(const graph_view_table *table, const char *name);
uint64_t graph_views_revision(const graph_view_table *table);
int64_t
graph_views_as_of_ms(const graph_view_table *table); /* of the newest telemetry; ms since 1970, 0: none */
size_t graph_views_count(const graph_view_table *table);
/* Boot time in ms at which the message arrived that completed this table. */
uint64_t graph_views_received_boot_ms(const graph_view_table *table);

/* ---- Asynchronous, for what the views cannot answer (several targets at once): PredictImpact on a loop;
 * `done` gets an Interlock__Graph__V1__PredictImpactResponse. traceparent is the caller's, or NULL. */
status_code graph_predict_impact_start(rpc_loop *loop, rpc_channel *channel,
                                       const Interlock__Graph__V1__PredictImpactRequest *request,
                                       uint32_t timeout_ms, const char *traceparent, rpc_done done,
                                       void *context, failure *why) MUST_USE;

/* ---- Blocking calls; answers are in the arena. */
status_code graph_predict_impact_wait(rpc_channel *channel,
                                      const Interlock__Graph__V1__PredictImpactRequest *request,
                                      uint32_t timeout_ms, arena *memory,
                                      Interlock__Graph__V1__PredictImpactResponse **out,
                                      failure *why) MUST_USE;
status_code graph_get_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                           Interlock__Graph__V1__GetGraphResponse **out, failure *why) MUST_USE;
status_code
graph_export_wait(rpc_channel *channel,
                  const Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest *request,
                  uint32_t timeout_ms, arena *memory,
                  Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse **out,
                  failure *why) MUST_USE;

#endif
