/* The writer's queue and thread. */
#include "writer.h"

#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "daemon/daemon.h"

#define QUEUE_FULL_RETRY_MS 100U
#define GATHER_LEAST 4U /* appends in the last group from which on the next one gathers */
#define GATHER_NS 1000000
#define GATHER_STEPS 5 /* of GATHER_NS at most */
#define GROUP_ARENA_FIRST_BYTES (512U << 10)
#define GROUP_ARENA_BYTES (128U << 20) /* a whole group of conflicts, each with the largest record */

enum { COUNT_ADDED, COUNT_REPEATED, COUNT_CONFLICT, COUNT_REFUSED, COUNT_FAILED, COUNTS };

struct writer {
    writer_options options;
    pthread_t thread;
    pthread_mutex_t mutex; /* of the queue */
    pthread_cond_t filled;
    append_job *queue[WRITER_QUEUE_MAX]; /* a ring */
    size_t first, count;
    size_t last_taken; /* how many the last group had */
    bool stopping, waiting;

    /* The writer's thread alone. */
    append_job *group[AUDIT_GROUP_MAX];
    append *items[AUDIT_GROUP_MAX];
    append_result results[AUDIT_GROUP_MAX];
    arena memory;
    bool failing; /* the last group could not be written */

    atomic_uint_fast64_t counts[COUNTS], groups, grouped, tree_size;
    histogram commit_seconds;
};

static void count_up(atomic_uint_fast64_t *counter, uint64_t by) {
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

status_code writer_push(writer *self, append_job *const *jobs, size_t count, failure *why) {
    pthread_mutex_lock(&self->mutex);
    bool room = !self->stopping && self->count + count <= WRITER_QUEUE_MAX;
    for (size_t i = 0; i < count && room; i++)
        self->queue[(self->first + self->count++) % WRITER_QUEUE_MAX] = jobs[i];
    bool wake = room && self->waiting;
    pthread_mutex_unlock(&self->mutex);
    if (wake)
        pthread_cond_signal(&self->filled);
    if (room)
        return STATUS_OK;
    status_code status =
        fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL",
             "%u appends are waiting already; nothing was written, send it again later", WRITER_QUEUE_MAX);
    if (why != NULL)
        why->retry_after_ms = QUEUE_FULL_RETRY_MS;
    return status;
}

/* Under load a group waits for more as long as they keep coming: a COMMIT, a checkpoint's signature and its
 * verification cost the same however many share them. Whoever is alone is not kept waiting. */
static void gather(writer *self) {
    const struct timespec moment = {.tv_nsec = GATHER_NS};
    bool comes = self->last_taken >= GATHER_LEAST;
    for (int step = 0; comes && step < GATHER_STEPS; step++) {
        size_t before = self->count;
        if (before >= AUDIT_GROUP_MAX || self->stopping)
            return;
        pthread_mutex_unlock(&self->mutex);
        nanosleep(&moment, NULL);
        pthread_mutex_lock(&self->mutex);
        comes = self->count >= before + GATHER_LEAST;
    }
}

/* 0 when the writer is to end and nothing is left. */
static size_t take_group(writer *self) {
    pthread_mutex_lock(&self->mutex);
    while (self->count == 0 && !self->stopping) {
        self->waiting = true;
        pthread_cond_wait(&self->filled, &self->mutex);
    }
    self->waiting = false;
    gather(self);
    size_t taken = self->count < AUDIT_GROUP_MAX ? self->count : AUDIT_GROUP_MAX;
    for (size_t i = 0; i < taken; i++)
        self->group[i] = self->queue[(self->first + i) % WRITER_QUEUE_MAX];
    self->first = (self->first + taken) % WRITER_QUEUE_MAX;
    self->count -= taken;
    self->last_taken = taken;
    pthread_mutex_unlock(&self->mutex);
    for (size_t i = 0; i < taken; i++)
        self->items[i] = self->group[i]->item;
    return taken;
}

/* Once when it begins and once when it is over, not with every group. */
static void note_failing(writer *self, bool failing, const failure *why) {
    if (failing == self->failing)
        return;
    self->failing = failing;
    if (failing)
        LOG(LOG_ERROR, "cannot append", LOG_TEXT("reason", why->reason), LOG_TEXT("error", why->message));
    else
        LOG(LOG_INFO, "appending again", LOG_NUMBER("records", audit_log_size(self->options.log)));
}

static void fail_group(writer *self, size_t count, status_code code, const failure *why) {
    count_up(&self->counts[COUNT_FAILED], count);
    for (size_t i = 0; i < count; i++)
        self->group[i]->done(self->group[i], code, NULL, why);
}

static void answer_one(writer *self, size_t i) {
    static const int counts[] = {[APPEND_ADDED] = COUNT_ADDED,
                                 [APPEND_REPEATED] = COUNT_REPEATED,
                                 [APPEND_CONFLICT] = COUNT_CONFLICT,
                                 [APPEND_REFUSED] = COUNT_REFUSED};
    failure why = {0}, cause = {0};
    append_job *job = self->group[i];
    arena *memory = job->memory != NULL ? job->memory : &self->memory;
    Interlock__Audit__V1__AppendResponse *response = arena_alloc(memory, sizeof *response);
    if (response != NULL)
        interlock__audit__v1__append_response__init(response);
    status_code status =
        response != NULL ? audit_log_answer(self->options.log, &self->results[i], memory, response, &cause)
                         : fail(&cause, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an answer");
    if (status != STATUS_OK)
        status =
            fail(&why, STATUS_INTERNAL, "ANSWER_FAILED",
                 "decided, but the answer cannot be made; send the same append again: %.300s", cause.message);
    count_up(&self->counts[status == STATUS_OK ? counts[self->results[i].outcome] : COUNT_FAILED], 1);
    job->done(job, status, status == STATUS_OK ? response : NULL, &why);
}

/* What is new, for those who wait for it: first the records, then that they are there. */
static void show_group(writer *self, size_t count) {
    uint64_t size = audit_log_size(self->options.log);
    if (size == atomic_load_explicit(&self->tree_size, memory_order_relaxed))
        return;
    for (size_t i = 0; i < count && self->options.newest != NULL; i++) {
        const append_result *result = &self->results[i];
        if (result->outcome == APPEND_ADDED)
            recent_add(self->options.newest, result->index, bytes_of(result->leaf, result->leaf_size),
                       bytes_of(result->salt, LEAF_SALT_BYTES), self->items[i]->record,
                       append_is_of_action(self->items[i]));
    }
    atomic_store_explicit(&self->tree_size, size, memory_order_relaxed);
    head_set(self->options.head, size, audit_log_note(self->options.log));
}

static void write_group(writer *self, size_t count) {
    failure why = {0};
    uint64_t started_ns = chance_boot_ns(self->options.source);
    status_code status = audit_log_append(self->options.log, self->items, count, self->results, &why);
    if (status == STATUS_DATA_LOSS)
        daemon_abort("the log's COMMIT failed", &why);
    histogram_observe_ns(&self->commit_seconds, chance_boot_ns(self->options.source) - started_ns);
    count_up(&self->groups, 1);
    count_up(&self->grouped, count);
    arena_reset(&self->memory);
    note_failing(self, status != STATUS_OK, &why);
    if (status != STATUS_OK) {
        fail_group(self, count, status, &why);
    } else {
        show_group(self, count);
        for (size_t i = 0; i < count; i++)
            answer_one(self, i);
    }
    self->options.group_end(self->options.context);
}

static void *run(void *context) {
    writer *self = context;
    for (size_t count; (count = take_group(self)) > 0;)
        write_group(self, count);
    return NULL;
}

status_code writer_start(writer **out, const writer_options *options, failure *why) {
    writer *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the writer");
    self->options = *options;
    atomic_init(&self->tree_size, audit_log_size(options->log));
    arena_init(&self->memory, GROUP_ARENA_FIRST_BYTES, GROUP_ARENA_BYTES);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->filled, NULL);
    if (pthread_create(&self->thread, NULL, run, self) != 0) {
        free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start the writer's thread");
    }
    *out = self;
    return STATUS_OK;
}

void writer_stop(writer *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->mutex);
    bool first_time = !self->stopping;
    self->stopping = true;
    pthread_cond_signal(&self->filled);
    pthread_mutex_unlock(&self->mutex);
    if (first_time)
        pthread_join(self->thread, NULL);
}

void writer_free(writer *self) {
    if (self == NULL)
        return;
    writer_stop(self);
    pthread_cond_destroy(&self->filled);
    pthread_mutex_destroy(&self->mutex);
    arena_free(&self->memory);
    free(self);
}

static double value_of(const atomic_uint_fast64_t *counter) {
    return (double)atomic_load_explicit(counter, memory_order_relaxed);
}

void writer_write_metrics(writer *self, buffer *out) {
    static const char *const results[COUNTS] = {"result=\"added\"", "result=\"repeated\"",
                                                "result=\"conflict\"", "result=\"refused\"",
                                                "result=\"failed\""};
    metrics_family(out, "interlock_audit_appends_total", "counter", "Appends by what became of them.");
    for (size_t i = 0; i < COUNTS; i++)
        metrics_sample(out, "interlock_audit_appends_total", results[i], value_of(&self->counts[i]));
    metrics_family(out, "interlock_audit_groups_total", "counter", "Group commits.");
    metrics_sample(out, "interlock_audit_groups_total", "", value_of(&self->groups));
    metrics_family(out, "interlock_audit_grouped_total", "counter",
                   "Appends in group commits; divided by groups, their mean size.");
    metrics_sample(out, "interlock_audit_grouped_total", "", value_of(&self->grouped));
    metrics_family(out, "interlock_audit_commit_seconds", "histogram",
                   "From taking a group to its COMMIT, decisions and checkpoint included.");
    metrics_histogram(out, "interlock_audit_commit_seconds", "", &self->commit_seconds);
    metrics_family(out, "interlock_audit_tree_size", "gauge", "Records in the log.");
    metrics_sample(out, "interlock_audit_tree_size", "", value_of(&self->tree_size));
    pthread_mutex_lock(&self->mutex);
    double waiting = (double)self->count;
    pthread_mutex_unlock(&self->mutex);
    metrics_family(out, "interlock_audit_queue_depth", "gauge", "Appends that wait for the writer.");
    metrics_sample(out, "interlock_audit_queue_depth", "", waiting);
}
