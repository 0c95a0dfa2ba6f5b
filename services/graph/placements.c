/* Pods are remembered by their names; the history is told once, and again when a pod comes back or moves. */
#include "placements.h"

#include <stdlib.h>
#include <string.h>

#include "texts.h"

#define SWEEP_MS 60000

typedef struct placed {
    uint32_t service, pod, host; /* numbers of names; TEXTS_NONE: not stated */
    uint32_t stated_host;        /* what the history was told last */
    int64_t first_ms, last_ms;   /* of this stay */
    bool is_pod, stated, gone, waiting;
} placed;

struct placements {
    texts names; /* of nodes, owner 0 */
    texts pairs; /* owner: the service's name; text: number of the pod's */
    placed *items;
    uint32_t room;
    uint32_t *waiting; /* to be stated */
    size_t waiting_count, waiting_room;
    int64_t swept_ms, newest_ms;
    uint8_t *endpoints; /* by operation: stated */
    uint16_t *served;   /* by node: endpoints stated */
    uint32_t endpoint_room, served_room;
};

/* ---- Seeing
 * ------------------------------------------------------------------------------------------------------- */

static bool items_grow(placements *self, uint32_t number) {
    if (number < self->room)
        return true;
    uint32_t wanted = self->room == 0 ? 256 : self->room * 2;
    wanted = wanted > number ? wanted : number + 1;
    placed *grown = realloc(self->items, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + self->room, 0, (wanted - self->room) * sizeof *grown);
    self->items = grown;
    self->room = wanted;
    return true;
}

static void waits(placements *self, uint32_t number) {
    if (self->items[number].waiting)
        return;
    if (self->waiting_count == self->waiting_room) {
        size_t wanted = self->waiting_room == 0 ? 64 : self->waiting_room * 2;
        uint32_t *grown = realloc(self->waiting, wanted * sizeof *grown);
        if (grown == NULL)
            return;
        self->waiting = grown;
        self->waiting_room = wanted;
    }
    self->waiting[self->waiting_count++] = number;
    self->items[number].waiting = true;
}

static uint32_t name_number(placements *self, const char *name) {
    return texts_named(&self->names, 0, bytes_of_text(name));
}

void placements_see(placements *self, const resource_identity *from, int64_t time_ms) {
    char pod[LIMIT_NAME_BYTES];
    char host[LIMIT_NAME_BYTES];
    bool has_pod = from->pod.size > 0 && resource_pod(from, pod);
    bool has_host = resource_host(from, host);
    if (from->name[0] == '\0' || resource_is_nameless(from) || (!has_pod && !has_host))
        return;
    uint32_t service = name_number(self, from->name);
    uint32_t below = name_number(self, has_pod ? pod : host);
    uint32_t machine = has_pod && has_host ? name_number(self, host) : TEXTS_NONE;
    if (service == TEXTS_NONE || below == TEXTS_NONE)
        return;
    uint32_t number = texts_named(&self->pairs, service, bytes_of(&below, sizeof below));
    if (number == TEXTS_NONE || !items_grow(self, number))
        return;
    placed *item = &self->items[number];
    bool fresh = item->first_ms == 0 || item->gone;
    if (fresh)
        *item = (placed){.service = service,
                         .pod = below,
                         .host = machine,
                         .stated_host = TEXTS_NONE,
                         .is_pod = has_pod,
                         .first_ms = time_ms,
                         .waiting = item->waiting};
    if (machine != TEXTS_NONE && machine != item->host) {
        item->host = machine;
        item->stated = false;
    }
    if (time_ms > item->last_ms)
        item->last_ms = time_ms;
    if (time_ms > self->newest_ms)
        self->newest_ms = time_ms;
    if (!item->stated)
        waits(self, number);
}

bool placements_changed(const placements *self) {
    return self->waiting_count > 0;
}

/* ---- Stating
 * ------------------------------------------------------------------------------------------------------- */

static const char *name_of(const placements *self, uint32_t number) {
    return texts_at(&self->names, number);
}

/* What there is no room for is counted by the history; nothing here can help it. */
static status_code tolerated(status_code status) {
    return status == STATUS_RESOURCE_EXHAUSTED || status == STATUS_INVALID_ARGUMENT ? STATUS_OK : status;
}

static fact fact_made(int64_t from_ms, int64_t now_ms) {
    return (fact){.source = PROVENANCE_OBSERVED,
                  .confidence = 1.0,
                  .origin = "otlp",
                  .valid_from_ms = from_ms > now_ms ? now_ms
                                   : from_ms < 0    ? 0
                                                    : from_ms,
                  .valid_to_ms = HISTORY_OPEN};
}

static status_code host_state(history *into, const char *name, const char *role, int64_t from_ms,
                              int64_t now_ms, failure *why) {
    const attribute roles[] = {{"role", role}};
    fact what = fact_made(from_ms, now_ms);
    what.kind = NODE_HOST;
    what.name = name;
    what.attributes = roles;
    what.attribute_count = 1;
    return tolerated(history_assert(into, &what, now_ms, why));
}

static status_code edge_state(history *into, edge_kind kind, const char *from, const char *to,
                              int64_t from_ms, int64_t now_ms, failure *why) {
    fact what = fact_made(from_ms, now_ms);
    what.is_edge = true;
    what.kind = (int)kind;
    what.name = from;
    what.to = to;
    return tolerated(history_assert(into, &what, now_ms, why));
}

static status_code edge_end(history *into, const char *from, const char *to, int64_t to_ms, int64_t now_ms,
                            failure *why) {
    fact what = {.is_edge = true, .kind = EDGE_RUNS_ON, .name = from, .to = to, .origin = "otlp"};
    return tolerated(history_retract(into, &what, to_ms > now_ms ? now_ms : to_ms, now_ms, why));
}

static status_code machine_state(placements *self, placed *item, history *into, int64_t now_ms,
                                 failure *why) {
    const char *pod = name_of(self, item->pod);
    status_code status = STATUS_OK;
    if (item->stated_host != TEXTS_NONE && item->stated_host != item->host)
        status = edge_end(into, pod, name_of(self, item->stated_host), item->last_ms, now_ms, why);
    if (status != STATUS_OK || item->host == TEXTS_NONE)
        return status;
    status = host_state(into, name_of(self, item->host), "machine", item->first_ms, now_ms, why);
    if (status == STATUS_OK)
        status = edge_state(into, EDGE_RUNS_ON, pod, name_of(self, item->host),
                            item->stated_host == TEXTS_NONE ? item->first_ms : item->last_ms, now_ms, why);
    item->stated_host = item->host;
    return status;
}

static status_code placed_state(placements *self, uint32_t number, history *into, int64_t now_ms,
                                failure *why) {
    placed *item = &self->items[number];
    const char *service = name_of(self, item->service);
    const char *pod = name_of(self, item->pod);
    item->waiting = false;
    if (item->gone) {
        status_code status = edge_end(into, service, pod, item->last_ms, now_ms, why);
        if (status == STATUS_OK && item->stated_host != TEXTS_NONE)
            status = edge_end(into, pod, name_of(self, item->stated_host), item->last_ms, now_ms, why);
        return status;
    }
    status_code status = host_state(into, pod, item->is_pod ? "pod" : "machine", item->first_ms, now_ms, why);
    if (status == STATUS_OK)
        status = edge_state(into, EDGE_RUNS_ON, service, pod, item->first_ms, now_ms, why);
    if (status == STATUS_OK)
        status = machine_state(self, item, into, now_ms, why);
    item->stated = true;
    return status;
}

/* Of services that are heard of, the pods that are not; looked for once a minute of telemetry's own time. */
static void gone_find(placements *self) {
    if (self->newest_ms < self->swept_ms + SWEEP_MS)
        return;
    self->swept_ms = self->newest_ms;
    for (uint32_t i = 0; i < self->pairs.count && i < self->room; i++) {
        placed *item = &self->items[i];
        if (item->stated && !item->gone && item->last_ms + PLACEMENTS_SILENT_MS < self->newest_ms) {
            item->gone = true;
            item->stated = false;
            waits(self, i);
        }
    }
}

/* ---- Endpoints
 * ------------------------------------------------------------------------------------------------------ */

static bool zeroed_grow(void **items, uint32_t *room, uint32_t number, size_t size) {
    if (number < *room)
        return true;
    uint32_t wanted = number + 256;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    memset((uint8_t *)grown + *room * size, 0, (wanted - *room) * size);
    *items = grown;
    *room = wanted;
    return true;
}

static status_code endpoint_state(const char *service, const char *operation, history *into, int64_t now_ms,
                                  failure *why) {
    char name[LIMIT_NAME_BYTES];
    const attribute about[] = {{"operation", operation}, {"service", service}};
    if (!resource_endpoint(service, operation, name))
        return STATUS_OK;
    fact what = fact_made(now_ms, now_ms);
    what.kind = NODE_ENDPOINT;
    what.name = name;
    what.attributes = about;
    what.attribute_count = 2;
    status_code status = tolerated(history_assert(into, &what, now_ms, why));
    return status == STATUS_OK ? edge_state(into, EDGE_DECLARES, service, name, now_ms, now_ms, why) : status;
}

/* Operations through which requests have passed since the last commit. */
static status_code endpoints_state(placements *self, const model *traffic, history *into, int64_t now_ms,
                                   failure *why) {
    const operations *all = model_operations(traffic);
    flow_numbers changed = flows_changed_totals(model_flows(traffic), FLOW_TOTALS_OPERATION);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < changed.count && status == STATUS_OK; i++) {
        uint32_t number = changed.numbers[i];
        operation_info info = operations_at(all, number);
        if (!zeroed_grow((void **)&self->endpoints, &self->endpoint_room, number, sizeof *self->endpoints) ||
            !zeroed_grow((void **)&self->served, &self->served_room, info.node, sizeof *self->served))
            return STATUS_OK;
        if (self->endpoints[number] != 0 || self->served[info.node] == PLACEMENTS_ENDPOINTS_NODE_MAX ||
            flows_operation_totals(model_flows(traffic), number).calls <= 0)
            continue;
        self->endpoints[number] = 1;
        self->served[info.node]++;
        status = endpoint_state(model_node_at(traffic, info.node)->name, info.text, into, now_ms, why);
    }
    return status;
}

status_code placements_state(placements *self, const model *traffic, history *into, int64_t now_ms,
                             failure *why) {
    status_code status = STATUS_OK;
    gone_find(self);
    for (size_t i = 0; i < self->waiting_count && status == STATUS_OK; i++)
        status = placed_state(self, self->waiting[i], into, now_ms, why);
    self->waiting_count = 0;
    return status == STATUS_OK ? endpoints_state(self, traffic, into, now_ms, why) : status;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code placements_create(placements **out, failure *why) {
    placements *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for placements");
    status_code status = texts_init(&self->names, 4 * PLACEMENTS_MAX, 4 * PLACEMENTS_MAX, 1, why);
    if (status == STATUS_OK)
        status = texts_init(&self->pairs, PLACEMENTS_MAX, PODS_NODE_MAX, 2, why);
    if (status != STATUS_OK) {
        placements_free(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void placements_free(placements *self) {
    if (self == NULL)
        return;
    texts_free(&self->names);
    texts_free(&self->pairs);
    free(self->items);
    free(self->waiting);
    free(self->endpoints);
    free(self->served);
    free(self);
}
