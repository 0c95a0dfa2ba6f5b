/* Impact on any graph: parts of requests stay parts, targets are hit, and one more target hits no less.
 * Input: a byte for the first target, one for the second, then eight for each edge. */
#include <stdlib.h>
#include <string.h>

#include "impact_spread.h"

#define NODES 32U
#define EDGES_MAX 512U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

static void parts_check(impact_spread *spread, const impact_graph *graph, const uint32_t *targets,
                        size_t count, double *least) {
    float hits[NODES];
    float worlds[IMPACT_WORLDS];
    demand(impact_spread_begin(spread, graph));
    impact_spread_run(spread, graph, targets, count, NULL, 0);
    demand(spread->visited_count >= count && spread->visited_count <= NODES);
    demand(impact_spread_calls(spread, graph));
    for (uint32_t place = 0; place < NODES; place++) {
        double hit = impact_spread_hit(spread, place);
        demand(hit >= 0 && hit <= 1 && hit >= least[place] - 0.01);
        least[place] = hit;
    }
    for (uint32_t i = 0; i < spread->visited_count; i++)
        hits[i] = (float)impact_spread_hit(spread, spread->visited[i]);
    impact_spread_traffic(spread, graph, hits, worlds);
    for (unsigned i = 0; i < IMPACT_WORLDS; i++)
        demand(worlds[i] >= 0 && worlds[i] <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    impact_node nodes[NODES] = {{.entry = 0.5}, {.entry = 0.5}};
    impact_edge edges[EDGES_MAX];
    uint32_t count = 0;
    if (size < 2)
        return 0;
    for (size_t at = 2; at + 8 <= size && count < EDGES_MAX; at += 8, count++)
        edges[count] = (impact_edge){.from = data[at] % NODES,
                                     .to = data[at + 1] % NODES,
                                     .class = (propagation_class)(data[at + 2] % PROPAGATION_CLASSES),
                                     .share = (double)data[at + 3] / 255,
                                     .calls = (double)data[at + 4],
                                     .waits = (double)data[at + 5] / 255,
                                     .fallback = (double)data[at + 6] / 255,
                                     .delay_ms = (double)data[at + 7]};
    impact_graph *graph = NULL;
    demand(impact_graph_create(&graph, nodes, NODES, edges, count, NULL) == STATUS_OK);
    impact_spread spread = {0};
    double least[NODES] = {0};
    uint32_t targets[2] = {graph->place[data[0] % NODES], graph->place[data[1] % NODES]};
    parts_check(&spread, graph, targets, 1, least);
    if (targets[0] != targets[1])
        parts_check(&spread, graph, targets, 2, least);
    impact_spread_free(&spread);
    impact_graph_free(graph);
    return 0;
}
