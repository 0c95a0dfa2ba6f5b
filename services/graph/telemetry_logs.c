/* OTLP logs -> templates. A record's message is its body, or what stands for one: the exception it carries, a
 * field named message, the name of its event. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "telemetry_internal.h"

#define MESSAGE_BYTES 4096U /* more of a message is not looked at */
#define LEVEL_BYTES 200U    /* where a message says how severe it is */

typedef Opentelemetry__Proto__Logs__V1__ResourceLogs resource_logs;
typedef Opentelemetry__Proto__Logs__V1__ScopeLogs scope_logs;
typedef Opentelemetry__Proto__Logs__V1__LogRecord log_record;
typedef Opentelemetry__Proto__Common__V1__KeyValueList key_values;

#define VALUE_IS(value, what)                                                                                \
    ((value)->value_case == OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_##what)

size_t logs_count(const logs_export *request) {
    size_t count = 0;
    for (size_t i = 0; i < request->n_resource_logs; i++)
        for (size_t j = 0; j < request->resource_logs[i]->n_scope_logs; j++)
            count += request->resource_logs[i]->scope_logs[j]->n_log_records;
    return count;
}

/* ---- Messages
 * ----------------------------------------------------------------------------------------------------- */

static const char *fields_message(const key_values *fields) {
    static const char *const keys[] = {"message", "msg", "body", "log", NULL};
    bytes text = attribute_text(fields->values, fields->n_values, keys);
    return text.size == 0 ? NULL : (const char *)text.data;
}

static const char *body_text(const any_value *body) {
    if (body == NULL)
        return NULL;
    if (VALUE_IS(body, STRING_VALUE) && body->string_value[0] != '\0')
        return body->string_value;
    return VALUE_IS(body, KVLIST_VALUE) ? fields_message(body->kvlist_value) : NULL;
}

/* The exception that a record carries as attributes: "Class: message"; empty when it carries none. */
static size_t exception_text(const log_record *record, char *out, size_t size) {
    static const char *const type_keys[] = {"exception.type", NULL};
    static const char *const message_keys[] = {"exception.message", NULL};
    bytes type = attribute_text(record->attributes, record->n_attributes, type_keys);
    bytes message = attribute_text(record->attributes, record->n_attributes, message_keys);
    out[0] = '\0';
    if (type.size == 0 && message.size == 0)
        return 0;
    int used = snprintf(out, size, "%.*s: %.*s", type.size < 256 ? (int)type.size : 256,
                        type.size == 0 ? "" : (const char *)type.data,
                        message.size < MESSAGE_BYTES ? (int)message.size : (int)MESSAGE_BYTES,
                        message.size == 0 ? "" : (const char *)message.data);
    return used > 0 && (size_t)used < size ? (size_t)used : size - 1;
}

static bool is_word(uint8_t value) {
    return (value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z') || value == '_';
}

/* Whether the beginning of a message calls itself an error, where the source does not say how severe it is.
 */
static bool message_is_error(bytes message) {
    static const char *const words[] = {"error", "fatal", "severe", "critical"};
    size_t size = message.size < LEVEL_BYTES ? message.size : LEVEL_BYTES;
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && is_word(message.data[end]))
            end++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (end - at == strlen(words[i]) &&
                strncasecmp((const char *)message.data + at, words[i], end - at) == 0)
                return true;
        at = end + 1;
    }
    return false;
}

static log_severity severity_of(const log_record *record) {
    int number = record->severity_number;
    if (number >= 17)
        return LOG_SEVERITY_ERROR;
    if (number >= 13)
        return LOG_SEVERITY_WARN;
    return number > 0 ? LOG_SEVERITY_LOW : LOG_SEVERITY_UNKNOWN;
}

/* ---- Recognising
 * -------------------------------------------------------------------------------------------------- */

static uint64_t record_digest(uint64_t digest, const log_record *record) {
    digest = mix64(digest, record->time_unix_nano);
    digest = mix64(digest, record->observed_time_unix_nano);
    digest = digest_bytes(digest, bytes_of(record->span_id.data, record->span_id.len));
    const char *text = body_text(record->body);
    size_t size = text == NULL ? 0 : strnlen(text, MESSAGE_BYTES);
    return digest_bytes(digest, bytes_of(text, size));
}

static uint64_t logs_digest(const logs_export *request) {
    uint64_t digest = DIGEST_LOGS;
    for (size_t i = 0; i < request->n_resource_logs; i++) {
        const resource_logs *resource = request->resource_logs[i];
        resource_identity identity;
        resource_read(resource->resource, &identity);
        digest = digest_bytes(digest, bytes_of_text(identity.name));
        digest = digest_bytes(digest, identity.pod);
        for (size_t j = 0; j < resource->n_scope_logs; j++)
            for (size_t k = 0; k < resource->scope_logs[j]->n_log_records; k++)
                digest = record_digest(digest, resource->scope_logs[j]->log_records[k]);
    }
    return digest;
}

/* ---- Records
 * ------------------------------------------------------------------------------------------------------ */

typedef struct reading {
    telemetry *self;
    int64_t now_ms;
    char node[LIMIT_NAME_BYTES];
    uint32_t number, pod; /* of the traffic model; MODEL_NONE when it cannot be kept */
    telemetry_refusal refusal;
    telemetry_result result;
    log_observation *out;
} reading;

static void record_refuse(reading *self, telemetry_refusal why) {
    self->result.refused[why]++;
}

static void record_read(reading *self, const log_record *record) {
    char exception[MESSAGE_BYTES + 512];
    telemetry_refusal refusal = self->refusal;
    int64_t time_ms;
    uint64_t time_ns = record->time_unix_nano != 0 ? record->time_unix_nano : record->observed_time_unix_nano;
    if (self->number == MODEL_NONE) {
        record_refuse(self, refusal);
        return;
    }
    if (!telemetry_time(time_ns, self->now_ms, &time_ms, &refusal)) {
        record_refuse(self, refusal);
        return;
    }
    size_t exception_size = exception_text(record, exception, sizeof exception);
    const char *message = body_text(record->body);
    if (message == NULL)
        message = exception_size > 0 ? exception : record->event_name[0] != '\0' ? record->event_name : NULL;
    if (message == NULL) {
        record_refuse(self, TELEMETRY_NO_VALUE);
        return;
    }
    bytes text = bytes_of(message, strnlen(message, MESSAGE_BYTES));
    log_severity severity = severity_of(record);
    if (severity == LOG_SEVERITY_UNKNOWN && message_is_error(text))
        severity = LOG_SEVERITY_ERROR;
    log_observation *item = &self->out[self->result.accepted++];
    *item = (log_observation){.time_ns = (int64_t)time_ns,
                              .node = self->number,
                              .pod = self->pod,
                              .severity = (uint8_t)severity,
                              .exception = exception_size > 0,
                              /* Only what lives as long as the request may be handed on. */
                              .message = message == exception ? "" : message};
    item->template_id = templates_add(self->self->templates, self->node, text, severity, time_ms);
    if (record->trace_id.len == sizeof item->trace_id)
        memcpy(item->trace_id, record->trace_id.data, sizeof item->trace_id);
    if (record->span_id.len == sizeof item->span_id)
        memcpy(&item->span_id, record->span_id.data, sizeof item->span_id);
}

static void sender_read(reading *self, const resource_logs *resource, model *graph) {
    resource_identity identity;
    node_kind kind;
    resource_read(resource->resource, &identity);
    self->number = MODEL_NONE;
    self->refusal = TELEMETRY_BAD_NAME;
    if (!telemetry_node(&identity, self->node, &kind))
        return;
    self->refusal = TELEMETRY_TOO_MANY;
    self->number = model_node_named(graph, self->node, kind, true);
    if (self->number != MODEL_NONE)
        self->pod = operations_pod_named(model_operations(graph), self->number, identity.pod);
}

telemetry_result logs_read(telemetry *self, const logs_export *request, model *graph, int64_t now_ms,
                           log_observation *out) {
    reading state = {.self = self, .now_ms = now_ms, .out = out};
    telemetry_learn_services(self);
    if (logs_count(request) > 0 && telemetry_seen(self, logs_digest(request))) {
        state.result.duplicate = true;
        return state.result;
    }
    for (size_t i = 0; i < request->n_resource_logs; i++) {
        const resource_logs *resource = request->resource_logs[i];
        sender_read(&state, resource, graph);
        for (size_t j = 0; j < resource->n_scope_logs; j++)
            for (size_t k = 0; k < resource->scope_logs[j]->n_log_records; k++)
                record_read(&state, resource->scope_logs[j]->log_records[k]);
    }
    self->totals.records += state.result.accepted;
    for (size_t i = 0; i < TELEMETRY_REFUSALS; i++)
        self->totals.refused[i] += state.result.refused[i];
    return state.result;
}
