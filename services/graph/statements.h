/* What one source says about nodes and edges: a list that is built in any order and then brought into one, so
 * that two lists can be compared. Everything in it lives in the arena it was begun with. Pure; one thread. */
#ifndef GRAPH_STATEMENTS_H
#define GRAPH_STATEMENTS_H

#include "base/arena.h"
#include "interlock/graph/v1/changes.pb-c.h"
#include "names.h"

#define STATEMENTS_MAX 50000U        /* of one source */
#define STATEMENT_ATTRIBUTES_MAX 64U /* of one node or edge */
#define STATEMENT_KEY_BYTES 120U     /* longer keys are left out */
#define STATEMENT_VALUE_BYTES 1024U  /* longer values are kept as size and digest */
#define STATEMENT_BODY_BYTES 12288U  /* of all attributes together; beyond it the longest become digests */
#define NODE_KIND(word) INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_##word
#define EDGE_KIND(word) INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_##word
#define PROVENANCE_DECLARED INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_DECLARED

typedef struct statement_attribute {
    const char *key, *value;
} statement_attribute;

typedef struct statement {
    bool is_edge;
    int kind;         /* node_kind or edge_kind */
    const char *name; /* the node, or where the edge begins */
    const char *to;   /* where the edge ends; "" for a node */
    provenance source;
    double confidence;
    statement_attribute *attributes; /* sorted by key once finished */
    size_t attribute_count, attribute_room;
} statement;

typedef struct statements {
    arena *memory;
    statement *items;
    size_t count, room;
    bool failed; /* memory or STATEMENTS_MAX exhausted: the list is not whole */
    bool finished;
} statements;

void statements_begin(statements *self, arena *memory);

/* Adds a statement and returns its index; after a failure the index is of one that does not count. Text is
 * copied. */
size_t statements_node(statements *self, node_kind kind, const char *name, provenance source);
size_t statements_edge(statements *self, edge_kind kind, const char *from, const char *to, provenance source);
/* A value of more than STATEMENT_VALUE_BYTES becomes "N bytes, sha256 HEX". An empty value is one too. Value
 * NULL: no attribute. Key NULL: the memory for it was missing, and the list is not whole. */
void statements_attribute(statements *self, size_t index, const char *key, const char *value);
/* Of a value that was made in the arena: NULL means that the memory was missing, and the list is not whole.
 */
void statements_made(statements *self, size_t index, const char *key, const char *value);
/* Of values that must not be kept: always size and digest. */
void statements_digest(statements *self, size_t index, const char *key, bytes value);
/* A key whose value is nobody's business: "db_password", "apiToken". */
bool statement_key_is_secret(const char *key);
/* Everything of `other`, whose text must live as long. */
void statements_take(statements *self, const statements *other);

/* Sorts, and merges what is said twice: of an attribute that has two values, the later holds. */
status_code statements_finish(statements *self, failure *why) MUST_USE;

/* < 0, 0, > 0 by what they are about: kind, name, to. */
int statement_compare(const statement *a, const statement *b);
/* Both say the same about the same. */
bool statement_same(const statement *a, const statement *b);

/* Two finished lists, side by side in one order; one of the two is NULL where only one speaks. */
typedef void (*statements_visit)(void *context, const statement *before, const statement *after);
void statements_compare(const statements *before, const statements *after, statements_visit visit,
                        void *context);

/* ---- As messages */
typedef Interlock__Graph__V1__Statement statement_message;
/* NULL without memory. Views: it lives as long as the statement. */
statement_message *statement_to_message(const statement *self, arena *memory);
/* Kept in one byte string and back; the bytes were made by statements_pack. */
status_code statements_pack(const statements *self, uint8_t **out, size_t *size, failure *why) MUST_USE;
status_code statements_unpack(bytes packed, arena *memory, statements *out, failure *why) MUST_USE;

#endif
