/* RFC 6962 Merkle trees: hashes, inclusion and consistency proofs, and the running tree that a log appends
 * to. Pure: no I/O; the caller brings the stored hashes. Not thread-safe; values only. */
#ifndef MERKLE_TREE_H
#define MERKLE_TREE_H

#include "base/bytes.h"

#define MERKLE_HASH_BYTES 32U
#define MERKLE_PROOF_MAX 64U

typedef struct merkle_hash {
    uint8_t bytes[MERKLE_HASH_BYTES];
} merkle_hash;

void merkle_leaf_hash(bytes leaf, merkle_hash *out); /* SHA-256(0x00 || leaf) */
void merkle_node_hash(const merkle_hash *left, const merkle_hash *right,
                      merkle_hash *out);  /* SHA-256(0x01 || l || r) */
void merkle_empty_root(merkle_hash *out); /* SHA-256("") */

/* The complete subtree of 2^level leaves that starts at index * 2^level: how nodes are named, in proofs and
 * tiles. */
typedef struct merkle_node {
    unsigned level;
    uint64_t index;
} merkle_node;

typedef struct merkle_created {
    merkle_node node;
    merkle_hash hash;
} merkle_created;

/* Reads the hash of a complete subtree; false when it is not there. */
typedef bool (*merkle_read)(void *context, merkle_node node, merkle_hash *out);

/* The frontier of a growing tree: at most 64 hashes. */
typedef struct merkle_frontier {
    uint64_t size;
    merkle_hash subtrees[64]; /* subtrees[l] is valid when bit l of size is set */
} merkle_frontier;

void merkle_frontier_init(merkle_frontier *self);
/* Adds a leaf hash. Every complete subtree that this creates, from level 0 up, goes to `created` (room for
 * 65). Returns how many. Stored, they are what `merkle_read` reads. */
size_t merkle_frontier_add(merkle_frontier *self, const merkle_hash *leaf, merkle_created *created);
void merkle_frontier_root(const merkle_frontier *self, merkle_hash *out);
/* Rebuilds the frontier of a tree of `size` leaves. DATA_LOSS when a node is missing. */
status_code merkle_frontier_load(merkle_frontier *self, uint64_t size, merkle_read read, void *context,
                                 failure *why) MUST_USE;

typedef struct merkle_proof {
    size_t count;
    merkle_hash hashes[MERKLE_PROOF_MAX];
} merkle_proof;

/* RFC 6962 §2.1.1 and §2.1.2. OUT_OF_RANGE when index >= size, or from > size. */
status_code merkle_prove_inclusion(uint64_t index, uint64_t size, merkle_read read, void *context,
                                   merkle_proof *out, failure *why) MUST_USE;
status_code merkle_prove_consistency(uint64_t from, uint64_t size, merkle_read read, void *context,
                                     merkle_proof *out, failure *why) MUST_USE;

/* RFC 9162 §2.1.3.2 and §2.1.4.2. */
bool merkle_verify_inclusion(const merkle_hash *leaf, uint64_t index, uint64_t size,
                             const merkle_proof *proof, const merkle_hash *root) MUST_USE;
bool merkle_verify_consistency(uint64_t from, const merkle_hash *from_root, uint64_t size,
                               const merkle_hash *root, const merkle_proof *proof) MUST_USE;

#endif
