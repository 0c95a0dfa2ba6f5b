/* The things the history knows, in memory: nodes by name or alias, edges by their ends, and the timelines of
 * each. Numbers are given in order and never given again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "recent.h"

bool room_for(void **items, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room)
        return true;
    uint32_t wanted = *room == 0 ? 64 : *room + *room / 2;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

/* ---- Hashing
 * -------------------------------------------------------------------------------------------------------- */

static uint64_t name_hash(const history *self, const char *name) {
    uint64_t hash = self->seed;
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, name + i, size - i < 8 ? size - i : 8);
        hash = mix64(hash, word);
    }
    return mix64(hash, size);
}

static uint64_t edge_hash(const history *self, uint32_t from, uint32_t to, int kind) {
    return mix64(self->seed ^ (uint64_t)kind, (uint64_t)from << 32 | to);
}

static const char *named(const history *self, uint32_t number) {
    return (number & EDGE_BIT) != 0 ? self->aliases[number & ~EDGE_BIT].name : self->nodes[number].name;
}

static uint64_t place_hash(const history *self, const hash_index *index, uint32_t number) {
    if (index == &self->node_names)
        return name_hash(self, named(self, number));
    const edge_item *edge = &self->edges[number];
    return edge_hash(self, edge->from, edge->to, edge->kind);
}

static void place_put(hash_index *index, uint64_t hash, uint32_t number) {
    uint32_t place = (uint32_t)hash & index->mask;
    while (index->places[place] != 0)
        place = (place + 1) & index->mask;
    index->places[place] = number + 1;
}

/* Open addressing, at most two thirds full. */
static bool index_grow(const history *self, hash_index *index) {
    if (index->places != NULL && (uint64_t)index->count * 3 < (uint64_t)index->mask * 2)
        return true;
    hash_index grown = {.mask = index->places == NULL ? 1023 : index->mask * 2 + 1, .count = index->count};
    grown.places = calloc((size_t)grown.mask + 1, sizeof *grown.places);
    if (grown.places == NULL)
        return false;
    for (uint32_t i = 0; index->places != NULL && i <= index->mask; i++)
        if (index->places[i] != 0)
            place_put(&grown, place_hash(self, index, index->places[i] - 1), index->places[i] - 1);
    free(index->places);
    *index = grown;
    return true;
}

/* Takes a number out and moves up what stands behind it. */
static void place_remove(const history *self, hash_index *index, uint64_t hash, uint32_t number) {
    uint32_t place = (uint32_t)hash & index->mask;
    while (index->places[place] != number + 1)
        place = (place + 1) & index->mask;
    index->places[place] = 0;
    for (place = (place + 1) & index->mask; index->places[place] != 0; place = (place + 1) & index->mask) {
        uint32_t moved = index->places[place] - 1;
        index->places[place] = 0;
        place_put(index, place_hash(self, index, moved), moved);
    }
    index->count--;
}

/* ---- Finding
 * -------------------------------------------------------------------------------------------------------- */

/* The node's number, or an alias's with EDGE_BIT. */
static uint32_t name_find(const history *self, const char *name) {
    const hash_index *index = &self->node_names;
    if (index->places == NULL)
        return HISTORY_NONE;
    for (uint32_t place = (uint32_t)name_hash(self, name) & index->mask; index->places[place] != 0;
         place = (place + 1) & index->mask) {
        uint32_t number = index->places[place] - 1;
        if (strcmp(named(self, number), name) == 0)
            return number;
    }
    return HISTORY_NONE;
}

uint32_t index_node_find(const history *self, const char *name) {
    uint32_t found = name_find(self, name);
    if (found == HISTORY_NONE || (found & EDGE_BIT) == 0)
        return found;
    return self->aliases[found & ~EDGE_BIT].node;
}

uint32_t index_edge_find(const history *self, uint32_t from, uint32_t to, int kind) {
    const hash_index *index = &self->edge_ends;
    if (index->places == NULL)
        return HISTORY_NONE;
    for (uint32_t place = (uint32_t)edge_hash(self, from, to, kind) & index->mask; index->places[place] != 0;
         place = (place + 1) & index->mask) {
        const edge_item *edge = &self->edges[index->places[place] - 1];
        if (edge->from == from && edge->to == to && edge->kind == kind)
            return index->places[place] - 1;
    }
    return HISTORY_NONE;
}

/* Few, and mostly the first ones. */
uint32_t index_origin_find(const history *self, const char *origin) {
    for (uint32_t i = 0; i < self->origin_count; i++)
        if (strcmp(self->origins[i], origin) == 0)
            return i;
    return HISTORY_NONE;
}

uint32_t index_first_timeline(const history *self, uint32_t thing) {
    return (thing & EDGE_BIT) != 0 ? self->edges[thing & ~EDGE_BIT].timelines : self->nodes[thing].timelines;
}

uint32_t index_timeline_find(const history *self, uint32_t thing, uint32_t origin) {
    for (uint32_t at = index_first_timeline(self, thing); at != 0; at = self->timelines[at - 1].next)
        if (self->timelines[at - 1].origin == origin)
            return at - 1;
    return HISTORY_NONE;
}

/* ---- Making
 * ---------------------------------------------------------------------------------------------------------
 */

uint32_t index_node(history *self, const char *name, int kind) {
    uint32_t found = index_node_find(self, name);
    if (found != HISTORY_NONE)
        return found;
    char *copy = NULL;
    if (self->node_count == HISTORY_NODES_MAX || !index_grow(self, &self->node_names) ||
        !room_for((void **)&self->nodes, self->node_count, &self->node_room, sizeof *self->nodes) ||
        (copy = strdup(name)) == NULL)
        return HISTORY_NONE;
    found = self->node_count;
    self->nodes[found] = (node_item){.name = copy, .kind = (uint8_t)kind};
    place_put(&self->node_names, name_hash(self, name), found);
    self->node_names.count++;
    self->node_count++;
    return found;
}

uint32_t index_edge(history *self, uint32_t from, uint32_t to, int kind) {
    uint32_t found = index_edge_find(self, from, to, kind);
    if (found != HISTORY_NONE)
        return found;
    if (self->edge_count == HISTORY_EDGES_MAX || !index_grow(self, &self->edge_ends) ||
        !room_for((void **)&self->edges, self->edge_count, &self->edge_room, sizeof *self->edges))
        return HISTORY_NONE;
    found = self->edge_count;
    self->edges[found] = (edge_item){.from = from, .to = to, .kind = (uint8_t)kind};
    place_put(&self->edge_ends, edge_hash(self, from, to, kind), found);
    self->edge_ends.count++;
    self->edge_count++;
    return found;
}

uint32_t index_origin(history *self, const char *origin) {
    uint32_t found = index_origin_find(self, origin);
    if (found != HISTORY_NONE)
        return found;
    char *copy = NULL;
    if (self->origin_count == HISTORY_ORIGINS_MAX ||
        !room_for((void **)&self->origins, self->origin_count, &self->origin_room, sizeof *self->origins) ||
        (copy = strdup(origin)) == NULL)
        return HISTORY_NONE;
    self->origins[self->origin_count] = copy;
    return self->origin_count++;
}

uint32_t index_timeline(history *self, uint32_t thing, uint32_t origin) {
    uint32_t found = index_timeline_find(self, thing, origin);
    if (found != HISTORY_NONE)
        return found;
    if (self->timeline_count == HISTORY_TIMELINES_MAX ||
        !room_for((void **)&self->timelines, self->timeline_count, &self->timeline_room,
                  sizeof *self->timelines))
        return HISTORY_NONE;
    uint32_t *first =
        (thing & EDGE_BIT) != 0 ? &self->edges[thing & ~EDGE_BIT].timelines : &self->nodes[thing].timelines;
    found = self->timeline_count++;
    self->timelines[found] = (timeline_item){.thing = thing, .origin = (uint16_t)origin, .next = *first};
    *first = found + 1;
    return found;
}

/* ---- Other names
 * ---------------------------------------------------------------------------------------------------- */

bool index_alias(history *self, const char *name, uint32_t node) {
    char *copy = NULL;
    if (self->alias_count == HISTORY_ALIASES_MAX || !index_grow(self, &self->node_names) ||
        !room_for((void **)&self->aliases, self->alias_count, &self->alias_room, sizeof *self->aliases) ||
        (copy = strdup(name)) == NULL)
        return false;
    uint32_t number = self->alias_count++;
    self->aliases[number] = (alias_item){.name = copy, .node = node, .next = self->nodes[node].aliases};
    self->nodes[node].aliases = number + 1;
    place_put(&self->node_names, name_hash(self, name), number | EDGE_BIT);
    self->node_names.count++;
    return true;
}

static bool note_renamed(history *self, uint32_t node) {
    if (!room_for((void **)&self->renamed, self->renamed_count, &self->renamed_room, sizeof *self->renamed))
        return false;
    self->renamed[self->renamed_count++] = node;
    return true;
}

/* Old names are kept, because pictures point to them. */
static bool name_retire(history *self, uint32_t node, char *name) {
    if (!room_for((void **)&self->retired, self->retired_count, &self->retired_room, sizeof *self->retired))
        return false;
    union {
        const char *kept;
        char *freed;
    } old = {.kept = self->nodes[node].name};
    place_remove(self, &self->node_names, name_hash(self, old.kept), node);
    self->retired[self->retired_count++] = old.freed;
    self->nodes[node].name = name;
    place_put(&self->node_names, name_hash(self, name), node);
    self->node_names.count++;
    return true;
}

bool index_rename(history *self, uint32_t node, const char *name) {
    char *copy = strdup(name);
    char *before = strdup(self->nodes[node].name);
    bool good = copy != NULL && before != NULL && self->alias_count < HISTORY_ALIASES_MAX &&
                note_renamed(self, node) && name_retire(self, node, copy);
    if (!good)
        free(copy);
    else
        good = index_alias(self, before, node);
    free(before);
    return good;
}

/* '#' is in no name that anybody can state. */
bool index_name_take(history *self, uint32_t node) {
    char name[LIMIT_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s#%u", self->nodes[node].name, node);
    char *copy = strdup(name);
    if (copy != NULL && note_renamed(self, node) && name_retire(self, node, copy))
        return true;
    free(copy);
    return false;
}

void index_free(history *self) {
    union {
        const char *kept;
        char *freed;
    } name;
    for (uint32_t i = 0; i < self->node_count; i++) {
        name.kept = self->nodes[i].name;
        free(name.freed);
    }
    for (uint32_t i = 0; i < self->alias_count; i++) {
        name.kept = self->aliases[i].name;
        free(name.freed);
    }
    for (uint32_t i = 0; i < self->origin_count; i++)
        free(self->origins[i]);
    for (uint32_t i = 0; i < self->retired_count; i++)
        free(self->retired[i]);
    free(self->nodes);
    free(self->edges);
    free(self->aliases);
    free(self->timelines);
    free(self->origins);
    free(self->renamed);
    free(self->retired);
    free(self->node_names.places);
    free(self->edge_ends.places);
}
