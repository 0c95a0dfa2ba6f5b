/* From the traffic model to the history. */
#include "traffic_facts.h"

/* A span may end a little in the future, by a clock that is ahead. */
static status_code state(history *into, fact *what, int64_t valid_from_ms, int64_t now_ms, failure *why) {
    what->origin = "otlp";
    what->valid_to_ms = HISTORY_OPEN;
    what->valid_from_ms = valid_from_ms < 0 ? 0 : valid_from_ms > now_ms ? now_ms : valid_from_ms;
    status_code status = history_assert(into, what, now_ms, why);
    return status == STATUS_RESOURCE_EXHAUSTED || status == STATUS_INVALID_ARGUMENT ? STATUS_OK : status;
}

status_code traffic_facts_state(const model *from, history *into, int64_t now_ms, failure *why) {
    model_changes changes = model_changed(from);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < changes.node_count && status == STATUS_OK; i++) {
        const model_node *node = model_node_at(from, changes.nodes[i]);
        fact what = {.kind = (int)node->kind,
                     .name = node->name,
                     .source = node->source,
                     .confidence = node->confidence};
        if (node->changed && node->visible)
            status = state(into, &what, node->valid_from_ms, now_ms, why);
    }
    for (size_t i = 0; i < changes.edge_count && status == STATUS_OK; i++) {
        const model_edge *edge = model_edge_at(from, changes.edges[i]);
        fact what = {.is_edge = true,
                     .kind = (int)edge->kind,
                     .name = model_node_at(from, edge->from)->name,
                     .to = model_node_at(from, edge->to)->name,
                     .source = edge->source,
                     .confidence = edge->confidence};
        if (edge->changed)
            status = state(into, &what, edge->valid_from_ms, now_ms, why);
    }
    return status;
}
