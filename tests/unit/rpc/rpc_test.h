/* What the tests of lib/rpc share: a real server on a unix socket in a folder of its own, and a channel to
 * it. */
#ifndef RPC_TEST_H
#define RPC_TEST_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* cmocka's takes the name of ours */

#include "interlock/memory/v1/memory.pb-c.h"
#include "rpc/client.h"

#define RECALL "/interlock.memory.v1.MemoryService/Recall"
#define ALL_ROLES                                                                                            \
    (ROLE_AGENT | ROLE_EXECUTOR | ROLE_APPROVER | ROLE_OPERATOR | ROLE_AUDITOR | ROLE_TELEMETRY |            \
     ROLE_SERVICE)
#define WAIT_MS 20000U /* no test waits longer for anything */

typedef Interlock__Memory__V1__RecallRequest recall_request;
typedef Interlock__Memory__V1__RecallResponse recall_response;
#define RECALL_REQUEST_INIT INTERLOCK__MEMORY__V1__RECALL_REQUEST__INIT
#define request_type interlock__memory__v1__recall_request__descriptor
#define response_type interlock__memory__v1__recall_response__descriptor

typedef struct world {
    char folder[64];
    char path[96];
    char target[104];
    rpc_server *server;
    rpc_channel *channel;
} world;

static inline void must(status_code code, const failure *why) {
    if (code != STATUS_OK)
        print_error("%s %s: %s\n", status_name(code), why->reason, why->message);
    assert_int_equal(code, STATUS_OK);
}

static inline rpc_channel *open_channel(const char *target, rpc_role role) {
    failure why = {0};
    rpc_channel *channel;
    rpc_channel_options options = {.target = target, .role = role};
    must(rpc_channel_open(&channel, &options, &why), &why);
    return channel;
}

static inline void world_open(world *self, const rpc_server_options *options, const rpc_method *methods,
                              size_t count, void *service) {
    memset(self, 0, sizeof *self);
    snprintf(self->folder, sizeof self->folder, "/tmp/interlock-rpc-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->path, sizeof self->path, "%s/s", self->folder);
    snprintf(self->target, sizeof self->target, "unix:%s", self->path);
    rpc_server_options own = *options;
    own.unix_path = self->path;
    if (own.own_uid_roles == 0)
        own.own_uid_roles = ALL_ROLES;
    if (own.loops == 0)
        own.loops = 2;
    failure why = {0};
    must(rpc_server_start(&self->server, &own, methods, count, service, &why), &why);
    rpc_server_set_serving(self->server, true);
    self->channel = open_channel(self->target, ROLE_AGENT);
}

static inline void world_close(world *self) {
    rpc_channel_close(self->channel);
    rpc_server_free(self->server);
    unlink(self->path);
    rmdir(self->folder);
}

/* A blocking Recall of `verb`; `matching` of the answer is written when it is OK. */
static inline status_code recall(rpc_channel *channel, const char *verb, uint32_t timeout_ms,
                                 uint64_t *matching, failure *why) {
    recall_request request = RECALL_REQUEST_INIT;
    request.verb = (char *)(uintptr_t)verb;
    arena memory;
    arena_init(&memory, 1024, 1U << 26);
    ProtobufCMessage *response = NULL;
    status_code code =
        rpc_call_wait(channel, RECALL, &request.base, &response_type, timeout_ms, &memory, &response, why);
    if (code == STATUS_OK && matching != NULL)
        *matching = ((recall_response *)response)->matching;
    arena_free(&memory);
    return code;
}

/* Something that other threads count up and the test waits for. */
typedef struct counter {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned value;
} counter;
#define COUNTER_INIT                                                                                         \
    { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER }

static inline void counter_add(counter *self, unsigned more) {
    pthread_mutex_lock(&self->mutex);
    self->value += more;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

/* The bound on it is the time-out of the whole test program. */
static inline void counter_wait(counter *self, unsigned wanted) {
    pthread_mutex_lock(&self->mutex);
    while (self->value < wanted)
        pthread_cond_wait(&self->changed, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}

static inline unsigned counter_value(counter *self) {
    pthread_mutex_lock(&self->mutex);
    unsigned value = self->value;
    pthread_mutex_unlock(&self->mutex);
    return value;
}

#endif
