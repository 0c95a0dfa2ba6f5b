/* Opens what memory rests on (trust, control data, its database, audit), follows the log, and stops in order.
 */
#include "memory_service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/place.h"
#include "memory_rpc.h"

#define READER_THREADS 1U
#define RECORDER_THREADS 3U
#define RETRY_STEPS 10 /* of 100 ms, so that a stop is seen soon */
#define BATCH_FIRST_BYTES (64U << 10)
#define BATCH_MOST_BYTES (16U << 20)

const option memory_options[] = {
    {.name = "audit",
     .kind = OPTION_TEXT,
     .value_name = "TARGET",
     .help = "audit's address [unix:DATA-DIR/run/audit.sock]"},
    {.name = "coord",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "embedded coordination [DATA-DIR/coord/coord.db]"},
    {.name = "etcd",
     .kind = OPTION_TEXT,
     .value_name = "URLS",
     .help = "etcd endpoints instead, comma-separated [those of DATA-DIR/coordination.yaml]"},
};
const size_t memory_option_count = sizeof memory_options / sizeof *memory_options;

static status_code open_trust(memory_service *self, const daemon_context *context, failure *why) {
    char path[512];
    const char *given = settings_text(context->settings, "trust");
    if (given[0] != '\0')
        snprintf(path, sizeof path, "%s", given);
    else
        snprintf(path, sizeof path, "%s/installation.yaml", context->data_dir);
    return trust_load(path, &self->roots, why);
}

static status_code find_place(const daemon_context *context, place *out, failure *why) {
    return place_find(out, context->data_dir, settings_text(context->settings, "etcd"),
                      settings_text(context->settings, "coord"), why);
}

static status_code open_control(memory_service *self, const daemon_context *context, const place *where,
                                failure *why) {
    status_code code = place_open(&self->coordination, where, self->roots, context->source, why);
    if (code == STATUS_OK)
        code = control_open(&self->live, self->coordination, self->roots, NULL, context->source, why);
    return code;
}

static status_code open_database(memory_service *self, const daemon_context *context, failure *why) {
    char folder[480];
    snprintf(folder, sizeof folder, "%.400s/memory", context->data_dir);
    snprintf(self->database, sizeof self->database, "%s/memory.db", folder);
    if (context->check_only && access(self->database, F_OK) != 0)
        return STATUS_OK; /* it would be made */
    if (!context->check_only && mkdir(folder, 0700) != 0 && errno != EEXIST)
        return fail(why, STATUS_FAILED_PRECONDITION, "FOLDER", "cannot make %s: %s", folder, strerror(errno));
    return context->check_only ? memory_store_open_reader(&self->writer, self->database, why)
                               : memory_store_open(&self->writer, self->database, why);
}

static status_code open_all(memory_service *self, const daemon_context *context, failure *why) {
    place where;
    status_code code = open_trust(self, context, why);
    if (code == STATUS_OK)
        code = find_place(context, &where, why);
    if (code == STATUS_OK)
        code = open_database(self, context, why);
    if (code == STATUS_OK)
        code = daemon_channel(context, "audit", &self->audit, why);
    if (code == STATUS_OK && !context->check_only)
        code = open_control(self, context, &where, why);
    return code;
}

status_code memory_service_open(const daemon_context *context, void **service, failure *why) {
    memory_service *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to start");
    *service = self; /* memory_service_close takes a half-open one */
    self->source = context->source;
    arena_init(&self->batch_memory, BATCH_FIRST_BYTES, BATCH_MOST_BYTES);
    return open_all(self, context, why);
}

/* ---- following the log, on the follower's thread ---- */

static void pause_before_retry(const memory_service *self) {
    struct timespec step = {.tv_nsec = 100000000};
    for (int i = 0; i < RETRY_STEPS && !atomic_load(&self->stopping); i++)
        nanosleep(&step, NULL);
}

/* A database that failed in the middle of a commit must not be written again by this process. */
static bool learn_until_done(memory_service *self, const Interlock__Audit__V1__TailResponse *batch) {
    while (!atomic_load(&self->stopping)) {
        failure why = {0};
        status_code code = memory_learn(self->writer, batch, &self->batch_memory, &why);
        if (code == STATUS_OK)
            return true;
        if (code == STATUS_DATA_LOSS)
            daemon_abort("cannot learn from the log", &why);
        log_failure("learning is delayed", &why);
        pause_before_retry(self);
    }
    return false;
}

static void note_position(memory_service *self, const Interlock__Audit__V1__TailResponse *batch) {
    uint64_t next = 0;
    if (memory_store_next_index(self->writer, &next, NULL) == STATUS_OK)
        atomic_store(&self->next_index, next);
    atomic_store(&self->tree_size, batch->tree_size);
    atomic_store(&self->heard_boot_ms, chance_boot_ms(self->source));
    bool ahead = batch->tree_size < next;
    if (ahead && !atomic_exchange(&self->broken, true))
        LOG(LOG_ERROR,
            "memory knows more than the log holds: was audit restored from a backup? Stop memory and "
            "remove its database; it is rebuilt from the log",
            LOG_NUMBER("next_index", next), LOG_NUMBER("tree_size", batch->tree_size));
}

static bool on_entries(void *context, const Interlock__Audit__V1__TailResponse *batch) {
    memory_service *self = context;
    if (!learn_until_done(self, batch))
        return false;
    note_position(self, batch);
    return true;
}

/* ---- life ---- */

status_code memory_service_start(void *service, rpc_server *server, failure *why) {
    memory_service *self = service;
    uint64_t next = 0;
    (void)server;
    self->recorder = (memory_recorder){
        .roots = self->roots, .live = self->live, .audit = self->audit, .source = self->source};
    status_code code =
        worker_pool_start(&self->readers, self->database, READER_THREADS, memory_rpc_recall_task, self, why);
    if (code == STATUS_OK)
        code = worker_pool_start(&self->recorders, self->database, RECORDER_THREADS, memory_rpc_record_task,
                                 self, why);
    if (code == STATUS_OK)
        code = memory_store_next_index(self->writer, &next, why);
    if (code != STATUS_OK)
        return code;
    atomic_store(&self->next_index, next);
    return audit_follower_start(&self->follower, self->audit, next, on_entries, self, why);
}

void memory_service_stop(void *service) {
    memory_service *self = service;
    atomic_store(&self->stopping, true);
    audit_follower_stop(self->follower);
    self->follower = NULL;
    worker_pool_stop(self->recorders);
    self->recorders = NULL;
    worker_pool_stop(self->readers);
    self->readers = NULL;
}

void memory_service_close(void *service) {
    memory_service *self = service;
    if (self == NULL)
        return;
    rpc_channel_close(self->audit);
    control_close(self->live);
    coord_close(self->coordination);
    memory_store_close(self->writer);
    arena_free(&self->batch_memory);
    trust_free(self->roots);
    free(self);
}

static void gauge(buffer *out, const char *name, const char *help, double value) {
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

void memory_service_write_metrics(void *service, buffer *out) {
    memory_service *self = service;
    uint64_t heard = atomic_load(&self->heard_boot_ms);
    uint64_t now = chance_boot_ms(self->source);
    gauge(out, "interlock_memory_next_index", "First record of the log that memory has not applied yet.",
          (double)atomic_load(&self->next_index));
    gauge(out, "interlock_memory_log_size", "Size of the log when audit was last heard.",
          (double)atomic_load(&self->tree_size));
    gauge(out, "interlock_memory_heard", "1 once audit was heard.", heard != 0 ? 1 : 0);
    gauge(out, "interlock_memory_silence_seconds", "Time since audit was last heard.",
          heard != 0 && now > heard ? (double)(now - heard) / 1000.0 : 0);
}

/* Without audit what was learnt is still true, and recall says up to which record; only a memory that
 * contradicts the log is unhealthy. */
bool memory_service_healthy(void *service) {
    return !atomic_load(&((memory_service *)service)->broken);
}
