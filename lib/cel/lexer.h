/* Text to tokens (langdef.md, "Syntax"). */
#ifndef CEL_LEXER_H
#define CEL_LEXER_H

#include "cel/program.h"

typedef enum token_kind {
    TOKEN_END,
    TOKEN_IDENTIFIER,
    TOKEN_QUOTED, /* `quoted-identifier` */
    TOKEN_INT,
    TOKEN_UINT,
    TOKEN_DOUBLE,
    TOKEN_STRING,
    TOKEN_BYTES,
    TOKEN_MARK, /* punctuation: `mark` is its characters packed, 'a' or 'a' << 8 | 'b' */
} token_kind;

#define MARK2(first, second) ((uint32_t)(first) << 8 | (uint32_t)(second))

typedef struct token {
    token_kind kind;
    uint32_t mark;
    uint32_t offset;
    uint32_t end;
    bool reserved;    /* an identifier that may only be a selector */
    cel_value value;  /* literals */
    const char *name; /* identifiers, NUL-terminated */
    bool overflow;    /* TOKEN_INT: 2^63, which only a minus makes an int */
} token;

typedef struct lexer {
    bytes source;
    uint32_t at;
    arena *memory;
    failure *why;
    char *scratch; /* NULL at first */
} lexer;

/* Reads the next token; `why` is filled when it fails. */
status_code lexer_next(lexer *self, token *out) MUST_USE;

/* "line:column: what", the line and a caret under it. Returns `code`. */
status_code source_fail(failure *why, bytes source, uint32_t offset, status_code code, const char *reason,
                        const char *format, ...) PRINTF_LIKE(6, 7);

#endif
