/* The log judged from outside: everything that can be checked with the records, the root of trust and nothing
 * that audit says about itself. Pure but for memory. Two passes over the entries in order: `collect` (who is
 * enrolled), then `entry`; then `finish` against the signed checkpoint. */
#ifndef CLI_LOG_CHECK_H
#define CLI_LOG_CHECK_H

#include "base/arena.h"
#include "control/trust.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "merkle/note.h"
#include "merkle/tree.h"

#define LOG_CHECK_PROBLEMS 64U

typedef struct log_check {
    const trust *roots;
    merkle_frontier frontier;
    uint64_t next;   /* index of the next entry */
    uint64_t erased; /* bodies that are gone: leaf and tree still verify */
    uint64_t decisions, outcomes, kills, controls;
    uint64_t problem_count; /* all; the first are kept */
    char problems[LOG_CHECK_PROBLEMS][256];
    void *signers; /* tsearch tree of enrolled keys */
    void *actions; /* tsearch tree of each action's latest index */
} log_check;

void log_check_init(log_check *self, const trust *roots);
void log_check_free(log_check *self);

/* Notes whose keys an operator has enrolled. `memory` is reset by the caller. */
void log_check_collect(log_check *self, const Interlock__Audit__V1__Entry *entry, arena *memory);
/* Checks one entry: order, leaf, commitment, chain, signature, and that the leaf says what the record says.
 */
void log_check_entry(log_check *self, const Interlock__Audit__V1__Entry *entry, arena *memory);
/* The entries so far are exactly the tree of this checkpoint. */
void log_check_finish(log_check *self, const checkpoint *signed_tree);

#endif
