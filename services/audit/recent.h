/* The newest records in memory, each as the bytes of the field `entries` of a TailResponse, so that followers
 * who keep up cost the disk nothing and nobody opens a sealed record for them. At most RECENT_MAX records and
 * RECENT_BYTES; who is further behind reads the disk. Whoever erases a record must also see to it that it has
 * left here: recent_clear. Thread-safe; the mutex is held for pointers only. */
#ifndef AUDIT_RECENT_H
#define AUDIT_RECENT_H

#include <stdatomic.h>

#include "base/bytes.h"

#define RECENT_MAX 1024U
#define RECENT_BYTES (16U << 20)

typedef struct recent_entry {
    atomic_uint references;
    bool of_action;
    size_t light_size, size;
    uint8_t *field;  /* length, then the packed Entry: `size` bytes */
    uint8_t light[]; /* the same without the record: light_size bytes */
} recent_entry;

typedef struct recent recent;

status_code recent_new(recent **out, failure *why) MUST_USE;
void recent_free(recent *self); /* takes NULL */

/* By the writer, for each record in order, once it is durable and before anybody is told of it. Without
 * memory what is there is let go: there is never a gap. */
void recent_add(recent *self, uint64_t index, bytes leaf, bytes salt, bytes record, bool of_action);
void recent_clear(recent *self);

/* The records from `index` on, as many as there are, at most `room` and, after the first, most_bytes; 0 when
 * `index` is not here. Each is to be released. */
size_t recent_take(recent *self, uint64_t index, recent_entry **out, size_t room, size_t most_bytes);
void recent_entry_release(recent_entry *self);

#endif
