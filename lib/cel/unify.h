/* Type variables and assignability. */
#ifndef CEL_UNIFY_H
#define CEL_UNIFY_H

#include "cel/type.h"

typedef struct type_variable type_variable;

/* What has been assumed about type variables so far, with a trail to take it back. */
typedef struct unifier {
    arena *memory;
    type_variable **trail;
    const cel_type **before;
    uint32_t count;
    uint32_t room;
    uint32_t variables;
    uint64_t work; /* types that may still be visited: {x: x} nested doubles a type's size with every level */
    bool exhausted; /* memory or work: everything after it is meaningless */
} unifier;

const cel_type *unify_variable(unifier *self);
/* Whether a value of `given` may stand where `wanted` is asked for; remembers what that says about variables,
 * or nothing. */
bool unify_assignable(unifier *self, const cel_type *wanted, const cel_type *given);
bool unify_all(unifier *self, const cel_type *const *wanted, const cel_type *const *given, uint32_t count);
/* With what is known put in; variables that nothing is known about become dyn when asked. */
const cel_type *unify_resolve(unifier *self, const cel_type *type, bool to_dyn);
/* The type of a list of both: the more general one, dyn when they differ. */
const cel_type *unify_join(unifier *self, const cel_type *one, const cel_type *other);

#endif
