/* From spans to counts. A *request* of a service is what begins with its first span (the one that came from
 * outside of it) and holds all spans of that service below; a call is a span whose parent belongs to another
 * service. Spans come in any order, children before parents and in other batches, so that every count can be
 * taken back when a parent turns up: at each moment the counts are those of all spans seen so far. */
#include "model_internal.h"

#include <stdlib.h>
#include <string.h>

#define CELLS_SEARCHED 64U /* calls of one request that are told apart */
#define CONFIDENCE_OBSERVED 1.0
#define CONFIDENCE_DATASTORE 0.8
#define CONFIDENCE_PEER 0.5
/* A callee whose span is longer than its caller's by more than this goes on after the caller has left.
 * Durations are compared, not times, so that clocks that differ do not matter. */
#define OUTLIVED_SECONDS 0.001

static trace_entry *trace_at(model *self, uint64_t serial) {
    return &self->trace_entries[recent_slot(&self->traces, serial)];
}

static span_entry *span_at(model *self, uint64_t serial) {
    return &self->span_entries[recent_slot(&self->spans, serial)];
}

static uint64_t trace_key(const model *self, const uint8_t id[16]) {
    uint64_t words[2];
    memcpy(words, id, sizeof words);
    return mix64(mix64(self->seed[0], words[0]) ^ self->seed[1], words[1]);
}

static bool kind_receives(uint8_t kind) {
    return kind == SPAN_SERVER || kind == SPAN_CONSUMER;
}

static bool kind_sends(uint8_t kind) {
    return kind == SPAN_CLIENT || kind == SPAN_PRODUCER;
}

/* Rates and latencies of a source that does not say how it samples are better than none; its spans count as
 * one. */
static double flow_weight(double weight) {
    return weight > 0 ? weight : 1;
}

static double seconds_of(const span_entry *span) {
    return span->duration_ns == MODEL_NO_DURATION ? 0 : (double)span->duration_ns / 1e9;
}

/* ---- Traces and the shapes of entry requests
 * ---------------------------------------------------------------------- */

static void shape_add(model *self, uint32_t shape_id, const trace_entry *trace, int sign) {
    if (trace->weight == 0)
        return;
    shape *item = &self->shapes.items[shape_id];
    model_adjust(self, &item->requests, sign * trace->weight);
    model_adjust(self, &item->reach, sign * trace->reach);
    model_adjust(self, &item->traces, sign);
    model_shape_touch(self, shape_id);
}

/* The trace has reached the node. A set that cannot be kept is counted at the node instead, from where it
 * only raises the upper end. */
static void trace_reach(model *self, trace_entry *trace, uint32_t node) {
    uint32_t to = shapes_with(&self->shapes, trace->shape, node);
    if (to == trace->shape)
        return;
    if (to == SHAPE_FULL) {
        trace->overflowed = true;
        if (trace->weight > 0) {
            model_adjust(self, &self->nodes[node].overflow, trace->reach);
            model_node_touch(self, node);
        }
        return;
    }
    shape_add(self, trace->shape, trace, -1);
    self->shapes.items[trace->shape].references--;
    trace->shape = to;
    self->shapes.items[to].references++;
    shape_add(self, to, trace, 1);
}

static void trace_weigh(model *self, trace_entry *trace, double weight) {
    if (weight <= trace->reach)
        return;
    shape_add(self, trace->shape, trace, -1);
    trace->reach = weight;
    shape_add(self, trace->shape, trace, 1);
}

static void trace_enter(model *self, trace_entry *trace, uint32_t node, double weight) {
    if (weight == 0) {
        self->totals.entries_unknown += self->restoring ? 0 : 1;
        return;
    }
    model_adjust(self, &self->nodes[node].entry_requests, weight);
    model_node_touch(self, node);
    if (trace->weight > 0)
        return;
    trace->weight = weight;
    shape_add(self, trace->shape, trace, 1);
    model_adjust(self, &self->totals.entry_requests, weight);
    model_adjust(self, &self->totals.entry_squares, weight * weight);
    if (trace->overflowed)
        model_adjust(self, &self->totals.overflow, trace->reach);
}

/* A service that works on its own account (a timer, a ping of its database) begins traces too. They are entry
 * requests only once some service has received something in them; otherwise background work would dilute
 * everybody's share. */
static void trace_begin(model *self, trace_entry *trace, const observation *what) {
    bool active = what->span_kind == SPAN_INTERNAL || kind_sends(what->span_kind);
    if (!active || trace->served) {
        trace_enter(self, trace, what->node, what->weight);
    } else if (trace->root == MODEL_NONE) {
        trace->root = what->node;
        trace->waiting = what->weight;
    }
}

static void trace_serve(model *self, trace_entry *trace) {
    trace->served = true;
    if (trace->root == MODEL_NONE)
        return;
    trace_enter(self, trace, trace->root, trace->waiting);
    trace->root = MODEL_NONE;
}

/* It has had its time: what it reached was reached by requests that nobody can count. */
static void trace_settle(model *self, trace_entry *trace) {
    if (trace->settled)
        return;
    trace->settled = true;
    if (trace->weight > 0 || trace->root != MODEL_NONE || self->restoring)
        return;
    const shape *item = &self->shapes.items[trace->shape];
    for (uint32_t i = 0; i < item->member_count; i++) {
        self->nodes[item->members[i]].unattributed++;
        model_node_touch(self, item->members[i]);
    }
}

static void trace_forget_oldest(model *self) {
    trace_entry *trace = trace_at(self, self->traces.first);
    trace_settle(self, trace);
    self->shapes.items[trace->shape].references--;
    recent_drop_oldest(&self->traces);
}

static trace_entry *trace_of(model *self, const uint8_t id[16]) {
    uint64_t key = trace_key(self, id);
    uint64_t serial = recent_find(&self->traces, key);
    if (serial != RECENT_NONE)
        return trace_at(self, serial);
    /* Nothing may be remembered from further back than the journal reaches. */
    while (self->traces.first < self->traces.next &&
           (recent_full(&self->traces) ||
            trace_at(self, self->traces.first)->made_at + MODEL_SPANS <= self->applied))
        trace_forget_oldest(self);
    trace_entry *trace = trace_at(self, recent_add(&self->traces, key));
    *trace = (trace_entry){
        .shape = SHAPE_EMPTY, .root = MODEL_NONE, .boot_ms = self->boot_ms, .made_at = self->applied};
    memcpy(trace->id, id, sizeof trace->id);
    self->shapes.items[SHAPE_EMPTY].references++;
    return trace;
}

/* ---- Requests and the edges they call over
 * ------------------------------------------------------------------------ */

/* The first span of the request that the span belongs to. Halves the path as it goes, so that a chain of
 * 100,000 spans costs no more than a short one. A forgotten ancestor ends the search: the oldest that is
 * known stands for it. */
static uint64_t request_of(model *self, uint64_t serial) {
    for (;;) {
        span_entry *span = span_at(self, serial);
        if (span->parent == RECENT_NONE || !recent_knows(&self->spans, span->parent))
            return serial;
        const span_entry *parent = span_at(self, span->parent);
        if (parent->parent != RECENT_NONE && recent_knows(&self->spans, parent->parent))
            span->parent = parent->parent;
        serial = span->parent;
    }
}

static uint32_t cell_take(model *self) {
    uint32_t cell = self->free_cell;
    if (cell != MODEL_NONE)
        self->free_cell = self->cells[cell].next;
    else if (self->cells_used < CELLS_MAX)
        cell = self->cells_used++;
    return cell;
}

static void cell_give_back(model *self, uint32_t cell) {
    self->cells[cell].next = self->free_cell;
    self->free_cell = cell;
}

static call_cell *request_cell(const model *self, const span_entry *request, uint32_t edge) {
    unsigned searched = 0;
    for (uint32_t cell = request->cells; cell != MODEL_NONE && searched < CELLS_SEARCHED; searched++) {
        if (self->cells[cell].edge == edge)
            return &self->cells[cell];
        cell = self->cells[cell].next;
    }
    return NULL;
}

/* What one request says about an edge, added or taken back. */
static void cell_count(model *self, const span_entry *request, const call_cell *cell, double sign) {
    if (self->restoring)
        return;
    double weight = flow_weight(cell->weight);
    bool failed = cell->failures == cell->calls;
    flow_counts counts = {.requests = weight};
    counts.failed = failed ? weight : 0;
    counts.propagated = failed && request->failed ? weight : 0;
    counts.fell_back = failed && !request->failed ? weight : 0;
    counts.retried = cell->failures > 0 && cell->calls > 1 ? weight : 0;
    flows_count(self->flows, FLOW_EDGE, cell->edge, request->time_ms, &counts, sign, 0);
    if (request->operation != OPERATION_NONE)
        flows_count_route(self->flows, request->operation, cell->edge, weight, cell->seconds, sign);
}

static void cell_add(model *self, const span_entry *request, call_cell *into, const call_cell *more) {
    cell_count(self, request, into, -1);
    into->calls += more->calls;
    into->failures += more->failures;
    into->seconds += more->seconds;
    cell_count(self, request, into, 1);
}

/* Counts the request once for the edge. Without a free cell it may be counted again, which errs upwards. */
static void request_note_call(model *self, span_entry *request, const call_cell *call) {
    call_cell *known = request_cell(self, request, call->edge);
    if (known != NULL) {
        cell_add(self, request, known, call);
        return;
    }
    model_adjust(self, &self->edges[call->edge].requests_with_call, call->weight);
    uint32_t cell = cell_take(self);
    if (cell == MODEL_NONE)
        return;
    self->cells[cell] = *call;
    self->cells[cell].next = request->cells;
    request->cells = cell;
    cell_count(self, request, call, 1);
}

/* One call as the flows take it; `client` is the span that made it when the other side has one too. */
static flow_counts call_counts(const span_entry *span, const span_entry *client, bool queued) {
    double weight = flow_weight(span->weight);
    const span_entry *timed = client != NULL && kind_sends(client->kind) ? client : span;
    flow_counts counts = {.calls = weight, .unknown = span->weight > 0 ? 0 : 1};
    bool failed = span->failed || (client != NULL && kind_sends(client->kind) && client->failed);
    counts.failures = failed ? weight : 0;
    counts.seconds = weight * seconds_of(timed);
    bool outlived = client != NULL && seconds_of(span) > seconds_of(client) + OUTLIVED_SECONDS;
    counts.asynchronous = queued || outlived ? weight : 0;
    if (client != NULL && timed == client && kind_receives(span->kind) &&
        client->duration_ns != MODEL_NO_DURATION && span->duration_ns != MODEL_NO_DURATION) {
        counts.gaps = weight;
        counts.gap_seconds = outlived ? 0 : weight * (seconds_of(client) - seconds_of(span));
        if (counts.gap_seconds < 0)
            counts.gap_seconds = 0;
    }
    return counts;
}

/* The edge's flow, and the request's share in it. `caller` made the call that `span` is the other side of;
 * both are the same when the other side sends no spans. */
static void call_flow(model *self, uint64_t caller, uint64_t serial, uint32_t edge, bool queued) {
    const span_entry *span = span_at(self, serial);
    const span_entry *client = caller == serial ? NULL : span_at(self, caller);
    flow_counts counts = call_counts(span, client, queued);
    const span_entry *timed = client != NULL && kind_sends(client->kind) ? client : span;
    if (!self->restoring)
        flows_count(self->flows, FLOW_EDGE, edge, span->time_ms, &counts, 1, timed->duration_ns);
    call_cell call = {.weight = span->weight,
                      .seconds = counts.seconds,
                      .edge = edge,
                      .calls = 1,
                      .failures = counts.failures > 0};
    request_note_call(self, span_at(self, request_of(self, caller)), &call);
}

static void call_count(model *self, uint64_t caller, uint64_t serial, uint32_t edge, bool queued) {
    if (edge == MODEL_NONE)
        return;
    const span_entry *span = span_at(self, serial);
    model_edge *item = &self->edges[edge];
    model_adjust(self, &item->calls, span->weight);
    if (!self->restoring) {
        item->spans++;
        if (span->time_ms > item->last_ms)
            item->last_ms = span->time_ms;
        if (span->time_ms + MODEL_VALID_SLACK_MS < item->valid_from_ms) {
            item->valid_from_ms = span->time_ms;
            item->recorded_from_ms = self->now_ms;
            item->changed = true;
        }
    }
    call_flow(self, caller, serial, edge, queued);
    model_edge_touch(self, edge);
}

/* The request as its operation and its service count it, added or taken back. */
static void request_flow(model *self, const span_entry *span, double sign) {
    if (self->restoring)
        return;
    double weight = flow_weight(span->weight);
    flow_counts counts = {.calls = weight,
                          .failures = span->failed ? weight : 0,
                          .seconds = weight * seconds_of(span),
                          .unknown = span->weight > 0 ? 0 : 1};
    flows_count_node(self->flows, span->node, &counts, sign);
    if (span->operation != OPERATION_NONE)
        flows_count(self->flows, FLOW_OPERATION, span->operation, span->time_ms, &counts, sign,
                    span->duration_ns);
}

static void request_count(model *self, span_entry *span) {
    if (span->counted)
        return;
    span->counted = true;
    model_adjust(self, &self->nodes[span->node].requests, span->weight);
    model_node_touch(self, span->node);
    request_flow(self, span, 1);
}

/* The span turned out to be in the middle of a request: what was counted for it as a request of its own is
 * taken back, and the edges it called over become those of the whole. */
static void request_merge(model *self, uint64_t part, uint64_t whole) {
    span_entry *from = span_at(self, part);
    span_entry *into = span_at(self, whole);
    if (from->counted) {
        from->counted = false;
        model_adjust(self, &self->nodes[from->node].requests, -from->weight);
        model_node_touch(self, from->node);
        request_flow(self, from, -1);
    }
    for (uint32_t cell = from->cells; cell != MODEL_NONE;) {
        call_cell *item = &self->cells[cell];
        uint32_t next = item->next;
        call_cell *known = request_cell(self, into, item->edge);
        cell_count(self, from, item, -1);
        if (known != NULL) {
            model_adjust(self, &self->edges[item->edge].requests_with_call, -item->weight);
            model_edge_touch(self, item->edge);
            cell_add(self, into, known, item);
            cell_give_back(self, cell);
        } else {
            item->next = into->cells;
            into->cells = cell;
            cell_count(self, into, item, 1);
        }
        cell = next;
    }
    from->cells = MODEL_NONE;
    from->parent = whole;
}

/* ---- Parents
 * ------------------------------------------------------------------------------------------------------ */

/* A call goes from one service to another, or from a service over the network to itself. */
static bool is_call(const span_entry *child, const span_entry *parent) {
    return child->node != parent->node || (kind_receives(child->kind) && kind_sends(parent->kind));
}

static bool names_queue(const model *self, const span_entry *span) {
    return span->peer != MODEL_NONE && self->nodes[span->peer].kind == NODE_QUEUE;
}

static void parent_found(model *self, uint64_t child_serial, uint64_t parent_serial) {
    span_entry *child = span_at(self, child_serial);
    span_entry *parent = span_at(self, parent_serial);
    if (!is_call(child, parent)) {
        /* Spans that name each other as parents have none. */
        uint64_t whole = request_of(self, parent_serial);
        if (whole != child_serial)
            request_merge(self, child_serial, whole);
        return;
    }
    parent->remote_child = true;
    request_count(self, child);
    bool queued = child->kind == SPAN_CONSUMER || parent->kind == SPAN_PRODUCER;
    /* A queue that either of them names stands between them, with edges of its own. */
    if (queued && (names_queue(self, child) || names_queue(self, parent)))
        return;
    uint32_t edge = model_edge_between(self, parent->node, child->node, queued ? EDGE_PUBLISHES : EDGE_CALLS,
                                       PROVENANCE_OBSERVED, CONFIDENCE_OBSERVED, child->time_ms);
    call_count(self, parent_serial, child_serial, edge, queued);
}

static uint64_t span_key(const model *self, const uint8_t trace_id[16], uint64_t span_id) {
    return mix64(trace_key(self, trace_id), span_id ^ self->seed[1]);
}

static void peer_believe(model *self, uint64_t serial);

static void span_forget_oldest(model *self) {
    uint64_t serial = self->spans.first;
    span_entry *span = span_at(self, serial);
    peer_believe(self, serial);
    for (uint32_t cell = span->cells; cell != MODEL_NONE;) {
        uint32_t next = self->cells[cell].next;
        cell_give_back(self, cell);
        cell = next;
    }
    recent_drop_oldest(&self->spans);
}

/* The place of the span, made when it is not known yet. */
static uint64_t span_place(model *self, const uint8_t trace_id[16], uint64_t span_id) {
    uint64_t key = span_key(self, trace_id, span_id);
    uint64_t serial = recent_find(&self->spans, key);
    if (serial != RECENT_NONE)
        return serial;
    if (recent_full(&self->spans))
        span_forget_oldest(self);
    serial = recent_add(&self->spans, key);
    span_entry *span = span_at(self, serial);
    *span = (span_entry){.span_id = span_id,
                         .parent = RECENT_NONE,
                         .first_waiting = RECENT_NONE,
                         .next_waiting = RECENT_NONE,
                         .peer = MODEL_NONE,
                         .node = MODEL_NONE,
                         .operation = OPERATION_NONE,
                         .duration_ns = MODEL_NO_DURATION,
                         .cells = MODEL_NONE,
                         .boot_ms = self->boot_ms};
    memcpy(span->trace_id, trace_id, sizeof span->trace_id);
    return serial;
}

static void parent_look_for(model *self, uint64_t serial, uint64_t parent_id) {
    span_entry *span = span_at(self, serial);
    if (parent_id == span->span_id)
        return;
    uint8_t trace_id[16];
    memcpy(trace_id, span->trace_id, sizeof trace_id);
    uint64_t parent_serial = span_place(self, trace_id, parent_id);
    /* Making room for the parent may have pushed the span itself out. */
    if (!recent_knows(&self->spans, serial))
        return;
    span_entry *parent = span_at(self, parent_serial);
    if (parent->seen) {
        parent_found(self, serial, parent_serial);
        return;
    }
    span->next_waiting = parent->first_waiting;
    parent->first_waiting = serial;
    if (kind_receives(span->kind))
        request_count(self, span);
}

static void children_release(model *self, uint64_t serial) {
    uint64_t waiting = span_at(self, serial)->first_waiting;
    span_at(self, serial)->first_waiting = RECENT_NONE;
    while (waiting != RECENT_NONE && recent_knows(&self->spans, waiting)) {
        uint64_t next = span_at(self, waiting)->next_waiting;
        parent_found(self, waiting, serial);
        waiting = next;
    }
}

/* ---- Whom a client's span names
 * ----------------------------------------------------------------------------------- */

static void peer_call(model *self, uint64_t serial, double confidence) {
    const span_entry *span = span_at(self, serial);
    bool queued = names_queue(self, span);
    model_node_show(self, span->peer, PROVENANCE_INFERRED, span->time_ms);
    uint32_t edge = model_edge_between(self, span->node, span->peer, span->peer_edge, PROVENANCE_INFERRED,
                                       confidence, span->time_ms);
    model_adjust(self, &self->nodes[span->peer].requests, span->weight);
    model_node_touch(self, span->peer);
    call_count(self, serial, serial, edge, queued);
    uint64_t trace = recent_find(&self->traces, trace_key(self, span->trace_id));
    if (trace != RECENT_NONE)
        trace_reach(self, trace_at(self, trace), span->peer);
}

/* No server's span came for the call: whom the client named is all there is. */
static void peer_believe(model *self, uint64_t serial) {
    span_entry *span = span_at(self, serial);
    if (span->peer == MODEL_NONE || span->peer_settled)
        return;
    span->peer_settled = true;
    if (!span->remote_child)
        peer_call(self, serial, CONFIDENCE_PEER);
}

/* A datastore or a queue sends no spans, so that there is nothing to wait for. */
static void peer_note(model *self, uint64_t serial) {
    span_entry *span = span_at(self, serial);
    if (span->peer == MODEL_NONE || self->nodes[span->peer].kind == NODE_SERVICE)
        return;
    span->peer_settled = true;
    peer_call(self, serial, CONFIDENCE_DATASTORE);
}

/* ---- Observations
 * ------------------------------------------------------------------------------------------------- */

static void node_count(model *self, const observation *what) {
    model_node *node = &self->nodes[what->node];
    model_node_show(self, what->node, PROVENANCE_OBSERVED, what->time_ms);
    if (self->restoring)
        return;
    node->spans++;
    node->unknown_spans += what->weight == 0;
    if (what->time_ms + MODEL_VALID_SLACK_MS < node->valid_from_ms) {
        node->valid_from_ms = what->time_ms;
        node->recorded_from_ms = self->now_ms;
        node->changed = true;
    }
    self->totals.spans++;
    if (what->time_ms > self->totals.as_of_ms)
        self->totals.as_of_ms = what->time_ms;
    model_node_touch(self, what->node);
}

static void span_fill(model *self, uint64_t serial, const observation *what) {
    span_entry *span = span_at(self, serial);
    span->seen = true;
    span->node = what->node;
    span->peer = what->peer;
    span->kind = what->span_kind;
    span->weight = what->weight;
    span->time_ms = what->time_ms;
    span->duration_ns = what->start_ns > 0 ? what->duration_ns : MODEL_NO_DURATION;
    span->operation = what->operation;
    span->peer_edge = what->peer_edge != 0 ? what->peer_edge : (uint8_t)EDGE_CALLS;
    span->failed = what->failed != 0;
    span->boot_ms = self->boot_ms;
}

static void apply_span(model *self, const observation *what) {
    uint64_t serial = span_place(self, what->trace_id, what->span_id);
    if (span_at(self, serial)->seen) {
        self->totals.duplicates += self->restoring ? 0 : 1;
        return;
    }
    span_fill(self, serial, what);
    node_count(self, what);
    trace_entry *trace = trace_of(self, what->trace_id);
    if (what->time_ms > trace->last_ms)
        trace->last_ms = what->time_ms;
    trace_weigh(self, trace, what->weight);
    trace_reach(self, trace, what->node);
    children_release(self, serial);
    if (kind_receives(what->span_kind))
        trace_serve(self, trace);
    if (what->parent_id == 0) {
        trace_begin(self, trace, what);
        request_count(self, span_at(self, serial));
    }
    peer_note(self, serial);
    if (what->parent_id != 0)
        parent_look_for(self, serial, what->parent_id);
}

void model_apply(model *self, const observation *what, int64_t now_ms) {
    self->now_ms = now_ms;
    self->applied++;
    if (what->kind == OBSERVATION_SPAN) {
        apply_span(self, what);
    } else if (what->kind == OBSERVATION_TRACE_SETTLED) {
        uint64_t serial = recent_find(&self->traces, trace_key(self, what->trace_id));
        if (serial != RECENT_NONE)
            trace_settle(self, trace_at(self, serial));
    } else {
        uint64_t serial = recent_find(&self->spans, span_key(self, what->trace_id, what->span_id));
        if (serial != RECENT_NONE && span_at(self, serial)->seen)
            peer_believe(self, serial);
    }
}

/* ---- What time makes due
 * ------------------------------------------------------------------------------------------ */

void model_set_boot_ms(model *self, uint64_t boot_ms) {
    self->boot_ms = boot_ms;
}

static size_t settle_traces(model *self, uint64_t boot_ms, observation *out, size_t room) {
    size_t count = 0;
    if (self->trace_settle_next < self->traces.first)
        self->trace_settle_next = self->traces.first;
    for (; self->trace_settle_next < self->traces.next && count < room; self->trace_settle_next++) {
        const trace_entry *trace = trace_at(self, self->trace_settle_next);
        if (trace->boot_ms + MODEL_SETTLE_MS > boot_ms)
            break;
        /* Only what has an effect is worth a place in the journal. */
        if (trace->settled || trace->weight > 0 || trace->root != MODEL_NONE)
            continue;
        out[count] = (observation){.kind = OBSERVATION_TRACE_SETTLED, .peer = MODEL_NONE};
        memcpy(out[count++].trace_id, trace->id, sizeof trace->id);
    }
    return count;
}

static size_t settle_peers(model *self, uint64_t boot_ms, observation *out, size_t room) {
    size_t count = 0;
    if (self->span_settle_next < self->spans.first)
        self->span_settle_next = self->spans.first;
    for (; self->span_settle_next < self->spans.next && count < room; self->span_settle_next++) {
        const span_entry *span = span_at(self, self->span_settle_next);
        if (span->boot_ms + MODEL_SETTLE_MS > boot_ms)
            break;
        if (!span->seen || span->peer == MODEL_NONE || span->peer_settled || span->remote_child)
            continue;
        out[count] =
            (observation){.kind = OBSERVATION_PEER_SETTLED, .span_id = span->span_id, .peer = MODEL_NONE};
        memcpy(out[count++].trace_id, span->trace_id, sizeof span->trace_id);
    }
    return count;
}

size_t model_settle(model *self, uint64_t boot_ms, observation *out, size_t room) {
    size_t count = settle_peers(self, boot_ms, out, room);
    return count + settle_traces(self, boot_ms, out + count, room - count);
}

uint64_t model_settle_due(const model *self) {
    uint64_t due = UINT64_MAX;
    uint64_t trace =
        self->trace_settle_next < self->traces.first ? self->traces.first : self->trace_settle_next;
    uint64_t span = self->span_settle_next < self->spans.first ? self->spans.first : self->span_settle_next;
    if (trace < self->traces.next)
        due = self->trace_entries[recent_slot(&self->traces, trace)].boot_ms + MODEL_SETTLE_MS;
    if (span < self->spans.next) {
        uint64_t other = self->span_entries[recent_slot(&self->spans, span)].boot_ms + MODEL_SETTLE_MS;
        due = other < due ? other : due;
    }
    return due;
}

double model_recent_requests(const model *self, int64_t now_ms, double *recent_by_shape) {
    double sum = 0;
    uint64_t serial =
        self->trace_settle_next < self->traces.first ? self->traces.first : self->trace_settle_next;
    for (; serial < self->traces.next; serial++) {
        const trace_entry *trace = &self->trace_entries[recent_slot(&self->traces, serial)];
        if (trace->weight == 0 || trace->last_ms + MODEL_SETTLE_MS <= now_ms)
            continue;
        recent_by_shape[trace->shape] += trace->weight;
        sum += trace->weight;
    }
    return sum;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code model_spans_create(model *self, failure *why) {
    status_code status = recent_init(&self->traces, MODEL_TRACES, why);
    if (status == STATUS_OK)
        status = recent_init(&self->spans, MODEL_SPANS, why);
    if (status != STATUS_OK)
        return status;
    /* calloc: memory that is never used is never there. */
    self->trace_entries = calloc(MODEL_TRACES, sizeof *self->trace_entries);
    self->span_entries = calloc(MODEL_SPANS, sizeof *self->span_entries);
    self->cells = calloc(CELLS_MAX, sizeof *self->cells);
    self->free_cell = MODEL_NONE;
    if (self->trace_entries == NULL || self->span_entries == NULL || self->cells == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to remember spans");
    return STATUS_OK;
}

void model_spans_free(model *self) {
    recent_free(&self->traces);
    recent_free(&self->spans);
    free(self->trace_entries);
    free(self->span_entries);
    free(self->cells);
}
