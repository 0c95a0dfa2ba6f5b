/* A latency sketch: counts of durations in bins of equal relative width (16 to each power of two, so that a
 * quantile is off by at most SKETCH_ERROR of its value), kept sparsely, mergeable, and able to take back what
 * was added. From 1 us to 73 minutes; what is outside counts at the ends. Pure; one owner. */
#ifndef GRAPH_SKETCH_H
#define GRAPH_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKETCH_ERROR 0.03125 /* relative, of any quantile between 1 us and 73 minutes */
#define SKETCH_BINS 512U

typedef struct sketch_bin {
    uint16_t bin;
    uint16_t padding; /* 0: the store keeps these as they are */
    float count;      /* > 0 */
} sketch_bin;

typedef struct sketch {
    uint16_t count, room;
    sketch_bin *bins; /* ascending */
} sketch;

void sketch_free(sketch *self); /* takes zeroed */
/* Adds `count` (negative takes back) of a duration. False without memory: nothing was added. */
bool sketch_add(sketch *self, uint64_t nanoseconds, double count);
bool sketch_merge(sketch *into, const sketch *from);

double sketch_total(const sketch *self);
/* The value below which `rank` (0 to 1) of the durations lie, in nanoseconds; 0 when empty. */
double sketch_quantile(const sketch *self, double rank);
/* The share of durations above `nanoseconds`. */
double sketch_share_above(const sketch *self, double nanoseconds);

uint16_t sketch_bin_of(uint64_t nanoseconds);
double sketch_bin_value(uint16_t bin); /* the middle of the bin, nanoseconds */

#endif
