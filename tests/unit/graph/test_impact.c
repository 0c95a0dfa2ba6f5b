/* PredictImpact against the truth: productions drawn at random, whose every request is known, so that shares
 * and probabilities can be counted by brute force; and the corners of the arithmetic. */
#include "world.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SERVICES 14U
#define TRACES 400U
#define DEPTH 6U
#define WORLDS 30U

static uint32_t draw(simulated_chance *dice, uint32_t below) {
    uint32_t value = 0;
    chance_random(&dice->chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

/* What really happened: per trace the set of services it reached, per service how many of its requests there
 * were and how many of those had each service below them. */
typedef struct truth {
    uint32_t reached[TRACES];
    unsigned requests[SERVICES];
    unsigned hit[SERVICES][SERVICES]; /* requests of the first with a request of the second somewhere below */
    unsigned calls[SERVICES][SERVICES]; /* requests of the first with a direct call */
} truth;

typedef struct drawing {
    world production;
    simulated_chance dice;
    truth truth;
    uint8_t percent[SERVICES][SERVICES]; /* of calling */
    observation spans[TRACES * 64];
    size_t span_count;
    uint64_t next_id;
    bool cyclic;
} drawing;

static void calls_draw(drawing *self) {
    for (unsigned from = 0; from < SERVICES; from++)
        for (unsigned to = 0; to < SERVICES; to++) {
            bool allowed = self->cyclic ? from != to && to != 0 : to > from;
            self->percent[from][to] =
                allowed && draw(&self->dice, 4) == 0 ? (uint8_t)(5 + draw(&self->dice, 90)) : 0;
        }
}

/* One request of `service` and all below it; returns the services below, itself included. */
static uint32_t request_draw(drawing *self, unsigned trace, unsigned service, uint64_t parent,
                             unsigned depth) {
    char name[8];
    uint64_t id = self->next_id++;
    uint32_t below = 1U << service;
    snprintf(name, sizeof name, "s%u", service);
    self->truth.requests[service]++;
    assert_true(self->span_count < sizeof self->spans / sizeof self->spans[0]);
    self->spans[self->span_count++] = world_span(&self->production, trace, id, parent, name, SPAN_SERVER, 1);
    for (unsigned to = 0; to < SERVICES && depth < DEPTH; to++) {
        if (draw(&self->dice, 100) >= self->percent[service][to] || self->span_count + TRACES > TRACES * 64)
            continue;
        self->truth.calls[service][to]++;
        below |= request_draw(self, trace, to, id, depth + 1);
    }
    for (unsigned to = 0; to < SERVICES; to++)
        self->truth.hit[service][to] += (below >> to) & 1;
    return below;
}

static void spans_shuffle(drawing *self) {
    for (size_t i = self->span_count; i > 1; i--) {
        size_t other = draw(&self->dice, (uint32_t)i);
        observation kept = self->spans[i - 1];
        self->spans[i - 1] = self->spans[other];
        self->spans[other] = kept;
    }
}

static drawing *drawing_make(uint64_t seed, bool cyclic) {
    drawing *self = calloc(1, sizeof *self);
    assert_non_null(self);
    simulated_chance_init(&self->dice, seed);
    world_open(&self->production, seed);
    self->cyclic = cyclic;
    self->next_id = 1;
    calls_draw(self);
    for (unsigned trace = 0; trace < TRACES; trace++)
        self->truth.reached[trace] = request_draw(self, trace, draw(&self->dice, 3) == 0 ? 1 : 0, 0, 0);
    spans_shuffle(self);
    for (size_t i = 0; i < self->span_count; i++)
        world_apply(&self->production, self->spans[i]);
    world_settle(&self->production);
    return self;
}

static void drawing_free(drawing *self) {
    model_free(self->production.graph);
    free(self);
}

static double share_counted(const truth *self, uint32_t targets) {
    unsigned count = 0;
    for (unsigned trace = 0; trace < TRACES; trace++)
        count += (self->reached[trace] & targets) != 0;
    return (double)count / TRACES;
}

static unsigned number_of(const char *name) {
    return (unsigned)atoi(strrchr(name, '/') + 2);
}

static bool is_known(const snapshot *graph, unsigned service, uint32_t *number) {
    char name[8];
    snprintf(name, sizeof name, "s%u", service);
    *number = snapshot_find(graph, world_full(name));
    return *number != MODEL_NONE;
}

/* The share of entry traffic is measured: it is exactly what brute force counts, for single nodes and for
 * unions. */
static void shares_check(const drawing *self, const snapshot *graph, impact_scratch *scratch, arena *memory,
                         simulated_chance *dice) {
    for (unsigned round = 0; round < 40; round++) {
        uint32_t set = 0;
        uint32_t numbers[4];
        size_t count = 0;
        for (unsigned wanted = 1 + draw(dice, 4); count < wanted;) {
            unsigned service = draw(dice, SERVICES);
            if ((set >> service & 1) == 0 && is_known(graph, service, &numbers[count]))
                count++;
            else if (draw(dice, 8) == 0)
                break;
            else
                continue;
            set |= 1U << service;
        }
        impact_message *out = NULL;
        arena_reset(memory);
        if (count == 0)
            continue;
        assert_int_equal(impact_of(graph, numbers, count, scratch, memory, &out, NULL), STATUS_OK);
        double counted = share_counted(&self->truth, set);
        assert_true(fabs(out->entry_traffic->expected - counted) < 1e-9);
        assert_true(out->entry_traffic->low <= counted && counted <= out->entry_traffic->high);
        assert_true(out->entry_traffic->high - out->entry_traffic->low < 0.12);
    }
}

/* Who is affected: probabilities are bounded by what is certain (at least the direct calls, at most what was
 * ever seen below in the same trace), paths exist, and in the mean the prediction is close to the count. */
static double affected_check(const drawing *self, const snapshot *graph, unsigned target,
                             impact_scratch *scratch, arena *memory, unsigned *compared) {
    uint32_t number = 0;
    impact_message *out = NULL;
    double error = 0;
    if (!is_known(graph, target, &number))
        return 0;
    arena_reset(memory);
    assert_int_equal(impact_of(graph, &number, 1, scratch, memory, &out, NULL), STATUS_OK);
    unsigned callers = 0;
    for (unsigned service = 0; service < SERVICES; service++)
        callers += self->truth.hit[service][target] > 0;
    /* Also callers whose requests could have got there and did not. */
    assert_true(out->n_affected >= callers);
    for (size_t i = 0; i < out->n_affected; i++) {
        const Interlock__Graph__V1__AffectedNode *node = out->affected[i];
        unsigned service = number_of(node->name);
        double counted = (double)self->truth.hit[service][target] / self->truth.requests[service];
        double direct = (double)self->truth.calls[service][target] / self->truth.requests[service];
        callers -= self->truth.hit[service][target] > 0;
        assert_true(node->probability > 0 && node->probability <= 1);
        assert_true(service == target || node->probability >= direct - 1e-6);
        assert_true(i == 0 || node->probability <= out->affected[i - 1]->probability);
        assert_int_equal(number_of(node->path[0]), service);
        assert_int_equal(number_of(node->path[node->n_path - 1]), target);
        for (size_t hop = 1; hop < node->n_path; hop++)
            assert_true(self->truth.calls[number_of(node->path[hop - 1])][number_of(node->path[hop])] > 0);
        error += fabs(node->probability - counted);
        (*compared)++;
    }
    assert_int_equal(callers, 0);
    return error;
}

static void run_worlds(bool cyclic, double error_max) {
    arena memory;
    impact_scratch scratch = {0};
    double error = 0;
    unsigned compared = 0;
    arena_init(&memory, 65536, 16 << 20);
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        drawing *self = drawing_make(seed, cyclic);
        snapshot *graph = world_snapshot(&self->production);
        shares_check(self, graph, &scratch, &memory, &self->dice);
        for (unsigned target = 0; target < SERVICES; target++)
            error += affected_check(self, graph, target, &scratch, &memory, &compared);
        snapshot_release(graph);
        drawing_free(self);
    }
    arena_free(&memory);
    impact_scratch_free(&scratch);
    assert_true(compared > 500);
    print_message("mean error of a probability: %.4f over %u\n", error / compared, compared);
    assert_true(error / compared < error_max);
}

static void test_against_counting(void **state) {
    (void)state;
    run_worlds(false, 0.02);
}

static void test_against_counting_with_cycles(void **state) {
    (void)state;
    /* Requests that end at a depth make a service behave differently at different depths, which no share of
     * an edge can say; the bounds above hold all the same. */
    run_worlds(true, 0.12);
}

static double predicted_share(world *self, const char *target, char caveat[256], double *low, double *high) {
    snapshot *graph = world_snapshot(self);
    uint32_t number = snapshot_find(graph, world_full(target));
    assert_true(number != MODEL_NONE);
    impact_scratch scratch = {0};
    arena memory;
    impact_message *out = NULL;
    arena_init(&memory, 4096, 1 << 20);
    assert_int_equal(impact_of(graph, &number, 1, &scratch, &memory, &out, NULL), STATUS_OK);
    double share = out->entry_traffic->expected;
    *low = out->entry_traffic->low;
    *high = out->entry_traffic->high;
    snprintf(caveat, 256, "%s", out->caveat);
    arena_free(&memory);
    impact_scratch_free(&scratch);
    snapshot_release(graph);
    return share;
}

/* The promise of the diamond: along the edges, taken as independent, 1 - (1 - 0.5)^2 = 75 % of requests would
 * reach the bottom; half of them do, because the same requests take both branches. */
static void test_diamond(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    for (unsigned trace = 0; trace < 1000; trace++) {
        world_apply(&self, world_span(&self, trace, 1, 0, "top", SPAN_SERVER, 1));
        if (trace % 2 == 0)
            continue;
        world_apply(&self, world_span(&self, trace, 2, 1, "left", SPAN_SERVER, 1));
        world_apply(&self, world_span(&self, trace, 3, 1, "right", SPAN_SERVER, 1));
        world_apply(&self, world_span(&self, trace, 4, 2, "bottom", SPAN_SERVER, 1));
        world_apply(&self, world_span(&self, trace, 5, 3, "bottom", SPAN_SERVER, 1));
    }
    char caveat[256];
    double low;
    double high;
    assert_true(predicted_share(&self, "bottom", caveat, &low, &high) == 0.5);
    assert_true(low > 0.46 && high < 0.54 && caveat[0] == '\0');
    model_free(self.graph);
}

/* A target that has only just been reached by requests that may reach it yet: the upper end counts them. */
static void test_recent_requests_widen(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    for (unsigned trace = 0; trace < 1000; trace++) {
        observation what = world_span(&self, trace, 1, 0, "frontend", SPAN_SERVER, 1);
        what.time_ms = trace < 500 ? what.time_ms : WORLD_WALL_MS - 1000;
        world_apply(&self, what);
        if (trace < 10)
            world_apply(&self, world_span(&self, trace, 2, 1, "email", SPAN_SERVER, 1));
    }
    char caveat[256];
    double low;
    double high;
    assert_true(predicted_share(&self, "email", caveat, &low, &high) == 0.01);
    assert_true(high > 0.51 && high < 0.56);
    assert_non_null(strstr(caveat, "may reach more"));
    world_settle(&self);
    predicted_share(&self, "email", caveat, &low, &high);
    assert_true(high < 0.02 && caveat[0] == '\0');
    model_free(self.graph);
}

/* Heavy weights are few observations: the interval is as wide as the sample is small. */
static void test_sampling_widens(void **state) {
    (void)state;
    char caveat[256];
    double low[2];
    double high[2];
    for (unsigned heavy = 0; heavy < 2; heavy++) {
        world self;
        world_open(&self, 1);
        unsigned traces = heavy == 0 ? 10000 : 100;
        for (unsigned trace = 0; trace < traces; trace++) {
            double weight = heavy == 0 ? 1 : 100;
            world_apply(&self, world_span(&self, trace, 1, 0, "frontend", SPAN_SERVER, weight));
            if (trace % 10 == 0)
                world_apply(&self, world_span(&self, trace, 2, 1, "cart", SPAN_SERVER, weight));
        }
        assert_true(predicted_share(&self, "cart", caveat, &low[heavy], &high[heavy]) == 0.1);
        model_free(self.graph);
    }
    assert_true(high[0] - low[0] < 0.013 && high[1] - low[1] > 0.1);
}

/* Wilson's interval for 0 and for 15 of 148 (R. G. Newcombe, 1998: 0.0624 to 0.1605 for 15 of 148). */
static void test_wilson(void **state) {
    (void)state;
    assert_true(fabs(wilson_low(15.0 / 148, 148) - 0.0624) < 0.0001);
    assert_true(fabs(wilson_high(15.0 / 148, 148) - 0.1605) < 0.0001);
    assert_true(wilson_low(0, 10) == 0 && wilson_high(0, 10) > 0.27 && wilson_high(0, 10) < 0.28);
    assert_true(wilson_high(1, 10) == 1 && wilson_low(1, 10) < 0.73);
    assert_true(wilson_low(0.5, 0) == 0 && wilson_high(0.5, 0) == 1);
}

/* More distinct sets of nodes than can be kept: nothing breaks, and the truth stays within the interval. */
static void test_shapes_overflow(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    simulated_chance dice;
    simulated_chance_init(&dice, 4);
    unsigned reached = 0;
    for (unsigned trace = 0; trace < 45000; trace++) {
        uint32_t set = draw(&dice, 1U << 16);
        world_apply(&self, world_span(&self, trace, 1, 0, "top", SPAN_SERVER, 1));
        for (unsigned service = 0; service < 16; service++) {
            char name[8];
            snprintf(name, sizeof name, "s%u", service);
            if ((set >> service & 1) != 0)
                world_apply(&self, world_span(&self, trace, 2 + service, 1, name, SPAN_SERVER, 1));
        }
        reached += set >> 15 & 1;
    }
    char caveat[256];
    double low;
    double high;
    predicted_share(&self, "s15", caveat, &low, &high);
    assert_true(low <= reached / 45000.0 && reached / 45000.0 <= high);
    assert_non_null(strstr(caveat, "too many nodes"));
    model_free(self.graph);
}

/* A trace of 100,000 spans in one chain, and one with as many children of one parent. */
static void test_huge_traces(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    for (uint64_t span = 100000; span > 0; span--)
        world_apply(&self, world_span(&self, 1, span, span - 1, "deep", SPAN_INTERNAL, 1));
    for (uint64_t span = 2; span <= 100000; span++)
        world_apply(&self, world_span(&self, 2, span, 1, "child", SPAN_SERVER, 1));
    world_apply(&self, world_span(&self, 2, 1, 0, "parent", SPAN_SERVER, 1));
    uint32_t deep = world_node(&self, "deep", false);
    assert_true(model_node_at(self.graph, deep)->requests == 1);
    assert_true(model_edge_at(self.graph, 0)->calls == 99999 &&
                model_edge_at(self.graph, 0)->requests_with_call == 1);
    model_free(self.graph);
}

/* Far more spans than are remembered: the oldest are forgotten, nothing else is. */
static void test_forgetting(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    for (uint64_t trace = 0; trace < 3 * MODEL_SPANS; trace++) {
        world_apply(&self, world_span(&self, trace, 1, 0, "frontend", SPAN_SERVER, 1));
        if (trace % 4 == 0)
            world_apply(&self, world_span(&self, trace, 2, 1, "cart", SPAN_SERVER, 1));
    }
    assert_true(model_totals_of(self.graph)->entry_requests == 3 * MODEL_SPANS);
    assert_true(model_edge_at(self.graph, 0)->requests_with_call == 3 * MODEL_SPANS / 4);
    char caveat[256];
    double low;
    double high;
    assert_true(predicted_share(&self, "cart", caveat, &low, &high) == 0.25);
    model_free(self.graph);
}

/* A known production costs no allocation, however many spans it sends. */
static void test_no_allocation(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    size_t used[2] = {0, 0};
    for (uint64_t trace = 0; trace < 40000; trace++) {
        world_apply(&self, world_span(&self, trace, 1, 0, "frontend", SPAN_SERVER, 1));
        world_apply(&self,
                    world_span(&self, trace, 2, 1, trace % 3 == 0 ? "cart" : "catalog", SPAN_SERVER, 1));
        if (trace == 1000)
            used[0] = mallinfo2().uordblks;
    }
    used[1] = mallinfo2().uordblks;
    assert_int_equal(used[0], used[1]);
    model_free(self.graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_counting), cmocka_unit_test(test_against_counting_with_cycles),
        cmocka_unit_test(test_diamond),          cmocka_unit_test(test_recent_requests_widen),
        cmocka_unit_test(test_sampling_widens),  cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_shapes_overflow),  cmocka_unit_test(test_huge_traces),
        cmocka_unit_test(test_forgetting),       cmocka_unit_test(test_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
