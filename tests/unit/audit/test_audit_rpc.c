/* The service as its callers see it: over a unix socket, with its real threads. */
#include "audit_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "audit.h"
#include "audit_rpc.h"
#include "queries.h"
#include "rpc/client.h"

#define METHOD(name) "/interlock.audit.v1.AuditService/" name
#define TIMEOUT_MS 20000U

typedef Interlock__Audit__V1__AppendRequest request_type;
typedef Interlock__Audit__V1__AppendResponse response_type;

typedef struct running {
    fixture *files; /* its log stays closed: the service has it */
    char socket[128], target[160], trust_path[128], key_path[128];
    audit_service *service;
    rpc_server *server;
    rpc_channel *channel; /* in role service */
    rpc_channel *auditor;
} running;

static rpc_channel *channel_open(running *self, rpc_role role) {
    failure why = {0};
    rpc_channel *channel = NULL;
    rpc_channel_options options = {.target = self->target, .role = role};
    assert_int_equal(rpc_channel_open(&channel, &options, &why), STATUS_OK);
    return channel;
}

static void server_open(running *self) {
    failure why = {0};
    audit_options options = {.directory = self->files->directory,
                             .trust_path = self->trust_path,
                             .checkpoint_key = self->key_path};
    if (audit_service_new(&self->service, &options, chance_system(), &why) != STATUS_OK ||
        audit_service_start(self->service, &why) != STATUS_OK)
        fail_msg("cannot start: %s", why.message);
    rpc_server_options listen = {.unix_path = self->socket,
                                 .trust_domain = "test",
                                 .own_uid_roles = ROLE_SERVICE | ROLE_AUDITOR | ROLE_OPERATOR | ROLE_AGENT,
                                 .loops = 2};
    if (rpc_server_start(&self->server, &listen, audit_methods, audit_method_count, self->service, &why) !=
        STATUS_OK)
        fail_msg("cannot listen: %s", why.message);
    rpc_server_set_serving(self->server, true);
    self->channel = channel_open(self, ROLE_SERVICE);
    self->auditor = channel_open(self, ROLE_AUDITOR);
}

static void server_close(running *self) {
    rpc_channel_close(self->channel);
    rpc_channel_close(self->auditor);
    rpc_server_stop(self->server);
    audit_service_stop(self->service);
    buffer text;
    buffer_init(&text, 1U << 16);
    audit_write_metrics(self->service, &text); /* after the end as well */
    assert_true(buffer_ok(&text));
    buffer_free(&text);
    rpc_server_free(self->server);
    audit_service_free(self->service);
}

static int running_setup(void **state) {
    failure why = {0};
    running *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->files = fixture_new(3);
    snprintf(self->socket, sizeof self->socket, "%s/audit.sock", self->files->folder);
    snprintf(self->target, sizeof self->target, "unix:%s", self->socket);
    snprintf(self->trust_path, sizeof self->trust_path, "%s/installation.yaml", self->files->folder);
    snprintf(self->key_path, sizeof self->key_path, "%s/checkpoint.key", self->files->folder);
    if (trust_save(&self->files->roots, self->trust_path, &why) != STATUS_OK ||
        secret_key_save(self->files->key, self->key_path, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    server_open(self);
    *state = self;
    return 0;
}

static int running_teardown(void **state) {
    running *self = *state;
    server_close(self);
    fixture_free(self->files);
    free(self);
    return 0;
}

static status_code call(running *self, rpc_channel *channel, const char *path,
                        const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                        void *out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code status =
        rpc_call_wait(channel, path, request, response, TIMEOUT_MS, &self->files->memory, &answer, why);
    if (status == STATUS_OK)
        memcpy(out, &answer, sizeof answer);
    return status;
}

static response_type *append_call(running *self, const request_type *request) {
    failure why = {0};
    response_type *response = NULL;
    if (call(self, self->channel, METHOD("Append"), &request->base,
             &interlock__audit__v1__append_response__descriptor, &response, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return response;
}

static request_type *denial(running *self, const char *id, uint64_t expect, const char *content) {
    return request_new(self->files, KIND(DECISION), id, expect, "DENY", content);
}

static void a_unary_append_gets_each_kind_of_answer(void **state) {
    running *self = *state;
    request_type *request = denial(self, "a", 0, "one");
    response_type *first = append_call(self, request);
    assert_int_equal(first->result_case, INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT);
    assert_receipt(self->files, first->receipt, request->record);
    assert_int_equal(append_call(self, request)->receipt->index, first->receipt->index);
    response_type *lost = append_call(self, denial(self, "a", 0, "two"));
    assert_int_equal(lost->result_case, INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT);
    assert_int_equal(lost->conflict->latest->index, first->receipt->index);
    response_type *invalid = append_call(self, denial(self, "", 0, "two"));
    assert_int_equal(invalid->result_case, INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_REFUSAL);
    assert_int_equal(invalid->refusal->reason, REFUSED(INVALID));
    assert_non_null(strstr(invalid->refusal->message, "action_id"));
}

static void each_method_asks_for_its_roles(void **state) {
    running *self = *state;
    failure why = {0};
    void *out = NULL;
    request_type *request = denial(self, "a", 0, "one");
    rpc_channel *agent = channel_open(self, ROLE_AGENT);
    assert_int_equal(call(self, self->auditor, METHOD("Append"), &request->base,
                          &interlock__audit__v1__append_response__descriptor, &out, &why),
                     STATUS_PERMISSION_DENIED);
    Interlock__Audit__V1__QueryRequest query = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    assert_int_equal(call(self, agent, METHOD("Query"), &query.base,
                          &interlock__audit__v1__query_response__descriptor, &out, &why),
                     STATUS_PERMISSION_DENIED);
    assert_int_equal(call(self, self->channel, METHOD("Query"), &query.base,
                          &interlock__audit__v1__query_response__descriptor, &out, &why),
                     STATUS_PERMISSION_DENIED);
    Interlock__Audit__V1__VerifyRequest verify = INTERLOCK__AUDIT__V1__VERIFY_REQUEST__INIT;
    assert_int_equal(call(self, agent, METHOD("Verify"), &verify.base,
                          &interlock__audit__v1__verify_response__descriptor, &out, &why),
                     STATUS_PERMISSION_DENIED);
    rpc_channel_close(agent);
}

/* ---- pages, proofs, verification ---- */

static Interlock__Audit__V1__QueryResponse *query_call(running *self,
                                                       Interlock__Audit__V1__QueryRequest *request) {
    failure why = {0};
    Interlock__Audit__V1__QueryResponse *page = NULL;
    if (call(self, self->auditor, METHOD("Query"), &request->base,
             &interlock__audit__v1__query_response__descriptor, &page, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return page;
}

static size_t count_all(running *self, Interlock__Audit__V1__QueryRequest request, uint64_t *order) {
    size_t count = 0;
    for (unsigned pages = 0; pages < 100; pages++) {
        Interlock__Audit__V1__QueryResponse *page = query_call(self, &request);
        for (size_t i = 0; i < page->n_entries; i++)
            order[count++] = page->entries[i]->index;
        if (page->next_page_token[0] == '\0')
            return count;
        request.page_token = page->next_page_token;
    }
    fail_msg("a query does not end");
    return 0;
}

static void queries_filter_and_page(void **state) {
    running *self = *state;
    uint64_t order[200], latest = 0;
    for (unsigned i = 0; i < 25; i++) {
        char content[16];
        snprintf(content, sizeof content, "c%u", i);
        latest = append_call(self, denial(self, "chain", latest, content))->receipt->index;
        append_call(self, request_new(self->files, KIND(CONTROL), "", 0, "ENROLMENT", content));
    }
    Interlock__Audit__V1__QueryRequest all = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    all.page_size = 7;
    assert_int_equal(count_all(self, all, order), 51);
    for (uint64_t i = 0; i < 51; i++)
        assert_int_equal(order[i], i);
    Interlock__Audit__V1__QueryRequest chain = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    chain.page_size = 7;
    chain.action_id = (char *)"chain";
    assert_int_equal(count_all(self, chain, order), 25);
    for (uint64_t i = 0; i < 25; i++)
        assert_int_equal(order[i], 1 + 2 * i);
    Interlock__Audit__V1__QueryRequest control = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    control.kind = KIND(CONTROL);
    control.verdict = (char *)"ENROLMENT";
    control.since_ms = 1;
    assert_int_equal(count_all(self, control, order), 25);
    control.verdict = (char *)"OTHER";
    assert_int_equal(count_all(self, control, order), 0);
    Interlock__Audit__V1__QueryRequest past = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    past.until_ms = 1;
    assert_int_equal(count_all(self, past, order), 0);
    Interlock__Audit__V1__QueryRequest future = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    future.since_ms = INT64_MAX;
    assert_int_equal(count_all(self, future, order), 0);
}

static void bad_queries_are_told_why(void **state) {
    running *self = *state;
    failure why = {0};
    void *out = NULL;
    Interlock__Audit__V1__QueryRequest request = INTERLOCK__AUDIT__V1__QUERY_REQUEST__INIT;
    request.page_token = (char *)"12x";
    assert_int_equal(call(self, self->auditor, METHOD("Query"), &request.base,
                          &interlock__audit__v1__query_response__descriptor, &out, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "PAGE_TOKEN");
    request.page_token = (char *)"";
    request.page_size = 1001;
    assert_int_equal(call(self, self->auditor, METHOD("Query"), &request.base,
                          &interlock__audit__v1__query_response__descriptor, &out, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "PAGE_SIZE");
}

static Interlock__Audit__V1__GetProofResponse *
proof_call(running *self, Interlock__Audit__V1__GetProofRequest *request, status_code expected) {
    failure why = {0};
    Interlock__Audit__V1__GetProofResponse *proof = NULL;
    status_code status = call(self, self->auditor, METHOD("GetProof"), &request->base,
                              &interlock__audit__v1__get_proof_response__descriptor, &proof, &why);
    if (status != expected)
        fail_msg("%s: %s", status_name(status), why.message);
    return proof;
}

static merkle_proof proof_of(const Interlock__Audit__V1__GetProofResponse *response) {
    merkle_proof proof = {.count = response->n_hashes};
    for (size_t i = 0; i < response->n_hashes; i++)
        memcpy(proof.hashes[i].bytes, response->hashes[i].data, MERKLE_HASH_BYTES);
    return proof;
}

static void proofs_are_given_for_older_trees_too(void **state) {
    running *self = *state;
    for (unsigned i = 0; i < 9; i++) {
        char id[16];
        snprintf(id, sizeof id, "a%u", i);
        append_call(self, denial(self, id, 0, id));
    }
    Interlock__Audit__V1__GetProofRequest request = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__INIT;
    request.proof_case = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF_INDEX;
    request.index = 3;
    request.tree_size = 7;
    Interlock__Audit__V1__GetProofResponse *inclusion = proof_call(self, &request, STATUS_OK);
    merkle_proof proof = proof_of(inclusion);
    merkle_hash leaf, root, old_root;
    merkle_leaf_hash(bytes_of(inclusion->leaf.data, inclusion->leaf.len), &leaf);
    memcpy(old_root.bytes, inclusion->root.data, MERKLE_HASH_BYTES);
    assert_true(merkle_verify_inclusion(&leaf, 3, 7, &proof, &old_root));
    request.proof_case = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF_FROM_SIZE;
    request.from_size = 7;
    request.tree_size = 0;
    Interlock__Audit__V1__GetProofResponse *consistency = proof_call(self, &request, STATUS_OK);
    assert_int_equal(consistency->tree_size, 10);
    proof = proof_of(consistency);
    memcpy(root.bytes, consistency->root.data, MERKLE_HASH_BYTES);
    assert_true(merkle_verify_consistency(7, &old_root, 10, &root, &proof));
    checkpoint head;
    failure why;
    assert_int_equal(checkpoint_verify(bytes_of_text(consistency->checkpoint), self->files->roots.origin,
                                       &self->files->roots.keys[0].key, &head, &why),
                     STATUS_OK);
    assert_memory_equal(head.root.bytes, root.bytes, MERKLE_HASH_BYTES);
    request.tree_size = 11;
    proof_call(self, &request, STATUS_OUT_OF_RANGE);
    request.proof_case = INTERLOCK__AUDIT__V1__GET_PROOF_REQUEST__PROOF__NOT_SET;
    proof_call(self, &request, STATUS_INVALID_ARGUMENT);
}

static void verify_over_the_wire(void **state) {
    running *self = *state;
    failure why = {0};
    append_call(self, denial(self, "a", 0, "one"));
    Interlock__Audit__V1__VerifyRequest request = INTERLOCK__AUDIT__V1__VERIFY_REQUEST__INIT;
    Interlock__Audit__V1__VerifyResponse *found = NULL;
    assert_int_equal(call(self, self->auditor, METHOD("Verify"), &request.base,
                          &interlock__audit__v1__verify_response__descriptor, &found, &why),
                     STATUS_OK);
    assert_true(found->ok);
    assert_int_equal(found->tree_size, 2);
}

/* ---- streams ---- */

typedef struct collected {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t results, receipts, invalid;
    uint64_t numbers; /* their sum */
    bool closed;
    status_code code;
    char reason[64];
} collected;

static void collect_results(void *context, const ProtobufCMessage *message) {
    collected *self = context;
    const Interlock__Audit__V1__AppendStreamResponse *batch =
        (const Interlock__Audit__V1__AppendStreamResponse *)message;
    pthread_mutex_lock(&self->mutex);
    for (size_t i = 0; i < batch->n_results; i++) {
        const response_type *result = batch->results[i]->result;
        self->results++;
        self->numbers += batch->results[i]->number;
        if (result->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT)
            self->receipts++;
        else if (result->refusal->reason == REFUSED(INVALID))
            self->invalid++;
    }
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void collect_end(void *context, status_code code, const failure *why) {
    collected *self = context;
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    self->code = code;
    snprintf(self->reason, sizeof self->reason, "%s",
             code == STATUS_OK || why->reason == NULL ? "" : why->reason);
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void wait_closed(collected *self) {
    pthread_mutex_lock(&self->mutex);
    while (!self->closed)
        pthread_cond_wait(&self->changed, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}

static void send_appends(running *self, rpc_client_stream *stream, uint64_t first, size_t count) {
    Interlock__Audit__V1__NumberedAppend numbered[APPEND_STREAM_BATCH_MAX + 1],
        *pointers[APPEND_STREAM_BATCH_MAX + 1];
    Interlock__Audit__V1__AppendStreamRequest message = INTERLOCK__AUDIT__V1__APPEND_STREAM_REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        char id[32];
        snprintf(id, sizeof id, "stream-%llu", (unsigned long long)(first + i));
        interlock__audit__v1__numbered_append__init(&numbered[i]);
        numbered[i].number = first + i;
        /* Every tenth is not valid. */
        numbered[i].append = denial(self, (first + i) % 10 == 0 ? "" : id, 0, id);
        pointers[i] = &numbered[i];
    }
    message.n_appends = count;
    message.appends = pointers;
    status_code status = rpc_client_stream_send(stream, &message.base);
    assert_true(status == STATUS_OK || status == STATUS_CANCELLED);
}

static rpc_client_stream *stream_to(running *self, rpc_loop *loop, collected *results) {
    static const rpc_client_stream_handlers handlers = {.message = collect_results, .closed = collect_end};
    failure why = {0};
    rpc_client_stream *stream = NULL;
    *results = (collected){0};
    pthread_mutex_init(&results->mutex, NULL);
    pthread_cond_init(&results->changed, NULL);
    assert_int_equal(rpc_client_stream_open(loop, self->channel, METHOD("AppendStream"),
                                            &interlock__audit__v1__append_stream_response__descriptor,
                                            &handlers, results, &stream, &why),
                     STATUS_OK);
    return stream;
}

static void a_stream_answers_all_it_took_and_then_ends(void **state) {
    running *self = *state;
    failure why = {0};
    rpc_loop *loop = NULL;
    collected results;
    assert_int_equal(rpc_loop_start(&loop, &why), STATUS_OK);
    rpc_client_stream *stream = stream_to(self, loop, &results);
    /* More than may be under way, so that the stream is paused and goes on. */
    for (uint64_t batch = 0; batch < 40; batch++)
        send_appends(self, stream, 1 + batch * 50, 50);
    rpc_client_stream_half_close(stream);
    wait_closed(&results);
    assert_int_equal(results.code, STATUS_OK);
    assert_int_equal(results.results, 2000);
    assert_int_equal(results.invalid, 200);
    assert_int_equal(results.receipts, 1800);
    assert_int_equal(results.numbers, 2001 * 1000);
    rpc_loop_stop(loop);
}

static void too_large_a_batch_ends_the_stream(void **state) {
    running *self = *state;
    failure why = {0};
    rpc_loop *loop = NULL;
    collected results;
    assert_int_equal(rpc_loop_start(&loop, &why), STATUS_OK);
    rpc_client_stream *stream = stream_to(self, loop, &results);
    send_appends(self, stream, 1, APPEND_STREAM_BATCH_MAX + 1);
    wait_closed(&results);
    assert_int_equal(results.code, STATUS_INVALID_ARGUMENT);
    assert_string_equal(results.reason, "TOO_MANY_APPENDS");
    rpc_loop_stop(loop);
}

typedef struct tail_seen {
    uint64_t next, tree_size, until;
    unsigned empty, records;
} tail_seen;

static bool see_entries(void *context, const ProtobufCMessage *message) {
    tail_seen *self = context;
    const Interlock__Audit__V1__TailResponse *batch = (const Interlock__Audit__V1__TailResponse *)message;
    assert_true(batch->n_entries <= TAIL_BATCH_ENTRIES);
    for (size_t i = 0; i < batch->n_entries; i++) {
        assert_int_equal(batch->entries[i]->index, self->next++);
        assert_int_equal(batch->entries[i]->salt.len, LEAF_SALT_BYTES);
        self->records += batch->entries[i]->record != NULL;
    }
    self->empty += batch->n_entries == 0;
    self->tree_size = batch->tree_size;
    return self->next < self->until || self->empty == 0;
}

static void tail_gives_everything_in_order(void **state) {
    running *self = *state;
    failure why = {0};
    for (unsigned i = 0; i < 150; i++) {
        char id[16];
        snprintf(id, sizeof id, "a%u", i);
        append_call(self, denial(self, id, 0, id));
    }
    Interlock__Audit__V1__TailRequest request = INTERLOCK__AUDIT__V1__TAIL_REQUEST__INIT;
    for (unsigned round = 0; round < 2; round++) { /* from memory, and from the disk */
        tail_seen seen = {.next = 5, .until = 151};
        request.from_index = 5;
        assert_int_equal(rpc_stream_wait(self->channel, METHOD("Tail"), &request.base,
                                         &interlock__audit__v1__tail_response__descriptor, TIMEOUT_MS,
                                         see_entries, &seen, &why),
                         STATUS_OK);
        assert_int_equal(seen.next, 151);
        assert_int_equal(seen.tree_size, 151);
        assert_int_equal(seen.records, 146);
        assert_true(seen.empty > 0); /* it says when there is no more */
        tail_seen light = {.next = 0, .until = 151};
        request.from_index = 0;
        request.without_action_records = true;
        assert_int_equal(rpc_stream_wait(self->channel, METHOD("Tail"), &request.base,
                                         &interlock__audit__v1__tail_response__descriptor, TIMEOUT_MS,
                                         see_entries, &light, &why),
                         STATUS_OK);
        assert_int_equal(light.next, 151);
        assert_int_equal(light.records, 1); /* the genesis is of no action */
        request.without_action_records = false;
        server_close(self);
        server_open(self);
    }
    tail_seen seen = {.next = 152};
    request.from_index = 152;
    assert_int_equal(rpc_stream_wait(self->channel, METHOD("Tail"), &request.base,
                                     &interlock__audit__v1__tail_response__descriptor, TIMEOUT_MS,
                                     see_entries, &seen, &why),
                     STATUS_OUT_OF_RANGE);
    assert_string_equal(why.reason, "BEYOND_THE_END");
}

static void what_was_answered_survives_a_restart(void **state) {
    running *self = *state;
    request_type *request = denial(self, "a", 0, "one");
    uint64_t index = append_call(self, request)->receipt->index;
    server_close(self);
    server_open(self);
    response_type *again = append_call(self, request);
    assert_int_equal(again->receipt->index, index);
    assert_int_equal(again->receipt->term, 2);
    assert_receipt(self->files, again->receipt, request->record);
}

static void a_full_disk_is_told_and_passes(void **state) {
    running *self = *state;
    failure why = {0};
    response_type *response = NULL;
    char wal[160];
    struct stat info;
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    append_call(self, denial(self, "before", 0, "before"));
    snprintf(wal, sizeof wal, "%s/log.db-wal", self->files->directory);
    assert_int_equal(stat(wal, &info), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){.rlim_cur = (rlim_t)info.st_size + 20000, .rlim_max = old.rlim_max};
    static char body[100001];
    memset(body, 'b', sizeof body - 1);
    request_type *large = denial(self, "large", 0, body);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    status_code status = call(self, self->channel, METHOD("Append"), &large->base,
                              &interlock__audit__v1__append_response__descriptor, &response, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "DISK_FULL");
    assert_non_null(strstr(why.message, "disk full"));
    assert_true(why.retry_after_ms > 0);
    assert_receipt(self->files, append_call(self, large)->receipt, large->record);
}

int main(void) {
    crypto_init();
#define TEST(name) cmocka_unit_test_setup_teardown(name, running_setup, running_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_unary_append_gets_each_kind_of_answer),
        TEST(each_method_asks_for_its_roles),
        TEST(queries_filter_and_page),
        TEST(bad_queries_are_told_why),
        TEST(proofs_are_given_for_older_trees_too),
        TEST(verify_over_the_wire),
        TEST(a_stream_answers_all_it_took_and_then_ends),
        TEST(too_large_a_batch_ends_the_stream),
        TEST(tail_gives_everything_in_order),
        TEST(what_was_answered_survives_a_restart),
        TEST(a_full_disk_is_told_and_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
