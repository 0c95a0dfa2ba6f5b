/* A field of a packed message without unpacking it, and putting it into another message as it lies there. For
 * messages that were scanned, or that this process packed itself: what is malformed is simply not found. */
#ifndef WIRE_FIND_H
#define WIRE_FIND_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/bytes.h"

/* A length-prefixed field: `framed` is the length and the content, `content` the content alone. */
typedef struct wire_part {
    bytes framed;
    bytes content;
} wire_part;

/* The first field with this number at the top level; false when there is none. */
bool wire_find(bytes message, uint32_t number, wire_part *out);
/* The same for a varint; 0 when there is none. */
uint64_t wire_find_number(bytes message, uint32_t number);

/* Puts a length before a copy of the content; framed.data is NULL without memory. */
wire_part wire_frame(bytes content, arena *memory);

/* For the unknown fields of a message that is to be packed: protobuf-c writes them as they are, after the
 * others. */
ProtobufCMessageUnknownField wire_as_field(uint32_t number, const wire_part *part);

#endif
