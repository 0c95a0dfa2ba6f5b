/* interlock evaluate: proposes an action as an agent would, and shows the decision. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "client/policy_client.h"
#include "crypto/dsse.h"
#include "decision.h"
#include "wire/json.h"
#include "wire/scan.h"

#define ACTION_LIFETIME_MS 300000
#define ACTION_ARGUMENTS_MAX 64U

static int compare_arguments(const void *a, const void *b) {
    const Interlock__Policy__V1__Argument *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the action");
}

static status_code fill_arguments(cli *self, Interlock__Policy__V1__Action *action, failure *why) {
    const cli_values *given = cli_list(self, "arg");
    Interlock__Policy__V1__Argument **list = arena_zero(&self->memory, ACTION_ARGUMENTS_MAX, sizeof(void *));
    if (given->count == 0)
        return STATUS_OK;
    if (list == NULL)
        return no_memory(why);
    for (size_t i = 0; i < given->count; i++) {
        list[i] = arena_alloc(&self->memory, sizeof **list);
        if (list[i] == NULL)
            return no_memory(why);
        interlock__policy__v1__argument__init(list[i]);
        status_code code = cli_split_pair(self, given->items[i], &list[i]->name, &list[i]->value, why);
        if (code != STATUS_OK)
            return code;
    }
    qsort(list, given->count, sizeof(void *), compare_arguments);
    action->arguments = list;
    action->n_arguments = given->count;
    return STATUS_OK;
}

static status_code fill_change(cli *self, Interlock__Policy__V1__Action *action, failure *why) {
    static const char *const flags[] = {"diff", "sql", "manifest"};
    static const Interlock__Policy__V1__Change__ContentCase cases[] = {
        INTERLOCK__POLICY__V1__CHANGE__CONTENT_DIFF, INTERLOCK__POLICY__V1__CHANGE__CONTENT_SQL,
        INTERLOCK__POLICY__V1__CHANGE__CONTENT_MANIFEST};
    for (size_t i = 0; i < 3; i++) {
        const char *path = cli_text(self, flags[i]);
        bytes text = {0};
        if (path == NULL)
            continue;
        status_code code = cli_read_file(self, path, LIMIT_ENVELOPE_BYTES / 2, &text, why);
        if (code != STATUS_OK)
            return code;
        if (!utf8_valid(text))
            return fail(why, STATUS_INVALID_ARGUMENT, "NOT_TEXT", "%.200s is not UTF-8 text", path);
        action->change = arena_alloc(&self->memory, sizeof *action->change);
        if (action->change == NULL)
            return no_memory(why);
        interlock__policy__v1__change__init(action->change);
        action->change->content_case = cases[i];
        action->change->diff = (char *)text.data; /* the members of the oneof share their place */
    }
    return STATUS_OK;
}

static status_code fill_model(cli *self, Interlock__Policy__V1__Action *action, failure *why) {
    const char *text = cli_text(self, "model");
    char *rest = NULL;
    if (text == NULL)
        return STATUS_OK;
    char *copy = arena_text(&self->memory, text);
    action->model = arena_alloc(&self->memory, sizeof *action->model);
    if (copy == NULL || action->model == NULL)
        return no_memory(why);
    interlock__policy__v1__model__init(action->model);
    char *provider = strtok_r(copy, "/", &rest);
    char *name = strtok_r(NULL, "/", &rest);
    char *version = strtok_r(NULL, "/", &rest);
    if (version == NULL || strtok_r(NULL, "/", &rest) != NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_MODEL",
                    "--model is PROVIDER/NAME/VERSION, not \"%.100s\"", text);
    action->model->provider = provider;
    action->model->name = name;
    action->model->version = version;
    return STATUS_OK;
}

static status_code fill_reach_and_reversal(cli *self, Interlock__Policy__V1__Action *action, failure *why) {
    double percent = 0;
    status_code code = cli_number(self, "percent", 0, 100, &percent, why);
    if (code != STATUS_OK)
        return code;
    if (cli_given(self, "percent")) {
        action->reach = arena_alloc(&self->memory, sizeof *action->reach);
        if (action->reach == NULL)
            return no_memory(why);
        interlock__policy__v1__reach__init(action->reach);
        action->reach->percent = percent;
    }
    if (cli_given(self, "reversal")) {
        action->reversal = arena_alloc(&self->memory, sizeof *action->reversal);
        if (action->reversal == NULL)
            return no_memory(why);
        interlock__policy__v1__reversal__init(action->reversal);
        action->reversal->verb = (char *)cli_text(self, "reversal");
    }
    return STATUS_OK;
}

static status_code read_action_file(cli *self, const char *path, Interlock__Policy__V1__Action **out,
                                    failure *why) {
    bytes json = {0};
    ProtobufCMessage *message = NULL;
    status_code code = cli_read_file(self, path, LIMIT_ENVELOPE_BYTES, &json, why);
    if (code == STATUS_OK)
        code = wire_from_json(&interlock__policy__v1__action__descriptor, json, WIRE_JSON_CANONICAL,
                              &self->memory, &message, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "%.200s", path);
    *out = (Interlock__Policy__V1__Action *)message;
    return STATUS_OK;
}

static void override_text(const cli *self, const char *flag, char **member) {
    if (cli_given(self, flag))
        *member = (char *)cli_text(self, flag);
}

static status_code fill_from_flags(cli *self, Interlock__Policy__V1__Action *action, failure *why) {
    const cli_values *targets = cli_list(self, "target");
    override_text(self, "verb", &action->verb);
    override_text(self, "intent", &action->intent);
    override_text(self, "action-id", &action->action_id);
    override_text(self, "session", &action->session_id);
    override_text(self, "on-behalf-of", &action->on_behalf_of);
    override_text(self, "executor", &action->executor);
    if (targets->count > 0) {
        action->targets = (char **)targets->items;
        action->n_targets = targets->count;
    }
    if (cli_given(self, "dry-run"))
        action->dry_run = true;
    if (action->actor_kind == INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_UNSPECIFIED)
        action->actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT;
    status_code code = fill_arguments(self, action, why);
    if (code == STATUS_OK)
        code = fill_change(self, action, why);
    if (code == STATUS_OK)
        code = fill_model(self, action, why);
    if (code == STATUS_OK)
        code = fill_reach_and_reversal(self, action, why);
    return code;
}

/* An action id for whoever states none: the verb and 8 random bytes. */
static char *fresh_action_id(cli *self, const char *verb) {
    uint8_t random[8];
    char digits[2 * sizeof random + 1];
    chance_random(self->source, random, sizeof random);
    hex_encode(bytes_of(random, sizeof random), digits);
    char *text = arena_format(&self->memory, "%.64s-%s", verb, digits);
    for (char *c = text; c != NULL && *c != '\0'; c++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:", *c) == NULL)
            *c = '-';
    return text;
}

static status_code compose(cli *self, Interlock__Policy__V1__Action **out, failure *why) {
    const char *file = cli_text(self, "file");
    Interlock__Policy__V1__Action *action = arena_alloc(&self->memory, sizeof *action);
    if (action == NULL)
        return no_memory(why);
    interlock__policy__v1__action__init(action);
    status_code code = file != NULL ? read_action_file(self, file, &action, why) : STATUS_OK;
    if (code == STATUS_OK)
        code = fill_from_flags(self, action, why);
    if (code != STATUS_OK)
        return code;
    if (action->verb[0] == '\0' || action->n_targets == 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "ACTION_INCOMPLETE",
                    "an action needs a verb and a target (--verb, --target, or in the file)");
    if (action->action_id[0] == '\0')
        action->action_id = fresh_action_id(self, action->verb);
    *out = action;
    return action->action_id != NULL ? STATUS_OK : no_memory(why);
}

static status_code sign_action(cli *self, Interlock__Policy__V1__Action *action,
                               Interlock__Common__V1__Envelope **out, failure *why) {
    const char *agent = cli_text(self, "agent");
    const trust *roots = NULL;
    secret_key *key = NULL;
    char name[160];
    snprintf(name, sizeof name, "agent-%s", agent);
    status_code code = cli_roots(self, &roots, why);
    if (code == STATUS_OK)
        code = cli_key(self, name, KEY_AGENT, &key, why);
    if (code == STATUS_NOT_FOUND)
        return fail_within(why, code, "agent %s (interlock agent enroll %s makes one)", agent, agent);
    if (code != STATUS_OK)
        return code;
    const char *principal = arena_format(&self->memory, "agent/%s", agent);
    action->header = principal != NULL ? statement_header_new(PAYLOAD_ACTION, roots->installation, principal,
                                                              ACTION_LIFETIME_MS, self->source, &self->memory)
                                       : NULL;
    *out =
        action->header != NULL ? dsse_sign_message(key, PAYLOAD_ACTION, &action->base, &self->memory) : NULL;
    secret_key_free(key);
    return *out != NULL ? STATUS_OK : no_memory(why);
}

static status_code envelope_read(cli *self, const char *path, Interlock__Common__V1__Envelope **out,
                                 failure *why) {
    bytes wire = {0};
    ProtobufCMessage *message = NULL;
    status_code code = cli_read_file(self, path, LIMIT_ENVELOPE_BYTES, &wire, why);
    if (code == STATUS_OK)
        code = wire_unpack(&interlock__common__v1__envelope__descriptor, wire, &self->memory, &message, why);
    if (code == STATUS_OK)
        *out = (Interlock__Common__V1__Envelope *)message;
    return code;
}

static status_code envelope_of(cli *self, Interlock__Common__V1__Envelope **out, failure *why) {
    const char *given = cli_text(self, "envelope");
    const char *save = cli_text(self, "save-envelope");
    Interlock__Policy__V1__Action *action = NULL;
    bytes wire = {0};
    if (given != NULL)
        return envelope_read(self, given, out, why);
    if (cli_text(self, "agent") == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "FLAG_MISSING", "--agent NAME says who proposes");
    status_code code = compose(self, &action, why);
    if (code == STATUS_OK)
        code = sign_action(self, action, out, why);
    if (code != STATUS_OK || save == NULL)
        return code;
    code = wire_pack(&(*out)->base, &self->memory, &wire, why);
    return code == STATUS_OK ? cli_write_file(save, wire, why) : code;
}

static void print_answer(cli *self, const Interlock__Policy__V1__EvaluateResponse *answer) {
    decision_print(self, answer->decision);
    if (answer->receipt != NULL)
        printf("Recorded      index %llu of the log%s\n", (unsigned long long)answer->receipt->index,
               answer->repeated ? " (decided before; this is the same decision)" : "");
    if (answer->permit[0] != '\0') {
        const Interlock__Policy__V1__PermitClaims *claims = answer->decision->permit;
        size_t size = strlen(answer->permit);
        printf("Permit        %.24s…%s\n", answer->permit, answer->permit + (size > 12 ? size - 12 : 0));
        if (claims != NULL)
            printf("              for %s, until %s\n", cli_safe(&self->memory, claims->audience),
                   cli_time(&self->memory, claims->expires_at_s * 1000));
    }
    decision_print_advice(answer->decision);
}

static cli_exit evaluate_run(cli *self) {
    failure why = {0};
    rpc_channel *policy = NULL;
    Interlock__Common__V1__Envelope *envelope = NULL;
    Interlock__Policy__V1__EvaluateResponse *answer = NULL;
    status_code code = envelope_of(self, &envelope, &why);
    if (code == STATUS_INVALID_ARGUMENT)
        return cli_usage(self, &why);
    if (code == STATUS_OK)
        code = cli_channel(self, "policy", ROLE_AGENT, &policy, &why);
    if (code == STATUS_OK)
        code = policy_evaluate_wait(policy, envelope, CLI_TIMEOUT_MS, &self->memory, &answer, &why);
    rpc_channel_close(policy);
    if (code == STATUS_OK && answer->decision == NULL)
        code = fail(&why, STATUS_INTERNAL, "EMPTY_ANSWER", "policy answered without a decision");
    if (code != STATUS_OK)
        return cli_fail("evaluate", &why);
    if (self->format != FORMAT_JSON)
        print_answer(self, answer);
    else if (cli_print_json(&answer->base) != CLI_OK)
        return CLI_ERROR;
    return decision_exit(answer->decision);
}

static const cli_flag evaluate_flags[] = {
    {.name = "agent",
     .kind = FLAG_TEXT,
     .value_name = "NAME",
     .help = "who proposes: keys/agent-NAME.key signs"},
    {.name = "verb",
     .kind = FLAG_TEXT,
     .value_name = "VERB",
     .help = "deploy, rollback, restart, scale, config.set, …"},
    {.name = "target", .kind = FLAG_LIST, .value_name = "NODE", .help = "kind:environment/namespace/name"},
    {.name = "arg", .kind = FLAG_LIST, .value_name = "K=V", .help = "an argument of the action"},
    {.name = "intent", .kind = FLAG_TEXT, .value_name = "TEXT", .help = "what it is for"},
    {.name = "diff",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "the change as a diff (- reads standard input)"},
    {.name = "sql", .kind = FLAG_TEXT, .value_name = "FILE", .help = "the change as SQL"},
    {.name = "manifest", .kind = FLAG_TEXT, .value_name = "FILE", .help = "the change as a manifest"},
    {.name = "percent", .kind = FLAG_TEXT, .value_name = "N", .help = "how far it reaches, 0 to 100"},
    {.name = "reversal", .kind = FLAG_TEXT, .value_name = "VERB", .help = "the verb that undoes it"},
    {.name = "model", .kind = FLAG_TEXT, .value_name = "P/N/V", .help = "the model: provider/name/version"},
    {.name = "session", .kind = FLAG_TEXT, .value_name = "ID", .help = "the agent's session"},
    {.name = "on-behalf-of", .kind = FLAG_TEXT, .value_name = "WHO", .help = "the principal it acts for"},
    {.name = "executor", .kind = FLAG_TEXT, .value_name = "WHO", .help = "who is to execute it"},
    {.name = "action-id", .kind = FLAG_TEXT, .value_name = "ID", .help = "idempotency key [made up]"},
    {.name = "dry-run", .kind = FLAG_SWITCH, .help = "only ask"},
    {.name = "file",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "the action as JSON, without header; flags go over it"},
    {.name = "save-envelope", .kind = FLAG_TEXT, .value_name = "FILE", .help = "keep the signed bytes"},
    {.name = "envelope", .kind = FLAG_TEXT, .value_name = "FILE", .help = "send kept bytes again"},
};
const cli_command evaluate_commands[] = {
    {.noun = "evaluate",
     .purpose = "propose an action and get the decision",
     .flags = evaluate_flags,
     .flag_count = sizeof evaluate_flags / sizeof *evaluate_flags,
     .examples = "  interlock evaluate --agent deployer --verb deploy --target service:prod/shop/cart --arg "
                 "version=1.2\n"
                 "  interlock evaluate --agent deployer --file action.json --save-envelope action.envelope\n"
                 "  interlock evaluate --envelope action.envelope\n",
     .run = evaluate_run}};
const size_t evaluate_command_count = sizeof evaluate_commands / sizeof *evaluate_commands;
