/* What reading and writing JSON agree on: names and the kinds of fields that the mapping treats apart. */
#ifndef WIRE_JSON_COMMON_H
#define WIRE_JSON_COMMON_H

#include "wire/json.h"

/* A field inside a message's C structure. */
#define MEMBER(type, message, position) ((type *)(void *)((char *)(message) + (position)))

/* Field 1 and field 2 of a map's entry. */
#define MAP_KEY(entry) (&(entry)->fields[0])
#define MAP_VALUE(entry) (&(entry)->fields[1])

/* Appends the lowerCamelCase form of a field's name. */
void json_name_append(const char *field_name, buffer *out);
/* Whether `key` is that form. */
bool json_name_matches(const char *field_name, const char *key);

/* A map is on the wire a repeated message <Parent>.<Field>Entry of key and value; protobuf-c keeps no other
 * mark. */
bool json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field);
bool json_is_any(const ProtobufCMessageDescriptor *type);
/* A trace or span id of OTLP, which its JSON writes in hexadecimal. */
bool json_is_hex(const ProtobufCFieldDescriptor *field, wire_json_style style);

#endif
