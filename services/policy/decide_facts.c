/* See decide_facts.h. What nobody can tell yet (what a change does to contracts, grants, history, tiers,
 * owners, labels) is left absent, so that a rule that reads it defers. */
#include "decide_facts.h"

#define AFFECTED_MOST 256U /* the graph lists no more: a full list may not be whole */

static const char *actor_name(Interlock__Policy__V1__ActorKind kind) {
    switch (kind) {
    case INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT:
        return "agent";
    case INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_HUMAN:
        return "human";
    case INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_PIPELINE:
        return "pipeline";
    default:
        return "";
    }
}

static const policy_pair *arguments_of(Interlock__Policy__V1__Argument *const *arguments, size_t count,
                                       arena *memory) {
    policy_pair *pairs = arena_alloc(memory, (count + 1) * sizeof *pairs);
    for (size_t i = 0; pairs != NULL && i < count; i++)
        pairs[i] = (policy_pair){arguments[i]->name, arguments[i]->value};
    return pairs;
}

static void take_change(const Interlock__Policy__V1__Change *change, policy_action_facts *out) {
    if (change == NULL)
        return;
    switch (change->content_case) {
    case INTERLOCK__POLICY__V1__CHANGE__CONTENT_DIFF:
        out->change_kind = "diff";
        out->change = change->diff;
        break;
    case INTERLOCK__POLICY__V1__CHANGE__CONTENT_SQL:
        out->change_kind = "sql";
        out->change = change->sql;
        break;
    case INTERLOCK__POLICY__V1__CHANGE__CONTENT_MANIFEST:
        out->change_kind = "manifest";
        out->change = change->manifest;
        break;
    default:
        break;
    }
}

static bool take_action(const decision_facts *facts, arena *memory, policy_action_facts *out) {
    const Interlock__Policy__V1__Action *action = facts->action;
    *out = (policy_action_facts){.id = action->action_id,
                                 .session_id = action->session_id,
                                 .verb = action->verb,
                                 .intent = action->intent,
                                 .harness = action->harness,
                                 .on_behalf_of = action->on_behalf_of,
                                 .executor = facts->executor_principal,
                                 .actor_kind = actor_name(action->actor_kind),
                                 .dry_run = action->dry_run,
                                 .argument_count = action->n_arguments,
                                 .probes = (const char *const *)action->health_probes,
                                 .probe_count = action->n_health_probes};
    out->arguments = arguments_of(action->arguments, action->n_arguments, memory);
    take_change(action->change, out);
    if (action->reach != NULL) {
        out->percent = action->reach->percent;
        out->replicas = action->reach->replicas;
        out->region = action->reach->region;
    }
    if (action->reversal == NULL)
        return out->arguments != NULL;
    out->reversal_verb = action->reversal->verb;
    out->reversal_arguments =
        arguments_of(action->reversal->arguments, action->reversal->n_arguments, memory);
    out->reversal_argument_count = action->reversal->n_arguments;
    return out->arguments != NULL && out->reversal_arguments != NULL;
}

static const char *first_stated(const char *stated, const char *enrolled) {
    return stated[0] != '\0' ? stated : enrolled;
}

policy_agent_facts decide_agent_facts(const decision_facts *facts) {
    const Interlock__Control__V1__Enrolment *enrolment = facts->enrolment->statement;
    const Interlock__Policy__V1__Model none = INTERLOCK__POLICY__V1__MODEL__INIT;
    const Interlock__Policy__V1__Model *model = facts->action->model == NULL ? &none : facts->action->model;
    return (policy_agent_facts){.principal = enrolment->principal,
                                .model_provider = first_stated(model->provider, enrolment->model_provider),
                                .model_name = first_stated(model->name, enrolment->model_name),
                                .model_version = first_stated(model->version, enrolment->model_version),
                                .delegation_root = enrolment->delegation_root};
}

static bool take_targets(const decision_facts *facts, arena *memory, policy_facts *out) {
    size_t count = facts->action->n_targets;
    policy_target *targets = arena_zero(memory, count + 1, sizeof *targets);
    for (size_t i = 0; targets != NULL && i < count; i++)
        targets[i].name = facts->action->targets[i];
    out->targets = targets;
    out->target_count = count;
    return targets != NULL;
}

static bool take_impact(const decision_facts *facts, const Interlock__Graph__V1__Share *share, arena *memory,
                        policy_impact_facts *out) {
    if (share == NULL || facts->impact == NULL)
        return true;
    const Interlock__Graph__V1__Impact *impact = facts->impact;
    policy_affected *affected = arena_alloc(memory, (impact->n_affected + 1) * sizeof *affected);
    for (size_t i = 0; affected != NULL && i < impact->n_affected; i++)
        affected[i] = (policy_affected){impact->affected[i]->name, impact->affected[i]->probability};
    *out = (policy_impact_facts){.known = true,
                                 .expected = share->expected,
                                 .low = share->low,
                                 .high = share->high,
                                 .observed_requests = impact->observed_requests,
                                 .affected = affected,
                                 .affected_count = impact->n_affected,
                                 .affected_incomplete =
                                     facts->unknown_count > 0 || impact->n_affected >= AFFECTED_MOST};
    return affected != NULL;
}

bool decide_policy_facts(const decision_facts *facts, const Interlock__Graph__V1__Share *share, arena *memory,
                         policy_facts *out) {
    *out = (policy_facts){.agent = decide_agent_facts(facts), .now_ms = facts->now_ms};
    return take_action(facts, memory, &out->action) && take_targets(facts, memory, out) &&
           take_impact(facts, share, memory, &out->impact);
}
