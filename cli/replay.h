/* What another policy set would have decided: comparing, and counting what differs. Pure. */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include "policy_record.h"

#define REPLAY_OUTCOMES 6U

/* How one decision came out, or would have. */
typedef struct replay_outcome {
    policy_outcome outcome;
    const char *reason; /* static or the record's */
    const char *rule;   /* "" when no single rule decided */
} replay_outcome;

/* What was decided, as recorded. */
replay_outcome replay_recorded(const recorded_decision *decision);

/* What the set says of the same facts. What decided before policies (and what comes after them) stays. The
 * rule's name is the set's, `memory` is for the evaluation. */
status_code replay_evaluate(const policy_set *set, const recorded_decision *decision, arena *memory,
                            policy_result *result, replay_outcome *out, failure *why) MUST_USE;

/* Whether a person would call it another decision: the outcome differs. */
bool replay_differs(const replay_outcome *was, const replay_outcome *would);

typedef struct replay_tally {
    uint64_t decisions; /* that could be read */
    uint64_t changed;
    uint64_t elsewhere;      /* decided before any policy was asked: cannot change */
    uint64_t unreadable;     /* erased, or not to be read */
    uint64_t irreproducible; /* the set of then, on the recorded facts, says otherwise */
    uint64_t without_set;    /* the set of then is not in the log */
    uint64_t from_to[REPLAY_OUTCOMES][REPLAY_OUTCOMES]; /* by policy_outcome */
} replay_tally;

void replay_count(replay_tally *self, const replay_outcome *was, const replay_outcome *would);

/* What each rule of a set did over many decisions. */
typedef struct rule_tally {
    uint64_t matched;  /* its match covered the action */
    uint64_t held;     /* and its condition was true */
    uint64_t unknown;  /* it lacked a fact, or failed */
    uint64_t decisive; /* and the outcome was its */
} rule_tally;

/* `tallies` has one for each rule, in the set's order. */
void rules_count(rule_tally *tallies, const policy_result *result);

#endif
