/* Ordering the nodes, called side first, and packing the edges by called node. */
#include "impact_graph.h"

#include <stdlib.h>
#include <string.h>

#include "recent.h"

static void *array_make(size_t count, size_t size) {
    return calloc(count == 0 ? 1 : count, size);
}

void impact_graph_free(impact_graph *self) {
    if (self == NULL)
        return;
    free(self->place);
    free(self->number);
    free(self->first);
    free(self->callers);
    free(self->called);
    free(self->delays_ms);
    free(self->nodes);
    free(self->first_opaque);
    free(self->opaque_places);
    free(self);
}

size_t impact_graph_bytes(const impact_graph *self) {
    return sizeof *self + (size_t)self->node_count * (4 * sizeof *self->place + sizeof *self->nodes) +
           (size_t)self->edge_count *
               (sizeof *self->callers + sizeof *self->called + sizeof *self->delays_ms) +
           (size_t)self->first_opaque[self->node_count] * sizeof *self->opaque_places;
}

uint32_t impact_graph_called(const impact_graph *self, uint32_t edge) {
    return self->called[edge];
}

/* Edge numbers grouped by one end; first has node_count + 1 items, `grouped` one for each edge. */
static void edges_group(const impact_edge *edges, uint32_t edge_count, uint32_t node_count, bool by_from,
                        uint32_t *first, uint32_t *grouped) {
    memset(first, 0, ((size_t)node_count + 1) * sizeof *first);
    for (uint32_t i = 0; i < edge_count; i++)
        first[by_from ? edges[i].from : edges[i].to]++;
    uint32_t sum = 0;
    for (uint32_t i = 0; i <= node_count; i++) {
        uint32_t count = first[i];
        first[i] = sum;
        sum += i < node_count ? count : 0;
    }
    for (uint32_t i = 0; i < edge_count; i++)
        grouped[first[by_from ? edges[i].from : edges[i].to]++] = i;
    for (uint32_t i = node_count; i > 0; i--)
        first[i] = first[i - 1];
    first[0] = 0;
}

/* ---- The order: P. Eades, X. Lin, W. F. Smyth, "A fast and effective heuristic for the feedback arc set
 * problem" (1993). Whoever calls nobody that is left goes to the front, whom nobody calls to the back, and
 * when neither is left, who calls most and is called least: few edges lead against the order then, and only
 * those make a walk go round again. ---- */

#define GAP 64 /* differences of degrees are told apart up to that */
#define BUCKETS (2 * GAP + 3)
#define BUCKET_SINK 0
#define BUCKET_SOURCE (BUCKETS - 1)

typedef struct sorting {
    const impact_edge *edges;
    uint32_t *out_first, *out_edges, *in_first, *in_edges;
    uint32_t *outs, *ins;      /* degrees among what is left */
    uint32_t *next, *previous; /* within a bucket */
    uint8_t *bucket;           /* of each node; BUCKETS: taken */
    uint32_t heads[BUCKETS];
} sorting;

static void bucket_put(sorting *self, uint32_t node) {
    int gap = (int)self->outs[node] - (int)self->ins[node];
    gap = gap < -GAP ? -GAP : gap > GAP ? GAP : gap;
    unsigned bucket = self->outs[node] == 0  ? BUCKET_SINK
                      : self->ins[node] == 0 ? BUCKET_SOURCE
                                             : (unsigned)(gap + GAP + 1);
    self->bucket[node] = (uint8_t)bucket;
    self->previous[node] = IMPACT_NONE;
    self->next[node] = self->heads[bucket];
    if (self->heads[bucket] != IMPACT_NONE)
        self->previous[self->heads[bucket]] = node;
    self->heads[bucket] = node;
}

static void bucket_take(sorting *self, uint32_t node) {
    if (self->previous[node] == IMPACT_NONE)
        self->heads[self->bucket[node]] = self->next[node];
    else
        self->next[self->previous[node]] = self->next[node];
    if (self->next[node] != IMPACT_NONE)
        self->previous[self->next[node]] = self->previous[node];
    self->bucket[node] = BUCKETS;
}

static void node_remove(sorting *self, uint32_t node) {
    bucket_take(self, node);
    for (uint32_t i = self->out_first[node]; i < self->out_first[node + 1]; i++) {
        uint32_t to = self->edges[self->out_edges[i]].to;
        if (self->bucket[to] == BUCKETS)
            continue;
        bucket_take(self, to);
        self->ins[to]--;
        bucket_put(self, to);
    }
    for (uint32_t i = self->in_first[node]; i < self->in_first[node + 1]; i++) {
        uint32_t from = self->edges[self->in_edges[i]].from;
        if (self->bucket[from] == BUCKETS)
            continue;
        bucket_take(self, from);
        self->outs[from]--;
        bucket_put(self, from);
    }
}

static void order_take(sorting *self, impact_graph *graph) {
    uint32_t front = 0;
    uint32_t back = graph->node_count;
    unsigned bucket = BUCKETS - 1;
    while (front < back) {
        bucket = self->heads[BUCKET_SINK] != IMPACT_NONE ? BUCKET_SINK : BUCKETS - 1;
        while (self->heads[bucket] == IMPACT_NONE)
            bucket--;
        uint32_t node = self->heads[bucket];
        uint32_t place = bucket == BUCKET_SINK ? front++ : --back;
        graph->place[node] = place;
        graph->number[place] = node;
        node_remove(self, node);
    }
}

static void sorting_begin(sorting *self, uint32_t node_count) {
    for (unsigned i = 0; i < BUCKETS; i++)
        self->heads[i] = IMPACT_NONE;
    for (uint32_t node = node_count; node-- > 0;) {
        self->outs[node] = self->out_first[node + 1] - self->out_first[node];
        self->ins[node] = self->in_first[node + 1] - self->in_first[node];
        bucket_put(self, node);
    }
}

static bool order_find(impact_graph *graph, const impact_edge *edges, uint32_t edge_count) {
    uint32_t nodes = graph->node_count;
    sorting self = {.edges = edges,
                    .out_first = array_make((size_t)nodes + 1, 4),
                    .in_first = array_make((size_t)nodes + 1, 4),
                    .out_edges = array_make(edge_count, 4),
                    .in_edges = array_make(edge_count, 4),
                    .outs = array_make(nodes, 4),
                    .ins = array_make(nodes, 4),
                    .next = array_make(nodes, 4),
                    .previous = array_make(nodes, 4),
                    .bucket = array_make(nodes, 1)};
    bool good = self.out_first != NULL && self.in_first != NULL && self.out_edges != NULL &&
                self.in_edges != NULL && self.outs != NULL && self.ins != NULL && self.next != NULL &&
                self.previous != NULL && self.bucket != NULL;
    if (good) {
        edges_group(edges, edge_count, nodes, true, self.out_first, self.out_edges);
        edges_group(edges, edge_count, nodes, false, self.in_first, self.in_edges);
        sorting_begin(&self, nodes);
        order_take(&self, graph);
    }
    free(self.out_first);
    free(self.in_first);
    free(self.out_edges);
    free(self.in_edges);
    free(self.outs);
    free(self.ins);
    free(self.next);
    free(self.previous);
    free(self.bucket);
    return good;
}

/* ---- Edges ---- */

static float part(double value) {
    return value > 0 ? value < 1 ? (float)value : 1 : 0;
}

static impact_caller caller_of(const impact_graph *graph, const impact_edge *edge) {
    double calls = (edge->calls > 0 ? edge->calls : 1) * (double)part(edge->waits);
    return (impact_caller){
        .from = graph->place[edge->from],
        .share = part(edge->share),
        .calls = part(edge->share) * (float)calls,
        .class = (uint8_t)edge->class,
        .kept = (uint8_t)((1 - part(edge->fallback)) * IMPACT_LEVELS + 0.5F),
        /* By the numbers of its ends: the same edge has the same salt in every version of the graph. */
        .salt = (uint16_t)mix64(mix64(edge->from, edge->to), edge->class),
    };
}

static void callers_fill(impact_graph *graph, const impact_edge *edges, const uint32_t *first,
                         const uint32_t *grouped) {
    uint32_t end = 0;
    for (uint32_t place = 0; place < graph->node_count; place++) {
        uint32_t node = graph->number[place];
        graph->first[place] = end;
        for (uint32_t i = first[node]; i < first[node + 1]; i++) {
            const impact_edge *edge = &edges[grouped[i]];
            if (edge->from == edge->to)
                continue;
            graph->delays_ms[end] = (float)edge->delay_ms;
            graph->called[end] = place;
            graph->callers[end++] = caller_of(graph, edge);
        }
    }
    graph->first[graph->node_count] = end;
    graph->edge_count = end;
}

static bool opaque_fill(impact_graph *graph, const impact_edge *edges, const uint32_t *first,
                        const uint32_t *grouped) {
    uint32_t count = 0;
    for (uint32_t place = 0; place < graph->node_count; place++)
        if (graph->nodes[place].opaque)
            count += graph->first[place + 1] - graph->first[place];
    graph->opaque_places = array_make(count, sizeof *graph->opaque_places);
    if (graph->opaque_places == NULL)
        return false;
    uint32_t end = 0;
    for (uint32_t place = 0; place < graph->node_count; place++) {
        uint32_t node = graph->number[place];
        graph->first_opaque[place] = end;
        for (uint32_t i = first[node]; i < first[node + 1] && end < count; i++) {
            uint32_t to = graph->place[edges[grouped[i]].to];
            if (to != place && graph->nodes[to].opaque)
                graph->opaque_places[end++] = to;
        }
    }
    graph->first_opaque[graph->node_count] = end;
    return true;
}

static bool graph_allocate(impact_graph *self, uint32_t edge_count) {
    self->place = array_make(self->node_count, sizeof *self->place);
    self->number = array_make(self->node_count, sizeof *self->number);
    self->first = array_make((size_t)self->node_count + 1, sizeof *self->first);
    self->first_opaque = array_make((size_t)self->node_count + 1, sizeof *self->first_opaque);
    self->nodes = array_make(self->node_count, sizeof *self->nodes);
    self->callers = array_make(edge_count, sizeof *self->callers);
    self->called = array_make(edge_count, sizeof *self->called);
    self->delays_ms = array_make(edge_count, sizeof *self->delays_ms);
    return self->place != NULL && self->number != NULL && self->first != NULL && self->first_opaque != NULL &&
           self->nodes != NULL && self->callers != NULL && self->called != NULL && self->delays_ms != NULL;
}

static bool graph_fill(impact_graph *self, const impact_node *nodes, const impact_edge *edges,
                       uint32_t edge_count, uint32_t *first, uint32_t *grouped) {
    if (!order_find(self, edges, edge_count))
        return false;
    for (uint32_t place = 0; place < self->node_count; place++)
        self->nodes[place] = nodes[self->number[place]];
    edges_group(edges, edge_count, self->node_count, false, first, grouped);
    callers_fill(self, edges, first, grouped);
    edges_group(edges, edge_count, self->node_count, true, first, grouped);
    return opaque_fill(self, edges, first, grouped);
}

status_code impact_graph_create(impact_graph **out, const impact_node *nodes, uint32_t node_count,
                                const impact_edge *edges, uint32_t edge_count, failure *why) {
    impact_graph *self = calloc(1, sizeof *self);
    uint32_t *first = array_make((size_t)node_count + 1, sizeof *first);
    uint32_t *grouped = array_make(edge_count, sizeof *grouped);
    bool good = self != NULL && first != NULL && grouped != NULL;
    if (good) {
        self->node_count = node_count;
        good = graph_allocate(self, edge_count) && graph_fill(self, nodes, edges, edge_count, first, grouped);
    }
    free(first);
    free(grouped);
    if (!good) {
        impact_graph_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph of impacts");
    }
    *out = self;
    return STATUS_OK;
}
