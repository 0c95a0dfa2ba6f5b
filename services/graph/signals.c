/* Series and their buckets: writing, and what the store needs. Reading is in signals_read.c. How many buckets
 * a series may have falls as series become many, so that all together stay within about 500 MB. */
#include "signals_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_KEY_BYTES (2 * SIGNALS_NAME_BYTES)

static void point_merge(bucket *into, const bucket *from) {
    signal_bucket *to = (signal_bucket *)(void *)into;
    const signal_bucket *add = (const signal_bucket *)(const void *)from;
    if (add->count == 0)
        return;
    if (to->count == 0 || add->minimum < to->minimum)
        to->minimum = add->minimum;
    if (to->count == 0 || add->maximum > to->maximum)
        to->maximum = add->maximum;
    to->count += add->count;
    to->sum += add->sum;
    to->parts += add->parts;
}

const bucket_kind signal_kind = {
    .size = sizeof(signal_bucket),
    .width_ms = {SIGNALS_FINE_MS, SIGNALS_MIDDLE_MS, SIGNALS_COARSE_MS},
    .merge = point_merge,
};

static void signals_tighten(signals *self) {
    static const struct {
        uint32_t series;
        uint16_t most[SIGNALS_LEVELS];
    } steps[] = {
        {8192, {256, 256, 128}}, {32768, {64, 64, 64}}, {131072, {32, 24, 24}}, {UINT32_MAX, {16, 16, 16}}};
    size_t i = 0;
    while (self->keys.count > steps[i].series)
        i++;
    memcpy(self->set.most, steps[i].most, sizeof self->set.most);
}

/* ---- Nodes and series
 * -------------------------------------------------------------------------------------------- */

uint32_t signals_node_named(signals *self, const char *name) {
    return texts_named(&self->nodes, 0, bytes_of_text(name));
}

static bool series_grow(signals *self) {
    if (self->keys.count <= self->series_room)
        return true;
    uint32_t wanted = self->series_room == 0 ? 256 : self->series_room * 2;
    series_entry *grown = realloc(self->series, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    self->series = grown;
    self->series_room = wanted;
    return true;
}

static bool node_lists_grow(signals *self, uint32_t node) {
    if (node < self->node_room)
        return true;
    uint32_t wanted = node + 1 < 2 * self->node_room ? 2 * self->node_room : node + 256;
    node_list *grown = realloc(self->lists, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + self->node_room, 0, (wanted - self->node_room) * sizeof *grown);
    self->lists = grown;
    self->node_room = wanted;
    return true;
}

/* The key of a series among those of its node: pod, NUL, name. */
static bytes series_key(bytes pod, bytes name, char out[SERIES_KEY_BYTES]) {
    pod = text_cut(pod, SIGNALS_NAME_BYTES);
    name = text_cut(name, SIGNALS_NAME_BYTES);
    if (pod.size > 0)
        memcpy(out, pod.data, pod.size);
    out[pod.size] = '\0';
    if (name.size > 0)
        memcpy(out + pod.size + 1, name.data, name.size);
    return bytes_of(out, pod.size + 1 + name.size);
}

/* Room for the series that texts has just numbered; it must be the newest. */
static bool series_begin(signals *self, uint32_t number, uint32_t node, bytes unit, signal_type type) {
    if (!series_grow(self) || !node_lists_grow(self, node))
        return false;
    series_entry *item = &self->series[number];
    *item = (series_entry){.type = type};
    unit = text_cut(unit, sizeof item->unit);
    if (unit.size > 0)
        memcpy(item->unit, unit.data, unit.size);
    node_list *list = &self->lists[node];
    if (list->first == 0)
        list->first = number + 1;
    else
        self->series[list->last - 1].next_of_node = number + 1;
    list->last = number + 1;
    self->series_count = number + 1;
    signals_tighten(self);
    return true;
}

static uint32_t series_made(signals *self, uint32_t number, uint32_t node, bytes unit, signal_type type) {
    if (number == TEXTS_NONE || number < self->series_count)
        return number;
    return series_begin(self, number, node, unit, type) ? number : SIGNALS_NONE;
}

uint32_t signals_series_named(signals *self, const char *node, bytes pod, bytes name, bytes unit,
                              signal_type type) {
    uint32_t number = signals_node_named(self, node);
    if (number == TEXTS_NONE || self->keys.count > self->series_count) {
        self->totals.series_refused++;
        return SIGNALS_NONE;
    }
    char key[SERIES_KEY_BYTES];
    uint32_t series = texts_named(&self->keys, number, series_key(pod, name, key));
    if (series != TEXTS_NONE)
        return series_made(self, series, number, unit, type);
    self->totals.series_refused++;
    bytes other = series_key(bytes_of(NULL, 0), bytes_of_text(SIGNALS_OTHER), key);
    series = texts_forced(&self->keys, number, other);
    return series_made(self, series, number, bytes_of(NULL, 0), SIGNAL_GAUGE);
}

/* ---- Points
 * ------------------------------------------------------------------------------------------------------ */

static void series_note(signals *self, uint32_t series) {
    series_entry *item = &self->series[series];
    if (item->noted)
        return;
    if (self->changed_count == self->changed_room) {
        size_t room = self->changed_room == 0 ? 256 : self->changed_room * 2;
        uint32_t *grown = realloc(self->changed, room * sizeof *grown);
        if (grown == NULL)
            return;
        self->changed = grown;
        self->changed_room = room;
    }
    self->changed[self->changed_count++] = series;
    item->noted = true;
}

void signals_add(signals *self, uint32_t series, int64_t time_ms, double value) {
    if (!isfinite(value)) {
        self->totals.not_finite++;
        return;
    }
    series_entry *item = &self->series[series];
    signal_bucket *into = (signal_bucket *)(void *)buckets_at(&self->set, &item->levels, series, time_ms);
    if (into == NULL)
        return;
    signal_bucket one = {.count = 1, .sum = value, .minimum = value, .maximum = value};
    /* A fine bucket is one part however many values it holds. */
    one.parts = into->count == 0;
    point_merge(&into->base, &one.base);
    if (item->points == 0 || time_ms < item->first_ms)
        item->first_ms = time_ms;
    if (item->points == 0 || time_ms > item->last_ms)
        item->last_ms = time_ms;
    item->points++;
    self->totals.points++;
    series_note(self, series);
}

bool signals_increase(signals *self, uint32_t series, int64_t start_ms, int64_t time_ms, double count,
                      double sum, signal_increase *out) {
    series_entry *item = &self->series[series];
    if (!isfinite(count) || !isfinite(sum)) {
        self->totals.not_finite++;
        return false;
    }
    bool known = item->sum_time_ms != 0;
    if (known && time_ms <= item->sum_time_ms) {
        self->totals.out_of_order++;
        return false;
    }
    bool began = known && (count < item->sum_count || (start_ms > 0 && start_ms >= item->sum_time_ms));
    signal_increase made = {.count = count - item->sum_count,
                            .sum = sum - item->sum_sum,
                            .milliseconds = time_ms - item->sum_time_ms};
    if (began) {
        self->totals.resets++;
        int64_t from_ms = start_ms > item->sum_time_ms ? start_ms : item->sum_time_ms;
        made = (signal_increase){.count = count, .sum = sum, .milliseconds = time_ms - from_ms};
    }
    item->sum_start_ms = start_ms;
    item->sum_time_ms = time_ms;
    item->sum_count = count;
    item->sum_sum = sum;
    series_note(self, series);
    if (!known || made.milliseconds <= 0)
        return false;
    *out = made;
    return true;
}

bool signals_add_cumulative(signals *self, uint32_t series, int64_t start_ms, int64_t time_ms, double value) {
    signal_increase increase;
    if (!signals_increase(self, series, start_ms, time_ms, value, 0, &increase))
        return false;
    signals_add(self, series, time_ms, increase.count / ((double)increase.milliseconds / 1000));
    return true;
}

signals_totals signals_totals_of(const signals *self) {
    signals_totals totals = self->totals;
    totals.late = self->set.late;
    totals.buckets = self->set.kept;
    return totals;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code signals_create(signals **out, uint64_t seed, failure *why) {
    signals *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for signals");
    pthread_rwlock_init(&self->lock, NULL);
    self->set.kind = &signal_kind;
    status_code status = texts_init(&self->nodes, SIGNALS_NODES_MAX, SIGNALS_NODES_MAX, seed, why);
    if (status == STATUS_OK)
        status = texts_init(&self->keys, SIGNALS_SERIES_MAX, SIGNALS_NODE_SERIES_MAX - 1, ~seed, why);
    if (status != STATUS_OK) {
        signals_free(self);
        return status;
    }
    signals_tighten(self);
    *out = self;
    return STATUS_OK;
}

void signals_free(signals *self) {
    if (self == NULL)
        return;
    for (uint32_t i = 0; i < self->series_count; i++)
        bucket_levels_free(&self->set, &self->series[i].levels);
    bucket_set_free(&self->set);
    texts_free(&self->nodes);
    texts_free(&self->keys);
    free(self->series);
    free(self->lists);
    free(self->changed);
    pthread_rwlock_destroy(&self->lock);
    free(self);
}

void signals_read_begin(signals *self) {
    pthread_rwlock_rdlock(&self->lock);
}

void signals_read_end(signals *self) {
    pthread_rwlock_unlock(&self->lock);
}

void signals_write_begin(signals *self) {
    pthread_rwlock_wrlock(&self->lock);
}

void signals_write_end(signals *self) {
    pthread_rwlock_unlock(&self->lock);
}

/* ---- For the store
 * ------------------------------------------------------------------------------------------------ */

uint32_t signals_nodes_stored(const signals *self) {
    return self->nodes.stored;
}

uint32_t signals_series_stored(const signals *self) {
    return self->keys.stored;
}

size_t signals_changed_series(const signals *self, const uint32_t **numbers) {
    *numbers = self->changed;
    return self->changed_count;
}

signal_row signals_row_at(const signals *self, uint32_t series) {
    const series_entry *item = &self->series[series];
    const text_entry *key = &self->keys.items[series];
    return (signal_row){.number = series,
                        .node = key->owner,
                        .pod = key->text,
                        .name = key->text + strlen(key->text) + 1,
                        .unit = item->unit,
                        .type = item->type,
                        .first_ms = item->first_ms,
                        .last_ms = item->last_ms,
                        .points = item->points,
                        .sum_start_ms = item->sum_start_ms,
                        .sum_time_ms = item->sum_time_ms,
                        .sum_count = item->sum_count,
                        .sum_sum = item->sum_sum};
}

size_t signals_changed_buckets(const signals *self) {
    return self->set.note_count;
}

signal_bucket_row signals_changed_bucket_at(const signals *self, size_t index) {
    const bucket_note *note = &self->set.notes[index];
    const signal_bucket *found = (const signal_bucket *)(const void *)buckets_find(
        &self->set, &self->series[note->owner].levels, note->level, note->from_ms);
    signal_bucket_row row = {
        .series = note->owner, .level = note->level, .from_ms = note->from_ms, .gone = found == NULL};
    if (found != NULL) {
        row.count = found->count;
        row.sum = found->sum;
        row.minimum = found->minimum;
        row.maximum = found->maximum;
        row.parts = found->parts;
    }
    return row;
}

void signals_mark_stored(signals *self) {
    for (size_t i = 0; i < self->set.note_count; i++) {
        const bucket_note *note = &self->set.notes[i];
        bucket *found =
            buckets_find(&self->set, &self->series[note->owner].levels, note->level, note->from_ms);
        if (found != NULL)
            found->noted = false;
    }
    buckets_notes_clear(&self->set);
    for (size_t i = 0; i < self->changed_count; i++)
        self->series[self->changed[i]].noted = false;
    self->changed_count = 0;
    self->nodes.stored = self->nodes.count;
    self->keys.stored = self->series_count;
}

bool signals_restore_node(signals *self, const char *name) {
    return texts_restore(&self->nodes, 0, bytes_of_text(name));
}

bool signals_restore_series(signals *self, const signal_row *row) {
    char key[SERIES_KEY_BYTES];
    if (row->node >= self->nodes.count || row->number != self->keys.count ||
        !texts_restore(&self->keys, row->node,
                       series_key(bytes_of_text(row->pod), bytes_of_text(row->name), key)) ||
        !series_begin(self, row->number, row->node, bytes_of_text(row->unit), row->type))
        return false;
    series_entry *item = &self->series[row->number];
    item->first_ms = row->first_ms;
    item->last_ms = row->last_ms;
    item->points = row->points;
    item->sum_start_ms = row->sum_start_ms;
    item->sum_time_ms = row->sum_time_ms;
    item->sum_count = row->sum_count;
    item->sum_sum = row->sum_sum;
    return true;
}

bool signals_restore_bucket(signals *self, const signal_bucket_row *row) {
    if (row->series >= self->series_count)
        return false;
    signal_bucket *made = (signal_bucket *)(void *)buckets_restore(
        &self->set, &self->series[row->series].levels, row->level, row->from_ms);
    if (made == NULL)
        return false;
    made->count = row->count;
    made->sum = row->sum;
    made->minimum = row->minimum;
    made->maximum = row->maximum;
    made->parts = row->parts;
    return true;
}
