/* Time buckets in three widths: new ones are fine, the oldest fold into wider ones, the oldest of the widest
 * go. Whatever folds is merged, so that counts are conserved and the order in which things come does not
 * matter. What a bucket holds is its owner's affair: a struct that begins with `bucket`. Pure; one owner. */
#ifndef GRAPH_BUCKETS_H
#define GRAPH_BUCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUCKET_LEVELS 3U

typedef struct bucket {
    int64_t from_ms;
    bool noted; /* what the store has differs, and it stands in the notes */
} bucket;

/* How buckets of one kind are made; zeroed memory is an empty one. */
typedef struct bucket_kind {
    size_t size;
    int64_t width_ms[BUCKET_LEVELS];
    void (*merge)(bucket *into, const bucket *from);
    void (*drop)(bucket *self); /* lets go of what it owns; NULL when it owns nothing */
} bucket_kind;

typedef struct bucket_list {
    uint8_t *items; /* ascending in time */
    uint16_t count, room;
} bucket_list;

/* The buckets of one owner; zeroed is empty. */
typedef struct bucket_levels {
    bucket_list lists[BUCKET_LEVELS];
    int64_t folded_to_ms[BUCKET_LEVELS]; /* what is older belongs to a wider level, or is too old */
} bucket_levels;

/* A bucket that the store has to write, or to delete when it is no longer there. */
typedef struct bucket_note {
    int64_t from_ms;
    uint32_t owner;
    uint8_t level;
} bucket_note;

/* All owners of one kind together. */
typedef struct bucket_set {
    const bucket_kind *kind;
    uint16_t most[BUCKET_LEVELS]; /* buckets an owner may have; may change at any time */
    bucket_note *notes;
    size_t note_count, note_room;
    uint64_t kept;    /* buckets, all owners */
    uint64_t dropped; /* of the widest level, because of their age */
    uint64_t late;    /* arrivals older than all that is kept */
} bucket_set;

void bucket_set_free(bucket_set *self); /* the notes; takes zeroed */
void bucket_levels_free(bucket_set *set, bucket_levels *self);

/* The bucket of that time, made when it is new, and noted for the store. NULL when the time is older than all
 * that is kept, or without memory. Valid until the next call. */
bucket *buckets_at(bucket_set *set, bucket_levels *self, uint32_t owner, int64_t time_ms);
/* The same without making one or noting it; NULL when there is none. */
bucket *buckets_find(const bucket_set *set, const bucket_levels *self, unsigned level, int64_t from_ms);
/* By place, 0 is the oldest. */
bucket *buckets_item(const bucket_set *set, const bucket_levels *self, unsigned level, size_t place);
/* As it was stored; NULL when it does not fit or stands there already. */
bucket *buckets_restore(bucket_set *set, bucket_levels *self, unsigned level, int64_t from_ms);

/* Everything noted is stored. */
static inline void buckets_notes_clear(bucket_set *set) {
    set->note_count = 0;
}

#endif
