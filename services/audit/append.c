/* Checking an append request and taking it out of its call's memory. */
#include "append.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "leaf.h"

#define KIND(name) INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_##name

static bool kind_is_known(Interlock__Audit__V1__RecordKind kind) {
    return kind == KIND(DECISION) || kind == KIND(OUTCOME) || kind == KIND(KILL) || kind == KIND(CONTROL) ||
           kind == KIND(CHAIN);
}

static bool is_upper_snake(const char *text) {
    size_t size = strlen(text);
    if (size == 0 || size > APPEND_VERDICT_BYTES || text[0] < 'A' || text[0] > 'Z')
        return false;
    for (const char *p = text; *p != '\0'; p++)
        if (!((*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_'))
            return false;
    return true;
}

static bool is_keyid(const char *text) {
    return strlen(text) == CRYPTO_KEYID_CHARS && strspn(text, "0123456789abcdef") == CRYPTO_KEYID_CHARS;
}

static status_code check_head(const Interlock__Audit__V1__AppendRequest *request, failure *why) {
    if (!kind_is_known(request->kind))
        return fail_field(why, "kind", "KIND_UNKNOWN",
                          "kind %d cannot be appended; use DECISION, OUTCOME, KILL, CONTROL or CHAIN",
                          (int)request->kind);
    if (strlen(request->action_id) > LIMIT_ACTION_ID_BYTES)
        return fail_field(why, "action_id", "ACTION_ID_TOO_LONG", "an action id has at most %u bytes",
                          LIMIT_ACTION_ID_BYTES);
    if (request->action_id[0] == '\0' && (request->kind == KIND(DECISION) || request->kind == KIND(OUTCOME)))
        return fail_field(why, "action_id", "ACTION_ID_MISSING",
                          "a decision and an outcome belong to an action; name it");
    if (request->kind == KIND(CHAIN) && strncmp(request->action_id, "chain:", 6) != 0)
        return fail_field(why, "action_id", "CHAIN_ID", "the id of a chain begins with chain:");
    if (!is_upper_snake(request->verdict))
        return fail_field(why, "verdict", "VERDICT_MALFORMED",
                          "a verdict is 1 to %u of A-Z, 0-9 and _, beginning with a letter",
                          APPEND_VERDICT_BYTES);
    if (request->permits && request->kind != KIND(DECISION))
        return fail_field(why, "permits", "PERMITS_MISPLACED", "only a decision can permit");
    if (request->control_seq > INT64_MAX || request->expect > INT64_MAX)
        return fail_field(why, request->expect > INT64_MAX ? "expect" : "control_seq", "NUMBER_TOO_LARGE",
                          "the number is beyond any that this log gives out");
    return STATUS_OK;
}

static status_code check_counter(const Interlock__Audit__V1__AppendRequest *request, size_t i, failure *why) {
    const Interlock__Audit__V1__Counter *counter = request->counters[i];
    size_t size = strlen(counter->key);
    if (size == 0 || size > APPEND_COUNTER_KEY_BYTES)
        return fail_field(why, "counters.key", "COUNTER_KEY", "counter %zu: a key has 1 to %u bytes", i,
                          APPEND_COUNTER_KEY_BYTES);
    if (counter->window_ms < APPEND_WINDOW_LEAST_MS || counter->window_ms > APPEND_WINDOW_MOST_MS)
        return fail_field(why, "counters.window_ms", "COUNTER_WINDOW",
                          "counter %zu: a window has %u to %u milliseconds", i, APPEND_WINDOW_LEAST_MS,
                          APPEND_WINDOW_MOST_MS);
    if (counter->cap > INT64_MAX || counter->cost > INT64_MAX)
        return fail_field(why, "counters.cap", "NUMBER_TOO_LARGE", "counter %zu: cap and cost are below 2^63",
                          i);
    for (size_t k = 0; k < i; k++)
        if (strcmp(request->counters[k]->key, counter->key) == 0)
            return fail_field(why, "counters.key", "COUNTER_TWICE",
                              "counters %zu and %zu have one key; add up their costs", k, i);
    return STATUS_OK;
}

static status_code check_record(const Interlock__Common__V1__Envelope *record, failure *why) {
    if (record == NULL)
        return fail_field(why, "record", "RECORD_MISSING", "an append needs a record: a signed statement");
    size_t type_size = strlen(record->payload_type);
    if (type_size == 0 || type_size > APPEND_PAYLOAD_TYPE_BYTES || record->payload.len == 0)
        return fail_field(why, "record", "RECORD_EMPTY",
                          "a record has a payload and a payload type of at most %u bytes",
                          APPEND_PAYLOAD_TYPE_BYTES);
    if (record->n_signatures != 1)
        return fail_field(why, "record.signatures", "RECORD_SIGNATURES",
                          "a record has exactly one signature, not %zu", record->n_signatures);
    if (record->signatures[0]->sig.len != CRYPTO_SIGNATURE_BYTES || !is_keyid(record->signatures[0]->keyid))
        return fail_field(why, "record.signatures", "RECORD_SIGNATURE_SHAPE",
                          "a signature has %u bytes and a keyid of %u lower-case hex digits",
                          CRYPTO_SIGNATURE_BYTES, CRYPTO_KEYID_CHARS);
    if (interlock__common__v1__envelope__get_packed_size(record) > APPEND_RECORD_BYTES)
        return fail_field(why, "record", "RECORD_TOO_LARGE", "a record has at most %u bytes",
                          APPEND_RECORD_BYTES);
    return STATUS_OK;
}

static status_code check_request(const Interlock__Audit__V1__AppendRequest *request, failure *why) {
    status_code status = check_head(request, why);
    if (status == STATUS_OK && request->n_counters > APPEND_COUNTERS_MAX)
        status = fail_field(why, "counters", "TOO_MANY_COUNTERS", "an append has at most %u counters",
                            APPEND_COUNTERS_MAX);
    for (size_t i = 0; i < request->n_counters && status == STATUS_OK; i++)
        status = check_counter(request, i, why);
    return status == STATUS_OK ? check_record(request->record, why) : status;
}

static size_t texts_size(const Interlock__Audit__V1__AppendRequest *request) {
    size_t size = strlen(request->action_id) + strlen(request->verdict) + 2 + CRYPTO_KEYID_CHARS + 1;
    for (size_t i = 0; i < request->n_counters; i++)
        size += strlen(request->counters[i]->key) + 1;
    return size;
}

static const char *put_text(char **at, const char *text) {
    char *start = *at;
    size_t size = strlen(text) + 1;
    memcpy(start, text, size);
    *at += size;
    return start;
}

status_code append_prepare(const Interlock__Audit__V1__AppendRequest *request, append **out, failure *why) {
    status_code status = check_request(request, why);
    if (status != STATUS_OK)
        return status;
    size_t record_size = interlock__common__v1__envelope__get_packed_size(request->record);
    append *self = malloc(sizeof *self + texts_size(request) + record_size);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an append; try again");
    char *at = (char *)(self + 1);
    *self = (append){.expect = request->expect,
                     .control_seq = request->control_seq,
                     .kind = request->kind,
                     .permits = request->permits != 0,
                     .charge_count = request->n_counters};
    self->action_id = put_text(&at, request->action_id);
    self->verdict = put_text(&at, request->verdict);
    self->keyid = put_text(&at, request->record->signatures[0]->keyid);
    for (size_t i = 0; i < request->n_counters; i++) {
        const Interlock__Audit__V1__Counter *counter = request->counters[i];
        self->charges[i] = (append_charge){.key = put_text(&at, counter->key),
                                           .cap = counter->cap,
                                           .window_ms = counter->window_ms,
                                           .cost = counter->cost};
    }
    interlock__common__v1__envelope__pack(request->record, (uint8_t *)at);
    self->record = bytes_of(at, record_size);
    leaf_payload_digest(request->record, self->digest);
    *out = self;
    return STATUS_OK;
}

void append_free(append *self) {
    free(self);
}

bool append_is_permit(const append *self) {
    return self->permits || (self->kind == KIND(DECISION) &&
                             (strcmp(self->verdict, "ALLOW") == 0 || strcmp(self->verdict, "MODIFY") == 0));
}

bool append_is_of_action(const append *self) {
    return self->action_id[0] != '\0' && self->kind != KIND(CHAIN);
}

bool append_is_fence(const append *self) {
    return self->kind == KIND(KILL) && strcmp(self->verdict, "SET") == 0;
}
