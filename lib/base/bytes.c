/* Byte strings, the bounded buffer and the strict text encodings. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bytes bytes_of(const void *data, size_t size) {
    return (bytes){.data = data, .size = size};
}

bytes bytes_of_text(const char *text) {
    return (bytes){.data = (const uint8_t *)text, .size = strlen(text)};
}

bool bytes_equal(bytes a, bytes b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void buffer_init(buffer *self, size_t limit) {
    *self = (buffer){.limit = limit};
}

void buffer_free(buffer *self) {
    if (self == NULL)
        return;
    free(self->data);
    *self = (buffer){.limit = self->limit};
}

void buffer_clear(buffer *self) {
    self->size = 0;
    self->failed = false;
    if (self->data != NULL)
        self->data[0] = '\0';
}

static bool reserve(buffer *self, size_t more) {
    if (self->failed || more > self->limit || self->size > self->limit - more) {
        self->failed = true;
        return false;
    }
    size_t needed = self->size + more + 1;
    if (needed <= self->capacity)
        return true;
    size_t capacity = self->capacity < 64 ? 64 : self->capacity;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(self->data, capacity);
    if (data == NULL) {
        self->failed = true;
        return false;
    }
    self->data = data;
    self->capacity = capacity;
    return true;
}

void buffer_append(buffer *self, const void *data, size_t size) {
    if (!reserve(self, size))
        return;
    if (size != 0)
        memcpy(self->data + self->size, data, size);
    self->size += size;
    self->data[self->size] = '\0';
}

void buffer_text(buffer *self, const char *text) {
    buffer_append(self, text, strlen(text));
}

/* Into the room that is left, and once more only when that was too little. */
void buffer_format(buffer *self, const char *format, ...) {
    size_t left = self->capacity - self->size;
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(left == 0 ? NULL : self->data + self->size, left, format, arguments);
    va_end(arguments);
    bool written = length >= 0 && (size_t)length < left;
    if (length >= 0 && reserve(self, (size_t)length)) {
        if (!written)
            vsnprintf(self->data + self->size, (size_t)length + 1, format, again);
        self->size += (size_t)length;
    } else {
        if (left > 0)
            self->data[self->size] = '\0';
        self->failed = true;
    }
    va_end(again);
}

bool buffer_ok(const buffer *self) {
    return !self->failed;
}

bytes buffer_bytes(const buffer *self) {
    return bytes_of(self->data, self->size);
}

void hex_encode(bytes in, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.size; i++) {
        out[2 * i] = digits[in.data[i] >> 4];
        out[2 * i + 1] = digits[in.data[i] & 15];
    }
    out[2 * in.size] = '\0';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_hex(const char *text, size_t digits) {
    if (strlen(text) != digits)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (hex_digit(text[i]) < 0)
            return false;
    return true;
}

bool hex_decode(const char *text, uint8_t *out, size_t size) {
    if (!is_hex(text, 2 * size))
        return false;
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)((unsigned)hex_digit(text[2 * i]) << 4 | (unsigned)hex_digit(text[2 * i + 1]));
    return true;
}

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Room is made once, not for each group of digits. */
static void encode64(bytes in, buffer *out, const char *alphabet, bool padded) {
    size_t size = in.size / 3 * 4 + (in.size % 3 == 0 ? 0 : padded ? 4 : in.size % 3 + 1);
    if (in.size > SIZE_MAX / 2 || !reserve(out, size)) {
        out->failed = true;
        return;
    }
    char *text = out->data + out->size;
    char *end = text + size;
    size_t i = 0;
    for (; in.size - i >= 3; i += 3, text += 4) {
        uint32_t group =
            (uint32_t)in.data[i] << 16 | (uint32_t)in.data[i + 1] << 8 | (uint32_t)in.data[i + 2];
        text[0] = alphabet[group >> 18];
        text[1] = alphabet[group >> 12 & 63];
        text[2] = alphabet[group >> 6 & 63];
        text[3] = alphabet[group & 63];
    }
    size_t rest = in.size - i;
    uint32_t group = rest > 0 ? (uint32_t)in.data[i] << 16 : 0;
    group |= rest > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
    for (int digit = 0, shift = 18; text < end; digit++, shift -= 6)
        *text++ = (size_t)digit <= rest ? alphabet[group >> shift & 63] : '=';
    out->size += size;
    *end = '\0';
}

void base64_encode(bytes in, buffer *out) {
    encode64(in, out, standard, true);
}

void base64url_encode(bytes in, buffer *out) {
    encode64(in, out, url_safe, false);
}

static int digit64(uint8_t c, bool url) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

/* Decodes unpadded digits; the unused low bits of the last digit must be zero, else two texts would mean one
 * value. */
static bool decode64(bytes text, uint8_t *out, size_t *size, bool url) {
    if (text.size % 4 == 1)
        return false;
    size_t needed = text.size / 4 * 3 + (text.size % 4 == 0 ? 0 : text.size % 4 - 1);
    if (needed > *size)
        return false;
    uint32_t group = 0;
    unsigned bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = digit64(text.data[i], url);
        if (digit < 0)
            return false;
        group = group << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[written++] = (uint8_t)(group >> bits);
            group &= (1U << bits) - 1;
        }
    }
    if (group != 0)
        return false;
    *size = written;
    return true;
}

bool base64_decode(bytes text, uint8_t *out, size_t *size) {
    if (text.size % 4 != 0)
        return false;
    if (text.size > 0 && text.data[text.size - 1] == '=') {
        text.size--;
        if (text.data[text.size - 1] == '=')
            text.size--;
    }
    return decode64(text, out, size, false);
}

bool base64url_decode(bytes text, uint8_t *out, size_t *size) {
    return decode64(text, out, size, true);
}

/* Length of the well-formed sequence at p, or 0. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const uint8_t *p, size_t left) {
    if (p[0] < 0x80)
        return p[0] == 0 ? 0 : 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size_t length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (left < length)
        return 0;
    uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* Eight bytes of ASCII without a NUL. A zero byte borrows from the one above it, which can only make this say
 * no. */
static bool is_plain_word(const uint8_t *data) {
    uint64_t word;
    memcpy(&word, data, sizeof word);
    uint64_t zero = (word - 0x0101010101010101U) & ~word;
    return ((word | zero) & 0x8080808080808080U) == 0;
}

bool utf8_valid(bytes text) {
    for (size_t i = 0; i < text.size;) {
        size_t left = text.size - i;
        if (left >= sizeof(uint64_t) && is_plain_word(text.data + i)) {
            i += sizeof(uint64_t);
            continue;
        }
        size_t length = utf8_sequence(text.data + i, left);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}
