/* The front of coordination: checks and copies requests, puts the prefix on and takes it off, and runs one
 * thread on which a backend answers them in order. */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define OPEN_REQUESTS 1024U
#define OPEN_REFUSALS 1024U /* besides */
#define OPEN_WATCHES 64U
#define REQUESTS_A_ROUND 64U
#define REQUEST_MEMORY_BYTES (4U << 20)
#define QUEUE_CHECK_MS 50U
#define TIMEOUT_MAX_MS 600000U
#define DEFAULT_PREFIX "interlock/"

struct coord {
    const chance *source;
    char prefix[COORD_PREFIX_BYTES + 1];
    size_t prefix_size;
    coord_backend backend;
    pthread_t thread;
    int wake;             /* an eventfd */
    coord_watch *watches; /* the thread's */
    pthread_mutex_t lock; /* of all below */
    bool closing;
    size_t open, open_watches;
    coord_request *first_request, *last_request;
    coord_task *first_task, *last_task;
};

/* ---- Answers, on coord's thread -------------------------------------------------------------- */

/* Takes the prefix off; false for a key without it, which only a peer that errs can send, and for what a
 * backend keeps for itself. */
static bool key_strip(const coord *self, coord_kv *kv) {
    if (strncmp(kv->key, self->prefix, self->prefix_size) != 0)
        return false;
    kv->key += self->prefix_size;
    return strncmp(kv->key, COORD_RESERVED, strlen(COORD_RESERVED)) != 0;
}

void coord_request_answer(coord *self, coord_request *request, coord_result *result) {
    coord_kv *kvs = (coord_kv *)(uintptr_t)result->kvs;
    size_t kept = 0;
    for (size_t i = 0; i < result->count; i++)
        if (key_strip(self, &kvs[i]))
            kvs[kept++] = kvs[i];
    result->count = kept;
    if (request->done != NULL)
        request->done(request->context, result);
    coord_request_free(request);
    pthread_mutex_lock(&self->lock);
    self->open--;
    pthread_mutex_unlock(&self->lock);
}

void coord_request_fail(coord *self, coord_request *request, status_code code, const failure *why) {
    coord_result result = {.code = code, .why = why};
    coord_request_answer(self, request, &result);
}

static void request_cancel(coord *self, coord_request *request) {
    failure why = {0};
    fail(&why, STATUS_CANCELLED, "CANCELLED", "coordination was closed before the request was answered");
    coord_request_fail(self, request, STATUS_CANCELLED, &why);
}

void coord_watch_deliver(coord *self, coord_watch *watch, coord_event *events, size_t count, int64_t revision,
                         bool compacted) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (key_strip(self, &events[i].kv))
            events[kept++] = events[i];
    watch->next_revision = revision + 1;
    watch->finished = compacted;
    if (kept == 0 && !compacted)
        return;
    pthread_mutex_lock(&watch->calling);
    if (!watch->stopped)
        watch->watched(watch->context, events, kept, revision, compacted);
    pthread_mutex_unlock(&watch->calling);
}

coord_watch *coord_watches(coord *self) {
    return self->watches;
}

/* ---- The queue ------------------------------------------------------------------------------- */

static void wake_thread(coord *self) {
    uint64_t one = 1;
    ssize_t written = write(self->wake, &one, sizeof one);
    (void)written; /* fails only when the counter is full, and then the thread is awake */
}

void coord_post(coord *self, coord_task *task) {
    task->next = NULL;
    pthread_mutex_lock(&self->lock);
    if (self->last_task == NULL)
        self->first_task = task;
    else
        self->last_task->next = task;
    self->last_task = task;
    pthread_mutex_unlock(&self->lock);
    wake_thread(self);
}

void coord_run_tasks(coord *self) {
    pthread_mutex_lock(&self->lock);
    coord_task *task = self->first_task;
    self->first_task = self->last_task = NULL;
    pthread_mutex_unlock(&self->lock);
    while (task != NULL) {
        coord_task *next = task->next;
        task->run(task);
        task = next;
    }
}

/* Under the lock. A refused request waits its turn as well, so that callbacks come on coord's thread. */
static bool request_enqueue(coord *self, coord_request *request) {
    size_t limit = OPEN_REQUESTS + (request->kind == COORD_REQUEST_REFUSED ? OPEN_REFUSALS : 0);
    if (self->closing || self->open >= limit)
        return false;
    self->open++;
    request->next = NULL;
    if (self->last_request == NULL)
        self->first_request = request;
    else
        self->last_request->next = request;
    self->last_request = request;
    return true;
}

static bool request_push(coord *self, coord_request *request) {
    pthread_mutex_lock(&self->lock);
    bool queued = request_enqueue(self, request);
    pthread_mutex_unlock(&self->lock);
    if (queued)
        wake_thread(self);
    return queued;
}

static coord_request *request_pop(coord *self) {
    pthread_mutex_lock(&self->lock);
    coord_request *request = self->first_request;
    if (request != NULL)
        self->first_request = request->next;
    if (self->first_request == NULL)
        self->last_request = NULL;
    pthread_mutex_unlock(&self->lock);
    return request;
}

/* Takes those out of the queue whose deadline has passed; returns them as a list. */
static coord_request *expired_pop(coord *self, uint64_t now) {
    coord_request *expired = NULL, *last = NULL, **link = &self->first_request;
    pthread_mutex_lock(&self->lock);
    while (*link != NULL) {
        coord_request *each = *link;
        if (each->kind != COORD_REQUEST_WATCH && each->deadline_ms <= now) {
            *link = each->next;
            each->next = expired;
            expired = each;
        } else {
            last = each;
            link = &each->next;
        }
    }
    self->last_request = last;
    pthread_mutex_unlock(&self->lock);
    return expired;
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void watch_adopt(coord *self, coord_request *request) {
    coord_watch *watch = request->watch;
    watch->next = self->watches;
    self->watches = watch;
    self->backend.ops->watch(self->backend.self, watch);
    coord_result result = {0};
    coord_request_answer(self, request, &result);
}

static void request_drop(coord *self, coord_request *request) {
    failure why = {0};
    if (request->kind == COORD_REQUEST_REFUSED) {
        why = request->why;
    } else {
        fail(&why, STATUS_DEADLINE_EXCEEDED, "TIMED_OUT",
             "the request waited in coordination's queue until its "
             "deadline; nothing was done");
    }
    coord_request_fail(self, request, why.code, &why);
}

static void request_start(coord *self, coord_request *request) {
    if (request->kind == COORD_REQUEST_WATCH) {
        watch_adopt(self, request);
    } else if (request->kind == COORD_REQUEST_REFUSED ||
               request->deadline_ms <= chance_boot_ms(self->source)) {
        request_drop(self, request);
    } else {
        self->backend.ops->submit(self->backend.self, request);
    }
}

/* Returns whether more could be started at once. */
static bool start_requests(coord *self) {
    for (uint32_t i = 0; i < REQUESTS_A_ROUND; i++) {
        if (!self->backend.ops->ready(self->backend.self))
            return false;
        coord_request *request = request_pop(self);
        if (request == NULL)
            return false;
        request_start(self, request);
    }
    return true;
}

static void fail_expired(coord *self) {
    coord_request *expired = expired_pop(self, chance_boot_ms(self->source));
    while (expired != NULL) {
        coord_request *next = expired->next;
        request_drop(self, expired);
        expired = next;
    }
}

static void watch_free(coord_watch *watch) {
    pthread_mutex_destroy(&watch->calling);
    free((void *)(uintptr_t)watch->start.data);
    free((void *)(uintptr_t)watch->end.data);
    free(watch);
}

static void watch_uncount(coord *self) {
    pthread_mutex_lock(&self->lock);
    self->open_watches--;
    pthread_mutex_unlock(&self->lock);
}

static void reap_watches(coord *self, bool all) {
    for (coord_watch **link = &self->watches; *link != NULL;) {
        coord_watch *each = *link;
        pthread_mutex_lock(&each->calling);
        bool stopped = each->stopped;
        pthread_mutex_unlock(&each->calling);
        if (!stopped && !all) {
            link = &each->next;
            continue;
        }
        *link = each->next;
        self->backend.ops->unwatch(self->backend.self, each);
        watch_free(each);
        watch_uncount(self);
    }
}

static void sleep_until_woken(coord *self, uint32_t timeout_ms) {
    struct pollfd wake = {.fd = self->wake, .events = POLLIN};
    uint64_t count = 0;
    if (poll(&wake, 1, (int)timeout_ms) > 0) {
        ssize_t taken = read(self->wake, &count, sizeof count);
        (void)taken; /* the descriptor does not block, and a lost wake-up costs one round */
    }
}

static bool is_closing(coord *self) {
    pthread_mutex_lock(&self->lock);
    bool closing = self->closing;
    pthread_mutex_unlock(&self->lock);
    return closing;
}

static bool queue_waits(coord *self) {
    pthread_mutex_lock(&self->lock);
    bool waits = self->first_request != NULL;
    pthread_mutex_unlock(&self->lock);
    return waits;
}

static void *run(void *context) {
    coord *self = context;
    while (!is_closing(self)) {
        coord_run_tasks(self);
        bool more = start_requests(self);
        reap_watches(self, false);
        uint32_t sleep_ms = self->backend.ops->tick(self->backend.self);
        if (!more && queue_waits(self)) {
            fail_expired(self);
            sleep_ms = sleep_ms < QUEUE_CHECK_MS ? sleep_ms : QUEUE_CHECK_MS;
        }
        sleep_until_woken(self, more ? 0 : sleep_ms);
    }
    for (coord_request *each; (each = request_pop(self)) != NULL;) {
        if (each->kind == COORD_REQUEST_WATCH)
            watch_adopt(self, each);
        else
            request_cancel(self, each);
    }
    reap_watches(self, true);
    self->backend.ops->close(self->backend.self);
    coord_run_tasks(self);
    return NULL;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static status_code open_backend(coord *self, const coord_options *options, failure *why) {
    if ((options->embedded_path == NULL) == (options->endpoints == NULL))
        return fail(why, STATUS_INVALID_ARGUMENT, "COORD_OPTIONS",
                    "coordination needs either the path of its file or etcd's endpoints");
    if (options->embedded_path != NULL)
        return embedded_open(&self->backend, self, options->embedded_path, self->source, why);
    return etcd_open(&self->backend, self, options->endpoints, self->prefix, self->source, why);
}

/* Signals are for the process's own threads. */
static status_code start_thread(coord *self, failure *why) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? STATUS_OK
                     : fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "no thread for coordination: %s",
                            strerror(code));
}

static void coord_free(coord *self) {
    if (self->wake >= 0)
        close(self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static status_code open_parts(coord *self, const coord_options *options, failure *why) {
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake < 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_DESCRIPTOR", "no descriptor for coordination: %s",
                    strerror(errno));
    status_code status = open_backend(self, options, why);
    if (status != STATUS_OK)
        return status;
    if ((status = start_thread(self, why)) != STATUS_OK)
        self->backend.ops->close(self->backend.self);
    return status;
}

status_code coord_open(coord **out, const coord_options *options, failure *why) {
    const char *prefix =
        options->prefix == NULL || options->prefix[0] == '\0' ? DEFAULT_PREFIX : options->prefix;
    size_t size = strnlen(prefix, COORD_PREFIX_BYTES + 1);
    if (size > COORD_PREFIX_BYTES || !utf8_valid(bytes_of(prefix, size)))
        return fail(why, STATUS_INVALID_ARGUMENT, "COORD_PREFIX",
                    "the prefix of keys is text of at most %u bytes", COORD_PREFIX_BYTES);
    coord *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for coordination");
    self->source = options->source == NULL ? chance_system() : options->source;
    memcpy(self->prefix, prefix, size + 1);
    self->prefix_size = size;
    pthread_mutex_init(&self->lock, NULL);
    status_code status = open_parts(self, options, why);
    if (status != STATUS_OK) {
        coord_free(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void coord_close(coord *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->closing = true;
    pthread_mutex_unlock(&self->lock);
    wake_thread(self);
    pthread_join(self->thread, NULL);
    coord_free(self);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static const failure too_many = {.code = STATUS_RESOURCE_EXHAUSTED,
                                 .reason = "TOO_MANY_REQUESTS",
                                 .message = "too many requests to coordination are open; try again later",
                                 .retry_after_ms = 100};
static const failure closed = {
    .code = STATUS_CANCELLED, .reason = "CANCELLED", .message = "coordination is being closed"};

static void answer_at_once(coord_done done, void *context, const failure *why) {
    coord_result result = {.code = why->code, .why = why};
    if (done != NULL)
        done(context, &result);
}

/* NULL when there is no memory; then `done` has been called. */
static coord_request *request_make(coord *self, coord_request_kind kind, uint32_t timeout_ms, coord_done done,
                                   void *context) {
    coord_request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        answer_at_once(done, context, &coord_no_memory);
        return NULL;
    }
    uint32_t bounded = timeout_ms < TIMEOUT_MAX_MS ? timeout_ms : TIMEOUT_MAX_MS;
    request->kind = kind;
    request->deadline_ms = chance_boot_ms(self->source) + bounded;
    request->done = done;
    request->context = context;
    arena_init(&request->memory, 512, REQUEST_MEMORY_BYTES);
    return request;
}

/* Too many open requests make a refusal of this one; too many refusals are answered on the caller's thread.
 */
static void request_send(coord *self, coord_request *request) {
    if (request_push(self, request))
        return;
    if (request->kind != COORD_REQUEST_REFUSED) {
        request->kind = COORD_REQUEST_REFUSED;
        request->why = too_many;
        if (request_push(self, request))
            return;
    }
    answer_at_once(request->done, request->context, is_closing(self) ? &closed : &request->why);
    coord_request_free(request);
}

void coord_get(coord *self, const char *key, bool prefix, uint32_t timeout_ms, coord_done done,
               void *context) {
    coord_request *request = request_make(self, COORD_REQUEST_GET, timeout_ms, done, context);
    if (request == NULL)
        return;
    coord_request_get(request, self->prefix, key, prefix);
    request_send(self, request);
}

void coord_txn(coord *self, const coord_compare *compares, size_t compare_count, const coord_op *ops,
               size_t op_count, uint32_t timeout_ms, coord_done done, void *context) {
    coord_request *request = request_make(self, COORD_REQUEST_TXN, timeout_ms, done, context);
    if (request == NULL)
        return;
    coord_request_txn(request, self->prefix, compares, compare_count, ops, op_count);
    request_send(self, request);
}

void coord_lease_grant(coord *self, uint32_t ttl_ms, uint32_t timeout_ms, coord_done done, void *context) {
    coord_request *request = request_make(self, COORD_REQUEST_GRANT, timeout_ms, done, context);
    if (request == NULL)
        return;
    request->ttl_ms = ttl_ms;
    if (ttl_ms < COORD_LEASE_TTL_MIN_MS)
        coord_request_refuse(request, "BAD_TTL", "a lease lives for at least 2000 ms");
    request_send(self, request);
}

static void lease_request(coord *self, coord_request_kind kind, int64_t lease, uint32_t timeout_ms,
                          coord_done done, void *context) {
    coord_request *request = request_make(self, kind, timeout_ms, done, context);
    if (request == NULL)
        return;
    request->lease = lease;
    if (lease <= 0)
        coord_request_refuse(request, "BAD_LEASE", "a lease is a positive number");
    request_send(self, request);
}

void coord_lease_keepalive(coord *self, int64_t lease, uint32_t timeout_ms, coord_done done, void *context) {
    lease_request(self, COORD_REQUEST_KEEPALIVE, lease, timeout_ms, done, context);
}

void coord_lease_revoke(coord *self, int64_t lease, uint32_t timeout_ms, coord_done done, void *context) {
    lease_request(self, COORD_REQUEST_REVOKE, lease, timeout_ms, done, context);
}

/* ---- Watches --------------------------------------------------------------------------------- */

/* Copies with malloc, because a watch lives longer than the request that starts it. */
static bool watch_range(coord *self, coord_watch *watch, coord_request *request, const char *prefix) {
    bytes start = coord_key_stored(&request->memory, self->prefix, prefix);
    bytes end = start.data == NULL ? start : coord_prefix_end(&request->memory, start);
    if (end.data == NULL)
        return false;
    uint8_t *first = malloc(start.size), *last = malloc(end.size);
    watch->start = bytes_of(first, start.size);
    watch->end = bytes_of(last, end.size);
    if (first == NULL || last == NULL)
        return false;
    memcpy(first, start.data, start.size);
    memcpy(last, end.data, end.size);
    return true;
}

static bool watch_count(coord *self) {
    pthread_mutex_lock(&self->lock);
    bool room = self->open_watches < OPEN_WATCHES;
    if (room)
        self->open_watches++;
    pthread_mutex_unlock(&self->lock);
    return room;
}

static coord_watch *watch_make(coord *self, coord_request *request, const char *prefix) {
    coord_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    pthread_mutex_init(&watch->calling, NULL);
    if (watch_range(self, watch, request, prefix))
        return watch;
    watch_free(watch);
    return NULL;
}

static status_code watch_send(coord *self, coord_request *request, const char *prefix, failure *why) {
    if (!watch_count(self))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES", "at most %u watches may be open",
                    OPEN_WATCHES);
    if (request_push(self, request))
        return STATUS_OK;
    watch_uncount(self);
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS",
                "watching '%s': too many requests are open", prefix);
}

status_code coord_watch_start(coord *self, const char *prefix, int64_t from_revision, coord_watched watched,
                              void *context, coord_watch **out, failure *why) {
    if (!coord_key_valid(prefix, true) || from_revision < 0)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_WATCH",
                    "a watch needs a prefix of at most 256 bytes and a revision that is not negative");
    coord_request *request = request_make(self, COORD_REQUEST_WATCH, 0, NULL, NULL);
    coord_watch *watch = request == NULL ? NULL : watch_make(self, request, prefix);
    if (watch == NULL) {
        if (request != NULL)
            coord_request_free(request);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a watch");
    }
    watch->watched = watched;
    watch->context = context;
    watch->next_revision = from_revision;
    request->watch = watch;
    coord_watch *started = watch; /* the thread may own it before watch_send returns */
    status_code status = watch_send(self, request, prefix, why);
    if (status != STATUS_OK) {
        watch_free(watch);
        coord_request_free(request);
        return status;
    }
    *out = started;
    return STATUS_OK;
}

void coord_watch_stop(coord *self, coord_watch *watch) {
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->calling);
    watch->stopped = true;
    pthread_mutex_unlock(&watch->calling);
    wake_thread(self);
}
