/* The bump allocator. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16U
#define FORMAT_BYTES 512U

struct arena_block {
    arena_block *next;
    size_t size;
    size_t used;
    _Alignas(ALIGNMENT) unsigned char data[];
};

void arena_init(arena *self, size_t first_size, size_t limit) {
    *self = (arena){.limit = limit, .first_size = first_size};
}

void arena_free(arena *self) {
    if (self == NULL)
        return;
    while (self->blocks != NULL) {
        arena_block *next = self->blocks->next;
        free(self->blocks);
        self->blocks = next;
    }
    self->used = 0;
}

/* The newest block is the largest. */
void arena_reset(arena *self) {
    while (self->blocks != NULL && self->blocks->next != NULL) {
        arena_block *older = self->blocks->next;
        self->blocks->next = older->next;
        free(older);
    }
    if (self->blocks != NULL)
        self->blocks->used = 0;
    self->used = 0;
}

size_t arena_kept(const arena *self) {
    return self->blocks == NULL ? 0 : self->blocks->size;
}

static arena_block *add_block(arena *self, size_t size) {
    size_t wanted = self->blocks == NULL ? self->first_size : self->blocks->size * 2;
    if (wanted > self->limit)
        wanted = self->limit;
    if (wanted < size)
        wanted = size;
    arena_block *block = malloc(sizeof *block + wanted);
    if (block == NULL)
        return NULL;
    block->next = self->blocks;
    block->size = wanted;
    block->used = 0;
    self->blocks = block;
    return block;
}

void *arena_alloc(arena *self, size_t size) {
    if (size > self->limit)
        return NULL;
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded == 0)
        rounded = ALIGNMENT;
    if (rounded > self->limit || self->used > self->limit - rounded)
        return NULL;
    arena_block *block = self->blocks;
    if (block == NULL || block->size - block->used < rounded)
        block = add_block(self, rounded);
    if (block == NULL)
        return NULL;
    void *result = block->data + block->used;
    block->used += rounded;
    self->used += rounded;
    return result;
}

void *arena_zero(arena *self, size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *result = arena_alloc(self, total);
    if (result != NULL)
        memset(result, 0, total);
    return result;
}

void *arena_copy(arena *self, const void *data, size_t size) {
    void *result = arena_alloc(self, size);
    if (result != NULL && size != 0)
        memcpy(result, data, size);
    return result;
}

char *arena_text(arena *self, const char *text) {
    return arena_copy(self, text, strlen(text) + 1);
}

/* Most texts are short: they are formatted once, on the stack. */
char *arena_format(arena *self, const char *format, ...) {
    char text[FORMAT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *result = length < 0 ? NULL : arena_alloc(self, (size_t)length + 1);
    if (result != NULL && (size_t)length < sizeof text)
        memcpy(result, text, (size_t)length + 1);
    else if (result != NULL)
        vsnprintf(result, (size_t)length + 1, format, again);
    va_end(again);
    return result;
}
