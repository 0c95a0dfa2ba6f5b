/* Feeding one stream. */
#include "history_stream.h"

#include <stdlib.h>

#define PART_ITEMS 2000U /* nodes and edges in one message */
#define PART_CHANGES 500U
#define PART_BYTES (2U << 20) /* of the arena: a message is smaller */
#define QUEUED_MAX 16U        /* messages that wait to be sent */
#define BEAT_MS 5000U

typedef Interlock__Graph__V1__SnapshotResponse snapshot_message;
typedef Interlock__Graph__V1__SnapshotNode snapshot_node_message;
typedef Interlock__Graph__V1__SnapshotEdge snapshot_edge_message;
typedef Interlock__Graph__V1__WatchChangesResponse changes_message;
typedef Interlock__Graph__V1__Change change_message;

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

history_stream *history_stream_snapshot(const Interlock__Graph__V1__SnapshotRequest *request) {
    history_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->is_snapshot = true;
    self->with_attributes = request->with_attributes;
    self->node_kinds = answer_kinds((const unsigned *)request->node_kinds, request->n_node_kinds);
    self->edge_kinds = answer_kinds((const unsigned *)request->edge_kinds, request->n_edge_kinds);
    self->has_at = request->at != NULL;
    if (self->has_at)
        self->at = *request->at;
    return self;
}

history_stream *history_stream_watch(const Interlock__Graph__V1__WatchChangesRequest *request) {
    history_stream *self = calloc(1, sizeof *self);
    if (self != NULL)
        self->after = request->after_revision;
    return self;
}

void history_stream_free(history_stream *self) {
    picture_free(&self->picture);
    free(self->places);
    free(self);
}

static void stream_end(history_stream *self, status_code code, const failure *why) {
    self->failed = true;
    rpc_stream_finish(self->stream, code, why);
}

/* ---- Snapshots
 * -------------------------------------------------------------------------------------------------------- */

static status_code snapshot_begin(history_stream *self, answerer *by, failure *why) {
    instant at = INSTANT_NOW;
    status_code status = answer_instant(by, self->has_at ? &self->at : NULL, &at, why);
    if (status == STATUS_OK)
        status = picture_make(by->reader, at, &self->picture, why);
    if (status != STATUS_OK)
        return status;
    self->places = calloc(self->picture.node_count + 1U, sizeof *self->places);
    self->begun = true;
    return self->places != NULL ? STATUS_OK
                                : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for it");
}

static size_t kinds_list(uint32_t bits, arena *memory, unsigned **out) {
    unsigned *kinds = arena_alloc(memory, 32 * sizeof *kinds);
    size_t count = 0;
    for (unsigned kind = 1; kind < 32 && kinds != NULL; kind++)
        if ((bits & 1U << kind) != 0)
            kinds[count++] = kind;
    *out = kinds;
    return count;
}

static status_code head_fill(const history_stream *self, arena *memory, snapshot_message *out, failure *why) {
    instant_message *at = arena_alloc(memory, sizeof *at);
    unsigned *kinds = NULL;
    if (at == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    interlock__graph__v1__instant__init(at);
    at->valid_at_ms = self->picture.at.valid_ms;
    at->recorded_at_ms = self->picture.at.recorded_ms;
    out->at = at;
    out->revision = self->picture.revision;
    out->n_folded_nodes = kinds_list(self->picture.folded_nodes, memory, &kinds);
    out->folded_nodes = (Interlock__Graph__V1__NodeKind *)kinds;
    out->n_folded_edges = kinds_list(self->picture.folded_edges, memory, &kinds);
    out->folded_edges = (Interlock__Graph__V1__EdgeKind *)kinds;
    return STATUS_OK;
}

static status_code said_read(answerer *by, uint32_t value, arena *memory, version *out, failure *why) {
    *out = (version){0};
    return value == 0 ? STATUS_OK : history_read_value(by->reader, value, memory, out, why);
}

static status_code snapshot_node_fill(history_stream *self, answerer *by, const picture_node *node,
                                      arena *memory, snapshot_node_message **out, failure *why) {
    version said;
    snapshot_node_message *made = arena_alloc(memory, sizeof *made);
    status_code status = said_read(by, node->value, memory, &said, why);
    if (status != STATUS_OK || made == NULL)
        return status != STATUS_OK ? status
                                   : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    interlock__graph__v1__snapshot_node__init(made);
    made->name = arena_text(memory, node->name);
    made->kind = (node_kind)node->kind;
    if (node->value != 0)
        made->origin = arena_text(memory, picture_origin(&self->picture, node->origin));
    made->provenance = said.source;
    made->confidence = said.confidence;
    made->valid_from_ms = node->valid_from_ms;
    made->recorded_from_ms = node->recorded_from_ms;
    *out = made;
    if (made->name == NULL || made->origin == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    return self->with_attributes
               ? answer_attributes(&said, memory, &made->attributes, &made->n_attributes, why)
               : STATUS_OK;
}

static status_code snapshot_edge_fill(history_stream *self, answerer *by, const picture_edge *edge,
                                      arena *memory, snapshot_edge_message **out, failure *why) {
    version said;
    snapshot_edge_message *made = arena_alloc(memory, sizeof *made);
    status_code status = said_read(by, edge->value, memory, &said, why);
    if (status != STATUS_OK || made == NULL)
        return status != STATUS_OK ? status
                                   : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    interlock__graph__v1__snapshot_edge__init(made);
    made->from = self->places[edge->from] - 1;
    made->to = self->places[edge->to] - 1;
    made->kind = (edge_kind)edge->kind;
    made->origin = arena_text(memory, picture_origin(&self->picture, edge->origin));
    made->provenance = said.source;
    made->confidence = said.confidence;
    made->valid_from_ms = edge->valid_from_ms;
    made->recorded_from_ms = edge->recorded_from_ms;
    *out = made;
    if (made->origin == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    return self->with_attributes
               ? answer_attributes(&said, memory, &made->attributes, &made->n_attributes, why)
               : STATUS_OK;
}

static bool part_full(const snapshot_message *out, const arena *memory) {
    return out->n_nodes + out->n_edges == PART_ITEMS || memory->used > PART_BYTES / 2;
}

static status_code part_fill(history_stream *self, answerer *by, arena *memory, snapshot_message *out,
                             failure *why) {
    status_code status = STATUS_OK;
    out->nodes = arena_alloc(memory, PART_ITEMS * sizeof(snapshot_node_message *));
    out->edges = arena_alloc(memory, PART_ITEMS * sizeof(snapshot_edge_message *));
    if (out->nodes == NULL || out->edges == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    for (; self->node < self->picture.node_count && !part_full(out, memory) && status == STATUS_OK;
         self->node++) {
        const picture_node *node = &self->picture.nodes[self->node];
        if ((self->node_kinds & 1U << node->kind) == 0)
            continue;
        self->places[self->node] = ++self->sent;
        status = snapshot_node_fill(self, by, node, memory, &out->nodes[out->n_nodes++], why);
    }
    for (; self->node == self->picture.node_count && self->edge < self->picture.edge_count &&
           !part_full(out, memory) && status == STATUS_OK;
         self->edge++) {
        const picture_edge *edge = &self->picture.edges[self->edge];
        if ((self->edge_kinds & 1U << edge->kind) == 0 || self->places[edge->from] == 0 ||
            self->places[edge->to] == 0)
            continue;
        status = snapshot_edge_fill(self, by, edge, memory, &out->edges[out->n_edges++], why);
    }
    out->complete = self->node == self->picture.node_count && self->edge == self->picture.edge_count;
    return status;
}

static bool snapshot_step(history_stream *self, answerer *by, arena *memory) {
    failure why = {0};
    snapshot_message part = INTERLOCK__GRAPH__V1__SNAPSHOT_RESPONSE__INIT;
    bool first = !self->begun;
    arena_reset(memory);
    status_code status = first ? snapshot_begin(self, by, &why) : STATUS_OK;
    if (status == STATUS_OK && first)
        status = head_fill(self, memory, &part, &why);
    if (status == STATUS_OK)
        status = part_fill(self, by, memory, &part, &why);
    if (status == STATUS_OK)
        status = rpc_stream_send(self->stream, &part.base);
    if (status != STATUS_OK)
        stream_end(self, status, &why);
    else if (part.complete)
        stream_end(self, STATUS_OK, NULL);
    return !self->failed;
}

/* ---- Changes
 * ----------------------------------------------------------------------------------------------------------
 */

typedef struct sending {
    history_stream *self;
    answerer *by;
    arena *memory;
    changes_message part;
    status_code status;
    failure why;
} sending;

static void changes_send(sending *work, bool complete) {
    work->part.complete = complete;
    if (work->status == STATUS_OK && (work->part.n_changes > 0 || complete))
        work->status = rpc_stream_send(work->self->stream, &work->part.base);
    if (work->status == STATUS_RESOURCE_EXHAUSTED && work->why.reason == NULL)
        fail(&work->why, work->status, "TOO_SLOW",
             "changes come faster than they are read; watch again from the last complete revision");
    work->part.n_changes = 0;
    arena_reset(work->memory);
}

static change_message *change_make(sending *work, const history_change *change) {
    change_message *made = arena_alloc(work->memory, sizeof *made);
    version said = {.present = change->value != 0,
                    .origin = change->what.origin,
                    .valid_from_ms = change->what.valid_from_ms,
                    .valid_to_ms = change->what.valid_to_ms,
                    .recorded_from_ms = change->recorded_ms,
                    .recorded_to_ms = HISTORY_OPEN};
    if (made == NULL || (said.present && history_read_value(work->by->reader, change->value, work->memory,
                                                            &said, &work->why) != STATUS_OK))
        return NULL;
    interlock__graph__v1__change__init(made);
    made->kind_case = change->what.is_edge ? INTERLOCK__GRAPH__V1__CHANGE__KIND_EDGE
                                           : INTERLOCK__GRAPH__V1__CHANGE__KIND_NODE;
    if (change->what.is_edge)
        made->edge = (edge_kind)change->what.kind;
    else
        made->node = (node_kind)change->what.kind;
    made->name = arena_text(work->memory, change->what.name);
    made->to = arena_text(work->memory, change->what.is_edge ? change->what.to : "");
    made->version = answer_version(&said, work->memory);
    return made->name == NULL || made->to == NULL || made->version == NULL ? NULL : made;
}

static void change_take(void *context, const history_change *change) {
    sending *work = context;
    if (work->status != STATUS_OK)
        return;
    if (work->part.n_changes == PART_CHANGES || work->memory->used > PART_BYTES / 2)
        changes_send(work, false);
    if (work->part.n_changes == 0)
        work->part.changes = arena_alloc(work->memory, PART_CHANGES * sizeof(change_message *));
    change_message *made = work->part.changes == NULL ? NULL : change_make(work, change);
    if (made == NULL) {
        work->status = fail(&work->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a change");
        return;
    }
    work->part.revision = change->revision;
    work->part.recorded_at_ms = change->recorded_ms;
    work->part.changes[work->part.n_changes++] = made;
}

/* One commit. A value that was swept away since is one that nothing says any more: the watcher has to start
 * anew. */
static bool watch_step(history_stream *self, answerer *by, arena *memory, uint64_t now_ms) {
    sending work = {.self = self, .by = by, .memory = memory};
    interlock__graph__v1__watch_changes_response__init(&work.part);
    uint64_t last = self->after;
    bool first = !self->begun;
    self->begun = true;
    if (first && self->after == 0)
        last = self->after = history_newest(by->of, &work.part.recorded_at_ms);
    arena_reset(memory);
    status_code status =
        history_read_changes(by->reader, self->after, 1, change_take, &work, &last, &work.why);
    if (status == STATUS_OK)
        status = work.status;
    bool moved = last != self->after;
    work.part.revision = last;
    work.status = status;
    if (moved || first || now_ms >= self->beat_ms + BEAT_MS) {
        changes_send(&work, true);
        self->beat_ms = now_ms;
    }
    self->after = last;
    if (work.status != STATUS_OK && work.status != STATUS_CANCELLED)
        stream_end(self, work.status, &work.why);
    return moved && !self->failed;
}

bool history_stream_step(history_stream *self, answerer *by, arena *memory, uint64_t now_ms) {
    if (self->failed || atomic_load(&self->over) || rpc_stream_queued(self->stream) >= QUEUED_MAX)
        return false;
    return self->is_snapshot ? snapshot_step(self, by, memory) : watch_step(self, by, memory, now_ms);
}
