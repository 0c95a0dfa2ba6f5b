/* interlock policy test: runs cases against policies, and says which rules no case reaches. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "policy_cases.h"
#include "policy_commands.h"
#include "policy_files.h"
#include "progress.h"

#define CASE_MEMORY_BYTES (16U << 20)
#define PROBLEM_BYTES 65536U

/* Files that use the same policies share a set, and what their cases cover adds up. */
typedef struct tested_set {
    const char *key; /* the paths, joined */
    policy_set *set;
    policy_coverage coverage;
} tested_set;

typedef struct test_work {
    cli *shell;
    arena scratch; /* of one case */
    tested_set *sets;
    size_t set_count, file_count;
    policy_case_file *files;
    tested_set **set_of; /* by file */
    size_t case_count, done, failed;
    json_t *results; /* NULL: people read */
    progress shown;
} test_work;

/* A path that stands in a file is relative to that file. */
static const char *beside(test_work *self, const char *file, const char *path) {
    const char *slash = strrchr(file, '/');
    if (path[0] == '/' || slash == NULL)
        return path;
    return arena_format(&self->shell->memory, "%.*s/%s", (int)(slash - file), file, path);
}

static status_code policy_paths(test_work *self, const policy_case_file *file, const char *const **paths,
                                size_t *count, failure *why) {
    const cli_values *given = cli_list(self->shell, "policy");
    *paths = given->items;
    *count = given->count;
    if (given->count > 0)
        return STATUS_OK;
    if (file->policy_count == 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "NO_POLICIES",
                    "%.200s names no policies; give them with --policy", file->file);
    const char **found = arena_zero(&self->shell->memory, file->policy_count, sizeof *found);
    if (found == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the paths");
    for (size_t i = 0; i < file->policy_count; i++)
        found[i] = beside(self, file->file, file->policies[i]);
    *paths = found;
    *count = file->policy_count;
    return STATUS_OK;
}

static const char *joined(arena *memory, const char *const *paths, size_t count) {
    const char *text = "";
    for (size_t i = 0; i < count && text != NULL; i++)
        text = arena_format(memory, "%s%s\n", text, paths[i]);
    return text;
}

static status_code open_set(test_work *self, size_t file, policy_problems *problems, failure *why) {
    const char *const *paths = NULL;
    size_t count = 0;
    status_code code = policy_paths(self, &self->files[file], &paths, &count, why);
    if (code != STATUS_OK)
        return code;
    const char *key = joined(&self->shell->memory, paths, count);
    if (key == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the paths");
    for (size_t i = 0; i < self->set_count && self->set_of[file] == NULL; i++)
        if (strcmp(self->sets[i].key, key) == 0)
            self->set_of[file] = &self->sets[i];
    if (self->set_of[file] != NULL)
        return STATUS_OK;
    tested_set *added = &self->sets[self->set_count];
    code = policy_files_load(self->shell, paths, count, &added->set, problems, why);
    if (code == STATUS_OK)
        code = policy_coverage_init(&added->coverage, added->set, &self->shell->memory, why);
    if (code != STATUS_OK)
        return code;
    added->key = key;
    self->set_of[file] = added;
    self->set_count++;
    return STATUS_OK;
}

static status_code make_room(test_work *self, size_t files, failure *why) {
    arena *memory = &self->shell->memory;
    self->sets = arena_zero(memory, files, sizeof *self->sets);
    self->files = arena_zero(memory, files, sizeof *self->files);
    self->set_of = arena_zero(memory, files, sizeof(void *));
    if (self->sets == NULL || self->files == NULL || self->set_of == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the cases");
    self->file_count = files;
    return STATUS_OK;
}

static status_code open_files(test_work *self, policy_problems *problems, failure *why) {
    const cli_values *paths = &self->shell->positional;
    policy_source *found = NULL;
    size_t count = 0;
    status_code code = policy_files_read(self->shell, paths->items, paths->count, &found, &count, why);
    if (code == STATUS_OK)
        code = make_room(self, count, why);
    for (size_t i = 0; i < count && code == STATUS_OK; i++) {
        const yaml_source source = {
            .file = found[i].file, .text = found[i].text, .memory = &self->shell->memory};
        code = policy_cases_read(&source, &self->files[i], why);
        if (code == STATUS_OK)
            code = open_set(self, i, problems, why);
        self->case_count += self->files[i].case_count;
    }
    return code;
}

/* ---- results ---- */

static void print_case(test_work *self, const policy_case_file *file, const policy_case *one,
                       const char *problems) {
    if (problems[0] == '\0')
        return;
    progress_end(&self->shown);
    printf("FAILED %s:%u: %s\n", cli_safe(&self->shell->memory, file->file), one->line,
           cli_safe(&self->shell->memory, one->name));
    for (const char *line = problems; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        printf("       %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static void add_result(test_work *self, const policy_case_file *file, const policy_case *one,
                       const policy_explanation *found, const char *problems) {
    if (self->results == NULL) {
        print_case(self, file, one, problems);
        return;
    }
    json_array_append_new(self->results,
                          json_pack("{s:s, s:s, s:I, s:b, s:s, s:s, s:s}", "file", file->file, "name",
                                    one->name, "line", (json_int_t)one->line, "ok", problems[0] == '\0',
                                    "outcome", policy_outcome_name(found->result.outcome), "reason",
                                    policy_reason_name(found->result.reason), "problems", problems));
}

static status_code run_case(test_work *self, size_t file, const policy_case *one, failure *why) {
    policy_explanation found = {0};
    buffer problems;
    arena_reset(&self->scratch);
    status_code code = policies_explain(self->set_of[file]->set, &one->facts, &self->scratch, &found, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "%.200s:%u", self->files[file].file, one->line);
    policy_coverage_add(&self->set_of[file]->coverage, &found);
    buffer_init(&problems, PROBLEM_BYTES);
    policy_case_judge(one, &found, &problems);
    const char *text = problems.data != NULL ? problems.data : "";
    self->failed += text[0] != '\0';
    add_result(self, &self->files[file], one, &found, text);
    buffer_free(&problems);
    progress_at(&self->shown, ++self->done, self->case_count);
    return STATUS_OK;
}

static status_code run_all(test_work *self, failure *why) {
    progress_start(&self->shown, self->shell->source, "cases");
    status_code code = STATUS_OK;
    for (size_t i = 0; i < self->file_count; i++)
        for (size_t j = 0; j < self->files[i].case_count && code == STATUS_OK; j++)
            code = run_case(self, i, &self->files[i].cases[j], why);
    progress_end(&self->shown);
    return code;
}

/* ---- coverage ---- */

static const char *gap(const policy_coverage *coverage, const policy_rule *rule) {
    if (coverage->held[rule->index] > 0)
        return rule->condition[0] != '\0' && coverage->false_of[rule->index] == 0
                   ? "its condition is never false"
                   : NULL;
    return coverage->matched[rule->index] > 0 ? "never holds, its condition is reached"
                                              : "never holds, no case matches it";
}

static void coverage_totals(const test_work *self, size_t *rules, size_t *held) {
    *rules = *held = 0;
    for (size_t i = 0; i < self->set_count; i++) {
        *rules += self->sets[i].coverage.rule_count;
        for (size_t j = 0; j < self->sets[i].coverage.rule_count; j++)
            *held += self->sets[i].coverage.held[j] > 0;
    }
}

static void print_gaps(const test_work *self) {
    static const char *const headings[] = {"RULE", "WHERE", "COVERAGE"};
    cli_table *table = NULL;
    arena *memory = &self->shell->memory;
    for (size_t i = 0; i < self->set_count; i++)
        for (size_t j = 0; j < self->sets[i].set->rule_count; j++) {
            const policy_rule *rule = &self->sets[i].set->rules[j];
            const char *what = gap(&self->sets[i].coverage, rule);
            if (what == NULL)
                continue;
            if (table == NULL)
                table = cli_table_new(headings, 3);
            const char *cells[] = {cli_safe(memory, rule->name),
                                   arena_format(memory, "%s:%u", cli_safe(memory, rule->file), rule->line),
                                   what};
            cli_table_row(table, cells);
        }
    if (table != NULL)
        cli_table_print(table, stdout);
}

static json_t *gaps_json(const test_work *self) {
    json_t *list = json_array();
    for (size_t i = 0; i < self->set_count; i++)
        for (size_t j = 0; j < self->sets[i].set->rule_count; j++) {
            const policy_rule *rule = &self->sets[i].set->rules[j];
            const char *what = gap(&self->sets[i].coverage, rule);
            if (what != NULL)
                json_array_append_new(list,
                                      json_pack("{s:s, s:s, s:I, s:s}", "rule", rule->name, "file",
                                                rule->file, "line", (json_int_t)rule->line, "gap", what));
        }
    return list;
}

static void print_summary(test_work *self, double percent, size_t rules, size_t held) {
    if (self->results != NULL) {
        json_t *whole = json_pack("{s:I, s:I, s:O, s:{s:I, s:I, s:f, s:o}}", "passed",
                                  (json_int_t)(self->done - self->failed), "failed", (json_int_t)self->failed,
                                  "cases", self->results, "coverage", "rules", (json_int_t)rules, "held",
                                  (json_int_t)held, "percent", percent, "gaps", gaps_json(self));
        json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(whole);
        return;
    }
    print_gaps(self);
    printf("%zu passed, %zu failed; %zu of %zu rules held in some case (%.0f %%).\n",
           self->done - self->failed, self->failed, held, rules, percent);
}

static cli_exit finish(test_work *self, double least) {
    size_t rules = 0, held = 0;
    coverage_totals(self, &rules, &held);
    double percent = rules > 0 ? 100.0 * (double)held / (double)rules : 100;
    print_summary(self, percent, rules, held);
    if (percent + 1e-9 < least && self->results == NULL)
        printf("The coverage is below the %g %% that were asked for.\n", least);
    return self->failed > 0 || percent + 1e-9 < least ? CLI_ERROR : CLI_OK;
}

cli_exit policy_test_run(cli *self) {
    failure why = {0};
    policy_problems problems = {0};
    double least = 0;
    cli_exit result = CLI_ERROR;
    test_work *work = arena_zero(&self->memory, 1, sizeof *work);
    if (work == NULL)
        return CLI_ERROR;
    if (cli_number(self, "min-coverage", 0, 100, &least, &why) != STATUS_OK)
        return cli_usage(self, &why);
    work->shell = self;
    work->results = self->format == FORMAT_JSON ? json_array() : NULL;
    arena_init(&work->scratch, 65536, CASE_MEMORY_BYTES);
    status_code code = open_files(work, &problems, &why);
    if (code == STATUS_OK)
        code = run_all(work, &why);
    result = code == STATUS_OK ? finish(work, least) : policy_files_fail("policy test", &problems, &why);
    for (size_t i = 0; i < work->set_count; i++)
        policies_unref(work->sets[i].set);
    arena_free(&work->scratch);
    json_decref(work->results);
    return result;
}
