/* What the parts of the settings share: the values while they are being gathered. Private to lib/daemon. */
#ifndef DAEMON_SETTINGS_TABLE_H
#define DAEMON_SETTINGS_TABLE_H

#include "daemon/settings.h"

#define SETTINGS_FILE_BYTES (256U << 10)
#define SETTINGS_TEXT_BYTES 4096U

typedef struct setting_value {
    char *text; /* as it was written; owned */
    int64_t number;
    bool flag;
} setting_value;

struct settings {
    const option *options;
    size_t count;
    setting_value *values; /* one an option */
};

/* The index of an option by its name ("data-dir") or its key in the file ("data_dir"); -1 when there is none.
 */
int settings_find(const settings *self, const char *name);

/* Parses `text` for one option; `origin` says in messages where it was written ("--loops", "a.yaml:3:8"). */
status_code settings_set(settings *self, int index, const char *text, const char *origin,
                         failure *why) MUST_USE;

/* Reads the YAML file over the present values. */
status_code settings_read_file(settings *self, const char *path, failure *why) MUST_USE;

#endif
