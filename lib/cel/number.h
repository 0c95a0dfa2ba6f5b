/* Doubles as text and back. */
#ifndef CEL_NUMBER_H
#define CEL_NUMBER_H

#include "base/bytes.h"

#define NUMBER_TEXT                                                                                          \
    400U /* the longest double without an exponent has 309 digits before or 324 + 17 after the point */

/* The fewest digits that read back as the same double, with an exponent below 1e-4 and from 1e21; "NaN",
 * "+Inf", "-Inf". */
void number_shortest(double value, char out[NUMBER_TEXT]);
/* The same digits without an exponent. */
void number_plain(double value, char out[NUMBER_TEXT]);

/* What double('…'), int('…'), uint('…') accept; false otherwise. */
bool number_read_double(bytes text, double *value) MUST_USE;
bool number_read_int(bytes text, int64_t *value) MUST_USE;
bool number_read_uint(bytes text, uint64_t *value) MUST_USE;

#endif
