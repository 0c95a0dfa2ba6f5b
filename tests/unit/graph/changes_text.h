/* Changes as lines of text, so that tests can say what they expect. */
#ifndef TESTS_CHANGES_TEXT_H
#define TESTS_CHANGES_TEXT_H

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "change.h"

static inline void statements_text(const statements *what, buffer *out) {
    for (size_t i = 0; i < what->count; i++) {
        const statement *item = &what->items[i];
        if (item->is_edge)
            buffer_format(out, "%s -%d-> %s", item->name, item->kind, item->to);
        else
            buffer_format(out, "%s", item->name);
        buffer_format(out, item->source == PROVENANCE_DECLARED ? " declared" : "");
        for (size_t j = 0; j < item->attribute_count; j++)
            buffer_format(out, " %s=%s", item->attributes[j].key, item->attributes[j].value);
        buffer_text(out, "\n");
    }
}

static inline void change_text(const change *item, buffer *out) {
    static const char *const roles[] = {"whole", "open", "update", "end"};
    buffer_format(out, "%s %s %lld\n", item->lane, roles[item->role], (long long)item->from_ms);
    statements_text(&item->what, out);
}

#endif
