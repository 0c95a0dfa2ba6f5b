/* CEL values from JSON and back: what a person types in, and what is shown of what an expression read. */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include <jansson.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "cel/value.h"

#define VALUES_DEPTH 64U
#define VALUES_ELEMENTS 1000000U

/* JSON as CEL sees it: whole numbers are int, others double, objects maps with text keys. Everything is in
 * the arena but texts and keys, which stay `json`'s. INVALID_ARGUMENT when it is nested deeper than
 * VALUES_DEPTH. */
status_code values_from_json(const json_t *json, arena *memory, cel_value *out, failure *why) MUST_USE;

/* The nearest JSON: timestamps and durations as texts ("2026-11-22T19:24:50Z", "1.5s"), bytes in base64,
 * numbers that JSON lacks as texts, what is deeper than VALUES_DEPTH or longer than `most` elements as "…".
 * The caller's; NULL without memory. */
json_t *values_to_json(cel_value value, size_t most);

/* The same on one line, cut to `limit` bytes. Texts are quoted. */
void values_print(cel_value value, size_t limit, buffer *out);

#endif
