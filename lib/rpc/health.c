/* Health as load balancers and probes ask for it: one answer for the server and every service on it. */
#include "health.h"

#include <stdlib.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "server_parts.h"

struct health_watch {
    rpc_stream *stream;
    bool known; /* a service of this server */
    int told;   /* the last status sent, -1: none */
    health_watch *previous, *next;
};

/* "" is the server as a whole. */
static bool service_known(const rpc_server *server, const char *name) {
    size_t size = strlen(name);
    if (size == 0)
        return true;
    for (size_t i = 0; i < server->method_count; i++) {
        const char *path = server->methods[i].row.path;
        if (strncmp(path + 1, name, size) == 0 && path[1 + size] == '/')
            return true;
    }
    return false;
}

static Grpc__Health__V1__HealthCheckResponse__ServingStatus status_now(const rpc_server *server) {
    return atomic_load(&server->serving)
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

static status_code check(void *service, rpc_call *call, const ProtobufCMessage *request,
                         ProtobufCMessage *response, failure *why) {
    (void)call;
    const char *name = ((const Grpc__Health__V1__HealthCheckRequest *)request)->service;
    if (!service_known(service, name))
        return fail(why, STATUS_NOT_FOUND, "SERVICE_UNKNOWN", "this server has no service %.200s", name);
    ((Grpc__Health__V1__HealthCheckResponse *)response)->status = status_now(service);
    return STATUS_OK;
}

static void tell(health_watch *self, const rpc_server *server) {
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = self->known ? status_now(server)
                                  : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    if ((int)response.status == self->told)
        return;
    self->told = (int)response.status;
    if (rpc_stream_send(self->stream, &response.base) == STATUS_RESOURCE_EXHAUSTED)
        rpc_stream_finish(self->stream, STATUS_RESOURCE_EXHAUSTED, NULL);
}

static status_code watch_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                              failure *why) {
    server_loop *home = (server_loop *)rpc_stream_loop(stream);
    health_watch *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for a watch; try again later");
    self->stream = stream;
    self->told = -1;
    self->known = service_known(service, ((const Grpc__Health__V1__HealthCheckRequest *)request)->service);
    self->next = home->watches;
    if (self->next != NULL)
        self->next->previous = self;
    home->watches = self;
    rpc_stream_set_user(stream, self);
    tell(self, service);
    return STATUS_OK;
}

static void watch_closed(void *service, rpc_stream *stream) {
    (void)service;
    health_watch *self = rpc_stream_user(stream);
    server_loop *home = (server_loop *)rpc_stream_loop(stream);
    if (self->previous != NULL)
        self->previous->next = self->next;
    else
        home->watches = self->next;
    if (self->next != NULL)
        self->next->previous = self->previous;
    free(self);
}

void health_publish(server_loop *home) {
    for (health_watch *watch = home->watches; watch != NULL; watch = watch->next)
        tell(watch, home->server);
}

static const rpc_stream_handlers watch_handlers = {.open = watch_open, .closed = watch_closed};

const rpc_method health_methods[HEALTH_METHODS] = {
    RPC_UNARY("/grpc.health.v1.Health/Check", grpc__health__v1__health_check_request__descriptor,
              grpc__health__v1__health_check_response__descriptor, ROLE_ANYONE, check),
    RPC_SERVER_STREAM("/grpc.health.v1.Health/Watch", grpc__health__v1__health_check_request__descriptor,
                      grpc__health__v1__health_check_response__descriptor, ROLE_ANYONE, &watch_handlers),
};
