/* The skeleton of every service process: a main.c is a table and one call of daemon_main. It parses settings,
 * sets up logs, opens the service, starts the gRPC server and the HTTP server for /metrics and /healthz,
 * waits until the service is ready, then says SERVING (health), READY (systemd) and writes
 * <data-dir>/run/<name>.json ({"pid","unix","tcp_port","http_port"}); a service that is not ready after 5 s
 * is announced all the same, and stays NOT_SERVING until it is. It waits for SIGTERM or SIGINT (blocked in
 * every thread; crypto_init has run before `open`), and stops in order: NOT_SERVING, drain, stop, close, exit
 * 0. Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage or settings.
 *
 * Common options (see --help): config, data-dir, listen-unix (default <data-dir>/run/<name>.sock), listen
 * (TCP with mTLS, default none), http (default 127.0.0.1:0), tls-certificate, tls-key, tls-authority, trust
 * (default <data-dir>/installation.yaml), peers ("uid=1000:agent|operator,uid=0:operator"), log-level,
 * log-format, loops, drain-ms. Flags that stand alone: -n (check the configuration and exit), --version,
 * --help. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "base/chance.h"
#include "base/log.h"
#include "daemon/settings.h"
#include "rpc/client.h"
#include "rpc/server.h"

typedef struct daemon_context {
    const settings *settings;
    const chance *source;
    const char *data_dir;
    bool check_only; /* -n: open what can be opened without changing anything, then fail or return OK */
} daemon_context;

typedef struct daemon_spec {
    const char *name;      /* "audit" */
    const char *purpose;   /* one sentence for --help */
    const option *options; /* besides the common ones */
    size_t option_count;
    const rpc_method *methods;
    size_t method_count;
    /* Loads everything that does not need the server. *service is what handlers get. */
    status_code (*open)(const daemon_context *context, void **service, failure *why);
    /* Once the server listens and before it serves: threads, streams on its loops. May be NULL. */
    status_code (*start)(void *service, rpc_server *server, failure *why);
    /* Asked on the main thread, several times a second, from the end of `start` until it says yes: is
     * everything there that calls rest on? NULL: at once. */
    bool (*ready)(void *service);
    /* After the server has drained: end threads and streams. Also after a `start` that failed. May be NULL.
     */
    void (*stop)(void *service);
    /* Frees the service; takes what a failed open left (possibly NULL). */
    void (*close)(void *service);
    /* Appends Prometheus text; may be NULL. Any thread. */
    void (*write_metrics)(void *service, buffer *out);
    /* For /healthz; NULL: healthy while serving. Any thread. */
    bool (*healthy)(void *service);
} daemon_spec;

int daemon_main(const daemon_spec *spec, int argc, char **argv);

/* For what must not go on (a COMMIT that failed): logs the failure and ends the process at once, without
 * cleaning up. */
_Noreturn void daemon_abort(const char *what, const failure *why);

/* A channel to another local service: unix:<data-dir>/run/<service>.sock in role service, or the target that
 * the option
 * "<service>" states ("unix:…" or "host:port", the latter with the process's own certificate). */
status_code daemon_channel(const daemon_context *context, const char *service, rpc_channel **out,
                           failure *why) MUST_USE;

#endif
