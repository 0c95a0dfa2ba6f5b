/* Lanes of states, and the statements that several lanes make. */
#include "lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"

#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>

#define SUBJECT_BYTES 16U

typedef struct lane_state {
    int64_t from_ms;
    char *tie;
    change_role role;
    uint8_t *packed;
    size_t size;
} lane_state;

typedef struct lane {
    char *name, *origin;
    lane_state states[LANE_STATES_MAX + 1]; /* one more while a state is being put */
    size_t count;
    struct lane *next_dirty;
    bool dirty;
    UT_hash_handle hh;
} lane;

/* How many lanes of one origin say something about a node or edge at their end: it is taken back with the
 * last. */
typedef struct subject {
    uint8_t id[SUBJECT_BYTES];
    uint32_t lanes;
    UT_hash_handle hh;
} subject;

struct lanes {
    lane *by_name;
    subject *subjects;
    lane *dirty;
    size_t count, bytes;
};

status_code lanes_create(lanes **out, failure *why) {
    *out = calloc(1, sizeof **out);
    return *out != NULL ? STATUS_OK
                        : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the lanes");
}

static void state_free(lane_state *state) {
    free(state->tie);
    free(state->packed);
    *state = (lane_state){0};
}

static void lane_free(lane *self) {
    for (size_t i = 0; i < self->count; i++)
        state_free(&self->states[i]);
    free(self->name);
    free(self->origin);
    free(self);
}

void lanes_free(lanes *self) {
    if (self == NULL)
        return;
    lane *item = NULL;
    lane *next = NULL;
    HASH_ITER(hh, self->by_name, item, next) {
        HASH_DEL(self->by_name, item);
        lane_free(item);
    }
    subject *one = NULL;
    subject *other = NULL;
    HASH_ITER(hh, self->subjects, one, other) {
        HASH_DEL(self->subjects, one);
        free(one);
    }
    free(self);
}

/* ---- Who says what */

static void subject_id(const char *origin, const statement *what, uint8_t out[CRYPTO_HASH_BYTES]) {
    char text[CHANGE_LANE_BYTES + 2 * LIMIT_NAME_BYTES + 32];
    int size = snprintf(text, sizeof text, "%d %d %s\n%s\n%s", what->is_edge, what->kind, what->name,
                        what->to, origin);
    size_t used = size < 0 ? 0 : (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
    sha256(bytes_of(text, used), out);
}

/* The number of lanes that say it, after adding `by` (1, 0, -1). */
static uint32_t subject_count(lanes *self, const char *origin, const statement *what, int by) {
    uint8_t id[CRYPTO_HASH_BYTES];
    subject *found = NULL;
    subject_id(origin, what, id);
    HASH_FIND(hh, self->subjects, id, SUBJECT_BYTES, found);
    if (found == NULL && by > 0 && (found = calloc(1, sizeof *found)) != NULL) {
        bool added = true;
        memcpy(found->id, id, SUBJECT_BYTES);
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) added = false
        HASH_ADD(hh, self->subjects, id, SUBJECT_BYTES, found);
        if (!added) {
            free(found);
            found = NULL;
        }
    }
    if (found == NULL)
        return 0; /* without memory it is not counted, and taken back early rather than never */
    if (by > 0)
        found->lanes++;
    else if (by < 0 && found->lanes > 0)
        found->lanes--;
    uint32_t left = found->lanes;
    if (left == 0) {
        HASH_DEL(self->subjects, found);
        free(found);
    }
    return left;
}

typedef struct counting {
    lanes *self;
    const char *origin;
} counting;

static void count_change(void *context, const statement *before, const statement *after) {
    counting *work = context;
    if (before == NULL)
        (void)subject_count(work->self, work->origin, after, 1);
    if (after == NULL)
        (void)subject_count(work->self, work->origin, before, -1);
}

/* ---- What a lane says */

/* What was affected so far no longer is. */
static void edges_drop(statements *all) {
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++)
        if (!all->items[i].is_edge || all->items[i].kind != (int)EDGE_KIND(AFFECTED))
            all->items[kept++] = all->items[i];
    all->count = kept;
}

static status_code state_apply(const lane_state *state, statements *all, bool *closed, failure *why) {
    statements own;
    status_code code = statements_unpack(bytes_of(state->packed, state->size), all->memory, &own, why);
    if (code != STATUS_OK)
        return code;
    if (state->role == CHANGE_WHOLE)
        all->count = 0;
    if (state->role == CHANGE_END)
        edges_drop(all);
    if (state->role == CHANGE_UPDATE && *closed)
        edges_drop(&own);
    if (state->role != CHANGE_UPDATE)
        *closed = state->role == CHANGE_END;
    all->finished = false;
    statements_take(all, &own);
    return statements_finish(all, why);
}

/* All that the lane says from its state `at` on, as if there were no state `without` (SIZE_MAX: there are
 * all); nothing for `at` SIZE_MAX, the time before the first. */
static status_code lane_says_without(const lane *self, size_t at, size_t without, arena *memory,
                                     statements *out, bool *closed, failure *why) {
    status_code code = STATUS_OK;
    size_t first = at;
    statements_begin(out, memory);
    *closed = false;
    if (at == SIZE_MAX)
        return statements_finish(out, why);
    while (first > 0 && (self->states[first].role != CHANGE_WHOLE || first == without))
        first--;
    for (size_t i = first; i <= at && code == STATUS_OK; i++)
        if (i != without)
            code = state_apply(&self->states[i], out, closed, why);
    return code == STATUS_OK ? statements_finish(out, why) : code;
}

static status_code lane_says(const lane *self, size_t at, arena *memory, statements *out, bool *closed,
                             failure *why) {
    return lane_says_without(self, at, SIZE_MAX, memory, out, closed, why);
}

static lane *lane_find(const lanes *self, const char *name) {
    lane *found = NULL;
    HASH_FIND_STR(self->by_name, name, found);
    return found;
}

status_code lanes_last(const lanes *self, const char *name, arena *memory, statements *out, failure *why) {
    const lane *found = lane_find(self, name);
    bool closed = false;
    if (found != NULL && found->count > 0)
        return lane_says(found, found->count - 1, memory, out, &closed, why);
    statements_begin(out, memory);
    return statements_finish(out, why);
}

int64_t lanes_last_ms(const lanes *self, const char *name) {
    const lane *found = lane_find(self, name);
    return found == NULL || found->count == 0 ? INT64_MIN : found->states[found->count - 1].from_ms;
}

size_t lanes_count(const lanes *self) {
    return self->count;
}

/* ---- Putting */

static lane *lane_make(lanes *self, const char *name, const char *origin) {
    bool added = true;
    lane *made = self->count < LANES_MAX ? calloc(1, sizeof *made) : NULL;
    if (made == NULL)
        return NULL;
    made->name = strdup(name);
    made->origin = strdup(origin);
    if (made->name != NULL && made->origin != NULL) {
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) added = false
        HASH_ADD_KEYPTR(hh, self->by_name, made->name, strlen(made->name), made);
    }
    if (made->name == NULL || made->origin == NULL || !added) {
        lane_free(made);
        return NULL;
    }
    self->count++;
    return made;
}

static void lane_mark(lanes *self, lane *item) {
    if (item->dirty)
        return;
    item->dirty = true;
    item->next_dirty = self->dirty;
    self->dirty = item;
}

static int place_compare(const lane_state *state, int64_t from_ms, const char *tie) {
    if (state->from_ms != from_ms)
        return state->from_ms < from_ms ? -1 : 1;
    return strcmp(state->tie, tie);
}

static status_code state_make(const change *what, lane_state *out, failure *why) {
    lane_state made = {.from_ms = what->from_ms, .role = what->role, .tie = strdup(what->tie)};
    status_code code = made.tie != NULL
                           ? statements_pack(&what->what, &made.packed, &made.size, why)
                           : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a change");
    if (code != STATUS_OK) {
        state_free(&made);
        return code;
    }
    *out = made;
    return STATUS_OK;
}

static void lane_insert(lane *self, size_t at, lane_state state) {
    memmove(&self->states[at + 1], &self->states[at], (self->count - at) * sizeof state);
    self->states[at] = state;
    self->count++;
}

static lane_state lane_remove(lane *self, size_t at) {
    lane_state state = self->states[at];
    self->count--;
    memmove(&self->states[at], &self->states[at + 1], (self->count - at) * sizeof state);
    self->states[self->count] = (lane_state){0};
    return state;
}

typedef struct saying {
    lanes *self;
    const lane *on;
    lanes_say say;
    void *context;
    int64_t from_ms;
    bool news;
    status_code code;
    failure *why;
} saying;

static void say_change(void *context, const statement *before, const statement *after) {
    saying *work = context;
    if (work->code != STATUS_OK || (before != NULL && after != NULL && statement_same(before, after)))
        return;
    work->news = true;
    if (after != NULL)
        work->code = work->say(work->context, work->on->origin, after, true, work->from_ms, work->why);
    else if (subject_count(work->self, work->on->origin, before, 0) <= 1)
        work->code = work->say(work->context, work->on->origin, before, false, work->from_ms, work->why);
}

/* What follows from the state that was put at `at`, for the beginning of the state `here`: what differs from
 * the state before, and what was said there as long as the new one was missing. */
static void boundary_say(saying *work, size_t at, size_t here, arena *memory) {
    statements before;
    statements after;
    statements without;
    bool closed = false;
    work->from_ms = work->on->states[here].from_ms;
    work->code = lane_says(work->on, here == 0 ? SIZE_MAX : here - 1, memory, &before, &closed, work->why);
    if (work->code == STATUS_OK)
        work->code = lane_says(work->on, here, memory, &after, &closed, work->why);
    if (work->code == STATUS_OK)
        statements_compare(&before, &after, say_change, work);
    if (work->code == STATUS_OK && here > at)
        work->code = lane_says_without(work->on, here, at, memory, &without, &closed, work->why);
    if (work->code == STATUS_OK && here > at)
        statements_compare(&without, &after, say_change, work);
}

/* From the state that was put up to the first that does not rest on it; those of one moment are said
 * together. */
static status_code lane_say(saying *work, size_t at, arena *memory) {
    const lane *on = work->on;
    for (size_t i = at; i < on->count && work->code == STATUS_OK; i++) {
        boundary_say(work, at, i, memory);
        if (i > at && on->states[i].role == CHANGE_WHOLE && on->states[i].from_ms > on->states[at].from_ms &&
            (i + 1 == on->count || on->states[i + 1].from_ms > on->states[i].from_ms))
            break;
    }
    return work->code;
}

/* The two oldest states become one that says what the second did. */
static status_code lane_trim(lanes *self, lane *item, arena *memory, failure *why) {
    statements all;
    bool closed = false;
    uint8_t *packed = NULL;
    size_t size = 0;
    if (item->count <= LANE_STATES_MAX)
        return STATUS_OK;
    status_code code = lane_says(item, 1, memory, &all, &closed, why);
    if (code == STATUS_OK)
        code = statements_pack(&all, &packed, &size, why);
    if (code != STATUS_OK)
        return code;
    lane_state oldest = lane_remove(item, 0);
    self->bytes = self->bytes + size - oldest.size - item->states[0].size;
    state_free(&oldest);
    free(item->states[0].packed);
    item->states[0].packed = packed;
    item->states[0].size = size;
    item->states[0].role = closed ? CHANGE_END : CHANGE_WHOLE;
    return STATUS_OK;
}

static status_code lane_put(lanes *self, lane *item, const change *what, saying *work, arena *memory,
                            failure *why) {
    statements before;
    statements after;
    bool closed = false;
    lane_state state;
    size_t at = item->count;
    while (at > 0 && place_compare(&item->states[at - 1], what->from_ms, what->tie) > 0)
        at--;
    if (at > 0 && place_compare(&item->states[at - 1], what->from_ms, what->tie) == 0)
        return STATUS_OK; /* it was put before */
    status_code code =
        lane_says(item, item->count - 1, memory, &before, &closed, why); /* SIZE_MAX when empty */
    if (code == STATUS_OK)
        code = state_make(what, &state, why);
    if (code != STATUS_OK)
        return code;
    lane_insert(item, at, state);
    code = lane_say(work, at, memory);
    if (code == STATUS_OK)
        code = lane_says(item, item->count - 1, memory, &after, &closed, why);
    if (code != STATUS_OK || (!work->news && what->only_news)) {
        lane_state taken_back = lane_remove(item, at);
        state_free(&taken_back);
        return code;
    }
    counting counts = {.self = self, .origin = item->origin};
    statements_compare(&before, &after, count_change, &counts);
    self->bytes += state.size;
    lane_mark(self, item);
    return lane_trim(self, item, memory, why);
}

status_code lanes_put(lanes *self, const change *what, lanes_say say, void *context, arena *memory,
                      bool *news, failure *why) {
    lane *item = lane_find(self, what->lane);
    *news = false;
    if (item == NULL && self->bytes < LANES_BYTES_MAX)
        item = lane_make(self, what->lane, what->origin);
    if (item == NULL || self->bytes >= LANES_BYTES_MAX)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_SOURCES",
                    "there is no room for another source of changes: %zu are known, of at most %u",
                    self->count, LANES_MAX);
    saying work = {.self = self, .on = item, .say = say, .context = context, .why = why};
    status_code code = lane_put(self, item, what, &work, memory, why);
    *news = code == STATUS_OK && work.news;
    return code;
}

/* ---- Storage */

bool lanes_dirty(const lanes *self) {
    return self->dirty != NULL;
}

status_code lanes_each_dirty(lanes *self, lanes_visit visit, void *context, failure *why) {
    status_code code = STATUS_OK;
    for (const lane *item = self->dirty; item != NULL && code == STATUS_OK; item = item->next_dirty) {
        lane_row rows[LANE_STATES_MAX + 1];
        for (size_t i = 0; i < item->count; i++)
            rows[i] = (lane_row){.lane = item->name,
                                 .origin = item->origin,
                                 .tie = item->states[i].tie,
                                 .from_ms = item->states[i].from_ms,
                                 .role = item->states[i].role,
                                 .packed = bytes_of(item->states[i].packed, item->states[i].size)};
        code = visit(context, item->name, rows, item->count, why);
    }
    return code;
}

void lanes_stored(lanes *self) {
    while (self->dirty != NULL) {
        lane *item = self->dirty;
        self->dirty = item->next_dirty;
        item->next_dirty = NULL;
        item->dirty = false;
    }
}

static status_code row_append(lanes *self, lane *item, const lane_row *row, failure *why) {
    lane_state state = {.from_ms = row->from_ms,
                        .role = row->role,
                        .tie = strdup(row->tie),
                        .packed = malloc(row->packed.size + 1),
                        .size = row->packed.size};
    if (state.tie == NULL || state.packed == NULL) {
        state_free(&state);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the lanes");
    }
    if (state.size > 0)
        memcpy(state.packed, row->packed.data, state.size);
    lane_insert(item, item->count, state);
    self->bytes += state.size;
    return STATUS_OK;
}

status_code lanes_load(lanes *self, const lane_row *row, failure *why) {
    arena memory;
    statements before;
    statements after;
    bool closed = false;
    lane *item = lane_find(self, row->lane);
    if (item == NULL)
        item = lane_make(self, row->lane, row->origin);
    if (item == NULL || item->count > LANE_STATES_MAX)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no room for the lanes");
    arena_init(&memory, 1U << 16, 64U << 20);
    status_code code = lane_says(item, item->count - 1, &memory, &before, &closed, why);
    if (code == STATUS_OK)
        code = row_append(self, item, row, why);
    if (code == STATUS_OK)
        code = lane_says(item, item->count - 1, &memory, &after, &closed, why);
    if (code == STATUS_OK) {
        counting counts = {.self = self, .origin = item->origin};
        statements_compare(&before, &after, count_change, &counts);
    }
    arena_free(&memory);
    return code;
}
