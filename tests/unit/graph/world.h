/* A small production for tests: services by short names, spans by short ids. */
#ifndef TESTS_GRAPH_WORLD_H
#define TESTS_GRAPH_WORLD_H

#include <stdio.h>
#include <string.h>

#include "impact.h"

#define WORLD_WALL_MS 1767225600000

typedef struct world {
    simulated_chance time;
    model *graph;
} world;

static inline void world_open(world *self, uint64_t seed) {
    failure why = {0};
    simulated_chance_init(&self->time, seed);
    if (model_create(&self->graph, &self->time.chance, &why) != STATUS_OK)
        __builtin_trap();
    model_set_boot_ms(self->graph, 1000);
}

static inline const char *world_name(const char *kind, const char *name) {
    static char text[4][LIMIT_NAME_BYTES];
    static unsigned next;
    char *out = text[next++ % 4];
    snprintf(out, LIMIT_NAME_BYTES, "%s:prod/shop/%s", kind, name);
    return out;
}

/* The full name: services, unless "kind:name" is given. */
static inline const char *world_full(const char *name) {
    char kind[32] = "service";
    const char *colon = strchr(name, ':');
    if (colon == NULL)
        return world_name(kind, name);
    snprintf(kind, sizeof kind, "%.*s", (int)(colon - name), name);
    return world_name(kind, colon + 1);
}

static inline uint32_t world_node(world *self, const char *name, bool inferred) {
    bool datastore = strncmp(name, "datastore:", 10) == 0;
    return model_node_named(self->graph, world_full(name), datastore ? NODE_DATASTORE : NODE_SERVICE,
                            inferred);
}

static inline uint64_t world_id(const char *text) {
    uint64_t id = 0;
    for (; *text != '\0'; text++)
        id = id * 257 + (uint8_t)*text;
    return id;
}

static inline observation world_span(world *self, uint64_t trace, uint64_t span, uint64_t parent,
                                     const char *service, span_kind kind, double weight) {
    observation what = {.kind = OBSERVATION_SPAN,
                        .span_id = span,
                        .parent_id = parent,
                        .weight = weight,
                        .time_ms = WORLD_WALL_MS - 3600000,
                        .node = world_node(self, service, false),
                        .peer = MODEL_NONE,
                        .span_kind = (uint8_t)kind};
    memcpy(what.trace_id, &trace, sizeof trace);
    what.trace_id[15] = 1;
    return what;
}

static inline void world_apply(world *self, observation what) {
    model_apply(self->graph, &what, WORLD_WALL_MS);
}

static inline void world_settle(world *self) {
    observation due[64];
    for (size_t count = 1; count > 0;) {
        count = model_settle(self->graph, 1000 + MODEL_SETTLE_MS, due, 64);
        for (size_t i = 0; i < count; i++)
            model_apply(self->graph, &due[i], WORLD_WALL_MS);
    }
}

static inline snapshot *world_snapshot(world *self) {
    failure why = {0};
    snapshot *out = NULL;
    if (snapshot_create(&out, self->graph, 1, WORLD_WALL_MS, &why) != STATUS_OK)
        __builtin_trap();
    return out;
}

#endif
