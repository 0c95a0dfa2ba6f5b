/* Values: what is said of a thing, apart from who says it and when. The same value is kept once, however many
 * versions have it; it is found by a hash and compared as bytes. */
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "history_store.h"
#include "recent.h"

/* Stands in the file, so that it is the same for ever. Bodies made to collide cost a look at each, and beyond
 * what the store looks at (history_store_value_find) are kept twice. */
static uint64_t body_hash(bytes body) {
    uint64_t hash = mix64(0x9e3779b97f4a7c15U, body.size);
    for (size_t i = 0; i < body.size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, body.data + i, body.size - i < 8 ? body.size - i : 8);
        hash = mix64(hash, word);
    }
    return hash;
}

static bool body_is(bytes body, const uint8_t *other, uint32_t size) {
    return body.size == size && memcmp(body.data, other, size) == 0;
}

/* ---- The cache: one place a hash
 * ------------------------------------------------------------------------------------ */

static uint32_t cache_find(const history *self, uint64_t hash, bytes body) {
    const cached_value *item = &self->cache[hash % VALUE_CACHE];
    bool same = item->number != 0 && item->hash == hash && body_is(body, item->body, item->size);
    return same ? item->number : 0;
}

static void cache_put(history *self, uint64_t hash, bytes body, uint32_t number) {
    cached_value *item = &self->cache[hash % VALUE_CACHE];
    uint8_t *copy = body.size > VALUE_CACHE_BYTES ? NULL : malloc(body.size);
    if (copy == NULL)
        return;
    memcpy(copy, body.data, body.size);
    free(item->body);
    *item = (cached_value){.hash = hash, .number = number, .size = (uint32_t)body.size, .body = copy};
}

/* ---- What is not stored yet
 * ----------------------------------------------------------------------------------------- */

static uint32_t pending_find(const history *self, uint64_t hash, bytes body) {
    for (uint32_t i = self->value_count; i > 0; i--) {
        const pending_value *item = &self->values[i - 1];
        if (item->hash == hash && body_is(body, item->body, item->size))
            return item->number;
    }
    return 0;
}

static uint32_t pending_add(history *self, uint64_t hash, bytes body) {
    uint8_t *copy = malloc(body.size);
    if (copy == NULL || self->next_value > VALUE_NUMBER_MAX ||
        !room_for((void **)&self->values, self->value_count, &self->value_room, sizeof *self->values)) {
        free(copy);
        return 0;
    }
    memcpy(copy, body.data, body.size);
    self->values[self->value_count++] =
        (pending_value){.hash = hash, .number = self->next_value, .size = (uint32_t)body.size, .body = copy};
    return self->next_value++;
}

void values_stored(history *self) {
    for (uint32_t i = 0; i < self->value_count; i++)
        free(self->values[i].body);
    self->value_count = 0;
}

void values_free(history *self) {
    values_stored(self);
    free(self->values);
    for (uint32_t i = 0; i < VALUE_CACHE; i++)
        free(self->cache[i].body);
}

static status_code number_find(history *self, uint64_t hash, bytes body, uint32_t *number, failure *why) {
    *number = cache_find(self, hash, body);
    if (*number == 0)
        *number = pending_find(self, hash, body);
    return *number != 0 ? STATUS_OK : history_store_value_find(self->store, hash, body, number, why);
}

status_code value_intern(history *self, const fact *what, uint32_t *ref, failure *why) {
    buffer body;
    buffer_init(&body, HISTORY_BODY_BYTES + 4096);
    codec_value(&body, what->source, what->confidence, what->attributes, what->attribute_count);
    uint32_t number = 0;
    status_code status = STATUS_OK;
    if (!buffer_ok(&body))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a fact");
    uint64_t hash = body_hash(buffer_bytes(&body));
    if (status == STATUS_OK)
        status = number_find(self, hash, buffer_bytes(&body), &number, why);
    if (status == STATUS_OK && number == 0 && (number = pending_add(self, hash, buffer_bytes(&body))) == 0)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "HISTORY_FULL", "the history holds no more values");
    if (status == STATUS_OK) {
        cache_put(self, hash, buffer_bytes(&body), number);
        *ref = value_ref(number, what->source);
    }
    buffer_free(&body);
    return status;
}
