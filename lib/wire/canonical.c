/* See canonical.h; the counterpart of protobuf_c_message_pack in protobuf-c 1.4.1. */
#include "canonical.h"

#include <string.h>

#define VARINT_BYTES 10U
#define VARINT32_BYTES 5U

bool canonical_varint(const uint8_t *at, size_t size) {
    return size == 1 || at[size - 1] != 0;
}

/* A negative int32 goes out as an int64: bits 31 to 63 are set. */
static bool is_negative_int32(const uint8_t *at, size_t size) {
    static const uint8_t ones[VARINT_BYTES - VARINT32_BYTES] = {0xff, 0xff, 0xff, 0xff, 0x01};
    return size == VARINT_BYTES && (at[4] & 0xf8U) == 0xf8U &&
           memcmp(at + VARINT32_BYTES, ones, sizeof ones) == 0;
}

bool canonical_number(ProtobufCType type, const uint8_t *at, size_t size) {
    if (!canonical_varint(at, size))
        return false;
    switch (type) {
    case PROTOBUF_C_TYPE_BOOL:
        return size == 1 && at[0] <= 1;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_SINT32:
        return size < VARINT32_BYTES || (size == VARINT32_BYTES && at[4] <= 0x0f);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        return size < VARINT32_BYTES || (size == VARINT32_BYTES && at[4] <= 0x07) ||
               is_negative_int32(at, size);
    default:
        return size < VARINT_BYTES || at[VARINT_BYTES - 1] == 1;
    }
}

/* A zero of floating point may have a sign, and is left out with it. */
static bool is_default(ProtobufCType type, const uint8_t *content, size_t size) {
    static const uint8_t zeros[sizeof(uint64_t)];
    float single;
    double full;
    switch (type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return false;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return size == 0;
    case PROTOBUF_C_TYPE_FLOAT:
        memcpy(&single, content, sizeof single);
        return single == 0;
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&full, content, sizeof full);
        return full == 0;
    default:
        return size <= sizeof zeros && memcmp(content, zeros, size) == 0;
    }
}

static bool is_varint(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
        return true;
    default:
        return false;
    }
}

static bool is_packed(const ProtobufCFieldDescriptor *field) {
    return (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0;
}

bool canonical_field(const ProtobufCFieldDescriptor *field, bool length_prefixed, const uint8_t *content,
                     size_t size) {
    bool prefixed = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES ||
                    field->type == PROTOBUF_C_TYPE_MESSAGE || is_packed(field);
    if (length_prefixed != prefixed)
        return false;
    if (is_packed(field))
        return size != 0; /* its elements are looked at one by one */
    if (is_varint(field->type) && !canonical_number(field->type, content, size))
        return false;
    bool always = field->label != PROTOBUF_C_LABEL_NONE || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    return always || !is_default(field->type, content, size);
}

bool canonical_order(const ProtobufCFieldDescriptor *field, uint32_t last) {
    return field->id > last ||
           (field->id == last && field->label == PROTOBUF_C_LABEL_REPEATED && !is_packed(field));
}
