/* Reading JSON into a message. The text is looked over before it is parsed, because the parser recurses and
 * spends many times a container's size on it; then every member is matched with its field. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "json_common.h"
#include "layout.h"

/* An object, and the array that may be around it, for each message. */
#define JSON_DEPTH_MAX (2U * LIMIT_MESSAGE_DEPTH + 2U)
#define JSON_ITEMS_MAX (5U * LIMIT_MESSAGE_ELEMENTS)

typedef struct reader {
    wire_json_style style;
    arena *memory;
    failure *why;
} reader;

/* Where we are, from the inside out. */
typedef struct step {
    const struct step *outer;
    const char *name; /* NULL: an index */
    size_t index;
    size_t depth; /* messages around and including this place */
} step;

static status_code read_message(reader *self, const step *at, const ProtobufCMessageDescriptor *type,
                                json_t *json, ProtobufCMessage **out);

/* ---- failures ---------------------------------------------------------------------------------------- */

static void path_append(const step *at, buffer *out) {
    if (at == NULL)
        return;
    path_append(at->outer, out);
    if (at->name == NULL)
        buffer_format(out, "[%zu]", at->index);
    else if (at->name[0] != '\0')
        buffer_format(out, "%s%.64s", out->size == 0 ? "" : ".", at->name);
}

static status_code refuse(reader *self, const step *at, const char *reason, const char *what) {
    buffer path;
    buffer_init(&path, 4096);
    path_append(at, &path);
    const char *text = path.size == 0 ? "the message" : path.data;
    fail_field(self->why, path.size == 0 ? "" : path.data, reason, "%.300s %s", text, what);
    buffer_free(&path);
    return STATUS_INVALID_ARGUMENT;
}

static status_code wrong_type(reader *self, const step *at, const char *wanted) {
    return refuse(self, at, "JSON_TYPE", wanted);
}

static status_code no_memory(reader *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                "there is no memory left for this JSON; send less at once");
}

/* ---- the look before parsing ------------------------------------------------------------------------- */

/* Counts containers and items outside of texts; what is no JSON at all is left to the parser. */
static status_code look_over(bytes json, failure *why) {
    size_t depth = 0;
    size_t containers = 0;
    size_t items = 0;
    bool in_text = false;
    if (json.size > LIMIT_MESSAGE_BYTES)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", "the JSON is larger than %u bytes",
                    LIMIT_MESSAGE_BYTES);
    for (size_t i = 0; i < json.size; i++) {
        uint8_t c = json.data[i];
        if (in_text) {
            if (c == '\\')
                i++;
            in_text = c != '"';
            continue;
        }
        in_text = c == '"';
        items += c == ',';
        containers += c == '{' || c == '[';
        depth += c == '{' || c == '[';
        depth -= (c == '}' || c == ']') && depth > 0;
        if (depth > JSON_DEPTH_MAX)
            return fail(why, STATUS_INVALID_ARGUMENT, "MESSAGE_TOO_DEEP",
                        "the JSON is nested more than %u deep", JSON_DEPTH_MAX);
        if (containers > LIMIT_MESSAGE_ELEMENTS || items > JSON_ITEMS_MAX)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                        "the JSON has more than %u objects and lists, or %u items; send less at once",
                        LIMIT_MESSAGE_ELEMENTS, JSON_ITEMS_MAX);
    }
    return STATUS_OK;
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

/* A whole number: a JSON integer, a real without fraction, or a text of digits. `*negative` with the
 * magnitude. */
static bool whole_number(const json_t *json, bool *negative, uint64_t *magnitude) {
    if (json_is_integer(json)) {
        json_int_t value = json_integer_value(json);
        *negative = value < 0;
        *magnitude = value < 0 ? 0U - (uint64_t)value : (uint64_t)value;
        return true;
    }
    if (json_is_real(json)) {
        double value = json_real_value(json);
        if (!(fabs(value) <= 9007199254740992.0) || value != floor(value))
            return false;
        *negative = value < 0;
        *magnitude = (uint64_t)fabs(value);
        return true;
    }
    const char *text = json_string_value(json);
    if (text == NULL)
        return false;
    *negative = *text == '-';
    text += *negative;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0')
        return false;
    errno = 0;
    *magnitude = strtoull(text, NULL, 10);
    return errno == 0;
}

static bool in_range(ProtobufCType type, bool negative, uint64_t magnitude) {
    switch (type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return (!negative || magnitude == 0) && magnitude <= UINT32_MAX;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return !negative || magnitude == 0;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return magnitude <= (uint64_t)INT64_MAX + (negative ? 1U : 0U);
    default:
        return magnitude <= (uint64_t)INT32_MAX + (negative ? 1U : 0U);
    }
}

static status_code read_integer(reader *self, const step *at, ProtobufCType type, const json_t *json,
                                void *out) {
    bool negative;
    uint64_t magnitude;
    if (!whole_number(json, &negative, &magnitude))
        return wrong_type(self, at, "must be a whole number, or a text of its digits");
    if (!in_range(type, negative, magnitude))
        return refuse(self, at, "JSON_RANGE", "is a number outside the range of its field");
    uint64_t value = negative ? 0U - magnitude : magnitude;
    uint32_t narrow = (uint32_t)value;
    if (layout_element_size(type) == sizeof value)
        memcpy(out, &value, sizeof value);
    else
        memcpy(out, &narrow, sizeof narrow);
    return STATUS_OK;
}

static bool real_number(const json_t *json, double *out) {
    if (json_is_number(json)) {
        *out = json_number_value(json);
        return true;
    }
    const char *text = json_string_value(json);
    if (text == NULL)
        return false;
    if (strcmp(text, "NaN") == 0 || strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0) {
        *out = *text == 'N' ? (double)NAN : *text == 'I' ? (double)INFINITY : -(double)INFINITY;
        return true;
    }
    char *end;
    if (*text == '\0' || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

static status_code read_real(reader *self, const step *at, ProtobufCType type, const json_t *json,
                             void *out) {
    double value;
    if (!real_number(json, &value))
        return wrong_type(self, at, "must be a number, or one of \"NaN\", \"Infinity\" and \"-Infinity\"");
    if (type == PROTOBUF_C_TYPE_DOUBLE) {
        memcpy(out, &value, sizeof value);
        return STATUS_OK;
    }
    float single = (float)value;
    if (isinf(single) && !isinf(value))
        return refuse(self, at, "JSON_RANGE", "is a number outside the range of its field");
    memcpy(out, &single, sizeof single);
    return STATUS_OK;
}

/* ---- other scalars ----------------------------------------------------------------------------------- */

static status_code read_text(reader *self, const step *at, const json_t *json, void *out) {
    const char *text = json_string_value(json);
    if (text == NULL)
        return wrong_type(self, at, "must be a text");
    char *copy = arena_text(self->memory, text);
    if (copy == NULL)
        return no_memory(self);
    *(char **)out = copy;
    return STATUS_OK;
}

static bool decode(const char *text, bool hex, uint8_t *out, size_t *size) {
    size_t length = strlen(text);
    if (hex) {
        *size = length / 2;
        return hex_decode(text, out, *size);
    }
    size_t room = *size;
    if (base64_decode(bytes_of(text, length), out, size))
        return true;
    *size = room;
    return base64url_decode(bytes_of(text, length), out, size);
}

static status_code read_bytes(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                              const json_t *json, void *out) {
    bool hex = json_is_hex(field, self->style);
    const char *text = json_string_value(json);
    if (text == NULL)
        return wrong_type(self, at, hex ? "must be a text in hexadecimal" : "must be a text in base64");
    ProtobufCBinaryData data = {.len = strlen(text) / 4 * 3 + 3};
    if (hex)
        data.len = strlen(text) / 2;
    data.data = arena_alloc(self->memory, data.len);
    if (data.data == NULL)
        return no_memory(self);
    if (!decode(text, hex, data.data, &data.len))
        return refuse(self, at, "JSON_ENCODING", hex ? "is not hexadecimal" : "is not base64");
    if (data.len == 0)
        data.data = NULL;
    memcpy(out, &data, sizeof data);
    return STATUS_OK;
}

static status_code read_enum(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                             const json_t *json, void *out) {
    const char *name = json_string_value(json);
    if (name == NULL)
        return read_integer(self, at, PROTOBUF_C_TYPE_INT32, json, out);
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, name);
    if (value == NULL)
        return refuse(self, at, "JSON_ENUM", "is none of the names its field may have");
    int32_t number = value->value;
    memcpy(out, &number, sizeof number);
    return STATUS_OK;
}

static status_code read_value(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                              json_t *json, void *out) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(self, at, field->descriptor, json, out);
    case PROTOBUF_C_TYPE_STRING:
        return read_text(self, at, json, out);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(self, at, field, json, out);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(self, at, field, json, out);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_real(self, at, field->type, json, out);
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(json))
            return wrong_type(self, at, "must be true or false");
        *(protobuf_c_boolean *)out = json_is_true(json);
        return STATUS_OK;
    default:
        return read_integer(self, at, field->type, json, out);
    }
}

/* ---- fields ------------------------------------------------------------------------------------------ */

static status_code read_list(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                             json_t *json, ProtobufCMessage *message) {
    if (!json_is_array(json))
        return wrong_type(self, at, "must be a list");
    size_t count = json_array_size(json);
    if (count == 0)
        return STATUS_OK;
    char *elements = arena_zero(self->memory, count, layout_element_size(field->type));
    if (elements == NULL)
        return no_memory(self);
    for (size_t i = 0; i < count; i++) {
        step inside = {.outer = at, .index = i, .depth = at->depth};
        status_code code = read_value(self, &inside, field, json_array_get(json, i),
                                      elements + i * layout_element_size(field->type));
        if (code != STATUS_OK)
            return code;
    }
    *MEMBER(void *, message, field->offset) = elements;
    *MEMBER(size_t, message, field->quantifier_offset) = count;
    return STATUS_OK;
}

/* The keys of a map are texts in JSON whatever they are in the message. */
static status_code read_map_key(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                                const char *key, void *out) {
    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        bool yes = strcmp(key, "true") == 0;
        if (!yes && strcmp(key, "false") != 0)
            return wrong_type(self, at, "must have \"true\" or \"false\" for its key");
        *(protobuf_c_boolean *)out = yes;
        return STATUS_OK;
    }
    json_t *text = json_string(key);
    if (text == NULL)
        return no_memory(self);
    status_code code = read_value(self, at, field, text, out);
    json_decref(text);
    return code;
}

static status_code read_map_entry(reader *self, const step *at, const ProtobufCMessageDescriptor *type,
                                  const char *key, json_t *value, ProtobufCMessage **out) {
    ProtobufCMessage *entry = arena_zero(self->memory, 1, type->sizeof_message);
    if (entry == NULL)
        return no_memory(self);
    protobuf_c_message_init(type, entry);
    status_code code = read_map_key(self, at, MAP_KEY(type), key, MEMBER(char, entry, MAP_KEY(type)->offset));
    if (code == STATUS_OK)
        code = read_value(self, at, MAP_VALUE(type), value, MEMBER(char, entry, MAP_VALUE(type)->offset));
    if (code == STATUS_OK)
        *out = entry;
    return code;
}

static status_code read_map(reader *self, const step *at, const ProtobufCFieldDescriptor *field, json_t *json,
                            ProtobufCMessage *message) {
    if (!json_is_object(json))
        return wrong_type(self, at, "must be an object");
    size_t count = json_object_size(json);
    ProtobufCMessage **entries =
        count == 0 ? NULL : arena_zero(self->memory, count, sizeof(ProtobufCMessage *));
    if (count != 0 && entries == NULL)
        return no_memory(self);
    size_t filled = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        step inside = {.outer = at, .name = key, .depth = at->depth};
        status_code code = read_map_entry(self, &inside, field->descriptor, key, value, &entries[filled]);
        if (code != STATUS_OK)
            return code;
        filled++;
    }
    *MEMBER(void *, message, field->offset) = entries;
    *MEMBER(size_t, message, field->quantifier_offset) = count;
    return STATUS_OK;
}

/* A oneof may be set once; a field of it says so in the message's case. */
static status_code mark_present(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                                ProtobufCMessage *message) {
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t *chosen = MEMBER(uint32_t, message, field->quantifier_offset);
        if (*chosen != 0)
            return refuse(self, at, "JSON_ONEOF", "is one of several alternatives, and another is given too");
        *chosen = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset != 0) {
        *MEMBER(protobuf_c_boolean, message, field->quantifier_offset) = 1;
    }
    return STATUS_OK;
}

static status_code read_field(reader *self, const step *at, const ProtobufCFieldDescriptor *field,
                              json_t *json, ProtobufCMessage *message) {
    if (json_is_null(json)) /* the same as leaving it out */
        return STATUS_OK;
    if (json_is_map(message->descriptor, field))
        return read_map(self, at, field, json, message);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_list(self, at, field, json, message);
    status_code code = mark_present(self, at, field, message);
    if (code != STATUS_OK)
        return code;
    return read_value(self, at, field, json, MEMBER(char, message, field->offset));
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, const char *key,
                                                  wire_json_style style) {
    if (json_is_any(type))
        return strcmp(key, "@type") == 0   ? &type->fields[0]
               : strcmp(key, "value") == 0 ? &type->fields[1]
                                           : NULL;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (json_name_matches(type->fields[i].name, key) ||
            (style == WIRE_JSON_CANONICAL && strcmp(type->fields[i].name, key) == 0))
            return &type->fields[i];
    return NULL;
}

/* The canonical mapping takes two names for a field; both at once would be a duplicate. */
static bool given_twice(const json_t *json, const ProtobufCFieldDescriptor *field, const char *key,
                        wire_json_style style) {
    return style == WIRE_JSON_CANONICAL && strcmp(field->name, key) != 0 &&
           json_object_get(json, field->name) != NULL;
}

static status_code read_members(reader *self, const step *at, json_t *json, ProtobufCMessage *message) {
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        step inside = {.outer = at, .name = key, .depth = at->depth};
        const ProtobufCFieldDescriptor *field = find_field(message->descriptor, key, self->style);
        if (field == NULL && self->style == WIRE_JSON_OTLP)
            continue;
        if (field == NULL)
            return refuse(self, &inside, "JSON_UNKNOWN_FIELD", "is not a field of its message");
        if (given_twice(json, field, key, self->style))
            return refuse(self, &inside, "JSON_DUPLICATE", "is given twice, under two names");
        status_code code = read_field(self, &inside, field, value, message);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code read_message(reader *self, const step *at, const ProtobufCMessageDescriptor *type,
                                json_t *json, ProtobufCMessage **out) {
    step inside = *at;
    inside.depth++;
    if (inside.depth > LIMIT_MESSAGE_DEPTH)
        return refuse(self, at, "MESSAGE_TOO_DEEP", "is nested too deep");
    if (!json_is_object(json))
        return wrong_type(self, at, "must be an object");
    ProtobufCMessage *message = arena_zero(self->memory, 1, type->sizeof_message);
    if (message == NULL)
        return no_memory(self);
    protobuf_c_message_init(type, message);
    status_code code = read_members(self, &inside, json, message);
    if (code == STATUS_OK)
        *out = message;
    return code;
}

status_code wire_from_json(const ProtobufCMessageDescriptor *type, bytes json, wire_json_style style,
                           arena *memory, ProtobufCMessage **out, failure *why) {
    status_code code = look_over(json, why);
    if (code != STATUS_OK)
        return code;
    json_error_t error;
    json_t *root = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "JSON_MALFORMED", "line %d, column %d: %.160s", error.line,
                    error.column, error.text);
    reader self = {.style = style, .memory = memory, .why = why};
    step start = {.name = ""};
    code = read_message(&self, &start, type, root, out);
    json_decref(root);
    return code;
}
