/* A level is a sorted array; almost everything goes to its end. */
#include "buckets.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_START 4U

static int64_t slot_of(int64_t time_ms, int64_t width_ms) {
    int64_t slot = time_ms / width_ms;
    return (slot * width_ms > time_ms ? slot - 1 : slot) * width_ms;
}

bucket *buckets_item(const bucket_set *set, const bucket_levels *self, unsigned level, size_t place) {
    return (bucket *)(void *)(self->lists[level].items + place * set->kind->size);
}

/* The place of the first bucket that does not begin before from_ms. */
static uint16_t place_of(const bucket_set *set, const bucket_levels *self, unsigned level, int64_t from_ms) {
    uint16_t low = 0;
    uint16_t high = self->lists[level].count;
    if (high > 0 && buckets_item(set, self, level, high - 1U)->from_ms < from_ms)
        return high;
    while (low < high) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (buckets_item(set, self, level, middle)->from_ms < from_ms)
            low = (uint16_t)(middle + 1);
        else
            high = middle;
    }
    return low;
}

bucket *buckets_find(const bucket_set *set, const bucket_levels *self, unsigned level, int64_t from_ms) {
    uint16_t place = place_of(set, self, level, from_ms);
    if (place == self->lists[level].count)
        return NULL;
    bucket *found = buckets_item(set, self, level, place);
    return found->from_ms == from_ms ? found : NULL;
}

/* ---- What the store has to write
 * ------------------------------------------------------------------------------------ */

/* Makes sure that a note fits, before anything is changed that needs one. */
static bool notes_reserve(bucket_set *set, size_t more) {
    if (set->note_count + more <= set->note_room)
        return true;
    size_t room = set->note_room == 0 ? 256 : set->note_room * 2;
    if (room < set->note_count + more)
        room = set->note_count + more;
    bucket_note *grown = realloc(set->notes, room * sizeof *grown);
    if (grown == NULL)
        return false;
    set->notes = grown;
    set->note_room = room;
    return true;
}

static void note_add(bucket_set *set, uint32_t owner, unsigned level, int64_t from_ms) {
    set->notes[set->note_count++] =
        (bucket_note){.from_ms = from_ms, .owner = owner, .level = (uint8_t)level};
}

static void bucket_touch(bucket_set *set, bucket *self, uint32_t owner, unsigned level) {
    if (self->noted)
        return;
    self->noted = true;
    note_add(set, owner, level, self->from_ms);
}

/* ---- Making and folding
 * -------------------------------------------------------------------------------------------- */

static bucket *bucket_make(bucket_set *set, bucket_levels *self, unsigned level, int64_t from_ms) {
    bucket_list *list = &self->lists[level];
    size_t size = set->kind->size;
    if (list->count == list->room) {
        uint16_t room = list->room == 0 ? ROOM_START : (uint16_t)(list->room * 2);
        uint8_t *grown = realloc(list->items, room * size);
        if (grown == NULL)
            return NULL;
        list->items = grown;
        list->room = room;
    }
    uint16_t place = place_of(set, self, level, from_ms);
    uint8_t *at = list->items + place * size;
    memmove(at + size, at, (size_t)(list->count - place) * size);
    memset(at, 0, size);
    list->count++;
    set->kept++;
    bucket *made = (bucket *)(void *)at;
    made->from_ms = from_ms;
    return made;
}

static void oldest_remove(bucket_set *set, bucket_levels *self, uint32_t owner, unsigned level,
                          uint16_t count) {
    bucket_list *list = &self->lists[level];
    for (uint16_t i = 0; i < count; i++) {
        bucket *gone = buckets_item(set, self, level, i);
        note_add(set, owner, level, gone->from_ms);
        if (set->kind->drop != NULL)
            set->kind->drop(gone);
    }
    list->count = (uint16_t)(list->count - count);
    set->kept -= count;
    memmove(list->items, list->items + count * set->kind->size, list->count * set->kind->size);
}

/* Folds the oldest buckets of a level that lie in one bucket of the next. False without memory: the level
 * stays as it is and is a little too long. */
static bool oldest_fold(bucket_set *set, bucket_levels *self, uint32_t owner, unsigned level) {
    int64_t width_ms = set->kind->width_ms[level + 1];
    int64_t from_ms = slot_of(buckets_item(set, self, level, 0)->from_ms, width_ms);
    uint16_t count = 0;
    while (count < self->lists[level].count &&
           buckets_item(set, self, level, count)->from_ms < from_ms + width_ms)
        count++;
    if (!notes_reserve(set, count + 1U))
        return false;
    bucket *into = buckets_find(set, self, level + 1, from_ms);
    if (into == NULL && (into = bucket_make(set, self, level + 1, from_ms)) == NULL)
        return false;
    for (uint16_t i = 0; i < count; i++)
        set->kind->merge(into, buckets_item(set, self, level, i));
    bucket_touch(set, into, owner, level + 1);
    oldest_remove(set, self, owner, level, count);
    self->folded_to_ms[level] = from_ms + width_ms;
    return true;
}

static void oldest_drop(bucket_set *set, bucket_levels *self, uint32_t owner) {
    unsigned level = BUCKET_LEVELS - 1;
    if (!notes_reserve(set, 1))
        return;
    self->folded_to_ms[level] = buckets_item(set, self, level, 0)->from_ms + set->kind->width_ms[level];
    oldest_remove(set, self, owner, level, 1);
    set->dropped++;
}

static void levels_shorten(bucket_set *set, bucket_levels *self, uint32_t owner) {
    for (unsigned level = 0; level + 1 < BUCKET_LEVELS; level++)
        while (self->lists[level].count > set->most[level])
            if (!oldest_fold(set, self, owner, level))
                return;
    while (self->lists[BUCKET_LEVELS - 1].count > set->most[BUCKET_LEVELS - 1]) {
        uint16_t before = self->lists[BUCKET_LEVELS - 1].count;
        oldest_drop(set, self, owner);
        if (self->lists[BUCKET_LEVELS - 1].count == before)
            return;
    }
}

/* The level that the time belongs to; BUCKET_LEVELS when it is older than all. */
static unsigned level_of(const bucket_levels *self, int64_t time_ms) {
    unsigned level = 0;
    while (level < BUCKET_LEVELS && time_ms < self->folded_to_ms[level])
        level++;
    return level;
}

bucket *buckets_at(bucket_set *set, bucket_levels *self, uint32_t owner, int64_t time_ms) {
    unsigned level = level_of(self, time_ms);
    if (level == BUCKET_LEVELS) {
        set->late++;
        return NULL;
    }
    int64_t from_ms = slot_of(time_ms, set->kind->width_ms[level]);
    bucket *found = buckets_find(set, self, level, from_ms);
    if (found == NULL) {
        if (!notes_reserve(set, 1) || bucket_make(set, self, level, from_ms) == NULL)
            return NULL;
        levels_shorten(set, self, owner);
        /* Making room may have folded the new one too, when it was the oldest. */
        level = level_of(self, time_ms);
        if (level == BUCKET_LEVELS) {
            set->late++;
            return NULL;
        }
        found = buckets_find(set, self, level, slot_of(time_ms, set->kind->width_ms[level]));
    }
    if (found == NULL || !notes_reserve(set, 1))
        return NULL;
    bucket_touch(set, found, owner, level);
    return found;
}

bucket *buckets_restore(bucket_set *set, bucket_levels *self, unsigned level, int64_t from_ms) {
    if (level >= BUCKET_LEVELS || slot_of(from_ms, set->kind->width_ms[level]) != from_ms ||
        buckets_find(set, self, level, from_ms) != NULL || self->lists[level].count == UINT16_MAX / 2)
        return NULL;
    bucket *made = bucket_make(set, self, level, from_ms);
    /* What has been folded into a wider bucket ends where the newest of those ends. */
    if (made != NULL && level > 0 && from_ms + set->kind->width_ms[level] > self->folded_to_ms[level - 1])
        self->folded_to_ms[level - 1] = from_ms + set->kind->width_ms[level];
    return made;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

void bucket_levels_free(bucket_set *set, bucket_levels *self) {
    for (unsigned level = 0; level < BUCKET_LEVELS; level++) {
        for (uint16_t i = 0; set->kind->drop != NULL && i < self->lists[level].count; i++)
            set->kind->drop(buckets_item(set, self, level, i));
        set->kept -= self->lists[level].count;
        free(self->lists[level].items);
    }
    *self = (bucket_levels){0};
}

void bucket_set_free(bucket_set *self) {
    free(self->notes);
    self->notes = NULL;
    self->note_count = self->note_room = 0;
}
