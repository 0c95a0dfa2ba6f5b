/* interlock doctor: looks for what commonly goes wrong, and says what to do about it. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli.h"
#include "control/place.h"

#define DISK_LEAST_BYTES (256ULL << 20)
#define CLOCK_LEAST_MS 1704067200000LL /* 2024-01-01: no clock that runs is before it */
#define SOCKET_PATH_MOST 107U
#define ETCD_TIMEOUT_MS 3000U

typedef struct findings {
    cli *shell;
    unsigned problems;
} findings;

static void good(const char *what, const char *detail) {
    printf("  ok       %-22s %s\n", what, detail);
}

static void bad(findings *self, const char *what, const char *detail, const char *advice) {
    self->problems++;
    printf("  PROBLEM  %-22s %s\n           %-22s -> %s\n", what, detail, "", advice);
}

static void check_installation(findings *self) {
    failure why = {0};
    const trust *roots = NULL;
    if (cli_roots(self->shell, &roots, &why) == STATUS_OK)
        good("installation", roots->installation);
    else
        bad(self, "installation", why.message,
            why.code == STATUS_NOT_FOUND ? "interlock init" : "restore installation.yaml from a backup");
}

static void check_private(findings *self, const char *name, bool folder) {
    char path[CLI_PATH_BYTES];
    struct stat facts;
    failure why = {0};
    if (cli_path(self->shell, path, &why, "%s", name) != STATUS_OK)
        return;
    if (stat(path, &facts) != 0) {
        bad(self, name, strerror(errno),
            folder ? "interlock init makes it; restore it from a backup" : "restore it from a backup");
        return;
    }
    if ((facts.st_mode & 077U) != 0)
        bad(self, name, "others may read it",
            folder ? "chmod 700 it" : "chmod 600 it, and consider the key exposed");
    else if (facts.st_uid != geteuid())
        bad(self, name, "it belongs to another user", "chown it to the user that runs the services");
    else
        good(name, "private");
}

typedef struct key_file {
    const char *name;
    key_purpose purpose;
    bool root; /* its public key is in installation.yaml */
} key_file;

static const key_file key_files[] = {
    {"operator", KEY_OPERATOR, true},        {"record-policy", KEY_RECORD, true},
    {"checkpoint", KEY_CHECKPOINT, true},    {"permit", KEY_PERMIT, true},
    {"executor-local", KEY_EXECUTOR, false},
};

static void check_key(findings *self, const key_file *file) {
    char what[64];
    failure why = {0};
    secret_key *key = NULL;
    snprintf(what, sizeof what, "keys/%s.key", file->name);
    status_code code = cli_key(self->shell, file->name, file->purpose, &key, &why);
    if (code != STATUS_OK)
        bad(self, what, why.message, "restore it from a backup; without it this service or role cannot sign");
    else if (file->root && self->shell->roots != NULL &&
             trust_find_keyid(self->shell->roots, file->purpose, secret_key_public(key)->keyid) == NULL)
        bad(self, what, "it is not the key that installation.yaml names",
            "restore the key or installation.yaml");
    else
        good(what, "loads, has its purpose");
    secret_key_free(key);
}

static void check_socket_path(findings *self) {
    char path[CLI_PATH_BYTES];
    failure why = {0};
    if (cli_path(self->shell, path, &why, "run/policy.sock") == STATUS_OK && strlen(path) <= SOCKET_PATH_MOST)
        good("socket paths", "short enough");
    else
        bad(self, "socket paths", "longer than a unix socket's name may be", "take a shorter --data-dir");
}

static void check_disk(findings *self) {
    struct statvfs facts;
    char words[64];
    if (statvfs(self->shell->data_dir, &facts) != 0) {
        bad(self, "disk", strerror(errno), "look at the data folder's file system");
        return;
    }
    unsigned long long left = (unsigned long long)facts.f_bavail * facts.f_frsize;
    snprintf(words, sizeof words, "%llu MiB left", left >> 20);
    if (left < DISK_LEAST_BYTES)
        bad(self, "disk", words, "make room: a full disk stops the log, and so every decision");
    else
        good("disk", words);
}

/* Answers, and holds this installation. */
static status_code ask_etcd(findings *self, coord *coordination, failure *why) {
    coord_result found = {0};
    char prefix[PLACE_PREFIX_BYTES];
    place_prefix(self->shell->roots, prefix);
    status_code code = coord_get_wait(coordination, "control/seq", false, ETCD_TIMEOUT_MS,
                                      &self->shell->memory, &found, why);
    if (code == STATUS_OK && found.count == 0)
        code = fail(why, STATUS_NOT_FOUND, "NOT_THERE", "it answers, and holds nothing under %s", prefix);
    return code;
}

static void check_coordination(findings *self) {
    failure why = {0};
    place where;
    coord *coordination = NULL;
    status_code code = place_find(&where, self->shell->data_dir, NULL, NULL, &why);
    if (code != STATUS_OK) {
        bad(self, "coordination", why.message, "correct " PLACE_FILE);
        return;
    }
    if (where.etcd[0] == '\0') {
        good("coordination", "the embedded file");
        return;
    }
    code = place_open(&coordination, &where, self->shell->roots, self->shell->source, &why);
    if (code == STATUS_OK)
        code = ask_etcd(self, coordination, &why);
    if (code == STATUS_OK)
        good("etcd", where.etcd);
    else
        bad(self, "etcd", why.message,
            code == STATUS_NOT_FOUND ? "is " PLACE_FILE " another etcd's? else restore etcd from a backup"
                                     : "start it, or correct " PLACE_FILE
                                       "; until then every action is deferred");
    coord_close(coordination);
}

static void check_clock(findings *self) {
    int64_t now = chance_wall_ms(self->shell->source);
    if (now < CLOCK_LEAST_MS)
        bad(self, "clock", cli_time(&self->shell->memory, now),
            "set it (chrony or systemd-timesyncd): statements expire by it");
    else
        good("clock", cli_time(&self->shell->memory, now));
}

static void check_program(findings *self, const char *service) {
    char path[CLI_PATH_BYTES + 64], what[64];
    snprintf(path, sizeof path, "%s/interlock-%s", self->shell->program_dir, service);
    snprintf(what, sizeof what, "interlock-%s", service);
    if (access(path, X_OK) == 0)
        good(what, "is beside interlock");
    else
        bad(self, what, "is not beside interlock", "install it, or set INTERLOCK_BIN_DIR for interlock dev");
}

static void check_running(findings *self, const char *service) {
    cli_running running;
    failure why = {0};
    char what[64], words[64], path[CLI_PATH_BYTES + 64];
    snprintf(what, sizeof what, "%s runs", service);
    if (cli_running_read(self->shell->data_dir, service, &running, &why) != STATUS_OK) {
        printf("  -        %-22s not running (interlock dev starts it)\n", what);
        return;
    }
    snprintf(path, sizeof path, "/proc/%ld", running.pid);
    snprintf(words, sizeof words, "pid %ld", running.pid);
    if (access(path, F_OK) != 0)
        bad(self, what, "its run file is of a process that is gone", "start it again; the file is replaced");
    else if (access(running.unix_path, F_OK) != 0)
        bad(self, what, "its socket is gone", "restart it");
    else
        good(what, words);
}

static cli_exit doctor_run(cli *self) {
    findings found = {.shell = self};
    printf("Interlock %s, data in %s\n", INTERLOCK_VERSION, self->data_dir);
    check_installation(&found);
    if (self->roots != NULL) {
        check_private(&found, "keys", true);
        check_private(&found, "tls", true);
        check_private(&found, "tls/ca.key", false);
        for (size_t i = 0; i < sizeof key_files / sizeof *key_files; i++)
            check_key(&found, &key_files[i]);
        check_socket_path(&found);
        check_disk(&found);
        check_coordination(&found);
    }
    check_clock(&found);
    for (size_t i = 0; i < CLI_SERVICES; i++)
        check_program(&found, cli_services[i]);
    for (size_t i = 0; i < CLI_SERVICES && self->roots != NULL; i++)
        check_running(&found, cli_services[i]);
    if (found.problems == 0)
        puts("Nothing wrong found.");
    else
        printf("%u problem%s found.\n", found.problems, found.problems == 1 ? "" : "s");
    return found.problems == 0 ? CLI_OK : CLI_ERROR;
}

const cli_command doctor_commands[] = {
    {.noun = "doctor",
     .purpose = "look for what commonly goes wrong",
     .examples = "  interlock doctor\n",
     .run = doctor_run},
};
const size_t doctor_command_count = sizeof doctor_commands / sizeof *doctor_commands;
