/* Text to tokens. */
#include "lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static const char *const RESERVED[] = {"as",        "break",  "const",  "continue", "else", "for",
                                       "function",  "if",     "import", "let",      "loop", "package",
                                       "namespace", "return", "var",    "void",     "while"};

static status_code bad(const lexer *self, uint32_t offset, const char *what) {
    return source_fail(self->why, self->source, offset, STATUS_INVALID_ARGUMENT, "CEL_SYNTAX", "%s", what);
}

static status_code no_memory(const lexer *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY", "no memory left for the expression");
}

static int peek(const lexer *self, uint32_t ahead) {
    return self->at + ahead < self->source.size ? self->source.data[self->at + ahead] : -1;
}

static bool is_digit(int c) {
    return c >= '0' && c <= '9';
}

static int hex_value(int c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_name_start(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void skip_blanks(lexer *self) {
    for (;;) {
        int c = peek(self, 0);
        if (c == '/' && peek(self, 1) == '/') {
            while (peek(self, 0) >= 0 && peek(self, 0) != '\n')
                self->at++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            self->at++;
        } else {
            return;
        }
    }
}

/* ---- Numbers
 * --------------------------------------------------------------------------------------------------- */

static status_code finish_integer(lexer *self, token *out, uint32_t begin, bool hexadecimal) {
    uint64_t value = 0;
    uint32_t base = hexadecimal ? 16 : 10;
    for (uint32_t i = hexadecimal ? begin + 2 : begin; i < self->at; i++)
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)hex_value(self->source.data[i]), &value))
            return bad(self, begin, "the number does not fit in 64 bits");
    if (peek(self, 0) == 'u' || peek(self, 0) == 'U') {
        self->at++;
        out->kind = TOKEN_UINT;
        out->value = cel_uint(value);
        return STATUS_OK;
    }
    out->kind = TOKEN_INT;
    out->overflow = value == (uint64_t)INT64_MAX + 1;
    if (value > (uint64_t)INT64_MAX && !out->overflow)
        return bad(self, begin, "the number does not fit in an int; write it with a u for a uint");
    out->value = cel_int((int64_t)value);
    return STATUS_OK;
}

static status_code finish_double(lexer *self, token *out, uint32_t begin) {
    size_t size = self->at - begin;
    char *text = arena_alloc(self->memory, size + 1);
    if (text == NULL)
        return no_memory(self);
    memcpy(text, self->source.data + begin, size);
    text[size] = 0;
    out->kind = TOKEN_DOUBLE;
    out->value = cel_double(strtod(text, NULL)); /* the grammar has been checked; overflow is infinity */
    return STATUS_OK;
}

static bool read_exponent(lexer *self) {
    int c = peek(self, 0);
    if (c != 'e' && c != 'E')
        return false;
    uint32_t sign = peek(self, 1) == '+' || peek(self, 1) == '-' ? 1 : 0;
    if (!is_digit(peek(self, 1 + sign)))
        return false;
    self->at += 1 + sign;
    while (is_digit(peek(self, 0)))
        self->at++;
    return true;
}

static status_code read_number(lexer *self, token *out) {
    uint32_t begin = self->at;
    bool hexadecimal = peek(self, 0) == '0' && (peek(self, 1) == 'x' || peek(self, 1) == 'X') &&
                       hex_value(peek(self, 2)) >= 0;
    if (hexadecimal) {
        self->at += 2;
        while (hex_value(peek(self, 0)) >= 0)
            self->at++;
        return finish_integer(self, out, begin, true);
    }
    while (is_digit(peek(self, 0)))
        self->at++;
    bool fraction = peek(self, 0) == '.' && is_digit(peek(self, 1));
    if (fraction)
        for (self->at++; is_digit(peek(self, 0));)
            self->at++;
    bool exponent = read_exponent(self);
    return fraction || exponent ? finish_double(self, out, begin) : finish_integer(self, out, begin, false);
}

/* ---- Strings
 * --------------------------------------------------------------------------------------------------- */

typedef struct quoted {
    bool raw;
    bool octets;
    uint32_t quotes; /* 1 or 3 */
    int quote;
    char *out;
    uint32_t size;
} quoted;

static bool at_end_quote(const lexer *self, const quoted *text) {
    for (uint32_t i = 0; i < text->quotes; i++)
        if (peek(self, i) != text->quote)
            return false;
    return true;
}

static bool put_point(quoted *text, uint32_t point) {
    uint32_t length = cel_utf8_write(point, text->out + text->size);
    text->size += length;
    return length > 0;
}

/* `digits` hexadecimal digits at the cursor; UINT32_MAX when there are fewer. */
static uint32_t read_hex(lexer *self, uint32_t digits) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < digits; i++) {
        int digit = hex_value(peek(self, 0));
        if (digit < 0)
            return UINT32_MAX;
        value = value << 4 | (uint32_t)digit;
        self->at++;
    }
    return value;
}

/* The cursor is behind the backslash and x or the first octal digit: a byte of a bytes literal, a code point
 * of a string. */
static status_code put_number(lexer *self, quoted *text, uint32_t begin, uint32_t value) {
    if (value == UINT32_MAX)
        return bad(self, begin, "the escape sequence is too short");
    if (text->octets)
        text->out[text->size++] = (char)value;
    else
        put_point(text, value);
    return STATUS_OK;
}

static status_code read_unicode(lexer *self, quoted *text, uint32_t begin, uint32_t digits) {
    if (text->octets)
        return bad(self, begin, "\\u and \\U are for strings, not for bytes");
    uint32_t point = read_hex(self, digits);
    if (point >= 0xD800 && point <= 0xDBFF && digits == 4 && peek(self, 0) == '\\' && peek(self, 1) == 'u') {
        self->at += 2;
        uint32_t low = read_hex(self, 4);
        if (low < 0xDC00 || low > 0xDFFF)
            return bad(self, begin, "the second half of a surrogate pair is missing");
        point = 0x10000U + ((point - 0xD800U) << 10) + (low - 0xDC00U);
    }
    if (point == UINT32_MAX || !put_point(text, point))
        return bad(self, begin, "the escape sequence is no Unicode character");
    return STATUS_OK;
}

static status_code read_escape(lexer *self, quoted *text) {
    static const char FROM[] = "abfnrtv\\?\"'`";
    static const char INTO[] = "\a\b\f\n\r\t\v\\?\"'`";
    uint32_t begin = self->at++;
    int c = peek(self, 0);
    const char *simple = c > 0 ? strchr(FROM, c) : NULL;
    self->at++;
    if (simple != NULL) {
        text->out[text->size++] = INTO[simple - FROM];
        return STATUS_OK;
    }
    if (c == 'x' || c == 'X')
        return put_number(self, text, begin, read_hex(self, 2));
    if (c == 'u' || c == 'U')
        return read_unicode(self, text, begin, c == 'u' ? 4 : 8);
    if (c < '0' || c > '3')
        return bad(self, begin, "unknown escape sequence");
    uint32_t value = (uint32_t)(c - '0');
    for (int i = 0; i < 2; i++, self->at++) {
        if (peek(self, 0) < '0' || peek(self, 0) > '7')
            return bad(self, begin, "an octal escape has three digits");
        value = value << 3 | (uint32_t)(peek(self, 0) - '0');
    }
    return put_number(self, text, begin, value);
}

static status_code read_character(lexer *self, quoted *text, uint32_t begin) {
    int c = peek(self, 0);
    if (c < 0 || (text->quotes == 1 && (c == '\n' || c == '\r')))
        return bad(self, begin, "the string does not end");
    if (c == '\\' && !text->raw)
        return read_escape(self, text);
    text->out[text->size++] = (char)c;
    self->at++;
    return STATUS_OK;
}

/* `prefix` characters of r and b come before the quote. */
static status_code read_string(lexer *self, token *out, uint32_t prefix) {
    uint32_t begin = self->at;
    quoted text = {.quotes = 1};
    for (; prefix > 0; prefix--, self->at++) {
        text.raw |= peek(self, 0) == 'r' || peek(self, 0) == 'R';
        text.octets |= peek(self, 0) == 'b' || peek(self, 0) == 'B';
    }
    text.quote = peek(self, 0);
    if (peek(self, 1) == text.quote && peek(self, 2) == text.quote)
        text.quotes = 3;
    self->at += text.quotes;
    /* No escape makes more bytes than it takes, so that a scratch as long as the source holds any literal. */
    if (self->scratch == NULL)
        self->scratch = arena_alloc(self->memory, self->source.size + 4);
    if (self->scratch == NULL)
        return no_memory(self);
    text.out = self->scratch;
    while (!at_end_quote(self, &text)) {
        status_code code = read_character(self, &text, begin);
        if (code != STATUS_OK)
            return code;
    }
    self->at += text.quotes;
    const char *kept = arena_copy(self->memory, text.out, text.size);
    if (kept == NULL)
        return no_memory(self);
    out->kind = text.octets ? TOKEN_BYTES : TOKEN_STRING;
    out->value = text.octets ? cel_octets(kept, text.size) : cel_text(kept, text.size);
    return STATUS_OK;
}

/* How many of r and b stand before a quote here: 0 when this is no string. */
static bool string_prefix(const lexer *self, uint32_t *prefix) {
    bool raw = false;
    bool octets = false;
    for (*prefix = 0;; ++*prefix) {
        int c = peek(self, *prefix);
        if (c == '"' || c == '\'')
            return true;
        if ((c == 'r' || c == 'R') && !raw)
            raw = true;
        else if ((c == 'b' || c == 'B') && !octets && !raw)
            octets = true;
        else
            return false;
    }
}

/* ---- Names and marks
 * ------------------------------------------------------------------------------------------- */

static status_code keep_name(lexer *self, token *out, uint32_t begin, uint32_t end) {
    char *name = arena_alloc(self->memory, end - begin + 1);
    if (name == NULL)
        return no_memory(self);
    memcpy(name, self->source.data + begin, end - begin);
    name[end - begin] = 0;
    out->name = name;
    return STATUS_OK;
}

static status_code read_name(lexer *self, token *out) {
    uint32_t begin = self->at;
    while (is_name_start(peek(self, 0)) || is_digit(peek(self, 0)))
        self->at++;
    out->kind = TOKEN_IDENTIFIER;
    status_code code = keep_name(self, out, begin, self->at);
    for (size_t i = 0; code == STATUS_OK && i < sizeof RESERVED / sizeof *RESERVED; i++)
        out->reserved |= strcmp(out->name, RESERVED[i]) == 0;
    return code;
}

/* `a-b/c.d e`: selectors that are no identifiers. */
static status_code read_quoted_name(lexer *self, token *out) {
    uint32_t begin = ++self->at;
    for (;; self->at++) {
        int c = peek(self, 0);
        if (c == '`')
            break;
        if (!is_name_start(c) && !is_digit(c) && (c <= 0 || strchr("-./ ", c) == NULL))
            return bad(self, begin - 1, "between backticks stand letters, digits and _ - . / and blanks");
    }
    if (self->at == begin)
        return bad(self, begin - 1, "there is nothing between the backticks");
    out->kind = TOKEN_QUOTED;
    return keep_name(self, out, begin, self->at++);
}

static status_code read_mark(lexer *self, token *out) {
    static const char PAIRS[] = "&&||==!=<=>=";
    int c = peek(self, 0);
    out->kind = TOKEN_MARK;
    for (size_t i = 0; i + 1 < sizeof PAIRS; i += 2)
        if (c == PAIRS[i] && peek(self, 1) == PAIRS[i + 1]) {
            out->mark = MARK2(c, PAIRS[i + 1]);
            self->at += 2;
            return STATUS_OK;
        }
    if (c == 0 || strchr("?:!-+*/%<>.,()[]{}", c) == NULL)
        return bad(self, self->at, "this character means nothing here");
    out->mark = (uint32_t)c;
    self->at++;
    return STATUS_OK;
}

status_code lexer_next(lexer *self, token *out) {
    skip_blanks(self);
    *out = (token){.kind = TOKEN_END, .offset = self->at};
    int c = peek(self, 0);
    uint32_t prefix = 0;
    status_code code = STATUS_OK;
    if (c >= 0) {
        if (is_digit(c) || (c == '.' && is_digit(peek(self, 1))))
            code = read_number(self, out);
        else if (string_prefix(self, &prefix))
            code = read_string(self, out, prefix);
        else if (is_name_start(c))
            code = read_name(self, out);
        else if (c == '`')
            code = read_quoted_name(self, out);
        else
            code = read_mark(self, out);
    }
    out->end = self->at;
    return code;
}
