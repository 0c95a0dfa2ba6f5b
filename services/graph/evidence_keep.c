/* Gathering traces, and keeping them in chunks that grow thinner with age. */
#include "evidence_keep.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "root_cause_map.h"

#define NOTHING UINT32_MAX
#define MINUTE_CELLS 8192U
#define CHUNK_ROOM_TRACES 64U

typedef struct pending_span {
    gathered_span span;
    uint32_t next;
    bool failed;
} pending_span;

typedef struct pending_record {
    uint64_t span_id;
    uint32_t pattern, error, next;
} pending_record;

typedef struct pending_trace {
    uint64_t key;
    uint64_t boot_ms; /* of what was added last */
    uint32_t first_span, last_span, span_count;
    uint32_t first_record, record_count;
    uint32_t newer, older; /* in the order of what was added last */
    uint32_t next;         /* of the same place in the index, or free */
} pending_trace;

typedef struct minute_cell {
    uint64_t key;
    uint32_t count;
} minute_cell;

struct evidence_keep {
    pthread_mutex_t lock;

    pending_span *spans;
    pending_record *records;
    pending_trace *traces;
    uint32_t free_span, free_record, free_trace;
    uint32_t spans_used, records_used, traces_used; /* ever; the free lists come first */
    uint32_t *index;                                /* trace key -> first of its place */
    uint32_t oldest, newest;
    minute_cell *minutes;

    evidence_chunk open; /* being filled; its arrays have room for more */
    uint32_t open_trace_room, open_span_room, open_record_room;
    evidence_chunk chunks[EVIDENCE_CHUNKS_MAX + 1];
    size_t chunk_count;
    int64_t next_id;
    list gone; /* int64_t */

    key_map error_by_key;
    list errors; /* evidence_error, texts of their own */
    uint32_t errors_stored;

    list operations;        /* evidence_operation */
    list services;          /* const char * */
    gathered_span *scratch; /* one trace */
    evidence_span *summed;
    evidence_totals totals;
};

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code evidence_keep_create(evidence_keep **out, failure *why) {
    evidence_keep *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the evidence");
    pthread_mutex_init(&self->lock, NULL);
    self->spans = calloc(EVIDENCE_PENDING_SPANS, sizeof *self->spans);
    self->records = calloc(EVIDENCE_PENDING_RECORDS, sizeof *self->records);
    self->traces = calloc(EVIDENCE_PENDING_TRACES, sizeof *self->traces);
    self->index = malloc(EVIDENCE_PENDING_TRACES * sizeof *self->index);
    self->minutes = calloc(MINUTE_CELLS, sizeof *self->minutes);
    self->scratch = malloc(EVIDENCE_TRACE_SPANS * sizeof *self->scratch);
    self->summed = malloc(2 * EVIDENCE_TRACE_SPANS * sizeof *self->summed);
    list_init(&self->gone, sizeof(int64_t));
    list_init(&self->errors, sizeof(evidence_error));
    list_init(&self->operations, sizeof(evidence_operation));
    list_init(&self->services, sizeof(const char *));
    self->free_span = self->free_record = self->free_trace = NOTHING;
    self->oldest = self->newest = NOTHING;
    self->next_id = 1;
    if (self->spans == NULL || self->records == NULL || self->traces == NULL || self->index == NULL ||
        self->minutes == NULL || self->scratch == NULL || self->summed == NULL) {
        evidence_keep_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the evidence");
    }
    memset(self->index, 0xff, EVIDENCE_PENDING_TRACES * sizeof *self->index);
    *out = self;
    return STATUS_OK;
}

static void chunk_free(evidence_chunk *self) {
    free(self->traces);
    free(self->spans);
    free(self->records);
    *self = (evidence_chunk){0};
}

void evidence_keep_free(evidence_keep *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->chunk_count; i++)
        chunk_free(&self->chunks[i]);
    chunk_free(&self->open);
    for (uint32_t i = 0; i < self->errors.count; i++)
        free((char *)((evidence_error *)list_at(&self->errors, i))->text);
    list_free(&self->errors);
    list_free(&self->operations);
    list_free(&self->services);
    list_free(&self->gone);
    key_map_free(&self->error_by_key);
    free(self->spans);
    free(self->records);
    free(self->traces);
    free(self->index);
    free(self->minutes);
    free(self->scratch);
    free(self->summed);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/* ---- Traces that are gathered
 * ------------------------------------------------------------------------------------------ */

static uint64_t trace_key(const uint8_t trace_id[16]) {
    uint64_t parts[2];
    memcpy(parts, trace_id, sizeof parts);
    return mix64(parts[0], parts[1]);
}

static uint32_t *index_place(evidence_keep *self, uint64_t key) {
    return &self->index[key & (EVIDENCE_PENDING_TRACES - 1)];
}

static void order_leave(evidence_keep *self, uint32_t at) {
    pending_trace *it = &self->traces[at];
    if (it->older != NOTHING)
        self->traces[it->older].newer = it->newer;
    else
        self->oldest = it->newer;
    if (it->newer != NOTHING)
        self->traces[it->newer].older = it->older;
    else
        self->newest = it->older;
}

static void order_join(evidence_keep *self, uint32_t at) {
    pending_trace *it = &self->traces[at];
    it->older = self->newest;
    it->newer = NOTHING;
    if (self->newest != NOTHING)
        self->traces[self->newest].newer = at;
    else
        self->oldest = at;
    self->newest = at;
}

static void pending_let_go(evidence_keep *self, uint32_t at) {
    pending_trace *it = &self->traces[at];
    for (uint32_t span = it->first_span; span != NOTHING;) {
        uint32_t next = self->spans[span].next;
        self->spans[span].next = self->free_span;
        self->free_span = span;
        span = next;
    }
    for (uint32_t record = it->first_record; record != NOTHING;) {
        uint32_t next = self->records[record].next;
        self->records[record].next = self->free_record;
        self->free_record = record;
        record = next;
    }
    uint32_t *place = index_place(self, it->key);
    while (*place != at)
        place = &self->traces[*place].next;
    *place = it->next;
    order_leave(self, at);
    it->next = self->free_trace;
    self->free_trace = at;
}

/* ---- Chunks
 * ------------------------------------------------------------------------------------------------------- */

static bool room_for(void **items, uint32_t *room, uint32_t count, uint32_t more, size_t width) {
    if (count + more <= *room)
        return true;
    uint32_t wanted = *room == 0 ? CHUNK_ROOM_TRACES : *room;
    while (wanted < count + more)
        wanted *= 2;
    void *grown = realloc(*items, wanted * width);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

static bool open_has_room(evidence_keep *self, uint32_t spans, uint32_t records) {
    evidence_chunk *open = &self->open;
    return room_for((void **)&open->traces, &self->open_trace_room, open->trace_count, 1,
                    sizeof *open->traces) &&
           room_for((void **)&open->spans, &self->open_span_room, open->span_count, spans,
                    sizeof *open->spans) &&
           room_for((void **)&open->records, &self->open_record_room, open->record_count, records,
                    sizeof *open->records);
}

static bool chunk_alloc(evidence_chunk *out, uint32_t traces, uint32_t spans, uint32_t records) {
    *out = (evidence_chunk){.traces = malloc((traces + 1U) * sizeof *out->traces),
                            .spans = malloc((spans + 1U) * sizeof *out->spans),
                            .records = malloc((records + 1U) * sizeof *out->records)};
    if (out->traces != NULL && out->spans != NULL && out->records != NULL)
        return true;
    chunk_free(out);
    return false;
}

static void chunk_append(evidence_chunk *into, const evidence_chunk *from, uint32_t trace) {
    const evidence_trace *it = &from->traces[trace];
    evidence_trace *made = &into->traces[into->trace_count++];
    *made = *it;
    made->first_span = into->span_count;
    made->first_record = into->record_count;
    memcpy(into->spans + into->span_count, from->spans + it->first_span,
           it->span_count * sizeof *into->spans);
    memcpy(into->records + into->record_count, from->records + it->first_record,
           it->record_count * sizeof *into->records);
    into->span_count += it->span_count;
    into->record_count += it->record_count;
}

static void gone_note(evidence_keep *self, const evidence_chunk *chunk) {
    if (chunk->stored)
        *(int64_t *)list_add(&self->gone) = chunk->id;
}

/* Every second trace, by what does not depend on what is in it. */
static bool trace_survives(const evidence_trace *trace, uint32_t thinned) {
    return (mix64((uint64_t)trace->start_us, thinned) & 1) == 0;
}

/* Two neighbours become one; `thin` leaves out every second trace. */
static bool chunks_merge(evidence_keep *self, size_t at, bool thin) {
    evidence_chunk *first = &self->chunks[at];
    evidence_chunk *second = &self->chunks[at + 1];
    evidence_chunk made;
    if (!chunk_alloc(&made, first->trace_count + second->trace_count, first->span_count + second->span_count,
                     first->record_count + second->record_count))
        return false;
    const evidence_chunk *both[2] = {first, second};
    for (size_t b = 0; b < 2; b++) {
        for (uint32_t i = 0; i < both[b]->trace_count; i++) {
            if (!thin || trace_survives(&both[b]->traces[i], both[b]->thinned))
                chunk_append(&made, both[b], i);
        }
    }
    made.thinned = (first->thinned > second->thinned ? first->thinned : second->thinned) + (thin ? 1 : 0);
    made.id = self->next_id++;
    self->totals.kept_spans -= first->span_count + second->span_count - made.span_count;
    self->totals.kept_traces -= first->trace_count + second->trace_count - made.trace_count;
    gone_note(self, first);
    gone_note(self, second);
    chunk_free(first);
    chunk_free(second);
    *first = made;
    memmove(second, second + 1, (self->chunk_count - at - 2) * sizeof *second);
    self->chunk_count--;
    return true;
}

/* The oldest two neighbours of one thinning; the oldest two when there are none. */
static size_t pair_to_thin(const evidence_keep *self) {
    for (size_t i = 0; i + 1 < self->chunk_count; i++) {
        if (self->chunks[i].thinned == self->chunks[i + 1].thinned)
            return i;
    }
    return 0;
}

static size_t pair_to_join(const evidence_keep *self) {
    for (size_t i = 0; i + 1 < self->chunk_count; i++) {
        if (self->chunks[i].thinned == self->chunks[i + 1].thinned &&
            self->chunks[i].span_count + self->chunks[i + 1].span_count <= EVIDENCE_CHUNK_SPANS)
            return i;
    }
    return pair_to_thin(self);
}

static void chunks_bound(evidence_keep *self) {
    while (self->chunk_count > 1 && self->totals.kept_spans > EVIDENCE_SPANS_MAX) {
        if (!chunks_merge(self, pair_to_thin(self), true))
            return;
    }
    while (self->chunk_count >= EVIDENCE_CHUNKS_MAX) {
        size_t at = pair_to_join(self);
        bool thin = self->chunks[at].span_count + self->chunks[at + 1].span_count > EVIDENCE_CHUNK_SPANS;
        if (!chunks_merge(self, at, thin))
            return;
    }
}

static void seal(evidence_keep *self) {
    if (self->open.trace_count == 0)
        return;
    chunks_bound(self);
    if (self->chunk_count >= EVIDENCE_CHUNKS_MAX)
        return; /* without memory to merge, the open one goes on */
    self->open.id = self->next_id++;
    self->chunks[self->chunk_count++] = self->open;
    self->open = (evidence_chunk){0};
    self->open_trace_room = self->open_span_room = self->open_record_room = 0;
}

void evidence_keep_seal(evidence_keep *self) {
    pthread_mutex_lock(&self->lock);
    seal(self);
    pthread_mutex_unlock(&self->lock);
}

/* ---- Summing up
 * ------------------------------------------------------------------------------------------------------ */

/* Beyond EVIDENCE_MINUTE_MAX traces of one kind a minute one in two, four, eight … is kept. */
static bool trace_is_wanted(evidence_keep *self, uint64_t trace, uint32_t operation, int64_t start_us) {
    uint64_t key = mix64(operation + 1, (uint64_t)(start_us / 60000000));
    minute_cell *cell = &self->minutes[key & (MINUTE_CELLS - 1)];
    if (cell->key != key)
        *cell = (minute_cell){.key = key};
    uint32_t times = cell->count++ / EVIDENCE_MINUTE_MAX;
    uint64_t mask = 0;
    for (; times > 0; times >>= 1)
        mask = mask << 1 | 1;
    return (mix64(trace, 9) & mask) == 0;
}

static uint32_t gathered(const evidence_keep *self, const pending_trace *it, gathered_span *out) {
    uint32_t count = 0;
    for (uint32_t at = it->first_span; at != NOTHING; at = self->spans[at].next)
        out[count++] = self->spans[at].span;
    return count;
}

static uint32_t span_position(const gathered_span *spans, uint32_t count, uint64_t span_id) {
    for (uint32_t i = 0; i < count; i++) {
        if (spans[i].span_id == span_id)
            return i;
    }
    return NOTHING;
}

/* Records whose span came, and a pattern for spans that failed. */
static uint32_t records_of(const evidence_keep *self, const pending_trace *it, uint32_t count,
                           evidence_record *out) {
    uint32_t made = 0;
    for (uint32_t at = it->first_record; at != NOTHING; at = self->records[at].next) {
        const pending_record *record = &self->records[at];
        uint32_t span = span_position(self->scratch, count, record->span_id);
        if (span != NOTHING)
            out[made++] = (evidence_record){.span = span, .pattern = record->pattern, .error = record->error};
    }
    uint32_t position = 0;
    for (uint32_t at = it->first_span; at != NOTHING; at = self->spans[at].next, position++) {
        if (self->spans[at].failed)
            out[made++] = (evidence_record){
                .span = position, .pattern = EVIDENCE_PATTERN_FAILED, .error = EVIDENCE_NONE};
    }
    return made;
}

/* Into arrays that have room for twice the spans and for all records and spans. */
static void trace_put(const evidence_keep *self, const pending_trace *it, uint32_t gathered_count,
                      uint32_t summed, int64_t start_us, evidence_chunk *into) {
    evidence_trace *made = &into->traces[into->trace_count];
    *made = (evidence_trace){.start_us = start_us,
                             .first_span = into->span_count,
                             .span_count = summed,
                             .first_record = into->record_count};
    memcpy(into->spans + into->span_count, self->summed, summed * sizeof *self->summed);
    made->record_count = records_of(self, it, gathered_count, into->records + into->record_count);
    into->trace_count++;
    into->span_count += summed;
    into->record_count += made->record_count;
}

static void trace_settle(evidence_keep *self, uint32_t at) {
    const pending_trace *it = &self->traces[at];
    uint32_t count = gathered(self, it, self->scratch);
    int64_t start_us = 0;
    if (count > 0 && !trace_is_wanted(self, it->key, self->scratch[0].operation, self->scratch[0].start_us)) {
        self->totals.traces_thinned++;
    } else if (count > 0) {
        uint32_t summed = trace_sum_up(self->scratch, count, self->summed, &start_us);
        if (summed > 0 && open_has_room(self, summed, it->record_count + count)) {
            trace_put(self, it, count, summed, start_us, &self->open);
            self->totals.traces++;
            self->totals.spans += count;
            self->totals.kept_traces++;
            self->totals.kept_spans += summed;
        }
    }
    pending_let_go(self, at);
    if (self->open.span_count >= EVIDENCE_CHUNK_SPANS)
        seal(self);
}

/* ---- What comes
 * ------------------------------------------------------------------------------------------------------ */

static uint32_t trace_take(evidence_keep *self, uint64_t key) {
    if (self->free_trace == NOTHING && self->traces_used == EVIDENCE_PENDING_TRACES)
        trace_settle(self, self->oldest);
    uint32_t at = self->free_trace;
    if (at != NOTHING)
        self->free_trace = self->traces[at].next;
    else
        at = self->traces_used++;
    uint32_t *place = index_place(self, key);
    self->traces[at] = (pending_trace){
        .key = key, .first_span = NOTHING, .last_span = NOTHING, .first_record = NOTHING, .next = *place};
    *place = at;
    order_join(self, at);
    return at;
}

/* The trace, as the one that something was added to last. */
static uint32_t trace_touch(evidence_keep *self, const uint8_t trace_id[16], uint64_t boot_ms) {
    uint64_t key = trace_key(trace_id);
    uint32_t at = *index_place(self, key);
    while (at != NOTHING && self->traces[at].key != key)
        at = self->traces[at].next;
    if (at == NOTHING) {
        at = trace_take(self, key);
    } else if (self->newest != at) {
        order_leave(self, at);
        order_join(self, at);
    }
    self->traces[at].boot_ms = boot_ms;
    return at;
}

/* A free place, if need be by settling the oldest trace that is not `keep`. */
static uint32_t span_take(evidence_keep *self, uint32_t keep) {
    if (self->free_span == NOTHING && self->spans_used == EVIDENCE_PENDING_SPANS && self->oldest != keep)
        trace_settle(self, self->oldest);
    uint32_t at = self->free_span;
    if (at != NOTHING)
        self->free_span = self->spans[at].next;
    else if (self->spans_used < EVIDENCE_PENDING_SPANS)
        at = self->spans_used++;
    return at;
}

static void span_join(evidence_keep *self, uint32_t trace, const observation *span,
                      uint32_t store_operation) {
    pending_trace *it = &self->traces[trace];
    uint32_t at = it->span_count < EVIDENCE_TRACE_SPANS ? span_take(self, trace) : NOTHING;
    if (at == NOTHING) {
        self->totals.spans_left_out++;
        return;
    }
    int64_t start_us = span->start_ns > 0 ? span->start_ns / 1000 : span->time_ms * 1000;
    int64_t duration_us = span->start_ns > 0 ? (int64_t)(span->duration_ns / 1000) : 0;
    self->spans[at] = (pending_span){.span = {.span_id = span->span_id,
                                              .parent_id = span->parent_id,
                                              .start_us = start_us,
                                              .duration_us = duration_us,
                                              .operation = span->operation,
                                              .store_operation = store_operation},
                                     .next = NOTHING,
                                     .failed = span->failed != 0};
    if (it->last_span == NOTHING)
        it->first_span = at;
    else
        self->spans[it->last_span].next = at;
    it->last_span = at;
    it->span_count++;
}

/* A retried export sends spans again. */
static bool span_is_known(const evidence_keep *self, const pending_trace *it, uint64_t span_id) {
    uint32_t looked_at = 0;
    for (uint32_t at = it->first_span; at != NOTHING && looked_at < 256; at = self->spans[at].next) {
        if (self->spans[at].span.span_id == span_id)
            return true;
        looked_at++;
    }
    return false;
}

void evidence_keep_span(evidence_keep *self, const observation *span, uint32_t store_operation,
                        uint64_t boot_ms) {
    if (span->kind != OBSERVATION_SPAN || span->operation == OPERATION_NONE)
        return;
    pthread_mutex_lock(&self->lock);
    uint32_t trace = trace_touch(self, span->trace_id, boot_ms);
    if (!span_is_known(self, &self->traces[trace], span->span_id))
        span_join(self, trace, span, store_operation);
    pthread_mutex_unlock(&self->lock);
}

void evidence_keep_record(evidence_keep *self, const uint8_t trace_id[16], uint64_t span_id, uint32_t pattern,
                          uint32_t error, uint64_t boot_ms) {
    pthread_mutex_lock(&self->lock);
    uint32_t at = self->free_record;
    if (at != NOTHING)
        self->free_record = self->records[at].next;
    else if (self->records_used < EVIDENCE_PENDING_RECORDS)
        at = self->records_used++;
    if (at != NOTHING) {
        pending_trace *it = &self->traces[trace_touch(self, trace_id, boot_ms)];
        self->records[at] = (pending_record){
            .span_id = span_id, .pattern = pattern, .error = error, .next = it->first_record};
        it->first_record = at;
        it->record_count++;
    } else {
        self->totals.records_left_out++;
    }
    pthread_mutex_unlock(&self->lock);
}

size_t evidence_keep_settle(evidence_keep *self, uint64_t boot_ms) {
    size_t settled = 0;
    pthread_mutex_lock(&self->lock);
    while (self->oldest != NOTHING && self->traces[self->oldest].boot_ms + EVIDENCE_SETTLE_MS <= boot_ms) {
        trace_settle(self, self->oldest);
        settled++;
    }
    pthread_mutex_unlock(&self->lock);
    return settled;
}

uint64_t evidence_keep_due(const evidence_keep *self) {
    return self->oldest == NOTHING ? UINT64_MAX : self->traces[self->oldest].boot_ms + EVIDENCE_SETTLE_MS;
}

/* ---- Names
 * -----------------------------------------------------------------------------------------------------------
 */

void evidence_keep_name_operation(evidence_keep *self, uint32_t operation, uint32_t service,
                                  const char *text) {
    pthread_mutex_lock(&self->lock);
    while (self->operations.count <= operation && !self->operations.failed)
        *(evidence_operation *)list_add(&self->operations) =
            (evidence_operation){.service = EVIDENCE_NONE, .name = ""};
    if (operation < self->operations.count)
        *(evidence_operation *)list_at(&self->operations, operation) =
            (evidence_operation){.service = service, .name = text};
    pthread_mutex_unlock(&self->lock);
}

void evidence_keep_name_service(evidence_keep *self, uint32_t service, const char *name) {
    pthread_mutex_lock(&self->lock);
    while (self->services.count <= service && !self->services.failed)
        *(const char **)list_add(&self->services) = "";
    if (service < self->services.count)
        *(const char **)list_at(&self->services, service) = name;
    pthread_mutex_unlock(&self->lock);
}

uint32_t evidence_keep_operations_named(const evidence_keep *self) {
    return self->operations.count;
}

uint32_t evidence_keep_services_named(const evidence_keep *self) {
    return self->services.count;
}

/* ---- Errors
 * ------------------------------------------------------------------------------------------------------- */

static uint64_t error_key(const char *text, bool exception, uint32_t service) {
    uint64_t key = exception ? 1 : mix64(service, 2);
    for (const char *at = text; *at != '\0'; at++)
        key = mix64(key, (uint8_t)*at);
    return key;
}

uint32_t evidence_keep_error(evidence_keep *self, const char *text, bool exception, uint32_t service) {
    uint64_t key = error_key(text, exception, service);
    pthread_mutex_lock(&self->lock);
    uint32_t at = key_map_find(&self->error_by_key, key);
    if (at == KEY_MAP_NONE && self->errors.count < EVIDENCE_ERRORS_MAX) {
        char *copy = strndup(text, EVIDENCE_ERROR_BYTES - 1);
        uint32_t fresh = self->errors.count;
        if (copy != NULL && !self->error_by_key.failed &&
            key_map_add(&self->error_by_key, key, fresh) == fresh) {
            evidence_error *made = list_add(&self->errors);
            *made = (evidence_error){.text = copy, .exception = exception, .service = service};
            at = fresh;
        } else {
            free(copy);
        }
    }
    self->totals.errors_left_out += at == KEY_MAP_NONE;
    pthread_mutex_unlock(&self->lock);
    return at;
}

/* ---- Reading
 * -------------------------------------------------------------------------------------------------------- */

evidence_totals evidence_keep_totals(evidence_keep *self) {
    pthread_mutex_lock(&self->lock);
    evidence_totals totals = self->totals;
    totals.chunks = (uint32_t)self->chunk_count;
    pthread_mutex_unlock(&self->lock);
    return totals;
}

void evidence_copy_free(evidence_copy *self) {
    free(self->traces);
    free(self->spans);
    free(self->records);
    free(self->errors);
    free(self->operations);
    free(self->services);
    *self = (evidence_copy){0};
}

/* The pending ones are summed up aside; they may get more spans yet. */
static void copy_pending(evidence_keep *self, evidence_chunk *into) {
    for (uint32_t at = self->oldest; at != NOTHING; at = self->traces[at].newer) {
        const pending_trace *it = &self->traces[at];
        int64_t start_us = 0;
        uint32_t count = gathered(self, it, self->scratch);
        uint32_t summed = count == 0 ? 0 : trace_sum_up(self->scratch, count, self->summed, &start_us);
        if (summed > 0)
            trace_put(self, it, count, summed, start_us, into);
    }
}

static void pending_size(const evidence_keep *self, uint32_t *traces, uint32_t *spans, uint32_t *records) {
    for (uint32_t at = self->oldest; at != NOTHING; at = self->traces[at].newer) {
        *traces += 1;
        *spans += 2 * self->traces[at].span_count;
        *records += self->traces[at].record_count + self->traces[at].span_count;
    }
}

static void *list_copy(const list *of) {
    void *made = malloc((of->count + 1U) * of->width);
    if (made != NULL && of->count > 0)
        memcpy(made, of->items, of->count * of->width);
    return made;
}

static bool names_copy(const evidence_keep *self, evidence_copy *out) {
    out->errors = list_copy(&self->errors);
    out->operations = list_copy(&self->operations);
    out->services = list_copy(&self->services);
    out->error_count = self->errors.count;
    out->operation_count = self->operations.count;
    out->service_count = self->services.count;
    return out->errors != NULL && out->operations != NULL && out->services != NULL;
}

static bool copy_make(evidence_keep *self, evidence_copy *out) {
    uint32_t traces = self->open.trace_count;
    uint32_t spans = self->open.span_count;
    uint32_t records = self->open.record_count;
    for (size_t i = 0; i < self->chunk_count; i++) {
        traces += self->chunks[i].trace_count;
        spans += self->chunks[i].span_count;
        records += self->chunks[i].record_count;
    }
    pending_size(self, &traces, &spans, &records);
    evidence_chunk made;
    evidence_copy names = {0};
    if (!names_copy(self, &names) || !chunk_alloc(&made, traces, spans, records)) {
        evidence_copy_free(&names);
        return false;
    }
    for (size_t i = 0; i <= self->chunk_count; i++) {
        const evidence_chunk *chunk = i < self->chunk_count ? &self->chunks[i] : &self->open;
        for (uint32_t k = 0; k < chunk->trace_count; k++)
            chunk_append(&made, chunk, k);
    }
    copy_pending(self, &made);
    names.traces = made.traces;
    names.spans = made.spans;
    names.records = made.records;
    names.trace_count = made.trace_count;
    names.span_count = made.span_count;
    names.record_count = made.record_count;
    *out = names;
    return true;
}

status_code evidence_keep_copy(evidence_keep *self, evidence_copy *out, failure *why) {
    pthread_mutex_lock(&self->lock);
    bool made = copy_make(self, out);
    pthread_mutex_unlock(&self->lock);
    return made ? STATUS_OK
                : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to copy the evidence");
}

/* ---- For the store
 * -------------------------------------------------------------------------------------------------- */

size_t evidence_keep_chunk_count(const evidence_keep *self) {
    return self->chunk_count;
}

const evidence_chunk *evidence_keep_chunk_at(const evidence_keep *self, size_t index) {
    return &self->chunks[index];
}

const int64_t *evidence_keep_gone(const evidence_keep *self, size_t *count) {
    *count = self->gone.count;
    return self->gone.items;
}

uint32_t evidence_keep_error_count(const evidence_keep *self) {
    return self->errors.count;
}

const evidence_error *evidence_keep_error_at(const evidence_keep *self, uint32_t index) {
    return list_at(&self->errors, index);
}

uint32_t evidence_keep_errors_stored(const evidence_keep *self) {
    return self->errors_stored;
}

void evidence_keep_mark_stored(evidence_keep *self) {
    for (size_t i = 0; i < self->chunk_count; i++)
        self->chunks[i].stored = true;
    self->gone.count = 0;
    self->errors_stored = self->errors.count;
}

static bool chunk_fits(const evidence_chunk *row, uint32_t operation_count, uint32_t errors) {
    uint32_t spans = 0;
    uint32_t records = 0;
    for (uint32_t t = 0; t < row->trace_count; t++) {
        const evidence_trace *trace = &row->traces[t];
        if (trace->first_span != spans || trace->first_record != records ||
            trace->span_count > row->span_count - spans || trace->record_count > row->record_count - records)
            return false;
        for (uint32_t i = 0; i < trace->span_count; i++) {
            const evidence_span *span = &row->spans[spans + i];
            if (span->operation >= operation_count || span->parent < EVIDENCE_ROOT ||
                span->parent >= (int32_t)trace->span_count)
                return false;
        }
        for (uint32_t i = 0; i < trace->record_count; i++) {
            const evidence_record *record = &row->records[records + i];
            if (record->span >= trace->span_count ||
                (record->error >= errors && record->error != EVIDENCE_NONE))
                return false;
        }
        spans += trace->span_count;
        records += trace->record_count;
    }
    return spans == row->span_count && records == row->record_count;
}

bool evidence_keep_restore_chunk(evidence_keep *self, const evidence_chunk *row, uint32_t operation_count) {
    evidence_chunk made;
    if (self->chunk_count >= EVIDENCE_CHUNKS_MAX || row->id < self->next_id ||
        !chunk_fits(row, operation_count, self->errors.count) ||
        !chunk_alloc(&made, row->trace_count, row->span_count, row->record_count))
        return false;
    for (uint32_t t = 0; t < row->trace_count; t++)
        chunk_append(&made, row, t);
    made.id = row->id;
    made.thinned = row->thinned;
    made.stored = true;
    self->chunks[self->chunk_count++] = made;
    self->next_id = row->id + 1;
    self->totals.kept_traces += made.trace_count;
    self->totals.kept_spans += made.span_count;
    return true;
}

bool evidence_keep_restore_error(evidence_keep *self, const evidence_error *row) {
    uint32_t expected = self->errors.count;
    if (evidence_keep_error(self, row->text, row->exception, row->service) != expected)
        return false;
    self->errors_stored = self->errors.count;
    return true;
}
