/* Questions about a picture: who is next to whom, and by which ways. */
#include <stdlib.h>
#include <string.h>

#include "picture.h"

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph at an instant");
}

/* ---- Links
 * ----------------------------------------------------------------------------------------------------------
 */

static uint32_t edge_end(const picture_edge *edge, bool incoming) {
    return incoming ? edge->to : edge->from;
}

static bool side_link(const picture *self, bool incoming, uint32_t **first_out, uint32_t **list_out) {
    uint32_t *first = calloc(self->node_count + 2U, sizeof *first);
    uint32_t *list = calloc(self->edge_count + 1U, sizeof *list);
    *first_out = first;
    *list_out = list;
    if (first == NULL || list == NULL)
        return false;
    for (uint32_t i = 0; i < self->edge_count; i++)
        first[edge_end(&self->edges[i], incoming) + 2]++;
    for (uint32_t i = 2; i < self->node_count + 2U; i++)
        first[i] += first[i - 1];
    for (uint32_t i = 0; i < self->edge_count; i++)
        list[first[edge_end(&self->edges[i], incoming) + 1]++] = i;
    return true;
}

status_code picture_link(picture *self, failure *why) {
    if (self->out_first != NULL)
        return STATUS_OK;
    bool good = side_link(self, false, &self->out_first, &self->out) &&
                side_link(self, true, &self->in_first, &self->in);
    return good ? STATUS_OK : no_memory(why);
}

/* ---- Neighbors
 * ------------------------------------------------------------------------------------------------------ */

typedef struct neighbor_order {
    const picture *of;
    uint32_t node;
} neighbor_order;

static const char *other_name(const neighbor_order *self, uint32_t edge) {
    const picture_edge *item = &self->of->edges[edge];
    return self->of->nodes[item->from == self->node ? item->to : item->from].name;
}

static int neighbor_compare(const void *left, const void *right, void *context) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    int order = strcmp(other_name(context, a), other_name(context, b));
    return order != 0 ? order : a < b ? -1 : a > b;
}

uint32_t picture_neighbors(const picture *self, uint32_t node, picture_direction direction, uint32_t kinds,
                           uint32_t *edges, uint32_t room) {
    uint32_t count = 0;
    for (unsigned side = 0; side < 2; side++) {
        const uint32_t *first = side == 0 ? self->out_first : self->in_first;
        const uint32_t *list = side == 0 ? self->out : self->in;
        if ((direction & (side == 0 ? PICTURE_OUT : PICTURE_IN)) == 0)
            continue;
        for (uint32_t i = first[node]; i < first[node + 1]; i++) {
            const picture_edge *edge = &self->edges[list[i]];
            bool twice = side == 1 && (direction & PICTURE_OUT) != 0 && edge->from == edge->to;
            if ((kinds & 1U << edge->kind) == 0 || twice)
                continue;
            if (count < room)
                edges[count] = list[i];
            count++;
        }
    }
    neighbor_order order = {.of = self, .node = node};
    qsort_r(edges, count < room ? count : room, sizeof *edges, neighbor_compare, &order);
    return count;
}

/* ---- Paths
 * ----------------------------------------------------------------------------------------------------------
 */

/* The beginnings of paths, each one edge longer than the one it goes on from. */
typedef struct path_step {
    uint32_t before; /* index + 1; 0: none */
    uint32_t edge, node;
    uint32_t length;
} path_step;

typedef struct path_search {
    const picture *of;
    uint32_t to, kinds, longest, most;
    uint8_t *distances; /* from each node to the end, + 1; 0: further than `longest` */
    path_step *steps;
    uint32_t step_count, step_room;
    picture_path *out;
    uint32_t found;
    bool cut, failed;
} path_search;

/* How far each node is from the end, walking edges backwards. */
static bool distances_find(path_search *self) {
    const picture *of = self->of;
    uint32_t *queue = calloc(of->node_count + 1U, sizeof *queue);
    self->distances = calloc(of->node_count + 1U, 1);
    bool good = queue != NULL && self->distances != NULL;
    uint32_t head = 0;
    uint32_t end = 0;
    if (good) {
        queue[end++] = self->to;
        self->distances[self->to] = 1;
    }
    while (head < end) {
        uint32_t node = queue[head++];
        if (self->distances[node] > self->longest)
            continue;
        for (uint32_t i = of->in_first[node]; i < of->in_first[node + 1]; i++) {
            const picture_edge *edge = &of->edges[of->in[i]];
            if ((self->kinds & 1U << edge->kind) == 0 || self->distances[edge->from] != 0)
                continue;
            self->distances[edge->from] = (uint8_t)(self->distances[node] + 1);
            queue[end++] = edge->from;
        }
    }
    free(queue);
    return good;
}

static bool step_add(path_search *self, path_step step) {
    if (self->step_count == self->step_room) {
        uint32_t room = self->step_room == 0 ? 1024 : self->step_room * 2;
        path_step *grown = realloc(self->steps, room * sizeof *grown);
        if (grown == NULL)
            return false;
        self->steps = grown;
        self->step_room = room;
    }
    self->steps[self->step_count++] = step;
    return true;
}

static bool passes(const path_search *self, uint32_t step, uint32_t from, uint32_t node) {
    for (uint32_t at = step; at != 0; at = self->steps[at - 1].before)
        if (self->steps[at - 1].node == node)
            return true;
    return node == from;
}

static void path_take(path_search *self, uint32_t step) {
    if (self->found == self->most) {
        self->cut = true;
        return;
    }
    picture_path *path = &self->out[self->found++];
    path->edge_count = self->steps[step - 1].length;
    for (uint32_t at = step, i = path->edge_count; at != 0; at = self->steps[at - 1].before)
        path->edges[--i] = self->steps[at - 1].edge;
}

/* Goes on from a step (0: from the start) by one edge. */
static void step_follow(path_search *self, uint32_t step, uint32_t from, uint32_t node) {
    uint32_t length = step == 0 ? 0 : self->steps[step - 1].length;
    const picture *of = self->of;
    for (uint32_t i = of->out_first[node]; i < of->out_first[node + 1] && !self->cut; i++) {
        const picture_edge *edge = &of->edges[of->out[i]];
        uint32_t rest = self->distances[edge->to];
        if ((self->kinds & 1U << edge->kind) == 0 || rest == 0 || length + rest > self->longest ||
            passes(self, step, from, edge->to))
            continue;
        path_step made = {.before = step, .edge = of->out[i], .node = edge->to, .length = length + 1};
        if (self->step_count == PATH_STEPS_MAX) {
            self->cut = true;
        } else if (!step_add(self, made)) {
            self->failed = self->cut = true;
        } else if (edge->to == self->to) {
            path_take(self, self->step_count);
        }
    }
}

status_code picture_paths(const picture *self, uint32_t from, uint32_t to, uint32_t kinds, uint32_t longest,
                          uint32_t most, picture_path *out, uint32_t *count, bool *more, failure *why) {
    path_search search = {.of = self,
                          .to = to,
                          .kinds = kinds,
                          .longest = longest < PATH_EDGES_MAX ? longest : PATH_EDGES_MAX,
                          .most = most,
                          .out = out};
    bool good = distances_find(&search);
    if (good && from != to)
        step_follow(&search, 0, from, from);
    for (uint32_t step = 1; good && step <= search.step_count && !search.cut; step++)
        if (search.steps[step - 1].node != to)
            step_follow(&search, step, from, search.steps[step - 1].node);
    good = good && !search.failed;
    free(search.distances);
    free(search.steps);
    if (!good)
        return no_memory(why);
    *count = search.found;
    *more = search.cut;
    return STATUS_OK;
}
