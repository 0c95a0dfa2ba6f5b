/* Agreement of two chains: the cause first of all, then the nodes, their order and the kind of the cause. */
#include "chain_match.h"

#include <string.h>

typedef Interlock__Graph__V1__ChainLink chain_link;

typedef struct chain {
    chain_link *const *links;
    size_t count;
} chain;

/* The position of a node's first mention; `count` when it is not there. */
static size_t position_of(const chain *in, const char *node) {
    size_t at = 0;
    while (at < in->count && strcmp(in->links[at]->node, node) != 0)
        at++;
    return at;
}

static bool is_first_mention(const chain *in, size_t at) {
    return position_of(in, in->links[at]->node) == at;
}

static size_t distinct(const chain *in) {
    size_t count = 0;
    for (size_t i = 0; i < in->count; i++)
        count += is_first_mention(in, i);
    return count;
}

/* Of the pairs of nodes that are in both, the share that stands in the same order; 1 without such a pair. */
static double order_of(const chain *one, const chain *other) {
    size_t pairs = 0;
    size_t same = 0;
    for (size_t i = 0; i < one->count; i++) {
        size_t first = position_of(other, one->links[i]->node);
        for (size_t k = i + 1; k < one->count && first < other->count; k++) {
            size_t second = position_of(other, one->links[k]->node);
            if (!is_first_mention(one, i) || !is_first_mention(one, k) || second == other->count)
                continue;
            pairs++;
            same += first < second;
        }
    }
    return pairs == 0 ? 1 : (double)same / (double)pairs;
}

static bool chain_is_good(const chain *it) {
    return it->count > 0 && it->count <= CHAIN_LINKS_MAX;
}

status_code chain_match(const chain_match_request *request, chain_match_response *out, failure *why) {
    chain one = {.links = request->hypothesis, .count = request->n_hypothesis};
    chain other = {.links = request->postmortem, .count = request->n_postmortem};
    if (!chain_is_good(&one) || !chain_is_good(&other))
        return fail_field(why, chain_is_good(&one) ? "postmortem" : "hypothesis", "BAD_CHAIN",
                          "a chain has 1 to %u nodes", CHAIN_LINKS_MAX);
    size_t both = 0;
    for (size_t i = 0; i < one.count; i++)
        both += is_first_mention(&one, i) && position_of(&other, one.links[i]->node) < other.count;
    out->nodes = (double)both / (double)(distinct(&one) + distinct(&other) - both);
    out->order = both == 0 ? 0 : order_of(&one, &other);
    out->cause = strcmp(one.links[0]->node, other.links[0]->node) == 0;
    out->kind = one.links[0]->kind == other.links[0]->kind;
    out->score = (out->cause ? 0.5 : 0) + 0.25 * out->nodes + 0.125 * out->order + (out->kind ? 0.125 : 0);
    return STATUS_OK;
}
