/* What the policies say of an action, as findings and conclusions: the rules that hold, the bounds that they
 * set together, the quorums that they ask for. How rules combine is lib/policies' business
 * (policies/policies.h). */
#include <stdio.h>
#include <string.h>

#include "decide_facts.h"
#include "draft.h"

#define RULE_FINDINGS_MAX                                                                                    \
    12U /* rules that are told besides the one that decides; more would not fit into a record */

typedef Interlock__Policy__V1__Finding__Result finding_result;

/* ---- rules ---- */

static Interlock__Policy__V1__Severity severity_of(policy_severity severity) {
    return (Interlock__Policy__V1__Severity)((int)severity + 1);
}

static finding *rule_finding(draft *self, Interlock__Policy__V1__Primitive primitive, finding_result result,
                             const char *reason, const policy_rule *rule, char *text) {
    finding *made = draft_finding(self, primitive, result, reason, text);
    if (made == NULL)
        return NULL;
    made->rule = draft_copy(self, rule->name);
    made->severity = severity_of(rule->severity);
    return made;
}

/* ": what the rule says of it", "" when it says nothing. */
static const char *words_of(draft *self, const policy_rule *rule) {
    if (rule->message[0] == '\0')
        return "";
    const char *message = policies_message(rule, self->facts->document->set, &self->seen, self->memory);
    if (message == NULL) {
        self->out_of_memory = true;
        return "";
    }
    return draft_write(self, ": %.500s", message);
}

static void refuse_forbidden(draft *self) {
    const policy_rule *rule = self->result.decisive->rule;
    char *text = draft_write(self, "forbidden on %.256s by rule %s of policy %s%s", self->result.target,
                             rule->name, self->facts->document->set->name, words_of(self, rule));
    (void)rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "FORBIDDEN", rule, text);
    draft_conclude(self, OUTCOME(DENY), 0, text);
}

static void refuse_failed(draft *self) {
    const policy_finding *failed = self->result.decisive;
    char *text = draft_write(
        self, "rule %s of policy %s cannot be evaluated, and so nothing it covers may run: %.300s",
        failed->rule->name, self->facts->document->set->name, failed->detail);
    (void)rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "RULE_FAILED", failed->rule, text);
    draft_conclude(self, OUTCOME(DENY), 0, text);
}

static void defer_unknown(draft *self) {
    const policy_rule *rule = self->result.decisive->rule;
    char *text = draft_write(self, "rule %s of policy %s reads %.256s, which is not known", rule->name,
                             self->facts->document->set->name, self->result.fact);
    finding *made = rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), UNKNOWN, "FACT_UNKNOWN", rule, text);
    if (made != NULL)
        made->evidence = draft_copy(self, self->result.fact);
    draft_conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
}

static void defer_by_rule(draft *self) {
    const policy_rule *rule = self->result.decisive->rule;
    char *text = draft_write(self, "deferred by rule %s of policy %s%s", rule->name,
                             self->facts->document->set->name, words_of(self, rule));
    (void)rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "DEFERRED_BY_RULE", rule, text);
    draft_conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
}

static void refuse_unpermitted(draft *self) {
    const policy_document *document = self->facts->document;
    char *text =
        document == NULL
            ? draft_copy(self, "nothing permits it: no policy is set; an operator sets one with: interlock "
                               "policy set FILE")
            : draft_write(self,
                          "nothing permits %s by %.128s on %.256s: no rule of policy %s version %llu "
                          "covers it",
                          self->facts->action->verb, self->facts->enrolment->statement->principal,
                          self->result.target, document->set->name, (unsigned long long)document->version);
    (void)draft_finding(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "NOTHING_PERMITTED", text);
    draft_conclude(self, OUTCOME(DENY), 0, text);
}

/* The rule that permits, of several the gravest, then the first by name. */
static const policy_rule *permitting(const policy_result *result) {
    const policy_rule *found = NULL;
    for (size_t i = 0; i < result->finding_count; i++) {
        const policy_rule *rule = result->findings[i].rule;
        bool permits = rule->effect == POLICY_EFFECT_PERMIT || rule->effect == POLICY_EFFECT_REVIEW;
        if (permits && (found == NULL || rule->severity > found->severity))
            found = rule;
    }
    return found;
}

static void tell_permitted(draft *self) {
    const policy_rule *rule = permitting(&self->result);
    if (rule == NULL)
        return;
    (void)rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), PASS, "PERMITTED", rule,
                       draft_write(self, "permitted by rule %s%s", rule->name, words_of(self, rule)));
}

static void tell_rule(draft *self, const policy_finding *about) {
    const policy_rule *rule = about->rule;
    if (about->state == POLICY_UNKNOWN)
        (void)rule_finding(
            self, PRIMITIVE(SANDBOX_GRANTS), UNKNOWN, "FACT_UNKNOWN", rule,
            draft_write(self, "rule %s reads %.256s, which is not known", rule->name, about->detail));
    else if (about->state == POLICY_FAILED)
        (void)rule_finding(
            self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "RULE_FAILED", rule,
            draft_write(self, "rule %s cannot be evaluated: %.300s", rule->name, about->detail));
    else if (rule->effect == POLICY_EFFECT_WARN)
        (void)rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), PASS, "WARNING", rule,
                           draft_write(self, "rule %s warns%s", rule->name, words_of(self, rule)));
    else if (rule->effect == POLICY_EFFECT_FORBID)
        (void)rule_finding(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "FORBIDDEN", rule,
                           draft_write(self, "rule %s forbids it too%s", rule->name, words_of(self, rule)));
}

/* Warnings, and what else would have refused. */
static void tell_others(draft *self) {
    size_t told = 0;
    for (size_t i = 0; i < self->result.finding_count && told < RULE_FINDINGS_MAX; i++) {
        const policy_finding *about = &self->result.findings[i];
        bool decisive = self->result.decisive != NULL && self->result.decisive->rule == about->rule;
        bool plain = about->state == POLICY_HOLDS && about->rule->effect != POLICY_EFFECT_WARN &&
                     about->rule->effect != POLICY_EFFECT_FORBID;
        if (decisive || plain)
            continue;
        tell_rule(self, about);
        told++;
    }
}

static void tell_result(draft *self) {
    switch (self->result.reason) {
    case POLICY_FORBIDDEN:
        refuse_forbidden(self);
        break;
    case POLICY_RULE_FAILED:
        refuse_failed(self);
        break;
    case POLICY_DEFERRED_BY_RULE:
        defer_by_rule(self);
        break;
    case POLICY_NOTHING_PERMITS:
        refuse_unpermitted(self);
        break;
    case POLICY_FACT_UNKNOWN:
        if (self->result.decisive != NULL)
            defer_unknown(self);
        else
            tell_permitted(self); /* it is a bound that lacks the fact */
        break;
    default:
        tell_permitted(self);
    }
}

void judge_policies(draft *self) {
    const decision_facts *facts = self->facts;
    failure why = {0};
    if (facts->policy_unreadable) {
        char *text = draft_copy(self, "the policy that is set cannot be read; an operator sets it again");
        (void)draft_finding(self, PRIMITIVE(SANDBOX_GRANTS), UNKNOWN, "POLICY_UNREADABLE", text);
        draft_conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
        return;
    }
    if (facts->document == NULL) {
        refuse_unpermitted(self);
        return;
    }
    if (!decide_policy_facts(facts, self->share, self->memory, &self->seen) ||
        policies_evaluate(facts->document->set, &self->seen, self->memory, &self->result, &why) !=
            STATUS_OK) {
        self->out_of_memory = true;
        return;
    }
    tell_result(self);
    tell_others(self);
}

/* ---- bounds ---- */

static const policy_bound *bound_of(const draft *self, policy_bound_kind kind) {
    return &self->result.bounds.of[kind];
}

static void take_bound(draft *self, Interlock__Policy__V1__Bounds *out, policy_bound_kind kind) {
    const policy_bound *bound = bound_of(self, kind);
    if (!bound->stated)
        return;
    switch (kind) {
    case POLICY_BOUND_ENTRY_TRAFFIC:
        out->entry_traffic_bound_case = INTERLOCK__POLICY__V1__BOUNDS__ENTRY_TRAFFIC_BOUND_ENTRY_TRAFFIC;
        out->entry_traffic = bound->most;
        break;
    case POLICY_BOUND_TARGETS:
        out->targets_bound_case = INTERLOCK__POLICY__V1__BOUNDS__TARGETS_BOUND_TARGETS;
        out->targets = (uint32_t)bound->most;
        break;
    case POLICY_BOUND_AFFECTED:
        out->affected_bound_case = INTERLOCK__POLICY__V1__BOUNDS__AFFECTED_BOUND_AFFECTED;
        out->affected = (uint32_t)bound->most;
        break;
    case POLICY_BOUND_PERCENT:
        out->percent_bound_case = INTERLOCK__POLICY__V1__BOUNDS__PERCENT_BOUND_PERCENT;
        out->percent = bound->most;
        break;
    case POLICY_BOUND_REPLICAS:
        out->replicas_bound_case = INTERLOCK__POLICY__V1__BOUNDS__REPLICAS_BOUND_REPLICAS;
        out->replicas = (uint32_t)bound->most;
        break;
    case POLICY_BOUND_COUNT:
        break;
    }
}

void draft_add_bounds(draft *self) {
    bool any = false;
    for (size_t i = 0; i < POLICY_BOUND_COUNT; i++)
        any = any || bound_of(self, (policy_bound_kind)i)->stated;
    Interlock__Policy__V1__Bounds *bounds = any ? arena_alloc(self->memory, sizeof *bounds) : NULL;
    self->out_of_memory = self->out_of_memory || (any && bounds == NULL);
    if (bounds == NULL)
        return;
    interlock__policy__v1__bounds__init(bounds);
    for (size_t i = 0; i < POLICY_BOUND_COUNT; i++)
        take_bound(self, bounds, (policy_bound_kind)i);
    self->decision->bounds = bounds;
}

bool draft_is_narrowed(const draft *self) {
    return self->result.outcome == POLICY_MODIFY;
}

char *draft_bounds_text(draft *self) {
    const policy_bound *percent = bound_of(self, POLICY_BOUND_PERCENT);
    const policy_bound *replicas = bound_of(self, POLICY_BOUND_REPLICAS);
    char text[160] = "at most";
    if (percent->stated)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), " %.4g %%", percent->most);
    if (replicas->stated)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s %.0f replicas",
                       percent->stated ? " and" : "", replicas->most);
    return draft_write(self, "%s (rule %s)", text,
                       percent->stated ? percent->rule->name : replicas->rule->name);
}

/* Bounds that have nothing to do with traffic. */
static void judge_counts(draft *self) {
    policy_bound_kind kind = self->result.over;
    if (self->result.reason == POLICY_OVER_BOUND && kind != POLICY_BOUND_ENTRY_TRAFFIC) {
        const policy_rule *rule = bound_of(self, kind)->rule;
        char *text = draft_write(self, "more %s than the bound of %.0f (rule %s)%s",
                                 kind == POLICY_BOUND_TARGETS ? "targets" : "nodes would be hit",
                                 bound_of(self, kind)->most, rule->name, words_of(self, rule));
        (void)rule_finding(self, PRIMITIVE(BLAST_RADIUS), FAIL, "OVER_BOUND", rule, text);
        draft_conclude(self, OUTCOME(DENY), 0, text);
    } else if (self->result.reason == POLICY_FACT_UNKNOWN && self->result.decisive == NULL) {
        char *text = draft_write(self, "a bound needs %s, which is not known", self->result.fact);
        (void)draft_finding(self, PRIMITIVE(BLAST_RADIUS), UNKNOWN, "FACT_UNKNOWN", text);
        draft_conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
    }
}

/* ---- impact ---- */

/* The impact as it goes into the decision: with the judged share, and no larger than a record can hold. */
static Interlock__Graph__V1__Impact *impact_for_record(draft *self,
                                                       const Interlock__Graph__V1__Share *share) {
    Interlock__Graph__V1__Impact *impact =
        arena_copy(self->memory, self->facts->impact, sizeof *self->facts->impact);
    Interlock__Graph__V1__Share *own = arena_copy(self->memory, share, sizeof *share);
    if (impact == NULL || own == NULL) {
        self->out_of_memory = true;
        return NULL;
    }
    impact->entry_traffic = own;
    size_t whole = impact->n_affected;
    while (impact->n_affected > 0 &&
           interlock__graph__v1__impact__get_packed_size(impact) > DECIDE_IMPACT_BYTES)
        impact->n_affected /= 2;
    if (impact->n_affected < whole)
        impact->caveat =
            draft_write(self, "%.400s%sonly the %zu most likely of %zu nodes are listed", impact->caveat,
                        impact->caveat[0] == '\0' ? "" : "; ", impact->n_affected, whole);
    return impact;
}

static char *impact_sentence(draft *self, const Interlock__Graph__V1__Share *share, bool within) {
    const decision_facts *facts = self->facts;
    const policy_bound *traffic = bound_of(self, POLICY_BOUND_ENTRY_TRAFFIC);
    const char *side = within ? "within" : "over";
    char bound[256] = "no bound is set";
    if (traffic->stated)
        (void)snprintf(bound, sizeof bound, "%s the bound of %.4g %% (rule %s)", side, 100 * traffic->most,
                       traffic->rule->name);
    if (facts->unknown_count > 0)
        return draft_write(
            self,
            "the graph has never seen %.256s, so that up to 100 %% of entry traffic may be hit; %s; "
            "correct the name, or send its telemetry first",
            facts->unknown_targets[0], bound);
    return draft_write(self,
                       "if it fails, at most %.4g %% of entry traffic is hit (expected %.4g %%), %s%s%.300s",
                       100 * share->high, 100 * share->expected, bound,
                       facts->impact->caveat[0] == '\0' ? "" : "; ", facts->impact->caveat);
}

static void impact_finding(draft *self, const Interlock__Graph__V1__Share *share, bool within) {
    const policy_bound *traffic = bound_of(self, POLICY_BOUND_ENTRY_TRAFFIC);
    bool unknown = self->facts->unknown_count > 0;
    char *text = impact_sentence(self, share, within);
    finding *made = draft_finding(self, PRIMITIVE(BLAST_RADIUS),
                                  unknown  ? UNKNOWN
                                  : within ? PASS
                                           : FAIL,
                                  unknown  ? "TARGET_UNKNOWN"
                                  : within ? "WITHIN_BOUND"
                                           : "OVER_BOUND",
                                  text);
    if (made == NULL)
        return;
    made->value = draft_share(self, share->high);
    made->evidence =
        draft_write(self, "graph revision %llu, %.6g requests observed",
                    (unsigned long long)self->facts->graph_revision, self->facts->impact->observed_requests);
    if (traffic->stated) {
        made->bound = draft_share(self, traffic->most);
        made->rule = draft_copy(self, traffic->rule->name);
    }
    if (!within)
        draft_conclude(self, OUTCOME(DENY), 0, text);
}

void judge_impact(draft *self) {
    if (self->share == NULL) {
        char *text =
            draft_write(self, "the predicted impact is not to be had (%.300s)", self->facts->impact_reason);
        (void)draft_finding(self, PRIMITIVE(BLAST_RADIUS), UNKNOWN, "CONTEXT_STALE", text);
        draft_conclude(self, OUTCOME(DEFER), RETRY_SOON_MS, text);
        return;
    }
    const policy_bound *traffic = bound_of(self, POLICY_BOUND_ENTRY_TRAFFIC);
    self->decision->impact = impact_for_record(self, self->share);
    self->decision->graph_revision = self->facts->graph_revision;
    bool within = !traffic->stated || self->share->high <= traffic->most;
    impact_finding(self, self->share, within);
    judge_counts(self);
}

/* ---- approval ---- */

/* Quorums of all review rules that hold, each once; findings are few. */
static void add_quorums(draft *self) {
    const policy_result *result = &self->result;
    char **names = arena_zero(self->memory, result->finding_count + 1, sizeof *names);
    size_t count = 0;
    self->out_of_memory = self->out_of_memory || names == NULL;
    for (size_t i = 0; names != NULL && i < result->finding_count; i++) {
        const policy_finding *about = &result->findings[i];
        bool known = about->rule->effect != POLICY_EFFECT_REVIEW || about->state != POLICY_HOLDS;
        for (size_t j = 0; j < count && !known; j++)
            known = strcmp(names[j], about->rule->quorum) == 0;
        if (!known)
            names[count++] = draft_copy(self, about->rule->quorum);
    }
    self->decision->quorums = names;
    self->decision->n_quorums = count;
}

void judge_approval(draft *self) {
    if (!draft_undecided(self) || self->result.reason != POLICY_NEEDS_APPROVAL)
        return;
    const policy_rule *rule = self->result.decisive->rule;
    char *text = draft_write(self, "rule %s of policy %s asks for the approval of quorum %s%s", rule->name,
                             self->facts->document->set->name, rule->quorum, words_of(self, rule));
    (void)rule_finding(self, PRIMITIVE(QUORUM_GATES), UNKNOWN, "NEEDS_APPROVAL", rule, text);
    add_quorums(self);
    draft_conclude(self, OUTCOME(REVIEW), 0, text);
}
