/* Names of nodes. Whatever a telemetry source calls a service becomes one canonical spelling here, because
 * rules and bounds compare names as bytes: two spellings of one service would be two services to them. */
#include "names.h"

#include <stdio.h>
#include <string.h>

/* By number of the protocol's NodeKind. */
static const char *const kind_words[] = {
    NULL,     "service", "endpoint", "datastore", "queue", "host",   "zone",  "contract", "deploy",
    "config", "flag",    "incident", "action",    "agent", "policy", "owner", "journey",
};
#define KIND_COUNT (sizeof kind_words / sizeof kind_words[0])

const char *name_kind_word(node_kind kind) {
    return (unsigned)kind < KIND_COUNT ? kind_words[kind] : NULL;
}

static bool byte_is_plain(uint8_t value) {
    return (value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z') ||
           (value >= '0' && value <= '9') || value == '.' || value == '_' || value == '-';
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* An escape is valid only for a byte that cannot stand for itself; otherwise "c%61rt" would be a second name
 * of "cart". */
static bool escape_is_canonical(const char *at) {
    int high = hex_value(at[1]);
    int low = high < 0 ? -1 : hex_value(at[2]);
    return low >= 0 && high * 16 + low != 0 && !byte_is_plain((uint8_t)(high * 16 + low));
}

/* The segment that begins at `at` and ends before `end` (a '/' or the NUL); NULL when it is not well-formed.
 */
static const char *segment_parse(const char *at, char end, bytes *out) {
    const char *start = at;
    while (*at != end) {
        if (byte_is_plain((uint8_t)*at)) {
            at++;
        } else if (*at == '%' && escape_is_canonical(at)) {
            at += 3;
        } else {
            return NULL;
        }
    }
    *out = bytes_of(start, (size_t)(at - start));
    return at == start ? NULL : at;
}

static node_kind kind_parse(const char *text, size_t size) {
    for (size_t i = 1; i < KIND_COUNT; i++)
        if (strlen(kind_words[i]) == size && memcmp(kind_words[i], text, size) == 0)
            return (node_kind)i;
    return 0;
}

status_code name_parse(const char *text, name_parts *out, failure *why) {
    name_parts parts = {0};
    const char *colon = strchr(text, ':');
    if (strnlen(text, LIMIT_NAME_BYTES) >= LIMIT_NAME_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME", "a node's name has at most %u bytes",
                    LIMIT_NAME_BYTES - 1);
    if (colon != NULL)
        parts.kind = kind_parse(text, (size_t)(colon - text));
    if (parts.kind == 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME",
                    "'%s' does not begin with the kind of a node, such as service:", text);
    const char *at = segment_parse(colon + 1, '/', &parts.environment);
    if (at != NULL)
        at = segment_parse(at + 1, '/', &parts.space);
    if (at != NULL)
        at = segment_parse(at + 1, '\0', &parts.name);
    if (at == NULL)
        return fail(
            why, STATUS_INVALID_ARGUMENT, "BAD_NAME",
            "'%s' is not kind:environment/namespace/name, each of letters, digits, '.', '_', '-' or an "
            "escape %%XX of another byte",
            text);
    *out = parts;
    return STATUS_OK;
}

/* Appends a byte, or its escape; false when it does not fit before the NUL. */
static bool append_escaped(char *out, size_t *size, uint8_t value) {
    static const char digits[] = "0123456789ABCDEF";
    size_t needed = byte_is_plain(value) ? 1 : 3;
    if (*size + needed >= LIMIT_NAME_BYTES)
        return false;
    if (needed == 1) {
        out[(*size)++] = (char)value;
    } else {
        out[(*size)++] = '%';
        out[(*size)++] = digits[value >> 4];
        out[(*size)++] = digits[value & 15];
    }
    return true;
}

static bool append_segment(char *out, size_t *size, bytes segment, char end) {
    if (segment.size == 0)
        return false;
    for (size_t i = 0; i < segment.size; i++)
        if (!append_escaped(out, size, segment.data[i]))
            return false;
    if (end == '\0')
        return true;
    if (*size + 1 >= LIMIT_NAME_BYTES)
        return false;
    out[(*size)++] = end;
    return true;
}

bool name_build(node_kind kind, bytes environment, bytes space, bytes name, char out[LIMIT_NAME_BYTES]) {
    char built[LIMIT_NAME_BYTES];
    const char *word = name_kind_word(kind);
    if (word == NULL)
        return false;
    size_t size = (size_t)snprintf(built, sizeof built, "%s:", word);
    if (!append_segment(built, &size, environment, '/') || !append_segment(built, &size, space, '/') ||
        !append_segment(built, &size, name, '\0'))
        return false;
    memcpy(out, built, size);
    out[size] = '\0';
    return true;
}
