/* The graph service's use cases and life. */
#include "graph.h"

#include "impact_normal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "history_limits.h"
#include "log_follower.h"
#include "store/store.h"

#define SCRATCHES_MAX 64U

struct graph_service {
    ingest *ingest;
    watch *watch;
    root_cause_ask *root_cause;
    history_ask *history;
    rpc_channel *audit; /* NULL: chains are not learnt */
    log_follower *log;
    normals *normals; /* for predictions of slowness */
    /* Working memory for predictions, handed out to whichever thread predicts. */
    pthread_mutex_t lock;
    impact_scratch scratches[SCRATCHES_MAX];
    bool taken[SCRATCHES_MAX];
};

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code graph_service_create(graph_service **out, const char *path, const chance *source, failure *why) {
    graph_service *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph service");
    pthread_mutex_init(&self->lock, NULL);
    status_code status = ingest_open(&self->ingest, path, source, why);
    if (status == STATUS_OK)
        status = watch_open(&self->watch, self->ingest, source, why);
    if (status == STATUS_OK)
        status = root_cause_ask_open(&self->root_cause, self->ingest, source, why);
    if (status == STATUS_OK)
        status = history_ask_open(&self->history, ingest_history(self->ingest), source, why);
    if (status == STATUS_OK)
        status = normals_create(&self->normals, ingest_telemetry(self->ingest), ingest_traffic(self->ingest),
                                source, why);
    if (status != STATUS_OK) {
        graph_service_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

const option graph_options[] = {
    {.name = "audit",
     .kind = OPTION_TEXT,
     .value_name = "TARGET",
     .help = "audit's address, for confirmed chains; none: not learnt [unix:DATA-DIR/run/audit.sock]"},
    {.name = "keep",
     .kind = OPTION_TEXT,
     .fallback = HISTORY_KEEP_DEFAULT,
     .value_name = "DAYS",
     .help = "how long the past is kept, in days by kind: all=400,calls=90,deploy=180; all=0 is for ever"},
    {.name = "keep-changes-hours",
     .kind = OPTION_NUMBER,
     .fallback = "24",
     .value_name = "HOURS",
     .help = "how long one who watches changes may be away",
     .least = 1,
     .most = 24 * 366},
};
const size_t graph_option_count = sizeof graph_options / sizeof *graph_options;

/* Nothing may be changed: what exists is opened for reading, what does not will be made. */
static status_code check_store(const char *path, failure *why) {
    store reader = {0};
    if (access(path, F_OK) != 0)
        return STATUS_OK;
    status_code status = store_open_reader(&reader, path, why);
    store_close(&reader);
    return status;
}

status_code graph_service_open(const daemon_context *context, void **service, failure *why) {
    char path[4096];
    int size = snprintf(path, sizeof path, "%s/graph.db", context->data_dir);
    if (size < 0 || (size_t)size >= sizeof path)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "the path of the data folder is too long");
    history_limits limits;
    status_code status =
        history_limits_parse(settings_text(context->settings, "keep"),
                             settings_number(context->settings, "keep-changes-hours"), &limits, why);
    if (status != STATUS_OK)
        return status;
    if (context->check_only)
        return check_store(path, why);
    graph_service *self = NULL;
    status = graph_service_create(&self, path, context->source, why);
    if (status != STATUS_OK)
        return status;
    history_limit(ingest_history(self->ingest), &limits);
    *service = self; /* graph_service_close takes it with or without a channel */
    if (strcmp(settings_text(context->settings, "audit"), "none") != 0)
        return daemon_channel(context, "audit", &self->audit, why);
    LOG(LOG_INFO, "confirmed chains of causes are not learnt: audit is none");
    return STATUS_OK;
}

status_code graph_service_start(void *service, rpc_server *server, failure *why) {
    graph_service *self = service;
    (void)server;
    uint64_t log_next = ingest_log_next(self->ingest);
    status_code status = ingest_start(self->ingest, why);
    if (status == STATUS_OK)
        status = root_cause_ask_start(self->root_cause, why);
    if (status == STATUS_OK)
        status = history_ask_start(self->history, why);
    if (status == STATUS_OK && self->audit != NULL)
        status = log_follower_start(&self->log, self->audit, self->ingest, log_next, why);
    return status == STATUS_OK ? watch_start(self->watch, why) : status;
}

void graph_service_stop(void *service) {
    graph_service *self = service;
    watch_stop(self->watch);
    log_follower_stop(self->log);
    self->log = NULL;
    root_cause_ask_stop(self->root_cause);
    history_ask_stop(self->history);
    ingest_stop(self->ingest);
}

void graph_service_close(void *service) {
    graph_service *self = service;
    if (self == NULL)
        return;
    watch_close(self->watch);
    root_cause_ask_close(self->root_cause);
    history_ask_close(self->history);
    rpc_channel_close(self->audit);
    normals_free(self->normals);
    ingest_close(self->ingest);
    for (size_t i = 0; i < SCRATCHES_MAX; i++)
        impact_scratch_free(&self->scratches[i]);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

void graph_service_write_metrics(void *service, buffer *out) {
    graph_service *self = service;
    ingest_write_metrics(self->ingest, out);
    root_cause_ask_write_metrics(self->root_cause, out);
}

bool graph_service_healthy(void *service) {
    return ingest_healthy(((graph_service *)service)->ingest);
}

ingest *graph_ingest(graph_service *self) {
    return self->ingest;
}

watch *graph_watch(graph_service *self) {
    return self->watch;
}

history_ask *graph_history(graph_service *self) {
    return self->history;
}

root_cause_ask *graph_root_cause(graph_service *self) {
    return self->root_cause;
}

/* ---- PredictImpact
 * ------------------------------------------------------------------------------------------------ */

/* NULL when all are taken, which needs more threads than a server has. */
static impact_scratch *scratch_take(graph_service *self) {
    impact_scratch *found = NULL;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < SCRATCHES_MAX && found == NULL; i++)
        if (!self->taken[i]) {
            self->taken[i] = true;
            found = &self->scratches[i];
        }
    pthread_mutex_unlock(&self->lock);
    return found;
}

static void scratch_give_back(graph_service *self, impact_scratch *scratch) {
    pthread_mutex_lock(&self->lock);
    self->taken[scratch - self->scratches] = false;
    pthread_mutex_unlock(&self->lock);
}

/* Targets by other names become those that nodes go by. The list is the request's own, and it outlives the
 * call. */
static bool targets_resolve(graph_service *self, const impact_request *request, arena *memory) {
    char name[LIMIT_NAME_BYTES + 16];
    for (size_t i = 0; i < request->n_targets; i++)
        if (history_resolve_into(ingest_history(self->ingest), request->targets[i], name) &&
            (request->targets[i] = arena_text(memory, name)) == NULL)
            return false;
    return true;
}

status_code graph_predict_impact(graph_service *self, const impact_request *request, arena *memory,
                                 impact_response *out, failure *why) {
    if (!targets_resolve(self, request, memory))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    impact_scratch *scratch = scratch_take(self);
    if (scratch == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "BUSY", "%u predictions run already; try again",
                    SCRATCHES_MAX);
    impact_normal normal = normals_for_questions(self->normals);
    snapshot *graph = ingest_snapshot(self->ingest);
    if (impact_asks_for_slowness(request))
        normals_refresh(self->normals);
    status_code status = impact_predict(graph, request, &graph->learnt, &normal, scratch, memory, out, why);
    snapshot_release(graph);
    scratch_give_back(self, scratch);
    return status;
}

/* ---- GetGraph
 * ----------------------------------------------------------------------------------------------------- */

static status_code out_of_arena(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "GRAPH_TOO_LARGE",
                "the graph is larger than one message may be; ask for the impact of single nodes instead");
}

static int node_compare(const void *left, const void *right) {
    const Interlock__Graph__V1__Node *const *a = left;
    const Interlock__Graph__V1__Node *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static int edge_compare(const void *left, const void *right) {
    const Interlock__Graph__V1__Edge *const *a = left;
    const Interlock__Graph__V1__Edge *const *b = right;
    int order = strcmp((*a)->from, (*b)->from);
    order = order == 0 ? strcmp((*a)->to, (*b)->to) : order;
    return order == 0 ? (int)(*a)->kind - (int)(*b)->kind : order;
}

static Interlock__Graph__V1__Node *node_message(const snapshot_node *node, arena *memory) {
    Interlock__Graph__V1__Node *out = arena_alloc(memory, sizeof *out);
    if (out == NULL)
        return NULL;
    interlock__graph__v1__node__init(out);
    out->name = (char *)node->name; /* lives as long as the model; nobody writes to it */
    out->kind = node->kind;
    out->provenance = node->source;
    out->confidence = node->confidence;
    out->source = arena_text(memory, "otlp");
    out->valid_from_ms = node->valid_from_ms;
    out->recorded_from_ms = node->recorded_from_ms;
    out->requests = node->requests;
    out->entry_requests = node->entry_requests;
    return out->source == NULL ? NULL : out;
}

static Interlock__Graph__V1__Edge *edge_message(const snapshot *graph, const snapshot_edge *edge,
                                                arena *memory) {
    Interlock__Graph__V1__Edge *out = arena_alloc(memory, sizeof *out);
    if (out == NULL)
        return NULL;
    interlock__graph__v1__edge__init(out);
    out->from = (char *)graph->nodes[edge->from].name;
    out->to = (char *)graph->nodes[edge->to].name;
    out->kind = edge->kind;
    out->provenance = edge->source;
    out->confidence = edge->confidence;
    out->source = arena_text(memory, "otlp");
    out->valid_from_ms = edge->valid_from_ms;
    out->recorded_from_ms = edge->recorded_from_ms;
    out->calls = edge->calls;
    out->requests_with_call = edge->requests_with_call;
    out->rate_per_second = edge->rate_per_second;
    return out->source == NULL ? NULL : out;
}

static status_code graph_fill(const snapshot *graph, arena *memory, graph_response *out, failure *why) {
    out->nodes = arena_alloc(memory, (graph->node_count + 1) * sizeof(Interlock__Graph__V1__Node *));
    out->edges = arena_alloc(memory, (graph->edge_count + 1) * sizeof(Interlock__Graph__V1__Edge *));
    if (out->nodes == NULL || out->edges == NULL)
        return out_of_arena(why);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        if (!graph->nodes[i].visible)
            continue;
        if ((out->nodes[out->n_nodes] = node_message(&graph->nodes[i], memory)) == NULL)
            return out_of_arena(why);
        out->n_nodes++;
    }
    for (uint32_t i = 0; i < graph->edge_count; i++) {
        if ((out->edges[i] = edge_message(graph, &graph->edges[i], memory)) == NULL)
            return out_of_arena(why);
        out->n_edges++;
    }
    qsort(out->nodes, out->n_nodes, sizeof(Interlock__Graph__V1__Node *), node_compare);
    qsort(out->edges, out->n_edges, sizeof(Interlock__Graph__V1__Edge *), edge_compare);
    out->revision = graph->revision;
    out->as_of_ms = graph->as_of_ms;
    return STATUS_OK;
}

status_code graph_get(graph_service *self, arena *memory, graph_response *out, failure *why) {
    snapshot *graph = ingest_snapshot(self->ingest);
    status_code status = graph_fill(graph, memory, out, why);
    snapshot_release(graph);
    if (status == STATUS_OK && protobuf_c_message_get_packed_size(&out->base) > LIMIT_MESSAGE_BYTES)
        return out_of_arena(why);
    return status;
}
