/* Facts drawn from the input against a set that uses every kind of rule: the outcome is one of five, what
 * opens rests on rules that hold alone, and the index finds what a scan of all rules finds. */
#include <assert.h>
#include <string.h>

#include "policies/explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RULE(name, verbs, targets, rest)                                                                     \
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: " name                                   \
    "}, spec: {match: {verbs: [" verbs "], targets: [" targets "]}, effect: " rest "}}\n"

static const char SET[] =
    "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: fuzz, version: 1}}\n"
    "---\n{apiVersion: interlock/v1, kind: Quorum, metadata: {name: q}, spec: {groups: [{name: g, members: "
    "['approver/*'], at_least: 1}]}}\n"
    "---\n{apiVersion: interlock/v1, kind: Zone, metadata: {name: z}, spec: {targets: "
    "['service:prod/*']}}\n" RULE("a", "deploy, 'd*'", "'service:*', 'service:prod/shop/*'",
                                  "permit, bounds: {entry_traffic: 0.5, percent: 50}")
        RULE("b", "'*'", "'*/cart', {kinds: ['s*'], tiers: [1, 2]}",
             "review, quorum: q, when: 'action.intent != \"\"'")
            RULE("c", "restart", "'*'",
                 "forbid, when: 'targets.exists(t, t.zone == \"z\" && t.id.matches(\"^c\"))'")
                RULE("d", "'*'", "{labels: {app: '*'}}", "defer, when: 'impact.entry_traffic.high > 0.9'")
                    RULE("e", "'*'", "'*'", "warn, when: 'action.intent.size() / action.reach.replicas > 3'")
                        RULE("f", "'re*t'", "'service:prod/shop/cart'",
                             "permit, when: 'zones.affected.size() < 9'");

typedef struct input {
    const uint8_t *data;
    size_t size;
    arena *memory;
} input;

static uint8_t take(input *self) {
    if (self->size == 0)
        return 0;
    self->size--;
    return *self->data++;
}

/* Up to 40 bytes as text. */
static const char *take_text(input *self) {
    char *text = arena_zero(self->memory, 41, 1);
    assert(text != NULL);
    size_t count = take(self) % 41;
    for (size_t i = 0; i < count && self->size > 0; i++) {
        char c = (char)take(self);
        text[i] = c == '\0' || (unsigned char)c >= 0x80 ? 'x' : c;
    }
    return text;
}

static const char *take_name(input *self) {
    static const char *const names[] = {"service:prod/shop/cart", "service:prod/shop/", "datastore:x/y/cart",
                                        "cart"};
    uint8_t which = take(self) % 6;
    return which < 4 ? names[which] : take_text(self);
}

static const char *take_verb(input *self) {
    static const char *const verbs[] = {"deploy", "restart", "d"};
    uint8_t which = take(self) % 4;
    return which < 3 ? verbs[which] : take_text(self);
}

static void check(const policy_set *set, const policy_facts *facts, arena *memory) {
    policy_explanation told;
    failure why = {0};
    if (policies_explain(set, facts, memory, &told, &why) != STATUS_OK)
        return;
    const policy_result *result = &told.result;
    assert(result->outcome >= POLICY_ALLOW && result->outcome <= POLICY_DENY);
    size_t at = 0;
    for (size_t i = 0; i < told.step_count; i++) {
        const policy_finding *step = &told.steps[i].finding;
        if (step->state >= POLICY_CONDITION_FALSE)
            continue;
        assert(at < result->finding_count && result->findings[at].rule == step->rule &&
               result->findings[at].state == step->state && result->findings[at].targets == step->targets);
        bool opens = result->outcome == POLICY_ALLOW || result->outcome == POLICY_MODIFY;
        assert(!opens || step->state == POLICY_HOLDS || step->rule->effect == POLICY_EFFECT_WARN);
        at++;
    }
    assert(at == result->finding_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static policy_set *set;
    failure why = {0};
    arena memory;
    arena_init(&memory, 65536, 16U << 20);
    if (set == NULL) {
        policy_problems problems;
        policy_source source = {"fuzz", bytes_of_text(SET)};
        status_code code = policies_load(&source, 1, &memory, &set, &problems, &why);
        assert(code == STATUS_OK);
        (void)code;
    }
    input in = {data, size, &memory};
    policy_target targets[3] = {0};
    policy_facts facts = {.targets = targets, .target_count = take(&in) % 4};
    for (size_t i = 0; i < 3; i++)
        targets[i] = (policy_target){
            .name = take_name(&in), .tier = take(&in) % 4U, .labels = {.known = take(&in) % 2 == 0}};
    facts.action.verb = take_verb(&in);
    facts.action.intent = take_text(&in);
    facts.action.replicas = take(&in);
    facts.action.percent = take(&in);
    policy_affected affected = {take_name(&in), take(&in) / 255.0};
    facts.impact = (policy_impact_facts){.known = take(&in) % 3 != 0,
                                         .high = take(&in) / 200.0,
                                         .affected = &affected,
                                         .affected_count = take(&in) % 2};
    check(set, &facts, &memory);
    arena_free(&memory);
    return 0;
}
