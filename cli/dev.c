/* interlock dev: all services of an installation on this machine, for development: started in order, watched,
 * stopped in reverse. Nothing is restarted: a service that dies is something to look at. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"

static void block_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP); /* the terminal is gone */
    sigaddset(set, SIGCHLD);
    sigprocmask(SIG_BLOCK, set, NULL);
}

static bool asked_to_stop(void) {
    sigset_t waiting;
    return sigpending(&waiting) == 0 &&
           (sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1);
}

static const char *address(arena *memory, int tcp_port) {
    const char *text = tcp_port > 0 ? arena_format(memory, "127.0.0.1:%d", tcp_port) : "-";
    return text != NULL ? text : "";
}

static void print_addresses(cli *self) {
    static const char *const headings[] = {"SERVICE", "gRPC (mTLS)", "METRICS, HEALTH", "UNIX SOCKET"};
    cli_table *table = cli_table_new(headings, 4);
    for (size_t i = 0; i < CLI_SERVICES; i++) {
        cli_running running;
        failure why = {0};
        if (cli_running_read(self->data_dir, cli_services[i], &running, &why) != STATUS_OK)
            continue;
        const char *http = arena_format(&self->memory, "http://127.0.0.1:%d/metrics", running.http_port);
        const char *cells[] = {cli_services[i], address(&self->memory, running.tcp_port), http,
                               running.unix_path};
        cli_table_row(table, cells);
    }
    puts("Interlock serves. This is a development set-up: one machine, one user, keys and certificates "
         "beside the data.\n");
    cli_table_print(table, stdout);
    printf("\nLogs are in %s/log. Ctrl-C stops everything.\n", self->data_dir);
    fflush(stdout);
}

static status_code start_all(children *all, failure *why) {
    for (size_t i = 0; i < CLI_SERVICES; i++) {
        if (asked_to_stop())
            return fail(why, STATUS_CANCELLED, "STOPPED", "stopped while starting");
        status_code code = children_start(all, cli_services[i], why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

/* Until a signal (true) or the end of a service (false). */
static bool watch(children *all, const sigset_t *set) {
    for (;;) {
        int received = 0, ended = 0;
        sigwait(set, &received);
        if (received != SIGCHLD)
            return true;
        for (pid_t pid = waitpid(-1, &ended, WNOHANG); pid > 0; pid = waitpid(-1, &ended, WNOHANG)) {
            const child *dead = children_ended(all, pid);
            if (dead == NULL)
                continue;
            if (WIFSIGNALED(ended))
                fprintf(stderr, "interlock: %s was ended by signal %d; stopping the others\n", dead->service,
                        WTERMSIG(ended));
            else
                fprintf(stderr, "interlock: %s ended with code %d; stopping the others\n", dead->service,
                        WEXITSTATUS(ended));
            child_show_log(dead);
            return false;
        }
    }
}

static cli_exit run_services(cli *self, children *all) {
    sigset_t set;
    failure why = {0};
    cli_exit result = CLI_OK;
    block_signals(&set);
    status_code code = start_all(all, &why);
    if (code == STATUS_OK) {
        print_addresses(self);
        result = watch(all, &set) ? CLI_OK : CLI_ERROR;
    } else if (code != STATUS_CANCELLED) {
        result = cli_fail("dev", &why);
        if (all->count > 0)
            child_show_log(&all->items[all->count - 1]);
    }
    children_stop(all);
    if (result == CLI_OK)
        puts("\nStopped.");
    return result;
}

static status_code ensure_installation(cli *self, failure *why) {
    const trust *roots = NULL;
    status_code code = cli_roots(self, &roots, why);
    if (code != STATUS_NOT_FOUND || !cli_given(self, "init"))
        return code;
    if (cli_init(self, "demo", NULL, NULL) != CLI_OK)
        return fail(why, STATUS_FAILED_PRECONDITION, "INIT", "no installation could be made in %.300s",
                    self->data_dir);
    return cli_roots(self, &roots, why);
}

static cli_exit dev_run(cli *self) {
    failure why = {0};
    const char *bin_dir = getenv("INTERLOCK_BIN_DIR");
    const char *ports = cli_text(self, "ports");
    if (ensure_installation(self, &why) != STATUS_OK)
        return cli_fail("dev", &why);
    children *all = calloc(1, sizeof *all);
    if (all == NULL)
        return CLI_ERROR;
    all->data_dir = self->data_dir;
    all->bin_dir = bin_dir != NULL && bin_dir[0] != '\0' ? bin_dir : self->program_dir;
    all->auto_ports = ports != NULL && strcmp(ports, "auto") == 0;
    all->source = self->source;
    cli_exit result = run_services(self, all);
    free(all);
    return result;
}

static const cli_flag dev_flags[] = {
    {.name = "init", .kind = FLAG_SWITCH, .help = "make an installation first when there is none"},
    {.name = "ports",
     .kind = FLAG_TEXT,
     .value_name = "WHICH",
     .help = "fixed: 7441-7444 and 7451-7455; auto: free ones [fixed]",
     .choices = "fixed|auto"},
};
const cli_command dev_commands[] = {{.noun = "dev",
                                     .purpose = "start all services on this machine, for development",
                                     .flags = dev_flags,
                                     .flag_count = sizeof dev_flags / sizeof *dev_flags,
                                     .examples = "  interlock dev --init\n  interlock dev --ports auto\n",
                                     .run = dev_run}};
const size_t dev_command_count = sizeof dev_commands / sizeof *dev_commands;
