/* Reading declarations. Which keys there are, and what each says about the graph, is one table; everything
 * else is refused with its place. */
#include "declarations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "yaml/read.h"

#define NAME_MAX_BYTES 64U
#define TEXT_MAX_BYTES STATEMENT_VALUE_BYTES
#define LABELS_MAX 32U

typedef enum field_type {
    FIELD_END,
    FIELD_NAME,    /* the item's own name */
    FIELD_TEXT,    /* an attribute */
    FIELD_CHOICE,  /* an attribute, one of `choices` */
    FIELD_NUMBER,  /* an attribute, from 0 on */
    FIELD_SHARE,   /* an attribute, 0 to 1 */
    FIELD_REF,     /* another node: an edge */
    FIELD_REFS,    /* a list of them */
    FIELD_ALIASES, /* other names of the node */
    FIELD_SLOS,
    FIELD_LABELS, /* attributes label.NAME */
    FIELD_FROM,   /* the ends and the kind of an edge */
    FIELD_TO,
    FIELD_KIND,
} field_type;

typedef struct field {
    const char *key;
    field_type type;
    node_kind other; /* of a reference that names no kind */
    edge_kind edge;  /* 0: the names become an attribute, not edges */
    bool towards;    /* the edge comes from the other node */
    const char *choices;
} field;

#define REF(name, other_kind, edge_kind_word)                                                                \
    { .key = (name), .type = FIELD_REF, .other = NODE_KIND(other_kind), .edge = EDGE_KIND(edge_kind_word) }
#define REFS(name, other_kind, edge_kind_word)                                                               \
    { .key = (name), .type = FIELD_REFS, .other = NODE_KIND(other_kind), .edge = EDGE_KIND(edge_kind_word) }
#define MEMBERS(name, other_kind, edge_kind_word)                                                            \
    {                                                                                                        \
        .key = (name), .type = FIELD_REFS, .other = NODE_KIND(other_kind),                                   \
        .edge = EDGE_KIND(edge_kind_word), .towards = true                                                   \
    }
#define TEXT(name)                                                                                           \
    { .key = (name), .type = FIELD_TEXT }
#define LABELS                                                                                               \
    { .key = "labels", .type = FIELD_LABELS }
#define NAME                                                                                                 \
    { .key = "name", .type = FIELD_NAME }

static const field zone_fields[] = {NAME,
                                    TEXT("description"),
                                    {.key = "allows", .type = FIELD_REFS, .other = NODE_KIND(ZONE)},
                                    MEMBERS("members", SERVICE, IN_ZONE),
                                    LABELS,
                                    {.key = NULL}};
static const field owner_fields[] = {
    NAME,   TEXT("description"), TEXT("onCall"), TEXT("contact"), MEMBERS("owns", SERVICE, OWNED_BY),
    LABELS, {.key = NULL}};
static const field thing_fields[] = {NAME,
                                     TEXT("description"),
                                     {.key = "tier", .type = FIELD_NUMBER},
                                     REF("owner", OWNER, OWNED_BY),
                                     REF("zone", ZONE, IN_ZONE),
                                     REFS("contracts", CONTRACT, DECLARES),
                                     REFS("hosts", HOST, RUNS_ON),
                                     {.key = "slos", .type = FIELD_SLOS},
                                     {.key = "aliases", .type = FIELD_ALIASES},
                                     LABELS,
                                     {.key = NULL}};
static const field contract_fields[] = {
    NAME,
    TEXT("description"),
    {.key = "type", .type = FIELD_CHOICE, .choices = "protobuf|openapi|graphql|sql|avro|json-schema|other"},
    TEXT("version"),
    TEXT("url"),
    TEXT("digest"),
    MEMBERS("of", SERVICE, DECLARES),
    LABELS,
    {.key = NULL}};
static const field journey_fields[] = {NAME,
                                       TEXT("description"),
                                       REFS("entries", SERVICE, CALLS),
                                       {.key = "passes", .type = FIELD_REFS, .other = NODE_KIND(SERVICE)},
                                       {.key = "tier", .type = FIELD_NUMBER},
                                       LABELS,
                                       {.key = NULL}};
static const field edge_fields[] = {{.key = "from", .type = FIELD_FROM},
                                    {.key = "to", .type = FIELD_TO},
                                    {.key = "kind", .type = FIELD_KIND},
                                    {.key = "share", .type = FIELD_SHARE},
                                    TEXT("description"),
                                    LABELS,
                                    {.key = NULL}};

typedef struct section {
    const char *key;
    node_kind kind; /* 0: edges */
    const field *fields;
} section;

static const section sections[] = {
    {"zones", NODE_KIND(ZONE), zone_fields},          {"owners", NODE_KIND(OWNER), owner_fields},
    {"services", NODE_KIND(SERVICE), thing_fields},   {"datastores", NODE_KIND(DATASTORE), thing_fields},
    {"queues", NODE_KIND(QUEUE), thing_fields},       {"endpoints", NODE_KIND(ENDPOINT), thing_fields},
    {"hosts", NODE_KIND(HOST), thing_fields},         {"contracts", NODE_KIND(CONTRACT), contract_fields},
    {"journeys", NODE_KIND(JOURNEY), journey_fields}, {"edges", 0, edge_fields},
};
#define SECTION_COUNT (sizeof sections / sizeof *sections)

/* Which edges people may declare; the rest is for machines to say. */
static const struct {
    const char *word;
    edge_kind kind;
} edge_words[] = {
    {"calls", EDGE_KIND(CALLS)},     {"publishes", EDGE_KIND(PUBLISHES)}, {"consumes", EDGE_KIND(CONSUMES)},
    {"reads", EDGE_KIND(READS)},     {"writes", EDGE_KIND(WRITES)},       {"runs_on", EDGE_KIND(RUNS_ON)},
    {"in_zone", EDGE_KIND(IN_ZONE)}, {"declares", EDGE_KIND(DECLARES)},   {"owned_by", EDGE_KIND(OWNED_BY)},
};

typedef struct reading {
    const char *file;
    const char *environment, *space;
    arena *memory;
    declarations *out;
    statements what;
} reading;

/* The item that is being read. */
typedef struct subject {
    const yaml_item *at;
    char name[LIMIT_NAME_BYTES]; /* of a node; where an edge begins */
    char to[LIMIT_NAME_BYTES];
    edge_kind edge;
    size_t index; /* of its statement */
} subject;

/* Nothing people declare by hand is deeper or wider. */
static const yaml_limits limits = {.depth = 16, .keys = 256, .entries = 400000};

/* ---- Errors */

static status_code refuse_at(const reading *self, size_t line, size_t column, failure *why,
                             const char *text) {
    return fail(why, STATUS_INVALID_ARGUMENT, "BAD_DECLARATION", "%.150s:%zu:%zu: %s", self->file, line,
                column, text);
}

static status_code refuse(const reading *self, const yaml_item *item, failure *why, const char *text) {
    return refuse_at(self, item->line, item->column, why, text);
}

static status_code refuse_key(const reading *self, const yaml_item *item, failure *why) {
    char text[160];
    snprintf(text, sizeof text, "there is no key \"%.80s\" here", item->key->text);
    return refuse_at(self, item->key->line, item->key->column, why, text);
}

static status_code want(const reading *self, const yaml_item *item, yaml_kind kind, failure *why) {
    static const char *const words[] = {"a text", "a list", "a mapping"};
    char text[160];
    if (item->kind == kind)
        return STATUS_OK;
    snprintf(text, sizeof text, "%.60s is %s here", item->key != NULL ? item->key->text : "it", words[kind]);
    return refuse(self, item, why, text);
}

static status_code text_read(const reading *self, const yaml_item *item, size_t most, const char **out,
                             failure *why) {
    char text[100];
    status_code code = want(self, item, YAML_SCALAR, why);
    if (code != STATUS_OK)
        return code;
    snprintf(text, sizeof text, "a text of 1 to %zu bytes is wanted", most);
    if (item->text[0] == '\0' || strlen(item->text) > most)
        return refuse(self, item, why, text);
    *out = item->text;
    return STATUS_OK;
}

/* ---- Names */

/* "cart" is of the kind that is looked for, "datastore:redis" says its own, and both are in the document's
 * environment and namespace; "service:prod/shop/cart" is complete. */
static status_code reference_read(const reading *self, const yaml_item *item, node_kind otherwise,
                                  char out[LIMIT_NAME_BYTES], failure *why) {
    const char *text = NULL;
    char made[LIMIT_NAME_BYTES + 32];
    name_parts parts;
    failure inner = {0};
    status_code code = text_read(self, item, LIMIT_NAME_BYTES - 1, &text, why);
    if (code != STATUS_OK)
        return code;
    const char *colon = strchr(text, ':');
    if (strchr(text, '/') != NULL) {
        snprintf(made, sizeof made, "%s", text);
    } else if (colon != NULL) {
        int kind = (int)(colon - text);
        snprintf(made, sizeof made, "%.*s:%s/%s/%s", kind, text, self->environment, self->space, colon + 1);
    } else {
        snprintf(made, sizeof made, "%s:%s/%s/%s", name_kind_word(otherwise), self->environment, self->space,
                 text);
    }
    if (name_parse(made, &parts, &inner) != STATUS_OK)
        return refuse(self, item, why, inner.message);
    memcpy(out, made, strlen(made) + 1);
    return STATUS_OK;
}

static status_code own_name_read(const reading *self, const yaml_item *item, node_kind kind,
                                 char out[LIMIT_NAME_BYTES], failure *why) {
    name_parts parts;
    char text[100];
    status_code code = reference_read(self, item, kind, out, why);
    if (code != STATUS_OK)
        return code;
    snprintf(text, sizeof text, "a name of a %s is wanted", name_kind_word(kind));
    return name_parse(out, &parts, why) == STATUS_OK && parts.kind == kind ? STATUS_OK
                                                                           : refuse(self, item, why, text);
}

/* ---- Fields */

static status_code number_read(const reading *self, const yaml_item *item, double most, failure *why) {
    const char *text = NULL;
    char *end = NULL;
    status_code code = text_read(self, item, 32, &text, why);
    if (code != STATUS_OK)
        return code;
    /* Digits and a point alone: strtod would also take "nan", "0x1" and white space. */
    double value = strspn(text, "0123456789.") == strlen(text) ? strtod(text, &end) : -1;
    if (item->style != YAML_PLAIN || end == NULL || *end != '\0' || value < 0 || value > most) {
        char words[100];
        snprintf(words, sizeof words, "a number from 0 to %g is wanted", most);
        return refuse(self, item, why, words);
    }
    return STATUS_OK;
}

static status_code choice_check(const reading *self, const yaml_item *item, const char *choices,
                                failure *why) {
    char text[160];
    size_t size = strlen(item->text);
    for (const char *at = choices; *at != '\0'; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == size && memcmp(at, item->text, size) == 0)
            return STATUS_OK;
    snprintf(text, sizeof text, "one of %s is wanted", choices);
    return refuse(self, item, why, text);
}

static status_code ref_put(reading *self, const subject *on, const yaml_item *item, const field *rule,
                           failure *why) {
    char other[LIMIT_NAME_BYTES];
    status_code code = reference_read(self, item, rule->other, other, why);
    if (code != STATUS_OK)
        return code;
    (void)statements_edge(&self->what, rule->edge, rule->towards ? other : on->name,
                          rule->towards ? on->name : other, PROVENANCE_DECLARED);
    return STATUS_OK;
}

/* Names that become one attribute, with a comma between them. */
static status_code refs_attribute(reading *self, const subject *on, const yaml_item *list, const field *rule,
                                  failure *why) {
    const char *all = "";
    status_code code = STATUS_OK;
    for (const yaml_item *item = list->first; item != NULL && code == STATUS_OK; item = item->next) {
        char other[LIMIT_NAME_BYTES];
        code = reference_read(self, item, rule->other, other, why);
        if (code == STATUS_OK && all != NULL)
            all = arena_format(self->memory, "%s%s%s", all, all[0] != '\0' ? "," : "", other);
    }
    if (code == STATUS_OK)
        statements_made(&self->what, on->index, rule->key, all);
    return code;
}

static status_code refs_read(reading *self, const subject *on, const yaml_item *list, const field *rule,
                             failure *why) {
    status_code code = want(self, list, YAML_LIST, why);
    if (code == STATUS_OK && rule->edge == 0)
        return refs_attribute(self, on, list, rule, why);
    for (const yaml_item *item = code == STATUS_OK ? list->first : NULL; item != NULL && code == STATUS_OK;
         item = item->next)
        code = ref_put(self, on, item, rule, why);
    return code;
}

static status_code alias_put(reading *self, const subject *on, const yaml_item *item, const char *alias,
                             failure *why) {
    declarations *out = self->out;
    if (out->alias_count == DECLARATION_ALIASES_MAX)
        return refuse(self, item, why, "too many aliases in one document");
    if (out->alias_count == out->alias_room) {
        size_t room = out->alias_room == 0 ? 16 : out->alias_room * 2;
        declared_alias *more = arena_alloc(self->memory, room * sizeof *more);
        if (more == NULL)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for declarations");
        if (out->alias_count > 0)
            memcpy(more, out->aliases, out->alias_count * sizeof *more);
        out->aliases = more;
        out->alias_room = room;
    }
    declared_alias *made = &out->aliases[out->alias_count++];
    made->node = arena_text(self->memory, on->name);
    made->alias = arena_text(self->memory, alias);
    return made->node != NULL && made->alias != NULL
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for declarations");
}

static status_code aliases_read(reading *self, const subject *on, const yaml_item *list, failure *why) {
    name_parts own;
    status_code code = want(self, list, YAML_LIST, why);
    if (code == STATUS_OK)
        code = name_parse(on->name, &own, why);
    field rule = {.key = "aliases", .other = code == STATUS_OK ? own.kind : NODE_SERVICE};
    for (const yaml_item *item = code == STATUS_OK ? list->first : NULL; item != NULL && code == STATUS_OK;
         item = item->next) {
        char alias[LIMIT_NAME_BYTES];
        code = own_name_read(self, item, rule.other, alias, why);
        if (code == STATUS_OK && strcmp(alias, on->name) == 0)
            code = refuse(self, item, why, "this is its own name");
        if (code == STATUS_OK)
            code = alias_put(self, on, item, alias, why);
    }
    return code == STATUS_OK ? refs_attribute(self, on, list, &rule, why) : code;
}

static const yaml_item *needed(const reading *self, const yaml_item *mapping, const char *key, failure *why) {
    const yaml_item *found = yaml_member(mapping, key);
    char text[100];
    snprintf(text, sizeof text, "the key \"%s\" is missing", key);
    if (found == NULL)
        (void)refuse(self, mapping, why, text);
    return found;
}

static status_code only_keys(const reading *self, const yaml_item *mapping, const char *const *keys,
                             failure *why) {
    for (const yaml_item *child = mapping->first; child != NULL; child = child->next) {
        const char *const *key = keys;
        while (*key != NULL && strcmp(*key, child->key->text) != 0)
            key++;
        if (*key == NULL)
            return refuse_key(self, child, why);
    }
    return STATUS_OK;
}

static status_code slo_read(reading *self, const subject *on, const yaml_item *item, failure *why) {
    static const char *const keys[] = {"name", "objective", "window", NULL};
    const char *name = NULL;
    const char *window = NULL;
    status_code code = want(self, item, YAML_MAP, why);
    if (code == STATUS_OK)
        code = only_keys(self, item, keys, why);
    if (code != STATUS_OK)
        return code;
    const yaml_item *named = needed(self, item, "name", why);
    const yaml_item *objective = named != NULL ? needed(self, item, "objective", why) : NULL;
    const yaml_item *lasting = yaml_member(item, "window");
    if (objective == NULL)
        return STATUS_INVALID_ARGUMENT;
    code = text_read(self, named, NAME_MAX_BYTES, &name, why);
    if (code == STATUS_OK)
        code = number_read(self, objective, 100, why);
    if (code == STATUS_OK && lasting != NULL)
        code = text_read(self, lasting, NAME_MAX_BYTES, &window, why);
    if (code == STATUS_OK)
        statements_made(&self->what, on->index, arena_format(self->memory, "slo.%s", name),
                        arena_format(self->memory, "%s %%%s%s", objective->text,
                                     window != NULL ? " over " : "", window != NULL ? window : ""));
    return code;
}

static status_code slos_read(reading *self, const subject *on, const yaml_item *list, failure *why) {
    status_code code = want(self, list, YAML_LIST, why);
    for (const yaml_item *item = code == STATUS_OK ? list->first : NULL; item != NULL && code == STATUS_OK;
         item = item->next)
        code = slo_read(self, on, item, why);
    return code;
}

static status_code labels_read(reading *self, const subject *on, const yaml_item *mapping, failure *why) {
    status_code code = want(self, mapping, YAML_MAP, why);
    if (code == STATUS_OK && mapping->count > LABELS_MAX)
        code = refuse(self, mapping, why, "at most 32 labels");
    for (const yaml_item *item = code == STATUS_OK ? mapping->first : NULL; item != NULL && code == STATUS_OK;
         item = item->next) {
        const char *text = NULL;
        if (strlen(item->key->text) == 0 || strlen(item->key->text) > NAME_MAX_BYTES)
            return refuse_at(self, item->key->line, item->key->column, why, "a label has 1 to 64 bytes");
        code = text_read(self, item, TEXT_MAX_BYTES, &text, why);
        const char *key = arena_format(self->memory, "label.%s", item->key->text);
        if (code == STATUS_OK)
            statements_attribute(&self->what, on->index, key, text);
    }
    return code;
}

static status_code field_read(reading *self, const subject *on, const yaml_item *item, const field *rule,
                              failure *why) {
    const char *text = NULL;
    status_code code = STATUS_OK;
    switch (rule->type) {
    case FIELD_TEXT:
    case FIELD_CHOICE:
        code = text_read(self, item, TEXT_MAX_BYTES, &text, why);
        if (code == STATUS_OK && rule->type == FIELD_CHOICE)
            code = choice_check(self, item, rule->choices, why);
        break;
    case FIELD_NUMBER:
    case FIELD_SHARE:
        code = number_read(self, item, rule->type == FIELD_SHARE ? 1 : 1e9, why);
        text = item->text;
        break;
    case FIELD_REF:
        return ref_put(self, on, item, rule, why);
    case FIELD_REFS:
        return refs_read(self, on, item, rule, why);
    case FIELD_ALIASES:
        return aliases_read(self, on, item, why);
    case FIELD_SLOS:
        return slos_read(self, on, item, why);
    case FIELD_LABELS:
        return labels_read(self, on, item, why);
    default:
        return STATUS_OK; /* read before the others */
    }
    if (code == STATUS_OK)
        statements_attribute(&self->what, on->index, rule->key, text);
    return code;
}

/* ---- Items */

static status_code node_begin(reading *self, subject *on, node_kind kind, failure *why) {
    const yaml_item *name = needed(self, on->at, "name", why);
    if (name == NULL)
        return STATUS_INVALID_ARGUMENT;
    status_code code = own_name_read(self, name, kind, on->name, why);
    if (code == STATUS_OK)
        on->index = statements_node(&self->what, kind, on->name, PROVENANCE_DECLARED);
    return code;
}

static status_code edge_kind_read(reading *self, subject *on, failure *why) {
    const yaml_item *word = needed(self, on->at, "kind", why);
    const char *text = NULL;
    if (word == NULL)
        return STATUS_INVALID_ARGUMENT;
    status_code code = text_read(self, word, NAME_MAX_BYTES, &text, why);
    if (code != STATUS_OK)
        return code;
    for (size_t i = 0; i < sizeof edge_words / sizeof *edge_words; i++)
        if (strcmp(edge_words[i].word, text) == 0) {
            on->edge = edge_words[i].kind;
            return STATUS_OK;
        }
    return refuse(
        self, word, why,
        "one of calls, publishes, consumes, reads, writes, runs_on, in_zone, declares, owned_by is wanted");
}

/* What the far end of an edge is when its name does not say. */
static node_kind far_kind(edge_kind kind) {
    static const struct {
        edge_kind edge;
        node_kind to;
    } far[] = {{EDGE_KIND(PUBLISHES), NODE_KIND(QUEUE)},  {EDGE_KIND(READS), NODE_KIND(DATASTORE)},
               {EDGE_KIND(WRITES), NODE_KIND(DATASTORE)}, {EDGE_KIND(RUNS_ON), NODE_KIND(HOST)},
               {EDGE_KIND(IN_ZONE), NODE_KIND(ZONE)},     {EDGE_KIND(DECLARES), NODE_KIND(CONTRACT)},
               {EDGE_KIND(OWNED_BY), NODE_KIND(OWNER)}};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        if (far[i].edge == kind)
            return far[i].to;
    return NODE_SERVICE;
}

static status_code edge_begin(reading *self, subject *on, failure *why) {
    const yaml_item *from = needed(self, on->at, "from", why);
    const yaml_item *to = from != NULL ? needed(self, on->at, "to", why) : NULL;
    if (to == NULL)
        return STATUS_INVALID_ARGUMENT;
    status_code code = edge_kind_read(self, on, why);
    bool consumes = code == STATUS_OK && on->edge == EDGE_KIND(CONSUMES);
    if (code == STATUS_OK)
        code = reference_read(self, from, NODE_SERVICE, on->name, why);
    if (code == STATUS_OK)
        code = reference_read(self, to, consumes ? NODE_KIND(QUEUE) : far_kind(on->edge), on->to, why);
    if (code == STATUS_OK)
        on->index = statements_edge(&self->what, on->edge, on->name, on->to, PROVENANCE_DECLARED);
    return code;
}

static const field *rule_of(const section *part, const char *key) {
    for (const field *rule = part->fields; rule->key != NULL; rule++)
        if (strcmp(rule->key, key) == 0)
            return rule;
    return NULL;
}

static status_code item_read(reading *self, const section *part, const yaml_item *item, failure *why) {
    subject on = {.at = item, .index = SIZE_MAX};
    status_code code = want(self, item, YAML_MAP, why);
    for (const yaml_item *child = code == STATUS_OK ? item->first : NULL; child != NULL; child = child->next)
        if (rule_of(part, child->key->text) == NULL)
            return refuse_key(self, child, why);
    if (code == STATUS_OK)
        code = part->kind != 0 ? node_begin(self, &on, part->kind, why) : edge_begin(self, &on, why);
    for (const yaml_item *child = code == STATUS_OK ? item->first : NULL; child != NULL && code == STATUS_OK;
         child = child->next)
        code = field_read(self, &on, child, rule_of(part, child->key->text), why);
    return code;
}

static status_code section_read(reading *self, const section *part, const yaml_item *list, failure *why) {
    status_code code = want(self, list, YAML_LIST, why);
    for (const yaml_item *item = code == STATUS_OK ? list->first : NULL; item != NULL && code == STATUS_OK;
         item = item->next)
        code = item_read(self, part, item, why);
    return code;
}

/* ---- The document */

static status_code word_is(const reading *self, const yaml_item *root, const char *key, const char *wanted,
                           failure *why) {
    const yaml_item *item = needed(self, root, key, why);
    char text[100];
    if (item == NULL)
        return STATUS_INVALID_ARGUMENT;
    snprintf(text, sizeof text, "%s is %s", key, wanted);
    if (item->kind != YAML_SCALAR || strcmp(item->text, wanted) != 0)
        return refuse(self, item, why, text);
    return STATUS_OK;
}

static status_code plain_read(const reading *self, const yaml_item *item, const char **out, failure *why) {
    status_code code = text_read(self, item, NAME_MAX_BYTES, out, why);
    if (code == STATUS_OK &&
        strspn(*out, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(*out))
        code = refuse(self, item, why, "letters, digits, '.', '_' and '-' are wanted");
    return code;
}

static status_code metadata_read(reading *self, const yaml_item *root, failure *why) {
    static const char *const keys[] = {"name", "environment", "namespace", NULL};
    const yaml_item *metadata = needed(self, root, "metadata", why);
    if (metadata == NULL)
        return STATUS_INVALID_ARGUMENT;
    status_code code = want(self, metadata, YAML_MAP, why);
    if (code == STATUS_OK)
        code = only_keys(self, metadata, keys, why);
    const yaml_item *name = code == STATUS_OK ? needed(self, metadata, "name", why) : NULL;
    if (name == NULL)
        return STATUS_INVALID_ARGUMENT;
    const yaml_item *environment = yaml_member(metadata, "environment");
    const yaml_item *space = yaml_member(metadata, "namespace");
    code = plain_read(self, name, &self->out->name, why);
    if (code == STATUS_OK && environment != NULL)
        code = plain_read(self, environment, &self->environment, why);
    if (code == STATUS_OK && space != NULL)
        code = plain_read(self, space, &self->space, why);
    return code;
}

static status_code keys_check(const reading *self, const yaml_item *root, failure *why) {
    const char *keys[SECTION_COUNT + 4] = {"apiVersion", "kind", "metadata"};
    for (size_t i = 0; i < SECTION_COUNT; i++)
        keys[3 + i] = sections[i].key;
    keys[SECTION_COUNT + 3] = NULL;
    return only_keys(self, root, keys, why);
}

static status_code root_read(reading *self, const yaml_item *root, failure *why) {
    status_code code = want(self, root, YAML_MAP, why);
    if (code == STATUS_OK)
        code = keys_check(self, root, why);
    if (code == STATUS_OK)
        code = word_is(self, root, "apiVersion", "interlock/v1", why);
    if (code == STATUS_OK)
        code = word_is(self, root, "kind", "Declarations", why);
    if (code == STATUS_OK)
        code = metadata_read(self, root, why);
    for (size_t i = 0; i < SECTION_COUNT && code == STATUS_OK; i++) {
        const yaml_item *list = yaml_member(root, sections[i].key);
        if (list != NULL)
            code = section_read(self, &sections[i], list, why);
    }
    return code;
}

static status_code document_read(const reading *self, bytes document, const yaml_item **root, failure *why) {
    yaml_problem problem = {0};
    if (document.size > DECLARATIONS_BYTES)
        return refuse_at(self, 1, 1, why, "the document is larger than 2 MiB");
    status_code code = yaml_read(document, limits, self->memory, root, &problem);
    if (code == STATUS_INVALID_ARGUMENT && problem.line == 0)
        return fail(why, code, "BAD_DECLARATION", "%.150s: %s", self->file, problem.message);
    if (code == STATUS_INVALID_ARGUMENT)
        return refuse_at(self, problem.line, problem.column, why, problem.message);
    if (code != STATUS_OK)
        return fail(why, code, "OUT_OF_MEMORY", "no memory to read %.200s", self->file);
    return *root == NULL ? refuse_at(self, 1, 1, why, "the document is empty") : STATUS_OK;
}

status_code declarations_read(bytes document, const char *file, int64_t now_ms, arena *memory,
                              declarations *out, failure *why) {
    const yaml_item *root = NULL;
    declarations made = {0};
    reading self = {
        .file = file, .environment = "default", .space = "default", .memory = memory, .out = &made};
    statements_begin(&self.what, memory);
    status_code code = document_read(&self, document, &root, why);
    if (code == STATUS_OK)
        code = root_read(&self, root, why);
    if (code == STATUS_OK)
        code = statements_finish(&self.what, why);
    if (code != STATUS_OK)
        return code;
    made.change = (change){.lane = arena_format(memory, "declaration/%s", made.name),
                           .origin = arena_format(memory, "declaration:%s", made.name),
                           .from_ms = now_ms,
                           .tie = "",
                           .role = CHANGE_WHOLE,
                           .only_news = true,
                           .what = self.what};
    if (made.change.lane == NULL || made.change.origin == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for declarations");
    *out = made;
    return STATUS_OK;
}
