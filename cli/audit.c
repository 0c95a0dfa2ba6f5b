/* interlock audit: the log, as a list and record by record. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit_verify.h"
#include "client/audit_client.h"
#include "crypto/dsse.h"
#include "decision.h"
#include "interlock/control/v1/control.pb-c.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "wire/scan.h"

#define PAGE 200U
#define PAGE_BYTES (64U << 20)
#define LIST_DEFAULT 50.0
#define LIST_MOST 10000.0

typedef Interlock__Audit__V1__Entry entry_message;
typedef Interlock__Audit__V1__Leaf leaf_message;

static const leaf_message *leaf_of(const entry_message *entry, arena *memory) {
    ProtobufCMessage *message = NULL;
    failure ignored = {0};
    if (wire_unpack(&interlock__audit__v1__leaf__descriptor, bytes_of(entry->leaf.data, entry->leaf.len),
                    memory, &message, &ignored) != STATUS_OK)
        return NULL;
    return (const leaf_message *)message;
}

static const char *kind_name(const leaf_message *leaf) {
    return cli_enum(&interlock__audit__v1__record_kind__descriptor, (int)leaf->kind, "RECORD_KIND_");
}

/* ---- list: the newest of what matches ---- */

typedef struct page {
    arena memory;
    Interlock__Audit__V1__QueryResponse *answer;
} page;

typedef struct listing {
    cli *shell;
    rpc_channel *audit;
    Interlock__Audit__V1__QueryRequest query;
    page *pages; /* those that hold the last `limit` entries */
    size_t page_count, held, limit;
} listing;

static void drop_oldest(listing *self) {
    self->held -= self->pages[0].answer->n_entries;
    arena_free(&self->pages[0].memory);
    memmove(self->pages, self->pages + 1, --self->page_count * sizeof *self->pages);
}

static status_code add_page(listing *self, failure *why) {
    page *grown = realloc(self->pages, (self->page_count + 1) * sizeof *grown);
    if (grown == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the list");
    self->pages = grown;
    page *added = &self->pages[self->page_count];
    *added = (page){0};
    arena_init(&added->memory, 65536, PAGE_BYTES);
    status_code code =
        audit_query_wait(self->audit, &self->query, CLI_TIMEOUT_MS, &added->memory, &added->answer, why);
    if (code != STATUS_OK) {
        arena_free(&added->memory);
        return code;
    }
    self->page_count++;
    self->held += added->answer->n_entries;
    self->query.page_token = added->answer->next_page_token;
    while (self->page_count > 1 && self->held - self->pages[0].answer->n_entries >= self->limit)
        drop_oldest(self);
    return STATUS_OK;
}

static status_code parse_time(const cli *self, const char *flag, int64_t *out, failure *why) {
    const char *text = cli_text(self, flag);
    struct tm parts = {0};
    if (text == NULL)
        return STATUS_OK;
    const char *end = strptime(text, "%Y-%m-%d", &parts);
    if (end != NULL && (*end == 'T' || *end == ' '))
        end = strptime(end + 1, "%H:%M:%S", &parts);
    if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0))
        return fail_field(why, flag, "BAD_TIME",
                          "--%s is 2026-11-22 or 2026-11-22T19:30:00Z (UTC), not \"%.40s\"", flag, text);
    *out = (int64_t)timegm(&parts) * 1000;
    return STATUS_OK;
}

static status_code fill_query(listing *self, failure *why) {
    const cli *shell = self->shell;
    const char *kind = cli_text(shell, "kind");
    double limit = LIST_DEFAULT;
    status_code code = cli_number(shell, "limit", 1, LIST_MOST, &limit, why);
    interlock__audit__v1__query_request__init(&self->query);
    self->limit = (size_t)limit;
    self->query.page_size = PAGE;
    if (cli_given(shell, "action"))
        self->query.action_id = (char *)cli_text(shell, "action");
    if (cli_given(shell, "verdict"))
        self->query.verdict = (char *)cli_text(shell, "verdict");
    for (int number = 1; kind != NULL && number <= 5; number++) {
        const char *name = cli_enum(&interlock__audit__v1__record_kind__descriptor, number, "RECORD_KIND_");
        if (strcasecmp(name, kind) == 0)
            self->query.kind = (Interlock__Audit__V1__RecordKind)number;
    }
    if (code == STATUS_OK)
        code = parse_time(shell, "since", &self->query.since_ms, why);
    if (code == STATUS_OK)
        code = parse_time(shell, "until", &self->query.until_ms, why);
    return code;
}

static void gather(const listing *self, Interlock__Audit__V1__QueryResponse *out) {
    size_t skip = self->held > self->limit ? self->held - self->limit : 0;
    out->entries = arena_zero(&self->shell->memory, self->held + 1, sizeof(void *));
    for (size_t i = 0; i < self->page_count && out->entries != NULL; i++)
        for (size_t j = 0; j < self->pages[i].answer->n_entries; j++) {
            if (skip > 0)
                skip--;
            else
                out->entries[out->n_entries++] = self->pages[i].answer->entries[j];
        }
}

static void print_list(cli *self, const Interlock__Audit__V1__QueryResponse *found) {
    static const char *const headings[] = {"INDEX",  "RECORDED", "KIND",    "VERDICT",
                                           "ACTION", "PERMIT",   "PREVIOUS"};
    cli_table *table = cli_table_new(headings, 7);
    for (size_t i = 0; i < found->n_entries; i++) {
        const leaf_message *leaf = leaf_of(found->entries[i], &self->memory);
        if (leaf == NULL)
            continue;
        const char *cells[] = {
            arena_format(&self->memory, "%llu", (unsigned long long)found->entries[i]->index),
            cli_time(&self->memory, leaf->recorded_at_ms),
            kind_name(leaf),
            cli_safe(&self->memory, leaf->verdict),
            cli_safe(&self->memory, leaf->action_id),
            leaf->permits ? "yes" : "",
            leaf->previous_index != 0
                ? arena_format(&self->memory, "%llu", (unsigned long long)leaf->previous_index)
                : ""};
        cli_table_row(table, cells);
    }
    cli_table_print(table, stdout);
}

static cli_exit print_found(cli *self, const Interlock__Audit__V1__QueryResponse *found) {
    if (self->format == FORMAT_JSON && found->n_entries == 0)
        puts("{\"entries\": []}"); /* programs count on the member */
    else if (self->format == FORMAT_JSON)
        return cli_print_json(&found->base);
    else if (found->n_entries == 0)
        puts("Nothing in the log matches.");
    else
        print_list(self, found);
    return CLI_OK;
}

static cli_exit list_run(cli *self) {
    failure why = {0};
    listing work = {.shell = self};
    Interlock__Audit__V1__QueryResponse found = INTERLOCK__AUDIT__V1__QUERY_RESPONSE__INIT;
    if (fill_query(&work, &why) != STATUS_OK)
        return cli_usage(self, &why);
    status_code code = cli_channel(self, "audit", ROLE_OPERATOR, &work.audit, &why);
    do {
        if (code == STATUS_OK)
            code = add_page(&work, &why);
    } while (code == STATUS_OK && work.query.page_token[0] != '\0');
    cli_exit result = CLI_OK;
    if (code == STATUS_OK) {
        gather(&work, &found);
        result = print_found(self, &found);
    } else {
        result = cli_fail("audit list", &why);
    }
    for (size_t i = 0; i < work.page_count; i++)
        arena_free(&work.pages[i].memory);
    free(work.pages);
    rpc_channel_close(work.audit);
    return result;
}

/* ---- show ---- */

static void print_outcome(cli *self, const ProtobufCMessage *message) {
    const Interlock__Memory__V1__ActionOutcome *outcome =
        (const Interlock__Memory__V1__ActionOutcome *)message;
    printf("%s  what became of %s, says %s\n",
           cli_enum(&interlock__memory__v1__outcome_state__descriptor, (int)outcome->state, "OUTCOME_STATE_"),
           cli_safe(&self->memory, outcome->action_id),
           outcome->header != NULL ? cli_safe(&self->memory, outcome->header->principal) : "?");
    if (outcome->actual_share >= 0)
        printf("Actual        %s of entry traffic\n", cli_percent(&self->memory, outcome->actual_share));
    if (outcome->note[0] != '\0')
        printf("Note          %s\n", cli_safe(&self->memory, outcome->note));
}

static void print_chain(cli *self, const ProtobufCMessage *message) {
    const Interlock__Graph__V1__CauseChain *chain = (const Interlock__Graph__V1__CauseChain *)message;
    printf("WHAT CAUSED %s  %s, says %s\n", cli_safe(&self->memory, chain->incident),
           cli_enum(&interlock__graph__v1__cause_kind__descriptor, (int)chain->kind, "CAUSE_KIND_"),
           chain->header != NULL ? cli_safe(&self->memory, chain->header->principal) : "?");
    for (size_t i = 0; i < chain->n_hops; i++)
        printf("%s%s\n", i == 0 ? "Chain         " : "           so ",
               cli_safe(&self->memory, chain->hops[i]->node));
    if (chain->note[0] != '\0')
        printf("Note          %s\n", cli_safe(&self->memory, chain->note));
}

static void print_kill(cli *self, const ProtobufCMessage *message) {
    const Interlock__Control__V1__Kill *kill = (const Interlock__Control__V1__Kill *)message;
    printf("KILL SWITCH %s  %s %s, by %s\n", kill->set ? "set" : "cleared",
           cli_enum(&interlock__control__v1__kill__scope__descriptor, (int)kill->scope, "SCOPE_"),
           cli_safe(&self->memory, kill->subject),
           kill->header != NULL ? cli_safe(&self->memory, kill->header->principal) : "?");
    printf("Reason        %s\n", cli_safe(&self->memory, kill->reason));
}

static void print_enrolment(cli *self, const ProtobufCMessage *message) {
    const Interlock__Control__V1__Enrolment *enrolment = (const Interlock__Control__V1__Enrolment *)message;
    printf("%s  %s, by %s\n", enrolment->revoked ? "REVOKED" : "ENROLLED",
           cli_safe(&self->memory, enrolment->principal),
           enrolment->header != NULL ? cli_safe(&self->memory, enrolment->header->principal) : "?");
    if (enrolment->model_name[0] != '\0')
        printf("Model         %s/%s/%s, as declared\n", cli_safe(&self->memory, enrolment->model_provider),
               cli_safe(&self->memory, enrolment->model_name),
               cli_safe(&self->memory, enrolment->model_version));
}

static void print_policy(cli *self, const ProtobufCMessage *message) {
    const Interlock__Control__V1__PolicySet *set = (const Interlock__Control__V1__PolicySet *)message;
    printf("POLICY SET  %s, version %llu, by %s\n", cli_safe(&self->memory, set->name),
           (unsigned long long)set->version,
           set->header != NULL ? cli_safe(&self->memory, set->header->principal) : "?");
}

static void print_genesis(cli *self, const ProtobufCMessage *message) {
    const Interlock__Common__V1__StatementHeader *header =
        (const Interlock__Common__V1__StatementHeader *)message;
    printf("GENESIS  the first record: the log of the installation \"%s\"\n",
           cli_safe(&self->memory, header->installation));
}

static void print_decision_record(cli *self, const ProtobufCMessage *message) {
    const Interlock__Policy__V1__DecisionRecord *record =
        (const Interlock__Policy__V1__DecisionRecord *)message;
    if (record->decision != NULL)
        decision_print(self, record->decision);
}

typedef struct body_kind {
    const char *payload_type;
    const ProtobufCMessageDescriptor *descriptor;
    void (*print)(cli *self, const ProtobufCMessage *message);
} body_kind;

static const body_kind body_kinds[] = {
    {PAYLOAD_GENESIS, &interlock__common__v1__statement_header__descriptor, print_genesis},
    {PAYLOAD_DECISION, &interlock__policy__v1__decision_record__descriptor, print_decision_record},
    {PAYLOAD_CHAIN, &interlock__graph__v1__cause_chain__descriptor, print_chain},
    {PAYLOAD_OUTCOME, &interlock__memory__v1__action_outcome__descriptor, print_outcome},
    {PAYLOAD_KILL, &interlock__control__v1__kill__descriptor, print_kill},
    {PAYLOAD_ENROLMENT, &interlock__control__v1__enrolment__descriptor, print_enrolment},
    {PAYLOAD_POLICY_SET, &interlock__control__v1__policy_set__descriptor, print_policy},
};

static const body_kind *body_kind_of(const Interlock__Common__V1__Envelope *record) {
    for (size_t i = 0; i < sizeof body_kinds / sizeof *body_kinds; i++)
        if (strcmp(record->payload_type, body_kinds[i].payload_type) == 0)
            return &body_kinds[i];
    return NULL;
}

static const ProtobufCMessage *body_of(cli *self, const entry_message *entry, const body_kind *kind) {
    ProtobufCMessage *message = NULL;
    failure ignored = {0};
    if (kind == NULL ||
        wire_unpack(kind->descriptor, bytes_of(entry->record->payload.data, entry->record->payload.len),
                    &self->memory, &message, &ignored) != STATUS_OK)
        return NULL;
    return message;
}

static void print_entry(cli *self, const entry_message *entry) {
    const leaf_message *leaf = leaf_of(entry, &self->memory);
    if (leaf == NULL) {
        printf("Record %llu: its leaf cannot be read\n", (unsigned long long)entry->index);
        return;
    }
    printf("Record %llu  %s %s, recorded %s\n", (unsigned long long)entry->index, kind_name(leaf),
           cli_safe(&self->memory, leaf->verdict), cli_time(&self->memory, leaf->recorded_at_ms));
    printf("Key           %s\n", leaf->keyid[0] != '\0' ? cli_safe(&self->memory, leaf->keyid) : "-");
    if (leaf->previous_index != 0)
        printf("Previous      record %llu of the same action\n", (unsigned long long)leaf->previous_index);
    printf("Commitment    %s\n\n",
           cli_hex(&self->memory, bytes_of(leaf->commitment.data, leaf->commitment.len)));
    if (entry->record == NULL) {
        puts("Its body was erased; the leaf above is what the log still proves.");
        return;
    }
    const body_kind *kind = body_kind_of(entry->record);
    const ProtobufCMessage *body = body_of(self, entry, kind);
    if (body != NULL)
        kind->print(self, body);
    else
        printf("Payload of type %s, %zu bytes\n", cli_safe(&self->memory, entry->record->payload_type),
               entry->record->payload.len);
}

/* With JSON the body comes decoded: it is what one asks for by name. */
static cli_exit show_entry(cli *self, const entry_message *entry) {
    if (self->format == FORMAT_JSON) {
        const ProtobufCMessage *body =
            entry->record != NULL ? body_of(self, entry, body_kind_of(entry->record)) : NULL;
        return cli_print_json(body != NULL ? body : &entry->base);
    }
    print_entry(self, entry);
    return CLI_OK;
}

typedef struct sought {
    cli *shell;
    uint64_t index;
    bool found;
    cli_exit result;
} sought;

static bool on_tail(void *context, const ProtobufCMessage *message) {
    sought *self = context;
    const Interlock__Audit__V1__TailResponse *batch = (const Interlock__Audit__V1__TailResponse *)message;
    for (size_t i = 0; i < batch->n_entries; i++)
        if (batch->entries[i]->index == self->index) {
            self->found = true;
            self->result = show_entry(self->shell, batch->entries[i]);
        }
    return false;
}

static cli_exit show_index(cli *self, rpc_channel *audit, uint64_t index) {
    failure why = {0};
    sought work = {.shell = self, .index = index};
    Interlock__Audit__V1__TailRequest request = INTERLOCK__AUDIT__V1__TAIL_REQUEST__INIT;
    request.from_index = index;
    status_code code = rpc_stream_wait(audit, "/interlock.audit.v1.AuditService/Tail", &request.base,
                                       &interlock__audit__v1__tail_response__descriptor, CLI_TIMEOUT_MS,
                                       on_tail, &work, &why);
    if (code == STATUS_OK && !work.found)
        code = fail(&why, STATUS_NOT_FOUND, "NO_SUCH_RECORD", "the log has no record %llu",
                    (unsigned long long)index);
    return code == STATUS_OK ? work.result : cli_fail("audit show", &why);
}

static cli_exit show_action(cli *self, rpc_channel *audit, const char *action_id) {
    failure why = {0};
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    Interlock__Audit__V1__QueryResponse *found = NULL;
    query.action_id = (char *)action_id;
    query.page_size = PAGE;
    status_code code = audit_query_wait(audit, &query, CLI_TIMEOUT_MS, &self->memory, &found, &why);
    if (code == STATUS_OK && found->n_entries == 0)
        code = fail(&why, STATUS_NOT_FOUND, "ACTION_UNKNOWN",
                    "the log holds nothing about \"%.128s\"; interlock audit list shows what there is",
                    action_id);
    if (code != STATUS_OK)
        return cli_fail("audit show", &why);
    if (self->format == FORMAT_JSON)
        return cli_print_json(&found->base);
    for (size_t i = 0; i < found->n_entries; i++) {
        if (i > 0)
            puts("");
        print_entry(self, found->entries[i]);
    }
    return CLI_OK;
}

static cli_exit show_run(cli *self) {
    failure why = {0};
    rpc_channel *audit = NULL;
    const char *what = self->positional.items[0];
    char *end = NULL;
    unsigned long long index = strtoull(what, &end, 10);
    bool by_index = what[0] >= '0' && what[0] <= '9' && *end == '\0';
    if (cli_channel(self, "audit", ROLE_OPERATOR, &audit, &why) != STATUS_OK)
        return cli_fail("audit show", &why);
    cli_exit result = by_index ? show_index(self, audit, index) : show_action(self, audit, what);
    rpc_channel_close(audit);
    return result;
}

static const cli_flag list_flags[] = {
    {.name = "action", .kind = FLAG_TEXT, .value_name = "ID", .help = "only this action"},
    {.name = "kind",
     .kind = FLAG_TEXT,
     .value_name = "KIND",
     .help = "only this kind",
     .choices = "genesis|decision|outcome|kill|control"},
    {.name = "verdict", .kind = FLAG_TEXT, .value_name = "WORD", .help = "only this verdict, e.g. DENY"},
    {.name = "since", .kind = FLAG_TEXT, .value_name = "TIME", .help = "2026-11-22 or 2026-11-22T19:30:00Z"},
    {.name = "until", .kind = FLAG_TEXT, .value_name = "TIME", .help = "likewise"},
    {.name = "limit", .kind = FLAG_TEXT, .value_name = "N", .help = "the newest N of them [50]"},
};
const cli_command audit_commands[] = {
    {.noun = "audit",
     .verb = "list",
     .purpose = "what the log holds, oldest first",
     .flags = list_flags,
     .flag_count = sizeof list_flags / sizeof *list_flags,
     .examples = "  interlock audit list --verdict DENY --since 2026-11-22\n  interlock audit list --action "
                 "deploy-1a2b\n",
     .run = list_run},
    {.noun = "audit",
     .verb = "show",
     .purpose = "a record, or all of an action, as a person reads it",
     .positional = "INDEX|ACTION_ID",
     .least = 1,
     .most = 1,
     .examples = "  interlock audit show 17\n  interlock audit show deploy-1a2b\n",
     .run = show_run},
    {.noun = "audit",
     .verb = "verify",
     .purpose = "check the whole log here: tree, checkpoint, signatures",
     .examples = "  interlock audit verify\n",
     .run = audit_verify_run},
};
const size_t audit_command_count = sizeof audit_commands / sizeof *audit_commands;
