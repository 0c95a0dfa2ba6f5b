/* Questions about the graph with time. */
#include "history_answer.h"

#include <stdlib.h>
#include <string.h>

typedef Interlock__Graph__V1__GraphEdge edge_message;

static status_code no_room(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE",
                "the answer is larger than one message may be; ask for less of it");
}

/* ---- Instants and kinds
 * ---------------------------------------------------------------------------------------------- */

status_code answer_instant(answerer *self, const instant_message *at, instant *out, failure *why) {
    *out = INSTANT_NOW;
    if (at == NULL)
        return STATUS_OK;
    if (at->valid_at_ms < 0 || at->recorded_at_ms < 0 || (at->recorded_at_ms > 0 && at->at_revision > 0))
        return fail_field(why, "at", "BAD_INSTANT",
                          "an instant before 1970, or with both a recorded time and a revision");
    if (at->valid_at_ms > 0)
        out->valid_ms = at->valid_at_ms;
    if (at->recorded_at_ms > 0)
        out->recorded_ms = at->recorded_at_ms;
    return at->at_revision > 0 ? history_read_revision(self->reader, at->at_revision, &out->recorded_ms, why)
                               : STATUS_OK;
}

uint32_t answer_kinds(const unsigned *kinds, size_t count) {
    uint32_t bits = count == 0 ? PICTURE_ALL_KINDS : 0;
    for (size_t i = 0; i < count; i++)
        bits |= kinds[i] < 32 ? 1U << kinds[i] : 0;
    return bits;
}

/* ---- Versions
 * -------------------------------------------------------------------------------------------------------- */

status_code answer_attributes(const version *said, arena *memory, attribute_message ***out, size_t *count,
                              failure *why) {
    union {
        const char *kept;
        char *message; /* nobody writes to it */
    } text;
    attribute_message **items =
        arena_alloc(memory, (said->attribute_count + 1) * sizeof(attribute_message *));
    for (size_t i = 0; i < said->attribute_count && items != NULL; i++) {
        if ((items[i] = arena_alloc(memory, sizeof **items)) == NULL)
            return no_room(why);
        interlock__graph__v1__attribute__init(items[i]);
        text.kept = said->attributes[i].key;
        items[i]->key = text.message;
        text.kept = said->attributes[i].value;
        items[i]->value = text.message;
    }
    if (items == NULL)
        return no_room(why);
    *out = items;
    *count = said->attribute_count;
    return STATUS_OK;
}

static int64_t end_ms(int64_t time_ms) {
    return time_ms == HISTORY_OPEN ? 0 : time_ms;
}

version_message *answer_version(const version *said, arena *memory) {
    version_message *out = arena_alloc(memory, sizeof *out);
    if (out == NULL)
        return NULL;
    interlock__graph__v1__version__init(out);
    out->present = said->present;
    out->valid_from_ms = said->valid_from_ms;
    out->valid_to_ms = end_ms(said->valid_to_ms);
    out->recorded_from_ms = said->recorded_from_ms;
    out->recorded_to_ms = end_ms(said->recorded_to_ms);
    if ((out->origin = arena_text(memory, said->origin)) == NULL)
        return NULL;
    if (!said->present)
        return out;
    out->provenance = said->source;
    out->confidence = said->confidence;
    return answer_attributes(said, memory, &out->attributes, &out->n_attributes, NULL) == STATUS_OK ? out
                                                                                                    : NULL;
}

static status_code versions_fill(const history_item *item, arena *memory, version_message ***out,
                                 size_t *count, failure *why) {
    version_message **versions = arena_alloc(memory, (item->version_count + 1) * sizeof(version_message *));
    if (versions == NULL)
        return no_room(why);
    for (size_t i = 0; i < item->version_count; i++)
        if ((versions[i] = answer_version(&item->versions[i], memory)) == NULL)
            return no_room(why);
    *out = versions;
    *count = item->version_count;
    return STATUS_OK;
}

status_code answer_shown(answerer *self, uint32_t value, const char *origin, int64_t valid_from_ms,
                         int64_t recorded_from_ms, arena *memory, version_message **out, failure *why) {
    version said = {.present = true,
                    .origin = origin,
                    .valid_from_ms = valid_from_ms,
                    .valid_to_ms = HISTORY_OPEN,
                    .recorded_from_ms = recorded_from_ms,
                    .recorded_to_ms = HISTORY_OPEN};
    status_code status = history_read_value(self->reader, value, memory, &said, why);
    if (status != STATUS_OK)
        return status;
    *out = answer_version(&said, memory);
    return *out == NULL ? no_room(why) : STATUS_OK;
}

/* ---- One thing
 * -------------------------------------------------------------------------------------------------------- */

static status_code name_check(const char *name, const char *field, failure *why) {
    name_parts parts;
    failure inner = {0};
    if (name_parse(name, &parts, &inner) == STATUS_OK)
        return STATUS_OK;
    return fail_field(why, field, "BAD_NAME", "%s", inner.message);
}

static void item_names(const history_item *item, char **name, char ***aliases, size_t *count) {
    union {
        const char *kept;
        char *message;
    } text = {.kept = item->name};
    union {
        const char **kept;
        char **message;
    } list = {.kept = item->aliases};
    *name = text.message;
    *aliases = list.message;
    *count = item->alias_count;
}

status_code answer_get_node(answerer *self, const Interlock__Graph__V1__GetNodeRequest *request,
                            arena *memory, Interlock__Graph__V1__GetNodeResponse *out, failure *why) {
    instant at = INSTANT_NOW;
    history_item item = {0};
    fact what = {.name = request->name};
    status_code status = name_check(request->name, "name", why);
    if (status == STATUS_OK)
        status = answer_instant(self, request->at, &at, why);
    if (status == STATUS_OK)
        status = history_read_at(self->reader, &what, at, memory, &item, why);
    if (status != STATUS_OK)
        return status;
    out->kind = (node_kind)item.kind;
    item_names(&item, &out->name, &out->aliases, &out->n_aliases);
    return versions_fill(&item, memory, &out->versions, &out->n_versions, why);
}

/* The token is how many versions have been sent. */
static status_code page_begin(const Interlock__Graph__V1__HistoryRequest *request, size_t *skip, size_t *most,
                              failure *why) {
    char *end = NULL;
    unsigned long given = strtoul(request->page_token, &end, 10);
    if (*end != 0 || given > 1000000000UL)
        return fail_field(why, "page_token", "BAD_PAGE_TOKEN", "not a token that an answer stated");
    *skip = given;
    *most = request->page_size == 0 || request->page_size > ANSWER_VERSIONS_MAX ? ANSWER_VERSIONS_MAX
                                                                                : request->page_size;
    return STATUS_OK;
}

status_code answer_history(answerer *self, const Interlock__Graph__V1__HistoryRequest *request, arena *memory,
                           Interlock__Graph__V1__HistoryResponse *out, failure *why) {
    bool is_edge = request->to[0] != 0;
    fact what = {
        .is_edge = is_edge, .kind = (int)request->edge_kind, .name = request->name, .to = request->to};
    history_item item = {0};
    size_t skip = 0;
    size_t most = 0;
    status_code status = name_check(request->name, "name", why);
    if (status == STATUS_OK && is_edge)
        status = name_check(request->to, "to", why);
    if (status == STATUS_OK)
        status = page_begin(request, &skip, &most, why);
    if (status == STATUS_OK)
        status = history_read_past(self->reader, &what, skip, most, memory, &item, why);
    if (status != STATUS_OK)
        return status;
    item_names(&item, &out->name, &out->aliases, &out->n_aliases);
    if (item.more && (out->next_page_token = arena_format(memory, "%zu", skip + most)) == NULL)
        return no_room(why);
    return versions_fill(&item, memory, &out->versions, &out->n_versions, why);
}

/* ---- Pictures
 * ---------------------------------------------------------------------------------------------------------
 */

void answerer_free(answerer *self) {
    picture_free(&self->last);
    self->has_last = false;
}

static status_code picture_of(answerer *self, const instant_message *at, failure *why) {
    instant when = INSTANT_NOW;
    status_code status = answer_instant(self, at, &when, why);
    uint64_t revision = history_newest(self->of, NULL);
    if (status != STATUS_OK ||
        (self->has_last && self->last_revision == revision && self->last_at.valid_ms == when.valid_ms &&
         self->last_at.recorded_ms == when.recorded_ms))
        return status;
    answerer_free(self);
    status = picture_make(self->reader, when, &self->last, why);
    if (status == STATUS_OK)
        status = picture_link(&self->last, why);
    self->last_at = when;
    self->last_revision = revision;
    self->has_last = status == STATUS_OK;
    return status;
}

static status_code node_place(const answerer *self, const char *name, const char *field, uint32_t *place,
                              failure *why) {
    status_code status = name_check(name, field, why);
    if (status != STATUS_OK)
        return status;
    *place = picture_find(&self->last, name);
    return *place != HISTORY_NONE
               ? STATUS_OK
               : fail(why, STATUS_NOT_FOUND, "NOT_KNOWN", "%s was not in the graph at that instant", name);
}

static status_code edge_fill(answerer *self, uint32_t edge, arena *memory, edge_message **out, failure *why) {
    const picture_edge *item = &self->last.edges[edge];
    edge_message *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return no_room(why);
    interlock__graph__v1__graph_edge__init(made);
    made->from = arena_text(memory, self->last.nodes[item->from].name);
    made->to = arena_text(memory, self->last.nodes[item->to].name);
    made->kind = (edge_kind)item->kind;
    if (made->from == NULL || made->to == NULL)
        return no_room(why);
    *out = made;
    return answer_shown(self, item->value, picture_origin(&self->last, item->origin), item->valid_from_ms,
                        item->recorded_from_ms, memory, &made->version, why);
}

static status_code edges_fill(answerer *self, const uint32_t *edges, size_t count, arena *memory,
                              edge_message ***out, size_t *made, failure *why) {
    status_code status = STATUS_OK;
    *out = arena_alloc(memory, (count + 1) * sizeof(edge_message *));
    if (*out == NULL)
        return no_room(why);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = edge_fill(self, edges[i], memory, &(*out)[i], why);
        *made = i + 1;
    }
    return status;
}

status_code answer_neighbors(answerer *self, const Interlock__Graph__V1__NeighborsRequest *request,
                             arena *memory, Interlock__Graph__V1__NeighborsResponse *out, failure *why) {
    uint32_t place = 0;
    uint32_t limit =
        request->limit == 0 || request->limit > ANSWER_NEIGHBORS_MAX ? ANSWER_NEIGHBORS_MAX : request->limit;
    picture_direction direction =
        request->direction == 0 ? PICTURE_BOTH : (picture_direction)(request->direction & 3);
    uint32_t *edges = arena_alloc(memory, ANSWER_NEIGHBORS_MAX * sizeof *edges);
    status_code status = edges == NULL ? no_room(why) : picture_of(self, request->at, why);
    if (status == STATUS_OK)
        status = node_place(self, request->name, "name", &place, why);
    if (status != STATUS_OK)
        return status;
    uint32_t kinds = answer_kinds((const unsigned *)request->edge_kinds, request->n_edge_kinds);
    out->edge_count = picture_neighbors(&self->last, place, direction, kinds, edges, limit);
    size_t count = out->edge_count < limit ? out->edge_count : limit;
    return edges_fill(self, edges, count, memory, &out->edges, &out->n_edges, why);
}

static status_code path_fill(answerer *self, const picture_path *path, arena *memory,
                             Interlock__Graph__V1__GraphPath **out, failure *why) {
    Interlock__Graph__V1__GraphPath *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return no_room(why);
    interlock__graph__v1__graph_path__init(made);
    *out = made;
    return edges_fill(self, path->edges, path->edge_count, memory, &made->edges, &made->n_edges, why);
}

status_code answer_paths(answerer *self, const Interlock__Graph__V1__FindPathsRequest *request, arena *memory,
                         Interlock__Graph__V1__FindPathsResponse *out, failure *why) {
    uint32_t from = 0;
    uint32_t to = 0;
    uint32_t count = 0;
    bool more = false;
    uint32_t limit = request->limit == 0 ? 16 : request->limit < PATHS_MAX ? request->limit : PATHS_MAX;
    picture_path *paths = arena_alloc(memory, limit * sizeof *paths);
    out->paths = arena_alloc(memory, limit * sizeof(Interlock__Graph__V1__GraphPath *));
    status_code status =
        paths == NULL || out->paths == NULL ? no_room(why) : picture_of(self, request->at, why);
    if (status == STATUS_OK)
        status = node_place(self, request->from, "from", &from, why);
    if (status == STATUS_OK)
        status = node_place(self, request->to, "to", &to, why);
    if (status == STATUS_OK)
        status = picture_paths(
            &self->last, from, to, answer_kinds((const unsigned *)request->edge_kinds, request->n_edge_kinds),
            request->longest == 0 ? 8 : request->longest, limit, paths, &count, &more, why);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = path_fill(self, &paths[i], memory, &out->paths[i], why);
        out->n_paths = i + 1;
    }
    out->more = more;
    return status;
}
