/* See policies/check.h. "Covers" is judged by patterns alone: a pattern that matches another's text covers
 * all that the other one does, so that what is said to be shadowed is, while some of what is shadowed goes
 * unsaid. */
#include "policies/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* Facts that the policy service cannot give yet: what reads them defers. */
static const int NOT_PROVIDED[] = {SLOT_SCHEMA, SLOT_GRANT, SLOT_HISTORY};

typedef struct checker {
    const policy_set *set;
    const policy_check_options *options;
    arena *memory;
    policy_problems *out;
    uint64_t *may; /* scratch of index_words */
    bool *dead;    /* by rule: it can never speak, or a forbid rule has the last word */
    bool out_of_memory;
} checker;

static void tell(checker *self, policy_gravity gravity, const char *reason, const char *rule,
                 const char *file, uint32_t line, const char *format, ...) PRINTF_LIKE(7, 8);
static void tell(checker *self, policy_gravity gravity, const char *reason, const char *rule,
                 const char *file, uint32_t line, const char *format, ...) {
    if (self->out == NULL || self->out->count == POLICIES_PROBLEMS)
        return;
    char text[768];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *message = arena_text(self->memory, text);
    self->out_of_memory = self->out_of_memory || message == NULL;
    self->out->items[self->out->count++] = (policy_problem){.gravity = gravity,
                                                            .reason = reason,
                                                            .file = file,
                                                            .line = line,
                                                            .column = line == 0 ? 0 : 1,
                                                            .rule = rule,
                                                            .message = message == NULL ? "" : message};
}

static void tell_rule(checker *self, policy_gravity gravity, const char *reason, const policy_rule *rule,
                      const char *message) {
    tell(self, gravity, reason, rule->name, rule->file, rule->line, "%s", message);
}

/* ---- rules by themselves ---- */

static cel_value nothing_known(void *self, uint32_t slot) {
    (void)self;
    return cel_unknown(environment_roots[slot]);
}

/* What a condition yields whatever the facts are; unknown for most. */
static cel_value constant_of(const cel_program *program, arena *memory) {
    cel_run run = {.get = nothing_known, .memory = memory, .cost_limit = POLICIES_RULE_COST};
    cel_value value;
    return cel_evaluate(program, &run, &value, NULL) == STATUS_OK ? value : cel_unknown("");
}

/* A selector whose name and kinds cannot both hold. */
static bool selector_contradicts(const policy_selector *selector) {
    char kind[64];
    size_t size = strcspn(selector->name, ":*");
    if (selector->name[size] != ':' || selector->kinds.count == 0 || size >= sizeof kind)
        return false;
    memcpy(kind, selector->name, size);
    kind[size] = '\0';
    return !policy_patterns_match(&selector->kinds, kind);
}

static bool all_contradict(const policy_rule *rule) {
    for (size_t i = 0; i < rule->target_count; i++)
        if (!selector_contradicts(&rule->targets[i]))
            return false;
    return true;
}

static void check_alone(checker *self, const policy_rule *rule) {
    arena scratch;
    arena_init(&scratch, 4096, 1U << 20);
    cel_value constant = rule->program == NULL ? cel_bool(true) : constant_of(rule->program, &scratch);
    if (constant.kind == CEL_BOOL && !constant.boolean) {
        self->dead[rule->index] = true;
        tell_rule(self, POLICY_ERROR, "NEVER_HOLDS", rule,
                  "its condition is false whatever the facts are, so that it never speaks");
    } else if (constant.kind == CEL_ERROR) {
        self->dead[rule->index] =
            rule->effect == POLICY_EFFECT_PERMIT || rule->effect == POLICY_EFFECT_REVIEW;
        tell_rule(self, POLICY_ERROR, "ALWAYS_FAILS", rule,
                  "its condition fails whatever the facts are, and what it covers is refused");
    } else if (rule->program != NULL && constant.kind == CEL_BOOL) {
        tell_rule(self, POLICY_WARNING, "ALWAYS_HOLDS", rule,
                  "its condition is true whatever the facts are; leave it out");
    }
    arena_free(&scratch);
    if (all_contradict(rule)) {
        self->dead[rule->index] = true;
        tell_rule(self, POLICY_ERROR, "NEVER_HOLDS", rule,
                  "its targets' names and kinds contradict each other, so that it never speaks");
    }
    if (rule->program != NULL && cel_program_cost(rule->program).least > POLICIES_RULE_COST)
        tell_rule(self, POLICY_ERROR, "COSTLY", rule, "its condition costs more than one evaluation may");
}

static bool selects_by(const policy_rule *rule, const policy_set *set, const char **what) {
    *what = NULL;
    for (size_t i = 0; i < rule->target_count; i++) {
        const policy_selector *selector = &rule->targets[i];
        if (selector->owners.count > 0)
            *what = "targets.owner";
        else if (selector->tiers != 0)
            *what = "targets.tier";
        else if (selector->label_count > 0)
            *what = "targets.labels";
        else if (selector->zones.count > 0 && set->zone_count == 0)
            *what = "targets.zone";
    }
    return *what != NULL;
}

static void check_facts(checker *self, const policy_rule *rule) {
    const char *what = NULL;
    for (size_t i = 0; rule->program != NULL && i < sizeof NOT_PROVIDED / sizeof *NOT_PROVIDED; i++)
        if (cel_program_reads(rule->program, (uint32_t)NOT_PROVIDED[i]))
            what = environment_roots[NOT_PROVIDED[i]];
    if (what == NULL && !selects_by(rule, self->set, &what))
        return;
    tell(self, POLICY_WARNING, "FACT_NOT_PROVIDED", rule->name, rule->file, rule->line,
         "it reads %s, which the policy service does not know yet: what it covers is deferred%s", what,
         rule->effect == POLICY_EFFECT_WARN ? ", but not for a warning" : "");
}

/* ---- rules against each other ---- */

/* Speaks whenever its verbs, targets, agents and models match. */
static bool unconditional(const policy_rule *rule) {
    if (rule->program != NULL || rule->window_count > 0)
        return false;
    for (size_t i = 0; i < rule->target_count; i++) {
        const policy_selector *s = &rule->targets[i];
        if (s->kinds.count + s->environments.count + s->namespaces.count + s->zones.count + s->owners.count +
                    s->label_count >
                0 ||
            s->tiers != 0)
            return false;
    }
    return true;
}

static bool patterns_cover(const policy_patterns *wide, const policy_patterns *narrow) {
    for (size_t i = 0; i < narrow->count; i++)
        if (!policy_patterns_match(wide, narrow->items[i]))
            return false;
    return true;
}

static bool optional_cover(const policy_patterns *wide, const policy_patterns *narrow) {
    return wide->count == 0 || (narrow->count > 0 && patterns_cover(wide, narrow));
}

static bool targets_cover(const policy_rule *wide, const policy_rule *narrow) {
    for (size_t i = 0; i < narrow->target_count; i++) {
        bool covered = false;
        for (size_t j = 0; j < wide->target_count && !covered; j++)
            covered = policy_pattern_matches(wide->targets[j].name, narrow->targets[i].name);
        if (!covered)
            return false;
    }
    return true;
}

static bool match_covers(const policy_rule *wide, const policy_rule *narrow) {
    return patterns_cover(&wide->verbs, &narrow->verbs) && optional_cover(&wide->agents, &narrow->agents) &&
           optional_cover(&wide->models, &narrow->models) && targets_cover(wide, narrow);
}

/* `narrow` bounds nothing that `wide` does not bound as tightly. */
static bool bounds_cover(const policy_rule *wide, const policy_rule *narrow) {
    for (size_t i = 0; i < POLICY_BOUND_COUNT; i++) {
        const policy_bound *w = &wide->bounds.of[i], *n = &narrow->bounds.of[i];
        if (n->stated && (!w->stated || w->most > n->most))
            return false;
    }
    return true;
}

static bool adds_nothing(const policy_rule *wide, const policy_rule *narrow) {
    return wide->effect == narrow->effect && narrow->effect != POLICY_EFFECT_WARN &&
           strcmp(wide->quorum, narrow->quorum) == 0 && bounds_cover(wide, narrow);
}

/* Of two that cover each other, the first by name is the one that stays. */
static bool stays(const policy_rule *wide, const policy_rule *narrow) {
    return wide->index < narrow->index || !unconditional(narrow) || !match_covers(narrow, wide) ||
           !adds_nothing(narrow, wide);
}

/* True once something has been said of the rule. */
static bool check_pair(checker *self, const policy_rule *wide, const policy_rule *rule) {
    if (wide == rule || !unconditional(wide) || !match_covers(wide, rule))
        return false;
    if (wide->effect == POLICY_EFFECT_FORBID && rule->effect != POLICY_EFFECT_FORBID) {
        self->dead[rule->index] = self->dead[rule->index] || rule->effect == POLICY_EFFECT_PERMIT ||
                                  rule->effect == POLICY_EFFECT_REVIEW;
        tell(self, POLICY_WARNING, "SHADOWED", rule->name, rule->file, rule->line,
             "it never decides anything: %s (line %u) forbids all that it covers", wide->name, wide->line);
        return true;
    }
    if (!adds_nothing(wide, rule) || !stays(wide, rule))
        return false;
    tell(self, POLICY_WARNING, "DUPLICATE", rule->name, rule->file, rule->line,
         "it adds nothing: %s (line %u) covers all that it does, with the same effect", wide->name,
         wide->line);
    return true;
}

/* Rules that could cover this one cover its first target with its first verb, and so the index finds them. A
 * forbidding one is looked for first: it has the last word. */
static void check_others(checker *self, const policy_rule *rule) {
    if (rule->target_count == 0 || rule->verbs.count == 0)
        return;
    const policy_target target = {.name = rule->targets[0].name};
    const policy_facts facts = {
        .action = {.verb = rule->verbs.items[0]}, .targets = &target, .target_count = 1};
    size_t words = index_words(self->set);
    memset(self->may, 0, words * sizeof *self->may);
    index_find(owned(self->set)->index, &facts, self->may, NULL);
    for (int forbidding = 1; forbidding >= 0; forbidding--)
        for (size_t w = 0; w < words; w++)
            for (uint64_t bits = self->may[w]; bits != 0; bits &= bits - 1) {
                const policy_rule *wide = &self->set->rules[64 * w + (size_t)__builtin_ctzll(bits)];
                if ((wide->effect == POLICY_EFFECT_FORBID) == (forbidding != 0) &&
                    check_pair(self, wide, rule))
                    return;
            }
}

/* ---- quorums ---- */

static bool is_agent(const char *principal) {
    return strncmp(principal, "agent/", 6) == 0;
}

static bool may_vote(const char *principal) {
    return is_agent(principal) || strncmp(principal, "approver/", 9) == 0 ||
           strncmp(principal, "operator/", 9) == 0;
}

typedef struct voters {
    size_t any, humans, agents; /* who belong to any group */
    bool groups_met;
    const char *unmet;
    size_t unmet_count;
} voters;

static size_t group_count(const policy_quorum_group *group, const policy_check_options *options) {
    size_t count = 0;
    for (size_t i = 0; i < options->principal_count; i++)
        count +=
            may_vote(options->principals[i]) && policy_patterns_match(&group->members, options->principals[i])
                ? 1
                : 0;
    return count;
}

static bool in_any_group(const policy_quorum *quorum, const char *principal) {
    for (size_t g = 0; g < quorum->group_count; g++)
        if (policy_patterns_match(&quorum->groups[g].members, principal))
            return true;
    return false;
}

static voters count_voters(const policy_quorum *quorum, const policy_check_options *options) {
    voters out = {.groups_met = true, .unmet = ""};
    for (size_t g = 0; g < quorum->group_count && out.groups_met; g++) {
        size_t count = group_count(&quorum->groups[g], options);
        if (count >= quorum->groups[g].at_least)
            continue;
        out.groups_met = false;
        out.unmet = quorum->groups[g].name;
        out.unmet_count = count;
    }
    for (size_t i = 0; i < options->principal_count; i++) {
        const char *principal = options->principals[i];
        if (!may_vote(principal) || !in_any_group(quorum, principal))
            continue;
        out.any++;
        *(is_agent(principal) ? &out.agents : &out.humans) += 1;
    }
    return out;
}

static bool quorum_used(const policy_set *set, const char *name) {
    for (size_t i = 0; i < set->rule_count; i++)
        if (strcmp(set->rules[i].quorum, name) == 0)
            return true;
    return false;
}

static void check_quorum(checker *self, const policy_quorum *quorum) {
    if (!quorum_used(self->set, quorum->name))
        tell(self, POLICY_WARNING, "QUORUM_UNUSED", quorum->name, quorum->file, quorum->line,
             "no policy names this quorum");
    if (self->options == NULL || self->options->principals == NULL)
        return;
    size_t needed = 0;
    for (size_t g = 0; g < quorum->group_count; g++)
        needed += quorum->groups[g].at_least;
    voters who = count_voters(quorum, self->options);
    char text[256] = "";
    if (!who.groups_met)
        (void)snprintf(text, sizeof text, "group %.100s has %zu enrolled members", who.unmet,
                       who.unmet_count);
    else if (who.any < needed)
        (void)snprintf(text, sizeof text, "its groups need %zu distinct principals, and %zu are enrolled",
                       needed, who.any);
    else if (who.humans < quorum->humans)
        (void)snprintf(text, sizeof text, "it needs %u humans, and %zu are enrolled", quorum->humans,
                       who.humans);
    else if (who.agents < quorum->model_families)
        (void)snprintf(text, sizeof text, "it needs %u model families, and %zu agents are enrolled",
                       quorum->model_families, who.agents);
    if (text[0] != '\0')
        tell(self, POLICY_ERROR, "QUORUM_IMPOSSIBLE", quorum->name, quorum->file, quorum->line,
             "nobody could ever meet this quorum: %s", text);
}

/* ---- the whole ---- */

static bool locks_out(const checker *self) {
    for (size_t i = 0; i < self->set->rule_count; i++) {
        policy_effect effect = self->set->rules[i].effect;
        if ((effect == POLICY_EFFECT_PERMIT || effect == POLICY_EFFECT_REVIEW) && !self->dead[i])
            return false;
    }
    return true;
}

static bool checker_init(checker *self, const policy_set *set, arena *memory) {
    self->set = set;
    self->memory = memory;
    self->may = arena_zero(memory, index_words(set) + 1, sizeof *self->may);
    self->dead = arena_zero(memory, set->rule_count + 1, sizeof *self->dead);
    return self->may != NULL && self->dead != NULL;
}

static void check_rules(checker *self) {
    for (size_t i = 0; i < self->set->rule_count; i++) {
        check_alone(self, &self->set->rules[i]);
        check_facts(self, &self->set->rules[i]);
        check_others(self, &self->set->rules[i]);
    }
}

bool policies_lock_out(const policy_set *set) {
    arena memory;
    arena_init(&memory, 65536, 4U << 20);
    checker self = {0};
    bool locked = true; /* what cannot be told is taken for the worse */
    if (checker_init(&self, set, &memory)) {
        check_rules(&self);
        locked = locks_out(&self);
    }
    arena_free(&memory);
    return locked;
}

static int by_place(const void *left, const void *right) {
    const policy_problem *a = left, *b = right;
    int order = strcmp(a->file, b->file);
    if (order != 0)
        return order;
    return a->line != b->line ? (a->line > b->line) - (a->line < b->line) : strcmp(a->reason, b->reason);
}

status_code policies_check(const policy_set *set, const policy_check_options *options, arena *memory,
                           policy_problems *out, failure *why) {
    *out = (policy_problems){.items = arena_zero(memory, POLICIES_PROBLEMS, sizeof *out->items)};
    checker self = {.options = options, .out = out};
    if (out->items == NULL || !checker_init(&self, set, memory))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_MEMORY", "no memory for checking the policies");
    check_rules(&self);
    for (size_t i = 0; i < set->quorum_count; i++)
        check_quorum(&self, &set->quorums[i]);
    if (locks_out(&self)) {
        if (out->count == POLICIES_PROBLEMS)
            out->count--; /* this one is not to be missed */
        tell(&self, POLICY_ERROR, "LOCK_OUT", "", set->file, 0,
             "nothing can ever be permitted by this set: it locks everybody out");
    }
    if (self.out_of_memory)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_MEMORY", "no memory for checking the policies");
    if (out->count > 1)
        qsort(out->items, out->count, sizeof *out->items, by_place);
    return STATUS_OK;
}
