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

static bool binary_copy(ProtobufCBinaryData *member, arena *memory) {
    member->data = arena_copy(memory, member->data, member->len);
    return member->data != NULL;
}

Interlock__Audit__V1__Receipt *receipt_copy(const Interlock__Audit__V1__Receipt *receipt, arena *memory) {
    Interlock__Audit__V1__Receipt *self = arena_copy(memory, receipt, sizeof *receipt);
    if (self == NULL)
        return NULL;
    self->base.n_unknown_fields = 0;
    self->base.unknown_fields = NULL;
    self->checkpoint = arena_text(memory, receipt->checkpoint);
    self->proof = arena_copy(memory, receipt->proof, receipt->n_proof * sizeof *receipt->proof);
    bool complete = self->checkpoint != NULL && self->proof != NULL && binary_copy(&self->leaf, memory) &&
                    binary_copy(&self->salt, memory);
    for (size_t i = 0; complete && i < self->n_proof; i++)
        complete = binary_copy(&self->proof[i], memory);
    return complete ? self : NULL;
}
