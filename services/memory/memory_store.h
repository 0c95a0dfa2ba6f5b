/* All SQL of memory. A store belongs to one thread: the follower's writes, the workers' read. */
#ifndef MEMORY_STORE_H
#define MEMORY_STORE_H

#include "base/arena.h"
#include "memory_records.h"
#include "store/store.h"

typedef struct memory_store memory_store;

status_code memory_store_open(memory_store **out, const char *path, failure *why) MUST_USE;
status_code memory_store_open_reader(memory_store **out, const char *path, failure *why) MUST_USE;
void memory_store_close(memory_store *self); /* takes NULL */

status_code memory_store_begin(memory_store *self, failure *why) MUST_USE;
status_code memory_store_commit(memory_store *self, failure *why) MUST_USE; /* codes as store_commit */
void memory_store_rollback(memory_store *self);

/* The first index that was not applied yet. */
status_code memory_store_next_index(memory_store *self, uint64_t *next, failure *why) MUST_USE;
status_code memory_store_set_next_index(memory_store *self, uint64_t next, failure *why) MUST_USE;

status_code memory_store_apply(memory_store *self, const memory_change *change, failure *why) MUST_USE;

/* What an outcome is checked against. NOT_FOUND (ACTION_UNKNOWN) when the log told of no such action. */
typedef struct memory_action {
    uint64_t latest_index;
    uint8_t digest[32];
    bool has_digest; /* false once the decision's body was erased */
    char principal[257];
} memory_action;
status_code memory_store_find_action(memory_store *self, const char *action_id, memory_action *out,
                                     failure *why) MUST_USE;
/* *found: this very statement is in the log already; *previous is then what it expected. */
status_code memory_store_find_outcome(memory_store *self, const char *action_id, const uint8_t digest[32],
                                      bool *found, uint64_t *previous, failure *why) MUST_USE;

/* Newest first; everything in the arena. `node` and `verb` may be "": any. */
status_code memory_store_recall(memory_store *self, const char *node, const char *verb, uint32_t limit,
                                arena *memory, Interlock__Memory__V1__RecallResponse *out,
                                failure *why) MUST_USE;

#endif
