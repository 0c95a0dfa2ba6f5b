/* See document.h. */
#include "document.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "policies/check.h"

#define PROBLEMS_BYTES (1U << 20)
#define FILE_NAME "policy"

typedef struct owned_document {
    policy_document document; /* first: what is handed out */
    atomic_uint references;
} owned_document;

static status_code load(bytes text, policy_set **out, failure *why) {
    arena memory;
    policy_problems problems;
    policy_source source = {FILE_NAME, text};
    arena_init(&memory, 16384, PROBLEMS_BYTES);
    status_code code = policies_load(&source, 1, &memory, out, &problems, why);
    arena_free(&memory);
    return code;
}

status_code document_parse(bytes text, policy_document **out, failure *why) {
    owned_document *made = calloc(1, sizeof *made);
    if (made == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE", "no memory for the policy");
    status_code code = load(text, &made->document.set, why);
    if (code != STATUS_OK) {
        free(made);
        return code;
    }
    uint8_t digest[CRYPTO_HASH_BYTES];
    sha256(text, digest);
    hex_encode(bytes_of(digest, sizeof digest), made->document.digest);
    made->document.version = made->document.set->version;
    atomic_init(&made->references, 1);
    *out = &made->document;
    return STATUS_OK;
}

status_code document_read(const Interlock__Control__V1__PolicySet *statement, policy_document **out,
                          failure *why) {
    policy_document *made = NULL;
    status_code code =
        document_parse(bytes_of(statement->document.data, statement->document.len), &made, why);
    if (code != STATUS_OK)
        return code;
    made->version = statement->version;
    *out = made;
    return STATUS_OK;
}

policy_document *document_ref(policy_document *self) {
    atomic_fetch_add(&((owned_document *)self)->references, 1);
    return self;
}

void document_unref(policy_document *self) {
    owned_document *owned = (owned_document *)self;
    if (owned == NULL || atomic_fetch_sub(&owned->references, 1) != 1)
        return;
    policies_unref(owned->document.set);
    free(owned);
}

/* ---- what may get into force ---- */

static status_code check_names(const Interlock__Control__V1__PolicySet *statement, const policy_set *set,
                               failure *why) {
    uint64_t stated = statement->rollback_of != 0 ? statement->rollback_of : statement->version;
    if (strcmp(set->name, statement->name) == 0 && set->version == stated)
        return STATUS_OK;
    return fail_field(why, "metadata", "POLICY_INVALID",
                      "the document is %s version %llu, the statement says %.128s version %llu; state the "
                      "document's",
                      set->name, (unsigned long long)set->version, statement->name,
                      (unsigned long long)stated);
}

static status_code refuse_problem(const policy_problem *problem, failure *why) {
    buffer text;
    buffer_init(&text, 2048);
    policy_problem_print(problem, &text);
    const char *said = buffer_ok(&text) && text.data != NULL ? text.data : problem->message;
    status_code code = strcmp(problem->reason, "LOCK_OUT") == 0
                           ? fail(why, STATUS_FAILED_PRECONDITION, "POLICY_LOCKS_OUT",
                                  "%.300s; say --accept-lock-out if it is meant", said)
                           : fail_field(why, problem->rule, "POLICY_INVALID", "%.400s", said);
    buffer_free(&text);
    return code;
}

static status_code check_problems(const Interlock__Control__V1__PolicySet *statement, const policy_set *set,
                                  failure *why) {
    arena memory;
    policy_problems problems = {0};
    arena_init(&memory, 65536, 16U << 20);
    status_code code = policies_check(set, NULL, &memory, &problems, why);
    bool forgives = statement->accept_lock_out || statement->shadow;
    for (size_t i = 0; i < problems.count && code == STATUS_OK; i++) {
        const policy_problem *problem = &problems.items[i];
        bool locks = strcmp(problem->reason, "LOCK_OUT") == 0;
        if (problem->gravity == POLICY_ERROR && !(locks && forgives))
            code = refuse_problem(problem, why);
    }
    arena_free(&memory);
    return code;
}

status_code document_check(const Interlock__Control__V1__PolicySet *statement, failure *why) {
    policy_document *document = NULL;
    if (statement->shadow && statement->document.len == 0)
        return STATUS_OK;
    status_code code = document_read(statement, &document, why);
    if (code == STATUS_OK)
        code = check_names(statement, document->set, why);
    if (code == STATUS_OK)
        code = check_problems(statement, document->set, why);
    document_unref(document);
    return code;
}
