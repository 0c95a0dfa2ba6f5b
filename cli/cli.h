/* What the commands of `interlock` share: the table that describes a command, its arguments once read, and
 * the ways to answer. One thread, one command a process. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/chance.h"
#include "control/trust.h"
#include "interlock/common/v1/common.pb-c.h"
#include "rpc/client.h"

#define CLI_FLAGS_MAX 24U
#define CLI_LIST_MAX 64U
#define CLI_PATH_BYTES 512U
#define CLI_TIMEOUT_MS 15000U

typedef enum cli_exit {
    CLI_OK = 0, /* also: allowed */
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_DENY = 3,
    CLI_PENDING = 4, /* a review is open */
    CLI_DEFER = 5,
    CLI_UNVERIFIED = 6,
} cli_exit;

typedef enum cli_flag_kind {
    FLAG_SWITCH,
    FLAG_TEXT,
    FLAG_LIST, /* may be given many times */
} cli_flag_kind;

typedef struct cli_flag {
    const char *name; /* "target" */
    cli_flag_kind kind;
    const char *value_name;
    const char *help;
    const char *choices; /* "healthy|failed|reverted"; NULL: anything */
} cli_flag;

typedef struct cli cli;

typedef struct cli_command {
    const char *noun, *verb; /* verb NULL: the noun is the whole command */
    const char *purpose;     /* one line */
    const char *positional;  /* "ACTION_ID"; NULL: none */
    unsigned least, most;    /* of positional arguments */
    const cli_flag *flags;
    size_t flag_count;
    const char *examples; /* lines, indented by two */
    cli_exit (*run)(cli *self);
} cli_command;

typedef enum cli_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_DOT, FORMAT_SVG } cli_format;

typedef struct cli_values {
    const char *items[CLI_LIST_MAX];
    size_t count;
} cli_values;

struct cli {
    const cli_command *command;
    cli_values flags[CLI_FLAGS_MAX]; /* in the order of the command's table */
    cli_values positional;
    char data_dir[CLI_PATH_BYTES];
    cli_format format;
    bool help;
    const chance *source;
    arena memory;                     /* for the whole command */
    trust *roots;                     /* once asked for */
    char program_dir[CLI_PATH_BYTES]; /* where this binary is */
};

/* ---- commands.c: the table of commands ---- */
typedef struct cli_group {
    const cli_command *commands;
    size_t count;
} cli_group;
const cli_group *cli_all_commands(size_t *count);

/* ---- arguments.c ---- */
/* Splits the command line into command, flags and positional arguments. `self` has been zeroed. On failure
 * `self->command` tells the command, when one was found. */
status_code cli_parse(cli *self, const cli_group *groups, size_t group_count, int argc, char **argv,
                      char **environment, failure *why) MUST_USE;
const char *cli_text(const cli *self, const char *flag); /* the last one given; NULL: not given */
bool cli_given(const cli *self, const char *flag);
const cli_values *cli_list(const cli *self, const char *flag);
status_code cli_number(const cli *self, const char *flag, double least, double most, double *out,
                       failure *why) MUST_USE; /* untouched when not given */
/* "name=value" into its halves, in the arena. */
status_code cli_split_pair(cli *self, const char *text, char **name, char **value, failure *why) MUST_USE;
void cli_help(const cli_command *command, buffer *out);
void cli_overview(const cli_group *groups, size_t group_count, buffer *out);

/* ---- output.c ---- */
typedef struct cli_table cli_table;
/* Cells are copied. At most 8 columns. A table without memory prints nothing and says so. */
cli_table *cli_table_new(const char *const *headings, size_t columns);
void cli_table_row(cli_table *self, const char *const *cells);
void cli_table_write(cli_table *self, buffer *out);
void cli_table_print(cli_table *self, FILE *file); /* and frees it */

/* Says what went wrong on standard error, with what to do, and returns the exit code. */
cli_exit cli_fail(const char *what, const failure *why);
cli_exit cli_usage(const cli *self, const failure *why);
/* A message as JSON on standard output. */
cli_exit cli_print_json(const ProtobufCMessage *message);
void cli_print_json_text(const char *text); /* in quotes, escaped */
/* "12.3 % (9.8–15 %)": a share of entry traffic with its interval when it is one. In the arena. */
const char *cli_share(arena *memory, double expected, double low, double high);
const char *cli_percent(arena *memory, double share);
const char *cli_time(arena *memory, int64_t wall_ms); /* "2026-11-22 19:24:50Z"; "-" for 0 */
const char *cli_hex(arena *memory, bytes data);
/* Text of an enum without its prefix, in the arena: "DENY". */
const char *cli_enum(const ProtobufCEnumDescriptor *type, int number, const char *prefix);
/* Control characters replaced, so that no stored text speaks to the terminal. */
const char *cli_safe(arena *memory, const char *text);

/* ---- context.c ---- */
status_code cli_path(const cli *self, char out[CLI_PATH_BYTES], failure *why, const char *format, ...)
    PRINTF_LIKE(4, 5);
status_code cli_roots(cli *self, const trust **out, failure *why) MUST_USE;
/* A channel to a running service; UNAVAILABLE with what to do when it does not run. */
status_code cli_channel(cli *self, const char *service, rpc_role role, rpc_channel **out,
                        failure *why) MUST_USE;
/* keys/NAME.key */
status_code cli_key(cli *self, const char *name, key_purpose purpose, secret_key **out,
                    failure *why) MUST_USE;
/* keys/operator.key and whose it is. */
status_code cli_operator(cli *self, secret_key **key, const char **principal, failure *why) MUST_USE;
/* A whole file ("-": standard input), at most `limit` bytes, in the arena. */
status_code cli_read_file(cli *self, const char *path, size_t limit, bytes *out, failure *why) MUST_USE;
status_code cli_write_file(const char *path, bytes data, failure *why) MUST_USE;

bool cli_is_terminal(FILE *file);
void cli_pause_ms(unsigned duration_ms); /* under a second */

typedef struct cli_running {
    long pid;
    char unix_path[CLI_PATH_BYTES];
    int tcp_port, http_port;
} cli_running;
/* run/<service>.json; UNAVAILABLE when it is not there. */
status_code cli_running_read(const char *data_dir, const char *service, cli_running *out,
                             failure *why) MUST_USE;

/* In the order of their start. */
extern const char *const cli_services[];
#define CLI_SERVICES 5U

/* ---- init.c: also for dev --init ---- */
/* NULL: the starter policy; the embedded coordination. */
cli_exit cli_init(cli *self, const char *name, const char *policy_file, const char *etcd);

/* ---- policy.c: also for init ---- */
/* The name and the version that a policy document states. */
status_code cli_policy_metadata(bytes document, const char *path, char name[129], uint64_t *version,
                                failure *why) MUST_USE;

extern const cli_command init_commands[], dev_commands[], key_commands[], agent_commands[],
    evaluate_commands[], outcome_commands[], graph_commands[], why_commands[], kill_commands[],
    policy_commands[], audit_commands[], backtest_commands[], status_commands[], doctor_commands[],
    completion_commands[], version_commands[];
extern const size_t init_command_count, dev_command_count, key_command_count, agent_command_count,
    evaluate_command_count, outcome_command_count, graph_command_count, why_command_count, kill_command_count,
    policy_command_count, audit_command_count, backtest_command_count, status_command_count,
    doctor_command_count, completion_command_count, version_command_count;

#endif
