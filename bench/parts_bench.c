/* The parts of an Evaluate that cannot be avoided, each alone: one verify, one sign, one row in a group
 * commit, one message appended over a stream (both ends). Their sum, with an echo, is the floor that
 * evaluate.cpu_ratio is quoted against.
 *   parts_bench [--quick] [--folder DIR] [--action BYTES] [--record BYTES] [--permit BYTES]
 * DIR: where the row's database is made (default: the current folder). The sizes are of what is verified, of
 * what is signed, appended and stored, and of what is signed besides: without them each part is measured with
 * a message of its own, small size, and one sign stands for both. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/chance.h"
#include "client/audit_client.h"
#include "crypto/crypto.h"
#include "load.h"
#include "rpc/client.h"
#include "store/store.h"

#define GROUP 64
#define BATCH 16

#define MESSAGE_MOST 65536U

static double bench_seconds = 2.0;
/* 0: the part's own size */
static size_t action_bytes, record_bytes, permit_bytes;

static size_t size_or(size_t given, size_t own) {
    return given != 0 ? given : own;
}

static uint64_t self_cpu_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
}

static bool time_is_left(uint64_t start) {
    return (double)(now_ns() - start) < bench_seconds * 1e9 / 4;
}

static uint8_t signed_text[MESSAGE_MOST] = {7};

static void bench_sign(const secret_key *key, const char *name, size_t size) {
    uint8_t signature[CRYPTO_SIGNATURE_BYTES];
    uint64_t count = 0, start = now_ns(), cpu = self_cpu_ns();
    for (; time_is_left(start); count++) {
        signed_text[1] = (uint8_t)count;
        key_sign(key, bytes_of(signed_text, size), signature);
    }
    figure(name, (double)(self_cpu_ns() - cpu) / 1e3 / (double)count, "us");
}

static void bench_verify(const secret_key *key, size_t size) {
    uint8_t signature[CRYPTO_SIGNATURE_BYTES];
    key_sign(key, bytes_of(signed_text, size), signature);
    uint64_t count = 0, start = now_ns(), cpu = self_cpu_ns();
    for (; time_is_left(start); count++)
        if (!key_verify(secret_key_public(key), bytes_of(signed_text, size), signature))
            give_up("a signature did not verify");
    figure("parts.verify_us", (double)(self_cpu_ns() - cpu) / 1e3 / (double)count, "us");
}

static void bench_signatures(void) {
    failure why = {0};
    secret_key *key = NULL;
    if (secret_key_generate(chance_system(), KEY_AGENT, &key, &why) != STATUS_OK)
        give_up(why.message);
    bench_sign(key, "parts.sign_us", size_or(record_bytes, 400));
    if (permit_bytes != 0)
        bench_sign(key, "parts.sign_permit_us", permit_bytes);
    bench_verify(key, size_or(action_bytes, 400));
    secret_key_free(key);
}

static void bench_row(const char *folder) {
    failure why = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/row-%d.db", folder, (int)getpid());
    store database = {0};
    store_statement insert = {0};
    if (store_open(&database, path, 1, "CREATE TABLE row(id INTEGER PRIMARY KEY, body BLOB)", NULL,
                   STORE_DURABLE, &why) != STATUS_OK ||
        store_prepare(&database, &insert, "INSERT INTO row(id, body) VALUES(?1, ?2)", &why) != STATUS_OK)
        give_up(why.message);
    static const uint8_t body[MESSAGE_MOST] = {1};
    size_t body_size = size_or(record_bytes, 600);
    int64_t id = 0;
    uint64_t start = now_ns(), cpu = self_cpu_ns();
    while (time_is_left(start)) {
        if (store_begin(&database, &why) != STATUS_OK)
            give_up(why.message);
        for (int i = 0; i < GROUP; i++) {
            store_bind_int(&insert, 1, ++id);
            store_bind_blob(&insert, 2, bytes_of(body, body_size));
            if (store_run(&insert, &why) != STATUS_OK)
                give_up(why.message);
        }
        if (store_commit(&database, &why) != STATUS_OK)
            give_up(why.message);
    }
    figure("parts.row_us", (double)(self_cpu_ns() - cpu) / 1e3 / (double)id, "us");
    store_finalize(&insert);
    store_close(&database);
    unlink(path);
    for (const char *const *suffix = (const char *const[]){"-wal", "-shm", NULL}; *suffix != NULL; suffix++) {
        char extra[520];
        snprintf(extra, sizeof extra, "%s%s", path, *suffix);
        unlink(extra);
    }
}

/* ---- a streamed append: the client sends batches, the server answers each with a batch of results ---- */

static status_code stream_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                               failure *why) {
    (void)service, (void)stream, (void)request, (void)why;
    return STATUS_OK;
}

static status_code stream_message(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                  arena *memory, failure *why) {
    (void)service;
    const Interlock__Audit__V1__AppendStreamRequest *batch = (const void *)message;
    Interlock__Audit__V1__AppendStreamResponse reply = INTERLOCK__AUDIT__V1__APPEND_STREAM_RESPONSE__INIT;
    reply.n_results = batch->n_appends;
    reply.results = arena_alloc(memory, batch->n_appends * sizeof *reply.results);
    Interlock__Audit__V1__NumberedResult *results = arena_alloc(memory, batch->n_appends * sizeof *results);
    if (reply.results == NULL || results == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "the batch is too large");
    for (size_t i = 0; i < batch->n_appends; i++) {
        interlock__audit__v1__numbered_result__init(&results[i]);
        results[i].number = batch->appends[i]->number;
        reply.results[i] = &results[i];
    }
    return rpc_stream_send(stream, &reply.base);
}

static void stream_closed(void *service, rpc_stream *stream) {
    (void)service, (void)stream;
}

static const rpc_stream_handlers append_stream = {
    .open = stream_open, .message = stream_message, .closed = stream_closed};
static const rpc_method methods[] = {
    RPC_BIDI("/interlock.audit.v1.AuditService/AppendStream",
             interlock__audit__v1__append_stream_request__descriptor,
             interlock__audit__v1__append_stream_response__descriptor, ROLE_SERVICE, &append_stream),
};

static void serve(const char *path, int ready) {
    failure why = {0};
    rpc_server *server = NULL;
    const rpc_server_options options = {
        .unix_path = path, .trust_domain = "bench", .own_uid_roles = ROLE_SERVICE, .loops = 1};
    if (rpc_server_start(&server, &options, methods, 1, NULL, &why) != STATUS_OK)
        give_up(why.message);
    rpc_server_set_serving(server, true);
    if (write(ready, "r", 1) != 1)
        give_up("nobody waits for the server");
    for (;;)
        pause();
}

static volatile uint64_t answered;
static rpc_client_stream *open_stream;

static void on_results(void *context, const ProtobufCMessage *message) {
    const ProtobufCMessage *next = context;
    answered += ((const Interlock__Audit__V1__AppendStreamResponse *)(const void *)message)->n_results;
    if (rpc_client_stream_send(open_stream, next) != STATUS_OK)
        give_up("the stream took no more");
}

static void on_closed(void *context, status_code code, const failure *why) {
    (void)context, (void)code;
    fprintf(stderr, "bench: stream over: %s\n", why != NULL ? why->message : "");
}

static void bench_stream(const char *folder) {
    failure why = {0};
    char path[108], target[128];
    snprintf(path, sizeof path, "%.80s/parts-%d.sock", folder, (int)getpid());
    snprintf(target, sizeof target, "unix:%s", path);
    int ends[2];
    if (pipe(ends) != 0)
        give_up("no pipe");
    pid_t server = fork();
    if (server == 0)
        serve(path, ends[1]);
    char byte;
    if (read(ends[0], &byte, 1) != 1)
        give_up("the server did not start");

    static uint8_t payload[MESSAGE_MOST] = {3}, signature[64] = {4};
    Interlock__Common__V1__Signature one = INTERLOCK__COMMON__V1__SIGNATURE__INIT;
    one.sig = (ProtobufCBinaryData){.data = signature, .len = sizeof signature};
    one.keyid = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
    Interlock__Common__V1__Signature *signatures[] = {&one};
    Interlock__Common__V1__Envelope envelope = INTERLOCK__COMMON__V1__ENVELOPE__INIT;
    envelope.payload = (ProtobufCBinaryData){.data = payload, .len = size_or(record_bytes, 700)};
    envelope.payload_type = (char *)(uintptr_t) "application/vnd.interlock.decision.v1+protobuf";
    envelope.signatures = signatures;
    envelope.n_signatures = 1;
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    request.action_id = (char *)(uintptr_t) "01HF8Z5Q0V7W2J4S9XK3YB6T1C";
    request.verdict = (char *)(uintptr_t) "ALLOW";
    request.record = &envelope;
    Interlock__Audit__V1__NumberedAppend appends[BATCH], *pointers[BATCH];
    for (int i = 0; i < BATCH; i++) {
        interlock__audit__v1__numbered_append__init(&appends[i]);
        appends[i].number = (uint64_t)i;
        appends[i].append = &request;
        pointers[i] = &appends[i];
    }
    Interlock__Audit__V1__AppendStreamRequest batch = INTERLOCK__AUDIT__V1__APPEND_STREAM_REQUEST__INIT;
    batch.n_appends = BATCH;
    batch.appends = pointers;

    static const rpc_client_stream_handlers handlers = {.message = on_results, .closed = on_closed};
    rpc_loop *loop = NULL;
    rpc_channel *channel = NULL;
    const rpc_channel_options options = {.target = target, .role = ROLE_SERVICE};
    if (rpc_loop_start(&loop, &why) != STATUS_OK || rpc_channel_open(&channel, &options, &why) != STATUS_OK ||
        rpc_client_stream_open(loop, channel, methods[0].path, methods[0].response, &handlers, &batch,
                               &open_stream, &why) != STATUS_OK)
        give_up(why.message);
    for (int i = 0; i < 4; i++)
        if (rpc_client_stream_send(open_stream, &batch.base) != STATUS_OK)
            give_up("the stream took nothing");
    usleep(300000);
    uint64_t count = answered, cpu = self_cpu_ns() + process_cpu_ns(server);
    usleep((useconds_t)(bench_seconds * 1e6 / 2));
    count = answered - count;
    cpu = self_cpu_ns() + process_cpu_ns(server) - cpu;
    if (count == 0)
        give_up("the stream stood still");
    figure("parts.streamed_append_us", (double)cpu / 1e3 / (double)count, "us");
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    unlink(path);
    fflush(stdout);
    _exit(0); /* the stream is still open; there is nothing to wait for */
}

static size_t parse_size(const char *text) {
    unsigned long size = strtoul(text, NULL, 10);
    if (size < 2 || size > MESSAGE_MOST)
        give_up("a size is 2 to 65536 bytes");
    return size;
}

int main(int argc, char **argv) {
    const char *folder = ".";
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--quick") == 0)
            bench_seconds = 1.0;
        else if (strcmp(argv[i], "--folder") == 0 && more)
            folder = argv[++i];
        else if (strcmp(argv[i], "--action") == 0 && more)
            action_bytes = parse_size(argv[++i]);
        else if (strcmp(argv[i], "--record") == 0 && more)
            record_bytes = parse_size(argv[++i]);
        else if (strcmp(argv[i], "--permit") == 0 && more)
            permit_bytes = parse_size(argv[++i]);
        else
            give_up("usage: see the head of parts_bench.c");
    }
    crypto_init();
    bench_signatures();
    bench_row(folder);
    bench_stream(folder);
}
