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

static void forget_unknown(ProtobufCMessage *message) {
    message->n_unknown_fields = 0;
    message->unknown_fields = NULL;
}

Interlock__Common__V1__Envelope *envelope_clean(const Interlock__Common__V1__Envelope *envelope,
                                                arena *memory) {
    Interlock__Common__V1__Envelope *self = arena_copy(memory, envelope, sizeof *envelope);
    Interlock__Common__V1__Signature *signature =
        arena_copy(memory, envelope->signatures[0], sizeof *envelope->signatures[0]);
    Interlock__Common__V1__Signature **list = arena_alloc(memory, sizeof(void *));
    if (self == NULL || signature == NULL || list == NULL)
        return NULL;
    forget_unknown(&self->base);
    forget_unknown(&signature->base);
    list[0] = signature;
    self->signatures = list;
    self->n_signatures = 1;
    return self;
}
