/* What lib/rpc costs: the server's CPU for a unary echo through it, against a bare C-core server of the same
 * shape in the same run. Both servers are processes of their own on a unix socket, both get the same calls
 * from the same client; they take turns, and the median of the rounds counts. One line of JSON. */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/chance.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "rpc/server.h"
#include "wire/scan.h"

#define METHOD "/interlock.memory.v1.MemoryService/Echo"
#define IN_FLIGHT 64
#define SLOTS 64
#define TARGET 1.15
#define ROUNDS_MAX 16

typedef Interlock__Memory__V1__Memory message;

/* The work of the handler on both sides: a reply with every field of the request. */
static void echo(const message *request, message *response) {
    ProtobufCMessage base = response->base;
    *response = *request;
    response->base = base;
}

static void give_up(const char *what) {
    fprintf(stderr, "echo_bench: %s\n", what);
    exit(1);
}

/* ---- the bare server ---- */

typedef struct bare_call {
    bool replying;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *in;
    int cancelled;
} bare_call;

static struct {
    grpc_server *server;
    grpc_completion_queue *queue;
    void *method;
    arena memory;
} bare;

static void bare_post(bare_call *self) {
    self->replying = false;
    if (grpc_server_request_registered_call(bare.server, bare.method, &self->call, &self->deadline,
                                            &self->metadata, &self->in, bare.queue, bare.queue,
                                            self) != GRPC_CALL_OK)
        give_up("cannot post a call");
}

static grpc_byte_buffer *bare_handle(grpc_byte_buffer *in) {
    arena_reset(&bare.memory);
    ProtobufCAllocator allocator = wire_allocator(&bare.memory);
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, in);
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    message *request = interlock__memory__v1__memory__unpack(&allocator, GRPC_SLICE_LENGTH(whole),
                                                             GRPC_SLICE_START_PTR(whole));
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
    if (request == NULL)
        give_up("the bare server cannot unpack");
    message response = INTERLOCK__MEMORY__V1__MEMORY__INIT;
    echo(request, &response);
    grpc_slice slice = grpc_slice_malloc(interlock__memory__v1__memory__get_packed_size(&response));
    interlock__memory__v1__memory__pack(&response, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *out = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return out;
}

static void bare_reply(bare_call *self) {
    grpc_byte_buffer *out = bare_handle(self->in);
    grpc_op operations[4];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = out;
    operations[2].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    operations[3].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    operations[3].data.recv_close_on_server.cancelled = &self->cancelled;
    self->replying = true;
    if (grpc_call_start_batch(self->call, operations, 4, self, NULL) != GRPC_CALL_OK)
        give_up("the bare server cannot reply");
    grpc_byte_buffer_destroy(out);
    grpc_byte_buffer_destroy(self->in);
}

static void bare_serve(const char *target) {
    grpc_init();
    grpc_arg no_channelz = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_CHANNELZ};
    grpc_channel_args list = {.num_args = 1, .args = &no_channelz};
    bare.server = grpc_server_create(&list, NULL);
    bare.queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(bare.server, bare.queue, NULL);
    bare.method =
        grpc_server_register_method(bare.server, METHOD, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    if (grpc_server_add_http2_port(bare.server, target, credentials) == 0)
        give_up("the bare server cannot listen");
    grpc_server_start(bare.server);
    arena_init(&bare.memory, 65536, 1U << 20);
    bare_call *calls = calloc(SLOTS, sizeof *calls);
    for (size_t i = 0; calls != NULL && i < SLOTS; i++) {
        grpc_metadata_array_init(&calls[i].metadata);
        bare_post(&calls[i]);
    }
    for (;;) {
        grpc_event event = grpc_completion_queue_next(bare.queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        bare_call *self = event.tag;
        if (!self->replying) {
            bare_reply(self);
        } else {
            self->metadata.count = 0;
            grpc_call_unref(self->call);
            bare_post(self);
        }
    }
}

/* ---- ours ---- */

static status_code handle(void *service, rpc_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage *response, failure *why) {
    (void)service, (void)call, (void)why;
    echo((const message *)request, (message *)response);
    return STATUS_OK;
}

static void our_serve(const char *path) {
    static const rpc_method methods[] = {RPC_UNARY(METHOD, interlock__memory__v1__memory__descriptor,
                                                   interlock__memory__v1__memory__descriptor, ROLE_SERVICE,
                                                   handle)};
    rpc_server *server;
    failure why;
    rpc_server_options options = {
        .unix_path = path, .own_uid_roles = ROLE_SERVICE, .loops = 1, .slots = SLOTS};
    if (rpc_server_start(&server, &options, methods, 1, NULL, &why) != STATUS_OK)
        give_up(why.message);
    for (;;)
        pause();
}

/* ---- the client ---- */

typedef struct load_call {
    grpc_call *call;
    grpc_metadata_array headers, trailers;
    grpc_byte_buffer *reply;
    grpc_status_code status;
    grpc_slice text;
} load_call;

typedef struct load {
    grpc_completion_queue *queue;
    grpc_channel *channel;
    void *method;
    grpc_slice request;
    load_call calls[IN_FLIGHT];
} load;

static void load_start(load *self, load_call *call) {
    call->call =
        grpc_channel_create_registered_call(self->channel, NULL, GRPC_PROPAGATE_DEFAULTS, self->queue,
                                            self->method, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_byte_buffer *out = grpc_raw_byte_buffer_create(&self->request, 1);
    grpc_metadata role = {.key = grpc_slice_from_static_string("interlock-role"),
                          .value = grpc_slice_from_static_string("service")};
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
    operations[0].data.send_initial_metadata.count = 1;
    operations[0].data.send_initial_metadata.metadata = &role;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = out;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &call->headers;
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &call->reply;
    operations[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operations[5].data.recv_status_on_client.trailing_metadata = &call->trailers;
    operations[5].data.recv_status_on_client.status = &call->status;
    operations[5].data.recv_status_on_client.status_details = &call->text;
    if (grpc_call_start_batch(call->call, operations, 6, call, NULL) != GRPC_CALL_OK)
        give_up("the client cannot call");
    grpc_byte_buffer_destroy(out);
}

static void load_finish(load *self, load_call *call) {
    if (call->status != GRPC_STATUS_OK || call->reply == NULL ||
        grpc_byte_buffer_length(call->reply) != GRPC_SLICE_LENGTH(self->request))
        give_up("a call failed, or its echo is not what was sent");
    grpc_byte_buffer_destroy(call->reply);
    call->reply = NULL;
    call->headers.count = call->trailers.count = 0;
    grpc_slice_unref(call->text);
    grpc_call_unref(call->call);
}

/* Returns how many calls ended in that time; none is in flight afterwards. */
static uint64_t load_run(load *self, uint64_t duration_ms) {
    uint64_t end_ms = chance_boot_ms(chance_system()) + duration_ms, count = 0;
    size_t open = IN_FLIGHT;
    for (size_t i = 0; i < IN_FLIGHT; i++)
        load_start(self, &self->calls[i]);
    while (open > 0) {
        grpc_event event = grpc_completion_queue_next(self->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        load_finish(self, event.tag);
        count++;
        if (chance_boot_ms(chance_system()) < end_ms)
            load_start(self, event.tag);
        else
            open--;
    }
    return count;
}

static grpc_slice make_request(void) {
    static char *targets[] = {"service:prod/shop/cart", "datastore:prod/shop/redis"};
    message request = INTERLOCK__MEMORY__V1__MEMORY__INIT;
    request.action_id = "01HF8Z5Q0V7W2J4S9XK3YB6T1C";
    request.principal = "agent/deployer";
    request.verb = "config.set";
    request.targets = targets;
    request.n_targets = 2;
    request.outcome = "DENY";
    request.mode = "enforced";
    request.summary = "the predicted share of entry traffic is over the bound of this window";
    request.decided_at_ms = 1764000000123;
    request.predicted_share = 0.41;
    request.predicted_share_high = 0.63;
    request.state = INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_REVERTED;
    request.actual_share = 0.38;
    request.note = "reverted after the health probe of the cart failed twice";
    request.decision_index = 4711;
    request.outcome_index = 4742;
    grpc_slice slice = grpc_slice_malloc(interlock__memory__v1__memory__get_packed_size(&request));
    interlock__memory__v1__memory__pack(&request, GRPC_SLICE_START_PTR(slice));
    return slice;
}

static load *load_open(const char *path) {
    char target[160];
    snprintf(target, sizeof target, "unix:%s", path);
    load *self = calloc(1, sizeof *self);
    if (self == NULL)
        give_up("no memory");
    self->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    self->channel = grpc_channel_create(target, credentials, NULL);
    grpc_channel_credentials_release(credentials);
    self->method = grpc_channel_register_call(self->channel, METHOD, NULL, NULL);
    self->request = make_request();
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        grpc_metadata_array_init(&self->calls[i].headers);
        grpc_metadata_array_init(&self->calls[i].trailers);
    }
    return self;
}

/* ---- measuring ---- */

static uint64_t cpu_ns(pid_t process) {
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &used) != 0)
        give_up("cannot read the CPU time of a server");
    return (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
}

/* In µs a call. */
static double measure(load *client, pid_t server, uint64_t duration_ms) {
    uint64_t before = cpu_ns(server);
    uint64_t count = load_run(client, duration_ms);
    return (double)(cpu_ns(server) - before) / 1000.0 / (double)count;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, size_t count) {
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, count * sizeof *values);
    qsort(sorted, count, sizeof *sorted, by_value);
    return sorted[count / 2];
}

static pid_t spawn(void (*serve)(const char *), const char *where, const char *path) {
    pid_t process = fork();
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(where);
    }
    const struct timespec pause_10ms = {.tv_nsec = 10000000};
    for (int i = 0; i < 500 && access(path, F_OK) != 0; i++)
        nanosleep(&pause_10ms, NULL);
    if (process < 0 || access(path, F_OK) != 0)
        give_up("a server did not start");
    return process;
}

int main(int count, char **arguments) {
    bool quick = count > 1 && strcmp(arguments[1], "--quick") == 0;
    size_t rounds = quick ? 7 : 11;
    uint64_t round_ms = quick ? 450 : 1000;
    char folder[] = "/tmp/interlock-echo-XXXXXX";
    char bare_path[64], bare_target[80], our_path[64];
    if (mkdtemp(folder) == NULL)
        give_up("cannot make a folder in /tmp");
    snprintf(bare_path, sizeof bare_path, "%s/bare", folder);
    snprintf(bare_target, sizeof bare_target, "unix:%s", bare_path);
    snprintf(our_path, sizeof our_path, "%s/ours", folder);
    pid_t bare_server = spawn(bare_serve, bare_target, bare_path);
    pid_t our_server = spawn(our_serve, our_path, our_path);
    grpc_init();
    load *bare_load = load_open(bare_path), *our_load = load_open(our_path);
    load_run(bare_load, 300);
    load_run(our_load, 300);
    double bare_us[ROUNDS_MAX], our_us[ROUNDS_MAX], ratio[ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        bare_us[i] = measure(bare_load, bare_server, round_ms);
        our_us[i] = measure(our_load, our_server, round_ms);
        ratio[i] = our_us[i] / bare_us[i];
    }
    double value = median(ratio, rounds);
    printf("{\"name\":\"rpc.echo_cpu_ratio\",\"value\":%.3f,\"unit\":\"ratio\",\"target\":%.2f,\"ok\":%s,"
           "\"bare_us\":%.2f,\"ours_us\":%.2f}\n",
           value, TARGET, value <= TARGET ? "true" : "false", median(bare_us, rounds),
           median(our_us, rounds));
    kill(bare_server, SIGKILL);
    kill(our_server, SIGKILL);
    waitpid(bare_server, NULL, 0);
    waitpid(our_server, NULL, 0);
    unlink(bare_path);
    unlink(our_path);
    rmdir(folder);
    fflush(stdout);
    _exit(0); /* the client's channels need no orderly end */
}
