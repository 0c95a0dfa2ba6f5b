/* A ring of hashes a level. */
#include "nodes.h"

#include <stdlib.h>

typedef struct slot {
    uint64_t number; /* index of the subtree + 1; 0: empty */
    merkle_hash hash;
} slot;

struct nodes {
    slot *levels[NODES_LEVELS]; /* NODES_PER_LEVEL each, made at first use */
    merkle_read older;
    void *context;
};

status_code nodes_new(nodes **out, merkle_read older, void *context, failure *why) {
    nodes *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the tree's hashes");
    self->older = older;
    self->context = context;
    *out = self;
    return STATUS_OK;
}

void nodes_free(nodes *self) {
    if (self == NULL)
        return;
    for (size_t level = 0; level < NODES_LEVELS; level++)
        free(self->levels[level]);
    free(self);
}

void nodes_put(nodes *self, const merkle_created *created) {
    unsigned level = created->node.level;
    if (level >= NODES_LEVELS)
        return;
    if (self->levels[level] == NULL)
        self->levels[level] = calloc(NODES_PER_LEVEL, sizeof(slot));
    if (self->levels[level] == NULL)
        return;
    self->levels[level][created->node.index % NODES_PER_LEVEL] =
        (slot){.number = created->node.index + 1, .hash = created->hash};
}

bool nodes_read(void *context, merkle_node node, merkle_hash *out) {
    nodes *self = context;
    if (node.level < NODES_LEVELS && self->levels[node.level] != NULL) {
        const slot *found = &self->levels[node.level][node.index % NODES_PER_LEVEL];
        if (found->number == node.index + 1) {
            *out = found->hash;
            return true;
        }
    }
    return self->older(self->context, node, out);
}
