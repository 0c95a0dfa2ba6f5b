/* OTLP messages for tests, in an arena. */
#ifndef TESTS_GRAPH_OTLP_H
#define TESTS_GRAPH_OTLP_H

#include <string.h>

#include "base/arena.h"
#include "spans.h"

typedef struct otlp_attribute {
    const char *key, *text; /* ends with a NULL key */
} otlp_attribute;

typedef struct otlp_case {
    uint64_t trace, span, parent; /* parent 0: none */
    int kind;
    const char *tracestate;
    int64_t end_ms;
    const otlp_attribute *attributes; /* NULL: none */
} otlp_case;

static inline Opentelemetry__Proto__Common__V1__KeyValue **
otlp_attributes(arena *memory, const otlp_attribute *given, size_t *count) {
    Opentelemetry__Proto__Common__V1__KeyValue **out = arena_zero(memory, 16, sizeof *out);
    *count = 0;
    for (; given != NULL && given->key != NULL; given++) {
        Opentelemetry__Proto__Common__V1__KeyValue *item = arena_alloc(memory, sizeof *item);
        Opentelemetry__Proto__Common__V1__AnyValue *value = arena_alloc(memory, sizeof *value);
        opentelemetry__proto__common__v1__key_value__init(item);
        opentelemetry__proto__common__v1__any_value__init(value);
        value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
        value->string_value = arena_text(memory, given->text);
        item->key = arena_text(memory, given->key);
        item->value = value;
        out[(*count)++] = item;
    }
    return out;
}

static inline ProtobufCBinaryData otlp_id(arena *memory, uint64_t id, size_t size) {
    uint8_t *data = arena_zero(memory, 1, size);
    memcpy(data, &id, sizeof id);
    return (ProtobufCBinaryData){.data = data, .len = size};
}

static inline Opentelemetry__Proto__Trace__V1__Span *otlp_make_span(arena *memory, const otlp_case *from) {
    Opentelemetry__Proto__Trace__V1__Span *span = arena_alloc(memory, sizeof *span);
    opentelemetry__proto__trace__v1__span__init(span);
    span->trace_id = otlp_id(memory, from->trace, 16);
    span->span_id = otlp_id(memory, from->span, 8);
    if (from->parent != 0)
        span->parent_span_id = otlp_id(memory, from->parent, 8);
    span->kind = (Opentelemetry__Proto__Trace__V1__Span__SpanKind)from->kind;
    span->trace_state = arena_text(memory, from->tracestate);
    span->start_time_unix_nano = from->end_ms == 0 ? 0 : (uint64_t)(from->end_ms - 5) * 1000000U;
    span->end_time_unix_nano = (uint64_t)from->end_ms * 1000000U;
    span->attributes = otlp_attributes(memory, from->attributes, &span->n_attributes);
    return span;
}

/* One resource with its spans. */
static inline trace_export *otlp_make_export(arena *memory, const otlp_attribute *resource,
                                             const otlp_case *spans, size_t count) {
    trace_export *out = arena_alloc(memory, sizeof *out);
    Opentelemetry__Proto__Trace__V1__ResourceSpans *item = arena_alloc(memory, sizeof *item);
    Opentelemetry__Proto__Trace__V1__ScopeSpans *scope = arena_alloc(memory, sizeof *scope);
    Opentelemetry__Proto__Resource__V1__Resource *described = arena_alloc(memory, sizeof *described);
    opentelemetry__proto__collector__trace__v1__export_trace_service_request__init(out);
    opentelemetry__proto__trace__v1__resource_spans__init(item);
    opentelemetry__proto__trace__v1__scope_spans__init(scope);
    opentelemetry__proto__resource__v1__resource__init(described);
    described->attributes = otlp_attributes(memory, resource, &described->n_attributes);
    scope->spans = arena_zero(memory, count + 1, sizeof *scope->spans);
    for (size_t i = 0; i < count; i++)
        scope->spans[scope->n_spans++] = otlp_make_span(memory, &spans[i]);
    item->resource = resource == NULL ? NULL : described;
    item->scope_spans = arena_copy(memory, &scope, sizeof(void *));
    item->n_scope_spans = 1;
    out->resource_spans = arena_copy(memory, &item, sizeof(void *));
    out->n_resource_spans = 1;
    return out;
}

#endif
