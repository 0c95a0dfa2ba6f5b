/* Instants as text: RFC 3339, as CloudEvents and Kubernetes write it. Pure and thread-safe. */
#ifndef BASE_INSTANT_H
#define BASE_INSTANT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* "2026-11-22T19:24:50.123+01:00" to milliseconds since 1970 (finer digits are cut off; a leap second counts
 * as the second before it). False, and `out` untouched, for anything else and for years before 1970. */
bool instant_parse(const char *text, int64_t *out) MUST_USE;

#endif
