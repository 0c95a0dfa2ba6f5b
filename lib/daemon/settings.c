/* Settings: defaults, then the file, then the environment, then flags, each over the one before. */
#include "settings_table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENVIRONMENT_PREFIX "INTERLOCK_"
#define HELP_COLUMN 30

static bool same_name(const char *name, const char *written) {
    for (; *name != '\0' && *written != '\0'; name++, written++)
        if (*name != *written && !(*name == '-' && *written == '_'))
            return false;
    return *name == *written;
}

int settings_find(const settings *self, const char *name) {
    for (size_t i = 0; i < self->count; i++)
        if (same_name(self->options[i].name, name))
            return (int)i;
    return -1;
}

static status_code parse_number(const option *entry, const char *text, const char *origin, int64_t *out,
                                failure *why) {
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (text[0] == '\0' || isspace((unsigned char)text[0]) || *end != '\0' || errno != 0)
        return fail_field(why, entry->name, "BAD_NUMBER", "%s: \"%.64s\" is not a whole number", origin,
                          text);
    bool bounded = entry->least != 0 || entry->most != 0;
    if (bounded && (number < entry->least || number > entry->most))
        return fail_field(why, entry->name, "NUMBER_OUT_OF_BOUNDS", "%s: %lld is not between %lld and %lld",
                          origin, number, (long long)entry->least, (long long)entry->most);
    *out = number;
    return STATUS_OK;
}

static status_code parse_flag(const option *entry, const char *text, const char *origin, bool *out,
                              failure *why) {
    if (strcmp(text, "true") == 0)
        *out = true;
    else if (strcmp(text, "false") == 0)
        *out = false;
    else
        return fail_field(why, entry->name, "BAD_FLAG", "%s: \"%.64s\" is neither true nor false", origin,
                          text);
    return STATUS_OK;
}

status_code settings_set(settings *self, int index, const char *text, const char *origin, failure *why) {
    const option *entry = &self->options[index];
    setting_value value = {0};
    status_code code = STATUS_OK;
    if (strlen(text) > SETTINGS_TEXT_BYTES)
        return fail_field(why, entry->name, "VALUE_TOO_LONG", "%s: longer than %u bytes", origin,
                          SETTINGS_TEXT_BYTES);
    if (entry->kind == OPTION_NUMBER)
        code = parse_number(entry, text, origin, &value.number, why);
    else if (entry->kind == OPTION_FLAG)
        code = parse_flag(entry, text, origin, &value.flag, why);
    if (code != STATUS_OK)
        return code;
    value.text = strdup(text);
    if (value.text == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the settings");
    free(self->values[index].text);
    self->values[index] = value;
    return STATUS_OK;
}

static status_code set_defaults(settings *self, failure *why) {
    for (size_t i = 0; i < self->count; i++) {
        const option *entry = &self->options[i];
        if (entry->fallback == NULL)
            continue;
        status_code code = settings_set(self, (int)i, entry->fallback, "default", why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

/* INTERLOCK_DATA_DIR names data-dir. */
static bool environment_names(const option *entry, const char *name, size_t size) {
    if (strlen(entry->name) != size)
        return false;
    for (size_t i = 0; i < size; i++) {
        char expected = entry->name[i] == '-' ? '_' : (char)toupper((unsigned char)entry->name[i]);
        if (name[i] != expected)
            return false;
    }
    return true;
}

/* Variables that name no option of this program are left alone: they may be another Interlock program's. */
static status_code read_environment(settings *self, char **environment, failure *why) {
    for (char **entry = environment; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0)
            continue;
        const char *name = *entry + strlen(ENVIRONMENT_PREFIX);
        const char *equals = strchr(name, '=');
        if (equals == NULL)
            continue;
        for (size_t i = 0; i < self->count; i++) {
            if (!environment_names(&self->options[i], name, (size_t)(equals - name)))
                continue;
            char origin[128];
            snprintf(origin, sizeof origin, "environment %.*s", (int)(equals - *entry), *entry);
            status_code code = settings_set(self, (int)i, equals + 1, origin, why);
            if (code != STATUS_OK)
                return code;
        }
    }
    return STATUS_OK;
}

/* One flag at argv[*position], which is moved past its value. */
static status_code read_flag(settings *self, int argc, char **argv, int *position, failure *why) {
    const char *argument = argv[*position];
    if (strncmp(argument, "--", 2) != 0 || argument[2] == '\0')
        return fail(why, STATUS_INVALID_ARGUMENT, "UNEXPECTED_ARGUMENT",
                    "\"%.100s\" is not an option; see --help", argument);
    char name[64];
    const char *equals = strchr(argument, '=');
    size_t size = equals != NULL ? (size_t)(equals - argument) - 2 : strlen(argument + 2);
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), argument + 2);
    int index = strchr(name, '_') == NULL ? settings_find(self, name) : -1;
    if (index < 0 || size >= sizeof name)
        return fail(why, STATUS_INVALID_ARGUMENT, "UNKNOWN_OPTION", "--%s is not an option; see --help",
                    name);
    const char *value = equals != NULL ? equals + 1 : "true";
    if (equals == NULL && self->options[index].kind != OPTION_FLAG) {
        if (*position + 1 >= argc)
            return fail_field(why, name, "VALUE_MISSING", "--%s needs a value", name);
        value = argv[++*position];
        if (self->options[index].kind == OPTION_TEXT && value[0] == '-')
            return fail_field(
                why, name, "VALUE_MISSING",
                "--%s needs a value, and \"%.100s\" looks like an option; if it is meant, write "
                "--%s=%.100s",
                name, value, name, value);
    }
    char origin[72];
    snprintf(origin, sizeof origin, "--%s", name);
    return settings_set(self, index, value, origin, why);
}

static status_code read_flags(settings *self, int argc, char **argv, failure *why) {
    for (int i = 0; i < argc; i++) {
        status_code code = read_flag(self, argc, argv, &i, why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code read_all(settings *self, const char *file, int argc, char **argv, char **environment,
                            failure *why) {
    status_code code = set_defaults(self, why);
    if (code == STATUS_OK && file != NULL)
        code = settings_read_file(self, file, why);
    if (code == STATUS_OK)
        code = read_environment(self, environment, why);
    if (code == STATUS_OK)
        code = read_flags(self, argc, argv, why);
    return code;
}

status_code settings_parse(settings **out, const option *options, size_t count, const char *file, int argc,
                           char **argv, char **environment, failure *why) {
    settings *self = calloc(1, sizeof *self);
    setting_value *values = calloc(count > 0 ? count : 1, sizeof *values);
    if (self == NULL || values == NULL) {
        free(self);
        free(values);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the settings");
    }
    *self = (settings){.options = options, .count = count, .values = values};
    status_code code = read_all(self, file, argc, argv, environment, why);
    if (code != STATUS_OK) {
        settings_free(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

void settings_free(settings *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->count; i++)
        free(self->values[i].text);
    free(self->values);
    free(self);
}

bool settings_known(const settings *self, const char *name) {
    return settings_find(self, name) >= 0;
}

static const setting_value *value_of(const settings *self, const char *name) {
    int index = settings_find(self, name);
    assert(index >= 0);
    return &self->values[index];
}

const char *settings_text(const settings *self, const char *name) {
    const char *text = value_of(self, name)->text;
    return text != NULL ? text : "";
}

int64_t settings_number(const settings *self, const char *name) {
    return value_of(self, name)->number;
}

bool settings_flag(const settings *self, const char *name) {
    return value_of(self, name)->flag;
}

void settings_help(const option *options, size_t count, buffer *out) {
    for (size_t i = 0; i < count; i++) {
        const option *entry = &options[i];
        size_t start = out->size;
        buffer_format(out, "  --%s", entry->name);
        if (entry->kind != OPTION_FLAG)
            buffer_format(out, " %s", entry->value_name != NULL ? entry->value_name : "VALUE");
        size_t used = out->size - start;
        buffer_format(out, "%*s%s", used < HELP_COLUMN ? (int)(HELP_COLUMN - used) : 2, "", entry->help);
        if (entry->fallback != NULL && entry->fallback[0] != '\0' && entry->kind != OPTION_FLAG)
            buffer_format(out, " [%s]", entry->fallback);
        buffer_text(out, "\n");
    }
}
