/* What people declare of production in YAML: zones, owners, services, contracts, journeys, edges. A document
 * has a name; what it declares replaces what the document of that name declared before.
 * docs/declarations.schema.json describes it. Pure and thread-safe. */
#ifndef GRAPH_DECLARATIONS_H
#define GRAPH_DECLARATIONS_H

#include "change.h"

#define DECLARATION_ALIASES_MAX 20000U
#define DECLARATIONS_BYTES (2U << 20)

typedef struct declared_alias {
    const char *node, *alias;
} declared_alias;

typedef struct declarations {
    const char *name; /* metadata.name */
    change change;    /* from now_ms on */
    declared_alias *aliases;
    size_t alias_count, alias_room;
} declarations;

/* Everything is in the arena. INVALID_ARGUMENT: BAD_YAML, BAD_DECLARATION; the message begins
 * "FILE:LINE:COLUMN: ". */
status_code declarations_read(bytes document, const char *file, int64_t now_ms, arena *memory,
                              declarations *out, failure *why) MUST_USE;

#endif
