/* A tree as source: what the parser makes of it is the same tree again. */
#include <math.h>
#include <string.h>

#include "number.h"
#include "parser.h"

/* How tightly a node binds; a child that binds less than its place asks for gets parentheses. */
enum {
    LEVEL_CONDITION,
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_RELATION,
    LEVEL_SUM,
    LEVEL_PRODUCT,
    LEVEL_UNARY,
    LEVEL_MEMBER
};

static const char *const SYMBOLS[] = {"==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%"};

static int level_of(const node *tree) {
    switch ((node_kind)tree->kind) {
    case NODE_CONDITION:
        return LEVEL_CONDITION;
    case NODE_OR:
        return LEVEL_OR;
    case NODE_AND:
        return LEVEL_AND;
    case NODE_BINARY:
        return tree->detail <= OP_IN ? LEVEL_RELATION : tree->detail <= OP_SUB ? LEVEL_SUM : LEVEL_PRODUCT;
    case NODE_NOT:
    case NODE_NEGATE:
        return LEVEL_UNARY;
    default:
        return LEVEL_MEMBER;
    }
}

static void print_at(const node *tree, int level, buffer *out);

static void print_text(cel_value value, buffer *out) {
    buffer_text(out, value.kind == CEL_BYTES ? "b\"" : "\"");
    for (uint32_t i = 0; i < value.size; i++) {
        uint8_t c = (uint8_t)value.text[i];
        if (c == '"' || c == '\\')
            buffer_format(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F || (value.kind == CEL_BYTES && c >= 0x80))
            buffer_format(out, "\\x%02x", c);
        else
            buffer_append(out, &value.text[i], 1);
    }
    buffer_text(out, "\"");
}

static void print_double(double value, buffer *out) {
    char text[NUMBER_TEXT];
    if (isinf(value)) { /* a literal too large for a double is one */
        buffer_text(out, value < 0 ? "-1e999" : "1e999");
        return;
    }
    number_shortest(value, text);
    buffer_text(out, text);
    if (strpbrk(text, ".e") == NULL)
        buffer_text(out, ".0");
}

static void print_literal(cel_value value, buffer *out) {
    switch ((cel_kind)value.kind) {
    case CEL_BOOL:
        buffer_text(out, value.boolean ? "true" : "false");
        return;
    case CEL_INT:
        buffer_format(out, "%lld", (long long)value.integer);
        return;
    case CEL_UINT:
        buffer_format(out, "%lluu", (unsigned long long)value.natural);
        return;
    case CEL_DOUBLE:
        print_double(value.real, out);
        return;
    case CEL_STRING:
    case CEL_BYTES:
        print_text(value, out);
        return;
    default:
        buffer_text(out, "null");
        return;
    }
}

static void print_list(const node *tree, uint32_t first, buffer *out) {
    for (uint32_t i = first; i < tree->count; i++) {
        buffer_text(out, i > first ? ", " : "");
        buffer_text(out, tree->marks != NULL && tree->marks[i] ? "?" : "");
        print_at(tree->children[i], LEVEL_CONDITION, out);
    }
}

static void print_map(const node *tree, buffer *out) {
    buffer_text(out, "{");
    for (uint32_t i = 0; i + 1 < tree->count; i += 2) {
        buffer_text(out, i > 0 ? ", " : "");
        buffer_text(out, tree->marks != NULL && tree->marks[i] ? "?" : "");
        print_at(tree->children[i], LEVEL_CONDITION, out);
        buffer_text(out, ": ");
        print_at(tree->children[i + 1], LEVEL_CONDITION, out);
    }
    buffer_text(out, "}");
}

static void print_struct(const node *tree, buffer *out) {
    buffer_format(out, "%s%s{", tree->absolute ? "." : "", tree->name);
    for (uint32_t i = 0; i < tree->count; i++) {
        buffer_format(out, "%s%s%s: ", i > 0 ? ", " : "", tree->marks != NULL && tree->marks[i] ? "?" : "",
                      tree->names[i]);
        print_at(tree->children[i], LEVEL_CONDITION, out);
    }
    buffer_text(out, "}");
}

static const char *macro_name(const node *tree) {
    static const char *const NAMES[] = {"all",    "exists",       "exists_one",        "map",
                                        "filter", "transformMap", "transformMapEntry", "bind",
                                        "optMap", "optFlatMap"};
    return tree->detail == MACRO_MAP && tree->names_count == 2 ? "transformList" : NAMES[tree->detail];
}

static void print_macro(const node *tree, buffer *out) {
    uint32_t first = tree->detail == MACRO_BIND ? 0 : 1;
    if (first == 0)
        buffer_text(out, "cel");
    else
        print_at(tree->children[0], LEVEL_MEMBER, out);
    buffer_format(out, ".%s(", macro_name(tree));
    for (uint32_t i = 0; i < tree->names_count; i++)
        buffer_format(out, "%s, ", tree->names[i]);
    print_list(tree, first, out);
    buffer_text(out, ")");
}

static void print_call(const node *tree, buffer *out) {
    if (tree->member) {
        print_at(tree->children[0], LEVEL_MEMBER, out);
        buffer_text(out, ".");
    }
    buffer_format(out, "%s%s(", tree->absolute ? "." : "", tree->name);
    print_list(tree, tree->member ? 1 : 0, out);
    buffer_text(out, ")");
}

static void print_select(const node *tree, buffer *out) {
    const char *tick = tree->absolute ? "`" : "";
    buffer_text(out, tree->kind == NODE_HAS ? "has(" : "");
    print_at(tree->children[0], LEVEL_MEMBER, out);
    buffer_format(out, ".%s%s%s%s%s", tree->optional ? "?" : "", tick, tree->name, tick,
                  tree->kind == NODE_HAS ? ")" : "");
}

static void print_logical(const node *tree, int level, buffer *out) {
    for (uint32_t i = 0; i < tree->count; i++) {
        buffer_text(out, i == 0 ? "" : tree->kind == NODE_AND ? " && " : " || ");
        print_at(tree->children[i], level + 1, out);
    }
}

static void print_condition(const node *tree, buffer *out) {
    print_at(tree->children[0], LEVEL_OR, out);
    buffer_text(out, " ? ");
    print_at(tree->children[1], LEVEL_OR, out);
    buffer_text(out, " : ");
    print_at(tree->children[2], LEVEL_CONDITION, out);
}

/* -(5) is a negation, -5 a literal: a number that a minus would swallow keeps its parentheses. */
static void print_signed(const node *tree, buffer *out) {
    const node *operand = tree->children[0];
    const node *leftmost = operand;
    while (leftmost->kind == NODE_SELECT || leftmost->kind == NODE_INDEX ||
           (leftmost->kind == NODE_CALL && leftmost->member) ||
           (leftmost->kind == NODE_MACRO && leftmost->detail != MACRO_BIND))
        leftmost = leftmost->children[0];
    bool number = leftmost->kind == NODE_LITERAL &&
                  ((leftmost->value.kind == CEL_INT && leftmost->value.integer >= 0) ||
                   (leftmost->value.kind == CEL_DOUBLE && !signbit(leftmost->value.real)));
    bool inner_not = operand->kind == NODE_NOT;
    buffer_text(out, tree->kind == NODE_NOT ? "!" : "-");
    if ((tree->kind == NODE_NEGATE && (number || inner_not)) ||
        (tree->kind == NODE_NOT &&
         (operand->kind == NODE_NEGATE || (leftmost->kind == NODE_LITERAL && !number)))) {
        buffer_text(out, "(");
        print_at(operand, LEVEL_CONDITION, out);
        buffer_text(out, ")");
    } else {
        print_at(operand, LEVEL_UNARY, out);
    }
}

static void print_binary(const node *tree, int level, buffer *out) {
    print_at(tree->children[0], level, out);
    buffer_format(out, " %s ", SYMBOLS[tree->detail]);
    print_at(tree->children[1], level + 1, out);
}

static void print_bare(const node *tree, int level, buffer *out) {
    switch ((node_kind)tree->kind) {
    case NODE_LITERAL:
        print_literal(tree->value, out);
        return;
    case NODE_IDENTIFIER:
        buffer_format(out, "%s%s", tree->absolute ? "." : "", tree->name);
        return;
    case NODE_SELECT:
    case NODE_HAS:
        print_select(tree, out);
        return;
    case NODE_CALL:
        print_call(tree, out);
        return;
    case NODE_NOT:
    case NODE_NEGATE:
        print_signed(tree, out);
        return;
    case NODE_BINARY:
        print_binary(tree, level, out);
        return;
    case NODE_AND:
    case NODE_OR:
        print_logical(tree, level, out);
        return;
    case NODE_CONDITION:
        print_condition(tree, out);
        return;
    case NODE_INDEX:
        print_at(tree->children[0], LEVEL_MEMBER, out);
        buffer_text(out, tree->optional ? "[?" : "[");
        print_at(tree->children[1], LEVEL_CONDITION, out);
        buffer_text(out, "]");
        return;
    case NODE_LIST:
        buffer_text(out, "[");
        print_list(tree, 0, out);
        buffer_text(out, "]");
        return;
    case NODE_MAP:
        print_map(tree, out);
        return;
    case NODE_STRUCT:
        print_struct(tree, out);
        return;
    case NODE_MACRO:
        print_macro(tree, out);
        return;
    }
}

static void print_at(const node *tree, int level, buffer *out) {
    int own = level_of(tree);
    /* Parentheses that choose field selection over a longer name are part of the tree. */
    bool parentheses =
        own < level || (tree->grouped && (tree->kind == NODE_IDENTIFIER || tree->kind == NODE_SELECT));
    buffer_text(out, parentheses ? "(" : "");
    print_bare(tree, own, out);
    buffer_text(out, parentheses ? ")" : "");
}

void cel_print(const node *tree, buffer *out) {
    print_at(tree, LEVEL_CONDITION, out);
}
