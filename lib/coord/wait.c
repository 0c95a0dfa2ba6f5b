/* The blocking forms: a request, and a wait for its callback. The wait itself needs no time-out, because
 * every request is answered by its deadline. */
#include <pthread.h>
#include <string.h>

#include "internal.h"

typedef struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
    arena *memory; /* NULL: keys and values are not wanted */
    coord_result result;
    failure *why;
} waiting;

static void waiting_init(waiting *self, arena *memory, failure *why) {
    *self = (waiting){.memory = memory, .why = why};
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->answered, NULL);
}

static bool copy_kv(arena *memory, const coord_kv *from, coord_kv *to) {
    *to = *from;
    to->key = arena_text(memory, from->key);
    if (from->value.size != 0)
        to->value.data = arena_copy(memory, from->value.data, from->value.size);
    return to->key != NULL && (from->value.size == 0 || to->value.data != NULL);
}

static bool copy_kvs(waiting *self, const coord_result *result) {
    coord_kv *copies = arena_zero(self->memory, result->count + 1, sizeof *copies);
    if (copies == NULL)
        return false;
    for (size_t i = 0; i < result->count; i++)
        if (!copy_kv(self->memory, &result->kvs[i], &copies[i]))
            return false;
    self->result.kvs = copies;
    return true;
}

static void on_answer(void *context, const coord_result *result) {
    waiting *self = context;
    pthread_mutex_lock(&self->lock);
    self->result = *result;
    self->result.kvs = NULL;
    self->result.why = NULL;
    if (result->code != STATUS_OK) {
        if (self->why != NULL && result->why != NULL)
            *self->why = *result->why;
        self->result.why = self->why;
    } else if (self->memory != NULL && !copy_kvs(self, result)) {
        self->result = (coord_result){.why = self->why};
        self->result.code = fail(self->why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY",
                                 "the answer does not fit into the memory given for it");
    }
    self->done = true;
    pthread_cond_signal(&self->answered);
    pthread_mutex_unlock(&self->lock);
}

static status_code wait_for(waiting *self) {
    pthread_mutex_lock(&self->lock);
    while (!self->done)
        pthread_cond_wait(&self->answered, &self->lock);
    pthread_mutex_unlock(&self->lock);
    pthread_cond_destroy(&self->answered);
    pthread_mutex_destroy(&self->lock);
    return self->result.code;
}

status_code coord_get_wait(coord *self, const char *key, bool prefix, uint32_t timeout_ms, arena *memory,
                           coord_result *out, failure *why) {
    waiting answer;
    waiting_init(&answer, memory, why);
    coord_get(self, key, prefix, timeout_ms, on_answer, &answer);
    status_code status = wait_for(&answer);
    if (status == STATUS_OK)
        *out = answer.result;
    return status;
}

status_code coord_txn_wait(coord *self, const coord_compare *compares, size_t compare_count,
                           const coord_op *ops, size_t op_count, uint32_t timeout_ms, bool *succeeded,
                           int64_t *revision, failure *why) {
    waiting answer;
    waiting_init(&answer, NULL, why);
    coord_txn(self, compares, compare_count, ops, op_count, timeout_ms, on_answer, &answer);
    status_code status = wait_for(&answer);
    if (status == STATUS_OK && succeeded != NULL)
        *succeeded = answer.result.succeeded;
    if (status == STATUS_OK && revision != NULL)
        *revision = answer.result.revision;
    return status;
}

status_code coord_lease_grant_wait(coord *self, uint32_t ttl_ms, uint32_t timeout_ms, int64_t *lease,
                                   failure *why) {
    waiting answer;
    waiting_init(&answer, NULL, why);
    coord_lease_grant(self, ttl_ms, timeout_ms, on_answer, &answer);
    status_code status = wait_for(&answer);
    if (status == STATUS_OK)
        *lease = answer.result.lease;
    return status;
}
