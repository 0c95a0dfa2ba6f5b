/* A hash index over an array; nothing is ever removed. */
#include "texts.h"

#include <stdlib.h>
#include <string.h>

#include "recent.h"

#define INDEX_START 1024U

static uint64_t text_hash(const texts *self, uint32_t owner, bytes text) {
    uint64_t hash = mix64(self->seed, owner);
    for (size_t i = 0; i < text.size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text.data + i, text.size - i < 8 ? text.size - i : 8);
        hash = mix64(hash, word);
    }
    return mix64(hash, text.size);
}

static void index_insert(texts *self, uint32_t number) {
    uint32_t place = (uint32_t)self->items[number].hash & self->mask;
    while (self->index[place] != 0)
        place = (place + 1) & self->mask;
    self->index[place] = number + 1;
}

static bool index_grow(texts *self) {
    if (self->index != NULL && self->count * 2 <= self->mask)
        return true;
    uint32_t mask = self->index == NULL ? INDEX_START - 1 : self->mask * 2 + 1;
    uint32_t *index = calloc((size_t)mask + 1, sizeof *index);
    if (index == NULL)
        return false;
    free(self->index);
    self->index = index;
    self->mask = mask;
    for (uint32_t i = 0; i < self->count; i++)
        index_insert(self, i);
    return true;
}

static bool owners_grow(texts *self, uint32_t owner) {
    if (owner < self->owners)
        return true;
    uint32_t wanted = owner + 1 < 2 * self->owners ? 2 * self->owners : owner + 256;
    uint32_t *grown = realloc(self->by_owner, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + self->owners, 0, (wanted - self->owners) * sizeof *grown);
    self->by_owner = grown;
    self->owners = wanted;
    return true;
}

static bool items_grow(texts *self) {
    if (self->count < self->room)
        return true;
    uint32_t wanted = self->room == 0 ? 256 : self->room * 2;
    text_entry *grown = realloc(self->items, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    self->items = grown;
    self->room = wanted;
    return true;
}

static uint32_t hash_find(const texts *self, uint32_t owner, bytes text, uint64_t hash) {
    for (uint32_t place = (uint32_t)hash & self->mask; self->index[place] != 0;
         place = (place + 1) & self->mask) {
        const text_entry *item = &self->items[self->index[place] - 1];
        if (item->hash == hash && item->owner == owner && item->size == text.size &&
            memcmp(item->text, text.data, text.size) == 0)
            return self->index[place] - 1;
    }
    return TEXTS_NONE;
}

static uint32_t text_append(texts *self, uint32_t owner, bytes text, uint64_t hash) {
    if (self->count >= self->most || !items_grow(self) || !owners_grow(self, owner) || !index_grow(self))
        return TEXTS_NONE;
    char *copy = malloc(text.size + 1);
    if (copy == NULL)
        return TEXTS_NONE;
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    uint32_t number = self->count++;
    self->items[number] =
        (text_entry){.text = copy, .hash = hash, .owner = owner, .size = (uint32_t)text.size};
    self->by_owner[owner]++;
    index_insert(self, number);
    return number;
}

uint32_t texts_find(const texts *self, uint32_t owner, bytes text) {
    return hash_find(self, owner, text, text_hash(self, owner, text));
}

uint32_t texts_forced(texts *self, uint32_t owner, bytes text) {
    uint64_t hash = text_hash(self, owner, text);
    uint32_t found = hash_find(self, owner, text, hash);
    return found != TEXTS_NONE ? found : text_append(self, owner, text, hash);
}

uint32_t texts_named(texts *self, uint32_t owner, bytes text) {
    uint64_t hash = text_hash(self, owner, text);
    uint32_t found = hash_find(self, owner, text, hash);
    if (found != TEXTS_NONE)
        return found;
    if (owner < self->owners && self->by_owner[owner] >= self->owner_most)
        return TEXTS_NONE;
    return text_append(self, owner, text, hash);
}

bool texts_restore(texts *self, uint32_t owner, bytes text) {
    if (texts_find(self, owner, text) != TEXTS_NONE || texts_forced(self, owner, text) == TEXTS_NONE)
        return false;
    self->stored = self->count;
    return true;
}

bytes text_cut(bytes text, size_t size) {
    if (text.size < size)
        return text;
    size_t kept = size - 1;
    while (kept > 0 && (text.data[kept] & 0xC0) == 0x80)
        kept--;
    return bytes_of(text.data, kept);
}

status_code texts_init(texts *self, uint32_t most, uint32_t owner_most, uint64_t seed, failure *why) {
    *self = (texts){.most = most, .owner_most = owner_most, .seed = seed};
    if (index_grow(self))
        return STATUS_OK;
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for names");
}

void texts_free(texts *self) {
    for (uint32_t i = 0; i < self->count; i++)
        free(self->items[i].text);
    free(self->items);
    free(self->index);
    free(self->by_owner);
    *self = (texts){0};
}
