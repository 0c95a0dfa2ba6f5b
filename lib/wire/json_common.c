/* Names and kinds of fields in the JSON mapping. */
#include "json_common.h"

#include <string.h>

static char upper(char c) {
    return (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
}

void json_name_append(const char *field_name, buffer *out) {
    bool raise = false;
    for (const char *at = field_name; *at != '\0'; at++) {
        if (*at != '_') {
            char c = raise ? upper(*at) : *at;
            buffer_append(out, &c, 1);
        }
        raise = *at == '_';
    }
}

bool json_name_matches(const char *field_name, const char *key) {
    bool raise = false;
    for (const char *at = field_name; *at != '\0'; at++) {
        if (*at != '_' && *key++ != (raise ? upper(*at) : *at))
            return false;
        raise = *at == '_';
    }
    return *key == '\0';
}

/* protoc names the entry of `some_map` SomeMapEntry, inside the message that has the field. */
static bool entry_name_matches(const char *field_name, const char *entry_name) {
    bool raise = true;
    for (const char *at = field_name; *at != '\0'; at++) {
        if (*at != '_' && *entry_name++ != (raise ? upper(*at) : *at))
            return false;
        raise = *at == '_';
    }
    return strcmp(entry_name, "Entry") == 0;
}

bool json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field) {
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t outer = strlen(parent->name);
    return entry->n_fields == 2 && strcmp(entry->fields[0].name, "key") == 0 && entry->fields[0].id == 1 &&
           strcmp(entry->fields[1].name, "value") == 0 && entry->fields[1].id == 2 &&
           strncmp(entry->name, parent->name, outer) == 0 && entry->name[outer] == '.' &&
           entry_name_matches(field->name, entry->name + outer + 1);
}

bool json_is_any(const ProtobufCMessageDescriptor *type) {
    return strcmp(type->name, "google.protobuf.Any") == 0;
}

bool json_is_hex(const ProtobufCFieldDescriptor *field, wire_json_style style) {
    return style == WIRE_JSON_OTLP && field->type == PROTOBUF_C_TYPE_BYTES &&
           (strcmp(field->name, "trace_id") == 0 || strcmp(field->name, "span_id") == 0 ||
            strcmp(field->name, "parent_span_id") == 0);
}
