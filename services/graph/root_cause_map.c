/* Maps and lists of one question. */
#include "root_cause_map.h"

#include <stdlib.h>
#include <string.h>

void list_init(list *self, size_t width) {
    *self = (list){.width = width};
}

void list_free(list *self) {
    free(self->items);
    self->items = NULL;
    self->count = self->room = 0;
}

static bool list_grow(list *self) {
    if (self->room > UINT32_MAX / 4)
        return false;
    uint32_t room = self->room == 0 ? 64 : self->room * 2;
    void *grown = realloc(self->items, room * self->width);
    if (grown == NULL)
        return false;
    self->items = grown;
    self->room = room;
    return true;
}

void *list_add(list *self) {
    if (self->count == self->room && !list_grow(self)) {
        self->failed = true;
        memset(self->spare, 0, sizeof self->spare);
        return self->spare;
    }
    void *item = list_at(self, self->count++);
    memset(item, 0, self->width);
    return item;
}

void key_map_free(key_map *self) {
    free(self->keys);
    free(self->values);
    *self = (key_map){0};
}

/* 0 stands for an empty place; a key of 0 is moved aside. */
static uint64_t key_stored(uint64_t key) {
    return key == 0 ? 1 : key;
}

static uint32_t key_place(const key_map *self, uint64_t key) {
    uint32_t at = (uint32_t)mix64(key, 0) & self->mask;
    while (self->keys[at] != 0 && self->keys[at] != key)
        at = (at + 1) & self->mask;
    return at;
}

static bool key_map_grow(key_map *self) {
    uint32_t size = self->keys == NULL ? 256 : (self->mask + 1) * 2;
    key_map grown = {.mask = size - 1, .count = self->count};
    grown.keys = calloc(size, sizeof *grown.keys);
    grown.values = calloc(size, sizeof *grown.values);
    if (grown.keys == NULL || grown.values == NULL) {
        key_map_free(&grown);
        return false;
    }
    for (uint32_t i = 0; self->keys != NULL && i <= self->mask; i++) {
        if (self->keys[i] == 0)
            continue;
        uint32_t at = key_place(&grown, self->keys[i]);
        grown.keys[at] = self->keys[i];
        grown.values[at] = self->values[i];
    }
    key_map_free(self);
    *self = grown;
    return true;
}

uint32_t key_map_find(const key_map *self, uint64_t key) {
    if (self->keys == NULL)
        return KEY_MAP_NONE;
    uint32_t at = key_place(self, key_stored(key));
    return self->keys[at] == 0 ? KEY_MAP_NONE : self->values[at];
}

uint32_t key_map_add(key_map *self, uint64_t key, uint32_t fresh) {
    key = key_stored(key);
    bool crowded = self->keys == NULL || self->count >= (self->mask + 1) / 2;
    if (crowded && !key_map_grow(self)) {
        self->failed = true;
        return 0;
    }
    uint32_t at = key_place(self, key);
    if (self->keys[at] == 0) {
        self->keys[at] = key;
        self->values[at] = fresh;
        self->count++;
    }
    return self->values[at];
}

void tally_init(tally *self) {
    *self = (tally){0};
    list_init(&self->values, sizeof(double));
}

void tally_free(tally *self) {
    key_map_free(&self->map);
    list_free(&self->values);
}

void tally_add(tally *self, uint64_t key, double by) {
    uint32_t at = key_map_add(&self->map, key, self->values.count);
    double *value = at < self->values.count ? list_at(&self->values, at) : list_add(&self->values);
    *value += by;
}

double tally_of(const tally *self, uint64_t key) {
    uint32_t at = key_map_find(&self->map, key);
    return at == KEY_MAP_NONE || at >= self->values.count ? 0 : *(const double *)list_at(&self->values, at);
}
