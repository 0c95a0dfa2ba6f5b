/* interlock policy check: everything that can be told of a policy set without an action. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/policy_client.h"
#include "policies/check.h"
#include "policy_commands.h"
#include "policy_files.h"

typedef struct check_work {
    policy_set *set;
    policy_problems problems; /* of loading, or of checking */
    const char **principals;
    size_t principal_count;
    bool knows_principals;
} check_work;

/* Who is enrolled: as given, or as the running installation says. */
static status_code find_principals(cli *self, check_work *work, failure *why) {
    const cli_values *given = cli_list(self, "enrolled");
    rpc_channel *policy = NULL;
    Interlock__Control__V1__GetControlResponse *present = NULL;
    status_code code = STATUS_OK;
    if (cli_given(self, "live")) {
        code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, why);
        if (code == STATUS_OK)
            code = policy_get_control_wait(policy, CLI_TIMEOUT_MS, &self->memory, &present, why);
        rpc_channel_close(policy);
        if (code != STATUS_OK)
            return code;
    }
    size_t enrolled = present != NULL ? present->n_enrolments : 0;
    work->principals = arena_zero(&self->memory, given->count + enrolled + 1, sizeof *work->principals);
    if (work->principals == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the principals");
    for (size_t i = 0; i < given->count; i++)
        work->principals[work->principal_count++] = given->items[i];
    for (size_t i = 0; i < enrolled; i++)
        if (!present->enrolments[i]->revoked)
            work->principals[work->principal_count++] = present->enrolments[i]->principal;
    work->knows_principals = given->count > 0 || present != NULL;
    return STATUS_OK;
}

static status_code check_set(cli *self, check_work *work, failure *why) {
    const cli_values *paths = &self->positional;
    status_code code = policy_files_load(self, paths->items, paths->count, &work->set, &work->problems, why);
    if (code == STATUS_OK)
        code = find_principals(self, work, why);
    if (code != STATUS_OK)
        return code;
    const policy_check_options options = {.principals = work->knows_principals ? work->principals : NULL,
                                          .principal_count = work->principal_count};
    return policies_check(work->set, &options, &self->memory, &work->problems, why);
}

static size_t count_errors(const policy_problems *problems) {
    size_t errors = 0;
    for (size_t i = 0; i < problems->count; i++)
        errors += problems->items[i].gravity == POLICY_ERROR;
    return errors;
}

static json_t *problem_json(const policy_problem *problem) {
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s}", "gravity",
                     problem->gravity == POLICY_ERROR ? "error" : "warning", "reason", problem->reason,
                     "file", problem->file, "line", (json_int_t)problem->line, "column",
                     (json_int_t)problem->column, "rule", problem->rule, "message", problem->message);
}

static void print_json(const check_work *work, size_t errors) {
    json_t *list = json_array();
    for (size_t i = 0; i < work->problems.count; i++)
        json_array_append_new(list, problem_json(&work->problems.items[i]));
    json_t *whole = json_pack("{s:b, s:I, s:I, s:b, s:o}", "ok", errors == 0, "errors", (json_int_t)errors,
                              "rules", (json_int_t)(work->set != NULL ? work->set->rule_count : 0),
                              "quorumsChecked", work->knows_principals, "problems", list);
    json_dumpf(whole, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(whole);
}

static void print_problems(const check_work *work) {
    buffer text;
    buffer_init(&text, 4U << 20);
    for (size_t i = 0; i < work->problems.count; i++) {
        const policy_problem *problem = &work->problems.items[i];
        if (problem->gravity == POLICY_WARNING)
            buffer_text(&text, "warning: ");
        policy_problem_print(problem, &text);
        buffer_text(&text, "\n");
    }
    fputs(buffer_ok(&text) && text.data != NULL ? text.data : "", stdout);
    buffer_free(&text);
}

static void print_summary(const check_work *work, size_t errors) {
    size_t warnings = work->problems.count - errors;
    printf("%s %zu rule%s", errors == 0 ? "Good:" : "Not good:", work->set->rule_count,
           work->set->rule_count == 1 ? "" : "s");
    if (work->set->quorum_count > 0)
        printf(", %zu quorum%s%s", work->set->quorum_count, work->set->quorum_count == 1 ? "" : "s",
               work->knows_principals ? "" : " (--live or --enrolled checks whether they can be met)");
    printf("; %zu error%s, %zu warning%s.\n", errors, errors == 1 ? "" : "s", warnings,
           warnings == 1 ? "" : "s");
}

cli_exit policy_check_run(cli *self) {
    failure why = {0};
    check_work work = {0};
    status_code code = check_set(self, &work, &why);
    size_t errors = count_errors(&work.problems);
    bool strict = cli_given(self, "strict");
    cli_exit result = errors > 0 || (strict && work.problems.count > 0) ? CLI_ERROR : CLI_OK;
    if (code != STATUS_OK && self->format == FORMAT_JSON && work.problems.count > 0) {
        print_json(&work, errors);
        result = CLI_ERROR;
    } else if (code != STATUS_OK) {
        result = policy_files_fail("policy check", &work.problems, &why);
    } else if (self->format == FORMAT_JSON) {
        print_json(&work, errors);
    } else {
        print_problems(&work);
        print_summary(&work, errors);
    }
    policies_unref(work.set);
    return result;
}
