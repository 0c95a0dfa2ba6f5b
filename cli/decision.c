/* A decision as a person reads it: the verdict first, then what it rests on. */
#include "decision.h"

#include <string.h>

#define AFFECTED_SHOWN 8U
#define PATH_BYTES 4096U

static const char *outcome_name(const Interlock__Policy__V1__Decision *decision) {
    return cli_enum(&interlock__policy__v1__outcome__descriptor, (int)decision->outcome, "OUTCOME_");
}

static const char *mode_words(Interlock__Policy__V1__Mode mode) {
    switch (mode) {
    case INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY:
        return "advisory: what would have been decided";
    case INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED:
        return "enforced";
    case INTERLOCK__POLICY__V1__MODE__MODE_DRY_RUN:
        return "dry run";
    default:
        return "mode not stated";
    }
}

static const char *joined(cli *self, char *const *items, size_t count, const char *between) {
    buffer text;
    buffer_init(&text, PATH_BYTES);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_text(&text, between);
        buffer_text(&text, items[i]);
    }
    const char *out = text.data != NULL ? cli_safe(&self->memory, text.data) : "";
    buffer_free(&text);
    return out;
}

static void affected_print(cli *self, const Interlock__Graph__V1__Impact *impact) {
    static const char *const headings[] = {"  AFFECTED", "PROBABILITY", "PATH"};
    if (impact->n_affected == 0)
        return;
    cli_table *table = cli_table_new(headings, 3);
    for (size_t i = 0; i < impact->n_affected && i < AFFECTED_SHOWN; i++) {
        const Interlock__Graph__V1__AffectedNode *node = impact->affected[i];
        const char *cells[] = {arena_format(&self->memory, "  %s", cli_safe(&self->memory, node->name)),
                               cli_percent(&self->memory, node->probability),
                               joined(self, node->path, node->n_path, " → ")};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
    if (impact->n_affected > AFFECTED_SHOWN)
        printf("  … and %zu more (-o json shows all)\n", impact->n_affected - AFFECTED_SHOWN);
}

void impact_print(cli *self, const Interlock__Graph__V1__Impact *impact) {
    const Interlock__Graph__V1__Share *share = impact->entry_traffic;
    if (share == NULL)
        printf("Blast radius  not known\n");
    else
        printf("Blast radius  %s of entry traffic, if it fails\n",
               cli_share(&self->memory, share->expected, share->low, share->high));
    printf("  rests on %.0f observed requests", impact->observed_requests);
    if (impact->caveat[0] != '\0')
        printf("; %s", cli_safe(&self->memory, impact->caveat));
    printf("\n");
    affected_print(self, impact);
}

static void findings_print(cli *self, const Interlock__Policy__V1__Decision *decision) {
    static const char *const headings[] = {"  PRIMITIVE", "RESULT", "BOUND", "VALUE", "MESSAGE"};
    if (decision->n_findings == 0)
        return;
    printf("Findings\n");
    cli_table *table = cli_table_new(headings, 5);
    for (size_t i = 0; i < decision->n_findings; i++) {
        const Interlock__Policy__V1__Finding *finding = decision->findings[i];
        const char *primitive =
            cli_enum(&interlock__policy__v1__primitive__descriptor, (int)finding->primitive, "PRIMITIVE_");
        const char *cells[] = {
            arena_format(&self->memory, "  %s", primitive),
            cli_enum(&interlock__policy__v1__finding__result__descriptor, (int)finding->result, "RESULT_"),
            cli_safe(&self->memory, finding->bound), cli_safe(&self->memory, finding->value),
            cli_safe(&self->memory, finding->message)};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
}

void decision_print(cli *self, const Interlock__Policy__V1__Decision *decision) {
    printf("%s  %s on %s  (%s)\n", outcome_name(decision), cli_safe(&self->memory, decision->verb),
           joined(self, decision->targets, decision->n_targets, ", "), mode_words(decision->mode));
    if (decision->summary[0] != '\0')
        printf("  %s\n", cli_safe(&self->memory, decision->summary));
    printf("Action        %s, proposed by %s\n", cli_safe(&self->memory, decision->action_id),
           cli_safe(&self->memory, decision->principal));
    if (decision->impact != NULL)
        impact_print(self, decision->impact);
    findings_print(self, decision);
    for (size_t i = 0; i < decision->n_policies; i++)
        printf("Policy        %s, version %llu, sha256 %.16s…\n",
               cli_safe(&self->memory, decision->policies[i]->name),
               (unsigned long long)decision->policies[i]->version,
               cli_safe(&self->memory, decision->policies[i]->digest));
    printf("Decided       %s on graph revision %llu, control %llu\n",
           cli_time(&self->memory, decision->decided_at_ms), (unsigned long long)decision->graph_revision,
           (unsigned long long)decision->control_seq);
}

void decision_print_advice(const Interlock__Policy__V1__Decision *decision) {
    switch (decision->outcome) {
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW:
        if (decision->permit == NULL)
            puts("Advice        nothing is enforced here, so there is no permit");
        break;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_MODIFY:
        puts("Advice        it may run within the narrower bounds that the findings state");
        break;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_REVIEW:
        puts("Advice        a review is open; send the same action again to learn its state");
        break;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DEFER:
        printf("Advice        not decidable now; send the same action again in %u ms\n",
               decision->retry_after_ms);
        break;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY:
        puts("Advice        change what the failed finding names and propose it as a new action");
        break;
    default:
        break;
    }
}

cli_exit decision_exit(const Interlock__Policy__V1__Decision *decision) {
    switch (decision->outcome) {
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW:
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_MODIFY:
        return CLI_OK;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_REVIEW:
        return CLI_PENDING;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DEFER:
        return CLI_DEFER;
    case INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY:
        return CLI_DENY;
    default:
        return CLI_ERROR;
    }
}
