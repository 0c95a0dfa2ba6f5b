/* Functions as the checker and the evaluator see them. */
#ifndef CEL_OVERLOAD_H
#define CEL_OVERLOAD_H

#include "cel/environment.h"
#include "node.h"

struct overload {
    const char *name;
    bool member;
    bool generic;  /* has type parameters */
    bool variadic; /* any number of numbers, or one list of them (math.greatest) */
    uint32_t count;
    const cel_type *parameters[CEL_OVERLOAD_PARAMETERS];
    uint32_t masks[CEL_OVERLOAD_PARAMETERS]; /* bit 1 << cel_kind: what is taken at run time */
    const cel_type *result;
    cel_function run;
    void *self;
    const overload *next; /* of the same name, in order of declaration */
};

/* A row of the standard library. Types are letters: b bool, i int, u uint, d double, s string, y bytes, n
 * null, t timestamp, r duration, D dyn, A and B parameters, p net.IP, c net.CIDR; L list, M map, O optional,
 * T type take theirs after them. */
typedef struct library_row {
    const char *name;
    const char *parameters; /* with a leading '.' for a member */
    const char *result;
    cel_function run;
} library_row;

typedef struct library {
    const library_row *rows;
    uint32_t count;
} library;

extern const library library_operators, library_convert, library_strings, library_format, library_math,
    library_time, library_network, library_optional;

/* All overloads of a name, NULL for none. */
const overload *environment_function(const cel_environment *self, const char *name);

typedef struct variable {
    const char *name;
    const cel_type *type;
    uint32_t slot;
} variable;

const variable *environment_variable(const cel_environment *self, const char *name);
/* The type that a name denotes, NULL for none: "int", "google.protobuf.Timestamp", an opaque or object type
 * declared for a variable. */
const cel_type *environment_type(const cel_environment *self, const char *name);
const char *environment_container(const cel_environment *self);
/* The overloads of an operator, by node_operator, and of "!_", "-_", "_[_]", "_[?_]", "_?_:_". */
typedef enum environment_operator {
    ENV_NOT = OP_MOD + 1,
    ENV_NEGATE,
    ENV_INDEX,
    ENV_OPT_INDEX,
    ENV_CONDITION,
    ENV_OPERATORS
} environment_operator;
const overload *environment_operator_of(const cel_environment *self, uint32_t which);

/* The kinds of values that a type takes at run time. */
uint32_t type_mask(const cel_type *type);

/* What a call carries for its function. */
struct cel_call {
    cel_run *run;
    uint64_t limit; /* of the cost */
    void *self;
    uint32_t offset;
    bool stopped; /* out of memory */
};

cel_value call_failed(const cel_call *call, cel_reason reason, const char *text);
/* Text and memory of the evaluation; the text value is CEL_ERROR after exhaustion, and `stopped` is set. */
cel_value call_text(cel_call *call, const void *data, size_t size);

/* Messages that the evaluator names itself. */
status_code check_tree(const cel_environment *environment, bytes source, bool lenient, arena *memory,
                       node *tree, const cel_type **type, failure *why) MUST_USE;

/* Messages of google.protobuf that CEL knows without descriptors: they are plain values (wellknown.c). */
typedef struct wellknown wellknown;
const wellknown *wellknown_find(const char *name);
const cel_type *wellknown_type(const wellknown *self);
/* The number of a field and its type; false when there is none. */
bool wellknown_field(const wellknown *self, const char *name, uint32_t *index, const cel_type **type);
/* `fields[i]` of field number `numbers[i]`, those not given absent. */
cel_value wellknown_build(cel_call *call, const wellknown *self, const uint8_t *numbers,
                          const cel_value *fields, uint32_t count);

#endif
