/* Who may state an outcome, and whether a statement is one. Pure: keys and control data come in, a verdict
 * goes out. */
#ifndef MEMORY_OUTCOME_H
#define MEMORY_OUTCOME_H

#include "interlock/memory/v1/memory.pb-c.h"
#include "memory_store.h"
#include "signers.h"

#define OUTCOME_NOTE_BYTES 4096U

/* Checks the signature, by an operator's key of the trust file or an enrolled executor's, then the header,
 * the carrier and every field. The statement is in the arena. */
status_code outcome_verify(const signer_context *context, const rpc_peer *peer,
                           const Interlock__Common__V1__Envelope *envelope, arena *memory,
                           const Interlock__Memory__V1__ActionOutcome **out, failure *why) MUST_USE;

/* Checks it against the action that it speaks of: never the proposer, and exactly this action. */
status_code outcome_fits(const Interlock__Memory__V1__ActionOutcome *outcome, const memory_action *action,
                         failure *why) MUST_USE;

/* What an answer of audit means for the statement with this payload digest. */
typedef enum outcome_verdict {
    OUTCOME_RECORDED, /* *receipt is its receipt */
    OUTCOME_RETRY,    /* another record came first: expect *expect */
    OUTCOME_FAILED,   /* see the failure */
} outcome_verdict;
outcome_verdict outcome_judge(const Interlock__Audit__V1__AppendResponse *response, const uint8_t digest[32],
                              uint64_t expected, Interlock__Audit__V1__Receipt **receipt, uint64_t *expect,
                              failure *why);

#endif
