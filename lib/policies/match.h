/* Whether a rule's match covers an action. */
#ifndef POLICIES_MATCH_H
#define POLICIES_MATCH_H

#include "private.h"

typedef struct coverage {
    uint64_t targets; /* bit i: target i is covered */
    const char *part; /* of the match that does not hold: "verbs", "targets", …; NULL: it covers the action */
    const char *fact; /* absent, so that it cannot be told; NULL otherwise */
} coverage;

/* `certain`: verb and target 0, the only one, are known to be covered. */
coverage rule_cover(const policy_rule *rule, const frame *facts, bool certain);

#endif
