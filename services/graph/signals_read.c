/* Reading signals: points, baselines and changes of level, all computed from the buckets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "signals_internal.h"

#define CHANGE_POINTS 256U /* the newest of what is looked at */
#define CHANGE_LEAST 3U    /* buckets on each side of a change */
#define CHANGE_STRENGTH 3.0
/* How many more of all pairs (before, after) agree on the direction than do not. */
#define CHANGE_SEPARATION 0.5
#define CHANGE_BEFORE 64U /* buckets whose level a change is compared with */
#define CHANGE_AFTER 16U
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
    int64_t from_ms, to_ms;
    signal_change *out;
    size_t count, room;
} changes;

static double mean_of(const parted_point *self) {
    return self->point.sum / self->point.count;
}

/* Where the ranks turn (Pettitt, 1979), at least CHANGE_LEAST from both ends; *separation is how well both
 * sides are apart. 0 when there is no such place. */
static size_t change_place(const parted_point *points, size_t count, double *separation) {
    double below[CHANGE_POINTS]; /* of the points up to i: sum over all j of sign(x_i - x_j) */
    double running = 0;
    double best = 0;
    size_t place = 0;
    for (size_t i = 0; i < count; i++) {
        below[i] = 0;
        for (size_t j = 0; j < count; j++) {
            double one = mean_of(&points[i]);
            double two = mean_of(&points[j]);
            below[i] += (one > two) - (one < two);
        }
    }
    for (size_t k = 1; k + CHANGE_LEAST <= count; k++) {
        running += below[k - 1];
        double apart = fabs(running) / ((double)k * (double)(count - k));
        if (k >= CHANGE_LEAST && fabs(running) > best) {
            best = fabs(running);
            place = k;
            *separation = apart;
        }
    }
    return place;
}

static signal_change change_between(const parted_point *points, size_t place, size_t count) {
    weighed sorted[CHANGE_POINTS];
    size_t before = place < CHANGE_BEFORE ? place : CHANGE_BEFORE;
    size_t after = count - place < CHANGE_AFTER ? count - place : CHANGE_AFTER;
    double total = weighed_sort(points + place - before, before, sorted);
    signal_change change = {.at_ms = points[place].point.from_ms,
                            .before = quantile_of(sorted, before, total, 0.5)};
    double spread = spread_of(sorted, before, total) + SPREAD_FLOOR * fabs(change.before);
    total = weighed_sort(points + place, after, sorted);
    change.after = quantile_of(sorted, after, total, 0.5);
    double shift = fabs(change.after - change.before);
    change.strength = spread > 0 ? shift / spread : shift > 0 ? HUGE_VAL : 0;
    return change;
}

static void change_keep(changes *self, const signal_change *made) {
    size_t at = self->count;
    while (at > 0 && self->out[at - 1].strength < made->strength)
        at--;
    if (at == self->room)
        return;
    size_t moved = self->count < self->room ? self->count - at : self->room - 1 - at;
    memmove(self->out + at + 1, self->out + at, moved * sizeof *self->out);
    self->out[at] = *made;
    if (self->count < self->room)
        self->count++;
}

/* Splits where the change is clearest, and both sides again; the depth of the halving is bounded by the
 * number of changes that CHANGE_LEAST allows. */
static void changes_find(changes *self, size_t first, size_t count) {
    double separation = 0;
    if (count < 2 * CHANGE_LEAST)
        return;
    const parted_point *points = self->points + first;
    size_t place = change_place(points, count, &separation);
    if (place == 0 || separation < CHANGE_SEPARATION)
        return;
    signal_change made = change_between(points, place, count);
    bool strong = made.strength >= CHANGE_STRENGTH;
    if (strong && made.at_ms >= self->from_ms && made.at_ms < self->to_ms)
        change_keep(self, &made);
    changes_find(self, first, place);
    changes_find(self, first + place, count - place);
}

size_t signals_changes(const signals *self, uint32_t series, int64_t from_ms, int64_t to_ms,
                       signal_change *out, size_t room) {
    parted_point points[CHANGE_POINTS];
    changes state = {.points = points, .from_ms = from_ms, .to_ms = to_ms, .out = out, .room = room};
    if (room == 0)
        return 0;
    size_t count = points_read(self, series, from_ms - CHANGE_LOOK_BACK_MS, to_ms, points, CHANGE_POINTS);
    changes_find(&state, 0, count);
    return state.count;
}
