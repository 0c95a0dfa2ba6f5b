/* Answers to questions about the graph with time, as messages. No gRPC: a request and an arena in, a response
 * out. Belongs to the thread that answers. */
#ifndef GRAPH_HISTORY_ANSWER_H
#define GRAPH_HISTORY_ANSWER_H

#include "interlock/graph/v1/history.pb-c.h"
#include "picture.h"

#define ANSWER_DIFFERENCES_MAX 2000U
#define ANSWER_VERSIONS_MAX 500U
#define ANSWER_NEIGHBORS_MAX 1000U

typedef Interlock__Graph__V1__Instant instant_message;
typedef Interlock__Graph__V1__Version version_message;
typedef Interlock__Graph__V1__Attribute attribute_message;

/* What questions share: the last picture is kept for as long as nothing changes. */
typedef struct answerer {
    history *of;
    history_reader *reader;
    picture last;
    instant last_at;
    uint64_t last_revision;
    bool has_last;
} answerer;

/* INVALID_ARGUMENT (BAD_INSTANT) when it is contradictory. */
status_code answer_instant(answerer *self, const instant_message *at, instant *out, failure *why) MUST_USE;
/* Bits of kinds; no kinds mean all. */
uint32_t answer_kinds(const unsigned *kinds, size_t count);
/* In the arena. */
version_message *answer_version(const version *said, arena *memory);
/* The one that is shown of a node or edge in a picture. */
status_code answer_shown(answerer *self, uint32_t value, const char *origin, int64_t valid_from_ms,
                         int64_t recorded_from_ms, arena *memory, version_message **out,
                         failure *why) MUST_USE;
status_code answer_attributes(const version *said, arena *memory, attribute_message ***out, size_t *count,
                              failure *why) MUST_USE;

status_code answer_get_node(answerer *self, const Interlock__Graph__V1__GetNodeRequest *request,
                            arena *memory, Interlock__Graph__V1__GetNodeResponse *out, failure *why) MUST_USE;
status_code answer_history(answerer *self, const Interlock__Graph__V1__HistoryRequest *request, arena *memory,
                           Interlock__Graph__V1__HistoryResponse *out, failure *why) MUST_USE;
status_code answer_neighbors(answerer *self, const Interlock__Graph__V1__NeighborsRequest *request,
                             arena *memory, Interlock__Graph__V1__NeighborsResponse *out,
                             failure *why) MUST_USE;
status_code answer_paths(answerer *self, const Interlock__Graph__V1__FindPathsRequest *request, arena *memory,
                         Interlock__Graph__V1__FindPathsResponse *out, failure *why) MUST_USE;
status_code answer_diff(answerer *self, const Interlock__Graph__V1__DiffRequest *request, arena *memory,
                        Interlock__Graph__V1__DiffResponse *out, failure *why) MUST_USE;

void answerer_free(answerer *self); /* the picture; the reader is its owner's */

#endif
