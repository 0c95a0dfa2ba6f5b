/* All SQL of the log. A store belongs to one thread: the writer opens it with audit_store_open, everyone else
 * with audit_store_open_reader. Blobs that are handed out live in the given arena. */
#ifndef AUDIT_AUDIT_STORE_H
#define AUDIT_AUDIT_STORE_H

#include "base/arena.h"
#include "counters.h"
#include "leaf.h"
#include "merkle/tree.h"
#include "store/store.h"

typedef struct audit_store {
    store base;
    store_statement insert_entry, insert_body, insert_secret, insert_action, insert_statement;
    store_statement find_successor, find_latest, find_statement;
    store_statement read_entry, read_hashes, read_body, read_secret, read_actions;
    store_statement read_meta, write_meta, write_counter, delete_counter;
} audit_store;

/* Creates and migrates. Errors as store_open. */
status_code audit_store_open(audit_store *self, const char *path, failure *why) MUST_USE;
status_code audit_store_open_reader(audit_store *self, const char *path, failure *why) MUST_USE;
void audit_store_close(audit_store *self); /* takes zeroed */

/* ---- meta ---- */
typedef struct audit_meta {
    bool found;
    int64_t number;
    const char *text; /* in the arena */
} audit_meta;

status_code audit_store_read_meta(audit_store *self, const char *name, arena *memory, audit_meta *out,
                                  failure *why) MUST_USE;
status_code audit_store_write_meta(audit_store *self, const char *name, int64_t number, const char *text,
                                   failure *why) MUST_USE;

/* ---- writing a record: all inside the caller's transaction ---- */
typedef struct audit_row {
    uint64_t index;
    bytes leaf;
    const merkle_created *created;
    size_t created_count;
    bytes sealed;
    const uint8_t *key;  /* CRYPTO_SECRET_BYTES */
    const uint8_t *salt; /* LEAF_SALT_BYTES */
    const char *action_id;
    uint64_t previous;     /* with an action id */
    const uint8_t *digest; /* CRYPTO_HASH_BYTES; without one */
} audit_row;

/* ALREADY_EXISTS when the action has a successor of `previous`, which the writer has ruled out before. */
status_code audit_store_insert(audit_store *self, const audit_row *row, failure *why) MUST_USE;

/* ---- finding; *found tells ---- */
status_code audit_store_successor(audit_store *self, const char *action_id, uint64_t previous, bool *found,
                                  uint64_t *index, failure *why) MUST_USE;
status_code audit_store_latest(audit_store *self, const char *action_id, bool *found, uint64_t *index,
                               failure *why) MUST_USE;
status_code audit_store_statement(audit_store *self, const uint8_t digest[CRYPTO_HASH_BYTES], bool *found,
                                  uint64_t *index, failure *why) MUST_USE;
/* The indices of an action's records from `from` on, oldest first. */
status_code audit_store_action(audit_store *self, const char *action_id, uint64_t from, uint64_t *out,
                               size_t room, size_t *count, failure *why) MUST_USE;

/* ---- reading ---- */
status_code audit_store_size(audit_store *self, uint64_t *out, failure *why) MUST_USE;
/* NOT_FOUND, reason NO_ENTRY. `hashes` as in schema.sql. */
status_code audit_store_read_leaf(audit_store *self, uint64_t index, arena *memory, bytes *leaf,
                                  bytes *hashes, failure *why) MUST_USE;
/* Empty ones once the body was erased. */
status_code audit_store_read_body(audit_store *self, uint64_t index, arena *memory, bytes *sealed, bytes *key,
                                  bytes *salt, failure *why) MUST_USE;
/* A merkle_read; `self` is an audit_store. */
bool audit_store_read_node(void *self, merkle_node node, merkle_hash *out);
/* Calls `each` for every hash of the rows from index `from` on: what a tree in memory starts with. */
status_code audit_store_recent_nodes(audit_store *self, uint64_t from,
                                     void (*each)(void *context, const merkle_created *node), void *context,
                                     failure *why) MUST_USE;
/* How many records below that index belong to actions. */
status_code audit_store_action_rows(audit_store *self, uint64_t below, uint64_t *out, failure *why) MUST_USE;

/* ---- erasure ---- */
/* Destroys body, nonce, key and salt of a record, in a transaction of its own, and what the write-ahead log
 * still holds of them. The writer's connection alone. NOT_FOUND when there is no such body. */
status_code audit_store_erase(audit_store *self, uint64_t index, failure *why) MUST_USE;

/* ---- counters ---- */
status_code audit_store_write_counter(audit_store *self, const char *key, const counter_state *state,
                                      failure *why) MUST_USE;
status_code audit_store_delete_counter(audit_store *self, const char *key, failure *why) MUST_USE;
status_code audit_store_read_counters(audit_store *self,
                                      status_code (*each)(void *context, const char *key,
                                                          const counter_state *state, failure *why),
                                      void *context, failure *why) MUST_USE;

#endif
