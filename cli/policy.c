/* interlock policy: the policy set in force. */
#include <string.h>

#include "client/policy_client.h"
#include "policy_commands.h"
#include "policy_set.h"

static cli_exit set_run(cli *self) {
    failure why = {0};
    policy_problems problems = {0};
    Interlock__Control__V1__PolicySet set = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    Interlock__Control__V1__PutControlResponse *answer = NULL;
    status_code code =
        policy_set_compose(self, self->positional.items, self->positional.count, &set, &problems, &why);
    set.accept_lock_out = cli_given(self, "accept-lock-out");
    if (code == STATUS_OK)
        code = policy_set_put(self, &set, &answer, &why);
    if (code != STATUS_OK)
        return policy_files_fail("policy set", &problems, &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    printf("Policy %s, version %llu, is in force (control %llu).\n", cli_safe(&self->memory, set.name),
           (unsigned long long)set.version, (unsigned long long)answer->control_seq);
    return CLI_OK;
}

/* The documents as they were signed. */
static cli_exit show_documents(cli *self) {
    failure why = {0};
    rpc_channel *policy = NULL;
    double version = 0;
    Interlock__Policy__V1__GetPolicySetRequest request = INTERLOCK__POLICY__V1__GET_POLICY_SET_REQUEST__INIT;
    Interlock__Policy__V1__GetPolicySetResponse *found = NULL;
    if (cli_number(self, "version", 1, 9e15, &version, &why) != STATUS_OK)
        return cli_usage(self, &why);
    request.version = (uint64_t)version;
    request.shadow = cli_given(self, "shadow");
    status_code code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, &why);
    if (code == STATUS_OK)
        code = policy_get_policy_set_wait(policy, &request, CLI_TIMEOUT_MS, &self->memory, &found, &why);
    rpc_channel_close(policy);
    if (code != STATUS_OK)
        return cli_fail("policy show", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&found->base);
    fwrite(found->document.data, 1, found->document.len, stdout);
    return CLI_OK;
}

static cli_exit show_run(cli *self) {
    failure why = {0};
    Interlock__Control__V1__GetControlResponse *present = NULL;
    if (cli_given(self, "documents") || cli_given(self, "version") || cli_given(self, "shadow"))
        return show_documents(self);
    if (policy_control_get(self, &present, &why) != STATUS_OK)
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
    if (present->shadow_name[0] != '\0')
        printf("Shadow   %s, version %llu\n", cli_safe(&self->memory, present->shadow_name),
               (unsigned long long)present->shadow_version);
    return CLI_OK;
}

#define OUTCOMES "ALLOW|MODIFY|REVIEW|DEFER|DENY"

static const cli_flag set_flags[] = {
    {.name = "accept-lock-out", .kind = FLAG_SWITCH, .help = "also a set by which nothing can be permitted"},
};
static const cli_flag show_flags[] = {
    {.name = "documents", .kind = FLAG_SWITCH, .help = "the documents as they were signed"},
    {.name = "version", .kind = FLAG_TEXT, .value_name = "N", .help = "those of an earlier version"},
    {.name = "shadow", .kind = FLAG_SWITCH, .help = "those of the shadow set"},
};
static const cli_flag check_flags[] = {
    {.name = "live", .kind = FLAG_SWITCH, .help = "ask the installation who is enrolled, for quorums"},
    {.name = "enrolled", .kind = FLAG_LIST, .value_name = "WHO", .help = "a principal that is enrolled"},
    {.name = "strict", .kind = FLAG_SWITCH, .help = "warnings count as errors"},
};
static const cli_flag test_flags[] = {
    {.name = "policy",
     .kind = FLAG_LIST,
     .value_name = "PATH",
     .help = "policies [those that the cases name]"},
    {.name = "min-coverage",
     .kind = FLAG_TEXT,
     .value_name = "N",
     .help = "fail when fewer percent of the rules hold in some case"},
};
static const cli_flag explain_flags[] = {
    {.name = "facts", .kind = FLAG_TEXT, .value_name = "FILE", .help = "explain these facts instead (YAML)"},
    {.name = "policy",
     .kind = FLAG_TEXT,
     .value_name = "SET",
     .help = "file, folder, live or @VERSION [the set that decided; live]"},
    {.name = "all", .kind = FLAG_SWITCH, .help = "also rules whose match does not cover the action"},
};
static const cli_flag replay_flags[] = {
    {.name = "from",
     .kind = FLAG_TEXT,
     .value_name = "TIME",
     .help = "2026-11-22[T19:30:00Z], or 24h, 7d back"},
    {.name = "to", .kind = FLAG_TEXT, .value_name = "TIME", .help = "the same"},
    {.name = "was",
     .kind = FLAG_TEXT,
     .value_name = "OUTCOME",
     .help = "list only what came out so",
     .choices = OUTCOMES},
    {.name = "would",
     .kind = FLAG_TEXT,
     .value_name = "OUTCOME",
     .help = "list only what would come out so",
     .choices = OUTCOMES},
    {.name = "limit", .kind = FLAG_TEXT, .value_name = "N", .help = "list so many changes [20; json 10000]"},
    {.name = "rules", .kind = FLAG_SWITCH, .help = "also what each rule did"},
    {.name = "strict", .kind = FLAG_SWITCH, .help = "exit 1 when anything would have changed"},
};
static const cli_flag diff_flags[] = {
    {.name = "exit-code", .kind = FLAG_SWITCH, .help = "exit 1 when they differ"},
};
static const cli_flag shadow_flags[] = {
    {.name = "clear", .kind = FLAG_SWITCH, .help = "end the shadow set"},
    {.name = "was",
     .kind = FLAG_TEXT,
     .value_name = "OUTCOME",
     .help = "list only what the live set decided so",
     .choices = OUTCOMES},
    {.name = "would",
     .kind = FLAG_TEXT,
     .value_name = "OUTCOME",
     .help = "list only what the shadow decided so",
     .choices = OUTCOMES},
    {.name = "limit", .kind = FLAG_TEXT, .value_name = "N", .help = "list so many differences [20]"},
};
static const cli_flag eval_flags[] = {
    {.name = "context",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "a JSON object: its members are the variables (- reads standard input)"},
    {.name = "facts",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "facts (YAML) instead: what policies read, with their types"},
    {.name = "unknown", .kind = FLAG_LIST, .value_name = "NAME", .help = "a variable whose fact is absent"},
    {.name = "cost-limit",
     .kind = FLAG_TEXT,
     .value_name = "N",
     .help = "stop after so many steps [1000000]"},
};
const cli_command policy_commands[] = {
    {.noun = "policy",
     .verb = "check",
     .purpose = "everything that can be told of policies without an action",
     .positional = "PATH…",
     .least = 1,
     .most = CLI_LIST_MAX,
     .flags = check_flags,
     .flag_count = sizeof check_flags / sizeof *check_flags,
     .examples = "  interlock policy check policies/\n  interlock policy check policy.yaml --live\n",
     .run = policy_check_run},
    {.noun = "policy",
     .verb = "test",
     .purpose = "run cases against policies",
     .positional = "PATH…",
     .least = 1,
     .most = CLI_LIST_MAX,
     .flags = test_flags,
     .flag_count = sizeof test_flags / sizeof *test_flags,
     .examples = "  interlock policy test tests/\n"
                 "  interlock policy test cases.yaml --policy candidate.yaml --min-coverage 100\n",
     .run = policy_test_run},
    {.noun = "policy",
     .verb = "set",
     .purpose = "put a policy set in force",
     .positional = "PATH…",
     .least = 1,
     .most = CLI_LIST_MAX,
     .flags = set_flags,
     .flag_count = sizeof set_flags / sizeof *set_flags,
     .examples = "  interlock policy set policy.yaml\n  interlock policy set policies/\n",
     .run = set_run},
    {.noun = "policy",
     .verb = "show",
     .purpose = "which policy set is in force",
     .flags = show_flags,
     .flag_count = sizeof show_flags / sizeof *show_flags,
     .examples = "  interlock policy show\n  interlock policy show --documents --version 3\n",
     .run = show_run},
    {.noun = "policy",
     .verb = "history",
     .purpose = "every policy set that was in force",
     .examples = "  interlock policy history\n",
     .run = policy_history_run},
    {.noun = "policy",
     .verb = "rollback",
     .purpose = "put an earlier policy set in force again",
     .positional = "[VERSION]",
     .most = 1,
     .flags = set_flags,
     .flag_count = sizeof set_flags / sizeof *set_flags,
     .examples = "  interlock policy rollback\n  interlock policy rollback 3\n",
     .run = policy_rollback_run},
    {.noun = "policy",
     .verb = "diff",
     .purpose = "what two policy sets say differently",
     .positional = "OLD NEW",
     .least = 2,
     .most = 2,
     .flags = diff_flags,
     .flag_count = sizeof diff_flags / sizeof *diff_flags,
     .examples = "  interlock policy diff live candidate.yaml\n  interlock policy diff @3 @4\n",
     .run = policy_diff_run},
    {.noun = "policy",
     .verb = "explain",
     .purpose = "why a decision came out as it did, rule by rule",
     .positional = "[ACTION_ID]",
     .most = 1,
     .flags = explain_flags,
     .flag_count = sizeof explain_flags / sizeof *explain_flags,
     .examples = "  interlock policy explain deploy-1a2b3c\n"
                 "  interlock policy explain --facts facts.yaml --policy candidate.yaml\n",
     .run = policy_explain_run},
    {.noun = "policy",
     .verb = "replay",
     .purpose = "what a candidate set would have made of recorded decisions",
     .positional = "PATH…",
     .least = 1,
     .most = CLI_LIST_MAX,
     .flags = replay_flags,
     .flag_count = sizeof replay_flags / sizeof *replay_flags,
     .examples = "  interlock policy replay candidate.yaml --from 7d\n"
                 "  interlock policy replay @3 --from 2026-11-01 --to 2026-11-08 --was ALLOW --would DENY\n",
     .run = policy_replay_run},
    {.noun = "policy",
     .verb = "shadow",
     .purpose = "judge a candidate set beside the live one; without PATH: how they differ",
     .positional = "[PATH…]",
     .most = CLI_LIST_MAX,
     .flags = shadow_flags,
     .flag_count = sizeof shadow_flags / sizeof *shadow_flags,
     .examples = "  interlock policy shadow candidate.yaml\n  interlock policy shadow --would DENY\n"
                 "  interlock policy shadow --clear\n",
     .run = policy_shadow_run},
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
                 "--context -\n  interlock policy eval 'impact.entry_traffic.high' --facts facts.yaml\n",
     .run = policy_eval_run},
};
const size_t policy_command_count = sizeof policy_commands / sizeof *policy_commands;
