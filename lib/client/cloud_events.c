/* The JSON event format of CloudEvents, section 3: each attribute is a member; the data is one of two
 * members. */
#include "client/cloud_events.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/instant.h"

#define DEPTH_MAX 64U
#define NAME_BYTES 64U

typedef Io__Cloudevents__V1__CloudEvent cloud_event;
typedef Io__Cloudevents__V1__CloudEvent__AttributesEntry attribute_entry;
typedef Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue attribute_value;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for an event");
}

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
        if (depth > DEPTH_MAX)
            return false;
    }
    return true;
}

static status_code parse(bytes text, json_t **out, failure *why) {
    json_error_t error;
    if (text.size > CLOUD_EVENT_BYTES || !depth_fits(text))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "it has more than %u bytes or %u levels",
                    CLOUD_EVENT_BYTES, DEPTH_MAX);
    json_t *parsed = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (parsed == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "line %d, column %d: %.150s", error.line,
                    error.column, error.text);
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "it is not an object");
    }
    *out = parsed;
    return STATUS_OK;
}

/* ---- Attributes */

static status_code required(const json_t *root, const char *name, arena *memory, char **out, failure *why) {
    const char *text = json_string_value(json_object_get(root, name));
    if (text == NULL || text[0] == '\0')
        return fail_field(why, name, "BAD_EVENT", "the attribute %s is missing or no text", name);
    *out = arena_text(memory, text);
    return *out != NULL ? STATUS_OK : no_memory(why);
}

/* Lower-case letters and digits, as the specification has it. */
static bool name_is_valid(const char *name) {
    size_t size = strlen(name);
    return size > 0 && size <= NAME_BYTES && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") == size;
}

static bool name_is_elsewhere(const char *name) {
    static const char *const names[] = {"id", "source", "specversion", "type", "data", "data_base64", NULL};
    for (const char *const *at = names; *at != NULL; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return false;
}

static status_code time_fill(const char *text, arena *memory, attribute_value *out, failure *why) {
    Google__Protobuf__Timestamp *stamp = arena_alloc(memory, sizeof *stamp);
    int64_t ms = 0;
    if (stamp == NULL)
        return no_memory(why);
    if (!instant_parse(text, &ms))
        return fail_field(why, "time", "BAD_EVENT", "its time is not RFC 3339: \"%.40s\"", text);
    google__protobuf__timestamp__init(stamp);
    stamp->seconds = ms / 1000;
    stamp->nanos = (int32_t)(ms % 1000 * 1000000);
    out->ce_timestamp = stamp;
    out->attr_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_TIMESTAMP;
    return STATUS_OK;
}

static status_code value_fill(const char *name, const json_t *value, arena *memory, attribute_value *out,
                              failure *why) {
    if (json_is_boolean(value)) {
        out->ce_boolean = json_is_true(value);
        out->attr_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_BOOLEAN;
    } else if (json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
               json_integer_value(value) <= INT32_MAX) {
        out->ce_integer = (int32_t)json_integer_value(value);
        out->attr_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_INTEGER;
    } else if (json_is_string(value) && strcmp(name, "time") == 0) {
        return time_fill(json_string_value(value), memory, out, why);
    } else if (json_is_string(value)) {
        out->ce_string = arena_text(memory, json_string_value(value));
        out->attr_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_STRING;
        return out->ce_string != NULL ? STATUS_OK : no_memory(why);
    } else {
        return fail_field(why, name, "BAD_EVENT", "the attribute %s is no text, number or boolean", name);
    }
    return STATUS_OK;
}

static status_code attribute_add(cloud_event *event, const char *name, const json_t *value, arena *memory,
                                 failure *why) {
    attribute_entry *entry = arena_alloc(memory, sizeof *entry);
    attribute_value *made = arena_alloc(memory, sizeof *made);
    if (event->n_attributes == CLOUD_EVENT_ATTRIBUTES_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "it has more than %u attributes",
                    CLOUD_EVENT_ATTRIBUTES_MAX);
    if (!name_is_valid(name))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_EVENT",
                    "\"%.64s\" is no name of an attribute: lower-case letters and digits", name);
    if (entry == NULL || made == NULL)
        return no_memory(why);
    io__cloudevents__v1__cloud_event__attributes_entry__init(entry);
    io__cloudevents__v1__cloud_event__cloud_event_attribute_value__init(made);
    entry->key = arena_text(memory, name);
    entry->value = made;
    status_code code = entry->key != NULL ? value_fill(name, value, memory, made, why) : no_memory(why);
    if (code == STATUS_OK)
        event->attributes[event->n_attributes++] = entry;
    return code;
}

static status_code attributes_fill(cloud_event *event, json_t *root, arena *memory, failure *why) {
    const char *name = NULL;
    json_t *value = NULL;
    event->attributes = arena_alloc(memory, CLOUD_EVENT_ATTRIBUTES_MAX * sizeof(void *));
    if (event->attributes == NULL)
        return no_memory(why);
    json_object_foreach(root, name, value) {
        if (name_is_elsewhere(name) || json_is_null(value))
            continue;
        status_code code = attribute_add(event, name, value, memory, why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

/* ---- Data */

static status_code binary_fill(cloud_event *event, const json_t *value, arena *memory, failure *why) {
    bytes text = bytes_of_text(json_is_string(value) ? json_string_value(value) : "?");
    size_t size = text.size;
    uint8_t *data = arena_alloc(memory, size + 1);
    if (data == NULL)
        return no_memory(why);
    if (!base64_decode(text, data, &size))
        return fail_field(why, "data_base64", "BAD_EVENT", "data_base64 is not base64");
    event->binary_data.data = data;
    event->binary_data.len = size;
    event->data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_BINARY_DATA;
    return STATUS_OK;
}

static status_code data_fill(cloud_event *event, const json_t *root, arena *memory, failure *why) {
    const json_t *data = json_object_get(root, "data");
    const json_t *binary = json_object_get(root, "data_base64");
    if (data != NULL && binary != NULL)
        return fail_field(why, "data", "BAD_EVENT", "it has both data and data_base64");
    if (binary != NULL)
        return binary_fill(event, binary, memory, why);
    if (data == NULL)
        return STATUS_OK;
    char *text = json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY);
    event->text_data = text != NULL ? arena_text(memory, text) : NULL;
    event->data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    free(text);
    return event->text_data != NULL ? STATUS_OK : no_memory(why);
}

static status_code event_fill(cloud_event *event, json_t *root, arena *memory, failure *why) {
    status_code code = required(root, "id", memory, &event->id, why);
    if (code == STATUS_OK)
        code = required(root, "source", memory, &event->source, why);
    if (code == STATUS_OK)
        code = required(root, "specversion", memory, &event->spec_version, why);
    if (code == STATUS_OK)
        code = required(root, "type", memory, &event->type, why);
    if (code == STATUS_OK)
        code = attributes_fill(event, root, memory, why);
    return code == STATUS_OK ? data_fill(event, root, memory, why) : code;
}

status_code cloud_event_from_json(bytes json, arena *memory, cloud_event **out, failure *why) {
    json_t *root = NULL;
    cloud_event *event = arena_alloc(memory, sizeof *event);
    if (event == NULL)
        return no_memory(why);
    io__cloudevents__v1__cloud_event__init(event);
    status_code code = parse(json, &root, why);
    if (code == STATUS_OK)
        code = event_fill(event, root, memory, why);
    json_decref(root);
    if (code == STATUS_OK)
        *out = event;
    return code;
}
