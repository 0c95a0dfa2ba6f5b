/* Short texts of owners, numbered in the order in which they came, each kept once: operations of a service,
 * series of a node. Numbers are dense and never given twice. Bounded in all and for each owner. A text may
 * hold any bytes; it is NUL-terminated besides. One owner thread. */
#ifndef GRAPH_TEXTS_H
#define GRAPH_TEXTS_H

#include "base/bytes.h"

#define TEXTS_NONE UINT32_MAX

typedef struct text_entry {
    char *text;
    uint64_t hash;
    uint32_t owner, size;
} text_entry;

typedef struct texts {
    text_entry *items;
    uint32_t count, room;
    uint32_t most, owner_most; /* bounds: in all, and for one owner */
    uint32_t *index, mask;     /* open addressing: item + 1, at most half full */
    uint32_t *by_owner;        /* how many each has */
    uint32_t owners;
    uint32_t stored; /* numbers below are in the store */
    uint64_t seed;   /* keeps texts from being chosen so that they collide */
} texts;

status_code texts_init(texts *self, uint32_t most, uint32_t owner_most, uint64_t seed, failure *why) MUST_USE;
void texts_free(texts *self); /* takes zeroed */

uint32_t texts_find(const texts *self, uint32_t owner, bytes text); /* TEXTS_NONE when it is not there */
/* Made when it is new; TEXTS_NONE beyond a bound or without memory. */
uint32_t texts_named(texts *self, uint32_t owner, bytes text);
/* The same past the owner's bound, though not past the whole's. */
uint32_t texts_forced(texts *self, uint32_t owner, bytes text);
/* As it was stored: the next number. False when it stands there already, or without memory. */
bool texts_restore(texts *self, uint32_t owner, bytes text) MUST_USE;

/* `text` cut to fewer than `size` bytes, between two characters, so that it stays UTF-8. */
bytes text_cut(bytes text, size_t size);

static inline const char *texts_at(const texts *self, uint32_t number) {
    return self->items[number].text;
}

#endif
