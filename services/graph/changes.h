/* What changes production and what people declare of it, put into the history: events once each, objects and
 * documents in place of what they said before. Belongs to the ingest thread. */
#ifndef GRAPH_CHANGES_H
#define GRAPH_CHANGES_H

#include "change.h"
#include "history.h"
#include "store/store.h"

#define CHANGES_ITEMS_MAX 1000U       /* of a request */
#define CHANGES_SEEN_MAX 262144U      /* events that are remembered, so that they count once */
#define CHANGES_DIFFERENCES_MAX 2000U /* in an answer */

typedef struct changes changes;
typedef Interlock__Graph__V1__SendEventsRequest events_request;
typedef Interlock__Graph__V1__SendEventsResponse events_response;
typedef Interlock__Graph__V1__SendObjectsRequest objects_request;
typedef Interlock__Graph__V1__SendObjectsResponse objects_response;
typedef Interlock__Graph__V1__ApplyDeclarationsRequest declarations_request;
typedef Interlock__Graph__V1__ApplyDeclarationsResponse declarations_response;
typedef Interlock__Graph__V1__GetDriftResponse drift_response;

/* `past` must outlive it. */
status_code changes_open(changes **out, history *past, failure *why) MUST_USE;
void changes_close(changes *self); /* takes NULL */

/* Items that cannot be taken are in the response, which is made in `memory`; a failure is of the request as a
 * whole: INVALID_ARGUMENT (TOO_MANY), RESOURCE_EXHAUSTED. */
status_code changes_take_events(changes *self, const events_request *request, int64_t now_ms, arena *memory,
                                events_response *out, failure *why) MUST_USE;
status_code changes_take_objects(changes *self, const objects_request *request, int64_t now_ms, arena *memory,
                                 objects_response *out, failure *why) MUST_USE;
/* INVALID_ARGUMENT with the place: nothing of the document was taken. */
status_code changes_declare(changes *self, const declarations_request *request, int64_t now_ms, arena *memory,
                            declarations_response *out, failure *why) MUST_USE;

/* What is declared and never seen, and the reverse. */
status_code changes_drift(changes *self, arena *memory, drift_response *out, failure *why) MUST_USE;

/* ---- Storage: changes_store.c. Inside the caller's transaction, changes_stored after the commit. */
status_code changes_load(changes *self, store *from, failure *why) MUST_USE;
bool changes_changed(const changes *self);
status_code changes_put(changes *self, store *into, failure *why) MUST_USE;
void changes_stored(changes *self);

typedef struct changes_counts {
    uint64_t lanes;
    uint64_t events, duplicates, objects, documents; /* taken since the start */
    uint64_t refused;
} changes_counts;
changes_counts changes_count(const changes *self); /* any thread */

#endif
