/* The math extension (cel-go's ext/README.md, "Math"). */
#include <math.h>

#include "code.h"

static cel_value wrong(const cel_call *call) {
    return call_failed(call, CEL_NO_SUCH_OVERLOAD, "no such overload");
}

/* The greatest (sign 1) or least (-1) of numbers, or of one list of numbers. */
static cel_value extreme(cel_call *call, const cel_value *arguments, uint32_t count, int sign) {
    const cel_list *list = count == 1 && arguments[0].kind == CEL_LIST ? arguments[0].list : NULL;
    count = list != NULL ? list->count : count;
    charge(call, count);
    if (count == 0)
        return call_failed(call, CEL_BAD_ARGUMENT, "an empty list has no greatest or least element");
    cel_value best = cel_null();
    for (uint32_t i = 0; i < count; i++) {
        cel_value each = list != NULL ? cel_list_at(list, i) : arguments[i];
        if (!is_number_kind(each.kind))
            return wrong(call);
        if (i == 0 || compare_numbers(each, best) == sign)
            best = each;
    }
    return best;
}

static cel_value greatest(cel_call *call, const cel_value *arguments, uint32_t count) {
    return extreme(call, arguments, count, 1);
}

static cel_value least(cel_call *call, const cel_value *arguments, uint32_t count) {
    return extreme(call, arguments, count, -1);
}

#define OF_DOUBLE(name, expression)                                                                          \
    static cel_value name(cel_call *call, const cel_value *arguments, uint32_t count) {                      \
        double x = arguments[0].real;                                                                        \
        (void)call;                                                                                          \
        (void)count;                                                                                         \
        return expression;                                                                                   \
    }
OF_DOUBLE(math_ceil, cel_double(ceil(x)))
OF_DOUBLE(math_floor, cel_double(floor(x)))
OF_DOUBLE(math_round, cel_double(round(x)))
OF_DOUBLE(math_trunc, cel_double(trunc(x)))
OF_DOUBLE(math_is_nan, cel_bool(isnan(x)))
OF_DOUBLE(math_is_inf, cel_bool(isinf(x)))
OF_DOUBLE(math_is_finite, cel_bool(isfinite(x)))

static cel_value math_abs(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)count;
    if (value.kind == CEL_DOUBLE)
        return cel_double(fabs(value.real));
    if (value.kind == CEL_UINT || value.integer >= 0)
        return value;
    return value.integer == INT64_MIN ? call_failed(call, CEL_OVERFLOW, "integer overflow")
                                      : cel_int(-value.integer);
}

static cel_value math_sign(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)call;
    (void)count;
    if (value.kind == CEL_DOUBLE)
        return isnan(value.real) ? value : cel_double((value.real > 0) - (value.real < 0));
    return value.kind == CEL_UINT ? cel_uint(value.natural > 0)
                                  : cel_int((value.integer > 0) - (value.integer < 0));
}

static cel_value math_sqrt(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)call;
    (void)count;
    return cel_double(sqrt(value.kind == CEL_INT    ? (double)value.integer
                           : value.kind == CEL_UINT ? (double)value.natural
                                                    : value.real));
}

/* Int and uint share their bits; the result has the kind of the first. */
#define OF_BITS(name, expression)                                                                            \
    static cel_value name(cel_call *call, const cel_value *arguments, uint32_t count) {                      \
        cel_value value = arguments[0];                                                                      \
        (void)call;                                                                                          \
        (void)count;                                                                                         \
        value.natural = expression;                                                                          \
        return value;                                                                                        \
    }
OF_BITS(bit_and, value.natural &arguments[1].natural)
OF_BITS(bit_or, value.natural | arguments[1].natural)
OF_BITS(bit_xor, value.natural ^ arguments[1].natural)
OF_BITS(bit_not, ~value.natural)

static cel_value shift(cel_call *call, const cel_value *arguments, bool left) {
    cel_value value = arguments[0];
    int64_t by = arguments[1].integer;
    if (by < 0)
        return call_failed(call, CEL_BAD_ARGUMENT, "negative offset");
    value.natural = by >= 64 ? 0 : left ? value.natural << by : value.natural >> by;
    return value;
}

static cel_value shift_left(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return shift(call, arguments, true);
}

static cel_value shift_right(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return shift(call, arguments, false);
}

static const library_row MATH[] = {
    {"math.greatest", "*", "D", greatest},
    {"math.least", "*", "D", least},
    {"math.ceil", "d", "d", math_ceil},
    {"math.floor", "d", "d", math_floor},
    {"math.round", "d", "d", math_round},
    {"math.trunc", "d", "d", math_trunc},
    {"math.isNaN", "d", "b", math_is_nan},
    {"math.isInf", "d", "b", math_is_inf},
    {"math.isFinite", "d", "b", math_is_finite},
    {"math.abs", "i", "i", math_abs},
    {"math.abs", "u", "u", math_abs},
    {"math.abs", "d", "d", math_abs},
    {"math.sign", "i", "i", math_sign},
    {"math.sign", "u", "u", math_sign},
    {"math.sign", "d", "d", math_sign},
    {"math.sqrt", "i", "d", math_sqrt},
    {"math.sqrt", "u", "d", math_sqrt},
    {"math.sqrt", "d", "d", math_sqrt},
    {"math.bitAnd", "ii", "i", bit_and},
    {"math.bitAnd", "uu", "u", bit_and},
    {"math.bitOr", "ii", "i", bit_or},
    {"math.bitOr", "uu", "u", bit_or},
    {"math.bitXor", "ii", "i", bit_xor},
    {"math.bitXor", "uu", "u", bit_xor},
    {"math.bitNot", "i", "i", bit_not},
    {"math.bitNot", "u", "u", bit_not},
    {"math.bitShiftLeft", "ii", "i", shift_left},
    {"math.bitShiftLeft", "ui", "u", shift_left},
    {"math.bitShiftRight", "ii", "i", shift_right},
    {"math.bitShiftRight", "ui", "u", shift_right},
};
const library library_math = {MATH, sizeof MATH / sizeof *MATH};
