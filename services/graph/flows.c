/* Flows are found by number through plain arrays: the model's edges and operations are numbered densely. How
 * many buckets a flow may have falls as flows become many, so that all together stay within about 200 MB a
 * subject. */
#include "flows.h"

#include <stdlib.h>
#include <string.h>

#include "buckets.h"
#include "recent.h"

_Static_assert(sizeof(flow_counts) == FLOW_COUNT_FIELDS * sizeof(double), "counts are an array of doubles");

typedef struct flow_bucket {
    bucket base;
    flow_counts counts;
    sketch latency;
} flow_bucket;

typedef struct number_set {
    uint32_t *items;
    size_t count, room;
} number_set;

/* Of an edge, an operation or a node. */
typedef struct flow_sums {
    flow_counts counts;
    bool noted;
} flow_sums;

typedef struct flow_table {
    flow_sums *sums; /* by number */
    bucket_levels *levels;
    uint32_t room;
    uint32_t used; /* flows with buckets */
    uint8_t *has_buckets;
    bucket_set set;
    number_set changed;
} flow_table;

typedef struct route_entry {
    flow_route row;
    uint32_t next_of_edge; /* route + 1; 0 ends */
    bool noted;
} route_entry;

struct flows {
    flow_table tables[2]; /* by flow_subject */
    flow_sums *nodes;
    uint32_t node_room;
    number_set changed_nodes;
    route_entry *routes;
    uint32_t route_count, route_room;
    uint32_t *route_index, route_mask;
    uint32_t *first_route; /* by edge: route + 1 */
    uint32_t first_route_room;
    number_set changed_routes;
    uint64_t refused;
};

void flow_counts_add(flow_counts *into, const flow_counts *from, double sign) {
    double *to = flow_counts_fields(into);
    const double *add = &from->calls;
    for (unsigned i = 0; i < FLOW_COUNT_FIELDS; i++) {
        double value = to[i] + sign * add[i];
        to[i] = value < 1e-9 ? 0 : value;
    }
}

static void flow_merge(bucket *into, const bucket *from) {
    flow_bucket *to = (flow_bucket *)(void *)into;
    const flow_bucket *add = (const flow_bucket *)(const void *)from;
    flow_counts_add(&to->counts, &add->counts, 1);
    /* Without memory for the sketch the counts are still right. */
    if (!sketch_merge(&to->latency, &add->latency))
        return;
}

static void flow_drop(bucket *self) {
    sketch_free(&((flow_bucket *)(void *)self)->latency);
}

static const bucket_kind flow_kind = {
    .size = sizeof(flow_bucket),
    .width_ms = {FLOWS_FINE_MS, FLOWS_MIDDLE_MS, FLOWS_COARSE_MS},
    .merge = flow_merge,
    .drop = flow_drop,
};

/* ---- Growing
 * ------------------------------------------------------------------------------------------------------ */

static bool numbers_add(number_set *self, uint32_t number) {
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

/* Grows a zeroed array so that it has `number`; false without memory. */
static bool zeroed_grow(void **items, uint32_t number, uint32_t room, uint32_t wanted, size_t size) {
    if (number < room)
        return true;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    memset((uint8_t *)grown + room * size, 0, (wanted - room) * size);
    *items = grown;
    return true;
}

static uint32_t room_for(uint32_t number, uint32_t room) {
    return number < room ? room : number + 1 < 2 * room ? 2 * room : number + 256;
}

static bool table_grow(flow_table *self, uint32_t number) {
    uint32_t wanted = room_for(number, self->room);
    if (wanted == self->room)
        return true;
    if (!zeroed_grow((void **)&self->sums, number, self->room, wanted, sizeof *self->sums) ||
        !zeroed_grow((void **)&self->levels, number, self->room, wanted, sizeof *self->levels) ||
        !zeroed_grow((void **)&self->has_buckets, number, self->room, wanted, sizeof *self->has_buckets))
        return false;
    self->room = wanted;
    return true;
}

static void table_tighten(flow_table *self) {
    static const struct {
        uint32_t flows;
        uint16_t most[FLOWS_LEVELS];
    } steps[] = {{4096, {64, 96, 96}}, {16384, {32, 16, 16}}, {FLOWS_MAX, {8, 4, 4}}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (self->used <= steps[i].flows) {
            memcpy(self->set.most, steps[i].most, sizeof self->set.most);
            return;
        }
}

/* Whether the flow may have buckets: the first FLOWS_MAX that asked. */
static bool table_admits(flow_table *self, uint32_t number) {
    if (self->has_buckets[number])
        return true;
    if (self->used == FLOWS_MAX)
        return false;
    self->has_buckets[number] = 1;
    self->used++;
    table_tighten(self);
    return true;
}

/* ---- Counting
 * ----------------------------------------------------------------------------------------------------- */

static void sums_count(flow_sums *self, number_set *changed, uint32_t number, const flow_counts *counts,
                       double sign) {
    flow_counts_add(&self->counts, counts, sign);
    if (!self->noted)
        self->noted = numbers_add(changed, number);
}

void flows_count(flows *self, flow_subject subject, uint32_t number, int64_t time_ms,
                 const flow_counts *counts, double sign, uint64_t latency_ns) {
    flow_table *table = &self->tables[subject];
    if (!table_grow(table, number))
        return;
    sums_count(&table->sums[number], &table->changed, number, counts, sign);
    if (!table_admits(table, number)) {
        self->refused++;
        return;
    }
    flow_bucket *into =
        (flow_bucket *)(void *)buckets_at(&table->set, &table->levels[number], number, time_ms);
    if (into == NULL)
        return;
    flow_counts_add(&into->counts, counts, sign);
    if (counts->calls > 0 && latency_ns != FLOWS_NO_LATENCY &&
        !sketch_add(&into->latency, latency_ns, sign * counts->calls))
        self->refused++;
}

void flows_count_node(flows *self, uint32_t node, const flow_counts *counts, double sign) {
    uint32_t wanted = room_for(node, self->node_room);
    if (!zeroed_grow((void **)&self->nodes, node, self->node_room, wanted, sizeof *self->nodes))
        return;
    self->node_room = wanted;
    sums_count(&self->nodes[node], &self->changed_nodes, node, counts, sign);
}

/* ---- Routes
 * ------------------------------------------------------------------------------------------------------- */

static uint64_t route_hash(uint32_t operation, uint32_t edge) {
    return mix64(operation, edge);
}

static bool route_index_grow(flows *self) {
    if (self->route_index != NULL && self->route_count * 2 <= self->route_mask)
        return true;
    uint32_t mask = self->route_index == NULL ? 1023 : self->route_mask * 2 + 1;
    uint32_t *index = calloc((size_t)mask + 1, sizeof *index);
    if (index == NULL)
        return false;
    for (uint32_t i = 0; i < self->route_count; i++) {
        uint32_t place = (uint32_t)route_hash(self->routes[i].row.operation, self->routes[i].row.edge) & mask;
        while (index[place] != 0)
            place = (place + 1) & mask;
        index[place] = i + 1;
    }
    free(self->route_index);
    self->route_index = index;
    self->route_mask = mask;
    return true;
}

static uint32_t route_find(const flows *self, uint32_t operation, uint32_t edge) {
    for (uint32_t place = (uint32_t)route_hash(operation, edge) & self->route_mask;
         self->route_index[place] != 0; place = (place + 1) & self->route_mask) {
        const flow_route *row = &self->routes[self->route_index[place] - 1].row;
        if (row->operation == operation && row->edge == edge)
            return self->route_index[place] - 1;
    }
    return FLOWS_NONE;
}

static bool routes_reserve(flows *self, uint32_t edge) {
    if (!route_index_grow(self))
        return false;
    if (self->route_count == self->route_room) {
        uint32_t room = self->route_room == 0 ? 256 : self->route_room * 2;
        route_entry *grown = realloc(self->routes, room * sizeof *grown);
        if (grown == NULL)
            return false;
        self->routes = grown;
        self->route_room = room;
    }
    uint32_t wanted = room_for(edge, self->first_route_room);
    if (!zeroed_grow((void **)&self->first_route, edge, self->first_route_room, wanted,
                     sizeof *self->first_route))
        return false;
    self->first_route_room = wanted;
    return true;
}

static uint32_t route_named(flows *self, uint32_t operation, uint32_t edge) {
    uint32_t found = route_find(self, operation, edge);
    if (found != FLOWS_NONE)
        return found;
    if (self->route_count == FLOWS_ROUTES_MAX || !routes_reserve(self, edge))
        return FLOWS_NONE;
    uint32_t number = self->route_count++;
    self->routes[number] =
        (route_entry){.row = {.operation = operation, .edge = edge}, .next_of_edge = self->first_route[edge]};
    self->first_route[edge] = number + 1;
    uint32_t place = (uint32_t)route_hash(operation, edge) & self->route_mask;
    while (self->route_index[place] != 0)
        place = (place + 1) & self->route_mask;
    self->route_index[place] = number + 1;
    return number;
}

void flows_count_route(flows *self, uint32_t operation, uint32_t edge, double requests, double seconds,
                       double sign) {
    uint32_t number = route_named(self, operation, edge);
    if (number == FLOWS_NONE) {
        self->refused++;
        return;
    }
    route_entry *item = &self->routes[number];
    item->row.requests += sign * requests;
    item->row.seconds += sign * seconds;
    if (item->row.requests < 1e-9)
        item->row.requests = 0;
    if (item->row.seconds < 1e-9)
        item->row.seconds = 0;
    if (!item->noted)
        item->noted = numbers_add(&self->changed_routes, number);
}

size_t flows_routes_of_edge(const flows *self, uint32_t edge, flow_route *out, size_t room) {
    size_t count = 0;
    if (edge >= self->first_route_room)
        return 0;
    for (uint32_t next = self->first_route[edge]; next != 0 && count < room;
         next = self->routes[next - 1].next_of_edge)
        if (self->routes[next - 1].row.requests > 0) /* others were taken back */
            out[count++] = self->routes[next - 1].row;
    return count;
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------------------ */

static size_t table_points(const flow_table *self, uint32_t number, int64_t from_ms, int64_t to_ms,
                           flow_point *out, size_t room) {
    if (number >= self->room)
        return 0;
    const bucket_levels *levels = &self->levels[number];
    size_t total = 0;
    size_t skip = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        size_t count = 0;
        for (unsigned level = FLOWS_LEVELS; level-- > 0;)
            for (uint16_t i = 0; i < levels->lists[level].count; i++) {
                const flow_bucket *item =
                    (const flow_bucket *)(const void *)buckets_item(&self->set, levels, level, i);
                if (item->base.from_ms < from_ms || item->base.from_ms >= to_ms)
                    continue;
                if (pass == 1 && count >= skip)
                    out[count - skip] =
                        (flow_point){.from_ms = item->base.from_ms,
                                     .width_ms = flow_kind.width_ms[level],
                                     .counts = item->counts,
                                     .latency = item->latency.count > 0 ? &item->latency : NULL};
                count++;
            }
        total = count;
        skip = total > room ? total - room : 0;
    }
    return total - skip;
}

size_t flows_of_edge(const flows *self, uint32_t edge, int64_t from_ms, int64_t to_ms, flow_point *out,
                     size_t room) {
    return table_points(&self->tables[FLOW_EDGE], edge, from_ms, to_ms, out, room);
}

size_t flows_of_operation(const flows *self, uint32_t operation, int64_t from_ms, int64_t to_ms,
                          flow_point *out, size_t room) {
    return table_points(&self->tables[FLOW_OPERATION], operation, from_ms, to_ms, out, room);
}

static flow_counts table_totals(const flow_table *self, uint32_t number) {
    return number < self->room ? self->sums[number].counts : (flow_counts){0};
}

flow_counts flows_edge_totals(const flows *self, uint32_t edge) {
    return table_totals(&self->tables[FLOW_EDGE], edge);
}

flow_counts flows_operation_totals(const flows *self, uint32_t operation) {
    return table_totals(&self->tables[FLOW_OPERATION], operation);
}

flow_counts flows_node_totals(const flows *self, uint32_t node) {
    return node < self->node_room ? self->nodes[node].counts : (flow_counts){0};
}

flows_totals flows_totals_of(const flows *self) {
    const flow_table *edges = &self->tables[FLOW_EDGE];
    const flow_table *served = &self->tables[FLOW_OPERATION];
    return (flows_totals){.refused = self->refused,
                          .late = edges->set.late + served->set.late,
                          .buckets = edges->set.kept + served->set.kept,
                          .edges = edges->used,
                          .operations = served->used,
                          .routes = self->route_count};
}

/* ---- For the store
 * ------------------------------------------------------------------------------------------------ */

size_t flows_change_count(const flows *self) {
    return self->tables[FLOW_EDGE].set.note_count + self->tables[FLOW_OPERATION].set.note_count;
}

flow_change flows_change_at(const flows *self, size_t index) {
    flow_subject subject = index < self->tables[FLOW_EDGE].set.note_count ? FLOW_EDGE : FLOW_OPERATION;
    const flow_table *table = &self->tables[subject];
    if (subject == FLOW_OPERATION)
        index -= self->tables[FLOW_EDGE].set.note_count;
    const bucket_note *note = &table->set.notes[index];
    const flow_bucket *found = (const flow_bucket *)(const void *)buckets_find(
        &table->set, &table->levels[note->owner], note->level, note->from_ms);
    flow_change change = {
        .subject = subject, .number = note->owner, .level = note->level, .from_ms = note->from_ms};
    if (found != NULL) {
        change.counts = &found->counts;
        change.latency = &found->latency;
    }
    return change;
}

flow_numbers flows_changed_totals(const flows *self, flow_totals_subject subject) {
    const number_set *set = subject == FLOW_TOTALS_NODE   ? &self->changed_nodes
                            : subject == FLOW_TOTALS_EDGE ? &self->tables[FLOW_EDGE].changed
                                                          : &self->tables[FLOW_OPERATION].changed;
    return (flow_numbers){.numbers = set->items, .count = set->count};
}

flow_numbers flows_changed_routes(const flows *self) {
    return (flow_numbers){.numbers = self->changed_routes.items, .count = self->changed_routes.count};
}

flow_route flows_route_at(const flows *self, uint32_t route) {
    return self->routes[route].row;
}

static void table_mark_stored(flow_table *self) {
    for (size_t i = 0; i < self->set.note_count; i++) {
        const bucket_note *note = &self->set.notes[i];
        bucket *found = buckets_find(&self->set, &self->levels[note->owner], note->level, note->from_ms);
        if (found != NULL)
            found->noted = false;
    }
    buckets_notes_clear(&self->set);
    for (size_t i = 0; i < self->changed.count; i++)
        self->sums[self->changed.items[i]].noted = false;
    self->changed.count = 0;
}

void flows_mark_stored(flows *self) {
    table_mark_stored(&self->tables[FLOW_EDGE]);
    table_mark_stored(&self->tables[FLOW_OPERATION]);
    for (size_t i = 0; i < self->changed_nodes.count; i++)
        self->nodes[self->changed_nodes.items[i]].noted = false;
    self->changed_nodes.count = 0;
    for (size_t i = 0; i < self->changed_routes.count; i++)
        self->routes[self->changed_routes.items[i]].noted = false;
    self->changed_routes.count = 0;
}

bool flows_restore_bucket(flows *self, flow_subject subject, uint32_t number, unsigned level, int64_t from_ms,
                          const flow_counts *counts, const sketch_bin *bins, size_t bin_count) {
    flow_table *table = &self->tables[subject];
    if (!table_grow(table, number) || !table_admits(table, number))
        return false;
    flow_bucket *made =
        (flow_bucket *)(void *)buckets_restore(&table->set, &table->levels[number], level, from_ms);
    if (made == NULL)
        return false;
    made->counts = *counts;
    for (size_t i = 0; i < bin_count; i++) {
        sketch_bin bin = bins[i];
        sketch one = {.count = 1, .room = 1, .bins = &bin};
        if (bins[i].bin >= SKETCH_BINS || !(bins[i].count > 0) || !sketch_merge(&made->latency, &one))
            return false;
    }
    return true;
}

bool flows_restore_totals(flows *self, flow_totals_subject subject, uint32_t number,
                          const flow_counts *counts) {
    if (subject == FLOW_TOTALS_NODE) {
        uint32_t wanted = room_for(number, self->node_room);
        if (!zeroed_grow((void **)&self->nodes, number, self->node_room, wanted, sizeof *self->nodes))
            return false;
        self->node_room = wanted;
        self->nodes[number].counts = *counts;
        return true;
    }
    flow_table *table = &self->tables[subject == FLOW_TOTALS_EDGE ? FLOW_EDGE : FLOW_OPERATION];
    if (!table_grow(table, number))
        return false;
    table->sums[number].counts = *counts;
    return true;
}

bool flows_restore_route(flows *self, const flow_route *row) {
    if (route_find(self, row->operation, row->edge) != FLOWS_NONE)
        return false;
    uint32_t number = route_named(self, row->operation, row->edge);
    if (number == FLOWS_NONE)
        return false;
    self->routes[number].row = *row;
    return true;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code flows_create(flows **out, failure *why) {
    flows *self = calloc(1, sizeof *self);
    if (self == NULL || !route_index_grow(self)) {
        free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for flows");
    }
    for (unsigned i = 0; i < 2; i++) {
        self->tables[i].set.kind = &flow_kind;
        table_tighten(&self->tables[i]);
    }
    *out = self;
    return STATUS_OK;
}

static void table_free(flow_table *self) {
    for (uint32_t i = 0; i < self->room; i++)
        bucket_levels_free(&self->set, &self->levels[i]);
    bucket_set_free(&self->set);
    free(self->sums);
    free(self->levels);
    free(self->has_buckets);
    free(self->changed.items);
}

void flows_free(flows *self) {
    if (self == NULL)
        return;
    table_free(&self->tables[FLOW_EDGE]);
    table_free(&self->tables[FLOW_OPERATION]);
    free(self->nodes);
    free(self->changed_nodes.items);
    free(self->routes);
    free(self->route_index);
    free(self->first_route);
    free(self->changed_routes.items);
    free(self);
}
