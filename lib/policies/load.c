/* From sources to a set: every document read, names unique, references resolved, rules sorted, the index
 * built. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"

static const yaml_limits yaml_bounds = {.depth = 16, .keys = 128, .entries = 4096};

#define SET_ARENA_BYTES (256U << 20)
#define DOCUMENT_ARENA_BYTES (64U << 20)

static status_code too_large(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE",
                "the policies need more memory than is given to them; shorten or split them");
}

/* ---- programs ---- */

static bool make_room(owned_set *set) {
    if (set->program_count < set->program_room)
        return true;
    size_t room = set->program_room == 0 ? 64 : 2 * set->program_room;
    const cel_program **programs = realloc(set->programs, room * sizeof(void *));
    if (programs == NULL)
        return false;
    set->programs = programs;
    set->program_room = room;
    return true;
}

status_code set_compile(owned_set *set, bytes text, const cel_type *type, const cel_program **out,
                        failure *why) {
    cel_program *program = NULL;
    const cel_options options = {
        .source_bytes = POLICIES_CONDITION_BYTES, .result = type, .largest = POLICIES_TARGETS};
    if (!make_room(set))
        return too_large(why);
    status_code code = cel_compile(set->environment, text, &options, &program, why);
    if (code != STATUS_OK)
        return code;
    set->programs[set->program_count++] = program;
    *out = program;
    return STATUS_OK;
}

/* ---- life ---- */

static owned_set *set_new(failure *why) {
    owned_set *self = calloc(1, sizeof *self);
    if (self == NULL) {
        (void)too_large(why);
        return NULL;
    }
    arena_init(&self->memory, 65536, SET_ARENA_BYTES);
    atomic_init(&self->references, 1);
    self->set.name = self->set.description = self->set.file = "";
    self->environment = environment_new(why);
    if (self->environment != NULL)
        return self;
    policies_unref(&self->set);
    return NULL;
}

policy_set *policies_ref(policy_set *self) {
    if (self != NULL)
        atomic_fetch_add(&owned(self)->references, 1);
    return self;
}

void policies_unref(policy_set *self) {
    owned_set *set = owned(self);
    if (self == NULL || atomic_fetch_sub(&set->references, 1) != 1)
        return;
    for (size_t i = 0; i < set->program_count; i++)
        cel_program_free((cel_program *)(uintptr_t)set->programs[i]);
    free(set->programs);
    cel_environment_free(set->environment);
    arena_free(&set->memory);
    free(set);
}

/* ---- names ---- */

static int by_name(const void *left, const void *right) {
    const policy_rule *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

typedef struct named {
    const char *name, *file;
    uint32_t line;
} named;

static int by_other_name(const void *left, const void *right) {
    const named *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static void tell_twice(grammar *self, const char *kind, const char *name, const char *file, uint32_t line,
                       uint32_t first) {
    self->reader.file = file;
    self->reader.rule = name;
    problem_add(&self->reader, POLICY_ERROR, "POLICY_INVALID", line, 1,
                "another %s has the name %s (line %u); names are unique", kind, name, first);
}

static void sort_rules(grammar *self) {
    policy_rule *rules = self->rules.items;
    if (self->rules.count > 0)
        qsort(rules, self->rules.count, sizeof *rules, by_name);
    for (size_t i = 0; i < self->rules.count; i++)
        rules[i].index = (uint32_t)i;
    for (size_t i = 1; i < self->rules.count; i++)
        if (rules[i].name[0] != '\0' && strcmp(rules[i].name, rules[i - 1].name) == 0)
            tell_twice(self, "Policy", rules[i].name, rules[i].file, rules[i].line, rules[i - 1].line);
}

static void sort_others(grammar *self, const collection *of, const char *kind) {
    if (of->count == 0)
        return;
    qsort(of->items, of->count, of->size, by_other_name);
    const char *items = of->items;
    for (size_t i = 1; i < of->count; i++) {
        const named *item = (const named *)(const void *)(items + i * of->size);
        const named *before = (const named *)(const void *)(items + (i - 1) * of->size);
        if (item->name[0] != '\0' && strcmp(item->name, before->name) == 0)
            tell_twice(self, kind, item->name, item->file, item->line, before->line);
    }
}

static void check_quorums(grammar *self, const policy_set *set) {
    for (size_t i = 0; i < set->rule_count; i++) {
        const policy_rule *rule = &set->rules[i];
        if (rule->quorum[0] == '\0' || policies_find_quorum(set, rule->quorum) != NULL)
            continue;
        self->reader.file = rule->file;
        self->reader.rule = rule->name;
        problem_add(&self->reader, POLICY_ERROR, "POLICY_INVALID", rule->line, 1,
                    "spec.quorum names %s, and there is no such Quorum document", rule->quorum);
    }
}

static void finish(grammar *self) {
    policy_set *set = &self->reader.set->set;
    sort_rules(self);
    sort_others(self, &self->stages, "Stage");
    sort_others(self, &self->quorums, "Quorum");
    sort_others(self, &self->rate_limits, "RateLimit");
    sort_others(self, &self->zones, "Zone");
    set->rules = self->rules.items;
    set->rule_count = self->rules.count;
    set->stages = self->stages.items;
    set->stage_count = self->stages.count;
    set->quorums = self->quorums.items;
    set->quorum_count = self->quorums.count;
    set->rate_limits = self->rate_limits.items;
    set->rate_limit_count = self->rate_limits.count;
    set->zones = self->zones.items;
    set->zone_count = self->zones.count;
    check_quorums(self, set);
}

/* ---- sources ---- */

static status_code read_source(grammar *self, const policy_source *source, failure *why) {
    arena memory;
    yaml_problem problem = {0};
    yaml_reader *documents = yaml_reader_new(source->text, yaml_bounds);
    if (documents == NULL)
        return too_large(why);
    arena_init(&memory, 65536, DOCUMENT_ARENA_BYTES);
    status_code code = STATUS_OK;
    for (;;) {
        const yaml_item *root = NULL;
        arena_reset(&memory);
        code = yaml_next(documents, &memory, &root, &problem);
        if (code != STATUS_OK || root == NULL)
            break;
        grammar_read(self, root);
    }
    if (code == STATUS_INVALID_ARGUMENT) {
        problem_add(&self->reader, POLICY_ERROR, "POLICY_INVALID", problem.line, problem.column, "%s",
                    problem.message);
        code = STATUS_OK;
    } else if (code != STATUS_OK) {
        code = too_large(why);
    }
    arena_free(&memory);
    yaml_reader_free(documents);
    return code;
}

static status_code read_sources(grammar *self, const policy_source *sources, size_t count, failure *why) {
    size_t whole = 0;
    for (size_t i = 0; i < count; i++) {
        self->reader.file = arena_text(self->reader.memory, sources[i].file);
        if (self->reader.file == NULL)
            return too_large(why);
        whole += sources[i].text.size;
        if (whole > POLICIES_TEXT_BYTES)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE",
                        "the policies have more than %u bytes; split them into several installations",
                        POLICIES_TEXT_BYTES);
        if (!utf8_valid(sources[i].text)) {
            problem_add(&self->reader, POLICY_ERROR, "POLICY_INVALID", 0, 0, "not UTF-8 text without NUL");
            continue;
        }
        status_code code = read_source(self, &sources[i], why);
        if (code != STATUS_OK)
            return code;
    }
    if (!self->set_seen)
        problem_add(&self->reader, POLICY_ERROR, "POLICY_INVALID", 0, 0,
                    "no PolicySet document; begin with one that gives the set its name and version");
    return STATUS_OK;
}

static status_code refuse_set(const policy_problems *problems, failure *why) {
    buffer text;
    buffer_init(&text, 4096);
    policy_problem_print(&problems->items[0], &text);
    status_code code =
        fail_field(why, problems->items[0].rule, "POLICY_INVALID", "%.400s",
                   buffer_ok(&text) && text.data != NULL ? text.data : problems->items[0].message);
    buffer_free(&text);
    return code;
}

static status_code load(grammar *self, const policy_source *sources, size_t count, failure *why) {
    status_code code = read_sources(self, sources, count, why);
    if (code != STATUS_OK)
        return code;
    finish(self);
    if (self->reader.out_of_memory)
        return too_large(why);
    if (self->reader.problems->count > 0)
        return refuse_set(self->reader.problems, why);
    owned_set *set = self->reader.set;
    return index_build(&set->set, &set->memory, &set->index, why);
}

status_code policies_load(const policy_source *sources, size_t count, arena *memory, policy_set **set,
                          policy_problems *problems, failure *why) {
    owned_set *made = set_new(why);
    if (made == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    grammar self = {.reader = {.memory = &made->memory,
                               .problem_memory = memory,
                               .problems = problems,
                               .set = made,
                               .file = "",
                               .rule = ""},
                    .rules = {.size = sizeof(policy_rule)},
                    .stages = {.size = sizeof(policy_stage_rule)},
                    .quorums = {.size = sizeof(policy_quorum)},
                    .rate_limits = {.size = sizeof(policy_rate_limit)},
                    .zones = {.size = sizeof(policy_zone)}};
    *problems = (policy_problems){0};
    status_code code = load(&self, sources, count, why);
    if (code == STATUS_OK)
        *set = &made->set;
    else
        policies_unref(&made->set);
    return code;
}

void policy_problem_print(const policy_problem *self, buffer *out) {
    if (self->file[0] != '\0')
        buffer_format(out, "%s:", self->file);
    if (self->line != 0)
        buffer_format(out, "%u:%u:", self->line, self->column);
    buffer_format(out, "%s%s%s%s", self->file[0] != '\0' || self->line != 0 ? " " : "",
                  self->rule[0] == '\0' ? "" : self->rule, self->rule[0] == '\0' ? "" : ": ", self->message);
}

/* ---- finding by name ---- */

const policy_rule *policies_find(const policy_set *set, const char *name) {
    size_t low = 0, high = set->rule_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(set->rules[middle].name, name);
        if (order == 0)
            return &set->rules[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const policy_quorum *policies_find_quorum(const policy_set *set, const char *name) {
    for (size_t i = 0; i < set->quorum_count; i++)
        if (strcmp(set->quorums[i].name, name) == 0)
            return &set->quorums[i];
    return NULL;
}
