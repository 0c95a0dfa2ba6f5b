/* YAML as a small tree in which every value knows its place. Of YAML it takes what people write by hand:
 * mappings with text keys, lists, scalars (JSON is such YAML, too). What would make a document large, cyclic
 * or ambiguous is refused while it is read: anchors, aliases, tags, merge keys, a key twice, a NUL, depth,
 * size. Thread-safe: nothing is shared. */
#ifndef YAML_READ_H
#define YAML_READ_H

#include "base/arena.h"
#include "base/bytes.h"

#define YAML_DEPTH_MAX 64U

typedef enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP } yaml_kind;

/* How a scalar is written: where its text stands in the file depends on it. */
typedef enum yaml_style { YAML_PLAIN, YAML_QUOTED, YAML_LITERAL, YAML_FOLDED } yaml_style;

typedef struct yaml_item yaml_item;
struct yaml_item {
    yaml_kind kind;
    yaml_style style;
    uint32_t line, column;  /* from 1, in characters */
    const char *text;       /* of a scalar; NUL-terminated */
    size_t size;            /* of the text, in bytes */
    uint32_t count;         /* of children */
    const yaml_item *first; /* child of a list or mapping */
    const yaml_item *next;  /* sibling */
    const yaml_item *key;   /* of a mapping's entry */
};

typedef struct yaml_limits {
    uint32_t depth;   /* of nesting; YAML_DEPTH_MAX at most */
    uint32_t keys;    /* of one mapping */
    uint32_t entries; /* of one list */
} yaml_limits;

/* Where reading stopped, and why. */
typedef struct yaml_problem {
    uint32_t line, column; /* 0: of the whole text */
    char message[256];
} yaml_problem;

/* ---- A stream of documents ---- */

typedef struct yaml_reader yaml_reader;

/* `text` must outlive the reader. A byte order mark is skipped. NULL without memory. */
yaml_reader *yaml_reader_new(bytes text, yaml_limits limits);
void yaml_reader_free(yaml_reader *self); /* takes NULL */

/* The next document, in `memory`; NULL at the end of the stream. After INVALID_ARGUMENT nothing more can be
 * read: *problem says why. RESOURCE_EXHAUSTED when `memory` is used up. */
status_code yaml_next(yaml_reader *self, arena *memory, const yaml_item **root,
                      yaml_problem *problem) MUST_USE;

/* ---- One document ---- */

/* The only document of a text; a second one is refused. *root is NULL when there is none. */
status_code yaml_read(bytes text, yaml_limits limits, arena *memory, const yaml_item **root,
                      yaml_problem *problem) MUST_USE;

/* The value of a mapping's key; NULL when there is none, or no mapping. */
const yaml_item *yaml_member(const yaml_item *map, const char *key);

/* The line with a caret below the column, each after "\n | ": what a complaint about the text ends with.
 * Nothing when there is no such place or the text is no UTF-8. */
void yaml_show_place(bytes text, uint32_t line, uint32_t column, buffer *out);

#endif
