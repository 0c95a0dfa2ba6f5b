/* The facts as CEL sees them: object types whose fields are read from the host's structs when an expression
 * asks, and never before. docs/policy.md lists them. Everything but an action's own statements can be absent.
 */
#include <string.h>

#include "base/limits.h"
#include "private.h"

#define HIT_PROBABILITY 0.0 /* what counts as affected at all is the graph's business */

const char *const environment_roots[SLOT_COUNT] = {"action", "agent", "targets", "impact", "schema",
                                                   "zones",  "grant", "history", "stage",  "now"};

static cel_value text_value(const char *text) {
    return text == NULL ? cel_text("", 0) : cel_text(text, strlen(text));
}

static cel_value time_value(int64_t ms) {
    int64_t seconds = ms / 1000;
    int64_t rest = ms % 1000;
    if (rest < 0) {
        rest += 1000;
        seconds--;
    }
    return cel_timestamp(seconds, (uint32_t)rest * 1000000U);
}

/* ---- lists and maps over the host's arrays ---- */

static cel_value text_at(const void *host, uint32_t index) {
    return text_value(((const char *const *)host)[index]);
}

static cel_list text_list(const char *const *items, size_t count) {
    return (cel_list){.count = (uint32_t)count, .at = text_at, .host = items};
}

static bool pair_find(const void *host, cel_value key, cel_value *value) {
    const policy_pairs *pairs = host;
    if (key.kind != CEL_STRING)
        return false;
    for (size_t i = 0; i < pairs->count; i++)
        if (strlen(pairs->items[i].name) == key.size &&
            memcmp(pairs->items[i].name, key.text, key.size) == 0) {
            *value = text_value(pairs->items[i].value);
            return true;
        }
    return false;
}

static cel_entry pair_at(const void *host, uint32_t index) {
    const policy_pairs *pairs = host;
    return (cel_entry){text_value(pairs->items[index].name), text_value(pairs->items[index].value)};
}

/* A map and the pairs that it is over; both live in the frame's arena. */
static const cel_map *pair_map(arena *memory, const policy_pair *items, size_t count) {
    cel_map *map = arena_alloc(memory, sizeof *map);
    policy_pairs *pairs = arena_alloc(memory, sizeof *pairs);
    if (map == NULL || pairs == NULL)
        return NULL;
    *pairs = (policy_pairs){true, items, count};
    *map = (cel_map){.count = (uint32_t)count, .find = pair_find, .at = pair_at, .host = pairs};
    return map;
}

/* What cannot be built is as good as absent: the rule defers. */
static cel_value map_value(frame *self, const policy_pair *items, size_t count, const char *fact) {
    const cel_map *map = pair_map(self->memory, items, count);
    return map == NULL ? cel_unknown(fact) : cel_map_of(map);
}

static cel_value list_value(frame *self, const char *const *items, size_t count, const char *fact) {
    cel_list made = text_list(items, count);
    const cel_list *list = arena_copy(self->memory, &made, sizeof made);
    return list == NULL ? cel_unknown(fact) : cel_list_of(list);
}

static cel_value texts_value(frame *self, const policy_texts *texts, const char *fact) {
    return texts->known ? list_value(self, texts->items, texts->count, fact) : cel_unknown(fact);
}

/* ---- types ---- */

/* What cel_type_object makes, as a constant. */
#define OBJECT_TYPE(constant, label)                                                                         \
    static const cel_type constant = {.kind = CEL_TYPE_OBJECT, .name = (label), .object = &constant##_object}
#define COUNT(fields) (sizeof(fields) / sizeof *(fields))

static const cel_type type_texts = {
    .kind = CEL_TYPE_LIST, .name = "list", .count = 1, .parameters = {&cel_type_string}};
static const cel_type type_pairs = {
    .kind = CEL_TYPE_MAP, .name = "map", .count = 2, .parameters = {&cel_type_string, &cel_type_string}};

/* action.reach */
static const cel_field REACH_FIELDS[] = {
    {"percent", &cel_type_double}, {"replicas", &cel_type_int}, {"region", &cel_type_string}};
static bool reach_get(const void *host, uint32_t index, cel_value *value) {
    const policy_action_facts *action = &((const frame *)host)->facts->action;
    if (index == 0)
        *value = cel_double(action->percent > 0 ? action->percent : 100);
    else if (index == 1)
        *value = cel_int(action->replicas);
    else
        *value = text_value(action->region);
    return true;
}
static const cel_object_type type_reach_object = {"Reach", REACH_FIELDS, COUNT(REACH_FIELDS), reach_get};
OBJECT_TYPE(type_reach, "Reach");

/* action.reversal */
static const cel_field REVERSAL_FIELDS[] = {{"verb", &cel_type_string}, {"arguments", &type_pairs}};
static bool reversal_get(const void *host, uint32_t index, cel_value *value) {
    frame *self = (frame *)(uintptr_t)host;
    const policy_action_facts *action = &self->facts->action;
    *value = index == 0 ? text_value(action->reversal_verb)
                        : map_value(self, action->reversal_arguments, action->reversal_argument_count,
                                    "action.reversal.arguments");
    return true;
}
static const cel_object_type type_reversal_object = {"Reversal", REVERSAL_FIELDS, COUNT(REVERSAL_FIELDS),
                                                     reversal_get};
OBJECT_TYPE(type_reversal, "Reversal");

/* action.change */
static const cel_field CHANGE_FIELDS[] = {{"kind", &cel_type_string}, {"text", &cel_type_string}};
static bool change_get(const void *host, uint32_t index, cel_value *value) {
    const policy_action_facts *action = &((const frame *)host)->facts->action;
    *value = text_value(index == 0 ? action->change_kind : action->change);
    return true;
}
static const cel_object_type type_change_object = {"Change", CHANGE_FIELDS, COUNT(CHANGE_FIELDS), change_get};
OBJECT_TYPE(type_change, "Change");

/* action */
enum {
    ACTION_VERB,
    ACTION_ID,
    ACTION_SESSION,
    ACTION_ACTOR,
    ACTION_INTENT,
    ACTION_HARNESS,
    ACTION_BEHALF,
    ACTION_EXECUTOR,
    ACTION_DRY_RUN,
    ACTION_REVERSIBLE,
    ACTION_ARGUMENTS,
    ACTION_CHANGE,
    ACTION_REACH,
    ACTION_REVERSAL,
    ACTION_PROBES,
};
static const cel_field ACTION_FIELDS[] = {
    [ACTION_VERB] = {"verb", &cel_type_string},
    [ACTION_ID] = {"id", &cel_type_string},
    [ACTION_SESSION] = {"session_id", &cel_type_string},
    [ACTION_ACTOR] = {"actor_kind", &cel_type_string},
    [ACTION_INTENT] = {"intent", &cel_type_string},
    [ACTION_HARNESS] = {"harness", &cel_type_string},
    [ACTION_BEHALF] = {"on_behalf_of", &cel_type_string},
    [ACTION_EXECUTOR] = {"executor", &cel_type_string},
    [ACTION_DRY_RUN] = {"dry_run", &cel_type_bool},
    [ACTION_REVERSIBLE] = {"reversible", &cel_type_bool},
    [ACTION_ARGUMENTS] = {"arguments", &type_pairs},
    [ACTION_CHANGE] = {"change", &type_change},
    [ACTION_REACH] = {"reach", &type_reach},
    [ACTION_REVERSAL] = {"reversal", &type_reversal},
    [ACTION_PROBES] = {"health_probes", &type_texts},
};
static bool action_get(const void *host, uint32_t index, cel_value *value) {
    frame *self = (frame *)(uintptr_t)host;
    const policy_action_facts *action = &self->facts->action;
    switch (index) {
    case ACTION_VERB:
        *value = text_value(action->verb);
        return true;
    case ACTION_ID:
        *value = text_value(action->id);
        return true;
    case ACTION_SESSION:
        *value = text_value(action->session_id);
        return true;
    case ACTION_ACTOR:
        *value = text_value(action->actor_kind);
        return true;
    case ACTION_INTENT:
        *value = text_value(action->intent);
        return true;
    case ACTION_HARNESS:
        *value = text_value(action->harness);
        return true;
    case ACTION_BEHALF:
        *value = text_value(action->on_behalf_of);
        return true;
    case ACTION_EXECUTOR:
        *value = text_value(action->executor);
        return true;
    case ACTION_DRY_RUN:
        *value = cel_bool(action->dry_run);
        return true;
    case ACTION_REVERSIBLE:
        *value = cel_bool(action->reversal_verb != NULL && action->reversal_verb[0] != '\0');
        return true;
    case ACTION_ARGUMENTS:
        *value = map_value(self, action->arguments, action->argument_count, "action.arguments");
        return true;
    case ACTION_CHANGE:
        *value = cel_object_of(&self->change);
        return true;
    case ACTION_REACH:
        *value = cel_object_of(&self->reach);
        return true;
    case ACTION_REVERSAL:
        *value = cel_object_of(&self->reversal);
        return true;
    default:
        *value = list_value(self, action->probes, action->probe_count, "action.health_probes");
        return true;
    }
}
static const cel_object_type type_action_object = {"Action", ACTION_FIELDS, COUNT(ACTION_FIELDS), action_get};
OBJECT_TYPE(type_action, "Action");

/* agent.model */
static const cel_field MODEL_FIELDS[] = {
    {"provider", &cel_type_string}, {"name", &cel_type_string}, {"version", &cel_type_string}};
static bool model_get(const void *host, uint32_t index, cel_value *value) {
    const policy_agent_facts *agent = &((const frame *)host)->facts->agent;
    *value = text_value(index == 0   ? agent->model_provider
                        : index == 1 ? agent->model_name
                                     : agent->model_version);
    return true;
}
static const cel_object_type type_model_object = {"Model", MODEL_FIELDS, COUNT(MODEL_FIELDS), model_get};
OBJECT_TYPE(type_model, "Model");

/* agent */
static const cel_field AGENT_FIELDS[] = {
    {"principal", &cel_type_string}, {"delegation_root", &cel_type_string}, {"model", &type_model}};
static bool agent_get(const void *host, uint32_t index, cel_value *value) {
    const frame *self = host;
    if (index == 2)
        *value = cel_object_of(&self->model);
    else
        *value = text_value(index == 0 ? self->facts->agent.principal : self->facts->agent.delegation_root);
    return true;
}
static const cel_object_type type_agent_object = {"Agent", AGENT_FIELDS, COUNT(AGENT_FIELDS), agent_get};
OBJECT_TYPE(type_agent, "Agent");

/* ---- targets ---- */

enum {
    TARGET_NAME,
    TARGET_KIND,
    TARGET_ENVIRONMENT,
    TARGET_NAMESPACE,
    TARGET_ID,
    TARGET_ZONE,
    TARGET_OWNER,
    TARGET_TIER,
    TARGET_LABELS,
    TARGET_STAGE,
};
static const cel_field TARGET_FIELDS[] = {
    [TARGET_NAME] = {"name", &cel_type_string},
    [TARGET_KIND] = {"kind", &cel_type_string},
    [TARGET_ENVIRONMENT] = {"environment", &cel_type_string},
    [TARGET_NAMESPACE] = {"namespace", &cel_type_string},
    [TARGET_ID] = {"id", &cel_type_string},
    [TARGET_ZONE] = {"zone", &cel_type_string},
    [TARGET_OWNER] = {"owner", &cel_type_string},
    [TARGET_TIER] = {"tier", &cel_type_int},
    [TARGET_LABELS] = {"labels", &type_pairs},
    [TARGET_STAGE] = {"stage", &cel_type_string},
};

/* Part 0 to 3 of kind:environment/namespace/id; what is missing is "". */
static cel_value name_part(const char *name, int part) {
    static const char ends[] = ":///";
    for (int i = 0; i < part; i++) {
        const char *end = strchr(name, ends[i]);
        if (end == NULL)
            return cel_text("", 0);
        name = end + 1;
    }
    return cel_text(name, part == 3 ? strlen(name) : strcspn(name, part == 0 ? ":" : "/"));
}

const char *zone_of(const policy_set *set, const char *name, const char *fact) {
    for (size_t i = 0; set != NULL && i < set->zone_count; i++)
        if (policy_patterns_match(&set->zones[i].targets, name))
            return set->zones[i].name;
    return fact;
}

static cel_value unknown_of(frame *self, const char *what, const char *name) {
    const char *fact = arena_format(self->memory, "%s of %s", what, name);
    return cel_unknown(fact == NULL ? what : fact);
}

static cel_value target_zone(const target_host *host) {
    const policy_target *target = host->target;
    const char *zone = zone_of(host->frame->set, target->name, target->zone);
    return zone == NULL ? unknown_of(host->frame, "zone", target->name) : text_value(zone);
}

static const char *target_stage(const target_host *host) {
    const frame *self = host->frame;
    return self->set == NULL ? policy_stage_name(self->stage)
                             : policy_stage_name(policies_stage(self->set, host->target, 1));
}

static bool target_get(const void *context, uint32_t index, cel_value *value) {
    const target_host *host = context;
    const policy_target *target = host->target;
    switch (index) {
    case TARGET_NAME:
        *value = text_value(target->name);
        return true;
    case TARGET_KIND:
    case TARGET_ENVIRONMENT:
    case TARGET_NAMESPACE:
    case TARGET_ID:
        *value = name_part(target->name, (int)(index - TARGET_KIND));
        return true;
    case TARGET_ZONE:
        *value = target_zone(host);
        return true;
    case TARGET_OWNER:
        *value = target->owner == NULL ? unknown_of(host->frame, "owner", target->name)
                                       : text_value(target->owner);
        return true;
    case TARGET_TIER:
        *value = target->tier == 0 ? unknown_of(host->frame, "tier", target->name) : cel_int(target->tier);
        return true;
    case TARGET_LABELS:
        *value = target->labels.known
                     ? map_value(host->frame, target->labels.items, target->labels.count, "targets.labels")
                     : unknown_of(host->frame, "labels", target->name);
        return true;
    default:
        *value = text_value(target_stage(host));
        return true;
    }
}
static const cel_object_type type_target_object = {"Target", TARGET_FIELDS, COUNT(TARGET_FIELDS), target_get};
OBJECT_TYPE(type_target, "Target");
static const cel_type type_targets = {
    .kind = CEL_TYPE_LIST, .name = "list", .count = 1, .parameters = {&type_target}};

/* Objects are made when the first rule asks for a target. */
static bool make_targets(frame *self) {
    size_t count = self->facts->target_count;
    if (self->target_objects != NULL)
        return true;
    cel_object *objects = arena_alloc(self->memory, (count + 1) * sizeof *objects);
    self->target_hosts = arena_alloc(self->memory, (count + 1) * sizeof *self->target_hosts);
    if (objects == NULL || self->target_hosts == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        self->target_hosts[i] = (target_host){self, &self->facts->targets[i]};
        objects[i] = (cel_object){&type_target_object, &self->target_hosts[i]};
    }
    self->target_objects = objects;
    return true;
}

static cel_value target_at(const void *host, uint32_t index) {
    frame *self = (frame *)(uintptr_t)host;
    return make_targets(self) ? cel_object_of(&self->target_objects[index]) : cel_unknown("targets");
}

/* ---- impact ---- */

static const cel_field TRAFFIC_FIELDS[] = {
    {"expected", &cel_type_double}, {"low", &cel_type_double}, {"high", &cel_type_double}};
static bool traffic_get(const void *host, uint32_t index, cel_value *value) {
    const policy_impact_facts *impact = &((const frame *)host)->facts->impact;
    *value = cel_double(index == 0 ? impact->expected : index == 1 ? impact->low : impact->high);
    return true;
}
static const cel_object_type type_traffic_object = {"Share", TRAFFIC_FIELDS, COUNT(TRAFFIC_FIELDS),
                                                    traffic_get};
OBJECT_TYPE(type_traffic, "Share");

static const cel_field AFFECTED_FIELDS[] = {
    {"name", &cel_type_string}, {"kind", &cel_type_string}, {"probability", &cel_type_double}};
static bool affected_get(const void *host, uint32_t index, cel_value *value) {
    const policy_affected *node = host;
    if (index == 0)
        *value = text_value(node->name);
    else if (index == 1)
        *value = name_part(node->name, 0);
    else
        *value = cel_double(node->probability);
    return true;
}
static const cel_object_type type_affected_object = {"Affected", AFFECTED_FIELDS, COUNT(AFFECTED_FIELDS),
                                                     affected_get};
OBJECT_TYPE(type_affected, "Affected");
static const cel_type type_affected_list = {
    .kind = CEL_TYPE_LIST, .name = "list", .count = 1, .parameters = {&type_affected}};

static cel_value affected_at(const void *host, uint32_t index) {
    frame *self = (frame *)(uintptr_t)host;
    const cel_object made = {&type_affected_object, &self->facts->impact.affected[index]};
    const cel_object *object = arena_copy(self->memory, &made, sizeof made);
    return object == NULL ? cel_unknown("impact.affected") : cel_object_of(object);
}

enum { IMPACT_TRAFFIC, IMPACT_AFFECTED, IMPACT_OBSERVED, IMPACT_JOURNEYS, IMPACT_OWNERS };
static const cel_field IMPACT_FIELDS[] = {
    [IMPACT_TRAFFIC] = {"entry_traffic", &type_traffic},
    [IMPACT_AFFECTED] = {"affected", &type_affected_list},
    [IMPACT_OBSERVED] = {"observed_requests", &cel_type_double},
    [IMPACT_JOURNEYS] = {"journeys", &type_texts},
    [IMPACT_OWNERS] = {"owners", &type_texts},
};
static cel_value impact_field(frame *self, uint32_t index) {
    const policy_impact_facts *impact = &self->facts->impact;
    switch (index) {
    case IMPACT_TRAFFIC:
        return impact->known ? cel_object_of(&self->traffic) : cel_unknown("impact.entry_traffic");
    case IMPACT_AFFECTED:
        return impact->known && !impact->affected_incomplete ? cel_list_of(&self->affected)
                                                             : cel_unknown("impact.affected");
    case IMPACT_OBSERVED:
        return impact->known ? cel_double(impact->observed_requests)
                             : cel_unknown("impact.observed_requests");
    case IMPACT_JOURNEYS:
        return texts_value(self, &impact->journeys, "impact.journeys");
    default:
        return texts_value(self, &impact->owners, "impact.owners");
    }
}
static bool impact_get(const void *host, uint32_t index, cel_value *value) {
    *value = impact_field((frame *)(uintptr_t)host, index);
    return true;
}
static const cel_object_type type_impact_object = {"Impact", IMPACT_FIELDS, COUNT(IMPACT_FIELDS), impact_get};
OBJECT_TYPE(type_impact, "Impact");

/* ---- schema, grant, history ---- */

static const cel_field SCHEMA_FIELDS[] = {
    {"destructive", &cel_type_bool}, {"breaking", &cel_type_bool}, {"statements", &type_texts}};
static bool schema_get(const void *host, uint32_t index, cel_value *value) {
    frame *self = (frame *)(uintptr_t)host;
    const policy_schema_facts *schema = &self->facts->schema;
    if (index == 2)
        *value = texts_value(self, &schema->statements, "schema.statements");
    else if (!schema->known)
        *value = cel_unknown(index == 0 ? "schema.destructive" : "schema.breaking");
    else
        *value = cel_bool(index == 0 ? schema->destructive : schema->breaking);
    return true;
}
static const cel_object_type type_schema_object = {"Schema", SCHEMA_FIELDS, COUNT(SCHEMA_FIELDS), schema_get};
OBJECT_TYPE(type_schema, "Schema");

static const cel_field GRANT_FIELDS[] = {
    {"held", &cel_type_bool}, {"expires_at", &cel_type_timestamp}, {"uses_left", &cel_type_int}};
/* The last two are there with a grant alone: has() tells. */
static bool grant_get(const void *host, uint32_t index, cel_value *value) {
    static const char *const facts[] = {"grant.held", "grant.expires_at", "grant.uses_left"};
    const policy_grant_facts *grant = &((const frame *)host)->facts->grant;
    if (!grant->known) {
        *value = cel_unknown(facts[index]);
        return true;
    }
    *value = index == 0   ? cel_bool(grant->held)
             : index == 1 ? time_value(grant->expires_at_ms)
                          : cel_int(grant->uses_left);
    return index == 0 || grant->held;
}
static const cel_object_type type_grant_object = {"Grant", GRANT_FIELDS, COUNT(GRANT_FIELDS), grant_get};
OBJECT_TYPE(type_grant, "Grant");

enum { HISTORY_ACTIONS, HISTORY_SUCCEEDED, HISTORY_FAILED, HISTORY_REVERTED, HISTORY_LAST_INCIDENT };
static const cel_field HISTORY_FIELDS[] = {
    [HISTORY_ACTIONS] = {"actions", &cel_type_int},
    [HISTORY_SUCCEEDED] = {"succeeded", &cel_type_int},
    [HISTORY_FAILED] = {"failed", &cel_type_int},
    [HISTORY_REVERTED] = {"reverted", &cel_type_int},
    [HISTORY_LAST_INCIDENT] = {"last_incident", &cel_type_timestamp},
};
/* Without an incident there is no last one: has() tells. */
static bool history_get(const void *host, uint32_t index, cel_value *value) {
    static const char *const facts[] = {"history.actions", "history.succeeded", "history.failed",
                                        "history.reverted", "history.last_incident"};
    const policy_history_facts *history = &((const frame *)host)->facts->history;
    if (!history->known) {
        *value = cel_unknown(facts[index]);
        return true;
    }
    const uint32_t counts[] = {history->actions, history->succeeded, history->failed, history->reverted};
    *value = index == HISTORY_LAST_INCIDENT ? time_value(history->last_incident_ms) : cel_int(counts[index]);
    return index != HISTORY_LAST_INCIDENT || history->last_incident_ms != 0;
}
static const cel_object_type type_history_object = {"History", HISTORY_FIELDS, COUNT(HISTORY_FIELDS),
                                                    history_get};
OBJECT_TYPE(type_history, "History");

/* ---- zones ---- */

/* Names of zones, each once. */
typedef struct zone_names {
    const char **items;
    size_t count;
} zone_names;

static void zone_add(zone_names *names, const char *zone) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], zone) == 0)
            return;
    names->items[names->count++] = zone;
}

static bool zone_room(frame *self, zone_names *names, size_t count) {
    names->items = arena_alloc(self->memory, (count + 1) * sizeof *names->items);
    names->count = 0;
    return names->items != NULL;
}

/* False with the fact that is absent in *absent. */
static bool zones_of_targets(frame *self, zone_names *names, cel_value *absent) {
    const policy_facts *facts = self->facts;
    *absent = cel_unknown("zones.targets");
    if (!zone_room(self, names, facts->target_count))
        return false;
    for (size_t i = 0; i < facts->target_count; i++) {
        const char *zone = zone_of(self->set, facts->targets[i].name, facts->targets[i].zone);
        if (zone == NULL) {
            *absent = unknown_of(self, "zone", facts->targets[i].name);
            return false;
        }
        zone_add(names, zone);
    }
    return true;
}

static bool zones_of_affected(frame *self, zone_names *names, cel_value *absent) {
    const policy_impact_facts *impact = &self->facts->impact;
    *absent = cel_unknown("zones.affected");
    if (!impact->known || impact->affected_incomplete || !zone_room(self, names, impact->affected_count))
        return false;
    for (size_t i = 0; i < impact->affected_count; i++) {
        if (!(impact->affected[i].probability > HIT_PROBABILITY))
            continue;
        const char *zone = zone_of(self->set, impact->affected[i].name, NULL);
        if (zone == NULL) {
            *absent = unknown_of(self, "zone", impact->affected[i].name);
            return false;
        }
        zone_add(names, zone);
    }
    return true;
}

/* A zone that `from` may reach without approval: itself, and what its document says. */
static bool zone_reaches(const policy_set *set, const char *from, const char *to) {
    if (strcmp(from, to) == 0)
        return true;
    for (size_t i = 0; set != NULL && i < set->zone_count; i++)
        if (strcmp(set->zones[i].name, from) == 0)
            return policy_patterns_match(&set->zones[i].reaches, to);
    return false;
}

/* Zones that would be hit and that not every target's zone may reach. */
static bool zones_crossed(frame *self, zone_names *names, cel_value *absent) {
    zone_names from, hit;
    if (!zones_of_targets(self, &from, absent) || !zones_of_affected(self, &hit, absent) ||
        !zone_room(self, names, hit.count))
        return false;
    for (size_t i = 0; i < hit.count; i++)
        for (size_t j = 0; j < from.count; j++)
            if (!zone_reaches(self->set, from.items[j], hit.items[i]))
                zone_add(names, hit.items[i]);
    return true;
}

static const cel_field ZONES_FIELDS[] = {
    {"targets", &type_texts}, {"affected", &type_texts}, {"crossed", &type_texts}};
static bool zones_get(const void *host, uint32_t index, cel_value *value) {
    frame *self = (frame *)(uintptr_t)host;
    zone_names names = {0};
    cel_value absent;
    bool known = index == 0   ? zones_of_targets(self, &names, &absent)
                 : index == 1 ? zones_of_affected(self, &names, &absent)
                              : zones_crossed(self, &names, &absent);
    *value = known ? list_value(self, names.items, names.count, "zones") : absent;
    return true;
}
static const cel_object_type type_zones_object = {"Zones", ZONES_FIELDS, COUNT(ZONES_FIELDS), zones_get};
OBJECT_TYPE(type_zones, "Zones");

/* ---- the whole ---- */

cel_environment *environment_new(failure *why) {
    static const cel_type *const types[SLOT_COUNT] = {
        &type_action, &type_agent, &type_targets, &type_impact,     &type_schema,
        &type_zones,  &type_grant, &type_history, &cel_type_string, &cel_type_timestamp};
    cel_environment *made = cel_environment_new("");
    if (made == NULL)
        (void)fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE", "no memory for the policies");
    for (size_t i = 0; made != NULL && i < SLOT_COUNT; i++)
        if (cel_environment_variable(made, environment_roots[i], types[i], NULL, why) != STATUS_OK) {
            cel_environment_free(made);
            return NULL;
        }
    return made;
}

static void frame_objects(frame *self) {
    self->action = (cel_object){&type_action_object, self};
    self->reach = (cel_object){&type_reach_object, self};
    self->reversal = (cel_object){&type_reversal_object, self};
    self->change = (cel_object){&type_change_object, self};
    self->agent = (cel_object){&type_agent_object, self};
    self->model = (cel_object){&type_model_object, self};
    self->impact = (cel_object){&type_impact_object, self};
    self->traffic = (cel_object){&type_traffic_object, self};
    self->schema = (cel_object){&type_schema_object, self};
    self->zones = (cel_object){&type_zones_object, self};
    self->grant = (cel_object){&type_grant_object, self};
    self->history = (cel_object){&type_history_object, self};
    self->targets = (cel_list){.count = (uint32_t)self->facts->target_count, .at = target_at, .host = self};
    self->affected =
        (cel_list){.count = (uint32_t)self->facts->impact.affected_count, .at = affected_at, .host = self};
}

void frame_init(frame *self, const policy_set *set, const policy_facts *facts, arena *memory) {
    self->facts = facts;
    self->set = set;
    self->memory = memory;
    self->target_objects = NULL;
    self->target_hosts = NULL;
    self->stage =
        set == NULL ? POLICY_STAGE_ADVISORY : policies_stage(set, facts->targets, facts->target_count);
    frame_objects(self);
    self->values[SLOT_ACTION] = cel_object_of(&self->action);
    self->values[SLOT_AGENT] = cel_object_of(&self->agent);
    self->values[SLOT_TARGETS] = cel_list_of(&self->targets);
    self->values[SLOT_IMPACT] = cel_object_of(&self->impact);
    self->values[SLOT_SCHEMA] = cel_object_of(&self->schema);
    self->values[SLOT_ZONES] = cel_object_of(&self->zones);
    self->values[SLOT_GRANT] = cel_object_of(&self->grant);
    self->values[SLOT_HISTORY] = cel_object_of(&self->history);
    self->values[SLOT_STAGE] =
        text_value(facts->stage != NULL ? facts->stage : policy_stage_name(self->stage));
    self->values[SLOT_NOW] = time_value(facts->now_ms);
}
