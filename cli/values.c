/* CEL values from JSON and back. */
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "cel/type.h"

#define NUMBER_BYTES 40U
#define TEXT_BYTES (64U << 20)

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the values");
}

static status_code from_json(const json_t *json, arena *memory, unsigned depth, cel_value *out, failure *why);

static status_code list_from(const json_t *json, arena *memory, unsigned depth, cel_value *out,
                             failure *why) {
    size_t count = json_array_size(json);
    cel_value *items = arena_zero(memory, count + 1, sizeof *items);
    cel_list *list = arena_zero(memory, 1, sizeof *list);
    if (items == NULL || list == NULL || count > VALUES_ELEMENTS)
        return no_memory(why);
    for (size_t i = 0; i < count; i++) {
        status_code code = from_json(json_array_get(json, i), memory, depth + 1, &items[i], why);
        if (code != STATUS_OK)
            return code;
    }
    *list = (cel_list){.count = (uint32_t)count, .items = items};
    *out = cel_list_of(list);
    return STATUS_OK;
}

static status_code map_from(json_t *json, arena *memory, unsigned depth, cel_value *out, failure *why) {
    size_t count = json_object_size(json), i = 0;
    cel_entry *entries = arena_zero(memory, count + 1, sizeof *entries);
    cel_map *map = arena_zero(memory, 1, sizeof *map);
    const char *key = NULL;
    json_t *member = NULL;
    if (entries == NULL || map == NULL || count > VALUES_ELEMENTS)
        return no_memory(why);
    json_object_foreach(json, key, member) {
        entries[i].key = cel_text(key, strlen(key));
        status_code code = from_json(member, memory, depth + 1, &entries[i].value, why);
        if (code != STATUS_OK)
            return code;
        i++;
    }
    *map = (cel_map){.count = (uint32_t)count, .entries = entries};
    *out = cel_map_of(map);
    return STATUS_OK;
}

static status_code from_json(const json_t *json, arena *memory, unsigned depth, cel_value *out,
                             failure *why) {
    if (depth > VALUES_DEPTH)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_DEEP", "values are nested deeper than %u",
                    VALUES_DEPTH);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return map_from((json_t *)json, memory, depth, out, why);
    case JSON_ARRAY:
        return list_from(json, memory, depth, out, why);
    case JSON_STRING:
        *out = cel_text(json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        *out = cel_int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = cel_double(json_real_value(json));
        break;
    case JSON_NULL:
        *out = cel_null();
        break;
    default:
        *out = cel_bool(json_is_true(json));
    }
    return STATUS_OK;
}

status_code values_from_json(const json_t *json, arena *memory, cel_value *out, failure *why) {
    return from_json(json, memory, 0, out, why);
}

static json_t *to_json(cel_value value, size_t most, unsigned depth);

static json_t *double_json(double value) {
    if (isnan(value))
        return json_string("NaN");
    if (isinf(value))
        return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

static json_t *timestamp_json(cel_value value) {
    time_t seconds = (time_t)value.integer;
    struct tm parts;
    char text[64] = "";
    if (gmtime_r(&seconds, &parts) == NULL)
        return json_string("?");
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (value.size != 0)
        used += (size_t)snprintf(text + used, sizeof text - used, ".%09u", value.size);
    snprintf(text + used, sizeof text - used, "Z");
    return json_string(text);
}

static json_t *octets_json(cel_value value) {
    buffer text;
    buffer_init(&text, TEXT_BYTES);
    base64_encode(bytes_of(value.text, value.size), &text);
    json_t *made = json_string(buffer_ok(&text) && text.data != NULL ? text.data : "");
    buffer_free(&text);
    return made;
}

static json_t *list_json(const cel_list *list, size_t most, unsigned depth) {
    json_t *made = json_array();
    for (uint32_t i = 0; i < list->count; i++) {
        if (i >= most) {
            json_array_append_new(made, json_string("…"));
            break;
        }
        json_array_append_new(made, to_json(cel_list_at(list, i), most, depth + 1));
    }
    return made;
}

/* A key as the text that JSON wants. */
static const char *key_text(cel_value key, char number[NUMBER_BYTES], size_t *size) {
    if (key.kind == CEL_STRING) {
        *size = key.size;
        return key.text;
    }
    if (key.kind == CEL_BOOL)
        snprintf(number, NUMBER_BYTES, "%s", key.boolean ? "true" : "false");
    else if (key.kind == CEL_UINT)
        snprintf(number, NUMBER_BYTES, "%llu", (unsigned long long)key.natural);
    else
        snprintf(number, NUMBER_BYTES, "%lld", (long long)key.integer);
    *size = strlen(number);
    return number;
}

static json_t *map_json(const cel_map *map, size_t most, unsigned depth) {
    json_t *made = json_object();
    for (uint32_t i = 0; i < map->count; i++) {
        char number[NUMBER_BYTES];
        size_t size = 0;
        cel_entry entry = cel_map_at(map, i);
        if (i >= most) {
            json_object_set_new(made, "…", json_null());
            break;
        }
        const char *key = key_text(entry.key, number, &size);
        json_object_setn_new(made, key, size, to_json(entry.value, most, depth + 1));
    }
    return made;
}

static json_t *object_json(const cel_object *object, size_t most, unsigned depth) {
    json_t *made = json_object();
    for (uint32_t i = 0; i < object->type->count; i++) {
        cel_value member;
        if (object->type->get(object->host, i, &member))
            json_object_set_new(made, object->type->fields[i].name, to_json(member, most, depth + 1));
    }
    return made;
}

static json_t *address_json(cel_value value) {
    char text[64];
    size_t used = 0;
    const uint8_t *a = value.address;
    if (value.family == 4)
        used = (size_t)snprintf(text, sizeof text, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    else
        for (size_t i = 0; i < 8; i++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%x", i > 0 ? ":" : "",
                                     (unsigned)(a[2 * i] << 8 | a[2 * i + 1]));
    if (value.kind == CEL_CIDR)
        snprintf(text + used, sizeof text - used, "/%u", value.prefix);
    return json_string(text);
}

static json_t *to_json(cel_value value, size_t most, unsigned depth) {
    if (depth > VALUES_DEPTH)
        return json_string("…");
    switch ((cel_kind)value.kind) {
    case CEL_NULL:
        return json_null();
    case CEL_BOOL:
        return json_boolean(value.boolean);
    case CEL_INT:
        return json_integer(value.integer);
    case CEL_UINT:
        return value.natural <= INT64_MAX ? json_integer((json_int_t)value.natural)
                                          : json_sprintf("%llu", (unsigned long long)value.natural);
    case CEL_DOUBLE:
        return double_json(value.real);
    case CEL_STRING:
    case CEL_TYPE:
        return json_stringn(value.text, value.size);
    case CEL_BYTES:
        return octets_json(value);
    case CEL_LIST:
        return list_json(value.list, most, depth);
    case CEL_MAP:
        return map_json(value.map, most, depth);
    case CEL_TIMESTAMP:
        return timestamp_json(value);
    case CEL_DURATION:
        return json_sprintf("%.12gs", (double)value.integer / 1e9);
    case CEL_OPTIONAL:
        return value.inner != NULL ? to_json(*value.inner, most, depth + 1) : json_null();
    case CEL_OBJECT:
        return object_json(value.object, most, depth);
    case CEL_IP:
    case CEL_CIDR:
        return address_json(value);
    case CEL_UNKNOWN:
        return json_sprintf("unknown: %s", value.text);
    case CEL_ERROR:
        return json_sprintf("error: %s", value.text);
    default:
        return json_string(value.kind == CEL_OPAQUE ? value.opaque->name : "?");
    }
}

json_t *values_to_json(cel_value value, size_t most) {
    return to_json(value, most, 0);
}

/* Not in the middle of a character. */
static size_t cut(const char *text, size_t limit) {
    while (limit > 0 && ((unsigned char)text[limit] & 0xC0U) == 0x80U)
        limit--;
    return limit;
}

void values_print(cel_value value, size_t limit, buffer *out) {
    json_t *json = values_to_json(value, 16);
    char *text = json != NULL ? json_dumps(json, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : NULL;
    size_t size = text != NULL ? strlen(text) : 0;
    if (size > limit) {
        buffer_append(out, text, cut(text, limit));
        buffer_text(out, "…");
    } else {
        buffer_append(out, text != NULL ? text : "", size);
    }
    free(text);
    json_decref(json);
}
