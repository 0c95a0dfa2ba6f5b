/* An append as the writer takes it: checked, copied out of the call's memory, its record packed and hashed,
 * so that the one writer thread only decides and stores. Pure. */
#ifndef AUDIT_APPEND_H
#define AUDIT_APPEND_H

#include "base/bytes.h"
#include "crypto/crypto.h"
#include "interlock/audit/v1/audit.pb-c.h"

#define APPEND_COUNTERS_MAX 16U
#define APPEND_COUNTER_KEY_BYTES 256U
#define APPEND_WINDOW_LEAST_MS 1000U
#define APPEND_WINDOW_MOST_MS 2678400000U
#define APPEND_VERDICT_BYTES 32U
#define APPEND_RECORD_BYTES (256U << 10)
#define APPEND_PAYLOAD_TYPE_BYTES 128U

typedef struct append_charge {
    const char *key;
    uint64_t cap, window_ms, cost;
} append_charge;

typedef struct append {
    const char *action_id; /* "" for a record of no action */
    uint64_t expect, control_seq;
    Interlock__Audit__V1__RecordKind kind;
    const char *verdict;
    const char *keyid;
    bool permits;
    size_t charge_count;
    append_charge charges[APPEND_COUNTERS_MAX];
    bytes record;                      /* the packed envelope */
    uint8_t digest[CRYPTO_HASH_BYTES]; /* of type and payload, unsalted */
} append;

/* Checks everything that can be checked without the log. One block of memory, owned by the caller. Errors:
 * INVALID_ARGUMENT with the field; RESOURCE_EXHAUSTED without memory. */
status_code append_prepare(const Interlock__Audit__V1__AppendRequest *request, append **out,
                           failure *why) MUST_USE;
void append_free(append *self); /* takes NULL */

/* Lets something run, or says that it would: what a fence holds back. */
bool append_is_permit(const append *self);
/* It belongs to an action: those who follow the log lightly do without its body. */
bool append_is_of_action(const append *self);
/* Sets a fence. */
bool append_is_fence(const append *self);

#endif
