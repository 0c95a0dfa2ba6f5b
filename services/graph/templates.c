/* Templates are found by what they have in common for certain (the number of tokens and the first three),
 * then compared token by token through hashes. */
#include "templates.h"

#include <stdlib.h>
#include <string.h>

#include "buckets.h"
#include "recent.h"

#define COMPARED_MOST 64U /* templates that begin alike */
#define FIRST_TOKENS 3U
#define OTHER_TEXT "(other)"
#define WILDCARD "<*>"
#define SERVICES_MOST 32768U
#define NODES_MOST 32768U
#define PAIRS_MOST 131072U
#define MINUTE_MS 60000
#define QUARTER_MS 900000
#define HOUR_MS 3600000

typedef struct template_entry {
    char *text;
    uint64_t group;
    uint32_t hashes[MASK_TOKENS]; /* of the tokens; 0: wildcard */
    uint32_t token_count;
    uint32_t next_of_group; /* template + 1; 0 ends */
    log_severity severity;
    bool noted;
    double count;
    int64_t first_ms, last_ms;
} template_entry;

typedef struct count_bucket {
    bucket base;
    double count;
} count_bucket;

struct templates {
    texts services;        /* names to mask, owner 0 */
    texts nodes;           /* owner 0 */
    texts pairs;           /* owner is the node, the text the number of a template (four bytes) */
    bucket_levels *levels; /* by pair */
    uint32_t level_room;
    bucket_set set;
    template_entry *items;
    uint32_t count, room;
    uint32_t *groups, group_mask; /* open addressing over templates that are the first of their group: + 1 */
    uint32_t group_count;
    uint32_t *changed;
    size_t changed_count, changed_room;
    uint64_t seed;
    templates_totals totals;
};

static void count_merge(bucket *into, const bucket *from) {
    ((count_bucket *)(void *)into)->count += ((const count_bucket *)(const void *)from)->count;
}

static const bucket_kind count_kind = {
    .size = sizeof(count_bucket), .width_ms = {MINUTE_MS, QUARTER_MS, HOUR_MS}, .merge = count_merge};

static void templates_tighten(templates *self) {
    static const struct {
        uint32_t pairs;
        uint16_t most[BUCKET_LEVELS];
    } steps[] = {{8192, {60, 32, 48}}, {32768, {32, 16, 16}}, {UINT32_MAX, {8, 8, 8}}};
    size_t i = 0;
    while (self->pairs.count > steps[i].pairs)
        i++;
    memcpy(self->set.most, steps[i].most, sizeof self->set.most);
}

/* ---- Templates
 * ---------------------------------------------------------------------------------------------------- */

typedef struct hashed {
    uint32_t hashes[MASK_TOKENS];
    uint32_t count;
    uint64_t group;
} hashed;

static uint32_t token_hash(const templates *self, const char *text, size_t size) {
    uint64_t hash = self->seed;
    if (size == strlen(WILDCARD) && memcmp(text, WILDCARD, size) == 0)
        return 0;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text + i, size - i < 8 ? size - i : 8);
        hash = mix64(hash, word ^ size);
    }
    return (uint32_t)hash | 1U;
}

static void group_hash(const templates *self, hashed *out) {
    out->group = mix64(self->seed, out->count);
    for (uint32_t i = 0; i < FIRST_TOKENS && i < out->count; i++)
        out->group = mix64(out->group, out->hashes[i]);
}

static void tokens_hash(const templates *self, const masked *from, hashed *out) {
    out->count = from->count;
    for (unsigned i = 0; i < from->count; i++)
        out->hashes[i] = token_hash(self, from->text + from->starts[i], from->sizes[i]);
    group_hash(self, out);
}

/* The place of a group in the index: that of its first template, or the free one where it belongs. */
static uint32_t group_place(const templates *self, uint64_t group) {
    uint32_t place = (uint32_t)group & self->group_mask;
    while (self->groups[place] != 0 && self->items[self->groups[place] - 1].group != group)
        place = (place + 1) & self->group_mask;
    return place;
}

static bool groups_grow(templates *self) {
    if (self->groups != NULL && self->group_count * 2 <= self->group_mask)
        return true;
    uint32_t mask = self->groups == NULL ? 1023 : self->group_mask * 2 + 1;
    uint32_t *grown = calloc((size_t)mask + 1, sizeof *grown);
    if (grown == NULL)
        return false;
    uint32_t *old = self->groups;
    uint32_t old_size = old == NULL ? 0 : self->group_mask + 1;
    self->groups = grown;
    self->group_mask = mask;
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i] != 0)
            self->groups[group_place(self, self->items[old[i] - 1].group)] = old[i];
    free(old);
    return true;
}

static bool items_grow(templates *self) {
    if (self->count < self->room)
        return true;
    uint32_t wanted = self->room == 0 ? 256 : self->room * 2;
    template_entry *grown = realloc(self->items, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    self->items = grown;
    self->room = wanted;
    return true;
}

static uint32_t template_append(templates *self, const char *text, const hashed *tokens) {
    if (self->count == TEMPLATES_MAX || !items_grow(self) || !groups_grow(self))
        return TEMPLATES_NONE;
    char *copy = strdup(text);
    if (copy == NULL)
        return TEMPLATES_NONE;
    uint32_t place = group_place(self, tokens->group);
    uint32_t number = self->count++;
    template_entry *item = &self->items[number];
    *item = (template_entry){.text = copy,
                             .group = tokens->group,
                             .token_count = tokens->count,
                             .next_of_group = self->groups[place]};
    memcpy(item->hashes, tokens->hashes, tokens->count * sizeof *item->hashes);
    if (self->groups[place] == 0)
        self->group_count++;
    self->groups[place] = number + 1;
    return number;
}

static uint32_t tokens_alike(const template_entry *self, const hashed *tokens) {
    uint32_t alike = 0;
    for (uint32_t i = 0; i < tokens->count; i++)
        alike += self->hashes[i] == tokens->hashes[i] || self->hashes[i] == 0;
    return alike;
}

/* The most alike of the group, the oldest among equals; TEMPLATES_NONE when none is alike enough. */
static uint32_t template_find(const templates *self, const hashed *tokens) {
    uint32_t best = TEMPLATES_NONE;
    uint32_t most = 0;
    unsigned compared = 0;
    for (uint32_t next = self->groups[group_place(self, tokens->group)];
         next != 0 && compared < COMPARED_MOST; compared++) {
        const template_entry *item = &self->items[next - 1];
        uint32_t alike = tokens_alike(item, tokens);
        if (alike >= most) {
            most = alike;
            best = next - 1;
        }
        next = item->next_of_group;
    }
    return most >= TEMPLATES_SIMILARITY * tokens->count ? best : TEMPLATES_NONE;
}

/* Where the message differs, the template has a wildcard from now on. Without memory it stays as it is. */
static void template_widen(template_entry *self, const hashed *tokens) {
    char text[MASK_TEXT_BYTES];
    size_t size = 0;
    const char *at = self->text;
    if (tokens_alike(self, tokens) == tokens->count)
        return;
    for (uint32_t i = 0; i < self->token_count; i++) {
        size_t length = strcspn(at, " ");
        bool wild = self->hashes[i] != tokens->hashes[i];
        size_t added = wild ? strlen(WILDCARD) : length;
        if (size + added + 1 >= sizeof text)
            return;
        memcpy(text + size, wild ? WILDCARD : at, added);
        size += added;
        text[size++] = ' ';
        at += length + (at[length] == ' ');
    }
    text[size > 0 ? size - 1 : 0] = '\0';
    char *copy = strdup(text);
    if (copy == NULL)
        return;
    free(self->text);
    self->text = copy;
    for (uint32_t i = 0; i < self->token_count; i++)
        if (self->hashes[i] != tokens->hashes[i])
            self->hashes[i] = 0;
}

static void template_note(templates *self, uint32_t number) {
    template_entry *item = &self->items[number];
    if (item->noted)
        return;
    if (self->changed_count == self->changed_room) {
        size_t room = self->changed_room == 0 ? 256 : self->changed_room * 2;
        uint32_t *grown = realloc(self->changed, room * sizeof *grown);
        if (grown == NULL)
            return;
        self->changed = grown;
        self->changed_room = room;
    }
    self->changed[self->changed_count++] = number;
    item->noted = true;
}

/* ---- Counting at nodes
 * --------------------------------------------------------------------------------------------- */

static bool levels_grow(templates *self, uint32_t pair) {
    if (pair < self->level_room)
        return true;
    uint32_t wanted = self->level_room == 0 ? 256 : self->level_room * 2;
    if (wanted <= pair)
        wanted = pair + 1;
    bucket_levels *grown = realloc(self->levels, wanted * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + self->level_room, 0, (wanted - self->level_room) * sizeof *grown);
    self->levels = grown;
    self->level_room = wanted;
    return true;
}

static bytes pair_key(const uint32_t *template_id) {
    return bytes_of(template_id, sizeof *template_id);
}

static void pair_count(templates *self, uint32_t pair, int64_t time_ms) {
    if (pair == TEXTS_NONE || !levels_grow(self, pair))
        return;
    templates_tighten(self);
    count_bucket *into = (count_bucket *)(void *)buckets_at(&self->set, &self->levels[pair], pair, time_ms);
    if (into != NULL)
        into->count++;
}

static uint32_t other_count(templates *self, uint32_t node, int64_t time_ms) {
    static const uint32_t other = TEMPLATES_OTHER;
    self->totals.flooded++;
    if (node != TEXTS_NONE)
        pair_count(self, texts_forced(&self->pairs, node, pair_key(&other)), time_ms);
    return TEMPLATES_OTHER;
}

/* A node that has made as many templates as it may makes no new ones, but what it says may still have a
 * template of others. */
static bool node_may_make(const templates *self, uint32_t node) {
    return node >= self->pairs.owners || self->pairs.by_owner[node] < TEMPLATES_NODE_MAX;
}

static void template_seen(templates *self, uint32_t number, log_severity severity, int64_t time_ms) {
    template_entry *item = &self->items[number];
    if (item->count == 0 || time_ms < item->first_ms)
        item->first_ms = time_ms;
    if (item->count == 0 || time_ms > item->last_ms)
        item->last_ms = time_ms;
    if (severity > item->severity)
        item->severity = severity;
    item->count++;
    template_note(self, number);
}

uint32_t templates_add(templates *self, const char *node, bytes message, log_severity severity,
                       int64_t time_ms) {
    masked tokens;
    hashed hashes = {0};
    self->totals.messages++;
    uint32_t speaker = texts_named(&self->nodes, 0, bytes_of_text(node));
    mask_message(&self->services, message, &tokens);
    tokens_hash(self, &tokens, &hashes);
    uint32_t found = template_find(self, &hashes);
    if (speaker == TEXTS_NONE)
        return other_count(self, speaker, time_ms);
    if (found == TEMPLATES_NONE && node_may_make(self, speaker))
        found = template_append(self, tokens.text, &hashes);
    else if (found != TEMPLATES_NONE)
        template_widen(&self->items[found], &hashes);
    uint32_t pair =
        found == TEMPLATES_NONE ? TEXTS_NONE : texts_named(&self->pairs, speaker, pair_key(&found));
    if (pair == TEXTS_NONE)
        return other_count(self, speaker, time_ms);
    template_seen(self, found, severity, time_ms);
    pair_count(self, pair, time_ms);
    return found;
}

void templates_know_service(templates *self, const char *name) {
    /* Beyond the bound names are not masked; their templates are then a little more. */
    if (texts_named(&self->services, 0, bytes_of_text(name)) == TEXTS_NONE)
        return;
}

size_t templates_mask(const templates *self, bytes message, char *out, size_t size) {
    masked tokens;
    mask_message(&self->services, message, &tokens);
    size_t copied = tokens.size < size ? tokens.size : size - 1;
    memcpy(out, tokens.text, copied);
    out[copied] = '\0';
    return copied;
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------------------ */

uint32_t templates_count(const templates *self) {
    return self->count;
}

template_info templates_at(const templates *self, uint32_t template_id) {
    const template_entry *item = &self->items[template_id];
    return (template_info){.text = item->text,
                           .severity = item->severity,
                           .count = item->count,
                           .first_ms = item->first_ms,
                           .last_ms = item->last_ms};
}

static uint32_t pair_template(const templates *self, uint32_t pair) {
    uint32_t template_id;
    memcpy(&template_id, self->pairs.items[pair].text, sizeof template_id);
    return template_id;
}

size_t templates_of_node(const templates *self, const char *node, uint32_t *out, size_t room) {
    uint32_t speaker = texts_find(&self->nodes, 0, bytes_of_text(node));
    size_t count = 0;
    if (speaker == TEXTS_NONE)
        return 0;
    for (uint32_t i = 0; i < self->pairs.count && count < room; i++)
        if (self->pairs.items[i].owner == speaker)
            out[count++] = pair_template(self, i);
    return count;
}

static const bucket_levels *pair_levels(const templates *self, const char *node, uint32_t template_id) {
    uint32_t speaker = texts_find(&self->nodes, 0, bytes_of_text(node));
    uint32_t pair =
        speaker == TEXTS_NONE ? TEXTS_NONE : texts_find(&self->pairs, speaker, pair_key(&template_id));
    return pair == TEXTS_NONE || pair >= self->level_room ? NULL : &self->levels[pair];
}

size_t templates_points(const templates *self, const char *node, uint32_t template_id, int64_t from_ms,
                        int64_t to_ms, template_point *out, size_t room) {
    const bucket_levels *levels = pair_levels(self, node, template_id);
    size_t count = 0;
    for (unsigned coarser = 0; levels != NULL && coarser < BUCKET_LEVELS; coarser++) {
        unsigned level = BUCKET_LEVELS - 1 - coarser;
        for (uint16_t i = 0; i < levels->lists[level].count && count < room; i++) {
            const count_bucket *item =
                (const count_bucket *)(const void *)buckets_item(&self->set, levels, level, i);
            if (item->base.from_ms < from_ms || item->base.from_ms >= to_ms)
                continue;
            template_point *point = &out[count++];
            point->from_ms = item->base.from_ms;
            point->width_ms = count_kind.width_ms[level];
            point->count = item->count;
        }
    }
    return count;
}

double templates_count_between(const templates *self, const char *node, uint32_t template_id, int64_t from_ms,
                               int64_t to_ms) {
    template_point points[256];
    size_t count = templates_points(self, node, template_id, from_ms, to_ms, points, 256);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += points[i].count;
    return sum;
}

templates_totals templates_totals_of(const templates *self) {
    templates_totals totals = self->totals;
    totals.late = self->set.late;
    return totals;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code templates_create(templates **out, uint64_t seed, failure *why) {
    templates *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for log templates");
    self->seed = seed;
    self->set.kind = &count_kind;
    status_code status = texts_init(&self->services, SERVICES_MOST, SERVICES_MOST, seed, why);
    if (status == STATUS_OK)
        status = texts_init(&self->nodes, NODES_MOST, NODES_MOST, seed, why);
    if (status == STATUS_OK)
        status = texts_init(&self->pairs, PAIRS_MOST, TEMPLATES_NODE_MAX, ~seed, why);
    hashed other = {.count = 1};
    if (status == STATUS_OK &&
        (!groups_grow(self) || template_append(self, OTHER_TEXT, &other) != TEMPLATES_OTHER))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for log templates");
    if (status != STATUS_OK) {
        templates_free(self);
        return status;
    }
    templates_tighten(self);
    *out = self;
    return STATUS_OK;
}

void templates_free(templates *self) {
    if (self == NULL)
        return;
    for (uint32_t i = 0; i < self->level_room; i++)
        bucket_levels_free(&self->set, &self->levels[i]);
    bucket_set_free(&self->set);
    for (uint32_t i = 0; i < self->count; i++)
        free(self->items[i].text);
    texts_free(&self->services);
    texts_free(&self->nodes);
    texts_free(&self->pairs);
    free(self->levels);
    free(self->items);
    free(self->groups);
    free(self->changed);
    free(self);
}

/* ---- For the store
 * ------------------------------------------------------------------------------------------------ */

uint32_t templates_nodes_stored(const templates *self) {
    return self->nodes.stored;
}

uint32_t templates_node_count(const templates *self) {
    return self->nodes.count;
}

const char *templates_node_name(const templates *self, uint32_t node) {
    return texts_at(&self->nodes, node);
}

size_t templates_changed(const templates *self, const uint32_t **numbers) {
    *numbers = self->changed;
    return self->changed_count;
}

template_row templates_row_at(const templates *self, uint32_t template_id) {
    const template_entry *item = &self->items[template_id];
    return (template_row){.number = template_id,
                          .text = item->text,
                          .severity = item->severity,
                          .count = item->count,
                          .first_ms = item->first_ms,
                          .last_ms = item->last_ms};
}

uint32_t templates_pairs_stored(const templates *self) {
    return self->pairs.stored;
}

uint32_t templates_pair_count(const templates *self) {
    return self->pairs.count;
}

template_pair_row templates_pair_at(const templates *self, uint32_t pair) {
    return (template_pair_row){
        .number = pair, .node = self->pairs.items[pair].owner, .template_id = pair_template(self, pair)};
}

size_t templates_changed_buckets(const templates *self) {
    return self->set.note_count;
}

template_bucket_row templates_changed_bucket_at(const templates *self, size_t index) {
    const bucket_note *note = &self->set.notes[index];
    const count_bucket *found = (const count_bucket *)(const void *)buckets_find(
        &self->set, &self->levels[note->owner], note->level, note->from_ms);
    return (template_bucket_row){.pair = note->owner,
                                 .level = note->level,
                                 .from_ms = note->from_ms,
                                 .gone = found == NULL,
                                 .count = found == NULL ? 0 : found->count};
}

void templates_mark_stored(templates *self) {
    for (size_t i = 0; i < self->set.note_count; i++) {
        const bucket_note *note = &self->set.notes[i];
        bucket *found = buckets_find(&self->set, &self->levels[note->owner], note->level, note->from_ms);
        if (found != NULL)
            found->noted = false;
    }
    buckets_notes_clear(&self->set);
    for (size_t i = 0; i < self->changed_count; i++)
        self->items[self->changed[i]].noted = false;
    self->changed_count = 0;
    self->nodes.stored = self->nodes.count;
    self->pairs.stored = self->pairs.count;
}

bool templates_restore_node(templates *self, const char *name) {
    return texts_restore(&self->nodes, 0, bytes_of_text(name));
}

bool templates_restore(templates *self, const template_row *row) {
    hashed tokens = {0};
    for (const char *at = row->text; *at != '\0' && tokens.count < MASK_TOKENS;) {
        size_t length = strcspn(at, " ");
        tokens.hashes[tokens.count++] = token_hash(self, at, length);
        at += length + (at[length] == ' ');
    }
    group_hash(self, &tokens);
    if (row->number != self->count || template_append(self, row->text, &tokens) != row->number)
        return false;
    template_entry *item = &self->items[row->number];
    item->severity = row->severity;
    item->count = row->count;
    item->first_ms = row->first_ms;
    item->last_ms = row->last_ms;
    return true;
}

bool templates_restore_pair(templates *self, const template_pair_row *row) {
    return row->number == self->pairs.count && row->node < self->nodes.count &&
           row->template_id < self->count &&
           texts_restore(&self->pairs, row->node, pair_key(&row->template_id)) &&
           levels_grow(self, row->number);
}

bool templates_restore_bucket(templates *self, const template_bucket_row *row) {
    if (row->pair >= self->pairs.count)
        return false;
    templates_tighten(self);
    count_bucket *made = (count_bucket *)(void *)buckets_restore(&self->set, &self->levels[row->pair],
                                                                 row->level, row->from_ms);
    if (made == NULL)
        return false;
    made->count = row->count;
    return true;
}
