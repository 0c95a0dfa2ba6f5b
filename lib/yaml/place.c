/* Showing where in a text a complaint points. */
#include <string.h>

#include "yaml/read.h"

#define LINE_SHOWN 120U

static bytes line_of(bytes text, uint32_t line) {
    const uint8_t *at = text.data, *end = text.data + text.size;
    for (uint32_t i = 1; i < line && at < end; i++) {
        const uint8_t *next = memchr(at, '\n', (size_t)(end - at));
        at = next != NULL ? next + 1 : end;
    }
    const uint8_t *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t size = at < end ? (size_t)((stop != NULL ? stop : end) - at) : 0;
    while (size > 0 && at[size - 1] == '\r')
        size--;
    return bytes_of(at, size);
}

/* The line and a caret below the column (a count of characters, from 1). */
void yaml_show_place(bytes text, uint32_t line, uint32_t column, buffer *out) {
    if (line == 0 || column == 0 || column > LINE_SHOWN || !utf8_valid(text))
        return;
    bytes shown = line_of(text, line);
    size_t size = shown.size;
    if (size > LINE_SHOWN)
        for (size = LINE_SHOWN; size > 0 && (shown.data[size] & 0xC0U) == 0x80U;)
            size--;
    buffer_text(out, "\n | ");
    for (size_t i = 0; i < size; i++) {
        const char c = shown.data[i] < ' ' ? ' ' : (char)shown.data[i];
        buffer_append(out, &c, 1);
    }
    buffer_format(out, "\n | %*s^", (int)column - 1, "");
}
