/* Operators on values (langdef.md, "Overflow", "Field Selection"). */
#include <math.h>
#include <string.h>

#include "code.h"
#include "utf8.h"

/* ---- Calls
 * ----------------------------------------------------------------------------------------------------- */

void charge(cel_call *call, uint64_t cost) {
    if (__builtin_add_overflow(call->run->cost, cost, &call->run->cost))
        call->run->cost = UINT64_MAX;
}

void cel_call_charge(cel_call *call, uint64_t cost) {
    charge(call, cost);
}

void *cel_call_memory(cel_call *call, size_t size) {
    void *found = call->run->memory == NULL ? NULL : arena_alloc(call->run->memory, size);
    charge(call, size / TEXT_UNIT);
    if (found == NULL)
        call->stopped = true;
    return found;
}

void *cel_call_self(const cel_call *call) {
    return call->self;
}

cel_value call_failed(const cel_call *call, cel_reason reason, const char *text) {
    return (cel_value){.kind = CEL_ERROR, .reason = (uint8_t)reason, .size = call->offset, .text = text};
}

cel_value call_no_overload(const cel_call *call) {
    return call_failed(call, CEL_NO_SUCH_OVERLOAD, "no such overload");
}

cel_value cel_call_error(cel_call *call, cel_reason reason, const char *text) {
    return call_failed(call, reason, text);
}

cel_value call_text(cel_call *call, const void *data, size_t size) {
    char *copy = size > UINT32_MAX ? NULL : cel_call_memory(call, size);
    if (copy == NULL) {
        call->stopped = true;
        return call_failed(call, CEL_OUT_OF_RANGE, "no memory left");
    }
    memcpy(copy, data, size);
    return cel_text(copy, size);
}

cel_value cel_unknown(const char *fact) {
    return (cel_value){.kind = CEL_UNKNOWN, .size = (uint32_t)strlen(fact), .text = fact};
}

const cel_value *first_absent(const cel_value *arguments, uint32_t count) {
    const cel_value *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (arguments[i].kind == CEL_UNKNOWN)
            return &arguments[i];
        if (arguments[i].kind == CEL_ERROR && found == NULL)
            found = &arguments[i];
    }
    return found;
}

const char *cel_kind_name(cel_kind kind) {
    static const char *const NAMES[] = {"null_type",
                                        "bool",
                                        "int",
                                        "uint",
                                        "double",
                                        "string",
                                        "bytes",
                                        "list",
                                        "map",
                                        "google.protobuf.Timestamp",
                                        "google.protobuf.Duration",
                                        "type",
                                        "optional_type",
                                        "object",
                                        "net.IP",
                                        "net.CIDR",
                                        "opaque",
                                        "unknown",
                                        "error"};
    return kind < sizeof NAMES / sizeof *NAMES ? NAMES[kind] : "?";
}

/* ---- Arithmetic
 * ------------------------------------------------------------------------------------------------ */

static cel_value overflow(const cel_call *call) {
    return call_failed(call, CEL_OVERFLOW, "integer overflow");
}

static cel_value divide(const cel_call *call, node_operator which, cel_value left, cel_value right) {
    if (right.natural == 0)
        return call_failed(call, CEL_DIVIDE_BY_ZERO,
                           which == OP_DIV ? "division by zero" : "modulus by zero");
    if (left.kind == CEL_UINT)
        return cel_uint(which == OP_DIV ? left.natural / right.natural : left.natural % right.natural);
    if (left.integer == INT64_MIN && right.integer == -1)
        return overflow(call);
    return cel_int(which == OP_DIV ? left.integer / right.integer : left.integer % right.integer);
}

static cel_value of_ints(const cel_call *call, node_operator which, cel_value left, cel_value right) {
    int64_t result = 0;
    if (which == OP_DIV || which == OP_MOD)
        return divide(call, which, left, right);
    bool over = which == OP_ADD   ? __builtin_add_overflow(left.integer, right.integer, &result)
                : which == OP_SUB ? __builtin_sub_overflow(left.integer, right.integer, &result)
                                  : __builtin_mul_overflow(left.integer, right.integer, &result);
    return over ? overflow(call) : cel_int(result);
}

static cel_value of_uints(const cel_call *call, node_operator which, cel_value left, cel_value right) {
    uint64_t result = 0;
    if (which == OP_DIV || which == OP_MOD)
        return divide(call, which, left, right);
    bool over = which == OP_ADD   ? __builtin_add_overflow(left.natural, right.natural, &result)
                : which == OP_SUB ? __builtin_sub_overflow(left.natural, right.natural, &result)
                                  : __builtin_mul_overflow(left.natural, right.natural, &result);
    return over ? overflow(call) : cel_uint(result);
}

static cel_value of_doubles(const cel_call *call, node_operator which, double left, double right) {
    switch (which) {
    case OP_ADD:
        return cel_double(left + right);
    case OP_SUB:
        return cel_double(left - right);
    case OP_MUL:
        return cel_double(left * right);
    case OP_DIV:
        return cel_double(left / right);
    default:
        return call_no_overload(call);
    }
}

static cel_value concatenate(cel_call *call, cel_value left, cel_value right) {
    uint64_t size = (uint64_t)left.size + right.size;
    if (left.size == 0 || right.size == 0)
        return left.size == 0 ? right : left;
    char *text = size > UINT32_MAX ? NULL : cel_call_memory(call, size);
    if (text == NULL) {
        call->stopped = true;
        return overflow(call);
    }
    memcpy(text, left.text, left.size);
    memcpy(text + left.size, right.text, right.size);
    left.text = text;
    left.size = (uint32_t)size;
    return left;
}

static cel_value append_lists(cel_call *call, const cel_list *left, const cel_list *right) {
    uint64_t count = (uint64_t)left->count + right->count;
    cel_list *list = cel_call_memory(call, sizeof *list);
    cel_value *items =
        count > UINT32_MAX || list == NULL ? NULL : cel_call_memory(call, count * sizeof *items);
    charge(call, count);
    if (items == NULL) {
        call->stopped = true;
        return overflow(call);
    }
    for (uint32_t i = 0; i < left->count; i++)
        items[i] = cel_list_at(left, i);
    for (uint32_t i = 0; i < right->count; i++)
        items[left->count + i] = cel_list_at(right, i);
    *list = (cel_list){.count = (uint32_t)count, .items = items};
    return cel_list_of(list);
}

#define SECOND INT64_C(1000000000)

static cel_value checked_timestamp(const cel_call *call, int64_t seconds, int64_t nanoseconds) {
    seconds += nanoseconds / SECOND;
    nanoseconds %= SECOND;
    if (nanoseconds < 0) {
        nanoseconds += SECOND;
        seconds--;
    }
    if (seconds < INT64_C(-62135596800) || seconds > INT64_C(253402300799))
        return call_failed(call, CEL_OUT_OF_RANGE, "timestamp out of range: years 1 to 9999");
    return cel_timestamp(seconds, (uint32_t)nanoseconds);
}

static cel_value checked_duration(const cel_call *call, int64_t one, int64_t other, bool minus) {
    int64_t result = 0;
    if (minus ? __builtin_sub_overflow(one, other, &result) : __builtin_add_overflow(one, other, &result))
        return call_failed(call, CEL_OUT_OF_RANGE, "duration out of range");
    return cel_duration(result);
}

static cel_value between(const cel_call *call, cel_value left, cel_value right) {
    int64_t nanoseconds = 0;
    if (__builtin_mul_overflow(left.integer - right.integer, SECOND, &nanoseconds) ||
        __builtin_add_overflow(nanoseconds, (int64_t)left.size - (int64_t)right.size, &nanoseconds))
        return call_failed(call, CEL_OUT_OF_RANGE, "duration out of range");
    return cel_duration(nanoseconds);
}

static cel_value shift(const cel_call *call, cel_value time, int64_t nanoseconds, int sign) {
    return checked_timestamp(call, time.integer + sign * (nanoseconds / SECOND),
                             (int64_t)time.size + sign * (nanoseconds % SECOND));
}

static cel_value of_times(const cel_call *call, node_operator which, cel_value left, cel_value right) {
    bool minus = which == OP_SUB;
    if (which != OP_ADD && !minus)
        return call_no_overload(call);
    if (left.kind == CEL_DURATION && right.kind == CEL_DURATION)
        return checked_duration(call, left.integer, right.integer, minus);
    if (left.kind == CEL_TIMESTAMP && right.kind == CEL_DURATION)
        return shift(call, left, right.integer, minus ? -1 : 1);
    if (left.kind == CEL_DURATION && right.kind == CEL_TIMESTAMP && !minus)
        return shift(call, right, left.integer, 1);
    if (left.kind == CEL_TIMESTAMP && right.kind == CEL_TIMESTAMP && minus)
        return between(call, left, right);
    return call_no_overload(call);
}

static cel_value arithmetic(cel_call *call, node_operator which, cel_value left, cel_value right) {
    bool time = left.kind == CEL_TIMESTAMP || left.kind == CEL_DURATION;
    if (time)
        return of_times(call, which, left, right);
    if (left.kind != right.kind)
        return call_no_overload(call);
    switch ((cel_kind)left.kind) {
    case CEL_INT:
        return of_ints(call, which, left, right);
    case CEL_UINT:
        return of_uints(call, which, left, right);
    case CEL_DOUBLE:
        return of_doubles(call, which, left.real, right.real);
    case CEL_STRING:
    case CEL_BYTES:
        return which == OP_ADD ? concatenate(call, left, right) : call_no_overload(call);
    case CEL_LIST:
        return which == OP_ADD ? append_lists(call, left.list, right.list) : call_no_overload(call);
    default:
        return call_no_overload(call);
    }
}

cel_value value_negate(const cel_call *call, cel_value value) {
    if (value.kind >= CEL_UNKNOWN)
        return value;
    if (value.kind == CEL_DOUBLE)
        return cel_double(-value.real);
    if (value.kind != CEL_INT)
        return call_no_overload(call);
    return value.integer == INT64_MIN ? overflow(call) : cel_int(-value.integer);
}

/* ---- Membership, index, fields
 * --------------------------------------------------------------------------------- */

static cel_value opposite(cel_value value) {
    return value.kind == CEL_BOOL ? cel_bool(!value.boolean) : value;
}

/* Equality of what conditions mostly compare; false when it takes more than a look. */
static inline bool equal_simply(cel_call *call, cel_value left, cel_value right, bool *same) {
    if (left.kind != right.kind)
        return false;
    if (left.kind == CEL_STRING) {
        *same = left.size == right.size && memcmp(left.text, right.text, left.size) == 0;
        charge(call, left.size / TEXT_UNIT);
        return true;
    }
    *same = left.natural == right.natural;
    return left.kind == CEL_INT || left.kind == CEL_UINT;
}

cel_value operate(cel_call *call, node_operator which, cel_value left, cel_value right) {
    if (left.kind >= CEL_UNKNOWN || right.kind >= CEL_UNKNOWN)
        return right.kind == CEL_UNKNOWN && left.kind != CEL_UNKNOWN ? right
               : left.kind >= CEL_UNKNOWN                            ? left
                                                                     : right;
    bool same = false;
    if (which <= OP_NE && equal_simply(call, left, right, &same))
        return cel_bool(same == (which == OP_EQ));
    if (which <= OP_NE)
        return which == OP_EQ ? values_equal(call, left, right) : opposite(values_equal(call, left, right));
    if (which <= OP_GE)
        return value_order(call, which, left, right);
    return which == OP_IN ? value_contains(call, left, right) : arithmetic(call, which, left, right);
}

cel_value value_optional(cel_call *call, cel_value content) {
    cel_value *kept = cel_call_memory(call, sizeof *kept);
    if (kept != NULL)
        *kept = content;
    return (cel_value){.kind = CEL_OPTIONAL, .inner = kept};
}

/* The whole number that indexes a list; false when it is none. */
static bool list_index(cel_value key, int64_t *index) {
    if (key.kind == CEL_INT)
        *index = key.integer;
    else if (key.kind == CEL_UINT)
        *index = key.natural > INT64_MAX ? INT64_MAX : (int64_t)key.natural;
    else if (key.kind == CEL_DOUBLE && fabs(key.real) < 1e15 && key.real == floor(key.real))
        *index = (int64_t)key.real;
    else
        return false;
    return true;
}

typedef enum lookup { LOOKUP_FOUND, LOOKUP_ABSENT, LOOKUP_WRONG } lookup;

/* `*out` is an error value unless it is found. */
static lookup look_up(cel_call *call, cel_value container, cel_value key, cel_value *out) {
    if (container.kind == CEL_MAP) {
        if (value_find(call, container.map, key, out))
            return LOOKUP_FOUND;
        *out = call_failed(call, CEL_NO_SUCH_KEY, "no such key");
        return LOOKUP_ABSENT;
    }
    int64_t index = 0;
    if (container.kind != CEL_LIST || !list_index(key, &index)) {
        *out = container.kind == CEL_LIST
                   ? call_failed(call, CEL_BAD_ARGUMENT, "a list is indexed by whole numbers")
                   : call_no_overload(call);
        return LOOKUP_WRONG;
    }
    if (index < 0 || index >= container.list->count) {
        *out = call_failed(call, CEL_OUT_OF_RANGE, "index out of range");
        return LOOKUP_ABSENT;
    }
    *out = cel_list_at(container.list, (uint32_t)index);
    return LOOKUP_FOUND;
}

/* What a chain of optionals makes of a lookup. */
static cel_value as_optional(cel_call *call, lookup how, cel_value found) {
    if (how == LOOKUP_WRONG || found.kind == CEL_UNKNOWN)
        return found;
    if (how == LOOKUP_FOUND && found.kind == CEL_OPTIONAL)
        return found;
    return how == LOOKUP_FOUND ? value_optional(call, found) : value_none();
}

cel_value value_index(cel_call *call, cel_value container, cel_value key, bool optional) {
    if (container.kind >= CEL_UNKNOWN || key.kind >= CEL_UNKNOWN)
        return key.kind == CEL_UNKNOWN && container.kind != CEL_UNKNOWN ? key
               : container.kind >= CEL_UNKNOWN                          ? container
                                                                        : key;
    bool chained = container.kind == CEL_OPTIONAL;
    if (chained && container.inner == NULL)
        return container;
    cel_value found;
    lookup how = look_up(call, chained ? *container.inner : container, key, &found);
    return chained || optional ? as_optional(call, how, found) : found;
}

/* Field `number` of an object, or by name when the number is not known. */
static lookup object_field(const cel_call *call, const cel_object *object, const instruction *how,
                           cel_value name, cel_value *out) {
    uint32_t index = how->b;
    /* The compiler kept the very name that the type declares. */
    bool known = (how->a & SELECT_FIELD) != 0 && index < object->type->count &&
                 object->type->fields[index].name == name.text;
    for (index = known ? index : 0; !known && index < object->type->count; index += !known)
        known = strcmp(object->type->fields[index].name, name.text) == 0;
    if (!known) {
        *out = call_failed(call, CEL_NO_SUCH_FIELD, "no such field");
        return LOOKUP_WRONG;
    }
    if (object->type->get(object->host, index, out))
        return LOOKUP_FOUND;
    *out = call_failed(call, CEL_NO_SUCH_FIELD, "the field is not set");
    return LOOKUP_ABSENT;
}

cel_value value_select(cel_call *call, cel_value operand, const instruction *how, cel_value name) {
    if (operand.kind >= CEL_UNKNOWN)
        return operand;
    bool has = (how->a & SELECT_HAS) != 0;
    bool chained = operand.kind == CEL_OPTIONAL;
    if (chained && operand.inner == NULL)
        return has ? cel_bool(false) : operand;
    if (chained)
        operand = *operand.inner;
    cel_value found;
    lookup result = LOOKUP_WRONG;
    if (operand.kind == CEL_MAP)
        result = look_up(call, operand, name, &found);
    else if (operand.kind == CEL_OBJECT)
        result = object_field(call, operand.object, how, name, &found);
    else
        found = call_failed(call, CEL_NO_SUCH_OVERLOAD, "the value does not support field selection");
    if (has)
        return result == LOOKUP_WRONG || (result == LOOKUP_FOUND && found.kind == CEL_UNKNOWN)
                   ? found
                   : cel_bool(result == LOOKUP_FOUND);
    return chained || (how->a & SELECT_OPTIONAL) != 0 ? as_optional(call, result, found) : found;
}

/* ---- Functions
 * ------------------------------------------------------------------------------------------------- */

static bool takes(const overload *candidate, const cel_value *arguments, uint32_t count) {
    if (candidate->variadic)
        return true;
    if (candidate->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if ((candidate->masks[i] >> arguments[i].kind & 1U) == 0)
            return false;
    return true;
}

cel_value call_site_run(cel_call *call, const call_site *site, const cel_value *arguments) {
    const cel_value *absent = first_absent(arguments, site->count);
    if (absent != NULL)
        return *absent;
    charge(call, 1);
    for (uint32_t i = 0; i < site->overload_count; i++)
        if (takes(site->overloads[i], arguments, site->count)) {
            if (site->overloads[i]->run == NULL)
                return call_failed(call, CEL_NO_SUCH_NAME, "the function has no implementation");
            call->self = site->prepared != NULL ? site->prepared : site->overloads[i]->self;
            return site->overloads[i]->run(call, arguments, site->count);
        }
    return call_no_overload(call);
}
