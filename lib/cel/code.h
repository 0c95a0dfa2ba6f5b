/* The program that the compiler makes and the evaluator runs: instructions for a stack of values. */
#ifndef CEL_CODE_H
#define CEL_CODE_H

#include "overload.h"

typedef enum operation {
    CODE_CONSTANT, /* push constants[c] */
    CODE_VARIABLE, /* push variable c */
    CODE_LOCAL,    /* push local c */
    CODE_STORE,    /* pop into local c */
    CODE_JUMP,     /* to c */
    CODE_BRANCH,   /* pop: true goes on behind the next instruction, false to c, anything else is pushed and
                      takes the next */
    CODE_AND_JUMP, /* to c when the top is false */
    CODE_AND,      /* pop two, push both */
    CODE_OR_JUMP,
    CODE_OR,
    CODE_NOT,
    CODE_NEGATE,
    CODE_BINARY,     /* a: node_operator */
    CODE_INDEX,      /* a: 1 for [?] */
    CODE_SELECT,     /* a: SELECT_… bits, b: field of an object, c: constant with the name */
    CODE_UNMARK,     /* of an entry written with ?: the content, or the marker that leaves it out */
    CODE_LIST,       /* pop c elements */
    CODE_MAP,        /* pop c keys and values */
    CODE_STRUCT,     /* messages[c] */
    CODE_CALL,       /* sites[c] */
    CODE_OR_ELSE,    /* a present optional at the top stays (a: unwrapped) and goes to c; none is popped */
    CODE_OPT_ENTER,  /* pop a present optional into local b; anything else stays and goes to c */
    CODE_OPT_LEAVE,  /* a: 0 wraps the top in an optional, 1 demands that it is one */
    CODE_LOOP_BEGIN, /* loops[c] */
    CODE_LOOP_NEXT,
    CODE_LOOP_FILTER,
    CODE_LOOP_STEP,
    CODE_END,
} operation;

enum { SELECT_HAS = 1, SELECT_OPTIONAL = 2, SELECT_FIELD = 4 };

/* What an absent ?entry leaves on the stack; nothing else sees it. */
#define KIND_LEFT_OUT 0xFFU

typedef struct instruction {
    uint8_t code;
    uint8_t a;
    uint16_t b;
    uint32_t c;
} instruction;

typedef struct call_site {
    const overload **overloads;
    uint32_t overload_count;
    uint32_t count; /* of arguments */
    void *prepared; /* a compiled regular expression or a loaded time zone, for a constant argument; else NULL
                     */
} call_site;

typedef struct message_site {
    const wellknown *message;
    const uint8_t *numbers;
    uint32_t count;
} message_site;

typedef struct loop_site {
    uint8_t macro;
    uint8_t names;
    uint32_t local;
    uint32_t depth;
    uint32_t next; /* instruction of its LOOP_NEXT */
    uint32_t end;
    uint32_t body; /* instructions of one round */
} loop_site;

/* A regular expression that RE2 holds on the heap. */
typedef struct kept_regex kept_regex;

struct cel_program {
    arena memory;
    kept_regex *patterns;
    const char *source;
    uint32_t source_size;
    const instruction *code;
    const uint32_t *offsets; /* in the source, for each instruction */
    uint32_t count;
    const cel_value *constants;
    const call_site *sites;
    const message_site *messages;
    const loop_site *loops;
    uint32_t stack; /* values at most */
    uint32_t locals;
    uint32_t depth; /* of nested loops */
    uint32_t variables;
    const uint64_t *reads; /* bits of variables */
    const cel_type *type;
    cel_cost cost;
};

/* ---- Compiling (compile.c) */

/* Fills a program whose arena is ready; false without memory. */
bool generate(const cel_environment *environment, arena *scratch, bytes source, const node *tree,
              const cel_type *type, cel_program *out);

/* ---- Values (operators.c, compare.c) */

#define TEXT_UNIT 64U /* bytes that cost one unit */

cel_value call_no_overload(const cel_call *call);
/* These charge for what they look at. Equality and membership are unknown when an unknown part decides. */
cel_value values_equal(cel_call *call, cel_value left, cel_value right);
bool value_find(cel_call *call, const cel_map *map, cel_value key, cel_value *value);
cel_value value_order(const cel_call *call, node_operator which, cel_value left, cel_value right);
cel_value value_contains(cel_call *call, cel_value element, cel_value container);

/* optional.none() */
static inline cel_value value_none(void) {
    return (cel_value){.kind = CEL_OPTIONAL};
}

cel_value operate(cel_call *call, node_operator which, cel_value left, cel_value right);
cel_value value_negate(const cel_call *call, cel_value value);
cel_value value_index(cel_call *call, cel_value container, cel_value key, bool optional);
cel_value value_select(cel_call *call, cel_value operand, const instruction *how, cel_value name);
cel_value value_optional(cel_call *call, cel_value content);
/* -1, 0, 1; 2 when they have no order. Both are numbers. */
int compare_numbers(cel_value left, cel_value right);
bool is_number_kind(uint8_t kind);
/* The first unknown, else the first error; NULL when every argument is a value. */
const cel_value *first_absent(const cel_value *arguments, uint32_t count);
void charge(cel_call *call, uint64_t cost);
cel_value call_site_run(cel_call *call, const call_site *site, const cel_value *arguments);

#endif
