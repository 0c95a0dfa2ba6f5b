/* Prediction of impact, in two parts that answer different questions.
 *
 * The share of entry traffic is *measured*: shapes say for every entry request which nodes it reached, so
 * that the share that reaches any of the targets is a sum over shapes. Nothing is assumed independent; only
 * what shapes could not hold (overflow) is bounded by Fréchet: at least what was measured, at most that plus
 * all of the overflow.
 *
 * Who is affected is *propagated* from the targets up the call graph: a caller is hit when one of its calls
 * is, each with the share of its requests that make the call, taken as independent. That is corrected from
 * both sides by what is known for sure: never less than the most likely single path (Fréchet's lower bound of
 * a union), and never more than the share of the caller's own traces in which a target was seen at all. For a
 * caller whose requests all come from outside that share is the answer itself. */
#include "impact.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 64U /* of propagation: longer than any path that matters; cycles converge long before */
#define CONVERGED 1e-4 /* a probability falls short by little more than that: less than any sample tells */
#define Z_95 1.959963984540054

typedef struct impact_item {
    double hit, product; /* probability by propagation; of being spared, while a round runs */
    double best;         /* of the most likely path */
    double joint;        /* weight of the node's traces that a target was in */
    uint32_t next;       /* on that path; MODEL_NONE for a target */
    uint32_t stamp;      /* the prediction that these values belong to */
} impact_item;

/* ---- Working memory
 * ----------------------------------------------------------------------------------------------- */

void impact_scratch_free(impact_scratch *self) {
    free(self->items);
    free(self->queue);
    free(self->shape_stamps);
    *self = (impact_scratch){0};
}

static bool scratch_grow(impact_scratch *self, const snapshot *graph) {
    if (self->node_room < graph->node_count) {
        uint32_t room = graph->node_count + graph->node_count / 2 + 64;
        free(self->items);
        free(self->queue);
        self->items = calloc(room, sizeof *self->items);
        self->queue = calloc(room, sizeof *self->queue);
        self->node_room = self->items != NULL && self->queue != NULL ? room : 0;
    }
    if (self->shape_room < graph->shape_count) {
        uint32_t room = graph->shape_count + graph->shape_count / 2 + 64;
        free(self->shape_stamps);
        self->shape_stamps = calloc(room, sizeof *self->shape_stamps);
        self->shape_room = self->shape_stamps != NULL ? room : 0;
    }
    return self->node_room >= graph->node_count && self->shape_room >= graph->shape_count;
}

/* Values of an earlier prediction are told by their stamp, so that nothing has to be cleared. */
static void scratch_next_stamp(impact_scratch *self) {
    if (++self->stamp != 0)
        return;
    for (uint32_t i = 0; i < self->node_room; i++)
        self->items[i].stamp = 0;
    memset(self->shape_stamps, 0, self->shape_room * sizeof *self->shape_stamps);
    self->stamp = 1;
}

static impact_item *item_of(impact_scratch *self, uint32_t node) {
    impact_item *item = &self->items[node];
    if (item->stamp != self->stamp)
        *item = (impact_item){.stamp = self->stamp, .next = MODEL_NONE};
    return item;
}

/* ---- The share of entry traffic
 * ----------------------------------------------------------------------------------- */

static double wilson(double p, double n, double sign) {
    if (n <= 0)
        return sign < 0 ? 0 : 1;
    double square = Z_95 * Z_95;
    double centre = p + square / (2 * n);
    double spread = Z_95 * sqrt(p * (1 - p) / n + square / (4 * n * n));
    double bound = (centre + sign * spread) / (1 + square / n);
    return fmin(1, fmax(0, bound));
}

double wilson_low(double p, double n) {
    return p <= 0 ? 0 : wilson(p, n, -1);
}

double wilson_high(double p, double n) {
    return p >= 1 ? 1 : wilson(p, n, 1);
}

typedef struct reach_sums {
    double reach;    /* requests that reached a target */
    double recent;   /* of those, recent ones: they have shown what matters already */
    double overflow; /* more that may have */
} reach_sums;

static void shape_note_members(const snapshot *graph, const snapshot_shape *item, impact_scratch *scratch) {
    for (uint32_t i = 0; i < item->members_count; i++)
        item_of(scratch, graph->members[item->members_first + i])->joint += item->reach;
}

static reach_sums reach_measure(const snapshot *graph, const uint32_t *targets, size_t count,
                                impact_scratch *scratch) {
    reach_sums sums = {0};
    for (size_t i = 0; i < count; i++) {
        const snapshot_node *node = &graph->nodes[targets[i]];
        sums.overflow += node->overflow;
        for (uint32_t j = 0; j < node->shapes_count; j++) {
            uint32_t number = graph->node_shapes[node->shapes_first + j];
            if (scratch->shape_stamps[number] == scratch->stamp)
                continue;
            scratch->shape_stamps[number] = scratch->stamp;
            const snapshot_shape *item = &graph->shapes[number];
            sums.reach += item->reach;
            sums.recent += item->recent;
            shape_note_members(graph, item, scratch);
        }
    }
    return sums;
}

static bool node_is_attributed(const snapshot_node *node) {
    return node->traces > 0 &&
           node->unattributed <= IMPACT_UNATTRIBUTED_MAX * (node->traces + node->unattributed);
}

/* Why the share of one target is not known upwards; NULL when it is. */
static const char *target_caveat(const snapshot_node *node, arena *memory) {
    if (node_is_attributed(node))
        return NULL;
    const char *text =
        node->traces <= 0
            ? arena_format(memory, "no entry request of known sampling was seen to reach %s", node->name)
            : arena_format(memory,
                           "%.0f of the %.0f traces that reached %s show no entry request of known sampling",
                           node->unattributed, node->traces + node->unattributed, node->name);
    return text != NULL ? text : "the share of a target is not known";
}

static bool share_unknown(Interlock__Graph__V1__Share *share) {
    share->expected = 1;
    share->low = 0;
    share->high = 1;
    return true;
}

static char *caveat_of(const snapshot *graph, const reach_sums *sums, double open, double samples,
                       arena *memory) {
    if (open > 0.01 * graph->entry_requests)
        return arena_format(memory, "%.0f of %.0f entry requests ended less than %d s ago and may reach more",
                            open, graph->entry_requests, MODEL_SETTLE_MS / 1000);
    if (sums->overflow + graph->overflow > 0)
        return arena_format(memory, "%.0f entry requests reached too many nodes to be kept apart",
                            sums->overflow + graph->overflow);
    if (samples < 100)
        return arena_format(memory, "few requests: the sample is worth %.0f", samples);
    return arena_text(memory, "");
}

/* True when every target's share is known upwards. */
static bool share_fill(const snapshot *graph, const uint32_t *targets, size_t count, const reach_sums *sums,
                       arena *memory, impact_message *out) {
    Interlock__Graph__V1__Share *share = out->entry_traffic;
    const char *caveat = NULL;
    bool seen = false;
    for (size_t i = 0; i < count && caveat == NULL; i++)
        caveat = target_caveat(&graph->nodes[targets[i]], memory);
    for (size_t i = 0; i < count; i++)
        seen = seen || graph->nodes[targets[i]].traces > 0;
    double n = graph->entry_requests;
    if (n <= 0 || !seen) {
        out->caveat =
            arena_text(memory, caveat == NULL ? "no entry request of known sampling was seen" : caveat);
        return !share_unknown(share);
    }
    double samples = graph->entry_squares > 0 ? n * n / graph->entry_squares : 0;
    double open = fmax(0, graph->entry_recent - sums->recent);
    double p = fmin(1, sums->reach / n);
    share->low = wilson_low(p, samples);
    share->expected = fmin(1, (sums->reach + sums->overflow) / n);
    share->high = wilson_high(fmin(1, (sums->reach + sums->overflow + graph->overflow + open) / n), samples);
    out->caveat = caveat_of(graph, sums, open, samples, memory);
    if (caveat == NULL)
        return true;
    share->high = 1;
    for (size_t i = 0; i < count; i++)
        if (graph->nodes[targets[i]].traces <= 0)
            share->expected = 1;
    out->caveat = arena_text(memory, caveat);
    return false;
}

/* ---- Who is affected
 * ---------------------------------------------------------------------------------------------- */

/* Everything upstream of the targets, breadth first; targets come first. */
static uint32_t upstream(const snapshot *graph, const uint32_t *targets, size_t count,
                         impact_scratch *scratch) {
    uint32_t end = 0;
    for (size_t i = 0; i < count; i++) {
        impact_item *item = item_of(scratch, targets[i]);
        item->hit = item->best = 1;
        scratch->queue[end++] = targets[i];
    }
    for (uint32_t at = 0; at < end; at++) {
        const snapshot_node *node = &graph->nodes[scratch->queue[at]];
        for (uint32_t i = 0; i < node->callers_count; i++) {
            const snapshot_caller *caller = &graph->callers[node->callers_first + i];
            impact_item *item = item_of(scratch, caller->from);
            if (item->best > 0)
                continue;
            /* Any value above 0 marks it as queued; the first round finds the right one. */
            item->best = 1e-300;
            scratch->queue[end++] = caller->from;
        }
    }
    return end;
}

/* Returns how much better the caller's path became; finding the first one counts as much. */
static double path_improve(const impact_item *via, uint32_t via_number, double share, impact_item *caller) {
    double found = share * via->best;
    if (found <= caller->best)
        return 0;
    double change = caller->next == MODEL_NONE ? 1 : found - caller->best;
    caller->best = found;
    caller->next = via_number;
    return change;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* One round over all callers; returns the largest change. Targets (the first `count`) stay at 1. */
static double propagate_round(const snapshot *graph, impact_scratch *scratch, uint32_t count, uint32_t end) {
    for (uint32_t i = 0; i < end; i++)
        scratch->items[scratch->queue[i]].product = 1;
    double change = 0;
    for (uint32_t at = 0; at < end; at++) {
        uint32_t number = scratch->queue[at];
        const snapshot_node *node = &graph->nodes[number];
        const impact_item *item = &scratch->items[number];
        for (uint32_t i = 0; i < node->callers_count; i++) {
            const snapshot_caller *caller = &graph->callers[node->callers_first + i];
            if (caller->from == number)
                continue;
            impact_item *above = &scratch->items[caller->from];
            above->product *= 1 - caller->share * item->hit;
            change = larger(change, path_improve(item, number, caller->share, above));
        }
    }
    for (uint32_t i = count; i < end; i++) {
        impact_item *item = &scratch->items[scratch->queue[i]];
        change = larger(change, 1 - item->product - item->hit);
        item->hit = 1 - item->product;
    }
    return change;
}

static double probability_of(const snapshot *graph, const impact_scratch *scratch, uint32_t number,
                             bool measured) {
    const impact_item *item = &scratch->items[number];
    const snapshot_node *node = &graph->nodes[number];
    double probability = item->hit;
    if (measured && node_is_attributed(node) && node->reached > 0) {
        double seen = item->joint / node->reached;
        /* Where every request is an entry request, the traces are the requests: then this is no bound but the
         * answer. */
        bool is_entry = node->requests > 0 && node->entry_requests >= node->requests;
        probability = is_entry || seen < probability ? seen : probability;
    }
    return fmin(1, fmax(probability, item->best));
}

typedef struct affected_entry {
    double probability;
    const char *name;
    uint32_t number;
} affected_entry;

static int affected_compare(const void *left, const void *right) {
    const affected_entry *a = left;
    const affected_entry *b = right;
    if (a->probability != b->probability)
        return a->probability > b->probability ? -1 : 1;
    return strcmp(a->name, b->name);
}

static Interlock__Graph__V1__AffectedNode *affected_message(const snapshot *graph,
                                                            const impact_scratch *scratch,
                                                            const affected_entry *entry, arena *memory) {
    Interlock__Graph__V1__AffectedNode *message = arena_alloc(memory, sizeof *message);
    uint32_t hops[IMPACT_PATH_MAX];
    size_t count = 0;
    for (uint32_t at = entry->number; at != MODEL_NONE && count < IMPACT_PATH_MAX;
         at = scratch->items[at].next)
        hops[count++] = at;
    char **path = arena_alloc(memory, count * sizeof *path);
    if (message == NULL || path == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        path[i] = (char *)graph->nodes[hops[i]].name; /* lives as long as the model; nobody writes to it */
    interlock__graph__v1__affected_node__init(message);
    message->name = path[0];
    message->probability = entry->probability;
    message->path = path;
    message->n_path = count;
    return message;
}

static status_code out_of_arena(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
}

static status_code affected_fill(const snapshot *graph, const affected_entry *entries, size_t count,
                                 const impact_scratch *scratch, arena *memory, impact_message *out,
                                 failure *why) {
    out->affected = arena_alloc(memory, count * sizeof(Interlock__Graph__V1__AffectedNode *));
    if (out->affected == NULL)
        return out_of_arena(why);
    size_t hops = 0;
    for (size_t i = 0; i < count && hops < IMPACT_HOPS_MAX; i++) {
        out->affected[i] = affected_message(graph, scratch, &entries[i], memory);
        if (out->affected[i] == NULL)
            return out_of_arena(why);
        hops += out->affected[i]->n_path + 1;
        out->n_affected = i + 1;
    }
    return STATUS_OK;
}

static status_code affected_find(const snapshot *graph, const uint32_t *targets, size_t count, bool measured,
                                 impact_scratch *scratch, arena *memory, impact_message *out, failure *why) {
    uint32_t end = upstream(graph, targets, count, scratch);
    for (unsigned round = 0; round < ROUNDS_MAX; round++)
        if (propagate_round(graph, scratch, (uint32_t)count, end) < CONVERGED)
            break;
    affected_entry *entries = malloc(end * sizeof *entries);
    if (entries == NULL)
        return out_of_arena(why);
    for (uint32_t i = 0; i < end; i++) {
        uint32_t number = scratch->queue[i];
        entries[i] = (affected_entry){.probability = probability_of(graph, scratch, number, measured),
                                      .name = graph->nodes[number].name,
                                      .number = number};
    }
    qsort(entries, end, sizeof *entries, affected_compare);
    size_t kept = end < IMPACT_AFFECTED_MAX ? end : IMPACT_AFFECTED_MAX;
    status_code status = affected_fill(graph, entries, kept, scratch, memory, out, why);
    free(entries);
    return status;
}

/* ---- Answers
 * ------------------------------------------------------------------------------------------------------ */

static impact_message *message_make(arena *memory) {
    impact_message *message = arena_alloc(memory, sizeof *message);
    Interlock__Graph__V1__Share *share = arena_alloc(memory, sizeof *share);
    if (message == NULL || share == NULL)
        return NULL;
    interlock__graph__v1__impact__init(message);
    interlock__graph__v1__share__init(share);
    message->entry_traffic = share;
    return message;
}

status_code impact_of(const snapshot *graph, const uint32_t *targets, size_t count, impact_scratch *scratch,
                      arena *memory, impact_message **out, failure *why) {
    impact_message *message = message_make(memory);
    if (message == NULL || !scratch_grow(scratch, graph))
        return out_of_arena(why);
    scratch_next_stamp(scratch);
    reach_sums sums = reach_measure(graph, targets, count, scratch);
    bool measured = share_fill(graph, targets, count, &sums, memory, message);
    message->observed_requests = graph->entry_requests;
    if (message->caveat == NULL)
        return out_of_arena(why);
    status_code status = affected_find(graph, targets, count, measured, scratch, memory, message, why);
    if (status == STATUS_OK)
        *out = message;
    return status;
}

typedef struct target_list {
    uint32_t known[LIMIT_TARGETS];
    size_t known_count;
    char *unknown[LIMIT_TARGETS];
    size_t unknown_count;
} target_list;

static bool list_has(const uint32_t *items, size_t count, uint32_t item) {
    for (size_t i = 0; i < count; i++)
        if (items[i] == item)
            return true;
    return false;
}

static status_code targets_read(const snapshot *graph, const impact_request *request, target_list *out,
                                failure *why) {
    if (request->n_targets == 0 || request->n_targets > LIMIT_TARGETS)
        return fail_field(why, "targets", "BAD_TARGETS", "state 1 to %u targets, not %zu", LIMIT_TARGETS,
                          request->n_targets);
    for (size_t i = 0; i < request->n_targets; i++) {
        name_parts parts;
        failure inner = {0};
        if (name_parse(request->targets[i], &parts, &inner) != STATUS_OK) {
            char field[32];
            snprintf(field, sizeof field, "targets[%zu]", i);
            return fail_field(why, field, "BAD_NAME", "%s", inner.message);
        }
        uint32_t number = snapshot_find(graph, request->targets[i]);
        if (number == MODEL_NONE)
            out->unknown[out->unknown_count++] = request->targets[i];
        else if (!list_has(out->known, out->known_count, number))
            out->known[out->known_count++] = number;
    }
    return STATUS_OK;
}

/* Of a node that was never seen nothing is known, and a bound looks at the upper end: all of the traffic. */
static status_code impact_unknown(const target_list *list, arena *memory, impact_response *out,
                                  failure *why) {
    out->unknown_targets = arena_alloc(memory, list->unknown_count * sizeof *out->unknown_targets);
    if (out->impact == NULL)
        out->impact = message_make(memory);
    if (out->impact == NULL || out->unknown_targets == NULL)
        return out_of_arena(why);
    for (size_t i = 0; i < list->unknown_count; i++)
        if ((out->unknown_targets[i] = arena_text(memory, list->unknown[i])) == NULL)
            return out_of_arena(why);
    out->n_unknown_targets = list->unknown_count;
    share_unknown(out->impact->entry_traffic);
    out->impact->caveat = arena_format(memory, "the graph has never seen %s", list->unknown[0]);
    return out->impact->caveat == NULL ? out_of_arena(why) : STATUS_OK;
}

status_code impact_predict(const snapshot *graph, const impact_request *request, impact_scratch *scratch,
                           arena *memory, impact_response *out, failure *why) {
    target_list list = {0};
    impact_message *message = NULL;
    status_code status = targets_read(graph, request, &list, why);
    if (status == STATUS_OK && list.known_count > 0)
        status = impact_of(graph, list.known, list.known_count, scratch, memory, &message, why);
    if (status != STATUS_OK)
        return status;
    out->impact = message;
    out->revision = graph->revision;
    out->as_of_ms = graph->as_of_ms;
    if (list.unknown_count > 0)
        return impact_unknown(&list, memory, out, why);
    return STATUS_OK;
}
