/* All of policy's SQL. A store belongs to one thread: the follower's has the writer, the lookup and control
 * threads a reader each. */
#ifndef POLICY_POLICY_STORE_H
#define POLICY_POLICY_STORE_H

#include "crypto/crypto.h"
#include "store/store.h"

typedef struct policy_store policy_store;

typedef struct policy_store_position {
    uint64_t next_index;
    uint64_t control_seq;
    uint64_t fence_index;
    uint64_t epoch; /* of the log; 0: not known */
    char last_leaf[2 * CRYPTO_HASH_BYTES + 1];
} policy_store_position;

typedef struct policy_store_action {
    uint64_t latest_index;
    uint64_t decision_index;
} policy_store_action;

/* Empties a store that was made for another log's origin. */
status_code policy_store_open(policy_store **out, const char *path, const char *origin,
                              failure *why) MUST_USE;
status_code policy_store_open_reader(policy_store **out, const char *path, failure *why) MUST_USE;
void policy_store_close(policy_store *self); /* takes NULL */

status_code policy_store_begin(policy_store *self, failure *why) MUST_USE;
status_code policy_store_commit(policy_store *self, failure *why) MUST_USE; /* as store_commit */
void policy_store_rollback(policy_store *self);

/* Forgets everything but the origin; inside a transaction. */
status_code policy_store_clear(policy_store *self, failure *why) MUST_USE;
status_code policy_store_read_position(policy_store *self, policy_store_position *out, failure *why) MUST_USE;
status_code policy_store_write_position(policy_store *self, const policy_store_position *position,
                                        failure *why) MUST_USE;

status_code policy_store_put_decision(policy_store *self, const char *action_id, uint64_t index,
                                      failure *why) MUST_USE;
/* A later record of an action that is no decision. */
status_code policy_store_put_latest(policy_store *self, const char *action_id, uint64_t index,
                                    failure *why) MUST_USE;
status_code policy_store_find_action(policy_store *self, const char *action_id, bool *found,
                                     policy_store_action *out, failure *why) MUST_USE;

typedef struct policy_store_statement {
    uint8_t digest[CRYPTO_HASH_BYTES]; /* of the payload */
    uint64_t index;
    uint64_t control_seq;
    bytes envelope; /* packed */
} policy_store_statement;
status_code policy_store_put_statement(policy_store *self, const policy_store_statement *statement,
                                       failure *why) MUST_USE;
/* Every statement's packed envelope, in the order of the log, until `each` fails. */
status_code policy_store_each_statement(policy_store *self,
                                        status_code (*each)(void *context, bytes envelope, failure *why),
                                        void *context, failure *why) MUST_USE;
status_code policy_store_find_statement(policy_store *self, const uint8_t digest[CRYPTO_HASH_BYTES],
                                        bool *found, failure *why) MUST_USE;

#endif
