/* The facts of a decision, put together again from its record. */
#include "policy_record.h"

#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

#define AFFECTED_MOST 256U /* the graph lists no more: a full list may not be whole */

typedef Interlock__Policy__V1__Action action_message;
typedef Interlock__Policy__V1__Decision decision_message;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the facts of a decision");
}

static const char *actor_kind(Interlock__Policy__V1__ActorKind kind) {
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

static status_code pairs_of(Interlock__Policy__V1__Argument *const *arguments, size_t count, arena *memory,
                            const policy_pair **out, failure *why) {
    policy_pair *pairs = arena_zero(memory, count + 1, sizeof *pairs);
    if (pairs == NULL)
        return no_memory(why);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (policy_pair){.name = arguments[i]->name, .value = arguments[i]->value};
    *out = pairs;
    return STATUS_OK;
}

static void fill_change(const action_message *action, policy_action_facts *out) {
    const Interlock__Policy__V1__Change *change = action->change;
    static const char *const kinds[] = {"", "diff", "sql", "manifest"};
    out->change_kind = "";
    if (change == NULL || (unsigned)change->content_case > 3U ||
        change->content_case == INTERLOCK__POLICY__V1__CHANGE__CONTENT__NOT_SET)
        return;
    out->change_kind = kinds[change->content_case];
    out->change = change->diff; /* the members of the oneof share their place */
}

static status_code fill_action(const action_message *action, arena *memory, policy_action_facts *out,
                               failure *why) {
    *out = (policy_action_facts){
        .id = action->action_id,
        .session_id = action->session_id,
        .verb = action->verb,
        .intent = action->intent,
        .harness = action->harness,
        .on_behalf_of = action->on_behalf_of,
        .executor = action->executor,
        .actor_kind = actor_kind(action->actor_kind),
        .dry_run = action->dry_run,
        .argument_count = action->n_arguments,
        .percent = action->reach != NULL ? action->reach->percent : 0,
        .replicas = action->reach != NULL ? action->reach->replicas : 0,
        .region = action->reach != NULL ? action->reach->region : "",
        .reversal_verb = action->reversal != NULL ? action->reversal->verb : "",
        .probes = (const char *const *)action->health_probes,
        .probe_count = action->n_health_probes,
    };
    fill_change(action, out);
    status_code code = pairs_of(action->arguments, action->n_arguments, memory, &out->arguments, why);
    if (code == STATUS_OK && action->reversal != NULL) {
        out->reversal_argument_count = action->reversal->n_arguments;
        code = pairs_of(action->reversal->arguments, action->reversal->n_arguments, memory,
                        &out->reversal_arguments, why);
    }
    return code;
}

static void fill_agent(const action_message *action, const decision_message *decision,
                       policy_agent_facts *out) {
    const Interlock__Policy__V1__Seen *seen = decision->seen;
    const Interlock__Policy__V1__Model *model =
        seen != NULL && seen->model != NULL ? seen->model : action->model;
    *out = (policy_agent_facts){.principal = decision->principal};
    if (seen != NULL)
        out->delegation_root = seen->delegation_root;
    if (model == NULL)
        return;
    out->model_provider = model->provider;
    out->model_name = model->name;
    out->model_version = model->version;
}

static status_code fill_targets(const action_message *action, arena *memory, policy_facts *facts,
                                failure *why) {
    policy_target *targets = arena_zero(memory, action->n_targets + 1, sizeof *targets);
    if (targets == NULL)
        return no_memory(why);
    for (size_t i = 0; i < action->n_targets; i++)
        targets[i].name = action->targets[i];
    facts->targets = targets;
    facts->target_count = action->n_targets;
    return STATUS_OK;
}

static status_code fill_impact(const Interlock__Graph__V1__Impact *impact, arena *memory,
                               policy_impact_facts *out, failure *why) {
    *out = (policy_impact_facts){0};
    const Interlock__Graph__V1__Share unseen = {.high = 1, .expected = 1};
    if (impact == NULL)
        return STATUS_OK;
    const Interlock__Graph__V1__Share *share =
        impact->entry_traffic != NULL ? impact->entry_traffic : &unseen;
    policy_affected *affected = arena_zero(memory, impact->n_affected + 1, sizeof *affected);
    if (affected == NULL)
        return no_memory(why);
    for (size_t i = 0; i < impact->n_affected; i++)
        affected[i] = (policy_affected){.name = impact->affected[i]->name,
                                        .probability = impact->affected[i]->probability};
    *out = (policy_impact_facts){.known = true,
                                 .expected = share->expected,
                                 .low = share->low,
                                 .high = share->high,
                                 .observed_requests = impact->observed_requests,
                                 .affected = affected,
                                 .affected_count = impact->n_affected};
    return STATUS_OK;
}

/* What the policy service made of what the action left open, or the graph did not know. */
static void fill_seen(const Interlock__Policy__V1__Seen *seen, policy_facts *facts) {
    if (seen == NULL)
        return;
    if (seen->executor[0] != '\0')
        facts->action.executor = seen->executor;
    if (!facts->impact.known)
        return;
    facts->impact.affected_incomplete =
        seen->n_unknown_targets > 0 || facts->impact.affected_count >= AFFECTED_MOST;
    if (seen->n_unknown_targets > 0)
        facts->impact.high = 1;
}

static status_code fill_facts(recorded_decision *out, arena *memory, failure *why) {
    policy_facts *facts = &out->facts;
    *facts = (policy_facts){.now_ms = out->decision->decided_at_ms};
    status_code code = fill_action(out->action, memory, &facts->action, why);
    if (code == STATUS_OK)
        code = fill_targets(out->action, memory, facts, why);
    if (code == STATUS_OK)
        code = fill_impact(out->decision->impact, memory, &facts->impact, why);
    fill_agent(out->action, out->decision, &facts->agent);
    fill_seen(out->decision->seen, facts);
    return code;
}

/* Who decided, by the words of the findings that did not pass. */
static void fill_deciders(recorded_decision *out) {
    static const char *const before[] = {"CONTROL_NOT_FRESH", "CONTROL_BEHIND_FENCE", "KILL_SWITCH_SET",
                                         "COUNTER_EXHAUSTED", "MODEL_MISMATCH",       "ACTOR_MISMATCH",
                                         "POLICY_UNREADABLE"};
    for (size_t i = 0; i < out->decision->n_findings; i++) {
        const Interlock__Policy__V1__Finding *finding = out->decision->findings[i];
        if (finding->result == INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_PASS)
            continue;
        for (size_t j = 0; j < sizeof before / sizeof *before && out->elsewhere == NULL; j++)
            if (strcmp(finding->reason, before[j]) == 0)
                out->elsewhere = before[j];
        if (strcmp(finding->reason, "EXECUTOR_NOT_ENROLLED") == 0)
            out->afterwards = "EXECUTOR_NOT_ENROLLED";
    }
}

static status_code unpack(const ProtobufCMessageDescriptor *type, const Interlock__Common__V1__Envelope *from,
                          arena *memory, ProtobufCMessage **out, failure *why) {
    return wire_unpack(type, bytes_of(from->payload.data, from->payload.len), memory, out, why);
}

status_code recorded_decision_read(const Interlock__Audit__V1__Entry *entry, arena *memory,
                                   recorded_decision *out, failure *why) {
    ProtobufCMessage *message = NULL;
    if (entry->record == NULL || strcmp(entry->record->payload_type, PAYLOAD_DECISION) != 0)
        return fail(why, STATUS_NOT_FOUND, "NO_DECISION", "record %llu is no decision, or its body is erased",
                    (unsigned long long)entry->index);
    status_code code =
        unpack(&interlock__policy__v1__decision_record__descriptor, entry->record, memory, &message, why);
    if (code != STATUS_OK)
        return code;
    const Interlock__Policy__V1__DecisionRecord *record =
        (const Interlock__Policy__V1__DecisionRecord *)message;
    if (record->decision == NULL || record->action == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "RECORD_INCOMPLETE", "record %llu lacks its action",
                    (unsigned long long)entry->index);
    code = unpack(&interlock__policy__v1__action__descriptor, record->action, memory, &message, why);
    if (code != STATUS_OK)
        return code;
    recorded_decision found = {.log_index = entry->index,
                               .decision = record->decision,
                               .action = (const action_message *)message,
                               .policy_digest = ""};
    if (record->decision->n_policies > 0) {
        found.policy_digest = record->decision->policies[0]->digest;
        found.policy_version = record->decision->policies[0]->version;
    }
    fill_deciders(&found);
    code = fill_facts(&found, memory, why);
    if (code == STATUS_OK)
        *out = found;
    return code;
}
