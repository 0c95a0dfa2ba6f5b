/* A bump allocator with a bound: everything a call needs is taken from it and let go at once by arena_reset.
 * The largest block is kept across resets, so that a warm arena does not touch malloc. Not thread-safe: one
 * owner. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/status.h"

typedef struct arena_block arena_block;

typedef struct arena {
    arena_block *blocks; /* newest first */
    size_t used;         /* bytes handed out since the last reset, with alignment */
    size_t limit;        /* bytes; an allocation beyond it fails */
    size_t first_size;   /* size of the first block */
} arena;

/* Nothing is allocated until the first use. */
void arena_init(arena *self, size_t first_size, size_t limit);
void arena_free(arena *self); /* takes NULL and zeroed */
void arena_reset(arena *self);
size_t arena_kept(const arena *self); /* bytes that a reset does not give back */

/* 16-byte aligned; NULL when the bound or memory is exhausted. arena_zero clears it. */
void *arena_alloc(arena *self, size_t size);
void *arena_zero(arena *self, size_t count, size_t size);
void *arena_copy(arena *self, const void *data, size_t size);
char *arena_text(arena *self, const char *text);
char *arena_format(arena *self, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
