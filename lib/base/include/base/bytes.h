/* Byte strings: `bytes` is a view that owns nothing; `buffer` is a growing array with a bound that owns its
 * memory. Text encodings are strict: a decoder accepts exactly what the encoder makes (canonical padding
 * bits, no white space). Thread-safety: none shared; a buffer belongs to one thread at a time. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct bytes {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
} bytes;

bytes bytes_of(const void *data, size_t size);
bytes bytes_of_text(const char *text); /* without the NUL */
bool bytes_equal(bytes a, bytes b);    /* not constant-time: never for secrets */

/* A growing byte array. `data` is always NUL-terminated one past size, so that text can be read as a C
 * string. A failed append sets `failed` and leaves the content as it was; check it once at the end
 * (buffer_ok). */
typedef struct buffer {
    char *data;
    size_t size;
    size_t capacity;
    size_t limit; /* in bytes; appends beyond it fail */
    bool failed;
} buffer;

void buffer_init(buffer *self, size_t limit);
void buffer_free(buffer *self); /* takes NULL and zeroed */
void buffer_clear(buffer *self);
void buffer_append(buffer *self, const void *data, size_t size);
void buffer_text(buffer *self, const char *text);
void buffer_format(buffer *self, const char *format, ...) PRINTF_LIKE(2, 3);
bool buffer_ok(const buffer *self);
bytes buffer_bytes(const buffer *self);

/* Lower-case hexadecimal. hex_encode writes 2*size+1 chars. hex_decode accepts lower and upper case, exact
 * length: strlen(text) == 2*size; false otherwise, with `out` untouched. */
void hex_encode(bytes in, char *out);
bool hex_decode(const char *text, uint8_t *out, size_t size);

/* Base64 (RFC 4648 §4, padded) and base64url (§5, unpadded). The encoders append to `out`. The decoders
 * refuse anything not canonical; *size is in: room, out: bytes written. */
void base64_encode(bytes in, buffer *out);
void base64url_encode(bytes in, buffer *out);
bool base64_decode(bytes text, uint8_t *out, size_t *size) MUST_USE;
bool base64url_decode(bytes text, uint8_t *out, size_t *size) MUST_USE;

/* True when the bytes are well-formed UTF-8 (no surrogates, no overlong forms) without an embedded NUL. */
bool utf8_valid(bytes text);

#endif
