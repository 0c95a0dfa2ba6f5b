/* interlock graph at, export, diff, node and why-connected: the graph with time. */
#include "graph_past.h"

#include <stdlib.h>
#include <string.h>

#include "base/instant.h"
#include "client/history_client.h"
#include "wire/json.h"

#define ASK_TIMEOUT_MS 60000U
#define DRAWING_BYTES (64U << 20)
#define JSON_BYTES (256U << 20)
#define SNAPSHOT_BYTES (2048UL << 20)

typedef Interlock__Graph__V1__Instant instant_message;
typedef Interlock__Graph__V1__Version version_message;
typedef Interlock__Graph__V1__GraphEdge edge_message;
typedef Interlock__Graph__V1__SnapshotNode node_row;
typedef Interlock__Graph__V1__SnapshotEdge edge_row;

/* ---- Words */

static const char *lower(cli *self, const char *text) {
    char *copy = arena_text(&self->memory, text);
    for (char *c = copy; c != NULL && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return copy != NULL ? copy : "";
}

const char *graph_kind_word(cli *self, int edge_kind) {
    return lower(self, cli_enum(&interlock__graph__v1__edge_kind__descriptor, edge_kind, "EDGE_KIND_"));
}

static const char *provenance_word(cli *self, int number) {
    return lower(self, cli_enum(&interlock__graph__v1__provenance__descriptor, number, "PROVENANCE_"));
}

static const char *edge_text(cli *self, const char *from, int kind, const char *to) {
    const char *text = arena_format(&self->memory, "%s %s %s", cli_safe(&self->memory, from),
                                    graph_kind_word(self, kind), cli_safe(&self->memory, to));
    return text != NULL ? text : "";
}

/* ---- Instants */

static bool ago_parse(const char *text, int64_t now_ms, int64_t *out) {
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    char *end = NULL;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || strlen(text) != digits + 1)
        return false;
    int64_t count = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (units[i].unit == *end && count * units[i].ms < now_ms) {
            *out = now_ms - count * units[i].ms;
            return true;
        }
    return false;
}

status_code graph_instant(cli *self, const char *text, int64_t *out, failure *why) {
    int64_t now_ms = chance_wall_ms(self->source);
    size_t size = strlen(text);
    char *day = arena_format(&self->memory, "%sT00:00:00Z", text);
    if (strcmp(text, "now") == 0) {
        *out = now_ms;
        return STATUS_OK;
    }
    if (size > 9 && size < 18 && strspn(text, "0123456789") == size) {
        *out = strtoll(text, NULL, 10);
        return STATUS_OK;
    }
    if (instant_parse(text, out) || (day != NULL && size == 10 && instant_parse(day, out)) ||
        ago_parse(text, now_ms, out))
        return STATUS_OK;
    return fail(
        why, STATUS_INVALID_ARGUMENT, "BAD_TIME",
        "\"%.64s\" is no time: 2026-11-22T19:24:50Z, 2026-11-22, now, or how long ago, such as 15m, 2h, 3d",
        text);
}

/* --known-at, and `at` unless it is NULL. */
static status_code instant_fill(cli *self, const char *at, instant_message *out, failure *why) {
    const char *known = cli_text(self, "known-at");
    status_code code = at != NULL ? graph_instant(self, at, &out->valid_at_ms, why) : STATUS_OK;
    if (code == STATUS_OK && known != NULL)
        code = graph_instant(self, known, &out->recorded_at_ms, why);
    return code;
}

/* ---- Drawings */

cli_exit graph_draw(cli *self, const drawing *what, const char *command) {
    failure why = {0};
    buffer text;
    status_code code = STATUS_OK;
    buffer_init(&text, DRAWING_BYTES);
    if (self->format == FORMAT_SVG)
        code = drawing_svg(what, &self->memory, &text, &why);
    else
        drawing_dot(what, &text);
    if (code == STATUS_OK && !buffer_ok(&text))
        code =
            fail(&why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_TO_DRAW", "the drawing does not fit in memory");
    if (code == STATUS_OK)
        fwrite(text.data, 1, text.size, stdout);
    buffer_free(&text);
    return code == STATUS_OK ? CLI_OK : cli_fail(command, &why);
}

static cli_exit snapshot_draw(cli *self, const history_snapshot *all, const char *command) {
    drawing what = {.nodes = arena_zero(&self->memory, all->node_count + 1, sizeof(drawing_node)),
                    .node_count = all->node_count,
                    .edges = arena_zero(&self->memory, all->edge_count + 1, sizeof(drawing_edge)),
                    .edge_count = all->edge_count};
    failure why = {0};
    if (what.nodes == NULL || what.edges == NULL) {
        (void)fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the drawing");
        return cli_fail(command, &why);
    }
    for (size_t i = 0; i < all->node_count; i++)
        what.nodes[i] = (drawing_node){.name = cli_safe(&self->memory, all->nodes[i]->name),
                                       .note = provenance_word(self, (int)all->nodes[i]->provenance)};
    for (size_t i = 0; i < all->edge_count; i++)
        what.edges[i] = (drawing_edge){.from = all->edges[i]->from,
                                       .to = all->edges[i]->to,
                                       .kind = graph_kind_word(self, (int)all->edges[i]->kind),
                                       .weak = all->edges[i]->provenance ==
                                               INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_INFERRED};
    return graph_draw(self, &what, command);
}

/* ---- Snapshots */

static cli_exit snapshot_json(const history_snapshot *all) {
    Interlock__Graph__V1__SnapshotResponse message = INTERLOCK__GRAPH__V1__SNAPSHOT_RESPONSE__INIT;
    instant_message at = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    at.valid_at_ms = all->valid_at_ms;
    at.recorded_at_ms = all->recorded_at_ms;
    message.nodes = (node_row **)all->nodes;
    message.n_nodes = all->node_count;
    message.edges = (edge_row **)all->edges;
    message.n_edges = all->edge_count;
    message.at = &at;
    message.revision = all->revision;
    message.complete = true;
    return cli_print_json(&message.base);
}

static int name_compare(const void *a, const void *b) {
    return strcmp((*(const node_row *const *)a)->name, (*(const node_row *const *)b)->name);
}

/* In the order of their names; edges name nodes by their old places, so the list itself stays. */
static const node_row **nodes_sorted(cli *self, const history_snapshot *all) {
    const node_row **copy = arena_alloc(&self->memory, (all->node_count + 1) * sizeof(void *));
    if (copy == NULL || all->node_count == 0)
        return all->nodes;
    memcpy(copy, all->nodes, all->node_count * sizeof(void *));
    qsort(copy, all->node_count, sizeof(void *), name_compare);
    return copy;
}

static void print_snapshot(cli *self, const history_snapshot *all) {
    static const char *const node_headings[] = {"NODE", "PROVENANCE", "SAID BY", "SINCE"};
    static const char *const edge_headings[] = {"FROM", "KIND", "TO", "PROVENANCE", "SAID BY", "SINCE"};
    const node_row **sorted = nodes_sorted(self, all);
    cli_table *nodes = cli_table_new(node_headings, 4);
    cli_table *edges = cli_table_new(edge_headings, 6);
    for (size_t i = 0; i < all->node_count; i++) {
        const node_row *row = sorted[i];
        const char *cells[] = {
            cli_safe(&self->memory, row->name), provenance_word(self, (int)row->provenance),
            cli_safe(&self->memory, row->origin), cli_time(&self->memory, row->valid_from_ms)};
        cli_table_row(nodes, cells);
    }
    for (size_t i = 0; i < all->edge_count; i++) {
        const edge_row *row = all->edges[i];
        const char *cells[] = {cli_safe(&self->memory, all->nodes[row->from]->name),
                               graph_kind_word(self, (int)row->kind),
                               cli_safe(&self->memory, all->nodes[row->to]->name),
                               provenance_word(self, (int)row->provenance),
                               cli_safe(&self->memory, row->origin),
                               cli_time(&self->memory, row->valid_from_ms)};
        cli_table_row(edges, cells);
    }
    cli_table_print(nodes, stdout);
    printf("\n");
    cli_table_print(edges, stdout);
    printf("\n%zu nodes, %zu edges at %s; revision %llu.\n", all->node_count, all->edge_count,
           cli_time(&self->memory, all->valid_at_ms), (unsigned long long)all->revision);
}

/* --kind, as often as wanted. */
static status_code kinds_fill(cli *self, Interlock__Graph__V1__SnapshotRequest *request, failure *why) {
    const cli_values *given = cli_list(self, "kind");
    request->node_kinds = arena_zero(&self->memory, given->count + 1, sizeof *request->node_kinds);
    for (size_t i = 0; i < given->count && request->node_kinds != NULL; i++) {
        char *name = arena_format(&self->memory, "NODE_KIND_%s", given->items[i]);
        for (char *c = name; c != NULL && *c != '\0'; c++)
            if (*c >= 'a' && *c <= 'z')
                *c = (char)(*c - 'a' + 'A');
        const ProtobufCEnumValue *value = name != NULL
                                              ? protobuf_c_enum_descriptor_get_value_by_name(
                                                    &interlock__graph__v1__node_kind__descriptor, name)
                                              : NULL;
        if (value == NULL || value->value == 0)
            return fail_field(why, "kind", "BAD_CHOICE", "\"%.64s\" is no kind of node, such as service",
                              given->items[i]);
        request->node_kinds[request->n_node_kinds++] = (Interlock__Graph__V1__NodeKind)value->value;
    }
    return request->node_kinds != NULL
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the question");
}

static cli_exit snapshot_run(cli *self, const char *at, bool attributes, const char *command) {
    failure why = {0};
    rpc_channel *channel = NULL;
    history_snapshot all = {0};
    Interlock__Graph__V1__SnapshotRequest request = INTERLOCK__GRAPH__V1__SNAPSHOT_REQUEST__INIT;
    instant_message moment = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    request.at = &moment;
    request.with_attributes = attributes;
    status_code code = instant_fill(self, at, &moment, &why);
    if (code == STATUS_OK)
        code = kinds_fill(self, &request, &why);
    if (code != STATUS_OK)
        return cli_usage(self, &why);
    self->memory.limit = SNAPSHOT_BYTES;
    code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = history_snapshot_wait(channel, &request, ASK_TIMEOUT_MS, &self->memory, &all, &why);
    rpc_channel_close(channel);
    if (code != STATUS_OK)
        return cli_fail(command, &why);
    if (self->format == FORMAT_JSON)
        return snapshot_json(&all);
    if (self->format != FORMAT_TABLE)
        return snapshot_draw(self, &all, command);
    print_snapshot(self, &all);
    return CLI_OK;
}

cli_exit graph_at_run(cli *self) {
    return snapshot_run(self, self->positional.items[0], self->format == FORMAT_JSON, "graph at");
}

cli_exit graph_export_run(cli *self) {
    if (self->format == FORMAT_TABLE)
        self->format = FORMAT_JSON;
    return snapshot_run(self, cli_text(self, "at"), true, "graph export");
}

/* ---- diff */

static const char *value_of(const version_message *version, const char *key) {
    for (size_t i = 0; version != NULL && i < version->n_attributes; i++)
        if (strcmp(version->attributes[i]->key, key) == 0)
            return version->attributes[i]->value;
    return NULL;
}

static void print_other(cli *self, const version_message *what, const version_message *other,
                        const char *sign) {
    for (size_t i = 0; i < what->n_attributes; i++) {
        const char *value = value_of(other, what->attributes[i]->key);
        if (value == NULL || strcmp(value, what->attributes[i]->value) != 0)
            printf("    %s %s: %s\n", sign, cli_safe(&self->memory, what->attributes[i]->key),
                   cli_safe(&self->memory, what->attributes[i]->value));
    }
}

static void print_change(cli *self, const char *what, const version_message *before,
                         const version_message *after) {
    printf("%s %s\n", before == NULL ? "+" : after == NULL ? "-" : "~", what);
    if (before == NULL || after == NULL)
        return;
    if (before->provenance != after->provenance)
        printf("    ~ %s, was %s\n", provenance_word(self, (int)after->provenance),
               provenance_word(self, (int)before->provenance));
    print_other(self, before, after, "-");
    print_other(self, after, before, "+");
}

static void print_diff(cli *self, const Interlock__Graph__V1__DiffResponse *answer) {
    for (size_t i = 0; i < answer->n_nodes; i++)
        print_change(self, cli_safe(&self->memory, answer->nodes[i]->name), answer->nodes[i]->before,
                     answer->nodes[i]->after);
    for (size_t i = 0; i < answer->n_edges; i++)
        print_change(
            self, edge_text(self, answer->edges[i]->from, (int)answer->edges[i]->kind, answer->edges[i]->to),
            answer->edges[i]->before, answer->edges[i]->after);
    size_t all = (size_t)answer->node_count + answer->edge_count;
    if (all > answer->n_nodes + answer->n_edges)
        printf("… and %zu more.\n", all - answer->n_nodes - answer->n_edges);
    printf("%u nodes and %u edges differ.\n", answer->node_count, answer->edge_count);
}

cli_exit graph_diff_run(cli *self) {
    failure why = {0};
    rpc_channel *channel = NULL;
    Interlock__Graph__V1__DiffRequest request = INTERLOCK__GRAPH__V1__DIFF_REQUEST__INIT;
    Interlock__Graph__V1__DiffResponse *answer = NULL;
    instant_message from = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    instant_message to = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    request.from = &from;
    request.to = &to;
    status_code code = instant_fill(self, self->positional.items[0], &from, &why);
    if (code == STATUS_OK)
        code = instant_fill(self, self->positional.items[1], &to, &why);
    if (code != STATUS_OK)
        return cli_usage(self, &why);
    code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = history_diff_wait(channel, &request, ASK_TIMEOUT_MS, &self->memory, &answer, &why);
    rpc_channel_close(channel);
    if (code != STATUS_OK)
        return cli_fail("graph diff", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    print_diff(self, answer);
    return CLI_OK;
}

/* ---- node */

static void print_version(cli *self, const version_message *version) {
    const char *until =
        version->valid_to_ms != 0
            ? arena_format(&self->memory, " to %s", cli_time(&self->memory, version->valid_to_ms))
            : "";
    printf("  %s%s, %s (%.2f): %s%s\n", cli_time(&self->memory, version->valid_from_ms),
           until != NULL ? until : "", cli_safe(&self->memory, version->origin), version->confidence,
           version->present ? provenance_word(self, (int)version->provenance) : "not there",
           version->recorded_to_ms != 0 ? ", corrected since" : "");
    for (size_t i = 0; i < version->n_attributes; i++)
        printf("      %s: %s\n", cli_safe(&self->memory, version->attributes[i]->key),
               cli_safe(&self->memory, version->attributes[i]->value));
}

static void print_edges(cli *self, const Interlock__Graph__V1__NeighborsResponse *answer) {
    static const char *const headings[] = {"FROM", "KIND", "TO", "PROVENANCE", "SINCE"};
    cli_table *table = cli_table_new(headings, 5);
    for (size_t i = 0; i < answer->n_edges; i++) {
        const edge_message *edge = answer->edges[i];
        const char *cells[] = {
            cli_safe(&self->memory, edge->from), graph_kind_word(self, (int)edge->kind),
            cli_safe(&self->memory, edge->to),
            edge->version != NULL ? provenance_word(self, (int)edge->version->provenance) : "",
            edge->version != NULL ? cli_time(&self->memory, edge->version->valid_from_ms) : ""};
        cli_table_row(table, cells);
    }
    printf("\n");
    cli_table_print(table, stdout);
    if (answer->edge_count > answer->n_edges)
        printf("… and %zu more.\n", answer->edge_count - answer->n_edges);
}

typedef struct node_answer {
    Interlock__Graph__V1__GetNodeResponse *node;
    Interlock__Graph__V1__NeighborsResponse *edges;
    Interlock__Graph__V1__HistoryResponse *past;
} node_answer;

static status_code node_ask(cli *self, instant_message *at, node_answer *out, failure *why) {
    rpc_channel *channel = NULL;
    Interlock__Graph__V1__GetNodeRequest node = INTERLOCK__GRAPH__V1__GET_NODE_REQUEST__INIT;
    Interlock__Graph__V1__NeighborsRequest edges = INTERLOCK__GRAPH__V1__NEIGHBORS_REQUEST__INIT;
    Interlock__Graph__V1__HistoryRequest past = INTERLOCK__GRAPH__V1__HISTORY_REQUEST__INIT;
    node.name = edges.name = past.name = (char *)self->positional.items[0];
    node.at = edges.at = at;
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, why);
    if (code == STATUS_OK)
        code = history_node_wait(channel, &node, ASK_TIMEOUT_MS, &self->memory, &out->node, why);
    if (code == STATUS_OK)
        code = history_neighbors_wait(channel, &edges, ASK_TIMEOUT_MS, &self->memory, &out->edges, why);
    if (code == STATUS_NOT_FOUND && out->node != NULL)
        code = STATUS_OK; /* it is known, and was not there at that time */
    if (code == STATUS_OK && cli_given(self, "history"))
        code = history_past_wait(channel, &past, ASK_TIMEOUT_MS, &self->memory, &out->past, why);
    rpc_channel_close(channel);
    return code;
}

/* {"node": …, "edges": …, "history": …} */
static cli_exit node_json(const node_answer *answer) {
    const ProtobufCMessage *parts[] = {&answer->node->base,
                                       answer->edges != NULL ? &answer->edges->base : NULL,
                                       answer->past != NULL ? &answer->past->base : NULL};
    static const char *const names[] = {"node", "neighbors", "history"};
    failure why = {0};
    buffer text;
    status_code code = STATUS_OK;
    buffer_init(&text, JSON_BYTES);
    for (size_t i = 0; i < 3 && code == STATUS_OK; i++) {
        if (parts[i] == NULL)
            continue;
        buffer_format(&text, "%s\"%s\": ", i == 0 ? "{" : ", ", names[i]);
        code = wire_to_json(parts[i], WIRE_JSON_CANONICAL, false, &text, &why);
        while (text.size > 0 && text.data[text.size - 1] == '\n')
            text.data[--text.size] = '\0';
    }
    buffer_text(&text, "}\n");
    if (code == STATUS_OK && buffer_ok(&text))
        fwrite(text.data, 1, text.size, stdout);
    buffer_free(&text);
    return code == STATUS_OK ? CLI_OK : cli_fail("graph node", &why);
}

static void print_node(cli *self, const node_answer *answer) {
    printf("%s\n", cli_safe(&self->memory, answer->node->name));
    for (size_t i = 0; i < answer->node->n_aliases; i++)
        printf("  also %s\n", cli_safe(&self->memory, answer->node->aliases[i]));
    for (size_t i = 0; i < answer->node->n_versions; i++)
        print_version(self, answer->node->versions[i]);
    if (answer->node->n_versions == 0)
        printf("  Nobody said anything about it at that time.\n");
    if (answer->edges != NULL && answer->edges->n_edges > 0)
        print_edges(self, answer->edges);
    if (answer->past == NULL)
        return;
    printf("\nAll that was said:\n");
    for (size_t i = 0; i < answer->past->n_versions; i++)
        print_version(self, answer->past->versions[i]);
    if (answer->past->next_page_token[0] != '\0')
        printf("… and more.\n");
}

cli_exit graph_node_run(cli *self) {
    failure why = {0};
    node_answer answer = {0};
    instant_message at = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    if (instant_fill(self, cli_text(self, "at"), &at, &why) != STATUS_OK)
        return cli_usage(self, &why);
    if (node_ask(self, &at, &answer, &why) != STATUS_OK)
        return cli_fail("graph node", &why);
    if (self->format == FORMAT_JSON)
        return node_json(&answer);
    print_node(self, &answer);
    return CLI_OK;
}

/* ---- why-connected */

static status_code paths_ask(cli *self, rpc_channel *channel, const char *from, const char *to,
                             instant_message *at, Interlock__Graph__V1__FindPathsResponse **out,
                             failure *why) {
    Interlock__Graph__V1__FindPathsRequest request = INTERLOCK__GRAPH__V1__FIND_PATHS_REQUEST__INIT;
    request.from = (char *)from;
    request.to = (char *)to;
    request.at = at;
    return history_paths_wait(channel, &request, ASK_TIMEOUT_MS, &self->memory, out, why);
}

static void print_paths(cli *self, const char *from, const char *to,
                        const Interlock__Graph__V1__FindPathsResponse *answer) {
    if (answer->n_paths == 0) {
        printf("Nothing leads from %s to %s.\n", cli_safe(&self->memory, from), cli_safe(&self->memory, to));
        return;
    }
    for (size_t i = 0; i < answer->n_paths; i++) {
        const Interlock__Graph__V1__GraphPath *path = answer->paths[i];
        printf("%zu. %s\n", i + 1, cli_safe(&self->memory, from));
        for (size_t j = 0; j < path->n_edges; j++) {
            const edge_message *edge = path->edges[j];
            const version_message *said = edge->version;
            printf("   %s %s", graph_kind_word(self, (int)edge->kind), cli_safe(&self->memory, edge->to));
            if (said != NULL)
                printf("  (%s by %s, since %s)", provenance_word(self, (int)said->provenance),
                       cli_safe(&self->memory, said->origin), cli_time(&self->memory, said->valid_from_ms));
            printf("\n");
        }
    }
    if (answer->more)
        printf("… and there may be more.\n");
}

/* One way, and the other when there is none. */
cli_exit graph_connected_run(cli *self) {
    failure why = {0};
    rpc_channel *channel = NULL;
    Interlock__Graph__V1__FindPathsResponse *there = NULL;
    Interlock__Graph__V1__FindPathsResponse *back = NULL;
    instant_message at = INTERLOCK__GRAPH__V1__INSTANT__INIT;
    const char *from = self->positional.items[0];
    const char *to = self->positional.items[1];
    if (instant_fill(self, cli_text(self, "at"), &at, &why) != STATUS_OK)
        return cli_usage(self, &why);
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = paths_ask(self, channel, from, to, &at, &there, &why);
    if (code == STATUS_OK && there->n_paths == 0)
        code = paths_ask(self, channel, to, from, &at, &back, &why);
    rpc_channel_close(channel);
    if (code != STATUS_OK)
        return cli_fail("graph why-connected", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(back != NULL && back->n_paths > 0 ? &back->base : &there->base);
    print_paths(self, from, to, there);
    if (back != NULL)
        print_paths(self, to, from, back);
    return CLI_OK;
}
