/* interlock why --confirm: signs a hypothesis as what caused the incident. */
#include <stdio.h>
#include <string.h>

#include "client/graph_client.h"
#include "client/memory_client.h"
#include "crypto/dsse.h"

#include "cli.h"
#include "why.h"

#define HOPS_MOST 32U

typedef Interlock__Graph__V1__CauseChain cause_chain;

/* --as operator, approver/NAME with keys/approver-NAME.key, or agent/NAME with keys/agent-NAME.key. */
static status_code load_signer(cli *self, secret_key **key, const char **principal, rpc_role *role,
                               failure *why) {
    const char *as = cli_text(self, "as");
    char file[160];
    if (as == NULL || strcmp(as, "operator") == 0) {
        *role = ROLE_OPERATOR;
        return cli_operator(self, key, principal, why);
    }
    const char *slash = strchr(as, '/');
    bool agent = strncmp(as, "agent/", 6) == 0;
    if ((!agent && strncmp(as, "approver/", 9) != 0) || slash[1] == '\0' || strchr(slash + 1, '/') != NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_SIGNER",
                    "--as is operator, approver/NAME or agent/NAME, not \"%.64s\"", as);
    snprintf(file, sizeof file, "%s-%.120s", agent ? "agent" : "approver", slash + 1);
    *principal = as;
    *role = agent ? ROLE_AGENT : ROLE_APPROVER;
    return cli_key(self, file, agent ? KEY_AGENT : KEY_APPROVER, key, why);
}

/* How one hop reached the next: an edge between the two, whichever way it points. */
static Interlock__Graph__V1__EdgeKind edge_between(const Interlock__Graph__V1__GetGraphResponse *graph,
                                                   const char *one, const char *other) {
    for (size_t i = 0; graph != NULL && i < graph->n_edges; i++) {
        const Interlock__Graph__V1__Edge *edge = graph->edges[i];
        if ((strcmp(edge->from, one) == 0 && strcmp(edge->to, other) == 0) ||
            (strcmp(edge->from, other) == 0 && strcmp(edge->to, one) == 0))
            return edge->kind;
    }
    return INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_UNSPECIFIED;
}

static bool hops_fill(cli *self, const why_hypothesis *of,
                      const Interlock__Graph__V1__GetGraphResponse *graph, cause_chain *out) {
    size_t count = of->n_chain < HOPS_MOST ? of->n_chain : HOPS_MOST;
    out->hops = arena_alloc(&self->memory, (count + 1) * sizeof(void *));
    for (size_t i = 0; i < count && out->hops != NULL; i++) {
        Interlock__Graph__V1__ConfirmedHop *hop = arena_alloc(&self->memory, sizeof *hop);
        if (hop == NULL)
            return false;
        interlock__graph__v1__confirmed_hop__init(hop);
        hop->node = of->chain[i]->node;
        hop->at_ms = of->chain[i]->at_ms;
        if (i + 1 < count)
            hop->edge = edge_between(graph, hop->node, of->chain[i + 1]->node);
        out->hops[out->n_hops++] = hop;
    }
    return out->hops != NULL;
}

static status_code chain_fill(cli *self, rpc_channel *graph, const why_answer *answer, cause_chain *out,
                              failure *why) {
    double number = 1;
    Interlock__Graph__V1__GetGraphResponse *known = NULL;
    failure ignored = {0};
    status_code code = cli_number(self, "hypothesis", 1, 64, &number, why);
    if (code != STATUS_OK)
        return code;
    if (number > (double)answer->n_hypotheses)
        return fail(why, STATUS_INVALID_ARGUMENT, "NO_HYPOTHESIS",
                    "there are %zu hypotheses about this incident; see interlock why", answer->n_hypotheses);
    /* A graph too large for one message leaves the kinds of the edges out. */
    if (graph_get_wait(graph, CLI_TIMEOUT_MS, &self->memory, &known, &ignored) != STATUS_OK)
        known = NULL;
    const why_hypothesis *of = answer->hypotheses[(size_t)number - 1];
    out->incident = (char *)self->positional.items[0];
    out->kind = of->kind;
    if (cli_given(self, "note"))
        out->note = (char *)cli_text(self, "note");
    return hops_fill(self, of, known, out)
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
}

static status_code chain_sign(cli *self, cause_chain *chain, rpc_role *role,
                              Interlock__Common__V1__Envelope **out, failure *why) {
    const trust *roots = NULL;
    secret_key *key = NULL;
    const char *principal = NULL;
    status_code code = cli_roots(self, &roots, why);
    if (code == STATUS_OK)
        code = load_signer(self, &key, &principal, role, why);
    if (code != STATUS_OK)
        return code;
    chain->header =
        statement_header_new(PAYLOAD_CHAIN, roots->installation, principal, 0, self->source, &self->memory);
    *out = chain->header != NULL ? dsse_sign_message(key, PAYLOAD_CHAIN, &chain->base, &self->memory) : NULL;
    secret_key_free(key);
    return *out != NULL ? STATUS_OK : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
}

static void tell(cli *self, const cause_chain *chain,
                 const Interlock__Memory__V1__ConfirmChainResponse *answer) {
    printf("Confirmed what caused %s:\n", cli_safe(&self->memory, chain->incident));
    for (size_t i = 0; i < chain->n_hops; i++)
        printf("  %s%s\n", i == 0 ? "" : "so ", cli_safe(&self->memory, chain->hops[i]->node));
    printf("Index %llu of the log.\n",
           answer->receipt != NULL ? (unsigned long long)answer->receipt->index : 0ULL);
}

cli_exit why_confirm(cli *self, rpc_channel *graph, const why_answer *answer) {
    failure why = {0};
    cause_chain chain = INTERLOCK__GRAPH__V1__CAUSE_CHAIN__INIT;
    Interlock__Common__V1__Envelope *envelope = NULL;
    Interlock__Memory__V1__ConfirmChainResponse *confirmed = NULL;
    rpc_channel *memory = NULL;
    rpc_role role = ROLE_NONE;
    status_code code = chain_fill(self, graph, answer, &chain, &why);
    if (code == STATUS_OK)
        code = chain_sign(self, &chain, &role, &envelope, &why);
    if (code == STATUS_OK)
        code = cli_channel(self, "memory", role, &memory, &why);
    if (code == STATUS_OK)
        code = memory_confirm_chain_wait(memory, envelope, CLI_TIMEOUT_MS, &self->memory, &confirmed, &why);
    rpc_channel_close(memory);
    if (code != STATUS_OK)
        return cli_fail("why --confirm", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&confirmed->base);
    tell(self, &chain, confirmed);
    return CLI_OK;
}
