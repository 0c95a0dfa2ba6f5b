/* Lists of statements: built, brought into order, compared, packed. */
#include "statements.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"

#define DIGEST_TEXT_BYTES 100U /* more than digest_of makes */

typedef Interlock__Graph__V1__StatementAttribute attribute_message;
typedef Interlock__Graph__V1__StatementSet set_message;

void statements_begin(statements *self, arena *memory) {
    *self = (statements){.memory = memory};
}

/* ---- Building */

static bool items_grow(statements *self) {
    if (self->count < self->room)
        return true;
    size_t room = self->room == 0 ? 16 : self->room * 2;
    if (self->count >= STATEMENTS_MAX)
        return false;
    statement *items = arena_alloc(self->memory, room * sizeof *items);
    if (items == NULL)
        return false;
    if (self->count > 0)
        memcpy(items, self->items, self->count * sizeof *items);
    self->items = items;
    self->room = room;
    return true;
}

static size_t add(statements *self, statement what) {
    what.name = arena_text(self->memory, what.name);
    what.to = arena_text(self->memory, what.to);
    what.confidence = 1;
    if (self->failed || what.name == NULL || what.to == NULL || !items_grow(self)) {
        self->failed = true;
        return SIZE_MAX;
    }
    self->items[self->count] = what;
    return self->count++;
}

size_t statements_node(statements *self, node_kind kind, const char *name, provenance source) {
    return add(self, (statement){.kind = (int)kind, .name = name, .to = "", .source = source});
}

size_t statements_edge(statements *self, edge_kind kind, const char *from, const char *to,
                       provenance source) {
    return add(self,
               (statement){.is_edge = true, .kind = (int)kind, .name = from, .to = to, .source = source});
}

static bool attributes_grow(statements *self, statement *item) {
    if (item->attribute_count < item->attribute_room)
        return true;
    size_t room = item->attribute_room == 0 ? 8 : item->attribute_room * 2;
    statement_attribute *attributes = arena_alloc(self->memory, room * sizeof *attributes);
    if (attributes == NULL)
        return false;
    if (item->attribute_count > 0)
        memcpy(attributes, item->attributes, item->attribute_count * sizeof *attributes);
    item->attributes = attributes;
    item->attribute_room = room;
    return true;
}

static const char *digest_of(arena *memory, bytes value) {
    uint8_t hash[CRYPTO_HASH_BYTES];
    char hex[2 * CRYPTO_HASH_BYTES + 1];
    sha256(value, hash);
    hex_encode(bytes_of(hash, sizeof hash), hex);
    return arena_format(memory, "%zu bytes, sha256 %s", value.size, hex);
}

/* The text is kept as it is: it is in the arena already. */
static void attribute_put(statements *self, size_t index, const char *key, const char *value) {
    if (index >= self->count || self->failed)
        return;
    statement *item = &self->items[index];
    if (key == NULL || value == NULL || !attributes_grow(self, item)) {
        self->failed = true;
        return;
    }
    item->attributes[item->attribute_count++] = (statement_attribute){.key = key, .value = value};
}

static bool attribute_fits(const statements *self, size_t index, const char *key) {
    return index < self->count && strnlen(key, STATEMENT_KEY_BYTES + 1) <= STATEMENT_KEY_BYTES &&
           self->items[index].attribute_count < STATEMENT_ATTRIBUTES_MAX;
}

void statements_attribute(statements *self, size_t index, const char *key, const char *value) {
    self->failed = self->failed || key == NULL;
    if (value == NULL || key == NULL || !attribute_fits(self, index, key))
        return;
    size_t size = strlen(value);
    attribute_put(self, index, arena_text(self->memory, key),
                  size > STATEMENT_VALUE_BYTES ? digest_of(self->memory, bytes_of(value, size))
                                               : arena_text(self->memory, value));
}

void statements_made(statements *self, size_t index, const char *key, const char *value) {
    self->failed = self->failed || value == NULL;
    statements_attribute(self, index, key, value);
}

void statements_digest(statements *self, size_t index, const char *key, bytes value) {
    self->failed = self->failed || key == NULL;
    if (key != NULL && attribute_fits(self, index, key))
        attribute_put(self, index, arena_text(self->memory, key), digest_of(self->memory, value));
}

bool statement_key_is_secret(const char *key) {
    static const char *const words[] = {"passw",   "secret",     "token",  "credential", "private",
                                        "api_key", "access_key", "apikey", "accesskey",  NULL};
    for (const char *const *word = words; *word != NULL; word++)
        if (strcasestr(key, *word) != NULL)
            return true;
    return false;
}

void statements_take(statements *self, const statements *other) {
    for (size_t i = 0; i < other->count && !self->failed; i++) {
        const statement *item = &other->items[i];
        size_t index = add(self, *item);
        if (index == SIZE_MAX)
            return;
        self->items[index].confidence = item->confidence;
        self->items[index].attribute_count = 0;
        self->items[index].attribute_room = 0;
        for (size_t j = 0; j < item->attribute_count; j++)
            attribute_put(self, index, item->attributes[j].key, item->attributes[j].value);
    }
    self->failed = self->failed || other->failed;
}

/* ---- Order */

int statement_compare(const statement *a, const statement *b) {
    if (a->is_edge != b->is_edge)
        return a->is_edge ? 1 : -1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : strcmp(a->to, b->to);
}

/* What was said first comes first, so that the later of two can be told. */
typedef struct placed {
    statement item;
    size_t at;
} placed;

static int placed_compare(const void *a, const void *b) {
    const placed *left = a;
    const placed *right = b;
    int order = statement_compare(&left->item, &right->item);
    return order != 0 ? order : (left->at > right->at) - (left->at < right->at);
}

/* Stable, in place: attributes are at most a few dozen. The later of two equal keys stays. */
static void attributes_finish(statement *item) {
    size_t kept = 0;
    for (size_t i = 0; i < item->attribute_count; i++) {
        statement_attribute what = item->attributes[i];
        size_t at = kept;
        while (at > 0 && strcmp(item->attributes[at - 1].key, what.key) > 0)
            at--;
        if (at > 0 && strcmp(item->attributes[at - 1].key, what.key) == 0) {
            item->attributes[at - 1].value = what.value;
            continue;
        }
        memmove(&item->attributes[at + 1], &item->attributes[at], (kept - at) * sizeof what);
        item->attributes[at] = what;
        kept++;
    }
    item->attribute_count = kept;
}

/* Attributes of one statement have a bound together: the longest values give way to their digests. */
static void attributes_bound(statements *self, statement *item) {
    for (;;) {
        size_t sum = 0;
        size_t longest = 0;
        for (size_t i = 0; i < item->attribute_count; i++) {
            sum += strlen(item->attributes[i].key) + strlen(item->attributes[i].value);
            if (strlen(item->attributes[i].value) > strlen(item->attributes[longest].value))
                longest = i;
        }
        if (sum <= STATEMENT_BODY_BYTES)
            return;
        const char *value = item->attributes[longest].value;
        size_t size = strlen(value);
        const char *digest = size > DIGEST_TEXT_BYTES ? digest_of(self->memory, bytes_of(value, size)) : NULL;
        if (digest == NULL)
            item->attribute_count--; /* nothing is long any more: the last ones go */
        else
            item->attributes[longest].value = digest;
    }
}

/* `more` is about the same as `item` and was said later. */
static void statement_merge(statements *self, statement *item, const statement *more) {
    for (size_t i = 0; i < more->attribute_count; i++) {
        if (!attributes_grow(self, item)) {
            self->failed = true;
            return;
        }
        item->attributes[item->attribute_count++] = more->attributes[i];
    }
    attributes_finish(item);
    if (item->attribute_count > STATEMENT_ATTRIBUTES_MAX)
        item->attribute_count = STATEMENT_ATTRIBUTES_MAX;
    item->source = more->source;
    item->confidence = more->confidence;
}

static void merge_sorted(statements *self, const placed *sorted) {
    size_t count = self->count;
    self->count = 0;
    for (size_t i = 0; i < count; i++) {
        statement item = sorted[i].item;
        attributes_finish(&item);
        if (self->count > 0 && statement_compare(&self->items[self->count - 1], &item) == 0)
            statement_merge(self, &self->items[self->count - 1], &item);
        else
            self->items[self->count++] = item;
    }
    for (size_t i = 0; i < self->count; i++)
        attributes_bound(self, &self->items[i]);
}

status_code statements_finish(statements *self, failure *why) {
    if (!self->failed && !self->finished && self->count > 0) {
        placed *sorted = arena_alloc(self->memory, self->count * sizeof *sorted);
        self->failed = sorted == NULL;
        for (size_t i = 0; i < self->count && !self->failed; i++)
            sorted[i] = (placed){.item = self->items[i], .at = i};
        if (!self->failed) {
            qsort(sorted, self->count, sizeof *sorted, placed_compare);
            merge_sorted(self, sorted);
        }
    }
    if (self->failed)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MUCH_SAID",
                    "one source says more than fits: at most %u nodes and edges", STATEMENTS_MAX);
    self->finished = true;
    return STATUS_OK;
}

bool statement_same(const statement *a, const statement *b) {
    if (statement_compare(a, b) != 0 || a->source != b->source || a->confidence != b->confidence ||
        a->attribute_count != b->attribute_count)
        return false;
    for (size_t i = 0; i < a->attribute_count; i++)
        if (strcmp(a->attributes[i].key, b->attributes[i].key) != 0 ||
            strcmp(a->attributes[i].value, b->attributes[i].value) != 0)
            return false;
    return true;
}

void statements_compare(const statements *before, const statements *after, statements_visit visit,
                        void *context) {
    size_t i = 0;
    size_t j = 0;
    while (i < before->count || j < after->count) {
        int order = i == before->count  ? 1
                    : j == after->count ? -1
                                        : statement_compare(&before->items[i], &after->items[j]);
        visit(context, order <= 0 ? &before->items[i] : NULL, order >= 0 ? &after->items[j] : NULL);
        i += order <= 0;
        j += order >= 0;
    }
}

/* ---- Messages */

statement_message *statement_to_message(const statement *self, arena *memory) {
    statement_message *out = arena_alloc(memory, sizeof *out);
    attribute_message **list = arena_alloc(memory, (self->attribute_count + 1) * sizeof(void *));
    attribute_message *items = arena_alloc(memory, (self->attribute_count + 1) * sizeof *items);
    if (out == NULL || list == NULL || items == NULL)
        return NULL;
    interlock__graph__v1__statement__init(out);
    out->kind_case = self->is_edge ? INTERLOCK__GRAPH__V1__STATEMENT__KIND_EDGE
                                   : INTERLOCK__GRAPH__V1__STATEMENT__KIND_NODE;
    if (self->is_edge)
        out->edge = (edge_kind)self->kind;
    else
        out->node = (node_kind)self->kind;
    out->name = (char *)self->name;
    out->to = (char *)self->to;
    out->provenance = self->source;
    out->confidence = self->confidence;
    for (size_t i = 0; i < self->attribute_count; i++) {
        interlock__graph__v1__statement_attribute__init(&items[i]);
        items[i].key = (char *)self->attributes[i].key;
        items[i].value = (char *)self->attributes[i].value;
        list[i] = &items[i];
    }
    out->attributes = list;
    out->n_attributes = self->attribute_count;
    return out;
}

static bool messages_make(const statements *self, set_message *set, arena *memory) {
    set->statements = arena_alloc(memory, (self->count + 1) * sizeof(void *));
    for (set->n_statements = 0; set->statements != NULL && set->n_statements < self->count;) {
        statement_message *message = statement_to_message(&self->items[set->n_statements], memory);
        if (message == NULL)
            return false;
        set->statements[set->n_statements++] = message;
    }
    return set->statements != NULL;
}

status_code statements_pack(const statements *self, uint8_t **out, size_t *size, failure *why) {
    set_message set = INTERLOCK__GRAPH__V1__STATEMENT_SET__INIT;
    uint8_t *packed = NULL;
    if (messages_make(self, &set, self->memory))
        packed = malloc(protobuf_c_message_get_packed_size(&set.base) + 1);
    if (packed == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for what a source says");
    *size = protobuf_c_message_pack(&set.base, packed);
    *out = packed;
    return STATUS_OK;
}

static void *arena_for_unpack(void *memory, size_t size) {
    return arena_alloc(memory, size);
}

static void nothing_to_free(void *memory, void *pointer) {
    (void)memory;
    (void)pointer;
}

status_code statements_unpack(bytes packed, arena *memory, statements *out, failure *why) {
    ProtobufCAllocator allocator = {
        .alloc = arena_for_unpack, .free = nothing_to_free, .allocator_data = memory};
    const set_message *set =
        interlock__graph__v1__statement_set__unpack(&allocator, packed.size, packed.data);
    if (set == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for what a source said");
    statements_begin(out, memory);
    for (size_t i = 0; i < set->n_statements; i++) {
        const statement_message *item = set->statements[i];
        bool is_edge = item->kind_case == INTERLOCK__GRAPH__V1__STATEMENT__KIND_EDGE;
        size_t index = add(out, (statement){.is_edge = is_edge,
                                            .kind = is_edge ? (int)item->edge : (int)item->node,
                                            .name = item->name,
                                            .to = item->to,
                                            .source = item->provenance});
        if (index != SIZE_MAX)
            out->items[index].confidence = item->confidence;
        for (size_t j = 0; j < item->n_attributes; j++)
            attribute_put(out, index, item->attributes[j]->key, item->attributes[j]->value);
    }
    out->finished = true; /* they were when they were packed */
    return out->failed ? statements_finish(out, why) : STATUS_OK;
}
