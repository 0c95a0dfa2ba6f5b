/* interlock audit verify: fetches the whole log and judges it here. */
#include <stdlib.h>
#include <string.h>

#include "audit_verify.h"
#include "client/audit_client.h"
#include "log_check.h"

#define PAGE 200U
#define PAGE_BYTES (64U << 20)
#define PROGRESS_AFTER_MS 1000U

typedef void (*entry_visit)(log_check *check, const Interlock__Audit__V1__Entry *entry, arena *memory);

typedef struct walk {
    cli *shell;
    rpc_channel *audit;
    uint64_t size; /* of the signed tree: what came later is not looked at */
    uint64_t started_ms;
    bool shows;
} walk;

static void show_progress(const walk *self, const char *what, uint64_t at) {
    if (self->shows && chance_boot_ms(self->shell->source) - self->started_ms > PROGRESS_AFTER_MS)
        fprintf(stderr, "\r%s  %3.0f %% ", what, 100.0 * (double)at / (double)self->size);
}

static status_code visit_all(const walk *self, const char *what, entry_visit visit, log_check *check,
                             failure *why) {
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    buffer token;
    arena page, scratch;
    status_code code = STATUS_OK;
    uint64_t seen = 0;
    bool more = true;
    query.page_size = PAGE;
    buffer_init(&token, 4096);
    arena_init(&page, 1U << 20, PAGE_BYTES);
    arena_init(&scratch, 1U << 20, PAGE_BYTES);
    while (code == STATUS_OK && more) {
        Interlock__Audit__V1__QueryResponse *answer = NULL;
        arena_reset(&page);
        code = audit_query_wait(self->audit, &query, CLI_TIMEOUT_MS, &page, &answer, why);
        for (size_t i = 0; code == STATUS_OK && i < answer->n_entries; i++) {
            arena_reset(&scratch);
            if (answer->entries[i]->index >= self->size)
                break;
            visit(check, answer->entries[i], &scratch);
            seen = answer->entries[i]->index + 1;
        }
        more = code == STATUS_OK && answer->next_page_token[0] != '\0' && seen < self->size;
        if (more) {
            buffer_clear(&token);
            buffer_text(&token, answer->next_page_token);
            query.page_token = token.data;
            show_progress(self, what, seen);
        }
    }
    buffer_free(&token);
    arena_free(&page);
    arena_free(&scratch);
    return code;
}

/* The latest checkpoint, with the signature of audit's key as installation.yaml has it. */
static status_code fetch_checkpoint(const walk *self, const trust *roots, checkpoint *out, failure *why) {
    Interlock__Audit__V1__GetProofRequest request = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__INIT;
    Interlock__Audit__V1__GetProofResponse *answer = NULL;
    const trust_key *key = trust_find(roots, KEY_CHECKPOINT, NULL);
    if (key == NULL)
        return fail(why, STATUS_FAILED_PRECONDITION, "KEY_MISSING",
                    "installation.yaml has no checkpoint key");
    request.proof_case = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF_INDEX;
    status_code code =
        audit_get_proof_wait(self->audit, &request, CLI_TIMEOUT_MS, &self->shell->memory, &answer, why);
    if (code == STATUS_OK)
        code = checkpoint_verify(bytes_of_text(answer->checkpoint), roots->origin, &key->key, out, why);
    if (code != STATUS_OK && answer != NULL)
        why->code = STATUS_DATA_LOSS;
    return answer != NULL && code != STATUS_OK ? STATUS_DATA_LOSS : code;
}

static size_t shown_problems(const log_check *check) {
    return check->problem_count < LOG_CHECK_PROBLEMS ? (size_t)check->problem_count : LOG_CHECK_PROBLEMS;
}

static void print_result_json(cli *self, const log_check *check, const checkpoint *tree, const char *root) {
    printf("{\n  \"ok\": %s,\n  \"treeSize\": \"%llu\",\n  \"root\": \"%s\",\n  \"problemCount\": \"%llu\",\n"
           "  \"problems\": [",
           check->problem_count == 0 ? "true" : "false", (unsigned long long)tree->size, root,
           (unsigned long long)check->problem_count);
    for (size_t i = 0; i < shown_problems(check); i++) {
        fputs(i > 0 ? ",\n    " : "\n    ", stdout);
        cli_print_json_text(cli_safe(&self->memory, check->problems[i]));
    }
    puts("]\n}");
}

static void print_result(cli *self, const log_check *check, const checkpoint *tree, const char *root) {
    bool sound = check->problem_count == 0;
    printf("%s: %llu records\n", sound ? "Verified" : "NOT VERIFIED", (unsigned long long)tree->size);
    printf("  %llu decisions, %llu outcomes, %llu kill switches, %llu other control statements, %llu erased "
           "bodies\n",
           (unsigned long long)check->decisions, (unsigned long long)check->outcomes,
           (unsigned long long)check->kills, (unsigned long long)check->controls,
           (unsigned long long)check->erased);
    printf("  root %s, signed by %s\n", root, tree->origin);
    if (sound)
        puts("  every leaf, commitment, chain and signature was checked here, against installation.yaml");
    for (size_t i = 0; i < shown_problems(check); i++)
        printf("  %s\n", cli_safe(&self->memory, check->problems[i]));
    if (check->problem_count > shown_problems(check))
        printf("  … and %llu more\n", (unsigned long long)(check->problem_count - shown_problems(check)));
}

static cli_exit verify_with(walk *work, const trust *roots, log_check *check) {
    checkpoint tree = {0};
    failure why = {0};
    status_code code = fetch_checkpoint(work, roots, &tree, &why);
    if (code == STATUS_DATA_LOSS) {
        cli_fail("audit verify: the checkpoint is not audit's", &why);
        return CLI_UNVERIFIED;
    }
    work->size = tree.size;
    if (code == STATUS_OK)
        code = visit_all(work, "reading", log_check_collect, check, &why);
    if (code == STATUS_OK)
        code = visit_all(work, "verifying", log_check_entry, check, &why);
    if (work->shows)
        fputs("\r\033[K", stderr);
    if (code != STATUS_OK)
        return cli_fail("audit verify", &why);
    log_check_finish(check, &tree);
    const char *root = cli_hex(&work->shell->memory, bytes_of(tree.root.bytes, sizeof tree.root.bytes));
    if (work->shell->format == FORMAT_JSON)
        print_result_json(work->shell, check, &tree, root);
    else
        print_result(work->shell, check, &tree, root);
    return check->problem_count == 0 ? CLI_OK : CLI_UNVERIFIED;
}

cli_exit audit_verify_run(cli *self) {
    failure why = {0};
    const trust *roots = NULL;
    walk work = {.shell = self, .started_ms = chance_boot_ms(self->source), .shows = cli_is_terminal(stderr)};
    log_check *check = calloc(1, sizeof *check);
    status_code code = check != NULL ? cli_roots(self, &roots, &why)
                                     : fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    if (code == STATUS_OK)
        code = cli_channel(self, "audit", ROLE_AUDITOR, &work.audit, &why);
    cli_exit result = CLI_ERROR;
    if (code != STATUS_OK) {
        result = cli_fail("audit verify", &why);
    } else {
        log_check_init(check, roots);
        result = verify_with(&work, roots, check);
        log_check_free(check);
    }
    rpc_channel_close(work.audit);
    free(check);
    return result;
}
