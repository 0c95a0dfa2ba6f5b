/* Verification: leaves, chains, commitments, tree, checkpoints. */
#include "verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "checkpoints.h"
#include "entry.h"

#define STEP_RECORDS 256U
#define SCRATCH_FIRST_BYTES (64U << 10)
#define SCRATCH_BYTES (8U << 20)
#define PROBLEM_BYTES 400U

typedef struct verification {
    audit_store *from;
    const verify_options *options;
    arena *memory; /* of the reply */
    arena scratch; /* of one record */
    Interlock__Audit__V1__VerifyResponse *out;
    merkle_frontier frontier;
    int64_t recorded_at_ms;
    uint64_t of_actions;
    checkpoint published;
    bool published_found;
} verification;

/* The list is full: what else is wrong is one more among many. */
static void problem(verification *self, const char *format, ...) PRINTF_LIKE(2, 3);
static void problem(verification *self, const char *format, ...) {
    char text[PROBLEM_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    self->out->ok = false;
    if (self->out->n_problems >= VERIFY_PROBLEMS_MAX)
        return;
    char *copy = arena_text(self->memory, text);
    if (copy != NULL)
        self->out->problems[self->out->n_problems++] = copy;
}

#define NUMBER(value) ((unsigned long long)(value))

static void check_published_root(verification *self) {
    merkle_hash root;
    if (!self->published_found || self->frontier.size != self->published.size)
        return;
    merkle_frontier_root(&self->frontier, &root);
    if (memcmp(root.bytes, self->published.root.bytes, MERKLE_HASH_BYTES) != 0)
        problem(self, "the tree of %llu records is not the one that was published",
                NUMBER(self->published.size));
}

static void check_hashes(verification *self, uint64_t index, bytes leaf, bytes stored) {
    merkle_hash hash;
    merkle_created created[65];
    merkle_leaf_hash(leaf, &hash);
    size_t count = merkle_frontier_add(&self->frontier, &hash, created);
    bool same = stored.size == count * MERKLE_HASH_BYTES;
    for (size_t i = 0; i < count && same; i++)
        same = memcmp(stored.data + i * MERKLE_HASH_BYTES, created[i].hash.bytes, MERKLE_HASH_BYTES) == 0;
    if (!same)
        problem(self, "index %llu: the stored hashes are not those of its leaf", NUMBER(index));
    check_published_root(self);
}

/* Each record is the one successor of its previous one; the table's key makes a second one impossible. */
static status_code check_chain(verification *self, uint64_t index, const Interlock__Audit__V1__Leaf *leaf,
                               failure *why) {
    bool found = false;
    uint64_t successor = 0;
    self->of_actions++;
    status_code status =
        audit_store_successor(self->from, leaf->action_id, leaf->previous_index, &found, &successor, why);
    if (status != STATUS_OK)
        return status;
    if (!found || successor != index)
        problem(self, "index %llu: the chain of action '%.100s' does not lead to it", NUMBER(index),
                leaf->action_id);
    if (leaf->previous_index == 0)
        return STATUS_OK;
    bytes packed = {0};
    Interlock__Audit__V1__Leaf *previous = NULL;
    if (leaf->previous_index >= index ||
        audit_store_read_leaf(self->from, leaf->previous_index, &self->scratch, &packed, NULL, why) !=
            STATUS_OK ||
        leaf_parse(packed, &self->scratch, &previous, why) != STATUS_OK ||
        strcmp(previous->action_id, leaf->action_id) != 0)
        problem(self, "index %llu: its previous record %llu is not one of action '%.100s'", NUMBER(index),
                NUMBER(leaf->previous_index), leaf->action_id);
    return STATUS_OK;
}

static status_code check_statement(verification *self, uint64_t index,
                                   const Interlock__Common__V1__Envelope *record, failure *why) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    bool found = false;
    uint64_t stored = 0;
    leaf_payload_digest(record, digest);
    status_code status = audit_store_statement(self->from, digest, &found, &stored, why);
    if (status == STATUS_OK && (!found || stored != index))
        problem(self, "index %llu: the statement is not found by its digest", NUMBER(index));
    return status;
}

static status_code check_body(verification *self, uint64_t index, const Interlock__Audit__V1__Leaf *leaf,
                              failure *why) {
    Interlock__Common__V1__Envelope *record = NULL;
    bytes salt = {0};
    failure inner = {0};
    status_code status = record_open(self->from, index, &self->scratch, &record, &salt, &inner);
    if (status == STATUS_DATA_LOSS) {
        problem(self, "index %llu: %.300s", NUMBER(index), inner.message);
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        if (why != NULL)
            *why = inner;
        return status;
    }
    if (record == NULL)
        return STATUS_OK; /* erased: the commitment can no longer be opened, which is the point */
    if (!leaf_opens(leaf, salt, record))
        problem(self, "index %llu: the record is not the one that its leaf commits to", NUMBER(index));
    if (record->n_signatures != 1 || strcmp(record->signatures[0]->keyid, leaf->keyid) != 0)
        problem(self, "index %llu: the record names another key than its leaf", NUMBER(index));
    return leaf->action_id[0] == '\0' ? check_statement(self, index, record, why) : STATUS_OK;
}

static status_code check_record(verification *self, uint64_t index, failure *why) {
    bytes packed = {0}, hashes = {0};
    Interlock__Audit__V1__Leaf *leaf = NULL;
    failure inner = {0};
    arena_reset(&self->scratch);
    status_code status = audit_store_read_leaf(self->from, index, &self->scratch, &packed, &hashes, &inner);
    if (status == STATUS_NOT_FOUND) {
        problem(self, "index %llu: the record is missing", NUMBER(index));
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        if (why != NULL)
            *why = inner;
        return status;
    }
    check_hashes(self, index, packed, hashes);
    if (leaf_parse(packed, &self->scratch, &leaf, &inner) != STATUS_OK) {
        problem(self, "index %llu: %.300s", NUMBER(index), inner.message);
        return STATUS_OK;
    }
    if (leaf->recorded_at_ms < self->recorded_at_ms)
        problem(self, "index %llu: recorded before its predecessor", NUMBER(index));
    if ((leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS) != (index == 0))
        problem(self, "index %llu: the genesis record is the first one and no other", NUMBER(index));
    self->recorded_at_ms = leaf->recorded_at_ms;
    status = leaf->action_id[0] != '\0' ? check_chain(self, index, leaf, why) : STATUS_OK;
    return status == STATUS_OK ? check_body(self, index, leaf, why) : status;
}

/* One transaction: an erasure falls between two steps, never between the two rows of a record. */
static status_code check_step(verification *self, uint64_t from, uint64_t until, failure *why) {
    status_code status = store_begin(&self->from->base, why);
    for (uint64_t index = from; index < until && status == STATUS_OK; index++)
        status = check_record(self, index, why);
    store_rollback(&self->from->base);
    return status;
}

static status_code check_records(verification *self, failure *why) {
    status_code status = STATUS_OK;
    uint64_t size = self->out->tree_size;
    for (uint64_t from = 0; from < size && status == STATUS_OK; from += STEP_RECORDS) {
        if (self->options->wanted != NULL && !self->options->wanted(self->options->context))
            return fail(why, STATUS_CANCELLED, "VERIFY_CANCELLED", "verification ended at index %llu of %llu",
                        NUMBER(from), NUMBER(size));
        status = check_step(self, from, from + STEP_RECORDS < size ? from + STEP_RECORDS : size, why);
    }
    return status;
}

static void check_head(verification *self) {
    checkpoint head = {0};
    merkle_hash root;
    failure inner = {0};
    merkle_frontier_root(&self->frontier, &root);
    memcpy(self->out->root.data, root.bytes, MERKLE_HASH_BYTES);
    if (checkpoint_verify_any(self->options->roots, bytes_of_text(self->out->checkpoint), &head, &inner) !=
        STATUS_OK)
        problem(self, "the latest checkpoint: %.300s", inner.message);
    else if (head.size != self->out->tree_size || memcmp(head.root.bytes, root.bytes, MERKLE_HASH_BYTES) != 0)
        problem(self, "the latest checkpoint signs another tree, of %llu records", NUMBER(head.size));
    if (self->published_found && self->published.size > self->out->tree_size)
        problem(self, "%llu records were published, %llu are here", NUMBER(self->published.size),
                NUMBER(self->out->tree_size));
}

static status_code check_totals(verification *self, failure *why) {
    uint64_t rows = 0;
    status_code status = audit_store_action_rows(self->from, self->out->tree_size, &rows, why);
    if (status == STATUS_OK && rows != self->of_actions)
        problem(self, "%llu records belong to actions, but the chains have %llu", NUMBER(self->of_actions),
                NUMBER(rows));
    return status;
}

/* The published checkpoint first: it can only be older than the database that is then looked at. */
static status_code begin(verification *self, failure *why) {
    audit_meta meta;
    failure inner = {0};
    if (checkpoint_read_published(self->options->published, self->options->roots, &self->published_found,
                                  &self->published, &inner) != STATUS_OK)
        problem(self, "%.300s", inner.message);
    status_code status = store_begin(&self->from->base, why);
    if (status == STATUS_OK)
        status = audit_store_size(self->from, &self->out->tree_size, why);
    if (status == STATUS_OK)
        status = audit_store_read_meta(self->from, "checkpoint", self->memory, &meta, why);
    store_rollback(&self->from->base);
    if (status == STATUS_OK)
        self->out->checkpoint = (char *)(uintptr_t)meta.text;
    return status;
}

static status_code run(verification *self, failure *why) {
    merkle_frontier_init(&self->frontier);
    status_code status = begin(self, why);
    if (status == STATUS_OK)
        status = check_records(self, why);
    if (status != STATUS_OK)
        return status;
    check_head(self);
    return check_totals(self, why);
}

status_code log_verify(audit_store *from, const verify_options *options, arena *memory,
                       Interlock__Audit__V1__VerifyResponse *out, failure *why) {
    verification self = {.from = from, .options = options, .memory = memory, .out = out};
    out->ok = true;
    out->root =
        (ProtobufCBinaryData){.len = MERKLE_HASH_BYTES, .data = arena_zero(memory, 1, MERKLE_HASH_BYTES)};
    out->problems = arena_zero(memory, VERIFY_PROBLEMS_MAX, sizeof *out->problems);
    if (out->root.data == NULL || out->problems == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the report");
    arena_init(&self.scratch, SCRATCH_FIRST_BYTES, SCRATCH_BYTES);
    status_code status = run(&self, why);
    arena_free(&self.scratch);
    return status;
}
