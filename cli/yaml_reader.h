/* YAML that people write for a command (cases, facts), as a tree that remembers where everything stands, so
 * that every complaint names file, line and column and shows the line with a caret. JSON is read as well: it
 * is YAML. Refused: aliases, anchors, tags, keys that are no plain text, a key twice, a second document,
 * nesting beyond YAML_DEPTH. */
#ifndef CLI_YAML_READER_H
#define CLI_YAML_READER_H

#include "base/arena.h"
#include "base/bytes.h"

#define YAML_FILE_BYTES (8U << 20)
#define YAML_DEPTH 32U

typedef enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP } yaml_kind;

typedef struct yaml_item yaml_item;
struct yaml_item {
    yaml_kind kind;
    uint32_t line, column; /* from 1 */
    const char *text;      /* of a scalar */
    size_t size;
    bool quoted;      /* '…', "…" or a block: never a number */
    yaml_item *items; /* of a list; of a map key, value, key, value, … */
    size_t count;     /* elements, or pairs */
};

typedef struct yaml_source {
    const char *file;
    bytes text;
    arena *memory;
} yaml_source;

/* INVALID_ARGUMENT, YAML_INVALID. An empty text is an empty map. */
status_code yaml_read(const yaml_source *source, const yaml_item **out, failure *why) MUST_USE;

/* "FILE:LINE:COLUMN: what", the line and a caret. Returns INVALID_ARGUMENT. `item` NULL: of the whole file.
 */
status_code yaml_fail(const yaml_source *source, const yaml_item *item, failure *why, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The value of a key; NULL when it is not there or `map` is none. */
const yaml_item *yaml_member(const yaml_item *map, const char *key);
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
