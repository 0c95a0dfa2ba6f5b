/* Copying the model into arrays that are quick to search: callers by node and shapes by node, each in one
 * piece. */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

static uint64_t text_hash(const char *text) {
    uint64_t hash = 0xcbf29ce484222325U;
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3U;
    return mix64(hash, 0);
}

static void *array_make(size_t count, size_t size) {
    return calloc(count == 0 ? 1 : count, size);
}

static void snapshot_free(snapshot *self) {
    free(self->nodes);
    free(self->edges);
    impact_graph_free(self->impact);
    free(self->stated_names);
    free(self->bonds);
    free(self->shapes);
    free(self->members);
    free(self->node_shapes);
    free(self->name_index);
    free(self);
}

snapshot *snapshot_reference(snapshot *self) {
    __atomic_add_fetch(&self->references, 1, __ATOMIC_RELAXED);
    return self;
}

void snapshot_release(snapshot *self) {
    if (self != NULL && __atomic_sub_fetch(&self->references, 1, __ATOMIC_ACQ_REL) == 0)
        snapshot_free(self);
}

/* ---- Nodes
 * -------------------------------------------------------------------------------------------------------- */

static void name_put(snapshot *self, uint32_t number) {
    uint32_t place = (uint32_t)text_hash(self->nodes[number].name) & self->name_index_mask;
    while (self->name_index[place] != 0)
        place = (place + 1) & self->name_index_mask;
    self->name_index[place] = number + 1;
}

/* The node of that name, whether it may be seen or not. */
static uint32_t name_find(const snapshot *self, const char *name) {
    for (uint32_t place = (uint32_t)text_hash(name) & self->name_index_mask; self->name_index[place] != 0;
         place = (place + 1) & self->name_index_mask)
        if (strcmp(self->nodes[self->name_index[place] - 1].name, name) == 0)
            return self->name_index[place] - 1;
    return MODEL_NONE;
}

/* With room for `more` nodes that others state. */
static bool copy_nodes(snapshot *self, const model *from, size_t more) {
    self->node_count = self->model_count = model_node_count(from);
    self->nodes = array_make(self->node_count + more, sizeof *self->nodes);
    self->name_index_mask = 1023;
    while (self->name_index_mask < (self->node_count + more) * 2)
        self->name_index_mask = self->name_index_mask * 2 + 1;
    self->name_index = array_make((size_t)self->name_index_mask + 1, sizeof *self->name_index);
    if (self->nodes == NULL || self->name_index == NULL)
        return false;
    for (uint32_t i = 0; i < self->node_count; i++) {
        const model_node *node = model_node_at(from, i);
        self->nodes[i] = (snapshot_node){.name = node->name,
                                         .kind = node->kind,
                                         .source = node->source,
                                         .confidence = node->confidence,
                                         .valid_from_ms = node->valid_from_ms,
                                         .recorded_from_ms = node->recorded_from_ms,
                                         .requests = node->requests,
                                         .entry_requests = node->entry_requests,
                                         .overflow = node->overflow,
                                         .unattributed = (double)node->unattributed,
                                         .visible = node->visible};
        name_put(self, i);
    }
    return true;
}

uint32_t snapshot_find(const snapshot *self, const char *name) {
    uint32_t number = name_find(self, name);
    bool shown = number != MODEL_NONE && (self->nodes[number].visible || self->nodes[number].stated);
    return shown ? number : MODEL_NONE;
}

/* ---- Edges
 * -------------------------------------------------------------------------------------------------------- */

static double edge_rate(const model_edge *edge) {
    double seconds = (double)(edge->last_ms - edge->valid_from_ms) / 1000;
    return edge->calls / (seconds < 1 ? 1 : seconds);
}

static bool copy_edges(snapshot *self, const model *from) {
    self->edge_count = model_edge_count(from);
    self->edges = array_make(self->edge_count, sizeof *self->edges);
    if (self->edges == NULL)
        return false;
    for (uint32_t i = 0; i < self->edge_count; i++) {
        const model_edge *edge = model_edge_at(from, i);
        self->edges[i] = (snapshot_edge){.from = edge->from,
                                         .to = edge->to,
                                         .kind = edge->kind,
                                         .source = edge->source,
                                         .confidence = edge->confidence,
                                         .valid_from_ms = edge->valid_from_ms,
                                         .recorded_from_ms = edge->recorded_from_ms,
                                         .calls = edge->calls,
                                         .requests_with_call = edge->requests_with_call,
                                         .rate_per_second = edge_rate(edge)};
    }
    return true;
}

/* ---- Shapes
 * ------------------------------------------------------------------------------------------------------- */

static bool shape_counts(const shape *item) {
    return item->used && item->traces > 0;
}

static bool shapes_allocate(snapshot *self, const shapes *from) {
    size_t members = 0;
    for (uint32_t i = 0; i < from->count; i++)
        if (shape_counts(&from->items[i])) {
            self->shape_count++;
            members += from->items[i].member_count;
        }
    self->shapes = array_make(self->shape_count, sizeof *self->shapes);
    self->members = array_make(members, sizeof *self->members);
    self->node_shapes = array_make(members, sizeof *self->node_shapes);
    return self->shapes != NULL && self->members != NULL && self->node_shapes != NULL;
}

static void shape_copy(snapshot *self, const shape *item, double recent_requests, uint32_t number,
                       uint32_t members_first) {
    self->shapes[number] = (snapshot_shape){.requests = item->requests,
                                            .reach = item->reach,
                                            .recent = recent_requests,
                                            .members_first = members_first,
                                            .members_count = item->member_count};
    for (uint32_t i = 0; i < item->member_count; i++) {
        snapshot_node *node = &self->nodes[item->members[i]];
        self->members[members_first + i] = item->members[i];
        node->traces += item->traces;
        node->reached += item->requests;
        node->shapes_count++;
    }
}

static void shapes_by_node(snapshot *self) {
    for (uint32_t i = 0, first = 0; i < self->node_count; i++) {
        self->nodes[i].shapes_first = first;
        first += self->nodes[i].shapes_count;
        self->nodes[i].shapes_count = 0;
    }
    for (uint32_t i = 0; i < self->shape_count; i++) {
        const snapshot_shape *item = &self->shapes[i];
        for (uint32_t j = 0; j < item->members_count; j++) {
            snapshot_node *node = &self->nodes[self->members[item->members_first + j]];
            self->node_shapes[node->shapes_first + node->shapes_count++] = i;
        }
    }
}

static bool copy_shapes(snapshot *self, const model *from, int64_t now_ms) {
    const shapes *all = model_shapes(from);
    double *recent_by_shape = calloc(SHAPES_MAX, sizeof *recent_by_shape);
    if (recent_by_shape == NULL || !shapes_allocate(self, all)) {
        free(recent_by_shape);
        return false;
    }
    self->entry_recent = model_recent_requests(from, now_ms, recent_by_shape);
    uint32_t number = 0;
    uint32_t members_first = 0;
    for (uint32_t i = 0; i < all->count; i++)
        if (shape_counts(&all->items[i])) {
            shape_copy(self, &all->items[i], recent_by_shape[i], number++, members_first);
            members_first += all->items[i].member_count;
        }
    shapes_by_node(self);
    free(recent_by_shape);
    return true;
}

/* ---- What impact spreads over
 * ------------------------------------------------------------------------------------------------------- */

#define WAITS_LEAST 1e-3 /* below it nothing is waited for */

static double edge_share(const model_edge *edge, const model_node *caller) {
    if (edge->requests_with_call <= 0 || caller->requests <= 0)
        return 1;
    double share = edge->requests_with_call / caller->requests;
    return share < 1 ? share : 1;
}

/* A caller that is done sooner than what it calls does not wait for it: of its calls, by the square of how
 * much too long they take (measured clocks and sketches are not so exact that slightly more than all of the
 * time would mean anything). Calls through queues are not waited for at all. */
static double edge_waits(const flow_counts *calls, const flow_counts *caller) {
    double waits = 1;
    if (calls->calls > 0)
        waits -= calls->asynchronous / calls->calls;
    if (caller->seconds > 0 && calls->seconds > caller->seconds) {
        double part = caller->seconds / calls->seconds;
        waits *= part * part;
    }
    return waits > WAITS_LEAST ? waits : 0;
}

static propagation_class class_of(const snapshot *self, const snapshot_edge *edge) {
    if (edge->kind == EDGE_PUBLISHES || edge->kind == EDGE_CONSUMES)
        return PROPAGATION_QUEUE;
    if (edge->kind == EDGE_RUNS_ON)
        return PROPAGATION_HOST;
    bool store =
        edge->kind == EDGE_READS || edge->kind == EDGE_WRITES || self->nodes[edge->to].kind == NODE_DATASTORE;
    return store ? PROPAGATION_STORE : PROPAGATION_CALL;
}

static impact_edge spread_edge(const snapshot *self, const model *from, uint32_t number,
                               const flows *measured) {
    const model_edge *edge = model_edge_at(from, number);
    impact_edge out = {.from = edge->from,
                       .to = edge->to,
                       .class = class_of(self, &self->edges[number]),
                       .share = edge_share(edge, model_node_at(from, edge->from)),
                       .waits = 1};
    if (edge->requests_with_call > 0)
        out.calls = edge->calls / edge->requests_with_call;
    if (measured == NULL)
        return out;
    flow_counts calls = flows_edge_totals(measured, number);
    flow_counts caller = flows_node_totals(measured, edge->from);
    out.waits = edge_waits(&calls, &caller);
    if (calls.calls > 0)
        out.delay_ms = 1000 * calls.seconds / calls.calls;
    /* Two failures more than were seen, that were not survived: few say little. */
    out.fallback = calls.fell_back / (calls.failed + 2);
    return out;
}

static node_kind kind_of(const char *name) {
    name_parts parts = {.kind = INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_UNSPECIFIED};
    failure why = {0};
    return name_parse(name, &parts, &why) == STATUS_OK ? parts.kind : NODE_SERVICE;
}

/* The node that a dependency names, made when nobody knew it. */
static uint32_t stated_node(snapshot *self, const char *name, char **names_end) {
    uint32_t number = name_find(self, name);
    if (number == MODEL_NONE) {
        size_t size = strlen(name) + 1;
        number = self->node_count++;
        memcpy(*names_end, name, size);
        self->nodes[number] = (snapshot_node){.name = *names_end, .kind = kind_of(*names_end)};
        *names_end += size;
        name_put(self, number);
    }
    self->nodes[number].stated = true;
    return number;
}

static size_t names_bytes(const snapshot_sources *sources) {
    size_t size = 1;
    for (size_t i = 0; i < sources->dependency_count; i++)
        size += strlen(sources->dependencies[i].from) + strlen(sources->dependencies[i].to) + 2;
    for (size_t i = 0; i < sources->tie_count; i++)
        size += strlen(sources->ties[i].to) + 1;
    return size;
}

static int bond_compare(const void *left, const void *right) {
    const snapshot_bond *a = left;
    const snapshot_bond *b = right;
    return a->node < b->node ? -1 : a->node > b->node;
}

static bool stated_bonds(snapshot *self, const snapshot_sources *sources, char *names_end) {
    self->bonds = array_make(sources->tie_count, sizeof *self->bonds);
    for (size_t i = 0; self->bonds != NULL && i < sources->tie_count; i++) {
        uint32_t node = name_find(self, sources->ties[i].node);
        if (node == MODEL_NONE)
            continue;
        self->bonds[self->bond_count++] = (snapshot_bond){
            .node = node, .to = (uint32_t)(names_end - self->stated_names), .owner = sources->ties[i].owner};
        names_end = stpcpy(names_end, sources->ties[i].to) + 1;
    }
    if (self->bonds != NULL)
        qsort(self->bonds, self->bond_count, sizeof *self->bonds, bond_compare);
    return self->bonds != NULL;
}

/* Of a caller whose requests were seen, its calls are known: what is stated besides is drift, not traffic. */
static uint32_t stated_edges(snapshot *self, const snapshot_sources *sources, impact_edge *out,
                             char **names_end) {
    uint32_t count = 0;
    for (size_t i = 0; i < sources->dependency_count; i++) {
        const snapshot_dependency *item = &sources->dependencies[i];
        uint32_t from = stated_node(self, item->from, names_end);
        uint32_t to = stated_node(self, item->to, names_end);
        if (item->class != PROPAGATION_HOST && self->nodes[from].requests > 0 && self->nodes[to].requests > 0)
            continue;
        out[count++] = (impact_edge){.from = from,
                                     .to = to,
                                     .class = item->class,
                                     .share = item->share > 0 ? item->share : 1,
                                     .calls = item->calls,
                                     .waits = item->waits};
    }
    return count;
}

/* Every incident is an experiment: of whoever calls what it affected, some were affected as well. */
static void incident_learn(snapshot *self, const uint32_t *nodes, size_t count, uint32_t *marks,
                           uint32_t mark) {
    for (size_t i = 0; i < count; i++)
        marks[self->impact->place[nodes[i]]] = mark;
    for (size_t i = 0; i < count; i++) {
        uint32_t place = self->impact->place[nodes[i]];
        for (uint32_t j = self->impact->first[place]; j < self->impact->first[place + 1]; j++) {
            const impact_caller *edge = &self->impact->callers[j];
            propagation_learn(&self->learnt, (propagation_class)edge->class, PROPAGATION_VERBS - 1,
                              (double)edge->share, marks[edge->from] == mark);
        }
    }
}

static bool copy_learnt(snapshot *self, const snapshot_sources *sources) {
    uint32_t *marks = array_make(self->node_count, sizeof *marks);
    uint32_t *nodes = array_make(sources->affected_count, sizeof *nodes);
    const snapshot_affected *all = sources->affected;
    for (size_t i = 0, next; marks != NULL && nodes != NULL && i < sources->affected_count; i = next) {
        size_t count = 0;
        for (next = i; next < sources->affected_count && strcmp(all[next].incident, all[i].incident) == 0;
             next++) {
            uint32_t node = name_find(self, all[next].node);
            if (node != MODEL_NONE)
                nodes[count++] = node;
        }
        incident_learn(self, nodes, count, marks, (uint32_t)i + 1);
    }
    bool good = marks != NULL && nodes != NULL;
    free(marks);
    free(nodes);
    return good;
}

static void spread_nodes(const snapshot *self, const flows *measured, impact_node *out,
                         const impact_edge *edges, uint32_t edge_count) {
    for (uint32_t i = 0; i < self->node_count; i++) {
        const snapshot_node *node = &self->nodes[i];
        out[i].opaque = node->stated && node->requests <= 0;
        out[i].self_part = 1;
        if (self->entry_requests > 0)
            out[i].entry = node->entry_requests / self->entry_requests;
    }
    for (uint32_t i = 0; i < edge_count; i++)
        out[edges[i].from].opaque = false;
    for (uint32_t i = 0; measured != NULL && i < self->edge_count; i++) {
        flow_counts caller = flows_node_totals(measured, self->edges[i].from);
        if (caller.seconds > 0)
            out[self->edges[i].from].self_part -= flows_edge_totals(measured, i).seconds / caller.seconds;
    }
}

static bool copy_impact(snapshot *self, const model *from, const snapshot_sources *sources, failure *why) {
    size_t edge_room = self->edge_count + sources->dependency_count;
    impact_edge *edges = array_make(edge_room, sizeof *edges);
    impact_node *nodes = NULL;
    self->stated_names = malloc(names_bytes(sources));
    bool good = edges != NULL && self->stated_names != NULL;
    uint32_t count = 0;
    for (; good && count < self->edge_count; count++)
        edges[count] = spread_edge(self, from, count, sources->flows);
    if (good) {
        char *names_end = self->stated_names;
        count += stated_edges(self, sources, edges + count, &names_end);
        good = stated_bonds(self, sources, names_end);
    }
    if (good) {
        nodes = array_make(self->node_count, sizeof *nodes);
        good = nodes != NULL;
    }
    if (good) {
        spread_nodes(self, sources->flows, nodes, edges, count);
        good = impact_graph_create(&self->impact, nodes, self->node_count, edges, count, why) == STATUS_OK &&
               copy_learnt(self, sources);
    }
    free(edges);
    free(nodes);
    return good;
}

status_code snapshot_create(snapshot **out, const model *from, uint64_t revision, int64_t now_ms,
                            failure *why) {
    return snapshot_create_with(out, from, &(snapshot_sources){0}, revision, now_ms, why);
}

status_code snapshot_create_with(snapshot **out, const model *from, const snapshot_sources *sources,
                                 uint64_t revision, int64_t now_ms, failure *why) {
    snapshot *self = calloc(1, sizeof *self);
    const model_totals *totals = model_totals_of(from);
    if (self != NULL) {
        self->revision = revision;
        self->totals = *totals;
        self->as_of_ms = totals->as_of_ms;
        self->entry_requests = totals->entry_requests;
        self->entry_squares = totals->entry_squares;
        self->overflow = totals->overflow;
        self->references = 1;
    }
    if (self == NULL || !copy_nodes(self, from, 2 * sources->dependency_count) || !copy_edges(self, from) ||
        !copy_shapes(self, from, now_ms) || !copy_impact(self, from, sources, why)) {
        if (self != NULL)
            snapshot_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a snapshot of the graph");
    }
    *out = self;
    return STATUS_OK;
}
