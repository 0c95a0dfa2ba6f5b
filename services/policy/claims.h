/* The claims of a permit, from the decision that allows it. The record holds them, so that the signer can
 * build the same permit at any time and only what the log says. Pure; thread-safe. */
#ifndef POLICY_CLAIMS_H
#define POLICY_CLAIMS_H

#include "decide.h"

/* Valid for LIMIT_PERMIT_LIFETIME_MS from the facts' `now_ms`, for the facts' executor. `effective` is the
 * digest of the action as it may run: that of the facts' action, unless it was narrowed. NULL without memory.
 */
Interlock__Policy__V1__PermitClaims *claims_new(const decision_facts *facts,
                                                const uint8_t effective[CRYPTO_HASH_BYTES], arena *memory);

#endif
