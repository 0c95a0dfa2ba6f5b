/* Typed calls of the memory service. Blocking, never on a loop thread; answers are in the arena. Thread-safe.
 * All methods are idempotent: after UNAVAILABLE or DEADLINE_EXCEEDED send the same again. */
#ifndef CLIENT_MEMORY_CLIENT_H
#define CLIENT_MEMORY_CLIENT_H

#include "interlock/memory/v1/memory.pb-c.h"
#include "rpc/client.h"

/* `outcome` is an envelope of type PAYLOAD_OUTCOME. */
status_code memory_record_outcome_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *outcome,
                                       uint32_t timeout_ms, arena *memory,
                                       Interlock__Memory__V1__RecordOutcomeResponse **out,
                                       failure *why) MUST_USE;

/* `chain` is an envelope of type PAYLOAD_CHAIN. */
status_code memory_confirm_chain_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *chain,
                                      uint32_t timeout_ms, arena *memory,
                                      Interlock__Memory__V1__ConfirmChainResponse **out,
                                      failure *why) MUST_USE;

status_code memory_recall_wait(rpc_channel *channel, const Interlock__Memory__V1__RecallRequest *request,
                               uint32_t timeout_ms, arena *memory,
                               Interlock__Memory__V1__RecallResponse **out, failure *why) MUST_USE;

#endif
