/* See backends.h. Included by each test program, because a test is one file to the build. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends.h"
#include "base/arena.h"
#include "http/client.h"
#include "internal.h"

#define START_ATTEMPTS 5
#define READY_ATTEMPTS 400

static void make_directory(backend *self) {
    snprintf(self->directory, sizeof self->directory, "/tmp/coord-test-XXXXXX");
    assert_non_null(mkdtemp(self->directory));
    snprintf(self->file, sizeof self->file, "%s/coord.db", self->directory);
}

void backend_start_embedded(backend *self) {
    *self = (backend){.name = "embedded"};
    make_directory(self);
}

static uint16_t free_port(void) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&where, size), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&where, &size), 0);
    close(descriptor);
    return ntohs(where.sin_port);
}

static void exec_etcd(const backend *self, uint16_t peer_port) {
    char data[96], peer[64], cluster[96];
    snprintf(data, sizeof data, "%s/etcd", self->directory);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%u", peer_port);
    snprintf(cluster, sizeof cluster, "test=%s", peer);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int quiet = open("/dev/null", O_RDWR);
    dup2(quiet, 0);
    dup2(quiet, 1);
    dup2(quiet, 2);
    execlp("etcd", "etcd", "--name", "test", "--data-dir", data, "--listen-client-urls", self->endpoints,
           "--advertise-client-urls", self->endpoints, "--listen-peer-urls", peer,
           "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, (char *)NULL);
    _exit(127);
}

static bool etcd_answers(const backend *self) {
    coord *probe = NULL;
    failure why = {0};
    coord_options options = {.endpoints = self->endpoints, .prefix = "probe/"};
    arena memory;
    coord_result result;
    arena_init(&memory, 1024, 65536);
    assert_int_equal(coord_open(&probe, &options, &why), STATUS_OK);
    status_code status = coord_get_wait(probe, "a", false, 500, &memory, &result, &why);
    coord_close(probe);
    arena_free(&memory);
    return status == STATUS_OK;
}

static bool wait_until_ready(const backend *self) {
    for (int i = 0; i < READY_ATTEMPTS; i++) {
        if (etcd_answers(self))
            return true;
        if (waitpid(self->pid, NULL, WNOHANG) == self->pid)
            return false;
        usleep(50000);
    }
    return false;
}

void backend_start_etcd(backend *self) {
    *self = (backend){.name = "etcd", .etcd = true};
    self->absent = system("command -v etcd >/dev/null 2>&1") != 0;
    if (self->absent) {
        print_message("SKIPPED: there is no etcd on this machine (Debian: etcd-server)\n");
        return;
    }
    make_directory(self);
    /* Between choosing a port and using it another program may take it: then again. */
    for (int i = 0; i < START_ATTEMPTS; i++) {
        uint16_t peer_port = free_port();
        snprintf(self->endpoints, sizeof self->endpoints, "http://127.0.0.1:%u", free_port());
        self->pid = fork();
        assert_true(self->pid >= 0);
        if (self->pid == 0)
            exec_etcd(self, peer_port);
        if (wait_until_ready(self))
            return;
    }
    fail_msg("etcd does not start");
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

void backend_stop(backend *self) {
    if (self->pid > 0) {
        kill(self->pid, SIGKILL);
        waitpid(self->pid, NULL, 0);
    }
    if (self->directory[0] != '\0')
        nftw(self->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

coord *backend_open(backend *self, bool fresh) {
    coord *opened = NULL;
    failure why = {0};
    char prefix[32];
    self->prefixes += fresh ? 1 : 0;
    snprintf(prefix, sizeof prefix, "test/%u/", self->prefixes);
    coord_options options = {.embedded_path = self->etcd ? NULL : self->file,
                             .endpoints = self->etcd ? self->endpoints : NULL,
                             .prefix = prefix};
    if (coord_open(&opened, &options, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return opened;
}

typedef struct posted {
    int descriptors[2];
} posted;

static void on_posted(void *context, int http_status, bytes answer, const failure *why) {
    posted *self = context;
    (void)answer;
    (void)why;
    ssize_t written = write(self->descriptors[1], &http_status, sizeof http_status);
    assert_int_equal(written, sizeof http_status);
}

static void compact_etcd(const backend *self, int64_t revision) {
    char url[128], body[64];
    http_client *client = NULL;
    failure why = {0};
    posted answer;
    int http_status = 0;
    snprintf(url, sizeof url, "%s/v3/kv/compaction", self->endpoints);
    snprintf(body, sizeof body, "{\"revision\":\"%lld\"}", (long long)revision);
    assert_int_equal(pipe(answer.descriptors), 0);
    http_exchange exchange = {
        .url = url, .body = bytes_of_text(body), .timeout_ms = 5000, .done = on_posted, .context = &answer};
    assert_int_equal(http_client_start(&client, &why), STATUS_OK);
    assert_int_equal(http_client_send(client, &exchange, NULL, &why), STATUS_OK);
    assert_int_equal(read(answer.descriptors[0], &http_status, sizeof http_status), sizeof http_status);
    http_client_stop(client);
    close(answer.descriptors[0]);
    close(answer.descriptors[1]);
    assert_int_equal(http_status, 200);
}

void backend_compact(backend *self, int64_t revision) {
    if (self->etcd) {
        compact_etcd(self, revision);
        return;
    }
    failure why = {0};
    assert_int_equal(embedded_compact(self->file, revision, &why), STATUS_OK);
}
