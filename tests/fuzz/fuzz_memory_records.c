/* What memory reads of a record of the log, against any bytes that audit might send. */
#include <stddef.h>
#include <stdint.h>

#include "memory_records.h"
#include "wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    ProtobufCMessage *message = NULL;
    memory_change change;
    failure why = {0};
    arena_init(&memory, 65536, 16U << 20);
    if (wire_unpack(&interlock__audit__v1__entry__descriptor, bytes_of(data, size), &memory, &message,
                    &why) == STATUS_OK)
        (void)!memory_change_read((const Interlock__Audit__V1__Entry *)message, &memory, &change, &why);
    arena_free(&memory);
    return 0;
}
