/* The engine's answer as a message. */
#ifndef GRAPH_ROOT_CAUSE_REPLY_H
#define GRAPH_ROOT_CAUSE_REPLY_H

#include "interlock/graph/v1/root_cause.pb-c.h"
#include "root_cause.h"

typedef Interlock__Graph__V1__RootCauseRequest root_cause_request;
typedef Interlock__Graph__V1__RootCauseResponse root_cause_response;

/* Everything in the arena; false without memory. */
bool root_cause_reply(const evidence *names, const root_cause_question *question,
                      const root_cause_answer *answer, arena *memory, root_cause_response *out) MUST_USE;

#endif
