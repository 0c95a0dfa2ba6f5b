/* Policy documents: YAML in, an immutable set out, and decisions by it. What the documents say is in
 * docs/policy.md and docs/policy.schema.json.
 *
 *     policy_source sources[] = {{"shop.yaml", text}};
 *     policy_set *set = NULL;
 *     policy_problems problems = {0};
 *     if (policies_load(sources, 1, &memory, &set, &problems, &why) != STATUS_OK)
 *         …                                              // every problem with file, line and column
 *     policy_result result;
 *     if (policies_evaluate(set, &facts, &scratch, &result, &why) == STATUS_OK)
 *         …                                              // result.outcome, .reason, .findings, .bounds
 *     policies_unref(set);
 *
 * How rules combine, whatever their order (rules are kept sorted by name): the bounds of every rule that
 * holds are intersected first; then
 *
 *     a forbid rule holds, or a rule cannot be evaluated     DENY     FORBIDDEN, RULE_FAILED
 *     a fact that a rule needs is absent, or a defer rule holds   DEFER   FACT_UNKNOWN, DEFERRED_BY_RULE
 *     a target that no permit or review rule covers          DENY     NOTHING_PERMITS
 *     the bounds do not hold                                 DENY     OVER_BOUND (DEFER, FACT_UNKNOWN without
 * an impact) a review rule holds                                    REVIEW   NEEDS_APPROVAL the bounds are
 * narrower than what was asked for        MODIFY   NARROWED else ALLOW    PERMITTED
 *
 * Thread-safety: a set is immutable and counted, any number of threads evaluate it. Links base and cel, knows
 * no gRPC. */
#ifndef POLICIES_POLICIES_H
#define POLICIES_POLICIES_H

#include "base/arena.h"
#include "base/bytes.h"
#include "cel/program.h"
#include "policies/facts.h"

#define POLICIES_TEXT_BYTES (16U << 20) /* all sources together */
#define POLICIES_RULES 20000U
#define POLICIES_OTHERS 4096U /* stages, quorums, rate limits, zones, each */
#define POLICIES_PATTERNS 64U /* entries of a list in a document */
#define POLICIES_PROBLEMS 100U
#define POLICIES_NAME_BYTES 128U
#define POLICIES_MESSAGE_BYTES 512U
#define POLICIES_CONDITION_BYTES 16384U
#define POLICIES_RULE_COST 20000U /* of one condition, in units of lib/cel; about a millisecond */
#define POLICIES_TARGETS 64U

/* The numbers of interlock.policy.v1.Outcome. */
typedef enum policy_outcome {
    POLICY_ALLOW = 1,
    POLICY_MODIFY = 2,
    POLICY_REVIEW = 3,
    POLICY_DEFER = 4,
    POLICY_DENY = 5,
} policy_outcome;

typedef enum policy_reason {
    POLICY_PERMITTED,
    POLICY_NARROWED,
    POLICY_NEEDS_APPROVAL,
    POLICY_DEFERRED_BY_RULE,
    POLICY_FACT_UNKNOWN,
    POLICY_FORBIDDEN,
    POLICY_RULE_FAILED,
    POLICY_NOTHING_PERMITS,
    POLICY_OVER_BOUND,
} policy_reason;

typedef enum policy_effect {
    POLICY_EFFECT_PERMIT,
    POLICY_EFFECT_FORBID,
    POLICY_EFFECT_REVIEW, /* permits once its quorum has approved */
    POLICY_EFFECT_NARROW, /* permits nothing, bounds what others permit */
    POLICY_EFFECT_DEFER,
    POLICY_EFFECT_WARN, /* a finding, no outcome */
} policy_effect;

typedef enum policy_severity {
    POLICY_SEVERITY_INFO,
    POLICY_SEVERITY_LOW,
    POLICY_SEVERITY_MEDIUM, /* when a document does not say */
    POLICY_SEVERITY_HIGH,
    POLICY_SEVERITY_CRITICAL,
} policy_severity;

/* The stage of a service, lowest first. What no Stage document names is advisory. */
typedef enum policy_stage {
    POLICY_STAGE_ADVISORY,
    POLICY_STAGE_CONSTRAINED,
    POLICY_STAGE_GREEN_PATH,
} policy_stage;

/* "ALLOW", "NOTHING_PERMITTED", "permit", "critical", "green-path", …; never NULL. */
const char *policy_outcome_name(policy_outcome outcome);
const char *policy_reason_name(policy_reason reason);
const char *policy_effect_name(policy_effect effect);
const char *policy_severity_name(policy_severity severity);
const char *policy_stage_name(policy_stage stage);

typedef struct policy_patterns {
    const char *const *items; /* "*" stands for any run of characters */
    size_t count;
} policy_patterns;

/* One selector of spec.match.targets: all of its stated parts hold for one target. */
typedef struct policy_selector {
    const char *name; /* pattern over the node's name; "*" when not stated */
    policy_patterns kinds, environments, namespaces, zones, owners;
    uint32_t tiers;            /* bit n - 1: tier n, 1 to 32; 0: any */
    const policy_pair *labels; /* values are patterns */
    size_t label_count;
} policy_selector;

/* Days and times of day in a time zone: the rule speaks only within. */
typedef struct policy_window policy_window;

/* The most that may be. A member that is not stated bounds nothing. The first three are judged (over:
 * refused), the last two narrow the action (MODIFY). */
typedef enum policy_bound_kind {
    POLICY_BOUND_ENTRY_TRAFFIC, /* 0 to 1: the upper end of the predicted share */
    POLICY_BOUND_TARGETS,       /* how many targets */
    POLICY_BOUND_AFFECTED,      /* how many nodes it would hit with probability 0.1 or more */
    POLICY_BOUND_PERCENT,       /* 0 to 100, of how far it reaches */
    POLICY_BOUND_REPLICAS,
    POLICY_BOUND_COUNT,
} policy_bound_kind;

typedef struct policy_rule policy_rule;

typedef struct policy_bound {
    bool stated;
    double most;
    const policy_rule *rule; /* whose it is; of several with the same, the first by name */
} policy_bound;

typedef struct policy_bounds {
    policy_bound of[POLICY_BOUND_COUNT];
} policy_bounds;

/* "entry_traffic", "targets", "affected", "percent", "replicas". */
const char *policy_bound_name(policy_bound_kind kind);

/* One Policy document. */
struct policy_rule {
    const char *name;        /* unique in the set */
    const char *description; /* "" when not stated */
    const char *file;
    uint32_t line;
    uint32_t index; /* in the set */
    policy_effect effect;
    policy_severity severity;
    const char *quorum;    /* of a review rule; "" otherwise */
    const char *message;   /* the template as written; "" when not stated */
    const char *condition; /* the CEL text; "" when the rule always holds */
    uint32_t condition_line, condition_column;
    policy_patterns verbs, agents, models; /* no agents, no models: any */
    const policy_selector *targets;
    size_t target_count;
    const policy_window *windows;
    size_t window_count;
    policy_bounds bounds;
    const cel_program *program;         /* NULL without a condition */
    const struct policy_message *parts; /* the template, compiled */
};

/* "fri 16:00-24:00 Europe/Berlin; sat sun 00:00-24:00 Europe/Berlin"; nothing without windows. */
void policy_windows_print(const policy_rule *rule, buffer *out);

typedef struct policy_quorum_group {
    const char *name;
    policy_patterns members; /* over principals */
    uint32_t at_least;
} policy_quorum_group;

/* One Quorum document: every group must be met. */
typedef struct policy_quorum {
    const char *name, *file;
    uint32_t line;
    const policy_quorum_group *groups;
    size_t group_count;
    uint32_t humans;         /* at least so many of all votes */
    uint32_t model_families; /* at least so many among the agents' */
    uint64_t expires_s;
    policy_patterns veto; /* whose refusal ends it */
} policy_quorum;

typedef struct policy_rate_limit {
    const char *name, *file;
    uint32_t line;
    policy_patterns verbs, targets, agents; /* no agents: any */
    bool per_target, per_verb, per_agent;
    uint32_t most;
    uint64_t window_s;
} policy_rate_limit;

typedef struct policy_stage_rule {
    const char *name, *file;
    uint32_t line;
    policy_patterns targets;
    policy_stage stage;
} policy_stage_rule;

typedef struct policy_zone {
    const char *name, *file;
    uint32_t line;
    policy_patterns targets;
    policy_patterns reaches; /* zones that its members may reach without approval */
} policy_zone;

typedef struct policy_set {
    const char *name; /* of the PolicySet document */
    uint64_t version;
    const char *description;
    const char *file;
    policy_rule *rules; /* sorted by name */
    size_t rule_count;
    const policy_quorum *quorums;
    size_t quorum_count;
    const policy_rate_limit *rate_limits;
    size_t rate_limit_count;
    const policy_stage_rule *stages;
    size_t stage_count;
    const policy_zone *zones;
    size_t zone_count;
} policy_set;

/* ---- loading ---- */

typedef struct policy_source {
    const char *file; /* for messages; the base name is enough */
    bytes text;       /* a YAML stream of documents */
} policy_source;

typedef enum policy_gravity { POLICY_ERROR, POLICY_WARNING } policy_gravity;

typedef struct policy_problem {
    policy_gravity gravity;
    const char *reason; /* UPPER_SNAKE_CASE, static */
    const char *file;
    uint32_t line, column; /* from 1; 0: of the whole file */
    const char *rule;      /* name of the policy, "" when none is concerned */
    const char *message;   /* may have several lines: a condition's carries the source and a caret */
} policy_problem;

typedef struct policy_problems {
    policy_problem *items;
    size_t count; /* at most POLICIES_PROBLEMS; the last says when there were more */
} policy_problems;

/* INVALID_ARGUMENT, POLICY_INVALID with the problems (in `memory`; why->message is the first, with its
 * place); RESOURCE_EXHAUSTED, POLICY_TOO_LARGE. *set only on success, to be let go with policies_unref. */
status_code policies_load(const policy_source *sources, size_t count, arena *memory, policy_set **set,
                          policy_problems *problems, failure *why) MUST_USE;
policy_set *policies_ref(policy_set *self); /* takes NULL */
void policies_unref(policy_set *self);      /* takes NULL; the last one frees */

/* "shop.yaml:3:7: spec.effect must be …", a line (or several) each. */
void policy_problem_print(const policy_problem *self, buffer *out);

/* ---- deciding ---- */

/* How a rule stood, whose match covers the action. */
typedef enum policy_state {
    POLICY_HOLDS,
    POLICY_UNKNOWN, /* detail: the fact that is absent */
    POLICY_FAILED,  /* detail: the error of its condition */
    /* In explanations alone: */
    POLICY_CONDITION_FALSE,
    POLICY_NO_MATCH, /* detail: which part of its match: "verbs", "targets", "agents", "models", "windows" */
} policy_state;

const char *policy_state_name(policy_state state);

typedef struct policy_finding {
    const policy_rule *rule;
    policy_state state;
    uint64_t targets; /* bit i: it covers target i */
    const char *detail;
} policy_finding;

typedef struct policy_result {
    policy_outcome outcome;
    policy_reason reason;
    const policy_finding *decisive; /* the rule by which; of several the gravest, then the first by name; NULL
                                       when nothing permits */
    const char *target;     /* FORBIDDEN: one it covers; NOTHING_PERMITS: the first that nothing covers */
    const char *fact;       /* FACT_UNKNOWN: its name; "" otherwise */
    policy_bounds bounds;   /* of all rules that hold */
    policy_bound_kind over; /* OVER_BOUND: which */
    const policy_finding *findings; /* rules that hold, lack a fact or failed, sorted by name */
    size_t finding_count;
    policy_stage stage; /* the lowest of the targets */
    uint32_t evaluated; /* conditions */
    uint64_t cost;      /* theirs, in units of lib/cel */
} policy_result;

/* Memory comes from `memory`, which is not reset; with a warm arena nothing is allocated. Nothing fails but
 * memory: RESOURCE_EXHAUSTED, POLICY_MEMORY. */
status_code policies_evaluate(const policy_set *set, const policy_facts *facts, arena *memory,
                              policy_result *out, failure *why) MUST_USE;

/* What the rule says of this action: its template filled in, "" without one; facts that are absent read
 * "(unknown)". NULL without memory. */
const char *policies_message(const policy_rule *rule, const policy_set *set, const policy_facts *facts,
                             arena *memory);

/* The lowest stage of the targets. */
policy_stage policies_stage(const policy_set *set, const policy_target *targets, size_t count);

/* NULL when there is none of that name. */
const policy_rule *policies_find(const policy_set *set, const char *name);
const policy_quorum *policies_find_quorum(const policy_set *set, const char *name);

/* Wildcard matching: `*` any run of characters, `/` included; everything else itself. */
bool policy_pattern_matches(const char *pattern, const char *text);
bool policy_patterns_match(const policy_patterns *patterns, const char *text);

#endif
