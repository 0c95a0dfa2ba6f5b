/* Policy sets for the tests of the commands: from text, as files have it. */
#ifndef TESTS_CLI_POLICY_SETS_H
#define TESTS_CLI_POLICY_SETS_H

#include <stdio.h>

#include "policies/policies.h"
#include "test.h"

#define SET_HEAD "apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: test, version: 1}\n"
#define RULE(name, effect, verbs, rest)                                                                      \
    "---\napiVersion: interlock/v1\nkind: Policy\nmetadata: {name: " name "}\nspec:\n  effect: " effect      \
    "\n  match: {verbs: [" verbs "], targets: [\"service:prod/*\"]}\n" rest

static inline policy_set *set_of(const char *text) {
    arena memory;
    failure why = {0};
    policy_set *set = NULL;
    policy_problems problems = {0};
    const policy_source source = {.file = "test.yaml", .text = bytes_of_text(text)};
    arena_init(&memory, 65536, 16U << 20);
    status_code code = policies_load(&source, 1, &memory, &set, &problems, &why);
    if (code != STATUS_OK)
        fprintf(stderr, "%s\n", why.message);
    assert_int_equal(code, STATUS_OK);
    arena_free(&memory);
    return set;
}

#endif
