/* Load on Evaluate: signs actions beforehand, keeps a number of calls in flight over a unix socket, and
 * measures the CPU that the named processes use meanwhile, and the latency as the caller sees it.
 *   evaluate_bench --socket PATH --key FILE --installation NAME --principal agent/NAME --target NODE --verb
 * VERB
 *                  --pids P,P,… [--in-flight N] [--seconds S] [--prefix TEXT]
 * One JSON object on standard output: {"count", "errors", "seconds", "cpu_us", "cpu_us_by_process": […],
 * "p50_us", "p99_us"}. */
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/chance.h"
#include "crypto/crypto.h"
#include "crypto/dsse.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "load.h"
#include "rpc/client.h"

#define PIDS_MAX 16
#define CALLS_MAX 400000U
#define IN_FLIGHT_MAX 512

typedef struct bench_options {
    const char *socket, *key, *installation, *principal, *target, *verb, *prefix;
    pid_t pids[PIDS_MAX];
    size_t pid_count;
    unsigned in_flight;
    double seconds;
} bench_options;

typedef struct signed_action {
    bytes packed; /* an EvaluateRequest */
    uint64_t started;
} signed_action;

static bench_options options = {.in_flight = 64, .seconds = 3, .prefix = "bench"};
static rpc_loop *loop;
static rpc_channel *channel;
static arena prepared;
static Interlock__Policy__V1__EvaluateRequest **requests;
static uint64_t *started;
static uint32_t *latencies_us;
static unsigned total, next_call, done_calls, errors, in_flight;
static volatile bool running = true;
static char first_error[256];

static Interlock__Policy__V1__EvaluateRequest *sign_action(const secret_key *key, unsigned number) {
    Interlock__Policy__V1__Action action = INTERLOCK__POLICY__V1__ACTION__INIT;
    action.header = statement_header_new(PAYLOAD_ACTION, options.installation, options.principal, 600000,
                                         chance_system(), &prepared);
    action.action_id = arena_format(&prepared, "%s-%d-%u", options.prefix, (int)getpid(), number);
    action.actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT;
    action.intent = (char *)(uintptr_t) "measure what a decision costs";
    action.verb = (char *)(uintptr_t)options.verb;
    char *targets[] = {(char *)(uintptr_t)options.target};
    action.targets = targets;
    action.n_targets = 1;
    Interlock__Policy__V1__EvaluateRequest *request = arena_alloc(&prepared, sizeof *request);
    if (request == NULL || action.header == NULL || action.action_id == NULL)
        give_up("out of memory");
    interlock__policy__v1__evaluate_request__init(request);
    request->action = dsse_sign_message(key, PAYLOAD_ACTION, &action.base, &prepared);
    if (request->action == NULL)
        give_up("an action could not be signed");
    return request;
}

static void start_one(void);

static void on_answer(void *context, status_code code, const ProtobufCMessage *response, const failure *why) {
    size_t number = (size_t)(uintptr_t)context;
    const Interlock__Policy__V1__EvaluateResponse *answer = (const void *)response;
    latencies_us[number] = (uint32_t)((now_ns() - started[number]) / 1000);
    in_flight--;
    if (code != STATUS_OK || answer->permit[0] == '\0') {
        if (errors++ == 0)
            snprintf(first_error, sizeof first_error, "%.200s",
                     code != STATUS_OK ? why->message : answer->decision->summary);
    } else {
        done_calls++;
    }
    if (running)
        start_one();
}

static void start_one(void) {
    if (next_call == total)
        return;
    failure why = {0};
    unsigned number = next_call++;
    started[number] = now_ns();
    in_flight++;
    if (rpc_unary_start(loop, channel, "/interlock.policy.v1.PolicyService/Evaluate", &requests[number]->base,
                        &interlock__policy__v1__evaluate_response__descriptor, 10000, NULL, on_answer,
                        (void *)(uintptr_t)number, &why) != STATUS_OK)
        give_up(why.message);
}

static void start_all(void *context) {
    (void)context;
    for (unsigned i = 0; i < options.in_flight; i++)
        start_one();
}

static int compare_latencies(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void parse(int argc, char **argv) {
    struct {
        const char *name;
        const char **value;
    } texts[] = {{"--socket", &options.socket},
                 {"--key", &options.key},
                 {"--installation", &options.installation},
                 {"--principal", &options.principal},
                 {"--target", &options.target},
                 {"--verb", &options.verb},
                 {"--prefix", &options.prefix}};
    for (int i = 1; i + 1 < argc; i += 2) {
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            if (strcmp(argv[i], texts[t].name) == 0)
                *texts[t].value = argv[i + 1];
        if (strcmp(argv[i], "--in-flight") == 0)
            options.in_flight = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seconds") == 0)
            options.seconds = strtod(argv[i + 1], NULL);
        if (strcmp(argv[i], "--pids") == 0)
            for (char *rest = argv[i + 1], *pid;
                 (pid = strtok_r(rest, ",", &rest)) != NULL && options.pid_count < PIDS_MAX;)
                options.pids[options.pid_count++] = (pid_t)strtol(pid, NULL, 10);
    }
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        if (*texts[t].value == NULL)
            give_up("an argument is missing; see the head of evaluate_bench.c");
    if (options.in_flight == 0 || options.in_flight > IN_FLIGHT_MAX)
        give_up("--in-flight must be 1 to 512");
}

static void report(uint64_t cpu[2][PIDS_MAX], unsigned measured_from, unsigned measured_to, double seconds) {
    unsigned count = measured_to - measured_from;
    if (count == 0)
        give_up(first_error[0] != '\0' ? first_error : "no call was answered");
    qsort(latencies_us + measured_from, count, sizeof *latencies_us, compare_latencies);
    double sum = 0;
    printf("{\"count\":%u,\"errors\":%u,\"seconds\":%.3f,\"cpu_us_by_process\":[", count, errors, seconds);
    for (size_t i = 0; i < options.pid_count; i++) {
        double used = (double)(cpu[1][i] - cpu[0][i]) / 1e3 / count;
        sum += used;
        printf("%s%.2f", i == 0 ? "" : ",", used);
    }
    printf("],\"cpu_us\":%.2f,\"p50_us\":%u,\"p99_us\":%u,\"first_error\":\"%s\"}\n", sum,
           latencies_us[measured_from + count / 2],
           latencies_us[measured_from + (unsigned)((double)count * 0.99)], first_error);
}

int main(int argc, char **argv) {
    parse(argc, argv);
    failure why = {0};
    crypto_init();
    secret_key *key = NULL;
    if (secret_key_load(options.key, KEY_AGENT, &key, &why) != STATUS_OK)
        give_up(why.message);
    /* More than any machine of this class decides in the time; signing them is not part of what is measured.
     */
    total = (unsigned)(options.seconds * (options.in_flight == 1 ? 5000 : 12000)) + 2000;
    if (total > CALLS_MAX)
        total = CALLS_MAX;
    arena_init(&prepared, 1U << 20, 2U << 30);
    requests = calloc(total, sizeof *requests);
    started = calloc(total, sizeof *started);
    latencies_us = calloc(total, sizeof *latencies_us);
    if (requests == NULL || started == NULL || latencies_us == NULL)
        give_up("out of memory");
    for (unsigned i = 0; i < total; i++)
        requests[i] = sign_action(key, i);
    char target[160];
    snprintf(target, sizeof target, "unix:%s", options.socket);
    const rpc_channel_options channel_options = {.target = target, .role = ROLE_AGENT};
    if (rpc_loop_start(&loop, &why) != STATUS_OK ||
        rpc_channel_open(&channel, &channel_options, &why) != STATUS_OK ||
        rpc_loop_post(loop, start_all, NULL) != STATUS_OK)
        give_up(why.message);
    usleep(500000); /* connections, caches, streams */
    uint64_t cpu[2][PIDS_MAX];
    for (size_t i = 0; i < options.pid_count; i++)
        cpu[0][i] = process_cpu_ns(options.pids[i]);
    unsigned from = done_calls;
    uint64_t start = now_ns();
    usleep((useconds_t)(options.seconds * 1e6));
    unsigned to = done_calls;
    double seconds = (double)(now_ns() - start) / 1e9;
    for (size_t i = 0; i < options.pid_count; i++)
        cpu[1][i] = process_cpu_ns(options.pids[i]);
    running = false;
    for (int i = 0; i < 500 && in_flight > 0; i++)
        usleep(10000);
    report(cpu, from, to, seconds);
    fflush(stdout);
    _exit(0);
}
