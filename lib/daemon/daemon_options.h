/* The options that every service has, and what they mean to the servers. Private to lib/daemon. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include "daemon/daemon.h"

#define DAEMON_PEERS_MAX 32U
#define DAEMON_PATH_BYTES 256U

extern const option daemon_common_options[];
extern const size_t daemon_common_option_count;

typedef struct daemon_peers {
    int64_t uids[DAEMON_PEERS_MAX];
    unsigned roles[DAEMON_PEERS_MAX];
    size_t count;
} daemon_peers;

/* What comes from the command line before the settings are read. */
typedef struct daemon_arguments {
    bool check_only, version, help;
    const char *config; /* NULL: none */
    char **rest;        /* argv without the flags that stand alone; free it */
    int rest_count;
} daemon_arguments;

/* The common options followed by the service's own; free it. NULL without memory. */
option *daemon_options_join(const daemon_spec *spec, size_t *count);

status_code daemon_arguments_read(daemon_arguments *out, const option *options, size_t count, int argc,
                                  char **argv, char **environment, failure *why) MUST_USE;

/* "uid=1000:agent|operator,uid=0:operator". */
status_code daemon_peers_parse(const char *text, daemon_peers *out, failure *why) MUST_USE;

status_code daemon_log_level_parse(const char *text, log_level *out, failure *why) MUST_USE;
status_code daemon_log_format_parse(const char *text, log_format *out, failure *why) MUST_USE;

/* <data-dir>/run/<name><ending>; a path that does not fit is refused. */
status_code daemon_run_path(const char *data_dir, const char *name, const char *ending,
                            char out[DAEMON_PATH_BYTES], failure *why) MUST_USE;

#endif
