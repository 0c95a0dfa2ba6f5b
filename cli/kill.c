/* interlock kill: one flag stops everything, or a scope; and what it really stopped. */
#include <string.h>

#include "client/policy_client.h"
#include "statements.h"

typedef struct scope_flag {
    const char *flag;
    Interlock__Control__V1__Kill__Scope scope;
} scope_flag;

static const scope_flag scopes[] = {
    {"agent", INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_AGENT},
    {"model", INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_MODEL},
    {"service", INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_SERVICE},
    {"zone", INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_ZONE},
    {"verb", INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_VERB},
};

static status_code fill_scope(cli *self, Interlock__Control__V1__Kill *kill, failure *why) {
    kill->scope = INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        const char *subject = cli_text(self, scopes[i].flag);
        if (subject == NULL)
            continue;
        if (kill->scope != INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL)
            return fail(why, STATUS_INVALID_ARGUMENT, "ONE_SCOPE",
                        "one scope at a time: set two kill switches");
        kill->scope = scopes[i].scope;
        kill->subject = (char *)subject;
        if (kill->scope == INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_AGENT && strchr(subject, '/') == NULL)
            kill->subject = arena_format(&self->memory, "agent/%s", subject);
    }
    return STATUS_OK;
}

/* The switches now set tell their version; a cleared one is not told, so the version comes from the clock,
 * which rises as long as people's clocks do, and is never below the one that stands. */
static uint64_t next_version(cli *self, const Interlock__Control__V1__GetControlResponse *present,
                             const Interlock__Control__V1__Kill *kill) {
    uint64_t version = (uint64_t)chance_wall_ms(self->source);
    for (size_t i = 0; i < present->n_kills; i++)
        if (present->kills[i]->scope == kill->scope &&
            strcmp(present->kills[i]->subject, kill->subject) == 0 && present->kills[i]->version >= version)
            version = present->kills[i]->version + 1;
    return version;
}

static status_code send_kill(cli *self, const signer_identity *signer, rpc_channel *policy,
                             Interlock__Control__V1__Kill *kill,
                             Interlock__Control__V1__PutControlResponse **out, failure *why) {
    Interlock__Common__V1__Envelope *statement = statement_kill(signer, kill);
    if (statement == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the statement");
    return policy_put_control_wait(policy, statement, CLI_TIMEOUT_MS, &self->memory, out, why);
}

/* A clock that was ahead when the switch was last cleared left a version that is in the future now. Nobody
 * who wants to stop everything should have to wait for that: the version is raised, ever more, until it is
 * the highest. */
static status_code insist(cli *self, const signer_identity *signer, rpc_channel *policy,
                          Interlock__Control__V1__Kill *kill,
                          Interlock__Control__V1__PutControlResponse **out, failure *why) {
    uint64_t step = 24ULL * 3600U * 1000U;
    status_code code = send_kill(self, signer, policy, kill, out, why);
    for (unsigned try = 0; try < 5 && code == STATUS_FAILED_PRECONDITION && why->reason != NULL &&
                           strcmp(why->reason, "CONTROL_VERSION") == 0;
         try++) {
        kill->version += step;
        step *= 30;
        code = send_kill(self, signer, policy, kill, out, why);
    }
    return code;
}

static status_code put_kill(cli *self, Interlock__Control__V1__Kill *kill,
                            Interlock__Control__V1__PutControlResponse **out, failure *why) {
    rpc_channel *policy = NULL;
    secret_key *key = NULL;
    const char *principal = NULL;
    Interlock__Control__V1__GetControlResponse *present = NULL;
    status_code code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, why);
    if (code == STATUS_OK)
        code = cli_operator(self, &key, &principal, why);
    if (code == STATUS_OK)
        code = policy_get_control_wait(policy, CLI_TIMEOUT_MS, &self->memory, &present, why);
    if (code == STATUS_OK) {
        const signer_identity signer = {.key = key,
                                        .principal = principal,
                                        .installation = self->roots->installation,
                                        .source = self->source,
                                        .memory = &self->memory};
        kill->version = next_version(self, present, kill);
        code = insist(self, &signer, policy, kill, out, why);
    }
    secret_key_free(key);
    rpc_channel_close(policy);
    return code;
}

static const char *scope_words(cli *self, const Interlock__Control__V1__Kill *kill) {
    const char *name = cli_enum(&interlock__control__v1__kill__scope__descriptor, (int)kill->scope, "SCOPE_");
    const char *text = kill->subject[0] != '\0' ? arena_format(&self->memory, "%s %s", name,
                                                               cli_safe(&self->memory, kill->subject))
                                                : name;
    return text != NULL ? text : "";
}

static cli_exit set_or_clear(cli *self, bool set) {
    failure why = {0};
    Interlock__Control__V1__Kill kill = INTERLOCK__CONTROL__V1__KILL__INIT;
    Interlock__Control__V1__PutControlResponse *answer = NULL;
    if (fill_scope(self, &kill, &why) != STATUS_OK)
        return cli_usage(self, &why);
    if (set && !cli_given(self, "reason")) {
        fail(&why, STATUS_INVALID_ARGUMENT, "FLAG_MISSING",
             "--reason says why, for whoever finds everything stopped");
        return cli_usage(self, &why);
    }
    kill.set = set;
    if (cli_given(self, "reason"))
        kill.reason = (char *)cli_text(self, "reason");
    status_code code = put_kill(self, &kill, &answer, &why);
    if (code != STATUS_OK)
        return cli_fail(set ? "kill set" : "kill clear", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    printf("%s: %s (control %llu", set ? "Stopped" : "Cleared", scope_words(self, &kill),
           (unsigned long long)answer->control_seq);
    if (answer->receipt != NULL)
        printf(", index %llu of the log", (unsigned long long)answer->receipt->index);
    puts(set ? ").\nSee what it reached with interlock kill status." : ").");
    return CLI_OK;
}

static cli_exit set_run(cli *self) {
    return set_or_clear(self, true);
}

static cli_exit clear_run(cli *self) {
    return set_or_clear(self, false);
}

static const char *replica_words(Interlock__Control__V1__ReplicaState state) {
    switch (state) {
    case INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_CONFIRMED:
        return "CONFIRMED";
    case INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_SELF_CLOSED:
        return "SELF-CLOSED";
    default:
        return "UNKNOWN";
    }
}

static void print_kills(cli *self, const Interlock__Control__V1__GetControlResponse *present) {
    static const char *const headings[] = {"SCOPE", "SET BY", "SINCE", "REASON"};
    if (present->n_kills == 0) {
        puts("No kill switch is set.");
        return;
    }
    cli_table *table = cli_table_new(headings, 4);
    for (size_t i = 0; i < present->n_kills; i++) {
        const Interlock__Control__V1__Kill *kill = present->kills[i];
        const Interlock__Common__V1__StatementHeader *header = kill->header;
        const char *cells[] = {scope_words(self, kill),
                               header != NULL ? cli_safe(&self->memory, header->principal) : "?",
                               cli_time(&self->memory, header != NULL ? header->issued_at_ms : 0),
                               cli_safe(&self->memory, kill->reason)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
    if (present->fenced)
        printf("\nFENCED: from index %llu of the log on, no permit from before is issued or redeemed.\n",
               (unsigned long long)present->fence_index);
    else
        puts("\nNot in the log yet, so not fenced: ask again, and look at audit.");
}

static void print_replicas(cli *self, const Interlock__Control__V1__GetControlResponse *present) {
    static const char *const headings[] = {"REPLICA", "STATE", "APPLIED", "PROOF AGE"};
    cli_table *table = cli_table_new(headings, 4);
    for (size_t i = 0; i < present->n_replicas; i++) {
        const Interlock__Control__V1__Replica *replica = present->replicas[i];
        const char *cells[] = {
            cli_safe(&self->memory, replica->id), replica_words(replica->state),
            arena_format(&self->memory, "%llu of %llu", (unsigned long long)replica->applied_seq,
                         (unsigned long long)present->control_seq),
            arena_format(&self->memory, "%llu ms", (unsigned long long)replica->proof_age_ms)};
        cli_table_row(table, cells);
    }
    puts("");
    cli_table_print(table, stdout);
}

static cli_exit status_run(cli *self) {
    failure why = {0};
    rpc_channel *policy = NULL;
    Interlock__Control__V1__GetControlResponse *present = NULL;
    status_code code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, &why);
    if (code == STATUS_OK)
        code = policy_get_control_wait(policy, CLI_TIMEOUT_MS, &self->memory, &present, &why);
    rpc_channel_close(policy);
    if (code != STATUS_OK)
        return cli_fail("kill status", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&present->base);
    print_kills(self, present);
    if (!present->fresh)
        printf("\nNOT FRESH, so everything is deferred: %s\n",
               cli_safe(&self->memory, present->not_fresh_reason));
    print_replicas(self, present);
    return CLI_OK;
}

#define SCOPE_FLAGS                                                                                          \
    {.name = "agent", .kind = FLAG_TEXT, .value_name = "NAME", .help = "only this agent"},                   \
        {.name = "model", .kind = FLAG_TEXT, .value_name = "NAME", .help = "only agents of this model"},     \
        {.name = "service",                                                                                  \
         .kind = FLAG_TEXT,                                                                                  \
         .value_name = "NODE",                                                                               \
         .help = "only actions on this service"},                                                            \
        {.name = "zone", .kind = FLAG_TEXT, .value_name = "NODE", .help = "only actions in this zone"},      \
        {.name = "verb", .kind = FLAG_TEXT, .value_name = "VERB", .help = "only this verb"}, {               \
        .name = "reason", .kind = FLAG_TEXT, .value_name = "TEXT", .help = "why"                             \
    }

static const cli_flag kill_flags[] = {SCOPE_FLAGS};
const cli_command kill_commands[] = {
    {.noun = "kill",
     .verb = "set",
     .purpose = "stop everything, or a scope",
     .flags = kill_flags,
     .flag_count = sizeof kill_flags / sizeof *kill_flags,
     .examples = "  interlock kill set --reason 'the database is on fire'\n"
                 "  interlock kill set --agent deployer --reason 'deploys the wrong branch'\n",
     .run = set_run},
    {.noun = "kill",
     .verb = "clear",
     .purpose = "let it go on",
     .flags = kill_flags,
     .flag_count = sizeof kill_flags / sizeof *kill_flags,
     .examples = "  interlock kill clear\n  interlock kill clear --agent deployer\n",
     .run = clear_run},
    {.noun = "kill",
     .verb = "status",
     .purpose = "what is stopped, and whom it reached",
     .examples = "  interlock kill status\n",
     .run = status_run},
};
const size_t kill_command_count = sizeof kill_commands / sizeof *kill_commands;
