/* See decide.h. Each judge_… adds its finding and, where it objects, concludes; the first conclusion stands.
 */
#include "decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "claims.h"
#include "pattern.h"

#define FINDINGS_MAX 8U
#define RETRY_SOON_MS 1000U
#define RETRY_LATER_MS 5000U

#define OUTCOME(word) INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_##word
#define PRIMITIVE(word) INTERLOCK__POLICY__V1__PRIMITIVE__PRIMITIVE_##word
#define MODE(word) INTERLOCK__POLICY__V1__MODE__MODE_##word
#define PASS INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_PASS
#define FAIL INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_FAIL
#define UNKNOWN INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_UNKNOWN

typedef Interlock__Policy__V1__Finding finding;

typedef struct draft {
    const decision_facts *facts;
    Interlock__Policy__V1__Decision *decision;
    arena *memory;
    policy_bound bound;           /* of all permit rules that cover the action */
    const policy_rule *narrowest; /* whose bound it is */
    const char *subject;          /* "deploy on service:prod/shop/cart" */
    bool out_of_memory;
} draft;

const char *outcome_name(Interlock__Policy__V1__Outcome outcome) {
    switch (outcome) {
    case OUTCOME(ALLOW):
        return "ALLOW";
    case OUTCOME(MODIFY):
        return "MODIFY";
    case OUTCOME(REVIEW):
        return "REVIEW";
    case OUTCOME(DEFER):
        return "DEFER";
    case OUTCOME(DENY):
        return "DENY";
    default:
        return "";
    }
}

bool outcome_is_final(Interlock__Policy__V1__Outcome outcome) {
    return outcome == OUTCOME(ALLOW) || outcome == OUTCOME(MODIFY) || outcome == OUTCOME(DENY);
}

void bound_intersect(policy_bound *into, const policy_bound *other) {
    if (!other->entry_traffic_stated)
        return;
    if (!into->entry_traffic_stated || other->entry_traffic < into->entry_traffic)
        into->entry_traffic = other->entry_traffic;
    into->entry_traffic_stated = true;
}

Interlock__Policy__V1__Mode decide_mode(const policy_document *document,
                                        const Interlock__Policy__V1__Action *action) {
    if (action->dry_run)
        return MODE(DRY_RUN);
    for (size_t i = 0; i < action->n_targets; i++)
        if (document == NULL || document_mode(document, action->targets[i]) != MODE(ENFORCED))
            return MODE(ADVISORY);
    return MODE(ENFORCED);
}

/* ---- writing the draft ---- */

static char *copied(draft *self, const char *text) {
    char *copy = arena_text(self->memory, text == NULL ? "" : text);
    self->out_of_memory = self->out_of_memory || copy == NULL;
    return copy;
}

static size_t utf8_length(unsigned char first) {
    return first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

/* Names that were cut short may end within a character, which no reader of a record would take. */
static void mend_utf8(char *text) {
    size_t size = strlen(text);
    if (utf8_valid(bytes_of(text, size)))
        return;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_length((unsigned char)text[at]);
        bool whole = length <= size - at && utf8_valid(bytes_of(text + at, length));
        if (!whole)
            text[at] = '?';
        at += whole ? length : 1;
    }
}

static char *written(draft *self, const char *format, ...) PRINTF_LIKE(2, 3);
static char *written(draft *self, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mend_utf8(text);
    return copied(self, text);
}

static char *share_text(draft *self, double share) {
    return written(self, "%.4g %%", 100 * share);
}

/* Appends a finding; NULL without memory. `message` stays as it is. */
static finding *finding_add(draft *self, Interlock__Policy__V1__Primitive primitive,
                            Interlock__Policy__V1__Finding__Result result, const char *reason,
                            char *message) {
    finding *made = arena_alloc(self->memory, sizeof *made);
    if (made == NULL || message == NULL || self->decision->n_findings == FINDINGS_MAX) {
        self->out_of_memory = true;
        return NULL;
    }
    interlock__policy__v1__finding__init(made);
    made->primitive = primitive;
    made->result = result;
    made->reason = copied(self, reason);
    made->message = message;
    self->decision->findings[self->decision->n_findings++] = made;
    return made;
}

/* The first conclusion stands. */
static void conclude(draft *self, Interlock__Policy__V1__Outcome outcome, uint32_t retry_after_ms,
                     const char *sentence) {
    if (self->decision->outcome != OUTCOME(UNSPECIFIED))
        return;
    const char *verdict = outcome == OUTCOME(ALLOW)   ? "may run"
                          : outcome == OUTCOME(DEFER) ? "is deferred"
                                                      : "is refused";
    self->decision->outcome = outcome;
    self->decision->retry_after_ms = retry_after_ms;
    self->decision->summary = written(self, "%s %s: %s", self->subject, verdict, sentence);
}

static bool undecided(const draft *self) {
    return self->decision->outcome == OUTCOME(UNSPECIFIED);
}

/* ---- control ---- */

static void judge_freshness(draft *self, const char *reason, const char *message) {
    char *text = copied(self, message);
    (void)finding_add(self, PRIMITIVE(KILL_SWITCH), UNKNOWN, reason, text);
    conclude(self, OUTCOME(DEFER), RETRY_SOON_MS, text);
}

static void judge_kill(draft *self) {
    const decision_facts *facts = self->facts;
    if (!facts->control_fresh) {
        judge_freshness(self, "CONTROL_NOT_FRESH",
                        written(self, "the control data is not proved fresh (%s)", facts->control_reason));
        return;
    }
    if (facts->behind_fence) {
        judge_freshness(self, "CONTROL_BEHIND_FENCE",
                        "the log holds a newer kill switch than this replica has applied");
        return;
    }
    if (facts->kill == NULL) {
        finding *made = finding_add(self, PRIMITIVE(KILL_SWITCH), PASS, "NO_KILL_SWITCH",
                                    copied(self, "no kill switch covers the action"));
        if (made != NULL)
            made->evidence = written(self, "control/seq %llu", (unsigned long long)facts->control_seq);
        return;
    }
    const char *by = facts->kill->header == NULL ? "" : facts->kill->header->principal;
    char *text = written(self, "paused by the kill switch of %.128s%s%.200s (%.300s); ask that operator", by,
                         facts->kill->subject[0] == '\0' ? "" : " on ", facts->kill->subject,
                         facts->kill->reason[0] == '\0' ? "no reason given" : facts->kill->reason);
    finding *made = finding_add(self, PRIMITIVE(KILL_SWITCH), FAIL, "KILL_SWITCH_SET", text);
    if (made != NULL)
        made->evidence = written(self, "control/seq %llu", (unsigned long long)facts->control_seq);
    conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
}

static void judge_counters(draft *self) {
    if (self->facts->counter_key == NULL)
        return;
    char *text = written(self, "the cap of %.200s is used up", self->facts->counter_key);
    (void)finding_add(self, PRIMITIVE(RATE_LIMITING), FAIL, "COUNTER_EXHAUSTED", text);
    conclude(self, OUTCOME(DEFER), self->facts->counter_retry_ms, text);
}

/* ---- identity ---- */

/* What the action does not state is what the key is enrolled for. */
static bool model_part_differs(const char *enrolled, const char *stated) {
    return enrolled[0] != '\0' && stated[0] != '\0' && strcmp(enrolled, stated) != 0;
}

static const char *first_stated(const char *stated, const char *enrolled) {
    return stated[0] != '\0' ? stated : enrolled;
}

typedef struct identity_verdict {
    bool holds;
    const char *reason;
    char *text;
} identity_verdict;

static identity_verdict identity_of(draft *self, const Interlock__Policy__V1__Model *model) {
    const Interlock__Control__V1__Enrolment *enrolment = self->facts->enrolment->statement;
    if (self->facts->action->actor_kind == INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_HUMAN &&
        strncmp(enrolment->principal, "agent/", 6) == 0)
        return (identity_verdict){false, "ACTOR_MISMATCH",
                                  written(self,
                                          "%.128s is an agent and does not act as a human; state AGENT or "
                                          "PIPELINE",
                                          enrolment->principal)};
    if (model_part_differs(enrolment->model_provider, model->provider) ||
        model_part_differs(enrolment->model_name, model->name) ||
        model_part_differs(enrolment->model_version, model->version))
        return (identity_verdict){
            false, "MODEL_MISMATCH",
            written(self,
                    "%.128s is enrolled for the model \"%.64s %.64s %.64s\", the action states \"%.64s %.64s "
                    "%.64s\"; state the enrolled one, or have the new one enrolled",
                    enrolment->principal, enrolment->model_provider, enrolment->model_name,
                    enrolment->model_version, model->provider, model->name, model->version)};
    return (identity_verdict){true, "SIGNED_BY_ENROLLED_KEY",
                              written(self, "signed by %.128s with its enrolled key", enrolment->principal)};
}

static void judge_identity(draft *self) {
    const Interlock__Control__V1__Enrolment *enrolment = self->facts->enrolment->statement;
    const Interlock__Policy__V1__Model none = INTERLOCK__POLICY__V1__MODEL__INIT;
    const Interlock__Policy__V1__Model *model =
        self->facts->action->model == NULL ? &none : self->facts->action->model;
    identity_verdict verdict = identity_of(self, model);
    finding *made = finding_add(self, PRIMITIVE(IDENTITY_BINDING), verdict.holds ? PASS : FAIL,
                                verdict.reason, verdict.text);
    if (made != NULL) {
        made->evidence = written(self, "key %s", self->facts->enrolment->keyid);
        made->value =
            written(self, "%.128s %.128s %.128s", first_stated(model->provider, enrolment->model_provider),
                    first_stated(model->name, enrolment->model_name),
                    first_stated(model->version, enrolment->model_version));
    }
    if (!verdict.holds)
        conclude(self, OUTCOME(DENY), 0, verdict.text);
}

/* ---- rules ---- */

static bool rule_speaks(const policy_rule *rule, const decision_facts *facts) {
    return pattern_matches_any(rule->verbs.items, rule->verbs.count, facts->action->verb) &&
           (rule->agents.count == 0 || pattern_matches_any(rule->agents.items, rule->agents.count,
                                                           facts->enrolment->statement->principal));
}

/* Marks the targets that the rule covers; returns how many. */
static size_t rule_cover(const policy_rule *rule, const Interlock__Policy__V1__Action *action,
                         bool covered[LIMIT_TARGETS]) {
    size_t count = 0;
    for (size_t i = 0; i < action->n_targets && i < LIMIT_TARGETS; i++) {
        if (!pattern_matches_any(rule->targets.items, rule->targets.count, action->targets[i]))
            continue;
        covered[i] = true;
        count++;
    }
    return count;
}

static void narrow(draft *self, const policy_rule *rule) {
    policy_bound before = self->bound;
    bound_intersect(&self->bound, &rule->bound);
    if (self->narrowest == NULL || before.entry_traffic_stated != self->bound.entry_traffic_stated ||
        before.entry_traffic > self->bound.entry_traffic)
        self->narrowest = rule;
}

static void refuse_forbidden(draft *self, const policy_rule *rule, const char *target) {
    char *text = written(self, "forbidden on %.256s by rule %s of policy %s%s%s", target, rule->name,
                         self->facts->document->name, rule->message[0] == '\0' ? "" : ": ", rule->message);
    finding *made = finding_add(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "FORBIDDEN", text);
    if (made != NULL)
        made->rule = copied(self, rule->name);
    conclude(self, OUTCOME(DENY), 0, text);
}

static void refuse_unpermitted(draft *self, const char *target) {
    char *text =
        self->facts->document == NULL
            ? copied(self, "nothing permits it: no policy is set; an operator sets one with: interlock "
                           "policy set FILE")
            : written(self,
                      "nothing permits %s by %.128s on %.256s: no rule of policy %s version %llu "
                      "covers it",
                      self->facts->action->verb, self->facts->enrolment->statement->principal, target,
                      self->facts->document->name, (unsigned long long)self->facts->document->version);
    (void)finding_add(self, PRIMITIVE(SANDBOX_GRANTS), FAIL, "NOTHING_PERMITTED", text);
    conclude(self, OUTCOME(DENY), 0, text);
}

static const policy_rule *find_forbidding(const decision_facts *facts, const char **target) {
    for (size_t r = 0; facts->document != NULL && r < facts->document->rule_count; r++) {
        const policy_rule *rule = &facts->document->rules[r];
        if (rule->effect != EFFECT_FORBID || !rule_speaks(rule, facts))
            continue;
        for (size_t i = 0; i < facts->action->n_targets; i++) {
            *target = facts->action->targets[i];
            if (pattern_matches_any(rule->targets.items, rule->targets.count, *target))
                return rule;
        }
    }
    return NULL;
}

static void judge_rules(draft *self) {
    const decision_facts *facts = self->facts;
    if (facts->policy_unreadable) {
        char *text = copied(self, "the policy that is set cannot be read; an operator sets it again");
        (void)finding_add(self, PRIMITIVE(SANDBOX_GRANTS), UNKNOWN, "POLICY_UNREADABLE", text);
        conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
        return;
    }
    const char *target = "";
    const policy_rule *forbidding = find_forbidding(facts, &target);
    if (forbidding != NULL) {
        refuse_forbidden(self, forbidding, target);
        return;
    }
    bool covered[LIMIT_TARGETS] = {false};
    for (size_t r = 0; facts->document != NULL && r < facts->document->rule_count; r++) {
        const policy_rule *rule = &facts->document->rules[r];
        if (rule->effect == EFFECT_PERMIT && rule_speaks(rule, facts) &&
            rule_cover(rule, facts->action, covered) > 0)
            narrow(self, rule);
    }
    for (size_t i = 0; i < facts->action->n_targets && i < LIMIT_TARGETS; i++)
        if (!covered[i]) {
            refuse_unpermitted(self, facts->action->targets[i]);
            return;
        }
    finding *made = finding_add(self, PRIMITIVE(SANDBOX_GRANTS), PASS, "PERMITTED",
                                written(self, "permitted by rule %s", self->narrowest->name));
    if (made != NULL)
        made->rule = copied(self, self->narrowest->name);
}

/* ---- impact ---- */

static bool share_sane(const Interlock__Graph__V1__Share *share) {
    return share != NULL && share->low >= 0 && share->low <= share->expected &&
           share->expected <= share->high && share->high <= 1;
}

/* The share that is judged: what the graph says, or [0, 1] where it has not seen every target. */
static Interlock__Graph__V1__Share judged_share(const decision_facts *facts) {
    Interlock__Graph__V1__Share share = INTERLOCK__GRAPH__V1__SHARE__INIT;
    if (share_sane(facts->impact->entry_traffic))
        share = *facts->impact->entry_traffic;
    else
        share.expected = share.high = 1;
    if (facts->unknown_count > 0)
        share.high = 1;
    return share;
}

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
            written(self, "%.400s%sonly the %zu most likely of %zu nodes are listed", impact->caveat,
                    impact->caveat[0] == '\0' ? "" : "; ", impact->n_affected, whole);
    return impact;
}

static char *impact_sentence(draft *self, const Interlock__Graph__V1__Share *share, bool within) {
    const decision_facts *facts = self->facts;
    const char *side = within ? "within" : "over";
    char bound[256] = "no bound is set";
    if (self->bound.entry_traffic_stated)
        (void)snprintf(bound, sizeof bound, "%s the bound of %.4g %% (rule %s)", side,
                       100 * self->bound.entry_traffic, self->narrowest->name);
    if (facts->unknown_count > 0)
        return written(
            self,
            "the graph has never seen %.256s, so that up to 100 %% of entry traffic may be hit; %s; "
            "correct the name, or send its telemetry first",
            facts->unknown_targets[0], bound);
    return written(self,
                   "if it fails, at most %.4g %% of entry traffic is hit (expected %.4g %%), %s%s%.300s",
                   100 * share->high, 100 * share->expected, bound,
                   facts->impact->caveat[0] == '\0' ? "" : "; ", facts->impact->caveat);
}

static void impact_finding(draft *self, const Interlock__Graph__V1__Share *share, bool within) {
    bool unknown = self->facts->unknown_count > 0;
    char *text = impact_sentence(self, share, within);
    finding *made = finding_add(self, PRIMITIVE(BLAST_RADIUS),
                                unknown  ? UNKNOWN
                                : within ? PASS
                                         : FAIL,
                                unknown  ? "TARGET_UNKNOWN"
                                : within ? "WITHIN_BOUND"
                                         : "OVER_BOUND",
                                text);
    if (made == NULL)
        return;
    made->value = share_text(self, share->high);
    made->evidence =
        written(self, "graph revision %llu, %.6g requests observed",
                (unsigned long long)self->facts->graph_revision, self->facts->impact->observed_requests);
    if (self->bound.entry_traffic_stated) {
        made->bound = share_text(self, self->bound.entry_traffic);
        made->rule = copied(self, self->narrowest->name);
    }
    if (!within)
        conclude(self, OUTCOME(DENY), 0, text);
}

static void judge_impact(draft *self) {
    if (self->facts->impact == NULL) {
        char *text =
            written(self, "the predicted impact is not to be had (%.300s)", self->facts->impact_reason);
        (void)finding_add(self, PRIMITIVE(BLAST_RADIUS), UNKNOWN, "CONTEXT_STALE", text);
        conclude(self, OUTCOME(DEFER), RETRY_SOON_MS, text);
        return;
    }
    Interlock__Graph__V1__Share share = judged_share(self->facts);
    self->decision->impact = impact_for_record(self, &share);
    self->decision->graph_revision = self->facts->graph_revision;
    bool within = !self->bound.entry_traffic_stated || share.high <= self->bound.entry_traffic;
    impact_finding(self, &share, within);
}

/* ---- the rest ---- */

static void judge_executor(draft *self) {
    if (!undecided(self) || self->decision->mode != MODE(ENFORCED) || self->facts->executor != NULL)
        return;
    char *text = written(self,
                         "no key is enrolled for %.128s, which is to execute it; an operator enrols it with: "
                         "interlock agent enroll",
                         self->facts->executor_principal);
    (void)finding_add(self, PRIMITIVE(IDENTITY_BINDING), FAIL, "EXECUTOR_NOT_ENROLLED", text);
    conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
}

static void judge_record(draft *self) {
    (void)finding_add(
        self, PRIMITIVE(SIGNED_AUDIT), PASS, "RECORDED_BEFORE_ANSWER",
        copied(self, "the signed action and this decision are in the log before anyone sees it"));
}

static void allow(draft *self) {
    if (!undecided(self))
        return;
    const finding *impact = NULL;
    for (size_t i = 0; i < self->decision->n_findings; i++)
        if (self->decision->findings[i]->primitive == PRIMITIVE(BLAST_RADIUS))
            impact = self->decision->findings[i];
    conclude(self, OUTCOME(ALLOW), 0, impact == NULL ? "" : impact->message);
    if (self->decision->mode != MODE(ENFORCED) || self->out_of_memory)
        return;
    self->decision->permit = claims_new(self->facts, self->memory);
    self->out_of_memory = self->decision->permit == NULL;
}

static void add_policy_reference(draft *self) {
    const policy_document *document = self->facts->document;
    if (document == NULL)
        return;
    Interlock__Policy__V1__PolicyReference *reference = arena_alloc(self->memory, sizeof *reference);
    Interlock__Policy__V1__PolicyReference **list = arena_alloc(self->memory, sizeof(void *));
    if (reference == NULL || list == NULL) {
        self->out_of_memory = true;
        return;
    }
    interlock__policy__v1__policy_reference__init(reference);
    reference->name = copied(self, document->name);
    reference->version = document->version;
    reference->digest = copied(self, document->digest);
    list[0] = reference;
    self->decision->policies = list;
    self->decision->n_policies = 1;
}

static bool draft_begin(draft *self) {
    const decision_facts *facts = self->facts;
    Interlock__Policy__V1__Decision *decision = arena_alloc(self->memory, sizeof *decision);
    if (decision == NULL)
        return false;
    interlock__policy__v1__decision__init(decision);
    self->decision = decision;
    decision->findings = arena_zero(self->memory, FINDINGS_MAX, sizeof(finding *));
    decision->action_id = facts->action->action_id;
    decision->action_digest.data = arena_copy(self->memory, facts->digest, CRYPTO_HASH_BYTES);
    decision->action_digest.len = CRYPTO_HASH_BYTES;
    decision->mode = decide_mode(facts->document, facts->action);
    decision->decided_at_ms = facts->now_ms;
    decision->control_seq = facts->control_seq;
    decision->principal = copied(self, facts->enrolment->statement->principal);
    decision->verb = facts->action->verb;
    decision->targets = facts->action->targets;
    decision->n_targets = facts->action->n_targets;
    size_t more = facts->action->n_targets - 1;
    self->subject = more == 0
                        ? written(self, "%s on %s", decision->verb, decision->targets[0])
                        : written(self, "%s on %s and %zu more", decision->verb, decision->targets[0], more);
    return decision->findings != NULL && decision->action_digest.data != NULL && !self->out_of_memory;
}

status_code decide(const decision_facts *facts, arena *memory, Interlock__Policy__V1__Decision **out,
                   failure *why) {
    draft self = {.facts = facts, .memory = memory};
    if (draft_begin(&self)) {
        add_policy_reference(&self);
        judge_kill(&self);
        judge_counters(&self);
        judge_identity(&self);
        judge_rules(&self);
        judge_impact(&self);
        judge_executor(&self);
        judge_record(&self);
        allow(&self);
    } else {
        self.out_of_memory = true;
    }
    if (self.out_of_memory)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CALL_TOO_LARGE",
                    "no memory left in this call for its decision; propose a smaller action");
    *out = self.decision;
    return STATUS_OK;
}
