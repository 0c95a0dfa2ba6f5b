/* Hash maps and growing lists for one question. Both fail softly: without memory they set `failed`, go on
 * with a spare item, and the owner looks once at the end (as buffer_ok does). Keys are 64-bit mixes of what
 * they stand for: among a few million, two never meet. One owner. */
#ifndef GRAPH_ROOT_CAUSE_MAP_H
#define GRAPH_ROOT_CAUSE_MAP_H

#include <stddef.h>

#include "recent.h"

#define LIST_SPARE_BYTES 256U

/* Items of one size, addressed by number; the address of an item is valid until the next add. */
typedef struct list {
    void *items;
    uint32_t count, room;
    size_t width;
    bool failed;
    uint64_t spare[LIST_SPARE_BYTES / sizeof(uint64_t)];
} list;

void list_init(list *self, size_t width); /* at most LIST_SPARE_BYTES */
void list_free(list *self);               /* takes zeroed */
void *list_add(list *self);               /* zeroed; never NULL */
static inline void *list_at(const list *self, uint32_t index) {
    return (char *)self->items + (size_t)index * self->width;
}

/* Key -> number of an item, in the order of their first coming. */
typedef struct key_map {
    uint64_t *keys;
    uint32_t *values;
    uint32_t count, mask;
    bool failed;
} key_map;

#define KEY_MAP_NONE UINT32_MAX

void key_map_free(key_map *self);                         /* takes zeroed, which is also the empty map */
uint32_t key_map_find(const key_map *self, uint64_t key); /* KEY_MAP_NONE */
/* The value of the key; a new key gets `fresh`. */
uint32_t key_map_add(key_map *self, uint64_t key, uint32_t fresh);

/* Adds `by` to the double that belongs to a key in a list of tallies. */
typedef struct tally {
    key_map map;
    list values; /* double */
} tally;
void tally_init(tally *self);
void tally_free(tally *self);
void tally_add(tally *self, uint64_t key, double by);
double tally_of(const tally *self, uint64_t key); /* 0 when unknown */

#endif
