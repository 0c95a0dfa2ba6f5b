/* SQL of what the traffic model keeps beside nodes and edges: operations and pods, and the flows with their
 * buckets. Inside graph_store's transaction; belongs to the ingest thread. */
#ifndef GRAPH_FLOWS_STORE_H
#define GRAPH_FLOWS_STORE_H

#include "model.h"
#include "store/store.h"

typedef struct flows_store flows_store;

/* `connection` must outlive it. */
status_code flows_store_open(flows_store **out, store *connection, failure *why) MUST_USE;
void flows_store_close(flows_store *self); /* takes NULL */

/* After the model's nodes and edges, before its journal. DATA_LOSS, reason STORE_INCONSISTENT, when rows
 * contradict one another. */
status_code flows_store_load(flows_store *self, model *into, failure *why) MUST_USE;
/* Everything that differs; the caller commits and then marks the model as stored. */
status_code flows_store_put(flows_store *self, const model *from, failure *why) MUST_USE;

#endif
