/* See policy_store.h. */
#include "policy_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_VERSION 1

extern const char policy_schema_sql[];

enum {
    READ_META,
    WRITE_META,
    PUT_DECISION,
    PUT_LATEST,
    FIND_ACTION,
    PUT_STATEMENT,
    FIND_STATEMENT,
    EACH_STATEMENT,
    STATEMENTS
};

static const char *const QUERIES[STATEMENTS] = {
    [READ_META] = "SELECT number, text FROM meta WHERE name = ?1",
    [WRITE_META] = "INSERT INTO meta (name, number, text) VALUES (?1, ?2, ?3) "
                   "ON CONFLICT (name) DO UPDATE SET number = ?2, text = ?3",
    [PUT_DECISION] = "INSERT INTO action (action_id, latest_index, decision_index) VALUES (?1, ?2, ?2) "
                     "ON CONFLICT (action_id) DO UPDATE SET latest_index = ?2, decision_index = ?2",
    [PUT_LATEST] = "UPDATE action SET latest_index = ?2 WHERE action_id = ?1",
    [FIND_ACTION] = "SELECT latest_index, decision_index FROM action WHERE action_id = ?1",
    [PUT_STATEMENT] =
        "INSERT INTO statement (digest, log_index, control_seq, envelope) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (digest) DO NOTHING",
    [EACH_STATEMENT] = "SELECT envelope FROM statement ORDER BY log_index",
    [FIND_STATEMENT] = "SELECT 1 FROM statement WHERE digest = ?1",
};

struct policy_store {
    store base;
    store_statement queries[STATEMENTS];
};

void policy_store_close(policy_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        store_finalize(&self->queries[i]);
    store_close(&self->base);
    free(self);
}

static status_code prepare_all(policy_store *self, failure *why) {
    status_code code = STATUS_OK;
    for (size_t i = 0; i < STATEMENTS && code == STATUS_OK; i++)
        code = store_prepare(&self->base, &self->queries[i], QUERIES[i], why);
    return code;
}

/* ---- meta ---- */

/* Zero and "" when it is absent. */
static status_code read_meta(policy_store *self, const char *name, uint64_t *number, char *text, size_t size,
                             failure *why) {
    store_statement *query = &self->queries[READ_META];
    bool row = false;
    store_bind_text(query, 1, name);
    status_code code = store_step(query, &row, why);
    if (code != STATUS_OK)
        return code;
    *number = row ? (uint64_t)store_column_int(query, 0) : 0;
    if (text != NULL)
        (void)snprintf(text, size, "%s", row ? store_column_text(query, 1) : "");
    store_reset(query);
    return STATUS_OK;
}

static status_code write_meta(policy_store *self, const char *name, uint64_t number, const char *text,
                              failure *why) {
    store_statement *query = &self->queries[WRITE_META];
    store_bind_text(query, 1, name);
    store_bind_int(query, 2, (int64_t)number);
    store_bind_text(query, 3, text);
    return store_run(query, why);
}

status_code policy_store_read_position(policy_store *self, policy_store_position *out, failure *why) {
    policy_store_position found = {0};
    uint64_t nothing = 0;
    status_code code = read_meta(self, "next_index", &found.next_index, NULL, 0, why);
    if (code == STATUS_OK)
        code = read_meta(self, "control_seq", &found.control_seq, NULL, 0, why);
    if (code == STATUS_OK)
        code = read_meta(self, "fence_index", &found.fence_index, NULL, 0, why);
    if (code == STATUS_OK)
        code = read_meta(self, "epoch", &found.epoch, NULL, 0, why);
    if (code == STATUS_OK)
        code = read_meta(self, "last_leaf", &nothing, found.last_leaf, sizeof found.last_leaf, why);
    if (code == STATUS_OK)
        *out = found;
    return code;
}

status_code policy_store_write_position(policy_store *self, const policy_store_position *position,
                                        failure *why) {
    status_code code = write_meta(self, "next_index", position->next_index, "", why);
    if (code == STATUS_OK)
        code = write_meta(self, "control_seq", position->control_seq, "", why);
    if (code == STATUS_OK)
        code = write_meta(self, "fence_index", position->fence_index, "", why);
    if (code == STATUS_OK)
        code = write_meta(self, "epoch", position->epoch, "", why);
    if (code == STATUS_OK)
        code = write_meta(self, "last_leaf", 0, position->last_leaf, why);
    return code;
}

status_code policy_store_clear(policy_store *self, failure *why) {
    return store_execute(&self->base,
                         "DELETE FROM action; DELETE FROM statement; DELETE FROM meta WHERE name <> 'origin'",
                         why);
}

/* ---- opening ---- */

static status_code adopt_origin(policy_store *self, const char *origin, failure *why) {
    char known[256];
    uint64_t nothing = 0;
    status_code code = read_meta(self, "origin", &nothing, known, sizeof known, why);
    if (code != STATUS_OK || strcmp(known, origin) == 0)
        return code;
    code = policy_store_begin(self, why);
    if (code == STATUS_OK)
        code = policy_store_clear(self, why);
    if (code == STATUS_OK)
        code = write_meta(self, "origin", 0, origin, why);
    if (code == STATUS_OK)
        return policy_store_commit(self, why);
    policy_store_rollback(self);
    return code;
}

static policy_store *store_new(failure *why) {
    policy_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        (void)fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to open policy's database");
    return self;
}

status_code policy_store_open(policy_store **out, const char *path, const char *origin, failure *why) {
    policy_store *self = store_new(why);
    if (self == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    status_code code =
        store_open(&self->base, path, SCHEMA_VERSION, policy_schema_sql, NULL, STORE_REBUILDABLE, why);
    if (code == STATUS_OK)
        code = prepare_all(self, why);
    if (code == STATUS_OK)
        code = adopt_origin(self, origin, why);
    if (code != STATUS_OK) {
        policy_store_close(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

status_code policy_store_open_reader(policy_store **out, const char *path, failure *why) {
    policy_store *self = store_new(why);
    if (self == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    status_code code = store_open_reader(&self->base, path, why);
    if (code == STATUS_OK)
        code = prepare_all(self, why);
    if (code != STATUS_OK) {
        policy_store_close(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

status_code policy_store_begin(policy_store *self, failure *why) {
    return store_begin(&self->base, why);
}

status_code policy_store_commit(policy_store *self, failure *why) {
    return store_commit(&self->base, why);
}

void policy_store_rollback(policy_store *self) {
    store_rollback(&self->base);
}

/* ---- actions ---- */

static status_code put_index(policy_store *self, int which, const char *action_id, uint64_t index,
                             failure *why) {
    store_statement *query = &self->queries[which];
    store_bind_text(query, 1, action_id);
    store_bind_int(query, 2, (int64_t)index);
    return store_run(query, why);
}

status_code policy_store_put_decision(policy_store *self, const char *action_id, uint64_t index,
                                      failure *why) {
    return put_index(self, PUT_DECISION, action_id, index, why);
}

status_code policy_store_put_latest(policy_store *self, const char *action_id, uint64_t index, failure *why) {
    return put_index(self, PUT_LATEST, action_id, index, why);
}

status_code policy_store_find_action(policy_store *self, const char *action_id, bool *found,
                                     policy_store_action *out, failure *why) {
    store_statement *query = &self->queries[FIND_ACTION];
    store_bind_text(query, 1, action_id);
    status_code code = store_step(query, found, why);
    if (code != STATUS_OK || !*found)
        return code;
    *out = (policy_store_action){.latest_index = (uint64_t)store_column_int(query, 0),
                                 .decision_index = (uint64_t)store_column_int(query, 1)};
    store_reset(query);
    return STATUS_OK;
}

/* ---- control statements ---- */

status_code policy_store_put_statement(policy_store *self, const policy_store_statement *statement,
                                       failure *why) {
    store_statement *query = &self->queries[PUT_STATEMENT];
    store_bind_blob(query, 1, bytes_of(statement->digest, CRYPTO_HASH_BYTES));
    store_bind_int(query, 2, (int64_t)statement->index);
    store_bind_int(query, 3, (int64_t)statement->control_seq);
    store_bind_blob(query, 4, statement->envelope);
    return store_run(query, why);
}

status_code policy_store_each_statement(policy_store *self,
                                        status_code (*each)(void *context, bytes envelope, failure *why),
                                        void *context, failure *why) {
    store_statement *query = &self->queries[EACH_STATEMENT];
    bool row = true;
    status_code code = STATUS_OK;
    while (code == STATUS_OK && row) {
        code = store_step(query, &row, why);
        if (code == STATUS_OK && row)
            code = each(context, store_column_blob(query, 0), why);
    }
    store_reset(query);
    return code;
}

status_code policy_store_find_statement(policy_store *self, const uint8_t digest[CRYPTO_HASH_BYTES],
                                        bool *found, failure *why) {
    store_statement *query = &self->queries[FIND_STATEMENT];
    store_bind_blob(query, 1, bytes_of(digest, CRYPTO_HASH_BYTES));
    status_code code = store_step(query, found, why);
    if (code == STATUS_OK && *found)
        store_reset(query);
    return code;
}
