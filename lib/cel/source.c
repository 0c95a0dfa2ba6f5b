/* Where in a source something is wrong, as a person wants to see it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lexer.h"

#define WINDOW 72U /* characters of the line that are shown */

typedef struct place {
    uint32_t line;   /* from 1 */
    uint32_t column; /* from 1, in code points */
    uint32_t begin;  /* offsets of the line */
    uint32_t end;
} place;

static bool is_inner(uint8_t octet) {
    return (octet & 0xC0U) == 0x80U;
}

static place locate(bytes source, uint32_t offset) {
    place found = {.line = 1, .column = 1};
    for (uint32_t i = 0; i < offset && i < source.size; i++) {
        if (source.data[i] == '\n') {
            found.line++;
            found.column = 1;
            found.begin = i + 1;
        } else if (!is_inner(source.data[i])) {
            found.column++;
        }
    }
    found.end = found.begin;
    while (found.end < source.size && source.data[found.end] != '\n')
        found.end++;
    return found;
}

/* A long line is cut to a window around the place. */
static void show_line(bytes source, uint32_t offset, const place *at, char *out, size_t room) {
    uint32_t begin = at->begin;
    if (offset > begin + WINDOW / 2 && at->end - begin > WINDOW)
        begin = offset - WINDOW / 2;
    while (begin > at->begin && is_inner(source.data[begin]))
        begin--;
    uint32_t end = at->end - begin > WINDOW ? begin + WINDOW : at->end;
    while (end > begin && end < source.size && is_inner(source.data[end]))
        end--;
    size_t used = (size_t)snprintf(out, room, "\n | ");
    for (uint32_t i = begin; i < end && used + 1 < room; i++)
        out[used++] = (char)(source.data[i] < 0x20 || source.data[i] == 0x7F ? ' ' : source.data[i]);
    used += (size_t)snprintf(out + used, room - used, "\n | ");
    for (uint32_t i = begin; i < offset && i < end && used + 2 < room; i++)
        if (!is_inner(source.data[i]))
            out[used++] = '.';
    if (used + 2 < room) {
        out[used++] = '^';
        out[used] = 0;
    }
}

status_code source_fail(failure *why, bytes source, uint32_t offset, status_code code, const char *reason,
                        const char *format, ...) {
    if (why == NULL)
        return code;
    if (offset > source.size)
        offset = (uint32_t)source.size;
    char what[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    size_t size = strlen(what);
    while (size > 0 && !utf8_valid(bytes_of(what, size))) /* cut within a character */
        size--;
    what[size] = 0;
    place at = locate(source, offset);
    char shown[sizeof why->message / 2 + 32] = "";
    if (utf8_valid(source) || source.size == 0)
        show_line(source, offset, &at, shown, sizeof shown);
    return fail(why, code, reason, "%u:%u: %s%s", at.line, at.column, what, shown);
}
