/* The options that every service has. */
#include "daemon_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const option daemon_common_options[] = {
    {.name = "config",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "YAML file with these options as keys"},
    {.name = "data-dir",
     .kind = OPTION_TEXT,
     .fallback = "/var/lib/interlock",
     .value_name = "DIR",
     .help = "the installation's data folder"},
    {.name = "listen-unix",
     .kind = OPTION_TEXT,
     .value_name = "PATH",
     .help = "unix socket to serve on [DATA-DIR/run/NAME.sock]"},
    {.name = "listen",
     .kind = OPTION_TEXT,
     .value_name = "HOST:PORT",
     .help = "TCP address to serve on, with mTLS (port 0: any) [none]"},
    {.name = "http",
     .kind = OPTION_TEXT,
     .fallback = "127.0.0.1:0",
     .value_name = "HOST:PORT",
     .help = "where /metrics and /healthz are"},
    {.name = "tls-certificate",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "PEM, for --listen and TCP peers"},
    {.name = "tls-key", .kind = OPTION_TEXT, .value_name = "FILE", .help = "PEM"},
    {.name = "tls-authority",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "PEM, of those who may connect"},
    {.name = "trust",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "the root of trust [DATA-DIR/installation.yaml]"},
    {.name = "peers",
     .kind = OPTION_TEXT,
     .value_name = "LIST",
     .help = "other local users and their roles: uid=1000:agent|operator,…"},
    {.name = "log-level",
     .kind = OPTION_TEXT,
     .fallback = "info",
     .value_name = "LEVEL",
     .help = "debug, info, warn or error"},
    {.name = "log-format",
     .kind = OPTION_TEXT,
     .fallback = "logfmt",
     .value_name = "FORMAT",
     .help = "logfmt or json"},
    {.name = "loops",
     .kind = OPTION_NUMBER,
     .fallback = "0",
     .value_name = "N",
     .most = 64,
     .help = "event loops; 0: one for every two cores, at most 8"},
    {.name = "drain-ms",
     .kind = OPTION_NUMBER,
     .fallback = "5000",
     .value_name = "MS",
     .least = 1,
     .most = 60000,
     .help = "grace for calls in flight at shutdown"},
};
const size_t daemon_common_option_count = sizeof daemon_common_options / sizeof *daemon_common_options;

option *daemon_options_join(const daemon_spec *spec, size_t *count) {
    size_t total = daemon_common_option_count + spec->option_count;
    option *joined = calloc(total, sizeof *joined);
    if (joined == NULL)
        return NULL;
    memcpy(joined, daemon_common_options, sizeof daemon_common_options);
    if (spec->option_count > 0)
        memcpy(joined + daemon_common_option_count, spec->options, spec->option_count * sizeof *joined);
    *count = total;
    return joined;
}

/* "--name" of an option that takes its value from the next argument: that argument is no flag. */
static bool takes_next(const option *options, size_t count, const char *argument) {
    if (strncmp(argument, "--", 2) != 0 || strchr(argument, '=') != NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i].name, argument + 2) == 0)
            return options[i].kind != OPTION_FLAG;
    return false;
}

static bool stands_alone(daemon_arguments *self, const char *argument) {
    if (strcmp(argument, "-n") == 0)
        self->check_only = true;
    else if (strcmp(argument, "--version") == 0)
        self->version = true;
    else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
        self->help = true;
    else
        return false;
    return true;
}

static const char *environment_config(char **environment) {
    static const char name[] = "INTERLOCK_CONFIG=";
    for (char **entry = environment; entry != NULL && *entry != NULL; entry++)
        if (strncmp(*entry, name, sizeof name - 1) == 0)
            return *entry + sizeof name - 1;
    return NULL;
}

status_code daemon_arguments_read(daemon_arguments *out, const option *options, size_t count, int argc,
                                  char **argv, char **environment, failure *why) {
    daemon_arguments self = {.config = environment_config(environment)};
    self.rest = calloc((size_t)argc + 1, sizeof *self.rest);
    if (self.rest == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the arguments");
    for (int i = 0; i < argc; i++) {
        if (stands_alone(&self, argv[i]))
            continue;
        self.rest[self.rest_count++] = argv[i];
        if (strncmp(argv[i], "--config=", 9) == 0)
            self.config = argv[i] + 9;
        if (!takes_next(options, count, argv[i]) || i + 1 >= argc)
            continue;
        if (strcmp(argv[i], "--config") == 0 && argv[i + 1][0] != '-') /* that one the settings refuse */
            self.config = argv[i + 1];
        self.rest[self.rest_count++] = argv[++i];
    }
    if (self.config != NULL && self.config[0] == '\0')
        self.config = NULL;
    *out = self;
    return STATUS_OK;
}

static status_code parse_roles(char *text, unsigned *out, failure *why) {
    unsigned roles = 0;
    char *rest = NULL;
    for (char *name = strtok_r(text, "|", &rest); name != NULL; name = strtok_r(NULL, "|", &rest)) {
        rpc_role role = rpc_role_parse(name);
        if (role == ROLE_NONE)
            return fail_field(why, "peers", "BAD_ROLE",
                              "\"%.32s\" is no role; agent, executor, approver, operator, auditor, telemetry "
                              "and service are",
                              name);
        roles |= (unsigned)role;
    }
    if (roles == 0)
        return fail_field(why, "peers", "BAD_ROLE", "a peer without roles may do nothing: leave it out");
    *out = roles;
    return STATUS_OK;
}

static status_code parse_peer(char *text, daemon_peers *out, failure *why) {
    char *colon = strchr(text, ':');
    char *end = NULL;
    long long uid = strncmp(text, "uid=", 4) == 0 ? strtoll(text + 4, &end, 10) : -1;
    if (colon == NULL || end != colon || end == text + 4 || uid < 0 || uid > UINT32_MAX)
        return fail_field(why, "peers", "BAD_PEER",
                          "\"%.64s\" is not uid=NUMBER:ROLE|ROLE (e.g. uid=1000:agent|operator)", text);
    if (out->count == DAEMON_PEERS_MAX)
        return fail_field(why, "peers", "TOO_MANY_PEERS", "more than %u peers", DAEMON_PEERS_MAX);
    status_code code = parse_roles(colon + 1, &out->roles[out->count], why);
    if (code == STATUS_OK)
        out->uids[out->count++] = uid;
    return code;
}

status_code daemon_peers_parse(const char *text, daemon_peers *out, failure *why) {
    daemon_peers peers = {.count = 0};
    char *copy = strdup(text);
    if (copy == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the peers");
    status_code code = STATUS_OK;
    char *rest = NULL;
    for (char *peer = strtok_r(copy, ",", &rest); peer != NULL && code == STATUS_OK;
         peer = strtok_r(NULL, ",", &rest))
        code = parse_peer(peer, &peers, why);
    free(copy);
    if (code == STATUS_OK)
        *out = peers;
    return code;
}

status_code daemon_log_level_parse(const char *text, log_level *out, failure *why) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (log_level)i;
            return STATUS_OK;
        }
    return fail_field(why, "log-level", "BAD_LOG_LEVEL", "\"%.32s\" is none of debug, info, warn, error",
                      text);
}

status_code daemon_log_format_parse(const char *text, log_format *out, failure *why) {
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "logfmt") != 0)
        return fail_field(why, "log-format", "BAD_LOG_FORMAT", "\"%.32s\" is neither logfmt nor json", text);
    *out = json ? LOG_JSON : LOG_LOGFMT;
    return STATUS_OK;
}

status_code daemon_run_path(const char *data_dir, const char *name, const char *ending,
                            char out[DAEMON_PATH_BYTES], failure *why) {
    char path[DAEMON_PATH_BYTES];
    int size = snprintf(path, sizeof path, "%s/run/%s%s", data_dir, name, ending);
    if (size < 0 || (size_t)size >= sizeof path)
        return fail_field(why, "data-dir", "PATH_TOO_LONG",
                          "the data folder's path is too long; take one shorter than 200 bytes");
    memcpy(out, path, sizeof path);
    return STATUS_OK;
}
