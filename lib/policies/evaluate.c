/* Deciding. Which rules speak is found by the index; how they combine does not depend on their order
 * (policies.h). */
#include <string.h>

#include "match.h"

#define TOTAL_COST 200000U /* of all conditions of one evaluation */
#define HIT_PROBABILITY 0.1

static const char *const OUTCOMES[] = {"", "ALLOW", "MODIFY", "REVIEW", "DEFER", "DENY"};
static const char *const REASONS[] = {"PERMITTED",        "NARROWED",          "NEEDS_APPROVAL",
                                      "DEFERRED_BY_RULE", "FACT_UNKNOWN",      "FORBIDDEN",
                                      "RULE_FAILED",      "NOTHING_PERMITTED", "OVER_BOUND"};
static const char *const EFFECTS[] = {"permit", "forbid", "review", "narrow", "defer", "warn"};
static const char *const SEVERITIES[] = {"info", "low", "medium", "high", "critical"};
static const char *const STAGES[] = {"advisory", "constrained", "green-path"};
static const char *const BOUNDS[] = {"entry_traffic", "targets", "affected", "percent", "replicas"};
static const char *const STATES[] = {"holds", "unknown", "failed", "condition false", "no match"};

#define NAME_OF(names, value)                                                                                \
    ((size_t)(value) < sizeof(names) / sizeof *(names) ? (names)[(size_t)(value)] : "")

const char *policy_outcome_name(policy_outcome outcome) {
    return NAME_OF(OUTCOMES, outcome);
}
const char *policy_reason_name(policy_reason reason) {
    return NAME_OF(REASONS, reason);
}
const char *policy_effect_name(policy_effect effect) {
    return NAME_OF(EFFECTS, effect);
}
const char *policy_severity_name(policy_severity severity) {
    return NAME_OF(SEVERITIES, severity);
}
const char *policy_stage_name(policy_stage stage) {
    return NAME_OF(STAGES, stage);
}
const char *policy_bound_name(policy_bound_kind kind) {
    return NAME_OF(BOUNDS, kind);
}
const char *policy_state_name(policy_state state) {
    return NAME_OF(STATES, state);
}

policy_stage policies_stage(const policy_set *set, const policy_target *targets, size_t count) {
    policy_stage lowest = POLICY_STAGE_GREEN_PATH;
    for (size_t i = 0; i < count; i++) {
        policy_stage stage = POLICY_STAGE_ADVISORY;
        bool named = false;
        for (size_t s = 0; s < set->stage_count; s++) {
            const policy_stage_rule *rule = &set->stages[s];
            if ((named && rule->stage >= stage) || !policy_patterns_match(&rule->targets, targets[i].name))
                continue;
            stage = rule->stage;
            named = true;
        }
        lowest = stage < lowest ? stage : lowest;
    }
    return count == 0 ? POLICY_STAGE_ADVISORY : lowest;
}

/* ---- one rule ---- */

static const char *error_text(frame *self, const cel_program *program, cel_value error) {
    failure why = {0};
    (void)cel_error_describe(program, error, &why);
    const char *copy = arena_text(self->memory, why.message);
    return copy == NULL ? "cannot be evaluated" : copy;
}

static void judge_condition(frame *self, const policy_rule *rule, policy_finding *out, policy_result *sums) {
    uint64_t left = sums->cost >= TOTAL_COST ? 0 : TOTAL_COST - sums->cost;
    if (left == 0) {
        out->state = POLICY_FAILED;
        out->detail = "the rules that cover this action cost more than one evaluation may";
        return;
    }
    cel_run run = {.values = self->values,
                   .count = SLOT_COUNT,
                   .memory = self->memory,
                   .cost_limit = left < POLICIES_RULE_COST ? left : POLICIES_RULE_COST};
    cel_value value;
    status_code code = cel_evaluate(rule->program, &run, &value, NULL);
    sums->evaluated++;
    sums->cost += run.cost;
    if (code != STATUS_OK) {
        out->state = POLICY_FAILED;
        out->detail = "its condition costs more, or needs more memory, than one evaluation may";
    } else if (value.kind == CEL_BOOL) {
        out->state = value.boolean ? POLICY_HOLDS : POLICY_CONDITION_FALSE;
    } else if (value.kind == CEL_UNKNOWN) {
        out->state = POLICY_UNKNOWN;
        out->detail = value.text;
    } else {
        out->state = POLICY_FAILED;
        out->detail =
            value.kind == CEL_ERROR ? error_text(self, rule->program, value) : "yields no truth value";
    }
}

policy_finding rule_stand(frame *self, const policy_rule *rule, bool certain, policy_result *sums) {
    policy_finding out = {.rule = rule, .detail = ""};
    coverage covers = rule_cover(rule, self, certain);
    out.targets = covers.targets;
    if (covers.part != NULL) {
        out.state = POLICY_NO_MATCH;
        out.detail = covers.part;
        return out;
    }
    out.state = POLICY_HOLDS;
    if (rule->program != NULL)
        judge_condition(self, rule, &out, sums);
    /* A condition that is false settles it, whatever the match lacks. */
    if (covers.fact != NULL && out.state == POLICY_HOLDS) {
        out.state = POLICY_UNKNOWN;
        out.detail = covers.fact;
    }
    return out;
}

/* ---- all of them ---- */

/* What the findings come to, each member the gravest of its class. */
typedef struct verdicts {
    const policy_finding *forbidding, *failing, *unknown, *deferring, *reviewing, *permitting;
    uint64_t covered; /* targets that a permit or review covers */
} verdicts;

static void take_graver(const policy_finding **kept, const policy_finding *other) {
    /* Findings come sorted by name, so that the first of the same severity stays. */
    if (*kept == NULL || other->rule->severity > (*kept)->rule->severity)
        *kept = other;
}

static void intersect(policy_bounds *into, const policy_rule *rule) {
    for (size_t i = 0; i < POLICY_BOUND_COUNT; i++) {
        const policy_bound *bound = &rule->bounds.of[i];
        if (bound->stated && (!into->of[i].stated || bound->most < into->of[i].most))
            into->of[i] = (policy_bound){true, bound->most, rule};
    }
}

static void take_holding(verdicts *self, const policy_finding *finding) {
    switch (finding->rule->effect) {
    case POLICY_EFFECT_FORBID:
        take_graver(&self->forbidding, finding);
        break;
    case POLICY_EFFECT_DEFER:
        take_graver(&self->deferring, finding);
        break;
    case POLICY_EFFECT_REVIEW:
        take_graver(&self->reviewing, finding);
        self->covered |= finding->targets;
        break;
    case POLICY_EFFECT_PERMIT:
        take_graver(&self->permitting, finding);
        self->covered |= finding->targets;
        break;
    default:
        break;
    }
}

static void take_finding(verdicts *self, const policy_finding *finding, policy_bounds *bounds) {
    bool warns = finding->rule->effect == POLICY_EFFECT_WARN;
    if (finding->state == POLICY_HOLDS) {
        take_holding(self, finding);
        intersect(bounds, finding->rule);
    } else if (finding->state == POLICY_UNKNOWN && !warns) {
        take_graver(&self->unknown, finding);
    } else if (finding->state == POLICY_FAILED && !warns) {
        take_graver(&self->failing, finding);
    }
}

/* ---- bounds ---- */

/* Above the bound, or not a number. */
static bool over(const policy_bound *bound, double value) {
    return bound->stated && !(value <= bound->most);
}

static double traffic_of(const policy_impact_facts *impact) {
    bool sane = impact->low >= 0 && impact->low <= impact->expected && impact->expected <= impact->high &&
                impact->high <= 1;
    return sane ? impact->high : 1;
}

static double affected_of(const policy_impact_facts *impact) {
    double count = 0;
    for (size_t i = 0; i < impact->affected_count; i++)
        count += impact->affected[i].probability < HIT_PROBABILITY ? 0 : 1;
    return count;
}

/* The first bound that does not hold; false when all do. *fact is set when that cannot be told. */
static bool over_bounds(const policy_facts *facts, policy_result *out) {
    const policy_bound *of = out->bounds.of;
    if (over(&of[POLICY_BOUND_TARGETS], (double)facts->target_count)) {
        out->over = POLICY_BOUND_TARGETS;
        return true;
    }
    if (facts->impact.known && over(&of[POLICY_BOUND_ENTRY_TRAFFIC], traffic_of(&facts->impact))) {
        out->over = POLICY_BOUND_ENTRY_TRAFFIC;
        return true;
    }
    /* A list that is not whole can show that there are too many, never that there are not. */
    if (of[POLICY_BOUND_AFFECTED].stated && facts->impact.known &&
        over(&of[POLICY_BOUND_AFFECTED], affected_of(&facts->impact))) {
        out->over = POLICY_BOUND_AFFECTED;
        return true;
    }
    if (!facts->impact.known && of[POLICY_BOUND_ENTRY_TRAFFIC].stated)
        out->fact = "impact.entry_traffic";
    else if ((!facts->impact.known || facts->impact.affected_incomplete) && of[POLICY_BOUND_AFFECTED].stated)
        out->fact = "impact.affected";
    return false;
}

/* What is not stated reaches everything. */
static bool narrows(const policy_facts *facts, const policy_bounds *bounds) {
    const policy_bound *percent = &bounds->of[POLICY_BOUND_PERCENT];
    const policy_bound *replicas = &bounds->of[POLICY_BOUND_REPLICAS];
    double reach = facts->action.percent > 0 ? facts->action.percent : 100;
    return over(percent, reach) ||
           (replicas->stated && (facts->action.replicas == 0 || over(replicas, facts->action.replicas)));
}

/* ---- the outcome ---- */

static void conclude(policy_result *out, policy_outcome outcome, policy_reason reason,
                     const policy_finding *decisive) {
    out->outcome = outcome;
    out->reason = reason;
    out->decisive = decisive;
}

static const char *first_target(const policy_facts *facts, uint64_t targets) {
    for (size_t i = 0; i < facts->target_count && i < POLICIES_TARGETS; i++)
        if ((targets & (1ULL << i)) != 0)
            return facts->targets[i].name;
    return "";
}

/* The rule whose bound is not kept; in the result, its finding. */
static const policy_finding *finding_of(const policy_result *out, const policy_rule *rule) {
    for (size_t i = 0; i < out->finding_count; i++)
        if (out->findings[i].rule == rule)
            return &out->findings[i];
    return NULL;
}

static void judge_permitted(const policy_facts *facts, const verdicts *all, policy_result *out) {
    bool refused = over_bounds(facts, out);
    if (out->fact[0] != '\0')
        conclude(out, POLICY_DEFER, POLICY_FACT_UNKNOWN, NULL);
    else if (refused)
        conclude(out, POLICY_DENY, POLICY_OVER_BOUND, finding_of(out, out->bounds.of[out->over].rule));
    else if (all->reviewing != NULL)
        conclude(out, POLICY_REVIEW, POLICY_NEEDS_APPROVAL, all->reviewing);
    else if (narrows(facts, &out->bounds))
        conclude(out, POLICY_MODIFY, POLICY_NARROWED, all->permitting);
    else
        conclude(out, POLICY_ALLOW, POLICY_PERMITTED, all->permitting);
}

static void judge(const policy_facts *facts, const verdicts *all, policy_result *out) {
    size_t count = facts->target_count;
    uint64_t every = count >= 64 ? UINT64_MAX : (1ULL << count) - 1;
    if (all->forbidding != NULL) {
        conclude(out, POLICY_DENY, POLICY_FORBIDDEN, all->forbidding);
        out->target = first_target(facts, all->forbidding->targets);
    } else if (all->failing != NULL) {
        conclude(out, POLICY_DENY, POLICY_RULE_FAILED, all->failing);
    } else if (all->unknown != NULL) {
        conclude(out, POLICY_DEFER, POLICY_FACT_UNKNOWN, all->unknown);
        out->fact = all->unknown->detail;
    } else if (all->deferring != NULL) {
        conclude(out, POLICY_DEFER, POLICY_DEFERRED_BY_RULE, all->deferring);
    } else if (count == 0 || count > POLICIES_TARGETS || (all->covered & every) != every) {
        conclude(out, POLICY_DENY, POLICY_NOTHING_PERMITS, NULL);
        out->target = first_target(facts, every & ~all->covered);
    } else {
        judge_permitted(facts, all, out);
    }
}

static size_t count_bits(const uint64_t *words, size_t count) {
    size_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits += (size_t)__builtin_popcountll(words[i]);
    return bits;
}

typedef struct marks {
    uint64_t *may, *does;
    size_t words;
} marks;

static void stand_all(frame *self, const policy_set *set, const marks *found, policy_finding *findings,
                      policy_result *out) {
    bool single = self->facts->target_count == 1;
    for (size_t w = 0; w < found->words; w++)
        for (uint64_t bits = found->may[w]; bits != 0; bits &= bits - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(bits);
            bool certain = single && (found->does[w] >> bit & 1) != 0;
            policy_finding made = rule_stand(self, &set->rules[64 * w + bit], certain, out);
            if (made.state < POLICY_CONDITION_FALSE)
                findings[out->finding_count++] = made;
        }
    out->findings = findings;
}

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_MEMORY",
                "no memory left for judging the action by the policies");
}

status_code policies_evaluate(const policy_set *set, const policy_facts *facts, arena *memory,
                              policy_result *out, failure *why) {
    marks found = {.words = index_words(set)};
    frame *view = arena_alloc(memory, sizeof *view);
    found.may = arena_zero(memory, 2 * found.words + 1, sizeof *found.may);
    if (view == NULL || found.may == NULL)
        return no_memory(why);
    found.does = found.may + found.words;
    frame_init(view, set, facts, memory);
    index_find(owned(set)->index, facts, found.may, found.does);
    size_t most = count_bits(found.may, found.words);
    policy_finding *findings = arena_alloc(memory, (most + 1) * sizeof *findings);
    if (findings == NULL)
        return no_memory(why);
    policy_result result = {.target = "", .fact = "", .stage = view->stage};
    stand_all(view, set, &found, findings, &result);
    verdicts all = {0};
    for (size_t i = 0; i < result.finding_count; i++)
        take_finding(&all, &result.findings[i], &result.bounds);
    judge(facts, &all, &result);
    *out = result;
    return STATUS_OK;
}
