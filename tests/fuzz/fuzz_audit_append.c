/* Any bytes as an append request: refused with a reason, or prepared so that what was copied is what was
 * sent. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "append.h"
#include "leaf.h"
#include "wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check_prepared(const Interlock__Audit__V1__AppendRequest *request, const append *item) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    leaf_payload_digest(request->record, digest);
    require(memcmp(digest, item->digest, sizeof digest) == 0);
    require(strcmp(item->action_id, request->action_id) == 0 && strcmp(item->verdict, request->verdict) == 0);
    require(item->record.size <= APPEND_RECORD_BYTES && item->charge_count == request->n_counters);
    require(strlen(item->action_id) <= LIMIT_ACTION_ID_BYTES &&
            strlen(item->verdict) <= APPEND_VERDICT_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    failure why = {0};
    append *item = NULL;
    ProtobufCMessage *message = NULL;
    arena_init(&memory, 4096, 16U << 20);
    crypto_init();
    if (wire_unpack(&interlock__audit__v1__append_request__descriptor, bytes_of(data, size), &memory,
                    &message, &why) == STATUS_OK) {
        const Interlock__Audit__V1__AppendRequest *request =
            (const Interlock__Audit__V1__AppendRequest *)message;
        if (append_prepare(request, &item, &why) == STATUS_OK)
            check_prepared(request, item);
        else
            require(item == NULL && why.reason != NULL && why.message[0] != '\0');
        append_free(item);
    }
    arena_free(&memory);
    return 0;
}
