/* What the embedded twin reads: ranges of the present, and the history that watches are fed from. */
#include <string.h>

#include "embedded_store.h"

#define HISTORY_EVENTS 512U
#define HISTORY_BATCH_BYTES (8U << 20)

/* ---- Reading --------------------------------------------------------------------------------- */

static bool copy_text(arena *memory, bytes key, const char **out) {
    char *copy = arena_alloc(memory, key.size + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, key.data, key.size);
    copy[key.size] = '\0';
    *out = copy;
    return true;
}

static bool copy_value(arena *memory, bytes value, bytes *out) {
    *out = bytes_of(NULL, 0);
    if (value.size == 0)
        return true;
    *out = bytes_of(arena_copy(memory, value.data, value.size), value.size);
    return out->data != NULL;
}

static status_code no_room(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "RANGE_TOO_LARGE",
                "the answer is larger than %u bytes or %u keys; ask for a longer prefix", COORD_ANSWER_BYTES,
                COORD_RANGE_MAX);
}

static bool row_to_kv(store_statement *statement, arena *memory, coord_kv *out) {
    *out = (coord_kv){.create_revision = store_column_int(statement, 2),
                      .mod_revision = store_column_int(statement, 3),
                      .version = store_column_int(statement, 4),
                      .lease = store_column_int(statement, 5)};
    return copy_text(memory, store_column_blob(statement, 0), &out->key) &&
           copy_value(memory, store_column_blob(statement, 1), &out->value);
}

/* A growing array in an arena: it doubles, what it leaves behind is freed with the arena. */
static void *grown(arena *memory, const void *items, size_t count, size_t item_size) {
    if (count != 0 && (count < 16 || (count & (count - 1)) != 0))
        return (void *)(uintptr_t)items;
    size_t capacity = count == 0 ? 16 : count * 2;
    void *larger = arena_zero(memory, capacity, item_size);
    if (larger != NULL && count != 0)
        memcpy(larger, items, count * item_size);
    return larger;
}

static status_code collect_range(store_statement *statement, arena *memory, coord_kv **kvs, size_t *count,
                                 failure *why) {
    bool row = false;
    status_code status = store_step(statement, &row, why);
    while (status == STATUS_OK && row) {
        coord_kv *items = *count == COORD_RANGE_MAX ? NULL : grown(memory, *kvs, *count, sizeof **kvs);
        if (items == NULL || !row_to_kv(statement, memory, &items[*count])) {
            store_reset(statement);
            return no_room(why);
        }
        *kvs = items;
        ++*count;
        status = store_step(statement, &row, why);
    }
    return status;
}

static status_code read_range(embedded_store *self, bytes start, bytes end, arena *memory, coord_kv **kvs,
                              size_t *count, failure *why) {
    store_statement *statement = end.size == 0 ? &self->one : &self->range;
    embedded_bind_now(self, statement, embedded_now_ms(self));
    store_bind_blob(statement, 3, start);
    if (end.size != 0) {
        store_bind_blob(statement, 4, end);
        store_bind_int(statement, 5, COORD_RANGE_MAX + 1);
    }
    return collect_range(statement, memory, kvs, count, why);
}

static status_code read_revision(embedded_store *self, int64_t *out, failure *why) {
    bool row = false;
    status_code status = store_step(&self->read_meta, &row, why);
    if (status != STATUS_OK)
        return status;
    *out = store_column_int(&self->read_meta, 0);
    store_reset(&self->read_meta);
    return STATUS_OK;
}

status_code embedded_store_range(embedded_store *self, bytes start, bytes end, arena *memory, coord_kv **kvs,
                                 size_t *count, int64_t *revision, failure *why) {
    coord_kv *found = NULL;
    size_t found_count = 0;
    int64_t at = 0;
    status_code status = store_execute(&self->writer, "BEGIN", why);
    if (status != STATUS_OK)
        return status;
    status = read_revision(self, &at, why);
    if (status == STATUS_OK)
        status = read_range(self, start, end, memory, &found, &found_count, why);
    store_rollback(&self->writer);
    if (status != STATUS_OK)
        return status;
    *kvs = found;
    *count = found_count;
    *revision = at;
    return STATUS_OK;
}

/* ---- Watching -------------------------------------------------------------------------------- */

status_code embedded_store_changed(embedded_store *self, bool *changed, failure *why) {
    bool row = false;
    status_code status = store_step(&self->watch_version, &row, why);
    if (status != STATUS_OK)
        return status;
    int64_t version = row ? store_column_int(&self->watch_version, 0) : 0;
    store_reset(&self->watch_version);
    *changed = version != self->data_version;
    self->data_version = version;
    return STATUS_OK;
}

static bool row_to_event(store_statement *statement, arena *memory, coord_event *out) {
    *out = (coord_event){.deleted = store_column_int(statement, 1) != 0,
                         .kv = {.mod_revision = store_column_int(statement, 0),
                                .create_revision = store_column_int(statement, 4),
                                .version = store_column_int(statement, 5),
                                .lease = store_column_int(statement, 6)}};
    return copy_text(memory, store_column_blob(statement, 2), &out->kv.key) &&
           copy_value(memory, store_column_blob(statement, 3), &out->kv.value);
}

/* Stops between two revisions once the batch is large enough. */
static status_code collect_history(store_statement *statement, arena *memory, coord_event **events,
                                   size_t *count, int64_t *last, bool *more, failure *why) {
    bool row = false;
    size_t size = 0;
    status_code status = store_step(statement, &row, why);
    while (status == STATUS_OK && row) {
        int64_t revision = store_column_int(statement, 0);
        bool full = *count >= HISTORY_EVENTS || size >= HISTORY_BATCH_BYTES;
        if (full && revision != (*events)[*count - 1].kv.mod_revision) {
            *last = revision - 1;
            *more = true;
            store_reset(statement);
            return STATUS_OK;
        }
        coord_event *items = grown(memory, *events, *count, sizeof **events);
        if (items == NULL || !row_to_event(statement, memory, &items[*count])) {
            store_reset(statement);
            return no_room(why);
        }
        size += items[*count].kv.value.size;
        *events = items;
        ++*count;
        status = store_step(statement, &row, why);
    }
    return status;
}

static status_code read_history(embedded_store *self, int64_t from, bytes start, bytes end, arena *memory,
                                coord_event **events, size_t *count, int64_t *last, bool *more,
                                bool *compacted, failure *why) {
    bool row = false;
    status_code status = store_step(&self->watch_meta, &row, why);
    if (status != STATUS_OK)
        return status;
    *last = store_column_int(&self->watch_meta, 0);
    int64_t oldest = store_column_int(&self->watch_meta, 1);
    store_reset(&self->watch_meta);
    *compacted = from < oldest;
    if (*compacted)
        *last = oldest;
    if (*compacted || from > *last)
        return STATUS_OK;
    store_bind_int(&self->watch_history, 1, from);
    store_bind_int(&self->watch_history, 2, *last);
    store_bind_blob(&self->watch_history, 3, start);
    store_bind_blob(&self->watch_history, 4, end);
    return collect_history(&self->watch_history, memory, events, count, last, more, why);
}

status_code embedded_store_history(embedded_store *self, int64_t from, bytes start, bytes end, arena *memory,
                                   coord_event **events, size_t *count, int64_t *last, bool *more,
                                   bool *compacted, failure *why) {
    coord_event *found = NULL;
    size_t found_count = 0;
    status_code status = store_execute(&self->watcher, "BEGIN", why);
    if (status != STATUS_OK)
        return status;
    *more = false;
    status = read_history(self, from, start, end, memory, &found, &found_count, last, more, compacted, why);
    store_rollback(&self->watcher);
    if (status != STATUS_OK)
        return status;
    *events = found;
    *count = found_count;
    return STATUS_OK;
}
