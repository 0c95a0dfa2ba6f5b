/* All SQL of memory. */
#include "memory_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_VERSION 2

extern const char memory_schema_sql[];    /* schema.sql: a new file */
extern const char memory_migrate_1_sql[]; /* migrate_1.sql: version 1 to 2 */

/* Failed: the state FAILED, REVERTED (it had failed before it was undone) or UNKNOWN (which counts as
 * failed). */
#define TOTALS "count(*), coalesce(sum(a.outcome = 'DENY'), 0), coalesce(sum(a.state IN (2, 3, 4)), 0)"
#define COLUMNS                                                                                              \
    "a.action_id, a.principal, a.verb, a.outcome, a.mode, a.summary, a.decided_at_ms, a.predicted_share, "   \
    "a.predicted_share_high, a.state, a.actual_share, a.note, a.decision_index, a.outcome_index"
#define ANY_NODE " FROM action a WHERE (?2 = '' OR a.verb = ?2) AND ?1 = ''"
#define ONE_VERB " FROM action a WHERE a.verb = ?2 AND ?1 = ''"
/* A node may be named twice among an action's targets; the action counts once. */
#define ONE_NODE                                                                                             \
    " FROM action a WHERE a.action_id IN (SELECT action_id FROM target WHERE node = ?1) AND (?2 = '' OR "    \
    "a.verb = ?2)"
#define CHAIN_COLUMNS "c.log_index, c.incident, c.kind, c.principal, c.note, c.confirmed_at_ms FROM chain c"
#define CHAIN_HOPS_MOST 32U
#define NEWEST " ORDER BY a.decision_index DESC LIMIT ?3"

typedef enum statement_name {
    NEXT_INDEX,
    FIND_ACTION,
    FIND_OUTCOME,
    TARGETS,
    RECALL_ANY,
    RECALL_VERB,
    RECALL_NODE,
    TOTAL_ANY,
    TOTAL_VERB,
    TOTAL_NODE,
    CHAINS_ANY,
    CHAINS_NODE,
    CHAIN_HOPS,
    READ_STATEMENTS, /* from here on the writer's */
    SET_NEXT_INDEX = READ_STATEMENTS,
    SAVE_DECISION,
    CLEAR_TARGETS,
    SAVE_TARGET,
    SAVE_OUTCOME,
    SET_OUTCOME,
    TOUCH,
    SAVE_CHAIN,
    SAVE_HOP,
    STATEMENTS,
} statement_name;

static const char *const sql[STATEMENTS] = {
    [NEXT_INDEX] = "SELECT next_index FROM cursor WHERE id = 1",
    [FIND_ACTION] = "SELECT latest_index, digest, principal FROM action WHERE action_id = ?1",
    [FIND_OUTCOME] =
        "SELECT previous_index FROM outcome WHERE action_id = ?1 AND digest = ?2 ORDER BY log_index LIMIT 1",
    [TARGETS] = "SELECT node FROM target WHERE action_id = ?1 ORDER BY position",
    [RECALL_ANY] = "SELECT " COLUMNS ANY_NODE NEWEST,
    [RECALL_VERB] = "SELECT " COLUMNS ONE_VERB NEWEST,
    [RECALL_NODE] = "SELECT " COLUMNS ONE_NODE NEWEST,
    [TOTAL_ANY] = "SELECT " TOTALS ANY_NODE,
    [TOTAL_VERB] = "SELECT " TOTALS ONE_VERB,
    [TOTAL_NODE] = "SELECT " TOTALS ONE_NODE,
    [CHAINS_ANY] = "SELECT " CHAIN_COLUMNS " WHERE ?1 = '' ORDER BY c.log_index DESC LIMIT ?2",
    [CHAINS_NODE] = "SELECT " CHAIN_COLUMNS " WHERE c.incident = ?1 OR c.log_index IN (SELECT log_index FROM "
                    "chain_hop WHERE node = ?1) ORDER BY c.log_index DESC LIMIT ?2",
    [CHAIN_HOPS] = "SELECT node, edge, at_ms FROM chain_hop WHERE log_index = ?1 ORDER BY position",
    [SET_NEXT_INDEX] = "UPDATE cursor SET next_index = ?1 WHERE id = 1",
    [SAVE_DECISION] =
        "INSERT INTO action (action_id, latest_index, decision_index, digest, principal, verb, outcome, "
        "mode, "
        "summary, decided_at_ms, predicted_share, predicted_share_high) VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, "
        "?7, ?8, ?9, ?10, ?11) ON CONFLICT (action_id) DO UPDATE SET latest_index = ?2, decision_index = ?2, "
        "digest = ?3, principal = ?4, verb = ?5, outcome = ?6, mode = ?7, summary = ?8, decided_at_ms = ?9, "
        "predicted_share = ?10, predicted_share_high = ?11",
    [CLEAR_TARGETS] = "DELETE FROM target WHERE action_id = ?1",
    [SAVE_TARGET] = "INSERT INTO target (action_id, position, node) VALUES (?1, ?2, ?3)",
    [SAVE_OUTCOME] =
        "INSERT INTO outcome (log_index, action_id, previous_index, digest) VALUES (?1, ?2, ?3, ?4)",
    [SET_OUTCOME] = "UPDATE action SET latest_index = ?2, outcome_index = ?2, state = ?3, actual_share = ?4, "
                    "note = ?5 WHERE action_id = ?1",
    [TOUCH] =
        "INSERT INTO action (action_id, latest_index, decision_index, digest, principal, verb, outcome, "
        "mode, summary, decided_at_ms, predicted_share, predicted_share_high) VALUES (?1, ?2, ?2, x'', "
        "'', '', ?3, '', 'its record was erased', ?4, 0, 1) ON CONFLICT (action_id) DO UPDATE SET "
        "latest_index = ?2",
    [SAVE_CHAIN] = "INSERT INTO chain (log_index, incident, kind, principal, note, confirmed_at_ms) VALUES "
                   "(?1, ?2, ?3, ?4, ?5, ?6)",
    [SAVE_HOP] = "INSERT INTO chain_hop (log_index, position, node, edge, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
};

struct memory_store {
    store base;
    size_t count; /* of statements that this connection has */
    store_statement statements[STATEMENTS];
};

static status_code prepare_all(memory_store *self, failure *why) {
    for (size_t i = 0; i < self->count; i++) {
        status_code code = store_prepare(&self->base, &self->statements[i], sql[i], why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code open_with(memory_store **out, const char *path, bool reader, failure *why) {
    memory_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to open %.200s", path);
    static const char *const migrations[SCHEMA_VERSION - 1] = {memory_migrate_1_sql};
    self->count = reader ? READ_STATEMENTS : STATEMENTS;
    status_code code = reader ? store_open_reader(&self->base, path, why)
                              : store_open(&self->base, path, SCHEMA_VERSION, memory_schema_sql, migrations,
                                           STORE_REBUILDABLE, why);
    if (code == STATUS_OK)
        code = prepare_all(self, why);
    if (code != STATUS_OK) {
        memory_store_close(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

status_code memory_store_open(memory_store **out, const char *path, failure *why) {
    return open_with(out, path, false, why);
}

status_code memory_store_open_reader(memory_store **out, const char *path, failure *why) {
    return open_with(out, path, true, why);
}

void memory_store_close(memory_store *self) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        store_finalize(&self->statements[i]);
    store_close(&self->base);
    free(self);
}

status_code memory_store_begin(memory_store *self, failure *why) {
    return store_begin(&self->base, why);
}

status_code memory_store_commit(memory_store *self, failure *why) {
    return store_commit(&self->base, why);
}

void memory_store_rollback(memory_store *self) {
    store_rollback(&self->base);
}

status_code memory_store_next_index(memory_store *self, uint64_t *next, failure *why) {
    store_statement *query = &self->statements[NEXT_INDEX];
    bool row = false;
    status_code code = store_step(query, &row, why);
    if (code == STATUS_OK && !row)
        code = fail(why, STATUS_DATA_LOSS, "CURSOR_MISSING",
                    "memory's database has no cursor; remove it, it is rebuilt from the log");
    if (code == STATUS_OK)
        *next = (uint64_t)store_column_int(query, 0);
    store_reset(query);
    return code;
}

status_code memory_store_set_next_index(memory_store *self, uint64_t next, failure *why) {
    store_statement *update = &self->statements[SET_NEXT_INDEX];
    store_bind_int(update, 1, (int64_t)next);
    return store_run(update, why);
}

/* Only an action that has a record already can have targets. */
static status_code clear_targets(memory_store *self, const memory_change *change, failure *why) {
    store_statement *clear = &self->statements[CLEAR_TARGETS];
    if (change->previous_index == 0)
        return STATUS_OK;
    store_bind_text(clear, 1, change->action_id);
    return store_run(clear, why);
}

static status_code save_targets(memory_store *self, const memory_change *change, failure *why) {
    status_code code = clear_targets(self, change, why);
    for (size_t i = 0; i < change->decision->n_targets && code == STATUS_OK; i++) {
        store_statement *insert = &self->statements[SAVE_TARGET];
        store_bind_text(insert, 1, change->action_id);
        store_bind_int(insert, 2, (int64_t)i);
        store_bind_text(insert, 3, change->decision->targets[i]);
        code = store_run(insert, why);
    }
    return code;
}

/* Without an impact nothing was predicted, which is the whole interval. */
static status_code save_decision(memory_store *self, const memory_change *change, failure *why) {
    const Interlock__Policy__V1__DecisionGist *decision = change->decision;
    const Interlock__Graph__V1__Share *share =
        decision->impact != NULL ? decision->impact->entry_traffic : NULL;
    store_statement *save = &self->statements[SAVE_DECISION];
    store_bind_text(save, 1, change->action_id);
    store_bind_int(save, 2, (int64_t)change->index);
    store_bind_blob(save, 3, bytes_of(decision->action_digest.data, decision->action_digest.len));
    store_bind_text(save, 4, decision->principal);
    store_bind_text(save, 5, decision->verb);
    store_bind_text(save, 6, memory_outcome_name((int)decision->outcome));
    store_bind_text(save, 7, memory_mode_name((int)decision->mode));
    store_bind_text(save, 8, decision->summary);
    store_bind_int(save, 9, decision->decided_at_ms);
    store_bind_double(save, 10, share != NULL ? share->expected : 0.0);
    store_bind_double(save, 11, share != NULL ? share->high : 1.0);
    status_code code = store_run(save, why);
    if (code != STATUS_OK)
        return code;
    return save_targets(self, change, why);
}

static status_code touch(memory_store *self, const memory_change *change, failure *why) {
    store_statement *update = &self->statements[TOUCH];
    store_bind_text(update, 1, change->action_id);
    store_bind_int(update, 2, (int64_t)change->index);
    store_bind_text(update, 3, change->verdict);
    store_bind_int(update, 4, change->recorded_at_ms);
    return store_run(update, why);
}

static status_code save_outcome(memory_store *self, const memory_change *change, failure *why) {
    store_statement *save = &self->statements[SAVE_OUTCOME];
    store_bind_int(save, 1, (int64_t)change->index);
    store_bind_text(save, 2, change->action_id);
    store_bind_int(save, 3, (int64_t)change->previous_index);
    store_bind_blob(save, 4, bytes_of(change->digest, sizeof change->digest));
    status_code code = store_run(save, why);
    if (code != STATUS_OK)
        return code;
    store_statement *update = &self->statements[SET_OUTCOME];
    store_bind_text(update, 1, change->action_id);
    store_bind_int(update, 2, (int64_t)change->index);
    store_bind_int(update, 3, (int64_t)change->outcome->state);
    store_bind_double(update, 4, change->outcome->actual_share);
    store_bind_text(update, 5, change->outcome->note);
    return store_run(update, why);
}

static status_code save_chain(memory_store *self, const memory_change *change, failure *why) {
    const Interlock__Graph__V1__CauseChain *chain = change->chain;
    store_statement *save = &self->statements[SAVE_CHAIN];
    store_statement *hop = &self->statements[SAVE_HOP];
    store_bind_int(save, 1, (int64_t)change->index);
    store_bind_text(save, 2, chain->incident);
    store_bind_int(save, 3, (int64_t)chain->kind);
    store_bind_text(save, 4, chain->header->principal);
    store_bind_text(save, 5, chain->note);
    store_bind_int(save, 6, change->recorded_at_ms);
    status_code code = store_run(save, why);
    for (size_t i = 0; i < chain->n_hops && code == STATUS_OK; i++) {
        store_bind_int(hop, 1, (int64_t)change->index);
        store_bind_int(hop, 2, (int64_t)i);
        store_bind_text(hop, 3, chain->hops[i]->node);
        store_bind_int(hop, 4, (int64_t)chain->hops[i]->edge);
        store_bind_int(hop, 5, chain->hops[i]->at_ms);
        code = store_run(hop, why);
    }
    return code;
}

status_code memory_store_apply(memory_store *self, const memory_change *change, failure *why) {
    switch (change->kind) {
    case MEMORY_NOTHING:
        return STATUS_OK;
    case MEMORY_DECISION:
        return save_decision(self, change, why);
    case MEMORY_OUTCOME:
        return save_outcome(self, change, why);
    case MEMORY_CHAIN:
        return save_chain(self, change, why);
    case MEMORY_TOUCH:
        return touch(self, change, why);
    }
    return STATUS_OK;
}

status_code memory_store_find_action(memory_store *self, const char *action_id, memory_action *out,
                                     failure *why) {
    store_statement *query = &self->statements[FIND_ACTION];
    bool row = false;
    store_bind_text(query, 1, action_id);
    status_code code = store_step(query, &row, why);
    if (code == STATUS_OK && !row)
        code = fail(why, STATUS_NOT_FOUND, "ACTION_UNKNOWN", "the log tells of no action \"%s\"", action_id);
    if (code == STATUS_OK) {
        bytes digest = store_column_blob(query, 1);
        memory_action action = {.latest_index = (uint64_t)store_column_int(query, 0),
                                .has_digest = digest.size == sizeof action.digest};
        if (action.has_digest)
            memcpy(action.digest, digest.data, digest.size);
        snprintf(action.principal, sizeof action.principal, "%s", store_column_text(query, 2));
        *out = action;
    }
    store_reset(query);
    return code;
}

status_code memory_store_find_outcome(memory_store *self, const char *action_id, const uint8_t digest[32],
                                      bool *found, uint64_t *previous, failure *why) {
    store_statement *query = &self->statements[FIND_OUTCOME];
    bool row = false;
    store_bind_text(query, 1, action_id);
    store_bind_blob(query, 2, bytes_of(digest, 32));
    status_code code = store_step(query, &row, why);
    if (code == STATUS_OK) {
        *found = row;
        if (row)
            *previous = (uint64_t)store_column_int(query, 0);
    }
    store_reset(query);
    return code;
}

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE",
                "the answer does not fit; ask for fewer with limit");
}

static status_code read_targets(memory_store *self, Interlock__Memory__V1__Memory *out, arena *memory,
                                failure *why) {
    store_statement *query = &self->statements[TARGETS];
    char *nodes[64];
    size_t count = 0;
    bool row = true;
    store_bind_text(query, 1, out->action_id);
    status_code code = store_step(query, &row, why);
    while (code == STATUS_OK && row && count < sizeof nodes / sizeof *nodes) {
        nodes[count] = arena_text(memory, store_column_text(query, 0));
        if (nodes[count++] == NULL)
            code = no_memory(why);
        else
            code = store_step(query, &row, why);
    }
    store_reset(query);
    if (code != STATUS_OK || count == 0)
        return code;
    out->targets = arena_copy(memory, nodes, count * sizeof *nodes);
    out->n_targets = out->targets != NULL ? count : 0;
    return out->targets != NULL ? STATUS_OK : no_memory(why);
}

static Interlock__Memory__V1__Memory *read_memory(store_statement *row, arena *memory) {
    Interlock__Memory__V1__Memory *out = arena_alloc(memory, sizeof *out);
    if (out == NULL)
        return NULL;
    interlock__memory__v1__memory__init(out);
    out->action_id = arena_text(memory, store_column_text(row, 0));
    out->principal = arena_text(memory, store_column_text(row, 1));
    out->verb = arena_text(memory, store_column_text(row, 2));
    out->outcome = arena_text(memory, store_column_text(row, 3));
    out->mode = arena_text(memory, store_column_text(row, 4));
    out->summary = arena_text(memory, store_column_text(row, 5));
    out->decided_at_ms = store_column_int(row, 6);
    out->predicted_share = store_column_double(row, 7);
    out->predicted_share_high = store_column_double(row, 8);
    out->state = (Interlock__Memory__V1__OutcomeState)store_column_int(row, 9);
    out->actual_share = store_column_double(row, 10);
    out->note = arena_text(memory, store_column_text(row, 11));
    out->decision_index = (uint64_t)store_column_int(row, 12);
    out->outcome_index = (uint64_t)store_column_int(row, 13);
    bool whole = out->action_id != NULL && out->principal != NULL && out->verb != NULL &&
                 out->outcome != NULL && out->mode != NULL && out->summary != NULL && out->note != NULL;
    return whole ? out : NULL;
}

static status_code read_page(memory_store *self, store_statement *query, uint32_t limit, arena *memory,
                             Interlock__Memory__V1__RecallResponse *out, failure *why) {
    Interlock__Memory__V1__Memory **page = arena_zero(memory, limit, sizeof(void *));
    size_t count = 0;
    bool row = true;
    if (page == NULL)
        return no_memory(why);
    status_code code = store_step(query, &row, why);
    while (code == STATUS_OK && row && count < limit) {
        page[count] = read_memory(query, memory);
        code = page[count] != NULL ? read_targets(self, page[count], memory, why) : no_memory(why);
        count++;
        if (code == STATUS_OK)
            code = store_step(query, &row, why);
    }
    store_reset(query);
    if (code == STATUS_OK) {
        out->memories = page;
        out->n_memories = count;
    }
    return code;
}

static status_code read_totals(store_statement *query, Interlock__Memory__V1__RecallResponse *out,
                               failure *why) {
    bool row = false;
    status_code code = store_step(query, &row, why);
    if (code == STATUS_OK && row) {
        out->matching = (uint64_t)store_column_int(query, 0);
        out->denied = (uint64_t)store_column_int(query, 1);
        out->failed = (uint64_t)store_column_int(query, 2);
    }
    store_reset(query);
    return code;
}

/* ---- chains ---- */

static status_code read_hops(memory_store *self, Interlock__Memory__V1__RememberedChain *out, arena *memory,
                             failure *why) {
    store_statement *query = &self->statements[CHAIN_HOPS];
    bool row = true;
    out->hops = arena_zero(memory, CHAIN_HOPS_MOST, sizeof(void *));
    store_bind_int(query, 1, (int64_t)out->log_index);
    status_code code = out->hops != NULL ? store_step(query, &row, why) : no_memory(why);
    while (code == STATUS_OK && row && out->n_hops < CHAIN_HOPS_MOST) {
        Interlock__Graph__V1__ConfirmedHop *hop = arena_alloc(memory, sizeof *hop);
        char *node = arena_text(memory, store_column_text(query, 0));
        if (hop == NULL || node == NULL) {
            code = no_memory(why);
            break;
        }
        interlock__graph__v1__confirmed_hop__init(hop);
        hop->node = node;
        hop->edge = (Interlock__Graph__V1__EdgeKind)store_column_int(query, 1);
        hop->at_ms = store_column_int(query, 2);
        out->hops[out->n_hops++] = hop;
        code = store_step(query, &row, why);
    }
    store_reset(query);
    return code;
}

static Interlock__Memory__V1__RememberedChain *read_chain(store_statement *row, arena *memory) {
    Interlock__Memory__V1__RememberedChain *out = arena_alloc(memory, sizeof *out);
    if (out == NULL)
        return NULL;
    interlock__memory__v1__remembered_chain__init(out);
    out->log_index = (uint64_t)store_column_int(row, 0);
    out->incident = arena_text(memory, store_column_text(row, 1));
    out->kind = (Interlock__Graph__V1__CauseKind)store_column_int(row, 2);
    out->principal = arena_text(memory, store_column_text(row, 3));
    out->note = arena_text(memory, store_column_text(row, 4));
    out->confirmed_at_ms = store_column_int(row, 5);
    return out->incident != NULL && out->principal != NULL && out->note != NULL ? out : NULL;
}

static status_code read_chains(memory_store *self, const char *node, uint32_t limit, arena *memory,
                               Interlock__Memory__V1__RecallResponse *out, failure *why) {
    store_statement *query = &self->statements[node[0] != '\0' ? CHAINS_NODE : CHAINS_ANY];
    bool row = true;
    out->chains = arena_zero(memory, limit, sizeof(void *));
    if (out->chains == NULL)
        return no_memory(why);
    store_bind_text(query, 1, node);
    store_bind_int(query, 2, limit);
    status_code code = store_step(query, &row, why);
    while (code == STATUS_OK && row && out->n_chains < limit) {
        Interlock__Memory__V1__RememberedChain *one = read_chain(query, memory);
        code = one != NULL ? read_hops(self, one, memory, why) : no_memory(why);
        if (code == STATUS_OK) {
            out->chains[out->n_chains++] = one;
            code = store_step(query, &row, why);
        }
    }
    store_reset(query);
    return code;
}

/* One transaction, so that page, totals and index speak of the same instant. */
status_code memory_store_recall(memory_store *self, const char *node, const char *verb, uint32_t limit,
                                arena *memory, Interlock__Memory__V1__RecallResponse *out, failure *why) {
    size_t shape = node[0] != '\0' ? 2 : (verb[0] != '\0' ? 1 : 0);
    store_statement *page = &self->statements[RECALL_ANY + shape];
    store_statement *totals = &self->statements[TOTAL_ANY + shape];
    uint64_t next = 0;
    Interlock__Memory__V1__RecallResponse made = *out;
    status_code code = store_begin(&self->base, why);
    if (code != STATUS_OK)
        return code;
    store_bind_text(page, 1, node);
    store_bind_text(page, 2, verb);
    store_bind_int(page, 3, limit);
    code = read_page(self, page, limit, memory, &made, why);
    if (code == STATUS_OK) {
        store_bind_text(totals, 1, node);
        store_bind_text(totals, 2, verb);
        code = read_totals(totals, &made, why);
    }
    if (code == STATUS_OK && verb[0] == '\0')
        code = read_chains(self, node, limit, memory, &made, why);
    if (code == STATUS_OK)
        code = memory_store_next_index(self, &next, why);
    store_rollback(&self->base);
    if (code != STATUS_OK)
        return code;
    made.applied_index = next > 0 ? next - 1 : 0;
    *out = made;
    return STATUS_OK;
}
