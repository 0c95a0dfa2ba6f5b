/* Any bytes as declarations: what is taken is in order and bounded, what is not has a place. */
#include <stdlib.h>
#include <string.h>

#include "declarations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    declarations out;
    failure why = {0};
    arena_init(&memory, 4096, 64U << 20);
    status_code code = declarations_read(bytes_of(data, size), "f", 1, &memory, &out, &why);
    if (code == STATUS_OK) {
        const statements *what = &out.change.what;
        for (size_t i = 0; i < what->count; i++) {
            name_parts parts;
            demand(i == 0 || statement_compare(&what->items[i - 1], &what->items[i]) < 0);
            demand(what->items[i].attribute_count <= STATEMENT_ATTRIBUTES_MAX);
            demand(name_parse(what->items[i].name, &parts, NULL) == STATUS_OK);
            demand(!what->items[i].is_edge || name_parse(what->items[i].to, &parts, NULL) == STATUS_OK);
        }
    } else {
        demand(why.reason != NULL);
        demand(code != STATUS_INVALID_ARGUMENT || strncmp(why.message, "f:", 2) == 0);
    }
    arena_free(&memory);
    return 0;
}
