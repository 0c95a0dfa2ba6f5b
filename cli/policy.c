/* interlock policy: the policy set in force. */
#include <string.h>

#include "client/policy_client.h"
#include "policy_commands.h"
#include "statements.h"

#define POLICY_BYTES (256U << 10)

static status_code put_policy(cli *self, const char *path, char name[129], uint64_t *version,
                              Interlock__Control__V1__PutControlResponse **out, failure *why) {
    rpc_channel *policy = NULL;
    secret_key *key = NULL;
    const char *principal = NULL;
    bytes document = {0};
    status_code code = cli_read_file(self, path, POLICY_BYTES, &document, why);
    if (code == STATUS_OK)
        code = cli_policy_metadata(document, path, name, version, why);
    if (code == STATUS_OK)
        code = cli_operator(self, &key, &principal, why);
    if (code == STATUS_OK)
        code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, why);
    if (code == STATUS_OK) {
        const signer_identity signer = {.key = key,
                                        .principal = principal,
                                        .installation = self->roots->installation,
                                        .source = self->source,
                                        .memory = &self->memory};
        Interlock__Common__V1__Envelope *statement = statement_policy(&signer, name, *version, document);
        code = statement != NULL
                   ? policy_put_control_wait(policy, statement, CLI_TIMEOUT_MS, &self->memory, out, why)
                   : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the statement");
    }
    secret_key_free(key);
    rpc_channel_close(policy);
    return code;
}

static cli_exit set_run(cli *self) {
    failure why = {0};
    char name[129];
    uint64_t version = 0;
    Interlock__Control__V1__PutControlResponse *answer = NULL;
    status_code code = put_policy(self, self->positional.items[0], name, &version, &answer, &why);
    if (code != STATUS_OK)
        return cli_fail("policy set", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    printf("Policy %s, version %llu, is in force (control %llu).\n", cli_safe(&self->memory, name),
           (unsigned long long)version, (unsigned long long)answer->control_seq);
    return CLI_OK;
}

static cli_exit show_run(cli *self) {
    failure why = {0};
    rpc_channel *policy = NULL;
    Interlock__Control__V1__GetControlResponse *present = NULL;
    status_code code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, &why);
    if (code == STATUS_OK)
        code = policy_get_control_wait(policy, CLI_TIMEOUT_MS, &self->memory, &present, &why);
    rpc_channel_close(policy);
    if (code != STATUS_OK)
        return cli_fail("policy show", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&present->base);
    if (present->policy_name[0] == '\0') {
        puts("No policy is set: whatever nothing permits is denied. Set one with interlock policy set FILE.");
        return CLI_OK;
    }
    printf("Policy   %s\nVersion  %llu\nDigest   sha256 %s\nControl  %llu, %s\n",
           cli_safe(&self->memory, present->policy_name), (unsigned long long)present->policy_version,
           cli_safe(&self->memory, present->policy_digest), (unsigned long long)present->control_seq,
           present->fresh ? "fresh" : "NOT fresh: everything is deferred");
    return CLI_OK;
}

static const cli_flag eval_flags[] = {
    {.name = "context",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "a JSON object: its members are the variables (- reads standard input)"},
    {.name = "unknown", .kind = FLAG_LIST, .value_name = "NAME", .help = "a variable whose fact is absent"},
    {.name = "cost-limit",
     .kind = FLAG_TEXT,
     .value_name = "N",
     .help = "stop after so many steps [1000000]"},
};
const cli_command policy_commands[] = {
    {.noun = "policy",
     .verb = "set",
     .purpose = "put a policy set in force",
     .positional = "FILE",
     .least = 1,
     .most = 1,
     .examples = "  interlock policy set policy.yaml\n",
     .run = set_run},
    {.noun = "policy",
     .verb = "show",
     .purpose = "which policy set is in force",
     .examples = "  interlock policy show\n",
     .run = show_run},
    {.noun = "policy",
     .verb = "eval",
     .purpose = "the value of one CEL expression, for trying things",
     .positional = "EXPRESSION",
     .least = 1,
     .most = 1,
     .flags = eval_flags,
     .flag_count = sizeof eval_flags / sizeof *eval_flags,
     .examples = "  interlock policy eval '[1, 2, 3].exists(n, n > 2)'\n"
                 "  echo '{\"impact\": {\"high\": 0.2}}' | interlock policy eval 'impact.high < 0.1' "
                 "--context -\n",
     .run = policy_eval_run},
};
const size_t policy_command_count = sizeof policy_commands / sizeof *policy_commands;
