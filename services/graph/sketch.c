/* Bins as in an HDR histogram: the power of two and the four bits below it. Finding the bin takes no
 * logarithm, and merging is adding bins of the same number. */
#include "sketch.h"

#include <stdlib.h>
#include <string.h>

#define SUB_BITS 4U
#define SUB_BINS (1U << SUB_BITS)
#define LEAST_POWER 10U /* bin 0 begins at 2^10 ns, about a microsecond */
#define LEAST_COUNT 1e-6

uint16_t sketch_bin_of(uint64_t nanoseconds) {
    if (nanoseconds < 1ULL << LEAST_POWER)
        return 0;
    unsigned power = 63U - (unsigned)__builtin_clzll(nanoseconds);
    unsigned sub = (unsigned)(nanoseconds >> (power - SUB_BITS)) & (SUB_BINS - 1);
    unsigned bin = (power - LEAST_POWER) * SUB_BINS + sub;
    return bin < SKETCH_BINS ? (uint16_t)bin : (uint16_t)(SKETCH_BINS - 1);
}

double sketch_bin_value(uint16_t bin) {
    double low = (double)(1ULL << (LEAST_POWER + bin / SUB_BINS));
    return low * (1.0 + (bin % SUB_BINS + 0.5) / SUB_BINS);
}

void sketch_free(sketch *self) {
    free(self->bins);
    *self = (sketch){0};
}

/* The place of the first bin that is not below `bin`. */
static uint16_t bin_place(const sketch *self, uint16_t bin) {
    uint16_t low = 0;
    uint16_t high = self->count;
    while (low < high) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (self->bins[middle].bin < bin)
            low = (uint16_t)(middle + 1);
        else
            high = middle;
    }
    return low;
}

static bool bins_grow(sketch *self) {
    if (self->count < self->room)
        return true;
    uint16_t room = self->room == 0 ? 4 : (uint16_t)(self->room * 2);
    sketch_bin *grown = realloc(self->bins, room * sizeof *grown);
    if (grown == NULL)
        return false;
    self->bins = grown;
    self->room = room;
    return true;
}

static void bin_remove(sketch *self, uint16_t place) {
    self->count--;
    memmove(self->bins + place, self->bins + place + 1, (size_t)(self->count - place) * sizeof *self->bins);
}

static bool bin_add(sketch *self, uint16_t bin, double count) {
    uint16_t place = bin_place(self, bin);
    if (place < self->count && self->bins[place].bin == bin) {
        self->bins[place].count = (float)(self->bins[place].count + count);
        if (self->bins[place].count < LEAST_COUNT)
            bin_remove(self, place);
        return true;
    }
    if (count <= 0)
        return true;
    if (!bins_grow(self))
        return false;
    memmove(self->bins + place + 1, self->bins + place, (size_t)(self->count - place) * sizeof *self->bins);
    self->bins[place] = (sketch_bin){.bin = bin, .count = (float)count};
    self->count++;
    return true;
}

bool sketch_add(sketch *self, uint64_t nanoseconds, double count) {
    return bin_add(self, sketch_bin_of(nanoseconds), count);
}

bool sketch_merge(sketch *into, const sketch *from) {
    bool complete = true;
    for (uint16_t i = 0; i < from->count; i++)
        complete = bin_add(into, from->bins[i].bin, from->bins[i].count) && complete;
    return complete;
}

double sketch_total(const sketch *self) {
    double total = 0;
    for (uint16_t i = 0; i < self->count; i++)
        total += self->bins[i].count;
    return total;
}

double sketch_quantile(const sketch *self, double rank) {
    double wanted = rank * sketch_total(self);
    double seen = 0;
    for (uint16_t i = 0; i < self->count; i++) {
        seen += self->bins[i].count;
        if (seen >= wanted)
            return sketch_bin_value(self->bins[i].bin);
    }
    return self->count == 0 ? 0 : sketch_bin_value(self->bins[self->count - 1].bin);
}

double sketch_share_above(const sketch *self, double nanoseconds) {
    double total = 0;
    double above = 0;
    for (uint16_t i = 0; i < self->count; i++) {
        total += self->bins[i].count;
        above += sketch_bin_value(self->bins[i].bin) > nanoseconds ? self->bins[i].count : 0;
    }
    return total > 0 ? above / total : 0;
}
