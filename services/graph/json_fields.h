/* Fields of JSON that somebody sent: read by name, with errors that say where. Pure and thread-safe. */
#ifndef GRAPH_JSON_FIELDS_H
#define GRAPH_JSON_FIELDS_H

#include <jansson.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "statements.h"

#define JSON_FIELDS_DEPTH 64U

/* An object; keys said twice, depth beyond JSON_FIELDS_DEPTH, NUL and bytes that are no UTF-8 are refused:
 * BAD_JSON, with line and column. Let it go with json_decref. */
status_code json_fields_parse(bytes text, json_t **out, failure *why) MUST_USE;

/* The text at a path of names, "metadata.name" (no name there holds a dot); NULL when it is not there or no
 * text. */
const char *json_text_at(const json_t *object, const char *path);
const json_t *json_at(const json_t *object, const char *path); /* NULL when it is not there */

/* An attribute: a scalar as text, an object or array as compact JSON with sorted keys; none for null. */
void json_attribute(statements *what, size_t index, const char *key, const json_t *value);

#endif
