/* Which calls are macros (langdef.md, "Macros"; cel-go's ext/README.md for the two-variable ones, bindings
 * and optionals). */
#include <string.h>

#include "parser.h"

typedef struct macro_shape {
    const char *name;
    uint8_t arguments; /* without the receiver */
    uint8_t variables;
    node_macro macro;
} macro_shape;

static const macro_shape SHAPES[] = {
    {"all", 2, 1, MACRO_ALL},
    {"all", 3, 2, MACRO_ALL},
    {"exists", 2, 1, MACRO_EXISTS},
    {"exists", 3, 2, MACRO_EXISTS},
    {"exists_one", 2, 1, MACRO_EXISTS_ONE},
    {"exists_one", 3, 2, MACRO_EXISTS_ONE},
    {"existsOne", 2, 1, MACRO_EXISTS_ONE},
    {"existsOne", 3, 2, MACRO_EXISTS_ONE},
    {"map", 2, 1, MACRO_MAP},
    {"map", 3, 1, MACRO_MAP},
    {"filter", 2, 1, MACRO_FILTER},
    {"transformList", 3, 2, MACRO_MAP},
    {"transformList", 4, 2, MACRO_MAP},
    {"transformMap", 3, 2, MACRO_TRANSFORM_MAP},
    {"transformMap", 4, 2, MACRO_TRANSFORM_MAP},
    {"transformMapEntry", 3, 2, MACRO_TRANSFORM_MAP_ENTRY},
    {"transformMapEntry", 4, 2, MACRO_TRANSFORM_MAP_ENTRY},
    {"optMap", 2, 1, MACRO_OPT_MAP},
    {"optFlatMap", 2, 1, MACRO_OPT_FLAT_MAP},
};

static node *make_has(parser *self, node *call) {
    node *field = call->children[0];
    if (field->kind != NODE_SELECT)
        return parser_fail(self, field->offset, "has() takes a field selection: has(a.b)");
    field->kind = NODE_HAS;
    field->grouped = false;
    return field;
}

/* The first `variables` arguments after `skipped` children are names; the rest are expressions. */
static node *make_macro(parser *self, node *call, node_macro macro, uint32_t variables, node *range,
                        uint32_t skipped) {
    uint32_t expressions = call->count - skipped - variables;
    node *made = parser_node(self, NODE_MACRO, call->offset, expressions + (range != NULL));
    if (made == NULL)
        return NULL;
    made->detail = (uint8_t)macro;
    made->names_count = variables;
    made->names = arena_zero(self->lexer.memory, variables, sizeof *made->names);
    if (made->names == NULL)
        return parser_fail(self, call->offset, "no memory left for the expression");
    for (uint32_t i = 0; i < variables; i++) {
        const node *name = call->children[skipped + i];
        if (name->kind != NODE_IDENTIFIER || name->absolute || name->grouped)
            return parser_fail(self, name->offset, "a macro's variable must be a simple name");
        made->names[i] = name->name;
    }
    if (variables == 2 && strcmp(made->names[0], made->names[1]) == 0)
        return parser_fail(self, call->children[skipped + 1]->offset,
                           "the two variables must have different names");
    uint32_t at = 0;
    if (range != NULL && !parser_adopt(self, made, at++, range))
        return NULL;
    for (uint32_t i = skipped + variables; i < call->count; i++)
        if (!parser_adopt(self, made, at++, call->children[i]))
            return NULL;
    return made;
}

node *parser_macro(parser *self, node *call) {
    if (!call->member)
        return strcmp(call->name, "has") == 0 && call->count == 1 ? make_has(self, call) : call;
    node *receiver = call->children[0];
    if (strcmp(call->name, "bind") == 0 && call->count == 4 && receiver->kind == NODE_IDENTIFIER &&
        !receiver->grouped && strcmp(receiver->name, "cel") == 0)
        return make_macro(self, call, MACRO_BIND, 1, NULL, 1);
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        if (SHAPES[i].arguments == call->count - 1U && strcmp(SHAPES[i].name, call->name) == 0)
            return make_macro(self, call, SHAPES[i].macro, SHAPES[i].variables, receiver, 1);
    return call;
}
