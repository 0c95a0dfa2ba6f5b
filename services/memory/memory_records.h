/* From a record of the log to what memory keeps of it. Pure. */
#ifndef MEMORY_RECORDS_H
#define MEMORY_RECORDS_H

#include "base/arena.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "interlock/policy/v1/gist.pb-c.h"

typedef enum memory_change_kind {
    MEMORY_NOTHING,  /* a record that memory does not learn from */
    MEMORY_DECISION, /* `decision` is set */
    MEMORY_OUTCOME,  /* `outcome` is set */
    MEMORY_CHAIN,    /* `chain` is set */
    MEMORY_TOUCH,    /* the action's history goes on, but the body was erased or is not readable */
} memory_change_kind;

/* Everything is in the arena or points into the entry. */
typedef struct memory_change {
    memory_change_kind kind;
    uint64_t index, previous_index;
    int64_t recorded_at_ms;
    const char *action_id;
    const char *verdict;
    uint8_t digest[32]; /* of an outcome's payload */
    const Interlock__Policy__V1__DecisionGist *decision;
    const Interlock__Memory__V1__ActionOutcome *outcome;
    const Interlock__Graph__V1__CauseChain *chain;
} memory_change;

/* DATA_LOSS when the leaf itself cannot be read; an unreadable body is MEMORY_TOUCH. */
status_code memory_change_read(const Interlock__Audit__V1__Entry *entry, arena *memory, memory_change *out,
                               failure *why) MUST_USE;

/* "ALLOW", "ENFORCED", "HEALTHY": the names without their prefix; "" for numbers that have none. */
const char *memory_outcome_name(int outcome);
const char *memory_mode_name(int mode);
const char *memory_state_name(int state);

#endif
