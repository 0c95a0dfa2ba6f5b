/* Reading single records back from the log, with a receipt that holds today. Blocking: for the lookup thread.
 */
#ifndef POLICY_LOG_FETCH_H
#define POLICY_LOG_FETCH_H

#include "interlock/audit/v1/audit.pb-c.h"
#include "rpc/client.h"

/* The entry at `index`, in the arena. NOT_FOUND, reason RECORD_NOT_FOUND, beyond the end. */
status_code log_fetch_entry(rpc_channel *audit, uint64_t index, arena *memory,
                            Interlock__Audit__V1__Entry **out, failure *why) MUST_USE;

/* The latest decision at or before `index` in its action's history, following previous_index. NOT_FOUND when
 * there is none. */
status_code log_fetch_decision(rpc_channel *audit, uint64_t index, arena *memory,
                               Interlock__Audit__V1__Entry **out, failure *why) MUST_USE;

/* A receipt for an entry against the latest checkpoint. */
status_code log_fetch_receipt(rpc_channel *audit, const Interlock__Audit__V1__Entry *entry, arena *memory,
                              Interlock__Audit__V1__Receipt **out, failure *why) MUST_USE;

#endif
