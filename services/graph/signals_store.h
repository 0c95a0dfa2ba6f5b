/* SQL of signals, log templates and what tells repeated requests. Inside graph_store's transaction; belongs
 * to the ingest thread. */
#ifndef GRAPH_SIGNALS_STORE_H
#define GRAPH_SIGNALS_STORE_H

#include "store/store.h"
#include "telemetry.h"

typedef struct signals_store signals_store;

/* `connection` must outlive it. */
status_code signals_store_open(signals_store **out, store *connection, failure *why) MUST_USE;
void signals_store_close(signals_store *self); /* takes NULL */

/* Fills an empty telemetry. DATA_LOSS, reason STORE_INCONSISTENT, when rows contradict one another. */
status_code signals_store_load(signals_store *self, telemetry *into, failure *why) MUST_USE;
/* Everything that differs; after the commit the caller marks the telemetry as stored. */
status_code signals_store_put(signals_store *self, const telemetry *from, failure *why) MUST_USE;

#endif
