/* Reads a command line by the table of its command; writes the table as help. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define HELP_COLUMN 30

static const cli_flag global_flags[] = {
    {.name = "data-dir",
     .kind = FLAG_TEXT,
     .value_name = "DIR",
     .help = "the installation (or INTERLOCK_DATA_DIR) [~/.local/share/interlock]"},
    {.name = "output",
     .kind = FLAG_TEXT,
     .value_name = "FORMAT",
     .help = "-o: table or json",
     .choices = NULL},
    {.name = "help", .kind = FLAG_SWITCH, .help = "-h: what this command does"},
};

static const char exit_codes[] =
    "Exit codes: 0 allowed or done, 1 error, 2 wrong usage, 3 denied, 4 pending (review), 5 deferred,\n"
    "6 verification failed.\n";

static const cli_command *find_command(const cli_group *groups, size_t group_count, const char *noun,
                                       const char *verb, bool *noun_known) {
    const cli_command *alone = NULL;
    *noun_known = false;
    for (size_t i = 0; i < group_count; i++)
        for (size_t j = 0; j < groups[i].count; j++) {
            const cli_command *command = &groups[i].commands[j];
            if (strcmp(command->noun, noun) != 0)
                continue;
            *noun_known = true;
            if (command->verb == NULL)
                alone = command;
            else if (verb != NULL && strcmp(command->verb, verb) == 0)
                return command;
        }
    return alone;
}

static int flag_index(const cli_command *command, const char *name, size_t size) {
    for (size_t i = 0; i < command->flag_count; i++)
        if (strlen(command->flags[i].name) == size && memcmp(command->flags[i].name, name, size) == 0)
            return (int)i;
    return -1;
}

static bool is_choice(const char *choices, const char *value) {
    size_t size = strlen(value);
    for (const char *at = choices; size > 0;) {
        size_t item = strcspn(at, "|");
        if (item == size && memcmp(at, value, size) == 0)
            return true;
        if (at[item] == '\0')
            return false;
        at += item + 1;
    }
    return false;
}

static status_code put_value(cli_values *values, const cli_flag *flag, const char *value, failure *why) {
    if (flag->choices != NULL && !is_choice(flag->choices, value))
        return fail_field(why, flag->name, "BAD_CHOICE", "--%s is one of %s, not \"%.64s\"", flag->name,
                          flag->choices, value);
    if (values->count == CLI_LIST_MAX)
        return fail_field(why, flag->name, "TOO_MANY", "--%s was given more than %u times", flag->name,
                          CLI_LIST_MAX);
    if (flag->kind != FLAG_LIST)
        values->count = 0;
    values->items[values->count++] = value;
    return STATUS_OK;
}

static status_code set_format(cli *self, const char *value, failure *why) {
    if (strcmp(value, "table") == 0)
        self->format = FORMAT_TABLE;
    else if (strcmp(value, "json") == 0)
        self->format = FORMAT_JSON;
    else if (strcmp(value, "dot") == 0)
        self->format = FORMAT_DOT;
    else if (strcmp(value, "svg") == 0)
        self->format = FORMAT_SVG;
    else
        return fail_field(why, "output", "BAD_CHOICE",
                          "-o is table or json (dot and svg for graphs), not \"%.64s\"", value);
    return STATUS_OK;
}

static status_code set_data_dir(cli *self, const char *value, failure *why) {
    size_t size = strlen(value);
    while (size > 1 && value[size - 1] == '/')
        size--;
    if (size == 0 || size >= sizeof self->data_dir)
        return fail_field(why, "data-dir", "BAD_PATH", "--data-dir needs a path of 1 to %zu bytes",
                          sizeof self->data_dir - 1);
    memcpy(self->data_dir, value, size);
    self->data_dir[size] = '\0';
    return STATUS_OK;
}

typedef struct reading {
    int argc;
    char **argv;
    int at;
} reading;

/* The value of the flag at `at`: behind its "=", or the next argument. */
static const char *value_of(reading *line, const char *equals) {
    if (equals != NULL)
        return equals + 1;
    return line->at + 1 < line->argc ? line->argv[++line->at] : NULL;
}

/* *taken is false when the argument is no global flag. */
static status_code read_global(cli *self, reading *line, bool *taken, failure *why) {
    const char *argument = line->argv[line->at];
    const char *equals = strchr(argument, '=');
    size_t size = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    *taken = true;
    if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
        self->help = true;
        return STATUS_OK;
    }
    bool output = strcmp(argument, "-o") == 0 || (size == 8 && memcmp(argument, "--output", 8) == 0);
    if (output || (size == 10 && memcmp(argument, "--data-dir", 10) == 0)) {
        const char *value = value_of(line, equals);
        if (value == NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "VALUE_MISSING", "%s needs a value", argument);
        return output ? set_format(self, value, why) : set_data_dir(self, value, why);
    }
    *taken = false;
    return STATUS_OK;
}

static status_code read_flag(cli *self, reading *line, failure *why) {
    const char *argument = line->argv[line->at];
    if (strcmp(argument, "-f") == 0)
        argument = "--file"; /* as everybody types it */
    const char *equals = strchr(argument, '=');
    size_t size = (equals != NULL ? (size_t)(equals - argument) : strlen(argument)) - 2;
    int index = strncmp(argument, "--", 2) == 0 ? flag_index(self->command, argument + 2, size) : -1;
    if (index < 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "UNKNOWN_FLAG", "%.100s is no flag of this command",
                    argument);
    const cli_flag *flag = &self->command->flags[index];
    if (flag->kind == FLAG_SWITCH) {
        if (equals != NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "VALUE_UNEXPECTED", "--%s takes no value", flag->name);
        return put_value(&self->flags[index], flag, "true", why);
    }
    const char *value = value_of(line, equals);
    if (value == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "VALUE_MISSING", "--%s needs a value", flag->name);
    return put_value(&self->flags[index], flag, value, why);
}

static status_code read_positional(cli *self, const char *argument, failure *why) {
    if (self->positional.count == CLI_LIST_MAX || self->positional.count == self->command->most)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_MANY_ARGUMENTS", "\"%.100s\" is one argument too many",
                    argument);
    self->positional.items[self->positional.count++] = argument;
    return STATUS_OK;
}

static bool is_flag(const char *argument) {
    return argument[0] == '-' && argument[1] != '\0'; /* "-" alone is standard input */
}

static status_code read_rest(cli *self, reading *line, failure *why) {
    bool only_positional = false;
    for (; line->at < line->argc; line->at++) {
        const char *argument = line->argv[line->at];
        status_code code = STATUS_OK;
        bool taken = false;
        if (!only_positional && strcmp(argument, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (!only_positional)
            code = read_global(self, line, &taken, why);
        if (code == STATUS_OK && !taken)
            code = !only_positional && is_flag(argument) ? read_flag(self, line, why)
                                                         : read_positional(self, argument, why);
        if (code != STATUS_OK)
            return code;
    }
    if (!self->help && self->positional.count < self->command->least)
        return fail(why, STATUS_INVALID_ARGUMENT, "ARGUMENT_MISSING", "%s is missing",
                    self->command->positional);
    return STATUS_OK;
}

static const char *environment_get(char **environment, const char *name) {
    size_t size = strlen(name);
    for (char **entry = environment; entry != NULL && *entry != NULL; entry++)
        if (strncmp(*entry, name, size) == 0 && (*entry)[size] == '=' && (*entry)[size + 1] != '\0')
            return *entry + size + 1;
    return NULL;
}

static status_code default_data_dir(cli *self, char **environment, failure *why) {
    char path[CLI_PATH_BYTES];
    const char *given = environment_get(environment, "INTERLOCK_DATA_DIR");
    const char *data_home = environment_get(environment, "XDG_DATA_HOME");
    const char *home = environment_get(environment, "HOME");
    if (given != NULL)
        return set_data_dir(self, given, why);
    if (data_home != NULL)
        snprintf(path, sizeof path, "%s/interlock", data_home);
    else
        snprintf(path, sizeof path, "%s/.local/share/interlock", home != NULL ? home : "");
    return set_data_dir(self, path, why);
}

/* Global flags may stand before the noun as well. */
static status_code read_before_noun(cli *self, reading *line, failure *why) {
    for (; line->at < line->argc && is_flag(line->argv[line->at]); line->at++) {
        bool taken = false;
        if (strcmp(line->argv[line->at], "--version") == 0)
            return STATUS_OK;
        status_code code = read_global(self, line, &taken, why);
        if (code == STATUS_OK && !taken)
            code = fail(why, STATUS_INVALID_ARGUMENT, "UNKNOWN_FLAG",
                        "%.100s is no flag; see interlock --help", line->argv[line->at]);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code read_command(cli *self, const cli_group *groups, size_t group_count, reading *line,
                                failure *why) {
    const char *noun = line->argv[line->at];
    const char *verb = line->at + 1 < line->argc ? line->argv[line->at + 1] : NULL;
    bool noun_known = false;
    if (strcmp(noun, "--version") == 0)
        noun = "version";
    self->command = find_command(groups, group_count, noun, verb, &noun_known);
    if (self->command == NULL && noun_known && verb != NULL &&
        (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0)) {
        self->help = true;
        return STATUS_OK;
    }
    if (self->command == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "UNKNOWN_COMMAND",
                    noun_known ? "\"%.64s\" needs a verb; see interlock --help"
                               : "\"%.64s\" is no command; see interlock --help",
                    noun);
    line->at += self->command->verb != NULL ? 2 : 1;
    return STATUS_OK;
}

status_code cli_parse(cli *self, const cli_group *groups, size_t group_count, int argc, char **argv,
                      char **environment, failure *why) {
    reading line = {.argc = argc, .argv = argv};
    status_code code = default_data_dir(self, environment, why);
    if (code == STATUS_OK)
        code = read_before_noun(self, &line, why);
    if (code != STATUS_OK)
        return code;
    if (line.at >= argc) {
        if (self->help)
            return STATUS_OK;
        return fail(why, STATUS_INVALID_ARGUMENT, "COMMAND_MISSING", "which command? See interlock --help");
    }
    code = read_command(self, groups, group_count, &line, why);
    if (code == STATUS_OK && self->command != NULL)
        code = read_rest(self, &line, why);
    return code;
}

const cli_values *cli_list(const cli *self, const char *flag) {
    static const cli_values none;
    int index = flag_index(self->command, flag, strlen(flag));
    return index < 0 ? &none : &self->flags[index];
}

const char *cli_text(const cli *self, const char *flag) {
    const cli_values *values = cli_list(self, flag);
    return values->count > 0 ? values->items[values->count - 1] : NULL;
}

bool cli_given(const cli *self, const char *flag) {
    return cli_list(self, flag)->count > 0;
}

status_code cli_number(const cli *self, const char *flag, double least, double most, double *out,
                       failure *why) {
    const char *text = cli_text(self, flag);
    char *end = NULL;
    if (text == NULL)
        return STATUS_OK;
    double number = strtod(text, &end);
    if (text[0] == '\0' || isspace((unsigned char)text[0]) || *end != '\0' || isnan(number) ||
        number < least || number > most)
        return fail_field(why, flag, "BAD_NUMBER", "--%s is a number from %g to %g, not \"%.32s\"", flag,
                          least, most, text);
    *out = number;
    return STATUS_OK;
}

status_code cli_split_pair(cli *self, const char *text, char **name, char **value, failure *why) {
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_PAIR", "\"%.64s\" is not name=value", text);
    char *copy = arena_text(&self->memory, text);
    if (copy == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the arguments");
    copy[equals - text] = '\0';
    *name = copy;
    *value = copy + (equals - text) + 1;
    return STATUS_OK;
}

static void write_flag(const cli_flag *flag, buffer *out) {
    size_t start = out->size;
    buffer_format(out, "  --%s", flag->name);
    if (flag->kind != FLAG_SWITCH)
        buffer_format(out, " %s", flag->value_name != NULL ? flag->value_name : "VALUE");
    size_t used = out->size - start;
    buffer_format(out, "%*s%s", used < HELP_COLUMN ? (int)(HELP_COLUMN - used) : 2, "", flag->help);
    if (flag->choices != NULL)
        buffer_format(out, " (%s)", flag->choices);
    if (flag->kind == FLAG_LIST)
        buffer_text(out, "; many");
    buffer_text(out, "\n");
}

void cli_help(const cli_command *command, buffer *out) {
    buffer_format(out, "interlock %s%s%s - %s\n\nUsage: interlock %s%s%s%s%s [FLAG…]\n", command->noun,
                  command->verb != NULL ? " " : "", command->verb != NULL ? command->verb : "",
                  command->purpose, command->noun, command->verb != NULL ? " " : "",
                  command->verb != NULL ? command->verb : "", command->positional != NULL ? " " : "",
                  command->positional != NULL ? command->positional : "");
    if (command->flag_count > 0)
        buffer_text(out, "\nFlags:\n");
    for (size_t i = 0; i < command->flag_count; i++)
        write_flag(&command->flags[i], out);
    buffer_text(out, "\nFlags of every command:\n");
    for (size_t i = 0; i < sizeof global_flags / sizeof *global_flags; i++)
        write_flag(&global_flags[i], out);
    if (command->examples != NULL)
        buffer_format(out, "\nExamples:\n%s", command->examples);
    buffer_format(out, "\n%s", exit_codes);
}

void cli_overview(const cli_group *groups, size_t group_count, buffer *out) {
    buffer_text(out, "interlock - a runtime control layer for agents that act on production\n\n"
                     "Usage: interlock [--data-dir DIR] NOUN VERB [FLAG…]\n\nCommands:\n");
    for (size_t i = 0; i < group_count; i++)
        for (size_t j = 0; j < groups[i].count; j++) {
            const cli_command *command = &groups[i].commands[j];
            char name[64];
            snprintf(name, sizeof name, "%s%s%s", command->noun, command->verb != NULL ? " " : "",
                     command->verb != NULL ? command->verb : "");
            buffer_format(out, "  %-20s%s\n", name, command->purpose);
        }
    buffer_text(out, "\nEach command says more with --help.\n");
    buffer_text(out, exit_codes);
}
