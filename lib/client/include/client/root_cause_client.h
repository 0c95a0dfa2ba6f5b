/* Typed calls of the graph service's root causes. */
#ifndef CLIENT_ROOT_CAUSE_CLIENT_H
#define CLIENT_ROOT_CAUSE_CLIENT_H

#include "interlock/graph/v1/root_cause.pb-c.h"
#include "rpc/client.h"

/* Blocking; the answer is in the arena. */
status_code root_cause_wait(rpc_channel *channel, const Interlock__Graph__V1__RootCauseRequest *request,
                            uint32_t timeout_ms, arena *memory, Interlock__Graph__V1__RootCauseResponse **out,
                            failure *why) MUST_USE;

#endif
