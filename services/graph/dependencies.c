/* Shares of what only metrics know: a callee's requests are shared among its callers as their own requests
 * are, for want of anything better. A caller that is done sooner than what it calls does not wait for it. */
#include "dependencies.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "impact_normal.h"

#define ARENA_BYTES (256U << 20)

typedef struct list {
    snapshot_dependency *items;
    size_t count, room;
    snapshot_tie *ties;
    size_t tie_count, tie_room;
    snapshot_affected *affected;
    size_t affected_count, affected_room;
    arena names;
    bool failed;
} list;

struct dependencies {
    list now;
    bool outdated;
};

static void list_free(list *self) {
    free(self->items);
    free(self->ties);
    free(self->affected);
    arena_free(&self->names);
}

static void list_begin(list *self) {
    *self = (list){0};
    arena_init(&self->names, 65536, ARENA_BYTES);
}

status_code dependencies_create(dependencies **out, failure *why) {
    dependencies *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the dependencies");
    list_begin(&self->now);
    self->outdated = true;
    *out = self;
    return STATUS_OK;
}

void dependencies_free(dependencies *self) {
    if (self == NULL)
        return;
    list_free(&self->now);
    free(self);
}

void dependencies_outdate(dependencies *self) {
    self->outdated = true;
}

/* ---- Reading ---- */

static bool class_find(int kind, propagation_class *out) {
    switch (kind) {
    case EDGE_CALLS:
        *out = PROPAGATION_CALL;
        return true;
    case EDGE_PUBLISHES:
    case EDGE_CONSUMES:
        *out = PROPAGATION_QUEUE;
        return true;
    case EDGE_READS:
    case EDGE_WRITES:
        *out = PROPAGATION_STORE;
        return true;
    case EDGE_RUNS_ON:
        *out = PROPAGATION_HOST;
        return true;
    default:
        return false;
    }
}

static bool room_make(void **items, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return true;
    size_t more = *room * 2 + 64;
    void *grown = realloc(*items, more * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = more;
    return true;
}

static void tie_add(list *self, const fact *what) {
    const char *from = arena_text(&self->names, what->name);
    const char *to = arena_text(&self->names, what->to);
    self->failed = from == NULL || to == NULL ||
                   !room_make((void **)&self->ties, self->tie_count, &self->tie_room, sizeof *self->ties);
    if (!self->failed)
        self->ties[self->tie_count++] =
            (snapshot_tie){.node = from, .to = to, .owner = what->kind == EDGE_OWNED_BY};
}

/* Documents may state the part of the requests. */
static double share_stated(const fact *what) {
    for (size_t i = 0; i < what->attribute_count; i++)
        if (strcmp(what->attributes[i].key, "share") == 0) {
            double share = strtod(what->attributes[i].value, NULL);
            return share > 0 && share <= 1 ? share : 0;
        }
    return 0;
}

static void dependency_add(list *self, const fact *what, propagation_class class) {
    const char *from = arena_text(&self->names, what->name);
    const char *to = arena_text(&self->names, what->to);
    self->failed = from == NULL || to == NULL ||
                   !room_make((void **)&self->items, self->count, &self->room, sizeof *self->items);
    if (!self->failed)
        self->items[self->count++] = (snapshot_dependency){
            .from = from, .to = to, .class = class, .share = share_stated(what), .waits = 1};
}

static void affected_add(list *self, const fact *what) {
    const char *incident = arena_text(&self->names, what->name);
    const char *node = arena_text(&self->names, what->to);
    self->failed = incident == NULL || node == NULL ||
                   !room_make((void **)&self->affected, self->affected_count, &self->affected_room,
                              sizeof *self->affected);
    if (!self->failed)
        self->affected[self->affected_count++] = (snapshot_affected){.incident = incident, .node = node};
}

static size_t list_size(const list *self) {
    return self->count + self->tie_count + self->affected_count;
}

static bool fact_read(void *context, const fact *what, int64_t recorded_from_ms) {
    (void)recorded_from_ms;
    list *self = context;
    propagation_class class;
    if (!what->is_edge || list_size(self) >= DEPENDENCIES_MAX)
        return list_size(self) < DEPENDENCIES_MAX;
    if (what->kind == EDGE_OWNED_BY || what->kind == EDGE_IN_ZONE)
        tie_add(self, what);
    else if (what->kind == EDGE_AFFECTED)
        affected_add(self, what);
    /* What spans say is in the traffic model, with numbers. */
    else if (strcmp(what->origin, "otlp") != 0 && class_find(what->kind, &class))
        dependency_add(self, what, class);
    return !self->failed;
}

/* ---- Shares ---- */

static int callee_compare(const void *left, const void *right) {
    const snapshot_dependency *a = left;
    const snapshot_dependency *b = right;
    int order = strcmp(a->to, b->to);
    return order != 0 ? order : strcmp(a->from, b->from);
}

static int incident_compare(const void *left, const void *right) {
    const snapshot_affected *a = left;
    const snapshot_affected *b = right;
    int order = strcmp(a->incident, b->incident);
    return order != 0 ? order : strcmp(a->node, b->node);
}

/* The callers of one callee: items of the same `to`. */
static void shares_fill(snapshot_dependency *items, size_t count, const signals *from) {
    series_normal callee = series_normal_of(from, items[0].to);
    double callers = 0;
    for (size_t i = 0; i < count; i++)
        callers += series_normal_of(from, items[i].from).requests;
    if (callee.requests <= 0 || callers <= 0)
        return;
    double each = callee.requests / callers;
    for (size_t i = 0; i < count; i++) {
        series_normal caller = series_normal_of(from, items[i].from);
        if (items[i].share <= 0)
            items[i].share = each < 1 ? each : 1;
        items[i].calls = each < 1 ? 1 : each;
        if (caller.mean_ms > 0 && each * callee.mean_ms > caller.mean_ms) {
            double part = caller.mean_ms / (each * callee.mean_ms);
            items[i].waits = part * part;
        }
    }
}

status_code dependencies_refresh(dependencies *self, history *past, const signals *from, failure *why) {
    list read;
    if (!self->outdated)
        return STATUS_OK;
    list_begin(&read);
    status_code status = history_each(past, NULL, fact_read, &read, why);
    if (status == STATUS_OK && read.failed)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the dependencies");
    if (status != STATUS_OK) {
        list_free(&read);
        return status;
    }
    if (read.count > 0)
        qsort(read.items, read.count, sizeof *read.items, callee_compare);
    if (read.affected_count > 0)
        qsort(read.affected, read.affected_count, sizeof *read.affected, incident_compare);
    for (size_t first = 0, next; first < read.count; first = next) {
        for (next = first + 1; next < read.count && strcmp(read.items[next].to, read.items[first].to) == 0;)
            next++;
        shares_fill(read.items + first, next - first, from);
    }
    list_free(&self->now);
    self->now = read;
    self->outdated = false;
    return STATUS_OK;
}

snapshot_sources dependencies_sources(const dependencies *self, const flows *measured) {
    return (snapshot_sources){.flows = measured,
                              .dependencies = self->now.items,
                              .dependency_count = self->now.count,
                              .ties = self->now.ties,
                              .tie_count = self->now.tie_count,
                              .affected = self->now.affected,
                              .affected_count = self->now.affected_count};
}
