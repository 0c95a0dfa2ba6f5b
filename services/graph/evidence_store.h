/* The kept evidence on disk: a row a chunk, a row an error. All SQL of it. Belongs to the ingest thread. */
#ifndef GRAPH_EVIDENCE_STORE_H
#define GRAPH_EVIDENCE_STORE_H

#include "evidence_keep.h"
#include "store/store.h"

typedef struct evidence_store evidence_store;

/* On the graph's connection, which must outlive it. */
status_code evidence_store_open(evidence_store **out, store *connection, failure *why) MUST_USE;
void evidence_store_close(evidence_store *self); /* takes NULL */

/* Fills an empty keep. DATA_LOSS (STORE_INCONSISTENT) when rows contradict one another. */
status_code evidence_store_load(evidence_store *self, evidence_keep *into, uint32_t operation_count,
                                failure *why) MUST_USE;
/* Writes what is not stored, inside the caller's transaction; evidence_keep_mark_stored after the commit. */
status_code evidence_store_put(evidence_store *self, const evidence_keep *from, failure *why) MUST_USE;

#endif
