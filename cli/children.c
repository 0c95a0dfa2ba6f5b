/* Service processes under `interlock dev`. Each is in a process group of its own, so that Ctrl-C reaches dev
 * alone, which then stops them in order. */
#include "children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 30000U
#define STOP_MS 15000U
#define STEP_MS 10
#define ARGUMENTS_MAX 16
#define LOG_TAIL_BYTES 2000

typedef struct port {
    const char *service;
    int grpc, http;
} port;

/* The signer has no TCP port: it holds a key. */
static const port ports[] = {
    {"graph", 7441, 7451},  {"policy", 7442, 7452}, {"audit", 7443, 7453},
    {"memory", 7444, 7454}, {"signer", -1, 7455},
};

static void step(void) {
    struct timespec pause = {.tv_nsec = STEP_MS * 1000000L};
    nanosleep(&pause, NULL);
}

static const port *port_of(const char *service) {
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++)
        if (strcmp(ports[i].service, service) == 0)
            return &ports[i];
    return &ports[0];
}

typedef struct command_line {
    char program[CLI_PATH_BYTES];
    char listen[32], http[32];
    char certificate[CLI_PATH_BYTES + 64], key[CLI_PATH_BYTES + 64], authority[CLI_PATH_BYTES + 64];
    char *arguments[ARGUMENTS_MAX];
    size_t count;
} command_line;

static void add_pair(command_line *self, const char *flag, const char *value) {
    self->arguments[self->count++] = (char *)flag;
    self->arguments[self->count++] = (char *)value;
}

static void compose(const children *self, const char *service, command_line *out) {
    const port *fixed = port_of(service);
    snprintf(out->program, sizeof out->program, "%s/interlock-%s", self->bin_dir, service);
    out->arguments[out->count++] = out->program;
    add_pair(out, "--data-dir", self->data_dir);
    snprintf(out->http, sizeof out->http, "127.0.0.1:%d", self->auto_ports ? 0 : fixed->http);
    add_pair(out, "--http", out->http);
    if (fixed->grpc < 0)
        return;
    snprintf(out->listen, sizeof out->listen, "127.0.0.1:%d", self->auto_ports ? 0 : fixed->grpc);
    snprintf(out->certificate, sizeof out->certificate, "%s/tls/service-%s.pem", self->data_dir, service);
    snprintf(out->key, sizeof out->key, "%s/tls/service-%s.key", self->data_dir, service);
    snprintf(out->authority, sizeof out->authority, "%s/tls/ca.pem", self->data_dir);
    add_pair(out, "--listen", out->listen);
    add_pair(out, "--tls-certificate", out->certificate);
    add_pair(out, "--tls-key", out->key);
    add_pair(out, "--tls-authority", out->authority);
}

static status_code spawn(child *target, command_line *line, failure *why) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, target->log_path, O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int problem = posix_spawn(&target->pid, line->program, &files, &attributes, line->arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (problem == 0)
        return STATUS_OK;
    target->pid = 0;
    return fail(why, STATUS_FAILED_PRECONDITION, "SPAWN",
                "cannot start %.300s: %s (INTERLOCK_BIN_DIR says where the programs are)", line->program,
                strerror(problem));
}

/* Its run file names it: one that names another is of a process that was killed, or that still runs. */
static bool is_serving(const children *self, const child *target) {
    cli_running running;
    return cli_running_read(self->data_dir, target->service, &running, NULL) == STATUS_OK &&
           running.pid == (long)target->pid;
}

static status_code wait_until_serving(const children *self, child *target, failure *why) {
    uint64_t end = chance_boot_ms(self->source) + START_MS;
    int ended = 0;
    while (!is_serving(self, target)) {
        if (waitpid(target->pid, &ended, WNOHANG) == target->pid) {
            target->pid = 0;
            return fail(why, STATUS_FAILED_PRECONDITION, "SERVICE_ENDED",
                        "%s ended while starting; its log is %.300s", target->service, target->log_path);
        }
        if (chance_boot_ms(self->source) > end)
            return fail(why, STATUS_DEADLINE_EXCEEDED, "SERVICE_SLOW",
                        "%s does not serve after %u s; its log is %.300s", target->service, START_MS / 1000,
                        target->log_path);
        step();
    }
    return STATUS_OK;
}

status_code children_start(children *self, const char *service, failure *why) {
    child *target = &self->items[self->count];
    command_line *line = calloc(1, sizeof *line);
    if (line == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    compose(self, service, line);
    target->service = service;
    snprintf(target->log_path, sizeof target->log_path, "%.400s/log/%s.log", self->data_dir, service);
    status_code code = spawn(target, line, why);
    free(line);
    if (code != STATUS_OK)
        return code;
    self->count++;
    return wait_until_serving(self, target, why);
}

child *children_ended(children *self, pid_t pid) {
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].pid == pid) {
            self->items[i].pid = 0;
            return &self->items[i];
        }
    return NULL;
}

static void stop_one(const children *self, child *target) {
    uint64_t end = chance_boot_ms(self->source) + STOP_MS;
    int ended = 0;
    kill(target->pid, SIGTERM);
    while (waitpid(target->pid, &ended, WNOHANG) == 0) {
        if (chance_boot_ms(self->source) > end) {
            fprintf(stderr, "interlock: %s does not stop; killing it\n", target->service);
            kill(target->pid, SIGKILL);
            waitpid(target->pid, &ended, 0);
            break;
        }
        step();
    }
    target->pid = 0;
}

void children_stop(children *self) {
    for (size_t i = self->count; i > 0; i--)
        if (self->items[i - 1].pid != 0)
            stop_one(self, &self->items[i - 1]);
}

void child_show_log(const child *self) {
    char text[LOG_TAIL_BYTES + 1];
    FILE *file = fopen(self->log_path, "re");
    if (file == NULL)
        return;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0, SEEK_SET);
    size_t got = fread(text, 1, LOG_TAIL_BYTES, file);
    text[got] = '\0';
    fclose(file);
    fprintf(stderr, "--- end of %s\n%s---\n", self->log_path, text);
}
