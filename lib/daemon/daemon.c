/* The life of a service process: settings, open, listen, serve, wait for a signal, stop in order. */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "control/trust.h"
#include "crypto/crypto.h"
#include "daemon_http.h"
#include "daemon_options.h"

#define EXIT_STOPPED 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define UNIX_PATH_MAX 107U
#define KEPT_BYTES (32 << 20)
#define READY_STEP_MS 20U
#define READY_ANNOUNCE_MS 5000U

#define ALL_ROLES                                                                                            \
    (ROLE_AGENT | ROLE_EXECUTOR | ROLE_APPROVER | ROLE_OPERATOR | ROLE_AUDITOR | ROLE_TELEMETRY |            \
     ROLE_SERVICE)

typedef struct process {
    const daemon_spec *spec;
    daemon_context context;
    void *service;
    rpc_server *server;
    http_server *http;
    daemon_pages pages;
    http_route routes[2];
    daemon_peers peers;
    char unix_path[DAEMON_PATH_BYTES];
    char run_file[DAEMON_PATH_BYTES];
    char trust_path[DAEMON_PATH_BYTES + 64];
    int lock; /* descriptor; -1: none */
    sigset_t signals;
} process;

void daemon_abort(const char *what, const failure *why) {
    log_failure(what, why);
    _exit(EXIT_FAILED);
}

static status_code folder_make(const char *path, failure *why) {
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return STATUS_OK;
    return fail(why, STATUS_FAILED_PRECONDITION, "FOLDER", "cannot make %.300s: %s", path, strerror(errno));
}

/* Two processes of one service on one data folder would take each other's socket and database. */
static status_code lock_take(process *self, failure *why) {
    char path[DAEMON_PATH_BYTES];
    status_code code = daemon_run_path(self->context.data_dir, self->spec->name, ".daemon.lock", path, why);
    if (code != STATUS_OK)
        return code;
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "LOCK_FILE", "cannot open %.300s: %s", path,
                    strerror(errno));
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        close(descriptor);
        return fail(why, STATUS_FAILED_PRECONDITION, "ALREADY_RUNNING",
                    "interlock-%s already runs on %.300s; stop it first or take another --data-dir",
                    self->spec->name, self->context.data_dir);
    }
    self->lock = descriptor;
    return STATUS_OK;
}

/* -n changes nothing: no folder, no lock. */
static status_code folders_prepare(process *self, failure *why) {
    char run[DAEMON_PATH_BYTES];
    status_code code = daemon_run_path(self->context.data_dir, "", "", run, why);
    if (code != STATUS_OK || self->context.check_only)
        return code;
    code = folder_make(self->context.data_dir, why);
    if (code == STATUS_OK)
        code = folder_make(run, why);
    if (code == STATUS_OK)
        code = lock_take(self, why);
    if (code == STATUS_OK)
        unlink(self->run_file); /* of a process that was killed: nobody serves yet */
    return code;
}

static status_code paths_prepare(process *self, failure *why) {
    const settings *values = self->context.settings;
    const char *given = settings_text(values, "listen-unix");
    status_code code =
        daemon_run_path(self->context.data_dir, self->spec->name, ".json", self->run_file, why);
    if (code == STATUS_OK && given[0] == '\0')
        code = daemon_run_path(self->context.data_dir, self->spec->name, ".sock", self->unix_path, why);
    else if (code == STATUS_OK)
        snprintf(self->unix_path, sizeof self->unix_path, "%s", given);
    if (code == STATUS_OK && strlen(self->unix_path) > UNIX_PATH_MAX)
        code = fail_field(why, "listen-unix", "PATH_TOO_LONG",
                          "%.300s is longer than the %u bytes that a unix socket may have; take a shorter "
                          "--data-dir",
                          self->unix_path, UNIX_PATH_MAX);
    const char *trust_given = settings_text(values, "trust");
    if (trust_given[0] != '\0')
        snprintf(self->trust_path, sizeof self->trust_path, "%s", trust_given);
    else
        snprintf(self->trust_path, sizeof self->trust_path, "%s/installation.yaml", self->context.data_dir);
    return code;
}

/* Loops of one process hand the polling on to each other, which costs two switches of threads an event. A
 * machine has several services, and each has threads beside its loops: half the cores keep a loop busy. */
static unsigned loops_of(const settings *values) {
    unsigned asked = (unsigned)settings_number(values, "loops");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return asked != 0 ? asked : cores < 4 ? 1 : (unsigned)cores / 2;
}

/* Messages of a hundred kilobytes come and go with every batch. By default malloc gives their memory back to
 * the kernel each time, and the kernel clears it page by page when it is wanted again. */
static void keep_memory(void) {
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

/* The roots name the installation, whose name is the trust domain of SPIFFE ids. Only TCP needs it. */
static status_code server_open(process *self, failure *why) {
    const settings *values = self->context.settings;
    const char *address = settings_text(values, "listen");
    trust *roots = NULL;
    rpc_server_options options = {
        .unix_path = self->unix_path,
        .peer_uids = self->peers.uids,
        .peer_roles = self->peers.roles,
        .peer_count = self->peers.count,
        .own_uid_roles = ALL_ROLES,
        .loops = loops_of(values),
        .drain_ms = (uint32_t)settings_number(values, "drain-ms"),
    };
    if (address[0] != '\0') {
        status_code code = trust_load(self->trust_path, &roots, why);
        if (code != STATUS_OK)
            return code;
        options.tcp_address = address;
        options.tls_certificate_path = settings_text(values, "tls-certificate");
        options.tls_key_path = settings_text(values, "tls-key");
        options.tls_authority_path = settings_text(values, "tls-authority");
        options.trust_domain = roots->installation;
    }
    status_code code = rpc_server_start(&self->server, &options, self->spec->methods,
                                        self->spec->method_count, self->service, why);
    trust_free(roots);
    return code;
}

static status_code http_open(process *self, failure *why) {
    self->pages.spec = self->spec;
    self->pages.service = self->service;
    self->pages.server = self->server;
    self->pages.started_ms = chance_wall_ms(self->context.source);
    self->routes[0] = (http_route){"/metrics", daemon_metrics_page, &self->pages};
    self->routes[1] = (http_route){"/healthz", daemon_health_page, &self->pages};
    return http_server_start(&self->http, settings_text(self->context.settings, "http"), self->routes, 2,
                             why);
}

static void write_json_text(FILE *file, const char *text) {
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(file, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(file, "\\u%04x", *c);
        else
            fputc(*c, file);
    }
    fputc('"', file);
}

/* Written beside and renamed, so that whoever waits for it never reads half of it. */
static status_code run_file_write(process *self, failure *why) {
    char partial[DAEMON_PATH_BYTES + 8];
    snprintf(partial, sizeof partial, "%s.tmp", self->run_file);
    FILE *file = fopen(partial, "we");
    if (file == NULL)
        return fail(why, STATUS_FAILED_PRECONDITION, "RUN_FILE", "cannot write %.300s: %s", partial,
                    strerror(errno));
    fprintf(file, "{\"pid\":%ld,\"unix\":", (long)getpid());
    write_json_text(file, self->unix_path);
    fprintf(file, ",\"tcp_port\":%u,\"http_port\":%u}\n", rpc_server_port(self->server),
            http_server_port(self->http));
    bool written = fflush(file) == 0 && ferror(file) == 0;
    if (fclose(file) != 0 || !written || rename(partial, self->run_file) != 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "RUN_FILE", "cannot write %.300s: %s", self->run_file,
                    strerror(errno));
    return STATUS_OK;
}

/* ---- serving ---- */

static void become_serving(process *self) {
    rpc_server_set_serving(self->server, true);
    atomic_store(&self->pages.serving, true);
    LOG(LOG_INFO, "serving", LOG_TEXT("unix", self->unix_path),
        LOG_NUMBER("port", rpc_server_port(self->server)),
        LOG_NUMBER("http_port", http_server_port(self->http)), LOG_TEXT("version", INTERLOCK_VERSION));
    sd_notify(0, "STATUS=serving");
}

static bool is_ready(const process *self) {
    return self->spec->ready == NULL || self->spec->ready(self->service);
}

/* The signal that came within that time; 0: none. */
static int next_signal(const process *self, unsigned wait_ms) {
    const struct timespec wait = {.tv_nsec = (long)wait_ms * 1000000L};
    int received = sigtimedwait(&self->signals, NULL, &wait);
    return received > 0 ? received : 0;
}

/* Waits for the service to be ready, `most_ms` at most; or for a signal, which is returned. */
static int wait_until_ready(const process *self, uint64_t most_ms, bool *ready) {
    uint64_t begun_ms = chance_boot_ms(self->context.source);
    int received = 0;
    while (!(*ready = is_ready(self)) && received == 0 &&
           chance_boot_ms(self->context.source) - begun_ms < most_ms)
        received = next_signal(self, READY_STEP_MS);
    return received;
}

static status_code announce(process *self, bool ready, failure *why) {
    status_code code = run_file_write(self, why);
    if (code != STATUS_OK)
        return code;
    if (!ready)
        LOG(LOG_WARN, "listening, and not serving yet: what the service rests on is not there",
            LOG_TEXT("unix", self->unix_path));
    sd_notify(0, "READY=1");
    return STATUS_OK;
}

/* Until a signal. */
static status_code serve(process *self, failure *why) {
    bool ready = false;
    int received = wait_until_ready(self, READY_ANNOUNCE_MS, &ready);
    if (ready)
        become_serving(self);
    status_code code = received == 0 ? announce(self, ready, why) : STATUS_OK;
    if (code != STATUS_OK)
        return code;
    if (received == 0 && !ready) {
        received = wait_until_ready(self, UINT64_MAX, &ready);
        if (ready)
            become_serving(self);
    }
    if (received == 0)
        sigwait(&self->signals, &received);
    LOG(LOG_INFO, "stopping", LOG_TEXT("signal", received == SIGTERM ? "SIGTERM" : "SIGINT"));
    return STATUS_OK;
}

static void shut_down(process *self, bool started) {
    sd_notify(0, "STOPPING=1");
    atomic_store(&self->pages.serving, false);
    if (self->run_file[0] != '\0')
        unlink(self->run_file);
    if (self->server != NULL) {
        rpc_server_set_serving(self->server, false);
        rpc_server_stop(self->server);
    }
    if (started && self->spec->stop != NULL)
        self->spec->stop(self->service);
    http_server_stop(self->http);
    rpc_server_free(self->server);
}

static status_code run(process *self, failure *why) {
    bool started = false;
    status_code code = server_open(self, why);
    if (code == STATUS_OK)
        code = http_open(self, why);
    if (code == STATUS_OK) {
        started = true; /* `stop` also cleans up after a `start` that failed half-way */
        if (self->spec->start != NULL)
            code = self->spec->start(self->service, self->server, why);
    }
    if (code == STATUS_OK)
        code = serve(self, why);
    shut_down(self, started);
    return code;
}

/* Blocked before any thread starts, so that every thread inherits it and sigwait alone sees them. */
static void signals_block(process *self) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(&self->signals);
    sigaddset(&self->signals, SIGTERM);
    sigaddset(&self->signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &self->signals, NULL);
}

static int open_and_run(process *self) {
    failure why = {0};
    status_code code = folders_prepare(self, &why);
    if (code == STATUS_OK)
        code = self->spec->open(&self->context, &self->service, &why);
    if (code == STATUS_OK && !self->context.check_only)
        code = run(self, &why);
    if (self->spec->close != NULL)
        self->spec->close(self->service);
    if (self->lock >= 0)
        close(self->lock);
    if (code != STATUS_OK) {
        log_failure(self->context.check_only ? "check failed" : "failed", &why);
        return EXIT_FAILED;
    }
    if (self->context.check_only)
        puts("configuration ok");
    else
        LOG(LOG_INFO, "stopped", LOG_NUMBER("exit", EXIT_STOPPED));
    return EXIT_STOPPED;
}

/* Everything that -n can find wrong without opening the service. */
static status_code settings_apply(process *self, failure *why) {
    log_level least = LOG_INFO;
    log_format format = LOG_LOGFMT;
    const settings *values = self->context.settings;
    status_code code = daemon_log_level_parse(settings_text(values, "log-level"), &least, why);
    if (code == STATUS_OK)
        code = daemon_log_format_parse(settings_text(values, "log-format"), &format, why);
    if (code == STATUS_OK)
        code = daemon_peers_parse(settings_text(values, "peers"), &self->peers, why);
    if (code == STATUS_OK)
        code = paths_prepare(self, why);
    if (code == STATUS_OK && settings_text(values, "listen")[0] != '\0' &&
        (settings_text(values, "tls-certificate")[0] == '\0' || settings_text(values, "tls-key")[0] == '\0' ||
         settings_text(values, "tls-authority")[0] == '\0'))
        code =
            fail_field(why, "listen", "TLS_MISSING",
                       "--listen needs --tls-certificate, --tls-key and --tls-authority: TCP is always mTLS");
    if (code == STATUS_OK)
        log_setup(self->spec->name, least, format);
    return code;
}

static int usage_failed(const daemon_spec *spec, const failure *why) {
    fprintf(stderr, "interlock-%s: %s\n", spec->name, why->message);
    return EXIT_USAGE;
}

static void print_help(const daemon_spec *spec, const option *options, size_t count) {
    buffer text;
    buffer_init(&text, 65536);
    settings_help(options, count, &text);
    printf("interlock-%s %s - %s\n\nUsage: interlock-%s [OPTION…]\n\n", spec->name, INTERLOCK_VERSION,
           spec->purpose, spec->name);
    fputs(buffer_ok(&text) && text.data != NULL ? text.data : "", stdout);
    puts("  -n                          check the configuration and exit\n"
         "  --version                   print the version and exit\n"
         "  --help                      print this and exit\n\n"
         "A flag wins over the environment (--data-dir: INTERLOCK_DATA_DIR), that over the file\n"
         "(data_dir: …), that over the default. Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage.");
    buffer_free(&text);
}

static int with_settings(const daemon_spec *spec, const daemon_arguments *arguments, const option *options,
                         size_t count) {
    failure why = {0};
    settings *values = NULL;
    status_code code = settings_parse(&values, options, count, arguments->config, arguments->rest_count,
                                      arguments->rest, environ, &why);
    if (code != STATUS_OK)
        return usage_failed(spec, &why);
    process self = {.spec = spec, .lock = -1};
    self.context = (daemon_context){.settings = values,
                                    .source = chance_system(),
                                    .data_dir = settings_text(values, "data-dir"),
                                    .check_only = arguments->check_only};
    code = settings_apply(&self, &why);
    int result = EXIT_USAGE;
    if (code != STATUS_OK) {
        usage_failed(spec, &why);
    } else {
        signals_block(&self);
        crypto_init();
        result = open_and_run(&self);
    }
    settings_free(values);
    return result;
}

int daemon_main(const daemon_spec *spec, int argc, char **argv) {
    keep_memory();
    failure why = {0};
    size_t count = 0;
    daemon_arguments arguments = {0};
    option *options = daemon_options_join(spec, &count);
    if (options == NULL) {
        fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to start");
        return usage_failed(spec, &why);
    }
    int result = EXIT_STOPPED;
    if (daemon_arguments_read(&arguments, options, count, argc > 0 ? argc - 1 : 0, argv + 1, environ, &why) !=
        STATUS_OK)
        result = usage_failed(spec, &why);
    else if (arguments.help)
        print_help(spec, options, count);
    else if (arguments.version)
        printf("interlock-%s %s\n", spec->name, INTERLOCK_VERSION);
    else
        result = with_settings(spec, &arguments, options, count);
    free(arguments.rest);
    free(options);
    return result;
}
