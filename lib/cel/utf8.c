/* Code points in UTF-8. */
#include "utf8.h"

static bool inner(uint8_t octet) {
    return (octet & 0xC0U) == 0x80U;
}

/* Length of a well-formed sequence at data[0…left), 0 if there is none (Unicode 15, table 3-7). */
static uint32_t sequence(const uint8_t *data, size_t left) {
    uint8_t first = data[0];
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return left >= 2 && inner(data[1]) ? 2 : 0;
    if ((first & 0xF0U) == 0xE0U) {
        if (left < 3 || !inner(data[1]) || !inner(data[2]))
            return 0;
        return (first == 0xE0 && data[1] < 0xA0) || (first == 0xED && data[1] > 0x9F) ? 0 : 3;
    }
    if (first < 0xF0 || first > 0xF4 || left < 4 || !inner(data[1]) || !inner(data[2]) || !inner(data[3]))
        return 0;
    return (first == 0xF0 && data[1] < 0x90) || (first == 0xF4 && data[1] > 0x8F) ? 0 : 4;
}

bool cel_utf8_valid(bytes text) {
    for (size_t at = 0; at < text.size;) {
        uint32_t length = sequence(text.data + at, text.size - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

uint32_t cel_utf8_count(const char *text, uint32_t size) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < size; i++)
        count += !inner((uint8_t)text[i]);
    return count;
}

uint32_t cel_utf8_offset(const char *text, uint32_t size, int64_t index) {
    uint32_t at = 0;
    for (; index > 0 && at < size; index--)
        at += cel_utf8_length(text, at, size);
    return index == 0 ? at : UINT32_MAX;
}

uint32_t cel_utf8_read(const char *text, uint32_t at, uint32_t size) {
    const uint8_t *data = (const uint8_t *)text + at;
    uint32_t length = cel_utf8_length(text, at, size);
    if (length == 1)
        return data[0] < 0x80 ? data[0] : 0xFFFD;
    if (length == 2 && data[0] < 0xE0)
        return (data[0] & 0x1FU) << 6 | (data[1] & 0x3FU);
    if (length == 3 && data[0] < 0xF0)
        return (data[0] & 0x0FU) << 12 | (data[1] & 0x3FU) << 6 | (data[2] & 0x3FU);
    if (length < 4)
        return 0xFFFD;
    return (data[0] & 0x07U) << 18 | (data[1] & 0x3FU) << 12 | (data[2] & 0x3FU) << 6 | (data[3] & 0x3FU);
}

uint32_t cel_utf8_write(uint32_t point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0U | point >> 6);
        out[1] = (char)(0x80U | (point & 0x3FU));
        return 2;
    }
    if (point < 0x10000) {
        if (point >= 0xD800 && point <= 0xDFFF)
            return 0;
        out[0] = (char)(0xE0U | point >> 12);
        out[1] = (char)(0x80U | (point >> 6 & 0x3FU));
        out[2] = (char)(0x80U | (point & 0x3FU));
        return 3;
    }
    if (point > 0x10FFFF)
        return 0;
    out[0] = (char)(0xF0U | point >> 18);
    out[1] = (char)(0x80U | (point >> 12 & 0x3FU));
    out[2] = (char)(0x80U | (point >> 6 & 0x3FU));
    out[3] = (char)(0x80U | (point & 0x3FU));
    return 4;
}
