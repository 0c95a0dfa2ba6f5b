/* Evaluate, from the call to its end. Every step runs on the call's loop and none blocks; what reads the past
 * runs on the lookup thread and comes back to the loop. */
#include "policy.h"

#include <string.h>

#include "evaluation.h"
#include "log_fetch.h"

#define DEADLINE_DEFAULT_NS (10ULL * 1000000000ULL)

static void evaluation_let_go(evaluation *self) {
    if (self->view != NULL)
        control_release(self->service->live, self->view);
    document_unref(self->document);
    graph_views_release(self->table);
    self->view = NULL;
    self->document = NULL;
    self->table = NULL;
}

void evaluation_finish(evaluation *self, status_code code, const failure *why) {
    rpc_call *call = self->call;
    evaluation_let_go(self);
    rpc_call_complete(call, code, why);
}

/* Control data that are not fresh cannot tell that somebody is not enrolled: a process that started while
 * coordination was damaged or away knows nobody. */
static status_code doubt_absence(const evaluation *self, status_code code, failure *why) {
    char reason[256];
    if (code != STATUS_UNAUTHENTICATED || why == NULL || strcmp(why->reason, "AGENT_NOT_ENROLLED") != 0)
        return code;
    control_reason(self->service->live, reason);
    if (reason[0] == '\0')
        return code;
    (void)fail(why, STATUS_UNAVAILABLE, "CONTROL_NOT_FRESH",
               "whether the agent is enrolled is not known now (%s); send the same action again", reason);
    why->retry_after_ms = 1000;
    return STATUS_UNAVAILABLE;
}

status_code evaluation_open(evaluation *self, failure *why) {
    evaluation_let_go(self);
    policy_service *service = self->service;
    self->view = control_acquire(service->live);
    action_gate gate = {.view = self->view,
                        .installation = service->roots->installation,
                        .peer = rpc_call_peer(self->call),
                        .source = service->source};
    status_code code = action_open(&gate, self->envelope, self->memory, &self->proposed, why);
    return code == STATUS_OK ? code : doubt_absence(self, code, why);
}

/* ---- the past ---- */

static void look_up_done(void *context) {
    evaluation *self = context;
    if (self->lookup_code == STATUS_OK)
        evaluation_adopt(self, self->found, self->found_receipt);
    else
        evaluation_finish(self, self->lookup_code, &self->lookup_why);
}

/* Where the projection says that the decision is; refuses an action that it does not know. */
static status_code look_up_index(evaluation *self, uint64_t *index, failure *why) {
    policy_store_action known;
    bool found = false;
    status_code code = policy_store_find_action(self->service->lookup_reader,
                                                self->proposed.action->action_id, &found, &known, why);
    if (code != STATUS_OK)
        return code;
    if (found) {
        *index = known.decision_index;
        return STATUS_OK;
    }
    if (projection_is_current(&self->service->log))
        return action_refuse_expired(&self->proposed, self->service->source, why);
    code = fail(why, STATUS_UNAVAILABLE, "LOG_NOT_FOLLOWED",
                "the action has expired and the log cannot be asked now whether it was decided; try again");
    why->retry_after_ms = 1000;
    return code;
}

static status_code look_up(evaluation *self, failure *why) {
    uint64_t index = self->lookup_index;
    status_code code = index != 0 ? STATUS_OK : look_up_index(self, &index, why);
    if (code == STATUS_OK)
        code = log_fetch_decision(self->service->audit, index, self->memory, &self->found, why);
    if (code == STATUS_OK)
        code = log_fetch_receipt(self->service->audit, self->found, self->memory, &self->found_receipt, why);
    return code;
}

static void look_up_task(void *context, bool stopping) {
    evaluation *self = context;
    failure *why = &self->lookup_why;
    self->lookup_code =
        stopping ? fail(why, STATUS_UNAVAILABLE, "STOPPING", "policy is stopping; send the same action again")
                 : look_up(self, why);
    if (rpc_loop_post(rpc_call_loop(self->call), look_up_done, self) != STATUS_OK) {
        failure busy = {0};
        status_code code =
            fail(&busy, STATUS_UNAVAILABLE, "BUSY", "policy is busy; send the same action again");
        evaluation_finish(self, code, &busy);
    }
}

void evaluation_look_up(evaluation *self, uint64_t index) {
    failure why = {0};
    self->lookup_index = index;
    status_code code = worker_submit(self->service->lookup_worker, look_up_task, self, &why);
    if (code != STATUS_OK)
        evaluation_finish(self, code, &why);
}

/* ---- the call ---- */

static uint64_t deadline_of(const rpc_call *call, const chance *source) {
    uint64_t asked = rpc_call_deadline_boot_ns(call);
    uint64_t most = chance_boot_ns(source) + DEADLINE_DEFAULT_NS;
    return asked < most ? asked : most;
}

status_code policy_evaluate(policy_service *service, rpc_call *call,
                            const Interlock__Common__V1__Envelope *action, failure *why) {
    evaluation *self = arena_zero(rpc_call_arena(call), 1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CALL_TOO_LARGE", "no memory left in this call");
    self->service = service;
    self->call = call;
    self->memory = rpc_call_arena(call);
    self->envelope = action;
    self->deadline_boot_ns = deadline_of(call, service->source);
    chance_random(service->source, self->permit_id, sizeof self->permit_id);
    status_code code = evaluation_open(self, why);
    if (code != STATUS_OK) {
        evaluation_let_go(self);
        return code;
    }
    if (self->proposed.expired)
        evaluation_look_up(self, 0);
    else
        evaluation_gather(self);
    return STATUS_PENDING;
}
