/* See read.h. */
#include "read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

/* ---- problems ---- */

static const char *kept(reader *self, const char *text) {
    const char *copy = arena_text(self->problem_memory, text);
    self->out_of_memory = self->out_of_memory || copy == NULL;
    return copy == NULL ? "" : copy;
}

void problem_add(reader *self, policy_gravity gravity, const char *reason, uint32_t line, uint32_t column,
                 const char *format, ...) {
    policy_problems *problems = self->problems;
    if (problems->items == NULL)
        problems->items = arena_zero(self->problem_memory, POLICIES_PROBLEMS, sizeof *problems->items);
    if (problems->items == NULL) {
        self->out_of_memory = true;
        return;
    }
    if (problems->count == POLICIES_PROBLEMS)
        return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bool last = problems->count + 1 == POLICIES_PROBLEMS;
    problems->items[problems->count++] = (policy_problem){
        .gravity = gravity,
        .reason = reason,
        .file = kept(self, self->file),
        .line = line,
        .column = column,
        .rule = kept(self, self->rule),
        .message = last ? "more is wrong than is told here; correct what stands above" : kept(self, text)};
}

void refuse(reader *self, const yaml_item *node, const char *what) {
    problem_add(self, POLICY_ERROR, "POLICY_INVALID", node->line, node->column, "%s%s%s", self->path,
                self->path[0] == '\0' ? "" : " ", what);
}

/* "LINE:COLUMN: rest", as lib/cel writes it. */
static bool split_place(const char *message, unsigned *line, unsigned *column, const char **rest) {
    char *end = NULL;
    unsigned long first = strtoul(message, &end, 10);
    if (end == message || *end != ':')
        return false;
    const char *second = end + 1;
    unsigned long place = strtoul(second, &end, 10);
    if (end == second || strncmp(end, ": ", 2) != 0 || first > 100000 || place > 1000000)
        return false;
    *line = (unsigned)first;
    *column = (unsigned)place;
    *rest = end + 2;
    return true;
}

void refuse_expression(reader *self, const yaml_item *node, uint32_t offset, const failure *why) {
    unsigned line = 1, column = 1;
    const char *rest = why->message;
    uint32_t file_line = node->line, file_column = node->column;
    if (split_place(why->message, &line, &column, &rest)) {
        if (node->style == YAML_PLAIN || node->style == YAML_QUOTED) {
            if (line == 1)
                file_column += offset + column - 1 + (node->style == YAML_QUOTED ? 1 : 0);
        } else if (node->style == YAML_LITERAL) {
            file_line += line; /* the text begins on the line after the | */
            file_column = column;
        }
    }
    problem_add(self, POLICY_ERROR, why->reason == NULL ? "POLICY_INVALID" : why->reason, file_line,
                file_column, "%s: %s", self->path, rest);
}

size_t path_enter(reader *self, const char *name, size_t index) {
    size_t before = strlen(self->path);
    if (name != NULL)
        (void)snprintf(self->path + before, sizeof self->path - before, "%s%.60s", before == 0 ? "" : ".",
                       name);
    else
        (void)snprintf(self->path + before, sizeof self->path - before, "[%zu]", index);
    return before;
}

void path_leave(reader *self, size_t before) {
    self->path[before] = '\0';
}

/* ---- mappings and lists ---- */

static const member *find_member(reader *self, const yaml_item *key, const member *members, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(key->text, members[i].name) == 0)
            return &members[i];
    char what[128];
    bool shown = key->size <= 60;
    (void)snprintf(what, sizeof what, "has the unknown key \"%s\"; see docs/policy.md",
                   shown ? key->text : "…");
    refuse(self, key, what);
    return NULL;
}

static void check_required(reader *self, const yaml_item *node, const member *members, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!members[i].required || yaml_member(node, members[i].name) != NULL)
            continue;
        char what[96];
        (void)snprintf(what, sizeof what, "lacks the key \"%s\"", members[i].name);
        refuse(self, node, what);
    }
}

void read_mapping(reader *self, const yaml_item *node, const member *members, size_t count, void *target) {
    if (node->kind != YAML_MAP) {
        refuse(self, node, "must be a mapping of keys to values");
        return;
    }
    for (const yaml_item *entry = node->first; entry != NULL; entry = entry->next) {
        const member *found = find_member(self, entry->key, members, count);
        if (found == NULL)
            continue;
        size_t before = path_enter(self, found->name, 0);
        found->read(self, entry, (char *)target + found->offset);
        path_leave(self, before);
    }
    check_required(self, node, members, count);
}

void *read_list(reader *self, const yaml_item *node, size_t least, size_t most, size_t size,
                value_reader read, size_t *count) {
    if (node->kind != YAML_LIST || node->count < least || node->count > most) {
        char what[96];
        (void)snprintf(what, sizeof what, "must be a list of %zu to %zu entries", least, most);
        refuse(self, node, node->kind == YAML_LIST ? what : "must be a list, e.g. [deploy, restart]");
        return NULL;
    }
    char *items = arena_zero(self->memory, node->count + 1, size);
    if (items == NULL) {
        self->out_of_memory = true;
        return NULL;
    }
    size_t at = 0;
    for (const yaml_item *entry = node->first; entry != NULL; entry = entry->next, at++) {
        size_t before = path_enter(self, NULL, at);
        read(self, entry, items + at * size);
        path_leave(self, before);
    }
    *count = node->count;
    return items;
}

/* ---- scalars ---- */

/* What YAML's core schema would take for a number, a truth value or nothing is not a text, whatever it looks
 * like. */
static bool reads_as_number(const char *text) {
    const char *at = text + (*text == '-' || *text == '+' ? 1 : 0);
    if (strcmp(at, ".inf") == 0 || strcmp(at, ".nan") == 0)
        return true;
    size_t digits = strspn(at, "0123456789");
    if (digits == 0 && at[0] != '.')
        return false;
    char *end = NULL;
    (void)strtod(text, &end);
    return end != text && *end == '\0' && strpbrk(text, "nNpP") == NULL;
}

static bool reads_as_other(const yaml_item *node) {
    static const char *const words[] = {"",     "~",    "null",  "Null",  "NULL", "true",
                                        "True", "TRUE", "false", "False", "FALSE"};
    if (node->style != YAML_PLAIN)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(node->text, words[i]) == 0)
            return true;
    return reads_as_number(node->text);
}

static const char *text_of(reader *self, const yaml_item *node) {
    if (node->kind != YAML_SCALAR) {
        refuse(self, node, "must be text");
        return NULL;
    }
    if (reads_as_other(node)) {
        refuse(self, node, "must be text; put it in quotes if it is");
        return NULL;
    }
    return node->text;
}

const char *read_scalar(reader *self, const yaml_item *node, size_t most) {
    const char *text = text_of(self, node);
    if (text == NULL)
        return NULL;
    if (node->size == 0 || node->size > most) {
        char what[64];
        (void)snprintf(what, sizeof what, "must have 1 to %zu bytes", most);
        refuse(self, node, what);
        return NULL;
    }
    const char *copy = arena_text(self->memory, text);
    self->out_of_memory = self->out_of_memory || copy == NULL;
    return copy;
}

static bool one_line(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static void read_bounded(reader *self, const yaml_item *node, const char **target, size_t most) {
    const char *text = read_scalar(self, node, most);
    if (text == NULL)
        return;
    if (!one_line(text)) {
        refuse(self, node, "must be one line without control characters");
        return;
    }
    *target = text;
}

void read_line(reader *self, const yaml_item *node, void *target) {
    read_bounded(self, node, target, POLICIES_MESSAGE_BYTES);
}

void read_text(reader *self, const yaml_item *node, void *target) {
    read_bounded(self, node, target, LIMIT_NAME_BYTES);
}

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void read_name(reader *self, const yaml_item *node, void *target) {
    const char *text = read_scalar(self, node, POLICIES_NAME_BYTES);
    if (text == NULL)
        return;
    size_t size = strlen(text);
    bool good = is_alnum(text[0]) && is_alnum(text[size - 1]);
    for (size_t i = 0; good && i < size; i++)
        good = is_alnum(text[i]) || strchr("-._", text[i]) != NULL;
    if (good)
        *(const char **)target = text;
    else
        refuse(self, node,
               "must be a name of letters, digits and - . _ that begins and ends with a letter or digit");
}

bool read_whole(reader *self, const yaml_item *node, uint64_t least, uint64_t most, uint64_t *out) {
    const char *text = node->kind == YAML_SCALAR && node->style == YAML_PLAIN ? node->text : "";
    size_t size = strspn(text, "0123456789");
    bool good = size > 0 && size <= 18 && text[size] == '\0' && (size == 1 || text[0] != '0');
    uint64_t value = good ? strtoull(text, NULL, 10) : 0;
    if (good && value >= least && value <= most) {
        *out = value;
        return true;
    }
    char what[96];
    (void)snprintf(what, sizeof what, "must be a whole number from %llu to %llu", (unsigned long long)least,
                   (unsigned long long)most);
    refuse(self, node, what);
    return false;
}

/* A plain decimal: no sign, no exponent, no infinity, so that nothing reads as another number than it looks.
 */
bool read_decimal(reader *self, const yaml_item *node, double least, double most, double *out) {
    const char *text = node->kind == YAML_SCALAR && node->style == YAML_PLAIN ? node->text : "";
    size_t whole = strspn(text, "0123456789");
    size_t size = whole;
    if (whole > 0 && text[whole] == '.')
        size += 1 + strspn(text + whole + 1, "0123456789");
    bool good = whole > 0 && text[size] == '\0' && size <= 20 && text[size - 1] != '.';
    double value = good ? strtod(text, NULL) : -1;
    if (good && value >= least && value <= most) {
        *out = value;
        return true;
    }
    char what[96];
    (void)snprintf(what, sizeof what, "must be a decimal number from %g to %g, e.g. 0.05", least, most);
    refuse(self, node, what);
    return false;
}

int read_word(reader *self, const yaml_item *node, const char *const *words, size_t count) {
    for (size_t i = 0; node->kind == YAML_SCALAR && i < count; i++)
        if (strcmp(node->text, words[i]) == 0)
            return (int)i;
    char what[160] = "must be ";
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(what);
        (void)snprintf(what + size, sizeof what - size, "%s%s",
                       i == 0           ? ""
                       : i + 1 == count ? " or "
                                        : ", ",
                       words[i]);
    }
    refuse(self, node, what);
    return -1;
}

void read_duration(reader *self, const yaml_item *node, void *target) {
    const char *text = node->kind == YAML_SCALAR ? node->text : "";
    size_t digits = strspn(text, "0123456789");
    uint64_t unit = text[digits] == 's'   ? 1
                    : text[digits] == 'm' ? 60
                    : text[digits] == 'h' ? 3600
                    : text[digits] == 'd' ? 86400
                                          : 0;
    if (unit == 0 || digits == 0 || digits > 6 || text[0] == '0' || text[digits + 1] != '\0')
        refuse(self, node, "must be a whole number and a unit: 30s, 15m, 2h, 7d");
    else
        *(uint64_t *)target = strtoull(text, NULL, 10) * unit;
}

/* ---- patterns ---- */

typedef const char *(*pattern_rule)(const char *pattern);

static size_t literal_size(const char *pattern) {
    return strcspn(pattern, "*");
}

static const char *any_problem(const char *pattern) {
    (void)pattern;
    return NULL;
}

static const char *verb_problem(const char *pattern) {
    for (const char *c = pattern; *c != '\0'; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || strchr("._-*", *c) != NULL))
            return "can never match: verbs are of a-z 0-9 . _ -";
    return NULL;
}

/* The kinds of nodes, as in interlock.graph.v1.NodeKind. */
static const char *const NODE_KINDS[] = {"service",  "endpoint", "datastore", "queue",  "host",     "zone",
                                         "contract", "deploy",   "config",    "flag",   "incident", "action",
                                         "agent",    "policy",   "owner",     "journey"};

static bool begins_a_kind(const char *pattern, size_t size) {
    for (size_t i = 0; i < sizeof NODE_KINDS / sizeof *NODE_KINDS; i++) {
        size_t whole = strlen(NODE_KINDS[i]);
        size_t compared = size < whole ? size : whole;
        if (strncmp(NODE_KINDS[i], pattern, compared) == 0 && (size <= whole || pattern[whole] == ':'))
            return true;
    }
    return false;
}

const char *node_pattern_problem(const char *pattern) {
    for (const char *c = pattern; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return "can never match: node names have no blanks";
    size_t literal = literal_size(pattern);
    if (!begins_a_kind(pattern, literal))
        return "can never match: node names are kind:environment/namespace/name, e.g. service:prod/shop/*";
    if (pattern[literal] == '*')
        return NULL;
    const char *colon = strchr(pattern, ':');
    const char *slash = colon == NULL ? NULL : strchr(colon, '/');
    const char *second = slash == NULL ? NULL : strchr(slash + 1, '/');
    return second == NULL || second[1] == '\0'
               ? "can never match: node names are kind:environment/namespace/name; did you mean to end in *?"
               : NULL;
}

static bool begins_like(const char *pattern, const char *prefix) {
    size_t literal = literal_size(pattern);
    size_t size = strlen(prefix);
    return strncmp(pattern, prefix, literal < size ? literal : size) == 0 &&
           (pattern[literal] == '*' || literal > size);
}

/* Who may propose. */
static const char *agent_problem(const char *pattern) {
    return begins_like(pattern, "agent/") || begins_like(pattern, "operator/")
               ? NULL
               : "can never match: who proposes is agent/NAME or operator/NAME";
}

/* Who may vote. */
static const char *principal_problem(const char *pattern) {
    return begins_like(pattern, "agent/") || begins_like(pattern, "operator/") ||
                   begins_like(pattern, "approver/")
               ? NULL
               : "can never match: who approves is approver/NAME, operator/NAME or agent/NAME";
}

static void read_pattern_list(reader *self, const yaml_item *node, policy_patterns *target,
                              pattern_rule rule) {
    size_t count = 0;
    const char **items = read_list(self, node, 1, POLICIES_PATTERNS, sizeof *items, read_text, &count);
    const yaml_item *entry = items == NULL ? NULL : node->first;
    for (size_t i = 0; i < count && entry != NULL; i++, entry = entry->next) {
        const char *problem = items[i] == NULL ? NULL : rule(items[i]);
        if (items[i] == NULL)
            items[i] = ""; /* refused already */
        if (problem == NULL)
            continue;
        size_t before = path_enter(self, NULL, i);
        refuse(self, entry, problem);
        path_leave(self, before);
    }
    *target = (policy_patterns){(const char *const *)items, count};
}

void read_patterns(reader *self, const yaml_item *node, void *target) {
    read_pattern_list(self, node, target, any_problem);
}

void read_verbs(reader *self, const yaml_item *node, void *target) {
    read_pattern_list(self, node, target, verb_problem);
}

void read_agents(reader *self, const yaml_item *node, void *target) {
    read_pattern_list(self, node, target, agent_problem);
}

void read_principals(reader *self, const yaml_item *node, void *target) {
    read_pattern_list(self, node, target, principal_problem);
}

void read_node_names(reader *self, const yaml_item *node, void *target) {
    read_pattern_list(self, node, target, node_pattern_problem);
}
