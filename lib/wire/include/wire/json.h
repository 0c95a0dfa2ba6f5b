/* protobuf <-> JSON by descriptor: the canonical mapping (protobuf.dev/programming-guides/json):
 * lowerCamelCase names, 64-bit integers as strings, bytes as base64, enums by name, default values omitted.
 * Needed for `-o json` and OTLP/JSON. Any is written as {"@type", "value": base64}; the other
 * well-known types have no form of their own. Bounded like a message on the wire. Thread-safe. */
#ifndef WIRE_JSON_H
#define WIRE_JSON_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/bytes.h"

typedef enum wire_json_style {
    WIRE_JSON_CANONICAL,
    /* OTLP/JSON: trace and span ids (fields trace_id, span_id, parent_span_id) are hex, enums are integers.
     */
    WIRE_JSON_OTLP,
} wire_json_style;

/* Appends one line of JSON; `pretty` indents by two spaces. */
status_code wire_to_json(const ProtobufCMessage *message, wire_json_style style, bool pretty, buffer *out,
                         failure *why) MUST_USE;

/* Refuses duplicate keys, depth beyond LIMIT_MESSAGE_DEPTH and wrong types, with the path of the field.
 * Unknown names are refused in the canonical style and ignored in OTLP's, as its specification demands. */
status_code wire_from_json(const ProtobufCMessageDescriptor *type, bytes json, wire_json_style style,
                           arena *memory, ProtobufCMessage **out, failure *why) MUST_USE;

#endif
