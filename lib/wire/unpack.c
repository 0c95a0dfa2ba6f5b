/* Unpacking into an arena after the scan, packing, and the comparison that makes a signed payload canonical.
 */
#include <string.h>

#include "slabs.h"

static void *allocate(void *memory, size_t size) {
    return arena_alloc(memory, size);
}

static void release(void *memory, void *pointer) {
    (void)memory;
    (void)pointer;
}

ProtobufCAllocator wire_allocator(arena *memory) {
    return (ProtobufCAllocator){.alloc = allocate, .free = release, .allocator_data = memory};
}

/* The allocator of wire_unpack. It uses slabs again, and remembers that it refused, so that want of memory is
 * told apart from bad bytes. What has a header lies 8 bytes beside a multiple of 16, where nothing else from
 * the arena does: so free, which is told no size, knows it. */
typedef struct slab {
    struct slab *next;
} slab;

typedef struct unpack_memory {
    arena *memory;
    bool refused;
    slab *unused[SLAB_CLASSES];
} unpack_memory;

static unsigned slab_class(size_t size) {
    return (unsigned)__builtin_ctzll(size / SLAB_BYTES_LEAST);
}

static void *allocate_slab(unpack_memory *self, size_t size) {
    unsigned class = slab_class(size);
    if (class < SLAB_CLASSES && self->unused[class] != NULL) {
        slab *found = self->unused[class];
        self->unused[class] = found->next;
        return found;
    }
    char *raw =
        size > SIZE_MAX - SLAB_HEADER_BYTES ? NULL : arena_alloc(self->memory, size + SLAB_HEADER_BYTES);
    if (raw == NULL)
        return NULL;
    memcpy(raw, &size, sizeof size);
    return raw + sizeof size;
}

static void *allocate_for_unpack(void *memory, size_t size) {
    unpack_memory *self = memory;
    void *result = is_slab_size(size) ? allocate_slab(self, size) : arena_alloc(self->memory, size);
    self->refused |= result == NULL;
    return result;
}

static void release_for_unpack(void *memory, void *pointer) {
    unpack_memory *self = memory;
    if ((uintptr_t)pointer % 16U != sizeof(size_t))
        return;
    size_t size;
    memcpy(&size, (const char *)pointer - sizeof size, sizeof size);
    if (slab_class(size) >= SLAB_CLASSES)
        return;
    slab *freed = pointer;
    freed->next = self->unused[slab_class(size)];
    self->unused[slab_class(size)] = freed;
}

static status_code unpack(const ProtobufCMessageDescriptor *type, bytes wire, bool strict, arena *memory,
                          ProtobufCMessage **out, failure *why) {
    wire_limits limits = wire_limits_for(wire.size);
    status_code code = wire_scan_as(type, wire, &limits, strict, why);
    if (code != STATUS_OK)
        return code;
    unpack_memory own = {.memory = memory};
    ProtobufCAllocator allocator = {
        .alloc = allocate_for_unpack, .free = release_for_unpack, .allocator_data = &own};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, wire.size, wire.data);
    if (message == NULL && own.refused)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "there is no memory left for a message of %zu bytes; send less at once", wire.size);
    if (message == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "MALFORMED_MESSAGE",
                    "a singular message inside %s occurs twice and cannot be merged", type->name);
    *out = message;
    return STATUS_OK;
}

status_code wire_unpack(const ProtobufCMessageDescriptor *type, bytes wire, arena *memory,
                        ProtobufCMessage **out, failure *why) {
    return unpack(type, wire, false, memory, out, why);
}

status_code wire_unpack_signed(const ProtobufCMessageDescriptor *type, bytes wire, arena *memory,
                               ProtobufCMessage **out, failure *why) {
    return unpack(type, wire, true, memory, out, why);
}

status_code wire_unpack_signed_as(const ProtobufCMessageDescriptor *type,
                                  const ProtobufCMessageDescriptor *gist, bytes wire, arena *memory,
                                  ProtobufCMessage **out, failure *why) {
    wire_limits limits = wire_limits_for(wire.size);
    status_code code = wire_scan_as(type, wire, &limits, true, why);
    return code == STATUS_OK ? wire_unpack(gist, wire, memory, out, why) : code;
}

status_code wire_pack(const ProtobufCMessage *message, arena *memory, bytes *out, failure *why) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc(memory, size);
    if (data == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "there is no memory left to pack a message of %zu bytes", size);
    protobuf_c_message_pack(message, data);
    *out = bytes_of(data, size);
    return STATUS_OK;
}
