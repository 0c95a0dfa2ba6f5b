/* A YAML document as a small tree in which every value knows its place. What would make it large, cyclic or
 * ambiguous is refused while it is read: anchors, aliases, tags, a key twice, depth, size. */
#ifndef POLICIES_TREE_H
#define POLICIES_TREE_H

#include "base/arena.h"
#include "base/bytes.h"

#define TREE_DEPTH 16U
#define TREE_KEYS 128U     /* of one mapping */
#define TREE_ENTRIES 4096U /* of one list */

typedef enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP } tree_kind;

/* How a scalar is written: where its text stands in the file depends on it. */
typedef enum tree_style { TREE_PLAIN, TREE_QUOTED, TREE_LITERAL, TREE_FOLDED } tree_style;

typedef struct tree_node tree_node;
struct tree_node {
    tree_kind kind;
    tree_style style;
    uint32_t line, column; /* from 1, in characters */
    const char *text;      /* of a scalar; NUL-terminated */
    size_t size;
    uint32_t count;         /* of children */
    const tree_node *first; /* of a list or mapping */
    const tree_node *next;  /* sibling */
    const tree_node *key;   /* of a mapping's entry */
};

/* Where reading stopped, and why. */
typedef struct tree_problem {
    uint32_t line, column;
    char message[256];
} tree_problem;

typedef struct tree_reader tree_reader;

/* `text` must outlive the reader, and so must the nodes' arenas. NULL without memory. */
tree_reader *tree_reader_new(bytes text);
void tree_reader_free(tree_reader *self); /* takes NULL */

/* The next document, in `memory`; NULL at the end of the stream. After INVALID_ARGUMENT nothing more can be
 * read: *problem says why. RESOURCE_EXHAUSTED when `memory` is used up. */
status_code tree_next(tree_reader *self, arena *memory, const tree_node **root,
                      tree_problem *problem) MUST_USE;

/* The member of a mapping; NULL when there is none. */
const tree_node *tree_member(const tree_node *map, const char *name);

#endif
