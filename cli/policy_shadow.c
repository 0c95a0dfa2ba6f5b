/* interlock policy shadow: a candidate set that is judged beside the live one, without effect. */
#include <string.h>

#include "client/policy_client.h"
#include "policy_commands.h"
#include "policy_set.h"

#define DIFFERENCES_DEFAULT 20.0
#define DIFFERENCES_MOST 256.0

static const char *word_of(Interlock__Policy__V1__Outcome outcome) {
    return cli_enum(&interlock__policy__v1__outcome__descriptor, (int)outcome, "OUTCOME_");
}

static cli_exit put_shadow(cli *self, Interlock__Control__V1__PolicySet *set, const char *done) {
    failure why = {0};
    Interlock__Control__V1__PutControlResponse *answer = NULL;
    set->shadow = true;
    if (policy_set_put(self, set, &answer, &why) != STATUS_OK)
        return cli_fail("policy shadow", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    printf(done, cli_safe(&self->memory, set->name), (unsigned long long)set->version,
           (unsigned long long)answer->control_seq);
    return CLI_OK;
}

static cli_exit set_shadow(cli *self) {
    failure why = {0};
    policy_problems problems = {0};
    Interlock__Control__V1__PolicySet set = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    status_code code =
        policy_set_compose(self, self->positional.items, self->positional.count, &set, &problems, &why);
    if (code != STATUS_OK)
        return policy_files_fail("policy shadow", &problems, &why);
    return put_shadow(self, &set,
                      "Policy set %s, version %llu, is judged beside the live one (control %llu).\n"
                      "See interlock policy shadow for what it would have decided otherwise.\n");
}

static cli_exit clear_shadow(cli *self) {
    failure why = {0};
    Interlock__Control__V1__GetControlResponse *present = NULL;
    Interlock__Control__V1__PolicySet set = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    status_code code = policy_control_get(self, &present, &why);
    if (code == STATUS_OK && present->shadow_name[0] == '\0')
        code = fail(&why, STATUS_NOT_FOUND, "NO_SHADOW", "no shadow set is set");
    if (code != STATUS_OK)
        return cli_fail("policy shadow", &why);
    set.name = present->shadow_name;
    set.version = present->shadow_version + 1;
    return put_shadow(self, &set, "The shadow set %s has ended (version %llu, control %llu).\n");
}

/* ---- the report ---- */

static void print_counts(cli *self, const Interlock__Policy__V1__GetShadowReportResponse *report) {
    static const char *const headings[] = {"LIVE", "SHADOW", "DECISIONS"};
    cli_table *table = cli_table_new(headings, 3);
    for (size_t i = 0; i < report->n_counts; i++) {
        const char *cells[] = {
            arena_text(&self->memory, word_of(report->counts[i]->live)), word_of(report->counts[i]->shadow),
            arena_format(&self->memory, "%llu", (unsigned long long)report->counts[i]->count)};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
}

static const char *because(cli *self, const Interlock__Policy__V1__Verdict *verdict) {
    if (verdict == NULL)
        return "";
    return arena_format(&self->memory, "%s%s%s", cli_safe(&self->memory, verdict->reason),
                        verdict->rule[0] != '\0' ? " by " : "", cli_safe(&self->memory, verdict->rule));
}

static bool is_wanted(const cli *self, const char *flag, const Interlock__Policy__V1__Verdict *verdict) {
    const char *wanted = cli_text(self, flag);
    return wanted == NULL || (verdict != NULL && strcmp(wanted, word_of(verdict->outcome)) == 0);
}

static void print_differences(cli *self, const Interlock__Policy__V1__GetShadowReportResponse *report) {
    static const char *const headings[] = {"DECIDED", "ACTION", "VERB",   "TARGET",
                                           "LIVE",    "SHADOW", "BECAUSE"};
    cli_table *table = cli_table_new(headings, 7);
    for (size_t i = 0; i < report->n_differences; i++) {
        const Interlock__Policy__V1__ShadowDifference *one = report->differences[i];
        const char *cells[] = {cli_time(&self->memory, one->decided_at_ms),
                               cli_safe(&self->memory, one->action_id),
                               cli_safe(&self->memory, one->verb),
                               one->n_targets > 0 ? cli_safe(&self->memory, one->targets[0]) : "",
                               one->live != NULL ? arena_text(&self->memory, word_of(one->live->outcome))
                                                 : "",
                               one->shadow != NULL ? word_of(one->shadow->outcome) : "",
                               because(self, one->shadow)};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
}

static void print_report(cli *self, const Interlock__Policy__V1__GetShadowReportResponse *report) {
    if (report->shadow == NULL) {
        puts("No shadow set is set. Judge one beside the live set with interlock policy shadow FILE.");
        return;
    }
    printf("%s, version %llu, beside %s, version %llu, since %s: %llu of %llu decisions differ.\n",
           cli_safe(&self->memory, report->shadow->name), (unsigned long long)report->shadow->version,
           report->live != NULL ? cli_safe(&self->memory, report->live->name) : "no policy set",
           report->live != NULL ? (unsigned long long)report->live->version : 0ULL,
           cli_time(&self->memory, report->since_ms), (unsigned long long)report->different,
           (unsigned long long)report->decisions);
    if (report->n_counts > 0)
        print_counts(self, report);
    if (report->n_differences > 0)
        print_differences(self, report);
}

/* --live and --shadow-outcome pick among the differences. */
static void filter(const cli *self, Interlock__Policy__V1__GetShadowReportResponse *report) {
    size_t kept = 0;
    for (size_t i = 0; i < report->n_differences; i++)
        if (is_wanted(self, "was", report->differences[i]->live) &&
            is_wanted(self, "would", report->differences[i]->shadow))
            report->differences[kept++] = report->differences[i];
    report->n_differences = kept;
}

static cli_exit show_report(cli *self) {
    failure why = {0};
    double limit = DIFFERENCES_DEFAULT;
    rpc_channel *policy = NULL;
    Interlock__Policy__V1__GetShadowReportRequest request =
        INTERLOCK__POLICY__V1__GET_SHADOW_REPORT_REQUEST__INIT;
    Interlock__Policy__V1__GetShadowReportResponse *report = NULL;
    if (cli_number(self, "limit", 1, DIFFERENCES_MOST, &limit, &why) != STATUS_OK)
        return cli_usage(self, &why);
    request.limit = (uint32_t)limit;
    status_code code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, &why);
    if (code == STATUS_OK)
        code = policy_get_shadow_report_wait(policy, &request, CLI_TIMEOUT_MS, &self->memory, &report, &why);
    rpc_channel_close(policy);
    if (code != STATUS_OK)
        return cli_fail("policy shadow", &why);
    filter(self, report);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&report->base);
    print_report(self, report);
    return CLI_OK;
}

cli_exit policy_shadow_run(cli *self) {
    failure why = {0};
    if (cli_given(self, "clear") && self->positional.count > 0) {
        fail(&why, STATUS_INVALID_ARGUMENT, "TOO_MANY_ARGUMENTS", "--clear takes no FILE");
        return cli_usage(self, &why);
    }
    if (cli_given(self, "clear"))
        return clear_shadow(self);
    return self->positional.count > 0 ? set_shadow(self) : show_report(self);
}
