/* gRPC byte buffers <-> protobuf messages: nothing of what came is unpacked before it was scanned. */
#include "message.h"

#include <string.h>
#include <zlib.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#include "wire/scan.h"

static bytes slice_bytes(const grpc_slice *slice) {
    return bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

/* Inflates into `out` (room bytes), or only counts when out is NULL. False when the data is malformed or
 * there would be more than `room`. */
static bool inflate_into(bytes packed, uint8_t *out, size_t room, size_t *size) {
    uint8_t scratch[16384] = {0};
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.size};
    if (inflateInit2(&stream, 15 + 32) != Z_OK) /* gzip, or the zlib format that gRPC calls deflate */
        return false;
    int result = Z_OK;
    *size = 0;
    while (result == Z_OK && *size <= room) {
        size_t chunk = out == NULL ? sizeof scratch : room - *size;
        stream.next_out = out == NULL ? scratch : out + *size;
        stream.avail_out = (uInt)chunk;
        result = inflate(&stream, Z_NO_FLUSH);
        *size += chunk - stream.avail_out;
        if (result == Z_OK && chunk == stream.avail_out)
            break; /* no progress: the data ends in the middle */
    }
    bool whole = result == Z_STREAM_END && stream.avail_in == 0 && *size <= room;
    inflateEnd(&stream);
    return whole;
}

/* Counted first, so that a few bytes that claim to be gigabytes cost no memory. */
static status_code message_inflate(const char *name, bytes packed, size_t limit, arena *memory, bytes *out,
                                   failure *why) {
    size_t size = 0, again;
    if (packed.size > UINT32_MAX || !inflate_into(packed, NULL, limit, &size))
        return size > limit
                   ? fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                          "%s is larger than the %zu bytes that this method takes, once inflated; send less "
                          "at once",
                          name, limit)
                   : fail(why, STATUS_INVALID_ARGUMENT, "COMPRESSION_MALFORMED",
                          "%s says that it is compressed and cannot be inflated", name);
    uint8_t *plain = arena_alloc(memory, size);
    if (plain == NULL || !inflate_into(packed, plain, size, &again))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory to inflate %s; try again later", name);
    *out = bytes_of(plain, size);
    return STATUS_OK;
}

status_code message_read(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *wire, size_t limit,
                         arena *memory, ProtobufCMessage **out, failure *why) {
    if (wire == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "MESSAGE_MISSING",
                    "the call carried no %s; send exactly one message", type->name);
    size_t size = grpc_byte_buffer_length(wire);
    if (size > limit)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "%s of %zu bytes is larger than the %zu that this method takes; send less at once",
                    type->name, size, limit);
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, wire))
        return fail(why, STATUS_INTERNAL, "MESSAGE_UNREADABLE", "%s cannot be read from the transport",
                    type->name);
    bool packed = wire->data.raw.compression != GRPC_COMPRESS_NONE;
    status_code code;
    grpc_slice *only;
    if (!packed && wire->data.raw.slice_buffer.count == 1 && grpc_byte_buffer_reader_peek(&reader, &only)) {
        code = wire_unpack(type, slice_bytes(only), memory, out, why);
    } else {
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        bytes content = slice_bytes(&whole);
        code = packed ? message_inflate(type->name, content, limit, memory, &content, why) : STATUS_OK;
        if (code == STATUS_OK)
            code = wire_unpack(type, content, memory, out, why);
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return code;
}

grpc_byte_buffer *message_write(const ProtobufCMessage *message, size_t limit, size_t *size) {
    *size = protobuf_c_message_get_packed_size(message);
    if (*size > limit)
        return NULL;
    grpc_slice slice = grpc_slice_malloc(*size);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *wire = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return wire;
}

bool slice_equals(grpc_slice slice, const char *text, size_t size) {
    return GRPC_SLICE_LENGTH(slice) == size && memcmp(GRPC_SLICE_START_PTR(slice), text, size) == 0;
}
