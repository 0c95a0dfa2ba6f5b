/* The decision: a table of cases in decide_cases.txt, and what holds for every one of them. */
#include "decide.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rate_limits.h"
#include "wire/scan.h"
#include "wrong.h"

static const char POLICY[] =
    "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: shop, version: 7}}\n"
    "---\n{apiVersion: interlock/v1, kind: Stage, metadata: {name: shop}, spec: {targets: "
    "['service:prod/shop/*'], stage: constrained}}\n"
    "---\n{apiVersion: interlock/v1, kind: Stage, metadata: {name: fresh}, spec: {targets: "
    "['service:prod/shop/new'], stage: advisory}}\n"
    "---\n{apiVersion: interlock/v1, kind: Quorum, metadata: {name: two}, spec: {groups: [{name: any, "
    "members: ['approver/*'], at_least: 2}]}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: small}, spec: {match: {verbs: [deploy], "
    "targets: ['service:*/shop/*'], agents: ['agent/dep*']}, effect: permit, bounds: {entry_traffic: "
    "0.05}}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: payments}, spec: {match: {verbs: ['*'], "
    "targets: ['*/payment']}, effect: forbid, message: ask the bank}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: wide}, spec: {match: {verbs: [scale], "
    "targets: ['service:prod/shop/*']}, effect: permit, bounds: {entry_traffic: 0.5}}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: cart}, spec: {match: {verbs: [scale], "
    "targets: ['service:prod/shop/cart']}, effect: permit, bounds: {entry_traffic: 0.02}}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: free}, spec: {match: {verbs: [unbound], "
    "targets: ['service:*']}, effect: permit}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: few}, spec: {match: {verbs: "
    "[config.set], targets: ['service:*']}, effect: permit, bounds: {affected: 1, targets: 2}}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: slowly}, spec: {match: {verbs: "
    "[traffic.shift], targets: ['service:*']}, effect: permit, bounds: {percent: 10, replicas: 3}}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: asked}, spec: {match: {verbs: "
    "[db.migrate], targets: ['*']}, effect: review, quorum: two}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: broken}, spec: {match: {verbs: [broken], "
    "targets: ['*']}, effect: permit, when: '1 / (size(targets) - 1) > 0'}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: lacking}, spec: {match: {verbs: "
    "[lacking], targets: ['*']}, effect: permit, when: 'history.failed == 0'}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: later}, spec: {match: {verbs: [later], "
    "targets: ['*']}, effect: defer, message: 'not on a {{ now.getDayOfWeek() }}'}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: mind}, spec: {match: {verbs: [unbound], "
    "targets: ['*/cart']}, effect: warn, message: 'mind {{ targets[0].id }}', severity: low}}\n"
    "---\n{apiVersion: interlock/v1, kind: RateLimit, metadata: {name: counted}, spec: {match: {verbs: "
    "[counted], "
    "targets: ['service:prod/*']}, per: [target, agent], most: 3, window: 1h}}\n"
    "---\n{apiVersion: interlock/v1, kind: RateLimit, metadata: {name: all}, spec: {match: {verbs: "
    "['count*'], "
    "targets: ['*'], agents: ['agent/*']}, per: [], most: 9, window: 1d}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: count}, spec: {match: {verbs: [counted], "
    "targets: "
    "['*']}, effect: permit}}\n";

typedef struct decide_case {
    char name[64], verb[32], facts[64], outcome[16], mode[16], reason[48];
    char *targets[24];
    size_t target_count;
    double share[3];
} decide_case;

typedef struct fixture {
    arena memory;
    policy_document *document;
    Interlock__Policy__V1__Action action;
    Interlock__Policy__V1__Model model;
    Interlock__Control__V1__Enrolment agent, executor;
    control_enrolment agent_key, executor_key;
    Interlock__Control__V1__Kill kill;
    Interlock__Graph__V1__Share share;
    Interlock__Graph__V1__Impact impact;
    decision_facts facts;
} fixture;

static const uint8_t DIGEST[32] = {1, 2, 3};
static const uint8_t PERMIT_ID[16] = {0xab};

static void fixture_begin(fixture *self) {
    memset(self, 0, sizeof *self);
    failure why = {0};
    arena_init(&self->memory, 65536, 1U << 20);
    assert_int_equal(document_parse(bytes_of_text(POLICY), &self->document, &why), STATUS_OK);
    interlock__policy__v1__action__init(&self->action);
    interlock__policy__v1__model__init(&self->model);
    interlock__control__v1__enrolment__init(&self->agent);
    interlock__control__v1__enrolment__init(&self->executor);
    interlock__control__v1__kill__init(&self->kill);
    interlock__graph__v1__share__init(&self->share);
    interlock__graph__v1__impact__init(&self->impact);
    self->agent.principal = arena_text(&self->memory, "agent/deployer");
    self->agent.model_name = arena_text(&self->memory, "planner");
    self->executor.principal = arena_text(&self->memory, "executor/local");
    self->agent_key = (control_enrolment){.keyid = "00", .statement = &self->agent};
    self->executor_key = (control_enrolment){.keyid = "01", .statement = &self->executor};
    self->action.action_id = arena_text(&self->memory, "a-1");
    self->action.model = &self->model;
    self->impact.entry_traffic = &self->share;
    self->facts = (decision_facts){.installation = "demo",
                                   .action = &self->action,
                                   .digest = DIGEST,
                                   .enrolment = &self->agent_key,
                                   .now_ms = 1700000000999,
                                   .permit_id = PERMIT_ID,
                                   .control_fresh = true,
                                   .control_reason = "no proof",
                                   .control_seq = 41,
                                   .epoch = 3,
                                   .document = self->document,
                                   .impact = &self->impact,
                                   .impact_reason = "the graph is silent",
                                   .graph_revision = 12,
                                   .executor_principal = "executor/local",
                                   .executor = &self->executor_key};
}

static void fixture_end(fixture *self) {
    document_unref(self->document);
    arena_free(&self->memory);
}

static bool has(const decide_case *row, const char *fact) {
    size_t size = strlen(fact);
    for (const char *at = row->facts; (at = strstr(at, fact)) != NULL; at += size)
        if ((at == row->facts || at[-1] == ',') && (at[size] == ',' || at[size] == '\0'))
            return true;
    return false;
}

static void fixture_apply(fixture *self, decide_case *row) {
    self->action.verb = row->verb;
    self->action.targets = row->targets;
    self->action.n_targets = row->target_count;
    self->action.dry_run = has(row, "dry");
    self->share.low = row->share[0];
    self->share.expected = row->share[1];
    self->share.high = row->share[2];
    decision_facts *facts = &self->facts;
    facts->control_fresh = !has(row, "stale");
    facts->behind_fence = has(row, "fence");
    facts->kill = has(row, "kill") ? &self->kill : NULL;
    facts->counter_key = has(row, "counter") ? "rate/agent/deployer" : NULL;
    facts->counter_retry_ms = 700;
    facts->impact = has(row, "noimpact") ? NULL : &self->impact;
    facts->executor = has(row, "noexecutor") ? NULL : &self->executor_key;
    facts->policy_unreadable = has(row, "unreadable");
    if (has(row, "nopolicy") || has(row, "unreadable"))
        facts->document = NULL;
    if (has(row, "impostor"))
        self->model.name = arena_text(&self->memory, "another");
    if (has(row, "human"))
        self->action.actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_HUMAN;
    if (has(row, "stranger"))
        self->agent.principal = arena_text(&self->memory, "agent/stranger");
    facts->unknown_targets = row->targets;
    facts->unknown_count = has(row, "unknown") ? 1 : 0;
}

/* The next field, without blanks around it; `*at` moves past the semicolon. */
static char *field_of(char **at) {
    char *start = *at + strspn(*at, " ");
    char *end = strpbrk(start, ";\n");
    assert_non_null(end);
    *at = end + 1;
    while (end > start && end[-1] == ' ')
        end--;
    *end = '\0';
    return start;
}

static void case_parse(char *line, decide_case *out) {
    memset(out, 0, sizeof *out);
    (void)snprintf(out->name, sizeof out->name, "%s", field_of(&line));
    (void)snprintf(out->verb, sizeof out->verb, "%s", field_of(&line));
    char *save = NULL;
    for (char *target = strtok_r(field_of(&line), ",", &save); target != NULL;
         target = strtok_r(NULL, ",", &save))
        out->targets[out->target_count++] = target;
    (void)snprintf(out->facts, sizeof out->facts, "%s", field_of(&line));
    char *share = field_of(&line);
    assert_int_equal(sscanf(share, "%lf/%lf/%lf", &out->share[0], &out->share[1], &out->share[2]), 3);
    (void)snprintf(out->outcome, sizeof out->outcome, "%s", field_of(&line));
    (void)snprintf(out->mode, sizeof out->mode, "%s", field_of(&line));
    (void)snprintf(out->reason, sizeof out->reason, "%s", field_of(&line));
}

static const char *mode_text(Interlock__Policy__V1__Mode mode) {
    return mode == INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED   ? "ENFORCED"
           : mode == INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY ? "ADVISORY"
           : mode == INTERLOCK__POLICY__V1__MODE__MODE_DRY_RUN  ? "DRY_RUN"
                                                                : "";
}

/* What every decision must keep, whatever the case. */
static void check_invariants(const decide_case *row, const Interlock__Policy__V1__Decision *decision,
                             arena *memory) {
    bool narrowed = strcmp(row->outcome, "MODIFY") == 0;
    bool permits = (narrowed || strcmp(row->outcome, "ALLOW") == 0) && strcmp(row->mode, "ENFORCED") == 0;
    assert_int_equal(decision->permit != NULL, permits);
    assert_int_equal(decision->retry_after_ms > 0, strcmp(row->outcome, "DEFER") == 0);
    assert_string_equal(decision->action_id, "a-1");
    assert_non_null(strstr(decision->summary, row->verb));
    assert_non_null(strstr(decision->summary, row->targets[0]));
    if (permits) {
        assert_string_equal(decision->permit->audience, "executor/local");
        assert_int_equal(decision->permit->issued_at_s, 1700000000);
        assert_int_equal(decision->permit->expires_at_s, 1700000060);
        assert_int_equal(decision->permit->control_seq, 41);
        assert_string_equal(decision->permit->permit_id, "ab000000000000000000000000000000");
        assert_memory_equal(decision->permit->action_digest.data, DIGEST, 32);
        assert_int_equal(memcmp(decision->permit->effective_digest.data, DIGEST, 32) != 0, narrowed);
    }
    assert_int_equal(decision->n_quorums, strcmp(row->outcome, "REVIEW") == 0 ? 1 : 0);
    assert_non_null(decision->seen);
    bytes packed;
    ProtobufCMessage *again = NULL;
    failure why = {0};
    assert_int_equal(wire_pack(&decision->base, memory, &packed, &why), STATUS_OK);
    assert_int_equal(
        wire_unpack_signed(&interlock__policy__v1__decision__descriptor, packed, memory, &again, &why),
        STATUS_OK);
}

static void run_case(char *line) {
    decide_case row;
    case_parse(line, &row);
    fixture self;
    fixture_begin(&self);
    fixture_apply(&self, &row);
    failure why = {0};
    Interlock__Policy__V1__Decision *decision = NULL;
    assert_int_equal(decide(&self.facts, &self.memory, &decision, &why), STATUS_OK);
    bool reason_found = false;
    for (size_t i = 0; i < decision->n_findings; i++)
        reason_found = reason_found || strcmp(decision->findings[i]->reason, row.reason) == 0;
    if (strcmp(outcome_name(decision->outcome), row.outcome) != 0 ||
        strcmp(mode_text(decision->mode), row.mode) != 0 || !reason_found)
        WRONG("%s: %s %s: %s (wanted %s %s %s)", row.name, outcome_name(decision->outcome),
              mode_text(decision->mode), decision->summary, row.outcome, row.mode, row.reason);
    check_invariants(&row, decision, &self.memory);
    fixture_end(&self);
}

static void test_cases(void **state) {
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/decide_cases.txt", "re");
    assert_non_null(file);
    char line[1024];
    size_t count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        run_case(line);
        count++;
    }
    fclose(file);
    assert_true(count >= 52);
}

/* An impact too large for a record loses its least probable nodes and says so. */
static void test_large_impact_is_cut(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    char targets[] = "service:prod/shop/cart";
    char *list[] = {targets};
    self.action.targets = list;
    self.action.n_targets = 1;
    self.action.verb = arena_text(&self.memory, "deploy");
    char long_name[257];
    memset(long_name, 'x', 256);
    long_name[256] = '\0';
    char *path[4] = {long_name, long_name, long_name, long_name};
    Interlock__Graph__V1__AffectedNode nodes[256];
    Interlock__Graph__V1__AffectedNode *pointers[256];
    for (size_t i = 0; i < 256; i++) {
        interlock__graph__v1__affected_node__init(&nodes[i]);
        nodes[i].name = long_name;
        nodes[i].path = path;
        nodes[i].n_path = 4;
        pointers[i] = &nodes[i];
    }
    self.impact.affected = pointers;
    self.impact.n_affected = 256;
    failure why = {0};
    Interlock__Policy__V1__Decision *decision = NULL;
    assert_int_equal(decide(&self.facts, &self.memory, &decision, &why), STATUS_OK);
    assert_true(interlock__graph__v1__impact__get_packed_size(decision->impact) <= DECIDE_IMPACT_BYTES + 512);
    assert_true(decision->impact->n_affected > 0);
    assert_non_null(strstr(decision->impact->caveat, "of 256 nodes"));
    assert_int_equal(self.impact.n_affected, 256);
    fixture_end(&self);
}

/* Names of the greatest length in characters of several bytes are cut within one, and the record is still
 * readable. */
static void test_cut_names_stay_text(void **state) {
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        fixture self;
        fixture_begin(&self);
        char name[257] = "service:prod/shop/";
        size_t at = strlen(name);
        for (size_t i = 0; i < shift; i++)
            name[at++] = 'x';
        while (at + 3 < sizeof name) {
            memcpy(name + at, "\xe2\x82\xac", 4);
            at += 3;
        }
        char *list[] = {name};
        self.action.targets = list;
        self.action.n_targets = 1;
        self.action.verb = arena_text(&self.memory, "deploy");
        self.agent.model_provider = name;
        self.model.provider = name + 18;
        self.facts.unknown_targets = list;
        self.facts.unknown_count = shift % 2;
        self.impact.caveat = name + 18;
        failure why = {0};
        bytes packed;
        ProtobufCMessage *again = NULL;
        Interlock__Policy__V1__Decision *decision = NULL;
        assert_int_equal(decide(&self.facts, &self.memory, &decision, &why), STATUS_OK);
        assert_int_equal(wire_pack(&decision->base, &self.memory, &packed, &why), STATUS_OK);
        if (wire_unpack_signed(&interlock__policy__v1__decision__descriptor, packed, &self.memory, &again,
                               &why) != STATUS_OK)
            WRONG("%s", why.message);
        fixture_end(&self);
    }
}

/* Each target its own counter where the limit says so; names too long for the log end in a digest. */
static void test_counters(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    char long_name[257] = "service:prod/shop/";
    memset(long_name + 18, 'x', 238);
    char *targets[] = {arena_text(&self.memory, "service:prod/shop/cart"), long_name,
                       arena_text(&self.memory, "queue:prod/shop/mail")};
    self.action.verb = arena_text(&self.memory, "counted");
    self.action.targets = targets;
    self.action.n_targets = 3;
    Interlock__Audit__V1__Counter **counters = NULL;
    size_t count = 0;
    assert_true(limits_counters(&self.facts, &self.memory, &counters, &count));
    assert_int_equal(count, 3);
    assert_string_equal(counters[0]->key, "rate/all/*/*/*");
    assert_int_equal(counters[0]->cap, 9);
    assert_int_equal(counters[0]->window_ms, 86400000);
    assert_string_equal(counters[1]->key, "rate/counted/service:prod/shop/cart/*/agent/deployer");
    assert_true(strlen(counters[2]->key) < 256 && strchr(counters[2]->key, '~') != NULL);
    fixture_end(&self);
}

static void test_no_memory_is_an_answer(void **state) {
    (void)state;
    fixture self;
    fixture_begin(&self);
    char targets[] = "service:prod/shop/cart";
    char *list[] = {targets};
    self.action.targets = list;
    self.action.n_targets = 1;
    self.action.verb = arena_text(&self.memory, "deploy");
    bool decided = false;
    for (size_t limit = 64; !decided && limit < 65536; limit += 64) {
        arena small;
        arena_init(&small, limit, limit);
        failure why = {0};
        Interlock__Policy__V1__Decision *decision = NULL;
        status_code code = decide(&self.facts, &small, &decision, &why);
        decided = code == STATUS_OK;
        if (!decided) {
            assert_int_equal(code, STATUS_RESOURCE_EXHAUSTED);
            assert_null(decision);
        }
        arena_free(&small);
    }
    assert_true(decided);
    fixture_end(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_large_impact_is_cut),
        cmocka_unit_test(test_cut_names_stay_text),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_no_memory_is_an_answer),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
