/* The log itself: what its one writer does, without threads. audit_log_append takes a group of prepared
 * appends, decides on each in order (a later one sees the earlier ones), and makes the group durable: rows,
 * signed checkpoint, COMMIT. Only then may anyone be answered. All functions on one thread, with the
 * exceptions stated. */
#ifndef AUDIT_AUDIT_LOG_H
#define AUDIT_AUDIT_LOG_H

#include "append.h"
#include "audit_store.h"
#include "base/chance.h"
#include "control/trust.h"
#include "merkle/note.h"

#define AUDIT_GROUP_MAX 256U

typedef struct audit_log audit_log;

typedef struct audit_log_options {
    const char *directory; /* of the log's own: <data-dir>/audit; created when missing */
    const trust *roots;
    const secret_key *key; /* signs checkpoints; must be among the roots' */
    const chance *source;
    const char *boot_id; /* as boot_id_read; "" is never the same boot */
    /* When the database does not extend the published checkpoint: go on in a new epoch, which voids what the
     * old one permitted, instead of refusing. */
    bool new_epoch;
} audit_log_options;

/* Takes the lock, opens or creates the database, checks that it extends the published checkpoint and raises
 * the term. FAILED_PRECONDITION: LOG_LOCKED, LOG_FOREIGN (another installation's), CHECKPOINT_KEY_UNKNOWN.
 * DATA_LOSS: LOG_ROLLED_BACK, LOG_DAMAGED. */
status_code audit_log_open(audit_log **out, const audit_log_options *options, failure *why) MUST_USE;
/* Changes nothing on disk: for a check of the configuration. OK when there is no log yet. */
status_code audit_log_check(const audit_log_options *options, failure *why) MUST_USE;
/* Publishes the last checkpoint. Takes NULL. */
void audit_log_close(audit_log *self);

typedef enum append_outcome {
    APPEND_ADDED,    /* index is the new record's */
    APPEND_REPEATED, /* index is that of the same record, appended before */
    APPEND_CONFLICT, /* index is the action's latest */
    APPEND_REFUSED,
} append_outcome;

typedef struct append_result {
    append_outcome outcome;
    uint64_t index;
    Interlock__Audit__V1__Refusal__Reason reason;
    const char *counter_key; /* of the append that was refused */
    uint32_t retry_after_ms;
    uint8_t salt[LEAF_SALT_BYTES]; /* of an added record, as its leaf: */
    size_t leaf_size;
    uint8_t leaf[LIMIT_LEAF_BYTES];
} append_result;

/* At most AUDIT_GROUP_MAX. OK: everything is decided and durable. UNAVAILABLE: nothing was written, the whole
 * group may be sent again (DISK_FULL and the like). DATA_LOSS: what is on disk is not known; the process must
 * end. */
status_code audit_log_append(audit_log *self, append *const *group, size_t count, append_result *results,
                             failure *why) MUST_USE;

/* The answer to an append of the last group, in the arena; `out` is initialised. */
status_code audit_log_answer(audit_log *self, const append_result *result, arena *memory,
                             Interlock__Audit__V1__AppendResponse *out, failure *why) MUST_USE;

uint64_t audit_log_size(const audit_log *self);
uint64_t audit_log_term(const audit_log *self);
uint64_t audit_log_epoch(const audit_log *self);
uint64_t audit_log_fence(const audit_log *self);   /* control_seq of the highest fence */
const char *audit_log_note(const audit_log *self); /* the latest checkpoint; valid until the next append */
const char *audit_log_database(const audit_log *self);  /* path, for readers */
const char *audit_log_published(const audit_log *self); /* path of the published checkpoint */
audit_store *audit_log_store(audit_log *self);          /* the writer's connection */

#endif
