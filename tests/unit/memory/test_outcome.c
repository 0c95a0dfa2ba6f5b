/* Who may state an outcome: real keys, real envelopes, every reason to refuse. */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "outcome.h"

typedef struct world {
    simulated_chance chance_owner;
    arena memory;
    trust roots;
    secret_key *operator_key, *executor_key, *agent_key;
    Interlock__Control__V1__Enrolment statements[2];
    control_enrolment enrolments[2]; /* sorted by keyid */
    control_view view;
    rpc_peer peer;
    Interlock__Memory__V1__ActionOutcome outcome;
    uint8_t digest[32];
} world;

static void enrol(world *self, size_t at, const secret_key *key, const char *principal) {
    interlock__control__v1__enrolment__init(&self->statements[at]);
    self->statements[at].principal = (char *)principal;
    self->enrolments[at].key = *secret_key_public(key);
    memcpy(self->enrolments[at].keyid, self->enrolments[at].key.keyid, sizeof self->enrolments[at].keyid);
    self->enrolments[at].statement = &self->statements[at];
}

static secret_key *make_key(world *self, key_purpose purpose) {
    secret_key *key = NULL;
    failure why = {0};
    assert_int_equal(secret_key_generate(&self->chance_owner.chance, purpose, &key, &why), STATUS_OK);
    return key;
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    simulated_chance_init(&self->chance_owner, 7);
    arena_init(&self->memory, 65536, 1U << 22);
    self->operator_key = make_key(self, KEY_OPERATOR);
    self->executor_key = make_key(self, KEY_EXECUTOR);
    self->agent_key = make_key(self, KEY_AGENT);
    strcpy(self->roots.installation, "demo");
    self->roots.count = 1;
    self->roots.keys[0].purpose = KEY_OPERATOR;
    self->roots.keys[0].key = *secret_key_public(self->operator_key);
    strcpy(self->roots.keys[0].principal, "operator/local");
    bool executor_first =
        strcmp(secret_key_public(self->executor_key)->keyid, secret_key_public(self->agent_key)->keyid) < 0;
    enrol(self, executor_first ? 0 : 1, self->executor_key, "executor/local");
    enrol(self, executor_first ? 1 : 0, self->agent_key, "agent/deployer");
    self->view.enrolments = self->enrolments;
    self->view.enrolment_count = 2;
    self->peer = (rpc_peer){.role = ROLE_EXECUTOR, .principal = "unix:uid=1000", .uid = 1000};
    interlock__memory__v1__action_outcome__init(&self->outcome);
    memset(self->digest, 3, sizeof self->digest);
    self->outcome.action_id = "a-1";
    self->outcome.action_digest = (ProtobufCBinaryData){.len = 32, .data = self->digest};
    self->outcome.state = INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_HEALTHY;
    self->outcome.actual_share = -1;
    *state = self;
    return 0;
}

static int world_remove(void **state) {
    world *self = *state;
    secret_key_free(self->operator_key);
    secret_key_free(self->executor_key);
    secret_key_free(self->agent_key);
    arena_free(&self->memory);
    free(self);
    return 0;
}

static Interlock__Common__V1__Envelope *sign(world *self, const secret_key *key, const char *principal) {
    self->outcome.header = statement_header_new(PAYLOAD_OUTCOME, "demo", principal, 60000,
                                                &self->chance_owner.chance, &self->memory);
    Interlock__Common__V1__Envelope *envelope =
        dsse_sign_message(key, PAYLOAD_OUTCOME, &self->outcome.base, &self->memory);
    assert_non_null(envelope);
    return envelope;
}

static status_code verify(world *self, const Interlock__Common__V1__Envelope *envelope, bool fresh,
                          failure *why) {
    const Interlock__Memory__V1__ActionOutcome *out = NULL;
    signer_context context = {
        .roots = &self->roots, .view = &self->view, .fresh = fresh, .source = &self->chance_owner.chance};
    return outcome_verify(&context, &self->peer, envelope, &self->memory, &out, why);
}

static void refuse(world *self, const Interlock__Common__V1__Envelope *envelope, status_code code,
                   const char *reason) {
    failure why = {0};
    assert_int_equal(verify(self, envelope, true, &why), code);
    assert_string_equal(why.reason, reason);
    assert_true(why.message[0] != '\0');
}

static void operators_and_enrolled_executors_may(void **state) {
    world *self = *state;
    failure why = {0};
    assert_int_equal(verify(self, sign(self, self->operator_key, "operator/local"), true, &why), STATUS_OK);
    assert_int_equal(verify(self, sign(self, self->executor_key, "executor/local"), true, &why), STATUS_OK);
    /* The trust file is always at hand; enrolment is not. */
    assert_int_equal(verify(self, sign(self, self->operator_key, "operator/local"), false, &why), STATUS_OK);
    assert_int_equal(verify(self, sign(self, self->executor_key, "executor/local"), false, &why),
                     STATUS_UNAVAILABLE);
    assert_true(why.retry_after_ms > 0);
}

static void nobody_else_may(void **state) {
    world *self = *state;
    secret_key *stranger = make_key(self, KEY_EXECUTOR);
    refuse(self, sign(self, self->agent_key, "agent/deployer"), STATUS_UNAUTHENTICATED, "SIGNER_UNKNOWN");
    refuse(self, sign(self, stranger, "executor/local"), STATUS_UNAUTHENTICATED, "SIGNER_UNKNOWN");
    secret_key_free(stranger);
    refuse(self, sign(self, self->executor_key, "executor/other"), STATUS_UNAUTHENTICATED,
           "STATEMENT_PRINCIPAL");
    refuse(self, NULL, STATUS_INVALID_ARGUMENT, "OUTCOME_MISSING");
    self->statements[0].revoked = self->statements[1].revoked = true;
    refuse(self, sign(self, self->executor_key, "executor/local"), STATUS_UNAUTHENTICATED, "SIGNER_REVOKED");
}

static void a_forged_or_changed_envelope_is_refused(void **state) {
    world *self = *state;
    Interlock__Common__V1__Envelope *envelope = sign(self, self->executor_key, "executor/local");
    envelope->payload.data[envelope->payload.len - 1] ^= 1;
    refuse(self, envelope, STATUS_UNAUTHENTICATED, "SIGNATURE");
    envelope = sign(self, self->executor_key, "executor/local");
    envelope->payload_type = PAYLOAD_ACTION;
    refuse(self, envelope, STATUS_INVALID_ARGUMENT, "PAYLOAD_TYPE");
    envelope = sign(self, self->executor_key, "executor/local");
    envelope->n_signatures = 0;
    refuse(self, envelope, STATUS_INVALID_ARGUMENT, "ONE_SIGNATURE");
    /* Signed, but by the operator under the executor's key hint. */
    envelope = sign(self, self->operator_key, "executor/local");
    envelope->signatures[0]->keyid = (char *)secret_key_public(self->executor_key)->keyid;
    refuse(self, envelope, STATUS_UNAUTHENTICATED, "SIGNATURE");
}

static void every_field_is_bounded(void **state) {
    world *self = *state;
    char long_note[OUTCOME_NOTE_BYTES + 2];
    memset(long_note, 'n', sizeof long_note - 1);
    long_note[sizeof long_note - 1] = '\0';
    self->outcome.action_id = "a 1";
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "BAD_ACTION_ID");
    self->outcome.action_id = "a-1";
    self->outcome.state = INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_UNSPECIFIED;
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "BAD_STATE");
    self->outcome.state = (Interlock__Memory__V1__OutcomeState)9;
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "BAD_STATE");
    self->outcome.state = INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_FAILED;
    self->outcome.actual_share = 1.5;
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "BAD_SHARE");
    self->outcome.actual_share = (double)NAN;
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "BAD_SHARE");
    self->outcome.actual_share = 0.5;
    self->outcome.note = long_note;
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "NOTE_TOO_LONG");
    self->outcome.note = "";
    self->outcome.action_digest.len = 31;
    refuse(self, sign(self, self->operator_key, "operator/local"), STATUS_INVALID_ARGUMENT, "BAD_DIGEST");
}

static void carriers_are_exact_or_open_ended(void **state) {
    (void)state;
    char *carriers[] = {"spiffe://demo/executor/a", "spiffe://demo/executor/west-*", "unix:uid=7"};
    typedef struct carrier_case {
        const char *spiffe_id, *principal;
        bool admitted;
    } carrier_case;
    static const carrier_case cases[] = {
        {"spiffe://demo/executor/a", "", true},
        {"spiffe://demo/executor/ab", "", false},
        {"spiffe://demo/executor/west-1", "", true},
        {"spiffe://demo/executor/west", "", false},
        {"", "unix:uid=7", true},
        {"", "unix:uid=70", false},
        {"spiffe://demo/agent/x", "unix:uid=7", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rpc_peer peer = {0};
        snprintf(peer.spiffe_id, sizeof peer.spiffe_id, "%s", cases[i].spiffe_id);
        snprintf(peer.principal, sizeof peer.principal, "%s", cases[i].principal);
        assert_int_equal(signer_carrier_admitted(carriers, 3, &peer), cases[i].admitted);
        assert_true(signer_carrier_admitted(carriers, 0, &peer));
    }
}

static void the_proposer_may_not_and_the_digest_must_match(void **state) {
    world *self = *state;
    failure why = {0};
    memory_action action = {.latest_index = 4, .has_digest = true, .principal = "agent/deployer"};
    memcpy(action.digest, self->digest, 32);
    sign(self, self->operator_key, "operator/local");
    assert_int_equal(outcome_fits(&self->outcome, &action, &why), STATUS_OK);
    strcpy(action.principal, "operator/local");
    assert_int_equal(outcome_fits(&self->outcome, &action, &why), STATUS_PERMISSION_DENIED);
    strcpy(action.principal, "agent/deployer");
    action.digest[0] ^= 1;
    assert_int_equal(outcome_fits(&self->outcome, &action, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "DIGEST_MISMATCH");
    action.has_digest = false;
    assert_int_equal(outcome_fits(&self->outcome, &action, &why), STATUS_OK);
}

static void audits_answers_are_judged(void **state) {
    world *self = *state;
    failure why = {0};
    uint8_t digest[32];
    uint64_t expect = 0;
    Interlock__Audit__V1__Receipt receipt = INTERLOCK__AUDIT__V1__RECEIPT__INIT, *got = NULL;
    Interlock__Audit__V1__Entry entry = INTERLOCK__AUDIT__V1__ENTRY__INIT;
    Interlock__Audit__V1__Conflict conflict = INTERLOCK__AUDIT__V1__CONFLICT__INIT;
    Interlock__Audit__V1__Refusal refusal = INTERLOCK__AUDIT__V1__REFUSAL__INIT;
    Interlock__Audit__V1__AppendResponse response = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__INIT;
    Interlock__Common__V1__Envelope *mine = sign(self, self->operator_key, "operator/local");
    Interlock__Common__V1__Envelope *other = sign(self, self->operator_key, "operator/local");
    dsse_payload_digest(mine, digest);

    assert_int_equal(outcome_judge(&response, digest, 4, &got, &expect, &why), OUTCOME_FAILED);
    response.result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT;
    response.receipt = &receipt;
    assert_int_equal(outcome_judge(&response, digest, 4, &got, &expect, &why), OUTCOME_RECORDED);
    assert_ptr_equal(got, &receipt);

    response.result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT;
    response.conflict = &conflict;
    conflict.latest = &entry;
    conflict.receipt = &receipt;
    entry.index = 9;
    entry.record = mine;
    got = NULL;
    assert_int_equal(outcome_judge(&response, digest, 4, &got, &expect, &why), OUTCOME_RECORDED);
    assert_ptr_equal(got, &receipt);
    entry.record = other;
    assert_int_equal(outcome_judge(&response, digest, 4, &got, &expect, &why), OUTCOME_RETRY);
    assert_int_equal(expect, 9);
    assert_int_equal(outcome_judge(&response, digest, 9, &got, &expect, &why), OUTCOME_FAILED);
    assert_string_equal(why.reason, "CONFLICT_WITHOUT_WINNER");

    response.result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL;
    response.refusal = &refusal;
    refusal.reason = INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_INVALID;
    assert_int_equal(outcome_judge(&response, digest, 4, &got, &expect, &why), OUTCOME_FAILED);
    assert_int_equal(why.code, STATUS_INVALID_ARGUMENT);
    refusal.reason = INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_FENCED;
    assert_int_equal(outcome_judge(&response, digest, 4, &got, &expect, &why), OUTCOME_FAILED);
    assert_int_equal(why.code, STATUS_FAILED_PRECONDITION);
}

int main(void) {
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operators_and_enrolled_executors_may, world_make, world_remove),
        cmocka_unit_test_setup_teardown(nobody_else_may, world_make, world_remove),
        cmocka_unit_test_setup_teardown(a_forged_or_changed_envelope_is_refused, world_make, world_remove),
        cmocka_unit_test_setup_teardown(every_field_is_bounded, world_make, world_remove),
        cmocka_unit_test(carriers_are_exact_or_open_ended),
        cmocka_unit_test_setup_teardown(the_proposer_may_not_and_the_digest_must_match, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(audits_answers_are_judged, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
