/* The past, as if agents had proposed it: changes and incidents in, and what a policy set would have made of
 * them out. Pure: reading events, attributing incidents to changes, judging, counting. */
#ifndef CLI_BACKTEST_H
#define CLI_BACKTEST_H

#include "base/arena.h"
#include "base/bytes.h"
#include "policies/policies.h"

#define BACKTEST_EVENTS_MAX 1000000U
#define BACKTEST_INCIDENTS_MAX 20000U
#define BACKTEST_TARGETS_MAX 64U
#define BACKTEST_NONE SIZE_MAX
#define BACKTEST_HIT 0.1 /* a node that a change hits at least so probably can be how its incident shows */

typedef struct backtest_change {
    const char *id, *node, *title, *verb, *version;
    int64_t time_ms;
    const char **services;
    size_t service_count;
    policy_facts facts;
    /* Judged: */
    policy_outcome outcome;
    policy_reason reason;
    const policy_rule *rule; /* by which; NULL when nothing permits */
    const char *message;
    const char *detail; /* "lacks impact.entry_traffic", or how the rule's condition failed; "" otherwise */
    size_t incident_count; /* that it is taken to have caused */
} backtest_change;

typedef struct backtest_incident {
    const char *name, *title, *severity;
    int64_t opened_ms, resolved_ms; /* resolved 0: not known */
    const char **affected, **caused_by;
    size_t affected_count, caused_by_count;
    size_t cause;  /* a change; BACKTEST_NONE when none is found */
    bool presumed; /* by time and place alone: the event does not say */
} backtest_incident;

typedef struct backtest_rule {
    uint64_t held, decisive; /* decisive: of a change that did not come out as ALLOW */
    uint64_t prevented;      /* incidents whose cause it refused */
    uint64_t false_alarms;   /* refusals after which nothing happened */
} backtest_rule;

typedef struct backtest_totals {
    uint64_t by_outcome[6]; /* by policy_outcome */
    uint64_t with_cause, presumed;
    uint64_t prevented;    /* the cause is refused */
    uint64_t held;         /* it waits for people or facts: REVIEW, DEFER */
    uint64_t narrowed;     /* it runs smaller */
    uint64_t missed;       /* it runs */
    uint64_t false_alarms; /* refused changes that caused nothing */
    uint64_t quiet_waits;  /* REVIEW and DEFER of changes that caused nothing */
} backtest_totals;

typedef struct backtest {
    arena *memory;
    backtest_change *changes; /* by time */
    size_t change_count, change_room;
    backtest_incident *incidents; /* by time of opening */
    size_t incident_count, incident_room;
    uint64_t ignored;       /* events of other types */
    int64_t from_ms, to_ms; /* of the events */
    backtest_rule *rules;   /* in the set's order */
    backtest_rule nothing;  /* "nothing permits it" */
    backtest_totals totals;
} backtest;

void backtest_init(backtest *self, arena *memory);

/* CloudEvents in JSON: an array, or one after the other (lines). Types of docs/graph.md: interlock.deploy,
 * .config, .flag, .incident.*. Beside what the graph reads, a change may state data.verb and an incident
 * data.caused_by (ids of events or names of nodes). INVALID_ARGUMENT with file, line and what is wrong. May
 * be called for several files, then backtest_sort once. */
status_code backtest_read(backtest *self, const char *file, bytes text, failure *why) MUST_USE;
void backtest_sort(backtest *self);

/* The impact of each change is in its facts, where one is known. `window_ms`: how long after a change an
 * incident can be its. */
void backtest_attribute(backtest *self, int64_t window_ms);

/* Judges every change in the order of time: history facts are what was known by then. `each` is called after
 * each change (NULL: not at all). */
status_code backtest_judge(backtest *self, const policy_set *set, void (*each)(void *context, size_t done),
                           void *context, failure *why) MUST_USE;

#endif
