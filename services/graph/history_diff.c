/* What differs between the graph at two instants. */
#include <stdlib.h>
#include <string.h>

#include "history_answer.h"

typedef Interlock__Graph__V1__NodeDifference node_difference;
typedef Interlock__Graph__V1__EdgeDifference edge_difference;

static status_code no_room(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE",
                "the answer is larger than one message may be; ask for less of it");
}

typedef struct diffing {
    answerer *by;
    const picture *before, *after;
    arena *memory;
    Interlock__Graph__V1__DiffResponse *out;
    uint32_t limit;
} diffing;

static status_code node_version(const diffing *self, const picture *in, const picture_node *node,
                                version_message **out, failure *why) {
    if (node == NULL || node->value == 0)
        return STATUS_OK;
    return answer_shown(self->by, node->value, picture_origin(in, node->origin), node->valid_from_ms,
                        node->recorded_from_ms, self->memory, out, why);
}

static status_code edge_version(const diffing *self, const picture *in, const picture_edge *edge,
                                version_message **out, failure *why) {
    if (edge == NULL)
        return STATUS_OK;
    return answer_shown(self->by, edge->value, picture_origin(in, edge->origin), edge->valid_from_ms,
                        edge->recorded_from_ms, self->memory, out, why);
}

/* ---- Nodes
 * -----------------------------------------------------------------------------------------------------------
 */

static status_code node_add(diffing *self, const picture_node *before, const picture_node *after,
                            failure *why) {
    if (self->out->node_count++ >= self->limit)
        return STATUS_OK;
    const picture_node *any = after != NULL ? after : before;
    node_difference *made = arena_alloc(self->memory, sizeof *made);
    if (made == NULL)
        return no_room(why);
    interlock__graph__v1__node_difference__init(made);
    self->out->nodes[self->out->n_nodes++] = made;
    made->kind = (node_kind)any->kind;
    if ((made->name = arena_text(self->memory, any->name)) == NULL)
        return no_room(why);
    status_code status = node_version(self, self->before, before, &made->before, why);
    return status == STATUS_OK ? node_version(self, self->after, after, &made->after, why) : status;
}

static const picture_node *node_numbered(const picture *in, uint32_t number) {
    if (number >= in->place_count || in->places[number] == 0)
        return NULL;
    return &in->nodes[in->places[number] - 1];
}

static status_code nodes_diff(diffing *self, failure *why) {
    uint32_t most = self->before->place_count > self->after->place_count ? self->before->place_count
                                                                         : self->after->place_count;
    status_code status = STATUS_OK;
    for (uint32_t number = 0; number < most && status == STATUS_OK; number++) {
        const picture_node *before = node_numbered(self->before, number);
        const picture_node *after = node_numbered(self->after, number);
        if ((before == NULL ? 0 : before->value) != (after == NULL ? 0 : after->value))
            status = node_add(self, before, after, why);
    }
    return status;
}

/* ---- Edges
 * ------------------------------------------------------------------------------------------------------------
 */

/* `any` of the two, and the picture that it is of, name the edge. */
static status_code edge_add(diffing *self, const picture *in, const picture_edge *any,
                            const picture_edge *before, const picture_edge *after, failure *why) {
    if (self->out->edge_count++ >= self->limit)
        return STATUS_OK;
    edge_difference *made = arena_alloc(self->memory, sizeof *made);
    if (made == NULL)
        return no_room(why);
    interlock__graph__v1__edge_difference__init(made);
    self->out->edges[self->out->n_edges++] = made;
    made->kind = (edge_kind)any->kind;
    made->from = arena_text(self->memory, in->nodes[any->from].name);
    made->to = arena_text(self->memory, in->nodes[any->to].name);
    if (made->from == NULL || made->to == NULL)
        return no_room(why);
    status_code status = edge_version(self, self->before, before, &made->before, why);
    return status == STATUS_OK ? edge_version(self, self->after, after, &made->after, why) : status;
}

/* Edges stand in the order of their numbers in every picture. */
static status_code edges_diff(diffing *self, failure *why) {
    uint32_t a = 0;
    uint32_t b = 0;
    status_code status = STATUS_OK;
    while (status == STATUS_OK && (a < self->before->edge_count || b < self->after->edge_count)) {
        const picture_edge *before = a < self->before->edge_count ? &self->before->edges[a] : NULL;
        const picture_edge *after = b < self->after->edge_count ? &self->after->edges[b] : NULL;
        bool only_before = after == NULL || (before != NULL && before->number < after->number);
        bool only_after = before == NULL || (after != NULL && after->number < before->number);
        if (only_before && before != NULL)
            status = edge_add(self, self->before, before, before, NULL, why);
        else if (only_after && after != NULL)
            status = edge_add(self, self->after, after, NULL, after, why);
        else if (before != NULL && after != NULL && before->value != after->value)
            status = edge_add(self, self->after, after, before, after, why);
        a += !only_after;
        b += !only_before;
    }
    return status;
}

static status_code pictures_diff(diffing *self, failure *why) {
    size_t room = (self->limit + 1U) * sizeof(void *);
    self->out->nodes = arena_alloc(self->memory, room);
    self->out->edges = arena_alloc(self->memory, room);
    if (self->out->nodes == NULL || self->out->edges == NULL)
        return no_room(why);
    status_code status = nodes_diff(self, why);
    return status == STATUS_OK ? edges_diff(self, why) : status;
}

status_code answer_diff(answerer *self, const Interlock__Graph__V1__DiffRequest *request, arena *memory,
                        Interlock__Graph__V1__DiffResponse *out, failure *why) {
    instant from = INSTANT_NOW;
    instant to = INSTANT_NOW;
    picture before = {0};
    picture after = {0};
    status_code status = answer_instant(self, request->from, &from, why);
    if (status == STATUS_OK)
        status = answer_instant(self, request->to, &to, why);
    if (status == STATUS_OK)
        status = picture_make(self->reader, from, &before, why);
    if (status == STATUS_OK)
        status = picture_make(self->reader, to, &after, why);
    diffing work = {.by = self,
                    .before = &before,
                    .after = &after,
                    .memory = memory,
                    .out = out,
                    .limit = request->limit == 0 || request->limit > ANSWER_DIFFERENCES_MAX
                                 ? ANSWER_DIFFERENCES_MAX
                                 : request->limit};
    if (status == STATUS_OK)
        status = pictures_diff(&work, why);
    picture_free(&before);
    picture_free(&after);
    return status;
}
