/* How impact spreads, against simulation: small graphs drawn at random, with cycles, self-calls and diamonds,
 * whose every way to fail is tried by throwing dice; and what must hold in any graph. */
#include "impact_spread.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "test.h"

#define NODES 12U
#define EDGES_MAX 64U
#define GRAPHS 60U
#define THROWS 4000U

typedef struct drawing {
    impact_node nodes[NODES];
    impact_edge edges[EDGES_MAX];
    uint32_t edge_count;
    impact_graph *graph;
} drawing;

static uint32_t draw(simulated_chance *dice, uint32_t below) {
    uint32_t value = 0;
    chance_random(&dice->chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

static double part_drawn(simulated_chance *dice) {
    return (double)draw(dice, 1001) / 1000;
}

/* Node 0 and 1 receive the entry traffic; calls lead to higher numbers, or anywhere. */
static void drawing_make(drawing *self, simulated_chance *dice, bool cyclic) {
    *self = (drawing){0};
    self->nodes[0].entry = 0.7;
    self->nodes[1].entry = 0.3;
    for (uint32_t from = 0; from < NODES; from++)
        for (uint32_t to = 0; to < NODES && self->edge_count < EDGES_MAX; to++) {
            if (draw(dice, 4) != 0 || (!cyclic && to <= from))
                continue;
            self->edges[self->edge_count++] =
                (impact_edge){.from = from,
                              .to = to,
                              .class = (propagation_class)draw(dice, PROPAGATION_CLASSES),
                              .share = part_drawn(dice),
                              .calls = 1 + draw(dice, 3),
                              .waits = 1,
                              .fallback = draw(dice, 3) == 0 ? part_drawn(dice) : 0};
        }
    assert_int_equal(
        impact_graph_create(&self->graph, self->nodes, NODES, self->edges, self->edge_count, NULL),
        STATUS_OK);
}

static void ask(impact_spread *spread, const drawing *from, const uint32_t *numbers, size_t count) {
    uint32_t places[NODES];
    for (size_t i = 0; i < count; i++)
        places[i] = from->graph->place[numbers[i]];
    assert_true(impact_spread_begin(spread, from->graph));
    impact_spread_run(spread, from->graph, places, count, NULL, PROPAGATION_VERBS - 1);
}

static double hit(const impact_spread *spread, const drawing *from, uint32_t number) {
    return impact_spread_hit(spread, from->graph->place[number]);
}

/* One throw: which edges failure crosses; then the part of each node's requests that is hit, by iteration. */
static void world_throw(const drawing *self, simulated_chance *dice, uint32_t target, double *hits) {
    bool open[EDGES_MAX];
    for (uint32_t i = 0; i < self->edge_count; i++) {
        const impact_edge *edge = &self->edges[i];
        double kept = floor((1 - edge->fallback) * IMPACT_LEVELS + 0.5) / IMPACT_LEVELS;
        open[i] = part_drawn(dice) <= kept * propagation_crosses(NULL, edge->class, PROPAGATION_VERBS - 1);
    }
    memset(hits, 0, NODES * sizeof *hits);
    for (unsigned round = 0; round < 100; round++) {
        double spared[NODES];
        for (uint32_t i = 0; i < NODES; i++)
            spared[i] = 1;
        hits[target] = 1;
        for (uint32_t i = 0; i < self->edge_count; i++)
            if (open[i] && self->edges[i].from != self->edges[i].to)
                spared[self->edges[i].from] *= 1 - self->edges[i].share * hits[self->edges[i].to];
        double change = 0;
        for (uint32_t i = 0; i < NODES; i++) {
            change = fmax(change, fabs(1 - spared[i] - hits[i]) * (i != target));
            hits[i] = 1 - spared[i];
        }
        hits[target] = 1;
        if (change < 1e-6)
            break;
    }
}

static void run_graphs(bool cyclic, double mean_max) {
    simulated_chance dice;
    impact_spread spread = {0};
    double error = 0;
    double traffic_error = 0;
    unsigned compared = 0;
    simulated_chance_init(&dice, 7);
    for (unsigned graph = 0; graph < GRAPHS; graph++) {
        drawing self;
        double sums[NODES] = {0};
        double traffic = 0;
        drawing_make(&self, &dice, cyclic);
        uint32_t target = 2 + draw(&dice, NODES - 2);
        for (unsigned i = 0; i < THROWS / 10; i++) {
            double hits[NODES];
            world_throw(&self, &dice, target, hits);
            for (uint32_t node = 0; node < NODES; node++)
                sums[node] += hits[node] / (THROWS / 10);
            traffic += (0.7 * hits[0] + 0.3 * hits[1]) / (THROWS / 10);
        }
        ask(&spread, &self, &target, 1);
        float parts[NODES];
        float worlds[IMPACT_WORLDS];
        double mean = 0;
        for (uint32_t i = 0; i < spread.visited_count; i++)
            parts[i] = (float)impact_spread_hit(&spread, spread.visited[i]);
        impact_spread_traffic(&spread, self.graph, parts, worlds);
        for (unsigned i = 0; i < IMPACT_WORLDS; i++) {
            assert_true(worlds[i] >= 0 && worlds[i] <= 1 && (i == 0 || worlds[i] >= worlds[i - 1]));
            mean += (double)worlds[i] / IMPACT_WORLDS;
        }
        traffic_error += fabs(mean - traffic) / GRAPHS;
        for (uint32_t node = 0; node < NODES; node++) {
            assert_true(hit(&spread, &self, node) >= 0 && hit(&spread, &self, node) <= 1);
            error += fabs(hit(&spread, &self, node) - sums[node]);
            compared++;
        }
        impact_graph_free(self.graph);
    }
    impact_spread_free(&spread);
    print_message("mean error of a part: %.4f, of traffic: %.4f\n", error / compared, traffic_error);
    assert_true(error / compared < mean_max);
    assert_true(traffic_error < 2 * mean_max);
}

static void test_against_dice(void **state) {
    (void)state;
    run_graphs(false, 0.02);
}

static void test_against_dice_with_cycles(void **state) {
    (void)state;
    run_graphs(true, 0.04);
}

/* More targets hit no less, and a union hits at least what each of its parts does. */
static void test_union_is_no_less(void **state) {
    (void)state;
    simulated_chance dice;
    impact_spread spread = {0};
    simulated_chance_init(&dice, 11);
    for (unsigned graph = 0; graph < GRAPHS; graph++) {
        drawing self;
        double least[NODES] = {0};
        drawing_make(&self, &dice, graph % 2 == 1);
        uint32_t first = draw(&dice, NODES);
        uint32_t both[2] = {first, (first + 1 + draw(&dice, NODES - 1)) % NODES};
        for (unsigned i = 0; i < 2; i++) {
            ask(&spread, &self, &both[i], 1);
            assert_true(hit(&spread, &self, both[i]) >= 1);
            for (uint32_t node = 0; node < NODES; node++)
                least[node] = fmax(least[node], hit(&spread, &self, node));
        }
        ask(&spread, &self, both, 2);
        for (uint32_t node = 0; node < NODES; node++)
            assert_true(hit(&spread, &self, node) >= least[node] - 1e-3);
        impact_graph_free(self.graph);
    }
    impact_spread_free(&spread);
}

/* The same edges in another order are the same graph, and the same question has the same answer. */
static void test_order_does_not_matter(void **state) {
    (void)state;
    simulated_chance dice;
    impact_spread spread = {0};
    simulated_chance_init(&dice, 13);
    for (unsigned graph = 0; graph < GRAPHS; graph++) {
        drawing self;
        double before[NODES];
        drawing_make(&self, &dice, graph % 2 == 1);
        uint32_t target = draw(&dice, NODES);
        ask(&spread, &self, &target, 1);
        for (uint32_t node = 0; node < NODES; node++)
            before[node] = hit(&spread, &self, node);
        for (uint32_t i = 0; i < self.edge_count / 2; i++) {
            impact_edge kept = self.edges[i];
            self.edges[i] = self.edges[self.edge_count - 1 - i];
            self.edges[self.edge_count - 1 - i] = kept;
        }
        impact_graph_free(self.graph);
        assert_int_equal(
            impact_graph_create(&self.graph, self.nodes, NODES, self.edges, self.edge_count, NULL),
            STATUS_OK);
        ask(&spread, &self, &target, 1);
        for (uint32_t node = 0; node < NODES; node++)
            assert_true(fabs(hit(&spread, &self, node) - before[node]) < 2e-3);
        impact_graph_free(self.graph);
    }
    impact_spread_free(&spread);
}

/* Both branches of a diamond hang on one queue: top is hit when it lets through, not once for each branch. */
static void test_what_hangs_together_falls_together(void **state) {
    (void)state;
    enum { TOP, LEFT, RIGHT, MIDDLE, BOTTOM };
    drawing self = {.edge_count = 5};
    impact_spread spread = {0};
    uint32_t bottom = BOTTOM;
    const impact_edge edges[] = {{.from = TOP, .to = LEFT, .share = 1, .waits = 1},
                                 {.from = TOP, .to = RIGHT, .share = 1, .waits = 1},
                                 {.from = LEFT, .to = MIDDLE, .share = 1, .waits = 1},
                                 {.from = RIGHT, .to = MIDDLE, .share = 1, .waits = 1},
                                 {.from = MIDDLE, .to = BOTTOM, .class = PROPAGATION_QUEUE, .share = 1}};
    memcpy(self.edges, edges, sizeof edges);
    assert_int_equal(impact_graph_create(&self.graph, self.nodes, NODES, self.edges, 5, NULL), STATUS_OK);
    ask(&spread, &self, &bottom, 1);
    double crosses = propagation_crosses(NULL, PROPAGATION_QUEUE, PROPAGATION_VERBS - 1);
    assert_true(fabs(hit(&spread, &self, TOP) - crosses) < 1.0 / IMPACT_LEVELS);
    assert_true(fabs(hit(&spread, &self, MIDDLE) - crosses) < 1e-6);
    impact_graph_free(self.graph);
    impact_spread_free(&spread);
}

/* Calls are added up, however they share out: three to the left, two to the right, one each from there. */
static void test_calls_add_up(void **state) {
    (void)state;
    drawing self = {0};
    impact_spread spread = {0};
    uint32_t target = 3;
    const impact_edge edges[] = {{.from = 0, .to = 1, .share = 0.5, .calls = 3, .waits = 1},
                                 {.from = 0, .to = 2, .share = 1, .calls = 2, .waits = 1},
                                 {.from = 1, .to = 3, .share = 1, .calls = 1, .waits = 1},
                                 {.from = 2, .to = 3, .share = 1, .calls = 1, .waits = 0.5}};
    assert_int_equal(impact_graph_create(&self.graph, self.nodes, NODES, edges, 4, NULL), STATUS_OK);
    ask(&spread, &self, &target, 1);
    assert_true(impact_spread_calls(&spread, self.graph));
    assert_true(fabs((double)spread.calls[self.graph->place[0]] - 2.5) < 1e-6);
    impact_graph_free(self.graph);
    impact_spread_free(&spread);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_dice),
        cmocka_unit_test(test_against_dice_with_cycles),
        cmocka_unit_test(test_union_is_no_less),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_what_hangs_together_falls_together),
        cmocka_unit_test(test_calls_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
