/* interlock policy replay: what another policy set would have made of the decisions in the log, on exactly
 * the facts that each was made on. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "decisions_scan.h"
#include "policy_commands.h"
#include "policy_files.h"
#include "replay.h"

#define EVALUATION_BYTES (8U << 20)
#define LIMIT_DEFAULT 20.0
#define LIMIT_DEFAULT_JSON 10000.0
#define LIMIT_MOST 100000.0

typedef struct change_row {
    const char *action_id, *principal, *verb, *target;
    int64_t decided_at_ms;
    replay_outcome was, would;
} change_row;

typedef struct replay_work {
    cli *shell;
    policy_versions versions;
    policy_problems problems;
    policy_set *candidate;
    rule_tally *rules;
    replay_tally tally;
    decisions_scan scan;
    arena scratch; /* of one evaluation */
    change_row *rows;
    size_t row_count, row_limit;
    const char *was_wanted, *would_wanted; /* NULL: all changes are shown */
} replay_work;

/* The set that decided, on the recorded facts, must say again what was recorded; when it does not, the record
 * lacks something that the rules read, and what a candidate says of it is worth as little. */
static void check_reproducible(replay_work *self, const recorded_decision *decision,
                               const replay_outcome *was) {
    failure ignored = {0};
    const policy_set *set = NULL;
    policy_result result;
    replay_outcome again;
    if (decision->elsewhere != NULL || decision->policy_digest[0] == '\0')
        return;
    policy_version *version = policy_versions_by_digest(&self->versions, decision->policy_digest);
    if (version == NULL || version->unreadable ||
        policy_version_load(self->shell, version, &set, &ignored) != STATUS_OK) {
        self->tally.without_set++;
        return;
    }
    arena_reset(&self->scratch);
    if (replay_evaluate(set, decision, &self->scratch, &result, &again, &ignored) != STATUS_OK ||
        replay_differs(was, &again))
        self->tally.irreproducible++;
}

static bool is_wanted(const replay_work *self, const replay_outcome *was, const replay_outcome *would) {
    return (self->was_wanted == NULL || strcmp(self->was_wanted, policy_outcome_name(was->outcome)) == 0) &&
           (self->would_wanted == NULL ||
            strcmp(self->would_wanted, policy_outcome_name(would->outcome)) == 0);
}

static status_code keep_row(replay_work *self, const recorded_decision *decision, const replay_outcome *was,
                            const replay_outcome *would, failure *why) {
    arena *memory = &self->shell->memory;
    if (self->row_count == self->row_limit || !is_wanted(self, was, would))
        return STATUS_OK;
    change_row *row = &self->rows[self->row_count];
    *row = (change_row){.action_id = arena_text(memory, decision->decision->action_id),
                        .principal = arena_text(memory, decision->decision->principal),
                        .verb = arena_text(memory, decision->action->verb),
                        .target = arena_format(memory, "%s%s", decision->facts.targets[0].name,
                                               decision->facts.target_count > 1 ? ", …" : ""),
                        .decided_at_ms = decision->decision->decided_at_ms,
                        .was = *was,
                        .would = *would};
    row->was.reason = arena_text(memory, was->reason);
    row->was.rule = arena_text(memory, was->rule);
    row->would.rule = arena_text(memory, would->rule);
    row->would.reason = arena_text(memory, would->reason);
    if (row->action_id == NULL || row->principal == NULL || row->verb == NULL || row->target == NULL ||
        row->was.reason == NULL || row->was.rule == NULL || row->would.rule == NULL ||
        row->would.reason == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the changes");
    self->row_count++;
    return STATUS_OK;
}

static status_code visit(void *context, const recorded_decision *decision, arena *memory, failure *why) {
    replay_work *self = context;
    policy_result result;
    replay_outcome would, was = replay_recorded(decision);
    (void)memory;
    check_reproducible(self, decision, &was);
    arena_reset(&self->scratch);
    status_code code = replay_evaluate(self->candidate, decision, &self->scratch, &result, &would, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "record %llu", (unsigned long long)decision->log_index);
    replay_count(&self->tally, &was, &would);
    self->tally.elsewhere += decision->elsewhere != NULL;
    if (decision->elsewhere == NULL)
        rules_count(self->rules, &result);
    return replay_differs(&was, &would) ? keep_row(self, decision, &was, &would, why) : STATUS_OK;
}

/* ---- for people ---- */

static void print_transitions(cli *self, const replay_tally *tally) {
    static const char *const headings[] = {"WAS", "WOULD BE", "DECISIONS"};
    if (tally->changed == 0)
        return;
    cli_table *table = cli_table_new(headings, 3);
    for (int was = 1; was < (int)REPLAY_OUTCOMES; was++)
        for (int would = 1; would < (int)REPLAY_OUTCOMES; would++) {
            if (was == would || tally->from_to[was][would] == 0)
                continue;
            const char *cells[] = {
                policy_outcome_name((policy_outcome)was), policy_outcome_name((policy_outcome)would),
                arena_format(&self->memory, "%llu", (unsigned long long)tally->from_to[was][would])};
            cli_table_row(table, cells);
        }
    puts("");
    cli_table_print(table, stdout);
}

static const char *by(cli *self, const replay_outcome *outcome) {
    if (outcome->rule[0] == '\0')
        return cli_safe(&self->memory, outcome->reason);
    return arena_format(&self->memory, "%s by %s", cli_safe(&self->memory, outcome->reason),
                        cli_safe(&self->memory, outcome->rule));
}

static void print_rows(cli *self, const replay_work *work) {
    static const char *const headings[] = {"DECIDED", "ACTION",   "VERB",   "TARGET",
                                           "WAS",     "WOULD BE", "BECAUSE"};
    if (work->row_count == 0)
        return;
    cli_table *table = cli_table_new(headings, 7);
    for (size_t i = 0; i < work->row_count; i++) {
        const change_row *row = &work->rows[i];
        const char *cells[] = {cli_time(&self->memory, row->decided_at_ms),
                               cli_safe(&self->memory, row->action_id),
                               cli_safe(&self->memory, row->verb),
                               cli_safe(&self->memory, row->target),
                               policy_outcome_name(row->was.outcome),
                               policy_outcome_name(row->would.outcome),
                               by(self, &row->would)};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
    if (work->was_wanted == NULL && work->would_wanted == NULL && work->tally.changed > work->row_count)
        printf("… and %llu more (--limit N shows them, -o json too)\n",
               (unsigned long long)(work->tally.changed - work->row_count));
}

static void print_rules(cli *self, const replay_work *work) {
    static const char *const headings[] = {"RULE", "EFFECT", "HELD", "DECIDED BY IT", "LACKED A FACT"};
    arena *memory = &self->memory;
    cli_table *table = cli_table_new(headings, 5);
    for (size_t i = 0; i < work->candidate->rule_count; i++) {
        const policy_rule *rule = &work->candidate->rules[i];
        const rule_tally *tally = &work->rules[i];
        const char *cells[] = {cli_safe(memory, rule->name), policy_effect_name(rule->effect),
                               arena_format(memory, "%llu", (unsigned long long)tally->held),
                               arena_format(memory, "%llu", (unsigned long long)tally->decisive),
                               arena_format(memory, "%llu", (unsigned long long)tally->unknown)};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
}

static void print_caveats(const replay_tally *tally, uint64_t unreadable) {
    if (tally->elsewhere > 0)
        printf("%llu were decided before any policy was asked (kill switch, identity, freshness): no set "
               "changes "
               "them.\n",
               (unsigned long long)tally->elsewhere);
    if (tally->irreproducible > 0)
        printf("%llu do not come out as recorded even by the set of then: their records lack a fact.\n",
               (unsigned long long)tally->irreproducible);
    if (tally->without_set > 0)
        printf("%llu were made by a set that is not in the log or cannot be read by this version.\n",
               (unsigned long long)tally->without_set);
    if (unreadable > 0)
        printf("%llu records are erased or cannot be read.\n", (unsigned long long)unreadable);
}

static void print_replay(cli *self, const replay_work *work) {
    const replay_tally *tally = &work->tally;
    printf("%llu decision%s replayed with %s, version %llu: %llu would have come out otherwise.\n",
           (unsigned long long)tally->decisions, tally->decisions == 1 ? "" : "s",
           cli_safe(&self->memory, work->candidate->name), (unsigned long long)work->candidate->version,
           (unsigned long long)tally->changed);
    print_caveats(tally, work->scan.unreadable);
    print_transitions(self, tally);
    print_rows(self, work);
    if (cli_given(self, "rules"))
        print_rules(self, work);
}

/* ---- for programs ---- */

static json_t *outcome_json(const replay_outcome *outcome) {
    return json_pack("{s:s, s:s, s:s}", "outcome", policy_outcome_name(outcome->outcome), "reason",
                     outcome->reason, "rule", outcome->rule);
}

static json_t *rows_json(const replay_work *work) {
    json_t *rows = json_array();
    for (size_t i = 0; i < work->row_count; i++) {
        const change_row *row = &work->rows[i];
        json_array_append_new(rows,
                              json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "actionId", row->action_id,
                                        "principal", row->principal, "verb", row->verb, "target", row->target,
                                        "decidedAtMs", (json_int_t)row->decided_at_ms, "was",
                                        outcome_json(&row->was), "would", outcome_json(&row->would)));
    }
    return rows;
}

static json_t *transitions_json(const replay_tally *tally) {
    json_t *list = json_array();
    for (int was = 1; was < (int)REPLAY_OUTCOMES; was++)
        for (int would = 1; would < (int)REPLAY_OUTCOMES; would++)
            if (tally->from_to[was][would] > 0)
                json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "was",
                                                      policy_outcome_name((policy_outcome)was), "would",
                                                      policy_outcome_name((policy_outcome)would), "count",
                                                      (json_int_t)tally->from_to[was][would]));
    return list;
}

static json_t *rules_json(const replay_work *work) {
    json_t *list = json_array();
    for (size_t i = 0; i < work->candidate->rule_count; i++)
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "rule", work->candidate->rules[i].name, "effect",
                      policy_effect_name(work->candidate->rules[i].effect), "matched",
                      (json_int_t)work->rules[i].matched, "held", (json_int_t)work->rules[i].held, "decisive",
                      (json_int_t)work->rules[i].decisive, "unknown", (json_int_t)work->rules[i].unknown));
    return list;
}

static void print_json(const replay_work *work) {
    const replay_tally *tally = &work->tally;
    json_t *whole = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "policyName", work->candidate->name,
        "policyVersion", (json_int_t)work->candidate->version, "decisions", (json_int_t)tally->decisions,
        "changed", (json_int_t)tally->changed, "elsewhere", (json_int_t)tally->elsewhere, "irreproducible",
        (json_int_t)tally->irreproducible, "withoutSet", (json_int_t)tally->without_set, "unreadable",
        (json_int_t)work->scan.unreadable, "transitions", transitions_json(tally), "rules", rules_json(work),
        "changes", rows_json(work));
    json_dumpf(whole, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(whole);
}

static status_code prepare(replay_work *work, failure *why) {
    cli *self = work->shell;
    double limit = self->format == FORMAT_JSON ? LIMIT_DEFAULT_JSON : LIMIT_DEFAULT;
    status_code code = cli_number(self, "limit", 0, LIMIT_MOST, &limit, why);
    if (code == STATUS_OK)
        code = decisions_scan_times(self, &work->scan, why);
    if (code != STATUS_OK)
        return code;
    work->was_wanted = cli_text(self, "was");
    work->would_wanted = cli_text(self, "would");
    work->row_limit = (size_t)limit;
    work->rows = arena_zero(&self->memory, work->row_limit + 1, sizeof *work->rows);
    return work->rows != NULL
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the rows");
}

static status_code load_candidate(replay_work *work, failure *why) {
    cli *self = work->shell;
    const cli_values *paths = &self->positional;
    bool of_log = paths->count == 1 && (strcmp(paths->items[0], "live") == 0 || paths->items[0][0] == '@');
    status_code code =
        of_log
            ? policy_set_named(self, paths->items[0], &work->versions, &work->candidate, &work->problems, why)
            : policy_files_load(self, paths->items, paths->count, &work->candidate, &work->problems, why);
    if (code != STATUS_OK)
        return code;
    work->rules = arena_zero(&self->memory, work->candidate->rule_count + 1, sizeof *work->rules);
    return work->rules != NULL
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the rules");
}

static status_code replay(replay_work *work, failure *why) {
    rpc_channel *audit = NULL;
    status_code code = load_candidate(work, why);
    if (code == STATUS_OK)
        code = cli_channel(work->shell, "audit", ROLE_OPERATOR, &audit, why);
    if (code == STATUS_OK && work->versions.count == 0)
        code = policy_versions_fetch(work->shell, audit, &work->versions, why);
    if (code == STATUS_OK)
        code = decisions_scan_run(work->shell, audit, &work->scan, why);
    rpc_channel_close(audit);
    return code;
}

cli_exit policy_replay_run(cli *self) {
    failure why = {0};
    replay_work work = {.shell = self};
    work.scan.visit = visit;
    work.scan.self = &work;
    if (prepare(&work, &why) != STATUS_OK)
        return cli_usage(self, &why);
    arena_init(&work.scratch, 65536, EVALUATION_BYTES);
    cli_exit result = CLI_OK;
    if (replay(&work, &why) != STATUS_OK)
        result = policy_files_fail("policy replay", &work.problems, &why);
    else if (self->format == FORMAT_JSON)
        print_json(&work);
    else
        print_replay(self, &work);
    if (result == CLI_OK && cli_given(self, "strict") && work.tally.changed > 0)
        result = CLI_ERROR;
    policies_unref(work.candidate);
    policy_versions_free(&work.versions);
    arena_free(&work.scratch);
    return result;
}
