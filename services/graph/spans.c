/* Reading OTLP. Which attribute means what is OpenTelemetry's semantic conventions, the present name first
 * and the one it replaced after it. */
#include "spans.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NANOSECONDS_PER_MS 1000000U
#define THRESHOLD_BITS 56
#define WEIGHT_MAX (1U << 20)

typedef Opentelemetry__Proto__Trace__V1__ResourceSpans resource_spans;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans scope_spans;
typedef Opentelemetry__Proto__Trace__V1__Span otlp_span;
typedef Opentelemetry__Proto__Common__V1__KeyValue key_value;

/* ---- Sampling
 * ----------------------------------------------------------------------------------------------------- */

/* The value of `key` in a list of `key<equals>value` separated by `separator`; false when it is not there. */
static bool list_find(bytes list, char separator, char equals, const char *key, bytes *out) {
    size_t key_size = strlen(key);
    for (size_t at = 0; at < list.size;) {
        const uint8_t *start = list.data + at;
        const uint8_t *stop = memchr(start, separator, list.size - at);
        size_t size = stop == NULL ? list.size - at : (size_t)(stop - start);
        at += size + 1;
        while (size > 0 && (*start == ' ' || *start == '\t')) {
            start++;
            size--;
        }
        while (size > 0 && (start[size - 1] == ' ' || start[size - 1] == '\t'))
            size--;
        if (size > key_size && memcmp(start, key, key_size) == 0 && start[key_size] == (uint8_t)equals) {
            *out = bytes_of(start + key_size + 1, size - key_size - 1);
            return true;
        }
    }
    return false;
}

static int threshold_digit(uint8_t digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

double spans_weight(const char *tracestate) {
    bytes entry;
    bytes digits;
    if (tracestate == NULL || *tracestate == '\0' ||
        !list_find(bytes_of_text(tracestate), ',', '=', "ot", &entry) ||
        !list_find(entry, ';', ':', "th", &digits))
        return 0;
    if (digits.size == 0 || digits.size > THRESHOLD_BITS / 4)
        return 0;
    uint64_t threshold = 0;
    for (size_t i = 0; i < THRESHOLD_BITS / 4; i++) {
        /* Trailing zeros are left out by the sender. */
        int value = i < digits.size ? threshold_digit(digits.data[i]) : 0;
        if (value < 0)
            return 0;
        threshold = threshold << 4 | (unsigned)value;
    }
    double whole = (double)(1ULL << THRESHOLD_BITS);
    double weight = whole / (whole - (double)threshold);
    return weight <= WEIGHT_MAX ? weight : 0;
}

/* ---- Attributes
 * --------------------------------------------------------------------------------------------------- */

/* The text of the first of the keys that has one. Attributes are few; a hostile number of them costs one pass
 * a key, within the bounds of a message. */
static bytes attribute_text(key_value *const *attributes, size_t count, const char *const *keys) {
    for (; *keys != NULL; keys++)
        for (size_t i = 0; i < count; i++) {
            const key_value *item = attributes[i];
            if (strcmp(item->key, *keys) == 0 && item->value != NULL &&
                item->value->value_case == OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE &&
                item->value->string_value[0] != '\0')
                return bytes_of_text(item->value->string_value);
        }
    return bytes_of(NULL, 0);
}

static bytes text_or(bytes text, const char *otherwise) {
    return text.size == 0 ? bytes_of_text(otherwise) : text;
}

typedef struct resource_identity {
    bytes environment, space;
    uint32_t node;
    spans_refusal refusal; /* when node is MODEL_NONE */
} resource_identity;

static resource_identity resource_read(const resource_spans *item, model *graph) {
    static const char *const name_keys[] = {"service.name", NULL};
    static const char *const space_keys[] = {"service.namespace", NULL};
    static const char *const environment_keys[] = {"deployment.environment.name", "deployment.environment",
                                                   NULL};
    key_value *const *attributes = item->resource == NULL ? NULL : item->resource->attributes;
    size_t count = item->resource == NULL ? 0 : item->resource->n_attributes;
    resource_identity self = {.node = MODEL_NONE, .refusal = SPANS_BAD_NAME};
    self.environment = text_or(attribute_text(attributes, count, environment_keys), "default");
    self.space = text_or(attribute_text(attributes, count, space_keys), "default");
    /* The convention's own word for a service that does not say its name. */
    bytes name = text_or(attribute_text(attributes, count, name_keys), "unknown_service");
    char text[LIMIT_NAME_BYTES];
    if (!name_build(NODE_SERVICE, self.environment, self.space, name, text))
        return self;
    self.refusal = SPANS_TOO_MANY;
    self.node = model_node_named(graph, text, NODE_SERVICE, false);
    return self;
}

/* Whom a client's span names as the other side; MODEL_NONE when nobody, or when the name cannot be kept: the
 * call is then only not inferred. */
static uint32_t peer_read(const otlp_span *span, const resource_identity *from, model *graph) {
    static const char *const store_keys[] = {"db.system.name", "db.system", NULL};
    static const char *const peer_keys[] = {"peer.service", "server.address", "net.peer.name", NULL};
    if (span->kind != (int)SPAN_CLIENT)
        return MODEL_NONE;
    bytes store_system = attribute_text(span->attributes, span->n_attributes, store_keys);
    bytes name = attribute_text(span->attributes, span->n_attributes, peer_keys);
    node_kind kind = store_system.size > 0 ? NODE_DATASTORE : NODE_SERVICE;
    if (name.size == 0)
        name = store_system;
    char text[LIMIT_NAME_BYTES];
    if (name.size == 0 || !name_build(kind, from->environment, from->space, name, text))
        return MODEL_NONE;
    return model_node_named(graph, text, kind, true);
}

/* ---- Spans
 * -------------------------------------------------------------------------------------------------------- */

static bool id_is_set(ProtobufCBinaryData id, size_t size) {
    if (id.len != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (id.data[i] != 0)
            return true;
    return false;
}

static uint64_t id_read(ProtobufCBinaryData id) {
    uint64_t value = 0;
    if (id.len == sizeof value)
        memcpy(&value, id.data, sizeof value);
    return value;
}

/* True when it can be used; *refusal says why not. */
static bool span_read(const otlp_span *span, int64_t now_ms, observation *out, spans_refusal *refusal) {
    *refusal = SPANS_BAD_ID;
    if (!id_is_set(span->trace_id, 16) || !id_is_set(span->span_id, 8) ||
        (span->parent_span_id.len != 0 && span->parent_span_id.len != 8))
        return false;
    *refusal = SPANS_NO_TIME;
    uint64_t end = span->end_time_unix_nano > span->start_time_unix_nano ? span->end_time_unix_nano
                                                                         : span->start_time_unix_nano;
    if (end == 0)
        return false;
    *refusal = SPANS_FUTURE;
    int64_t time_ms = (int64_t)(end / NANOSECONDS_PER_MS);
    if (time_ms > now_ms + LIMIT_CLOCK_SKEW_MS)
        return false;
    *out = (observation){.kind = OBSERVATION_SPAN,
                         .span_id = id_read(span->span_id),
                         .parent_id = id_read(span->parent_span_id),
                         .weight = spans_weight(span->trace_state),
                         .time_ms = time_ms,
                         .peer = MODEL_NONE,
                         .span_kind = SPAN_UNSPECIFIED};
    if (span->kind >= (int)SPAN_UNSPECIFIED && span->kind <= (int)SPAN_CONSUMER)
        out->span_kind = (uint8_t)span->kind;
    memcpy(out->trace_id, span->trace_id.data, sizeof out->trace_id);
    return true;
}

size_t spans_count(const trace_export *request) {
    size_t count = 0;
    for (size_t i = 0; i < request->n_resource_spans; i++)
        for (size_t j = 0; j < request->resource_spans[i]->n_scope_spans; j++)
            count += request->resource_spans[i]->scope_spans[j]->n_spans;
    return count;
}

static void scope_read(const scope_spans *scope, const resource_identity *from, model *graph, int64_t now_ms,
                       observation *out, spans_result *result) {
    for (size_t i = 0; i < scope->n_spans; i++) {
        observation *item = &out[result->accepted];
        spans_refusal refusal = from->refusal;
        if (from->node == MODEL_NONE || !span_read(scope->spans[i], now_ms, item, &refusal)) {
            result->refused[refusal]++;
            continue;
        }
        item->node = from->node;
        item->peer = peer_read(scope->spans[i], from, graph);
        result->accepted++;
    }
}

spans_result spans_read(const trace_export *request, model *graph, int64_t now_ms, observation *out) {
    spans_result result = {0};
    for (size_t i = 0; i < request->n_resource_spans; i++) {
        const resource_spans *item = request->resource_spans[i];
        if (item->n_scope_spans == 0)
            continue;
        resource_identity from = resource_read(item, graph);
        for (size_t j = 0; j < item->n_scope_spans; j++)
            scope_read(item->scope_spans[j], &from, graph, now_ms, out, &result);
    }
    return result;
}

uint64_t spans_refused(const spans_result *self, char *text, size_t size) {
    static const char *const words[SPANS_REFUSALS] = {
        [SPANS_BAD_ID] = "a trace id has 16 bytes, a span id 8, and neither is all zeros",
        [SPANS_NO_TIME] = "neither a start nor an end time",
        [SPANS_FUTURE] = "ends in the future; check the clock of the source",
        [SPANS_BAD_NAME] = "environment/namespace/name of the service is too long",
        [SPANS_TOO_MANY] = "the graph holds as many services as it may",
    };
    uint64_t sum = 0;
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < SPANS_REFUSALS; i++) {
        if (self->refused[i] == 0)
            continue;
        sum += self->refused[i];
        int added = snprintf(text + used, size - used, "%s%llu spans: %s", used == 0 ? "" : "; ",
                             (unsigned long long)self->refused[i], words[i]);
        used += added > 0 && used + (size_t)added < size ? (size_t)added : 0;
    }
    return sum;
}
