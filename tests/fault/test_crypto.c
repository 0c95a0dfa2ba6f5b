/* Signing and verifying when memory runs out at any point: never a signature that was not made, never one
 * that is believed unseen. */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/dsse.h"
#include "crypto/jws.h"
#include "fail_allocation.h"
#include "test.h"

#define LARGE_BYTES 20000U /* beyond what dsse keeps on the stack */

static const char CLAIMS[] = "{\"aud\":\"executor/local\",\"jti\":\"1\"}";

typedef struct fixture {
    simulated_chance world;
    secret_key *key;
    arena memory;
    uint8_t payload[LARGE_BYTES];
    Interlock__Common__V1__Envelope *envelope;
    buffer token, claims;
} fixture;

static fixture self;

/* jansson 2.14 reads and writes past its buffers when its lexer gets no memory, so that it is left out: only
 * what is ours is failed. */
static void spare_jansson(void) {
    json_set_alloc_funcs(spare_malloc, free);
}

static int set_up(void **state) {
    (void)state;
    failure why = {0};
    crypto_init();
    spare_jansson();
    simulated_chance_init(&self.world, 1);
    return secret_key_generate(&self.world.chance, KEY_AGENT, &self.key, &why) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    secret_key_free(self.key);
    return 0;
}

static void begin(void *context) {
    (void)context;
    arena_init(&self.memory, 64, 1U << 20);
    self.envelope = NULL;
    buffer_init(&self.token, 8192);
    buffer_init(&self.claims, 8192);
}

static void end(void *context) {
    (void)context;
    arena_free(&self.memory);
    buffer_free(&self.token);
    buffer_free(&self.claims);
}

static status_code no_envelope(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no envelope");
}

static status_code sign_bytes(void *context, failure *why) {
    (void)context;
    bytes payload = bytes_of(self.payload, sizeof self.payload);
    Interlock__Common__V1__Envelope *made = dsse_sign(self.key, PAYLOAD_ACTION, payload, &self.memory);
    if (made == NULL)
        return no_envelope(why);
    self.envelope = made;
    return STATUS_OK;
}

static status_code sign_message(void *context, failure *why) {
    (void)context;
    Interlock__Common__V1__StatementHeader *header = statement_header_new(
        PAYLOAD_ACTION, "demo", "agent/deployer", 1000, &self.world.chance, &self.memory);
    Interlock__Common__V1__Envelope *made =
        header == NULL ? NULL : dsse_sign_message(self.key, PAYLOAD_ACTION, &header->base, &self.memory);
    if (made == NULL)
        return no_envelope(why);
    self.envelope = made;
    return STATUS_OK;
}

static void check_envelope(void *context, bool done) {
    (void)context;
    if (done)
        assert_true(dsse_verify(self.envelope, PAYLOAD_ACTION, secret_key_public(self.key)));
    else
        assert_null(self.envelope);
}

/* dsse_verify says true or false: without memory it must be false. */
static void begin_verify(void *context) {
    failure why = {0};
    begin(context);
    assert_int_equal(sign_bytes(context, &why), STATUS_OK);
}

static status_code verify_bytes(void *context, failure *why) {
    (void)context;
    return dsse_verify(self.envelope, PAYLOAD_ACTION, secret_key_public(self.key)) ? STATUS_OK
                                                                                   : no_envelope(why);
}

static void check_nothing(void *context, bool done) {
    (void)context;
    (void)done;
}

static status_code sign_token(void *context, failure *why) {
    (void)context;
    return jws_sign(self.key, JWS_PERMIT_TYPE, bytes_of_text(CLAIMS), &self.token, why);
}

static void check_token(void *context, bool done) {
    (void)context;
    if (done) {
        failure why = {0};
        buffer_clear(&self.claims);
        assert_int_equal(jws_verify(secret_key_public(self.key), JWS_PERMIT_TYPE, buffer_bytes(&self.token),
                                    &self.claims, &why),
                         STATUS_OK);
        return;
    }
    assert_int_equal(self.token.size, 0);
    buffer_clear(&self.token);
}

static void begin_verify_token(void *context) {
    failure why = {0};
    begin(context);
    assert_int_equal(sign_token(context, &why), STATUS_OK);
}

static status_code verify_token(void *context, failure *why) {
    (void)context;
    return jws_verify(secret_key_public(self.key), JWS_PERMIT_TYPE, buffer_bytes(&self.token), &self.claims,
                      why);
}

static void check_claims(void *context, bool done) {
    (void)context;
    if (done) {
        assert_string_equal(self.claims.data, CLAIMS);
        return;
    }
    assert_int_equal(self.claims.size, 0);
    buffer_clear(&self.claims);
}

static void envelopes(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "dsse_sign",
                                       .begin = begin,
                                       .end = end,
                                       .run = sign_bytes,
                                       .check = check_envelope,
                                       .memory = &self.memory});
    fail_each_allocation(&(fault_case){.name = "dsse_sign_message",
                                       .begin = begin,
                                       .end = end,
                                       .run = sign_message,
                                       .check = check_envelope,
                                       .memory = &self.memory});
    fail_each_allocation(&(fault_case){.name = "dsse_verify",
                                       .begin = begin_verify,
                                       .end = end,
                                       .run = verify_bytes,
                                       .check = check_nothing});
}

static void tokens(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){
        .name = "jws_sign", .begin = begin, .end = end, .run = sign_token, .check = check_token});
    fail_each_allocation(&(fault_case){.name = "jws_verify",
                                       .begin = begin_verify_token,
                                       .end = end,
                                       .run = verify_token,
                                       .check = check_claims});
}

/* Never claims that were read with a byte missing. */
static void a_parser_without_memory_ends_the_process(void **state) {
    (void)state;
    int result = 0;
    begin_verify_token(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        failure why = {0};
        crypto_init();
        (void)signal(SIGABRT, SIG_DFL);
        fail_allocations_from(1);
        _exit(verify_token(NULL, &why) == STATUS_OK ? 1 : 2);
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result) && WTERMSIG(result) == SIGABRT);
    end(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes),
        cmocka_unit_test(tokens),
        cmocka_unit_test(a_parser_without_memory_ends_the_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
