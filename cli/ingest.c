/* OTLP/JSON lines to the graph service, many lines a call. */
#include "ingest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "client/graph_client.h"
#include "wire/json.h"

#define BATCH_BYTES (256U << 10)
#define LINE_BYTES (16U << 20)
#define BATCH_RESOURCES 4096U
#define BATCH_MEMORY_BYTES (256U << 20)
#define SEND_TIMEOUT_MS 30000U
#define PROGRESS_AFTER_MS 1000U
#define PROGRESS_EVERY_MS 200U

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest export_request;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse export_response;
typedef Opentelemetry__Proto__Trace__V1__ResourceSpans resource_spans;

typedef struct ingest {
    cli *shell;
    const char *path;
    rpc_channel *graph;
    arena memory; /* of one batch */
    resource_spans *resources[BATCH_RESOURCES];
    size_t resource_count, batch_bytes;
    ingest_totals *totals;
    uint64_t done_bytes, whole_bytes; /* whole: 0 when not known */
    uint64_t started_ms, shown_ms;
    bool shows;
} ingest;

static void show_progress(ingest *self) {
    uint64_t now = chance_boot_ms(self->shell->source);
    if (!self->shows || now - self->started_ms < PROGRESS_AFTER_MS ||
        now - self->shown_ms < PROGRESS_EVERY_MS)
        return;
    self->shown_ms = now;
    if (self->whole_bytes > 0)
        fprintf(stderr, "\ringesting %3.0f %%  %llu spans ",
                100.0 * (double)self->done_bytes / (double)self->whole_bytes,
                (unsigned long long)self->totals->spans);
    else
        fprintf(stderr, "\ringesting  %llu spans ", (unsigned long long)self->totals->spans);
}

static status_code send_batch(ingest *self, failure *why) {
    export_request request = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_REQUEST__INIT;
    export_response *answer = NULL;
    if (self->resource_count == 0)
        return STATUS_OK;
    request.resource_spans = self->resources;
    request.n_resource_spans = self->resource_count;
    status_code code = graph_export_wait(self->graph, &request, SEND_TIMEOUT_MS, &self->memory, &answer, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "after %llu lines", (unsigned long long)self->totals->lines);
    if (answer->partial_success != NULL) {
        self->totals->rejected += (uint64_t)answer->partial_success->rejected_spans;
        if (answer->partial_success->error_message[0] != '\0')
            snprintf(self->totals->message, sizeof self->totals->message, "%s",
                     answer->partial_success->error_message);
    }
    self->resource_count = 0;
    self->batch_bytes = 0;
    arena_reset(&self->memory);
    show_progress(self);
    return STATUS_OK;
}

static uint64_t spans_of(const resource_spans *resource) {
    uint64_t count = 0;
    for (size_t i = 0; i < resource->n_scope_spans; i++)
        count += resource->scope_spans[i]->n_spans;
    return count;
}

static status_code take_line(ingest *self, bytes line, failure *why) {
    ProtobufCMessage *message = NULL;
    if (self->batch_bytes + line.size > BATCH_BYTES || self->resource_count == BATCH_RESOURCES) {
        status_code sent = send_batch(self, why);
        if (sent != STATUS_OK)
            return sent;
    }
    self->totals->lines++;
    status_code code =
        wire_from_json(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
                       line, WIRE_JSON_OTLP, &self->memory, &message, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "%.200s:%llu", self->path, (unsigned long long)self->totals->lines);
    const export_request *request = (export_request *)message;
    for (size_t i = 0; i < request->n_resource_spans; i++) {
        if (self->resource_count == BATCH_RESOURCES)
            return fail(why, STATUS_INVALID_ARGUMENT, "LINE_TOO_LARGE", "%.200s:%llu: more than %u resources",
                        self->path, (unsigned long long)self->totals->lines, BATCH_RESOURCES);
        self->resources[self->resource_count++] = request->resource_spans[i];
        self->totals->spans += spans_of(request->resource_spans[i]);
    }
    self->batch_bytes += line.size;
    return STATUS_OK;
}

static bool is_blank(const char *line, size_t size) {
    return strspn(line, " \t\r\n") >= size;
}

static status_code take_all(ingest *self, FILE *file, failure *why) {
    char *line = NULL;
    size_t room = 0;
    status_code code = STATUS_OK;
    for (ssize_t size = getline(&line, &room, file); size > 0 && code == STATUS_OK;
         size = getline(&line, &room, file)) {
        self->done_bytes += (uint64_t)size;
        if ((size_t)size > LINE_BYTES)
            code = fail(why, STATUS_INVALID_ARGUMENT, "LINE_TOO_LARGE", "%.200s:%llu: longer than %u bytes",
                        self->path, (unsigned long long)self->totals->lines + 1, LINE_BYTES);
        else if (!is_blank(line, (size_t)size))
            code = take_line(self, bytes_of(line, (size_t)size), why);
    }
    if (code == STATUS_OK && ferror(file) != 0)
        code = fail(why, STATUS_UNAVAILABLE, "FILE_UNREADABLE", "cannot read %.200s: %s", self->path,
                    strerror(errno));
    free(line);
    return code == STATUS_OK ? send_batch(self, why) : code;
}

static status_code run(ingest *self, failure *why) {
    bool standard = strcmp(self->path, "-") == 0;
    struct stat facts;
    status_code code = cli_channel(self->shell, "graph", ROLE_TELEMETRY, &self->graph, why);
    if (code != STATUS_OK)
        return code;
    FILE *file = standard ? stdin : fopen(self->path, "re");
    if (file == NULL)
        return fail(why, STATUS_NOT_FOUND, "FILE_UNREADABLE", "cannot open %.300s: %s", self->path,
                    strerror(errno));
    if (fstat(fileno(file), &facts) == 0 && S_ISREG(facts.st_mode))
        self->whole_bytes = (uint64_t)facts.st_size;
    self->shows = isatty(STDERR_FILENO) == 1;
    self->started_ms = chance_boot_ms(self->shell->source);
    code = take_all(self, file, why);
    if (self->shown_ms != 0)
        fputs("\r\033[K", stderr);
    if (!standard)
        fclose(file);
    return code;
}

status_code ingest_file(cli *self, const char *path, ingest_totals *totals, failure *why) {
    ingest *work = calloc(1, sizeof *work);
    if (work == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    work->shell = self;
    work->path = path;
    work->totals = totals;
    arena_init(&work->memory, 1U << 20, BATCH_MEMORY_BYTES);
    status_code code = run(work, why);
    rpc_channel_close(work->graph);
    arena_free(&work->memory);
    free(work);
    return code;
}
