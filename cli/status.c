/* interlock status: does each service serve, where, and what does it hold. */
#include <string.h>

#include "client/audit_client.h"
#include "client/graph_client.h"
#include "client/memory_client.h"
#include "client/policy_client.h"
#include "client/signer_client.h"

#include "cli.h"

#define STATUS_TIMEOUT_MS 3000U

/* Each asks the service something it can only answer when it works; false: `why` says what went wrong. */
static bool audit_words(cli *self, rpc_channel *channel, const char **out, failure *why) {
    Interlock__Audit__V1__GetProofRequest request = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__INIT;
    Interlock__Audit__V1__GetProofResponse *answer = NULL;
    request.proof_case = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF_INDEX;
    if (audit_get_proof_wait(channel, &request, STATUS_TIMEOUT_MS, &self->memory, &answer, why) != STATUS_OK)
        return false;
    *out = arena_format(&self->memory, "%llu records", (unsigned long long)answer->tree_size);
    return true;
}

static bool graph_words(cli *self, rpc_channel *channel, const char **out, failure *why) {
    Interlock__Graph__V1__GetGraphResponse *answer = NULL;
    if (graph_get_wait(channel, STATUS_TIMEOUT_MS, &self->memory, &answer, why) != STATUS_OK)
        return false;
    *out = arena_format(&self->memory, "%zu nodes, %zu edges, revision %llu", answer->n_nodes,
                        answer->n_edges, (unsigned long long)answer->revision);
    return true;
}

static bool memory_words(cli *self, rpc_channel *channel, const char **out, failure *why) {
    Interlock__Memory__V1__RecallRequest request = INTERLOCK__MEMORY__V1__RECALL_REQUEST__INIT;
    Interlock__Memory__V1__RecallResponse *answer = NULL;
    request.limit = 1;
    if (memory_recall_wait(channel, &request, STATUS_TIMEOUT_MS, &self->memory, &answer, why) != STATUS_OK)
        return false;
    *out = arena_format(&self->memory, "%llu actions, up to record %llu",
                        (unsigned long long)answer->matching, (unsigned long long)answer->applied_index);
    return true;
}

static bool policy_words(cli *self, rpc_channel *channel, const char **out, failure *why) {
    Interlock__Control__V1__GetControlResponse *answer = NULL;
    if (policy_get_control_wait(channel, STATUS_TIMEOUT_MS, &self->memory, &answer, why) != STATUS_OK)
        return false;
    *out = arena_format(
        &self->memory, "policy %s %llu, control %llu, %s%s%s",
        answer->policy_name[0] != '\0' ? cli_safe(&self->memory, answer->policy_name) : "none",
        (unsigned long long)answer->policy_version, (unsigned long long)answer->control_seq,
        answer->fresh ? "fresh" : "NOT FRESH, everything is deferred: ",
        cli_safe(&self->memory, answer->not_fresh_reason), answer->n_kills > 0 ? ", KILL SWITCH SET" : "");
    return true;
}

static bool signer_words(cli *self, rpc_channel *channel, const char **out, failure *why) {
    char *keys = NULL;
    if (signer_get_keys_wait(channel, STATUS_TIMEOUT_MS, &self->memory, &keys, why) != STATUS_OK)
        return false;
    *out = "the permit key";
    return true;
}

typedef struct service_words {
    const char *service;
    bool (*words)(cli *self, rpc_channel *channel, const char **out, failure *why);
} service_words;

static const service_words all_words[] = {
    {"signer", signer_words}, {"audit", audit_words},   {"graph", graph_words},
    {"memory", memory_words}, {"policy", policy_words},
};

typedef struct service_state {
    bool serving;
    cli_running running;
    const char *words;
} service_state;

static void look_at(cli *self, const service_words *which, service_state *out) {
    rpc_channel *channel = NULL;
    failure why = {0};
    status_code code = cli_running_read(self->data_dir, which->service, &out->running, &why);
    if (code == STATUS_OK)
        code = cli_channel(self, which->service, ROLE_OPERATOR, &channel, &why);
    out->serving = code == STATUS_OK && which->words(self, channel, &out->words, &why);
    if (!out->serving)
        out->words = cli_safe(&self->memory, why.message);
    rpc_channel_close(channel);
}

static void print_json(const service_state states[CLI_SERVICES]) {
    puts("{\"services\": [");
    for (size_t i = 0; i < CLI_SERVICES; i++) {
        printf("  {\"name\": \"%s\", \"serving\": %s, \"tcpPort\": %d, \"httpPort\": %d, \"holds\": ",
               all_words[i].service, states[i].serving ? "true" : "false", states[i].running.tcp_port,
               states[i].running.http_port);
        cli_print_json_text(states[i].words != NULL ? states[i].words : "");
        puts(i + 1 < CLI_SERVICES ? "}," : "}");
    }
    puts("]}");
}

static void print_table(cli *self, const service_state states[CLI_SERVICES]) {
    static const char *const headings[] = {"SERVICE", "STATE", "PID", "gRPC", "HTTP", "HOLDS"};
    cli_table *table = cli_table_new(headings, 6);
    for (size_t i = 0; i < CLI_SERVICES; i++) {
        const service_state *state = &states[i];
        const char *cells[] = {
            all_words[i].service,
            state->serving ? "serving" : "DOWN",
            state->running.pid > 0 ? arena_format(&self->memory, "%ld", state->running.pid) : "-",
            state->running.tcp_port > 0 ? arena_format(&self->memory, "%d", state->running.tcp_port) : "-",
            state->running.http_port > 0 ? arena_format(&self->memory, "%d", state->running.http_port) : "-",
            state->words != NULL ? state->words : ""};
        cli_table_row(table, cells);
    }
    printf("Installation \"%s\" in %s\n\n", self->roots->installation, self->data_dir);
    cli_table_print(table, stdout);
}

static cli_exit status_run(cli *self) {
    failure why = {0};
    const trust *roots = NULL;
    static service_state states[CLI_SERVICES];
    if (cli_roots(self, &roots, &why) != STATUS_OK)
        return cli_fail("status", &why);
    bool all = true;
    for (size_t i = 0; i < CLI_SERVICES; i++) {
        look_at(self, &all_words[i], &states[i]);
        all = all && states[i].serving;
    }
    if (self->format == FORMAT_JSON)
        print_json(states);
    else
        print_table(self, states);
    return all ? CLI_OK : CLI_ERROR;
}

const cli_command status_commands[] = {
    {.noun = "status",
     .purpose = "whether each service serves, and what it holds",
     .examples = "  interlock status\n  interlock status -o json\n",
     .run = status_run},
};
const size_t status_command_count = sizeof status_commands / sizeof *status_commands;
