/* Types: making, comparing, printing. */
#include "cel/type.h"

#include <string.h>

#define EQUAL_WORK 100000U

#define SIMPLE(identifier, which, text) const cel_type identifier = {.kind = (which), .name = (text)}
SIMPLE(cel_type_dyn, CEL_TYPE_DYN, "dyn");
SIMPLE(cel_type_null, CEL_TYPE_NULL, "null_type");
SIMPLE(cel_type_bool, CEL_TYPE_BOOL, "bool");
SIMPLE(cel_type_int, CEL_TYPE_INT, "int");
SIMPLE(cel_type_uint, CEL_TYPE_UINT, "uint");
SIMPLE(cel_type_double, CEL_TYPE_DOUBLE, "double");
SIMPLE(cel_type_string, CEL_TYPE_STRING, "string");
SIMPLE(cel_type_bytes, CEL_TYPE_BYTES, "bytes");
SIMPLE(cel_type_timestamp, CEL_TYPE_TIMESTAMP, "google.protobuf.Timestamp");
SIMPLE(cel_type_duration, CEL_TYPE_DURATION, "google.protobuf.Duration");
SIMPLE(cel_type_ip, CEL_TYPE_OPAQUE, "net.IP");
SIMPLE(cel_type_cidr, CEL_TYPE_OPAQUE, "net.CIDR");

static const cel_type *make(arena *memory, cel_type value) {
    for (uint32_t i = 0; i < value.count; i++)
        if (value.parameters[i] == NULL)
            return NULL;
    return arena_copy(memory, &value, sizeof value);
}

const cel_type *cel_type_list(arena *memory, const cel_type *element) {
    return make(memory,
                (cel_type){.kind = CEL_TYPE_LIST, .name = "list", .count = 1, .parameters = {element}});
}

const cel_type *cel_type_map(arena *memory, const cel_type *key, const cel_type *value) {
    return make(memory,
                (cel_type){.kind = CEL_TYPE_MAP, .name = "map", .count = 2, .parameters = {key, value}});
}

const cel_type *cel_type_optional(arena *memory, const cel_type *value) {
    return cel_type_opaque(memory, "optional_type", &value, 1);
}

const cel_type *cel_type_of(arena *memory, const cel_type *type) {
    return make(memory, (cel_type){.kind = CEL_TYPE_TYPE, .name = "type", .count = 1, .parameters = {type}});
}

const cel_type *cel_type_wrapper(arena *memory, const cel_type *simple) {
    return make(memory,
                (cel_type){.kind = CEL_TYPE_WRAPPER, .name = "wrapper", .count = 1, .parameters = {simple}});
}

const cel_type *cel_type_opaque(arena *memory, const char *name, const cel_type *const *parameters,
                                uint32_t count) {
    if (count > CEL_TYPE_PARAMETERS)
        return NULL;
    cel_type made = {.kind = CEL_TYPE_OPAQUE, .name = arena_text(memory, name), .count = count};
    for (uint32_t i = 0; i < count; i++)
        made.parameters[i] = parameters[i];
    return made.name == NULL ? NULL : make(memory, made);
}

const cel_type *cel_type_object(arena *memory, const cel_object_type *object) {
    return make(memory, (cel_type){.kind = CEL_TYPE_OBJECT, .name = object->name, .object = object});
}

const cel_type *cel_type_parameter(arena *memory, const char *name) {
    if (name[0] == '_') /* the checker's own */
        return NULL;
    cel_type made = {.kind = CEL_TYPE_PARAMETER, .name = arena_text(memory, name)};
    return made.name == NULL ? NULL : make(memory, made);
}

/* `work` bounds how many types are visited: parts may be shared, so that a small type in memory is a huge one
 * as a tree. */
static bool equal(const cel_type *left, const cel_type *right, uint32_t *work) {
    if (left == right)
        return true;
    if (*work == 0 || left->kind != right->kind || left->count != right->count ||
        left->object != right->object)
        return false;
    --*work;
    if ((left->kind == CEL_TYPE_OPAQUE || left->kind == CEL_TYPE_PARAMETER) &&
        strcmp(left->name, right->name) != 0)
        return false;
    for (uint32_t i = 0; i < left->count; i++)
        if (!equal(left->parameters[i], right->parameters[i], work))
            return false;
    return true;
}

bool cel_type_equal(const cel_type *left, const cel_type *right) {
    uint32_t work = EQUAL_WORK;
    return equal(left, right, &work);
}

void cel_type_print(const cel_type *type, buffer *out) {
    if (out->failed)
        return;
    buffer_text(out, type->name);
    for (uint32_t i = 0; i < type->count; i++) {
        buffer_text(out, i == 0 ? "(" : ", ");
        cel_type_print(type->parameters[i], out);
    }
    buffer_text(out, type->count > 0 ? ")" : "");
}
