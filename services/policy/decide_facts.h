/* What lib/policies judges by, out of what a decision rests on. */
#ifndef POLICY_DECIDE_FACTS_H
#define POLICY_DECIDE_FACTS_H

#include "decide.h"

/* Fills *out with views of the facts; what must be built is in the arena. `share` is the judged share of
 * entry traffic; NULL: no impact is to be had. False without memory. */
bool decide_policy_facts(const decision_facts *facts, const Interlock__Graph__V1__Share *share, arena *memory,
                         policy_facts *out) MUST_USE;

/* Who proposes: the model as enrolled, where the action does not state it. */
policy_agent_facts decide_agent_facts(const decision_facts *facts);

#endif
