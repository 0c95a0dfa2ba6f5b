/* The server as a whole: options, listening, the table, and the order in which it ends. */
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/chance.h"
#include "base/limits.h"
#include "pem.h"
#include "server_parts.h"

#define SLOTS_DEFAULT 64U
#define CALLS_DEFAULT 1024U
#define DRAIN_DEFAULT_MS 5000U
#define CANCEL_GRACE_MS 5000U /* for gRPC and for deferred calls after everything was cancelled */
#define STREAM_GRACE_MS 200U  /* at least this for streams to hear that the server ends */
#define STREAMS_PER_CONNECTION 1024
#define HEADER_BYTES_MAX 16384
#define MEMORY_BYTES_MAX (512U << 20) /* of all connections together */
#define HANDSHAKE_MS 10000
#define KEEPALIVE_MS 60000
#define KEEPALIVE_TIMEOUT_MS 20000

extern const uint8_t proto_descriptors[], proto_descriptors_end[];

/* ---- slots ---- */

void slots_fill(method_slots *self) {
    while (self->posted < self->target && self->home->refilling) {
        bool posted;
        if (self->method == NULL)
            posted = generic_post(self);
        else
            posted = self->method->row.shape == RPC_SHAPE_UNARY ? call_post(self) : stream_post(self);
        if (!posted)
            return;
        self->posted++;
    }
}

static unsigned slots_target(const rpc_server *server, const server_method *method) {
    if (method == NULL)
        return GENERIC_SLOTS;
    unsigned slots = server->options.slots;
    unsigned few = slots < STREAM_SLOTS ? slots : STREAM_SLOTS;
    return method->internal || method->row.shape != RPC_SHAPE_UNARY ? few : slots;
}

static status_code slots_make(rpc_server *server, server_loop *home, failure *why) {
    home->slots = calloc(server->method_count + 1, sizeof *home->slots);
    if (home->slots == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the slots of calls");
    home->refilling = true;
    for (size_t i = 0; i <= server->method_count; i++) {
        method_slots *slots = &home->slots[i];
        slots->method = i < server->method_count ? &server->methods[i] : NULL;
        slots->home = home;
        slots->target = slots_target(server, slots->method);
        slots_fill(slots);
        if (slots->posted < slots->target)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "cannot post the slots of calls");
    }
    return STATUS_OK;
}

/* ---- the table ---- */

static status_code method_check(const rpc_method *row, failure *why) {
    bool handled = row->shape == RPC_SHAPE_UNARY
                       ? row->unary != NULL
                       : row->stream != NULL && row->stream->open != NULL &&
                             (row->shape != RPC_SHAPE_BIDI || row->stream->message != NULL);
    if (row->path == NULL || row->path[0] != '/' || strchr(row->path + 1, '/') == NULL ||
        row->request == NULL || row->response == NULL || row->roles == 0 || !handled)
        return fail(why, STATUS_INVALID_ARGUMENT, "METHOD_ROW_INCOMPLETE",
                    "the row of %s lacks a path, a message type, a role or a handler",
                    row->path != NULL ? row->path : "a method");
    return STATUS_OK;
}

static status_code methods_add(rpc_server *self, const rpc_method *rows, size_t count, void *service,
                               bool internal, failure *why) {
    if (count > SERVER_METHODS_MAX - self->method_count)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_MANY_METHODS", "a server has at most %u methods",
                    SERVER_METHODS_MAX);
    for (size_t i = 0; i < count; i++) {
        status_code code = method_check(&rows[i], why);
        if (code != STATUS_OK)
            return code;
        server_method *method = &self->methods[self->method_count++];
        *method = (server_method){.row = rows[i],
                                  .service = service,
                                  .internal = internal,
                                  .request_limit = rows[i].request_limit != 0 ? rows[i].request_limit
                                                                              : LIMIT_MESSAGE_BYTES};
    }
    return STATUS_OK;
}

static status_code methods_register(rpc_server *self, failure *why) {
    for (size_t i = 0; i < self->method_count; i++) {
        server_method *method = &self->methods[i];
        method->registered = grpc_server_register_method(self->server, method->row.path, NULL,
                                                         method->row.shape == RPC_SHAPE_BIDI
                                                             ? GRPC_SRM_PAYLOAD_NONE
                                                             : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
                                                         0);
        if (method->registered == NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "METHOD_TWICE", "%s is in the table twice",
                        method->row.path);
    }
    return STATUS_OK;
}

/* ---- gRPC's own server ---- */

static int message_limit(const rpc_server *self) {
    size_t largest = LIMIT_MESSAGE_BYTES;
    for (size_t i = 0; i < self->method_count; i++)
        if (self->methods[i].request_limit > largest)
            largest = self->methods[i].request_limit;
    return (int)(largest < REPLY_BYTES_MAX ? largest : REPLY_BYTES_MAX);
}

/* Everything a connection may take is bounded before one of its calls is looked at. Compressed messages are
 * inflated by message_read, because this version of gRPC inflates without a bound. */
static grpc_server *server_create(const rpc_server *self) {
    const struct {
        const char *key;
        int value;
    } integers[] = {
        {GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_PER_CONNECTION},
        {GRPC_ARG_MAX_METADATA_SIZE, HEADER_BYTES_MAX},
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_limit(self)},
        {GRPC_ARG_ALLOW_REUSEPORT, 0},
        {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS},
        {GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS},
        {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS},
        {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, KEEPALIVE_TIMEOUT_MS},
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
        {GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0},
        {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
         1 << GRPC_COMPRESS_NONE | 1 << GRPC_COMPRESS_GZIP | 1 << GRPC_COMPRESS_DEFLATE},
    };
    enum { COUNT = sizeof integers / sizeof *integers };
    grpc_arg items[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        items[i].type = GRPC_ARG_INTEGER;
        items[i].key = (char *)(uintptr_t)integers[i].key;
        items[i].value.integer = integers[i].value;
    }
    grpc_resource_quota *quota = grpc_resource_quota_create("interlock");
    grpc_resource_quota_resize(quota, MEMORY_BYTES_MAX);
    items[COUNT].type = GRPC_ARG_POINTER;
    items[COUNT].key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA;
    items[COUNT].value.pointer.p = quota;
    items[COUNT].value.pointer.vtable = grpc_resource_quota_arg_vtable();
    grpc_channel_args list = {.num_args = COUNT + 1, .args = items};
    grpc_server *server = grpc_server_create(&list, NULL);
    grpc_resource_quota_unref(quota);
    return server;
}

static status_code listen_tcp(rpc_server *self, failure *why) {
    const rpc_server_options *options = &self->options;
    pem_set pem;
    status_code code = pem_read(&pem, options->tls_certificate_path, options->tls_key_path,
                                options->tls_authority_path, why);
    if (code != STATUS_OK)
        return code;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key.data, .cert_chain = pem.certificate.data};
    grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_ex(
        pem.authority.data, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
    int port =
        credentials == NULL ? 0 : grpc_server_add_http2_port(self->server, options->tcp_address, credentials);
    if (credentials != NULL)
        grpc_server_credentials_release(credentials);
    pem_free(&pem);
    if (port <= 0)
        return fail(
            why, STATUS_UNAVAILABLE, "CANNOT_LISTEN",
            "cannot listen on %s with the certificate %s: the address is taken or wrong, or the files do not "
            "belong together",
            options->tcp_address, options->tls_certificate_path);
    self->port = (uint16_t)port;
    return STATUS_OK;
}

static status_code loops_make(rpc_server *self, failure *why) {
    self->loops = calloc(self->loop_count, sizeof *self->loops);
    if (self->loops == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for event loops");
    status_code code = STATUS_OK;
    while (code == STATUS_OK && self->loops_open < self->loop_count) {
        server_loop *home = &self->loops[self->loops_open];
        home->server = self;
        code = loop_open(&home->loop, self->loops_open++, why);
        if (home->loop.queue != NULL)
            grpc_server_register_completion_queue(self->server, home->loop.queue, NULL);
    }
    return code;
}

static unsigned loops_wanted(unsigned asked) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = asked != 0 ? asked : (unsigned)(cores > 0 ? cores : 1);
    return count < SERVER_LOOPS_MAX ? count : SERVER_LOOPS_MAX;
}

static void options_complete(rpc_server *self) {
    rpc_server_options *options = &self->options;
    if (options->slots == 0)
        options->slots = SLOTS_DEFAULT;
    if (options->calls_limit == 0)
        options->calls_limit = CALLS_DEFAULT;
    if (options->drain_ms == 0)
        options->drain_ms = DRAIN_DEFAULT_MS;
    self->loop_count = loops_wanted(options->loops);
}

static void server_gone(rpc_event *event, bool ok) {
    (void)ok;
    atomic_store(&OWNER_OF(event, rpc_server, ended)->gone, true);
}

static status_code server_prepare(rpc_server *self, const rpc_method *rows, size_t count, void *service,
                                  failure *why) {
    options_complete(self);
    bytes set = bytes_of(proto_descriptors, (uintptr_t)proto_descriptors_end - (uintptr_t)proto_descriptors);
    status_code code = peer_book_fill(&self->book, &self->options, why);
    if (code == STATUS_OK)
        code = descriptor_index_make(&self->descriptors, set, why);
    if (code == STATUS_OK)
        code = methods_add(self, rows, count, service, false, why);
    if (code == STATUS_OK)
        code = methods_add(self, health_methods, HEALTH_METHODS, self, true, why);
    if (code == STATUS_OK)
        code = methods_add(self, reflection_methods, REFLECTION_METHODS, self, true, why);
    return code;
}

static status_code server_listen(rpc_server *self, failure *why) {
    self->server = server_create(self);
    status_code code = loops_make(self, why);
    if (code == STATUS_OK)
        code = methods_register(self, why);
    if (code == STATUS_OK && self->options.tcp_address != NULL)
        code = listen_tcp(self, why);
    if (code == STATUS_OK && self->options.unix_path != NULL)
        code = listener_open(&self->listener, self->options.unix_path, why);
    return code;
}

static status_code server_run(rpc_server *self, failure *why) {
    grpc_server_start(self->server);
    self->started = true;
    status_code code = STATUS_OK;
    for (unsigned i = 0; i < self->loop_count && code == STATUS_OK; i++)
        code = slots_make(self, &self->loops[i], why);
    for (unsigned i = 0; i < self->loop_count && code == STATUS_OK; i++)
        code = loop_run(&self->loops[i].loop, why);
    if (code == STATUS_OK && self->listener != NULL)
        code = listener_run(self->listener, self->server, &self->book, why);
    return code;
}

static void end_streams(rpc_mail *mail) {
    server_loop *home = OWNER_OF(mail, server_loop, end_streams);
    home->refilling = false;
    stream_end_all(home);
}

status_code rpc_server_start(rpc_server **out, const rpc_server_options *options, const rpc_method *methods,
                             size_t count, void *service, failure *why) {
    rpc_server *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a server");
    library_enter();
    self->options = *options;
    self->ended.run = server_gone;
    status_code code = server_prepare(self, methods, count, service, why);
    if (code == STATUS_OK)
        code = server_listen(self, why);
    for (unsigned i = 0; i < self->loops_open; i++)
        self->loops[i].end_streams.run = end_streams;
    if (code == STATUS_OK)
        code = server_run(self, why);
    if (code != STATUS_OK) {
        rpc_server_free(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

/* ---- the state that others see ---- */

static void publish_task(void *context) {
    health_publish(context);
}

void rpc_server_set_serving(rpc_server *self, bool serving) {
    atomic_store(&self->serving, serving);
    for (unsigned i = 0; i < self->loops_open; i++)
        if (rpc_loop_post(&self->loops[i].loop, publish_task, &self->loops[i]) != STATUS_OK)
            continue; /* a loop this full, or closed: its watchers learn it with the next change */
}

uint16_t rpc_server_port(const rpc_server *self) {
    return self->port;
}
unsigned rpc_server_loops(const rpc_server *self) {
    return self->loop_count;
}
rpc_loop *rpc_server_loop(rpc_server *self, unsigned index) {
    return &self->loops[index].loop;
}

static void write_method(const rpc_server *self, buffer *out, meter_family family, size_t index) {
    meter sum = {0};
    for (unsigned i = 0; i < self->loop_count; i++)
        meter_sum(&sum, &self->loops[i].slots[index].meter);
    meter_write(out, family, index < self->method_count ? self->methods[index].row.path + 1 : "unknown",
                &sum);
}

void rpc_server_write_metrics(const rpc_server *self, buffer *out) {
    for (unsigned family = 0; family < METER_FAMILIES; family++) {
        meter_write_head(out, (meter_family)family);
        for (size_t i = 0; i <= self->method_count; i++)
            write_method(self, out, (meter_family)family, i);
    }
}

/* ---- the end ---- */

static bool no_calls(const rpc_server *self) {
    for (unsigned i = 0; i < self->loops_open; i++)
        if (atomic_load(&self->loops[i].calls) != 0)
            return false;
    return true;
}
static bool no_streams(const rpc_server *self) {
    for (unsigned i = 0; i < self->loops_open; i++)
        if (atomic_load(&self->loops[i].streams_open) != 0)
            return false;
    return true;
}
static bool is_gone(const rpc_server *self) {
    return atomic_load(&self->gone);
}
static bool none_deferred(const rpc_server *self) {
    return atomic_load_explicit(&self->deferred, memory_order_acquire) == 0;
}

/* Looks every millisecond: this happens once in the life of a process. */
static bool wait_until(const rpc_server *self, bool (*done)(const rpc_server *self), uint64_t end_ms) {
    const struct timespec pause = {.tv_nsec = 1000000};
    while (!done(self)) {
        if (chance_boot_ms(chance_system()) >= end_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static void drain(rpc_server *self) {
    uint64_t start_ms = chance_boot_ms(chance_system());
    uint64_t end_ms = start_ms + self->options.drain_ms;
    grpc_server_shutdown_and_notify(self->server, self->loops[0].loop.queue, &self->ended);
    wait_until(self, no_calls, end_ms);
    /* Streams have no end of their own to wait for; they are told as soon as no unary call can still use
     * them. */
    for (unsigned i = 0; i < self->loops_open; i++)
        loop_send(&self->loops[i].loop, &self->loops[i].end_streams);
    uint64_t least_ms = chance_boot_ms(chance_system()) + STREAM_GRACE_MS;
    wait_until(self, no_streams, end_ms > least_ms ? end_ms : least_ms);
    grpc_server_cancel_all_calls(self->server);
    uint64_t last_ms = chance_boot_ms(chance_system()) + CANCEL_GRACE_MS;
    bool gone = wait_until(self, is_gone, last_ms);
    /* A call that nobody completes keeps its memory for ever: better than memory that is used after its end.
     */
    self->abandoned = !wait_until(self, none_deferred, last_ms) || !gone;
}

void rpc_server_stop(rpc_server *self) {
    if (self->stopped)
        return;
    self->stopped = true;
    bool running = self->loops_open > 0 && self->loops[0].loop.running;
    if (running)
        rpc_server_set_serving(self, false);
    listener_close(self->listener);
    self->listener = NULL;
    if (running)
        drain(self);
    else if (self->server != NULL && self->loops_open > 0 && self->loops[0].loop.queue != NULL)
        grpc_server_shutdown_and_notify(self->server, self->loops[0].loop.queue, &self->ended);
    /* Queues that gRPC still uses would never end. */
    for (unsigned i = 0; i < self->loops_open && (!running || is_gone(self)); i++)
        loop_close(&self->loops[i].loop);
}

static void server_loop_free(server_loop *self) {
    while (self->idle_calls != NULL)
        self->idle_calls = call_pop(self->idle_calls);
    free(self->slots);
    peer_cache_clear(&self->peers);
    loop_free(&self->loop);
}

void rpc_server_free(rpc_server *self) {
    if (self == NULL)
        return;
    rpc_server_stop(self);
    if (self->abandoned)
        return;
    if (self->server != NULL)
        grpc_server_destroy(self->server);
    for (unsigned i = 0; i < self->loops_open; i++)
        server_loop_free(&self->loops[i]);
    free(self->loops);
    descriptor_index_free(self->descriptors);
    free(self);
    library_leave();
}
