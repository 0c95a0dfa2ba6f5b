/* The messages of google.protobuf that are plain values in CEL (langdef.md, "Protocol Buffer Data
 * Conversion"). */
#include <math.h>
#include <string.h>

#include "overload.h"

#define FIELDS_MAX 6U

typedef enum message_kind { WRAPS, VALUE, STRUCT, LIST_VALUE, TIMESTAMP, DURATION } message_kind;

struct wellknown {
    const char *name;
    message_kind kind;
    uint8_t wraps; /* cel_kind */
    uint8_t bits;  /* of a wrapped number: 32 or 64 */
    const cel_type *type;
    cel_field fields[FIELDS_MAX];
};

static const cel_type DYN_MAP = {
    .kind = CEL_TYPE_MAP, .name = "map", .count = 2, .parameters = {&cel_type_string, &cel_type_dyn}};
static const cel_type DYN_LIST = {
    .kind = CEL_TYPE_LIST, .name = "list", .count = 1, .parameters = {&cel_type_dyn}};
#define WRAPPER(identifier, simple)                                                                          \
    static const cel_type identifier = {                                                                     \
        .kind = CEL_TYPE_WRAPPER, .name = "wrapper", .count = 1, .parameters = {&(simple)}}
WRAPPER(WRAPPED_BOOL, cel_type_bool);
WRAPPER(WRAPPED_BYTES, cel_type_bytes);
WRAPPER(WRAPPED_DOUBLE, cel_type_double);
WRAPPER(WRAPPED_INT, cel_type_int);
WRAPPER(WRAPPED_UINT, cel_type_uint);
WRAPPER(WRAPPED_STRING, cel_type_string);

static const wellknown MESSAGES[] = {
    {"google.protobuf.BoolValue", WRAPS, CEL_BOOL, 64, &WRAPPED_BOOL, {{"value", &cel_type_bool}}},
    {"google.protobuf.BytesValue", WRAPS, CEL_BYTES, 64, &WRAPPED_BYTES, {{"value", &cel_type_bytes}}},
    {"google.protobuf.DoubleValue", WRAPS, CEL_DOUBLE, 64, &WRAPPED_DOUBLE, {{"value", &cel_type_double}}},
    {"google.protobuf.FloatValue", WRAPS, CEL_DOUBLE, 32, &WRAPPED_DOUBLE, {{"value", &cel_type_double}}},
    {"google.protobuf.Int32Value", WRAPS, CEL_INT, 32, &WRAPPED_INT, {{"value", &cel_type_int}}},
    {"google.protobuf.Int64Value", WRAPS, CEL_INT, 64, &WRAPPED_INT, {{"value", &cel_type_int}}},
    {"google.protobuf.StringValue", WRAPS, CEL_STRING, 64, &WRAPPED_STRING, {{"value", &cel_type_string}}},
    {"google.protobuf.UInt32Value", WRAPS, CEL_UINT, 32, &WRAPPED_UINT, {{"value", &cel_type_uint}}},
    {"google.protobuf.UInt64Value", WRAPS, CEL_UINT, 64, &WRAPPED_UINT, {{"value", &cel_type_uint}}},
    {"google.protobuf.Value",
     VALUE,
     0,
     0,
     &cel_type_dyn,
     {{"null_value", &cel_type_dyn},
      {"number_value", &cel_type_double},
      {"string_value", &cel_type_string},
      {"bool_value", &cel_type_bool},
      {"struct_value", &DYN_MAP},
      {"list_value", &DYN_LIST}}},
    {"google.protobuf.Struct", STRUCT, 0, 0, &DYN_MAP, {{"fields", &DYN_MAP}}},
    {"google.protobuf.ListValue", LIST_VALUE, 0, 0, &DYN_LIST, {{"values", &DYN_LIST}}},
    {"google.protobuf.Timestamp",
     TIMESTAMP,
     0,
     0,
     &cel_type_timestamp,
     {{"seconds", &cel_type_int}, {"nanos", &cel_type_int}}},
    {"google.protobuf.Duration",
     DURATION,
     0,
     0,
     &cel_type_duration,
     {{"seconds", &cel_type_int}, {"nanos", &cel_type_int}}},
};

const wellknown *wellknown_find(const char *name) {
    for (size_t i = 0; i < sizeof MESSAGES / sizeof *MESSAGES; i++)
        if (strcmp(MESSAGES[i].name, name) == 0)
            return &MESSAGES[i];
    return NULL;
}

const cel_type *wellknown_type(const wellknown *self) {
    return self->type;
}

bool wellknown_field(const wellknown *self, const char *name, uint32_t *index, const cel_type **type) {
    for (uint32_t i = 0; i < FIELDS_MAX && self->fields[i].name != NULL; i++)
        if (strcmp(self->fields[i].name, name) == 0) {
            *index = i;
            *type = self->fields[i].type;
            return true;
        }
    return false;
}

static cel_value wrap(const cel_call *call, const wellknown *self, cel_value value) {
    if (value.kind == CEL_NULL) { /* not given */
        value = (cel_value){.kind = self->wraps};
        if (self->wraps == CEL_STRING || self->wraps == CEL_BYTES)
            value.text = "";
        return value;
    }
    if (value.kind != self->wraps)
        return call_failed(call, CEL_NO_SUCH_OVERLOAD, "the field is of another type");
    if (self->bits == 32 &&
        ((value.kind == CEL_INT && (value.integer < INT32_MIN || value.integer > INT32_MAX)) ||
         (value.kind == CEL_UINT && value.natural > UINT32_MAX)))
        return call_failed(call, CEL_OUT_OF_RANGE, "the number does not fit in 32 bits");
    return self->bits == 32 && value.kind == CEL_DOUBLE ? cel_double((float)value.real) : value;
}

static cel_value time_value(const cel_call *call, const wellknown *self, const cel_value *given) {
    int64_t seconds = given[0].kind == CEL_INT ? given[0].integer : 0;
    int64_t nanoseconds = given[1].kind == CEL_INT ? given[1].integer : 0;
    int64_t total = 0;
    if ((given[0].kind != CEL_INT && given[0].kind != CEL_NULL) ||
        (given[1].kind != CEL_INT && given[1].kind != CEL_NULL))
        return call_failed(call, CEL_NO_SUCH_OVERLOAD, "the field is of another type");
    if (self->kind == TIMESTAMP) {
        if (seconds < INT64_C(-62135596800) || seconds > INT64_C(253402300799) || nanoseconds < 0 ||
            nanoseconds > 999999999)
            return call_failed(call, CEL_OUT_OF_RANGE, "timestamp out of range: years 1 to 9999");
        return cel_timestamp(seconds, (uint32_t)nanoseconds);
    }
    if (__builtin_mul_overflow(seconds, INT64_C(1000000000), &total) ||
        __builtin_add_overflow(total, nanoseconds, &total))
        return call_failed(call, CEL_OUT_OF_RANGE, "duration out of range");
    return cel_duration(total);
}

cel_value wellknown_build(cel_call *call, const wellknown *self, const uint8_t *numbers,
                          const cel_value *fields, uint32_t count) {
    static const cel_entry NO_ENTRY;
    static const cel_value NO_ITEM;
    static const cel_map NO_ENTRIES = {.entries = &NO_ENTRY};
    static const cel_list NO_ITEMS = {.items = &NO_ITEM};
    cel_value given[FIELDS_MAX] = {{0}};
    cel_value last = cel_null();
    for (uint32_t i = 0; i < count; i++) {
        if (numbers[i] >= FIELDS_MAX)
            return call_failed(call, CEL_NO_SUCH_FIELD, "no such field");
        if (fields[i].kind < CEL_UNKNOWN)
            last = given[numbers[i]] = fields[i];
    }
    switch (self->kind) {
    case WRAPS:
        return wrap(call, self, given[0]);
    case VALUE:
        return last;
    case STRUCT:
        return last.kind == CEL_MAP ? last : cel_map_of(&NO_ENTRIES);
    case LIST_VALUE:
        return last.kind == CEL_LIST ? last : cel_list_of(&NO_ITEMS);
    case TIMESTAMP:
    case DURATION:
        return time_value(call, self, given);
    }
    return cel_null();
}
