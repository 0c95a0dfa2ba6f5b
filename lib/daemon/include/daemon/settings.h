/* Settings of a process: a flag (--data-dir X) over the environment (INTERLOCK_DATA_DIR) over the
 * configuration file (YAML, key data_dir) over the default. Unknown flags and keys are refused, with file,
 * line and column. Immutable once parsed. */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include "base/bytes.h"

typedef enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG } option_kind;

typedef struct option {
    const char *name; /* "data-dir"; in the environment INTERLOCK_DATA_DIR, in the file data_dir */
    option_kind kind;
    const char *fallback;   /* the default as text; NULL: "" / 0 / false */
    const char *value_name; /* "DIR" in --help */
    const char *help;
    int64_t least, most; /* of a number */
} option;

typedef struct settings settings;

/* `file` may be NULL. argv without the program's name. Positional arguments are refused, and so is a text
 * that begins with "-" as an argument of its own: "--name -x" is more likely a value that was forgotten than
 * one that is meant, which "--name=-x" says. */
status_code settings_parse(settings **out, const option *options, size_t count, const char *file, int argc,
                           char **argv, char **environment, failure *why) MUST_USE;
void settings_free(settings *self); /* takes NULL */

bool settings_known(const settings *self, const char *name); /* the name is in the table */
/* The name must be in the table (asserted). */
const char *settings_text(const settings *self, const char *name);
int64_t settings_number(const settings *self, const char *name);
bool settings_flag(const settings *self, const char *name);

/* The option table as --help shows it. */
void settings_help(const option *options, size_t count, buffer *out);

#endif
