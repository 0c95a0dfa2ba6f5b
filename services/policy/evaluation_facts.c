/* What a decision rests on: control data, the policy set, the predicted impact, the executor. */
#include <stdio.h>
#include <string.h>

#include "evaluation.h"
#include "message.h"

#define VIEW_AGE_MAX_MS 5000U
#define PREDICT_TIMEOUT_MS 2000U

/* What the key is enrolled for, where the action does not say. */
static const char *model_of(const proposal *proposed) {
    const Interlock__Policy__V1__Model *model = proposed->action->model;
    return model != NULL && model->name[0] != '\0' ? model->name : proposed->enrolment->statement->model_name;
}

static const Interlock__Control__V1__Kill *kill_of(const evaluation *self, const control_view *view) {
    const Interlock__Policy__V1__Action *action = self->proposed.action;
    return control_find_kill(view, action->header->principal, model_of(&self->proposed), action->verb,
                             action->targets, action->n_targets);
}

static void gather_control(evaluation *self) {
    policy_service *service = self->service;
    decision_facts *facts = &self->facts;
    facts->control_fresh = control_is_fresh(service->live);
    facts->control_reason = "";
    if (!facts->control_fresh) {
        char reason[256];
        control_reason(service->live, reason);
        char *copy = arena_text(self->memory, reason);
        facts->control_reason = copy == NULL ? "" : copy;
    }
    facts->control_seq = self->view->seq;
    facts->epoch = atomic_load(&service->log.epoch);
    facts->behind_fence = self->fenced_seq != 0 && self->view->seq <= self->fenced_seq;
    facts->kill = kill_of(self, self->view);
}

static void gather_policy(evaluation *self) {
    decision_facts *facts = &self->facts;
    document_unref(self->document);
    self->document = books_acquire(&self->service->books, self->view->policy, self->view->policy_digest,
                                   &facts->policy_unreadable);
    facts->document = self->document;
    const char *asked = facts->action->executor;
    facts->executor_principal = asked[0] != '\0' ? asked : self->service->executor;
    facts->executor = control_find_principal(self->view, facts->executor_principal);
}

/* ---- impact ---- */

static void impact_absent(evaluation *self, const char *reason) {
    char *copy = arena_text(self->memory, reason);
    self->facts.impact = NULL;
    self->facts.impact_reason = copy == NULL ? "" : copy;
}

static void impact_predicted(void *context, status_code code, const ProtobufCMessage *response,
                             const failure *why) {
    evaluation *self = context;
    const Interlock__Graph__V1__PredictImpactResponse *answer =
        code != STATUS_OK
            ? NULL
            : (const Interlock__Graph__V1__PredictImpactResponse *)message_copy(response, self->memory);
    if (answer == NULL || answer->impact == NULL) {
        impact_absent(self, code != STATUS_OK ? why->message : "the graph gave no impact");
    } else {
        self->facts.impact = answer->impact;
        self->facts.graph_revision = answer->revision;
        self->facts.unknown_targets = answer->unknown_targets;
        self->facts.unknown_count = answer->n_unknown_targets;
    }
    evaluation_decide(self);
}

/* What no view holds is asked of the graph, within a deadline. */
static void impact_ask(evaluation *self) {
    Interlock__Graph__V1__PredictImpactRequest request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
    request.targets = self->facts.action->targets;
    request.n_targets = self->facts.action->n_targets;
    request.verb = self->facts.action->verb;
    failure why = {0};
    if (graph_predict_impact_start(rpc_call_loop(self->call), self->service->graph, &request,
                                   PREDICT_TIMEOUT_MS, rpc_call_traceparent(self->call), impact_predicted,
                                   self, &why) == STATUS_OK)
        return;
    impact_absent(self, why.message);
    evaluation_decide(self);
}

/* A node that the graph has never seen: nothing is known of what it reaches. */
static void impact_unknown(evaluation *self) {
    Interlock__Graph__V1__Impact *impact = arena_alloc(self->memory, sizeof *impact);
    if (impact == NULL) {
        impact_absent(self, "no memory left in this call");
        return;
    }
    interlock__graph__v1__impact__init(impact); /* without a share: the interval [0, 1] */
    self->facts.impact = impact;
    self->facts.unknown_targets = self->facts.action->targets;
    self->facts.unknown_count = 1;
}

/* The impact of a single target, from the view that the graph streams. */
static void impact_view(evaluation *self) {
    char reason[128];
    policy_service *service = self->service;
    graph_views_release(self->table);
    self->table = graph_views_acquire(service->views);
    uint64_t age_ms = graph_views_age_ms(service->views);
    if (self->table == NULL || age_ms > VIEW_AGE_MAX_MS) {
        (void)snprintf(reason, sizeof reason, "the graph was last heard %llu ms ago; at most %u are taken",
                       (unsigned long long)age_ms, VIEW_AGE_MAX_MS);
        impact_absent(self, self->table == NULL ? "the graph has not been heard yet" : reason);
        return;
    }
    self->facts.graph_revision = graph_views_revision(self->table);
    self->facts.impact = graph_views_find(self->table, self->facts.action->targets[0]);
    if (self->facts.impact == NULL)
        impact_unknown(self);
}

void evaluation_gather(evaluation *self) {
    self->facts = (decision_facts){.installation = self->service->roots->installation,
                                   .action = self->proposed.action,
                                   .digest = self->proposed.digest,
                                   .enrolment = self->proposed.enrolment,
                                   .now_ms = chance_wall_ms(self->service->source),
                                   .permit_id = self->permit_id,
                                   .impact_reason = ""};
    gather_control(self);
    gather_policy(self);
    if (self->facts.action->n_targets > 1) {
        impact_ask(self);
        return;
    }
    impact_view(self);
    evaluation_decide(self);
}

/* ---- again, before a permit ---- */

static status_code refuse_permit(failure *why, const char *reason, const char *what) {
    status_code code =
        fail(why, STATUS_UNAVAILABLE, reason,
             "the decision is in the log, but its permit is held back: %.300s; send the same action "
             "again",
             what);
    if (why != NULL)
        why->retry_after_ms = 1000;
    return code;
}

status_code evaluation_recheck(evaluation *self, failure *why) {
    policy_service *service = self->service;
    if (!control_is_fresh(service->live)) {
        char reason[256];
        control_reason(service->live, reason);
        return refuse_permit(why, "CONTROL_NOT_FRESH", reason);
    }
    status_code code = STATUS_OK;
    const control_view *view = control_acquire(service->live);
    const control_enrolment *enrolment = control_find_key(view, self->proposed.enrolment->keyid);
    if (kill_of(self, view) != NULL)
        code = refuse_permit(why, "KILL_SWITCH_SET", "a kill switch covers the action");
    else if (enrolment == NULL || enrolment->statement->revoked)
        code = fail(why, STATUS_UNAUTHENTICATED, "KEY_REVOKED",
                    "the agent's key was revoked while the action was decided; enrol a new one");
    control_release(service->live, view);
    return code;
}
