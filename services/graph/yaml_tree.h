/* YAML as a small tree that knows where everything stands. Of YAML it takes what people write by hand:
 * mappings, lists, scalars, one document. Anchors, aliases, explicit tags, merge keys and keys said twice are
 * refused, so that a document cannot grow while it is read and means what it seems to. Pure and thread-safe.
 */
#ifndef GRAPH_YAML_TREE_H
#define GRAPH_YAML_TREE_H

#include "base/arena.h"
#include "base/bytes.h"

#define YAML_TREE_DEPTH 16U
#define YAML_TREE_ITEMS 400000U
#define YAML_TREE_MEMBERS 256U /* of one mapping */
#define YAML_TREE_BYTES (2U << 20)

typedef enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAPPING } yaml_kind;

typedef struct yaml_item {
    yaml_kind kind;
    const char *key;  /* of a member of a mapping; NULL */
    const char *text; /* of a scalar */
    bool quoted;
    size_t line, column;                   /* from 1; of the value */
    size_t key_line, key_column;           /* of the key */
    struct yaml_item *first, *last, *next; /* children; the next sibling */
    size_t count;                          /* of children */
} yaml_item;

/* INVALID_ARGUMENT: BAD_YAML; the message begins "FILE:LINE:COLUMN: ". The tree is in the arena. */
status_code yaml_tree_read(bytes text, const char *file, arena *memory, const yaml_item **out,
                           failure *why) MUST_USE;

const yaml_item *yaml_member(const yaml_item *mapping, const char *key); /* NULL */

#endif
