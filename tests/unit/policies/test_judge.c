/* How policies decide: cases of one set each, and what holds for every set: the order of documents does not
 * matter, nothing unknown is permitted, the index finds what a scan finds. */
#include <stdio.h>
#include <string.h>

#include "base/chance.h"
#include "policies/check.h"
#include "policies/explain.h"
#include "wrong.h"

#define SET "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: test, version: 1}}\n"
#define DOCUMENT(kind, name, spec)                                                                           \
    "---\n{apiVersion: interlock/v1, kind: " kind ", metadata: {name: " name "}, spec: {" spec "}}\n"
#define RULE(name, effect, rest)                                                                             \
    DOCUMENT("Policy", name, "match: {verbs: [deploy], targets: ['service:prod/*']}, effect: " effect rest)
#define ALL(name, effect, rest)                                                                              \
    DOCUMENT("Policy", name, "match: {verbs: ['*'], targets: ['*']}, effect: " effect rest)
#define QUORUM DOCUMENT("Quorum", "two", "groups: [{name: any, members: ['approver/*'], at_least: 2}]")

static const policy_pair ARGUMENTS[] = {{"ticket", "OPS-1"}, {"version", "1.2.3"}};
static const policy_pair LABELS[] = {{"app", "cart"}, {"data", "personal"}};
static const policy_affected AFFECTED[] = {
    {"service:prod/shop/cart", 1}, {"service:prod/bank/ledger", 0.4}, {"service:prod/shop/mail", 0.05}};

typedef struct fixture {
    arena memory;
    policy_set *set;
    policy_target targets[4];
    policy_facts facts;
    policy_result result;
} fixture;

static void fixture_begin(fixture *self) {
    memset(self, 0, sizeof *self);
    arena_init(&self->memory, 65536, 16U << 20);
    self->targets[0] = (policy_target){.name = "service:prod/shop/cart"};
    self->targets[1] = (policy_target){.name = "service:prod/shop/mail"};
    self->facts = (policy_facts){
        .action = {.id = "a-1",
                   .verb = "deploy",
                   .actor_kind = "agent",
                   .arguments = ARGUMENTS,
                   .argument_count = 2},
        .agent = {.principal = "agent/deployer", .model_provider = "acme", .model_name = "planner"},
        .targets = self->targets,
        .target_count = 1,
        .impact = {.known = true,
                   .expected = 0.01,
                   .low = 0,
                   .high = 0.04,
                   .observed_requests = 1000,
                   .affected = AFFECTED,
                   .affected_count = 3},
        .now_ms = 1700000000000, /* a Tuesday, 22:13:20 in UTC */
    };
}

static void fixture_end(fixture *self) {
    policies_unref(self->set);
    arena_free(&self->memory);
}

static void fixture_load(fixture *self, const char *text) {
    policy_source source = {"test.yaml", bytes_of_text(text)};
    policy_problems problems;
    failure why = {0};
    policies_unref(self->set);
    self->set = NULL;
    if (policies_load(&source, 1, &self->memory, &self->set, &problems, &why) != STATUS_OK)
        WRONG("%s", why.message);
}

static void fixture_judge(fixture *self) {
    failure why = {0};
    assert_int_equal(policies_evaluate(self->set, &self->facts, &self->memory, &self->result, &why),
                     STATUS_OK);
}

/* ---- cases ---- */

typedef struct judge_case {
    const char *name, *policies, *outcome, *reason, *decisive, *fact;
    void (*change)(fixture *self);
} judge_case;

static void no_impact(fixture *self) {
    self->facts.impact = (policy_impact_facts){0};
}
static void two_targets(fixture *self) {
    self->facts.target_count = 2;
}
static void other_environment(fixture *self) {
    self->targets[1].name = "service:staging/shop/mail";
    self->facts.target_count = 2;
}
static void quarter(fixture *self) {
    self->facts.action.percent = 25;
}
static void labelled(fixture *self) {
    self->targets[0].labels = (policy_pairs){true, LABELS, 2};
    self->targets[0].tier = 2;
    self->targets[0].owner = "team-shop";
}
static void mad_impact(fixture *self) {
    self->facts.impact.high = -1;
}
static void with_schema(fixture *self) {
    self->facts.schema = (policy_schema_facts){.known = true, .destructive = false};
}

static const judge_case CASES[] = {
    {"nothing at all", SET, "DENY", "NOTHING_PERMITTED", NULL, "", NULL},
    {"permitted", SET RULE("p", "permit", ""), "ALLOW", "PERMITTED", "p", "", NULL},
    {"forbidden over permitted", SET RULE("p", "permit", "") ALL("f", "forbid", ""), "DENY", "FORBIDDEN", "f",
     "", NULL},
    {"deferred over review and permitted",
     SET QUORUM RULE("p", "permit", "") RULE("r", "review", ", quorum: two") RULE("d", "defer", ""), "DEFER",
     "DEFERRED_BY_RULE", "d", "", NULL},
    {"forbidden over deferred", SET RULE("d", "defer", "") RULE("f", "forbid", ""), "DENY", "FORBIDDEN", "f",
     "", NULL},
    {"review over permitted", SET QUORUM RULE("p", "permit", "") RULE("r", "review", ", quorum: two"),
     "REVIEW", "NEEDS_APPROVAL", "r", "", NULL},
    {"review covers what it reviews", SET QUORUM RULE("r", "review", ", quorum: two"), "REVIEW",
     "NEEDS_APPROVAL", "r", "", NULL},
    {"a warning changes nothing", SET RULE("p", "permit", "") ALL("w", "warn", ""), "ALLOW", "PERMITTED", "p",
     "", NULL},
    {"a warning permits nothing", SET ALL("w", "warn", ""), "DENY", "NOTHING_PERMITTED", NULL, "", NULL},
    {"narrowing permits nothing", SET ALL("n", "narrow", ", bounds: {percent: 10}"), "DENY",
     "NOTHING_PERMITTED", NULL, "", NULL},
    {"narrowed", SET RULE("p", "permit", "") ALL("n", "narrow", ", bounds: {percent: 10}"), "MODIFY",
     "NARROWED", "p", "", NULL},
    {"within what it is narrowed to", SET RULE("p", "permit", ", bounds: {percent: 25}"), "ALLOW",
     "PERMITTED", "p", "", quarter},
    {"replicas not stated are all", SET RULE("p", "permit", ", bounds: {replicas: 2}"), "MODIFY", "NARROWED",
     "p", "", NULL},
    {"within the share", SET RULE("p", "permit", ", bounds: {entry_traffic: 0.04}"), "ALLOW", "PERMITTED",
     "p", "", NULL},
    {"over the share", SET RULE("p", "permit", ", bounds: {entry_traffic: 0.039}"), "DENY", "OVER_BOUND", "p",
     "", NULL},
    {"the narrowest share",
     SET RULE("p", "permit", ", bounds: {entry_traffic: 0.5}")
         RULE("q", "permit", ", bounds: {entry_traffic: 0.03}"),
     "DENY", "OVER_BOUND", "q", "", NULL},
    {"a share that makes no sense", SET RULE("p", "permit", ", bounds: {entry_traffic: 0.9}"), "DENY",
     "OVER_BOUND", "p", "", mad_impact},
    {"a share that is not known", SET RULE("p", "permit", ", bounds: {entry_traffic: 0.9}"), "DEFER",
     "FACT_UNKNOWN", NULL, "impact.entry_traffic", no_impact},
    {"too many nodes hit", SET RULE("p", "permit", ", bounds: {affected: 1}"), "DENY", "OVER_BOUND", "p", "",
     NULL},
    {"nodes hardly hit do not count", SET RULE("p", "permit", ", bounds: {affected: 2}"), "ALLOW",
     "PERMITTED", "p", "", NULL},
    {"too many targets", SET RULE("p", "permit", ", bounds: {targets: 1}"), "DENY", "OVER_BOUND", "p", "",
     two_targets},
    {"one target without a rule", SET RULE("p", "permit", ""), "DENY", "NOTHING_PERMITTED", NULL, "",
     other_environment},
    {"one target forbidden", SET ALL("p", "permit", "") RULE("f", "forbid", ""), "DENY", "FORBIDDEN", "f", "",
     other_environment},
    {"the condition holds", SET RULE("p", "permit", ", when: 'impact.entry_traffic.high < 0.05'"), "ALLOW",
     "PERMITTED", "p", "", NULL},
    {"the condition does not hold", SET RULE("p", "permit", ", when: 'impact.entry_traffic.high < 0.01'"),
     "DENY", "NOTHING_PERMITTED", NULL, "", NULL},
    {"a fact of a permit is absent", SET RULE("p", "permit", ", when: '!schema.destructive'"), "DEFER",
     "FACT_UNKNOWN", "p", "schema.destructive", NULL},
    {"a fact of a forbid is absent",
     SET RULE("p", "permit", "") RULE("f", "forbid", ", when: 'schema.destructive'"), "DEFER", "FACT_UNKNOWN",
     "f", "schema.destructive", NULL},
    {"the fact is there", SET RULE("p", "permit", ", when: '!schema.destructive'"), "ALLOW", "PERMITTED", "p",
     "", with_schema},
    {"asking whether a fact is there does not help",
     SET RULE("p", "permit", ", when: 'has(schema.destructive)'"), "DEFER", "FACT_UNKNOWN", "p",
     "schema.destructive", NULL},
    {"an absent fact that does not matter",
     SET RULE("p", "permit", ", when: 'grant.held || action.verb == \"deploy\"'"), "ALLOW", "PERMITTED", "p",
     "", NULL},
    {"forbidden whatever is absent", SET RULE("a", "permit", ", when: 'grant.held'") RULE("f", "forbid", ""),
     "DENY", "FORBIDDEN", "f", "", NULL},
    {"a warning may lack a fact", SET RULE("p", "permit", "") RULE("w", "warn", ", when: 'grant.held'"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"a list's fact", SET RULE("p", "permit", ", when: 'targets.all(t, t.tier > 1)'"), "DEFER",
     "FACT_UNKNOWN", "p", "tier of service:prod/shop/cart", NULL},
    {"impact is absent", SET RULE("p", "permit", ", when: 'size(impact.affected) < 9'"), "DEFER",
     "FACT_UNKNOWN", "p", "impact.affected", no_impact},
    {"a failing permit refuses",
     SET RULE("p", "permit", "") RULE("q", "permit", ", when: '1 / (size(targets) - 1) > 0'"), "DENY",
     "RULE_FAILED", "q", "", NULL},
    {"a failing forbid refuses",
     SET RULE("p", "permit", "") RULE("f", "forbid", ", when: '9223372036854775807 + size(targets) > 0'"),
     "DENY", "RULE_FAILED", "f", "", NULL},
    {"a missing argument refuses", SET RULE("p", "permit", ", when: 'action.arguments[\"none\"] == \"\"'"),
     "DENY", "RULE_FAILED", "p", "", NULL},
    {"a warning may fail", SET RULE("p", "permit", "") RULE("w", "warn", ", when: 'targets[9].name == \"\"'"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"a bad pattern refuses", SET RULE("p", "permit", ", when: 'action.verb.matches(action.id + \"(\")'"),
     "DENY", "RULE_FAILED", "p", "", NULL},
    {"what costs too much refuses",
     SET RULE("p", "permit",
              ", when: 'impact.affected.all(a, impact.affected.all(b, impact.affected.all(c, "
              "impact.affected.all(d, impact.affected.all(e, impact.affected.all(f, "
              "impact.affected.all(g, impact.affected.all(h, impact.affected.all(i, "
              "a.name + b.name + c.name + d.name + e.name + f.name + g.name + h.name + i.name "
              "!= \"\")))))))))'"),
     "DENY", "RULE_FAILED", "p", "", NULL},
    {"the model",
     SET DOCUMENT("Policy", "p",
                  "match: {verbs: [deploy], targets: ['*'], models: ['acme/*']}, effect: permit"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"another model",
     SET DOCUMENT("Policy", "p",
                  "match: {verbs: [deploy], targets: ['*'], models: ['initech/*']}, effect: permit"),
     "DENY", "NOTHING_PERMITTED", NULL, "", NULL},
    {"another agent",
     SET DOCUMENT("Policy", "p",
                  "match: {verbs: [deploy], targets: ['*'], agents: ['agent/x*']}, effect: permit"),
     "DENY", "NOTHING_PERMITTED", NULL, "", NULL},
    {"labels hold",
     SET DOCUMENT(
         "Policy", "p",
         "match: {verbs: [deploy], targets: [{labels: {app: 'c*'}, tiers: [2, 3], owners: [team-shop]}]}, "
         "effect: permit"),
     "ALLOW", "PERMITTED", "p", "", labelled},
    {"labels that are not known",
     SET DOCUMENT("Policy", "p",
                  "match: {verbs: [deploy], targets: [{labels: {app: 'c*'}}]}, effect: permit"),
     "DEFER", "FACT_UNKNOWN", "p", "targets.labels", NULL},
    {"labels that are not known do not matter elsewhere",
     SET RULE("p", "permit", "") DOCUMENT(
         "Policy", "q",
         "match: {verbs: [deploy], targets: [{kinds: [queue], labels: {app: 'c*'}}]}, effect: forbid"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"a zone by its document",
     SET DOCUMENT("Zone", "front", "targets: ['service:prod/shop/*']")
         DOCUMENT("Policy", "p", "match: {verbs: [deploy], targets: [{zones: [front]}]}, effect: permit"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"a zone is crossed",
     SET DOCUMENT("Zone", "front", "targets: ['service:prod/shop/*']")
         DOCUMENT("Zone", "bank", "targets: ['service:prod/bank/*']") RULE("p", "permit", "")
             RULE("f", "forbid", ", when: '\"bank\" in zones.crossed'"),
     "DENY", "FORBIDDEN", "f", "", NULL},
    {"a zone may be reached",
     SET DOCUMENT("Zone", "front", "targets: ['service:prod/shop/*'], reaches: [bank]")
         DOCUMENT("Zone", "bank", "targets: ['service:prod/bank/*']")
             RULE("p", "permit", ", when: 'size(zones.crossed) == 0'"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"a zone that nobody declared", SET RULE("p", "permit", ", when: 'size(zones.crossed) == 0'"), "DEFER",
     "FACT_UNKNOWN", "p", "zone of service:prod/shop/cart", NULL},
    {"within the window",
     SET DOCUMENT(
         "Policy", "p",
         "match: {verbs: [deploy], targets: ['*'], windows: [{days: [tue], from: '22:00', to: '23:00'}]}, "
         "effect: permit"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"outside of the window",
     SET DOCUMENT(
         "Policy", "p",
         "match: {verbs: [deploy], targets: ['*'], windows: [{days: [tue], from: '22:14', to: '23:00'}]}, "
         "effect: permit"),
     "DENY", "NOTHING_PERMITTED", NULL, "", NULL},
    {"over midnight",
     SET DOCUMENT(
         "Policy", "p",
         "match: {verbs: [deploy], targets: ['*'], windows: [{days: [tue], from: '20:00', to: '06:00', "
         "time_zone: Asia/Tokyo}, {days: [tue], from: '20:00', to: '06:00', time_zone: UTC}]}, effect: "
         "permit"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"the day after, elsewhere",
     SET DOCUMENT(
         "Policy", "p",
         "match: {verbs: [deploy], targets: ['*'], windows: [{days: [wed], from: '07:00', to: '08:00', "
         "time_zone: Asia/Tokyo}]}, effect: permit"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"the stage",
     SET DOCUMENT("Stage", "s", "targets: ['service:prod/*'], stage: green-path")
         RULE("p", "permit", ", when: 'stage == \"green-path\" && targets[0].stage == stage'"),
     "ALLOW", "PERMITTED", "p", "", NULL},
    {"the lowest stage",
     SET DOCUMENT("Stage", "s", "targets: ['service:prod/*'], stage: green-path")
         DOCUMENT("Stage", "t", "targets: ['service:prod/shop/mail'], stage: constrained")
             RULE("p", "permit", ", when: 'stage == \"constrained\"'"),
     "ALLOW", "PERMITTED", "p", "", two_targets},
    {"the gravest of two",
     SET RULE("a", "forbid", ", severity: low") RULE("b", "forbid", ", severity: critical"), "DENY",
     "FORBIDDEN", "b", "", NULL},
    {"the time",
     SET RULE("p", "permit", ", when: 'now > timestamp(\"2023-11-14T22:13:19Z\") && now.getHours() == 22'"),
     "ALLOW", "PERMITTED", "p", "", NULL},
};

static void run_case(const judge_case *row) {
    fixture self;
    fixture_begin(&self);
    fixture_load(&self, row->policies);
    if (row->change != NULL)
        row->change(&self);
    fixture_judge(&self);
    const policy_result *result = &self.result;
    const char *decisive = result->decisive == NULL ? NULL : result->decisive->rule->name;
    bool same = strcmp(policy_outcome_name(result->outcome), row->outcome) == 0 &&
                strcmp(policy_reason_name(result->reason), row->reason) == 0 &&
                strcmp(result->fact, row->fact) == 0 && (decisive == NULL) == (row->decisive == NULL) &&
                (decisive == NULL || strcmp(decisive, row->decisive) == 0);
    if (!same)
        WRONG("%s: %s %s by %s (%s)", row->name, policy_outcome_name(result->outcome),
              policy_reason_name(result->reason), decisive == NULL ? "nobody" : decisive, result->fact);
    fixture_end(&self);
}

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        if (CASES[i].outcome[0] != '\0')
            run_case(&CASES[i]);
}

/* ---- what holds for every set ---- */

static uint32_t draw(const chance *source, uint32_t below) {
    uint32_t value;
    chance_random(source, (uint8_t *)&value, sizeof value);
    return value % below;
}

static const char *pick(const chance *source, const char *const *from, uint32_t count) {
    return from[draw(source, count)];
}

#define PICK(source, ...)                                                                                    \
    pick(source, (const char *const[]){__VA_ARGS__},                                                         \
         (uint32_t)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

#define DOCUMENTS_MAX 24U
#define DOCUMENT_BYTES 512U

typedef struct random_set {
    char documents[DOCUMENTS_MAX][DOCUMENT_BYTES];
    size_t count;
} random_set;

static void draw_rule(const chance *source, unsigned number, char out[DOCUMENT_BYTES]) {
    const char *effect =
        PICK(source, "permit", "permit", "permit", "forbid", "review", "narrow", "defer", "warn");
    char rest[160] = "";
    if (strcmp(effect, "review") == 0)
        (void)snprintf(rest, sizeof rest, ", quorum: two");
    if (strcmp(effect, "narrow") == 0 || (strcmp(effect, "permit") == 0 && draw(source, 2) == 0))
        (void)snprintf(rest, sizeof rest, ", bounds: {%s: %u}",
                       PICK(source, "percent", "targets", "affected"), 1 + draw(source, 4));
    char condition[160] = "";
    if (draw(source, 3) == 0)
        (void)snprintf(condition, sizeof condition, ", when: '%s'",
                       PICK(source, "impact.entry_traffic.high < 0.03", "schema.breaking",
                            "size(targets) < 2", "targets.exists(t, t.tier == 1)",
                            "1 / (size(targets) - 2) > -5", "grant.held", "action.verb.startsWith(\"d\")"));
    (void)snprintf(
        out, DOCUMENT_BYTES,
        "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: r%u}, spec: {match: {verbs: "
        "[%s], targets: [%s]}, effect: %s%s%s, severity: %s}}\n",
        number, PICK(source, "deploy", "restart", "'*'", "'de*'", "deploy, scale"),
        PICK(source, "'*'", "'service:*'", "'service:prod/*'", "'service:prod/shop/*'",
             "'service:prod/shop/cart'", "'service:prod/shop/c*'", "'*/cart'", "'service:*/shop/mail'",
             "{kinds: [service], namespaces: [shop]}", "{zones: [bank]}"),
        effect, rest, condition, PICK(source, "low", "medium", "high"));
}

static void draw_set(const chance *source, random_set *out) {
    out->count = 0;
    (void)snprintf(out->documents[out->count++], DOCUMENT_BYTES, "---\n%s", SET);
    (void)snprintf(out->documents[out->count++], DOCUMENT_BYTES, "%s", QUORUM);
    if (draw(source, 2) == 0)
        (void)snprintf(out->documents[out->count++], DOCUMENT_BYTES, "%s",
                       DOCUMENT("Zone", "bank", "targets: ['service:prod/shop/mail']"));
    unsigned rules = draw(source, 12);
    for (unsigned i = 0; i < rules; i++)
        draw_rule(source, i, out->documents[out->count++]);
}

static void shuffle(const chance *source, random_set *set) {
    char kept[DOCUMENT_BYTES];
    for (size_t i = set->count; i > 1; i--) {
        size_t other = draw(source, (uint32_t)i);
        memcpy(kept, set->documents[i - 1], DOCUMENT_BYTES);
        memcpy(set->documents[i - 1], set->documents[other], DOCUMENT_BYTES);
        memcpy(set->documents[other], kept, DOCUMENT_BYTES);
    }
}

static void fixture_load_random(fixture *self, const random_set *set) {
    buffer text;
    buffer_init(&text, 1U << 20);
    for (size_t i = 0; i < set->count; i++)
        buffer_text(&text, set->documents[i]);
    fixture_load(self, text.data);
    buffer_free(&text);
}

static void draw_facts(const chance *source, fixture *self) {
    self->facts.action.verb = PICK(source, "deploy", "restart", "scale", "exec");
    self->facts.target_count = 1 + draw(source, 3);
    for (size_t i = 0; i < self->facts.target_count; i++)
        self->targets[i] =
            (policy_target){.name = PICK(source, "service:prod/shop/cart", "service:prod/shop/mail",
                                         "service:staging/shop/cart", "datastore:prod/shop/cart"),
                            .tier = draw(source, 3)};
    self->facts.action.percent = draw(source, 2) * 3;
    if (draw(source, 4) == 0)
        self->facts.impact.known = false;
}

/* The same by the whole set, rule by rule, without the index. */
static void check_against_scan(const fixture *self, const policy_explanation *scan) {
    size_t at = 0;
    for (size_t i = 0; i < scan->step_count; i++) {
        const policy_finding *step = &scan->steps[i].finding;
        if (step->state >= POLICY_CONDITION_FALSE)
            continue;
        assert_true(at < self->result.finding_count);
        const policy_finding *found = &self->result.findings[at++];
        assert_ptr_equal(found->rule, step->rule);
        assert_int_equal(found->state, step->state);
        assert_int_equal(found->targets, step->targets);
    }
    assert_int_equal(at, self->result.finding_count);
}

static void check_invariants(const fixture *self) {
    const policy_result *result = &self->result;
    bool opens = result->outcome == POLICY_ALLOW || result->outcome == POLICY_MODIFY;
    uint64_t covered = 0;
    for (size_t i = 0; i < result->finding_count; i++) {
        const policy_finding *finding = &result->findings[i];
        bool warns = finding->rule->effect == POLICY_EFFECT_WARN;
        if (opens && !warns) {
            assert_int_equal(finding->state, POLICY_HOLDS);
            assert_true(finding->rule->effect == POLICY_EFFECT_PERMIT ||
                        finding->rule->effect == POLICY_EFFECT_NARROW);
        }
        if (finding->state == POLICY_HOLDS && finding->rule->effect == POLICY_EFFECT_PERMIT)
            covered |= finding->targets;
        for (size_t b = 0; b < POLICY_BOUND_COUNT && finding->state == POLICY_HOLDS; b++)
            if (finding->rule->bounds.of[b].stated)
                assert_true(result->bounds.of[b].stated &&
                            result->bounds.of[b].most <= finding->rule->bounds.of[b].most);
    }
    if (opens)
        assert_int_equal(covered, (1ULL << self->facts.target_count) - 1);
}

static void check_same(const policy_result *a, const policy_result *b) {
    assert_int_equal(a->outcome, b->outcome);
    assert_int_equal(a->reason, b->reason);
    assert_string_equal(a->fact, b->fact);
    assert_string_equal(a->target, b->target);
    assert_int_equal(a->finding_count, b->finding_count);
    assert_int_equal(a->decisive == NULL, b->decisive == NULL);
    if (a->decisive != NULL)
        assert_string_equal(a->decisive->rule->name, b->decisive->rule->name);
}

static void test_random_sets(void **state) {
    (void)state;
    simulated_chance world;
    simulated_chance_init(&world, 11);
    size_t outcomes[6] = {0};
    for (int round = 0; round < 1500; round++) {
        fixture self, other;
        random_set set;
        policy_explanation scan;
        failure why = {0};
        draw_set(&world.chance, &set);
        fixture_begin(&self);
        fixture_load_random(&self, &set);
        draw_facts(&world.chance, &self);
        fixture_judge(&self);
        check_invariants(&self);
        assert_int_equal(policies_explain(self.set, &self.facts, &self.memory, &scan, &why), STATUS_OK);
        check_against_scan(&self, &scan);
        shuffle(&world.chance, &set);
        fixture_begin(&other);
        fixture_load_random(&other, &set);
        other.facts = self.facts;
        fixture_judge(&other);
        check_same(&self.result, &other.result);
        outcomes[self.result.outcome]++;
        fixture_end(&other);
        fixture_end(&self);
    }
    for (int outcome = POLICY_ALLOW; outcome <= POLICY_DENY; outcome++)
        assert_true(outcomes[outcome] > 10); /* every outcome was met */
}

/* ---- messages, explanations, single expressions ---- */

static void test_messages(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    fixture_load(&self,
                 SET RULE("p", "permit",
                          ", message: 'a {{ action.verb }} of {{ size(targets) }}, {{ "
                          "impact.entry_traffic.high }}, {{ grant.held }}, {{ 1 / (size(targets) - 1) }}.'"));
    assert_string_equal(policies_message(&self.set->rules[0], self.set, &self.facts, &self.memory),
                        "a deploy of 1, 0.04, (unknown), (error).");
    fixture_end(&self);
}

static const policy_step *step_of(const policy_explanation *from, const char *rule) {
    for (size_t i = 0; i < from->step_count; i++)
        if (strcmp(from->steps[i].finding.rule->name, rule) == 0)
            return &from->steps[i];
    return NULL;
}

static void test_explanation(void **state) {
    (void)state;
    fixture self;
    policy_explanation told;
    failure why = {0};
    fixture_begin(&self);
    fixture_load(
        &self, SET RULE("holds", "permit", ", when: 'impact.entry_traffic.high < 0.05', message: yes it may")
                   RULE("never", "forbid", ", when: 'action.verb == \"x\" || size(targets) > 3'")
                       RULE("lacks", "defer", ", when: 'history.failed > 3'")
                           DOCUMENT("Policy", "elsewhere",
                                    "match: {verbs: [deploy], targets: ['queue:*']}, effect: forbid"));
    assert_int_equal(policies_explain(self.set, &self.facts, &self.memory, &told, &why), STATUS_OK);
    assert_int_equal(told.step_count, 4);
    const policy_step *step = step_of(&told, "holds");
    assert_int_equal(step->finding.state, POLICY_HOLDS);
    assert_string_equal(step->message, "yes it may");
    assert_int_equal(step->value_count, 1);
    assert_string_equal(step->values[0].path, "impact.entry_traffic.high");
    assert_string_equal(step->values[0].value, "0.04");
    step = step_of(&told, "never");
    assert_int_equal(step->finding.state, POLICY_CONDITION_FALSE);
    assert_int_equal(step->value_count, 2);
    assert_string_equal(step->values[0].value, "\"deploy\"");
    step = step_of(&told, "lacks");
    assert_int_equal(step->finding.state, POLICY_UNKNOWN);
    assert_true(step->values[0].unknown);
    step = step_of(&told, "elsewhere");
    assert_int_equal(step->finding.state, POLICY_NO_MATCH);
    assert_string_equal(step->finding.detail, "targets");
    fixture_end(&self);
}

static void test_single_expressions(void **state) {
    (void)state;
    static const struct {
        const char *expression, *type, *value;
    } cases[] = {
        {"1 + 2", "int", "3"},
        {"action.arguments", "map(string, string)", "{\"ticket\": \"OPS-1\", \"version\": \"1.2.3\"}"},
        {"targets.map(t, t.namespace)", "list(string)", "[\"shop\"]"},
        {"agent.model", "Model", "Model{provider: \"acme\", name: \"planner\", version: \"\"}"},
        {"now", "google.protobuf.Timestamp", "timestamp(\"2023-11-14T22:13:20Z\")"},
        {"grant.held", "bool", "unknown: grant.held"},
        {"impact.affected.filter(a, a.probability >= 0.1).size()", "int", "2"},
        {"action.reach.percent", "double", "100.0"},
    };
    fixture self;
    fixture_begin(&self);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure why = {0};
        const char *type = "", *value = "";
        status_code code = policies_try(NULL, bytes_of_text(cases[i].expression), &self.facts, &self.memory,
                                        &type, &value, &why);
        if (code != STATUS_OK || strcmp(value, cases[i].value) != 0 || strstr(type, cases[i].type) == NULL)
            WRONG("%s: %s %s %s", cases[i].expression, type, value, why.message);
    }
    failure why = {0};
    const char *type, *value;
    assert_int_equal(
        policies_try(NULL, bytes_of_text("1 / 0"), &self.facts, &self.memory, &type, &value, &why),
        STATUS_INVALID_ARGUMENT);
    assert_int_equal(
        policies_try(NULL, bytes_of_text("nobody"), &self.facts, &self.memory, &type, &value, &why),
        STATUS_INVALID_ARGUMENT);
    fixture_end(&self);
}

static void test_no_memory_is_an_answer(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    fixture_load(&self, SET RULE("p", "permit", ", when: 'targets.all(t, t.zone == \"x\")'"));
    bool judged = false;
    for (size_t limit = 16; !judged && limit < 65536; limit += 16) {
        arena small;
        failure why = {0};
        arena_init(&small, limit, limit);
        status_code code = policies_evaluate(self.set, &self.facts, &small, &self.result, &why);
        judged = code == STATUS_OK;
        if (judged)
            assert_true(self.result.outcome == POLICY_DENY || self.result.outcome == POLICY_DEFER);
        else
            assert_int_equal(code, STATUS_RESOURCE_EXHAUSTED);
        arena_free(&small);
    }
    assert_true(judged);
    fixture_end(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_random_sets),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_explanation),
        cmocka_unit_test(test_single_expressions),
        cmocka_unit_test(test_no_memory_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
