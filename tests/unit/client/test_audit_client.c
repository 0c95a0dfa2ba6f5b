/* The audit client against a server on a unix socket that breaks streams, keeps silent and refuses as told.
 */
#include "client/audit_client.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/find.h"

#define METHOD(name) "/interlock.audit.v1.AuditService/" name
#define SECOND_NS 1000000000ULL

typedef Interlock__Audit__V1__AppendStreamRequest batch_request;
typedef Interlock__Audit__V1__TailResponse tail_response;

/* What the server does, and what it saw. */
typedef struct script {
    atomic_uint streams, messages, appends, largest;
    atomic_uint break_streams; /* so many streams end instead of answering their first message */
    atomic_bool silent, unavailable;
    atomic_uint tail_streams;
    atomic_bool tail_gap; /* the next stream skips a record */
} script;

typedef struct peer_pair {
    char folder[64], socket[96], target[128];
    script told;
    rpc_server *server;
    rpc_channel *channel;
    rpc_loop *loop;
    audit_appender *appender;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned answered, unknown, unavailable, cancelled;
    uint64_t indices; /* their sum */
    unsigned wanted;
    uint64_t deadline_ns;
    bool opened;
    simulated_chance world;
} peer_pair;

/* ---- the server ---- */

static const failure broken = {.code = STATUS_UNAVAILABLE, .reason = "BROKEN", .message = "broken as told"};

static status_code append_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                               failure *why) {
    script *self = service;
    (void)stream;
    (void)request;
    (void)why;
    atomic_fetch_add(&self->streams, 1);
    return STATUS_OK;
}

/* The index of a record is the number in its action's name. */
static void answer(script *self, rpc_stream *stream, const batch_request *batch) {
    Interlock__Audit__V1__AppendStreamResponse message = INTERLOCK__AUDIT__V1__APPEND_STREAM_RESPONSE__INIT;
    Interlock__Audit__V1__NumberedResult results[64], *pointers[64];
    Interlock__Audit__V1__AppendResponse responses[64];
    Interlock__Audit__V1__Receipt receipts[64];
    Interlock__Audit__V1__Refusal refusal = INTERLOCK__AUDIT__V1__REFUSAL__INIT;
    refusal.reason = INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_UNAVAILABLE;
    refusal.message = (char *)"disk full at the audit log";
    refusal.retry_after_ms = 77;
    for (size_t i = 0; i < batch->n_appends; i++) {
        interlock__audit__v1__numbered_result__init(&results[i]);
        interlock__audit__v1__append_response__init(&responses[i]);
        interlock__audit__v1__receipt__init(&receipts[i]);
        receipts[i].index = strtoull(batch->appends[i]->append->action_id, NULL, 10);
        results[i].number = batch->appends[i]->number;
        results[i].result = &responses[i];
        responses[i].result_case = atomic_load(&self->unavailable)
                                       ? INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL
                                       : INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT;
        if (atomic_load(&self->unavailable))
            responses[i].refusal = &refusal;
        else
            responses[i].receipt = &receipts[i];
        pointers[i] = &results[i];
    }
    message.n_results = batch->n_appends;
    message.results = pointers;
    assert_int_equal(rpc_stream_send(stream, &message.base), STATUS_OK);
}

static status_code append_message(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                  arena *memory, failure *why) {
    script *self = service;
    const batch_request *batch = (const batch_request *)message;
    (void)memory;
    atomic_fetch_add(&self->messages, 1);
    atomic_fetch_add(&self->appends, (unsigned)batch->n_appends);
    if (batch->n_appends > atomic_load(&self->largest))
        atomic_store(&self->largest, (unsigned)batch->n_appends);
    assert_true(batch->n_appends <= 64);
    if (atomic_load(&self->break_streams) > 0) {
        atomic_fetch_sub(&self->break_streams, 1);
        *why = broken;
        return STATUS_UNAVAILABLE;
    }
    if (!atomic_load(&self->silent))
        answer(self, stream, batch);
    return STATUS_OK;
}

/* Three records at a time, and after three messages the stream breaks. */
static status_code tail_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                             failure *why) {
    script *self = service;
    uint64_t next = ((const Interlock__Audit__V1__TailRequest *)request)->from_index;
    atomic_fetch_add(&self->tail_streams, 1);
    if (atomic_exchange(&self->tail_gap, false))
        next++;
    for (unsigned i = 0; i < 3; i++) {
        tail_response message = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
        Interlock__Audit__V1__Entry entries[3], *pointers[3];
        for (unsigned k = 0; k < 3; k++) {
            interlock__audit__v1__entry__init(&entries[k]);
            entries[k].index = next++;
            pointers[k] = &entries[k];
        }
        message.n_entries = 3;
        message.entries = pointers;
        if (rpc_stream_send(stream, &message.base) != STATUS_OK)
            return (*why = broken).code;
    }
    rpc_stream_finish(stream, STATUS_UNAVAILABLE, &broken);
    return STATUS_OK;
}

static const rpc_stream_handlers append_handlers = {.open = append_open, .message = append_message};
static const rpc_stream_handlers tail_handlers = {.open = tail_open};
static const rpc_method methods[] = {
    RPC_BIDI(METHOD("AppendStream"), interlock__audit__v1__append_stream_request__descriptor,
             interlock__audit__v1__append_stream_response__descriptor, ROLE_SERVICE, &append_handlers),
    RPC_SERVER_STREAM(METHOD("Tail"), interlock__audit__v1__tail_request__descriptor,
                      interlock__audit__v1__tail_response__descriptor, ROLE_SERVICE, &tail_handlers),
};

static void server_open(peer_pair *self) {
    failure why = {0};
    rpc_server_options options = {
        .unix_path = self->socket, .trust_domain = "test", .own_uid_roles = ROLE_SERVICE, .loops = 1};
    if (rpc_server_start(&self->server, &options, methods, 2, &self->told, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    rpc_server_set_serving(self->server, true);
}

static void server_close(peer_pair *self) {
    rpc_server_free(self->server);
    self->server = NULL;
}

/* ---- the client ---- */

static void appended(void *context, status_code code, const Interlock__Audit__V1__AppendGist *response,
                     const failure *why) {
    peer_pair *self = context;
    pthread_mutex_lock(&self->mutex);
    if (code == STATUS_OK) {
        self->answered++;
        self->indices +=
            (unsigned)wire_find_number(bytes_of(response->receipt.data, response->receipt.len), 1);
    } else if (code == STATUS_CANCELLED) {
        self->cancelled++;
    } else if (strcmp(why->reason, "UNKNOWN_RESULT") == 0) {
        self->unknown++;
    } else {
        assert_string_equal(why->reason, "NOT_WRITTEN");
        assert_int_equal(why->retry_after_ms, 77);
        self->unavailable++;
    }
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void append_task(void *context) {
    peer_pair *self = context;
    failure why = {0};
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    char id[32];
    request.action_id = id;
    for (unsigned i = 1; i <= self->wanted; i++) {
        snprintf(id, sizeof id, "%u", i);
        assert_int_equal(
            audit_appender_append(self->appender, &request, self->deadline_ns, appended, self, &why),
            STATUS_OK);
    }
}

static void append_on_loop(peer_pair *self, unsigned count, uint64_t deadline_ns) {
    self->wanted = count;
    self->deadline_ns = deadline_ns;
    assert_int_equal(rpc_loop_post(self->loop, append_task, self), STATUS_OK);
}

static void wait_for(peer_pair *self, const unsigned *counter, unsigned count) {
    pthread_mutex_lock(&self->mutex);
    while (*counter < count)
        pthread_cond_wait(&self->changed, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}

static uint64_t in_seconds(unsigned seconds) {
    return chance_boot_ns(chance_system()) + seconds * SECOND_NS;
}

static int setup(void **state) {
    failure why = {0};
    peer_pair *self = calloc(1, sizeof *self);
    assert_non_null(self);
    snprintf(self->folder, sizeof self->folder, "/tmp/client-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->socket, sizeof self->socket, "%s/audit.sock", self->folder);
    snprintf(self->target, sizeof self->target, "unix:%s", self->socket);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->changed, NULL);
    server_open(self);
    rpc_channel_options options = {.target = self->target, .role = ROLE_SERVICE};
    assert_int_equal(rpc_channel_open(&self->channel, &options, &why), STATUS_OK);
    assert_int_equal(rpc_loop_start(&self->loop, &why), STATUS_OK);
    assert_int_equal(audit_appender_open(&self->appender, self->loop, self->channel, chance_system(), &why),
                     STATUS_OK);
    *state = self;
    return 0;
}

static int teardown(void **state) {
    peer_pair *self = *state;
    rpc_loop_stop(self->loop);
    audit_appender_close(self->appender);
    rpc_channel_close(self->channel);
    if (self->server != NULL)
        server_close(self);
    unlink(self->socket);
    rmdir(self->folder);
    free(self);
    return 0;
}

static void what_arrives_together_goes_out_together(void **state) {
    peer_pair *self = *state;
    append_on_loop(self, 1000, in_seconds(30));
    wait_for(self, &self->answered, 1000);
    assert_int_equal(self->indices, 1000 * 1001 / 2);
    assert_int_equal(atomic_load(&self->told.appends), 1000);
    assert_int_equal(atomic_load(&self->told.largest), 64);
    assert_true(atomic_load(&self->told.messages) < 100);
    assert_int_equal(atomic_load(&self->told.streams), 1);
}

static void a_broken_stream_is_opened_and_all_is_sent_again(void **state) {
    peer_pair *self = *state;
    atomic_store(&self->told.break_streams, 3);
    append_on_loop(self, 200, in_seconds(30));
    wait_for(self, &self->answered, 200);
    assert_int_equal(self->indices, 200 * 201 / 2); /* each once */
    assert_int_equal(atomic_load(&self->told.streams), 4);
    assert_true(atomic_load(&self->told.appends) > 200);
}

static void a_server_that_comes_back_gets_what_waits(void **state) {
    peer_pair *self = *state;
    server_close(self);
    append_on_loop(self, 20, in_seconds(30));
    server_open(self);
    wait_for(self, &self->answered, 20);
    assert_int_equal(self->indices, 20 * 21 / 2);
}

static void no_answer_by_the_deadline_is_unknown(void **state) {
    peer_pair *self = *state;
    atomic_store(&self->told.silent, true);
    append_on_loop(self, 10, chance_boot_ns(chance_system()) + SECOND_NS / 20);
    wait_for(self, &self->unknown, 10);
    assert_int_equal(self->answered, 0);
    atomic_store(&self->told.silent, false);
    append_on_loop(self, 10, in_seconds(30));
    wait_for(self, &self->answered, 10);
}

static void advance_task(void *context) {
    simulated_chance_advance(context, 6 * SECOND_NS);
}

static void open_task(void *context) {
    peer_pair *self = context;
    failure why;
    audit_appender_close(self->appender);
    assert_int_equal(
        audit_appender_open(&self->appender, self->loop, self->channel, &self->world.chance, &why),
        STATUS_OK);
}

/* The clock is the loop's thread's own. */
static void a_silent_connection_is_given_up(void **state) {
    peer_pair *self = *state;
    simulated_chance_init(&self->world, 1);
    assert_int_equal(rpc_loop_post(self->loop, open_task, self), STATUS_OK);
    atomic_store(&self->told.silent, true);
    append_on_loop(self, 10, UINT64_MAX);
    while (atomic_load(&self->told.appends) < 10)
        usleep(1000);
    atomic_store(&self->told.silent, false);
    assert_int_equal(rpc_loop_post(self->loop, advance_task, &self->world), STATUS_OK);
    wait_for(self, &self->answered, 10);
    assert_int_equal(atomic_load(&self->told.streams), 2);
}

static void not_written_is_not_unknown(void **state) {
    peer_pair *self = *state;
    atomic_store(&self->told.unavailable, true);
    append_on_loop(self, 10, in_seconds(30));
    wait_for(self, &self->unavailable, 10);
    assert_int_equal(self->unknown, 0);
}

static void fill_task(void *context) {
    peer_pair *self = context;
    failure why = {0};
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(
            audit_appender_append(self->appender, &request, in_seconds(30), appended, self, &why), STATUS_OK);
    assert_int_equal(audit_appender_append(self->appender, &request, in_seconds(30), appended, self, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "TOO_MANY_APPENDS");
    pthread_mutex_lock(&self->mutex);
    self->opened = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void what_is_pending_is_bounded_and_cancelled_at_the_end(void **state) {
    peer_pair *self = *state;
    atomic_store(&self->told.silent, true);
    assert_int_equal(rpc_loop_post(self->loop, fill_task, self), STATUS_OK);
    pthread_mutex_lock(&self->mutex);
    while (!self->opened)
        pthread_cond_wait(&self->changed, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    failure why;
    rpc_loop_stop(self->loop);
    audit_appender_close(self->appender);
    assert_int_equal(self->cancelled, 4096);
    assert_int_equal(rpc_loop_start(&self->loop, &why), STATUS_OK); /* for the teardown */
    assert_int_equal(audit_appender_open(&self->appender, self->loop, self->channel, chance_system(), &why),
                     STATUS_OK);
}

typedef struct follow {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t next, until;
    bool done;
} follow;

static bool follow_entries(void *context, const tail_response *batch) {
    follow *self = context;
    for (size_t i = 0; i < batch->n_entries; i++)
        assert_int_equal(batch->entries[i]->index, self->next++);
    pthread_mutex_lock(&self->mutex);
    self->done = self->next >= self->until;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    return !self->done;
}

static void a_follower_skips_and_repeats_nothing(void **state) {
    peer_pair *self = *state;
    failure why;
    follow seen = {.next = 4, .until = 31};
    audit_follower *follower = NULL;
    pthread_mutex_init(&seen.mutex, NULL);
    pthread_cond_init(&seen.changed, NULL);
    atomic_store(&self->told.tail_gap, true); /* the first stream is not believed */
    assert_int_equal(audit_follower_start(&follower, self->channel, 4, follow_entries, &seen, &why),
                     STATUS_OK);
    pthread_mutex_lock(&seen.mutex);
    while (!seen.done)
        pthread_cond_wait(&seen.changed, &seen.mutex);
    pthread_mutex_unlock(&seen.mutex);
    assert_true(atomic_load(&self->told.tail_streams) >= 4);
    audit_follower_stop(follower);
    assert_int_equal(seen.next, 31);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_arrives_together_goes_out_together),
        TEST(a_broken_stream_is_opened_and_all_is_sent_again),
        TEST(a_server_that_comes_back_gets_what_waits),
        TEST(no_answer_by_the_deadline_is_unknown),
        TEST(a_silent_connection_is_given_up),
        TEST(not_written_is_not_unknown),
        TEST(what_is_pending_is_bounded_and_cancelled_at_the_end),
        TEST(a_follower_skips_and_repeats_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
