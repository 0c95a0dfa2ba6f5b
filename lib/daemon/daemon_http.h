/* /metrics and /healthz of a process. Private to lib/daemon. */
#ifndef DAEMON_HTTP_H
#define DAEMON_HTTP_H

#include <stdatomic.h>

#include "daemon/daemon.h"
#include "http/server.h"

typedef struct daemon_pages {
    const daemon_spec *spec;
    void *service;
    const rpc_server *server;
    int64_t started_ms; /* wall clock, for process_start_time_seconds */
    atomic_bool serving;
} daemon_pages;

int daemon_metrics_page(void *context, buffer *body, const char **content_type);
int daemon_health_page(void *context, buffer *body, const char **content_type);

/* CPU, memory, descriptors and start time, under the names that Prometheus clients share. */
void daemon_write_process_metrics(int64_t started_ms, buffer *out);

#endif
