/* What the tests of lib/control share: an installation with one operator, and the statements that she signs.
 * Include after the headers under test. */
#ifndef TEST_CONTROL_STATEMENTS_H
#define TEST_CONTROL_STATEMENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "control/control.h"
#include "crypto/dsse.h"
#include "wire/scan.h"

#define INSTALLATION "demo"
#define OPERATOR "operator/alice"

typedef struct installation {
    trust roots;
    secret_key *alice;   /* rooted */
    secret_key *bob;     /* an operator as well */
    secret_key *mallory; /* of nobody */
    secret_key *record;  /* rooted, for another purpose */
} installation;

static inline void root_key(trust *roots, const char *principal, key_purpose purpose, const secret_key *key) {
    trust_key *entry = &roots->keys[roots->count++];
    snprintf(entry->principal, sizeof entry->principal, "%s", principal);
    entry->purpose = purpose;
    entry->key = *secret_key_public(key);
}

static inline void installation_make(installation *self) {
    failure why = {0};
    crypto_init();
    memset(self, 0, sizeof *self);
    snprintf(self->roots.installation, sizeof self->roots.installation, INSTALLATION);
    snprintf(self->roots.origin, sizeof self->roots.origin, "demo/log");
    assert_int_equal(secret_key_generate(chance_system(), KEY_OPERATOR, &self->alice, &why), STATUS_OK);
    assert_int_equal(secret_key_generate(chance_system(), KEY_OPERATOR, &self->bob, &why), STATUS_OK);
    assert_int_equal(secret_key_generate(chance_system(), KEY_OPERATOR, &self->mallory, &why), STATUS_OK);
    assert_int_equal(secret_key_generate(chance_system(), KEY_RECORD, &self->record, &why), STATUS_OK);
    root_key(&self->roots, OPERATOR, KEY_OPERATOR, self->alice);
    root_key(&self->roots, "operator/bob", KEY_OPERATOR, self->bob);
    root_key(&self->roots, "service/policy", KEY_RECORD, self->record);
}

static inline void installation_free(installation *self) {
    secret_key_free(self->alice);
    secret_key_free(self->bob);
    secret_key_free(self->mallory);
    secret_key_free(self->record);
}

static inline Interlock__Common__V1__StatementHeader *header_of(const char *type, arena *memory) {
    Interlock__Common__V1__StatementHeader *header =
        statement_header_new(type, INSTALLATION, OPERATOR, 0, chance_system(), memory);
    assert_non_null(header);
    return header;
}

static inline Interlock__Control__V1__Kill *kill_new(Interlock__Control__V1__Kill__Scope scope,
                                                     const char *subject, bool set, uint64_t version,
                                                     arena *memory) {
    Interlock__Control__V1__Kill *out = arena_alloc(memory, sizeof *out);
    assert_non_null(out);
    interlock__control__v1__kill__init(out);
    out->header = header_of(PAYLOAD_KILL, memory);
    out->scope = scope;
    out->subject = arena_text(memory, subject);
    out->reason = arena_text(memory, "a test");
    out->set = set;
    out->version = version;
    return out;
}

static inline Interlock__Control__V1__Enrolment *enrolment_new(const char *principal, const public_key *key,
                                                               uint64_t version, arena *memory) {
    Interlock__Control__V1__Enrolment *out = arena_alloc(memory, sizeof *out);
    assert_non_null(out);
    interlock__control__v1__enrolment__init(out);
    out->header = header_of(PAYLOAD_ENROLMENT, memory);
    out->principal = arena_text(memory, principal);
    out->public_key.data = arena_copy(memory, key->bytes, sizeof key->bytes);
    out->public_key.len = sizeof key->bytes;
    out->version = version;
    return out;
}

static inline Interlock__Control__V1__PolicySet *policy_new(const char *document, uint64_t version,
                                                            arena *memory) {
    Interlock__Control__V1__PolicySet *out = arena_alloc(memory, sizeof *out);
    assert_non_null(out);
    interlock__control__v1__policy_set__init(out);
    out->header = header_of(PAYLOAD_POLICY_SET, memory);
    out->name = arena_text(memory, "shop");
    out->document.data = arena_copy(memory, document, strlen(document));
    out->document.len = strlen(document);
    out->version = version;
    return out;
}

static inline bytes packed(const ProtobufCMessage *message, arena *memory) {
    bytes out = {0};
    failure why = {0};
    assert_int_equal(wire_pack(message, memory, &out, &why), STATUS_OK);
    return out;
}

/* As coordination holds it. */
static inline bytes signed_by(const secret_key *key, const char *type, const ProtobufCMessage *message,
                              arena *memory) {
    Interlock__Common__V1__Envelope *envelope = dsse_sign_message(key, type, message, memory);
    assert_non_null(envelope);
    return packed(&envelope->base, memory);
}

#endif
