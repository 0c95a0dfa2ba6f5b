/* Two tables of texts: operations and pods of services. Number 0 is none, and belongs to no service. */
#include "operations.h"

#include <stdlib.h>

#include "texts.h"

struct operations {
    texts operations, pods;
    operations_totals totals;
};

uint32_t operations_named(operations *self, uint32_t node, bytes text) {
    uint32_t found = texts_named(&self->operations, node, text_cut(text, OPERATIONS_TEXT_BYTES));
    if (found != TEXTS_NONE)
        return found;
    self->totals.folded++;
    found = texts_forced(&self->operations, node, bytes_of_text(OPERATIONS_OTHER));
    return found != TEXTS_NONE ? found : OPERATION_NONE;
}

uint32_t operations_pod_named(operations *self, uint32_t node, bytes text) {
    if (text.size == 0)
        return POD_NONE;
    uint32_t found = texts_named(&self->pods, node, text_cut(text, OPERATIONS_TEXT_BYTES));
    if (found != TEXTS_NONE)
        return found;
    self->totals.pods_folded++;
    return POD_NONE;
}

uint32_t operations_count(const operations *self) {
    return self->operations.count;
}

uint32_t operations_pod_count(const operations *self) {
    return self->pods.count;
}

operation_info operations_at(const operations *self, uint32_t operation) {
    const text_entry *item = &self->operations.items[operation];
    return (operation_info){.node = item->owner, .text = item->text};
}

operation_info operations_pod_at(const operations *self, uint32_t pod) {
    const text_entry *item = &self->pods.items[pod];
    return (operation_info){.node = item->owner, .text = item->text};
}

const operations_totals *operations_totals_of(const operations *self) {
    return &self->totals;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

/* A lone NUL is no name that a message can hold: number 0 cannot be found. */
static bool none_make(texts *self) {
    if (texts_forced(self, 0, bytes_of("", 1)) != 0)
        return false;
    self->by_owner[0] = 0;
    self->stored = 1;
    return true;
}

status_code operations_create(operations **out, uint64_t seed, failure *why) {
    operations *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for operations");
    status_code status = texts_init(&self->operations, OPERATIONS_MAX, OPERATIONS_NODE_MAX, seed, why);
    if (status == STATUS_OK)
        status = texts_init(&self->pods, PODS_MAX, PODS_NODE_MAX, ~seed, why);
    if (status == STATUS_OK && (!none_make(&self->operations) || !none_make(&self->pods)))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for operations");
    if (status != STATUS_OK) {
        operations_free(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void operations_free(operations *self) {
    if (self == NULL)
        return;
    texts_free(&self->operations);
    texts_free(&self->pods);
    free(self);
}

/* ---- For the store
 * ----------------------------------------------------------------------------------------------- */

bool operations_restore(operations *self, uint32_t node, const char *text) {
    return texts_restore(&self->operations, node, bytes_of_text(text));
}

bool operations_pod_restore(operations *self, uint32_t node, const char *text) {
    return texts_restore(&self->pods, node, bytes_of_text(text));
}

uint32_t operations_stored(const operations *self) {
    return self->operations.stored;
}

uint32_t operations_pods_stored(const operations *self) {
    return self->pods.stored;
}

void operations_mark_stored(operations *self) {
    self->operations.stored = self->operations.count;
    self->pods.stored = self->pods.count;
}
