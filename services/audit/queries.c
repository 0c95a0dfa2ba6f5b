/* Pages, proofs and batches of records. */
#include "queries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"

typedef Interlock__Audit__V1__QueryRequest query_request;
typedef Interlock__Audit__V1__QueryResponse query_response;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY",
                "no memory for the reply; ask for less at a time");
}

/* ---- Pages ---- */

typedef struct page {
    audit_store *from;
    const query_request *request;
    arena *memory;
    query_response *out;
    size_t room, bytes_taken;
    uint64_t size, next;
    bool full, past_the_end; /* until_ms was reached: nothing later can match */
} page;

/* A token is the index to go on from. */
static status_code parse_token(const char *token, uint64_t *out, failure *why) {
    if (token[0] == '\0') {
        *out = 0;
        return STATUS_OK;
    }
    size_t digits = strspn(token, "0123456789");
    if (token[digits] != '\0' || digits > 18)
        return fail_field(why, "page_token", "PAGE_TOKEN",
                          "the token is not one of a previous page; begin without one");
    *out = strtoull(token, NULL, 10);
    return STATUS_OK;
}

static bool leaf_matches(const query_request *request, const Interlock__Audit__V1__Leaf *leaf) {
    if (request->kind != 0 && leaf->kind != request->kind)
        return false;
    if (request->verdict[0] != '\0' && strcmp(leaf->verdict, request->verdict) != 0)
        return false;
    if (request->action_id[0] != '\0' && strcmp(leaf->action_id, request->action_id) != 0)
        return false;
    return leaf->recorded_at_ms >= request->since_ms;
}

static status_code read_leaf(audit_store *from, uint64_t index, arena *memory,
                             Interlock__Audit__V1__Leaf **out, failure *why) {
    bytes packed = {0};
    status_code status = audit_store_read_leaf(from, index, memory, &packed, NULL, why);
    return status == STATUS_OK ? leaf_parse(packed, memory, out, why) : status;
}

/* Looks at one record with memory of its own, and takes it into the page when it matches. */
static status_code page_look(page *self, uint64_t index, arena *scratch, failure *why) {
    Interlock__Audit__V1__Leaf *leaf = NULL;
    arena_reset(scratch);
    status_code status = read_leaf(self->from, index, scratch, &leaf, why);
    if (status != STATUS_OK)
        return status;
    if (self->request->until_ms != 0 && leaf->recorded_at_ms > self->request->until_ms) {
        self->past_the_end = true;
        return STATUS_OK;
    }
    if (leaf_matches(self->request, leaf)) {
        Interlock__Audit__V1__Entry *entry = NULL;
        if ((status = entry_read(self->from, index, self->memory, &entry, why)) != STATUS_OK)
            return status;
        self->out->entries[self->out->n_entries++] = entry;
        self->bytes_taken += entry_size(entry);
    }
    self->next = index + 1;
    self->full = self->out->n_entries == self->room || self->bytes_taken >= QUERY_PAGE_BYTES;
    return STATUS_OK;
}

static status_code fill_from_log(page *self, arena *scratch, failure *why) {
    status_code status = STATUS_OK;
    uint64_t end = self->next + QUERY_SCAN_MAX < self->size ? self->next + QUERY_SCAN_MAX : self->size;
    for (uint64_t index = self->next;
         index < end && status == STATUS_OK && !self->full && !self->past_the_end; index++)
        status = page_look(self, index, scratch, why);
    return status;
}

static status_code fill_from_action(page *self, arena *scratch, failure *why) {
    uint64_t indices[QUERY_PAGE_MAX];
    size_t count = 0;
    status_code status = audit_store_action(self->from, self->request->action_id, self->next, indices,
                                            QUERY_PAGE_MAX, &count, why);
    for (size_t i = 0; i < count && status == STATUS_OK && !self->full && !self->past_the_end; i++)
        status = page_look(self, indices[i], scratch, why);
    if (status == STATUS_OK && count < QUERY_PAGE_MAX && !self->full)
        self->past_the_end = true;
    return status;
}

/* Time never runs backwards in the log, so the first record at or after since_ms is found by halving. */
static status_code skip_to_since(page *self, arena *scratch, failure *why) {
    uint64_t low = self->next, high = self->size;
    while (self->request->since_ms > 0 && low < high) {
        uint64_t middle = low + (high - low) / 2;
        Interlock__Audit__V1__Leaf *leaf = NULL;
        arena_reset(scratch);
        status_code status = read_leaf(self->from, middle, scratch, &leaf, why);
        if (status != STATUS_OK)
            return status;
        if (leaf->recorded_at_ms < self->request->since_ms)
            low = middle + 1;
        else
            high = middle;
    }
    self->next = low;
    return STATUS_OK;
}

static status_code fill_page(page *self, failure *why) {
    arena scratch;
    arena_init(&scratch, 16U << 10, 64U << 10);
    status_code status = skip_to_since(self, &scratch, why);
    if (status == STATUS_OK)
        status = self->request->action_id[0] != '\0' ? fill_from_action(self, &scratch, why)
                                                     : fill_from_log(self, &scratch, why);
    arena_free(&scratch);
    if (status != STATUS_OK || self->past_the_end || self->next >= self->size)
        return status;
    self->out->next_page_token = arena_format(self->memory, "%llu", (unsigned long long)self->next);
    return self->out->next_page_token == NULL ? no_memory(why) : STATUS_OK;
}

static status_code check_query(const query_request *request, failure *why) {
    if (request->page_size > QUERY_PAGE_MAX)
        return fail_field(why, "page_size", "PAGE_SIZE", "a page has 1 to %u records", QUERY_PAGE_MAX);
    if (strlen(request->action_id) > LIMIT_ACTION_ID_BYTES)
        return fail_field(why, "action_id", "ACTION_ID_TOO_LONG", "an action id has at most %u bytes",
                          LIMIT_ACTION_ID_BYTES);
    return STATUS_OK;
}

status_code log_query(audit_store *from, const query_request *request, arena *memory, query_response *out,
                      failure *why) {
    page self = {.from = from, .request = request, .memory = memory, .out = out};
    self.room = request->page_size == 0 ? QUERY_PAGE_DEFAULT : request->page_size;
    status_code status = check_query(request, why);
    if (status == STATUS_OK)
        status = parse_token(request->page_token, &self.next, why);
    if (status != STATUS_OK)
        return status;
    out->entries = arena_alloc(memory, self.room * sizeof(void *));
    if (out->entries == NULL)
        return no_memory(why);
    if ((status = store_begin(&from->base, why)) != STATUS_OK)
        return status;
    status = audit_store_size(from, &self.size, why);
    if (status == STATUS_OK)
        status = fill_page(&self, why);
    store_rollback(&from->base);
    return status;
}

/* ---- Proofs ---- */

typedef Interlock__Audit__V1__GetProofRequest proof_request;
typedef Interlock__Audit__V1__GetProofResponse proof_response;

static status_code put_hashes(const merkle_proof *proof, arena *memory, proof_response *out, failure *why) {
    const uint8_t *copy = arena_copy(memory, proof->hashes, proof->count * sizeof proof->hashes[0]);
    out->hashes = arena_alloc(memory, (proof->count + 1) * sizeof *out->hashes);
    if (copy == NULL || out->hashes == NULL)
        return no_memory(why);
    out->n_hashes = proof->count;
    for (size_t i = 0; i < proof->count; i++)
        out->hashes[i] = (ProtobufCBinaryData){.len = MERKLE_HASH_BYTES,
                                               .data = (uint8_t *)(uintptr_t)copy + i * MERKLE_HASH_BYTES};
    return STATUS_OK;
}

static status_code put_root(audit_store *from, uint64_t size, arena *memory, proof_response *out,
                            failure *why) {
    merkle_frontier frontier;
    merkle_hash root;
    status_code status = merkle_frontier_load(&frontier, size, audit_store_read_node, from, why);
    if (status != STATUS_OK)
        return status;
    merkle_frontier_root(&frontier, &root);
    out->root = (ProtobufCBinaryData){.len = MERKLE_HASH_BYTES,
                                      .data = arena_copy(memory, root.bytes, MERKLE_HASH_BYTES)};
    return out->root.data == NULL ? no_memory(why) : STATUS_OK;
}

static status_code put_leaf(audit_store *from, uint64_t index, arena *memory, proof_response *out,
                            failure *why) {
    bytes leaf = {0};
    status_code status = audit_store_read_leaf(from, index, memory, &leaf, NULL, why);
    if (status == STATUS_OK)
        out->leaf = (ProtobufCBinaryData){.len = leaf.size, .data = (uint8_t *)(uintptr_t)leaf.data};
    return status;
}

static status_code prove(audit_store *from, const proof_request *request, uint64_t latest, arena *memory,
                         proof_response *out, failure *why) {
    merkle_proof proof;
    bool inclusion = request->proof_case == INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF_INDEX;
    uint64_t size = request->tree_size == 0 ? latest : request->tree_size;
    if (size > latest)
        return fail(why, STATUS_OUT_OF_RANGE, "TREE_SIZE",
                    "the log has %llu records; a tree of %llu is not yet", (unsigned long long)latest,
                    (unsigned long long)size);
    status_code status =
        inclusion
            ? merkle_prove_inclusion(request->index, size, audit_store_read_node, from, &proof, why)
            : merkle_prove_consistency(request->from_size, size, audit_store_read_node, from, &proof, why);
    if (status == STATUS_OK)
        status = put_hashes(&proof, memory, out, why);
    if (status == STATUS_OK)
        status = put_root(from, size, memory, out, why);
    if (status == STATUS_OK && inclusion)
        status = put_leaf(from, request->index, memory, out, why);
    out->tree_size = size;
    return status;
}

status_code log_prove(audit_store *from, const proof_request *request, arena *memory, proof_response *out,
                      failure *why) {
    audit_meta meta;
    uint64_t latest = 0;
    if (request->proof_case == INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF__NOT_SET)
        return fail_field(why, "proof", "PROOF_MISSING", "ask for an index or for a size to start from");
    status_code status = store_begin(&from->base, why);
    if (status != STATUS_OK)
        return status;
    status = audit_store_read_meta(from, "checkpoint", memory, &meta, why);
    if (status == STATUS_OK)
        status = audit_store_size(from, &latest, why);
    if (status == STATUS_OK)
        status = prove(from, request, latest, memory, out, why);
    store_rollback(&from->base);
    if (status == STATUS_OK)
        out->checkpoint = (char *)(uintptr_t)meta.text;
    return status;
}

/* ---- Batches ---- */

static status_code read_for_tail(audit_store *from, uint64_t index, bool light, arena *memory,
                                 Interlock__Audit__V1__Entry **out, failure *why) {
    Interlock__Audit__V1__Leaf *leaf = NULL;
    status_code status = entry_read(from, index, memory, out, why);
    if (status != STATUS_OK || !light)
        return status;
    status = leaf_parse(bytes_of((*out)->leaf.data, (*out)->leaf.len), memory, &leaf, why);
    if (status == STATUS_OK && leaf->action_id[0] != '\0' &&
        leaf->kind != INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CHAIN)
        (*out)->record = NULL;
    return status;
}

status_code log_tail_batch(audit_store *from, uint64_t index, uint64_t size, bool light, arena *memory,
                           Interlock__Audit__V1__TailResponse *out, failure *why) {
    size_t taken = 0;
    Interlock__Audit__V1__Entry **entries = arena_alloc(memory, TAIL_BATCH_ENTRIES * sizeof(void *));
    if (entries == NULL)
        return no_memory(why);
    status_code status = store_begin(&from->base, why);
    size_t count = 0;
    for (; index < size && count < TAIL_BATCH_ENTRIES && taken < TAIL_BATCH_BYTES && status == STATUS_OK;
         index++) {
        status = read_for_tail(from, index, light, memory, &entries[count], why);
        if (status == STATUS_OK)
            taken += entry_size(entries[count++]);
    }
    store_rollback(&from->base);
    if (status != STATUS_OK)
        return status;
    out->entries = entries;
    out->n_entries = count;
    out->tree_size = size;
    return STATUS_OK;
}
