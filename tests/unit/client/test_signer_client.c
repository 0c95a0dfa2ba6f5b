/* The signer's client over real sockets, against a signer that can be told to break: what is asked together
 * goes out together, every request ends exactly once, and a broken stream loses nothing. */
#include "client/signer_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/server.h"

#define PATIENCE_MS 20000
#define REQUESTS 200U
#define SLOTS_MAX 4096U
#define FAR_MS 30000U

/* ---- The signer of the test ---- */

typedef enum behaviour { ANSWER, REFUSE, SILENT } behaviour;

typedef struct fake {
    _Atomic behaviour does;
    atomic_uint break_streams; /* so many messages end their stream unanswered */
    atomic_uint messages, permits, streams;
} fake;

static status_code fake_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                             failure *why) {
    (void)stream, (void)request, (void)why;
    atomic_fetch_add(&((fake *)service)->streams, 1);
    return STATUS_OK;
}

static void fake_answer(const fake *self, const Interlock__Signer__V1__SignPermit *request, arena *memory,
                        Interlock__Signer__V1__SignedPermit *out) {
    interlock__signer__v1__signed_permit__init(out);
    out->number = request->number;
    assert_non_null(request->receipt);
    if (atomic_load(&self->does) == REFUSE)
        out->refusal = "LEAF_NOT_A_PERMIT: no";
    else
        out->permit =
            arena_format(memory, "permit-%llu-%.*s", (unsigned long long)request->receipt->index,
                         (int)request->record->payload.len, (const char *)request->record->payload.data);
}

static status_code fake_message(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                arena *memory, failure *why) {
    fake *self = service;
    const Interlock__Signer__V1__SignStreamRequest *request =
        (const Interlock__Signer__V1__SignStreamRequest *)message;
    atomic_fetch_add(&self->messages, 1);
    if (atomic_load(&self->break_streams) > 0) {
        atomic_fetch_sub(&self->break_streams, 1);
        return (fail)(why, STATUS_UNAVAILABLE /* cmocka has a macro of that name */, "BROKEN",
                      "as the test wants it");
    }
    atomic_fetch_add(&self->permits, (unsigned)request->n_permits);
    if (atomic_load(&self->does) == SILENT)
        return STATUS_OK;
    Interlock__Signer__V1__SignStreamResponse response = INTERLOCK__SIGNER__V1__SIGN_STREAM_RESPONSE__INIT;
    Interlock__Signer__V1__SignedPermit *answers = arena_zero(memory, request->n_permits, sizeof *answers);
    response.permits = arena_zero(memory, request->n_permits, sizeof *response.permits);
    for (response.n_permits = 0; response.n_permits < request->n_permits; response.n_permits++) {
        response.permits[response.n_permits] = &answers[response.n_permits];
        fake_answer(self, request->permits[response.n_permits], memory, &answers[response.n_permits]);
    }
    return rpc_stream_send(stream, &response.base);
}

static void fake_half_closed(void *service, rpc_stream *stream) {
    (void)service;
    rpc_stream_finish(stream, STATUS_OK, NULL);
}

static void fake_closed(void *service, rpc_stream *stream) {
    (void)service, (void)stream;
}

static const rpc_stream_handlers fake_stream = {
    .open = fake_open, .message = fake_message, .half_closed = fake_half_closed, .closed = fake_closed};

static status_code fake_keys(void *service, rpc_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, failure *why) {
    (void)service, (void)call, (void)request, (void)why;
    ((Interlock__Signer__V1__GetKeysResponse *)response)->jwks = "{\"keys\":[]}";
    return STATUS_OK;
}

static const rpc_method methods[] = {
    RPC_BIDI("/interlock.signer.v1.SignerService/SignStream",
             interlock__signer__v1__sign_stream_request__descriptor,
             interlock__signer__v1__sign_stream_response__descriptor, ROLE_SERVICE, &fake_stream),
    RPC_UNARY("/interlock.signer.v1.SignerService/GetKeys",
              interlock__signer__v1__get_keys_request__descriptor,
              interlock__signer__v1__get_keys_response__descriptor, ROLE_ANYONE, fake_keys)};

/* ---- The client's side: all on its loop's thread ---- */

typedef struct world world;

typedef struct asked {
    world *at;
    unsigned number;
    bool accepted;
    atomic_uint answers;
    status_code code;
    char permit[64], reason[32];
} asked;

struct world {
    fake signer;
    char directory[64], socket[96], target[112];
    rpc_server *server;
    rpc_channel *channel;
    rpc_loop *loop;
    signer_client *client;
    asked *requests;
    unsigned count;
    uint32_t timeout_ms;
    bool close_in_callback;
    atomic_uint answered;
    atomic_bool task_done;
};

static void start_server(world *self) {
    failure why = {0};
    const rpc_server_options options = {.unix_path = self->socket,
                                        .trust_domain = "demo",
                                        .own_uid_roles = ROLE_SERVICE,
                                        .loops = 1,
                                        .drain_ms = 200};
    if (rpc_server_start(&self->server, &options, methods, 2, &self->signer, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    rpc_server_set_serving(self->server, true);
}

static void stop_server(world *self) {
    rpc_server_stop(self->server);
    rpc_server_free(self->server);
    self->server = NULL;
}

static void wait_for(world *self, atomic_uint *count, unsigned wanted) {
    (void)self;
    for (int waited_ms = 0; atomic_load(count) < wanted; waited_ms += 2) {
        if (waited_ms > PATIENCE_MS)
            fail_msg("%u of %u in vain", atomic_load(count), wanted);
        poll(NULL, 0, 2);
    }
}

static void on_loop(world *self, void (*task)(void *context)) {
    atomic_store(&self->task_done, false);
    assert_int_equal(rpc_loop_post(self->loop, task, self), STATUS_OK);
    for (int waited_ms = 0; !atomic_load(&self->task_done); waited_ms += 1) {
        if (waited_ms > PATIENCE_MS)
            fail_msg("the loop does not run");
        poll(NULL, 0, 1);
    }
}

static void open_task(void *context) {
    world *self = context;
    failure why = {0};
    if (signer_client_open(&self->client, self->loop, self->channel, chance_system(), &why) != STATUS_OK)
        abort();
    atomic_store(&self->task_done, true);
}

static void close_task(void *context) {
    world *self = context;
    signer_client_close(self->client);
    self->client = NULL;
    atomic_store(&self->task_done, true);
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    failure why = {0};
    assert_non_null(self);
    snprintf(self->directory, sizeof self->directory, "/tmp/signer-client-XXXXXX");
    assert_non_null(mkdtemp(self->directory));
    snprintf(self->socket, sizeof self->socket, "%s/signer.sock", self->directory);
    snprintf(self->target, sizeof self->target, "unix:%s", self->socket);
    self->timeout_ms = FAR_MS;
    start_server(self);
    const rpc_channel_options options = {.target = self->target, .role = ROLE_SERVICE};
    assert_int_equal(rpc_channel_open(&self->channel, &options, &why), STATUS_OK);
    assert_int_equal(rpc_loop_start(&self->loop, &why), STATUS_OK);
    on_loop(self, open_task);
    *state = self;
    return 0;
}

static int world_free(void **state) {
    world *self = *state;
    rpc_loop_stop(self->loop);
    signer_client_close(self->client); /* the loop has stopped */
    rpc_channel_close(self->channel);
    rpc_server_free(self->server);
    free(self->requests);
    unlink(self->socket);
    assert_int_equal(rmdir(self->directory), 0);
    free(self);
    return 0;
}

static void on_signed(void *context, status_code code, const char *permit, const failure *why) {
    asked *self = context;
    self->code = code;
    snprintf(self->permit, sizeof self->permit, "%s", permit == NULL ? "" : permit);
    snprintf(self->reason, sizeof self->reason, "%s", why == NULL || why->reason == NULL ? "" : why->reason);
    if (self->at->close_in_callback && self->at->client != NULL) {
        signer_client *client = self->at->client;
        self->at->client = NULL;
        signer_client_close(client);
    }
    atomic_fetch_add(&self->answers, 1);
    atomic_fetch_add(&self->at->answered, 1);
}

static void ask_one(world *self, asked *request) {
    Interlock__Audit__V1__Receipt receipt = INTERLOCK__AUDIT__V1__RECEIPT__INIT;
    uint8_t packed[32];
    arena memory;
    Interlock__Common__V1__Envelope record = INTERLOCK__COMMON__V1__ENVELOPE__INIT;
    char text[16];
    failure why = {0};
    receipt.index = request->number;
    arena_init(&memory, 64, 1024);
    wire_part part =
        wire_frame(bytes_of(packed, interlock__audit__v1__receipt__pack(&receipt, packed)), &memory);
    record.payload.len = (size_t)snprintf(text, sizeof text, "r%u", request->number);
    record.payload.data = (uint8_t *)text;
    uint64_t deadline_ns = chance_boot_ns(chance_system()) + (uint64_t)self->timeout_ms * 1000000U;
    request->code = signer_client_sign(self->client, &part, &record, deadline_ns, on_signed, request, &why);
    arena_free(&memory);
    request->accepted = request->code == STATUS_OK;
    snprintf(request->reason, sizeof request->reason, "%s", why.reason == NULL ? "" : why.reason);
}

static void ask_task(void *context) {
    world *self = context;
    for (unsigned i = 0; i < self->count; i++)
        ask_one(self, &self->requests[i]);
    atomic_store(&self->task_done, true);
}

static void ask(world *self, unsigned count) {
    free(self->requests);
    self->requests = calloc(count, sizeof *self->requests);
    assert_non_null(self->requests);
    self->count = count;
    atomic_store(&self->answered, 0);
    for (unsigned i = 0; i < count; i++) {
        self->requests[i].at = self;
        self->requests[i].number = i;
    }
    on_loop(self, ask_task);
}

static void expect_all_signed(world *self) {
    for (unsigned i = 0; i < self->count; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "permit-%u-r%u", i, i);
        assert_int_equal(atomic_load(&self->requests[i].answers), 1);
        assert_int_equal(self->requests[i].code, STATUS_OK);
        assert_string_equal(self->requests[i].permit, expected);
    }
}

static void expect_all_failed(world *self, status_code code, const char *reason) {
    for (unsigned i = 0; i < self->count; i++) {
        assert_int_equal(atomic_load(&self->requests[i].answers), 1);
        assert_int_equal(self->requests[i].code, code);
        assert_string_equal(self->requests[i].reason, reason);
    }
}

/* ---- Cases ---- */

static void requests_go_out_together(void **state) {
    world *self = *state;
    ask(self, REQUESTS);
    wait_for(self, &self->answered, REQUESTS);
    expect_all_signed(self);
    assert_int_equal(atomic_load(&self->signer.permits), REQUESTS);
    assert_true(atomic_load(&self->signer.messages) <= REQUESTS / 16);
    ask(self, 1);
    wait_for(self, &self->answered, 1);
    expect_all_signed(self);
    assert_int_equal(atomic_load(&self->signer.streams), 1);
}

static void refusals_are_told(void **state) {
    world *self = *state;
    atomic_store(&self->signer.does, REFUSE);
    ask(self, 3);
    wait_for(self, &self->answered, 3);
    expect_all_failed(self, STATUS_PERMISSION_DENIED, "PERMIT_REFUSED");
}

static void broken_streams_lose_nothing(void **state) {
    world *self = *state;
    atomic_store(&self->signer.break_streams, 3);
    ask(self, REQUESTS);
    wait_for(self, &self->answered, REQUESTS);
    expect_all_signed(self);
    assert_true(atomic_load(&self->signer.streams) >= 4);
}

static void a_signer_that_comes_back_is_used(void **state) {
    world *self = *state;
    ask(self, 1);
    wait_for(self, &self->answered, 1);
    stop_server(self);
    ask(self, 10);
    start_server(self);
    wait_for(self, &self->answered, 10);
    expect_all_signed(self);
}

static void silence_ends_by_the_deadline(void **state) {
    world *self = *state;
    atomic_store(&self->signer.does, SILENT);
    self->timeout_ms = 100;
    ask(self, 5);
    wait_for(self, &self->answered, 5);
    expect_all_failed(self, STATUS_UNAVAILABLE, "SIGNER_UNAVAILABLE");
    stop_server(self);
    ask(self, 5);
    wait_for(self, &self->answered, 5);
    expect_all_failed(self, STATUS_UNAVAILABLE, "SIGNER_UNAVAILABLE");
}

static void too_many_are_refused_at_once(void **state) {
    world *self = *state;
    atomic_store(&self->signer.does, SILENT);
    ask(self, SLOTS_MAX + 1);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        assert_true(self->requests[i].accepted);
    assert_false(self->requests[SLOTS_MAX].accepted);
    assert_int_equal(self->requests[SLOTS_MAX].code, STATUS_RESOURCE_EXHAUSTED);
    on_loop(self, close_task);
    assert_int_equal(atomic_load(&self->answered), SLOTS_MAX);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        assert_int_equal(self->requests[i].code, STATUS_CANCELLED);
}

static void pending_ends_when_the_loop_has_stopped(void **state) {
    world *self = *state;
    atomic_store(&self->signer.does, SILENT);
    ask(self, 5);
    wait_for(self, &self->signer.permits, 5);
    rpc_loop_stop(self->loop);
    self->loop = NULL;
    signer_client_close(self->client);
    self->client = NULL;
    expect_all_failed(self, STATUS_CANCELLED, "CLIENT_CLOSED");
}

static void closing_within_an_answer(void **state) {
    world *self = *state;
    self->close_in_callback = true;
    ask(self, 10);
    wait_for(self, &self->answered, 10);
    assert_int_equal(self->requests[0].code, STATUS_OK);
    for (unsigned i = 1; i < 10; i++)
        assert_int_equal(self->requests[i].code, STATUS_CANCELLED);
}

static void keys_are_handed_on(void **state) {
    world *self = *state;
    arena memory;
    char *jwks = NULL;
    failure why = {0};
    arena_init(&memory, 4096, 1U << 20);
    assert_int_equal(signer_get_keys_wait(self->channel, 5000, &memory, &jwks, &why), STATUS_OK);
    assert_string_equal(jwks, "{\"keys\":[]}");
    arena_free(&memory);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_make, world_free)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(requests_go_out_together),
                                       CASE(refusals_are_told),
                                       CASE(broken_streams_lose_nothing),
                                       CASE(a_signer_that_comes_back_is_used),
                                       CASE(silence_ends_by_the_deadline),
                                       CASE(too_many_are_refused_at_once),
                                       CASE(pending_ends_when_the_loop_has_stopped),
                                       CASE(closing_within_an_answer),
                                       CASE(keys_are_handed_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
