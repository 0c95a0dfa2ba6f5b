/* Policy sets change while others decide by them: every decision is made by one whole set, and none is
 * dropped. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "books.h"
#include "test.h"

#define DECIDERS 3
#define CHANGES 400

static const char SET[] = "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: shop, version: %d}}\n"
                          "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: a}, spec: {match: "
                          "{verbs: [deploy], targets: "
                          "['*']}, effect: %s}}\n"
                          "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: b}, spec: {match: "
                          "{verbs: [deploy], targets: "
                          "['service:*']}, effect: permit, when: 'size(targets) == 1'}}\n";

/* Odd versions permit, even ones forbid. */
typedef struct version {
    Interlock__Control__V1__PolicySet statement;
    char text[1024];
    char digest[2 * CRYPTO_HASH_BYTES + 1];
} version;

static version versions[2];
static books subject;
static atomic_int present; /* which of the two is in force */
static atomic_bool done;
static atomic_size_t decided, wrong;

static void version_make(version *self, int number) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    (void)snprintf(self->text, sizeof self->text, SET, number, number % 2 == 1 ? "permit" : "forbid");
    interlock__control__v1__policy_set__init(&self->statement);
    self->statement.version = (uint64_t)number;
    self->statement.document = (ProtobufCBinaryData){strlen(self->text), (uint8_t *)self->text};
    sha256(bytes_of_text(self->text), digest);
    hex_encode(bytes_of(digest, sizeof digest), self->digest);
}

static bool decide_once(arena *memory) {
    bool unreadable = false;
    const version *now = &versions[atomic_load(&present)];
    policy_document *document = books_acquire(&subject, &now->statement, now->digest, &unreadable);
    if (document == NULL || unreadable)
        return false;
    const policy_target target = {.name = "service:prod/shop/cart"};
    const policy_facts facts = {.action = {.verb = "deploy"}, .targets = &target, .target_count = 1};
    policy_result result = {0};
    failure why = {0};
    arena_reset(memory);
    bool judged = policies_evaluate(document->set, &facts, memory, &result, &why) == STATUS_OK;
    bool permits = result.outcome == POLICY_ALLOW;
    bool whole =
        judged && document->version == now->statement.version && permits == (document->version % 2 == 1);
    document_unref(document);
    return whole;
}

static void *decider(void *context) {
    (void)context;
    arena memory;
    arena_init(&memory, 65536, 1U << 20);
    while (!atomic_load(&done)) {
        atomic_fetch_add(decide_once(&memory) ? &decided : &wrong, 1);
    }
    arena_free(&memory);
    return NULL;
}

static void test_sets_change_while_others_decide(void **state) {
    (void)state;
    pthread_t threads[DECIDERS];
    books_init(&subject);
    version_make(&versions[0], 1);
    version_make(&versions[1], 2);
    for (int i = 0; i < DECIDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decider, NULL), 0);
    for (int i = 0; i < CHANGES; i++) {
        size_t before = atomic_load(&decided);
        atomic_store(&present, i % 2);
        while (atomic_load(&decided) < before + 3 && atomic_load(&wrong) == 0)
            sched_yield();
    }
    atomic_store(&done, true);
    for (int i = 0; i < DECIDERS; i++)
        pthread_join(threads[i], NULL);
    books_free(&subject);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&decided) >= CHANGES);
}

static void test_no_set_and_no_document(void **state) {
    (void)state;
    bool unreadable = true;
    Interlock__Control__V1__PolicySet ended = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    books_init(&subject);
    assert_null(books_acquire(&subject, NULL, "", &unreadable));
    assert_false(unreadable);
    assert_null(books_acquire(&subject, &ended, versions[0].digest, &unreadable));
    assert_false(unreadable);
    ended.document = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "a: [b"};
    assert_null(books_acquire(&subject, &ended, versions[0].digest, &unreadable));
    assert_true(unreadable);
    books_free(&subject);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_change_while_others_decide),
        cmocka_unit_test(test_no_set_and_no_document),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
