/* Any bytes as a Kubernetes object: what is taken is in order and bounded, and no value of a Secret is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

static void check(const object_result *out) {
    const statements *what = &out->change.what;
    demand(strlen(out->change.lane) < CHANGE_LANE_BYTES);
    for (size_t i = 0; i < what->count; i++) {
        const statement *item = &what->items[i];
        name_parts parts;
        size_t bytes_used = 0;
        demand(i == 0 || statement_compare(&what->items[i - 1], item) < 0);
        demand(name_parse(item->name, &parts, NULL) == STATUS_OK);
        for (size_t j = 0; j < item->attribute_count; j++)
            bytes_used += strlen(item->attributes[j].key) + strlen(item->attributes[j].value);
        demand(bytes_used <= STATEMENT_BODY_BYTES && item->attribute_count <= STATEMENT_ATTRIBUTES_MAX);
        if (strncmp(out->item, "Secret/", 7) == 0)
            for (size_t j = 0; j < item->attribute_count; j++)
                demand(strncmp(item->attributes[j].key, "data.", 5) != 0 ||
                       strcmp(item->attributes[j].value, "(hidden)") == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    object_result out;
    failure why = {0};
    object_place place = {.environment = "", .cluster = ""};
    arena_init(&memory, 4096, 64U << 20);
    if (object_read(bytes_of(data, size), false, &place, 1795375490000, &memory, &out, &why) != STATUS_OK)
        demand(why.reason != NULL && out.item[0] != '\0');
    else if (!out.ignored)
        check(&out);
    arena_free(&memory);
    return 0;
}
