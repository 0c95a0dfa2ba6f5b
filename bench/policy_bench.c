/* What policies cost: ten rules that all match, a hundred of which five match, loading and checking ten
 * thousand. One JSON line a figure; --quick for a shorter run. Times are CPU time.
 * policy.evaluate_allocations counts malloc, calloc and realloc during the evaluations, by interposing them.
 * The ten rules are those that bench/peers gives to other engines. */
#include <string.h>
#include <unistd.h>

#include "load.h"
#include "policies/check.h"

static uint64_t allocations;
static failure why;

static void must(status_code code) {
    if (code != STATUS_OK)
        give_up(why.message);
}

/* ---- The counter ---- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t size);

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    allocations++;
    return __libc_realloc(old, size);
}

/* ---- The policies ---- */

static const char SET[] = "apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: bench, version: 1}\n";

/* Whatever the verb and target are in a rule's match, it is by them that the index finds it. */
static void add_rule(buffer *out, const char *name, const char *verbs, const char *target, const char *effect,
                     const char *condition) {
    buffer_format(out,
                  "---\napiVersion: interlock/v1\nkind: Policy\nmetadata: {name: %s}\nspec:\n  match:\n"
                  "    verbs: [%s]\n    targets: [\"%s\"]\n  when: %s\n  effect: %s\n",
                  name, verbs, target, condition, effect);
}

typedef struct rule_text {
    const char *name, *effect, *condition;
} rule_text;

static const rule_text TEN[] = {
    {"small-blast-radius", "permit", "impact.entry_traffic.high <= 0.05"},
    {"undoable", "permit", "action.reversal.verb != \"\""},
    {"known-provider", "permit", "agent.model.provider in [\"acme\", \"initech\"]"},
    {"gradual", "permit", "action.reach.percent <= 50.0"},
    {"few-services", "permit", "size(impact.affected) <= 5"},
    {"no-foundations", "forbid", "targets[0].tier == 1"},
    {"no-guests", "forbid", "agent.principal == \"agent/guest\""},
    {"no-outage", "forbid", "impact.entry_traffic.high > 0.5"},
    {"payments-gently", "forbid", "targets[0].namespace == \"payments\" && action.reach.percent > 10.0"},
    {"no-unversioned", "forbid", "action.arguments[\"version\"] == \"\""},
};

static void add_ten(buffer *out) {
    for (size_t i = 0; i < sizeof TEN / sizeof *TEN; i++)
        add_rule(out, TEN[i].name, "deploy, restart", "service:prod/*", TEN[i].effect, TEN[i].condition);
}

/* Five of a hundred are for what is proposed; the others are for other verbs, other targets, or both. */
static void add_hundred(buffer *out) {
    char name[64], target[64];
    for (unsigned i = 0; i < 100; i++) {
        const rule_text *text = &TEN[i % 5];
        (void)snprintf(name, sizeof name, "rule-%u", i);
        (void)snprintf(target, sizeof target, "service:prod/%s/*", i < 50 ? "shop" : "bank");
        add_rule(out, name, i < 5 || i % 2 == 1 ? (i < 5 ? "deploy" : "scale") : "restart", target,
                 text->effect, text->condition);
    }
}

static void add_many(buffer *out, unsigned count) {
    char name[64], target[64];
    for (unsigned i = 0; i < count; i++) {
        const rule_text *text = &TEN[i % 10];
        (void)snprintf(name, sizeof name, "rule-%u", i);
        (void)snprintf(target, sizeof target, "service:prod/team%u/*", i / 10);
        add_rule(out, name, "deploy, restart", target, text->effect, text->condition);
    }
}

static policy_set *load(void (*add)(buffer *out)) {
    buffer text;
    arena memory;
    policy_set *set = NULL;
    policy_problems problems;
    buffer_init(&text, POLICIES_TEXT_BYTES);
    arena_init(&memory, 65536, 64U << 20);
    buffer_text(&text, SET);
    add(&text);
    policy_source source = {"bench.yaml", buffer_bytes(&text)};
    must(policies_load(&source, 1, &memory, &set, &problems, &why));
    arena_free(&memory);
    buffer_free(&text);
    return set;
}

/* ---- Figures ---- */

static void target_figure(const char *name, double value, const char *unit, double target, bool most) {
    printf("{\"name\":\"%s\",\"value\":%.4g,\"unit\":\"%s\",\"target\":%g,\"ok\":%s}\n", name, value, unit,
           target, (most ? value <= target : value >= target) ? "true" : "false");
    fflush(stdout);
}

static const policy_pair ARGUMENTS[] = {{"version", "1.2.3"}};
static const policy_target TARGET = {.name = "service:prod/shop/cart", .tier = 2};
static const policy_affected AFFECTED[] = {
    {"service:prod/shop/cart", 1}, {"service:prod/shop/checkout", 0.6}, {"service:prod/shop/frontend", 0.04}};

static policy_facts facts_new(void) {
    return (policy_facts){.action = {.id = "a-1",
                                     .actor_kind = "agent",
                                     .verb = "deploy",
                                     .percent = 25,
                                     .reversal_verb = "rollback",
                                     .arguments = ARGUMENTS,
                                     .argument_count = 1},
                          .agent = {.principal = "agent/deployer",
                                    .model_provider = "acme",
                                    .model_name = "planner",
                                    .model_version = "1"},
                          .targets = &TARGET,
                          .target_count = 1,
                          .impact = {.known = true,
                                     .expected = 0.01,
                                     .high = 0.04,
                                     .observed_requests = 1e6,
                                     .affected = AFFECTED,
                                     .affected_count = 3},
                          .now_ms = 1700000000000};
}

/* Microseconds an evaluation, the best of five rounds; what the machine does beside it only ever adds. */
static double evaluate(const policy_set *set, size_t expected, uint64_t count) {
    policy_facts facts = facts_new();
    policy_result result = {0};
    double best = 1e9;
    arena memory;
    arena_init(&memory, 65536, 1U << 20);
    must(policies_evaluate(set, &facts, &memory, &result, &why));
    if (result.evaluated != expected || result.outcome != POLICY_ALLOW)
        give_up("the rules must match, and permit");
    for (int round = 0; round < 5; round++) {
        uint64_t begin = process_cpu_ns(getpid());
        for (uint64_t i = 0; i < count; i++) {
            arena_reset(&memory);
            must(policies_evaluate(set, &facts, &memory, &result, &why));
        }
        double us = (double)(process_cpu_ns(getpid()) - begin) / 1000 / (double)count;
        best = us < best ? us : best;
    }
    arena_free(&memory);
    return best;
}

static void evaluate_figures(uint64_t count) {
    policy_set *ten = load(add_ten), *hundred = load(add_hundred);
    uint64_t before = allocations;
    double ten_us = evaluate(ten, 10, count);
    double hundred_us = evaluate(hundred, 5, count);
    /* Each of the two has warmed its arena with one block. */
    uint64_t made = allocations - before - 2;
    target_figure("policy.ten_rules_us", ten_us, "us", 1, true);
    target_figure("policy.hundred_rules_us", hundred_us, "us", 5, true);
    printf("{\"name\":\"policy.evaluate_allocations\",\"value\":%llu,\"unit\":\"1\",\"target\":0,\"ok\":%s,"
           "\"evaluations\":%llu}\n",
           (unsigned long long)made, made == 0 ? "true" : "false", (unsigned long long)(10 * count));
    policies_unref(ten);
    policies_unref(hundred);
}

static void load_figures(unsigned count) {
    buffer text;
    arena memory;
    policy_set *set = NULL;
    policy_problems problems;
    buffer_init(&text, POLICIES_TEXT_BYTES);
    arena_init(&memory, 65536, 64U << 20);
    buffer_text(&text, SET);
    add_many(&text, count);
    policy_source source = {"bench.yaml", buffer_bytes(&text)};
    uint64_t begin = process_cpu_ns(getpid());
    must(policies_load(&source, 1, &memory, &set, &problems, &why));
    double load_s = (double)(process_cpu_ns(getpid()) - begin) / 1e9;
    must(policies_check(set, NULL, &memory, &problems, &why));
    double both_s = (double)(process_cpu_ns(getpid()) - begin) / 1e9;
    target_figure("policy.compile_per_second", count / load_s, "1/s", 10000, false);
    target_figure("policy.load_and_check_s", both_s * 10000 / count, "s", 2, true);
    policies_unref(set);
    arena_free(&memory);
    buffer_free(&text);
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    evaluate_figures(quick ? 100000 : 500000);
    load_figures(10000);
    return 0;
}
