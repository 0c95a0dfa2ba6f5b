/* Text into HTML, safely. */
#include "html.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

/* Bytes of the well-formed character at `text`, 0 when there is none. */
static size_t character_size(const char *text, size_t left) {
    for (size_t size = 1; size <= 4 && size <= left; size++)
        if (utf8_valid(bytes_of(text, size)))
            return size;
    return 0;
}

static const char *escape_of(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\n':
    case '\t':
        return " ";
    default:
        return (unsigned char)c < ' ' || c == 0x7f ? REPLACEMENT : NULL;
    }
}

void html_text(buffer *out, const char *text) {
    size_t left = text != NULL ? strlen(text) : 0;
    while (left > 0) {
        const char *escape = escape_of(*text);
        size_t size = escape == NULL ? character_size(text, left) : 1;
        if (escape != NULL || size == 0)
            buffer_text(out, escape != NULL ? escape : REPLACEMENT);
        else
            buffer_append(out, text, size);
        size = size == 0 ? 1 : size;
        text += size;
        left -= size;
    }
}
