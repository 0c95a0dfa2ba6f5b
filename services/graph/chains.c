/* Confirmed chains of causes. The edge from the cause to its incident carries the whole chain; each hop
 * caused the next one. All of one origin: the latest confirmation of an edge is the one that counts, and the
 * ones before stay in its past. */
#include "chains.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/dsse.h"
#include "interlock/graph/v1/root_cause.pb-c.h"
#include "wire/scan.h"

#define ORIGIN "chain"
#define HOPS_MOST 32U
#define SUSPICIONS_MOST 16U /* origins that may suspect one edge */
#define CHAIN_TEXT_BYTES 4000U
#define EDGE(word) INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_##word

typedef Interlock__Graph__V1__CauseChain cause_chain;

static bool leaf_of(const Interlock__Audit__V1__Entry *entry, arena *memory,
                    Interlock__Audit__V1__Leaf **out) {
    ProtobufCMessage *message = NULL;
    if (wire_unpack(&interlock__audit__v1__leaf__descriptor, bytes_of(entry->leaf.data, entry->leaf.len),
                    memory, &message, NULL) != STATUS_OK)
        return false;
    *out = (Interlock__Audit__V1__Leaf *)message;
    return true;
}

bool chains_is_one(const Interlock__Audit__V1__Entry *entry) {
    return entry->record != NULL && strcmp(entry->record->payload_type, PAYLOAD_CHAIN) == 0;
}

/* ---- Suspicions that end */

typedef struct suspicions {
    char origins[SUSPICIONS_MOST][HISTORY_ORIGIN_BYTES];
    size_t count;
} suspicions;

static bool suspicion_note(void *context, const fact *what, int64_t recorded_from_ms) {
    suspicions *self = context;
    (void)recorded_from_ms;
    snprintf(self->origins[self->count++], HISTORY_ORIGIN_BYTES, "%s", what->origin);
    return self->count < SUSPICIONS_MOST;
}

static status_code suspicions_end(history *past, const char *from, const char *to, int64_t at_ms,
                                  int64_t now_ms, failure *why) {
    suspicions found = {.count = 0};
    fact what = {.is_edge = true, .kind = EDGE(SUSPECTED), .name = from, .to = to};
    status_code code = history_current(past, &what, suspicion_note, &found, NULL);
    if (code == STATUS_NOT_FOUND)
        return STATUS_OK;
    for (size_t i = 0; i < found.count && code == STATUS_OK; i++) {
        what.origin = found.origins[i];
        code = history_retract(past, &what, at_ms, now_ms, why);
    }
    return code;
}

/* ---- One chain */

typedef struct confirmation {
    const cause_chain *chain;
    uint64_t index;
    int64_t now_ms, recorded_ms;
    char text[CHAIN_TEXT_BYTES], hops[8], record[24];
} confirmation;

static const char *kind_word(const cause_chain *chain) {
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&interlock__graph__v1__cause_kind__descriptor, (int)chain->kind);
    return value != NULL ? value->name + strlen("CAUSE_KIND_") : "UNSPECIFIED";
}

/* "a > b > c"; what does not fit is left out at a hop's end. */
static void write_text(confirmation *self) {
    size_t used = 0;
    for (size_t i = 0; i < self->chain->n_hops; i++) {
        const char *node = self->chain->hops[i]->node;
        size_t size = strlen(node) + (i == 0 ? 0 : 3);
        if (used + size >= sizeof self->text)
            return;
        snprintf(self->text + used, sizeof self->text - used, "%s%s", i == 0 ? "" : " > ", node);
        used += size;
    }
}

static int64_t began_ms(const confirmation *self, size_t hop) {
    int64_t at_ms = self->chain->hops[hop]->at_ms;
    return at_ms > 0 && at_ms <= self->recorded_ms ? at_ms : self->recorded_ms;
}

static status_code edge_confirm(const confirmation *self, history *past, const char *from, const char *to,
                                int64_t from_ms, const attribute *list, size_t count, failure *why) {
    fact what = {.is_edge = true,
                 .kind = EDGE(CAUSED),
                 .name = from,
                 .to = to,
                 .source = INTERLOCK__GRAPH__V1__PROVENANCE__PROVENANCE_CONFIRMED,
                 .confidence = 1,
                 .origin = ORIGIN,
                 .valid_from_ms = from_ms,
                 .valid_to_ms = HISTORY_OPEN,
                 .attributes = list,
                 .attribute_count = count};
    status_code code = history_assert(past, &what, self->now_ms, why);
    return code == STATUS_OK ? suspicions_end(past, from, to, self->recorded_ms, self->now_ms, why) : code;
}

static status_code chain_put(confirmation *self, history *past, failure *why) {
    const cause_chain *chain = self->chain;
    snprintf(self->record, sizeof self->record, "%" PRIu64, self->index);
    write_text(self);
    const attribute whole[] = {{"chain", self->text},
                               {"confirmed_by", chain->header->principal},
                               {"kind", kind_word(chain)},
                               {"note", chain->note},
                               {"record", self->record}};
    status_code code = edge_confirm(self, past, chain->hops[0]->node, chain->incident, began_ms(self, 0),
                                    whole, sizeof whole / sizeof *whole, why);
    for (size_t i = 0; i + 1 < chain->n_hops && code == STATUS_OK; i++) {
        const ProtobufCEnumValue *along = protobuf_c_enum_descriptor_get_value(
            &interlock__graph__v1__edge_kind__descriptor, (int)chain->hops[i]->edge);
        const attribute hop[] = {
            {"along", along != NULL ? along->name + strlen("EDGE_KIND_") : "UNSPECIFIED"},
            {"confirmed_by", chain->header->principal},
            {"incident", chain->incident},
            {"record", self->record}};
        code = edge_confirm(self, past, chain->hops[i]->node, chain->hops[i + 1]->node, began_ms(self, i + 1),
                            hop, sizeof hop / sizeof *hop, why);
    }
    return code;
}

/* Every name before anything is said of any: a chain is taken whole or not. */
static status_code chain_check(const cause_chain *chain, failure *why) {
    name_parts parts;
    if (chain->header == NULL || chain->n_hops == 0 || chain->n_hops > HOPS_MOST ||
        strlen(chain->note) >= HISTORY_ATTRIBUTE_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_CHAIN", "a chain without its parts");
    status_code code = name_parse(chain->incident, &parts, why);
    for (size_t i = 0; i < chain->n_hops && code == STATUS_OK; i++)
        code = name_parse(chain->hops[i]->node, &parts, why);
    return code;
}

static status_code entry_take(history *past, const Interlock__Audit__V1__Entry *entry, int64_t now_ms,
                              arena *memory, failure *why) {
    ProtobufCMessage *message = NULL;
    Interlock__Audit__V1__Leaf *leaf = NULL;
    bytes payload = bytes_of(entry->record->payload.data, entry->record->payload.len);
    confirmation self = {.index = entry->index, .now_ms = now_ms};
    status_code code =
        wire_unpack(&interlock__graph__v1__cause_chain__descriptor, payload, memory, &message, why);
    if (code != STATUS_OK)
        return code;
    self.chain = (const cause_chain *)message;
    if (!leaf_of(entry, memory, &leaf) || leaf->kind != INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CHAIN)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_CHAIN", "a chain in a record of another kind");
    self.recorded_ms = leaf->recorded_at_ms < now_ms ? leaf->recorded_at_ms : now_ms;
    code = chain_check(self.chain, why);
    return code == STATUS_OK ? chain_put(&self, past, why) : code;
}

status_code chains_take(history *past, const Interlock__Audit__V1__TailResponse *batch, int64_t now_ms,
                        uint64_t *next, failure *why) {
    arena memory;
    (void)why;
    arena_init(&memory, 4096, 1U << 22);
    for (size_t i = 0; i < batch->n_entries; i++) {
        const Interlock__Audit__V1__Entry *entry = batch->entries[i];
        failure reason = {0};
        if (entry->index < *next)
            continue;
        arena_reset(&memory);
        if (chains_is_one(entry) && entry_take(past, entry, now_ms, &memory, &reason) != STATUS_OK)
            log_failure("a confirmed chain is left out", &reason);
        *next = entry->index + 1;
    }
    arena_free(&memory);
    return STATUS_OK;
}
