/* What etcd.c (the backend), etcd_call.c (requests) and etcd_watch.c (watches) share. Everything here belongs
 * to coord's thread; the HTTP client's thread only posts tasks to it. */
#ifndef COORD_ETCD_INTERNAL_H
#define COORD_ETCD_INTERNAL_H

#include <stdatomic.h>

#include "etcd_wire.h"
#include "http/client.h"

#define ETCD_ENDPOINTS 8U
#define ETCD_URL_BYTES 256U

typedef struct etcd_call etcd_call;
typedef struct etcd_stream etcd_stream;

typedef struct etcd_probe {
    coord_task answered; /* first: the task is the probe */
    struct etcd *owner;
    bool open;
    uint64_t due_ms;
    int http_status;
} etcd_probe;

typedef struct etcd {
    coord *owner;
    const chance *source;
    http_client *client;
    char endpoints[ETCD_ENDPOINTS][ETCD_URL_BYTES];
    size_t endpoint_count;
    char prefix[COORD_PREFIX_BYTES + 1];
    bool closing;
    /* Requests. */
    size_t preferred; /* endpoint */
    etcd_call *calls;
    size_t call_count;
    int64_t operation_lease; /* 0: none */
    uint64_t operation_lease_ms;
    bool granting;
    /* Watches. */
    size_t watch_endpoint;
    etcd_stream *streams;
    etcd_probe probe;
} etcd;

uint64_t etcd_now_ms(const etcd *self);
void etcd_url(const etcd *self, size_t endpoint, const char *path, char out[ETCD_URL_BYTES + 32]);

bool etcd_call_ready(void *context);
void etcd_call_submit(void *context, coord_request *request);
/* Sends what is due; returns when it wants to be called again. */
uint64_t etcd_call_tick(etcd *self);
/* Answers all requests with CANCELLED; the calls under way are freed with their answers. */
void etcd_call_cancel_all(etcd *self);

void etcd_watch_open(void *context, coord_watch *watch);
void etcd_watch_close(void *context, coord_watch *watch);
/* Opens again what broke, and probes; returns when it wants to be called again. */
uint64_t etcd_watch_tick(etcd *self);

#endif
