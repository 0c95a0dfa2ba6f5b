/* Interning of sets of nodes. The hash of a set is a sum over its members, so that the set with one more
 * member is found without building it. */
#include "shapes.h"

#include <stdlib.h>
#include <string.h>

#include "recent.h"

#define INDEX_MASK (SHAPES_MAX * 2 - 1)

status_code shapes_init(shapes *self, failure *why) {
    *self = (shapes){0};
    self->items = calloc(SHAPES_MAX, sizeof *self->items);
    self->index = calloc((size_t)INDEX_MASK + 1, sizeof *self->index);
    self->free_items = calloc(SHAPES_MAX, sizeof *self->free_items);
    if (self->items == NULL || self->index == NULL || self->free_items == NULL) {
        shapes_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the shapes of requests");
    }
    self->items[SHAPE_EMPTY].used = true;
    self->count = 1;
    return STATUS_OK;
}

void shapes_free(shapes *self) {
    for (uint32_t i = 0; self->items != NULL && i < self->count; i++)
        free(self->items[i].members);
    free(self->items);
    free(self->index);
    free(self->free_items);
    *self = (shapes){0};
}

bool shape_has(const shape *self, uint32_t node) {
    uint32_t low = 0;
    uint32_t high = self->member_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (self->members[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < self->member_count && self->members[low] == node;
}

static uint64_t member_hash(uint32_t node) {
    return mix64(0x5851f42d4c957f2dU, node);
}

/* Whether `candidate` is `from` with `node` added; `from` does not have it. */
static bool shape_is_extended(const shape *candidate, const shape *from, uint32_t node) {
    if (candidate->member_count != from->member_count + 1)
        return false;
    for (uint32_t i = 0, j = 0; i < candidate->member_count; i++) {
        if (j < from->member_count && candidate->members[i] == from->members[j])
            j++;
        else if (candidate->members[i] != node)
            return false;
    }
    return true;
}

static uint32_t *members_extended(const shape *from, uint32_t node) {
    uint32_t *members = malloc((from->member_count + 1) * sizeof *members);
    if (members == NULL)
        return NULL;
    uint32_t at = 0;
    while (at < from->member_count && from->members[at] < node)
        at++;
    if (from->member_count != 0) {
        memcpy(members, from->members, at * sizeof *members);
        memcpy(members + at + 1, from->members + at, (from->member_count - at) * sizeof *members);
    }
    members[at] = node;
    return members;
}

static uint32_t index_free_place(const shapes *self, uint64_t hash) {
    uint32_t place = (uint32_t)(hash >> 32) & INDEX_MASK;
    while (self->index[place] != 0)
        place = (place + 1) & INDEX_MASK;
    return place;
}

/* Takes the members. */
static uint32_t shape_create(shapes *self, uint32_t *members, uint32_t count, uint64_t hash) {
    if (self->free_count == 0 && self->count == SHAPES_MAX && self->refused++ % SHAPES_MAX == 0)
        shapes_sweep(self);
    if (members == NULL || (self->free_count == 0 && self->count == SHAPES_MAX)) {
        free(members);
        return SHAPE_FULL;
    }
    uint32_t id = self->free_count > 0 ? self->free_items[--self->free_count] : self->count++;
    self->items[id] = (shape){.hash = hash, .members = members, .member_count = count, .used = true};
    self->index[index_free_place(self, hash)] = id + 1;
    return id;
}

uint32_t shapes_with(shapes *self, uint32_t from, uint32_t node) {
    const shape *base = &self->items[from];
    if (shape_has(base, node))
        return from;
    if (base->member_count == SHAPE_MEMBERS_MAX)
        return SHAPE_FULL;
    uint64_t hash = base->hash + member_hash(node);
    for (uint32_t place = (uint32_t)(hash >> 32) & INDEX_MASK; self->index[place] != 0;
         place = (place + 1) & INDEX_MASK) {
        uint32_t id = self->index[place] - 1;
        if (self->items[id].hash == hash && shape_is_extended(&self->items[id], base, node))
            return id;
    }
    return shape_create(self, members_extended(base, node), base->member_count + 1, hash);
}

uint32_t shapes_restore(shapes *self, const uint32_t *members, uint32_t count) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && members[i] <= members[i - 1])
            return SHAPE_FULL;
        hash += member_hash(members[i]);
    }
    if (count == 0)
        return SHAPE_EMPTY;
    uint32_t *copy = malloc(count * sizeof *copy);
    if (copy != NULL)
        memcpy(copy, members, count * sizeof *copy);
    return shape_create(self, copy, count, hash);
}

static bool shape_is_idle(const shape *item) {
    return item->used && item->references == 0 && item->traces <= 0 && !item->stored && !item->dirty;
}

/* The index is built anew: a sweep is rare, and so no deletion has to be right. */
void shapes_sweep(shapes *self) {
    memset(self->index, 0, ((size_t)INDEX_MASK + 1) * sizeof *self->index);
    for (uint32_t id = 1; id < self->count; id++) {
        shape *item = &self->items[id];
        if (shape_is_idle(item)) {
            free(item->members);
            *item = (shape){0};
            self->free_items[self->free_count++] = id;
        } else if (item->used) {
            self->index[index_free_place(self, item->hash)] = id + 1;
        }
    }
}
