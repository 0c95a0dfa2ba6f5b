/* Reading signals: points, baselines and changes of level, all computed from the buckets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "signals_internal.h"

#define CHANGE_POINTS 256U /* the newest of what is looked at */
#define CHANGE_LEAST 3U    /* buckets on each side of a change */
#define CHANGE_STRENGTH 3.0
#define CHANGE_BEFORE 64U /* buckets whose level a change is compared with, … */
#define CHANGE_KNOWN 4U   /* … and how few will do */
#define CHANGE_AFTER 16U  /* buckets that tell the new level */
#define CHANGE_LOOK_BACK_MS 3600000
#define SPREAD_FLOOR 0.01 /* of the level */

/* ---- Finding
 * ------------------------------------------------------------------------------------------------------ */

uint32_t signals_node_find(const signals *self, const char *name) {
    return texts_find(&self->nodes, 0, bytes_of_text(name));
}

const char *signals_node_name(const signals *self, uint32_t node) {
    return texts_at(&self->nodes, node);
}

uint32_t signals_node_count(const signals *self) {
    return self->nodes.count;
}

uint32_t signals_series_count(const signals *self) {
    return self->series_count;
}

signal_series signals_series_at(const signals *self, uint32_t series) {
    signal_row row = signals_row_at(self, series);
    return (signal_series){.node = row.node,
                           .pod = row.pod,
                           .name = row.name,
                           .unit = row.unit,
                           .type = row.type,
                           .first_ms = row.first_ms,
                           .last_ms = row.last_ms,
                           .points = row.points};
}

size_t signals_of_node(const signals *self, uint32_t node, uint32_t *out, size_t room) {
    size_t count = 0;
    if (node >= self->node_room)
        return 0;
    for (uint32_t next = self->lists[node].first; next != 0 && count < room;
         next = self->series[next - 1].next_of_node)
        out[count++] = next - 1;
    return count;
}

uint32_t signals_series_find(const signals *self, const char *node, const char *pod, const char *name) {
    uint32_t number = signals_node_find(self, node);
    if (number == SIGNALS_NONE || number >= self->node_room)
        return SIGNALS_NONE;
    for (uint32_t next = self->lists[number].first; next != 0; next = self->series[next - 1].next_of_node) {
        signal_row row = signals_row_at(self, next - 1);
        if (strcmp(row.pod, pod) == 0 && strcmp(row.name, name) == 0)
            return next - 1;
    }
    return SIGNALS_NONE;
}

/* ---- Points
 * ------------------------------------------------------------------------------------------------------- */

typedef struct parted_point {
    signal_point point;
    uint32_t parts;
} parted_point;

/* Ascending, because a level's buckets all lie before those of the finer one; the newest `room`. */
static size_t points_read(const signals *self, uint32_t series, int64_t from_ms, int64_t to_ms,
                          parted_point *out, size_t room) {
    const bucket_levels *levels = &self->series[series].levels;
    size_t count = 0;
    for (unsigned level = 0; level < SIGNALS_LEVELS && count < room; level++)
        for (uint16_t i = levels->lists[level].count; i-- > 0 && count < room;) {
            const signal_bucket *item =
                (const signal_bucket *)(const void *)buckets_item(&self->set, levels, level, i);
            if (item->base.from_ms < from_ms || item->base.from_ms >= to_ms || item->count <= 0)
                continue;
            count++;
            out[room - count] = (parted_point){.point = {.from_ms = item->base.from_ms,
                                                         .width_ms = signal_kind.width_ms[level],
                                                         .count = item->count,
                                                         .sum = item->sum,
                                                         .minimum = item->minimum,
                                                         .maximum = item->maximum},
                                               .parts = item->parts};
        }
    if (count < room)
        memmove(out, out + (room - count), count * sizeof *out);
    return count;
}

size_t signals_points(const signals *self, uint32_t series, int64_t from_ms, int64_t to_ms, signal_point *out,
                      size_t room) {
    parted_point points[SIGNALS_POINTS_MAX];
    size_t count = points_read(self, series, from_ms, to_ms, points,
                               room < SIGNALS_POINTS_MAX ? room : SIGNALS_POINTS_MAX);
    for (size_t i = 0; i < count; i++)
        out[i] = points[i].point;
    return count;
}

/* ---- What is normal
 * ----------------------------------------------------------------------------------------------- */

typedef struct weighed {
    double value, weight;
} weighed;

static int weighed_order(const void *a, const void *b) {
    double one = ((const weighed *)a)->value;
    double two = ((const weighed *)b)->value;
    return (one > two) - (one < two);
}

/* Of sorted values: linear between the middles of their weights. */
static double quantile_of(const weighed *sorted, size_t count, double total, double rank) {
    double wanted = rank * total;
    double seen = 0;
    for (size_t i = 0; i < count; i++) {
        double middle = seen + sorted[i].weight / 2;
        if (wanted <= middle) {
            if (i == 0)
                return sorted[0].value;
            double before = seen - sorted[i - 1].weight / 2;
            double part = (wanted - before) / (middle - before);
            return sorted[i - 1].value + part * (sorted[i].value - sorted[i - 1].value);
        }
        seen += sorted[i].weight;
    }
    return sorted[count - 1].value;
}

static double spread_of(const weighed *sorted, size_t count, double total) {
    double quartiles =
        (quantile_of(sorted, count, total, 0.75) - quantile_of(sorted, count, total, 0.25)) / 1.349;
    double deciles =
        (quantile_of(sorted, count, total, 0.9) - quantile_of(sorted, count, total, 0.1)) / (2 * 1.2816);
    return quartiles > deciles ? quartiles : deciles;
}

static double weighed_sort(const parted_point *points, size_t count, weighed *out) {
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = (weighed){.value = points[i].point.sum / points[i].point.count,
                           .weight = points[i].parts > 0 ? points[i].parts : 1};
        total += out[i].weight;
    }
    qsort(out, count, sizeof *out, weighed_order);
    return total;
}

bool signals_baseline_before(const signals *self, uint32_t series, int64_t before_ms, int64_t reach_ms,
                             signal_baseline *out) {
    parted_point points[SIGNALS_POINTS_MAX];
    weighed sorted[SIGNALS_POINTS_MAX];
    int64_t from_ms = reach_ms > 0 ? before_ms - reach_ms : INT64_MIN;
    size_t count = points_read(self, series, from_ms, before_ms, points, SIGNALS_POINTS_MAX);
    while (count > 0 && points[count - 1].point.from_ms + points[count - 1].point.width_ms > before_ms)
        count--;
    if (count == 0)
        return false;
    double total = weighed_sort(points, count, sorted);
    *out = (signal_baseline){.buckets = total,
                             .p10 = quantile_of(sorted, count, total, 0.1),
                             .p25 = quantile_of(sorted, count, total, 0.25),
                             .median = quantile_of(sorted, count, total, 0.5),
                             .p75 = quantile_of(sorted, count, total, 0.75),
                             .p90 = quantile_of(sorted, count, total, 0.9),
                             .spread = spread_of(sorted, count, total),
                             .from_ms = points[0].point.from_ms,
                             .to_ms = points[count - 1].point.from_ms + points[count - 1].point.width_ms};
    return true;
}

/* ---- Changes of level
 * --------------------------------------------------------------------------------------------- */

typedef struct changes {
    const parted_point *points;
    size_t count;
    signal_change *out;
    size_t found, room;
} changes;

static double mean_of(const parted_point *self) {
    return self->point.sum / self->point.count;
}

static void change_keep(changes *self, const signal_change *made) {
    size_t at = self->found;
    while (at > 0 && self->out[at - 1].strength < made->strength)
        at--;
    if (at == self->room)
        return;
    size_t moved = self->found < self->room ? self->found - at : self->room - 1 - at;
    memmove(self->out + at + 1, self->out + at, moved * sizeof *self->out);
    self->out[at] = *made;
    if (self->found < self->room)
        self->found++;
}

/* How many buckets from `at` on lie on one side of the level, beyond `least` of it; at most CHANGE_AFTER. */
static size_t change_lasts(const changes *self, size_t at, double level, double least) {
    bool above = mean_of(&self->points[at]) > level;
    size_t count = 0;
    while (at + count < self->count && count < CHANGE_AFTER) {
        double shift = mean_of(&self->points[at + count]) - level;
        if ((shift > 0) != above || fabs(shift) < least)
            break;
        count++;
    }
    return count;
}

/* Walks through the buckets and compares each with the level since the last change. The spread of a level
 * that has just begun is not known well: that of the one before is the least. */
static void changes_find(changes *self, int64_t from_ms, int64_t to_ms) {
    weighed sorted[CHANGE_BEFORE];
    size_t begin = 0;
    double least_spread = 0;
    for (size_t at = CHANGE_KNOWN; at + CHANGE_LEAST <= self->count; at++) {
        size_t before = at - begin < CHANGE_BEFORE ? at - begin : CHANGE_BEFORE;
        if (before < CHANGE_KNOWN)
            continue;
        double total = weighed_sort(self->points + at - before, before, sorted);
        double level = quantile_of(sorted, before, total, 0.5);
        double spread = fmax(spread_of(sorted, before, total), least_spread) + SPREAD_FLOOR * fabs(level);
        size_t lasts = change_lasts(self, at, level, CHANGE_STRENGTH * spread);
        if (lasts < CHANGE_LEAST || mean_of(&self->points[at]) == level)
            continue;
        least_spread = fmax(least_spread, spread_of(sorted, before, total));
        total = weighed_sort(self->points + at, lasts, sorted);
        signal_change made = {.at_ms = self->points[at].point.from_ms,
                              .before = level,
                              .after = quantile_of(sorted, lasts, total, 0.5)};
        made.strength = spread > 0 ? fabs(made.after - level) / spread : HUGE_VAL;
        if (made.at_ms >= from_ms && made.at_ms < to_ms)
            change_keep(self, &made);
        begin = at;
    }
}

size_t signals_changes(const signals *self, uint32_t series, int64_t from_ms, int64_t to_ms,
                       signal_change *out, size_t room) {
    parted_point points[CHANGE_POINTS];
    if (room == 0)
        return 0;
    changes state = {.points = points, .out = out, .room = room};
    state.count = points_read(self, series, from_ms - CHANGE_LOOK_BACK_MS, to_ms, points, CHANGE_POINTS);
    changes_find(&state, from_ms, to_ms);
    return state.found;
}
