/* Streams against a real server: server streams, bidirectional ones with backpressure and bounds, half-close,
 * cancellation from either side, shutdown. */
#include "rpc_test.h"

#include <stdatomic.h>

#include "wire/scan.h"

#define SERVER_STREAM "/interlock.memory.v1.MemoryService/Listen"
#define BIDI "/interlock.memory.v1.MemoryService/Talk"

typedef struct service {
    counter opened, closed, messages, half_closed, overflowed;
    pthread_mutex_t mutex;
    rpc_stream *kept; /* with a reference */
    atomic_bool hold; /* answer STATUS_PENDING */
} service;

static void send_number(rpc_stream *stream, uint64_t number) {
    recall_response response = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    response.matching = number;
    assert_int_equal(rpc_stream_send(stream, &response.base), STATUS_OK);
}

static void keep(service *self, rpc_stream *stream) {
    rpc_stream_ref(stream);
    pthread_mutex_lock(&self->mutex);
    self->kept = stream;
    pthread_mutex_unlock(&self->mutex);
}

/* node says what to do, limit how many messages. */
static status_code listen_open(void *context, rpc_stream *stream, const ProtobufCMessage *message,
                               failure *why) {
    service *self = context;
    const recall_request *request = (const recall_request *)message;
    if (strcmp(request->node, "refuse") == 0)
        return fail(why, STATUS_NOT_FOUND, "NO_SUCH_NODE", "there is no such node");
    assert_int_equal(rpc_stream_peer(stream)->role, ROLE_AGENT);
    rpc_stream_set_user(stream, self);
    for (uint32_t i = 0; i < request->limit; i++)
        send_number(stream, i);
    if (strcmp(request->node, "keep") == 0)
        keep(self, stream);
    else
        rpc_stream_finish(stream, STATUS_OK, NULL);
    counter_add(&self->opened, 1);
    return STATUS_OK;
}

static void stream_closed(void *context, rpc_stream *stream) {
    assert_ptr_equal(rpc_stream_user(stream), context);
    counter_add(&((service *)context)->closed, 1);
}

static status_code talk_open(void *context, rpc_stream *stream, const ProtobufCMessage *message,
                             failure *why) {
    (void)why;
    assert_null(message);
    rpc_stream_set_user(stream, context);
    counter_add(&((service *)context)->opened, 1);
    return STATUS_OK;
}

static status_code talk_message(void *context, rpc_stream *stream, const ProtobufCMessage *message,
                                arena *memory, failure *why) {
    service *self = context;
    const recall_request *request = (const recall_request *)message;
    assert_non_null(arena_alloc(memory, 16));
    if (strcmp(request->verb, "fail") == 0)
        return fail(why, STATUS_ABORTED, "TALK_OVER", "enough");
    if (strcmp(request->verb, "keep") == 0)
        keep(self, stream);
    if (strcmp(request->verb, "flood") == 0) {
        recall_response response = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
        unsigned sent = 0;
        while (rpc_stream_send(stream, &response.base) == STATUS_OK)
            sent++;
        assert_true(sent >= 1024 && sent <= 1025); /* one may be on its way already */
        counter_add(&self->overflowed, 1);
    } else {
        send_number(stream, request->limit);
    }
    counter_add(&self->messages, 1);
    return atomic_load(&self->hold) ? STATUS_PENDING : STATUS_OK;
}

static void talk_half_closed(void *context, rpc_stream *stream) {
    counter_add(&((service *)context)->half_closed, 1);
    recall_response response = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    response.matching = 999;
    /* A client that left looks the same here, and its outbox may be full. */
    if (rpc_stream_send(stream, &response.base) == STATUS_OK)
        rpc_stream_finish(stream, STATUS_OK, NULL);
}

static const rpc_stream_handlers listen_handlers = {.open = listen_open, .closed = stream_closed};
static const rpc_stream_handlers talk_handlers = {
    .open = talk_open, .message = talk_message, .half_closed = talk_half_closed, .closed = stream_closed};

static const rpc_method methods[] = {
    RPC_SERVER_STREAM(SERVER_STREAM, request_type, response_type, ROLE_AGENT, &listen_handlers),
    RPC_BIDI(BIDI, request_type, response_type, ROLE_AGENT, &talk_handlers),
};

/* ---- the client's side ---- */

typedef struct listener_state {
    counter messages, closed;
    atomic_uint_fast64_t last, sum;
    status_code code;
    failure why;
} listener_state;

static void on_message(void *context, const ProtobufCMessage *message) {
    listener_state *self = context;
    uint64_t number = ((const recall_response *)message)->matching;
    atomic_store(&self->last, number);
    atomic_fetch_add(&self->sum, number);
    counter_add(&self->messages, 1);
}

static void on_closed(void *context, status_code code, const failure *why) {
    listener_state *self = context;
    self->code = code;
    self->why = *why;
    counter_add(&self->closed, 1);
}

static const rpc_client_stream_handlers client_handlers = {.message = on_message, .closed = on_closed};

typedef struct fixture {
    world world;
    service service;
    rpc_loop *loop;
    listener_state listener;
} fixture;

/* The client's, of either kind. */
static status_code (*start_loop)(rpc_loop **out, failure *why) = rpc_loop_start;

static int set_up(void **state) {
    fixture *self = calloc(1, sizeof *self);
    pthread_mutex_init(&self->service.mutex, NULL);
    counter *counters[] = {&self->service.opened,      &self->service.closed,     &self->service.messages,
                           &self->service.half_closed, &self->service.overflowed, &self->listener.messages,
                           &self->listener.closed};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        *counters[i] = (counter)COUNTER_INIT;
    world_open(&self->world, &(rpc_server_options){.drain_ms = 300}, methods, 2, &self->service);
    failure why = {0};
    must(start_loop(&self->loop, &why), &why);
    *state = self;
    return 0;
}

static int tear_down(void **state) {
    fixture *self = *state;
    rpc_loop_stop(self->loop);
    if (self->service.kept != NULL)
        rpc_stream_unref(self->service.kept);
    world_close(&self->world);
    free(self);
    return 0;
}

static rpc_client_stream *open_stream(fixture *self, const char *path) {
    rpc_client_stream *stream;
    failure why = {0};
    must(rpc_client_stream_open(self->loop, self->world.channel, path, &response_type, &client_handlers,
                                &self->listener, &stream, &why),
         &why);
    return stream;
}

static status_code say(rpc_client_stream *stream, const char *verb, uint32_t number) {
    recall_request request = RECALL_REQUEST_INIT;
    request.verb = (char *)(uintptr_t)verb;
    request.limit = number;
    return rpc_client_stream_send(stream, &request.base);
}

typedef struct sum {
    uint64_t count, total, stop_after;
} sum;

static bool add_up(void *context, const ProtobufCMessage *message) {
    sum *self = context;
    self->count++;
    self->total += ((const recall_response *)message)->matching;
    return self->stop_after == 0 || self->count < self->stop_after;
}

static void a_server_stream(void **state) {
    fixture *self = *state;
    recall_request request = RECALL_REQUEST_INIT;
    request.limit = 500;
    failure why = {0};
    sum total = {0};
    must(rpc_stream_wait(self->world.channel, SERVER_STREAM, &request.base, &response_type, WAIT_MS, add_up,
                         &total, &why),
         &why);
    assert_int_equal(total.count, 500);
    assert_int_equal(total.total, 499 * 500 / 2);
    counter_wait(&self->service.closed, 1);
    total = (sum){.stop_after = 3};
    must(rpc_stream_wait(self->world.channel, SERVER_STREAM, &request.base, &response_type, WAIT_MS, add_up,
                         &total, &why),
         &why);
    assert_int_equal(total.count, 3);
    counter_wait(&self->service.closed, 2);
}

static void a_server_stream_that_fails(void **state) {
    fixture *self = *state;
    recall_request request = RECALL_REQUEST_INIT;
    request.node = (char *)(uintptr_t) "refuse";
    failure why = {0};
    sum total = {0};
    assert_int_equal(rpc_stream_wait(self->world.channel, SERVER_STREAM, &request.base, &response_type,
                                     WAIT_MS, add_up, &total, &why),
                     STATUS_NOT_FOUND);
    assert_string_equal(why.reason, "NO_SUCH_NODE");
    rpc_channel *operator= open_channel(self->world.target, ROLE_OPERATOR);
    assert_int_equal(rpc_stream_wait(operator, SERVER_STREAM, &request.base, &response_type, WAIT_MS, add_up,
                                     &total, &why),
                     STATUS_PERMISSION_DENIED);
    rpc_channel_close(operator);
    assert_int_equal(total.count, 0);
    request.node = (char *)(uintptr_t) "keep";
    assert_int_equal(rpc_stream_wait(self->world.channel, SERVER_STREAM, &request.base, &response_type, 100,
                                     add_up, &total, &why),
                     STATUS_DEADLINE_EXCEEDED);
    counter_wait(&self->service.closed, 1);
}

static void a_conversation(void **state) {
    fixture *self = *state;
    rpc_client_stream *stream = open_stream(self, BIDI);
    for (uint32_t i = 1; i <= 1000; i++)
        while (say(stream, "", i) == STATUS_RESOURCE_EXHAUSTED)
            usleep(100);
    rpc_client_stream_half_close(stream);
    assert_int_equal(say(stream, "", 1), STATUS_CANCELLED);
    counter_wait(&self->listener.closed, 1);
    assert_int_equal(self->listener.code, STATUS_OK);
    assert_int_equal(counter_value(&self->listener.messages), 1001);
    assert_int_equal(self->listener.sum, 1000 * 1001 / 2 + 999);
    assert_int_equal(self->listener.last, 999);
    counter_wait(&self->service.closed, 1);
    assert_int_equal(counter_value(&self->service.half_closed), 1);
}

static void a_message_can_end_the_conversation(void **state) {
    fixture *self = *state;
    rpc_client_stream *stream = open_stream(self, BIDI);
    assert_int_equal(say(stream, "", 5), STATUS_OK);
    assert_int_equal(say(stream, "fail", 0), STATUS_OK);
    counter_wait(&self->listener.closed, 1);
    assert_int_equal(self->listener.code, STATUS_ABORTED);
    assert_string_equal(self->listener.why.reason, "TALK_OVER");
    assert_int_equal(counter_value(&self->listener.messages), 1);
    counter_wait(&self->service.closed, 1);
}

/* While the handler says PENDING nothing more is delivered; resuming delivers exactly one more. */
static void backpressure(void **state) {
    fixture *self = *state;
    atomic_store(&self->service.hold, true);
    rpc_client_stream *stream = open_stream(self, BIDI);
    assert_int_equal(say(stream, "keep", 0), STATUS_OK);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(say(stream, "", i), STATUS_OK);
    for (unsigned taken = 1; taken <= 21; taken++) {
        counter_wait(&self->service.messages, taken);
        counter_wait(&self->listener.messages, taken);
        usleep(2000);
        assert_int_equal(counter_value(&self->service.messages), taken);
        rpc_stream_resume(self->service.kept);
    }
    rpc_client_stream_half_close(stream);
    counter_wait(&self->listener.closed, 1);
    assert_int_equal(self->listener.code, STATUS_OK);
}

static void the_outbox_is_bounded(void **state) {
    fixture *self = *state;
    rpc_client_stream *stream = open_stream(self, BIDI);
    assert_int_equal(say(stream, "flood", 0), STATUS_OK);
    counter_wait(&self->service.overflowed, 1);
    counter_wait(&self->listener.messages, 1024);
    rpc_client_stream_half_close(stream);
    counter_wait(&self->listener.closed, 1);
    /* The client's own: the server reads nothing more after the first message. */
    atomic_store(&self->service.hold, true);
    stream = open_stream(self, BIDI);
    char *large = malloc(1U << 20);
    memset(large, 'x', (1U << 20) - 1);
    large[(1U << 20) - 1] = '\0';
    unsigned sent = 0;
    status_code code = STATUS_OK;
    while (sent < 2000 && (code = say(stream, large, 0)) == STATUS_OK)
        sent++;
    assert_int_equal(code, STATUS_RESOURCE_EXHAUSTED);
    assert_true(rpc_client_stream_queued(stream) > 0 && rpc_client_stream_queued(stream) <= 1024);
    free(large);
    rpc_client_stream_cancel(stream);
    counter_wait(&self->listener.closed, 2);
    assert_int_equal(self->listener.code, STATUS_CANCELLED);
    counter_wait(&self->service.closed, 2);
}

/* Another thread sends on a stream while the client reads and then leaves. */
static void *send_from_elsewhere(void *context) {
    fixture *self = context;
    recall_response response = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    status_code code;
    do {
        code = rpc_stream_send(self->service.kept, &response.base);
        if (code == STATUS_RESOURCE_EXHAUSTED)
            usleep(100);
    } while (code != STATUS_CANCELLED);
    return NULL;
}

static void another_thread_sends_until_the_client_leaves(void **state) {
    fixture *self = *state;
    rpc_client_stream *stream = open_stream(self, BIDI);
    assert_int_equal(say(stream, "keep", 0), STATUS_OK);
    counter_wait(&self->service.messages, 1);
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_from_elsewhere, self), 0);
    counter_wait(&self->listener.messages, 3000);
    rpc_client_stream_cancel(stream);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    counter_wait(&self->listener.closed, 1);
    counter_wait(&self->service.closed, 1);
}

static void the_end_waits_for_what_is_queued(void **state) {
    fixture *self = *state;
    rpc_client_stream *stream = open_stream(self, SERVER_STREAM);
    recall_request request = RECALL_REQUEST_INIT;
    request.node = (char *)(uintptr_t) "keep";
    assert_int_equal(rpc_client_stream_send(stream, &request.base), STATUS_OK);
    rpc_client_stream_half_close(stream);
    counter_wait(&self->service.opened, 1);
    for (uint64_t i = 0; i < 300; i++)
        send_number(self->service.kept, i);
    failure why;
    rpc_stream_finish(self->service.kept, fail(&why, STATUS_OUT_OF_RANGE, "THE_END", "the end"), &why);
    rpc_stream_finish(self->service.kept, STATUS_OK, NULL); /* the first wish counts */
    recall_response late = INTERLOCK__MEMORY__V1__RECALL_RESPONSE__INIT;
    assert_int_equal(rpc_stream_send(self->service.kept, &late.base), STATUS_CANCELLED);
    counter_wait(&self->listener.closed, 1);
    assert_int_equal(counter_value(&self->listener.messages), 300);
    assert_int_equal(self->listener.code, STATUS_OUT_OF_RANGE);
    assert_string_equal(self->listener.why.reason, "THE_END");
}

static void streams_hear_of_a_shutdown(void **state) {
    fixture *self = *state;
    rpc_client_stream *stream = open_stream(self, BIDI);
    assert_int_equal(say(stream, "", 1), STATUS_OK);
    counter_wait(&self->listener.messages, 1);
    rpc_server_stop(self->world.server);
    counter_wait(&self->listener.closed, 1);
    assert_int_equal(self->listener.code, STATUS_UNAVAILABLE);
    assert_string_equal(self->listener.why.reason, "SHUTTING_DOWN");
    assert_int_equal(counter_value(&self->service.closed), 1);
}

static void a_loop_that_stops_closes_its_streams(void **state) {
    fixture *self = *state;
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    rpc_client_stream *stream;
    must(rpc_client_stream_open(loop, self->world.channel, BIDI, &response_type, &client_handlers,
                                &self->listener, &stream, &why),
         &why);
    assert_int_equal(say(stream, "", 1), STATUS_OK);
    counter_wait(&self->listener.messages, 1);
    rpc_loop_stop(loop);
    assert_int_equal(counter_value(&self->listener.closed), 1);
    assert_int_equal(self->listener.code, STATUS_CANCELLED);
}

static void a_stream_without_a_server_fails(void **state) {
    fixture *self = *state;
    rpc_channel *nowhere = open_channel("unix:/tmp/interlock-no-such-socket", ROLE_AGENT);
    rpc_client_stream *stream;
    failure why = {0};
    must(rpc_client_stream_open(self->loop, nowhere, BIDI, &response_type, &client_handlers, &self->listener,
                                &stream, &why),
         &why);
    counter_wait(&self->listener.closed, 1);
    assert_int_equal(self->listener.code, STATUS_UNAVAILABLE);
    rpc_channel_close(nowhere);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_server_stream),
        WITH_SERVER(a_server_stream_that_fails),
        WITH_SERVER(a_conversation),
        WITH_SERVER(a_message_can_end_the_conversation),
        WITH_SERVER(backpressure),
        WITH_SERVER(the_outbox_is_bounded),
        WITH_SERVER(another_thread_sends_until_the_client_leaves),
        WITH_SERVER(the_end_waits_for_what_is_queued),
        WITH_SERVER(streams_hear_of_a_shutdown),
        WITH_SERVER(a_loop_that_stops_closes_its_streams),
        WITH_SERVER(a_stream_without_a_server_fails),
    };
    int failed = cmocka_run_group_tests_name("streams", tests, NULL, NULL);
    start_loop = rpc_loop_start_aside;
    return failed + cmocka_run_group_tests_name("streams of a loop aside", tests, NULL, NULL);
}
