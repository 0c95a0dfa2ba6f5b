/* interlock outcome report: what became of an action. interlock recall: what memory knows. */
#include <string.h>

#include "client/audit_client.h"
#include "client/memory_client.h"
#include "crypto/dsse.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "wire/scan.h"

#include "cli.h"

#define RECALL_MOST 100.0

/* The digest of the action, from its decision in the log. */
static status_code find_digest(cli *self, const char *action_id, ProtobufCBinaryData *digest, failure *why) {
    rpc_channel *audit = NULL;
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    Interlock__Audit__V1__QueryResponse *found = NULL;
    ProtobufCMessage *message = NULL;
    query.action_id = (char *)action_id;
    query.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION;
    query.page_size = 1;
    status_code code = cli_channel(self, "audit", ROLE_OPERATOR, &audit, why);
    if (code == STATUS_OK)
        code = audit_query_wait(audit, &query, CLI_TIMEOUT_MS, &self->memory, &found, why);
    rpc_channel_close(audit);
    if (code != STATUS_OK)
        return code;
    if (found->n_entries == 0 || found->entries[0]->record == NULL)
        return fail(
            why, STATUS_NOT_FOUND, "ACTION_UNKNOWN",
            "the log holds no readable decision on \"%.128s\"; interlock audit list shows what there is",
            action_id);
    const ProtobufCBinaryData *payload = &found->entries[0]->record->payload;
    code = wire_unpack(&interlock__policy__v1__decision_record__descriptor,
                       bytes_of(payload->data, payload->len), &self->memory, &message, why);
    if (code != STATUS_OK)
        return code;
    const Interlock__Policy__V1__Decision *decision =
        ((Interlock__Policy__V1__DecisionRecord *)message)->decision;
    if (decision == NULL)
        return fail(why, STATUS_DATA_LOSS, "RECORD_UNREADABLE", "the record of \"%.128s\" has no decision",
                    action_id);
    *digest = decision->action_digest;
    return STATUS_OK;
}

static Interlock__Memory__V1__OutcomeState state_of(const char *word) {
    if (strcmp(word, "healthy") == 0)
        return INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_HEALTHY;
    if (strcmp(word, "failed") == 0)
        return INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_FAILED;
    if (strcmp(word, "reverted") == 0)
        return INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_REVERTED;
    return INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_UNKNOWN;
}

/* --as operator, or executor/NAME with keys/executor-NAME.key. */
static status_code load_reporter(cli *self, secret_key **key, const char **principal, rpc_role *role,
                                 failure *why) {
    const char *as = cli_text(self, "as");
    char name[160];
    if (as == NULL)
        as = "executor/local";
    if (strcmp(as, "operator") == 0) {
        *role = ROLE_OPERATOR;
        return cli_operator(self, key, principal, why);
    }
    if (strncmp(as, "executor/", 9) != 0 || as[9] == '\0' || strchr(as + 9, '/') != NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_REPORTER",
                    "--as is operator or executor/NAME, not \"%.64s\"", as);
    snprintf(name, sizeof name, "executor-%.120s", as + 9);
    *principal = as;
    *role = ROLE_EXECUTOR;
    return cli_key(self, name, KEY_EXECUTOR, key, why);
}

static status_code sign_outcome(cli *self, Interlock__Memory__V1__ActionOutcome *outcome, rpc_role *role,
                                Interlock__Common__V1__Envelope **out, failure *why) {
    const trust *roots = NULL;
    secret_key *key = NULL;
    const char *principal = NULL;
    status_code code = cli_roots(self, &roots, why);
    if (code == STATUS_OK)
        code = load_reporter(self, &key, &principal, role, why);
    if (code != STATUS_OK)
        return code;
    outcome->header =
        statement_header_new(PAYLOAD_OUTCOME, roots->installation, principal, 0, self->source, &self->memory);
    *out = outcome->header != NULL ? dsse_sign_message(key, PAYLOAD_OUTCOME, &outcome->base, &self->memory)
                                   : NULL;
    secret_key_free(key);
    return *out != NULL ? STATUS_OK : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
}

static status_code report(cli *self, const char *state, Interlock__Memory__V1__RecordOutcomeResponse **answer,
                          failure *why) {
    Interlock__Memory__V1__ActionOutcome outcome = INTERLOCK__MEMORY__V1__ACTION_OUTCOME__INIT;
    Interlock__Common__V1__Envelope *envelope = NULL;
    rpc_channel *memory = NULL;
    rpc_role role = ROLE_NONE;
    outcome.action_id = (char *)self->positional.items[0];
    outcome.state = state_of(state);
    outcome.actual_share = -1;
    outcome.note = cli_given(self, "note") ? (char *)cli_text(self, "note") : outcome.note;
    status_code code = cli_number(self, "share", 0, 1, &outcome.actual_share, why);
    if (code == STATUS_OK)
        code = find_digest(self, outcome.action_id, &outcome.action_digest, why);
    if (code == STATUS_OK)
        code = sign_outcome(self, &outcome, &role, &envelope, why);
    if (code == STATUS_OK)
        code = cli_channel(self, "memory", role, &memory, why);
    /* Memory follows the log: what was decided just now may take it a moment. The call is idempotent. */
    for (unsigned try = 0; code == STATUS_OK && try < 10; try++) {
        status_code sent =
            memory_record_outcome_wait(memory, envelope, CLI_TIMEOUT_MS, &self->memory, answer, why);
        if (sent != STATUS_NOT_FOUND || try == 9) {
            code = sent;
            break;
        }
        cli_pause_ms(200);
    }
    rpc_channel_close(memory);
    return code;
}

static cli_exit report_run(cli *self) {
    failure why = {0};
    const char *state = cli_text(self, "state");
    Interlock__Memory__V1__RecordOutcomeResponse *answer = NULL;
    if (state == NULL) {
        fail(&why, STATUS_INVALID_ARGUMENT, "FLAG_MISSING", "--state says what became of it");
        return cli_usage(self, &why);
    }
    status_code code = report(self, state, &answer, &why);
    if (code != STATUS_OK)
        return cli_fail("outcome report", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    printf("Recorded that %s was %s: index %llu of the log.\n", self->positional.items[0], state,
           answer->receipt != NULL ? (unsigned long long)answer->receipt->index : 0ULL);
    return CLI_OK;
}

static const char *actual_text(cli *self, const Interlock__Memory__V1__Memory *memory) {
    return memory->outcome_index == 0 || memory->actual_share < 0
               ? "-"
               : cli_percent(&self->memory, memory->actual_share);
}

static void print_chains(cli *self, const Interlock__Memory__V1__RecallResponse *answer) {
    for (size_t i = 0; i < answer->n_chains; i++) {
        const Interlock__Memory__V1__RememberedChain *chain = answer->chains[i];
        printf("%s%s was caused by %s (%s), says %s: record %llu\n", i == 0 ? "\n" : "",
               cli_safe(&self->memory, chain->incident),
               chain->n_hops > 0 ? cli_safe(&self->memory, chain->hops[0]->node) : "?",
               cli_enum(&interlock__graph__v1__cause_kind__descriptor, (int)chain->kind, "CAUSE_KIND_"),
               cli_safe(&self->memory, chain->principal), (unsigned long long)chain->log_index);
        for (size_t k = 1; k < chain->n_hops; k++)
            printf("  so %s\n", cli_safe(&self->memory, chain->hops[k]->node));
        if (chain->note[0] != '\0')
            printf("  %s\n", cli_safe(&self->memory, chain->note));
    }
}

static void print_memories(cli *self, const Interlock__Memory__V1__RecallResponse *answer) {
    static const char *const headings[] = {"DECIDED",   "ACTION", "VERB",   "OUTCOME",
                                           "PREDICTED", "BECAME", "ACTUAL", "NOTE"};
    cli_table *table = cli_table_new(headings, 8);
    for (size_t i = 0; i < answer->n_memories; i++) {
        const Interlock__Memory__V1__Memory *memory = answer->memories[i];
        const char *state = memory->outcome_index == 0
                                ? "-"
                                : cli_enum(&interlock__memory__v1__outcome_state__descriptor,
                                           (int)memory->state, "OUTCOME_STATE_");
        const char *cells[] = {cli_time(&self->memory, memory->decided_at_ms),
                               cli_safe(&self->memory, memory->action_id),
                               cli_safe(&self->memory, memory->verb),
                               cli_safe(&self->memory, memory->outcome),
                               cli_percent(&self->memory, memory->predicted_share),
                               state,
                               actual_text(self, memory),
                               cli_safe(&self->memory, memory->note)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
    print_chains(self, answer);
    printf("\n%llu match; %llu of them denied, %llu failed. Known up to record %llu of the log.\n",
           (unsigned long long)answer->matching, (unsigned long long)answer->denied,
           (unsigned long long)answer->failed, (unsigned long long)answer->applied_index);
}

static cli_exit recall_run(cli *self) {
    failure why = {0};
    rpc_channel *channel = NULL;
    double limit = 0;
    Interlock__Memory__V1__RecallRequest request = INTERLOCK__MEMORY__V1__RECALL_REQUEST__INIT;
    Interlock__Memory__V1__RecallResponse *answer = NULL;
    if (cli_given(self, "node"))
        request.node = (char *)cli_text(self, "node");
    if (cli_given(self, "verb"))
        request.verb = (char *)cli_text(self, "verb");
    if (cli_number(self, "limit", 1, RECALL_MOST, &limit, &why) != STATUS_OK)
        return cli_usage(self, &why);
    request.limit = (uint32_t)limit;
    status_code code = cli_channel(self, "memory", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = memory_recall_wait(channel, &request, CLI_TIMEOUT_MS, &self->memory, &answer, &why);
    rpc_channel_close(channel);
    if (code != STATUS_OK)
        return cli_fail("recall", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    print_memories(self, answer);
    return CLI_OK;
}

static const cli_flag report_flags[] = {
    {.name = "state",
     .kind = FLAG_TEXT,
     .value_name = "STATE",
     .help = "what became of it",
     .choices = "healthy|failed|reverted|unknown"},
    {.name = "share",
     .kind = FLAG_TEXT,
     .value_name = "X",
     .help = "entry traffic really hit, 0 to 1 [not measured]"},
    {.name = "note", .kind = FLAG_TEXT, .value_name = "TEXT", .help = "in words"},
    {.name = "as",
     .kind = FLAG_TEXT,
     .value_name = "WHO",
     .help = "executor/NAME or operator [executor/local]"},
};
static const cli_flag recall_flags[] = {
    {.name = "node",
     .kind = FLAG_TEXT,
     .value_name = "NODE",
     .help = "kind:environment/namespace/name [any]"},
    {.name = "verb", .kind = FLAG_TEXT, .value_name = "VERB", .help = "[any]"},
    {.name = "limit", .kind = FLAG_TEXT, .value_name = "N", .help = "1 to 100 [20]"},
};
const cli_command outcome_commands[] = {
    {.noun = "outcome",
     .verb = "report",
     .purpose = "state what became of an action",
     .positional = "ACTION_ID",
     .least = 1,
     .most = 1,
     .flags = report_flags,
     .flag_count = sizeof report_flags / sizeof *report_flags,
     .examples = "  interlock outcome report restart-1a2b --state healthy --share 0.01\n"
                 "  interlock outcome report deploy-3c4d --state reverted --note 'timeouts' --as operator\n",
     .run = report_run},
    {.noun = "recall",
     .purpose = "what happened before, on a node or of a verb",
     .flags = recall_flags,
     .flag_count = sizeof recall_flags / sizeof *recall_flags,
     .examples = "  interlock recall --node service:prod/shop/cart --verb deploy\n",
     .run = recall_run},
};
const size_t outcome_command_count = sizeof outcome_commands / sizeof *outcome_commands;
