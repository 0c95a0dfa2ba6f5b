/* The history's writing side: facts in, statements into the tail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"
#include "history_retain.h"
#include "history_store.h"

static status_code full(history *self, failure *why) {
    self->refused++;
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "HISTORY_FULL",
                "the history holds as many nodes, edges, origins or names as it may");
}

/* ---- Checking
 * ------------------------------------------------------------------------------------------------------- */

static status_code bad_fact(failure *why, const char *what) {
    return fail(why, STATUS_INVALID_ARGUMENT, "BAD_FACT", "%s", what);
}

static status_code name_check(const char *name, int *kind, failure *why) {
    name_parts parts = {0};
    status_code status = name_parse(name, &parts, why);
    if (status == STATUS_OK)
        *kind = (int)parts.kind;
    return status;
}

/* What names a thing. */
static status_code thing_check(const fact *what, failure *why) {
    int kind = 0;
    status_code status = name_check(what->name, &kind, why);
    if (status != STATUS_OK)
        return status;
    if (!what->is_edge)
        return what->kind == kind ? STATUS_OK
                                  : bad_fact(why, "a node's kind and the kind in its name differ");
    if (what->to == NULL)
        return bad_fact(why, "an edge that ends nowhere");
    if (what->kind < 1 || what->kind > 31)
        return bad_fact(why, "an edge of an unknown kind");
    return name_check(what->to, &kind, why);
}

static status_code origin_check(const fact *what, failure *why) {
    size_t size = what->origin == NULL ? 0 : strlen(what->origin);
    if (size == 0 || size >= HISTORY_ORIGIN_BYTES || !utf8_valid(bytes_of_text(what->origin)))
        return bad_fact(why, "a fact of no origin, or of one whose name is too long or no text");
    return thing_check(what, why);
}

static status_code attributes_check(const fact *what, failure *why) {
    size_t size = 0;
    if (what->attribute_count > HISTORY_ATTRIBUTES_MAX)
        return bad_fact(why, "more than 64 attributes");
    for (size_t i = 0; i < what->attribute_count; i++) {
        const attribute *item = &what->attributes[i];
        size_t key = strlen(item->key);
        size_t value = strlen(item->value);
        if (key == 0 || key >= HISTORY_KEY_BYTES || value >= HISTORY_ATTRIBUTE_BYTES ||
            (size += key + value) > HISTORY_BODY_BYTES)
            return bad_fact(why, "an attribute is too long");
        if (i > 0 && strcmp(what->attributes[i - 1].key, item->key) >= 0)
            return bad_fact(why, "attributes are not in the order of their keys, or one comes twice");
        if (!utf8_valid(bytes_of_text(item->key)) || !utf8_valid(bytes_of_text(item->value)))
            return bad_fact(why, "an attribute is no text");
    }
    return STATUS_OK;
}

static status_code time_check(int64_t time_ms, int64_t recorded_ms, failure *why) {
    if (time_ms < 0 || recorded_ms < 0 || recorded_ms >= INT64_MAX / 8)
        return bad_fact(why, "a time before 1970");
    if (time_ms > recorded_ms + HISTORY_FUTURE_MS)
        return fail(why, STATUS_INVALID_ARGUMENT, "FROM_THE_FUTURE",
                    "a fact of a time that has not come: state it once it is true, and its end once it ends");
    return STATUS_OK;
}

static status_code fact_check(const fact *what, int64_t recorded_ms, failure *why) {
    status_code status = origin_check(what, why);
    if (status == STATUS_OK)
        status = attributes_check(what, why);
    if (status == STATUS_OK && (what->source < 1 || what->source > 4))
        status = bad_fact(why, "a fact without provenance");
    if (status == STATUS_OK && !(what->confidence >= 0 && what->confidence <= 1))
        status = bad_fact(why, "a confidence outside of 0 to 1");
    if (status == STATUS_OK)
        status = time_check(what->valid_from_ms, recorded_ms, why);
    if (status == STATUS_OK && what->valid_to_ms != HISTORY_OPEN)
        status = what->valid_to_ms <= what->valid_from_ms ? bad_fact(why, "a fact that ends before it begins")
                                                          : time_check(what->valid_to_ms, recorded_ms, why);
    return status;
}

/* ---- Things
 * ---------------------------------------------------------------------------------------------------------
 */

static uint32_t thing_find(const history *self, const fact *what) {
    uint32_t node = index_node_find(self, what->name);
    if (!what->is_edge || node == HISTORY_NONE)
        return node;
    uint32_t to = index_node_find(self, what->to);
    uint32_t edge = to == HISTORY_NONE ? HISTORY_NONE : index_edge_find(self, node, to, what->kind);
    return edge == HISTORY_NONE ? HISTORY_NONE : edge | EDGE_BIT;
}

static int kind_of_name(const char *name) {
    name_parts parts = {0};
    return name_parse(name, &parts, NULL) == STATUS_OK ? (int)parts.kind : 0;
}

/* Under the lock. What was made before a bound was met stays, and is nothing without a statement. */
static uint32_t thing_make(history *self, const fact *what) {
    uint32_t node = index_node(self, what->name, what->is_edge ? kind_of_name(what->name) : what->kind);
    if (!what->is_edge || node == HISTORY_NONE)
        return node;
    uint32_t to = index_node(self, what->to, kind_of_name(what->to));
    uint32_t edge = to == HISTORY_NONE ? HISTORY_NONE : index_edge(self, node, to, what->kind);
    return edge == HISTORY_NONE ? HISTORY_NONE : edge | EDGE_BIT;
}

static status_code timeline_make(history *self, const fact *what, uint32_t *timeline, failure *why) {
    uint32_t origin = index_origin_find(self, what->origin);
    uint32_t thing = thing_find(self, what);
    uint32_t found = origin == HISTORY_NONE || thing == HISTORY_NONE
                         ? HISTORY_NONE
                         : index_timeline_find(self, thing, origin);
    if (found == HISTORY_NONE) {
        pthread_rwlock_wrlock(&self->lock);
        origin = index_origin(self, what->origin);
        thing = origin == HISTORY_NONE ? HISTORY_NONE : thing_make(self, what);
        found = thing == HISTORY_NONE ? HISTORY_NONE : index_timeline(self, thing, origin);
        pthread_rwlock_unlock(&self->lock);
    }
    if (found == HISTORY_NONE)
        return full(self, why);
    *timeline = found;
    return STATUS_OK;
}

/* ---- Statements
 * ----------------------------------------------------------------------------------------------------- */

#define TAIL_MAX (1U << 30)

/* Room for what one fact can become, so that it becomes all of it or nothing. */
static status_code tail_reserve(history *self, failure *why) {
    pthread_rwlock_wrlock(&self->lock);
    bool good = self->tail_count < TAIL_MAX;
    for (uint32_t i = 0; i < 4 && good; i++)
        good = room_for((void **)&self->tail, self->tail_count + i, &self->tail_room, sizeof *self->tail);
    good =
        good && room_for((void **)&self->groups, self->group_count, &self->group_room, sizeof *self->groups);
    pthread_rwlock_unlock(&self->lock);
    return good ? STATUS_OK : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a fact");
}

/* Under the lock. Recorded times of commits are all different, so that one stands for its revision. */
static void group_begin(history *self) {
    int64_t least_ms = self->last_recorded_ms + 1;
    if (self->group_recorded_ms == 0)
        self->group_recorded_ms = self->told_ms > least_ms ? self->told_ms : least_ms;
}

static void state(history *self, uint32_t timeline, int64_t from_ms, int64_t to_ms, uint32_t value) {
    pthread_rwlock_wrlock(&self->lock);
    group_begin(self);
    timeline_item *item = &self->timelines[timeline];
    self->tail[self->tail_count] = (tail_statement){.from_ms = from_ms,
                                                    .to_ms = to_ms,
                                                    .timeline = timeline,
                                                    .value = value,
                                                    .previous = item->last,
                                                    .group = self->group_count};
    item->last = ++self->tail_count;
    if (to_ms == HISTORY_OPEN) {
        item->mark_ms = from_ms;
        item->value = value;
        item->recorded_ms = self->group_recorded_ms;
        item->known = true;
    }
    pthread_rwlock_unlock(&self->lock);
}

/* From the newest point of valid time on, or beyond it. */
static void state_newest(history *self, uint32_t timeline, int64_t from_ms, int64_t to_ms, uint32_t value) {
    const timeline_item *item = &self->timelines[timeline];
    uint32_t before = item->known ? item->value : VALUE_ABSENT;
    if (item->known && before == value)
        return;
    state(self, timeline, from_ms, HISTORY_OPEN, value);
    if (to_ms != HISTORY_OPEN)
        state(self, timeline, to_ms, HISTORY_OPEN, before);
}

/* Not all that the origin said of that time is kept, so that what comes so late must leave alone what is so
 * now. */
static bool is_thinned(const history *self, uint32_t timeline, int64_t from_ms) {
    if (from_ms < self->segments[0].start_ms)
        return true;
    for (uint32_t i = 0; i + 1 < self->segment_count; i++)
        if (from_ms < self->segments[i + 1].start_ms && retain_folded(self, timeline, &self->segments[i]))
            return true;
    return false;
}

/* Open: it lasts until the next thing that the origin says, or on through it when that is the same. */
static void state_late_open(history *self, uint32_t timeline, int64_t from_ms, uint32_t value,
                            const past *known) {
    uint32_t at = past_find(known, from_ms);
    const piece *here = &known->pieces[at];
    if (here->from_ms <= from_ms && here->value == value)
        return;
    const piece *end = known->pieces + known->piece_count;
    const piece *next = here;
    while (next < end && next->from_ms <= from_ms)
        next++;
    while (next < end && here->from_ms <= from_ms && next->value == here->value)
        next++;
    int64_t to_ms = next < end ? next->from_ms : HISTORY_OPEN;
    for (; next < end && next->value == value; next++)
        to_ms = next->to_ms;
    if (to_ms == HISTORY_OPEN && is_thinned(self, timeline, from_ms))
        to_ms = self->timelines[timeline].mark_ms;
    state(self, timeline, from_ms, to_ms, value);
}

static bool says_already(const past *known, int64_t from_ms, int64_t to_ms, uint32_t value) {
    for (uint32_t at = past_find(known, from_ms); at < known->piece_count; at++) {
        const piece *here = &known->pieces[at];
        if (here->from_ms > from_ms || here->value != value)
            return false;
        if (here->to_ms >= to_ms)
            return true;
        from_ms = here->to_ms;
    }
    return false;
}

/* A stated interval that begins before the newest point. What nobody spoke of before it, and after it until
 * the first thing that was said, is absent. */
static void state_late(history *self, uint32_t timeline, int64_t from_ms, int64_t to_ms, uint32_t value,
                       const past *known) {
    const timeline_item *item = &self->timelines[timeline];
    uint32_t newest = item->value;
    if (says_already(known, from_ms, to_ms, value))
        return;
    if (to_ms > item->mark_ms) {
        state(self, timeline, from_ms, HISTORY_OPEN, value);
        if (newest != value)
            state(self, timeline, to_ms, HISTORY_OPEN, newest);
        return;
    }
    state(self, timeline, from_ms, to_ms, value);
    if (to_ms < known->pieces[0].from_ms)
        state(self, timeline, to_ms, known->pieces[0].from_ms, VALUE_ABSENT);
}

/* What the origin says of the thing so far, what is not stored yet included. */
static status_code known_past(history *self, uint32_t timeline, past *out, failure *why) {
    statement *tail = NULL;
    timeline_source from = {.store = self->store,
                            .segments = self->segments,
                            .segment_count = self->segment_count - 1,
                            .recorded_ms = INT64_MAX};
    if (!tail_statements(self, timeline, self->tail_count, &tail, &from.tail_count))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a fact");
    from.tail = tail;
    status_code status = timeline_past(&from, timeline, out, why);
    free(tail);
    return status;
}

static status_code place(history *self, uint32_t timeline, int64_t from_ms, int64_t to_ms, uint32_t value,
                         failure *why) {
    if (!self->timelines[timeline].known || from_ms >= self->timelines[timeline].mark_ms) {
        state_newest(self, timeline, from_ms, to_ms, value);
        return STATUS_OK;
    }
    past known = {0};
    status_code status = known_past(self, timeline, &known, why);
    if (status == STATUS_OK && known.piece_count == 0)
        status = fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT",
                      "the history's store lacks what memory knows; restore it from a backup");
    if (status == STATUS_OK) {
        self->late++;
        if (to_ms == HISTORY_OPEN)
            state_late_open(self, timeline, from_ms, value, &known);
        else
            state_late(self, timeline, from_ms, to_ms, value, &known);
    }
    past_free(&known);
    return status;
}

/* ---- Facts
 * ----------------------------------------------------------------------------------------------------------
 */

status_code history_assert(history *self, const fact *what, int64_t recorded_ms, failure *why) {
    uint32_t value = 0;
    uint32_t timeline = 0;
    status_code status = fact_check(what, recorded_ms, why);
    if (status == STATUS_OK)
        status = value_intern(self, what, &value, why);
    if (status == STATUS_OK)
        status = tail_reserve(self, why);
    if (status == STATUS_OK)
        status = timeline_make(self, what, &timeline, why);
    if (status != STATUS_OK)
        return status;
    self->told_ms = recorded_ms;
    return place(self, timeline, what->valid_from_ms, what->valid_to_ms, value, why);
}

status_code history_retract(history *self, const fact *what, int64_t valid_to_ms, int64_t recorded_ms,
                            failure *why) {
    uint32_t timeline = 0;
    status_code status = origin_check(what, why);
    if (status == STATUS_OK)
        status = time_check(valid_to_ms, recorded_ms, why);
    if (status == STATUS_OK)
        status = tail_reserve(self, why);
    if (status == STATUS_OK)
        status = timeline_make(self, what, &timeline, why);
    if (status != STATUS_OK)
        return status;
    self->told_ms = recorded_ms;
    if (!self->timelines[timeline].known)
        state(self, timeline, valid_to_ms, HISTORY_OPEN, VALUE_ABSENT);
    return place(self, timeline, valid_to_ms, HISTORY_OPEN, VALUE_ABSENT, why);
}

/* ---- Names
 * ----------------------------------------------------------------------------------------------------------
 */

const char *history_resolve(history *self, const char *name) {
    uint32_t node = index_node_find(self, name);
    return node == HISTORY_NONE ? name : self->nodes[node].name;
}

bool history_resolve_into(history *self, const char *name, char out[LIMIT_NAME_BYTES + 16]) {
    pthread_rwlock_rdlock(&self->lock);
    uint32_t node = self->alias_count == 0 ? HISTORY_NONE : index_node_find(self, name);
    bool other = node != HISTORY_NONE && strcmp(self->nodes[node].name, name) != 0;
    if (other)
        snprintf(out, LIMIT_NAME_BYTES + 16, "%s", self->nodes[node].name);
    pthread_rwlock_unlock(&self->lock);
    return other;
}

static bool is_shown(const history *self, uint32_t node) {
    for (uint32_t at = self->nodes[node].timelines; at != 0; at = self->timelines[at - 1].next)
        if (self->timelines[at - 1].value != VALUE_ABSENT)
            return true;
    return false;
}

/* `name` may become another name of `node`: it is nobody's, its own, or that of a node that is no longer
 * shown. */
static status_code name_free_up(history *self, uint32_t node, const char *name, failure *why) {
    uint32_t other = index_node_find(self, name);
    if (other == HISTORY_NONE || other == node)
        return STATUS_OK;
    if (is_shown(self, other) || strcmp(self->nodes[other].name, name) != 0)
        return fail(why, STATUS_ALREADY_EXISTS, "NAME_TAKEN",
                    "%s is the name of another node; say that one's end first", name);
    return index_name_take(self, other) ? STATUS_OK : full(self, why);
}

static status_code names_check(history *self, const char *node, const char *name, uint32_t *number,
                               failure *why) {
    int kind = 0;
    int other = 0;
    status_code status = name_check(node, &kind, why);
    if (status == STATUS_OK)
        status = name_check(name, &other, why);
    if (status == STATUS_OK && kind != other)
        status = bad_fact(why, "a node cannot become one of another kind");
    return status == STATUS_OK && (*number = index_node(self, node, kind)) == HISTORY_NONE ? full(self, why)
                                                                                           : status;
}

static status_code name_give(history *self, const char *node, const char *name, bool renames, failure *why) {
    uint32_t number = 0;
    pthread_rwlock_wrlock(&self->lock);
    status_code status = names_check(self, node, name, &number, why);
    if (status == STATUS_OK && strcmp(self->nodes[number].name, name) != 0) {
        bool has = index_node_find(self, name) == number;
        status = name_free_up(self, number, name, why);
        if (status == STATUS_OK && renames && !index_rename(self, number, name))
            status = full(self, why);
        if (status == STATUS_OK && !renames && !has && !index_alias(self, name, number))
            status = full(self, why);
    }
    pthread_rwlock_unlock(&self->lock);
    return status;
}

status_code history_rename(history *self, const char *node, const char *name, int64_t recorded_ms,
                           failure *why) {
    (void)recorded_ms;
    return name_give(self, node, name, true, why);
}

status_code history_alias(history *self, const char *node, const char *alias, int64_t recorded_ms,
                          failure *why) {
    (void)recorded_ms;
    return name_give(self, node, alias, false, why);
}

/* ---- What stands now
 * ------------------------------------------------------------------------------------------------- */

static status_code value_body(history *self, uint32_t number, bytes *body, failure *why) {
    for (uint32_t i = self->value_count; i > 0; i--)
        if (self->values[i - 1].number == number) {
            *body = bytes_of(self->values[i - 1].body, self->values[i - 1].size);
            return STATUS_OK;
        }
    return history_store_value(self->store, number, body, why);
}

static void thing_name(const history *self, uint32_t thing, fact *out) {
    out->is_edge = (thing & EDGE_BIT) != 0;
    if (!out->is_edge) {
        out->kind = self->nodes[thing].kind;
        out->name = self->nodes[thing].name;
        return;
    }
    const edge_item *edge = &self->edges[thing & ~EDGE_BIT];
    out->kind = edge->kind;
    out->name = self->nodes[edge->from].name;
    out->to = self->nodes[edge->to].name;
}

/* *more becomes false when the visitor wants no more. */
static status_code timeline_visit(history *self, uint32_t timeline, arena *memory, history_visitor visit,
                                  void *context, bool *more, failure *why) {
    const timeline_item *item = &self->timelines[timeline];
    if (!item->known || item->value == VALUE_ABSENT)
        return STATUS_OK;
    bytes body = {0};
    version said = {0};
    arena_reset(memory);
    status_code status = value_body(self, value_number(item->value), &body, why);
    if (status != STATUS_OK)
        return status;
    if (!codec_value_read(body, memory, &said))
        return fail(why, STATUS_DATA_LOSS, "STORE_INCONSISTENT", "a value of the history cannot be read");
    fact what = {.source = said.source,
                 .confidence = said.confidence,
                 .origin = self->origins[item->origin],
                 .valid_from_ms = item->mark_ms,
                 .valid_to_ms = HISTORY_OPEN,
                 .attributes = said.attributes,
                 .attribute_count = said.attribute_count};
    thing_name(self, item->thing, &what);
    *more = visit(context, &what, item->recorded_ms);
    return STATUS_OK;
}

#define VALUE_ARENA_BYTES (HISTORY_BODY_BYTES * 4U)

status_code history_each(history *self, const char *origin, history_visitor visit, void *context,
                         failure *why) {
    uint32_t only = origin == NULL ? HISTORY_NONE : index_origin_find(self, origin);
    if (origin != NULL && only == HISTORY_NONE)
        return STATUS_OK;
    arena memory;
    arena_init(&memory, 4096, VALUE_ARENA_BYTES);
    status_code status = STATUS_OK;
    bool more = true;
    for (uint32_t i = 0; i < self->timeline_count && status == STATUS_OK && more; i++)
        if (only == HISTORY_NONE || self->timelines[i].origin == only)
            status = timeline_visit(self, i, &memory, visit, context, &more, why);
    arena_free(&memory);
    return status;
}

status_code history_current(history *self, const fact *what, history_visitor visit, void *context,
                            failure *why) {
    uint32_t thing = thing_find(self, what);
    uint32_t only = what->origin == NULL ? HISTORY_NONE : index_origin_find(self, what->origin);
    if (thing == HISTORY_NONE || (what->origin != NULL && only == HISTORY_NONE))
        return STATUS_OK;
    arena memory;
    arena_init(&memory, 4096, VALUE_ARENA_BYTES);
    status_code status = STATUS_OK;
    bool more = true;
    for (uint32_t at = index_first_timeline(self, thing); at != 0 && status == STATUS_OK && more;
         at = self->timelines[at - 1].next)
        if (only == HISTORY_NONE || self->timelines[at - 1].origin == only)
            status = timeline_visit(self, at - 1, &memory, visit, context, &more, why);
    arena_free(&memory);
    return status;
}
