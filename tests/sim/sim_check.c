/* What must hold, whatever happened:
 *
 *   of every answer   its receipt verifies offline (checkpoint, proof, leaf, commitment), the decision is the
 * one in the record, the permit is signed and of that record; no permit leaves more than three seconds after
 * a kill switch that covers it was set; asked again, the same action got the same final decision and the same
 * permit, byte for byte of the log        it verifies as audit verifies it; each action has one history, each
 * record following the one before it; one action an id; nothing is decided after a final decision; nothing is
 * permitted under a kill switch that the decision's own control data shows; after a fence no permit has a
 * lower control_seq; no window holds more permits of an agent than its cap of both every answered decision is
 * in the log under its index, bit for bit, after all crashes; every checkpoint that was handed out is
 * consistent with the last one */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "crypto/dsse.h"
#include "crypto/jws.h"
#include "entry.h"
#include "nodes.h"
#include "verify.h"
#include "wire/scan.h"

#define LOG_MAX 8192U

static uint64_t distance(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

static void digest_of(const ProtobufCMessage *message, arena *memory, uint8_t out[CRYPTO_HASH_BYTES]) {
    bytes packed = {0};
    if (wire_pack(message, memory, &packed, NULL) != STATUS_OK)
        abort();
    sha256(packed, out);
}

/* Said again here, so that the check does not believe the code that it checks. */
static bool is_final(const Interlock__Policy__V1__Decision *decision) {
    return decision->outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW ||
           decision->outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_MODIFY ||
           decision->outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY;
}

/* ---- An answer ---- */

static const Interlock__Audit__V1__Leaf *check_receipt(sim *self,
                                                       const Interlock__Audit__V1__Receipt *receipt,
                                                       const Interlock__Common__V1__Envelope *record,
                                                       arena *memory) {
    failure why = {0};
    checkpoint *head = &self->heads[self->head_count];
    Interlock__Audit__V1__Leaf *leaf = NULL;
    merkle_proof proof = {.count = receipt->n_proof};
    merkle_hash hash;
    bytes packed = bytes_of(receipt->leaf.data, receipt->leaf.len);
    sim_require(self,
                checkpoint_verify(bytes_of_text(receipt->checkpoint), self->roots.origin,
                                  secret_key_public(self->checkpoint_key), head, &why) == STATUS_OK,
                "the checkpoint of a receipt verifies");
    sim_require(self, receipt->n_proof <= MERKLE_PROOF_MAX, "a proof is short");
    for (size_t i = 0; i < receipt->n_proof; i++)
        memcpy(proof.hashes[i].bytes, receipt->proof[i].data, MERKLE_HASH_BYTES);
    merkle_leaf_hash(packed, &hash);
    sim_require(self, merkle_verify_inclusion(&hash, receipt->index, head->size, &proof, &head->root),
                "the proof of a receipt verifies");
    sim_require(self, leaf_parse(packed, memory, &leaf, &why) == STATUS_OK,
                "the leaf of a receipt can be read");
    sim_require(self, leaf_opens(leaf, bytes_of(receipt->salt.data, receipt->salt.len), record),
                "a receipt is for the record it came with");
    if (self->head_count + 1 < SIM_ANSWERS)
        self->head_count++;
    return leaf;
}

/* Since when the kill switch has been set without a break; UINT64_MAX: it is not set. */
static uint64_t set_since(const sim *self, unsigned kill) {
    uint64_t since = UINT64_MAX;
    for (size_t i = 0; i < self->snapshot_count; i++) {
        const control_snapshot *at = &self->snapshots[i];
        if (!at->kill_set[kill])
            since = UINT64_MAX;
        else if (since == UINT64_MAX)
            since = at->since_ns;
    }
    return since;
}

static void check_permit(sim *self, const Interlock__Policy__V1__EvaluateResponse *response) {
    const Interlock__Policy__V1__Decision *decision = response->decision;
    failure why = {0};
    buffer claims;
    buffer_init(&claims, 8192);
    sim_require(self, decision->permit != NULL, "a permit is of a decision that permits");
    sim_require(self,
                jws_verify(secret_key_public(self->permit_key), JWS_PERMIT_TYPE,
                           bytes_of_text(response->permit), &claims, &why) == STATUS_OK,
                "a permit verifies");
    buffer_free(&claims);
    unsigned covering = control_kills_of(decision->principal, decision->verb);
    for (unsigned i = 0; i < SIM_KILLS; i++)
        if ((covering >> i & 1) != 0 && set_since(self, i) != UINT64_MAX)
            sim_require(self, distance(set_since(self, i), sim_now(self)) <= CONTROL_FRESH_MS * SIM_MS,
                        "no permit leaves 3 s after a kill switch that covers it");
}

/* The same final decision, and the same permit. */
static void check_repeated(sim *self, const sim_answer *now) {
    for (size_t i = 0; i < self->answer_count; i++) {
        const sim_answer *before = &self->answers[i];
        if (strcmp(before->id, now->id) != 0 || !before->final || !now->final)
            continue;
        sim_require(self, memcmp(before->digest, now->digest, sizeof now->digest) == 0,
                    "one action id has one action");
        sim_require(self, memcmp(before->decision, now->decision, sizeof now->decision) == 0,
                    "the same action gets the same final decision");
        sim_require(self, memcmp(before->permit, now->permit, sizeof now->permit) == 0,
                    "the same action gets the same permit");
    }
}

void check_answer(sim *self, const evaluation *from,
                  const Interlock__Policy__V1__EvaluateResponse *response) {
    const Interlock__Policy__V1__Decision *decision = response->decision;
    ProtobufCMessage *recorded = NULL;
    uint8_t in_record[CRYPTO_HASH_BYTES];
    arena memory;
    arena_init(&memory, 16384, 4U << 20);
    const Interlock__Audit__V1__Leaf *leaf = check_receipt(self, response->receipt, from->record, &memory);
    sim_answer now = {.index = response->receipt->index,
                      .final = is_final(decision),
                      .permits = response->permit[0] != '\0'};
    (void)snprintf(now.id, sizeof now.id, "%s", decision->action_id);
    memcpy(now.digest, from->proposed.digest, sizeof now.digest);
    digest_of(&decision->base, &memory, now.decision);
    sha256(bytes_of_text(response->permit), now.permit);
    sha256(bytes_of(response->receipt->leaf.data, response->receipt->leaf.len), now.leaf);
    sim_require(self,
                wire_unpack(&interlock__policy__v1__decision_record__descriptor,
                            bytes_of(from->record->payload.data, from->record->payload.len), &memory,
                            &recorded, NULL) == STATUS_OK,
                "a record can be read");
    digest_of(&((const Interlock__Policy__V1__DecisionRecord *)recorded)->decision->base, &memory, in_record);
    sim_require(self, memcmp(in_record, now.decision, sizeof in_record) == 0,
                "the answer is what the record says");
    sim_require(self, memcmp(decision->action_digest.data, now.digest, sizeof now.digest) == 0,
                "the answer is about the action that was asked for");
    sim_require(self, strcmp(leaf->action_id, now.id) == 0, "the leaf is of that action");
    sim_require(self, !now.permits || leaf->permits, "a permit is of a record that permits");
    if (now.permits)
        check_permit(self, response);
    check_repeated(self, &now);
    if (self->answer_count < SIM_ANSWERS)
        self->answers[self->answer_count++] = now;
    arena_free(&memory);
}

/* ---- The log ---- */

typedef struct history {
    char id[24];
    uint64_t latest;
    bool final;
    uint8_t digest[CRYPTO_HASH_BYTES]; /* of its first decision's action */
} history;

typedef struct walk {
    history actions[SIM_ATTEMPTS];
    size_t action_count;
    uint64_t fence_seq;
    int64_t recorded_at_ms;
    struct {
        char principal[24];
        int64_t at_ms;
    } permits[LOG_MAX];
    size_t permit_count;
    uint8_t leaves[LOG_MAX][CRYPTO_HASH_BYTES], decisions[LOG_MAX][CRYPTO_HASH_BYTES];
} walk;

static walk walked;

static history *history_of(const char *id) {
    for (size_t i = 0; i < walked.action_count; i++)
        if (strcmp(walked.actions[i].id, id) == 0)
            return &walked.actions[i];
    history *made = &walked.actions[walked.action_count++];
    *made = (history){0};
    (void)snprintf(made->id, sizeof made->id, "%s", id);
    return made;
}

static void check_window(sim *self, const char *principal, int64_t at_ms) {
    unsigned within = 1;
    for (size_t i = 0; i < walked.permit_count; i++)
        within += strcmp(walked.permits[i].principal, principal) == 0 &&
                  at_ms - walked.permits[i].at_ms < (int64_t)SIM_RATE_WINDOW_MS;
    sim_require(self, within <= SIM_RATE_CAP, "no window holds more than the cap");
    (void)snprintf(walked.permits[walked.permit_count].principal, sizeof walked.permits[0].principal, "%s",
                   principal);
    walked.permits[walked.permit_count++].at_ms = at_ms;
}

/* The control data that a permit rests on shows no kill switch that covers it. */
static void check_kills(sim *self, const Interlock__Policy__V1__Decision *decision) {
    unsigned covering = control_kills_of(decision->principal, decision->verb);
    for (size_t i = 0; i < self->snapshot_count; i++)
        for (unsigned kill = 0; kill < SIM_KILLS && self->snapshots[i].seq == decision->control_seq; kill++)
            sim_require(self, (covering >> kill & 1) == 0 || !self->snapshots[i].kill_set[kill],
                        "nothing is permitted under a kill switch");
}

static void check_decision(sim *self, const Interlock__Audit__V1__Entry *entry,
                           const Interlock__Audit__V1__Leaf *leaf, history *of, arena *memory) {
    ProtobufCMessage *message = NULL;
    failure why = {0};
    if (wire_unpack(&interlock__policy__v1__decision_record__descriptor,
                    bytes_of(entry->record->payload.data, entry->record->payload.len), memory, &message,
                    &why) != STATUS_OK)
        sim_fail(self, "record %llu: %s", (unsigned long long)entry->index, why.message);
    const Interlock__Policy__V1__Decision *decision =
        ((const Interlock__Policy__V1__DecisionRecord *)message)->decision;
    digest_of(&decision->base, memory, walked.decisions[entry->index]);
    sim_require(self, !of->final, "nothing is decided after a final decision");
    if (leaf->previous_index == 0)
        memcpy(of->digest, decision->action_digest.data, sizeof of->digest);
    sim_require(self, memcmp(of->digest, decision->action_digest.data, sizeof of->digest) == 0,
                "an id's decisions are about one action");
    of->final = is_final(decision);
    sim_require(self, leaf->permits == (decision->permit != NULL),
                "the leaf says whether a permit may come of it");
    if (!leaf->permits)
        return;
    check_kills(self, decision);
    sim_require(self, leaf->control_seq >= walked.fence_seq,
                "after a fence no permit has a lower control_seq");
    check_window(self, decision->principal, leaf->recorded_at_ms);
}

static void check_entry(sim *self, uint64_t index, arena *memory) {
    Interlock__Audit__V1__Entry *entry = NULL;
    Interlock__Audit__V1__Leaf *leaf = NULL;
    failure why = {0};
    if (entry_read(audit_log_store(self->log), index, memory, &entry, &why) != STATUS_OK ||
        leaf_parse(bytes_of(entry->leaf.data, entry->leaf.len), memory, &leaf, &why) != STATUS_OK)
        sim_fail(self, "entry %llu: %s", (unsigned long long)index, why.message);
    sim_require(self, leaf_opens(leaf, bytes_of(entry->salt.data, entry->salt.len), entry->record),
                "every leaf opens to its record");
    sim_require(self, leaf->recorded_at_ms >= walked.recorded_at_ms, "recorded time never runs back");
    walked.recorded_at_ms = leaf->recorded_at_ms;
    sha256(bytes_of(entry->leaf.data, entry->leaf.len), walked.leaves[index]);
    if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_KILL &&
        strcmp(leaf->verdict, "SET") == 0 && leaf->control_seq > walked.fence_seq)
        walked.fence_seq = leaf->control_seq;
    if (leaf->action_id[0] == '\0')
        return;
    history *of = history_of(leaf->action_id);
    sim_require(self, leaf->previous_index == of->latest, "each record follows its action's latest");
    of->latest = index;
    if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION)
        check_decision(self, entry, leaf, of, memory);
}

static void check_answers_are_in_the_log(sim *self, uint64_t size) {
    for (size_t i = 0; i < self->answer_count; i++) {
        const sim_answer *one = &self->answers[i];
        sim_require(self, one->index < size, "every answered decision is in the log");
        sim_require(self, memcmp(walked.leaves[one->index], one->leaf, sizeof one->leaf) == 0,
                    "under its index stands the leaf that the receipt showed");
        sim_require(self, memcmp(walked.decisions[one->index], one->decision, sizeof one->decision) == 0,
                    "under its index stands the decision that was answered");
    }
}

static void check_heads(sim *self, uint64_t size) {
    checkpoint last;
    failure why = {0};
    sim_require(self,
                checkpoint_verify(bytes_of_text(audit_log_note(self->log)), self->roots.origin,
                                  secret_key_public(self->checkpoint_key), &last, &why) == STATUS_OK,
                "the last checkpoint verifies");
    for (size_t i = 0; i < self->head_count; i++) {
        merkle_proof proof;
        const checkpoint *one = &self->heads[i];
        sim_require(self, one->size <= size, "no checkpoint is of a larger tree than the last");
        sim_require(self,
                    merkle_prove_consistency(one->size, size, audit_store_read_node,
                                             audit_log_store(self->log), &proof, &why) == STATUS_OK &&
                        merkle_verify_consistency(one->size, &one->root, size, &last.root, &proof),
                    "every checkpoint is consistent with the last");
    }
}

void check_log(sim *self) {
    failure why = {0};
    arena memory;
    arena_init(&memory, 1U << 16, 64U << 20);
    uint64_t size = audit_log_size(self->log);
    sim_require(self, size <= LOG_MAX, "the log fits the check");
    walked = (walk){0};
    for (uint64_t i = 0; i < size; i++) {
        check_entry(self, i, &memory);
        arena_reset(&memory);
    }
    check_answers_are_in_the_log(self, size);
    check_heads(self, size);
    Interlock__Audit__V1__VerifyResponse found = INTERLOCK__AUDIT__V1__VERIFY_RESPONSE__INIT;
    verify_options options = {.roots = &self->roots, .published = audit_log_published(self->log)};
    audit_store reader;
    if (audit_store_open_reader(&reader, audit_log_database(self->log), &why) != STATUS_OK ||
        log_verify(&reader, &options, &memory, &found, &why) != STATUS_OK)
        sim_fail(self, "cannot verify: %s", why.message);
    if (!found.ok)
        sim_fail(self, "the log does not verify: %s", found.problems[0]);
    audit_store_close(&reader);
    arena_free(&memory);
}
