/* Any bytes as a message: what the scanner lets through unpacks within its arena, and what passes as a signed
 * payload packs into the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "everything.pb-c.h"
#include "wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVERYTHING (&interlock__test__v1__everything__descriptor)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bytes wire = bytes_of(data, size);
    wire_limits limits = wire_limits_for(size);
    failure why;
    bool taken = wire_scan(EVERYTHING, wire, &limits, &why) == STATUS_OK;
    arena memory;
    arena_init(&memory, 4096, limits.arena_bytes);
    ProtobufCMessage *message = NULL;
    status_code code = wire_unpack(EVERYTHING, wire, &memory, &message, &why);
    if ((code == STATUS_OK) != (message != NULL) || (code == STATUS_OK && !taken) ||
        (taken && code == STATUS_RESOURCE_EXHAUSTED))
        abort();
    arena_reset(&memory);
    message = NULL;
    if (wire_unpack_signed(EVERYTHING, wire, &memory, &message, &why) == STATUS_OK) {
        uint8_t *packed = malloc(size + 1);
        if (packed == NULL || protobuf_c_message_get_packed_size(message) != size)
            abort();
        protobuf_c_message_pack(message, packed);
        if (size != 0 && memcmp(packed, data, size) != 0)
            abort();
        free(packed);
    }
    arena_free(&memory);
    return 0;
}
