/* RFC 6962 Merkle trees. The names of the paragraphs below are RFC 6962's and RFC 9162's; k is always the
 * largest power of two smaller than n. */
#include "merkle/tree.h"

#include <string.h>

#include "crypto/crypto.h"

_Static_assert(MERKLE_HASH_BYTES == CRYPTO_HASH_BYTES, "SHA-256");

void merkle_leaf_hash(bytes leaf, merkle_hash *out) {
    static const uint8_t prefix = 0;
    sha256_two(bytes_of(&prefix, 1), leaf, out->bytes);
}

void merkle_node_hash(const merkle_hash *left, const merkle_hash *right, merkle_hash *out) {
    uint8_t message[1 + 2 * MERKLE_HASH_BYTES];
    message[0] = 1;
    memcpy(message + 1, left->bytes, MERKLE_HASH_BYTES);
    memcpy(message + 1 + MERKLE_HASH_BYTES, right->bytes, MERKLE_HASH_BYTES);
    sha256(bytes_of(message, sizeof message), out->bytes);
}

void merkle_empty_root(merkle_hash *out) {
    sha256((bytes){0}, out->bytes);
}

static bool hash_equal(const merkle_hash *a, const merkle_hash *b) {
    return memcmp(a->bytes, b->bytes, MERKLE_HASH_BYTES) == 0;
}

/* ---- the growing tree -------------------------------------------------------------------------------- */

void merkle_frontier_init(merkle_frontier *self) {
    memset(self, 0, sizeof *self);
}

size_t merkle_frontier_add(merkle_frontier *self, const merkle_hash *leaf, merkle_created *created) {
    if (self->size == UINT64_MAX)
        return 0;
    uint64_t index = self->size;
    merkle_hash hash = *leaf;
    size_t count = 0;
    unsigned level = 0;
    created[count++] = (merkle_created){.node = {.level = 0, .index = index}, .hash = hash};
    while ((self->size >> level & 1U) != 0) {
        merkle_node_hash(&self->subtrees[level], &hash, &hash);
        level++;
        created[count++] = (merkle_created){.node = {.level = level, .index = index >> level}, .hash = hash};
    }
    self->subtrees[level] = hash;
    self->size++;
    return count;
}

void merkle_frontier_root(const merkle_frontier *self, merkle_hash *out) {
    if (self->size == 0) {
        merkle_empty_root(out);
        return;
    }
    unsigned level = (unsigned)__builtin_ctzll(self->size);
    merkle_hash root = self->subtrees[level];
    for (level++; level < 64; level++)
        if ((self->size >> level & 1U) != 0)
            merkle_node_hash(&self->subtrees[level], &root, &root);
    *out = root;
}

static status_code read_node(merkle_node node, merkle_read read, void *context, merkle_hash *out,
                             failure *why) {
    if (read(context, node, out))
        return STATUS_OK;
    return fail(why, STATUS_DATA_LOSS, "MERKLE_NODE_MISSING",
                "the hash of the subtree at level %u, index %llu is not stored; restore the log from a copy",
                node.level, (unsigned long long)node.index);
}

status_code merkle_frontier_load(merkle_frontier *self, uint64_t size, merkle_read read, void *context,
                                 failure *why) {
    merkle_frontier loaded = {.size = size};
    for (unsigned level = 0; level < 64; level++) {
        if ((size >> level & 1U) == 0)
            continue;
        merkle_node node = {.level = level, .index = (size >> level) - 1};
        status_code code = read_node(node, read, context, &loaded.subtrees[level], why);
        if (code != STATUS_OK)
            return code;
    }
    *self = loaded;
    return STATUS_OK;
}

/* ---- making proofs ----------------------------------------------------------------------------------- */

/* A range of leaves whose begin is a multiple of every power of two that fits into it, as all ranges of the
 * RFC's recursions are. */
typedef struct range {
    uint64_t begin;
    uint64_t end;
} range;

/* MTH(D[begin:end]): its complete subtrees, the smallest at the right, hashed together from there. */
static status_code range_hash(range leaves, merkle_read read, void *context, merkle_hash *out, failure *why) {
    uint64_t count = leaves.end - leaves.begin;
    uint64_t position = leaves.end;
    bool first = true;
    for (unsigned level = 0; level < 64; level++) {
        if ((count >> level & 1U) == 0)
            continue;
        position -= (uint64_t)1 << level;
        merkle_node node = {.level = level, .index = position >> level};
        merkle_hash hash;
        status_code code = read_node(node, read, context, &hash, why);
        if (code != STATUS_OK)
            return code;
        if (first)
            *out = hash;
        else
            merkle_node_hash(&hash, out, out);
        first = false;
    }
    return STATUS_OK;
}

/* k for n >= 2. */
static uint64_t split(uint64_t n) {
    return (uint64_t)1 << (63U - (unsigned)__builtin_clzll(n - 1));
}

/* The recursions name their ranges from the root down, a proof lists them from the leaf up. */
static status_code hash_ranges(const range *down, size_t count, merkle_read read, void *context,
                               merkle_proof *out, failure *why) {
    merkle_proof made = {.count = count};
    for (size_t i = 0; i < count; i++) {
        status_code code = range_hash(down[count - 1 - i], read, context, &made.hashes[i], why);
        if (code != STATUS_OK)
            return code;
    }
    *out = made;
    return STATUS_OK;
}

/* PATH(m, D[n]), RFC 6962 §2.1.1. */
status_code merkle_prove_inclusion(uint64_t index, uint64_t size, merkle_read read, void *context,
                                   merkle_proof *out, failure *why) {
    if (index >= size)
        return fail(why, STATUS_OUT_OF_RANGE, "PROOF_RANGE", "there is no leaf %llu in a tree of %llu leaves",
                    (unsigned long long)index, (unsigned long long)size);
    range down[MERKLE_PROOF_MAX];
    size_t count = 0;
    range at = {.begin = 0, .end = size};
    while (at.end - at.begin > 1) {
        uint64_t middle = at.begin + split(at.end - at.begin);
        if (index < middle) {
            down[count++] = (range){.begin = middle, .end = at.end};
            at.end = middle;
        } else {
            down[count++] = (range){.begin = at.begin, .end = middle};
            at.begin = middle;
        }
    }
    return hash_ranges(down, count, read, context, out, why);
}

/* SUBPROOF(m, D[n], true), RFC 6962 §2.1.2. The empty tree is consistent with every tree; the proof is empty.
 */
status_code merkle_prove_consistency(uint64_t from, uint64_t size, merkle_read read, void *context,
                                     merkle_proof *out, failure *why) {
    if (from > size)
        return fail(why, STATUS_OUT_OF_RANGE, "PROOF_RANGE",
                    "a tree of %llu leaves cannot have grown from one of %llu", (unsigned long long)size,
                    (unsigned long long)from);
    range down[MERKLE_PROOF_MAX + 1];
    size_t count = 0;
    range at = {.begin = 0, .end = size};
    bool whole = true; /* b of the RFC: the old tree is all of this range, the verifier has its root */
    while (from != 0 && from != at.end) {
        uint64_t middle = at.begin + split(at.end - at.begin);
        if (from <= middle) {
            down[count++] = (range){.begin = middle, .end = at.end};
            at.end = middle;
        } else {
            down[count++] = (range){.begin = at.begin, .end = middle};
            at.begin = middle;
            whole = false;
        }
    }
    if (!whole)
        down[count++] = at;
    if (count > MERKLE_PROOF_MAX)
        return fail(why, STATUS_OUT_OF_RANGE, "PROOF_RANGE", "the proof would have more than %u hashes",
                    MERKLE_PROOF_MAX);
    return hash_ranges(down, count, read, context, out, why);
}

/* ---- checking proofs --------------------------------------------------------------------------------- */

/* RFC 9162 §2.1.3.2: fn and sn are the positions of the node and of the last node on its level. */
bool merkle_verify_inclusion(const merkle_hash *leaf, uint64_t index, uint64_t size,
                             const merkle_proof *proof, const merkle_hash *root) {
    if (index >= size || proof->count > MERKLE_PROOF_MAX)
        return false;
    uint64_t fn = index;
    uint64_t sn = size - 1;
    merkle_hash hash = *leaf;
    for (size_t i = 0; i < proof->count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1U) != 0 || fn == sn) {
            merkle_node_hash(&proof->hashes[i], &hash, &hash);
            while ((fn & 1U) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            merkle_node_hash(&hash, &proof->hashes[i], &hash);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && hash_equal(&hash, root);
}

/* The cases that RFC 9162 leaves to the caller: equal sizes, and the empty tree. */
static bool verify_without_proof(uint64_t from, const merkle_hash *from_root, uint64_t size,
                                 const merkle_hash *root, const merkle_proof *proof) {
    if (proof->count != 0)
        return false;
    if (from == size)
        return hash_equal(from_root, root);
    merkle_hash empty;
    merkle_empty_root(&empty);
    return from == 0 && hash_equal(from_root, &empty);
}

/* RFC 9162 §2.1.4.2. */
bool merkle_verify_consistency(uint64_t from, const merkle_hash *from_root, uint64_t size,
                               const merkle_hash *root, const merkle_proof *proof) {
    if (from > size || proof->count > MERKLE_PROOF_MAX)
        return false;
    if (from == 0 || from == size || proof->count == 0)
        return verify_without_proof(from, from_root, size, root, proof);
    bool power_of_two = (from & (from - 1)) == 0;
    uint64_t fn = from - 1;
    uint64_t sn = size - 1;
    while ((fn & 1U) != 0) {
        fn >>= 1;
        sn >>= 1;
    }
    size_t next =
        power_of_two ? 0 : 1; /* of a power of two the proof leaves the root out: the verifier has it */
    merkle_hash old_hash = power_of_two ? *from_root : proof->hashes[0];
    merkle_hash new_hash = old_hash;
    for (; next < proof->count; next++) {
        const merkle_hash *sibling = &proof->hashes[next];
        if (sn == 0)
            return false;
        if ((fn & 1U) != 0 || fn == sn) {
            merkle_node_hash(sibling, &old_hash, &old_hash);
            merkle_node_hash(sibling, &new_hash, &new_hash);
            while ((fn & 1U) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            merkle_node_hash(&new_hash, sibling, &new_hash);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && hash_equal(&old_hash, from_root) && hash_equal(&new_hash, root);
}
