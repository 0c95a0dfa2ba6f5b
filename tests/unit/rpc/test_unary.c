/* Unary calls against a real server: results, failures with their details, roles, hostile messages,
 * deadlines, cancellation, deferred answers, load shed, shutdown. */
#include "rpc_test.h"

#include <stdatomic.h>

#include "base/chance.h"
#include "base/limits.h"
#include "opentelemetry/proto/common/v1/common.pb-c.h"
#include "wire/scan.h"

#define SWELLING "/interlock.memory.v1.MemoryService/Swelling"
#define DEEP "/interlock.memory.v1.MemoryService/Deep"
#define OPERATOR_ONLY "/interlock.memory.v1.MemoryService/RecordOutcome"

/* What the handler of `verb` does is its name; deferred calls are kept here. */
typedef struct service {
    pthread_mutex_t mutex;
    rpc_call *kept[4096];
    size_t count;
    counter arrived;
    char traceparent[64];
    rpc_peer peer;
    uint64_t deadline_ns;
} service;

static status_code keep(service *self, rpc_call *call) {
    pthread_mutex_lock(&self->mutex);
    assert_true(self->count < 4096);
    self->kept[self->count++] = call;
    pthread_mutex_unlock(&self->mutex);
    counter_add(&self->arrived, 1);
    return STATUS_PENDING;
}

static rpc_call *take(service *self) {
    pthread_mutex_lock(&self->mutex);
    rpc_call *call = self->count > 0 ? self->kept[--self->count] : NULL;
    pthread_mutex_unlock(&self->mutex);
    return call;
}

static status_code handle(void *context, rpc_call *call, const ProtobufCMessage *message,
                          ProtobufCMessage *reply, failure *why) {
    service *self = context;
    const recall_request *request = (const recall_request *)message;
    recall_response *response = (recall_response *)reply;
    const char *verb = request->verb;
    if (strcmp(verb, "note") == 0) {
        snprintf(self->traceparent, sizeof self->traceparent, "%s", rpc_call_traceparent(call));
        self->peer = *rpc_call_peer(call);
        self->deadline_ns = rpc_call_deadline_boot_ns(call);
    }
    if (strcmp(verb, "fail") == 0) {
        status_code code =
            fail(why, STATUS_FAILED_PRECONDITION, "TEST_REASON", "it does not fit; make it fit");
        why->retry_after_ms = 1250;
        return code;
    }
    if (strcmp(verb, "field") == 0)
        return fail_field(why, "node", "NODE_BAD", "the node \xff is bad");
    if (strcmp(verb, "large") == 0) {
        uint8_t *note = arena_zero(rpc_call_arena(call), 1, 3U << 20);
        response->memories = arena_alloc(rpc_call_arena(call), sizeof *response->memories);
        response->memories[0] = arena_alloc(rpc_call_arena(call), sizeof **response->memories);
        interlock__memory__v1__memory__init(response->memories[0]);
        memset(note, 'x', (3U << 20) - 1);
        response->memories[0]->note = (char *)note;
        response->n_memories = 1;
    }
    if (strcmp(verb, "inline") == 0) {
        response->matching = 7;
        rpc_call_complete(call, STATUS_OK, NULL);
        return STATUS_PENDING;
    }
    if (strcmp(verb, "keep") == 0)
        return keep(self, call);
    if (strcmp(verb, "notfound") == 0)
        return fail(why, STATUS_NOT_FOUND, "NOT_THERE", "not there");
    response->matching = 42 + request->limit;
    return STATUS_OK;
}

static status_code handle_operator(void *context, rpc_call *call, const ProtobufCMessage *message,
                                   ProtobufCMessage *reply, failure *why) {
    (void)context, (void)call, (void)message, (void)reply, (void)why;
    return STATUS_OK;
}

static const rpc_method methods[] = {
    RPC_UNARY(RECALL, request_type, response_type, ALL_ROLES, handle),
    RPC_UNARY(OPERATOR_ONLY, interlock__memory__v1__record_outcome_request__descriptor,
              interlock__memory__v1__record_outcome_response__descriptor, ROLE_OPERATOR | ROLE_EXECUTOR,
              handle_operator),
    RPC_UNARY(SWELLING, response_type, response_type, ALL_ROLES, handle_operator),
    RPC_UNARY(DEEP, opentelemetry__proto__common__v1__any_value__descriptor, response_type, ALL_ROLES,
              handle_operator),
};
#define METHODS methods, sizeof methods / sizeof *methods

static service *service_new(void) {
    service *self = calloc(1, sizeof *self);
    assert_non_null(self);
    pthread_mutex_init(&self->mutex, NULL);
    self->arrived = (counter)COUNTER_INIT;
    return self;
}

typedef struct fixture {
    world world;
    service *service;
} fixture;

static int set_up(void **state) {
    fixture *self = calloc(1, sizeof *self);
    self->service = service_new();
    world_open(&self->world, &(rpc_server_options){.drain_ms = 300}, METHODS, self->service);
    *state = self;
    return 0;
}

static int tear_down(void **state) {
    fixture *self = *state;
    world_close(&self->world);
    free(self->service);
    free(self);
    return 0;
}

static void answers(void **state) {
    fixture *self = *state;
    failure why = {0};
    uint64_t matching = 0;
    must(recall(self->world.channel, "", WAIT_MS, &matching, &why), &why);
    assert_int_equal(matching, 42);
    must(recall(self->world.channel, "inline", WAIT_MS, &matching, &why), &why);
    assert_int_equal(matching, 7);
    must(recall(self->world.channel, "large", WAIT_MS, &matching, &why), &why);
}

static void failures_carry_their_details(void **state) {
    fixture *self = *state;
    failure why = {0};
    assert_int_equal(recall(self->world.channel, "fail", WAIT_MS, NULL, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "TEST_REASON");
    assert_string_equal(why.message, "it does not fit; make it fit");
    assert_int_equal(why.retry_after_ms, 1250);
    assert_string_equal(why.field, "");
    assert_int_equal(recall(self->world.channel, "field", WAIT_MS, NULL, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "NODE_BAD");
    assert_string_equal(why.field, "node");
    assert_int_equal(why.retry_after_ms, 0);
}

static void the_peer_is_known(void **state) {
    fixture *self = *state;
    failure why = {0};
    must(recall(self->world.channel, "note", WAIT_MS, NULL, &why), &why);
    char expected[64];
    snprintf(expected, sizeof expected, "unix:uid=%lld", (long long)geteuid());
    assert_int_equal(self->service->peer.role, ROLE_AGENT);
    assert_int_equal(self->service->peer.uid, geteuid());
    assert_string_equal(self->service->peer.principal, expected);
    assert_string_equal(self->service->peer.spiffe_id, "");
    uint64_t now_ns = chance_boot_ns(chance_system());
    assert_true(self->service->deadline_ns > now_ns);
    /* On the wire a deadline is a rounded number of seconds or milliseconds. */
    assert_true(self->service->deadline_ns < now_ns + (uint64_t)WAIT_MS * 1100000U);
}

/* Every role against a method for all, one for two, and one for anybody. */
static void every_role(void **state) {
    fixture *self = *state;
    static const rpc_role roles[] = {ROLE_NONE,     ROLE_AGENT,   ROLE_EXECUTOR,  ROLE_APPROVER,
                                     ROLE_OPERATOR, ROLE_AUDITOR, ROLE_TELEMETRY, ROLE_SERVICE};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        rpc_channel *channel = open_channel(self->world.target, roles[i]);
        failure why = {0};
        bool none = roles[i] == ROLE_NONE;
        assert_int_equal(recall(channel, "", WAIT_MS, NULL, &why), none ? STATUS_UNAUTHENTICATED : STATUS_OK);
        Interlock__Memory__V1__RecordOutcomeRequest request =
            INTERLOCK__MEMORY__V1__RECORD_OUTCOME_REQUEST__INIT;
        arena memory;
        arena_init(&memory, 1024, 1U << 20);
        ProtobufCMessage *response;
        status_code code = rpc_call_wait(channel, OPERATOR_ONLY, &request.base,
                                         &interlock__memory__v1__record_outcome_response__descriptor, WAIT_MS,
                                         &memory, &response, &why);
        arena_free(&memory);
        if (none) {
            assert_int_equal(code, STATUS_UNAUTHENTICATED);
            assert_string_equal(why.reason, "ROLE_MISSING");
        } else if (roles[i] == ROLE_OPERATOR || roles[i] == ROLE_EXECUTOR) {
            assert_int_equal(code, STATUS_OK);
        } else {
            assert_int_equal(code, STATUS_PERMISSION_DENIED);
            assert_string_equal(why.reason, "ROLE_NOT_ALLOWED");
        }
        rpc_channel_close(channel);
    }
}

static void a_role_that_the_uid_may_not_take(void **state) {
    (void)state;
    service *own = service_new();
    world limited;
    world_open(&limited, &(rpc_server_options){.own_uid_roles = ROLE_AUDITOR}, METHODS, own);
    failure why = {0};
    assert_int_equal(recall(limited.channel, "", WAIT_MS, NULL, &why), STATUS_PERMISSION_DENIED);
    assert_string_equal(why.reason, "ROLE_NOT_GRANTED");
    rpc_channel *auditor = open_channel(limited.target, ROLE_AUDITOR);
    assert_int_equal(recall(auditor, "", WAIT_MS, NULL, &why), STATUS_OK);
    rpc_channel_close(auditor);
    world_close(&limited);
    free(own);
}

static void an_unknown_method(void **state) {
    fixture *self = *state;
    recall_request request = RECALL_REQUEST_INIT;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    ProtobufCMessage *response;
    for (int i = 0; i < 40; i++) {
        failure why = {0};
        assert_int_equal(rpc_call_wait(self->world.channel, "/no.such.Service/Method", &request.base,
                                       &response_type, WAIT_MS, &memory, &response, &why),
                         STATUS_UNIMPLEMENTED);
        assert_string_equal(why.reason, "METHOD_UNKNOWN");
    }
    arena_free(&memory);
}

/* Bytes that are no RecallRequest, sent as an unknown field's worth of raw content. */
static status_code send_raw_to(fixture *self, const char *path, const void *data, size_t size, failure *why) {
    /* A message type without fields carries any bytes as its unknown fields: the wire content is `data`. */
    static const ProtobufCMessageDescriptor raw_type = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                        .name = "raw",
                                                        .short_name = "raw",
                                                        .c_name = "raw",
                                                        .package_name = "",
                                                        .sizeof_message = sizeof(ProtobufCMessage)};
    /* protobuf-c writes tag, then data: the first byte of the content is the tag. */
    assert_true(size > 1);
    ProtobufCMessageUnknownField field = {.tag = ((const uint8_t *)data)[0] >> 3,
                                          .wire_type = (ProtobufCWireType)(((const uint8_t *)data)[0] & 7),
                                          .len = size - 1,
                                          .data = (uint8_t *)(uintptr_t)data + 1};
    ProtobufCMessage message = {.descriptor = &raw_type, .n_unknown_fields = 1, .unknown_fields = &field};
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    ProtobufCMessage *response;
    status_code code =
        rpc_call_wait(self->world.channel, path, &message, &response_type, WAIT_MS, &memory, &response, why);
    arena_free(&memory);
    return code;
}

/* The scanner's own reason and message reach the client. */
static void malformed_messages(void **state) {
    fixture *self = *state;
    static const struct {
        const char *content;
        size_t size;
    } cases[] = {
        {"\x0a\x7f"
         "a",
         3},                     /* a length beyond the end */
        {"\x0a\x02\xff\xfe", 4}, /* no UTF-8 */
        {"\x0a\x03"
         "a\0b",
         5},                                                      /* an embedded NUL */
        {"\x0b\x0c", 2},                                          /* a group */
        {"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* an endless varint */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure why = {0}, expected = {0};
        wire_limits limits = wire_limits_for(cases[i].size);
        bytes content = bytes_of(cases[i].content, cases[i].size);
        assert_int_equal(wire_scan(&request_type, content, &limits, &expected), STATUS_INVALID_ARGUMENT);
        assert_int_equal(send_raw_to(self, RECALL, cases[i].content, cases[i].size, &why),
                         STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, expected.reason);
        assert_string_equal(why.message, expected.message);
    }
    failure why = {0};
    must(recall(self->world.channel, "", WAIT_MS, NULL, &why), &why);
}

static void messages_that_are_too_large(void **state) {
    fixture *self = *state;
    size_t size = 5U << 20;
    char *verb = malloc(size + 1);
    memset(verb, 'v', size);
    verb[size] = '\0';
    failure why = {0};
    assert_int_equal(recall(self->world.channel, verb, WAIT_MS, NULL, &why), STATUS_RESOURCE_EXHAUSTED);
    free(verb);
    must(recall(self->world.channel, "", WAIT_MS, NULL, &why), &why);
}

/* Memory for 4 MB of empty submessages would be many times their size. */
static void messages_that_would_swell(void **state) {
    fixture *self = *state;
    size_t count = (4U << 20) / 2 - 64;
    Interlock__Memory__V1__RecallResponse large = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    Interlock__Memory__V1__Memory empty = INTERLOCK__MEMORY__V1__MEMORY__INIT;
    large.n_memories = count;
    large.memories = calloc(count, sizeof *large.memories);
    for (size_t i = 0; i < count; i++)
        large.memories[i] = &empty;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    ProtobufCMessage *response;
    failure why = {0};
    assert_int_equal(rpc_call_wait(self->world.channel, SWELLING, &large.base, &response_type, WAIT_MS,
                                   &memory, &response, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "MESSAGE_TOO_LARGE");
    arena_free(&memory);
    free(large.memories);
}

/* An attribute value in an array in an array …: 10,000 deep. */
static void messages_that_are_too_deep(void **state) {
    fixture *self = *state;
    enum { DEPTH = 10000 };
    failure why = {0};
    buffer wire, outer;
    buffer_init(&wire, 1U << 20);
    buffer_init(&outer, 1U << 20);
    for (size_t i = 0; i < DEPTH; i++) {
        for (int level = 0; level < 2; level++) {
            uint8_t head[8];
            size_t size = 0, length = wire.size;
            head[size++] = level == 0 ? 0x0a : 0x2a; /* ArrayValue.values, AnyValue.array_value */
            for (; length >= 0x80; length >>= 7)
                head[size++] = (uint8_t)(length | 0x80);
            head[size++] = (uint8_t)length;
            buffer_clear(&outer);
            buffer_append(&outer, head, size);
            buffer_append(&outer, wire.data, wire.size);
            buffer swapped = wire;
            wire = outer;
            outer = swapped;
        }
    }
    assert_int_equal(send_raw_to(self, DEEP, wire.data, wire.size, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "MESSAGE_TOO_DEEP");
    buffer_free(&wire);
    buffer_free(&outer);
}

static void a_row_may_be_stricter(void **state) {
    (void)state;
    rpc_method strict[] = {methods[0]};
    strict[0].request_limit = 100;
    service *own = service_new();
    world small;
    world_open(&small, &(rpc_server_options){0}, strict, 1, own);
    failure why = {0};
    char verb[200];
    memset(verb, 'v', sizeof verb - 1);
    verb[sizeof verb - 1] = '\0';
    assert_int_equal(recall(small.channel, verb, WAIT_MS, NULL, &why), STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "MESSAGE_TOO_LARGE");
    assert_int_equal(recall(small.channel, "short", WAIT_MS, NULL, &why), STATUS_OK);
    world_close(&small);
    free(own);
}

static void a_deadline_reaches_a_pending_call(void **state) {
    fixture *self = *state;
    failure why = {0};
    assert_int_equal(recall(self->world.channel, "keep", 100, NULL, &why), STATUS_DEADLINE_EXCEEDED);
    counter_wait(&self->service->arrived, 1);
    rpc_call *call = take(self->service);
    while (!rpc_call_cancelled(call))
        usleep(1000);
    /* The request stays valid until the end, and completing a call that nobody waits for is no error. */
    assert_string_equal(((const recall_request *)rpc_call_request(call))->verb, "keep");
    rpc_call_complete(call, STATUS_OK, NULL);
    must(recall(self->world.channel, "", WAIT_MS, NULL, &why), &why);
}

/* ---- asynchronous calls ---- */

typedef struct outcome {
    counter done;
    atomic_uint ok, cancelled, exhausted, other;
    failure last;
} outcome;

static void count_outcome(void *context, status_code code, const ProtobufCMessage *response,
                          const failure *why) {
    outcome *self = context;
    assert_true((code == STATUS_OK) == (response != NULL));
    if (code == STATUS_OK)
        atomic_fetch_add(&self->ok, 1);
    else if (code == STATUS_CANCELLED)
        atomic_fetch_add(&self->cancelled, 1);
    else if (code == STATUS_RESOURCE_EXHAUSTED)
        atomic_fetch_add(&self->exhausted, 1);
    else
        atomic_fetch_add(&self->other, 1);
    if (code != STATUS_OK) {
        pthread_mutex_lock(&self->done.mutex);
        self->last = *why;
        pthread_mutex_unlock(&self->done.mutex);
    }
    counter_add(&self->done, 1);
}

static void start(rpc_loop *loop, rpc_channel *channel, const char *verb, const char *traceparent,
                  outcome *result) {
    recall_request request = RECALL_REQUEST_INIT;
    request.verb = (char *)(uintptr_t)verb;
    failure why = {0};
    must(rpc_unary_start(loop, channel, RECALL, &request.base, &response_type, WAIT_MS, traceparent,
                         count_outcome, result, &why),
         &why);
}

static void traceparent_is_passed_on(void **state) {
    fixture *self = *state;
    static const struct {
        const char *sent, *seen;
    } cases[] = {
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
         "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
        {"garbage", ""},
        {NULL, ""},
    };
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outcome result = {.done = COUNTER_INIT};
        start(loop, self->world.channel, "note", cases[i].sent, &result);
        counter_wait(&result.done, 1);
        assert_int_equal(result.ok, 1);
        assert_string_equal(self->service->traceparent, cases[i].seen);
    }
    rpc_loop_stop(loop);
}

#define MANY 2000U

static void *complete_many(void *context) {
    service *self = context;
    for (unsigned done = 0; done < MANY / 4;) {
        rpc_call *call = take(self);
        if (call == NULL) {
            usleep(100);
            continue;
        }
        ((recall_response *)rpc_call_response(call))->matching = 1;
        failure why;
        if (done % 5 == 4)
            rpc_call_complete(call, fail(&why, STATUS_RESOURCE_EXHAUSTED, "LATE", "too late"), &why);
        else
            rpc_call_complete(call, STATUS_OK, NULL);
        done++;
    }
    return NULL;
}

static void deferred_calls_complete_from_other_threads(void **state) {
    (void)state;
    service *own = service_new();
    world wide;
    world_open(&wide, &(rpc_server_options){.calls_limit = 4000}, METHODS, own);
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, complete_many, own), 0);
    outcome result = {.done = COUNTER_INIT};
    for (unsigned i = 0; i < MANY; i++)
        start(loop, wide.channel, "keep", NULL, &result);
    counter_wait(&result.done, MANY);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(result.ok, MANY / 5 * 4);
    assert_int_equal(result.exhausted, MANY / 5);
    assert_string_equal(result.last.reason, "LATE");
    rpc_loop_stop(loop);
    world_close(&wide);
    free(own);
}

static void load_is_shed(void **state) {
    (void)state;
    service *own = service_new();
    world narrow;
    world_open(&narrow, &(rpc_server_options){.calls_limit = 5, .loops = 1, .drain_ms = 300}, METHODS, own);
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    outcome kept = {.done = COUNTER_INIT}, refused = {.done = COUNTER_INIT};
    for (unsigned i = 0; i < 5; i++)
        start(loop, narrow.channel, "keep", NULL, &kept);
    counter_wait(&own->arrived, 5);
    for (unsigned i = 0; i < 20; i++)
        start(loop, narrow.channel, "", NULL, &refused);
    counter_wait(&refused.done, 20);
    assert_int_equal(refused.exhausted, 20);
    assert_string_equal(refused.last.reason, "OVERLOADED");
    assert_int_not_equal(refused.last.retry_after_ms, 0);
    for (unsigned i = 0; i < 5; i++)
        rpc_call_complete(take(own), STATUS_OK, NULL);
    counter_wait(&kept.done, 5);
    assert_int_equal(kept.ok, 5);
    must(recall(narrow.channel, "", WAIT_MS, NULL, &why), &why);
    buffer text;
    buffer_init(&text, 1U << 20);
    rpc_server_write_metrics(narrow.server, &text);
    assert_non_null(strstr(
        text.data, "interlock_rpc_shed_total{method=\"interlock.memory.v1.MemoryService/Recall\"} 20"));
    buffer_free(&text);
    rpc_loop_stop(loop);
    world_close(&narrow);
    free(own);
}

static void closing_a_channel_cancels(void **state) {
    fixture *self = *state;
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    rpc_channel *channel = open_channel(self->world.target, ROLE_AGENT);
    outcome result = {.done = COUNTER_INIT};
    start(loop, channel, "keep", NULL, &result);
    counter_wait(&self->service->arrived, 1);
    rpc_channel_close(channel);
    counter_wait(&result.done, 1);
    assert_int_equal(result.cancelled, 1);
    rpc_call *call = take(self->service);
    while (!rpc_call_cancelled(call))
        usleep(1000);
    rpc_call_complete(call, STATUS_OK, NULL);
    rpc_loop_stop(loop);
}

static void stopping_a_loop_cancels(void **state) {
    fixture *self = *state;
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    outcome result = {.done = COUNTER_INIT};
    for (unsigned i = 0; i < 10; i++)
        start(loop, self->world.channel, "keep", NULL, &result);
    counter_wait(&self->service->arrived, 10);
    rpc_loop_stop(loop);
    assert_int_equal(counter_value(&result.done), 10);
    assert_int_equal(result.cancelled, 10);
    for (unsigned i = 0; i < 10; i++)
        rpc_call_complete(take(self->service), STATUS_OK, NULL);
}

static void *complete_later(void *context) {
    usleep(50000);
    for (unsigned i = 0; i < 10; i++)
        rpc_call_complete(take(context), STATUS_OK, NULL);
    return NULL;
}

static void calls_in_flight_survive_a_shutdown(void **state) {
    fixture *self = *state;
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    outcome result = {.done = COUNTER_INIT};
    for (unsigned i = 0; i < 10; i++)
        start(loop, self->world.channel, "keep", NULL, &result);
    counter_wait(&self->service->arrived, 10);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, complete_later, self->service), 0);
    rpc_server_stop(self->world.server);
    pthread_join(thread, NULL);
    counter_wait(&result.done, 10);
    assert_int_equal(result.ok, 10);
    assert_int_not_equal(recall(self->world.channel, "", 500, NULL, &why), STATUS_OK);
    rpc_loop_stop(loop);
}

static void *complete_much_later(void *context) {
    usleep(600000);
    rpc_call_complete(take(context), STATUS_OK, NULL);
    return NULL;
}

static void what_outlives_the_grace_is_cancelled(void **state) {
    fixture *self = *state;
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    outcome result = {.done = COUNTER_INIT};
    start(loop, self->world.channel, "keep", NULL, &result);
    counter_wait(&self->service->arrived, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, complete_much_later, self->service), 0);
    rpc_server_stop(self->world.server); /* grace: 300 ms */
    counter_wait(&result.done, 1);
    assert_int_equal(result.ok, 0);
    pthread_join(thread, NULL);
    rpc_loop_stop(loop);
}

static void rows_without_what_they_need_do_not_start(void **state) {
    (void)state;
    rpc_method bad[] = {methods[0]};
    bad[0].roles = 0;
    rpc_server *server = NULL;
    failure why = {0};
    assert_int_equal(rpc_server_start(&server, &(rpc_server_options){0}, bad, 1, NULL, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "METHOD_ROW_INCOMPLETE");
    bad[0] = methods[0];
    rpc_method twice[] = {methods[0], methods[0]};
    assert_int_equal(rpc_server_start(&server, &(rpc_server_options){0}, twice, 2, NULL, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "METHOD_TWICE");
    assert_null(server);
}

static void a_second_server_on_the_same_socket(void **state) {
    fixture *self = *state;
    rpc_server *server = NULL;
    failure why = {0};
    assert_int_equal(rpc_server_start(&server, &(rpc_server_options){.unix_path = self->world.path}, METHODS,
                                      self->service, &why),
                     STATUS_ALREADY_EXISTS);
    assert_string_equal(why.reason, "ADDRESS_IN_USE");
    must(recall(self->world.channel, "", WAIT_MS, NULL, &why), &why);
}

static void nobody_listens(void **state) {
    (void)state;
    rpc_channel *channel = open_channel("unix:/tmp/interlock-no-such-socket", ROLE_AGENT);
    failure why = {0};
    assert_int_equal(recall(channel, "", WAIT_MS, NULL, &why), STATUS_UNAVAILABLE);
    rpc_channel_close(channel);
}

/* The server goes and another comes: the same channel finds it, without being told. */
static void a_channel_reconnects(void **state) {
    fixture *self = *state;
    failure why = {0};
    must(recall(self->world.channel, "", WAIT_MS, NULL, &why), &why);
    rpc_server_free(self->world.server);
    assert_int_equal(recall(self->world.channel, "", WAIT_MS, NULL, &why), STATUS_UNAVAILABLE);
    rpc_server_options options = {.unix_path = self->world.path, .own_uid_roles = ALL_ROLES, .drain_ms = 300};
    must(rpc_server_start(&self->world.server, &options, METHODS, self->service, &why), &why);
    status_code code = STATUS_UNAVAILABLE;
    for (int i = 0; i < 1000 && code == STATUS_UNAVAILABLE; i++) {
        usleep(10000);
        code = recall(self->world.channel, "", WAIT_MS, NULL, &why);
    }
    assert_int_equal(code, STATUS_OK);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SERVER(answers),
        WITH_SERVER(failures_carry_their_details),
        WITH_SERVER(the_peer_is_known),
        WITH_SERVER(every_role),
        cmocka_unit_test(a_role_that_the_uid_may_not_take),
        WITH_SERVER(an_unknown_method),
        WITH_SERVER(malformed_messages),
        WITH_SERVER(messages_that_are_too_large),
        WITH_SERVER(messages_that_would_swell),
        WITH_SERVER(messages_that_are_too_deep),
        cmocka_unit_test(a_row_may_be_stricter),
        WITH_SERVER(a_deadline_reaches_a_pending_call),
        WITH_SERVER(traceparent_is_passed_on),
        cmocka_unit_test(deferred_calls_complete_from_other_threads),
        cmocka_unit_test(load_is_shed),
        WITH_SERVER(closing_a_channel_cancels),
        WITH_SERVER(stopping_a_loop_cancels),
        WITH_SERVER(calls_in_flight_survive_a_shutdown),
        WITH_SERVER(what_outlives_the_grace_is_cancelled),
        cmocka_unit_test(rows_without_what_they_need_do_not_start),
        WITH_SERVER(a_second_server_on_the_same_socket),
        cmocka_unit_test(nobody_listens),
        WITH_SERVER(a_channel_reconnects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
