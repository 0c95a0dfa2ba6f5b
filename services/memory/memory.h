/* The use cases of memory: learn from the log, recall, record an outcome. No gRPC server, no SQL. */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "daemon/daemon.h"
#include "memory_store.h"
#include "outcome.h"

/* One page of Tail, applied in one transaction with the cursor: what is below the cursor is skipped, a gap is
 * DATA_LOSS, RESOURCE_EXHAUSTED (a full disk) leaves everything as it was. */
status_code memory_learn(memory_store *store_of_writer, const Interlock__Audit__V1__TailResponse *batch,
                         arena *memory, failure *why) MUST_USE;

status_code memory_recall(memory_store *reader, const Interlock__Memory__V1__RecallRequest *request,
                          arena *memory, Interlock__Memory__V1__RecallResponse *out, failure *why) MUST_USE;

/* Where an outcome or a chain goes. */
typedef struct memory_recorder {
    const trust *roots;
    control *live; /* who is enrolled */
    rpc_channel *audit;
    const chance *source;
} memory_recorder;

/* Blocking, at most until `deadline_boot_ns`. */
status_code memory_record_outcome(const memory_recorder *self, memory_store *reader, const rpc_peer *peer,
                                  const Interlock__Memory__V1__RecordOutcomeRequest *request,
                                  uint64_t deadline_boot_ns, arena *memory,
                                  Interlock__Memory__V1__RecordOutcomeResponse *out, failure *why) MUST_USE;

/* The same for a confirmed chain of causes. */
status_code memory_confirm_chain(const memory_recorder *self, const rpc_peer *peer,
                                 const Interlock__Memory__V1__ConfirmChainRequest *request,
                                 uint64_t deadline_boot_ns, arena *memory,
                                 Interlock__Memory__V1__ConfirmChainResponse *out, failure *why) MUST_USE;

#endif
