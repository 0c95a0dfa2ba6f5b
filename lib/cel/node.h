/* The tree of an expression. Macros stay what they were written as: the checker and the compiler know them,
 * and printing gives the source back. Everything is in one arena. */
#ifndef CEL_NODE_H
#define CEL_NODE_H

#include "cel/program.h"

typedef enum node_kind {
    NODE_LITERAL,    /* value */
    NODE_IDENTIFIER, /* name; absolute when written with a leading dot */
    NODE_SELECT,     /* children[0].name; optional: .?name */
    NODE_HAS,        /* has(children[0].name); optional: has(a.?b) */
    NODE_CALL,       /* name(children…); member: children[0].name(children[1]…) */
    NODE_NOT,
    NODE_NEGATE,
    NODE_BINARY, /* children[0] op children[1] */
    NODE_AND,    /* any number of children */
    NODE_OR,
    NODE_CONDITION, /* children[0] ? [1] : [2] */
    NODE_INDEX,     /* children[0][children[1]]; optional: a[?b] */
    NODE_LIST,      /* marks[i]: written ?element */
    NODE_MAP,       /* keys and values alternate; marks[i]: written ?key: value */
    NODE_STRUCT,    /* name{fields}: children are values, names[i] the fields, marks as in a map */
    NODE_MACRO,     /* `macro` over children[0], variables names[0…], then the expressions */
} node_kind;

typedef enum node_operator {
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD
} node_operator;

typedef enum node_macro {
    MACRO_ALL,
    MACRO_EXISTS,
    MACRO_EXISTS_ONE,
    MACRO_MAP, /* children: range, [filter,] transform */
    MACRO_FILTER,
    MACRO_TRANSFORM_MAP,       /* children: range, [filter,] transform */
    MACRO_TRANSFORM_MAP_ENTRY, /* children: range, [filter,] map literal */
    MACRO_BIND,                /* cel.bind(names[0], children[0], children[1]) */
    MACRO_OPT_MAP,             /* children: optional, transform */
    MACRO_OPT_FLAT_MAP,
} node_macro;

/* What a name turned out to mean; the checker fills it. */
typedef enum node_meaning {
    MEANS_NOTHING,  /* not a name, or a field selection */
    MEANS_LOCAL,    /* `slot` numbers the variables of enclosing macros, outermost 0 */
    MEANS_VARIABLE, /* `slot` of the environment */
    MEANS_TYPE,     /* `text` names it */
    MEANS_FIELD,    /* field `slot` of an object, whose declared name is `text` */
    MEANS_FUNCTION, /* `overloads` that may apply; namespaced: children[0] is part of the name */
    MEANS_UNKNOWN,  /* undeclared, in an unchecked expression */
} node_meaning;

typedef struct overload overload;

typedef struct node node;
struct node {
    uint8_t kind;    /* node_kind */
    uint8_t detail;  /* node_operator or node_macro */
    bool member;     /* NODE_CALL */
    bool optional;   /* the ? forms */
    bool absolute;   /* NODE_IDENTIFIER, NODE_CALL, NODE_STRUCT: leading dot; NODE_SELECT, NODE_HAS: name in
                        backticks */
    bool grouped;    /* written in parentheses: never part of a qualified name */
    bool namespaced; /* NODE_CALL: checker */
    uint8_t meaning; /* node_meaning */
    uint32_t offset; /* in the source, of the token that errors should point at */
    uint32_t height;
    uint32_t count; /* of children */
    uint32_t slot;
    uint32_t locals; /* NODE_MACRO: slot of its first variable */
    uint32_t names_count;
    uint32_t overload_count;
    const char *name; /* NUL-terminated */
    node **children;
    const char **names;
    bool *marks; /* NULL: none */
    cel_value value;
    const overload **overloads;
    const char *text;
    const cel_type *type; /* checker */
};

#endif
