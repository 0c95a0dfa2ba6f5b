/* Checking that a permit follows from the log. Whoever calls is not believed: every value that goes into a
 * permit comes out of a leaf that audit's checkpoint covers, or out of the record that this leaf commits to.
 */
#include "permit.h"

#include <ctype.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/dsse.h"
#include "merkle/tree.h"
#include "wire/scan.h"

#define LEAF_VERSION 1U
#define SALT_BYTES 32U
#define PERMIT_ID_BYTES 128U

static status_code refuse(failure *why, const char *reason, const char *message) {
    fail(why, STATUS_PERMISSION_DENIED, reason, "%s", message);
    return STATUS_PERMISSION_DENIED;
}

/* What the wire says about a part. */
static status_code within(failure *why, const char *part) {
    fail_within(why, STATUS_PERMISSION_DENIED, "%s", part);
    return STATUS_PERMISSION_DENIED;
}

static bool digest_is(ProtobufCBinaryData field, const uint8_t digest[CRYPTO_HASH_BYTES]) {
    return field.len == CRYPTO_HASH_BYTES && memcmp(field.data, digest, CRYPTO_HASH_BYTES) == 0;
}

/* ---- The receipt ---- */

static status_code take_proof(const Interlock__Audit__V1__Receipt *receipt, merkle_proof *out, failure *why) {
    if (receipt->leaf.len == 0 || receipt->leaf.len > LIMIT_LEAF_BYTES || receipt->salt.len != SALT_BYTES ||
        receipt->n_proof > MERKLE_PROOF_MAX)
        return refuse(
            why, "RECEIPT_MALFORMED",
            "a receipt has a leaf of 1 to 1024 bytes, a salt of 32 and a proof of 64 hashes at most");
    out->count = receipt->n_proof;
    for (size_t i = 0; i < receipt->n_proof; i++) {
        if (receipt->proof[i].len != MERKLE_HASH_BYTES)
            return refuse(why, "RECEIPT_MALFORMED", "each hash of a proof has 32 bytes");
        memcpy(out->hashes[i].bytes, receipt->proof[i].data, MERKLE_HASH_BYTES);
    }
    return STATUS_OK;
}

static status_code check_inclusion(const checkpoint *tree, const Interlock__Audit__V1__Receipt *receipt,
                                   failure *why) {
    merkle_proof proof;
    merkle_hash leaf;
    status_code code = take_proof(receipt, &proof, why);
    if (code != STATUS_OK)
        return code;
    merkle_leaf_hash(bytes_of(receipt->leaf.data, receipt->leaf.len), &leaf);
    if (!merkle_verify_inclusion(&leaf, receipt->index, tree->size, &proof, &tree->root))
        return refuse(why, "NOT_IN_THE_LOG", "the leaf is not at this index of the checkpoint's tree");
    return STATUS_OK;
}

static status_code check_leaf(const Interlock__Audit__V1__Leaf *leaf, failure *why) {
    if (leaf->version != LEAF_VERSION ||
        leaf->kind != INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION || !leaf->permits)
        return refuse(why, "LEAF_NOT_A_PERMIT", "the leaf is no decision of which a permit may come");
    if (leaf->action_id[0] == '\0')
        return refuse(why, "LEAF_NOT_A_PERMIT", "the leaf names no action");
    return STATUS_OK;
}

/* SHA-256(salt || SHA-256(payload type || 0x00 || payload)). */
static status_code check_commitment(const Interlock__Audit__V1__Leaf *leaf,
                                    const Interlock__Audit__V1__Receipt *receipt,
                                    const Interlock__Common__V1__Envelope *record, failure *why) {
    uint8_t inner[CRYPTO_HASH_BYTES], outer[CRYPTO_HASH_BYTES];
    if (strcmp(record->payload_type, PAYLOAD_DECISION) != 0)
        return refuse(why, "RECORD_MISMATCH", "the record's payload type is not that of a decision");
    sha256_two(bytes_of(PAYLOAD_DECISION, sizeof PAYLOAD_DECISION), /* with its NUL, the separator */
               bytes_of(record->payload.data, record->payload.len), inner);
    sha256_two(bytes_of(receipt->salt.data, receipt->salt.len), bytes_of(inner, sizeof inner), outer);
    if (!digest_is(leaf->commitment, outer))
        return refuse(why, "RECORD_MISMATCH", "the leaf does not commit to this record");
    return STATUS_OK;
}

/* ---- The record ---- */

/* The leaf says which key signed the record; it must be one for records, held by whom the record names. */
static status_code check_signer(const trust *roots, const Interlock__Audit__V1__Leaf *leaf,
                                const Interlock__Common__V1__Envelope *record, const char *principal,
                                bool verify_record, failure *why) {
    const trust_key *key = trust_find_keyid(roots, KEY_RECORD, leaf->keyid);
    if (key == NULL || strcmp(key->principal, principal) != 0)
        return refuse(why, "RECORD_SIGNER", "the record is not by a service that may keep records");
    if (verify_record && !dsse_verify(record, PAYLOAD_DECISION, &key->key))
        return refuse(why, "RECORD_SIGNATURE",
                      "the record's signature is not by the key that the leaf names");
    return STATUS_OK;
}

static status_code check_header(const trust *roots, const Interlock__Common__V1__StatementHeader *header,
                                failure *why) {
    if (header == NULL || strcmp(header->type, PAYLOAD_DECISION) != 0 ||
        strcmp(header->installation, roots->installation) != 0)
        return refuse(why, "RECORD_MISMATCH",
                      "the record's header is not of a decision of this installation");
    return STATUS_OK;
}

static const char *outcome_name(Interlock__Policy__V1__Outcome outcome) {
    switch (outcome) {
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW:
        return "ALLOW";
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_MODIFY:
        return "MODIFY";
    default:
        return NULL;
    }
}

static status_code check_decision(const Interlock__Audit__V1__Leaf *leaf,
                                  const Interlock__Policy__V1__PermitRecordGist *record, failure *why) {
    const Interlock__Policy__V1__PermitDecisionGist *decision = record->decision;
    if (decision == NULL || decision->permit == NULL || outcome_name(decision->outcome) == NULL ||
        decision->mode != INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED)
        return refuse(why, "DECISION_NOT_A_PERMIT", "the decision permits nothing, or is not enforced");
    if (strcmp(leaf->verdict, outcome_name(decision->outcome)) != 0 ||
        strcmp(leaf->action_id, decision->action_id) != 0 || leaf->control_seq != decision->control_seq)
        return refuse(why, "RECORD_MISMATCH", "outcome, action or control_seq of leaf and decision differ");
    return STATUS_OK;
}

static status_code check_action(const Interlock__Policy__V1__PermitRecordGist *record, failure *why) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    if (record->action == NULL || strcmp(record->action->payload_type, PAYLOAD_ACTION) != 0)
        return refuse(why, "RECORD_MISMATCH", "the record holds no action");
    dsse_payload_digest(record->action, digest);
    if (!digest_is(record->decision->action_digest, digest))
        return refuse(why, "RECORD_MISMATCH", "the decision is about another action than the record holds");
    return STATUS_OK;
}

/* ---- The claims ---- */

/* What needs no escaping in JSON, so that there is one way of writing it. */
static bool is_plain(const char *text, size_t most) {
    size_t size = strlen(text);
    if (size == 0 || size > most)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isascii(text[i]) || (!isalnum((unsigned char)text[i]) && strchr("-._:@/", text[i]) == NULL))
            return false;
    return true;
}

static bool is_hex_digest(const char *text) {
    return strlen(text) == 2 * CRYPTO_HASH_BYTES && strspn(text, "0123456789abcdef") == 2 * CRYPTO_HASH_BYTES;
}

static status_code check_times(const Interlock__Policy__V1__PermitClaims *claims, failure *why) {
    int64_t issued = claims->issued_at_s, expires = claims->expires_at_s;
    if (issued <= 0 || expires <= issued || expires > (int64_t)PERMIT_NUMBER_MAX ||
        expires - issued > LIMIT_PERMIT_LIFETIME_MS / 1000)
        return refuse(why, "CLAIMS_MISMATCH", "a permit expires at most 60 s after it was issued");
    return STATUS_OK;
}

static status_code check_texts(const trust *roots, const Interlock__Policy__V1__PermitClaims *claims,
                               failure *why) {
    if (strcmp(claims->issuer, roots->installation) != 0)
        return refuse(why, "CLAIMS_MISMATCH", "the issuer is not this installation");
    if (!is_plain(claims->audience, LIMIT_NAME_BYTES - 1) || !is_plain(claims->permit_id, PERMIT_ID_BYTES) ||
        !is_hex_digest(claims->policy_digest) || claims->executor_thumbprint.len != CRYPTO_HASH_BYTES)
        return refuse(why, "CLAIMS_MISMATCH",
                      "audience, permit id, policy digest or the executor's thumbprint is malformed");
    return STATUS_OK;
}

static status_code check_digests(const Interlock__Policy__V1__PermitDecisionGist *decision, failure *why) {
    const Interlock__Policy__V1__PermitClaims *claims = decision->permit;
    if (!digest_is(claims->action_digest, decision->action_digest.data) ||
        claims->effective_digest.len != CRYPTO_HASH_BYTES)
        return refuse(why, "CLAIMS_MISMATCH", "the permit is about another action than the decision");
    if (decision->outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW &&
        !digest_is(claims->effective_digest, decision->action_digest.data))
        return refuse(why, "CLAIMS_MISMATCH", "what is allowed as proposed has no other effective action");
    return STATUS_OK;
}

static status_code check_claims(const trust *roots, const Interlock__Audit__V1__Leaf *leaf,
                                const Interlock__Policy__V1__PermitDecisionGist *decision, failure *why) {
    const Interlock__Policy__V1__PermitClaims *claims = decision->permit;
    if (claims->epoch != leaf->epoch || claims->control_seq != leaf->control_seq ||
        claims->epoch > PERMIT_NUMBER_MAX || claims->control_seq > PERMIT_NUMBER_MAX)
        return refuse(why, "CLAIMS_MISMATCH", "epoch or control_seq of the permit and the log differ");
    status_code code = check_texts(roots, claims, why);
    if (code == STATUS_OK)
        code = check_times(claims, why);
    if (code == STATUS_OK)
        code = check_digests(decision, why);
    return code;
}

/* ---- The whole ---- */

static status_code read_leaf(const checkpoint *tree, const Interlock__Audit__V1__Receipt *receipt,
                             arena *memory, const Interlock__Audit__V1__Leaf **out, failure *why) {
    ProtobufCMessage *message = NULL;
    status_code code = check_inclusion(tree, receipt, why);
    if (code != STATUS_OK)
        return code;
    if (receipt->index > PERMIT_NUMBER_MAX)
        return refuse(why, "RECEIPT_MALFORMED", "the index is beyond what a permit can name");
    if (wire_unpack_signed(&interlock__audit__v1__leaf__descriptor,
                           bytes_of(receipt->leaf.data, receipt->leaf.len), memory, &message,
                           why) != STATUS_OK)
        return within(why, "the leaf");
    *out = (const Interlock__Audit__V1__Leaf *)message;
    return check_leaf(*out, why);
}

static status_code read_record(const Interlock__Common__V1__Envelope *record, arena *memory,
                               const Interlock__Policy__V1__PermitRecordGist **out, failure *why) {
    ProtobufCMessage *message = NULL;
    if (wire_unpack_signed_as(&interlock__policy__v1__decision_record__descriptor,
                              &interlock__policy__v1__permit_record_gist__descriptor,
                              bytes_of(record->payload.data, record->payload.len), memory, &message,
                              why) != STATUS_OK)
        return within(why, "the record");
    *out = (const Interlock__Policy__V1__PermitRecordGist *)message;
    return STATUS_OK;
}

status_code permit_check(const trust *roots, const checkpoint *tree,
                         const Interlock__Audit__V1__Receipt *receipt,
                         const Interlock__Common__V1__Envelope *record, bool verify_record, arena *memory,
                         const Interlock__Policy__V1__PermitClaims **claims, failure *why) {
    const Interlock__Audit__V1__Leaf *leaf = NULL;
    const Interlock__Policy__V1__PermitRecordGist *decided = NULL;
    status_code code = read_leaf(tree, receipt, memory, &leaf, why);
    if (code == STATUS_OK)
        code = check_commitment(leaf, receipt, record, why);
    if (code == STATUS_OK)
        code = read_record(record, memory, &decided, why);
    if (code == STATUS_OK)
        code = check_header(roots, decided->header, why);
    if (code == STATUS_OK)
        code = check_signer(roots, leaf, record, decided->header->principal, verify_record, why);
    if (code == STATUS_OK)
        code = check_decision(leaf, decided, why);
    if (code == STATUS_OK)
        code = check_action(decided, why);
    if (code == STATUS_OK)
        code = check_claims(roots, leaf, decided->decision, why);
    if (code == STATUS_OK)
        *claims = decided->decision->permit;
    return code;
}

/* ---- Writing ---- */

/* Formatting a number costs as much as hashing it, hence by hand. */
static void write_number(buffer *out, const char *name, uint64_t value) {
    char text[24];
    char *digit = text + sizeof text;
    *--digit = ',';
    do {
        *--digit = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    buffer_text(out, name);
    buffer_append(out, digit, (size_t)(text + sizeof text - digit));
}

static void write_text(buffer *out, const char *name, const char *value) {
    buffer_text(out, name);
    buffer_text(out, value);
    buffer_text(out, "\",");
}

static void write_digest(buffer *out, const char *name, ProtobufCBinaryData digest) {
    buffer_text(out, name);
    base64url_encode(bytes_of(digest.data, digest.len), out);
    buffer_text(out, "\",");
}

/* Texts and times are those that check_claims let pass: nothing in them needs escaping, no number is
 * negative. */
void permit_claims_write(const Interlock__Policy__V1__PermitClaims *claims, uint64_t index, buffer *out) {
    write_text(out, "{\"iss\":\"", claims->issuer);
    write_text(out, "\"aud\":\"", claims->audience);
    write_text(out, "\"jti\":\"", claims->permit_id);
    write_number(out, "\"iat\":", (uint64_t)claims->issued_at_s);
    write_number(out, "\"exp\":", (uint64_t)claims->expires_at_s);
    write_digest(out, "\"act\":\"", claims->action_digest);
    write_digest(out, "\"eff\":\"", claims->effective_digest);
    write_number(out, "\"idx\":", index);
    write_number(out, "\"epoch\":", claims->epoch);
    write_number(out, "\"cseq\":", claims->control_seq);
    write_text(out, "\"pol\":\"", claims->policy_digest);
    buffer_text(out, "\"cnf\":{\"jkt\":\"");
    base64url_encode(bytes_of(claims->executor_thumbprint.data, claims->executor_thumbprint.len), out);
    buffer_text(out, "\"}}");
}
