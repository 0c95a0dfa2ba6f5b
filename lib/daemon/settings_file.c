/* The configuration file: one flat YAML mapping of keys to scalars. Read by events, so that every error has
 * its line and column; what is not a flat mapping (nesting, aliases, a second document, a key twice) is
 * refused. */
#include "settings_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

typedef struct reader {
    settings *target;
    const char *path;
    yaml_parser_t parser;
    bool *seen; /* one an option */
} reader;

static status_code fail_at(const reader *self, yaml_mark_t mark, const char *reason, const char *message,
                           failure *why) {
    return fail(why, STATUS_INVALID_ARGUMENT, reason, "%.200s:%zu:%zu: %.200s", self->path, mark.line + 1,
                mark.column + 1, message);
}

/* The next event, which the caller deletes; a syntax error has the parser's own words. */
static status_code next_event(reader *self, yaml_event_t *event, failure *why) {
    if (yaml_parser_parse(&self->parser, event) == 1)
        return STATUS_OK;
    const char *problem = self->parser.problem != NULL ? self->parser.problem : "not YAML";
    return fail_at(self, self->parser.problem_mark, "BAD_YAML", problem, why);
}

static status_code expect(reader *self, yaml_event_type_t type, const char *message, failure *why) {
    yaml_event_t event;
    status_code code = next_event(self, &event, why);
    if (code != STATUS_OK)
        return code;
    if (event.type != type)
        code = fail_at(self, event.start_mark, "BAD_CONFIGURATION", message, why);
    yaml_event_delete(&event);
    return code;
}

static const char *scalar_text(const yaml_event_t *event) {
    return (const char *)event->data.scalar.value;
}

static bool scalar_usable(const yaml_event_t *event) {
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.tag == NULL &&
           strlen(scalar_text(event)) == event->data.scalar.length;
}

static status_code read_value(reader *self, int index, failure *why) {
    yaml_event_t event;
    status_code code = next_event(self, &event, why);
    if (code != STATUS_OK)
        return code;
    char origin[256];
    snprintf(origin, sizeof origin, "%.200s:%zu:%zu", self->path, event.start_mark.line + 1,
             event.start_mark.column + 1);
    if (!scalar_usable(&event))
        code = fail_at(self, event.start_mark, "BAD_CONFIGURATION", "a value must be a plain scalar", why);
    else
        code = settings_set(self->target, index, scalar_text(&event), origin, why);
    yaml_event_delete(&event);
    return code;
}

static status_code find_key(reader *self, const yaml_event_t *event, int *index, failure *why) {
    if (!scalar_usable(event))
        return fail_at(self, event->start_mark, "BAD_CONFIGURATION", "a key must be a plain scalar", why);
    char message[160];
    const char *key = scalar_text(event);
    int found = strchr(key, '-') == NULL ? settings_find(self->target, key) : -1;
    if (found < 0) {
        snprintf(message, sizeof message, "unknown key \"%.64s\"; --help lists the options", key);
        return fail_at(self, event->start_mark, "UNKNOWN_KEY", message, why);
    }
    if (self->seen[found]) {
        snprintf(message, sizeof message, "key \"%.64s\" is here twice", key);
        return fail_at(self, event->start_mark, "DUPLICATE_KEY", message, why);
    }
    self->seen[found] = true;
    *index = found;
    return STATUS_OK;
}

static status_code read_pairs(reader *self, failure *why) {
    for (;;) {
        yaml_event_t event;
        status_code code = next_event(self, &event, why);
        if (code != STATUS_OK)
            return code;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        int index = -1;
        if (!end)
            code = find_key(self, &event, &index, why);
        yaml_event_delete(&event);
        if (end || code != STATUS_OK)
            return code;
        code = read_value(self, index, why);
        if (code != STATUS_OK)
            return code;
    }
}

static status_code read_document(reader *self, failure *why) {
    yaml_event_t event;
    status_code code = expect(self, YAML_STREAM_START_EVENT, "not a YAML stream", why);
    if (code != STATUS_OK)
        return code;
    code = next_event(self, &event, why);
    if (code != STATUS_OK)
        return code;
    bool nothing = event.type == YAML_STREAM_END_EVENT; /* only comments, or nothing at all */
    yaml_event_delete(&event);
    if (nothing)
        return STATUS_OK;
    code = expect(self, YAML_MAPPING_START_EVENT, "the file must be one mapping, \"key: value\" a line", why);
    if (code == STATUS_OK)
        code = read_pairs(self, why);
    if (code == STATUS_OK)
        code = expect(self, YAML_DOCUMENT_END_EVENT, "the mapping must be all there is", why);
    if (code == STATUS_OK)
        code = expect(self, YAML_STREAM_END_EVENT, "only one document is allowed", why);
    return code;
}

static status_code open_file(const char *path, FILE **out, failure *why) {
    FILE *file = fopen(path, "re");
    struct stat facts;
    if (file == NULL || fstat(fileno(file), &facts) != 0) {
        status_code code = fail(why, STATUS_NOT_FOUND, "CONFIGURATION_UNREADABLE", "cannot read %.300s: %s",
                                path, strerror(errno));
        if (file != NULL)
            fclose(file);
        return code;
    }
    if (facts.st_size > (off_t)SETTINGS_FILE_BYTES) {
        fclose(file);
        return fail(why, STATUS_INVALID_ARGUMENT, "CONFIGURATION_TOO_LARGE", "%.300s is larger than %u bytes",
                    path, SETTINGS_FILE_BYTES);
    }
    *out = file;
    return STATUS_OK;
}

status_code settings_read_file(settings *self, const char *path, failure *why) {
    FILE *file = NULL;
    status_code code = open_file(path, &file, why);
    if (code != STATUS_OK)
        return code;
    reader source = {.target = self, .path = path, .seen = calloc(self->count + 1, sizeof(bool))};
    if (source.seen == NULL || yaml_parser_initialize(&source.parser) != 1) {
        free(source.seen);
        fclose(file);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read %.300s", path);
    }
    yaml_parser_set_input_file(&source.parser, file);
    code = read_document(&source, why);
    yaml_parser_delete(&source.parser);
    free(source.seen);
    fclose(file);
    return code;
}
