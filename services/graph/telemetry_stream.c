/* Many exports over one call. A message is unpacked on the stream's loop and handed to the ingest thread,
 * which answers in the order of the stream; an answer goes out for every sixteen messages, or when nothing
 * more waits. Whatever cannot be taken ends the stream: what has no answer is to be sent again. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "telemetry_rpc.h"
#include "wire/scan.h"

typedef Interlock__Graph__V1__StreamRequest stream_request;
typedef Interlock__Graph__V1__StreamResponse stream_response;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse trace_response;
typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceResponse metrics_response;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceResponse logs_response;

#define ARENA_FIRST_BYTES 65536U

typedef struct telemetry_stream {
    rpc_stream *stream; /* with a reference */
    ingest *to;
    atomic_size_t references; /* the stream's own and one a job */
    atomic_size_t under_way;
    atomic_bool paused, half_closed, broken;
    uint64_t last_sequence; /* the loop's own */
    /* The ingest thread's own. */
    uint64_t durable;
    size_t unanswered;
    uint64_t rejected;
    char message[512];
} telemetry_stream;

typedef union export_response {
    ProtobufCMessage base;
    trace_response traces;
    metrics_response metrics;
    logs_response logs;
} export_response;

typedef struct stream_job {
    telemetry_stream *owner; /* with a reference */
    uint64_t sequence;
    ingest_kind kind;
    arena memory;
    ProtobufCMessage *message;
    export_response response;
} stream_job;

static void stream_unref(telemetry_stream *self) {
    if (atomic_fetch_sub(&self->references, 1) != 1)
        return;
    rpc_stream_unref(self->stream);
    free(self);
}

status_code telemetry_stream_open(rpc_stream *stream, ingest *to, failure *why) {
    telemetry_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for a stream; try again later");
    self->stream = stream;
    self->to = to;
    atomic_init(&self->references, 1);
    rpc_stream_ref(stream);
    rpc_stream_set_user(stream, self);
    return STATUS_OK;
}

void telemetry_stream_closed(rpc_stream *stream) {
    stream_unref(rpc_stream_user(stream));
}

/* ---- Answers: the ingest thread
 * ------------------------------------------------------------------------------------- */

static void answer_send(telemetry_stream *self) {
    stream_response message = INTERLOCK__GRAPH__V1__STREAM_RESPONSE__INIT;
    message.durable_sequence = self->durable;
    message.rejected_items = self->rejected;
    message.error_message = self->message;
    status_code status = rpc_stream_send(self->stream, &message.base);
    self->unanswered = 0;
    self->rejected = 0;
    self->message[0] = '\0';
    if (status == STATUS_OK || status == STATUS_CANCELLED)
        return;
    failure why;
    atomic_store(&self->broken, true);
    status =
        fail(&why, STATUS_RESOURCE_EXHAUSTED, "ANSWERS_NOT_READ",
             "too many answers wait for this client to read them; connect again and send what has no answer");
    rpc_stream_finish(self->stream, status, &why);
}

/* What was refused of a request, from the response that its own method would have given. */
static uint64_t job_rejected(const stream_job *job, const char **text) {
    switch (job->kind) {
    case INGEST_TRACES:
        if (job->response.traces.partial_success == NULL)
            return 0;
        *text = job->response.traces.partial_success->error_message;
        return (uint64_t)job->response.traces.partial_success->rejected_spans;
    case INGEST_METRICS:
        if (job->response.metrics.partial_success == NULL)
            return 0;
        *text = job->response.metrics.partial_success->error_message;
        return (uint64_t)job->response.metrics.partial_success->rejected_data_points;
    default:
        if (job->response.logs.partial_success == NULL)
            return 0;
        *text = job->response.logs.partial_success->error_message;
        return (uint64_t)job->response.logs.partial_success->rejected_log_records;
    }
}

static void job_free(stream_job *job) {
    arena_free(&job->memory);
    free(job);
}

static void job_count(telemetry_stream *self, const stream_job *job) {
    const char *text = "";
    self->durable = job->sequence;
    self->unanswered++;
    self->rejected += job_rejected(job, &text);
    if (text[0] != '\0')
        snprintf(self->message, sizeof self->message, "%s", text);
}

static void stream_go_on(telemetry_stream *self, size_t under_way) {
    if (under_way <= TELEMETRY_STREAM_UNDER_WAY / 2 && atomic_exchange(&self->paused, false))
        rpc_stream_resume(self->stream);
    if (under_way == 0 && atomic_load(&self->half_closed))
        rpc_stream_finish(self->stream, STATUS_OK, NULL);
}

static void job_done(void *context, status_code code, const failure *why) {
    stream_job *job = context;
    telemetry_stream *self = job->owner;
    bool broken = atomic_load(&self->broken);
    if (code == STATUS_OK && !broken) {
        job_count(self, job);
    } else if (!broken) {
        if (self->unanswered > 0)
            answer_send(self);
        atomic_store(&self->broken, true);
        rpc_stream_finish(self->stream, code, why);
    }
    size_t under_way = atomic_fetch_sub(&self->under_way, 1) - 1;
    if (self->unanswered >= TELEMETRY_ACK_EVERY || (under_way == 0 && self->unanswered > 0))
        answer_send(self);
    stream_go_on(self, under_way);
    job_free(job);
    stream_unref(self);
}

/* ---- Messages: the stream's loop
 * ------------------------------------------------------------------------------------ */

static const ProtobufCMessageDescriptor *payload_read(const stream_request *message, stream_job *job,
                                                      bytes *out) {
    ProtobufCBinaryData payload = message->traces;
    switch (message->payload_case) {
    case INTERLOCK__GRAPH__V1__STREAM_REQUEST__PAYLOAD_TRACES:
        job->kind = INGEST_TRACES;
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__init(
            &job->response.traces);
        *out = bytes_of(payload.data, payload.len);
        return &opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor;
    case INTERLOCK__GRAPH__V1__STREAM_REQUEST__PAYLOAD_METRICS:
        job->kind = INGEST_METRICS;
        opentelemetry__proto__collector__metrics__v1__export_metrics_service_response__init(
            &job->response.metrics);
        *out = bytes_of(message->metrics.data, message->metrics.len);
        return &opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor;
    case INTERLOCK__GRAPH__V1__STREAM_REQUEST__PAYLOAD_LOGS:
        job->kind = INGEST_LOGS;
        opentelemetry__proto__collector__logs__v1__export_logs_service_response__init(&job->response.logs);
        *out = bytes_of(message->logs.data, message->logs.len);
        return &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor;
    default:
        return NULL;
    }
}

static status_code job_make(telemetry_stream *self, const stream_request *message, stream_job **out,
                            failure *why) {
    stream_job *job = calloc(1, sizeof *job);
    bytes wire;
    if (job == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for a request; try again later");
    const ProtobufCMessageDescriptor *type = payload_read(message, job, &wire);
    status_code status = STATUS_OK;
    if (type == NULL) {
        status =
            fail_field(why, "payload", "NO_PAYLOAD", "message %llu carries neither traces, metrics nor logs",
                       (unsigned long long)message->sequence);
    } else {
        arena_init(&job->memory, ARENA_FIRST_BYTES,
                   wire_limits_for(wire.size).arena_bytes + ARENA_FIRST_BYTES);
        status = wire_unpack(type, wire, &job->memory, &job->message, why);
    }
    if (status != STATUS_OK) {
        job_free(job);
        return status;
    }
    job->owner = self;
    job->sequence = message->sequence;
    *out = job;
    return STATUS_OK;
}

static status_code job_submit(telemetry_stream *self, stream_job *job, failure *why) {
    ingest_request request = {.kind = job->kind,
                              .message = job->message,
                              .response = &job->response.base,
                              .memory = &job->memory,
                              .done = job_done,
                              .context = job};
    atomic_fetch_add(&self->references, 1);
    atomic_fetch_add(&self->under_way, 1);
    status_code status = ingest_submit(self->to, &request, why);
    if (status == STATUS_OK)
        return STATUS_OK;
    atomic_fetch_sub(&self->under_way, 1);
    job_free(job);
    stream_unref(self);
    return status;
}

status_code telemetry_stream_message(rpc_stream *stream, const ProtobufCMessage *message, failure *why) {
    telemetry_stream *self = rpc_stream_user(stream);
    const stream_request *request = (const stream_request *)message;
    stream_job *job = NULL;
    if (request->sequence <= self->last_sequence)
        return fail_field(why, "sequence", "NOT_RISING", "sequence %llu does not follow %llu",
                          (unsigned long long)request->sequence, (unsigned long long)self->last_sequence);
    self->last_sequence = request->sequence;
    status_code status = job_make(self, request, &job, why);
    if (status == STATUS_OK)
        status = job_submit(self, job, why);
    if (status != STATUS_OK || atomic_load(&self->under_way) < TELEMETRY_STREAM_UNDER_WAY)
        return status;
    atomic_store(&self->paused, true);
    /* They may all have been answered meanwhile, and then nobody else goes on. */
    if (atomic_load(&self->under_way) <= TELEMETRY_STREAM_UNDER_WAY / 2 &&
        atomic_exchange(&self->paused, false))
        return STATUS_OK;
    return STATUS_PENDING;
}

void telemetry_stream_half_closed(rpc_stream *stream) {
    telemetry_stream *self = rpc_stream_user(stream);
    atomic_store(&self->half_closed, true);
    if (atomic_load(&self->under_way) == 0)
        rpc_stream_finish(self->stream, STATUS_OK, NULL);
}
