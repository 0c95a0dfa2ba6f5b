/* The latest hashes of the tree in memory. Per level the newest NODES_PER_LEVEL: a proof for one of the last
 * NODES_PER_LEVEL leaves needs none but these, because each of its hashes is the neighbour of a subtree on
 * the leaf's path. At most 4 MiB for a log of 2^32 leaves. What is older is read from the store. One thread.
 */
#ifndef AUDIT_NODES_H
#define AUDIT_NODES_H

#include "merkle/tree.h"

#define NODES_PER_LEVEL 4096U
#define NODES_LEVELS 48U

typedef struct nodes nodes;

/* `older` reads what is not in memory. */
status_code nodes_new(nodes **out, merkle_read older, void *context, failure *why) MUST_USE;
void nodes_free(nodes *self); /* takes NULL */
/* Without memory for a level its hashes are simply read from the store. */
void nodes_put(nodes *self, const merkle_created *created);
/* A merkle_read; `self` is a nodes. */
bool nodes_read(void *self, merkle_node node, merkle_hash *out);

#endif
