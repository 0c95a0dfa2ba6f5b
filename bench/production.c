/* Levels first, then a number of callees for every service, then who they are: the callees are drawn from the
 * levels below with a weight that falls with their rank as a power, which makes the numbers of callers
 * heavy-tailed. */
#include "production.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAIL 3.0           /* of the rank: at u^3 a tenth of the services take almost half of the edges */
#define DEGREE_SPREAD 1.0  /* of the logarithm of the number of callees */
#define NEXT_LEVEL 0.7     /* of the callees are on the level below, the others anywhere further down */
#define LATE_MEAN_MS 3.6e6 /* of what is told late */
#define TOLD_MEAN_MS 500   /* of everything else */
#define VALUES 1000U
#define NEW_VALUE 0.02  /* of the changes of edges have a value that never was */
#define GONE 0.1        /* of the changes of edges are an end */
#define OF_SERVICES 0.1 /* of all changes */

/* ---- Dice: SplitMix64 ---- */

static uint64_t next_word(production *self) {
    uint64_t word = self->state += 0x9e3779b97f4a7c15U;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31);
}

uint32_t production_draw(production *self, uint32_t below) {
    return (uint32_t)(((next_word(self) >> 32) * below) >> 32);
}

double production_chance(production *self) {
    return (double)(next_word(self) >> 11) * 0x1p-53;
}

static double exponential(production *self, double mean) {
    return -mean * log(1 - production_chance(self));
}

static double normal(production *self) {
    double radius = sqrt(-2 * log(1 - production_chance(self)));
    return radius * cos(6.283185307179586 * production_chance(self));
}

/* ---- Services
 * ------------------------------------------------------------------------------------------------------- */

/* Ranks in a level are ranks of popularity: services of one level stand one after the other. */
static uint32_t level_begin(const production *self, unsigned level) {
    static const double parts[PRODUCTION_LEVELS + 1] = {0, 0.13, 0.38, 0.61, 0.8, 1};
    return (uint32_t)(parts[level < PRODUCTION_LEVELS ? level : PRODUCTION_LEVELS] * self->service_count);
}

static void levels_draw(production *self) {
    for (unsigned level = 0; level < PRODUCTION_LEVELS; level++)
        for (uint32_t i = level_begin(self, level); i < level_begin(self, level + 1); i++)
            self->levels[i] = (uint8_t)level;
}

/* 39 % call nobody: the lowest level, and as many of the others as are missing. */
static bool is_leaf(production *self, uint32_t service) {
    return self->levels[service] == PRODUCTION_LEVELS - 1 ||
           (self->levels[service] > 0 && production_chance(self) < 0.19 / 0.67);
}

void production_name(uint32_t service, char out[64]) {
    snprintf(out, 64, "service:prod/team-%u/service-%u", service % 97, service);
}

/* ---- Edges
 * ----------------------------------------------------------------------------------------------------------
 */

static uint32_t between(production *self, uint32_t begin, uint32_t end) {
    uint32_t rank = (uint32_t)(pow(production_chance(self), TAIL) * (end - begin));
    return begin + (rank < end - begin ? rank : end - begin - 1);
}

static uint32_t callee_draw(production *self, uint32_t service) {
    unsigned level = self->levels[service];
    if (production_chance(self) < PRODUCTION_BACK_EDGES)
        return between(self, level_begin(self, level > 0 ? 1 : 0), level_begin(self, level + 1));
    unsigned below = level + 1;
    while (below < PRODUCTION_LEVELS - 1 && production_chance(self) > NEXT_LEVEL)
        below++;
    return between(self, level_begin(self, below), level_begin(self, below + 1));
}

/* How many callees each service has, scaled to the number of edges that is asked for. */
static bool degrees_draw(production *self, uint32_t edges, uint32_t *degrees) {
    double *wishes = calloc(self->service_count, sizeof *wishes);
    double sum = 0;
    if (wishes == NULL)
        return false;
    for (uint32_t i = 0; i < self->service_count; i++)
        sum += wishes[i] = is_leaf(self, i) ? 0 : exp(DEGREE_SPREAD * normal(self));
    for (uint32_t i = 0; i < self->service_count; i++) {
        double wish = wishes[i] / sum * edges;
        double most = (double)(self->service_count - level_begin(self, self->levels[i] + 1U)) / 3;
        degrees[i] = (uint32_t)((wish > most ? most : wish) + production_chance(self));
    }
    free(wishes);
    return true;
}

/* The callees of one service; `seen` holds who has been drawn for it already. */
static void callees_draw(production *self, uint32_t service, uint32_t degree, uint32_t *seen) {
    for (uint32_t made = 0, tries = 0; made < degree && tries < degree * 20 + 20; tries++) {
        uint32_t callee = callee_draw(self, service);
        if (seen[callee] == service + 1 || callee == service)
            continue;
        seen[callee] = service + 1;
        double share = production_chance(self);
        self->edges[self->edge_count++] =
            (production_edge){.from = service,
                              .to = callee,
                              .share = (float)(share * share * 0.98 + 0.02),
                              .asynchronous = production_chance(self) < PRODUCTION_ASYNCHRONOUS};
        made++;
    }
}

static bool edges_draw(production *self, uint32_t wanted) {
    uint32_t *degrees = calloc(self->service_count, sizeof *degrees);
    uint32_t *seen = calloc(self->service_count, sizeof *seen);
    bool good = degrees != NULL && seen != NULL && degrees_draw(self, wanted, degrees);
    uint64_t room = 0;
    for (uint32_t i = 0; good && i < self->service_count; i++)
        room += degrees[i];
    good = good && (self->edges = calloc(room + 1, sizeof *self->edges)) != NULL &&
           (self->gone = calloc(room + 1, sizeof *self->gone)) != NULL;
    for (uint32_t i = 0; good && i < self->service_count; i++) {
        self->first[i] = self->edge_count;
        callees_draw(self, i, degrees[i], seen);
    }
    if (good)
        self->first[self->service_count] = self->edge_count;
    free(degrees);
    free(seen);
    return good;
}

bool production_make(production *out, uint32_t services, uint32_t edges, uint64_t seed, int64_t start_ms) {
    *out = (production){.service_count = services, .state = seed, .now_ms = start_ms};
    out->levels = calloc(services, sizeof *out->levels);
    out->first = calloc(services + 1U, sizeof *out->first);
    if (out->levels == NULL || out->first == NULL) {
        production_free(out);
        return false;
    }
    levels_draw(out);
    if (edges_draw(out, edges))
        return true;
    production_free(out);
    return false;
}

void production_free(production *self) {
    free(self->levels);
    free(self->first);
    free(self->edges);
    free(self->gone);
    *self = (production){0};
}

/* ---- Changes
 * -------------------------------------------------------------------------------------------------------- */

production_change production_next(production *self, double step_ms) {
    self->now_ms += (int64_t)(exponential(self, step_ms) + production_chance(self));
    bool late = production_chance(self) < PRODUCTION_LATE;
    production_change out = {.recorded_ms = self->now_ms};
    out.valid_ms = self->now_ms - (int64_t)exponential(self, late ? LATE_MEAN_MS : TOLD_MEAN_MS);
    out.value = production_chance(self) < NEW_VALUE ? next_word(self) >> 8 : production_draw(self, VALUES);
    if (production_chance(self) < OF_SERVICES || self->edge_count == 0) {
        out.what = PRODUCTION_SERVICE_STATED;
        out.number = production_draw(self, self->service_count);
        out.value = next_word(self) >> 8;
        return out;
    }
    out.number = production_draw(self, self->edge_count);
    bool ends = !self->gone[out.number] && production_chance(self) < GONE;
    out.what = ends ? PRODUCTION_EDGE_GONE : PRODUCTION_EDGE_STATED;
    self->gone[out.number] = ends;
    return out;
}
