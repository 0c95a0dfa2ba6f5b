/* A recursive descent parser with bounds on depth and height (langdef.md, "Syntax"). */
#include "parser.h"

#include <string.h>

#include "utf8.h"

/* ---- Nodes
 * ----------------------------------------------------------------------------------------------------- */

node *parser_fail(parser *self, uint32_t offset, const char *what) {
    if (self->code == STATUS_OK)
        self->code = source_fail(self->lexer.why, self->lexer.source, offset, STATUS_INVALID_ARGUMENT,
                                 "CEL_SYNTAX", "%s", what);
    return NULL;
}

static void *allocate(parser *self, size_t size) {
    void *found = self->code == STATUS_OK ? arena_zero(self->lexer.memory, 1, size) : NULL;
    if (found == NULL && self->code == STATUS_OK)
        self->code = fail(self->lexer.why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY",
                          "no memory left for the expression");
    return found;
}

node *parser_node(parser *self, node_kind kind, uint32_t offset, uint32_t count) {
    node *made = allocate(self, sizeof *made);
    if (made == NULL)
        return NULL;
    *made = (node){.kind = (uint8_t)kind, .offset = offset, .count = count, .height = 1};
    if (count > 0)
        made->children = allocate(self, count * sizeof(node *));
    return count > 0 && made->children == NULL ? NULL : made;
}

bool parser_adopt(parser *self, node *parent, uint32_t index, node *child) {
    if (parent == NULL || child == NULL)
        return false;
    parent->children[index] = child;
    if (child->height >= CEL_HEIGHT)
        return parser_fail(self, parent->offset, "the expression has too many levels") != NULL;
    if (parent->height <= child->height)
        parent->height = child->height + 1;
    return true;
}

static node *unary(parser *self, node_kind kind, uint32_t offset, node *operand) {
    node *made = parser_node(self, kind, offset, 1);
    return parser_adopt(self, made, 0, operand) ? made : NULL;
}

static node *binary(parser *self, node_kind kind, uint32_t offset, node *left, node *right) {
    node *made = parser_node(self, kind, offset, 2);
    return parser_adopt(self, made, 0, left) && parser_adopt(self, made, 1, right) ? made : NULL;
}

/* Children while their number is not known yet. */
typedef struct growing {
    node **items;
    bool *marks;
    const char **names;
    uint32_t count;
    uint32_t room;
    bool marked;
} growing;

static bool grow(parser *self, growing *list, node *item, bool mark, const char *name) {
    if (item == NULL)
        return false;
    if (list->count == list->room) {
        uint32_t room = list->room == 0 ? 4 : list->room * 2;
        node **items = allocate(self, room * sizeof(node *));
        bool *marks = allocate(self, room * sizeof *marks);
        const char **names = allocate(self, room * sizeof(const char *));
        if (items == NULL || marks == NULL || names == NULL)
            return false;
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(node *));
            memcpy(marks, list->marks, list->count * sizeof *marks);
            memcpy(names, list->names, list->count * sizeof(const char *));
        }
        *list = (growing){items, marks, names, list->count, room, list->marked};
    }
    list->items[list->count] = item;
    list->marks[list->count] = mark;
    list->names[list->count] = name;
    list->marked |= mark;
    list->count++;
    return true;
}

static node *with_children(parser *self, node_kind kind, uint32_t offset, const growing *list) {
    node *made = parser_node(self, kind, offset, list->count);
    for (uint32_t i = 0; i < list->count; i++)
        if (!parser_adopt(self, made, i, list->items[i]))
            return NULL;
    if (made != NULL && list->marked)
        made->marks = list->marks;
    return made;
}

/* ---- Tokens
 * ---------------------------------------------------------------------------------------------------- */

static void advance(parser *self) {
    if (self->code == STATUS_OK)
        self->code = lexer_next(&self->lexer, &self->now);
    if (self->code != STATUS_OK)
        self->now = (token){.kind = TOKEN_END};
}

static bool at_mark(const parser *self, uint32_t mark) {
    return self->now.kind == TOKEN_MARK && self->now.mark == mark;
}

static bool take(parser *self, uint32_t mark) {
    if (!at_mark(self, mark))
        return false;
    advance(self);
    return self->code == STATUS_OK;
}

static bool expect(parser *self, uint32_t mark, const char *what) {
    if (take(self, mark))
        return true;
    parser_fail(self, self->now.offset, what);
    return false;
}

static bool at_word(const parser *self, const char *word) {
    return self->now.kind == TOKEN_IDENTIFIER && strcmp(self->now.name, word) == 0;
}

static bool is_keyword(const char *name) {
    return strcmp(name, "in") == 0 || strcmp(name, "true") == 0 || strcmp(name, "false") == 0 ||
           strcmp(name, "null") == 0;
}

/* ---- Expressions
 * ----------------------------------------------------------------------------------------------- */

static node *parse_expression(parser *self);

static bool parse_arguments(parser *self, growing *arguments, uint32_t end) {
    while (!at_mark(self, end)) {
        bool mark = end == ']' && take(self, '?');
        if (!grow(self, arguments, parse_expression(self), mark, NULL))
            return false;
        if (!take(self, ','))
            break;
        if (end == ')' && at_mark(self, end))
            return parser_fail(self, self->now.offset, "expected an argument after the comma") != NULL;
    }
    return expect(self, end, end == ')' ? "expected , or )" : "expected , or ]");
}

static node *parse_list(parser *self) {
    uint32_t offset = self->now.offset;
    advance(self);
    growing elements = {0};
    return parse_arguments(self, &elements, ']') ? with_children(self, NODE_LIST, offset, &elements) : NULL;
}

static node *parse_map(parser *self) {
    uint32_t offset = self->now.offset;
    advance(self);
    growing entries = {0};
    while (!at_mark(self, '}')) {
        bool mark = take(self, '?');
        if (!grow(self, &entries, parse_expression(self), mark, NULL) ||
            !expect(self, ':', "expected : between key and value") ||
            !grow(self, &entries, parse_expression(self), mark, NULL))
            return NULL;
        if (!take(self, ','))
            break;
    }
    return expect(self, '}', "expected , or }") ? with_children(self, NODE_MAP, offset, &entries) : NULL;
}

/* a.b.c written with dots only, for name{…}; NULL when `chain` is something else. */
static const char *qualified_name(parser *self, const node *chain, bool *absolute) {
    if (chain->grouped || chain->optional)
        return NULL;
    if (chain->kind == NODE_IDENTIFIER) {
        *absolute = chain->absolute;
        return chain->name;
    }
    if (chain->kind != NODE_SELECT || chain->absolute)
        return NULL;
    const char *prefix = qualified_name(self, chain->children[0], absolute);
    return prefix == NULL ? NULL : arena_format(self->lexer.memory, "%s.%s", prefix, chain->name);
}

static node *parse_struct(parser *self, const node *chain) {
    bool absolute = false;
    const char *name = qualified_name(self, chain, &absolute);
    if (name == NULL)
        return parser_fail(self, self->now.offset, "only the name of a type may stand before {");
    advance(self);
    growing fields = {0};
    while (!at_mark(self, '}')) {
        bool mark = take(self, '?');
        token field = self->now;
        if (field.kind != TOKEN_IDENTIFIER && field.kind != TOKEN_QUOTED)
            return parser_fail(self, field.offset, "expected the name of a field");
        advance(self);
        if (!expect(self, ':', "expected : between field and value") ||
            !grow(self, &fields, parse_expression(self), mark, field.name))
            return NULL;
        if (!take(self, ','))
            break;
    }
    if (!expect(self, '}', "expected , or }"))
        return NULL;
    node *made = with_children(self, NODE_STRUCT, chain->offset, &fields);
    if (made == NULL)
        return NULL;
    made->name = name;
    made->absolute = absolute;
    made->names = fields.names;
    made->names_count = fields.count;
    return made;
}

static node *literal(parser *self, cel_value value) {
    node *made = parser_node(self, NODE_LITERAL, self->now.offset, 0);
    if (made != NULL)
        made->value = value;
    advance(self);
    return made;
}

static node *finish_call(parser *self, growing *arguments, const char *name, uint32_t offset, bool member) {
    advance(self);
    if (!parse_arguments(self, arguments, ')'))
        return NULL;
    node *call = with_children(self, NODE_CALL, offset, arguments);
    if (call == NULL)
        return NULL;
    call->name = name;
    call->member = member;
    return parser_macro(self, call);
}

static node *parse_name(parser *self) {
    token name = self->now;
    if (strcmp(name.name, "true") == 0 || strcmp(name.name, "false") == 0)
        return literal(self, cel_bool(name.name[0] == 't'));
    if (strcmp(name.name, "null") == 0)
        return literal(self, cel_null());
    if (name.reserved || strcmp(name.name, "in") == 0)
        return parser_fail(self, name.offset, "this word is reserved");
    advance(self);
    if (at_mark(self, '(')) {
        growing arguments = {0};
        return finish_call(self, &arguments, name.name, name.offset, false);
    }
    node *made = parser_node(self, NODE_IDENTIFIER, name.offset, 0);
    if (made != NULL)
        made->name = name.name;
    return made;
}

static node *parse_absolute(parser *self) {
    uint32_t offset = self->now.offset;
    advance(self);
    if (self->now.kind != TOKEN_IDENTIFIER || is_keyword(self->now.name))
        return parser_fail(self, self->now.offset, "expected a name after the dot");
    node *made = parse_name(self);
    if (made == NULL)
        return NULL;
    made->offset = offset;
    made->absolute = true;
    if (made->kind != NODE_IDENTIFIER && made->kind != NODE_CALL)
        return parser_fail(self, offset, "a macro has no leading dot");
    return made;
}

static node *parse_group(parser *self) {
    advance(self);
    node *inner = parse_expression(self);
    if (inner == NULL || !expect(self, ')', "expected )"))
        return NULL;
    inner->grouped = true;
    return inner;
}

static node *parse_primary(parser *self) {
    switch (self->now.kind) {
    case TOKEN_INT:
        if (self->now.overflow)
            return parser_fail(self, self->now.offset,
                               "the number does not fit in an int; write it with a u for a uint");
        return literal(self, self->now.value);
    case TOKEN_UINT:
    case TOKEN_DOUBLE:
    case TOKEN_STRING:
    case TOKEN_BYTES:
        return literal(self, self->now.value);
    case TOKEN_IDENTIFIER:
        return parse_name(self);
    case TOKEN_MARK:
        if (self->now.mark == '(')
            return parse_group(self);
        if (self->now.mark == '[')
            return parse_list(self);
        if (self->now.mark == '{')
            return parse_map(self);
        if (self->now.mark == '.')
            return parse_absolute(self);
        break;
    case TOKEN_QUOTED:
    case TOKEN_END:
        break;
    }
    return parser_fail(self, self->now.offset,
                       self->now.kind == TOKEN_END ? "the expression ends too early"
                                                   : "expected an expression");
}

static node *parse_selector(parser *self, node *operand) {
    uint32_t offset = self->now.offset;
    advance(self);
    bool optional = take(self, '?');
    token name = self->now;
    if ((name.kind != TOKEN_IDENTIFIER && name.kind != TOKEN_QUOTED) ||
        (name.kind == TOKEN_IDENTIFIER && is_keyword(name.name)))
        return parser_fail(self, name.offset, "expected the name of a field or method");
    advance(self);
    if (at_mark(self, '(') && !optional && name.kind == TOKEN_IDENTIFIER) {
        growing arguments = {0};
        if (!grow(self, &arguments, operand, false, NULL))
            return NULL;
        return finish_call(self, &arguments, name.name, name.offset, true);
    }
    node *made = unary(self, NODE_SELECT, offset, operand);
    if (made == NULL)
        return NULL;
    made->name = name.name;
    made->optional = optional;
    made->absolute = name.kind == TOKEN_QUOTED;
    return made;
}

static node *parse_index(parser *self, node *operand) {
    uint32_t offset = self->now.offset;
    advance(self);
    bool optional = take(self, '?');
    node *made = binary(self, NODE_INDEX, offset, operand, parse_expression(self));
    if (made == NULL || !expect(self, ']', "expected ]"))
        return NULL;
    made->optional = optional;
    return made;
}

static node *parse_suffixes(parser *self, node *operand) {
    while (operand != NULL) {
        if (at_mark(self, '.'))
            operand = parse_selector(self, operand);
        else if (at_mark(self, '['))
            operand = parse_index(self, operand);
        else if (at_mark(self, '{') && (operand->kind == NODE_IDENTIFIER || operand->kind == NODE_SELECT))
            operand = parse_struct(self, operand);
        else
            break;
    }
    return operand;
}

/* The cursor is on a number whose minus has been taken. */
static node *negative_literal(parser *self, uint32_t offset) {
    cel_value value = self->now.value;
    if (value.kind == CEL_INT)
        value.integer = self->now.overflow ? INT64_MIN : -value.integer;
    else
        value.real = -value.real;
    node *made = literal(self, value);
    if (made != NULL)
        made->offset = offset;
    return made;
}

/* Repeated signs are a loop, so that a long row of them ends at the height bound and not in recursion. */
static node *parse_unary(parser *self) {
    uint32_t mark = at_mark(self, '!') ? '!' : '-';
    uint32_t first = self->now.offset;
    uint32_t signs = 0;
    while (at_mark(self, mark) && signs < CEL_HEIGHT) {
        advance(self);
        signs++;
    }
    node *operand = NULL;
    if (signs > 0 && mark == '-' && (self->now.kind == TOKEN_INT || self->now.kind == TOKEN_DOUBLE)) {
        operand = parse_suffixes(self, negative_literal(self, first));
        signs--;
    } else {
        operand = parse_suffixes(self, parse_primary(self));
    }
    for (; signs > 0; signs--)
        operand = unary(self, mark == '!' ? NODE_NOT : NODE_NEGATE, first, operand);
    return operand;
}

typedef struct operator_level {
    uint32_t mark;
    uint8_t level; /* 1: relations, 2: sums, 3: products */
    node_operator operation;
} operator_level;

static const operator_level OPERATORS[] = {
    {MARK2('=', '='), 1, OP_EQ},
    {MARK2('!', '='), 1, OP_NE},
    {'<', 1, OP_LT},
    {MARK2('<', '='), 1, OP_LE},
    {'>', 1, OP_GT},
    {MARK2('>', '='), 1, OP_GE},
    {'+', 2, OP_ADD},
    {'-', 2, OP_SUB},
    {'*', 3, OP_MUL},
    {'/', 3, OP_DIV},
    {'%', 3, OP_MOD},
};

static bool operator_here(const parser *self, uint8_t level, node_operator *operation) {
    if (level == 1 && at_word(self, "in")) {
        *operation = OP_IN;
        return true;
    }
    for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS; i++)
        if (OPERATORS[i].level == level && at_mark(self, OPERATORS[i].mark)) {
            *operation = OPERATORS[i].operation;
            return true;
        }
    return false;
}

static node *parse_binary(parser *self, uint8_t level) {
    node *left = level == 3 ? parse_unary(self) : parse_binary(self, (uint8_t)(level + 1));
    node_operator operation;
    while (left != NULL && operator_here(self, level, &operation)) {
        uint32_t offset = self->now.offset;
        advance(self);
        node *right = level == 3 ? parse_unary(self) : parse_binary(self, (uint8_t)(level + 1));
        left = binary(self, NODE_BINARY, offset, left, right);
        if (left != NULL)
            left->detail = (uint8_t)operation;
    }
    return left;
}

/* a && b && c is one node, so that long conditions stay flat. */
static node *parse_logical(parser *self, bool is_or) {
    node *first = is_or ? parse_logical(self, false) : parse_binary(self, 1);
    uint32_t mark = is_or ? MARK2('|', '|') : MARK2('&', '&');
    if (first == NULL || !at_mark(self, mark))
        return first;
    uint32_t offset = self->now.offset;
    growing terms = {0};
    if (!grow(self, &terms, first, false, NULL))
        return NULL;
    while (take(self, mark))
        if (!grow(self, &terms, is_or ? parse_logical(self, false) : parse_binary(self, 1), false, NULL))
            return NULL;
    return with_children(self, is_or ? NODE_OR : NODE_AND, offset, &terms);
}

static node *parse_condition(parser *self) {
    node *condition = parse_logical(self, true);
    if (condition == NULL || !at_mark(self, '?'))
        return condition;
    node *made = parser_node(self, NODE_CONDITION, self->now.offset, 3);
    advance(self);
    if (!parser_adopt(self, made, 0, condition) || !parser_adopt(self, made, 1, parse_logical(self, true)) ||
        !expect(self, ':', "expected : of the condition") ||
        !parser_adopt(self, made, 2, parse_expression(self)))
        return NULL;
    return made;
}

static node *parse_expression(parser *self) {
    if (self->code != STATUS_OK)
        return NULL;
    if (self->depth >= CEL_DEPTH)
        return parser_fail(self, self->now.offset, "the expression is nested too deep");
    self->depth++;
    node *made = parse_condition(self);
    self->depth--;
    return made;
}

status_code cel_parse(bytes source, uint32_t source_bytes, arena *memory, node **tree, failure *why) {
    if (source.size > source_bytes)
        return fail(why, STATUS_INVALID_ARGUMENT, "CEL_TOO_LONG",
                    "the expression has %zu bytes, at most %u are allowed", source.size, source_bytes);
    if (!cel_utf8_valid(source))
        return fail(why, STATUS_INVALID_ARGUMENT, "CEL_SYNTAX", "the expression is not valid UTF-8");
    parser self = {.lexer = {.source = source, .memory = memory, .why = why}};
    advance(&self);
    node *made = parse_expression(&self);
    if (made != NULL && self.now.kind != TOKEN_END)
        parser_fail(&self, self.now.offset, "expected an operator or the end");
    if (made == NULL || self.code != STATUS_OK)
        return self.code != STATUS_OK
                   ? self.code
                   : fail(why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY", "no memory left for the expression");
    *tree = made;
    return STATUS_OK;
}
