/* One trace: whose child each span is, and how much of its time is its own. */
#include <stdlib.h>
#include <string.h>

#include "evidence_keep.h"

typedef struct sorted {
    int64_t start_us;
    int32_t parent;
    uint32_t at;
} sorted;

typedef struct place {
    uint64_t span_id;
    uint32_t at;
} place;

static int place_order(const void *a, const void *b) {
    const place *left = a;
    const place *right = b;
    if (left->span_id != right->span_id)
        return left->span_id < right->span_id ? -1 : 1;
    return left->at < right->at ? -1 : left->at > right->at;
}

static int sorted_order(const void *a, const void *b) {
    const sorted *left = a;
    const sorted *right = b;
    if (left->parent != right->parent)
        return left->parent < right->parent ? -1 : 1;
    if (left->start_us != right->start_us)
        return left->start_us < right->start_us ? -1 : 1;
    return left->at < right->at ? -1 : left->at > right->at;
}

static int32_t place_find(const place *places, uint32_t count, uint64_t span_id) {
    uint32_t low = 0;
    for (uint32_t high = count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (places[middle].span_id < span_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && places[low].span_id == span_id ? (int32_t)places[low].at : EVIDENCE_ORPHAN;
}

static void parents_find(const gathered_span *spans, uint32_t count, const place *places,
                         evidence_span *out) {
    for (uint32_t i = 0; i < count; i++) {
        int32_t parent =
            spans[i].parent_id == 0 ? EVIDENCE_ROOT : place_find(places, count, spans[i].parent_id);
        out[i].parent = parent == (int32_t)i ? EVIDENCE_ORPHAN : parent;
    }
}

/* Ids are the sender's word: A below B below A must not make anybody climb forever. */
static void circles_break(evidence_span *out, uint32_t count, uint8_t *seen) {
    enum { NEW, ON_THE_WAY, GOOD };
    memset(seen, NEW, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        while (seen[at] == NEW) {
            seen[at] = ON_THE_WAY;
            if (out[at].parent < 0)
                break;
            if (seen[out[at].parent] == ON_THE_WAY) {
                out[at].parent = EVIDENCE_ORPHAN;
                break;
            }
            at = (uint32_t)out[at].parent;
        }
        for (at = i; seen[at] == ON_THE_WAY;) {
            seen[at] = GOOD;
            if (out[at].parent < 0)
                break;
            at = (uint32_t)out[at].parent;
        }
    }
}

static uint32_t clamped(int64_t value) {
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* Its duration less the time that its children cover together. */
static void selves_find(const gathered_span *spans, uint32_t count, sorted *order, evidence_span *out) {
    for (uint32_t i = 0; i < count; i++)
        order[i] = (sorted){.start_us = spans[i].start_us, .parent = out[i].parent, .at = i};
    qsort(order, count, sizeof *order, sorted_order);
    int32_t parent = EVIDENCE_ROOT;
    int64_t covered_to = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (order[i].parent < 0)
            continue;
        const gathered_span *above = &spans[order[i].parent];
        const gathered_span *span = &spans[order[i].at];
        if (order[i].parent != parent) {
            parent = order[i].parent;
            covered_to = above->start_us;
        }
        int64_t from = span->start_us > covered_to ? span->start_us : covered_to;
        int64_t to = span->start_us + span->duration_us;
        if (to > above->start_us + above->duration_us)
            to = above->start_us + above->duration_us;
        if (to > from) {
            out[parent].self_us = clamped((int64_t)out[parent].self_us - (to - from));
            covered_to = to;
        }
    }
}

/* A datastore sends no spans: what its client waited is its own time, and the client's is not. */
static uint32_t stores_add(const gathered_span *spans, uint32_t count, uint8_t *has_child,
                           evidence_span *out) {
    memset(has_child, 0, count);
    for (uint32_t i = 0; i < count; i++) {
        if (out[i].parent >= 0)
            has_child[out[i].parent] = 1;
    }
    uint32_t made = count;
    for (uint32_t i = 0; i < count; i++) {
        if (spans[i].store_operation == 0 || has_child[i])
            continue;
        out[made] = out[i];
        out[made].operation = spans[i].store_operation;
        out[made++].parent = (int32_t)i;
        out[i].self_us = 0;
    }
    return made;
}

uint32_t trace_sum_up(const gathered_span *spans, uint32_t count, evidence_span *out, int64_t *start_us) {
    place *places = malloc(count * sizeof *places);
    sorted *order = malloc(count * sizeof *order);
    uint8_t *marks = malloc(count);
    uint32_t made = 0;
    if (count > 0 && places != NULL && order != NULL && marks != NULL) {
        *start_us = spans[0].start_us;
        for (uint32_t i = 0; i < count; i++) {
            places[i] = (place){.span_id = spans[i].span_id, .at = i};
            *start_us = spans[i].start_us < *start_us ? spans[i].start_us : *start_us;
        }
        qsort(places, count, sizeof *places, place_order);
        for (uint32_t i = 0; i < count; i++)
            out[i] = (evidence_span){.operation = spans[i].operation,
                                     .start_us = clamped(spans[i].start_us - *start_us),
                                     .duration_us = clamped(spans[i].duration_us),
                                     .self_us = clamped(spans[i].duration_us)};
        parents_find(spans, count, places, out);
        circles_break(out, count, marks);
        selves_find(spans, count, order, out);
        made = stores_add(spans, count, marks, out);
    }
    free(places);
    free(order);
    free(marks);
    return made;
}
