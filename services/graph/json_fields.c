/* Reading JSON by name. */
#include "json_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 128

/* jansson descends by recursion: how deep is looked at before. */
static bool depth_fits(bytes text) {
    size_t depth = 0;
    bool inside = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (inside && c == '\\') {
            i++;
        } else if (c == '"') {
            inside = !inside;
        } else if (!inside) {
            depth += c == '{' || c == '[';
            depth -= (c == '}' || c == ']') && depth > 0;
        }
        if (depth > JSON_FIELDS_DEPTH)
            return false;
    }
    return true;
}

status_code json_fields_parse(bytes text, json_t **out, failure *why) {
    json_error_t error;
    if (!depth_fits(text))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_JSON", "nested deeper than %u", JSON_FIELDS_DEPTH);
    json_t *parsed = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (parsed == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_JSON", "line %d, column %d: %.150s", error.line,
                    error.column, error.text);
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_JSON", "it is not an object");
    }
    *out = parsed;
    return STATUS_OK;
}

const json_t *json_at(const json_t *object, const char *path) {
    while (object != NULL) {
        char name[PATH_BYTES];
        size_t size = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)size, path);
        object = json_object_get(object, name);
        if (path[size] == '\0')
            break;
        path += size + 1;
    }
    return object;
}

const char *json_text_at(const json_t *object, const char *path) {
    return json_string_value(json_at(object, path));
}

void json_attribute(statements *what, size_t index, const char *key, const json_t *value) {
    if (value == NULL || json_is_null(value))
        return;
    if (json_is_string(value)) {
        statements_attribute(what, index, key, json_string_value(value));
        return;
    }
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    what->failed = what->failed || dumped == NULL;
    statements_attribute(what, index, key, dumped);
    free(dumped);
}
