/* interlock policy explain: why a decision came out as it did, rule by rule, with the values read. */
#include "policies/explain.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/audit_client.h"
#include "facts_reader.h"
#include "policy_commands.h"
#include "policy_files.h"
#include "replay.h"

#define SHOWN_VALUES 6U
#define VALUES_BYTES 4096U

typedef struct explain_work {
    policy_versions versions;
    policy_problems problems;
    policy_set *set;
    recorded_decision record; /* decision NULL: of a given input */
    policy_facts facts;
    policy_explanation found;
} explain_work;

/* The newest decision on an action. */
static status_code fetch_decision(cli *self, rpc_channel *audit, const char *action_id,
                                  recorded_decision *out, failure *why) {
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    Interlock__Audit__V1__QueryResponse *answer = NULL;
    const Interlock__Audit__V1__Entry *newest = NULL;
    query.action_id = (char *)action_id;
    query.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION;
    do {
        status_code code = audit_query_wait(audit, &query, CLI_TIMEOUT_MS, &self->memory, &answer, why);
        if (code != STATUS_OK)
            return code;
        if (answer->n_entries > 0)
            newest = answer->entries[answer->n_entries - 1];
        query.page_token = answer->next_page_token;
    } while (query.page_token[0] != '\0');
    if (newest == NULL)
        return fail(why, STATUS_NOT_FOUND, "NO_DECISION",
                    "the log holds no decision on %.128s; interlock audit list shows what there is",
                    action_id);
    return recorded_decision_read(newest, &self->memory, out, why);
}

/* The set that decided then. */
static status_code set_of_then(cli *self, explain_work *work, rpc_channel *audit, failure *why) {
    const policy_set *set = NULL;
    if (work->record.policy_digest[0] == '\0')
        return fail(why, STATUS_NOT_FOUND, "NO_POLICY_SET",
                    "no policy set was in force for that decision (%s); name one with --policy",
                    work->record.elsewhere != NULL ? work->record.elsewhere : "nothing was permitted");
    status_code code = policy_versions_fetch(self, audit, &work->versions, why);
    if (code != STATUS_OK)
        return code;
    policy_version *version = policy_versions_by_digest(&work->versions, work->record.policy_digest);
    if (version == NULL)
        return fail(why, STATUS_NOT_FOUND, "NO_POLICY_SET", "the log holds no policy set of digest %s",
                    work->record.policy_digest);
    code = policy_version_load(self, version, &set, why);
    if (code == STATUS_OK)
        work->set = policies_ref(version->set);
    return code;
}

static status_code explain_record(cli *self, explain_work *work, failure *why) {
    rpc_channel *audit = NULL;
    const char *named = cli_text(self, "policy");
    status_code code = cli_channel(self, "audit", ROLE_OPERATOR, &audit, why);
    if (code == STATUS_OK)
        code = fetch_decision(self, audit, self->positional.items[0], &work->record, why);
    if (code == STATUS_OK && named == NULL)
        code = set_of_then(self, work, audit, why);
    if (code == STATUS_OK && named != NULL)
        code = policy_set_named(self, named, &work->versions, &work->set, &work->problems, why);
    rpc_channel_close(audit);
    work->facts = work->record.facts;
    return code;
}

static status_code explain_facts(cli *self, explain_work *work, failure *why) {
    const char *named = cli_text(self, "policy");
    yaml_source source = {.file = cli_text(self, "facts"), .memory = &self->memory};
    work->facts.now_ms = chance_wall_ms(self->source);
    status_code code = cli_read_file(self, source.file, YAML_FILE_BYTES, &source.text, why);
    if (code == STATUS_OK)
        code = facts_read_file(&source, &work->facts, why);
    if (code == STATUS_OK && work->facts.target_count == 0)
        code = fail(why, STATUS_INVALID_ARGUMENT, "FACTS_INCOMPLETE", "%.200s names no targets", source.file);
    if (code != STATUS_OK)
        return code;
    return policy_set_named(self, named != NULL ? named : "live", &work->versions, &work->set,
                            &work->problems, why);
}

/* ---- for people ---- */

static const char *effect_word(const policy_rule *rule) {
    return policy_effect_name(rule->effect);
}

static const char *what_of(cli *self, const policy_step *step) {
    buffer text;
    buffer_init(&text, VALUES_BYTES);
    const policy_finding *finding = &step->finding;
    if (finding->detail != NULL && finding->detail[0] != '\0')
        buffer_format(&text, "%s%.*s", finding->state == POLICY_NO_MATCH ? "by its " : "",
                      (int)strcspn(finding->detail, "\n"), finding->detail);
    for (size_t i = 0; i < step->value_count && i < SHOWN_VALUES; i++)
        buffer_format(&text, "%s%s = %s", text.size > 0 ? "; " : "", step->values[i].path,
                      step->values[i].value);
    if (step->value_count > SHOWN_VALUES)
        buffer_format(&text, "; … %zu more", step->value_count - SHOWN_VALUES);
    const char *out = cli_safe(&self->memory, text.data != NULL ? text.data : "");
    buffer_free(&text);
    return out;
}

static void print_steps(cli *self, const explain_work *work) {
    static const char *const headings[] = {"  RULE", "EFFECT", "STATE", "READ"};
    cli_table *table = cli_table_new(headings, 4);
    size_t unmatched = 0;
    bool all = cli_given(self, "all");
    for (size_t i = 0; i < work->found.step_count; i++) {
        const policy_step *step = &work->found.steps[i];
        if (step->finding.state == POLICY_NO_MATCH && !all) {
            unmatched++;
            continue;
        }
        const char *cells[] = {arena_format(&self->memory, "%s %s",
                                            work->found.result.decisive != NULL &&
                                                    work->found.result.decisive->rule == step->finding.rule
                                                ? ">"
                                                : " ",
                                            cli_safe(&self->memory, step->finding.rule->name)),
                               effect_word(step->finding.rule), policy_state_name(step->finding.state),
                               what_of(self, step)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
    if (unmatched > 0)
        printf("  … and %zu rule%s whose match does not cover the action (--all shows them)\n", unmatched,
               unmatched == 1 ? "" : "s");
}

/* What is held against a bound. */
static double judged_value(const policy_facts *facts, policy_bound_kind kind) {
    size_t hit = 0;
    for (size_t i = 0; i < facts->impact.affected_count; i++)
        hit += facts->impact.affected[i].probability >= 0.1;
    if (kind == POLICY_BOUND_ENTRY_TRAFFIC)
        return facts->impact.high;
    return kind == POLICY_BOUND_TARGETS ? (double)facts->target_count : (double)hit;
}

static void print_bounds(cli *self, const explain_work *work) {
    const policy_result *result = &work->found.result;
    for (int kind = 0; kind < POLICY_BOUND_COUNT; kind++) {
        const policy_bound *bound = &result->bounds.of[kind];
        bool over = result->reason == POLICY_OVER_BOUND && (int)result->over == kind;
        if (!bound->stated)
            continue;
        printf("Bound         %s at most %g, by %s", policy_bound_name((policy_bound_kind)kind), bound->most,
               cli_safe(&self->memory, bound->rule->name));
        if (over)
            printf("; it is %.4g", judged_value(&work->facts, (policy_bound_kind)kind));
        puts("");
    }
}

static const char *decisive_message(const explain_work *work) {
    const policy_finding *decisive = work->found.result.decisive;
    for (size_t i = 0; decisive != NULL && i < work->found.step_count; i++)
        if (work->found.steps[i].finding.rule == decisive->rule)
            return work->found.steps[i].message;
    return "";
}

static void print_record(cli *self, const explain_work *work) {
    if (work->record.decision == NULL)
        return;
    replay_outcome was = replay_recorded(&work->record);
    printf("Recorded      %s%s%s in record %llu, by version %llu, at %s\n", policy_outcome_name(was.outcome),
           was.reason[0] != '\0' ? " " : "", cli_safe(&self->memory, was.reason),
           (unsigned long long)work->record.log_index, (unsigned long long)work->record.policy_version,
           cli_time(&self->memory, work->record.decision->decided_at_ms));
    if (work->record.elsewhere != NULL)
        printf("              that was decided before any policy was asked; this is what the policies say\n");
}

static void print_explanation(cli *self, const explain_work *work) {
    const policy_result *result = &work->found.result;
    const char *message = decisive_message(work);
    printf("%s  %s on %s%s: %s", policy_outcome_name(result->outcome),
           cli_safe(&self->memory, work->facts.action.verb != NULL ? work->facts.action.verb : "?"),
           cli_safe(&self->memory, work->facts.targets[0].name), work->facts.target_count > 1 ? ", …" : "",
           policy_reason_name(result->reason));
    if (result->decisive != NULL)
        printf(", by %s", cli_safe(&self->memory, result->decisive->rule->name));
    if (result->fact != NULL && result->fact[0] != '\0')
        printf(", lacks %s", cli_safe(&self->memory, result->fact));
    if (result->target != NULL && result->target[0] != '\0')
        printf(", for %s", cli_safe(&self->memory, result->target));
    puts("");
    if (message != NULL && message[0] != '\0')
        printf("  %s\n", cli_safe(&self->memory, message));
    printf("Policies      %s, version %llu, %zu rule%s\n", cli_safe(&self->memory, work->set->name),
           (unsigned long long)work->set->version, work->set->rule_count,
           work->set->rule_count == 1 ? "" : "s");
    if (result->outcome == POLICY_REVIEW && result->decisive != NULL)
        printf("Quorum        %s\n", cli_safe(&self->memory, result->decisive->rule->quorum));
    print_record(self, work);
    print_bounds(self, work);
    print_steps(self, work);
}

/* ---- for programs ---- */

static json_t *step_json(const policy_step *step) {
    json_t *values = json_object();
    for (size_t i = 0; i < step->value_count; i++)
        json_object_set_new(values, step->values[i].path,
                            step->values[i].unknown ? json_null() : json_string(step->values[i].value));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "rule", step->finding.rule->name, "effect",
                     policy_effect_name(step->finding.rule->effect), "state",
                     policy_state_name(step->finding.state), "detail",
                     step->finding.detail != NULL ? step->finding.detail : "", "message",
                     step->message != NULL ? step->message : "", "file", step->finding.rule->file, "line",
                     (json_int_t)step->finding.rule->line, "values", values);
}

static json_t *bounds_json(const policy_bounds *bounds) {
    json_t *map = json_object();
    for (int kind = 0; kind < POLICY_BOUND_COUNT; kind++)
        if (bounds->of[kind].stated)
            json_object_set_new(
                map, policy_bound_name((policy_bound_kind)kind),
                json_pack("{s:f, s:s}", "most", bounds->of[kind].most, "rule", bounds->of[kind].rule->name));
    return map;
}

static void print_json(const explain_work *work) {
    const policy_result *result = &work->found.result;
    json_t *steps = json_array();
    for (size_t i = 0; i < work->found.step_count; i++)
        json_array_append_new(steps, step_json(&work->found.steps[i]));
    json_t *whole =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "outcome", policy_outcome_name(result->outcome),
                  "reason", policy_reason_name(result->reason), "rule",
                  result->decisive != NULL ? result->decisive->rule->name : "", "fact",
                  result->fact != NULL ? result->fact : "", "policyName", work->set->name, "policyVersion",
                  (json_int_t)work->set->version, "bounds", bounds_json(&result->bounds), "rules", steps);
    if (result->outcome == POLICY_REVIEW && result->decisive != NULL)
        json_object_set_new(whole, "quorum", json_string(result->decisive->rule->quorum));
    if (work->record.decision != NULL) {
        replay_outcome was = replay_recorded(&work->record);
        json_object_set_new(whole, "recorded",
                            json_pack("{s:s, s:s, s:I}", "outcome", policy_outcome_name(was.outcome),
                                      "reason", was.reason, "index", (json_int_t)work->record.log_index));
    }
    json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(whole);
}

static cli_exit explain(cli *self, explain_work *work) {
    failure why = {0};
    status_code code =
        cli_given(self, "facts") ? explain_facts(self, work, &why) : explain_record(self, work, &why);
    if (code == STATUS_OK)
        code = policies_explain(work->set, &work->facts, &self->memory, &work->found, &why);
    if (code != STATUS_OK)
        return policy_files_fail("policy explain", &work->problems, &why);
    if (self->format == FORMAT_JSON)
        print_json(work);
    else
        print_explanation(self, work);
    return CLI_OK;
}

cli_exit policy_explain_run(cli *self) {
    failure why = {0};
    explain_work work = {0};
    if ((self->positional.count == 1) == cli_given(self, "facts")) {
        fail(&why, STATUS_INVALID_ARGUMENT, "FLAG_MISSING",
             "explain takes an action of the log, or --facts FILE, and not both");
        return cli_usage(self, &why);
    }
    cli_exit result = explain(self, &work);
    policies_unref(work.set);
    policy_versions_free(&work.versions);
    return result;
}
