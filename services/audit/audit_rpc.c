/* The method table of audit and its handlers: each hands its work to a thread that may block. */
#include "audit_rpc.h"

#include <stdlib.h>

#include "audit.h"
#include "queries.h"
#include "verify.h"

/* ---- Append ---- */

typedef struct unary_append {
    append_job base;
    rpc_call *call;
} unary_append;

static void unary_append_done(append_job *base, status_code code,
                              Interlock__Audit__V1__AppendResponse *response, const failure *why) {
    unary_append *job = (unary_append *)base;
    Interlock__Audit__V1__AppendResponse *out =
        (Interlock__Audit__V1__AppendResponse *)rpc_call_response(job->call);
    if (code == STATUS_OK) {
        out->result_case = response->result_case;
        out->receipt = response->receipt; /* one of the union's pointers, whichever it is */
    }
    rpc_call_complete(job->call, code, why);
    append_free(base->item);
    free(job);
}

/* A request that is not valid is a result like others: the caller reads it where it reads a conflict. */
static status_code refuse_invalid(rpc_call *call, const failure *cause, ProtobufCMessage *response,
                                  failure *why) {
    Interlock__Audit__V1__AppendResponse *out = (Interlock__Audit__V1__AppendResponse *)response;
    Interlock__Audit__V1__Refusal *refusal = arena_alloc(rpc_call_arena(call), sizeof *refusal);
    if (refusal == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an answer; try again");
    interlock__audit__v1__refusal__init(refusal);
    refusal->reason = INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_INVALID;
    refusal->message = arena_format(rpc_call_arena(call), "%s: %s", cause->field, cause->message);
    if (refusal->message == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an answer; try again");
    out->result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL;
    out->refusal = refusal;
    return STATUS_OK;
}

static status_code append_one(void *service, rpc_call *call, const ProtobufCMessage *request,
                              ProtobufCMessage *response, failure *why) {
    audit_service *self = service;
    append *item = NULL;
    failure cause = {0};
    status_code status = append_prepare((const Interlock__Audit__V1__AppendRequest *)request, &item, &cause);
    if (status == STATUS_INVALID_ARGUMENT)
        return refuse_invalid(call, &cause, response, why);
    unary_append *job = status == STATUS_OK ? malloc(sizeof *job) : NULL;
    if (job == NULL) {
        append_free(item);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an append; try again");
    }
    *job = (unary_append){.base = {.item = item, .memory = rpc_call_arena(call), .done = unary_append_done},
                          .call = call};
    append_job *base = &job->base;
    if ((status = writer_push(self->appends, &base, 1, why)) != STATUS_OK) {
        append_free(item);
        free(job);
        return status;
    }
    return STATUS_PENDING;
}

static status_code stream_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                 failure *why) {
    audit_service *self = service;
    (void)request;
    return append_stream_open(stream, &self->streams, self->appends, why);
}

static status_code stream_message(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                  arena *memory, failure *why) {
    (void)service;
    (void)memory;
    return append_stream_message(stream, (const Interlock__Audit__V1__AppendStreamRequest *)message, why);
}

static void stream_half_closed(void *service, rpc_stream *stream) {
    (void)service;
    append_stream_half_closed(stream);
}

static void stream_closed(void *service, rpc_stream *stream) {
    (void)service;
    append_stream_closed(stream);
}

static const rpc_stream_handlers append_handlers = {.open = stream_opened,
                                                    .message = stream_message,
                                                    .half_closed = stream_half_closed,
                                                    .closed = stream_closed};

/* ---- Tail ---- */

static status_code tail_opened(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                               failure *why) {
    audit_service *self = service;
    follower *one = NULL;
    status_code status =
        tails_add(self->followers, stream, (const Interlock__Audit__V1__TailRequest *)request, &one, why);
    if (status == STATUS_OK)
        rpc_stream_set_user(stream, one);
    return status;
}

static void tail_closed(void *service, rpc_stream *stream) {
    (void)service;
    follower_end(rpc_stream_user(stream));
}

static const rpc_stream_handlers tail_handlers = {.open = tail_opened, .closed = tail_closed};

/* ---- Reads ---- */

typedef status_code (*read_function)(audit_service *service, rpc_call *call, audit_store *from, failure *why);

typedef struct call_read {
    read_job base;
    audit_service *service;
    rpc_call *call;
    read_function read;
} call_read;

static void call_read_run(read_job *base, audit_store *from) {
    call_read *job = (call_read *)base;
    failure why = {0};
    status_code status =
        from == NULL
            ? fail(&why, STATUS_UNAVAILABLE, "STOPPING", "audit is stopping; ask again when it is back")
        : rpc_call_cancelled(job->call) ? fail(&why, STATUS_CANCELLED, "CANCELLED", "the caller went away")
                                        : job->read(job->service, job->call, from, &why);
    rpc_call_complete(job->call, status, &why);
    free(job);
}

static status_code read_later(audit_service *service, reader *by, rpc_call *call, read_function read,
                              failure *why) {
    call_read *job = malloc(sizeof *job);
    if (job == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a request; try again later");
    *job = (call_read){.base = {.run = call_read_run}, .service = service, .call = call, .read = read};
    status_code status = reader_push(by, &job->base, why);
    if (status != STATUS_OK) {
        free(job);
        return status;
    }
    return STATUS_PENDING;
}

static status_code read_proof(audit_service *service, rpc_call *call, audit_store *from, failure *why) {
    (void)service;
    return log_prove(from, (const Interlock__Audit__V1__GetProofRequest *)rpc_call_request(call),
                     rpc_call_arena(call), (Interlock__Audit__V1__GetProofResponse *)rpc_call_response(call),
                     why);
}

static status_code read_query(audit_service *service, rpc_call *call, audit_store *from, failure *why) {
    (void)service;
    return log_query(from, (const Interlock__Audit__V1__QueryRequest *)rpc_call_request(call),
                     rpc_call_arena(call), (Interlock__Audit__V1__QueryResponse *)rpc_call_response(call),
                     why);
}

typedef struct verify_watch {
    audit_service *service;
    rpc_call *call;
} verify_watch;

static bool verify_wanted(void *context) {
    const verify_watch *watch = context;
    return reader_wanted(watch->service->checks) && !rpc_call_cancelled(watch->call);
}

static status_code read_verify(audit_service *service, rpc_call *call, audit_store *from, failure *why) {
    verify_watch watch = {.service = service, .call = call};
    verify_options options = {.roots = service->roots,
                              .published = audit_log_published(service->log),
                              .wanted = verify_wanted,
                              .context = &watch};
    return log_verify(from, &options, rpc_call_arena(call),
                      (Interlock__Audit__V1__VerifyResponse *)rpc_call_response(call), why);
}

static status_code get_proof(void *service, rpc_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    return read_later(service, ((audit_service *)service)->reads, call, read_proof, why);
}

static status_code query(void *service, rpc_call *call, const ProtobufCMessage *request,
                         ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    return read_later(service, ((audit_service *)service)->reads, call, read_query, why);
}

static status_code verify(void *service, rpc_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    return read_later(service, ((audit_service *)service)->checks, call, read_verify, why);
}

/* ---- The table ---- */

#define METHOD(name) "/interlock.audit.v1.AuditService/" name

const rpc_method audit_methods[] = {
    RPC_UNARY(METHOD("Append"), interlock__audit__v1__append_request__descriptor,
              interlock__audit__v1__append_response__descriptor, ROLE_SERVICE, append_one),
    RPC_BIDI(METHOD("AppendStream"), interlock__audit__v1__append_stream_request__descriptor,
             interlock__audit__v1__append_stream_response__descriptor, ROLE_SERVICE, &append_handlers),
    RPC_UNARY(METHOD("GetProof"), interlock__audit__v1__get_proof_request__descriptor,
              interlock__audit__v1__get_proof_response__descriptor,
              ROLE_AUDITOR | ROLE_OPERATOR | ROLE_SERVICE, get_proof),
    RPC_UNARY(METHOD("Query"), interlock__audit__v1__query_request__descriptor,
              interlock__audit__v1__query_response__descriptor, ROLE_AUDITOR | ROLE_OPERATOR, query),
    RPC_SERVER_STREAM(METHOD("Tail"), interlock__audit__v1__tail_request__descriptor,
                      interlock__audit__v1__tail_response__descriptor,
                      ROLE_SERVICE | ROLE_AUDITOR | ROLE_OPERATOR, &tail_handlers),
    RPC_UNARY(METHOD("Verify"), interlock__audit__v1__verify_request__descriptor,
              interlock__audit__v1__verify_response__descriptor, ROLE_AUDITOR | ROLE_OPERATOR, verify),
};
const size_t audit_method_count = sizeof audit_methods / sizeof *audit_methods;
