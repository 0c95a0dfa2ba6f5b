/* The small HTTP server: exact paths, GET and HEAD, bounded in everything. The listening socket is made here,
 * so that its errors can be told. */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_LIMIT_BYTES (4U << 20)
#define CONNECTIONS 64U
#define CONNECTION_MEMORY_BYTES 16384U
#define REQUEST_TIMEOUT_S 10U
#define THREADS 2U
#define BACKLOG 64
#define HOST_BYTES 64U

struct http_server {
    struct MHD_Daemon *daemon;
    const http_route *routes;
    size_t count;
    uint16_t port;
};

/* ---- Answering ------------------------------------------------------------------------------- */

static enum MHD_Result reply(struct MHD_Connection *connection, int http_status, buffer *body,
                             const char *content_type) {
    struct MHD_Response *response =
        body->size == 0 ? MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT)
                        : MHD_create_response_from_buffer_with_free_callback(body->size, body->data, free);
    if (response == NULL) {
        buffer_free(body);
        return MHD_NO;
    }
    if (body->size == 0)
        buffer_free(body);
    MHD_add_response_header(response, "Content-Type", content_type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (http_status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)http_status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result reply_text(struct MHD_Connection *connection, int http_status, const char *text) {
    buffer body;
    buffer_init(&body, BODY_LIMIT_BYTES);
    buffer_text(&body, text);
    return reply(connection, http_status, &body, "text/plain; charset=utf-8");
}

static enum MHD_Result serve(struct MHD_Connection *connection, const http_route *route) {
    buffer body;
    const char *content_type = "text/plain; charset=utf-8";
    buffer_init(&body, BODY_LIMIT_BYTES);
    int http_status = route->handler(route->context, &body, &content_type);
    if (buffer_ok(&body))
        return reply(connection, http_status, &body, content_type);
    buffer_free(&body);
    return reply_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer is too large\n");
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request) {
    static char seen;
    const http_server *self = context;
    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return reply_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (*request == NULL) {
        *request = &seen;
        return MHD_YES;
    }
    if (*upload_size != 0)
        return MHD_NO; /* a GET with a body: the connection is closed */
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(url, self->routes[i].path) == 0)
            return serve(connection, &self->routes[i]);
    return reply_text(connection, MHD_HTTP_NOT_FOUND, "not found\n");
}

/* ---- Listening ------------------------------------------------------------------------------- */

static bool parse_port(const char *text, uint16_t *out) {
    if (*text == '\0' || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
        return false;
    unsigned long port = strtoul(text, NULL, 10);
    *out = (uint16_t)port;
    return port <= 65535;
}

static bool make_address(const char *host, uint16_t port, struct sockaddr_storage *out, socklen_t *size) {
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        *size = sizeof *four;
        return true;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1)
        return false;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    *size = sizeof *six;
    return true;
}

static bool parse_address(const char *address, struct sockaddr_storage *out, socklen_t *size) {
    const char *colon = strrchr(address, ':');
    char host[HOST_BYTES];
    uint16_t port = 0;
    if (colon == NULL || !parse_port(colon + 1, &port))
        return false;
    const char *start = address;
    size_t length = (size_t)(colon - address);
    bool bracketed = length >= 2 && start[0] == '[' && start[length - 1] == ']';
    if (bracketed) {
        start++;
        length -= 2;
    }
    if (length >= sizeof host)
        return false;
    memcpy(host, start, length);
    host[length] = '\0';
    return make_address(host, port, out, size) && bracketed == (out->ss_family == AF_INET6);
}

static status_code listen_on(const char *address, int *out, failure *why) {
    struct sockaddr_storage where;
    socklen_t size = 0;
    if (!parse_address(address, &where, &size))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_ADDRESS",
                    "'%s' is no address; write 127.0.0.1:9464 or [::1]:9464", address);
    int descriptor = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return fail(why, STATUS_UNAVAILABLE, "NO_SOCKET", "%s: %s", address, strerror(errno));
    int yes = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(descriptor, (struct sockaddr *)&where, size) != 0 || listen(descriptor, BACKLOG) != 0) {
        int cause = errno;
        close(descriptor);
        return fail(why, STATUS_UNAVAILABLE, cause == EADDRINUSE ? "ADDRESS_IN_USE" : "CANNOT_LISTEN",
                    "%s: %s; choose another address", address, strerror(cause));
    }
    *out = descriptor;
    return STATUS_OK;
}

static uint16_t port_of(int descriptor) {
    struct sockaddr_storage where;
    socklen_t size = sizeof where;
    memset(&where, 0, sizeof where);
    if (getsockname(descriptor, (struct sockaddr *)&where, &size) != 0)
        return 0;
    return ntohs(where.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&where)->sin6_port
                                             : ((struct sockaddr_in *)&where)->sin_port);
}

status_code http_server_start(http_server **out, const char *address, const http_route *routes, size_t count,
                              failure *why) {
    int descriptor = -1;
    status_code status = listen_on(address, &descriptor, why);
    if (status != STATUS_OK)
        return status;
    http_server *self = calloc(1, sizeof *self);
    if (self != NULL) {
        *self = (http_server){.routes = routes, .count = count, .port = port_of(descriptor)};
        self->daemon = MHD_start_daemon(
            MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request, self,
            MHD_OPTION_LISTEN_SOCKET, descriptor, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
            MHD_OPTION_CONNECTION_TIMEOUT, REQUEST_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
            (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_THREAD_POOL_SIZE, THREADS, MHD_OPTION_END);
    }
    if (self == NULL || self->daemon == NULL) {
        close(descriptor);
        free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "%s: no memory or thread for the server",
                    address);
    }
    *out = self;
    return STATUS_OK;
}

uint16_t http_server_port(const http_server *self) {
    return self->port;
}

void http_server_stop(http_server *self) {
    if (self == NULL)
        return;
    MHD_stop_daemon(self->daemon);
    free(self);
}
