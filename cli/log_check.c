/* The log judged from outside. */
#include "log_check.h"

#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/dsse.h"
#include "interlock/control/v1/control.pb-c.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "wire/scan.h"

typedef Interlock__Audit__V1__Entry entry_message;
typedef Interlock__Audit__V1__Leaf leaf_message;
typedef Interlock__Common__V1__Envelope envelope_message;

/* A key and who holds it. */
typedef struct known_signer {
    char keyid[CRYPTO_KEYID_CHARS + 1];
    public_key key;
    char principal[LIMIT_NAME_BYTES + 1];
} known_signer;

typedef struct known_action {
    char id[LIMIT_ACTION_ID_BYTES + 1];
    uint64_t latest;
} known_action;

static int compare_signers(const void *a, const void *b) {
    return strcmp(((const known_signer *)a)->keyid, ((const known_signer *)b)->keyid);
}

static int compare_actions(const void *a, const void *b) {
    return strcmp(((const known_action *)a)->id, ((const known_action *)b)->id);
}

static void problem(log_check *self, uint64_t index, const char *format, ...) PRINTF_LIKE(3, 4);

static void problem(log_check *self, uint64_t index, const char *format, ...) {
    if (self->problem_count < LOG_CHECK_PROBLEMS) {
        char *out = self->problems[self->problem_count];
        int used = snprintf(out, sizeof self->problems[0], "record %llu: ", (unsigned long long)index);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(out + used, sizeof self->problems[0] - (size_t)used, format, arguments);
        va_end(arguments);
    }
    self->problem_count++;
}

void log_check_init(log_check *self, const trust *roots) {
    *self = (log_check){.roots = roots};
    merkle_frontier_init(&self->frontier);
}

void log_check_free(log_check *self) {
    tdestroy(self->signers, free);
    tdestroy(self->actions, free);
    self->signers = self->actions = NULL;
}

static bool read_leaf(const entry_message *entry, arena *memory, const leaf_message **out) {
    ProtobufCMessage *message = NULL;
    if (entry->leaf.len > LIMIT_LEAF_BYTES ||
        wire_unpack_signed(&interlock__audit__v1__leaf__descriptor,
                           bytes_of(entry->leaf.data, entry->leaf.len), memory, &message, NULL) != STATUS_OK)
        return false;
    *out = (const leaf_message *)message;
    return true;
}

static bool read_payload(const envelope_message *record, const ProtobufCMessageDescriptor *type,
                         arena *memory, ProtobufCMessage **out) {
    return wire_unpack_signed(type, bytes_of(record->payload.data, record->payload.len), memory, out, NULL) ==
           STATUS_OK;
}

static const char *keyid_of(const envelope_message *record) {
    return record->n_signatures == 1 ? record->signatures[0]->keyid : "";
}

/* ---- who signs ---- */

static bool operator_signed(const log_check *self, const envelope_message *record, const char *payload_type) {
    const trust_key *key = trust_find_keyid(self->roots, KEY_OPERATOR, keyid_of(record));
    return key != NULL && dsse_verify(record, payload_type, &key->key);
}

static void remember_signer(log_check *self, const Interlock__Control__V1__Enrolment *enrolment) {
    known_signer *added = calloc(1, sizeof *added);
    if (added == NULL)
        return;
    public_key_from_bytes(&added->key, enrolment->public_key.data);
    memcpy(added->keyid, added->key.keyid, sizeof added->keyid);
    snprintf(added->principal, sizeof added->principal, "%s", enrolment->principal);
    known_signer **found = tsearch(added, &self->signers, compare_signers);
    if (found == NULL || *found != added)
        free(added); /* known already: a key belongs to one principal for good */
}

void log_check_collect(log_check *self, const entry_message *entry, arena *memory) {
    ProtobufCMessage *message = NULL;
    const envelope_message *record = entry->record;
    if (record == NULL || strcmp(record->payload_type, PAYLOAD_ENROLMENT) != 0 ||
        !operator_signed(self, record, PAYLOAD_ENROLMENT) ||
        !read_payload(record, &interlock__control__v1__enrolment__descriptor, memory, &message))
        return;
    const Interlock__Control__V1__Enrolment *enrolment = (const Interlock__Control__V1__Enrolment *)message;
    if (enrolment->public_key.len == CRYPTO_PUBLIC_KEY_BYTES)
        remember_signer(self, enrolment);
}

static const known_signer *find_signer(const log_check *self, const char *keyid) {
    known_signer wanted = {0};
    snprintf(wanted.keyid, sizeof wanted.keyid, "%s", keyid);
    known_signer *const *found = tfind(&wanted, &self->signers, compare_signers);
    return found != NULL ? *found : NULL;
}

/* Signed by an enrolled key, whose holder is the principal that the statement names. */
static bool enrolled_signed(const log_check *self, const envelope_message *record, const char *payload_type,
                            const char *principal) {
    const known_signer *signer = find_signer(self, keyid_of(record));
    return signer != NULL && strcmp(signer->principal, principal) == 0 &&
           dsse_verify(record, payload_type, &signer->key);
}

/* ---- what a record says ---- */

static bool header_fits(const log_check *self, const Interlock__Common__V1__StatementHeader *header,
                        const char *payload_type) {
    return header != NULL && strcmp(header->type, payload_type) == 0 &&
           strcmp(header->installation, self->roots->installation) == 0;
}

static const char *name_of(const ProtobufCEnumDescriptor *type, int number, const char *prefix) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    return value != NULL ? value->name + strlen(prefix) : "";
}

static void check_action(log_check *self, uint64_t index, const Interlock__Policy__V1__DecisionRecord *record,
                         arena *memory) {
    const envelope_message *action = record->action;
    ProtobufCMessage *message = NULL;
    uint8_t digest[CRYPTO_HASH_BYTES];
    if (action == NULL ||
        !read_payload(action, &interlock__policy__v1__action__descriptor, memory, &message)) {
        problem(self, index, "the decision does not carry the action it decides on");
        return;
    }
    const Interlock__Policy__V1__Action *content = (const Interlock__Policy__V1__Action *)message;
    dsse_payload_digest(action, digest);
    if (record->decision->action_digest.len != sizeof digest ||
        memcmp(record->decision->action_digest.data, digest, sizeof digest) != 0)
        problem(self, index, "the decision's digest is not that of the action it carries");
    if (strcmp(content->action_id, record->decision->action_id) != 0)
        problem(self, index, "the decision names another action than it carries");
    if (!header_fits(self, content->header, PAYLOAD_ACTION) ||
        strcmp(content->header->principal, record->decision->principal) != 0)
        problem(self, index, "the action is not stated by the principal that the decision names");
    else if (!enrolled_signed(self, action, PAYLOAD_ACTION, content->header->principal))
        problem(self, index, "the action is not signed by a key that an operator enrolled for %.100s",
                content->header->principal);
}

static void check_decision(log_check *self, uint64_t index, const leaf_message *leaf,
                           const envelope_message *record, arena *memory) {
    ProtobufCMessage *message = NULL;
    const trust_key *key = trust_find_keyid(self->roots, KEY_RECORD, keyid_of(record));
    self->decisions++;
    if (key == NULL || !dsse_verify(record, PAYLOAD_DECISION, &key->key))
        problem(self, index, "the decision is not signed by a record key of installation.yaml");
    if (!read_payload(record, &interlock__policy__v1__decision_record__descriptor, memory, &message)) {
        problem(self, index, "the decision cannot be read, or is not in canonical form");
        return;
    }
    const Interlock__Policy__V1__DecisionRecord *body =
        (const Interlock__Policy__V1__DecisionRecord *)message;
    if (body->decision == NULL || !header_fits(self, body->header, PAYLOAD_DECISION)) {
        problem(self, index, "the decision is not one of this installation");
        return;
    }
    const Interlock__Policy__V1__Decision *decision = body->decision;
    if (strcmp(decision->action_id, leaf->action_id) != 0)
        problem(self, index, "leaf and decision name different actions");
    if (strcmp(name_of(&interlock__policy__v1__outcome__descriptor, (int)decision->outcome, "OUTCOME_"),
               leaf->verdict) != 0)
        problem(self, index, "leaf and decision have different verdicts");
    if (leaf->permits != (decision->permit != NULL))
        problem(self, index, "leaf and decision disagree on whether there is a permit");
    if (leaf->control_seq != decision->control_seq)
        problem(self, index, "leaf and decision rest on different control data");
    check_action(self, index, body, memory);
}

static void check_outcome(log_check *self, uint64_t index, const leaf_message *leaf,
                          const envelope_message *record, arena *memory) {
    ProtobufCMessage *message = NULL;
    self->outcomes++;
    if (!read_payload(record, &interlock__memory__v1__action_outcome__descriptor, memory, &message)) {
        problem(self, index, "the outcome cannot be read, or is not in canonical form");
        return;
    }
    const Interlock__Memory__V1__ActionOutcome *body = (const Interlock__Memory__V1__ActionOutcome *)message;
    if (!header_fits(self, body->header, PAYLOAD_OUTCOME))
        problem(self, index, "the outcome is not one of this installation");
    else if (!operator_signed(self, record, PAYLOAD_OUTCOME) &&
             !enrolled_signed(self, record, PAYLOAD_OUTCOME, body->header->principal))
        problem(self, index, "the outcome is signed neither by an operator nor by an enrolled executor");
    if (strcmp(body->action_id, leaf->action_id) != 0)
        problem(self, index, "leaf and outcome name different actions");
    if (strcmp(name_of(&interlock__memory__v1__outcome_state__descriptor, (int)body->state, "OUTCOME_STATE_"),
               leaf->verdict) != 0)
        problem(self, index, "leaf and outcome have different verdicts");
}

static void check_causes(log_check *self, uint64_t index, const leaf_message *leaf,
                         const envelope_message *record, arena *memory) {
    ProtobufCMessage *message = NULL;
    if (!read_payload(record, &interlock__graph__v1__cause_chain__descriptor, memory, &message)) {
        problem(self, index, "the chain of causes cannot be read, or is not in canonical form");
        return;
    }
    const Interlock__Graph__V1__CauseChain *body = (const Interlock__Graph__V1__CauseChain *)message;
    if (!header_fits(self, body->header, PAYLOAD_CHAIN))
        problem(self, index, "the chain of causes is not one of this installation");
    else if (!operator_signed(self, record, PAYLOAD_CHAIN) &&
             !enrolled_signed(self, record, PAYLOAD_CHAIN, body->header->principal))
        problem(self, index, "the chain of causes is signed neither by an operator nor by one enrolled");
    if (strcmp(leaf->verdict, "CONFIRMED") != 0)
        problem(self, index, "leaf and chain have different verdicts");
}

static void check_control(log_check *self, uint64_t index, const envelope_message *record) {
    if (!operator_signed(self, record, record->payload_type))
        problem(self, index, "the control statement is not signed by an operator of installation.yaml");
}

static void check_genesis(log_check *self, uint64_t index, const envelope_message *record) {
    const trust_key *key = trust_find_keyid(self->roots, KEY_CHECKPOINT, keyid_of(record));
    if (key == NULL || !dsse_verify(record, PAYLOAD_GENESIS, &key->key))
        problem(self, index, "the genesis record is not signed by the log's key of installation.yaml");
}

static void check_record(log_check *self, uint64_t index, const leaf_message *leaf,
                         const envelope_message *record, arena *memory) {
    if (strcmp(leaf->keyid, keyid_of(record)) != 0)
        problem(self, index, "the leaf names another key than the record");
    switch (leaf->kind) {
    case INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION:
        check_decision(self, index, leaf, record, memory);
        break;
    case INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME:
        check_outcome(self, index, leaf, record, memory);
        break;
    case INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CHAIN:
        check_causes(self, index, leaf, record, memory);
        break;
    case INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_KILL:
        self->kills++;
        check_control(self, index, record);
        break;
    case INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CONTROL:
        self->controls++;
        check_control(self, index, record);
        break;
    case INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS:
        check_genesis(self, index, record);
        break;
    default:
        problem(self, index, "a kind of record that this version does not know");
    }
}

/* ---- the leaf ---- */

static void check_commitment(log_check *self, const entry_message *entry, const leaf_message *leaf) {
    uint8_t inner[CRYPTO_HASH_BYTES], found[CRYPTO_HASH_BYTES];
    buffer typed;
    buffer_init(&typed, LIMIT_ENVELOPE_BYTES + 256);
    buffer_append(&typed, entry->record->payload_type, strlen(entry->record->payload_type) + 1);
    buffer_append(&typed, entry->record->payload.data, entry->record->payload.len);
    sha256(buffer_bytes(&typed), inner);
    sha256_two(bytes_of(entry->salt.data, entry->salt.len), bytes_of(inner, sizeof inner), found);
    if (!buffer_ok(&typed) || entry->salt.len != 32 || leaf->commitment.len != sizeof found ||
        memcmp(leaf->commitment.data, found, sizeof found) != 0)
        problem(self, entry->index, "the record is not the one that the leaf commits to");
    buffer_free(&typed);
}

/* The record before this one of the same action is the one that the leaf names. */
static void check_chain(log_check *self, uint64_t index, const leaf_message *leaf) {
    known_action *added = leaf->action_id[0] != '\0' ? calloc(1, sizeof *added) : NULL;
    if (added == NULL || strlen(leaf->action_id) > LIMIT_ACTION_ID_BYTES) {
        if (leaf->previous_index != 0 || leaf->action_id[0] != '\0')
            problem(self, index, "a previous record where there can be none");
        free(added);
        return;
    }
    snprintf(added->id, sizeof added->id, "%s", leaf->action_id);
    known_action **found = tsearch(added, &self->actions, compare_actions);
    if (found == NULL) {
        free(added);
        problem(self, index, "not checked: no memory");
        return;
    }
    if ((*found)->latest != leaf->previous_index)
        problem(self, index, "its action's previous record is %llu, the leaf says %llu",
                (unsigned long long)(*found)->latest, (unsigned long long)leaf->previous_index);
    (*found)->latest = index;
    if (*found != added)
        free(added);
}

void log_check_entry(log_check *self, const entry_message *entry, arena *memory) {
    const leaf_message *leaf = NULL;
    merkle_hash hash;
    merkle_created created[65];
    if (entry->index != self->next)
        problem(self, entry->index, "comes where %llu was next", (unsigned long long)self->next);
    self->next = entry->index + 1;
    merkle_leaf_hash(bytes_of(entry->leaf.data, entry->leaf.len), &hash);
    merkle_frontier_add(&self->frontier, &hash, created);
    if (!read_leaf(entry, memory, &leaf)) {
        problem(self, entry->index, "its leaf cannot be read, or is not in canonical form");
        return;
    }
    if (leaf->version != 1)
        problem(self, entry->index, "leaf version %u, which this version does not know", leaf->version);
    if ((entry->index == 0) != (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS))
        problem(self, entry->index, "the genesis record is the first and only the first");
    check_chain(self, entry->index, leaf);
    if (entry->record == NULL) {
        self->erased++;
    } else {
        check_commitment(self, entry, leaf);
        check_record(self, entry->index, leaf, entry->record, memory);
    }
}

void log_check_finish(log_check *self, const checkpoint *signed_tree) {
    merkle_hash root;
    merkle_frontier_root(&self->frontier, &root);
    if (self->frontier.size != signed_tree->size)
        problem(self, self->next, "the log has %llu records, the signed checkpoint %llu",
                (unsigned long long)self->frontier.size, (unsigned long long)signed_tree->size);
    else if (memcmp(root.bytes, signed_tree->root.bytes, sizeof root.bytes) != 0)
        problem(self, self->next, "the records do not hash to the root that audit signed");
}
