/* What the graph service costs inside, without a network: spans from the wire to the durable store, and
 * predictions on a generated production. One JSON line a figure; --quick for a shorter run.
 *
 * graph.ingest_spans_per_second_core: unpacking, reading, applying to every part of the graph, and committing
 * in groups of about 8,000 spans to a real file (synchronous=FULL), by CPU time. graph.impact_us: p99 of one
 * prediction with random targets. */
#include <string.h>
#include <unistd.h>

#include "base/chance.h"
#include "impact.h"
#include "load.h"
#include "parts.h"
#include "spans.h"
#include "wire/scan.h"

#define SERVICES 1000U
#define CALLEES 10U
#define TRACE_SPANS 16U
#define BATCH_TRACES 64U
#define GROUP_REQUESTS 8U
#define PREDICTIONS 2000U
#define PREDICTING_NS 5000000000U
#define REQUEST_APART_NS 250000000U

typedef Opentelemetry__Proto__Trace__V1__Span otlp_span;
typedef Opentelemetry__Proto__Common__V1__KeyValue key_value;

static simulated_chance dice;
static uint32_t callees[SERVICES][CALLEES];
static failure why;

static void must(status_code code) {
    if (code != STATUS_OK)
        give_up(why.message);
}

static uint32_t draw(uint32_t below) {
    uint32_t value = 0;
    chance_random(&dice.chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

/* ---- Production
 * --------------------------------------------------------------------------------------------------- */

/* Low numbers are called by many, as in published traces of microservices. */
static void production_draw(void) {
    for (uint32_t service = 0; service < SERVICES; service++)
        for (uint32_t i = 0; i < CALLEES; i++)
            callees[service][i] = draw(1 + draw(SERVICES));
}

static key_value *attribute_make(arena *memory, const char *key, const char *text) {
    key_value *item = arena_alloc(memory, sizeof *item);
    Opentelemetry__Proto__Common__V1__AnyValue *value = arena_alloc(memory, sizeof *value);
    if (item == NULL || value == NULL)
        give_up("no memory");
    opentelemetry__proto__common__v1__key_value__init(item);
    opentelemetry__proto__common__v1__any_value__init(value);
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    value->string_value = arena_text(memory, text);
    item->key = arena_text(memory, key);
    item->value = value;
    return item;
}

static ProtobufCBinaryData random_id(arena *memory, size_t size) {
    ProtobufCBinaryData id = {.data = arena_alloc(memory, size), .len = size};
    chance_random(&dice.chance, id.data, size);
    return id;
}

/* With the attributes of a usual HTTP or RPC span. */
static otlp_span *span_make(arena *memory, ProtobufCBinaryData trace, const otlp_span *parent,
                            unsigned kind) {
    static const char *const keys[] = {
        "http.request.method",      "url.path",       "http.response.status_code",
        "network.protocol.version", "server.address", "thread.name"};
    otlp_span *span = arena_alloc(memory, sizeof *span);
    opentelemetry__proto__trace__v1__span__init(span);
    span->trace_id = trace;
    span->span_id = random_id(memory, 8);
    if (parent != NULL)
        span->parent_span_id = parent->span_id;
    span->kind = (Opentelemetry__Proto__Trace__V1__Span__SpanKind)kind;
    span->name = "GET /v1/things/{id}";
    span->trace_state = "ot=th:0";
    span->end_time_unix_nano = (uint64_t)dice.wall_ns;
    span->start_time_unix_nano = span->end_time_unix_nano - 1000000U - draw(5000000);
    span->attributes = arena_alloc(memory, 6 * sizeof *span->attributes);
    for (; span->n_attributes < 6; span->n_attributes++)
        span->attributes[span->n_attributes] =
            attribute_make(memory, keys[span->n_attributes], "some-usual-value");
    return span;
}

typedef struct batch {
    arena memory;
    otlp_span *spans[SERVICES][BATCH_TRACES * TRACE_SPANS / 4];
    size_t counts[SERVICES];
} batch;

static void batch_put(batch *self, uint32_t service, otlp_span *span) {
    if (self->counts[service] < sizeof self->spans[0] / sizeof self->spans[0][0])
        self->spans[service][self->counts[service]++] = span;
}

/* A walk down the calls: a server's span, and a client's span with a server's below it for each step. */
static void trace_draw(batch *self) {
    ProtobufCBinaryData trace = random_id(&self->memory, 16);
    uint32_t services[TRACE_SPANS];
    otlp_span *servers[TRACE_SPANS];
    unsigned count = 1;
    services[0] = SERVICES - 1 - draw(20);
    servers[0] = span_make(&self->memory, trace, NULL, SPAN_SERVER);
    batch_put(self, services[0], servers[0]);
    for (unsigned spans = 1; spans + 2 <= TRACE_SPANS; spans += 2) {
        unsigned from = draw(count);
        otlp_span *client = span_make(&self->memory, trace, servers[from], SPAN_CLIENT);
        batch_put(self, services[from], client);
        services[count] = callees[services[from]][draw(CALLEES)];
        servers[count] = span_make(&self->memory, trace, client, SPAN_SERVER);
        batch_put(self, services[count], servers[count]);
        count++;
    }
}

static Opentelemetry__Proto__Trace__V1__ResourceSpans *resource_make(batch *self, uint32_t service) {
    Opentelemetry__Proto__Trace__V1__ResourceSpans *item = arena_alloc(&self->memory, sizeof *item);
    Opentelemetry__Proto__Trace__V1__ScopeSpans *scope = arena_alloc(&self->memory, sizeof *scope);
    Opentelemetry__Proto__Resource__V1__Resource *resource = arena_alloc(&self->memory, sizeof *resource);
    opentelemetry__proto__trace__v1__resource_spans__init(item);
    opentelemetry__proto__trace__v1__scope_spans__init(scope);
    opentelemetry__proto__resource__v1__resource__init(resource);
    resource->attributes = arena_alloc(&self->memory, 3 * sizeof *resource->attributes);
    resource->attributes[0] =
        attribute_make(&self->memory, "service.name", arena_format(&self->memory, "s%u", service));
    resource->attributes[1] = attribute_make(&self->memory, "service.namespace", "bench");
    resource->attributes[2] = attribute_make(&self->memory, "deployment.environment.name", "prod");
    resource->n_attributes = 3;
    scope->spans = self->spans[service];
    scope->n_spans = self->counts[service];
    item->resource = resource;
    item->scope_spans = arena_copy(&self->memory, &scope, sizeof(void *));
    item->n_scope_spans = 1;
    return item;
}

/* One packed export request of BATCH_TRACES traces, malloc'd. */
static bytes request_draw(batch *self) {
    static Opentelemetry__Proto__Trace__V1__ResourceSpans *resources[SERVICES];
    trace_export request = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_REQUEST__INIT;
    memset(self->counts, 0, sizeof self->counts);
    arena_reset(&self->memory);
    for (unsigned i = 0; i < BATCH_TRACES; i++)
        trace_draw(self);
    request.resource_spans = resources;
    for (uint32_t service = 0; service < SERVICES; service++)
        if (self->counts[service] > 0)
            resources[request.n_resource_spans++] = resource_make(self, service);
    size_t size = protobuf_c_message_get_packed_size(&request.base);
    uint8_t *packed = malloc(size);
    if (packed == NULL)
        give_up("no memory");
    protobuf_c_message_pack(&request.base, packed);
    return bytes_of(packed, size);
}

/* ---- Ingest
 * ------------------------------------------------------------------------------------------------------- */

/* Everything that the service keeps of spans, as its one writer does it. */
static size_t group_ingest(parts *all, const bytes *requests, size_t count, arena *memory, arena *answers) {
    uint64_t spans = model_totals_of(all->traffic)->spans;
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *message = NULL;
        arena_reset(memory);
        arena_reset(answers);
        must(
            wire_unpack(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
                        requests[i], memory, &message, &why));
        ingest_request request = {.kind = INGEST_TRACES, .message = message, .memory = answers};
        must(parts_take(all, &request, dice.wall_ns / 1000000, &why));
    }
    parts_settle(all, dice.wall_ns / 1000000);
    must(parts_save(all, dice.wall_ns / 1000000, &why));
    return (size_t)(model_totals_of(all->traffic)->spans - spans);
}

static void rate_print(const char *name, double rate, double wall_rate, size_t spans) {
    printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"1/s\",\"target\":100000,\"ok\":%s,"
           "\"wall_per_second\":%.0f,\"spans\":%zu}\n",
           name, rate, rate >= 100000 ? "true" : "false", wall_rate, spans);
    fflush(stdout);
}

static double ingest_all(const bytes *requests, size_t count, parts *all) {
    arena memory;
    arena answers;
    size_t spans = 0;
    arena_init(&memory, 4 << 20, 64 << 20);
    arena_init(&answers, 4096, 1 << 20);
    uint64_t wall_ns = now_ns();
    uint64_t cpu_ns = process_cpu_ns(getpid());
    for (size_t i = 0; i < count; i += GROUP_REQUESTS)
        spans += group_ingest(all, requests + i, count - i < GROUP_REQUESTS ? count - i : GROUP_REQUESTS,
                              &memory, &answers);
    cpu_ns = process_cpu_ns(getpid()) - cpu_ns;
    wall_ns = now_ns() - wall_ns;
    arena_free(&memory);
    arena_free(&answers);
    double rate = (double)spans * 1e9 / (double)cpu_ns;
    rate_print("graph.ingest_spans_per_second_core", rate, (double)spans * 1e9 / (double)wall_ns, spans);
    return rate;
}

/* The traffic model alone, without the store, signals and evidence: what the rest costs shows beside it. */
static void ingest_bare(const bytes *requests, size_t count, double rate_of_all) {
    static observation observations[BATCH_TRACES * TRACE_SPANS];
    arena memory;
    model *graph = NULL;
    size_t spans = 0;
    arena_init(&memory, 4 << 20, 64 << 20);
    must(model_create(&graph, &dice.chance, &why));
    uint64_t cpu_ns = process_cpu_ns(getpid());
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *message = NULL;
        arena_reset(&memory);
        must(
            wire_unpack(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
                        requests[i], &memory, &message, &why));
        size_t read =
            spans_read((const trace_export *)message, graph, dice.wall_ns / 1000000, observations).accepted;
        for (size_t j = 0; j < read; j++)
            model_apply(graph, &observations[j], dice.wall_ns / 1000000);
        model_mark_stored(graph);
        spans += read;
    }
    cpu_ns = process_cpu_ns(getpid()) - cpu_ns;
    double rate = (double)spans * 1e9 / (double)cpu_ns;
    printf("{\"name\":\"graph.ingest_upkeep_share\",\"value\":%.3f,\"unit\":\"share of CPU\",\"target\":null,"
           "\"ok\":null,\"model_alone_per_second\":%.0f}\n",
           1 - rate_of_all / rate, rate);
    fflush(stdout);
    model_free(graph);
    arena_free(&memory);
}

/* ---- Predictions
 * -------------------------------------------------------------------------------------------------- */

static int number_compare(const void *left, const void *right) {
    const uint64_t *a = left;
    const uint64_t *b = right;
    return *a < *b ? -1 : *a > *b;
}

static void predict_all(const model *graph) {
    static uint64_t took_ns[PREDICTIONS];
    snapshot *current = NULL;
    impact_scratch scratch = {0};
    arena memory;
    arena_init(&memory, 1 << 20, 16 << 20);
    uint64_t start_ns = now_ns();
    must(snapshot_create(&current, graph, 1, 1767225600000, &why));
    uint64_t snapshot_ns = now_ns() - start_ns;
    unsigned made = 0;
    uint64_t last_ns = now_ns() + PREDICTING_NS;
    while (made < PREDICTIONS && (made == 0 || now_ns() < last_ns)) {
        uint32_t target = draw(current->node_count);
        impact_message *out = NULL;
        arena_reset(&memory);
        if (!current->nodes[target].visible)
            continue;
        /* CPU time: a neighbour's work is no cost of ours. */
        start_ns = process_cpu_ns(getpid());
        must(impact_of(current, &target, 1, &scratch, &memory, &out, &why));
        took_ns[made++] = process_cpu_ns(getpid()) - start_ns;
    }
    qsort(took_ns, made, sizeof took_ns[0], number_compare);
    double p99_us = (double)took_ns[made * 99 / 100] / 1000;
    printf(
        "{\"name\":\"graph.impact_us\",\"value\":%.1f,\"unit\":\"us\",\"target\":1000,\"ok\":%s,\"p50_us\":"
        "%.1f,"
        "\"nodes\":%u,\"edges\":%u,\"shapes\":%u,\"snapshot_us\":%.0f}\n",
        p99_us, p99_us <= 1000 ? "true" : "false", (double)took_ns[made / 2] / 1000, current->node_count,
        current->edge_count, current->shape_count, (double)snapshot_ns / 1000);
    arena_free(&memory);
    impact_scratch_free(&scratch);
    snapshot_release(current);
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    size_t count = quick ? 64 : 512;
    bytes *requests = calloc(count, sizeof *requests);
    batch *drawing = calloc(1, sizeof *drawing);
    char folder[] = "/tmp/graph-bench-XXXXXX";
    char path[64];
    parts all = {0};
    if (requests == NULL || drawing == NULL || mkdtemp(folder) == NULL)
        give_up("no memory or no folder");
    snprintf(path, sizeof path, "%s/graph.db", folder);
    simulated_chance_init(&dice, 1);
    dice.wall_ns = 1767225600000000000;
    arena_init(&drawing->memory, 4 << 20, 64 << 20);
    production_draw();
    for (size_t i = 0; i < count; i++) {
        requests[i] = request_draw(drawing);
        simulated_chance_advance(&dice, REQUEST_APART_NS);
    }
    must(parts_open(&all, path, &dice.chance, &why));
    double rate = ingest_all(requests, count, &all);
    predict_all(all.traffic);
    parts_close(&all);
    ingest_bare(requests, count, rate);
    unlink(path);
    rmdir(folder);
    for (size_t i = 0; i < count; i++)
        free((void *)requests[i].data);
    free(requests);
    arena_free(&drawing->memory);
    free(drawing);
    return 0;
}
