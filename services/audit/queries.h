/* What readers ask: pages of records, proofs. On a reader's thread, each in one read transaction. Replies
 * live in the arena. */
#ifndef AUDIT_QUERIES_H
#define AUDIT_QUERIES_H

#include "audit_store.h"
#include "interlock/audit/v1/audit.pb-c.h"

#define QUERY_PAGE_DEFAULT 100U
#define QUERY_PAGE_MAX 1000U
#define QUERY_SCAN_MAX                                                                                       \
    20000U /* records looked at for one page; a page may then be short, but not the last                     \
            */
#define QUERY_PAGE_BYTES (2U << 20) /* of records; the reply must stay below a message's limit */
#define TAIL_BATCH_ENTRIES 256U
#define TAIL_BATCH_BYTES (1U << 20)

/* INVALID_ARGUMENT: PAGE_SIZE, PAGE_TOKEN, ACTION_ID_TOO_LONG. */
status_code log_query(audit_store *from, const Interlock__Audit__V1__QueryRequest *request, arena *memory,
                      Interlock__Audit__V1__QueryResponse *out, failure *why) MUST_USE;

/* INVALID_ARGUMENT: PROOF_MISSING; OUT_OF_RANGE: beyond the tree. */
status_code log_prove(audit_store *from, const Interlock__Audit__V1__GetProofRequest *request, arena *memory,
                      Interlock__Audit__V1__GetProofResponse *out, failure *why) MUST_USE;

/* Records from an index on, below `size`: at least one, at most TAIL_BATCH_ENTRIES and, after the first,
 * TAIL_BATCH_BYTES. `light`: those of actions come without their record. */
status_code log_tail_batch(audit_store *from, uint64_t index, uint64_t size, bool light, arena *memory,
                           Interlock__Audit__V1__TailResponse *out, failure *why) MUST_USE;

#endif
