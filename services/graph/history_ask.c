/* The thread that reads the history for clients. */
#include "history_ask.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "history_stream.h"

#define ARENA_BYTES (8U << 20)
#define LOOK_MS 50 /* how often watchers are looked after */
#define DRAIN_MS 2 /* how long to wait for a stream whose queue is full */

typedef struct question {
    history_question kind;
    rpc_call *call;
} question;

struct history_ask {
    answerer answers;
    const chance *source;
    arena memory; /* of streams' messages */

    /* Under the lock. */
    pthread_mutex_t lock;
    question queue[HISTORY_QUESTIONS_MAX];
    size_t first, count;
    history_stream *added;
    unsigned snapshots, watchers;
    bool stopping;

    history_stream *streams; /* the thread's own */
    pthread_t thread;
    bool running;
    int wake; /* eventfd */
};

static void wake_up(const history_ask *self) {
    uint64_t one = 1;
    /* Full counts as woken. */
    if (write(self->wake, &one, sizeof one) < 0)
        return;
}

/* ---- What comes in
 * ---------------------------------------------------------------------------------------------------- */

status_code history_ask_submit(history_ask *self, history_question kind, rpc_call *call, failure *why) {
    pthread_mutex_lock(&self->lock);
    bool room = self->count < HISTORY_QUESTIONS_MAX && !self->stopping;
    if (room)
        self->queue[(self->first + self->count++) % HISTORY_QUESTIONS_MAX] =
            (question){.kind = kind, .call = call};
    pthread_mutex_unlock(&self->lock);
    if (room) {
        wake_up(self);
        return STATUS_PENDING;
    }
    fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "%u questions wait already; ask again later",
         HISTORY_QUESTIONS_MAX);
    if (why != NULL)
        why->retry_after_ms = 1000;
    return STATUS_RESOURCE_EXHAUSTED;
}

static unsigned *stream_count(history_ask *self, const history_stream *item) {
    return item->is_snapshot ? &self->snapshots : &self->watchers;
}

static status_code stream_add(history_ask *self, history_stream *item, rpc_stream *stream, failure *why) {
    if (item == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for another stream");
    unsigned most = item->is_snapshot ? HISTORY_SNAPSHOTS_MAX : HISTORY_WATCHERS_MAX;
    pthread_mutex_lock(&self->lock);
    bool room = *stream_count(self, item) < most && !self->stopping;
    if (room) {
        ++*stream_count(self, item);
        item->stream = stream;
        rpc_stream_ref(stream);
        rpc_stream_set_user(stream, item);
        item->next = self->added;
        self->added = item;
    }
    pthread_mutex_unlock(&self->lock);
    if (room) {
        wake_up(self);
        return STATUS_OK;
    }
    history_stream_free(item);
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS", "%u of these streams are open already",
                most);
}

status_code history_ask_snapshot(history_ask *self, rpc_stream *stream, const ProtobufCMessage *request,
                                 failure *why) {
    return stream_add(self, history_stream_snapshot((const Interlock__Graph__V1__SnapshotRequest *)request),
                      stream, why);
}

status_code history_ask_watch(history_ask *self, rpc_stream *stream, const ProtobufCMessage *request,
                              failure *why) {
    return stream_add(self, history_stream_watch((const Interlock__Graph__V1__WatchChangesRequest *)request),
                      stream, why);
}

void history_ask_forget(rpc_stream *stream) {
    history_stream *item = rpc_stream_user(stream);
    if (item != NULL)
        atomic_store(&item->over, true);
}

/* ---- Questions
 * -------------------------------------------------------------------------------------------------------- */

static status_code question_answer(history_ask *self, const question *asked, failure *why) {
    const ProtobufCMessage *request = rpc_call_request(asked->call);
    ProtobufCMessage *response = rpc_call_response(asked->call);
    arena *memory = rpc_call_arena(asked->call);
    answerer *by = &self->answers;
    switch (asked->kind) {
    case ASK_GET_NODE:
        return answer_get_node(by, (const Interlock__Graph__V1__GetNodeRequest *)request, memory,
                               (Interlock__Graph__V1__GetNodeResponse *)response, why);
    case ASK_HISTORY:
        return answer_history(by, (const Interlock__Graph__V1__HistoryRequest *)request, memory,
                              (Interlock__Graph__V1__HistoryResponse *)response, why);
    case ASK_NEIGHBORS:
        return answer_neighbors(by, (const Interlock__Graph__V1__NeighborsRequest *)request, memory,
                                (Interlock__Graph__V1__NeighborsResponse *)response, why);
    case ASK_PATHS:
        return answer_paths(by, (const Interlock__Graph__V1__FindPathsRequest *)request, memory,
                            (Interlock__Graph__V1__FindPathsResponse *)response, why);
    case ASK_DIFF:
        return answer_diff(by, (const Interlock__Graph__V1__DiffRequest *)request, memory,
                           (Interlock__Graph__V1__DiffResponse *)response, why);
    }
    return fail(why, STATUS_INTERNAL, "UNKNOWN_QUESTION", "a question of no kind");
}

static bool question_take(history_ask *self, question *out, bool *stopping) {
    pthread_mutex_lock(&self->lock);
    bool there = self->count > 0;
    *stopping = self->stopping;
    if (there) {
        *out = self->queue[self->first];
        self->first = (self->first + 1) % HISTORY_QUESTIONS_MAX;
        self->count--;
    }
    pthread_mutex_unlock(&self->lock);
    return there;
}

/* True when the thread has to end. */
static bool questions_answer(history_ask *self) {
    question asked;
    bool stopping = false;
    while (question_take(self, &asked, &stopping)) {
        failure why = {0};
        status_code status =
            stopping ? fail(&why, STATUS_UNAVAILABLE, "SHUTTING_DOWN", "the service is being stopped")
                     : question_answer(self, &asked, &why);
        if (status == STATUS_OK &&
            protobuf_c_message_get_packed_size(rpc_call_response(asked.call)) > LIMIT_MESSAGE_BYTES)
            status = fail(&why, STATUS_RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE",
                          "the answer is larger than one message may be; ask for less of it");
        rpc_call_complete(asked.call, status, &why);
    }
    return stopping;
}

/* ---- Streams
 * ------------------------------------------------------------------------------------------------------------
 */

static void streams_take(history_ask *self) {
    pthread_mutex_lock(&self->lock);
    while (self->added != NULL) {
        history_stream *item = self->added;
        self->added = item->next;
        item->next = self->streams;
        self->streams = item;
    }
    pthread_mutex_unlock(&self->lock);
}

/* `all` once the server has stopped, so that no stream refers to what is ours any more. */
static void streams_reap(history_ask *self, bool all) {
    history_stream **link = &self->streams;
    while (*link != NULL) {
        history_stream *item = *link;
        if (!all && !atomic_load(&item->over)) {
            link = &item->next;
            continue;
        }
        *link = item->next;
        pthread_mutex_lock(&self->lock);
        --*stream_count(self, item);
        pthread_mutex_unlock(&self->lock);
        rpc_stream_unref(item->stream);
        history_stream_free(item);
    }
}

/* How long to wait then; -1: until woken. */
static int streams_feed(history_ask *self) {
    int wait = -1;
    for (history_stream *item = self->streams; item != NULL; item = item->next) {
        bool more = history_stream_step(item, &self->answers, &self->memory, chance_boot_ms(self->source));
        int own = more ? 0 : item->is_snapshot && !item->failed ? DRAIN_MS : LOOK_MS;
        wait = wait < 0 || own < wait ? own : wait;
    }
    return wait;
}

static void *history_ask_run(void *context) {
    history_ask *self = context;
    uint64_t times;
    while (!questions_answer(self)) {
        streams_take(self);
        streams_reap(self, false);
        struct pollfd wake = {.fd = self->wake, .events = POLLIN};
        if (poll(&wake, 1, streams_feed(self)) > 0 && read(self->wake, &times, sizeof times) < 0 &&
            errno != EAGAIN)
            break;
    }
    return NULL;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code history_ask_open(history_ask **out, history *of, const chance *source, failure *why) {
    history_ask *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read the history");
    pthread_mutex_init(&self->lock, NULL);
    self->source = source;
    self->answers.of = of;
    arena_init(&self->memory, 65536, ARENA_BYTES);
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status_code status = self->wake >= 0
                             ? history_reader_open(&self->answers.reader, of, why)
                             : fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_DESCRIPTOR", "no descriptor is left");
    if (status != STATUS_OK) {
        history_ask_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

status_code history_ask_start(history_ask *self, failure *why) {
    if (pthread_create(&self->thread, NULL, history_ask_run, self) != 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD",
                    "cannot start the thread that reads the history");
    self->running = true;
    return STATUS_OK;
}

void history_ask_stop(history_ask *self) {
    if (self == NULL || !self->running)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    wake_up(self);
    pthread_join(self->thread, NULL);
    self->running = false;
    streams_take(self);
    streams_reap(self, true);
}

void history_ask_close(history_ask *self) {
    if (self == NULL)
        return;
    history_ask_stop(self);
    answerer_free(&self->answers);
    history_reader_close(self->answers.reader);
    arena_free(&self->memory);
    if (self->wake >= 0)
        close(self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
