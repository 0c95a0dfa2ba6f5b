/* What stands in the YAML that people write for a command. */
#include "yaml_fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/instant.h"

static const yaml_limits limits = {.depth = 32, .keys = 2048, .entries = 20000};

static status_code complain(const yaml_source *source, uint32_t line, uint32_t column, failure *why,
                            const char *what) {
    buffer place;
    buffer_init(&place, 4096);
    if (line > 0)
        yaml_show_place(source->text, line, column, &place);
    if (line > 0)
        fail(why, STATUS_INVALID_ARGUMENT, "YAML_INVALID", "%.100s:%u:%u: %.200s%s", source->file, line,
             column, what, place.data != NULL && buffer_ok(&place) ? place.data : "");
    else
        fail(why, STATUS_INVALID_ARGUMENT, "YAML_INVALID", "%.100s: %.200s", source->file, what);
    buffer_free(&place);
    return STATUS_INVALID_ARGUMENT;
}

status_code yaml_fail(const yaml_source *source, const yaml_item *item, failure *why, const char *format,
                      ...) {
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return complain(source, item != NULL ? item->line : 0, item != NULL ? item->column : 0, why, what);
}

status_code yaml_open(const yaml_source *source, const yaml_item **out, failure *why) {
    yaml_problem problem = {0};
    const yaml_item *root = NULL;
    status_code code = yaml_read(source->text, limits, source->memory, &root, &problem);
    if (code == STATUS_INVALID_ARGUMENT)
        return complain(source, problem.line, problem.column, why, problem.message);
    if (code != STATUS_OK)
        return fail(why, code, "OUT_OF_MEMORY", "no memory for %.200s", source->file);
    if (root == NULL)
        return yaml_fail(source, NULL, why, "the file is empty");
    *out = root;
    return STATUS_OK;
}

static bool is_among(const char *text, const char *const *keys) {
    for (; *keys != NULL; keys++)
        if (strcmp(text, *keys) == 0)
            return true;
    return false;
}

static status_code fail_key(const yaml_source *source, const yaml_item *key, const char *what,
                            const char *const *keys, failure *why) {
    buffer list;
    buffer_init(&list, 1024);
    for (const char *const *known = keys; *known != NULL; known++)
        buffer_format(&list, "%s%s", known != keys ? ", " : "", *known);
    status_code code = yaml_fail(source, key, why, "%s has no key %.40s, only %.140s", what, key->text,
                                 list.data != NULL ? list.data : "");
    buffer_free(&list);
    return code;
}

status_code yaml_keys(const yaml_source *source, const yaml_item *map, const char *what,
                      const char *const *keys, failure *why) {
    if (map->kind != YAML_MAP)
        return yaml_fail(source, map, why, "%s is a map", what);
    for (const yaml_item *value = map->first; value != NULL; value = value->next)
        if (!is_among(value->key->text, keys))
            return fail_key(source, value->key, what, keys, why);
    return STATUS_OK;
}

status_code yaml_text_of(const yaml_source *source, const yaml_item *item, const char *what, const char **out,
                         failure *why) {
    if (item == NULL)
        return STATUS_OK;
    if (item->kind != YAML_SCALAR)
        return yaml_fail(source, item, why, "%s is a text", what);
    *out = item->text;
    return STATUS_OK;
}

status_code yaml_number_of(const yaml_source *source, const yaml_item *item, const char *what, double least,
                           double most, double *out, failure *why) {
    char *end = NULL;
    if (item == NULL)
        return STATUS_OK;
    double number = item->kind == YAML_SCALAR && item->style == YAML_PLAIN && item->size > 0
                        ? strtod(item->text, &end)
                        : 0;
    if (end == NULL || *end != '\0' || isnan(number) || number < least || number > most)
        return yaml_fail(source, item, why, "%s is a number from %.15g to %.15g", what, least, most);
    *out = number;
    return STATUS_OK;
}

status_code yaml_bool_of(const yaml_source *source, const yaml_item *item, const char *what, bool *out,
                         failure *why) {
    if (item == NULL)
        return STATUS_OK;
    bool yes = item->kind == YAML_SCALAR && strcmp(item->text, "true") == 0;
    if (!yes && (item->kind != YAML_SCALAR || strcmp(item->text, "false") != 0))
        return yaml_fail(source, item, why, "%s is true or false", what);
    *out = yes;
    return STATUS_OK;
}

status_code yaml_texts_of(const yaml_source *source, const yaml_item *item, const char *what,
                          const char *const **out, size_t *count, failure *why) {
    if (item == NULL)
        return STATUS_OK;
    bool list = item->kind == YAML_LIST;
    size_t size = list ? item->count : 1, i = 0;
    const char **texts = arena_zero(source->memory, size + 1, sizeof *texts);
    if (texts == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.200s", source->file);
    for (const yaml_item *one = list ? item->first : item; one != NULL; one = list ? one->next : NULL) {
        if (one->kind != YAML_SCALAR)
            return yaml_fail(source, one, why, "%s is a list of texts", what);
        texts[i++] = one->text;
    }
    *out = texts;
    *count = size;
    return STATUS_OK;
}

status_code yaml_time_of(const yaml_source *source, const yaml_item *item, const char *what, int64_t *out,
                         failure *why) {
    if (item == NULL)
        return STATUS_OK;
    if (item->kind != YAML_SCALAR || !instant_parse(item->text, out))
        return yaml_fail(source, item, why, "%s is a time, as 2026-11-22T19:30:00Z", what);
    return STATUS_OK;
}
