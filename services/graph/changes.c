/* Changes into the history. */
#include "changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changes_internal.h"
#include "crypto/crypto.h"
#include "declarations.h"
#include "drift.h"
#include "events.h"
#include "objects.h"

#define SCRATCH_BYTES (256U << 20)

typedef Interlock__Graph__V1__Refusal refusal;
typedef Interlock__Graph__V1__Difference difference;

status_code changes_open(changes **out, history *past, failure *why) {
    changes *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for changes");
    self->past = past;
    arena_init(&self->scratch, 1U << 16, SCRATCH_BYTES);
    self->events = calloc(CHANGES_SEEN_MAX, sizeof *self->events);
    status_code code = self->events != NULL
                           ? lanes_create(&self->states, why)
                           : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for changes");
    if (code != STATUS_OK) {
        changes_close(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

void changes_close(changes *self) {
    if (self == NULL)
        return;
    HASH_CLEAR(hh, self->by_id);
    free(self->events);
    lanes_free(self->states);
    arena_free(&self->scratch);
    free(self);
}

changes_counts changes_count(const changes *self) {
    return (changes_counts){.lanes = atomic_load(&self->lanes),
                            .events = atomic_load(&self->taken_events),
                            .duplicates = atomic_load(&self->duplicates),
                            .objects = atomic_load(&self->objects),
                            .documents = atomic_load(&self->documents),
                            .refused = atomic_load(&self->refused)};
}

/* ---- The history */

static status_code say(void *context, const char *origin, const statement *what, bool says, int64_t from_ms,
                       failure *why) {
    changes *self = context;
    attribute list[STATEMENT_ATTRIBUTES_MAX];
    size_t count =
        what->attribute_count < HISTORY_ATTRIBUTES_MAX ? what->attribute_count : HISTORY_ATTRIBUTES_MAX;
    for (size_t i = 0; i < count; i++)
        list[i] = (attribute){.key = what->attributes[i].key, .value = what->attributes[i].value};
    fact stated = {.is_edge = what->is_edge,
                   .kind = what->kind,
                   .name = what->name,
                   .to = what->is_edge ? what->to : NULL,
                   .source = what->source,
                   .confidence = what->confidence,
                   .origin = origin,
                   .valid_from_ms = from_ms,
                   .valid_to_ms = HISTORY_OPEN,
                   .attributes = list,
                   .attribute_count = count};
    return says ? history_assert(self->past, &stated, self->now_ms, why)
                : history_retract(self->past, &stated, from_ms, self->now_ms, why);
}

static status_code put(changes *self, const change *what, bool *news, failure *why) {
    status_code code = lanes_put(self->states, what, say, self, &self->scratch, news, why);
    atomic_store(&self->lanes, lanes_count(self->states));
    return code;
}

/* Behind whatever the lane said last. */
static int64_t after_last(const changes *self, const change *what) {
    int64_t last = lanes_last_ms(self->states, what->lane);
    return last != INT64_MIN && what->from_ms <= last ? last + 1 : what->from_ms;
}

/* ---- Refusals */

/* What was cut in the middle of a character is text again. */
static char *text_mended(arena *memory, const char *text) {
    char *copy = arena_text(memory, text);
    for (char *c = copy; c != NULL && !utf8_valid(bytes_of_text(copy)) && *c != '\0'; c++)
        if ((*c & 0x80) != 0)
            *c = '?';
    return copy;
}

static status_code refuse(changes *self, arena *memory, refusal ***list, size_t *count, size_t room,
                          size_t index, const char *item, const failure *reason, failure *why) {
    refusal *made = arena_alloc(memory, sizeof *made);
    if (*list == NULL)
        *list = arena_alloc(memory, room * sizeof(void *));
    if (made == NULL || *list == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    interlock__graph__v1__refusal__init(made);
    made->index = (uint32_t)index;
    made->reason = (char *)(reason->reason != NULL ? reason->reason : "REFUSED");
    made->message = text_mended(memory, reason->message);
    made->item = text_mended(memory, item);
    if (made->message == NULL || made->item == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    (*list)[(*count)++] = made;
    atomic_fetch_add(&self->refused, 1);
    return STATUS_OK;
}

/* What befell one item is told of that item; what befell the service is told of the whole request. */
static bool is_of_item(status_code code) {
    return code == STATUS_INVALID_ARGUMENT || code == STATUS_ALREADY_EXISTS ||
           code == STATUS_FAILED_PRECONDITION;
}

static status_code items_fit(size_t count, const char *what, failure *why) {
    if (count == 0 || count > CHANGES_ITEMS_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_MANY", "%zu %s in a request; 1 to %u", count, what,
                    CHANGES_ITEMS_MAX);
    return STATUS_OK;
}

/* ---- Events */

static void event_id(const cloud_event *event, uint8_t out[CRYPTO_HASH_BYTES]) {
    uint8_t halves[2 * CRYPTO_HASH_BYTES];
    sha256(bytes_of_text(event->source), halves);
    sha256(bytes_of_text(event->id), halves + CRYPTO_HASH_BYTES);
    sha256(bytes_of(halves, sizeof halves), out);
}

bool changes_see(changes *self, const uint8_t id[SEEN_BYTES]) {
    seen *slot = &self->events[self->seen_next % CHANGES_SEEN_MAX];
    bool added = true;
    if (slot->hh.tbl != NULL)
        HASH_DEL(self->by_id, slot);
    memset(slot, 0, sizeof *slot);
    memcpy(slot->id, id, SEEN_BYTES);
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) added = false
    HASH_ADD(hh, self->by_id, id, SEEN_BYTES, slot);
    if (!added) {
        memset(slot, 0, sizeof *slot);
        return false;
    }
    self->seen_next++;
    return true;
}

static bool was_seen(const changes *self, const uint8_t id[SEEN_BYTES]) {
    const seen *found = NULL;
    HASH_FIND(hh, self->by_id, id, SEEN_BYTES, found);
    return found != NULL;
}

static status_code event_take(changes *self, const cloud_event *event, bool *duplicate, failure *why) {
    uint8_t id[CRYPTO_HASH_BYTES];
    change_list list;
    arena_reset(&self->scratch);
    event_id(event, id);
    *duplicate = was_seen(self, id);
    if (*duplicate)
        return STATUS_OK;
    status_code code = event_read(event, self->now_ms, &self->scratch, &list, why);
    for (size_t i = 0; i < list.count && code == STATUS_OK; i++) {
        bool news = false;
        code = put(self, &list.items[i], &news, why);
    }
    if (code == STATUS_OK && !changes_see(self, id))
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to remember an event");
    return code;
}

status_code changes_take_events(changes *self, const events_request *request, int64_t now_ms, arena *memory,
                                events_response *out, failure *why) {
    status_code code = items_fit(request->n_events, "events", why);
    self->now_ms = now_ms;
    for (size_t i = 0; i < request->n_events && code == STATUS_OK; i++) {
        const cloud_event *event = request->events[i];
        failure reason = {0};
        char item[200];
        bool duplicate = false;
        code = event_take(self, event, &duplicate, &reason);
        out->accepted += code == STATUS_OK && !duplicate;
        out->duplicates += duplicate;
        snprintf(item, sizeof item, "%.100s %.90s", event->source, event->id);
        if (is_of_item(code))
            code = refuse(self, memory, &out->refused, &out->n_refused, request->n_events, i, item, &reason,
                          why);
        else if (code != STATUS_OK)
            *why = reason;
    }
    atomic_fetch_add(&self->taken_events, out->accepted);
    atomic_fetch_add(&self->duplicates, out->duplicates);
    return code;
}

/* ---- Objects */

static status_code object_take(changes *self, const Interlock__Graph__V1__KubernetesObject *object,
                               const object_place *place, object_result *result, bool *news, failure *why) {
    arena_reset(&self->scratch);
    *news = false;
    status_code code = object_read(bytes_of_text(object->json), object->deleted, place, self->now_ms,
                                   &self->scratch, result, why);
    if (code != STATUS_OK || result->ignored)
        return code;
    change *what = &result->change;
    /* Of an object known before, the time of its making says nothing about what is new. */
    if (result->since_creation && lanes_last_ms(self->states, what->lane) != INT64_MIN)
        what->from_ms = self->now_ms;
    if (result->deleted || result->since_creation)
        what->from_ms = after_last(self, what);
    return put(self, what, news, why);
}

status_code changes_take_objects(changes *self, const objects_request *request, int64_t now_ms, arena *memory,
                                 objects_response *out, failure *why) {
    object_place place = {.environment = request->environment, .cluster = request->cluster};
    status_code code = items_fit(request->n_objects, "objects", why);
    if (code == STATUS_OK && (strlen(place.environment) > 64 || strlen(place.cluster) > 64))
        code = fail_field(why, "environment", "TOO_LONG", "environment and cluster have at most 64 bytes");
    self->now_ms = now_ms;
    for (size_t i = 0; i < request->n_objects && code == STATUS_OK; i++) {
        object_result result;
        failure reason = {0};
        bool news = false;
        code = object_take(self, request->objects[i], &place, &result, &news, &reason);
        if (is_of_item(code)) {
            code = refuse(self, memory, &out->refused, &out->n_refused, request->n_objects, i, result.item,
                          &reason, why);
            continue;
        }
        if (code != STATUS_OK)
            *why = reason;
        out->ignored += code == STATUS_OK && result.ignored;
        out->accepted += code == STATUS_OK && !result.ignored && news;
        out->unchanged += code == STATUS_OK && !result.ignored && !news;
    }
    atomic_fetch_add(&self->objects, out->accepted + out->unchanged);
    return code;
}

/* ---- Declarations */

typedef struct comparing {
    arena *memory;
    declarations_response *out;
    bool failed;
} comparing;

/* With text of its own: the scratch is reused before the answer is sent. */
static bool message_copy(arena *memory, const statement *what, statement_message **out) {
    statements copy;
    *out = NULL;
    if (what == NULL)
        return true;
    statements_begin(&copy, memory);
    size_t index = what->is_edge
                       ? statements_edge(&copy, (edge_kind)what->kind, what->name, what->to, what->source)
                       : statements_node(&copy, (node_kind)what->kind, what->name, what->source);
    for (size_t i = 0; i < what->attribute_count; i++)
        statements_attribute(&copy, index, what->attributes[i].key, what->attributes[i].value);
    if (!copy.failed)
        *out = statement_to_message(&copy.items[0], memory);
    return *out != NULL;
}

static void difference_add(void *context, const statement *before, const statement *after) {
    comparing *work = context;
    declarations_response *out = work->out;
    if (before != NULL && after != NULL && statement_same(before, after)) {
        out->unchanged++;
        return;
    }
    out->added += before == NULL;
    out->removed += after == NULL;
    out->changed += before != NULL && after != NULL;
    if (out->n_differences == CHANGES_DIFFERENCES_MAX || work->failed)
        return;
    difference *made = arena_alloc(work->memory, sizeof *made);
    if (made == NULL) {
        work->failed = true;
        return;
    }
    interlock__graph__v1__difference__init(made);
    made->kind = before == NULL  ? INTERLOCK__GRAPH__V1__DIFFERENCE_KIND__DIFFERENCE_KIND_ADDED
                 : after == NULL ? INTERLOCK__GRAPH__V1__DIFFERENCE_KIND__DIFFERENCE_KIND_REMOVED
                                 : INTERLOCK__GRAPH__V1__DIFFERENCE_KIND__DIFFERENCE_KIND_CHANGED;
    work->failed = !message_copy(work->memory, before, &made->before) ||
                   !message_copy(work->memory, after, &made->after);
    if (!work->failed)
        out->differences[out->n_differences++] = made;
}

static status_code differences_fill(changes *self, const declarations *stated, arena *memory,
                                    declarations_response *out, failure *why) {
    statements before;
    comparing work = {.memory = memory, .out = out};
    status_code code = lanes_last(self->states, stated->change.lane, &self->scratch, &before, why);
    if (code != STATUS_OK)
        return code;
    out->name = arena_text(memory, stated->name);
    out->differences = arena_alloc(memory, CHANGES_DIFFERENCES_MAX * sizeof(void *));
    if (out->name == NULL || out->differences == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    statements_compare(&before, &stated->change.what, difference_add, &work);
    return work.failed ? fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer")
                       : STATUS_OK;
}

/* An alias that cannot be had is told; what else the document says holds. */
static status_code aliases_put(changes *self, const declarations *stated, arena *memory,
                               declarations_response *out, failure *why) {
    if (stated->alias_count > 0)
        out->warnings = arena_alloc(memory, stated->alias_count * sizeof(char *));
    for (size_t i = 0; i < stated->alias_count; i++) {
        const declared_alias *item = &stated->aliases[i];
        failure reason = {0};
        status_code code = history_alias(self->past, item->node, item->alias, self->now_ms, &reason);
        if (code == STATUS_OK)
            continue;
        if (out->warnings == NULL)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
        out->warnings[out->n_warnings] =
            arena_format(memory, "%s is not another name of %s: %s", item->alias, item->node, reason.message);
        if (out->warnings[out->n_warnings] != NULL)
            out->n_warnings++;
    }
    return STATUS_OK;
}

status_code changes_declare(changes *self, const declarations_request *request, int64_t now_ms, arena *memory,
                            declarations_response *out, failure *why) {
    declarations stated;
    bool news = false;
    arena_reset(&self->scratch);
    self->now_ms = now_ms;
    status_code code = declarations_read(bytes_of_text(request->document),
                                         request->file[0] != '\0' ? request->file : "declarations", now_ms,
                                         &self->scratch, &stated, why);
    if (code == STATUS_OK)
        code = differences_fill(self, &stated, memory, out, why);
    if (code != STATUS_OK || request->dry_run)
        return code;
    stated.change.from_ms = after_last(self, &stated.change);
    code = put(self, &stated.change, &news, why);
    if (code == STATUS_OK)
        atomic_fetch_add(&self->documents, 1);
    return code == STATUS_OK ? aliases_put(self, &stated, memory, out, why) : code;
}

status_code changes_drift(changes *self, arena *memory, drift_response *out, failure *why) {
    arena_reset(&self->scratch);
    return drift_find(self->past, &self->scratch, memory, out, why);
}
