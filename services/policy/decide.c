/* See decide.h. */
#include "decide.h"

#include <string.h>

#include "claims.h"
#include "decide_facts.h"
#include "draft.h"
#include "rate_limits.h"
#include "wire/scan.h"

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

static policy_stage stage_of(const policy_document *document, const Interlock__Policy__V1__Action *action) {
    policy_stage lowest = POLICY_STAGE_GREEN_PATH;
    for (size_t i = 0; document != NULL && i < action->n_targets; i++) {
        const policy_target target = {.name = action->targets[i]};
        policy_stage stage = policies_stage(document->set, &target, 1);
        lowest = stage < lowest ? stage : lowest;
    }
    return document == NULL ? POLICY_STAGE_ADVISORY : lowest;
}

Interlock__Policy__V1__Mode decide_mode(const policy_document *document,
                                        const Interlock__Policy__V1__Action *action) {
    if (action->dry_run)
        return MODE(DRY_RUN);
    return stage_of(document, action) > POLICY_STAGE_ADVISORY ? MODE(ENFORCED) : MODE(ADVISORY);
}

/* ---- control ---- */

static void judge_freshness(draft *self, const char *reason, const char *message) {
    char *text = draft_copy(self, message);
    (void)draft_finding(self, PRIMITIVE(KILL_SWITCH), UNKNOWN, reason, text);
    draft_conclude(self, OUTCOME(DEFER), RETRY_SOON_MS, text);
}

static void judge_kill(draft *self) {
    const decision_facts *facts = self->facts;
    if (!facts->control_fresh) {
        judge_freshness(
            self, "CONTROL_NOT_FRESH",
            draft_write(self, "the control data is not proved fresh (%s)", facts->control_reason));
        return;
    }
    if (facts->behind_fence) {
        judge_freshness(self, "CONTROL_BEHIND_FENCE",
                        "the log holds a newer kill switch than this replica has applied");
        return;
    }
    if (facts->kill == NULL) {
        finding *made = draft_finding(self, PRIMITIVE(KILL_SWITCH), PASS, "NO_KILL_SWITCH",
                                      draft_copy(self, "no kill switch covers the action"));
        if (made != NULL)
            made->evidence = draft_write(self, "control/seq %llu", (unsigned long long)facts->control_seq);
        return;
    }
    const char *by = facts->kill->header == NULL ? "" : facts->kill->header->principal;
    char *text = draft_write(self, "paused by the kill switch of %.128s%s%.200s (%.300s); ask that operator",
                             by, facts->kill->subject[0] == '\0' ? "" : " on ", facts->kill->subject,
                             facts->kill->reason[0] == '\0' ? "no reason given" : facts->kill->reason);
    finding *made = draft_finding(self, PRIMITIVE(KILL_SWITCH), FAIL, "KILL_SWITCH_SET", text);
    if (made != NULL)
        made->evidence = draft_write(self, "control/seq %llu", (unsigned long long)facts->control_seq);
    draft_conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
}

static void judge_counters(draft *self) {
    if (self->facts->counter_key == NULL)
        return;
    char *text = draft_write(self, "the cap of %.200s is used up", self->facts->counter_key);
    (void)draft_finding(self, PRIMITIVE(RATE_LIMITING), FAIL, "COUNTER_EXHAUSTED", text);
    draft_conclude(self, OUTCOME(DEFER), self->facts->counter_retry_ms, text);
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
        return (identity_verdict){
            false, "ACTOR_MISMATCH",
            draft_write(self,
                        "%.128s is an agent and does not act as a human; state AGENT or "
                        "PIPELINE",
                        enrolment->principal)};
    if (model_part_differs(enrolment->model_provider, model->provider) ||
        model_part_differs(enrolment->model_name, model->name) ||
        model_part_differs(enrolment->model_version, model->version))
        return (identity_verdict){
            false, "MODEL_MISMATCH",
            draft_write(
                self,
                "%.128s is enrolled for the model \"%.64s %.64s %.64s\", the action states \"%.64s %.64s "
                "%.64s\"; state the enrolled one, or have the new one enrolled",
                enrolment->principal, enrolment->model_provider, enrolment->model_name,
                enrolment->model_version, model->provider, model->name, model->version)};
    return (identity_verdict){
        true, "SIGNED_BY_ENROLLED_KEY",
        draft_write(self, "signed by %.128s with its enrolled key", enrolment->principal)};
}

static void judge_identity(draft *self) {
    const Interlock__Control__V1__Enrolment *enrolment = self->facts->enrolment->statement;
    const Interlock__Policy__V1__Model none = INTERLOCK__POLICY__V1__MODEL__INIT;
    const Interlock__Policy__V1__Model *model =
        self->facts->action->model == NULL ? &none : self->facts->action->model;
    identity_verdict verdict = identity_of(self, model);
    finding *made = draft_finding(self, PRIMITIVE(IDENTITY_BINDING), verdict.holds ? PASS : FAIL,
                                  verdict.reason, verdict.text);
    if (made != NULL) {
        made->evidence = draft_write(self, "key %s", self->facts->enrolment->keyid);
        made->value = draft_write(self, "%.128s %.128s %.128s",
                                  first_stated(model->provider, enrolment->model_provider),
                                  first_stated(model->name, enrolment->model_name),
                                  first_stated(model->version, enrolment->model_version));
    }
    if (!verdict.holds)
        draft_conclude(self, OUTCOME(DENY), 0, verdict.text);
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

/* NULL when there is no impact, or no memory, which the draft remembers. */
static Interlock__Graph__V1__Share *share_of(draft *self) {
    if (self->facts->impact == NULL)
        return NULL;
    Interlock__Graph__V1__Share share = judged_share(self->facts);
    Interlock__Graph__V1__Share *kept = arena_copy(self->memory, &share, sizeof share);
    self->out_of_memory = self->out_of_memory || kept == NULL;
    return kept;
}

/* ---- the rest ---- */

static void judge_executor(draft *self) {
    if (!draft_undecided(self) || self->decision->mode != MODE(ENFORCED) || self->facts->executor != NULL)
        return;
    char *text =
        draft_write(self,
                    "no key is enrolled for %.128s, which is to execute it; an operator enrols it with: "
                    "interlock agent enroll",
                    self->facts->executor_principal);
    (void)draft_finding(self, PRIMITIVE(IDENTITY_BINDING), FAIL, "EXECUTOR_NOT_ENROLLED", text);
    draft_conclude(self, OUTCOME(DEFER), RETRY_LATER_MS, text);
}

static void judge_record(draft *self) {
    (void)draft_finding(
        self, PRIMITIVE(SIGNED_AUDIT), PASS, "RECORDED_BEFORE_ANSWER",
        draft_copy(self, "the signed action and this decision are in the log before anyone sees it"));
}

/* Limits are charged with the record of what opens; more of them than the log takes with one are refused, not
 * left out. */
static void judge_limits(draft *self) {
    Interlock__Audit__V1__Counter **counters = NULL;
    size_t count = 0;
    if (!draft_undecided(self) || self->decision->mode != MODE(ENFORCED))
        return;
    if (!limits_counters(self->facts, self->memory, &counters, &count)) {
        self->out_of_memory = true;
        return;
    }
    if (count == 0)
        return;
    bool fits = count <= LIMITS_COUNTERS;
    char *text =
        fits ? draft_write(self, "counts towards %zu rate limits, the first %.256s", count, counters[0]->key)
             : draft_write(
                   self,
                   "counts towards more than %u rate limits, which the log cannot charge at once; name "
                   "fewer targets",
                   LIMITS_COUNTERS);
    (void)draft_finding(self, PRIMITIVE(RATE_LIMITING), fits ? PASS : FAIL,
                        fits ? "COUNTED" : "TOO_MANY_COUNTERS", text);
    if (!fits)
        draft_conclude(self, OUTCOME(DENY), 0, text);
}

/* What was narrowed is another action, whose digest the permit binds. False without memory. */
static bool effective_digest(draft *self, uint8_t out[CRYPTO_HASH_BYTES]) {
    const policy_bound *percent = &self->result.bounds.of[POLICY_BOUND_PERCENT];
    const policy_bound *replicas = &self->result.bounds.of[POLICY_BOUND_REPLICAS];
    Interlock__Policy__V1__Action action = *self->facts->action;
    Interlock__Policy__V1__Reach reach = INTERLOCK__POLICY__V1__REACH__INIT;
    bytes packed;
    if (action.reach != NULL)
        reach = *action.reach;
    if (percent->stated && (!(reach.percent > 0) || reach.percent > percent->most))
        reach.percent = percent->most;
    if (replicas->stated && (reach.replicas == 0 || reach.replicas > replicas->most))
        reach.replicas = (uint32_t)replicas->most;
    action.reach = &reach;
    if (wire_pack(&action.base, self->memory, &packed, NULL) != STATUS_OK)
        return false;
    sha256(packed, out);
    return true;
}

static const char *impact_message(const draft *self) {
    for (size_t i = 0; i < self->decision->n_findings; i++)
        if (self->decision->findings[i]->primitive == PRIMITIVE(BLAST_RADIUS))
            return self->decision->findings[i]->message;
    return "";
}

static void conclude_open(draft *self, bool narrowed) {
    if (!narrowed) {
        draft_conclude(self, OUTCOME(ALLOW), 0, impact_message(self));
        return;
    }
    char *text = draft_bounds_text(self);
    finding *made = draft_finding(self, PRIMITIVE(BLAST_RADIUS), PASS, "NARROWED", text);
    if (made != NULL)
        made->bound = text;
    draft_conclude(self, OUTCOME(MODIFY), 0, text);
}

static void allow(draft *self) {
    uint8_t effective[CRYPTO_HASH_BYTES];
    if (!draft_undecided(self))
        return;
    bool narrowed = draft_is_narrowed(self);
    conclude_open(self, narrowed);
    if (self->decision->mode != MODE(ENFORCED) || self->out_of_memory)
        return;
    if (narrowed && !effective_digest(self, effective)) {
        self->out_of_memory = true;
        return;
    }
    self->decision->permit =
        claims_new(self->facts, narrowed ? effective : self->facts->digest, self->memory);
    self->out_of_memory = self->decision->permit == NULL;
}

static void add_seen(draft *self) {
    Interlock__Policy__V1__Seen *seen = arena_alloc(self->memory, sizeof *seen);
    Interlock__Policy__V1__Model *model = arena_alloc(self->memory, sizeof *model);
    if (seen == NULL || model == NULL) {
        self->out_of_memory = true;
        return;
    }
    const policy_agent_facts agent = decide_agent_facts(self->facts);
    interlock__policy__v1__seen__init(seen);
    interlock__policy__v1__model__init(model);
    model->provider = draft_copy(self, agent.model_provider);
    model->name = draft_copy(self, agent.model_name);
    model->version = draft_copy(self, agent.model_version);
    seen->model = model;
    seen->delegation_root = draft_copy(self, agent.delegation_root);
    seen->unknown_targets = (char **)(uintptr_t)self->facts->unknown_targets;
    seen->n_unknown_targets = self->facts->unknown_count;
    seen->stage = draft_copy(self, policy_stage_name(stage_of(self->facts->document, self->facts->action)));
    seen->executor =
        draft_copy(self, self->facts->executor_principal != NULL ? self->facts->executor_principal : "");
    self->decision->seen = seen;
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
    reference->name = draft_copy(self, document->set->name);
    reference->version = document->version;
    reference->digest = draft_copy(self, document->digest);
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
    decision->principal = draft_copy(self, facts->enrolment->statement->principal);
    decision->verb = facts->action->verb;
    decision->targets = facts->action->targets;
    decision->n_targets = facts->action->n_targets;
    size_t more = facts->action->n_targets - 1;
    self->subject =
        more == 0 ? draft_write(self, "%s on %s", decision->verb, decision->targets[0])
                  : draft_write(self, "%s on %s and %zu more", decision->verb, decision->targets[0], more);
    return decision->findings != NULL && decision->action_digest.data != NULL && !self->out_of_memory;
}

status_code decide(const decision_facts *facts, arena *memory, Interlock__Policy__V1__Decision **out,
                   failure *why) {
    draft self = {.facts = facts, .memory = memory};
    if (draft_begin(&self)) {
        add_policy_reference(&self);
        add_seen(&self);
        self.share = share_of(&self);
        judge_kill(&self);
        judge_counters(&self);
        judge_identity(&self);
        judge_policies(&self);
        judge_impact(&self);
        judge_executor(&self);
        judge_approval(&self);
        judge_limits(&self);
        judge_record(&self);
        draft_add_bounds(&self);
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
