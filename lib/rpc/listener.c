/* Accepts on a unix socket, asks the kernel who is there, and hands the descriptor to gRPC. */
#include "listener.h"

#include <errno.h>
#include <grpc/grpc_posix.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128
#define PAUSE_MS 50 /* after accept failed for want of descriptors */

struct listener {
    int socket;
    int stop; /* eventfd */
    bool running;
    pthread_t thread;
    grpc_server *server;
    grpc_server_credentials *credentials;
    peer_book *book;
    struct sockaddr_un address;
};

/* True when a process answers there. */
static bool somebody_listens(const struct sockaddr_un *address) {
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool answered = connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;
    close(probe);
    return answered;
}

static status_code clear_path(const struct sockaddr_un *address, failure *why) {
    struct stat status;
    if (lstat(address->sun_path, &status) != 0)
        return STATUS_OK;
    if (!S_ISSOCK(status.st_mode))
        return fail(why, STATUS_ALREADY_EXISTS, "NOT_A_SOCKET",
                    "%s exists and is no socket; choose another path", address->sun_path);
    if (somebody_listens(address))
        return fail(why, STATUS_ALREADY_EXISTS, "ADDRESS_IN_USE",
                    "another process listens on %s; stop it or choose another path", address->sun_path);
    if (unlink(address->sun_path) != 0)
        return fail(why, STATUS_PERMISSION_DENIED, "CANNOT_REPLACE_SOCKET",
                    "cannot remove the stale socket %s: %s", address->sun_path, strerror(errno));
    return STATUS_OK;
}

static status_code bind_path(listener *self, failure *why) {
    status_code code = clear_path(&self->address, why);
    if (code != STATUS_OK)
        return code;
    self->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    self->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* The mode of the socket before bind is the most the file can get, so it is never wider than 0660. */
    if (self->socket < 0 || self->stop < 0 || fchmod(self->socket, 0660) != 0 ||
        bind(self->socket, (struct sockaddr *)&self->address, sizeof self->address) != 0)
        return fail(why, STATUS_UNAVAILABLE, "CANNOT_LISTEN", "cannot bind %s: %s", self->address.sun_path,
                    strerror(errno));
    if (chmod(self->address.sun_path, 0660) != 0 || listen(self->socket, BACKLOG) != 0) {
        int error = errno;
        unlink(self->address.sun_path);
        return fail(why, STATUS_UNAVAILABLE, "CANNOT_LISTEN", "cannot listen on %s: %s",
                    self->address.sun_path, strerror(error));
    }
    return STATUS_OK;
}

status_code listener_open(listener **out, const char *path, failure *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return fail(why, STATUS_INVALID_ARGUMENT, "SOCKET_PATH_LENGTH",
                    "the socket path %s must have 1 to %zu bytes; choose a shorter folder", path,
                    sizeof address.sun_path - 1);
    listener *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a listener");
    self->socket = self->stop = -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    self->address = address;
    status_code code = bind_path(self, why);
    if (code != STATUS_OK) {
        self->address.sun_path[0] = '\0';
        listener_close(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

static void hand_over(listener *self, int descriptor) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if ((unsigned)descriptor >= PEER_DESCRIPTORS_MAX ||
        getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        close(descriptor);
        return;
    }
    atomic_store_explicit(&self->book->descriptors[descriptor], (int_fast64_t)peer.uid + 1,
                          memory_order_release);
    grpc_server_add_channel_from_fd(self->server, descriptor, self->credentials);
}

static void *accept_main(void *context) {
    listener *self = context;
    struct pollfd waits[2] = {{.fd = self->stop, .events = POLLIN}, {.fd = self->socket, .events = POLLIN}};
    for (;;) {
        if (poll(waits, 2, -1) < 0 && errno != EINTR)
            break;
        if (waits[0].revents != 0)
            break;
        int descriptor = accept4(self->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor >= 0)
            hand_over(self, descriptor);
        else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            poll(waits, 1, PAUSE_MS);
    }
    return NULL;
}

status_code listener_run(listener *self, grpc_server *server, peer_book *book, failure *why) {
    self->server = server;
    self->book = book;
    self->credentials = grpc_insecure_server_credentials_create();
    if (pthread_create(&self->thread, NULL, accept_main, self) != 0)
        return fail(
            why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD",
            "cannot start the thread that accepts connections; raise the limit of processes (ulimit -u)");
    self->running = true;
    return STATUS_OK;
}

void listener_close(listener *self) {
    if (self == NULL)
        return;
    if (self->running) {
        uint64_t one = 1;
        ssize_t written = write(self->stop, &one, sizeof one);
        (void)written; /* an eventfd at 0 takes a 1 */
        pthread_join(self->thread, NULL);
    }
    if (self->socket >= 0) {
        close(self->socket);
        if (self->address.sun_path[0] != '\0')
            unlink(self->address.sun_path);
    }
    if (self->stop >= 0)
        close(self->stop);
    if (self->credentials != NULL)
        grpc_server_credentials_release(self->credentials);
    free(self);
}
