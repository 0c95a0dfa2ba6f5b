/* Streams of appends: jobs for the writer, and results back. */
#include "append_stream.h"

#include <stdatomic.h>
#include <stdlib.h>

#define UNAVAILABLE_RETRY_MS 100U
#define BATCH_BYTES (1U << 20) /* of results in a message, which may carry a conflict's whole record each */

typedef Interlock__Audit__V1__NumberedResult numbered_result;
typedef Interlock__Audit__V1__AppendResponse append_response;

struct append_stream {
    rpc_stream *stream; /* with a reference */
    append_streams *all;
    writer *to;
    atomic_size_t references; /* the stream's own and one a job */
    atomic_size_t under_way;  /* jobs without an answer */
    atomic_bool paused, half_closed;

    /* The writer's thread alone: results that wait for the end of the group. */
    append_stream *next_touched;
    bool touched;
    size_t result_count, result_bytes;
    numbered_result results[APPEND_STREAM_BATCH_MAX];
    numbered_result *pointers[APPEND_STREAM_BATCH_MAX];
    append_response unwritten[APPEND_STREAM_BATCH_MAX]; /* where a result says that nothing was written */
    Interlock__Audit__V1__Refusal refusals[APPEND_STREAM_BATCH_MAX];
    size_t answered; /* in this group */
};

typedef struct stream_job {
    append_job base;
    append_stream *owner; /* with a reference */
    uint64_t number;
} stream_job;

static void stream_unref(append_stream *self) {
    if (atomic_fetch_sub(&self->references, 1) != 1)
        return;
    rpc_stream_unref(self->stream);
    free(self);
}

status_code append_stream_open(rpc_stream *stream, append_streams *all, writer *to, failure *why) {
    append_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a stream; try again later");
    self->stream = stream;
    self->all = all;
    self->to = to;
    atomic_init(&self->references, 1);
    for (size_t i = 0; i < APPEND_STREAM_BATCH_MAX; i++)
        self->pointers[i] = &self->results[i];
    rpc_stream_ref(stream);
    rpc_stream_set_user(stream, self);
    return STATUS_OK;
}

void append_stream_closed(rpc_stream *stream) {
    stream_unref(rpc_stream_user(stream));
}

/* ---- Results ---- */

static void send_results(append_stream *self) {
    if (self->result_count == 0)
        return;
    Interlock__Audit__V1__AppendStreamResponse message = INTERLOCK__AUDIT__V1__APPEND_STREAM_RESPONSE__INIT;
    message.n_results = self->result_count;
    message.results = self->pointers;
    status_code status = rpc_stream_send(self->stream, &message.base);
    self->result_count = self->result_bytes = 0;
    if (status == STATUS_OK || status == STATUS_CANCELLED)
        return;
    failure why;
    status =
        fail(&why, STATUS_RESOURCE_EXHAUSTED, "RESULTS_NOT_READ",
             "too many results wait for this client to read them; connect again and send what has no answer "
             "once more");
    rpc_stream_finish(self->stream, status, &why);
}

static void make_room(append_stream *self, size_t size) {
    if (self->result_count == APPEND_STREAM_BATCH_MAX || self->result_bytes + size > BATCH_BYTES)
        send_results(self);
}

static void add_result(append_stream *self, uint64_t number, append_response *response, size_t size) {
    numbered_result *result = &self->results[self->result_count++];
    interlock__audit__v1__numbered_result__init(result);
    result->number = number;
    result->result = response;
    self->result_bytes += size;
}

/* A stream has no status for one append: what is known not to have been written is said so. */
static append_response *unavailable(const failure *why, append_response *response,
                                    Interlock__Audit__V1__Refusal *refusal) {
    interlock__audit__v1__append_response__init(response);
    interlock__audit__v1__refusal__init(refusal);
    refusal->reason = INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_UNAVAILABLE;
    refusal->message = (char *)(uintptr_t)why->message;
    refusal->retry_after_ms = why->retry_after_ms != 0 ? why->retry_after_ms : UNAVAILABLE_RETRY_MS;
    response->result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL;
    response->refusal = refusal;
    return response;
}

/* `why` is valid until the group's end, as the writer promises. */
static void add_unavailable(append_stream *self, uint64_t number, const failure *why) {
    make_room(self, sizeof why->message);
    append_response *response = &self->unwritten[self->result_count];
    add_result(self, number, unavailable(why, response, &self->refusals[self->result_count]),
               sizeof why->message);
}

static void add_answer(append_stream *self, uint64_t number, append_response *response) {
    size_t size = 16 + interlock__audit__v1__append_response__get_packed_size(response);
    make_room(self, size);
    add_result(self, number, response, size);
}

static void touch(append_stream *self) {
    if (self->touched)
        return;
    self->touched = true;
    self->next_touched = self->all->touched;
    self->all->touched = self;
    atomic_fetch_add(&self->references, 1); /* the list's */
}

static void job_done(append_job *base, status_code code, append_response *response, const failure *why) {
    stream_job *job = (stream_job *)base;
    append_stream *self = job->owner;
    touch(self);
    self->answered++;
    if (code == STATUS_OK)
        add_answer(self, job->number, response);
    else if (code == STATUS_UNAVAILABLE)
        add_unavailable(self, job->number, why);
    else
        rpc_stream_finish(self->stream, code, why); /* it may be in the log: to be sent again unchanged */
    append_free(base->item);
    free(job);
    stream_unref(self);
}

static void finish_if_done(append_stream *self) {
    if (atomic_load(&self->half_closed) && atomic_load(&self->under_way) == 0)
        rpc_stream_finish(self->stream, STATUS_OK, NULL);
}

static void resume_if_room(append_stream *self) {
    if (atomic_load(&self->under_way) <= APPEND_STREAM_UNDER_WAY_MAX / 2 &&
        atomic_exchange(&self->paused, false))
        rpc_stream_resume(self->stream);
}

void append_streams_flush(void *context) {
    append_streams *all = context;
    append_stream *self = all->touched;
    all->touched = NULL;
    while (self != NULL) {
        append_stream *next = self->next_touched;
        send_results(self);
        self->touched = false;
        atomic_fetch_sub(&self->under_way, self->answered);
        self->answered = 0;
        resume_if_room(self);
        finish_if_done(self);
        stream_unref(self);
        self = next;
    }
}

void append_stream_half_closed(rpc_stream *stream) {
    append_stream *self = rpc_stream_user(stream);
    atomic_store(&self->half_closed, true);
    finish_if_done(self);
}

/* ---- Requests ---- */

/* Sent from the loop's thread, beside the writer's: in a message of its own. */
static void refuse_at_once(rpc_stream *stream, uint64_t number, Interlock__Audit__V1__Refusal__Reason reason,
                           const failure *why) {
    append_response response;
    Interlock__Audit__V1__Refusal refusal;
    numbered_result result = INTERLOCK__AUDIT__V1__NUMBERED_RESULT__INIT, *results[] = {&result};
    Interlock__Audit__V1__AppendStreamResponse message = INTERLOCK__AUDIT__V1__APPEND_STREAM_RESPONSE__INIT;
    result.number = number;
    result.result = unavailable(why, &response, &refusal);
    refusal.reason = reason;
    refusal.retry_after_ms = why->retry_after_ms;
    message.n_results = 1;
    message.results = results;
    failure ignored;
    if (rpc_stream_send(stream, &message.base) == STATUS_RESOURCE_EXHAUSTED)
        rpc_stream_finish(stream,
                          fail(&ignored, STATUS_RESOURCE_EXHAUSTED, "RESULTS_NOT_READ",
                               "too many results wait for this client to read them"),
                          &ignored);
}

static stream_job *job_new(append_stream *self, const Interlock__Audit__V1__NumberedAppend *numbered,
                           status_code *status, failure *why) {
    Interlock__Audit__V1__AppendRequest none = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    append *item = NULL;
    *status = append_prepare(numbered->append != NULL ? numbered->append : &none, &item, why);
    if (*status != STATUS_OK)
        return NULL;
    stream_job *job = malloc(sizeof *job);
    if (job == NULL) {
        append_free(item);
        *status = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an append; try again");
        return NULL;
    }
    *job = (stream_job){.base = {.item = item, .done = job_done}, .owner = self, .number = numbered->number};
    atomic_fetch_add(&self->references, 1);
    return job;
}

static void job_discard(stream_job *job) {
    append_free(job->base.item);
    stream_unref(job->owner);
    free(job);
}

static size_t make_jobs(append_stream *self, const Interlock__Audit__V1__AppendStreamRequest *batch,
                        append_job **jobs) {
    size_t count = 0;
    for (size_t i = 0; i < batch->n_appends; i++) {
        failure why = {0};
        status_code status = STATUS_OK;
        stream_job *job = job_new(self, batch->appends[i], &status, &why);
        if (job != NULL)
            jobs[count++] = &job->base;
        else
            refuse_at_once(self->stream, batch->appends[i]->number,
                           status == STATUS_INVALID_ARGUMENT
                               ? INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_INVALID
                               : INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_UNAVAILABLE,
                           &why);
    }
    return count;
}

static void refuse_all(append_stream *self, append_job *const *jobs, size_t count, const failure *why) {
    for (size_t i = 0; i < count; i++) {
        stream_job *job = (stream_job *)jobs[i];
        refuse_at_once(self->stream, job->number, INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_UNAVAILABLE,
                       why);
        job_discard(job);
    }
}

status_code append_stream_message(rpc_stream *stream, const Interlock__Audit__V1__AppendStreamRequest *batch,
                                  failure *why) {
    append_stream *self = rpc_stream_user(stream);
    append_job *jobs[APPEND_STREAM_BATCH_MAX];
    if (batch->n_appends > APPEND_STREAM_BATCH_MAX)
        return fail_field(why, "appends", "TOO_MANY_APPENDS", "a message has at most %u appends",
                          APPEND_STREAM_BATCH_MAX);
    size_t count = make_jobs(self, batch, jobs);
    failure full = {0};
    atomic_fetch_add(&self->under_way, count);
    if (writer_push(self->to, jobs, count, &full) != STATUS_OK) {
        refuse_all(self, jobs, count, &full);
        atomic_fetch_sub(&self->under_way, count);
    }
    if (atomic_load(&self->under_way) <= APPEND_STREAM_UNDER_WAY_MAX)
        return STATUS_OK;
    /* The writer may have answered everything between the look and the pause; then it will not resume. */
    atomic_store(&self->paused, true);
    if (atomic_load(&self->under_way) <= APPEND_STREAM_UNDER_WAY_MAX / 2 &&
        atomic_exchange(&self->paused, false))
        return STATUS_OK;
    return STATUS_PENDING;
}
