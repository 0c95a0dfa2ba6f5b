/* What a backtest found, as tables and as JSON. */
#include "backtest_report.h"

#include <string.h>

const char *backtest_because(arena *memory, const backtest_change *change) {
    const char *text =
        arena_format(memory, "%s%s%s%s%s", policy_reason_name(change->reason),
                     change->rule != NULL ? " by " : "", change->rule != NULL ? change->rule->name : "",
                     change->detail[0] != '\0' ? ": " : "", change->detail);
    return text != NULL ? text : "";
}

const char *backtest_target(arena *memory, const backtest_change *change) {
    const char *text =
        change->service_count > 1
            ? arena_format(memory, "%s and %zu more", change->services[0], change->service_count - 1)
            : change->services[0];
    return text != NULL ? text : "";
}

const char *backtest_fate(const backtest *found, const backtest_incident *incident) {
    if (found->changes == NULL || incident->cause >= found->change_count)
        return "cause not known";
    switch (found->changes[incident->cause].outcome) {
    case POLICY_DENY:
        return "prevented";
    case POLICY_REVIEW:
        return "held for approval";
    case POLICY_DEFER:
        return "deferred";
    case POLICY_MODIFY:
        return "narrowed";
    default:
        return "missed";
    }
}

static const char *number(arena *memory, uint64_t value) {
    return arena_format(memory, "%llu", (unsigned long long)value);
}

static const char *percent_of(arena *memory, uint64_t part, uint64_t whole) {
    return whole > 0 ? arena_format(memory, "%.0f %%", 100.0 * (double)part / (double)whole) : "-";
}

/* ---- for people ---- */

static void print_head(cli *self, const backtest *found, const backtest_scope *scope) {
    const backtest_totals *totals = &found->totals;
    printf("%zu change%s and %zu incident%s of %s, %s to %s, as if agents had proposed them;\n"
           "judged by %s, version %llu (%zu rules).\n\n",
           found->change_count, found->change_count == 1 ? "" : "s", found->incident_count,
           found->incident_count == 1 ? "" : "s", cli_safe(&self->memory, scope->events),
           found->change_count + found->incident_count > 0 ? cli_time(&self->memory, found->from_ms) : "-",
           found->change_count + found->incident_count > 0 ? cli_time(&self->memory, found->to_ms) : "-",
           cli_safe(&self->memory, scope->set->name), (unsigned long long)scope->set->version,
           scope->set->rule_count);
    if (!scope->knows_impact)
        puts("Impact is not known here: rules that read it defer. Feed the graph and leave out --impact "
             "none.");
    else
        puts("Impact is what the graph predicts today, for production as it is now.");
    if (scope->knows_impact && scope->without_impact > 0)
        printf("For %llu changes the graph could tell no impact: rules that read it defer.\n",
               (unsigned long long)scope->without_impact);
    if (found->ignored > 0)
        printf("%llu events of other types are left out.\n", (unsigned long long)found->ignored);
    printf("Incidents     %llu with a known cause%s: %llu prevented, %llu held, %llu narrowed, %llu missed\n",
           (unsigned long long)totals->with_cause,
           totals->presumed > 0 ? arena_format(&self->memory, " (%llu by time and place alone)",
                                               (unsigned long long)totals->presumed)
                                : "",
           (unsigned long long)totals->prevented, (unsigned long long)totals->held,
           (unsigned long long)totals->narrowed, (unsigned long long)totals->missed);
    printf("False alarms  %llu refused and %llu held up, of changes after which nothing happened\n",
           (unsigned long long)totals->false_alarms, (unsigned long long)totals->quiet_waits);
}

static void print_outcomes(cli *self, const backtest *found) {
    static const char *const headings[] = {"OUTCOME", "CHANGES", "SHARE"};
    cli_table *table = cli_table_new(headings, 3);
    for (int outcome = POLICY_ALLOW; outcome <= POLICY_DENY; outcome++) {
        uint64_t count = found->totals.by_outcome[outcome];
        const char *cells[] = {policy_outcome_name((policy_outcome)outcome), number(&self->memory, count),
                               percent_of(&self->memory, count, found->change_count)};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
}

static void add_rule(cli *self, cli_table *table, const char *name, const char *effect,
                     const backtest_rule *rule) {
    arena *memory = &self->memory;
    const char *cells[] = {name,
                           effect,
                           number(memory, rule->held),
                           number(memory, rule->decisive),
                           number(memory, rule->prevented),
                           number(memory, rule->false_alarms)};
    cli_table_row(table, cells);
}

static void print_rules(cli *self, const backtest *found, const backtest_scope *scope) {
    static const char *const headings[] = {"RULE",        "EFFECT", "HELD", "STOPPED", "INCIDENTS PREVENTED",
                                           "FALSE ALARMS"};
    cli_table *table = cli_table_new(headings, 6);
    for (size_t i = 0; i < scope->set->rule_count; i++)
        add_rule(self, table, cli_safe(&self->memory, scope->set->rules[i].name),
                 policy_effect_name(scope->set->rules[i].effect), &found->rules[i]);
    if (found->nothing.decisive > 0)
        add_rule(self, table, "(nothing permits it)", "", &found->nothing);
    puts("");
    cli_table_print(table, stdout);
}

static void print_incidents(cli *self, const backtest *found, const backtest_scope *scope) {
    static const char *const headings[] = {"OPENED", "INCIDENT", "CAUSE", "FATE", "BECAUSE"};
    arena *memory = &self->memory;
    if (found->incident_count == 0)
        return;
    cli_table *table = cli_table_new(headings, 5);
    for (size_t i = 0; i < found->incident_count && i < scope->limit; i++) {
        const backtest_incident *incident = &found->incidents[i];
        const backtest_change *cause =
            incident->cause != BACKTEST_NONE ? &found->changes[incident->cause] : NULL;
        const char *cells[] = {
            cli_time(memory, incident->opened_ms),
            cli_safe(memory, incident->title[0] != '\0' ? incident->title : incident->name),
            cause == NULL ? "-"
                          : arena_format(memory, "%s %s%s", cli_safe(memory, cause->verb),
                                         cli_safe(memory, backtest_target(memory, cause)),
                                         incident->presumed ? " ?" : ""),
            backtest_fate(found, incident),
            cause == NULL || cause->outcome == POLICY_ALLOW
                ? ""
                : cli_safe(memory, backtest_because(memory, cause))};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
    if (found->incident_count > scope->limit)
        printf("… and %zu more (--limit N, --html FILE, -o json)\n", found->incident_count - scope->limit);
}

static void print_refusals(cli *self, const backtest *found, const backtest_scope *scope) {
    static const char *const headings[] = {"TIME",    "VERB",    "TARGET",
                                           "OUTCOME", "BECAUSE", "INCIDENT FOLLOWED"};
    arena *memory = &self->memory;
    uint64_t refused = found->totals.by_outcome[POLICY_DENY], shown = 0;
    if (refused == 0)
        return;
    cli_table *table = cli_table_new(headings, 6);
    for (size_t i = 0; i < found->change_count && shown < scope->limit; i++) {
        const backtest_change *change = &found->changes[i];
        if (change->outcome != POLICY_DENY)
            continue;
        const char *cells[] = {cli_time(memory, change->time_ms),
                               cli_safe(memory, change->verb),
                               cli_safe(memory, backtest_target(memory, change)),
                               policy_outcome_name(change->outcome),
                               cli_safe(memory, backtest_because(memory, change)),
                               change->incident_count > 0 ? "yes" : "no"};
        cli_table_row(table, cells);
        shown++;
    }
    puts("");
    cli_table_print(table, stdout);
    if (refused > shown)
        printf("… and %llu more refusals\n", (unsigned long long)(refused - shown));
}

void backtest_print(cli *self, const backtest *found, const backtest_scope *scope) {
    print_head(self, found, scope);
    print_outcomes(self, found);
    print_incidents(self, found, scope);
    print_refusals(self, found, scope);
    print_rules(self, found, scope);
}

/* ---- for programs ---- */

static json_t *rule_json(const char *name, const char *effect, const backtest_rule *rule) {
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "rule", name, "effect", effect, "held",
                     (json_int_t)rule->held, "stopped", (json_int_t)rule->decisive, "prevented",
                     (json_int_t)rule->prevented, "falseAlarms", (json_int_t)rule->false_alarms);
}

static json_t *rules_json(const backtest *found, const policy_set *set) {
    json_t *list = json_array();
    for (size_t i = 0; i < set->rule_count; i++)
        json_array_append_new(
            list, rule_json(set->rules[i].name, policy_effect_name(set->rules[i].effect), &found->rules[i]));
    json_array_append_new(list, rule_json("", "", &found->nothing));
    return list;
}

static json_t *incidents_json(const backtest *found) {
    json_t *list = json_array();
    for (size_t i = 0; i < found->incident_count; i++) {
        const backtest_incident *incident = &found->incidents[i];
        const char *cause = incident->cause != BACKTEST_NONE ? found->changes[incident->cause].id : "";
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s, s:b, s:s}", "incident", incident->name,
                                              "title", incident->title, "openedAtMs",
                                              (json_int_t)incident->opened_ms, "cause", cause, "presumed",
                                              incident->presumed, "fate", backtest_fate(found, incident)));
    }
    return list;
}

static json_t *changes_json(const backtest *found) {
    json_t *list = json_array();
    for (size_t i = 0; i < found->change_count; i++) {
        const backtest_change *change = &found->changes[i];
        json_t *targets = json_array();
        for (size_t j = 0; j < change->service_count; j++)
            json_array_append_new(targets, json_string(change->services[j]));
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:s, s:o, s:s, s:s, s:s, s:s, s:I}", "id", change->id,
                                        "timeMs", (json_int_t)change->time_ms, "verb", change->verb,
                                        "targets", targets, "outcome", policy_outcome_name(change->outcome),
                                        "reason", policy_reason_name(change->reason), "rule",
                                        change->rule != NULL ? change->rule->name : "", "message",
                                        change->message, "incidents", (json_int_t)change->incident_count));
    }
    return list;
}

json_t *backtest_json(const backtest *found, const backtest_scope *scope) {
    const backtest_totals *totals = &found->totals;
    json_t *outcomes = json_object();
    for (int outcome = POLICY_ALLOW; outcome <= POLICY_DENY; outcome++)
        json_object_set_new(outcomes, policy_outcome_name((policy_outcome)outcome),
                            json_integer((json_int_t)totals->by_outcome[outcome]));
    json_t *summary =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "changes",
                  (json_int_t)found->change_count, "incidents", (json_int_t)found->incident_count,
                  "withCause", (json_int_t)totals->with_cause, "presumed", (json_int_t)totals->presumed,
                  "prevented", (json_int_t)totals->prevented, "held", (json_int_t)totals->held, "narrowed",
                  (json_int_t)totals->narrowed, "missed", (json_int_t)totals->missed, "falseAlarms",
                  (json_int_t)totals->false_alarms, "heldUpForNothing", (json_int_t)totals->quiet_waits,
                  "ignored", (json_int_t)found->ignored, "outcomes", outcomes);
    return json_pack("{s:s, s:I, s:b, s:I, s:o, s:o, s:o, s:o}", "policyName", scope->set->name,
                     "policyVersion", (json_int_t)scope->set->version, "impactKnown", scope->knows_impact,
                     "withoutImpact", (json_int_t)scope->without_impact, "summary", summary, "rules",
                     rules_json(found, scope->set), "incidents", incidents_json(found), "changes",
                     changes_json(found));
}
