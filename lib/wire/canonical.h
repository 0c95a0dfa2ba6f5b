/* Whether a field is written as protobuf-c itself writes it (proto3): what makes packing a message again give
 * the same bytes, judged while it is scanned. With the order of fields, and each singular one once, which the
 * scanner sees to, that is all there is to it. Pure. */
#ifndef WIRE_CANONICAL_H
#define WIRE_CANONICAL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A varint of `size` bytes that ends there: no longer than it must be. */
bool canonical_varint(const uint8_t *at, size_t size);
/* The same for a value of this type, of which it also has no bit more than it keeps. */
bool canonical_number(ProtobufCType type, const uint8_t *at, size_t size);
/* Whether this field with this content is written at all, and in this form. `content` is without a length. */
bool canonical_field(const ProtobufCFieldDescriptor *field, bool length_prefixed, const uint8_t *content,
                     size_t size);
/* Whether `field` may stand after the one with the number `last` (0: none). */
bool canonical_order(const ProtobufCFieldDescriptor *field, uint32_t last);

#endif
