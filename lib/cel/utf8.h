/* Code points in UTF-8. Texts inside an evaluation are valid; cel_utf8_valid is the gate (NUL is a character
 * like any other). */
#ifndef CEL_UTF8_H
#define CEL_UTF8_H

#include "base/bytes.h"

bool cel_utf8_valid(bytes text);
/* Bytes of the character at `text`, which is valid. */
static inline uint32_t cel_utf8_length(char first) {
    uint8_t octet = (uint8_t)first;
    return octet < 0x80 ? 1 : octet < 0xE0 ? 2 : octet < 0xF0 ? 3 : 4;
}
uint32_t cel_utf8_count(const char *text, uint32_t size);
/* Offset of character `index`; size when it is the count; UINT32_MAX beyond. */
uint32_t cel_utf8_offset(const char *text, uint32_t size, int64_t index);
uint32_t cel_utf8_read(const char *text);
/* Writes 1 to 4 bytes; 0 for what is no Unicode scalar value. */
uint32_t cel_utf8_write(uint32_t point, char out[4]);

#endif
