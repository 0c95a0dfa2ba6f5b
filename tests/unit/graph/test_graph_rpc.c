/* The graph service as its callers see it: a real server on a unix socket, the typed client, and the real
 * store. */
#include "client/graph_client.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "graph.h"
#include "graph_rpc.h"
#include "otlp.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 10000U
#define ALL_ROLES                                                                                            \
    (ROLE_AGENT | ROLE_EXECUTOR | ROLE_APPROVER | ROLE_OPERATOR | ROLE_AUDITOR | ROLE_TELEMETRY |            \
     ROLE_SERVICE)

typedef struct installation {
    char directory[64], store[96], socket[96], target[112];
    graph_service *service;
    rpc_server *server;
    rpc_channel *channels[7]; /* by role */
    arena memory;
} installation;

static const rpc_role roles[7] = {ROLE_AGENT,   ROLE_EXECUTOR,  ROLE_APPROVER, ROLE_OPERATOR,
                                  ROLE_AUDITOR, ROLE_TELEMETRY, ROLE_SERVICE};

static void must(status_code code, const failure *why) {
    if (code != STATUS_OK)
        fail_msg("%s %s: %s", status_name(code), why->reason == NULL ? "" : why->reason, why->message);
}

static void service_up(installation *self) {
    failure why = {0};
    must(graph_service_create(&self->service, self->store, chance_system(), &why), &why);
    rpc_server_options options = {
        .unix_path = self->socket, .own_uid_roles = ALL_ROLES, .loops = 2, .drain_ms = 500};
    must(rpc_server_start(&self->server, &options, graph_methods, graph_method_count, self->service, &why),
         &why);
    must(graph_service_start(self->service, self->server, &why), &why);
    rpc_server_set_serving(self->server, true);
}

static void service_down(installation *self) {
    rpc_server_stop(self->server);
    graph_service_stop(self->service);
    rpc_server_free(self->server);
    graph_service_close(self->service);
}

static void names_make(installation *self) {
    snprintf(self->directory, sizeof self->directory, "/tmp/graph-rpc-XXXXXX");
    assert_non_null(mkdtemp(self->directory));
    snprintf(self->store, sizeof self->store, "%s/graph.db", self->directory);
    snprintf(self->socket, sizeof self->socket, "%s/s", self->directory);
    snprintf(self->target, sizeof self->target, "unix:%s", self->socket);
}

static int installation_open(void **state) {
    installation *self = calloc(1, sizeof *self);
    assert_non_null(self);
    names_make(self);
    service_up(self);
    for (size_t i = 0; i < 7; i++) {
        failure why = {0};
        rpc_channel_options options = {.target = self->target, .role = roles[i]};
        must(rpc_channel_open(&self->channels[i], &options, &why), &why);
    }
    arena_init(&self->memory, 65536, 64 << 20);
    *state = self;
    return 0;
}

static int installation_close(void **state) {
    installation *self = *state;
    for (size_t i = 0; i < 7; i++)
        rpc_channel_close(self->channels[i]);
    service_down(self);
    static const char *const names[] = {"graph.db", "graph.db-wal", "graph.db-shm", "s"};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", self->directory, names[i]);
        unlink(path);
    }
    arena_free(&self->memory);
    int left = rmdir(self->directory);
    free(self);
    return left;
}

static rpc_channel *as(const installation *self, rpc_role role) {
    for (size_t i = 0; i < 7; i++)
        if (roles[i] == role)
            return self->channels[i];
    return NULL;
}

/* A day-old entry request of `frontend`, which calls `callee` when that is not NULL. */
static trace_export *request_of(arena *memory, uint64_t trace, const char *service, uint64_t span,
                                uint64_t parent) {
    otlp_attribute resource[] = {{"service.name", service},
                                 {"service.namespace", "shop"},
                                 {"deployment.environment.name", "prod"},
                                 {NULL, NULL}};
    otlp_case item = {trace, span, parent, 2, "ot=th:0", chance_wall_ms(chance_system()) - 86400000, NULL};
    return otlp_make_export(memory, resource, &item, 1);
}

static void export_one(installation *self, uint64_t trace, const char *service, uint64_t span,
                       uint64_t parent) {
    failure why = {0};
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *answer = NULL;
    must(graph_export_wait(as(self, ROLE_TELEMETRY), request_of(&self->memory, trace, service, span, parent),
                           TIMEOUT_MS, &self->memory, &answer, &why),
         &why);
    assert_null(answer->partial_success);
}

/* `count` entry requests of frontend, every fourth of which calls cart. */
static void traffic_send(installation *self, uint64_t first, uint64_t count) {
    for (uint64_t trace = first; trace < first + count; trace++) {
        if (trace % 4 == 0)
            export_one(self, trace, "cart", 2, 1);
        export_one(self, trace, "frontend", 1, 0);
    }
}

static impact_response *predict(installation *self, const char *target) {
    failure why = {0};
    char *targets[] = {(char *)target};
    impact_request request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
    request.targets = targets;
    request.n_targets = 1;
    impact_response *out = NULL;
    must(graph_predict_impact_wait(as(self, ROLE_AGENT), &request, TIMEOUT_MS, &self->memory, &out, &why),
         &why);
    return out;
}

/* What was acknowledged is durable, and visible with the next snapshot: at once where one is cheap, soon on a
 * machine that is busy. Bounded by PREDICTIONS_MAX, not by a clock. */
#define PREDICTIONS_MAX 2000

static impact_response *predict_until(installation *self, const char *target, double expected) {
    impact_response *answer = predict(self, target);
    for (int i = 0; i < PREDICTIONS_MAX && answer->impact->entry_traffic->expected != expected; i++) {
        usleep(5000);
        answer = predict(self, target);
    }
    return answer;
}

static void test_acknowledged_becomes_visible(void **state) {
    installation *self = *state;
    traffic_send(self, 1, 40);
    const impact_response *answer = predict_until(self, "service:prod/shop/cart", 0.25);
    const Interlock__Graph__V1__Share *share = answer->impact->entry_traffic;
    assert_true(share->expected == 0.25 && share->low < 0.25 && share->high > 0.25 && share->high < 0.45);
    assert_true(answer->impact->observed_requests == 40 && answer->as_of_ms > 0 && answer->revision > 0);
    assert_int_equal(answer->impact->n_affected, 2);
    assert_string_equal(answer->impact->affected[0]->name, "service:prod/shop/cart");
    assert_string_equal(answer->impact->affected[1]->name, "service:prod/shop/frontend");
    assert_true(answer->impact->affected[1]->probability == 0.25);
    assert_int_equal(answer->impact->affected[1]->n_path, 2);
}

static void test_unknown_target(void **state) {
    installation *self = *state;
    traffic_send(self, 1, 4);
    const impact_response *answer = predict(self, "service:staging/shop/cart");
    assert_int_equal(answer->n_unknown_targets, 1);
    assert_string_equal(answer->unknown_targets[0], "service:staging/shop/cart");
    assert_true(answer->impact->entry_traffic->low == 0 && answer->impact->entry_traffic->high == 1 &&
                answer->impact->entry_traffic->expected == 1);
    assert_int_equal(answer->impact->n_affected, 0);
}

static void test_bad_targets(void **state) {
    installation *self = *state;
    static const struct {
        const char *target;
        size_t count;
        const char *field;
    } cases[] = {{"cart", 1, "targets[0]"},
                 {"service:prod/shop/cart", 0, "targets"},
                 {"service:prod/shop/cart", 65, "targets"}};
    for (size_t i = 0; i < 3; i++) {
        char *targets[65];
        for (size_t j = 0; j < 65; j++)
            targets[j] = (char *)cases[i].target;
        impact_request request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
        request.targets = targets;
        request.n_targets = cases[i].count;
        impact_response *out = NULL;
        failure why = {0};
        assert_int_equal(
            graph_predict_impact_wait(as(self, ROLE_AGENT), &request, TIMEOUT_MS, &self->memory, &out, &why),
            STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.field, cases[i].field);
    }
}

/* Every method with every role: exactly those that may. */
static void test_roles(void **state) {
    installation *self = *state;
    const unsigned asking = ROLE_SERVICE | ROLE_OPERATOR | ROLE_AGENT | ROLE_AUDITOR;
    for (size_t i = 0; i < 7; i++) {
        failure why = {0};
        Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *exported = NULL;
        Interlock__Graph__V1__GetGraphResponse *graph = NULL;
        impact_response *impact = NULL;
        char *target = "service:prod/shop/cart";
        impact_request request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
        request.targets = &target;
        request.n_targets = 1;
        status_code code = graph_export_wait(self->channels[i], request_of(&self->memory, i + 1, "a", 1, 0),
                                             TIMEOUT_MS, &self->memory, &exported, &why);
        assert_int_equal(code, (roles[i] & ROLE_TELEMETRY) != 0 ? STATUS_OK : STATUS_PERMISSION_DENIED);
        code = graph_get_wait(self->channels[i], TIMEOUT_MS, &self->memory, &graph, &why);
        assert_int_equal(code, (roles[i] & asking) != 0 ? STATUS_OK : STATUS_PERMISSION_DENIED);
        code =
            graph_predict_impact_wait(self->channels[i], &request, TIMEOUT_MS, &self->memory, &impact, &why);
        assert_int_equal(code, (roles[i] & asking) != 0 ? STATUS_OK : STATUS_PERMISSION_DENIED);
    }
}

static bool stop_at_first(void *context, const ProtobufCMessage *message) {
    (void)message;
    *(bool *)context = true;
    return false;
}

static void test_watch_roles(void **state) {
    installation *self = *state;
    for (size_t i = 0; i < 7; i++) {
        failure why = {0};
        bool heard = false;
        Interlock__Graph__V1__WatchImpactRequest request = INTERLOCK__GRAPH__V1__WATCH_IMPACT_REQUEST__INIT;
        status_code code =
            rpc_stream_wait(self->channels[i], "/interlock.graph.v1.GraphService/WatchImpact", &request.base,
                            &interlock__graph__v1__watch_impact_response__descriptor, TIMEOUT_MS,
                            stop_at_first, &heard, &why);
        assert_int_equal(code, roles[i] == ROLE_SERVICE ? STATUS_OK : STATUS_PERMISSION_DENIED);
        assert_int_equal(heard, roles[i] == ROLE_SERVICE);
    }
}

static void test_partial_success(void **state) {
    installation *self = *state;
    trace_export *request = request_of(&self->memory, 7, "cart", 1, 0);
    request->resource_spans[0]->scope_spans[0]->spans[0]->end_time_unix_nano += 2 * 86400000000000U;
    failure why = {0};
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *answer = NULL;
    must(graph_export_wait(as(self, ROLE_TELEMETRY), request, TIMEOUT_MS, &self->memory, &answer, &why),
         &why);
    assert_non_null(answer->partial_success);
    assert_int_equal(answer->partial_success->rejected_spans, 1);
    assert_non_null(strstr(answer->partial_success->error_message, "future"));
}

static void test_get_graph(void **state) {
    installation *self = *state;
    traffic_send(self, 1, 8);
    failure why = {0};
    Interlock__Graph__V1__GetGraphResponse *graph = NULL;
    const struct timespec pause = {.tv_nsec = 5000000};
    /* What is durable shows with the next snapshot. */
    for (unsigned waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += 5) {
        must(graph_get_wait(as(self, ROLE_AUDITOR), TIMEOUT_MS, &self->memory, &graph, &why), &why);
        if (graph->n_edges == 1)
            break;
        nanosleep(&pause, NULL);
    }
    assert_int_equal(graph->n_nodes, 2);
    assert_string_equal(graph->nodes[0]->name, "service:prod/shop/cart");
    assert_true(graph->nodes[1]->requests == 8 && graph->nodes[1]->entry_requests == 8 &&
                graph->nodes[1]->confidence == 1);
    assert_int_equal(graph->n_edges, 1);
    assert_string_equal(graph->edges[0]->from, "service:prod/shop/frontend");
    assert_true(graph->edges[0]->calls == 2 && graph->edges[0]->requests_with_call == 2);
    assert_int_equal(graph->edges[0]->provenance, PROVENANCE_OBSERVED);
}

/* ---- Views
 * -------------------------------------------------------------------------------------------------------- */

static const graph_view_table *table_with(graph_views *views, const char *name, uint64_t revision) {
    const struct timespec pause = {.tv_nsec = 5000000};
    for (unsigned waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += 5) {
        const graph_view_table *table = graph_views_acquire(views);
        if (table != NULL && graph_views_revision(table) >= revision &&
            (name == NULL || graph_views_find(table, name) != NULL))
            return table;
        graph_views_release(table);
        nanosleep(&pause, NULL);
    }
    fail_msg("no table with %s", name == NULL ? "anything" : name);
    return NULL;
}

static void views_equal(installation *self, const graph_view_table *table, const char *name) {
    const impact_response *answer = predict(self, name);
    const Interlock__Graph__V1__Impact *view = graph_views_find(table, name);
    assert_non_null(view);
    assert_int_equal(protobuf_c_message_get_packed_size(&view->base),
                     protobuf_c_message_get_packed_size(&answer->impact->base));
    uint8_t one[4096];
    uint8_t two[4096];
    size_t size = protobuf_c_message_pack(&view->base, one);
    assert_true(size <= sizeof one);
    protobuf_c_message_pack(&answer->impact->base, two);
    assert_memory_equal(one, two, size);
}

/* What the views say is what PredictImpact says, for those who watch from the start and those who come late,
 * also over a restart of the service. */
static void test_views(void **state) {
    installation *self = *state;
    failure why = {0};
    rpc_loop *loop = NULL;
    graph_views *early = NULL;
    graph_views *late = NULL;
    must(rpc_loop_start(&loop, &why), &why);
    must(graph_views_open(&early, loop, as(self, ROLE_SERVICE), chance_system(), &why), &why);
    const graph_view_table *empty = table_with(early, NULL, 0);
    assert_int_equal(graph_views_count(empty), 0);
    assert_true(graph_views_age_ms(early) < TIMEOUT_MS);
    traffic_send(self, 1, 40);
    must(graph_views_open(&late, loop, as(self, ROLE_SERVICE), chance_system(), &why), &why);
    uint64_t revision = predict(self, "service:prod/shop/cart")->revision;
    const graph_view_table *one = table_with(early, "service:prod/shop/cart", revision);
    const graph_view_table *two = table_with(late, "service:prod/shop/cart", revision);
    views_equal(self, one, "service:prod/shop/cart");
    views_equal(self, two, "service:prod/shop/frontend");
    assert_int_equal(graph_views_count(one), 2);
    assert_null(graph_views_find(one, "service:prod/shop/nobody"));
    assert_null(graph_views_find(empty, "service:prod/shop/cart"));
    graph_views_release(empty);
    graph_views_release(one);
    graph_views_release(two);
    service_down(self);
    service_up(self);
    traffic_send(self, 100, 10);
    one = table_with(early, "service:prod/shop/cart", revision + 1);
    graph_views_close(early);
    assert_true(graph_views_find(one, "service:prod/shop/cart")->observed_requests > 40);
    graph_views_release(one);
    graph_views_close(late);
    rpc_loop_stop(loop);
}

/* More nodes than a message holds, for one who watches from the start and one who comes late. */
static void test_views_of_many(void **state) {
    installation *self = *state;
    failure why = {0};
    rpc_loop *loop = NULL;
    graph_views *views[2] = {NULL, NULL};
    enum { MANY = 3000 };
    trace_export *all = request_of(&self->memory, 1, "s0", 1, 0);
    void **resources = arena_alloc(&self->memory, MANY * sizeof(void *));
    for (uint64_t i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", (unsigned)i);
        resources[i] =
            request_of(&self->memory, 1 + i / 8, name, 1 + i, i % 8 == 0 ? 0 : i)->resource_spans[0];
    }
    all->resource_spans = (Opentelemetry__Proto__Trace__V1__ResourceSpans **)resources;
    all->n_resource_spans = MANY;
    must(rpc_loop_start(&loop, &why), &why);
    must(graph_views_open(&views[0], loop, as(self, ROLE_SERVICE), chance_system(), &why), &why);
    graph_views_release(table_with(views[0], NULL, 0));
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *answer = NULL;
    must(graph_export_wait(as(self, ROLE_TELEMETRY), all, TIMEOUT_MS, &self->memory, &answer, &why), &why);
    must(graph_views_open(&views[1], loop, as(self, ROLE_SERVICE), chance_system(), &why), &why);
    for (size_t i = 0; i < 2; i++) {
        const graph_view_table *table = table_with(views[i], "service:prod/shop/s2999", 1);
        assert_int_equal(graph_views_count(table), MANY);
        views_equal(self, table, "service:prod/shop/s1503");
        graph_views_release(table);
        graph_views_close(views[i]);
    }
    rpc_loop_stop(loop);
}

/* Without a service there is no table, closing does not hang, and a table comes once there is one. */
static void test_views_without_service(void **state) {
    installation *self = *state;
    failure why = {0};
    rpc_loop *loop = NULL;
    graph_views *views = NULL;
    service_down(self);
    must(rpc_loop_start(&loop, &why), &why);
    must(graph_views_open(&views, loop, as(self, ROLE_SERVICE), chance_system(), &why), &why);
    assert_null(graph_views_acquire(views));
    assert_true(graph_views_age_ms(views) == UINT64_MAX);
    service_up(self);
    graph_views_release(table_with(views, NULL, 0));
    graph_views_close(views);
    rpc_loop_stop(loop);
}

/* ---- Crash
 * -------------------------------------------------------------------------------------------------------- */

/* The child serves until it is killed; it must not share the parent's gRPC, so that it begins before there is
 * one. */
static pid_t child_serve(installation *self, int ready) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child != 0)
        return child;
    service_up(self);
    if (write(ready, "x", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* Killed with spans in flight: whatever was acknowledged is there afterwards. */
static void test_kill(void) {
    installation self = {0};
    names_make(&self);
    arena_init(&self.memory, 65536, 64 << 20);
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = child_serve(&self, ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    failure why = {0};
    rpc_channel_options options = {.target = self.target, .role = ROLE_TELEMETRY};
    must(rpc_channel_open(&self.channels[5], &options, &why), &why);
    traffic_send(&self, 1, 40);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    unlink(self.socket);
    rpc_channel_close(self.channels[5]);
    service_up(&self);
    /* Parents that came before the crash are still known to children that come after it, and duplicates as
     * such. */
    options.role = ROLE_AGENT;
    must(rpc_channel_open(&self.channels[0], &options, &why), &why);
    options.role = ROLE_TELEMETRY;
    must(rpc_channel_open(&self.channels[5], &options, &why), &why);
    assert_true(predict(&self, "service:prod/shop/cart")->impact->observed_requests == 40);
    traffic_send(&self, 30, 10);
    export_one(&self, 1, "cart", 2, 1);
    const impact_response *answer = predict_until(&self, "service:prod/shop/cart", 11.0 / 40);
    assert_true(answer->impact->observed_requests == 40);
    assert_true(answer->impact->entry_traffic->expected == 11.0 / 40);
    assert_float_equal(answer->impact->affected[1]->probability, 11.0 / 40, 1e-6);
    rpc_channel_close(self.channels[0]);
    rpc_channel_close(self.channels[5]);
    self.channels[0] = self.channels[5] = NULL;
    void *state = calloc(1, sizeof self);
    assert_non_null(state);
    memcpy(state, &self, sizeof self);
    assert_int_equal(installation_close(&state), 0);
}

static void test_kill_in_child(void **state) {
    (void)state;
    test_kill();
}

#define WITH_INSTALLATION(test) cmocka_unit_test_setup_teardown(test, installation_open, installation_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_in_child), /* first: it forks before gRPC has threads */
        WITH_INSTALLATION(test_acknowledged_becomes_visible),
        WITH_INSTALLATION(test_unknown_target),
        WITH_INSTALLATION(test_bad_targets),
        WITH_INSTALLATION(test_roles),
        WITH_INSTALLATION(test_watch_roles),
        WITH_INSTALLATION(test_partial_success),
        WITH_INSTALLATION(test_get_graph),
        WITH_INSTALLATION(test_views),
        WITH_INSTALLATION(test_views_of_many),
        WITH_INSTALLATION(test_views_without_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
