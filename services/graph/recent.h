/* The most recent keys, first in first out: what the model remembers of single traces and spans. A fixed ring
 * and a hash index over it, all allocated at the start; nothing is allocated per key. An item is known by its
 * serial, which never comes again, so that a reference to a forgotten item is noticed. One owner. */
#ifndef GRAPH_RECENT_H
#define GRAPH_RECENT_H

#include "base/status.h"

#define RECENT_NONE UINT64_MAX

typedef struct recent {
    uint64_t *keys;       /* by serial & mask */
    uint32_t *index;      /* open addressing: slot + 1, 0 is empty */
    uint64_t first, next; /* serials: first is the oldest that is known, next the one to come */
    uint32_t mask;        /* capacity - 1 */
    uint32_t index_mask;
} recent;

/* `capacity` is a power of two. RESOURCE_EXHAUSTED. */
status_code recent_init(recent *self, uint32_t capacity, failure *why) MUST_USE;
void recent_free(recent *self); /* takes zeroed */

uint64_t recent_find(const recent *self, uint64_t key); /* RECENT_NONE when unknown */
bool recent_full(const recent *self);
/* The key must be unknown and there must be room: drop the oldest first. */
uint64_t recent_add(recent *self, uint64_t key);
void recent_drop_oldest(recent *self);

static inline bool recent_knows(const recent *self, uint64_t serial) {
    return serial >= self->first && serial < self->next;
}
static inline uint32_t recent_slot(const recent *self, uint64_t serial) {
    return (uint32_t)serial & self->mask;
}

/* A mix of two words that spreads every bit (the finalizer of SplitMix64 over a product); with a secret seed
 * inside one of them nobody can choose keys that collide. */
static inline uint64_t mix64(uint64_t a, uint64_t b) {
    uint64_t z = (a ^ 0x9e3779b97f4a7c15U) * 0xbf58476d1ce4e5b9U + b;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

#endif
