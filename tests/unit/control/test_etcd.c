/* Control data on a real etcd: what is put is seen, an etcd that is stopped closes by time and not before,
 * and one that goes on is believed again only after it was asked. Skipped where there is no etcd. */
#include "control/control.h" /* before cmocka.h, whose macro fail() would hide ours */

#include "statements.h"

#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_GLOBAL INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL
#define PATIENCE_MS 20000
#define START_ATTEMPTS 5

static atomic_uint_fast64_t ahead_ns;

static uint64_t shifted_boot_ns(void *self) {
    (void)self;
    return chance_boot_ns(chance_system()) + atomic_load(&ahead_ns);
}

static int64_t shifted_wall_ns(void *self) {
    (void)self;
    return chance_wall_ns(chance_system());
}

static void shifted_random(void *self, uint8_t *out, size_t size) {
    (void)self;
    chance_random(chance_system(), out, size);
}

static const chance shifted = {
    .boot_ns = shifted_boot_ns, .wall_ns = shifted_wall_ns, .random = shifted_random};

typedef struct world {
    installation at;
    arena memory;
    char directory[64], endpoint[64];
    pid_t etcd;
    coord *coordination;
    control *subject;
} world;

/* ---- A real etcd ---- */

static unsigned free_port(void) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&where, size), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&where, &size), 0);
    close(descriptor);
    return ntohs(where.sin_port);
}

static void exec_etcd(const world *self, unsigned peer_port) {
    char peer[64], cluster[80];
    snprintf(peer, sizeof peer, "http://127.0.0.1:%u", peer_port);
    snprintf(cluster, sizeof cluster, "test=%s", peer);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(126);
    execlp("etcd", "etcd", "--name", "test", "--data-dir", self->directory, "--listen-client-urls",
           self->endpoint, "--advertise-client-urls", self->endpoint, "--listen-peer-urls", peer,
           "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, (char *)NULL);
    _exit(127);
}

static void stop_etcd(world *self) {
    kill(self->etcd, SIGKILL);
    waitpid(self->etcd, NULL, 0);
}

static bool try_etcd(world *self) {
    failure why = {0};
    unsigned peer_port = free_port();
    snprintf(self->endpoint, sizeof self->endpoint, "http://127.0.0.1:%u", free_port());
    self->etcd = fork();
    assert_true(self->etcd >= 0);
    if (self->etcd == 0)
        exec_etcd(self, peer_port);
    const coord_options options = {
        .endpoints = self->endpoint, .prefix = "interlock/demo/", .source = chance_system()};
    assert_int_equal(coord_open(&self->coordination, &options, &why), STATUS_OK);
    if (control_open(&self->subject, self->coordination, &self->at.roots, "one", &shifted, &why) == STATUS_OK)
        return true;
    coord_close(self->coordination);
    stop_etcd(self);
    return false;
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    *state = self;
    if (system("command -v etcd >/dev/null 2>&1") != 0)
        return 0;
    installation_make(&self->at);
    arena_init(&self->memory, 65536, 16U << 20);
    snprintf(self->directory, sizeof self->directory, "/tmp/control-etcd-XXXXXX");
    assert_non_null(mkdtemp(self->directory));
    /* Between choosing a port and using it another program may take it: then again. */
    for (int i = 0; i < START_ATTEMPTS; i++)
        if (try_etcd(self))
            return 0;
    return -1;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

static int world_free(void **state) {
    world *self = *state;
    if (self->etcd > 0) {
        control_close(self->subject);
        coord_close(self->coordination);
        stop_etcd(self);
        installation_free(&self->at);
        arena_free(&self->memory);
        nftw(self->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    free(self);
    return 0;
}

/* ---- Short forms ---- */

#define WAIT_UNTIL(condition)                                                                                \
    for (int waited_ms = 0; !(condition); waited_ms += 5) {                                                  \
        if (waited_ms > PATIENCE_MS)                                                                         \
            fail_msg("in vain: %s", #condition);                                                             \
        poll(NULL, 0, 5);                                                                                    \
    }

static uint64_t seq_of(control *self) {
    const control_view *view = control_acquire(self);
    uint64_t seq = view->seq;
    control_release(self, view);
    return seq;
}

static void put_kill(world *self, bool set, uint64_t version) {
    failure why = {0};
    uint64_t seq = 0;
    Interlock__Control__V1__Kill *kill_switch = kill_new(KILL_GLOBAL, "", set, version, &self->memory);
    const Interlock__Common__V1__Envelope *envelope =
        dsse_sign_message(self->at.alice, PAYLOAD_KILL, &kill_switch->base, &self->memory);
    if (control_put(self->subject, envelope, &seq, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    assert_int_equal(seq, version);
}

/* ---- Cases ---- */

static void statements_and_replicas(void **state) {
    world *self = *state;
    Interlock__Control__V1__Replica **list = NULL;
    size_t count = 0;
    failure why = {0};
    if (self->etcd == 0)
        skip();
    put_kill(self, true, 1);
    WAIT_UNTIL(seq_of(self->subject) == 1);
    put_kill(self, false, 2);
    WAIT_UNTIL(seq_of(self->subject) == 2);
    assert_true(control_is_fresh(self->subject));
    WAIT_UNTIL(control_replicas(self->subject, &self->memory, &list, &count, &why) == STATUS_OK &&
               count == 1 && list[0]->applied_seq == 2);
    assert_string_equal(list[0]->id, "one");
    assert_int_equal(list[0]->state, INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_CONFIRMED);

    bool succeeded = false;
    int64_t revision = 0;
    coord_op op = {.kind = COORD_DELETE, .key = "control/kill/global/"};
    assert_int_equal(coord_txn_wait(self->coordination, NULL, 0, &op, 1, 5000, &succeeded, &revision, &why),
                     STATUS_OK);
    WAIT_UNTIL(!control_is_fresh(self->subject));
}

static void a_stopped_etcd_closes_by_time(void **state) {
    world *self = *state;
    Interlock__Control__V1__Replica **list = NULL;
    size_t count = 0;
    failure why = {0};
    if (self->etcd == 0)
        skip();
    put_kill(self, true, 1);
    WAIT_UNTIL(seq_of(self->subject) == 1 && control_is_fresh(self->subject));
    assert_int_equal(kill(self->etcd, SIGSTOP), 0);
    atomic_fetch_add(&ahead_ns, (uint64_t)CONTROL_FRESH_MS * 1000000U);
    assert_false(control_is_fresh(self->subject));
    assert_int_equal(control_replicas(self->subject, &self->memory, &list, &count, &why), STATUS_OK);
    assert_int_equal(count, 2);
    assert_string_equal(list[0]->id, "one");
    assert_int_equal(list[0]->state, INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_SELF_CLOSED);
    assert_string_equal(list[1]->id, CONTROL_OTHER_REPLICAS);
    assert_int_equal(list[1]->state, INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN);
    assert_int_equal(kill(self->etcd, SIGCONT), 0);
    WAIT_UNTIL(control_is_fresh(self->subject));
    assert_int_equal(seq_of(self->subject), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_make, world_free)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(statements_and_replicas), CASE(a_stopped_etcd_closes_by_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
