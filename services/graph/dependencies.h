/* Dependencies that no span has shown, but that somebody states: documents, Kubernetes, confirmed chains; and
 * the zones, owners and journeys of nodes. Read from the history when those have spoken. Belongs to the
 * ingest thread. */
#ifndef GRAPH_DEPENDENCIES_H
#define GRAPH_DEPENDENCIES_H

#include "history.h"
#include "signals.h"
#include "snapshot.h"

#define DEPENDENCIES_MAX 400000U

typedef struct dependencies dependencies;

status_code dependencies_create(dependencies **out, failure *why) MUST_USE;
void dependencies_free(dependencies *self); /* takes NULL */

/* Somebody has spoken. */
void dependencies_outdate(dependencies *self);
/* Reads them anew when they are out of date. The caller holds the signals' lock, for reading or writing: what
 * part of a callee's requests comes from which caller is estimated from series of requests. On failure what
 * was read before stays. */
status_code dependencies_refresh(dependencies *self, history *past, const signals *from,
                                 failure *why) MUST_USE;

/* Valid until the next refresh. */
snapshot_sources dependencies_sources(const dependencies *self, const flows *measured);

#endif
