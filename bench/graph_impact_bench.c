/* What PredictImpact costs on a generated production, and how exact its percentiles are, beside plain
 * reachability: by SQLite's recursive query, by igraph's breadth-first search where it is installed, and by
 * our own. One run, the same targets. One JSON line a figure; --quick for fewer.
 *
 * graph.impact_p99_us     of one prediction, uncached, with random targets, percentiles and 256 affected
 * nodes included graph.impact_p95_error  largest difference of its p95 of entry traffic from a Monte Carlo of
 * the same edges graph.impact_vs_sqlite  how many times faster than reachability by SQLite (medians)
 * graph.impact_growth     the same from 100 to 100,000 services */
#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "impact.h"
#include "load.h"
#include "production.h"
#ifdef HAVE_IGRAPH
#include <igraph.h>
#endif

#define SERVICES 10000U
#define CALLEES 20U
#define REQUESTS 20000U /* drawn, so that shares are measured */
#define REQUEST_NODES 24U
#define NAME_BYTES 64U

static failure why;

static void must(status_code code) {
    if (code != STATUS_OK)
        give_up(why.message);
}

/* CPU time of this thread: a neighbour's work is no cost of ours. */
static double cpu_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int number_compare(const void *left, const void *right) {
    const double *a = left;
    const double *b = right;
    return *a < *b ? -1 : *a > *b;
}

static double rank(double *values, size_t count, double part) {
    qsort(values, count, sizeof *values, number_compare);
    return values[(size_t)(part * (double)(count - 1))];
}

/* ---- A snapshot of a production: the edges as they are, and shapes of requests that walk them ---- */

typedef struct stage {
    production made;
    snapshot graph;
    char (*names)[NAME_BYTES];
    uint64_t build_us;
} stage;

static void *room(size_t count, size_t size) {
    void *made = calloc(count + 1, size);
    if (made == NULL)
        give_up("no memory");
    return made;
}

static uint32_t request_walk(production *made, uint32_t *members) {
    uint32_t count = 1;
    members[0] = production_draw(made, made->service_count * 13 / 100 + 1);
    for (uint32_t at = 0; at < count; at++)
        for (uint32_t i = made->first[members[at]]; i < made->first[members[at] + 1]; i++) {
            bool known = false;
            for (uint32_t j = 0; j < count; j++)
                known = known || members[j] == made->edges[i].to;
            if (!known && count < REQUEST_NODES && production_chance(made) < (double)made->edges[i].share / 4)
                members[count++] = made->edges[i].to;
        }
    return count;
}

static void shapes_make(stage *self) {
    snapshot *graph = &self->graph;
    graph->shapes = room(REQUESTS, sizeof *graph->shapes);
    graph->members = room((size_t)REQUESTS * REQUEST_NODES, sizeof *graph->members);
    graph->node_shapes = room((size_t)REQUESTS * REQUEST_NODES, sizeof *graph->node_shapes);
    graph->shape_count = REQUESTS;
    graph->entry_requests = graph->entry_squares = REQUESTS;
    uint32_t end = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t count = request_walk(&self->made, graph->members + end);
        graph->shapes[i] =
            (snapshot_shape){.requests = 1, .reach = 1, .members_first = end, .members_count = count};
        graph->nodes[graph->members[end]].entry_requests += 1;
        for (uint32_t j = end; j < end + count; j++) {
            snapshot_node *node = &graph->nodes[graph->members[j]];
            node->requests += 1;
            node->traces += 1;
            node->reached += 1;
            node->shapes_count++;
        }
        end += count;
    }
    for (uint32_t i = 0, first = 0; i < graph->node_count; i++) {
        graph->nodes[i].shapes_first = first;
        first += graph->nodes[i].shapes_count;
        graph->nodes[i].shapes_count = 0;
    }
    for (uint32_t i = 0; i < REQUESTS; i++)
        for (uint32_t j = 0; j < graph->shapes[i].members_count; j++) {
            snapshot_node *node = &graph->nodes[graph->members[graph->shapes[i].members_first + j]];
            graph->node_shapes[node->shapes_first + node->shapes_count++] = i;
        }
}

static void stage_make(stage *self, uint32_t services) {
    *self = (stage){0};
    if (!production_make(&self->made, services, services * CALLEES, 7, 0))
        give_up("no memory for a production");
    uint32_t count = self->made.service_count;
    impact_node *nodes = room(count, sizeof *nodes);
    impact_edge *edges = room(self->made.edge_count, sizeof *edges);
    self->names = room(count, sizeof *self->names);
    self->graph.nodes = room(count, sizeof *self->graph.nodes);
    self->graph.node_count = self->graph.model_count = count;
    self->graph.edge_count = self->made.edge_count;
    for (uint32_t i = 0; i < count; i++) {
        production_name(i, self->names[i]);
        self->graph.nodes[i] = (snapshot_node){.name = self->names[i], .kind = NODE_SERVICE, .visible = true};
    }
    shapes_make(self);
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = (impact_node){.entry = self->graph.nodes[i].entry_requests / REQUESTS, .self_part = 1};
    for (uint32_t i = 0; i < self->made.edge_count; i++) {
        const production_edge *edge = &self->made.edges[i];
        edges[i] = (impact_edge){.from = edge->from,
                                 .to = edge->to,
                                 .class = edge->asynchronous ? PROPAGATION_QUEUE : PROPAGATION_CALL,
                                 .share = (double)edge->share,
                                 .calls = 1,
                                 .waits = 1};
    }
    double start_us = cpu_us();
    must(impact_graph_create(&self->graph.impact, nodes, count, edges, self->made.edge_count, &why));
    self->build_us = (uint64_t)(cpu_us() - start_us);
    free(nodes);
    free(edges);
}

static void stage_free(stage *self) {
    impact_graph_free(self->graph.impact);
    free(self->graph.shapes);
    free(self->graph.members);
    free(self->graph.node_shapes);
    free(self->graph.nodes);
    free(self->names);
    production_free(&self->made);
}

/* ---- The contestants; each returns microseconds ---- */

static impact_scratch scratch;
static arena memory;

static double predict(const stage *self, uint32_t target) {
    impact_message *out = NULL;
    arena_reset(&memory);
    double start_us = cpu_us();
    must(impact_of(&self->graph, &target, 1, &scratch, &memory, &out, &why));
    return cpu_us() - start_us;
}

static double reach_by_hand(const impact_graph *graph, uint32_t target, uint32_t *queue, uint8_t *seen) {
    double start_us = cpu_us();
    uint32_t end = 0;
    memset(seen, 0, graph->node_count);
    queue[end++] = graph->place[target];
    seen[queue[0]] = 1;
    for (uint32_t at = 0; at < end; at++)
        for (uint32_t i = graph->first[queue[at]]; i < graph->first[queue[at] + 1]; i++)
            if (!seen[graph->callers[i].from]) {
                seen[graph->callers[i].from] = 1;
                queue[end++] = graph->callers[i].from;
            }
    return cpu_us() - start_us;
}

static sqlite3 *table_make(const production *made) {
    sqlite3 *file = NULL;
    sqlite3_stmt *insert = NULL;
    if (sqlite3_open(":memory:", &file) != SQLITE_OK ||
        sqlite3_exec(file, "CREATE TABLE edge(called INTEGER, caller INTEGER); BEGIN", NULL, NULL, NULL) !=
            SQLITE_OK ||
        sqlite3_prepare_v2(file, "INSERT INTO edge VALUES(?,?)", -1, &insert, NULL) != SQLITE_OK)
        give_up("SQLite does not open");
    for (uint32_t i = 0; i < made->edge_count; i++) {
        sqlite3_bind_int64(insert, 1, made->edges[i].to);
        sqlite3_bind_int64(insert, 2, made->edges[i].from);
        sqlite3_step(insert);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    if (sqlite3_exec(file, "COMMIT; CREATE INDEX by_called ON edge(called, caller); ANALYZE", NULL, NULL,
                     NULL) != SQLITE_OK)
        give_up("SQLite does not index");
    return file;
}

static double reach_by_sqlite(sqlite3_stmt *query, uint32_t target) {
    double start_us = cpu_us();
    sqlite3_bind_int64(query, 1, target);
    if (sqlite3_step(query) != SQLITE_ROW)
        give_up("SQLite does not answer");
    sqlite3_reset(query);
    return cpu_us() - start_us;
}

static void sqlite_run(const stage *self, const uint32_t *targets, size_t count, double *took_us) {
    static const char text[] =
        "WITH RECURSIVE up(node) AS (VALUES(?1) UNION SELECT caller FROM up JOIN edge ON called = node) "
        "SELECT count(*) FROM up";
    sqlite3 *file = table_make(&self->made);
    sqlite3_stmt *query = NULL;
    if (sqlite3_prepare_v2(file, text, -1, &query, NULL) != SQLITE_OK)
        give_up(sqlite3_errmsg(file));
    for (size_t i = 0; i < count; i++)
        took_us[i] = reach_by_sqlite(query, targets[i]);
    sqlite3_finalize(query);
    sqlite3_close(file);
}

/* Negative where igraph is not installed. */
static double igraph_run(const stage *self, const uint32_t *targets, size_t count, double *took_us) {
#ifdef HAVE_IGRAPH
    igraph_t graph;
    igraph_vector_int_t ends;
    igraph_vector_int_t order;
    igraph_vector_int_init(&ends, 2 * (igraph_integer_t)self->made.edge_count);
    igraph_vector_int_init(&order, 0);
    for (uint32_t i = 0; i < self->made.edge_count; i++) {
        VECTOR(ends)[2 * i] = self->made.edges[i].from;
        VECTOR(ends)[2 * i + 1] = self->made.edges[i].to;
    }
    igraph_create(&graph, &ends, (igraph_integer_t)self->made.service_count, IGRAPH_DIRECTED);
    for (size_t i = 0; i < count; i++) {
        double start_us = cpu_us();
        igraph_bfs_simple(&graph, (igraph_integer_t)targets[i], IGRAPH_IN, &order, NULL, NULL);
        took_us[i] = cpu_us() - start_us;
    }
    igraph_vector_int_destroy(&ends);
    igraph_vector_int_destroy(&order);
    igraph_destroy(&graph);
    return rank(took_us, count, 0.5);
#else
    (void)self;
    (void)targets;
    (void)count;
    (void)took_us;
    return -1;
#endif
}

/* ---- Monte Carlo: dice for each edge, then the part of each node's requests that is hit, until it stands
 * ---- */

typedef struct dice {
    uint8_t *open;
    float *hits, *spared;
} dice;

static double world_throw(stage *self, uint32_t target, double queue_crosses, dice *thrown) {
    const impact_graph *graph = self->graph.impact;
    uint32_t place = graph->place[target];
    for (uint32_t i = 0; i < graph->edge_count; i++)
        thrown->open[i] =
            graph->callers[i].class == PROPAGATION_CALL || production_chance(&self->made) < queue_crosses;
    memset(thrown->hits, 0, graph->node_count * sizeof *thrown->hits);
    for (unsigned round = 0; round < 200; round++) {
        float change = 0;
        for (uint32_t i = 0; i < graph->node_count; i++)
            thrown->spared[i] = 1;
        for (uint32_t i = 0; i < graph->node_count; i++) {
            /* What lies earlier in the order is known by now. */
            float now = i == place ? 1 : fmaxf(thrown->hits[i], 1 - thrown->spared[i]);
            change = fmaxf(change, now - thrown->hits[i]);
            thrown->hits[i] = now;
            for (uint32_t j = graph->first[i]; now > 0 && j < graph->first[i + 1]; j++)
                if (thrown->open[j])
                    thrown->spared[graph->callers[j].from] *= 1 - graph->callers[j].share * now;
        }
        for (uint32_t i = 0; i < graph->node_count; i++)
            if (i != place) {
                change = fmaxf(change, 1 - thrown->spared[i] - thrown->hits[i]);
                thrown->hits[i] = fmaxf(thrown->hits[i], 1 - thrown->spared[i]);
            }
        if (change < 1e-3F)
            break;
    }
    double traffic = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        traffic += graph->nodes[i].entry * (double)thrown->hits[i];
    return traffic;
}

static void percentiles_check(stage *self, unsigned targets, unsigned throws) {
    const impact_graph *graph = self->graph.impact;
    dice thrown = {.open = room(graph->edge_count, 1),
                   .hits = room(graph->node_count, sizeof(float)),
                   .spared = room(graph->node_count, sizeof(float))};
    double *traffic = room(throws, sizeof *traffic);
    double queue_crosses = propagation_crosses(NULL, PROPAGATION_QUEUE, PROPAGATION_VERBS - 1);
    double largest = 0;
    double sum = 0;
    for (unsigned i = 0; i < targets; i++) {
        float worlds[IMPACT_WORLDS];
        uint32_t target = production_draw(&self->made, graph->node_count);
        uint32_t place = graph->place[target];
        if (!impact_spread_begin(&scratch.spread, graph))
            give_up("no memory");
        impact_spread_run(&scratch.spread, graph, &place, 1, NULL, PROPAGATION_VERBS - 1);
        float *hits = room(graph->node_count, sizeof *hits);
        for (uint32_t j = 0; j < scratch.spread.visited_count; j++)
            hits[j] = (float)impact_spread_hit(&scratch.spread, scratch.spread.visited[j]);
        impact_spread_traffic(&scratch.spread, graph, hits, worlds);
        free(hits);
        for (unsigned j = 0; j < throws; j++)
            traffic[j] = world_throw(self, target, queue_crosses, &thrown);
        double error = fabs((double)worlds[IMPACT_WORLDS * 95 / 100] - rank(traffic, throws, 0.95));
        largest = fmax(largest, error);
        sum += error;
    }
    printf("{\"name\":\"graph.impact_p95_error\",\"value\":%.4f,\"unit\":\"share\",\"target\":0.02,\"ok\":%s,"
           "\"mean\":%.4f,"
           "\"targets\":%u,\"samples\":%u,\"services\":%u}\n",
           largest, largest <= 0.02 ? "true" : "false", sum / targets, targets, throws, graph->node_count);
    fflush(stdout);
    free(thrown.open);
    free(thrown.hits);
    free(thrown.spared);
    free(traffic);
}

/* ---- Figures ---- */

static void growth_measure(uint32_t services, unsigned count) {
    stage self;
    stage_make(&self, services);
    double *took_us = room(count, sizeof *took_us);
    for (unsigned i = 0; i < count; i++)
        took_us[i] = predict(&self, production_draw(&self.made, self.made.service_count));
    double p99 = rank(took_us, count, 0.99);
    printf("{\"name\":\"graph.impact_growth\",\"value\":%.1f,\"unit\":\"us\",\"services\":%u,\"edges\":%u,"
           "\"p50_us\":%.1f,"
           "\"build_ms\":%.1f,\"bytes_per_edge\":%.1f}\n",
           p99, services, self.made.edge_count, rank(took_us, count, 0.5), (double)self.build_us / 1000,
           (double)impact_graph_bytes(self.graph.impact) / self.made.edge_count);
    fflush(stdout);
    free(took_us);
    stage_free(&self);
}

static void compare(stage *self, unsigned count) {
    uint32_t *targets = room(count, sizeof *targets);
    double *ours = room(count, sizeof *ours);
    double *other = room(count, sizeof *other);
    uint32_t *queue = room(self->made.service_count, sizeof *queue);
    uint8_t *seen = room(self->made.service_count, 1);
    unsigned slow = count / 10;
    for (unsigned i = 0; i < count; i++)
        targets[i] = production_draw(&self->made, self->made.service_count);
    for (unsigned i = 0; i < count; i++)
        ours[i] = predict(self, targets[i]);
    for (unsigned i = 0; i < count; i++)
        other[i] = reach_by_hand(self->graph.impact, targets[i], queue, seen);
    double hand = rank(other, count, 0.5);
    double igraph = igraph_run(self, targets, slow, other);
    sqlite_run(self, targets, slow, other);
    double sqlite = rank(other, slow, 0.5);
    double middle = rank(ours, count, 0.5);
    double p99 = rank(ours, count, 0.99);
    printf("{\"name\":\"graph.impact_p99_us\",\"value\":%.1f,\"unit\":\"us\",\"target\":300,\"ok\":%s,\"p50_"
           "us\":%.1f,"
           "\"bfs_p50_us\":%.1f,\"igraph_bfs_p50_us\":%.1f,\"services\":%u,\"edges\":%u,\"shapes\":%u}\n",
           p99, p99 <= 300 ? "true" : "false", middle, hand, igraph, self->made.service_count,
           self->made.edge_count, self->graph.shape_count);
    printf("{\"name\":\"graph.impact_vs_sqlite\",\"value\":%.1f,\"unit\":\"ratio\",\"target\":100,\"ok\":%s,"
           "\"sqlite_p50_us\":%.0f}\n",
           sqlite / middle, sqlite / middle >= 100 ? "true" : "false", sqlite);
    fflush(stdout);
    free(targets);
    free(ours);
    free(other);
    free(queue);
    free(seen);
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    stage self;
    arena_init(&memory, 1 << 20, 16 << 20);
    stage_make(&self, SERVICES);
    compare(&self, quick ? 500 : 2000);
    stage_free(&self);
    /* A throw walks the whole graph many times: as many samples as the time allows, on a smaller production.
     */
    stage_make(&self, 300);
    percentiles_check(&self, quick ? 4 : 10, quick ? 2000 : 100000);
    stage_free(&self);
    static const uint32_t sizes[] = {100, 1000, 10000, 100000};
    for (unsigned i = 0; i < (quick ? 2 : 4); i++)
        growth_measure(sizes[i], quick ? 200 : 500);
    impact_scratch_free(&scratch);
    arena_free(&memory);
    return 0;
}
