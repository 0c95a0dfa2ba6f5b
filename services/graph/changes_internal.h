/* The inside of changes.h, for its own files. */
#ifndef GRAPH_CHANGES_INTERNAL_H
#define GRAPH_CHANGES_INTERNAL_H

#include <stdatomic.h>

#include "changes.h"
#include "lanes.h"

#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>

#define SEEN_BYTES 16U

/* An event that was taken: the head of a digest of its source and id. The newest CHANGES_SEEN_MAX are kept;
 * event n is at n modulo that. */
typedef struct seen {
    uint8_t id[SEEN_BYTES];
    UT_hash_handle hh;
} seen;

struct changes {
    history *past;
    lanes *states;
    seen *events; /* CHANGES_SEEN_MAX of them, zeroed */
    seen *by_id;
    uint64_t seen_next;   /* the number of the next event */
    uint64_t seen_stored; /* numbers below are stored */
    arena scratch;        /* of one item */
    int64_t now_ms;
    atomic_uint_fast64_t lanes, taken_events, duplicates, objects, documents, refused;
};

/* Remembers an event under the next number; false without memory. */
bool changes_see(changes *self, const uint8_t id[SEEN_BYTES]);

#endif
