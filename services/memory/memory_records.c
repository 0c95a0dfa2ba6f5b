/* From a record of the log to what memory keeps of it. */
#include "memory_records.h"

#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

static const char *name_of(const ProtobufCEnumDescriptor *type, int number, size_t prefix) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    return value != NULL && strlen(value->name) > prefix ? value->name + prefix : "";
}

const char *memory_outcome_name(int outcome) {
    return name_of(&interlock__policy__v1__outcome__descriptor, outcome, strlen("OUTCOME_"));
}

const char *memory_mode_name(int mode) {
    return name_of(&interlock__policy__v1__mode__descriptor, mode, strlen("MODE_"));
}

const char *memory_state_name(int state) {
    return name_of(&interlock__memory__v1__outcome_state__descriptor, state, strlen("OUTCOME_STATE_"));
}

static bool read_body(const Interlock__Common__V1__Envelope *record, const char *payload_type,
                      const ProtobufCMessageDescriptor *type, arena *memory, ProtobufCMessage **out) {
    failure ignored = {0};
    if (record == NULL || record->payload_type == NULL || strcmp(record->payload_type, payload_type) != 0)
        return false;
    bytes payload = bytes_of(record->payload.data, record->payload.len);
    return wire_unpack(type, payload, memory, out, &ignored) == STATUS_OK;
}

static memory_change_kind read_decision(const Interlock__Audit__V1__Entry *entry, arena *memory,
                                        memory_change *out) {
    ProtobufCMessage *body = NULL;
    if (!read_body(entry->record, PAYLOAD_DECISION, &interlock__policy__v1__decision_record_gist__descriptor,
                   memory, &body))
        return MEMORY_TOUCH;
    out->decision = ((Interlock__Policy__V1__DecisionRecordGist *)body)->decision;
    return out->decision != NULL ? MEMORY_DECISION : MEMORY_TOUCH;
}

static memory_change_kind read_outcome(const Interlock__Audit__V1__Entry *entry, arena *memory,
                                       memory_change *out) {
    ProtobufCMessage *body = NULL;
    if (!read_body(entry->record, PAYLOAD_OUTCOME, &interlock__memory__v1__action_outcome__descriptor, memory,
                   &body))
        return MEMORY_TOUCH;
    out->outcome = (Interlock__Memory__V1__ActionOutcome *)body;
    dsse_payload_digest(entry->record, out->digest);
    return MEMORY_OUTCOME;
}

/* One whose body was erased is forgotten. */
static memory_change_kind read_chain(const Interlock__Audit__V1__Entry *entry, arena *memory,
                                     memory_change *out) {
    ProtobufCMessage *body = NULL;
    if (!read_body(entry->record, PAYLOAD_CHAIN, &interlock__graph__v1__cause_chain__descriptor, memory,
                   &body))
        return MEMORY_NOTHING;
    out->chain = (Interlock__Graph__V1__CauseChain *)body;
    return out->chain->header != NULL ? MEMORY_CHAIN : MEMORY_NOTHING;
}

status_code memory_change_read(const Interlock__Audit__V1__Entry *entry, arena *memory, memory_change *out,
                               failure *why) {
    ProtobufCMessage *message = NULL;
    status_code code = wire_unpack(&interlock__audit__v1__leaf__descriptor,
                                   bytes_of(entry->leaf.data, entry->leaf.len), memory, &message, why);
    if (code == STATUS_RESOURCE_EXHAUSTED)
        return code;
    if (code != STATUS_OK) {
        fail_within(why, STATUS_DATA_LOSS, "record %llu has an unreadable leaf; run interlock audit verify",
                    (unsigned long long)entry->index);
        return STATUS_DATA_LOSS;
    }
    const Interlock__Audit__V1__Leaf *leaf = (Interlock__Audit__V1__Leaf *)message;
    memory_change change = {.index = entry->index,
                            .previous_index = leaf->previous_index,
                            .recorded_at_ms = leaf->recorded_at_ms,
                            .action_id = leaf->action_id,
                            .verdict = leaf->verdict};
    if (leaf->action_id[0] == '\0')
        change.kind = MEMORY_NOTHING;
    else if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_CHAIN)
        change.kind = read_chain(entry, memory, &change);
    else if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION)
        change.kind = read_decision(entry, memory, &change);
    else if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME)
        change.kind = read_outcome(entry, memory, &change);
    else
        change.kind = MEMORY_TOUCH;
    *out = change;
    return STATUS_OK;
}
