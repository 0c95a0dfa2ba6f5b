/* What the signer's tests share: an installation, a log with decisions in it, and the receipt of one. Include
 * after the headers under test. */
#ifndef TEST_SIGNER_RECORDED_H
#define TEST_SIGNER_RECORDED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "control/trust.h"
#include "crypto/dsse.h"
#include "crypto/jws.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "merkle/note.h"
#include "wire/scan.h"

#define INSTALLATION "demo"
#define LOG_SIZE 5U
#define LOG_INDEX 3U /* where the decision stands */

typedef struct recorded {
    simulated_chance world;
    arena memory;
    trust roots;
    secret_key *checkpoint_key, *record_key, *permit_key, *agent_key, *stranger;
    /* The parts, to be changed by a test before recorded_append. */
    Interlock__Policy__V1__DecisionRecord record;
    Interlock__Policy__V1__Decision decision;
    Interlock__Policy__V1__PermitClaims claims;
    Interlock__Audit__V1__Leaf leaf;
    /* What came of it. */
    Interlock__Common__V1__Envelope *envelope;
    Interlock__Audit__V1__Receipt receipt;
    checkpoint tree;
} recorded;

static inline ProtobufCBinaryData binary(arena *memory, const void *data, size_t size) {
    return (ProtobufCBinaryData){.data = arena_copy(memory, data, size), .len = size};
}

static inline secret_key *key_new(recorded *self, key_purpose purpose, const char *principal) {
    secret_key *key = NULL;
    failure why = {0};
    assert_int_equal(secret_key_generate(&self->world.chance, purpose, &key, &why), STATUS_OK);
    if (principal != NULL) {
        trust_key *entry = &self->roots.keys[self->roots.count++];
        snprintf(entry->principal, sizeof entry->principal, "%s", principal);
        entry->purpose = purpose;
        entry->key = *secret_key_public(key);
    }
    return key;
}

static inline void recorded_action(recorded *self) {
    Interlock__Policy__V1__Action action = INTERLOCK__POLICY__V1__ACTION__INIT;
    char *targets[] = {"service:prod/shop/cart"};
    uint8_t digest[CRYPTO_HASH_BYTES], thumbprint[CRYPTO_HASH_BYTES];
    action.header = statement_header_new(PAYLOAD_ACTION, INSTALLATION, "agent/deployer", 60000,
                                         &self->world.chance, &self->memory);
    action.action_id = "a-1";
    action.verb = "deploy";
    action.targets = targets;
    action.n_targets = 1;
    self->record.action = dsse_sign_message(self->agent_key, PAYLOAD_ACTION, &action.base, &self->memory);
    assert_non_null(self->record.action);
    dsse_payload_digest(self->record.action, digest);
    jwk_thumbprint(secret_key_public(self->agent_key), thumbprint);
    self->decision.action_digest = binary(&self->memory, digest, sizeof digest);
    self->claims.action_digest = self->decision.action_digest;
    self->claims.effective_digest = self->decision.action_digest;
    self->claims.executor_thumbprint = binary(&self->memory, thumbprint, sizeof thumbprint);
}

static inline void recorded_decision(recorded *self) {
    interlock__policy__v1__decision_record__init(&self->record);
    interlock__policy__v1__decision__init(&self->decision);
    interlock__policy__v1__permit_claims__init(&self->claims);
    recorded_action(self);
    self->record.header = statement_header_new(PAYLOAD_DECISION, INSTALLATION, "service/policy", 0,
                                               &self->world.chance, &self->memory);
    self->record.decision = &self->decision;
    self->decision.action_id = "a-1";
    self->decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW;
    self->decision.mode = INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED;
    self->decision.control_seq = 7;
    self->decision.permit = &self->claims;
    self->claims.issuer = INSTALLATION;
    self->claims.audience = "executor/local";
    self->claims.permit_id = "a-1.00112233";
    self->claims.issued_at_s = 1790000000;
    self->claims.expires_at_s = 1790000060;
    self->claims.epoch = 2;
    self->claims.control_seq = 7;
    self->claims.policy_digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
}

static inline void recorded_leaf(recorded *self) {
    interlock__audit__v1__leaf__init(&self->leaf);
    self->leaf.version = 1;
    self->leaf.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION;
    self->leaf.recorded_at_ms = 1790000000123;
    self->leaf.action_id = "a-1";
    self->leaf.keyid = arena_text(&self->memory, secret_key_public(self->record_key)->keyid);
    self->leaf.verdict = "ALLOW";
    self->leaf.control_seq = 7;
    self->leaf.permits = true;
    self->leaf.epoch = 2;
}

static inline void recorded_make(recorded *self) {
    memset(self, 0, sizeof *self);
    crypto_init();
    simulated_chance_init(&self->world, 42);
    arena_init(&self->memory, 65536, 16U << 20);
    snprintf(self->roots.installation, sizeof self->roots.installation, INSTALLATION);
    snprintf(self->roots.origin, sizeof self->roots.origin, "demo/log");
    self->checkpoint_key = key_new(self, KEY_CHECKPOINT, "service/audit");
    self->record_key = key_new(self, KEY_RECORD, "service/policy");
    self->permit_key = key_new(self, KEY_PERMIT, "service/signer");
    self->agent_key = key_new(self, KEY_AGENT, NULL);
    self->stranger = key_new(self, KEY_CHECKPOINT, NULL);
    recorded_decision(self);
    recorded_leaf(self);
}

static inline void recorded_free(recorded *self) {
    secret_key_free(self->checkpoint_key);
    secret_key_free(self->record_key);
    secret_key_free(self->permit_key);
    secret_key_free(self->agent_key);
    secret_key_free(self->stranger);
    arena_free(&self->memory);
}

/* ---- A log of LOG_SIZE leaves ---- */

typedef struct nodes {
    merkle_created kept[64];
    size_t count;
} nodes;

static inline bool nodes_read(void *context, merkle_node node, merkle_hash *out) {
    const nodes *self = context;
    for (size_t i = 0; i < self->count; i++) {
        if (self->kept[i].node.level == node.level && self->kept[i].node.index == node.index) {
            *out = self->kept[i].hash;
            return true;
        }
    }
    return false;
}

static inline void recorded_prove(recorded *self, bytes packed_leaf) {
    nodes tree = {0};
    merkle_frontier frontier;
    merkle_frontier_init(&frontier);
    for (uint64_t i = 0; i < LOG_SIZE; i++) {
        merkle_hash hash;
        merkle_leaf_hash(i == LOG_INDEX ? packed_leaf : bytes_of(&i, sizeof i), &hash);
        tree.count += merkle_frontier_add(&frontier, &hash, &tree.kept[tree.count]);
    }
    self->tree = (checkpoint){.size = LOG_SIZE};
    memcpy(self->tree.origin, self->roots.origin, sizeof self->tree.origin);
    merkle_frontier_root(&frontier, &self->tree.root);
    merkle_proof proof;
    failure why = {0};
    assert_int_equal(merkle_prove_inclusion(LOG_INDEX, LOG_SIZE, nodes_read, &tree, &proof, &why), STATUS_OK);
    self->receipt.proof = arena_zero(&self->memory, proof.count, sizeof *self->receipt.proof);
    self->receipt.n_proof = proof.count;
    for (size_t i = 0; i < proof.count; i++)
        self->receipt.proof[i] = binary(&self->memory, proof.hashes[i].bytes, MERKLE_HASH_BYTES);
}

static inline char *recorded_note(recorded *self, const secret_key *key) {
    buffer note;
    failure why = {0};
    buffer_init(&note, NOTE_MAX_BYTES);
    assert_int_equal(checkpoint_sign(&self->tree, key, &note, &why), STATUS_OK);
    char *text = arena_text(&self->memory, note.data);
    buffer_free(&note);
    return text;
}

/* Signs the record, commits the leaf to it, and appends the leaf: the receipt is right for whatever the parts
 * say. */
static inline void recorded_append_as(recorded *self, const char *payload_type) {
    uint8_t salt[32], inner[CRYPTO_HASH_BYTES], outer[CRYPTO_HASH_BYTES];
    bytes packed_leaf;
    failure why = {0};
    memset(salt, 5, sizeof salt);
    self->envelope = dsse_sign_message(self->record_key, payload_type, &self->record.base, &self->memory);
    assert_non_null(self->envelope);
    sha256_two(bytes_of(payload_type, strlen(payload_type) + 1),
               bytes_of(self->envelope->payload.data, self->envelope->payload.len), inner);
    sha256_two(bytes_of(salt, sizeof salt), bytes_of(inner, sizeof inner), outer);
    self->leaf.commitment = binary(&self->memory, outer, sizeof outer);
    assert_int_equal(wire_pack(&self->leaf.base, &self->memory, &packed_leaf, &why), STATUS_OK);
    interlock__audit__v1__receipt__init(&self->receipt);
    self->receipt.index = LOG_INDEX;
    self->receipt.leaf = binary(&self->memory, packed_leaf.data, packed_leaf.size);
    self->receipt.salt = binary(&self->memory, salt, sizeof salt);
    recorded_prove(self, packed_leaf);
    self->receipt.checkpoint = recorded_note(self, self->checkpoint_key);
}

static inline void recorded_append(recorded *self) {
    recorded_append_as(self, PAYLOAD_DECISION);
}

#endif
