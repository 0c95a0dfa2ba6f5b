/* Doubles as text and back. */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Digits after the point of the shortest scientific form. */
static int shortest_precision(double value) {
    char text[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value)
            return precision;
    }
    return 17;
}

static bool special(double value, char out[NUMBER_TEXT]) {
    if (isnan(value))
        snprintf(out, NUMBER_TEXT, "NaN");
    else if (isinf(value))
        snprintf(out, NUMBER_TEXT, "%s", value < 0 ? "-Inf" : "+Inf");
    else
        return false;
    return true;
}

void number_plain(double value, char out[NUMBER_TEXT]) {
    if (special(value, out))
        return;
    char scientific[40];
    int precision = shortest_precision(value);
    snprintf(scientific, sizeof scientific, "%.*e", precision, value);
    int exponent = (int)strtol(strchr(scientific, 'e') + 1, NULL, 10);
    if (exponent <= precision) {
        snprintf(out, NUMBER_TEXT, "%.*f", precision - exponent, value);
        return;
    }
    /* More places than digits: printf would print the exact value, not the shortest. */
    size_t used = 0;
    for (const char *c = scientific; *c != 'e'; c++)
        if (*c != '.')
            out[used++] = *c;
    for (int i = precision; i < exponent; i++)
        out[used++] = '0';
    out[used] = 0;
}

void number_shortest(double value, char out[NUMBER_TEXT]) {
    if (special(value, out))
        return;
    if (value == 0 || (fabs(value) >= 1e-4 && fabs(value) < 1e21))
        number_plain(value, out);
    else
        snprintf(out, NUMBER_TEXT, "%.*e", shortest_precision(value), value);
}

static bool is_decimal(const char *text) {
    size_t digits = 0;
    text += *text == '-' || *text == '+';
    for (; *text >= '0' && *text <= '9'; text++)
        digits++;
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9'; text++)
            digits++;
    if (digits == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '-' || text[1] == '+');
        if (*text < '0' || *text > '9')
            return false;
        while (*text >= '0' && *text <= '9')
            text++;
    }
    return *text == 0;
}

static bool is_named(const char *text) {
    text += *text == '-' || *text == '+';
    return strcasecmp(text, "inf") == 0 || strcasecmp(text, "infinity") == 0 || strcasecmp(text, "nan") == 0;
}

bool number_read_double(bytes text, double *value) {
    char copy[512];
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, 0, text.size) != NULL)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    bool named = is_named(copy);
    if (!named && !is_decimal(copy))
        return false;
    *value = strtod(copy, NULL);
    return named || !isinf(*value);
}

bool number_read_uint(bytes text, uint64_t *value) {
    uint64_t sum = 0;
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(sum, 10U, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(c - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}

bool number_read_int(bytes text, int64_t *value) {
    bool minus = text.size > 0 && text.data[0] == '-';
    size_t sign = minus || (text.size > 0 && text.data[0] == '+') ? 1 : 0;
    uint64_t magnitude = 0;
    if (!number_read_uint(bytes_of(text.data + sign, text.size - sign), &magnitude) ||
        magnitude > (uint64_t)INT64_MAX + (minus ? 1 : 0))
        return false;
    *value = minus ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
