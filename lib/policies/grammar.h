/* The kinds of documents: which keys they have, and what each key takes. */
#ifndef POLICIES_GRAMMAR_H
#define POLICIES_GRAMMAR_H

#include "read.h"

/* What has been read so far; the set's arrays point into these at the end. */
typedef struct collection {
    void *items;
    size_t count, room, most;
    size_t size; /* of one */
} collection;

typedef struct grammar {
    reader reader;
    collection rules, stages, quorums, rate_limits, zones;
    bool set_seen;
} grammar;

/* Reads one document; what is wrong goes to the reader's problems. */
void grammar_read(grammar *self, const yaml_item *root);

#endif
