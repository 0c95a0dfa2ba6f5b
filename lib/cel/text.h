/* Values as text, and text as values. */
#ifndef CEL_TEXT_H
#define CEL_TEXT_H

#include "base/bytes.h"
#include "cel/value.h"

#define TEXT_BYTES 64U /* the longest timestamp, duration or address */

static inline bytes text_bytes(cel_value value) {
    return bytes_of(value.text, value.size);
}

void text_timestamp(cel_value value, char out[TEXT_BYTES]); /* RFC 3339 in UTC, as many decimals as needed */
void text_duration(cel_value value, char out[TEXT_BYTES]);  /* "90s", "-1.5s" */
void text_address(cel_value value, char out[TEXT_BYTES]);   /* RFC 5952; a CIDR with its length */

/* False when the text is none. A timestamp out of range is one with *in_range false. */
bool text_read_timestamp(bytes text, cel_value *value, bool *in_range) MUST_USE;
bool text_read_duration(bytes text, int64_t *nanoseconds) MUST_USE;

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back. */
int64_t days_of(int64_t year, int64_t month, int64_t day);
void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day);

#endif
