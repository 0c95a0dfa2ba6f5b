/* Two tables of the same make: texts of a node, numbered in the order in which they came. */
#include "operations.h"

#include <stdlib.h>
#include <string.h>

#include "recent.h"

#define INDEX_START 1024U

typedef struct text_entry {
    char *text;
    uint64_t hash;
    uint32_t node;
} text_entry;

typedef struct text_table {
    text_entry *items;
    uint32_t count, room, most;
    uint32_t *index, mask; /* open addressing: item + 1, at most half full */
    uint16_t *by_node;     /* how many each node has */
    uint32_t nodes, node_most;
    uint32_t stored;
    uint64_t seed;
} text_table;

struct operations {
    text_table operations, pods;
    operations_totals totals;
};

/* ---- One table
 * --------------------------------------------------------------------------------------------------- */

static uint64_t text_hash(const text_table *self, uint32_t node, bytes text) {
    uint64_t hash = mix64(self->seed, node);
    for (size_t i = 0; i < text.size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text.data + i, text.size - i < 8 ? text.size - i : 8);
        hash = mix64(hash, word);
    }
    return mix64(hash, text.size);
}

static void index_insert(text_table *self, uint32_t number) {
    uint32_t place = (uint32_t)self->items[number].hash & self->mask;
    while (self->index[place] != 0)
        place = (place + 1) & self->mask;
    self->index[place] = number + 1;
}

static bool index_grow(text_table *self) {
    if (self->index != NULL && self->count * 2 <= self->mask)
        return true;
    uint32_t mask = self->index == NULL ? INDEX_START - 1 : self->mask * 2 + 1;
    uint32_t *index = calloc((size_t)mask + 1, sizeof *index);
    if (index == NULL)
        return false;
    free(self->index);
    self->index = index;
    self->mask = mask;
    for (uint32_t i = 0; i < self->count; i++)
        index_insert(self, i);
    return true;
}

static bool nodes_grow(text_table *self, uint32_t node) {
    if (node < self->nodes)
        return true;
    uint32_t wanted = node + 1 < 2 * self->nodes ? 2 * self->nodes : node + 256;
    uint16_t *grown = realloc(self->by_node, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + self->nodes, 0, (wanted - self->nodes) * sizeof *grown);
    self->by_node = grown;
    self->nodes = wanted;
    return true;
}

static bool items_grow(text_table *self) {
    if (self->count < self->room)
        return true;
    uint32_t wanted = self->room == 0 ? 256 : self->room * 2;
    text_entry *grown = realloc(self->items, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    self->items = grown;
    self->room = wanted;
    return true;
}

static uint32_t table_find(const text_table *self, uint32_t node, bytes text, uint64_t hash) {
    for (uint32_t place = (uint32_t)hash & self->mask; self->index[place] != 0;
         place = (place + 1) & self->mask) {
        const text_entry *item = &self->items[self->index[place] - 1];
        if (item->hash == hash && item->node == node && strlen(item->text) == text.size &&
            memcmp(item->text, text.data, text.size) == 0)
            return self->index[place] - 1;
    }
    return UINT32_MAX;
}

static uint32_t table_append(text_table *self, uint32_t node, bytes text, uint64_t hash) {
    if (self->count >= self->most || !items_grow(self) || !nodes_grow(self, node) || !index_grow(self))
        return UINT32_MAX;
    char *copy = strndup((const char *)text.data, text.size);
    if (copy == NULL)
        return UINT32_MAX;
    uint32_t number = self->count++;
    self->items[number] = (text_entry){.text = copy, .hash = hash, .node = node};
    self->by_node[node]++;
    index_insert(self, number);
    return number;
}

/* The number of the text at the node, made when there is room; UINT32_MAX beyond the node's or the table's
 * bound. */
static uint32_t table_named(text_table *self, uint32_t node, bytes text) {
    uint64_t hash = text_hash(self, node, text);
    uint32_t found = table_find(self, node, text, hash);
    if (found != UINT32_MAX)
        return found;
    if (node < self->nodes && self->by_node[node] >= self->node_most)
        return UINT32_MAX;
    return table_append(self, node, text, hash);
}

/* Number 0 is none, and belongs to no node. */
static bool table_begin(text_table *self) {
    if (!index_grow(self) || table_append(self, 0, bytes_of_text(""), 0) != 0)
        return false;
    self->by_node[0] = 0;
    self->stored = 1;
    return true;
}

static bool table_restore(text_table *self, uint32_t node, const char *text) {
    bytes content = bytes_of_text(text);
    uint64_t hash = text_hash(self, node, content);
    if (table_find(self, node, content, hash) != UINT32_MAX ||
        table_append(self, node, content, hash) == UINT32_MAX)
        return false;
    self->stored = self->count;
    return true;
}

static void table_free(text_table *self) {
    for (uint32_t i = 0; i < self->count; i++)
        free(self->items[i].text);
    free(self->items);
    free(self->index);
    free(self->by_node);
}

/* A name is cut between two characters, so that it stays UTF-8. */
static bytes text_cut(bytes text) {
    if (text.size < OPERATIONS_TEXT_BYTES)
        return text;
    size_t size = OPERATIONS_TEXT_BYTES - 1;
    while (size > 0 && (text.data[size] & 0xC0) == 0x80)
        size--;
    return bytes_of(text.data, size);
}

/* ---- Operations and pods
 * ----------------------------------------------------------------------------------------- */

uint32_t operations_named(operations *self, uint32_t node, bytes text) {
    uint32_t found = table_named(&self->operations, node, text_cut(text));
    if (found != UINT32_MAX)
        return found;
    self->totals.folded++;
    bytes other = bytes_of_text(OPERATIONS_OTHER);
    uint64_t hash = text_hash(&self->operations, node, other);
    found = table_find(&self->operations, node, other, hash);
    return found != UINT32_MAX ? found : table_append(&self->operations, node, other, hash);
}

uint32_t operations_pod_named(operations *self, uint32_t node, bytes text) {
    if (text.size == 0)
        return POD_NONE;
    uint32_t found = table_named(&self->pods, node, text_cut(text));
    if (found != UINT32_MAX)
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
    return (operation_info){.node = item->node, .text = item->text};
}

operation_info operations_pod_at(const operations *self, uint32_t pod) {
    const text_entry *item = &self->pods.items[pod];
    return (operation_info){.node = item->node, .text = item->text};
}

const operations_totals *operations_totals_of(const operations *self) {
    return &self->totals;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code operations_create(operations **out, uint64_t seed, failure *why) {
    operations *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for operations");
    self->operations = (text_table){.most = OPERATIONS_MAX, .node_most = OPERATIONS_NODE_MAX, .seed = seed};
    self->pods = (text_table){.most = PODS_MAX, .node_most = PODS_NODE_MAX, .seed = ~seed};
    if (!table_begin(&self->operations) || !table_begin(&self->pods)) {
        operations_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for operations");
    }
    *out = self;
    return STATUS_OK;
}

void operations_free(operations *self) {
    if (self == NULL)
        return;
    table_free(&self->operations);
    table_free(&self->pods);
    free(self);
}

/* ---- For the store
 * ----------------------------------------------------------------------------------------------- */

bool operations_restore(operations *self, uint32_t node, const char *text) {
    return table_restore(&self->operations, node, text);
}

bool operations_pod_restore(operations *self, uint32_t node, const char *text) {
    return table_restore(&self->pods, node, text);
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
