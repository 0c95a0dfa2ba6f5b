/* Keeps what root cause analysis rests on: of each request its operations, who called whom, how long each
 * took and which patterns it logged. No ids, no attributes, no messages.
 *
 * A trace is gathered while its spans come, for EVIDENCE_SETTLE_MS after the last one, then summed up and
 * kept in a chunk. Bounded: of an entry operation EVIDENCE_MINUTE_MAX traces a minute, beyond that one in
 * two, in four …; when EVIDENCE_SPANS_MAX spans are kept, the two oldest chunks of one thinning become one
 * with every second trace, so that the past gets thinner and not shorter. What is normal therefore rests on
 * days.
 *
 * The ingest thread writes; any thread may copy a view. A lock inside. */
#ifndef GRAPH_EVIDENCE_KEEP_H
#define GRAPH_EVIDENCE_KEEP_H

#include "base/arena.h"
#include "evidence.h"
#include "model.h"

#define EVIDENCE_PENDING_SPANS (1U << 18)
#define EVIDENCE_PENDING_TRACES (1U << 16)
#define EVIDENCE_PENDING_RECORDS (1U << 17)
#define EVIDENCE_TRACE_SPANS 4096U /* of one trace; what is beyond is left out */
#define EVIDENCE_SETTLE_MS 15000U
#define EVIDENCE_MINUTE_MAX 512U
#define EVIDENCE_SPANS_MAX (1U << 21) /* 40 MiB */
#define EVIDENCE_CHUNKS_MAX 512U
#define EVIDENCE_CHUNK_SPANS 16384U
#define EVIDENCE_ERRORS_MAX 65536U
#define EVIDENCE_ERROR_BYTES 160U
/* The pattern of a span that failed by its status: no log record said so. */
#define EVIDENCE_PATTERN_FAILED (UINT32_MAX - 1)

typedef struct evidence_keep evidence_keep;

status_code evidence_keep_create(evidence_keep **out, failure *why) MUST_USE;
void evidence_keep_free(evidence_keep *self); /* takes NULL */

/* ---- The ingest thread ---- */

/* Names of what the numbers stand for, once each (again does no harm); the texts must live as long as the
 * keep. */
void evidence_keep_name_operation(evidence_keep *self, uint32_t operation, uint32_t service,
                                  const char *text);
void evidence_keep_name_service(evidence_keep *self, uint32_t service, const char *name);
/* How many are named: those below need not be named again. */
uint32_t evidence_keep_operations_named(const evidence_keep *self);
uint32_t evidence_keep_services_named(const evidence_keep *self);

/* A span as the traffic model takes it; `store_operation` is an operation of the datastore or queue that the
 * span calls and that sends no spans of its own, OPERATION_NONE otherwise. */
void evidence_keep_span(evidence_keep *self, const observation *span, uint32_t store_operation,
                        uint64_t boot_ms);
/* A log record of a span. */
void evidence_keep_record(evidence_keep *self, const uint8_t trace_id[16], uint64_t span_id, uint32_t pattern,
                          uint32_t error, uint64_t boot_ms);
/* The number of an error, made when it is new; EVIDENCE_NONE beyond the bound. `service` counts for those
 * that are no exceptions alone. */
uint32_t evidence_keep_error(evidence_keep *self, const char *text, bool exception, uint32_t service);
/* Sums up traces to which nothing was added for a while. Returns how many. */
size_t evidence_keep_settle(evidence_keep *self, uint64_t boot_ms);
/* Boot time at which one will be due; UINT64_MAX: none. */
uint64_t evidence_keep_due(const evidence_keep *self);

typedef struct evidence_totals {
    uint64_t traces, spans;  /* summed up */
    uint64_t traces_thinned; /* not kept, because there were enough of their kind */
    uint64_t spans_left_out; /* beyond a bound */
    uint64_t records_left_out, errors_left_out;
    uint32_t chunks, kept_traces, kept_spans;
} evidence_totals;
evidence_totals evidence_keep_totals(evidence_keep *self);

/* ---- Any thread ---- */

/* Copies traces, spans, records and errors into `out` (the rest of it is left alone), the traces that are
 * still gathered as they are now. The memory is the caller's to free with evidence_copy_free. */
typedef struct evidence_copy {
    evidence_trace *traces;
    evidence_span *spans;
    evidence_record *records;
    evidence_error *errors;         /* texts live as long as the keep, names as long as the model */
    evidence_operation *operations; /* by number; service EVIDENCE_NONE and name "" for those not seen */
    const char **services;          /* by number of the node; "" for those not seen */
    uint32_t trace_count, span_count, record_count, error_count, operation_count, service_count;
} evidence_copy;
status_code evidence_keep_copy(evidence_keep *self, evidence_copy *out, failure *why) MUST_USE;
void evidence_copy_free(evidence_copy *self); /* takes zeroed */

/* ---- For the store ---- */

typedef struct evidence_chunk {
    int64_t id;       /* never given twice */
    uint32_t thinned; /* each time halves what is kept */
    uint32_t trace_count, span_count, record_count;
    evidence_trace *traces; /* positions count from the chunk's begin */
    evidence_span *spans;
    evidence_record *records;
    bool stored;
} evidence_chunk;

/* Closes the chunk that is being filled. */
void evidence_keep_seal(evidence_keep *self);
size_t evidence_keep_chunk_count(const evidence_keep *self);
const evidence_chunk *evidence_keep_chunk_at(const evidence_keep *self, size_t index);
/* Ids of chunks that were merged away and are still stored. */
const int64_t *evidence_keep_gone(const evidence_keep *self, size_t *count);
uint32_t evidence_keep_error_count(const evidence_keep *self);
const evidence_error *evidence_keep_error_at(const evidence_keep *self, uint32_t index);
uint32_t evidence_keep_errors_stored(const evidence_keep *self);
void evidence_keep_mark_stored(evidence_keep *self);
/* Rows as they were stored, oldest first; the parts are copied. False when they contradict one another or the
 * bounds. */
bool evidence_keep_restore_chunk(evidence_keep *self, const evidence_chunk *row,
                                 uint32_t operation_count) MUST_USE;
bool evidence_keep_restore_error(evidence_keep *self, const evidence_error *row) MUST_USE;

/* ---- evidence_gather.c: one trace of its spans, in any order ---- */

typedef struct gathered_span {
    uint64_t span_id, parent_id;
    int64_t start_us, duration_us;
    uint32_t operation;
    uint32_t store_operation;
} gathered_span;

/* Positions of parents, offsets and self times: out[i] is of spans[i]; spans that call a datastore get one
 * more behind them. `out` has room for twice as many. A parent that is not there, or that would make a
 * circle, is EVIDENCE_ORPHAN. Returns how many were written; 0 without memory. *start_us is that of the
 * trace. */
uint32_t trace_sum_up(const gathered_span *spans, uint32_t count, evidence_span *out, int64_t *start_us);

#endif
