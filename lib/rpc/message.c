/* gRPC byte buffers <-> protobuf messages: nothing of what came is unpacked before it was scanned. */
#include "message.h"

#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#include "wire/scan.h"

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
    if (wire->data.raw.compression != GRPC_COMPRESS_NONE || !grpc_byte_buffer_reader_init(&reader, wire))
        return fail(why, STATUS_UNIMPLEMENTED, "COMPRESSION_UNSUPPORTED",
                    "compressed messages are not accepted; send %s uncompressed", type->name);
    status_code code;
    grpc_slice *only;
    if (wire->data.raw.slice_buffer.count == 1 && grpc_byte_buffer_reader_peek(&reader, &only)) {
        code = wire_unpack(type, bytes_of(GRPC_SLICE_START_PTR(*only), GRPC_SLICE_LENGTH(*only)), memory, out,
                           why);
    } else {
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        code = wire_unpack(type, bytes_of(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole)), memory, out,
                           why);
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
