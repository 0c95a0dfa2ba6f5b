/* interlock key: key files. */
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

static void print_public(const char *principal, const char *path, const public_key *key) {
    buffer text;
    buffer_init(&text, 256);
    base64_encode(bytes_of(key->bytes, sizeof key->bytes), &text);
    printf(
        "%s\n  secret key   %s (mode 0600; keep it with its holder)\n  public key   %s\n  key id       %s\n",
        principal, path, buffer_ok(&text) ? text.data : "", key->keyid);
    buffer_free(&text);
}

/* "agent/deployer" becomes keys/agent-deployer.key. */
static status_code key_path(cli *self, const char *principal, char path[CLI_PATH_BYTES], failure *why) {
    char name[160];
    snprintf(name, sizeof name, "%s", principal);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '/')
            *c = '-';
    return cli_path(self, path, why, "keys/%s.key", name);
}

static bool principal_valid(const char *principal, const char *kind) {
    size_t size = strlen(kind);
    const char *rest = principal + size + 1;
    return strncmp(principal, kind, size) == 0 && principal[size] == '/' && rest[0] != '\0' &&
           strlen(principal) < 128 && rest[0] != '.' &&
           strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(rest);
}

static status_code generate(cli *self, const char *principal, key_purpose purpose, failure *why) {
    char path[CLI_PATH_BYTES];
    secret_key *key = NULL;
    const char *out = cli_text(self, "out");
    status_code code = STATUS_OK;
    if (out != NULL)
        snprintf(path, sizeof path, "%s", out);
    else
        code = key_path(self, principal, path, why);
    if (code == STATUS_OK)
        code = secret_key_generate(self->source, purpose, &key, why);
    if (code == STATUS_OK)
        code = secret_key_save(key, path, why);
    if (code == STATUS_OK)
        print_public(principal, path, secret_key_public(key));
    secret_key_free(key);
    return code;
}

static cli_exit generate_run(cli *self) {
    failure why = {0};
    key_purpose purpose = KEY_AGENT;
    const char *kind = cli_text(self, "purpose");
    const char *principal = cli_text(self, "principal");
    if (kind == NULL || principal == NULL || !key_purpose_parse(kind, &purpose)) {
        fail(&why, STATUS_INVALID_ARGUMENT, "FLAG_MISSING", "--purpose and --principal are needed");
        return cli_usage(self, &why);
    }
    if (!principal_valid(principal, kind)) {
        fail(&why, STATUS_INVALID_ARGUMENT, "BAD_PRINCIPAL",
             "the principal of this key is %s/NAME, NAME of letters, digits and - _ .", kind);
        return cli_usage(self, &why);
    }
    return generate(self, principal, purpose, &why) == STATUS_OK ? CLI_OK : cli_fail("key generate", &why);
}

static const cli_flag generate_flags[] = {
    {.name = "purpose",
     .kind = FLAG_TEXT,
     .value_name = "PURPOSE",
     .help = "what it may sign",
     .choices = "agent|executor|approver|operator"},
    {.name = "principal",
     .kind = FLAG_TEXT,
     .value_name = "KIND/NAME",
     .help = "whose it is, e.g. agent/deployer"},
    {.name = "out",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "where to [DATA-DIR/keys/KIND-NAME.key]"},
};
const cli_command key_commands[] = {
    {.noun = "key",
     .verb = "generate",
     .purpose = "make a key pair of one purpose",
     .flags = generate_flags,
     .flag_count = sizeof generate_flags / sizeof *generate_flags,
     .examples = "  interlock key generate --purpose agent --principal agent/deployer\n"
                 "  interlock key generate --purpose executor --principal executor/west --out west.key\n",
     .run = generate_run}};
const size_t key_command_count = sizeof key_commands / sizeof *key_commands;
