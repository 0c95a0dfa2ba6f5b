/* Typed calls of the graph's ChangeService. Blocking; answers are in the arena. */
#ifndef CLIENT_CHANGES_CLIENT_H
#define CLIENT_CHANGES_CLIENT_H

#include "interlock/graph/v1/changes.pb-c.h"
#include "rpc/client.h"

status_code changes_send_events_wait(rpc_channel *channel,
                                     const Interlock__Graph__V1__SendEventsRequest *request,
                                     uint32_t timeout_ms, arena *memory,
                                     Interlock__Graph__V1__SendEventsResponse **out, failure *why) MUST_USE;
status_code changes_send_objects_wait(rpc_channel *channel,
                                      const Interlock__Graph__V1__SendObjectsRequest *request,
                                      uint32_t timeout_ms, arena *memory,
                                      Interlock__Graph__V1__SendObjectsResponse **out, failure *why) MUST_USE;
status_code changes_declare_wait(rpc_channel *channel,
                                 const Interlock__Graph__V1__ApplyDeclarationsRequest *request,
                                 uint32_t timeout_ms, arena *memory,
                                 Interlock__Graph__V1__ApplyDeclarationsResponse **out,
                                 failure *why) MUST_USE;
status_code changes_drift_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                               Interlock__Graph__V1__GetDriftResponse **out, failure *why) MUST_USE;

#endif
