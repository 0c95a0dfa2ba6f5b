/* Eleven buckets a counter, and the table of them. */
#include "counters.h"

#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>
#pragma GCC diagnostic pop

#define SWEEP_STEPS 16U
#define NS_PER_BUCKET(window_ms) ((window_ms)*100000U) /* a tenth of it, in ns: exact */

/* ---- one counter ---- */

void counter_advance(counter_state *self, uint64_t now_ns) {
    uint64_t bucket = now_ns / NS_PER_BUCKET(self->window_ms);
    if (bucket <= self->newest)
        return;
    uint64_t steps = bucket - self->newest;
    size_t shift = steps < COUNTER_BUCKETS ? (size_t)steps : COUNTER_BUCKETS;
    memmove(self->sums, self->sums + shift, (COUNTER_BUCKETS - shift) * sizeof self->sums[0]);
    memset(self->sums + COUNTER_BUCKETS - shift, 0, shift * sizeof self->sums[0]);
    self->newest = bucket;
}

/* Saturates, though no cap allows a sum that large. */
uint64_t counter_total(const counter_state *self) {
    uint64_t total = 0;
    for (size_t i = 0; i < COUNTER_BUCKETS; i++)
        total = self->sums[i] > UINT64_MAX - total ? UINT64_MAX : total + self->sums[i];
    return total;
}

void counter_restart(counter_state *self, uint64_t window_ms, uint64_t now_ns) {
    uint64_t total = counter_total(self);
    *self = (counter_state){.window_ms = window_ms, .newest = now_ns / NS_PER_BUCKET(window_ms)};
    self->sums[COUNTER_BUCKETS - 1] = total;
}

uint32_t counter_retry_after_ms(const counter_state *self, uint64_t cap, uint64_t cost, uint64_t now_ns) {
    if (cost > cap)
        return 0;
    uint64_t total = counter_total(self);
    size_t dropped = 0;
    while (dropped < COUNTER_BUCKETS && total > cap - cost)
        total -= self->sums[dropped++];
    /* Bucket i of eleven leaves when the clock enters the bucket newest + i + 1. */
    uint64_t ready_ns = (self->newest + dropped) * NS_PER_BUCKET(self->window_ms);
    uint64_t wait_ms = ready_ns > now_ns ? (ready_ns - now_ns + 999999U) / 1000000U : 1;
    return wait_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)wait_ms;
}

/* ---- the table ---- */

typedef struct counter_item {
    UT_hash_handle hh;
    counter_state state, before;
    struct counter_item *next_changed;
    bool changed, created; /* in this group */
    char key[];
} counter_item;

struct counters {
    counter_item *table;
    counter_item *changed;
    counter_item *cursor; /* the next that the sweep looks at; NULL: from the start */
};

status_code counters_new(counters **out, failure *why) {
    counters *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the counters");
    *out = self;
    return STATUS_OK;
}

static void drop(counters *self, counter_item *item) {
    if (self->cursor == item)
        self->cursor = item->hh.next;
    HASH_DEL(self->table, item);
    free(item);
}

void counters_free(counters *self) {
    if (self == NULL)
        return;
    while (self->table != NULL)
        drop(self, self->table);
    free(self);
}

size_t counters_count(const counters *self) {
    return HASH_COUNT(self->table);
}

static counter_item *find(counters *self, const char *key) {
    counter_item *item = NULL;
    HASH_FIND_STR(self->table, key, item);
    return item;
}

static counter_item *create(counters *self, const char *key) {
    size_t size = strlen(key) + 1;
    counter_item *item = calloc(1, sizeof *item + size);
    if (item == NULL)
        return NULL;
    memcpy(item->key, key, size);
    HASH_ADD_STR(self->table, key, item);
    if (find(self, key) == item)
        return item;
    free(item);
    return NULL;
}

status_code counters_load(counters *self, const char *key, const counter_state *state, failure *why) {
    counter_item *item = create(self, key);
    if (item == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the counters");
    item->state = *state;
    return STATUS_OK;
}

static void note_change(counters *self, counter_item *item) {
    if (item->changed)
        return;
    item->before = item->state;
    item->changed = true;
    item->next_changed = self->changed;
    self->changed = item;
}

static void bring_up_to(counter_item *item, uint64_t window_ms, uint64_t now_ns) {
    if (item->state.window_ms != window_ms) {
        counter_advance(&item->state, now_ns);
        counter_restart(&item->state, window_ms, now_ns);
    } else {
        counter_advance(&item->state, now_ns);
    }
}

/* A counter that does not exist yet has room for its whole cap. */
static bool fits(counters *self, const append_charge *charge, uint64_t now_ns, uint32_t *retry_after_ms) {
    counter_item *item = find(self, charge->key);
    counter_state state = {.window_ms = charge->window_ms};
    if (item != NULL) {
        counter_item copy = {.state = item->state};
        bring_up_to(&copy, charge->window_ms, now_ns);
        state = copy.state;
    }
    if (charge->cost <= charge->cap && counter_total(&state) <= charge->cap - charge->cost)
        return true;
    *retry_after_ms = counter_retry_after_ms(&state, charge->cap, charge->cost, now_ns);
    return false;
}

static bool charge_one(counters *self, const append_charge *charge, uint64_t now_ns) {
    counter_item *item = find(self, charge->key);
    if (item == NULL) {
        item = create(self, charge->key);
        if (item == NULL)
            return false;
        item->created = true;
        item->state = (counter_state){.window_ms = charge->window_ms,
                                      .newest = now_ns / NS_PER_BUCKET(charge->window_ms)};
    }
    note_change(self, item);
    bring_up_to(item, charge->window_ms, now_ns);
    item->state.sums[COUNTER_BUCKETS - 1] += charge->cost;
    return true;
}

counters_verdict counters_charge(counters *self, const append_charge *charges, size_t count, uint64_t now_ns,
                                 size_t *which, uint32_t *retry_after_ms) {
    size_t created = 0;
    for (size_t i = 0; i < count; i++) {
        if (!fits(self, &charges[i], now_ns, retry_after_ms)) {
            *which = i;
            return COUNTERS_EXHAUSTED;
        }
        created += find(self, charges[i].key) == NULL;
    }
    if (created > 0 && HASH_COUNT(self->table) + created > COUNTERS_MAX)
        return COUNTERS_FULL;
    for (size_t i = 0; i < count; i++)
        if (charges[i].cost > 0 && !charge_one(self, &charges[i], now_ns))
            return COUNTERS_FULL; /* no memory: what was charged stays charged, which errs on the safe side */
    return COUNTERS_CHARGED;
}

status_code counters_changed(counters *self,
                             status_code (*each)(void *context, const char *key, const counter_state *state,
                                                 failure *why),
                             void *context, failure *why) {
    for (counter_item *item = self->changed; item != NULL; item = item->next_changed) {
        status_code status = each(context, item->key, &item->state, why);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

status_code counters_each(counters *self,
                          status_code (*each)(void *context, const char *key, const counter_state *state,
                                              failure *why),
                          void *context, failure *why) {
    for (counter_item *item = self->table; item != NULL; item = item->hh.next) {
        status_code status = each(context, item->key, &item->state, why);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void counters_keep(counters *self) {
    for (counter_item *item = self->changed; item != NULL; item = item->next_changed)
        item->changed = item->created = false;
    self->changed = NULL;
}

void counters_undo(counters *self) {
    counter_item *item = self->changed;
    self->changed = NULL;
    while (item != NULL) {
        counter_item *next = item->next_changed;
        item->state = item->before;
        item->changed = false;
        if (item->created)
            drop(self, item);
        item = next;
    }
}

status_code counters_sweep(counters *self, uint64_t now_ns,
                           status_code (*gone)(void *context, const char *key, failure *why), void *context,
                           failure *why) {
    for (unsigned i = 0; i < SWEEP_STEPS; i++) {
        counter_item *item = self->cursor != NULL ? self->cursor : self->table;
        if (item == NULL)
            return STATUS_OK;
        self->cursor = item->hh.next;
        counter_state state = item->state;
        counter_advance(&state, now_ns);
        if (item->changed || counter_total(&state) != 0)
            continue;
        status_code status = gone(context, item->key, why);
        if (status != STATUS_OK)
            return status;
        drop(self, item);
    }
    return STATUS_OK;
}
