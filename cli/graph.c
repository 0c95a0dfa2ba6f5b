/* interlock graph: what Interlock knows of production, what a change would hit, and feeding it telemetry. */
#include <stdlib.h>
#include <string.h>

#include "client/graph_client.h"
#include "decision.h"
#include "graph_commands.h"
#include "graph_past.h"

static status_code fetch(cli *self, Interlock__Graph__V1__GetGraphResponse **out, failure *why) {
    rpc_channel *channel = NULL;
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, why);
    if (code == STATUS_OK)
        code = graph_get_wait(channel, CLI_TIMEOUT_MS, &self->memory, out, why);
    rpc_channel_close(channel);
    return code;
}

static const char *provenance(int number) {
    return cli_enum(&interlock__graph__v1__provenance__descriptor, number, "PROVENANCE_");
}

static const char *number(cli *self, double value) {
    const char *text = arena_format(&self->memory, "%.0f", value);
    return text != NULL ? text : "";
}

static void print_nodes(cli *self, const Interlock__Graph__V1__GetGraphResponse *graph) {
    static const char *const headings[] = {"NODE",       "REQUESTS",   "FROM OUTSIDE",
                                           "PROVENANCE", "CONFIDENCE", "SINCE"};
    cli_table *table = cli_table_new(headings, 6);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const Interlock__Graph__V1__Node *node = graph->nodes[i];
        const char *cells[] = {cli_safe(&self->memory, node->name),
                               number(self, node->requests),
                               number(self, node->entry_requests),
                               provenance((int)node->provenance),
                               arena_format(&self->memory, "%.2f", node->confidence),
                               cli_time(&self->memory, node->valid_from_ms)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
}

static void print_edges(cli *self, const Interlock__Graph__V1__GetGraphResponse *graph) {
    static const char *const headings[] = {"FROM", "KIND", "TO", "CALLS", "PER SECOND", "PROVENANCE"};
    if (graph->n_edges == 0)
        return;
    cli_table *table = cli_table_new(headings, 6);
    for (size_t i = 0; i < graph->n_edges; i++) {
        const Interlock__Graph__V1__Edge *edge = graph->edges[i];
        const char *cells[] = {
            cli_safe(&self->memory, edge->from),
            cli_enum(&interlock__graph__v1__edge_kind__descriptor, (int)edge->kind, "EDGE_KIND_"),
            cli_safe(&self->memory, edge->to),
            number(self, edge->calls),
            arena_format(&self->memory, "%.3g", edge->rate_per_second),
            provenance((int)edge->provenance)};
        cli_table_row(table, cells);
    }
    printf("\n");
    cli_table_print(table, stdout);
}

/* Calls with how often they were made. */
static cli_exit draw(cli *self, const Interlock__Graph__V1__GetGraphResponse *graph) {
    drawing what = {.nodes = arena_zero(&self->memory, graph->n_nodes + 1, sizeof(drawing_node)),
                    .node_count = graph->n_nodes,
                    .edges = arena_zero(&self->memory, graph->n_edges + 1, sizeof(drawing_edge))};
    for (size_t i = 0; i < graph->n_nodes && what.nodes != NULL; i++)
        what.nodes[i] = (drawing_node){.name = cli_safe(&self->memory, graph->nodes[i]->name),
                                       .strong = graph->nodes[i]->entry_requests > 0};
    for (size_t i = 0; i < graph->n_edges && what.nodes != NULL && what.edges != NULL; i++) {
        const Interlock__Graph__V1__Edge *edge = graph->edges[i];
        drawing_edge made = {.from = graph->n_nodes,
                             .to = graph->n_nodes,
                             .kind = graph_kind_word(self, (int)edge->kind),
                             .label = number(self, edge->calls),
                             .weak =
                                 edge->provenance != INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_OBSERVED};
        for (size_t j = 0; j < graph->n_nodes; j++) {
            if (strcmp(graph->nodes[j]->name, edge->from) == 0)
                made.from = j;
            if (strcmp(graph->nodes[j]->name, edge->to) == 0)
                made.to = j;
        }
        if (made.from < graph->n_nodes && made.to < graph->n_nodes)
            what.edges[what.edge_count++] = made;
    }
    failure why = {0};
    if (what.nodes == NULL || what.edges == NULL) {
        (void)fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the drawing");
        return cli_fail("graph show", &why);
    }
    return graph_draw(self, &what, "graph show");
}

static cli_exit show_run(cli *self) {
    failure why = {0};
    Interlock__Graph__V1__GetGraphResponse *graph = NULL;
    if (fetch(self, &graph, &why) != STATUS_OK)
        return cli_fail("graph show", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&graph->base);
    if (self->format != FORMAT_TABLE)
        return draw(self, graph);
    if (graph->n_nodes == 0) {
        puts("The graph is empty. Feed it telemetry: interlock graph ingest FILE, or OTLP over gRPC.");
        return CLI_OK;
    }
    print_nodes(self, graph);
    print_edges(self, graph);
    printf("\n%zu nodes, %zu edges; revision %llu, newest telemetry %s.\n", graph->n_nodes, graph->n_edges,
           (unsigned long long)graph->revision, cli_time(&self->memory, graph->as_of_ms));
    return CLI_OK;
}

static cli_exit impact_run(cli *self) {
    failure why = {0};
    rpc_channel *channel = NULL;
    Interlock__Graph__V1__PredictImpactRequest request = INTERLOCK__GRAPH__V1__PREDICT_IMPACT_REQUEST__INIT;
    Interlock__Graph__V1__PredictImpactResponse *answer = NULL;
    request.targets = (char **)self->positional.items;
    request.n_targets = self->positional.count;
    if (cli_given(self, "verb"))
        request.verb = (char *)cli_text(self, "verb");
    status_code code = cli_channel(self, "graph", ROLE_OPERATOR, &channel, &why);
    if (code == STATUS_OK)
        code = graph_predict_impact_wait(channel, &request, CLI_TIMEOUT_MS, &self->memory, &answer, &why);
    rpc_channel_close(channel);
    if (code != STATUS_OK)
        return cli_fail("graph impact", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&answer->base);
    if (answer->impact != NULL)
        impact_print(self, answer->impact);
    for (size_t i = 0; i < answer->n_unknown_targets; i++)
        printf("Never seen    %s\n", cli_safe(&self->memory, answer->unknown_targets[i]));
    printf("Graph         revision %llu, newest telemetry %s\n", (unsigned long long)answer->revision,
           cli_time(&self->memory, answer->as_of_ms));
    return CLI_OK;
}

static const cli_flag impact_flags[] = {
    {.name = "verb", .kind = FLAG_TEXT, .value_name = "VERB", .help = "what would be done"},
};
#define KNOWN_AT                                                                                             \
    {                                                                                                        \
        .name = "known-at", .kind = FLAG_TEXT, .value_name = "TIME",                                         \
        .help = "as the graph knew it then [all that is known]"                                              \
    }
#define AT                                                                                                   \
    { .name = "at", .kind = FLAG_TEXT, .value_name = "TIME", .help = "as it was then [now]" }
#define KIND                                                                                                 \
    {                                                                                                        \
        .name = "kind", .kind = FLAG_LIST, .value_name = "KIND",                                             \
        .help = "only nodes of this kind: service, zone, deploy …"                                         \
    }
static const cli_flag at_flags[] = {KNOWN_AT, KIND};
static const cli_flag diff_flags[] = {KNOWN_AT};
static const cli_flag connected_flags[] = {AT, KNOWN_AT};
static const cli_flag node_flags[] = {
    AT, KNOWN_AT, {.name = "history", .kind = FLAG_SWITCH, .help = "all that was ever said of it, too"}};
static const cli_flag export_flags[] = {AT, KNOWN_AT, KIND};
static const cli_flag apply_flags[] = {
    {.name = "file",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "-f: the declarations, in YAML (-: standard input)"},
    {.name = "dry-run", .kind = FLAG_SWITCH, .help = "only tell what would change"},
};
static const cli_flag ingest_flags[] = {
    {.name = "k8s",
     .kind = FLAG_TEXT,
     .value_name = "FILE",
     .help = "Kubernetes objects, as kubectl get -o json prints them"},
    {.name = "events", .kind = FLAG_TEXT, .value_name = "FILE", .help = "CloudEvents in JSON"},
    {.name = "environment",
     .kind = FLAG_TEXT,
     .value_name = "NAME",
     .help = "of objects that state none [default]"},
    {.name = "cluster",
     .kind = FLAG_TEXT,
     .value_name = "NAME",
     .help = "tells clusters apart whose objects share names"},
};
const cli_command graph_commands[] = {
    {.noun = "graph",
     .verb = "show",
     .purpose = "the production graph as it is known",
     .examples = "  interlock graph show\n  interlock graph show -o svg > graph.svg\n",
     .run = show_run},
    {.noun = "graph",
     .verb = "impact",
     .purpose = "what would be hit if a change on these nodes failed",
     .positional = "NODE…",
     .least = 1,
     .most = CLI_LIST_MAX,
     .flags = impact_flags,
     .flag_count = sizeof impact_flags / sizeof *impact_flags,
     .examples = "  interlock graph impact service:prod/shop/cart\n",
     .run = impact_run},
    {.noun = "graph",
     .verb = "at",
     .purpose = "every node and edge as it was at a time",
     .positional = "TIME",
     .least = 1,
     .most = 1,
     .flags = at_flags,
     .flag_count = sizeof at_flags / sizeof *at_flags,
     .examples = "  interlock graph at now\n  interlock graph at 2026-11-22T19:24:50Z --known-at 2h\n"
                 "  interlock graph at 3d --kind service --kind deploy -o svg > graph.svg\n",
     .run = graph_at_run},
    {.noun = "graph",
     .verb = "diff",
     .purpose = "what differs between two times",
     .positional = "TIME TIME",
     .least = 2,
     .most = 2,
     .flags = diff_flags,
     .flag_count = sizeof diff_flags / sizeof *diff_flags,
     .examples = "  interlock graph diff 1d now\n",
     .run = graph_diff_run},
    {.noun = "graph",
     .verb = "why-connected",
     .purpose = "the ways from one node to another",
     .positional = "NODE NODE",
     .least = 2,
     .most = 2,
     .flags = connected_flags,
     .flag_count = sizeof connected_flags / sizeof *connected_flags,
     .examples =
         "  interlock graph why-connected service:prod/shop/frontend datastore:prod/shop/redis-cart\n",
     .run = graph_connected_run},
    {.noun = "graph",
     .verb = "node",
     .purpose = "one node: what each source says of it, and its edges",
     .positional = "NODE",
     .least = 1,
     .most = 1,
     .flags = node_flags,
     .flag_count = sizeof node_flags / sizeof *node_flags,
     .examples = "  interlock graph node service:prod/shop/cart --at 2h\n",
     .run = graph_node_run},
    {.noun = "graph",
     .verb = "export",
     .purpose = "the whole graph with all attributes, as JSON, DOT or SVG",
     .flags = export_flags,
     .flag_count = sizeof export_flags / sizeof *export_flags,
     .examples = "  interlock graph export > graph.json\n  interlock graph export -o dot --kind service\n",
     .run = graph_export_run},
    {.noun = "graph",
     .verb = "apply",
     .purpose = "declare zones, owners, services, contracts, journeys and edges",
     .flags = apply_flags,
     .flag_count = sizeof apply_flags / sizeof *apply_flags,
     .examples = "  interlock graph apply -f shop.yaml --dry-run\n  interlock graph apply -f shop.yaml\n",
     .run = graph_apply_run},
    {.noun = "graph",
     .verb = "drift",
     .purpose = "what is declared and never seen, and the reverse",
     .examples = "  interlock graph drift\n",
     .run = graph_drift_run},
    {.noun = "graph",
     .verb = "ingest",
     .purpose = "feed telemetry (OTLP/JSON lines), Kubernetes objects or CloudEvents",
     .positional = "FILE",
     .least = 0,
     .most = 1,
     .flags = ingest_flags,
     .flag_count = sizeof ingest_flags / sizeof *ingest_flags,
     .examples = "  interlock graph ingest spans.jsonl\n"
                 "  kubectl get deploy,sts,ds,svc,cm,netpol -A -o json | interlock graph ingest --k8s -\n"
                 "  interlock graph ingest --events events.jsonl\n",
     .run = graph_ingest_run},
};
const size_t graph_command_count = sizeof graph_commands / sizeof *graph_commands;
