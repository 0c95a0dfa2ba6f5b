/* The chain of a hypothesis: the way from the cause up its callers to the symptom, what shows at each hop,
 * and what speaks against it. Texts are for people; numbers in them are rounded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root_cause_internal.h"

#define SHOWN_BYTES 80 /* of a pattern or an operation */
#define AGAINST_MAX 4U
#define SKEW_MS                                                                                              \
    2000 /* a cause may seem to come this much after its symptom: clocks and rows of metrics differ */

/* ---- The way up
 * -------------------------------------------------------------------------------------------------------- */

typedef struct way {
    uint32_t services[ROOT_CAUSE_HOPS_MAX];
    size_t count;
} way;

static bool way_has(const way *self, uint32_t service) {
    for (size_t i = 0; i < self->count; i++) {
        if (self->services[i] == service)
            return true;
    }
    return false;
}

static void way_add(way *self, uint32_t service) {
    if (self->count < ROOT_CAUSE_HOPS_MAX && !way_has(self, service))
        self->services[self->count++] = service;
}

/* The services above an invocation, itself first, up to the symptom. */
static void way_of_invocation(const work *self, const invocation *one, way *out) {
    out->count = 0;
    way_add(out, one->service);
    uint32_t at = one->caller;
    for (uint32_t steps = 0; at != NO_INVOCATION && steps < CLIMB_MAX; steps++) {
        if (out->services[out->count - 1] == self->question->symptom)
            return;
        const invocation *above = invocation_at(self, at);
        way_add(out, above->service);
        at = above->caller;
    }
}

/* The operation in which the cause's own time grew most; EVIDENCE_NONE. */
static uint32_t slow_operation(const work *self, uint32_t service) {
    const timing_finding *best = NULL;
    for (uint32_t i = 0; i < self->timing_findings.count; i++) {
        const timing_finding *it = list_at(&self->timing_findings, i);
        if (it->service == service && (best == NULL || it->shift > best->shift))
            best = it;
    }
    return best == NULL ? EVIDENCE_NONE : best->operation;
}

static bool invocation_has_operation(const work *self, const invocation *one, uint32_t operation) {
    if (operation == EVIDENCE_NONE || one->operation == operation)
        return operation != EVIDENCE_NONE;
    for (uint32_t i = 0; i < one->feature_count; i++) {
        feature what = *(const feature *)list_at(&self->features, one->first_feature + i);
        if (FEATURE_PLAIN(what) == FEATURE(FEATURE_LOCAL, operation))
            return true;
    }
    return false;
}

/* How well an invocation shows the fault: those over the gap that opened most or with the operation that
 * takes longer, then those that are altered. */
static int invocation_shows(const work *self, const invocation *one, const gap_edge *worst, uint32_t slow) {
    if (one->late && invocation_has_operation(self, one, slow))
        return 3;
    if (worst != NULL && one->caller != NO_INVOCATION &&
        invocation_at(self, one->caller)->service == worst->from)
        return 3;
    if (one->new_error || one->altered)
        return worst != NULL ? 1 : 2;
    return one->late ? 1 : 0;
}

static const gap_edge *worst_gap_into(const work *self, uint32_t service) {
    const gap_edge *worst = NULL;
    for (uint32_t i = 0; i < self->gap_edges.count; i++) {
        const gap_edge *edge = list_at(&self->gap_edges, i);
        if (edge->to == service && edge->anomaly > 0 && (worst == NULL || edge->anomaly > worst->anomaly))
            worst = edge;
    }
    return worst;
}

typedef struct way_count {
    uint32_t example, count;
} way_count;

/* The way that most of the invocations take that show the fault best. */
static bool way_from_traces(const work *self, const root_cause_hypothesis *of, way *out) {
    const gap_edge *worst =
        of->channels[CLUE_NETWORK] >= of->channels[CLUE_STRUCTURE] && of->channels[CLUE_NETWORK] > 0
            ? worst_gap_into(self, of->service)
            : NULL;
    bool slower = of->channels[CLUE_SELF_TIME] > of->channels[CLUE_STRUCTURE] &&
                  of->channels[CLUE_SELF_TIME] > of->channels[CLUE_NETWORK];
    uint32_t slow = slower ? slow_operation(self, of->service) : EVIDENCE_NONE;
    key_map by_way = {0};
    list ways;
    list_init(&ways, sizeof(way_count));
    int best_shows = -1;
    const way_count *best = NULL;
    for (int shows = 3; shows >= 0 && best_shows < 0; shows--) {
        for (uint32_t i = 0; i < self->invocations.count; i++) {
            const invocation *one = invocation_at(self, i);
            if (!one->window || one->service != of->service ||
                invocation_shows(self, one, worst, slow) != shows)
                continue;
            way found;
            way_of_invocation(self, one, &found);
            uint64_t key = 5;
            for (size_t k = 0; k < found.count; k++)
                key = mix64(key, found.services[k]);
            uint32_t at = key_map_add(&by_way, key, ways.count);
            way_count *it = at < ways.count ? list_at(&ways, at) : list_add(&ways);
            it->example = it->count++ == 0 ? i : it->example;
            best_shows = shows;
        }
    }
    for (uint32_t i = 0; i < ways.count; i++) {
        const way_count *it = list_at(&ways, i);
        best = best == NULL || it->count > best->count ? it : best;
    }
    if (best != NULL)
        way_of_invocation(self, invocation_at(self, best->example), out);
    list_free(&ways);
    key_map_free(&by_way);
    return best != NULL;
}

static double hit_share(const work *self, uint32_t service) {
    double most = 0;
    for (uint32_t i = 0; i < self->flow_findings.count; i++) {
        const flow_finding *it = list_at(&self->flow_findings, i);
        if (it->service == service)
            most = fmax(most, fmin(1, it->raw));
    }
    return most;
}

/* The cheapest way up the known calls, where nodes that are hit are cheaper to pass. */
static void way_from_edges(const work *self, uint32_t cause, way *out) {
    uint32_t services = self->from->service_count;
    uint32_t symptom = self->question->symptom;
    double *cost = malloc((services + 1U) * sizeof *cost);
    uint32_t *next = malloc((services + 1U) * sizeof *next);
    out->count = 0;
    way_add(out, cause);
    if (cost != NULL && next != NULL) {
        for (uint32_t s = 0; s < services; s++) {
            cost[s] = s == cause ? 0 : INFINITY;
            next[s] = EVIDENCE_NONE;
        }
        bool changed = true;
        for (uint32_t rounds = 0; changed && rounds < ROOT_CAUSE_HOPS_MAX; rounds++) {
            changed = false;
            for (uint32_t i = 0; i < self->from->edge_count; i++) {
                const evidence_edge *edge = &self->from->edges[i];
                double through = cost[edge->to] + 2 - hit_share(self, edge->from);
                if (through < cost[edge->from] - 1e-9) {
                    cost[edge->from] = through;
                    next[edge->from] = edge->to;
                    changed = true;
                }
            }
        }
        if (symptom == EVIDENCE_NONE || isinf(cost[symptom])) {
            /* The front: of the nodes above that nobody calls, the one that is reached most cheaply. */
            for (uint32_t s = 0; s < services; s++) {
                bool front = isfinite(cost[s]) && s != cause;
                for (uint32_t i = 0; front && i < self->from->edge_count; i++)
                    front = self->from->edges[i].to != s;
                if (front && (symptom == EVIDENCE_NONE || isinf(cost[symptom]) || cost[s] < cost[symptom]))
                    symptom = s;
            }
        }
        way down = {0};
        for (uint32_t at = symptom; at != EVIDENCE_NONE && isfinite(cost[at]) && !way_has(&down, at);
             at = next[at])
            way_add(&down, at);
        for (size_t i = down.count; i-- > 0;)
            way_add(out, down.services[i]);
    }
    free(cost);
    free(next);
}

/* ---- Clues in words
 * ---------------------------------------------------------------------------------------------------- */

static const char *plain_name(const work *self, uint32_t service) {
    const char *slash = strrchr(self->from->services[service], '/');
    return slash == NULL ? self->from->services[service] : slash + 1;
}

static void clue_add(root_cause_hop *hop, clue_kind kind, double strength, int64_t at_ms, const char *text) {
    if (text == NULL || hop->clue_count == ROOT_CAUSE_CLUES_MAX)
        return;
    hop->clues[hop->clue_count++] =
        (root_cause_clue){.kind = kind, .strength = strength, .text = text, .at_ms = at_ms};
}

static const char *feature_text(const work *self, const structure_finding *it, arena *memory) {
    uint32_t number = FEATURE_NUMBER(it->what);
    const char *more = FEATURE_COUNT(it->what) == 2   ? " a second time"
                       : FEATURE_COUNT(it->what) == 3 ? " three times"
                                                      : "";
    switch (FEATURE_KIND(it->what)) {
    case FEATURE_LOCAL:
        return arena_format(memory, "its operation %.*s%s", SHOWN_BYTES, self->from->operations[number].name,
                            more);
    case FEATURE_REMOTE:
        return arena_format(memory, "the call of %s %.*s%s",
                            plain_name(self, self->from->operations[number].service), SHOWN_BYTES,
                            self->from->operations[number].name, more);
    default:
        return arena_format(memory, "the log record \"%.*s\"%s", SHOWN_BYTES, self->from->patterns[number],
                            more);
    }
}

static const char *structure_text(const work *self, const structure_finding *it, arena *memory) {
    const char *what = feature_text(self, it, memory);
    const char *operation = self->from->operations[it->operation].name;
    if (what == NULL)
        return NULL;
    const char *caller = it->caller_operation == EVIDENCE_NONE
                             ? ""
                             : plain_name(self, self->from->operations[it->caller_operation].service);
    return arena_format(memory, "%s%s in %u of %u requests of %.*s%s%s; normally in %u of %u",
                        it->unseen ? "unlike any request before, with " : "", what, it->window_with,
                        it->window_all, SHOWN_BYTES, operation, *caller == '\0' ? "" : " from ", caller,
                        it->normal_with, it->normal_all);
}

#define STRUCTURE_SHOWN 4U

/* The strongest differences of structure; several of one cause look alike, so only a few. */
static void structure_clues(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    double below = INFINITY;
    for (uint32_t shown = 0; shown < STRUCTURE_SHOWN; shown++) {
        const structure_finding *best = NULL;
        for (uint32_t i = 0; i < self->structure_findings.count; i++) {
            const structure_finding *it = list_at(&self->structure_findings, i);
            if (it->service == service && it->value < below && (best == NULL || it->value > best->value))
                best = it;
        }
        if (best == NULL || best->value < 0.05)
            return;
        below = best->value;
        clue_add(hop, CLUE_STRUCTURE, self->parameters->structure * best->value, self->onset_ms[service],
                 structure_text(self, best, memory));
    }
}

static void error_clues(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    const error_finding *best = NULL;
    for (uint32_t i = 0; i < self->error_findings.count; i++) {
        const error_finding *it = list_at(&self->error_findings, i);
        if (it->service == service && (best == NULL || it->traces > best->traces))
            best = it;
    }
    if (best != NULL)
        clue_add(hop, CLUE_ERROR, log1p(best->traces), best->at_ms,
                 arena_format(memory, "an error that was never there: \"%.*s\", %u times", SHOWN_BYTES,
                              self->from->errors[best->error].text, best->traces));
}

static void timing_clues(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    const timing_finding *best = NULL;
    for (uint32_t i = 0; i < self->timing_findings.count; i++) {
        const timing_finding *it = list_at(&self->timing_findings, i);
        if (it->service == service && (best == NULL || it->shift > best->shift))
            best = it;
    }
    if (best != NULL)
        clue_add(hop, CLUE_SELF_TIME, *channel_of(self, service, CLUE_SELF_TIME), self->onset_ms[service],
                 arena_format(memory, "%.*s takes %.1f ms itself; normally %.1f ms", SHOWN_BYTES,
                              self->from->operations[best->operation].name, best->window_ms,
                              best->normal_ms));
}

static void gap_clues(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    for (uint32_t i = 0; i < self->gap_edges.count; i++) {
        const gap_edge *edge = list_at(&self->gap_edges, i);
        if ((edge->from != service && edge->to != service) || edge->anomaly <= 0)
            continue;
        clue_add(hop, CLUE_NETWORK, edge->anomaly, self->onset_ms[service],
                 arena_format(memory,
                              "between %s and %s calls wait %.1f times as long beyond what the callee takes "
                              "(%u calls, %u unanswered)",
                              plain_name(self, edge->from), plain_name(self, edge->to), exp(edge->shift),
                              edge->calls, edge->unanswered));
    }
}

static void metric_clues(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    double below = INFINITY;
    for (uint32_t shown = 0; shown < 3; shown++) {
        const metric_finding *best = NULL;
        for (uint32_t i = 0; i < self->metric_findings.count; i++) {
            const metric_finding *it = list_at(&self->metric_findings, i);
            if (it->service == service && it->value < below && (best == NULL || it->value > best->value))
                best = it;
        }
        if (best == NULL || best->value < 0.1)
            return;
        below = best->value;
        clue_add(hop, CLUE_RESOURCE, best->value, best->at_ms,
                 arena_format(memory, "%.*s went from %.4g to %.4g (%.0f deviations)", SHOWN_BYTES,
                              self->from->series[best->series].metric, best->before, best->after,
                              fmin(best->deviations, 999)));
    }
}

static void flow_clues(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    for (uint32_t i = 0; i < self->flow_findings.count; i++) {
        const flow_finding *it = list_at(&self->flow_findings, i);
        if (it->service != service)
            continue;
        const char *what = it->kind == SYMPTOM_LATENCY ? "latency" : "errors";
        bool own = it->share >= 0.1;
        clue_add(
            hop, own ? CLUE_FLOW : CLUE_SYMPTOM, own ? self->parameters->flow * it->share : 0, 0,
            own ? arena_format(memory, "explains %.0f %% of the rise of %s at the symptom by itself",
                               100 * it->share, what)
                : arena_format(memory, "passes %.0f %% of the rise of %s on", 100 * fmin(1, it->raw), what));
    }
}

static void level_clue(const work *self, uint32_t service, root_cause_hop *hop, arena *memory) {
    double level = *channel_of(self, service, CLUE_LEVEL);
    if (level > 0)
        clue_add(hop, CLUE_LEVEL, level, 0,
                 arena_format(memory, "latency or missing calls that its callees do not explain: %.1f times",
                              exp(level)));
}

static void change_clue(const work *self, uint32_t change, root_cause_hop *hop, double strength,
                        arena *memory) {
    static const char *const words[CHANGE_KINDS] = {"deployed", "configured", "flag switched"};
    const evidence_change *it = &self->from->changes[change];
    clue_add(hop, CLUE_CHANGE, strength, it->time_ms,
             arena_format(memory, "%s before: %s", words[it->kind], it->name));
}

/* Invocations of the window that an altered one below explains. */
static void symptom_clue(const work *self, uint32_t service, uint32_t below, root_cause_hop *hop,
                         arena *memory) {
    uint32_t all = 0;
    uint32_t hit = 0;
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        const invocation *one = invocation_at(self, i);
        if (!one->window || one->service != service)
            continue;
        all++;
        hit += one->explained;
    }
    if (hit > 0)
        clue_add(hop, CLUE_SYMPTOM, 0, self->onset_ms[service],
                 arena_format(memory, "%u of its %u requests depend on altered ones below", hit, all));
    else
        clue_add(hop, CLUE_SYMPTOM, 0, self->onset_ms[service],
                 arena_format(memory, "it calls %s", plain_name(self, below)));
}

static bool hop_fill(const work *self, const root_cause_hypothesis *of, const way *path, size_t at,
                     arena *memory, root_cause_hop *out) {
    uint32_t service = path->services[at];
    *out = (root_cause_hop){.service = service, .at_ms = self->onset_ms[service]};
    out->clues = arena_zero(memory, ROOT_CAUSE_CLUES_MAX, sizeof *out->clues);
    if (out->clues == NULL)
        return false;
    if (at == 0 && of->change != EVIDENCE_NONE)
        change_clue(self, of->change, out, of->channels[CLUE_CHANGE], memory);
    if (at > 0)
        symptom_clue(self, service, path->services[at - 1], out, memory);
    flow_clues(self, service, out, memory);
    structure_clues(self, service, out, memory);
    error_clues(self, service, out, memory);
    metric_clues(self, service, out, memory);
    timing_clues(self, service, out, memory);
    level_clue(self, service, out, memory);
    gap_clues(self, service, out, memory);
    return true;
}

/* ---- What speaks against it
 * --------------------------------------------------------------------------------------------- */

static void against_add(root_cause_hypothesis *of, const char *text) {
    if (text != NULL && of->against_count < AGAINST_MAX)
        of->against[of->against_count++] = text;
}

static void against_others(const work *self, root_cause_hypothesis *of, const way *path, arena *memory) {
    uint32_t other = EVIDENCE_NONE;
    for (uint32_t s = 0; s < self->from->service_count; s++) {
        if (s != of->service && !way_has(path, s) && self->score[s] >= self->parameters->enough &&
            (other == EVIDENCE_NONE || self->score[s] > self->score[other]))
            other = s;
    }
    if (other != EVIDENCE_NONE && self->score[other] > 0.3 * of->score)
        against_add(of, arena_format(memory, "it does not explain what shows at %s (%.1f against %.1f)",
                                     plain_name(self, other), self->score[other], of->score));
}

static void against_order(const work *self, root_cause_hypothesis *of, const way *path, arena *memory) {
    int64_t own = self->onset_ms[of->service];
    for (size_t i = 1; i < path->count; i++) {
        int64_t above = self->onset_ms[path->services[i]];
        if (own == 0 || above == 0 || above + SKEW_MS >= own)
            continue;
        against_add(of, arena_format(memory, "its first sign is %.0f s after that of %s",
                                     (double)(own - above) / 1000, plain_name(self, path->services[i])));
        return;
    }
}

static void against_changes(const work *self, root_cause_hypothesis *of, arena *memory) {
    for (uint32_t i = 0; i < self->from->change_count; i++) {
        const evidence_change *it = &self->from->changes[i];
        if (it->service == of->service && of->change == EVIDENCE_NONE &&
            it->time_ms > self->onset_ms[of->service] && self->onset_ms[of->service] > 0) {
            against_add(of,
                        arena_format(memory, "%s came after its first sign, so it is innocent", it->name));
            return;
        }
    }
}

static void against_silence(const work *self, root_cause_hypothesis *of, arena *memory) {
    uint32_t metrics = 0;
    for (uint32_t i = 0; i < self->metric_findings.count; i++)
        metrics += ((const metric_finding *)list_at(&self->metric_findings, i))->service == of->service;
    if (metrics >= 3 && of->channels[CLUE_RESOURCE] < 0.1)
        against_add(of, arena_format(memory, "none of its %u metrics moved", metrics));
}

bool hypothesis_explain(const work *self, root_cause_hypothesis *what, arena *memory) {
    way path = {0};
    if (!way_from_traces(self, what, &path) || (path.count == 1 && self->window_traces == 0))
        way_from_edges(self, what->service, &path);
    what->hops = arena_zero(memory, path.count, sizeof *what->hops);
    what->against = arena_zero(memory, AGAINST_MAX, sizeof *what->against);
    if (what->hops == NULL || what->against == NULL)
        return false;
    for (size_t i = 0; i < path.count; i++) {
        if (!hop_fill(self, what, &path, i, memory, &what->hops[i]))
            return false;
    }
    what->hop_count = path.count;
    against_others(self, what, &path, memory);
    against_order(self, what, &path, memory);
    against_changes(self, what, memory);
    against_silence(self, what, memory);
    return true;
}
