/* Declarations: names in hash tables that only grow. */
#include "cel/environment.h"

#include <stdlib.h>
#include <string.h>

#include "overload.h"

#define ARENA_BYTES (16U << 20)
#define VARIABLES_MAX 4096U
#define NAME_BYTES 256U

typedef struct entry {
    const char *name;
    variable variable;
    const cel_type *type;
    const overload *first;
    overload *last;
} entry;

typedef struct table {
    entry *slots;
    uint32_t room; /* a power of two */
    uint32_t used;
} table;

struct cel_environment {
    arena memory;
    const char *container;
    table variables;
    table functions;
    table types;
    const overload *operators[ENV_OPERATORS];
};

/* ---- Tables
 * ---------------------------------------------------------------------------------------------------- */

static uint32_t hash(const char *name) {
    uint32_t value = 2166136261U;
    for (; *name != 0; name++)
        value = (value ^ (uint8_t)*name) * 16777619U;
    return value;
}

static entry *table_slot(const table *self, const char *name) {
    for (uint32_t at = hash(name);; at++) {
        entry *found = &self->slots[at & (self->room - 1)];
        if (found->name == NULL || strcmp(found->name, name) == 0)
            return found;
    }
}

static const entry *table_find(const table *self, const char *name) {
    if (self->room == 0)
        return NULL;
    const entry *found = table_slot(self, name);
    return found->name == NULL ? NULL : found;
}

static bool table_grow(table *self, arena *memory) {
    table bigger = {.room = self->room == 0 ? 64 : self->room * 2, .used = self->used};
    bigger.slots = arena_zero(memory, bigger.room, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return false;
    for (uint32_t i = 0; i < self->room; i++)
        if (self->slots[i].name != NULL)
            *table_slot(&bigger, self->slots[i].name) = self->slots[i];
    *self = bigger;
    return true;
}

/* The entry of `name`, made when new; NULL without memory. */
static entry *table_add(table *self, arena *memory, const char *name) {
    if (self->used * 2 >= self->room && !table_grow(self, memory))
        return NULL;
    entry *found = table_slot(self, name);
    if (found->name == NULL) {
        found->name = arena_text(memory, name);
        self->used += found->name != NULL;
    }
    return found->name == NULL ? NULL : found;
}

/* ---- Types
 * ----------------------------------------------------------------------------------------------------- */

uint32_t type_mask(const cel_type *type) {
    static const uint32_t KINDS[] = {
        [CEL_TYPE_NULL] = 1U << CEL_NULL,         [CEL_TYPE_BOOL] = 1U << CEL_BOOL,
        [CEL_TYPE_INT] = 1U << CEL_INT,           [CEL_TYPE_UINT] = 1U << CEL_UINT,
        [CEL_TYPE_DOUBLE] = 1U << CEL_DOUBLE,     [CEL_TYPE_STRING] = 1U << CEL_STRING,
        [CEL_TYPE_BYTES] = 1U << CEL_BYTES,       [CEL_TYPE_TIMESTAMP] = 1U << CEL_TIMESTAMP,
        [CEL_TYPE_DURATION] = 1U << CEL_DURATION, [CEL_TYPE_LIST] = 1U << CEL_LIST,
        [CEL_TYPE_MAP] = 1U << CEL_MAP,           [CEL_TYPE_TYPE] = 1U << CEL_TYPE,
        [CEL_TYPE_OBJECT] = 1U << CEL_OBJECT,
    };
    if (type->kind == CEL_TYPE_DYN || type->kind == CEL_TYPE_PARAMETER)
        return (1U << CEL_UNKNOWN) - 1;
    if (type->kind == CEL_TYPE_WRAPPER)
        return type_mask(type->parameters[0]) | 1U << CEL_NULL;
    if (type->kind != CEL_TYPE_OPAQUE)
        return KINDS[type->kind];
    if (strcmp(type->name, "optional_type") == 0)
        return 1U << CEL_OPTIONAL;
    if (strcmp(type->name, cel_type_ip.name) == 0)
        return 1U << CEL_IP;
    return strcmp(type->name, cel_type_cidr.name) == 0 ? 1U << CEL_CIDR : 1U << CEL_OPAQUE;
}

static bool is_generic(const cel_type *type) {
    bool generic = type->kind == CEL_TYPE_PARAMETER;
    for (uint32_t i = 0; i < type->count; i++)
        generic |= is_generic(type->parameters[i]);
    return generic;
}

/* Reads one type of a library_row and moves `text` behind it. */
static const cel_type *read_type(arena *memory, const char **text) {
    char letter = *(*text)++;
    const cel_type *inner = NULL;
    switch (letter) {
    case 'b':
        return &cel_type_bool;
    case 'i':
        return &cel_type_int;
    case 'u':
        return &cel_type_uint;
    case 'd':
        return &cel_type_double;
    case 's':
        return &cel_type_string;
    case 'y':
        return &cel_type_bytes;
    case 'n':
        return &cel_type_null;
    case 't':
        return &cel_type_timestamp;
    case 'r':
        return &cel_type_duration;
    case 'p':
        return &cel_type_ip;
    case 'c':
        return &cel_type_cidr;
    case 'A':
    case 'B':
        return cel_type_parameter(memory, letter == 'A' ? "A" : "B");
    case 'L':
        return cel_type_list(memory, read_type(memory, text));
    case 'M':
        inner = read_type(memory, text);
        return cel_type_map(memory, inner, read_type(memory, text));
    case 'O':
        return cel_type_optional(memory, read_type(memory, text));
    case 'T':
        return cel_type_of(memory, read_type(memory, text));
    default:
        return &cel_type_dyn;
    }
}

static bool name_type(cel_environment *self, const cel_type *type) {
    entry *found = table_add(&self->types, &self->memory, type->name);
    if (found == NULL)
        return false;
    if (found->type == NULL)
        found->type = type;
    return true;
}

/* Opaque and object types may be named once something is declared with them. */
static bool name_types_within(cel_environment *self, const cel_type *type) {
    if ((type->kind == CEL_TYPE_OPAQUE || type->kind == CEL_TYPE_OBJECT) && !name_type(self, type))
        return false;
    for (uint32_t i = 0; i < type->count; i++)
        if (!name_types_within(self, type->parameters[i]))
            return false;
    return true;
}

/* ---- Functions
 * ------------------------------------------------------------------------------------------------- */

static bool add_overload(cel_environment *self, const overload *value) {
    overload *made = arena_copy(&self->memory, value, sizeof *value);
    entry *found = made == NULL ? NULL : table_add(&self->functions, &self->memory, value->name);
    if (found == NULL)
        return false;
    made->name = found->name;
    made->next = NULL;
    made->generic = is_generic(made->result);
    for (uint32_t i = 0; i < made->count; i++) {
        made->masks[i] = type_mask(made->parameters[i]);
        made->generic |= is_generic(made->parameters[i]);
    }
    if (found->last == NULL)
        found->first = made;
    else
        found->last->next = made;
    found->last = made;
    return true;
}

static bool add_row(cel_environment *self, const library_row *row) {
    const char *text = row->parameters;
    overload made = {.name = row->name, .run = row->run, .member = *text == '.'};
    text += made.member;
    if (*text == '*') {
        made.variadic = true;
        text++;
    }
    while (*text != 0) {
        const cel_type *type = read_type(&self->memory, &text);
        if (type == NULL)
            return false;
        made.parameters[made.count++] = type;
    }
    text = row->result;
    made.result = read_type(&self->memory, &text);
    return made.result != NULL && add_overload(self, &made);
}

static bool add_standard_types(cel_environment *self) {
    const cel_type *dyn = &cel_type_dyn;
    const cel_type *const types[] = {&cel_type_null,
                                     &cel_type_bool,
                                     &cel_type_int,
                                     &cel_type_uint,
                                     &cel_type_double,
                                     &cel_type_string,
                                     &cel_type_bytes,
                                     &cel_type_ip,
                                     &cel_type_cidr,
                                     cel_type_list(&self->memory, dyn),
                                     &cel_type_timestamp,
                                     &cel_type_duration,
                                     dyn,
                                     cel_type_map(&self->memory, dyn, dyn),
                                     cel_type_of(&self->memory, dyn),
                                     cel_type_optional(&self->memory, dyn)};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i] == NULL || !name_type(self, types[i]))
            return false;
    return true;
}

static bool add_standard(cel_environment *self) {
    static const char *const NAMES[ENV_OPERATORS] = {"_==_", "_!=_", "_<_",  "_<=_",  "_>_",  "_>=_",
                                                     "@in",  "_+_",  "_-_",  "_*_",   "_/_",  "_%_",
                                                     "!_",   "-_",   "_[_]", "_[?_]", "_?_:_"};
    const library *const libraries[] = {&library_operators, &library_convert, &library_strings,
                                        &library_format,    &library_math,    &library_time,
                                        &library_network,   &library_optional};
    if (!add_standard_types(self))
        return false;
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        for (uint32_t row = 0; row < libraries[i]->count; row++)
            if (!add_row(self, &libraries[i]->rows[row]))
                return false;
    for (uint32_t i = 0; i < ENV_OPERATORS; i++)
        self->operators[i] = environment_function(self, NAMES[i]);
    return true;
}

cel_environment *cel_environment_new(const char *container) {
    cel_environment *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    arena_init(&self->memory, 1U << 17, ARENA_BYTES);
    self->container = arena_text(&self->memory, container);
    if (self->container == NULL || !add_standard(self)) {
        cel_environment_free(self);
        return NULL;
    }
    return self;
}

void cel_environment_free(cel_environment *self) {
    if (self == NULL)
        return;
    arena_free(&self->memory);
    free(self);
}

arena *cel_environment_arena(cel_environment *self) {
    return &self->memory;
}

static bool is_name(const char *name) {
    bool start = true;
    if (strlen(name) >= NAME_BYTES)
        return false;
    for (; *name != 0; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || *name == '_';
        if (!(letter || (!start && ((*name >= '0' && *name <= '9') || *name == '.'))))
            return false;
        start = *name == '.';
    }
    return !start;
}

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY", "no memory left for declarations");
}

status_code cel_environment_variable(cel_environment *self, const char *name, const cel_type *type,
                                     uint32_t *slot, failure *why) {
    if (!is_name(name))
        return fail(why, STATUS_INVALID_ARGUMENT, "CEL_NAME", "\"%.80s\" cannot name a variable", name);
    if (table_find(&self->variables, name) != NULL)
        return fail(why, STATUS_ALREADY_EXISTS, "CEL_NAME", "the variable %s is declared already", name);
    if (self->variables.used >= VARIABLES_MAX)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CEL_NAME", "more than %u variables", VARIABLES_MAX);
    uint32_t number = self->variables.used;
    entry *made = type == NULL || !name_types_within(self, type)
                      ? NULL
                      : table_add(&self->variables, &self->memory, name);
    if (made == NULL)
        return no_memory(why);
    made->variable = (variable){.name = made->name, .type = type, .slot = number};
    if (slot != NULL)
        *slot = number;
    return STATUS_OK;
}

status_code cel_environment_function(cel_environment *self, const cel_overload *given, failure *why) {
    if (!is_name(given->name) || given->count > CEL_OVERLOAD_PARAMETERS ||
        (given->member && given->count == 0))
        return fail(why, STATUS_INVALID_ARGUMENT, "CEL_NAME",
                    "\"%.80s\" cannot be declared as a function of %u parameters", given->name, given->count);
    overload made = {.name = given->name,
                     .member = given->member,
                     .count = given->count,
                     .result = given->result,
                     .run = given->run,
                     .self = given->self};
    for (uint32_t i = 0; i < given->count; i++) {
        made.parameters[i] = given->parameters[i];
        if (made.parameters[i] == NULL || !name_types_within(self, made.parameters[i]))
            return no_memory(why);
    }
    if (made.result == NULL || !name_types_within(self, made.result) || !add_overload(self, &made))
        return no_memory(why);
    return STATUS_OK;
}

uint32_t cel_environment_variables(const cel_environment *self) {
    return self->variables.used;
}

/* ---- Lookups
 * --------------------------------------------------------------------------------------------------- */

const overload *environment_function(const cel_environment *self, const char *name) {
    const entry *found = table_find(&self->functions, name);
    return found == NULL ? NULL : found->first;
}

const variable *environment_variable(const cel_environment *self, const char *name) {
    const entry *found = table_find(&self->variables, name);
    return found == NULL ? NULL : &found->variable;
}

const cel_type *environment_type(const cel_environment *self, const char *name) {
    const entry *found = table_find(&self->types, name);
    return found == NULL ? NULL : found->type;
}

const char *environment_container(const cel_environment *self) {
    return self->container;
}

const overload *environment_operator_of(const cel_environment *self, uint32_t which) {
    return self->operators[which];
}
