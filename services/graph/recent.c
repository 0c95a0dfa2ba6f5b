/* The ring of recent keys and its index. Keys are well mixed already, so that their low bits are the hash. */
#include "recent.h"

#include <stdlib.h>

status_code recent_init(recent *self, uint32_t capacity, failure *why) {
    *self = (recent){.mask = capacity - 1, .index_mask = capacity * 2 - 1};
    self->keys = calloc(capacity, sizeof *self->keys);
    self->index = calloc((size_t)capacity * 2, sizeof *self->index);
    if (self->keys != NULL && self->index != NULL)
        return STATUS_OK;
    recent_free(self);
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %u recent items", capacity);
}

void recent_free(recent *self) {
    free(self->keys);
    free(self->index);
    *self = (recent){0};
}

/* The place in the index where the key is or would be. */
static uint32_t index_place(const recent *self, uint64_t key) {
    uint32_t place = (uint32_t)key & self->index_mask;
    while (self->index[place] != 0 && self->keys[self->index[place] - 1] != key)
        place = (place + 1) & self->index_mask;
    return place;
}

uint64_t recent_find(const recent *self, uint64_t key) {
    uint32_t entry = self->index[index_place(self, key)];
    if (entry == 0)
        return RECENT_NONE;
    /* The serial that lives in this slot now. */
    uint32_t offset = (entry - 1 - (uint32_t)self->first) & self->mask;
    return self->first + offset;
}

bool recent_full(const recent *self) {
    return self->next - self->first > self->mask;
}

uint64_t recent_add(recent *self, uint64_t key) {
    uint64_t serial = self->next++;
    uint32_t slot = recent_slot(self, serial);
    self->keys[slot] = key;
    /* The slot is not in the index yet, so that the search below cannot meet it. */
    uint32_t place = (uint32_t)key & self->index_mask;
    while (self->index[place] != 0)
        place = (place + 1) & self->index_mask;
    self->index[place] = slot + 1;
    return serial;
}

/* Deletion by moving later entries back, so that no tombstones pile up (Knuth 6.4, algorithm R). */
static void index_remove(recent *self, uint32_t hole) {
    uint32_t place = hole;
    for (;;) {
        self->index[hole] = 0;
        uint32_t home;
        do {
            place = (place + 1) & self->index_mask;
            if (self->index[place] == 0)
                return;
            home = (uint32_t)self->keys[self->index[place] - 1] & self->index_mask;
        } while (((place - home) & self->index_mask) < ((place - hole) & self->index_mask));
        self->index[hole] = self->index[place];
        hole = place;
    }
}

void recent_drop_oldest(recent *self) {
    index_remove(self, index_place(self, self->keys[recent_slot(self, self->first)]));
    self->first++;
}
