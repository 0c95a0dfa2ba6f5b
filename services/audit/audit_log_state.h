/* What audit_log.c (appending) and audit_log_open.c (opening) share; nobody else includes it. */
#ifndef AUDIT_AUDIT_LOG_STATE_H
#define AUDIT_AUDIT_LOG_STATE_H

#include "audit_log.h"
#include "nodes.h"

#define AUDIT_PATH_BYTES 4096U

struct audit_log {
    const trust *roots;
    const secret_key *key;
    const chance *source;
    char database[AUDIT_PATH_BYTES], published[AUDIT_PATH_BYTES], epoch_file[AUDIT_PATH_BYTES];
    int lock; /* -1: not taken */
    audit_store writer;
    counters *caps;
    nodes *recent;
    merkle_frontier frontier;
    uint64_t term, epoch;
    uint64_t fence_seq;     /* highest control_seq of a fence */
    int64_t recorded_at_ms; /* of the latest leaf; leaves never run backwards */
    char note[NOTE_MAX_BYTES];
    arena scratch; /* for one decision */
};

/* Appends outside of any group's rules, for the genesis record: inside the caller's transaction. */
status_code audit_log_add(audit_log *self, const append *item, append_result *result, failure *why) MUST_USE;

/* Signs a checkpoint of the frontier into `note` and the store, inside the caller's transaction. */
status_code audit_log_sign(audit_log *self, failure *why) MUST_USE;

#endif
