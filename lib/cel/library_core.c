/* Operators as the checker sees them, conversions, sizes, optionals (langdef.md, "List of Standard
 * Definitions"). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "code.h"
#include "number.h"
#include "text.h"
#include "utf8.h"

static const library_row OPERATORS[] = {
    {"_==_", "AA", "b", NULL},
    {"_!=_", "AA", "b", NULL},
    {"@in", "ALA", "b", NULL},
    {"@in", "AMAB", "b", NULL},
    {"_?_:_", "bAA", "A", NULL},
    {"!_", "b", "b", NULL},
    {"-_", "i", "i", NULL},
    {"-_", "d", "d", NULL},
    {"_+_", "ii", "i", NULL},
    {"_+_", "uu", "u", NULL},
    {"_+_", "dd", "d", NULL},
    {"_+_", "ss", "s", NULL},
    {"_+_", "yy", "y", NULL},
    {"_+_", "LALA", "LA", NULL},
    {"_+_", "tr", "t", NULL},
    {"_+_", "rt", "t", NULL},
    {"_+_", "rr", "r", NULL},
    {"_-_", "ii", "i", NULL},
    {"_-_", "uu", "u", NULL},
    {"_-_", "dd", "d", NULL},
    {"_-_", "tt", "r", NULL},
    {"_-_", "tr", "t", NULL},
    {"_-_", "rr", "r", NULL},
    {"_*_", "ii", "i", NULL},
    {"_*_", "uu", "u", NULL},
    {"_*_", "dd", "d", NULL},
    {"_/_", "ii", "i", NULL},
    {"_/_", "uu", "u", NULL},
    {"_/_", "dd", "d", NULL},
    {"_%_", "ii", "i", NULL},
    {"_%_", "uu", "u", NULL},
    {"_[_]", "LAi", "A", NULL},
    {"_[_]", "MABA", "B", NULL},
    {"_[_]", "OLAi", "OA", NULL},
    {"_[_]", "OMABA", "OB", NULL},
    {"_[?_]", "LAi", "OA", NULL},
    {"_[?_]", "MABA", "OB", NULL},
    {"_[?_]", "OLAi", "OA", NULL},
    {"_[?_]", "OMABA", "OB", NULL},
#define ORDERED(name)                                                                                        \
    {name, "bb", "b", NULL}, {name, "ii", "b", NULL}, {name, "uu", "b", NULL}, {name, "dd", "b", NULL},      \
        {name, "ss", "b", NULL}, {name, "yy", "b", NULL}, {name, "tt", "b", NULL}, {name, "rr", "b", NULL},  \
        {name, "iu", "b", NULL}, {name, "id", "b", NULL}, {name, "ui", "b", NULL}, {name, "ud", "b", NULL},  \
        {name, "di", "b", NULL}, {                                                                           \
        name, "du", "b", NULL                                                                                \
    }
    ORDERED("_<_"),
    ORDERED("_<=_"),
    ORDERED("_>_"),
    ORDERED("_>=_"),
};
const library library_operators = {OPERATORS, sizeof OPERATORS / sizeof *OPERATORS};

/* ---- Conversions
 * ----------------------------------------------------------------------------------------------- */

static cel_value bad(const cel_call *call, const char *what) {
    return call_failed(call, CEL_BAD_ARGUMENT, what);
}

static cel_value out_of_range(const cel_call *call) {
    return call_failed(call, CEL_OUT_OF_RANGE, "the number is out of range");
}

static cel_value same(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return arguments[0];
}

static cel_value to_int(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)count;
    switch ((cel_kind)value.kind) {
    case CEL_UINT:
        return value.natural > INT64_MAX ? out_of_range(call) : cel_int((int64_t)value.natural);
    case CEL_DOUBLE:
        return value.real > -9223372036854775808.0 && value.real < 9223372036854775808.0
                   ? cel_int((int64_t)value.real)
                   : out_of_range(call);
    case CEL_STRING:
        return number_read_int(text_bytes(value), &value.integer) ? cel_int(value.integer)
                                                                  : bad(call, "the text is no int");
    default:
        return cel_int(value.integer); /* int, and timestamp in seconds */
    }
}

static cel_value to_uint(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)count;
    switch ((cel_kind)value.kind) {
    case CEL_INT:
        return value.integer < 0 ? out_of_range(call) : cel_uint((uint64_t)value.integer);
    case CEL_DOUBLE:
        return value.real >= 0 && value.real < 18446744073709551616.0 ? cel_uint((uint64_t)value.real)
                                                                      : out_of_range(call);
    case CEL_STRING:
        return number_read_uint(text_bytes(value), &value.natural) ? cel_uint(value.natural)
                                                                   : bad(call, "the text is no uint");
    default:
        return value;
    }
}

static cel_value to_double(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)count;
    switch ((cel_kind)value.kind) {
    case CEL_INT:
        return cel_double((double)value.integer);
    case CEL_UINT:
        return cel_double((double)value.natural);
    case CEL_STRING:
        return number_read_double(text_bytes(value), &value.real) ? cel_double(value.real)
                                                                  : bad(call, "the text is no double");
    default:
        return value;
    }
}

static cel_value to_bool(cel_call *call, const cel_value *arguments, uint32_t count) {
    static const char *const YES[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const NO[] = {"0", "f", "F", "false", "FALSE", "False"};
    (void)count;
    if (arguments[0].kind == CEL_BOOL)
        return arguments[0];
    for (size_t i = 0; i < sizeof YES / sizeof *YES; i++) {
        if (bytes_equal(text_bytes(arguments[0]), bytes_of_text(YES[i])))
            return cel_bool(true);
        if (bytes_equal(text_bytes(arguments[0]), bytes_of_text(NO[i])))
            return cel_bool(false);
    }
    return bad(call, "the text is no bool");
}

static cel_value to_bytes(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_octets(arguments[0].text, arguments[0].size);
}

static cel_value text_of_number(cel_call *call, cel_value value) {
    char text[NUMBER_TEXT];
    if (value.kind == CEL_INT)
        snprintf(text, sizeof text, "%lld", (long long)value.integer);
    else if (value.kind == CEL_UINT)
        snprintf(text, sizeof text, "%llu", (unsigned long long)value.natural);
    else
        number_shortest(value.real, text);
    return call_text(call, text, strlen(text));
}

static cel_value to_string(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    char text[TEXT_BYTES];
    (void)count;
    switch ((cel_kind)value.kind) {
    case CEL_STRING:
        return value;
    case CEL_BOOL:
        return value.boolean ? cel_text("true", 4) : cel_text("false", 5);
    case CEL_BYTES:
        charge(call, value.size / 64);
        return cel_utf8_valid(text_bytes(value)) ? cel_text(value.text, value.size)
                                                 : bad(call, "invalid UTF-8");
    case CEL_TIMESTAMP:
        text_timestamp(value, text);
        return call_text(call, text, strlen(text));
    case CEL_DURATION:
        text_duration(value, text);
        return call_text(call, text, strlen(text));
    case CEL_IP:
    case CEL_CIDR:
        text_address(value, text);
        return call_text(call, text, strlen(text));
    default:
        return text_of_number(call, value);
    }
}

static cel_value type_of(cel_call *call, const cel_value *arguments, uint32_t count) {
    const char *name = cel_kind_name((cel_kind)arguments[0].kind);
    (void)call;
    (void)count;
    if (arguments[0].kind == CEL_OBJECT)
        name = arguments[0].object->type->name;
    else if (arguments[0].kind == CEL_OPAQUE)
        name = arguments[0].opaque->name;
    return (cel_value){.kind = CEL_TYPE, .size = (uint32_t)strlen(name), .text = name};
}

static cel_value size_of(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)count;
    if (value.kind == CEL_LIST)
        return cel_int(value.list->count);
    if (value.kind == CEL_MAP)
        return cel_int(value.map->count);
    charge(call, value.kind == CEL_STRING ? value.size / 64 : 0);
    return cel_int(value.kind == CEL_STRING ? cel_utf8_count(value.text, value.size) : value.size);
}

static const library_row CONVERT[] = {
    {"int", "i", "i", to_int},       {"int", "u", "i", to_int},       {"int", "d", "i", to_int},
    {"int", "s", "i", to_int},       {"int", "t", "i", to_int},       {"uint", "u", "u", to_uint},
    {"uint", "i", "u", to_uint},     {"uint", "d", "u", to_uint},     {"uint", "s", "u", to_uint},
    {"double", "d", "d", to_double}, {"double", "i", "d", to_double}, {"double", "u", "d", to_double},
    {"double", "s", "d", to_double}, {"bool", "b", "b", to_bool},     {"bool", "s", "b", to_bool},
    {"bytes", "y", "y", same},       {"bytes", "s", "y", to_bytes},   {"string", "s", "s", to_string},
    {"string", "b", "s", to_string}, {"string", "i", "s", to_string}, {"string", "u", "s", to_string},
    {"string", "d", "s", to_string}, {"string", "y", "s", to_string}, {"string", "t", "s", to_string},
    {"string", "r", "s", to_string}, {"string", "p", "s", to_string}, {"string", "c", "s", to_string},
    {"dyn", "A", "D", same},         {"type", "A", "TA", type_of},    {"size", "s", "i", size_of},
    {"size", "y", "i", size_of},     {"size", "LA", "i", size_of},    {"size", "MAB", "i", size_of},
    {"size", ".s", "i", size_of},    {"size", ".y", "i", size_of},    {"size", ".LA", "i", size_of},
    {"size", ".MAB", "i", size_of},
};
const library library_convert = {CONVERT, sizeof CONVERT / sizeof *CONVERT};

/* ---- Optionals (cel-go, cel/library.go)
 * ------------------------------------------------------------------------ */

static cel_value optional_none(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)arguments;
    (void)count;
    return value_none();
}

static cel_value optional_of(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return value_optional(call, arguments[0]);
}

static bool is_zero(cel_value value) {
    switch ((cel_kind)value.kind) {
    case CEL_NULL:
        return true;
    case CEL_BOOL:
        return !value.boolean;
    case CEL_INT:
    case CEL_UINT:
    case CEL_DURATION:
        return value.natural == 0;
    case CEL_DOUBLE:
        return value.real == 0;
    case CEL_STRING:
    case CEL_BYTES:
        return value.size == 0;
    case CEL_LIST:
        return value.list->count == 0;
    case CEL_MAP:
        return value.map->count == 0;
    case CEL_TIMESTAMP:
        return value.integer == 0 && value.size == 0;
    case CEL_OPTIONAL:
        return value.inner == NULL;
    default:
        return false;
    }
}

static cel_value optional_of_non_zero(cel_call *call, const cel_value *arguments, uint32_t count) {
    return is_zero(arguments[0]) ? optional_none(call, arguments, count) : value_optional(call, arguments[0]);
}

static cel_value has_value(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_bool(arguments[0].inner != NULL);
}

static cel_value value_of(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return arguments[0].inner != NULL ? *arguments[0].inner
                                      : call_failed(call, CEL_NO_SUCH_KEY, "optional.none() has no value");
}

static cel_value list_end(cel_call *call, const cel_list *list, uint32_t index) {
    return list->count == 0 ? value_none() : value_optional(call, cel_list_at(list, index));
}

static cel_value list_first(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return list_end(call, arguments[0].list, 0);
}

static cel_value list_last(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return list_end(call, arguments[0].list, arguments[0].list->count - 1);
}

static cel_value unwrap(cel_call *call, const cel_value *arguments, uint32_t count) {
    const cel_list *from = arguments[0].list;
    (void)count;
    charge(call, from->count);
    cel_list *list = cel_call_memory(call, sizeof *list + from->count * sizeof(cel_value));
    if (list == NULL)
        return cel_null();
    cel_value *items = (cel_value *)(list + 1);
    uint32_t used = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        cel_value item = cel_list_at(from, i);
        if (item.kind != CEL_OPTIONAL)
            return call_failed(call, CEL_NO_SUCH_OVERLOAD, "no such overload");
        if (item.inner != NULL)
            items[used++] = *item.inner;
    }
    *list = (cel_list){.count = used, .items = items};
    return cel_list_of(list);
}

static const library_row OPTIONAL[] = {
    {"optional.none", "", "OA", optional_none},
    {"optional.of", "A", "OA", optional_of},
    {"optional.ofNonZeroValue", "A", "OA", optional_of_non_zero},
    {"optional.unwrap", "LOA", "LA", unwrap},
    {"unwrapOpt", ".LOA", "LA", unwrap},
    {"hasValue", ".OA", "b", has_value},
    {"value", ".OA", "A", value_of},
    /* Instructions of their own: the argument is evaluated only when it is needed. */
    {"or", ".OAOA", "OA", NULL},
    {"orValue", ".OAA", "A", NULL},
    {"first", ".LA", "OA", list_first},
    {"last", ".LA", "OA", list_last},
};
const library library_optional = {OPTIONAL, sizeof OPTIONAL / sizeof *OPTIONAL};
