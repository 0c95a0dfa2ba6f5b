/* See find.h. */
#include "wire/find.h"

#include <string.h>

#define VARINT_BYTES 10U

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_32BIT = 5 };

/* Takes a varint off the front. */
static bool take_varint(bytes *from, uint64_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < from->size && i < VARINT_BYTES; i++) {
        value |= (uint64_t)(from->data[i] & 0x7fU) << (7U * i);
        if ((from->data[i] & 0x80U) == 0) {
            *from = bytes_of(from->data + i + 1, from->size - i - 1);
            *out = value;
            return true;
        }
    }
    return false;
}

static bool take(bytes *from, size_t size) {
    if (size > from->size)
        return false;
    *from = bytes_of(from->data + size, from->size - size);
    return true;
}

/* Takes the value of a field off the front: a number, or a part. */
static bool take_value(bytes *from, unsigned wire_type, uint64_t *number, wire_part *part) {
    const uint8_t *begin = from->data;
    uint64_t size;
    switch (wire_type) {
    case WIRE_VARINT:
        return take_varint(from, number);
    case WIRE_64BIT:
        return take(from, 8);
    case WIRE_32BIT:
        return take(from, 4);
    case WIRE_LENGTH:
        if (!take_varint(from, &size) || size > from->size)
            return false;
        part->content = bytes_of(from->data, (size_t)size);
        part->framed = bytes_of(begin, (size_t)(from->data - begin) + (size_t)size);
        return take(from, (size_t)size);
    default:
        return false;
    }
}

static bool find(bytes message, uint64_t tag, uint64_t *number, wire_part *part) {
    uint64_t found;
    while (message.size > 0)
        if (!take_varint(&message, &found) || !take_value(&message, found & 7U, number, part))
            return false;
        else if (found == tag)
            return true;
    return false;
}

bool wire_find(bytes message, uint32_t number, wire_part *out) {
    uint64_t ignored;
    wire_part part = {0};
    if (!find(message, (uint64_t)number << 3 | WIRE_LENGTH, &ignored, &part))
        return false;
    *out = part;
    return true;
}

uint64_t wire_find_number(bytes message, uint32_t number) {
    uint64_t value = 0;
    wire_part ignored;
    return find(message, (uint64_t)number << 3 | WIRE_VARINT, &value, &ignored) ? value : 0;
}

wire_part wire_frame(bytes content, arena *memory) {
    uint8_t length[VARINT_BYTES];
    size_t size = 0, rest = content.size;
    for (; rest >= 0x80; rest >>= 7)
        length[size++] = (uint8_t)(rest | 0x80U);
    length[size++] = (uint8_t)rest;
    uint8_t *data = arena_alloc(memory, size + content.size);
    if (data == NULL)
        return (wire_part){0};
    memcpy(data, length, size);
    if (content.size != 0)
        memcpy(data + size, content.data, content.size);
    return (wire_part){.framed = bytes_of(data, size + content.size),
                       .content = bytes_of(data + size, content.size)};
}

ProtobufCMessageUnknownField wire_as_field(uint32_t number, const wire_part *part) {
    return (ProtobufCMessageUnknownField){.tag = number,
                                          .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                          .len = part->framed.size,
                                          .data = (uint8_t *)(uintptr_t)part->framed.data};
}
