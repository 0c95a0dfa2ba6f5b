/* The life of a service process: a real one, forked, with a real server: it serves, tells where, refuses a
 * second of its kind, stops in order on a signal, and never starts on wrong settings. */
#include "test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "interlock/memory/v1/memory.pb-c.h"

#define WAIT_STEPS 3000 /* of 10 ms */

typedef struct world {
    char folder[64];
    char trace[128]; /* what the service did, a letter a step */
    char run_file[128];
} world;

static world *current;

static void trace(char step) {
    FILE *file = fopen(current->trace, "ae");
    assert_non_null(file);
    fputc(step, file);
    fclose(file);
}

static bool open_fails, start_fails;

static status_code on_open(const daemon_context *context, void **service, failure *why) {
    static int service_state;
    trace(context->check_only ? 'c' : 'o');
    *service = &service_state;
    return open_fails ? fail(why, STATUS_FAILED_PRECONDITION, "TEST", "it does not open") : STATUS_OK;
}

static status_code on_start(void *service, rpc_server *server, failure *why) {
    (void)service;
    assert_non_null(server);
    trace('s');
    return start_fails ? fail(why, STATUS_FAILED_PRECONDITION, "TEST", "it does not start") : STATUS_OK;
}

static void on_stop(void *service) {
    (void)service;
    trace('S');
}

static void on_close(void *service) {
    (void)service;
    trace('C');
}

static status_code on_call(void *service, rpc_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage *response, failure *why) {
    (void)service;
    (void)call;
    (void)request;
    (void)response;
    (void)why;
    return STATUS_OK;
}

static const rpc_method methods[] = {
    RPC_UNARY("/interlock.memory.v1.MemoryService/Recall", interlock__memory__v1__recall_request__descriptor,
              interlock__memory__v1__recall_response__descriptor, ROLE_SERVICE, on_call)};

static const daemon_spec spec = {.name = "test",
                                 .purpose = "is tested",
                                 .methods = methods,
                                 .method_count = 1,
                                 .open = on_open,
                                 .start = on_start,
                                 .stop = on_stop,
                                 .close = on_close};

static pid_t run_daemon(const char *extra, const char *value) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = {"interlock-test", "--data-dir", current->folder, "--loops", "1", (char *)extra,
                        (char *)value,    NULL};
        int argc = 5 + (extra != NULL) + (value != NULL);
        if (freopen("/dev/null", "w", stderr) == NULL || freopen("/dev/null", "w", stdout) == NULL)
            _exit(99);
        _exit(daemon_main(&spec, argc, argv));
    }
    return pid;
}

static int ended(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void pause_10_ms(void) {
    struct timespec pause = {.tv_nsec = 10000000};
    nanosleep(&pause, NULL);
}

static void wait_until_serving(pid_t pid) {
    struct stat facts;
    int status = 0;
    for (int i = 0; i < WAIT_STEPS && stat(current->run_file, &facts) != 0; i++) {
        assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
        pause_10_ms();
    }
    assert_int_equal(stat(current->run_file, &facts), 0);
}

static int number_after(const char *text, const char *name) {
    const char *at = strstr(text, name);
    assert_non_null(at);
    return (int)strtol(at + strlen(name), NULL, 10);
}

static void read_text(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "re");
    out[0] = '\0';
    if (file == NULL)
        return;
    size_t got = fread(out, 1, size - 1, file);
    out[got] = '\0';
    fclose(file);
}

static void get_page(int port, const char *path, char *out, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char request[128];
    size_t used = 0;
    assert_int_equal(connect(connection, (struct sockaddr *)&address, sizeof address), 0);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(write(connection, request, strlen(request)), (ssize_t)strlen(request));
    for (ssize_t got = 1; got > 0 && used + 1 < size; used += (size_t)got)
        got = read(connection, out + used, size - 1 - used);
    out[used] = '\0';
    close(connection);
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    snprintf(self->folder, sizeof self->folder, "/tmp/daemon-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->trace, sizeof self->trace, "%s/trace", self->folder);
    snprintf(self->run_file, sizeof self->run_file, "%s/run/test.json", self->folder);
    open_fails = start_fails = false;
    current = self;
    *state = self;
    return 0;
}

static int world_remove(void **state) {
    world *self = *state;
    static const char *const names[] = {"trace", "run/test.daemon.lock", "run/test.sock", "run/test.json",
                                        "a.yaml"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", self->folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/run", self->folder);
    rmdir(path);
    assert_int_equal(rmdir(self->folder), 0);
    free(self);
    return 0;
}

static void assert_trace(const char *expected) {
    char steps[64];
    read_text(current->trace, steps, sizeof steps);
    assert_string_equal(steps, expected);
}

static void it_serves_and_stops_in_order(void **state) {
    (void)state;
    char facts[512], page[65536];
    pid_t pid = run_daemon(NULL, NULL);
    wait_until_serving(pid);
    read_text(current->run_file, facts, sizeof facts);
    assert_int_equal(number_after(facts, "\"pid\":"), pid);
    assert_int_equal(number_after(facts, "\"tcp_port\":"), 0);
    assert_non_null(strstr(facts, "/run/test.sock\""));
    int port = number_after(facts, "\"http_port\":");
    get_page(port, "/healthz", page, sizeof page);
    assert_non_null(strstr(page, "200"));
    get_page(port, "/metrics", page, sizeof page);
    assert_non_null(strstr(page, "interlock_build_info{service=\"test\""));
    assert_non_null(strstr(page, "interlock_rpc_started_total{"));
    assert_non_null(strstr(page, "process_resident_memory_bytes "));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(ended(pid), 0);
    assert_int_not_equal(access(current->run_file, F_OK), 0);
    assert_trace("osSC");
}

static void a_second_of_its_kind_is_refused(void **state) {
    (void)state;
    struct stat facts;
    pid_t first = run_daemon(NULL, NULL);
    wait_until_serving(first);
    assert_int_equal(ended(run_daemon(NULL, NULL)), 1);
    assert_int_equal(stat(current->run_file, &facts), 0);
    kill(first, SIGINT);
    assert_int_equal(ended(first), 0);
    assert_trace("osCSC"); /* the second was closed without having been opened */
}

static void a_killed_one_is_followed(void **state) {
    (void)state;
    int status = 0;
    char facts[512];
    pid_t first = run_daemon(NULL, NULL);
    wait_until_serving(first);
    kill(first, SIGKILL);
    assert_int_equal(waitpid(first, &status, 0), first);
    pid_t second = run_daemon(NULL, NULL);
    for (int i = 0; i < WAIT_STEPS; i++) {
        read_text(current->run_file, facts, sizeof facts);
        if (facts[0] != '\0' && number_after(facts, "\"pid\":") == second)
            break;
        pause_10_ms();
    }
    assert_int_equal(number_after(facts, "\"pid\":"), second);
    kill(second, SIGTERM);
    assert_int_equal(ended(second), 0);
}

static void what_fails_is_closed_and_said(void **state) {
    (void)state;
    open_fails = true;
    assert_int_equal(ended(run_daemon(NULL, NULL)), 1);
    assert_trace("oC");
    unlink(current->trace);
    open_fails = false;
    start_fails = true;
    assert_int_equal(ended(run_daemon(NULL, NULL)), 1);
    assert_trace("osSC");
    assert_int_not_equal(access(current->run_file, F_OK), 0);
}

static void checking_changes_nothing(void **state) {
    (void)state;
    char path[128];
    assert_int_equal(ended(run_daemon("-n", NULL)), 0);
    assert_trace("cC");
    snprintf(path, sizeof path, "%s/run", current->folder);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void wrong_usage_never_opens(void **state) {
    (void)state;
    typedef struct usage_case {
        const char *flag, *value;
        int code;
    } usage_case;
    static const usage_case cases[] = {
        {"--colour", "red", 2},       {"--loops", "many", 2}, {"--log-level", "loud", 2},
        {"--peers", "uid=1:king", 2}, {"--listen", "x:1", 2}, {"extra", NULL, 2},
        {"--config", "/nowhere", 2},  {"--help", NULL, 0},    {"--version", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ended(run_daemon(cases[i].flag, cases[i].value)), cases[i].code);
        assert_int_not_equal(access(current->trace, F_OK), 0);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_remove)
    const struct CMUnitTest tests[] = {
        TEST(it_serves_and_stops_in_order), TEST(a_second_of_its_kind_is_refused),
        TEST(a_killed_one_is_followed),     TEST(what_fails_is_closed_and_said),
        TEST(checking_changes_nothing),     TEST(wrong_usage_never_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
