/* Peer credentials of unix sockets: another user's process, listed and not, and descriptors that come and go.
 * The other user's processes are started before gRPC is, and wait to be told where to call. Needs root; says
 * so without it. */
#include "rpc_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OTHER_UID 65534
#define STRANGER_UID 65533

/* What a process of another user is asked to do, and what came of it. */
typedef struct errand {
    char target[104];
    rpc_role role;
} errand;

typedef struct result {
    status_code code;
    char reason[64];
} result;

typedef struct helper {
    pid_t process;
    int to, from;
} helper;

static void helper_main(uid_t uid, int in, int out) {
    errand task;
    if (setgid(uid) != 0 || setuid(uid) != 0)
        _exit(1);
    while (read(in, &task, sizeof task) == (ssize_t)sizeof task) {
        failure why = {0};
        rpc_channel *channel = open_channel(task.target, task.role);
        result done = {.code = recall(channel, "", WAIT_MS, NULL, &why)};
        snprintf(done.reason, sizeof done.reason, "%s", why.reason != NULL ? why.reason : "");
        rpc_channel_close(channel);
        if (write(out, &done, sizeof done) != (ssize_t)sizeof done)
            break;
    }
    _exit(0);
}

static helper helper_start(uid_t uid) {
    int to[2], from[2];
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    pid_t process = fork();
    assert_true(process >= 0);
    if (process == 0) {
        close(to[1]);
        close(from[0]);
        helper_main(uid, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    return (helper){.process = process, .to = to[1], .from = from[0]};
}

static result helper_call(const helper *self, const char *target, rpc_role role) {
    errand task = {.role = role};
    result done;
    snprintf(task.target, sizeof task.target, "%s", target);
    assert_int_equal(write(self->to, &task, sizeof task), sizeof task);
    assert_int_equal(read(self->from, &done, sizeof done), sizeof done);
    return done;
}

static void helper_stop(helper *self) {
    close(self->to);
    close(self->from);
    waitpid(self->process, NULL, 0);
}

static rpc_peer seen;
static counter own_calls = COUNTER_INIT, taken_for_others = COUNTER_INIT, blocked = COUNTER_INIT;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static status_code handle(void *context, rpc_call *call, const ProtobufCMessage *message,
                          ProtobufCMessage *reply, failure *why) {
    (void)context, (void)reply, (void)why;
    const char *verb = ((const recall_request *)message)->verb;
    if (strcmp(verb, "block") == 0) {
        counter_add(&blocked, 1);
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
        return STATUS_OK;
    }
    if (strcmp(verb, "mine") == 0) {
        if (rpc_call_peer(call)->uid != (int64_t)geteuid())
            counter_add(&taken_for_others, 1);
        counter_add(&own_calls, 1);
        return STATUS_OK;
    }
    seen = *rpc_call_peer(call);
    return STATUS_OK;
}

static const rpc_method methods[] = {RPC_UNARY(RECALL, request_type, response_type, ALL_ROLES, handle)};

static helper other, stranger;
static world shared;

static int set_up_all(void **state) {
    (void)state;
    static const int64_t uids[] = {OTHER_UID};
    static const unsigned roles[] = {ROLE_TELEMETRY | ROLE_AGENT};
    if (geteuid() == 0) {
        other = helper_start(OTHER_UID);
        stranger = helper_start(STRANGER_UID);
    }
    world_open(
        &shared,
        &(rpc_server_options){.peer_uids = uids, .peer_roles = roles, .peer_count = 1, .drain_ms = 300},
        methods, 1, NULL);
    struct stat status;
    assert_int_equal(stat(shared.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
    return chmod(shared.folder, 0755) + chmod(shared.path, 0666); /* so that only the credentials decide */
}

static int tear_down_all(void **state) {
    (void)state;
    if (geteuid() == 0) {
        helper_stop(&stranger); /* which has a copy of the other's pipe */
        helper_stop(&other);
    }
    world_close(&shared);
    return 0;
}

static void another_user(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    result done = helper_call(&other, shared.target, ROLE_TELEMETRY);
    assert_int_equal(done.code, STATUS_OK);
    assert_int_equal(seen.uid, OTHER_UID);
    assert_string_equal(seen.principal, "unix:uid=65534");
    assert_int_equal(seen.role, ROLE_TELEMETRY);
    done = helper_call(&other, shared.target, ROLE_OPERATOR);
    assert_int_equal(done.code, STATUS_PERMISSION_DENIED);
    assert_string_equal(done.reason, "ROLE_NOT_GRANTED");
    done = helper_call(&stranger, shared.target, ROLE_AGENT);
    assert_int_equal(done.code, STATUS_UNAUTHENTICATED);
    assert_string_equal(done.reason, "UID_UNKNOWN");
}

/* Users take turns on connections whose descriptors are used again; nobody is ever taken for the one before.
 */
static void descriptors_are_used_again(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    for (int i = 0; i < 20; i++) {
        failure why = {0};
        assert_int_equal(helper_call(&other, shared.target, ROLE_AGENT).code, STATUS_OK);
        assert_int_equal(seen.uid, OTHER_UID);
        rpc_channel *own = open_channel(shared.target, ROLE_AGENT);
        must(recall(own, "", WAIT_MS, NULL, &why), &why);
        assert_int_equal(seen.uid, 0);
        assert_int_equal(helper_call(&stranger, shared.target, ROLE_AGENT).code, STATUS_UNAUTHENTICATED);
        rpc_channel_close(own);
    }
}

/* The descriptors of this process that are sockets. */
static unsigned open_sockets(void) {
    unsigned count = 0;
    struct stat status;
    for (int i = 0; i < 1024; i++)
        count += fstat(i, &status) == 0 && S_ISSOCK(status.st_mode);
    return count;
}

/* What peer.h relies on is seen from outside: connections that are gone give their descriptors back. */
static void descriptors_come_back(void **state) {
    (void)state;
    failure why = {0};
    must(recall(shared.channel, "", WAIT_MS, NULL, &why), &why);
    unsigned before = open_sockets();
    for (int i = 0; i < 30; i++) {
        rpc_channel *channel = open_channel(shared.target, ROLE_AGENT);
        must(recall(channel, "", WAIT_MS, NULL, &why), &why);
        rpc_channel_close(channel);
    }
    for (int i = 0; i < 2000 && open_sockets() > before; i++)
        usleep(1000);
    assert_true(open_sockets() <= before);
}

static void ignore(void *context, status_code code, const ProtobufCMessage *response, const failure *why) {
    (void)code, (void)response, (void)why;
    counter_add(context, 1);
}

static void start(rpc_loop *loop, rpc_channel *channel, const char *verb, counter *done) {
    recall_request request = RECALL_REQUEST_INIT;
    request.verb = (char *)(uintptr_t)verb;
    failure why = {0};
    must(rpc_unary_start(loop, channel, RECALL, &request.base, &response_type, WAIT_MS, NULL, ignore, done,
                         &why),
         &why);
}

/* Calls that arrived and wait for a loop that is busy, while their connections end and another user connects:
 * the waiting calls must still be taken for who sent them. */
static void a_waiting_call_keeps_its_caller(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    enum { CALLS = 16 };
    rpc_loop *loop;
    failure why = {0};
    must(rpc_loop_start(&loop, &why), &why);
    counter done = COUNTER_INIT;
    pthread_mutex_lock(&gate);
    start(loop, shared.channel, "block", &done);
    counter_wait(&blocked, 1);
    rpc_channel *channels[CALLS];
    for (int i = 0; i < CALLS; i++) {
        channels[i] = open_channel(shared.target, ROLE_AGENT);
        start(loop, channels[i], "mine", &done);
    }
    usleep(200000); /* those of the other loop are answered, the rest has arrived and waits */
    for (int i = 0; i < CALLS; i++)
        rpc_channel_close(channels[i]);
    for (int i = 0; i < 4; i++) {
        errand task = {.role = ROLE_AGENT};
        snprintf(task.target, sizeof task.target, "%s", shared.target);
        assert_int_equal(write(other.to, &task, sizeof task), sizeof task);
        usleep(20000);
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 4; i++) {
        result ended;
        assert_int_equal(read(other.from, &ended, sizeof ended), sizeof ended);
        assert_int_equal(ended.code, STATUS_OK);
    }
    counter_wait(&done, CALLS + 1);
    assert_int_equal(counter_value(&taken_for_others), 0);
    rpc_loop_stop(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_user),
        cmocka_unit_test(descriptors_are_used_again),
        cmocka_unit_test(descriptors_come_back),
        cmocka_unit_test(a_waiting_call_keeps_its_caller),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
