/* What an expression may name: variables (each with a slot, so that nothing is looked up by name at run
 * time), functions, types. A new environment has CEL's standard library and the extensions strings, math,
 * encoders, bindings, optionals, two- variable comprehensions and network (cel-go's ext/README.md and
 * cel-spec's doc/extensions).
 *
 * Build it in one thread; once declared, it is read-only and any number of threads compile against it.
 * Programs do not refer to it, but the host's functions and object types must outlive them. */
#ifndef CEL_ENVIRONMENT_H
#define CEL_ENVIRONMENT_H

#include "cel/type.h"

typedef struct cel_environment cel_environment;
typedef struct cel_call cel_call;

/* A function of the host: `arguments` are of the kinds that its overload declares, never unknown or error.
 * Memory for a result comes from cel_call_memory, errors from cel_call_error. */
typedef cel_value (*cel_function)(cel_call *call, const cel_value *arguments, uint32_t count);

typedef struct cel_overload {
    const char *name; /* "f", "ns.f" */
    bool member;      /* called as a.f(b): the first parameter is a's */
    const cel_type *const *parameters;
    uint32_t count;
    const cel_type *result;
    cel_function run; /* NULL: may be checked, not evaluated */
    void *self;       /* cel_call_self() */
} cel_overload;

#define CEL_OVERLOAD_PARAMETERS 8U

/* NULL without memory. `container` is the namespace in which names are resolved, "" for none; copied. */
cel_environment *cel_environment_new(const char *container);
void cel_environment_free(cel_environment *self); /* takes NULL */

/* Where types of this environment's declarations are made. */
arena *cel_environment_arena(cel_environment *self);

/* Names may be qualified ("action.verb"). Slots are numbered from 0 in order of declaration. ALREADY_EXISTS
 * for a name taken, INVALID_ARGUMENT for one that is no identifier, RESOURCE_EXHAUSTED beyond 4096 variables.
 */
status_code cel_environment_variable(cel_environment *self, const char *name, const cel_type *type,
                                     uint32_t *slot, failure *why) MUST_USE;

/* Adds an overload; those of one name are tried in order. Copied, but for `self` and types. */
status_code cel_environment_function(cel_environment *self, const cel_overload *overload,
                                     failure *why) MUST_USE;

uint32_t cel_environment_variables(const cel_environment *self);

/* For functions of the host, during a call. cel_call_memory is NULL when the evaluation's memory is used up:
 * return any value, the evaluation ends with RESOURCE_EXHAUSTED. `text` must be static. cel_call_charge adds
 * to the cost. */
void *cel_call_memory(cel_call *call, size_t size);
cel_value cel_call_error(cel_call *call, cel_reason reason, const char *text);
void cel_call_charge(cel_call *call, uint64_t cost);
void *cel_call_self(const cel_call *call);

#endif
