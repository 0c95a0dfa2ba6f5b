/* interlock agent: who may propose actions. Enrolment is a statement that an operator signs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/policy_client.h"
#include "statements.h"

#define KEY_FILE_BYTES 4096U

typedef struct agent_work {
    cli *shell;
    secret_key *operator_key;
    const char *operator_principal;
    rpc_channel *policy;
    Interlock__Control__V1__GetControlResponse *present;
} agent_work;

static status_code work_open(agent_work *self, cli *shell, failure *why) {
    self->shell = shell;
    status_code code = cli_channel(shell, "policy", ROLE_OPERATOR, &self->policy, why);
    if (code == STATUS_OK)
        code = policy_get_control_wait(self->policy, CLI_TIMEOUT_MS, &shell->memory, &self->present, why);
    return code;
}

static void work_close(agent_work *self) {
    rpc_channel_close(self->policy);
    secret_key_free(self->operator_key);
}

static status_code put_enrolment(agent_work *self, Interlock__Control__V1__Enrolment *enrolment,
                                 Interlock__Control__V1__PutControlResponse **out, failure *why) {
    status_code code = cli_operator(self->shell, &self->operator_key, &self->operator_principal, why);
    if (code != STATUS_OK)
        return code;
    const signer_identity signer = {.key = self->operator_key,
                                    .principal = self->operator_principal,
                                    .installation = self->shell->roots->installation,
                                    .source = self->shell->source,
                                    .memory = &self->shell->memory};
    Interlock__Common__V1__Envelope *statement = statement_enrolment(&signer, enrolment);
    if (statement == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the statement");
    return policy_put_control_wait(self->policy, statement, CLI_TIMEOUT_MS, &self->shell->memory, out, why);
}

/* The version that a new statement about this key needs. */
static uint64_t next_version(const agent_work *self, const uint8_t key[CRYPTO_PUBLIC_KEY_BYTES]) {
    for (size_t i = 0; i < self->present->n_enrolments; i++) {
        const Interlock__Control__V1__Enrolment *known = self->present->enrolments[i];
        if (known->public_key.len == CRYPTO_PUBLIC_KEY_BYTES &&
            memcmp(known->public_key.data, key, CRYPTO_PUBLIC_KEY_BYTES) == 0)
            return known->version + 1;
    }
    return 1;
}

/* A file with a secret key, or one line with the base64 of a public key. */
static status_code read_key_file(cli *self, const char *path, public_key *out, failure *why) {
    secret_key *secret = NULL;
    bytes text = {0};
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    size_t size = sizeof raw;
    status_code code = cli_read_file(self, path, KEY_FILE_BYTES, &text, why);
    if (code != STATUS_OK)
        return code;
    if (text.size > 10 && memcmp(text.data, "interlock-", 10) == 0) {
        code = secret_key_load(path, KEY_AGENT, &secret, why);
        if (code == STATUS_OK)
            *out = *secret_key_public(secret);
        secret_key_free(secret);
        return code;
    }
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.size--;
    if (!base64_decode(text, raw, &size) || size != sizeof raw)
        return fail(why, STATUS_INVALID_ARGUMENT, "KEY_FILE",
                    "%.200s is neither an agent's key file nor the base64 of a public key of 32 bytes", path);
    public_key_from_bytes(out, raw);
    return STATUS_OK;
}

/* Without --key: keys/agent-NAME.key, made when it is not there yet. */
static status_code own_key(cli *self, const char *name, public_key *out, failure *why) {
    char path[CLI_PATH_BYTES];
    secret_key *key = NULL;
    status_code code = cli_path(self, path, why, "keys/agent-%s.key", name);
    if (code != STATUS_OK)
        return code;
    if (access(path, F_OK) == 0) {
        code = secret_key_load(path, KEY_AGENT, &key, why);
    } else {
        code = secret_key_generate(self->source, KEY_AGENT, &key, why);
        if (code == STATUS_OK)
            code = secret_key_save(key, path, why);
        if (code == STATUS_OK && self->format == FORMAT_TABLE)
            printf("Made %s: give it to the agent, and to nobody else.\n", path);
    }
    if (code == STATUS_OK)
        *out = *secret_key_public(key);
    secret_key_free(key);
    return code;
}

static status_code split_model(cli *self, const char *text, Interlock__Control__V1__Enrolment *out,
                               failure *why) {
    char *copy = arena_text(&self->memory, text);
    char *rest = NULL;
    const char *parts[3] = {NULL};
    size_t count = 0;
    for (char *part = copy != NULL ? strtok_r(copy, "/", &rest) : NULL; part != NULL;
         part = strtok_r(NULL, "/", &rest)) {
        if (count < 3)
            parts[count] = part;
        count++;
    }
    if (count != 3)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_MODEL",
                    "--model is PROVIDER/NAME/VERSION, not \"%.100s\"", text);
    out->model_provider = (char *)parts[0];
    out->model_name = (char *)parts[1];
    out->model_version = (char *)parts[2];
    return STATUS_OK;
}

static bool name_valid(const char *name) {
    return name[0] != '\0' && name[0] != '.' && strlen(name) <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(name);
}

static status_code fill_enrolment(cli *self, const char *name, public_key *key,
                                  Interlock__Control__V1__Enrolment *out, failure *why) {
    const cli_values *carriers = cli_list(self, "carrier");
    const char *root = cli_text(self, "on-behalf-of");
    const char *model = cli_text(self, "model");
    const char *file = cli_text(self, "key");
    if (!name_valid(name))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME",
                    "an agent's name is 1 to 64 letters, digits and - _ .");
    status_code code = file != NULL ? read_key_file(self, file, key, why) : own_key(self, name, key, why);
    if (code == STATUS_OK && model != NULL)
        code = split_model(self, model, out, why);
    out->principal = arena_format(&self->memory, "agent/%s", name);
    out->public_key = (ProtobufCBinaryData){.len = sizeof key->bytes, .data = key->bytes};
    out->carriers = (char **)carriers->items;
    out->n_carriers = carriers->count;
    out->delegation_root = (char *)(root != NULL ? root : "operator/local");
    return code;
}

static cli_exit enroll_run(cli *self) {
    agent_work work = {0};
    failure why = {0};
    public_key key;
    const char *name = self->positional.items[0];
    Interlock__Control__V1__Enrolment enrolment = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
    Interlock__Control__V1__PutControlResponse *answer = NULL;
    status_code code = work_open(&work, self, &why);
    if (code == STATUS_OK)
        code = fill_enrolment(self, name, &key, &enrolment, &why);
    if (code == STATUS_OK) {
        enrolment.version = next_version(&work, key.bytes);
        code = put_enrolment(&work, &enrolment, &answer, &why);
    }
    work_close(&work);
    if (code != STATUS_OK)
        return cli_fail("agent enroll", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    printf("Enrolled agent/%s, key %s (control %llu%s).\n", name, key.keyid,
           (unsigned long long)answer->control_seq, answer->receipt != NULL ? ", in the log" : "");
    return CLI_OK;
}

static cli_exit list_run(cli *self) {
    static const char *const headings[] = {"PRINCIPAL", "KEY", "MODEL", "ON BEHALF OF", "CARRIERS", "STATE"};
    agent_work work = {0};
    failure why = {0};
    status_code code = work_open(&work, self, &why);
    work_close(&work);
    if (code != STATUS_OK)
        return cli_fail("agent list", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&work.present->base);
    cli_table *table = cli_table_new(headings, 6);
    for (size_t i = 0; i < work.present->n_enrolments; i++) {
        const Interlock__Control__V1__Enrolment *known = work.present->enrolments[i];
        public_key key = {0};
        if (known->public_key.len == CRYPTO_PUBLIC_KEY_BYTES)
            public_key_from_bytes(&key, known->public_key.data);
        const char *model = known->model_name[0] == '\0'
                                ? "-"
                                : arena_format(&self->memory, "%s/%s/%s", known->model_provider,
                                               known->model_name, known->model_version);
        const char *carriers =
            known->n_carriers == 0
                ? "any"
                : arena_format(&self->memory, "%s%s", known->carriers[0], known->n_carriers > 1 ? " …" : "");
        const char *cells[] = {cli_safe(&self->memory, known->principal),
                               arena_text(&self->memory, key.keyid),
                               cli_safe(&self->memory, model),
                               cli_safe(&self->memory, known->delegation_root),
                               cli_safe(&self->memory, carriers),
                               known->revoked ? "revoked" : "enrolled"};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
    return CLI_OK;
}

/* Every key of that agent that still counts. */
static status_code revoke_all(agent_work *self, const char *principal, size_t *revoked, failure *why) {
    for (size_t i = 0; i < self->present->n_enrolments; i++) {
        Interlock__Control__V1__Enrolment again = *self->present->enrolments[i];
        Interlock__Control__V1__PutControlResponse *answer = NULL;
        if (strcmp(again.principal, principal) != 0 || again.revoked)
            continue;
        again.revoked = true;
        again.version++;
        secret_key_free(self->operator_key);
        self->operator_key = NULL;
        status_code code = put_enrolment(self, &again, &answer, why);
        if (code != STATUS_OK)
            return code;
        (*revoked)++;
    }
    if (*revoked == 0)
        return fail(why, STATUS_NOT_FOUND, "NOT_ENROLLED",
                    "%s has no key that counts; see interlock agent list", principal);
    return STATUS_OK;
}

static cli_exit revoke_run(cli *self) {
    agent_work work = {0};
    failure why = {0};
    size_t revoked = 0;
    const char *name = self->positional.items[0];
    const char *principal = strchr(name, '/') != NULL ? name : arena_format(&self->memory, "agent/%s", name);
    status_code code = work_open(&work, self, &why);
    if (code == STATUS_OK)
        code = revoke_all(&work, principal, &revoked, &why);
    work_close(&work);
    if (code != STATUS_OK)
        return cli_fail("agent revoke", &why);
    printf("Revoked %s: %zu key%s.\n", principal, revoked, revoked == 1 ? "" : "s");
    return CLI_OK;
}

static const cli_flag enroll_flags[] = {
    {.name = "key",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "its key file, or its public key as base64 [keys/agent-NAME.key, made if absent]"},
    {.name = "model", .kind = FLAG_TEXT, .value_name = "P/N/V", .help = "provider/name/version, as declared"},
    {.name = "carrier",
     .kind = FLAG_LIST,
     .value_name = "ID",
     .help = "SPIFFE id or unix:uid=N that may carry its statements, trailing * open [any]"},
    {.name = "on-behalf-of",
     .kind = FLAG_TEXT,
     .value_name = "WHO",
     .help = "the human it acts for [operator/local]"},
};
const cli_command agent_commands[] = {
    {.noun = "agent",
     .verb = "enroll",
     .purpose = "let an agent's key state actions",
     .positional = "NAME",
     .least = 1,
     .most = 1,
     .flags = enroll_flags,
     .flag_count = sizeof enroll_flags / sizeof *enroll_flags,
     .examples = "  interlock agent enroll deployer --model acme/planner/1\n"
                 "  interlock agent enroll deployer --key deployer.pub --carrier 'spiffe://acme/agent/*'\n",
     .run = enroll_run},
    {.noun = "agent",
     .verb = "list",
     .purpose = "everyone enrolled",
     .examples = "  interlock agent list\n",
     .run = list_run},
    {.noun = "agent",
     .verb = "revoke",
     .purpose = "let an agent's keys count no more",
     .positional = "NAME",
     .least = 1,
     .most = 1,
     .examples = "  interlock agent revoke deployer\n",
     .run = revoke_run},
};
const size_t agent_command_count = sizeof agent_commands / sizeof *agent_commands;
