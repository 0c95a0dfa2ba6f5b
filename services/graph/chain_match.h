/* How well a hypothesis agrees with the chain of a postmortem. Pure and thread-safe. */
#ifndef GRAPH_CHAIN_MATCH_H
#define GRAPH_CHAIN_MATCH_H

#include "base/status.h"
#include "interlock/graph/v1/root_cause.pb-c.h"

#define CHAIN_LINKS_MAX 32U

typedef Interlock__Graph__V1__ChainMatchRequest chain_match_request;
typedef Interlock__Graph__V1__ChainMatchResponse chain_match_response;

/* Both from the cause to the symptom. A node that stands twice counts once, where it stands first.
 * INVALID_ARGUMENT (BAD_CHAIN): empty, or longer than CHAIN_LINKS_MAX. */
status_code chain_match(const chain_match_request *request, chain_match_response *out, failure *why) MUST_USE;

#endif
