/* Prediction of impact, in two parts that answer different questions.
 *
 * The share of entry traffic is *measured*: shapes say for every entry request which nodes it reached, so
 * that the share that reaches any of the targets is a sum over shapes. Nothing is assumed independent; only
 * what shapes could not hold (overflow) is bounded by Fréchet: at least what was measured, at most that plus
 * all of the overflow.
 *
 * Who is affected is *propagated* from the targets up the calls (impact_spread.h), and corrected by what is
 * known for sure: never less than the most likely single path, and never more than the share of the caller's
 * own traces in which a target was seen at all. For a caller whose requests all come from outside that share
 * is the answer itself. Of slowness, the part of the requests that wait for the target is only the beginning:
 * propagation.h says whether that is noticeable. */
#include "impact.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define Z_95 1.959963984540054
#define SELF_PART_LEAST 0.2 /* calls at the same time can take up all of it: some work is always its own */
#define PROBABILITY_LEAST 1e-9
#define BEST_PRECISION 1e-6
#define TOUCHED_LEAST 0.1 /* probability from which the owners and zones of a node are named */
#define TOUCHED_MAX 255U
#define AHEAD 8U

/* ---- Working memory
 * ----------------------------------------------------------------------------------------------- */

void impact_scratch_free(impact_scratch *self) {
    impact_spread_free(&self->spread);
    free(self->joint);
    free(self->joint_stamps);
    free(self->shape_stamps);
    free(self->entries);
    free(self->hits);
    *self = (impact_scratch){0};
}

static bool scratch_grow_nodes(impact_scratch *self, uint32_t nodes) {
    uint32_t room = nodes + nodes / 2 + 64;
    free(self->joint);
    free(self->joint_stamps);
    free(self->entries);
    free(self->hits);
    self->joint = calloc(room, sizeof *self->joint);
    self->joint_stamps = calloc(room, sizeof *self->joint_stamps);
    self->entries = calloc(room, sizeof *self->entries);
    self->hits = calloc(room, sizeof *self->hits);
    bool good =
        self->joint != NULL && self->joint_stamps != NULL && self->entries != NULL && self->hits != NULL;
    self->node_room = good ? room : 0;
    return good;
}

static bool scratch_grow(impact_scratch *self, const snapshot *graph) {
    if (self->node_room < graph->node_count && !scratch_grow_nodes(self, graph->node_count))
        return false;
    if (self->shape_room < graph->shape_count) {
        uint32_t room = graph->shape_count + graph->shape_count / 2 + 64;
        free(self->shape_stamps);
        self->shape_stamps = calloc(room, sizeof *self->shape_stamps);
        self->shape_room = self->shape_stamps != NULL ? room : 0;
    }
    return self->shape_room >= graph->shape_count && impact_spread_begin(&self->spread, graph->impact);
}

/* Values of an earlier prediction are told by their stamp, so that nothing has to be cleared. */
static void scratch_next_stamp(impact_scratch *self) {
    if (++self->stamp != 0)
        return;
    if (self->joint_stamps != NULL)
        memset(self->joint_stamps, 0, self->node_room * sizeof *self->joint_stamps);
    if (self->shape_stamps != NULL)
        memset(self->shape_stamps, 0, self->shape_room * sizeof *self->shape_stamps);
    self->stamp = 1;
}

static double joint_of(const impact_scratch *self, uint32_t node) {
    return self->joint_stamps[node] == self->stamp ? self->joint[node] : 0;
}

static void joint_add(impact_scratch *self, uint32_t node, double weight) {
    if (self->joint_stamps[node] != self->stamp) {
        self->joint_stamps[node] = self->stamp;
        self->joint[node] = 0;
    }
    self->joint[node] += weight;
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
        joint_add(scratch, graph->members[item->members_first + i], item->reach);
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

typedef Interlock__Graph__V1__AffectedNode affected_node;

typedef struct asking {
    const snapshot *graph;
    const impact_question *question;
    impact_scratch *scratch;
    arena *memory;
    double self_ms; /* work of its own that a request is for the targets, where slowness depends on it */
    bool measured;
} asking;

/* The part of the node's requests that is hit. */
static double hit_of(const asking *self, uint32_t place) {
    const snapshot_node *node = &self->graph->nodes[self->graph->impact->number[place]];
    const spread_sent *sent = &self->scratch->spread.sent[place];
    double probability = impact_spread_hit(&self->scratch->spread, place);
    if (self->measured && !sent->target && node_is_attributed(node) && node->reached > 0) {
        double seen = joint_of(self->scratch, self->graph->impact->number[place]) / node->reached *
                      impact_spread_worlds(&self->scratch->spread, place);
        /* Where every request is an entry request, the traces are the requests: then this is no bound but the
         * answer. */
        bool is_entry = node->requests > 0 && node->entry_requests >= node->requests;
        probability = is_entry || seen < probability ? seen : probability;
    }
    /* Less what single precision adds to it. */
    return fmin(1, fmax(probability, (double)sent->best * (1 - BEST_PRECISION)));
}

static bool latency_of(const asking *self, uint32_t number, propagation_latency *out) {
    *out = (propagation_latency){.drift = -1};
    const impact_normal *normal = self->question->normal;
    return normal != NULL && normal->latency(normal->context, self->graph, number, out);
}

/* Of the slowest target: which of them is meant is not known. */
static double target_self_ms(const asking *self) {
    double longest = 0;
    for (size_t i = 0; i < self->question->count; i++) {
        uint32_t number = self->question->targets[i];
        const impact_node *node = &self->graph->impact->nodes[self->graph->impact->place[number]];
        propagation_latency latency;
        if (latency_of(self, number, &latency))
            longest = fmax(longest, (double)latency.median_ms * fmax(node->self_part, SELF_PART_LEAST));
    }
    return longest;
}

static void entry_judge(const asking *self, affected_entry *entry) {
    const impact_spread *spread = &self->scratch->spread;
    if (self->question->fault == FAULT_FAILURE)
        return;
    propagation_latency latency;
    latency_of(self, self->graph->impact->number[entry->place], &latency);
    entry->background = propagation_drifts(&latency);
    if (!spread->sent[entry->place].target)
        entry->probability = propagation_slowed(self->question->fault, entry->probability,
                                                (double)spread->calls[entry->place], self->self_ms, &latency);
}

/* What stands beside a target and may be its other face. */
static uint32_t opaque_find(const asking *self, affected_entry *entries, uint32_t count) {
    const impact_graph *graph = self->graph->impact;
    impact_scratch *scratch = self->scratch;
    uint32_t room = self->graph->node_count;
    for (size_t i = 0; i < self->question->count; i++) {
        uint32_t target = graph->place[self->question->targets[i]];
        for (uint32_t edge = graph->first[target]; edge < graph->first[target + 1]; edge++) {
            uint32_t caller = graph->callers[edge].from;
            for (uint32_t at = graph->first_opaque[caller]; at < graph->first_opaque[caller + 1]; at++) {
                uint32_t place = graph->opaque_places[at];
                uint32_t number = graph->number[place];
                if (scratch->spread.sent[place].visited || count == room ||
                    scratch->joint_stamps[number] == scratch->stamp)
                    continue;
                joint_add(scratch, number, 0);
                affected_entry *entry = &entries[count++];
                propagation_latency latency;
                latency_of(self, number, &latency);
                *entry = (affected_entry){.place = place, .beside = target};
                entry->probability = propagation_stands_for(self->question->fault, &latency);
                entry->background = propagation_drifts(&latency);
            }
        }
    }
    return count;
}

/* Equal ones by number, which costs no look at their names. */
static bool entry_before(const snapshot *graph, const affected_entry *a, const affected_entry *b) {
    if (a->probability != b->probability)
        return a->probability > b->probability;
    return graph->impact->number[a->place] < graph->impact->number[b->place];
}

/* The order that readers see: equal ones by name. */
static int affected_order(const snapshot *graph, const affected_entry *a, const affected_entry *b) {
    if (a->probability != b->probability)
        return a->probability > b->probability ? -1 : 1;
    return strcmp(graph->nodes[graph->impact->number[a->place]].name,
                  graph->nodes[graph->impact->number[b->place]].name);
}

static int affected_compare(const void *left, const void *right, void *context) {
    return affected_order(context, left, right);
}

/* Brings the `kept` first of the order to the front (C. A. R. Hoare's "Find"): sorting thousands to show a
 * few hundred would take longer than finding them. */
static void entries_select(const snapshot *graph, affected_entry *entries, size_t count, size_t kept) {
    size_t low = 0;
    size_t high = count;
    while (high - low > 1 && kept > low && kept < high) {
        affected_entry pivot = entries[low + (high - low - 1) / 2];
        size_t left = low;
        size_t right = high - 1;
        for (;; left++, right--) {
            while (entry_before(graph, &entries[left], &pivot))
                left++;
            while (entry_before(graph, &pivot, &entries[right]))
                right--;
            if (left >= right)
                break;
            affected_entry other = entries[left];
            entries[left] = entries[right];
            entries[right] = other;
        }
        /* The pivot is not the last one, so that both parts are smaller than the whole. */
        size_t middle = right + 1;
        if (kept <= middle)
            high = middle;
        else
            low = middle;
    }
}

/* Names of the model live as long as it does, and nobody writes to them; others go with the snapshot. */
static char *name_of(const asking *self, uint32_t place) {
    uint32_t number = self->graph->impact->number[place];
    const char *name = self->graph->nodes[number].name;
    return number < self->graph->model_count ? (char *)name : arena_text(self->memory, name);
}

/* How sure the probability is: a path over edges that nobody measured may carry everything or nothing. */
static void interval_fill(const asking *self, const affected_entry *entry, affected_node *message) {
    const snapshot_node *node = &self->graph->nodes[self->graph->impact->number[entry->place]];
    bool target = self->scratch->spread.sent[entry->place].target;
    bool counted = node->requests > 0 && self->graph->impact->number[entry->place] < self->graph->model_count;
    message->low = message->high = entry->probability;
    if (target)
        return;
    double samples = counted ? node->requests : 0;
    message->low = fmin(entry->probability, wilson_low(entry->probability, samples));
    message->high = fmax(entry->probability, wilson_high(entry->probability, samples));
}

static affected_node *affected_message(const asking *self, const affected_entry *entry) {
    const impact_graph *graph = self->graph->impact;
    const spread_sent *sent = self->scratch->spread.sent;
    affected_node *message = arena_alloc(self->memory, sizeof *message);
    uint32_t hops[IMPACT_PATH_MAX];
    double delay_ms = 0;
    size_t count = 0;
    hops[count++] = entry->place;
    if (!sent[entry->place].visited)
        hops[count++] = entry->beside;
    for (uint32_t via = sent[entry->place].via; sent[entry->place].visited && via != IMPACT_NONE;) {
        double edge_ms = (double)graph->delays_ms[via];
        delay_ms += edge_ms > 0 ? edge_ms : propagation_priors[graph->callers[via].class].delay_ms;
        uint32_t next = impact_graph_called(graph, via);
        if (count == IMPACT_PATH_MAX)
            break;
        hops[count++] = next;
        via = sent[next].via;
    }
    char **path = arena_alloc(self->memory, count * sizeof *path);
    if (message == NULL || path == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if ((path[i] = name_of(self, hops[i])) == NULL)
            return NULL;
    interlock__graph__v1__affected_node__init(message);
    message->name = path[0];
    message->probability = entry->probability;
    message->background = entry->background;
    message->delay_ms = delay_ms;
    message->path = path;
    message->n_path = count;
    interval_fill(self, entry, message);
    return message;
}

static status_code out_of_arena(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
}

static status_code affected_fill(const asking *self, const affected_entry *entries, size_t count,
                                 impact_message *out, failure *why) {
    out->affected = arena_alloc(self->memory, count * sizeof(affected_node *));
    if (out->affected == NULL)
        return out_of_arena(why);
    size_t hops = 0;
    for (size_t i = 0; i < count && hops < IMPACT_HOPS_MAX; i++) {
        if ((out->affected[i] = affected_message(self, &entries[i])) == NULL)
            return out_of_arena(why);
        hops += out->affected[i]->n_path + 1;
        out->n_affected = i + 1;
    }
    return STATUS_OK;
}

static int text_compare(const void *left, const void *right) {
    char *const *a = left;
    char *const *b = right;
    return strcmp(*a, *b);
}

/* Sorts, and leaves each out that is there already. */
static size_t texts_unique(char **texts, size_t count) {
    size_t kept = 0;
    if (count > 0)
        qsort(texts, count, sizeof *texts, text_compare);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(texts[kept - 1], texts[i]) != 0)
            texts[kept++] = texts[i];
    return kept;
}

static size_t bond_first(const snapshot *graph, uint32_t node) {
    size_t low = 0;
    size_t high = graph->bond_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (graph->bonds[middle].node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct touched {
    char *journeys[TOUCHED_MAX + 1], *owners[TOUCHED_MAX + 1], *zones[TOUCHED_MAX + 1];
    size_t journey_count, owner_count, zone_count;
} touched;

static bool node_touch(const asking *self, uint32_t place, touched *out) {
    const snapshot *graph = self->graph;
    uint32_t node = graph->impact->number[place];
    if (graph->nodes[node].kind == NODE_JOURNEY && out->journey_count < TOUCHED_MAX &&
        (out->journeys[out->journey_count++] = name_of(self, place)) == NULL)
        return false;
    for (size_t i = bond_first(graph, node); i < graph->bond_count && graph->bonds[i].node == node; i++) {
        const char *name = graph->stated_names + graph->bonds[i].to;
        size_t *count = graph->bonds[i].owner ? &out->owner_count : &out->zone_count;
        char **texts = graph->bonds[i].owner ? out->owners : out->zones;
        if (*count < TOUCHED_MAX && (texts[(*count)++] = arena_text(self->memory, name)) == NULL)
            return false;
    }
    return true;
}

static status_code touched_fill(const asking *self, const affected_entry *entries, size_t count,
                                impact_message *out, failure *why) {
    touched all = {0};
    bool good = true;
    for (size_t i = 0; i < count && good && entries[i].probability >= TOUCHED_LEAST; i++)
        good = node_touch(self, entries[i].place, &all);
    out->n_journeys = texts_unique(all.journeys, all.journey_count);
    out->n_owners = texts_unique(all.owners, all.owner_count);
    out->n_zones = texts_unique(all.zones, all.zone_count);
    out->journeys = arena_copy(self->memory, all.journeys, (out->n_journeys + 1) * sizeof *all.journeys);
    out->owners = arena_copy(self->memory, all.owners, (out->n_owners + 1) * sizeof *all.owners);
    out->zones = arena_copy(self->memory, all.zones, (out->n_zones + 1) * sizeof *all.zones);
    if (!good || out->journeys == NULL || out->owners == NULL || out->zones == NULL)
        return out_of_arena(why);
    return STATUS_OK;
}

/* Percentiles of the worlds; the upper end where the share of entry traffic is not known. */
static void percentiles_fill(const asking *self, impact_message *out) {
    float traffic[IMPACT_WORLDS];
    if (!self->measured) {
        out->traffic_p50 = out->traffic_p95 = out->traffic_p99 = 1;
        return;
    }
    impact_spread_traffic(&self->scratch->spread, self->graph->impact, self->scratch->hits, traffic);
    out->traffic_p50 = (double)traffic[IMPACT_WORLDS / 2];
    out->traffic_p95 = (double)traffic[IMPACT_WORLDS * 95 / 100];
    out->traffic_p99 = (double)traffic[IMPACT_WORLDS * 99 / 100];
}

/* What is known of nodes lies all over memory: each is asked for some nodes before it is needed. */
static void node_expect(const asking *self, uint32_t place) {
    uint32_t number = self->graph->impact->number[place];
    const snapshot_node *node = &self->graph->nodes[number];
    __builtin_prefetch(node);
    __builtin_prefetch(&node->entry_requests);
    __builtin_prefetch(&node->unattributed);
    __builtin_prefetch(&self->scratch->joint_stamps[number]);
}

static uint32_t targets_spread(asking *self) {
    uint32_t places[LIMIT_TARGETS];
    const impact_graph *graph = self->graph->impact;
    impact_spread *spread = &self->scratch->spread;
    for (size_t i = 0; i < self->question->count; i++)
        places[i] = graph->place[self->question->targets[i]];
    impact_spread_run(spread, graph, places, self->question->count, self->question->learnt,
                      self->question->verb);
    for (uint32_t i = 0; i < spread->visited_count; i++) {
        uint32_t place = spread->visited[i];
        if (i + AHEAD < spread->visited_count)
            node_expect(self, spread->visited[i + AHEAD]);
        double hit = hit_of(self, place);
        self->scratch->hits[i] = (float)hit;
        self->scratch->entries[i] = (affected_entry){.probability = hit, .place = place};
    }
    return spread->visited_count;
}

static status_code affected_find(asking *self, impact_message *out, failure *why) {
    affected_entry *entries = self->scratch->entries;
    bool slow = self->question->fault != FAULT_FAILURE;
    uint32_t count = targets_spread(self);
    percentiles_fill(self, out);
    if (slow && !impact_spread_calls(&self->scratch->spread, self->graph->impact))
        return out_of_arena(why);
    self->self_ms = slow ? target_self_ms(self) : 0;
    for (uint32_t i = 0; slow && i < count; i++)
        entry_judge(self, &entries[i]);
    if (slow)
        count = opaque_find(self, entries, count);
    uint32_t likely = 0;
    for (uint32_t i = 0; i < count; i++)
        if (entries[i].probability > PROBABILITY_LEAST)
            entries[likely++] = entries[i];
    size_t kept = likely < IMPACT_AFFECTED_MAX ? likely : IMPACT_AFFECTED_MAX;
    entries_select(self->graph, entries, likely, kept);
    qsort_r(entries, kept, sizeof *entries, affected_compare, (void *)self->graph);
    status_code status = affected_fill(self, entries, kept, out, why);
    return status == STATUS_OK ? touched_fill(self, entries, kept, out, why) : status;
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

status_code impact_ask(const snapshot *graph, const impact_question *question, impact_scratch *scratch,
                       arena *memory, impact_message **out, failure *why) {
    impact_message *message = message_make(memory);
    if (message == NULL || !scratch_grow(scratch, graph))
        return out_of_arena(why);
    scratch_next_stamp(scratch);
    reach_sums sums = reach_measure(graph, question->targets, question->count, scratch);
    asking self = {.graph = graph, .question = question, .scratch = scratch, .memory = memory};
    self.measured = share_fill(graph, question->targets, question->count, &sums, memory, message);
    message->observed_requests = graph->entry_requests;
    if (message->caveat == NULL)
        return out_of_arena(why);
    status_code status = affected_find(&self, message, why);
    if (status == STATUS_OK)
        *out = message;
    return status;
}

status_code impact_of(const snapshot *graph, const uint32_t *targets, size_t count, impact_scratch *scratch,
                      arena *memory, impact_message **out, failure *why) {
    impact_question question = {
        .targets = targets, .count = count, .verb = PROPAGATION_VERBS - 1, .learnt = &graph->learnt};
    return impact_ask(graph, &question, scratch, memory, out, why);
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

static status_code target_read(const snapshot *graph, char *name, const char *field, target_list *out,
                               failure *why) {
    name_parts parts;
    failure inner = {0};
    if (name_parse(name, &parts, &inner) != STATUS_OK)
        return fail_field(why, field, "BAD_NAME", "%s", inner.message);
    uint32_t number = snapshot_find(graph, name);
    if (out->known_count + out->unknown_count == LIMIT_TARGETS)
        return fail_field(why, field, "BAD_TARGETS", "all actions together may have at most %u targets",
                          LIMIT_TARGETS);
    if (number == MODEL_NONE)
        out->unknown[out->unknown_count++] = name;
    else if (!list_has(out->known, out->known_count, number))
        out->known[out->known_count++] = number;
    return STATUS_OK;
}

static status_code targets_read(const snapshot *graph, const impact_request *request, target_list *out,
                                failure *why) {
    char field[64];
    if (request->n_targets == 0 || request->n_targets > LIMIT_TARGETS)
        return fail_field(why, "targets", "BAD_TARGETS", "state 1 to %u targets, not %zu", LIMIT_TARGETS,
                          request->n_targets);
    status_code status = STATUS_OK;
    for (size_t i = 0; i < request->n_targets && status == STATUS_OK; i++) {
        snprintf(field, sizeof field, "targets[%zu]", i);
        status = target_read(graph, request->targets[i], field, out, why);
    }
    for (size_t i = 0; i < request->n_open && status == STATUS_OK; i++)
        for (size_t j = 0; j < request->open[i]->n_targets && status == STATUS_OK; j++) {
            snprintf(field, sizeof field, "open[%zu].targets[%zu]", i, j);
            status = target_read(graph, request->open[i]->targets[j], field, out, why);
        }
    return status;
}

/* What is asked for, or what the verb suggests. */
static status_code fault_read(const impact_request *request, fault_kind *out, failure *why) {
    switch (request->fault) {
    case INTERLOCK__GRAPH__V1__FAULT__FAULT_UNSPECIFIED:
        *out = propagation_verbs[propagation_verb_find(request->verb)].fault;
        return STATUS_OK;
    case INTERLOCK__GRAPH__V1__FAULT__FAULT_FAILURE:
        *out = FAULT_FAILURE;
        return STATUS_OK;
    case INTERLOCK__GRAPH__V1__FAULT__FAULT_NETWORK_DELAY:
        *out = FAULT_NETWORK;
        return STATUS_OK;
    case INTERLOCK__GRAPH__V1__FAULT__FAULT_PROCESSOR:
        *out = FAULT_PROCESSOR;
        return STATUS_OK;
    case INTERLOCK__GRAPH__V1__FAULT__FAULT_LATENCY:
        *out = FAULT_SLOW_CODE;
        return STATUS_OK;
    default:
        return fail_field(why, "fault", "BAD_FAULT", "%d is no kind of fault", (int)request->fault);
    }
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
    out->impact->traffic_p50 = out->impact->traffic_p95 = out->impact->traffic_p99 = 1;
    out->impact->caveat = arena_format(memory, "the graph has never seen %s", list->unknown[0]);
    return out->impact->caveat == NULL ? out_of_arena(why) : STATUS_OK;
}

bool impact_asks_for_slowness(const impact_request *request) {
    fault_kind fault = FAULT_FAILURE;
    failure why = {0};
    return fault_read(request, &fault, &why) == STATUS_OK && fault != FAULT_FAILURE;
}

status_code impact_predict(const snapshot *graph, const impact_request *request,
                           const propagation_learnt *learnt, const impact_normal *normal,
                           impact_scratch *scratch, arena *memory, impact_response *out, failure *why) {
    target_list list = {0};
    impact_message *message = NULL;
    impact_question question = {.targets = list.known,
                                .verb = propagation_verb_find(request->verb),
                                .learnt = learnt,
                                .normal = normal};
    status_code status = fault_read(request, &question.fault, why);
    if (status == STATUS_OK)
        status = targets_read(graph, request, &list, why);
    question.count = list.known_count;
    if (status == STATUS_OK && list.known_count > 0)
        status = impact_ask(graph, &question, scratch, memory, &message, why);
    if (status != STATUS_OK)
        return status;
    out->impact = message;
    out->revision = graph->revision;
    out->as_of_ms = graph->as_of_ms;
    if (list.unknown_count > 0)
        return impact_unknown(&list, memory, out, why);
    return STATUS_OK;
}
