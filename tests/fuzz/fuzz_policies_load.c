/* Any bytes as policy documents: refused with a place, or a set that can be checked, explained and asked for
 * its stages. */
#include <assert.h>
#include <string.h>

#include "policies/check.h"
#include "policies/explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(policy_set *set, arena *memory) {
    policy_problems problems;
    policy_explanation told;
    failure why = {0};
    const policy_target target = {.name = "service:prod/shop/cart"};
    const policy_facts facts = {.action = {.verb = "deploy", .actor_kind = "agent"},
                                .agent = {.principal = "agent/deployer"},
                                .targets = &target,
                                .target_count = 1,
                                .now_ms = 1700000000000};
    assert(set->version > 0 && set->name[0] != '\0');
    status_code code = policies_check(set, NULL, memory, &problems, &why);
    assert(code == STATUS_OK || code == STATUS_RESOURCE_EXHAUSTED);
    (void)code;
    if (policies_explain(set, &facts, memory, &told, &why) == STATUS_OK)
        assert(told.result.outcome >= POLICY_ALLOW && told.result.outcome <= POLICY_DENY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    policy_set *set = NULL;
    policy_problems problems;
    failure why = {0};
    arena memory;
    arena_init(&memory, 65536, 16U << 20);
    policy_source source = {"fuzz", bytes_of(data, size)};
    status_code code = policies_load(&source, 1, &memory, &set, &problems, &why);
    if (code == STATUS_OK)
        use(set, &memory);
    else
        assert(set == NULL && why.message[0] != '\0' && utf8_valid(bytes_of_text(why.message)));
    policies_unref(set);
    arena_free(&memory);
    return 0;
}
