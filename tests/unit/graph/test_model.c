/* The model over scenarios.txt: every scenario in its own order, backwards and in random orders, because
 * spans come as they please and the graph must be the same. */
#include "world.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINES_MAX 64U
#define ORDERS 24U

typedef struct scenario {
    char title[128];
    char spans[LINES_MAX][160];
    size_t span_count;
    char expectations[LINES_MAX][160];
    size_t expectation_count;
} scenario;

static span_kind kind_of(const char *word) {
    static const char *const words[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};
    for (unsigned i = 0; i < 6; i++)
        if (strcmp(word, words[i]) == 0)
            return (span_kind)i;
    fail_msg("no such kind of span: %s", word);
    return SPAN_INTERNAL;
}

static void span_apply(world *self, const char *line) {
    char trace[16];
    char span[16];
    char parent[16];
    char service[32];
    char kind[16];
    char peer[64] = "";
    double weight = 0;
    int fields = sscanf(line, "span %15s %15s %15s %31s %15s %lf %63s", trace, span, parent, service, kind,
                        &weight, peer);
    assert_true(fields >= 6);
    observation what =
        world_span(self, world_id(trace), world_id(span), strcmp(parent, "-") == 0 ? 0 : world_id(parent),
                   service, kind_of(kind), weight);
    if (fields == 7)
        what.peer = world_node(self, peer, true);
    world_apply(self, what);
}

/* A service or else a datastore of that name. */
static const model_node *node_of(const world *self, const char *name, uint32_t *number) {
    for (uint32_t i = 0; i < model_node_count(self->graph); i++) {
        const model_node *node = model_node_at(self->graph, i);
        if (strcmp(strrchr(node->name, '/') + 1, name) == 0) {
            *number = i;
            return node;
        }
    }
    fail_msg("no node %s", name);
    return NULL;
}

static const model_edge *edge_of(const world *self, const char *from, const char *to) {
    for (uint32_t i = 0; i < model_edge_count(self->graph); i++) {
        const model_edge *edge = model_edge_at(self->graph, i);
        if (strcmp(strrchr(model_node_at(self->graph, edge->from)->name, '/') + 1, from) == 0 &&
            strcmp(strrchr(model_node_at(self->graph, edge->to)->name, '/') + 1, to) == 0)
            return edge;
    }
    return NULL;
}

static bool same(double a, double b) {
    return a - b < 1e-9 && b - a < 1e-9;
}

static impact_message *impact_for(world *self, snapshot *graph, const char *targets, arena *memory,
                                  impact_scratch *scratch) {
    uint32_t numbers[8];
    size_t count = 0;
    char name[64];
    for (int used = 0; sscanf(targets, "%63s%n", name, &used) == 1 && count < 8; targets += used)
        node_of(self, name, &numbers[count++]);
    impact_message *out = NULL;
    failure why = {0};
    assert_int_equal(impact_of(graph, numbers, count, scratch, memory, &out, &why), STATUS_OK);
    return out;
}

static bool holds_share(const impact_message *impact, double expected) {
    const Interlock__Graph__V1__Share *share = impact->entry_traffic;
    return same(share->expected, expected) && share->low <= expected && expected <= share->high;
}

static bool holds_hit(const impact_message *impact, const char *caller, double probability) {
    for (size_t i = 0; i < impact->n_affected; i++)
        if (strcmp(impact->affected[i]->name, world_full(caller)) == 0)
            return fabs(impact->affected[i]->probability - probability) < 1e-6 &&
                   strcmp(impact->affected[i]->path[0], impact->affected[i]->name) == 0 &&
                   strcmp(impact->affected[i]->path[impact->affected[i]->n_path - 1],
                          impact->affected[0]->name) == 0;
    return false;
}

static bool holds(world *self, snapshot *graph, const char *line, arena *memory, impact_scratch *scratch) {
    char one[64];
    char two[64];
    double a = 0;
    double b = 0;
    uint32_t number = 0;
    int used = 0;
    if (sscanf(line, "node %63s %lf %lf", one, &a, &b) == 3) {
        const model_node *node = node_of(self, one, &number);
        return same(node->requests, a) && same(node->entry_requests, b);
    }
    if (sscanf(line, "edge %63s %63s %lf %lf", one, two, &a, &b) == 4) {
        const model_edge *edge = edge_of(self, one, two);
        return edge != NULL && same(edge->calls, a) && same(edge->requests_with_call, b);
    }
    if (sscanf(line, "noedge %63s %63s", one, two) == 2)
        return edge_of(self, one, two) == NULL;
    if (sscanf(line, "counts %lf %lf", &a, &b) == 2)
        return same((double)model_totals_of(self->graph)->spans, a) &&
               same((double)model_totals_of(self->graph)->duplicates, b);
    if (sscanf(line, "share %lf %n", &a, &used) == 1)
        return holds_share(impact_for(self, graph, line + used, memory, scratch), a);
    if (sscanf(line, "hit %63s %63s %lf", one, two, &a) == 3)
        return holds_hit(impact_for(self, graph, one, memory, scratch), two, a);
    if (strncmp(line, "unknown ", 8) == 0) {
        const impact_message *impact = impact_for(self, graph, line + 8, memory, scratch);
        return same(impact->entry_traffic->high, 1) && impact->caveat[0] != '\0';
    }
    fail_msg("what does '%s' mean?", line);
    return false;
}

static void scenario_check(const scenario *self, const size_t *order, unsigned number) {
    world production;
    world_open(&production, 7 + number);
    for (size_t i = 0; i < self->span_count; i++)
        span_apply(&production, self->spans[order[i]]);
    world_settle(&production);
    snapshot *graph = world_snapshot(&production);
    arena memory;
    impact_scratch scratch = {0};
    arena_init(&memory, 4096, 1 << 20);
    for (size_t i = 0; i < self->expectation_count; i++)
        if (!holds(&production, graph, self->expectations[i], &memory, &scratch))
            fail_msg("%s, order %u: not so: %s", self->title, number, self->expectations[i]);
    arena_free(&memory);
    impact_scratch_free(&scratch);
    snapshot_release(graph);
    model_free(production.graph);
}

static void scenario_run(const scenario *self) {
    size_t order[LINES_MAX];
    simulated_chance dice;
    simulated_chance_init(&dice, 99);
    for (size_t i = 0; i < self->span_count; i++)
        order[i] = i;
    for (unsigned number = 0; number < ORDERS; number++) {
        scenario_check(self, order, number);
        for (size_t i = self->span_count; i > 1; i--) {
            uint32_t draw = 0;
            chance_random(&dice.chance, (uint8_t *)&draw, sizeof draw);
            size_t other = number == 0 ? self->span_count - i : draw % i;
            size_t kept = order[i - 1];
            order[i - 1] = order[other];
            order[other] = kept;
        }
    }
}

static void test_scenarios(void **state) {
    (void)state;
    static scenario current;
    unsigned run = 0;
    char line[160];
    FILE *file = fopen(TEST_DATA_DIR "/scenarios.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "case ", 5) == 0) {
            if (current.span_count > 0)
                scenario_run(&current);
            memset(&current, 0, sizeof current);
            snprintf(current.title, sizeof current.title, "%.*s", 120, line + 5);
            run++;
        } else if (strncmp(line, "span ", 5) == 0) {
            assert_true(current.span_count < LINES_MAX);
            memcpy(current.spans[current.span_count++], line, sizeof line);
        } else if (line[0] != '\0' && line[0] != '#' && strcmp(line, "settle") != 0) {
            assert_true(current.expectation_count < LINES_MAX);
            memcpy(current.expectations[current.expectation_count++], line, sizeof line);
        }
    }
    scenario_run(&current);
    fclose(file);
    assert_true(run >= 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenarios),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
