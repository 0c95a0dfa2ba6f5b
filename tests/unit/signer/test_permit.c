/* The signer signs what the log holds and nothing else: each way of asking for something else is a case, and
 * what it does sign is checked by another library than made it. */
#include "permit.h" /* before cmocka.h, whose macro fail() would hide ours */

#include "notes.h"
#include "recorded.h"
#include "signer.h"

#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

typedef void (*change)(recorded *at);

static status_code check(recorded *at, bool verify_record, failure *why) {
    checkpoint tree;
    notes seen_notes;
    const Interlock__Policy__V1__PermitClaims *claims = NULL;
    notes_init(&seen_notes, &at->roots);
    status_code code = notes_verify(&seen_notes, bytes_of_text(at->receipt.checkpoint), &tree, why);
    if (code == STATUS_OK)
        code = permit_check(&at->roots, &tree, &at->receipt, at->envelope, verify_record, &at->memory,
                            &claims, why);
    notes_free(&seen_notes);
    assert_true((claims != NULL) == (code == STATUS_OK));
    return code;
}

/* ---- What the log holds, but does not permit ---- */

static void leaf_version(recorded *at) {
    at->leaf.version = 2;
}
static void leaf_kind(recorded *at) {
    at->leaf.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME;
}
static void leaf_without_permit(recorded *at) {
    at->leaf.permits = false;
}
static void leaf_without_action(recorded *at) {
    at->leaf.action_id = "";
    at->decision.action_id = "";
}
static void leaf_other_action(recorded *at) {
    at->leaf.action_id = "a-2";
}
static void leaf_other_verdict(recorded *at) {
    at->leaf.verdict = "DENY";
}
static void leaf_other_seq(recorded *at) {
    at->leaf.control_seq = 6;
}
static void leaf_other_epoch(recorded *at) {
    at->leaf.epoch = 3;
}
static void leaf_unknown_key(recorded *at) {
    at->leaf.keyid = arena_text(&at->memory, secret_key_public(at->agent_key)->keyid);
}
static void leaf_key_of_other_purpose(recorded *at) {
    at->leaf.keyid = arena_text(&at->memory, secret_key_public(at->checkpoint_key)->keyid);
}
static void record_other_principal(recorded *at) {
    at->record.header->principal = "service/memory";
}
static void record_other_installation(recorded *at) {
    at->record.header->installation = "other";
}
static void record_other_type(recorded *at) {
    at->record.header->type = PAYLOAD_OUTCOME;
}
static void record_without_header(recorded *at) {
    at->record.header = NULL;
}
static void record_without_decision(recorded *at) {
    at->record.decision = NULL;
}
static void record_without_action(recorded *at) {
    at->record.action = NULL;
}
static void record_other_action(recorded *at) {
    uint8_t *data = at->record.action->payload.data;
    data[at->record.action->payload.len - 1] ^= 1;
}
static void record_action_of_other_type(recorded *at) {
    at->record.action->payload_type = PAYLOAD_OUTCOME;
}
static void decision_denies(recorded *at) {
    at->decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY;
    at->leaf.verdict = "DENY";
}
static void decision_defers(recorded *at) {
    at->decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DEFER;
    at->leaf.verdict = "DEFER";
}
static void decision_reviews(recorded *at) {
    at->decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_REVIEW;
    at->leaf.verdict = "REVIEW";
}
static void decision_advises(recorded *at) {
    at->decision.mode = INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY;
}
static void decision_dry_run(recorded *at) {
    at->decision.mode = INTERLOCK__POLICY__V1__MODE__MODE_DRY_RUN;
}
static void decision_without_claims(recorded *at) {
    at->decision.permit = NULL;
}
static void decision_short_digest(recorded *at) {
    at->decision.action_digest.len = 31;
}
static void claims_other_issuer(recorded *at) {
    at->claims.issuer = "other";
}
static void claims_no_audience(recorded *at) {
    at->claims.audience = "";
}
static void claims_audience_to_escape(recorded *at) {
    at->claims.audience = "executor/\",\"aud\":\"x";
}
static void claims_no_id(recorded *at) {
    at->claims.permit_id = "";
}
static void claims_long_id(recorded *at) {
    char id[200];
    memset(id, 'x', sizeof id);
    id[199] = '\0';
    at->claims.permit_id = arena_text(&at->memory, id);
}
static void claims_live_too_long(recorded *at) {
    at->claims.expires_at_s = at->claims.issued_at_s + 61;
}
static void claims_expire_at_once(recorded *at) {
    at->claims.expires_at_s = at->claims.issued_at_s;
}
static void claims_negative_time(recorded *at) {
    at->claims.issued_at_s = -10;
    at->claims.expires_at_s = 10;
}
static void claims_overflow(recorded *at) {
    at->claims.issued_at_s = INT64_MIN;
    at->claims.expires_at_s = INT64_MAX;
}
static void claims_other_seq(recorded *at) {
    at->claims.control_seq = 8;
}
static void claims_huge_seq(recorded *at) {
    at->claims.control_seq = at->leaf.control_seq = at->decision.control_seq = PERMIT_NUMBER_MAX + 1;
}
static void claims_other_epoch(recorded *at) {
    at->claims.epoch = 1;
}
static void claims_other_digest(recorded *at) {
    at->claims.action_digest = binary(&at->memory, "01234567890123456789012345678901", 32);
}
static void claims_other_effect(recorded *at) {
    at->claims.effective_digest = binary(&at->memory, "01234567890123456789012345678901", 32);
}
static void claims_short_effect(recorded *at) {
    at->claims.effective_digest.len = 31;
}
static void claims_policy_not_hex(recorded *at) {
    at->claims.policy_digest = "x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
}
static void claims_policy_short(recorded *at) {
    at->claims.policy_digest = "01";
}
static void claims_no_thumbprint(recorded *at) {
    at->claims.executor_thumbprint.len = 0;
}

static const struct {
    const char *label;
    change apply;
    const char *reason;
} logged[] = {
    {"leaf of another version", leaf_version, "LEAF_NOT_A_PERMIT"},
    {"leaf of an outcome", leaf_kind, "LEAF_NOT_A_PERMIT"},
    {"leaf that permits nothing", leaf_without_permit, "LEAF_NOT_A_PERMIT"},
    {"leaf without an action", leaf_without_action, "LEAF_NOT_A_PERMIT"},
    {"leaf of another action", leaf_other_action, "RECORD_MISMATCH"},
    {"leaf with another verdict", leaf_other_verdict, "RECORD_MISMATCH"},
    {"leaf with another control_seq", leaf_other_seq, "RECORD_MISMATCH"},
    {"leaf of another epoch", leaf_other_epoch, "CLAIMS_MISMATCH"},
    {"leaf with a key that is not rooted", leaf_unknown_key, "RECORD_SIGNER"},
    {"leaf with a key for checkpoints", leaf_key_of_other_purpose, "RECORD_SIGNER"},
    {"record of another principal", record_other_principal, "RECORD_SIGNER"},
    {"record of another installation", record_other_installation, "RECORD_MISMATCH"},
    {"record with another type inside", record_other_type, "RECORD_MISMATCH"},
    {"record without header", record_without_header, "RECORD_MISMATCH"},
    {"record without decision", record_without_decision, "DECISION_NOT_A_PERMIT"},
    {"record without action", record_without_action, "RECORD_MISMATCH"},
    {"record with another action", record_other_action, "RECORD_MISMATCH"},
    {"record with an action of another type", record_action_of_other_type, "RECORD_MISMATCH"},
    {"a denial", decision_denies, "DECISION_NOT_A_PERMIT"},
    {"a deferral", decision_defers, "DECISION_NOT_A_PERMIT"},
    {"a review", decision_reviews, "DECISION_NOT_A_PERMIT"},
    {"advice", decision_advises, "DECISION_NOT_A_PERMIT"},
    {"a dry run", decision_dry_run, "DECISION_NOT_A_PERMIT"},
    {"no claims", decision_without_claims, "DECISION_NOT_A_PERMIT"},
    {"a short digest", decision_short_digest, "RECORD_MISMATCH"},
    {"another issuer", claims_other_issuer, "CLAIMS_MISMATCH"},
    {"no audience", claims_no_audience, "CLAIMS_MISMATCH"},
    {"an audience that would forge claims", claims_audience_to_escape, "CLAIMS_MISMATCH"},
    {"no id", claims_no_id, "CLAIMS_MISMATCH"},
    {"a long id", claims_long_id, "CLAIMS_MISMATCH"},
    {"61 seconds", claims_live_too_long, "CLAIMS_MISMATCH"},
    {"no time at all", claims_expire_at_once, "CLAIMS_MISMATCH"},
    {"a time before 1970", claims_negative_time, "CLAIMS_MISMATCH"},
    {"times whose difference overflows", claims_overflow, "CLAIMS_MISMATCH"},
    {"another control_seq", claims_other_seq, "CLAIMS_MISMATCH"},
    {"a control_seq that JSON cannot hold", claims_huge_seq, "CLAIMS_MISMATCH"},
    {"another epoch", claims_other_epoch, "CLAIMS_MISMATCH"},
    {"another action digest", claims_other_digest, "CLAIMS_MISMATCH"},
    {"another effect of what was allowed as proposed", claims_other_effect, "CLAIMS_MISMATCH"},
    {"a short effective digest", claims_short_effect, "CLAIMS_MISMATCH"},
    {"a policy digest that is no hex", claims_policy_not_hex, "CLAIMS_MISMATCH"},
    {"a short policy digest", claims_policy_short, "CLAIMS_MISMATCH"},
    {"no thumbprint", claims_no_thumbprint, "CLAIMS_MISMATCH"},
};

static void expect_refused(recorded *at, const char *label, const char *reason) {
    failure why = {0};
    status_code code = check(at, false, &why);
    if (code != STATUS_PERMISSION_DENIED || strcmp(why.reason, reason) != 0)
        fail_msg("%s: %d %s: %s", label, code, why.reason == NULL ? "" : why.reason, why.message);
}

static void logged_decisions_that_do_not_permit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof logged / sizeof *logged; i++) {
        recorded at;
        recorded_make(&at);
        logged[i].apply(&at);
        recorded_append(&at);
        expect_refused(&at, logged[i].label, logged[i].reason);
        recorded_free(&at);
    }
}

/* ---- Receipts and records that do not belong together, or to this log ---- */

static void receipt_index(recorded *at) {
    at->receipt.index = 2;
}
static void receipt_index_beyond(recorded *at) {
    at->receipt.index = LOG_SIZE;
}
static void receipt_leaf_bit(recorded *at) {
    at->receipt.leaf.data[3] ^= 1;
}
static void receipt_no_leaf(recorded *at) {
    at->receipt.leaf.len = 0;
}
static void receipt_short_salt(recorded *at) {
    at->receipt.salt.len = 31;
}
static void receipt_other_salt(recorded *at) {
    at->receipt.salt.data[0] ^= 1;
}
static void receipt_proof_bit(recorded *at) {
    at->receipt.proof[0].data[0] ^= 1;
}
static void receipt_short_proof(recorded *at) {
    at->receipt.n_proof--;
}
static void receipt_short_hash(recorded *at) {
    at->receipt.proof[0].len = 31;
}
static void receipt_huge_proof(recorded *at) {
    static ProtobufCBinaryData many[MERKLE_PROOF_MAX + 1];
    at->receipt.proof = many;
    at->receipt.n_proof = MERKLE_PROOF_MAX + 1;
}
static void note_of_a_stranger(recorded *at) {
    at->receipt.checkpoint = recorded_note(at, at->stranger);
}
static void note_of_another_log(recorded *at) {
    snprintf(at->tree.origin, sizeof at->tree.origin, "other/log");
    at->receipt.checkpoint = recorded_note(at, at->checkpoint_key);
}
static void note_of_another_size(recorded *at) {
    at->tree.size = 2 * LOG_SIZE; /* a deeper tree */
    at->receipt.checkpoint = recorded_note(at, at->checkpoint_key);
}
static void note_of_another_root(recorded *at) {
    at->tree.root.bytes[0] ^= 1;
    at->receipt.checkpoint = recorded_note(at, at->checkpoint_key);
}
static void note_changed(recorded *at) {
    at->receipt.checkpoint = arena_text(&at->memory, at->receipt.checkpoint);
    at->receipt.checkpoint[strlen("demo/log\n")] = '6';
}
static void note_absent(recorded *at) {
    at->receipt.checkpoint = "";
}
static void note_huge(recorded *at) {
    char *text = arena_alloc(&at->memory, NOTE_MAX_BYTES + 2);
    memset(text, 'x', NOTE_MAX_BYTES + 1);
    text[NOTE_MAX_BYTES + 1] = '\0';
    at->receipt.checkpoint = text;
}
static void record_payload_bit(recorded *at) {
    at->envelope->payload.data[at->envelope->payload.len / 2] ^= 1;
}
static void record_payload_type(recorded *at) {
    at->envelope->payload_type = PAYLOAD_OUTCOME;
}

static const struct {
    const char *label;
    change apply;
    const char *reason;
} presented[] = {
    {"another index", receipt_index, "NOT_IN_THE_LOG"},
    {"an index beyond the tree", receipt_index_beyond, "NOT_IN_THE_LOG"},
    {"a changed leaf", receipt_leaf_bit, "NOT_IN_THE_LOG"},
    {"no leaf", receipt_no_leaf, "RECEIPT_MALFORMED"},
    {"a short salt", receipt_short_salt, "RECEIPT_MALFORMED"},
    {"another salt", receipt_other_salt, "RECORD_MISMATCH"},
    {"a changed proof", receipt_proof_bit, "NOT_IN_THE_LOG"},
    {"a proof cut short", receipt_short_proof, "NOT_IN_THE_LOG"},
    {"a short hash in the proof", receipt_short_hash, "RECEIPT_MALFORMED"},
    {"a proof of 65 hashes", receipt_huge_proof, "RECEIPT_MALFORMED"},
    {"a checkpoint by a stranger", note_of_a_stranger, "CHECKPOINT"},
    {"a checkpoint of another log", note_of_another_log, "CHECKPOINT"},
    {"a checkpoint of another size", note_of_another_size, "NOT_IN_THE_LOG"},
    {"a checkpoint of another root", note_of_another_root, "NOT_IN_THE_LOG"},
    {"a changed checkpoint", note_changed, "CHECKPOINT"},
    {"no checkpoint", note_absent, "CHECKPOINT"},
    {"a huge checkpoint", note_huge, "CHECKPOINT"},
    {"a changed record", record_payload_bit, "RECORD_MISMATCH"},
    {"a record of another type", record_payload_type, "RECORD_MISMATCH"},
};

static void receipts_that_do_not_fit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof presented / sizeof *presented; i++) {
        recorded at;
        failure why = {0};
        recorded_make(&at);
        recorded_append(&at);
        assert_int_equal(check(&at, true, &why), STATUS_OK);
        presented[i].apply(&at);
        expect_refused(&at, presented[i].label, presented[i].reason);
        recorded_free(&at);
    }
}

static void a_record_that_is_not_canonical(void **state) {
    (void)state;
    recorded at;
    recorded_make(&at);
    /* The log may hold such bytes; a permit must not come of them. */
    ProtobufCMessageUnknownField more = {
        .tag = 99, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = (uint8_t *)"\x01"};
    at.record.base.unknown_fields = &more;
    at.record.base.n_unknown_fields = 1;
    recorded_append(&at);
    expect_refused(&at, "an unknown field", "NOT_CANONICAL");
    recorded_free(&at);
}

static void the_records_signature_is_checked_on_demand(void **state) {
    (void)state;
    recorded at;
    failure why = {0};
    recorded_make(&at);
    recorded_append(&at);
    at.envelope->signatures[0]->sig.data[0] ^= 1;
    assert_int_equal(check(&at, false, &why), STATUS_OK);
    assert_int_equal(check(&at, true, &why), STATUS_PERMISSION_DENIED);
    assert_string_equal(why.reason, "RECORD_SIGNATURE");
    recorded_free(&at);
}

static void a_narrowed_action_is_permitted(void **state) {
    (void)state;
    recorded at;
    failure why = {0};
    recorded_make(&at);
    at.decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_MODIFY;
    at.leaf.verdict = "MODIFY";
    claims_other_effect(&at);
    recorded_append(&at);
    if (check(&at, true, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    recorded_free(&at);
}

/* ---- The cache of checkpoints ---- */

static void one_verification_serves_a_group(void **state) {
    (void)state;
    recorded at;
    recorded_make(&at);
    recorded_append(&at);
    notes kept;
    checkpoint tree;
    failure why = {0};
    notes_init(&kept, &at.roots);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(notes_verify(&kept, bytes_of_text(at.receipt.checkpoint), &tree, &why), STATUS_OK);
    assert_int_equal(notes_verified(&kept), 1);
    assert_int_equal(tree.size, LOG_SIZE);
    char *first = at.receipt.checkpoint;
    for (uint64_t size = 100; size < 100 + NOTES_KEPT; size++) {
        at.tree.size = size;
        assert_int_equal(
            notes_verify(&kept, bytes_of_text(recorded_note(&at, at.checkpoint_key)), &tree, &why),
            STATUS_OK);
        assert_int_equal(tree.size, size);
    }
    assert_int_equal(notes_verified(&kept), 1 + NOTES_KEPT);
    assert_int_equal(notes_verify(&kept, bytes_of_text(first), &tree, &why),
                     STATUS_OK); /* it was pushed out */
    assert_int_equal(notes_verified(&kept), 2 + NOTES_KEPT);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(notes_verify(&kept, bytes_of_text(recorded_note(&at, at.stranger)), &tree, &why),
                         STATUS_PERMISSION_DENIED);
    assert_int_equal(notes_verified(&kept), 2 + NOTES_KEPT);
    notes_free(&kept);
    recorded_free(&at);
}

/* ---- The whole signer, from files ---- */

typedef struct folder {
    char path[64], trust_path[96], key_path[96];
} folder;

static signer *signer_new(recorded *at, folder *in) {
    failure why = {0};
    signer *out = NULL;
    snprintf(in->path, sizeof in->path, "/tmp/signer-test-XXXXXX");
    assert_non_null(mkdtemp(in->path));
    snprintf(in->trust_path, sizeof in->trust_path, "%s/installation.yaml", in->path);
    snprintf(in->key_path, sizeof in->key_path, "%s/signer.key", in->path);
    assert_int_equal(trust_save(&at->roots, in->trust_path, &why), STATUS_OK);
    assert_int_equal(secret_key_save(at->permit_key, in->key_path, &why), STATUS_OK);
    const signer_options options = {
        .trust_path = in->trust_path, .key_path = in->key_path, .verify_records = true};
    if (signer_open(&out, &options, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return out;
}

static void folder_remove(const folder *self) {
    unlink(self->trust_path);
    unlink(self->key_path);
    assert_int_equal(rmdir(self->path), 0);
}

/* By OpenSSL, from the public key alone. */
static bool verified_elsewhere(const public_key *key, const char *token) {
    const char *dot = strrchr(token, '.');
    uint8_t signature[64];
    size_t size = sizeof signature;
    assert_non_null(dot);
    assert_true(base64url_decode(bytes_of_text(dot + 1), signature, &size));
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, sizeof key->bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, NULL, NULL, other), 1);
    bool good =
        EVP_DigestVerify(context, signature, size, (const uint8_t *)token, (size_t)(dot - token)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(other);
    return good;
}

static void expect_claims(const recorded *at, const char *token) {
    buffer expected, digest, thumbprint, claims;
    failure why = {0};
    buffer_init(&expected, 4096);
    buffer_init(&digest, 64);
    buffer_init(&thumbprint, 64);
    buffer_init(&claims, 8192);
    base64url_encode(bytes_of(at->decision.action_digest.data, 32), &digest);
    base64url_encode(bytes_of(at->claims.executor_thumbprint.data, 32), &thumbprint);
    buffer_format(&expected,
                  "{\"iss\":\"demo\",\"aud\":\"executor/local\",\"jti\":\"a-1.00112233\",\"iat\":1790000000,"
                  "\"exp\":1790000060,\"act\":\"%s\",\"eff\":\"%s\",\"idx\":3,\"epoch\":2,\"cseq\":7,"
                  "\"pol\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
                  "\"cnf\":{\"jkt\":\"%s\"}}",
                  digest.data, digest.data, thumbprint.data);
    assert_int_equal(
        jws_verify(secret_key_public(at->permit_key), JWS_PERMIT_TYPE, bytes_of_text(token), &claims, &why),
        STATUS_OK);
    assert_string_equal(claims.data, expected.data);
    buffer_free(&expected);
    buffer_free(&digest);
    buffer_free(&thumbprint);
    buffer_free(&claims);
}

static void the_same_record_gives_the_same_permit(void **state) {
    (void)state;
    recorded at;
    folder in;
    recorded_make(&at);
    recorded_append(&at);
    signer *subject = signer_new(&at, &in);
    char *first = NULL, *second = NULL;
    failure why = {0};
    if (signer_sign(subject, &at.receipt, at.envelope, &at.memory, &first, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    /* A later receipt for the same record: another checkpoint, the same permit. */
    at.receipt.checkpoint =
        arena_format(&at.memory, "%s\xe2\x80\x94 a.witness AAAAAAAA\n", at.receipt.checkpoint);
    if (signer_sign(subject, &at.receipt, at.envelope, &at.memory, &second, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    assert_string_equal(first, second);
    expect_claims(&at, first);
    assert_true(verified_elsewhere(secret_key_public(at.permit_key), first));
    assert_false(verified_elsewhere(secret_key_public(at.record_key), first));

    char *refused = NULL;
    at.receipt.index = 0;
    assert_int_equal(signer_sign(subject, &at.receipt, at.envelope, &at.memory, &refused, &why),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(signer_sign(subject, NULL, at.envelope, &at.memory, &refused, &why),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(signer_sign(subject, &at.receipt, NULL, &at.memory, &refused, &why),
                     STATUS_PERMISSION_DENIED);
    assert_null(refused);
    signer_close(subject);
    folder_remove(&in);
    recorded_free(&at);
}

static void the_key_set_names_the_key(void **state) {
    (void)state;
    recorded at;
    folder in;
    recorded_make(&at);
    secret_key *next = key_new(&at, KEY_PERMIT, "service/signer-next");
    signer *subject = signer_new(&at, &in);
    char *set = signer_key_set(subject, &at.memory);
    assert_non_null(set);
    assert_memory_equal(set, "{\"keys\":[{", 10);
    const char *own = strstr(set, secret_key_public(at.permit_key)->keyid);
    const char *other = strstr(set, secret_key_public(next)->keyid);
    assert_true(own != NULL && other != NULL && own < other);
    assert_null(strstr(set, secret_key_public(at.record_key)->keyid));
    signer_close(subject);
    folder_remove(&in);
    secret_key_free(next);
    recorded_free(&at);
}

static void a_key_that_nobody_roots_is_refused(void **state) {
    (void)state;
    recorded at;
    folder in;
    failure why = {0};
    recorded_make(&at);
    signer_close(signer_new(&at, &in));
    signer *subject = NULL;
    signer_options options = {.trust_path = in.trust_path, .key_path = in.key_path};
    secret_key *other = key_new(&at, KEY_PERMIT, NULL);
    unlink(in.key_path);
    assert_int_equal(secret_key_save(other, in.key_path, &why), STATUS_OK);
    assert_int_equal(signer_open(&subject, &options, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "KEY_NOT_ROOTED");
    unlink(in.key_path);
    assert_int_equal(secret_key_save(at.record_key, in.key_path, &why), STATUS_OK);
    assert_int_not_equal(signer_open(&subject, &options, &why), STATUS_OK);
    assert_string_equal(why.reason, "KEY_PURPOSE");
    options.trust_path = "/nonexistent";
    assert_int_equal(signer_open(&subject, &options, &why), STATUS_NOT_FOUND);
    assert_null(subject);
    secret_key_free(other);
    folder_remove(&in);
    recorded_free(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(logged_decisions_that_do_not_permit),
                                       cmocka_unit_test(receipts_that_do_not_fit),
                                       cmocka_unit_test(a_record_that_is_not_canonical),
                                       cmocka_unit_test(the_records_signature_is_checked_on_demand),
                                       cmocka_unit_test(a_narrowed_action_is_permitted),
                                       cmocka_unit_test(one_verification_serves_a_group),
                                       cmocka_unit_test(the_same_record_gives_the_same_permit),
                                       cmocka_unit_test(the_key_set_names_the_key),
                                       cmocka_unit_test(a_key_that_nobody_roots_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
