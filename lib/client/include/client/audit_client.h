/* Typed calls of the audit service. */
#ifndef CLIENT_AUDIT_CLIENT_H
#define CLIENT_AUDIT_CLIENT_H

#include "base/chance.h"
#include "interlock/audit/v1/gist.pb-c.h"
#include "rpc/client.h"

/* ---- Append, streamed: one appender a loop. What arrives while a message is on its way goes out together
 * (at most 64 a message). A broken stream is opened again and what has no answer is sent again, unchanged
 * (Append is idempotent). All functions and callbacks on the loop's thread. */
typedef struct audit_appender audit_appender;

/* code OK: `response` has a packed receipt, a conflict or a refusal (valid during the call). UNAVAILABLE,
 * reason
 * UNKNOWN_RESULT: no answer by the deadline; it may or may not be in the log, so send it again unchanged,
 * later. */
typedef void (*audit_appended)(void *context, status_code code,
                               const Interlock__Audit__V1__AppendGist *response, const failure *why);

status_code audit_appender_open(audit_appender **out, rpc_loop *loop, rpc_channel *channel,
                                const chance *source, failure *why) MUST_USE;
/* What is pending ends with CANCELLED. On the loop's thread, or after the loop has stopped. */
void audit_appender_close(audit_appender *self);
/* Packs the request at once. At most 4096 pending: RESOURCE_EXHAUSTED. */
status_code audit_appender_append(audit_appender *self, const Interlock__Audit__V1__AppendRequest *request,
                                  uint64_t deadline_boot_ns, audit_appended done, void *context,
                                  failure *why) MUST_USE;

/* ---- Tail, followed on a thread of its own: reconnects with backoff, never skips, never repeats what
 * `entries` took. */
typedef struct audit_follower audit_follower;

/* May block. Returns false to stop for good (a fatal error of the caller's). Called with an empty message
 * when up to date. */
typedef bool (*audit_entries)(void *context, const Interlock__Audit__V1__TailResponse *batch);

status_code audit_follower_start(audit_follower **out, rpc_channel *channel, uint64_t from_index,
                                 audit_entries entries, void *context, failure *why) MUST_USE;
/* The same without the records of actions: for those who keep only what is where. */
status_code audit_follower_start_light(audit_follower **out, rpc_channel *channel, uint64_t from_index,
                                       audit_entries entries, void *context, failure *why) MUST_USE;
void audit_follower_stop(audit_follower *self); /* takes NULL; joins, within 2 s */

/* ---- Blocking calls; answers are in the arena. */
status_code audit_append_wait(rpc_channel *channel, const Interlock__Audit__V1__AppendRequest *request,
                              uint32_t timeout_ms, arena *memory, Interlock__Audit__V1__AppendResponse **out,
                              failure *why) MUST_USE;
status_code audit_get_proof_wait(rpc_channel *channel, const Interlock__Audit__V1__GetProofRequest *request,
                                 uint32_t timeout_ms, arena *memory,
                                 Interlock__Audit__V1__GetProofResponse **out, failure *why) MUST_USE;
status_code audit_query_wait(rpc_channel *channel, const Interlock__Audit__V1__QueryRequest *request,
                             uint32_t timeout_ms, arena *memory, Interlock__Audit__V1__QueryResponse **out,
                             failure *why) MUST_USE;
status_code audit_verify_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                              Interlock__Audit__V1__VerifyResponse **out, failure *why) MUST_USE;

#endif
