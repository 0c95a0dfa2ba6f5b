/* The past as the graph has it. A service's deploy is there until the next one, so deploys are found by going
 * back from now, each time to just before the newest that was seen; settings, flags and incidents stay and
 * tell their own history. */
#include "backtest_graph.h"

#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>

#include "client/history_client.h"
#include "progress.h"

#define SNAPSHOT_BYTES (128U << 20)
#define STEPS_MAX 50000U
#define TIMEOUT_MS 30000U

typedef Interlock__Graph__V1__NodeKind node_kind;
typedef Interlock__Graph__V1__EdgeKind edge_kind;
#define NODE(kind) INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_##kind
#define EDGE(kind) INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_##kind

typedef struct seen_name {
    UT_hash_handle hh;
    char name[];
} seen_name;

typedef struct past_reading {
    cli *shell;
    rpc_channel *graph;
    arena memory; /* of one snapshot */
    history_snapshot at;
    json_t *events;
    seen_name *deploys;
    bool out_of_memory;
    int64_t from_ms;
} past_reading;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph's past");
}

static status_code take_snapshot(past_reading *self, int64_t valid_at_ms, failure *why) {
    node_kind nodes[] = {NODE(SERVICE), NODE(DEPLOY),   NODE(CONFIG),
                         NODE(FLAG),    NODE(INCIDENT), NODE(DATASTORE)};
    edge_kind edges[] = {EDGE(CHANGED_BY), EDGE(AFFECTED), EDGE(CAUSED)};
    Interlock__Graph__V1__Instant at = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    Interlock__Graph__V1__SnapshotRequest request = INTERLOCK__GRAPH__V1__SNAPSHOT_REQUEST__INIT;
    at.valid_at_ms = valid_at_ms;
    request.at = &at;
    request.node_kinds = nodes;
    request.n_node_kinds = sizeof nodes / sizeof *nodes;
    request.edge_kinds = edges;
    request.n_edge_kinds = sizeof edges / sizeof *edges;
    request.with_attributes = true;
    arena_reset(&self->memory);
    return history_snapshot_wait(self->graph, &request, TIMEOUT_MS, &self->memory, &self->at, why);
}

/* ---- events ---- */

typedef struct attributes {
    Interlock__Graph__V1__Attribute *const *items;
    size_t count;
} attributes;

static const char *attribute(attributes from, const char *key) {
    for (size_t i = 0; i < from.count; i++)
        if (strcmp(from.items[i]->key, key) == 0)
            return from.items[i]->value;
    return "";
}

static json_t *moment(cli *shell, int64_t wall_ms) {
    char text[32];
    snprintf(text, sizeof text, "%s", cli_time(&shell->memory, wall_ms));
    char *space = strchr(text, ' ');
    if (space != NULL)
        *space = 'T';
    return json_string(text);
}

/* The other ends of a node's edges of one kind: services that it changed, or what an incident affects. */
static json_t *others(const past_reading *self, size_t place, edge_kind kind) {
    json_t *names = json_array();
    for (size_t i = 0; i < self->at.edge_count; i++) {
        const Interlock__Graph__V1__SnapshotEdge *edge = self->at.edges[i];
        size_t from = kind == EDGE(AFFECTED) ? edge->from : edge->to;
        size_t to = kind == EDGE(AFFECTED) ? edge->to : edge->from;
        if (edge->kind == kind && from == place)
            json_array_append_new(names, json_string(self->at.nodes[to]->name));
    }
    return names;
}

/* What the event said in so many words comes back as it was; `related` is taken over. */
static void add_event(past_reading *self, const char *type, const char *node, int64_t at_ms, attributes said,
                      const char *related_key, json_t *related) {
    static const char *const kept[] = {"version", "previous_version", "commit",   "image",
                                       "title",   "summary",          "severity", "variant"};
    const char *event = attribute(said, "event");
    json_t *data = json_pack("{s:s, s:o}", "name", node, related_key, related);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (attribute(said, kept[i])[0] != '\0')
            json_object_set_new(data, kept[i], json_string(attribute(said, kept[i])));
    if (attribute(said, "percent")[0] != '\0')
        json_object_set_new(data, "percent", json_real(strtod(attribute(said, "percent"), NULL)));
    json_array_append_new(self->events,
                          json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:o}", "specversion", "1.0", "id",
                                    event[0] != '\0' ? event : node, "source", "graph", "type", type, "time",
                                    moment(self->shell, at_ms), "subject", node, "data", data));
}

/* ---- deploys: back through time ---- */

static bool first_sight(past_reading *self, const char *name) {
    seen_name *found = NULL;
    HASH_FIND_STR(self->deploys, name, found);
    if (found != NULL)
        return false;
    size_t size = strlen(name) + 1;
    found = arena_zero(&self->shell->memory, 1, sizeof *found + size);
    if (found != NULL) {
        memcpy(found->name, name, size);
        HASH_ADD_STR(self->deploys, name, found);
    }
    self->out_of_memory = self->out_of_memory || found == NULL || found->hh.tbl == NULL;
    return true;
}

/* Takes the deploys of this snapshot; returns when the newest of them happened, 0 when there is none. */
static int64_t take_deploys(past_reading *self) {
    int64_t newest = 0;
    for (size_t i = 0; i < self->at.node_count; i++) {
        const Interlock__Graph__V1__SnapshotNode *node = self->at.nodes[i];
        if (node->kind != NODE(DEPLOY))
            continue;
        newest = node->valid_from_ms > newest ? node->valid_from_ms : newest;
        if (node->valid_from_ms < self->from_ms || !first_sight(self, node->name))
            continue;
        json_t *services = others(self, i, EDGE(CHANGED_BY));
        if (json_array_size(services) == 0)
            json_array_append_new(services, json_string(node->name));
        add_event(self, "interlock.deploy", node->name, node->valid_from_ms,
                  (attributes){node->attributes, node->n_attributes}, "services", services);
    }
    return newest;
}

static status_code walk_back(past_reading *self, failure *why) {
    progress shown;
    int64_t newest = take_deploys(self), begin = newest;
    status_code code = STATUS_OK;
    progress_start(&shown, self->shell->source, "past states of the graph");
    for (unsigned step = 0; code == STATUS_OK && step < STEPS_MAX && newest > self->from_ms && newest > 1;
         step++) {
        int64_t before = newest - 1;
        failure compacted = {0};
        code = take_snapshot(self, before, &compacted);
        if (code == STATUS_OUT_OF_RANGE) { /* before it nothing is kept */
            code = STATUS_OK;
            break;
        }
        if (code != STATUS_OK && why != NULL)
            *why = compacted;
        newest = code == STATUS_OK ? take_deploys(self) : 0;
        progress_at(&shown, (uint64_t)(begin - before), (uint64_t)(begin - self->from_ms));
        if (newest > before)
            break;
    }
    progress_end(&shown);
    return code == STATUS_OK && self->out_of_memory ? no_memory(why) : code;
}

/* ---- what stays and tells its own history ---- */

typedef struct standing {
    const char *name;
    node_kind kind;
    json_t *related; /* the services that it changed; of an incident, what is known to have caused it */
} standing;

static status_code incident_affected(past_reading *self, const char *name, int64_t at_ms, json_t **out,
                                     failure *why) {
    status_code code = take_snapshot(self, at_ms, why);
    *out = NULL;
    for (size_t i = 0; code == STATUS_OK && i < self->at.node_count && *out == NULL; i++)
        if (strcmp(self->at.nodes[i]->name, name) == 0)
            *out = others(self, i, EDGE(AFFECTED));
    if (*out == NULL)
        *out = json_array();
    return code;
}

static status_code add_version(past_reading *self, const standing *what,
                               const Interlock__Graph__V1__Version *version, failure *why) {
    attributes said = {version->attributes, version->n_attributes};
    const char *state = attribute(said, "state");
    json_t *affected = NULL;
    if (what->kind != NODE(INCIDENT)) {
        add_event(self, what->kind == NODE(FLAG) ? "interlock.flag" : "interlock.config", what->name,
                  version->valid_from_ms, said, "services", json_deep_copy(what->related));
        return STATUS_OK;
    }
    status_code code = incident_affected(self, what->name, version->valid_from_ms, &affected, why);
    add_event(self,
              strcmp(state, "resolved") == 0 ? "interlock.incident.resolved" : "interlock.incident.updated",
              what->name, version->valid_from_ms, said, "affected", affected);
    json_t *data = json_object_get(json_array_get(self->events, json_array_size(self->events) - 1), "data");
    json_object_set(data, "caused_by", what->related);
    return code;
}

/* A node's versions, each event once: sources say the same again when they learn more. */
static status_code add_history(past_reading *self, const standing *what, failure *why) {
    Interlock__Graph__V1__HistoryRequest request = INTERLOCK__GRAPH__V1__HISTORY_REQUEST__INIT;
    Interlock__Graph__V1__HistoryResponse *answer = NULL;
    json_t *told = json_object();
    status_code code = STATUS_OK;
    request.name = (char *)what->name;
    do {
        code = history_past_wait(self->graph, &request, TIMEOUT_MS, &self->shell->memory, &answer, why);
        for (size_t i = 0; code == STATUS_OK && i < answer->n_versions; i++) {
            const Interlock__Graph__V1__Version *version = answer->versions[i];
            const char *event = attribute((attributes){version->attributes, version->n_attributes}, "event");
            if (!version->present || version->valid_from_ms < self->from_ms || event[0] == '\0' ||
                json_object_get(told, event) != NULL)
                continue;
            json_object_set_new(told, event, json_true());
            code = add_version(self, what, version, why);
        }
        request.page_token = code == STATUS_OK ? answer->next_page_token : (char *)"";
    } while (code == STATUS_OK && request.page_token[0] != '\0');
    json_decref(told);
    return code;
}

static bool stands(node_kind kind) {
    return kind == NODE(CONFIG) || kind == NODE(FLAG) || kind == NODE(INCIDENT);
}

/* Names outlive the snapshot that they come from. */
static status_code list_standing(past_reading *self, standing **out, size_t *count, failure *why) {
    standing *made = arena_zero(&self->shell->memory, self->at.node_count + 1, sizeof *made);
    if (made == NULL)
        return no_memory(why);
    for (size_t i = 0; i < self->at.node_count; i++) {
        const Interlock__Graph__V1__SnapshotNode *node = self->at.nodes[i];
        if (!stands(node->kind))
            continue;
        standing *added = &made[(*count)++];
        *added = (standing){.name = arena_text(&self->shell->memory, node->name), .kind = node->kind};
        if (added->name == NULL)
            return no_memory(why);
        added->related = others(self, i, node->kind == NODE(INCIDENT) ? EDGE(CAUSED) : EDGE(CHANGED_BY));
    }
    *out = made;
    return STATUS_OK;
}

static status_code read_past(past_reading *self, failure *why) {
    standing *known = NULL;
    size_t count = 0;
    status_code code = take_snapshot(self, 0, why);
    if (code == STATUS_OK)
        code = list_standing(self, &known, &count, why);
    if (code == STATUS_OK)
        code = walk_back(self, why);
    for (size_t i = 0; i < count && known != NULL; i++) {
        if (code == STATUS_OK)
            code = add_history(self, &known[i], why);
        json_decref(known[i].related);
    }
    return code;
}

status_code backtest_graph_events(cli *self, int64_t from_ms, json_t **out, failure *why) {
    past_reading work = {.shell = self, .events = json_array(), .from_ms = from_ms};
    arena_init(&work.memory, 1U << 20, SNAPSHOT_BYTES);
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &work.graph, why);
    if (code == STATUS_OK)
        code = read_past(&work, why);
    HASH_CLEAR(hh, work.deploys);
    rpc_channel_close(work.graph);
    arena_free(&work.memory);
    if (code == STATUS_OK)
        *out = work.events;
    else
        json_decref(work.events);
    return code;
}
