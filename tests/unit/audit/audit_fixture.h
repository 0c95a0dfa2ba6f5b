/* A log in a temporary folder with a simulated clock, and short ways to append to it. Include before
 * cmocka.h. */
#ifndef AUDIT_FIXTURE_H
#define AUDIT_FIXTURE_H

#include "audit_log.h"
#include "entry.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND(name) INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_##name
#define REFUSED(name) INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_##name
#define FIXTURE_BOOT "11111111-2222-3333-4444-555555555555"

typedef struct fixture {
    char folder[64];
    char directory[96];
    simulated_chance world;
    secret_key *key;
    trust roots;
    audit_log_options options;
    audit_log *log;
    arena memory;
} fixture;

static inline void fixture_open(fixture *self) {
    failure why = {0};
    if (audit_log_open(&self->log, &self->options, &why) != STATUS_OK)
        fail_msg("cannot open the log: %s", why.message);
}

static inline void fixture_close(fixture *self) {
    audit_log_close(self->log);
    self->log = NULL;
}

static inline void fixture_reopen(fixture *self) {
    fixture_close(self);
    fixture_open(self);
}

static inline fixture *fixture_new(uint64_t seed) {
    failure why = {0};
    fixture *self = calloc(1, sizeof *self);
    assert_non_null(self);
    crypto_init();
    const char *root = getenv("TMPDIR");
    snprintf(self->folder, sizeof self->folder, "%.40s/audit-test-XXXXXX", root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->directory, sizeof self->directory, "%s/audit", self->folder);
    simulated_chance_init(&self->world, seed);
    assert_int_equal(secret_key_generate(&self->world.chance, KEY_CHECKPOINT, &self->key, &why), STATUS_OK);
    snprintf(self->roots.installation, sizeof self->roots.installation, "test");
    snprintf(self->roots.origin, sizeof self->roots.origin, "test.interlock.local/log");
    self->roots.count = 1;
    self->roots.keys[0].purpose = KEY_CHECKPOINT;
    snprintf(self->roots.keys[0].principal, sizeof self->roots.keys[0].principal, "service/audit");
    self->roots.keys[0].key = *secret_key_public(self->key);
    self->options = (audit_log_options){.directory = self->directory,
                                        .roots = &self->roots,
                                        .key = self->key,
                                        .source = &self->world.chance,
                                        .boot_id = FIXTURE_BOOT};
    arena_init(&self->memory, 1U << 16, 64U << 20);
    return self;
}

static inline void remove_folder(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (struct dirent *item; (item = readdir(folder)) != NULL;) {
        char full[512];
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        snprintf(full, sizeof full, "%s/%s", path, item->d_name);
        if (unlink(full) != 0)
            remove_folder(full);
    }
    closedir(folder);
    rmdir(path);
}

static inline void fixture_free(fixture *self) {
    fixture_close(self);
    secret_key_free(self->key);
    arena_free(&self->memory);
    remove_folder(self->folder);
    free(self);
}

static inline int fixture_setup(void **state) {
    fixture *self = fixture_new(1);
    fixture_open(self);
    *state = self;
    return 0;
}

static inline int fixture_teardown(void **state) {
    fixture_free(*state);
    return 0;
}

/* A request whose payload is `content`; in the arena. */
static inline Interlock__Audit__V1__AppendRequest *request_new(fixture *self,
                                                               Interlock__Audit__V1__RecordKind kind,
                                                               const char *action_id, uint64_t expect,
                                                               const char *verdict, const char *content) {
    arena *memory = &self->memory;
    Interlock__Audit__V1__AppendRequest *request = arena_alloc(memory, sizeof *request);
    Interlock__Common__V1__Envelope *record = arena_alloc(memory, sizeof *record);
    Interlock__Common__V1__Signature *signature = arena_alloc(memory, sizeof *signature);
    Interlock__Common__V1__Signature **signatures = arena_alloc(memory, sizeof(void *));
    uint8_t *raw = arena_zero(memory, 1, CRYPTO_SIGNATURE_BYTES);
    assert_true(request != NULL && record != NULL && signature != NULL && signatures != NULL && raw != NULL);
    interlock__audit__v1__append_request__init(request);
    interlock__common__v1__envelope__init(record);
    interlock__common__v1__signature__init(signature);
    signature->sig = (ProtobufCBinaryData){.len = CRYPTO_SIGNATURE_BYTES, .data = raw};
    signature->keyid = arena_text(memory, "00112233445566778899aabbccddeeff");
    signatures[0] = signature;
    record->payload_type = arena_text(memory, "application/vnd.interlock.test.v1");
    record->payload.len = strlen(content);
    record->payload.data = arena_copy(memory, content, strlen(content));
    record->n_signatures = 1;
    record->signatures = signatures;
    request->kind = kind;
    request->action_id = arena_text(memory, action_id);
    request->expect = expect;
    request->verdict = arena_text(memory, verdict);
    request->record = record;
    return request;
}

static inline void request_charge(fixture *self, Interlock__Audit__V1__AppendRequest *request,
                                  const char *key, uint64_t cap, uint64_t window_ms, uint64_t cost) {
    Interlock__Audit__V1__Counter **list =
        arena_alloc(&self->memory, (request->n_counters + 1) * sizeof(void *));
    Interlock__Audit__V1__Counter *counter = arena_alloc(&self->memory, sizeof *counter);
    assert_true(list != NULL && counter != NULL);
    interlock__audit__v1__counter__init(counter);
    counter->key = arena_text(&self->memory, key);
    counter->cap = cap;
    counter->window_ms = window_ms;
    counter->cost = cost;
    if (request->n_counters > 0)
        memcpy(list, request->counters, request->n_counters * sizeof(void *));
    list[request->n_counters++] = counter;
    request->counters = list;
}

static inline append *prepare(const Interlock__Audit__V1__AppendRequest *request) {
    failure why = {0};
    append *item = NULL;
    if (append_prepare(request, &item, &why) != STATUS_OK)
        fail_msg("refused: %s", why.message);
    return item;
}

/* Appends one request as a group of its own. */
static inline append_result append_request(fixture *self,
                                           const Interlock__Audit__V1__AppendRequest *request) {
    failure why = {0};
    append *item = prepare(request);
    static append_result result;
    if (audit_log_append(self->log, &item, 1, &result, &why) != STATUS_OK)
        fail_msg("cannot append: %s", why.message);
    append_free(item);
    result.counter_key = NULL;
    return result;
}

static inline append_result append_decision(fixture *self, const char *action_id, uint64_t expect,
                                            const char *content) {
    return append_request(self, request_new(self, KIND(DECISION), action_id, expect, "DENY", content));
}

static inline Interlock__Audit__V1__AppendResponse *answer(fixture *self, const append_result *result) {
    failure why = {0};
    Interlock__Audit__V1__AppendResponse *response = arena_alloc(&self->memory, sizeof *response);
    assert_non_null(response);
    interlock__audit__v1__append_response__init(response);
    if (audit_log_answer(self->log, result, &self->memory, response, &why) != STATUS_OK)
        fail_msg("no answer: %s", why.message);
    return response;
}

/* Everything that a holder of a receipt can check offline. */
static inline void assert_receipt(fixture *self, const Interlock__Audit__V1__Receipt *receipt,
                                  const Interlock__Common__V1__Envelope *record) {
    failure why = {0};
    checkpoint head;
    merkle_hash leaf_hash;
    merkle_proof proof = {.count = receipt->n_proof};
    Interlock__Audit__V1__Leaf *leaf = NULL;
    bytes packed = bytes_of(receipt->leaf.data, receipt->leaf.len);
    assert_int_equal(checkpoint_verify(bytes_of_text(receipt->checkpoint), self->roots.origin,
                                       &self->roots.keys[0].key, &head, &why),
                     STATUS_OK);
    assert_true(receipt->n_proof <= MERKLE_PROOF_MAX);
    for (size_t i = 0; i < receipt->n_proof; i++) {
        assert_int_equal(receipt->proof[i].len, MERKLE_HASH_BYTES);
        memcpy(proof.hashes[i].bytes, receipt->proof[i].data, MERKLE_HASH_BYTES);
    }
    merkle_leaf_hash(packed, &leaf_hash);
    assert_true(merkle_verify_inclusion(&leaf_hash, receipt->index, head.size, &proof, &head.root));
    assert_int_equal(leaf_parse(packed, &self->memory, &leaf, &why), STATUS_OK);
    if (record != NULL)
        assert_true(leaf_opens(leaf, bytes_of(receipt->salt.data, receipt->salt.len), record));
}

#endif
