/* Code points in UTF-8. Texts inside an evaluation are valid; cel_utf8_valid is the gate (NUL is a character
 * like any other). */
#ifndef CEL_UTF8_H
#define CEL_UTF8_H

#include "base/bytes.h"

bool cel_utf8_valid(bytes text);
/* Bytes of the character at text[at], at < size. Never past the end, whatever the host handed in. */
static inline uint32_t cel_utf8_length(const char *text, uint32_t at, uint32_t size) {
    uint8_t octet = (uint8_t)text[at];
    uint32_t length = octet < 0x80 ? 1 : octet < 0xE0 ? 2 : octet < 0xF0 ? 3 : 4;
    return length < size - at ? length : size - at;
}
uint32_t cel_utf8_count(const char *text, uint32_t size);
/* Offset of character `index`; size when it is the count; UINT32_MAX beyond. */
uint32_t cel_utf8_offset(const char *text, uint32_t size, int64_t index);
/* The character at text[at]; U+FFFD when it is cut off. */
uint32_t cel_utf8_read(const char *text, uint32_t at, uint32_t size);
/* Writes 1 to 4 bytes; 0 for what is no Unicode scalar value. */
uint32_t cel_utf8_write(uint32_t point, char out[4]);

#endif
