/* Any bytes as an expression: what parses prints as a source that prints the same again. */
#include <stdlib.h>

#include "parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    buffer first;
    buffer second;
    node *tree = NULL;
    failure why = {0};
    arena_init(&memory, 4096, 64U << 20);
    buffer_init(&first, 1U << 22);
    buffer_init(&second, 1U << 22);
    if (cel_parse(bytes_of(data, size), CEL_SOURCE_BYTES, &memory, &tree, &why) == STATUS_OK) {
        cel_print(tree, &first);
        if (cel_parse(buffer_bytes(&first), 1U << 22, &memory, &tree, &why) == STATUS_OK)
            cel_print(tree, &second);
        if (!buffer_ok(&first) || !bytes_equal(buffer_bytes(&first), buffer_bytes(&second)))
            abort();
    } else if (!utf8_valid(bytes_of_text(why.message)) || why.reason == NULL) {
        abort();
    }
    buffer_free(&first);
    buffer_free(&second);
    arena_free(&memory);
    return 0;
}
