/* What two policy sets say differently, document by document and member by member. Pure. */
#ifndef CLI_POLICY_DIFFERENCE_H
#define CLI_POLICY_DIFFERENCE_H

#include "base/arena.h"
#include "policies/policies.h"

typedef enum difference_sign { DIFFERENCE_ADDED, DIFFERENCE_REMOVED, DIFFERENCE_CHANGED } difference_sign;

typedef struct policy_difference {
    difference_sign sign;
    const char *kind; /* "Policy", "Quorum", "RateLimit", "Stage", "Zone", "PolicySet" */
    const char *name;
    const char *member;         /* "condition", …; "" for a whole document */
    const char *before, *after; /* as people read them; "" for none */
} policy_difference;

typedef struct policy_differences {
    policy_difference *items;
    size_t count;
} policy_differences;

/* Sorted by kind, then name. Everything is in `memory` or belongs to the sets. */
status_code policy_differences_find(const policy_set *before, const policy_set *after, arena *memory,
                                    policy_differences *out, failure *why) MUST_USE;

#endif
