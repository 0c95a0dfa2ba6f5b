/* interlock graph apply, drift and ingest: what people and machines say of production. */
#include <string.h>

#include "client/changes_client.h"
#include "graph_commands.h"
#include "ingest.h"
#include "ingest_changes.h"

#define DOCUMENT_BYTES (2U << 20)
#define DECLARE_TIMEOUT_MS 60000U

typedef Interlock__Graph__V1__Statement statement_message;
typedef Interlock__Graph__V1__ApplyDeclarationsResponse apply_response;
typedef Interlock__Graph__V1__GetDriftResponse drift_response;

static const char *lower(cli *self, const char *text) {
    char *copy = arena_text(&self->memory, text);
    for (char *c = copy; c != NULL && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return copy != NULL ? copy : "";
}

const char *graph_statement_text(cli *self, const statement_message *what) {
    const char *text = NULL;
    if (what->kind_case == INTERLOCK__GRAPH__V1__STATEMENT__KIND_EDGE)
        text = arena_format(&self->memory, "%s %s %s", cli_safe(&self->memory, what->name),
                            lower(self, cli_enum(&interlock__graph__v1__edge_kind__descriptor,
                                                 (int)what->edge, "EDGE_KIND_")),
                            cli_safe(&self->memory, what->to));
    else
        text = cli_safe(&self->memory, what->name);
    return text != NULL ? text : "";
}

/* ---- apply */

static const char *value_of(const statement_message *what, const char *key) {
    for (size_t i = 0; what != NULL && i < what->n_attributes; i++)
        if (strcmp(what->attributes[i]->key, key) == 0)
            return what->attributes[i]->value;
    return NULL;
}

/* Attributes of `what` that the other does not have so. */
static void print_attributes(cli *self, const statement_message *what, const statement_message *other,
                             const char *sign) {
    for (size_t i = 0; i < what->n_attributes; i++) {
        const char *key = what->attributes[i]->key;
        const char *value = value_of(other, key);
        if (value == NULL || strcmp(value, what->attributes[i]->value) != 0)
            printf("    %s %s: %s\n", sign, cli_safe(&self->memory, key),
                   cli_safe(&self->memory, what->attributes[i]->value));
    }
}

static void print_difference(cli *self, const Interlock__Graph__V1__Difference *item) {
    const statement_message *what = item->after != NULL ? item->after : item->before;
    const char *sign = item->before == NULL ? "+" : item->after == NULL ? "-" : "~";
    if (what == NULL)
        return;
    printf("%s %s\n", sign, graph_statement_text(self, what));
    if (item->before != NULL && item->after != NULL)
        print_attributes(self, item->before, item->after, "-");
    if (item->after != NULL)
        print_attributes(self, item->after, item->before, "+");
}

static void print_applied(cli *self, const apply_response *answer, bool dry_run) {
    for (size_t i = 0; i < answer->n_differences; i++)
        print_difference(self, answer->differences[i]);
    size_t all = (size_t)answer->added + answer->changed + answer->removed;
    if (all > answer->n_differences)
        printf("… and %zu more.\n", all - answer->n_differences);
    printf("%s %s: %u added, %u changed, %u removed, %u unchanged.\n", dry_run ? "Would apply" : "Applied",
           cli_safe(&self->memory, answer->name), answer->added, answer->changed, answer->removed,
           answer->unchanged);
    for (size_t i = 0; i < answer->n_warnings; i++)
        fprintf(stderr, "Warning: %s\n", cli_safe(&self->memory, answer->warnings[i]));
}

static status_code apply(cli *self, const char *path, apply_response **out, failure *why) {
    Interlock__Graph__V1__ApplyDeclarationsRequest request =
        INTERLOCK__GRAPH__V1__APPLY_DECLARATIONS_REQUEST__INIT;
    rpc_channel *channel = NULL;
    bytes document = {0};
    status_code code = cli_read_file(self, path, DOCUMENT_BYTES, &document, why);
    if (code != STATUS_OK)
        return code;
    if (!utf8_valid(document))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_YAML", "%.200s is not a text in UTF-8", path);
    char *text = arena_alloc(&self->memory, document.size + 1);
    if (text == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.200s", path);
    if (document.size > 0)
        memcpy(text, document.data, document.size);
    text[document.size] = '\0';
    request.file = (char *)(strcmp(path, "-") == 0 ? "standard input" : path);
    request.document = text;
    request.dry_run = cli_given(self, "dry-run");
    code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, why);
    if (code == STATUS_OK)
        code = changes_declare_wait(channel, &request, DECLARE_TIMEOUT_MS, &self->memory, out, why);
    rpc_channel_close(channel);
    return code;
}

cli_exit graph_apply_run(cli *self) {
    failure why = {0};
    apply_response *answer = NULL;
    const char *path = cli_text(self, "file");
    if (path == NULL) {
        (void)fail_field(&why, "file", "VALUE_MISSING", "-f FILE is missing");
        return cli_usage(self, &why);
    }
    if (apply(self, path, &answer, &why) != STATUS_OK)
        return cli_fail("graph apply", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    print_applied(self, answer, cli_given(self, "dry-run"));
    return CLI_OK;
}

/* ---- drift */

static void print_drift(cli *self, const char *heading, Interlock__Graph__V1__DriftItem *const *items,
                        size_t count, uint32_t all) {
    const char *headings[] = {heading, "SAID BY", "SINCE"};
    cli_table *table = cli_table_new(headings, 3);
    for (size_t i = 0; i < count; i++) {
        const char *cells[] = {graph_statement_text(self, items[i]->statement),
                               cli_safe(&self->memory, items[i]->origin),
                               cli_time(&self->memory, items[i]->since_ms)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
    if (all > count)
        printf("… and %zu more.\n", all - count);
    printf("\n");
}

static bool statements_are_there(const drift_response *answer) {
    for (size_t i = 0; i < answer->n_never_seen; i++)
        if (answer->never_seen[i]->statement == NULL)
            return false;
    for (size_t i = 0; i < answer->n_undeclared; i++)
        if (answer->undeclared[i]->statement == NULL)
            return false;
    return true;
}

cli_exit graph_drift_run(cli *self) {
    failure why = {0};
    rpc_channel *channel = NULL;
    drift_response *answer = NULL;
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = changes_drift_wait(channel, DECLARE_TIMEOUT_MS, &self->memory, &answer, &why);
    rpc_channel_close(channel);
    if (code == STATUS_OK && !statements_are_there(answer))
        code = fail(&why, STATUS_INTERNAL, "BAD_ANSWER", "the graph names nothing");
    if (code != STATUS_OK)
        return cli_fail("graph drift", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    if (answer->n_never_seen > 0)
        print_drift(self, "DECLARED, NEVER SEEN", answer->never_seen, answer->n_never_seen,
                    answer->never_seen_count);
    if (answer->n_undeclared > 0)
        print_drift(self, "SEEN, NOT DECLARED", answer->undeclared, answer->n_undeclared,
                    answer->undeclared_count);
    printf("%u declared and never seen, %u seen and not declared.\n", answer->never_seen_count,
           answer->undeclared_count);
    return CLI_OK;
}

/* ---- ingest */

static cli_exit print_totals(const cli *self, const change_totals *totals, bool objects) {
    unsigned long long accepted = totals->accepted;
    unsigned long long unchanged = totals->unchanged;
    unsigned long long refused = totals->refused;
    if (self->format == FORMAT_JSON && objects)
        printf("{\"objects\": %llu, \"accepted\": %llu, \"unchanged\": %llu, \"ignored\": %llu, \"refused\": "
               "%llu}\n",
               (unsigned long long)totals->items, accepted, unchanged, (unsigned long long)totals->ignored,
               refused);
    else if (self->format == FORMAT_JSON)
        printf("{\"events\": %llu, \"accepted\": %llu, \"duplicates\": %llu, \"refused\": %llu}\n",
               (unsigned long long)totals->items, accepted, unchanged, refused);
    else if (objects)
        printf("Took %llu objects; %llu unchanged, %llu ignored, %llu refused.\n", accepted, unchanged,
               (unsigned long long)totals->ignored, refused);
    else
        printf("Took %llu events; %llu duplicates, %llu refused.\n", accepted, unchanged, refused);
    return refused == 0 ? CLI_OK : CLI_ERROR;
}

static cli_exit print_spans(cli *self, const ingest_totals *totals) {
    if (self->format == FORMAT_JSON)
        printf("{\"lines\": %llu, \"spans\": %llu, \"rejectedSpans\": %llu}\n",
               (unsigned long long)totals->lines, (unsigned long long)totals->spans,
               (unsigned long long)totals->rejected);
    else
        printf("Ingested %llu spans of %llu lines; %llu rejected%s%s.\n",
               (unsigned long long)(totals->spans - totals->rejected), (unsigned long long)totals->lines,
               (unsigned long long)totals->rejected, totals->message[0] != '\0' ? ": " : "",
               cli_safe(&self->memory, totals->message));
    return CLI_OK;
}

cli_exit graph_ingest_run(cli *self) {
    failure why = {0};
    ingest_totals spans = {0};
    change_totals changes = {0};
    const char *objects = cli_text(self, "k8s");
    const char *events = cli_text(self, "events");
    const char *file = self->positional.count > 0 ? self->positional.items[0] : NULL;
    if ((objects != NULL) + (events != NULL) + (file != NULL) != 1) {
        (void)fail(&why, STATUS_INVALID_ARGUMENT, "ARGUMENT_MISSING",
                   "one of FILE, --k8s FILE and --events FILE");
        return cli_usage(self, &why);
    }
    status_code code = objects != NULL  ? ingest_objects(self, objects, cli_text(self, "environment"),
                                                         cli_text(self, "cluster"), &changes, &why)
                       : events != NULL ? ingest_events(self, events, &changes, &why)
                                        : ingest_file(self, file, &spans, &why);
    if (code != STATUS_OK)
        return cli_fail("graph ingest", &why);
    return file != NULL ? print_spans(self, &spans) : print_totals(self, &changes, objects != NULL);
}
