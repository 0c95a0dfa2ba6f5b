/* Reading values out of a document's tree, with complaints that name file, line, column and path. A reader
 * that refuses goes on with the next value, so that one look shows everything that is wrong. */
#ifndef POLICIES_READ_H
#define POLICIES_READ_H

#include "private.h"
#include "yaml/read.h"

typedef struct reader {
    arena *memory;         /* the set's: what is read */
    arena *problem_memory; /* the caller's: what is wrong */
    policy_problems *problems;
    owned_set *set;
    const char *file;
    const char *rule; /* the document that is read; "" */
    char path[128];
    bool out_of_memory;
} reader;

typedef void (*value_reader)(reader *self, const yaml_item *node, void *target);

typedef struct member {
    const char *name;
    size_t offset;
    bool required;
    value_reader read;
} member;

/* ---- problems ---- */

void problem_add(reader *self, policy_gravity gravity, const char *reason, uint32_t line, uint32_t column,
                 const char *format, ...) PRINTF_LIKE(6, 7);
/* "spec.effect WHAT" at the node. */
void refuse(reader *self, const yaml_item *node, const char *what);
/* Something is wrong with a CEL text that begins at the node, `offset` characters within its first line. */
void refuse_expression(reader *self, const yaml_item *node, uint32_t offset, const failure *why);

size_t path_enter(reader *self, const char *name, size_t index);
void path_leave(reader *self, size_t before);

/* ---- values; each writes its target, of the type that is named, or refuses ---- */

void read_mapping(reader *self, const yaml_item *node, const member *members, size_t count, void *target);
/* A list of mappings of `size` bytes each. */
void *read_list(reader *self, const yaml_item *node, size_t least, size_t most, size_t size,
                value_reader read, size_t *count);

/* The node's text when it is a text; NULL after refusing. */
const char *read_scalar(reader *self, const yaml_item *node, size_t most);
void read_line(reader *self, const yaml_item *node,
               void *target); /* const char *: a message, a description */
void read_name(reader *self, const yaml_item *node, void *target);       /* const char * */
void read_text(reader *self, const yaml_item *node, void *target);       /* const char *, up to 256 bytes */
void read_patterns(reader *self, const yaml_item *node, void *target);   /* policy_patterns */
void read_verbs(reader *self, const yaml_item *node, void *target);      /* policy_patterns */
void read_agents(reader *self, const yaml_item *node, void *target);     /* policy_patterns */
void read_principals(reader *self, const yaml_item *node, void *target); /* policy_patterns */
void read_node_names(reader *self, const yaml_item *node, void *target); /* policy_patterns */
void read_duration(reader *self, const yaml_item *node, void *target);   /* uint64_t seconds */
bool read_whole(reader *self, const yaml_item *node, uint64_t least, uint64_t most, uint64_t *out);
bool read_decimal(reader *self, const yaml_item *node, double least, double most, double *out);
/* The position of the text in `words`; -1 after refusing. */
int read_word(reader *self, const yaml_item *node, const char *const *words, size_t count);

/* What is wrong with a pattern over node names; NULL: nothing. */
const char *node_pattern_problem(const char *pattern);

#endif
