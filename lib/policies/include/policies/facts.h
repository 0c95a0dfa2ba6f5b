/* What a decision may rest on, as plain values: the host fills them in, policies read them by the names in
 * docs/policy.md
 * (`action.verb`, `impact.entry_traffic.high`, …). A fact that is absent is said to be so (`known` false, a
 * pointer NULL where the comment says so): a rule that reads it defers, with the fact's name. Nothing is
 * copied or freed here; everything must outlive the evaluation. Texts are UTF-8 and NUL-terminated. */
#ifndef POLICIES_FACTS_H
#define POLICIES_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct policy_pair {
    const char *name, *value;
} policy_pair;

typedef struct policy_pairs {
    bool known;
    const policy_pair *items;
    size_t count;
} policy_pairs;

typedef struct policy_texts {
    bool known;
    const char *const *items;
    size_t count;
} policy_texts;

/* The action as it was proposed. A NULL text reads as "": the action does not state it. */
typedef struct policy_action_facts {
    const char *id, *session_id, *verb, *intent, *harness, *on_behalf_of, *executor;
    const char *actor_kind; /* "agent", "human", "pipeline" */
    bool dry_run;
    const policy_pair *arguments;
    size_t argument_count;
    const char *change_kind; /* "diff", "sql", "manifest"; "" without a change */
    const char *change;
    double percent;    /* how far it reaches, 0 to 100; 0: not stated, which policies see as 100 */
    uint32_t replicas; /* 0: not stated */
    const char *region;
    const char *reversal_verb; /* "": irreversible */
    const policy_pair *reversal_arguments;
    size_t reversal_argument_count;
    const char *const *probes;
    size_t probe_count;
} policy_action_facts;

/* Whose signed identity it is. NULL reads as "". */
typedef struct policy_agent_facts {
    const char *principal; /* "agent/deployer" */
    const char *model_provider, *model_name, *model_version;
    const char *delegation_root;
} policy_agent_facts;

typedef struct policy_target {
    const char *name;  /* kind:environment/namespace/name */
    const char *zone;  /* NULL: not known; Zone documents of the set speak first */
    const char *owner; /* NULL: not known */
    uint32_t tier;     /* 1 is the most important; 0: not known */
    policy_pairs labels;
} policy_target;

typedef struct policy_affected {
    const char *name;
    double probability;
} policy_affected;

typedef struct policy_impact_facts {
    bool known;
    double expected, low, high; /* share of entry traffic, 0 to 1 */
    double observed_requests;
    const policy_affected *affected;
    size_t affected_count;
    bool affected_incomplete;      /* the list is not whole, and so reads as unknown */
    policy_texts journeys, owners; /* touched */
} policy_impact_facts;

/* What the change does to declared contracts. */
typedef struct policy_schema_facts {
    bool known;
    bool destructive; /* drops or rewrites data */
    bool breaking;    /* what a declared contract promises no longer holds */
    policy_texts statements;
} policy_schema_facts;

typedef struct policy_grant_facts {
    bool known;
    bool held;             /* a grant of this agent covers the action now */
    int64_t expires_at_ms; /* when held */
    uint32_t uses_left;    /* when held */
} policy_grant_facts;

/* Of similar actions: this verb on these targets. */
typedef struct policy_history_facts {
    bool known;
    uint32_t actions, succeeded, failed, reverted;
    int64_t last_incident_ms; /* on a target; 0: none is known of */
} policy_history_facts;

typedef struct policy_facts {
    policy_action_facts action;
    policy_agent_facts agent;
    const policy_target *targets; /* 1 to 64 */
    size_t target_count;
    policy_impact_facts impact;
    policy_schema_facts schema;
    policy_grant_facts grant;
    policy_history_facts history;
    const char *stage; /* NULL: what the set's Stage documents say of the targets */
    int64_t now_ms;    /* since 1970 */
} policy_facts;

#endif
