/* The engine: gathers the kinds of evidence, ranks the nodes, says how sure it is, or abstains. */
#include "root_cause.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root_cause_internal.h"

const root_cause_parameters root_cause_defaults = {
    .guard_s = 60,           /* alerts look at whole minutes */
    .time_floor_ms = 1,      /* spans are timed to about a millisecond across hosts */
    .time_hinge = 0.5,       /* a load that differs by half changes latencies by as much */
    .late = 0.5,             /* a fault is found within the first half of the window it is opened with */
    .prior = 0.05,           /* U-shaped: an operation is nearly always called, or nearly never */
    .evidence_least = 1,     /* e to 1: "worth a mention" */
    .evidence_full = 5,      /* e to 5: "very strong" on the usual scale */
    .correlation = 0.02,     /* effective sample size stops near 50 */
    .sometimes = 0.5,        /* rates of optional things drift by themselves */
    .least = 4,              /* with three, one odd request decides */
    .structure = 3,          /* e^3: outweighs a doubling of any level, not a twentyfold one */
    .callee_share = 0.25,    /* a quarter of the altered requests end there */
    .callee_part = 0.4,      /* one caller's word: less than a half, so that the caller stays first */
    .metric_floor = 0.02,    /* 2 % of the busiest node's level is idle */
    .metric_noise = 3,       /* three deviations */
    .metric_fall = 0.5,      /* work that stays away is mostly a symptom */
    .recent_s = 1200,        /* long enough for a median, short enough for a deploy before it to show */
    .metric_level = 0.01,    /* a percent: counters jitter */
    .flow_other = 0.15,      /* faults that show as latency cause some errors too, and the reverse */
    .flow_queue = 0.25,      /* a queue holds back all but the longest faults */
    .flow = 3,               /* the whole rise explained: as much as a full change of structure */
    .change_before_s = 1800, /* most faulty changes show within half an hour */
    .change = 0.5,           /* half as much again */
    .enough = 0.4,           /* less than a rise by a half anywhere: noise */
    .certain = 2,
    .doubt = 0.35,
};

const char *cause_kind_word(cause_kind kind) {
    static const char *const words[CAUSE_KINDS] = {"unknown", "deploy",     "config",     "resource",
                                                   "network", "code fault", "dependency", "saturation"};
    return kind < CAUSE_KINDS ? words[kind] : "unknown";
}

const char *clue_kind_word(clue_kind kind) {
    static const char *const words[CLUE_KINDS] = {"resource", "self time", "network", "structure", "error",
                                                  "flow",     "level",     "change",  "symptom"};
    return kind < CLUE_KINDS ? words[kind] : "unknown";
}

/* ---- Ranking
 * ----------------------------------------------------------------------------------------------------------
 */

static void channels_sum(work *self) {
    for (uint32_t s = 0; s < self->from->service_count; s++) {
        self->score[s] = 0;
        for (uint32_t kind = 0; kind < CLUE_KINDS; kind++)
            self->score[s] += *channel_of(self, s, (clue_kind)kind);
    }
}

static void metric_onsets(work *self) {
    for (uint32_t i = 0; i < self->metric_findings.count; i++) {
        const metric_finding *it = list_at(&self->metric_findings, i);
        if (it->value >= self->parameters->enough)
            onset_note(self, it->service, it->at_ms);
    }
}

static void evidence_gather(work *self) {
    traces_prepare(self);
    if (self->window_traces > 0 && self->normal_traces > 0 && !self->out_of_memory) {
        structure_compare(self);
        timing_compare(self);
    }
    resources_compare(self);
    flow_compare(self);
    levels_compare(self);
    metric_onsets(self);
    channels_sum(self);
    changes_compare(self);
    channels_sum(self);
}

typedef struct ranked {
    uint32_t service;
    double score;
} ranked;

static int ranked_order(const void *a, const void *b) {
    const ranked *left = a;
    const ranked *right = b;
    if (left->score != right->score)
        return left->score > right->score ? -1 : 1;
    return left->service < right->service ? -1 : left->service > right->service;
}

/* Of the scores, to a power, with a place for what was not seen. */
static double probability_of(const work *self, double score, double all) {
    double certain = self->parameters->certain;
    return pow(score, certain) / (all + pow(self->parameters->doubt, certain));
}

static cause_kind kind_of_resource(const work *self, uint32_t service) {
    const metric_finding *best = NULL;
    for (uint32_t i = 0; i < self->metric_findings.count; i++) {
        const metric_finding *it = list_at(&self->metric_findings, i);
        if (it->service == service && (best == NULL || it->value > best->value))
            best = it;
    }
    bool full = best != NULL && self->from->series[best->series].kind == METRIC_SATURATION;
    return full ? CAUSE_SATURATION : CAUSE_RESOURCE;
}

static bool is_service(const work *self, uint32_t service) {
    return strncmp(self->from->services[service], "service:", 8) == 0;
}

/* The kind of the strongest evidence; a change that came before explains all of them. */
static cause_kind kind_of_cause(const work *self, const root_cause_hypothesis *of) {
    if (of->change != EVIDENCE_NONE)
        return self->from->changes[of->change].kind == CHANGE_DEPLOY ? CAUSE_DEPLOY : CAUSE_CONFIG;
    clue_kind best = CLUE_RESOURCE;
    for (uint32_t kind = 0; kind < CLUE_CHANGE; kind++) {
        if (of->channels[kind] > of->channels[best])
            best = (clue_kind)kind;
    }
    if (!is_service(self, of->service))
        return best == CLUE_NETWORK ? CAUSE_NETWORK : CAUSE_DEPENDENCY;
    switch (best) {
    case CLUE_RESOURCE:
        return kind_of_resource(self, of->service);
    case CLUE_NETWORK:
        return CAUSE_NETWORK;
    case CLUE_STRUCTURE:
    case CLUE_ERROR:
        return CAUSE_CODE;
    case CLUE_SELF_TIME:
    case CLUE_LEVEL:
        return CAUSE_RESOURCE;
    default:
        return self->question->kind == SYMPTOM_AVAILABILITY ? CAUSE_CODE : CAUSE_RESOURCE;
    }
}

static bool hypothesis_fill(work *self, const ranked *from, double all, arena *memory,
                            root_cause_hypothesis *out) {
    *out = (root_cause_hypothesis){.service = from->service, .score = from->score};
    memcpy(out->channels, &self->channels[(size_t)from->service * CLUE_KINDS], sizeof out->channels);
    out->change = out->channels[CLUE_CHANGE] > 0 ? change_of(self, from->service) : EVIDENCE_NONE;
    out->kind = kind_of_cause(self, out);
    out->probability = probability_of(self, from->score, all);
    return hypothesis_explain(self, out, memory);
}

/* ---- What is missing
 * ---------------------------------------------------------------------------------------------------- */

#define MISSING_MAX 8U

static void missing_add(root_cause_answer *out, const char *text) {
    if (out->missing_count < MISSING_MAX)
        out->missing[out->missing_count++] = text;
}

static bool series_cover(const work *self, int64_t from_ms, int64_t to_ms) {
    for (uint32_t i = 0; i < self->from->series_count; i++) {
        const evidence_series *series = &self->from->series[i];
        for (uint32_t k = 0; k < series->count; k++) {
            if (series->points[k].time_ms >= from_ms && series->points[k].time_ms < to_ms)
                return true;
        }
    }
    return false;
}

static bool missing_tell(const work *self, arena *memory, root_cause_answer *out) {
    out->missing = arena_zero(memory, MISSING_MAX, sizeof *out->missing);
    if (out->missing == NULL)
        return false;
    const root_cause_question *question = self->question;
    bool metrics_before = series_cover(self, question->normal_from_ms, question->from_ms);
    bool metrics_in = series_cover(self, question->from_ms, question->to_ms + 1);
    if (self->window_traces == 0)
        missing_add(out, "traces within the window");
    if (self->normal_traces == 0)
        missing_add(out, "traces of a normal period before the window");
    if (!metrics_in)
        missing_add(out, "metrics within the window");
    if (!metrics_before)
        missing_add(out, "metrics of a normal period before the window");
    if (self->from->edge_count == 0)
        missing_add(out, "calls between the nodes: traces, or declared edges");
    if (out->abstained && out->missing_count == 0)
        missing_add(out, "anything anomalous: nothing differs from the normal period by more than noise");
    return true;
}

/* ---- The question
 * ------------------------------------------------------------------------------------------------------ */

/* Telemetry may end before the window does: the late part is that of what was seen. */
static int64_t last_trace_us(const work *self) {
    int64_t last = 0;
    for (uint32_t t = 0; t < self->from->trace_count; t++) {
        int64_t start_us = self->from->traces[t].start_us;
        if (start_us <= self->question->to_ms * 1000 && start_us > last)
            last = start_us;
    }
    return last;
}

static int64_t late_begins_us(const work *self, int64_t end_us) {
    int64_t from_us = self->question->from_ms * 1000;
    return from_us + (int64_t)(self->parameters->late * (double)(end_us > from_us ? end_us - from_us : 0));
}

static bool work_init(work *self) {
    uint32_t services = self->from->service_count;
    size_t spans = 1;
    for (uint32_t t = 0; t < self->from->trace_count; t++) {
        size_t end = (size_t)self->from->traces[t].first_span + self->from->traces[t].span_count;
        spans = end > spans ? end : spans;
    }
    list_init(&self->invocations, sizeof(invocation));
    list_init(&self->features, sizeof(feature));
    list_init(&self->structure_findings, sizeof(structure_finding));
    list_init(&self->gap_edges, sizeof(gap_edge));
    list_init(&self->timing_findings, sizeof(timing_finding));
    list_init(&self->metric_findings, sizeof(metric_finding));
    list_init(&self->error_findings, sizeof(error_finding));
    list_init(&self->flow_findings, sizeof(flow_finding));
    group_table_init(&self->normal);
    group_table_init(&self->window);
    self->of_span = malloc(spans * sizeof *self->of_span);
    self->period = calloc(self->from->trace_count + 1U, sizeof *self->period);
    self->score = calloc(services + 1U, sizeof *self->score);
    self->channels = calloc((size_t)services * CLUE_KINDS + 1, sizeof *self->channels);
    self->onset_ms = calloc(services + 1U, sizeof *self->onset_ms);
    if (self->of_span == NULL || self->period == NULL || self->score == NULL || self->channels == NULL ||
        self->onset_ms == NULL)
        return false;
    memset(self->of_span, 0xff, spans * sizeof *self->of_span);
    self->late_us = late_begins_us(self, self->question->to_ms * 1000);
    self->late_trace_us = late_begins_us(self, last_trace_us(self));
    return true;
}

static void work_free(work *self) {
    list_free(&self->invocations);
    list_free(&self->features);
    list_free(&self->structure_findings);
    list_free(&self->gap_edges);
    list_free(&self->timing_findings);
    list_free(&self->metric_findings);
    list_free(&self->error_findings);
    list_free(&self->flow_findings);
    group_table_free(&self->normal);
    group_table_free(&self->window);
    key_map_free(&self->normal_errors);
    free(self->of_span);
    free(self->period);
    free(self->score);
    free(self->channels);
    free(self->onset_ms);
}

static status_code question_check(const evidence *from, const root_cause_question *question, failure *why) {
    if (question->from_ms <= 0 || question->to_ms <= question->from_ms ||
        question->to_ms - question->from_ms > ROOT_CAUSE_WINDOW_MAX_MS ||
        question->normal_from_ms > question->from_ms || question->normal_from_ms < 0)
        return fail_field(why, "window", "BAD_WINDOW",
                          "the window must begin before it ends, last a day at most, and come after the "
                          "normal period begins");
    if (question->symptom != EVIDENCE_NONE && question->symptom >= from->service_count)
        return fail_field(why, "symptom", "UNKNOWN_SYMPTOM", "the graph does not know this node");
    return STATUS_OK;
}

/* The first sign at the symptom, or anywhere. */
static int64_t symptom_onset_ms(const work *self) {
    if (self->question->symptom != EVIDENCE_NONE && self->onset_ms[self->question->symptom] > 0)
        return self->onset_ms[self->question->symptom];
    int64_t first = 0;
    for (uint32_t s = 0; s < self->from->service_count; s++) {
        if (self->onset_ms[s] > 0 && (first == 0 || self->onset_ms[s] < first))
            first = self->onset_ms[s];
    }
    return first;
}

static bool answer_fill(work *self, ranked *order, arena *memory, root_cause_answer *out) {
    const root_cause_parameters *p = self->parameters;
    uint32_t services = self->from->service_count;
    double all = 0;
    for (uint32_t s = 0; s < services; s++) {
        order[s] = (ranked){.service = s, .score = self->score[s]};
        all += self->score[s] > 0 ? pow(self->score[s], p->certain) : 0;
    }
    qsort(order, services, sizeof *order, ranked_order);
    size_t limit = self->question->limit == 0 ? 10 : self->question->limit;
    limit = limit > ROOT_CAUSE_HYPOTHESES_MAX ? ROOT_CAUSE_HYPOTHESES_MAX : limit;
    out->normal_traces = self->normal_traces;
    out->window_traces = self->window_traces;
    out->abstained = services == 0 || order[0].score < p->enough;
    out->onset_ms = out->abstained ? 0 : symptom_onset_ms(self);
    out->hypotheses = arena_zero(memory, limit, sizeof *out->hypotheses);
    if (out->hypotheses == NULL)
        return false;
    /* Below what is enough there are no hypotheses of their own, only company for one that is. */
    for (uint32_t i = 0; i < services && out->count < limit && !out->abstained && order[i].score > 0; i++) {
        if (!hypothesis_fill(self, &order[i], all, memory, &out->hypotheses[out->count]))
            return false;
        out->count++;
    }
    return missing_tell(self, memory, out);
}

status_code root_cause_find(const evidence *from, const root_cause_question *question,
                            const root_cause_parameters *parameters, arena *memory, root_cause_answer *out,
                            failure *why) {
    status_code status = question_check(from, question, why);
    if (status != STATUS_OK)
        return status;
    work self = {.from = from, .question = question, .parameters = parameters};
    root_cause_answer answer = {0};
    ranked *order = calloc(from->service_count + 1U, sizeof *order);
    bool ready = work_init(&self) && order != NULL;
    if (ready)
        evidence_gather(&self);
    if (!ready || self.out_of_memory || !answer_fill(&self, order, memory, &answer))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to look for the cause");
    else
        *out = answer;
    work_free(&self);
    free(order);
    return status;
}
