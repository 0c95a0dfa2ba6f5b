/* See grammar.h. docs/policy.schema.json says the same to editors and other tools; tests hold the two against
 * each other.
 */
#include "grammar.h"

#include <stdio.h>
#include <string.h>

#define LIMIT_WINDOW_MOST_S (31U * 86400U) /* the log counts no longer */

/* ---- metadata ---- */

static void read_version(reader *self, const yaml_item *node, void *target) {
    (void)read_whole(self, node, 1, 999999999999999999U, target);
}

typedef struct metadata {
    const char *name, *description;
    uint64_t version;
} metadata;

static void read_metadata(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"name", offsetof(metadata, name), true, read_name},
                                     {"description", offsetof(metadata, description), false, read_line}};
    read_mapping(self, node, members, 2, target);
}

static void read_set_metadata(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"name", offsetof(metadata, name), true, read_name},
                                     {"version", offsetof(metadata, version), true, read_version},
                                     {"description", offsetof(metadata, description), false, read_line}};
    read_mapping(self, node, members, 3, target);
}

static void read_anything(reader *self, const yaml_item *node, void *target) {
    (void)self;
    (void)node;
    (void)target;
}

/* ---- spec.match ---- */

static void read_tier(reader *self, const yaml_item *node, void *target) {
    uint64_t tier = 0;
    if (read_whole(self, node, 1, 32, &tier))
        *(uint32_t *)target = (uint32_t)tier;
}

static void read_tiers(reader *self, const yaml_item *node, void *target) {
    size_t count = 0;
    const uint32_t *tiers = read_list(self, node, 1, 32, sizeof *tiers, read_tier, &count);
    for (size_t i = 0; tiers != NULL && i < count; i++)
        if (tiers[i] != 0)
            *(uint32_t *)target |= 1U << (tiers[i] - 1);
}

static void read_labels(reader *self, const yaml_item *node, void *target) {
    policy_selector *selector = target;
    if (node->kind != YAML_MAP || node->count == 0 || node->count > POLICIES_PATTERNS) {
        refuse(self, node, "must be a mapping of 1 to 64 labels to patterns");
        return;
    }
    policy_pair *labels = arena_zero(self->memory, node->count, sizeof *labels);
    self->out_of_memory = self->out_of_memory || labels == NULL;
    size_t count = 0;
    for (const yaml_item *entry = node->first; entry != NULL && labels != NULL; entry = entry->next) {
        size_t before = path_enter(self, entry->key->text, 0);
        policy_pair *label = &labels[count];
        label->value = "";
        read_text(self, entry->key, &label->name);
        read_text(self, entry, &label->value);
        count += label->name != NULL ? 1 : 0;
        path_leave(self, before);
    }
    selector->labels = labels;
    selector->label_count = count;
}

static void read_node_pattern(reader *self, const yaml_item *node, void *target) {
    const char *text = NULL;
    read_text(self, node, &text);
    const char *problem = text == NULL ? NULL : node_pattern_problem(text);
    if (problem != NULL)
        refuse(self, node, problem);
    else if (text != NULL)
        *(const char **)target = text;
}

static void read_selector(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {
        {"name", offsetof(policy_selector, name), false, read_node_pattern},
        {"kinds", offsetof(policy_selector, kinds), false, read_patterns},
        {"environments", offsetof(policy_selector, environments), false, read_patterns},
        {"namespaces", offsetof(policy_selector, namespaces), false, read_patterns},
        {"zones", offsetof(policy_selector, zones), false, read_patterns},
        {"owners", offsetof(policy_selector, owners), false, read_patterns},
        {"tiers", offsetof(policy_selector, tiers), false, read_tiers},
        {"labels", 0, false, read_labels}};
    policy_selector *selector = target;
    selector->name = "*";
    if (node->kind == YAML_SCALAR)
        read_node_pattern(self, node, &selector->name);
    else if (node->kind == YAML_MAP && node->count == 0)
        refuse(self, node, "must select by something: name, kinds, zones, …; \"*\" selects everything");
    else
        read_mapping(self, node, members, sizeof members / sizeof *members, target);
}

static void read_selectors(reader *self, const yaml_item *node, void *target) {
    policy_rule *rule = target;
    rule->targets = read_list(self, node, 1, POLICIES_PATTERNS, sizeof(policy_selector), read_selector,
                              &rule->target_count);
}

/* ---- windows ---- */

typedef struct window_text {
    uint8_t days;
    const char *zone;
    const yaml_item *zone_node;
    uint16_t from, to;
    bool from_stated, to_stated;
} window_text;

static void read_day(reader *self, const yaml_item *node, void *target) {
    static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    int day = read_word(self, node, days, 7);
    if (day >= 0)
        *(uint8_t *)target = (uint8_t)(1U << day);
}

static void read_days(reader *self, const yaml_item *node, void *target) {
    size_t count = 0;
    const uint8_t *days = read_list(self, node, 1, 7, 1, read_day, &count);
    for (size_t i = 0; days != NULL && i < count; i++)
        ((window_text *)target)->days |= days[i];
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool parse_time(const char *text, uint16_t *out) {
    if (strlen(text) != 5 || !is_digit(text[0]) || !is_digit(text[1]) || text[2] != ':' ||
        !is_digit(text[3]) || !is_digit(text[4]))
        return false;
    unsigned hour = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
    unsigned minute = (unsigned)(text[3] - '0') * 10 + (unsigned)(text[4] - '0');
    *out = (uint16_t)(hour * 60 + minute);
    return minute < 60 && (hour < 24 || (hour == 24 && minute == 0));
}

static bool read_time(reader *self, const yaml_item *node, uint16_t *out) {
    bool good = node->kind == YAML_SCALAR && parse_time(node->text, out);
    if (!good)
        refuse(self, node, "must be a time of day in quotes, e.g. \"09:00\"");
    return good;
}

static void read_from(reader *self, const yaml_item *node, void *target) {
    window_text *window = target;
    window->from_stated = read_time(self, node, &window->from);
    if (window->from_stated && window->from == 24 * 60)
        refuse(self, node, "must be before 24:00");
}

static void read_to(reader *self, const yaml_item *node, void *target) {
    window_text *window = target;
    window->to_stated = read_time(self, node, &window->to);
}

static void read_time_zone(reader *self, const yaml_item *node, void *target) {
    window_text *window = target;
    window->zone_node = node;
    read_text(self, node, &window->zone);
}

/* The zone's name goes into an expression: it must not end its quotes. */
static bool zone_plain(const char *zone) {
    if (strlen(zone) > 64)
        return false;
    for (const char *c = zone; *c != '\0'; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || is_digit(*c) ||
              strchr("/_+-:", *c) != NULL))
            return false;
    return true;
}

/* Whether the zone exists shows when its minute is computed. */
static bool zone_exists(const cel_program *program) {
    cel_value now = cel_timestamp(1700000000, 0);
    cel_value values[SLOT_COUNT];
    for (size_t i = 0; i < SLOT_COUNT; i++)
        values[i] = i == SLOT_NOW ? now : cel_null();
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    cel_run run = {.values = values, .count = SLOT_COUNT, .memory = &memory};
    cel_value result;
    bool exists = cel_evaluate(program, &run, &result, NULL) == STATUS_OK && result.kind == CEL_INT;
    arena_free(&memory);
    return exists;
}

static void compile_window(reader *self, const yaml_item *node, const window_text *text, policy_window *out) {
    const char *zone = text->zone == NULL ? "UTC" : text->zone;
    char expression[512];
    failure why = {0};
    (void)snprintf(expression, sizeof expression,
                   "now.getDayOfWeek('%s') * 1440 + now.getHours('%s') * 60 + now.getMinutes('%s')", zone,
                   zone, zone);
    bool good = zone_plain(zone) && set_compile(self->set, bytes_of_text(expression), &cel_type_int,
                                                &out->minute, &why) == STATUS_OK;
    if (!good || !zone_exists(out->minute))
        refuse(
            self, text->zone_node == NULL ? node : text->zone_node,
            "has an unknown time zone; name one of the IANA database, e.g. Europe/Berlin, or an offset, e.g. "
            "\"+01:00\"");
}

static void read_window(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"days", 0, false, read_days},
                                     {"from", 0, false, read_from},
                                     {"to", 0, false, read_to},
                                     {"time_zone", 0, false, read_time_zone}};
    if (node->kind == YAML_MAP && node->count == 0) {
        refuse(self, node, "must state days, from or to");
        return;
    }
    window_text text = {0};
    policy_window *window = target;
    read_mapping(self, node, members, 4, &text);
    window->days = text.days == 0 ? 0x7f : text.days;
    window->from = text.from;
    window->to = text.to_stated ? text.to : 24 * 60;
    if (window->from == window->to)
        refuse(self, node, "is empty: it ends when it begins");
    compile_window(self, node, &text, window);
}

static void read_windows(reader *self, const yaml_item *node, void *target) {
    policy_rule *rule = target;
    rule->windows =
        read_list(self, node, 1, POLICIES_PATTERNS, sizeof(policy_window), read_window, &rule->window_count);
}

static void read_match(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"verbs", offsetof(policy_rule, verbs), true, read_verbs},
                                     {"targets", 0, true, read_selectors},
                                     {"agents", offsetof(policy_rule, agents), false, read_agents},
                                     {"models", offsetof(policy_rule, models), false, read_patterns},
                                     {"windows", 0, false, read_windows}};
    read_mapping(self, node, members, sizeof members / sizeof *members, target);
}

/* ---- the rest of a policy ---- */

static void read_condition(reader *self, const yaml_item *node, void *target) {
    policy_rule *rule = target;
    failure why = {0};
    const char *text = read_scalar(self, node, POLICIES_CONDITION_BYTES);
    if (text == NULL)
        return;
    rule->condition = text;
    rule->condition_line = node->line;
    rule->condition_column = node->column;
    if (set_compile(self->set, bytes_of(text, node->size), &cel_type_bool, &rule->program, &why) != STATUS_OK)
        refuse_expression(self, node, 0, &why);
}

static void read_message(reader *self, const yaml_item *node, void *target) {
    policy_rule *rule = target;
    failure why = {0};
    uint32_t column = 0;
    const char *text = NULL;
    read_line(self, node, &text);
    if (text == NULL)
        return;
    rule->message = text;
    if (message_compile(self->set, text, &rule->parts, &column, &why) != STATUS_OK)
        refuse_expression(self, node, column, &why);
}

static void read_effect(reader *self, const yaml_item *node, void *target) {
    static const char *const words[] = {"permit", "forbid", "review", "narrow", "defer", "warn"};
    int word = read_word(self, node, words, 6);
    if (word >= 0)
        ((policy_rule *)target)->effect = (policy_effect)word;
}

static void read_severity(reader *self, const yaml_item *node, void *target) {
    static const char *const words[] = {"info", "low", "medium", "high", "critical"};
    int word = read_word(self, node, words, 5);
    if (word >= 0)
        ((policy_rule *)target)->severity = (policy_severity)word;
}

static void read_share(reader *self, const yaml_item *node, void *target) {
    policy_bound *bound = target;
    bound->stated = read_decimal(self, node, 0, 1, &bound->most);
}

static void read_percent(reader *self, const yaml_item *node, void *target) {
    policy_bound *bound = target;
    if (!read_decimal(self, node, 0, 100, &bound->most))
        return;
    bound->stated = bound->most > 0;
    if (!bound->stated)
        refuse(self, node, "must be above 0; forbid what may not happen at all");
}

static void read_count_from(reader *self, const yaml_item *node, uint64_t least, policy_bound *bound) {
    uint64_t value = 0;
    bound->stated = read_whole(self, node, least, 1000000, &value);
    bound->most = (double)value;
}

static void read_count(reader *self, const yaml_item *node, void *target) {
    read_count_from(self, node, 0, target);
}

static void read_replicas(reader *self, const yaml_item *node, void *target) {
    read_count_from(self, node, 1, target);
}

static void read_bounds(reader *self, const yaml_item *node, void *target) {
#define BOUND(kind) offsetof(policy_bounds, of[POLICY_BOUND_##kind])
    static const member members[] = {{"entry_traffic", BOUND(ENTRY_TRAFFIC), false, read_share},
                                     {"targets", BOUND(TARGETS), false, read_count},
                                     {"affected", BOUND(AFFECTED), false, read_count},
                                     {"percent", BOUND(PERCENT), false, read_percent},
                                     {"replicas", BOUND(REPLICAS), false, read_replicas}};
#undef BOUND
    if (node->kind == YAML_MAP && node->count == 0)
        refuse(self, node, "must bound something: entry_traffic, targets, affected, percent or replicas");
    else
        read_mapping(self, node, members, POLICY_BOUND_COUNT, target);
}

static void check_policy(reader *self, const yaml_item *node, const policy_rule *rule) {
    const yaml_item *bounds = yaml_member(node, "bounds");
    const yaml_item *quorum = yaml_member(node, "quorum");
    bool bounded = rule->effect == POLICY_EFFECT_PERMIT || rule->effect == POLICY_EFFECT_REVIEW ||
                   rule->effect == POLICY_EFFECT_NARROW;
    if (yaml_member(node, "effect") == NULL)
        return;
    if (bounds != NULL && !bounded)
        refuse(self, bounds->key, "of bounds goes with permit, review and narrow alone");
    if (bounds == NULL && rule->effect == POLICY_EFFECT_NARROW)
        refuse(self, node, "narrows, and so needs bounds");
    if (quorum != NULL && rule->effect != POLICY_EFFECT_REVIEW)
        refuse(self, quorum->key, "of a quorum goes with review alone");
    if (quorum == NULL && rule->effect == POLICY_EFFECT_REVIEW)
        refuse(self, node, "needs a quorum: the name of a Quorum document");
}

static void read_policy_spec(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"match", 0, true, read_match},
                                     {"when", 0, false, read_condition},
                                     {"effect", 0, true, read_effect},
                                     {"quorum", offsetof(policy_rule, quorum), false, read_name},
                                     {"bounds", offsetof(policy_rule, bounds), false, read_bounds},
                                     {"message", 0, false, read_message},
                                     {"severity", 0, false, read_severity}};
    read_mapping(self, node, members, sizeof members / sizeof *members, target);
    if (node->kind == YAML_MAP)
        check_policy(self, node, target);
}

/* ---- the other kinds ---- */

static void read_stage_word(reader *self, const yaml_item *node, void *target) {
    static const char *const words[] = {"advisory", "constrained", "green-path"};
    int word = read_word(self, node, words, 3);
    if (word >= 0)
        *(policy_stage *)target = (policy_stage)word;
}

static void read_stage_spec(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"targets", offsetof(policy_stage_rule, targets), true, read_node_names},
                                     {"stage", offsetof(policy_stage_rule, stage), true, read_stage_word}};
    read_mapping(self, node, members, 2, target);
}

static void read_zone_spec(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"targets", offsetof(policy_zone, targets), true, read_node_names},
                                     {"reaches", offsetof(policy_zone, reaches), false, read_patterns}};
    read_mapping(self, node, members, 2, target);
}

static void read_number(reader *self, const yaml_item *node, uint64_t least, uint64_t most,
                        uint32_t *target) {
    uint64_t value = 0;
    if (read_whole(self, node, least, most, &value))
        *target = (uint32_t)value;
}

static void read_voters(reader *self, const yaml_item *node, void *target) {
    read_number(self, node, 0, 64, target);
}

static void read_at_least(reader *self, const yaml_item *node, void *target) {
    read_number(self, node, 1, 64, target);
}

static void read_group(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {
        {"name", offsetof(policy_quorum_group, name), true, read_name},
        {"members", offsetof(policy_quorum_group, members), true, read_principals},
        {"at_least", offsetof(policy_quorum_group, at_least), true, read_at_least}};
    read_mapping(self, node, members, 3, target);
}

static void read_groups(reader *self, const yaml_item *node, void *target) {
    policy_quorum *quorum = target;
    quorum->groups = read_list(self, node, 1, POLICIES_PATTERNS, sizeof(policy_quorum_group), read_group,
                               &quorum->group_count);
}

static void read_quorum_spec(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {
        {"groups", 0, true, read_groups},
        {"humans", offsetof(policy_quorum, humans), false, read_voters},
        {"model_families", offsetof(policy_quorum, model_families), false, read_voters},
        {"expires", offsetof(policy_quorum, expires_s), false, read_duration},
        {"veto", offsetof(policy_quorum, veto), false, read_principals}};
    ((policy_quorum *)target)->expires_s = 1800;
    read_mapping(self, node, members, sizeof members / sizeof *members, target);
}

static void read_limit_match(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {{"verbs", offsetof(policy_rate_limit, verbs), true, read_verbs},
                                     {"targets", offsetof(policy_rate_limit, targets), true, read_node_names},
                                     {"agents", offsetof(policy_rate_limit, agents), false, read_agents}};
    read_mapping(self, node, members, 3, target);
}

static void read_per_word(reader *self, const yaml_item *node, void *target) {
    static const char *const words[] = {"target", "verb", "agent"};
    *(int *)target = 1 + read_word(self, node, words, 3);
}

static void read_per(reader *self, const yaml_item *node, void *target) {
    policy_rate_limit *limit = target;
    size_t count = 0;
    const int *words = read_list(self, node, 0, 3, sizeof *words, read_per_word, &count);
    for (size_t i = 0; words != NULL && i < count; i++) {
        bool *per = words[i] == 1   ? &limit->per_target
                    : words[i] == 2 ? &limit->per_verb
                    : words[i] == 3 ? &limit->per_agent
                                    : NULL;
        if (per != NULL && *per)
            refuse(self, node, "names something twice");
        if (per != NULL)
            *per = true;
    }
}

static void read_most(reader *self, const yaml_item *node, void *target) {
    read_number(self, node, 1, 1000000, target);
}

static void read_limit_window(reader *self, const yaml_item *node, void *target) {
    uint64_t *seconds = target;
    read_duration(self, node, seconds);
    if (*seconds > LIMIT_WINDOW_MOST_S)
        refuse(self, node, "must be 31d at most");
}

static void read_limit_spec(reader *self, const yaml_item *node, void *target) {
    static const member members[] = {
        {"match", 0, true, read_limit_match},
        {"per", 0, true, read_per},
        {"most", offsetof(policy_rate_limit, most), true, read_most},
        {"window", offsetof(policy_rate_limit, window_s), true, read_limit_window}};
    read_mapping(self, node, members, 4, target);
}

/* ---- documents ---- */

static void *collect(grammar *self, collection *into, size_t most) {
    if (into->count == most) {
        problem_add(&self->reader, POLICY_ERROR, "POLICY_TOO_LARGE", 0, 0,
                    "more than %zu documents of one kind", most);
        return NULL;
    }
    if (into->count == into->room) {
        size_t room = into->room == 0 ? 16 : 2 * into->room;
        char *items = arena_zero(self->reader.memory, room, into->size);
        if (items == NULL) {
            self->reader.out_of_memory = true;
            return NULL;
        }
        if (into->count > 0)
            memcpy(items, into->items, into->count * into->size);
        into->items = items;
        into->room = room;
    }
    char *item = (char *)into->items + into->count++ * into->size;
    memset(item, 0, into->size);
    return item;
}

/* Which name a document has is told with its problems, so it is looked up before anything else. */
static const char *name_of(grammar *self, const yaml_item *root) {
    const yaml_item *name = yaml_member(yaml_member(root, "metadata"), "name");
    if (name == NULL || name->kind != YAML_SCALAR || name->size > POLICIES_NAME_BYTES)
        return "";
    const char *copy = arena_text(self->reader.memory, name->text);
    return copy == NULL ? "" : copy;
}

static void read_document(grammar *self, const yaml_item *root, value_reader read_spec, void *item,
                          metadata *about) {
    const member members[] = {{"apiVersion", 0, true, read_anything},
                              {"kind", 0, true, read_anything},
                              {"metadata", 0, true, read_anything},
                              {"spec", 0, true, read_anything}};
    reader *in = &self->reader;
    read_mapping(in, root, members, 4, about);
    const yaml_item *stated = yaml_member(root, "metadata");
    const yaml_item *spec = yaml_member(root, "spec");
    about->name = about->description = "";
    size_t before = path_enter(in, "metadata", 0);
    if (stated != NULL)
        read_metadata(in, stated, about);
    path_leave(in, before);
    before = path_enter(in, "spec", 0);
    if (spec != NULL)
        read_spec(in, spec, item);
    path_leave(in, before);
}

static void read_set(grammar *self, const yaml_item *root) {
    const member members[] = {{"apiVersion", 0, true, read_anything},
                              {"kind", 0, true, read_anything},
                              {"metadata", 0, true, read_set_metadata}};
    policy_set *set = &self->reader.set->set;
    metadata about = {.name = "", .description = ""};
    if (self->set_seen)
        refuse(&self->reader, root, "is a second PolicySet; a set has one");
    self->set_seen = true;
    read_mapping(&self->reader, root, members, 3, &about);
    set->name = about.name;
    set->version = about.version;
    set->description = about.description;
    set->file = self->reader.file;
}

static void read_policy(grammar *self, const yaml_item *root) {
    policy_rule *rule = collect(self, &self->rules, POLICIES_RULES);
    metadata about = {0};
    if (rule == NULL)
        return;
    *rule = (policy_rule){.file = self->reader.file,
                          .line = root->line,
                          .severity = POLICY_SEVERITY_MEDIUM,
                          .quorum = "",
                          .message = "",
                          .condition = ""};
    read_document(self, root, read_policy_spec, rule, &about);
    rule->name = about.name;
    rule->description = about.description;
}

/* Every other kind begins with its name, its file and its line. */
typedef struct named {
    const char *name, *file;
    uint32_t line;
} named;

static void read_other(grammar *self, const yaml_item *root, collection *into, value_reader read_spec) {
    metadata about = {0};
    named *item = collect(self, into, POLICIES_OTHERS);
    if (item == NULL)
        return;
    item->file = self->reader.file;
    item->line = root->line;
    read_document(self, root, read_spec, item, &about);
    item->name = about.name;
}

static bool check_version(grammar *self, const yaml_item *root) {
    const yaml_item *version = yaml_member(root, "apiVersion");
    if (version == NULL || version->kind != YAML_SCALAR || strcmp(version->text, "interlock/v1") != 0) {
        refuse(&self->reader, version == NULL ? root : version,
               version == NULL ? "lacks the key \"apiVersion\"" : "apiVersion must be interlock/v1");
        return false;
    }
    return true;
}

void grammar_read(grammar *self, const yaml_item *root) {
    static const char *const kinds[] = {"PolicySet", "Policy", "Stage", "Quorum", "RateLimit", "Zone"};
    if (root->kind != YAML_MAP) {
        refuse(&self->reader, root,
               "a policy document is a mapping with apiVersion, kind, metadata and spec");
        return;
    }
    const yaml_item *kind = yaml_member(root, "kind");
    self->reader.rule = name_of(self, root);
    if (!check_version(self, root))
        return;
    if (kind == NULL) {
        refuse(&self->reader, root, "lacks the key \"kind\"");
        return;
    }
    size_t before = path_enter(&self->reader, "kind", 0);
    int word = read_word(&self->reader, kind, kinds, 6);
    path_leave(&self->reader, before);
    if (word == 0)
        read_set(self, root);
    else if (word == 1)
        read_policy(self, root);
    else if (word == 2)
        read_other(self, root, &self->stages, read_stage_spec);
    else if (word == 3)
        read_other(self, root, &self->quorums, read_quorum_spec);
    else if (word == 4)
        read_other(self, root, &self->rate_limits, read_limit_spec);
    else if (word == 5)
        read_other(self, root, &self->zones, read_zone_spec);
    self->reader.rule = "";
}
