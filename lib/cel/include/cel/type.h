/* The types that the checker reasons with (langdef.md, "Gradual Type Checking"). The simple ones are
 * constants; the others are made in an arena that must outlive everything that uses them (an environment's
 * own, for what is declared in it). */
#ifndef CEL_TYPE_H
#define CEL_TYPE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "cel/value.h"

typedef enum cel_type_kind {
    CEL_TYPE_DYN, /* checked when it is evaluated */
    CEL_TYPE_NULL,
    CEL_TYPE_BOOL,
    CEL_TYPE_INT,
    CEL_TYPE_UINT,
    CEL_TYPE_DOUBLE,
    CEL_TYPE_STRING,
    CEL_TYPE_BYTES,
    CEL_TYPE_TIMESTAMP,
    CEL_TYPE_DURATION,
    CEL_TYPE_LIST,      /* parameters[0]: elements */
    CEL_TYPE_MAP,       /* parameters[0]: keys, [1]: values */
    CEL_TYPE_TYPE,      /* parameters[0]: whose type */
    CEL_TYPE_WRAPPER,   /* parameters[0]: a simple type; null is also a value of it */
    CEL_TYPE_OPAQUE,    /* `name` with parameters: optional_type, net.IP, a host's own */
    CEL_TYPE_OBJECT,    /* `object` */
    CEL_TYPE_PARAMETER, /* `name`: stands for any type in an overload */
} cel_type_kind;

#define CEL_TYPE_PARAMETERS 4U

typedef struct cel_type cel_type;
struct cel_type {
    cel_type_kind kind;
    uint32_t count; /* of parameters */
    const char *name;
    const cel_object_type *object;
    const cel_type *parameters[CEL_TYPE_PARAMETERS];
};

/* A field of a host's record. */
typedef struct cel_field {
    const char *name;
    const cel_type *type;
} cel_field;

/* A record of the host. `get` writes field `index` and returns true, or returns false when the object does
 * not have it: has() is false then and reading it is an error. A fact that is not known is cel_unknown() and
 * true: has() and reading it both yield the unknown. Called from the thread that evaluates. */
struct cel_object_type {
    const char *name;
    const cel_field *fields;
    uint32_t count;
    bool (*get)(const void *host, uint32_t index, cel_value *value);
};

extern const cel_type cel_type_dyn, cel_type_null, cel_type_bool, cel_type_int, cel_type_uint,
    cel_type_double, cel_type_string, cel_type_bytes, cel_type_timestamp, cel_type_duration, cel_type_ip,
    cel_type_cidr;

/* NULL when the arena is exhausted or a parameter is NULL. */
const cel_type *cel_type_list(arena *memory, const cel_type *element);
const cel_type *cel_type_map(arena *memory, const cel_type *key, const cel_type *value);
const cel_type *cel_type_optional(arena *memory, const cel_type *value);
const cel_type *cel_type_of(arena *memory, const cel_type *type);
const cel_type *cel_type_wrapper(arena *memory, const cel_type *simple);
const cel_type *cel_type_opaque(arena *memory, const char *name, const cel_type *const *parameters,
                                uint32_t count);
const cel_type *cel_type_object(arena *memory, const cel_object_type *object);
const cel_type *cel_type_parameter(arena *memory, const char *name); /* does not begin with _ */

/* False also when telling would take more than 100,000 steps. */
bool cel_type_equal(const cel_type *left, const cel_type *right);

/* "list(map(string, dyn))", as a person reads it. */
void cel_type_print(const cel_type *type, buffer *out);

#endif
