/* The walk. It touches every edge above the targets once, and those that cycles lead back over again, for as
 * long as anything changes by more than a sample could tell. */
#include "impact_spread.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "recent.h"

/* of a part of requests */
#define CALLS_MAX 1e6F
/* What cycles change in a part of requests is told again as long as it is at least that much; where that
 * takes long, only what is more than samples tell. */
#define SETTLED 1e-6F
#define SETTLED_LATER 5e-2F
#define WALKED_FREELY 20000U /* edges */
#define SPARED_LEAST                                                                                         \
    1e-9F /* of a product: as good as nothing, and far from numbers that processors are slow with */
#define PATTERNS 256U
#define SURE 0.999999F /* a product of no less is not divided by */

/* ---- Patterns: for each of IMPACT_LEVELS probabilities some worlds, exactly as many as it says ---- */

typedef struct pattern {
    uint64_t words[IMPACT_WORLD_WORDS];
} pattern;

static pattern patterns[IMPACT_LEVELS + 1][PATTERNS];
static pthread_once_t patterns_made = PTHREAD_ONCE_INIT;

static void pattern_make(pattern *out, uint64_t seed, uint32_t ones) {
    uint8_t order[IMPACT_WORLDS];
    *out = (pattern){0};
    for (uint32_t i = 0; i < IMPACT_WORLDS; i++)
        order[i] = (uint8_t)i;
    for (uint32_t i = 0; i < ones; i++) {
        seed = mix64(seed, i);
        uint32_t other = i + (uint32_t)(seed % (IMPACT_WORLDS - i));
        uint8_t world = order[other];
        order[other] = order[i];
        out->words[world / 64] |= 1ULL << (world % 64);
    }
}

static void patterns_make(void) {
    for (uint32_t level = 0; level <= IMPACT_LEVELS; level++)
        for (uint32_t i = 0; i < PATTERNS; i++)
            pattern_make(&patterns[level][i], mix64(level, i), level * (IMPACT_WORLDS / IMPACT_LEVELS));
}

/* ---- Working memory ---- */

static const spread_item item_new = {.spared = 1, .outside = 1};
static const spread_sent sent_new = {.via = IMPACT_NONE};

void impact_spread_free(impact_spread *self) {
    free(self->items);
    free(self->sent);
    free(self->due);
    free(self->calls);
    free(self->visited);
    *self = (impact_spread){0};
}

static bool spread_grow(impact_spread *self, uint32_t nodes) {
    uint32_t room = nodes + nodes / 2 + 64;
    room -= room % 8; /* `due` is read in words of eight, and lines hold two items */
    impact_spread_free(self);
    self->items = aligned_alloc(64, room * sizeof *self->items); /* two to a line, none across */
    self->sent = calloc(room, sizeof *self->sent);
    self->due = calloc(room, 1);
    self->visited = calloc(room, sizeof *self->visited);
    if (self->items == NULL || self->sent == NULL || self->due == NULL || self->visited == NULL) {
        impact_spread_free(self);
        return false;
    }
    for (uint32_t i = 0; i < room; i++) {
        self->items[i] = item_new;
        self->sent[i] = sent_new;
    }
    self->room = room;
    return true;
}

bool impact_spread_begin(impact_spread *self, const impact_graph *graph) {
    pthread_once(&patterns_made, patterns_make);
    for (uint32_t i = 0; i < self->visited_count; i++) {
        self->items[self->visited[i]] = item_new;
        self->sent[self->visited[i]] = sent_new;
    }
    self->visited_count = self->edges_walked = 0;
    /* One place more than nodes, so that there is always something to read. */
    return (self->items != NULL && self->room > graph->node_count) ||
           spread_grow(self, graph->node_count + 1);
}

/* By hand: the compiler's own is a call into a library where processors without the instruction count too. */
static unsigned ones_of(uint64_t word) {
    if (word == 0 || word == UINT64_MAX)
        return word == 0 ? 0 : 64;
    word -= word >> 1 & 0x5555555555555555U;
    word = (word & 0x3333333333333333U) + (word >> 2 & 0x3333333333333333U);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fU;
    return (unsigned)(word * 0x0101010101010101U >> 56);
}

static double worlds_share(const uint64_t worlds[IMPACT_WORLD_WORDS]) {
    unsigned ones = 0;
    for (unsigned i = 0; i < IMPACT_WORLD_WORDS; i++)
        ones += ones_of(worlds[i]);
    return (double)ones / IMPACT_WORLDS;
}

double impact_spread_worlds(const impact_spread *self, uint32_t place) {
    return worlds_share(self->sent[place].worlds);
}

double impact_spread_hit(const impact_spread *self, uint32_t place) {
    const spread_sent *sent = &self->sent[place];
    double together = (double)sent->within * worlds_share(sent->worlds);
    double hit = (double)sent->hit < together ? (double)sent->hit : together;
    return hit > (double)sent->best ? hit : (double)sent->best;
}

/* ---- The walk ---- */

/* What an edge lets through, by its class and by what its fallbacks leave. */
typedef struct crossing {
    float probability[PROPAGATION_CLASSES][IMPACT_LEVELS + 1];
    uint8_t level[PROPAGATION_CLASSES][IMPACT_LEVELS + 1];
} crossing;

/* What may happen happens in some world, and what need not does not in all. */
static uint8_t crossing_level(double probability) {
    double level = round(probability * IMPACT_LEVELS);
    if (probability <= 0 || probability >= 1)
        return probability <= 0 ? 0 : IMPACT_LEVELS;
    return (uint8_t)fmin(fmax(level, 1), IMPACT_LEVELS - 1);
}

static void crossing_fill(crossing *self, const propagation_learnt *learnt, uint32_t verb) {
    for (unsigned class = 0; class < PROPAGATION_CLASSES; class ++) {
        double crosses = propagation_crosses(learnt, (propagation_class) class, verb);
        for (unsigned kept = 0; kept <= IMPACT_LEVELS; kept++) {
            double probability = crosses * kept / IMPACT_LEVELS;
            self->probability[class][kept] = (float)probability;
            self->level[class][kept] = crossing_level(probability);
        }
    }
}

static float larger(float a, float b) {
    return a > b ? a : b;
}

static uint64_t path_key(float probability, uint32_t edge) {
    uint32_t bits;
    memcpy(&bits, &probability, sizeof bits);
    return (uint64_t)bits << 32 | edge;
}

static float path_probability(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    float probability;
    memcpy(&probability, &bits, sizeof probability);
    return probability;
}

/* The first time a node tells its callers everything. */
static void node_send(impact_spread *self, const impact_graph *graph, const crossing *cross, uint32_t place) {
    const spread_sent sent = self->sent[place];
    /* Copies that nothing written below can change. */
    const impact_caller *restrict edges = graph->callers;
    spread_item *restrict items = self->items;
    uint8_t *restrict due = self->due;
    const uint32_t end = graph->first[place + 1];
    for (uint32_t i = graph->first[place]; i < end; i++) {
        const impact_caller edge = edges[i];
        spread_item *above = &items[edge.from];
        float probability = edge.share * cross->probability[edge.class][edge.kept];
        unsigned level = cross->level[edge.class][edge.kept];
        /* All of what is sure is one line of memory. */
        const pattern *open = &patterns[level][level == IMPACT_LEVELS ? 0 : edge.salt % PATTERNS];
        uint64_t path = path_key(probability * sent.best, i);
        above->spared = larger(above->spared * (1 - probability * sent.hit), SPARED_LEAST);
        above->outside =
            larger(above->outside * (1 - (level > 0 ? edge.share : 0) * sent.within), SPARED_LEAST);
        above->best = path > above->best ? path : above->best;
        for (unsigned word = 0; word < IMPACT_WORLD_WORDS; word++)
            above->worlds[word] |= sent.worlds[word] & open->words[word];
        due[edge.from] = 1;
    }
}

/* Replaces a factor 1 - p * before by 1 - p * after. */
static float factor_replaced(float product, float p, float before, float after) {
    return p * before < SURE ? product * (1 - p * after) / (1 - p * before) : product;
}

/* Later, what a cycle has changed. */
static void node_correct(impact_spread *self, const impact_graph *graph, const crossing *cross,
                         uint32_t place, const spread_sent *before) {
    const spread_sent *sent = &self->sent[place];
    for (uint32_t i = graph->first[place]; i < graph->first[place + 1]; i++) {
        const impact_caller *edge = &graph->callers[i];
        spread_item *above = &self->items[edge->from];
        float probability = edge->share * cross->probability[edge->class][edge->kept];
        unsigned level = cross->level[edge->class][edge->kept];
        above->spared = factor_replaced(above->spared, probability, before->hit, sent->hit);
        above->outside =
            factor_replaced(above->outside, level > 0 ? edge->share : 0, before->within, sent->within);
        uint64_t path = path_key(probability * sent->best, i);
        above->best = path > above->best ? path : above->best;
        for (unsigned word = 0; word < IMPACT_WORLD_WORDS; word++)
            above->worlds[word] |= sent->worlds[word] & patterns[level][edge->salt % PATTERNS].words[word];
        self->due[edge->from] = 1;
    }
}

/* What the callers should know of the node now. */
static void node_settle(const spread_item *item, spread_sent *sent) {
    /* Never less than the most likely path: what is rounded away cannot pull it below. */
    sent->best = path_probability(item->best);
    sent->via = (uint32_t)item->best;
    sent->hit = larger(1 - item->spared, sent->best);
    sent->within = larger(1 - item->outside, sent->hit);
    memcpy(sent->worlds, item->worlds, sizeof sent->worlds);
}

static bool settled(const spread_sent *before, const spread_sent *now, bool later) {
    float change = later ? SETTLED_LATER : SETTLED;
    unsigned worlds = 0;
    for (unsigned i = 0; i < IMPACT_WORLD_WORDS; i++)
        worlds += ones_of(before->worlds[i] ^ now->worlds[i]);
    return worlds < (later ? 16U : 1U) && now->hit - before->hit < change &&
           now->within - before->within < change;
}

static void node_run(impact_spread *self, const impact_graph *graph, const crossing *cross, uint32_t place) {
    spread_sent *sent = &self->sent[place];
    bool first = !sent->visited;
    spread_sent before = *sent;
    self->due[place] = 0;
    if (sent->target && !first)
        return;
    sent->visited = true;
    if (sent->target) {
        sent->hit = sent->within = sent->best = 1;
        sent->via = IMPACT_NONE;
        memset(sent->worlds, 0xff, sizeof sent->worlds);
    } else {
        node_settle(&self->items[place], sent);
    }
    if (first)
        self->visited[self->visited_count++] = place;
    else if (settled(&before, sent, self->edges_walked > WALKED_FREELY)) {
        /* What the callers do not know of stays what they know: later corrections start from there. */
        sent->hit = before.hit;
        sent->within = before.within;
        return;
    }
    self->edges_walked += graph->first[place + 1] - graph->first[place];
    if (first)
        node_send(self, graph, cross, place);
    else
        node_correct(self, graph, cross, place, &before);
}

/* Once over all places that are due, called side first; returns whether some are due again. */
static bool round_run(impact_spread *self, const impact_graph *graph, const crossing *cross) {
    for (uint32_t place = 0; place < graph->node_count; place++) {
        uint64_t eight;
        if (place % 8 == 0) {
            memcpy(&eight, self->due + place, sizeof eight);
            if (eight == 0) {
                place += 7;
                continue;
            }
        }
        if (self->due[place] != 0)
            node_run(self, graph, cross, place);
    }
    return memchr(self->due, 1, graph->node_count) != NULL;
}

void impact_spread_run(impact_spread *self, const impact_graph *graph, const uint32_t *targets, size_t count,
                       const propagation_learnt *learnt, uint32_t verb) {
    crossing cross;
    crossing_fill(&cross, learnt, verb);
    memset(self->due, 0, self->room);
    for (size_t i = 0; i < count; i++) {
        self->sent[targets[i]].target = true;
        self->due[targets[i]] = 1;
    }
    for (unsigned round = 0; round < IMPACT_ROUNDS_MAX && round_run(self, graph, &cross); round++)
        continue;
}

bool impact_spread_calls(impact_spread *self, const impact_graph *graph) {
    if (self->calls == NULL && (self->calls = calloc(self->room, sizeof *self->calls)) == NULL)
        return false;
    memset(self->calls, 0, self->room * sizeof *self->calls);
    for (uint32_t place = 0; place < graph->node_count; place++) {
        const spread_sent *sent = &self->sent[place];
        float calls = sent->target ? 1 : self->calls[place];
        if (sent->hit <= 0)
            continue;
        for (uint32_t i = graph->first[place]; i < graph->first[place + 1]; i++) {
            const impact_caller *edge = &graph->callers[i];
            /* Against the order, it is a cycle that has been counted. */
            if (edge->from > place && self->calls[edge->from] < CALLS_MAX)
                self->calls[edge->from] += edge->calls * calls;
        }
    }
    return true;
}

/* ---- Traffic: numbers added up world by world, a bit of all of them at a time ---- */

#define PLANES 32U
#define UNIT 131072.0F /* of the sum of all entry traffic: 2^17 */

typedef struct planes {
    uint64_t bits[PLANES][IMPACT_WORLD_WORDS];
} planes;

static void planes_add(planes *self, uint32_t value, const uint64_t worlds[IMPACT_WORLD_WORDS]) {
    for (; value != 0; value &= value - 1) {
        unsigned plane = (unsigned)__builtin_ctz(value);
        for (unsigned word = 0; word < IMPACT_WORLD_WORDS; word++) {
            uint64_t carry = worlds[word];
            for (unsigned at = plane; carry != 0 && at < PLANES; at++) {
                uint64_t both = self->bits[at][word] & carry;
                self->bits[at][word] ^= carry;
                carry = both;
            }
        }
    }
}

static int float_compare(const void *left, const void *right) {
    const float *a = left;
    const float *b = right;
    return *a < *b ? -1 : *a > *b;
}

void impact_spread_traffic(const impact_spread *self, const impact_graph *graph, const float *hits,
                           float out[IMPACT_WORLDS]) {
    planes sums = {0};
    float certain = 0;
    for (uint32_t i = 0; i < self->visited_count; i++) {
        float entry = (float)graph->nodes[self->visited[i]].entry;
        if (entry <= 0)
            continue;
        const spread_sent *item = &self->sent[self->visited[i]];
        double share = worlds_share(item->worlds);
        if (share >= 1) {
            certain += entry * hits[i];
        } else if (share > 0) {
            /* What is hit in the mean of all worlds falls on those in which anything is. */
            float within = hits[i] < (float)share ? hits[i] / (float)share : 1;
            planes_add(&sums, (uint32_t)(entry * within * UNIT + 0.5F), item->worlds);
        }
    }
    for (unsigned world = 0; world < IMPACT_WORLDS; world++) {
        uint64_t sum = 0;
        for (unsigned plane = 0; plane < PLANES; plane++)
            sum |= (sums.bits[plane][world / 64] >> (world % 64) & 1) << plane;
        float traffic = certain + (float)sum / UNIT;
        out[world] = traffic < 1 ? traffic : 1;
    }
    qsort(out, IMPACT_WORLDS, sizeof *out, float_compare);
}
