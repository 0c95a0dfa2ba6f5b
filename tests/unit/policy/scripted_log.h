/* A log, a graph and a signer on one socket, which answer as they are told. The real ones are in the system
 * tests; these give the answers that the real ones give too rarely: a fence, a used-up counter, a full disk,
 * a new epoch. */
#ifndef TEST_POLICY_SCRIPTED_LOG_H
#define TEST_POLICY_SCRIPTED_LOG_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/graph/v1/graph.pb-c.h"
#include "interlock/signer/v1/signer.pb-c.h"
#include "rpc/server.h"

#define LOG_ENTRIES_MAX 64U
#define LOG_TAILS_MAX 8U
#define LOG_KIND(word) INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_##word
#define LOG_REASON(word) INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_##word

typedef struct scripted_log {
    pthread_mutex_t lock; /* over everything here */
    Interlock__Audit__V1__Entry *entries[LOG_ENTRIES_MAX];
    size_t size;
    uint64_t epoch;
    Interlock__Audit__V1__Refusal__Reason refuse_next; /* of the next streamed append; UNSPECIFIED: none */
    bool signer_refuses;
    char traceparent[64]; /* of the latest question to the graph */
    rpc_stream *tails[LOG_TAILS_MAX];
    rpc_server *server;
} scripted_log;

static inline Interlock__Audit__V1__Leaf *log_leaf(const Interlock__Audit__V1__Entry *entry) {
    return interlock__audit__v1__leaf__unpack(NULL, entry->leaf.len, entry->leaf.data);
}

/* The index of the action's latest record; 0 when it has none. */
static inline uint64_t log_latest(const scripted_log *self, const char *action_id) {
    for (size_t i = self->size; i > 0; i--) {
        Interlock__Audit__V1__Leaf *leaf = log_leaf(self->entries[i - 1]);
        bool same = strcmp(leaf->action_id, action_id) == 0;
        interlock__audit__v1__leaf__free_unpacked(leaf, NULL);
        if (same)
            return i - 1;
    }
    return 0;
}

static inline void log_tell(scripted_log *self, rpc_stream *tail, size_t from) {
    Interlock__Audit__V1__TailResponse batch = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    batch.tree_size = self->size;
    batch.entries = self->entries + from;
    batch.n_entries = from < self->size ? self->size - from : 0;
    (void)(rpc_stream_send(tail, &batch.base) == STATUS_OK);
}

/* With the lock held. */
static inline size_t log_add(scripted_log *self, const Interlock__Audit__V1__AppendRequest *request) {
    static uint8_t salt[32] = {5};
    uint8_t packed_leaf[1024];
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.version = 1;
    leaf.kind = request->kind;
    leaf.recorded_at_ms = (int64_t)self->size + 1;
    leaf.action_id = request->action_id;
    leaf.previous_index = request->expect;
    leaf.verdict = request->verdict;
    leaf.control_seq = request->control_seq;
    leaf.permits = request->permits;
    leaf.epoch = self->epoch;
    Interlock__Audit__V1__Entry entry = INTERLOCK__AUDIT__V1__ENTRY__INIT;
    entry.index = self->size;
    entry.leaf = (ProtobufCBinaryData){interlock__audit__v1__leaf__pack(&leaf, packed_leaf), packed_leaf};
    entry.salt = (ProtobufCBinaryData){sizeof salt, salt};
    entry.record = request->record;
    size_t size = interlock__audit__v1__entry__get_packed_size(&entry);
    uint8_t *packed = malloc(size + 1);
    if (packed == NULL || self->size == LOG_ENTRIES_MAX)
        abort();
    (void)interlock__audit__v1__entry__pack(&entry, packed);
    self->entries[self->size++] = interlock__audit__v1__entry__unpack(NULL, size, packed);
    free(packed);
    for (size_t i = 0; i < LOG_TAILS_MAX; i++)
        if (self->tails[i] != NULL)
            log_tell(self, self->tails[i], self->size - 1);
    return self->size - 1;
}

typedef struct log_answer {
    Interlock__Audit__V1__AppendResponse response;
    Interlock__Audit__V1__Receipt receipt;
    Interlock__Audit__V1__Conflict conflict;
    Interlock__Audit__V1__Refusal refusal;
} log_answer;

static inline void log_receipt(const Interlock__Audit__V1__Entry *entry, Interlock__Audit__V1__Receipt *out) {
    static char checkpoint[] = "a checkpoint";
    interlock__audit__v1__receipt__init(out);
    out->index = entry->index;
    out->leaf = entry->leaf;
    out->salt = entry->salt;
    out->checkpoint = checkpoint;
}

/* With the lock held, which covers the answer too. */
static inline void log_append(scripted_log *self, const Interlock__Audit__V1__AppendRequest *request,
                              log_answer *out) {
    static char key[] = "rate/agent/deployer", message[] = "as the test says";
    interlock__audit__v1__append_response__init(&out->response);
    interlock__audit__v1__conflict__init(&out->conflict);
    interlock__audit__v1__refusal__init(&out->refusal);
    uint64_t latest = request->action_id[0] == '\0' ? request->expect : log_latest(self, request->action_id);
    if (self->refuse_next != LOG_REASON(UNSPECIFIED)) {
        out->refusal.reason = self->refuse_next;
        out->refusal.retry_after_ms = 777;
        out->refusal.counter_key = key;
        out->refusal.message = message;
        out->response.result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL;
        out->response.refusal = &out->refusal;
        self->refuse_next = LOG_REASON(UNSPECIFIED);
        return;
    }
    bool conflict = latest != request->expect;
    log_receipt(self->entries[conflict ? latest : log_add(self, request)], &out->receipt);
    if (conflict) {
        out->conflict.latest = self->entries[latest];
        out->conflict.receipt = &out->receipt;
        out->response.result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT;
        out->response.conflict = &out->conflict;
        return;
    }
    out->response.result_case = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT;
    out->response.receipt = &out->receipt;
}

/* ---- audit ---- */

static inline status_code log_on_append(void *service, rpc_call *call, const ProtobufCMessage *request,
                                        ProtobufCMessage *response, failure *why) {
    scripted_log *self = service;
    log_answer *answer = arena_alloc(rpc_call_arena(call), sizeof *answer);
    if (answer == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory");
    pthread_mutex_lock(&self->lock);
    log_append(self, (const Interlock__Audit__V1__AppendRequest *)request, answer);
    *(Interlock__Audit__V1__AppendResponse *)response = answer->response;
    pthread_mutex_unlock(&self->lock);
    return STATUS_OK;
}

static inline status_code log_on_appends(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                         arena *memory, failure *why) {
    scripted_log *self = service;
    const Interlock__Audit__V1__AppendStreamRequest *request =
        (const Interlock__Audit__V1__AppendStreamRequest *)message;
    (void)memory;
    (void)why;
    for (size_t i = 0; i < request->n_appends; i++) {
        log_answer answer;
        Interlock__Audit__V1__NumberedResult result = INTERLOCK__AUDIT__V1__NUMBERED_RESULT__INIT;
        Interlock__Audit__V1__NumberedResult *list[] = {&result};
        Interlock__Audit__V1__AppendStreamResponse response =
            INTERLOCK__AUDIT__V1__APPEND_STREAM_RESPONSE__INIT;
        pthread_mutex_lock(&self->lock);
        log_append(self, request->appends[i]->append, &answer);
        result.number = request->appends[i]->number;
        result.result = &answer.response;
        response.results = list;
        response.n_results = 1;
        status_code code = rpc_stream_send(stream, &response.base);
        pthread_mutex_unlock(&self->lock);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static inline status_code log_on_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                      failure *why) {
    (void)service;
    (void)stream;
    (void)request;
    (void)why;
    return STATUS_OK;
}

static inline status_code log_on_tail(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                      failure *why) {
    scripted_log *self = service;
    status_code code = STATUS_OK;
    size_t slot = 0;
    pthread_mutex_lock(&self->lock);
    while (slot < LOG_TAILS_MAX && self->tails[slot] != NULL)
        slot++;
    if (slot == LOG_TAILS_MAX) {
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY", "too many tails for this test");
    } else {
        self->tails[slot] = stream;
        log_tell(self, stream, ((const Interlock__Audit__V1__TailRequest *)request)->from_index);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

static inline void log_on_closed(void *service, rpc_stream *stream) {
    scripted_log *self = service;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < LOG_TAILS_MAX; i++)
        if (self->tails[i] == stream)
            self->tails[i] = NULL;
    pthread_mutex_unlock(&self->lock);
}

static inline status_code log_on_proof(void *service, rpc_call *call, const ProtobufCMessage *request,
                                       ProtobufCMessage *response, failure *why) {
    (void)service;
    (void)request;
    (void)why;
    ((Interlock__Audit__V1__GetProofResponse *)response)->checkpoint =
        arena_text(rpc_call_arena(call), "a later checkpoint");
    return STATUS_OK;
}

/* ---- graph: everything in prod/shop is hit by 1 %, at most 2 % ---- */

static inline status_code log_on_watch(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                       failure *why) {
    static char name[] = "service:prod/shop/cart";
    (void)service;
    (void)request;
    (void)why;
    Interlock__Graph__V1__Share share = INTERLOCK__GRAPH__V1__SHARE__INIT;
    Interlock__Graph__V1__Impact impact = INTERLOCK__GRAPH__V1__IMPACT__INIT;
    Interlock__Graph__V1__ImpactView view = INTERLOCK__GRAPH__V1__IMPACT_VIEW__INIT;
    Interlock__Graph__V1__ImpactView *views[] = {&view};
    Interlock__Graph__V1__WatchImpactResponse response = INTERLOCK__GRAPH__V1__WATCH_IMPACT_RESPONSE__INIT;
    share.expected = 0.01;
    share.high = 0.02;
    impact.entry_traffic = &share;
    view.name = name;
    view.impact = &impact;
    response.views = views;
    response.n_views = 1;
    response.revision = 9;
    response.complete = true;
    return rpc_stream_send(stream, &response.base);
}

static inline status_code log_on_predict(void *service, rpc_call *call, const ProtobufCMessage *request,
                                         ProtobufCMessage *response, failure *why) {
    scripted_log *self = service;
    (void)request;
    snprintf(self->traceparent, sizeof self->traceparent, "%s", rpc_call_traceparent(call));
    Interlock__Graph__V1__PredictImpactResponse *out =
        (Interlock__Graph__V1__PredictImpactResponse *)response;
    Interlock__Graph__V1__Share *share = arena_alloc(rpc_call_arena(call), sizeof *share);
    out->impact = arena_alloc(rpc_call_arena(call), sizeof *out->impact);
    if (share == NULL || out->impact == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory");
    interlock__graph__v1__share__init(share);
    interlock__graph__v1__impact__init(out->impact);
    share->expected = share->high = 0.03;
    out->impact->entry_traffic = share;
    out->revision = 10;
    return STATUS_OK;
}

/* ---- signer ---- */

static inline status_code log_on_sign(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                      arena *memory, failure *why) {
    scripted_log *self = service;
    const Interlock__Signer__V1__SignStreamRequest *request =
        (const Interlock__Signer__V1__SignStreamRequest *)message;
    pthread_mutex_lock(&self->lock);
    bool refuses = self->signer_refuses;
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < request->n_permits; i++) {
        Interlock__Signer__V1__SignedPermit permit = INTERLOCK__SIGNER__V1__SIGNED_PERMIT__INIT;
        Interlock__Signer__V1__SignedPermit *list[] = {&permit};
        Interlock__Signer__V1__SignStreamResponse response =
            INTERLOCK__SIGNER__V1__SIGN_STREAM_RESPONSE__INIT;
        char *text = arena_format(memory, refuses ? "NOT_NOW: as the test says" : "permit.%llu",
                                  (unsigned long long)request->permits[i]->receipt->index);
        if (text == NULL)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory");
        permit.number = request->permits[i]->number;
        *(refuses ? &permit.refusal : &permit.permit) = text;
        response.permits = list;
        response.n_permits = 1;
        status_code code = rpc_stream_send(stream, &response.base);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

/* ---- life ---- */

static const rpc_stream_handlers log_append_stream = {
    .open = log_on_open, .message = log_on_appends, .closed = log_on_closed};
static const rpc_stream_handlers log_tail_stream = {.open = log_on_tail, .closed = log_on_closed};
static const rpc_stream_handlers log_watch_stream = {.open = log_on_watch, .closed = log_on_closed};
static const rpc_stream_handlers log_sign_stream = {
    .open = log_on_open, .message = log_on_sign, .closed = log_on_closed};

static const rpc_method log_methods[] = {
    RPC_UNARY("/interlock.audit.v1.AuditService/Append", interlock__audit__v1__append_request__descriptor,
              interlock__audit__v1__append_response__descriptor, ROLE_SERVICE, log_on_append),
    RPC_BIDI("/interlock.audit.v1.AuditService/AppendStream",
             interlock__audit__v1__append_stream_request__descriptor,
             interlock__audit__v1__append_stream_response__descriptor, ROLE_SERVICE, &log_append_stream),
    RPC_SERVER_STREAM("/interlock.audit.v1.AuditService/Tail", interlock__audit__v1__tail_request__descriptor,
                      interlock__audit__v1__tail_response__descriptor, ROLE_SERVICE, &log_tail_stream),
    RPC_UNARY("/interlock.audit.v1.AuditService/GetProof",
              interlock__audit__v1__get_proof_request__descriptor,
              interlock__audit__v1__get_proof_response__descriptor, ROLE_SERVICE, log_on_proof),
    RPC_SERVER_STREAM("/interlock.graph.v1.GraphService/WatchImpact",
                      interlock__graph__v1__watch_impact_request__descriptor,
                      interlock__graph__v1__watch_impact_response__descriptor, ROLE_SERVICE,
                      &log_watch_stream),
    RPC_UNARY("/interlock.graph.v1.GraphService/PredictImpact",
              interlock__graph__v1__predict_impact_request__descriptor,
              interlock__graph__v1__predict_impact_response__descriptor, ROLE_SERVICE, log_on_predict),
    RPC_BIDI("/interlock.signer.v1.SignerService/SignStream",
             interlock__signer__v1__sign_stream_request__descriptor,
             interlock__signer__v1__sign_stream_response__descriptor, ROLE_SERVICE, &log_sign_stream),
};

static inline status_code scripted_log_start(scripted_log *self, const char *unix_path, failure *why) {
    static char nothing[] = "";
    pthread_mutex_init(&self->lock, NULL);
    self->epoch = 1;
    Interlock__Audit__V1__AppendRequest genesis = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    genesis.kind = LOG_KIND(GENESIS);
    genesis.action_id = nothing;
    (void)log_add(self, &genesis);
    const rpc_server_options options = {
        .unix_path = unix_path, .trust_domain = "demo", .own_uid_roles = ROLE_SERVICE, .loops = 1};
    return rpc_server_start(&self->server, &options, log_methods, sizeof log_methods / sizeof log_methods[0],
                            self, why);
}

static inline void scripted_log_stop(scripted_log *self) {
    rpc_server_free(self->server);
    for (size_t i = 0; i < self->size; i++)
        interlock__audit__v1__entry__free_unpacked(self->entries[i], NULL);
    pthread_mutex_destroy(&self->lock);
}

#endif
