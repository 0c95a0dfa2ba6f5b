/* Nodes and edges of the model: finding them by name and by ends, making them within bounds, and noting what
 * the store has to write. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

#define CONFIDENCE_OBSERVED 1.0
#define CONFIDENCE_DATASTORE 0.8 /* a client named it together with what kind of store or queue it is */
#define CONFIDENCE_PEER 0.5      /* a client named it, and no span of it came */

/* ---- Growing
 * ------------------------------------------------------------------------------------------------------ */

static bool number_list_add(number_list *self, uint32_t number) {
    if (self->count == self->room) {
        size_t room = self->room == 0 ? 256 : self->room * 2;
        uint32_t *grown = realloc(self->items, room * sizeof *grown);
        if (grown == NULL)
            return false;
        self->items = grown;
        self->room = room;
    }
    self->items[self->count++] = number;
    return true;
}

/* Doubles `items` of `size` when full; false without memory. */
static bool array_grow(void **items, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room)
        return true;
    uint32_t wanted = *room == 0 ? 256 : *room * 2;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

static uint64_t name_hash(const model *self, const char *name) {
    uint64_t hash = self->seed[0];
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, name + i, size - i < 8 ? size - i : 8);
        hash = mix64(hash, word);
    }
    return hash;
}

static uint64_t edge_hash(const model *self, uint32_t from, uint32_t to, edge_kind kind) {
    return mix64(self->seed[1] ^ (uint64_t)kind, (uint64_t)from << 32 | to);
}

/* Both indexes are open addressing over numbers, at most half full. */
static void index_insert(uint32_t *index, uint32_t mask, uint64_t hash, uint32_t number) {
    uint32_t place = (uint32_t)hash & mask;
    while (index[place] != 0)
        place = (place + 1) & mask;
    index[place] = number + 1;
}

static bool node_index_grow(model *self) {
    if (self->node_index != NULL && self->node_count * 2 <= self->node_index_mask)
        return true;
    uint32_t mask = self->node_index == NULL ? 1023 : self->node_index_mask * 2 + 1;
    uint32_t *index = calloc((size_t)mask + 1, sizeof *index);
    if (index == NULL)
        return false;
    for (uint32_t i = 0; i < self->node_count; i++)
        index_insert(index, mask, self->nodes[i].name_hash, i);
    free(self->node_index);
    self->node_index = index;
    self->node_index_mask = mask;
    return true;
}

static bool edge_index_grow(model *self) {
    if (self->edge_index != NULL && self->edge_count * 2 <= self->edge_index_mask)
        return true;
    uint32_t mask = self->edge_index == NULL ? 1023 : self->edge_index_mask * 2 + 1;
    uint32_t *index = calloc((size_t)mask + 1, sizeof *index);
    if (index == NULL)
        return false;
    for (uint32_t i = 0; i < self->edge_count; i++) {
        const model_edge *edge = &self->edges[i];
        index_insert(index, mask, edge_hash(self, edge->from, edge->to, edge->kind), i);
    }
    free(self->edge_index);
    self->edge_index = index;
    self->edge_index_mask = mask;
    return true;
}

/* ---- What the store has to write
 * ---------------------------------------------------------------------------------- */

void model_adjust(const model *self, double *count, double by) {
    if (self->restoring)
        return;
    double value = *count + by;
    *count = value < 0 ? 0 : value;
}

void model_node_touch(model *self, uint32_t node) {
    model_node *item = &self->nodes[node];
    if (!self->restoring && !item->dirty)
        item->dirty = number_list_add(&self->dirty_nodes, node);
}

void model_edge_touch(model *self, uint32_t edge) {
    model_edge *item = &self->edges[edge];
    if (!self->restoring && !item->dirty)
        item->dirty = number_list_add(&self->dirty_edges, edge);
}

void model_shape_touch(model *self, uint32_t shape_id) {
    shape *item = &self->shapes.items[shape_id];
    if (!self->restoring && !item->dirty)
        item->dirty = number_list_add(&self->dirty_shapes, shape_id);
}

model_changes model_changed(const model *self) {
    return (model_changes){.nodes = self->dirty_nodes.items,
                           .node_count = self->dirty_nodes.count,
                           .edges = self->dirty_edges.items,
                           .edge_count = self->dirty_edges.count,
                           .shapes = self->dirty_shapes.items,
                           .shape_count = self->dirty_shapes.count};
}

void model_mark_stored(model *self) {
    for (size_t i = 0; i < self->dirty_nodes.count; i++) {
        model_node *node = &self->nodes[self->dirty_nodes.items[i]];
        node->dirty = node->changed = false;
        node->stored = true;
    }
    for (size_t i = 0; i < self->dirty_edges.count; i++) {
        model_edge *edge = &self->edges[self->dirty_edges.items[i]];
        edge->dirty = edge->changed = false;
        edge->stored = true;
    }
    for (size_t i = 0; i < self->dirty_shapes.count; i++) {
        shape *item = &self->shapes.items[self->dirty_shapes.items[i]];
        item->dirty = false;
        item->stored = item->traces > 0;
    }
    self->dirty_nodes.count = self->dirty_edges.count = self->dirty_shapes.count = 0;
    flows_mark_stored(self->flows);
    operations_mark_stored(self->operations);
}

/* ---- Nodes
 * -------------------------------------------------------------------------------------------------------- */

static uint32_t node_find(const model *self, const char *name, uint64_t hash) {
    for (uint32_t place = (uint32_t)hash & self->node_index_mask; self->node_index[place] != 0;
         place = (place + 1) & self->node_index_mask) {
        uint32_t number = self->node_index[place] - 1;
        if (self->nodes[number].name_hash == hash && strcmp(self->nodes[number].name, name) == 0)
            return number;
    }
    return MODEL_NONE;
}

/* Copies the name; the row's other fields are taken as they are. */
static uint32_t node_append(model *self, const model_node *row) {
    if (self->node_count == MODEL_NODES_MAX || !node_index_grow(self) ||
        !array_grow((void **)&self->nodes, self->node_count, &self->node_room, sizeof *self->nodes))
        return MODEL_NONE;
    char *name = strdup(row->name);
    if (name == NULL)
        return MODEL_NONE;
    uint32_t number = self->node_count++;
    self->nodes[number] = *row;
    self->nodes[number].name = name;
    self->nodes[number].name_hash = name_hash(self, name);
    if (row->source == PROVENANCE_INFERRED)
        self->inferred_count++;
    index_insert(self->node_index, self->node_index_mask, self->nodes[number].name_hash, number);
    return number;
}

void model_set_resolver(model *self, const char *(*resolve)(void *context, const char *name), void *context) {
    self->resolve = resolve;
    self->resolve_context = context;
}

uint32_t model_node_named(model *self, const char *name, node_kind kind, bool inferred) {
    if (!node_index_grow(self))
        return MODEL_NONE;
    if (self->resolve != NULL)
        name = self->resolve(self->resolve_context, name);
    uint32_t found = node_find(self, name, name_hash(self, name));
    if (found != MODEL_NONE)
        return found;
    if (inferred && self->inferred_count >= MODEL_INFERRED_MAX) {
        self->totals.nodes_refused++;
        return MODEL_NONE;
    }
    union {
        const char *given;
        char *copied;
    } text = {.given = name}; /* node_append copies it */
    model_node row = {.name = text.copied, .kind = kind, .source = PROVENANCE_INFERRED, .changed = true};
    row.confidence = kind == NODE_SERVICE ? CONFIDENCE_PEER : CONFIDENCE_DATASTORE;
    found = node_append(self, &row);
    if (found == MODEL_NONE)
        self->totals.nodes_refused++;
    else
        model_node_touch(self, found);
    return found;
}

uint32_t model_node_find(const model *self, const char *name) {
    return node_find(self, name, name_hash(self, name));
}

void model_node_show(model *self, uint32_t node, provenance source, int64_t time_ms) {
    model_node *item = &self->nodes[node];
    bool speaks = source == PROVENANCE_OBSERVED && item->source != PROVENANCE_OBSERVED;
    if (item->visible && !speaks)
        return;
    if (self->restoring)
        return;
    if (speaks) {
        item->source = PROVENANCE_OBSERVED;
        item->confidence = CONFIDENCE_OBSERVED;
        self->inferred_count--;
    }
    if (!item->visible)
        item->valid_from_ms = time_ms;
    item->recorded_from_ms = self->now_ms;
    item->visible = item->changed = true;
    model_node_touch(self, node);
}

/* ---- Edges
 * -------------------------------------------------------------------------------------------------------- */

static uint32_t edge_find(const model *self, uint32_t from, uint32_t to, edge_kind kind, uint64_t hash) {
    for (uint32_t place = (uint32_t)hash & self->edge_index_mask; self->edge_index[place] != 0;
         place = (place + 1) & self->edge_index_mask) {
        const model_edge *edge = &self->edges[self->edge_index[place] - 1];
        if (edge->from == from && edge->to == to && edge->kind == kind)
            return self->edge_index[place] - 1;
    }
    return MODEL_NONE;
}

static uint32_t edge_append(model *self, const model_edge *row, uint64_t hash) {
    if (self->edge_count == MODEL_EDGES_MAX ||
        !array_grow((void **)&self->edges, self->edge_count, &self->edge_room, sizeof *self->edges))
        return MODEL_NONE;
    uint32_t number = self->edge_count++;
    self->edges[number] = *row;
    index_insert(self->edge_index, self->edge_index_mask, hash, number);
    return number;
}

static void edge_upgrade(model *self, uint32_t number) {
    model_edge *edge = &self->edges[number];
    edge->source = PROVENANCE_OBSERVED;
    edge->confidence = CONFIDENCE_OBSERVED;
    edge->recorded_from_ms = self->now_ms;
    edge->changed = true;
    model_edge_touch(self, number);
}

uint32_t model_edge_between(model *self, uint32_t from, uint32_t to, edge_kind kind, provenance source,
                            double confidence, int64_t time_ms) {
    if (!edge_index_grow(self))
        return MODEL_NONE;
    uint64_t hash = edge_hash(self, from, to, kind);
    uint32_t number = edge_find(self, from, to, kind, hash);
    if (number == MODEL_NONE) {
        model_edge row = {.from = from,
                          .to = to,
                          .kind = kind,
                          .source = source,
                          .confidence = confidence,
                          .valid_from_ms = time_ms,
                          .recorded_from_ms = self->now_ms,
                          .changed = true};
        number = edge_append(self, &row, hash);
        if (number == MODEL_NONE)
            self->totals.edges_refused++;
        else
            model_edge_touch(self, number);
    } else if (source == PROVENANCE_OBSERVED && self->edges[number].source != PROVENANCE_OBSERVED &&
               !self->restoring) {
        edge_upgrade(self, number);
    }
    return number;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code model_create(model **out, const chance *source, failure *why) {
    model *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the model");
    self->source = source;
    chance_random(source, (uint8_t *)self->seed, sizeof self->seed);
    status_code status = shapes_init(&self->shapes, why);
    if (status == STATUS_OK)
        status = flows_create(&self->flows, why);
    if (status == STATUS_OK)
        status = operations_create(&self->operations, self->seed[0] ^ self->seed[1], why);
    if (status == STATUS_OK)
        status = model_spans_create(self, why);
    if (status == STATUS_OK && (!node_index_grow(self) || !edge_index_grow(self)))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the model");
    if (status != STATUS_OK) {
        model_free(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void model_free(model *self) {
    if (self == NULL)
        return;
    for (uint32_t i = 0; i < self->node_count; i++)
        free(self->nodes[i].name);
    free(self->nodes);
    free(self->node_index);
    free(self->edges);
    free(self->edge_index);
    free(self->dirty_nodes.items);
    free(self->dirty_edges.items);
    free(self->dirty_shapes.items);
    shapes_free(&self->shapes);
    flows_free(self->flows);
    operations_free(self->operations);
    model_spans_free(self);
    free(self);
}

uint32_t model_node_count(const model *self) {
    return self->node_count;
}

uint32_t model_edge_count(const model *self) {
    return self->edge_count;
}

const model_node *model_node_at(const model *self, uint32_t index) {
    return &self->nodes[index];
}

const model_edge *model_edge_at(const model *self, uint32_t index) {
    return &self->edges[index];
}

const shapes *model_shapes(const model *self) {
    return &self->shapes;
}

const model_totals *model_totals_of(const model *self) {
    return &self->totals;
}

flows *model_flows(const model *self) {
    return self->flows;
}

operations *model_operations(const model *self) {
    return self->operations;
}

/* ---- Restoring
 * ---------------------------------------------------------------------------------------------------- */

bool model_restore_node(model *self, const model_node *row) {
    model_node copy = *row;
    copy.stored = true;
    copy.dirty = copy.changed = false;
    return node_find(self, row->name, name_hash(self, row->name)) == MODEL_NONE &&
           node_append(self, &copy) != MODEL_NONE;
}

bool model_restore_edge(model *self, const model_edge *row) {
    model_edge copy = *row;
    copy.stored = true;
    copy.dirty = copy.changed = false;
    if (row->from >= self->node_count || row->to >= self->node_count || !edge_index_grow(self))
        return false;
    uint64_t hash = edge_hash(self, row->from, row->to, row->kind);
    return edge_find(self, row->from, row->to, row->kind, hash) == MODEL_NONE &&
           edge_append(self, &copy, hash) != MODEL_NONE;
}

bool model_restore_shape(model *self, const uint32_t *members, uint32_t count, double requests, double reach,
                         double traces) {
    if (count == 0 || count > SHAPE_MEMBERS_MAX || members[count - 1] >= self->node_count)
        return false;
    uint32_t id = shapes_restore(&self->shapes, members, count);
    if (id == SHAPE_FULL)
        return false;
    shape *item = &self->shapes.items[id];
    item->requests = requests;
    item->reach = reach;
    item->traces = traces;
    item->stored = true;
    return true;
}

void model_restore_totals(model *self, const model_totals *totals) {
    self->totals = *totals;
}

void model_set_restoring(model *self, bool restoring) {
    self->restoring = restoring;
}
