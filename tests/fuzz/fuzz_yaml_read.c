/* YAML from anywhere: read or refused, and every place that is named lies in the text. */
#include <stdlib.h>

#include "yaml/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_of(const yaml_item *item) {
    size_t count = 1;
    for (const yaml_item *child = item->first; child != NULL; child = child->next)
        count += count_of(child) + (child->key != NULL ? 1 : 0);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const yaml_limits limits = {.depth = 16, .keys = 128, .entries = 4096};
    arena memory;
    arena_init(&memory, 4096, 4 << 20);
    const yaml_item *root = NULL;
    yaml_problem problem = {0};
    status_code code = yaml_read(bytes_of(data, size), limits, &memory, &root, &problem);
    if (code == STATUS_OK && root != NULL && count_of(root) > 2 * size + 2)
        abort();
    if (code == STATUS_INVALID_ARGUMENT && problem.line > size + 2)
        abort();
    buffer place;
    buffer_init(&place, 4096);
    yaml_show_place(bytes_of(data, size), problem.line, problem.column, &place);
    buffer_free(&place);
    arena_free(&memory);
    return 0;
}
