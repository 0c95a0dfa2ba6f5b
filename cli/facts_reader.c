/* The facts of a decision as people write them down. */
#include "facts_reader.h"

#include <string.h>

#define TARGETS_MAX 64U
#define COUNT_MOST 4294967295.0

const char *const facts_keys[] = {"action", "agent",   "targets", "impact", "schema",
                                  "grant",  "history", "stage",   "now",    NULL};

typedef struct facts_work {
    const yaml_source *source;
    policy_facts *facts;
    failure *why;
} facts_work;

static status_code no_memory(const facts_work *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.200s",
                self->source->file);
}

/* ---- one value each ---- */

static status_code text(const facts_work *self, const yaml_item *map, const char *key, const char **out) {
    return yaml_text_of(self->source, yaml_member(map, key), key, out, self->why);
}

static status_code boolean(const facts_work *self, const yaml_item *map, const char *key, bool *out) {
    return yaml_bool_of(self->source, yaml_member(map, key), key, out, self->why);
}

static status_code count(const facts_work *self, const yaml_item *map, const char *key, uint32_t *out) {
    double number = *out;
    status_code code =
        yaml_number_of(self->source, yaml_member(map, key), key, 0, COUNT_MOST, &number, self->why);
    if (code == STATUS_OK)
        *out = (uint32_t)number;
    return code;
}

static status_code share(const facts_work *self, const yaml_item *map, const char *key, double *out) {
    return yaml_number_of(self->source, yaml_member(map, key), key, 0, 1, out, self->why);
}

static status_code moment(const facts_work *self, const yaml_item *map, const char *key, int64_t *out) {
    return yaml_time_of(self->source, yaml_member(map, key), key, out, self->why);
}

static status_code texts(const facts_work *self, const yaml_item *map, const char *key, policy_texts *out) {
    const yaml_item *item = yaml_member(map, key);
    if (item == NULL)
        return STATUS_OK;
    out->known = true;
    return yaml_texts_of(self->source, item, key, &out->items, &out->count, self->why);
}

/* A map of texts as pairs. */
static status_code pairs(const facts_work *self, const yaml_item *map, const char *key,
                         const policy_pair **items, size_t *size) {
    const yaml_item *item = yaml_member(map, key);
    if (item == NULL)
        return STATUS_OK;
    if (item->kind != YAML_MAP)
        return yaml_fail(self->source, item, self->why, "%s is a map of texts", key);
    policy_pair *made = arena_zero(self->source->memory, item->count + 1, sizeof *made);
    if (made == NULL)
        return no_memory(self);
    policy_pair *pair = made;
    for (const yaml_item *value = item->first; value != NULL; value = value->next, pair++) {
        pair->name = value->key->text;
        status_code code = yaml_text_of(self->source, value, pair->name, &pair->value, self->why);
        if (code != STATUS_OK)
            return code;
    }
    *items = made;
    *size = item->count;
    return STATUS_OK;
}

/* ---- the parts ---- */

static status_code read_change(const facts_work *self, const yaml_item *change) {
    static const char *const keys[] = {"kind", "text", NULL};
    policy_action_facts *action = &self->facts->action;
    if (change == NULL)
        return STATUS_OK;
    status_code code = yaml_keys(self->source, change, "change", keys, self->why);
    if (code == STATUS_OK)
        code = text(self, change, "kind", &action->change_kind);
    if (code == STATUS_OK)
        code = text(self, change, "text", &action->change);
    const char *kind = action->change_kind != NULL ? action->change_kind : "";
    if (code == STATUS_OK && strcmp(kind, "diff") != 0 && strcmp(kind, "sql") != 0 &&
        strcmp(kind, "manifest") != 0)
        code = yaml_fail(self->source, change, self->why, "a change's kind is diff, sql or manifest");
    return code;
}

static status_code read_reach(const facts_work *self, const yaml_item *reach) {
    static const char *const keys[] = {"percent", "replicas", "region", NULL};
    policy_action_facts *action = &self->facts->action;
    if (reach == NULL)
        return STATUS_OK;
    status_code code = yaml_keys(self->source, reach, "reach", keys, self->why);
    if (code == STATUS_OK)
        code = yaml_number_of(self->source, yaml_member(reach, "percent"), "percent", 0, 100,
                              &action->percent, self->why);
    if (code == STATUS_OK)
        code = count(self, reach, "replicas", &action->replicas);
    return code == STATUS_OK ? text(self, reach, "region", &action->region) : code;
}

/* `reversal: rollback`, or {verb, arguments}. */
static status_code read_reversal(const facts_work *self, const yaml_item *reversal) {
    static const char *const keys[] = {"verb", "arguments", NULL};
    policy_action_facts *action = &self->facts->action;
    if (reversal == NULL)
        return STATUS_OK;
    if (reversal->kind == YAML_SCALAR) {
        action->reversal_verb = reversal->text;
        return STATUS_OK;
    }
    status_code code = yaml_keys(self->source, reversal, "reversal", keys, self->why);
    if (code == STATUS_OK)
        code = text(self, reversal, "verb", &action->reversal_verb);
    if (code == STATUS_OK)
        code =
            pairs(self, reversal, "arguments", &action->reversal_arguments, &action->reversal_argument_count);
    return code;
}

static status_code read_probes(const facts_work *self, const yaml_item *map) {
    policy_action_facts *action = &self->facts->action;
    return yaml_texts_of(self->source, yaml_member(map, "health_probes"), "health_probes", &action->probes,
                         &action->probe_count, self->why);
}

static status_code read_action_texts(const facts_work *self, const yaml_item *map) {
    policy_action_facts *action = &self->facts->action;
    const struct {
        const char *key;
        const char **out;
    } members[] = {{"id", &action->id},
                   {"session_id", &action->session_id},
                   {"verb", &action->verb},
                   {"intent", &action->intent},
                   {"harness", &action->harness},
                   {"on_behalf_of", &action->on_behalf_of},
                   {"executor", &action->executor},
                   {"actor_kind", &action->actor_kind}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        status_code code = text(self, map, members[i].key, members[i].out);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code read_action(const facts_work *self, const yaml_item *map) {
    static const char *const keys[] = {"verb",     "reach",      "reversal",      "arguments", "change",
                                       "dry_run",  "actor_kind", "health_probes", "intent",    "on_behalf_of",
                                       "executor", "harness",    "session_id",    "id",        NULL};
    policy_action_facts *action = &self->facts->action;
    if (map == NULL)
        return STATUS_OK;
    status_code code = yaml_keys(self->source, map, "action", keys, self->why);
    if (code == STATUS_OK)
        code = read_action_texts(self, map);
    if (code == STATUS_OK)
        code = boolean(self, map, "dry_run", &action->dry_run);
    if (code == STATUS_OK)
        code = pairs(self, map, "arguments", &action->arguments, &action->argument_count);
    if (code == STATUS_OK)
        code = read_change(self, yaml_member(map, "change"));
    if (code == STATUS_OK)
        code = read_reach(self, yaml_member(map, "reach"));
    if (code == STATUS_OK)
        code = read_reversal(self, yaml_member(map, "reversal"));
    return code == STATUS_OK ? read_probes(self, map) : code;
}

static status_code read_agent(const facts_work *self, const yaml_item *map) {
    static const char *const keys[] = {"principal", "model", "delegation_root", NULL};
    static const char *const model_keys[] = {"provider", "name", "version", NULL};
    policy_agent_facts *agent = &self->facts->agent;
    if (map == NULL)
        return STATUS_OK;
    status_code code = yaml_keys(self->source, map, "agent", keys, self->why);
    if (code == STATUS_OK)
        code = text(self, map, "principal", &agent->principal);
    if (code == STATUS_OK)
        code = text(self, map, "delegation_root", &agent->delegation_root);
    const yaml_item *model = yaml_member(map, "model");
    if (code != STATUS_OK || model == NULL)
        return code;
    code = yaml_keys(self->source, model, "model", model_keys, self->why);
    if (code == STATUS_OK)
        code = text(self, model, "provider", &agent->model_provider);
    if (code == STATUS_OK)
        code = text(self, model, "name", &agent->model_name);
    if (code == STATUS_OK)
        code = text(self, model, "version", &agent->model_version);
    return code;
}

static status_code read_target(const facts_work *self, const yaml_item *item, policy_target *target) {
    static const char *const keys[] = {"name", "zone", "owner", "tier", "labels", NULL};
    if (item->kind == YAML_SCALAR) {
        target->name = item->text;
        return STATUS_OK;
    }
    status_code code = yaml_keys(self->source, item, "a target", keys, self->why);
    if (code == STATUS_OK)
        code = text(self, item, "name", &target->name);
    if (code == STATUS_OK && target->name == NULL)
        code = yaml_fail(self->source, item, self->why, "a target has a name");
    if (code == STATUS_OK)
        code = text(self, item, "zone", &target->zone);
    if (code == STATUS_OK)
        code = text(self, item, "owner", &target->owner);
    if (code == STATUS_OK)
        code = count(self, item, "tier", &target->tier);
    if (code != STATUS_OK || yaml_member(item, "labels") == NULL)
        return code;
    target->labels.known = true;
    return pairs(self, item, "labels", &target->labels.items, &target->labels.count);
}

static status_code read_targets(const facts_work *self, const yaml_item *list) {
    if (list == NULL)
        return STATUS_OK;
    bool many = list->kind == YAML_LIST;
    size_t size = many ? list->count : 1;
    if (size == 0 || size > TARGETS_MAX)
        return yaml_fail(self->source, list, self->why, "an action has 1 to %u targets", TARGETS_MAX);
    policy_target *targets = arena_zero(self->source->memory, size, sizeof *targets);
    if (targets == NULL)
        return no_memory(self);
    policy_target *target = targets;
    for (const yaml_item *item = many ? list->first : list; item != NULL; item = many ? item->next : NULL) {
        status_code code = read_target(self, item, target++);
        if (code != STATUS_OK)
            return code;
    }
    self->facts->targets = targets;
    self->facts->target_count = size;
    return STATUS_OK;
}

static status_code read_entry_traffic(const facts_work *self, const yaml_item *item) {
    static const char *const keys[] = {"expected", "low", "high", NULL};
    policy_impact_facts *impact = &self->facts->impact;
    if (item == NULL)
        return STATUS_OK;
    if (item->kind == YAML_SCALAR) {
        status_code code =
            yaml_number_of(self->source, item, "entry_traffic", 0, 1, &impact->expected, self->why);
        impact->low = impact->high = impact->expected;
        return code;
    }
    status_code code = yaml_keys(self->source, item, "entry_traffic", keys, self->why);
    if (code == STATUS_OK)
        code = share(self, item, "expected", &impact->expected);
    impact->low = impact->high = impact->expected;
    if (code == STATUS_OK)
        code = share(self, item, "low", &impact->low);
    if (code == STATUS_OK)
        code = share(self, item, "high", &impact->high);
    return code;
}

static status_code read_affected(const facts_work *self, const yaml_item *list) {
    static const char *const keys[] = {"name", "probability", NULL};
    if (list == NULL)
        return STATUS_OK;
    if (list->kind != YAML_LIST)
        return yaml_fail(self->source, list, self->why, "affected is a list of nodes");
    policy_affected *nodes = arena_zero(self->source->memory, list->count + 1, sizeof *nodes);
    if (nodes == NULL)
        return no_memory(self);
    policy_affected *node = nodes;
    for (const yaml_item *item = list->first; item != NULL; item = item->next, node++) {
        node->probability = 1;
        status_code code = STATUS_OK;
        if (item->kind == YAML_SCALAR)
            node->name = item->text;
        else
            code = yaml_keys(self->source, item, "an affected node", keys, self->why);
        if (code == STATUS_OK)
            code = text(self, item, "name", &node->name);
        if (code == STATUS_OK)
            code = share(self, item, "probability", &node->probability);
        if (code == STATUS_OK && node->name == NULL)
            code = yaml_fail(self->source, item, self->why, "an affected node has a name");
        if (code != STATUS_OK)
            return code;
    }
    self->facts->impact.affected = nodes;
    self->facts->impact.affected_count = list->count;
    return STATUS_OK;
}

/* "unknown" in place of a part takes back what was set before. */
static bool is_unknown(const yaml_item *item) {
    return item != NULL && item->kind == YAML_SCALAR && item->style == YAML_PLAIN &&
           strcmp(item->text, "unknown") == 0;
}

static status_code read_impact(const facts_work *self, const yaml_item *map) {
    static const char *const keys[] = {"entry_traffic", "affected", "observed_requests",
                                       "journeys",      "owners",   NULL};
    policy_impact_facts *impact = &self->facts->impact;
    if (map == NULL)
        return STATUS_OK;
    if (is_unknown(map)) {
        *impact = (policy_impact_facts){0};
        return STATUS_OK;
    }
    impact->known = true;
    status_code code = yaml_keys(self->source, map, "impact", keys, self->why);
    if (code == STATUS_OK)
        code = read_entry_traffic(self, yaml_member(map, "entry_traffic"));
    if (code == STATUS_OK)
        code = read_affected(self, yaml_member(map, "affected"));
    if (code == STATUS_OK)
        code = yaml_number_of(self->source, yaml_member(map, "observed_requests"), "observed_requests", 0,
                              1e15, &impact->observed_requests, self->why);
    if (code == STATUS_OK)
        code = texts(self, map, "journeys", &impact->journeys);
    if (code == STATUS_OK)
        code = texts(self, map, "owners", &impact->owners);
    return code;
}

static status_code read_schema(const facts_work *self, const yaml_item *map) {
    static const char *const keys[] = {"destructive", "breaking", "statements", NULL};
    policy_schema_facts *schema = &self->facts->schema;
    if (map == NULL)
        return STATUS_OK;
    if (is_unknown(map)) {
        *schema = (policy_schema_facts){0};
        return STATUS_OK;
    }
    schema->known = true;
    status_code code = yaml_keys(self->source, map, "schema", keys, self->why);
    if (code == STATUS_OK)
        code = boolean(self, map, "destructive", &schema->destructive);
    if (code == STATUS_OK)
        code = boolean(self, map, "breaking", &schema->breaking);
    return code == STATUS_OK ? texts(self, map, "statements", &schema->statements) : code;
}

static status_code read_grant(const facts_work *self, const yaml_item *map) {
    static const char *const keys[] = {"held", "expires_at", "uses_left", NULL};
    policy_grant_facts *grant = &self->facts->grant;
    if (map == NULL)
        return STATUS_OK;
    if (is_unknown(map)) {
        *grant = (policy_grant_facts){0};
        return STATUS_OK;
    }
    grant->known = true;
    status_code code = yaml_keys(self->source, map, "grant", keys, self->why);
    if (code == STATUS_OK)
        code = boolean(self, map, "held", &grant->held);
    if (code == STATUS_OK)
        code = moment(self, map, "expires_at", &grant->expires_at_ms);
    return code == STATUS_OK ? count(self, map, "uses_left", &grant->uses_left) : code;
}

static status_code read_history(const facts_work *self, const yaml_item *map) {
    static const char *const keys[] = {"actions", "succeeded", "failed", "reverted", "last_incident", NULL};
    policy_history_facts *history = &self->facts->history;
    if (map == NULL)
        return STATUS_OK;
    if (is_unknown(map)) {
        *history = (policy_history_facts){0};
        return STATUS_OK;
    }
    history->known = true;
    status_code code = yaml_keys(self->source, map, "history", keys, self->why);
    if (code == STATUS_OK)
        code = count(self, map, "actions", &history->actions);
    if (code == STATUS_OK)
        code = count(self, map, "succeeded", &history->succeeded);
    if (code == STATUS_OK)
        code = count(self, map, "failed", &history->failed);
    if (code == STATUS_OK)
        code = count(self, map, "reverted", &history->reverted);
    return code == STATUS_OK ? moment(self, map, "last_incident", &history->last_incident_ms) : code;
}

static status_code read_stage(const facts_work *self, const yaml_item *item) {
    static const char *const stages[] = {"advisory", "constrained", "green-path"};
    if (item == NULL)
        return STATUS_OK;
    for (size_t i = 0; item->kind == YAML_SCALAR && i < sizeof stages / sizeof *stages; i++)
        if (strcmp(item->text, stages[i]) == 0) {
            self->facts->stage = item->text;
            return STATUS_OK;
        }
    return yaml_fail(self->source, item, self->why, "stage is advisory, constrained or green-path");
}

status_code facts_read(const yaml_source *source, const yaml_item *map, policy_facts *facts, failure *why) {
    facts_work self = {.source = source, .facts = facts, .why = why};
    status_code code = read_action(&self, yaml_member(map, "action"));
    if (code == STATUS_OK)
        code = read_agent(&self, yaml_member(map, "agent"));
    if (code == STATUS_OK)
        code = read_targets(&self, yaml_member(map, "targets"));
    if (code == STATUS_OK)
        code = read_impact(&self, yaml_member(map, "impact"));
    if (code == STATUS_OK)
        code = read_schema(&self, yaml_member(map, "schema"));
    if (code == STATUS_OK)
        code = read_grant(&self, yaml_member(map, "grant"));
    if (code == STATUS_OK)
        code = read_history(&self, yaml_member(map, "history"));
    if (code == STATUS_OK)
        code = read_stage(&self, yaml_member(map, "stage"));
    return code == STATUS_OK ? moment(&self, map, "now", &facts->now_ms) : code;
}

status_code facts_read_file(const yaml_source *source, policy_facts *facts, failure *why) {
    const yaml_item *root = NULL;
    status_code code = yaml_open(source, &root, why);
    if (code == STATUS_OK)
        code = yaml_keys(source, root, "a file of facts", facts_keys, why);
    return code == STATUS_OK ? facts_read(source, root, facts, why) : code;
}
