/* Records without chains are counted past and told now and then, so that a busy log does not make the graph
 * commit: hearing them again after a restart changes nothing. */
#include "log_follower.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "chains.h"
#include "client/audit_client.h"

#define TELL_EVERY 4096U /* records without a chain */
#define RETRY_MS 200

typedef Interlock__Audit__V1__TailResponse tail_response;

struct log_follower {
    ingest *into;
    audit_follower *tail;
    uint64_t told; /* the cursor that ingest knows */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool waiting; /* under the lock */
    status_code code;
    failure why;
    atomic_bool stopping;
};

static void request_done(void *context, status_code code, const failure *why) {
    log_follower *self = context;
    pthread_mutex_lock(&self->lock);
    self->code = code;
    if (why != NULL)
        self->why = *why;
    self->waiting = false;
    pthread_cond_signal(&self->answered);
    pthread_mutex_unlock(&self->lock);
}

/* Until it is durable. */
static status_code tell_once(log_follower *self, const tail_response *batch, failure *why) {
    ingest_request request = {
        .kind = INGEST_CHAIN, .message = &batch->base, .done = request_done, .context = self};
    self->waiting = true;
    status_code code = ingest_submit(self->into, &request, why);
    if (code != STATUS_OK)
        return code;
    pthread_mutex_lock(&self->lock);
    while (self->waiting)
        pthread_cond_wait(&self->answered, &self->lock);
    code = self->code;
    *why = self->why;
    pthread_mutex_unlock(&self->lock);
    return code;
}

static bool tell(log_follower *self, const tail_response *batch) {
    bool said = false;
    while (!atomic_load(&self->stopping)) {
        failure why = {0};
        if (tell_once(self, batch, &why) == STATUS_OK)
            return true;
        if (!said)
            log_failure("learning confirmed chains is delayed", &why);
        said = true;
        struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    return false;
}

static bool on_entries(void *context, const tail_response *batch) {
    log_follower *self = context;
    if (batch->n_entries == 0)
        return true;
    bool has_chain = false;
    for (size_t i = 0; i < batch->n_entries && !has_chain; i++)
        has_chain = chains_is_one(batch->entries[i]);
    uint64_t next = batch->entries[batch->n_entries - 1]->index + 1;
    if (!has_chain && next - self->told < TELL_EVERY)
        return true;
    if (!tell(self, batch))
        return false;
    self->told = next;
    return true;
}

status_code log_follower_start(log_follower **out, rpc_channel *audit, ingest *into, uint64_t from,
                               failure *why) {
    log_follower *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to follow the log");
    self->into = into;
    self->told = from;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->answered, NULL);
    status_code code = audit_follower_start_light(&self->tail, audit, from, on_entries, self, why);
    if (code != STATUS_OK) {
        log_follower_stop(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

void log_follower_stop(log_follower *self) {
    if (self == NULL)
        return;
    atomic_store(&self->stopping, true);
    audit_follower_stop(self->tail);
    pthread_cond_destroy(&self->answered);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
