/* Writing a message as JSON, field by field in the order of the descriptor. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "json_common.h"
#include "layout.h"

typedef struct writer {
    wire_json_style style;
    bool pretty;
    unsigned indent; /* levels, for pretty */
    buffer *out;
    failure *why;
} writer;

static status_code write_message(writer *self, const ProtobufCMessage *message, size_t depth);

/* ---- layout ------------------------------------------------------------------------------------------ */

static void new_line(writer *self) {
    if (!self->pretty)
        return;
    buffer_text(self->out, "\n");
    for (unsigned i = 0; i < self->indent; i++)
        buffer_text(self->out, "  ");
}

static void open_container(writer *self, const char *mark) {
    buffer_text(self->out, mark);
    self->indent++;
}

static void close_container(writer *self, const char *mark, bool empty) {
    self->indent--;
    if (!empty)
        new_line(self);
    buffer_text(self->out, mark);
}

/* Before each item of a container but the first a comma. */
static void next_item(writer *self, bool *first) {
    if (!*first)
        buffer_text(self->out, ",");
    *first = false;
    new_line(self);
}

static void end_key(writer *self) {
    buffer_text(self->out, self->pretty ? "\": " : "\":");
}

/* ---- values ------------------------------------------------------------------------------------------ */

static status_code write_text(writer *self, const char *text) {
    if (!utf8_valid(bytes_of_text(text)))
        return fail(self->why, STATUS_INVALID_ARGUMENT, "TEXT_NOT_UTF8",
                    "a text in the message is not valid UTF-8");
    buffer_text(self->out, "\"");
    const char *plain = text;
    for (const char *at = text;; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        buffer_append(self->out, plain, (size_t)(at - plain));
        plain = at + 1;
        if (c == '\0')
            break;
        if (c == '"' || c == '\\')
            buffer_format(self->out, "\\%c", c);
        else if (c == '\n')
            buffer_text(self->out, "\\n");
        else if (c == '\t')
            buffer_text(self->out, "\\t");
        else
            buffer_format(self->out, "\\u%04x", c);
    }
    buffer_text(self->out, "\"");
    return STATUS_OK;
}

/* The shortest text that reads back as the same number. */
static void write_real(writer *self, double value, bool single) {
    if (isnan(value) || isinf(value)) {
        buffer_text(self->out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    char text[40];
    int last = single ? 9 : 17;
    for (int digits = single ? 6 : 15; digits <= last; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = single ? (double)strtof(text, NULL) : strtod(text, NULL);
        if (back == value)
            break;
    }
    buffer_text(self->out, text);
}

static status_code write_enum(writer *self, const ProtobufCFieldDescriptor *field, int32_t number) {
    const ProtobufCEnumValue *value = self->style == WIRE_JSON_OTLP
                                          ? NULL
                                          : protobuf_c_enum_descriptor_get_value(field->descriptor, number);
    if (value == NULL)
        buffer_format(self->out, "%d", number);
    else
        buffer_format(self->out, "\"%s\"", value->name);
    return STATUS_OK;
}

static status_code write_bytes(writer *self, const ProtobufCFieldDescriptor *field,
                               const ProtobufCBinaryData *data) {
    buffer_text(self->out, "\"");
    if (json_is_hex(field, self->style)) {
        for (size_t i = 0; i < data->len; i++)
            buffer_format(self->out, "%02x", data->data[i]);
    } else {
        base64_encode(bytes_of(data->data, data->len), self->out);
    }
    buffer_text(self->out, "\"");
    return STATUS_OK;
}

/* `quoted` is for the keys of maps, which are always texts. */
static void write_integer(writer *self, const ProtobufCFieldDescriptor *field, const void *value,
                          bool quoted) {
    const char *quote = quoted || layout_element_size(field->type) == sizeof(uint64_t) ? "\"" : "";
    int32_t narrow;
    int64_t wide;
    memcpy(&narrow, value, sizeof narrow);
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buffer_format(self->out, "%s%u%s", quote, (uint32_t)narrow, quote);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(&wide, value, sizeof wide);
        buffer_format(self->out, "%s%llu%s", quote, (unsigned long long)wide, quote);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        memcpy(&wide, value, sizeof wide);
        buffer_format(self->out, "%s%lld%s", quote, (long long)wide, quote);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buffer_format(self->out, "%s%s%s", quote, narrow != 0 ? "true" : "false", quote);
        break;
    default:
        buffer_format(self->out, "%s%d%s", quote, narrow, quote);
        break;
    }
}

static status_code write_value(writer *self, const ProtobufCFieldDescriptor *field, const void *value,
                               size_t depth) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *inner = *(ProtobufCMessage *const *)value;
        if (inner == NULL) { /* the value of a map's entry that was left out */
            buffer_text(self->out, "{}");
            return STATUS_OK;
        }
        return write_message(self, inner, depth + 1);
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)value;
        return write_text(self, text == NULL ? "" : text);
    }
    case PROTOBUF_C_TYPE_BYTES:
        return write_bytes(self, field, value);
    case PROTOBUF_C_TYPE_ENUM:
        return write_enum(self, field, *(const int32_t *)value);
    case PROTOBUF_C_TYPE_DOUBLE:
        write_real(self, *(const double *)value, false);
        return STATUS_OK;
    case PROTOBUF_C_TYPE_FLOAT:
        write_real(self, (double)*(const float *)value, true);
        return STATUS_OK;
    default:
        write_integer(self, field, value, false);
        return STATUS_OK;
    }
}

/* ---- fields ------------------------------------------------------------------------------------------ */

static status_code write_list(writer *self, const ProtobufCFieldDescriptor *field, const char *elements,
                              size_t count, size_t depth) {
    bool first = true;
    status_code code = STATUS_OK;
    open_container(self, "[");
    for (size_t i = 0; code == STATUS_OK && i < count; i++) {
        next_item(self, &first);
        code = write_value(self, field, elements + i * layout_element_size(field->type), depth);
    }
    close_container(self, "]", first);
    return code;
}

static status_code write_map_key(writer *self, const ProtobufCFieldDescriptor *key, const void *value) {
    if (key->type == PROTOBUF_C_TYPE_STRING)
        return write_value(self, key, value, 0);
    write_integer(self, key, value, true);
    return STATUS_OK;
}

static status_code write_map(writer *self, const ProtobufCFieldDescriptor *field,
                             ProtobufCMessage *const *entries, size_t count, size_t depth) {
    const ProtobufCMessageDescriptor *type = field->descriptor;
    bool first = true;
    status_code code = STATUS_OK;
    open_container(self, "{");
    for (size_t i = 0; code == STATUS_OK && i < count; i++) {
        const ProtobufCFieldDescriptor *key = MAP_KEY(type);
        const ProtobufCFieldDescriptor *value = MAP_VALUE(type);
        next_item(self, &first);
        code = write_map_key(self, key, MEMBER(const char, entries[i], key->offset));
        buffer_text(self->out, self->pretty ? ": " : ":");
        if (code == STATUS_OK)
            code = write_value(self, value, MEMBER(const char, entries[i], value->offset), depth);
    }
    close_container(self, "}", first);
    return code;
}

/* Whether a singular field is to be written: set, or other than its default. */
static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field) {
    static const char zeros[sizeof(uint64_t)];
    const void *value = MEMBER(const char, message, field->offset);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *MEMBER(const uint32_t, message, field->quantifier_offset) == field->id &&
               (field->type != PROTOBUF_C_TYPE_MESSAGE || *(void *const *)value != NULL);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)value != NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return *(char *const *)value != NULL && **(char *const *)value != '\0';
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset != 0)
        return *MEMBER(const protobuf_c_boolean, message, field->quantifier_offset) != 0;
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)value)->len != 0;
    return memcmp(value, zeros, layout_element_size(field->type)) != 0;
}

static void write_key(writer *self, const ProtobufCFieldDescriptor *field, bool *first) {
    next_item(self, first);
    buffer_text(self->out, "\"");
    json_name_append(field->name, self->out);
    end_key(self);
}

static status_code write_field(writer *self, const ProtobufCMessage *message,
                               const ProtobufCFieldDescriptor *field, bool *first, size_t depth) {
    const char *value = MEMBER(const char, message, field->offset);
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        if (!is_present(message, field))
            return STATUS_OK;
        write_key(self, field, first);
        return write_value(self, field, value, depth);
    }
    size_t count = *MEMBER(const size_t, message, field->quantifier_offset);
    if (count == 0)
        return STATUS_OK;
    write_key(self, field, first);
    const char *elements = *(char *const *)(const void *)value;
    if (json_is_map(message->descriptor, field))
        return write_map(self, field, (ProtobufCMessage *const *)(const void *)elements, count, depth);
    return write_list(self, field, elements, count, depth);
}

/* {"@type": …, "value": base64}: what is inside is not ours to know. */
static status_code write_any(writer *self, const ProtobufCMessage *message, bool *first) {
    const ProtobufCFieldDescriptor *type_url = &message->descriptor->fields[0];
    const ProtobufCFieldDescriptor *value = &message->descriptor->fields[1];
    next_item(self, first);
    buffer_text(self->out, "\"@type");
    end_key(self);
    status_code code = write_value(self, type_url, MEMBER(const char, message, type_url->offset), 0);
    next_item(self, first);
    buffer_text(self->out, "\"value");
    end_key(self);
    return code == STATUS_OK ? write_value(self, value, MEMBER(const char, message, value->offset), 0) : code;
}

static status_code write_message(writer *self, const ProtobufCMessage *message, size_t depth) {
    if (depth > LIMIT_MESSAGE_DEPTH)
        return fail(self->why, STATUS_INVALID_ARGUMENT, "MESSAGE_TOO_DEEP",
                    "messages are nested more than %u deep", LIMIT_MESSAGE_DEPTH);
    bool first = true;
    status_code code = STATUS_OK;
    open_container(self, "{");
    if (json_is_any(message->descriptor))
        code = write_any(self, message, &first);
    else
        for (unsigned i = 0; code == STATUS_OK && i < message->descriptor->n_fields; i++)
            code = write_field(self, message, &message->descriptor->fields[i], &first, depth);
    close_container(self, "}", first);
    return code;
}

status_code wire_to_json(const ProtobufCMessage *message, wire_json_style style, bool pretty, buffer *out,
                         failure *why) {
    size_t before = out->size;
    writer self = {.style = style, .pretty = pretty, .out = out, .why = why};
    status_code code = write_message(&self, message, 1);
    if (code == STATUS_OK && !buffer_ok(out))
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "the message does not fit into %zu bytes of JSON", out->limit);
    if (code != STATUS_OK && out->data != NULL) {
        out->size = before;
        out->data[before] = '\0';
    }
    return code;
}
