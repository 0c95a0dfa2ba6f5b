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

static status_code handle(void *context, rpc_call *call, const ProtobufCMessage *message,
                          ProtobufCMessage *reply, failure *why) {
    (void)context, (void)message, (void)reply, (void)why;
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
        helper_stop(&other);
        helper_stop(&stranger);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_user),
        cmocka_unit_test(descriptors_are_used_again),
        cmocka_unit_test(descriptors_come_back),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
