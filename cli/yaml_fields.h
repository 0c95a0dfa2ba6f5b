/* What stands in the YAML that people write for a command (cases, facts): lib/yaml's tree, read member by
 * member, so that every complaint names file, line and column and shows the line with a caret. JSON is read
 * as well: it is YAML. */
#ifndef CLI_YAML_FIELDS_H
#define CLI_YAML_FIELDS_H

#include "yaml/read.h"

#define YAML_FILE_BYTES (8U << 20)

typedef struct yaml_source {
    const char *file;
    bytes text;
    arena *memory;
} yaml_source;

/* INVALID_ARGUMENT, YAML_INVALID; a text without a document, too. */
status_code yaml_open(const yaml_source *source, const yaml_item **out, failure *why) MUST_USE;

/* "FILE:LINE:COLUMN: what", the line and a caret. Returns INVALID_ARGUMENT. `item` NULL: of the whole file.
 */
status_code yaml_fail(const yaml_source *source, const yaml_item *item, failure *why, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* OK when `map` is a map whose keys are all among `keys` (NULL at the end); the complaint lists them. */
status_code yaml_keys(const yaml_source *source, const yaml_item *map, const char *what,
                      const char *const *keys, failure *why) MUST_USE;

/* Each leaves *out alone when `item` is NULL, and complains when it is of another kind. `what` names it. */
status_code yaml_text_of(const yaml_source *source, const yaml_item *item, const char *what, const char **out,
                         failure *why) MUST_USE;
status_code yaml_number_of(const yaml_source *source, const yaml_item *item, const char *what, double least,
                           double most, double *out, failure *why) MUST_USE;
status_code yaml_bool_of(const yaml_source *source, const yaml_item *item, const char *what, bool *out,
                         failure *why) MUST_USE;
/* A list of texts, or one text alone. *out is in the arena. */
status_code yaml_texts_of(const yaml_source *source, const yaml_item *item, const char *what,
                          const char *const **out, size_t *count, failure *why) MUST_USE;
/* "2026-11-22T19:30:00Z" (RFC 3339) into milliseconds since 1970. */
status_code yaml_time_of(const yaml_source *source, const yaml_item *item, const char *what, int64_t *out,
                         failure *why) MUST_USE;

#endif
