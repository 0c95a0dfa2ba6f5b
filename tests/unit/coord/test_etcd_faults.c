/* What etcd and the network between do wrong: refused, silent, stopped, restarted, requests and answers lost.
 * Against a real etcd, the losses through a proxy that drops on purpose. */
#include "base/arena.h"
#include "coord/coord.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "http/client.h"
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backends.inc.c"

#include <pthread.h>
#include <stdatomic.h>

#define TIMEOUT_MS 10000U
#define PATIENCE_MS 20000U

static backend server;

/* ---- Short forms ----------------------------------------------------------------------------- */

static coord *open_endpoints(const char *endpoints, unsigned prefix_number) {
    coord *opened = NULL;
    failure why = {0};
    char prefix[32];
    snprintf(prefix, sizeof prefix, "faults/%u/", prefix_number);
    coord_options options = {.endpoints = endpoints, .prefix = prefix};
    assert_int_equal(coord_open(&opened, &options, &why), STATUS_OK);
    return opened;
}

static status_code put(coord *handle, const char *key, const char *value, uint32_t timeout_ms, failure *why) {
    bool succeeded = false;
    coord_op op = {.kind = COORD_PUT, .key = key, .value = bytes_of_text(value)};
    status_code status = coord_txn_wait(handle, NULL, 0, &op, 1, timeout_ms, &succeeded, NULL, why);
    if (status == STATUS_OK)
        assert_true(succeeded);
    return status;
}

/* The key's version; 0 when it is not there. */
static int64_t version_of(coord *handle, const char *key) {
    arena memory;
    coord_result result;
    failure why = {0};
    arena_init(&memory, 1024, 1U << 20);
    if (coord_get_wait(handle, key, false, TIMEOUT_MS, &memory, &result, &why) != STATUS_OK)
        fail_msg("%s: %s", why.reason, why.message);
    int64_t version = result.count == 0 ? 0 : result.kvs[0].version;
    arena_free(&memory);
    return version;
}

static int listen_anywhere(uint16_t *port) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&where, size), 0);
    assert_int_equal(listen(listener, 64), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&where, &size), 0);
    *port = ntohs(where.sin_port);
    return listener;
}

/* ---- A proxy that loses things --------------------------------------------------------------- */

typedef enum loss { LOSS_NONE, LOSS_REQUEST, LOSS_ANSWER } loss;

typedef struct proxy {
    int listener;
    uint16_t port, upstream;
    pthread_t thread;
    atomic_bool stopping;
    /* For transactions, asked in turn; on the proxy's thread. */
    loss (*choose)(void *context);
    void *context;
    char url[64];
} proxy;

static bool read_request(int connection, buffer *request) {
    char data[65536];
    for (;;) {
        const char *body = request->size == 0 ? NULL : strstr(request->data, "\r\n\r\n");
        const char *length = body == NULL ? NULL : strcasestr(request->data, "content-length:");
        size_t size = length == NULL ? 0 : (size_t)strtoul(length + 15, NULL, 10);
        if (body != NULL && request->size >= (size_t)(body - request->data) + 4 + size)
            return true;
        ssize_t got = recv(connection, data, sizeof data, 0);
        if (got <= 0)
            return false;
        buffer_append(request, data, (size_t)got);
    }
}

/* Asks etcd for one answer and then the end of the connection, so that the answer ends with it. */
static int send_upstream(const proxy *self, const buffer *request) {
    struct sockaddr_in where = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(self->upstream)};
    int upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(upstream, (struct sockaddr *)&where, sizeof where) != 0) {
        close(upstream);
        return -1;
    }
    const char *end = strstr(request->data, "\r\n");
    size_t head = (size_t)(end - request->data) + 2;
    static const char closing[] = "Connection: close\r\n";
    send(upstream, request->data, head, MSG_NOSIGNAL);
    send(upstream, closing, sizeof closing - 1, MSG_NOSIGNAL);
    send(upstream, request->data + head, request->size - head, MSG_NOSIGNAL);
    return upstream;
}

static void relay(int from, int to) {
    char data[65536];
    for (ssize_t got; (got = recv(from, data, sizeof data, 0)) > 0;)
        if (to >= 0)
            send(to, data, (size_t)got, MSG_NOSIGNAL);
}

static void serve_one(proxy *self, int connection) {
    buffer request;
    buffer_init(&request, 16U << 20);
    if (read_request(connection, &request)) {
        bool txn = strncmp(request.data, "POST /v3/kv/txn ", 16) == 0;
        loss what = txn ? self->choose(self->context) : LOSS_NONE;
        int upstream = what == LOSS_REQUEST ? -1 : send_upstream(self, &request);
        if (upstream >= 0) {
            relay(upstream, what == LOSS_ANSWER ? -1 : connection);
            close(upstream);
        }
    }
    buffer_free(&request);
}

static void *proxy_run(void *context) {
    proxy *self = context;
    while (!atomic_load(&self->stopping)) {
        int connection = accept(self->listener, NULL, NULL);
        if (connection < 0)
            continue;
        serve_one(self, connection);
        close(connection);
    }
    return NULL;
}

static void proxy_start(proxy *self, loss (*choose)(void *context), void *context) {
    *self = (proxy){.choose = choose, .context = context};
    self->upstream = (uint16_t)strtoul(strrchr(server.endpoints, ':') + 1, NULL, 10);
    self->listener = listen_anywhere(&self->port);
    snprintf(self->url, sizeof self->url, "http://127.0.0.1:%u", self->port);
    assert_int_equal(pthread_create(&self->thread, NULL, proxy_run, self), 0);
}

static void proxy_stop(proxy *self) {
    atomic_store(&self->stopping, true);
    shutdown(self->listener, SHUT_RDWR); /* ends accept */
    pthread_join(self->thread, NULL);
    close(self->listener);
}

/* ---- Answers lost ---------------------------------------------------------------------------- */

typedef struct script {
    const loss *losses;
    size_t count, at;
} script;

static loss follow_script(void *context) {
    script *self = context;
    return self->at < self->count ? self->losses[self->at++] : LOSS_NONE;
}

static void test_a_lost_answer_is_found_out(void **state) {
    static const loss cases[][4] = {
        {LOSS_ANSWER},
        {LOSS_REQUEST},
        {LOSS_REQUEST, LOSS_ANSWER},
        {LOSS_ANSWER, LOSS_REQUEST, LOSS_ANSWER, LOSS_ANSWER},
    };
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        script plan = {.losses = cases[i], .count = 4};
        proxy lossy;
        failure why = {0};
        proxy_start(&lossy, follow_script, &plan);
        coord *handle = open_endpoints(lossy.url, 100 + i);
        if (put(handle, "k", "x", TIMEOUT_MS, &why) != STATUS_OK)
            fail_msg("%s: %s", why.reason, why.message);
        assert_int_equal(version_of(handle, "k"), 1); /* sent often, happened once */
        coord_close(handle);
        proxy_stop(&lossy);
    }
}

/* The first attempt makes the key, its answer is lost, and the repetition's compare no longer holds: yet it
 * succeeded. */
static void test_a_lost_answer_does_not_turn_into_a_conflict(void **state) {
    static const loss losses[] = {LOSS_ANSWER};
    (void)state;
    script plan = {.losses = losses, .count = 1};
    proxy lossy;
    failure why = {0};
    bool succeeded = false;
    int64_t revision = 0;
    proxy_start(&lossy, follow_script, &plan);
    coord *handle = open_endpoints(lossy.url, 110);
    coord_compare absent = {.key = "lock", .target = COORD_VERSION, .number = 0};
    coord_op op = {.kind = COORD_PUT, .key = "lock", .value = bytes_of_text("mine")};
    assert_int_equal(coord_txn_wait(handle, &absent, 1, &op, 1, TIMEOUT_MS, &succeeded, &revision, &why),
                     STATUS_OK);
    assert_true(succeeded);
    assert_true(revision > 0);
    coord_close(handle);
    proxy_stop(&lossy);
}

static loss lose_all_answers(void *context) {
    (void)context;
    return LOSS_ANSWER;
}

static void test_when_nothing_can_be_found_out_it_says_unknown(void **state) {
    (void)state;
    proxy lossy;
    failure why = {0};
    proxy_start(&lossy, lose_all_answers, NULL);
    coord *handle = open_endpoints(lossy.url, 111);
    assert_int_equal(put(handle, "k", "x", 600, &why), STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "UNKNOWN_RESULT");
    assert_int_equal(version_of(handle, "k"), 1);
    coord_close(handle);
    proxy_stop(&lossy);
}

/* Requests are lost until a fence gets through: then it is certain that nothing happened. */
static loss lose_puts(void *context) {
    size_t *asked = context;
    return (*asked)++ == 0 ? LOSS_REQUEST : LOSS_NONE;
}

static void test_a_lost_request_whose_compare_fails_is_told_so(void **state) {
    (void)state;
    size_t asked = 0;
    proxy lossy;
    failure why = {0};
    bool succeeded = true;
    proxy_start(&lossy, lose_puts, &asked);
    coord *handle = open_endpoints(lossy.url, 112);
    coord_compare never = {.key = "k", .target = COORD_VERSION, .number = 7};
    coord_op op = {.kind = COORD_PUT, .key = "k", .value = bytes_of_text("x")};
    assert_int_equal(coord_txn_wait(handle, &never, 1, &op, 1, TIMEOUT_MS, &succeeded, NULL, &why),
                     STATUS_OK);
    assert_false(succeeded);
    assert_int_equal(asked, 3); /* lost, compared, fenced */
    assert_int_equal(version_of(handle, "k"), 0);
    coord_close(handle);
    proxy_stop(&lossy);
}

static loss lose_at_random(void *context) {
    uint64_t draw = 0;
    chance_random(context, (uint8_t *)&draw, sizeof draw);
    return draw % 10 < 2 ? LOSS_REQUEST : draw % 10 < 5 ? LOSS_ANSWER : LOSS_NONE;
}

/* Half of all transactions are lost one way or the other; what is counted is what was acknowledged. */
static void test_increments_over_a_bad_network_are_exact(void **state) {
    enum { INCREMENTS = 60 };
    (void)state;
    uint64_t seed = 0;
    simulated_chance random;
    proxy lossy;
    chance_random(chance_system(), (uint8_t *)&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    simulated_chance_init(&random, seed);
    proxy_start(&lossy, lose_at_random, &random.chance);
    coord *handle = open_endpoints(lossy.url, 113);
    for (int64_t i = 0; i < INCREMENTS; i++) {
        bool succeeded = false;
        failure why = {0};
        coord_compare expected = {.key = "n", .target = COORD_VERSION, .number = i};
        coord_op op = {.kind = COORD_PUT, .key = "n", .value = bytes_of_text("x")};
        if (coord_txn_wait(handle, &expected, 1, &op, 1, TIMEOUT_MS, &succeeded, NULL, &why) != STATUS_OK)
            fail_msg("%s: %s", why.reason, why.message);
        assert_true(succeeded);
    }
    assert_int_equal(version_of(handle, "n"), INCREMENTS);
    coord_close(handle);
    proxy_stop(&lossy);
}

/* ---- Refused and silent endpoints ------------------------------------------------------------ */

static void test_nobody_there_is_told_at_once(void **state) {
    (void)state;
    uint16_t port = 0;
    char url[64];
    failure why = {0};
    arena memory;
    coord_result result;
    close(listen_anywhere(&port));
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    coord *handle = open_endpoints(url, 120);
    arena_init(&memory, 1024, 65536);
    assert_int_equal(coord_get_wait(handle, "k", false, 60000, &memory, &result, &why), STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "COORD_UNREACHABLE");
    assert_int_equal(put(handle, "k", "x", 60000, &why), STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "COORD_UNREACHABLE");
    arena_free(&memory);
    coord_close(handle);
}

static void test_other_endpoints_are_tried(void **state) {
    (void)state;
    uint16_t refused = 0, silent = 0;
    char endpoints[256];
    failure why = {0};
    close(listen_anywhere(&refused));
    int listener = listen_anywhere(&silent); /* takes connections and says nothing */
    snprintf(endpoints, sizeof endpoints, "http://127.0.0.1:%u,http://127.0.0.1:%u/,%s", refused, silent,
             server.endpoints);
    coord *handle = open_endpoints(endpoints, 121);
    assert_int_equal(put(handle, "k", "x", 4000, &why), STATUS_OK);
    assert_int_equal(version_of(handle, "k"), 1);
    coord_close(handle);
    close(listener);
}

static void test_endpoints_are_checked(void **state) {
    static const char *const wrong[] = {"",        "127.0.0.1:2379",    "http://", "http://a,,http://b",
                                        "ftp://a", "http://a,http://b,"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        coord *handle = NULL;
        failure why = {0};
        coord_options options = {.endpoints = wrong[i], .prefix = "x/"};
        assert_int_equal(coord_open(&handle, &options, &why), STATUS_INVALID_ARGUMENT);
        assert_null(handle);
    }
}

/* ---- A stopped and a restarted etcd ---------------------------------------------------------- */

static void test_a_stopped_etcd_meets_the_deadline(void **state) {
    (void)state;
    failure why = {0};
    arena memory;
    coord_result result;
    coord *handle = open_endpoints(server.endpoints, 130);
    arena_init(&memory, 1024, 65536);
    assert_int_equal(put(handle, "before", "x", TIMEOUT_MS, &why), STATUS_OK);
    kill(server.pid, SIGSTOP);
    status_code read = coord_get_wait(handle, "before", false, 300, &memory, &result, &why);
    status_code written = put(handle, "k", "x", 600, &why);
    kill(server.pid, SIGCONT);
    assert_int_equal(read, STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(written, STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "UNKNOWN_RESULT");
    /* What waited in its sockets may be done now: once, or not at all. */
    assert_true(version_of(handle, "k") <= 1);
    assert_int_equal(version_of(handle, "before"), 1);
    arena_free(&memory);
    coord_close(handle);
}

static void *wake_later(void *context) {
    usleep(700000);
    kill(*(const int *)context, SIGCONT);
    return NULL;
}

static void test_a_transaction_outlives_a_short_stop(void **state) {
    (void)state;
    failure why = {0};
    pthread_t waker;
    coord *handle = open_endpoints(server.endpoints, 131);
    assert_int_equal(put(handle, "before", "x", TIMEOUT_MS, &why), STATUS_OK);
    kill(server.pid, SIGSTOP);
    assert_int_equal(pthread_create(&waker, NULL, wake_later, &server.pid), 0);
    /* The first attempt times out while etcd stands still, and both wait in its sockets when it goes on. */
    status_code written = put(handle, "k", "x", 1200, &why);
    pthread_join(waker, NULL);
    if (written == STATUS_OK)
        assert_int_equal(version_of(handle, "k"), 1);
    else if (written == STATUS_DEADLINE_EXCEEDED)
        assert_int_equal(version_of(handle, "k"), 0);
    else
        assert_string_equal(why.reason, "UNKNOWN_RESULT");
    coord_close(handle);
}

typedef struct watcher {
    pthread_mutex_t lock;
    char last[64];
    size_t count;
    int64_t revision;
    bool disorder;
} watcher;

static void on_events(void *context, const coord_event *events, size_t count, int64_t revision,
                      bool compacted) {
    watcher *self = context;
    (void)compacted;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < count; i++) {
        self->disorder = self->disorder || events[i].kv.mod_revision <= self->revision;
        self->revision = events[i].kv.mod_revision;
        snprintf(self->last, sizeof self->last, "%.*s", (int)events[i].kv.value.size,
                 (const char *)events[i].kv.value.data);
    }
    self->count += count;
    self->disorder = self->disorder || revision < self->revision;
    pthread_mutex_unlock(&self->lock);
}

static void await_count(watcher *self, size_t wanted) {
    uint64_t end = chance_boot_ms(chance_system()) + PATIENCE_MS;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        bool there = self->count >= wanted;
        pthread_mutex_unlock(&self->lock);
        if (there)
            return;
        if (chance_boot_ms(chance_system()) > end)
            fail_msg("event %zu did not come within %u ms", wanted, PATIENCE_MS);
        usleep(5000);
    }
}

static void put_surely(coord *handle, const char *value) {
    failure why = {0};
    for (int i = 0; i < 200; i++) {
        if (put(handle, "k", value, 2000, &why) == STATUS_OK)
            return;
        usleep(50000);
    }
    fail_msg("%s: %s", why.reason, why.message);
}

static void restart_server(void) {
    kill(server.pid, SIGKILL);
    waitpid(server.pid, NULL, 0);
    uint16_t peer_port = free_port();
    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0)
        exec_etcd(&server, peer_port);
    assert_true(wait_until_ready(&server));
}

static void test_a_watch_goes_on_after_a_stop_and_a_restart(void **state) {
    (void)state;
    static watcher seen;
    coord_watch *watch = NULL;
    failure why = {0};
    pthread_mutex_init(&seen.lock, NULL);
    coord *handle = open_endpoints(server.endpoints, 132);
    assert_int_equal(coord_watch_start(handle, "", 1, on_events, &seen, &watch, &why), STATUS_OK);
    put_surely(handle, "1");
    await_count(&seen, 1);
    kill(server.pid, SIGSTOP);
    usleep(4500000); /* longer than a probe and its time-out: the stream is given up */
    kill(server.pid, SIGCONT);
    put_surely(handle, "2");
    await_count(&seen, 2);
    restart_server();
    put_surely(handle, "3");
    await_count(&seen, 3);
    coord_watch_stop(handle, watch);
    assert_string_equal(seen.last, "3");
    assert_false(seen.disorder);
    coord_close(handle);
}

/* ---- The program ----------------------------------------------------------------------------- */

static int start_server(void **state) {
    (void)state;
    backend_start_etcd(&server);
    return 0;
}

static int stop_server(void **state) {
    (void)state;
    backend_stop(&server);
    return 0;
}

static void run_with_etcd(void **state) {
    void (*const *test)(void **) = *state;
    if (server.absent)
        skip();
    (*test)(NULL);
}

#define WITH_ETCD(function)                                                                                  \
    {                                                                                                        \
        .name = #function, .test_func = run_with_etcd,                                                       \
        .initial_state = (void *)(uintptr_t) & (void (*const)(void **)) {                                    \
            function                                                                                         \
        }                                                                                                    \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_ETCD(test_a_lost_answer_is_found_out),
        WITH_ETCD(test_a_lost_answer_does_not_turn_into_a_conflict),
        WITH_ETCD(test_when_nothing_can_be_found_out_it_says_unknown),
        WITH_ETCD(test_a_lost_request_whose_compare_fails_is_told_so),
        WITH_ETCD(test_increments_over_a_bad_network_are_exact),
        cmocka_unit_test(test_nobody_there_is_told_at_once),
        WITH_ETCD(test_other_endpoints_are_tried),
        cmocka_unit_test(test_endpoints_are_checked),
        WITH_ETCD(test_a_stopped_etcd_meets_the_deadline),
        WITH_ETCD(test_a_transaction_outlives_a_short_stop),
        WITH_ETCD(test_a_watch_goes_on_after_a_stop_and_a_restart),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
