/* Any bytes as a stored leaf: refused, or read within its bounds and packed again within them. */
#include <stdint.h>
#include <stdlib.h>

#include "leaf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    failure why = {0};
    Interlock__Audit__V1__Leaf *leaf = NULL;
    uint8_t packed[LIMIT_LEAF_BYTES];
    arena_init(&memory, 4096, 1U << 20);
    if (leaf_parse(bytes_of(data, size), &memory, &leaf, &why) == STATUS_OK) {
        if (leaf->version != LEAF_VERSION || leaf->commitment.len != CRYPTO_HASH_BYTES)
            abort();
        if (leaf_pack(leaf, packed) > LIMIT_LEAF_BYTES)
            abort();
    } else if (leaf != NULL || why.code != STATUS_DATA_LOSS) {
        abort();
    }
    arena_free(&memory);
    return 0;
}
