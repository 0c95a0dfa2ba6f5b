/* A confirmed chain of causes: whether a statement is one, and what its record in the log is. Pure. */
#ifndef MEMORY_CHAIN_H
#define MEMORY_CHAIN_H

#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "signers.h"

#define CHAIN_HOPS_MOST 32U
#define CHAIN_NOTE_BYTES 2048U
#define CHAIN_ID_BYTES 71U /* "chain:", 64 hex digits, NUL */

/* The signature, by an operator or an enrolled approver or agent, the header, the carrier and every field. */
status_code chain_verify(const signer_context *context, const rpc_peer *peer,
                         const Interlock__Common__V1__Envelope *envelope, arena *memory,
                         const Interlock__Graph__V1__CauseChain **out, failure *why) MUST_USE;

/* What the record is known by in the log: the same statement again meets itself. */
void chain_id(const Interlock__Common__V1__Envelope *envelope, char out[CHAIN_ID_BYTES]);

/* What audit's answer to its Append means. */
status_code chain_judge(const Interlock__Audit__V1__AppendResponse *response,
                        const Interlock__Common__V1__Envelope *envelope,
                        Interlock__Audit__V1__Receipt **receipt, failure *why) MUST_USE;

#endif
