/* What every server has: health (Check and Watch), reflection, and the text of its counts. */
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "reflection.h"
#include "rpc_test.h"

extern const uint8_t proto_descriptors[], proto_descriptors_end[];

static status_code handle(void *context, rpc_call *call, const ProtobufCMessage *message,
                          ProtobufCMessage *reply, failure *why) {
    (void)context, (void)call, (void)reply;
    if (((const recall_request *)message)->limit == 1)
        return fail(why, STATUS_NOT_FOUND, "NOT_THERE", "not there");
    return STATUS_OK;
}

static const rpc_method methods[] = {RPC_UNARY(RECALL, request_type, response_type, ROLE_AGENT, handle)};

typedef struct fixture {
    world world;
    rpc_loop *loop;
    rpc_channel *anybody; /* states no role */
} fixture;

static int set_up(void **state) {
    fixture *self = calloc(1, sizeof *self);
    world_open(&self->world, &(rpc_server_options){.drain_ms = 300}, methods, 1, NULL);
    failure why = {0};
    must(rpc_loop_start(&self->loop, &why), &why);
    self->anybody = open_channel(self->world.target, ROLE_NONE);
    *state = self;
    return 0;
}

static int tear_down(void **state) {
    fixture *self = *state;
    rpc_channel_close(self->anybody);
    rpc_loop_stop(self->loop);
    world_close(&self->world);
    free(self);
    return 0;
}

/* ---- health ---- */

static status_code check(fixture *self, const char *service, int *status) {
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    ProtobufCMessage *response;
    failure why = {0};
    status_code code = rpc_call_wait(self->anybody, "/grpc.health.v1.Health/Check", &request.base,
                                     &grpc__health__v1__health_check_response__descriptor, WAIT_MS, &memory,
                                     &response, &why);
    if (code == STATUS_OK)
        *status = (int)((Grpc__Health__V1__HealthCheckResponse *)response)->status;
    arena_free(&memory);
    return code;
}

static void check_follows_serving(void **state) {
    fixture *self = *state;
    int status = -1;
    assert_int_equal(check(self, "", &status), STATUS_OK);
    assert_int_equal(status, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    assert_int_equal(check(self, "interlock.memory.v1.MemoryService", &status), STATUS_OK);
    assert_int_equal(check(self, "grpc.health.v1.Health", &status), STATUS_OK);
    assert_int_equal(check(self, "interlock.memory.v1.Memory", &status), STATUS_NOT_FOUND);
    assert_int_equal(check(self, "interlock.audit.v1.AuditService", &status), STATUS_NOT_FOUND);
    rpc_server_set_serving(self->world.server, false);
    assert_int_equal(check(self, "", &status), STATUS_OK);
    assert_int_equal(status, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
}

typedef struct watcher {
    counter messages, closed;
    int seen[16];
    status_code code;
} watcher;

static void watch_message(void *context, const ProtobufCMessage *message) {
    watcher *self = context;
    unsigned index = counter_value(&self->messages);
    assert_true(index < 16);
    self->seen[index] = (int)((const Grpc__Health__V1__HealthCheckResponse *)message)->status;
    counter_add(&self->messages, 1);
}

static void watch_closed(void *context, status_code code, const failure *why) {
    (void)why;
    watcher *self = context;
    self->code = code;
    counter_add(&self->closed, 1);
}

static rpc_client_stream *watch(fixture *self, watcher *to, const char *service) {
    static const rpc_client_stream_handlers handlers = {.message = watch_message, .closed = watch_closed};
    rpc_client_stream *stream;
    failure why = {0};
    must(rpc_client_stream_open(self->loop, self->anybody, "/grpc.health.v1.Health/Watch",
                                &grpc__health__v1__health_check_response__descriptor, &handlers, to, &stream,
                                &why),
         &why);
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    assert_int_equal(rpc_client_stream_send(stream, &request.base), STATUS_OK);
    rpc_client_stream_half_close(stream);
    return stream;
}

static void watch_tells_transitions(void **state) {
    fixture *self = *state;
    watcher known = {.messages = COUNTER_INIT, .closed = COUNTER_INIT};
    watcher unknown = {.messages = COUNTER_INIT, .closed = COUNTER_INIT};
    watch(self, &known, "interlock.memory.v1.MemoryService");
    rpc_client_stream *left = watch(self, &unknown, "no.such.Service");
    counter_wait(&known.messages, 1);
    counter_wait(&unknown.messages, 1);
    rpc_server_set_serving(self->world.server, false);
    counter_wait(&known.messages, 2);
    rpc_server_set_serving(self->world.server, false); /* no transition: not told */
    rpc_server_set_serving(self->world.server, true);
    counter_wait(&known.messages, 3);
    rpc_client_stream_cancel(left);
    counter_wait(&unknown.closed, 1);
    rpc_server_stop(self->world.server);
    counter_wait(&known.closed, 1);
    assert_int_equal(known.code, STATUS_UNAVAILABLE);
    assert_int_equal(counter_value(&known.messages), 4); /* NOT_SERVING comes before the end */
    static const int expected[] = {1, 2, 1, 2};
    assert_memory_equal(known.seen, expected, sizeof expected);
    assert_int_equal(counter_value(&unknown.messages), 1);
    assert_int_equal(unknown.seen[0],
                     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
}

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

typedef struct answer {
    counter messages, closed;
    char services[1024]; /* a space after each */
    size_t files;
    bool own_file; /* the first file is memory.proto */
    int error;
} answer;

static void on_answer(void *context, const ProtobufCMessage *message) {
    answer *self = context;
    const reflection_response *response = (const reflection_response *)message;
    self->error = 0;
    self->files = 0;
    if (response->message_response_case ==
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE) {
        for (size_t i = 0; i < response->list_services_response->n_service; i++) {
            size_t used = strlen(self->services);
            snprintf(self->services + used, sizeof self->services - used, "%s ",
                     response->list_services_response->service[i]->name);
        }
    } else if (response->message_response_case ==
               GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE) {
        const ProtobufCBinaryData *file = response->file_descriptor_response->file_descriptor_proto;
        static const char name[] = "interlock/memory/v1/memory.proto";
        self->files = response->file_descriptor_response->n_file_descriptor_proto;
        self->own_file =
            file[0].len > 2 + sizeof name && memcmp(file[0].data + 2, name, sizeof name - 1) == 0;
    } else if (response->message_response_case ==
               GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE) {
        self->error = response->error_response->error_code;
    }
    counter_add(&self->messages, 1);
}

static void on_answers_closed(void *context, status_code code, const failure *why) {
    (void)why;
    assert_int_equal(code, STATUS_OK);
    counter_add(&((answer *)context)->closed, 1);
}

static void ask(rpc_client_stream *stream, answer *to, int what, const char *text) {
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case = what;
    request.file_containing_symbol = (char *)(uintptr_t)text; /* the texts share a union */
    unsigned before = counter_value(&to->messages);
    assert_int_equal(rpc_client_stream_send(stream, &request.base), STATUS_OK);
    counter_wait(&to->messages, before + 1);
}

#define LIST GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES
#define BY_SYMBOL GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL
#define BY_NAME GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME
#define EXTENSIONS                                                                                           \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE

static void reflect(fixture *self, const char *path) {
    static const rpc_client_stream_handlers handlers = {.message = on_answer, .closed = on_answers_closed};
    answer to = {.messages = COUNTER_INIT, .closed = COUNTER_INIT};
    rpc_client_stream *stream;
    failure why = {0};
    must(rpc_client_stream_open(self->loop, self->anybody, path,
                                &grpc__reflection__v1__server_reflection_response__descriptor, &handlers, &to,
                                &stream, &why),
         &why);
    ask(stream, &to, LIST, "");
    assert_non_null(strstr(to.services, "interlock.memory.v1.MemoryService "));
    assert_non_null(strstr(to.services, "grpc.health.v1.Health "));
    assert_non_null(strstr(to.services, "grpc.reflection.v1.ServerReflection "));
    assert_non_null(strstr(to.services, "grpc.reflection.v1alpha.ServerReflection "));
    assert_null(strstr(to.services, "AuditService"));
    static const char *const symbols[] = {
        "interlock.memory.v1.MemoryService",
        "interlock.memory.v1.MemoryService.Recall",
        "interlock.memory.v1.RecallRequest",
        "interlock.memory.v1.OutcomeState",
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        ask(stream, &to, BY_SYMBOL, symbols[i]);
        assert_true(to.files > 1); /* with what it imports */
        assert_true(to.own_file);
    }
    ask(stream, &to, BY_NAME, "interlock/memory/v1/memory.proto");
    assert_true(to.own_file);
    ask(stream, &to, BY_SYMBOL, "interlock.memory.v1.Nothing");
    assert_int_equal(to.error, STATUS_NOT_FOUND);
    ask(stream, &to, BY_NAME, "../etc/passwd");
    assert_int_equal(to.error, STATUS_NOT_FOUND);
    ask(stream, &to, EXTENSIONS, "interlock.memory.v1.RecallRequest");
    assert_int_equal(to.error, 0);
    ask(stream, &to, 0, NULL);
    assert_int_equal(to.error, STATUS_INVALID_ARGUMENT);
    rpc_client_stream_half_close(stream);
    counter_wait(&to.closed, 1);
}

static void reflection_v1(void **state) {
    reflect(*state, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
}

static void reflection_v1alpha(void **state) {
    reflect(*state, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

/* Any cut of the descriptor set is read or refused, never beyond its end. */
static void cut_descriptors(void **state) {
    (void)state;
    bytes set = bytes_of(proto_descriptors, (size_t)(proto_descriptors_end - proto_descriptors));
    descriptor_index *index;
    failure why = {0};
    must(descriptor_index_make(&index, set, &why), &why);
    assert_true(descriptor_index_files(index) > 10);
    uint16_t closure[DESCRIPTOR_FILES_MAX];
    for (size_t i = 0; i < descriptor_index_files(index); i++)
        assert_int_not_equal(descriptor_index_closure(index, (int)i, closure), 0);
    descriptor_index_free(index);
    for (size_t size = 0; size < set.size; size += 97) {
        uint8_t *cut = malloc(size + 1);
        memcpy(cut, set.data, size);
        if (descriptor_index_make(&index, bytes_of(cut, size), &why) == STATUS_OK)
            descriptor_index_free(index);
        free(cut);
    }
}

/* ---- metrics ---- */

static void expect_sample(const char *text, const char *sample) {
    if (strstr(text, sample) == NULL)
        print_error("missing: %s\n", sample);
    assert_non_null(strstr(text, sample));
}

static void metrics_count_calls(void **state) {
    fixture *self = *state;
    failure why = {0};
    for (int i = 0; i < 3; i++)
        must(recall(self->world.channel, "", WAIT_MS, NULL, &why), &why);
    recall_request request = RECALL_REQUEST_INIT;
    request.limit = 1;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    ProtobufCMessage *response;
    assert_int_equal(rpc_call_wait(self->world.channel, RECALL, &request.base, &response_type, WAIT_MS,
                                   &memory, &response, &why),
                     STATUS_NOT_FOUND);
    assert_int_equal(recall(self->anybody, "", WAIT_MS, NULL, &why), STATUS_UNAUTHENTICATED);
    assert_int_equal(rpc_call_wait(self->anybody, "/a.B/C", &request.base, &response_type, WAIT_MS, &memory,
                                   &response, &why),
                     STATUS_UNIMPLEMENTED);
    arena_free(&memory);
    rpc_server_stop(self->world.server); /* so that every call has been counted to its end */
    buffer text;
    buffer_init(&text, 1U << 20);
    rpc_server_write_metrics(self->world.server, &text);
    assert_true(buffer_ok(&text));
#define ROW "method=\"interlock.memory.v1.MemoryService/Recall\""
    expect_sample(text.data, "interlock_rpc_started_total{" ROW "} 5\n");
    expect_sample(text.data, "interlock_rpc_handled_total{" ROW ",code=\"OK\"} 3\n");
    expect_sample(text.data, "interlock_rpc_handled_total{" ROW ",code=\"NOT_FOUND\"} 1\n");
    expect_sample(text.data, "interlock_rpc_handled_total{" ROW ",code=\"UNAUTHENTICATED\"} 1\n");
    expect_sample(text.data, "interlock_rpc_in_flight{" ROW "} 0\n");
    expect_sample(text.data, "interlock_rpc_seconds_count{" ROW "} 5\n");
    expect_sample(text.data, "interlock_rpc_shed_total{" ROW "} 0\n");
    expect_sample(text.data, "interlock_rpc_handled_total{method=\"unknown\",code=\"UNIMPLEMENTED\"} 1\n");
    buffer_free(&text);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SERVER(check_follows_serving), WITH_SERVER(watch_tells_transitions),
        WITH_SERVER(reflection_v1),         WITH_SERVER(reflection_v1alpha),
        cmocka_unit_test(cut_descriptors),  WITH_SERVER(metrics_count_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
