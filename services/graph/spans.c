/* Reading OTLP spans. Which attribute means what is OpenTelemetry's semantic conventions, the present name
 * first and the one it replaced after it. */
#include "spans.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "resource.h"

#define NANOSECONDS_PER_MS 1000000U
#define THRESHOLD_BITS 56
#define WEIGHT_MAX (1U << 20)
#define STATUS_CODE_OF_ERROR 2

typedef Opentelemetry__Proto__Trace__V1__ResourceSpans resource_spans;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans scope_spans;
typedef Opentelemetry__Proto__Trace__V1__Span otlp_span;

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

/* ---- Who sent it, and whom it names
 * ------------------------------------------------------------------------------- */

typedef struct sender {
    resource_identity identity;
    uint32_t node, pod;
    spans_refusal refusal; /* when node is MODEL_NONE */
} sender;

static void sender_read(const resource_spans *item, model *graph, sender *out) {
    resource_read(item->resource, &out->identity);
    out->node = MODEL_NONE;
    out->refusal = SPANS_BAD_NAME;
    if (out->identity.name[0] == '\0')
        return;
    out->refusal = SPANS_TOO_MANY;
    out->node = model_node_named(graph, out->identity.name, NODE_SERVICE, false);
    if (out->node != MODEL_NONE)
        out->pod = operations_pod_named(model_operations(graph), out->node, out->identity.pod);
}

static uint32_t neighbour(const sender *from, node_kind kind, bytes name, model *graph) {
    char text[LIMIT_NAME_BYTES];
    if (!resource_neighbour(&from->identity, kind, name, text))
        return MODEL_NONE;
    return model_node_named(graph, text, kind, true);
}

/* What a statement does to its datastore, by its first word. */
static edge_kind access_of(bytes operation) {
    static const struct {
        const char *word;
        edge_kind kind;
    } words[] = {
        {"select", EDGE_READS},     {"get", EDGE_READS},        {"mget", EDGE_READS},
        {"hget", EDGE_READS},       {"hgetall", EDGE_READS},    {"find", EDGE_READS},
        {"findone", EDGE_READS},    {"count", EDGE_READS},      {"query", EDGE_READS},
        {"scan", EDGE_READS},       {"aggregate", EDGE_READS},  {"insert", EDGE_WRITES},
        {"update", EDGE_WRITES},    {"delete", EDGE_WRITES},    {"set", EDGE_WRITES},
        {"hset", EDGE_WRITES},      {"hmset", EDGE_WRITES},     {"del", EDGE_WRITES},
        {"put", EDGE_WRITES},       {"merge", EDGE_WRITES},     {"replace", EDGE_WRITES},
        {"upsert", EDGE_WRITES},    {"incr", EDGE_WRITES},      {"insertone", EDGE_WRITES},
        {"updateone", EDGE_WRITES}, {"deleteone", EDGE_WRITES},
    };
    size_t size = 0;
    while (size < operation.size && isalpha(operation.data[size]))
        size++;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].word) == size &&
            strncasecmp(words[i].word, (const char *)operation.data, size) == 0)
            return words[i].kind;
    return EDGE_CALLS;
}

/* Whom a client's span names as the other side. Without a name that can be kept the call is only not
 * inferred. */
static void peer_read(const otlp_span *span, const sender *from, model *graph, observation *out) {
    static const char *const store_keys[] = {"db.system.name", "db.system", NULL};
    static const char *const access_keys[] = {"db.operation.name", "db.operation", "db.query.text",
                                              "db.statement", NULL};
    static const char *const peer_keys[] = {"peer.service", "server.address", "net.peer.name", NULL};
    bytes store_system = attribute_text(span->attributes, span->n_attributes, store_keys);
    bytes name = attribute_text(span->attributes, span->n_attributes, peer_keys);
    out->peer_edge = EDGE_CALLS;
    if (store_system.size > 0)
        out->peer_edge =
            (uint8_t)access_of(attribute_text(span->attributes, span->n_attributes, access_keys));
    if (name.size == 0)
        name = store_system;
    out->peer = neighbour(from, store_system.size > 0 ? NODE_DATASTORE : NODE_SERVICE, name, graph);
}

/* The queue between a producer and its consumers. */
static void queue_read(const otlp_span *span, const sender *from, model *graph, observation *out) {
    static const char *const keys[] = {"messaging.destination.name", "messaging.destination", NULL};
    bytes name = attribute_text(span->attributes, span->n_attributes, keys);
    out->peer_edge = (uint8_t)(span->kind == (int)SPAN_PRODUCER ? EDGE_PUBLISHES : EDGE_CONSUMES);
    out->peer = neighbour(from, NODE_QUEUE, name, graph);
}

static void other_side_read(const otlp_span *span, const sender *from, model *graph, observation *out) {
    if (span->n_attributes == 0)
        return;
    if (span->kind == (int)SPAN_CLIENT)
        peer_read(span, from, graph, out);
    else if (span->kind == (int)SPAN_PRODUCER || span->kind == (int)SPAN_CONSUMER)
        queue_read(span, from, graph, out);
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
    if (span->start_time_unix_nano > 0 && span->start_time_unix_nano <= INT64_MAX) {
        out->start_ns = (int64_t)span->start_time_unix_nano;
        out->duration_ns = end - span->start_time_unix_nano;
    }
    out->failed = span->status != NULL && span->status->code == (int)STATUS_CODE_OF_ERROR;
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

int64_t resource_spans_end_ms(const resource_spans *from) {
    for (size_t i = from->n_scope_spans; i-- > 0;) {
        const scope_spans *scope = from->scope_spans[i];
        if (scope->n_spans > 0)
            return (int64_t)(scope->spans[scope->n_spans - 1]->end_time_unix_nano / NANOSECONDS_PER_MS);
    }
    return 0;
}

static void scope_read(const scope_spans *scope, const sender *from, model *graph, int64_t now_ms,
                       observation *out, spans_result *result) {
    char text[OPERATIONS_TEXT_BYTES];
    for (size_t i = 0; i < scope->n_spans; i++) {
        const otlp_span *span = scope->spans[i];
        observation *item = &out[result->accepted];
        spans_refusal refusal = from->refusal;
        if (from->node == MODEL_NONE || !span_read(span, now_ms, item, &refusal)) {
            result->refused[refusal]++;
            continue;
        }
        item->node = from->node;
        item->pod = from->pod;
        item->operation = operations_named(model_operations(graph), from->node,
                                           operation_of(bytes_of_text(span->name), text, sizeof text));
        other_side_read(span, from, graph, item);
        result->accepted++;
    }
}

spans_result spans_read(const trace_export *request, model *graph, int64_t now_ms, observation *out) {
    spans_result result = {0};
    sender from = {0};
    for (size_t i = 0; i < request->n_resource_spans; i++) {
        const resource_spans *item = request->resource_spans[i];
        if (item->n_scope_spans == 0)
            continue;
        sender_read(item, graph, &from);
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
