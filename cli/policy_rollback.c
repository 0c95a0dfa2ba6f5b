/* interlock policy rollback and history: the policy sets that the log knows. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "policy_commands.h"
#include "policy_set.h"

static status_code fetch(cli *self, policy_versions *out, failure *why) {
    rpc_channel *audit = NULL;
    status_code code = cli_channel(self, "audit", ROLE_OPERATOR, &audit, why);
    if (code == STATUS_OK)
        code = policy_versions_fetch(self, audit, out, why);
    rpc_channel_close(audit);
    return code;
}

/* Without a version: the newest whose documents are others than those in force. */
static status_code choose(cli *self, policy_versions *versions, policy_version **out, failure *why) {
    const char *wanted = self->positional.count > 0 ? self->positional.items[0] : NULL;
    policy_version *live = NULL;
    status_code code = policy_versions_find(versions, "live", &live, why);
    if (code == STATUS_OK && wanted != NULL)
        code = policy_versions_find(versions, wanted[0] == '@' ? wanted + 1 : wanted, out, why);
    if (code != STATUS_OK)
        return code;
    for (size_t i = versions->count; i > 0 && wanted == NULL && *out == NULL; i--)
        if (strcmp(versions->items[i - 1].digest, live->digest) != 0)
            *out = &versions->items[i - 1];
    if (*out == NULL)
        return fail(why, STATUS_NOT_FOUND, "NO_EARLIER_VERSION",
                    "there is no earlier policy set than version %llu", (unsigned long long)live->version);
    if (strcmp((*out)->digest, live->digest) == 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "IN_FORCE", "version %llu is what is in force already",
                    (unsigned long long)(*out)->version);
    return STATUS_OK;
}

/* An earlier set comes back as a new version: versions never fall. */
static status_code put_back(cli *self, const policy_version *chosen, Interlock__Control__V1__PolicySet *set,
                            Interlock__Control__V1__PutControlResponse **answer, failure *why) {
    Interlock__Control__V1__GetControlResponse *present = NULL;
    status_code code = policy_control_get(self, &present, why);
    if (code != STATUS_OK)
        return code;
    set->name = (char *)chosen->name;
    set->version = present->policy_version + 1;
    set->rollback_of = chosen->stated_version;
    set->accept_lock_out = cli_given(self, "accept-lock-out");
    set->document =
        (ProtobufCBinaryData){.len = chosen->document.size, .data = (uint8_t *)chosen->document.data};
    return policy_set_put(self, set, answer, why);
}

cli_exit policy_rollback_run(cli *self) {
    failure why = {0};
    policy_versions versions = {0};
    policy_version *chosen = NULL;
    Interlock__Control__V1__PolicySet set = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    Interlock__Control__V1__PutControlResponse *answer = NULL;
    status_code code = fetch(self, &versions, &why);
    if (code == STATUS_OK)
        code = choose(self, &versions, &chosen, &why);
    if (code == STATUS_OK)
        code = put_back(self, chosen, &set, &answer, &why);
    cli_exit result = CLI_OK;
    if (code != STATUS_OK)
        result = cli_fail("policy rollback", &why);
    else if (self->format == FORMAT_JSON)
        result = cli_print_json(&answer->base);
    else
        printf("Policy set %s is back to what version %llu said, as version %llu (control %llu).\n",
               cli_safe(&self->memory, set.name), (unsigned long long)chosen->version,
               (unsigned long long)set.version, (unsigned long long)answer->control_seq);
    policy_versions_free(&versions);
    return result;
}

static void print_table(cli *self, const policy_versions *versions) {
    static const char *const headings[] = {"VERSION", "NAME", "SET", "BY", "SAYS WHAT", "DIGEST", "RECORD"};
    arena *memory = &self->memory;
    cli_table *table = cli_table_new(headings, 7);
    for (size_t i = versions->count; i > 0; i--) {
        const policy_version *one = &versions->items[i - 1];
        const char *cells[] = {
            arena_format(memory, "%llu%s", (unsigned long long)one->version,
                         i == versions->count ? " live" : ""),
            cli_safe(memory, one->name),
            cli_time(memory, one->recorded_at_ms),
            cli_safe(memory, one->signer),
            one->stated_version != one->version
                ? arena_format(memory, "version %llu said", (unsigned long long)one->stated_version)
                : "",
            arena_format(memory, "%.16s…", one->digest),
            arena_format(memory, "%llu", (unsigned long long)one->log_index)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
}

static void print_json(const policy_versions *versions) {
    json_t *list = json_array();
    for (size_t i = versions->count; i > 0; i--) {
        const policy_version *one = &versions->items[i - 1];
        json_array_append_new(
            list, json_pack("{s:I, s:s, s:I, s:s, s:I, s:s, s:I}", "version", (json_int_t)one->version,
                            "name", one->name, "recordedAtMs", (json_int_t)one->recorded_at_ms, "signer",
                            one->signer, "rollbackOf",
                            (json_int_t)(one->stated_version != one->version ? one->stated_version : 0),
                            "digest", one->digest, "index", (json_int_t)one->log_index));
    }
    json_t *whole = json_pack("{s:o}", "versions", list);
    json_dumpf(whole, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(whole);
}

cli_exit policy_history_run(cli *self) {
    failure why = {0};
    policy_versions versions = {0};
    cli_exit result = CLI_OK;
    if (fetch(self, &versions, &why) != STATUS_OK)
        result = cli_fail("policy history", &why);
    else if (self->format == FORMAT_JSON)
        print_json(&versions);
    else if (versions.count == 0)
        puts("No policy set was ever put in force.");
    else
        print_table(self, &versions);
    policy_versions_free(&versions);
    return result;
}
