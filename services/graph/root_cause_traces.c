/* Which traces are compared, and their invocations with features: what a service did in one request.
 *
 * Errors that are always there say nothing: a trace with an exception that also occurs in the normal period
 * is left out on both sides. */
#include <stdlib.h>

#include "root_cause_internal.h"

typedef struct pair {
    uint32_t invocation;
    feature what;
} pair;

enum { PERIOD_NONE, PERIOD_NORMAL, PERIOD_WINDOW };

static uint8_t period_of(const work *self, const evidence_trace *trace) {
    int64_t ms = trace->start_us / 1000;
    const root_cause_question *question = self->question;
    if (ms > question->to_ms || ms < question->normal_from_ms || trace->span_count == 0)
        return PERIOD_NONE;
    if (ms >= question->from_ms)
        return PERIOD_WINDOW;
    int64_t guard_ms = (int64_t)(self->parameters->guard_s * 1000);
    return ms < question->from_ms - guard_ms ? PERIOD_NORMAL : PERIOD_NONE;
}

static void normal_errors_collect(work *self) {
    for (uint32_t i = 0; i < self->from->trace_count; i++) {
        const evidence_trace *trace = &self->from->traces[i];
        self->period[i] = period_of(self, trace);
        for (uint32_t r = 0; self->period[i] == PERIOD_NORMAL && r < trace->record_count; r++) {
            uint32_t error = self->from->records[trace->first_record + r].error;
            if (error != EVIDENCE_NONE)
                key_map_add(&self->normal_errors, (uint64_t)error + 1, 1);
        }
    }
    self->out_of_memory |= self->normal_errors.failed;
}

static bool trace_is_ambient(const work *self, const evidence_trace *trace) {
    for (uint32_t r = 0; r < trace->record_count; r++) {
        uint32_t error = self->from->records[trace->first_record + r].error;
        if (error != EVIDENCE_NONE && self->from->errors[error].exception &&
            key_map_find(&self->normal_errors, (uint64_t)error + 1) != KEY_MAP_NONE)
            return true;
    }
    return false;
}

/* The first span of the invocation that a span belongs to. */
static uint32_t entry_of(const work *self, const evidence_trace *trace, uint32_t at) {
    uint32_t service = span_service(self, trace->first_span + at);
    for (uint32_t steps = 0; steps < CLIMB_MAX; steps++) {
        int32_t parent = span_at(self, trace->first_span + at)->parent;
        if (parent < 0 || span_service(self, trace->first_span + (uint32_t)parent) != service)
            break;
        at = (uint32_t)parent;
    }
    return trace->first_span + at;
}

static uint32_t invocation_make(work *self, uint32_t trace_index, uint32_t entry) {
    const evidence_trace *trace = &self->from->traces[trace_index];
    const evidence_span *span = span_at(self, entry);
    uint32_t index = self->invocations.count;
    invocation *made = list_add(&self->invocations);
    *made = (invocation){.trace = trace_index,
                         .operation = span->operation,
                         .service = span_service(self, entry),
                         .entry = entry,
                         .caller = NO_INVOCATION,
                         .first_callee = NO_INVOCATION,
                         .next_callee = NO_INVOCATION,
                         .start_us = trace->start_us + span->start_us,
                         .end_us = trace->start_us + span->start_us + span->duration_us,
                         .orphan = span->parent == EVIDENCE_ORPHAN,
                         .window = self->period[trace_index] == PERIOD_WINDOW};
    made->late = made->window && made->start_us >= self->late_trace_us;
    return self->invocations.failed ? 0 : index;
}

static void invocations_of_trace(work *self, uint32_t trace_index) {
    const evidence_trace *trace = &self->from->traces[trace_index];
    for (uint32_t i = 0; i < trace->span_count; i++) {
        uint32_t entry = entry_of(self, trace, i);
        if (self->of_span[entry] == NO_INVOCATION)
            self->of_span[entry] = invocation_make(self, trace_index, entry);
        self->of_span[trace->first_span + i] = self->of_span[entry];
    }
}

static void pair_add(list *pairs, uint32_t of, feature what) {
    pair *made = list_add(pairs);
    *made = (pair){.invocation = of, .what = what};
}

static void pairs_of_trace(work *self, uint32_t trace_index, list *pairs) {
    const evidence_trace *trace = &self->from->traces[trace_index];
    for (uint32_t i = 0; i < trace->span_count; i++) {
        uint32_t index = trace->first_span + i;
        uint32_t mine = self->of_span[index];
        invocation *own = invocation_at(self, mine);
        const evidence_span *span = span_at(self, index);
        if (own->entry != index) {
            pair_add(pairs, mine, FEATURE(FEATURE_LOCAL, span->operation));
        } else if (span->parent >= 0) {
            own->caller = self->of_span[trace->first_span + (uint32_t)span->parent];
            invocation *caller = invocation_at(self, own->caller);
            own->next_callee = caller->first_callee;
            caller->first_callee = mine;
            pair_add(pairs, own->caller, FEATURE(FEATURE_REMOTE, span->operation));
        }
    }
    for (uint32_t i = 0; i < trace->record_count; i++) {
        const evidence_record *record = &self->from->records[trace->first_record + i];
        pair_add(pairs, self->of_span[trace->first_span + record->span],
                 FEATURE(FEATURE_PATTERN, record->pattern));
    }
}

static int pair_order(const void *a, const void *b) {
    const pair *left = a;
    const pair *right = b;
    if (left->invocation != right->invocation)
        return left->invocation < right->invocation ? -1 : 1;
    return left->what < right->what ? -1 : left->what > right->what;
}

static void features_of_trace(work *self, list *pairs) {
    if (pairs->count > 1)
        qsort(pairs->items, pairs->count, sizeof(pair), pair_order);
    for (uint32_t i = 0; i < pairs->count;) {
        const pair *first = list_at(pairs, i);
        uint32_t same = 0;
        while (i < pairs->count && pair_order(list_at(pairs, i), first) == 0) {
            same++;
            i++;
        }
        invocation *own = invocation_at(self, first->invocation);
        if (own->feature_count++ == 0)
            own->first_feature = self->features.count;
        feature *made = list_add(&self->features);
        *made = first->what | (same > 3 ? 3 : same);
        if (FEATURE_KIND(first->what) != FEATURE_PATTERN)
            own->signature += mix64(first->what, 1);
    }
}

void traces_prepare(work *self) {
    normal_errors_collect(self);
    list pairs;
    list_init(&pairs, sizeof(pair));
    for (uint32_t i = 0; i < self->from->trace_count; i++) {
        if (self->period[i] != PERIOD_NONE && trace_is_ambient(self, &self->from->traces[i])) {
            self->period[i] = PERIOD_NONE;
            self->ambient_traces++;
        }
        if (self->period[i] == PERIOD_NONE)
            continue;
        self->normal_traces += self->period[i] == PERIOD_NORMAL;
        self->window_traces += self->period[i] == PERIOD_WINDOW;
        invocations_of_trace(self, i);
        if (self->invocations.failed)
            break;
        pairs.count = 0;
        pairs_of_trace(self, i, &pairs);
        features_of_trace(self, &pairs);
    }
    self->out_of_memory |= self->invocations.failed || self->features.failed || pairs.failed;
    list_free(&pairs);
}
