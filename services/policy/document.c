/* The policy file's grammar, as tables of members with a reader each. libyaml's tree of nodes keeps the place
 * of every value, so that each complaint can name it; a pass over the events comes first and refuses what
 * would make the tree large, cyclic or ambiguous. */
#include "document.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/limits.h"
#include "crypto/crypto.h"
#include "pattern.h"

#define DOCUMENT_DEPTH 16
#define DOCUMENT_EVENTS 40000
#define DOCUMENT_ARENA_BYTES (4U << 20)

typedef struct owned_document {
    policy_document document; /* first: what is handed out */
    atomic_uint references;
    arena memory;
} owned_document;

typedef struct reader {
    yaml_document_t tree;
    arena *memory;
    char path[96];
    failure *why;
} reader;

/* Reads the value at `node` into `target`. */
typedef status_code (*value_reader)(reader *self, yaml_node_t *node, void *target);

typedef struct member {
    const char *name;
    size_t offset;
    bool required;
    value_reader read;
} member;

/* ---- complaints ---- */

static status_code refuse(reader *self, yaml_mark_t mark, const char *what) {
    return fail_field(self->why, self->path, "POLICY_INVALID", "policy:%zu:%zu: %s%s%.300s", mark.line + 1,
                      mark.column + 1, self->path, self->path[0] == '\0' ? "" : " ", what);
}

static status_code out_of_memory(reader *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE",
                "the policy needs more than %u bytes of memory; split or shorten it", DOCUMENT_ARENA_BYTES);
}

/* Appends to the path and returns where it was cut, to be given back to path_leave. */
static size_t path_enter(reader *self, const char *name, size_t index) {
    size_t before = strlen(self->path);
    char part[64];
    if (name != NULL)
        (void)snprintf(part, sizeof part, "%s%.60s", before == 0 ? "" : ".", name);
    else
        (void)snprintf(part, sizeof part, "[%zu]", index);
    (void)snprintf(self->path + before, sizeof self->path - before, "%s", part);
    return before;
}

static void path_leave(reader *self, size_t before) {
    self->path[before] = '\0';
}

/* ---- scalars ---- */

static const char *scalar_of(const yaml_node_t *node) {
    if (node->type != YAML_SCALAR_NODE ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return NULL;
    return (const char *)node->data.scalar.value;
}

static status_code read_text(reader *self, yaml_node_t *node, char **out, size_t most) {
    const char *text = scalar_of(node);
    if (text == NULL)
        return refuse(self, node->start_mark, "must be text");
    size_t size = strlen(text);
    if (size == 0 || size > most) {
        char rule[64];
        (void)snprintf(rule, sizeof rule, "must have 1 to %zu bytes", most);
        return refuse(self, node->start_mark, rule);
    }
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return refuse(self, node->start_mark, "must be one line without control characters");
    *out = arena_text(self->memory, text);
    return *out == NULL ? out_of_memory(self) : STATUS_OK;
}

static status_code read_name(reader *self, yaml_node_t *node, void *target) {
    return read_text(self, node, target, DOCUMENT_NAME_BYTES);
}

static status_code read_message(reader *self, yaml_node_t *node, void *target) {
    return read_text(self, node, target, DOCUMENT_MESSAGE_BYTES);
}

static status_code read_exactly(reader *self, yaml_node_t *node, const char *expected) {
    const char *text = scalar_of(node);
    if (text != NULL && strcmp(text, expected) == 0)
        return STATUS_OK;
    char rule[64];
    (void)snprintf(rule, sizeof rule, "must be %s", expected);
    return refuse(self, node->start_mark, rule);
}

static status_code read_api_version(reader *self, yaml_node_t *node, void *target) {
    (void)target;
    return read_exactly(self, node, "interlock/v1");
}

static status_code read_kind(reader *self, yaml_node_t *node, void *target) {
    (void)target;
    return read_exactly(self, node, "PolicySet");
}

static status_code read_version(reader *self, yaml_node_t *node, void *target) {
    const char *text = scalar_of(node);
    uint64_t value = 0;
    bool good = text != NULL && text[0] >= '1' && text[0] <= '9' && strlen(text) <= 18;
    for (size_t i = 0; good && text[i] != '\0'; i++) {
        good = text[i] >= '0' && text[i] <= '9';
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (!good)
        return refuse(self, node->start_mark, "must be a whole number from 1 on");
    *(uint64_t *)target = value;
    return STATUS_OK;
}

/* A plain decimal: no sign, no exponent, no infinity, so that nothing reads as another number than it looks.
 */
static status_code read_share(reader *self, yaml_node_t *node, double *out) {
    const char *text = scalar_of(node);
    bool good = text != NULL && text[0] >= '0' && text[0] <= '9' && strlen(text) <= 20;
    unsigned points = 0;
    for (size_t i = 0; good && text[i] != '\0'; i++) {
        if (text[i] == '.')
            points++;
        else
            good = text[i] >= '0' && text[i] <= '9';
    }
    double value = good && points <= 1 ? strtod(text, NULL) : -1;
    if (!(value >= 0 && value <= 1))
        return refuse(self, node->start_mark,
                      "must be a share: a decimal number from 0 to 1, e.g. 0.05 for 5 %");
    *out = value;
    return STATUS_OK;
}

static status_code read_mode(reader *self, yaml_node_t *node, void *target) {
    const char *text = scalar_of(node);
    Interlock__Policy__V1__Mode *out = target;
    if (text != NULL && strcmp(text, "advisory") == 0)
        *out = INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY;
    else if (text != NULL && strcmp(text, "enforced") == 0)
        *out = INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED;
    else
        return refuse(self, node->start_mark, "must be advisory or enforced");
    return STATUS_OK;
}

static status_code read_effect(reader *self, yaml_node_t *node, void *target) {
    const char *text = scalar_of(node);
    policy_effect *out = target;
    if (text != NULL && strcmp(text, "permit") == 0)
        *out = EFFECT_PERMIT;
    else if (text != NULL && strcmp(text, "forbid") == 0)
        *out = EFFECT_FORBID;
    else
        return refuse(self, node->start_mark, "must be permit or forbid");
    return STATUS_OK;
}

/* ---- patterns ---- */

/* NULL when the pattern can match, else why it never will. */
typedef const char *(*pattern_rule)(const char *pattern);

static const char *verb_pattern_problem(const char *pattern) {
    for (; *pattern != '\0'; pattern++) {
        bool good = (*pattern >= 'a' && *pattern <= 'z') || (*pattern >= '0' && *pattern <= '9') ||
                    strchr("._-*", *pattern) != NULL;
        if (!good)
            return "can never match: verbs are of a-z 0-9 . _ - (and * for any run of them)";
    }
    return NULL;
}

static const char *target_pattern_problem(const char *pattern) {
    if (strchr(pattern, ' ') != NULL)
        return "can never match: node names have no blanks";
    const char *star = strchr(pattern, '*');
    const char *colon = strchr(pattern, ':');
    if (star == NULL && (colon == NULL || strchr(colon, '/') == NULL))
        return "can never match: node names are kind:environment/namespace/name, e.g. service:prod/shop/cart";
    if (star != NULL && colon == NULL && memchr(pattern, '/', (size_t)(star - pattern)) != NULL)
        return "can never match: node names are kind:environment/namespace/name, e.g. service:prod/shop/*";
    return NULL;
}

static const char *agent_pattern_problem(const char *pattern) {
    if (pattern[0] == '*' || strncmp(pattern, "agent/", 6) == 0 || strncmp(pattern, "operator/", 9) == 0)
        return NULL;
    return "can never match: principals are agent/NAME or operator/NAME";
}

static status_code read_patterns(reader *self, yaml_node_t *node, pattern_list *out, pattern_rule rule) {
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(self, node->start_mark, "must be a list, e.g. [deploy, restart]");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count < 1 || count > DOCUMENT_PATTERNS)
        return refuse(self, node->start_mark, "must have 1 to 64 entries");
    char **items = arena_zero(self->memory, count, sizeof *items);
    if (items == NULL)
        return out_of_memory(self);
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = yaml_document_get_node(&self->tree, node->data.sequence.items.start[i]);
        size_t before = path_enter(self, NULL, i);
        status_code code = read_text(self, item, &items[i], LIMIT_NAME_BYTES);
        const char *problem = code == STATUS_OK ? rule(items[i]) : NULL;
        if (problem != NULL)
            code = refuse(self, item->start_mark, problem);
        if (code != STATUS_OK)
            return code;
        path_leave(self, before);
    }
    *out = (pattern_list){items, count};
    return STATUS_OK;
}

static status_code read_verbs(reader *self, yaml_node_t *node, void *target) {
    return read_patterns(self, node, target, verb_pattern_problem);
}

static status_code read_targets(reader *self, yaml_node_t *node, void *target) {
    return read_patterns(self, node, target, target_pattern_problem);
}

static status_code read_agents(reader *self, yaml_node_t *node, void *target) {
    return read_patterns(self, node, target, agent_pattern_problem);
}

/* ---- mappings ---- */

static status_code find_member(reader *self, yaml_node_t *key, const member *members, size_t count,
                               uint32_t *seen, size_t *out) {
    const char *name = scalar_of(key);
    for (size_t i = 0; name != NULL && i < count; i++) {
        if (strcmp(name, members[i].name) != 0)
            continue;
        if ((*seen & (1U << i)) != 0) {
            char what[96];
            (void)snprintf(what, sizeof what, "has the key \"%.60s\" twice; keep one", name);
            return refuse(self, key->start_mark, what);
        }
        *seen |= 1U << i;
        *out = i;
        return STATUS_OK;
    }
    char what[128];
    /* Cut short, a key that is not ASCII might end within a character. */
    bool shown = name != NULL && strlen(name) <= 60;
    (void)snprintf(what, sizeof what, "has the unknown key \"%s\"; see docs/policy.md", shown ? name : "…");
    return refuse(self, key->start_mark, what);
}

static status_code read_mapping(reader *self, yaml_node_t *node, const member *members, size_t count,
                                void *target) {
    if (node->type != YAML_MAPPING_NODE)
        return refuse(self, node->start_mark, "must be a mapping of keys to values");
    uint32_t seen = 0;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
         pair++) {
        size_t found = 0;
        status_code code =
            find_member(self, yaml_document_get_node(&self->tree, pair->key), members, count, &seen, &found);
        if (code != STATUS_OK)
            return code;
        size_t before = path_enter(self, members[found].name, 0);
        code = members[found].read(self, yaml_document_get_node(&self->tree, pair->value),
                                   (char *)target + members[found].offset);
        if (code != STATUS_OK)
            return code;
        path_leave(self, before);
    }
    for (size_t i = 0; i < count; i++) {
        if (!members[i].required || (seen & (1U << i)) != 0)
            continue;
        char what[96];
        (void)snprintf(what, sizeof what, "lacks the key \"%s\"", members[i].name);
        return refuse(self, node->start_mark, what);
    }
    return STATUS_OK;
}

static status_code read_entry_traffic(reader *self, yaml_node_t *node, void *target) {
    policy_bound *bound = target;
    status_code code = read_share(self, node, &bound->entry_traffic);
    bound->entry_traffic_stated = code == STATUS_OK;
    return code;
}

static status_code read_bound(reader *self, yaml_node_t *node, void *target) {
    static const member members[] = {{"entry_traffic", 0, true, read_entry_traffic}};
    return read_mapping(self, node, members, 1, target);
}

static status_code read_metadata(reader *self, yaml_node_t *node, void *target) {
    static const member members[] = {{"name", offsetof(policy_document, name), true, read_name},
                                     {"version", offsetof(policy_document, version), true, read_version}};
    return read_mapping(self, node, members, 2, target);
}

static status_code read_stage(reader *self, yaml_node_t *node, void *target) {
    static const member members[] = {{"targets", offsetof(policy_stage, targets), true, read_targets},
                                     {"mode", offsetof(policy_stage, mode), true, read_mode}};
    return read_mapping(self, node, members, 2, target);
}

static status_code read_rule(reader *self, yaml_node_t *node, void *target) {
    static const member members[] = {{"name", offsetof(policy_rule, name), true, read_name},
                                     {"message", offsetof(policy_rule, message), false, read_message},
                                     {"effect", offsetof(policy_rule, effect), true, read_effect},
                                     {"verbs", offsetof(policy_rule, verbs), true, read_verbs},
                                     {"targets", offsetof(policy_rule, targets), true, read_targets},
                                     {"agents", offsetof(policy_rule, agents), false, read_agents},
                                     {"bound", offsetof(policy_rule, bound), false, read_bound}};
    static char nothing[] = "";
    policy_rule *rule = target;
    rule->message = nothing;
    status_code code = read_mapping(self, node, members, sizeof members / sizeof members[0], target);
    if (code == STATUS_OK && rule->effect == EFFECT_FORBID && rule->bound.entry_traffic_stated)
        return refuse(self, node->start_mark,
                      "forbids, and so takes no bound; permit within the bound instead");
    return code;
}

/* A list of mappings, each `size` bytes. */
static status_code read_list(reader *self, yaml_node_t *node, size_t most, size_t size, value_reader read,
                             void **out, size_t *out_count) {
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(self, node->start_mark, "must be a list");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > most)
        return refuse(self, node->start_mark, "has too many entries");
    char *items = arena_zero(self->memory, count + 1, size);
    if (items == NULL)
        return out_of_memory(self);
    for (size_t i = 0; i < count; i++) {
        size_t before = path_enter(self, NULL, i);
        yaml_node_t *item = yaml_document_get_node(&self->tree, node->data.sequence.items.start[i]);
        status_code code = read(self, item, items + i * size);
        if (code != STATUS_OK)
            return code;
        path_leave(self, before);
    }
    *out = items;
    *out_count = count;
    return STATUS_OK;
}

static status_code read_stages(reader *self, yaml_node_t *node, void *target) {
    policy_document *document = target;
    void *items = NULL;
    status_code code = read_list(self, node, DOCUMENT_STAGES, sizeof(policy_stage), read_stage, &items,
                                 &document->stage_count);
    document->stages = items;
    return code;
}

static status_code read_rules(reader *self, yaml_node_t *node, void *target) {
    policy_document *document = target;
    void *items = NULL;
    status_code code =
        read_list(self, node, DOCUMENT_RULES, sizeof(policy_rule), read_rule, &items, &document->rule_count);
    document->rules = items;
    for (size_t i = 0; code == STATUS_OK && i < document->rule_count; i++)
        for (size_t j = 0; code == STATUS_OK && j < i; j++)
            if (strcmp(document->rules[i].name, document->rules[j].name) == 0) {
                yaml_node_t *item = yaml_document_get_node(&self->tree, node->data.sequence.items.start[i]);
                (void)path_enter(self, NULL, i);
                code = refuse(self, item->start_mark, "has the name of an earlier rule; names are unique");
            }
    return code;
}

static status_code read_root(reader *self, yaml_node_t *node, policy_document *out) {
    static const member members[] = {{"apiVersion", 0, true, read_api_version},
                                     {"kind", 0, true, read_kind},
                                     {"metadata", 0, true, read_metadata},
                                     {"stages", 0, false, read_stages},
                                     {"rules", 0, true, read_rules}};
    return read_mapping(self, node, members, sizeof members / sizeof members[0], out);
}

/* ---- the pass over the events ---- */

static bool anchored(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    case YAML_ALIAS_EVENT:
        return true;
    default:
        return false;
    }
}

static int depth_change(const yaml_event_t *event) {
    if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT)
        return 1;
    return event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT ? -1 : 0;
}

static status_code refuse_syntax(reader *self, const yaml_parser_t *parser) {
    char what[256];
    (void)snprintf(what, sizeof what, "not YAML: %.200s", parser->problem == NULL ? "" : parser->problem);
    return refuse(self, parser->problem_mark, what);
}

static status_code check_event(reader *self, const yaml_event_t *event, int *depth, int *documents) {
    *depth += depth_change(event);
    *documents += event->type == YAML_DOCUMENT_START_EVENT ? 1 : 0;
    if (anchored(event))
        return refuse(self, event->start_mark,
                      "anchors, aliases and tags are not taken; write the value out");
    if (*depth > DOCUMENT_DEPTH)
        return refuse(self, event->start_mark, "nested too deeply");
    if (*documents > 1)
        return refuse(self, event->start_mark, "a second document begins here; keep one");
    return STATUS_OK;
}

static status_code check_events(reader *self, yaml_parser_t *parser) {
    int depth = 0;
    int documents = 0;
    for (int i = 0; i < DOCUMENT_EVENTS; i++) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) != 1)
            return refuse_syntax(self, parser);
        bool last = event.type == YAML_STREAM_END_EVENT;
        status_code code = check_event(self, &event, &depth, &documents);
        yaml_event_delete(&event);
        if (code != STATUS_OK)
            return code;
        if (last && documents == 0)
            return refuse(self, (yaml_mark_t){0}, "the document is empty");
        if (last)
            return STATUS_OK;
    }
    return refuse(self, parser->mark, "the document has too many elements");
}

static status_code parse_tree(reader *self, bytes text, policy_document *out) {
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) != 1)
        return out_of_memory(self);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    status_code code = check_events(self, &parser);
    yaml_parser_delete(&parser);
    if (code != STATUS_OK)
        return code;
    if (yaml_parser_initialize(&parser) != 1)
        return out_of_memory(self);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    if (yaml_parser_load(&parser, &self->tree) == 1) {
        yaml_node_t *root = yaml_document_get_root_node(&self->tree);
        code = root == NULL ? refuse(self, (yaml_mark_t){0}, "the document is empty")
                            : read_root(self, root, out);
        yaml_document_delete(&self->tree);
    } else {
        code = refuse_syntax(self, &parser);
    }
    yaml_parser_delete(&parser);
    return code;
}

status_code document_parse(bytes text, policy_document **out, failure *why) {
    if (text.size > DOCUMENT_BYTES)
        return fail_field(why, "document", "POLICY_INVALID", "the policy has %zu bytes; at most %u are taken",
                          text.size, DOCUMENT_BYTES);
    if (!utf8_valid(text))
        return fail_field(why, "document", "POLICY_INVALID", "the policy is not UTF-8 text without NUL");
    owned_document *made = calloc(1, sizeof *made);
    if (made == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE", "no memory for the policy");
    arena_init(&made->memory, 16384, DOCUMENT_ARENA_BYTES);
    atomic_init(&made->references, 1);
    reader self = {.memory = &made->memory, .why = why};
    status_code code = parse_tree(&self, text, &made->document);
    if (code != STATUS_OK) {
        document_unref(&made->document);
        return code;
    }
    uint8_t digest[CRYPTO_HASH_BYTES];
    sha256(text, digest);
    hex_encode(bytes_of(digest, sizeof digest), made->document.digest);
    *out = &made->document;
    return STATUS_OK;
}

policy_document *document_ref(policy_document *self) {
    atomic_fetch_add(&((owned_document *)self)->references, 1);
    return self;
}

void document_unref(policy_document *self) {
    owned_document *owned = (owned_document *)self;
    if (owned == NULL || atomic_fetch_sub(&owned->references, 1) != 1)
        return;
    arena_free(&owned->memory);
    free(owned);
}

Interlock__Policy__V1__Mode document_mode(const policy_document *self, const char *target) {
    Interlock__Policy__V1__Mode mode = INTERLOCK__POLICY__V1__MODE__MODE_UNSPECIFIED;
    for (size_t i = 0; i < self->stage_count; i++) {
        const policy_stage *stage = &self->stages[i];
        if (!pattern_matches_any(stage->targets.items, stage->targets.count, target))
            continue;
        if (stage->mode == INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY)
            return INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY;
        mode = stage->mode;
    }
    return mode == INTERLOCK__POLICY__V1__MODE__MODE_UNSPECIFIED ? INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY
                                                                 : mode;
}
