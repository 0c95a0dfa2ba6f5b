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
    free(self->callers);
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

static bool copy_nodes(snapshot *self, const model *from) {
    self->node_count = model_node_count(from);
    self->nodes = array_make(self->node_count, sizeof *self->nodes);
    self->name_index_mask = 1023;
    while (self->name_index_mask < self->node_count * 2)
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
        uint32_t place = (uint32_t)text_hash(node->name) & self->name_index_mask;
        while (self->name_index[place] != 0)
            place = (place + 1) & self->name_index_mask;
        self->name_index[place] = i + 1;
    }
    return true;
}

uint32_t snapshot_find(const snapshot *self, const char *name) {
    for (uint32_t place = (uint32_t)text_hash(name) & self->name_index_mask; self->name_index[place] != 0;
         place = (place + 1) & self->name_index_mask) {
        uint32_t number = self->name_index[place] - 1;
        if (strcmp(self->nodes[number].name, name) == 0)
            return self->nodes[number].visible ? number : MODEL_NONE;
    }
    return MODEL_NONE;
}

/* ---- Edges
 * -------------------------------------------------------------------------------------------------------- */

static double edge_share(const model_edge *edge, const model_node *caller) {
    if (edge->requests_with_call <= 0 || caller->requests <= 0)
        return 1;
    double share = edge->requests_with_call / caller->requests;
    return share < 1 ? share : 1;
}

static double edge_rate(const model_edge *edge) {
    double seconds = (double)(edge->last_ms - edge->valid_from_ms) / 1000;
    return edge->calls / (seconds < 1 ? 1 : seconds);
}

static bool copy_edges(snapshot *self, const model *from) {
    self->edge_count = model_edge_count(from);
    self->edges = array_make(self->edge_count, sizeof *self->edges);
    self->callers = array_make(self->edge_count, sizeof *self->callers);
    if (self->edges == NULL || self->callers == NULL)
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
        self->nodes[edge->to].callers_count++;
    }
    for (uint32_t i = 0, first = 0; i < self->node_count; i++) {
        self->nodes[i].callers_first = first;
        first += self->nodes[i].callers_count;
        self->nodes[i].callers_count = 0;
    }
    for (uint32_t i = 0; i < self->edge_count; i++) {
        const model_edge *edge = model_edge_at(from, i);
        snapshot_node *to = &self->nodes[edge->to];
        self->callers[to->callers_first + to->callers_count++] =
            (snapshot_caller){.from = edge->from, .share = edge_share(edge, model_node_at(from, edge->from))};
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

status_code snapshot_create(snapshot **out, const model *from, uint64_t revision, int64_t now_ms,
                            failure *why) {
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
    if (self == NULL || !copy_nodes(self, from) || !copy_edges(self, from) ||
        !copy_shapes(self, from, now_ms)) {
        if (self != NULL)
            snapshot_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a snapshot of the graph");
    }
    *out = self;
    return STATUS_OK;
}
