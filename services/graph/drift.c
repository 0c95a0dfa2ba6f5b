/* Drift: one walk over all statements, noting of each thing who speaks of it. */
#include "drift.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>

#define KINDS 32U

typedef Interlock__Graph__V1__DriftItem drift_item;

/* Of one node or edge: its first statement of each sort. */
typedef struct note {
    const char *key; /* "0 1 service:prod/shop/cart" */
    bool is_edge, declared, seen;
    bool named; /* a declared edge ends there */
    int kind;
    const char *name, *to, *origin;
    provenance source;
    double confidence;
    int64_t since_ms;
    UT_hash_handle hh;
} note;

typedef struct drift {
    arena *scratch, *memory;
    note *notes;
    bool declared_kinds[2][KINDS]; /* nodes, edges */
    bool failed;
    drift_response *out;
} drift;

/* Kinds that telemetry or objects show. */
static bool is_seen_kind(bool is_edge, int kind) {
    static const edge_kind edges[] = {EDGE_KIND(CALLS), EDGE_KIND(PUBLISHES), EDGE_KIND(CONSUMES),
                                      EDGE_KIND(READS), EDGE_KIND(WRITES),    EDGE_KIND(RUNS_ON)};
    static const node_kind nodes[] = {NODE_KIND(SERVICE), NODE_KIND(ENDPOINT), NODE_KIND(DATASTORE),
                                      NODE_KIND(QUEUE), NODE_KIND(HOST)};
    if (is_edge) {
        for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
            if ((int)edges[i] == kind)
                return true;
        return false;
    }
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        if ((int)nodes[i] == kind)
            return true;
    return false;
}

static note *note_of(drift *self, const fact *what) {
    const char *key = arena_format(self->scratch, "%d %d %s %s", what->is_edge, what->kind, what->name,
                                   what->is_edge ? what->to : "");
    note *found = NULL;
    if (key == NULL)
        return NULL;
    HASH_FIND_STR(self->notes, key, found);
    if (found != NULL)
        return found;
    bool added = true;
    found = arena_zero(self->scratch, 1, sizeof *found);
    if (found == NULL)
        return NULL;
    found->key = key;
    found->is_edge = what->is_edge;
    found->kind = what->kind;
    found->name = arena_text(self->scratch, what->name);
    found->to = arena_text(self->scratch, what->is_edge ? what->to : "");
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) added = false
    HASH_ADD_KEYPTR(hh, self->notes, found->key, strlen(found->key), found);
    return added && found->name != NULL && found->to != NULL ? found : NULL;
}

/* Whoever declares an edge knows of both its ends. */
static bool ends_note(drift *self, const fact *what) {
    const char *ends[] = {what->name, what->to};
    for (size_t i = 0; i < 2; i++) {
        name_parts parts;
        if (name_parse(ends[i], &parts, NULL) != STATUS_OK || !is_seen_kind(false, (int)parts.kind))
            continue;
        fact end = {.kind = (int)parts.kind, .name = ends[i]};
        note *item = note_of(self, &end);
        if (item == NULL)
            return false;
        item->named = true;
    }
    return true;
}

static bool statement_note(void *context, const fact *what, int64_t recorded_from_ms) {
    drift *self = context;
    (void)recorded_from_ms;
    bool declared = strncmp(what->origin, "declaration:", 12) == 0;
    if (declared && what->is_edge && !ends_note(self, what)) {
        self->failed = true;
        return false;
    }
    if (!is_seen_kind(what->is_edge, what->kind) ||
        (what->is_edge && strncmp(what->name, "journey:", 8) == 0)) /* people's journeys are not telemetry */
        return true;
    note *item = note_of(self, what);
    const char *origin = item != NULL ? arena_text(self->scratch, what->origin) : NULL;
    self->failed = origin == NULL;
    if (self->failed)
        return false;
    item->declared = item->declared || declared;
    item->seen = item->seen || !declared;
    if (declared && (unsigned)what->kind < KINDS)
        self->declared_kinds[what->is_edge][what->kind] = true;
    if (item->origin == NULL || what->valid_from_ms < item->since_ms) {
        item->origin = origin;
        item->since_ms = what->valid_from_ms;
        item->source = what->source;
        item->confidence = what->confidence;
    }
    return true;
}

static int note_compare(const note *a, const note *b) {
    return strcmp(a->key, b->key);
}

static drift_item *item_make(const note *from, arena *memory) {
    drift_item *item = arena_alloc(memory, sizeof *item);
    statements list;
    if (item == NULL)
        return NULL;
    interlock__graph__v1__drift_item__init(item);
    statements_begin(&list, memory);
    size_t index = from->is_edge
                       ? statements_edge(&list, (edge_kind)from->kind, from->name, from->to, from->source)
                       : statements_node(&list, (node_kind)from->kind, from->name, from->source);
    if (list.failed)
        return NULL;
    list.items[index].confidence = from->confidence;
    item->statement = statement_to_message(&list.items[index], memory);
    item->origin = arena_text(memory, from->origin);
    item->since_ms = from->since_ms;
    return item->statement != NULL && item->origin != NULL ? item : NULL;
}

static bool note_tell(drift *self, const note *from) {
    drift_response *out = self->out;
    bool never_seen = from->declared && !from->seen;
    bool undeclared = from->seen && !from->declared && !from->named && (unsigned)from->kind < KINDS &&
                      self->declared_kinds[from->is_edge][from->kind];
    uint32_t *count = never_seen ? &out->never_seen_count : &out->undeclared_count;
    size_t *listed = never_seen ? &out->n_never_seen : &out->n_undeclared;
    if (!never_seen && !undeclared)
        return true;
    (*count)++;
    if (*listed == DRIFT_LIST_MAX)
        return true;
    drift_item *item = item_make(from, self->memory);
    if (item != NULL)
        (never_seen ? out->never_seen : out->undeclared)[(*listed)++] = item;
    return item != NULL;
}

static status_code drift_tell(drift *self, failure *why) {
    drift_response *out = self->out;
    out->never_seen = arena_alloc(self->memory, DRIFT_LIST_MAX * sizeof(void *));
    out->undeclared = arena_alloc(self->memory, DRIFT_LIST_MAX * sizeof(void *));
    bool whole = out->never_seen != NULL && out->undeclared != NULL && !self->failed;
    HASH_SORT(self->notes, note_compare);
    for (const note *item = self->notes; item != NULL && whole; item = item->hh.next)
        whole = note_tell(self, item);
    return whole ? STATUS_OK
                 : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to look for drift");
}

status_code drift_find(history *past, arena *scratch, arena *memory, drift_response *out, failure *why) {
    drift self = {.scratch = scratch, .memory = memory, .out = out};
    status_code code = history_each(past, NULL, statement_note, &self, why);
    if (code == STATUS_OK)
        code = drift_tell(&self, why);
    HASH_CLEAR(hh, self.notes);
    return code;
}
