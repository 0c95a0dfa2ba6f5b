/* See message.h. */
#include "message.h"

#include "wire/scan.h"

ProtobufCMessage *message_copy(const ProtobufCMessage *message, arena *memory) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(memory, size + 1);
    if (packed == NULL)
        return NULL;
    protobuf_c_message_pack(message, packed);
    ProtobufCAllocator allocator = wire_allocator(memory);
    return protobuf_c_message_unpack(message->descriptor, &allocator, size, packed);
}
