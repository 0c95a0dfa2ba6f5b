/* What the signer may sign: the claims of a decision that the log holds, and nothing it could have been told
 * otherwise. Pure: no clock, no key, no state; the same receipt and record always give the same bytes. */
#ifndef SIGNER_PERMIT_H
#define SIGNER_PERMIT_H

#include "base/arena.h"
#include "control/trust.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/policy/v1/gist.pb-c.h"
#include "merkle/note.h"

#define PERMIT_CLAIMS_BYTES 4096U

/* Numbers above 2^53 - 1 are not exact in every JSON reader. */
#define PERMIT_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/* That `record` is what stands at `receipt`'s index in the tree (whose checkpoint was verified before), that
 * the log says a permit may come of it, and that its claims agree with the leaf, the decision and the action
 * in it. On success *claims is in the arena. PERMISSION_DENIED with the reasons RECEIPT_MALFORMED,
 * NOT_IN_THE_LOG, LEAF_NOT_A_PERMIT, RECORD_MISMATCH, RECORD_SIGNER, RECORD_SIGNATURE, NOT_CANONICAL,
 * DECISION_NOT_A_PERMIT, CLAIMS_MISMATCH; the message says what. `verify_record` demands the record's
 * signature besides (see docs/decisions/0005-signer.md). */
status_code permit_check(const trust *roots, const checkpoint *tree,
                         const Interlock__Audit__V1__Receipt *receipt,
                         const Interlock__Common__V1__Envelope *record, bool verify_record, arena *memory,
                         const Interlock__Policy__V1__PermitClaims **claims, failure *why) MUST_USE;

/* The permit's payload: one JSON object, members in a fixed order. The claims were checked. */
void permit_claims_write(const Interlock__Policy__V1__PermitClaims *claims, uint64_t index, buffer *out);

#endif
