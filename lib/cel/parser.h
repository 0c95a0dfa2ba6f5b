/* Text to a tree, and back. */
#ifndef CEL_PARSER_H
#define CEL_PARSER_H

#include "lexer.h"
#include "node.h"

/* The tree is in `memory`, and its names and literals too. `source_bytes` bounds the text. */
status_code cel_parse(bytes source, uint32_t source_bytes, arena *memory, node **tree, failure *why) MUST_USE;

/* A source whose tree is the same, on one line, with no more parentheses than it needs. */
void cel_print(const node *tree, buffer *out);

/* ---- Between parser.c and macro.c */

typedef struct parser {
    lexer lexer;
    token now;
    uint32_t depth;
    status_code code; /* of the first failure; everything returns NULL after it */
} parser;

node *parser_fail(parser *self, uint32_t offset, const char *what);
node *parser_node(parser *self, node_kind kind, uint32_t offset, uint32_t count);
/* Sets a child and the height that follows from it; NULL passes failures on. */
bool parser_adopt(parser *self, node *parent, uint32_t index, node *child);
/* Turns a call into the macro that its name and number of arguments stand for, or leaves it. NULL on failure.
 */
node *parser_macro(parser *self, node *call);

#endif
