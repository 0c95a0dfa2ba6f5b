/* What the rate limits of a policy set charge an action with: counters of the log, which alone can count
 * exactly over all replicas. Charged with the record that opens the action, once. Pure; thread-safe. */
#ifndef POLICY_RATE_LIMITS_H
#define POLICY_RATE_LIMITS_H

#include "decide.h"

#define LIMITS_COUNTERS 16U /* the log takes no more with a record */

/* The counters of all limits that cover the action, in the arena; *count may be above LIMITS_COUNTERS, and
 * then they cannot be charged. False without memory. */
bool limits_counters(const decision_facts *facts, arena *memory, Interlock__Audit__V1__Counter ***out,
                     size_t *count) MUST_USE;

#endif
