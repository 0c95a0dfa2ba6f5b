/* Policy sets as they once stood in the log: what replay, explain, diff and rollback begin from. */
#include <stdlib.h>
#include <string.h>

#include "client/audit_client.h"
#include "crypto/dsse.h"
#include "interlock/control/v1/control.pb-c.h"
#include "policy_files.h"
#include "wire/scan.h"

#define PAGE 100U
#define PAGE_BYTES (64U << 20)
#define VERSIONS_MAX 10000U

typedef struct versions_work {
    cli *shell;
    const trust *roots;
    policy_versions *out;
    size_t room;
} versions_work;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the policy sets of the log");
}

/* An operator's signature is what makes a document a policy set: the log itself is not asked to be believed.
 */
static bool is_signed(const versions_work *self, const Interlock__Common__V1__Envelope *record) {
    const trust_key *known = record->n_signatures == 1
                                 ? trust_find_keyid(self->roots, KEY_OPERATOR, record->signatures[0]->keyid)
                                 : NULL;
    return known != NULL && dsse_verify(record, PAYLOAD_POLICY_SET, &known->key);
}

static policy_version *grow(versions_work *self) {
    if (self->out->count == self->room) {
        size_t wider = self->room == 0 ? 16 : self->room * 2;
        policy_version *items = realloc(self->out->items, wider * sizeof *items);
        if (items == NULL || wider > 2 * VERSIONS_MAX)
            return NULL;
        self->out->items = items;
        self->room = wider;
    }
    policy_version *added = &self->out->items[self->out->count++];
    *added = (policy_version){0};
    return added;
}

static int64_t recorded_at(const Interlock__Audit__V1__Entry *entry, arena *memory) {
    ProtobufCMessage *leaf = NULL;
    failure ignored = {0};
    if (wire_unpack(&interlock__audit__v1__leaf__descriptor, bytes_of(entry->leaf.data, entry->leaf.len),
                    memory, &leaf, &ignored) != STATUS_OK)
        return 0;
    return ((const Interlock__Audit__V1__Leaf *)leaf)->recorded_at_ms;
}

/* `entry` lives in another arena: what is kept is copied. */
static status_code keep(versions_work *self, const Interlock__Audit__V1__Entry *entry, failure *why) {
    arena *memory = &self->shell->memory;
    ProtobufCMessage *message = NULL;
    uint8_t digest[CRYPTO_HASH_BYTES];
    failure ignored = {0};
    if (entry->record == NULL || strcmp(entry->record->payload_type, PAYLOAD_POLICY_SET) != 0 ||
        !is_signed(self, entry->record))
        return STATUS_OK;
    bytes payload = bytes_of(entry->record->payload.data, entry->record->payload.len);
    if (wire_unpack(&interlock__control__v1__policy_set__descriptor, payload, memory, &message, &ignored) !=
        STATUS_OK)
        return STATUS_OK;
    const Interlock__Control__V1__PolicySet *set = (const Interlock__Control__V1__PolicySet *)message;
    if (set->shadow)
        return STATUS_OK;
    policy_version *added = grow(self);
    if (added == NULL)
        return no_memory(why);
    void *document = arena_copy(memory, set->document.data, set->document.len);
    added->name = arena_text(memory, set->name);
    added->signer = arena_text(memory, set->header != NULL ? set->header->principal : "");
    if ((document == NULL && set->document.len > 0) || added->name == NULL || added->signer == NULL)
        return no_memory(why);
    added->log_index = entry->index;
    added->version = set->version;
    added->stated_version = set->rollback_of != 0 ? set->rollback_of : set->version;
    added->recorded_at_ms = recorded_at(entry, memory);
    added->document = bytes_of(document, set->document.len);
    sha256(added->document, digest);
    hex_encode(bytes_of(digest, sizeof digest), added->digest);
    return STATUS_OK;
}

status_code policy_versions_fetch(cli *self, rpc_channel *audit, policy_versions *out, failure *why) {
    versions_work work = {.shell = self, .out = out};
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    arena page;
    query.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CONTROL;
    query.verdict = (char *)"POLICY_SET";
    query.page_size = PAGE;
    status_code code = cli_roots(self, &work.roots, why);
    arena_init(&page, 65536, PAGE_BYTES);
    while (code == STATUS_OK) {
        Interlock__Audit__V1__QueryResponse *answer = NULL;
        code = audit_query_wait(audit, &query, CLI_TIMEOUT_MS, &page, &answer, why);
        for (size_t i = 0; code == STATUS_OK && i < answer->n_entries; i++)
            code = keep(&work, answer->entries[i], why);
        if (code != STATUS_OK || answer->next_page_token[0] == '\0')
            break;
        query.page_token = arena_text(&self->memory, answer->next_page_token);
        if (query.page_token == NULL)
            code = no_memory(why);
        arena_reset(&page);
    }
    arena_free(&page);
    return code;
}

void policy_versions_free(policy_versions *self) {
    for (size_t i = 0; i < self->count; i++)
        policies_unref(self->items[i].set);
    free(self->items);
    *self = (policy_versions){0};
}

policy_version *policy_versions_by_digest(policy_versions *self, const char *digest) {
    for (size_t i = self->count; i > 0; i--)
        if (strcmp(self->items[i - 1].digest, digest) == 0)
            return &self->items[i - 1];
    return NULL;
}

status_code policy_versions_find(policy_versions *self, const char *text, policy_version **out,
                                 failure *why) {
    char *end = NULL;
    if (self->count == 0)
        return fail(why, STATUS_NOT_FOUND, "NO_POLICY_SET",
                    "no policy set was ever put in force; set one with interlock policy set FILE");
    if (strcmp(text, "live") == 0) {
        *out = &self->items[self->count - 1];
        return STATUS_OK;
    }
    unsigned long long wanted = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0')
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_VERSION",
                    "a policy set of the log is live or a version number, not \"%.40s\"", text);
    for (size_t i = self->count; i > 0; i--)
        if (self->items[i - 1].version == wanted) {
            *out = &self->items[i - 1];
            return STATUS_OK;
        }
    return fail(why, STATUS_NOT_FOUND, "NO_SUCH_VERSION",
                "the log holds no version %llu; the oldest is %llu, the live one %llu (see interlock audit "
                "list --kind control)",
                wanted, (unsigned long long)self->items[0].version,
                (unsigned long long)self->items[self->count - 1].version);
}

status_code policy_version_load(cli *self, policy_version *version, const policy_set **out, failure *why) {
    policy_problems problems = {0};
    const char *file =
        arena_format(&self->memory, "%s@%llu", version->name, (unsigned long long)version->version);
    const policy_source source = {.file = file != NULL ? file : "", .text = version->document};
    if (version->set == NULL) {
        status_code code = policies_load(&source, 1, &self->memory, &version->set, &problems, why);
        version->unreadable = code != STATUS_OK;
        if (code != STATUS_OK)
            return fail_within(why, code, "version %llu", (unsigned long long)version->version);
    }
    *out = version->set;
    return STATUS_OK;
}

status_code policy_set_named(cli *self, const char *text, policy_versions *versions, policy_set **set,
                             policy_problems *problems, failure *why) {
    rpc_channel *audit = NULL;
    policy_version *found = NULL;
    const policy_set *loaded = NULL;
    bool of_log = strcmp(text, "live") == 0 || text[0] == '@';
    if (!of_log)
        return policy_files_load(self, &text, 1, set, problems, why);
    status_code code = STATUS_OK;
    if (versions->count == 0) {
        code = cli_channel(self, "audit", ROLE_OPERATOR, &audit, why);
        if (code == STATUS_OK)
            code = policy_versions_fetch(self, audit, versions, why);
        rpc_channel_close(audit);
    }
    if (code == STATUS_OK)
        code = policy_versions_find(versions, text[0] == '@' ? text + 1 : text, &found, why);
    if (code == STATUS_OK)
        code = policy_version_load(self, found, &loaded, why);
    if (code == STATUS_OK)
        *set = policies_ref(found->set);
    return code;
}
