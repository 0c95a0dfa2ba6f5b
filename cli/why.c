/* interlock why: the cause of an incident, told as a person would tell it. */
#include "why.h"

#include <string.h>

#define WINDOW_MINUTES 10
#define SVG_BYTES (1U << 20)

const char *why_short_name(arena *memory, const char *node) {
    const char *slash = strrchr(node, '/');
    return cli_safe(memory, slash == NULL ? node : slash + 1);
}

/* "CODE" -> "code". */
const char *why_kind(arena *memory, const why_hypothesis *of) {
    const char *word = cli_enum(&interlock__graph__v1__cause_kind__descriptor, (int)of->kind, "CAUSE_KIND_");
    char *lower = arena_text(memory, word);
    for (char *at = lower; at != NULL && *at != '\0'; at++)
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    return lower == NULL || strcmp(lower, "unspecified") == 0 ? "unknown" : lower;
}

const char *why_clock(arena *memory, int64_t wall_ms) {
    const char *whole = wall_ms == 0 ? "" : cli_time(memory, wall_ms);
    const char *space = strchr(whole, ' ');
    char *clock = arena_text(memory, space == NULL ? whole : space + 1);
    if (clock != NULL && strlen(clock) > 8)
        clock[8] = '\0';
    return clock == NULL ? "" : clock;
}

/* ---- In words
 * -------------------------------------------------------------------------------------------------------- */

static const char *what_happened(const why_hypothesis *of) {
    switch (of->kind) {
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_DEPLOY:
        return "was deployed, and then went wrong";
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_CONFIG:
        return "was configured anew, and then went wrong";
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_RESOURCE:
        return "ran short of a resource or became slow";
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_NETWORK:
        return "could not be reached well over the network";
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_CODE:
        return "no longer does what it did";
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_DEPENDENCY:
        return "is a dependency that became slow or failed";
    case INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_SATURATION:
        return "is full";
    default:
        return "went wrong";
    }
}

static void tell_hop(cli *self, const Interlock__Graph__V1__CauseHop *hop, bool first) {
    const char *clock = why_clock(&self->memory, hop->at_ms);
    printf("%s%s%s%s\n", first ? "  " : "  so ", why_short_name(&self->memory, hop->node),
           *clock == '\0' ? "" : ", from ", clock);
    for (size_t i = 0; i < hop->n_evidence; i++)
        printf("      %s\n", cli_safe(&self->memory, hop->evidence[i]->text));
}

static void tell_first(cli *self, const why_hypothesis *of) {
    printf("Probably %s %s (%s, %s).\n", why_short_name(&self->memory, of->node), what_happened(of),
           why_kind(&self->memory, of), cli_percent(&self->memory, of->probability));
    if (of->change[0] != '\0')
        printf("It was changed before: %s\n", cli_safe(&self->memory, of->change));
    printf("\nHow it came about:\n");
    for (size_t i = 0; i < of->n_chain; i++)
        tell_hop(self, of->chain[i], i == 0);
    for (size_t i = 0; i < of->n_against; i++)
        printf("%s  %s\n", i == 0 ? "\nWhat speaks against it:\n" : "",
               cli_safe(&self->memory, of->against[i]));
}

static void tell_others(cli *self, const why_answer *answer) {
    static const char *const headings[] = {"OTHERWISE", "KIND", "PROBABILITY", "BECAUSE"};
    if (answer->n_hypotheses < 2)
        return;
    cli_table *table = cli_table_new(headings, 4);
    for (size_t i = 1; i < answer->n_hypotheses; i++) {
        const why_hypothesis *it = answer->hypotheses[i];
        bool has = it->n_chain > 0 && it->chain[0]->n_evidence > 0;
        const char *cells[] = {cli_safe(&self->memory, it->node), why_kind(&self->memory, it),
                               cli_percent(&self->memory, it->probability),
                               has ? cli_safe(&self->memory, it->chain[0]->evidence[0]->text) : ""};
        cli_table_row(table, cells);
    }
    printf("\n");
    cli_table_print(table, stdout);
}

static void tell(cli *self, const why_answer *answer) {
    if (answer->abstained)
        printf("No cause is named: nothing stands out enough.\n");
    else
        tell_first(self, answer->hypotheses[0]);
    for (size_t i = 0; i < answer->n_missing; i++)
        printf("%s  %s\n", i == 0 ? "\nWhat would help:\n" : "", cli_safe(&self->memory, answer->missing[i]));
    if (!answer->abstained)
        tell_others(self, answer);
    printf("\nFrom %u requests in the window and %u before it.\n", answer->window_requests,
           answer->normal_requests);
}

/* ---- The command
 * ---------------------------------------------------------------------------------------------------- */

static status_code request_fill(cli *self, Interlock__Graph__V1__RootCauseRequest *request,
                                Interlock__Graph__V1__Symptom *symptom, failure *why) {
    double limit = 5;
    double minutes = WINDOW_MINUTES;
    double until_ms = 0;
    status_code code = cli_number(self, "limit", 1, 64, &limit, why);
    if (code == STATUS_OK)
        code = cli_number(self, "minutes", 1, 1440, &minutes, why);
    if (code == STATUS_OK)
        code = cli_number(self, "until-ms", 1, 1e15, &until_ms, why);
    request->limit = (uint32_t)limit;
    if (self->positional.count == 1) {
        request->about_case = INTERLOCK__GRAPH__V1__ROOT_CAUSE_REQUEST__ABOUT_INCIDENT;
        request->incident = (char *)self->positional.items[0];
        return code;
    }
    symptom->to_ms = until_ms > 0 ? (int64_t)until_ms : chance_wall_ms(self->source);
    symptom->from_ms = symptom->to_ms - (int64_t)(minutes * 60000);
    if (cli_given(self, "node"))
        symptom->node = (char *)cli_text(self, "node");
    request->about_case = INTERLOCK__GRAPH__V1__ROOT_CAUSE_REQUEST__ABOUT_SYMPTOM;
    request->symptom = symptom;
    return code;
}

static cli_exit print_drawing(cli *self, const why_answer *answer) {
    buffer text;
    buffer_init(&text, SVG_BYTES);
    why_draw(&self->memory, answer, &text);
    bool good = buffer_ok(&text) && fwrite(text.data, 1, text.size, stdout) == text.size;
    buffer_free(&text);
    failure why = {0};
    if (good)
        return CLI_OK;
    fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "the picture could not be written");
    return cli_fail("why", &why);
}

static cli_exit why_run(cli *self) {
    failure why = {0};
    rpc_channel *channel = NULL;
    why_answer *answer = NULL;
    Interlock__Graph__V1__RootCauseRequest request = INTERLOCK__GRAPH__V1__ROOT_CAUSE_REQUEST__INIT;
    Interlock__Graph__V1__Symptom symptom = INTERLOCK__GRAPH__V1__SYMPTOM__INIT;
    if (request_fill(self, &request, &symptom, &why) != STATUS_OK)
        return cli_usage(self, &why);
    if (cli_given(self, "confirm") && self->positional.count != 1) {
        fail(&why, STATUS_INVALID_ARGUMENT, "INCIDENT_MISSING", "--confirm needs the incident's name");
        return cli_usage(self, &why);
    }
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = root_cause_wait(channel, &request, CLI_TIMEOUT_MS, &self->memory, &answer, &why);
    if (code == STATUS_OK && cli_given(self, "confirm")) {
        cli_exit confirmed = why_confirm(self, channel, answer);
        rpc_channel_close(channel);
        return confirmed;
    }
    rpc_channel_close(channel);
    if (code != STATUS_OK)
        return cli_fail("why", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    if (self->format == FORMAT_SVG)
        return print_drawing(self, answer);
    tell(self, answer);
    return CLI_OK;
}

static const cli_flag why_flags[] = {
    {.name = "node",
     .kind = FLAG_TEXT,
     .value_name = "NODE",
     .help = "where the symptom shows, without an incident [the front]"},
    {.name = "minutes",
     .kind = FLAG_TEXT,
     .value_name = "N",
     .help = "how long it has been going on, without an incident [10]"},
    {.name = "until-ms",
     .kind = FLAG_TEXT,
     .value_name = "MS",
     .help = "when it ended, milliseconds since 1970 [now]"},
    {.name = "limit", .kind = FLAG_TEXT, .value_name = "N", .help = "hypotheses, 1 to 64 [5]"},
    {.name = "confirm",
     .kind = FLAG_SWITCH,
     .help = "sign a hypothesis as what caused the incident, into the log"},
    {.name = "hypothesis", .kind = FLAG_TEXT, .value_name = "N", .help = "which one, 1 is the likeliest [1]"},
    {.name = "as",
     .kind = FLAG_TEXT,
     .value_name = "PRINCIPAL",
     .help = "who confirms: operator, approver/NAME or agent/NAME [operator]"},
    {.name = "note", .kind = FLAG_TEXT, .value_name = "TEXT", .help = "what else is to be said of it"},
};
const cli_command why_commands[] = {
    {.noun = "why",
     .purpose = "the cause of an incident, and how it came about",
     .positional = "INCIDENT",
     .most = 1,
     .flags = why_flags,
     .flag_count = sizeof why_flags / sizeof *why_flags,
     .examples = "  interlock why incident:prod/shop/checkout-slow\n"
                 "  interlock why --node service:prod/shop/checkout --minutes 15\n"
                 "  interlock why incident:prod/shop/checkout-slow -o svg > why.svg\n"
                 "  interlock why incident:prod/shop/checkout-slow --confirm --as agent/diagnoser\n",
     .run = why_run}};
const size_t why_command_count = 1;
