/* The static estimate: what an evaluation costs at least and at most, in the units the evaluator counts. */
#include <string.h>

#include "prepare.h"

static uint64_t add(uint64_t one, uint64_t other) {
    return one > UINT64_MAX - other ? UINT64_MAX : one + other;
}

static uint64_t multiply(uint64_t one, uint64_t other) {
    uint64_t result = 0;
    return __builtin_mul_overflow(one, other, &result) ? UINT64_MAX : result;
}

/* Elements or bytes that a node's value may have; UINT64_MAX when that is not known. */
static uint64_t largest_size(const node *tree, uint64_t assumed) {
    if (tree->kind == NODE_LITERAL)
        return tree->value.kind == CEL_STRING || tree->value.kind == CEL_BYTES ? tree->value.size : 1;
    if (tree->kind == NODE_LIST)
        return tree->count;
    if (tree->kind == NODE_MAP)
        return tree->count / 2;
    if (tree->kind == NODE_MACRO && tree->detail != MACRO_BIND && tree->detail != MACRO_OPT_MAP &&
        tree->detail != MACRO_OPT_FLAT_MAP)
        return largest_size(tree->children[0], assumed);
    if (tree->type != NULL && tree->type->kind >= CEL_TYPE_NULL && tree->type->kind <= CEL_TYPE_DOUBLE)
        return 1;
    if (tree->type != NULL &&
        (tree->type->kind == CEL_TYPE_TIMESTAMP || tree->type->kind == CEL_TYPE_DURATION))
        return 1;
    return assumed;
}

static cel_cost estimate(const node *tree, uint64_t assumed);

/* All children once, and the work on their sizes. */
static cel_cost estimate_plain(const node *tree, uint64_t assumed) {
    cel_cost sum = {1, 1};
    bool sized = tree->kind == NODE_CALL ||
                 (tree->kind == NODE_BINARY && (tree->detail <= OP_NE || tree->detail >= OP_IN)) ||
                 tree->kind == NODE_INDEX || tree->kind == NODE_SELECT || tree->kind == NODE_HAS;
    uint64_t work = sized ? 1 : 0;
    for (uint32_t i = 0; i < tree->count; i++) {
        cel_cost child = estimate(tree->children[i], assumed);
        sum.least = add(sum.least, child.least);
        sum.most = add(sum.most, child.most);
        if (sized)
            work = multiply(work, add(1, largest_size(tree->children[i], assumed)));
    }
    sum.most = add(sum.most, work);
    return sum;
}

/* At least the first operand; at most all of them, or the dearer side of a condition. Each child is visited
 * once: an expression has up to CEL_DEPTH levels of these. */
static cel_cost estimate_lazy(const node *tree, uint64_t assumed) {
    cel_cost first = estimate(tree->children[0], assumed);
    cel_cost sum = {add(1, first.least), add(2, first.most)};
    if (tree->kind == NODE_CONDITION) {
        cel_cost yes = estimate(tree->children[1], assumed);
        cel_cost no = estimate(tree->children[2], assumed);
        sum.least = add(sum.least, yes.least < no.least ? yes.least : no.least);
        sum.most = add(sum.most, yes.most > no.most ? yes.most : no.most);
        return sum;
    }
    for (uint32_t i = 1; i < tree->count; i++)
        sum.most = add(sum.most, estimate(tree->children[i], assumed).most);
    return sum;
}

static cel_cost estimate_macro(const node *tree, uint64_t assumed) {
    cel_cost range = estimate(tree->children[0], assumed);
    cel_cost body = {2, 8};
    for (uint32_t i = 1; i < tree->count; i++) {
        cel_cost child = estimate(tree->children[i], assumed);
        body.least = add(body.least, child.least);
        body.most = add(body.most, child.most);
    }
    if (tree->detail == MACRO_BIND)
        return (cel_cost){add(range.least, body.least), add(range.most, body.most)};
    uint64_t rounds = largest_size(tree->children[0], assumed);
    uint64_t extra = tree->detail == MACRO_TRANSFORM_MAP_ENTRY ? add(2, rounds) : 2;
    return (cel_cost){add(range.least, 1),
                      add(range.most, multiply(add(1, rounds), multiply(body.most, extra)))};
}

static cel_cost estimate(const node *tree, uint64_t assumed) {
    switch ((node_kind)tree->kind) {
    case NODE_AND:
    case NODE_OR:
    case NODE_CONDITION:
        return estimate_lazy(tree, assumed);
    case NODE_MACRO:
        return estimate_macro(tree, assumed);
    default:
        return estimate_plain(tree, assumed);
    }
}

cel_cost cost_estimate(const node *tree, uint32_t largest, uint32_t instructions) {
    cel_cost found = estimate(tree, largest == 0 ? UINT64_MAX : largest);
    /* The evaluator charges for the whole program in advance. */
    return (cel_cost){instructions, add(found.most, instructions)};
}
