/* See projection.h. */
#include "projection.h"

#include <stdio.h>
#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

#define MEMORY_BYTES (8U << 20)
#define KIND(word) INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_##word

void projection_saw_epoch(projection *self, uint64_t epoch) {
    uint64_t known = atomic_load(&self->epoch);
    while (epoch > known && !atomic_compare_exchange_weak(&self->epoch, &known, epoch))
        ;
}

static void publish(projection *self) {
    projection_saw_epoch(self, self->position.epoch);
    atomic_store(&self->control_seq, self->position.control_seq);
    atomic_store(&self->fence_index, self->position.fence_index);
    atomic_store(&self->applied, self->position.next_index);
}

static status_code tell_again(void *context, bytes envelope, failure *why) {
    projection *self = context;
    ProtobufCMessage *message = NULL;
    arena_reset(&self->memory);
    status_code code =
        wire_unpack(&interlock__common__v1__envelope__descriptor, envelope, &self->memory, &message, why);
    if (code == STATUS_OK)
        self->statement(self->context, (const Interlock__Common__V1__Envelope *)message);
    return code;
}

status_code projection_open(projection *self, const char *path, const char *origin, const chance *source,
                            failure *why) {
    self->source = source;
    atomic_store(&self->epoch, 1); /* a log's first */
    arena_init(&self->memory, 65536, MEMORY_BYTES);
    status_code code = policy_store_open(&self->writer, path, origin, why);
    if (code == STATUS_OK)
        code = policy_store_read_position(self->writer, &self->position, why);
    if (code == STATUS_OK && self->statement != NULL)
        code = policy_store_each_statement(self->writer, tell_again, self, why);
    publish(self);
    return code;
}

void projection_close(projection *self) {
    policy_store_close(self->writer);
    self->writer = NULL;
    arena_free(&self->memory);
}

uint64_t projection_from(const projection *self) {
    return self->position.next_index == 0 ? 0 : self->position.next_index - 1;
}

bool projection_is_current(const projection *self) {
    uint64_t then = atomic_load(&self->current_boot_ms);
    return then != 0 && chance_boot_ms(self->source) - then <= PROJECTION_CURRENT_MS;
}

static void leaf_name(const Interlock__Audit__V1__Entry *entry, char out[2 * CRYPTO_HASH_BYTES + 1]) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    sha256(bytes_of(entry->leaf.data, entry->leaf.len), digest);
    hex_encode(bytes_of(digest, sizeof digest), out);
}

static status_code apply_action(projection *self, const Interlock__Audit__V1__Entry *entry,
                                const Interlock__Audit__V1__Leaf *leaf, failure *why) {
    if (leaf->kind == KIND(DECISION))
        return policy_store_put_decision(self->writer, leaf->action_id, entry->index, why);
    return policy_store_put_latest(self->writer, leaf->action_id, entry->index, why);
}

static status_code apply_statement(projection *self, const Interlock__Audit__V1__Entry *entry,
                                   const Interlock__Audit__V1__Leaf *leaf, policy_store_position *next,
                                   failure *why) {
    if (leaf->kind == KIND(KILL) && strcmp(leaf->verdict, "SET") == 0)
        next->fence_index = entry->index;
    if (entry->record == NULL)
        return STATUS_OK;
    policy_store_statement statement = {.index = entry->index, .control_seq = leaf->control_seq};
    status_code code = wire_pack(&entry->record->base, &self->memory, &statement.envelope, why);
    if (code != STATUS_OK)
        return code;
    dsse_payload_digest(entry->record, statement.digest);
    if (self->statement != NULL)
        self->statement(self->context, entry->record);
    return policy_store_put_statement(self->writer, &statement, why);
}

static status_code apply_entry(projection *self, const Interlock__Audit__V1__Entry *entry,
                               policy_store_position *next, failure *why) {
    ProtobufCMessage *message = NULL;
    arena_reset(&self->memory);
    status_code code = wire_unpack(&interlock__audit__v1__leaf__descriptor,
                                   bytes_of(entry->leaf.data, entry->leaf.len), &self->memory, &message, why);
    if (code != STATUS_OK)
        return code;
    const Interlock__Audit__V1__Leaf *leaf = (const Interlock__Audit__V1__Leaf *)message;
    if (leaf->action_id[0] != '\0')
        code = apply_action(self, entry, leaf, why);
    else if (leaf->kind == KIND(KILL) || leaf->kind == KIND(CONTROL))
        code = apply_statement(self, entry, leaf, next, why);
    if (leaf->control_seq > next->control_seq)
        next->control_seq = leaf->control_seq;
    next->epoch = leaf->epoch;
    next->next_index = entry->index + 1;
    return code;
}

static status_code apply_all(projection *self, const Interlock__Audit__V1__TailResponse *batch,
                             policy_store_position *next, failure *why) {
    status_code code = STATUS_OK;
    for (size_t i = 0; i < batch->n_entries && code == STATUS_OK; i++) {
        if (batch->entries[i]->index < next->next_index)
            continue; /* the one that was followed again */
        if (batch->entries[i]->index > next->next_index)
            return fail(why, STATUS_INTERNAL, "LOG_GAP", "audit skipped from index %llu to %llu",
                        (unsigned long long)next->next_index, (unsigned long long)batch->entries[i]->index);
        code = apply_entry(self, batch->entries[i], next, why);
        if (i + 1 == batch->n_entries)
            leaf_name(batch->entries[i], next->last_leaf);
    }
    return code == STATUS_OK ? policy_store_write_position(self->writer, next, why) : code;
}

/* The last leaf applied is not in this log, or the log is shorter than what was applied. */
static bool is_another_log(const projection *self, const Interlock__Audit__V1__TailResponse *batch) {
    if (batch->tree_size < self->position.next_index)
        return true;
    char name[2 * CRYPTO_HASH_BYTES + 1];
    for (size_t i = 0; i < batch->n_entries; i++) {
        if (batch->entries[i]->index + 1 != self->position.next_index)
            continue;
        leaf_name(batch->entries[i], name);
        return strcmp(name, self->position.last_leaf) != 0;
    }
    return false;
}

static status_code forget(projection *self, failure *why) {
    status_code code = policy_store_begin(self->writer, why);
    if (code != STATUS_OK)
        return code;
    code = policy_store_clear(self->writer, why);
    if (code == STATUS_OK)
        code = policy_store_commit(self->writer, why);
    if (code != STATUS_OK) {
        if (code != STATUS_DATA_LOSS)
            policy_store_rollback(self->writer);
        return code;
    }
    self->position = (policy_store_position){0};
    publish(self);
    return fail(why, STATUS_FAILED_PRECONDITION, "ANOTHER_LOG",
                "the log is not the one that policy.db was made from; rebuilding it");
}

status_code projection_apply(projection *self, const Interlock__Audit__V1__TailResponse *batch,
                             failure *why) {
    if (is_another_log(self, batch))
        return forget(self, why);
    policy_store_position next = self->position;
    if (batch->n_entries > 0) {
        status_code code = policy_store_begin(self->writer, why);
        if (code != STATUS_OK)
            return code;
        code = apply_all(self, batch, &next, why);
        if (code == STATUS_OK)
            code = policy_store_commit(self->writer, why);
        if (code == STATUS_DATA_LOSS)
            return code;
        if (code != STATUS_OK) {
            policy_store_rollback(self->writer);
            return code;
        }
        self->position = next;
        publish(self);
    }
    if (self->position.next_index >= batch->tree_size)
        atomic_store(&self->current_boot_ms, chance_boot_ms(self->source));
    return STATUS_OK;
}
