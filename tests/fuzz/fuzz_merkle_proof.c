/* Any bytes as proofs: first as they are, with any sizes; then as damage to a genuine proof, which must make
 * it fail. */
#include <stdlib.h>
#include <string.h>

#include "merkle/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEAVES 64U
#define LEVELS 7U

static merkle_hash stored[LEVELS][LEAVES];
static merkle_hash roots[LEAVES + 1];

static bool read_stored(void *context, merkle_node node, merkle_hash *out) {
    (void)context;
    *out = stored[node.level][node.index];
    return true;
}

static void grow(void) {
    merkle_frontier tree;
    merkle_frontier_init(&tree);
    for (unsigned i = 0; i < LEAVES; i++) {
        merkle_hash leaf;
        merkle_created created[65];
        merkle_leaf_hash(bytes_of(&i, sizeof i), &leaf);
        size_t count = merkle_frontier_add(&tree, &leaf, created);
        for (size_t j = 0; j < count; j++)
            stored[created[j].node.level][created[j].node.index] = created[j].hash;
        merkle_frontier_root(&tree, &roots[i + 1]);
    }
}

/* Two numbers of eight bytes, then hashes. */
static void check_any(const uint8_t *data, size_t size) {
    uint64_t numbers[2];
    merkle_proof proof;
    memcpy(numbers, data, sizeof numbers);
    size -= sizeof numbers;
    proof.count = size / MERKLE_HASH_BYTES;
    memcpy(proof.hashes, data + sizeof numbers,
           (proof.count < MERKLE_PROOF_MAX ? proof.count : MERKLE_PROOF_MAX) * MERKLE_HASH_BYTES);
    /* The sizes are bound by the checkpoint, not by the hashes: only what no tree has must fail here. */
    if (merkle_verify_inclusion(&stored[0][0], numbers[0], numbers[1], &proof, &roots[LEAVES]) &&
        (numbers[0] >= numbers[1] || proof.count > MERKLE_PROOF_MAX))
        abort();
    if (merkle_verify_consistency(numbers[0], &roots[3], numbers[1], &roots[LEAVES], &proof) &&
        (numbers[0] >= numbers[1] || proof.count > MERKLE_PROOF_MAX))
        abort();
}

static bool damage(merkle_proof *proof, const uint8_t *data, size_t size) {
    bool changed = false;
    for (size_t i = 0; i < size && i < proof->count * MERKLE_HASH_BYTES; i++) {
        proof->hashes[i / MERKLE_HASH_BYTES].bytes[i % MERKLE_HASH_BYTES] ^= data[i];
        changed |= data[i] != 0;
    }
    return changed;
}

static void check_damaged(const uint8_t *data, size_t size) {
    uint64_t total = 1 + data[0] % LEAVES;
    uint64_t position = data[1] % total;
    merkle_proof proof;
    failure why;
    if (merkle_prove_inclusion(position, total, read_stored, NULL, &proof, &why) != STATUS_OK)
        abort();
    bool changed = damage(&proof, data + 2, size - 2);
    if (merkle_verify_inclusion(&stored[0][position], position, total, &proof, &roots[total]) == changed)
        abort();
    uint64_t from = position + 1;
    if (merkle_prove_consistency(from, total, read_stored, NULL, &proof, &why) != STATUS_OK)
        abort();
    changed = damage(&proof, data + 2, size - 2);
    if (merkle_verify_consistency(from, &roots[from], total, &roots[total], &proof) == changed)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool grown;
    if (!grown)
        grow();
    grown = true;
    if (size >= 2)
        check_damaged(data, size);
    if (size >= 16)
        check_any(data, size);
    return 0;
}
