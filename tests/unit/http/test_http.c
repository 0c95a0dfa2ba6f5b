/* The HTTP client against the HTTP server, and against peers that misbehave, all over real sockets. */
#include "http/client.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Waiting for an answer ------------------------------------------------------------------- */

typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    int http_status;
    status_code code;
    char reason[32];
    buffer answer; /* or what was streamed */
    size_t pieces, stop_after, largest;
} waiter;

static void waiter_init(waiter *self) {
    memset(self, 0, sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    buffer_init(&self->answer, 16U << 20);
}

static void waiter_free(waiter *self) {
    buffer_free(&self->answer);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
}

static void on_done(void *context, int http_status, bytes answer, const failure *why) {
    waiter *self = context;
    pthread_mutex_lock(&self->lock);
    self->done++;
    self->http_status = http_status;
    self->code = why == NULL ? STATUS_OK : why->code;
    snprintf(self->reason, sizeof self->reason, "%s", why == NULL ? "" : why->reason);
    buffer_append(&self->answer, answer.data, answer.size);
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static bool on_piece(void *context, bytes data) {
    waiter *self = context;
    pthread_mutex_lock(&self->lock);
    buffer_append(&self->answer, data.data, data.size);
    self->pieces++;
    if (data.size > self->largest)
        self->largest = data.size;
    bool more = self->stop_after == 0 || self->pieces < self->stop_after;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return more;
}

static void wait_done(waiter *self) {
    pthread_mutex_lock(&self->lock);
    while (self->done == 0)
        pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

/* ---- A peer that says exactly what the test wants -------------------------------------------- */

typedef struct peer {
    int listener;
    uint16_t port;
    pthread_t thread;
    const char *const *pieces; /* sent one after the other, 20 ms apart; NULL ends */
    bool hold;                 /* keep the connection open until the client closes it */
} peer;

static void *peer_run(void *context) {
    peer *self = context;
    char request[4096];
    int connection = accept(self->listener, NULL, NULL);
    if (connection < 0)
        return NULL;
    ssize_t got = recv(connection, request, sizeof request, 0);
    for (size_t i = 0; got > 0 && self->pieces[i] != NULL; i++) {
        if (send(connection, self->pieces[i], strlen(self->pieces[i]), MSG_NOSIGNAL) < 0)
            break;
        usleep(20000);
    }
    while (self->hold && got > 0)
        got = recv(connection, request, sizeof request, 0);
    close(connection);
    return NULL;
}

static int listen_anywhere(uint16_t *port) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&where, size), 0);
    assert_int_equal(listen(listener, 512), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&where, &size), 0);
    *port = ntohs(where.sin_port);
    return listener;
}

static void peer_start(peer *self, const char *const *pieces, bool hold) {
    *self = (peer){.pieces = pieces, .hold = hold};
    self->listener = listen_anywhere(&self->port);
    assert_int_equal(pthread_create(&self->thread, NULL, peer_run, self), 0);
}

static void peer_stop(peer *self) {
    pthread_join(self->thread, NULL);
    close(self->listener);
}

/* ---- The server's routes --------------------------------------------------------------------- */

static int hello(void *context, buffer *body, const char **content_type) {
    *content_type = "text/html";
    buffer_text(body, context);
    return 200;
}

static int large(void *context, buffer *body, const char **content_type) {
    const size_t *size = context;
    (void)content_type;
    static const char block[1024];
    for (size_t sent = 0; sent < *size; sent += sizeof block)
        buffer_append(body, block, sizeof block);
    return 200;
}

static int unwell(void *context, buffer *body, const char **content_type) {
    (void)context;
    (void)body;
    (void)content_type;
    return 503;
}

static size_t three_mebibytes = 3U << 20, five_mebibytes = 5U << 20;
static const http_route routes[] = {
    {"/hello", hello, (void *)(uintptr_t) "hello, world"},
    {"/large", large, &three_mebibytes},
    {"/too-large", large, &five_mebibytes},
    {"/unwell", unwell, NULL},
};

typedef struct world {
    http_server *server;
    http_client *client;
} world;

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    failure why = {0};
    assert_non_null(self);
    assert_int_equal(http_server_start(&self->server, "127.0.0.1:0", routes, 4, &why), STATUS_OK);
    assert_int_equal(http_client_start(&self->client, &why), STATUS_OK);
    *state = self;
    return 0;
}

static int world_end(void **state) {
    world *self = *state;
    http_client_stop(self->client);
    http_server_stop(self->server);
    free(self);
    return 0;
}

static http_exchange exchange_of(waiter *context, char *url, uint16_t port, const char *path) {
    snprintf(url, 128, "http://127.0.0.1:%u%s", port, path);
    return (http_exchange){
        .url = url, .timeout_ms = 10000, .limit = 8U << 20, .done = on_done, .context = context};
}

/* ---- Tests: answers -------------------------------------------------------------------------- */

static const struct {
    const char *path, *body;
    int http_status;
    size_t size;
} answers[] = {
    {"/hello", "", 200, 12}, {"/hello?query", "", 200, 12},         {"/large", "", 200, 3U << 20},
    {"/unwell", "", 503, 0}, {"/too-large", "", 500, 24},           {"/hello/", "", 404, 10},
    {"/%00", "", 404, 10},   {"/hello", "{\"posted\":1}", 405, 18},
};

static void test_answers(void **state) {
    world *self = *state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        waiter result;
        char url[128];
        failure why = {0};
        waiter_init(&result);
        http_exchange exchange = exchange_of(&result, url, http_server_port(self->server), answers[i].path);
        exchange.body = bytes_of_text(answers[i].body);
        assert_int_equal(http_client_send(self->client, &exchange, NULL, &why), STATUS_OK);
        wait_done(&result);
        assert_int_equal(result.code, STATUS_OK);
        assert_int_equal(result.http_status, answers[i].http_status);
        assert_int_equal(result.answer.size, answers[i].size);
        waiter_free(&result);
    }
}

static void test_an_answer_beyond_the_limit_is_refused(void **state) {
    world *self = *state;
    waiter result;
    char url[128];
    failure why = {0};
    waiter_init(&result);
    http_exchange exchange = exchange_of(&result, url, http_server_port(self->server), "/large");
    exchange.limit = 1U << 20;
    assert_int_equal(http_client_send(self->client, &exchange, NULL, &why), STATUS_OK);
    wait_done(&result);
    assert_int_equal(result.http_status, 0);
    assert_int_equal(result.code, STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(result.reason, "ANSWER_TOO_LARGE");
    waiter_free(&result);
}

/* ---- Tests: peers that misbehave ------------------------------------------------------------- */

static void send_and_wait(world *self, const http_exchange *exchange, waiter *result) {
    failure why = {0};
    assert_int_equal(http_client_send(self->client, exchange, NULL, &why), STATUS_OK);
    wait_done(result);
    assert_int_equal(result->done, 1);
}

static void test_a_refused_connection_is_told(void **state) {
    world *self = *state;
    waiter result;
    char url[128];
    uint16_t port = 0;
    waiter_init(&result);
    close(listen_anywhere(&port));
    http_exchange exchange = exchange_of(&result, url, port, "/");
    send_and_wait(self, &exchange, &result);
    assert_int_equal(result.code, STATUS_UNAVAILABLE);
    assert_string_equal(result.reason, "NOT_CONNECTED");
    waiter_free(&result);
}

static void test_a_silent_peer_meets_the_deadline(void **state) {
    world *self = *state;
    waiter result;
    char url[128];
    uint16_t port = 0;
    waiter_init(&result);
    int listener = listen_anywhere(&port); /* the kernel accepts; nobody reads */
    http_exchange exchange = exchange_of(&result, url, port, "/");
    exchange.timeout_ms = 100;
    send_and_wait(self, &exchange, &result);
    assert_int_equal(result.code, STATUS_DEADLINE_EXCEEDED);
    assert_string_equal(result.reason, "TIMED_OUT");
    close(listener);
    waiter_free(&result);
}

static void expect_from_peer(world *self, const char *const *pieces, status_code code, const char *reason) {
    waiter result;
    peer other;
    char url[128];
    waiter_init(&result);
    peer_start(&other, pieces, false);
    http_exchange exchange = exchange_of(&result, url, other.port, "/");
    send_and_wait(self, &exchange, &result);
    assert_int_equal(result.code, code);
    assert_string_equal(result.reason, reason);
    peer_stop(&other);
    waiter_free(&result);
}

static void test_broken_answers(void **state) {
    static const char *const nothing[] = {NULL};
    static const char *const cut[] = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "abc", NULL};
    static const char *const noise[] = {"\x16\x03\x01 not http at all\r\n\r\n", NULL};
    expect_from_peer(*state, nothing, STATUS_UNAVAILABLE, "CONNECTION_LOST");
    expect_from_peer(*state, cut, STATUS_UNAVAILABLE, "CONNECTION_LOST");
    expect_from_peer(*state, noise, STATUS_UNAVAILABLE, "CONNECTION_LOST");
}

static void test_other_schemes_are_refused(void **state) {
    world *self = *state;
    static const char *const urls[] = {"file:///etc/passwd", "gopher://127.0.0.1/", "http://"};
    for (size_t i = 0; i < 3; i++) {
        waiter result;
        waiter_init(&result);
        http_exchange exchange = {.url = urls[i], .timeout_ms = 1000, .done = on_done, .context = &result};
        send_and_wait(self, &exchange, &result);
        assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
        waiter_free(&result);
    }
}

/* ---- Tests: streams -------------------------------------------------------------------------- */

#define STREAM_HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void stream_from_peer(world *self, const char *const *pieces, bool hold, waiter *result,
                             uint32_t silence_ms) {
    peer other;
    char url[128];
    peer_start(&other, pieces, hold);
    http_exchange exchange = exchange_of(result, url, other.port, "/");
    exchange.timeout_ms = 0;
    exchange.silence_ms = silence_ms;
    exchange.limit = 4;
    exchange.piece = on_piece;
    send_and_wait(self, &exchange, result);
    peer_stop(&other);
}

static void test_a_stream_comes_in_bounded_pieces(void **state) {
    static const char *const pieces[] = {STREAM_HEAD, "6\r\nabcdef\r\n", "3\r\nghi\r\n", "0\r\n\r\n", NULL};
    waiter result;
    waiter_init(&result);
    stream_from_peer(*state, pieces, false, &result, 10000);
    assert_int_equal(result.code, STATUS_OK);
    assert_int_equal(result.http_status, 200);
    assert_string_equal(result.answer.data, "abcdefghi");
    assert_true(result.pieces >= 3);
    assert_true(result.largest <= 4);
    waiter_free(&result);
}

static void test_a_stream_ends_when_told(void **state) {
    static const char *const pieces[] = {STREAM_HEAD, "2\r\nab\r\n", "2\r\ncd\r\n", NULL};
    waiter result;
    waiter_init(&result);
    result.stop_after = 1;
    stream_from_peer(*state, pieces, true, &result, 0);
    assert_int_equal(result.code, STATUS_OK);
    assert_string_equal(result.answer.data, "ab");
    waiter_free(&result);
}

static void test_a_stream_that_falls_silent_is_over(void **state) {
    static const char *const pieces[] = {STREAM_HEAD, "2\r\nab\r\n", NULL};
    waiter result;
    waiter_init(&result);
    stream_from_peer(*state, pieces, true, &result, 200);
    assert_int_equal(result.code, STATUS_DEADLINE_EXCEEDED);
    assert_string_equal(result.reason, "SILENT");
    assert_string_equal(result.answer.data, "ab");
    waiter_free(&result);
}

static void test_an_error_is_no_part_of_the_stream(void **state) {
    static const char *const pieces[] = {"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad", NULL};
    waiter result;
    waiter_init(&result);
    stream_from_peer(*state, pieces, false, &result, 0);
    assert_int_equal(result.http_status, 500);
    assert_int_equal(result.pieces, 0);
    assert_string_equal(result.answer.data, "bad");
    waiter_free(&result);
}

/* ---- Tests: bounds and endings --------------------------------------------------------------- */

static void test_a_request_can_be_cancelled_once_or_late(void **state) {
    world *self = *state;
    waiter result;
    char url[128];
    failure why = {0};
    uint16_t port = 0;
    http_request *request = NULL;
    waiter_init(&result);
    int listener = listen_anywhere(&port);
    http_exchange exchange = exchange_of(&result, url, port, "/");
    assert_int_equal(http_client_send(self->client, &exchange, &request, &why), STATUS_OK);
    http_client_cancel(self->client, request);
    wait_done(&result);
    assert_int_equal(result.code, STATUS_CANCELLED);
    http_client_cancel(self->client, request);
    close(listener);
    waiter_free(&result);
    /* The slot has a new owner now, whom the old ticket does not touch. */
    waiter_init(&result);
    exchange = exchange_of(&result, url, http_server_port(self->server), "/hello");
    assert_int_equal(http_client_send(self->client, &exchange, NULL, &why), STATUS_OK);
    http_client_cancel(self->client, request);
    wait_done(&result);
    assert_int_equal(result.http_status, 200);
    waiter_free(&result);
}

static void test_open_requests_are_bounded_and_end_with_the_client(void **state) {
    (void)state;
    enum { MOST = 256 };
    static waiter results[MOST];
    http_client *client = NULL;
    char url[128];
    failure why = {0};
    uint16_t port = 0;
    waiter extra;
    int listener = listen_anywhere(&port);
    assert_int_equal(http_client_start(&client, &why), STATUS_OK);
    for (size_t i = 0; i < MOST; i++) {
        waiter_init(&results[i]);
        http_exchange exchange = exchange_of(&results[i], url, port, "/");
        assert_int_equal(http_client_send(client, &exchange, NULL, &why), STATUS_OK);
    }
    waiter_init(&extra);
    http_exchange exchange = exchange_of(&extra, url, port, "/");
    assert_int_equal(http_client_send(client, &exchange, NULL, &why), STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "TOO_MANY_REQUESTS");
    http_client_stop(client);
    assert_int_equal(extra.done, 0);
    waiter_free(&extra);
    for (size_t i = 0; i < MOST; i++) {
        assert_int_equal(results[i].done, 1);
        assert_int_equal(results[i].code, STATUS_CANCELLED);
        waiter_free(&results[i]);
    }
    close(listener);
    http_client_stop(NULL);
}

static const struct {
    const char *address;
    status_code code;
} addresses[] = {
    {"127.0.0.1:0", STATUS_OK},
    {"[::1]:0", STATUS_OK},
    {"", STATUS_INVALID_ARGUMENT},
    {"127.0.0.1", STATUS_INVALID_ARGUMENT},
    {"127.0.0.1:", STATUS_INVALID_ARGUMENT},
    {"127.0.0.1:65536", STATUS_INVALID_ARGUMENT},
    {"127.0.0.1:-1", STATUS_INVALID_ARGUMENT},
    {"[127.0.0.1]:0", STATUS_INVALID_ARGUMENT},
    {"::1:0", STATUS_INVALID_ARGUMENT},
    {"localhost:0", STATUS_INVALID_ARGUMENT},
    {"192.0.2.1:0", STATUS_UNAVAILABLE}, /* TEST-NET: not this machine's */
};

static void test_addresses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        http_server *server = NULL;
        failure why = {0};
        if (i == 1 && access("/proc/net/if_inet6", R_OK) != 0)
            continue;
        assert_int_equal(http_server_start(&server, addresses[i].address, routes, 1, &why),
                         addresses[i].code);
        assert_true((server != NULL) == (addresses[i].code == STATUS_OK));
        http_server_stop(server);
    }
}

static void test_an_address_in_use_is_told(void **state) {
    (void)state;
    char address[32];
    uint16_t port = 0;
    failure why = {0};
    http_server *server = NULL;
    int listener = listen_anywhere(&port);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_int_equal(http_server_start(&server, address, routes, 1, &why), STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "ADDRESS_IN_USE");
    close(listener);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_make, world_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_answers),
        IN_WORLD(test_an_answer_beyond_the_limit_is_refused),
        IN_WORLD(test_a_refused_connection_is_told),
        IN_WORLD(test_a_silent_peer_meets_the_deadline),
        IN_WORLD(test_broken_answers),
        IN_WORLD(test_other_schemes_are_refused),
        IN_WORLD(test_a_stream_comes_in_bounded_pieces),
        IN_WORLD(test_a_stream_ends_when_told),
        IN_WORLD(test_a_stream_that_falls_silent_is_over),
        IN_WORLD(test_an_error_is_no_part_of_the_stream),
        IN_WORLD(test_a_request_can_be_cancelled_once_or_late),
        cmocka_unit_test(test_open_requests_are_bounded_and_end_with_the_client),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_an_address_in_use_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
