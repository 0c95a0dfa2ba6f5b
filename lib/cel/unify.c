/* Type variables and assignability (langdef.md, "Gradual Type Checking"; the rules for variables are those of
 * the reference checkers: a variable takes the most general of the types it met). */
#include "unify.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 100U

struct type_variable {
    cel_type type; /* first, so that a cel_type of a variable is one */
    const cel_type *bound;
    char text[12];
};

static type_variable *variable_of(const cel_type *type) {
    /* Declared parameters are instantiated before they get here; every other CEL_TYPE_PARAMETER is ours. */
    return type->kind == CEL_TYPE_PARAMETER && type->name[0] == '_' ? (type_variable *)(uintptr_t)type : NULL;
}

const cel_type *unify_variable(unifier *self) {
    type_variable *made = arena_zero(self->memory, 1, sizeof *made);
    if (made == NULL) {
        self->exhausted = true;
        return &cel_type_dyn;
    }
    snprintf(made->text, sizeof made->text, "_%u", self->variables++);
    made->type = (cel_type){.kind = CEL_TYPE_PARAMETER, .name = made->text};
    return &made->type;
}

static bool remember(unifier *self, type_variable *which, const cel_type *type) {
    if (self->count == self->room) {
        uint32_t room = self->room == 0 ? 32 : self->room * 2;
        type_variable **trail = arena_alloc(self->memory, room * sizeof(type_variable *));
        const cel_type **before = arena_alloc(self->memory, room * sizeof(const cel_type *));
        if (trail == NULL || before == NULL) {
            self->exhausted = true;
            return false;
        }
        if (self->count > 0) {
            memcpy(trail, self->trail, self->count * sizeof(type_variable *));
            memcpy(before, self->before, self->count * sizeof(const cel_type *));
        }
        self->trail = trail;
        self->before = before;
        self->room = room;
    }
    self->trail[self->count] = which;
    self->before[self->count++] = which->bound;
    which->bound = type;
    return true;
}

static void take_back(unifier *self, uint32_t mark) {
    while (self->count > mark) {
        self->count--;
        self->trail[self->count]->bound = self->before[self->count];
    }
}

/* Counts a visit; true when there were too many. */
static bool tired(unifier *self) {
    if (self->work == 0)
        self->exhausted = true;
    else
        self->work--;
    return self->exhausted;
}

/* Whether `needle` occurs in `type`, so that binding them would make an endless type. */
static bool occurs(unifier *self, const cel_type *needle, const cel_type *type, uint32_t depth) {
    if (depth > DEPTH_MAX || tired(self))
        return true;
    if (needle == type)
        return true;
    const type_variable *which = variable_of(type);
    if (which != NULL)
        return which->bound != NULL && occurs(self, needle, which->bound, depth + 1);
    for (uint32_t i = 0; i < type->count; i++)
        if (occurs(self, needle, type->parameters[i], depth + 1))
            return true;
    return false;
}

static bool more_general(unifier *self, const cel_type *one, const cel_type *other) {
    if (tired(self) || one->kind == CEL_TYPE_DYN || one->kind == CEL_TYPE_PARAMETER)
        return true;
    if (other->kind == CEL_TYPE_DYN || other->kind == CEL_TYPE_PARAMETER)
        return false;
    if (one->kind == CEL_TYPE_WRAPPER && other->kind == one->parameters[0]->kind)
        return true;
    if (other->kind == CEL_TYPE_NULL && one->kind != CEL_TYPE_NULL)
        return true;
    if (one->kind != other->kind || one->count != other->count)
        return false;
    for (uint32_t i = 0; i < one->count; i++)
        if (!more_general(self, one->parameters[i], other->parameters[i]))
            return false;
    return one->count > 0 || cel_type_equal(one, other);
}

static bool assignable(unifier *self, const cel_type *wanted, const cel_type *given, uint32_t depth);

/* Whether `which` may be (or already is) `type`. *known: it had a meaning before. */
static bool bind(unifier *self, type_variable *which, const cel_type *type, bool *known, uint32_t depth) {
    *known = which->bound != NULL;
    if (&which->type == type) {
        *known = true;
        return true;
    }
    if (which->bound == NULL)
        return !occurs(self, &which->type, type, 0) && remember(self, which, type);
    if (which->bound == type)
        return true;
    if (!assignable(self, type, which->bound, depth + 1))
        return false;
    const cel_type *wider = more_general(self, type, which->bound) ? type : which->bound;
    if (wider != which->bound && !occurs(self, &which->type, wider, 0))
        return remember(self, which, wider);
    return true;
}

static bool is_nullable(const cel_type *type) {
    return type->kind == CEL_TYPE_NULL || type->kind == CEL_TYPE_WRAPPER || type->kind == CEL_TYPE_OBJECT ||
           type->kind == CEL_TYPE_OPAQUE || type->kind == CEL_TYPE_TIMESTAMP ||
           type->kind == CEL_TYPE_DURATION;
}

static bool same_shape(unifier *self, const cel_type *wanted, const cel_type *given, uint32_t depth) {
    if (wanted->kind == CEL_TYPE_WRAPPER || given->kind == CEL_TYPE_WRAPPER) {
        const cel_type *one = wanted->kind == CEL_TYPE_WRAPPER ? wanted->parameters[0] : wanted;
        const cel_type *other = given->kind == CEL_TYPE_WRAPPER ? given->parameters[0] : given;
        return one->kind == other->kind;
    }
    if (wanted->kind == CEL_TYPE_TYPE && given->kind == CEL_TYPE_TYPE)
        return true;
    if (wanted->kind != given->kind || wanted->count != given->count || wanted->object != given->object)
        return false;
    if (wanted->kind == CEL_TYPE_OPAQUE && strcmp(wanted->name, given->name) != 0)
        return false;
    for (uint32_t i = 0; i < wanted->count; i++)
        if (!assignable(self, wanted->parameters[i], given->parameters[i], depth + 1))
            return false;
    return true;
}

static bool assignable(unifier *self, const cel_type *wanted, const cel_type *given, uint32_t depth) {
    if (depth > DEPTH_MAX || tired(self))
        return false;
    type_variable *right = variable_of(given);
    bool known = false;
    if (right != NULL) {
        if (bind(self, right, wanted, &known, depth))
            return true;
        if (known)
            return false;
    }
    type_variable *left = variable_of(wanted);
    if (left != NULL)
        return bind(self, left, given, &known, depth);
    if (wanted->kind == CEL_TYPE_DYN || given->kind == CEL_TYPE_DYN)
        return true;
    if (wanted->kind == CEL_TYPE_NULL)
        return is_nullable(given);
    if (given->kind == CEL_TYPE_NULL)
        return is_nullable(wanted);
    return same_shape(self, wanted, given, depth);
}

bool unify_assignable(unifier *self, const cel_type *wanted, const cel_type *given) {
    return unify_all(self, &wanted, &given, 1);
}

bool unify_all(unifier *self, const cel_type *const *wanted, const cel_type *const *given, uint32_t count) {
    uint32_t mark = self->count;
    for (uint32_t i = 0; i < count; i++)
        if (!assignable(self, wanted[i], given[i], 0)) {
            take_back(self, mark);
            return false;
        }
    return true;
}

static const cel_type *resolve(unifier *self, const cel_type *type, bool to_dyn, uint32_t depth) {
    if (depth > DEPTH_MAX || tired(self))
        return &cel_type_dyn;
    const type_variable *which = variable_of(type);
    if (which != NULL)
        return which->bound != NULL ? resolve(self, which->bound, to_dyn, depth + 1)
               : to_dyn             ? &cel_type_dyn
                                    : type;
    cel_type made = *type;
    bool changed = false;
    for (uint32_t i = 0; i < type->count; i++) {
        made.parameters[i] = resolve(self, type->parameters[i], to_dyn, depth + 1);
        changed |= made.parameters[i] != type->parameters[i];
    }
    const cel_type *copy = changed ? arena_copy(self->memory, &made, sizeof made) : type;
    self->exhausted |= copy == NULL;
    return copy == NULL ? &cel_type_dyn : copy;
}

const cel_type *unify_resolve(unifier *self, const cel_type *type, bool to_dyn) {
    return resolve(self, type, to_dyn, 0);
}

const cel_type *unify_join(unifier *self, const cel_type *one, const cel_type *other) {
    if (one == NULL)
        return other;
    if (!unify_assignable(self, one, other))
        return &cel_type_dyn;
    return more_general(self, one, other) ? one : other;
}
