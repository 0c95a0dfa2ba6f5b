/* interlock backtest: past changes and incidents, judged as if agents had proposed them. */
#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>

#include "backtest_graph.h"
#include "backtest_report.h"
#include "client/graph_client.h"
#include "decisions_scan.h"
#include "facts_reader.h"
#include "policy_files.h"
#include "progress.h"

#define EVENTS_BYTES (128U << 20)
#define MEMORY_BYTES (2048ULL << 20)
#define HTML_BYTES (64U << 20)
#define WINDOW_DEFAULT_MS 3600000
#define LIMIT_DEFAULT 30.0

/* What the graph says of a set of targets: asked once. */
typedef struct known_impact {
    char *key;
    policy_impact_facts impact;
    UT_hash_handle hh;
} known_impact;

typedef struct backtest_work {
    cli *shell;
    arena memory;
    backtest past;
    backtest_scope scope;
    policy_set *set;
    policy_versions versions;
    policy_problems problems;
    known_impact *impacts;
    progress shown;
} backtest_work;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the backtest");
}

/* What the graph knows of the past comes as the same events. */
static status_code read_graph(backtest_work *self, failure *why) {
    decisions_scan span = {0};
    json_t *events = NULL;
    status_code code = decisions_scan_times(self->shell, &span, why);
    if (code == STATUS_OK)
        code = backtest_graph_events(self->shell, span.from_ms, &events, why);
    if (code != STATUS_OK)
        return code;
    char *text = json_dumps(events, 0);
    code = text != NULL ? backtest_read(&self->past, "the graph", bytes_of_text(text), why) : no_memory(why);
    free(text);
    json_decref(events);
    return code;
}

static status_code read_events(backtest_work *self, failure *why) {
    const cli_values *paths = &self->shell->positional;
    status_code code = paths->count == 0 ? read_graph(self, why) : STATUS_OK;
    for (size_t i = 0; i < paths->count && code == STATUS_OK; i++) {
        bytes text = {0};
        code = cli_read_file(self->shell, paths->items[i], EVENTS_BYTES, &text, why);
        if (code == STATUS_OK)
            code = backtest_read(&self->past, paths->items[i], text, why);
    }
    if (code == STATUS_OK && self->past.change_count == 0)
        code = fail(why, STATUS_INVALID_ARGUMENT, "NO_CHANGES",
                    "there is no change among the events (types interlock.deploy, interlock.config, "
                    "interlock.flag); %llu were of other types",
                    (unsigned long long)self->past.ignored);
    backtest_sort(&self->past);
    return code;
}

/* ---- facts that events do not have ---- */

/* What --facts states holds of every change; targets are the change's own. */
static status_code apply_facts(backtest_work *self, failure *why) {
    const char *path = cli_text(self->shell, "facts");
    const char *agent = cli_text(self->shell, "agent");
    policy_facts base = {0};
    if (path != NULL) {
        yaml_source source = {.file = path, .memory = &self->memory};
        status_code code = cli_read_file(self->shell, path, YAML_FILE_BYTES, &source.text, why);
        if (code == STATUS_OK)
            code = facts_read_file(&source, &base, why);
        if (code != STATUS_OK)
            return code;
    }
    if (base.agent.principal == NULL)
        base.agent.principal = agent != NULL ? agent : "agent/backtest";
    for (size_t i = 0; i < self->past.change_count; i++) {
        policy_facts *facts = &self->past.changes[i].facts;
        facts->agent = base.agent;
        facts->impact = base.impact;
        facts->schema = base.schema;
        facts->grant = base.grant;
        facts->stage = base.stage;
    }
    return STATUS_OK;
}

static bool copy_impact(backtest_work *self, const Interlock__Graph__V1__Impact *from,
                        policy_impact_facts *out) {
    *out = (policy_impact_facts){0};
    if (from == NULL || from->entry_traffic == NULL)
        return true;
    policy_affected *affected = arena_zero(&self->memory, from->n_affected + 1, sizeof *affected);
    bool whole = affected != NULL;
    for (size_t i = 0; whole && i < from->n_affected; i++) {
        affected[i].name = arena_text(&self->memory, from->affected[i]->name);
        affected[i].probability = from->affected[i]->probability;
        whole = affected[i].name != NULL;
    }
    *out = (policy_impact_facts){.known = true,
                                 .expected = from->entry_traffic->expected,
                                 .low = from->entry_traffic->low,
                                 .high = from->entry_traffic->high,
                                 .observed_requests = from->observed_requests,
                                 .affected = affected,
                                 .affected_count = from->n_affected};
    return whole;
}

/* A target that the graph cannot take (no service, no such name) has no impact to be had. */
static status_code ask_graph(backtest_work *self, rpc_channel *graph, const backtest_change *change,
                             policy_impact_facts *out, failure *why) {
    Interlock__Graph__V1__PredictImpactRequest request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
    Interlock__Graph__V1__PredictImpactResponse *answer = NULL;
    arena scratch;
    request.targets = (char **)change->services;
    request.n_targets = change->service_count;
    request.verb = (char *)change->verb;
    arena_init(&scratch, 65536, 16U << 20);
    status_code code = graph_predict_impact_wait(graph, &request, CLI_TIMEOUT_MS, &scratch, &answer, why);
    *out = (policy_impact_facts){0};
    if (code == STATUS_INVALID_ARGUMENT || code == STATUS_NOT_FOUND)
        code = STATUS_OK;
    else if (code == STATUS_OK && !copy_impact(self, answer->impact, out))
        code = no_memory(why);
    arena_free(&scratch);
    return code;
}

static char *key_of(backtest_work *self, const backtest_change *change) {
    buffer text;
    buffer_init(&text, 65536);
    buffer_text(&text, change->verb);
    for (size_t i = 0; i < change->service_count; i++)
        buffer_format(&text, " %s", change->services[i]);
    char *key = buffer_ok(&text) ? arena_text(&self->memory, text.data) : NULL;
    buffer_free(&text);
    return key;
}

static status_code fill_impact(backtest_work *self, rpc_channel *graph, backtest_change *change,
                               failure *why) {
    known_impact *known = NULL;
    char *key = key_of(self, change);
    if (key == NULL)
        return no_memory(why);
    HASH_FIND_STR(self->impacts, key, known);
    if (known == NULL) {
        known = arena_zero(&self->memory, 1, sizeof *known);
        if (known == NULL)
            return no_memory(why);
        known->key = key;
        status_code code = ask_graph(self, graph, change, &known->impact, why);
        if (code != STATUS_OK)
            return code;
        HASH_ADD_KEYPTR(hh, self->impacts, known->key, strlen(known->key), known);
    }
    change->facts.impact = known->impact;
    self->scope.without_impact += !known->impact.known;
    return STATUS_OK;
}

static status_code fill_impacts(backtest_work *self, failure *why) {
    const char *from = cli_text(self->shell, "impact");
    rpc_channel *graph = NULL;
    if (from != NULL && strcmp(from, "none") == 0)
        return STATUS_OK;
    status_code code = cli_channel(self->shell, "graph", ROLE_OPERATOR, &graph, why);
    if (code != STATUS_OK)
        return fail_within(why, code,
                           "the impact of changes comes from the graph (--impact none does without)");
    progress_start(&self->shown, self->shell->source, "impacts");
    for (size_t i = 0; i < self->past.change_count && code == STATUS_OK; i++) {
        code = fill_impact(self, graph, &self->past.changes[i], why);
        progress_at(&self->shown, i + 1, self->past.change_count);
    }
    progress_end(&self->shown);
    rpc_channel_close(graph);
    self->scope.knows_impact = true;
    return code;
}

/* ---- the run ---- */

static void judged(void *context, size_t done) {
    backtest_work *self = context;
    progress_at(&self->shown, done, self->past.change_count);
}

static status_code run_backtest(backtest_work *self, failure *why) {
    const char *named = cli_text(self->shell, "policy");
    status_code code = read_events(self, why);
    if (code == STATUS_OK)
        code = policy_set_named(self->shell, named != NULL ? named : "live", &self->versions, &self->set,
                                &self->problems, why);
    if (code == STATUS_OK)
        code = apply_facts(self, why);
    if (code == STATUS_OK)
        code = fill_impacts(self, why);
    if (code != STATUS_OK)
        return code;
    backtest_attribute(&self->past, self->scope.window_ms);
    progress_start(&self->shown, self->shell->source, "changes judged");
    code = backtest_judge(&self->past, self->set, judged, self, why);
    progress_end(&self->shown);
    self->scope.set = self->set;
    return code;
}

static status_code write_html(backtest_work *self, const char *path, failure *why) {
    buffer page;
    buffer_init(&page, HTML_BYTES);
    backtest_html(&self->memory, &self->past, &self->scope, &page);
    status_code code = buffer_ok(&page)
                           ? cli_write_file(path, buffer_bytes(&page), why)
                           : fail(why, STATUS_RESOURCE_EXHAUSTED, "PAGE_TOO_LARGE", "no memory for the page");
    buffer_free(&page);
    return code;
}

static cli_exit report(backtest_work *self) {
    failure why = {0};
    const char *html = cli_text(self->shell, "html");
    if (html != NULL && write_html(self, html, &why) != STATUS_OK)
        return cli_fail("backtest", &why);
    if (self->shell->format == FORMAT_JSON) {
        json_t *whole = backtest_json(&self->past, &self->scope);
        json_dumpf(whole, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(whole);
        return CLI_OK;
    }
    backtest_print(self->shell, &self->past, &self->scope);
    if (html != NULL)
        printf("\nThe page is %s.\n", cli_safe(&self->memory, html));
    return CLI_OK;
}

static status_code read_flags(backtest_work *self, failure *why) {
    const cli *shell = self->shell;
    const char *window = cli_text(shell, "window");
    int64_t begin = 0;
    double limit = LIMIT_DEFAULT;
    self->scope.window_ms = WINDOW_DEFAULT_MS;
    if (window != NULL) {
        if (strpbrk(window, "smhd") == NULL || !moment_parse(window, INT64_MAX, &begin))
            return fail_field(why, "window", "BAD_TIME",
                              "--window is a span such as 45m or 6h, not \"%.40s\"", window);
        self->scope.window_ms = INT64_MAX - begin;
    }
    status_code code = cli_number(shell, "limit", 0, 1e6, &limit, why);
    self->scope.limit = (size_t)limit;
    self->scope.events = shell->positional.count == 0   ? "the graph"
                         : shell->positional.count == 1 ? shell->positional.items[0]
                                                        : "several files";
    return code;
}

static cli_exit backtest_run(cli *self) {
    failure why = {0};
    cli_exit result = CLI_ERROR;
    backtest_work *work = arena_zero(&self->memory, 1, sizeof *work);
    if (work == NULL)
        return CLI_ERROR;
    work->shell = self;
    if (read_flags(work, &why) != STATUS_OK)
        return cli_usage(self, &why);
    arena_init(&work->memory, 1U << 20, MEMORY_BYTES);
    backtest_init(&work->past, &work->memory);
    if (run_backtest(work, &why) == STATUS_OK)
        result = report(work);
    else
        result = policy_files_fail("backtest", &work->problems, &why);
    HASH_CLEAR(hh, work->impacts);
    policies_unref(work->set);
    policy_versions_free(&work->versions);
    arena_free(&work->memory);
    return result;
}

static const cli_flag backtest_flags[] = {
    {.name = "policy",
     .kind = FLAG_TEXT,
     .value_name = "SET",
     .help = "file, folder, live or @VERSION [live]"},
    {.name = "html", .kind = FLAG_TEXT, .value_name = "FILE", .help = "also write a page"},
    {.name = "impact",
     .kind = FLAG_TEXT,
     .value_name = "FROM",
     .help = "where impact comes from [graph]",
     .choices = "graph|none"},
    {.name = "from",
     .kind = FLAG_TEXT,
     .value_name = "TIME",
     .help = "without FILE: how far back; 2026-11-22[T19:30:00Z], or 30d [all that the graph keeps]"},
    {.name = "window",
     .kind = FLAG_TEXT,
     .value_name = "SPAN",
     .help = "how long after a change an incident can be its, when nobody says [1h]"},
    {.name = "agent", .kind = FLAG_TEXT, .value_name = "WHO", .help = "who proposes [agent/backtest]"},
    {.name = "facts",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "facts that hold of every change (YAML)"},
    {.name = "limit", .kind = FLAG_TEXT, .value_name = "N", .help = "list so many rows [30]"},
};
const cli_command backtest_commands[] = {
    {.noun = "backtest",
     .purpose = "what policies would have made of past changes and incidents",
     .positional = "[FILE…]",
     .most = CLI_LIST_MAX,
     .flags = backtest_flags,
     .flag_count = sizeof backtest_flags / sizeof *backtest_flags,
     .examples = "  interlock backtest --from 30d\n"
                 "  interlock backtest events.jsonl --html backtest.html\n"
                 "  interlock backtest events.jsonl --policy candidate.yaml --window 2h\n"
                 "  interlock backtest events.jsonl --policy policies/ --impact none\n",
     .run = backtest_run},
};
const size_t backtest_command_count = sizeof backtest_commands / sizeof *backtest_commands;
