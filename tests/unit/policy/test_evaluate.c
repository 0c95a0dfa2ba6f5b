/* The whole service in one process, over real sockets and real coordination, against a log that answers as it
 * is told (scripted_log.h): what Evaluate makes of receipts, conflicts, refusals, a new epoch and a signer
 * that refuses. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/policy_client.h"
#include "crypto/dsse.h"
#include "policy.h"
#include "policy_rpc.h"
#include "scripted_log.h"
#include "wire/scan.h"
#include "wrong.h"

#define POLICY_TEXT                                                                                          \
    "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: shop, version: 1}}\n"                      \
    "---\n{apiVersion: interlock/v1, kind: Stage, metadata: {name: prod}, spec: {targets: "                  \
    "['service:prod/*'], stage: constrained}}\n"                                                             \
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: small}, spec: {match: {verbs: "          \
    "[deploy], "                                                                                             \
    "targets: ['service:prod/shop/*']}, effect: permit, bounds: {entry_traffic: 0.05}}}\n"
#define OUTCOME_IS(response, word)                                                                           \
    assert_int_equal((response)->decision->outcome, INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_##word)

typedef struct fixture {
    char folder[64];
    arena memory;
    trust roots;
    secret_key *operator_key, *record_key, *agent_key, *executor_key;
    scripted_log log;
    settings *values;
    void *service;
    rpc_server *server;
    rpc_channel *agent, *operator_channel;
} fixture;

/* ---- set-up ---- */

static const char *in_folder(fixture *self, const char *name) {
    const char *path = arena_format(&self->memory, "%s/%s", self->folder, name);
    assert_non_null(path);
    return path;
}

static void check(status_code code, const failure *why) {
    if (code != STATUS_OK)
        WRONG("%s: %s", why->reason, why->message);
}

static secret_key *key_new(key_purpose purpose) {
    secret_key *key = NULL;
    failure why = {0};
    check(secret_key_generate(chance_system(), purpose, &key, &why), &why);
    return key;
}

static void trust_add(fixture *self, const char *principal, key_purpose purpose, const secret_key *key) {
    trust_key *added = &self->roots.keys[self->roots.count++];
    (void)snprintf(added->principal, sizeof added->principal, "%s", principal);
    added->purpose = purpose;
    added->key = *secret_key_public(key);
}

static void make_keys(fixture *self) {
    failure why = {0};
    self->operator_key = key_new(KEY_OPERATOR);
    self->record_key = key_new(KEY_RECORD);
    self->agent_key = key_new(KEY_AGENT);
    self->executor_key = key_new(KEY_EXECUTOR);
    (void)snprintf(self->roots.installation, sizeof self->roots.installation, "demo");
    (void)snprintf(self->roots.origin, sizeof self->roots.origin, "demo/log");
    trust_add(self, "operator/alice", KEY_OPERATOR, self->operator_key);
    trust_add(self, POLICY_PRINCIPAL, KEY_RECORD, self->record_key);
    check(trust_save(&self->roots, in_folder(self, "installation.yaml"), &why), &why);
    assert_int_equal(mkdir(in_folder(self, "keys"), 0700), 0);
    assert_int_equal(mkdir(in_folder(self, "coord"), 0700), 0);
    check(secret_key_save(self->record_key, in_folder(self, "keys/record-policy.key"), &why), &why);
}

static Interlock__Common__V1__StatementHeader *header_of(fixture *self, const char *type,
                                                         const char *principal, int64_t lifetime_ms) {
    return statement_header_new(type, "demo", principal, lifetime_ms, chance_system(), &self->memory);
}

static Interlock__Common__V1__Envelope *enrolment(fixture *self, const char *principal, const secret_key *key,
                                                  uint64_t version, bool revoked) {
    Interlock__Control__V1__Enrolment statement = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
    public_key public = *secret_key_public(key);
    statement.header = header_of(self, PAYLOAD_ENROLMENT, "operator/alice", 0);
    statement.principal = arena_text(&self->memory, principal);
    statement.public_key = (ProtobufCBinaryData){sizeof public.bytes, public.bytes};
    statement.version = version;
    statement.revoked = revoked;
    return dsse_sign_message(self->operator_key, PAYLOAD_ENROLMENT, &statement.base, &self->memory);
}

typedef struct set_options {
    bool shadow, accept_lock_out;
    uint64_t rollback_of;
} set_options;

static Interlock__Common__V1__Envelope *policy_statement_with(fixture *self, const char *text,
                                                              uint64_t version, set_options options) {
    Interlock__Control__V1__PolicySet statement = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    statement.shadow = options.shadow;
    statement.accept_lock_out = options.accept_lock_out;
    statement.rollback_of = options.rollback_of;
    statement.header = header_of(self, PAYLOAD_POLICY_SET, "operator/alice", 0);
    statement.name = arena_text(&self->memory, "shop");
    statement.version = version;
    statement.document = (ProtobufCBinaryData){strlen(text), (uint8_t *)arena_text(&self->memory, text)};
    return dsse_sign_message(self->operator_key, PAYLOAD_POLICY_SET, &statement.base, &self->memory);
}

static Interlock__Common__V1__Envelope *policy_statement(fixture *self, const char *text, uint64_t version) {
    return policy_statement_with(self, text, version, (set_options){0});
}

/* As `interlock init` does: straight into coordination, before any service runs. */
static void put_first_statements(fixture *self) {
    failure why = {0};
    coord *coordination = NULL;
    control *live = NULL;
    uint64_t seq = 0;
    const coord_options options = {.embedded_path = in_folder(self, "coord/coord.db"),
                                   .prefix = "interlock/demo/",
                                   .source = chance_system()};
    check(coord_open(&coordination, &options, &why), &why);
    check(control_open(&live, coordination, &self->roots, NULL, chance_system(), &why), &why);
    check(control_put(live, enrolment(self, "agent/deployer", self->agent_key, 1, false), &seq, &why), &why);
    check(control_put(live, policy_statement(self, POLICY_TEXT, 1), &seq, &why), &why);
    control_close(live);
    coord_close(coordination);
}

static rpc_channel *channel(fixture *self, rpc_role role) {
    rpc_channel *made = NULL;
    failure why = {0};
    const rpc_channel_options options = {
        .target = arena_format(&self->memory, "unix:%s/policy.sock", self->folder), .role = role};
    check(rpc_channel_open(&made, &options, &why), &why);
    return made;
}

static void start_service(fixture *self) {
    failure why = {0};
    option table[16];
    memcpy(table, policy_options, policy_option_count * sizeof table[0]);
    table[policy_option_count] = (option){.name = "trust", .kind = OPTION_TEXT, .help = ""};
    char *target = arena_format(&self->memory, "unix:%s/log.sock", self->folder);
    char names[3][16] = {"--audit", "--graph", "--signer"};
    char *arguments[] = {names[0], target, names[1], target, names[2], target, NULL};
    check(settings_parse(&self->values, table, policy_option_count + 1, NULL, 6, arguments, NULL, &why),
          &why);
    const daemon_context context = {
        .settings = self->values, .source = chance_system(), .data_dir = self->folder};
    check(policy_service_open(&context, &self->service, &why), &why);
    const rpc_server_options options = {.unix_path = in_folder(self, "policy.sock"),
                                        .trust_domain = "demo",
                                        .own_uid_roles = ROLE_AGENT | ROLE_OPERATOR,
                                        .loops = 1};
    check(rpc_server_start(&self->server, &options, policy_methods, policy_method_count, self->service, &why),
          &why);
    check(policy_service_start(self->service, self->server, &why), &why);
    self->agent = channel(self, ROLE_AGENT);
    self->operator_channel = channel(self, ROLE_OPERATOR);
}

/* ---- asking ---- */

static void put_control(fixture *self, const Interlock__Common__V1__Envelope *statement) {
    failure why = {0};
    Interlock__Control__V1__PutControlResponse *response = NULL;
    check(policy_put_control_wait(self->operator_channel, statement, 10000, &self->memory, &response, &why),
          &why);
    assert_non_null(response->receipt);
}

static bool view_has(fixture *self, uint64_t seq) {
    policy_service *service = self->service;
    const control_view *view = control_acquire(service->live);
    bool has = view->seq >= seq && graph_views_age_ms(service->views) < 5000 && policy_service_ready(service);
    control_release(service->live, view);
    return has;
}

/* Until the service has applied control/seq and heard the graph. */
static void wait_for_view(fixture *self, uint64_t seq) {
    for (int i = 0; i < 1000 && !view_has(self, seq); i++)
        usleep(10000);
    assert_true(view_has(self, seq));
}

static Interlock__Common__V1__Envelope *action_for(fixture *self, const char *action_id, const char *target,
                                                   int64_t lifetime_ms) {
    char *targets[] = {arena_text(&self->memory, target),
                       arena_text(&self->memory, "service:prod/shop/email")};
    Interlock__Policy__V1__Action action = INTERLOCK__POLICY__V1__ACTION__INIT;
    action.header = header_of(self, PAYLOAD_ACTION, "agent/deployer", lifetime_ms);
    action.actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT;
    action.verb = arena_text(&self->memory, "deploy");
    action.targets = targets;
    action.n_targets = strcmp(action_id, "two targets") == 0 ? 2 : 1;
    action.action_id = arena_text(&self->memory, action.n_targets == 2 ? "two" : action_id);
    return dsse_sign_message(self->agent_key, PAYLOAD_ACTION, &action.base, &self->memory);
}

static Interlock__Common__V1__Envelope *action_on_cart(fixture *self, const char *action_id) {
    return action_for(self, action_id, "service:prod/shop/cart", 300000);
}

static Interlock__Policy__V1__EvaluateResponse *evaluate(fixture *self,
                                                         const Interlock__Common__V1__Envelope *action) {
    failure why = {0};
    Interlock__Policy__V1__EvaluateResponse *response = NULL;
    check(policy_evaluate_wait(self->agent, action, 15000, &self->memory, &response, &why), &why);
    assert_non_null(response->receipt);
    return response;
}

static void evaluate_fails(fixture *self, const Interlock__Common__V1__Envelope *action, status_code code,
                           const char *reason) {
    failure why = {0};
    Interlock__Policy__V1__EvaluateResponse *response = NULL;
    status_code got = policy_evaluate_wait(self->agent, action, 15000, &self->memory, &response, &why);
    if (got != code || strcmp(why.reason, reason) != 0)
        WRONG("%s %s: %s (wanted %s %s)", status_name(got), why.reason, why.message, status_name(code),
              reason);
}

static bool has_reason(const Interlock__Policy__V1__EvaluateResponse *response, const char *reason) {
    for (size_t i = 0; i < response->decision->n_findings; i++)
        if (strcmp(response->decision->findings[i]->reason, reason) == 0)
            return true;
    return false;
}

static void refuse_next(fixture *self, Interlock__Audit__V1__Refusal__Reason reason) {
    pthread_mutex_lock(&self->log.lock);
    self->log.refuse_next = reason;
    pthread_mutex_unlock(&self->log.lock);
}

static size_t log_size(fixture *self) {
    pthread_mutex_lock(&self->log.lock);
    size_t size = self->log.size;
    pthread_mutex_unlock(&self->log.lock);
    return size;
}

static int fixture_make(void **state) {
    fixture *self = calloc(1, sizeof *self);
    failure why = {0};
    assert_non_null(self);
    *state = self;
    (void)snprintf(self->folder, sizeof self->folder, "/tmp/policy-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    arena_init(&self->memory, 65536, 16U << 20);
    make_keys(self);
    put_first_statements(self);
    check(scripted_log_start(&self->log, in_folder(self, "log.sock"), &why), &why);
    start_service(self);
    wait_for_view(self, 2);
    return 0;
}

static int fixture_remove(void **state) {
    fixture *self = *state;
    rpc_channel_close(self->agent);
    rpc_channel_close(self->operator_channel);
    rpc_server_stop(self->server);
    policy_service_stop(self->service);
    rpc_server_free(self->server);
    policy_service_close(self->service);
    settings_free(self->values);
    scripted_log_stop(&self->log);
    secret_key_free(self->operator_key);
    secret_key_free(self->record_key);
    secret_key_free(self->agent_key);
    secret_key_free(self->executor_key);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", self->folder);
    assert_int_equal(system(command), 0);
    arena_free(&self->memory);
    free(self);
    return 0;
}

static void with_executor(fixture *self) {
    put_control(self, enrolment(self, "executor/local", self->executor_key, 1, false));
    wait_for_view(self, 3);
}

/* ---- tests ---- */

static void test_allowed_once_and_repeated(void **state) {
    fixture *self = *state;
    with_executor(self);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, action);
    OUTCOME_IS(first, ALLOW);
    assert_false(first->repeated);
    assert_true(strncmp(first->permit, "permit.", 7) == 0);
    size_t size = log_size(self);
    Interlock__Policy__V1__EvaluateResponse *again = evaluate(self, action);
    assert_true(again->repeated);
    assert_string_equal(again->permit, first->permit);
    assert_string_equal(again->decision->permit->permit_id, first->decision->permit->permit_id);
    assert_int_equal(again->receipt->index, first->receipt->index);
    assert_int_equal(log_size(self), size);
    evaluate_fails(self, action_on_cart(self, "a"), STATUS_ALREADY_EXISTS, "ACTION_ID_REUSED");
    assert_int_equal(log_size(self), size);
}

/* Fields that the envelope's type does not have are not under the signature: they stay out of the record,
 * which the signer would otherwise refuse, and out of control data, which would otherwise not verify. */
static void test_unknown_fields_stay_out(void **state) {
    fixture *self = *state;
    uint8_t value[] = {1, 'x'};
    ProtobufCMessageUnknownField unknown = {
        .tag = 900, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = sizeof value, .data = value};
    Interlock__Common__V1__Envelope *statement =
        enrolment(self, "executor/local", self->executor_key, 1, false);
    statement->base.n_unknown_fields = 1;
    statement->base.unknown_fields = &unknown;
    put_control(self, statement);
    wait_for_view(self, 3);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    action->signatures[0]->base.n_unknown_fields = 1;
    action->signatures[0]->base.unknown_fields = &unknown;
    Interlock__Policy__V1__EvaluateResponse *answer = evaluate(self, action);
    OUTCOME_IS(answer, ALLOW);
    Interlock__Common__V1__Envelope *record = self->log.entries[answer->receipt->index]->record;
    ProtobufCMessage *again = NULL;
    failure why = {0};
    check(wire_unpack_signed(&interlock__policy__v1__decision_record__descriptor,
                             bytes_of(record->payload.data, record->payload.len), &self->memory, &again,
                             &why),
          &why);
}

static void test_deferred_is_decided_anew(void **state) {
    fixture *self = *state;
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, action);
    OUTCOME_IS(first, DEFER);
    assert_true(has_reason(first, "EXECUTOR_NOT_ENROLLED"));
    assert_string_equal(first->permit, "");
    with_executor(self);
    Interlock__Policy__V1__EvaluateResponse *second = evaluate(self, action);
    OUTCOME_IS(second, ALLOW);
    assert_false(second->repeated);
    Interlock__Audit__V1__Leaf *leaf = log_leaf(self->log.entries[second->receipt->index]);
    assert_int_equal(leaf->previous_index, first->receipt->index);
    interlock__audit__v1__leaf__free_unpacked(leaf, NULL);
}

static void test_fenced_is_deferred(void **state) {
    fixture *self = *state;
    with_executor(self);
    refuse_next(self, LOG_REASON(FENCED));
    Interlock__Policy__V1__EvaluateResponse *answer = evaluate(self, action_on_cart(self, "a"));
    OUTCOME_IS(answer, DEFER);
    assert_true(has_reason(answer, "CONTROL_BEHIND_FENCE"));
    assert_true(answer->decision->retry_after_ms > 0);
}

static void test_used_up_counter_is_deferred(void **state) {
    fixture *self = *state;
    with_executor(self);
    refuse_next(self, LOG_REASON(COUNTER_EXHAUSTED));
    Interlock__Policy__V1__EvaluateResponse *answer = evaluate(self, action_on_cart(self, "a"));
    OUTCOME_IS(answer, DEFER);
    assert_true(has_reason(answer, "COUNTER_EXHAUSTED"));
    assert_int_equal(answer->decision->retry_after_ms, 777);
}

static void test_log_that_cannot_take_it(void **state) {
    fixture *self = *state;
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    size_t size = log_size(self);
    refuse_next(self, LOG_REASON(UNAVAILABLE));
    evaluate_fails(self, action, STATUS_UNAVAILABLE, "AUDIT_UNAVAILABLE");
    refuse_next(self, LOG_REASON(INVALID));
    evaluate_fails(self, action, STATUS_INTERNAL, "RECORD_REFUSED");
    assert_true(log_size(self) <= size + 3); /* control statements at most */
    OUTCOME_IS(evaluate(self, action), DEFER);
}

static void test_new_epoch_is_decided_once_more(void **state) {
    fixture *self = *state;
    with_executor(self);
    pthread_mutex_lock(&self->log.lock);
    self->log.epoch = 2;
    pthread_mutex_unlock(&self->log.lock);
    Interlock__Policy__V1__EvaluateResponse *answer = evaluate(self, action_on_cart(self, "a"));
    OUTCOME_IS(answer, ALLOW);
    assert_int_equal(answer->decision->permit->epoch, 2);
    Interlock__Audit__V1__Leaf *leaf = log_leaf(self->log.entries[answer->receipt->index]);
    assert_int_equal(leaf->previous_index, answer->receipt->index - 1);
    interlock__audit__v1__leaf__free_unpacked(leaf, NULL);
    size_t size = log_size(self);
    OUTCOME_IS(evaluate(self, action_on_cart(self, "b")), ALLOW);
    assert_int_equal(log_size(self), size + 1);
}

static void test_signer_that_refuses(void **state) {
    fixture *self = *state;
    with_executor(self);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    pthread_mutex_lock(&self->log.lock);
    self->log.signer_refuses = true;
    pthread_mutex_unlock(&self->log.lock);
    evaluate_fails(self, action, STATUS_INTERNAL, "SIGNER_REFUSED");
    pthread_mutex_lock(&self->log.lock);
    self->log.signer_refuses = false;
    pthread_mutex_unlock(&self->log.lock);
    Interlock__Policy__V1__EvaluateResponse *answer = evaluate(self, action);
    assert_true(answer->repeated);
    assert_true(strncmp(answer->permit, "permit.", 7) == 0);
}

/* An outcome stands between the retry and the decision. */
static void test_repeated_after_an_outcome(void **state) {
    fixture *self = *state;
    with_executor(self);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, action);
    Interlock__Audit__V1__AppendRequest outcome = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    outcome.kind = LOG_KIND(OUTCOME);
    outcome.action_id = arena_text(&self->memory, "a");
    outcome.expect = first->receipt->index;
    pthread_mutex_lock(&self->log.lock);
    (void)log_add(&self->log, &outcome);
    pthread_mutex_unlock(&self->log.lock);
    Interlock__Policy__V1__EvaluateResponse *again = evaluate(self, action);
    assert_true(again->repeated);
    assert_int_equal(again->receipt->index, first->receipt->index);
    assert_string_equal(again->receipt->checkpoint, "a later checkpoint");
    assert_string_equal(again->permit, first->permit);
    evaluate_fails(self, action_on_cart(self, "a"), STATUS_ALREADY_EXISTS, "ACTION_ID_REUSED");
}

static void test_expired(void **state) {
    fixture *self = *state;
    Interlock__Common__V1__Envelope *known = action_for(self, "known", "service:prod/shop/cart", 1500);
    Interlock__Common__V1__Envelope *unknown = action_for(self, "unknown", "service:prod/shop/cart", 1);
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, known);
    OUTCOME_IS(first, DEFER);
    usleep(1600000);
    Interlock__Policy__V1__EvaluateResponse *again = evaluate(self, known);
    OUTCOME_IS(again, DEFER);
    assert_true(again->repeated);
    assert_int_equal(again->receipt->index, first->receipt->index);
    size_t size = log_size(self);
    failure why = {0};
    Interlock__Policy__V1__EvaluateResponse *response = NULL;
    /* Nothing new reached the log lately, so that the projection may say that it cannot tell. */
    status_code code = policy_evaluate_wait(self->agent, unknown, 15000, &self->memory, &response, &why);
    assert_true(code == STATUS_INVALID_ARGUMENT ? strcmp(why.reason, "STATEMENT_EXPIRED") == 0
                                                : strcmp(why.reason, "LOG_NOT_FOLLOWED") == 0);
    assert_int_equal(log_size(self), size);
}

/* Somebody else who may append has put a decision into the log under our name. */
static void test_forged_decision(void **state) {
    fixture *self = *state;
    with_executor(self);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, action);
    OUTCOME_IS(first, ALLOW);
    pthread_mutex_lock(&self->log.lock);
    self->log.entries[first->receipt->index]->record->signatures[0]->sig.data[5] ^= 1;
    pthread_mutex_unlock(&self->log.lock);
    evaluate_fails(self, action, STATUS_DATA_LOSS, "DECISION_FORGED");
}

static void test_erased_decision(void **state) {
    fixture *self = *state;
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, action);
    pthread_mutex_lock(&self->log.lock);
    Interlock__Audit__V1__Entry *entry = self->log.entries[first->receipt->index];
    interlock__common__v1__envelope__free_unpacked(entry->record, NULL);
    entry->record = NULL;
    pthread_mutex_unlock(&self->log.lock);
    evaluate_fails(self, action, STATUS_FAILED_PRECONDITION, "DECISION_ERASED");
}

static void test_several_and_unknown_targets(void **state) {
    fixture *self = *state;
    Interlock__Policy__V1__EvaluateResponse *unknown =
        evaluate(self, action_for(self, "u", "service:prod/shop/nobody", 300000));
    OUTCOME_IS(unknown, DENY);
    assert_true(has_reason(unknown, "TARGET_UNKNOWN"));
    assert_true(unknown->decision->impact->entry_traffic->high > 0.99);
    with_executor(self);
    Interlock__Policy__V1__EvaluateResponse *two = evaluate(self, action_on_cart(self, "two targets"));
    OUTCOME_IS(two, ALLOW);
    assert_int_equal(two->decision->graph_revision, 10);
}

static void trace_answered(void *context, status_code code, const ProtobufCMessage *response,
                           const failure *why) {
    (void)response;
    (void)why;
    *(atomic_int *)context = (int)code;
}

/* What asks the graph on behalf of a call is part of that call's trace. */
static void test_trace_goes_on(void **state) {
    fixture *self = *state;
    static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    with_executor(self);
    Interlock__Policy__V1__EvaluateRequest request = INTERLOCK__POLICY__V1__EVALUATE_REQUEST__INIT;
    request.action = action_on_cart(self, "two targets");
    rpc_loop *loop = NULL;
    failure why = {0};
    atomic_int answered = -1;
    check(rpc_loop_start(&loop, &why), &why);
    check(rpc_unary_start(loop, self->agent, "/interlock.policy.v1.PolicyService/Evaluate", &request.base,
                          &interlock__policy__v1__evaluate_response__descriptor, 15000, trace, trace_answered,
                          &answered, &why),
          &why);
    for (int i = 0; i < 15000 && answered < 0; i++)
        usleep(1000);
    assert_int_equal(answered, STATUS_OK);
    assert_string_equal(self->log.traceparent, trace);
    rpc_loop_stop(loop);
}

static size_t control_records(fixture *self) {
    size_t count = 0;
    pthread_mutex_lock(&self->log.lock);
    for (size_t i = 0; i < self->log.size; i++) {
        Interlock__Audit__V1__Leaf *leaf = log_leaf(self->log.entries[i]);
        count += leaf->kind == LOG_KIND(CONTROL) ? 1 : 0;
        interlock__audit__v1__leaf__free_unpacked(leaf, NULL);
    }
    pthread_mutex_unlock(&self->log.lock);
    return count;
}

/* What was put before the service ran comes into the log by itself, once. */
static void test_sweep(void **state) {
    fixture *self = *state;
    for (int i = 0; i < 1000 && control_records(self) < 2; i++)
        usleep(10000);
    assert_int_equal(control_records(self), 2);
    with_executor(self);
    assert_int_equal(control_records(self), 3);
}

static void put_fails(fixture *self, const Interlock__Common__V1__Envelope *statement, status_code code,
                      const char *reason) {
    failure why = {0};
    Interlock__Control__V1__PutControlResponse *response = NULL;
    status_code got =
        policy_put_control_wait(self->operator_channel, statement, 10000, &self->memory, &response, &why);
    if (got != code || strcmp(why.reason, reason) != 0)
        WRONG("%s %s: %s (wanted %s %s)", status_name(got), why.reason, why.message, status_name(code),
              reason);
}

static void test_bad_control_statements(void **state) {
    fixture *self = *state;
    put_fails(self, policy_statement(self, "rules: [", 2), STATUS_INVALID_ARGUMENT, "POLICY_INVALID");
    put_fails(self, policy_statement(self, POLICY_TEXT, 2), STATUS_INVALID_ARGUMENT, "POLICY_INVALID");
    put_fails(self, action_on_cart(self, "a"), STATUS_INVALID_ARGUMENT, "CONTROL_STATEMENT");
    put_fails(self, NULL, STATUS_INVALID_ARGUMENT, "CONTROL_STATEMENT");
}

static void test_kill_and_report(void **state) {
    fixture *self = *state;
    with_executor(self);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    Interlock__Control__V1__Kill kill = INTERLOCK__CONTROL__V1__KILL__INIT;
    kill.header = header_of(self, PAYLOAD_KILL, "operator/alice", 0);
    kill.scope = INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL;
    kill.set = true;
    kill.version = 1;
    OUTCOME_IS(evaluate(self, action), ALLOW);
    put_control(self, dsse_sign_message(self->operator_key, PAYLOAD_KILL, &kill.base, &self->memory));
    wait_for_view(self, 4);
    OUTCOME_IS(evaluate(self, action_on_cart(self, "b")), DEFER);
    evaluate_fails(self, action, STATUS_UNAVAILABLE, "KILL_SWITCH_SET");
    Interlock__Control__V1__GetControlResponse *report = NULL;
    for (int i = 0; i < 500 && (report == NULL || !report->fenced); i++) {
        failure why = {0};
        check(policy_get_control_wait(self->operator_channel, 10000, &self->memory, &report, &why), &why);
        usleep(10000);
    }
    assert_true(report->fenced);
    assert_true(report->fence_index > 0);
    assert_int_equal(report->n_kills, 1);
    assert_int_equal(report->n_enrolments, 2);
    assert_string_equal(report->policy_name, "shop");
    assert_int_equal(report->control_seq, 4);
}

static void test_revoked_agent(void **state) {
    fixture *self = *state;
    put_control(self, enrolment(self, "agent/deployer", self->agent_key, 2, true));
    wait_for_view(self, 3);
    evaluate_fails(self, action_on_cart(self, "a"), STATUS_UNAUTHENTICATED, "KEY_REVOKED");
}

#define SET_HEAD(version)                                                                                    \
    "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: shop, version: " version "}}\n"
#define FORBIDDING                                                                                           \
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: never}, spec: {match: {verbs: ['*'], "   \
    "targets: ['*']}, effect: forbid, message: 'not {{ action.verb }}'}}\n"

static const Interlock__Policy__V1__PolicyReference *
policy_of(const Interlock__Policy__V1__EvaluateResponse *response) {
    assert_int_equal(response->decision->n_policies, 1);
    return response->decision->policies[0];
}

/* A set that locks everybody out is put in force by who says so alone; what it replaced comes back as a new
 * version. */
static void test_lock_out_and_back(void **state) {
    fixture *self = *state;
    with_executor(self);
    Interlock__Policy__V1__EvaluateResponse *first = evaluate(self, action_on_cart(self, "a"));
    OUTCOME_IS(first, ALLOW);
    assert_int_equal(policy_of(first)->version, 1);
    put_fails(self, policy_statement(self, SET_HEAD("2") FORBIDDING, 2), STATUS_FAILED_PRECONDITION,
              "POLICY_LOCKS_OUT");
    put_control(self, policy_statement_with(self, SET_HEAD("2") FORBIDDING, 2,
                                            (set_options){.accept_lock_out = true}));
    wait_for_view(self, 4);
    Interlock__Policy__V1__EvaluateResponse *locked = evaluate(self, action_on_cart(self, "b"));
    OUTCOME_IS(locked, DENY);
    assert_true(has_reason(locked, "FORBIDDEN"));
    assert_int_equal(policy_of(locked)->version, 2);
    put_fails(self, policy_statement(self, POLICY_TEXT, 1), STATUS_FAILED_PRECONDITION, "CONTROL_VERSION");
    put_fails(self, policy_statement(self, POLICY_TEXT, 3), STATUS_INVALID_ARGUMENT, "POLICY_INVALID");
    put_control(self, policy_statement_with(self, POLICY_TEXT, 3, (set_options){.rollback_of = 1}));
    wait_for_view(self, 5);
    Interlock__Policy__V1__EvaluateResponse *back = evaluate(self, action_on_cart(self, "c"));
    OUTCOME_IS(back, ALLOW);
    assert_int_equal(policy_of(back)->version, 3);
    assert_string_equal(policy_of(back)->digest, policy_of(first)->digest);
}

static Interlock__Policy__V1__GetPolicySetResponse *get_set(fixture *self, uint64_t version, bool of_shadow) {
    failure why = {0};
    Interlock__Policy__V1__GetPolicySetRequest request = INTERLOCK__POLICY__V1__GET_POLICY_SET_REQUEST__INIT;
    Interlock__Policy__V1__GetPolicySetResponse *response = NULL;
    request.version = version;
    request.shadow = of_shadow;
    /* The projection follows the log on its own time. */
    for (int i = 0; i < 500 && response == NULL; i++)
        if (policy_get_policy_set_wait(self->operator_channel, &request, 10000, &self->memory, &response,
                                       &why) != STATUS_OK) {
            assert_int_equal(why.code, STATUS_NOT_FOUND);
            usleep(10000);
        }
    assert_non_null(response);
    return response;
}

static void test_sets_are_kept(void **state) {
    fixture *self = *state;
    static const char changed[] = SET_HEAD("2") FORBIDDING;
    put_control(self, policy_statement_with(self, changed, 2, (set_options){.accept_lock_out = true}));
    Interlock__Policy__V1__GetPolicySetResponse *now = get_set(self, 0, false);
    assert_int_equal(now->reference->version, 2);
    assert_memory_equal(now->document.data, changed, sizeof changed - 1);
    Interlock__Policy__V1__GetPolicySetResponse *before = get_set(self, 1, false);
    assert_int_equal(before->reference->version, 1);
    assert_int_equal(before->document.len, strlen(POLICY_TEXT));
}

static Interlock__Policy__V1__GetShadowReportResponse *get_report(fixture *self) {
    failure why = {0};
    Interlock__Policy__V1__GetShadowReportRequest request =
        INTERLOCK__POLICY__V1__GET_SHADOW_REPORT_REQUEST__INIT;
    Interlock__Policy__V1__GetShadowReportResponse *response = NULL;
    check(policy_get_shadow_report_wait(self->operator_channel, &request, 10000, &self->memory, &response,
                                        &why),
          &why);
    return response;
}

/* The shadow decides beside the set in force, and nothing comes of it but the count. */
static void test_shadow(void **state) {
    fixture *self = *state;
    with_executor(self);
    assert_null(get_report(self)->shadow);
    put_control(self,
                policy_statement_with(self, SET_HEAD("1") FORBIDDING, 1, (set_options){.shadow = true}));
    wait_for_view(self, 4);
    Interlock__Common__V1__Envelope *action = action_on_cart(self, "a");
    OUTCOME_IS(evaluate(self, action), ALLOW);
    OUTCOME_IS(evaluate(self, action), ALLOW); /* repeated: not decided again */
    OUTCOME_IS(evaluate(self, action_for(self, "b", "service:prod/bank/ledger", 60000)), DENY);
    Interlock__Policy__V1__GetShadowReportResponse *report = get_report(self);
    assert_string_equal(report->shadow->name, "shop");
    assert_int_equal(report->live->version, 1);
    assert_int_equal(report->decisions, 2);
    assert_int_equal(report->different, 2); /* the second is denied for another reason */
    assert_int_equal(report->n_counts, 2);
    assert_int_equal(report->n_differences, 2);
    const Interlock__Policy__V1__ShadowDifference *oldest = report->differences[1];
    assert_string_equal(oldest->action_id, "a");
    assert_string_equal(oldest->live->rule, "small");
    assert_string_equal(oldest->shadow->reason, "FORBIDDEN");
    assert_string_equal(oldest->shadow->rule, "never");
    put_control(self, policy_statement_with(self, "", 2, (set_options){.shadow = true}));
    wait_for_view(self, 5);
    OUTCOME_IS(evaluate(self, action_on_cart(self, "c")), ALLOW);
    assert_null(get_report(self)->shadow);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, fixture_make, fixture_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        EACH(test_allowed_once_and_repeated),
        EACH(test_unknown_fields_stay_out),
        EACH(test_deferred_is_decided_anew),
        EACH(test_fenced_is_deferred),
        EACH(test_used_up_counter_is_deferred),
        EACH(test_log_that_cannot_take_it),
        EACH(test_new_epoch_is_decided_once_more),
        EACH(test_signer_that_refuses),
        EACH(test_repeated_after_an_outcome),
        EACH(test_expired),
        EACH(test_forged_decision),
        EACH(test_erased_decision),
        EACH(test_several_and_unknown_targets),
        EACH(test_trace_goes_on),
        EACH(test_sweep),
        EACH(test_bad_control_statements),
        EACH(test_kill_and_report),
        EACH(test_revoked_agent),
        EACH(test_lock_out_and_back),
        EACH(test_sets_are_kept),
        EACH(test_shadow),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
