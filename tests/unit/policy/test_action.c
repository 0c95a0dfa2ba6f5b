/* Opening a proposed action: every way in which one can be wrong has its own answer. */
#include "action.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"
#include "wrong.h"

typedef Interlock__Policy__V1__Action action_message;

typedef struct fixture {
    arena memory;
    simulated_chance world;
    secret_key *key, *other;
    Interlock__Control__V1__Enrolment agent;
    control_enrolment enrolments[1];
    control_view view;
    rpc_peer peer;
    action_gate gate;
    action_message action;
    char *targets[70];
    Interlock__Policy__V1__Argument arguments[2];
    Interlock__Policy__V1__Argument *argument_list[2];
    Interlock__Policy__V1__Reach reach;
} fixture;

static char TARGET[] = "service:prod/shop/cart";

static void fixture_begin(fixture *self) {
    memset(self, 0, sizeof *self);
    failure why = {0};
    arena_init(&self->memory, 65536, 4U << 20);
    simulated_chance_init(&self->world, 11);
    assert_int_equal(secret_key_generate(&self->world.chance, KEY_AGENT, &self->key, &why), STATUS_OK);
    assert_int_equal(secret_key_generate(&self->world.chance, KEY_AGENT, &self->other, &why), STATUS_OK);
    interlock__control__v1__enrolment__init(&self->agent);
    self->agent.principal = arena_text(&self->memory, "agent/deployer");
    self->enrolments[0] =
        (control_enrolment){.key = *secret_key_public(self->key), .statement = &self->agent};
    memcpy(self->enrolments[0].keyid, secret_key_public(self->key)->keyid, sizeof self->enrolments[0].keyid);
    self->view = (control_view){.seq = 1, .enrolments = self->enrolments, .enrolment_count = 1};
    (void)snprintf(self->peer.principal, sizeof self->peer.principal, "unix:uid=1000");
    self->gate = (action_gate){&self->view, "demo", &self->peer, &self->world.chance};
    interlock__policy__v1__action__init(&self->action);
    interlock__policy__v1__reach__init(&self->reach);
    self->action.header = statement_header_new(PAYLOAD_ACTION, "demo", "agent/deployer", 60000,
                                               &self->world.chance, &self->memory);
    self->action.action_id = arena_text(&self->memory, "a-1");
    self->action.actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT;
    self->action.verb = arena_text(&self->memory, "deploy");
    self->targets[0] = TARGET;
    self->action.targets = self->targets;
    self->action.n_targets = 1;
    for (size_t i = 0; i < 2; i++) {
        interlock__policy__v1__argument__init(&self->arguments[i]);
        self->arguments[i].name = arena_text(&self->memory, i == 0 ? "a" : "b");
        self->argument_list[i] = &self->arguments[i];
    }
    self->action.arguments = self->argument_list;
    self->action.n_arguments = 2;
    self->action.reach = &self->reach;
}

static void fixture_end(fixture *self) {
    secret_key_free(self->key);
    secret_key_free(self->other);
    arena_free(&self->memory);
}

static Interlock__Common__V1__Envelope *signed_by(fixture *self, const secret_key *key) {
    Interlock__Common__V1__Envelope *envelope =
        dsse_sign_message(key, PAYLOAD_ACTION, &self->action.base, &self->memory);
    assert_non_null(envelope);
    return envelope;
}

static void expect(fixture *self, const Interlock__Common__V1__Envelope *envelope, status_code code,
                   const char *reason) {
    failure why = {0};
    proposal opened = {0};
    status_code got = action_open(&self->gate, envelope, &self->memory, &opened, &why);
    if (got != code || (code != STATUS_OK && strcmp(why.reason, reason) != 0))
        WRONG("%s %s: %s (wanted %s %s)", status_name(got), why.reason, why.message, status_name(code),
              reason);
    assert_int_equal(opened.action != NULL, code == STATUS_OK);
}

static void test_good(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    Interlock__Common__V1__Envelope *envelope = signed_by(&self, self.key);
    failure why = {0};
    proposal opened;
    assert_int_equal(action_open(&self.gate, envelope, &self.memory, &opened, &why), STATUS_OK);
    assert_string_equal(opened.action->action_id, "a-1");
    assert_ptr_equal(opened.enrolment, &self.enrolments[0]);
    assert_false(opened.expired);
    uint8_t digest[32];
    sha256(bytes_of(envelope->payload.data, envelope->payload.len), digest);
    assert_memory_equal(opened.digest, digest, 32);
    simulated_chance_advance(&self.world, 60000ULL * 1000000);
    assert_int_equal(action_open(&self.gate, envelope, &self.memory, &opened, &why), STATUS_OK);
    assert_true(opened.expired);
    assert_int_equal(action_refuse_expired(&opened, &self.world.chance, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "STATEMENT_EXPIRED");
    fixture_end(&self);
}

static void test_signature_and_identity(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    expect(&self, NULL, STATUS_INVALID_ARGUMENT, "ACTION_INVALID");
    expect(&self, signed_by(&self, self.other), STATUS_UNAUTHENTICATED, "AGENT_NOT_ENROLLED");
    Interlock__Common__V1__Envelope *envelope = signed_by(&self, self.other);
    envelope->signatures[0]->keyid = self.enrolments[0].keyid;
    expect(&self, envelope, STATUS_UNAUTHENTICATED, "SIGNATURE_INVALID");
    envelope = signed_by(&self, self.key);
    envelope->payload.data[10] ^= 1;
    expect(&self, envelope, STATUS_UNAUTHENTICATED, "SIGNATURE_INVALID");
    envelope = signed_by(&self, self.key);
    envelope->n_signatures = 0;
    expect(&self, envelope, STATUS_UNAUTHENTICATED, "SIGNATURE_INVALID");
    envelope = signed_by(&self, self.key);
    envelope->payload_type = arena_text(&self.memory, PAYLOAD_OUTCOME);
    expect(&self, envelope, STATUS_INVALID_ARGUMENT, "ACTION_INVALID");
    envelope = signed_by(&self, self.key);
    self.agent.revoked = true;
    expect(&self, envelope, STATUS_UNAUTHENTICATED, "KEY_REVOKED");
    self.agent.revoked = false;
    self.agent.principal = arena_text(&self.memory, "executor/local");
    expect(&self, envelope, STATUS_PERMISSION_DENIED, "PRINCIPAL_CANNOT_PROPOSE");
    self.agent.principal = arena_text(&self.memory, "agent/another");
    expect(&self, envelope, STATUS_UNAUTHENTICATED, "PRINCIPAL_MISMATCH");
    fixture_end(&self);
}

static void test_header(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    self.action.header->issued_at_ms += 3600000;
    self.action.header->expires_at_ms += 3600000;
    expect(&self, signed_by(&self, self.key), STATUS_INVALID_ARGUMENT, "STATEMENT_FROM_THE_FUTURE");
    self.action.header->issued_at_ms -= 3600000;
    expect(&self, signed_by(&self, self.key), STATUS_INVALID_ARGUMENT, "STATEMENT_LIFETIME");
    self.action.header->expires_at_ms = self.action.header->issued_at_ms + 1000;
    self.action.header->installation = arena_text(&self.memory, "elsewhere");
    expect(&self, signed_by(&self, self.key), STATUS_INVALID_ARGUMENT, "STATEMENT_INSTALLATION");
    self.action.header->installation = arena_text(&self.memory, "demo");
    self.action.header->nonce.len = 8;
    expect(&self, signed_by(&self, self.key), STATUS_INVALID_ARGUMENT, "STATEMENT_NONCE");
    self.action.header = NULL;
    expect(&self, signed_by(&self, self.key), STATUS_INVALID_ARGUMENT, "STATEMENT_TYPE");
    fixture_end(&self);
}

static void test_bytes_that_are_not_canonical(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    bytes packed;
    failure why = {0};
    assert_int_equal(wire_pack(&self.action.base, &self.memory, &packed, &why), STATUS_OK);
    static const struct {
        uint8_t tail[16];
        size_t size;
    } tails[] = {{{0x4a, 1, 'x'}, 3}, {{0x80, 1}, 2}, {{0xa0, 0x38, 1}, 3}, {{0x80, 0x01, 0x00}, 3}};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        uint8_t *payload = arena_alloc(&self.memory, packed.size + tails[i].size);
        assert_non_null(payload);
        memcpy(payload, packed.data, packed.size);
        memcpy(payload + packed.size, tails[i].tail, tails[i].size);
        Interlock__Common__V1__Envelope *envelope =
            dsse_sign(self.key, PAYLOAD_ACTION, bytes_of(payload, packed.size + tails[i].size), &self.memory);
        proposal opened;
        assert_int_equal(action_open(&self.gate, envelope, &self.memory, &opened, &why),
                         STATUS_INVALID_ARGUMENT);
    }
    fixture_end(&self);
}

static void test_carriers(void **state) {
    (void)state;
    static const struct {
        const char *carrier, *principal, *spiffe;
        bool allowed;
    } rows[] = {
        {"unix:uid=1000", "unix:uid=1000", "", true},
        {"unix:uid=100", "unix:uid=1000", "", false},
        {"unix:uid=10000", "unix:uid=1000", "", false},
        {"unix:uid=*", "unix:uid=1000", "", true},
        {"spiffe://demo/agent/a", "agent/a", "spiffe://demo/agent/a", true},
        {"spiffe://demo/agent/*", "agent/a", "spiffe://demo/agent/a", true},
        {"spiffe://demo/operator/*", "agent/a", "spiffe://demo/agent/a", false},
        {"agent/a", "agent/a", "spiffe://demo/agent/a", true},
        {"", "", "", false},
        {"*", "", "", false},
        {"*", "agent/a", "", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Interlock__Control__V1__Enrolment enrolment = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
        char carrier[64];
        char *carriers[] = {carrier};
        (void)snprintf(carrier, sizeof carrier, "%s", rows[i].carrier);
        enrolment.carriers = carriers;
        enrolment.n_carriers = 1;
        rpc_peer peer = {0};
        (void)snprintf(peer.principal, sizeof peer.principal, "%s", rows[i].principal);
        (void)snprintf(peer.spiffe_id, sizeof peer.spiffe_id, "%s", rows[i].spiffe);
        if (action_carrier_allowed(&enrolment, &peer) != rows[i].allowed)
            WRONG("carrier row %zu", i);
        enrolment.n_carriers = 0;
        assert_true(action_carrier_allowed(&enrolment, &peer));
    }
}

static void expect_shape(fixture *self, const char *field) {
    failure why = {0};
    status_code code = action_check(&self->action, &why);
    if (field == NULL) {
        assert_int_equal(code, STATUS_OK);
        return;
    }
    if (code != STATUS_INVALID_ARGUMENT || strcmp(why.field, field) != 0)
        WRONG("%s [%s] (wanted %s)", why.message, why.field, field);
    assert_string_equal(why.reason, "ACTION_INVALID");
}

static char *repeated(fixture *self, char c, size_t count) {
    char *text = arena_alloc(&self->memory, count + 1);
    assert_non_null(text);
    memset(text, c, count);
    text[count] = '\0';
    return text;
}

static void test_shape_of_words(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    const struct {
        char **place;
        const char *field;
        const char *good[4];
        const char *bad[8];
    } rows[] = {
        {&self.action.action_id,
         "action_id",
         {"a", "A.b_c-d:9", repeated(&self, 'a', 128)},
         {"", "a b", "a/b", "ä", repeated(&self, 'a', 129)}},
        {&self.action.verb,
         "verb",
         {"d", "config.set", repeated(&self, 'a', 64)},
         {"", "Deploy", "9", ".x", "a b", "a*", repeated(&self, 'a', 65)}},
        {&self.action.executor,
         "executor",
         {"", "executor/local"},
         {"local", "agent/x", "executor/", "executor/a b"}},
        {&self.action.intent, "intent", {"", repeated(&self, 'i', 4096)}, {repeated(&self, 'i', 4097)}},
        {&self.action.session_id, "session_id", {""}, {repeated(&self, 'i', 257)}},
        {&self.action.on_behalf_of, "on_behalf_of", {""}, {repeated(&self, 'i', 257)}},
        {&self.reach.region, "reach.region", {"eu"}, {repeated(&self, 'i', 129)}},
        {&self.targets[0],
         "targets[0]",
         {"service:prod/shop/cart", "endpoint:p/n/GET:/cart", "queue:a.b/c_d/e-f"},
         {"", "cart", "service:prod/cart", "service:prod/shop/", "thing:prod/shop/cart",
          "service:prod/shop/a b", "service:prod/shop/*", "service:/shop/cart"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *kept = *rows[i].place;
        for (size_t k = 0; k < 4 && rows[i].good[k] != NULL; k++) {
            *rows[i].place = arena_text(&self.memory, rows[i].good[k]);
            expect_shape(&self, NULL);
        }
        for (size_t k = 0; k < 8 && rows[i].bad[k] != NULL; k++) {
            *rows[i].place = arena_text(&self.memory, rows[i].bad[k]);
            expect_shape(&self, rows[i].field);
        }
        *rows[i].place = kept;
        expect_shape(&self, NULL);
    }
    fixture_end(&self);
}

static void test_shape_of_lists_and_numbers(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    self.action.n_targets = 0;
    expect_shape(&self, "targets");
    for (size_t i = 0; i < 65; i++)
        self.targets[i] = arena_format(&self.memory, "service:prod/shop/s%zu", i);
    self.action.n_targets = 64;
    expect_shape(&self, NULL);
    self.action.n_targets = 65;
    expect_shape(&self, "targets");
    self.action.n_targets = 2;
    self.targets[1] = self.targets[0];
    expect_shape(&self, "targets[1]");
    self.action.n_targets = 1;
    self.arguments[1].name = self.arguments[0].name;
    expect_shape(&self, "arguments[1]");
    self.arguments[1].name = arena_text(&self.memory, "");
    expect_shape(&self, "arguments[1]");
    self.action.n_arguments = 1;
    self.arguments[0].value = repeated(&self, 'v', ACTION_VALUE_BYTES + 1);
    expect_shape(&self, "arguments[0]");
    self.action.n_arguments = 0;
    static const double percents[] = {-0.5, 100.5};
    for (size_t i = 0; i < 2; i++) {
        self.reach.percent = percents[i];
        expect_shape(&self, "reach.percent");
    }
    self.reach.percent = strtod("nan", NULL);
    expect_shape(&self, "reach.percent");
    self.reach.percent = 100;
    self.action.actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_UNSPECIFIED;
    expect_shape(&self, "actor_kind");
    fixture_end(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_signature_and_identity),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_bytes_that_are_not_canonical),
        cmocka_unit_test(test_carriers),
        cmocka_unit_test(test_shape_of_words),
        cmocka_unit_test(test_shape_of_lists_and_numbers),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
