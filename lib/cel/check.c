/* Gives every name its meaning and every expression its type (langdef.md, "Name Resolution", "Gradual Type
 * Checking"). An unchecked expression takes the same way with every type dyn: what is wrong then shows when
 * it is evaluated. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lexer.h"
#include "overload.h"
#include "unify.h"

#define QUALIFIED_BYTES 1024U
#define LOCALS_MAX 512U /* two variables for each of CEL_DEPTH macros */
#define PARAMETERS_MAX 6U
#define WORK 1000000U /* types visited */
#define WORK_PER_SOURCE_BYTE 64U

typedef struct local {
    const char *name;
    const cel_type *type;
} local;

typedef struct checker {
    const cel_environment *environment;
    bytes source;
    arena *memory;
    failure *why;
    unifier types;
    bool lenient;
    status_code code; /* of the first failure; everything returns NULL after it */
    uint32_t locals_count;
    local locals[LOCALS_MAX];
} checker;

static const cel_type *check(checker *self, node *tree);

static const cel_type *no_memory(checker *self) {
    if (self->code == STATUS_OK)
        self->code = fail(self->why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY",
                          "checking the types takes too much memory or work");
    return NULL;
}

__attribute__((format(printf, 3, 4))) static const cel_type *wrong(checker *self, const node *at,
                                                                   const char *format, ...) {
    char what[180];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (self->code == STATUS_OK)
        self->code = source_fail(self->why, self->source, at->offset, STATUS_INVALID_ARGUMENT,
                                 "CEL_TYPE_ERROR", "%s", what);
    return NULL;
}

/* A type as text, for messages. */
static const char *type_text(checker *self, const cel_type *type) {
    buffer text;
    buffer_init(&text, 4096);
    cel_type_print(unify_resolve(&self->types, type, true), &text);
    const char *copy = buffer_ok(&text) && text.size > 0 ? arena_text(self->memory, text.data) : NULL;
    buffer_free(&text);
    return copy == NULL ? "?" : copy;
}

static const cel_type *made(checker *self, const cel_type *type) {
    return type == NULL ? no_memory(self) : type;
}

/* ---- Names
 * ----------------------------------------------------------------------------------------------------- */

static bool find_local(const checker *self, const char *name, uint32_t *slot) {
    for (uint32_t i = self->locals_count; i > 0; i--)
        if (strcmp(self->locals[i - 1].name, name) == 0) {
            *slot = i - 1;
            return true;
        }
    return false;
}

/* Writes a.b.c for a chain of plain selections; false for anything else, or when its root is a macro's
 * variable. */
static bool qualified(const checker *self, const node *chain, char *out, size_t *size, bool *absolute) {
    uint32_t slot;
    if (chain->grouped)
        return false;
    if (chain->kind == NODE_SELECT) {
        if (chain->optional || chain->absolute || !qualified(self, chain->children[0], out, size, absolute))
            return false;
        if (*size + 1 < QUALIFIED_BYTES)
            out[(*size)++] = '.';
    } else if (chain->kind == NODE_IDENTIFIER && (chain->absolute || !find_local(self, chain->name, &slot))) {
        *absolute = chain->absolute;
    } else {
        return false;
    }
    size_t length = strlen(chain->name);
    if (*size + length >= QUALIFIED_BYTES)
        return false;
    memcpy(out + *size, chain->name, length + 1);
    *size += length;
    return true;
}

/* Calls `look` with the name in the container, in the container's parents, and alone, until it is found. */
static bool in_containers(const checker *self, const char *name, bool absolute,
                          bool (*look)(const checker *, const char *, void *), void *found) {
    const char *container = environment_container(self->environment);
    size_t prefix = absolute ? 0 : strlen(container);
    char candidate[QUALIFIED_BYTES * 2];
    while (prefix > 0) {
        snprintf(candidate, sizeof candidate, "%.*s.%s", (int)prefix, container, name);
        if (look(self, candidate, found))
            return true;
        while (prefix > 0 && container[prefix - 1] != '.')
            prefix--;
        prefix -= prefix > 0;
    }
    return look(self, name, found);
}

typedef struct meaning {
    const variable *variable;
    const cel_type *type;
    const overload *overloads;
    const wellknown *message;
} meaning;

static bool look_value(const checker *self, const char *name, void *found) {
    meaning *out = found;
    out->variable = environment_variable(self->environment, name);
    if (out->variable == NULL)
        out->type = environment_type(self->environment, name);
    return out->variable != NULL || out->type != NULL;
}

static bool look_function(const checker *self, const char *name, void *found) {
    ((meaning *)found)->overloads = environment_function(self->environment, name);
    return ((meaning *)found)->overloads != NULL;
}

static bool look_message(const checker *self, const char *name, void *found) {
    (void)self;
    ((meaning *)found)->message = wellknown_find(name);
    return ((meaning *)found)->message != NULL;
}

/* A variable or type named by the whole chain; NULL when there is none (not an error). */
static const cel_type *check_qualified(checker *self, node *tree) {
    char name[QUALIFIED_BYTES];
    size_t size = 0;
    bool absolute = false;
    meaning found = {0};
    if (!qualified(self, tree, name, &size, &absolute) ||
        !in_containers(self, name, absolute, look_value, &found))
        return NULL;
    if (found.variable != NULL) {
        tree->meaning = MEANS_VARIABLE;
        tree->slot = found.variable->slot;
        return self->lenient ? &cel_type_dyn : found.variable->type;
    }
    tree->meaning = MEANS_TYPE;
    tree->text = found.type->name;
    return self->lenient ? &cel_type_dyn : made(self, cel_type_of(self->memory, found.type));
}

static const cel_type *check_identifier(checker *self, node *tree) {
    if (!tree->absolute && find_local(self, tree->name, &tree->slot)) {
        tree->meaning = MEANS_LOCAL;
        return self->locals[tree->slot].type;
    }
    bool grouped = tree->grouped;
    tree->grouped = false;
    const cel_type *type = check_qualified(self, tree);
    tree->grouped = grouped;
    if (type != NULL || self->code != STATUS_OK)
        return type;
    tree->meaning = MEANS_UNKNOWN;
    return self->lenient ? &cel_type_dyn : wrong(self, tree, "undeclared reference to '%.100s'", tree->name);
}

/* ---- Fields
 * ---------------------------------------------------------------------------------------------------- */

static const cel_type *optional_content(const cel_type *type) {
    return type->kind == CEL_TYPE_OPAQUE && type->count == 1 && strcmp(type->name, "optional_type") == 0
               ? type->parameters[0]
               : NULL;
}

static const cel_type *object_field(checker *self, node *tree, const cel_type *type) {
    for (uint32_t i = 0; i < type->object->count; i++)
        if (strcmp(type->object->fields[i].name, tree->name) == 0) {
            tree->meaning = MEANS_FIELD;
            tree->slot = i;
            tree->text = type->object->fields[i].name;
            return type->object->fields[i].type;
        }
    return wrong(self, tree, "undefined field '%.80s' of %.60s", tree->name, type->name);
}

static const cel_type *check_field(checker *self, node *tree) {
    const cel_type *operand = check(self, tree->children[0]);
    if (operand == NULL)
        return NULL;
    operand = unify_resolve(&self->types, operand, false);
    const cel_type *content = optional_content(operand);
    if (content != NULL)
        operand = unify_resolve(&self->types, content, false);
    const cel_type *result = &cel_type_dyn;
    if (operand->kind == CEL_TYPE_MAP)
        result = operand->parameters[1];
    else if (operand->kind == CEL_TYPE_OBJECT)
        result = object_field(self, tree, operand);
    else if (operand->kind == CEL_TYPE_PARAMETER)
        unify_assignable(&self->types, &cel_type_dyn, operand);
    else if (operand->kind != CEL_TYPE_DYN)
        return wrong(self, tree, "type '%.100s' does not support field selection", type_text(self, operand));
    if (result == NULL || tree->kind == NODE_HAS)
        return result == NULL ? NULL : &cel_type_bool;
    /* Optional stays optional along a chain. */
    if ((tree->optional || content != NULL) && optional_content(result) == NULL)
        return made(self, cel_type_optional(self->memory, result));
    return result;
}

static const cel_type *check_select(checker *self, node *tree) {
    const cel_type *type = tree->kind == NODE_SELECT ? check_qualified(self, tree) : NULL;
    return type != NULL || self->code != STATUS_OK ? type : check_field(self, tree);
}

/* ---- Calls
 * ----------------------------------------------------------------------------------------------------- */

typedef struct instance {
    const char *names[PARAMETERS_MAX];
    const cel_type *variables[PARAMETERS_MAX];
    uint32_t count;
} instance;

/* `type` with its parameters replaced by fresh variables, the same one for the same name. */
static const cel_type *instantiate(checker *self, instance *fresh, const cel_type *type) {
    if (type->kind == CEL_TYPE_PARAMETER) {
        for (uint32_t i = 0; i < fresh->count; i++)
            if (strcmp(fresh->names[i], type->name) == 0)
                return fresh->variables[i];
        if (fresh->count == PARAMETERS_MAX)
            return &cel_type_dyn;
        fresh->names[fresh->count] = type->name;
        fresh->variables[fresh->count] = unify_variable(&self->types);
        return fresh->variables[fresh->count++];
    }
    cel_type copy = *type;
    bool changed = false;
    for (uint32_t i = 0; i < type->count; i++) {
        copy.parameters[i] = instantiate(self, fresh, type->parameters[i]);
        changed |= copy.parameters[i] != type->parameters[i];
    }
    if (!changed)
        return type;
    const cel_type *kept = arena_copy(self->memory, &copy, sizeof copy);
    self->types.exhausted |= kept == NULL;
    return kept == NULL ? &cel_type_dyn : kept;
}

/* The result when `candidate` takes the arguments, else NULL. */
static const cel_type *apply(checker *self, const overload *candidate, const cel_type *const *arguments,
                             uint32_t count) {
    if (candidate->count != count)
        return NULL;
    if (!candidate->generic)
        return unify_all(&self->types, candidate->parameters, arguments, count) ? candidate->result : NULL;
    instance fresh = {.count = 0};
    const cel_type *parameters[CEL_OVERLOAD_PARAMETERS];
    for (uint32_t i = 0; i < count; i++)
        parameters[i] = instantiate(self, &fresh, candidate->parameters[i]);
    const cel_type *result = instantiate(self, &fresh, candidate->result);
    return unify_all(&self->types, parameters, arguments, count) ? unify_resolve(&self->types, result, false)
                                                                 : NULL;
}

static bool is_number(const cel_type *type) {
    return type->kind == CEL_TYPE_INT || type->kind == CEL_TYPE_UINT || type->kind == CEL_TYPE_DOUBLE ||
           type->kind == CEL_TYPE_DYN;
}

/* math.greatest and math.least: numbers, or one list of numbers. */
static const cel_type *apply_variadic(checker *self, const cel_type *const *arguments, uint32_t count) {
    const cel_type *result = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const cel_type *type = unify_resolve(&self->types, arguments[i], true);
        if (count == 1 && type->kind == CEL_TYPE_LIST)
            type = unify_resolve(&self->types, type->parameters[0], true);
        if (!is_number(type))
            return NULL;
        result = result == NULL || cel_type_equal(result, type) ? type : &cel_type_dyn;
    }
    return result;
}

static const cel_type *no_overload(checker *self, const node *tree, const char *name, bool member,
                                   const cel_type *const *arguments, uint32_t count) {
    buffer text;
    buffer_init(&text, 4096);
    for (uint32_t i = member ? 1 : 0; i < count; i++)
        buffer_format(&text, "%s%s", i > (member ? 1U : 0U) ? ", " : "", type_text(self, arguments[i]));
    const char *list = buffer_ok(&text) && text.size > 0 ? text.data : "";
    if (member)
        wrong(self, tree, "found no matching overload for '%.60s' applied to '%.60s.(%.80s)'", name,
              type_text(self, arguments[0]), list);
    else
        wrong(self, tree, "found no matching overload for '%.60s' applied to '(%.100s)'", name, list);
    buffer_free(&text);
    return NULL;
}

/* Keeps the overloads that may apply in the node; the result type, dyn when they differ. */
static const cel_type *check_overloads(checker *self, node *tree, const overload *first, bool member,
                                       const cel_type *const *arguments, uint32_t count) {
    uint32_t room = 0;
    for (const overload *each = first; each != NULL; each = each->next)
        room++;
    const overload **kept = arena_alloc(self->memory, (room + 1) * sizeof(const overload *));
    if (kept == NULL)
        return no_memory(self);
    const cel_type *result = NULL;
    for (const overload *each = first; each != NULL; each = each->next) {
        if (each->member != member)
            continue;
        const cel_type *type =
            each->variadic ? apply_variadic(self, arguments, count) : apply(self, each, arguments, count);
        if (type == NULL)
            continue;
        kept[tree->overload_count++] = each;
        result = result == NULL || cel_type_equal(result, type) ? type : &cel_type_dyn;
    }
    tree->meaning = MEANS_FUNCTION;
    tree->overloads = kept;
    if (result == NULL && !self->lenient)
        return no_overload(self, tree, first == NULL ? tree->name : first->name, member, arguments, count);
    return self->lenient || result == NULL ? &cel_type_dyn : result;
}

static const cel_type *check_operator(checker *self, node *tree, uint32_t which) {
    const cel_type *arguments[3];
    for (uint32_t i = 0; i < tree->count && i < 3; i++)
        if ((arguments[i] = check(self, tree->children[i])) == NULL)
            return NULL;
    if (self->lenient)
        return &cel_type_dyn;
    const cel_type *type = check_overloads(self, tree, environment_operator_of(self->environment, which),
                                           false, arguments, tree->count);
    /* Operators have instructions of their own. */
    tree->meaning = MEANS_NOTHING;
    return type;
}

/* Whether the receiver is the namespace of a function: math.abs(x). */
static bool is_namespace(checker *self, const node *tree, meaning *found) {
    char name[QUALIFIED_BYTES];
    size_t size = 0;
    bool absolute = false;
    if (!qualified(self, tree->children[0], name, &size, &absolute) ||
        size + strlen(tree->name) + 2 > sizeof name)
        return false;
    snprintf(name + size, sizeof name - size, ".%s", tree->name);
    return in_containers(self, name, absolute, look_function, found);
}

static const cel_type *check_call(checker *self, node *tree) {
    meaning found = {0};
    bool member = tree->member;
    if (member && is_namespace(self, tree, &found)) {
        tree->namespaced = true;
        member = false;
    } else if (member) {
        found.overloads = environment_function(self->environment, tree->name);
    } else {
        in_containers(self, tree->name, tree->absolute, look_function, &found);
    }
    if (found.overloads == NULL && !self->lenient)
        return wrong(self, tree, "undeclared reference to function '%.100s'", tree->name);
    uint32_t first = tree->namespaced ? 1 : 0;
    uint32_t count = tree->count - first;
    const cel_type **arguments = arena_alloc(self->memory, (count + 1) * sizeof(const cel_type *));
    if (arguments == NULL)
        return no_memory(self);
    for (uint32_t i = 0; i < count; i++)
        if ((arguments[i] = check(self, tree->children[first + i])) == NULL)
            return NULL;
    return check_overloads(self, tree, found.overloads, member, arguments, count);
}

/* ---- Aggregates
 * ------------------------------------------------------------------------------------------------ */

/* The element type of an entry that may be written with ?. */
static const cel_type *check_element(checker *self, const node *tree, uint32_t index) {
    const cel_type *type = check(self, tree->children[index]);
    if (type == NULL || tree->marks == NULL || !tree->marks[index])
        return type;
    type = unify_resolve(&self->types, type, false);
    const cel_type *content = optional_content(type);
    if (content == NULL && type->kind != CEL_TYPE_DYN)
        return wrong(self, tree->children[index], "expected an optional after ? but found '%.100s'",
                     type_text(self, type));
    return content == NULL ? type : content;
}

static const cel_type *check_list(checker *self, const node *tree) {
    const cel_type *element = NULL;
    for (uint32_t i = 0; i < tree->count; i++) {
        const cel_type *type = check_element(self, tree, i);
        if (type == NULL)
            return NULL;
        element = unify_join(&self->types, element, type);
    }
    if (element == NULL)
        element = unify_variable(&self->types);
    return self->lenient ? &cel_type_dyn : made(self, cel_type_list(self->memory, element));
}

static const cel_type *check_map(checker *self, const node *tree) {
    const cel_type *keys = NULL;
    const cel_type *values = NULL;
    for (uint32_t i = 0; i + 1 < tree->count; i += 2) {
        const cel_type *key = check(self, tree->children[i]);
        const cel_type *value = key == NULL ? NULL : check_element(self, tree, i + 1);
        if (value == NULL)
            return NULL;
        keys = unify_join(&self->types, keys, key);
        values = unify_join(&self->types, values, value);
    }
    if (keys == NULL) {
        keys = unify_variable(&self->types);
        values = unify_variable(&self->types);
    }
    return self->lenient ? &cel_type_dyn : made(self, cel_type_map(self->memory, keys, values));
}

static const cel_type *check_struct(checker *self, node *tree) {
    meaning found = {0};
    if (!in_containers(self, tree->name, tree->absolute, look_message, &found)) {
        tree->meaning = MEANS_UNKNOWN;
        if (!self->lenient)
            return wrong(self, tree, "'%.100s' is no message that can be built", tree->name);
    }
    tree->text = found.message == NULL ? NULL : (const char *)found.message;
    for (uint32_t i = 0; i < tree->count; i++) {
        const cel_type *type = check_element(self, tree, i);
        uint32_t index = 0;
        const cel_type *wanted = &cel_type_dyn;
        if (type == NULL)
            return NULL;
        if (found.message == NULL || self->lenient)
            continue;
        if (!wellknown_field(found.message, tree->names[i], &index, &wanted))
            return wrong(self, tree->children[i], "undefined field '%.60s' of %.80s", tree->names[i],
                         tree->name);
        if (!unify_assignable(&self->types, wanted, type))
            return wrong(self, tree->children[i],
                         "expected type of field '%.60s' is '%.60s' but provided type is '%.60s'",
                         tree->names[i], type_text(self, wanted), type_text(self, type));
    }
    return self->lenient || found.message == NULL ? &cel_type_dyn : wellknown_type(found.message);
}

static const cel_type *expect_bool(checker *self, node *tree) {
    const cel_type *type = check(self, tree);
    if (type != NULL && !unify_assignable(&self->types, &cel_type_bool, type))
        return wrong(self, tree, "expected type 'bool' but found '%.100s'", type_text(self, type));
    return type;
}

static const cel_type *check_logical(checker *self, node *tree) {
    for (uint32_t i = 0; i < tree->count; i++) {
        const cel_type *type =
            self->lenient ? check(self, tree->children[i]) : expect_bool(self, tree->children[i]);
        if (type == NULL)
            return NULL;
    }
    return &cel_type_bool;
}

/* ---- Macros
 * ---------------------------------------------------------------------------------------------------- */

/* What the variables of a macro over `range` are; keys or indexes first when there are two. */
static bool range_types(checker *self, const node *tree, const cel_type *range,
                        const cel_type *variables[2]) {
    bool two = tree->names_count == 2;
    range = unify_resolve(&self->types, range, false);
    if (range->kind == CEL_TYPE_LIST) {
        variables[0] = two ? &cel_type_int : range->parameters[0];
        variables[1] = range->parameters[0];
        return true;
    }
    if (range->kind == CEL_TYPE_MAP) {
        variables[0] = range->parameters[0];
        variables[1] = range->parameters[1];
        return true;
    }
    if (range->kind != CEL_TYPE_DYN && range->kind != CEL_TYPE_PARAMETER) {
        wrong(self, tree->children[0], "a macro goes over a list or map, not over '%.100s'",
              type_text(self, range));
        return false;
    }
    unify_assignable(&self->types, &cel_type_dyn, range);
    variables[0] = variables[1] = &cel_type_dyn;
    return true;
}

static bool push_local(checker *self, const node *tree, const char *name, const cel_type *type) {
    if (self->locals_count == LOCALS_MAX)
        return wrong(self, tree, "too many nested macros") != NULL;
    self->locals[self->locals_count++] = (local){name, type};
    return true;
}

static const cel_type *macro_result(checker *self, const node *tree, const cel_type *const *variables,
                                    const cel_type *last) {
    const cel_type *resolved = unify_resolve(&self->types, last, false);
    switch ((node_macro)tree->detail) {
    case MACRO_ALL:
    case MACRO_EXISTS:
    case MACRO_EXISTS_ONE:
        return &cel_type_bool;
    case MACRO_FILTER:
        return cel_type_list(self->memory, variables[0]);
    case MACRO_MAP:
        return cel_type_list(self->memory, last);
    case MACRO_TRANSFORM_MAP:
        return cel_type_map(self->memory, variables[0], last);
    case MACRO_TRANSFORM_MAP_ENTRY:
        if (resolved->kind != CEL_TYPE_MAP && resolved->kind != CEL_TYPE_DYN)
            return wrong(self, tree->children[tree->count - 1],
                         "transformMapEntry() yields a map per entry, not '%.100s'", type_text(self, last));
        return last;
    case MACRO_BIND:
        return last;
    case MACRO_OPT_MAP:
        return cel_type_optional(self->memory, last);
    case MACRO_OPT_FLAT_MAP:
        if (optional_content(resolved) == NULL && resolved->kind != CEL_TYPE_DYN)
            return wrong(self, tree->children[1], "optFlatMap() yields an optional, not '%.100s'",
                         type_text(self, last));
        return last;
    }
    return NULL;
}

/* The types of a macro's variables; false after an error. */
static bool macro_variables(checker *self, const node *tree, const cel_type *range,
                            const cel_type *variables[2]) {
    if (tree->detail == MACRO_BIND) {
        variables[0] = range;
        return true;
    }
    if (tree->detail != MACRO_OPT_MAP && tree->detail != MACRO_OPT_FLAT_MAP)
        return range_types(self, tree, range, variables);
    range = unify_resolve(&self->types, range, false);
    variables[0] = optional_content(range);
    if (variables[0] == NULL && range->kind != CEL_TYPE_DYN) {
        wrong(self, tree, "%s() is for an optional, not for '%.100s'",
              tree->detail == MACRO_OPT_MAP ? "optMap" : "optFlatMap", type_text(self, range));
        return false;
    }
    if (variables[0] == NULL)
        variables[0] = &cel_type_dyn;
    return true;
}

static const cel_type *check_macro(checker *self, node *tree) {
    const cel_type *variables[2] = {&cel_type_dyn, &cel_type_dyn};
    const cel_type *range = check(self, tree->children[0]);
    if (range == NULL || !macro_variables(self, tree, range, variables))
        return NULL;
    tree->locals = self->locals_count;
    for (uint32_t i = 0; i < tree->names_count && i < 2; i++)
        if (!push_local(self, tree, tree->names[i], variables[i]))
            return NULL;
    bool last_is_bool = tree->detail <= MACRO_EXISTS_ONE || tree->detail == MACRO_FILTER;
    const cel_type *type = NULL;
    for (uint32_t i = 1; i < tree->count; i++) {
        bool is_bool = i + 1 < tree->count || last_is_bool;
        type =
            is_bool && !self->lenient ? expect_bool(self, tree->children[i]) : check(self, tree->children[i]);
        if (type == NULL)
            return NULL;
    }
    self->locals_count = tree->locals;
    if (self->lenient)
        return &cel_type_dyn;
    const cel_type *result = macro_result(self, tree, variables, type);
    return result == NULL && self->code == STATUS_OK ? no_memory(self) : result;
}

/* ---- All
 * ------------------------------------------------------------------------------------------------------- */

static const cel_type *literal_type(const checker *self, const node *tree) {
    static const cel_type *const TYPES[] = {&cel_type_null, &cel_type_bool,   &cel_type_int,
                                            &cel_type_uint, &cel_type_double, &cel_type_string,
                                            &cel_type_bytes};
    return self->lenient ? &cel_type_dyn : TYPES[tree->value.kind];
}

static const cel_type *check_kind(checker *self, node *tree) {
    switch ((node_kind)tree->kind) {
    case NODE_LITERAL:
        return literal_type(self, tree);
    case NODE_IDENTIFIER:
        return check_identifier(self, tree);
    case NODE_SELECT:
    case NODE_HAS:
        return check_select(self, tree);
    case NODE_CALL:
        return check_call(self, tree);
    case NODE_NOT:
        return check_operator(self, tree, ENV_NOT);
    case NODE_NEGATE:
        return check_operator(self, tree, ENV_NEGATE);
    case NODE_BINARY:
        return check_operator(self, tree, tree->detail);
    case NODE_CONDITION:
        return check_operator(self, tree, ENV_CONDITION);
    case NODE_INDEX:
        return check_operator(self, tree, tree->optional ? ENV_OPT_INDEX : ENV_INDEX);
    case NODE_AND:
    case NODE_OR:
        return check_logical(self, tree);
    case NODE_LIST:
        return check_list(self, tree);
    case NODE_MAP:
        return check_map(self, tree);
    case NODE_STRUCT:
        return check_struct(self, tree);
    case NODE_MACRO:
        return check_macro(self, tree);
    }
    return NULL;
}

static const cel_type *check(checker *self, node *tree) {
    if (self->code != STATUS_OK)
        return NULL;
    tree->type = check_kind(self, tree);
    return self->types.exhausted ? no_memory(self) : tree->type;
}

status_code check_tree(const cel_environment *environment, bytes source, bool lenient, arena *memory,
                       node *tree, const cel_type **type, failure *why) {
    checker self = {
        .environment = environment, .source = source, .memory = memory, .why = why, .lenient = lenient};
    self.types.memory = memory;
    self.types.work = WORK + source.size * WORK_PER_SOURCE_BYTE;
    const cel_type *found = check(&self, tree);
    if (found == NULL)
        return self.code != STATUS_OK ? self.code : STATUS_INTERNAL;
    *type = unify_resolve(&self.types, found, true);
    if (self.types.exhausted)
        no_memory(&self);
    return self.code;
}
