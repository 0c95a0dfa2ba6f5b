/* Rules by verb and target. A pattern is filed under its longest literal beginning that ends where a part of
 * a node's name ends ("", "service:", "service:prod/", "service:prod/shop/", or the whole name when it has no
 * `*`); an action looks into the ten places where rules for it can be: its verb and "any verb", times the
 * five beginnings of each target. What a place holds is compared, never trusted by its hash. */
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define LEVELS 5U /* 0: "", 1: kind, 2: environment, 3: namespace, 4: the whole name */

typedef struct posting {
    uint32_t rule;
    bool certain; /* the place says all that the rule demands of verb and target */
} posting;

typedef struct place {
    uint64_t hash;
    const char *verb; /* NULL: any verb, or a pattern of verbs */
    const char *text;
    uint32_t size; /* of the beginning */
    uint32_t level;
    uint32_t first, count; /* postings */
} place;

struct rule_index {
    place *places; /* open addressing; verb and text NULL: free */
    size_t mask;
    posting *postings;
    bool levels[2][LEVELS]; /* [any verb], in use */
};

/* One posting on its way into the index. */
typedef struct filing {
    uint64_t hash;
    const char *verb, *text;
    uint32_t size, level, rule;
    bool certain;
} filing;

typedef struct filings {
    filing *items;
    size_t count, room;
} filings;

static uint64_t hash_more(uint64_t hash, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3ULL;
    return hash;
}

static uint64_t hash_verb(const char *verb) {
    uint64_t hash = 0xcbf29ce484222325ULL;
    return verb == NULL ? hash : hash_more(hash ^ 1, verb, strlen(verb));
}

/* FNV's upper bits are the better ones. */
static uint64_t hash_end(uint64_t hash, uint32_t level) {
    hash ^= level;
    hash *= 0x9e3779b97f4a7c15ULL;
    return hash ^ (hash >> 29);
}

/* Where the parts of kind:environment/namespace/name end: sizes of the beginnings of levels 0 to 3; returns
 * how many there are. */
static uint32_t beginnings(const char *name, size_t size, uint32_t out[LEVELS]) {
    uint32_t levels = 1;
    out[0] = 0;
    for (size_t i = 0; i < size && levels < 4; i++)
        if (name[i] == (levels == 1 ? ':' : '/'))
            out[levels++] = (uint32_t)i + 1;
    return levels;
}

/* ---- building ---- */

static bool file(filings *into, const filing *item) {
    if (into->count == into->room) {
        size_t room = into->room == 0 ? 1024 : 2 * into->room;
        filing *items = room > 2 * INDEX_POSTINGS ? NULL : realloc(into->items, room * sizeof *items);
        if (items == NULL)
            return false;
        into->items = items;
        into->room = room;
    }
    into->items[into->count++] = *item;
    return true;
}

static bool only_named(const policy_selector *selector) {
    return selector->kinds.count == 0 && selector->environments.count == 0 &&
           selector->namespaces.count == 0 && selector->zones.count == 0 && selector->owners.count == 0 &&
           selector->tiers == 0 && selector->label_count == 0;
}

static filing place_of(const policy_selector *selector, const char *verb, bool verb_certain, uint32_t rule) {
    const char *pattern = selector->name;
    size_t literal = strcspn(pattern, "*");
    uint32_t ends[LEVELS];
    uint32_t levels = beginnings(pattern, literal, ends);
    bool whole = pattern[literal] == '\0';
    filing made = {.verb = verb, .text = pattern, .rule = rule};
    made.level = whole ? 4 : levels - 1;
    made.size = whole ? (uint32_t)literal : ends[levels - 1];
    bool exact = whole || (made.size == literal && pattern[literal + 1] == '\0');
    made.certain = verb_certain && exact && only_named(selector);
    made.hash = hash_end(hash_more(hash_verb(verb), pattern, made.size), made.level);
    return made;
}

static bool file_rule(filings *into, const policy_rule *rule) {
    for (size_t v = 0; v < rule->verbs.count; v++) {
        const char *verb = rule->verbs.items[v];
        bool pattern = strchr(verb, '*') != NULL;
        bool certain = !pattern || strcmp(verb, "*") == 0;
        for (size_t t = 0; t < rule->target_count; t++) {
            filing made = place_of(&rule->targets[t], pattern ? NULL : verb, certain, rule->index);
            if (!file(into, &made))
                return false;
        }
    }
    return true;
}

static int compare_places(const filing *a, const filing *b) {
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (a->level != b->level)
        return a->level < b->level ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    if ((a->verb == NULL) != (b->verb == NULL))
        return a->verb == NULL ? -1 : 1;
    int order = a->verb == NULL ? 0 : strcmp(a->verb, b->verb);
    return order != 0 ? order : memcmp(a->text, b->text, a->size);
}

/* By place, then by rule, the certain one first. */
static int compare_filings(const void *left, const void *right) {
    const filing *a = left, *b = right;
    int order = compare_places(a, b);
    if (order != 0)
        return order;
    if (a->rule != b->rule)
        return a->rule < b->rule ? -1 : 1;
    return (int)b->certain - (int)a->certain;
}

static void put_place(rule_index *self, const place *made) {
    size_t at = made->hash & self->mask;
    while (self->places[at].text != NULL)
        at = (at + 1) & self->mask;
    self->places[at] = *made;
    self->levels[made->verb == NULL ? 1 : 0][made->level] = true;
}

static void fill(rule_index *self, const filings *from) {
    uint32_t written = 0;
    for (size_t i = 0; i < from->count;) {
        const filing *head = &from->items[i];
        place made = {.hash = head->hash,
                      .verb = head->verb,
                      .text = head->text,
                      .size = head->size,
                      .level = head->level,
                      .first = written};
        uint32_t last = UINT32_MAX;
        for (; i < from->count && compare_places(&from->items[i], head) == 0; i++) {
            if (from->items[i].rule == last)
                continue;
            last = from->items[i].rule;
            self->postings[written++] = (posting){last, from->items[i].certain};
        }
        made.count = written - made.first;
        put_place(self, &made);
    }
}

static size_t table_size(size_t count) {
    size_t size = 16;
    while (size < 2 * count)
        size *= 2;
    return size;
}

static status_code make(const filings *from, arena *memory, rule_index **out, failure *why) {
    size_t size = table_size(from->count);
    rule_index *self = arena_zero(memory, 1, sizeof *self);
    if (self != NULL) {
        self->places = arena_zero(memory, size, sizeof *self->places);
        self->postings = arena_zero(memory, from->count + 1, sizeof *self->postings);
        self->mask = size - 1;
    }
    if (self == NULL || self->places == NULL || self->postings == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE",
                    "no memory for the index of the rules");
    fill(self, from);
    *out = self;
    return STATUS_OK;
}

status_code index_build(const policy_set *set, arena *memory, rule_index **out, failure *why) {
    filings all = {0};
    bool filed = true;
    for (size_t i = 0; i < set->rule_count && filed; i++)
        filed = file_rule(&all, &set->rules[i]) && all.count <= INDEX_POSTINGS;
    status_code code;
    if (filed) {
        if (all.count > 0)
            qsort(all.items, all.count, sizeof *all.items, compare_filings);
        code = make(&all, memory, out, why);
    } else {
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE",
                    "the rules have more than %u pairs of a verb and a target; use patterns", INDEX_POSTINGS);
    }
    free(all.items);
    return code;
}

/* ---- finding ---- */

static const place *find_place(const rule_index *self, uint64_t hash, const char *verb, const char *text,
                               uint32_t size, uint32_t level) {
    for (size_t at = hash & self->mask; self->places[at].text != NULL; at = (at + 1) & self->mask) {
        const place *here = &self->places[at];
        if (here->hash != hash || here->level != level || here->size != size ||
            (here->verb == NULL) != (verb == NULL))
            continue;
        if ((verb == NULL || strcmp(here->verb, verb) == 0) && memcmp(here->text, text, size) == 0)
            return here;
    }
    return NULL;
}

static void mark(const rule_index *self, const place *where, uint64_t *may, uint64_t *does) {
    for (uint32_t i = where->first; i < where->first + where->count; i++) {
        uint64_t bit = 1ULL << (self->postings[i].rule % 64);
        may[self->postings[i].rule / 64] |= bit;
        if (does != NULL && self->postings[i].certain)
            does[self->postings[i].rule / 64] |= bit;
    }
}

static void find_target(const rule_index *self, const char *verb, const char *name, uint64_t *may,
                        uint64_t *does) {
    const bool *levels = self->levels[verb == NULL ? 1 : 0];
    uint32_t ends[LEVELS];
    uint32_t size = (uint32_t)strlen(name);
    uint32_t count = beginnings(name, size, ends);
    uint64_t hash = hash_verb(verb);
    uint32_t hashed = 0;
    for (uint32_t level = 0; level < LEVELS; level++) {
        if ((level < 4 && level >= count) || !levels[level])
            continue;
        uint32_t end = level == 4 ? size : ends[level];
        hash = hash_more(hash, name + hashed, end - hashed);
        hashed = end;
        const place *where = find_place(self, hash_end(hash, level), verb, name, end, level);
        if (where != NULL)
            mark(self, where, may, does);
    }
}

void index_find(const rule_index *self, const policy_facts *facts, uint64_t *may, uint64_t *does) {
    static const bool none[LEVELS];
    const char *verb = facts->action.verb == NULL ? "" : facts->action.verb;
    bool patterns = memcmp(self->levels[1], none, sizeof none) != 0;
    for (size_t i = 0; i < facts->target_count; i++) {
        uint64_t *certain = i == 0 ? does : NULL;
        find_target(self, verb, facts->targets[i].name, may, certain);
        if (patterns)
            find_target(self, NULL, facts->targets[i].name, may, certain);
    }
}
