/* Appending: decide on each of a group in order, then rows, checkpoint, COMMIT. */
#include <stdio.h>
#include <string.h>

#include "audit_log_state.h"
#include "entry.h"

#define REASON(name) INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_##name
#define DISK_FULL_RETRY_MS 1000U

/* ---- Adding one record ---- */

static status_code pack_new_leaf(audit_log *self, const append *item, append_result *result, failure *why) {
    uint8_t commitment[CRYPTO_HASH_BYTES];
    leaf_commitment(result->salt, item->digest, commitment);
    int64_t now_ms = chance_wall_ms(self->source);
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.version = LEAF_VERSION;
    leaf.kind = item->kind;
    leaf.recorded_at_ms = now_ms > self->recorded_at_ms ? now_ms : self->recorded_at_ms;
    leaf.action_id = (char *)(uintptr_t)item->action_id;
    leaf.previous_index = item->action_id[0] != '\0' ? item->expect : 0;
    leaf.keyid = (char *)(uintptr_t)item->keyid;
    leaf.verdict = (char *)(uintptr_t)item->verdict;
    leaf.commitment = (ProtobufCBinaryData){.len = sizeof commitment, .data = commitment};
    leaf.control_seq = item->control_seq;
    leaf.permits = item->permits;
    leaf.epoch = self->epoch;
    result->leaf_size = leaf_pack(&leaf, result->leaf);
    if (result->leaf_size == 0)
        return fail(why, STATUS_INTERNAL, "LEAF_TOO_LARGE", "a leaf came out larger than %u bytes",
                    LIMIT_LEAF_BYTES);
    self->recorded_at_ms = leaf.recorded_at_ms;
    return STATUS_OK;
}

static status_code seal_record(audit_log *self, const append *item, uint64_t index, const uint8_t *key,
                               bytes *sealed, failure *why) {
    size_t size = item->record.size + CRYPTO_SEAL_OVERHEAD;
    uint8_t *out = arena_alloc(&self->scratch, size);
    if (out == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to seal a record");
    record_seal(key, index, item->record, self->source, out);
    *sealed = bytes_of(out, size);
    return STATUS_OK;
}

status_code audit_log_add(audit_log *self, const append *item, append_result *result, failure *why) {
    uint8_t random[CRYPTO_SECRET_BYTES + LEAF_SALT_BYTES];
    chance_random(self->source, random, sizeof random);
    memcpy(result->salt, random + CRYPTO_SECRET_BYTES, LEAF_SALT_BYTES);
    result->outcome = APPEND_ADDED;
    result->index = self->frontier.size;
    bytes sealed = {0};
    status_code status = pack_new_leaf(self, item, result, why);
    if (status == STATUS_OK)
        status = seal_record(self, item, result->index, random, &sealed, why);
    if (status != STATUS_OK)
        return status;
    merkle_hash hash;
    merkle_created created[65];
    merkle_leaf_hash(bytes_of(result->leaf, result->leaf_size), &hash);
    size_t created_count = merkle_frontier_add(&self->frontier, &hash, created);
    for (size_t i = 0; i < created_count; i++)
        nodes_put(self->recent, &created[i]);
    audit_row row = {.index = result->index,
                     .leaf = bytes_of(result->leaf, result->leaf_size),
                     .created = created,
                     .created_count = created_count,
                     .sealed = sealed,
                     .key = random,
                     .salt = result->salt,
                     .action_id = item->action_id,
                     .previous = item->expect,
                     .digest = item->digest};
    status = audit_store_insert(&self->writer, &row, why);
    crypto_wipe(random, CRYPTO_SECRET_BYTES);
    return status;
}

/* ---- Deciding ---- */

static void refuse(append_result *result, Interlock__Audit__V1__Refusal__Reason reason) {
    result->outcome = APPEND_REFUSED;
    result->reason = reason;
}

/* Whether the stored record is the very one that is being appended again. After erasure nobody can tell. */
static status_code is_same_record(audit_log *self, uint64_t index, const append *item, bool *same,
                                  failure *why) {
    bytes packed = {0}, sealed = {0}, key = {0}, salt = {0};
    Interlock__Audit__V1__Leaf *leaf = NULL;
    status_code status = audit_store_read_leaf(&self->writer, index, &self->scratch, &packed, NULL, why);
    if (status == STATUS_OK)
        status = leaf_parse(packed, &self->scratch, &leaf, why);
    if (status == STATUS_OK)
        status = audit_store_read_body(&self->writer, index, &self->scratch, &sealed, &key, &salt, why);
    if (status != STATUS_OK)
        return status;
    *same = false;
    if (salt.size == LEAF_SALT_BYTES) {
        uint8_t commitment[CRYPTO_HASH_BYTES];
        leaf_commitment(salt.data, item->digest, commitment);
        *same = constant_time_equal(commitment, leaf->commitment.data, CRYPTO_HASH_BYTES);
    }
    return STATUS_OK;
}

/* `taken`: somebody has followed `expect`: with the same record, or with another. */
static status_code decide_taken(audit_log *self, const append *item, uint64_t taken, append_result *result,
                                failure *why) {
    bool same = false, found = false;
    status_code status = is_same_record(self, taken, item, &same, why);
    if (status != STATUS_OK)
        return status;
    result->outcome = same ? APPEND_REPEATED : APPEND_CONFLICT;
    result->index = taken;
    return same ? STATUS_OK : audit_store_latest(&self->writer, item->action_id, &found, &result->index, why);
}

/* *decided: the append is answered without adding anything. */
static status_code decide_place(audit_log *self, const append *item, append_result *result, bool *decided,
                                failure *why) {
    bool found = false;
    uint64_t index = 0;
    *decided = true;
    if (item->action_id[0] == '\0') {
        status_code status = audit_store_statement(&self->writer, item->digest, &found, &index, why);
        *decided = found;
        result->outcome = APPEND_REPEATED;
        result->index = index;
        return status;
    }
    status_code status =
        audit_store_successor(&self->writer, item->action_id, item->expect, &found, &index, why);
    if (status != STATUS_OK || found)
        return status != STATUS_OK ? status : decide_taken(self, item, index, result, why);
    if (item->expect == 0) {
        *decided = false;
        return STATUS_OK;
    }
    status = audit_store_latest(&self->writer, item->action_id, &found, &index, why);
    if (status != STATUS_OK)
        return status;
    *decided = !found || index != item->expect;
    if (!found)
        refuse(result, REASON(INVALID));
    result->outcome = found ? APPEND_CONFLICT : APPEND_REFUSED;
    result->index = index;
    return STATUS_OK;
}

static bool decide_counters(audit_log *self, const append *item, append_result *result) {
    size_t which = 0;
    switch (counters_charge(self->caps, item->charges, item->charge_count, chance_boot_ns(self->source),
                            &which, &result->retry_after_ms)) {
    case COUNTERS_CHARGED:
        return true;
    case COUNTERS_EXHAUSTED:
        refuse(result, REASON(COUNTER_EXHAUSTED));
        result->counter_key = item->charges[which].key;
        return false;
    case COUNTERS_FULL:
    default:
        refuse(result, REASON(UNAVAILABLE));
        result->retry_after_ms = DISK_FULL_RETRY_MS;
        return false;
    }
}

static status_code decide(audit_log *self, const append *item, append_result *result, failure *why) {
    bool decided = false;
    *result = (append_result){0};
    arena_reset(&self->scratch);
    status_code status = decide_place(self, item, result, &decided, why);
    if (status != STATUS_OK || decided)
        return status;
    if (append_is_permit(item) && item->control_seq < self->fence_seq) {
        refuse(result, REASON(FENCED));
        return STATUS_OK;
    }
    if (!decide_counters(self, item, result))
        return STATUS_OK;
    if (append_is_fence(item) && item->control_seq > self->fence_seq)
        self->fence_seq = item->control_seq;
    return audit_log_add(self, item, result, why);
}

/* ---- The group ---- */

status_code audit_log_sign(audit_log *self, failure *why) {
    checkpoint head = {.size = self->frontier.size};
    snprintf(head.origin, sizeof head.origin, "%s", self->roots->origin);
    merkle_frontier_root(&self->frontier, &head.root);
    buffer note;
    buffer_init(&note, NOTE_MAX_BYTES - 1);
    status_code status = checkpoint_sign(&head, self->key, &note, why);
    if (status == STATUS_OK && !buffer_ok(&note))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a checkpoint");
    if (status == STATUS_OK)
        status = audit_store_write_meta(&self->writer, "checkpoint", (int64_t)head.size, note.data, why);
    if (status == STATUS_OK)
        memcpy(self->note, note.data, note.size + 1);
    buffer_free(&note);
    return status;
}

static status_code write_counter(void *context, const char *key, const counter_state *state, failure *why) {
    return audit_store_write_counter(context, key, state, why);
}

static status_code delete_counter(void *context, const char *key, failure *why) {
    return audit_store_delete_counter(context, key, why);
}

static status_code decide_all(audit_log *self, append *const *group, size_t count, append_result *results,
                              failure *why) {
    status_code status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = decide(self, group[i], &results[i], why);
    return status;
}

static status_code finish_group(audit_log *self, uint64_t fence_before, failure *why) {
    status_code status = counters_changed(self->caps, write_counter, &self->writer, why);
    if (status == STATUS_OK && self->fence_seq != fence_before)
        status = audit_store_write_meta(&self->writer, "fence", (int64_t)self->fence_seq, "", why);
    if (status == STATUS_OK)
        status = counters_sweep(self->caps, chance_boot_ns(self->source), delete_counter, &self->writer, why);
    return status == STATUS_OK ? audit_log_sign(self, why) : status;
}

/* Whatever stopped the group, nothing of it is in the log. */
static status_code not_written(const failure *cause, failure *why) {
    bool full = cause->reason != NULL && strcmp(cause->reason, "DISK_FULL") == 0;
    status_code status =
        fail(why, STATUS_UNAVAILABLE, cause->reason != NULL ? cause->reason : "NOT_WRITTEN",
             "%s; nothing was written: %s", full ? "disk full at the audit log" : "not appended",
             full ? "free some space there and send it again" : cause->message);
    if (why != NULL)
        why->retry_after_ms = DISK_FULL_RETRY_MS;
    return status;
}

typedef struct group_undo {
    merkle_frontier frontier;
    uint64_t fence_seq;
    int64_t recorded_at_ms;
    char note[NOTE_MAX_BYTES];
} group_undo;

static void group_roll_back(audit_log *self, const group_undo *before) {
    store_rollback(&self->writer.base);
    counters_undo(self->caps);
    self->frontier = before->frontier;
    self->fence_seq = before->fence_seq;
    self->recorded_at_ms = before->recorded_at_ms;
    memcpy(self->note, before->note, sizeof self->note);
}

status_code audit_log_append(audit_log *self, append *const *group, size_t count, append_result *results,
                             failure *why) {
    failure cause = {0};
    group_undo before = {
        .frontier = self->frontier, .fence_seq = self->fence_seq, .recorded_at_ms = self->recorded_at_ms};
    memcpy(before.note, self->note, sizeof before.note);
    if (store_begin(&self->writer.base, &cause) != STATUS_OK)
        return not_written(&cause, why);
    status_code status = decide_all(self, group, count, results, &cause);
    bool added = self->frontier.size != before.frontier.size;
    if (status == STATUS_OK && !added) {
        group_roll_back(self, &before);
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = finish_group(self, before.fence_seq, &cause);
    if (status == STATUS_OK)
        status = store_commit(&self->writer.base, &cause);
    else
        status = STATUS_UNAVAILABLE; /* before the COMMIT everything can be taken back */
    if (status == STATUS_DATA_LOSS) {
        memcpy(self->note, before.note,
               sizeof self->note); /* what may not be durable must never be published */
        if (why != NULL)
            *why = cause;
        return STATUS_DATA_LOSS;
    }
    if (status != STATUS_OK) {
        group_roll_back(self, &before);
        return not_written(&cause, why);
    }
    counters_keep(self->caps);
    return STATUS_OK;
}

/* ---- Answers ---- */

static ProtobufCBinaryData binary(const void *data, size_t size) {
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY",
                "no memory for an answer; send it again unchanged");
}

static status_code put_proof(audit_log *self, arena *memory, Interlock__Audit__V1__Receipt *out,
                             failure *why) {
    merkle_proof proof;
    status_code status =
        merkle_prove_inclusion(out->index, self->frontier.size, nodes_read, self->recent, &proof, why);
    if (status != STATUS_OK)
        return status;
    uint8_t *hashes = arena_copy(memory, proof.hashes, proof.count * sizeof proof.hashes[0]);
    out->proof = arena_alloc(memory, (proof.count + 1) * sizeof *out->proof);
    if (hashes == NULL || out->proof == NULL)
        return no_memory(why);
    out->n_proof = proof.count;
    for (size_t i = 0; i < proof.count; i++)
        out->proof[i] = binary(hashes + i * MERKLE_HASH_BYTES, MERKLE_HASH_BYTES);
    return STATUS_OK;
}

static status_code make_receipt(audit_log *self, uint64_t index, bytes leaf, bytes salt, arena *memory,
                                Interlock__Audit__V1__Receipt **out, failure *why) {
    Interlock__Audit__V1__Receipt *receipt = arena_alloc(memory, sizeof *receipt);
    if (receipt == NULL)
        return no_memory(why);
    interlock__audit__v1__receipt__init(receipt);
    receipt->index = index;
    receipt->leaf = binary(leaf.data, leaf.size);
    receipt->salt = binary(salt.data, salt.size);
    receipt->term = self->term;
    receipt->checkpoint = arena_text(memory, self->note);
    if (receipt->checkpoint == NULL)
        return no_memory(why);
    *out = receipt;
    return put_proof(self, memory, receipt, why);
}

static status_code answer_added(audit_log *self, const append_result *result, arena *memory,
                                Interlock__Audit__V1__AppendResponse *out, failure *why) {
    const void *leaf = arena_copy(memory, result->leaf, result->leaf_size);
    const void *salt = arena_copy(memory, result->salt, LEAF_SALT_BYTES);
    if (leaf == NULL || salt == NULL)
        return no_memory(why);
    out->result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT;
    return make_receipt(self, result->index, bytes_of(leaf, result->leaf_size),
                        bytes_of(salt, LEAF_SALT_BYTES), memory, &out->receipt, why);
}

static status_code answer_repeated(audit_log *self, const append_result *result, arena *memory,
                                   Interlock__Audit__V1__AppendResponse *out, failure *why) {
    bytes leaf = {0}, sealed = {0}, key = {0}, salt = {0};
    status_code status = audit_store_read_leaf(&self->writer, result->index, memory, &leaf, NULL, why);
    if (status == STATUS_OK)
        status = audit_store_read_body(&self->writer, result->index, memory, &sealed, &key, &salt, why);
    if (status != STATUS_OK)
        return status;
    out->result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT;
    return make_receipt(self, result->index, leaf, salt, memory, &out->receipt, why);
}

static status_code answer_conflict(audit_log *self, const append_result *result, arena *memory,
                                   Interlock__Audit__V1__AppendResponse *out, failure *why) {
    Interlock__Audit__V1__Conflict *conflict = arena_alloc(memory, sizeof *conflict);
    if (conflict == NULL)
        return no_memory(why);
    interlock__audit__v1__conflict__init(conflict);
    status_code status = entry_read(&self->writer, result->index, memory, &conflict->latest, why);
    if (status != STATUS_OK)
        return status;
    const ProtobufCBinaryData *leaf = &conflict->latest->leaf, *salt = &conflict->latest->salt;
    out->result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT;
    out->conflict = conflict;
    return make_receipt(self, result->index, bytes_of(leaf->data, leaf->len), bytes_of(salt->data, salt->len),
                        memory, &conflict->receipt, why);
}

static char *refusal_message(const append_result *result, uint64_t fence, arena *memory) {
    switch (result->reason) {
    case REASON(FENCED):
        return arena_format(
            memory,
            "a kill switch was set with control_seq %llu, and this was decided before it; apply the "
            "control data and decide again",
            (unsigned long long)fence);
    case REASON(COUNTER_EXHAUSTED):
        return arena_format(memory, "the counter '%s' has no room%s", result->counter_key,
                            result->retry_after_ms == 0 ? ": the cost alone is above its cap"
                                                        : " now; try later");
    case REASON(UNAVAILABLE):
        return arena_format(memory, "audit keeps %u counters already; nothing was written, try again later",
                            COUNTERS_MAX);
    default:
        return arena_text(memory,
                          "expect names no record of this action; use the index from its last receipt");
    }
}

static status_code answer_refused(audit_log *self, const append_result *result, arena *memory,
                                  Interlock__Audit__V1__AppendResponse *out, failure *why) {
    Interlock__Audit__V1__Refusal *refusal = arena_alloc(memory, sizeof *refusal);
    if (refusal == NULL)
        return no_memory(why);
    interlock__audit__v1__refusal__init(refusal);
    refusal->reason = result->reason;
    refusal->retry_after_ms = result->retry_after_ms;
    refusal->message = refusal_message(result, self->fence_seq, memory);
    if (result->counter_key != NULL)
        refusal->counter_key = arena_text(memory, result->counter_key);
    if (refusal->message == NULL || refusal->counter_key == NULL)
        return no_memory(why);
    out->result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL;
    out->refusal = refusal;
    return STATUS_OK;
}

status_code audit_log_answer(audit_log *self, const append_result *result, arena *memory,
                             Interlock__Audit__V1__AppendResponse *out, failure *why) {
    Interlock__Audit__V1__AppendResponse made = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__INIT;
    status_code status = STATUS_OK;
    switch (result->outcome) {
    case APPEND_ADDED:
        status = answer_added(self, result, memory, &made, why);
        break;
    case APPEND_REPEATED:
        status = answer_repeated(self, result, memory, &made, why);
        break;
    case APPEND_CONFLICT:
        status = answer_conflict(self, result, memory, &made, why);
        break;
    case APPEND_REFUSED:
    default:
        status = answer_refused(self, result, memory, &made, why);
        break;
    }
    if (status == STATUS_OK) {
        out->result_case = made.result_case;
        out->receipt = made.receipt; /* one of the union's pointers, whichever it is */
    }
    return status;
}

/* ---- What it is ---- */

uint64_t audit_log_size(const audit_log *self) {
    return self->frontier.size;
}
uint64_t audit_log_term(const audit_log *self) {
    return self->term;
}
uint64_t audit_log_epoch(const audit_log *self) {
    return self->epoch;
}
uint64_t audit_log_fence(const audit_log *self) {
    return self->fence_seq;
}
const char *audit_log_note(const audit_log *self) {
    return self->note;
}
const char *audit_log_database(const audit_log *self) {
    return self->database;
}
const char *audit_log_published(const audit_log *self) {
    return self->published;
}
audit_store *audit_log_store(audit_log *self) {
    return &self->writer;
}
