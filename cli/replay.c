/* What another policy set would have decided: comparing and counting. */
#include "replay.h"

#include <string.h>

replay_outcome replay_recorded(const recorded_decision *decision) {
    replay_outcome out = {.outcome = (policy_outcome)decision->decision->outcome, .reason = "", .rule = ""};
    if (decision->elsewhere != NULL) {
        out.reason = decision->elsewhere;
        return out;
    }
    for (size_t i = 0; i < decision->decision->n_findings; i++) {
        const Interlock__Policy__V1__Finding *finding = decision->decision->findings[i];
        if (finding->result == INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_PASS)
            continue;
        out.reason = finding->reason;
        out.rule = finding->rule;
        break;
    }
    return out;
}

static bool lets_it_run(policy_outcome outcome) {
    return outcome == POLICY_ALLOW || outcome == POLICY_MODIFY;
}

status_code replay_evaluate(const policy_set *set, const recorded_decision *decision, arena *memory,
                            policy_result *result, replay_outcome *out, failure *why) {
    status_code code = policies_evaluate(set, &decision->facts, memory, result, why);
    if (code != STATUS_OK)
        return code;
    out->outcome = result->outcome;
    out->reason = policy_reason_name(result->reason);
    out->rule = result->decisive != NULL ? result->decisive->rule->name : "";
    if (result->reason == POLICY_OVER_BOUND && result->bounds.of[result->over].rule != NULL)
        out->rule = result->bounds.of[result->over].rule->name;
    if (decision->elsewhere != NULL)
        *out = replay_recorded(decision);
    else if (decision->afterwards != NULL && lets_it_run(out->outcome))
        *out = (replay_outcome){.outcome = POLICY_DEFER, .reason = decision->afterwards, .rule = ""};
    return STATUS_OK;
}

bool replay_differs(const replay_outcome *was, const replay_outcome *would) {
    return was->outcome != would->outcome;
}

static unsigned place(policy_outcome outcome) {
    return (unsigned)outcome < REPLAY_OUTCOMES ? (unsigned)outcome : 0;
}

void replay_count(replay_tally *self, const replay_outcome *was, const replay_outcome *would) {
    self->decisions++;
    self->changed += replay_differs(was, would);
    self->from_to[place(was->outcome)][place(would->outcome)]++;
}

void rules_count(rule_tally *tallies, const policy_result *result) {
    for (size_t i = 0; i < result->finding_count; i++) {
        rule_tally *tally = &tallies[result->findings[i].rule->index];
        tally->matched++;
        tally->held += result->findings[i].state == POLICY_HOLDS;
        tally->unknown += result->findings[i].state != POLICY_HOLDS;
    }
    const policy_rule *bound =
        result->reason == POLICY_OVER_BOUND ? result->bounds.of[result->over].rule : NULL;
    const policy_rule *decisive = result->decisive != NULL ? result->decisive->rule : bound;
    if (decisive != NULL)
        tallies[decisive->index].decisive++;
}
