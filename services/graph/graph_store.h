/* All SQL of the graph service. Belongs to the ingest thread. */
#ifndef GRAPH_STORE_H
#define GRAPH_STORE_H

#include "model.h"
#include "store/store.h"

#define GRAPH_STORE_VERSION 2

typedef struct graph_store graph_store;

/* `path` may be ":memory:". A file of a newer version is refused. */
status_code graph_store_open(graph_store **out, const char *path, failure *why) MUST_USE;
void graph_store_close(graph_store *self); /* takes NULL */

/* Fills an empty model; *revision is 0 for an empty store. DATA_LOSS, reason STORE_INCONSISTENT, when rows
 * contradict one another. */
status_code graph_store_load(graph_store *self, model *into, uint64_t *revision, failure *why) MUST_USE;

/* The first record of the log that was not learnt from; what is set is stored by the next graph_store_put. */
uint64_t graph_store_log_next(const graph_store *self);
void graph_store_set_log_next(graph_store *self, uint64_t next);

/* The connection, for the other parts' stores: what they write between begin and commit is stored together.
 */
store *graph_store_connection(graph_store *self);

/* One transaction. Failing with RESOURCE_EXHAUSTED or UNAVAILABLE, nothing was stored, and after
 * graph_store_rollback the same may be tried again; after DATA_LOSS the process must end. */
status_code graph_store_begin(graph_store *self, failure *why) MUST_USE;
/* Everything of the model that differs from the store, the observations it was made from, and the revision.
 */
status_code graph_store_put(graph_store *self, model *from, const observation *observations, size_t count,
                            uint64_t revision, int64_t now_ms, failure *why) MUST_USE;
/* On success the model is marked as stored. */
status_code graph_store_commit(graph_store *self, model *from, failure *why) MUST_USE;
void graph_store_rollback(graph_store *self);

#endif
