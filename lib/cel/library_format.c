/* string.format (cel-spec's doc/extensions/strings.md). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "number.h"
#include "text.h"
#include "utf8.h"

#define DEPTH_MAX 64U
#define PRECISION_MAX 100

/* Text that grows in the evaluation's memory. */
typedef struct writer {
    cel_call *call;
    char *text;
    uint32_t size;
    uint32_t room;
    const char *wrong; /* what is not allowed; ends the formatting */
} writer;

static void put(writer *self, const char *data, size_t size) {
    if (self->wrong != NULL || self->call->stopped)
        return;
    if (size > self->room - self->size) {
        uint64_t room = ((uint64_t)self->size + size) * 2 + 64;
        char *text = room > UINT32_MAX ? NULL : cel_call_memory(self->call, room);
        if (text == NULL) {
            self->call->stopped = true;
            return;
        }
        if (self->size > 0)
            memcpy(text, self->text, self->size);
        self->text = text;
        self->room = (uint32_t)room;
    }
    if (size > 0)
        memcpy(self->text + self->size, data, size);
    self->size += (uint32_t)size;
}

static void put_text(writer *self, const char *text) {
    put(self, text, strlen(text));
}

static bool put_special(writer *self, double value) {
    if (isfinite(value))
        return false;
    put_text(self, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
    return true;
}

static void put_number(writer *self, cel_value value) {
    char text[NUMBER_TEXT];
    if (value.kind == CEL_DOUBLE) {
        if (put_special(self, value.real))
            return;
        number_plain(value.real, text);
    } else if (value.kind == CEL_INT) {
        snprintf(text, sizeof text, "%lld", (long long)value.integer);
    } else {
        snprintf(text, sizeof text, "%llu", (unsigned long long)value.natural);
    }
    put_text(self, text);
}

static void put_any(writer *self, cel_value value, uint32_t depth);

/* Each run of bytes that are no UTF-8 becomes one U+FFFD. */
static void put_octets(writer *self, cel_value value) {
    bool broken = false;
    for (uint32_t i = 0; i < value.size;) {
        uint32_t length = cel_utf8_length(value.text, i, value.size);
        bool valid = cel_utf8_valid(bytes_of(value.text + i, length));
        if (valid)
            put(self, value.text + i, length);
        else if (!broken)
            put_text(self, "\xEF\xBF\xBD");
        broken = !valid;
        i += valid ? length : 1;
    }
}

static void put_list(writer *self, const cel_list *list, uint32_t depth) {
    put_text(self, "[");
    for (uint32_t i = 0; i < list->count && self->wrong == NULL && !self->call->stopped; i++) {
        put_text(self, i > 0 ? ", " : "");
        put_any(self, cel_list_at(list, i), depth + 1);
    }
    put_text(self, "]");
}

typedef struct formatted {
    cel_value key;
    cel_value value;
} formatted;

static int by_key(const void *left, const void *right) {
    cel_value one = ((const formatted *)left)->key;
    cel_value other = ((const formatted *)right)->key;
    int order = memcmp(one.text, other.text, one.size < other.size ? one.size : other.size);
    return order != 0 ? order : (one.size > other.size) - (one.size < other.size);
}

/* Entries in the order of their formatted keys. */
static void put_map(writer *self, const cel_map *map, uint32_t depth) {
    formatted *entries = cel_call_memory(self->call, (map->count + 1) * sizeof *entries);
    if (entries == NULL)
        return;
    charge(self->call, map->count);
    for (uint32_t i = 0; i < map->count; i++) {
        cel_entry entry = cel_map_at(map, i);
        writer key = {.call = self->call};
        put_any(&key, entry.key, depth + 1);
        entries[i] = (formatted){cel_text(key.size > 0 ? key.text : "", key.size), entry.value};
    }
    qsort(entries, map->count, sizeof *entries, by_key);
    put_text(self, "{");
    for (uint32_t i = 0; i < map->count && self->wrong == NULL && !self->call->stopped; i++) {
        put_text(self, i > 0 ? ", " : "");
        put(self, entries[i].key.text, entries[i].key.size);
        put_text(self, ": ");
        put_any(self, entries[i].value, depth + 1);
    }
    put_text(self, "}");
}

/* %s */
static void put_any(writer *self, cel_value value, uint32_t depth) {
    char text[TEXT_BYTES];
    if (depth > DEPTH_MAX) {
        self->wrong = "the value is nested too deep to be formatted";
        return;
    }
    switch ((cel_kind)value.kind) {
    case CEL_NULL:
        put_text(self, "null");
        return;
    case CEL_BOOL:
        put_text(self, value.boolean ? "true" : "false");
        return;
    case CEL_INT:
    case CEL_UINT:
    case CEL_DOUBLE:
        put_number(self, value);
        return;
    case CEL_STRING:
    case CEL_TYPE:
        put(self, value.text, value.size);
        return;
    case CEL_BYTES:
        put_octets(self, value);
        return;
    case CEL_LIST:
        put_list(self, value.list, depth);
        return;
    case CEL_MAP:
        put_map(self, value.map, depth);
        return;
    case CEL_TIMESTAMP:
        text_timestamp(value, text);
        put_text(self, text);
        return;
    case CEL_DURATION:
        text_duration(value, text);
        put_text(self, text);
        return;
    default:
        self->wrong = "%s cannot format this kind of value";
        return;
    }
}

static void put_decimal(writer *self, cel_value value) {
    if (is_number_kind(value.kind))
        put_number(self, value);
    else
        self->wrong = "%d is for numbers";
}

/* %f and %e */
static void put_real(writer *self, cel_value value, char conversion, int precision) {
    char text[NUMBER_TEXT + PRECISION_MAX];
    if (!is_number_kind(value.kind)) {
        self->wrong = conversion == 'f' ? "%f is for numbers" : "%e is for numbers";
        return;
    }
    double real = value.kind == CEL_INT    ? (double)value.integer
                  : value.kind == CEL_UINT ? (double)value.natural
                                           : value.real;
    if (put_special(self, real))
        return;
    snprintf(text, sizeof text, conversion == 'f' ? "%.*f" : "%.*e", precision, real);
    put_text(self, text);
}

/* %b, %o, %x, %X of a whole number. */
static void put_base(writer *self, cel_value value, uint32_t base, bool upper) {
    char text[72];
    char *at = text + sizeof text;
    bool minus = value.kind == CEL_INT && value.integer < 0;
    uint64_t magnitude = minus ? 0 - value.natural : value.natural;
    do {
        *--at = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[magnitude % base];
        magnitude /= base;
    } while (magnitude > 0);
    if (minus)
        *--at = '-';
    put(self, at, (size_t)(text + sizeof text - at));
}

static void put_hexadecimal(writer *self, cel_value value, bool upper) {
    if (value.kind == CEL_INT || value.kind == CEL_UINT) {
        put_base(self, value, 16, upper);
        return;
    }
    if (value.kind != CEL_STRING && value.kind != CEL_BYTES) {
        self->wrong = "%x is for whole numbers, strings and bytes";
        return;
    }
    for (uint32_t i = 0; i < value.size; i++) {
        char text[3];
        snprintf(text, sizeof text, upper ? "%02X" : "%02x", (uint8_t)value.text[i]);
        put(self, text, 2);
    }
}

static void put_octal_or_binary(writer *self, cel_value value, char conversion) {
    bool whole = value.kind == CEL_INT || value.kind == CEL_UINT;
    if (conversion == 'b' && value.kind == CEL_BOOL)
        put_text(self, value.boolean ? "1" : "0");
    else if (whole)
        put_base(self, value, conversion == 'b' ? 2 : 8, false);
    else
        self->wrong = conversion == 'b' ? "%b is for whole numbers and bools" : "%o is for whole numbers";
}

static void put_clause(writer *self, cel_value value, char conversion, int precision) {
    switch (conversion) {
    case 's':
        put_any(self, value, 0);
        return;
    case 'd':
        put_decimal(self, value);
        return;
    case 'f':
    case 'e':
        put_real(self, value, conversion, precision < 0 ? 6 : precision);
        return;
    case 'x':
    case 'X':
        put_hexadecimal(self, value, conversion == 'X');
        return;
    case 'o':
    case 'b':
        put_octal_or_binary(self, value, conversion);
        return;
    default:
        self->wrong = "unrecognized formatting clause";
        return;
    }
}

/* Reads ".3" at *at; -1 when there is none. */
static int read_precision(writer *self, cel_value format, uint32_t *at) {
    int precision = 0;
    if (*at >= format.size || format.text[*at] != '.')
        return -1;
    uint32_t first = ++*at;
    for (; *at < format.size && format.text[*at] >= '0' && format.text[*at] <= '9' &&
           precision <= PRECISION_MAX;
         ++*at)
        precision = precision * 10 + (format.text[*at] - '0');
    if (*at == first || precision > PRECISION_MAX)
        self->wrong = "the precision must be a number up to 100";
    return precision;
}

static cel_value format_text(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value format = arguments[0];
    const cel_list *values = arguments[1].list;
    writer out = {.call = call};
    uint32_t used = 0;
    (void)count;
    charge(call, format.size / 16);
    for (uint32_t at = 0; at < format.size && out.wrong == NULL && !call->stopped;) {
        const char *percent = memchr(format.text + at, '%', format.size - at);
        uint32_t end = percent == NULL ? format.size : (uint32_t)(percent - format.text);
        put(&out, format.text + at, end - at);
        at = end + 1;
        if (percent == NULL)
            break;
        if (at < format.size && format.text[at] == '%') {
            put(&out, "%", 1);
            at++;
            continue;
        }
        int precision = read_precision(&out, format, &at);
        if (at >= format.size || used >= values->count)
            out.wrong = at >= format.size ? "the format ends within a clause"
                                          : "there are more clauses than arguments";
        else if (out.wrong == NULL)
            put_clause(&out, cel_list_at(values, used++), format.text[at++], precision);
    }
    if (out.wrong != NULL)
        return call_failed(call, CEL_BAD_ARGUMENT, out.wrong);
    return cel_text(out.size > 0 ? out.text : "", out.size);
}

static const library_row FORMAT[] = {{"format", ".sLD", "s", format_text}};
const library library_format = {FORMAT, sizeof FORMAT / sizeof *FORMAT};
