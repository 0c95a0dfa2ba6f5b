/* Confirmed chains of causes: what a statement must be. */
#include "chain.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/crypto.h"
#include "crypto/dsse.h"
#include "outcome.h"

static const char *const enrolled[] = {"approver/", "agent/", NULL};

/* kind:environment/namespace/name. The graph is stricter still, and leaves out what it cannot take. */
static bool name_valid(const char *text, const char *kind) {
    size_t size = strlen(text);
    const char *colon = strchr(text, ':');
    if (size >= LIMIT_NAME_BYTES || colon == NULL || colon == text || colon[1] == '\0')
        return false;
    if (kind != NULL && strncmp(text, kind, strlen(kind)) != 0)
        return false;
    for (const char *at = text; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~')
            return false;
    const char *first = strchr(colon, '/');
    return first != NULL && strchr(first + 1, '/') != NULL;
}

static bool enum_known(const ProtobufCEnumDescriptor *type, int value) {
    return protobuf_c_enum_descriptor_get_value(type, value) != NULL;
}

static status_code check_hop(const Interlock__Graph__V1__CauseChain *chain, size_t at, failure *why) {
    const Interlock__Graph__V1__ConfirmedHop *hop = chain->hops[at];
    if (!name_valid(hop->node, NULL))
        return fail_field(why, "chain.hops.node", "BAD_NAME",
                          "hop %zu: a node's name is kind:environment/namespace/name", at);
    if (!enum_known(&interlock__graph__v1__edge_kind__descriptor, (int)hop->edge))
        return fail_field(why, "chain.hops.edge", "BAD_EDGE", "hop %zu: there is no edge of kind %d", at,
                          (int)hop->edge);
    if (hop->at_ms < 0 || hop->at_ms > chain->header->issued_at_ms)
        return fail_field(why, "chain.hops.at_ms", "BAD_TIME",
                          "hop %zu: it cannot have begun after the statement was made, nor before 1970", at);
    for (size_t i = 0; i < at; i++)
        if (strcmp(chain->hops[i]->node, hop->node) == 0)
            return fail_field(why, "chain.hops.node", "HOP_TWICE", "hops %zu and %zu are the same node", i,
                              at);
    return STATUS_OK;
}

static status_code check_fields(const Interlock__Graph__V1__CauseChain *chain, failure *why) {
    status_code code = STATUS_OK;
    if (!name_valid(chain->incident, "incident:"))
        return fail_field(why, "chain.incident", "BAD_NAME",
                          "an incident's name is incident:environment/namespace/name");
    if ((int)chain->kind < 1 || !enum_known(&interlock__graph__v1__cause_kind__descriptor, (int)chain->kind))
        return fail_field(why, "chain.kind", "BAD_KIND", "the kind of the cause must be named");
    if (chain->n_hops < 1 || chain->n_hops > CHAIN_HOPS_MOST)
        return fail_field(why, "chain.hops", "BAD_HOPS", "a chain has 1 to %u hops, not %zu", CHAIN_HOPS_MOST,
                          chain->n_hops);
    if (strlen(chain->note) > CHAIN_NOTE_BYTES)
        return fail_field(why, "chain.note", "NOTE_TOO_LONG", "a note has at most %u bytes",
                          CHAIN_NOTE_BYTES);
    for (size_t i = 0; i < chain->n_hops && code == STATUS_OK; i++)
        code = check_hop(chain, i, why);
    return code;
}

status_code chain_verify(const signer_context *context, const rpc_peer *peer,
                         const Interlock__Common__V1__Envelope *envelope, arena *memory,
                         const Interlock__Graph__V1__CauseChain **out, failure *why) {
    static const statement_rule rule = {.payload_type = PAYLOAD_CHAIN,
                                        .field = "chain",
                                        .missing = "CHAIN_MISSING",
                                        .type = &interlock__graph__v1__cause_chain__descriptor,
                                        .enrolled = enrolled,
                                        .enrolled_text = "an enrolled approver or agent"};
    ProtobufCMessage *message = NULL;
    status_code code = signed_read(&rule, context, peer, envelope, memory, &message, why);
    if (code == STATUS_OK)
        code = check_fields((const Interlock__Graph__V1__CauseChain *)message, why);
    if (code == STATUS_OK)
        *out = (const Interlock__Graph__V1__CauseChain *)message;
    return code;
}

void chain_id(const Interlock__Common__V1__Envelope *envelope, char out[CHAIN_ID_BYTES]) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    char hex[2 * CRYPTO_HASH_BYTES + 1];
    dsse_payload_digest(envelope, digest);
    hex_encode(bytes_of(digest, sizeof digest), hex);
    snprintf(out, CHAIN_ID_BYTES, "chain:%s", hex);
}

static bool same_statement(const Interlock__Audit__V1__Entry *entry,
                           const Interlock__Common__V1__Envelope *envelope) {
    uint8_t found[CRYPTO_HASH_BYTES], wanted[CRYPTO_HASH_BYTES];
    if (entry == NULL || entry->record == NULL || strcmp(entry->record->payload_type, PAYLOAD_CHAIN) != 0)
        return false;
    dsse_payload_digest(entry->record, found);
    dsse_payload_digest(envelope, wanted);
    return memcmp(found, wanted, sizeof found) == 0;
}

status_code chain_judge(const Interlock__Audit__V1__AppendResponse *response,
                        const Interlock__Common__V1__Envelope *envelope,
                        Interlock__Audit__V1__Receipt **receipt, failure *why) {
    uint64_t expect = 0;
    uint8_t digest[CRYPTO_HASH_BYTES];
    if (response->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT) {
        if (!same_statement(response->conflict->latest, envelope) || response->conflict->receipt == NULL)
            return fail(why, STATUS_ALREADY_EXISTS, "CHAIN_ID_TAKEN",
                        "something else is in the log by this chain's id; sign the chain anew");
        *receipt = response->conflict->receipt;
        return STATUS_OK;
    }
    dsse_payload_digest(envelope, digest);
    if (outcome_judge(response, digest, 0, receipt, &expect, why) == OUTCOME_RECORDED)
        return STATUS_OK;
    return why != NULL ? why->code : STATUS_UNKNOWN;
}
