/* Random expressions over int, bool, string, list(int) and map(string, int), most of them well-typed, many of
 * them failing when they are evaluated (division by zero, overflow, missing keys). Variables: i, b, s, l, m,
 * and u, which is unknown. */
#ifndef CEL_RANDOM_EXPRESSION_H
#define CEL_RANDOM_EXPRESSION_H

#include "base/bytes.h"
#include "base/chance.h"

typedef struct writer {
    simulated_chance dice;
    buffer out;
    uint32_t locals; /* int variables v0 … of enclosing macros */
} writer;

typedef enum shape { SHAPE_INT, SHAPE_BOOL, SHAPE_STRING, SHAPE_LIST, SHAPE_MAP, SHAPES } shape;

static uint32_t draw(writer *self, uint32_t below) {
    uint32_t value = 0;
    chance_random(&self->dice.chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

static void write_shape(writer *self, shape wanted, uint32_t depth);

/* `format` with each %i %b %s %l %m replaced by an expression of that shape. */
static void write_form(writer *self, const char *format, uint32_t depth) {
    static const char LETTERS[] = "ibslm";
    for (; *format != 0; format++) {
        const char *letter = format[0] == '%' ? strchr(LETTERS, format[1]) : NULL;
        if (letter != NULL && format[1] != 0) {
            /* One in fifty is of another type. */
            shape inner = draw(self, 50) == 0 ? (shape)draw(self, SHAPES) : (shape)(letter - LETTERS);
            write_shape(self, inner, depth + 1);
            format++;
        } else {
            buffer_append(&self->out, format, 1);
        }
    }
}

/* A macro over a list; its body sees one more variable. */
static void write_macro(writer *self, const char *name, const char *body, uint32_t depth) {
    write_form(self, draw(self, 4) == 0 ? "%m" : "%l", depth);
    bool bound = self->locals < 4;
    buffer_format(&self->out, ".%s(v%u, ", name, bound ? self->locals : 9U);
    self->locals += bound;
    write_form(self, body, depth);
    self->locals -= bound;
    buffer_text(&self->out, ")");
}

static void write_leaf(writer *self, shape wanted) {
    static const char *const INTS[] = {
        "0", "1", "2", "-3", "7", "9223372036854775807", "i", "-9223372036854775808"};
    static const char *const BOOLS[] = {"true", "false", "b", "u"};
    static const char *const STRINGS[] = {"''", "'a'", "\"b\\n\"", "s", "'\xC3\xA9'"};
    static const char *const LISTS[] = {"[]", "[1, 2, 3]", "l", "[0]"};
    static const char *const MAPS[] = {"{}", "{'a': 1, 'b': 2}", "m", "{s: i}"};
    if (wanted == SHAPE_INT && self->locals > 0 && draw(self, 2) == 0)
        buffer_format(&self->out, "v%u", draw(self, self->locals));
    else if (wanted == SHAPE_INT)
        buffer_text(&self->out, INTS[draw(self, 8)]);
    else if (wanted == SHAPE_BOOL)
        buffer_text(&self->out, BOOLS[draw(self, 4)]);
    else if (wanted == SHAPE_STRING)
        buffer_text(&self->out, STRINGS[draw(self, 5)]);
    else
        buffer_text(&self->out, wanted == SHAPE_LIST ? LISTS[draw(self, 4)] : MAPS[draw(self, 4)]);
}

static void write_int(writer *self, uint32_t depth) {
    static const char *const FORMS[] = {"%i + %i",     "%i - %i",  "(%i) * (%i)", "(%i) / (%i)",
                                        "(%i) % (%i)", "-(%i)",    "size(%s)",    "(%l).size()",
                                        "(%l)[%i]",    "(%m)[%s]", "(%m).a",      "(%b ? %i : %i)"};
    uint32_t form = draw(self, 14);
    if (form >= 12) {
        buffer_format(&self->out, "cel.bind(v%u, ", self->locals < 4 ? self->locals : 9U);
        write_form(self, "%i, ", depth);
        self->locals += self->locals < 4;
        write_form(self, "%i)", depth);
        self->locals -= self->locals > 0;
        return;
    }
    write_form(self, FORMS[form], depth);
}

static void write_bool(writer *self, uint32_t depth) {
    static const char *const FORMS[] = {
        "(%b && %b)",    "(%b || %b)",  "!(%b)",    "%i == %i",         "%i < %i",
        "%s != %s",      "%l == %l",    "%m == %m", "(%i) in (%l)",     "(%s) in (%m)",
        "%s <= %s",      "has((%m).b)", "%i >= %i", "(%b && %b && %b)", "(%b || %b || %b)",
        "(%b ? %b : %b)"};
    static const char *const MACROS[] = {"all", "exists", "exists_one"};
    uint32_t form = draw(self, 20);
    if (form >= 16)
        write_macro(self, MACROS[draw(self, 3)], "%b", depth);
    else
        write_form(self, FORMS[form], depth);
}

static void write_shape(writer *self, shape wanted, uint32_t depth) {
    if (depth > 5 || draw(self, 4) == 0) {
        write_leaf(self, wanted);
        return;
    }
    if (wanted == SHAPE_INT)
        write_int(self, depth);
    else if (wanted == SHAPE_BOOL)
        write_bool(self, depth);
    else if (wanted == SHAPE_STRING)
        write_form(self, draw(self, 2) == 0 ? "%s + %s" : "(%b ? %s : %s)", depth);
    else if (wanted == SHAPE_MAP)
        write_form(self, draw(self, 2) == 0 ? "{%s: %i, 'k': %i}" : "(%b ? %m : %m)", depth);
    else if (draw(self, 8) == 0)
        write_macro(self, "map", "%b, %i", depth);
    else if (draw(self, 3) == 0)
        write_form(self, draw(self, 2) == 0 ? "[%i, %i]" : "(%l) + (%l)", depth);
    else
        write_macro(self, draw(self, 2) == 0 ? "map" : "filter", "%b", depth);
}

/* A new expression in self->out. */
static void write_expression(writer *self) {
    buffer_clear(&self->out);
    self->locals = 0;
    write_shape(self, (shape)draw(self, SHAPES), 0);
}

#endif
