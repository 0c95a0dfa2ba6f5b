/* Merkle trees against the well-known test tree of Certificate Transparency, against the RFC's definitions
 * written down naively, and by every way a proof can be wrong. */
#include <stdio.h>
#include <string.h>

#include "crypto/crypto.h"
#include "merkle/tree.h"
#include "test.h"

#define LEAVES 130U
#define STORED_LEVELS 9U

static merkle_hash stored[STORED_LEVELS][LEAVES];
static bool present[STORED_LEVELS][LEAVES];
static merkle_hash roots[LEAVES + 1];
static merkle_hash leaves[LEAVES];

static bool read_stored(void *context, merkle_node node, merkle_hash *out) {
    (void)context;
    if (node.level >= STORED_LEVELS || node.index >= LEAVES || !present[node.level][node.index])
        return false;
    *out = stored[node.level][node.index];
    return true;
}

static int set_up(void **state) {
    (void)state;
    crypto_init();
    merkle_frontier tree;
    merkle_frontier_init(&tree);
    merkle_frontier_root(&tree, &roots[0]);
    for (unsigned i = 0; i < LEAVES; i++) {
        merkle_leaf_hash(bytes_of(&i, sizeof i), &leaves[i]);
        merkle_created created[65];
        size_t count = merkle_frontier_add(&tree, &leaves[i], created);
        for (size_t j = 0; j < count; j++) {
            stored[created[j].node.level][created[j].node.index] = created[j].hash;
            present[created[j].node.level][created[j].node.index] = true;
        }
        merkle_frontier_root(&tree, &roots[i + 1]);
    }
    return 0;
}

/* MTH(D[n]) as RFC 6962 §2.1 writes it. */
static void naive_root(const merkle_hash *hashes, size_t n, merkle_hash *out) {
    if (n == 1) {
        *out = hashes[0];
        return;
    }
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    merkle_hash left;
    merkle_hash right;
    naive_root(hashes, k, &left);
    naive_root(hashes + k, n - k, &right);
    merkle_node_hash(&left, &right, out);
}

static size_t naive_path(size_t m, const merkle_hash *hashes, size_t n, merkle_hash *out) {
    if (n == 1)
        return 0;
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    size_t count;
    if (m < k) {
        count = naive_path(m, hashes, k, out);
        naive_root(hashes + k, n - k, &out[count]);
    } else {
        count = naive_path(m - k, hashes + k, n - k, out);
        naive_root(hashes, k, &out[count]);
    }
    return count + 1;
}

static size_t naive_subproof(size_t m, const merkle_hash *hashes, size_t n, bool b, merkle_hash *out) {
    if (m == n) {
        if (!b)
            naive_root(hashes, n, &out[0]);
        return b ? 0 : 1;
    }
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    size_t count;
    if (m <= k) {
        count = naive_subproof(m, hashes, k, b, out);
        naive_root(hashes + k, n - k, &out[count]);
    } else {
        count = naive_subproof(m - k, hashes + k, n - k, false, out);
        naive_root(hashes, k, &out[count]);
    }
    return count + 1;
}

static void hash_of_hex(const char *text, merkle_hash *out) {
    assert_true(hex_decode(text, out->bytes, MERKLE_HASH_BYTES));
}

/* The tree of the Certificate Transparency reference tests (merkletree/testonly), roots for 1 to 8 leaves. */
static void test_reference_roots(void **state) {
    (void)state;
    static const char *const inputs[8] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    static const char *const expected[9] = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    };
    merkle_frontier tree;
    merkle_frontier_init(&tree);
    for (size_t size = 0; size <= 8; size++) {
        merkle_hash root;
        merkle_hash wanted;
        merkle_frontier_root(&tree, &root);
        hash_of_hex(expected[size], &wanted);
        assert_memory_equal(&root, &wanted, sizeof root);
        if (size == 8)
            break;
        uint8_t leaf[16];
        assert_true(hex_decode(inputs[size], leaf, strlen(inputs[size]) / 2));
        merkle_hash hash;
        merkle_created created[65];
        merkle_leaf_hash(bytes_of(leaf, strlen(inputs[size]) / 2), &hash);
        merkle_frontier_add(&tree, &hash, created);
    }
}

static void test_roots_are_the_definition(void **state) {
    (void)state;
    for (size_t size = 1; size <= LEAVES; size++) {
        merkle_hash expected;
        naive_root(leaves, size, &expected);
        assert_memory_equal(&roots[size], &expected, sizeof expected);
        merkle_frontier loaded;
        failure why;
        assert_int_equal(merkle_frontier_load(&loaded, size, read_stored, NULL, &why), STATUS_OK);
        merkle_hash root;
        merkle_frontier_root(&loaded, &root);
        assert_memory_equal(&root, &expected, sizeof root);
    }
}

/* Flips a bit of each part, gives one hash more, one less, and another index or size: all must fail. */
static void assert_inclusion_is_tight(uint64_t index, uint64_t size, merkle_proof *proof) {
    merkle_hash leaf = leaves[index];
    merkle_hash root = roots[size];
    for (size_t i = 0; i < proof->count; i++) {
        size_t bit = (index * 31 + size * 7 + i) % (8 * MERKLE_HASH_BYTES);
        proof->hashes[i].bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(merkle_verify_inclusion(&leaf, index, size, proof, &root));
        proof->hashes[i].bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    size_t bit = (index * 5 + size) % (8 * MERKLE_HASH_BYTES);
    leaf.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    assert_false(merkle_verify_inclusion(&leaf, index, size, proof, &root));
    leaf = leaves[index];
    root.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    assert_false(merkle_verify_inclusion(&leaf, index, size, proof, &root));
    root = roots[size];
    proof->hashes[proof->count] = root;
    proof->count++;
    assert_false(merkle_verify_inclusion(&leaf, index, size, proof, &root));
    proof->count--;
    if (proof->count > 0) {
        proof->count--;
        assert_false(merkle_verify_inclusion(&leaf, index, size, proof, &root));
        proof->count++;
    }
    for (uint64_t other = 0; other < size; other++)
        if (other != index)
            assert_false(merkle_verify_inclusion(&leaf, other, size, proof, &root));
    assert_false(merkle_verify_inclusion(&leaf, size, size, proof, &root));
}

static void test_every_inclusion(void **state) {
    (void)state;
    for (uint64_t size = 1; size <= LEAVES; size++) {
        for (uint64_t index = 0; index < size; index++) {
            merkle_proof proof;
            merkle_hash expected[MERKLE_PROOF_MAX];
            failure why;
            assert_int_equal(merkle_prove_inclusion(index, size, read_stored, NULL, &proof, &why), STATUS_OK);
            assert_int_equal(proof.count, naive_path(index, leaves, size, expected));
            assert_memory_equal(proof.hashes, expected, proof.count * sizeof *expected);
            assert_true(merkle_verify_inclusion(&leaves[index], index, size, &proof, &roots[size]));
            assert_inclusion_is_tight(index, size, &proof);
        }
    }
}

static void assert_consistency_is_tight(uint64_t from, uint64_t size, merkle_proof *proof) {
    for (size_t i = 0; i < proof->count; i++) {
        size_t bit = (from * 31 + size * 7 + i) % (8 * MERKLE_HASH_BYTES);
        proof->hashes[i].bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(merkle_verify_consistency(from, &roots[from], size, &roots[size], proof));
        proof->hashes[i].bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    merkle_hash wrong = roots[from];
    wrong.bytes[from % 32] ^= 1U;
    assert_false(merkle_verify_consistency(from, &wrong, size, &roots[size], proof));
    proof->hashes[proof->count] = roots[size];
    proof->count++;
    assert_false(merkle_verify_consistency(from, &roots[from], size, &roots[size], proof));
    proof->count--;
    if (from == 0)
        return; /* the empty tree is consistent with any root */
    wrong = roots[size];
    wrong.bytes[size % 32] ^= 1U;
    assert_false(merkle_verify_consistency(from, &roots[from], size, &wrong, proof));
    if (proof->count > 0) {
        proof->count--;
        assert_false(merkle_verify_consistency(from, &roots[from], size, &roots[size], proof));
        proof->count++;
    }
    for (uint64_t other = 0; other <= size; other++)
        if (other != from)
            assert_false(merkle_verify_consistency(other, &roots[from], size, &roots[size], proof));
    assert_false(merkle_verify_consistency(size + 1, &roots[from], size, &roots[size], proof));
}

static void test_every_consistency(void **state) {
    (void)state;
    for (uint64_t size = 0; size <= LEAVES; size++) {
        for (uint64_t from = 0; from <= size; from++) {
            merkle_proof proof;
            merkle_hash expected[MERKLE_PROOF_MAX];
            failure why;
            assert_int_equal(merkle_prove_consistency(from, size, read_stored, NULL, &proof, &why),
                             STATUS_OK);
            size_t count = from == 0 ? 0 : naive_subproof(from, leaves, size, true, expected);
            assert_int_equal(proof.count, count);
            assert_memory_equal(proof.hashes, expected, proof.count * sizeof *expected);
            assert_true(merkle_verify_consistency(from, &roots[from], size, &roots[size], &proof));
            assert_consistency_is_tight(from, size, &proof);
        }
    }
}

static void test_out_of_range(void **state) {
    (void)state;
    merkle_proof proof = {.count = 3};
    failure why;
    assert_int_equal(merkle_prove_inclusion(5, 5, read_stored, NULL, &proof, &why), STATUS_OUT_OF_RANGE);
    assert_int_equal(merkle_prove_inclusion(0, 0, read_stored, NULL, &proof, &why), STATUS_OUT_OF_RANGE);
    assert_int_equal(merkle_prove_consistency(6, 5, read_stored, NULL, &proof, &why), STATUS_OUT_OF_RANGE);
    assert_int_equal(proof.count, 3);
}

static void test_missing_node_is_data_loss(void **state) {
    (void)state;
    present[2][1] = false;
    merkle_proof proof = {.count = 3};
    merkle_frontier tree = {.size = 77};
    failure why;
    assert_int_equal(merkle_prove_inclusion(0, 8, read_stored, NULL, &proof, &why), STATUS_DATA_LOSS);
    assert_int_equal(merkle_prove_inclusion(1, 12, read_stored, NULL, &proof, &why), STATUS_DATA_LOSS);
    assert_int_equal(merkle_prove_consistency(4, 8, read_stored, NULL, &proof, &why), STATUS_DATA_LOSS);
    assert_int_equal(proof.count, 3);
    present[2][1] = true;
    present[6][1] = false;
    assert_int_equal(merkle_frontier_load(&tree, 64 + 64, read_stored, NULL, &why), STATUS_OK);
    present[7][0] = false;
    tree.size = 77;
    assert_int_equal(merkle_frontier_load(&tree, 128, read_stored, NULL, &why), STATUS_DATA_LOSS);
    assert_int_equal(tree.size, 77);
    present[6][1] = present[7][0] = true;
}

/* Sizes near the end of the range: nothing overflows, nothing is read out of bounds. */
static void test_huge_trees(void **state) {
    (void)state;
    merkle_proof proof = {.count = MERKLE_PROOF_MAX};
    merkle_hash root = roots[1];
    assert_false(merkle_verify_inclusion(&leaves[0], UINT64_MAX - 1, UINT64_MAX, &proof, &root));
    assert_false(merkle_verify_inclusion(&leaves[0], 0, UINT64_MAX, &proof, &root));
    assert_false(merkle_verify_consistency(UINT64_MAX - 1, &root, UINT64_MAX, &root, &proof));
    assert_false(merkle_verify_consistency(1, &root, UINT64_MAX, &root, &proof));
    proof.count = MERKLE_PROOF_MAX + 1;
    assert_false(merkle_verify_inclusion(&leaves[0], 0, UINT64_MAX, &proof, &root));
    assert_false(merkle_verify_consistency(1, &root, UINT64_MAX, &root, &proof));
    merkle_frontier full = {.size = UINT64_MAX};
    merkle_created created[65];
    assert_int_equal(merkle_frontier_add(&full, &root, created), 0);
    full.size = UINT64_MAX - 1;
    assert_int_equal(merkle_frontier_add(&full, &root, created), 1);
    full.size = UINT64_MAX >> 1;
    assert_int_equal(merkle_frontier_add(&full, &root, created), 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_roots), cmocka_unit_test(test_roots_are_the_definition),
        cmocka_unit_test(test_every_inclusion), cmocka_unit_test(test_every_consistency),
        cmocka_unit_test(test_out_of_range),    cmocka_unit_test(test_missing_node_is_data_loss),
        cmocka_unit_test(test_huge_trees),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
