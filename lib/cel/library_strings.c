/* Strings: the standard functions, the strings extension and base64 (cel-go's ext/README.md, "Strings",
 * "Encoders"). Positions are code points. */
#include <string.h>

#include "base/bytes.h"
#include "code.h"
#include "prepare.h"
#include "regex.h"
#include "text.h"
#include "utf8.h"

static cel_value out_of_range(const cel_call *call) {
    return call_failed(call, CEL_OUT_OF_RANGE, "index out of range");
}

/* A result of up to `size` bytes, to be cut to what was written; NULL when memory is used up. */
static char *room(cel_call *call, uint64_t size) {
    char *text = size > UINT32_MAX ? NULL : cel_call_memory(call, size + 1);
    if (text == NULL)
        call->stopped = true;
    return text;
}

static cel_value part(cel_value whole, uint32_t from, uint32_t to) {
    return cel_text(whole.text + from, to - from);
}

/* Offset in bytes of `needle` at or after `from`; UINT32_MAX for none. */
static uint32_t search(cel_value text, cel_value needle, uint32_t from) {
    if (needle.size == 0)
        return from;
    const char *found = needle.size > text.size - from
                            ? NULL
                            : memmem(text.text + from, text.size - from, needle.text, needle.size);
    return found == NULL ? UINT32_MAX : (uint32_t)(found - text.text);
}

/* ---- Tests
 * ----------------------------------------------------------------------------------------------------- */

static cel_value contains(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    charge(call, arguments[0].size / TEXT_UNIT);
    return cel_bool(search(arguments[0], arguments[1], 0) != UINT32_MAX);
}

static cel_value starts_with(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_bool(arguments[1].size <= arguments[0].size &&
                    memcmp(arguments[0].text, arguments[1].text, arguments[1].size) == 0);
}

static cel_value ends_with(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_bool(arguments[1].size <= arguments[0].size &&
                    memcmp(arguments[0].text + arguments[0].size - arguments[1].size, arguments[1].text,
                           arguments[1].size) == 0);
}

/* A pattern that is a literal was compiled with the program. */
static cel_value matches(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value pattern = arguments[1];
    const void *prepared = call->self;
    (void)count;
    if (pattern.size > CEL_PATTERN_BYTES)
        return call_failed(call, CEL_BAD_ARGUMENT, "the regular expression is too long");
    charge(call, (1 + arguments[0].size / 16) * (1 + pattern.size / 16) +
                     (prepared == NULL ? 100 + pattern.size : 0));
    if (prepared != NULL)
        return cel_bool(prepared_search(prepared, arguments[0]));
    regex *expression = regex_compile(pattern.text, pattern.size);
    if (expression == NULL)
        return call_failed(call, CEL_BAD_ARGUMENT, "the regular expression is malformed or too large");
    bool found = regex_search(expression, arguments[0].text, arguments[0].size);
    regex_free(expression);
    return cel_bool(found);
}

/* ---- Positions
 * ------------------------------------------------------------------------------------------------- */

static cel_value char_at(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    uint32_t at = cel_utf8_offset(text.text, text.size, arguments[1].integer);
    (void)count;
    charge(call, text.size / TEXT_UNIT);
    if (at == UINT32_MAX)
        return out_of_range(call);
    return part(text, at, at == text.size ? at : at + cel_utf8_length(text.text, at, text.size));
}

static cel_value index_of(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    uint32_t from = count == 3 ? cel_utf8_offset(text.text, text.size, arguments[2].integer) : 0;
    charge(call, text.size / TEXT_UNIT);
    if (from == UINT32_MAX)
        return out_of_range(call);
    uint32_t found = search(text, arguments[1], from);
    return cel_int(found == UINT32_MAX ? -1 : (int64_t)cel_utf8_count(text.text, found));
}

static cel_value last_index_of(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    cel_value needle = arguments[1];
    uint32_t from = count == 3 ? cel_utf8_offset(text.text, text.size, arguments[2].integer) : text.size;
    charge(call, text.size / TEXT_UNIT + (uint64_t)text.size * (needle.size / TEXT_UNIT));
    if (from == UINT32_MAX)
        return out_of_range(call);
    if (needle.size > text.size)
        return cel_int(-1);
    for (int64_t at = from < text.size - needle.size ? from : text.size - needle.size; at >= 0; at--)
        if (memcmp(text.text + at, needle.text, needle.size) == 0)
            return cel_int(cel_utf8_count(text.text, (uint32_t)at));
    return cel_int(-1);
}

static cel_value substring(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    uint32_t from = cel_utf8_offset(text.text, text.size, arguments[1].integer);
    uint32_t to = count == 3 ? cel_utf8_offset(text.text, text.size, arguments[2].integer) : text.size;
    charge(call, text.size / TEXT_UNIT);
    return from == UINT32_MAX || to == UINT32_MAX || from > to ? out_of_range(call) : part(text, from, to);
}

/* ---- New texts
 * ------------------------------------------------------------------------------------------------- */

static cel_value change_case(cel_call *call, cel_value text, char first, char last) {
    char *out = room(call, text.size);
    if (out == NULL)
        return cel_null();
    for (uint32_t i = 0; i < text.size; i++)
        out[i] = text.text[i] >= first && text.text[i] <= last ? (char)(text.text[i] ^ 0x20) : text.text[i];
    return cel_text(out, text.size);
}

static cel_value lower_ascii(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return change_case(call, arguments[0], 'A', 'Z');
}

static cel_value upper_ascii(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return change_case(call, arguments[0], 'a', 'z');
}

/* Where `needle` is replaced next: an empty one stands before every character and at the end. */
static uint32_t next_match(cel_value text, cel_value needle, uint32_t from, bool first) {
    if (needle.size > 0)
        return from > text.size ? UINT32_MAX : search(text, needle, from);
    if (first)
        return 0;
    return from >= text.size ? UINT32_MAX : from + cel_utf8_length(text.text, from, text.size);
}

static uint64_t count_matches(cel_value text, cel_value needle, int64_t limit) {
    uint64_t found = 0;
    for (uint32_t at = 0; limit < 0 || (int64_t)found < limit; found++) {
        at = next_match(text, needle, at, found == 0);
        if (at == UINT32_MAX)
            break;
        at += needle.size;
    }
    return found;
}

static cel_value replace(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    cel_value needle = arguments[1];
    cel_value by = arguments[2];
    uint64_t found = count_matches(text, needle, count == 4 ? arguments[3].integer : -1);
    charge(call, text.size / TEXT_UNIT + found);
    if (found == 0)
        return text;
    uint64_t size = text.size - found * needle.size + found * by.size;
    char *out = room(call, size);
    if (out == NULL)
        return cel_null();
    uint32_t used = 0;
    uint32_t from = 0;
    uint32_t at = 0;
    for (uint64_t i = 0; i < found; i++) {
        at = next_match(text, needle, at, i == 0);
        memcpy(out + used, text.text + from, at - from);
        used += at - from;
        memcpy(out + used, by.text, by.size);
        used += by.size;
        from = at = at + needle.size;
    }
    memcpy(out + used, text.text + from, text.size - from);
    return cel_text(out, size);
}

static cel_value split(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    cel_value by = arguments[1];
    int64_t limit = count == 3 ? arguments[2].integer : -1;
    uint64_t most =
        1 + (by.size == 0 ? cel_utf8_count(text.text, text.size) : count_matches(text, by, limit));
    charge(call, text.size / TEXT_UNIT + most);
    cel_list *list = cel_call_memory(call, sizeof *list + most * sizeof(cel_value));
    if (list == NULL)
        return cel_null();
    cel_value *items = (cel_value *)(list + 1);
    uint32_t used = 0;
    uint32_t from = 0;
    while (limit != 0 && (limit < 0 || used + 1 < limit)) {
        uint32_t at = by.size > 0         ? search(text, by, from)
                      : from >= text.size ? UINT32_MAX
                                          : from + cel_utf8_length(text.text, from, text.size);
        if (at == UINT32_MAX || (by.size == 0 && at >= text.size))
            break;
        items[used++] = part(text, from, at);
        from = at + by.size;
    }
    if (limit != 0 && !(by.size == 0 && text.size == 0))
        items[used++] = part(text, from, text.size);
    *list = (cel_list){.count = used, .items = items};
    return cel_list_of(list);
}

static cel_value join(cel_call *call, const cel_value *arguments, uint32_t count) {
    const cel_list *list = arguments[0].list;
    cel_value between = count == 2 ? arguments[1] : cel_text("", 0);
    uint64_t size = 0;
    charge(call, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        cel_value item = cel_list_at(list, i);
        if (item.kind != CEL_STRING)
            return call_failed(call, CEL_NO_SUCH_OVERLOAD, "no such overload");
        size += item.size + (i > 0 ? between.size : 0);
    }
    char *out = room(call, size);
    if (out == NULL)
        return cel_null();
    uint64_t used = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        cel_value item = cel_list_at(list, i);
        if (i > 0)
            memcpy(out + used, between.text, between.size);
        used += i > 0 ? between.size : 0;
        memcpy(out + used, item.text, item.size);
        used += item.size;
    }
    return cel_text(out, size);
}

static bool is_space(uint32_t point) {
    return (point >= 0x09 && point <= 0x0D) || point == 0x20 || point == 0x85 || point == 0xA0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 ||
           point == 0x202F || point == 0x205F || point == 0x3000;
}

static cel_value trim(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    uint32_t from = 0;
    (void)count;
    charge(call, text.size / TEXT_UNIT);
    while (from < text.size && is_space(cel_utf8_read(text.text, from, text.size)))
        from += cel_utf8_length(text.text, from, text.size);
    uint32_t to = from;
    for (uint32_t at = from; at < text.size;) {
        uint32_t length = cel_utf8_length(text.text, at, text.size);
        if (!is_space(cel_utf8_read(text.text, at, text.size)))
            to = at + length;
        at += length;
    }
    return part(text, from, to);
}

static cel_value reverse(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    char *out = room(call, text.size);
    (void)count;
    if (out == NULL)
        return cel_null();
    uint32_t end = text.size;
    for (uint32_t at = 0; at < text.size;) {
        uint32_t length = cel_utf8_length(text.text, at, text.size);
        end -= length;
        memcpy(out + end, text.text + at, length);
        at += length;
    }
    return cel_text(out, text.size);
}

static cel_value quote(cel_call *call, const cel_value *arguments, uint32_t count) {
    static const char FROM[] = "\a\b\f\n\r\t\v\\\"";
    static const char INTO[] = "abfnrtv\\\"";
    cel_value text = arguments[0];
    char *out = room(call, 2 + 2 * (uint64_t)text.size);
    uint32_t used = 0;
    (void)count;
    if (out == NULL)
        return cel_null();
    out[used++] = '"';
    for (uint32_t i = 0; i < text.size; i++) {
        const char *special = text.text[i] == 0 ? NULL : strchr(FROM, text.text[i]);
        if (special != NULL)
            out[used++] = '\\';
        out[used++] = special != NULL ? INTO[special - FROM] : text.text[i];
    }
    out[used++] = '"';
    return cel_text(out, used);
}

/* ---- Base64
 * ---------------------------------------------------------------------------------------------------- */

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static cel_value base64_text(cel_call *call, const cel_value *arguments, uint32_t count) {
    const uint8_t *data = (const uint8_t *)arguments[0].text;
    uint32_t size = arguments[0].size;
    uint64_t length = ((uint64_t)size + 2) / 3 * 4;
    char *out = room(call, length);
    (void)count;
    if (out == NULL)
        return cel_null();
    char *end = out;
    for (uint32_t i = 0; i < size; i += 3) {
        uint32_t left = size - i;
        uint32_t word = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? data[i + 2] : 0U);
        *end++ = ALPHABET[word >> 18];
        *end++ = ALPHABET[word >> 12 & 63];
        *end++ = left > 1 ? ALPHABET[word >> 6 & 63] : '=';
        *end++ = left > 2 ? ALPHABET[word & 63] : '=';
    }
    return cel_text(out, length);
}

/* With or without padding. */
static cel_value base64_octets(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value text = arguments[0];
    uint32_t size = text.size;
    (void)count;
    for (uint32_t i = 0; i < 2 && size > 0 && text.size % 4 == 0 && text.text[size - 1] == '='; i++)
        size--;
    char *out = room(call, (uint64_t)size * 3 / 4);
    if (out == NULL)
        return cel_null();
    uint32_t used = 0;
    uint32_t word = 0;
    for (uint32_t i = 0; i < size; i++) {
        const char *digit = text.text[i] == 0 ? NULL : strchr(ALPHABET, text.text[i]);
        if (digit == NULL || size % 4 == 1)
            return call_failed(call, CEL_BAD_ARGUMENT, "the text is no base64");
        word = word << 6 | (uint32_t)(digit - ALPHABET);
        if (i % 4 != 0)
            out[used++] = (char)(word >> (6 - i % 4 * 2));
    }
    return cel_octets(out, used);
}

static const library_row STRINGS[] = {
    {"contains", ".ss", "b", contains},
    {"startsWith", ".ss", "b", starts_with},
    {"endsWith", ".ss", "b", ends_with},
    {"matches", ".ss", "b", matches},
    {"matches", "ss", "b", matches},
    {"charAt", ".si", "s", char_at},
    {"indexOf", ".ss", "i", index_of},
    {"indexOf", ".ssi", "i", index_of},
    {"lastIndexOf", ".ss", "i", last_index_of},
    {"lastIndexOf", ".ssi", "i", last_index_of},
    {"substring", ".si", "s", substring},
    {"substring", ".sii", "s", substring},
    {"lowerAscii", ".s", "s", lower_ascii},
    {"upperAscii", ".s", "s", upper_ascii},
    {"replace", ".sss", "s", replace},
    {"replace", ".sssi", "s", replace},
    {"split", ".ss", "Ls", split},
    {"split", ".ssi", "Ls", split},
    {"join", ".Ls", "s", join},
    {"join", ".Lss", "s", join},
    {"trim", ".s", "s", trim},
    {"reverse", ".s", "s", reverse},
    {"strings.quote", "s", "s", quote},
    {"base64.encode", "y", "s", base64_text},
    {"base64.decode", "s", "y", base64_octets},
};
const library library_strings = {STRINGS, sizeof STRINGS / sizeof *STRINGS};
