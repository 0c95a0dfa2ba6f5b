/* The decisions of the log, page by page. */
#include "decisions_scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/instant.h"
#include "client/audit_client.h"

#define PAGE 500U
#define PAGE_BYTES (128U << 20)

static status_code visit_page(decisions_scan *scan, const Interlock__Audit__V1__QueryResponse *page,
                              arena *memory, progress *shown, failure *why) {
    for (size_t i = 0; i < page->n_entries; i++) {
        recorded_decision decision;
        failure ignored = {0};
        progress_at(shown, scan->seen, 0);
        if (recorded_decision_read(page->entries[i], memory, &decision, &ignored) != STATUS_OK) {
            scan->unreadable++;
            continue;
        }
        scan->seen++;
        status_code code = scan->visit(scan->self, &decision, memory, why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

status_code decisions_scan_run(cli *shell, rpc_channel *audit, decisions_scan *scan, failure *why) {
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    arena memory;
    progress shown;
    char token[512] = "";
    status_code code = STATUS_OK;
    query.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION;
    query.since_ms = scan->from_ms;
    query.until_ms = scan->to_ms;
    query.page_size = PAGE;
    query.page_token = token;
    if (scan->verdict != NULL)
        query.verdict = (char *)scan->verdict;
    arena_init(&memory, 1U << 20, PAGE_BYTES);
    progress_start(&shown, shell->source, "decisions");
    do {
        Interlock__Audit__V1__QueryResponse *page = NULL;
        code = audit_query_wait(audit, &query, CLI_TIMEOUT_MS, &memory, &page, why);
        if (code == STATUS_OK)
            code = visit_page(scan, page, &memory, &shown, why);
        if (code == STATUS_OK && strlen(page->next_page_token) >= sizeof token)
            code = fail(why, STATUS_INTERNAL, "BAD_ANSWER", "audit's page token is too long");
        if (code == STATUS_OK)
            snprintf(token, sizeof token, "%s", page->next_page_token);
        arena_reset(&memory);
    } while (code == STATUS_OK && token[0] != '\0');
    progress_end(&shown);
    arena_free(&memory);
    return code;
}

static bool span_parse(const char *text, int64_t *out) {
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    char *end = NULL;
    long long number = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : -1;
    if (number < 0 || number > 1000000 || end[0] == '\0' || end[1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (*end == units[i].unit) {
            *out = number * units[i].ms;
            return true;
        }
    return false;
}

bool moment_parse(const char *text, int64_t now_ms, int64_t *out) {
    char midnight[32];
    int64_t span = 0;
    if (span_parse(text, &span)) {
        *out = now_ms > span ? now_ms - span : 0;
        return true;
    }
    if (strlen(text) == 10) {
        snprintf(midnight, sizeof midnight, "%sT00:00:00Z", text);
        return instant_parse(midnight, out);
    }
    return instant_parse(text, out);
}

static status_code time_flag(const cli *shell, const char *flag, int64_t *out, failure *why) {
    const char *text = cli_text(shell, flag);
    if (text == NULL || moment_parse(text, chance_wall_ms(shell->source), out))
        return STATUS_OK;
    return fail_field(why, flag, "BAD_TIME",
                      "--%s is 2026-11-22, 2026-11-22T19:30:00Z or a span back from now such as 24h, not "
                      "\"%.40s\"",
                      flag, text);
}

status_code decisions_scan_times(const cli *shell, decisions_scan *scan, failure *why) {
    status_code code = time_flag(shell, "from", &scan->from_ms, why);
    if (code == STATUS_OK)
        code = time_flag(shell, "to", &scan->to_ms, why);
    if (code == STATUS_OK && scan->to_ms != 0 && scan->from_ms >= scan->to_ms)
        code = fail_field(why, "to", "BAD_TIME", "--to is not after --from");
    return code;
}
